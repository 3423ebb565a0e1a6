//! Frames to the peer, and their fate.
//!
//! A packet is filled by calling [`Streams::write_limits`] once, then [`Streams::write_control`] and
//! [`Streams::write_data`] until they return `None`. Each row returned belongs to the packet. When the packet is
//! acknowledged or lost, [`Streams::on_acked`] or [`Streams::on_lost`] is called for each of its rows, and
//! [`Streams::on_kinds_lost`] for what it carried without a row.

use crate::ids::{Dir, PathRow, StreamId};
use crate::stream::copies::Copies;
use crate::stream::row::{News, Stream};
use crate::stream::send::Packet;
use crate::stream::tie::{Over, Tie};
use crate::stream::{Closed, StreamMemory, Streams};
use crate::table::chunk::{Carried, HasChunk};
use crate::table::list::{at, at_mut};
use crate::wire::PacketWriter;
use crate::wire::frame::{DataBlocked, Frame, Kind, Kinds, MaxData, MaxStreams, StreamsBlocked};

/// Less room than this at the end of a packet is left empty: a frame of a few bytes would cost a row and little would
/// be gained.
const MIN_ROOM: usize = 24;

impl Streams {
    /// Whether any of the `write` calls has something to write.
    pub fn wants_to_send(&self, memory: &StreamMemory<'_>, over: &Over) -> bool {
        self.wants_data(memory, over) || self.wants_control() || self.wants_limits()
    }

    /// Whether [`Self::write_limits`] has something to write.
    fn wants_limits(&self) -> bool {
        let wants = |dir| self.peer.of(dir).credit.wants_frame() || self.local.of(dir).credit.wants_frame();
        self.inflow.credit.wants_frame()
            || self.outflow.credit.wants_frame()
            || wants(Dir::Bi)
            || wants(Dir::Uni)
    }

    /// Whether [`Self::write_control`] has something to write.
    pub fn wants_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Whether [`Self::write_data`] has something to write, and `out` room for it.
    pub fn may_write_data(&self, memory: &StreamMemory<'_>, over: &Over, out: &PacketWriter<'_>) -> bool {
        out.room() >= MIN_ROOM && self.wants_data(memory, over)
    }

    /// Whether streams have bytes to send over a path, or their end.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn wants_data(&self, memory: &StreamMemory<'_>, over: &Over) -> bool {
        !self.order.is_empty() && self.order.next(memory.rows, self.outflow.room() > 0, over).is_some()
    }

    /// Whether a stream was ever tied to a path.
    pub const fn has_ties(&self) -> bool {
        matches!(self.order.tied.get(), Some(true))
    }

    /// Ties a stream to a path.
    ///
    /// # Errors
    /// If there is no such stream (any more).
    pub fn set_tie(&mut self, memory: &mut StreamMemory<'_>, id: StreamId, tie: Tie) -> Result<(), Closed> {
        let slot = self.slot_of(memory, id).ok_or(Closed)?;
        if let (Some(place), Some(tied)) =
            (at_mut(memory.rows, slot).and_then(Stream::tie_mut), self.order.tied.get_mut())
        {
            *place = tie;
            *tied |= tie != Tie::None;
        }
        Ok(())
    }

    /// About how many bytes wait to be sent: of streams that may send, and of them the first of each urgency and a few more.
    pub fn backlog(&self, memory: &StreamMemory<'_>) -> u64 {
        let room = self.outflow.room();
        let waiting = self.order.first(memory.rows).filter_map(|slot| at(memory.rows, slot));
        waiting.fold(0, |sum, row| row.send.backlog(room.saturating_sub(sum)).saturating_add(sum))
    }

    /// Writes the frames about the whole connection that are wanted and fit: MAX_DATA, MAX_STREAMS, DATA_BLOCKED,
    /// STREAMS_BLOCKED. The packet's [`Kinds`] are all that must be remembered of them.
    pub fn write_limits(&mut self, out: &mut PacketWriter<'_>) {
        if self.inflow.credit.wants_frame() {
            let max = self.inflow.next_limit();
            if out.push(&Frame::MaxData(MaxData { max })).is_ok() {
                self.inflow.credit.on_sent(max);
            }
        }
        if self.outflow.credit.wants_frame() {
            let limit = self.outflow.credit.limit();
            if out.push(&Frame::DataBlocked(DataBlocked { limit })).is_ok() {
                self.outflow.credit.on_sent();
            }
        }
        for dir in [Dir::Bi, Dir::Uni] {
            let peer = self.peer.of_mut(dir);
            let max = peer.next_limit();
            if peer.credit.wants_frame() && out.push(&Frame::MaxStreams(MaxStreams { dir, max })).is_ok() {
                peer.credit.on_sent(max);
            }
            let local = &mut self.local.of_mut(dir).credit;
            let limit = local.limit();
            if local.wants_frame() && out.push(&Frame::StreamsBlocked(StreamsBlocked { dir, limit })).is_ok()
            {
                local.on_sent();
            }
        }
    }

    /// Writes one frame about a stream: RESET_STREAM, STOP_SENDING, MAX_STREAM_DATA, STREAM_DATA_BLOCKED. Returns `spare`
    /// if it was used; `None` if there is nothing to write, no room, or no spare row.
    pub fn write_control<R: HasChunk>(
        &mut self,
        memory: &mut StreamMemory<'_>,
        sent: &mut [R],
        spare: Option<u16>,
        out: &mut PacketWriter<'_>,
    ) -> Option<u16> {
        let (spare, slot) = (spare?, self.control.head()?);
        let chunk = at_mut(sent, spare)?.chunk_mut();
        *chunk = at_mut(memory.rows, slot)?.write_control(slot, self.rx_share as usize, out)?;
        self.settle(memory, slot);
        Some(spare)
    }

    /// Writes one STREAM frame of the stream whose turn it is. Returns the row that describes it: `spare`, or, for bytes that
    /// are sent again in one piece, a row that the streams owned. `None` if there is nothing to write, no room, or if a
    /// spare row is needed and not there.
    pub fn write_data<R: HasChunk>(
        &mut self,
        memory: &mut StreamMemory<'_>,
        sent: &mut [R],
        spare: Option<u16>,
        over: &Over,
        out: &mut PacketWriter<'_>,
    ) -> Option<u16> {
        let room = self.outflow.room();
        let slot = self.order.next(memory.rows, room > 0, over).filter(|_| out.room() >= MIN_ROOM)?;
        let lent = self.lend(memory, slot)?;
        let packet = Packet { out, rows: sent, spare };
        let emitted = lent.row.send.emit(lent.row.id, slot, lent.tx, room, packet)?;
        self.outflow.on_sent(emitted.fresh);
        self.order.rotate(memory.rows, slot);
        self.settle(memory, slot);
        Some(emitted.row)
    }

    /// What a row describes was sent: of a redundant stream, copies go over these paths too.
    pub fn copy<R: HasChunk>(
        &self,
        memory: &StreamMemory<'_>,
        sent: &[R],
        row: u16,
        copies: &mut Copies,
        over: impl Iterator<Item = PathRow>,
    ) {
        let Some(chunk) = at(sent, row).map(HasChunk::chunk) else { return };
        let slot = chunk.owner();
        if at(memory.rows, slot).is_some_and(|row| row.tie() == Tie::Every) {
            let len = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
            copies.add(slot, chunk.offset(), len, over);
        }
    }

    /// Writes copies for a path as long as they fit.
    pub fn write_copies(
        &mut self,
        memory: &mut StreamMemory<'_>,
        copies: &mut Copies,
        path: PathRow,
        out: &mut PacketWriter<'_>,
    ) {
        while out.room() >= MIN_ROOM {
            let Some(copy) = copies.take(path) else { return };
            // By now the slot may hold another stream, or the bytes may have arrived.
            if let Some(lent) = self.lend(memory, copy.slot).filter(|lent| lent.row.tie() == Tie::Every) {
                lent.row.send.emit_copy(lent.row.id, lent.tx, copy.offset.get(), copy.len.into(), out);
            }
        }
    }

    /// The packet of a row was acknowledged. The row is then to be freed by whoever keeps the sent rows.
    pub fn on_acked<R: HasChunk>(&mut self, memory: &mut StreamMemory<'_>, sent: &mut [R], row: u16) {
        let Some(chunk) = at(sent, row).map(HasChunk::chunk).copied() else { return };
        let slot = chunk.owner();
        match chunk.carried() {
            Carried::Nothing | Carried::Crypto => return,
            Carried::Data => {
                let Some(lent) = self.lend(memory, slot) else { return };
                let progress = lent.row.send.on_acked(lent.tx, sent, row);
                lent.row.untold.note(News::WRITABLE, progress.room);
                lent.row.untold.note(News::FINISHED, progress.finished);
            }
            control => {
                // The slot may hold another stream by now.
                let row = at_mut(memory.rows, slot).filter(|row| row.id.0 == chunk.offset());
                let Some(row) = row else { return };
                row.on_control_acked(control);
            }
        }
        self.settle(memory, slot);
    }

    /// The packet of a row was lost. Returns whether the row belongs to the streams now, which keep it until its bytes are
    /// sent again; if not, it is to be freed by whoever keeps the sent rows.
    #[must_use = "a row that is not kept must be freed"]
    pub fn on_lost<R: HasChunk>(&mut self, memory: &mut StreamMemory<'_>, sent: &mut [R], row: u16) -> bool {
        let Some(chunk) = at(sent, row).map(HasChunk::chunk).copied() else { return false };
        let slot = chunk.owner();
        let Some(stream) = at_mut(memory.rows, slot) else { return false };
        let kept = match chunk.carried() {
            Carried::Nothing | Carried::Crypto => return false,
            Carried::Data => stream.send.on_lost(sent, row),
            control if stream.id.0 == chunk.offset() => {
                stream.on_control_lost(control);
                false
            }
            _ => return false,
        };
        self.settle(memory, slot);
        kept
    }

    /// A packet that carried these kinds of frames was lost: what [`Self::write_limits`] wrote is wanted again.
    pub fn on_kinds_lost(&mut self, kinds: Kinds) {
        if kinds.has(Kind::MaxData) {
            self.inflow.credit.on_lost();
        }
        if kinds.has(Kind::DataBlocked) {
            self.outflow.credit.on_lost();
        }
        for dir in [Dir::Bi, Dir::Uni] {
            // The kind does not tell the direction; one that was never sent is not wanted by this.
            if kinds.has(Kind::MaxStreams) {
                self.peer.of_mut(dir).credit.on_lost();
            }
            if kinds.has(Kind::StreamsBlocked) {
                self.local.of_mut(dir).credit.on_lost();
            }
        }
    }

    /// A sent row that the streams owned and need no more, to be freed by whoever keeps the sent rows.
    pub fn take_row<R: HasChunk>(&mut self, sent: &mut [R]) -> Option<u16> {
        self.unowned.pop(sent)
    }
}
