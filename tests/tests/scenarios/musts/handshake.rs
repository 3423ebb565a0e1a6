//! Handshakes: sizes of datagrams, amplification, Retry, confirmation (RFC 9000 8.1, 14.1, 17.2; RFC 9002 6.2).

use std::time::Duration;

use peregrine_core::error::Why;
use peregrine_core::lifecycle::Cause;
use peregrine_core::session::{EndpointCrypto as _, Level, Session as _};
use peregrine_core::wire::frame::{Frame, HandshakeDone, Kind, Ping};
use peregrine_core::wire::header::{FixedBit, Header, PacketType};
use peregrine_core::wire::version::V1;
use peregrine_core::wire::{Cid, Writer, retry};
use peregrine_tests::null_session::NullEndpointCrypto;
use peregrine_tests::pair::Pair;
use peregrine_tests::puppet::{Bout, Puppet, ack, bytes};
use peregrine_tests::quic::Setup;
use peregrine_tests::sim::Link;

use super::{acknowledged, headers, heard};

/// HANDSHAKE_DONE is repeated until it is acknowledged (RFC 9000 13.3), and not said before TLS is through.
#[test]
fn handshake_done_is_said_until_it_arrives() {
    let mut bout = Bout::new(Setup::server(1), Puppet::client(77));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    bout.send(Level::Initial, &hello);
    assert_eq!(heard(&bout, Kind::HandshakeDone), 0);
    bout.shake_hands();
    assert_eq!(heard(&bout, Kind::HandshakeDone), 1);
    let done = bout.puppet.numbers(Level::OneRtt).last().unwrap();
    for _ in 0..5 {
        bout.act(|connection, _| connection.ping());
    }
    let last = bout.puppet.largest(Level::OneRtt).unwrap();
    bout.send(Level::OneRtt, &ack(&[done + 1..=last]));
    bout.wait_ms(500);
    assert!(heard(&bout, Kind::HandshakeDone) >= 2, "it was lost");
    bout.ack();
    let before = heard(&bout, Kind::HandshakeDone);
    bout.wait_ms(5_000);
    assert_eq!(heard(&bout, Kind::HandshakeDone), before, "it is known to have arrived");
}

/// Three times what came, discarded packets too, in datagrams of 1,200 bytes where an Initial in them asks for an
/// acknowledgment.
#[test]
fn a_server_keeps_to_what_an_unproven_address_allows() {
    let mut setup = Setup::server(1);
    setup.session.flights.server_flight = 16_000;
    let mut bout = Bout::new(setup, Puppet::client(77));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    bout.send(Level::Initial, &hello);
    let sums = |bout: &Bout| (bout.to_node.iter().sum::<usize>(), bout.from_node.iter().sum::<usize>());
    let mut garbage = bout.puppet.datagram(Level::Initial, &bytes(&[Frame::Ping(Ping)]));
    garbage[600] ^= 1;
    // So that what may be sent is no multiple of 1,200 bytes.
    garbage.resize(1_250, 0);
    for round in 0..3 {
        bout.wait_ms(2_000);
        let (came, went) = sums(&bout);
        assert_eq!(came, 1_200 + round * 1_250);
        assert!(went <= 3 * came && went + 1_200 > 3 * came, "{went} for {came}");
        // What does not open proves nothing, and counts all the same.
        bout.deliver(&garbage);
        bout.hear();
    }
    assert_eq!(bout.connection().stats().discarded.count(Why::Forged), 3);
    let initials = bout.puppet.heard.iter().filter(|heard| heard.level == Level::Initial);
    for initial in initials.filter(|initial| initial.frames().any(|frame| frame.kind() != Kind::Ack)) {
        assert!(initial.datagram >= 1_200, "{}", initial.datagram);
    }
    // A Handshake packet is the proof.
    for _ in 0..4 {
        let heard = bout.puppet.largest(Level::Handshake).unwrap();
        bout.send(Level::Handshake, &ack(&[0..=heard]));
    }
    bout.wait_ms(3_000);
    let (came, went) = sums(&bout);
    assert!(went > 3 * came);
}

/// An Initial in a small datagram is not there, whether the server knows the client or not; the connection lives on.
#[test]
fn initials_in_small_datagrams_are_ignored() {
    let mut bout = Bout::new(Setup::server(1), Puppet::client(77));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    let mut whole = bout.puppet.datagram(Level::Initial, &hello);
    assert_eq!(whole.len(), 1_200);
    let small = bout.puppet.seal(Level::Initial, &hello);
    assert!(small.len() < 1_200);
    bout.deliver(&small);
    assert!(bout.node.accepted.is_empty() && bout.unheard.is_empty());
    bout.deliver(&whole);
    bout.hear();
    let small = bout.puppet.seal(Level::Initial, &bytes(&[Frame::Ping(Ping)]));
    bout.deliver(&small);
    bout.hear();
    assert_eq!(bout.connection().stats().discarded.count(Why::ShortInitial), 1);
    assert_eq!(acknowledged(&bout, Level::Initial), [0]);
    bout.shake_hands();
    assert!(bout.connection().is_established());
    whole.truncate(100);
    bout.deliver(&whole);
    assert!(bout.connection().is_established());
}

#[test]
fn an_initial_of_a_server_has_no_token() {
    let mut bout = Bout::new(Setup::client(1), Puppet::server(78));
    bout.connect();
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    bout.hear();
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    bout.puppet.token = b"token".to_vec();
    bout.send(Level::Initial, &hello);
    assert!(acknowledged(&bout, Level::Initial).is_empty());
    assert_eq!(bout.connection().stats().received_packets, 0);
    bout.puppet.token.clear();
    bout.send(Level::Initial, &hello);
    bout.shake_hands();
    assert!(bout.connection().is_established());
    // Nor have those of our server.
    let mut bout = Bout::new(Setup::server(1), Puppet::client(77));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    let hello = bout.puppet.datagram(Level::Initial, &hello);
    bout.deliver(&hello);
    let initials = bout.unheard.iter().flat_map(|datagram| headers(datagram));
    let tokens: Vec<usize> = initials
        .filter_map(|header| match header.packet {
            PacketType::Initial { token } => Some(token.len()),
            _ => None,
        })
        .collect();
    assert!(!tokens.is_empty() && tokens.iter().all(|len| *len == 0));
}

/// A client whose packets were all acknowledged may be what the server waits for (RFC 9002 6.2.2.1): it sends an Initial of
/// full size, or a Handshake packet once it can.
#[test]
fn a_client_frees_a_server_that_may_send_no_more() {
    let mut bout = Bout::new(Setup::client(1), Puppet::server(78));
    bout.connect();
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    bout.hear();
    let sent = bout.puppet.largest(Level::Initial).unwrap();
    bout.send(Level::Initial, &ack(&[0..=sent]));
    let before = bout.puppet.heard.len();
    bout.wait_ms(3_000);
    let probes = &bout.puppet.heard[before..];
    assert!(!probes.is_empty());
    for probe in probes {
        assert_eq!((probe.level, probe.datagram >= 1_200), (Level::Initial, true));
        assert!(probe.frames().any(|frame| matches!(frame, Frame::Ping(_) | Frame::Crypto(_))));
    }
    // An acknowledgment alone has full size too.
    let before = bout.puppet.heard.len();
    bout.send(Level::Initial, &bytes(&[Frame::Ping(Ping)]));
    let answer = &bout.puppet.heard[before..];
    assert!(answer.len() == 1 && answer[0].datagram >= 1_200);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    bout.send(Level::Initial, &hello);
    let sent = bout.puppet.largest(Level::Initial).unwrap();
    bout.send(Level::Initial, &ack(&[0..=sent]));
    let before = bout.puppet.heard.len();
    bout.wait_ms(3_000);
    let probes = &bout.puppet.heard[before..];
    assert!(probes.iter().any(|probe| probe.level == Level::Handshake));
    assert!(probes.iter().all(|probe| probe.level == Level::Handshake));
    assert!(probes.iter().all(|probe| probe.frames().any(|frame| frame.kind() == Kind::Ping)));
}

/// A path that does not carry 1,200 bytes carries no connection.
#[test]
fn a_path_too_narrow_is_not_used() {
    for (size, works) in [(1_199, false), (1_200, true)] {
        let mut pair = Pair::new(Link::mbit(20).delay_ms(20).mtu(size), |_, _| {});
        pair.connect(&[]);
        pair.run_ms(20_000);
        assert_eq!(pair.told_client(peregrine_core::connection::Event::Confirmed), works, "{size}");
        assert_eq!(pair.client_cause() == Some(Cause::HandshakeTimeout), !works);
    }
}

/// The Retry of a server, as a puppet sends it.
fn retry(bout: &Bout, scid: &[u8], token: &[u8]) -> Vec<u8> {
    let mut datagram = [0; 512];
    let mut out = Writer::new(&mut datagram);
    retry::emit(V1, bout.puppet.dcid, Cid::new(scid).unwrap(), token, 0, &mut out).unwrap();
    let original = bout.puppet.original_dcid.unwrap();
    let tag = NullEndpointCrypto::new(0).retry_tag(V1, original.as_slice(), out.written());
    out.bytes(&tag).unwrap();
    out.written().to_vec()
}

/// Tokens and numbers of the Initials in these datagrams.
fn tokens(datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let parse = |datagram: &Vec<u8>| {
        let header = Header::parse(datagram, 0, 8, FixedBit::Ignored).unwrap();
        let PacketType::Initial { token } = header.packet else { panic!("an Initial comes first") };
        datagram[token].to_vec()
    };
    datagrams.iter().map(parse).collect()
}

/// After a Retry all is said again: under other keys, with the token in every Initial, and packet numbers go on. The token
/// is not one for a later connection.
#[test]
fn a_retry_begins_again_and_keeps_what_must_stay() {
    let mut setup = Setup::client(1);
    setup.session.flights.client_hello = 2_500;
    let mut bout = Bout::new(setup, Puppet::server(78));
    bout.node.connect(bout.now, peregrine_tests::puppet::PUPPET.parse().unwrap(), b"from before");
    bout.drain();
    let first = Header::parse(&bout.unheard[0], 0, 8, FixedBit::Ignored).unwrap();
    bout.puppet.original_dcid = Some(first.dcid);
    bout.puppet.dcid = first.scid;
    assert!(tokens(&bout.unheard).iter().all(|token| token == b"from before"));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    bout.hear();
    let said = |bout: &Bout, from: usize| -> Vec<(u64, Vec<u8>)> {
        let crypto = bout.puppet.heard[from..].iter().flat_map(|heard| heard.frames());
        let pieces = crypto.filter_map(|frame| match frame {
            Frame::Crypto(crypto) => Some((crypto.offset, crypto.data.to_vec())),
            _ => None,
        });
        pieces.collect()
    };
    let join = |mut pieces: Vec<(u64, Vec<u8>)>| -> Vec<u8> {
        pieces.sort();
        pieces.into_iter().flat_map(|(_, data)| data).collect()
    };
    let before = (bout.puppet.heard.len(), bout.puppet.largest(Level::Initial).unwrap());
    let hello = join(said(&bout, 0));
    let datagram = retry(&bout, b"retry-id", b"the token");
    bout.deliver(&datagram);
    assert!(!bout.unheard.is_empty(), "at once");
    assert!(tokens(&bout.unheard).iter().all(|token| token == b"the token"));
    for datagram in &bout.unheard {
        assert_eq!(headers(datagram)[0].dcid.as_slice(), b"retry-id");
    }
    bout.puppet.session = peregrine_tests::null_session::NullSession::new(
        peregrine_core::ids::Side::Server,
        &peregrine_tests::null_session::NullConfig::seeded(78),
    );
    bout.puppet.session.set_initial_keys(V1, b"retry-id");
    bout.puppet.start(&params);
    bout.hear();
    let again = &bout.puppet.heard[before.0..];
    assert!(!again.is_empty(), "sealed with the keys of the new ID");
    assert!(again.iter().all(|initial| initial.pn > before.1), "numbers go on");
    assert_eq!(join(said(&bout, before.0)), hello);
    bout.now = bout.now.after(Duration::from_millis(1));
    // What is repeated later has the token too.
    let next = peregrine_tests::sim::Node::next_timeout(&bout.node).instant().unwrap();
    bout.now = next;
    peregrine_tests::sim::Node::handle_timeout(&mut bout.node, next);
    bout.drain();
    assert!(!bout.unheard.is_empty());
    assert!(tokens(&bout.unheard).iter().all(|token| token == b"the token"));
    assert_eq!(bout.connection().token(), None);
}

/// A client that was asked to retry has no token afterwards, unless it is given one.
#[test]
fn the_token_of_a_retry_is_for_one_attempt() {
    let mut pair = Pair::new(Link::mbit(20).delay_ms(20), |_, server| {
        server.endpoint.retry = peregrine_core::endpoint::RetryPolicy::Always;
    });
    pair.connect(&[]);
    pair.until("connected", |pair| pair.told_client(peregrine_core::connection::Event::Connected));
    assert_eq!(pair.client(|connection, _| connection.token().map(<[u8]>::to_vec)), None);
    pair.until("a token", |pair| pair.told_client(peregrine_core::connection::Event::Token));
    assert!(pair.client(|connection, _| connection.token().is_some()));
}

/// HANDSHAKE_DONE and NEW_TOKEN are for servers to send.
#[test]
fn frames_of_servers_are_for_servers() {
    for frame in [
        Frame::HandshakeDone(HandshakeDone),
        Frame::NewToken(peregrine_core::wire::frame::NewToken { token: b"t" }),
    ] {
        let mut bout = Bout::against_server(Setup::server(1));
        bout.say(&[frame]);
        assert_eq!(bout.error().code, peregrine_core::error::Code::PROTOCOL_VIOLATION);
    }
    // And a client that is asked to send a token does not.
    let mut bout = Bout::against_client(Setup::client(1));
    bout.act(|connection, _| connection.supply_token(b"a token"));
    bout.act(|connection, _| connection.ping());
    assert_eq!((heard(&bout, Kind::NewToken), heard(&bout, Kind::HandshakeDone)), (0, 0));
    let mut bout = Bout::against_server(Setup::server(1));
    bout.act(|connection, _| connection.ping());
    let tokens = bout.puppet.heard.iter().flat_map(|heard| heard.frames()).filter_map(|frame| match frame {
        Frame::NewToken(token) => Some(token.token.len()),
        _ => None,
    });
    assert!(tokens.inspect(|len| assert!(*len > 0)).count() > 0);
}

/// What a client declares: room for two connection IDs at least.
#[test]
fn parameters_of_a_client() {
    let mut bout = Bout::against_unconfirmed_client(Setup::client(1), |_| {});
    let declared = bout.puppet.session.peer_params().unwrap();
    let declared =
        peregrine_core::wire::params::TransportParams::parse(peregrine_core::ids::Side::Client, declared);
    assert!(declared.unwrap().active_cid_limit >= 2);
    // Extensions are spoken with those who understand them.
    assert!(bout.connection().max_datagram_len().is_some());
    let mut bout =
        Bout::against_unconfirmed_client(Setup::client(1), |params| params.max_datagram_frame_size = 0);
    assert_eq!(bout.connection().max_datagram_len(), None);
    assert!(bout.act(|connection, _| connection.send_datagram(b"x")).is_err());
    assert_eq!(heard(&bout, Kind::Datagram), 0);
}
