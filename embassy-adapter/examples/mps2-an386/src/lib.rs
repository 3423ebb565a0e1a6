//! What the two firmwares share: the [board], the [network], and the [job] that the emulator's command line gives them.
#![no_std]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod board;
pub mod job;
pub mod network;
