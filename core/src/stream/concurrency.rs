//! Which streams may exist (RFC 9000 2.1, 3.2, 4.6).
//!
//! Opening a stream opens all lower ones of its kind. The peer's are given rows at once: our limit never exceeds the rows
//! reserved for them, so there always are enough, each stream is opened once, and the highest one opened tells exactly what a
//! missing row means: above it a stream that does not exist yet, below it one that is closed. Nothing is remembered
//! of closed streams.

use crate::error::{Code, TransportError};
use crate::ids::Dir;
use crate::limits::MAX_STREAMS;
use crate::stream::flow::{RecvCredit, SendCredit};

/// One of a thing for each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PerDir<T> {
    pub(super) bi: T,
    pub(super) uni: T,
}

impl<T> PerDir<T> {
    pub(super) const fn of(&self, dir: Dir) -> &T {
        match dir {
            Dir::Bi => &self.bi,
            Dir::Uni => &self.uni,
        }
    }

    pub(super) const fn of_mut(&mut self, dir: Dir) -> &mut T {
        match dir {
            Dir::Bi => &mut self.bi,
            Dir::Uni => &mut self.uni,
        }
    }
}

/// The peer's streams of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerStreams {
    /// What MAX_STREAMS tells.
    pub(super) credit: RecvCredit,
    /// Rows reserved for them.
    reserved: u16,
    opened: u64,
    closed: u64,
    accepted: u64,
    /// Whether some were opened that the application was not told of.
    pub(super) untold: bool,
}

impl PeerStreams {
    pub(super) const fn new(reserved: u16) -> Self {
        let credit = RecvCredit::new(reserved as u64);
        Self { credit, reserved, opened: 0, closed: 0, accepted: 0, untold: false }
    }

    /// The streams that are to be opened because the peer used the `index`-th one: from, to.
    ///
    /// # Errors
    /// STREAM_LIMIT_ERROR if it is beyond the limit.
    pub(super) fn unopened(&self, index: u64) -> Result<core::ops::Range<u64>, TransportError> {
        if index >= self.credit.limit() {
            let reason = "stream beyond what MAX_STREAMS allows";
            return Err(TransportError::new(Code::STREAM_LIMIT_ERROR, reason));
        }
        Ok(self.opened..index.saturating_add(1))
    }

    pub(super) const fn on_opened(&mut self) {
        self.opened = self.opened.saturating_add(1);
        self.untold = true;
    }

    /// The row of one is free again.
    pub(super) const fn on_closed(&mut self) {
        self.closed = self.closed.saturating_add(1);
        // At the largest stream ID there is nothing left to allow.
        if self.next_limit() > self.credit.limit() {
            self.credit.on_consumed(self.closed, self.reserved as u64);
        }
    }

    /// The limit that MAX_STREAMS would tell now.
    pub(super) const fn next_limit(&self) -> u64 {
        let limit = self.credit.next_limit(self.closed, self.reserved as u64);
        if limit < MAX_STREAMS { limit } else { MAX_STREAMS }
    }

    /// The number of the next stream that the application has not accepted, if it is open.
    pub(super) const fn accept(&mut self) -> Option<u64> {
        if self.accepted == self.opened {
            return None;
        }
        let index = self.accepted;
        self.accepted = index.saturating_add(1);
        Some(index)
    }
}

/// Our streams of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LocalStreams {
    /// What MAX_STREAMS told.
    pub(super) credit: SendCredit,
    opened: u64,
    /// Whether the application was refused one.
    refused: bool,
    /// Whether more may be opened than the application was told.
    pub(super) untold: bool,
}

impl LocalStreams {
    /// Whether the peer lets us open another; if not, the peer and later the application are told.
    pub(super) const fn may_open(&mut self) -> bool {
        let may = self.credit.room(self.opened) > 0;
        if !may {
            self.credit.block();
            self.refused = true;
        }
        may
    }

    /// The number of a new stream.
    pub(super) const fn open(&mut self) -> u64 {
        let index = self.opened;
        self.opened = index.saturating_add(1);
        index
    }

    pub(super) const fn has_opened(&self, index: u64) -> bool {
        index < self.opened
    }

    /// There was no row for another.
    pub(super) const fn on_no_row(&mut self) {
        self.refused = true;
    }

    /// A row is free again.
    pub(super) const fn on_row(&mut self) {
        if self.refused && self.credit.room(self.opened) > 0 {
            self.refused = false;
            self.untold = true;
        }
    }

    /// MAX_STREAMS, or the first limit. Without a row the application is told only when there is one.
    pub(super) const fn on_limit(&mut self, limit: u64, has_row: bool) {
        if self.credit.raise(limit) {
            self.refused = !has_row;
            self.untold |= has_row;
        }
    }
}
