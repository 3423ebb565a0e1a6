//! Core's endpoint over sockets of embassy-net, without any waiting: datagrams in, datagrams out, networks that come and go.

mod arriving;
mod following;
#[cfg(feature = "multipath")]
mod paths;

use core::net::SocketAddr;
use core::task::{Context, Waker};
use core::time::Duration;

use embassy_net::Stack;
use peregrine_core::connection::{CRYPTO_LEN, Connection, Event, Lending, Memory};
use peregrine_core::endpoint::{Connect, Endpoint, EndpointConfig, Handle};
use peregrine_core::ids::FourTuple;
use peregrine_core::session::EndpointCrypto;
use peregrine_core::time::{Deadline, Instant};

use crate::endpoint::{EndpointUsage, Refusals};
use crate::error::{End, Error};
use crate::lent::{Home, Lent};
use crate::network::{Network, NetworkId};
use crate::resources::{Crypto, Lendable, Parts, SlotTables};
use crate::socket::{Bound, PACKETS_OUT, Place, Sent};
use crate::tls::{EndpointSession, NewSession};
use crate::waiters::{Wait, Waiters};

/// Datagrams that are received from a socket, and that are sent, before other tasks have their turn.
const BATCH: usize = 8;
/// How long what is to be sent on other sockets waits for one that has no room: while a stack asks for the link address of
/// its router it sends nothing, and a network that is gone never answers.
const PATIENCE: Duration = Duration::from_millis(20);

/// What the adapter knows of a connection beside core.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    handle: Option<Handle>,
    /// How many values of the application are the connection or its streams.
    held: u16,
    is_client: bool,
    /// A client that nobody has accepted yet.
    has_arrived: bool,
    pub(crate) is_confirmed: bool,
    /// It has no route that works: why there is no other.
    stranded: Option<Error>,
    is_drained: bool,
}

impl Row {
    pub(crate) const EMPTY: Self = Self {
        handle: None,
        held: 0,
        is_client: false,
        has_arrived: false,
        is_confirmed: false,
        stranded: None,
        is_drained: false,
    };
}

/// How far sending came.
enum Flow {
    Done,
    /// There is more to send: after others had their turn.
    More,
    /// A socket has no room; if there are others they wait so long for it.
    Blocked(Deadline),
}

/// What all tasks share.
pub(crate) struct Engine<S: EndpointSession + 'static> {
    core: Endpoint<SlotTables<S>, Crypto>,
    homes: &'static [Home<dyn Memory>],
    rows: &'static mut [Row],
    pub(crate) waiters: Waiters,
    networks: &'static mut [Option<Network>],
    sockets: &'static mut [Place],
    inbox: &'static mut [u8],
    server: Option<&'static mut dyn NewSession<S>>,
    runner: Option<Waker>,
    asks_keys: bool,
    pub(crate) refusals: Refusals,
}

/// The memory of a connection with what its session brings for the handshake.
fn with_room(mut memory: Lent<dyn Memory>, session: &mut impl EndpointSession) -> Result<Lendable, Error> {
    match session.crypto_room() {
        Some(room) => Ok(Lending::new(memory, room)),
        None if memory.buffers().crypto.len() < CRYPTO_LEN => Err(Error::NoCryptoRoom),
        None => Ok(Lending::without(memory)),
    }
}

pub(crate) fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}

impl<S: EndpointSession> Engine<S> {
    pub(crate) fn new(
        mut config: EndpointConfig,
        parts: Parts<S>,
        crypto: &'static mut dyn EndpointCrypto,
    ) -> (Self, &'static mut Option<crate::endpoint::Shared<S>>) {
        let limit = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        let connection = &mut config.connection;
        connection.max_udp_payload = connection.max_udp_payload.min(limit(parts.inbox.len()));
        // The largest datagram for which an empty ring has room wherever it begins.
        let largest_out = parts.ring_out.saturating_add(1) / 2;
        connection.max_mtu = connection.max_mtu.min(limit(largest_out.min(parts.inbox.len())));
        // embassy-net neither sets nor tells marks.
        connection.ecn = false;
        let engine = Self {
            core: Endpoint::new(config, parts.tables, Crypto(crypto)),
            homes: parts.homes,
            rows: parts.rows,
            waiters: Waiters::new(parts.waiters, parts.finished),
            networks: parts.networks,
            sockets: parts.sockets,
            inbox: parts.inbox,
            server: None,
            runner: None,
            asks_keys: false,
            refusals: Refusals::default(),
        };
        (engine, parts.shared)
    }

    /// Adds a network with so many sockets, the first of them on this port.
    pub(crate) fn attach(
        &mut self,
        stack: Stack<'static>,
        port: u16,
        sockets: usize,
    ) -> Result<NetworkId, Error> {
        let vacant = |place: &&mut Place| matches!(place, Place::Vacant(_));
        let network = self.networks.iter().position(Option::is_none).ok_or(Error::TooManySockets)?;
        if sockets == 0 || self.sockets.iter_mut().filter(vacant).count() < sockets {
            return Err(Error::TooManySockets);
        }
        for (place, port) in self
            .sockets
            .iter_mut()
            .filter(vacant)
            .zip(core::iter::once(port).chain(core::iter::repeat(0)))
            .take(sockets)
        {
            if let Place::Vacant(rings) = core::mem::replace(place, Place::Nothing) {
                *place = Place::Bound(Bound::new(stack, network, port, rings));
            }
        }
        if let Some(place) = self.networks.get_mut(network) {
            *place = Some(Network::new(stack));
        }
        self.nudge();
        Ok(NetworkId(u8::try_from(network).unwrap_or(u8::MAX)))
    }

    pub(crate) fn serve(&mut self, server: &'static mut dyn NewSession<S>) {
        self.server = Some(server);
    }

    /// Whether that network, or any, is up.
    pub(crate) fn is_up(&self, network: Option<NetworkId>) -> Option<NetworkId> {
        let mut networks = self.networks.iter().flatten().zip(0..);
        let wanted = |number: u8| network.is_none_or(|network| network.0 == number);
        networks
            .find(|(network, number)| wanted(*number) && network.addresses.is_any())
            .map(|(_, number)| NetworkId(number))
    }

    /// Lets the runner look at what has changed.
    pub(crate) fn nudge(&mut self) {
        if let Some(runner) = &self.runner {
            runner.wake_by_ref();
        }
    }

    /// Begins a connection.
    pub(crate) fn connect(
        &mut self,
        from: Option<NetworkId>,
        remote: SocketAddr,
        mut session: S,
    ) -> Result<Handle, Error> {
        let numbers = 0..self.networks.len();
        let mut wanted = numbers.filter(|number| from.is_none_or(|from| usize::from(from.0) == *number));
        let found = wanted.find_map(|number| {
            let ip = self.networks.get(number)?.as_ref()?.addresses.toward(remote.ip())?;
            Some((self.socket_of(number, |_| true)?, ip))
        });
        let ((interface, port), ip) = found.ok_or(Error::NoNetwork)?;
        let on = FourTuple { local: SocketAddr::new(ip, port), remote, interface };
        let memory = Lent::take(self.homes).ok_or(Error::TooManyConnections)?;
        let memory = with_room(memory, &mut session)?;
        let handle = self.core.connect(now(), Connect { on, token: &[] }, memory, session)?;
        self.know(handle, Row { held: 1, is_client: true, ..Row::EMPTY });
        self.nudge();
        Ok(handle)
    }

    fn know(&mut self, handle: Handle, row: Row) {
        if let Some(place) = self.rows.get_mut(handle.slot()) {
            *place = Row { handle: Some(handle), ..row };
        }
    }

    /// The first socket of a network that will do, and its port.
    fn socket_of(&self, network: usize, will_do: impl Fn(u32) -> bool) -> Option<(u32, u16)> {
        self.sockets.iter().zip(0..).find_map(|(place, interface)| match place {
            Place::Bound(bound) if bound.network == network && will_do(interface) => {
                Some((interface, bound.port))
            }
            _ => None,
        })
    }

    /// A client's connection that nobody has accepted yet.
    pub(crate) fn accept(&mut self) -> Option<Handle> {
        let row = self.rows.iter_mut().find(|row| row.has_arrived)?;
        row.has_arrived = false;
        row.held = 1;
        row.handle
    }

    pub(crate) fn row(&self, handle: Handle) -> Option<&Row> {
        self.rows.get(handle.slot()).filter(|row| row.handle == Some(handle))
    }

    fn row_mut(&mut self, handle: Handle) -> Option<&mut Row> {
        self.rows.get_mut(handle.slot()).filter(|row| row.handle == Some(handle))
    }

    /// The application has one more value of the connection.
    pub(crate) fn hold(&mut self, handle: Handle) {
        if let Some(row) = self.row_mut(handle) {
            row.held = row.held.saturating_add(1);
        }
    }

    /// The application has one less; with the last one the connection is closed.
    pub(crate) fn let_go(&mut self, handle: Handle) {
        let Some(row) = self.row_mut(handle) else { return };
        row.held = row.held.saturating_sub(1);
        if row.held > 0 {
            return;
        }
        if row.is_drained {
            self.release(handle);
        } else {
            self.with(handle, |connection| connection.close(now(), 0, ""));
        }
    }

    /// Does something with a connection, and lets the runner send what comes of it.
    pub(crate) fn with<R>(
        &mut self,
        handle: Handle,
        act: impl FnOnce(&mut Connection<Lendable, S>) -> R,
    ) -> Option<R> {
        let outcome = self.core.connection_mut(handle).map(act);
        self.nudge();
        outcome
    }

    /// Keys in hardware may have an answer.
    pub(crate) fn ask_keys(&mut self) {
        self.asks_keys = true;
        self.nudge();
    }

    /// Lets handshakes go on: those that have put off work until the stack is as shallow as here and, if keys in hardware may have
    /// an answer, all. Who has taken one makes way for others at the same hardware, which are asked again.
    fn resume(&mut self) {
        let (rows, core) = (&*self.rows, &mut self.core);
        let mut asks_keys = core::mem::take(&mut self.asks_keys);
        loop {
            let mut makes_way = false;
            for handle in rows.iter().filter_map(|row| row.handle) {
                let due = |connection: &Connection<Lendable, S>| {
                    connection.is_handshaking() && (asks_keys || connection.session().has_deferred_work())
                };
                if core.connection(handle).is_some_and(due)
                    && let Some(connection) = core.connection_mut(handle)
                {
                    let was_pending = connection.session().is_pending();
                    connection.resume(now());
                    makes_way |= was_pending && !connection.session().is_pending();
                }
            }
            if !makes_way {
                break;
            }
            asks_keys = true;
        }
    }

    /// Looks at a connection.
    pub(crate) fn look<R>(
        &mut self,
        handle: Handle,
        look: impl FnOnce(&Connection<Lendable, S>) -> R,
    ) -> Option<R> {
        self.core.connection(handle).map(look)
    }

    /// How the connection ended, if it did.
    pub(crate) fn end(&mut self, handle: Handle) -> Option<End> {
        let cause = self.core.connection(handle)?.cause()?;
        Some(End::from(&cause))
    }

    pub(crate) fn usage(&self) -> EndpointUsage {
        let (waiters, finished) = self.waiters.in_use();
        EndpointUsage {
            connections: self.rows.iter().filter(|row| row.handle.is_some()).count(),
            sockets: self.sockets.iter().filter(|place| matches!(place, Place::Bound(_))).count(),
            waiters,
            finished,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.core.is_empty()
    }

    fn release(&mut self, handle: Handle) {
        self.core.take(handle);
        self.waiters.forget(handle);
        if let Some(row) = self.row_mut(handle) {
            *row = Row::EMPTY;
        }
        self.waiters.wake(None, Wait::Endpoint);
    }

    /// The network that a socket is on.
    pub(crate) fn network_of(&self, interface: u32) -> Option<NetworkId> {
        u8::try_from(bound(self.sockets, interface)?.network).ok().map(NetworkId)
    }

    /// Everything that can be done now; whose context it is is woken when there is more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        if !self.runner.as_ref().is_some_and(|runner| runner.will_wake(cx.waker())) {
            self.runner = Some(cx.waker().clone());
        }
        self.follow(cx);
        let mut more = self.receive(cx);
        self.resume();
        self.core.handle_timeout(now());
        self.dispatch();
        let flow = self.transmit(cx);
        // Sending can end a connection, when nothing more may follow.
        self.dispatch();
        let mut deadline = self.core.next_timeout();
        match flow {
            Flow::Done => {}
            Flow::More => more = true,
            Flow::Blocked(until) => deadline = deadline.min(until),
        }
        if more {
            cx.waker().wake_by_ref();
        } else if let Some(moment) = deadline.instant() {
            wake_at(cx, moment);
        }
    }

    /// Sends what there is to say: each datagram is written into the ring of its socket, or aside if it may come to nothing.
    fn transmit(&mut self, cx: &mut Context<'_>) -> Flow {
        let others = self.sockets.iter().filter(|place| matches!(place, Place::Bound(_))).count() > 1;
        for _ in 0..BATCH {
            let now = now();
            let Some((handle, plan)) = self.core.next_transmit(now) else { return Flow::Done };
            let (on, core) = (plan.on(), &mut self.core);
            let sent = match self.sockets.get_mut(on.interface as usize) {
                Some(Place::Bound(bound)) => {
                    let write = |room: &mut [u8]| {
                        core.write(now, handle, &plan, room).map_or(0, |transmit| transmit.len)
                    };
                    let sent = if plan.is_sure() {
                        bound.send_with(cx, &on, plan.max, write)
                    } else {
                        bound.send_aside(cx, &on, self.inbox.get_mut(..plan.max).unwrap_or_default(), write)
                    };
                    if sent == Sent::Blocked {
                        let since = *bound.full_since.get_or_insert(now);
                        // What is written aside waits until all that is in the ring has left it.
                        let patience = if plan.is_sure() {
                            PATIENCE
                        } else {
                            PATIENCE.saturating_mul(PACKETS_OUT as u32)
                        };
                        if !others || now.since(since) < patience.into() {
                            let until = others.then(|| since.after(patience)).into();
                            return Flow::Blocked(until);
                        }
                    } else {
                        bound.full_since = None;
                    }
                    sent
                }
                _ => Sent::Never,
            };
            if sent != Sent::Yes {
                // Nobody takes it, and others must not wait for that: it is lost.
                note!(debug, "a datagram is lost on socket {}", on.interface);
                let room = self.inbox.get_mut(..plan.max).unwrap_or_default();
                self.core.write(now, handle, &plan, room);
            }
        }
        Flow::More
    }

    /// Tells who waits what has happened.
    fn dispatch(&mut self) {
        while let Some((handle, event)) = self.core.poll_event() {
            let of = Some(handle);
            match event {
                Event::Connected => self.on_connected(handle),
                Event::Confirmed => {
                    if let Some(connection) = self.core.connection_mut(handle) {
                        connection.session_mut().after_handshake();
                        drop(connection.take_crypto());
                    }
                    if let Some(row) = self.row_mut(handle) {
                        row.is_confirmed = true;
                    }
                    self.waiters.wake(of, Wait::Confirmed);
                    self.go_on(handle);
                }
                Event::Stream(event) => self.waiters.on_stream(handle, event),
                Event::Datagram => self.waiters.wake(of, Wait::Datagram),
                Event::DatagramRoom => self.waiters.wake(of, Wait::DatagramRoom),
                Event::Route(..) | Event::Moved { .. } | Event::Path(..) => {
                    self.waiters.wake(of, Wait::Route);
                }
                Event::SpareCid | Event::PathPossible => {
                    self.waiters.wake(of, Wait::SpareCid);
                    self.go_on(handle);
                }
                Event::Closed(_) => {
                    if let Some(connection) = self.core.connection_mut(handle) {
                        connection.session_mut().after_close();
                        drop(connection.take_crypto());
                    }
                    if let Some(row) = self.row_mut(handle) {
                        row.has_arrived = false;
                    }
                    self.waiters.wake_all(handle);
                }
                Event::Drained => {
                    let held = self.row_mut(handle).is_some_and(|row| {
                        row.is_drained = true;
                        row.held > 0
                    });
                    if !held {
                        self.release(handle);
                    }
                }
                Event::Token
                | Event::KeysUpdated(_)
                | Event::Mtu(_)
                | Event::NoSpareCid
                | Event::PolicyRefused => {}
            }
        }
    }

    fn on_connected(&mut self, handle: Handle) {
        if let Some(row) = self.row_mut(handle).filter(|row| !row.is_client) {
            row.has_arrived = true;
            self.waiters.wake(None, Wait::Endpoint);
        }
        self.waiters.wake(Some(handle), Wait::Connected);
    }
}

/// The socket behind an interface's number.
fn bound(sockets: &[Place], interface: u32) -> Option<&Bound> {
    match sockets.get(usize::try_from(interface).ok()?)? {
        Place::Bound(bound) => Some(bound),
        _ => None,
    }
}

/// Wakes whose context it is at that moment, or soon after.
fn wake_at(cx: &mut Context<'_>, moment: Instant) {
    use core::future::Future as _;
    let at = embassy_time::Instant::from_micros(moment.as_micros());
    // Polled once, it has told the driver whom to wake.
    let _ = core::pin::pin!(embassy_time::Timer::at(at)).poll(cx);
}
