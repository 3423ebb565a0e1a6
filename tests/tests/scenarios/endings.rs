//! How connections end, and what keeps them alive: idle timeout, keep-alive, close, stateless reset (RFC 9000 10).

use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::error::Why;
use peregrine_core::ids::{Dir, Ecn};
use peregrine_core::lifecycle::{Cause, Close};
use peregrine_core::stream::{Read, StreamEvent};
use peregrine_tests::pair::{CLIENT, Pair, SERVER, open, write_pattern};
use peregrine_tests::puppet::Bout;
use peregrine_tests::quic::{App, QuicNode, Setup};
use peregrine_tests::sim::{Datagram, Interface, Link, Nat};

fn link() -> Link {
    Link::mbit(20).delay_ms(20)
}

fn is_server(datagram: &Datagram) -> bool {
    datagram.source == SERVER.parse().unwrap()
}

#[test]
fn silence_ends_a_connection_on_both_sides_without_a_word() {
    for (client_s, server_s, expected_s) in [(30, 5, 5), (5, 30, 5), (0, 7, 7), (7, 0, 7)] {
        let mut pair = Pair::new(link(), |client, server| {
            client.endpoint.connection.max_idle_timeout = Duration::from_secs(client_s);
            server.endpoint.connection.max_idle_timeout = Duration::from_secs(server_s);
        })
        .connected();
        pair.run_ms(1_000);
        let quiet_from = pair.world.now();
        pair.world.record();
        pair.until("both gave up", |pair| pair.client_cause().is_some() && pair.server_cause().is_some());
        assert_eq!((pair.client_cause(), pair.server_cause()), (Some(Cause::Idle), Some(Cause::Idle)));
        let millis = pair.world.now().since(quiet_from).as_millis();
        assert!((expected_s * 1000 - 1_100..expected_s * 1000).contains(&millis), "{millis}");
        assert!(pair.world.recorded().is_empty());
        assert!(pair.client_node().endpoint.is_empty() && pair.server_node().endpoint.is_empty());
    }
}

#[test]
fn without_a_timeout_silence_lasts() {
    let mut pair = Pair::new(link(), |client, server| {
        client.endpoint.connection.max_idle_timeout = Duration::ZERO;
        server.endpoint.connection.max_idle_timeout = Duration::ZERO;
    })
    .connected();
    pair.run_ms(24 * 3600 * 1000);
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 1_000);
}

/// A NAT forgets after 20 seconds. With a PING every 15 the server still reaches the client after an hour; without, it
/// does not after half a minute.
#[test]
fn keep_alive_holds_a_nat_binding() {
    for keep_alive in [true, false] {
        let interface =
            Interface::at(CLIENT).link(link()).nat(Nat::at("203.0.113.7").idle(Duration::from_secs(20)));
        let mut pair = Pair::on(1, interface, |client, server| {
            client.endpoint.connection.keep_alive = keep_alive.then_some(Duration::from_secs(15));
            client.endpoint.connection.max_idle_timeout = Duration::from_secs(120);
            server.endpoint.connection.max_idle_timeout = Duration::from_secs(120);
        })
        .connected();
        pair.run_ms(if keep_alive { 3_600_000 } else { 30_000 });
        pair.server(|connection, _| connection.send_datagram(b"are you there?")).unwrap();
        pair.run_ms(1_000);
        let mut buffer = [0; 100];
        let heard = pair.client(|connection, _| connection.recv_datagram(&mut buffer));
        assert_eq!(heard.is_some(), keep_alive);
        if keep_alive {
            let sent = pair.client(|connection, _| connection.stats().sent_packets);
            assert!(sent < 2 * 3_600 / 15 + 30, "a PING each, hardly more: {sent}");
        }
    }
}

/// A peer that is gone is not kept alive by probes and PINGs to it.
#[test]
fn keep_alive_does_not_outlive_the_peer() {
    let mut pair = Pair::new(link(), |client, _| {
        client.endpoint.connection.keep_alive = Some(Duration::from_secs(5));
    })
    .connected();
    pair.run_ms(60_000);
    pair.world.interface(pair.client, 0).unplug();
    let gone = pair.world.now();
    pair.until("given up", |pair| pair.client_cause().is_some());
    assert_eq!(pair.client_cause(), Some(Cause::Idle));
    let seconds = Duration::from(pair.world.now().since(gone)).as_secs();
    assert!((24..=36).contains(&seconds), "{seconds}");
}

#[test]
fn an_application_closes_with_its_code_and_words() {
    for client_closes in [true, false] {
        let mut pair = Pair::new(link(), |_, _| {}).connected();
        let close = Close::application(0x1234_5678, "all done");
        if client_closes {
            pair.client(|connection, now| connection.close(now, 0x1234_5678, "all done"));
            // Only the first counts.
            pair.client(|connection, now| connection.close(now, 1, "again"));
        } else {
            pair.server(|connection, now| connection.close(now, 0x1234_5678, "all done"));
        }
        pair.until("both drained", |pair| {
            pair.told_client(Event::Drained) && pair.told_server(Event::Drained)
        });
        let causes = [pair.client_cause().unwrap(), pair.server_cause().unwrap()];
        let expected = [Cause::Local(close), Cause::Peer(close)];
        assert_eq!(causes, if client_closes { expected } else { [expected[1], expected[0]] });
        assert!(pair.world.now().as_micros() < 1_000_000, "three PTOs");
        assert!(pair.client_node().endpoint.is_empty() && pair.server_node().endpoint.is_empty());
    }
}

/// Who has read all and closes at once leaves no doubt that it has arrived, and that is told before the end.
#[test]
fn a_close_tells_what_has_arrived() {
    let mut pair = Pair::new(link(), |_, _| {}).connected();
    pair.run_ms(1_000);
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.client(|connection, _| {
        connection.write_stream(id, b"last words").unwrap();
        connection.finish(id).unwrap();
    });
    let mut buffer = [0; 16];
    pair.until("readable", |pair| pair.told_server(Event::Stream(StreamEvent::Opened(Dir::Bi))));
    assert_eq!(pair.server(|connection, _| connection.read_stream(id, &mut buffer)), Ok(Read::Bytes(10)));
    pair.server(|connection, now| connection.close(now, 0, ""));
    pair.until("heard", |pair| pair.client_cause().is_some());
    let told: Vec<_> = pair.client_node().events.iter().map(|(_, _, event)| *event).collect();
    let end = Event::Closed(Cause::Peer(Close::application(0, "")));
    assert_eq!(told[told.len() - 2..], [Event::Stream(StreamEvent::Finished(id)), end]);
}

/// The application's words are not told before the peer is known (RFC 9000 10.2.3).
#[test]
fn a_close_during_the_handshake_hides_what_the_application_said() {
    let mut pair = Pair::new(link(), |_, _| {});
    pair.connect(&[]);
    pair.until("the server answers", |pair| !pair.server_node().accepted.is_empty());
    pair.server(|connection, now| connection.close(now, 0x77, "secret"));
    pair.until("told", |pair| pair.client_cause().is_some());
    let Some(Cause::Peer(close)) = pair.client_cause() else { panic!() };
    let hidden =
        peregrine_core::error::TransportError::new(peregrine_core::error::Code::APPLICATION_ERROR, "");
    assert_eq!(close, Close::transport(&hidden));
}

/// A side that closed repeats itself to a peer that goes on sending, ever more rarely (RFC 9000 10.2.1).
#[test]
fn a_repeated_close_is_bounded() {
    let mut pair = Pair::new(link(), |_, _| {}).connected();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    let mut sent = 0;
    pair.client(|connection, _| write_pattern(connection, id, &mut sent, 250_000));
    pair.run_ms(30);
    // From now on the client hears nothing.
    pair.world.interface(pair.client, 0).set_down(Link::ideal().loss(1.0));
    pair.server(|connection, now| connection.close(now, 5, "enough"));
    pair.world.record();
    pair.until("drained", |pair| pair.told_server(Event::Drained));
    let recorded = pair.world.recorded();
    let closes = recorded.iter().filter(|(_, datagram)| is_server(datagram)).count();
    let came = recorded.len() - closes;
    assert!(came >= 8 && closes <= 2 + came.ilog2() as usize, "{closes} for {came}");
}

/// The first CONNECTION_CLOSE is lost; whatever the peer sends next draws another.
#[test]
fn a_lost_close_is_said_again() {
    let mut pair = Pair::new(link(), |_, _| {}).connected();
    let mut dropped = false;
    pair.run_ms(200);
    pair.world.attack(move |_, datagram| {
        let drop = is_server(&datagram) && !dropped;
        dropped |= drop;
        if drop { vec![] } else { vec![(Duration::ZERO, datagram)] }
    });
    pair.server(|connection, now| connection.close(now, 5, "enough"));
    pair.run_ms(30);
    assert_eq!(pair.client_cause(), None);
    pair.client(|connection, _| connection.ping());
    pair.run_ms(60);
    assert_eq!(pair.client_cause(), Some(Cause::Peer(Close::application(5, "enough"))));
}

/// Who is draining says nothing, whatever comes (RFC 9000 10.2.2).
#[test]
fn draining_is_silent() {
    let mut pair = Pair::new(link(), |_, _| {}).connected();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.client(|connection, now| {
        let mut sent = 0;
        write_pattern(connection, id, &mut sent, 20_000);
        connection.close(now, 1, "");
    });
    pair.until("draining", |pair| pair.server_cause().is_some());
    pair.world.record();
    for _ in 0..20 {
        pair.server(|connection, _| {
            connection.ping();
            connection.send_datagram(b"x").ok();
        });
        pair.run_ms(1);
    }
    assert!(!pair.world.recorded().iter().any(|(_, datagram)| is_server(datagram)));
}

/// The pair after the server was restarted with the same static key.
fn restarted(tune: impl FnOnce(&mut Setup)) -> Pair {
    let mut pair = Pair::new(link(), |_, _| {}).connected();
    pair.run_ms(500);
    let mut setup = Setup { app: App::None, ..Setup::server(1_000_001) };
    tune(&mut setup);
    pair.world.with(pair.server, |node, _| *node = QuicNode::new(setup));
    pair
}

#[test]
fn a_server_that_lost_its_state_resets() {
    let mut pair = restarted(|_| {});
    pair.world.record();
    // Enough bytes that the reset can be smaller than what draws it.
    pair.client(|connection, _| connection.send_datagram(&[1; 100])).unwrap();
    pair.until("told", |pair| pair.client_cause().is_some());
    assert_eq!(pair.client_cause(), Some(Cause::StatelessReset));
    let sizes: Vec<usize> =
        pair.world.recorded().iter().map(|(_, datagram)| datagram.payload.len()).collect();
    assert!(sizes.len() == 2 && sizes[1] < sizes[0], "{sizes:?}");
    assert_eq!(pair.server_node().endpoint.stats().resets, 1);
    let before = pair.world.recorded().len();
    pair.run_ms(5_000);
    assert_eq!(pair.world.recorded().len(), before, "draining");
    assert!(pair.client_node().endpoint.is_empty());
}

#[test]
fn a_server_with_another_key_cannot_reset() {
    let mut pair = restarted(|setup| setup.seed += 1);
    pair.client(|connection, _| connection.send_datagram(&[1; 100])).unwrap();
    pair.run_ms(5_000);
    assert!(pair.server_node().endpoint.stats().resets > 0);
    assert_eq!(pair.client_cause(), None);
}

/// How many resets are sent is bounded, and each is smaller than what drew it, so that two who lost their state do not
/// answer each other for ever (RFC 9000 10.3.3, 21.11).
#[test]
fn resets_are_bounded() {
    let mut pair = Pair::new(Link::ideal(), |_, server| server.endpoint.resets_per_second = 10);
    for nth in 0..200_u8 {
        let mut payload = vec![nth; 60];
        payload[0] = 0x40;
        pair.world.inject(Datagram {
            source: "10.0.0.2:9".parse().unwrap(),
            destination: SERVER.parse().unwrap(),
            ecn: Ecn::NotEct,
            payload,
        });
    }
    pair.world.record();
    pair.run_ms(500);
    assert_eq!(pair.server_node().endpoint.stats().resets, 10);
    // The client has no such connections either; it resets back, and they go on until they are too small.
    let sizes: Vec<usize> =
        pair.world.recorded().iter().map(|(_, datagram)| datagram.payload.len()).collect();
    assert!(sizes.iter().all(|size| (21..60).contains(size)), "{sizes:?}");
    assert!(sizes.len() <= 10 * 40);
    pair.world.run_for(Duration::from_secs(10));
    assert!(pair.world.recorded().len() <= 10 * 40);
}

/// Forged resets: noise that ends in no token, a token of a connection ID that was never sent to, a genuine one from
/// another address.
#[test]
fn forged_resets_are_ignored() {
    let mut pair = Pair::new(link(), |_, _| {}).connected();
    pair.run_ms(500);
    for nth in 0..100_u8 {
        let mut payload = vec![nth.wrapping_mul(7); 21 + usize::from(nth)];
        payload[0] = 0x40 | (nth & 0x3f);
        pair.world.inject(Datagram {
            source: SERVER.parse().unwrap(),
            destination: "10.0.0.2:5000".parse().unwrap(),
            ecn: Ecn::NotEct,
            payload,
        });
    }
    pair.run_ms(100);
    assert_eq!(pair.client_cause(), None);
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 1_000);
}

#[test]
fn a_reset_with_a_token_that_is_not_in_use_or_from_elsewhere_is_ignored() {
    use peregrine_core::wire::frame::{Frame, NewConnectionId};
    use peregrine_core::wire::{Cid, reset};
    let [used, spare] = [[0x11; 16], [0x22; 16]];
    let mut bout =
        Bout::against_client_with(Setup::client(1), |params| params.stateless_reset_token = Some(used));
    let cid = Cid::new(b"spare-id").unwrap();
    bout.say(&[Frame::NewConnectionId(NewConnectionId {
        seq: 1,
        retire_prior_to: 0,
        cid,
        reset_token: spare,
    })]);
    let datagram_with = |token: &[u8; 16]| {
        let mut datagram = vec![0x5a; 60];
        reset::emit(token, &mut datagram).unwrap();
        datagram
    };
    bout.deliver(&datagram_with(&spare));
    bout.deliver_from("198.51.100.99:5555", &datagram_with(&used));
    assert_eq!(bout.connection().cause(), None);
    // Once the peer has withdrawn the first ID, its token is worth nothing, and the second's counts.
    let next = Cid::new(b"third-id").unwrap();
    bout.say(&[Frame::NewConnectionId(NewConnectionId {
        seq: 2,
        retire_prior_to: 1,
        cid: next,
        reset_token: [0x33; 16],
    })]);
    bout.deliver(&datagram_with(&used));
    assert_eq!(bout.connection().cause(), None);
    bout.deliver(&datagram_with(&spare));
    assert_eq!(bout.connection().cause(), Some(Cause::StatelessReset));
}

/// Packets that cannot be opened do not keep a connection alive.
#[test]
fn forgeries_do_not_defer_the_idle_timeout() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.ack();
    for _ in 0..40 {
        bout.wait_ms(1_000);
        let mut forged = bout.puppet.datagram(peregrine_core::session::Level::OneRtt, &[1; 40]);
        *forged.last_mut().unwrap() ^= 1;
        bout.deliver(&forged);
    }
    assert!(bout.node.endpoint.is_empty());
    let (_, stats, _) = bout.node.ended[0].clone();
    assert!(stats.discarded.count(Why::Forged) >= 28);
    assert_eq!(
        bout.node.find(|event| if let Event::Closed(cause) = event { Some(*cause) } else { None }),
        Some(Cause::Idle)
    );
}
