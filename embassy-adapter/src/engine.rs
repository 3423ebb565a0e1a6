//! Core's endpoint over sockets of embassy-net, without any waiting: datagrams in, datagrams out, networks that come and go.

use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use embassy_net::Stack;
use peregrine_core::connection::{
    CRYPTO_LEN, Connection, Event, Lending, Memory, NetworkChange, RouteError, RouteView,
};
use peregrine_core::endpoint::{Connect, Endpoint, EndpointConfig, Handle, Handled};
use peregrine_core::ids::{Ecn, FourTuple};
use peregrine_core::path::{Role, RouteId};
use peregrine_core::session::EndpointCrypto;
use peregrine_core::time::{Deadline, Instant};

use crate::endpoint::EndpointUsage;
use crate::error::{End, Error};
use crate::lent::{Home, Lent};
use crate::network::{Addresses, Network, NetworkId};
use crate::resources::{Crypto, Lendable, Parts, SlotTables};
use crate::socket::{Bound, Place, Sent};
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
    /// It has no route that works, and waits until it may open one.
    is_stranded: bool,
    is_drained: bool,
}

impl Row {
    pub(crate) const EMPTY: Self = Self {
        handle: None,
        held: 0,
        is_client: false,
        has_arrived: false,
        is_confirmed: false,
        is_stranded: false,
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

    /// Lets the handshakes go on that wait for a key in hardware, or for the stack to be as shallow as here.
    fn resume(&mut self) {
        let (rows, core) = (&*self.rows, &mut self.core);
        for handle in rows.iter().filter_map(|row| row.handle) {
            if core.connection(handle).is_some_and(Connection::is_handshaking)
                && let Some(connection) = core.connection_mut(handle)
            {
                connection.resume(now());
            }
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

    /// Opens a route from a network: from a socket there that the connection has none from.
    pub(crate) fn add_route(&mut self, handle: Handle, network: NetworkId) -> Result<RouteId, Error> {
        let number = usize::from(network.0);
        let connection = self.core.connection_mut(handle).ok_or(Error::RouteGone)?;
        // The socket's port is not to change for a move that will not be.
        connection.may_add_route()?;
        let remote = connection.remote().ip();
        let addresses = self.networks.get(number).and_then(Option::as_ref).map(|network| network.addresses);
        let ip = addresses.and_then(|addresses| addresses.toward(remote)).ok_or(Error::NoNetwork)?;
        // The address may be used from a socket again once its routes are gone.
        let mut taken = 0_u64;
        for route in connection.routes().filter(|route| route.local.ip() == ip) {
            taken |= 1_u64.checked_shl(route.interface).unwrap_or(0);
        }
        let is_free = |interface: u32| 1_u64.checked_shl(interface).is_some_and(|bit| taken & bit == 0);
        let (interface, port) = self.socket_of(number, is_free).ok_or(RouteError::Exists)?;
        let port = self.fresh_port(interface).unwrap_or(port);
        let connection = self.core.connection_mut(handle).ok_or(Error::RouteGone)?;
        let route = connection.add_route(now(), SocketAddr::new(ip, port), interface)?;
        self.nudge();
        Ok(route)
    }

    /// The network that a socket is on.
    pub(crate) fn network_of(&self, interface: u32) -> Option<NetworkId> {
        match self.sockets.get(usize::try_from(interface).ok()?)? {
            Place::Bound(bound) => u8::try_from(bound.network).ok().map(NetworkId),
            _ => None,
        }
    }

    /// Takes another port for a socket, unless a connection uses it from an address that we still have: what was seen at
    /// an address that is gone should not be seen at the next. Routes from there that are down, of any connection, cannot come
    /// back then and are closed.
    fn fresh_port(&mut self, interface: u32) -> Option<u16> {
        let Some(Place::Bound(bound)) = self.sockets.get_mut(usize::try_from(interface).ok()?) else {
            return None;
        };
        let ours = self.networks.get(bound.network)?.as_ref()?.addresses;
        for handle in self.rows.iter().filter_map(|row| row.handle) {
            let is_in_use = |route: RouteView| {
                let is_lost = route.down && route.role != Role::Active;
                route.interface == interface && ours.contains(route.local.ip()) && !is_lost
            };
            if self.core.connection_mut(handle).is_some_and(|connection| connection.routes().any(is_in_use)) {
                return None;
            }
        }
        for handle in self.rows.iter().filter_map(|row| row.handle) {
            if let Some(connection) = self.core.connection_mut(handle) {
                close_lost(connection, |route| route.interface == interface);
            }
        }
        bound.change_port();
        Some(bound.port)
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

    /// Looks at the networks, and tells connections of what has changed.
    fn follow(&mut self, cx: &mut Context<'_>) {
        for number in 0..self.networks.len() {
            let Some(network) = self.networks.get_mut(number).and_then(Option::as_mut) else { return };
            let Some(before) = network.poll_change(cx) else { continue };
            let addresses = network.addresses;
            note!(info, "network {} changed: is up: {}", number, addresses.is_any());
            self.on_change(number, before, addresses);
            self.waiters.wake(None, Wait::Endpoint);
        }
    }

    fn on_change(&mut self, number: usize, before: Addresses, after: Addresses) {
        for slot in 0..self.rows.len() {
            let Some(handle) = self.rows.get(slot).and_then(|row| row.handle) else { continue };
            let Some(connection) = self.core.connection_mut(handle) else { continue };
            // An address that is gone is not told as such: other networks may have the same.
            for family in [LOCAL_V4, LOCAL_V6] {
                let (old, new) = (before.toward(family), after.toward(family));
                if old == new {
                    continue;
                }
                for (place, interface) in self.sockets.iter().zip(0..) {
                    let is_here = matches!(place, Place::Bound(bound) if bound.network == number);
                    let is_lost =
                        |route: RouteView| route.interface == interface && old == Some(route.local.ip());
                    if is_here && connection.routes().any(is_lost) {
                        connection.network_changed(now(), NetworkChange::InterfaceGone(interface));
                    }
                }
            }
            let sockets = &*self.sockets;
            close_lost(connection, |route| is_stale(sockets, route));
            for family in [LOCAL_V4, LOCAL_V6] {
                if let Some(ip) = after.toward(family).filter(|ip| !before.contains(*ip)) {
                    connection.network_changed(now(), NetworkChange::AddressBack(ip));
                }
            }
            if let Some(active) = connection.route().filter(|active| is_stale(sockets, active)) {
                connection.network_changed(now(), NetworkChange::InterfaceGone(active.interface));
            }
            self.rescue(handle);
        }
    }

    /// Moves a client that has no route left that works to the first network that is up.
    fn rescue(&mut self, handle: Handle) {
        let Some(row) = self.row_mut(handle).filter(|row| row.is_client) else { return };
        row.is_stranded = false;
        let Some(connection) = self.core.connection_mut(handle) else { return };
        if connection.route().is_none_or(|route| !route.down) {
            return;
        }
        // Their rows are needed.
        close_lost(connection, |_| true);
        for number in 0..self.networks.len() {
            match self.add_route(handle, NetworkId(u8::try_from(number).unwrap_or(u8::MAX))) {
                Ok(route) => {
                    note!(info, "the connection moves to network {}", number);
                    self.with(handle, |connection| connection.switch_route(now(), route));
                    return;
                }
                Err(Error::Route(RouteError::NoSpareCid | RouteError::Unconfirmed)) => {
                    if let Some(row) = self.row_mut(handle) {
                        row.is_stranded = true;
                    }
                    return;
                }
                Err(_) => {}
            }
        }
    }

    /// Takes what has come. Returns whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let mut more = false;
        for place in 0..self.sockets.len() {
            let mut batch = 0..BATCH;
            while batch.next().is_some() {
                let Some(Place::Bound(bound)) = self.sockets.get(place) else { break };
                let interface = u32::try_from(place).unwrap_or(u32::MAX);
                match bound.poll_recv(cx, interface, self.inbox) {
                    Poll::Ready(Some((len, on))) => self.handle(cx, len, on),
                    // It was longer than we have promised to take.
                    Poll::Ready(None) => {}
                    Poll::Pending => break,
                }
            }
            more |= batch.is_empty();
        }
        more
    }

    /// Takes the datagram in the inbox.
    fn handle(&mut self, cx: &mut Context<'_>, len: usize, on: FourTuple) {
        let Some(datagram) = self.inbox.get_mut(..len) else { return };
        let reply = match self.core.handle_datagram(now(), on, Ecn::NotEct, datagram) {
            Handled::Connection(_) | Handled::Ignored(_) => return,
            Handled::Reply(len) => len,
            Handled::Incoming(incoming) => {
                let memory = self.server.is_some().then(|| Lent::take(self.homes)).flatten();
                let session =
                    self.server.as_mut().filter(|_| memory.is_some()).and_then(|new| new.session(&incoming));
                let both = memory.zip(session).and_then(|(memory, mut session)| {
                    let memory = with_room(memory, &mut session).ok()?;
                    Some((memory, session))
                });
                match both {
                    Some((memory, session)) => {
                        // What fails here is the client's fault, and has left nothing behind.
                        if let Ok(handle) = self.core.accept(now(), incoming, datagram, memory, session) {
                            self.know(handle, Row::EMPTY);
                        }
                        return;
                    }
                    None => self.core.refuse(incoming, self.inbox),
                }
            }
        };
        if let (Some(bytes), Some(Place::Bound(bound))) =
            (self.inbox.get(..reply), self.sockets.get_mut(on.interface as usize))
        {
            bound.reply(cx, &on, bytes);
        }
    }

    /// Sends what there is to say: each datagram is written into the ring of its socket.
    fn transmit(&mut self, cx: &mut Context<'_>) -> Flow {
        let others = self.sockets.iter().filter(|place| matches!(place, Place::Bound(_))).count() > 1;
        for _ in 0..BATCH {
            let now = now();
            let Some((handle, plan)) = self.core.next_transmit(now) else { return Flow::Done };
            let (on, core) = (plan.on(), &mut self.core);
            let sent = match self.sockets.get_mut(on.interface as usize) {
                Some(Place::Bound(bound)) => {
                    let sent = bound.send_with(cx, &on, plan.max, |ring| {
                        core.write(now, handle, &plan, ring).map_or(0, |transmit| transmit.len)
                    });
                    if sent == Sent::Blocked {
                        let since = *bound.full_since.get_or_insert(now);
                        if !others || now.since(since) < PATIENCE.into() {
                            let until = others.then(|| since.after(PATIENCE)).into();
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
                Event::Route(..) | Event::Moved { .. } => self.waiters.wake(of, Wait::Route),
                Event::SpareCid => {
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

    /// Whoever could not move may be able to now.
    fn go_on(&mut self, handle: Handle) {
        if self.row(handle).is_some_and(|row| row.is_stranded) {
            self.rescue(handle);
        }
    }
}

/// Whether a route's socket has another port by now: its address alone does not bring it back.
fn is_stale(sockets: &[Place], route: &RouteView) -> bool {
    let bound = usize::try_from(route.interface).ok().and_then(|interface| sockets.get(interface));
    !matches!(bound, Some(Place::Bound(bound)) if bound.port == route.local.port())
}

/// Closes those of such routes that are down, but the one in use.
fn close_lost<S: EndpointSession>(
    connection: &mut Connection<Lendable, S>,
    such: impl Fn(&RouteView) -> bool,
) {
    let is_lost = |route: &RouteView| route.down && route.role != Role::Active && such(route);
    loop {
        let lost = connection.routes().find(is_lost);
        if lost.is_none_or(|lost| connection.close_route(lost.id).is_err()) {
            return;
        }
    }
}

const LOCAL_V4: IpAddr = IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);
const LOCAL_V6: IpAddr = IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED);

/// Wakes whose context it is at that moment, or soon after.
fn wake_at(cx: &mut Context<'_>, moment: Instant) {
    use core::future::Future as _;
    let at = embassy_time::Instant::from_micros(moment.as_micros());
    // Polled once, it has told the driver whom to wake.
    let _ = core::pin::pin!(embassy_time::Timer::at(at)).poll(cx);
}
