//! An endpoint with a thread of its own: blocking calls from any number of threads.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peregrine_core::connection::NetworkChange;
use peregrine_core::endpoint::EndpointStats;

use crate::builder::{Builder, ClientFactory, Observer};
use crate::connection::Connection;
use crate::driver::{self, Port};
use crate::engine::{Engine, SystemStats};
use crate::error::Error;
use crate::session::AnySession;
use crate::shared::Shared;
use crate::watch::{Networks, Watcher};

/// Connections over one set of sockets. Cheap to clone; all clones are the same endpoint.
///
/// Dropping the last one turns new clients away; connections go on until they are closed or dropped themselves.
#[derive(Clone)]
pub struct Endpoint(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    client: Option<ClientFactory>,
    addresses: Vec<SocketAddr>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("addresses", &self.0.addresses).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Collects what an endpoint is made of; ends with [`Builder::bind`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn start(
        engine: Engine,
        client: Option<ClientFactory>,
        observer: Option<Observer>,
    ) -> Result<Self, Error> {
        let port = Port::new().map_err(Error::System)?;
        let addresses = engine.sockets().alive().map(|(_, socket)| socket.local_addr()).collect();
        let shared = Arc::new(Shared::new(engine, port.waker(), observer));
        let driven = Arc::clone(&shared);
        thread::Builder::new()
            .name("peregrine".into())
            .spawn(move || driver::run(&driven, port))
            .map_err(Error::System)?;
        Ok(Self(Arc::new(Owner { shared, client, addresses })))
    }

    #[cfg(all(test, feature = "watch", target_os = "linux"))]
    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// The addresses bound to at the beginning, in the order in which they were given.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.0.addresses
    }

    /// Moves to a new socket on `local`, whose address is returned, without telling the connections: what a NAT does to
    /// them when it forgets a mapping. It takes the place of the socket that new connections to addresses of its family
    /// begin on. For clients: nobody finds a server that does so.
    ///
    /// # Errors
    /// [`Error::Bind`]; [`Error::Family`] if no socket can be replaced.
    pub fn rebind(&self, local: SocketAddr) -> Result<SocketAddr, Error> {
        let mut state = self.0.shared.lock();
        let bound = state.engine.rebind(local);
        state.flush_here();
        bound
    }

    /// Tells all connections what the system says of our networks; see [`Connection::network_changed`].
    pub fn network_changed(&self, change: NetworkChange) {
        let mut state = self.0.shared.lock();
        state.engine.network_changed(change);
        state.flush_here();
    }

    /// Follows the networks of this host from now on, until the watcher is dropped or [fails](Watcher::failure): connections
    /// leave addresses that are gone; a client tries the address of each other link as soon as it is there, and with
    /// [`Config::choose_automatically`](peregrine_core::connection::Config::choose_automatically) also moves there if that
    /// is better. With none left, it moves to the first that comes. Sockets that [`Self::rebind`] has put in the place of
    /// others are not followed. With [`OtherNetworks::Paths`](crate::OtherNetworks::Paths) it uses them all at once, where the
    /// server knows several paths: what follows of routes holds for paths, of which it has as many as there are
    /// `paths` in [`Sizes`](crate::Sizes).
    ///
    /// A connection has [`ROUTES_PER_PATH`](peregrine_core::connection::ROUTES_PER_PATH) routes at most, the one in use
    /// among them. Where there are more links than that, hardware comes before bridges and tunnels, and those that lead
    /// nowhere make room for others; [`SystemStats::routes_refused`] counts what there was no room for. A route that ends, also one that
    /// the application has closed, is tried again after 5 seconds, and then after twice as long each time, up to 5 minutes,
    /// until one works or the networks change. Who does not want a route gives it
    /// [`Preference::NEVER`](peregrine_core::path::Preference::NEVER).
    ///
    /// # Errors
    /// [`Error::System`]: of the kind `Unsupported` where nothing is known of networks.
    pub fn watch_networks(&self) -> Result<Watcher, Error> {
        Watcher::start(&self.0.shared)
    }

    /// Tells all connections that this host is on these networks now, as [`Self::watch_networks`] does where it can.
    pub fn follow_networks(&self, networks: Networks) {
        self.0.shared.follow(networks);
    }

    /// Connects to a server of this name; returns when the handshake is complete and the server is known to be who it
    /// should be.
    ///
    /// # Errors
    /// [`Error::Closed`] tells why the handshake failed.
    pub fn connect(&self, remote: SocketAddr, server_name: &str) -> Result<Connection, Error> {
        let new = self.0.client.as_ref().ok_or(Error::Role("this endpoint was given no client's TLS"))?;
        let session = new(server_name)?;
        self.connect_with(remote, session)
    }

    /// Connects with a session made elsewhere.
    ///
    /// # Errors
    /// As for [`Self::connect`].
    pub fn connect_with(&self, remote: SocketAddr, session: AnySession) -> Result<Connection, Error> {
        let shared = &self.0.shared;
        let connection = {
            let mut state = shared.lock();
            if state.is_shut() {
                return Err(Error::Shutdown);
            }
            let handle = state.engine.connect(remote, session)?;
            let facts = state.hold(handle, remote);
            Connection::new(Arc::clone(shared), handle, facts)
        };
        connection.wait_connected()?;
        Ok(connection)
    }

    /// Waits for a client whose handshake is complete.
    ///
    /// # Errors
    /// [`Error::Shutdown`].
    pub fn accept(&self) -> Result<Connection, Error> {
        self.accept_within(None)
    }

    /// As [`Self::accept`], for a limited time.
    ///
    /// # Errors
    /// [`Error::Shutdown`] and [`Error::TimedOut`].
    pub fn accept_within(&self, timeout: Option<Duration>) -> Result<Connection, Error> {
        let shared = &self.0.shared;
        let arrival = shared.block_for_arrival(timeout)?;
        Ok(Connection::new(Arc::clone(shared), arrival.handle, arrival.facts))
    }

    /// Turns new clients away and ends all waits for them.
    pub fn shut(&self) {
        let mut state = self.0.shared.lock();
        state.shut();
        state.flush_here();
    }

    /// Turns new clients away and closes every connection with this code and these words.
    pub fn close(&self, code: u64, words: &str) {
        let mut state = self.0.shared.lock();
        state.close_all(code, words);
        state.shut();
        state.flush_here();
    }

    /// The counters.
    pub fn stats(&self) -> EndpointStats {
        self.0.shared.lock().engine.stats()
    }

    /// What was asked of the system in vain.
    pub fn system_stats(&self) -> SystemStats {
        self.0.shared.lock().engine.system_stats()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.on_dropped();
        state.flush_here();
        state.wake_driver();
    }
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Endpoint>();
    is_shared::<Connection>();
};
