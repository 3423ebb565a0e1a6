//! Key updates and the limits of keys (RFC 9001 6). The null session panics where a key is used beyond its limit.

use peregrine_core::connection::Event;
use peregrine_core::error::Code;
use peregrine_core::ids::Dir;
use peregrine_core::lifecycle::{Cause, Reason};
use peregrine_core::session::Level;
use peregrine_core::wire::frame::{Frame, Padding, Ping};
use peregrine_tests::pair::{Pair, open};
use peregrine_tests::puppet::{Bout, bytes};
use peregrine_tests::quic::{App, Setup};
use peregrine_tests::sim::Link;

fn link() -> Link {
    Link::mbit(20).delay_ms(20)
}

#[test]
fn either_side_may_update_and_both_at_once() {
    for (by_client, by_server) in [(true, false), (false, true), (true, true)] {
        for seed in 0..10 {
            let lossy = || link().loss(0.1).reorder(0.2, std::time::Duration::from_millis(40));
            let mut pair = Pair::seeded(seed, [lossy(), lossy()], |client, server| {
                (client.app, server.app) = (App::Files, App::Files);
            });
            pair.download(300_000, 2);
            pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
            pair.run_ms(30);
            if by_client {
                pair.client(|connection, _| connection.update_keys());
            }
            if by_server {
                pair.server(|connection, _| connection.update_keys());
            }
            pair.until("downloaded", |pair| pair.client_node().is_done());
            for updates in [
                pair.client(|connection, _| connection.session().counters().updates),
                pair.server(|connection, _| connection.session().counters().updates),
            ] {
                // Requests that cross on their way are the same update, or two in a row.
                assert!((1..=2).contains(&updates), "seed {seed}: {updates}");
            }
            assert!(pair.told_client(Event::KeysUpdated(1)) && pair.told_server(Event::KeysUpdated(1)));
        }
    }
}

/// Asked for again and again, updates follow each other as fast as RFC 9001 6.5 allows, and not faster.
#[test]
fn updates_in_a_row() {
    let mut pair = Pair::new(link(), |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
    });
    pair.download(4 << 20, 1);
    pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
    while !pair.client_node().is_done() {
        pair.client(|connection, _| connection.update_keys());
        pair.run_ms(20);
    }
    let millis = pair.world.now().as_micros() / 1000;
    let client = pair.client(|connection, _| connection.session().counters().updates);
    let server = pair.server(|connection, _| connection.session().counters().updates);
    assert!(client >= 4 && client.abs_diff(server) <= 1, "{client} {server}");
    assert!(u64::from(client) <= millis / 120, "at least three PTOs apart: {client} in {millis} ms");
}

/// Keys are renewed long before they are used up.
#[test]
fn small_limits_force_updates() {
    let mut pair = Pair::new(Link::mbit(4).delay_ms(20), |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
        server.session.limits.confidentiality = 1_500;
    });
    pair.download(4 << 20, 1);
    pair.until("downloaded", |pair| pair.client_node().is_done());
    let server = pair.server(|connection, _| *connection.session().counters());
    assert!(server.updates >= 3, "{server:?}");
    assert_eq!(server.forged, 0);
}

/// Where no update is possible in time the connection ends, and the peer is told why (RFC 9001 6.6).
#[test]
fn keys_that_are_used_up_end_the_connection() {
    let mut pair = Pair::new(link(), |_, server| server.session.limits.confidentiality = 150).connected();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.client(|connection, _| connection.write_stream(id, b"hello")).unwrap();
    pair.run_ms(50);
    let mut sent = 0;
    pair.server(|connection, _| peregrine_tests::pair::write_pattern(connection, id, &mut sent, 250_000));
    pair.until("both are told", |pair| pair.client_cause().is_some() && pair.server_cause().is_some());
    for cause in [pair.client_cause(), pair.server_cause()] {
        let Some(Cause::Local(close) | Cause::Peer(close)) = cause else { panic!("{cause:?}") };
        assert_eq!(close.reason, Reason::Transport { code: Code::AEAD_LIMIT_REACHED, frame: 0 });
        assert_eq!(close.phrase.as_str(), "keys sealed as many packets as they may");
    }
}

/// Forged packets are counted over all keys; beyond the limit the connection ends (RFC 9001 6.6).
#[test]
fn too_many_forgeries_end_the_connection() {
    let mut setup = Setup::server(1);
    setup.session.limits.integrity = 20;
    let mut bout = Bout::against_server(setup);
    for nth in 0..=20 {
        assert_eq!(bout.puppet.close(), None, "after {nth}");
        let mut forged = bout.puppet.datagram(Level::OneRtt, &[1; 40]);
        *forged.last_mut().unwrap() ^= 1;
        bout.deliver(&forged);
        bout.hear();
    }
    let error = bout.error();
    assert_eq!((error.code, error.frame), (Code::AEAD_LIMIT_REACHED, Some(0)));
    assert_eq!(error.reason, "too many packets that do not open");
}

fn ping() -> Vec<u8> {
    bytes(&[Frame::Ping(Ping)])
}

#[test]
fn an_update_of_the_peer_is_answered_with_one() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.puppet.update_keys();
    bout.send(Level::OneRtt, &ping());
    bout.wait_ms(50);
    assert!(bout.node.events.iter().any(|(_, _, event)| *event == Event::KeysUpdated(1)));
    assert_eq!(bout.connection().session().counters().updates, 1);
    assert_eq!(bout.puppet.close(), None);
}

/// RFC 9001 6.4: new keys go with higher numbers than old ones.
#[test]
fn new_keys_before_old_ones_are_an_error() {
    let mut bout = Bout::against_server(Setup::server(1));
    let old = bout.puppet.seal_as(Level::OneRtt, 20, &ping(), |_| {});
    bout.deliver(&old);
    bout.puppet.update_keys();
    let new = bout.puppet.seal_as(Level::OneRtt, 15, &ping(), |_| {});
    bout.deliver(&new);
    bout.hear();
    let error = bout.error();
    assert_eq!(error.code, Code::KEY_UPDATE_ERROR);
    assert_eq!(error.reason, "peer used old keys after new ones");
}

/// Packets that the update overtook are still opened, for a while; old keys are not tried for higher numbers.
#[test]
fn old_keys_open_what_came_late() {
    let mut bout = Bout::against_server(Setup::server(1));
    let [late, too_late, wrong] =
        [5, 6, 1_000].map(|pn| bout.puppet.seal_as(Level::OneRtt, pn, &ping(), |_| {}));
    bout.puppet.update_keys();
    let new = bout.puppet.seal_as(Level::OneRtt, 10, &ping(), |_| {});
    bout.deliver(&new);
    let opened = |bout: &mut Bout| bout.connection().stats().received_packets;
    let before = opened(&mut bout);
    bout.deliver(&late);
    assert_eq!(opened(&mut bout), before + 1);
    bout.deliver(&wrong);
    assert_eq!(opened(&mut bout), before + 1);
    bout.wait_ms(10_000);
    bout.deliver(&too_late);
    assert_eq!(opened(&mut bout), before + 1);
    assert_eq!(bout.puppet.close(), None);
}

/// RFC 9001 6.1: no second update before the first was acknowledged.
#[test]
fn a_second_update_too_soon_is_an_error() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.puppet.update_keys();
    bout.send(Level::OneRtt, &bytes(&[Frame::Padding(Padding { len: 40 })]));
    bout.puppet.update_keys();
    bout.send(Level::OneRtt, &ping());
    let error = bout.error();
    assert_eq!(error.code, Code::KEY_UPDATE_ERROR);
    assert_eq!(error.reason, "peer updated its keys again before the last update was acked");
}
