//! Two networks at once: both carry an upload, and nothing stops when one goes down.

use std::cell::Cell;
use std::rc::Rc;

use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use peregrine_core::connection::{Config as ConnectionConfig, MultipathConfig, PathError, PathView};
use peregrine_core::ids::PathId;
use peregrine_core::path::Availability;
use peregrine_core::path::schedule::Scheduler;
use peregrine_core::stream::Tie;
use peregrine_core::wire::Dialect;
use peregrine_embassy::{Connection, Error};

use crate::scene::Scene;
use crate::work::file;
use crate::world::{ClientTls, ETHERNET, Server, WIFI, config};

/// Longer than this nothing may stop: a few probe timeouts on a round trip of ten milliseconds.
const SILENCE: Duration = Duration::from_millis(120);

pub fn several() -> ConnectionConfig {
    ConnectionConfig { multipath: MultipathConfig::speaking(Dialect::ALL), ..config() }
}

/// What the server has seen of an upload.
#[derive(Default)]
struct Seen {
    bytes: Cell<usize>,
    /// The longest time in which nothing came, once something has.
    silence: Cell<Duration>,
}

/// Takes uploads, and checks every byte.
async fn take_uploads(server: Server, seen: Rc<Seen>) {
    let connection = server.accept().await;
    while let Ok(mut recv) = connection.accept_uni().await {
        let (mut all, mut room, mut last) = (Vec::new(), [0; 700], Instant::now());
        while let len @ 1.. = recv.read(&mut room).await.unwrap() {
            all.extend_from_slice(&room[..len]);
            if !all.is_empty() {
                seen.silence.set(seen.silence.get().max(last.elapsed()));
            }
            last = Instant::now();
            seen.bytes.set(seen.bytes.get() + len);
        }
        assert!(all == file(all.len()));
    }
}

fn scene() -> (Scene<2>, Rc<Seen>) {
    scene_of(several())
}

fn scene_of(config: ConnectionConfig) -> (Scene<2>, Rc<Seen>) {
    let mut scene = Scene::configured([WIFI, ETHERNET], config);
    let seen = Rc::<Seen>::default();
    scene.world.spawn(take_uploads(scene.server, Rc::clone(&seen)));
    (scene, seen)
}

async fn upload(connection: &Connection<ClientTls>, bytes: usize) {
    let mut send = connection.open_uni().await.unwrap();
    send.write_all(&file(bytes)).await.unwrap();
    send.finish().unwrap();
    send.delivered().await.unwrap();
}

/// Datagrams sent over each path.
fn sent(connection: &Connection<ClientTls>) -> Vec<u64> {
    let sent = |path: &PathView| u64::from(path.route.map_or(0, |route| route.stats.sent_datagrams));
    connection.paths().iter().map(sent).collect()
}

#[test]
fn two_networks_carry_an_upload_and_when_one_goes_down_nothing_stops() {
    let mut config = several();
    // What the stream holds would fit the window of the faster path alone.
    config.multipath.as_mut().unwrap().scheduler = Scheduler::Weighted;
    let (mut scene, seen) = scene_of(config);
    let ([wifi, _], [_, ethernet]) = (scene.nics.clone(), scene.networks);
    let (cut, told) = (Rc::clone(&seen), Rc::new(Cell::new(0)));
    let progress = Rc::clone(&told);
    scene.world.spawn(async move {
        let at = async |bytes| {
            while cut.bytes.get() < bytes {
                Timer::after_millis(1).await;
            }
        };
        at(200_000).await;
        progress.set(1);
        wifi.set_up(false);
        at(400_000).await;
        progress.set(2);
        wifi.set_up(true);
        at(600_000).await;
        progress.set(3);
    });
    scene.run(120, async |connection| {
        connection.wait_path_possible().await.unwrap();
        let second = connection.open_path(ethernet, Availability::Available).await.unwrap();
        let view = with_timeout(Duration::from_millis(100), connection.wait_path(second)).await;
        let route = view.unwrap().unwrap().route.unwrap();
        assert_eq!((connection.network_of(&route), route.local.ip()), (Some(ethernet), ETHERNET.into()));
        assert!(connection.is_multipath());
        let counted = async {
            let mut counts = vec![sent(&connection)];
            for stage in 1..=3 {
                while told.get() < stage {
                    Timer::after_millis(1).await;
                }
                counts.push(sent(&connection));
            }
            counts
        };
        let watched = async {
            // A ring that was full may have had it suspect before.
            for (stage, suspect) in [(1, true), (2, false)] {
                let is_silent = |path: &PathView| path.suspect || path.route.is_some_and(|route| route.down);
                let is_it = |path: &PathView| path.id == PathId::ZERO && is_silent(path) == suspect;
                let look =
                    |paths: &[PathView]| (told.get() >= stage && paths.iter().any(is_it)).then_some(());
                connection.wait_paths(look).await.unwrap();
                assert_eq!(told.get(), stage);
            }
        };
        let work = embassy_futures::join::join3(upload(&connection, 800_000), counted, watched);
        let ((), counts, ()) = work.await;
        let growth = |stage: usize, path: usize| counts[stage + 1][path] - counts[stage][path];
        assert!(growth(0, 0) > 20 && growth(0, 1) > 20, "both carry it: {counts:?}");
        assert!(growth(1, 0) < 5 && growth(1, 1) > 100, "one is down: {counts:?}");
        assert!(growth(2, 0) > 20 && growth(2, 1) > 20, "it is back: {counts:?}");
        assert!(connection.stranded().is_none());
        assert_eq!(connection.stats().migrations, 0);
    });
    assert_eq!(seen.bytes.get(), 800_000);
    assert!(seen.silence.get() < SILENCE, "{}", seen.silence.get());
}

#[test]
fn a_backup_rests_until_it_is_needed_and_a_tied_stream_keeps_to_its_path() {
    let (mut scene, _) = scene();
    let networks = scene.networks;
    scene.run(60, async |connection| {
        connection.wait_path_possible().await.unwrap();
        let second = connection.open_path(networks[1], Availability::Backup).await.unwrap();
        connection.wait_path(second).await.unwrap();
        let before = sent(&connection);
        upload(&connection, 50_000).await;
        let after = sent(&connection);
        assert!(after[0] - before[0] > 30 && after[1] - before[1] < 5, "{before:?} {after:?}");
        let mut send = connection.open_uni().await.unwrap();
        send.tie(Tie::Needs(second)).unwrap();
        send.write_all(&file(50_000)).await.unwrap();
        send.finish().unwrap();
        send.delivered().await.unwrap();
        let tied = sent(&connection);
        assert!(tied[1] - after[1] > 30 && tied[0] - after[0] < 20, "{after:?} {tied:?}");
        // And the other way round.
        connection.set_path_status(PathId::ZERO, true).unwrap();
        connection.set_path_status(second, false).unwrap();
        upload(&connection, 50_000).await;
        let turned = sent(&connection);
        assert!(turned[1] - tied[1] > 30 && turned[0] - tied[0] < 10, "{tied:?} {turned:?}");
    });
}

#[test]
fn datagrams_keep_to_the_path_they_are_tied_to() {
    const LEN: usize = 1000;
    const COUNT: u64 = 20;
    let mut scene = Scene::configured([WIFI, ETHERNET], several());
    let (server, networks) = (scene.server, scene.networks);
    let seen = Rc::new(Cell::new(0));
    let count = Rc::clone(&seen);
    scene.world.spawn(async move {
        let (connection, mut room) = (server.accept().await, [0; LEN]);
        while let Ok(LEN) = connection.recv_datagram(&mut room).await {
            count.set(count.get() + 1);
        }
    });
    scene.run(60, async |connection| {
        connection.wait_path_possible().await.unwrap();
        let second = connection.open_path(networks[1], Availability::Available).await.unwrap();
        connection.wait_path(second).await.unwrap();
        // The server's ring has no room for many at once, and now it holds the probe for a larger MTU.
        Timer::after_millis(100).await;
        for (path, other, tie) in
            [(1, 0, Tie::Needs(second)), (0, 1, Tie::Needs(PathId::ZERO)), (1, 0, Tie::Prefers(second))]
        {
            let before = sent(&connection);
            for expected in seen.get() + 1..=seen.get() + COUNT {
                connection.send_datagram_over(tie, &[7; LEN]).await.unwrap();
                while seen.get() < expected {
                    Timer::after_millis(1).await;
                }
            }
            let after = sent(&connection);
            assert!(after[path] - before[path] >= COUNT, "{before:?} {after:?}");
            assert!(after[other] - before[other] < 5, "{before:?} {after:?}");
        }
        let long = connection.send_datagram_over(Tie::Needs(second), &[0; 1600]).await;
        assert_eq!(long, Err(Error::DatagramTooLarge));
    });
}

#[test]
fn either_path_may_be_abandoned_and_another_be_opened_from_the_same_network() {
    let (mut scene, _) = scene();
    let networks = scene.networks;
    scene.run(60, async |connection| {
        for network in [networks[1], networks[0], networks[0]] {
            connection.wait_path_possible().await.unwrap();
            let before = connection.paths().iter().find(|path| path.abandoned.is_none()).unwrap().id;
            let path = connection.open_path(network, Availability::Available).await.unwrap();
            connection.wait_path(path).await.unwrap();
            connection.abandon_path(before).unwrap();
            assert_eq!(connection.wait_path(before).await, Err(Error::PathGone));
            upload(&connection, 20_000).await;
            let route = connection.route().unwrap();
            assert_eq!(connection.network_of(&route), Some(network));
            assert_eq!(connection.abandon_path(path), Err(Error::Path(PathError::Last)));
        }
    });
}

#[test]
fn all_networks_down_is_an_outage_and_the_first_that_is_back_carries_on() {
    let (mut scene, seen) = scene();
    let ([wifi, cable], networks) = (scene.nics.clone(), scene.networks);
    let cut = Rc::clone(&seen);
    scene.world.spawn(async move {
        while cut.bytes.get() < 50_000 {
            Timer::after_millis(1).await;
        }
        wifi.set_up(false);
        cable.set_up(false);
        Timer::after_secs(5).await;
        cable.set_up(true);
    });
    scene.run(60, async |connection| {
        connection.wait_path_possible().await.unwrap();
        let second = connection.open_path(networks[1], Availability::Available).await.unwrap();
        connection.wait_path(second).await.unwrap();
        upload(&connection, 200_000).await;
        let begun = Instant::now();
        upload(&connection, 20_000).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{}", begun.elapsed());
        assert!(connection.stranded().is_none());
    });
    assert_eq!(seen.bytes.get(), 220_000);
    assert!(seen.silence.get() < Duration::from_secs(6), "{}", seen.silence.get());
}

#[test]
fn a_path_whose_port_changes_goes_on_and_only_the_server_notices() {
    let mut scene = Scene::configured([WIFI, ETHERNET], several());
    let (server, networks, [_, cable]) = (scene.server, scene.networks, scene.nics.clone());
    let seen = Rc::<Cell<_>>::default();
    let told = Rc::clone(&seen);
    scene.world.spawn(async move {
        let (connection, mut room) = (server.accept().await, [0; 1]);
        while let Ok(1) = connection.recv_datagram(&mut room).await {
            let route = connection.paths().last().and_then(|path| path.route);
            told.set(route.map(|route| route.remote));
            connection.send_datagram(&room).await.unwrap();
        }
    });
    scene.run(60, async |connection| {
        connection.wait_path_possible().await.unwrap();
        let second = connection.open_path(networks[1], Availability::Available).await.unwrap();
        let known = connection.wait_path(second).await.unwrap().route.unwrap();
        let ask = async || {
            connection.send_datagram_over(Tie::Needs(second), &[7]).await.unwrap();
            connection.recv_datagram(&mut [0]).await.unwrap();
            seen.get().unwrap()
        };
        assert_eq!(ask().await, known.local);
        for _ in 0..2 {
            let address = connection.rebind_path_port(second).unwrap();
            assert_eq!(address.ip(), known.local.ip());
            assert_ne!(address.port(), known.local.port());
            assert_eq!(ask().await, address);
            let route = connection.wait_path(second).await.unwrap().route.unwrap();
            assert_eq!((route.id, route.local), (known.id, known.local));
            // Its link may go and come as before.
            for is_up in [false, true] {
                cable.set_up(is_up);
                Timer::after_millis(100).await;
            }
        }
        assert_eq!(connection.rebind_path_port(PathId(7)), Err(Error::PathGone));
    });
}

#[test]
fn of_two_networks_with_one_address_only_the_one_that_is_back_is_used_again() {
    let mut scene = Scene::configured([WIFI, WIFI], several());
    let (nics, networks) = (scene.nics.clone(), scene.networks);
    scene.run(60, async |connection| {
        connection.wait_path_possible().await.unwrap();
        let second = connection.open_path(networks[1], Availability::Available).await.unwrap();
        connection.wait_path(second).await.unwrap();
        let down = async |expected| {
            Timer::after_millis(3).await;
            let is_down = |path: &PathView| path.route.is_some_and(|route| route.down);
            assert_eq!(connection.paths().iter().map(is_down).collect::<Vec<_>>(), expected);
        };
        down([false, false]).await;
        nics.iter().for_each(|nic| nic.set_up(false));
        down([true, true]).await;
        nics[0].set_up(true);
        down([false, true]).await;
        nics[1].set_up(true);
        down([false, false]).await;
    });
}

#[test]
fn who_has_no_multipath_is_told_so() {
    let mut scene = Scene::with_files([WIFI, ETHERNET]);
    let networks = scene.networks;
    scene.run(10, async |connection| {
        let refused = connection.open_path(networks[1], Availability::Available).await;
        assert_eq!(refused, Err(Error::Path(PathError::Unsupported)));
        assert_eq!(connection.wait_path_possible().await, Err(Error::Path(PathError::Unsupported)));
        assert_eq!((connection.is_multipath(), connection.paths().len()), (false, 1));
        assert_eq!(connection.paths()[0].route.map(|route| route.id), connection.route().map(|it| it.id));
    });
}
