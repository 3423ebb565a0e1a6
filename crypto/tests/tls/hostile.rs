//! Peers that do not keep to the rules.

use peregrine_core::error::{Code, TransportError};
use peregrine_core::session::{Level, Session};
use peregrine_crypto::provider::Group;
use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::tls::{ClientAuth, ClientConfig, Credential, Identity, ServerConfig};
use peregrine_crypto::verify::raw_key::RawKey;

use crate::own::{CLIENT, PSK, SERVER};
use crate::wire::{client, said, server};

/// Where legacy_version, random and session ID of a ServerHello end and its suite begins.
const SUITE_AT: usize = 4 + 2 + 32 + 1;
/// Where the key share of a ServerHello begins, behind compression, the length of the extensions, supported_versions,
/// and the type and length of key_share.
const SHARE_AT: usize = SUITE_AT + 2 + 1 + 2 + 6 + 4;

/// What a client and server of these configurations say to each other.
struct Flights {
    client_hello: Vec<u8>,
    server_hello: Vec<u8>,
    server: Vec<u8>,
    client: Vec<u8>,
}

fn flights(client_config: &ClientConfig<'_>, server_config: &ServerConfig<'_>) -> Flights {
    let (mut client, mut server) = (client(client_config), server(server_config));
    let client_hello = said(&client, Level::Initial, 0);
    server.read_crypto(Level::Initial, &client_hello).unwrap();
    let (server_hello, server_flight) =
        (said(&server, Level::Initial, 0), said(&server, Level::Handshake, 0));
    client.read_crypto(Level::Initial, &server_hello).unwrap();
    client.read_crypto(Level::Handshake, &server_flight).unwrap();
    let client_flight = said(&client, Level::Handshake, 0);
    server.read_crypto(Level::Handshake, &client_flight).unwrap();
    assert!(client.is_complete() && server.is_complete());
    Flights { client_hello, server_hello, server: server_flight, client: client_flight }
}

/// All copies of `bytes` with one bit turned over.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    })
}

/// Nobody completes a handshake in which a bit was turned over; the randomness of these sessions is always the same,
/// so that what the other side said stays right.
fn no_flip_goes_unnoticed(client_config: &ClientConfig<'_>, server_config: &ServerConfig<'_>) {
    let flights = flights(client_config, server_config);
    for hello in flipped(&flights.client_hello) {
        let mut server = server(server_config);
        let read = server.read_crypto(Level::Initial, &hello);
        if read.is_ok() && server.crypto_len(Level::Handshake) > 0 {
            assert!(server.read_crypto(Level::Handshake, &flights.client).is_err());
        }
    }
    for hello in flipped(&flights.server_hello) {
        let mut client = client(client_config);
        let read = client.read_crypto(Level::Initial, &hello);
        if read.is_ok() && client.crypto_len(Level::Initial) == flights.client_hello.len() as u64 {
            // A length that grew makes it wait for more.
            let _ = client.read_crypto(Level::Handshake, &flights.server);
        }
        assert!(!client.is_complete());
    }
    for flight in flipped(&flights.server) {
        let mut client = client(client_config);
        client.read_crypto(Level::Initial, &flights.server_hello).unwrap();
        let _ = client.read_crypto(Level::Handshake, &flight);
        assert!(!client.is_complete());
    }
    for flight in flipped(&flights.client) {
        let mut server = server(server_config);
        server.read_crypto(Level::Initial, &flights.client_hello).unwrap();
        let _ = server.read_crypto(Level::Handshake, &flight);
        assert!(!server.is_complete());
    }
}

#[test]
fn no_flip_goes_unnoticed_with_a_pre_shared_key() {
    let psks = [PSK];
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    no_flip_goes_unnoticed(&ClientConfig { psks: &psks, ..CLIENT }, &server_config);
}

#[test]
fn no_flip_goes_unnoticed_with_raw_public_keys() {
    let key = SoftKey::ed25519(&[2; 32]);
    let spki = key.spki();
    let keys = [&spki[..]];
    let verifier = RawKey { keys: &keys };
    let identity = Identity { credential: Credential::RawPublicKey(&spki), key: &key };
    let identities = [identity];
    let clients = ClientAuth::Required(&verifier);
    let server_config = ServerConfig { identities: &identities, clients, ..SERVER };
    let client_config = ClientConfig { server: Some(&verifier), identity: Some(identity), ..CLIENT };
    no_flip_goes_unnoticed(&client_config, &server_config);
}

/// A client that has heard `changed`, a ServerHello of a handshake with a pre-shared key.
fn hears(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), TransportError> {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let mut flights = flights(&client_config, &ServerConfig { psks: Some(&psks), ..SERVER });
    change(&mut flights.server_hello);
    client(&client_config).read_crypto(Level::Initial, &flights.server_hello)
}

#[test]
fn server_hellos_that_answer_something_else() {
    let alert = |change: fn(&mut Vec<u8>)| hears(change).unwrap_err().code().alert();
    assert!(hears(|_| ()).is_ok());
    assert_eq!(alert(|hello| *hello.last_mut().unwrap() = 1), Some(47), "index of a pre-shared key");
    assert_eq!(alert(|hello| hello[SUITE_AT + 1] = 2), Some(47), "suite with another hash");
    assert_eq!(alert(|hello| hello[SUITE_AT + 1] = 4), Some(47), "suite that was not offered");
    assert_eq!(alert(|hello| hello[SHARE_AT + 1] = 23), Some(47), "a share of another group");
    assert_eq!(alert(|hello| hello[0] = 8), Some(10), "EncryptedExtensions first");
    assert_eq!(alert(|hello| hello[0] = 99), Some(10), "no such message");
    assert_eq!(
        hears(|hello| hello.push(8)).unwrap_err().code(),
        Code::PROTOCOL_VIOLATION,
        "across two levels"
    );
}

#[test]
fn hello_retry_requests_that_make_no_sense() {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), groups: &[Group::Secp256r1], ..SERVER };
    let (mut first, mut server) = (client(&client_config), server(&server_config));
    let hello = said(&first, Level::Initial, 0);
    server.read_crypto(Level::Initial, &hello).unwrap();
    let request = said(&server, Level::Initial, 0);
    let alert = |change: fn(&mut Vec<u8>)| {
        let mut request = request.clone();
        change(&mut request);
        client(&client_config).read_crypto(Level::Initial, &request).unwrap_err().code().alert()
    };
    assert_eq!(alert(|request| *request.last_mut().unwrap() = 29), Some(47), "the group of the share");
    assert_eq!(alert(|request| *request.last_mut().unwrap() = 24), Some(47), "a group that was not offered");
    assert_eq!(alert(|request| request[SUITE_AT + 1] = 4), Some(47), "a suite that was not offered");
    assert_eq!(alert(|request| request.extend(request.clone())), Some(10), "twice");

    first.read_crypto(Level::Initial, &request).unwrap();
    let second = said(&first, Level::Initial, hello.len() as u64);
    server.read_crypto(Level::Initial, &second).unwrap();
    let mut answer = said(&server, Level::Initial, request.len() as u64);
    answer[SUITE_AT + 1] = 3;
    let error = first.read_crypto(Level::Initial, &answer).unwrap_err();
    assert_eq!(error.code().alert(), Some(47), "not the suite of the HelloRetryRequest");
}

#[test]
fn second_client_hellos_that_do_not_answer() {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), groups: &[Group::Secp256r1], ..SERVER };
    let hello = said(&client(&client_config), Level::Initial, 0);
    let after_retry = || {
        let mut server = server(&server_config);
        server.read_crypto(Level::Initial, &hello).unwrap();
        server
    };
    let error = after_retry().read_crypto(Level::Initial, &hello).unwrap_err();
    assert_eq!(error.code().alert(), Some(47), "the same again");
    let mut retried = client(&client_config);
    retried.read_crypto(Level::Initial, &said(&after_retry(), Level::Initial, 0)).unwrap();
    let mut second = said(&retried, Level::Initial, hello.len() as u64);
    after_retry().read_crypto(Level::Initial, &second).unwrap();
    second[6] ^= 1;
    let error = after_retry().read_crypto(Level::Initial, &second).unwrap_err();
    assert_eq!(error.code().alert(), Some(47), "another random");
}

/// The second ClientHello has the share that was asked for, but no longer names its group: no second retry comes of it.
#[test]
fn a_group_that_is_withdrawn_after_it_was_asked_for() {
    let psks = [PSK];
    let server_config =
        ServerConfig { psks: Some(&psks), groups: &[Group::Secp256r1, Group::X25519], ..SERVER };
    let hello = said(&client(&ClientConfig { psks: &psks, ..CLIENT }), Level::Initial, 0);
    let find = |part: &[u8]| hello.windows(part.len()).position(|window| window == part).unwrap();
    let groups = find(&[0, 10, 0, 6, 0, 4, 0, 29, 0, 23]) + 6;
    let share = find(&[0, 51, 0, 38, 0, 36, 0, 29]) + 6;
    let (mut first, mut second) = (hello.clone(), hello.clone());
    first[share + 1] = 0x5a;
    second[share + 1] = 23;
    second[groups + 3] = 0x5a;
    let mut server = server(&server_config);
    server.read_crypto(Level::Initial, &first).unwrap();
    assert_eq!(server.crypto_len(Level::Handshake), 0, "a HelloRetryRequest");
    let error = server.read_crypto(Level::Initial, &second).unwrap_err();
    assert_eq!(error.code().alert(), Some(47));
}

#[test]
fn bytes_on_a_level_that_is_not_due() {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    let flights = flights(&client_config, &server_config);
    let violation = |session: &mut dyn Session, level| {
        assert_eq!(session.read_crypto(level, &[]), Ok(()));
        assert_eq!(session.read_crypto(level, &[4]).unwrap_err().code(), Code::PROTOCOL_VIOLATION);
    };
    violation(&mut server(&server_config), Level::ZeroRtt);
    violation(&mut server(&server_config), Level::Handshake);
    let mut client = client(&client_config);
    violation(&mut client, Level::Handshake);
    client.read_crypto(Level::Initial, &flights.server_hello).unwrap();
    violation(&mut client, Level::Initial);
    violation(&mut client, Level::OneRtt);
    client.read_crypto(Level::Handshake, &flights.server).unwrap();
    violation(&mut client, Level::Handshake);
    let twice = [&flights.client_hello[..], &flights.client_hello].concat();
    let error = server(&server_config).read_crypto(Level::Initial, &twice).unwrap_err();
    assert_eq!(error.code(), Code::PROTOCOL_VIOLATION, "two ClientHellos");
}

#[test]
fn messages_after_the_handshake() {
    let psks = [PSK];
    let client_config = ClientConfig { psks: &psks, ..CLIENT };
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    let flights = flights(&client_config, &server_config);
    let after = |kind: u8| {
        let mut client = client(&client_config);
        client.read_crypto(Level::Initial, &flights.server_hello).unwrap();
        client.read_crypto(Level::Handshake, &flights.server).unwrap();
        client.read_crypto(Level::OneRtt, &[kind, 0, 0, 0]).map_err(|error| error.code())
    };
    assert_eq!(after(4), Ok(()));
    assert_eq!(after(24), Err(Code::crypto(10)), "KeyUpdate");
    assert_eq!(after(13), Err(Code::PROTOCOL_VIOLATION), "CertificateRequest");
    assert_eq!(after(20), Err(Code::crypto(10)), "Finished");
    let mut server = server(&server_config);
    server.read_crypto(Level::Initial, &flights.client_hello).unwrap();
    server.read_crypto(Level::Handshake, &flights.client).unwrap();
    let error = server.read_crypto(Level::OneRtt, &[4, 0, 0, 0]).unwrap_err();
    assert_eq!(error.code().alert(), Some(10), "a ticket from a client");
}

#[test]
fn a_client_that_passes_over_what_it_was_asked() {
    let psks = [PSK];
    let key = SoftKey::ed25519(&[2; 32]);
    let spki = key.spki();
    let keys = [&spki[..]];
    let verifier = RawKey { keys: &keys };
    let identity = Identity { credential: Credential::RawPublicKey(&spki), key: &key };
    let identities = [identity];
    let clients = ClientAuth::Required(&verifier);
    let server_config = ServerConfig { identities: &identities, clients, psks: Some(&psks), ..SERVER };
    let client_config = ClientConfig { server: Some(&verifier), identity: Some(identity), ..CLIENT };
    let flights = flights(&client_config, &server_config);
    let answer = |bytes: &[u8]| {
        let mut server = server(&server_config);
        server.read_crypto(Level::Initial, &flights.client_hello).unwrap();
        server.read_crypto(Level::Handshake, bytes).unwrap_err().code().alert()
    };
    let certificate = 4 + 4 + 3 + spki.len() + 2;
    let verify = 4 + 4 + 64;
    assert_eq!(answer(&flights.client[certificate..]), Some(10), "no Certificate");
    assert_eq!(answer(&flights.client[certificate + verify..]), Some(10), "only Finished");
    let without_proof = [&flights.client[..certificate], &flights.client[certificate + verify..]].concat();
    assert_eq!(answer(&without_proof), Some(10), "no CertificateVerify");
    assert_eq!(answer(&[11, 0, 0, 4, 0, 0, 0, 0]), Some(116), "no certificate");
    let mut other_scheme = flights.client.clone();
    other_scheme[certificate + 4..][..2].fill(0);
    assert_eq!(answer(&other_scheme), Some(47), "a scheme that was not offered");
}

/// Nothing is due after an error, whatever comes.
#[test]
fn an_error_is_the_end() {
    let psks = [PSK];
    let server_config = ServerConfig { psks: Some(&psks), ..SERVER };
    let flights = flights(&ClientConfig { psks: &psks, ..CLIENT }, &server_config);
    let mut server = server(&server_config);
    assert!(server.read_crypto(Level::Initial, &flights.server_hello).is_err());
    let error = server.read_crypto(Level::Initial, &flights.client_hello).unwrap_err();
    assert_eq!(error.code().alert(), Some(10));
}

/// A server that only wants its cookie back gets the first ClientHello again, the share included (RFC 9846 4.1.2).
#[test]
fn a_retry_for_a_cookie_changes_nothing_else() {
    let key = SoftKey::ed25519(&[2; 32]).spki();
    let keys = [&key[..]];
    let verifier = RawKey { keys: &keys };
    let config = ClientConfig { server: Some(&verifier), ..CLIENT };
    let mut client = client(&config);
    let first = said(&client, Level::Initial, 0);
    let random = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
        0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ];
    // No session ID, a suite, no compression; supported_versions and a cookie of three bytes.
    let rest = [0, 0x13, 0x01, 0, 0, 15, 0, 43, 0, 2, 3, 4, 0, 44, 0, 5, 0, 3, 7, 8, 9];
    let retry = [&[2, 0, 0, 2 + 32 + rest.len() as u8, 3, 3][..], &random, &rest].concat();
    client.read_crypto(Level::Initial, &retry).unwrap();
    let second = said(&client, Level::Initial, first.len() as u64);
    let cookie = [0, 44, 0, 5, 0, 3, 7, 8, 9];
    let at = second.windows(cookie.len()).position(|part| part == cookie).unwrap();
    let without = [&second[..at], &second[at + cookie.len()..]].concat();
    // What is left differs in the lengths of the message and of its extensions.
    let differ: Vec<usize> = (0..first.len()).filter(|place| first[*place] != without[*place]).collect();
    assert_eq!(without.len(), first.len());
    assert!(differ.iter().all(|place| (1..4).contains(place) || (45..60).contains(place)), "{differ:?}");
    assert!(differ.len() <= 4, "{differ:?}");
}
