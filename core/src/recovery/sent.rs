//! The one table of packets sent by a connection, for all its packet number spaces and routes (RFC 9002 A.1).
//!
//! Only packets that count as in flight get a row: one that carries nothing but ACK frames is neither retransmitted
//! nor congestion controlled, and a download would fill the table with them.
//!
//! A row is named by its handle, a `u16`, and is at any time owned by exactly one of these:
//!
//! ```text
//!             SentTable::take             Flight::on_sent
//!   free ───────────────────▶ Draft ────────────────────────▶ Flight  (in packet number order)
//!    ▲                          ▲                               │ on_ack · detect_lost · repeat_oldest · drop_oldest · take_all
//!    │ SentTable::free          │ sent again                    ▼
//!    ├──────────────────────────┼────────────────────────── Chain → popped: the caller
//!    │                          │                               │ lost, and its chunk is stream or CRYPTO data
//!    └──────────────────────────┴───────── the chunk's stream ◀─┘
//! ```
//!
//! So the bytes of a lost packet are remembered by the row they were sent with until they travel again; a lost row
//! without such bytes is freed at once. A packet has one row, and one more for each chunk beyond the first, chained
//! by `more`; once popped, [`take_rest`] parts them, for each may go to another owner.
//!
//! Not here: what frames meant (the caller knows, from [`Kinds`] and the chunk), and any list of chunks of a stream.

use crate::table::chunk::{Chunk, HasChunk};
use crate::table::list::NONE;
use crate::table::ranges::widen;
use crate::time::Instant;
use crate::wire::frame::Kinds;

/// What is true of a packet, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Marks(u8);

impl Marks {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ACK_ELICITING: Self = Self(1);
    pub(super) const MTU_PROBE: Self = Self(2);
    pub(super) const ECT0: Self = Self(4);
    /// A packet between this one and the one before it in the flight was acknowledged.
    pub(super) const AFTER_ACKED: Self = Self(8);
    /// The row is free.
    pub(super) const FREE: Self = Self(16);

    pub(super) const fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) const fn with(self, mark: Self, set: bool) -> Self {
        if set { Self(self.0 | mark.0) } else { self }
    }
}

/// A row of the table: a packet and its first chunk, or a further chunk of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentPacket {
    /// The low half of when it was sent.
    pub(super) sent: u32,
    /// What it carried of a stream.
    pub chunk: Chunk,
    /// The kinds of frames in it.
    pub kinds: Kinds,
    /// The low half of its packet number.
    pub(super) pn: u32,
    /// Its bytes.
    pub size: u16,
    /// The next row of whatever list the row is on.
    pub(super) next: u16,
    /// The row of its next chunk.
    pub(super) more: u16,
    pub(super) marks: Marks,
}

impl SentPacket {
    /// A row that holds nothing.
    pub const EMPTY: Self = Self {
        sent: 0,
        chunk: Chunk::NOTHING,
        kinds: Kinds::NONE,
        pn: 0,
        size: 0,
        next: NONE,
        more: NONE,
        marks: Marks::NONE,
    };

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self { chunk: Chunk::BLANK, next: 0, more: 0, ..Self::EMPTY };

    /// When it was sent. After more than 71 minutes it counts as sent more recently.
    pub const fn sent(&self, now: Instant) -> Instant {
        Instant::from_micros(widen(now.as_micros(), self.sent))
    }

    pub(super) const fn set_sent(&mut self, now: Instant) {
        self.sent = now.as_micros() as u32;
    }

    /// Whether the peer had to acknowledge it.
    pub const fn is_ack_eliciting(&self) -> bool {
        self.marks.has(Marks::ACK_ELICITING)
    }

    /// Whether it was marked ECT(0).
    pub const fn is_ect0(&self) -> bool {
        self.marks.has(Marks::ECT0)
    }

    /// Whether it was sent to find out a larger MTU, so that its loss says nothing of congestion (RFC 9000 14.4).
    pub const fn is_mtu_probe(&self) -> bool {
        self.marks.has(Marks::MTU_PROBE)
    }
}

impl HasChunk for SentPacket {
    fn chunk(&self) -> &Chunk {
        &self.chunk
    }

    fn chunk_mut(&mut self) -> &mut Chunk {
        &mut self.chunk
    }
}

pub(super) fn row(rows: &mut [SentPacket], handle: u16) -> Option<&mut SentPacket> {
    if handle == NONE { None } else { rows.get_mut(usize::from(handle)) }
}

/// See [`SentTable`].
const MAX_ROWS: usize = 0xfffe;

/// Which rows are free. The rows themselves are lent to each call and always the same; at most 65,534 are used,
/// for the last two handles have a meaning of their own in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentTable {
    freed: u16,
    /// Rows from here on were never used.
    fresh: u16,
    used: u16,
}

impl SentTable {
    /// All rows are free.
    pub const fn new() -> Self {
        Self { freed: NONE, fresh: 0, used: 0 }
    }

    /// How many rows are free.
    pub fn room(&self, rows: &[SentPacket]) -> usize {
        rows.len().min(MAX_ROWS).saturating_sub(usize::from(self.used))
    }

    /// Takes a free row, empty. `None` if the table is full.
    pub fn take(&mut self, rows: &mut [SentPacket]) -> Option<u16> {
        let handle = if self.freed != NONE { self.freed } else { self.fresh };
        let row = row(rows, handle).filter(|_| usize::from(handle) < MAX_ROWS)?;
        if self.freed != NONE {
            self.freed = row.next;
        } else {
            self.fresh = handle.saturating_add(1);
        }
        *row = SentPacket::EMPTY;
        self.used = self.used.saturating_add(1);
        Some(handle)
    }

    /// Gives a row back. Whoever frees a row must hold it alone: see the head of this file.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn free(&mut self, rows: &mut [SentPacket], handle: u16) {
        let Some(row) = row(rows, handle).filter(|row| !row.marks.has(Marks::FREE)) else {
            debug_assert!(false, "a row that does not exist, or is free, is freed");
            return;
        };
        (row.marks, row.next) = (Marks::FREE, self.freed);
        self.freed = handle;
        self.used = self.used.saturating_sub(1);
    }
}

impl Default for SentTable {
    fn default() -> Self {
        Self::new()
    }
}

/// The chunks of a packet that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft {
    pub(super) head: u16,
    tail: u16,
}

impl Draft {
    /// No chunk yet.
    pub const fn new() -> Self {
        Self { head: NONE, tail: NONE }
    }

    /// Whether there is no chunk yet.
    pub const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Adds the row of a chunk just written: one fresh from [`SentTable::take`], or a lost one that is sent again.
    pub fn add(&mut self, rows: &mut [SentPacket], handle: u16) {
        if let Some(added) = row(rows, handle) {
            *added = SentPacket { chunk: added.chunk, ..SentPacket::EMPTY };
            match row(rows, self.tail) {
                Some(tail) => tail.more = handle,
                None => self.head = handle,
            }
            self.tail = handle;
        }
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self::new()
    }
}

/// Parts a row from the further chunks of its packet and returns the first of those.
pub fn take_rest(rows: &mut [SentPacket], handle: u16) -> Option<u16> {
    let row = row(rows, handle)?;
    let rest = core::mem::replace(&mut row.more, NONE);
    (rest != NONE).then_some(rest)
}

/// Packets in the order of their numbers, linked through their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    pub(super) head: u16,
    pub(super) tail: u16,
}

impl Chain {
    /// No packet.
    pub const EMPTY: Self = Self { head: NONE, tail: NONE };

    pub(super) const BLANK: Self = Self { head: 0, tail: 0 };

    /// Whether there is no packet.
    pub const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Takes the first packet off.
    pub fn pop(&mut self, rows: &mut [SentPacket]) -> Option<u16> {
        let handle = self.head;
        row(rows, handle)?;
        self.unlink(rows, NONE, handle);
        Some(handle)
    }

    pub(super) fn push(&mut self, rows: &mut [SentPacket], handle: u16) {
        if let Some(pushed) = row(rows, handle) {
            pushed.next = NONE;
            match row(rows, self.tail) {
                Some(tail) => tail.next = handle,
                None => self.head = handle,
            }
            self.tail = handle;
        }
    }

    /// Takes `handle` off, which stands behind `before` ([`NONE`]: first).
    pub(super) fn unlink(&mut self, rows: &mut [SentPacket], before: u16, handle: u16) {
        let next = row(rows, handle).map_or(NONE, |row| core::mem::replace(&mut row.next, NONE));
        match row(rows, before) {
            Some(before) => before.next = next,
            None => self.head = next,
        }
        if next == NONE {
            self.tail = before;
        }
    }

    /// Puts `new` in the place of `old`, which stands behind `before` ([`NONE`]: first).
    pub(super) fn replace(&mut self, rows: &mut [SentPacket], before: u16, old: u16, new: u16) {
        let next = row(rows, old).map_or(NONE, |row| core::mem::replace(&mut row.next, NONE));
        if let Some(new) = row(rows, new) {
            new.next = next;
        }
        match row(rows, before) {
            Some(before) => before.next = new,
            None => self.head = new,
        }
        if next == NONE {
            self.tail = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::random::Random;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn a_row_is_40_bytes() {
        assert_eq!(size_of::<SentPacket>(), 40);
        assert_eq!((size_of::<SentTable>(), size_of::<Chain>()), (6, 4));
    }

    #[test]
    fn rows_come_and_go_in_tables_of_any_length() {
        let mut random = Random::new(3);
        for len in (0..40).chain([300]) {
            let mut rows = vec![SentPacket::EMPTY; len];
            let mut table = SentTable::new();
            let mut held: Vec<u16> = Vec::new();
            for _ in 0..20 * len + 3 {
                assert_eq!(table.room(&rows), len - held.len());
                if random.below(2) == 0 {
                    match table.take(&mut rows) {
                        Some(handle) => {
                            assert!(!held.contains(&handle));
                            assert_eq!(rows[usize::from(handle)], SentPacket::EMPTY);
                            rows[usize::from(handle)].size = 7;
                            held.push(handle);
                        }
                        None => assert_eq!(held.len(), len),
                    }
                } else if !held.is_empty() {
                    let handle = held.swap_remove(random.below(held.len()));
                    table.free(&mut rows, handle);
                }
            }
        }
    }

    #[test]
    fn handles_end_below_the_one_that_means_none() {
        let mut rows = vec![SentPacket::EMPTY; 70_000];
        let mut table = SentTable::new();
        assert_eq!(table.room(&rows), 65_534);
        let taken = core::iter::from_fn(|| table.take(&mut rows)).count();
        assert_eq!((taken, table.room(&rows)), (65_534, 0));
        let mut chain = Chain::EMPTY;
        assert_eq!(chain.pop(&mut rows), None);
        chain.push(&mut rows, 65_533);
        assert_eq!((chain.pop(&mut rows), chain), (Some(65_533), Chain::EMPTY));
    }

    #[test]
    fn chunks_of_a_packet_part_in_order() {
        let mut rows = [SentPacket::EMPTY; 4];
        let mut draft = Draft::new();
        for handle in [2, 0, 3] {
            draft.add(&mut rows, handle);
        }
        assert_eq!(draft.head, 2);
        assert_eq!(take_rest(&mut rows, 2), Some(0));
        assert_eq!(take_rest(&mut rows, 2), None);
        assert_eq!(take_rest(&mut rows, 0), Some(3));
        assert_eq!(take_rest(&mut rows, 3), None);
    }

    #[test]
    fn chains_keep_their_ends() {
        let mut rows = [SentPacket::EMPTY; 5];
        let mut chain = Chain::EMPTY;
        for handle in [4, 1, 2] {
            chain.push(&mut rows, handle);
        }
        chain.unlink(&mut rows, 1, 2);
        chain.push(&mut rows, 0);
        chain.replace(&mut rows, 4, 1, 3);
        chain.replace(&mut rows, 3, 0, 1);
        chain.push(&mut rows, 2);
        let popped: Vec<u16> = core::iter::from_fn(|| chain.pop(&mut rows)).collect();
        assert_eq!(popped, [4, 3, 1, 2]);
        assert_eq!(chain, Chain::EMPTY);
        chain.push(&mut rows, 1);
        assert_eq!(chain.pop(&mut rows), Some(1));
    }
}
