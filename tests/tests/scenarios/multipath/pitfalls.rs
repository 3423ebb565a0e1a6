//! Mistakes that stacks have made about several paths, one test each: a puppet says what peers seldom do, or a network does it.

use std::collections::BTreeSet;
use std::time::Duration;

use peregrine_core::connection::{AckReturn, PathEvent};
use peregrine_core::error::Code;
use peregrine_core::ids::Side;
use peregrine_core::lifecycle::{Cause, Reason};
use peregrine_core::path::abandon::By;
use peregrine_core::path::schedule::Scheduler;
use peregrine_core::session::AeadLimits;
use peregrine_core::session::Level;
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_core::wire::frame::{
    Frame, MaxData, MaxPathId, MaxStreamData, PathAbandon, PathChallenge, PathCidsBlocked,
    PathNewConnectionId, PathResponse, PathRetireConnectionId, PathStatus, Ping, Stream,
};
use peregrine_tests::puppet::{Bout, PUPPET, Puppet, bytes, path_ack};
use peregrine_tests::sim::Nat;

use super::*;

const DIALECT: Dialect = Dialect::Draft21;
const ELSEWHERE: &str = "203.0.113.66:6666";

/// A puppet client at rest whose server has a connection ID for each path, and gives some of its own.
fn bout() -> Bout {
    let mut server = Setup::server(1);
    both(&mut Setup::client(1), &mut server);
    let mut bout = Bout::against_server_with(server, |params| {
        params.initial_max_path_id = params.initial_max_path_id.with(DIALECT, 3);
    });
    bout.wait_ms(50);
    let frames: Vec<_> = (1..4).map(|path| bout.puppet.new_cid(PathId(path), 0)).collect();
    bout.say(&frames);
    bout.ack();
    bout.wait_ms(500);
    bout.ack();
    bout
}

fn abandons(path: u64) -> Frame<'static> {
    Frame::PathAbandon(PathAbandon { dialect: DIALECT, path, code: 0 })
}

/// A datagram of 1,200 bytes on a path, from elsewhere.
fn begins(bout: &mut Bout, path: PathId, from: &str) {
    let mut payload = bytes(&[Frame::PathChallenge(PathChallenge { data: [path.0 as u8; 8] })]);
    payload.resize(1_180, 0);
    let datagram = bout.puppet.seal_on(path, &payload);
    bout.deliver_from(from, &datagram);
    bout.hear();
}

fn heard_on<R>(bout: &Bout, path: PathId, pick: impl Fn(&Frame<'_>) -> Option<R>) -> Vec<R> {
    let heard = bout.puppet.heard.iter().filter(|heard| heard.path == path);
    heard.flat_map(|heard| heard.frames()).filter_map(|frame| pick(&frame)).collect()
}

fn challenge(frame: &Frame<'_>) -> Option<[u8; 8]> {
    if let Frame::PathChallenge(challenge) = frame { Some(challenge.data) } else { None }
}

fn response(frame: &Frame<'_>) -> Option<[u8; 8]> {
    if let Frame::PathResponse(response) = frame { Some(response.data) } else { None }
}

fn abandoned(frame: &Frame<'_>) -> Option<u64> {
    if let Frame::PathAbandon(frame) = frame { Some(frame.path) } else { None }
}

/// Answers the newest challenge that was heard on a path.
fn answers(bout: &mut Bout, path: PathId, from: &str) {
    let data = *heard_on(bout, path, challenge).last().expect("a challenge");
    bout.say_on(path, from, &[Frame::PathResponse(PathResponse { data })]);
}

fn events(bout: &Bout, path: PathId) -> Vec<PathEvent> {
    told(&bout.node, path)
}

#[test]
fn a_path_is_opened_by_any_frame_and_answered_on_itself() {
    let mut bout = bout();
    begins(&mut bout, SECOND, ELSEWHERE);
    assert_eq!(heard_on(&bout, SECOND, response), [[1; 8]]);
    assert!(heard_on(&bout, FIRST, response).is_empty());
    bout.say_on(THIRD, "203.0.113.67:6666", &[Frame::Ping(Ping)]);
    assert_eq!(heard_on(&bout, THIRD, challenge).len(), 1);
    answers(&mut bout, SECOND, ELSEWHERE);
    assert_eq!(events(&bout, SECOND), [PathEvent::Opened, PathEvent::Validated]);
    assert_eq!(events(&bout, THIRD), [PathEvent::Opened]);
    assert_eq!(bout.connection().path(FIRST).unwrap().route.unwrap().remote, PUPPET.parse().unwrap());
}

/// Challenges and answers of both sides fill 1,200 bytes, whatever batch they are in (RFC 9000 8.2.1).
#[test]
fn every_challenge_fills_its_datagram() {
    let mut pair = phone(|_, _| {});
    let id = stream_down(&mut pair);
    pair.server(|connection, _| connection.write_stream(id, &[1; 500_000]).unwrap());
    pair.run_ms(5);
    pair.world.watch();
    open_second(&mut pair);
    let ours = cellular().local;
    let seen = pair.world.watched().iter().filter(|seen| seen.sent);
    let first = |from_client: bool| {
        let theirs = |seen: &&&peregrine_tests::sim::Sighting| {
            let datagram = &seen.datagram;
            if from_client { datagram.source == ours } else { datagram.destination == ours }
        };
        seen.clone().find(|seen| theirs(&seen)).map(|seen| seen.datagram.payload.len())
    };
    assert!(
        first(true) >= Some(1_200) && first(false) >= Some(1_200),
        "{:?} {:?}",
        first(true),
        first(false)
    );
}

/// The same of those that go along with data, in whatever datagram of a batch they are: an answer on the path in use, a challenge where the
/// peer has moved to.
#[test]
fn what_asks_and_answers_amid_data_fills_its_datagram() {
    let mut bout = bout();
    let id = StreamId::new(Side::Client, Dir::Bi, 0);
    bout.say(&[
        Frame::Stream(Stream { id, offset: 0, data: b"x", fin: false }),
        Frame::MaxData(MaxData { max: 1 << 30 }),
        Frame::MaxStreamData(MaxStreamData { id, max: 1 << 30 }),
    ]);
    bout.act(|connection, _| connection.write_stream(id, &[1; 1 << 20]).unwrap());
    let (mut batches, mut from) = (0, PUPPET);
    for nth in 0..12_u8 {
        // The pacer lets a few datagrams go at once after a while.
        bout.wait_ms(20);
        let before = bout.batches.len();
        let heard: BTreeSet<u64> = bout.puppet.numbers(Level::OneRtt).collect();
        let largest = *heard.last().unwrap();
        let lowest = (0..=largest).rev().take_while(|pn| heard.contains(pn)).last().unwrap();
        let mut payload = peregrine_tests::puppet::ack(&[lowest..=largest]);
        payload.extend(bytes(
            &[2 * nth, 2 * nth + 1].map(|data| Frame::PathChallenge(PathChallenge { data: [data; 8] })),
        ));
        payload.extend(bytes(&[Frame::Ping(Ping)]));
        payload.resize(1_180, 0);
        let datagram = bout.puppet.seal_on(FIRST, &payload);
        bout.deliver_from(from, &datagram);
        bout.hear();
        let is_long = bout.batches[before..].iter().any(|(_, batch)| *batch > 1);
        batches += usize::from(is_long);
        if nth == 5 {
            from = "198.51.100.7:6666";
        }
        for data in heard_on(&bout, FIRST, challenge) {
            bout.say_on(FIRST, from, &[Frame::PathResponse(PathResponse { data })]);
        }
    }
    let holds = |heard: &&peregrine_tests::puppet::Heard| {
        heard.frames().any(|frame| challenge(&frame).is_some() || response(&frame).is_some())
    };
    let sizes: Vec<usize> = bout.puppet.heard.iter().filter(holds).map(|heard| heard.datagram).collect();
    assert!(sizes.len() > 12 && sizes.iter().all(|size| *size >= 1_200), "{sizes:?}");
    assert!(
        batches > 4 && !heard_on(&bout, FIRST, challenge).is_empty(),
        "{batches} {sizes:?} {:?}",
        bout.batches
    );
}

/// Over the path of its packets, or the fastest, and over no other as well: not over a backup either, whose silence is the point of it.
#[test]
fn an_acknowledgment_goes_over_one_path() {
    for acks in [AckReturn::SamePath, AckReturn::Fastest] {
        let mut server = Setup::server(1);
        both(&mut Setup::client(1), &mut server);
        chosen(&mut server).acks = acks;
        let mut bout = Bout::against_server_with(server, |params| {
            params.initial_max_path_id = params.initial_max_path_id.with(DIALECT, 3);
        });
        bout.wait_ms(50);
        let spare = bout.puppet.new_cid(SECOND, 0);
        bout.say(&[spare]);
        begins(&mut bout, SECOND, ELSEWHERE);
        answers(&mut bout, SECOND, ELSEWHERE);
        bout.say(&[Frame::PathStatus(PathStatus { dialect: DIALECT, path: 1, seq: 0, backup: true })]);
        for _ in 0..10 {
            bout.ack();
            bout.ack_path(SECOND);
            bout.wait_ms(100);
        }
        let before = bout.puppet.heard.len();
        for nth in 0..40 {
            bout.say(&[Frame::Ping(Ping)]);
            // What it has to answer over the backup meanwhile takes nothing along.
            if nth % 4 == 3 {
                let question = Frame::PathChallenge(PathChallenge { data: [nth; 8] });
                bout.say_on(SECOND, ELSEWHERE, &[question, Frame::Ping(Ping)]);
                bout.ack_path(SECOND);
            }
            bout.wait_ms(30);
        }
        let acked = |over: PathId| -> Vec<(u64, u64)> {
            let heard = bout.puppet.heard[before..].iter().filter(|heard| heard.path == over);
            let acks = |frame| match frame {
                Frame::PathAck(frame) => Some((frame.path, frame.ack.largest)),
                _ => None,
            };
            heard.flat_map(|heard| heard.frames()).filter_map(acks).collect()
        };
        let [first, second] = [FIRST, SECOND].map(acked);
        let all: Vec<_> = first.iter().chain(&second).collect();
        let once: BTreeSet<_> = all.iter().collect();
        assert!(all.len() >= 30 && once.len() == all.len(), "{acks:?}: {first:?} {second:?}");
        let strays = match acks {
            AckReturn::SamePath => {
                first.iter().filter(|(of, _)| *of != 0).count()
                    + second.iter().filter(|(of, _)| *of != 1).count()
            }
            AckReturn::Fastest => first.len().min(second.len()),
        };
        assert_eq!(strays, 0, "{acks:?}: {first:?} {second:?}");
    }
}

/// The answer to a challenge is sent once; who did not get it asks again (RFC 9000 13.3).
#[test]
fn an_answer_is_not_repeated() {
    let mut bout = bout();
    begins(&mut bout, SECOND, ELSEWHERE);
    for _ in 0..30 {
        bout.wait_ms(100);
        bout.ack();
    }
    assert_eq!(heard_on(&bout, SECOND, response).len(), 1);
    assert_eq!(heard_on(&bout, FIRST, response).len(), 0);
}

/// A challenge is: half of all datagrams are lost on the new path, which opens all the same.
#[test]
fn a_lossy_path_is_opened_with_patience() {
    let mut opened = 0;
    for seed in 0..20 {
        let interfaces =
            [Interface::at(WIFI).link(wifi_link()), Interface::at(CELLULAR).link(cellular_link().loss(0.4))];
        let mut pair = Pair::roaming(seed, interfaces, both).connected();
        pair.run_ms(200);
        assert_eq!(open_path(&mut pair), Ok(SECOND));
        pair.until("decided", |pair| {
            [PathEvent::Validated, PathEvent::Abandoned]
                .iter()
                .any(|end| was_told(pair.client_node(), SECOND, *end))
        });
        assert!(!was_told(pair.client_node(), SECOND, PathEvent::Suspect), "it is being tried");
        opened += usize::from(was_told(pair.client_node(), SECOND, PathEvent::Validated));
        assert_well(&pair);
    }
    assert!(opened >= 17, "{opened} of 20");
}

#[test]
fn an_answer_that_comes_after_the_end_changes_nothing() {
    let mut bout = bout();
    begins(&mut bout, SECOND, ELSEWHERE);
    bout.say(&[abandons(1)]);
    assert_eq!(events(&bout, SECOND), [PathEvent::Opened, PathEvent::Abandoned]);
    let before = bout.puppet.heard.iter().filter(|heard| heard.path == SECOND).count();
    answers(&mut bout, SECOND, ELSEWHERE);
    begins(&mut bout, SECOND, ELSEWHERE);
    bout.wait_ms(3_000);
    assert_eq!(events(&bout, SECOND), [PathEvent::Opened, PathEvent::Abandoned]);
    let after = bout.puppet.heard.iter().filter(|heard| heard.path == SECOND).count();
    assert_eq!(before, after, "nothing is sent over it");
    assert_eq!(bout.puppet.close(), None);
}

/// What came over an abandoned path is acknowledged over another, and from another address too.
#[test]
fn what_comes_late_is_acknowledged() {
    let mut bout = bout();
    begins(&mut bout, SECOND, ELSEWHERE);
    bout.say(&[abandons(1)]);
    let before = bout.puppet.heard.len();
    bout.say_on(SECOND, "203.0.113.68:7777", &[Frame::Ping(Ping)]);
    bout.wait_ms(30);
    let acked: Vec<u64> = bout.puppet.heard[before..]
        .iter()
        .flat_map(|heard| heard.frames())
        .filter_map(|frame| match frame {
            Frame::PathAck(ack) if ack.path == 1 => Some(ack.ack.largest),
            _ => None,
        })
        .collect();
    assert_eq!(acked.last(), Some(&1));
    assert!(bout.batches.iter().all(|(to, _)| *to != "203.0.113.68:7777".parse().unwrap()));
}

/// Frames about a path that has ended, or is about to, are ignored (draft-21 4).
#[test]
fn frames_of_an_abandoned_path_are_ignored() {
    for wait_ms in [0, 20_000] {
        let mut bout = bout();
        begins(&mut bout, SECOND, ELSEWHERE);
        bout.say(&[abandons(1)]);
        for _ in 0..wait_ms / 100 {
            bout.ack();
            bout.wait_ms(100);
        }
        assert_eq!(bout.connection().path(SECOND).is_none(), wait_ms > 0, "it has ended");
        let (dialect, path) = (DIALECT, 1);
        bout.say(&[
            abandons(1),
            Frame::PathStatus(PathStatus { dialect, path, seq: 9, backup: true }),
            Frame::PathCidsBlocked(PathCidsBlocked { dialect, path, next_seq: 2 }),
            Frame::PathRetireConnectionId(PathRetireConnectionId { dialect, path, seq: 0 }),
            bout.puppet.new_cid(SECOND, 1),
            bout.puppet.new_cid(SECOND, 2),
        ]);
        bout.send(Level::OneRtt, &path_ack(DIALECT, SECOND, &[0..=0]));
        bout.say(&[abandons(1)]);
        assert_eq!(bout.puppet.close(), None);
        bout.wait_ms(10_000);
        bout.ack();
        assert_eq!(bout.puppet.close(), None);
        let told = events(&bout, SECOND);
        assert_eq!(told, [PathEvent::Opened, PathEvent::Abandoned]);
    }
}

/// The drain is not prolonged, and each of ours is said once.
#[test]
fn a_repeated_abandon_is_answered_once() {
    let mut bout = bout();
    for _ in 0..50 {
        bout.say(&[abandons(2)]);
        bout.ack();
        bout.wait_ms(10);
    }
    assert_eq!(heard_on(&bout, FIRST, abandoned), [2]);
}

/// A peer that never answers holds a row, and no more.
#[test]
fn an_abandon_that_is_never_answered_holds_a_row_and_nothing_else() {
    let mut bout = bout();
    begins(&mut bout, SECOND, ELSEWHERE);
    answers(&mut bout, SECOND, ELSEWHERE);
    bout.act(|connection, now| connection.abandon_path(now, SECOND, AbandonCode::Application).unwrap());
    bout.ack();
    let before = bout.from_node.len();
    for _ in 0..100 {
        bout.wait_ms(200);
        bout.say(&[Frame::Ping(Ping)]);
        bout.ack();
    }
    assert_eq!(heard_on(&bout, FIRST, abandoned), [1], "said once, for it has arrived");
    assert_eq!(
        bout.connection().path(SECOND).unwrap().abandoned,
        Some((By::Local, AbandonCode::Application))
    );
    assert!(bout.from_node.len() - before < 220, "{}", bout.from_node.len() - before);
    assert_eq!(bout.puppet.close(), None);
}

/// One that was lost is said again, over a path that is left (draft-21 4.2).
#[test]
fn an_abandon_that_was_lost_is_said_again() {
    let mut bout = bout();
    begins(&mut bout, SECOND, ELSEWHERE);
    answers(&mut bout, SECOND, ELSEWHERE);
    bout.act(|connection, now| connection.abandon_path(now, SECOND, AbandonCode::Application).unwrap());
    bout.wait_ms(5_000);
    let said = heard_on(&bout, FIRST, abandoned);
    assert!(said.len() > 1 && said.len() < 20, "{said:?}");
    assert!(heard_on(&bout, SECOND, abandoned).is_empty());
}

/// A client gives up its only path on the first packet of another, and somebody sends that packet on from elsewhere: the
/// server waits until the client itself is heard.
#[test]
fn a_spoofed_first_packet_of_the_only_path_left_ends_nothing() {
    let mut bout = bout();
    let spare = bout.puppet.new_cid(SECOND, 1);
    bout.say(&[spare]);
    bout.say_on(SECOND, ELSEWHERE, &[Frame::Ping(Ping), abandons(0)]);
    bout.wait_ms(8_000);
    let closed = |event: &Event| matches!(event, Event::Closed(_));
    assert!(!bout.node.events.iter().any(|(_, _, event)| closed(event)));
    bout.puppet.heard.clear();
    begins(&mut bout, SECOND, PUPPET);
    bout.say_on(SECOND, PUPPET, &[Frame::Ping(Ping)]);
    for data in heard_on(&bout, SECOND, challenge) {
        bout.say_on(SECOND, PUPPET, &[Frame::PathResponse(PathResponse { data })]);
    }
    let route = bout.connection().path(SECOND).unwrap().route.unwrap();
    assert!(route.remote == PUPPET.parse().unwrap() && route.validated, "{route:?}");
}

#[test]
fn the_last_path_abandoned_is_the_end_of_the_connection() {
    let mut bout = bout();
    bout.say(&[abandons(0)]);
    let cause = bout.node.find(|event| if let Event::Closed(cause) = event { Some(*cause) } else { None });
    let Some(Cause::Local(close)) = cause else { panic!("{cause:?}") };
    assert!(matches!(close.reason, Reason::Transport { code: Code::NO_ERROR, .. }), "{close:?}");
    assert_eq!(bout.puppet.close().unwrap().code, Code::NO_ERROR);
}

/// draft-21 2.3: both speak of the packets of path 0.
#[test]
fn an_ack_and_a_path_ack_are_both_understood() {
    for plain in [true, false] {
        let mut bout = bout();
        let id = StreamId::new(Side::Client, Dir::Bi, 0);
        bout.say(&[Frame::Stream(Stream { id, offset: 0, data: b"x", fin: false })]);
        bout.act(|connection, _| connection.write_stream(id, &[1; 1_000]).unwrap());
        let largest = bout.puppet.largest(Level::OneRtt).unwrap();
        let before = bout.connection().usage().sent;
        let lowest = largest.saturating_sub(1);
        let frame = if plain {
            peregrine_tests::puppet::ack(&[lowest..=largest])
        } else {
            path_ack(DIALECT, FIRST, &[lowest..=largest])
        };
        bout.send(Level::OneRtt, &frame);
        let after = bout.connection().usage().sent;
        assert!(before > 0 && after == 0, "plain {plain}: {before} {after}");
    }
}

/// A client that opens whatever it may at once: each address is challenged, a few at a time and a few per second, and no address
/// is sent more than three times what came from it.
#[test]
fn validations_are_few_at_once_and_per_second() {
    let mut bout = bout();
    bout.say(&[Frame::MaxPathId(MaxPathId { dialect: DIALECT, max: 60_000 })]);
    let mut next = 1;
    let mut ids = BTreeSet::from([1, 2, 3]);
    let begin = bout.now;
    let mut challenged = 0;
    for _ in 0..2_000 {
        let Some(path) = ids.pop_first() else {
            bout.wait_ms(10);
            bout.ack();
            let given = |frame: &Frame<'_>| match frame {
                Frame::PathNewConnectionId(PathNewConnectionId { path, .. }) => Some(*path as u32),
                _ => None,
            };
            ids = heard_on(&bout, FIRST, given).into_iter().filter(|path| *path >= next).collect();
            continue;
        };
        next = path + 1;
        let from = format!("203.0.113.{}:{}", path % 250, 1_000 + path);
        let id = PathId(path);
        let frame = bout.puppet.new_cid(id, 0);
        bout.say(&[frame]);
        begins(&mut bout, id, &from);
        challenged += u32::from(!heard_on(&bout, id, challenge).is_empty());
        bout.say(&[abandons(path.into())]);
    }
    let seconds = Duration::from(bout.now.since(begin)).as_secs();
    println!("{next} paths, {challenged} challenged in {seconds} s");
    assert_eq!(bout.puppet.close(), None);
    assert!(next > 20 && u64::from(challenged) <= 4 + 4 * (seconds + 1), "{challenged} in {seconds} s");
    assert!(bout.connection().usage().routes <= 4);
}

/// An address that the application's policy forbids: the path is abandoned, the rest goes on.
#[test]
fn a_policy_may_refuse_a_path() {
    let mut pair = phone(|_, server| {
        server.endpoint.connection.migration_policy = |_, to| to.remote.ip().to_string() != CELLULAR;
    });
    assert_eq!(open_path(&mut pair), Ok(SECOND));
    pair.until("refused", |pair| was_told(pair.client_node(), SECOND, PathEvent::Abandoned));
    assert!(pair.told_server(Event::PolicyRefused));
    carry(&mut pair, true, MIB);
    assert_well(&pair);
}

/// Connection IDs are rotated just when a NAT gives one path another port.
#[test]
fn a_rotation_in_the_moment_of_a_rebinding() {
    for by_client in [true, false] {
        let wifi = Interface::at(WIFI).link(wifi_link()).nat(Nat::at("198.51.100.1"));
        let cellular = Interface::at(CELLULAR).link(cellular_link()).nat(Nat::at("198.51.100.2"));
        let mut pair = phone_on(wifi, cellular, |_, _| {});
        open_second(&mut pair);
        for nth in 0..10 {
            carry(&mut pair, true, 100_000);
            on(&mut pair, by_client, |connection| connection.rotate_cids().ok());
            pair.world.interface(pair.client, nth % 2).nat_mut().rebind_port();
            carry(&mut pair, true, 300_000);
            carry(&mut pair, false, 300_000);
            pair.run_ms(500);
        }
        assert_eq!((pair.client_cause(), pair.server_cause()), (None, None));
        for path in [FIRST, SECOND] {
            assert_eq!(view(&mut pair, false, path).abandoned, None);
        }
    }
}

/// The limits of the AEAD are those of the keys, not of a path (RFC 9001 6.6): packets of both paths count together.
#[test]
fn keys_are_used_up_by_all_paths_together() {
    let mut pair = shallow(|client, server| {
        for setup in [client, server] {
            setup.session.limits = AeadLimits { confidentiality: 4_000, integrity: 1 << 30 };
        }
    });
    carry(&mut pair, true, 6 * MIB);
    carry(&mut pair, false, 6 * MIB);
    let updates = on(&mut pair, true, |connection| connection.stats().key_updates);
    assert!(updates >= 3, "{updates}");
    assert_well(&pair);
}

/// Two paths between the same addresses: nothing has to be proved, both carry.
#[test]
fn two_paths_on_one_pair_of_addresses() {
    let mut pair = phone(|_, _| {});
    let local: SocketAddr = format!("{WIFI}:5000").parse().unwrap();
    let on_wifi = FourTuple { local, remote: server_address(), interface: 1 };
    let opened = pair.client(|connection, now| connection.open_path(now, on_wifi, Availability::Available));
    assert_eq!(opened, Ok(SECOND));
    carry(&mut pair, true, 2 * MIB);
    carry(&mut pair, false, 2 * MIB);
    pair.client(|connection, now| connection.abandon_path(now, FIRST, AbandonCode::Application).unwrap());
    carry(&mut pair, true, MIB);
    carry(&mut pair, false, MIB);
    assert!(was_told(pair.server_node(), FIRST, PathEvent::Abandoned));
    assert_well(&pair);
}

/// The server hears of the second at once, though nothing is asked on it, searched for there, or to be sent.
#[test]
fn a_second_path_on_the_same_addresses_is_opened_for_both_sides() {
    let mut pair = phone(|client, server| {
        for setup in [client, server] {
            setup.endpoint.connection.max_mtu = 1_200;
            chosen(setup).scheduler = Scheduler::Primary;
        }
    });
    let on_wifi = view(&mut pair, true, FIRST).route.unwrap();
    let on = FourTuple { local: on_wifi.local, remote: on_wifi.remote, interface: on_wifi.interface };
    let opened = pair.client(|connection, now| connection.open_path(now, on, Availability::Unknown));
    assert_eq!(opened, Ok(SECOND));
    pair.run_ms(50);
    for node in [pair.client_node(), pair.server_node()] {
        assert_eq!(told(node, SECOND), [PathEvent::Opened, PathEvent::Validated]);
    }
    assert_well(&pair);
}

/// A server whose client has moved one path to where another is leaves it to the client which of them goes (draft-21 5.2).
#[test]
fn a_server_keeps_two_paths_that_come_to_share_their_addresses() {
    let mut bout = bout();
    let spare = bout.puppet.new_cid(SECOND, 1);
    bout.say(&[spare]);
    begins(&mut bout, SECOND, ELSEWHERE);
    answers(&mut bout, SECOND, ELSEWHERE);
    begins(&mut bout, SECOND, PUPPET);
    bout.say_on(SECOND, PUPPET, &[Frame::Ping(Ping)]);
    for data in heard_on(&bout, SECOND, challenge) {
        bout.say_on(SECOND, PUPPET, &[Frame::PathResponse(PathResponse { data })]);
    }
    bout.wait_ms(2_000);
    for path in [FIRST, SECOND] {
        let view = bout.connection().path(path).unwrap();
        let route = view.route.unwrap();
        assert!(route.remote == PUPPET.parse().unwrap() && route.validated, "{view:?}");
        assert!(heard_on(&bout, path, abandoned).is_empty());
    }
    assert_eq!(bout.puppet.close(), None);
}

/// A client that begins a path and never gives a connection ID for it cannot be answered there, and hears why.
#[test]
fn a_path_without_connection_ids_is_abandoned_for_want_of_them() {
    let mut server = Setup::server(1);
    both(&mut Setup::client(1), &mut server);
    let mut bout = Bout::against_server_with(server, |params| {
        params.initial_max_path_id = params.initial_max_path_id.with(DIALECT, 3);
    });
    bout.wait_ms(50);
    bout.ack();
    bout.say_on(SECOND, ELSEWHERE, &[Frame::Ping(Ping)]);
    for _ in 0..50 {
        bout.wait_ms(100);
        bout.ack();
    }
    let end = |frame: &Frame<'_>| match frame {
        Frame::PathAbandon(frame) => Some((frame.path, AbandonCode::from_number(DIALECT, frame.code))),
        _ => None,
    };
    assert_eq!(heard_on(&bout, FIRST, end), [(1, AbandonCode::NoCid)]);
    assert_eq!(bout.puppet.close(), None);
}

/// A server with memory for two paths, whatever its client could have.
#[test]
fn the_smaller_memory_counts() {
    for of_server in [true, false] {
        let mut pair =
            phone(|client, server| if of_server { server.sizes.paths = 2 } else { client.sizes.paths = 2 });
        open_second(&mut pair);
        assert_eq!(open_path(&mut pair), Err(PathError::NoPathId));
        carry(&mut pair, true, MIB);
        carry(&mut pair, false, MIB);
        assert_well(&pair);
    }
}

/// Everything that is said of paths is lost now and then, and said again.
#[test]
fn paths_come_and_go_over_lossy_links() {
    for seed in 0..6 {
        let lossy = |link: Link| link.loss(0.1);
        let interfaces = [
            Interface::at(WIFI).link(lossy(wifi_link())),
            Interface::at(CELLULAR).link(lossy(cellular_link())),
        ];
        let mut pair = Pair::roaming(seed, interfaces, both).connected();
        let mut opened = 0;
        for nth in 0..40 {
            if let Ok(path) = open_path(&mut pair) {
                opened += 1;
                carry(&mut pair, nth % 2 == 0, 50_000);
                on(&mut pair, true, |connection| connection.set_path_status(FIRST, nth % 3 == 0).unwrap());
                let give_up = AbandonCode::Application;
                // The other side may have been first.
                if nth % 4 < 2 {
                    pair.client(|connection, now| connection.abandon_path(now, path, give_up).ok());
                } else {
                    pair.server(|connection, now| connection.abandon_path(now, path, give_up).ok());
                }
            }
            pair.run_ms(300);
        }
        assert!(opened >= 20, "{opened}");
        carry(&mut pair, true, 300_000);
        assert_well(&pair);
        pair.run_ms(10_000);
        let views =
            [true, false].map(|client| on(&mut pair, client, |connection| connection.paths().count()));
        assert_eq!(views, [1, 1], "all have ended");
    }
}

/// The names that a puppet gives paths are its own: no node takes one path's connection ID for another's.
#[test]
fn a_packet_on_another_paths_connection_id_is_of_that_path() {
    let mut bout = bout();
    assert_ne!(Puppet::cid_of(SECOND, 0), Puppet::cid_of(THIRD, 0));
    begins(&mut bout, THIRD, ELSEWHERE);
    assert_eq!(bout.connection().paths().map(|path| path.id).collect::<Vec<_>>(), [FIRST, THIRD]);
    assert!(heard_on(&bout, SECOND, challenge).is_empty());
}
