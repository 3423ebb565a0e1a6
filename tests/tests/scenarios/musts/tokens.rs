//! Tokens for later connections (RFC 9000 8.1.3, 8.1.4).

use peregrine_core::endpoint::{Endpoint, RetryPolicy};
use peregrine_core::session::{EndpointCrypto as _, Level};
use peregrine_core::wire::frame::Frame;
use peregrine_core::wire::header::{FixedBit, Header, PacketType};
use peregrine_tests::memory::HeapSlots;
use peregrine_tests::null_session::NullEndpointCrypto;
use peregrine_tests::puppet::{Bout, Puppet};
use peregrine_tests::quic::Setup;

use super::from;

const FLIGHT: usize = 8_192;

/// A token of a server, and that server under another policy.
fn given(policy: RetryPolicy) -> (Bout, Vec<u8>) {
    let mut setup = Setup::server(1);
    let mut bout = Bout::against_server(setup.clone());
    bout.wait_ms(100);
    let frames = bout.puppet.heard.iter().flat_map(|heard| heard.frames());
    let token = frames.filter_map(|frame| match frame {
        Frame::NewToken(token) => Some(token.token.to_vec()),
        _ => None,
    });
    let token = token.last().expect("a token");
    setup.slots = 8;
    setup.session.flights.server_flight = FLIGHT;
    setup.endpoint.retry = policy;
    // An equal seed makes an equal epoch.
    let again = Bout { now: bout.now, ..Bout::new(setup, Puppet::client(1)) };
    (again, token)
}

/// A first Initial with a token.
fn hello(seed: u64, token: &[u8]) -> Vec<u8> {
    let mut puppet = Puppet::client(seed);
    puppet.token = token.to_vec();
    let params = puppet.params();
    puppet.start(&params);
    let hello = puppet.crypto(Level::Initial).unwrap();
    puppet.datagram(Level::Initial, &hello)
}

fn is_retry(datagram: &[u8]) -> bool {
    Header::parse(datagram, 0, 8, FixedBit::Ignored).is_ok_and(|header| header.packet == PacketType::Retry)
}

/// The limit of three times holds for whoever brings a token from elsewhere; who brings it back from where it was given is
/// sent the whole flight.
#[test]
fn a_token_validates_the_address_it_was_given_to() {
    for (address, validated) in [("198.51.100.7:9", true), ("198.51.100.8:5555", false)] {
        let (mut bout, token) = given(RetryPolicy::UnderLoad);
        let first = hello(200, &token);
        let sent = from(&mut bout, address, &first);
        assert_eq!(bout.node.accepted.len(), 1);
        let bytes: usize = sent.iter().map(|(_, datagram)| datagram.len()).sum();
        assert_eq!(bytes > 3 * first.len(), validated, "{bytes} bytes to {address}");
    }
}

/// A token of an earlier run, whose clock was another one, is as if there were none; so is what is no token at all.
#[test]
fn a_token_of_another_epoch_is_as_if_absent() {
    let (mut bout, token) = given(RetryPolicy::Always);
    from(&mut bout, "198.51.100.7:9", &hello(201, &token));
    assert_eq!((bout.node.accepted.len(), bout.node.endpoint.stats().retries), (1, 0));
    // The same key, and other random numbers.
    let mut crypto = NullEndpointCrypto::new(1 ^ 0xe0d0);
    crypto.fill_random(&mut [0; 1]);
    let config = bout.node.endpoint.config().clone();
    bout.node.endpoint = Endpoint::new(config, HeapSlots::new(8), crypto);
    bout.node.accepted.clear();
    for token in [&token[..], b"no token"] {
        let sent = from(&mut bout, "198.51.100.7:9", &hello(202, token));
        assert!(sent.len() == 1 && is_retry(&sent[0].1));
    }
    assert!(bout.node.accepted.is_empty());
}
