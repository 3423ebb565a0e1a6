//! What is tied to a path, what goes over every one, and what keeps a path awake.

use std::time::Duration;

use peregrine_core::stream::Tie;
use peregrine_core::wire::dialect::AbandonCode;

use super::*;

/// Nothing gets through any more.
fn cut(interface: &mut Interface) {
    interface.set_up(Link::ideal().loss(1.0));
    interface.set_down(Link::ideal().loss(1.0));
}

fn tied(pair: &mut Pair, tie: Tie) -> StreamId {
    let id = stream(pair);
    pair.client(|connection, _| connection.tie_stream(id, tie).unwrap());
    id
}

/// Bytes that the client has sent over a path so far.
fn sent_over(pair: &mut Pair, path: PathId) -> u64 {
    pair.client(|connection, _| {
        connection.path(path).and_then(|path| path.route).map_or(0, |route| route.stats.sent_bytes)
    })
}

#[test]
fn a_stream_goes_over_the_path_it_is_tied_to_and_the_other_stays_free() {
    for tie in [Tie::Needs(SECOND), Tie::Prefers(SECOND)] {
        let mut pair = bonded(|_, _| {});
        let id = tied(&mut pair, tie);
        let (first, second) = (sent_over(&mut pair, FIRST), sent_over(&mut pair, SECOND));
        pair.carry(true, id, MIB);
        let (first, second) = (sent_over(&mut pair, FIRST) - first, sent_over(&mut pair, SECOND) - second);
        assert!(second > MIB && first < 20_000, "{tie:?}: {first} {second}");
    }
}

/// A backup is spared what is tied to no path; what is tied to it goes there.
#[test]
fn a_stream_goes_over_the_backup_it_is_tied_to() {
    for (tie, by_client) in [
        (Tie::Needs(SECOND), true),
        (Tie::Needs(SECOND), false),
        (Tie::Prefers(SECOND), true),
        (Tie::Prefers(SECOND), false),
    ] {
        let mut pair = bonded(|_, _| {});
        on(&mut pair, by_client, |connection| connection.set_path_status(SECOND, true).unwrap());
        pair.run_ms(200);
        let second = sent_over(&mut pair, SECOND);
        carry(&mut pair, true, MIB);
        assert!(sent_over(&mut pair, SECOND) - second < 20_000, "it is a backup");
        let id = tied(&mut pair, tie);
        let (first, second) = (sent_over(&mut pair, FIRST), sent_over(&mut pair, SECOND));
        pair.carry(true, id, MIB);
        let (first, second) = (sent_over(&mut pair, FIRST) - first, sent_over(&mut pair, SECOND) - second);
        assert!(second > MIB && first < 20_000, "{tie:?} by client {by_client}: {first} {second}");
    }
}

#[test]
fn others_go_on_beside_a_stream_that_waits_for_its_path() {
    let mut pair = bonded(|_, _| {});
    cut(pair.world.interface(pair.client, 1));
    let waiting = tied(&mut pair, Tie::Needs(SECOND));
    pair.client(|connection, _| connection.write_stream(waiting, &[7; 9000]).unwrap());
    let id = stream(&mut pair);
    pair.carry(true, id, MIB);
    let mut none = [0; 8];
    pair.server(|connection, _| {
        assert!(!matches!(connection.read_stream(waiting, &mut none), Ok(Read::Bytes(_))));
    });
    pair.client(|connection, now| connection.abandon_path(now, SECOND, AbandonCode::Unstable).unwrap());
    let mut received = 0;
    for _ in 0..200 {
        pair.run_ms(10);
        let mut bytes = [0; 4096];
        pair.server(|connection, _| {
            while let Ok(Read::Bytes(len)) = connection.read_stream(waiting, &mut bytes) {
                received += len;
            }
        });
    }
    assert_eq!(received, 9000, "an abandoned path holds nothing back");
}

#[test]
fn a_stream_that_prefers_a_path_leaves_it_when_it_falls_silent() {
    let mut pair = bonded(|_, _| {});
    let id = tied(&mut pair, Tie::Prefers(SECOND));
    let client = pair.client;
    let now = pair.world.now().as_micros() / 1000;
    pair.world.at_ms(now + 150, move |world| cut(world.interface(client, 1)));
    pair.carry(true, id, MIB);
    assert!(sent_over(&mut pair, FIRST) > MIB / 4);
}

#[test]
fn a_redundant_stream_does_not_wait_for_a_path_to_be_found_silent() {
    let longest = |tie: Tie| {
        let mut pair = bonded(|_, _| {});
        let id = tied(&mut pair, tie);
        let client = pair.client;
        let (mut longest, mut received) = (Duration::ZERO, 0);
        for nth in 0..100 {
            pair.client(|connection, _| connection.write_stream(id, &[7; 300]).unwrap());
            let before = pair.world.now();
            while received < (nth + 1) * 300 {
                pair.run_ms(1);
                let mut bytes = [0; 4096];
                pair.server(|connection, _| {
                    while let Ok(Read::Bytes(len)) = connection.read_stream(id, &mut bytes) {
                        received += len;
                    }
                });
            }
            longest = longest.max(pair.world.now().since(before).into());
            if nth == 50 {
                cut(pair.world.interface(client, 0));
            }
        }
        longest
    };
    let (once, twice) = (longest(Tie::None), longest(Tie::Every));
    // The one-way delay of the other path is 20 ms.
    assert!(twice <= Duration::from_millis(25) && once > Duration::from_millis(40), "{once:?} {twice:?}");
}

/// A copy still waits for the second path when that ends. The path that takes its row is not validated yet: what the server sent over it
/// would reach whoever is there (draft-21 3.1).
#[test]
fn a_copy_for_a_path_that_has_ended_goes_over_no_other() {
    let narrow = || Link::mbit(4).delay_ms(5).queue(60_000);
    let mut pair = phone_on(
        Interface::at(WIFI).link(narrow()),
        Interface::at(CELLULAR).link(cellular_link()),
        |client, server| {
            for setup in [client, server] {
                (chosen(setup).max_paths, chosen(setup).patience, setup.sizes.streams) = (2, None, 8);
            }
        },
    );
    open_second(&mut pair);
    pair.run_ms(1_000);
    let [redundant, of_second, of_first] = [(); 3].map(|()| stream_down(&mut pair));
    pair.server(|connection, _| {
        connection.tie_stream(redundant, Tie::Every).unwrap();
        connection.tie_stream(of_second, Tie::Needs(SECOND)).unwrap();
        connection.tie_stream(of_first, Tie::Needs(FIRST)).unwrap();
        connection.set_priority(redundant, 7).unwrap();
        connection.set_priority(of_first, 0).unwrap();
    });
    // The window of the second path is full of what does not arrive. The original is lost, and waits behind what is more urgent.
    for (number, id, bytes) in [(1, of_second, &[2; 300_000][..]), (0, redundant, &[3; 500])] {
        pair.world.interface(pair.client, number).set_down(Link::ideal().loss(1.0));
        pair.server(|connection, _| connection.write_stream(id, bytes).unwrap());
    }
    pair.run_ms(1);
    pair.world.interface(pair.client, 0).set_down(narrow());
    pair.client(|connection, now| connection.abandon_path(now, SECOND, AbandonCode::Application).unwrap());
    // Only the first datagram over the new path reaches the server.
    let cellular = pair.world.interface(pair.client, 1);
    cellular.set_up(cellular_link().drop_mask(!1));
    cellular.set_down(cellular_link());
    let (mut opened, mut bytes) = (false, [0; 65_536]);
    for _ in 0..2_000 {
        pair.server(|connection, _| connection.write_stream(of_first, &[4; 1 << 18]).unwrap());
        pair.run_ms(1);
        opened |= open_path(&mut pair).is_ok();
        pair.client(|connection, _| {
            while let Ok(Read::Bytes(_)) = connection.read_stream(of_first, &mut bytes) {}
            assert!(!matches!(connection.read_stream(redundant, &mut bytes), Ok(Read::Bytes(_))));
        });
    }
    assert!(opened && was_told(pair.server_node(), THIRD, PathEvent::Opened));
    assert!(!view(&mut pair, false, THIRD).route.unwrap().validated);
}

#[test]
fn a_path_is_kept_awake_only_if_asked_to() {
    let mut pair = bonded(|_, _| {});
    let count = |pair: &mut Pair| {
        pair.client(|connection, _| connection.path(SECOND).unwrap().route.unwrap().stats.sent_datagrams)
    };
    pair.run_ms(5000);
    let before = count(&mut pair);
    pair.run_ms(10_000);
    assert_eq!(count(&mut pair), before, "asleep");
    let second = Some(Duration::from_secs(1));
    pair.client(|connection, _| connection.set_path_keep_alive(SECOND, second).unwrap());
    pair.run_ms(10_000);
    let pings = count(&mut pair) - before;
    assert!((8..=12).contains(&pings), "{pings}");
}

#[test]
fn datagrams_go_over_the_path_they_are_tied_to() {
    let mut pair = bonded(|_, _| {});
    let [first, second] = [FIRST, SECOND].map(|path| sent_over(&mut pair, path));
    for nth in 0..100_u8 {
        pair.client(|connection, _| connection.send_datagram_over(Tie::Needs(SECOND), &[nth; 1000]).unwrap());
        pair.run_ms(5);
    }
    pair.run_ms(50);
    let mut received = 0;
    let mut bytes = [0; 1200];
    pair.server(|connection, _| {
        while connection.recv_datagram(&mut bytes).is_some() {
            received += 1;
        }
    });
    assert!(received > 0, "as many as there is room for");
    let (first, second) = (sent_over(&mut pair, FIRST) - first, sent_over(&mut pair, SECOND) - second);
    assert!(second > 100_000 && first < 20_000, "{first} {second}");
}

#[test]
fn a_path_of_several_moves_to_another_address_and_keeps_its_id() {
    let mut pair = bonded(|_, _| {});
    let local = "10.0.1.2:6000".parse().unwrap();
    pair.run_ms(200);
    let route = pair.client(|connection, now| connection.add_route_to(now, SECOND, local, 2).unwrap());
    pair.run_ms(200);
    pair.client(|connection, now| connection.switch_route(now, route).unwrap());
    carry(&mut pair, true, MIB);
    for client in [true, false] {
        let on = view(&mut pair, client, SECOND).route.unwrap();
        assert_eq!(if client { on.local } else { on.remote }, local);
        assert!(on.validated && view(&mut pair, client, FIRST).route.unwrap().validated);
    }
    assert_well(&pair);
}
