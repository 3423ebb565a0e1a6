//! What a sent packet carried for one stream, and the order in which a stream's chunks lie.
//!
//! A [`Chunk`] lives inside a row of the table of sent packets. Which bytes of a stream are in flight, lost or
//! acknowledged is known by these chunks alone: there is no second book to keep in step.
//!
//! ```text
//! push --> in flight --on_acked--> gone
//!            |    ^
//!         on_lost resend
//!            v    |
//!             lost
//! ```
//!
//! Who owns the row, and who frees it: a row in flight belongs to the packet it went with. When that is acknowledged, the
//! stream unlinks the chunk and the packet's owner frees the row. When it is lost, the row passes to the stream, which
//! hands it to the next packet that carries these bytes. Rows that a stream owns and needs no more leave as [`Rows`].

use crate::table::halves::Halves;
use crate::table::list::{Link, Linked, List, NONE, at, at_mut};

/// The number of the lists that [`Chunks`] are.
const CHUNKS: usize = 0;
/// In `next_lost` of a chunk that is not lost.
const NOT_LOST: u16 = u16::MAX - 1;

/// What a chunk stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Carried {
    /// Nothing, or what nobody waits for any more. Its fate interests nobody.
    #[default]
    Nothing,
    /// Bytes of a stream; the owner is the stream's slot.
    Data,
    /// Bytes of the handshake; the owner is the number of the level.
    Crypto,
    /// MAX_STREAM_DATA; the owner is the stream's slot, the offset its ID. So for the following ones.
    MaxStreamData,
    /// STREAM_DATA_BLOCKED.
    StreamDataBlocked,
    /// RESET_STREAM.
    ResetStream,
    /// STOP_SENDING.
    StopSending,
}

/// One frame of a sent packet, as far as its fate matters to a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    offset: Halves,
    len: u16,
    owner: u16,
    link: Link,
    next_lost: u16,
    carried: Carried,
    fin: bool,
}

impl Chunk {
    /// Carries nothing.
    pub const NOTHING: Self = Self::new(Carried::Nothing, NONE, 0, 0, false);

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self { owner: 0, link: Link::BLANK, next_lost: 0, ..Self::NOTHING };

    const fn new(carried: Carried, owner: u16, offset: u64, len: u16, fin: bool) -> Self {
        Self { offset: Halves::new(offset), len, owner, link: Link::OFF, next_lost: NOT_LOST, carried, fin }
    }

    /// A control frame of the stream with that slot and ID.
    pub const fn control(carried: Carried, slot: u16, id: u64) -> Self {
        Self::new(carried, slot, id, 0, false)
    }

    /// What it stands for.
    pub const fn carried(&self) -> Carried {
        self.carried
    }

    /// The slot or level it belongs to.
    pub const fn owner(&self) -> u16 {
        self.owner
    }

    /// Where its bytes begin; for a control frame, the stream ID.
    pub const fn offset(&self) -> u64 {
        self.offset.get()
    }

    /// How many bytes it carries.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it carries no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the stream ends with it.
    pub const fn is_fin(&self) -> bool {
        self.fin
    }

    /// Whether it was lost and waits to be sent again.
    pub const fn is_lost(&self) -> bool {
        self.next_lost != NOT_LOST
    }

    fn end(&self) -> u64 {
        self.offset().saturating_add(u64::from(self.len))
    }

    fn starting_at(self, offset: u64, len: u16) -> Self {
        Self { offset: Halves::new(offset), len, ..self }
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::NOTHING
    }
}

/// A row of the table of sent packets.
pub trait HasChunk {
    /// Its chunk.
    fn chunk(&self) -> &Chunk;
    /// Its chunk, to be changed.
    fn chunk_mut(&mut self) -> &mut Chunk;
}

impl HasChunk for Chunk {
    fn chunk(&self) -> &Chunk {
        self
    }

    fn chunk_mut(&mut self) -> &mut Chunk {
        self
    }
}

impl<R: HasChunk> Linked<CHUNKS> for R {
    fn link(&self) -> Link {
        self.chunk().link
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.chunk_mut().link
    }
}

/// The chunks of one stream that are in flight or lost, ordered by offset. All operations are O(1) but
/// [`Self::abandon`]; the rows are lent to each call and must always be the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunks {
    all: List<CHUNKS>,
    lost: Rows,
}

impl Chunks {
    /// None.
    pub const EMPTY: Self = Self { all: List::EMPTY, lost: Rows::NONE };

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self { all: List::BLANK, lost: Rows { head: 0, tail: 0 } };

    /// Whether nothing is in flight or lost.
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether something is lost.
    pub const fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Up to where everything is acknowledged, if everything below `sent` was sent once.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn acked_to<R: HasChunk>(&self, rows: &[R], sent: u64) -> u64 {
        self.all.head().and_then(|head| at(rows, head)).map_or(sent, |row| row.chunk().offset())
    }

    /// Notes bytes sent for the first time, in `row`, which was free. They follow all that was sent before.
    pub fn push<R: HasChunk>(&mut self, rows: &mut [R], row: u16, sent: Sent) {
        if let Some(slot) = at_mut(rows, row) {
            *slot.chunk_mut() = Chunk::new(sent.carried, sent.owner, sent.offset, sent.len, sent.fin);
            self.all.push_back(rows, row);
        }
    }

    /// The packet of `row` was acknowledged: the chunk is gone, the row is to be freed.
    pub fn on_acked<R: HasChunk>(&mut self, rows: &mut [R], row: u16) {
        debug_assert!(at(rows, row).is_some_and(|row| !row.chunk().is_lost()), "a lost row has no packet");
        self.all.remove(rows, row);
        if let Some(row) = at_mut(rows, row) {
            *row.chunk_mut() = Chunk::NOTHING;
        }
    }

    /// The packet of `row` was lost. Returns whether the row now belongs to the stream; if not, it is to be freed,
    /// because a lost neighbour has taken over its bytes. So a burst of losses needs few rows.
    pub fn on_lost<R: HasChunk>(&mut self, rows: &mut [R], row: u16) -> bool {
        let Some(chunk) = at(rows, row).map(HasChunk::chunk).copied() else { return false };
        let merged = self.merge_into_prev(rows, row, &chunk) || self.merge_into_next(rows, row, &chunk);
        if merged {
            self.on_acked(rows, row);
        } else {
            self.lost.push(rows, row);
        }
        !merged
    }

    /// The chunk that was lost first.
    pub fn first_lost<'a, R: HasChunk>(&self, rows: &'a [R]) -> Option<&'a Chunk> {
        at(rows, self.lost.head).map(HasChunk::chunk)
    }

    /// The first `len` bytes of [`Self::first_lost`] were sent again. All of them: the row itself goes with the new
    /// packet. Some of them: they go in the row `spare`, and the lost row keeps the rest. Returns the row that the
    /// packet now owns; `None`, and nothing changes, if a spare row is needed and not there.
    pub fn resend<R: HasChunk>(&mut self, rows: &mut [R], spare: Option<u16>, len: usize) -> Option<u16> {
        let lost = self.lost.head;
        let chunk = *at(rows, lost)?.chunk();
        let rest = chunk.len().checked_sub(len).and_then(|rest| u16::try_from(rest).ok())?;
        if rest == 0 {
            return self.lost.pop(rows);
        }
        let (spare, len) = (spare?, u16::try_from(len).ok()?);
        let first = Chunk::new(chunk.carried, chunk.owner, chunk.offset(), len, false);
        *at_mut(rows, spare)?.chunk_mut() = first;
        *at_mut(rows, lost)?.chunk_mut() = chunk.starting_at(first.end(), rest);
        self.all.insert_before(rows, lost, spare);
        Some(spare)
    }

    /// Forgets all chunks: what is in flight interests nobody any more, and the rows of what was lost are handed out.
    /// One step per chunk.
    #[must_use = "the rows must be freed"]
    pub fn abandon<R: HasChunk>(&mut self, rows: &mut [R]) -> Rows {
        while let Some(row) = self.all.pop_front(rows) {
            if let Some(chunk) = at_mut(rows, row).map(HasChunk::chunk_mut) {
                *chunk = Chunk { next_lost: chunk.next_lost, ..Chunk::NOTHING };
            }
        }
        core::mem::replace(&mut self.lost, Rows::NONE)
    }

    fn merge_into_prev<R: HasChunk>(&self, rows: &mut [R], row: u16, chunk: &Chunk) -> bool {
        let prev = self.all.prev(rows, row).and_then(|prev| at_mut(rows, prev)).map(HasChunk::chunk_mut);
        let Some(prev) = prev.filter(|prev| prev.is_lost() && prev.end() == chunk.offset()) else {
            return false;
        };
        let Some(len) = prev.len.checked_add(chunk.len) else { return false };
        *prev = Chunk { len, fin: chunk.fin, ..*prev };
        true
    }

    fn merge_into_next<R: HasChunk>(&self, rows: &mut [R], row: u16, chunk: &Chunk) -> bool {
        let next = self.all.next(rows, row).and_then(|next| at_mut(rows, next)).map(HasChunk::chunk_mut);
        let Some(next) = next.filter(|next| next.is_lost() && next.offset() == chunk.end()) else {
            return false;
        };
        let Some(len) = next.len.checked_add(chunk.len) else { return false };
        *next = next.starting_at(chunk.offset(), len);
        true
    }
}

/// What [`Chunks::push`] notes.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// [`Carried::Data`] or [`Carried::Crypto`].
    pub carried: Carried,
    /// The slot or level.
    pub owner: u16,
    /// Where the bytes begin.
    pub offset: u64,
    /// How many there are.
    pub len: u16,
    /// Whether the stream ends with them.
    pub fin: bool,
}

/// A queue of rows that belong to no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rows {
    head: u16,
    tail: u16,
}

impl Rows {
    /// None.
    pub const NONE: Self = Self { head: NONE, tail: NONE };

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Takes the first one out.
    pub fn pop<R: HasChunk>(&mut self, rows: &mut [R]) -> Option<u16> {
        let head = self.head;
        let chunk = at_mut(rows, head)?.chunk_mut();
        self.head = core::mem::replace(&mut chunk.next_lost, NOT_LOST);
        if self.is_empty() {
            self.tail = NONE;
        }
        Some(head)
    }

    /// Puts all of `more` behind these.
    pub fn append<R: HasChunk>(&mut self, rows: &mut [R], more: Self) {
        match at_mut(rows, self.tail) {
            Some(tail) => tail.chunk_mut().next_lost = more.head,
            None => self.head = more.head,
        }
        if !more.is_empty() {
            self.tail = more.tail;
        }
    }

    fn push<R: HasChunk>(&mut self, rows: &mut [R], row: u16) {
        if let Some(slot) = at_mut(rows, row) {
            slot.chunk_mut().next_lost = NONE;
            self.append(rows, Self { head: row, tail: row });
        }
    }
}

#[cfg(test)]
mod tests;
