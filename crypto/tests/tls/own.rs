//! Our TLS client against our TLS server.

use crate::wire::{Failed, assert_complete, client, server, talk, talk_in_pieces};
use peregrine_core::session::Session;
use peregrine_crypto::provider::{Group, HashAlgorithm, Suite};
use peregrine_crypto::tls::{ClientAuth, ClientConfig, PeerIdentity, Psk, ServerConfig};

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
    alpn: &[b"h3", b"hq-interop"],
    identities: &[],
    psks: None,
    clients: ClientAuth::None,
    suites: &[],
    groups: &[],
};
const PSK: Psk<'_> = Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 };
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
