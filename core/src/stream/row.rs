//! One row of the table of streams.

use crate::feature::WithMultipath;
use crate::ids::StreamId;
use crate::limits::PRIORITIES;
use crate::stream::recv::RecvHalf;
use crate::stream::send::{Demand, SendHalf};
use crate::stream::tie::Tie;
use crate::table::chunk::{Carried, Chunk};
use crate::table::index::Keyed;
use crate::table::list::{Link, Linked};
use crate::wire::PacketWriter;
use crate::wire::frame::{Frame, MaxStreamData, ResetStream, StopSending, StreamDataBlocked};

/// Lists of what has data to send, by urgency; a free row uses the same link for the list of free rows.
pub(super) const ORDER: usize = 0;
/// The list of what has control frames to send.
pub(super) const CONTROL: usize = 1;
/// The list of what has news for the application.
pub(super) const NEWS: usize = 2;

/// The ID in a row that holds no stream.
const VACANT: StreamId = StreamId(u64::MAX);
/// The urgency of a stream that was given none.
const DEFAULT_URGENCY: u8 = (PRIORITIES / 2) as u8;

/// A stream, both halves. Plain data; [`Stream::VACANT`] fills a table.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub(super) id: StreamId,
    pub(super) recv: RecvHalf,
    pub(super) send: SendHalf,
    order: Link,
    control: Link,
    news: Link,
    /// The demand by which it stands on the lists.
    pub(super) queued: Demand,
    pub(super) urgency: u8,
    pub(super) untold: News,
    tie: WithMultipath<Tie>,
}

impl Stream {
    /// No stream.
    pub const VACANT: Self = Self {
        id: VACANT,
        recv: RecvHalf::ABSENT,
        send: SendHalf::ABSENT,
        order: Link::OFF,
        control: Link::OFF,
        news: Link::OFF,
        queued: Demand::Nothing,
        urgency: DEFAULT_URGENCY,
        untold: News(0),
        tie: WithMultipath::new(Tie::None),
    };

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self {
        id: StreamId(0),
        send: SendHalf::BLANK,
        order: Link::BLANK,
        control: Link::BLANK,
        news: Link::BLANK,
        urgency: 0,
        ..Self::VACANT
    };

    /// A new stream in the slot of this row.
    pub(super) fn open(&mut self, id: StreamId) {
        *self = Self { id, recv: self.recv, ..Self::VACANT };
    }

    /// Which paths carry its bytes.
    pub(super) const fn tie(&self) -> Tie {
        match self.tie.get() {
            Some(tie) => *tie,
            None => Tie::None,
        }
    }

    /// As [`Self::tie`], to be changed.
    pub(super) const fn tie_mut(&mut self) -> Option<&mut Tie> {
        self.tie.get_mut()
    }

    /// Whether there is no stream.
    pub(super) fn is_vacant(&self) -> bool {
        self.id == VACANT
    }

    /// The stream is gone. What the receiving half knows of its memory stays.
    pub(super) fn vacate(&mut self) {
        self.id = VACANT;
    }

    /// Whether nothing can happen any more and the application knows everything.
    pub(super) const fn is_over(&self) -> bool {
        self.recv.is_over()
            && self.send.is_over()
            && !self.untold.has(News::FINISHED)
            && !self.untold.has(News::STOPPED)
    }

    /// Whether a control frame is to be sent.
    pub(super) const fn wants_frame(&self) -> bool {
        self.recv.wants_frame() || self.send.wants_frame()
    }

    /// Writes one control frame that is wanted and returns the chunk that describes it; `None` if it does not fit.
    pub(super) fn write_control(
        &mut self,
        slot: u16,
        rx_area: usize,
        out: &mut PacketWriter<'_>,
    ) -> Option<Chunk> {
        let id = self.id;
        let carried = if let Some((code, final_size)) = self.send.reset_frame() {
            out.push(&Frame::ResetStream(ResetStream { id, code, final_size })).ok()?;
            self.send.on_reset_sent();
            Carried::ResetStream
        } else if let Some(code) = self.recv.stop_code() {
            out.push(&Frame::StopSending(StopSending { id, code })).ok()?;
            self.recv.on_stop_sent();
            Carried::StopSending
        } else if let Some(max) = self.recv.next_limit(rx_area) {
            out.push(&Frame::MaxStreamData(MaxStreamData { id, max })).ok()?;
            self.recv.on_limit_sent(max);
            Carried::MaxStreamData
        } else {
            let limit = self.send.blocked_limit()?;
            out.push(&Frame::StreamDataBlocked(StreamDataBlocked { id, limit })).ok()?;
            self.send.on_blocked_sent();
            Carried::StreamDataBlocked
        };
        Some(Chunk::control(carried, slot, id.0))
    }

    /// A control frame was acknowledged.
    pub(super) fn on_control_acked(&mut self, carried: Carried) {
        match carried {
            Carried::ResetStream => self.send.on_reset_acked(),
            Carried::StopSending => self.recv.on_stop_acked(),
            Carried::MaxStreamData => self.recv.on_limit_acked(),
            _ => {}
        }
    }

    /// A control frame was lost.
    pub(super) fn on_control_lost(&mut self, carried: Carried) {
        match carried {
            Carried::ResetStream => self.send.on_reset_lost(),
            Carried::StopSending => self.recv.on_stop_lost(),
            Carried::MaxStreamData => self.recv.on_limit_lost(),
            Carried::StreamDataBlocked => self.send.on_blocked_lost(),
            _ => {}
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::VACANT
    }
}

impl Keyed for Stream {
    fn key(&self) -> u64 {
        self.id.0
    }
}

impl Linked<ORDER> for Stream {
    fn link(&self) -> Link {
        self.order
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.order
    }
}

impl Linked<CONTROL> for Stream {
    fn link(&self) -> Link {
        self.control
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.control
    }
}

impl Linked<NEWS> for Stream {
    fn link(&self) -> Link {
        self.news
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.news
    }
}

/// News of a stream that the application was not told yet, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News(u8);

impl News {
    pub(super) const READABLE: u8 = 1;
    pub(super) const WRITABLE: u8 = 2;
    pub(super) const FINISHED: u8 = 4;
    pub(super) const STOPPED: u8 = 8;

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn has(self, news: u8) -> bool {
        self.0 & news != 0
    }

    /// Notes `news` if there is reason to.
    pub(super) const fn note(&mut self, news: u8, reason: bool) {
        if reason {
            self.0 |= news;
        }
    }

    /// Takes `news` away; returns whether they were there.
    pub(super) const fn take(&mut self, news: u8) -> bool {
        let had = self.has(news);
        self.0 &= !news;
        had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Stream>() <= 160, "{}", size_of::<Stream>());
    }
}
