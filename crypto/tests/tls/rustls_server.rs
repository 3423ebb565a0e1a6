//! Our client against a rustls server.

use std::sync::Arc;

use peregrine_crypto::provider::{Group, HashAlgorithm, Suite};
use peregrine_crypto::tls::{ClientConfig, Credential, Identity, PeerIdentity, Psk};
use peregrine_crypto::verify::pin::{Pin, spki_hash};
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::x509::X509;
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::kx_group::{SECP256R1, X25519};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ClientCertVerifierBuilder, WebPkiClientVerifier};
use rustls::version::TLS13;

use crate::peer::{Peer, assert_agreed, provider, provider_with};
use crate::pki::{Chain, Key, Kind, NAME};
use crate::raw::OneRawKey;
use crate::wire::{Client, Failed, client, talk, talk_in_pieces};

const CLIENT: ClientConfig<'_> = ClientConfig {
    server_name: Some(NAME),
    alpn: &[b"hq-interop"],
    server: None,
    identity: None,
    psks: &[],
    suites: &[],
    groups: &[],
};

fn builder(
    provider: Arc<CryptoProvider>,
) -> rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert> {
    wants_verifier(provider).with_no_client_auth()
}

fn wants_verifier(
    provider: Arc<CryptoProvider>,
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap()
}

fn with_alpn(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h3".to_vec(), b"hq-interop".to_vec()];
    config
}

pub(crate) fn server(chain: &Chain) -> ServerConfig {
    server_with(Arc::new(provider()), chain)
}

fn server_with(provider: Arc<CryptoProvider>, chain: &Chain) -> ServerConfig {
    with_alpn(builder(provider).with_single_cert(chain.theirs(), chain.key.theirs()).unwrap())
}

fn outcome(config: &ClientConfig<'_>, server: ServerConfig) -> Result<(), Failed> {
    let (mut client, mut server) = (client(config), Peer::server(server));
    talk(&mut client, &mut server)?;
    complete(&mut client, &mut server);
    Ok(())
}

/// The alert that our client ends the handshake with.
fn our_alert(config: &ClientConfig<'_>, server: ServerConfig) -> u8 {
    let failed = outcome(config, server).unwrap_err();
    assert!(matches!(failed, Failed::Client(_)), "{failed:?}");
    failed.alert()
}

fn complete(client: &mut Client<'_>, server: &mut Peer) {
    assert!(client.is_complete() && server.is_complete());
    assert_agreed(client, server);
}

#[test]
fn every_suite_and_group_in_pieces_of_every_size() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let anchors = chain.anchors();
    let verifier = X509 { anchors: &anchors };
    for suite in [Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::ChaCha20Poly1305Sha256] {
        for (group, theirs) in [(Group::X25519, X25519), (Group::Secp256r1, SECP256R1)] {
            for step in [1, 3, 100, usize::MAX] {
                let config = ClientConfig { server: Some(&verifier), groups: &[group], ..CLIENT };
                let server = server_with(provider_with(suite.to_u16(), vec![theirs]), &chain);
                let (mut client, mut server) = (client(&config), Peer::server(server));
                talk_in_pieces(&mut client, &mut server, step).unwrap();
                assert_eq!((client.suite(), client.group()), (Some(suite), Some(group)));
                complete(&mut client, &mut server);
                assert!(matches!(client.peer_identity(), Some(PeerIdentity::Certificate { .. })));
            }
        }
    }
}

#[test]
fn hello_retry_request() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let anchors = chain.anchors();
    let verifier = X509 { anchors: &anchors };
    let config = ClientConfig { server: Some(&verifier), ..CLIENT };
    for suite in [0x1301, 0x1302, 0x1303] {
        let server = server_with(provider_with(suite, vec![SECP256R1]), &chain);
        let (mut client, mut server) = (client(&config), Peer::server(server));
        talk_in_pieces(&mut client, &mut server, 100).unwrap();
        assert_eq!(client.group(), Some(Group::Secp256r1));
        complete(&mut client, &mut server);
    }
    let config = ClientConfig { groups: &[Group::X25519], ..config };
    let failed = outcome(&config, server_with(provider_with(0x1301, vec![SECP256R1]), &chain)).unwrap_err();
    assert!(matches!(failed, Failed::Server(_)), "no group in common");
    assert_eq!(failed.alert(), 40);
}

#[test]
fn chains_of_every_kind() {
    for (leaf, ca) in [
        (Kind::P256, Kind::P384),
        (Kind::P384, Kind::P256),
        (Kind::Ed25519, Kind::Ed25519),
        (Kind::P256, Kind::Rsa),
        (Kind::Rsa, Kind::Rsa),
    ] {
        let chain = Chain::new(leaf, ca);
        let anchors = chain.anchors();
        let verifier = X509 { anchors: &anchors };
        let config = ClientConfig { server: Some(&verifier), ..CLIENT };
        outcome(&config, server(&chain)).unwrap_or_else(|failed| panic!("{leaf:?} by {ca:?}: {failed:?}"));
    }
}

#[test]
fn certificates_that_are_not_right() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let anchors = chain.anchors();
    let verifier = X509 { anchors: &anchors };
    let config = ClientConfig { server: Some(&verifier), ..CLIENT };
    let other_name = ClientConfig { server_name: Some("other.test"), ..config };
    assert_eq!(our_alert(&other_name, server(&chain)), 42);
    assert_eq!(our_alert(&config, server(&Chain::new(Kind::P256, Kind::P256))), 48, "another root");

    for (from, until, alert) in [(2000, 2020, 45), (2040, 2050, 45)] {
        let chain = Chain::with(Kind::P256, Kind::P256, |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(until, 1, 1);
        });
        let anchors = chain.anchors();
        let verifier = X509 { anchors: &anchors };
        let config = ClientConfig { server: Some(&verifier), ..CLIENT };
        assert_eq!(our_alert(&config, server(&chain)), alert, "from {from} until {until}");
    }
    let chain = Chain::with(Kind::P256, Kind::P256, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let anchors = chain.anchors();
    let verifier = X509 { anchors: &anchors };
    let config = ClientConfig { server: Some(&verifier), ..CLIENT };
    assert_eq!(our_alert(&config, server(&chain)), 43, "for clients only");
}

#[test]
fn pins() {
    let chain = Chain::new(Kind::Ed25519, Kind::P256);
    let keys = [[0; 32], spki_hash(&chain.key.spki())];
    let verifier = Pin { keys: &keys };
    let config = ClientConfig { server: Some(&verifier), server_name: None, ..CLIENT };
    let (mut client, mut peer) = (client(&config), Peer::server(server(&chain)));
    talk(&mut client, &mut peer).unwrap();
    complete(&mut client, &mut peer);
    let identity = client.peer_identity();
    assert!(matches!(identity, Some(PeerIdentity::Certificate { key_sha256, .. }) if key_sha256 == keys[1]));
    assert_eq!(our_alert(&config, server(&Chain::new(Kind::P256, Kind::P256))), 46);
}

#[test]
fn raw_public_keys() {
    for kind in [Kind::P256, Kind::Ed25519] {
        let key = Key::new(kind);
        let server = || {
            let resolver = AlwaysResolvesServerRawPublicKeys::new(key.raw());
            with_alpn(builder(Arc::new(provider())).with_cert_resolver(Arc::new(resolver)))
        };
        let spki = key.spki();
        let verifier = RawKey { keys: &[&spki] };
        outcome(&ClientConfig { server: Some(&verifier), ..CLIENT }, server()).unwrap();

        let other = Key::new(kind).spki();
        let verifier = RawKey { keys: &[&other] };
        assert_eq!(our_alert(&ClientConfig { server: Some(&verifier), ..CLIENT }, server()), 46);
    }
}

#[test]
fn application_protocols() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let anchors = chain.anchors();
    let verifier = X509 { anchors: &anchors };
    let config = ClientConfig { server: Some(&verifier), ..CLIENT };
    let failed = outcome(&ClientConfig { alpn: &[b"other"], ..config }, server(&chain)).unwrap_err();
    assert!(matches!(failed, Failed::Server(_)));
    assert_eq!(failed.alert(), 120);
    let mut silent = server(&chain);
    silent.alpn_protocols.clear();
    outcome(&ClientConfig { alpn: &[], ..config }, silent).unwrap();
}

#[test]
fn client_certificates() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let clients = Chain::new(Kind::Ed25519, Kind::P256);
    let anchors = chain.anchors();
    let verifier = X509 { anchors: &anchors };
    let asking = |change: fn(ClientCertVerifierBuilder) -> ClientCertVerifierBuilder| {
        let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots(), Arc::new(provider()));
        let config = wants_verifier(Arc::new(provider()))
            .with_client_cert_verifier(change(verifier).build().unwrap())
            .with_single_cert(chain.theirs(), chain.key.theirs());
        with_alpn(config.unwrap())
    };
    let config = ClientConfig { server: Some(&verifier), ..CLIENT };
    let (entries, key) = (clients.entries(), clients.key.ours());
    let identity = Identity { credential: Credential::X509(&entries), key: &key };
    outcome(&ClientConfig { identity: Some(identity), ..config }, asking(|it| it)).unwrap();
    outcome(&config, asking(ClientCertVerifierBuilder::allow_unauthenticated)).unwrap();
    let failed = outcome(&config, asking(|it| it)).unwrap_err();
    assert!(matches!(failed, Failed::Server(_)));
    assert_eq!(failed.alert(), 116);
    let wrong = Key::new(Kind::Ed25519).ours();
    let identity = Identity { credential: Credential::X509(&entries), key: &wrong };
    let failed = outcome(&ClientConfig { identity: Some(identity), ..config }, asking(|it| it)).unwrap_err();
    assert!(matches!(failed, Failed::Server(_)));
}

#[test]
fn client_raw_public_keys() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let anchors = chain.anchors();
    let verifier = X509 { anchors: &anchors };
    let key = Key::new(Kind::P256);
    let asking = |expected: Vec<u8>| {
        let config = wants_verifier(Arc::new(provider()))
            .with_client_cert_verifier(Arc::new(OneRawKey(expected)))
            .with_single_cert(chain.theirs(), chain.key.theirs());
        with_alpn(config.unwrap())
    };
    let (spki, ours) = (key.spki(), key.ours());
    let identity = Some(Identity { credential: Credential::RawPublicKey(&spki), key: &ours });
    let config = ClientConfig { server: Some(&verifier), identity, ..CLIENT };
    outcome(&config, asking(key.spki())).unwrap();
    assert!(matches!(outcome(&config, asking(Key::new(Kind::P256).spki())), Err(Failed::Server(_))));
}

#[test]
fn session_tickets_are_read_past() {
    use peregrine_core::session::{Level, Session};
    let chain = Chain::new(Kind::P256, Kind::P256);
    let anchors = chain.anchors();
    let verifier = X509 { anchors: &anchors };
    // The server sends tickets only to clients that could use one with a key agreement.
    let psk = Psk { identity: b"unknown", key: &[1; 32], hash: HashAlgorithm::Sha256 };
    let config = ClientConfig { server: Some(&verifier), psks: &[psk], ..CLIENT };
    let (mut client, mut server) = (client(&config), Peer::server(server(&chain)));
    talk_in_pieces(&mut client, &mut server, 5).unwrap();
    assert!(server.crypto_len(Level::OneRtt) > 100, "the server has sent tickets");
    complete(&mut client, &mut server);
    let key_update = client.read_crypto(Level::OneRtt, &[24, 0, 0, 1, 0]).unwrap_err();
    assert_eq!(key_update.code().alert(), Some(10));
}
