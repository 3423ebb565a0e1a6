//! How multipath is agreed on, and how paths begin (draft-21 2.1, 3.1, 3.2).

use peregrine_core::connection::{Event, MultipathConfig, PathError, PathEvent, RouteError};
use peregrine_core::error::Why;
use peregrine_core::ids::PathId;
use peregrine_core::path::Availability;
use peregrine_core::path::abandon::By;
use peregrine_core::path::schedule::Scheduler;
use peregrine_core::wire::Dialect;
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_core::wire::frame::{Frame, MaxPathId, PathAbandon, PathResponse, Ping};
use peregrine_tests::pair::Pair;
use peregrine_tests::puppet::{Bout, PUPPET, bytes};
use peregrine_tests::quic::Setup;
use peregrine_tests::sim::Nat;

use super::*;

/// Which dialect is spoken: only draft 21 has a code for an application that gives up a path.
fn spoken(pair: &mut Pair) -> Dialect {
    open_second(pair);
    let gives_up = AbandonCode::Application;
    pair.client(|connection, now| connection.abandon_path(now, SECOND, gives_up).unwrap());
    pair.until("told", |pair| was_told(pair.server_node(), SECOND, PathEvent::Abandoned));
    match view(pair, false, SECOND).abandoned {
        Some((By::Peer, AbandonCode::Application)) => Dialect::Draft21,
        Some((By::Peer, AbandonCode::NoError)) => Dialect::Draft11,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_dialect_that_both_know_is_spoken() {
    use Dialect::{Draft11, Draft21};
    for (client_knows, server_knows, expected) in [
        (&[Draft21][..], &[Draft21][..], Some(Draft21)),
        (&[Draft11], &[Draft11], Some(Draft11)),
        (Dialect::ALL, Dialect::ALL, Some(Draft21)),
        (&[Draft11], Dialect::ALL, Some(Draft11)),
        (Dialect::ALL, &[Draft11], Some(Draft11)),
        (&[Draft21], &[Draft11], None),
        (&[], Dialect::ALL, None),
        (Dialect::ALL, &[], None),
    ] {
        let mut pair = phone(|client, server| {
            client.endpoint.connection.multipath = MultipathConfig::speaking(client_knows);
            server.endpoint.connection.multipath = MultipathConfig::speaking(server_knows);
        });
        let agreed =
            [true, false].map(|client| on(&mut pair, client, |connection| connection.is_multipath()));
        assert_eq!(agreed, [expected.is_some(); 2], "{client_knows:?} {server_knows:?}");
        match expected {
            Some(dialect) => assert_eq!(spoken(&mut pair), dialect, "{client_knows:?} {server_knows:?}"),
            None => {
                assert_eq!(open_path(&mut pair), Err(PathError::Unsupported));
                carry(&mut pair, true, 100_000);
                assert_eq!(on(&mut pair, true, |connection| connection.paths().count()), 1);
            }
        }
        assert_well(&pair);
    }
}

#[test]
fn who_has_no_connection_ids_offers_nothing() {
    for of_client in [true, false] {
        let mut pair =
            phone(
                |client, server| {
                    if of_client { client.endpoint.cid_len = 0 } else { server.endpoint.cid_len = 0 }
                },
            );
        assert_eq!(open_path(&mut pair), Err(PathError::Unsupported));
        carry(&mut pair, true, 100_000);
        assert_well(&pair);
    }
}

#[test]
fn only_a_client_opens_paths() {
    let mut pair = phone(|_, _| {});
    let opened = pair.server(|connection, now| {
        let on = FourTuple { local: cellular().remote, remote: cellular().local, interface: 1 };
        connection.open_path(now, on, Availability::Available)
    });
    assert_eq!(opened, Err(PathError::Server));
}

/// A server that sends on a path which nobody has opened.
#[test]
fn a_client_ignores_a_path_that_its_server_begins() {
    let mut bout = against_client(2);
    let datagram = bout.puppet.seal_on(SECOND, &bytes(&[Frame::Ping(Ping)]));
    let before = bout.connection().stats().discarded.count(Why::Address);
    bout.deliver(&datagram);
    assert_eq!(bout.connection().stats().discarded.count(Why::Address), before + 1);
    assert_eq!(bout.connection().paths().count(), 1);
    assert_eq!(bout.puppet.close(), None);
}

/// A client of draft 21 against a puppet server that allows these path IDs, and has given no connection IDs for them.
fn against_client(max_path_id: u64) -> Bout {
    let mut client = Setup::client(1);
    both(&mut client, &mut Setup::server(1));
    let mut bout = Bout::against_client_with(client, |params| {
        params.initial_max_path_id = params.initial_max_path_id.with(Dialect::Draft21, max_path_id);
    });
    bout.wait_ms(50);
    bout.ack();
    bout
}

/// A server of draft 21 against a puppet client.
fn against_server() -> Bout {
    let mut server = Setup::server(1);
    both(&mut Setup::client(1), &mut server);
    let mut bout = Bout::against_server_with(server, |params| {
        params.initial_max_path_id = params.initial_max_path_id.with(Dialect::Draft21, 3);
    });
    bout.wait_ms(50);
    bout.ack();
    bout
}

fn opens(bout: &mut Bout) -> Result<PathId, PathError> {
    let on = FourTuple {
        local: "192.0.2.77:4433".parse().unwrap(),
        remote: PUPPET.parse().unwrap(),
        interface: 2,
    };
    bout.act(|connection, now| connection.open_path(now, on, Availability::Unknown))
}

fn heard<R>(bout: &Bout, pick: impl Fn(&Frame<'_>) -> Option<R>) -> Vec<R> {
    let frames = bout.puppet.heard.iter().flat_map(|heard| heard.frames());
    frames.filter_map(|frame| pick(&frame)).collect()
}

fn possible(bout: &Bout) -> bool {
    bout.node.events.iter().any(|(_, _, event)| *event == Event::PathPossible)
}

#[test]
fn without_connection_ids_the_peer_is_told_and_an_event_says_when_there_are() {
    let mut bout = against_client(2);
    assert_eq!(opens(&mut bout), Err(PathError::NoCid));
    let missed = |frame: &Frame<'_>| match frame {
        Frame::PathCidsBlocked(frame) => Some((frame.path, frame.next_seq)),
        _ => None,
    };
    assert_eq!(heard(&bout, missed), [(1, 0)]);
    assert!(!possible(&bout));
    let frame = bout.puppet.new_cid(SECOND, 0);
    bout.say(&[frame]);
    assert!(possible(&bout));
    assert_eq!(opens(&mut bout), Ok(SECOND));
}

/// The peer's connection IDs are in no order, and a path is opened for which there are some.
#[test]
fn the_smallest_path_with_connection_ids_on_both_sides_is_opened() {
    let mut bout = against_client(3);
    let frames = [bout.puppet.new_cid(PathId(3), 0), bout.puppet.new_cid(THIRD, 0)];
    bout.say(&frames);
    assert_eq!(opens(&mut bout), Ok(THIRD));
}

#[test]
fn a_server_that_allows_no_path_at_first_may_allow_some_later() {
    let mut bout = against_client(0);
    assert_eq!(opens(&mut bout), Err(PathError::NoPathId));
    let missed = |frame: &Frame<'_>| match frame {
        Frame::PathsBlocked(frame) => Some(frame.max),
        _ => None,
    };
    let given = |frame: &Frame<'_>| match frame {
        Frame::PathNewConnectionId(frame) => Some(frame.path),
        _ => None,
    };
    assert_eq!(heard(&bout, missed), [0]);
    assert!(heard(&bout, given).iter().all(|path| *path == 0), "{:?}", heard(&bout, given));
    bout.say(&[Frame::MaxPathId(MaxPathId { dialect: Dialect::Draft21, max: 2 })]);
    let of_others: Vec<u64> = heard(&bout, given).into_iter().filter(|path| *path > 0).collect();
    assert_eq!(of_others, [1, 1, 2, 2], "connection IDs are given ahead, for what is allowed");
    let frame = bout.puppet.new_cid(SECOND, 0);
    bout.say(&[frame]);
    assert!(possible(&bout));
    assert_eq!(opens(&mut bout), Ok(SECOND));
}

#[test]
fn path_ids_that_are_used_up_come_again_when_an_abandoned_path_has_ended() {
    let mut pair = phone(|client, server| (chosen(client).max_paths, chosen(server).max_paths) = (2, 2));
    open_second(&mut pair);
    pair.client(|connection, now| connection.abandon_path(now, SECOND, AbandonCode::Application).unwrap());
    assert_eq!(open_path(&mut pair), Err(PathError::NoPathId));
    let told = |pair: &Pair| pair.told_client(Event::PathPossible);
    let before = pair.client_node().events.len();
    pair.until("a path is possible", |pair| {
        pair.client_node().events[before..].iter().any(|(_, _, event)| *event == Event::PathPossible)
    });
    assert!(told(&pair));
    assert_eq!(open_path(&mut pair), Ok(THIRD), "no ID is used twice");
    until_validated(&mut pair, THIRD);
    carry(&mut pair, true, MIB);
    assert_well(&pair);
}

#[test]
fn a_server_that_asks_not_to_be_moved_to_is_sent_no_other_path() {
    let mut pair = phone(|_, server| server.endpoint.connection.disable_active_migration = true);
    assert_eq!(open_path(&mut pair), Err(PathError::Forbidden));
    let elsewhere = FourTuple { remote: "192.0.2.10:4433".parse().unwrap(), ..cellular() };
    let opened = pair.client(|connection, now| connection.open_path(now, elsewhere, Availability::Available));
    assert_eq!(opened, Ok(SECOND), "towards another address it may");
}

/// Whatever became of the path of the handshake: paths elsewhere come and go, and move, and to the address of the handshake there is none.
#[test]
fn what_is_forbidden_is_the_address_of_the_handshake() {
    const ELSEWHERE: &str = "198.51.100.99:5555";
    let mut client = Setup::client(1);
    both(&mut client, &mut Setup::server(1));
    let mut bout = Bout::against_client_with(client, |params| {
        params.initial_max_path_id = params.initial_max_path_id.with(Dialect::Draft21, 3);
        params.disable_active_migration = true;
    });
    bout.wait_ms(50);
    bout.ack();
    for path in 1..4 {
        let frames = [0, 1].map(|seq| bout.puppet.new_cid(PathId(path), seq));
        bout.say(&frames);
    }
    let opens = |bout: &mut Bout, remote: &str| {
        let local = "192.0.2.77:4433".parse().unwrap();
        let on = FourTuple { local, remote: remote.parse().unwrap(), interface: 1 };
        bout.act(|connection, now| connection.open_path(now, on, Availability::Unknown))
    };
    let moves = |bout: &mut Bout, path: PathId| {
        let local = "192.0.2.88:4433".parse().unwrap();
        bout.act(|connection, now| connection.add_route_to(now, path, local, 1)).map(|_| ())
    };
    assert_eq!(opens(&mut bout, PUPPET), Err(PathError::Forbidden));
    assert_eq!(moves(&mut bout, FIRST), Err(RouteError::Forbidden));
    assert_eq!(opens(&mut bout, ELSEWHERE), Ok(SECOND));
    let asked = |frame: &Frame<'_>| match frame {
        Frame::PathChallenge(challenge) => Some(challenge.data),
        _ => None,
    };
    let data = *heard(&bout, asked).last().unwrap();
    bout.say_on(SECOND, ELSEWHERE, &[Frame::PathResponse(PathResponse { data })]);
    assert_eq!(moves(&mut bout, SECOND), Ok(()));
    let end = Frame::PathAbandon(PathAbandon { dialect: Dialect::Draft21, path: 0, code: 0 });
    bout.say_on(SECOND, ELSEWHERE, &[end]);
    assert_eq!(opens(&mut bout, PUPPET), Err(PathError::Forbidden), "no path leads there any more");
    assert_eq!(opens(&mut bout, ELSEWHERE), Ok(THIRD));
    assert_eq!(bout.puppet.close(), None);
}

#[test]
fn a_path_that_leads_nowhere_is_abandoned_and_the_first_is_not_disturbed() {
    let mut pair = phone(|_, _| {});
    pair.world.interface(pair.client, 1).set_up(cellular_link().loss(1.0));
    assert_eq!(open_path(&mut pair), Ok(SECOND));
    let took = carry(&mut pair, true, 2 * MIB);
    // 20 Mbit/s alone carry it in 0.84 s.
    assert!(took < 1_000, "{took}");
    pair.until("given up", |pair| was_told(pair.client_node(), SECOND, PathEvent::Abandoned));
    pair.until("told", |pair| was_told(pair.server_node(), SECOND, PathEvent::Abandoned));
    let first = view(&mut pair, true, FIRST).route.unwrap();
    assert_eq!(first.stats.lost_packets, 0);
    assert_eq!(view(&mut pair, false, SECOND).abandoned, Some((By::Peer, AbandonCode::Unstable)));
    assert!(!told(pair.client_node(), FIRST).contains(&PathEvent::Suspect));
    assert_well(&pair);
}

/// The client hears nothing over cellular, the server does.
#[test]
fn a_path_that_leads_only_one_way_carries_nothing() {
    let mut pair = phone(|_, _| {});
    pair.world.interface(pair.client, 1).set_down(cellular_link().loss(1.0));
    assert_eq!(open_path(&mut pair), Ok(SECOND));
    carry(&mut pair, true, MIB);
    carry(&mut pair, false, MIB);
    pair.until("given up", |pair| was_told(pair.client_node(), SECOND, PathEvent::Abandoned));
    assert!(!was_told(pair.server_node(), SECOND, PathEvent::Validated));
    assert_well(&pair);
}

/// Whoever is there may not have asked for it (RFC 9000 8). That it is no data either way is shown elsewhere.
#[test]
fn what_a_server_sends_to_a_new_path_is_no_more_than_three_times_what_came() {
    const ELSEWHERE: &str = "203.0.113.66:6666";
    let mut bout = against_server();
    let frames = [bout.puppet.new_cid(SECOND, 0), bout.puppet.new_cid(SECOND, 1)];
    bout.say(&frames);
    let (sent, before) = (bout.from_node.len(), bout.batches.len());
    bout.say_on(SECOND, ELSEWHERE, &[Frame::Ping(Ping)]);
    let came = *bout.to_node.last().unwrap();
    for _ in 0..20 {
        bout.ack();
        bout.wait_ms(100);
    }
    let there = bout.batches[before..].iter().zip(&bout.from_node[sent..]);
    let there: usize =
        there.filter(|((to, _), _)| *to == ELSEWHERE.parse().unwrap()).map(|(_, len)| len).sum();
    assert!((1..=3 * came).contains(&there), "{there} for {came}");
}

/// Its NAT takes another port while both paths carry data.
#[test]
fn a_nat_that_rebinds_moves_one_path_and_leaves_the_other_alone() {
    for (address, up) in [(false, true), (false, false), (true, true), (true, false)] {
        let wifi = Interface::at(WIFI).link(wifi_link());
        let cellular = Interface::at(CELLULAR).link(cellular_link()).nat(Nat::at("198.51.100.1"));
        let mut pair = phone_on(wifi, cellular, |_, _| {});
        open_second(&mut pair);
        carry(&mut pair, true, 2 * MIB);
        carry(&mut pair, false, 2 * MIB);
        let before = [FIRST, SECOND].map(|path| view(&mut pair, false, path).route.unwrap());
        let at = pair.world.now().as_micros() / 1000 + 200;
        let client = pair.client;
        pair.world.at_ms(at, move |world| {
            let nat = world.interface(client, 1).nat_mut();
            if address { nat.rebind_address("198.51.100.77") } else { nat.rebind_port() }
        });
        carry(&mut pair, up, 2 * MIB);
        pair.run_ms(500);
        let after = [FIRST, SECOND].map(|path| view(&mut pair, false, path).route.unwrap());
        assert_eq!(
            (after[0].id, after[0].remote),
            (before[0].id, before[0].remote),
            "address {address} up {up}"
        );
        assert!(after[0].window >= before[0].window / 2, "{} {}", before[0].window, after[0].window);
        assert_eq!(after[0].stats.lost_packets, before[0].stats.lost_packets);
        assert_ne!(after[1].remote, before[1].remote);
        assert!(after[1].validated);
        assert_eq!(pair.server(|connection, _| connection.stats().migrations), 1);
        assert!(!was_told(pair.server_node(), SECOND, PathEvent::Abandoned));
        assert_well(&pair);
    }
}

/// Of a client with three networks: the first path goes from Wi-Fi to Ethernet, the second stays on cellular.
#[test]
fn a_path_migrates_beside_another() {
    const ETHERNET: &str = "10.0.2.2";
    let interfaces = [
        Interface::at(WIFI).link(wifi_link()),
        Interface::at(CELLULAR).link(cellular_link()),
        Interface::at(ETHERNET).link(wifi_link()),
    ];
    let mut pair = Pair::roaming(1, interfaces, both).connected();
    pair.run_ms(200);
    open_second(&mut pair);
    carry(&mut pair, true, MIB);
    pair.world.interface(pair.client, 0).unplug();
    let ethernet: SocketAddr = format!("{ETHERNET}:5000").parse().unwrap();
    pair.client(|connection, now| connection.migrate(now, ethernet, 3).unwrap());
    carry(&mut pair, true, 2 * MIB);
    carry(&mut pair, false, 2 * MIB);
    let [first, second] = [FIRST, SECOND].map(|path| view(&mut pair, false, path).route.unwrap());
    assert!(first.remote == ethernet && first.validated && first.stats.sent_bytes > MIB / 2, "{first:?}");
    assert!(second.remote == cellular().local && second.stats.lost_packets == 0, "{second:?}");
    assert_well(&pair);
}

#[test]
fn keys_are_updated_on_both_paths() {
    let mut pair = bonded(|_, _| {});
    for nth in 0..4 {
        on(&mut pair, nth % 2 == 0, |connection| connection.update_keys());
        carry(&mut pair, true, MIB);
        carry(&mut pair, false, MIB);
        pair.run_ms(1_000);
    }
    let updates =
        [true, false].map(|client| on(&mut pair, client, |connection| connection.stats().key_updates));
    assert_eq!(updates, [4, 4]);
    let forged =
        [true, false].map(|client| on(&mut pair, client, |connection| connection.stats().discarded.total()));
    assert_eq!(forged, [0, 0]);
    assert_well(&pair);
}

/// A path that was silent for the time of an update is reached with the new keys.
#[test]
fn keys_are_updated_while_one_path_is_silent() {
    let mut pair = bonded(|_, server| chosen(server).scheduler = Scheduler::Primary);
    for _ in 0..3 {
        pair.server(|connection, _| connection.update_keys());
        carry(&mut pair, false, 300_000);
        pair.run_ms(1_000);
    }
    assert_eq!(on(&mut pair, true, |connection| connection.stats().key_updates), 3);
    pair.client(|connection, now| connection.abandon_path(now, FIRST, AbandonCode::Application).unwrap());
    carry(&mut pair, false, 300_000);
    carry(&mut pair, true, 300_000);
    assert_eq!(view(&mut pair, true, SECOND).abandoned, None);
    assert_well(&pair);
}

#[test]
fn connection_ids_are_rotated_beside_another_path() {
    let mut pair = bonded(|_, _| {});
    for _ in 0..5 {
        assert_eq!(on(&mut pair, true, |connection| connection.rotate_cids()), Ok(()));
        assert_eq!(on(&mut pair, false, |connection| connection.rotate_cids()), Ok(()));
        carry(&mut pair, true, 300_000);
        carry(&mut pair, false, 300_000);
        pair.run_ms(500);
    }
    let usage = [true, false].map(|client| on(&mut pair, client, |connection| connection.usage()));
    assert!(usage.iter().all(|usage| usage.retirements == 0), "{usage:?}");
    let sent = sent_by(&mut pair, true);
    assert!(sent.iter().all(|(_, bytes)| *bytes > 200_000), "{sent:?}");
    assert_well(&pair);
}
