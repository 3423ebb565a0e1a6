//! Our TLS client against our TLS server.

use peregrine_core::error::Code;
use peregrine_core::session::{Level, Session};
use peregrine_crypto::provider::{Group, HashAlgorithm, Provider as _, Suite};
use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::tls::{
    ClientAuth, ClientConfig, ClientSession, Credential, Identity, PeerIdentity, Psk, ServerConfig,
    ServerSession,
};
use peregrine_crypto::verify::Insecure;
use peregrine_crypto::verify::pin::{Pin, spki_hash};
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::x509::X509;

use crate::pki::{Chain, Kind};
use crate::wire::{
    CLIENT_PARAMS, Client, Failed, Provider, SCRATCH, SERVER_PARAMS, assert_complete, client, events,
    provider, server, talk, talk_in_pieces,
};

pub(crate) const CLIENT: ClientConfig<'_> = ClientConfig {
    server_name: Some("server.test"),
    alpn: &[b"hq-interop"],
    server: None,
    identity: None,
    psks: &[],
    suites: &[],
    groups: &[],
};
pub(crate) const SERVER: ServerConfig<'_> = ServerConfig {
    alpn: &[b"h3", b"hq-interop"],
    identities: &[],
    psks: None,
    clients: ClientAuth::None,
    suites: &[],
    groups: &[],
};
pub(crate) const PSK: Psk<'_> = Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 };
const PSK_384: Psk<'_> = Psk { identity: b"sensor 8", key: &[8; 48], hash: HashAlgorithm::Sha384 };

#[test]
fn pre_shared_key_however_the_bytes_are_cut() {
    let psks = [PSK_384, PSK];
    let client_config = ClientConfig { psks: &[PSK], ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    for step in [1, 2, 3, 7, 50, usize::MAX] {
        let (mut client, mut server) = (client(&client_config), server(&server_config));
        talk_in_pieces(&mut client, &mut server, step).unwrap();
        assert_eq!(client.peer_identity(), Some(PeerIdentity::Psk(b"sensor 7")));
        assert_eq!(server.peer_identity(), Some(PeerIdentity::Psk(b"sensor 7")));
        assert_eq!(client.alpn(), Some(&b"hq-interop"[..]));
        assert_eq!(server.server_name(), Some(&b"server.test"[..]));
        assert_complete(&mut client, &mut server);
    }
}

/// A client that knows pre-shared keys only, as any other client has it.
#[test]
fn a_client_without_certificates() {
    use peregrine_crypto::tls::PskClientSession;
    let psks = [PSK_384, PSK];
    let config = ClientConfig { psks: &psks, server: Some(&Insecure), ..CLIENT };
    let known = [PSK];
    let server_config = ServerConfig { psks: Some(&known), ..SERVER };
    for groups in [&[][..], &[Group::Secp256r1]] {
        let server_config = ServerConfig { groups, ..server_config };
        let mut client = PskClientSession::new(&config, provider(1), vec![0; SCRATCH], None);
        client.start(CLIENT_PARAMS).unwrap();
        let mut server = server(&server_config);
        talk(&mut client, &mut server).unwrap();
        assert_eq!(client.peer_identity(), Some(PeerIdentity::Psk(b"sensor 7")));
        assert_complete(&mut client, &mut server);
    }
    // A server that has a certificate instead is of no use, though a policy that would take it is configured.
    let key = SoftKey::ed25519(&[1; 32]);
    let spki = key.spki();
    let identities = [Identity { credential: Credential::RawPublicKey(&spki), key: &key }];
    let server_config = ServerConfig { identities: &identities, ..SERVER };
    let mut client = PskClientSession::new(&config, provider(1), vec![0; SCRATCH], None);
    client.start(CLIENT_PARAMS).unwrap();
    let failed = talk(&mut client, &mut server(&server_config)).unwrap_err();
    assert!(matches!(failed, Failed::Server(_)), "{failed:?}: it did not even ask for one");
    // And with nothing to offer it does not begin.
    let config = ClientConfig { psks: &[], ..config };
    let mut client = PskClientSession::new(&config, provider(1), vec![0; SCRATCH], None);
    assert_eq!(client.start(CLIENT_PARAMS).unwrap_err().code().alert(), Some(80));
}

/// A client without hardware for AES gets what is cheap for it, from a server with such hardware too.
#[test]
fn the_wish_of_a_weak_client_counts() {
    use Suite::{Aes128GcmSha256, ChaCha20Poly1305Sha256};
    use peregrine_crypto::rustcrypto::LeanRustCrypto;
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, groups: &[Group::X25519], ..CLIENT };
    for (ours, theirs, expected) in [
        (&[][..], &[][..], ChaCha20Poly1305Sha256),
        (&[], &[Aes128GcmSha256, ChaCha20Poly1305Sha256], Aes128GcmSha256),
        (&[Aes128GcmSha256, ChaCha20Poly1305Sha256], &[], provider(2).suites()[0]),
    ] {
        let client_config = ClientConfig { suites: ours, ..client_config };
        let server_config = ServerConfig { psks: Some(&psks), suites: theirs, ..SERVER };
        let lean = LeanRustCrypto::new(crate::wire::TestRng(1));
        let mut client = ClientSession::new(&client_config, lean, vec![0; SCRATCH], None);
        let mut server = server(&server_config);
        client.start(CLIENT_PARAMS).unwrap();
        talk(&mut client, &mut server).unwrap();
        assert_eq!((client.suite(), server.suite()), (Some(expected), Some(expected)));
    }
}

#[test]
fn the_suite_follows_the_pre_shared_key() {
    let psks = [PSK_384];
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    for (offered, groups) in
        [(&[PSK_384][..], &[][..]), (&[PSK, PSK_384], &[]), (&[PSK, PSK_384], &[Group::Secp256r1])]
    {
        let client_config = ClientConfig { psks: offered, ..CLIENT };
        let server_config = ServerConfig { groups, ..server_config };
        let (mut client, mut server) = (client(&client_config), server(&server_config));
        talk(&mut client, &mut server).unwrap();
        assert_eq!(client.suite(), Some(Suite::Aes256GcmSha384));
        assert_eq!(client.peer_identity(), Some(PeerIdentity::Psk(b"sensor 8")));
        assert_complete(&mut client, &mut server);
    }
}

#[test]
fn pre_shared_keys_that_do_not_match() {
    let client_config = ClientConfig { psks: &[PSK], ..CLIENT };
    let alert = |psk: Psk<'_>| {
        let psks = [psk];
        let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
        let failed = talk(&mut client(&client_config), &mut server(&server_config)).unwrap_err();
        assert!(matches!(failed, Failed::Server(_)));
        failed.alert()
    };
    assert_eq!(alert(Psk { key: &[9; 32], ..PSK }), 51, "another key");
    assert_eq!(alert(PSK_384), 115, "another identity");
}

#[test]
fn a_client_may_do_without_its_pre_shared_key_only_if_it_can_verify() {
    let key = SoftKey::ed25519(&[1; 32]);
    let spki = key.spki();
    let identities = [Identity { credential: Credential::RawPublicKey(&spki), key: &key }];
    let server_config = ServerConfig { identities: &identities, ..SERVER };
    let keys = [&spki[..]];
    let verifier = RawKey { keys: &keys };
    let both = ClientConfig { psks: &[PSK], server: Some(&verifier), ..CLIENT };
    let (mut client_session, mut server_session) = (client(&both), server(&server_config));
    talk(&mut client_session, &mut server_session).unwrap();
    assert_complete(&mut client_session, &mut server_session);

    let only = ClientConfig { server: None, ..both };
    let failed = talk(&mut client(&only), &mut server(&server_config)).unwrap_err();
    assert!(matches!(failed, Failed::Server(_)), "there is no signature_algorithms extension");
    assert_eq!(failed.alert(), 109);
}

#[test]
fn both_sides_with_raw_public_keys() {
    let (ours, theirs) = (SoftKey::p256(&[1; 32]).unwrap(), SoftKey::ed25519(&[2; 32]));
    let (spki, their_spki) = (ours.spki(), theirs.spki());
    let (keys, their_keys) = ([&their_spki[..]], [&spki[..]]);
    let (server_verifier, client_verifier) = (RawKey { keys: &keys }, RawKey { keys: &their_keys });
    let identities = [Identity { credential: Credential::RawPublicKey(&their_spki), key: &theirs }];
    let server_config = ServerConfig {
        identities: &identities,
        clients: ClientAuth::Required(&client_verifier),
        groups: &[Group::Secp256r1],
        ..SERVER
    };
    let identity = Some(Identity { credential: Credential::RawPublicKey(&spki), key: &ours });
    let client_config = ClientConfig { server: Some(&server_verifier), identity, ..CLIENT };
    for step in [1, 60, usize::MAX] {
        let (mut client, mut server) = (client(&client_config), server(&server_config));
        talk_in_pieces(&mut client, &mut server, step).unwrap();
        let key = |spki| Some(PeerIdentity::RawPublicKey { key_sha256: spki_hash(spki) });
        assert_eq!((client.peer_identity(), server.peer_identity()), (key(&their_spki), key(&spki)));
        assert_complete(&mut client, &mut server);
    }
    let without = ClientConfig { identity: None, ..client_config };
    assert_eq!(talk(&mut client(&without), &mut server(&server_config)).unwrap_err().alert(), 43);
}

#[test]
fn both_sides_with_certificates() {
    let (servers, clients) = (Chain::new(Kind::P256, Kind::P384), Chain::new(Kind::P384, Kind::Ed25519));
    let (entries, key) = (servers.entries(), servers.key.ours());
    let (client_entries, client_key) = (clients.entries(), clients.key.ours());
    let anchors = clients.anchors();
    let clients_verifier = X509 { anchors: &anchors };
    let pins = [spki_hash(&servers.key.spki())];
    let pin = Pin { keys: &pins };
    let identities = [Identity { credential: Credential::X509(&entries), key: &key }];
    let server_config =
        ServerConfig { identities: &identities, clients: ClientAuth::Optional(&clients_verifier), ..SERVER };
    let identity = Some(Identity { credential: Credential::X509(&client_entries), key: &client_key });
    for identity in [identity, None] {
        let client_config = ClientConfig { server: Some(&pin), identity, ..CLIENT };
        let (mut client, mut server) = (client(&client_config), server(&server_config));
        talk_in_pieces(&mut client, &mut server, 1000).unwrap();
        assert_eq!(server.peer_identity().is_some(), identity.is_some());
        assert_complete(&mut client, &mut server);
    }
}

/// The most segments a flight can have.
#[test]
fn the_longest_chain_after_a_hello_retry_request() {
    let chain = Chain::new(Kind::P256, Kind::P256);
    let key = chain.key.ours();
    let entries = [&chain.chain[0][..], &chain.chain[1], &chain.chain[1], &chain.chain[1], b"never sent"];
    let identity = Identity { credential: Credential::X509(&entries), key: &key };
    let identities = [identity];
    let server_config = ServerConfig {
        identities: &identities,
        clients: ClientAuth::Required(&Insecure),
        groups: &[Group::Secp256r1],
        ..SERVER
    };
    let client_config = ClientConfig { server: Some(&Insecure), identity: Some(identity), ..CLIENT };
    let (mut client, mut server) = (client(&client_config), server(&server_config));
    talk_in_pieces(&mut client, &mut server, 100).unwrap();
    assert_complete(&mut client, &mut server);
}

#[test]
fn a_credential_without_its_key_is_worth_nothing() {
    let (key, thief) = (SoftKey::ed25519(&[1; 32]), SoftKey::ed25519(&[2; 32]));
    let spki = key.spki();
    let keys = [&spki[..]];
    let verifier = RawKey { keys: &keys };
    let identity = |key| Identity { credential: Credential::RawPublicKey(&spki), key };
    for (client_key, server_key) in [(&key, &thief), (&thief, &key)] {
        let identities = [identity(server_key)];
        let clients = ClientAuth::Required(&verifier);
        let server_config = ServerConfig { identities: &identities, clients, ..SERVER };
        let identity = Some(identity(client_key));
        let client_config = ClientConfig { server: Some(&verifier), identity, ..CLIENT };
        let (mut client, mut server) = (client(&client_config), server(&server_config));
        let failed = talk(&mut client, &mut server).unwrap_err();
        assert_eq!(failed.alert(), 51);
        assert_eq!(matches!(failed, Failed::Client(_)), std::ptr::eq(server_key, &thief));
    }
}

#[test]
fn application_protocols_our_client_does_not_accept() {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), alpn: &[], ..SERVER };
    let failed = talk(&mut client(&client_config), &mut server(&server_config)).unwrap_err();
    assert!(matches!(failed, Failed::Client(_)));
    assert_eq!(failed.alert(), 120);
}

#[test]
fn how_much_memory_a_handshake_takes() {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    let outcome = |client_room, server_room| {
        let mut client = ClientSession::new(&client_config, provider(1), vec![0; client_room], None);
        let mut server = ServerSession::new(&server_config, provider(2), vec![0; server_room], None);
        client.start(CLIENT_PARAMS).map_err(Failed::Client)?;
        server.start(SERVER_PARAMS).map_err(Failed::Server)?;
        talk_in_pieces(&mut client, &mut server, 50)
    };
    outcome(480, 640).unwrap();
    for room in 0..300 {
        let failed = outcome(room, SCRATCH).unwrap_err();
        assert!(
            matches!(failed, Failed::Client(error) if is_about_memory(error.code())),
            "{room}: {failed:?}"
        );
        let failed = outcome(SCRATCH, room).unwrap_err();
        assert!(
            matches!(failed, Failed::Server(error) if is_about_memory(error.code())),
            "{room}: {failed:?}"
        );
    }
}

fn is_about_memory(code: Code) -> bool {
    code == Code::CRYPTO_BUFFER_EXCEEDED || code.alert() == Some(80)
}

#[test]
fn memory_goes_back_when_all_is_said() {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    let (mut client, mut server) = (client(&client_config), server(&server_config));
    assert!(client.take_scratch().is_none());
    talk(&mut client, &mut server).unwrap();
    client.discard(Level::Initial);
    assert!(client.take_scratch().is_none(), "Finished may have to be sent again");
    client.discard(Level::Handshake);
    assert_eq!(client.take_scratch().map(|scratch| scratch.len()), Some(SCRATCH));
    assert_eq!(client.peer_params(), None);
    let ticket = [4, 0, 1, 0];
    client.read_crypto(Level::OneRtt, &ticket).unwrap();
    client.read_crypto(Level::OneRtt, &[0; 256]).unwrap();
    client.read_crypto(Level::OneRtt, &ticket).unwrap();
    client.export(b"label", b"", &mut [0; 32]).unwrap();
    assert_eq!(events(&mut client).len(), 4);
}

#[test]
fn nothing_is_exported_before_the_end() {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    let (mut client, mut server) = (client(&client_config), server(&server_config));
    let mut up = [0; 3];
    crate::wire::carry(&client, &mut server, &mut up, usize::MAX).unwrap();
    assert!(server.export(b"label", b"", &mut [0; 32]).is_err());
    assert!(server.peer_identity().is_none());
    crate::wire::carry(&server, &mut client, &mut [0; 3], usize::MAX).unwrap();
    crate::wire::carry(&client, &mut server, &mut up, usize::MAX).unwrap();
    server.export(b"label", b"", &mut [0; 32]).unwrap();
}

#[test]
fn sessions_can_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&client(&ClientConfig { psks: &[PSK], ..CLIENT }));
    is_send(&server(&SERVER));
}

/// A guard against growth: what a connection keeps for good, packet keys aside.
#[test]
fn size_of_a_session() {
    let keys = size_of::<peregrine_crypto::session_keys::PacketKeys<Provider>>();
    let rest = size_of::<Client<'_>>() - keys;
    assert!(rest <= 1800, "{rest} bytes, and {keys} of keys");
}
