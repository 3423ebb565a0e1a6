//! A server's preferred address (RFC 9000 9.6).

use std::net::SocketAddr;

use peregrine_core::connection::{Event, MoveCause, RouteError, RouteEvent};
use peregrine_core::ids::Dir;
use peregrine_core::path::Role;
use peregrine_tests::pair::{Pair, SERVER, open};
use peregrine_tests::quic::{App, QuicNode, Setup};
use peregrine_tests::sim::{Interface, Link, Nat, World};

const CLIENT: &str = "10.0.0.2";
const PREFERRED: &str = "192.0.2.99:4444";
const PREFERRED_V6: &str = "[2001:db8::99]:4446";

fn link() -> Link {
    Link::mbit(20).delay_ms(15)
}

/// A client with these interfaces, and a server that is at its own address and at the preferred ones.
fn pair(interfaces: impl IntoIterator<Item = Interface>, tune: impl FnOnce(&mut Setup, &mut Setup)) -> Pair {
    let (mut client, mut server) = (Setup::client(1), Setup::server(2));
    (client.app, server.app) = (App::None, App::None);
    server.endpoint.connection.preferred_v4 = PREFERRED.parse().ok();
    tune(&mut client, &mut server);
    let mut world = World::new(1);
    let client = world.host(QuicNode::new(client), interfaces);
    let address = |text: &str| text.parse::<SocketAddr>().unwrap().ip().to_string();
    let interface = Interface::at(&address(SERVER)).also(&address(PREFERRED)).also(&address(PREFERRED_V6));
    let server = world.host(QuicNode::new(server), [interface]);
    Pair { world, client, server }
}

fn moves(node: &QuicNode) -> Vec<MoveCause> {
    let cause = |event: &Event| match event {
        Event::Moved { cause, .. } => Some(*cause),
        _ => None,
    };
    node.events.iter().filter_map(|(_, _, event)| cause(event)).collect()
}

#[test]
fn both_sides_go_there_once_it_is_validated() {
    let mut pair = pair([Interface::at(CLIENT).link(link())], |_, _| {}).connected();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 1 << 20);
    assert_eq!(moves(pair.client_node()), [MoveCause::PreferredAddress]);
    assert_eq!(moves(pair.server_node()), [MoveCause::Peer]);
    let client = pair.client(|connection, _| connection.route().unwrap());
    let server = pair.server(|connection, _| connection.route().unwrap());
    assert_eq!((client.remote, server.local), (PREFERRED.parse().unwrap(), PREFERRED.parse().unwrap()));
    assert!(client.validated && server.validated);
}

#[test]
fn the_server_speaks_from_its_own_address_until_then() {
    let mut pair = pair([Interface::at(CLIENT).link(link())], |_, _| {});
    pair.world.record();
    let mut pair = pair.connected();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    pair.run_ms(40);
    pair.carry(false, id, 300_000);
    let recorded = pair.world.recorded();
    let preferred: SocketAddr = PREFERRED.parse().unwrap();
    let asked = recorded.iter().position(|(_, datagram)| datagram.destination == preferred).unwrap();
    let answered = recorded.iter().position(|(_, datagram)| datagram.source == preferred).unwrap();
    assert!(asked < answered);
}

/// A route in reserve is no move.
#[test]
fn a_route_that_is_only_opened_changes_nothing_of_where_the_client_speaks_from() {
    let interfaces = [Interface::at(CLIENT).link(link()), Interface::at("10.0.1.2").link(link())];
    let mut pair = pair(interfaces, |_, _| {}).connected();
    let reserve = "10.0.1.2:5000".parse().unwrap();
    pair.until("a connection ID", |pair| pair.told_client(Event::SpareCid));
    pair.client(|connection, now| connection.add_route(now, reserve, 2).unwrap());
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 1 << 20);
    assert_eq!(moves(pair.client_node()), [MoveCause::PreferredAddress]);
    let client = pair.client(|connection, _| connection.route().unwrap());
    assert_eq!((client.local.ip().to_string().as_str(), client.remote), (CLIENT, PREFERRED.parse().unwrap()));
}

/// The client's NAT forgets it while it is on its way to where the server wants it.
#[test]
fn both_ends_addresses_change_at_once() {
    for millis in [0, 20, 35, 50, 65] {
        let interface = Interface::at(CLIENT).link(link()).nat(Nat::at("198.51.100.1"));
        let mut pair = pair([interface], |_, _| {}).connected();
        pair.run_ms(millis);
        pair.world.interface(pair.client, 0).nat_mut().rebind_address("198.51.100.77");
        let id = pair.client(|connection, _| open(connection, Dir::Bi));
        pair.carry(true, id, 300_000);
        pair.carry(false, id, 300_000);
        let server = pair.server(|connection, _| connection.route().unwrap());
        assert_eq!(server.remote.ip().to_string(), "198.51.100.77", "after {millis} ms");
        assert_eq!(server.local, PREFERRED.parse().unwrap(), "after {millis} ms");
        assert!(server.validated);
    }
}

#[test]
fn an_address_where_nobody_is_leaves_the_connection_where_it_was() {
    let mut pair = pair([Interface::at(CLIENT).link(link())], |_, server| {
        server.endpoint.connection.preferred_v4 = "192.0.2.123:4444".parse().ok();
    })
    .connected();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 1 << 20);
    pair.run_ms(4_000);
    assert!(moves(pair.client_node()).is_empty());
    let failed = |(_, _, event): &(_, _, Event)| matches!(event, Event::Route(_, RouteEvent::Failed));
    assert!(pair.client_node().events.iter().any(failed));
    assert_eq!(pair.client(|connection, _| connection.route().unwrap().remote), SERVER.parse().unwrap());
}

#[test]
fn a_client_that_does_not_want_to_stays() {
    let mut pair = pair([Interface::at(CLIENT).link(link())], |client, _| {
        client.endpoint.connection.follow_preferred_address = false;
    })
    .connected();
    pair.run_ms(1_000);
    assert!(moves(pair.client_node()).is_empty());
    assert_eq!(pair.client(|connection, _| connection.routes().count()), 1);
}

#[test]
fn nothing_but_probes_goes_there_before() {
    let mut pair = pair([Interface::at(CLIENT).link(link())], |_, _| {}).connected();
    let awaited = pair
        .client(|connection, _| connection.routes().find(|route| route.role == Role::Awaited).unwrap().id);
    let refused = pair.client(|connection, now| connection.switch_route(now, awaited));
    assert_eq!(refused, Err(RouteError::Unvalidated));
}

#[test]
fn who_was_asked_not_to_migrate_may_once_it_is_there() {
    let second = "10.0.1.2:5000".parse().unwrap();
    let interfaces = [Interface::at(CLIENT).link(link()), Interface::at("10.0.1.2").link(link())];
    let mut pair =
        pair(interfaces, |_, server| server.endpoint.connection.disable_active_migration = true).connected();
    let refused = pair.client(|connection, now| connection.add_route(now, second, 2));
    assert_eq!(refused, Err(RouteError::Forbidden));
    pair.until("there", |pair| moves(pair.server_node()) == [MoveCause::Peer]);
    pair.run_ms(200);
    pair.client(|connection, now| connection.migrate(now, second, 2).unwrap());
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 100_000);
    let route = pair.client(|connection, _| connection.route().unwrap());
    assert_eq!((route.local, route.remote), (second, PREFERRED.parse().unwrap()));
}

#[test]
fn a_client_that_moves_meanwhile_tries_both_from_its_new_address() {
    let second = "10.0.1.2:5000".parse().unwrap();
    let interfaces = [Interface::at(CLIENT).link(link()), Interface::at("10.0.1.2").link(link())];
    let mut pair = pair(interfaces, |_, _| {}).connected();
    pair.client(|connection, now| connection.migrate(now, second, 2).unwrap());
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 300_000);
    let route = pair.client(|connection, _| connection.route().unwrap());
    assert_eq!((route.local, route.remote), (second, PREFERRED.parse().unwrap()));
    assert_eq!(moves(pair.client_node()), [MoveCause::Chosen, MoveCause::PreferredAddress]);
    assert!(pair.client_cause().is_none() && pair.server_cause().is_none());
}

#[test]
fn a_live_connection_goes_from_one_family_to_the_other() {
    let interface = Interface::at(CLIENT).also("2001:db8:1::2").link(link());
    let mut pair = pair([interface], |_, server| {
        server.endpoint.connection.preferred_v4 = None;
        server.endpoint.connection.preferred_v6 = PREFERRED_V6.parse().ok();
    })
    .connected();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 1 << 20);
    assert_eq!(moves(pair.client_node()), [MoveCause::PreferredAddress]);
    let server = pair.server(|connection, _| connection.route().unwrap());
    assert!(server.remote.is_ipv6() && server.local == PREFERRED_V6.parse().unwrap(), "{server:?}");
}
