//! Several paths at once (draft-ietf-quic-multipath).

use super::Lent;
use super::receive::Addressee;
use super::start::State;
use crate::error::Why;
use crate::ids::PathRow;
use crate::path::Addresses;
use crate::session::Level;
use crate::time::Instant;

/// What was agreed on with the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Multipath {
    rows: u8,
}

impl Multipath {
    pub(super) fn rows(&self) -> usize {
        usize::from(self.rows)
    }
}

impl State {
    pub(super) fn shared_path(&self, _now: Instant, _lent: &Lent<'_>) -> Option<PathRow> {
        Some(self.main)
    }
    pub(super) fn ack_path(&self, _lent: &Lent<'_>, _level: Level, path: PathRow) -> PathRow {
        path
    }
    pub(super) fn is_unused(&self, _lent: &Lent<'_>, _path: PathRow) -> bool {
        false
    }
    pub(super) fn welcome(
        &mut self,
        _now: Instant,
        _lent: &mut Lent<'_>,
        _seen: &Addresses,
        _to: Addressee,
        _len: usize,
    ) -> Result<usize, Why> {
        Err(Why::Address)
    }
}
