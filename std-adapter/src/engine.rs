//! Core's endpoint over sockets, without any waiting: datagrams in, datagrams out, clients let in. Who calls it, and
//! when, is the business of the driver or of an own loop.

mod agenda;
mod following;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use peregrine_core::connection::{Event, NetworkChange, RouteEvent, RouteView, Transmit, WhenSuspect};
use peregrine_core::endpoint::{self, Connect, ConnectError, EndpointConfig, EndpointStats, Handle, Handled};
use peregrine_core::ids::{Ecn, FourTuple, PathId, Side};
use peregrine_core::path::{Availability, Preference, RouteId};
use peregrine_core::time::{Deadline, Instant};

use following::Following;
pub use following::OtherNetworks;

use crate::builder::ServerFactory;
use crate::cids::HostKeys;
use crate::clock::Clock;
use crate::error::Error;
use crate::qlog::Logs;
use crate::session::AnySession;
use crate::socket::{Inbox, Marks, Sent, is_about_us};
use crate::sockets::Sockets;
use crate::storage::{HeapConnection, HeapSlots, HeapStorage, Sizes};

/// The most bytes of one batch.
const OUT_BYTES: usize = 65_507;
/// Tokens that are kept.
const TOKENS: usize = 64;
/// Batches that are sent before anything is received again.
const BATCHES: usize = 16;
/// How long what is to be sent on other sockets waits for one that has no room: a network that is gone may never take
/// what was handed to it.
const PATIENCE: Duration = Duration::from_millis(20);

/// How far [`Engine::transmit`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// Everything is said.
    Done,
    /// There is more to say.
    More,
    /// This socket has no room now.
    Blocked(u32),
}

/// Core's endpoint, its sockets and its clock.
pub(crate) struct Engine {
    clock: Clock,
    core: endpoint::Endpoint<HeapSlots, HostKeys>,
    sockets: Sockets,
    out: Box<[u8]>,
    unsent: Option<Unsent>,
    slots: usize,
    /// By slot: the connections there are, and whether we are the client.
    known: Vec<Option<(Handle, bool)>>,
    server: Option<ServerFactory>,
    sizes: Sizes,
    /// What servers gave for a later connection, the oldest first. Each is used once: twice the same would let others
    /// link the two (RFC 9000 8.1.3).
    tokens: VecDeque<(SocketAddr, Vec<u8>)>,
    send_error: Option<(SocketAddr, io::Error)>,
    system: SystemStats,
    following: Following,
    /// What clients make of what they are told of networks.
    other_networks: OtherNetworks,
    logs: Logs,
}

/// Counts what was asked of the system in vain, or could not be made use of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SystemStats {
    /// Batches of datagrams that went out without the flow label they should bear (RFC 9000 9.7): what the system puts there
    /// may be the same on several routes.
    pub flow_labels_not_supported: u64,
    /// Batches of datagrams that went out without the Differentiated Services codepoint asked for with `set_path_dscp`: systems
    /// other than Linux set none here, and a firewall or a rule of routing may refuse one.
    pub dscp_not_supported: u64,
    /// Batches that the system refused to send, which is loss to connections.
    pub sends_failed: u64,
    /// Sockets from which nothing could be received any more.
    pub sockets_failed: u64,
    /// Routes and paths from other networks that were not opened, because a connection had no room for them or the system no socket.
    pub routes_refused: u64,
}

/// What a socket had no room for. Its bytes stay in `out`.
struct Unsent {
    handle: Handle,
    transmit: Transmit,
    bytes: Range<usize>,
}

impl Engine {
    pub(crate) fn new(
        config: EndpointConfig,
        slots: usize,
        sizes: Sizes,
        keys: HostKeys,
        sockets: Sockets,
        server: Option<ServerFactory>,
    ) -> Self {
        Self {
            clock: Clock::start(),
            core: endpoint::Endpoint::new(config, HeapSlots::new(slots, &sizes), keys),
            sockets,
            out: vec![0; OUT_BYTES].into_boxed_slice(),
            unsent: None,
            slots,
            known: Vec::new(),
            server,
            sizes,
            tokens: VecDeque::new(),
            send_error: None,
            system: SystemStats::default(),
            following: Following::default(),
            other_networks: OtherNetworks::default(),
            logs: Logs::default(),
        }
    }

    /// With logs of its connections.
    pub(crate) fn with_logs(self, logs: Logs) -> Self {
        Self { logs, ..self }
    }

    /// Its clients make this of networks beside the one they are on.
    pub(crate) fn with_other_networks(self, other_networks: OtherNetworks) -> Self {
        Self { other_networks, ..self }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) const fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Begins a connection.
    pub(crate) fn connect(&mut self, remote: SocketAddr, session: AnySession) -> Result<Handle, Error> {
        let (interface, bound) = self.sockets.toward(remote).ok_or(Error::Family(remote))?;
        let on = FourTuple { local: bound.address_toward(remote), remote, interface };
        let memory = HeapStorage::new(&self.sizes);
        let now = self.clock.now();
        let kept = self.tokens.iter().rposition(|(server, _)| *server == remote);
        let (_, token) = kept.and_then(|place| self.tokens.remove(place)).unwrap_or((remote, Vec::new()));
        let session = self.logs.watch(session, Side::Client);
        let begun = self.core.connect(now, Connect { on, token: &token }, memory, session);
        let handle = begun.map_err(|error| match error {
            ConnectError::Full => Error::Full,
            ConnectError::SameRemote => {
                Error::Role("without connection IDs there can be one connection to an address")
            }
            ConnectError::Start(error) => error.into(),
        })?;
        self.know(handle, true);
        self.logs.began(&mut self.core, handle, on);
        Ok(handle)
    }

    fn know(&mut self, handle: Handle, is_client: bool) {
        if self.known.len() <= handle.slot() {
            self.known.resize(handle.slot() + 1, None);
        }
        self.known[handle.slot()] = Some((handle, is_client));
    }

    /// Opens a route of a connection from another local address, whose socket is bound for it if there is none.
    pub(crate) fn add_route(&mut self, handle: Handle, local: SocketAddr) -> Result<RouteId, Error> {
        let connection = self.core.connection_mut(handle).ok_or(Error::Shutdown)?;
        connection.may_add_route()?;
        let remote = connection.remote();
        let on = self.way(handle, local, remote)?;
        let (connection, now) = self.connection(handle).ok_or(Error::Shutdown)?;
        let opened = connection.add_route(now, on.local, on.interface);
        if opened.is_err() {
            self.close_unused(handle);
        }
        Ok(opened?)
    }

    /// Opens a path of a connection from another local address, to where the peer is if nothing else is said.
    pub(crate) fn open_path(
        &mut self,
        handle: Handle,
        local: SocketAddr,
        remote: Option<SocketAddr>,
        status: Availability,
    ) -> Result<PathId, Error> {
        let connection = self.core.connection_mut(handle).ok_or(Error::Shutdown)?;
        let remote = remote.unwrap_or(connection.remote());
        connection.may_open_path(remote)?;
        let on = self.way(handle, local, remote)?;
        let (connection, now) = self.connection(handle).ok_or(Error::Shutdown)?;
        let opened = connection.open_path(now, on, status);
        if opened.is_err() {
            self.close_unused(handle);
        }
        Ok(opened?)
    }

    /// From a local address, whose socket is bound for it if there is none, to `remote`.
    fn way(&mut self, handle: Handle, local: SocketAddr, remote: SocketAddr) -> Result<FourTuple, Error> {
        let interface = self.sockets.open(local, remote)?;
        self.sockets.keep(interface, handle);
        let local = self.sockets.get(interface).map_or(local, |bound| bound.address_toward(remote));
        Ok(FourTuple { local, remote, interface })
    }

    /// Moves a connection to another local address at once.
    pub(crate) fn migrate(&mut self, handle: Handle, local: SocketAddr) -> Result<RouteId, Error> {
        let route = self.add_route(handle, local)?;
        let (connection, now) = self.connection(handle).ok_or(Error::Shutdown)?;
        connection.switch_route(now, route)?;
        Ok(route)
    }

    /// Closes the sockets that the connection was the last to have a route from.
    fn close_unused(&mut self, handle: Handle) {
        let mut connection = self.core.connection_mut(handle);
        self.sockets.give_up(handle, |key| {
            connection
                .as_mut()
                .is_some_and(|connection| connection.routes().any(|route| route.interface == key))
        });
    }

    /// Puts a socket on `local` in the place of the one that connections to its family begin on, as a NAT would:
    /// connections are not told.
    pub(crate) fn rebind(&mut self, local: SocketAddr) -> Result<SocketAddr, Error> {
        let (key, _) = self.sockets.toward(local).ok_or(Error::Family(local))?;
        self.sockets.replace(key, local)
    }

    /// Puts a socket on another port in the place of this one.
    pub(crate) fn rebind_port(&mut self, key: u32) -> Result<SocketAddr, Error> {
        let mut local = self.sockets.get(key).ok_or(Error::Shutdown)?.socket.local_addr();
        local.set_port(0);
        self.sockets.replace(key, local)
    }

    /// Tells all connections of a change of our networks.
    pub(crate) fn network_changed(&mut self, change: NetworkChange) {
        let now = self.clock.now();
        for (handle, _) in self.known.iter().flatten() {
            if let Some(connection) = self.core.connection_mut(*handle) {
                connection.network_changed(now, change);
            }
        }
    }

    /// Nothing can be received from this socket any more. Returns whether others are left.
    pub(crate) fn on_socket_failed(&mut self, key: u32) -> bool {
        self.sockets.bury(key);
        self.system.sockets_failed += 1;
        for slot in 0..self.known.len() {
            if let Some((handle, _)) = self.known[slot] {
                self.leave(handle, key);
            }
        }
        self.sockets.alive().next().is_some()
    }

    /// Routes from this socket do not work. A client that has others, and leave to take them by itself, does so. Who has
    /// not tries again when loss is found: the network may be back by then.
    fn leave(&mut self, handle: Handle, key: u32) {
        let now = self.clock.now();
        let may_move = self.core.config().connection.when_suspect == WhenSuspect::Move
            && matches!(self.known.get(handle.slot()), Some(Some((_, true))));
        let Some(connection) = self.core.connection_mut(handle).filter(|_| may_move) else { return };
        let is_here = |route: &RouteView| !route.down && route.interface == key;
        let is_better = |route: &RouteView| {
            !route.down && route.interface != key && route.preference != Preference::NEVER
        };
        if connection.routes().any(|route| is_here(&route))
            && connection.routes().any(|route| is_better(&route))
        {
            connection.network_changed(now, NetworkChange::InterfaceGone(key));
            self.spread_later(handle);
        }
    }

    fn keep_token(&mut self, handle: Handle) {
        let Some(connection) = self.core.connection_mut(handle) else { return };
        let server = connection.remote();
        let Some(token) = connection.token().map(<[u8]>::to_vec) else { return };
        if self.tokens.len() == TOKENS {
            self.tokens.pop_front();
        }
        self.tokens.push_back((server, token));
    }

    /// Turns all clients away from now on.
    pub(crate) fn refuse_clients(&mut self) {
        self.server = None;
    }

    /// Takes what the socket `key` has received.
    pub(crate) fn handle(&mut self, key: u32, inbox: &mut Inbox) {
        let now = self.clock.now();
        let Some(bound) = self.sockets.get(key) else { return };
        let mut accepted = Vec::new();
        for datagram in inbox.datagrams() {
            let on = bound.seen(FourTuple { interface: key, ..datagram.route });
            let reply = match self.core.handle_datagram(now, on, datagram.ecn, datagram.bytes) {
                Handled::Connection(handle) => {
                    self.logs.received(&mut self.core, handle, &on, datagram.ecn, datagram.bytes.len());
                    continue;
                }
                Handled::Ignored(_) => continue,
                Handled::Reply(len) => len,
                Handled::Incoming(incoming) => match self.server.as_mut().map(|new| new(&incoming)) {
                    Some(Ok(session)) => {
                        let memory = HeapStorage::new(&self.sizes);
                        let session = self.logs.watch(session, Side::Server);
                        // What fails here is the client's fault, and has left nothing behind.
                        if let Ok(handle) = self.core.accept(now, incoming, datagram.bytes, memory, session) {
                            self.logs.began(&mut self.core, handle, on);
                            accepted.push(handle);
                        }
                        continue;
                    }
                    _ => self.core.refuse(incoming, datagram.bytes),
                },
            };
            if let Some(bytes) = datagram.bytes.get(..reply) {
                // A lost answer is as good as a lost question.
                let _ = bound.socket.send(&bound.real(on), Ecn::NotEct, bytes.len(), bytes);
            }
        }
        accepted.into_iter().for_each(|handle| self.know(handle, false));
    }

    /// Sends what there is to say, up to a bound.
    pub(crate) fn transmit(&mut self) -> Flow {
        if let Some(Unsent { handle, transmit, bytes }) = self.unsent.take()
            && let Some(blocked) = self.send(handle, transmit, bytes)
        {
            return blocked;
        }
        for _ in 0..BATCHES {
            let now = self.clock.now();
            let Some((handle, transmit)) = self.core.poll_transmit(now, &mut self.out) else {
                return Flow::Done;
            };
            self.logs.sent(&mut self.core, handle, &transmit);
            if let Some(blocked) = self.send(handle, transmit, 0..transmit.len) {
                return blocked;
            }
        }
        Flow::More
    }

    fn send(&mut self, handle: Handle, transmit: Transmit, bytes: Range<usize>) -> Option<Flow> {
        let Transmit { local, remote, interface: key, .. } = transmit;
        let others = self.sockets.others(key);
        let bound = self.sockets.get_mut(key)?;
        let on = bound.real(FourTuple { local, remote, interface: key });
        let part = self.out.get(bytes.clone()).unwrap_or_default();
        let segment = transmit.segment_size.unwrap_or(part.len());
        let Transmit { ecn, flow_label, dscp, .. } = transmit;
        match bound.socket.send(&on, Marks { ecn, flow_label, dscp }, segment, part) {
            Sent::All => {
                bound.full_since = None;
                let unlabelled = bound.socket.leaves_out_label(flow_label, remote);
                self.system.flow_labels_not_supported += u64::from(unlabelled);
                self.system.dscp_not_supported += u64::from(!bound.socket.sets_dscp(dscp));
            }
            Sent::Blocked { done } => {
                let now = self.clock.now();
                let since = *bound.full_since.get_or_insert(now);
                // After that it is lost: others must not wait for a network that may be gone.
                if !others || now.since(since) < PATIENCE.into() {
                    self.unsent = Some(Unsent { handle, transmit, bytes: bytes.start + done..bytes.end });
                    return Some(Flow::Blocked(key));
                }
            }
            Sent::Lost(error) => {
                self.system.sends_failed += 1;
                if is_about_us(&error) {
                    self.leave(handle, key);
                }
                self.send_error = Some((remote, error));
            }
        }
        None
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self) {
        let now = self.clock.now();
        self.core.handle_timeout(now);
        self.spread_due();
    }

    /// When to call [`Self::handle_timeout`]; right after [`Self::transmit`] was [`Flow::Done`].
    pub(crate) fn next_timeout(&mut self) -> Deadline {
        self.core.next_timeout().min(self.end_of_patience()).min(self.following.agenda.next())
    }

    fn end_of_patience(&self) -> Deadline {
        let key = self.unsent.as_ref().map(|unsent| unsent.transmit.interface);
        let bound = key.filter(|key| self.sockets.others(*key)).and_then(|key| self.sockets.get(key));
        let since = bound.and_then(|bound| bound.full_since);
        since.map_or(Deadline::NEVER, |since| Deadline::at(since.after(PATIENCE)))
    }

    pub(crate) fn poll_event(&mut self) -> Option<(Handle, Event)> {
        let news = self.core.poll_event();
        if let Some((handle, event)) = &news {
            self.logs.told(&mut self.core, *handle, event);
        }
        match news {
            Some((handle, Event::Token)) => self.keep_token(handle),
            Some((handle, Event::Confirmed)) => self.spread(handle),
            Some((handle, Event::SpareCid)) => self.spread_on(handle),
            // What a path that has failed leaves behind is for the attempt that is planned, not for one network after the other at once.
            Some((handle, Event::PathPossible)) if !self.following.agenda.is_planned(handle) => {
                self.spread_on(handle);
            }
            Some((handle, Event::Route(_, RouteEvent::Closed | RouteEvent::Failed))) => {
                self.close_unused(handle);
                self.spread_later(handle);
            }
            Some((handle, Event::Route(_, RouteEvent::Validated))) => {
                self.following.agenda.on_validated(handle);
                self.spread_on(handle);
            }
            _ => {}
        }
        news
    }

    /// A connection to look at or to do something with, and the time.
    pub(crate) fn connection(&mut self, handle: Handle) -> Option<(&mut HeapConnection, Instant)> {
        let now = self.clock.now();
        self.core.connection_mut(handle).map(|connection| (connection, now))
    }

    /// Connections that there can be at once.
    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    /// Takes out a connection that is over.
    pub(crate) fn release(&mut self, handle: Handle) -> Option<HeapConnection> {
        self.sockets.give_up(handle, |_| false);
        self.following.agenda.forget(handle);
        if let Some(known) = self.known.get_mut(handle.slot()) {
            known.take_if(|(known, _)| *known == handle);
        }
        self.core.take(handle)
    }

    /// The last error on sending to that address.
    pub(crate) fn send_error(&self, remote: SocketAddr) -> Option<&io::Error> {
        self.send_error.as_ref().filter(|(to, _)| *to == remote).map(|(_, error)| error)
    }

    pub(crate) fn stats(&self) -> EndpointStats {
        self.core.stats()
    }

    pub(crate) const fn system_stats(&self) -> SystemStats {
        self.system
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.core.is_empty()
    }
}
