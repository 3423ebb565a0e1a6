//! Scenarios: core against itself in the simulated network, and against peers that break the rules.

mod address_validation;
mod bad_frames;
mod bad_params;
mod cids;
mod congestion;
mod datagrams;
mod door;
mod ecn;
mod endings;
mod floods;
mod found_by_walks;
mod handshake;
mod keys;
mod migration;
mod mtu;
mod multipath;
mod musts;
mod mute;
mod pitfalls;
mod preferred_address;
mod seeds;
mod streams;
mod versions;
mod walks;
