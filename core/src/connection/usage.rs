//! How much of the lent tables is in use, for who wants to know how large they must be.

use super::Connection;
use super::storage::Memory;
use crate::session::Session;

/// Rows in use, table by table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Usage {
    /// Packets in flight, and what of lost ones waits to be sent again.
    pub sent: usize,
    /// Streams, those included that are over but not yet wholly told of.
    pub streams: usize,
    /// Routes.
    pub routes: usize,
    /// Connection IDs that we issued.
    pub local_cids: usize,
    /// Connection IDs that the peer issued.
    pub peer_cids: usize,
    /// Retirements under way of connection IDs that the peer issued.
    pub retirements: usize,
}

impl<M: Memory, S: Session> Connection<M, S> {
    /// How much of the tables is in use now. Looks at every row but those of packets: for tests and for deciding on sizes.
    pub fn usage(&mut self) -> Usage {
        let (state, lent) = self.lend();
        let tables = &lent.buffers;
        Usage {
            sent: tables.sent.len().saturating_sub(state.sent.room(tables.sent)),
            streams: state.streams.in_use(tables.streams.rows),
            routes: tables.routes.iter().filter(|row| row.is_open()).count(),
            local_cids: tables.local_cids.iter().filter(|row| !row.is_free()).count(),
            peer_cids: tables.peer_cids.iter().filter(|row| !row.is_free()).count(),
            retirements: tables.retirements.iter().filter(|row| !row.is_free()).count(),
        }
    }
}
