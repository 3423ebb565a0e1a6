//! Scenarios: core against itself in the simulated network, and against peers that break the rules.

mod address_validation;
mod bad_frames;
mod handshake;
mod musts;
mod streams;
mod versions;
