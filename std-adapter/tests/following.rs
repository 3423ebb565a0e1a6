//! Clients that are told of networks, with addresses of the loopback link in their place.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use peregrine_core::connection::{PathView, ROUTES_PER_PATH};
use peregrine_core::path::Availability;
use peregrine_std::clock::Clock;
use peregrine_std::watch::{Place, Rank};
use peregrine_std::{Builder, Connection, Networks, OtherNetworks, Sizes};

mod common;
use common::{Pair, fetch, serve};

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// This host is on as many networks.
fn networks(count: u8) -> Networks {
    on(1..=count)
}

/// This host is on these networks.
fn on(links: impl IntoIterator<Item = u8>) -> Networks {
    let mut networks = Networks::default();
    for link in links {
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

/// Clients that use all networks at once, with this many paths at most.
fn bonding(paths: usize, status: Availability) -> impl Fn(Builder) -> Builder {
    move |builder| {
        let sizes = Sizes { paths, ..Sizes::default() };
        builder.multipath(|_| {}).sizes(sizes).other_networks(OtherNetworks::Paths(status))
    }
}

/// From where the paths are that carry data, or would if they were needed.
fn working(connection: &Connection) -> BTreeSet<IpAddr> {
    let is_good = |path: &PathView| path.abandoned.is_none() && !path.suspect;
    let routes = connection.paths().unwrap().into_iter().filter(is_good).filter_map(|path| path.route);
    routes.filter(|route| route.validated && !route.down).map(|route| route.local.ip()).collect()
}

fn addresses(lasts: impl IntoIterator<Item = u8>) -> BTreeSet<IpAddr> {
    lasts.into_iter().map(address).collect()
}

#[test]
fn who_knows_several_paths_has_one_from_each_network_as_it_comes_and_goes() {
    let pair = Pair::with(bonding(4, Availability::Available));
    let client = connect(&pair);
    for count in [2, 4, 1, 3] {
        pair.client.follow_networks(networks(count));
        let all = addresses(1..=count);
        wait_until("a path from each, and from no other", || working(&client) == all);
        fetch(&client, 100_000);
    }
    assert_eq!(pair.client.system_stats().routes_refused, 0);
}

#[test]
fn paths_in_reserve_are_backups_to_both_sides() {
    let pair = Pair::with(bonding(2, Availability::Backup));
    let (client, server) = pair.connect();
    let served = server.clone();
    thread::spawn(move || serve(&served));
    fetch(&client, 1000);
    pair.client.follow_networks(networks(2));
    wait_until("it works", || working(&client) == addresses([1, 2]));
    let statuses = |connection: &Connection| {
        let paths = connection.paths().unwrap();
        paths.iter().map(|path| (path.local_status, path.peer_status)).collect::<Vec<_>>()
    };
    wait_until("both know", || {
        statuses(&client)[1].0 == Availability::Backup && statuses(&server)[1].1 == Availability::Backup
    });
}

#[test]
fn more_networks_than_paths_leave_one_out_until_another_is_gone() {
    let pair = Pair::with(bonding(2, Availability::Available));
    let client = connect(&pair);
    pair.client.follow_networks(networks(3));
    wait_until("all paths are used", || working(&client) == addresses([1, 2]));
    pair.client.follow_networks(on([1, 3]));
    wait_until("the one that was left out comes", || working(&client) == addresses([1, 3]));
}

#[test]
fn with_a_server_of_one_path_there_are_routes() {
    let pair = Pair::with(|builder| builder.other_networks(OtherNetworks::Paths(Availability::Available)));
    let client = connect(&pair);
    pair.client.follow_networks(networks(2));
    wait_until("a route", || validated(&client).iter().any(|local| local.ip() == address(2)));
    assert!(!client.is_multipath().unwrap());
}
