//! A rustls client against our server.

use std::sync::Arc;

use peregrine_core::session::{Level, Session};
use peregrine_crypto::provider::{Group, Suite};
use peregrine_crypto::tls::{ClientAuth, Credential, Identity, PeerIdentity, ServerConfig};
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::x509::X509;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, WantsClientCert};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::kx_group::{SECP256R1, X25519};
use rustls::version::TLS13;
use rustls::{ClientConfig, SignatureScheme};

use crate::peer::{Hybrid, Peer, assert_agreed, provider, provider_with};
use crate::pki::{Chain, Key, Kind};
use crate::raw::OneRawKey;
use crate::wire::{Failed, Server, server, talk, talk_in_pieces};

const SERVER: ServerConfig<'_> = ServerConfig {
    alpn: &[b"h3", b"hq-interop"],
    identities: &[],
    psks: None,
    clients: ClientAuth::None,
    suites: &[],
    groups: &[],
};

fn builder(provider: Arc<CryptoProvider>) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap()
}

fn with_roots(
    provider: Arc<CryptoProvider>,
    chain: &Chain,
) -> rustls::ConfigBuilder<ClientConfig, WantsClientCert> {
    builder(provider).with_root_certificates(chain.roots())
}

fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"hq-interop".to_vec()];
    config
}

pub(crate) fn client(chain: &Chain) -> ClientConfig {
    with_alpn(with_roots(Arc::new(provider()), chain).with_no_client_auth())
}

fn outcome(client: ClientConfig, config: &ServerConfig<'_>) -> Result<(), Failed> {
    let (mut client, mut server) = (Peer::client(client), server(config));
    talk(&mut client, &mut server)?;
    complete(&mut client, &mut server);
    Ok(())
}

fn our_alert(client: ClientConfig, config: &ServerConfig<'_>) -> u8 {
    let failed = outcome(client, config).unwrap_err();
    assert!(matches!(failed, Failed::Server(_)), "{failed:?}");
    failed.alert()
}

fn complete(client: &mut Peer, server: &mut Server<'_>) {
    assert!(client.is_complete() && server.is_complete());
    assert_agreed(client, server);
}

#[test]
fn every_suite_and_group_in_pieces_of_every_size() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let (entries, key) = (chain.entries(), chain.key.ours());
    let identities = [Identity { credential: Credential::X509(&entries), key: &key }];
    for suite in [Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::ChaCha20Poly1305Sha256] {
        for (group, theirs) in [(Group::X25519, X25519), (Group::Secp256r1, SECP256R1)] {
            for step in [1, 3, 100, usize::MAX] {
                let client = with_roots(provider_with(suite.to_u16(), vec![theirs]), &chain);
                let config = ServerConfig { identities: &identities, ..SERVER };
                let mut client = Peer::client(with_alpn(client.with_no_client_auth()));
                let mut server = server(&config);
                talk_in_pieces(&mut client, &mut server, step).unwrap();
                assert_eq!((server.suite(), server.group()), (Some(suite), Some(group)));
                assert_eq!(server.server_name(), Some(&b"server.test"[..]));
                complete(&mut client, &mut server);
            }
        }
    }
}

#[test]
fn hello_retry_request() {
    let chain = Chain::new(Kind::Ed25519, Kind::P256);
    let (entries, key) = (chain.entries(), chain.key.ours());
    let identities = [Identity { credential: Credential::X509(&entries), key: &key }];
    let config = ServerConfig { identities: &identities, groups: &[Group::Secp256r1], ..SERVER };
    for suite in [0x1301, 0x1302, 0x1303] {
        let client = with_roots(provider_with(suite, vec![X25519, SECP256R1]), &chain).with_no_client_auth();
        let (mut client, mut server) = (Peer::client(with_alpn(client)), server(&config));
        talk_in_pieces(&mut client, &mut server, 100).unwrap();
        assert_eq!(server.group(), Some(Group::Secp256r1));
        complete(&mut client, &mut server);
    }
    let client = with_roots(provider_with(0x1301, vec![X25519]), &chain).with_no_client_auth();
    assert_eq!(our_alert(with_alpn(client), &config), 40, "no group in common");
}

/// The ClientHello is longer than a datagram, and its first share is of a group we have not.
#[test]
fn a_client_that_prefers_a_post_quantum_group() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let (entries, key) = (chain.entries(), chain.key.ours());
    let identities = [Identity { credential: Credential::X509(&entries), key: &key }];
    let config = ServerConfig { identities: &identities, ..SERVER };
    for with_x25519 in [true, false] {
        let hybrid: &Hybrid =
            if with_x25519 { &Hybrid { with_x25519: true } } else { &Hybrid { with_x25519: false } };
        let client = with_roots(provider_with(0x1301, vec![hybrid, X25519]), &chain).with_no_client_auth();
        let (mut client, mut server) = (Peer::client(with_alpn(client)), server(&config));
        assert!(client.crypto_len(Level::Initial) > 1400);
        talk_in_pieces(&mut client, &mut server, 1000).unwrap();
        assert_eq!(server.group(), Some(Group::X25519));
        complete(&mut client, &mut server);
    }
}

#[test]
fn the_identity_the_client_can_verify() {
    let (chain, other) = (Chain::new(Kind::P384, Kind::P256), Chain::new(Kind::Ed25519, Kind::P256));
    let (entries, key) = (chain.entries(), chain.key.ours());
    let (other_entries, other_key) = (other.entries(), other.key.ours());
    let raw = Key::new(Kind::P256);
    let (spki, raw_key) = (raw.spki(), raw.ours());
    let identities = [
        Identity { credential: Credential::RawPublicKey(&spki), key: &raw_key },
        Identity { credential: Credential::X509(&entries), key: &key },
        Identity { credential: Credential::X509(&other_entries), key: &other_key },
    ];
    let config = ServerConfig { identities: &identities, ..SERVER };
    outcome(client(&chain), &config).unwrap();

    let mut only_ed25519 = provider();
    let mapping = &mut only_ed25519.signature_verification_algorithms.mapping;
    let row = mapping.iter().position(|(scheme, _)| *scheme == SignatureScheme::ED25519).unwrap();
    *mapping = &mapping[row..=row];
    let client = with_alpn(with_roots(Arc::new(only_ed25519), &other).with_no_client_auth());
    outcome(client, &config).unwrap();

    let client = |expected: Vec<u8>| {
        let verifier = Arc::new(OneRawKey(expected));
        let builder = builder(Arc::new(provider())).dangerous().with_custom_certificate_verifier(verifier);
        with_alpn(builder.with_no_client_auth())
    };
    outcome(client(raw.spki()), &config).unwrap();
    assert!(matches!(outcome(client(Key::new(Kind::P256).spki()), &config), Err(Failed::Client(_))));
    let config = ServerConfig { identities: &identities[1..], ..SERVER };
    assert_eq!(our_alert(client(raw.spki()), &config), 43, "no raw public key");
}

#[test]
fn application_protocols() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let (entries, key) = (chain.entries(), chain.key.ours());
    let identities = [Identity { credential: Credential::X509(&entries), key: &key }];
    let config = ServerConfig { identities: &identities, ..SERVER };
    assert_eq!(our_alert(client(&chain), &ServerConfig { alpn: &[b"other"], ..config }), 120);
    let mut silent = client(&chain);
    silent.alpn_protocols.clear();
    assert_eq!(our_alert(silent.clone(), &config), 120);
    outcome(silent, &ServerConfig { alpn: &[], ..config }).unwrap();
}

#[test]
fn client_certificates() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let (entries, key) = (chain.entries(), chain.key.ours());
    let identities = [Identity { credential: Credential::X509(&entries), key: &key }];
    for kind in [Kind::Ed25519, Kind::Rsa] {
        let clients = Chain::new(kind, Kind::P256);
        let anchors = clients.anchors();
        let verifier = X509 { anchors: &anchors };
        let required =
            ServerConfig { identities: &identities, clients: ClientAuth::Required(&verifier), ..SERVER };
        let optional = ServerConfig { clients: ClientAuth::Optional(&verifier), ..required };
        let with = |clients: &Chain| {
            let builder = with_roots(Arc::new(provider()), &chain);
            with_alpn(builder.with_client_auth_cert(clients.theirs(), clients.key.theirs()).unwrap())
        };
        for config in [&required, &optional] {
            let (mut client, mut server) = (Peer::client(with(&clients)), server(config));
            talk_in_pieces(&mut client, &mut server, 100).unwrap();
            complete(&mut client, &mut server);
            assert!(matches!(server.peer_identity(), Some(PeerIdentity::Certificate { .. })));
            assert_eq!(our_alert(with(&Chain::new(Kind::P256, Kind::P256)), config), 48);
        }
        outcome(client(&chain), &optional).unwrap();
        assert_eq!(our_alert(client(&chain), &required), 116);
    }
}

#[test]
fn client_raw_public_keys() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let (entries, key) = (chain.entries(), chain.key.ours());
    let identities = [Identity { credential: Credential::X509(&entries), key: &key }];
    let raw = Key::new(Kind::P256);
    let spki = raw.spki();
    let keys = [&spki[..]];
    let verifier = RawKey { keys: &keys };
    let config = ServerConfig { identities: &identities, clients: ClientAuth::Required(&verifier), ..SERVER };
    let with = |key: &Key| {
        let resolver = AlwaysResolvesClientRawPublicKeys::new(key.raw());
        with_alpn(with_roots(Arc::new(provider()), &chain).with_client_cert_resolver(Arc::new(resolver)))
    };
    outcome(with(&raw), &config).unwrap();
    assert_eq!(our_alert(with(&Key::new(Kind::P256)), &config), 46);
    assert_eq!(our_alert(client(&chain), &config), 43, "a client without raw public keys");
}
