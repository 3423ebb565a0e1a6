//! The other stack's side, made to block.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::quic::Suite;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, KeyLogFile, RootCertStore, ServerConfig, SupportedCipherSuite};
use tokio::runtime::{Builder, Handle, Runtime};

use super::app::{self, Line};
use super::pki::{Authority, Leaf};
use super::{ALPN, LOOPBACK, NAME};
use crate::stack::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use crate::stack::{self, ConnectionError, EndpointConfig, TokioRuntime};

/// What any step of a test may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What rustls is to choose from, best first.
pub(crate) struct Choice {
    pub(crate) suites: Vec<SupportedCipherSuite>,
    pub(crate) groups: Vec<&'static dyn SupportedKxGroup>,
    pub(crate) alpn: &'static [u8],
}

impl Default for Choice {
    fn default() -> Self {
        Self { suites: cipher_suites(), groups: vec![kx_group::X25519, kx_group::SECP256R1], alpn: ALPN }
    }
}

/// Those of TLS 1.3.
pub(crate) fn cipher_suites() -> Vec<SupportedCipherSuite> {
    vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ]
}

impl Choice {
    fn provider(&self) -> Arc<CryptoProvider> {
        let (cipher_suites, kx_groups) = (self.suites.clone(), self.groups.clone());
        Arc::new(CryptoProvider { cipher_suites, kx_groups, ..default_provider() })
    }

    /// A client that trusts the authority and shows `leaf`.
    pub(crate) fn client(&self, authority: &Authority, leaf: Option<Leaf>) -> stack::ClientConfig {
        self.client_trusting(authority.roots(), leaf)
    }

    /// A client that trusts these and shows `leaf`.
    pub(crate) fn client_trusting(&self, roots: RootCertStore, leaf: Option<Leaf>) -> stack::ClientConfig {
        let tls = ClientConfig::builder_with_provider(self.provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match leaf {
            Some(leaf) => tls.with_client_auth_cert(leaf.chain, leaf.key).unwrap(),
            None => tls.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![self.alpn.to_vec()];
        // Where SSLKEYLOGFILE says, if it does.
        tls.key_log = Arc::new(KeyLogFile::new());
        let tls = QuicClientConfig::with_initial(Arc::new(tls), initial_suite()).unwrap();
        stack::ClientConfig::new(Arc::new(tls))
    }

    /// A server that shows `leaf` and lets in `clients`: all, or those that the authority vouches for.
    pub(crate) fn server(&self, leaf: Leaf, clients: Option<&Authority>) -> stack::ServerConfig {
        let tls = ServerConfig::builder_with_provider(self.provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap();
        let tls = match clients {
            None => tls.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, self.provider());
                tls.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut tls = tls.with_single_cert(leaf.chain, leaf.key).unwrap();
        tls.alpn_protocols = vec![self.alpn.to_vec()];
        let tls = QuicServerConfig::with_initial(Arc::new(tls), initial_suite()).unwrap();
        stack::ServerConfig::with_crypto(Arc::new(tls))
    }
}

/// A client without preferences.
pub(crate) fn client_config(authority: &Authority) -> stack::ClientConfig {
    Choice::default().client(authority, None)
}

/// A server without preferences.
pub(crate) fn server_config(authority: &Authority) -> stack::ServerConfig {
    Choice::default().server(authority.issue(NAME), None)
}

/// Initial packets have a suite of their own (RFC 9001 5.2).
fn initial_suite() -> Suite {
    cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap().quic_suite().unwrap()
}

/// An endpoint and its runtime.
pub(crate) struct Theirs {
    pub(crate) endpoint: stack::Endpoint,
    client: Option<stack::ClientConfig>,
    runtime: Runtime,
    pub(crate) arrivals: Receiver<Result<stack::Connection, ConnectionError>>,
    retries: Arc<AtomicUsize>,
}

/// What a server does with a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// Lets it in.
    Accept,
    /// Sends a Retry to one whose address is not proven.
    Retry,
    /// Turns it away.
    Refuse,
}

/// A connection.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) inner: stack::Connection,
    runtime: Handle,
}

impl Theirs {
    pub(crate) fn server(config: stack::ServerConfig) -> Self {
        Self::server_with(EndpointConfig::default(), config, LOOPBACK, Welcome::Accept)
    }

    pub(crate) fn server_with(
        endpoint: EndpointConfig,
        config: stack::ServerConfig,
        at: SocketAddr,
        welcome: Welcome,
    ) -> Self {
        Self::bind(endpoint, Some((config, welcome)), at)
    }

    pub(crate) fn client(config: stack::ClientConfig) -> Self {
        Self::client_with(EndpointConfig::default(), config)
    }

    pub(crate) fn client_with(endpoint: EndpointConfig, config: stack::ClientConfig) -> Self {
        Self::client_at(endpoint, config, LOOPBACK)
    }

    pub(crate) fn client_at(endpoint: EndpointConfig, config: stack::ClientConfig, at: SocketAddr) -> Self {
        Self { client: Some(config), ..Self::bind(endpoint, None, at) }
    }

    fn bind(config: EndpointConfig, server: Option<(stack::ServerConfig, Welcome)>, at: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let socket = std::net::UdpSocket::bind(at).unwrap();
        let (server, welcome) = server.unzip();
        let endpoint = stack::Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).unwrap();
        drop(entered);
        let (tell, arrivals) = mpsc::channel();
        let retries = Arc::new(AtomicUsize::new(0));
        if let Some(welcome) = welcome {
            runtime.spawn(receive(endpoint.clone(), welcome, tell, Arc::clone(&retries)));
        }
        Self { endpoint, client: None, runtime, arrivals, retries }
    }

    /// How many clients were sent a Retry.
    pub(crate) fn retries(&self) -> usize {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    /// Waits for what must not take long.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        wait(self.runtime.handle(), future)
    }

    pub(crate) fn connect(&self, to: SocketAddr) -> Result<Connection, ConnectionError> {
        let config = self.client.clone().expect("a client");
        let connected = self.wait(async { self.endpoint.connect_with(config, to, NAME).unwrap().await });
        connected.map(|connection| self.connection(connection))
    }

    pub(crate) fn accept(&self) -> Result<Connection, ConnectionError> {
        let arrival = self.arrivals.recv_timeout(LIMIT).expect("a client arrives");
        arrival.map(|connection| self.connection(connection))
    }

    pub(crate) fn connection(&self, inner: stack::Connection) -> Connection {
        Connection { inner, runtime: self.runtime.handle().clone() }
    }

    /// Goes on from another socket.
    pub(crate) fn rebind(&self, socket: std::net::UdpSocket) {
        let _entered = self.runtime.enter();
        self.endpoint.rebind(socket).unwrap();
    }

    /// Stops in the middle of everything, without a word to anybody.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

async fn receive(
    endpoint: stack::Endpoint,
    welcome: Welcome,
    tell: Sender<Result<stack::Connection, ConnectionError>>,
    retries: Arc<AtomicUsize>,
) {
    while let Some(incoming) = endpoint.accept().await {
        match welcome {
            Welcome::Refuse => incoming.refuse(),
            Welcome::Retry if !incoming.remote_address_validated() => {
                retries.fetch_add(1, Ordering::Relaxed);
                incoming.retry().unwrap();
            }
            Welcome::Accept | Welcome::Retry => {
                // The test may be over already.
                let _ = tell.send(incoming.await);
            }
        }
    }
}

fn wait<T>(runtime: &Handle, future: impl Future<Output = T>) -> T {
    runtime.block_on(async { tokio::time::timeout(LIMIT, future).await }).expect("an answer in time")
}

impl Connection {
    /// Waits for what must not take long.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        wait(&self.runtime, future)
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        stack::remote(&self.inner)
    }

    pub(crate) fn closed(&self) -> ConnectionError {
        self.wait(self.inner.closed())
    }
}

pub(crate) struct SendStream {
    stream: stack::SendStream,
    runtime: Handle,
}

pub(crate) struct RecvStream {
    stream: stack::RecvStream,
    runtime: Handle,
}

impl Line for Connection {
    type Send = SendStream;
    type Recv = RecvStream;

    fn open(&self) -> io::Result<(SendStream, RecvStream)> {
        let streams = self.wait(self.inner.open_bi())?;
        Ok(self.streams(streams))
    }

    fn accept(&self) -> Option<(SendStream, RecvStream)> {
        self.runtime.block_on(self.inner.accept_bi()).ok().map(|streams| self.streams(streams))
    }

    fn close(&self, code: u32, words: &str) {
        self.inner.close(code.into(), words.as_bytes());
    }
}

impl Connection {
    fn streams(&self, (send, recv): (stack::SendStream, stack::RecvStream)) -> (SendStream, RecvStream) {
        let runtime = self.runtime.clone();
        (SendStream { stream: send, runtime: runtime.clone() }, RecvStream { stream: recv, runtime })
    }
}

impl app::Sender for SendStream {
    fn finish(&mut self) -> io::Result<()> {
        Ok(self.stream.finish()?)
    }
}

impl Write for SendStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(wait(&self.runtime, self.stream.write(bytes))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for RecvStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(wait(&self.runtime, self.stream.read(out))?.unwrap_or(0))
    }
}
