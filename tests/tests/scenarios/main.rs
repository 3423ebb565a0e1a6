//! Scenarios: core against itself in the simulated network, and against peers that break the rules.

mod address_validation;
mod bad_frames;
mod datagrams;
mod ecn;
mod handshake;
mod keys;
mod mtu;
mod streams;
mod versions;
