//! What the drafts of multipath say must be, where nothing else shows it, in either dialect.

use std::collections::BTreeSet;

use peregrine_core::connection::{Event, MultipathConfig, PathError, PathEvent};
use peregrine_core::error::Code;
use peregrine_core::ids::{Dir, FourTuple, PathId, Side, StreamId};
use peregrine_core::lifecycle::Cause;
use peregrine_core::limits::MIN_INITIAL_DATAGRAM;
use peregrine_core::path::Availability;
use peregrine_core::path::schedule::Scheduler;
use peregrine_core::session::{Level, Session as _};
use peregrine_core::wire::dialect::{AbandonCode, PerDialect};
use peregrine_core::wire::frame::{
    Frame, Kind, MaxPathId, NewConnectionId, PathAbandon, PathNewConnectionId, PathResponse,
    PathRetireConnectionId, Ping, Stream,
};
use peregrine_core::wire::params::TransportParams;
use peregrine_core::wire::{Cid, Dialect, reset};
use peregrine_tests::pair::{Pair, open, server_address};
use peregrine_tests::puppet::{Bout, Heard, PUPPET, Puppet, bytes, path_ack};
use peregrine_tests::quic::Setup;
use peregrine_tests::sim::{Interface, Link};

const FIRST: PathId = PathId::ZERO;
const SECOND: PathId = PathId(1);
const ELSEWHERE: &str = "203.0.113.66:6666";
/// The largest path ID that a node of [`with_paths`] allows at first.
const MAX: u64 = 3;

/// Multipath in both dialects, and memory for four paths.
fn with_paths(mut setup: Setup) -> Setup {
    setup.sizes.paths = 4;
    setup.endpoint.connection.multipath = MultipathConfig::speaking(Dialect::ALL);
    setup
}

/// The default one waits for the faster path, and hides that another one may not be used.
fn with_scheduler(mut setup: Setup, scheduler: Scheduler) -> Setup {
    setup.endpoint.connection.multipath.as_mut().expect("multipath").scheduler = scheduler;
    setup
}

fn offers(params: &mut TransportParams, dialect: Dialect, max: u64) {
    params.initial_max_path_id = params.initial_max_path_id.with(dialect, max);
}

/// A puppet client that speaks this dialect with a server, and has acknowledged nothing of what is said at first.
fn server(dialect: Dialect) -> Bout {
    Bout::against_server_with(with_paths(Setup::server(1)), |params| offers(params, dialect, MAX))
}

/// A puppet server that speaks this dialect with a client.
fn client(dialect: Dialect) -> Bout {
    Bout::against_client_with(with_paths(Setup::client(1)), |params| offers(params, dialect, MAX))
}

/// All that the node has to say for now is said and acknowledged.
fn settle(bout: &mut Bout) {
    for _ in 0..4 {
        bout.wait_ms(100);
        acknowledge(bout, |_| true);
    }
}

/// Acknowledges the 1-RTT packets of the first path that `which` picks.
fn acknowledge(bout: &mut Bout, which: impl Fn(&Heard) -> bool) {
    let heard = bout.puppet.heard.iter().filter(|heard| heard.level == Level::OneRtt && heard.path == FIRST);
    let numbers: BTreeSet<u64> = heard.filter(|heard| which(heard)).map(|heard| heard.pn).collect();
    let mut ranges: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
    for pn in numbers.into_iter().rev() {
        match ranges.last_mut() {
            Some(range) if *range.start() == pn + 1 => *range = pn..=*range.end(),
            _ => ranges.push(pn..=pn),
        }
    }
    let dialect = bout.puppet.dialect.expect("a dialect");
    bout.send(Level::OneRtt, &path_ack(dialect, FIRST, &ranges));
}

/// What of the frames heard since then `pick` picks.
fn heard_since<R>(bout: &Bout, since: usize, pick: impl Fn(&Frame<'_>) -> Option<R>) -> Vec<R> {
    let frames = bout.puppet.heard[since..].iter().flat_map(|heard| heard.frames());
    frames.filter_map(|frame| pick(&frame)).collect()
}

/// The path and the number of a connection ID that is given.
fn given(frame: &Frame<'_>) -> Option<(u64, u64)> {
    if let Frame::PathNewConnectionId(frame) = frame { Some((frame.path, frame.cid.seq)) } else { None }
}

fn limit(frame: &Frame<'_>) -> Option<u64> {
    if let Frame::MaxPathId(frame) = frame { Some(frame.max) } else { None }
}

fn challenge(frame: &Frame<'_>) -> Option<[u8; 8]> {
    if let Frame::PathChallenge(challenge) = frame { Some(challenge.data) } else { None }
}

fn abandons(dialect: Dialect, path: PathId) -> Frame<'static> {
    Frame::PathAbandon(PathAbandon { dialect, path: path.0.into(), code: 0 })
}

/// The puppet client begins a path, and answers the server's challenge.
fn begin_second(bout: &mut Bout) {
    let frames = [bout.puppet.new_cid(SECOND, 0), bout.puppet.new_cid(SECOND, 1)];
    bout.say(&frames);
    bout.say_on(SECOND, ELSEWHERE, &[Frame::Ping(Ping)]);
    while let Some(data) = new_challenge(bout) {
        bout.say_on(SECOND, ELSEWHERE, &[Frame::PathResponse(PathResponse { data })]);
    }
    bout.ack_path(SECOND);
    assert!(bout.connection().path(SECOND).unwrap().route.unwrap().validated);
}

/// The newest challenge, if nothing that came later answers it.
fn new_challenge(bout: &mut Bout) -> Option<[u8; 8]> {
    let validated = bout.connection().path(SECOND)?.route?.validated;
    heard_since(bout, 0, challenge).pop().filter(|_| !validated)
}

fn told(bout: &Bout, what: PathEvent) -> bool {
    bout.node.events.iter().any(|(_, _, event)| *event == Event::Path(SECOND, what))
}

fn open_path(bout: &mut Bout) -> Result<PathId, PathError> {
    let (local, remote) = ("192.0.2.77:4433".parse().unwrap(), PUPPET.parse().unwrap());
    let on = FourTuple { local, remote, interface: 2 };
    bout.act(|connection, now| connection.open_path(now, on, Availability::Unknown))
}

/// Frames of multipath are in 1-RTT packets only; and there everything that has a form for any path is in that form.
#[test]
fn from_the_handshake_on_every_frame_names_its_path() {
    for dialect in Dialect::ALL.iter().copied() {
        for mut bout in [server(dialect), client(dialect)] {
            settle(&mut bout);
            let cid = NewConnectionId {
                seq: 1,
                retire_prior_to: 1,
                cid: Puppet::cid_of(FIRST, 1),
                reset_token: [1; 16],
            };
            bout.say(&[Frame::PathNewConnectionId(PathNewConnectionId { dialect, path: 0, cid })]);
            settle(&mut bout);
            let kinds = |level: Level| -> BTreeSet<u8> {
                let heard = bout.puppet.heard.iter().filter(|heard| heard.level == level);
                heard.flat_map(|heard| heard.frames().map(|frame| frame.kind() as u8)).collect()
            };
            let of_multipath = |kind: &&Kind| kind.is_multipath();
            for kind in Kind::ALL.iter().filter(of_multipath) {
                for level in [Level::Initial, Level::Handshake, Level::ZeroRtt] {
                    assert!(!kinds(level).contains(&(*kind as u8)), "{kind:?} in {level:?}");
                }
            }
            for (plain, named) in [
                (Kind::Ack, Kind::PathAck),
                (Kind::NewConnectionId, Kind::PathNewConnectionId),
                (Kind::RetireConnectionId, Kind::PathRetireConnectionId),
            ] {
                let said = [plain, named].map(|kind| kinds(Level::OneRtt).contains(&(kind as u8)));
                assert_eq!(said, [false, true], "{plain:?}");
            }
            assert!(heard_since(&bout, 0, given).contains(&(0, 1)));
            assert_eq!(bout.puppet.close(), None);
        }
    }
}

#[test]
fn without_agreement_nothing_of_multipath_is_said() {
    for dialect in Dialect::ALL.iter().copied() {
        for mut bout in [
            Bout::against_server(with_paths(Setup::server(1))),
            Bout::against_client(with_paths(Setup::client(1))),
        ] {
            bout.puppet.dialect = Some(dialect);
            assert_eq!(open_path(&mut bout), Err(PathError::Unsupported));
            let act = |connection: &mut peregrine_tests::quic::NullConnection, now| {
                assert_eq!(connection.set_path_status(FIRST, true), Err(PathError::Unsupported));
                connection.abandon_path(now, FIRST, AbandonCode::Application)
            };
            assert_eq!(bout.act(act), Err(PathError::Last));
            for _ in 0..20 {
                bout.say(&[Frame::Ping(Ping)]);
                bout.wait_ms(100);
            }
            let named = |frame: &Frame<'_>| frame.kind().is_multipath().then_some(frame.kind());
            assert_eq!(heard_since(&bout, 0, named), []);
        }
    }
}

/// What a node declares, by what its puppet was told.
fn declared(bout: &Bout, by: Side) -> PerDialect {
    let params = bout.puppet.session.peer_params().unwrap();
    TransportParams::parse(by, params).unwrap().initial_max_path_id
}

/// And never with a connection ID of no bytes: its client would have to take that for an error.
#[test]
fn a_node_offers_as_many_paths_as_it_has_memory_for() {
    for rows in 1..=4_u8 {
        let mut setup = with_paths(Setup::server(1));
        setup.sizes.paths = rows.into();
        let bout = Bout::against_server(setup);
        for dialect in Dialect::ALL.iter().copied() {
            assert_eq!(declared(&bout, Side::Server).get(dialect), Some(u64::from(rows) - 1));
        }
    }
    let mut bout = Bout::new(with_paths(Setup::server(1)), Puppet::client(77));
    bout.puppet.scid = Cid::EMPTY;
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    bout.shake_hands();
    assert!(bout.connection().is_established());
    assert_eq!(declared(&bout, Side::Server), PerDialect::default());
}

#[test]
fn a_client_without_connection_ids_takes_an_offer_for_an_error() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut setup = with_paths(Setup::client(1));
        setup.endpoint.cid_len = 0;
        let mut bout = Bout::new(setup, Puppet::server(78));
        bout.connect();
        let mut params = bout.puppet.params();
        offers(&mut params, dialect, MAX);
        bout.puppet.start(&params);
        bout.shake_hands();
        assert_eq!(declared(&bout, Side::Client), PerDialect::default());
        let error = bout.error();
        assert_eq!(
            (error.code, &*error.reason),
            (Code::PROTOCOL_VIOLATION, "multipath offered with a zero-length connection ID")
        );
    }
}

/// Each path ID up to the smaller limit gets some, and none is left out.
#[test]
fn connection_ids_are_given_for_each_path_that_both_sides_allow_and_no_other() {
    for dialect in Dialect::ALL.iter().copied() {
        for max in 0..=MAX + 2 {
            let mut bout = Bout::against_server_with(with_paths(Setup::server(1)), |params| {
                offers(params, dialect, max);
            });
            settle(&mut bout);
            let paths: BTreeSet<u64> =
                heard_since(&bout, 0, given).into_iter().map(|(path, _)| path).collect();
            assert_eq!(paths, (0..=max.min(MAX)).collect());
        }
    }
}

#[test]
fn a_retired_connection_id_is_replaced_on_its_path_unless_that_is_abandoned() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut bout = server(dialect);
        settle(&mut bout);
        let of_second = |bout: &Bout| -> Vec<u64> {
            let all = heard_since(bout, 0, given).into_iter();
            all.filter(|(path, _)| *path == 1).map(|(_, seq)| seq).collect()
        };
        assert_eq!(of_second(&bout), [0, 1]);
        let retire = |seq| Frame::PathRetireConnectionId(PathRetireConnectionId { dialect, path: 1, seq });
        bout.say(&[retire(1)]);
        assert_eq!(of_second(&bout), [0, 1, 2]);
        bout.say(&[abandons(dialect, SECOND)]);
        bout.say(&[retire(2), retire(0)]);
        settle(&mut bout);
        assert_eq!(of_second(&bout), [0, 1, 2]);
        assert_eq!(bout.puppet.close(), None);
    }
}

#[test]
fn who_misses_a_path_id_says_so() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut bout = Bout::against_client_with(with_paths(Setup::client(1)), |params| {
            offers(params, dialect, 0);
        });
        settle(&mut bout);
        assert_eq!(open_path(&mut bout), Err(PathError::NoPathId));
        let missed =
            |frame: &Frame<'_>| if let Frame::PathsBlocked(frame) = frame { Some(frame.max) } else { None };
        assert_eq!(heard_since(&bout, 0, missed), [0]);
    }
}

/// Frames may overtake each other.
#[test]
fn a_limit_that_is_not_higher_takes_nothing_back() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut bout = Bout::against_client_with(with_paths(Setup::client(1)), |params| {
            offers(params, dialect, 0);
        });
        settle(&mut bout);
        for max in [2, 1, 2, 0] {
            bout.say(&[Frame::MaxPathId(MaxPathId { dialect, max })]);
        }
        let frame = bout.puppet.new_cid(SECOND, 0);
        bout.say(&[frame]);
        assert_eq!(open_path(&mut bout), Ok(SECOND));
        assert_eq!(bout.puppet.close(), None);
    }
}

/// It goes up by one with each path that has ended, and is said until it arrives.
#[test]
fn a_limit_that_was_lost_is_told_again_and_one_that_arrived_is_not() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut bout = server(dialect);
        settle(&mut bout);
        assert!(heard_since(&bout, 0, limit).is_empty(), "transport parameters have said it");
        let carries = |heard: &Heard| heard.frames().any(|frame| limit(&frame).is_some());
        for (path, expected) in [(2, 4), (3, 5)] {
            let before = bout.puppet.heard.len();
            bout.say(&[abandons(dialect, PathId(path))]);
            for _ in 0..100 {
                acknowledge(&mut bout, |heard| !carries(heard));
                bout.wait_ms(50);
            }
            let told = heard_since(&bout, before, limit);
            assert!(told.len() > 1 && told.iter().all(|max| *max == expected), "{told:?}");
            settle(&mut bout);
            let before = bout.puppet.heard.len();
            for _ in 0..50 {
                acknowledge(&mut bout, |_| true);
                bout.wait_ms(100);
            }
            assert!(heard_since(&bout, before, limit).is_empty());
        }
    }
}

/// As with a migration (RFC 9000 8.2.1): an address is not sent more than three times what came from it, so that its first
/// challenge is too small to prove what size of datagram gets through; another one follows that does.
#[test]
fn a_path_that_begins_with_a_small_datagram_proves_its_size_later() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut bout = server(dialect);
        settle(&mut bout);
        let frame = bout.puppet.new_cid(SECOND, 0);
        bout.say(&[frame]);
        let challenges = |bout: &Bout| -> Vec<(usize, [u8; 8])> {
            let heard = bout.puppet.heard.iter().filter(|heard| heard.path == SECOND);
            heard
                .flat_map(|heard| {
                    let all = heard.frames().filter_map(|frame| challenge(&frame)).collect::<Vec<_>>();
                    all.into_iter().map(|data| (heard.datagram, data))
                })
                .collect()
        };
        bout.say_on(SECOND, ELSEWHERE, &[Frame::Ping(Ping)]);
        let [(small, data)] = challenges(&bout)[..] else { panic!("{:?}", challenges(&bout)) };
        assert!(small < MIN_INITIAL_DATAGRAM);
        bout.say_on(SECOND, ELSEWHERE, &[Frame::PathResponse(PathResponse { data })]);
        assert!(!told(&bout, PathEvent::Validated));
        let (full, data) = *challenges(&bout).last().unwrap();
        assert!(full >= MIN_INITIAL_DATAGRAM, "{full}");
        bout.say_on(SECOND, ELSEWHERE, &[Frame::PathResponse(PathResponse { data })]);
        assert!(told(&bout, PathEvent::Validated));
    }
}

/// Though the first path has no room left; and a server could send three times what came.
#[test]
fn neither_side_sends_data_on_a_path_that_is_not_validated_yet() {
    for (dialect, is_server) in Dialect::ALL.iter().flat_map(|dialect| [(*dialect, false), (*dialect, true)])
    {
        let setup = with_paths(if is_server { Setup::server(1) } else { Setup::client(1) });
        let setup = with_scheduler(setup, Scheduler::LowestRtt);
        let offer = |params: &mut TransportParams| offers(params, dialect, MAX);
        let mut bout = match is_server {
            true => Bout::against_server_with(setup, offer),
            false => Bout::against_client_with(setup, offer),
        };
        settle(&mut bout);
        let frame = bout.puppet.new_cid(SECOND, 0);
        bout.say(&[frame]);
        let id = StreamId::new(Side::Client, Dir::Bi, 0);
        if is_server {
            bout.say(&[Frame::Stream(Stream { id, offset: 0, data: b"x", fin: false })]);
            let mut payload = bytes(&[Frame::Ping(Ping)]);
            payload.resize(1_300, 0);
            let datagram = bout.puppet.seal_on(SECOND, &payload);
            bout.deliver_from(ELSEWHERE, &datagram);
            bout.hear();
        } else {
            assert_eq!(bout.act(|connection, _| open(connection, Dir::Bi)), id);
            assert_eq!(open_path(&mut bout), Ok(SECOND));
        }
        let data_on = |bout: &Bout, path: PathId| {
            let heard = bout.puppet.heard.iter().filter(|heard| heard.path == path);
            heard.flat_map(|heard| heard.frames()).filter(|frame| frame.kind() == Kind::Stream).count()
        };
        bout.act(|connection, _| connection.write_stream(id, &[1; 60_000]).unwrap());
        bout.wait_ms(20);
        assert!(data_on(&bout, FIRST) > 5);
        assert_eq!(data_on(&bout, SECOND), 0, "server {is_server}");
        let data = new_challenge(&mut bout).unwrap();
        let from = if is_server { ELSEWHERE } else { PUPPET };
        bout.say_on(SECOND, from, &[Frame::PathResponse(PathResponse { data })]);
        assert!(told(&bout, PathEvent::Validated));
        assert!(data_on(&bout, SECOND) > 5, "{}", data_on(&bout, SECOND));
    }
}

/// Not when a delay is over, and on a path that is left.
#[test]
fn what_an_abandoned_path_owes_is_acknowledged_at_once() {
    for dialect in Dialect::ALL.iter().copied() {
        for by_peer in [true, false] {
            let mut bout = server(dialect);
            settle(&mut bout);
            begin_second(&mut bout);
            settle(&mut bout);
            let before = bout.puppet.heard.len();
            let pn = bout.puppet.paths[&SECOND].next_pn;
            bout.say_on(SECOND, ELSEWHERE, &[Frame::Ping(Ping)]);
            assert_eq!(bout.puppet.heard.len(), before, "one packet is not acknowledged at once");
            if by_peer {
                bout.say(&[abandons(dialect, SECOND)]);
            } else {
                bout.act(|connection, now| {
                    connection.abandon_path(now, SECOND, AbandonCode::Application).unwrap();
                });
            }
            let acked = |frame: &Frame<'_>| match frame {
                Frame::PathAck(frame) if frame.path == 1 => Some(frame.ack.largest),
                _ => None,
            };
            assert_eq!(heard_since(&bout, before, acked), [pn], "by peer {by_peer}");
            assert!(bout.puppet.heard[before..].iter().all(|heard| heard.path == FIRST));
        }
    }
}

/// Whatever was under way: its status, its connection IDs, their retirement.
#[test]
fn of_an_abandoned_path_nothing_is_said_but_its_end_and_acknowledgments() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut bout = server(dialect);
        begin_second(&mut bout);
        bout.act(|connection, _| connection.set_path_status(SECOND, true).unwrap());
        let cid = NewConnectionId {
            seq: 2,
            retire_prior_to: 2,
            cid: Puppet::cid_of(SECOND, 2),
            reset_token: [2; 16],
        };
        bout.say(&[Frame::PathNewConnectionId(PathNewConnectionId { dialect, path: 1, cid })]);
        let speaks = |frame: &Frame<'_>| match frame {
            Frame::PathStatus(frame) => Some((Kind::PathStatus, frame.path)),
            Frame::PathNewConnectionId(frame) => Some((Kind::PathNewConnectionId, frame.path)),
            Frame::PathRetireConnectionId(frame) => Some((Kind::PathRetireConnectionId, frame.path)),
            Frame::PathCidsBlocked(frame) => Some((Kind::PathCidsBlocked, frame.path)),
            Frame::PathAbandon(frame) => Some((Kind::PathAbandon, frame.path)),
            _ => None,
        };
        let before = bout.puppet.heard.len();
        for kind in [Kind::PathStatus, Kind::PathNewConnectionId, Kind::PathRetireConnectionId] {
            assert!(heard_since(&bout, 0, speaks).contains(&(kind, 1)), "{kind:?} was said");
        }
        let silent: BTreeSet<u64> = bout.puppet.numbers(Level::OneRtt).collect();
        bout.act(|connection, now| connection.abandon_path(now, SECOND, AbandonCode::Application).unwrap());
        for _ in 0..50 {
            acknowledge(&mut bout, |heard| !silent.contains(&heard.pn));
            bout.wait_ms(50);
        }
        let lost = bout.connection().stats().lost_packets;
        assert!(lost > 0, "what was said before is taken for lost");
        let said: Vec<_> =
            heard_since(&bout, before, speaks).into_iter().filter(|(_, path)| *path == 1).collect();
        assert_eq!(said, [(Kind::PathAbandon, 1)], "{dialect:?}");
        // The IDs that the puppet may send to are known all the same.
        let discarded = bout.connection().stats().discarded.total();
        bout.say_on(SECOND, ELSEWHERE, &[Frame::Ping(Ping)]);
        assert_eq!(bout.connection().stats().discarded.total(), discarded);
    }
}

#[test]
fn a_reset_token_of_an_abandoned_path_is_none_any_more() {
    for dialect in Dialect::ALL.iter().copied() {
        for (by_peer, by_node) in [(false, false), (true, false), (false, true)] {
            let mut bout = server(dialect);
            settle(&mut bout);
            begin_second(&mut bout);
            // That of `Puppet::new_cid`, of its first ID.
            let mut datagram = vec![0x5a; 60];
            reset::emit(&[0; 16], &mut datagram).unwrap();
            if by_peer {
                bout.say(&[abandons(dialect, SECOND)]);
            }
            if by_node {
                let why = AbandonCode::Application;
                bout.act(|connection, now| connection.abandon_path(now, SECOND, why).unwrap());
            }
            bout.deliver(&datagram);
            let expected = if by_peer || by_node { None } else { Some(Cause::StatelessReset) };
            assert_eq!(bout.connection().cause(), expected, "by peer {by_peer} by node {by_node}");
        }
    }
}

/// A phone whose second path, if it has one, takes a second to and fro; the first takes 20 ms.
fn with_slow_path(slow: bool) -> Pair {
    let interfaces = [
        Interface::at("10.0.0.2").link(Link::mbit(20).delay_ms(10)),
        Interface::at("10.0.1.2").link(Link::mbit(20).delay_ms(500)),
    ];
    let tune = |client: &mut Setup, server: &mut Setup| {
        (*client, *server) = (with_paths(client.clone()), with_paths(server.clone()));
    };
    let mut pair = Pair::roaming(1, interfaces, tune).connected();
    pair.run_ms(200);
    if slow {
        let local = "10.0.1.2:5000".parse().unwrap();
        let on = FourTuple { local, remote: server_address(), interface: 2 };
        let opened = pair.client(|connection, now| connection.open_path(now, on, Availability::Backup));
        assert_eq!(opened, Ok(SECOND));
        let validated = Event::Path(SECOND, PathEvent::Validated);
        pair.until("validated", |pair| pair.told_client(validated) && pair.told_server(validated));
    }
    pair
}

/// Packets of the slow path that were sent before an update can still be opened when it is the next one's turn.
#[test]
fn keys_are_updated_no_sooner_than_the_slowest_path_has_followed() {
    let updates = [false, true].map(|slow| {
        let mut pair = with_slow_path(slow);
        for _ in 0..300 {
            pair.client(|connection, _| {
                connection.update_keys();
                connection.ping();
            });
            pair.server(|connection, _| connection.ping());
            pair.run_ms(50);
        }
        pair.client(|connection, _| connection.session().counters().updates)
    });
    // In 15 s: three timeouts are 0.2 s without the slow path, and 3 s with it.
    assert!(updates[0] > 30 && (3..=5).contains(&updates[1]), "{updates:?}");
}

#[test]
fn the_end_takes_three_timeouts_of_the_slowest_path() {
    for by_client in [true, false] {
        let took = [false, true].map(|slow| {
            let mut pair = with_slow_path(slow);
            let begin = pair.world.now();
            if by_client {
                pair.client(|connection, now| connection.close(now, 0, ""));
            } else {
                pair.server(|connection, now| connection.close(now, 0, ""));
            }
            let mut ended = [None; 2];
            while ended.contains(&None) {
                pair.run_ms(10);
                let drained = [pair.told_client(Event::Drained), pair.told_server(Event::Drained)];
                for (ended, _) in ended.iter_mut().zip(drained).filter(|(_, drained)| *drained) {
                    ended.get_or_insert(pair.world.now().since(begin).as_millis());
                }
            }
            ended.map(Option::unwrap)
        });
        assert!(took[0].iter().all(|ms| *ms < 1_000), "{took:?}");
        assert!(took[1].iter().all(|ms| *ms >= 3_000), "{took:?}");
    }
}
