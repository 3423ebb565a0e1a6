//! Scenarios: core against itself in the simulated network, and against peers that break the rules.

mod bad_frames;
mod handshake;
