//! What is told to a debugger, line by line as rustls tells it.

use std::sync::{Arc, Mutex};

use peregrine_crypto::tls::{ClientConfig, Credential, Identity, KeyLog, ServerConfig};
use peregrine_crypto::verify::x509::X509;
use rustls::crypto::ring::kx_group::X25519;
use rustls::version::TLS13;

use crate::own::{CLIENT, PSK, SERVER};
use crate::peer::{Peer, provider_with};
use crate::pki::{Chain, Kind};
use crate::wire::{client, server, talk};

const LABELS: [&str; 5] = [
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "EXPORTER_SECRET",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_TRAFFIC_SECRET_0",
];

/// Label, random of the client, secret.
type Line = (String, Vec<u8>, Vec<u8>);

#[derive(Debug, Default)]
struct Log(Mutex<Vec<Line>>);

impl Log {
    fn push(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push((label.to_owned(), client_random.to_vec(), secret.to_vec()));
    }

    /// The lines in the order of their labels: a file of them has none.
    fn sorted(&self) -> Vec<Line> {
        let mut lines = self.0.lock().unwrap().clone();
        lines.sort();
        lines
    }
}

impl KeyLog for Log {
    fn log(&self, label: &str, client_random: &[u8; 32], secret: &[u8]) {
        self.push(label, client_random, secret);
    }
}

impl rustls::KeyLog for Log {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        self.push(label, client_random, secret);
    }
}

fn assert_same(ours: &Log, theirs: &Log) {
    let ours = ours.sorted();
    assert_eq!(ours, theirs.sorted());
    assert!(ours.iter().map(|(label, ..)| label.as_str()).eq(LABELS));
}

#[test]
fn both_sides_tell_the_same_secrets() {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    let (ours, theirs) = (Log::default(), Log::default());
    let (mut client, mut server) = (client(&client_config), server(&server_config));
    client.set_key_log(&ours);
    server.set_key_log(&theirs);
    talk(&mut client, &mut server).unwrap();
    assert_same(&ours, &theirs);
}

#[test]
fn rustls_tells_the_same_lines() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let (anchors, entries, key) = (chain.anchors(), chain.entries(), chain.key.ours());
    for suite in [0x1301, 0x1302, 0x1303] {
        let provider = provider_with(suite, vec![X25519]);

        let (ours, theirs) = (Log::default(), Arc::new(Log::default()));
        let verifier = X509 { anchors: &anchors };
        let config = ClientConfig { server: Some(&verifier), ..CLIENT };
        let mut their_config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.theirs(), chain.key.theirs())
            .unwrap();
        their_config.alpn_protocols = vec![b"hq-interop".to_vec()];
        their_config.key_log = Arc::clone(&theirs) as _;
        let (mut client, mut server) = (client(&config), Peer::server(their_config));
        client.set_key_log(&ours);
        talk(&mut client, &mut server).unwrap();
        assert_same(&ours, &theirs);

        let (ours, theirs) = (Log::default(), Arc::new(Log::default()));
        let identity = Identity { credential: Credential::X509(&entries), key: &key };
        let config = ServerConfig { identities: &[identity], ..SERVER };
        let mut their_config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(chain.roots())
            .with_no_client_auth();
        their_config.alpn_protocols = vec![b"hq-interop".to_vec()];
        their_config.key_log = Arc::clone(&theirs) as _;
        let (mut client, mut server) = (Peer::client(their_config), crate::wire::server(&config));
        server.set_key_log(&ours);
        talk(&mut client, &mut server).unwrap();
        assert_same(&ours, &theirs);
    }
}
