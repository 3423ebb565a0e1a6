//! What random walks over several paths have found, each by itself.

use std::net::SocketAddr;

use peregrine_core::connection::{NetworkChange, PathEvent};
use peregrine_core::error::Why;
use peregrine_core::ids::{FourTuple, PathId};
use peregrine_core::lifecycle::Cause;
use peregrine_core::path::Availability;
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_tests::pair::{Pair, read_pattern, server_address, write_pattern};
use peregrine_tests::sim::Link;

use super::multipath::{CELLULAR, SECOND, WIFI, bonded, phone, stream, told};

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

/// An acknowledgment was owed on a path that could not be sent over, while the only other one was not validated: its deadline
/// was past and stayed so.
#[test]
fn an_acknowledgment_for_which_there_is_no_way_does_not_stop_time() {
    let mut pair = bonded(|_, _| {});
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"hello").unwrap());
    pair.run_ms(100);
    let mut sent = 0;
    pair.server(|connection, _| write_pattern(connection, id, &mut sent, 400_000));
    pair.run_ms(60);
    pair.client(|connection, now| {
        connection.network_changed(now, NetworkChange::AddressGone(CELLULAR.parse().unwrap()));
        connection.migrate(now, at(WIFI, 6000, 1).local, 1).unwrap();
    });
    pair.world.interface(pair.client, 0).unplug();
    pair.run_ms(400);
    assert_eq!(pair.client_cause(), None);
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

/// A client took what came over a path that it had abandoned for the work of strangers.
#[test]
fn what_is_under_way_on_an_abandoned_path_is_heard_by_a_client() {
    let mut pair = bonded(|_, _| {});
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, b"hello").unwrap());
    pair.run_ms(100);
    let mut sent = 0;
    pair.server(|connection, _| write_pattern(connection, id, &mut sent, 400_000));
    pair.run_ms(60);
    let before = pair.client(|connection, now| {
        connection.abandon_path(now, SECOND, AbandonCode::Application).unwrap();
        connection.stats().received_packets
    });
    let way = |pair: &Pair| pair.world.now();
    let until = way(&pair).as_micros() + 15_000;
    while way(&pair).as_micros() < until {
        pair.run_ms(1);
    }
    let stats = pair.client(|connection, _| connection.stats());
    assert_eq!(stats.discarded.count(Why::Address), 0);
    assert!(stats.received_packets > before);
}

/// Each side abandons the path that is left to the other: both are told that it was the last one, and do not wait for their idle
/// timeouts.
#[test]
fn both_sides_learn_that_none_is_left_when_each_abandons_another_path() {
    let mut pair = bonded(|_, _| {});
    pair.client(|connection, now| connection.abandon_path(now, PathId::ZERO, AbandonCode::Application))
        .unwrap();
    pair.server(|connection, now| connection.abandon_path(now, SECOND, AbandonCode::Application)).unwrap();
    pair.run_ms(1_000);
    for cause in [pair.client_cause(), pair.server_cause()] {
        let Some(Cause::Local(close) | Cause::Peer(close)) = cause else { panic!("{cause:?}") };
        assert_eq!(close.phrase.as_str(), "the last path was abandoned");
    }
}
