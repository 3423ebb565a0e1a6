//! Paths that share a bottleneck beside a connection of one path (draft-21 5.2, RFC 6356).

use peregrine_core::congestion::{Algorithm, Coupled};
use peregrine_tests::quic::App;
use peregrine_tests::sim::{HostId, World};

use super::*;

/// Downloads that never end, over the server's link of 10 Mbit/s: one of a phone on both its paths, and one of a client that has
/// only one. All round-trip times are 40 ms.
struct Rivals {
    world: World<QuicNode>,
    phone: HostId,
    other: HostId,
}

const SECONDS: u64 = 30;

impl Rivals {
    fn new(coupled: Coupled, paths: usize) -> Self {
        let setup = |seed: u64, mut setup: Setup| {
            both(&mut Setup::client(seed), &mut setup);
            setup.app = App::Files;
            setup.endpoint.connection.congestion = Algorithm::NewReno;
            chosen(&mut setup).coupled = coupled;
            setup
        };
        let mut world = World::new(7);
        let link = || Link::ideal().delay_ms(20);
        let interfaces = [Interface::at(WIFI).link(link()), Interface::at(CELLULAR).link(link())];
        let phone = world.host(QuicNode::new(setup(1, Setup::client(1))), interfaces);
        let interface = [Interface::at("10.0.9.2").link(link())];
        let other = world.host(QuicNode::new(setup(2, Setup::client(2))), interface);
        // About one bandwidth-delay product.
        let bottleneck = Link::mbit(10).queue(50_000);
        let address = server_address().ip().to_string();
        let server = Setup { slots: 2, ..setup(3, Setup::server(3)) };
        world.host(QuicNode::new(server), [Interface::at(&address).up(bottleneck)]);
        let mut rivals = Self { world, phone, other };
        let bytes = 2 * SECONDS * 10_000_000 / 8;
        for host in [phone, other] {
            rivals.world.with(host, |node, now| node.download(now, server_address(), bytes, 1));
        }
        rivals.run(1);
        if paths > 1 {
            let opened = rivals.world.with(phone, |node, now| {
                let handle = node.latest().unwrap();
                node.connection(handle).open_path(now, cellular(), Availability::Available)
            });
            assert_eq!(opened, Ok(SECOND));
        }
        rivals
    }

    fn run(&mut self, seconds: u64) {
        self.world.run_for(std::time::Duration::from_secs(seconds));
    }

    /// Bytes that a client has received, over each of its paths.
    fn received(&mut self, host: HostId) -> Vec<u64> {
        self.world.with(host, |node, _| {
            let handle = node.latest().unwrap();
            node.connection(handle).paths().map(|path| path.route.unwrap().stats.received_bytes).collect()
        })
    }

    /// What the phone gets for each byte that the other gets, in hundredths, once both have settled; and over each of its paths.
    fn ratio(mut self) -> (u64, Vec<u64>) {
        self.run(10);
        let before = [self.phone, self.other].map(|host| self.received(host));
        self.run(SECONDS);
        let after = [self.phone, self.other].map(|host| self.received(host));
        let got = |nth: usize| -> Vec<u64> {
            after[nth].iter().zip(&before[nth]).map(|(after, before)| after - before).collect()
        };
        (got(0).iter().sum::<u64>() * 100 / got(1).iter().sum::<u64>(), got(0))
    }
}

#[test]
fn one_path_gets_about_as_much_as_another() {
    let (ratio, _) = Rivals::new(Coupled::None, 1).ratio();
    println!("{ratio} %");
    assert!((70..140).contains(&ratio), "{ratio} %");
}

#[test]
fn two_paths_through_one_bottleneck_get_about_as_much_as_one_if_they_are_coupled() {
    for coupled in [Coupled::Lia, Coupled::Olia] {
        let (ratio, by_path) = Rivals::new(coupled, 2).ratio();
        println!("{coupled:?}: {ratio} %, {by_path:?}");
        assert!((70..140).contains(&ratio), "{coupled:?}: {ratio} %");
        assert!(by_path.iter().all(|bytes| *bytes > 1_000_000), "{coupled:?}: {by_path:?}");
    }
}

#[test]
fn and_more_if_they_are_not() {
    let (ratio, by_path) = Rivals::new(Coupled::None, 2).ratio();
    println!("{ratio} %, {by_path:?}");
    assert!(ratio > 150, "{ratio} %");
}
