//! What the firmwares share: the [board], the [network] and, with the feature `bond`, a second one over a serial line, the [job] that
//! the emulator's command line gives them, and the [transfer] of files.
#![no_std]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod board;
pub mod job;
#[cfg(feature = "bond")]
pub mod line;
pub mod network;
#[cfg(feature = "bond")]
pub mod slip;
pub mod transfer;
