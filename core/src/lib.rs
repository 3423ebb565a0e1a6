//! QUIC v1 (RFC 8999, 9000, 9001, 9002, 9221, 9287) as a sans-IO state machine: no heap, no clock, no sockets.
//!
//! Layers, each importing only from those below it (`tests/tests/layers.rs` holds this):
//!
//! ```text
//! 5 endpoint · 4 connection · 3 path · 2 cid recovery congestion stream handshake lifecycle
//! 1 wire session delivery · 0 limits ids time error random table
//! ```
//!
//! Feature `reasons` (on): errors, and the CONNECTION_CLOSE frames that tell of them, say in words what was wrong, which takes
//! 3 KB of flash. Feature `server` (on): connections that a client opened, and the endpoint, which holds many; without it there
//! are [`connection::Connection::client`] and 1.7 KB of flash less. Feature `multipath` (off): several paths at once, in the two
//! dialects of [`wire::dialect`].
//!
//! Where there is no operating system, what many places call is never inlined (`cfg_attr(target_os = "none", inline(never))`):
//! flash is scarcer there than time, and the opt-levels for size still make a dozen copies of a varint's parser. Nor is what
//! lends a connection its memory: with one caller each, all of them would become one function that has no registers to spare.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(test)]
extern crate std;

pub mod cid;
pub mod congestion;
pub mod connection;
pub mod delivery;
#[cfg(any(feature = "server", test))]
pub mod endpoint;
pub mod error;
mod feature;
pub mod handshake;
pub mod ids;
pub mod lifecycle;
pub mod limits;
pub mod path;
pub mod recovery;
pub mod session;
pub mod stream;
pub mod table;
pub mod time;
pub mod wire;
