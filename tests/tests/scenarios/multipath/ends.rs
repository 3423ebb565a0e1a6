//! How paths end (draft-21 3.4).

use peregrine_core::connection::{Event, MultipathConfig, PathError, PathEvent, Usage};
use peregrine_core::error::Code;
use peregrine_core::ids::PathId;
use peregrine_core::lifecycle::{Cause, Reason};
use peregrine_core::path::abandon::By;
use peregrine_core::time::Instant;
use peregrine_core::wire::Dialect;
use peregrine_core::wire::dialect::AbandonCode;

use super::*;

const CODE: AbandonCode = AbandonCode::Application;

fn abandon(pair: &mut Pair, client: bool, path: PathId) -> Result<(), PathError> {
    let give_up = |connection: &mut NullConnection, now: Instant| connection.abandon_path(now, path, CODE);
    if client { pair.client(give_up) } else { pair.server(give_up) }
}

/// Both sides know that a path is abandoned, and nothing of it is left.
fn until_ended(pair: &mut Pair, path: PathId) {
    pair.until("both were told", |pair| {
        was_told(pair.client_node(), path, PathEvent::Abandoned)
            && was_told(pair.server_node(), path, PathEvent::Abandoned)
    });
    let known = |pair: &mut Pair| {
        [true, false].into_iter().any(|client| on(pair, client, |connection| connection.path(path)).is_some())
    };
    let begin = pair.world.now();
    while known(pair) {
        pair.run_ms(5);
        assert!(pair.world.now().since(begin).as_millis() < 5_000, "{path:?} never ends");
    }
}

fn usages(pair: &mut Pair) -> [Usage; 2] {
    [true, false].map(|client| on(pair, client, |connection| connection.usage()))
}

/// In the middle of transfers both ways, which lose nothing.
#[test]
fn either_side_abandons_either_path_in_mid_transfer() {
    for (path, by_client, by_server) in [
        (FIRST, true, false),
        (FIRST, false, true),
        (FIRST, true, true),
        (SECOND, true, false),
        (SECOND, false, true),
        (SECOND, true, true),
    ] {
        for dialect in Dialect::ALL {
            let mut pair = bonded(|client, server| {
                for setup in [client, server] {
                    setup.endpoint.connection.multipath = MultipathConfig::speaking(&[*dialect]);
                }
            });
            let (client, server) = (pair.client, pair.server);
            let at = pair.world.now().as_micros() / 1000 + 300;
            for (host, gives_up) in [(client, by_client), (server, by_server)] {
                pair.world.at_ms(at, move |world| {
                    world.with(host, |node, now| {
                        let handle = node.latest().unwrap();
                        let connection = node.connection(handle);
                        assert!(!gives_up || connection.abandon_path(now, path, CODE).is_ok());
                    });
                });
            }
            let down = stream_down(&mut pair);
            pair.server(|connection, _| connection.write_stream(down, &[7; 1 << 18]).unwrap());
            carry(&mut pair, true, 2 * MIB);
            carry(&mut pair, false, MIB);
            until_ended(&mut pair, path);
            let other = if path == FIRST { SECOND } else { FIRST };
            let left =
                on(&mut pair, false, |connection| connection.paths().map(|path| path.id).collect::<Vec<_>>());
            assert_eq!(left, [other], "{path:?} {by_client} {by_server}");
            let lost = view(&mut pair, true, other).route.unwrap().stats.lost_packets;
            assert_eq!(lost, 0, "what went over the other was not disturbed");
            carry(&mut pair, true, 100_000);
            assert_well(&pair);
        }
    }
}

/// What each side knows of who gave up, and why; draft 11 has no code for it.
#[test]
fn both_sides_know_who_gave_up_and_why() {
    for (dialect, code) in [(Dialect::Draft21, CODE), (Dialect::Draft11, AbandonCode::NoError)] {
        for by_client in [true, false] {
            let mut pair = bonded(|client, server| {
                for setup in [client, server] {
                    setup.endpoint.connection.multipath = MultipathConfig::speaking(&[dialect]);
                }
            });
            abandon(&mut pair, by_client, SECOND).unwrap();
            assert_eq!(abandon(&mut pair, by_client, SECOND), Err(PathError::Unknown), "once is enough");
            pair.run_ms(60);
            assert_eq!(view(&mut pair, by_client, SECOND).abandoned, Some((By::Local, code)));
            assert_eq!(view(&mut pair, !by_client, SECOND).abandoned, Some((By::Peer, code)));
            assert_eq!(view(&mut pair, by_client, SECOND).route, None);
            until_ended(&mut pair, SECOND);
            assert_well(&pair);
        }
    }
}

#[test]
fn frames_that_cross_answer_each_other() {
    let mut pair = bonded(|_, _| {});
    abandon(&mut pair, true, SECOND).unwrap();
    abandon(&mut pair, false, SECOND).unwrap();
    until_ended(&mut pair, SECOND);
    for node in [pair.client_node(), pair.server_node()] {
        let ends = told(node, SECOND).into_iter().filter(|event| *event == PathEvent::Abandoned);
        assert_eq!(ends.count(), 1);
    }
    assert_well(&pair);
}

/// Each abandons another path, so that none is left: the connection ends, and says so.
#[test]
fn both_paths_abandoned_at_once_end_the_connection() {
    let mut pair = bonded(|_, _| {});
    abandon(&mut pair, true, FIRST).unwrap();
    abandon(&mut pair, false, SECOND).unwrap();
    pair.until("it is over", |pair| pair.client_cause().is_some() && pair.server_cause().is_some());
    let of = |cause: Option<Cause>| match cause.unwrap() {
        Cause::Local(close) | Cause::Peer(close) => close.reason,
        other => panic!("{other:?}"),
    };
    for cause in [pair.client_cause(), pair.server_cause()] {
        assert!(matches!(of(cause), Reason::Transport { code: Code::NO_ERROR, .. }), "{cause:?}");
    }
    assert!(pair.world.now().as_micros() < 2_000_000, "at once, not when it is idle");
}

#[test]
fn the_last_path_is_not_abandoned() {
    let mut pair = bonded(|_, _| {});
    abandon(&mut pair, true, FIRST).unwrap();
    for client in [true, false] {
        pair.run_ms(100);
        assert_eq!(abandon(&mut pair, client, SECOND), Err(PathError::Last));
    }
    until_ended(&mut pair, FIRST);
    assert_eq!(abandon(&mut pair, true, FIRST), Err(PathError::Unknown), "it has ended");
    carry(&mut pair, true, MIB);
    assert_well(&pair);
}

/// A path that nobody has opened: its ID is used up, and another one comes in its place.
#[test]
fn a_path_is_abandoned_before_it_is_used() {
    for by_client in [true, false] {
        let mut pair = phone(|_, _| {});
        abandon(&mut pair, by_client, SECOND).unwrap();
        assert_eq!(open_path(&mut pair), Ok(if by_client { THIRD } else { SECOND }));
        until_ended(&mut pair, SECOND);
        carry(&mut pair, true, MIB);
        carry(&mut pair, false, MIB);
        pair.run_ms(1_000);
        let next = [(); 3].map(|()| open_path(&mut pair));
        let expected: &[_] = if by_client { &[3, 4] } else { &[2, 3, 4] };
        let next: Vec<u32> = next.into_iter().filter_map(Result::ok).map(|path| path.0).collect();
        assert_eq!(next, expected);
        assert_well(&pair);
    }
}

/// Two of four paths are abandoned in the moment in which they are opened.
#[test]
fn a_path_is_abandoned_before_it_is_validated() {
    let mut pair = phone(|_, _| {});
    for (client, after_ms) in [(true, 0), (true, 15), (true, 35), (false, 25), (false, 45)] {
        pair.run_ms(1_000);
        let path = open_path(&mut pair).unwrap();
        pair.run_ms(after_ms);
        abandon(&mut pair, client, path).unwrap();
        carry(&mut pair, true, 300_000);
        until_ended(&mut pair, path);
        assert_well(&pair);
    }
}

/// Nothing is sent over a path once it is abandoned, not even by a timer that was armed before.
#[test]
fn an_abandoned_path_is_silent() {
    for (up, down) in [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0)] {
        let mut pair = bonded(|_, _| {});
        let id = stream(&mut pair);
        pair.client(|connection, _| connection.write_stream(id, &[1; 200_000]).unwrap());
        pair.run_ms(20);
        let interface = pair.world.interface(pair.client, 1);
        interface.set_up(cellular_link().loss(up));
        interface.set_down(cellular_link().loss(down));
        pair.run_ms(10);
        pair.world.watch();
        abandon(&mut pair, true, SECOND).unwrap();
        pair.run_ms(100);
        let (abandoned, client) = (pair.world.watched().len(), pair.client);
        pair.run_ms(10_000);
        let ours = cellular().local;
        let late = pair.world.watched()[abandoned..].iter();
        let late: Vec<_> = late
            .filter(|seen| seen.sent && [seen.datagram.source, seen.datagram.destination].contains(&ours))
            .collect();
        assert!(
            late.is_empty(),
            "{:?}",
            late.iter().map(|seen| (seen.at, seen.host == client)).collect::<Vec<_>>()
        );
        until_ended(&mut pair, SECOND);
        assert_well(&pair);
    }
}

/// What is still on its way over an abandoned path is acknowledged over another: nothing is sent twice that had arrived.
#[test]
fn what_comes_late_over_an_abandoned_path_is_acknowledged_on_another() {
    for by_client in [true, false] {
        let mut pair = bonded(|_, _| {});
        let id = stream(&mut pair);
        pair.client(|connection, _| connection.write_stream(id, &[1; 100_000]).unwrap());
        pair.run_ms(20);
        abandon(&mut pair, by_client, SECOND).unwrap();
        let before =
            [true, false].map(|client| on(&mut pair, client, |connection| connection.stats().discarded));
        pair.run_ms(300);
        let after =
            [true, false].map(|client| on(&mut pair, client, |connection| connection.stats().discarded));
        assert_eq!(before, after, "by client {by_client}");
        assert_well(&pair);
    }
}

/// A path that moves to where another one is would be its double: the client leaves it to the other, which is not disturbed.
#[test]
fn a_path_that_moves_to_where_another_is_is_left_to_that() {
    for (moves, stays, local, interface) in [(SECOND, FIRST, WIFI, 1), (FIRST, SECOND, CELLULAR, 2)] {
        let mut pair = bonded(|_, _| {});
        carry(&mut pair, true, MIB);
        let local: SocketAddr = format!("{local}:5000").parse().unwrap();
        let before = view(&mut pair, true, stays).route.unwrap();
        assert_eq!(before.local, local);
        let route = pair
            .client(|connection, now| connection.add_route_to(now, moves, local, interface))
            .expect("a path may try what it likes");
        pair.run_ms(200);
        assert_eq!(view(&mut pair, true, moves).abandoned, None);
        pair.client(|connection, now| connection.switch_route(now, route).unwrap());
        assert_eq!(view(&mut pair, true, moves).abandoned, Some((By::Local, AbandonCode::NoError)));
        let down = stream_down(&mut pair);
        pair.carry(false, down, MIB);
        assert_eq!(view(&mut pair, false, stays).abandoned, None);
        until_ended(&mut pair, moves);
        carry(&mut pair, true, MIB);
        let after = view(&mut pair, true, stays).route.unwrap();
        assert_eq!((after.id, after.stats.lost_packets), (before.id, before.stats.lost_packets), "{moves:?}");
        assert_well(&pair);
    }
}

/// As fast as it may, a thousand times: memory and packets stay what they are.
#[test]
fn a_thousand_paths_one_after_the_other_cost_what_one_costs() {
    let mut pair = phone(|_, _| {});
    // Of connection IDs as many as the first path and three unused ones have.
    let rest = usages(&mut pair);
    let begin = pair.world.now();
    let mut opened = 0;
    while opened < 1_000 {
        let before = pair.client_node().events.len();
        match open_path(&mut pair) {
            Ok(path) => {
                opened += 1;
                assert_eq!(path, PathId(opened), "none is used twice or left out");
                pair.run_ms(if opened % 3 == 0 { u64::from(opened) % 50 } else { 0 });
                abandon(&mut pair, opened % 2 == 0, path).unwrap();
            }
            Err(PathError::Busy) => pair.run_ms(100),
            Err(PathError::NoPathId | PathError::NoCid) => pair.until("a path is possible", |pair| {
                pair.client_node().events[before..].iter().any(|(_, _, event)| *event == Event::PathPossible)
            }),
            Err(error) => panic!("{error:?} at {opened}"),
        }
    }
    let took = pair.world.now().since(begin).as_millis();
    pair.run_ms(5_000);
    assert_eq!(usages(&mut pair), rest);
    let sent =
        [true, false].map(|client| on(&mut pair, client, |connection| connection.stats().sent_packets));
    println!("{took} ms, {sent:?} packets");
    assert!(sent.iter().all(|sent| *sent < 12_000), "{sent:?} packets in {took} ms");
    // A row is held for three probe timeouts.
    assert!(took > 100_000, "{took} ms");
    carry(&mut pair, true, MIB);
    assert_well(&pair);
}
