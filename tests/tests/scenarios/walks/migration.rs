//! One path: a client with two networks moves between them, or is moved.

use std::cell::RefCell;
use std::time::Duration;

use peregrine_core::connection::{CIDS_PER_PATH, Event, MoveCause, RouteEvent};
use peregrine_core::path::Role;
use peregrine_tests::rng::Rng;

use super::{PATIENCE, STEPS, Scene, Tally, Teller, walk_all};

/// Networks of the client.
const NETWORKS: usize = 2;
/// The longest transfer.
const LONGEST: u64 = 400_000;

/// What was done to connection IDs.
#[derive(Clone, Copy, Default)]
pub(super) struct Used {
    /// Routes that the client has opened.
    pub(super) opened: u64,
    /// Connection IDs were replaced.
    pub(super) rotated: bool,
}

/// Whether one side cannot answer. While nothing got through the client has come from more addresses, each with an ID of
/// its own, than the server had IDs to answer with (RFC 9000 9.5), fewer if they were being replaced when the outage began. Or the
/// client, or a server whose client rotates, had used up all but one for routes that are closed, and the order to replace that one
/// too came before any other.
/// Neither side can mend that.
pub(super) fn is_starved(scene: &mut Scene, used: Used) -> bool {
    // It is told again and again that a route is suspect, until the idle timeout.
    let last = scene.pair.server_node().events.iter().rev().take(32);
    let is_told = last.into_iter().any(|(_, _, event)| *event == Event::NoSpareCid);
    let is_mute = used.rotated
        && scene.are_there()
        && (scene.pair.client(|it, _| it.usage().peer_cids) == 0
            || scene.pair.server(|it, _| it.usage().peer_cids) == 0);
    (used.opened >= CIDS_PER_PATH as u64 || used.rotated) && (is_told || is_mute)
}

fn step(scene: &mut Scene, used: &mut Used) {
    let interface = scene.rng.below(NETWORKS as u64) as usize;
    let what = match scene.rng.below(18) {
        0 => scene.rebind_port(interface),
        1 => scene.rebind_address(interface),
        2 | 3 => open(scene, used, interface, false),
        4 => open(scene, used, interface, true),
        5 | 6 => choose(scene, false),
        7 => choose(scene, true),
        8 => scene.worsen(interface),
        9 => scene.outage(interface, false),
        10 => scene.outage(interface, true),
        11 => scene.renew_network(interface),
        12 => scene.attack(|attack, count| attack.spoofs = 1 + count % 3),
        13 | 14 => scene.attack(|attack, count| attack.copies = 1 + count),
        15 => scene.attack(|attack, count| attack.storms = 1 + count % 4),
        16 => scene.attack(|attack, count| attack.echoes = 1 + count),
        _ => {
            let (rotated, what) = scene.rotate();
            used.rotated |= rotated;
            what
        }
    };
    scene.tell(&format!("{interface}: {what}"));
}

fn open(scene: &mut Scene, used: &mut Used, interface: usize, at_once: bool) -> String {
    let fresh = scene.rng.chance(0.5);
    let local = scene.address(interface, fresh);
    let tag = interface as u32 + 1;
    let route = scene.pair.client(|connection, now| {
        if at_once { connection.migrate(now, local, tag) } else { connection.add_route(now, local, tag) }
    });
    used.opened += u64::from(route.is_ok());
    format!("route from {local}, at once {at_once}: {route:?}")
}

/// Moves to a route that there is, or closes it.
fn choose(scene: &mut Scene, close: bool) -> String {
    let routes: Vec<_> = scene.pair.client(|connection, _| connection.routes().collect());
    let route = routes[scene.rng.below(routes.len() as u64) as usize];
    if close {
        let closed = scene.pair.client(|connection, _| connection.close_route(route.id));
        format!("close {}: {closed:?}", route.local)
    } else {
        let moved = scene.pair.client(|connection, now| connection.switch_route(now, route.id));
        format!("move to {} {:?}: {moved:?}", route.local, route.role)
    }
}

fn check_tables(scene: &mut Scene) {
    for routes in [
        scene.pair.client(|connection, _| connection.routes().collect::<Vec<_>>()),
        scene.pair.server(|connection, _| connection.routes().collect::<Vec<_>>()),
    ] {
        assert_eq!(routes.iter().filter(|route| route.role == Role::Active).count(), 1, "{routes:?}");
    }
}

fn walk(seed: u64) -> Tally {
    let chances = Rng::new(seed ^ 0x0a1c_5000);
    let scene = RefCell::new(Scene::new(seed, chances, NETWORKS, (1, LONGEST), |client, _| {
        client.endpoint.connection.keep_alive = Some(Duration::from_secs(1));
    }));
    let teller = Teller(seed, &scene);
    let mut used = Used::default();
    let mut rng = Rng::new(seed);
    let deadly = rng.chance(0.1);
    let mut starved = false;
    let longest = Duration::from_millis([50, 200, 800][rng.below(3) as usize]);
    for _ in 0..STEPS {
        let pause = rng.up_to(longest);
        let mut scene = scene.borrow_mut();
        scene.go_on_for(pause);
        if scene.is_over() {
            break;
        }
        assert!(scene.is_alive());
        step(&mut scene, &mut used);
        check_tables(&mut scene);
    }
    {
        let mut scene = scene.borrow_mut();
        if deadly && !scene.is_over() {
            scene.die();
        } else {
            scene.heal();
            scene.go_on_for(PATIENCE);
            starved = !scene.is_over() && is_starved(&mut scene, used);
            assert!(starved || scene.is_over());
        }
        scene.check_wires();
    }
    drop(teller);
    let mut tally = tally(&scene.into_inner());
    tally.insert("starved", starved.into());
    tally
}

fn tally(scene: &Scene) -> Tally {
    let mut tally = Tally::new();
    for node in [scene.pair.client_node(), scene.pair.server_node()] {
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

#[test]
fn random_walks_lose_nothing_and_give_nothing_away() {
    let kinds = ["chosen", "followed", "returned", "validated", "failed", "no spare ID", "ended"];
    let (walks, total) = walk_all(walk, &kinds);
    assert!(total["starved"] * 300 <= walks, "more than a few");
}
