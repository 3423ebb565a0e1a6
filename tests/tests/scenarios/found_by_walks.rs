//! What random walks over several paths have found, each by itself.

use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::connection::{Event, NetworkChange, PathEvent};
use peregrine_core::ids::{FourTuple, PathId};
use peregrine_core::path::Availability;
use peregrine_core::path::schedule::{Choice, Facts, Scheduler};
use peregrine_core::stream::{StreamEvent, Tie};
use peregrine_tests::pair::{Pair, read_pattern, server_address, write_pattern};
use peregrine_tests::sim::{Interface, Link, Nat};

use super::multipath::{CELLULAR, SECOND, WIFI, phone, phone_on, stream, told};

/// Cuts both networks of the phone, or connects them again.
fn cut(pair: &mut Pair, loss: f64) {
    for interface in 0..2 {
        let interface = pair.world.interface(pair.client, interface);
        interface.set_up(Link::mbit(10).delay_ms(10).loss(loss));
        interface.set_down(Link::mbit(10).delay_ms(10).loss(loss));
    }
}

fn at(local: &str, port: u16, interface: u32) -> FourTuple {
    FourTuple { local: SocketAddr::new(local.parse().unwrap(), port), remote: server_address(), interface }
}

/// In an outage of everything the path of the handshake was given up because another one was there that had been taken for
/// validated, and did not work either.
#[test]
fn a_path_that_worked_is_not_given_up_for_one_that_never_did() {
    let mut pair = phone(|_, _| {});
    let id = stream(&mut pair);
    let mut sent = 0;
    cut(&mut pair, 1.0);
    pair.client(|connection, now| {
        write_pattern(connection, id, &mut sent, 100_000);
        let same = connection.path(PathId::ZERO).unwrap().route.unwrap();
        let on = at(WIFI, same.local.port(), 1);
        assert_eq!(connection.open_path(now, on, Availability::Available), Ok(SECOND));
        connection.network_changed(now, NetworkChange::NewNetwork(WIFI.parse().unwrap()));
    });
    pair.run_ms(8_000);
    assert!(!told(pair.client_node(), PathId::ZERO).contains(&PathEvent::Abandoned));
    cut(&mut pair, 0.0);
    let mut received = 0;
    pair.client(|connection, _| connection.ping());
    pair.run_ms(12_000);
    pair.server(|connection, _| read_pattern(connection, id, &mut received));
    assert!(received > 0);
    assert_eq!((pair.client_cause(), pair.server_cause()), (None, None));
}

/// Cuts the network of the path of the handshake.
fn cut_wifi(pair: &mut Pair) {
    pair.world.interface(pair.client, 0).set_up(Link::ideal().loss(1.0));
    pair.world.interface(pair.client, 0).set_down(Link::ideal().loss(1.0));
}

/// A path that did not answer was given up at once when another one was opened: that was taken to have worked since the
/// beginning of time.
#[test]
fn a_path_that_was_just_opened_has_not_worked_for_long() {
    let mut pair = phone(|client, _| {
        let multipath = client.endpoint.connection.multipath.as_mut().unwrap();
        multipath.patience = Some(Duration::from_secs(5));
    });
    let id = stream(&mut pair);
    cut_wifi(&mut pair);
    let mut sent = 0;
    pair.client(|connection, _| write_pattern(connection, id, &mut sent, 400_000));
    pair.run_ms(8_000);
    pair.client(|connection, now| connection.open_path(now, at(CELLULAR, 5000, 2), Availability::Available))
        .unwrap();
    pair.run_ms(4_000);
    assert_eq!(told(pair.client_node(), SECOND), [PathEvent::Opened, PathEvent::Validated]);
    let given_up = |pair: &Pair| told(pair.client_node(), PathId::ZERO).contains(&PathEvent::Abandoned);
    assert!(!given_up(&pair));
    pair.run_ms(2_000);
    assert!(given_up(&pair));
}

/// A probe of a silent path for which there was no row in the table of sent packets came first for ever, and a path that was
/// just opened was never validated.
#[test]
fn a_path_with_nothing_to_probe_with_does_not_silence_the_others() {
    let both_or_none = |facts: &[Facts]| {
        let usable = || facts.iter().enumerate().filter(|(_, path)| path.usable);
        let ready = usable().find(|(_, path)| path.is_ready()).filter(|_| usable().nth(1).is_some());
        ready.map_or(Choice::Wait, |(row, _)| Choice::Path(row))
    };
    let mut pair = phone(|_, server| {
        server.sizes.sent = 16;
        server.endpoint.connection.multipath.as_mut().unwrap().scheduler = Scheduler::Custom(both_or_none);
    });
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"hello").unwrap());
    pair.run_ms(100);
    cut_wifi(&mut pair);
    let mut sent = 0;
    pair.server(|connection, _| write_pattern(connection, id, &mut sent, 400_000));
    pair.run_ms(1_000);
    pair.client(|connection, now| connection.open_path(now, at(CELLULAR, 5000, 2), Availability::Available))
        .unwrap();
    pair.run_ms(2_000);
    assert!(told(pair.server_node(), SECOND).contains(&PathEvent::Validated));
}

/// A path whose packets had filled the table of sent packets when it fell silent left nothing under way to be probed for, and never
/// came back.
#[test]
fn a_path_that_had_filled_the_table_of_sent_packets_is_probed_and_comes_back() {
    let mut pair = phone(|_, server| server.sizes.sent = 32);
    let id = stream(&mut pair);
    pair.client(|connection, now| connection.open_path(now, at(CELLULAR, 5000, 2), Availability::Available))
        .unwrap();
    pair.client(|connection, _| connection.write_stream(id, b"hello").unwrap());
    pair.run_ms(500);
    let (mut sent, mut received) = (0, 0);
    let mut go_on = |pair: &mut Pair, millis: u64| {
        for _ in 0..millis / 10 {
            pair.server(|connection, _| write_pattern(connection, id, &mut sent, u64::MAX));
            pair.run_ms(10);
            pair.client(|connection, _| read_pattern(connection, id, &mut received));
        }
    };
    go_on(&mut pair, 1_000);
    cut_wifi(&mut pair);
    go_on(&mut pair, 1_000);
    assert!(told(pair.server_node(), PathId::ZERO).contains(&PathEvent::Suspect));
    cut(&mut pair, 0.0);
    go_on(&mut pair, 10_000);
    assert!(told(pair.server_node(), PathId::ZERO).contains(&PathEvent::Restored));
}

/// What a stream that needs a silent path had to say filled the table of sent packets, and the others fell silent with it.
#[test]
fn a_stream_that_needs_a_silent_path_leaves_room_for_the_others() {
    let mut pair = phone(|client, _| client.sizes.sent = 64);
    pair.client(|connection, now| connection.open_path(now, at(CELLULAR, 5000, 2), Availability::Available))
        .unwrap();
    pair.run_ms(500);
    let (tied, free) = (stream(&mut pair), stream(&mut pair));
    pair.client(|connection, _| connection.tie_stream(tied, Tie::Needs(PathId::ZERO)).unwrap());
    let (mut sent, mut received) = ([0; 2], [0; 2]);
    for round in 0..600 {
        if round == 100 {
            cut_wifi(&mut pair);
        }
        pair.client(|connection, _| {
            write_pattern(connection, tied, &mut sent[0], u64::MAX);
            write_pattern(connection, free, &mut sent[1], if round < 200 { 0 } else { 400_000 });
        });
        pair.run_ms(10);
        pair.server(|connection, _| {
            read_pattern(connection, tied, &mut received[0]);
            read_pattern(connection, free, &mut received[1]);
        });
    }
    assert_eq!(received[1], 400_000);
}

/// What an application's own scheduler sent over a silent path, because that had the most room, filled the table of sent packets, and
/// paths that worked carried nothing.
#[test]
fn a_scheduler_of_the_application_may_know_nothing_of_silence() {
    let first = |facts: &[Facts]| facts.iter().position(Facts::is_ready).map_or(Choice::Wait, Choice::Path);
    let mut pair = phone(|client, _| {
        client.sizes.sent = 64;
        client.endpoint.connection.multipath.as_mut().unwrap().scheduler = Scheduler::Custom(first);
    });
    pair.client(|connection, now| connection.open_path(now, at(CELLULAR, 5000, 2), Availability::Available))
        .unwrap();
    pair.run_ms(500);
    let id = stream(&mut pair);
    let (mut sent, mut received) = (0, 0);
    for round in 0..600 {
        if round == 50 {
            cut_wifi(&mut pair);
        }
        pair.client(|connection, _| write_pattern(connection, id, &mut sent, 2_000_000));
        pair.run_ms(10);
        pair.server(|connection, _| read_pattern(connection, id, &mut received));
    }
    assert_eq!(received, 2_000_000);
}

/// Where there was memory for several paths and the peer knew of one, that one kept more routes than there are connection IDs for:
/// after a few quick moves the server could not answer any more, and the client had to go back.
#[test]
fn memory_for_several_paths_takes_no_connection_ids_from_the_only_one() {
    let link = || Link::mbit(10).delay_ms(10);
    let mut pair = Pair::seeded(1, [link(), link()], |client, server| {
        (client.sizes.paths, server.sizes.paths) = (4, 4);
    })
    .connected();
    pair.run_ms(200);
    for port in 6000..6006 {
        let local = SocketAddr::new(WIFI.parse().unwrap(), port);
        let moved =
            |pair: &mut Pair| pair.client(|connection, now| connection.migrate(now, local, 1).is_ok());
        let waited = (0..1_000).find(|_| {
            pair.run_ms(1);
            moved(&mut pair)
        });
        assert!(waited.is_some(), "never a spare connection ID");
        pair.run_ms(45);
        let on = pair.client(|connection, _| connection.route().unwrap());
        assert!(on.local == local && on.validated, "{on:?}");
    }
    assert!(!pair.told_server(Event::NoSpareCid));
}

/// Both paths had moved, and neither of the new addresses was proved. A datagram that needs the first one did not fit what may be sent
/// there; it was tried again and again, and an acknowledgment that the other owed never left: its timer was due for ever.
#[test]
fn what_does_not_fit_an_address_to_be_proved_keeps_no_other_path_waiting() {
    let [wifi, cellular] = [(WIFI, "198.51.100.1"), (CELLULAR, "198.51.101.1")]
        .map(|(home, seen)| Interface::at(home).link(Link::mbit(20).delay_ms(200)).nat(Nat::at(seen)));
    let mut pair = phone_on(wifi, cellular, |_, _| {});
    pair.client(|connection, now| connection.open_path(now, at(CELLULAR, 5000, 2), Availability::Available))
        .unwrap();
    pair.run_ms(2_000);
    let ids = [PathId::ZERO, SECOND].map(|path| {
        let id = stream(&mut pair);
        pair.client(|connection, _| connection.tie_stream(id, Tie::Needs(path)).unwrap());
        id
    });
    pair.world.interface(pair.client, 0).nat_mut().rebind_port();
    pair.world.interface(pair.client, 1).nat_mut().rebind_port();
    for _ in 0..2 {
        for id in ids {
            pair.client(|connection, _| connection.write_stream(id, &[7; 300]).unwrap());
        }
        pair.run_ms(10);
    }
    pair.run_ms(20);
    pair.client(|connection, _| connection.finish(ids[1]).unwrap());
    pair.run_ms(185);
    pair.server(|connection, _| {
        connection.send_datagram_over(Tie::Needs(PathId::ZERO), &[7; 1_000]).unwrap();
    });
    pair.run_ms(280);
    assert!(pair.told_client(Event::Stream(StreamEvent::Finished(ids[1]))));
    let first = pair.server(|connection, _| connection.path(PathId::ZERO).unwrap().route.unwrap());
    assert!(!first.validated, "{first:?}");
    pair.run_ms(1_000);
    assert_eq!(pair.client(|connection, _| connection.recv_datagram(&mut [0; 1_500])), Some(1_000));
}

/// In an outage a table of few sent packets was filled with PINGs that nothing could be sent again of. Then there was no row for
/// another one, nor for anything else, and who had been there all the time was never heard again.
#[test]
fn questions_that_fill_the_table_of_sent_packets_do_not_silence_who_asks() {
    let mut pair = Pair::new(Link::mbit(10).delay_ms(10), |client, server| {
        client.sizes.sent = 8;
        for setup in [client, server] {
            setup.endpoint.connection.max_idle_timeout = Duration::from_secs(600);
        }
    })
    .connected();
    pair.run_ms(500);
    let id = stream(&mut pair);
    cut_wifi(&mut pair);
    pair.client(|connection, _| connection.ping());
    pair.run_ms(20_000);
    pair.world.interface(pair.client, 0).set_up(Link::mbit(10).delay_ms(10));
    pair.world.interface(pair.client, 0).set_down(Link::mbit(10).delay_ms(10));
    let mut sent = 0;
    pair.client(|connection, _| write_pattern(connection, id, &mut sent, 1_000));
    pair.run_ms(60_000);
    let mut received = 0;
    pair.server(|connection, _| read_pattern(connection, id, &mut received));
    assert_eq!(received, 1_000);
}

/// Loses the first two datagrams with what a client has to say at the end of its handshake, but not its PINGs there.
fn lose_last_flight(pair: &mut Pair) {
    let mut lost = 0;
    pair.world.attack(move |_, datagram| {
        let is_handshake = datagram.payload.first().is_some_and(|first| first & 0xf0 == 0xe0);
        if datagram.destination == server_address() && is_handshake && datagram.payload.len() > 60 && lost < 2
        {
            lost += 1;
            return vec![];
        }
        vec![(Duration::ZERO, datagram)]
    });
}

/// A client's last flight was lost while early packets held all rows of sent packets but those for probes. Nothing was under way that
/// could be probed for, and nobody said a word until the handshake had taken too long.
#[test]
fn early_packets_leave_a_row_for_what_is_lost_of_the_handshake() {
    let mut pair = Pair::new(Link::mbit(10).delay_ms(50), |client, _| client.sizes.sent = 16);
    lose_last_flight(&mut pair);
    pair.connect(&[]);
    pair.until("the client has sent its last flight", |pair| pair.told_client(Event::Connected));
    for pause in [0, 330] {
        pair.run_ms(pause);
        for _ in 0..10 {
            pair.client(|connection, _| connection.ping());
            pair.run_ms(3);
        }
    }
    pair.run_ms(5_000);
    assert!(pair.told_server(Event::Connected));
}

/// As above, but the early packets had filled the congestion window.
#[test]
fn early_data_leaves_room_for_what_is_lost_of_the_handshake() {
    let mut pair = Pair::new(Link::mbit(10).delay_ms(50), |_, _| {});
    lose_last_flight(&mut pair);
    pair.connect(&[]);
    pair.until("the client has sent its last flight", |pair| pair.told_client(Event::Connected));
    let id = stream(&mut pair);
    let mut sent = 0;
    pair.client(|connection, _| write_pattern(connection, id, &mut sent, 100_000));
    pair.run_ms(5_000);
    assert!(pair.told_server(Event::Connected));
}
