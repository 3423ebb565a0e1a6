//! quinn on a runtime with one thread.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peregrine_std::identity::Identity;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use socket2::{Domain, Socket, Type};

use crate::child::{self, Task};
use crate::{ALPN, AT_ONCE, BULK_BYTES, CONNECTION_WINDOW, NAME, SOCKET_BYTES, STREAM_WINDOW};

static BYTES: [u8; 64 << 10] = [7; 64 << 10];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    })
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(STREAM_WINDOW.into()).receive_window(CONNECTION_WINDOW.into());
    Arc::new(transport)
}

fn endpoint(server: Option<ServerConfig>) -> Endpoint {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_send_buffer_size(SOCKET_BYTES).unwrap();
    socket.set_recv_buffer_size(SOCKET_BYTES).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let socket = UdpSocket::from(socket);
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime)).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn serve(task: Task) -> Duration {
    let Identity { chain, key } = Identity::self_signed(&[NAME.into()]).unwrap();
    let certificate = chain[0].to_vec();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // Tickets have no counterpart on the other side.
    tls.send_tls13_tickets = 0;
    let tls = QuicServerConfig::try_from(tls).unwrap();
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport());
    block_on(async {
        let endpoint = endpoint(Some(config));
        child::tell(endpoint.local_addr().unwrap(), &certificate);
        let begin = Instant::now();
        let mut connections = Vec::new();
        for _ in 0..task.connections() {
            let incoming = endpoint.accept().await.unwrap();
            connections.push(tokio::spawn(async move {
                // A client that goes away as soon as it may is no error.
                let Ok(connection) = incoming.await else { return };
                if task == Task::Bulk {
                    send(&connection).await;
                }
                connection.closed().await;
            }));
        }
        for connection in connections {
            connection.await.unwrap();
        }
        begin.elapsed()
    })
}

async fn send(connection: &quinn::Connection) {
    let (mut send, mut recv) = connection.accept_bi().await.unwrap();
    recv.read_to_end(64).await.unwrap();
    let mut left = usize::try_from(BULK_BYTES).unwrap();
    while left > 0 {
        let next = BYTES.len().min(left);
        send.write_all(&BYTES[..next]).await.unwrap();
        left -= next;
    }
    send.finish().unwrap();
}

pub(crate) fn fetch(task: Task, server: SocketAddr, certificate: Vec<u8>) -> Duration {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.into()).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(transport());
    block_on(async {
        let mut endpoint = endpoint(None);
        endpoint.set_default_client_config(config);
        match task {
            Task::Bulk => download(&endpoint, server).await,
            Task::Handshakes => handshakes(&endpoint, server, task.connections()).await,
        }
    })
}

async fn download(endpoint: &Endpoint, server: SocketAddr) -> Duration {
    let connection = endpoint.connect(server, NAME).unwrap().await.unwrap();
    let begin = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(b"all").await.unwrap();
    send.finish().unwrap();
    let mut received = 0;
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await.unwrap() {
        received += chunk.bytes.len() as u64;
    }
    child::check(received);
    let took = begin.elapsed();
    connection.close(0_u32.into(), b"");
    endpoint.wait_idle().await;
    took
}

async fn handshakes(endpoint: &Endpoint, server: SocketAddr, count: u64) -> Duration {
    let begin = Instant::now();
    let chains: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                for _ in 0..count / AT_ONCE {
                    let connection = endpoint.connect(server, NAME).unwrap().await.unwrap();
                    connection.close(0_u32.into(), b"");
                }
            })
        })
        .collect();
    for chain in chains {
        chain.await.unwrap();
    }
    let took = begin.elapsed();
    endpoint.wait_idle().await;
    took
}
