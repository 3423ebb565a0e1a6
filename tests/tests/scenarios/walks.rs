//! Random walks: whatever networks, NATs and attackers do, both transfers arrive, and nobody who watches the wires has
//! anything to complain of.
//!
//! Three hundred seeds run with the tests. `PEREGRINE_SEEDS=10000` runs as many as that, `PEREGRINE_SEEDS=4711..4712` one,
//! whose story is told if it fails.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::panic;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use peregrine_core::connection::{CIDS_PER_PATH, Event, MoveCause, NetworkChange, RouteEvent, RouteView};
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::lifecycle::Cause;
use peregrine_core::path::Role;
use peregrine_core::time::Instant;
use peregrine_tests::observer;
use peregrine_tests::pair::{Pair, SERVER, open, read_pattern, write_pattern};
use peregrine_tests::rng::Rng;
use peregrine_tests::sim::{Datagram, EcnFault, Ending, Interface, Link, Nat};

const SEEDS: Range<u64> = 0..300;
/// The client's local addresses, without ports.
const HOMES: [&str; 2] = ["10.0.0.2", "10.0.1.2"];
/// Both sides' idle timeout.
const IDLE: Duration = Duration::from_secs(30);
/// No outage is longer: with the waits between probes doubled, there is time for two after it.
const LONGEST_OUTAGE: Duration = Duration::from_secs(6);
/// Steps of a walk.
const STEPS: u64 = 24;
/// Once all is well, both transfers are over within this time.
const PATIENCE: Duration = Duration::from_secs(60);

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
        if datagram.source == server() {
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
}

fn take_one(credit: &mut u64) -> bool {
    let any = *credit > 0;
    *credit = credit.saturating_sub(1);
    any
}

/// One walk on its way.
struct Walk {
    pair: Pair,
    rng: Rng,
    attack: Rc<RefCell<Attack>>,
    flows: [Flow; 2],
    /// The client was told that it has lost the address of this interface.
    gone: [bool; 2],
    /// When the last outage ends.
    outage: Instant,
    /// No network will ever come back.
    over: Rc<Cell<bool>>,
    /// Routes that the client has opened.
    opened: u64,
    /// Connection IDs were replaced.
    rotated: bool,
    /// What happened, for whoever has to understand a failure.
    story: Vec<String>,
    fresh: u16,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x0a1c_5000);
        let interfaces = [
            Interface::at(HOMES[0]).nat(Nat::at("198.51.100.1")),
            Interface::at(HOMES[1]).nat(Nat::at("198.51.101.1")),
        ];
        let pair = Pair::roaming(seed, interfaces, |client, server| {
            client.endpoint.connection.keep_alive = Some(Duration::from_secs(1));
            for setup in [client, server] {
                setup.endpoint.connection.max_idle_timeout = IDLE;
            }
        });
        let attack = Attack { rng: rng.split(), spoofs: 0, copies: 0, storms: 0, echoes: 0, address: 0 };
        let attack = Rc::new(RefCell::new(attack));
        let mut pair = pair;
        pair.world.watch();
        let attacker = Rc::clone(&attack);
        pair.world.attack(move |_, datagram| attacker.borrow_mut().on_datagram(datagram));
        for interface in 0..HOMES.len() {
            let link = good_link(&mut rng);
            pair.world.interface(pair.client, interface).set_up(link.clone());
            pair.world.interface(pair.client, interface).set_down(link);
        }
        let mut pair = pair.connected();
        let flows = [true, false].map(|from_client| {
            let id = pair.client(|connection, _| open(connection, Dir::Bi));
            if !from_client {
                // The server learns of the stream.
                pair.client(|connection, _| connection.finish(id).unwrap());
            }
            let most = if rng.chance(0.3) { 20_000 } else { 400_000 };
            let len = 1 + rng.below(most);
            Flow { from_client, id, len, sent: 0, received: 0, finished: false, over: false }
        });
        // The server has heard of both streams.
        pair.run_ms(300);
        Self {
            pair,
            rng,
            attack,
            flows,
            gone: [false; 2],
            outage: Instant::ZERO,
            opened: 0,
            rotated: false,
            over: Rc::default(),
            story: Vec::new(),
            fresh: 5000,
        }
    }

    /// Lets both applications work, and time pass until `limit` or until both transfers are over.
    fn go_on(&mut self, limit: Instant) {
        while self.is_alive() && !self.is_over() {
            for flow in &mut self.flows {
                pump(&mut self.pair, flow);
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

    /// Whether the server cannot answer: while nothing got through the client has come from more addresses, each with an ID of
    /// its own, than the server had IDs to answer with (RFC 9000 9.5), fewer if they were being replaced when the outage began.
    /// Neither side can mend that.
    fn is_starved(&self) -> bool {
        let last = self.pair.server_node().events.iter().rev().take(16);
        (self.opened >= CIDS_PER_PATH as u64 || self.rotated)
            && last.into_iter().any(|(_, _, event)| *event == Event::NoSpareCid)
    }

    /// As an adapter does: the client is told when an address is there again.
    fn return_home(&mut self) {
        for (interface, home) in HOMES.iter().enumerate() {
            if self.gone[interface] && self.pair.world.interface(self.pair.client, interface).is_plugged() {
                self.gone[interface] = false;
                let change = NetworkChange::AddressBack(home.parse().unwrap());
                self.pair.client(|connection, now| connection.network_changed(now, change));
                self.story.push(format!("{}: {home} is back", self.pair.world.now().as_micros()));
            }
        }
    }

    /// An address of the client on an interface: one never used before, or the first.
    fn address(&mut self, interface: usize, fresh: bool) -> SocketAddr {
        let mut port = 5000;
        if fresh {
            self.fresh += 1;
            port = self.fresh;
        }
        format!("{}:{port}", HOMES[interface]).parse().unwrap()
    }

    fn step(&mut self) {
        let interface = self.rng.below(2) as usize;
        let what = match self.rng.below(18) {
            0 => {
                self.nat(interface).rebind_port();
                "another port".to_owned()
            }
            1 => {
                let address = format!("198.51.{}.{}", 100 + interface, 2 + self.rng.below(250));
                self.nat(interface).rebind_address(&address);
                format!("another address {address}")
            }
            2 | 3 => self.open(interface, false),
            4 => self.open(interface, true),
            5 | 6 => self.choose(false),
            7 => self.choose(true),
            8 => {
                let link = bad_link(&mut self.rng);
                self.relink(interface, &link);
                format!("{link:?}")
            }
            9 => self.outage(interface, false),
            10 => self.outage(interface, true),
            11 => {
                let address = format!("198.51.{}.{}", 100 + interface, 2 + self.rng.below(250));
                self.nat(interface).rebind_address(&address);
                let change = NetworkChange::NewNetwork(HOMES[interface].parse().unwrap());
                self.pair.client(|connection, now| connection.network_changed(now, change));
                format!("a new network {address}")
            }
            12 => self.attack(|attack, count| attack.spoofs = 1 + count % 3),
            13 | 14 => self.attack(|attack, count| attack.copies = 1 + count),
            15 => self.attack(|attack, count| attack.storms = 1 + count % 4),
            16 => self.attack(|attack, count| attack.echoes = 1 + count),
            _ => self.rotate(),
        };
        self.story.push(format!("{}: {interface}: {what}", self.pair.world.now().as_micros()));
    }

    fn nat(&mut self, interface: usize) -> &mut Nat {
        self.pair.world.interface(self.pair.client, interface).nat_mut()
    }

    fn relink(&mut self, interface: usize, link: &Link) {
        let interface = self.pair.world.interface(self.pair.client, interface);
        interface.set_up(link.clone());
        interface.set_down(link.clone());
    }

    fn open(&mut self, interface: usize, at_once: bool) -> String {
        let fresh = self.rng.chance(0.5);
        let local = self.address(interface, fresh);
        let tag = interface as u32 + 1;
        let route = self.pair.client(|connection, now| {
            if at_once { connection.migrate(now, local, tag) } else { connection.add_route(now, local, tag) }
        });
        self.opened += u64::from(route.is_ok());
        format!("route from {local}, at once {at_once}: {route:?}")
    }

    /// Moves to a route that there is, or closes it.
    fn choose(&mut self, close: bool) -> String {
        let routes: Vec<_> = self.pair.client(|connection, _| connection.routes().collect());
        let route = routes[self.rng.below(routes.len() as u64) as usize];
        if close {
            let closed = self.pair.client(|connection, _| connection.close_route(route.id));
            format!("close {}: {closed:?}", route.local)
        } else {
            let moved = self.pair.client(|connection, now| connection.switch_route(now, route.id));
            format!("move to {} {:?}: {moved:?}", route.local, route.role)
        }
    }

    /// For a while nothing gets through. The system may tell the client.
    fn outage(&mut self, interface: usize, unplug: bool) -> String {
        let end = self.pair.world.now().after(self.rng.up_to(LONGEST_OUTAGE));
        self.outage = self.outage.max(end);
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
            let change = NetworkChange::AddressGone(HOMES[interface].parse().unwrap());
            self.pair.client(|connection, now| connection.network_changed(now, change));
        }
        format!("nothing gets through until {}, unplugged {unplug}, told {told}", end.as_micros())
    }

    /// New connection IDs, if the times are calm enough.
    fn rotate(&mut self) -> String {
        let by_client = self.rng.chance(0.5);
        let rotated = if by_client {
            self.pair.client(|connection, _| connection.rotate_cids())
        } else {
            self.pair.server(|connection, _| connection.rotate_cids())
        };
        self.rotated |= rotated.is_ok();
        format!("new connection IDs, by client {by_client}: {rotated:?}")
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
        let mut attack = self.attack.borrow_mut();
        (attack.spoofs, attack.copies, attack.storms, attack.echoes) = (0, 0, 0, 0);
        drop(attack);
        for interface in 0..HOMES.len() {
            let link = good_link(&mut self.rng);
            self.relink(interface, &link);
            self.pair.world.interface(self.pair.client, interface).plug();
        }
        self.story.push(format!("{}: all is well", self.pair.world.now().as_micros()));
    }

    /// Every network goes, for good: both sides notice by the idle timeout, and not before.
    fn die(&mut self) {
        self.over.set(true);
        for interface in 0..HOMES.len() {
            self.pair.world.interface(self.pair.client, interface).unplug();
            self.relink(interface, &Link::ideal().loss(1.0));
        }
        self.story.push(format!("{}: the end", self.pair.world.now().as_micros()));
        let last = |routes: &mut dyn Iterator<Item = RouteView>| {
            let heard = routes.filter(|route| route.stats.received_datagrams > 0);
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
            let (at, _, event) = ends.next().unwrap();
            assert_eq!(*event, Event::Closed(Cause::Idle));
            assert!(heard.is_none_or(|heard| at.since(heard) >= IDLE.into()), "{at:?}");
        }
    }

    /// What always holds.
    fn check(&mut self) {
        let sightings = self.pair.world.watched();
        observer::amplification(sightings, self.pair.server).unwrap();
        observer::linkability(sightings, self.pair.client).unwrap();
    }

    fn check_tables(&mut self) {
        for routes in [
            self.pair.client(|connection, _| connection.routes().collect::<Vec<_>>()),
            self.pair.server(|connection, _| connection.routes().collect::<Vec<_>>()),
        ] {
            assert_eq!(routes.iter().filter(|route| route.role == Role::Active).count(), 1, "{routes:?}");
        }
    }
}

fn pump(pair: &mut Pair, flow: &mut Flow) {
    let write = |flow: &mut Flow, connection: &mut _| {
        write_pattern(connection, flow.id, &mut flow.sent, flow.len);
        if flow.sent == flow.len && !flow.finished {
            connection.finish(flow.id).unwrap();
            flow.finished = true;
        }
    };
    if flow.over {
        return;
    }
    if flow.from_client {
        if !flow.finished {
            pair.client(|connection, _| write(flow, connection));
        }
        pair.server(|connection, _| flow.over = read_pattern(connection, flow.id, &mut flow.received));
    } else {
        if !flow.finished {
            pair.server(|connection, _| write(flow, connection));
        }
        pair.client(|connection, _| flow.over = read_pattern(connection, flow.id, &mut flow.received));
    }
    assert!(!flow.over || flow.received == flow.len);
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

/// Tells the story of a walk that fails.
struct Teller<'a>(u64, &'a RefCell<Walk>);

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Ok(mut walk) = self.1.try_borrow_mut()
        {
            eprintln!("seed {}:\n{}\n{:?}", self.0, walk.story.join("\n"), walk.flows);
            for host in [walk.pair.client, walk.pair.server] {
                walk.pair.world.with(host, |node, _| {
                    for (at, _, event) in node.events.iter().rev().take(30).rev() {
                        eprintln!("{}: {event:?}", at.as_micros());
                    }
                    let handle = node.latest().expect("a connection");
                    if let Some(connection) = node.endpoint.connection_mut(handle) {
                        connection.routes().for_each(|route| eprintln!("{route:?}"));
                        eprintln!("{:?}", connection.stats());
                    }
                });
            }
        }
    }
}

/// How often what happened, on both sides.
type Tally = BTreeMap<&'static str, u64>;

fn run(seed: u64) -> Tally {
    let walk = RefCell::new(Walk::new(seed));
    let teller = Teller(seed, &walk);
    let mut rng = Rng::new(seed);
    let deadly = rng.chance(0.1);
    let mut starved = false;
    let longest = Duration::from_millis([50, 200, 800][rng.below(3) as usize]);
    for _ in 0..STEPS {
        let pause = rng.up_to(longest);
        let mut walk = walk.borrow_mut();
        let limit = walk.pair.world.now().after(pause);
        walk.go_on(limit);
        if walk.is_over() {
            break;
        }
        assert!(walk.is_alive());
        walk.step();
        walk.check_tables();
    }
    {
        let mut walk = walk.borrow_mut();
        if deadly && !walk.is_over() {
            walk.die();
        } else {
            walk.heal();
            let limit = walk.pair.world.now().after(PATIENCE);
            walk.go_on(limit);
            starved = !walk.is_over() && walk.is_starved();
            assert!(starved || walk.is_over());
        }
        walk.check();
    }
    drop(teller);
    let mut tally = tally(&walk.into_inner());
    tally.insert("starved", starved.into());
    tally
}

fn tally(walk: &Walk) -> Tally {
    let mut tally = Tally::new();
    for node in [walk.pair.client_node(), walk.pair.server_node()] {
        for (_, _, event) in &node.events {
            let what = match event {
                Event::Moved { cause: MoveCause::Chosen, .. } => "chosen",
                Event::Moved { cause: MoveCause::Peer, .. } => "followed",
                Event::Moved { cause: MoveCause::Fallback, .. } => "returned",
                Event::Moved { .. } => "moved for other reasons",
                Event::Route(_, RouteEvent::Validated) => "validated",
                Event::Route(_, RouteEvent::Failed) => "failed",
                Event::NoSpareCid => "no spare ID",
                Event::Closed(_) => "ended",
                _ => continue,
            };
            *tally.entry(what).or_default() += 1;
        }
    }
    tally
}

fn seeds() -> Range<u64> {
    let Ok(chosen) = std::env::var("PEREGRINE_SEEDS") else { return SEEDS };
    let number = |text: &str| text.parse().expect("PEREGRINE_SEEDS is a number, or two with .. between them");
    chosen.split_once("..").map_or_else(|| 0..number(&chosen), |(from, to)| number(from)..number(to))
}

#[test]
fn random_walks_lose_nothing_and_give_nothing_away() {
    let seeds = seeds();
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut total = Tally::new();
    let mut fallen = Vec::new();
    thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|worker| {
                let mine = seeds.clone().skip(worker).step_by(workers);
                // A panic has told its story; the others go on.
                let walk = |seed| (seed, panic::catch_unwind(|| run(seed)).ok());
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
    assert!(total["starved"] * 1_000 <= seeds.end - seeds.start, "more than a few");
    if seeds.end - seeds.start >= SEEDS.end {
        for what in ["chosen", "followed", "returned", "validated", "failed", "no spare ID", "ended"] {
            assert!(total.contains_key(what), "no walk has seen this: {what}");
        }
    }
}
