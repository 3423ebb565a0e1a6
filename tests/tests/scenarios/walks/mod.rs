//! Random walks: whatever networks, NATs, attackers and applications do, all transfers arrive, and nobody who watches the
//! wires has anything to complain of.
//!
//! * [`choices`]: one path, whatever its sides have chosen.
//! * [`churn`]: clients that come and go at a server with few slots.
//! * [`streams`]: everything that applications may do with streams, on memories of any size.
//! * [`migration`]: one path, and the moves of a client that has two networks.
//! * [`multipath`]: up to four paths at once, opened, moved, abandoned and ranked by either side, with streams and datagrams tied to them
//!   ([`ties`]).
//!
//! Three hundred seeds of each run with the tests. `PEREGRINE_SEEDS=10000` runs as many as that, `PEREGRINE_SEEDS=4711..4712`
//! one, whose story is told if it fails.

mod choices;
mod churn;
mod migration;
mod multipath;
mod streams;
mod ties;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::panic;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use peregrine_core::connection::{Event, NetworkChange, RouteView};
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::lifecycle::Cause;
use peregrine_core::time::Instant;
use peregrine_tests::observer;
use peregrine_tests::pair::{Pair, SERVER, open, read_pattern, write_pattern};
use peregrine_tests::quic::Setup;
use peregrine_tests::rng::Rng;
use peregrine_tests::sim::{Datagram, EcnFault, Ending, Interface, Link, Nat};

const SEEDS: Range<u64> = 0..300;
/// The client's local addresses, without ports: one for each of its interfaces.
const HOMES: [&str; 4] = ["10.0.0.2", "10.0.1.2", "10.0.2.2", "10.0.3.2"];
/// Where servers may prefer to be.
const PREFERRED: &str = "192.0.2.99:4444";
/// Both sides' idle timeout.
const IDLE: Duration = Duration::from_secs(30);
/// No outage is longer: with the waits between probes doubled, there is time for two after it.
const LONGEST_OUTAGE: Duration = Duration::from_secs(6);
/// Steps of a walk.
const STEPS: u64 = 24;
/// Once all is well, the transfers are over within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often what happened, on both sides.
type Tally = BTreeMap<&'static str, u64>;

/// A transfer one way.
#[derive(Debug)]
struct Flow {
    from_client: bool,
    id: StreamId,
    len: u64,
    sent: u64,
    received: u64,
    finished: bool,
    over: bool,
}

impl Flow {
    /// Lets both applications work.
    fn pump(&mut self, pair: &mut Pair) {
        let write = |flow: &mut Self, connection: &mut _| {
            write_pattern(connection, flow.id, &mut flow.sent, flow.len);
            if flow.sent == flow.len && !flow.finished {
                connection.finish(flow.id).unwrap();
                flow.finished = true;
            }
        };
        if self.over {
            return;
        }
        if self.from_client {
            if !self.finished {
                pair.client(|connection, _| write(self, connection));
            }
            pair.server(|connection, _| self.over = read_pattern(connection, self.id, &mut self.received));
        } else {
            if !self.finished {
                pair.server(|connection, _| write(self, connection));
            }
            pair.client(|connection, _| self.over = read_pattern(connection, self.id, &mut self.received));
        }
        assert!(!self.over || self.received == self.len);
    }
}

/// What the attacker in the middle is up to.
#[derive(Debug)]
struct Attack {
    rng: Rng,
    /// So many datagrams to the server come from elsewhere instead.
    spoofs: u64,
    /// So many are copied from elsewhere, and race the genuine ones.
    copies: u64,
    /// So many are each preceded by copies from many addresses.
    storms: u64,
    /// So many to the client are repeated as if another server had sent them.
    echoes: u64,
    /// The number of the address in use.
    address: u32,
}

impl Attack {
    fn elsewhere(&self) -> SocketAddr {
        (std::net::Ipv4Addr::from(0xcb00_7200 + self.address), 666).into()
    }

    fn on_datagram(&mut self, datagram: Datagram) -> Vec<(Duration, Datagram)> {
        let from = |source, delay| (delay, Datagram { source, ..datagram.clone() });
        let a_little = self.rng.up_to(Duration::from_millis(4));
        if is_server(datagram.source) {
            let echo = take_one(&mut self.echoes).then(|| from(self.elsewhere(), Duration::ZERO));
            return echo.into_iter().chain([(Duration::ZERO, datagram.clone())]).collect();
        }
        if take_one(&mut self.spoofs) {
            return vec![from(self.elsewhere(), a_little)];
        }
        let mut all = vec![];
        if take_one(&mut self.storms) {
            for _ in 0..20 {
                self.address += 1;
                all.push(from(self.elsewhere(), Duration::ZERO));
            }
        }
        if take_one(&mut self.copies) {
            all.push(from(self.elsewhere(), self.rng.up_to(Duration::from_millis(4))));
        }
        all.push((a_little, datagram));
        all
    }

    const fn cease(&mut self) {
        (self.spoofs, self.copies, self.storms, self.echoes) = (0, 0, 0, 0);
    }
}

fn take_one(credit: &mut u64) -> bool {
    let any = *credit > 0;
    *credit = credit.saturating_sub(1);
    any
}

/// What every walk goes through: a client behind a NAT for each of its interfaces, a server, somebody in the middle, and
/// transfers both ways.
struct Scene {
    pair: Pair,
    rng: Rng,
    attack: Rc<RefCell<Attack>>,
    flows: Vec<Flow>,
    /// Interfaces of the client.
    interfaces: usize,
    /// The client was told that it has lost the address of this interface.
    gone: [bool; HOMES.len()],
    /// No network will ever come back.
    over: Rc<Cell<bool>>,
    /// What happened, for whoever has to understand a failure.
    story: Vec<String>,
    fresh: u16,
    /// A path was to be kept awake.
    waking: bool,
}

impl Scene {
    /// A connection over networks that are well, with so many transfers each way about to begin, of at most so many bytes. `tune`
    /// changes what the client and the server are made of.
    fn new(
        seed: u64,
        mut rng: Rng,
        interfaces: usize,
        (each_way, longest): (usize, u64),
        tune: impl FnOnce(&mut Setup, &mut Setup),
    ) -> Self {
        let hanging = (0..interfaces)
            .map(|number| Interface::at(HOMES[number]).nat(Nat::at(&format!("198.51.{}.1", 100 + number))));
        let mut pair = Pair::roaming(seed, hanging, |client, server| {
            for setup in [&mut *client, &mut *server] {
                setup.endpoint.connection.max_idle_timeout = IDLE;
            }
            tune(client, server);
        });
        let attack = Attack { rng: rng.split(), spoofs: 0, copies: 0, storms: 0, echoes: 0, address: 0 };
        let attack = Rc::new(RefCell::new(attack));
        pair.world.interface(pair.server, 0).add_address("192.0.2.99");
        pair.world.watch();
        let attacker = Rc::clone(&attack);
        pair.world.attack(move |_, datagram| attacker.borrow_mut().on_datagram(datagram));
        for interface in 0..interfaces {
            let link = good_link(&mut rng);
            pair.world.interface(pair.client, interface).set_up(link.clone());
            pair.world.interface(pair.client, interface).set_down(link);
        }
        let mut pair = pair.connected();
        // Half of the walks: to be asked is something too.
        for host in [pair.client, pair.server] {
            pair.world.with(host, |node, _| node.strict = seed % 2 == 1);
        }
        let flows = [true, false].repeat(each_way);
        let flows = flows.into_iter().map(|from_client| {
            let id = pair.client(|connection, _| open(connection, Dir::Bi));
            if !from_client {
                // The server learns of the stream.
                pair.client(|connection, _| connection.finish(id).unwrap());
            }
            let most = if rng.chance(0.3) { 20_000 } else { longest };
            let len = 1 + rng.below(most);
            Flow { from_client, id, len, sent: 0, received: 0, finished: false, over: false }
        });
        let flows = flows.collect();
        // The server has heard of all streams.
        pair.run_ms(300);
        Self {
            pair,
            rng,
            attack,
            flows,
            interfaces,
            gone: [false; HOMES.len()],
            over: Rc::default(),
            story: Vec::new(),
            fresh: 5000,
            waking: false,
        }
    }

    /// As [`Self::go_on`], for so long.
    fn go_on_for(&mut self, time: Duration) {
        let limit = self.pair.world.now().after(time);
        self.go_on(limit);
    }

    /// Lets both applications work, and time pass until `limit` or until all transfers are over.
    fn go_on(&mut self, limit: Instant) {
        while self.is_alive() && !self.is_over() {
            for flow in &mut self.flows {
                flow.pump(&mut self.pair);
            }
            self.return_home();
            let mut steps = 0;
            let ending = self.pair.world.run_until(limit, |_| {
                steps += 1;
                steps > 1
            });
            if ending != Ending::Done {
                return;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.flows.iter().all(|flow| flow.over)
    }

    fn is_alive(&self) -> bool {
        self.pair.client_cause().is_none() && self.pair.server_cause().is_none()
    }

    /// Whether neither side's connection was taken out.
    fn are_there(&mut self) -> bool {
        [self.pair.client, self.pair.server].into_iter().all(|host| {
            self.pair.world.with(host, |node, _| {
                node.latest().is_some_and(|handle| node.endpoint.connection_mut(handle).is_some())
            })
        })
    }

    fn tell(&mut self, what: &str) {
        self.story.push(format!("{}: {what}", self.pair.world.now().as_micros()));
    }

    /// As an adapter does: the client is told when an address is there again.
    fn return_home(&mut self) {
        for (interface, name) in HOMES.iter().enumerate().take(self.interfaces) {
            if self.gone[interface] && self.pair.world.interface(self.pair.client, interface).is_plugged() {
                self.gone[interface] = false;
                let change = NetworkChange::AddressBack(home(interface, 0).ip());
                self.pair.client(|connection, now| connection.network_changed(now, change));
                self.tell(&format!("{name} is back"));
            }
        }
    }

    /// An address of the client on an interface: one never used before, or the first.
    fn address(&mut self, interface: usize, fresh: bool) -> SocketAddr {
        if fresh {
            self.fresh += 1;
        }
        home(interface, if fresh { self.fresh } else { 5000 })
    }

    fn nat(&mut self, interface: usize) -> &mut Nat {
        self.pair.world.interface(self.pair.client, interface).nat_mut()
    }

    fn relink(&mut self, interface: usize, link: &Link) {
        let interface = self.pair.world.interface(self.pair.client, interface);
        interface.set_up(link.clone());
        interface.set_down(link.clone());
    }

    fn rebind_port(&mut self, interface: usize) -> String {
        self.nat(interface).rebind_port();
        "another port".to_owned()
    }

    fn rebind_address(&mut self, interface: usize) -> String {
        let address = format!("198.51.{}.{}", 100 + interface, 2 + self.rng.below(250));
        self.nat(interface).rebind_address(&address);
        format!("another address {address}")
    }

    /// Another network behind the same local address, of which the client is told.
    fn renew_network(&mut self, interface: usize) -> String {
        let what = self.rebind_address(interface);
        let change = NetworkChange::NewNetwork(home(interface, 0).ip());
        self.pair.client(|connection, now| connection.network_changed(now, change));
        format!("a new network, {what}")
    }

    fn worsen(&mut self, interface: usize) -> String {
        let link = bad_link(&mut self.rng);
        self.relink(interface, &link);
        format!("{link:?}")
    }

    /// For a while nothing gets through. The system may tell the client.
    fn outage(&mut self, interface: usize, unplug: bool) -> String {
        let end = self.pair.world.now().after(self.rng.up_to(LONGEST_OUTAGE));
        let (client, link) = (self.pair.client, good_link(&mut self.rng));
        if unplug {
            self.pair.world.interface(client, interface).unplug();
        } else {
            self.relink(interface, &Link::ideal().loss(1.0));
        }
        let over = Rc::clone(&self.over);
        self.pair.world.at_ms(end.as_micros() / 1000, move |world| {
            if over.get() {
                return;
            }
            world.interface(client, interface).plug();
            world.interface(client, interface).set_up(link.clone());
            world.interface(client, interface).set_down(link);
        });
        let told = unplug && self.rng.chance(0.6);
        if told {
            self.gone[interface] = true;
            let change = NetworkChange::AddressGone(home(interface, 0).ip());
            self.pair.client(|connection, now| connection.network_changed(now, change));
        }
        format!("nothing gets through until {}, unplugged {unplug}, told {told}", end.as_micros())
    }

    /// New connection IDs, if the times are calm enough. Returns whether they are, and what to tell.
    fn rotate(&mut self) -> (bool, String) {
        let by_client = self.rng.chance(0.5);
        let rotated = if by_client {
            self.pair.client(|connection, _| connection.rotate_cids())
        } else {
            self.pair.server(|connection, _| connection.rotate_cids())
        };
        (rotated.is_ok(), format!("new connection IDs, by client {by_client}: {rotated:?}"))
    }

    fn attack(&mut self, begin: impl FnOnce(&mut Attack, u64)) -> String {
        let count = self.rng.below(30);
        let mut attack = self.attack.borrow_mut();
        attack.address += 1;
        begin(&mut attack, count);
        format!("{attack:?}")
    }

    /// All is well again, as far as networks go.
    fn heal(&mut self) {
        self.attack.borrow_mut().cease();
        for interface in 0..self.interfaces {
            let link = good_link(&mut self.rng);
            self.relink(interface, &link);
            self.pair.world.interface(self.pair.client, interface).plug();
        }
        self.tell("all is well");
    }

    /// All routes are there again.
    fn bring_back(&mut self) {
        for interface in 0..self.interfaces {
            let change = NetworkChange::AddressBack(home(interface, 0).ip());
            self.pair.client(|connection, now| connection.network_changed(now, change));
        }
        self.gone = [false; HOMES.len()];
    }

    /// Every network goes, for good: both sides notice by the idle timeout, and not before. Or what was still on its way has told
    /// one that the other has given up what is left to it.
    fn die(&mut self) {
        self.over.set(true);
        for interface in 0..self.interfaces {
            self.pair.world.interface(self.pair.client, interface).unplug();
            self.relink(interface, &Link::ideal().loss(1.0));
        }
        self.tell("the end");
        let last = |routes: &mut dyn Iterator<Item = RouteView>| {
            // A route that is not validated counts from its beginning, and what came on it may have been a copy.
            let heard = routes.filter(|route| route.validated && route.stats.received_datagrams > 0);
            heard.map(|route| route.last_packet).max()
        };
        let heard = [
            self.pair.client(|connection, _| last(&mut connection.routes())),
            self.pair.server(|connection, _| last(&mut connection.routes())),
        ];
        // Three PTOs, which have grown by then, may be longer.
        self.pair.world.run_for(20 * IDLE);
        for (node, heard) in [self.pair.client_node(), self.pair.server_node()].into_iter().zip(heard) {
            let mut ends = node.events.iter().filter(|(_, _, event)| matches!(event, Event::Closed(_)));
            match ends.next().unwrap() {
                (at, _, Event::Closed(Cause::Idle)) => {
                    assert!(heard.is_none_or(|heard| at.since(heard) >= IDLE.into()), "{at:?} {heard:?}");
                }
                (_, _, Event::Closed(Cause::Local(close)))
                    if close.phrase.as_str() == "the last path was abandoned" => {}
                (at, _, other) => panic!("{at:?}: {other:?}"),
            }
        }
    }

    /// What always holds on the wires.
    fn check_wires(&self) {
        let sightings = self.pair.world.watched();
        observer::amplification(sightings, self.pair.server).unwrap();
        observer::linkability(sightings, self.pair.client).unwrap();
    }

    /// Tells the story, for a walk that fails.
    fn relate(&mut self, seed: u64) {
        eprintln!("seed {seed}:\n{}\n{:?}", self.story.join("\n"), self.flows);
        for host in [self.pair.client, self.pair.server] {
            self.pair.world.with(host, |node, _| {
                for (at, _, event) in node.events.iter().rev().take(30).rev() {
                    eprintln!("{}: {event:?}", at.as_micros());
                }
                let handle = node.latest().expect("a connection");
                if let Some(connection) = node.endpoint.connection_mut(handle) {
                    connection.routes().for_each(|route| eprintln!("{route:?}"));
                    if connection.is_multipath() {
                        connection.paths().for_each(|path| eprintln!("{path:?}"));
                    }
                    eprintln!("{:?} {:?}", connection.usage(), connection.stats());
                }
            });
        }
    }
}

/// An address of an interface of the client.
fn home(interface: usize, port: u16) -> SocketAddr {
    SocketAddr::new(HOMES[interface].parse().unwrap(), port)
}

fn good_link(rng: &mut Rng) -> Link {
    Link::mbit(1.0 + rng.below(8) as f64).delay_ms(2 + rng.below(60)).queue(60_000)
}

fn bad_link(rng: &mut Rng) -> Link {
    let link = Link::mbit(0.5 + rng.below(8) as f64).delay_ms(2 + rng.below(200)).queue(30_000);
    let fault = [EcnFault::None, EcnFault::Bleach, EcnFault::BlackHole, EcnFault::AllCe, EcnFault::Remark];
    let link = link.ecn(fault[rng.below(5) as usize]);
    match rng.below(5) {
        0 => link.loss(0.3),
        1 => link.reorder(0.3, Duration::from_millis(40)),
        2 => link.duplicate(0.3).corrupt(0.05),
        3 => link.mtu(1200 + rng.below(252) as usize),
        _ => link.loss(0.05).reorder(0.1, Duration::from_millis(10)).duplicate(0.05).corrupt(0.02),
    }
}

fn server() -> SocketAddr {
    SERVER.parse().unwrap()
}

/// Whether the server is there, be it where it prefers to be.
fn is_server(address: SocketAddr) -> bool {
    address == server() || address == PREFERRED.parse().unwrap()
}

/// Tells the story of a walk that fails.
struct Teller<'a>(u64, &'a RefCell<Scene>);

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Ok(mut scene) = self.1.try_borrow_mut()
        {
            scene.relate(self.0);
        }
    }
}

fn seeds() -> Range<u64> {
    let Ok(chosen) = std::env::var("PEREGRINE_SEEDS") else { return SEEDS };
    let number = |text: &str| text.parse().expect("PEREGRINE_SEEDS is a number, or two with .. between them");
    chosen.split_once("..").map_or_else(|| 0..number(&chosen), |(from, to)| number(from)..number(to))
}

/// Walks with every seed. Returns how many walks that were, and what happened in them: something of each of `kinds` if they
/// are as many as usual.
fn walk_all(walk: fn(u64) -> Tally, kinds: &[&str]) -> (u64, Tally) {
    let seeds = seeds();
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut total = Tally::new();
    let mut fallen = Vec::new();
    thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|worker| {
                let mine = seeds.clone().skip(worker).step_by(workers);
                // A panic has told its story; the others go on.
                let walk = move |seed| (seed, panic::catch_unwind(|| walk(seed)).ok());
                scope.spawn(move || mine.map(walk).collect::<Vec<_>>())
            })
            .collect();
        for (seed, tally) in handles.into_iter().flat_map(|handle| handle.join().expect("a worker")) {
            let Some(tally) = tally else {
                fallen.push(seed);
                continue;
            };
            tally.into_iter().for_each(|(what, times)| *total.entry(what).or_default() += times);
        }
    });
    println!("{seeds:?}: {total:?}");
    assert!(fallen.is_empty(), "{} walks have failed: {fallen:?}", fallen.len());
    let walks = seeds.end - seeds.start;
    if walks >= SEEDS.end {
        for what in kinds {
            assert!(total.get(what).is_some_and(|times| *times > 0), "no walk has seen this: {what}");
        }
    }
    (walks, total)
}
