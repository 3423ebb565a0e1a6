//! Explicit congestion notification (RFC 9000 13.4), and networks that mistreat it.

use peregrine_core::ids::Ecn;
use peregrine_tests::pair::Pair;
use peregrine_tests::quic::App;
use peregrine_tests::sim::{EcnFault, Fate, Link};

fn link() -> Link {
    Link::mbit(10).delay_ms(20)
}

/// A download of 1 MiB over this link down.
fn download(down: Link) -> Pair {
    let mut pair = Pair::seeded(1, [link(), down], |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
    });
    pair.world.record();
    pair.download(1 << 20, 1);
    pair.until("downloaded", |pair| pair.client_node().is_done());
    pair
}

/// How many datagrams of the server's were marked, and how many there were.
fn marked(pair: &Pair) -> (usize, usize) {
    let from_server = || pair.world.recorded().iter().filter(|(_, datagram)| datagram.source.port() == 4433);
    (from_server().filter(|(_, datagram)| datagram.ecn == Ecn::Ect0).count(), from_server().count())
}

#[test]
fn a_path_that_carries_marks_is_marked_throughout() {
    let mut pair = download(link());
    let (marked, all) = marked(&pair);
    assert!(marked > 700 && marked + 15 > all, "{marked} of {all}");
    let route = pair.server(|connection, _| connection.route().unwrap());
    assert!(route.ecn && route.stats.ce_packets == 0);
    assert!(pair.client(|connection, _| connection.route().unwrap().ecn));
}

#[test]
fn congestion_marks_lower_the_window_and_nothing_is_lost() {
    let down = || link().queue(200_000);
    let mut unmarked = Pair::seeded(1, [link(), down()], |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
    });
    let mut pair = Pair::seeded(1, [link(), down().mark_above(20_000)], |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
    });
    let mut largest = [0, 0];
    let mut fell = false;
    for (nth, pair) in [&mut unmarked, &mut pair].into_iter().enumerate() {
        pair.download(3 << 20, 1);
        let mut window = 0;
        while !pair.client_node().is_done() {
            pair.run_ms(5);
            if pair.server_node().latest().is_some() {
                let now = pair.server(|connection, _| connection.route().unwrap().window);
                fell |= nth == 1 && now < window;
                window = now;
                largest[nth] =
                    largest[nth].max(pair.server(|connection, _| connection.route().unwrap().in_flight));
            }
        }
    }
    let route = pair.server(|connection, _| connection.route().unwrap());
    assert!(route.stats.ce_packets > 0 && route.ecn && fell);
    assert_eq!(pair.world.trace().count(Fate::QueueFull), 0);
    assert_eq!(route.stats.lost_packets, 0);
    assert!(largest[1] < largest[0], "the queue stays shorter: {largest:?}");
    let micros = pair.world.now().as_micros();
    assert!(micros < 3_200_000, "and the link full: 3 MiB take 2.6 s: {micros}");
}

#[test]
fn mistreated_marks_are_given_up_and_the_transfer_survives() {
    for fault in [EcnFault::Bleach, EcnFault::BlackHole, EcnFault::AllCe, EcnFault::Remark] {
        let mut pair = download(link().ecn(fault));
        let (marked, all) = marked(&pair);
        assert!((1..60).contains(&marked) && all > 700, "{fault:?}: {marked} of {all}");
        assert!(!pair.server(|connection, _| connection.route().unwrap().ecn), "{fault:?}");
        // Of a black hole nothing comes out until the test of three probe timeouts is over.
        let limit = if fault == EcnFault::BlackHole { 6_000_000 } else { 2_500_000 };
        let micros = pair.world.now().as_micros();
        assert!(micros < limit, "{fault:?}: {micros}");
    }
}

/// The network changes its mind in the middle.
#[test]
fn marks_that_begin_to_be_dropped_are_given_up() {
    let mut pair = Pair::seeded(1, [link(), link()], |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
    });
    pair.download(2 << 20, 1);
    pair.run_ms(500);
    assert!(pair.server(|connection, _| connection.route().unwrap().ecn));
    pair.world.interface(pair.client, 0).set_down(link().ecn(EcnFault::BlackHole));
    pair.until("downloaded", |pair| pair.client_node().is_done());
    assert!(pair.world.now().as_micros() < 10_000_000);
}

#[test]
fn marks_can_be_turned_off() {
    let mut pair = Pair::seeded(1, [link(), link()], |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
        server.endpoint.connection.ecn = false;
    });
    pair.world.record();
    pair.download(100_000, 1);
    pair.until("downloaded", |pair| pair.client_node().is_done());
    assert_eq!(marked(&pair).0, 0);
}
