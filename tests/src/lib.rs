//! Simulator, null session and scenarios of Peregrine.
//!
//! * [`sim`]: a network in virtual time, with everything a real one does to datagrams.
//!
//! Nothing here reads a clock or asks the system for randomness: a run is a function of its seed.
#![forbid(unsafe_code)]

pub mod digest;
pub mod rng;
pub mod sim;
