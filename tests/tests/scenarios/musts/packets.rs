//! Packets: spaces, duplicates, coalescing, what is acknowledged (RFC 9000 5.2, 8.2, 10.2, 12, 13).

use peregrine_core::endpoint::RetryPolicy;
use peregrine_core::error::{Code, Why};
use peregrine_core::ids::Dir;
use peregrine_core::session::Level;
use peregrine_core::wire::Cid;
use peregrine_core::wire::frame::{
    Datagram, Frame, HandshakeDone, Kind, NewConnectionId, PathChallenge, PathResponse, Ping,
};
use peregrine_tests::pair::open;
use peregrine_tests::puppet::{Bout, Puppet, bytes};
use peregrine_tests::quic::Setup;

use super::{acknowledged, from, headers, heard};

const PING: &[Frame<'static>] = &[Frame::Ping(Ping)];

/// A packet counts once; and that it is a copy is found out only after it was opened (RFC 9000 12.3).
#[test]
fn a_packet_counts_once() {
    let mut bout = Bout::against_server(Setup::server(1));
    let data = bytes(&[Frame::Datagram(Datagram { data: b"once" })]);
    let datagram = bout.puppet.datagram(Level::OneRtt, &data);
    let mut forged = datagram.clone();
    *forged.last_mut().unwrap() ^= 1;
    for copy in [&datagram, &datagram, &datagram, &forged] {
        bout.deliver(copy);
    }
    let discarded = bout.connection().stats().discarded;
    assert_eq!((discarded.count(Why::Duplicate), discarded.count(Why::Forged)), (2, 1));
    let mut out = [0; 16];
    let mut times = 0;
    while bout.connection().recv_datagram(&mut out).is_some() {
        times += 1;
    }
    assert_eq!(times, 1);
}

/// Each space acknowledges its own numbers, 1-RTT packets in 1-RTT packets.
#[test]
fn acknowledgments_stay_in_their_space() {
    let mut bout = Bout::new(Setup::server(1), Puppet::client(77));
    bout.puppet.next_pn = [10, 0, 500, 9_000];
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    bout.send(Level::Initial, &hello);
    bout.send(Level::Initial, &bytes(PING));
    bout.send(Level::Handshake, &bytes(PING));
    assert_eq!(acknowledged(&bout, Level::Initial), [10, 11]);
    assert_eq!(acknowledged(&bout, Level::Handshake), [500]);
    bout.shake_hands();
    bout.send(Level::OneRtt, &bytes(PING));
    bout.send(Level::OneRtt, &bytes(PING));
    assert_eq!(acknowledged(&bout, Level::OneRtt), [9_000, 9_001]);
    assert_eq!(acknowledged(&bout, Level::Initial), [10, 11]);
    // Every packet heard has frames, and only those of its level: the puppet would not have understood others.
    assert!(bout.puppet.heard.iter().all(|heard| heard.frames().count() > 0));
}

/// Each packet of a datagram stands for itself: one that does not open leaves the rest to be tried.
#[test]
fn packets_of_one_datagram_are_handled_apart() {
    let mut bout = Bout::new(Setup::server(1), Puppet::client(77));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    bout.send(Level::Initial, &hello);
    let mut broken = bout.puppet.seal(Level::Handshake, &bytes(PING));
    *broken.last_mut().unwrap() ^= 1;
    let mut datagram = broken;
    for _ in 0..2 {
        datagram.extend(bout.puppet.seal(Level::Handshake, &bytes(PING)));
    }
    bout.deliver(&datagram);
    bout.hear();
    assert_eq!(acknowledged(&bout, Level::Handshake), [1, 2]);
    assert_eq!(bout.connection().stats().discarded.count(Why::Forged), 1);
}

/// An error in a packet that anyone could have sealed ends the connection too (RFC 9000 5.2).
#[test]
fn errors_in_initials_end_the_connection() {
    let mut bout = Bout::new(Setup::server(1), Puppet::client(77));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    bout.send(Level::Initial, &hello);
    bout.send(Level::Initial, &bytes(&[Frame::Datagram(Datagram { data: b"no" })]));
    assert_eq!(bout.error().code, Code::PROTOCOL_VIOLATION);
}

/// A server takes no notice of what is neither of a connection of its nor a proper first Initial, and one datagram draws
/// one answer at most (RFC 9000 5.2.2, 17.2.5.1).
#[test]
fn strangers_are_ignored_unless_they_begin_properly() {
    let mut setup = Setup::server(1);
    setup.endpoint.retry = RetryPolicy::Always;
    let mut bout = Bout::new(setup, Puppet::client(77));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(Level::Initial).unwrap();
    let proper = bout.puppet.datagram(Level::Initial, &hello);
    for first in [0xd0, 0xe0, 0xf0] {
        // 0-RTT, Handshake, Retry.
        let mut other = proper.clone();
        other[0] = first | other[0] & 0x0f;
        bout.deliver(&other);
    }
    let mut short = Puppet::client(78);
    short.dcid = Cid::new(b"7 bytes").unwrap();
    peregrine_core::session::Session::set_initial_keys(&mut short.session, 1, b"7 bytes");
    let short = short.datagram(Level::Initial, &hello);
    bout.deliver(&short);
    assert!(bout.unheard.is_empty() && bout.node.accepted.is_empty());
    let stats = bout.node.endpoint.stats();
    assert_eq!((stats.ignored, stats.retries, stats.refused), (4, 0, 0));
    // Two Initials in a datagram, one Retry, which goes on under an ID of the server's choice.
    let mut two = proper[..600].to_vec();
    two.clear();
    let half = vec![0; 600];
    for _ in 0..2 {
        two.extend(bout.puppet.seal(Level::Initial, &half));
    }
    assert!(two.len() >= 1_200);
    bout.deliver(&two);
    assert_eq!(bout.unheard.len(), 1);
    let answer = peregrine_core::wire::header::Header::parse(
        &bout.unheard[0],
        0,
        8,
        peregrine_core::wire::header::FixedBit::Ignored,
    );
    let answer = answer.unwrap();
    assert_eq!(answer.packet, peregrine_core::wire::header::PacketType::Retry);
    assert_ne!(answer.scid, bout.puppet.dcid);
}

/// A challenge is answered at once, in a datagram of full size, however small the one it came in (RFC 9000 8.2.2).
#[test]
fn challenges_are_answered_at_once_and_in_full_size() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.wait_ms(200);
    bout.ack();
    let data = *b"question";
    let datagram = bout.puppet.seal(Level::OneRtt, &bytes(&[Frame::PathChallenge(PathChallenge { data })]));
    assert!(datagram.len() < 100);
    let before = bout.puppet.heard.len();
    bout.deliver(&datagram);
    bout.hear();
    let answer = bout.puppet.heard[before..].iter().find(|heard| {
        heard
            .frames()
            .any(|frame| matches!(frame, Frame::PathResponse(PathResponse { data: got }) if got == data))
    });
    assert!(answer.expect("an answer").datagram >= 1_200);
}

/// The packet that retires a connection ID goes to another one (RFC 9000 19.16), and packets of one datagram go to one
/// connection ID (RFC 9000 12.2).
#[test]
fn a_retired_id_is_not_sent_to_and_not_mixed_with_others() {
    let mut bout = Bout::against_unconfirmed_client(Setup::client(1), |_| {});
    let cid = Cid::new(b"puppet-2").unwrap();
    let frame = NewConnectionId { seq: 1, retire_prior_to: 1, cid, reset_token: [7; 16] };
    let datagram = bout.puppet.datagram(Level::OneRtt, &bytes(&[Frame::NewConnectionId(frame)]));
    bout.unheard.clear();
    bout.deliver(&datagram);
    let connection = bout.connection();
    let id = open(connection, Dir::Uni);
    connection.write_stream(id, b"in the same datagram as the Handshake packet?").unwrap();
    bout.drain();
    let mut mixed = 0;
    // The Finished was never acknowledged: it is repeated, with what else there is.
    for _ in 0..3 {
        let next = peregrine_tests::sim::Node::next_timeout(&bout.node).instant().unwrap();
        bout.now = bout.now.max(next);
        let connection = bout.connection();
        connection.ping();
        peregrine_tests::sim::Node::handle_timeout(&mut bout.node, next);
        bout.drain();
    }
    let mut levels = Vec::new();
    for datagram in &bout.unheard {
        let packets = headers(datagram);
        mixed += usize::from(packets.iter().any(|packet| packet.dcid != packets[0].dcid));
        levels.extend(packets.iter().map(|packet| packet.level().unwrap()));
        for packet in packets {
            let expected: &[u8] =
                if packet.level() == Some(Level::OneRtt) { b"puppet-2" } else { b"puppet-s" };
            assert_eq!(packet.dcid.as_slice(), expected);
        }
    }
    assert_eq!(mixed, 0);
    assert!(levels.contains(&Level::Handshake) && levels.contains(&Level::OneRtt));
    bout.puppet.scid = cid;
    bout.hear();
    assert!(heard(&bout, Kind::RetireConnectionId) > 0);
}

/// While a connection closes, who is at an address that was not validated hears nothing of it (RFC 9000 10.2.1), and one
/// that can still close does not reset (RFC 9000 10.3).
#[test]
fn a_closing_connection_answers_its_peer_only_and_with_a_close() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.act(|connection, now| connection.close(now, 5, "done"));
    let before = bout.from_node.len();
    let mut elsewhere = 0;
    for _ in 0..40 {
        let datagram = bout.puppet.datagram(Level::OneRtt, &bytes(PING));
        elsewhere += from(&mut bout, "203.0.113.5:99", &datagram).len();
    }
    assert_eq!(elsewhere, 0);
    for _ in 0..8 {
        let mut datagram = bout.puppet.datagram(Level::OneRtt, &bytes(PING));
        bout.deliver(&datagram);
        *datagram.last_mut().unwrap() ^= 1;
        bout.deliver(&datagram);
    }
    assert!(bout.from_node.len() > before);
    let seen = bout.puppet.heard.len();
    bout.hear();
    let repeated = &bout.puppet.heard[seen..];
    assert_eq!(repeated.len(), bout.from_node.len() - before, "all can be opened");
    assert!(repeated.iter().all(|heard| heard.frames().any(|frame| frame.kind() == Kind::ConnectionClose)));
    assert_eq!(bout.node.endpoint.stats().resets, 0);
}

/// A packet whose last frame is an error was not received: it is acknowledged by nothing, and its copy is no duplicate
/// (RFC 9000 13.1).
#[test]
fn a_packet_with_an_error_is_not_acknowledged() {
    let mut bout = Bout::against_server(Setup::server(1));
    let frames = [Frame::Ping(Ping), Frame::HandshakeDone(HandshakeDone)];
    let pn = bout.puppet.next_pn[Level::OneRtt as usize];
    let datagram = bout.puppet.datagram(Level::OneRtt, &bytes(&frames));
    bout.deliver(&datagram);
    bout.deliver(&datagram);
    bout.hear();
    assert_eq!(bout.error().code, Code::PROTOCOL_VIOLATION);
    assert!(!acknowledged(&bout, Level::OneRtt).contains(&pn));
    let discarded = bout.connection().stats().discarded;
    assert_eq!((discarded.count(Why::Duplicate), discarded.count(Why::Closing)), (0, 1));
}
