//! DATAGRAM frames (RFC 9221): sent once, as large as peer and path take, dropped where there is no room.

use peregrine_core::connection::{DatagramError, Event};
use peregrine_tests::pair::Pair;
use peregrine_tests::sim::{Interface, Link};

fn link() -> Link {
    Link::mbit(20).delay_ms(10)
}

fn received(pair: &mut Pair) -> Vec<Vec<u8>> {
    let mut buffer = [0; 2_000];
    pair.server(|connection, _| {
        std::iter::from_fn(|| connection.recv_datagram(&mut buffer).map(|len| buffer[..len].to_vec()))
            .collect()
    })
}

#[test]
fn arrive_whole_and_in_both_directions() {
    let mut pair = Pair::new(link(), |_, _| {}).connected();
    for len in [0, 1, 63, 64, 1_000] {
        let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
        pair.client(|connection, _| connection.send_datagram(&bytes)).unwrap();
        pair.server(|connection, _| connection.send_datagram(&bytes)).unwrap();
        pair.run_ms(50);
        assert_eq!(received(&mut pair), std::slice::from_ref(&bytes));
        let mut buffer = [0; 2_000];
        assert_eq!(pair.client(|connection, _| connection.recv_datagram(&mut buffer)), Some(len));
        assert_eq!(buffer[..len], bytes);
    }
    assert!(pair.told_client(Event::Datagram) && pair.told_server(Event::Datagram));
}

#[test]
fn are_not_repeated_when_lost() {
    let mut pair = Pair::new(link(), |_, _| {}).connected();
    let lossy = link().loss(0.5);
    pair.world.interface(pair.client, 0).set_up(lossy);
    let mut arrived = 0;
    for nth in 0..200_u8 {
        pair.client(|connection, _| connection.send_datagram(&[nth; 100])).unwrap();
        pair.run_ms(20);
        arrived += received(&mut pair).len();
    }
    pair.run_ms(5_000);
    arrived += received(&mut pair).len();
    assert!((60..140).contains(&arrived), "half of 200: {arrived}");
}

#[test]
fn have_limits() {
    let mut pair = Pair::new(link(), |_, server| server.sizes.datagram = 500).connected();
    let max = pair.client(|connection, _| connection.max_datagram_len()).unwrap();
    assert!((400..500).contains(&max), "what the server has memory for: {max}");
    assert_eq!(
        pair.client(|connection, _| connection.send_datagram(&vec![1; max + 1])),
        Err(DatagramError::TooLarge)
    );
    pair.client(|connection, _| connection.send_datagram(&vec![1; max])).unwrap();
    pair.run_ms(50);
    assert_eq!(received(&mut pair), [vec![1; max]]);

    let mut pair = Pair::new(link(), |_, server| server.sizes.datagram = 0).connected();
    assert_eq!(pair.client(|connection, _| connection.max_datagram_len()), None);
    assert_eq!(pair.client(|connection, _| connection.send_datagram(b"x")), Err(DatagramError::Unsupported));
}

#[test]
fn before_the_handshake_there_are_none() {
    let mut pair = Pair::new(link(), |_, _| {});
    pair.connect(&[]);
    assert_eq!(pair.client(|connection, _| connection.send_datagram(b"x")), Err(DatagramError::Unsupported));
}

/// Nobody reads: what there is no room for is dropped and counted, and the connection goes on.
#[test]
fn are_dropped_where_nobody_reads() {
    let mut pair = Pair::new(link(), |_, server| server.sizes.datagram = 1_000).connected();
    for _ in 0..20 {
        pair.client(|connection, _| connection.send_datagram(&[7; 300])).unwrap();
        pair.run_ms(20);
    }
    let dropped = pair.server(|connection, _| connection.stats().datagrams_dropped) as usize;
    let kept = received(&mut pair).len();
    assert!(kept >= 2 && kept + dropped == 20, "{kept} {dropped}");
}

/// A full queue is told of, and so is the room that comes after it.
#[test]
fn a_full_queue_tells_when_there_is_room() {
    let mut pair =
        Pair::new(Link::mbit(0.2).delay_ms(10), |client, _| client.sizes.datagram = 3_000).connected();
    let mut accepted = 0;
    let full = loop {
        match pair.client(|connection, _| connection.send_datagram(&[1; 900])) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 1_000);
    };
    assert_eq!(full, DatagramError::Full);
    pair.until("room", |pair| pair.told_client(Event::DatagramRoom));
    pair.client(|connection, _| connection.send_datagram(&[1; 900])).unwrap();
}

/// The queue is full of what no packet can hold any more, since the connection moved, or the path became narrow: who waits for room
/// hears of it all the same.
#[test]
fn a_queue_that_empties_by_what_is_too_long_tells_when_there_is_room() {
    for moves in [true, false] {
        let slow = || Link::mbit(1.0).delay_ms(20).mtu(1_452);
        let interfaces = [Interface::at("10.0.0.2").link(slow()), Interface::at("10.0.1.2").link(slow())];
        let mut pair = Pair::roaming(1, interfaces, |client, _| client.sizes.datagram = 16_384).connected();
        pair.run_ms(3_000);
        let longest = pair.client(|connection, _| connection.max_datagram_len()).unwrap();
        pair.world.interface(pair.client, 0).set_up(slow().mtu(1_200));
        let fill = |pair: &mut Pair| {
            pair.client(|connection, _| while connection.send_datagram(&vec![7; longest]).is_ok() {});
        };
        let (mut before, mut dropped) = (0, 0);
        let mut wait = |pair: &mut Pair| {
            fill(pair);
            before = pair.client_node().events.len();
            dropped = pair.client(|connection, _| connection.stats().datagrams_dropped);
        };
        // The window is full, and so is the queue.
        for _ in 0..30 {
            wait(&mut pair);
            pair.run_ms(1);
        }
        wait(&mut pair);
        if moves {
            pair.client(|connection, now| {
                connection.migrate(now, "10.0.1.2:5000".parse().unwrap(), 2).unwrap()
            });
        }
        // Until the path is too narrow each datagram that leaves is followed by another one.
        while pair.client(|connection, _| connection.max_datagram_len()) == Some(longest) {
            wait(&mut pair);
            pair.run_ms(1);
        }
        pair.run_ms(20_000);
        let told = &pair.client_node().events[before..];
        assert!(told.iter().any(|(_, _, event)| *event == Event::DatagramRoom), "moves {moves}: {told:?}");
        assert!(pair.client(|connection, _| connection.stats().datagrams_dropped) > dropped, "moves {moves}");
        pair.client(|connection, _| connection.send_datagram(&[1; 900])).unwrap();
    }
}
