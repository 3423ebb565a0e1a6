//! Streams (RFC 9000 2, 3, 4, 13.3, 19.4, 19.5, 19.8 to 19.14).
//!
//! | file | what |
//! | --- | --- |
//! | `row` | a row of the table: both halves, and where it stands on lists |
//! | `recv`, `send` | the state diagrams of RFC 9000 section 3, one half each |
//! | `flow` | flow control: one kind of credit each way |
//! | `concurrency` | which streams may exist |
//! | `order` | which stream sends next |
//! | `incoming` | frames from the peer |
//! | `outgoing` | frames to the peer, and their fate |
//! | `app` | what the application does, and what it is told |
//!
//! **Memory** is lent to each call: a row for each stream, an index from ID to row, and for each row an equal share of the
//! receive and of the send area. A peer is never let open more streams than rows are reserved for it, nor send more than
//! its shares hold: no well-behaved peer meets a full table.
//!
//! **A row is freed** when both halves are over and the application was told: it has read the end or the reset, or
//! stopped reading, and has seen that what it sent was received, or that the peer stopped it. So an application must read each
//! stream to its end, or stop it.
//!
//! **Sent rows**: see [`chunk`](crate::table::chunk). Whoever builds a packet offers a free sent row; a call that writes
//! returns the row it used, which then belongs to the packet: the offered one, or one that the streams owned. After
//! any call that was given sent rows, those that [`Streams::take_row`] yields are to be freed.
//!
//! Not here: 0-RTT limits, and RESET_STREAM_AT.

mod app;
mod concurrency;
pub mod copies;
mod flow;
mod incoming;
mod order;
mod outgoing;
mod recv;
mod row;
mod send;
pub mod tie;

pub use app::{OpenError, StreamEvent};
pub use recv::{Closed, Read, RecvState};
pub use row::Stream;
pub use send::{SendState, WriteError};
pub use tie::Tie;

use core::ops::Range;

use crate::ids::{Dir, OurSide, Side, StreamId};
use crate::stream::concurrency::{LocalStreams, PeerStreams, PerDir};
use crate::stream::flow::{Inflow, Outflow};
use crate::stream::order::Order;
use crate::stream::row::{CONTROL, NEWS, ORDER};
use crate::stream::send::SendHalf;
use crate::stream::tie::Over;
use crate::table::chunk::Rows;
use crate::table::index::Index;
use crate::table::list::{List, at, at_mut};
use crate::table::reassembly::capacity;

/// The memory of the streams of one connection. Any contents will do at first; later calls must be lent the same.
#[derive(Debug)]
pub struct StreamMemory<'a> {
    /// One row for each stream that may exist at once.
    pub rows: &'a mut [Stream],
    /// Two entries for each row.
    pub index: &'a mut [u16],
    /// Receive memory, an equal share for each row. Eight ninths of a share are the window of a stream.
    pub rx: &'a mut [u8],
    /// Send memory, an equal share for each row.
    pub tx: &'a mut [u8],
}

/// What is decided before the first stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamsConfig {
    /// Our role.
    pub side: Side,
    /// Bidirectional streams that the peer may have open at once.
    pub peer_bidi: u16,
    /// Unidirectional streams that the peer may have open at once.
    pub peer_uni: u16,
    /// Bytes that may lie unread on all streams together; `None` is the sum of their windows.
    pub window: Option<u64>,
    /// A random number that the peer does not know.
    pub secret: u64,
}

/// First limits, as transport parameters tell them (RFC 9000 18.2). "Local" and "remote" are seen by who tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstLimits {
    /// Bytes on all streams.
    pub max_data: u64,
    /// Bytes on a bidirectional stream that the one who tells opens.
    pub stream_data_bidi_local: u64,
    /// Bytes on a bidirectional stream that the other one opens.
    pub stream_data_bidi_remote: u64,
    /// Bytes on a unidirectional stream.
    pub stream_data_uni: u64,
    /// Bidirectional streams.
    pub streams_bidi: u64,
    /// Unidirectional streams.
    pub streams_uni: u64,
}

/// The streams of one connection.
#[derive(Clone, Debug)]
pub struct Streams {
    side: OurSide,
    index: Index,
    inflow: Inflow,
    outflow: Outflow,
    peer: PerDir<PeerStreams>,
    local: PerDir<LocalStreams>,
    /// The peer's limits for new streams.
    first: FirstLimits,
    order: Order,
    control: List<CONTROL>,
    news: List<NEWS>,
    free: List<ORDER>,
    /// Rows from here on were never used.
    unused: u16,
    /// Rows that may hold streams of ours, less those that do.
    local_room: u16,
    rx_share: u32,
    tx_share: u32,
    /// Sent rows to be freed.
    unowned: Rows,
}

/// What belongs to one slot.
struct Slot<'m> {
    row: &'m mut Stream,
    rx: &'m mut [u8],
    tx: &'m mut [u8],
}

impl Streams {
    /// No streams. What the memory does not suffice for is not promised to the peer.
    pub fn new(config: &StreamsConfig, memory: &mut StreamMemory<'_>) -> Self {
        Index::clear(memory.index);
        let slots = slots(memory);
        let share_of = |area: &[u8]| {
            area.len().checked_div(slots).map_or(0, |share| u32::try_from(share).unwrap_or(u32::MAX))
        };
        let (rx_share, tx_share) = (share_of(memory.rx), share_of(memory.tx));
        let slots = u16::try_from(slots).unwrap_or(0);
        let peer_bidi = config.peer_bidi.min(slots);
        let peer_uni = config.peer_uni.min(slots.saturating_sub(peer_bidi));
        let all_windows = (capacity(rx_share as usize) as u64).saturating_mul(u64::from(slots));
        Self {
            side: OurSide::new(config.side),
            index: Index::new(config.secret),
            inflow: Inflow::new(config.window.unwrap_or(all_windows)),
            outflow: Outflow::default(),
            peer: PerDir { bi: PeerStreams::new(peer_bidi), uni: PeerStreams::new(peer_uni) },
            local: PerDir::default(),
            first: FirstLimits::default(),
            order: Order::EMPTY,
            control: List::EMPTY,
            news: List::EMPTY,
            free: List::EMPTY,
            unused: 0,
            local_room: slots.saturating_sub(peer_bidi).saturating_sub(peer_uni),
            rx_share,
            tx_share,
            unowned: Rows::NONE,
        }
    }

    /// The limits that we tell the peer in our transport parameters.
    pub fn first_limits(&self) -> FirstLimits {
        let window = capacity(self.rx_share as usize) as u64;
        FirstLimits {
            max_data: self.inflow.credit.limit(),
            stream_data_bidi_local: window,
            stream_data_bidi_remote: window,
            stream_data_uni: window,
            streams_bidi: self.peer.bi.credit.limit(),
            streams_uni: self.peer.uni.credit.limit(),
        }
    }

    /// The limits that the peer's transport parameters tell. Before this call no stream can be opened.
    pub fn on_first_limits(&mut self, limits: FirstLimits) {
        self.first = limits;
        self.outflow.credit.raise(limits.max_data);
        let has_row = self.local_room > 0;
        self.local.bi.on_limit(limits.streams_bidi, has_row);
        self.local.uni.on_limit(limits.streams_uni, has_row);
    }

    /// How many of `rows` hold a stream. Looks at all that ever did.
    pub fn in_use(&self, rows: &[Stream]) -> usize {
        rows.iter().take(self.unused.into()).filter(|row| !row.is_vacant()).count()
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn slot_of(&self, memory: &StreamMemory<'_>, id: StreamId) -> Option<u16> {
        self.index.find(memory.index, memory.rows, id.0)
    }

    fn lend<'m>(&self, memory: &'m mut StreamMemory<'_>, slot: u16) -> Option<Slot<'m>> {
        Some(Slot {
            row: at_mut(memory.rows, slot)?,
            rx: memory.rx.get_mut(share(self.rx_share, slot))?,
            tx: memory.tx.get_mut(share(self.tx_share, slot))?,
        })
    }

    /// Gives a new stream a row; `None` if there is none, which the limits prevent.
    fn open_row(&mut self, memory: &mut StreamMemory<'_>, id: StreamId) -> Option<u16> {
        let slot = match self.free.pop_front(memory.rows) {
            Some(slot) => slot,
            None => {
                let slot = Some(self.unused).filter(|slot| usize::from(*slot) < slots(memory))?;
                *at_mut(memory.rows, slot)? = Stream::VACANT;
                self.unused = slot.saturating_add(1);
                slot
            }
        };
        let is_ours = id.initiator() == self.side.get();
        let limit = match (id.dir(), is_ours) {
            (Dir::Uni, _) => self.first.stream_data_uni,
            (Dir::Bi, true) => self.first.stream_data_bidi_remote,
            (Dir::Bi, false) => self.first.stream_data_bidi_local,
        };
        let (recv, send) = match (id.dir(), is_ours) {
            (Dir::Bi, _) => (RecvState::Recv, SendState::Open),
            (Dir::Uni, true) => (RecvState::Absent, SendState::Open),
            (Dir::Uni, false) => (RecvState::Recv, SendState::Absent),
        };
        let row = at_mut(memory.rows, slot)?;
        row.open(id);
        row.recv.open(recv, self.rx_share as usize);
        row.send = SendHalf::new(send, limit);
        self.index.insert(memory.index, memory.rows, slot).ok()?;
        Some(slot)
    }

    /// Brings the lists in line with a row that has changed, and frees it if it is over. Every call that changes a row
    /// ends here.
    fn settle(&mut self, memory: &mut StreamMemory<'_>, slot: u16) {
        self.order.place(memory.rows, slot);
        if self.outflow.room() == 0
            && self.order.next(memory.rows, false, &Over::Any)
                != self.order.next(memory.rows, true, &Over::Any)
        {
            self.outflow.credit.block();
        }
        let Some(row) = at(memory.rows, slot) else { return };
        let (wants_frame, has_news, is_over) = (row.wants_frame(), !row.untold.is_empty(), row.is_over());
        self.control.set(memory.rows, slot, wants_frame && !is_over);
        self.news.set(memory.rows, slot, has_news && !is_over);
        if is_over {
            self.close_row(memory, slot);
        }
    }

    fn close_row(&mut self, memory: &mut StreamMemory<'_>, slot: u16) {
        let Some(id) = at(memory.rows, slot).map(|row| row.id) else { return };
        self.index.remove(memory.index, memory.rows, slot);
        if let Some(row) = at_mut(memory.rows, slot) {
            row.vacate();
        }
        self.free.push_back(memory.rows, slot);
        if id.initiator() == self.side.get() {
            self.local_room = self.local_room.saturating_add(1);
            self.local.bi.on_row();
            self.local.uni.on_row();
        } else {
            self.peer.of_mut(id.dir()).on_closed();
        }
    }
}

/// Streams that there is memory for.
fn slots(memory: &StreamMemory<'_>) -> usize {
    memory.rows.len().min(memory.index.len() / 2).min(usize::from(u16::MAX).saturating_sub(1))
}

/// Where in an area the share of a slot lies.
fn share(share: u32, slot: u16) -> Range<usize> {
    let start = usize::from(slot).saturating_mul(share as usize);
    start..start.saturating_add(share as usize)
}

#[cfg(test)]
mod tests;
