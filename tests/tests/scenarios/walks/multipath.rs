//! Up to four paths at once: the client opens and moves them, either side abandons and ranks them and ties to them what it sends, keys
//! and connection IDs are replaced, and the networks do as ever. In either dialect, by any scheduler, against peers with less room for paths.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use peregrine_core::congestion::{Algorithm, Coupled};
use peregrine_core::connection::{
    AckReturn, Event, MultipathConfig, NetworkChange, PathEvent, PathView, RouteView, Usage,
};
use peregrine_core::ids::{FourTuple, PathId};
use peregrine_core::path::schedule::{Choice, Facts, Scheduler};
use peregrine_core::path::{Availability, Role};
use peregrine_core::time::Instant;
use peregrine_core::wire::Dialect;
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_tests::quic::{NullConnection, Setup};
use peregrine_tests::rng::Rng;
use peregrine_tests::sim::HostId;

use super::migration::{Used, is_starved};
use super::ties::Ties;
use super::{PATIENCE, STEPS, Scene, Tally, Teller, server, walk_all};

/// Transfers each way.
const EACH_WAY: usize = 2;
/// The longest transfer.
const LONGEST: u64 = 1_000_000;
/// When all is well and nothing is left to be said, what was abandoned has ended within this time, and what does not answer is
/// given up.
const SETTLED: Duration = Duration::from_secs(15);
/// After that nothing is sent for as long as anybody looks.
const LOOK: Duration = Duration::from_secs(5);

/// One of these.
pub(super) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

/// What the application's own scheduler does: it takes the path with the most room.
fn roomiest(facts: &[Facts]) -> Choice {
    let ready = facts.iter().enumerate().filter(|(_, path)| path.is_ready());
    ready.max_by_key(|(_, path)| path.room).map_or(Choice::Wait, |(row, _)| Choice::Path(row))
}

/// One side's choices. `dialect` is among what it speaks. Returns how many paths it allows at first.
fn choose(rng: &mut Rng, dialect: Dialect, setup: &mut Setup) -> u32 {
    let dialects = if rng.chance(0.5) { Dialect::ALL } else { &[dialect] };
    let mut config = MultipathConfig::speaking(dialects).expect("a dialect");
    config.max_paths = pick(rng, &[2, 3, 4, 8]);
    config.scheduler = pick(
        rng,
        &[
            Scheduler::LowestRtt,
            Scheduler::EarliestCompletion,
            Scheduler::Primary,
            Scheduler::Weighted,
            Scheduler::Custom(roomiest),
        ],
    );
    config.acks = pick(rng, &[AckReturn::SamePath, AckReturn::Fastest]);
    config.coupled = pick(rng, &[Coupled::None, Coupled::Lia, Coupled::Olia]);
    config.failover = pick(rng, &[None, Some(Duration::from_millis(20)), Some(Duration::from_millis(200))]);
    config.patience = pick(rng, &[None, Some(Duration::from_secs(1)), Some(Duration::from_secs(5))]);
    setup.endpoint.connection.multipath = Some(config);
    setup.endpoint.connection.congestion = pick(rng, &[Algorithm::NewReno, Algorithm::Cubic]);
    setup.sizes.paths = pick(rng, &[1, 2, 3, 3, 4, 4, 4, 4]);
    setup.sizes.sent = pick(rng, &[12, 16, 32, 64, 256]);
    setup.sizes.paths.min(config.max_paths.into()) as u32
}

/// The last packets of paths that a side has heard to be abandoned.
#[derive(Default)]
struct Silent(BTreeMap<PathId, Option<u64>>);

impl Silent {
    /// Nothing is sent over a path that is abandoned.
    fn check(&mut self, connection: &mut NullConnection) {
        let abandoned: Vec<_> =
            connection.paths().filter(|path| path.abandoned.is_some()).map(|path| path.id).collect();
        let session = connection.session();
        for id in abandoned {
            self.0.entry(id).or_insert_with(|| session.last_sealed(id));
        }
        for (id, last) in &self.0 {
            assert_eq!(session.last_sealed(*id), *last, "{id:?} was abandoned");
        }
    }
}

/// What both sides are held to.
#[derive(Default)]
struct Checks {
    client: Silent,
    server: Silent,
    /// What was abandoned has left no path that both sides have and that the server has seen to work. The connection may go on,
    /// or end in several ways.
    is_stranded: bool,
}

impl Checks {
    /// What holds at any time.
    fn check(&mut self, scene: &mut Scene) {
        let Some((ours, theirs)) = look(scene, scene.pair.client).zip(look(scene, scene.pair.server)) else {
            return;
        };
        let told = &scene.pair.server_node().events;
        let is_proved = |id| {
            let validated = Event::Path(id, PathEvent::Validated);
            id == PathId::ZERO || told.iter().any(|(_, _, event)| *event == validated)
        };
        let serves = |id| ours.iter().any(|path| path.id == id) && is_proved(id);
        self.is_stranded |= !theirs.iter().any(|path| serves(path.id));
        if scene.is_alive() {
            scene.pair.client(|connection, _| check_tables(connection));
            scene.pair.server(|connection, _| check_tables(connection));
            scene.pair.client(|connection, _| self.client.check(connection));
            scene.pair.server(|connection, _| self.server.check(connection));
        }
    }

    /// Waits until all transfers are over. A side may end meanwhile whose paths are looked at before.
    fn wait(&mut self, scene: &mut Scene) {
        let begun = scene.pair.world.now();
        for second in 1..=PATIENCE.as_secs() {
            scene.go_on(begun.after(Duration::from_secs(second)));
            self.check(scene);
        }
    }

    /// What holds once nothing is left to be said: paths that were abandoned have left nothing behind, both sides know the same
    /// of the others, and nobody says a word.
    fn check_rest(&mut self, scene: &mut Scene, is_quiet: bool) {
        scene.return_home();
        scene.pair.world.run_for(SETTLED);
        scene.tell("settled");
        self.check(scene);
        if !scene.is_alive() || self.is_stranded {
            return;
        }
        let [(ours, client), (theirs, server)] = [
            scene.pair.client(|connection, _| rest(connection)),
            scene.pair.server(|connection, _| rest(connection)),
        ];
        let is_over = |paths: &[PathView]| paths.iter().all(|path| path.abandoned.is_none());
        assert!(is_over(&ours) && is_over(&theirs), "{ours:?} {theirs:?}");
        let ids = |paths: &[PathView]| {
            let mut ids: Vec<_> = paths.iter().map(|path| path.id).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&ours), ids(&theirs));
        let statuses = |paths: &[PathView]| paths.iter().any(|path| path.suspect);
        if statuses(&ours) || statuses(&theirs) {
            // A NAT has forgotten one, and its side waits for ever.
            return;
        }
        assert_eq!((client.local_cids, server.local_cids), (server.peer_cids, client.peer_cids));
        assert_eq!((client.retirements, server.retirements), (0, 0));
        if !is_quiet {
            return;
        }
        assert_eq!((client.sent, server.sent), (0, 0));
        let sightings = scene.pair.world.watched().len();
        scene.pair.world.run_for(LOOK);
        let said = &scene.pair.world.watched()[sightings..];
        assert!(said.is_empty(), "{} datagrams from {:?} on", said.len(), said.first().map(|it| it.at));
    }
}

fn rest(connection: &mut NullConnection) -> (Vec<PathView>, Usage) {
    (connection.paths().collect(), connection.usage())
}

/// The open paths of one side, if its connection was not taken out yet.
fn look(scene: &mut Scene, host: HostId) -> Option<Vec<PathView>> {
    scene.pair.world.with(host, |node, _| {
        let handle = node.latest()?;
        node.endpoint.connection_mut(handle).map(|connection| open_paths(connection).collect())
    })
}

fn open_paths(connection: &mut NullConnection) -> impl Iterator<Item = PathView> {
    connection.paths().filter(|path| path.abandoned.is_none())
}

/// Each path that is open has one route in use, and there are no others.
fn check_tables(connection: &mut NullConnection) {
    let paths: Vec<_> = open_paths(connection).collect();
    let in_use: Vec<_> = paths.iter().map(|path| path.route.expect("an open path has a route").id).collect();
    let active: Vec<_> =
        connection.routes().filter(|route| route.role == Role::Active).map(|route| route.id).collect();
    assert!(!in_use.is_empty() && in_use.len() == active.len(), "{paths:?} {active:?}");
    assert!(in_use.iter().all(|route| active.contains(route)), "{paths:?} {active:?}");
}

fn step(scene: &mut Scene, ties: &mut Ties, moves: &mut Moves) {
    let interface = scene.rng.below(scene.interfaces as u64) as usize;
    let what = match scene.rng.below(46) {
        0 => scene.rebind_port(interface),
        1 => scene.rebind_address(interface),
        2 => scene.renew_network(interface),
        3..=9 => open(scene, interface),
        32 | 34 | 35 => abandon(scene),
        10 => format!("{}, {}", open(scene, interface), abandon(scene)),
        11..=13 => abandon(scene),
        14..=16 => rank(scene),
        17 | 36 => moves.open(scene, interface, false),
        18 | 37 => moves.open(scene, interface, true),
        38 | 39 => moves.switch(scene),
        40 => moves.close(scene),
        41..=43 => ties.tie(scene),
        44 | 45 => ties.send(scene),
        19 => update_keys(scene),
        31 => {
            let number = scene.rng.next_u64();
            let after = (number & 1 == 0).then(|| Duration::from_millis(100 + number / 2 % 4_000));
            let weight = std::num::NonZeroU8::MIN.saturating_add((number >> 20) as u8);
            let done = act(scene, |connection, _, path| {
                (connection.set_path_keep_alive(path, after), connection.set_path_weight(path, weight))
            });
            scene.waking |= after.is_some();
            format!("keep alive {after:?}, weight {weight} by client {}: {:?}", done.0, done.2)
        }
        33 => {
            let routes: Vec<_> = scene.pair.client(|connection, _| connection.routes().collect());
            let route = pick(&mut scene.rng, &routes);
            let back = scene.rng.chance(0.5);
            let change =
                if back { NetworkChange::RouteBack(route.id) } else { NetworkChange::RouteGone(route.id) };
            scene.pair.client(|connection, now| connection.network_changed(now, change));
            format!("{change:?}")
        }
        20 => moves.rotate(scene),
        21 | 22 => scene.worsen(interface),
        23 | 24 => scene.outage(interface, false),
        25 | 26 => scene.outage(interface, true),
        27 => scene.attack(|attack, count| attack.spoofs = 1 + count % 3),
        28 => scene.attack(|attack, count| attack.copies = 1 + count),
        29 => scene.attack(|attack, count| attack.storms = 1 + count % 4),
        30 => scene.attack(|attack, count| attack.echoes = 1 + count),
        _ => {
            scene.pair.client(|connection, _| connection.ping());
            "a ping".to_owned()
        }
    };
    scene.tell(&format!("{interface}: {what}"));
}

fn open(scene: &mut Scene, interface: usize) -> String {
    let fresh = scene.rng.chance(0.3);
    let local = scene.address(interface, fresh);
    let on = FourTuple { local, remote: server(), interface: interface as u32 + 1 };
    let status =
        pick(&mut scene.rng, &[Availability::Unknown, Availability::Available, Availability::Backup]);
    let path = scene.pair.client(|connection, now| connection.open_path(now, on, status));
    format!("path from {local}, {status:?}: {path:?}")
}

/// Something that either side may do to one of its paths.
fn act<R>(
    scene: &mut Scene,
    what: impl FnOnce(&mut NullConnection, Instant, PathId) -> R,
) -> (bool, PathId, R) {
    let (by_client, number) = (scene.rng.chance(0.5), scene.rng.next_u64());
    let act = |connection: &mut NullConnection, now| {
        let paths: Vec<_> = connection.paths().collect();
        let id = paths[number as usize % paths.len()].id;
        (by_client, id, what(connection, now, id))
    };
    if by_client { scene.pair.client(act) } else { scene.pair.server(act) }
}

/// Abandons a path at any moment; mostly one beside which both sides have another that works as far as they know.
fn abandon(scene: &mut Scene) -> String {
    let codes = [
        AbandonCode::NoError,
        AbandonCode::Application,
        AbandonCode::ResourceLimit,
        AbandonCode::Unstable,
        AbandonCode::NoCid,
        AbandonCode::Other(77),
    ];
    let code = pick(&mut scene.rng, &codes);
    let careful = scene.rng.chance(0.9);
    let settled = [scene.pair.client, scene.pair.server].map(|host| look(scene, host).unwrap_or_default());
    let done = act(scene, |connection, now, path| {
        let others = |paths: &[PathView]| {
            let proved = |it: &&PathView| it.id != path && it.route.is_some_and(|route| route.validated);
            paths.iter().filter(proved).map(|it| it.id).collect::<Vec<_>>()
        };
        let [ours, theirs] = [others(&settled[0]), others(&settled[1])];
        let is_left = ours.iter().any(|id| theirs.contains(id));
        (is_left || !careful).then(|| connection.abandon_path(now, path, code))
    });
    format!("abandon by client {}: {:?}, {code:?}: {:?}", done.0, done.1, done.2)
}

fn rank(scene: &mut Scene) -> String {
    let backup = scene.rng.chance(0.5);
    let done = act(scene, |connection, _, path| connection.set_path_status(path, backup));
    format!("status by client {}: {:?}, backup {backup}: {:?}", done.0, done.1, done.2)
}

/// What the client does about the routes of its paths.
#[derive(Default)]
struct Moves {
    /// Routes of paths other than the first that were taken as they were opened.
    moved: u64,
    /// Routes that were taken later, or taken back.
    switched: u64,
    used: Used,
}

impl Moves {
    /// One of the client's paths tries another route, or moves there.
    fn open(&mut self, scene: &mut Scene, interface: usize, at_once: bool) -> String {
        let local = scene.address(interface, true);
        let (tag, number) = (interface as u32 + 1, scene.rng.next_u64());
        let (path, route) = scene.pair.client(|connection, now| {
            let paths: Vec<_> = open_paths(connection).map(|path| path.id).collect();
            let path = paths[number as usize % paths.len()];
            let route = connection.add_route_to(now, path, local, tag);
            let taken =
                route.and_then(|route| at_once.then(|| connection.switch_route(now, route)).transpose());
            (path, taken.and(route))
        });
        self.used.opened += u64::from(route.is_ok());
        self.moved += u64::from(at_once && path != PathId::ZERO && route.is_ok());
        format!("route of {path:?} from {local}, at once {at_once}: {route:?}")
    }

    /// A path takes another route that there is.
    fn switch(&mut self, scene: &mut Scene) -> String {
        let route = Self::any(scene);
        let taken = scene.pair.client(|connection, now| connection.switch_route(now, route.id));
        self.switched += u64::from(taken.is_ok() && route.role != Role::Active);
        format!("move to {:?} {:?}: {taken:?}", route.id, route.role)
    }

    fn close(&self, scene: &mut Scene) -> String {
        let route = Self::any(scene);
        let closed = scene.pair.client(|connection, _| connection.close_route(route.id));
        format!("close {:?} {:?}: {closed:?}", route.id, route.role)
    }

    fn rotate(&mut self, scene: &mut Scene) -> String {
        let (rotated, what) = scene.rotate();
        self.used.rotated |= rotated;
        what
    }

    fn any(scene: &mut Scene) -> RouteView {
        let routes: Vec<_> = scene.pair.client(|connection, _| connection.routes().collect());
        pick(&mut scene.rng, &routes)
    }
}

fn update_keys(scene: &mut Scene) -> String {
    let by_client = scene.rng.chance(0.5);
    let update = |connection: &mut NullConnection, _: Instant| connection.update_keys();
    if by_client {
        scene.pair.client(update);
    } else {
        scene.pair.server(update);
    }
    format!("new keys, by client {by_client}")
}

fn walk(seed: u64) -> Tally {
    let mut chances = Rng::new(seed ^ 0x3a7b_0000);
    let interfaces = pick(&mut chances, &[1, 2, 2, 3, 3, 3, 4, 4]);
    let is_quiet = chances.chance(0.5);
    let mut choices = chances.split();
    let mut rows = u32::MAX;
    let scene = RefCell::new(Scene::new(seed, chances, interfaces, (EACH_WAY, LONGEST), |client, server| {
        let dialect = pick(&mut choices, Dialect::ALL);
        rows = choose(&mut choices, dialect, client).min(choose(&mut choices, dialect, server));
        client.endpoint.connection.keep_alive = (!is_quiet).then_some(Duration::from_secs(1));
        if choices.chance(0.05) {
            server.endpoint.connection.multipath = None;
        }
    }));
    let teller = Teller(seed, &scene);
    let (mut checks, mut moves) = (Checks::default(), Moves::default());
    let mut ties = Ties::of(&scene.borrow());
    let mut starved = false;
    let mut rng = Rng::new(seed);
    let deadly = rng.chance(0.1);
    let longest = Duration::from_millis([50, 200, 800][rng.below(3) as usize]);
    for _ in 0..STEPS {
        let pause = rng.up_to(longest);
        let mut scene = scene.borrow_mut();
        scene.go_on_for(pause);
        checks.check(&mut scene);
        if scene.is_over() || !scene.is_alive() {
            break;
        }
        step(&mut scene, &mut ties, &mut moves);
        ties.take(&mut scene);
        checks.check(&mut scene);
    }
    {
        let mut scene = scene.borrow_mut();
        if deadly && !scene.is_over() && scene.is_alive() && !checks.is_stranded {
            scene.die();
        } else {
            scene.heal();
            scene.bring_back();
            checks.wait(&mut scene);
            if !scene.is_over() && scene.is_alive() && ties.untie_waiting(&mut scene) {
                scene.tell("what needs a path that does not work goes over others");
                checks.wait(&mut scene);
            }
            starved = !scene.is_over() && is_starved(&mut scene, moves.used);
            assert!(scene.is_over() || checks.is_stranded || starved);
            let is_quiet = is_quiet && !scene.waking;
            checks.check_rest(&mut scene, is_quiet);
        }
        scene.check_wires();
    }
    drop(teller);
    let mut tally = tally(&scene.into_inner(), rows);
    tally.extend([
        ("stranded", checks.is_stranded.into()),
        ("starved", starved.into()),
        ("tied", ties.tied),
        ("datagrams", ties.arrived()),
        ("a later path moved", moves.moved),
        ("switched", moves.switched),
    ]);
    tally
}

/// Counts what happened where both sides have so many rows for paths.
fn tally(scene: &Scene, rows: u32) -> Tally {
    let mut tally = Tally::new();
    for node in [scene.pair.client_node(), scene.pair.server_node()] {
        for (_, _, event) in &node.events {
            let what = match event {
                Event::Path(id, PathEvent::Opened) if id.0 >= rows => "opened with a later ID",
                Event::Path(_, PathEvent::Opened) => "opened",
                Event::Path(_, PathEvent::Validated) => "validated",
                Event::Path(_, PathEvent::Suspect) => "suspect",
                Event::Path(_, PathEvent::Restored) => "restored",
                Event::Path(_, PathEvent::Status(_)) => "status",
                Event::Path(_, PathEvent::Abandoned) => "abandoned",
                Event::PathPossible => "possible again",
                Event::Moved { .. } => "moved",
                Event::KeysUpdated(_) => "new keys",
                Event::NoSpareCid => "no spare ID",
                Event::Closed(_) => "ended",
                _ => continue,
            };
            *tally.entry(what).or_default() += 1;
        }
    }
    tally
}

#[test]
fn random_walks_on_several_paths_lose_nothing_and_leave_nothing_behind() {
    let kinds = [
        "opened",
        "opened with a later ID",
        "validated",
        "suspect",
        "restored",
        "status",
        "abandoned",
        "possible again",
        "moved",
        "new keys",
        "ended",
        "tied",
        "datagrams",
        "a later path moved",
        "switched",
    ];
    let (walks, total) = walk_all(walk, &kinds);
    assert!(total["stranded"] * 20 <= walks, "more than a few");
    assert!(total["starved"] * 300 <= walks, "more than a few");
}

/// The server's table of sent packets was full, and a path with nothing under way was to carry what finds no row: again and again it was
/// asked for that, and for no acknowledgment.
#[test]
fn a_walk_on_which_time_stood_still() {
    walk(6457);
}
