//! Many connections behind one set of sockets: slots, routing by connection ID, new clients, stateless replies.
//!
//! Implements RFC 9000 5.2 (matching packets to connections), 6.1 (sending Version Negotiation), 8.1 (address
//! validation), 10.3 (stateless reset). After any call: drain [`Endpoint::poll_transmit`] and
//! [`Endpoint::poll_event`], then sleep until [`Endpoint::next_timeout`] or a datagram. Work per datagram, per timer
//! and per event is the same for one connection and for thousands: an index, a heap of deadlines, and two lists of
//! those that have something to do.

mod accept;
pub mod admit;
mod care;
pub mod lookup;
mod slots;
pub mod stateless;
pub mod token;

pub use accept::{AcceptError, Connect, ConnectError, Incoming};
pub use admit::RetryPolicy;
pub use slots::{ENTRIES_PER_SLOT, EndpointMemory, Handle, Slot, Slots, Tables};

use core::time::Duration;

use crate::connection::{Config, Connection, Event, Plan, Transmit};
use crate::error::Why;
use crate::ids::{Ecn, FourTuple};
use crate::limits::MAX_PATHS;
use crate::session::EndpointCrypto;
use crate::table::heap::Heap;
use crate::time::{Deadline, Instant};
use crate::wire::header::Invariants;
use lookup::{HashKey, Index};
use slots::{FreeSlots, List, Which};
use stateless::Allowance;

/// What an endpoint is told at its beginning.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// What connections are made with.
    pub connection: Config,
    /// Whether clients are let in.
    pub server: bool,
    /// Bytes of the connection IDs we issue: 4 to 20, or 0 on a client that has one connection per remote address.
    pub cid_len: u8,
    /// When clients are asked to prove their address.
    pub retry: RetryPolicy,
    /// Handshakes of clients that may run at once; memory for handshakes is often scarcer than slots.
    pub max_half_open: usize,
    /// How long a client may take to answer a Retry.
    pub retry_lifetime: Duration,
    /// How long a token of a NEW_TOKEN frame is taken.
    pub token_lifetime: Duration,
    /// Stateless resets sent per second, at most (RFC 9000 21.11 asks for a bound).
    pub resets_per_second: u32,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            connection: Config::default(),
            server: false,
            cid_len: 8,
            retry: RetryPolicy::default(),
            max_half_open: usize::MAX,
            retry_lifetime: Duration::from_secs(15),
            token_lifetime: Duration::from_secs(24 * 3600),
            resets_per_second: 1_000,
        }
    }
}

/// What became of a datagram.
#[derive(Debug)]
pub enum Handled {
    /// It was for this connection.
    Connection(Handle),
    /// A new client that may come in: answer with [`Endpoint::accept`] or [`Endpoint::refuse`], with the same datagram.
    Incoming(Incoming),
    /// An answer without a connection now stands in the first bytes of the datagram's buffer: send that many of them
    /// back where the datagram came from.
    Reply(usize),
    /// Nobody wanted it.
    Ignored(Why),
}

/// Counts what no connection counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EndpointStats {
    /// Connections that clients opened.
    pub accepted: u64,
    /// Connections that we opened.
    pub connected: u64,
    /// Retry packets sent.
    pub retries: u64,
    /// Version Negotiation packets sent.
    pub negotiations: u64,
    /// Stateless resets sent.
    pub resets: u64,
    /// Clients refused.
    pub refused: u64,
    /// Datagrams nobody wanted.
    pub ignored: u64,
}

/// Connections that share sockets, a key for tokens, and a table of slots.
///
/// `T` lends the tables ([`Slots`] in arrays, or a heap-backed one on a host), `C` is the cryptography that needs no
/// connection.
#[derive(Debug)]
pub struct Endpoint<T: EndpointMemory, C> {
    config: EndpointConfig,
    memory: T,
    crypto: C,
    hash_key: HashKey,
    /// Tells our tokens from those of an earlier run with the same key.
    epoch: u64,
    ready: List,
    /// Plans of the first of them, one after the other, that came to nothing.
    idle_plans: u8,
    news: List,
    draining: List,
    free: FreeSlots,
    timers: Heap,
    used: usize,
    /// Connections that are over, and not taken out yet.
    over: usize,
    half_open: usize,
    resets: Allowance,
    stats: EndpointStats,
}

impl<T: EndpointMemory, C: EndpointCrypto> Endpoint<T, C> {
    /// An endpoint with no connection yet.
    pub fn new(config: EndpointConfig, memory: T, mut crypto: C) -> Self {
        let (mut random, mut epoch) = ([0; 16], [0; 8]);
        crypto.fill_random(&mut random);
        crypto.fill_random(&mut epoch);
        Self {
            epoch: u64::from_ne_bytes(epoch),
            resets: Allowance::new(config.resets_per_second),
            config,
            memory,
            crypto,
            hash_key: HashKey::new(random),
            ready: List::new(Which::Ready),
            idle_plans: 0,
            news: List::new(Which::News),
            draining: List::new(Which::Draining),
            free: FreeSlots::new(),
            timers: Heap::new(),
            used: 0,
            over: 0,
            half_open: 0,
            stats: EndpointStats::default(),
        }
    }

    /// Takes a datagram that arrived `on` these addresses with this ECN codepoint. The buffer is used for decryption
    /// and for an answer.
    pub fn handle_datagram(&mut self, now: Instant, on: FourTuple, ecn: Ecn, datagram: &mut [u8]) -> Handled {
        let handled = match Invariants::parse(datagram) {
            Err(_) => Handled::Ignored(Why::Malformed),
            Ok(seen) => match self.find(&seen, on, datagram) {
                Some(slot) => self.deliver(now, slot, on, ecn, datagram),
                None => self.handle_stranger(now, &seen, on, ecn, datagram),
            },
        };
        if matches!(handled, Handled::Ignored(_)) {
            self.stats.ignored = self.stats.ignored.saturating_add(1);
        }
        handled
    }

    fn find(&mut self, seen: &Invariants, on: FourTuple, datagram: &[u8]) -> Option<u32> {
        let dcid = match seen {
            Invariants::Long { dcid, .. } => datagram.get(dcid.clone())?,
            Invariants::Short => datagram.get(1..)?.get(..usize::from(self.config.cid_len))?,
        };
        let tables = self.memory.tables();
        let index = Index::new(self.hash_key, tables.index);
        let slots = tables.slots;
        if dcid.is_empty() {
            return index.by_remote(on.remote).find(|slot| {
                let connection = slots.get_mut(*slot as usize).and_then(|row| row.connection.as_mut());
                connection.is_some_and(|connection| connection.is_on(&on))
            });
        }
        index.by_cid(dcid).find(|slot| {
            slots.get_mut(*slot as usize).is_some_and(|row| {
                let original = row.original_dcid.as_slice() == dcid;
                row.connection.as_mut().is_some_and(|connection| original || connection.has_cid(dcid))
            })
        })
    }

    fn deliver(&mut self, now: Instant, slot: u32, on: FourTuple, ecn: Ecn, datagram: &mut [u8]) -> Handled {
        let tables = self.memory.tables();
        let Some(row) = tables.slots.get_mut(slot as usize) else { return Handled::Ignored(Why::UnknownCid) };
        let handle = Handle { slot, generation: row.generation };
        if let Some(connection) = &mut row.connection {
            connection.handle_datagram(now, on, ecn, datagram);
        }
        self.touch(slot);
        Handled::Connection(handle)
    }

    /// The next datagrams to send, written into `out`; `None` when all is said. Connections take turns.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<(Handle, Transmit)> {
        while let Some((handle, plan)) = self.next_transmit(now) {
            let transmit = self.write(now, handle, &plan, out).filter(|transmit| transmit.len > 0);
            if let Some(transmit) = transmit {
                return Some((handle, transmit));
            }
        }
        None
    }

    /// Who sends next, where to, and how large each datagram may be, for who must know before there is a buffer; `None` when
    /// all is said. Asked again without [`Self::write`], it names the same connection.
    pub fn next_transmit(&mut self, now: Instant) -> Option<(Handle, Plan)> {
        while let Some(slot) = self.ready.head() {
            self.supply(now, slot);
            let tables = self.memory.tables();
            let row = tables.slots.get_mut(slot as usize)?;
            let handle = Handle { slot, generation: row.generation };
            if let Some(plan) = row.connection.as_mut().and_then(|connection| connection.next_transmit(now)) {
                return Some((handle, plan));
            }
            self.pop_ready();
            self.settle(slot);
        }
        None
    }

    /// It is another connection's turn.
    fn pop_ready(&mut self) {
        self.idle_plans = 0;
        self.ready.pop(self.memory.tables().slots);
    }

    /// Writes what [`Self::next_transmit`] planned, with nothing in between, into `out` of at least [`Plan::max`] bytes; then
    /// it is another connection's turn, unless nothing was written: another path of it may have something to say. `None` if there
    /// is no such connection any more.
    pub fn write(&mut self, now: Instant, handle: Handle, plan: &Plan, out: &mut [u8]) -> Option<Transmit> {
        if self.ready.head() != Some(handle.slot) {
            return None;
        }
        self.connection(handle)?;
        let tables = self.memory.tables();
        let row = tables.slots.get_mut(handle.slot as usize)?;
        let transmit = row.connection.as_mut().map(|connection| connection.write(now, plan, out))?;
        if transmit.len > 0 {
            self.pop_ready();
            self.ready.push(self.memory.tables().slots, handle.slot);
        } else if usize::from(self.idle_plans) < MAX_PATHS {
            // What a path would have repeated has arrived: another one may have something to say.
            self.idle_plans = self.idle_plans.saturating_add(1);
        } else {
            self.pop_ready();
            self.settle(handle.slot);
        }
        Some(transmit)
    }

    /// The next thing a connection has to tell. [`Event::Drained`] is the last of each; [`Self::take`] frees its slot.
    pub fn poll_event(&mut self) -> Option<(Handle, Event)> {
        while let Some(slot) = self.news.head() {
            let tables = self.memory.tables();
            let row = tables.slots.get_mut(slot as usize)?;
            let handle = Handle { slot, generation: row.generation };
            if let Some(event) = row.connection.as_mut().and_then(Connection::poll_event) {
                return Some((handle, event));
            }
            self.news.pop(tables.slots);
        }
        None
    }

    /// When to call [`Self::handle_timeout`]. Valid once [`Self::poll_transmit`] returned `None`.
    pub fn next_timeout(&mut self) -> Deadline {
        let tables = self.memory.tables();
        self.timers.first(tables.timers).map_or(Deadline::NEVER, |(deadline, _)| deadline)
    }

    /// Lets every connection whose time has come do what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        loop {
            let tables = self.memory.tables();
            let Some((deadline, slot)) = self.timers.first(tables.timers) else { return };
            if !deadline.is_due(now) {
                return;
            }
            self.timers.set(tables.timers, slot, Deadline::NEVER);
            if let Some(connection) =
                tables.slots.get_mut(slot as usize).and_then(|row| row.connection.as_mut())
            {
                connection.handle_timeout(now);
            }
            self.touch(slot);
        }
    }

    /// A connection to look at.
    pub fn connection(&mut self, handle: Handle) -> Option<&Connection<T::Memory, T::Session>> {
        let row = self.memory.tables().slots.get_mut(handle.slot as usize)?;
        row.connection.as_ref().filter(|_| row.generation == handle.generation)
    }

    /// A connection to do something with. What it then has to send or tell comes out of [`Self::poll_transmit`] and
    /// [`Self::poll_event`].
    pub fn connection_mut(&mut self, handle: Handle) -> Option<&mut Connection<T::Memory, T::Session>> {
        self.connection(handle)?;
        self.touch(handle.slot);
        self.memory.tables().slots.get_mut(handle.slot as usize)?.connection.as_mut()
    }

    /// Takes a connection out of its slot, which is free then. What has arrived can still be read from it. One that is not drained
    /// yet is forgotten without a word to the peer.
    pub fn take(&mut self, handle: Handle) -> Option<Connection<T::Memory, T::Session>> {
        self.connection(handle)?;
        self.forget(handle.slot);
        let tables = self.memory.tables();
        let row = tables.slots.get_mut(handle.slot as usize)?;
        row.generation = row.generation.wrapping_add(1);
        let connection = row.connection.take()?;
        self.free.give(tables.slots, handle.slot);
        self.used = self.used.saturating_sub(1);
        self.over = self.over.saturating_sub(1);
        Some(connection)
    }

    /// How many connections there are, drained ones that were not taken out included.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Handshakes of clients that run.
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    /// The counters.
    pub fn stats(&self) -> EndpointStats {
        self.stats
    }

    /// What the endpoint was told at its beginning.
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }

    /// The cryptography lent at the beginning.
    pub fn crypto(&mut self) -> &mut C {
        &mut self.crypto
    }

    fn touch(&mut self, slot: u32) {
        let tables = self.memory.tables();
        self.ready.push(tables.slots, slot);
        self.news.push(tables.slots, slot);
    }
}
