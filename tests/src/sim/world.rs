//! The world: hosts, the middle of the net, and events in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use peregrine_core::ids::FourTuple;
use peregrine_core::time::{Deadline, Instant};

use super::host::{Admission, Host};
use super::link::Arrival;
use super::{Datagram, Fate, Interface, Node, SimTransmit, Trace};
use crate::rng::Rng;

/// The largest batch a node may write at once: what UDP segmentation offload takes.
const LARGEST_BATCH: usize = 65_536;
/// So many datagrams from one node, or events in the world, without time moving on are a livelock.
const LIVELOCK: u32 = 1_000_000;

/// A host of a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostId(usize);

/// Why [`World::run_until`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The condition holds.
    Done,
    /// Nothing is on its way, no timer is set, no script is left: nothing will ever happen again.
    Quiet,
    /// The time is over.
    TimeUp,
}

/// A datagram at a node's own interface, before any NAT has changed its source or after it has restored its destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// When.
    pub at: Instant,
    /// At whose interface.
    pub host: HostId,
    /// Whether it left the node, or came to it.
    pub sent: bool,
    /// The datagram.
    pub datagram: Datagram,
}

type Script<N> = Box<dyn FnOnce(&mut World<N>)>;
type Attacker = Box<dyn FnMut(Instant, Datagram) -> Vec<(Duration, Datagram)>>;

enum Event<N> {
    /// A datagram comes out of a host's link to the net.
    Emerge { host: usize, interface: usize, datagram: Datagram },
    /// A datagram goes through the middle, past the attacker.
    Forward(Datagram),
    /// A datagram comes out of a host's link from the net.
    Arrive { host: usize, interface: usize, datagram: Datagram },
    /// The scenario does something.
    Script(Script<N>),
}

/// Hosts, the net between them, and what is going to happen.
pub struct World<N> {
    now: Instant,
    hosts: Vec<Host<N>>,
    events: BinaryHeap<Reverse<Scheduled<N>>>,
    /// Events so far: those of one moment happen in the order in which they were planned.
    planned: u64,
    without_progress: u32,
    rng: Rng,
    trace: Trace,
    attacker: Option<Attacker>,
    recording: Option<Vec<(Instant, Datagram)>>,
    watching: Option<Vec<Sighting>>,
    out: Vec<u8>,
}

impl<N: Node> World<N> {
    /// An empty world at the origin of time. All its chances come from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            hosts: Vec::new(),
            events: BinaryHeap::new(),
            planned: 0,
            without_progress: 0,
            rng: Rng::new(seed),
            trace: Trace::default(),
            attacker: None,
            recording: None,
            watching: None,
            out: vec![0; LARGEST_BATCH],
        }
    }

    /// Adds a host and sends what its node has to send. Its interfaces are numbered from zero in this order; the tags in
    /// four-tuples are these plus one.
    pub fn host(&mut self, node: N, interfaces: impl IntoIterator<Item = Interface>) -> HostId {
        let host = self.hosts.len();
        self.hosts.push(Host::new(node, interfaces, &mut self.rng));
        self.drain(host);
        HostId(host)
    }

    /// The present.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// What became of the datagrams so far.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The node of a host, to look at.
    pub fn node(&self, host: HostId) -> &N {
        &self.hosts[host.0].node
    }

    /// Does something to a node, then sends what it has to send.
    pub fn with<R>(&mut self, host: HostId, act: impl FnOnce(&mut N, Instant) -> R) -> R {
        let result = act(&mut self.hosts[host.0].node, self.now);
        self.drain(host.0);
        result
    }

    /// An interface, to change.
    ///
    /// # Panics
    /// If the host has no interface of this number.
    pub fn interface(&mut self, host: HostId, number: usize) -> &mut Interface {
        &mut self.hosts[host.0].interfaces[number]
    }

    /// Does something that many milliseconds after the origin, or now if that is past.
    pub fn at_ms(&mut self, millis: u64, script: impl FnOnce(&mut Self) + 'static) {
        let at = Instant::from_micros(millis * 1000).max(self.now);
        self.plan(at, Event::Script(Box::new(script)));
    }

    /// Puts an attacker into the middle: it is shown every datagram that passes and decides what goes on instead, and
    /// how much later. The datagram itself: nothing happened. Nothing: dropped. Several: copied, forged, delayed.
    pub fn attack(&mut self, attacker: impl FnMut(Instant, Datagram) -> Vec<(Duration, Datagram)> + 'static) {
        self.attacker = Some(Box::new(attacker));
    }

    /// Keeps a copy of everything that reaches the middle from now on, as an observer would.
    pub fn record(&mut self) {
        self.recording.get_or_insert_default();
    }

    /// What was recorded, oldest first, as it left its sender's NAT.
    pub fn recorded(&self) -> &[(Instant, Datagram)] {
        self.recording.as_deref().unwrap_or_default()
    }

    /// Keeps a copy of everything that nodes send and are handed from now on.
    pub fn watch(&mut self) {
        self.watching.get_or_insert_default();
    }

    /// What was seen at the nodes, in its order.
    pub fn watched(&self) -> &[Sighting] {
        self.watching.as_deref().unwrap_or_default()
    }

    /// Puts a datagram into the middle, with whatever source it claims; the attacker there is not shown it.
    pub fn inject(&mut self, datagram: Datagram) {
        self.trace.note(Fate::Injected);
        self.plan(self.now, Event::Forward(datagram));
    }

    /// Lets the world go on until `done` holds, nothing is left to happen, or `limit` has come.
    pub fn run_until(&mut self, limit: Instant, mut done: impl FnMut(&Self) -> bool) -> Ending {
        loop {
            if done(self) {
                return Ending::Done;
            }
            match self.next_moment().instant() {
                None => return Ending::Quiet,
                Some(next) if next > limit => {
                    self.now = self.now.max(limit);
                    return Ending::TimeUp;
                }
                Some(next) => self.step(next),
            }
        }
    }

    /// Lets that much time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let limit = self.now.after(duration);
        self.run_until(limit, |_| false);
        self.now = limit;
    }

    fn next_moment(&self) -> Deadline {
        let timers = self.hosts.iter().map(|host| host.node.next_timeout());
        let planned = self.events.peek().map(|Reverse(event)| event.at);
        timers.fold(Deadline::from(planned), Deadline::min)
    }

    /// Goes to the moment `next`, or stays if it is past, and does one planned thing or else serves the timers.
    fn step(&mut self, next: Instant) {
        let next = next.max(self.now);
        self.without_progress = if next > self.now { 0 } else { self.without_progress + 1 };
        assert!(self.without_progress < LIVELOCK, "time stands still at {} us", self.now.as_micros());
        self.now = next;
        if self.events.peek().is_some_and(|Reverse(event)| event.at <= self.now) {
            if let Some(Reverse(event)) = self.events.pop() {
                self.happen(event.event);
            }
        } else {
            self.serve_timers();
        }
    }

    fn serve_timers(&mut self) {
        for host in 0..self.hosts.len() {
            let node = &mut self.hosts[host].node;
            if node.next_timeout().is_due(self.now) {
                node.handle_timeout(self.now);
                self.drain(host);
            }
        }
    }

    fn happen(&mut self, event: Event<N>) {
        match event {
            Event::Emerge { host, interface, datagram } => self.emerge(host, interface, datagram),
            Event::Forward(datagram) => self.forward(datagram),
            Event::Arrive { host, interface, datagram } => self.arrive(host, interface, datagram),
            Event::Script(script) => script(self),
        }
    }

    /// Sends all that a node has to send.
    fn drain(&mut self, host: usize) {
        let mut out = std::mem::take(&mut self.out);
        let mut batches = 0;
        while let Some(transmit) = self.hosts[host].node.poll_transmit(self.now, &mut out) {
            batches += 1;
            assert!(batches < LIVELOCK, "host {host} never stops sending at {} us", self.now.as_micros());
            self.send(host, transmit, &out[..transmit.len]);
        }
        self.out = out;
    }

    fn send(&mut self, host: usize, transmit: SimTransmit, bytes: &[u8]) {
        let way_out = self.hosts[host].way_out(transmit.four_tuple);
        // An empty batch is one empty datagram, which UDP allows.
        let segment = transmit.segment_size.unwrap_or(bytes.len()).max(1);
        let segments = bytes.chunks(segment).chain(bytes.is_empty().then_some(bytes));
        for payload in segments {
            self.trace.note(Fate::Sent);
            let Some((interface, source)) = way_out else {
                self.trace.note(Fate::Unroutable);
                continue;
            };
            let datagram = Datagram {
                source,
                destination: transmit.four_tuple.remote,
                ecn: transmit.ecn,
                payload: payload.to_vec(),
            };
            self.sight(host, true, &datagram);
            let arrivals =
                self.hosts[host].interfaces[interface].up.carry(self.now, datagram, &mut self.trace);
            self.plan_all(arrivals, |datagram| Event::Emerge { host, interface, datagram });
        }
    }

    fn emerge(&mut self, host: usize, interface: usize, mut datagram: Datagram) {
        if let Some(nat) = &mut self.hosts[host].interfaces[interface].nat {
            datagram.source = nat.outbound(self.now, datagram.source, datagram.destination);
        }
        if let Some(recording) = &mut self.recording {
            recording.push((self.now, datagram.clone()));
        }
        let Some(attacker) = &mut self.attacker else { return self.forward(datagram) };
        for (later, datagram) in attacker(self.now, datagram) {
            self.plan(self.now.after(later), Event::Forward(datagram));
        }
    }

    fn forward(&mut self, mut datagram: Datagram) {
        let (source, destination) = (datagram.source, datagram.destination);
        let mut fate = Fate::Unroutable;
        for (host, owner) in self.hosts.iter_mut().enumerate() {
            for (interface, hanging) in owner.interfaces.iter_mut().enumerate() {
                match hanging.admit(self.now, source, destination) {
                    Admission::Elsewhere => {}
                    Admission::Unmapped => fate = Fate::Unmapped,
                    Admission::For(local) => {
                        datagram.destination = local;
                        let arrivals = hanging.down.carry(self.now, datagram, &mut self.trace);
                        self.plan_all(arrivals, |datagram| Event::Arrive { host, interface, datagram });
                        return;
                    }
                }
            }
        }
        self.trace.note(fate);
    }

    fn arrive(&mut self, host: usize, interface: usize, mut datagram: Datagram) {
        if !self.hosts[host].interfaces[interface].answers_to(datagram.destination.ip()) {
            return self.trace.note(Fate::Unroutable);
        }
        self.trace.deliver(self.now, &datagram);
        self.sight(host, false, &datagram);
        let on = FourTuple {
            local: datagram.destination,
            remote: datagram.source,
            interface: u32::try_from(interface + 1).expect("few interfaces"),
        };
        self.hosts[host].node.handle_datagram(self.now, on, datagram.ecn, &mut datagram.payload);
        self.drain(host);
    }

    fn sight(&mut self, host: usize, sent: bool, datagram: &Datagram) {
        let Some(watching) = &mut self.watching else { return };
        let datagram = datagram.clone();
        watching.push(Sighting { at: self.now, host: HostId(host), sent, datagram });
    }

    fn plan_all(&mut self, arrivals: [Option<Arrival>; 2], event: impl Fn(Datagram) -> Event<N>) {
        for (at, datagram) in arrivals.into_iter().flatten() {
            self.plan(at, event(datagram));
        }
    }

    fn plan(&mut self, at: Instant, event: Event<N>) {
        self.planned += 1;
        self.events.push(Reverse(Scheduled { at, order: self.planned, event }));
    }
}

impl<N: fmt::Debug> fmt::Debug for World<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

struct Scheduled<N> {
    at: Instant,
    order: u64,
    event: Event<N>,
}

impl<N> Ord for Scheduled<N> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<N> PartialOrd for Scheduled<N> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<N> PartialEq for Scheduled<N> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<N> Eq for Scheduled<N> {}
