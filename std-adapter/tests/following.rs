//! Clients that are told of networks, with addresses of the loopback link in their place.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use peregrine_core::connection::ROUTES_PER_PATH;
use peregrine_std::clock::Clock;
use peregrine_std::watch::{Place, Rank};
use peregrine_std::{Connection, Networks};

mod common;
use common::{Pair, fetch, serve};

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// This host is on as many networks.
fn networks(count: u8) -> Networks {
    let mut networks = Networks::default();
    for link in 1..=count {
        let place = Place { link: link.into(), loopback: true, software: false, era: 0, rank: Rank::First };
        networks.add(address(link), place);
    }
    networks
}

fn connect(pair: &Pair) -> Connection {
    let (client, server) = pair.connect();
    thread::spawn(move || serve(&server));
    fetch(&client, 1000);
    client
}

fn validated(connection: &Connection) -> BTreeSet<SocketAddr> {
    let routes = connection.routes().unwrap();
    routes.into_iter().filter(|route| route.validated).map(|route| route.local).collect()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let clock = Clock::start();
    while !is_so() {
        assert!(clock.now().as_micros() < 20_000_000, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_share_the_socket_of_a_network() {
    let pair = Pair::new();
    let clients = [connect(&pair), connect(&pair)];
    pair.client.follow_networks(networks(2));
    let from = |client| validated(client).into_iter().find(|local| local.ip() == address(2));
    wait_until("both have a route from there", || clients.iter().all(|client| from(client).is_some()));
    assert_eq!(from(&clients[0]), from(&clients[1]));
    assert_eq!(pair.client.system_stats().routes_refused, 0);
}

#[test]
fn where_there_is_less_room_than_networks_they_take_turns() {
    let pair = Pair::new();
    let client = connect(&pair);
    let count = ROUTES_PER_PATH as u8 + 1;
    pair.client.follow_networks(networks(count));
    wait_until("all rows are used", || validated(&client).len() == ROUTES_PER_PATH);
    wait_until("one had no room", || pair.client.system_stats().routes_refused == 1);
    let has = |last| validated(&client).iter().any(|local| local.ip() == address(last));
    assert!(has(1) && !has(count));
    let closed = client.routes().unwrap().into_iter().find(|route| route.local.ip() == address(2)).unwrap();
    client.close_route(closed.id).unwrap();
    wait_until("the one that was left out comes", || has(count));
    assert!(has(1) && !has(2));
}
