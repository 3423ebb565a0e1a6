//! The search for the largest datagram (RFC 9000 14, RFC 8899), and paths that shrink.

use peregrine_core::connection::Event;
use peregrine_core::ids::Dir;
use peregrine_core::wire::frame::Kind;
use peregrine_tests::pair::{Pair, open};
use peregrine_tests::puppet::{Bout, Heard};
use peregrine_tests::quic::{App, QuicNode, Setup};
use peregrine_tests::sim::{Interface, Link};

fn link(mtu: usize) -> Link {
    Link::mbit(20).delay_ms(10).mtu(mtu)
}

fn pair(mtu: usize, max_mtu: u16) -> Pair {
    Pair::new(link(mtu), |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
        for setup in [client, server] {
            setup.endpoint.connection.max_mtu = max_mtu;
            setup.endpoint.connection.max_udp_payload = 9_000;
        }
    })
}

fn mtu(pair: &mut Pair) -> (u16, u16) {
    (
        pair.client(|connection, _| connection.route().unwrap().mtu),
        pair.server(|connection, _| connection.route().unwrap().mtu),
    )
}

#[test]
fn finds_what_the_link_carries() {
    for (link, max, expected) in [
        (65_536, 1_452, 1_452..=1_452),
        (1_500, 1_472, 1_472..=1_472),
        (1_472, 8_952, 1_472..=1_472),
        (1_452, 1_472, 1_452..=1_452),
        (1_300, 1_472, 1_285..=1_300),
        (1_200, 1_472, 1_200..=1_200),
        (65_536, 1_200, 1_200..=1_200),
        (9_000, 8_972, 8_972..=8_972),
    ] {
        let mut pair = pair(link, max);
        pair.download(400_000, 1);
        pair.until("downloaded", |pair| pair.client_node().is_done());
        pair.run_ms(20_000);
        let (client, server) = mtu(&mut pair);
        assert!(expected.contains(&client) && expected.contains(&server), "{link} {max}: {client} {server}");
        if server > 1_200 {
            assert!(pair.told_server(Event::Mtu(server)));
        }
    }
}

#[test]
fn respects_what_the_peer_can_receive() {
    let mut pair = Pair::new(link(9_000), |client, server| {
        client.endpoint.connection.max_udp_payload = 1_350;
        server.endpoint.connection.max_mtu = 9_000;
    });
    pair.world.record();
    pair = pair.connected();
    pair.run_ms(20_000);
    // A search ends where there is little left to win.
    assert!((1_335..=1_350).contains(&mtu(&mut pair).1));
    let from_server = pair.world.recorded().iter().filter(|(_, datagram)| datagram.source.port() == 4433);
    assert!(from_server.map(|(_, datagram)| datagram.payload.len()).max() <= Some(1_350));
}

/// Probes that are too large cost nothing but themselves: no loss is counted against the window.
#[test]
fn lost_probes_are_no_congestion() {
    let mut pair = pair(1_200, 1_472);
    pair.download(10_000, 1);
    pair.until("downloaded", |pair| pair.client_node().is_done());
    let before = pair.server(|connection, _| connection.route().unwrap().window);
    pair.run_ms(20_000);
    let route = pair.server(|connection, _| connection.route().unwrap());
    assert!(route.window >= before && route.stats.lost_packets >= 3, "{route:?}");
}

/// A link that shrinks in the middle of a transfer, and one that only pretended to carry more.
#[test]
fn a_black_hole_leads_back_to_1200() {
    for shrunk in [1_200, 1_300] {
        let mut pair = pair(1_500, 1_472);
        pair.download(4 << 20, 1);
        pair.until("found", |pair| pair.told_server(Event::Mtu(1_472)));
        pair.world.interface(pair.client, 0).set_down(link(shrunk));
        pair.until("back", |pair| pair.told_server(Event::Mtu(1_200)));
        pair.until("downloaded", |pair| pair.client_node().is_done());
        pair.run_ms(5_000);
        assert!(usize::from(mtu(&mut pair).1) <= shrunk);
        let seconds = pair.world.now().as_micros() / 1_000_000;
        assert!(seconds < 15, "{shrunk}: {seconds} s");
    }
}

/// Ordinary loss is not taken for a black hole.
#[test]
fn loss_alone_does_not_shrink_datagrams() {
    let mut pair = pair(1_500, 1_472);
    pair.download(4 << 20, 1);
    pair.until("found", |pair| pair.told_server(Event::Mtu(1_472)));
    pair.world.interface(pair.client, 0).set_down(link(1_500).loss(0.05));
    pair.until("downloaded", |pair| pair.client_node().is_done());
    assert_eq!(mtu(&mut pair).1, 1_472);
    assert!(!pair.told_server(Event::Mtu(1_200)));
}

/// As long as no probe was acknowledged, nothing but probes is larger than 1,200 bytes; then what a probe found is used, and not
/// exceeded (RFC 9000 14.2).
#[test]
fn only_probes_are_larger_than_what_is_known() {
    let mut setup = Setup::server(1);
    setup.sizes.streams = 16;
    setup.endpoint.connection.max_mtu = 1_472;
    let mut bout = Bout::against_server(setup);
    let is_probe = |heard: &Heard| {
        let mut kinds = heard.frames().map(|frame| frame.kind());
        kinds.all(|kind| matches!(kind, Kind::Ping | Kind::Padding))
    };
    for (found, allowed) in [(false, 1_200), (true, 1_472)] {
        let before = bout.puppet.heard.len();
        bout.act(|connection, _| {
            let id = open(connection, Dir::Uni);
            assert_eq!(connection.write_stream(id, &[7; 9_000]), Ok(9_000));
        });
        bout.wait_ms(20);
        let others = bout.puppet.heard[before..].iter().filter(|heard| !is_probe(heard));
        assert_eq!(others.map(|heard| heard.datagram).max(), Some(allowed));
        let probes = bout.puppet.heard.iter().filter(|heard| is_probe(heard) && heard.datagram > 1_200);
        assert_eq!(probes.map(|probe| probe.datagram).collect::<Vec<_>>(), [1_472], "{found}");
        bout.ack();
        assert!(bout.node.events.iter().any(|(_, _, event)| *event == Event::Mtu(1_472)));
    }
}

/// Two servers behind links of different width: what is found toward one says nothing of the other (RFC 9000 14.2).
#[test]
fn each_address_has_a_size_of_its_own() {
    let mut pair = Pair::new(link(65_536), |client, _| client.slots = 2).connected();
    let narrow = Interface::at("192.0.2.10").link(link(1_300));
    let server = pair.world.host(QuicNode::new(Setup { app: App::None, ..Setup::server(9) }), [narrow]);
    let remote = "192.0.2.10:4433".parse().unwrap();
    let wide = pair.client_node().opened[0];
    let other = pair.world.with(pair.client, |node, now| node.connect(now, remote, &[]));
    pair.run_ms(20_000);
    let sizes = [wide, other]
        .map(|handle| pair.world.with(pair.client, |node, _| node.connection(handle).route().unwrap().mtu));
    assert_eq!(sizes[0], 1_452);
    assert!((1_285..=1_300).contains(&sizes[1]), "{sizes:?}");
    assert_eq!(pair.world.node(server).accepted.len(), 1);
}
