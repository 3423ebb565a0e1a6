//! Filling a link, sharing it, and getting out of its way (RFC 9002 6, 7).

use std::time::Duration;

use peregrine_core::connection::Algorithm;
use peregrine_core::connection::Event;
use peregrine_core::time::Instant;
use peregrine_tests::pair::{Pair, SERVER};
use peregrine_tests::quic::App;
use peregrine_tests::sim::{Fate, Link};

fn pair(link: Link, algorithm: Algorithm) -> Pair {
    Pair::new(link, |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
        server.endpoint.connection.congestion = algorithm;
    })
}

/// A queue of one bandwidth-delay product suffices for nine tenths of the rate, and more, with either algorithm.
#[test]
fn both_algorithms_fill_a_link() {
    for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
        for (mbit, delay, megabytes) in [(4.0, 20, 4), (20.0, 15, 12), (50.0, 10, 24)] {
            let queue = (mbit * 125.0 * 2.0 * delay as f64) as usize;
            let mut pair = pair(Link::mbit(mbit).delay_ms(delay).queue(queue), algorithm);
            pair.download(megabytes << 20, 1);
            pair.until("downloaded", |pair| pair.client_node().is_done());
            let seconds = Duration::from(pair.world.now().since(Instant::ZERO)).as_secs_f64();
            let rate = (megabytes << 20) as f64 * 8.0 / seconds / 1e6;
            println!(
                "{algorithm:?}: {rate:.1} of {mbit} Mbit/s, {} lost",
                pair.world.trace().count(Fate::QueueFull)
            );
            // Headers take five hundredths.
            assert!(rate > 0.9 * mbit, "{algorithm:?}: {rate:.1} of {mbit} Mbit/s");
        }
    }
}

/// Losses are few: the window is not driven into the queue again and again.
#[test]
fn few_packets_are_lost_to_a_queue() {
    let mut pair = pair(Link::mbit(20.0).delay_ms(15).queue(75_000), Algorithm::Cubic);
    pair.download(12 << 20, 1);
    pair.until("downloaded", |pair| pair.client_node().is_done());
    let (lost, sent) = (pair.world.trace().count(Fate::QueueFull), pair.world.trace().count(Fate::Sent));
    assert!(lost * 50 < sent, "{lost} of {sent}");
}

/// Packets are spread over the round trip: what leaves within a millisecond is no more than the pacer's bucket (ten datagrams,
/// or two milliseconds' worth) and what flows in meanwhile. In slow start the rate is twice the window's.
#[test]
fn packets_are_paced() {
    let mut pair = pair(Link::mbit(20.0).delay_ms(25).queue(125_000), Algorithm::Cubic);
    pair.world.record();
    pair.download(6 << 20, 1);
    pair.until("downloaded", |pair| pair.client_node().is_done());
    let recorded = pair.world.recorded().iter();
    let from_server = recorded.filter(|(_, datagram)| datagram.source == SERVER.parse().unwrap());
    let sent: Vec<u64> = from_server.map(|(at, _)| at.as_micros()).collect();
    let burst_at = |at: u64| sent.iter().filter(|other| (at..at + 1_000).contains(*other)).count();
    let longest = |times: std::ops::Range<u64>| {
        sent.iter().filter(|at| times.contains(at)).map(|at| burst_at(*at)).max().unwrap()
    };
    let (slow_start, later) = (longest(0..1_000_000), longest(1_000_000..2_000_000));
    assert!(slow_start <= 22 && later <= 14, "{slow_start} {later}");
}

/// A break longer than three PTOs is persistent congestion: the window begins anew at its least (RFC 9002 7.6), and the
/// transfer recovers.
#[test]
fn a_long_break_collapses_the_window() {
    for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
        let link = || Link::mbit(10.0).delay_ms(20);
        let mut pair = pair(link(), algorithm);
        pair.download(6 << 20, 1);
        pair.run_ms(1_000);
        let before = pair.server(|connection, _| connection.route().unwrap().window);
        pair.world.interface(pair.client, 0).set_down(link().loss(1.0));
        pair.run_ms(2_500);
        pair.world.interface(pair.client, 0).set_down(link());
        let mut least = u32::MAX;
        while !pair.client_node().is_done() {
            pair.run_ms(5);
            let route = pair.server(|connection, _| connection.route().unwrap());
            least = least.min(route.window);
        }
        // Two datagrams, and what slow start has added before anybody looked.
        assert!(least < 5_000, "{algorithm:?}: from {before} to {least}");
        let seconds = Duration::from(pair.world.now().since(Instant::ZERO)).as_secs_f64();
        assert!(seconds < 5.3 + 2.5 + 3.0, "{algorithm:?}: {seconds}");
    }
}

/// A short break is not.
#[test]
fn a_short_break_does_not() {
    let link = || Link::mbit(10.0).delay_ms(20);
    let mut pair = pair(link(), Algorithm::Cubic);
    pair.download(3 << 20, 1);
    pair.run_ms(1_000);
    pair.world.interface(pair.client, 0).set_down(link().loss(1.0));
    pair.run_ms(40);
    pair.world.interface(pair.client, 0).set_down(link());
    let mut least = u32::MAX;
    while !pair.client_node().is_done() {
        pair.run_ms(5);
        least = least.min(pair.server(|connection, _| connection.route().unwrap().window));
    }
    assert!(least > 10_000, "{least}");
}

/// Reordering alone loses nothing and hardly slows the transfer.
#[test]
fn reordering_within_a_few_milliseconds_is_harmless() {
    let mut pair =
        pair(Link::mbit(10.0).delay_ms(20).reorder(0.02, Duration::from_millis(3)), Algorithm::Cubic);
    pair.download(2 << 20, 1);
    pair.until("downloaded", |pair| pair.client_node().is_done());
    let seconds = Duration::from(pair.world.now().since(Instant::ZERO)).as_secs_f64();
    assert!(seconds < 4.0, "{seconds}");
}

/// What is lost at the very end is found by a probe, not by the idle timeout (RFC 9002 6.2).
#[test]
fn the_last_packet_may_be_lost() {
    for nth in 2..14 {
        let mut pair = Pair::seeded(
            nth,
            [Link::ideal().delay_ms(20), Link::ideal().delay_ms(20).drop_nth([nth])],
            |client, server| {
                (client.app, server.app) = (App::Files, App::Files);
            },
        );
        pair.download(10_000, 1);
        pair.until("downloaded", |pair| pair.client_node().is_done());
        assert!(pair.world.now().as_micros() < 1_300_000, "{nth}: {}", pair.world.now().as_micros());
        assert!(pair.told_client(Event::Connected));
    }
}

/// Two connections through one bottleneck share it.
#[test]
fn two_connections_share_a_link() {
    let mut pair = Pair::new(Link::mbit(10.0).delay_ms(20).queue(60_000), |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
        server.slots = 4;
    });
    pair.download(3 << 20, 1);
    pair.run_ms(300);
    pair.download(3 << 20, 1);
    pair.until("both", |pair| pair.client_node().is_done());
    let seconds = Duration::from(pair.world.now().since(Instant::ZERO)).as_secs_f64();
    assert!(seconds < 6.3, "6 MiB take 5.2 s: {seconds}");
}
