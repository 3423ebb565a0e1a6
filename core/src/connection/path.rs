//! A path: what a path ID owns, whatever route it takes (RFC 9000 12.3, 5.1).

use crate::cid::local::LocalCids;
use crate::cid::peer::PeerCids;
use crate::ids::{PacketNumber, PathId};
use crate::recovery::Space;

/// A row of the table of paths.
#[derive(Clone, Debug)]
pub struct Path {
    /// Its number.
    pub id: PathId,
    /// The row of the route that is in use.
    pub active: u8,
    /// The sequence number of the connection ID that the peer's newest non-probing packet went to.
    pub peer_uses: u32,
    /// The highest number of a packet of the peer that was not only probing.
    pub newest_non_probing: Option<PacketNumber>,
    /// Its packet number space.
    pub space: Space,
    /// The connection IDs that the peer sends to.
    pub local_cids: LocalCids,
    /// The connection IDs that we send to.
    pub peer_cids: PeerCids,
}

impl Path {
    /// A free row.
    pub const EMPTY: Self = Self {
        id: PathId::ZERO,
        active: 0,
        peer_uses: 0,
        newest_non_probing: None,
        space: Space::new(),
        local_cids: LocalCids::new(PathId::ZERO),
        peer_cids: PeerCids::new(PathId::ZERO, 0),
    };
}
