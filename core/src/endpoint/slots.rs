//! The slots of an endpoint: where its connections live, which of them have something to do, which are free.

use crate::connection::{CIDS_PER_PATH, Connection, MAX_LOCAL_CIDS, Memory};
use crate::limits::MAX_PATHS;
use crate::session::Session;
use crate::table::heap::Node;
use crate::table::map::Entry;
use crate::wire::Cid;

const NONE: u32 = u32::MAX;

/// A connection of an endpoint. Stays valid until the connection is taken out; a later connection in the same slot
/// has another handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Handle {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl Handle {
    /// The number of the slot, below the number of slots: an index for what an adapter keeps per connection.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// Where one connection lives.
#[derive(Debug)]
pub struct Slot<M, S> {
    pub(super) connection: Option<Connection<M, S>>,
    pub(super) generation: u32,
    /// Counted among the handshakes that run.
    pub(super) half_open: bool,
    /// The client's first DCID, routed here until the handshake is over.
    pub(super) original_dcid: Cid,
    /// The remote address under which the slot is indexed.
    pub(super) remote: Option<core::net::SocketAddr>,
    ready: Link,
    news: Link,
    draining: Link,
    next_free: u32,
}

impl<M, S> Slot<M, S> {
    /// A free slot.
    pub const EMPTY: Self = Self {
        connection: None,
        generation: 0,
        half_open: false,
        original_dcid: Cid::EMPTY,
        remote: None,
        ready: Link::Out,
        news: Link::Out,
        draining: Link::Out,
        next_free: NONE,
    };
}

/// A place in a list: not in it, or in it with the next slot behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Out,
    In(u32),
}

/// A first-in, first-out list of slots, each at most once.
#[derive(Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
    which: Which,
}

/// What a list is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    /// Slots that may have something to transmit.
    Ready,
    /// Slots that may have something to tell.
    News,
    /// Slots whose peers have ended the connection, the first of them first.
    Draining,
}

impl List {
    pub(super) const fn new(which: Which) -> Self {
        Self { head: NONE, tail: NONE, which }
    }

    pub(super) fn head(&self) -> Option<u32> {
        if self.head == NONE { None } else { Some(self.head) }
    }

    /// Appends a slot unless it is in the list.
    pub(super) fn push<M, S>(&mut self, slots: &mut [Slot<M, S>], slot: u32) {
        let Some(link) = self.link(slots, slot) else { return };
        if *link != Link::Out {
            return;
        }
        *link = Link::In(NONE);
        match self.link(slots, self.tail) {
            Some(last) => *last = Link::In(slot),
            None => self.head = slot,
        }
        self.tail = slot;
    }

    /// Takes the first slot.
    pub(super) fn pop<M, S>(&mut self, slots: &mut [Slot<M, S>]) -> Option<u32> {
        let first = self.head()?;
        let link = self.link(slots, first)?;
        self.head = match *link {
            Link::In(next) => next,
            Link::Out => NONE,
        };
        *link = Link::Out;
        if self.head == NONE {
            self.tail = NONE;
        }
        Some(first)
    }

    fn link<'a, M, S>(&self, slots: &'a mut [Slot<M, S>], slot: u32) -> Option<&'a mut Link> {
        let slot = slots.get_mut(slot as usize)?;
        Some(match self.which {
            Which::Ready => &mut slot.ready,
            Which::News => &mut slot.news,
            Which::Draining => &mut slot.draining,
        })
    }
}

/// Which slots are free: those that were given back, and all from `fresh` on, which were never used.
#[derive(Debug)]
pub(super) struct FreeSlots {
    first: u32,
    fresh: u32,
}

impl FreeSlots {
    pub(super) const fn new() -> Self {
        Self { first: NONE, fresh: 0 }
    }

    pub(super) fn take<M, S>(&mut self, slots: &[Slot<M, S>]) -> Option<u32> {
        if let Some(slot) = slots.get(self.first as usize) {
            return Some(core::mem::replace(&mut self.first, slot.next_free));
        }
        let fresh = self.fresh;
        slots.get(fresh as usize)?;
        self.fresh = fresh.saturating_add(1);
        Some(fresh)
    }

    pub(super) fn give<M, S>(&mut self, slots: &mut [Slot<M, S>], slot: u32) {
        if let Some(row) = slots.get_mut(slot as usize) {
            row.next_free = core::mem::replace(&mut self.first, slot);
        }
    }
}

/// The memory of an endpoint, borrowed for one call.
#[derive(Debug)]
pub struct Tables<'a, M, S> {
    /// Connections.
    pub slots: &'a mut [Slot<M, S>],
    /// The index of connection IDs and remote addresses: [`ENTRIES_PER_SLOT`] per slot.
    pub index: &'a mut [Entry],
    /// The timers: one node per slot.
    pub timers: &'a mut [Node],
}

/// Connection IDs that a connection issues at most: of one path, or of all of [`Storage`](crate::connection::Storage).
const CIDS: usize = if cfg!(feature = "multipath") { MAX_PATHS * CIDS_PER_PATH } else { MAX_LOCAL_CIDS };
/// Index entries that a slot needs, so that the index is at most half full: its connection IDs, the client's first
/// DCID and its remote address, twice.
pub const ENTRIES_PER_SLOT: usize = 2 * (CIDS + 2);

/// Lends an endpoint its tables.
pub trait EndpointMemory {
    /// The memory of one connection.
    type Memory: Memory;
    /// The session of one connection.
    type Session: Session;

    /// The tables; the same ones at every call.
    fn tables(&mut self) -> Tables<'_, Self::Memory, Self::Session>;
}

/// Memory for an endpoint of `N` connections, in arrays.
#[derive(Debug)]
pub struct Slots<M, S, const N: usize> {
    slots: [Slot<M, S>; N],
    index: [[Entry; ENTRIES_PER_SLOT]; N],
    timers: [Node; N],
}

impl<M, S, const N: usize> Slots<M, S, N> {
    /// Empty slots.
    pub const fn new() -> Self {
        Self {
            slots: [const { Slot::EMPTY }; N],
            index: [[Entry::EMPTY; ENTRIES_PER_SLOT]; N],
            timers: [Node::EMPTY; N],
        }
    }
}

impl<M, S, const N: usize> Default for Slots<M, S, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Memory, S: Session, const N: usize> EndpointMemory for Slots<M, S, N> {
    type Memory = M;
    type Session = S;

    fn tables(&mut self) -> Tables<'_, M, S> {
        Tables { slots: &mut self.slots, index: self.index.as_flattened_mut(), timers: &mut self.timers }
    }
}
