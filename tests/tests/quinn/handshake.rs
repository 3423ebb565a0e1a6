//! What a handshake may agree on, and the ways round it: Retry, HelloRetryRequest, a ClientHello in two packets.

use peregrine_core::endpoint::RetryPolicy;
use peregrine_core::lifecycle::Cause;
use peregrine_crypto::provider::{Group, Suite};
use peregrine_std::{Connection, Error};
use quinn::{ConnectionError, EndpointConfig};
use quinn_proto::RandomConnectionIdGenerator;
use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};

use crate::app::{get, put, serve};
use crate::ours::Tls;
use crate::pki::Authority;
use crate::relay::Relay;
use crate::theirs::{self, Choice, Theirs, Welcome};
use crate::{LOOPBACK, NAME, bounded, ours};

/// Each suite, as either stack names it.
fn suites() -> [(Suite, SupportedCipherSuite, &'static str); 3] {
    [
        (Suite::Aes128GcmSha256, cipher_suite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
        (Suite::Aes256GcmSha384, cipher_suite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
        (
            Suite::ChaCha20Poly1305Sha256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
    ]
}

/// Connects our client with quinn's server and moves some bytes; returns our end.
fn with_their_server(
    authority: &Authority,
    theirs: &Choice,
    tls: peregrine_std::tls::ClientTls,
) -> Connection {
    let server = Theirs::server(theirs.server(authority.issue(NAME), None));
    let line = ours::client(tls).connect(server.address(), NAME).unwrap();
    serve(server.accept().unwrap());
    get(&line, 10_000);
    put(&line, 10_000);
    line
}

/// Connects quinn's client with our server and moves some bytes; returns our end.
fn with_their_client(
    authority: &Authority,
    theirs: &Choice,
    tls: peregrine_std::tls::ServerTls,
) -> Connection {
    let server = ours::server(tls);
    let there = Theirs::client(theirs.client(authority, None));
    let line = there.connect(server.local_addrs()[0]).unwrap();
    let here = ours::accept(&server);
    serve(here.clone());
    get(&line, 10_000);
    put(&line, 10_000);
    here
}

#[test]
fn every_cipher_suite() {
    bounded(|| {
        let authority = Authority::new("ours");
        for (ours, theirs, name) in suites() {
            let theirs = Choice { suites: vec![theirs], ..Choice::default() };
            let all = with_their_server(&authority, &theirs, ours::client_tls(&authority));
            assert_eq!(all.agreed().suite, Some(name));
            let all = with_their_client(&authority, &theirs, ours::server_tls(&authority));
            assert_eq!(all.agreed().suite, Some(name));
            let mut tls = ours::client_tls(&authority);
            tls.suites = vec![ours];
            let one = with_their_server(&authority, &Choice::default(), tls);
            assert_eq!(one.agreed().suite, Some(name));
            let mut tls = ours::server_tls(&authority);
            tls.suites = vec![ours];
            let one = with_their_client(&authority, &Choice::default(), tls);
            assert_eq!(one.agreed().suite, Some(name));
        }
    });
}

#[test]
fn every_group() {
    bounded(|| {
        let authority = Authority::new("ours");
        let groups: [(&'static dyn SupportedKxGroup, _); 2] =
            [(kx_group::X25519, "X25519"), (kx_group::SECP256R1, "secp256r1")];
        for (group, name) in groups {
            let theirs = Choice { groups: vec![group], ..Choice::default() };
            // Where it is not the first that the client offers, this takes a HelloRetryRequest.
            let here = with_their_server(&authority, &theirs, ours::client_tls(&authority));
            assert_eq!(here.agreed().group, Some(name));
            let here = with_their_client(&authority, &theirs, ours::server_tls(&authority));
            assert_eq!(here.agreed().group, Some(name));
        }
    });
}

#[test]
fn a_hello_retry_request_of_ours() {
    bounded(|| {
        let authority = Authority::new("ours");
        let mut tls = ours::server_tls(&authority);
        tls.groups = vec![Group::Secp256r1];
        let here = with_their_client(&authority, &Choice::default(), tls);
        assert_eq!(here.agreed().group, Some("secp256r1"));
    });
}

#[test]
fn a_hello_retry_request_of_theirs() {
    bounded(|| {
        let authority = Authority::new("ours");
        let theirs = Choice { groups: vec![kx_group::X25519], ..Choice::default() };
        let mut tls = ours::client_tls(&authority);
        tls.groups = vec![Group::Secp256r1, Group::X25519];
        let here = with_their_server(&authority, &theirs, tls);
        assert_eq!(here.agreed().group, Some("X25519"));
    });
}

/// A share of ML-KEM alone is as large as a packet. With X25519 rustls sends the share of that beside it; with the other group
/// it takes a HelloRetryRequest.
#[test]
fn a_client_hello_of_theirs_in_two_packets() {
    bounded(|| {
        let authority = Authority::new("ours");
        let groups: [(&'static dyn SupportedKxGroup, _); 2] =
            [(kx_group::X25519, "X25519"), (kx_group::SECP256R1, "secp256r1")];
        for (group, name) in groups {
            let theirs = Choice { groups: vec![kx_group::X25519MLKEM768, group], ..Choice::default() };
            let server = ours::server(ours::server_tls(&authority));
            let relay = Relay::to(server.local_addrs()[0]);
            let there = Theirs::client(theirs.client(&authority, None));
            let line = there.connect(relay.address()).unwrap();
            let here = ours::accept(&server);
            serve(here.clone());
            get(&line, 10_000);
            assert_eq!(here.agreed().group, Some(name));
            assert_two_datagrams(&relay);
        }
    });
}

/// The other way round: rustls behind our core prefers ML-KEM, and so do both ends.
#[test]
fn a_client_hello_of_ours_in_two_packets() {
    bounded(|| {
        let authority = Authority::new("ours");
        let groups: Vec<&'static dyn SupportedKxGroup> = vec![kx_group::X25519MLKEM768, kx_group::X25519];
        let theirs = Choice { groups, ..Choice::default() };
        let server = Theirs::server(theirs.server(authority.issue(NAME), None));
        let relay = Relay::to(server.address());
        let here = Tls::Rustls.client(ours::client_tls(&authority));
        let line = here.connect(relay.address(), NAME).unwrap();
        serve(server.accept().unwrap());
        get(&line, 10_000);
        put(&line, 10_000);
        assert_eq!(line.agreed().group, Some("X25519MLKEM768"));
        assert_two_datagrams(&relay);

        let server = Tls::Rustls.server(ours::server_tls(&authority));
        let there = Theirs::client(theirs.client(&authority, None));
        let line = there.connect(server.local_addrs()[0]).unwrap();
        let here = ours::accept(&server);
        serve(here.clone());
        get(&line, 10_000);
        assert_eq!(here.agreed().group, Some("X25519MLKEM768"));
    });
}

fn assert_two_datagrams(relay: &Relay) {
    let (len, datagrams) = relay.client_hello();
    assert!(len > 1_200 && datagrams == 2, "{len} bytes in {datagrams} datagrams");
}

#[test]
fn a_client_hello_in_two_packets_and_a_retry() {
    bounded(|| {
        let authority = Authority::new("ours");
        let server =
            ours::server_with(ours::server_tls(&authority), |builder| builder.retry(RetryPolicy::Always));
        let groups: Vec<&'static dyn SupportedKxGroup> = vec![kx_group::X25519MLKEM768, kx_group::SECP256R1];
        let theirs = Choice { groups, ..Choice::default() };
        let there = Theirs::client(theirs.client(&authority, None));
        let line = there.connect(server.local_addrs()[0]).unwrap();
        serve(ours::accept(&server));
        get(&line, 10_000);
    });
}

#[test]
fn a_retry_of_theirs_and_a_token_instead_of_the_next() {
    bounded(|| {
        let authority = Authority::new("ours");
        let config = theirs::server_config(&authority);
        let server = Theirs::server_with(EndpointConfig::default(), config, LOOPBACK, Welcome::Retry);
        let here = ours::client(ours::client_tls(&authority));
        for retries in [1, 1, 1] {
            let line = here.connect(server.address(), NAME).unwrap();
            serve(server.accept().unwrap());
            get(&line, 10_000);
            assert_eq!(server.retries(), retries);
        }
    });
}

#[test]
fn a_retry_of_ours_and_a_token_instead_of_the_next() {
    bounded(|| {
        let authority = Authority::new("ours");
        let server =
            ours::server_with(ours::server_tls(&authority), |builder| builder.retry(RetryPolicy::Always));
        let there = Theirs::client(theirs::client_config(&authority));
        for retries in [1, 1, 1] {
            let line = there.connect(server.local_addrs()[0]).unwrap();
            serve(ours::accept(&server));
            get(&line, 10_000);
            assert_eq!(server.stats().retries, retries);
        }
    });
}

#[test]
fn a_client_without_connection_ids() {
    bounded(|| {
        let authority = Authority::new("ours");
        let server = ours::server(ours::server_tls(&authority));
        let mut endpoint = EndpointConfig::default();
        endpoint.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(0)));
        let there = Theirs::client_with(endpoint, theirs::client_config(&authority));
        let line = there.connect(server.local_addrs()[0]).unwrap();
        serve(ours::accept(&server));
        get(&line, 1 << 20);
        put(&line, 1 << 20);
    });
}

#[test]
fn client_certificates() {
    bounded(|| {
        let authority = Authority::new("ours");
        let leaf = authority.issue("client.test").identity();
        let pin = leaf.pin().unwrap();

        let config = Choice::default().server(authority.issue(NAME), Some(&authority));
        let server = Theirs::server(config);
        let mut tls = ours::client_tls(&authority);
        tls.shown = Some(peregrine_std::tls::Shown::Certificate(leaf));
        let line = ours::client(tls).connect(server.address(), NAME).unwrap();
        serve(server.accept().unwrap());
        get(&line, 10_000);

        let mut tls = ours::server_tls(&authority);
        tls.clients = Some(authority.trust());
        let server = ours::server(tls);
        let leaf = authority.issue("client.test");
        let there = Theirs::client(Choice::default().client(&authority, Some(leaf)));
        let line = there.connect(server.local_addrs()[0]).unwrap();
        let here = ours::accept(&server);
        assert!(here.agreed().peer_key.is_some_and(|key| key != pin.0), "another client, another key");
        serve(here);
        get(&line, 10_000);
    });
}

#[test]
fn no_version_in_common() {
    bounded(|| {
        let authority = Authority::new("ours");
        let mut draft = EndpointConfig::default();
        draft.supported_versions(vec![0xff00_001d]);
        let server = Theirs::server_with(draft, theirs::server_config(&authority), LOOPBACK, Welcome::Accept);
        let refused = ours::client(ours::client_tls(&authority)).connect(server.address(), NAME);
        let Err(Error::Closed(closed)) = refused else { panic!("connected") };
        assert!(matches!(closed.cause, Cause::Version(_)));
        assert_eq!(closed.to_string(), "the server does not speak QUIC version 1; it offers 0xff00001d");

        let server = ours::server(ours::server_tls(&authority));
        let mut config = theirs::client_config(&authority);
        config.version(0xff00_001d);
        let there = Theirs::client(config);
        let refused = there.connect(server.local_addrs()[0]).err();
        assert_eq!(refused, Some(ConnectionError::VersionMismatch));
        assert_eq!(server.stats().negotiations, 1);
    });
}
