//! The search for the largest datagram (RFC 9000 14, RFC 8899), and paths that shrink.

use peregrine_core::connection::Event;
use peregrine_tests::pair::Pair;
use peregrine_tests::quic::App;
use peregrine_tests::sim::Link;

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
