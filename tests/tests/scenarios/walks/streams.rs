//! One path, and everything that applications may do with streams, on memories of any size: opened, written, finished, reset, stopped,
//! ranked and read at any moment from the first flight on, while the networks do as ever. At the end all is told, all rows are free
//! again, and whoever closes is heard.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use peregrine_core::congestion::Algorithm;
use peregrine_core::connection::Event;
use peregrine_core::endpoint::{Handle, RetryPolicy};
use peregrine_core::ids::{Dir, Side, StreamId};
use peregrine_core::lifecycle::{Cause, Reason};
use peregrine_core::stream::{Closed, Read, StreamEvent, WriteError};
use peregrine_core::time::Instant;
use peregrine_tests::null_session::Flights;
use peregrine_tests::observer;
use peregrine_tests::pair::Pair;
use peregrine_tests::quic::{NullConnection, QuicNode, Setup, pattern};
use peregrine_tests::rng::Rng;
use peregrine_tests::sim::{Interface, Link, Nat};

use super::multipath::pick;
use super::{Tally, bad_link, good_link, walk_all};

/// Steps of a walk.
const STEPS: u64 = 120;
/// Once all is well, everything is over within this time.
const PATIENCE: Duration = Duration::from_secs(240);
/// After that nothing is left under way.
const SETTLED: Duration = Duration::from_secs(20);
/// What a stream is given at once, and where windows are tiny.
const MOST: u64 = 6_000;
const LITTLE: u64 = 60;

/// How a writer has ended a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum End {
    #[default]
    None,
    Finished,
    Reset(u64),
}

/// One direction of one stream.
#[derive(Debug, Default)]
struct Half {
    written: u64,
    end: End,
    /// It was finished, and reset later: the reader may be told either.
    both: bool,
    /// With what its reader has stopped it.
    stopped: Option<u64>,
    read: u64,
    /// What the reader was told in the end.
    told: Option<End>,
}

impl Half {
    fn is_over(&self) -> bool {
        self.end != End::None && (self.told.is_some() || self.stopped.is_some())
    }
}

/// A half is named by its stream and whether the client writes.
type Name = (StreamId, bool);

struct Scene {
    pair: Pair,
    rng: Rng,
    halves: BTreeMap<Name, Half>,
    story: Vec<String>,
    /// How many streams each side may open, by direction: as the other side allows at first.
    rooms: [[usize; 2]; 2],
    /// What is written at once.
    most: u64,
    /// Both sides have memory for more than two connection IDs of each other.
    may_rotate: bool,
    /// Connection IDs were replaced.
    rotated: bool,
}

fn setup(rng: &mut Rng, client: &mut Setup, server: &mut Setup) {
    for setup in [&mut *client, &mut *server] {
        setup.sizes.streams = pick(rng, &[1, 2, 3, 8, 16]);
        setup.sizes.sent = pick(rng, &[8, 16, 32, 256]);
        setup.sizes.rx = pick(rng, &[9, 36, 1152, 10_000, 100_000]);
        setup.sizes.tx = pick(rng, &[1, 16, 100, 1024, 10_000, 100_000]);
        setup.sizes.datagram = pick(rng, &[0, 100, 4096]);
        setup.sizes.cids = pick(rng, &[2, 4, 8]);
        let streams = setup.sizes.streams as u64;
        let config = &mut setup.endpoint.connection;
        config.peer_bidi_streams = rng.below(streams + 1) as u16;
        config.peer_uni_streams = rng.below(streams + 1 - u64::from(config.peer_bidi_streams)) as u16;
        config.connection_window = pick(rng, &[None, None, Some(1), Some(500)]);
        config.congestion = pick(rng, &[Algorithm::NewReno, Algorithm::Cubic]);
        config.ecn = rng.chance(0.7);
        config.grease = rng.chance(0.7);
        config.max_mtu = pick(rng, &[1200, 1252, 1452]);
        config.max_ack_delay = Duration::from_millis(pick(rng, &[0, 1, 25, 200]));
        config.initial_rtt = Duration::from_millis(pick(rng, &[10, 100, 333]));
        config.max_idle_timeout = pick(rng, &[Duration::ZERO, Duration::from_secs(60)]);
        config.handshake_timeout = Duration::from_secs(120);
        setup.session.limits.confidentiality = pick(rng, &[1 << 23, 1 << 23, 1000]);
        setup.session.flights = Flights {
            client_hello: pick(rng, &[280, 280, 1800]),
            server_flight: pick(rng, &[1100, 1100, 3800]),
            ticket: pick(rng, &[0, 0, 300]),
            ..Flights::default()
        };
    }
    client.endpoint.cid_len = pick(rng, &[0, 4, 8, 20]);
    server.endpoint.cid_len = pick(rng, &[4, 8, 20]);
    server.endpoint.retry = pick(rng, &[RetryPolicy::UnderLoad, RetryPolicy::Always]);
    // What keeps a quiet connection that nobody else would.
    client.endpoint.connection.keep_alive = Some(Duration::from_secs(5));
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x57e4_0000);
        let link = if rng.chance(0.5) { good_link(&mut rng) } else { bad_link(&mut rng) };
        let interface = Interface::at("10.0.0.2").link(link).nat(Nat::at("198.51.100.1"));
        let (mut most, mut may_rotate) = (MOST, true);
        let (mut rooms, mut story) = ([[0; 2]; 2], Vec::new());
        let mut pair = Pair::roaming(seed, [interface], |client, server| {
            setup(&mut rng, client, server);
            for setup in [&*client, &*server] {
                let window = setup.endpoint.connection.connection_window.unwrap_or(u64::MAX);
                if window.min(setup.sizes.rx as u64).min(setup.sizes.tx as u64) < 100 {
                    most = LITTLE;
                }
                may_rotate &= setup.sizes.cids > 2;
            }
            story.extend([&*client, &*server].map(|setup| format!("{setup:?}")));
            for (rooms, [ours, theirs]) in rooms.iter_mut().zip([[&*client, &*server], [&*server, &*client]])
            {
                let (allows, rows) = (&theirs.endpoint.connection, ours.sizes.streams);
                let own = &ours.endpoint.connection;
                let free = rows - usize::from(own.peer_bidi_streams) - usize::from(own.peer_uni_streams);
                // A limit is told again once it could grow by half.
                let least = |allowed: u16| usize::from(allowed - (allowed / 2).saturating_sub(1));
                *rooms = [allows.peer_bidi_streams, allows.peer_uni_streams].map(|all| free.min(least(all)));
            }
        });
        pair.world.watch();
        pair.connect(&[]);
        story.insert(0, format!("{rooms:?}"));
        Self { pair, rng, halves: BTreeMap::new(), story, rooms, most, may_rotate, rotated: false }
    }

    fn tell(&mut self, what: &str) {
        self.story.push(format!("{}: {what}", self.pair.world.now().as_micros()));
    }

    /// Does something to one side's connection, if it is there and open.
    fn on<R>(&mut self, client: bool, act: impl FnOnce(&mut NullConnection, Instant) -> R) -> Option<R> {
        let host = if client { self.pair.client } else { self.pair.server };
        self.pair.world.with(host, |node, now| {
            let handle = handle(node)?;
            node.endpoint.connection_mut(handle).map(|connection| act(connection, now))
        })
    }

    fn node(&self, client: bool) -> &QuicNode {
        if client { self.pair.client_node() } else { self.pair.server_node() }
    }

    /// What one side's connection told.
    fn told(&self, client: bool) -> impl Iterator<Item = Event> {
        let node = self.node(client);
        let handle = handle(node);
        node.events.iter().filter(move |(_, of, _)| Some(*of) == handle).map(|(_, _, event)| *event)
    }

    fn cause(&self, client: bool) -> Option<Cause> {
        self.told(client).find_map(|event| if let Event::Closed(cause) = event { Some(cause) } else { None })
    }

    fn is_alive(&self) -> bool {
        self.cause(true).is_none() && self.cause(false).is_none()
    }

    /// Whether the client has come from more addresses than the server had IDs to answer with, while they were being replaced.
    fn is_starved(&mut self) -> bool {
        let waits = |it: &mut NullConnection, _: Instant| it.usage().retirements > 0;
        let waits = [true, false].map(|client| self.on(client, waits) == Some(true));
        self.rotated && (waits.contains(&true) || self.told(false).any(|event| event == Event::NoSpareCid))
    }

    fn have_heard(&self, event: Event) -> bool {
        [true, false].into_iter().all(|client| self.told(client).any(|told| told == event))
    }

    /// Any half that there is, or none.
    fn any(&mut self) -> Option<Name> {
        let count = self.halves.len() as u64;
        (count > 0).then(|| *self.halves.keys().nth(self.rng.below(count) as usize).unwrap())
    }

    /// Notes the halves of a stream that one side has opened or seen.
    fn meet(&mut self, id: StreamId) {
        let by_client = id.initiator() == Side::Client;
        self.halves.entry((id, by_client)).or_default();
        if id.dir() == Dir::Bi {
            self.halves.entry((id, !by_client)).or_default();
        }
    }

    fn open(&mut self) -> String {
        let (client, dir) = (self.rng.chance(0.5), pick(&mut self.rng, &[Dir::Bi, Dir::Uni]));
        let id = self.on(client, |connection, _| connection.open(dir));
        if let Some(Ok(id)) = id {
            self.meet(id);
        }
        format!("open by client {client} {dir:?}: {id:?}")
    }

    fn accept(&mut self) -> String {
        let (client, dir) = (self.rng.chance(0.5), pick(&mut self.rng, &[Dir::Bi, Dir::Uni]));
        let id = self.on(client, |connection, _| connection.accept(dir)).flatten();
        if let Some(id) = id {
            assert_ne!(id.initiator() == Side::Client, client);
            assert!(self.halves.contains_key(&(id, !client)), "{id:?} was never opened");
        }
        format!("accept by client {client} {dir:?}: {id:?}")
    }

    fn write(&mut self, name: Name, len: u64) -> String {
        let (id, client) = name;
        let half = &self.halves[&name];
        let (at, end, stopped) = (half.written, half.end, half.stopped);
        let bytes: Vec<u8> = (at..at + len).map(pattern).collect();
        let taken = self.on(client, |connection, _| connection.write_stream(id, &bytes));
        let half = self.halves.get_mut(&name).unwrap();
        match taken {
            Some(Ok(taken)) => {
                assert_eq!(end, End::None);
                half.written += taken as u64;
            }
            Some(Err(WriteError::Reset(code))) => match end {
                End::Reset(ours) => assert_eq!(code, ours),
                // The peer has asked for it.
                _ => {
                    assert_eq!(stopped, Some(code), "{id:?}");
                    half.end = End::Reset(code);
                }
            },
            // Not known yet to a side that has not opened it, or forgotten once that side was told.
            Some(Err(WriteError::Closed)) | None => {
                let told = stopped.map(|code| Event::Stream(StreamEvent::Stopped(id, code)));
                if self.told(client).any(|event| Some(event) == told) {
                    self.halves.get_mut(&name).unwrap().end = End::Reset(stopped.unwrap());
                }
            }
        }
        format!("write {len} to {name:?}: {taken:?}")
    }

    fn finish(&mut self, name: Name) -> String {
        let done = self.on(name.1, |connection, _| connection.finish(name.0));
        let half = self.halves.get_mut(&name).unwrap();
        match done {
            Some(Ok(())) => {
                assert_eq!(half.end, End::None);
                half.end = End::Finished;
            }
            Some(Err(WriteError::Reset(code))) if half.end == End::None => {
                assert_eq!(half.stopped, Some(code));
                half.end = End::Reset(code);
            }
            _ => {}
        }
        format!("finish {name:?}: {done:?}")
    }

    fn reset(&mut self, name: Name) -> String {
        let code = self.rng.below(1 << 40);
        let done = self.on(name.1, |connection, _| connection.reset(name.0, code));
        if done == Some(Ok(())) {
            let half = self.halves.get_mut(&name).unwrap();
            half.both = half.end == End::Finished;
            half.end = End::Reset(code);
        }
        format!("reset {name:?} {code}: {done:?}")
    }

    fn stop(&mut self, name: Name) -> String {
        let code = self.rng.below(1 << 40);
        let done = self.on(!name.1, |connection, _| connection.stop(name.0, code));
        let half = self.halves.get_mut(&name).unwrap();
        if done == Some(Ok(())) {
            assert_eq!((half.stopped, half.told), (None, None));
            half.stopped = Some(code);
        }
        format!("stop {name:?} {code}: {done:?}")
    }

    /// Reads, or looks first and takes then.
    fn read(&mut self, name: Name, most: usize) -> String {
        let peek = self.rng.chance(0.3);
        let half = &self.halves[&name];
        let (at, written) = (half.read, half.written);
        let mut buffer = vec![0; most];
        let read = self.on(!name.1, |connection, _| {
            if peek {
                let seen = connection.peek_stream(name.0, |first, second| [first, second].concat())?;
                assert!(seen.iter().zip(at..).all(|(byte, at)| *byte == pattern(at)), "{name:?}");
                let len = seen.len().min(most);
                connection.consume_stream(name.0, len)?;
                if len > 0 {
                    buffer[..len].copy_from_slice(&seen[..len]);
                    return Ok(Read::Bytes(len));
                }
            }
            connection.read_stream(name.0, &mut buffer)
        });
        let half = self.halves.get_mut(&name).unwrap();
        match read {
            Some(Ok(Read::Bytes(len))) => {
                assert!(buffer[..len].iter().zip(at..).all(|(byte, at)| *byte == pattern(at)), "{name:?}");
                half.read += len as u64;
                assert!(half.read <= written && half.told.is_none() && half.stopped.is_none());
            }
            Some(Ok(Read::Finished)) => {
                assert_eq!((half.read, half.told), (half.written, None));
                assert!(half.end == End::Finished || half.both);
                half.told = Some(End::Finished);
            }
            Some(Ok(Read::Reset(code))) => {
                assert_eq!(half.told, None);
                assert!(half.end == End::Reset(code), "{half:?} {code}");
                half.told = Some(End::Reset(code));
            }
            Some(Ok(Read::Blocked) | Err(Closed)) | None => {}
        }
        format!("read {name:?}: {read:?}")
    }

    fn rank(&mut self, name: Name) -> String {
        let (client, urgency) = (self.rng.chance(0.5), self.rng.below(8) as u8);
        let done = self.on(client, |connection, _| connection.set_priority(name.0, urgency));
        format!("{name:?} is {urgency} for client {client}: {done:?}")
    }

    fn datagram(&mut self) -> String {
        let (client, len) = (self.rng.chance(0.5), self.rng.below(1_300) as usize);
        let sent = self.on(client, |connection, _| connection.send_datagram(&vec![len as u8; len]));
        let mut buffer = [0; 1_500];
        while let Some(len) = self.on(client, |connection, _| connection.recv_datagram(&mut buffer)).flatten()
        {
            assert!(buffer[..len].iter().all(|byte| *byte == len as u8));
        }
        format!("datagram of {len} by client {client}: {sent:?}")
    }

    fn relink(&mut self, link: &Link) -> String {
        let interface = self.pair.world.interface(self.pair.client, 0);
        interface.set_up(link.clone());
        interface.set_down(link.clone());
        format!("{link:?}")
    }

    fn outage(&mut self) -> String {
        let end = self.pair.world.now().after(self.rng.up_to(Duration::from_secs(4)));
        let (client, link) = (self.pair.client, good_link(&mut self.rng));
        self.relink(&Link::ideal().loss(1.0));
        self.pair.world.at_ms(end.as_micros() / 1000, move |world| {
            world.interface(client, 0).set_up(link.clone());
            world.interface(client, 0).set_down(link);
        });
        format!("nothing gets through until {}", end.as_micros())
    }

    fn step(&mut self) {
        let name = self.any();
        let kind = self.rng.below(40);
        let what = match (kind, name) {
            (0..=7, _) | (8..=27, None) => self.open(),
            (8..=13, Some(name)) => {
                let len = self.rng.below(self.most);
                self.write(name, len)
            }
            (14..=16, Some(name)) => self.finish(name),
            (17, Some(name)) => self.reset(name),
            (18, Some(name)) => self.stop(name),
            (19..=25, Some(name)) => {
                let most = 1 + self.rng.below(MOST) as usize;
                self.read(name, most)
            }
            (26 | 27, Some(name)) => self.rank(name),
            (28 | 29, _) => self.accept(),
            (30 | 31, _) => self.datagram(),
            (32, _) => {
                let client = self.rng.chance(0.5);
                self.on(client, |connection, _| connection.update_keys());
                format!("new keys, by client {client}")
            }
            // Who has but two is left with none where they are replaced while an address changes.
            (33, _) if self.may_rotate => {
                let client = self.rng.chance(0.5);
                let done = self.on(client, |connection, _| connection.rotate_cids());
                self.rotated |= done == Some(Ok(()));
                format!("new connection IDs, by client {client}: {done:?}")
            }
            // Before that a token of a Retry may no longer fit, and who has but Handshake packets to send is not followed.
            (34, _) if self.have_heard(Event::Confirmed) => {
                self.pair.world.interface(self.pair.client, 0).nat_mut().rebind_port();
                "another port".to_owned()
            }
            (35, _) => {
                let link = bad_link(&mut self.rng);
                self.relink(&link)
            }
            (36, _) => {
                let link = good_link(&mut self.rng);
                self.relink(&link)
            }
            (37, _) => self.outage(),
            _ => {
                let client = self.rng.chance(0.5);
                self.on(client, |connection, _| connection.ping());
                format!("a ping by client {client}")
            }
        };
        self.tell(&what);
    }

    /// All streams come to their ends: writers finish, readers read.
    fn wind_up(&mut self) {
        let names: Vec<_> = self.halves.keys().copied().collect();
        for name in names {
            if self.halves[&name].end == End::None {
                self.write(name, 0);
                self.finish(name);
            }
            for _ in 0..200 {
                let (before, told) = (self.halves[&name].read, self.halves[&name].told);
                if told.is_some() || self.halves[&name].stopped.is_some() {
                    break;
                }
                self.read(name, 10_000);
                if self.halves[&name].read == before {
                    break;
                }
            }
        }
        for client in [true, false] {
            let mut buffer = [0; 1_500];
            while self.on(client, |connection, _| connection.recv_datagram(&mut buffer)).flatten().is_some() {
            }
            for dir in [Dir::Bi, Dir::Uni] {
                while self.on(client, |connection, _| connection.accept(dir)).flatten().is_some() {}
            }
        }
    }

    fn is_over(&self) -> bool {
        self.halves.values().all(Half::is_over)
    }

    fn check_rest(&mut self) {
        self.pair.world.run_for(SETTLED);
        self.wind_up();
        for client in [true, false] {
            let (usage, stats) = self.on(client, |it, _| (it.usage(), it.stats())).unwrap();
            if self.is_starved() {
                return;
            }
            assert_eq!(usage.streams, 0, "client {client}: {usage:?} {stats:?}");
            assert!(client || usage.sent <= 1, "client {client}: {usage:?}");
        }
        // What was closed may be opened again.
        for (rooms, client) in self.rooms.into_iter().zip([true, false]) {
            for (room, dir) in rooms.into_iter().zip([Dir::Bi, Dir::Uni]) {
                let mut ids = vec![];
                for _ in 0..room {
                    let id = self.on(client, |connection, _| connection.open(dir)).unwrap();
                    ids.push(id.unwrap_or_else(|error| panic!("client {client} {dir:?} {room}: {error:?}")));
                }
                for id in ids {
                    self.meet(id);
                }
                let limit = self.pair.world.now().after(PATIENCE);
                self.finish_all(limit);
                assert!(self.is_over(), "again");
                self.pair.world.run_for(SETTLED);
                self.wind_up();
            }
        }
    }

    fn finish_all(&mut self, limit: Instant) {
        while self.is_alive() && !self.is_over() {
            self.wind_up();
            let before = self.pair.world.now();
            if before >= limit {
                return;
            }
            let next = before.after(Duration::from_millis(50)).min(limit);
            self.pair.world.run_until(next, |_| false);
            let now = self.pair.world.now();
            if now < next {
                self.pair.world.run_for(Duration::from_millis(50));
            }
        }
    }

    /// Either side closes, and the other hears it.
    fn close(&mut self) {
        let client = self.rng.chance(0.5);
        let code = self.rng.below(1 << 40);
        self.on(client, |connection, now| connection.close(now, code, "walk"));
        self.tell(&format!("closed by client {client} with {code}"));
        self.pair.world.run_for(Duration::from_secs(150));
        for side in [true, false] {
            let node = self.node(side);
            match self.cause(side) {
                Some(Cause::Local(_)) if side == client => {}
                Some(Cause::Peer(close)) if side != client => {
                    assert_eq!(close.reason, Reason::Application { code }, "{close:?}");
                }
                // Who closes speaks to where the peer was, and forgets (RFC 9000 10.2.1).
                Some(Cause::StatelessReset) if side != client => {}
                other => panic!("client {side}: {other:?}"),
            }
            // A late copy of the first Initial may have begun another one.
            assert!(!node.ended.is_empty());
            assert!(node.endpoint.is_empty());
            assert_eq!(node.endpoint.half_open(), 0);
        }
    }

    fn relate(&mut self, seed: u64) {
        eprintln!("seed {seed}:\n{}", self.story.join("\n"));
        for (name, half) in &self.halves {
            if !half.is_over() {
                eprintln!("{name:?} {half:?}");
            }
        }
        for client in [true, false] {
            for (at, _, event) in self.node(client).events.iter().rev().take(20).rev() {
                eprintln!("client {client} {}: {event:?}", at.as_micros());
            }
            self.on(client, |connection, _| {
                eprintln!("{:?} {:?}", connection.usage(), connection.stats());
                connection.routes().for_each(|route| eprintln!("{route:?}"));
            });
        }
    }
}

/// The first connection. A late copy of its first Initial may have begun another one.
fn handle(node: &QuicNode) -> Option<Handle> {
    node.opened.first().or(node.accepted.first()).copied()
}

struct Teller(u64, Scene);

impl Drop for Teller {
    fn drop(&mut self) {
        if thread::panicking() {
            self.1.relate(self.0);
        }
    }
}

fn walk(seed: u64) -> Tally {
    let mut teller = Teller(seed, Scene::new(seed));
    let scene = &mut teller.1;
    let longest = Duration::from_millis(pick(&mut scene.rng, &[5, 50, 400]));
    let early = scene.rng.chance(0.1).then(|| scene.rng.below(STEPS));
    for step in 0..STEPS {
        let pause = scene.rng.up_to(longest);
        scene.pair.world.run_for(pause);
        assert!(scene.is_alive(), "{:?} {:?}", scene.cause(true), scene.cause(false));
        if early == Some(step) && scene.have_heard(Event::Connected) {
            break;
        }
        scene.step();
    }
    let link = good_link(&mut scene.rng);
    scene.relink(&link);
    scene.tell("all is well");
    // The end of an outage may lay another good link.
    scene.pair.world.run_for(Duration::from_secs(5));
    let limit = scene.pair.world.now().after(Duration::from_secs(40));
    while !scene.have_heard(Event::Connected) && scene.pair.world.now() < limit {
        scene.pair.world.run_for(Duration::from_secs(1));
    }
    assert!(scene.have_heard(Event::Connected), "no handshake");
    if early.is_none() {
        let limit = scene.pair.world.now().after(PATIENCE);
        scene.finish_all(limit);
        if scene.is_starved() {
            return Tally::from([("starved", 1)]);
        }
        assert!(scene.is_over() && scene.is_alive());
        scene.check_rest();
    }
    if scene.is_starved() {
        return Tally::from([("starved", 1)]);
    }
    scene.close();
    observer::amplification(scene.pair.world.watched(), scene.pair.server).unwrap();
    let mut tally = Tally::new();
    for client in [true, false] {
        for event in scene.told(client) {
            let what = match event {
                Event::Stream(StreamEvent::Opened(_)) => "opened",
                Event::Stream(StreamEvent::Available(_)) => "available",
                Event::Stream(StreamEvent::Finished(_)) => "finished",
                Event::Stream(StreamEvent::Stopped(..)) => "stopped",
                Event::Stream(StreamEvent::Writable(_)) => "writable",
                Event::Datagram => "datagrams",
                Event::KeysUpdated(_) => "new keys",
                Event::Moved { .. } => "moved",
                Event::Closed(_) => "ended",
                _ => continue,
            };
            *tally.entry(what).or_default() += 1;
        }
    }
    tally.insert("halves", scene.halves.len() as u64);
    tally.insert(
        "resets told",
        scene.halves.values().filter(|it| matches!(it.told, Some(End::Reset(_)))).count() as u64,
    );
    tally.insert("bytes", scene.halves.values().map(|it| it.read).sum());
    tally
}

#[test]
fn random_walks_of_applications_leave_no_stream_behind() {
    let kinds = [
        "opened",
        "available",
        "finished",
        "stopped",
        "writable",
        "datagrams",
        "new keys",
        "moved",
        "ended",
        "resets told",
    ];
    walk_all(walk, &kinds);
}
