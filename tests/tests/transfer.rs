//! Transfers through the simulated network, over null sessions.

use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::time::Instant;
use peregrine_tests::quic::{QuicNode, Setup};
use peregrine_tests::sim::{Ending, HostId, Interface, Link, World};

const LIMIT: Instant = Instant::from_micros(300_000_000);

fn network(seed: u64, up: Link, down: Link) -> (World<QuicNode>, HostId, HostId) {
    let mut world = World::new(seed);
    let client =
        world.host(QuicNode::new(Setup::client(seed)), [Interface::at("10.0.0.2").up(up).down(down)]);
    let server = world.host(QuicNode::new(Setup::server(seed + 1)), [Interface::at("192.0.2.9")]);
    (world, client, server)
}

fn download(world: &mut World<QuicNode>, client: HostId, bytes: u64, streams: usize) -> Ending {
    world.with(client, |node, now| node.download(now, "192.0.2.9:4433".parse().unwrap(), bytes, streams));
    world.run_until(LIMIT, |world| world.node(client).is_done())
}

#[test]
fn a_megabyte_over_an_ordinary_link() {
    let link = || Link::mbit(20).delay_ms(15);
    let (mut world, client, _) = network(1, link(), link());
    assert_eq!(download(&mut world, client, 1 << 20, 1), Ending::Done, "{:?}", world.node(client).events);
    let seconds = Duration::from(world.now().since(Instant::ZERO)).as_secs_f64();
    println!("{seconds} s");
    assert!(seconds < 1.0, "20 Mbit/s carry a megabyte in 0.42 s and a handshake: {seconds} s");
    world.run_for(Duration::from_secs(1));
    assert!(world.node(client).find(|event| matches!(event, Event::Confirmed).then_some(())).is_some());
}

#[test]
fn many_streams_and_small_transfers() {
    for (bytes, streams) in [(0, 1), (1, 1), (1200, 3), (10_000, 8), (3, 40)] {
        let link = || Link::mbit(10).delay_ms(20);
        let (mut world, client, _) = network(bytes + 3, link(), link());
        assert_eq!(download(&mut world, client, bytes, streams), Ending::Done, "{bytes} on {streams}");
    }
}

#[test]
fn a_bad_network_loses_nothing() {
    for seed in 0..20 {
        let link = || {
            Link::mbit(20)
                .delay_ms(10)
                .loss(0.1)
                .reorder(0.05, Duration::from_millis(8))
                .duplicate(0.02)
                .corrupt(0.02)
        };
        let (mut world, client, _) = network(seed, link(), link());
        let ending = download(&mut world, client, 256 << 10, 1);
        assert_eq!(ending, Ending::Done, "seed {seed}: {:?}", world.node(client).events);
    }
}
