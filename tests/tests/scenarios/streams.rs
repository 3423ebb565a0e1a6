//! Streams: both kinds from both sides, their ends, priorities, flow control, limits (RFC 9000 2 to 4).

use std::collections::{BTreeMap, BTreeSet};

use peregrine_core::connection::Event;
use peregrine_core::ids::{Dir, Side, StreamId};
use peregrine_core::stream::{Closed, OpenError, Read, StreamEvent, WriteError};
use peregrine_core::wire::frame::{Frame, MaxStreams, ResetStream};
use peregrine_tests::memory::Sizes;
use peregrine_tests::pair::{Pair, open, read_pattern, write_pattern};
use peregrine_tests::puppet::Bout;
use peregrine_tests::quic::{App, NullConnection, Setup};
use peregrine_tests::sim::Link;

fn link() -> Link {
    Link::mbit(20).delay_ms(10)
}

/// How often a side was told that it may open another stream of this kind.
fn times_available(pair: &Pair, dir: Dir) -> usize {
    let told = pair.client_node().events.iter();
    told.filter(|(_, _, event)| *event == Event::Stream(StreamEvent::Available(dir))).count()
}

/// Both sides let the other open two streams of each kind.
fn two_of_each(client: &mut Setup, server: &mut Setup) {
    for setup in [client, server] {
        setup.endpoint.connection.peer_bidi_streams = 2;
        setup.endpoint.connection.peer_uni_streams = 2;
    }
}

fn told(pair: &Pair, client: bool, event: StreamEvent) -> bool {
    if client { pair.told_client(Event::Stream(event)) } else { pair.told_server(Event::Stream(event)) }
}

fn on<R>(pair: &mut Pair, client: bool, act: impl FnOnce(&mut NullConnection) -> R) -> R {
    if client {
        pair.client(|connection, _| act(connection))
    } else {
        pair.server(|connection, _| act(connection))
    }
}

#[test]
fn both_kinds_from_both_sides_in_both_directions() {
    let mut pair = Pair::new(link(), two_of_each).connected();
    for client_opens in [true, false] {
        let uni = on(&mut pair, client_opens, |connection| open(connection, Dir::Uni));
        assert_eq!(uni.initiator(), if client_opens { Side::Client } else { Side::Server });
        pair.carry(client_opens, uni, 20_000);
        assert!(told(&pair, !client_opens, StreamEvent::Opened(Dir::Uni)));
        assert_eq!(
            on(&mut pair, !client_opens, |connection| connection.accept(Dir::Uni)),
            None,
            "over already"
        );
        let bi = on(&mut pair, client_opens, |connection| open(connection, Dir::Bi));
        pair.carry(client_opens, bi, 30_000);
        assert_eq!(on(&mut pair, !client_opens, |connection| connection.accept(Dir::Bi)), Some(bi));
        pair.carry(!client_opens, bi, 1);
        pair.run_ms(100);
        for client in [true, false] {
            on(&mut pair, client, |connection| {
                for id in [uni, bi] {
                    assert_eq!(connection.read_stream(id, &mut [0; 8]), Err(Closed), "{id:?} is over");
                    assert_eq!(connection.write_stream(id, b"x"), Err(WriteError::Closed));
                }
            });
        }
        assert!(told(&pair, client_opens, StreamEvent::Finished(uni)));
    }
}

#[test]
fn a_unidirectional_stream_goes_one_way() {
    let mut pair = Pair::new(link(), two_of_each).connected();
    let id = on(&mut pair, true, |connection| open(connection, Dir::Uni));
    assert_eq!(on(&mut pair, true, |connection| connection.read_stream(id, &mut [0; 8])), Err(Closed));
    on(&mut pair, true, |connection| connection.write_stream(id, b"one way")).unwrap();
    pair.run_ms(50);
    assert_eq!(
        on(&mut pair, false, |connection| connection.write_stream(id, b"no")),
        Err(WriteError::Closed)
    );
    assert_eq!(on(&mut pair, false, |connection| connection.reset(id, 1)), Err(Closed));
    assert_eq!(on(&mut pair, true, |connection| connection.stop(id, 1)), Err(Closed));
}

#[test]
fn streams_without_bytes_and_ends_alone() {
    let mut pair = Pair::new(link(), two_of_each).connected();
    let (empty, late) =
        on(&mut pair, true, |connection| (open(connection, Dir::Bi), open(connection, Dir::Bi)));
    pair.carry(true, empty, 0);
    on(&mut pair, true, |connection| connection.write_stream(late, b"first")).unwrap();
    pair.run_ms(100);
    let mut buffer = [0; 16];
    assert_eq!(
        on(&mut pair, false, |connection| connection.read_stream(late, &mut buffer)),
        Ok(Read::Bytes(5))
    );
    assert_eq!(
        on(&mut pair, false, |connection| connection.read_stream(late, &mut buffer)),
        Ok(Read::Blocked)
    );
    on(&mut pair, true, |connection| connection.finish(late)).unwrap();
    assert!(on(&mut pair, true, |connection| connection.finish(late)).is_err(), "only once");
    pair.run_ms(100);
    assert_eq!(
        on(&mut pair, false, |connection| connection.read_stream(late, &mut buffer)),
        Ok(Read::Finished)
    );
    assert!(told(&pair, true, StreamEvent::Finished(late)));
}

/// Opening a stream opens those of its kind with lower numbers (RFC 9000 3.2).
#[test]
fn a_later_stream_opens_the_earlier_ones() {
    let mut pair =
        Pair::new(link(), |_, server| server.endpoint.connection.peer_bidi_streams = 8).connected();
    let last = on(&mut pair, true, |connection| (0..5).map(|_| open(connection, Dir::Bi)).last().unwrap());
    pair.carry(true, last, 10);
    let accepted: Vec<u64> = on(&mut pair, false, |connection| {
        std::iter::from_fn(|| connection.accept(Dir::Bi)).map(|id| id.0).collect()
    });
    assert_eq!(accepted, [0, 4, 8, 12, 16]);
}

#[test]
fn a_reset_reaches_the_reader() {
    let mut pair = Pair::new(link().loss(0.1), two_of_each).connected();
    let id = on(&mut pair, true, |connection| open(connection, Dir::Bi));
    on(&mut pair, true, |connection| connection.write_stream(id, &[7; 9_000])).unwrap();
    pair.run_ms(15);
    on(&mut pair, true, |connection| connection.reset(id, 4321)).unwrap();
    assert_eq!(on(&mut pair, true, |connection| connection.reset(id, 1)), Err(Closed), "only once");
    assert!(on(&mut pair, true, |connection| connection.write_stream(id, b"x")).is_err());
    pair.run_ms(2_000);
    let mut buffer = [0; 16];
    let seen = on(&mut pair, false, |connection| {
        loop {
            match connection.read_stream(id, &mut buffer) {
                Ok(Read::Bytes(_)) => {}
                seen => break seen,
            }
        }
    });
    assert_eq!(seen, Ok(Read::Reset(4321)));
    // The other direction lives on.
    pair.carry(false, id, 5_000);
}

#[test]
fn a_reader_may_ask_the_writer_to_stop() {
    let mut pair = Pair::new(link().loss(0.1), two_of_each).connected();
    let id = on(&mut pair, true, |connection| open(connection, Dir::Bi));
    on(&mut pair, true, |connection| connection.write_stream(id, &[7; 50_000])).unwrap();
    pair.run_ms(100);
    on(&mut pair, false, |connection| connection.stop(id, 99)).unwrap();
    assert_eq!(on(&mut pair, false, |connection| connection.read_stream(id, &mut [0; 8])), Err(Closed));
    pair.until("stopped", |pair| told(pair, true, StreamEvent::Stopped(id, 99)));
    assert_eq!(
        on(&mut pair, true, |connection| connection.write_stream(id, b"x")),
        Err(WriteError::Reset(99))
    );
    pair.carry(false, id, 5_000);
    // Both rows are free again, on both sides: as many streams as ever can be opened.
    pair.run_ms(1_000);
    for _ in 0..2 {
        let id = on(&mut pair, true, |connection| open(connection, Dir::Bi));
        pair.carry(true, id, 1);
    }
}

/// What was sent on a stream that is reset, and what a stopped one still brings, counts for the connection's window (RFC 9000
/// 4.5): a window that leaks closes sooner or later.
#[test]
fn resets_and_stops_do_not_leak_the_connection_window() {
    let mut pair = Pair::new(link(), |client, server| {
        two_of_each(client, server);
        server.endpoint.connection.connection_window = Some(6_000);
    })
    .connected();
    for nth in 0..40_u64 {
        let id = on(&mut pair, true, |connection| open(connection, Dir::Bi));
        on(&mut pair, true, |connection| connection.write_stream(id, &[1; 5_000])).unwrap();
        pair.run_ms(7);
        match nth % 3 {
            0 => on(&mut pair, true, |connection| connection.reset(id, nth)).unwrap(),
            1 => {
                pair.run_ms(10);
                on(&mut pair, false, |connection| connection.stop(id, nth)).unwrap();
            }
            _ => {
                on(&mut pair, true, |connection| connection.reset(id, nth)).unwrap();
                pair.run_ms(30);
                on(&mut pair, false, |connection| connection.stop(id, nth)).ok();
            }
        }
        // The other half ends too, so that the stream does.
        pair.run_ms(50);
        on(&mut pair, false, |connection| {
            while connection.read_stream(id, &mut [0; 2_000]).is_ok_and(|read| matches!(read, Read::Bytes(_)))
            {
            }
        });
        on(&mut pair, false, |connection| connection.finish(id)).unwrap();
        pair.run_ms(50);
        on(&mut pair, true, |connection| connection.read_stream(id, &mut [0; 8])).ok();
        pair.run_ms(50);
    }
    let id = on(&mut pair, true, |connection| open(connection, Dir::Bi));
    pair.carry(true, id, 50_000);
}

#[test]
fn the_urgent_stream_goes_first() {
    let mut pair = Pair::new(Link::mbit(2).delay_ms(10), |_, server| {
        server.endpoint.connection.peer_bidi_streams = 4;
    })
    .connected();
    const LEN: u64 = 60_000;
    let ids: Vec<StreamId> = on(&mut pair, true, |connection| {
        (0..4)
            .map(|nth| {
                let id = open(connection, Dir::Bi);
                connection.set_priority(id, [5, 1, 5, 3][nth]).unwrap();
                let mut sent = 0;
                write_pattern(connection, id, &mut sent, LEN);
                connection.finish(id).unwrap();
                id
            })
            .collect()
    });
    let mut received = BTreeMap::new();
    let mut ended = Vec::new();
    while ended.len() < 4 {
        pair.run_ms(5);
        for id in &ids {
            let count = received.entry(*id).or_insert(0);
            if !ended.contains(id) && on(&mut pair, false, |connection| read_pattern(connection, *id, count))
            {
                ended.push(*id);
            }
        }
        // Streams of equal urgency take turns.
        let (first, third) = (received[&ids[0]], received[&ids[2]]);
        assert!(first.abs_diff(third) < 10_000, "{first} {third}");
    }
    assert_eq!(ended[..2], [ids[1], ids[3]]);
}

#[test]
fn a_tiny_stream_window_lets_everything_through_slowly() {
    for rx in [144, 600, 2_400] {
        let mut pair = Pair::new(link().loss(0.02), |client, server| {
            two_of_each(client, server);
            server.sizes = Sizes { rx, ..server.sizes };
        })
        .connected();
        let id = on(&mut pair, true, |connection| open(connection, Dir::Bi));
        pair.carry(true, id, 20_000);
        let blocked = pair.server(|connection, _| connection.stats().received_packets);
        assert!(blocked as usize > 20_000 / rx, "no packet brought more than the window");
    }
}

/// Several streams share a window that is smaller than each of theirs.
#[test]
fn a_tiny_connection_window_is_shared() {
    let mut pair = Pair::new(link().loss(0.02), |client, server| {
        server.endpoint.connection.peer_bidi_streams = 4;
        server.endpoint.connection.connection_window = Some(1_500);
        client.app = App::None;
    })
    .connected();
    let ids: Vec<StreamId> =
        on(&mut pair, true, |connection| (0..4).map(|_| open(connection, Dir::Bi)).collect());
    let (mut sent, mut received) = ([0_u64; 4], [0_u64; 4]);
    let mut ended = BTreeSet::new();
    for _ in 0..4_000 {
        for (nth, id) in ids.iter().enumerate() {
            on(&mut pair, true, |connection| {
                if sent[nth] < 8_000 {
                    write_pattern(connection, *id, &mut sent[nth], 8_000);
                    if sent[nth] == 8_000 {
                        connection.finish(*id).unwrap();
                    }
                }
            });
            if !ended.contains(id)
                && on(&mut pair, false, |connection| read_pattern(connection, *id, &mut received[nth]))
            {
                ended.insert(*id);
            }
        }
        if ended.len() == 4 {
            return;
        }
        pair.run_ms(5);
        let total: u64 = received.iter().sum();
        let arrived = pair.server(|connection, _| connection.route().unwrap().stats.received_bytes);
        assert!(arrived > total);
    }
    panic!("{received:?} of 8000 each");
}

/// Nothing is read: the sender stops at the window, and goes on when it is read.
#[test]
fn an_application_that_does_not_read_holds_the_sender_back() {
    let mut pair = Pair::new(link(), |client, server| {
        two_of_each(client, server);
        server.sizes = Sizes { rx: 9_000, ..server.sizes };
    })
    .connected();
    let id = on(&mut pair, true, |connection| open(connection, Dir::Bi));
    let mut sent = 0;
    on(&mut pair, true, |connection| write_pattern(connection, id, &mut sent, 100_000));
    pair.run_ms(5_000);
    let arrived = pair.server(|connection, _| connection.route().unwrap().stats.received_bytes);
    assert!((8_000..14_000).contains(&arrived), "the window is 8,000 bytes: {arrived}");
    let mut received = 0;
    on(&mut pair, false, |connection| read_pattern(connection, id, &mut received));
    assert_eq!(received, 8_000);
    pair.run_ms(1_000);
    on(&mut pair, false, |connection| read_pattern(connection, id, &mut received));
    assert_eq!(received, 16_000);
}

#[test]
fn stream_limits_hold_and_rise_as_streams_end() {
    let mut pair = Pair::new(link(), two_of_each).connected();
    for dir in [Dir::Bi, Dir::Uni] {
        let ids = on(&mut pair, true, |connection| [open(connection, dir), open(connection, dir)]);
        assert_eq!(on(&mut pair, true, |connection| connection.open(dir)), Err(OpenError::PeerLimit));
        let before = times_available(&pair, dir);
        for id in ids {
            pair.carry(true, id, 100);
            if dir == Dir::Bi {
                pair.carry(false, id, 100);
            }
        }
        pair.until("room for another", |pair| times_available(pair, dir) > before);
        let id = on(&mut pair, true, |connection| open(connection, dir));
        pair.carry(true, id, 100);
    }
}

#[test]
fn our_own_rows_are_a_limit_too() {
    let mut pair = Pair::new(link(), |client, server| {
        client.sizes.streams = 3;
        client.endpoint.connection.peer_uni_streams = 1;
        server.sizes.streams = 9;
    })
    .connected();
    let first = on(&mut pair, true, |connection| {
        let first = open(connection, Dir::Bi);
        open(connection, Dir::Bi);
        assert_eq!(connection.open(Dir::Bi), Err(OpenError::NoRow), "the third row is the server's");
        first
    });
    let before = times_available(&pair, Dir::Bi);
    let uni = on(&mut pair, false, |connection| open(connection, Dir::Uni));
    pair.carry(false, uni, 10);
    pair.carry(true, first, 10);
    pair.carry(false, first, 10);
    pair.until("room", |pair| times_available(pair, Dir::Bi) > before);
    on(&mut pair, true, |connection| open(connection, Dir::Bi));
}

/// A limit that rises while there is no row of ours is no news yet; the row that then comes free is.
#[test]
fn a_limit_is_told_when_there_is_a_row_too() {
    let mut setup = Setup::client(1);
    setup.sizes.streams = 1;
    let mut bout = Bout::against_client(setup);
    let id = bout.act(|connection, _| open(connection, Dir::Bi));
    assert_eq!(bout.act(|connection, _| connection.open(Dir::Bi)), Err(OpenError::NoRow));
    let available = |bout: &Bout| {
        let told = bout.node.events.iter();
        told.filter(|(_, _, event)| *event == Event::Stream(StreamEvent::Available(Dir::Bi))).count()
    };
    let before = available(&bout);
    bout.say(&[Frame::MaxStreams(MaxStreams { dir: Dir::Bi, max: 100 })]);
    assert_eq!(available(&bout), before);
    bout.act(|connection, _| connection.reset(id, 1)).unwrap();
    bout.say(&[Frame::ResetStream(ResetStream { id, code: 2, final_size: 0 })]);
    bout.act(|connection, _| connection.read_stream(id, &mut [0; 8])).unwrap();
    bout.ack();
    assert_eq!(available(&bout), before + 1);
    bout.act(|connection, _| open(connection, Dir::Bi));
}

/// A hundred streams, eight at a time, over a link that loses some.
#[test]
fn a_hundred_streams_through_eight_rows() {
    let mut pair = Pair::seeded(3, [link().loss(0.05), link().loss(0.05)], |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
    });
    pair.download(2_000, 100);
    pair.until("all are there", |pair| pair.client_node().is_done());
}

/// A stream that nobody reads does not hold up the others.
#[test]
fn one_blocked_stream_does_not_block_the_rest() {
    let mut pair = Pair::new(link(), |client, server| {
        two_of_each(client, server);
        for setup in [client, server] {
            setup.sizes = Sizes { rx: 9_000, tx: 40_000, ..setup.sizes };
        }
    })
    .connected();
    let (stuck, free) =
        on(&mut pair, true, |connection| (open(connection, Dir::Bi), open(connection, Dir::Bi)));
    on(&mut pair, true, |connection| {
        let mut sent = 0;
        write_pattern(connection, stuck, &mut sent, 40_000);
        connection.set_priority(stuck, 0).unwrap();
    });
    pair.carry(true, free, 200_000);
}

/// What was written before a close is not promised to arrive; what arrived before can be read after it was told.
#[test]
fn bytes_that_came_with_the_close_can_still_be_read() {
    let mut pair = Pair::new(link(), two_of_each).connected();
    let id = on(&mut pair, true, |connection| open(connection, Dir::Bi));
    on(&mut pair, true, |connection| connection.write_stream(id, b"last words")).unwrap();
    pair.run_ms(1);
    pair.client(|connection, now| connection.close(now, 7, "bye"));
    pair.until("closed", |pair| pair.server_cause().is_some());
    let mut buffer = [0; 16];
    let read = on(&mut pair, false, |connection| connection.read_stream(id, &mut buffer));
    assert_eq!((read, &buffer[..10]), (Ok(Read::Bytes(10)), &b"last words"[..]));
}
