//! Connection IDs (RFC 9000 5.1): those the peer sends to, and those we send to. Rows of all paths share a table.

pub mod local;
pub mod peer;
mod routes;

use crate::ids::PathRow;

pub use local::{LocalCid, LocalCids};
pub use peer::{PeerCid, PeerCids};
pub use routes::Routes;

/// The 1-RTT packet that carries the frame of a row, as far as needed to know it again: packets in flight at the same
/// time never lie 2^32 numbers apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Carrier {
    space: PathRow,
    /// In bytes, so that small fields can stand beside it.
    pn: [u8; 4],
}

impl Carrier {
    const fn new(space: PathRow, pn: u64) -> Self {
        Self { space, pn: ((pn & 0xffff_ffff) as u32).to_ne_bytes() }
    }
}

#[cfg(test)]
mod tests;
