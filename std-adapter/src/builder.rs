//! What an endpoint is made of: addresses, roles, sizes.

use std::fmt;
use std::net::SocketAddr;

use peregrine_core::connection::{Config, MultipathConfig};
use peregrine_core::endpoint::{EndpointConfig, Incoming, RetryPolicy};
use peregrine_core::wire::Dialect;
use peregrine_crypto::cid::CidGenerator;
use peregrine_crypto::endpoint::EndpointKeys;
use peregrine_crypto::provider::Provider;

use crate::cids::AnyCids;
use crate::endpoint::Endpoint;
use crate::engine::{Engine, OtherNetworks};
use crate::error::Error;
use crate::event_loop::EventLoop;
use crate::provider::host_provider;
use crate::qlog::Logs;
use crate::seen::Seen;
use crate::session::AnySession;
use crate::sockets::Sockets;
use crate::storage::Sizes;

/// Makes the session of a client that may come in; an error turns it away.
pub(crate) type ServerFactory = Box<dyn FnMut(&Incoming) -> Result<AnySession, Error> + Send>;
/// Makes the session of a connection to the server of this name.
pub(crate) type ClientFactory = Box<dyn Fn(&str) -> Result<AnySession, Error> + Send + Sync>;
/// Is told what happens to connections.
pub(crate) type Observer = Box<dyn FnMut(&mut Seen<'_>) + Send>;

/// Collects what an endpoint is made of.
#[must_use]
pub struct Builder {
    addresses: Vec<SocketAddr>,
    config: EndpointConfig,
    connections: usize,
    sizes: Sizes,
    secret: Option<[u8; 32]>,
    cids: AnyCids,
    server: Option<ServerFactory>,
    client: Option<ClientFactory>,
    observer: Option<Observer>,
    other_networks: OtherNetworks,
    logs: Logs,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            config: EndpointConfig {
                connection: Config {
                    // What a socket's buffer takes.
                    max_udp_payload: 65_527,
                    peer_bidi_streams: 64,
                    peer_uni_streams: 32,
                    ..Config::default()
                },
                ..EndpointConfig::default()
            },
            connections: 256,
            sizes: Sizes::default(),
            secret: None,
            cids: AnyCids::default(),
            server: None,
            client: None,
            observer: None,
            other_networks: OtherNetworks::default(),
            logs: Logs::default(),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Builder {
    /// Uses a socket on this address; may be called several times. Port 0 is any free one. Without a call, a socket on
    /// any free port reaches both address families.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Lets clients in, with sessions from `new`. It is called by the thread that handles datagrams, with the endpoint locked, and
    /// must not use it: [`Self::connections`] and [`Self::half_open`] limit how many come in.
    pub fn server(
        mut self,
        new: impl FnMut(&Incoming) -> Result<AnySession, Error> + Send + 'static,
    ) -> Self {
        self.server = Some(Box::new(new));
        self
    }

    /// Lets [`Endpoint::connect`] work, with sessions from `new`, which is given the name of the server.
    pub fn client(mut self, new: impl Fn(&str) -> Result<AnySession, Error> + Send + Sync + 'static) -> Self {
        self.client = Some(Box::new(new));
        self
    }

    /// Shows `observer` every event of every connection: for logs and timelines. It is called with the endpoint locked and
    /// must not use it. An [`EventLoop`], which tells its events itself, has no use for it.
    pub fn observe(mut self, observer: impl FnMut(&mut Seen<'_>) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Writes a log of every connection into a folder.
    #[cfg(feature = "qlog")]
    pub fn qlog(mut self, folder: crate::qlog::Qlog) -> Self {
        self.logs.write_into(folder);
        self
    }

    /// Changes what connections are made with. Of the streams that are allowed to the peer, [`Self::sizes`] may leave fewer.
    ///
    /// ```
    /// use std::time::Duration;
    /// use peregrine_std::Endpoint;
    /// let builder = Endpoint::builder().tune(|config| config.max_idle_timeout = Duration::from_secs(10));
    /// ```
    pub fn tune(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config.connection);
        self
    }

    /// Several paths at once, with peers that know them too: as many as `paths` of [`Sizes`], in every dialect there is. `change` may
    /// choose otherwise. Without a call there is one path, and nothing else is offered; without the feature `multipath` so
    /// it is with a call.
    ///
    /// ```
    /// use peregrine_core::path::schedule::Scheduler;
    /// use peregrine_std::Endpoint;
    /// let builder = Endpoint::builder().multipath(|paths| paths.scheduler = Scheduler::LowestRtt);
    /// ```
    pub fn multipath(mut self, change: impl FnOnce(&mut MultipathConfig)) -> Self {
        self.config.connection.multipath = MultipathConfig::speaking(Dialect::ALL).map(|mut config| {
            change(&mut config);
            config
        });
        self
    }

    /// What clients make of the networks of this host beside the one that they are on, once the endpoint
    /// [is told of them](Endpoint::watch_networks): without a call, routes in reserve.
    ///
    /// ```
    /// use peregrine_core::path::Availability;
    /// use peregrine_std::{Endpoint, OtherNetworks};
    /// // Wi-Fi and cellular together, whichever comes and goes.
    /// let builder = Endpoint::builder()
    ///     .multipath(|_| {})
    ///     .other_networks(OtherNetworks::Paths(Availability::Available));
    /// ```
    pub const fn other_networks(mut self, other_networks: OtherNetworks) -> Self {
        self.other_networks = other_networks;
        self
    }

    /// The memory of each connection. The peer gets at most half of the streams for its own of both ways, and a quarter for
    /// those one way: the rest is for ours.
    pub const fn sizes(mut self, sizes: Sizes) -> Self {
        self.sizes = sizes;
        self
    }

    /// How many connections there may be at once.
    pub const fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// When clients must prove their address.
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.config.retry = policy;
        self
    }

    /// Handshakes of clients that may run at once.
    pub const fn half_open(mut self, handshakes: usize) -> Self {
        self.config.max_half_open = handshakes;
        self
    }

    /// The secret behind tokens and stateless resets. With the same one after a restart, peers of lost connections learn
    /// so at once instead of by a timeout. Without a call it is random.
    pub const fn secret(mut self, secret: [u8; 32]) -> Self {
        self.secret = Some(secret);
        self
    }

    /// What makes our connection IDs; without a call they are random, of eight bytes. See [`peregrine_crypto::cid`] for
    /// those that the endpoint knows again after a restart, and those that lead to one server of a fleet.
    ///
    /// ```
    /// # use peregrine_std::{Builder, Endpoint};
    /// # use peregrine_std::provider::host_provider;
    /// # use peregrine_crypto::cid::{CidError, KeyedCids};
    /// /// A server that answers with stateless resets to its own connection IDs only.
    /// fn restartable(secret: [u8; 32]) -> Result<Builder, CidError> {
    ///     let cids = KeyedCids::new(&host_provider(), &secret, 16)?;
    ///     Ok(Endpoint::builder().secret(secret).cids(cids))
    /// }
    /// # restartable([1; 32]).unwrap();
    /// ```
    pub fn cids(mut self, cids: impl CidGenerator + Send + 'static) -> Self {
        self.cids = AnyCids::new(cids);
        self
    }

    /// Binds the sockets and starts the thread that drives the endpoint.
    ///
    /// # Errors
    /// [`Error::Bind`] and [`Error::System`].
    pub fn bind(mut self) -> Result<Endpoint, Error> {
        let observer = self.observer.take();
        let (engine, client) = self.build()?;
        Endpoint::start(engine, client, observer)
    }

    /// Binds the sockets of an endpoint that the caller drives.
    ///
    /// # Errors
    /// [`Error::Bind`] and [`Error::System`].
    pub fn event_loop(self) -> Result<EventLoop, Error> {
        let (engine, client) = self.build()?;
        EventLoop::new(engine, client)
    }

    fn build(mut self) -> Result<(Engine, Option<ClientFactory>), Error> {
        let sockets = Sockets::bind(&self.addresses)?;
        if sockets.alive().any(|(_, socket)| socket.may_fragment()) {
            self.config.connection.max_mtu = peregrine_core::limits::BASE_MTU;
        }
        let mut provider = host_provider();
        let mut random = [0; 32];
        provider.fill_random(&mut random);
        let keys = EndpointKeys::with_cids(provider, &self.secret.unwrap_or(random), self.cids)
            .map_err(|_| Error::Session("no keys for tokens".into()))?;
        self.config.cid_len = keys.cid_len();
        self.config.server = self.server.is_some();
        let (config, rows) =
            (&mut self.config.connection, u16::try_from(self.sizes.streams).unwrap_or(u16::MAX));
        config.peer_bidi_streams = config.peer_bidi_streams.min(rows / 2);
        config.peer_uni_streams = config.peer_uni_streams.min(rows / 4);
        if config.multipath.is_none() {
            self.sizes.paths = 1;
        }
        let engine = Engine::new(self.config, self.connections, self.sizes, keys, sockets, self.server);
        let engine = engine.with_logs(self.logs).with_other_networks(self.other_networks);
        Ok((engine, self.client))
    }
}
