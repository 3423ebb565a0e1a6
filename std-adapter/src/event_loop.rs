//! An endpoint without a thread: driven by hand, from one's own loop.
//!
//! ```text
//! loop {
//!     events.turn(timeout)?;                       // sleep, receive, timers
//!     while let Some((handle, event)) = events.poll_event() { … events.connection(handle) … }
//!     events.transmit();
//! }
//! ```
//!
//! Or, beside other sockets in a loop of one's own: watch [`EventLoop::sockets`] for reading, sleep until
//! [`EventLoop::next_timeout`] at most, then call [`EventLoop::turn`] with a timeout of zero.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peregrine_core::connection::{Event, NetworkChange};
use peregrine_core::endpoint::{EndpointStats, Handle};
use peregrine_core::ids::PathId;
use peregrine_core::path::{Availability, RouteId};
use peregrine_core::time::Instant;

use crate::builder::{Builder, ClientFactory};
use crate::driver::Port;
use crate::engine::{Engine, Flow, SystemStats};
use crate::error::Error;
use crate::session::AnySession;
use crate::socket::Socket;
use crate::storage::HeapConnection;
use crate::watch::Networks;

/// An endpoint driven by hand. It stays on one thread, and so does all that is done to its connections.
pub struct EventLoop {
    engine: Engine,
    port: Port,
    client: Option<ClientFactory>,
    flow: Flow,
}

impl EventLoop {
    /// Collects what an endpoint is made of; ends with [`Builder::event_loop`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(engine: Engine, client: Option<ClientFactory>) -> Result<Self, Error> {
        let port = Port::new().map_err(Error::System)?;
        Ok(Self { engine, port, client, flow: Flow::Done })
    }

    /// Begins a connection; [`Event::Connected`] or [`Event::Closed`] tells what came of it.
    ///
    /// # Errors
    /// If there is no room or no way for one.
    pub fn connect(&mut self, remote: SocketAddr, server_name: &str) -> Result<Handle, Error> {
        let new = self.client.as_ref().ok_or(Error::Role("this endpoint was given no client's TLS"))?;
        let session = new(server_name)?;
        self.connect_with(remote, session)
    }

    /// Begins a connection with a session made elsewhere.
    ///
    /// # Errors
    /// If there is no room or no way for one.
    pub fn connect_with(&mut self, remote: SocketAddr, session: AnySession) -> Result<Handle, Error> {
        self.engine.connect(remote, session)
    }

    /// A connection to do something with, and the time for calls that want it. What it then has to say goes out with
    /// [`Self::transmit`].
    pub fn connection(&mut self, handle: Handle) -> Option<(&mut HeapConnection, Instant)> {
        self.engine.connection(handle)
    }

    /// The next thing that a connection has to tell. After [`Event::Drained`], [`Self::release`] it.
    pub fn poll_event(&mut self) -> Option<(Handle, Event)> {
        self.engine.poll_event()
    }

    /// The handshake memory of a connection can go: to be called on [`Event::Confirmed`].
    pub fn after_handshake(&mut self, handle: Handle) {
        if let Some((connection, _)) = self.engine.connection(handle) {
            connection.session_mut().after_handshake();
        }
    }

    /// Gives back the memory of a connection.
    pub fn release(&mut self, handle: Handle) {
        drop(self.engine.release(handle));
    }

    /// Sends what there is to say, as far as the sockets and a bound on the bytes of one call allow. Returns whether
    /// there is nothing more to say now.
    pub fn transmit(&mut self) -> bool {
        self.flow = self.engine.transmit();
        self.flow == Flow::Done
    }

    /// Sends what there is to say, sleeps until a datagram comes, something is due or `timeout` has passed (`None`:
    /// never), and then handles what came and what is due.
    ///
    /// # Errors
    /// Those of the system that no peer can cause: it cannot wait, or the last socket has failed. A client may go on from
    /// another one.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        self.flow = self.engine.transmit();
        let due = self.next_timeout();
        let timeout = match (timeout, due) {
            (Some(timeout), Some(due)) => Some(timeout.min(due)),
            (timeout, due) => timeout.or(due),
        };
        let timeout = if self.flow == Flow::More { Some(Duration::ZERO) } else { timeout };
        let engine = &mut self.engine;
        self.port.follow(engine.sockets());
        self.port.wait(self.flow, timeout).map_err(Error::System)?;
        let mut lost = None;
        self.port.receive(|key, received| match received {
            Ok(inbox) => engine.handle(key, inbox),
            Err(error) => lost = Some(error).filter(|_| !engine.on_socket_failed(key)),
        });
        self.engine.handle_timeout();
        lost.map_or(Ok(()), |error| Err(Error::System(error)))
    }

    /// How long the next call of [`Self::turn`] can wait; `None` is for ever.
    pub fn next_timeout(&mut self) -> Option<Duration> {
        let deadline = self.engine.next_timeout();
        self.engine.clock().until(deadline)
    }

    /// The sockets, in the order of their addresses; those that routes were opened from follow. To be asked for again after
    /// [`Self::add_route`], [`Self::migrate`], [`Self::open_path`], [`Self::rebind`], and events of routes.
    pub fn sockets(&self) -> impl Iterator<Item = &Arc<Socket>> {
        self.engine.sockets().alive().map(|(_, socket)| socket)
    }

    /// The addresses of [`Self::sockets`].
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.sockets().map(|socket| socket.local_addr())
    }

    /// Opens a route of a connection from another local address (port 0 is any) and asks whether it works;
    /// [`Event::Route`] tells. All else about routes is done with the connection itself. The socket is closed when no
    /// connection has a route from there any more.
    ///
    /// # Errors
    /// [`Error::Route`], [`Error::Bind`] and [`Error::OtherFamily`].
    pub fn add_route(&mut self, handle: Handle, local: SocketAddr) -> Result<RouteId, Error> {
        self.engine.add_route(handle, local)
    }

    /// Moves a connection to another local address at once and validates meanwhile: for when the route in use is gone.
    ///
    /// # Errors
    /// As for [`Self::add_route`].
    pub fn migrate(&mut self, handle: Handle, local: SocketAddr) -> Result<RouteId, Error> {
        self.engine.migrate(handle, local)
    }

    /// Opens a path of a connection from another local address (port 0 is any) to where the peer is, or to `remote`;
    /// [`Event::Path`] tells. All else about paths is done with the connection itself.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Bind`] and [`Error::OtherFamily`].
    pub fn open_path(
        &mut self,
        handle: Handle,
        local: SocketAddr,
        remote: Option<SocketAddr>,
        status: Availability,
    ) -> Result<PathId, Error> {
        self.engine.open_path(handle, local, remote, status)
    }

    /// As [`Endpoint::rebind`](crate::Endpoint::rebind).
    ///
    /// # Errors
    /// [`Error::Bind`]; [`Error::Family`] if no socket can be replaced.
    pub fn rebind(&mut self, local: SocketAddr) -> Result<SocketAddr, Error> {
        self.engine.rebind(local)
    }

    /// Tells all connections what the system says of our networks.
    pub fn network_changed(&mut self, change: NetworkChange) {
        self.engine.network_changed(change);
    }

    /// This host is on these networks now, as [`NetworkEvents`](crate::NetworkEvents) tell. See
    /// [`Endpoint::watch_networks`](crate::Endpoint::watch_networks) for what comes of it.
    pub fn follow_networks(&mut self, networks: Networks) {
        self.engine.follow(networks);
    }

    /// The counters of the endpoint.
    pub fn stats(&self) -> EndpointStats {
        self.engine.stats()
    }

    /// What was asked of the system in vain.
    pub fn system_stats(&self) -> SystemStats {
        self.engine.system_stats()
    }

    /// The time, as connections know it.
    pub fn now(&self) -> Instant {
        self.engine.now()
    }
}
