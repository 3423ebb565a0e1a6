//! Connection migration (RFC 9000 9): NAT rebinding, moves of a client's own will, spoofed and copied packets.

use std::time::Duration;

use peregrine_core::connection::{
    Event, MoveCause, NetworkChange, NoSpareCid, RouteError, RouteEvent, WhenSuspect,
};
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::lifecycle::Cause;
use peregrine_core::path::{Preference, Role};
use peregrine_tests::pair::{Pair, SERVER, open};
use peregrine_tests::quic::{QuicNode, Setup};
use peregrine_tests::sim::{Interface, Link, Nat, World};

const WIFI: &str = "10.0.0.2";
const CELLULAR: &str = "10.0.1.2";
const MIB: u64 = 1 << 20;

fn link() -> Link {
    Link::mbit(20).delay_ms(15)
}

fn slow_link() -> Link {
    Link::mbit(10).delay_ms(40)
}

fn behind_nat() -> Pair {
    let interface = Interface::at(WIFI).link(link()).nat(Nat::at("198.51.100.1"));
    Pair::on(1, interface, |_, _| {}).connected()
}

/// A phone: Wi-Fi and cellular.
fn phone(tune: impl FnOnce(&mut Setup, &mut Setup)) -> Pair {
    let interfaces = [Interface::at(WIFI).link(link()), Interface::at(CELLULAR).link(slow_link())];
    let mut pair = Pair::roaming(1, interfaces, tune).connected();
    // Connection IDs to move with.
    pair.run_ms(100);
    pair
}

fn cellular() -> std::net::SocketAddr {
    format!("{CELLULAR}:5000").parse().unwrap()
}

fn stream(pair: &mut Pair) -> StreamId {
    pair.client(|connection, _| open(connection, Dir::Bi))
}

fn client_moves(pair: &Pair) -> Vec<MoveCause> {
    moves(pair.client_node())
}

fn server_moves(pair: &Pair) -> Vec<MoveCause> {
    moves(pair.server_node())
}

fn moves(node: &QuicNode) -> Vec<MoveCause> {
    let cause = |event: &Event| match event {
        Event::Moved { cause, .. } => Some(*cause),
        _ => None,
    };
    node.events.iter().filter_map(|(_, _, event)| cause(event)).collect()
}

fn told_of_routes(node: &QuicNode) -> Vec<RouteEvent> {
    let what = |event: &Event| match event {
        Event::Route(_, what) => Some(*what),
        _ => None,
    };
    node.events.iter().filter_map(|(_, _, event)| what(event)).collect()
}

#[test]
fn a_nat_that_takes_another_port_is_followed_and_the_window_is_kept() {
    let mut pair = behind_nat();
    let id = stream(&mut pair);
    pair.carry(true, id, MIB);
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    pair.run_ms(200);
    pair.carry(false, id, 2 * MIB);
    let before = pair.server(|connection, _| connection.route().unwrap());
    pair.world.interface(pair.client, 0).nat_mut().rebind_port();
    let id = stream(&mut pair);
    pair.carry(true, id, 3000);
    pair.run_ms(300);
    let after = pair.server(|connection, _| connection.route().unwrap());
    assert_eq!(server_moves(&pair), [MoveCause::Peer]);
    assert_ne!(before.remote.port(), after.remote.port());
    assert!(after.validated && after.window >= before.window && after.rtt < Duration::from_millis(60));
    assert!(told_of_routes(pair.server_node()).contains(&RouteEvent::Validated));
}

#[test]
fn a_nat_that_takes_another_address_is_followed_and_everything_starts_anew() {
    let mut pair = behind_nat();
    let id = stream(&mut pair);
    pair.carry(true, id, MIB);
    pair.world.interface(pair.client, 0).nat_mut().rebind_address("198.51.100.77");
    let id = stream(&mut pair);
    pair.carry(true, id, 3000);
    pair.run_ms(300);
    let after = pair.server(|connection, _| connection.route().unwrap());
    assert_eq!(after.remote.ip().to_string(), "198.51.100.77");
    assert!(after.validated && after.min_rtt >= Duration::from_millis(30));
    assert!(after.window <= 14_720, "an initial window: {}", after.window);
}

#[test]
fn a_rebinding_in_the_middle_of_a_download_loses_nothing() {
    for (bytes, at) in [(MIB, 100), (MIB, 150), (2 * MIB, 333)] {
        let mut pair = behind_nat();
        let now = pair.world.now().as_micros() / 1000;
        let client = pair.client;
        pair.world.at_ms(now + at, move |world| {
            world.interface(client, 0).nat_mut().rebind_port();
        });
        let id = stream(&mut pair);
        pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
        pair.run_ms(40);
        pair.carry(false, id, bytes);
        assert_eq!(server_moves(&pair), [MoveCause::Peer]);
    }
}

#[test]
fn a_client_probes_another_network_then_moves_to_it() {
    let mut pair = phone(|_, _| {});
    let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
    pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
    pair.run_ms(200);
    assert!(server_moves(&pair).is_empty(), "probing packets move nobody");
    pair.client(|connection, now| connection.switch_route(now, route).unwrap());
    pair.run_ms(200);
    assert_eq!((client_moves(&pair), server_moves(&pair)), (vec![MoveCause::Chosen], vec![MoveCause::Peer]));
    let id = stream(&mut pair);
    pair.carry(true, id, 100_000);
    let at_server = pair.server(|connection, _| connection.route().unwrap());
    assert!(at_server.remote == cellular() && at_server.validated && at_server.mtu > 1200, "{at_server:?}");
}

#[test]
fn a_client_moves_at_once_and_validates_meanwhile() {
    let mut pair = phone(|_, _| {});
    pair.world.interface(pair.client, 0).unplug();
    pair.client(|connection, now| connection.migrate(now, cellular(), 2).unwrap());
    let id = stream(&mut pair);
    pair.carry(true, id, 100_000);
    assert_eq!((client_moves(&pair), server_moves(&pair)), (vec![MoveCause::Chosen], vec![MoveCause::Peer]));
    assert!(pair.client(|connection, _| connection.route().unwrap().validated));
}

#[test]
fn no_connection_id_is_seen_on_both_networks() {
    let mut pair = phone(|_, _| {});
    pair.world.record();
    let id = stream(&mut pair);
    pair.carry(true, id, 100_000);
    let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
    pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
    pair.client(|connection, now| connection.switch_route(now, route).unwrap());
    let id = stream(&mut pair);
    pair.carry(true, id, 100_000);
    let dcids = |of: &str, outward: bool| -> std::collections::BTreeSet<Vec<u8>> {
        let recorded = pair.world.recorded().iter();
        let ours = |address: std::net::SocketAddr| address.ip().to_string() == of;
        recorded
            .filter(|(_, datagram)| ours(if outward { datagram.source } else { datagram.destination }))
            .map(|(_, datagram)| datagram.payload[1..9].to_vec())
            .collect()
    };
    for outward in [false, true] {
        let (wifi, cellular) = (dcids(WIFI, outward), dcids(CELLULAR, outward));
        assert!(!wifi.is_empty() && !cellular.is_empty());
        assert!(wifi.is_disjoint(&cellular), "outward {outward}: {wifi:?} {cellular:?}");
    }
}

/// What a client sends first after a move says that it has moved, even if it has nothing to say.
#[test]
fn the_first_datagram_after_a_move_moves_the_server() {
    let mut pair = phone(|_, _| {});
    pair.run_ms(1_000);
    pair.world.record();
    pair.client(|connection, now| connection.migrate(now, cellular(), 2).unwrap());
    pair.until("moved", |pair| server_moves(pair) == [MoveCause::Peer]);
    let from_there = |of: &str| {
        let ours = |address: std::net::SocketAddr| address.ip().to_string() == of;
        pair.world.recorded().iter().filter(|(_, datagram)| ours(datagram.source)).count()
    };
    assert_eq!(from_there(CELLULAR), 1);
}

#[test]
fn a_spoofed_address_and_silence_there_the_old_route_is_taken_again() {
    let mut pair = behind_nat();
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    pair.run_ms(40);
    // The next packet of the client arrives from somewhere else, and only there.
    let mut spoofed = 0;
    pair.world.attack(move |_, mut datagram| {
        if datagram.destination == SERVER.parse().unwrap() && spoofed == 0 {
            spoofed += 1;
            datagram.source = "203.0.113.66:6666".parse().unwrap();
        }
        vec![(Duration::ZERO, datagram)]
    });
    pair.client(|connection, _| connection.ping());
    pair.until("moved", |pair| server_moves(pair) == [MoveCause::Peer]);
    let (moved, pto) = (pair.world.now(), pair.client(|connection, _| connection.route().unwrap().rtt) * 3);
    pair.until("back", |pair| server_moves(pair) == [MoveCause::Peer; 2]);
    // The challenge on the old route draws a packet that is no probe (RFC 9000 9.3.3): a round trip, not three PTOs.
    assert!(pair.world.now().since(moved) < pto.into(), "{:?}", pair.world.now().since(moved));
    pair.carry(false, id, MIB);
    assert!(pair.server_cause().is_none());
    let route = pair.server(|connection, _| connection.route().unwrap());
    assert_eq!(route.remote.ip().to_string(), "198.51.100.1", "{:?}", server_moves(&pair));
}

#[test]
fn with_nobody_speaking_a_failed_validation_leads_back() {
    let mut pair = behind_nat();
    pair.run_ms(500);
    // From now on the client hears nothing, so that it says nothing either.
    let mut first = true;
    pair.world.attack(move |_, mut datagram| {
        if datagram.destination == SERVER.parse().unwrap() && first {
            first = false;
            datagram.source = "203.0.113.66:6666".parse().unwrap();
            return vec![(Duration::ZERO, datagram)];
        }
        vec![]
    });
    pair.client(|connection, _| connection.ping());
    pair.until("moved", |pair| server_moves(pair) == [MoveCause::Peer]);
    let moved = pair.world.now();
    pair.until("back", |pair| server_moves(pair).len() == 2);
    assert_eq!(server_moves(&pair), [MoveCause::Peer, MoveCause::Fallback]);
    // Three probe timeouts of a route of which nothing is known.
    let waited = pair.world.now().since(moved);
    assert!(waited <= Duration::from_millis(3_000).into(), "{waited:?}");
    assert!(told_of_routes(pair.server_node()).contains(&RouteEvent::Failed));
}

#[test]
fn an_address_that_was_never_proved_is_sent_no_more_than_three_times_what_came() {
    let mut pair = behind_nat();
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    pair.run_ms(40);
    pair.server(|connection, _| {
        connection.write_stream(id, &[7; 30_000]).unwrap();
    });
    pair.world.record();
    let mut first = true;
    pair.world.attack(move |_, mut datagram| {
        if datagram.destination == SERVER.parse().unwrap() {
            if !first {
                return vec![];
            }
            first = false;
            datagram.source = "203.0.113.66:6666".parse().unwrap();
        }
        vec![(Duration::ZERO, datagram)]
    });
    pair.run_ms(6_000);
    let (mut came, mut went) = (0, 0);
    for (_, datagram) in pair.world.recorded() {
        if datagram.source.ip().to_string() == "203.0.113.66" {
            came += datagram.payload.len();
        }
        if datagram.destination.ip().to_string() == "203.0.113.66" {
            went += datagram.payload.len();
        }
    }
    assert!(went > 0, "it was probed");
    assert!(went <= 3 * came.max(1) || came == 0, "{went} for {came}");
}

#[test]
fn copies_that_overtake_the_genuine_packets_do_not_keep_the_connection() {
    // An attacker beside the path forwards a copy of each packet from its own address, a little faster, for a while.
    let mut pair = behind_nat();
    let mut copies = 0;
    pair.world.attack(move |_, datagram| {
        if datagram.destination != SERVER.parse().unwrap() || copies >= 20 {
            return vec![(Duration::from_millis(1), datagram)];
        }
        copies += 1;
        let mut copy = datagram.clone();
        copy.source = "203.0.113.66:6666".parse().unwrap();
        vec![(Duration::ZERO, copy), (Duration::from_millis(1), datagram)]
    });
    let id = stream(&mut pair);
    pair.carry(true, id, MIB);
    pair.run_ms(500);
    let route = pair.server(|connection, _| connection.route().unwrap());
    assert_eq!(route.remote.ip().to_string(), "198.51.100.1");
    assert!(pair.server_cause().is_none() && pair.client_cause().is_none());
}

#[test]
fn a_storm_of_addresses_is_refused_and_harms_nobody() {
    let mut pair = behind_nat();
    let mut nth = 0_u32;
    pair.world.attack(move |_, datagram| {
        if datagram.destination != SERVER.parse().unwrap() {
            return vec![(Duration::ZERO, datagram)];
        }
        // Ten copies of each packet, each from an address of its own, before the packet itself.
        let mut all: Vec<_> = (0..10)
            .map(|_| {
                nth += 1;
                let mut copy = datagram.clone();
                copy.source = (std::net::Ipv4Addr::from(0x0c00_0000 + nth), 999).into();
                (Duration::ZERO, copy)
            })
            .collect();
        all.push((Duration::from_micros(10), datagram));
        all
    });
    let id = stream(&mut pair);
    pair.carry(true, id, 2 * MIB);
    assert!(pair.server_cause().is_none());
    let routes = pair.server(|connection, _| connection.routes().count());
    assert!(routes <= 3, "{routes}");
}

#[test]
fn a_client_that_only_receives_is_followed_when_its_nat_rebinds() {
    let mut pair = behind_nat();
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    pair.run_ms(500);
    pair.world.interface(pair.client, 0).nat_mut().rebind_port();
    pair.client(|connection, _| connection.ping());
    pair.carry(false, id, 300_000);
    assert_eq!(server_moves(&pair), [MoveCause::Peer]);
}

#[test]
fn a_rebinding_during_the_handshake_moves_nobody() {
    let interface = Interface::at(WIFI).link(link()).nat(Nat::at("198.51.100.1"));
    let mut pair = Pair::on(1, interface, |_, _| {});
    pair.connect(&[]);
    pair.run_ms(20);
    pair.world.interface(pair.client, 0).nat_mut().rebind_port();
    pair.run_ms(45_000);
    assert!(pair.client_cause().is_some(), "it fails by its timeout");
    assert!(moves(pair.server_node()).is_empty());
}

#[test]
fn without_a_spare_connection_id_the_policy_decides() {
    for policy in [NoSpareCid::Reuse, NoSpareCid::Drop] {
        let interface = Interface::at(WIFI).link(link()).nat(Nat::at("198.51.100.1"));
        let mut pair = Pair::on(1, interface, |client, server| {
            // The client supplies none but the one of the handshake.
            client.sizes.cids = 1;
            server.endpoint.connection.no_spare_cid = policy;
        })
        .connected();
        pair.run_ms(100);
        pair.world.interface(pair.client, 0).nat_mut().rebind_port();
        pair.client(|connection, _| connection.ping());
        pair.run_ms(400);
        let told = pair.told_server(Event::NoSpareCid);
        assert!(told, "{policy:?}");
        let moved = server_moves(&pair) == [MoveCause::Peer];
        assert_eq!(moved, policy == NoSpareCid::Reuse);
    }
}

#[test]
fn a_server_that_forbids_it_is_not_migrated_from() {
    let mut pair = phone(|_, server| server.endpoint.connection.disable_active_migration = true);
    let refused = pair.client(|connection, now| connection.add_route(now, cellular(), 2));
    assert_eq!(refused, Err(RouteError::Forbidden));
    // A NAT may move the client nevertheless.
    let interface = Interface::at(WIFI).link(link()).nat(Nat::at("198.51.100.1"));
    let mut pair = Pair::on(1, interface, |_, server| {
        server.endpoint.connection.disable_active_migration = true;
    })
    .connected();
    pair.run_ms(100);
    pair.world.interface(pair.client, 0).nat_mut().rebind_port();
    let id = stream(&mut pair);
    pair.carry(true, id, 10_000);
    assert_eq!(server_moves(&pair), [MoveCause::Peer]);
}

#[test]
fn a_policy_refuses_addresses_and_the_connection_goes_on_where_it_was() {
    let interface = Interface::at(WIFI).link(link()).nat(Nat::at("198.51.100.1"));
    let mut pair = Pair::on(1, interface, |_, server| {
        server.endpoint.connection.migration_policy = |from, to| from.remote.ip() == to.remote.ip();
    })
    .connected();
    pair.run_ms(100);
    pair.world.interface(pair.client, 0).nat_mut().rebind_address("198.51.100.77");
    pair.client(|connection, _| connection.ping());
    pair.run_ms(300);
    assert!(pair.told_server(Event::PolicyRefused) && server_moves(&pair).is_empty());
}

#[test]
fn only_clients_move_and_only_once_confirmed() {
    let mut pair = phone(|_, _| {});
    let refused = pair.server(|connection, now| connection.add_route(now, cellular(), 2));
    assert_eq!(refused, Err(RouteError::Server));
    let interfaces = [Interface::at(WIFI).link(link()), Interface::at(CELLULAR).link(slow_link())];
    let mut early = Pair::roaming(1, interfaces, |_, _| {});
    early.connect(&[]);
    let refused = early.client(|connection, now| connection.migrate(now, cellular(), 2));
    assert_eq!(refused, Err(RouteError::Unconfirmed));
}

#[test]
fn the_way_back_is_taken_up_with_what_was_known() {
    let mut pair = phone(|_, _| {});
    let id = stream(&mut pair);
    pair.carry(true, id, MIB);
    let wifi = pair.client(|connection, _| connection.route().unwrap());
    let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
    pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
    pair.client(|connection, now| connection.switch_route(now, route).unwrap());
    pair.run_ms(2_000);
    pair.client(|connection, now| connection.switch_route(now, wifi.id).unwrap());
    let back = pair.client(|connection, _| connection.route().unwrap());
    assert!(back.window >= wifi.window && back.rtt < Duration::from_millis(100), "{back:?}");
    let id = stream(&mut pair);
    pair.carry(true, id, 100_000);
    assert_eq!(server_moves(&pair), [MoveCause::Peer, MoveCause::Peer]);
}

#[test]
fn a_route_that_cannot_be_reached_fails_and_the_connection_goes_on() {
    let mut pair = phone(|client, _| client.endpoint.connection.when_suspect = WhenSuspect::Tell);
    pair.world.interface(pair.client, 1).unplug();
    let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
    let id = stream(&mut pair);
    pair.carry(true, id, MIB);
    pair.until("failed", |pair| pair.told_client(Event::Route(route, RouteEvent::Failed)));
    assert!(client_moves(&pair).is_empty());
    // Moved there at once, it leads back.
    pair.run_ms(500);
    pair.client(|connection, now| connection.migrate(now, cellular(), 2).unwrap());
    pair.until("back", |pair| client_moves(pair) == [MoveCause::Chosen, MoveCause::Fallback]);
    let id = stream(&mut pair);
    pair.carry(true, id, 10_000);
}

#[test]
fn an_address_that_is_gone_is_left_for_the_next_best() {
    let mut pair = phone(|_, _| {});
    let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
    pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
    pair.world.interface(pair.client, 0).unplug();
    pair.client(|connection, now| {
        connection.network_changed(now, NetworkChange::AddressGone(WIFI.parse().unwrap()));
    });
    assert_eq!(pair.client(|connection, _| connection.route().unwrap().id), route);
    let id = stream(&mut pair);
    pair.carry(true, id, 100_000);
}

#[test]
fn who_has_lost_all_networks_waits_for_one_until_the_idle_timeout() {
    let mut pair = phone(|_, _| {});
    pair.world.interface(pair.client, 0).unplug();
    pair.client(|connection, now| {
        connection.network_changed(now, NetworkChange::AddressGone(WIFI.parse().unwrap()));
    });
    pair.run_ms(5_000);
    assert!(pair.client_cause().is_none());
    pair.client(|connection, now| connection.migrate(now, cellular(), 2).unwrap());
    let id = stream(&mut pair);
    pair.carry(true, id, 100_000);
    pair.world.interface(pair.client, 1).unplug();
    pair.client(|connection, now| {
        connection.network_changed(now, NetworkChange::AddressGone(CELLULAR.parse().unwrap()));
    });
    pair.run_ms(40_000);
    assert_eq!(pair.client_cause(), Some(Cause::Idle));
}

#[test]
fn routes_that_were_left_are_given_up_and_their_connection_ids_retired() {
    let mut pair = phone(|_, server| server.endpoint.connection.max_idle_timeout = Duration::ZERO);
    for round in 0_u16..6 {
        let local = format!("{CELLULAR}:{}", 6000 + round).parse().unwrap();
        let route = pair.client(|connection, now| connection.add_route(now, local, 2).unwrap());
        pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
        pair.client(|connection, now| connection.switch_route(now, route).unwrap());
        let id = stream(&mut pair);
        pair.carry(true, id, 10_000);
        pair.run_ms(1_000);
    }
    for routes in [
        pair.client(|connection, _| connection.routes().collect::<Vec<_>>()),
        pair.server(|connection, _| connection.routes().collect::<Vec<_>>()),
    ] {
        assert!(routes.len() <= 3);
        assert_eq!(routes.iter().filter(|route| route.role == Role::Active).count(), 1);
    }
}

/// A download over Wi-Fi, whose link dies without a word after so many milliseconds; how long the client then was without
/// data, and when it was told that the route is suspect.
fn unwarned_loss(tune: impl FnOnce(&mut Setup, &mut Setup)) -> Pair {
    let mut pair = phone(tune);
    let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
    pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    pair.run_ms(40);
    let (now, client) = (pair.world.now().as_micros() / 1000, pair.client);
    pair.world.at_ms(now + 300, move |world| world.interface(client, 0).unplug());
    pair.carry(false, id, 2 * MIB);
    pair
}

#[test]
fn a_client_that_downloads_notices_silence_and_moves_by_itself() {
    let pair = unwarned_loss(|_, _| {});
    assert_eq!(
        (client_moves(&pair), server_moves(&pair)),
        (vec![MoveCause::Liveness], vec![MoveCause::Peer])
    );
    let told = |what: &dyn Fn(&Event) -> bool| {
        let events = pair.client_node().events.iter();
        events.filter(|(_, _, event)| what(event)).map(|(at, _, _)| *at).next().unwrap()
    };
    let suspect = told(&|event| matches!(event, Event::Route(_, RouteEvent::Suspect)));
    let moved = told(&|event| matches!(event, Event::Moved { .. }));
    assert_eq!(suspect, moved);
    let mut last = pair
        .client_node()
        .events
        .iter()
        .filter(|(at, _, event)| *at < moved && matches!(event, Event::Stream(_)));
    let silence = moved.since(last.next_back().unwrap().0);
    // Twice the probe timeout, whose estimate is a client's that seldom has something to measure.
    assert!(silence < Duration::from_millis(300).into(), "{silence:?}");
}

/// A tunnel: nothing comes through for a while, and no system says so. A probe timeout has doubled until then, to as long as the
/// tunnel or beyond the idle timeout.
#[test]
fn after_an_outage_that_nobody_told_of_all_goes_on_soon() {
    for (up, rows) in [(false, 256), (true, 256), (false, 16), (true, 16)] {
        for outage in [2_000, 5_000, 12_000, 25_000] {
            let mut pair = phone(|client, _| client.sizes.sent = rows);
            let id = stream(&mut pair);
            pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
            pair.run_ms(40);
            let (now, client) = (pair.world.now().as_micros() / 1000, pair.client);
            let back = now + 100 + outage;
            pair.world.at_ms(now + 100, move |world| world.interface(client, 0).unplug());
            pair.world.at_ms(back, move |world| world.interface(client, 0).plug());
            let id = if up { stream(&mut pair) } else { id };
            pair.carry(up, id, 300_000);
            let since = pair.world.now().as_micros() / 1000 - back;
            assert!(
                since < 700 + outage / 16,
                "up {up}, {rows} rows, {outage} ms of outage: all came {since} ms after it"
            );
        }
    }
}

/// The server has probed in vain for most of the outage: its next probe by itself would come as late again.
#[test]
fn a_server_that_hears_its_client_again_does_not_wait_for_its_next_probe() {
    for outage in [2_000, 5_000, 20_000] {
        let mut pair = phone(|client, _| client.endpoint.connection.when_suspect = WhenSuspect::Tell);
        let id = stream(&mut pair);
        pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
        pair.run_ms(40);
        let (now, client) = (pair.world.now().as_micros() / 1000, pair.client);
        let back = now + 100 + outage;
        let tell = move |world: &mut World<QuicNode>, change| {
            world.with(client, |node, now| {
                let handle = node.opened[0];
                node.connection(handle).network_changed(now, change);
            });
        };
        let wifi = WIFI.parse().unwrap();
        pair.world.at_ms(now + 100, move |world| {
            world.interface(client, 0).unplug();
            tell(world, NetworkChange::AddressGone(wifi));
        });
        pair.world.at_ms(back, move |world| {
            world.interface(client, 0).plug();
            tell(world, NetworkChange::AddressBack(wifi));
        });
        pair.carry(false, id, MIB);
        let since = pair.world.now().as_micros() / 1000 - back;
        assert!(since < 2_000, "{outage} ms of outage: all came {since} ms after it");
    }
}

#[test]
fn without_leave_the_application_is_told_and_nothing_moves() {
    let mut pair = phone(|client, _| {
        client.endpoint.connection.when_suspect = WhenSuspect::Tell;
    });
    let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
    pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
    pair.world.interface(pair.client, 0).unplug();
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    pair.run_ms(1_000);
    assert!(told_of_routes(pair.client_node()).contains(&RouteEvent::Suspect));
    assert!(client_moves(&pair).is_empty());
}

#[test]
fn an_idle_connection_is_not_asked_whether_it_lives() {
    let mut pair = phone(|_, _| {});
    let id = stream(&mut pair);
    pair.carry(true, id, 10_000);
    pair.run_ms(1_000);
    let before = pair.client(|connection, _| connection.stats().sent_packets);
    pair.run_ms(10_000);
    assert_eq!(pair.client(|connection, _| connection.stats().sent_packets), before);
}

#[test]
fn a_client_gets_a_token_for_its_new_address() {
    let mut pair = phone(|_, _| {});
    let tokens = |pair: &Pair| {
        pair.client_node().events.iter().filter(|(_, _, event)| matches!(event, Event::Token)).count()
    };
    assert_eq!(tokens(&pair), 1);
    let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
    pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
    pair.client(|connection, now| connection.switch_route(now, route).unwrap());
    pair.run_ms(500);
    assert_eq!(tokens(&pair), 2);
    let wifi = format!("{WIFI}:7000").parse().unwrap();
    pair.client(|connection, now| connection.migrate(now, wifi, 1).unwrap());
    pair.run_ms(500);
    assert_eq!(tokens(&pair), 3);
}

#[test]
fn a_client_that_moved_and_lost_its_state_is_believed() {
    let mut pair = phone(|_, _| {});
    pair.client(|connection, now| connection.migrate(now, cellular(), 2).unwrap());
    let id = stream(&mut pair);
    pair.carry(true, id, 10_000);
    pair.run_ms(500);
    pair.world.with(pair.client, |node, _| {
        let handle = node.latest().unwrap();
        node.endpoint.take(handle).unwrap();
    });
    pair.server(|connection, _| connection.ping());
    pair.run_ms(1_000);
    assert_eq!(pair.server_cause(), Some(Cause::StatelessReset));
}

#[test]
fn flow_labels_change_with_the_addresses_and_are_no_link_between_them() {
    let interfaces = [
        Interface::at(WIFI).also("2001:db8:1::2").link(link()),
        Interface::at(CELLULAR).also("2001:db8:2::2").link(slow_link()),
    ];
    let mut pair = Pair::roaming(1, interfaces, |_, server| {
        server.endpoint.connection.preferred_v6 = "[2001:db8::99]:4446".parse().ok();
    });
    pair.world.interface(pair.server, 0).set_address("192.0.2.9");
    pair.world.interface(pair.server, 0).add_address("2001:db8::99");
    let mut pair = pair.connected();
    let labels = |pair: &Pair, of: &str| -> std::collections::BTreeSet<u32> {
        let sent = pair.client_node().labels.iter();
        sent.filter(|(local, _)| local.ip().to_string() == of).map(|(_, label)| *label).collect()
    };
    pair.until("over IPv6", |pair| client_moves(pair) == [MoveCause::PreferredAddress]);
    let id = stream(&mut pair);
    pair.carry(true, id, 50_000);
    let second = "[2001:db8:2::2]:5000".parse().unwrap();
    pair.client(|connection, now| connection.migrate(now, second, 2).unwrap());
    let id = stream(&mut pair);
    pair.carry(true, id, 50_000);
    let (first, second) = (labels(&pair, "2001:db8:1::2"), labels(&pair, "2001:db8:2::2"));
    assert_eq!((first.len(), second.len()), (1, 1), "{first:?} {second:?}");
    assert!(first.is_disjoint(&second) && !first.contains(&0));
    assert!(labels(&pair, WIFI).is_empty(), "IPv4 has none");
}

#[test]
fn a_client_returns_by_itself_to_the_network_it_prefers() {
    let mut pair = phone(|client, _| client.endpoint.connection.choose_automatically = true);
    let wifi = pair.client(|connection, _| connection.route().unwrap().id);
    let metered = pair.client(|connection, now| {
        let route = connection.add_route(now, cellular(), 2).unwrap();
        connection.set_preference(now, route, Preference::METERED).unwrap();
        route
    });
    pair.until("validated", |pair| pair.told_client(Event::Route(metered, RouteEvent::Validated)));
    assert!(client_moves(&pair).is_empty(), "what costs is not taken without need");
    pair.world.interface(pair.client, 0).unplug();
    let id = stream(&mut pair);
    pair.carry(true, id, 100_000);
    assert_eq!(client_moves(&pair), [MoveCause::Liveness]);
    // Wi-Fi is back, at another address.
    pair.world.interface(pair.client, 0).plug();
    pair.client(|connection, _| connection.close_route(wifi).ok());
    let back = pair.client(|connection, now| {
        connection.add_route(now, format!("{WIFI}:7000").parse().unwrap(), 1).unwrap()
    });
    pair.until("back", |pair| client_moves(pair) == [MoveCause::Liveness, MoveCause::Preference]);
    assert_eq!(pair.client(|connection, _| connection.route().unwrap().id), back);
    let id = stream(&mut pair);
    pair.carry(true, id, 100_000);
}

#[test]
fn a_route_that_is_never_to_be_used_is_not_even_in_need() {
    let mut pair = phone(|_, _| {});
    let route = pair.client(|connection, now| {
        let route = connection.add_route(now, cellular(), 2).unwrap();
        connection.set_preference(now, route, Preference::NEVER).unwrap();
        route
    });
    pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
    pair.world.interface(pair.client, 0).unplug();
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    pair.run_ms(2_000);
    assert!(client_moves(&pair).is_empty());
    pair.client(|connection, now| connection.switch_route(now, route).unwrap());
    pair.run_ms(500);
    assert_eq!(server_moves(&pair), [MoveCause::Peer], "{id:?}");
}

#[test]
fn the_application_may_bound_how_long_a_silence_is_borne() {
    let silence = |after: Option<Duration>| {
        let mut pair = phone(|client, _| client.endpoint.connection.suspect_after = after);
        let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
        pair.until("validated", |pair| pair.told_client(Event::Route(route, RouteEvent::Validated)));
        pair.world.interface(pair.client, 0).unplug();
        let id = stream(&mut pair);
        pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
        let from = pair.world.now();
        pair.until("moved", |pair| client_moves(pair) == [MoveCause::Liveness]);
        pair.world.now().since(from)
    };
    let (usual, bounded) = (silence(None), silence(Some(Duration::from_millis(80))));
    assert!(bounded <= Duration::from_millis(80).into() && bounded < usual, "{bounded:?} {usual:?}");
}

#[test]
fn a_slow_route_is_understood_beside_a_fast_one_that_overtakes_it() {
    let fast = Interface::at(WIFI).link(Link::mbit(100).delay_ms(5));
    let slow = Interface::at(CELLULAR).link(Link::mbit(10).delay_ms(200));
    let mut pair = Pair::roaming(1, [fast, slow], |_, _| {}).connected();
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    pair.run_ms(100);
    let opened = pair.world.now();
    let route = pair.client(|connection, now| connection.add_route(now, cellular(), 2).unwrap());
    pair.carry(false, id, 8 * MIB);
    let validated = |(at, _, event): &(_, _, Event)| {
        (*event == Event::Route(route, RouteEvent::Validated)).then_some(*at)
    };
    let validated = pair.client_node().events.iter().find_map(validated);
    let took = validated.expect("validated during the download").since(opened);
    assert!(took < Duration::from_millis(420).into(), "one round trip: {took:?}");
}
