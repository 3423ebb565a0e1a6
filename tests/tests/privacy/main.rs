//! What somebody who records both networks of a client that moves may find in its datagrams (RFC 9000 9.5): nothing that
//! belongs to both. Over loopback sockets, through a relay that is the two networks.

#[path = "../peers/mod.rs"]
#[expect(dead_code, reason = "the tests with quinn use all of it")]
mod peers;
#[path = "../peers/quinn.rs"]
#[expect(dead_code, reason = "the tests with quinn use all of it")]
mod stack;
mod tap;

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use peregrine_core::connection::WhenSuspect;
use peregrine_std::{Connection, Endpoint};

use peers::app::{Line, get_and, put, serve};
use peers::pki::Authority;
use peers::theirs::{self, Theirs};
use peers::{ELSEWHERE, NAME, bounded, ours};
use tap::{Network, Tap};

const LEN: u64 = 2 << 20;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// Downloads, with a move half way, and then uploads.
fn transfer(line: &impl Line, act: impl FnOnce()) {
    let mut act = Some(act);
    get_and(line, LEN, |got| {
        if let Some(act) = act.take_if(|_| got > LEN / 2) {
            act();
        }
    });
    put(line, LEN);
}

fn client(authority: &Authority) -> Endpoint {
    // Only the test moves it.
    let stay =
        |builder: peregrine_std::Builder| builder.tune(|config| config.when_suspect = WhenSuspect::Tell);
    ours::client_with(ours::client_tls(authority), stay)
}

fn move_when_tried(line: &Connection) {
    let route = line.add_route(ELSEWHERE).unwrap();
    line.wait_route(route, PATIENCE).unwrap();
    line.switch_route(route).unwrap();
}

fn move_at_once(line: &Connection) {
    line.migrate(ELSEWHERE).unwrap();
}

/// Our client moves, or tries the route before; the server is ours, then quinn's.
fn our_client(act: fn(&Connection), tries: bool) {
    bounded(move || {
        let authority = Authority::new("ours");
        let ours = ours::server(ours::server_tls(&authority));
        let theirs = Theirs::server(theirs::server_config(&authority));
        for server in [ours.local_addrs()[0], theirs.address()] {
            let tap = Tap::on_the_way_to(server);
            let here = client(&authority);
            let line = here.connect(tap.address(), NAME).unwrap();
            let serving = if server == theirs.address() {
                serve(theirs.accept().unwrap())
            } else {
                serve(ours::accept(&ours))
            };
            transfer(&line, || act(&line));
            Line::close(&line, 0, "");
            line.closed();
            serving.join().unwrap();
            // quinn answers a client that tries a route over the connection ID of the route in use (its issue 2184).
            judge(&tap.networks(), server == theirs.address() && tries);
        }
    });
}

#[test]
fn a_client_that_tries_a_route_and_takes_it() {
    our_client(move_when_tried, true);
}

#[test]
fn a_client_that_moves_at_once() {
    our_client(move_at_once, false);
}

#[test]
fn a_client_of_quinn() {
    bounded(|| {
        let authority = Authority::new("ours");
        let server = ours::server(ours::server_tls(&authority));
        let tap = Tap::on_the_way_to(server.local_addrs()[0]);
        let there = Theirs::client(theirs::client_config(&authority));
        let line = there.connect(tap.address()).unwrap();
        let serving = serve(ours::accept(&server));
        transfer(&line, || there.rebind(UdpSocket::bind(ELSEWHERE).unwrap()));
        Line::close(&line, 0, "");
        serving.join().unwrap();
        judge(&tap.networks(), false);
    });
}

#[test]
fn a_nat_can_be_followed_without_doubt() {
    // The same search finds what there is to find: a NAT changes addresses and nothing else.
    bounded(|| {
        let authority = Authority::new("ours");
        let server = ours::server(ours::server_tls(&authority));
        let tap = Tap::on_the_way_to(server.local_addrs()[0]);
        let here = client(&authority);
        let line = here.connect(tap.address(), NAME).unwrap();
        let serving = serve(ours::accept(&server));
        transfer(&line, || assert_eq!(here.rebind(ELSEWHERE).unwrap().ip(), ELSEWHERE.ip()));
        Line::close(&line, 0, "");
        serving.join().unwrap();
        let networks = tap.networks();
        assert!(!links(&networks[0], &networks[1]).is_empty());
    });
}

/// Nothing belongs to both networks, unless the server `gives_away` which they are.
fn judge(networks: &[Arc<Network>], gives_away: bool) {
    let [first, second] = networks else { panic!("{} networks", networks.len()) };
    let mut links = links(first, second);
    if gives_away {
        links.retain(|(outward, _)| *outward);
    }
    assert_eq!(links, BTreeSet::new());
    for network in [first, second] {
        assert!(network.short_headers().count() > 500, "too little to judge");
        numbers_are_hidden(network);
    }
}

/// Connection IDs of either network that are found anywhere in a datagram of the other, and whether that goes to the server.
fn links(first: &Network, second: &Network) -> BTreeSet<(bool, Vec<u8>)> {
    let mut found = BTreeSet::new();
    for (one, other) in [(first, second), (second, first)] {
        for cid in one.cids() {
            let there = other.datagrams().filter(|(_, datagram)| holds(datagram, &cid));
            found.extend(there.map(|(outward, _)| (outward, cid.clone())));
        }
    }
    found
}

fn holds(datagram: &[u8], cid: &[u8]) -> bool {
    datagram.windows(cid.len()).any(|bytes| bytes == cid)
}

/// Packet numbers are consecutive, and what is seen of them is not (RFC 9001 5.4): two packets in a row seldom have in a row
/// what they have at its place, whatever the length, and the protected bits of the first byte have all values.
fn numbers_are_hidden(network: &Network) {
    for outward in [false, true] {
        let of_one_way = || network.short_headers().filter(|(way, _, _)| *way == outward);
        let numbers: Vec<[u8; 4]> = of_one_way().map(|(_, _, number)| number).collect();
        for width in 1..=4 {
            let value = |number: &[u8; 4]| {
                number[..width].iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte))
            };
            let in_a_row = |pair: &&[[u8; 4]]| value(&pair[1]).wrapping_sub(value(&pair[0])) <= 2;
            let count = numbers.windows(2).filter(in_a_row).count();
            assert!(count < 10 + numbers.len() / 20, "{count} of {} with {width} bytes", numbers.len());
        }
        let firsts: BTreeSet<u8> = of_one_way().map(|(_, first, _)| first & 0x1f).collect();
        assert!(firsts.len() > 16, "{firsts:?}");
    }
}
