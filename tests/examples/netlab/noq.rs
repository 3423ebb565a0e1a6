//! Ends that are noq's, to compare with: a server of `GET /N`, and a client that uses several paths.

use std::fs;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use noq::{
    ClientConfig, Connection, Endpoint, EndpointConfig, FourTuple, PathError, PathStatus, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use peregrine_std::pattern::fill;
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const NAME: &str = "server.test";
const ALPN: &[u8] = b"hq-interop";
/// What `peregrine get` and `peregrine serve` have.
const WINDOW: u32 = 2 << 20;

/// Writes a certificate and its key for [`serve`] into this folder; [`get`] trusts the certificate.
pub(crate) fn issue(folder: &Path) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([NAME.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    fs::write(folder.join("certificate"), certificate.der()).expect("a file");
    fs::write(folder.join("key"), key.serialize_der()).expect("a file");
}

fn read(folder: &str, name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(folder).join(name)).expect("what was issued")
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.max_concurrent_multipath_paths(4);
    config.stream_receive_window(VarInt::from_u32(WINDOW)).send_window(WINDOW.into());
    Arc::new(config)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

fn bind(server: Option<ServerConfig>, at: SocketAddr) -> Endpoint {
    let socket = std::net::UdpSocket::bind(at).expect("a socket");
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime)).expect("an endpoint")
}

/// Serves until it is killed.
pub(crate) fn serve(folder: &str, at: &str) {
    let chain = vec![CertificateDer::from(read(folder, "certificate"))];
    let key = PrivateKeyDer::try_from(read(folder, "key")).expect("a key");
    let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut tls = tls.expect("TLS");
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicServerConfig::try_from(tls).expect("TLS for QUIC");
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport());
    let at = at.parse().expect("an address");
    run(async move {
        let endpoint = bind(Some(config), at);
        println!("listening on {at}");
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move { answer(incoming.await.ok()?).await });
        }
    });
}

async fn answer(connection: Connection) -> Option<()> {
    let (mut send, mut recv) = connection.accept_bi().await.ok()?;
    let request = recv.read_to_end(1024).await.ok()?;
    let len = String::from_utf8(request).ok()?.trim_end().strip_prefix("GET /")?.parse::<u64>().ok()?;
    let mut at = 0;
    let mut bytes = vec![0; 64 << 10];
    while at < len {
        let part = bytes.get_mut(..usize::try_from(len - at).unwrap_or(usize::MAX).min(64 << 10))?;
        fill(at, part);
        send.write_all(part).await.ok()?;
        at += part.len() as u64;
    }
    send.finish().ok()?;
    connection.closed().await;
    Some(())
}

/// Downloads so many bytes, over paths from these `others` too; prints the seconds that took.
pub(crate) fn get(folder: &str, server: &str, len: &str, others: &[&str]) {
    let mut roots = RootCertStore::empty();
    roots.add(read(folder, "certificate").into()).expect("a certificate");
    let mut tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicClientConfig::try_from(tls).expect("TLS for QUIC");
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport());
    let server: SocketAddr = server.parse().expect("an address");
    let others: Vec<IpAddr> = others.iter().map(|other| other.parse().expect("an address")).collect();
    // AWS-LC gathers its first entropy for tens of milliseconds, whoever uses it.
    aws_lc_rs::rand::fill(&mut [0]).expect("a random byte");
    run(async move {
        let begun = Instant::now();
        let endpoint = bind(None, (Ipv4Addr::UNSPECIFIED, 0).into());
        let connection =
            endpoint.connect_with(config, server, NAME).expect("a way").await.expect("a connection");
        for other in others {
            let connection = connection.clone();
            tokio::spawn(async move { open(&connection, FourTuple::new(server, Some(other))).await });
        }
        let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
        send.write_all(format!("GET /{len}\r\n").as_bytes()).await.expect("a request");
        send.finish().expect("the end of it");
        let (mut at, mut bytes, mut expected) = (0, vec![0; 256 << 10], vec![0; 256 << 10]);
        while let Some(got) = recv.read(&mut bytes).await.expect("an answer") {
            fill(at, &mut expected[..got]);
            assert!(bytes[..got] == expected[..got], "wrong bytes after {at}");
            at += got as u64;
        }
        assert_eq!(at.to_string(), len);
        println!("{}", begun.elapsed().as_secs_f64());
        connection.close(VarInt::from_u32(0), b"");
        endpoint.wait_idle().await;
    });
}

/// As soon as there is what it takes: noq does not wait for that by itself.
async fn open(connection: &Connection, on: FourTuple) {
    while let Err(error) = connection.open_path(on, PathStatus::Available).await {
        assert!(matches!(error, PathError::RemoteCidsExhausted), "{error}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
