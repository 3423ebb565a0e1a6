//! What must not work: the words we tell people, and the code that the other side sees.

use std::net::UdpSocket;
use std::sync::mpsc;
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::error::Code;
use peregrine_core::lifecycle::Cause;
use peregrine_crypto::provider::{Group, Suite};
use peregrine_std::identity::{Identity, Pin};
use peregrine_std::tls::{ClientTls, ServerTls, Shown, Trust};
use peregrine_std::{Closed, Error};
use quinn::{ConnectionError, EndpointConfig};
use rcgen::date_time_ymd;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};

use crate::pki::{Authority, Leaf};
use crate::theirs::{self, Choice, Theirs, Welcome};
use crate::{ALPN, LOOPBACK, NAME, bounded, ours};

const BAD_CERTIFICATE: u64 = 0x12a;
const EXPIRED: u64 = 0x12d;
const CERTIFICATE_UNKNOWN: u64 = 0x12e;
const UNKNOWN_CA: u64 = 0x130;
const HANDSHAKE_FAILURE: u64 = 0x128;
const NO_ALPN: u64 = 0x178;
const CERTIFICATE_REQUIRED: u64 = 0x174;

fn expired(authority: &Authority) -> Leaf {
    authority.issue_with(NAME, |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    })
}

fn self_signed() -> Leaf {
    let Identity { chain, key } = Identity::self_signed(&[NAME.into()]).unwrap();
    Leaf { chain, key }
}

/// The code that a side of quinn has seen, of its own or of ours.
fn code_of(error: Option<ConnectionError>) -> u64 {
    match error.expect("no connection") {
        ConnectionError::TransportError(error) => error.code.into(),
        ConnectionError::ConnectionClosed(close) => close.error_code.into(),
        other => panic!("{other}"),
    }
}

/// Our client fails to connect to quinn's server.
fn client_fails(
    choice: &Choice,
    leaf: Leaf,
    clients: Option<&Authority>,
    tls: ClientTls,
) -> (String, u64, u64) {
    let server = Theirs::server(choice.server(leaf, clients));
    let here = ours::client(tls);
    // A server that does not like our certificate says so when we think that we are connected.
    let closed = match here.connect(server.address(), NAME) {
        Ok(connection) => connection.closed(),
        Err(Error::Closed(closed)) => closed,
        Err(other) => panic!("{other}"),
    };
    (closed.to_string(), closed.code().unwrap().0, code_of(server.accept().err()))
}

/// quinn's client fails to connect to our server.
fn server_fails(
    choice: &Choice,
    roots: &Authority,
    leaf: Option<Leaf>,
    tls: ServerTls,
) -> (String, u64, u64) {
    let (tell, told) = mpsc::channel();
    let server = ours::server_with(tls, |builder| {
        builder.observe(move |seen| {
            if let Event::Closed(cause) = seen.event {
                tell.send(Closed::from(cause)).unwrap();
            }
        })
    });
    let there = Theirs::client(choice.client(roots, leaf));
    let error = match there.connect(server.local_addrs()[0]) {
        Ok(connection) => connection.closed(),
        Err(error) => error,
    };
    let closed = told.recv_timeout(Duration::from_secs(20)).unwrap();
    (closed.to_string(), closed.code().unwrap().0, code_of(Some(error)))
}

/// The words of our end begin like this, and both ends have seen this code.
#[track_caller]
fn assert_told((told, ours, theirs): (String, u64, u64), words: &str, code: u64) {
    let words = format!("{words} [{}]", Code(code));
    assert!(told.starts_with(&words), "{told}, expected {words}");
    assert_eq!((ours, theirs), (code, code), "{words}");
}

#[test]
fn servers_that_our_client_must_not_trust() {
    bounded(|| {
        let authority = Authority::new("ours");
        let trusting = || ours::client_tls(&authority);
        let pinning = ClientTls::new(Trust::Pins(vec![Pin([1; 32])]), &[ALPN]);
        for (leaf, tls, words, code) in [
            (authority.issue("other.test"), trusting(), "certificate for another name", BAD_CERTIFICATE),
            (expired(&authority), trusting(), "certificate expired", EXPIRED),
            (self_signed(), trusting(), "certificate of an unknown CA", UNKNOWN_CA),
            (Authority::new("another").issue(NAME), trusting(), "certificate of an unknown CA", UNKNOWN_CA),
            (
                Authority::new("ours").issue(NAME),
                trusting(),
                "bad signature in a certificate",
                BAD_CERTIFICATE,
            ),
            (authority.issue(NAME), pinning, "not the expected public key", CERTIFICATE_UNKNOWN),
        ] {
            let told = client_fails(&Choice::default(), leaf, None, tls);
            assert_told(told, &format!("TLS failed: {words}"), code);
        }
    });
}

#[test]
fn clients_that_our_server_must_not_trust() {
    bounded(|| {
        let authority = Authority::new("ours");
        for (leaf, words, code) in [
            (None, "the client has no certificate", CERTIFICATE_REQUIRED),
            (Some(expired(&authority)), "certificate expired", EXPIRED),
            (Some(Authority::new("another").issue(NAME)), "certificate of an unknown CA", UNKNOWN_CA),
        ] {
            let mut tls = ours::server_tls(&authority);
            tls.clients = Some(authority.trust());
            let told = server_fails(&Choice::default(), &authority, leaf, tls);
            assert_told(told, &format!("TLS failed: {words}"), code);
        }
    });
}

#[test]
fn a_server_of_ours_that_quinn_must_not_trust() {
    bounded(|| {
        let authority = Authority::new("ours");
        for (leaf, words, code) in [
            (authority.issue("other.test"), "it does not accept our certificate", BAD_CERTIFICATE),
            (expired(&authority), "our certificate has expired or is not valid yet", EXPIRED),
            (
                Authority::new("another").issue(NAME),
                "it does not know the issuer of our certificate",
                UNKNOWN_CA,
            ),
        ] {
            let tls = ServerTls::new(Shown::Certificate(leaf.identity()), &[ALPN]);
            let told = server_fails(&Choice::default(), &authority, None, tls);
            assert_told(told, &format!("the peer broke the connection off: {words}"), code);
        }
    });
}

#[test]
fn a_client_of_ours_that_quinn_must_not_trust() {
    bounded(|| {
        let authority = Authority::new("ours");
        for (shown, words, code) in [
            (None, "it demands a certificate of ours", CERTIFICATE_REQUIRED),
            (Some(expired(&authority)), "our certificate has expired or is not valid yet", EXPIRED),
            (
                Some(Authority::new("another").issue(NAME)),
                "it does not know the issuer of our certificate",
                UNKNOWN_CA,
            ),
        ] {
            let mut tls = ours::client_tls(&authority);
            tls.shown = shown.map(|leaf| Shown::Certificate(leaf.identity()));
            let told = client_fails(&Choice::default(), authority.issue(NAME), Some(&authority), tls);
            assert_told(told, &format!("the peer broke the connection off: {words}"), code);
        }
    });
}

#[test]
fn nothing_in_common() {
    bounded(|| {
        let authority = Authority::new("ours");
        let suites = vec![cipher_suite::TLS13_AES_256_GCM_SHA384];
        for (choice, here, there, code) in [
            (
                Choice { alpn: b"other", ..Choice::default() },
                "no application protocol in common",
                "no application protocol in common",
                NO_ALPN,
            ),
            (
                Choice { suites, ..Choice::default() },
                "no cipher suite in common",
                "no algorithm in common",
                HANDSHAKE_FAILURE,
            ),
            (
                Choice { groups: vec![kx_group::SECP384R1], ..Choice::default() },
                "no group in common",
                "no algorithm in common",
                HANDSHAKE_FAILURE,
            ),
        ] {
            let mut tls = ours::client_tls(&authority);
            (tls.suites, tls.groups) = (vec![Suite::Aes128GcmSha256], vec![Group::X25519]);
            let told = client_fails(&choice, authority.issue(NAME), None, tls);
            assert_told(told, &format!("the peer broke the connection off: {there}"), code);
            let mut tls = ours::server_tls(&authority);
            (tls.suites, tls.groups) = (vec![Suite::Aes128GcmSha256], vec![Group::X25519]);
            let told = server_fails(&choice, &authority, None, tls);
            assert_told(told, &format!("TLS failed: {here}"), code);
        }
    });
}

#[test]
fn a_server_that_takes_nobody() {
    bounded(|| {
        let authority = Authority::new("ours");
        let config = theirs::server_config(&authority);
        let server = Theirs::server_with(EndpointConfig::default(), config, LOOPBACK, Welcome::Refuse);
        let refused = ours::client(ours::client_tls(&authority)).connect(server.address(), NAME);
        assert_eq!(
            refused.err().unwrap().to_string(),
            "the peer broke the connection off: it takes no connection now [CONNECTION_REFUSED (0x2)]"
        );

        let server = ours::server(ours::server_tls(&authority));
        server.shut();
        let there = Theirs::client(theirs::client_config(&authority));
        let refused = there.connect(server.local_addrs()[0]).err();
        assert_eq!(code_of(refused), Code::CONNECTION_REFUSED.0);
    });
}

#[test]
fn nobody_answers() {
    bounded(|| {
        let authority = Authority::new("ours");
        let here = ours::client_with(ours::client_tls(&authority), |builder| {
            builder.tune(|config| config.handshake_timeout = Duration::from_millis(300))
        });
        let silent = UdpSocket::bind(LOOPBACK).unwrap();
        let address = silent.local_addr().unwrap();
        let told = here.connect(address, NAME).err().unwrap();
        assert_eq!(told.to_string(), "no answer: the handshake was not finished in time");
        drop(silent);
        let Err(Error::Closed(closed)) = here.connect(address, NAME) else { panic!("connected") };
        assert_eq!(closed.cause, Cause::HandshakeTimeout);
    });
}
