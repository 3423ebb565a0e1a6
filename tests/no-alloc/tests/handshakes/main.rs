//! Core and crypto use no heap: handshakes of every kind of authentication and what follows them run under an allocator
//! that ends the process. It is armed before the endpoints are made and disarmed after they are dropped.

mod alarm;
mod pair;

use alarm::{Alarm, armed};
use pair::{Pair, Room};
use peregrine_core::endpoint::RetryPolicy;
use peregrine_crypto::provider::{Group, HashAlgorithm, Suite};
use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::tls::{ClientAuth, ClientConfig, Credential, Identity, Psk, ServerConfig};
use peregrine_crypto::verify::pin::{Pin, spki_hash};
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::x509::{X509, anchor};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

#[global_allocator]
static ALLOCATOR: Alarm = Alarm;

const CLIENT: ClientConfig<'_> = ClientConfig {
    server_name: Some("server.test"),
    alpn: &[b"hq-interop"],
    server: None,
    identity: None,
    psks: &[],
    suites: &[],
    groups: &[],
};
const SERVER: ServerConfig<'_> = ServerConfig {
    alpn: &[b"hq-interop"],
    identities: &[],
    psks: None,
    clients: ClientAuth::None,
    suites: &[],
    groups: &[],
};

/// A connection from its first datagram to its last.
fn lives(room: &mut Room, client: &ClientConfig<'_>, server: &ServerConfig<'_>, retry: RetryPolicy) {
    armed(|| {
        let mut pair = Pair::new(room, client, server, retry);
        pair.run(|pair| pair.is_confirmed && pair.is_transferred());
        let on_client = pair.on_client;
        assert!(pair.client().connection(on_client).unwrap().stats().key_updates > 0);
        pair.close();
        pair.run(|pair| pair.is_drained);
        assert!(pair.client().take(on_client).is_some());
    });
}

#[test]
fn pre_shared_key() {
    let psk = Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 };
    let psks = [psk];
    let client = ClientConfig { psks: &psks, ..CLIENT };
    for suite in [Suite::Aes128GcmSha256, Suite::ChaCha20Poly1305Sha256] {
        let suites = [suite];
        let server = ServerConfig { psks: Some(&psks), suites: &suites, ..SERVER };
        lives(&mut Room::new(), &client, &server, RetryPolicy::UnderLoad);
    }
}

/// Both sides, with a HelloRetryRequest, after a Retry.
#[test]
fn raw_public_keys() {
    let (ours, theirs) = (SoftKey::p256(&[1; 32]).unwrap(), SoftKey::ed25519(&[2; 32]));
    let (our_spki, their_spki) = (ours.spki(), theirs.spki());
    let (known_to_client, known_to_server) = ([&their_spki[..]], [&our_spki[..]]);
    let server_verifier = RawKey { keys: &known_to_client };
    let client_verifier = RawKey { keys: &known_to_server };
    let identities = [Identity { credential: Credential::RawPublicKey(&their_spki), key: &theirs }];
    let server = ServerConfig {
        identities: &identities,
        clients: ClientAuth::Required(&client_verifier),
        groups: &[Group::Secp256r1],
        ..SERVER
    };
    let identity = Some(Identity { credential: Credential::RawPublicKey(&our_spki), key: &ours });
    let client = ClientConfig { server: Some(&server_verifier), identity, ..CLIENT };
    lives(&mut Room::new(), &client, &server, RetryPolicy::Always);
}

#[test]
fn pin() {
    let chain = Chain::new(&PKCS_ECDSA_P256_SHA256, KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let pins = [spki_hash(&chain.spki)];
    let pin = Pin { keys: &pins };
    let entries = chain.entries();
    let identities = [Identity { credential: Credential::X509(&entries), key: &chain.key }];
    let server = ServerConfig { identities: &identities, suites: &[Suite::Aes256GcmSha384], ..SERVER };
    let client = ClientConfig { server: Some(&pin), ..CLIENT };
    lives(&mut Room::new(), &client, &server, RetryPolicy::UnderLoad);
}

/// Certificates of both sides, under keys and signatures of every algorithm.
#[test]
fn x509() {
    let rsa = PrivatePkcs8KeyDer::from(&include_bytes!("../../../../crypto/tests/tls/rsa2048.pkcs8.der")[..]);
    let rsa = KeyPair::from_pkcs8_der_and_sign_algo(&rsa, &PKCS_RSA_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    for (leaf, ca) in [(&PKCS_ECDSA_P256_SHA256, rsa), (&PKCS_ED25519, p384), (&PKCS_ECDSA_P384_SHA384, p256)]
    {
        let chain = Chain::new(leaf, ca);
        let root = CertificateDer::from(&chain.root[..]);
        let anchors = [anchor(&root).unwrap()];
        let verifier = X509 { anchors: &anchors };
        let entries = chain.entries();
        let identity = Identity { credential: Credential::X509(&entries), key: &chain.key };
        let identities = [identity];
        let clients = ClientAuth::Required(&verifier);
        let server = ServerConfig { identities: &identities, clients, ..SERVER };
        let client = ClientConfig { server: Some(&verifier), identity: Some(identity), ..CLIENT };
        lives(&mut Room::new(), &client, &server, RetryPolicy::UnderLoad);
    }
}

#[test]
fn answers_without_a_connection() {
    let psks = [Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 }];
    let client = ClientConfig { psks: &psks, ..CLIENT };
    let server = ServerConfig { psks: Some(&psks), ..SERVER };
    let mut room = Room::new();
    armed(|| {
        let mut pair = Pair::new(&mut room, &client, &server, RetryPolicy::UnderLoad);
        let mut other_version = [0x40; 1200];
        other_version[..6].copy_from_slice(&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8]);
        other_version[14] = 0;
        assert!(pair.intrude(&mut other_version).is_some(), "Version Negotiation");
        let mut to_nobody = [0x40; 60];
        assert!(pair.intrude(&mut to_nobody).is_some(), "stateless reset");

        // The server forgets the connection; its reset ends the client's.
        pair.run(|pair| pair.is_confirmed && pair.is_transferred());
        let on_server = pair.on_server.unwrap();
        assert!(pair.server().take(on_server).is_some());
        let on_client = pair.on_client;
        pair.client().connection_mut(on_client).unwrap().ping();
        pair.run(|pair| pair.is_drained);
        assert_eq!(pair.server().stats().resets, 2);
    });
}

/// Set in the process that is to be ended.
const RING: &str = "PEREGRINE_RING_THE_ALARM";

/// The proof is worth nothing if the alarm does not ring.
#[test]
fn an_armed_thread_that_allocates_ends_the_process() {
    if std::env::var_os(RING).is_some() {
        armed(|| std::hint::black_box(Vec::<u8>::with_capacity(4096)));
    }
    let program = std::env::current_exe().unwrap();
    let this = ["--exact", "an_armed_thread_that_allocates_ends_the_process"];
    let output = std::process::Command::new(program).args(this).env(RING, "1").output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("armed thread: allocation of 4096 bytes"), "{said}");
}

/// A root, and a certificate for `server.test` under it.
struct Chain {
    root: Vec<u8>,
    leaf: Vec<u8>,
    spki: Vec<u8>,
    key: SoftKey,
}

impl Chain {
    fn new(leaf: &'static SignatureAlgorithm, ca: KeyPair) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "root");
        let root = authority.self_signed(&ca).unwrap().der().to_vec();
        let issuer = Issuer::new(authority, ca);
        let pair = KeyPair::generate_for(leaf).unwrap();
        let params = CertificateParams::new(["server.test".to_owned()]).unwrap();
        let leaf = params.signed_by(&pair, &issuer).unwrap().der().to_vec();
        let key = SoftKey::from_pkcs8(pair.serialized_der()).unwrap();
        Self { root, leaf, spki: pair.subject_public_key_info(), key }
    }

    fn entries(&self) -> [&[u8]; 1] {
        [&self.leaf]
    }
}
