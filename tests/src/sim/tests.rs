//! Every property of the network, shown with nodes that know nothing but datagrams.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::ids::{Ecn, FourTuple};
use peregrine_core::time::{Deadline, Instant};

use super::*;

const SERVER: &str = "198.51.100.1:443";
const CLIENT: &str = "10.0.0.2:5000";
const SIZE: usize = 1000 - HEADERS;

/// Sends what it is told to, keeps what it gets, and answers it if it is an echo.
#[derive(Default)]
struct Peer {
    echo: bool,
    outbox: VecDeque<(SimTransmit, Vec<u8>)>,
    received: Vec<(Instant, FourTuple, Ecn, Vec<u8>)>,
    alarm: Deadline,
    alarms: Vec<Instant>,
}

impl Peer {
    fn echo() -> Self {
        Self { echo: true, ..Self::default() }
    }

    fn send(&mut self, from: &str, ecn: Ecn, payload: Vec<u8>) {
        self.send_on(on(from, SERVER, 0), ecn, payload, None);
    }

    fn send_on(&mut self, four_tuple: FourTuple, ecn: Ecn, payload: Vec<u8>, segment_size: Option<usize>) {
        let transmit = SimTransmit { four_tuple, ecn, len: payload.len(), segment_size };
        self.outbox.push_back((transmit, payload));
    }
}

impl Node for Peer {
    fn handle_datagram(&mut self, now: Instant, on: FourTuple, ecn: Ecn, datagram: &mut [u8]) {
        self.received.push((now, on, ecn, datagram.to_vec()));
        if self.echo {
            self.send_on(on, ecn, datagram.to_vec(), None);
        }
    }

    fn poll_transmit(&mut self, _: Instant, out: &mut [u8]) -> Option<SimTransmit> {
        let (transmit, payload) = self.outbox.pop_front()?;
        out[..payload.len()].copy_from_slice(&payload);
        Some(transmit)
    }

    fn next_timeout(&self) -> Deadline {
        self.alarm
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.alarms.push(now);
        self.alarm = Deadline::NEVER;
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn on(local: &str, remote: &str, interface: u32) -> FourTuple {
    FourTuple { local: address(local), remote: address(remote), interface }
}

/// A server on an ideal link and a client on the given one.
fn pair(seed: u64, server: Peer, client: Interface) -> (World<Peer>, HostId, HostId) {
    let mut world = World::new(seed);
    let server = world.host(server, [Interface::at("198.51.100.1")]);
    let client = world.host(Peer::default(), [client]);
    (world, server, client)
}

/// The client sends `count` numbered datagrams of [`SIZE`] bytes at once; returns their numbers as they arrive.
fn burst(link: Link, count: u16, ecn: Ecn) -> (World<Peer>, HostId, Vec<u16>) {
    let (mut world, server, client) = pair(1, Peer::default(), Interface::at("10.0.0.2").up(link));
    world.with(client, |peer, _| {
        for number in 0..count {
            let mut payload = vec![0; SIZE];
            payload[..2].copy_from_slice(&number.to_be_bytes());
            peer.send(CLIENT, ecn, payload);
        }
    });
    assert_eq!(world.run_until(Instant::from_micros(u64::MAX), |_| false), Ending::Quiet);
    let received = &world.node(server).received;
    let numbers = received.iter().map(|(.., payload)| u16::from_be_bytes([payload[0], payload[1]])).collect();
    (world, server, numbers)
}

#[test]
fn delay_is_exact_both_ways() {
    let (mut world, _, client) =
        pair(1, Peer::echo(), Interface::at("10.0.0.2").link(Link::ideal().delay_ms(15)));
    world.with(client, |peer, _| peer.send(CLIENT, Ecn::Ect0, b"hello".to_vec()));
    world.run_for(Duration::from_secs(1));
    let expected = (Instant::from_micros(30_000), on(CLIENT, SERVER, 1), Ecn::Ect0, b"hello".to_vec());
    assert_eq!(world.node(client).received, [expected]);
    assert_eq!(world.now(), Instant::from_micros(1_000_000));
}

#[test]
fn a_new_host_sends_at_once_also_to_hosts_that_come_later() {
    let mut world = World::new(1);
    let mut eager = Peer::default();
    eager.send(CLIENT, Ecn::NotEct, vec![1]);
    world.host(eager, [Interface::at("10.0.0.2")]);
    let server = world.host(Peer::default(), [Interface::at("198.51.100.1")]);
    world.run_for(Duration::ZERO);
    assert_eq!(world.node(server).received.len(), 1);
}

#[test]
fn rate_spaces_datagrams_out() {
    // 1,000 bytes with headers at 8 Mbit/s take a millisecond.
    let (world, server, numbers) = burst(Link::mbit(8).delay_ms(5), 4, Ecn::NotEct);
    assert_eq!(numbers, [0, 1, 2, 3]);
    let times: Vec<u64> = world.node(server).received.iter().map(|(at, ..)| at.as_micros()).collect();
    assert_eq!(times, [6_000, 7_000, 8_000, 9_000]);
}

#[test]
fn full_queue_drops_the_tail() {
    let (world, _, numbers) = burst(Link::mbit(8).queue(3_000), 10, Ecn::NotEct);
    assert_eq!((numbers, world.trace().count(Fate::QueueFull)), (vec![0, 1, 2], 7));
    let (_, _, numbers) = burst(Link::mbit(8).queue_datagrams(4), 10, Ecn::NotEct);
    assert_eq!(numbers, [0, 1, 2, 3]);
}

#[test]
fn queue_empties_with_time() {
    let link = Link::mbit(8).queue(3_000);
    let (mut world, server, client) = pair(1, Peer::default(), Interface::at("10.0.0.2").up(link));
    for _ in 0..3 {
        world.with(client, |peer, _| (0..10).for_each(|_| peer.send(CLIENT, Ecn::NotEct, vec![0; SIZE])));
        world.run_for(Duration::from_millis(2));
    }
    assert_eq!(world.node(server).received.len(), 6, "two leave before each of the later bursts comes");
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.node(server).received.len(), 7);
}

#[test]
fn loss_by_chance_is_close_to_its_probability() {
    let (world, _, numbers) = burst(Link::ideal().loss(0.1), 10_000, Ecn::NotEct);
    assert!((8_900..9_100).contains(&numbers.len()), "{}", numbers.len());
    assert_eq!(world.trace().count(Fate::Lost) + world.trace().count(Fate::Delivered), 10_000);
}

#[test]
fn drops_by_number_and_by_mask_are_exact() {
    let (_, _, numbers) = burst(Link::ideal().drop_nth([0, 3]), 5, Ecn::NotEct);
    assert_eq!(numbers, [1, 2, 4]);
    let (_, _, numbers) = burst(Link::ideal().drop_mask(!0b101), 67, Ecn::NotEct);
    assert_eq!(numbers, [0, 2, 64, 66]);
}

#[test]
fn mtu_drops_what_is_larger() {
    assert_eq!(burst(Link::ideal().mtu(SIZE), 2, Ecn::NotEct).2.len(), 2);
    let (world, _, numbers) = burst(Link::ideal().mtu(SIZE - 1), 2, Ecn::NotEct);
    assert_eq!((numbers.len(), world.trace().count(Fate::TooBig)), (0, 2));
}

#[test]
fn only_reordering_reorders() {
    let link = Link::mbit(80).delay_ms(5);
    assert!(burst(link.clone(), 200, Ecn::NotEct).2.is_sorted());
    let (world, _, mut numbers) = burst(link.reorder(0.2, Duration::from_millis(3)), 200, Ecn::NotEct);
    assert!(!numbers.is_sorted() && world.trace().count(Fate::Delayed) > 20);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..200), "late is not lost");
}

#[test]
fn duplicates_arrive_twice() {
    let (world, _, numbers) = burst(Link::ideal().duplicate(0.3), 1000, Ecn::NotEct);
    let copies = world.trace().count(Fate::Duplicated);
    assert!((250..350).contains(&copies) && numbers.len() as u64 == 1000 + copies);
}

#[test]
fn corruption_flips_one_to_eight_bits() {
    let (world, server, _) = burst(Link::ideal().corrupt(0.5), 1000, Ecn::NotEct);
    let flips = world.node(server).received.iter().enumerate().map(|(number, (.., payload))| {
        let zeros = payload[2..].iter().map(|byte| byte.count_ones()).sum::<u32>();
        let head = u16::from_be_bytes([payload[0], payload[1]]) ^ u16::try_from(number).unwrap();
        zeros + head.count_ones()
    });
    let flips: Vec<u32> = flips.filter(|flips| *flips > 0).collect();
    assert_eq!(flips.len() as u64, world.trace().count(Fate::Corrupted));
    assert!((400..600).contains(&flips.len()) && flips.iter().all(|flips| *flips <= 8));
}

#[test]
fn marks_ce_above_a_queue_depth_what_is_capable() {
    let marks = |ecn| {
        let (world, server, _) = burst(Link::mbit(8).mark_above(2_500), 5, ecn);
        world.node(server).received.iter().map(|(_, _, ecn, _)| *ecn).collect::<Vec<_>>()
    };
    assert_eq!(marks(Ecn::Ect0), [Ecn::Ect0, Ecn::Ect0, Ecn::Ect0, Ecn::Ce, Ecn::Ce]);
    assert_eq!(marks(Ecn::NotEct), [Ecn::NotEct; 5]);
}

#[test]
fn ecn_faults() {
    let arrives = |fault, ecn| {
        let (world, server, _) = burst(Link::ideal().ecn(fault), 1, ecn);
        world.node(server).received.first().map(|(_, _, ecn, _)| *ecn)
    };
    assert_eq!(arrives(EcnFault::None, Ecn::Ect0), Some(Ecn::Ect0));
    assert_eq!(arrives(EcnFault::Bleach, Ecn::Ect0), Some(Ecn::NotEct));
    assert_eq!(arrives(EcnFault::Bleach, Ecn::Ce), Some(Ecn::NotEct));
    assert_eq!(arrives(EcnFault::BlackHole, Ecn::Ect0), None);
    assert_eq!(arrives(EcnFault::BlackHole, Ecn::NotEct), Some(Ecn::NotEct));
    assert_eq!(arrives(EcnFault::AllCe, Ecn::Ect1), Some(Ecn::Ce));
    assert_eq!(arrives(EcnFault::AllCe, Ecn::NotEct), Some(Ecn::NotEct));
    assert_eq!(arrives(EcnFault::Remark, Ecn::Ect0), Some(Ecn::Ect1));
}

#[test]
fn batches_are_cut_into_segments() {
    let (mut world, server, client) = pair(1, Peer::default(), Interface::at("10.0.0.2"));
    world.with(client, |peer, _| {
        peer.send_on(on(CLIENT, SERVER, 0), Ecn::NotEct, vec![7; 2500], Some(1000));
        peer.send(CLIENT, Ecn::NotEct, Vec::new());
    });
    world.run_for(Duration::ZERO);
    let sizes: Vec<usize> = world.node(server).received.iter().map(|(.., payload)| payload.len()).collect();
    assert_eq!(sizes, [1000, 1000, 500, 0]);
}

#[test]
fn hosts_with_several_interfaces_and_addresses() {
    let mut world = World::new(1);
    let server = world.host(Peer::echo(), [Interface::at("198.51.100.1").also("2001:db8::1")]);
    // Both interfaces have the same address, each behind its own NAT: only the tag tells them apart.
    let client = world.host(
        Peer::default(),
        [
            Interface::at("10.0.0.2").also("2001:db8::2").nat(Nat::at("203.0.113.7")),
            Interface::at("10.0.0.2").link(Link::ideal().delay_ms(1)).nat(Nat::at("203.0.113.8")),
        ],
    );
    world.with(client, |peer, _| {
        peer.send_on(on(CLIENT, SERVER, 2), Ecn::NotEct, vec![2], None);
        peer.send_on(on("0.0.0.0:5000", SERVER, 0), Ecn::NotEct, vec![1], None);
    });
    world.run_for(Duration::from_secs(1));
    let got: Vec<_> =
        world.node(client).received.iter().map(|(_, on, _, payload)| (*on, payload[0])).collect();
    assert_eq!(got, [(on(CLIENT, SERVER, 1), 1), (on(CLIENT, SERVER, 2), 2)]);
    let seen: Vec<_> =
        world.node(server).received.iter().map(|(_, on, ..)| on.remote.ip().to_string()).collect();
    assert_eq!(seen, ["203.0.113.7", "203.0.113.8"]);

    // Another local port needs no other interface; an address of nobody leads nowhere, from and to.
    world.interface(client, 0).set_address("10.0.0.9");
    world.with(client, |peer, _| {
        peer.send_on(on(CLIENT, SERVER, 1), Ecn::NotEct, vec![3], None);
        peer.send_on(on("10.0.0.9:5001", "198.51.100.77:443", 0), Ecn::NotEct, vec![4], None);
    });
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.trace().count(Fate::Unroutable), 2);
}

#[test]
fn families_choose_the_local_address() {
    let mut world = World::new(1);
    world.host(Peer::echo(), [Interface::at("2001:db8::1")]);
    let client = world.host(Peer::default(), [Interface::at("192.0.2.2"), Interface::at("2001:db8::2")]);
    world.with(client, |peer, _| {
        peer.send_on(on("[::]:5000", "[2001:db8::1]:443", 0), Ecn::NotEct, vec![1], None);
    });
    world.run_for(Duration::ZERO);
    assert_eq!(world.node(client).received[0].1, on("[2001:db8::2]:5000", "[2001:db8::1]:443", 2));
}

#[test]
fn nat_rebinds_in_the_middle_of_a_conversation() {
    let (mut world, server, client) = pair(
        1,
        Peer::echo(),
        Interface::at("10.0.0.2").link(Link::ideal().delay_ms(10)).nat(Nat::at("203.0.113.7")),
    );
    for millis in [0, 100, 200] {
        world.at_ms(millis, move |world| {
            world.with(client, |peer, _| peer.send(CLIENT, Ecn::NotEct, vec![1]));
        });
    }
    world.at_ms(50, move |world| world.interface(client, 0).nat_mut().rebind_port());
    // The answer to the second is past the NAT when its mapping goes.
    world.at_ms(115, move |world| world.interface(client, 0).nat_mut().rebind_address("203.0.113.99"));
    world.run_for(Duration::from_secs(1));
    let seen: Vec<SocketAddr> = world.node(server).received.iter().map(|(_, on, ..)| on.remote).collect();
    assert!(seen[0].ip() == seen[1].ip() && seen[0].port() != seen[1].port() && seen[1].ip() != seen[2].ip());
    assert_eq!(world.node(client).received.len(), 3);
    assert!(world.node(client).received.iter().all(|(_, at, ..)| *at == on(CLIENT, SERVER, 1)));
    world.inject(Datagram {
        source: address("198.51.100.66:1"),
        destination: seen[2],
        ecn: Ecn::NotEct,
        payload: vec![9],
    });
    world.run_for(Duration::from_secs(1));
    assert_eq!((world.node(client).received.len(), world.trace().count(Fate::Unmapped)), (3, 1));
}

#[test]
fn unplugged_interfaces_send_and_receive_nothing() {
    let (mut world, server, client) =
        pair(1, Peer::echo(), Interface::at("10.0.0.2").link(Link::ideal().delay_ms(10)));
    let say =
        move |world: &mut World<Peer>| world.with(client, |peer, _| peer.send(CLIENT, Ecn::NotEct, vec![1]));
    world.at_ms(0, say);
    world.at_ms(15, move |world| world.interface(client, 0).unplug());
    world.at_ms(30, say);
    world.at_ms(50, move |world| world.interface(client, 0).plug());
    world.at_ms(60, say);
    world.run_for(Duration::from_secs(1));
    assert_eq!((world.node(server).received.len(), world.node(client).received.len()), (2, 1));
}

#[test]
fn links_can_change() {
    let (mut world, server, client) =
        pair(1, Peer::default(), Interface::at("10.0.0.2").up(Link::ideal().delay_ms(50)));
    let say =
        move |world: &mut World<Peer>| world.with(client, |peer, _| peer.send(CLIENT, Ecn::NotEct, vec![1]));
    world.at_ms(0, say);
    world.at_ms(10, move |world| world.interface(client, 0).set_up(Link::ideal().drop_nth([1])));
    world.at_ms(20, say);
    world.at_ms(21, say);
    world.run_for(Duration::from_secs(1));
    let times: Vec<u64> = world.node(server).received.iter().map(|(at, ..)| at.as_micros()).collect();
    assert_eq!(times, [20_000, 50_000]);
}

#[test]
fn attackers_record_copy_forge_drop_and_delay() {
    let (mut world, server, client) =
        pair(1, Peer::default(), Interface::at("10.0.0.2").nat(Nat::at("203.0.113.7")));
    world.record();
    world.attack(|_, datagram| match datagram.payload[0] {
        b'd' => Vec::new(),
        b'c' => {
            let spoofed = Datagram { source: address("192.0.2.66:6"), ..datagram.clone() };
            vec![(Duration::from_millis(3), datagram), (Duration::ZERO, spoofed)]
        }
        _ => vec![(Duration::ZERO, datagram)],
    });
    world.with(client, |peer, _| {
        for text in ["pass", "drop", "copy"] {
            peer.send(CLIENT, Ecn::NotEct, text.into());
        }
    });
    world.run_for(Duration::from_secs(1));
    let got: Vec<(u64, String)> = world
        .node(server)
        .received
        .iter()
        .map(|(at, on, _, payload)| (at.as_micros(), format!("{} {}", on.remote.ip(), payload[0] as char)))
        .collect();
    let expected = [(0, "203.0.113.7 p"), (0, "192.0.2.66 c"), (3_000, "203.0.113.7 c")];
    assert_eq!(got, expected.map(|(at, text)| (at, text.to_owned())));
    let recorded: Vec<&[u8]> = world.recorded().iter().map(|(_, datagram)| &datagram.payload[..]).collect();
    assert_eq!(recorded, [b"pass", b"drop", b"copy"]);

    // What was recorded can be replayed later, from elsewhere.
    let replayed = Datagram { source: address("192.0.2.67:7"), ..world.recorded()[1].1.clone() };
    world.inject(replayed);
    world.run_for(Duration::ZERO);
    let (_, from, _, payload) = world.node(server).received.last().unwrap();
    assert_eq!((from.remote, &payload[..]), (address("192.0.2.67:7"), &b"drop"[..]));
    assert_eq!(world.trace().count(Fate::Injected), 1);
}

#[test]
fn timers_fire_at_their_moment_and_in_order_with_datagrams() {
    let (mut world, _, client) =
        pair(1, Peer::echo(), Interface::at("10.0.0.2").link(Link::ideal().delay_ms(5)));
    world.with(client, |peer, now| {
        peer.alarm = Deadline::at(now.after(Duration::from_millis(10)));
        peer.send(CLIENT, Ecn::NotEct, vec![1]);
    });
    let ending = world.run_until(Instant::from_micros(9_999), |_| false);
    assert_eq!((ending, world.node(client).alarms.len()), (Ending::TimeUp, 0));
    let ending = world.run_until(Instant::from_micros(20_000), |world| !world.node(client).alarms.is_empty());
    assert_eq!((ending, world.now()), (Ending::Done, Instant::from_micros(10_000)));
    assert_eq!(
        world.node(client).received.len(),
        1,
        "what arrives at the moment of a timer arrives before it fires"
    );
    assert_eq!(world.run_until(Instant::from_micros(20_000), |_| false), Ending::Quiet);
}

struct Stuck;

impl Node for Stuck {
    fn handle_datagram(&mut self, _: Instant, _: FourTuple, _: Ecn, _: &mut [u8]) {}

    fn poll_transmit(&mut self, _: Instant, _: &mut [u8]) -> Option<SimTransmit> {
        None
    }

    fn next_timeout(&self) -> Deadline {
        Deadline::at(Instant::from_micros(5))
    }

    fn handle_timeout(&mut self, _: Instant) {}
}

#[test]
#[should_panic(expected = "time stands still at 5 us")]
fn a_timer_that_does_not_move_on_is_found() {
    let mut world = World::new(1);
    world.host(Stuck, [Interface::at("192.0.2.1")]);
    world.run_for(Duration::from_millis(1));
}

/// A conversation over a link with every fault; returns the hash of its trace.
fn rough_conversation(seed: u64) -> u64 {
    let rough = Link::mbit(10)
        .delay_ms(20)
        .loss(0.1)
        .reorder(0.1, Duration::from_millis(10))
        .duplicate(0.1)
        .corrupt(0.1)
        .queue(20_000)
        .mark_above(10_000);
    let (mut world, _, client) =
        pair(seed, Peer::echo(), Interface::at("10.0.0.2").link(rough).nat(Nat::at("203.0.113.7")));
    for round in 0..20 {
        world.at_ms(round * 7, move |world| {
            world.with(client, |peer, _| {
                (0..20).for_each(|_| peer.send(CLIENT, Ecn::Ect0, vec![round as u8; SIZE]));
            });
        });
    }
    assert_eq!(world.run_until(Instant::from_micros(10_000_000), |_| false), Ending::Quiet);
    for fate in [Fate::Lost, Fate::Delayed, Fate::Duplicated, Fate::Corrupted, Fate::QueueFull, Fate::Marked]
    {
        assert!(world.trace().count(fate) > 0, "{fate:?}");
    }
    world.trace().hash()
}

#[test]
fn same_seed_same_trace() {
    assert_eq!(rough_conversation(42), rough_conversation(42));
    assert_ne!(rough_conversation(42), rough_conversation(43));
}
