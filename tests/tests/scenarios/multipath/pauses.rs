//! Who says little now and then, while a path is slow, silent or gone: whom that is blamed on, and what the application is told.

use std::time::Duration;

use peregrine_core::connection::{NetworkChange, RouteEvent};
use peregrine_core::ids::StreamId;
use peregrine_core::time::Instant;
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_tests::pair::{read_pattern, write_pattern};

use super::*;

/// Cellular that takes far longer than Wi-Fi.
fn slow_cellular() -> Link {
    Link::mbit(10).delay_ms(150)
}

/// A phone on both, of which cellular is slow or as ever.
fn bonded_with(cellular: Link) -> Pair {
    let wifi = Interface::at(WIFI).link(wifi_link());
    let mut pair = phone_on(wifi, Interface::at(CELLULAR).link(cellular), |_, _| {});
    open_second(&mut pair);
    pair.run_ms(1_000);
    pair
}

fn set_wifi(pair: &mut Pair, link: &Link) {
    let interface = pair.world.interface(pair.client, 0);
    interface.set_up(link.clone());
    interface.set_down(link.clone());
}

fn dead() -> Link {
    wifi_link().loss(1.0)
}

fn read_all(connection: &mut NullConnection, id: StreamId) {
    while matches!(connection.read_stream(id, &mut [0; 4096]), Ok(Read::Bytes(1..))) {}
}

/// A few bytes up twice a second.
fn say_little(pair: &mut Pair, id: StreamId, millis: u64) {
    for _ in 0..millis / 500 {
        pair.client(|connection, _| connection.write_stream(id, &[1; 500]).unwrap());
        pair.run_ms(500);
        pair.server(|connection, _| read_all(connection, id));
    }
}

/// How often a side was told this of a path.
fn times(node: &QuicNode, path: PathId, what: PathEvent) -> usize {
    told(node, path).iter().filter(|event| **event == what).count()
}

/// The main path is a fast one, and the first row of the table holds a slow one: the answer to a question that went over that
/// takes longer than the fast path would need, which says nothing against it.
#[test]
fn a_pause_is_not_blamed_on_a_path_that_was_not_asked() {
    let wifi = Interface::at(WIFI).link(Link::mbit(20).delay_ms(5));
    let mut pair = phone_on(wifi, Interface::at(CELLULAR).link(slow_cellular()), |client, server| {
        for side in [client, server] {
            chosen(side).max_paths = 2;
        }
    });
    let local: SocketAddr = format!("{WIFI}:6000").parse().unwrap();
    let on = FourTuple { local, remote: server_address(), interface: 1 };
    assert_eq!(pair.client(|it, now| it.open_path(now, on, Availability::Available)), Ok(SECOND));
    until_validated(&mut pair, SECOND);
    pair.client(|it, now| it.abandon_path(now, FIRST, AbandonCode::Application).unwrap());
    pair.run_ms(3_000);
    assert_eq!(open_path(&mut pair), Ok(THIRD));
    until_validated(&mut pair, THIRD);
    pair.run_ms(3_000);
    let id = stream(&mut pair);
    say_little(&mut pair, id, 20_000);
    for node in [pair.client_node(), pair.server_node()] {
        assert_eq!([SECOND, THIRD].map(|path| times(node, path, PathEvent::Suspect)), [0, 0]);
    }
    assert_well(&pair);
}

/// A dead path is told of once and given up after its time, however slow the other is, and whether or not the system has said
/// that its address is gone.
#[test]
fn a_path_that_stays_silent_is_suspect_once_and_then_given_up() {
    for (cellular, gone) in [cellular_link(), slow_cellular()]
        .into_iter()
        .flat_map(|link| [true, false].map(|gone| (link.clone(), gone)))
    {
        let mut pair = bonded_with(cellular);
        let id = stream(&mut pair);
        say_little(&mut pair, id, 1_000);
        set_wifi(&mut pair, &dead());
        if gone {
            let change = NetworkChange::AddressGone(WIFI.parse().unwrap());
            pair.client(|connection, now| connection.network_changed(now, change));
        }
        say_little(&mut pair, id, 29_000);
        let node = pair.client_node();
        assert_eq!(times(node, FIRST, PathEvent::Suspect), 1, "gone {gone}");
        assert!(!was_told(node, FIRST, PathEvent::Abandoned), "gone {gone}");
        say_little(&mut pair, id, 3_000);
        assert!(was_told(pair.client_node(), FIRST, PathEvent::Abandoned), "gone {gone}");
        assert_eq!(times(pair.client_node(), FIRST, PathEvent::Suspect), 1, "gone {gone}");
        assert_well(&pair);
    }
}

/// What is asked of a silent path becomes ever rarer, whatever the application says meanwhile over the other.
#[test]
fn a_silent_path_is_asked_ever_more_rarely() {
    for talks in [true, false] {
        let wifi = Interface::at(WIFI).link(wifi_link());
        let mut pair = phone_on(wifi, Interface::at(CELLULAR).link(slow_cellular()), |client, server| {
            for side in [client, server] {
                chosen(side).patience = None;
            }
        });
        open_second(&mut pair);
        let id = stream(&mut pair);
        say_little(&mut pair, id, 1_000);
        set_wifi(&mut pair, &dead());
        let sent = |pair: &mut Pair| view(pair, true, FIRST).route.unwrap().stats.sent_datagrams;
        let before = sent(&mut pair);
        for _ in 0..60 {
            say_little(&mut pair, id, if talks { 10_000 } else { 500 });
            pair.run_ms(if talks { 0 } else { 9_500 });
        }
        // A silence a sixteenth longer each time: about 100 questions in ten minutes, beside what was under way at first.
        let asked = sent(&mut pair) - before;
        assert!((50..150).contains(&asked), "talks {talks}: {asked}");
        assert_well(&pair);
    }
}

/// Suspect and Restored come in turn, whatever it is that a path works again by.
#[test]
fn what_is_told_suspect_is_told_restored() {
    let back = NetworkChange::NewNetwork(WIFI.parse().unwrap());
    let (gone, here) = (
        NetworkChange::AddressGone(WIFI.parse().unwrap()),
        NetworkChange::AddressBack(WIFI.parse().unwrap()),
    );
    for changes in [&[][..], &[back], &[gone, here], &[gone, gone, here, here]] {
        for alone in [false, true] {
            let mut pair = bonded_with(cellular_link());
            let id = stream(&mut pair);
            pair.client(|connection, _| connection.write_stream(id, &[1; 5]).unwrap());
            pair.run_ms(500);
            set_wifi(&mut pair, &dead());
            pair.client(|connection, _| connection.write_stream(id, &[1; 50_000]).unwrap());
            pair.run_ms(2_000);
            assert_eq!(times(pair.client_node(), FIRST, PathEvent::Suspect), 1, "{changes:?} {alone}");
            set_wifi(&mut pair, &wifi_link());
            for change in changes {
                pair.client(|connection, now| connection.network_changed(now, *change));
            }
            if alone {
                pair.client(|it, now| it.abandon_path(now, SECOND, AbandonCode::Application).unwrap());
            }
            pair.run_ms(5_000);
            let events = told(pair.client_node(), FIRST);
            let turns: Vec<_> = events
                .into_iter()
                .filter(|event| matches!(event, PathEvent::Suspect | PathEvent::Restored))
                .collect();
            assert_eq!(turns, [PathEvent::Suspect, PathEvent::Restored], "{changes:?} {alone}");
            assert!(!view(&mut pair, true, FIRST).suspect, "{changes:?} {alone}");
            assert_well(&pair);
        }
    }
}

/// The only network is gone, and what was under way with it; a moment later there is another one: all of it goes over that, as soon
/// as it works.
#[test]
fn what_went_with_a_network_goes_over_the_next_one() {
    let mut pair = phone(|_, _| {});
    let id = stream(&mut pair);
    set_wifi(&mut pair, &dead());
    let mut sent = 0;
    pair.client(|connection, _| write_pattern(connection, id, &mut sent, 200_000));
    pair.run_ms(30);
    let gone = NetworkChange::AddressGone(WIFI.parse().unwrap());
    pair.client(|connection, now| connection.network_changed(now, gone));
    pair.run_ms(1_000);
    assert_eq!(open_path(&mut pair), Ok(SECOND));
    until_validated(&mut pair, SECOND);
    pair.client(|connection, _| connection.finish(id).unwrap());
    let (begin, mut received) = (pair.world.now(), 0);
    while !pair.server(|it, _| read_pattern(it, id, &mut received)) {
        pair.run_ms(1);
        assert!(pair.world.now().since(begin).as_millis() < 1_000, "{received} bytes so far");
    }
    assert_eq!(received, 200_000);
    assert_well(&pair);
}

/// On a network where nobody answers the application hears once that its route is suspect, not every time that it is tried again.
#[test]
fn a_silent_route_is_told_of_once() {
    let wifi = [Interface::at(WIFI).link(wifi_link())];
    let mut pair = Pair::roaming(1, wifi, |_, _| {}).connected();
    pair.run_ms(200);
    let local = pair.client(|connection, _| connection.route().unwrap().local.ip());
    set_wifi(&mut pair, &dead());
    let new = NetworkChange::NewNetwork(local);
    pair.client(|connection, now| connection.network_changed(now, new));
    pair.run_ms(25_000);
    let suspect = |event: &Event| matches!(event, Event::Route(_, RouteEvent::Suspect));
    let events = pair.client_node().events.iter().filter(|(_, _, event)| suspect(event)).count();
    assert_eq!(events, 1);
}

/// When a side was told that a route of a path is validated, the first time and again.
fn validated(node: &QuicNode, path: &PathView) -> Vec<u64> {
    let id = path.route.unwrap().id;
    let at = |(at, _, event): &(Instant, _, Event)| {
        (*event == Event::Route(id, RouteEvent::Validated)).then_some(at.as_micros() / 1_000)
    };
    node.events.iter().filter_map(at).collect()
}

/// Both paths, of which only Wi-Fi is kept awake for a minute and a half.
fn cellular_asleep(cellular: Availability) -> Pair {
    let mut pair = phone(|client, server| {
        for side in [client, server] {
            side.endpoint.connection.max_idle_timeout = Duration::from_secs(120);
        }
    });
    let opened = pair.client(|it, now| it.open_path(now, self::cellular(), cellular));
    assert_eq!(opened, Ok(SECOND));
    until_validated(&mut pair, SECOND);
    let awake = Some(Duration::from_secs(10));
    pair.client(|connection, _| connection.set_path_keep_alive(FIRST, awake).unwrap());
    pair.run_ms(90_000);
    pair
}

/// While another path works, one that has slept carries nothing but the question whether it works, until that is answered.
#[test]
fn a_path_that_slept_is_asked_before_it_is_used() {
    for up in [true, false] {
        let mut pair = cellular_asleep(Availability::Available);
        let id = if up { stream(&mut pair) } else { stream_down(&mut pair) };
        let of = |pair: &mut Pair| view(pair, up, SECOND);
        let before = of(&mut pair).route.unwrap().stats.sent_bytes;
        let asked = |pair: &Pair, path: &PathView| validated(node(pair, up), path).len();
        let path = of(&mut pair);
        let first = asked(&pair, &path);
        let mut sent = 0;
        loop {
            on(&mut pair, up, |connection| write_pattern(connection, id, &mut sent, 4 * MIB));
            pair.run_ms(1);
            let path = of(&mut pair);
            let carried = path.route.unwrap().stats.sent_bytes - before;
            if asked(&pair, &path) > first {
                break;
            }
            // One question, and perhaps one more after a PTO.
            assert!(carried < 3_000, "up {up}: {carried} bytes and no answer yet");
            on(&mut pair, !up, |connection| read_all(connection, id));
        }
        pair.run_ms(300);
        let carried = of(&mut pair).route.unwrap().stats.sent_bytes - before;
        assert!(carried > 30_000, "up {up}: used then: {carried}");
        assert_well(&pair);
    }
}

/// Where no other path works, a backup that has slept is asked and used at once.
#[test]
fn a_backup_that_slept_takes_over_without_delay_and_is_asked() {
    for up in [true, false] {
        let mut pair = cellular_asleep(Availability::Backup);
        let id = if up { stream(&mut pair) } else { stream_down(&mut pair) };
        set_wifi(&mut pair, &dead());
        let path = view(&mut pair, up, SECOND);
        let first = validated(node(&pair, up), &path).len();
        let (begin, mut sent, mut received) = (pair.world.now(), 0, 0);
        on(&mut pair, up, |connection| write_pattern(connection, id, &mut sent, 20_000));
        while received < 20_000 {
            pair.run_ms(1);
            on(&mut pair, !up, |connection| read_pattern(connection, id, &mut received));
        }
        // A PTO of Wi-Fi, 20 ms and an ACK delay of 25, until that is suspect; then cellular's 20 ms, and two windows.
        let took = pair.world.now().since(begin).as_millis();
        assert!(took < 200, "up {up}: {took}");
        pair.run_ms(100);
        assert_eq!(validated(node(&pair, up), &path).len(), first + 1, "up {up}: asked");
        assert_well(&pair);
    }
}

fn node(pair: &Pair, client: bool) -> &QuicNode {
    if client { pair.client_node() } else { pair.server_node() }
}

/// When none answers, the last one is found suspect after three probe timeouts too, however often it was probed meanwhile.
#[test]
fn the_last_path_is_suspect_after_three_probe_timeouts() {
    let mut pair = bonded_with(cellular_link());
    let id = stream(&mut pair);
    say_little(&mut pair, id, 1_000);
    let pto = |path: &PathView| {
        let route = path.route.unwrap();
        route.rtt + 4 * route.rtt_variation + Duration::from_millis(25)
    };
    let longest = [FIRST, SECOND].map(|path| pto(&view(&mut pair, true, path))).into_iter().max().unwrap();
    for number in 0..2 {
        let interface = pair.world.interface(pair.client, number);
        interface.set_up(dead());
        interface.set_down(dead());
    }
    let begin = pair.world.now();
    pair.client(|connection, _| connection.write_stream(id, &[1; 500]).unwrap());
    let is_told =
        |pair: &Pair| [FIRST, SECOND].map(|path| was_told(pair.client_node(), path, PathEvent::Suspect));
    while is_told(&pair) != [true; 2] {
        pair.run_ms(1);
        // One after the other: what the first had under way is sent over the other once that is suspect.
        let silence = Duration::from(pair.world.now().since(begin));
        assert!(
            silence < 4 * longest + Duration::from_millis(10),
            "{silence:?} of {longest:?}: {:?}",
            is_told(&pair)
        );
    }
}
