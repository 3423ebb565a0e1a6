//! Clients that come and go at a server with few slots: over bad networks, behind NATs that forget, with downloads that are closed in
//! the middle of a handshake or of a transfer, or that nobody closes. What an endpoint keeps of them is gone when they are.

use std::thread;
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::endpoint::{Handle, RetryPolicy};
use peregrine_core::lifecycle::Cause;
use peregrine_tests::pair::server_address;
use peregrine_tests::quic::{App, QuicNode, Setup};
use peregrine_tests::rng::Rng;
use peregrine_tests::sim::{HostId, Interface, Nat, World};

use super::multipath::pick;
use super::{Tally, bad_link, good_link, walk_all};

/// Clients, each with an address of its own.
const CLIENTS: u64 = 3;
/// Steps of a walk.
const STEPS: u64 = 40;
/// Longer than any handshake, idle timeout and draining.
const PATIENCE: Duration = Duration::from_secs(120);

struct Scene {
    world: World<QuicNode>,
    rng: Rng,
    server: HostId,
    clients: Vec<HostId>,
    story: Vec<String>,
}

fn setup(rng: &mut Rng, mut setup: Setup) -> Setup {
    setup.app = App::Files;
    setup.sizes.sent = pick(rng, &[16, 64, 256]);
    setup.sizes.streams = 2;
    setup.endpoint.connection.peer_bidi_streams = if setup.endpoint.server { 2 } else { 0 };
    setup.endpoint.connection.max_idle_timeout = Duration::from_secs(20);
    setup.slots = pick(rng, &[1, 2, 3, 6]);
    setup.endpoint.cid_len = pick(rng, &[4, 8, 20]);
    setup.endpoint.max_half_open = pick(rng, &[1, 2, usize::MAX]);
    setup.endpoint.retry = pick(rng, &[RetryPolicy::UnderLoad, RetryPolicy::Always]);
    setup
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xc4a2_0000);
        let mut world = World::new(seed);
        let clients = (0..CLIENTS).map(|nth| {
            let link = good_link(&mut rng);
            let interface = Interface::at(&format!("10.0.{nth}.2")).link(link);
            let interface = interface.nat(Nat::at(&format!("198.51.{}.1", 100 + nth)));
            world.host(QuicNode::new(setup(&mut rng, Setup::client(seed * 100 + nth))), [interface])
        });
        let clients = clients.collect();
        let server = QuicNode::new(setup(&mut rng, Setup::server(seed * 100 + 99)));
        let server = world.host(server, [Interface::at(&server_address().ip().to_string())]);
        Self { world, rng, server, clients, story: Vec::new() }
    }

    fn any(&mut self, of_server: bool) -> Option<(HostId, Handle)> {
        let host = if of_server { self.server } else { pick(&mut self.rng, &self.clients) };
        let node = self.world.node(host);
        let all = if of_server { &node.accepted } else { &node.opened };
        let last = &all[all.len().saturating_sub(4)..];
        (!last.is_empty()).then(|| (host, pick(&mut self.rng, last)))
    }

    fn step(&mut self) {
        let nth = self.rng.below(CLIENTS) as usize;
        let client = self.clients[nth];
        let what = match self.rng.below(16) {
            0..=6 => {
                let (bytes, streams) = (self.rng.below(100_000), 1 + self.rng.below(3) as usize);
                let done = self.world.with(client, |node, now| {
                    let slots = node.slots();
                    (node.endpoint.len() < slots)
                        .then(|| node.download(now, server_address(), bytes, streams))
                });
                format!("{nth} downloads {bytes} on {streams}: {done:?}")
            }
            7..=9 => {
                let (of_server, code) = (self.rng.chance(0.5), self.rng.below(100));
                let Some((host, handle)) = self.any(of_server) else { return };
                let closed = self.world.with(host, |node, now| {
                    node.endpoint.connection_mut(handle).map(|connection| connection.close(now, code, "walk"))
                });
                format!("close by server {of_server} {handle:?}: {closed:?}")
            }
            10 => {
                self.world.interface(client, 0).nat_mut().rebind_port();
                format!("{nth}: another port")
            }
            11 | 12 => {
                let link = bad_link(&mut self.rng);
                self.world.interface(client, 0).set_up(link.clone());
                self.world.interface(client, 0).set_down(link.clone());
                format!("{nth}: {link:?}")
            }
            13 => {
                self.world.interface(client, 0).unplug();
                format!("{nth}: unplugged")
            }
            _ => {
                let link = good_link(&mut self.rng);
                let interface = self.world.interface(client, 0);
                interface.plug();
                interface.set_up(link.clone());
                interface.set_down(link);
                format!("{nth}: good")
            }
        };
        self.story.push(format!("{}: {what}", self.world.now().as_micros()));
    }

    /// Everybody closes, and nothing is left.
    fn end(&mut self) {
        let hosts: Vec<_> = self.clients.iter().copied().chain([self.server]).collect();
        for (nth, client) in self.clients.clone().into_iter().enumerate() {
            let link = good_link(&mut self.rng);
            let interface = self.world.interface(client, 0);
            interface.plug();
            interface.set_up(link.clone());
            interface.set_down(link);
            self.story.push(format!("{}: {nth} is well", self.world.now().as_micros()));
        }
        self.world.run_for(PATIENCE);
        for host in &hosts {
            let node = self.world.node(*host);
            let (len, half_open) = (node.endpoint.len(), node.endpoint.half_open());
            assert_eq!((len, half_open), (0, 0), "{host:?}");
            for (_, handle, event) in &node.events {
                if let Event::Closed(Cause::Local(close)) = event {
                    assert_eq!(close.phrase.as_str(), "walk", "{handle:?} {close:?}");
                }
            }
        }
        // The slots are free again.
        for client in self.clients.clone() {
            let before = self.world.node(client).ended.len();
            let handle = self.world.with(client, |node, now| node.download(now, server_address(), 20_000, 2));
            self.world.run_for(Duration::from_secs(10));
            assert!(self.world.node(client).is_done(), "{client:?} {handle:?}");
            self.world.with(client, |node, now| node.connection(handle).close(now, 0, "walk"));
            self.world.run_for(PATIENCE);
            assert_eq!(self.world.node(client).ended.len(), before + 1);
        }
    }
}

struct Teller(u64, Scene);

impl Drop for Teller {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        eprintln!("seed {}:\n{}", self.0, self.1.story.join("\n"));
        for host in self.1.clients.iter().chain([&self.1.server]) {
            let node = self.1.world.node(*host);
            eprintln!("{host:?} {:?} {}", node.endpoint.stats(), node.endpoint.len());
            for (at, handle, event) in node.events.iter().rev().take(12).rev() {
                eprintln!("{} {handle:?} {event:?}", at.as_micros());
            }
        }
    }
}

fn walk(seed: u64) -> Tally {
    let mut teller = Teller(seed, Scene::new(seed));
    let scene = &mut teller.1;
    let longest = Duration::from_millis(pick(&mut scene.rng, &[5, 50, 500, 3_000]));
    for _ in 0..STEPS {
        scene.step();
        let pause = scene.rng.up_to(longest);
        scene.world.run_for(pause);
    }
    scene.end();
    let mut tally = Tally::new();
    for host in scene.clients.iter().chain([&scene.server]) {
        let node = scene.world.node(*host);
        let stats = node.endpoint.stats();
        for (what, times) in [
            ("accepted", stats.accepted),
            ("retries", stats.retries),
            ("refused", stats.refused),
            ("resets", stats.resets),
        ] {
            *tally.entry(what).or_default() += times;
        }
        for (_, _, event) in &node.events {
            let what = match event {
                Event::Closed(Cause::Peer(_)) => "closed by the peer",
                Event::Closed(Cause::Idle) => "idle",
                Event::Closed(Cause::HandshakeTimeout) => "no handshake",
                Event::Closed(Cause::StatelessReset) => "reset",
                _ => continue,
            };
            *tally.entry(what).or_default() += 1;
        }
    }
    tally
}

#[test]
fn random_walks_of_clients_that_come_and_go_leave_nothing_of_them() {
    let kinds =
        ["accepted", "retries", "refused", "resets", "closed by the peer", "idle", "no handshake", "reset"];
    walk_all(walk, &kinds);
}
