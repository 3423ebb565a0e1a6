//! Servers for the board: the `peregrine` command, and quinn.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use peregrine_std::pattern::Pattern;
use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

pub(crate) const ALPN: &[u8] = b"hq-interop";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const NAME: &str = "server.test";
pub(crate) const PSK: &str = "sensor-7:00112233445566778899aabbccddeeff";
/// The most bytes of a request with its upload.
const LONGEST: usize = 1 << 20;

/// Whose program the server is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Quinn,
}

/// How the two sides know each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    Psk,
    RawKey,
    Pin,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// How the firmware knows it, as words for its command line.
    pub(crate) trust: String,
    _running: Running,
}

/// What keeps it running.
enum Running {
    Command { _process: Process },
    Quinn { _endpoint: quinn::Endpoint, _runtime: Runtime },
}

impl Server {
    /// Starts one; `folder` is for files of its own.
    pub(crate) fn start(kind: Kind, auth: Auth, command: &Path, folder: &Path) -> Self {
        let key = Key::new(folder);
        let trust = match auth {
            Auth::Psk => format!("psk={PSK}"),
            Auth::RawKey => format!("raw-key={}", hex(&key.public())),
            Auth::Pin => format!("pin={}", hex(&Sha256::digest(key.public()))),
        };
        let (address, running) = match kind {
            Kind::Command => command_server(command, auth, &key, folder),
            Kind::Quinn => quinn_server(auth, &key),
        };
        Self { address, trust, _running: running }
    }
}

/// An Ed25519 key, and the file that it is in.
struct Key {
    pair: KeyPair,
    file: std::path::PathBuf,
}

impl Key {
    fn new(folder: &Path) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let file = folder.join("server.key");
        std::fs::write(&file, pair.serialize_pem()).expect("a folder of our own");
        Self { pair, file }
    }

    fn public(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.pair.serialize_der()).expect("a key of a kind that is known")
    }
}

/// A process that is ended when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the command puts what the firmware sends.
pub(crate) fn uploads(folder: &Path) -> PathBuf {
    folder.join("uploads")
}

fn command_server(command: &Path, auth: Auth, key: &Key, folder: &Path) -> (SocketAddr, Running) {
    let uploads = uploads(folder);
    std::fs::create_dir(&uploads).expect("a folder of our own");
    let mut serve = Command::new(command);
    serve
        .args(["serve", "--json", "--listen", "127.0.0.1:0", "--uploads"])
        .arg(uploads)
        .stdout(Stdio::piped());
    match auth {
        Auth::Psk => serve.args(["--psk", PSK]),
        Auth::RawKey => serve.arg("--raw-key").arg(&key.file),
        Auth::Pin => unreachable!("its own certificates have keys of another kind"),
    };
    let mut process = Process(serve.spawn().expect("the peregrine command"));
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().expect("it is piped"))
        .read_line(&mut line)
        .expect("it says where it is");
    let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let address = said["listening"][0].as_str().and_then(|address| address.parse().ok());
    (address.expect("an address"), Running::Command { _process: process })
}

fn quinn_server(auth: Auth, key: &Key) -> (SocketAddr, Running) {
    let tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth();
    let mut tls = match auth {
        Auth::Pin => {
            let params = CertificateParams::new([NAME.to_owned()]).expect("a name");
            let certificate = params.self_signed(&key.pair).expect("a certificate");
            tls.with_single_cert(vec![certificate.into()], key.private()).expect("the key of the certificate")
        }
        Auth::RawKey => {
            let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.private()).expect("a key");
            let shown = CertifiedKey::new(vec![CertificateDer::from(key.public())], signing);
            tls.with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(shown))))
        }
        Auth::Psk => unreachable!("rustls has no external shared keys"),
    };
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicServerConfig::try_from(tls).expect("a suite for Initial packets");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let entered = runtime.enter();
    let endpoint =
        quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(tls)), LOOPBACK).expect("a server");
    drop(entered);
    let accepting = endpoint.clone();
    runtime.spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            tokio::spawn(async move {
                let connection = incoming.await.ok()?;
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    let request = recv.read_to_end(LONGEST).await.ok()?;
                    send.write_all(&answer(&request)?).await.ok()?;
                    send.finish().ok()?;
                }
                Some(())
            });
        }
    });
    let address = endpoint.local_addr().expect("it is bound");
    (address, Running::Quinn { _endpoint: endpoint, _runtime: runtime })
}

/// The answer to a whole request: `GET /N` gets N bytes of the pattern, `PUT /N` with N bytes their SHA-256 in hex.
fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let end = request.windows(2).position(|two| two == b"\r\n")?;
    let (line, body) = (std::str::from_utf8(&request[..end]).ok()?, &request[end + 2..]);
    let (method, len) = line.split_once(" /")?;
    let len: usize = len.parse().ok()?;
    match method {
        "GET" => Some(pattern(len)),
        "PUT" if body.len() == len => Some(hex(&Sha256::digest(body)).into_bytes()),
        _ => None,
    }
}

/// The first bytes of the pattern.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    Pattern::new(len as u64).read_to_end(&mut bytes).expect("it never fails");
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
