//! A flood of handshakes (RFC 9000 8.1.2, 21.3): who is let in, who is asked, who is refused, and whom it must not harm.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::error::Code;
use peregrine_core::ids::Ecn;
use peregrine_core::lifecycle::{Cause, Reason};
use peregrine_core::session::Level;
use peregrine_core::time::Instant;
use peregrine_core::wire::header::{FixedBit, Header, PacketType};
use peregrine_tests::pair::{Pair, SERVER};
use peregrine_tests::puppet::Puppet;
use peregrine_tests::quic::{App, Setup};
use peregrine_tests::sim::{Datagram, Link};

fn link() -> Link {
    Link::mbit(10).delay_ms(10)
}

/// The first datagram of a client, as if from the `nth` of many addresses.
fn hello(nth: u64) -> Datagram {
    let mut puppet = Puppet::client(nth + 1_000);
    let params = puppet.params();
    puppet.start(&params);
    let crypto = puppet.crypto(Level::Initial).unwrap();
    let payload = puppet.datagram(Level::Initial, &crypto);
    let source =
        format!("100.{}.{}.{}:{}", 64 + nth / 65_536, nth / 256 % 256, nth % 256, 1_024 + nth % 50_000);
    Datagram {
        source: source.parse().unwrap(),
        destination: SERVER.parse().unwrap(),
        ecn: Ecn::NotEct,
        payload,
    }
}

/// What a server sends to spoofed addresses: counted, and dropped.
#[derive(Default)]
struct Backscatter {
    datagrams: usize,
    bytes: usize,
    largest: usize,
    retries: usize,
}

/// Watches what goes to addresses where nobody is.
fn watch(pair: &mut Pair) -> Rc<RefCell<Backscatter>> {
    let seen = Rc::new(RefCell::new(Backscatter::default()));
    let watched = Rc::clone(&seen);
    pair.world.attack(move |_, datagram| {
        if !datagram.destination.to_string().starts_with("100.") {
            return vec![(Duration::ZERO, datagram)];
        }
        let mut seen = watched.borrow_mut();
        seen.datagrams += 1;
        seen.bytes += datagram.payload.len();
        seen.largest = seen.largest.max(datagram.payload.len());
        let header = Header::parse(&datagram.payload, 0, 8, FixedBit::Ignored);
        seen.retries += usize::from(header.is_ok_and(|header| header.packet == PacketType::Retry));
        vec![]
    });
    seen
}

fn busy_server(client: &mut Setup, server: &mut Setup) {
    (client.app, server.app) = (App::Files, App::Files);
    server.slots = 64;
}

/// 10,000 spoofed clients in two seconds: half of the slots are taken at most, everybody else is asked for proof, a transfer
/// that runs is as fast as without them, a client that comes meanwhile gets in, and all is free again at the deadline.
#[test]
fn ten_thousand_spoofed_clients() {
    const SPOOFED: u64 = 10_000;
    let seconds = |flood: bool| {
        let mut pair = Pair::new(link(), busy_server);
        pair.download(2 << 20, 1);
        pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
        let seen = watch(&mut pair);
        let mut most = 0;
        let mut next = 0;
        while !pair.client_node().is_done() {
            if flood && next < SPOOFED {
                // Fifty each ten milliseconds.
                (next..next + 50).for_each(|nth| pair.world.inject(hello(nth)));
                next += 50;
            }
            pair.run_ms(10);
            most = most.max(pair.server_node().endpoint.half_open());
        }
        let millis = pair.world.now().as_micros() / 1000;
        if !flood {
            return millis;
        }
        (next..SPOOFED).for_each(|nth| pair.world.inject(hello(nth)));
        pair.run_ms(10);
        assert!((20..=32).contains(&most), "half of 64 slots, less ours: {most}");
        let stats = pair.server_node().endpoint.stats();
        assert_eq!(stats.retries + stats.accepted - 1, SPOOFED);
        {
            let seen = seen.borrow();
            assert_eq!(seen.retries as u64, stats.retries);
            // Three times the bytes to those who were let in, and less than was sent to those who were asked.
            assert!(seen.bytes < 32 * 3 * 1_200 + SPOOFED as usize * 200, "{}", seen.bytes);
            assert!(seen.largest <= 1_200 && seen.datagrams > 0);
        }
        // A client that comes now has to show its address, and is in.
        let before = pair.client_node().events.len();
        pair.download(10_000, 1);
        pair.until("another one", |pair| {
            pair.client_node().is_done() && pair.client_node().events.len() > before
        });
        // Half-open ones are dropped at their deadline.
        pair.run_ms(12_000);
        assert_eq!(pair.server_node().endpoint.half_open(), 0);
        assert_eq!(pair.server_node().endpoint.len(), 2);
        millis
    };
    let (quiet, flooded) = (seconds(false), seconds(true));
    assert!(flooded <= quiet + 50, "{quiet} ms without, {flooded} ms with the flood");
}

/// Clients that prove their address and then say nothing more fill the slots; the next is refused, politely and at once.
#[test]
fn a_full_server_refuses() {
    let mut pair = Pair::new(link(), |client, server| {
        client.slots = 40;
        server.slots = 8;
    });
    // Genuine clients, whose handshakes hang: what the server sends after a Retry does not arrive.
    pair.world.attack(|_, datagram| {
        let header = Header::parse(&datagram.payload, 0, 8, FixedBit::Ignored);
        let hangs = datagram.source == SERVER.parse().unwrap()
            && header.is_ok_and(|header| matches!(header.packet, PacketType::Initial { .. }))
            && datagram.payload.len() > 200;
        if hangs { vec![] } else { vec![(Duration::ZERO, datagram)] }
    });
    for _ in 0..20 {
        pair.connect(&[]);
        pair.run_ms(50);
    }
    assert_eq!(pair.server_node().endpoint.len(), 8);
    let refused = pair.client_node().events.iter().filter(|(_, _, event)| is_refusal(event)).count();
    assert_eq!(refused, 12);
    // At the deadline all is free, and a client gets in.
    pair.run_ms(20_000);
    assert_eq!((pair.server_node().endpoint.len(), pair.server_node().endpoint.half_open()), (0, 0));
    pair.world.attack(|_, datagram| vec![(Duration::ZERO, datagram)]);
    pair.connect(&[]);
    pair.until("in", |pair| pair.told_client(Event::Connected));
}

fn is_refusal(event: &Event) -> bool {
    let Event::Closed(Cause::Peer(close)) = event else { return false };
    matches!(close.reason, Reason::Transport { code, .. } if code == Code::CONNECTION_REFUSED)
}

/// Opens a connection and waits for it, and whether it was let in.
fn gets_in(pair: &mut Pair) -> bool {
    let handle = pair.connect(&[]);
    let told = |pair: &Pair, what: fn(&Event) -> bool| {
        pair.client_node().events.iter().any(|(_, whose, event)| *whose == handle && what(event))
    };
    pair.until("let in or refused", |pair| {
        told(pair, |event| *event == Event::Confirmed || is_refusal(event))
    });
    !told(pair, is_refusal)
}

/// When the server's connections were over.
fn drained_at(pair: &Pair) -> Vec<Instant> {
    let events = pair.server_node().events.iter();
    events.filter(|(_, _, event)| *event == Event::Drained).map(|(when, _, _)| *when).collect()
}

/// Clients that come, close and make room for the next, faster than three PTOs pass: where all slots are taken, the connection that
/// its client closed first ends before its time; while there is a free one, none does (RFC 9000 10.2).
#[test]
fn who_has_closed_makes_way_in_a_full_server() {
    let mut pair = Pair::new(link(), |client, server| (client.slots, server.slots) = (40, 4));
    for nth in 0..12 {
        assert!(gets_in(&mut pair), "client {nth}");
        assert_eq!(
            drained_at(&pair).len(),
            (nth + 1_usize).saturating_sub(3),
            "a slot is free, and one only"
        );
        pair.client(|connection, now| connection.close(now, 0, "done"));
        pair.run_ms(15);
    }
    let last = pair.world.now();
    pair.until("all drained", |pair| pair.server_node().endpoint.is_empty());
    let late = drained_at(&pair).into_iter().filter(|when| *when > last);
    assert_eq!(late.count(), 3, "with nobody at the door, they wait for three PTOs");
    assert_eq!(pair.server_node().endpoint.stats().refused, 0);
}

/// What a client that has closed still sends to a connection that made way draws a stateless reset, which does not change how it ended.
#[test]
fn a_late_packet_of_who_made_way_harms_nobody() {
    let mut pair = Pair::new(link(), |client, server| (client.slots, server.slots) = (4, 1));
    assert!(gets_in(&mut pair));
    pair.run_ms(200);
    // What it says comes twice, the second time a while later.
    pair.world.attack(|_, datagram| {
        let late = (datagram.source != SERVER.parse().unwrap()).then(|| datagram.clone());
        let late = late.map(|datagram| (Duration::from_millis(40), datagram));
        std::iter::once((Duration::ZERO, datagram)).chain(late).collect()
    });
    pair.client(|connection, now| connection.close(now, 7, "done"));
    pair.until("the server has forgotten it", |pair| pair.server_node().endpoint.is_empty());
    pair.run_ms(60);
    assert_eq!(pair.server_node().endpoint.stats().resets, 1);
    pair.until("the client has ended too", |pair| pair.client_node().endpoint.is_empty());
}

/// Who was told by us that it is over may not have heard it: such a connection answers until three PTOs are over, also in a full server.
#[test]
fn whom_the_server_closed_makes_no_way() {
    let mut pair = Pair::new(link(), |client, server| (client.slots, server.slots) = (8, 2));
    for _ in 0..2 {
        assert!(gets_in(&mut pair));
    }
    for handle in pair.server_node().accepted.clone() {
        pair.world.with(pair.server, |node, now| node.connection(handle).close(now, 1, "enough"));
    }
    assert!(!gets_in(&mut pair));
}

/// The number of handshakes may be limited below that of slots: connections that stand do not count.
#[test]
fn handshakes_have_a_limit_of_their_own() {
    let mut pair = Pair::new(link(), |client, server| {
        (client.slots, server.slots) = (40, 40);
        server.endpoint.max_half_open = 4;
    });
    for nth in 0..15 {
        pair.connect(&[]);
        pair.until("connected", |pair| {
            pair.client_node().events.iter().filter(|(_, _, event)| *event == Event::Connected).count()
                == nth + 1
        });
        pair.run_ms(100);
    }
    assert_eq!(pair.server_node().endpoint.stats().retries, 0);
    for nth in 0..10 {
        pair.world.inject(hello(nth));
    }
    pair.run_ms(5);
    assert_eq!(pair.server_node().endpoint.half_open(), 2);
    assert_eq!(pair.server_node().endpoint.stats().retries, 8);
}

/// No answer without a connection is larger than what drew it, whatever comes (RFC 9000 8.1).
#[test]
fn replies_are_not_larger_than_what_drew_them() {
    let mut server = peregrine_tests::quic::QuicNode::new(Setup { slots: 0, ..Setup::server(1) });
    let mut rng = peregrine_tests::rng::Rng::new(4);
    let on = peregrine_core::ids::FourTuple {
        local: SERVER.parse().unwrap(),
        remote: "10.0.0.2:9".parse().unwrap(),
        interface: 1,
    };
    let mut answered = 0;
    for nth in 0..20_000_u64 {
        let mut payload = hello(nth % 50).payload;
        for _ in 0..rng.below(4) {
            let at = rng.below(40) as usize;
            payload[at] = rng.next_u64() as u8;
        }
        if rng.chance(0.5) {
            payload.truncate(rng.below(1_300) as usize);
        }
        let len = payload.len();
        use peregrine_tests::sim::Node as _;
        server.handle_datagram(Instant::from_micros(nth), on, Ecn::NotEct, &mut payload);
        let mut out = [0; 2_000];
        let (mut replies, mut bytes) = (0, 0);
        while let Some(transmit) = server.poll_transmit(Instant::from_micros(nth), &mut out) {
            replies += 1;
            bytes += transmit.len;
        }
        assert!(replies <= 1 && bytes <= len, "{replies} replies of {bytes} bytes to {len}");
        answered += replies;
    }
    assert!(answered > 1_000 && server.endpoint.is_empty());
}
