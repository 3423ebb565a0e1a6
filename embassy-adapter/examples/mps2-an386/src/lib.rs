//! What the two firmwares share: the [board], the [network], and the [job] that QEMU's command line gives them.
#![no_std]

pub mod board;
pub mod job;
pub mod network;
