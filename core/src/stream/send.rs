//! The sending half of a stream (RFC 9000 3.1, 3.3, 13.3).
//!
//! ```text
//! Open --finish--> Finishing --FIN sent--> DataSent --all acknowledged--> DataRecvd
//!   |                  |                      |
//!   '------reset, or STOP_SENDING received----'--> ResetSent --acknowledged--> ResetRecvd
//! ```
//!
//! `Open` is Ready and Send of RFC 9000 figure 2, which differ in nothing we do; `Finishing` is Send with an end that was
//! not sent yet. The ring holds the bytes from the first not acknowledged on to the last written; what of them is in
//! flight or lost, the [`Chunks`] in the sent rows know.
//!
//! ```text
//! acknowledged | in flight, lost, acknowledged | never sent | room
//!            base                             sent         end
//! ```

use crate::delivery::Delivery;
use crate::ids::StreamId;
use crate::stream::flow::SendCredit;
use crate::table::chunk::{Carried, Chunks, HasChunk, Rows, Sent};
use crate::table::ring::Ring;
use crate::wire::PacketWriter;
use crate::wire::cursor::varint_len;

/// States of RFC 9000 figure 2, and the state of a half that the stream does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum SendState {
    /// The stream only receives.
    #[default]
    Absent,
    /// The application may write.
    Open,
    /// The application has written everything; the end was not sent yet.
    Finishing,
    /// Everything was sent.
    DataSent,
    /// Everything was acknowledged.
    DataRecvd,
    /// We gave up, of ourselves or because the peer asked.
    ResetSent,
    /// The peer knows that we gave up.
    ResetRecvd,
}

/// Why nothing can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WriteError {
    /// No such stream (any more), or it has no sending half, or that is finished.
    Closed,
    /// The half was reset with this code: by us, or because the peer asked us to stop with it.
    Reset(u64),
}

/// What a half has to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub(super) enum Demand {
    /// Nothing, or nothing that the stream's own limit allows.
    #[default]
    Nothing,
    /// Bytes that count toward the limit of all streams.
    Fresh,
    /// Lost bytes, or the end alone: no limit applies.
    Free,
}

/// What an acknowledgment brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Progress {
    /// The application waits for room, and there is some now.
    pub(super) room: bool,
    /// Everything was acknowledged.
    pub(super) finished: bool,
}

/// The packet being built, as far as streams fill it.
#[derive(Debug)]
pub(super) struct Packet<'p, 'o, R> {
    pub(super) out: &'p mut PacketWriter<'o>,
    pub(super) rows: &'p mut [R],
    /// A free row for what was never sent, or only in part.
    pub(super) spare: Option<u16>,
}

/// A chunk that was put into a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Emitted {
    /// The row that describes it.
    pub(super) row: u16,
    /// How many of its bytes were never sent before.
    pub(super) fresh: u64,
}

/// The sending half of one stream. Its area of memory and the sent rows are lent to each call.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendHalf {
    ring: Ring,
    sent: u64,
    /// What MAX_STREAM_DATA told.
    credit: SendCredit,
    /// Of RESET_STREAM.
    code: u64,
    chunks: Chunks,
    state: SendState,
    /// RESET_STREAM.
    reset: Delivery,
    /// Whether the application was refused bytes for want of room.
    is_full: bool,
}

impl SendHalf {
    /// No half.
    pub(super) const ABSENT: Self = Self::new(SendState::Absent, 0);

    /// Zeros, of memory that no connection has used yet.
    pub(super) const BLANK: Self = Self { chunks: Chunks::BLANK, ..Self::ABSENT };

    /// The half of a new stream, of which the peer takes `limit` bytes.
    pub(super) const fn new(state: SendState, limit: u64) -> Self {
        Self {
            ring: Ring::EMPTY,
            sent: 0,
            credit: SendCredit::new(limit),
            code: 0,
            chunks: Chunks::EMPTY,
            state,
            reset: Delivery::Idle,
            is_full: false,
        }
    }

    /// The state.
    pub(super) const fn state(&self) -> SendState {
        self.state
    }

    /// Whether nothing can happen any more.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, SendState::Absent | SendState::DataRecvd | SendState::ResetRecvd)
    }

    /// What it has to send.
    pub(super) fn demand(&self) -> Demand {
        let unsent = self.ring.end().saturating_sub(self.sent);
        match self.state {
            _ if self.chunks.has_lost() => Demand::Free,
            SendState::Finishing if unsent == 0 => Demand::Free,
            SendState::Open | SendState::Finishing if unsent > 0 && self.credit.room(self.sent) > 0 => {
                Demand::Fresh
            }
            _ => Demand::Nothing,
        }
    }

    /// About how many bytes it would send now, if the limit of all streams leaves `room` for new ones. Lost ones count as one.
    pub(super) fn backlog(&self, room: u64) -> u64 {
        let unsent = self.ring.end().saturating_sub(self.sent);
        let fresh = unsent.min(self.credit.room(self.sent)).min(room);
        fresh.saturating_add(self.chunks.has_lost().into())
    }

    /// Whether RESET_STREAM or STREAM_DATA_BLOCKED is to be sent.
    pub(super) const fn wants_frame(&self) -> bool {
        self.reset.is_wanted() || self.credit.wants_frame()
    }

    /// The application writes; returns how many bytes were taken.
    pub(super) fn write(&mut self, area: &mut [u8], bytes: &[u8]) -> Result<usize, WriteError> {
        self.check_open()?;
        let taken = self.ring.append(area, bytes);
        self.is_full = taken < bytes.len();
        self.note_blocked();
        Ok(taken)
    }

    /// The application has written everything.
    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        self.check_open()?;
        self.state = SendState::Finishing;
        self.is_full = false;
        Ok(())
    }

    /// Gives up (RFC 9000 3.1). Returns the rows of what waited to be sent again; `None` if there is nothing to give up.
    pub(super) fn reset<R: HasChunk>(&mut self, rows: &mut [R], code: u64) -> Option<Rows> {
        if !matches!(self.state, SendState::Open | SendState::Finishing | SendState::DataSent) {
            return None;
        }
        self.state = SendState::ResetSent;
        self.code = code;
        self.reset.want();
        self.credit.close();
        self.is_full = false;
        Some(self.chunks.abandon(rows))
    }

    /// MAX_STREAM_DATA.
    pub(super) fn on_limit(&mut self, limit: u64) {
        self.credit.raise(limit);
        self.note_blocked();
    }

    /// Puts one STREAM frame into the packet: what was lost first, then at most `room` bytes that were never sent.
    /// `None` if the packet has no room or row for it.
    pub(super) fn emit<R: HasChunk>(
        &mut self,
        id: StreamId,
        slot: u16,
        area: &[u8],
        room: u64,
        packet: Packet<'_, '_, R>,
    ) -> Option<Emitted> {
        if self.chunks.has_lost() {
            self.emit_lost(id, area, packet)
        } else {
            self.emit_fresh(id, slot, area, room, packet)
        }
    }

    /// The packet of a data chunk was acknowledged.
    pub(super) fn on_acked<R: HasChunk>(&mut self, area: &[u8], rows: &mut [R], row: u16) -> Progress {
        self.chunks.on_acked(rows, row);
        let acked = self.chunks.acked_to(rows, self.sent).saturating_sub(self.ring.base());
        self.ring.release(area, usize::try_from(acked).unwrap_or(usize::MAX));
        let finished = self.state == SendState::DataSent && self.chunks.is_empty();
        if finished {
            self.state = SendState::DataRecvd;
        }
        // Waking the application for every packet would cost more than it brings.
        let free = area.len().saturating_sub(self.ring.len());
        let room = self.is_full && free >= area.len() / 4 && free > 0;
        self.is_full &= !room;
        Progress { room, finished }
    }

    /// The packet of a data chunk was lost. Returns whether the row belongs to the stream now.
    pub(super) fn on_lost<R: HasChunk>(&mut self, rows: &mut [R], row: u16) -> bool {
        self.chunks.on_lost(rows, row)
    }

    /// Code and final size of the RESET_STREAM frame, if one is wanted. Neither ever changes (RFC 9000 13.3).
    pub(super) fn reset_frame(&self) -> Option<(u64, u64)> {
        self.reset.is_wanted().then_some((self.code, self.sent))
    }

    /// The RESET_STREAM frame was sent.
    pub(super) fn on_reset_sent(&mut self) {
        self.reset.on_sent();
    }

    /// A RESET_STREAM frame was acknowledged; any copy will do.
    pub(super) fn on_reset_acked(&mut self) {
        if self.state == SendState::ResetSent {
            self.state = SendState::ResetRecvd;
            self.reset.forget();
        }
    }

    /// A RESET_STREAM frame was lost.
    pub(super) fn on_reset_lost(&mut self) {
        if self.state == SendState::ResetSent {
            self.reset.on_lost();
        }
    }

    /// The code the half was reset with, if it was.
    pub(super) fn reset_code(&self) -> Option<u64> {
        matches!(self.state, SendState::ResetSent | SendState::ResetRecvd).then_some(self.code)
    }

    /// The limit that a STREAM_DATA_BLOCKED frame names, if one is wanted.
    pub(super) fn blocked_limit(&self) -> Option<u64> {
        self.credit.wants_frame().then_some(self.credit.limit())
    }

    /// The STREAM_DATA_BLOCKED frame was sent.
    pub(super) fn on_blocked_sent(&mut self) {
        self.credit.on_sent();
    }

    /// A STREAM_DATA_BLOCKED frame was lost.
    pub(super) fn on_blocked_lost(&mut self) {
        self.credit.on_lost();
    }

    fn check_open(&self) -> Result<(), WriteError> {
        match (self.state, self.reset_code()) {
            (SendState::Open, _) => Ok(()),
            (_, Some(code)) => Err(WriteError::Reset(code)),
            _ => Err(WriteError::Closed),
        }
    }

    fn note_blocked(&mut self) {
        let is_sending = matches!(self.state, SendState::Open | SendState::Finishing);
        if is_sending && self.ring.end() > self.sent && self.credit.room(self.sent) == 0 {
            self.credit.block();
        }
    }

    fn emit_lost<R: HasChunk>(
        &mut self,
        id: StreamId,
        area: &[u8],
        packet: Packet<'_, '_, R>,
    ) -> Option<Emitted> {
        let Packet { out, rows, spare } = packet;
        let lost = *self.chunks.first_lost(rows)?;
        if spare.is_none() && out.room() < frame_len(id, lost.offset(), lost.len()) {
            return None;
        }
        let body = out.stream(id, lost.offset(), lost.len(), lost.is_fin()).ok()?;
        self.ring.copy_to(area, self.distance(lost.offset()), body);
        let len = body.len();
        let row = self.chunks.resend(rows, spare, len)?;
        Some(Emitted { row, fresh: 0 })
    }

    fn emit_fresh<R: HasChunk>(
        &mut self,
        id: StreamId,
        slot: u16,
        area: &[u8],
        room: u64,
        packet: Packet<'_, '_, R>,
    ) -> Option<Emitted> {
        let Packet { out, rows, spare } = packet;
        let row = spare?;
        let offset = self.sent;
        let unsent = self.ring.end().saturating_sub(offset);
        let may = unsent.min(self.credit.room(offset)).min(room).min(u64::from(u16::MAX));
        let fin = self.state == SendState::Finishing && may == unsent;
        if may == 0 && !fin {
            return None;
        }
        let body = out.stream(id, offset, usize::try_from(may).ok()?, fin).ok()?;
        self.ring.copy_to(area, self.distance(offset), body);
        let len = u16::try_from(body.len()).ok()?;
        let fresh = u64::from(len);
        let fin = fin && fresh == may;
        self.chunks.push(rows, row, Sent { carried: Carried::Data, owner: slot, offset, len, fin });
        self.sent = offset.saturating_add(fresh);
        if fin {
            self.state = SendState::DataSent;
        }
        self.note_blocked();
        Some(Emitted { row, fresh })
    }

    /// Puts bytes into a packet that were sent before, as many as it has room for. They are not remembered: see
    /// [`copies`](crate::stream::copies).
    pub(super) fn emit_copy(
        &self,
        id: StreamId,
        area: &[u8],
        offset: u64,
        len: usize,
        out: &mut PacketWriter<'_>,
    ) {
        let end = offset.saturating_add(len as u64);
        if len == 0 || offset < self.ring.base() || end > self.sent || self.reset_code().is_some() {
            return;
        }
        let fin =
            self.state == SendState::DataSent && end == self.sent && frame_len(id, offset, len) <= out.room();
        if let Ok(body) = out.stream(id, offset, len, fin) {
            self.ring.copy_to(area, self.distance(offset), body);
        }
    }

    fn distance(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.ring.base())).unwrap_or(usize::MAX)
    }
}

/// How long a STREAM frame is (RFC 9000 19.8).
fn frame_len(id: StreamId, offset: u64, len: usize) -> usize {
    let offset = if offset == 0 { 0 } else { varint_len(offset) };
    1_usize
        .saturating_add(varint_len(id.0))
        .saturating_add(offset)
        .saturating_add(varint_len(len as u64))
        .saturating_add(len)
}

#[cfg(test)]
mod tests;
