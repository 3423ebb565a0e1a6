//! Connection IDs: supplied, retired, withdrawn, on both sides (RFC 9000 5.1).

use std::collections::{BTreeMap, BTreeSet};

use peregrine_core::connection::{Event, NotYet};
use peregrine_core::ids::{Dir, Side};
use peregrine_core::session::{Level, Session as _};
use peregrine_core::wire::Cid;
use peregrine_core::wire::frame::{Frame, NewConnectionId, Ping, RetireConnectionId};
use peregrine_core::wire::params::TransportParams;
use peregrine_tests::pair::{Pair, SERVER, open};
use peregrine_tests::puppet::{Bout, bytes};
use peregrine_tests::quic::{App, NullConnection, Setup};
use peregrine_tests::sim::Link;

/// The connection IDs that the node has issued, by number.
fn issued(bout: &Bout) -> BTreeMap<u64, Cid> {
    let heard = bout.puppet.heard.iter();
    heard
        .flat_map(|heard| {
            let frames = heard.frames().filter_map(|frame| match frame {
                Frame::NewConnectionId(frame) => Some((frame.seq, frame.cid)),
                _ => None,
            });
            frames.collect::<Vec<_>>()
        })
        .collect()
}

/// The numbers that the node has retired.
fn retired(bout: &Bout) -> BTreeSet<u64> {
    let heard = bout.puppet.heard.iter();
    heard
        .flat_map(|heard| {
            let frames = heard.frames().filter_map(|frame| match frame {
                Frame::RetireConnectionId(frame) => Some(frame.seq),
                _ => None,
            });
            frames.collect::<Vec<_>>()
        })
        .collect()
}

fn new_cid(seq: u64, retire_prior_to: u64) -> Frame<'static> {
    let cid = Cid::new(&(seq + 0x1000).to_be_bytes()).unwrap();
    Frame::NewConnectionId(NewConnectionId { seq, retire_prior_to, cid, reset_token: [seq as u8; 16] })
}

/// As many as the peer takes are there before it needs one, and each that is retired is replaced.
#[test]
fn ids_are_supplied_ahead_and_replaced() {
    for against_server in [true, false] {
        let mut bout = if against_server {
            Bout::against_server(Setup::server(1))
        } else {
            Bout::against_client(Setup::client(1))
        };
        bout.wait_ms(30);
        assert_eq!(issued(&bout).keys().copied().collect::<Vec<_>>(), [1, 2, 3], "four with the first");
        let distinct: BTreeSet<Vec<u8>> = issued(&bout).values().map(|cid| cid.as_slice().to_vec()).collect();
        assert_eq!(distinct.len(), 3);
        for seq in 0..50 {
            // The puppet moves to the next ID, and retires the one before.
            bout.puppet.dcid = issued(&bout)[&(seq + 1)];
            bout.say(&[Frame::RetireConnectionId(RetireConnectionId { seq })]);
            bout.wait_ms(30);
            bout.ack();
            assert_eq!(issued(&bout).keys().last(), Some(&(seq + 4)), "retired {seq}");
        }
        assert_eq!(bout.puppet.close(), None);
        // Retiring twice is no error: the frame may come twice.
        bout.say(&[Frame::RetireConnectionId(RetireConnectionId { seq: 3 })]);
        assert_eq!(bout.puppet.close(), None);
    }
}

/// A packet to an ID that was retired is nobody's.
#[test]
fn a_retired_id_is_not_recognised() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.wait_ms(30);
    let old = bout.puppet.dcid;
    bout.puppet.dcid = issued(&bout)[&1];
    bout.say(&[Frame::RetireConnectionId(RetireConnectionId { seq: 0 })]);
    let before = bout.connection().stats().received_packets;
    bout.puppet.dcid = old;
    bout.say(&[Frame::Ping(Ping)]);
    assert_eq!(bout.connection().stats().received_packets, before);
    assert_eq!(bout.node.endpoint.stats().resets, 1, "as if its state were lost");
}

/// The limit of the peer holds: two mean two.
#[test]
fn no_more_ids_than_the_peer_takes() {
    let mut bout = Bout::against_client_with(Setup::client(1), |params| params.active_cid_limit = 2);
    bout.wait_ms(100);
    assert_eq!(issued(&bout).len(), 1);
}

/// The peer withdraws IDs: the node moves to another, says that it has, and uses what it must (RFC 9000 5.1.2).
#[test]
fn withdrawn_ids_are_retired_and_left() {
    for against_server in [true, false] {
        let mut bout = if against_server {
            Bout::against_server(Setup::server(1))
        } else {
            Bout::against_client(Setup::client(1))
        };
        bout.say(&[new_cid(1, 0), new_cid(2, 0), new_cid(3, 2)]);
        bout.wait_ms(30);
        assert_eq!(retired(&bout), BTreeSet::from([0, 1]));
        bout.unheard.clear();
        bout.puppet.heard.clear();
        let ping = bytes(&[Frame::Ping(Ping)]);
        let datagram = bout.puppet.datagram(Level::OneRtt, &ping);
        bout.deliver(&datagram);
        let datagram = bout.puppet.datagram(Level::OneRtt, &ping);
        bout.deliver(&datagram);
        let expected = (2_u64 + 0x1000).to_be_bytes();
        assert!(!bout.unheard.is_empty());
        assert!(bout.unheard.iter().all(|datagram| datagram[1..9] == expected), "sent to the second ID");
    }
}

/// RETIRE_CONNECTION_ID is repeated until it is acknowledged.
#[test]
fn a_lost_retirement_is_said_again() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.ack();
    let ping = bytes(&[new_cid(1, 1)]);
    let datagram = bout.puppet.datagram(Level::OneRtt, &ping);
    bout.deliver(&datagram);
    assert!(!bout.unheard.is_empty());
    bout.unheard.clear();
    bout.wait_ms(3_000);
    assert_eq!(retired(&bout), BTreeSet::from([0]));
}

/// Twice as many retirements as IDs that we let the peer give us may be on their way (RFC 9000 5.1.2), and one more may not.
#[test]
fn retirements_under_way_are_twice_the_limit() {
    let mut bout = Bout::against_server(Setup::server(1));
    let declared = bout.puppet.session.peer_params().unwrap();
    let limit = TransportParams::parse(Side::Server, declared).unwrap().active_cid_limit;
    for seq in 1..=2 * limit {
        bout.say(&[new_cid(seq, seq)]);
        assert_eq!(bout.puppet.close(), None, "{seq}");
    }
    assert_eq!(retired(&bout).len() as u64, 2 * limit);
    bout.say(&[new_cid(2 * limit + 1, 2 * limit + 1)]);
    assert!(bout.puppet.close().is_some());
}

/// The peer withdraws the only ID there is: the node can send no more until it has another, and then goes on.
#[test]
fn without_an_id_nothing_is_sent_until_there_is_one() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.ack();
    // The frame itself brings an ID, so that one is left; what is behind it is used.
    bout.say(&[new_cid(1, 0)]);
    bout.say(&[new_cid(2, 2)]);
    bout.wait_ms(1_000);
    assert_eq!(retired(&bout), BTreeSet::from([0, 1]));
    assert_eq!(bout.puppet.close(), None);
}

/// The connection IDs that packets were sent to since `from`, by those who sent them: the client's and the server's.
fn sent_to(pair: &Pair, from: usize) -> [BTreeSet<Vec<u8>>; 2] {
    let mut ids = [BTreeSet::new(), BTreeSet::new()];
    for (_, datagram) in &pair.world.recorded()[from..] {
        let by_server = usize::from(datagram.source == SERVER.parse().unwrap());
        assert_eq!(datagram.payload[0] & 0x80, 0, "a short header");
        ids[by_server].insert(datagram.payload[1..9].to_vec());
    }
    ids
}

/// Whoever asks for it: the other side moves to a new ID in the middle of a transfer, and the old ones are retired and known no
/// more. A second rotation waits for the first.
#[test]
fn ids_are_rotated_when_asked() {
    for by_client in [true, false] {
        let mut pair = Pair::new(Link::mbit(20).delay_ms(20), |client, server| {
            (client.app, server.app) = (App::Files, App::Files);
        });
        let act = |pair: &mut Pair, act: &dyn Fn(&mut NullConnection) -> bool| {
            if by_client { pair.client(|side, _| act(side)) } else { pair.server(|side, _| act(side)) }
        };
        let rotate = |side: &mut NullConnection| side.rotate_cids().is_ok();
        pair.download(4 << 20, 1);
        assert_eq!(
            pair.client(|client, _| client.rotate_cids()),
            Err(NotYet),
            "the peer's limit is not known"
        );
        pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
        pair.run_ms(200);
        pair.world.record();
        let moving = usize::from(by_client);
        let mut used = BTreeSet::new();
        for round in 0..7 {
            let before = pair.world.recorded().len();
            pair.run_ms(45);
            let present = sent_to(&pair, before)[moving].clone();
            assert_eq!(present.len(), 1, "round {round}");
            assert!(used.is_disjoint(&present), "round {round}: an ID of before");
            assert!(!act(&mut pair, &|side| used.iter().any(|cid: &Vec<u8>| side.has_cid(cid))));
            assert!(act(&mut pair, &|side| present.iter().all(|cid| side.has_cid(cid))));
            used.extend(present);
            assert!(act(&mut pair, &rotate), "round {round}");
            assert!(!act(&mut pair, &rotate), "round {round}: not before all of the last were retired");
            pair.run_ms(150);
        }
        pair.until("downloaded", |pair| pair.client_node().is_done());
    }
}

/// IDs of all lengths on both sides.
#[test]
fn ids_of_all_lengths() {
    for (client, server) in [(0, 4), (4, 20), (20, 8), (8, 5), (1, 20)] {
        let mut pair = Pair::new(Link::mbit(20).delay_ms(5).loss(0.05), |c, s| {
            c.endpoint.cid_len = client;
            s.endpoint.cid_len = server;
            (c.app, s.app) = (App::Files, App::Files);
        });
        pair.download(50_000, 2);
        pair.until(&format!("{client} {server}"), |pair| pair.client_node().is_done());
    }
}

/// Many connections of one client from one port, told apart by their IDs.
#[test]
fn many_connections_from_one_port() {
    let mut pair = Pair::new(Link::mbit(50).delay_ms(5), |client, server| {
        (client.slots, server.slots) = (40, 100);
    });
    for _ in 0..40 {
        pair.connect(&[]);
    }
    pair.run_ms(1_000);
    let (opened, accepted) = (pair.client_node().opened.clone(), pair.server_node().accepted.clone());
    assert_eq!((opened.len(), accepted.len()), (40, 40));
    for (nth, handle) in opened.iter().enumerate() {
        pair.world.with(pair.client, |node, _| {
            let connection = node.connection(*handle);
            let id = open(connection, Dir::Bi);
            connection.write_stream(id, format!("I am {nth}").as_bytes()).unwrap();
        });
    }
    pair.run_ms(500);
    let mut texts = BTreeSet::new();
    for handle in accepted {
        pair.world.with(pair.server, |node, _| {
            let connection = node.connection(handle);
            let id = connection.accept(Dir::Bi).unwrap();
            let mut buffer = [0; 32];
            let Ok(peregrine_core::stream::Read::Bytes(len)) = connection.read_stream(id, &mut buffer) else {
                panic!()
            };
            texts.insert(String::from_utf8_lossy(&buffer[..len]).into_owned());
        });
    }
    assert_eq!(texts.len(), 40);
}
