//! One path, whatever its sides have chosen: how gladly routes are used and who decides, when silence is suspect, what memory there is
//! for routes, connection IDs, packets and bytes, where the server prefers to be, and how large packets may be.

use std::cell::RefCell;
use std::time::Duration;

use peregrine_core::congestion::Algorithm;
use peregrine_core::connection::{Event, MoveCause, NetworkChange, RouteEvent, RouteView, WhenSuspect};
use peregrine_core::path::{Preference, Role};
use peregrine_tests::quic::{NullConnection, Setup};
use peregrine_tests::rng::Rng;

use super::multipath::pick;
use super::{PATIENCE, PREFERRED, STEPS, Scene, Tally, Teller, walk_all};

/// The longest transfer.
const LONGEST: u64 = 60_000;

fn choose(rng: &mut Rng, setup: &mut Setup) {
    setup.sizes.sent = pick(rng, &[8, 16, 64, 256]);
    setup.sizes.rx = pick(rng, &[9_000, 40_000, 288 << 10]);
    setup.sizes.tx = pick(rng, &[1_000, 10_000, 256 << 10]);
    setup.sizes.cids = pick(rng, &[3, 4, 8]);
    setup.sizes.routes = pick(rng, &[2, 3, 4]);
    setup.session.limits.confidentiality = pick(rng, &[1 << 23, 1 << 23, 1_000]);
    let config = &mut setup.endpoint.connection;
    config.keep_alive = Some(Duration::from_secs(1));
    config.congestion = pick(rng, &[Algorithm::NewReno, Algorithm::Cubic]);
    config.ecn = rng.chance(0.7);
    config.grease = rng.chance(0.7);
    config.max_mtu = pick(rng, &[1200, 1300, 1452]);
    config.max_ack_delay = Duration::from_millis(pick(rng, &[0, 5, 25, 100]));
    config.when_suspect = pick(rng, &[WhenSuspect::Move, WhenSuspect::Tell]);
    config.suspect_after = pick(rng, &[None, Some(Duration::from_millis(100)), Some(Duration::from_secs(1))]);
    config.choose_automatically = rng.chance(0.5);
    config.disable_active_migration = rng.chance(0.1);
}

/// Does something to a route of the client.
fn act<R>(scene: &mut Scene, what: impl FnOnce(&mut NullConnection, &RouteView) -> R) -> (RouteView, R) {
    let routes: Vec<_> = scene.pair.client(|connection, _| connection.routes().collect());
    let route = pick(&mut scene.rng, &routes);
    (route, scene.pair.client(|connection, _| what(connection, &route)))
}

fn step(scene: &mut Scene, opened: &mut u64) {
    let interface = scene.rng.below(scene.interfaces as u64) as usize;
    let now = scene.pair.world.now();
    let what = match scene.rng.below(24) {
        0 => scene.rebind_port(interface),
        1 => scene.rebind_address(interface),
        2..=6 => {
            let fresh = scene.rng.chance(0.5);
            let (local, at_once) = (scene.address(interface, fresh), scene.rng.chance(0.3));
            let tag = interface as u32 + 1;
            let route = scene.pair.client(|connection, now| {
                if at_once {
                    connection.migrate(now, local, tag)
                } else {
                    connection.add_route(now, local, tag)
                }
            });
            *opened += u64::from(route.is_ok());
            format!("route from {local}, at once {at_once}: {route:?}")
        }
        7 | 8 => format!("move to {:?}", act(scene, |it, route| it.switch_route(now, route.id))),
        9 => format!("close {:?}", act(scene, |it, route| it.close_route(route.id))),
        10..=12 => {
            let preference = Preference::new(scene.rng.below(127) as u8, scene.rng.chance(0.3));
            let never = scene.rng.chance(0.1);
            let preference = if never { Preference::NEVER } else { preference };
            format!(
                "{preference:?} {:?}",
                act(scene, |it, route| it.set_preference(now, route.id, preference))
            )
        }
        13 => {
            let gone = |it: &mut NullConnection, route: &RouteView| {
                it.network_changed(now, NetworkChange::RouteGone(route.id));
            };
            format!("gone {:?}", act(scene, gone))
        }
        14 => {
            let back = |it: &mut NullConnection, route: &RouteView| {
                it.network_changed(now, NetworkChange::RouteBack(route.id));
            };
            format!("back {:?}", act(scene, back))
        }
        15 => {
            let change = NetworkChange::InterfaceGone(interface as u32 + 1);
            scene.gone[interface] = true;
            scene.pair.client(|connection, now| connection.network_changed(now, change));
            "its interface is gone".to_owned()
        }
        16 => scene.renew_network(interface),
        17 => scene.worsen(interface),
        18 => scene.outage(interface, false),
        19 => scene.outage(interface, true),
        20 => scene.attack(|attack, count| attack.copies = 1 + count),
        21 => scene.attack(|attack, count| attack.spoofs = 1 + count % 3),
        22 => scene.attack(|attack, count| attack.storms = 1 + count % 4),
        _ => {
            scene.pair.server(|connection, _| connection.ping());
            "a ping of the server".to_owned()
        }
    };
    scene.tell(&format!("{interface}: {what}"));
}

/// The server has no connection ID to answer with where the client is now.
fn is_starved(scene: &mut Scene, opened: u64) -> bool {
    let told = scene.pair.server_node().events.iter().rev().take(32);
    opened >= 2 && told.into_iter().any(|(_, _, event)| *event == Event::NoSpareCid)
}

fn walk(seed: u64) -> Tally {
    let mut chances = Rng::new(seed ^ 0xc401_ce50);
    let mut choices = chances.split();
    let mut prefers = false;
    let scene = RefCell::new(Scene::new(seed, chances, 2, (1, LONGEST), |client, server| {
        choose(&mut choices, client);
        choose(&mut choices, server);
        prefers = choices.chance(0.3);
        server.endpoint.connection.preferred_v4 = PREFERRED.parse().ok().filter(|_| prefers);
        client.endpoint.connection.follow_preferred_address = choices.chance(0.8);
    }));
    let teller = Teller(seed, &scene);
    let mut rng = Rng::new(seed);
    let mut opened = 0;
    let longest = Duration::from_millis([50, 200, 800][rng.below(3) as usize]);
    for _ in 0..STEPS {
        let pause = rng.up_to(longest);
        let mut scene = scene.borrow_mut();
        scene.go_on_for(pause);
        if scene.is_over() {
            break;
        }
        assert!(scene.is_alive());
        step(&mut scene, &mut opened);
        for routes in [
            scene.pair.client(|connection, _| connection.routes().collect::<Vec<_>>()),
            scene.pair.server(|connection, _| connection.routes().collect::<Vec<_>>()),
        ] {
            assert_eq!(routes.iter().filter(|route| route.role == Role::Active).count(), 1, "{routes:?}");
        }
    }
    let mut starved = false;
    {
        let mut scene = scene.borrow_mut();
        if !scene.is_over() {
            scene.heal();
            scene.bring_back();
            scene.go_on_for(PATIENCE);
            starved = !scene.is_over() && is_starved(&mut scene, opened);
            assert!(starved || scene.is_over());
        }
        scene.check_wires();
    }
    drop(teller);
    let mut tally = Tally::from([("starved", starved.into())]);
    let scene = scene.into_inner();
    for node in [scene.pair.client_node(), scene.pair.server_node()] {
        for (_, _, event) in &node.events {
            let what = match event {
                Event::Moved { cause: MoveCause::Preference, .. } => "preferred",
                Event::Moved { cause: MoveCause::PreferredAddress, .. } => "followed the server",
                Event::Moved { cause: MoveCause::Liveness, .. } => "fled",
                Event::Moved { .. } => "moved",
                Event::Route(_, RouteEvent::Suspect) => "suspect",
                Event::Route(_, RouteEvent::Failed) => "failed",
                _ => continue,
            };
            *tally.entry(what).or_default() += 1;
        }
    }
    tally
}

#[test]
fn random_walks_lose_nothing_whatever_was_chosen() {
    walk_all(walk, &["preferred", "followed the server", "fled", "moved", "suspect", "failed"]);
}
