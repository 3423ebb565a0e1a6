//! Handshakes: every datagram lost in its turn, overtaking, copies, large messages, limits, silence, alerts.

use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::error::Code;
use peregrine_core::ids::{Dir, Ecn, FourTuple};
use peregrine_core::lifecycle::{Cause, Close, Reason};
use peregrine_core::session::Level;
use peregrine_core::wire::header::{Coalesced, FixedBit};
use peregrine_tests::null_session::Flights;
use peregrine_tests::pair::{CLIENT, Pair, SERVER, open, server_address};
use peregrine_tests::quic::{App, QuicNode, Setup};
use peregrine_tests::sim::{Link, Node as _};

fn link() -> Link {
    Link::mbit(20).delay_ms(20)
}

/// Bytes that went from an address, by the recording of a pair's world.
fn bytes_from(pair: &Pair, address: &str) -> usize {
    let recorded = pair.world.recorded().iter();
    recorded
        .filter(|(_, datagram)| datagram.source.ip().to_string() == address)
        .map(|(_, datagram)| datagram.payload.len())
        .sum()
}

fn has_handshake_packet(datagram: &[u8]) -> bool {
    let mut packets = Coalesced::new(8, FixedBit::Ignored);
    std::iter::from_fn(|| packets.next(datagram))
        .any(|header| header.is_ok_and(|header| header.level() == Some(Level::Handshake)))
}

#[test]
fn each_of_the_first_datagrams_may_be_lost() {
    for mask in 1_u64..64 {
        for up in [true, false] {
            let (lossy, clean) = (link().drop_nth((0..6).filter(|bit| mask >> bit & 1 == 1)), link());
            let links = if up { [lossy, clean] } else { [clean, lossy] };
            let mut pair = Pair::seeded(mask, links, |_, _| {});
            pair.connect(&[]);
            pair.until(&format!("confirmed without datagrams {mask:b}, up: {up}"), |pair| {
                pair.told_client(Event::Confirmed) && pair.told_server(Event::Confirmed)
            });
            let id = pair.client(|connection, _| open(connection, Dir::Bi));
            pair.carry(true, id, 3_000);
        }
    }
}

#[test]
fn datagrams_may_overtake_each_other_and_come_twice() {
    for seed in 0..60 {
        let link = || link().reorder(0.5, Duration::from_millis(60)).duplicate(0.3);
        let mut pair = Pair::seeded(seed, [link(), link()], |client, server| {
            client.session.flights.client_hello = 2_500;
            server.session.flights.server_flight = 5_000;
        });
        pair.connect(&[]);
        pair.until("confirmed", |pair| {
            pair.told_client(Event::Confirmed) && pair.told_server(Event::Confirmed)
        });
        let stats = pair.server(|connection, _| connection.stats());
        assert_eq!(stats.discarded.count(peregrine_core::error::Why::Forged), 0, "seed {seed}");
    }
}

/// A server may send three times what came from an address until the client has shown that it is there (RFC 9000 8.1),
/// however often it would like to repeat itself.
#[test]
fn a_large_flight_waits_for_the_client_within_three_times() {
    let mut pair = Pair::new(link(), |_, server| server.session.flights.server_flight = 8_192);
    pair.world.record();
    pair.connect(&[]);
    let mut up = 0;
    let mut down = 0;
    let (mut seen, mut validated) = (0, false);
    pair.until("connected", |pair| {
        // What left the client reaches the server later: at no time may the server be ahead of it.
        for (_, datagram) in &pair.world.recorded()[seen..] {
            let from_client = datagram.source.ip().to_string() == CLIENT;
            *if from_client { &mut up } else { &mut down } += datagram.payload.len();
            // Who can seal a Handshake packet has the server's Initial, hence the address.
            validated |= from_client && has_handshake_packet(&datagram.payload);
            assert!(down <= 3 * up || validated, "{down} down for {up} up");
        }
        seen = pair.world.recorded().len();
        pair.told_client(Event::Connected)
    });
    assert!(down > 8_192);
}

/// A client that never answers is sent three times its Initial and no byte more, for as long as the server remembers it.
#[test]
fn a_silent_client_is_sent_three_times_its_bytes() {
    let mut pair = Pair::new(link(), |_, server| server.session.flights.server_flight = 8_192);
    pair.world.record();
    pair.world.attack(|_, datagram| {
        let to_client = datagram.destination.ip().to_string() == CLIENT;
        if to_client { vec![] } else { vec![(Duration::ZERO, datagram)] }
    });
    pair.connect(&[]);
    // From the first datagram on the client is cut off.
    pair.world.interface(pair.client, 0).unplug();
    pair.run_ms(60_000);
    let (up, down) = (bytes_from(&pair, CLIENT), bytes_from(&pair, "192.0.2.9"));
    assert!(up > 0 && down <= 3 * up, "{down} bytes for {up}");
    assert!(down > 2 * up, "the server uses what it may: {down} bytes for {up}");
    assert_eq!(pair.server_cause(), Some(Cause::HandshakeTimeout));
}

#[test]
fn a_client_hello_over_two_initials() {
    for len in [1_150, 1_800, 2_300, 4_000] {
        let mut pair = Pair::new(link(), |client, _| client.session.flights.client_hello = len);
        pair.connect(&[]);
        pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
        assert!(pair.world.now().as_micros() < 130_000, "{len}: no second wait for a timer");
    }
}

/// The second Initial comes first: its CRYPTO bytes wait in memory, as RFC 9000 7.5 asks for.
#[test]
fn a_client_hello_whose_halves_change_places() {
    let mut pair = Pair::new(link(), |client, _| client.session.flights.client_hello = 2_300);
    let mut nth = 0;
    pair.world.attack(move |_, datagram| {
        nth += 1;
        vec![(Duration::from_millis(if nth == 1 { 30 } else { 0 }), datagram)]
    });
    pair.connect(&[]);
    pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
    assert_eq!(pair.server_node().accepted.len(), 1);
}

#[test]
fn flights_of_all_sizes() {
    for (client_hello, server_hello, server_flight, client_finished, ticket) in [
        (250, 60, 60, 60, 0),
        (280, 90, 16_000, 52, 200),
        (1_000, 1_000, 1_200, 3_000, 4_000),
        (3_000, 90, 30_000, 9_000, 0),
    ] {
        let flights = Flights { client_hello, server_hello, server_flight, client_finished, ticket };
        let mut pair = Pair::new(link(), |client, server| {
            client.session.flights = flights;
            server.session.flights = flights;
        })
        .connected();
        let id = pair.client(|connection, _| open(connection, Dir::Bi));
        pair.carry(true, id, 10_000);
    }
}

/// Where memory remembers few packets, what finds no row is not said; and no packet goes out in its place with nothing in it
/// (RFC 9000 12.4).
#[test]
fn no_packet_is_hollow() {
    for rows in 3..8 {
        let mut pair = Pair::new(link(), |client, server| {
            (client.sizes.sent, server.sizes.sent) = (rows, rows);
            (client.app, server.app) = (App::Files, App::Files);
        });
        pair.download(20_000, 2);
        pair.until(&format!("{rows} rows suffice"), |pair| pair.client_node().is_done());
        for hollow in [
            pair.client(|connection, _| connection.session().counters().hollow),
            pair.server(|connection, _| connection.session().counters().hollow),
        ] {
            assert_eq!(hollow, 0, "{rows} rows");
        }
    }
}

#[test]
fn zero_length_connection_ids_on_the_client() {
    for flights in [1_100, 6_000] {
        let mut pair = Pair::new(link().loss(0.05), |client, server| {
            client.endpoint.cid_len = 0;
            server.session.flights.server_flight = flights;
            client.app = App::Files;
            server.app = App::Files;
        });
        pair.download(100_000, 2);
        pair.until("downloaded", |pair| pair.client_node().is_done());
        assert_eq!(pair.client(|connection, _| connection.cids_wanted()), 0);
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let mut pair = Pair::new(link().drop_mask(u64::MAX), |_, _| {});
    let before = pair.world.now();
    pair.connect(&[]);
    pair.until("given up", |pair| pair.client_cause().is_some());
    assert_eq!(pair.client_cause(), Some(Cause::HandshakeTimeout));
    assert_eq!(pair.world.now().since(before), Duration::from_secs(10).into());
    pair.until("drained", |pair| pair.told_client(Event::Drained));
    let (_, stats, _) = &pair.client_node().ended[0];
    assert!(stats.sent_packets < 20, "probes back off: {}", stats.sent_packets);
}

/// An alert of TLS closes on both sides, with the same code and in words (RFC 9001 4.8).
#[test]
fn an_alert_reaches_both_sides() {
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    for client_refuses in [true, false] {
        let mut pair = Pair::new(link(), |client, server| {
            let refuser = if client_refuses { client } else { server };
            refuser.session.refuse = Some(NO_APPLICATION_PROTOCOL);
        });
        pair.connect(&[]);
        pair.until("both are told", |pair| pair.client_cause().is_some() && pair.server_cause().is_some());
        let is_alert = |close: &Close| {
            matches!(close.reason, Reason::Transport { code, frame: 6 } if code == Code::crypto(120))
                && close.phrase.as_str() == "null session: told to refuse"
        };
        let (by, to) = if client_refuses {
            (pair.client_cause(), pair.server_cause())
        } else {
            (pair.server_cause(), pair.client_cause())
        };
        assert!(matches!(&by, Some(Cause::Local(close)) if is_alert(close)), "{by:?}");
        assert!(matches!(&to, Some(Cause::Peer(close)) if is_alert(close)), "{to:?}");
        pair.until("drained", |pair| pair.told_client(Event::Drained) && pair.told_server(Event::Drained));
        assert!(pair.client_node().endpoint.is_empty() && pair.server_node().endpoint.is_empty());
    }
}

/// Corrupted and truncated copies of real datagrams, and noise, change nothing.
#[test]
fn noise_during_the_handshake_changes_nothing() {
    for seed in 0..40 {
        let mut pair = Pair::seeded(seed, [link(), link()], |_, _| {});
        let mut rng = peregrine_tests::rng::Rng::new(seed);
        pair.world.attack(move |_, datagram| {
            let mut copy = datagram.clone();
            let len = copy.payload.len() as u64;
            copy.payload[rng.below(len) as usize] ^= 1 << rng.below(8);
            let mut short = datagram.clone();
            short.payload.truncate(rng.below(len) as usize + 1);
            let mut noise = datagram.clone();
            rng.fill(&mut noise.payload);
            [copy, short, noise, datagram].map(|datagram| (Duration::ZERO, datagram)).into()
        });
        pair.connect(&[]);
        pair.until("confirmed", |pair| {
            pair.told_client(Event::Confirmed) && pair.told_server(Event::Confirmed)
        });
    }
}

/// A datagram from elsewhere that carries a valid copy of a packet is not from the peer: before the handshake is
/// confirmed nobody may move (RFC 9000 9).
#[test]
fn a_server_does_not_follow_a_client_that_moves_in_the_handshake() {
    let mut client = QuicNode::new(Setup { app: App::None, ..Setup::client(3) });
    let mut server = QuicNode::new(Setup { app: App::None, ..Setup::server(4) });
    let mut now = peregrine_core::time::Instant::from_micros(10);
    client.connect(now, server_address(), &[]);
    let mut out = vec![0; 2_000];
    let on = |from: &str| FourTuple {
        local: SERVER.parse().unwrap(),
        remote: from.parse().unwrap(),
        interface: 1,
    };
    let sent = client.poll_transmit(now, &mut out).unwrap();
    server.handle_datagram(now, on("10.0.0.2:1"), Ecn::NotEct, &mut out[..sent.len]);
    while client.poll_transmit(now, &mut out).is_some() {}
    while server.poll_transmit(now, &mut out).is_some() {}
    now = now.after(Duration::from_secs(2));
    client.handle_timeout(now);
    let sent = client.poll_transmit(now, &mut out).unwrap();
    server.handle_datagram(now, on("10.0.0.3:1"), Ecn::NotEct, &mut out[..sent.len]);
    let mut reply = vec![0; 2_000];
    while let Some(transmit) = server.poll_transmit(now, &mut reply) {
        assert_eq!(transmit.four_tuple.remote, "10.0.0.2:1".parse().unwrap());
    }
    let handle = server.accepted[0];
    let discarded = server.connection(handle).stats().discarded;
    assert_eq!(discarded.count(peregrine_core::error::Why::Address), 1);
}
