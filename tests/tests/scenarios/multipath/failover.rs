//! Paths that fall silent, and come back (draft-21 5.7): what the others make of it, and how long nothing arrives.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use peregrine_core::connection::{NetworkChange, PathEvent};
use peregrine_core::lifecycle::Cause;
use peregrine_core::path::abandon::By;
use peregrine_core::stream::Tie;
use peregrine_core::time::Instant;
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_tests::pair::{read_pattern, write_pattern};
use peregrine_tests::sim::Fate;

use super::*;

/// Cuts the link of a path, up and down, or mends it, so many milliseconds from now.
fn cut(pair: &mut Pair, path: PathId, after_ms: u64, [up, down]: [bool; 2]) {
    let (client, number) = (pair.client, path.0 as usize);
    let link = if path == FIRST { shallow_wifi() } else { shallow_cellular() };
    let at = pair.world.now().as_micros() / 1000 + after_ms;
    pair.world.at_ms(at, move |world| {
        let interface = world.interface(client, number);
        interface.set_up(link.clone().loss(if up { 1.0 } else { 0.0 }));
        interface.set_down(link.clone().loss(if down { 1.0 } else { 0.0 }));
    });
}

const BOTH_WAYS: [bool; 2] = [true; 2];
const MENDED: [bool; 2] = [false; 2];

/// What was seen of a transfer.
struct Transfer {
    /// The longest time in which no byte reached the receiver's application, and when it ended.
    silence: Duration,
    until: Instant,
}

/// As [`carry`]: how long the receiver's application had to wait at most.
fn watch(pair: &mut Pair, up: bool, len: u64) -> Transfer {
    let id = if up { stream(pair) } else { stream_down(pair) };
    let (mut sent, mut received, mut finished) = (0, 0, false);
    let begin = pair.world.now();
    let (mut last, mut silence, mut until) = (begin, Duration::ZERO, begin);
    loop {
        on(pair, up, |connection| {
            write_pattern(connection, id, &mut sent, len);
            if sent == len && !std::mem::replace(&mut finished, true) {
                connection.finish(id).unwrap();
            }
        });
        let before = received;
        let over = on(pair, !up, |connection| read_pattern(connection, id, &mut received));
        let now = pair.world.now();
        if received > before || over {
            let waited = Duration::from(now.since(last));
            if waited > silence {
                (silence, until) = (waited, now);
            }
            last = now;
        }
        if over {
            assert_eq!(received, len);
            return Transfer { silence, until };
        }
        assert!(now.since(begin).as_millis() < 300_000, "{sent} of {len} sent, {received} received");
        let mut first = true;
        pair.world.run_until(now.after(Duration::from_secs(300)), |_| !std::mem::take(&mut first));
    }
}

/// What the application may have to wait for at most when this path is cut after so long, by the timeouts that the sender has then:
/// three of the better path; or, if the silent one is so much slower, until the last answer has come over it, a round trip later,
/// and its own timeout has passed.
fn most_silence(pair: &mut Pair, client: bool, path: PathId, after_ms: u64) -> Rc<Cell<Duration>> {
    let most = Rc::new(Cell::new(Duration::ZERO));
    let (result, host) = (most.clone(), if client { pair.client } else { pair.server });
    let at = pair.world.now().as_micros() / 1000 + after_ms;
    pair.world.at_ms(at, move |world| {
        world.with(host, |node, _| {
            let handle = node.latest().unwrap();
            let connection = node.connection(handle);
            let silent = connection.path(path).unwrap();
            let best = connection.paths().map(pto).min().unwrap();
            most.set((3 * best).max(silent.route.unwrap().rtt + pto(silent)));
        });
    });
    result
}

/// The probe timeout of a path after so long, as its sender knows it.
fn probe_timeout(pair: &mut Pair, client: bool, path: PathId, after_ms: u64) -> Rc<Cell<Duration>> {
    let result = Rc::new(Cell::new(Duration::ZERO));
    let (found, host) = (result.clone(), if client { pair.client } else { pair.server });
    let at = pair.world.now().as_micros() / 1000 + after_ms;
    pair.world.at_ms(at, move |world| {
        world.with(host, |node, _| {
            let handle = node.latest().unwrap();
            found.set(pto(node.connection(handle).path(path).unwrap()));
        });
    });
    result
}

fn pto(path: PathView) -> Duration {
    let route = path.route.unwrap();
    route.rtt + 4 * route.rtt_variation + Duration::from_millis(25)
}

fn node(pair: &Pair, client: bool) -> &QuicNode {
    if client { pair.client_node() } else { pair.server_node() }
}

#[test]
fn a_link_that_is_cut_stops_nothing_for_longer_than_three_probe_timeouts() {
    for path in [FIRST, SECOND] {
        for up in [true, false] {
            for cuts in [BOTH_WAYS, [true, false], [false, true]] {
                let mut pair = shallow(|_, _| {});
                carry(&mut pair, up, MIB);
                let most = most_silence(&mut pair, up, path, 300);
                cut(&mut pair, path, 300, cuts);
                let silence = watch(&mut pair, up, 3 * MIB).silence;
                println!("{path:?} up {up} {cuts:?}: {silence:?} of {:?}", most.get());
                assert!(silence <= most.get(), "{path:?} up {up} {cuts:?}: {silence:?} of {:?}", most.get());
                assert_well(&pair);
            }
        }
    }
}

/// What is lost then would be lost on a path that works as well (RFC 9000 14.4).
#[test]
fn a_path_that_is_too_narrow_for_a_probe_of_its_mtu_is_not_silent() {
    let cellular = Interface::at(CELLULAR).link(shallow_cellular().mtu(1_280));
    let mut pair = phone_on(Interface::at(WIFI).link(shallow_wifi()), cellular, |_, _| {});
    open_second(&mut pair);
    for up in [true, false] {
        carry(&mut pair, up, MIB);
        pair.run_ms(5_000);
    }
    assert!(pair.world.trace().count(Fate::TooBig) > 4, "both sides have tried");
    for client in [true, false] {
        let told = told(node(&pair, client), SECOND);
        assert!(!told.contains(&PathEvent::Suspect), "client {client}: {told:?}");
        let mtu = view(&mut pair, client, SECOND).route.unwrap().mtu;
        assert!((1_260..=1_280).contains(&mtu), "the search has found what fits: {mtu}");
    }
    assert_well(&pair);
}

#[test]
fn a_deadline_of_the_application_is_kept() {
    for deadline in [60, 80, 120].map(Duration::from_millis) {
        for (path, up) in [(FIRST, true), (FIRST, false), (SECOND, true), (SECOND, false)] {
            let mut pair = shallow(|client, server| {
                (chosen(client).failover, chosen(server).failover) = (Some(deadline), Some(deadline));
            });
            carry(&mut pair, up, MIB);
            let probe_timeout = probe_timeout(&mut pair, up, path, 300);
            cut(&mut pair, path, 300, BOTH_WAYS);
            let silence = watch(&mut pair, up, 3 * MIB).silence;
            // Then the way to the receiver over the other path, past what is in the queue there: 10 ms and 20, or 20 and 40. A deadline
            // below the time that an answer takes is raised to that, which keeps the bound of the slower path from being less.
            let delay = Duration::from_millis(if path == FIRST { 60 } else { 30 });
            let most = (deadline + Duration::from_millis(60)).min(deadline.max(probe_timeout.get()) + delay);
            println!("{path:?} up {up}: {silence:?} of {most:?} silent, deadline {deadline:?}");
            assert!(silence <= most, "{path:?} up {up}: {silence:?} of {most:?}");
            assert_well(&pair);
        }
    }
}

/// After few round trips the probe timeout is long, 140 ms or more: the deadline is what counts, and the delay of the other
/// path, 10 ms, for what is sent must travel.
#[test]
fn a_deadline_below_the_probe_timeout_is_kept_to_the_millisecond() {
    let deadline = Duration::from_millis(110);
    let took = |failover: Option<Duration>, up: bool| {
        let mut pair = phone(|client, server| {
            for setup in [client, server] {
                // No search for the largest datagram adds to what is known.
                setup.endpoint.connection.max_mtu = 1_200;
                chosen(setup).failover = failover;
            }
        });
        let id = if up { stream(&mut pair) } else { stream_down(&mut pair) };
        open_second(&mut pair);
        pair.run_ms(200);
        cut(&mut pair, SECOND, 0, BOTH_WAYS);
        pair.run_ms(1);
        on(&mut pair, up, |connection| {
            connection.tie_stream(id, Tie::Prefers(SECOND)).unwrap();
            connection.write_stream(id, &[7; 300]).unwrap();
        });
        let begin = pair.world.now();
        let mut bytes = [0; 400];
        let mut came = |connection: &mut NullConnection| connection.read_stream(id, &mut bytes);
        while !matches!(on(&mut pair, !up, &mut came), Ok(Read::Bytes(300))) {
            pair.run_ms(1);
        }
        Duration::from(pair.world.now().since(begin))
    };
    for up in [true, false] {
        let [with, without] = [Some(deadline), None].map(|failover| took(failover, up));
        // Time passes in milliseconds here, and 300 bytes take a fraction of one.
        let most = deadline + Duration::from_millis(10 + 1);
        assert!(with >= deadline && with <= most && without > most, "up {up}: {with:?} {without:?}");
    }
}

#[test]
fn a_path_that_returns_is_used_again() {
    for path in [FIRST, SECOND] {
        for up in [true, false] {
            let mut pair = shallow(|_, _| {});
            cut(&mut pair, path, 200, BOTH_WAYS);
            cut(&mut pair, path, 1_200, MENDED);
            watch(&mut pair, up, 3 * MIB);
            pair.until("restored", |pair| was_told(node(pair, up), path, PathEvent::Restored));
            let returned = Duration::from_micros(pair.world.now().as_micros());
            let before = view(&mut pair, up, path).route.unwrap().stats.sent_bytes;
            carry(&mut pair, up, 4 * MIB);
            let after = view(&mut pair, up, path).route.unwrap().stats.sent_bytes;
            assert!(after - before > MIB, "{path:?} up {up}: {before} {after}, {returned:?}");
            assert_eq!(
                told(node(&pair, up), path).iter().filter(|event| **event == PathEvent::Suspect).count(),
                1
            );
            assert_well(&pair);
        }
    }
}

/// Whoever finds out first; the other side hears of it.
#[test]
fn a_path_that_stays_silent_is_abandoned_when_patience_is_over() {
    for up in [true, false] {
        let mut pair = shallow(|client, server| {
            let setup = if up { client } else { server };
            chosen(setup).patience = Some(Duration::from_secs(2));
        });
        let cut_at = pair.world.now();
        cut(&mut pair, FIRST, 200, BOTH_WAYS);
        carry(&mut pair, up, 2 * MIB);
        pair.until("given up", |pair| was_told(node(pair, !up), FIRST, PathEvent::Abandoned));
        let took = pair.world.now().since(cut_at).as_millis();
        assert!((2_200..2_800).contains(&took), "{took}");
        let view = view(&mut pair, !up, FIRST);
        assert_eq!(view.abandoned, Some((By::Peer, AbandonCode::Unstable)));
        carry(&mut pair, up, MIB);
        carry(&mut pair, !up, MIB);
        assert_well(&pair);
    }
}

#[test]
fn without_an_end_to_patience_a_path_may_come_back_after_minutes() {
    let mut pair = shallow(|client, server| {
        for setup in [client, server] {
            chosen(setup).patience = None;
            setup.endpoint.connection.keep_alive = Some(Duration::from_secs(5));
        }
    });
    cut(&mut pair, SECOND, 100, BOTH_WAYS);
    carry(&mut pair, true, 2 * MIB);
    pair.run_ms(180_000);
    assert!(view(&mut pair, true, SECOND).suspect);
    cut(&mut pair, SECOND, 0, MENDED);
    pair.until("restored", |pair| was_told(pair.client_node(), SECOND, PathEvent::Restored));
    carry(&mut pair, true, 2 * MIB);
    assert!(!view(&mut pair, true, SECOND).suspect);
    assert_well(&pair);
}

/// Both links are cut; the connection waits, and goes on over the first that is back.
#[test]
fn after_a_total_outage_the_first_path_back_is_used() {
    for (first, other) in [(FIRST, SECOND), (SECOND, FIRST)] {
        for up in [true, false] {
            let mut pair = shallow(|_, _| {});
            cut(&mut pair, FIRST, 200, BOTH_WAYS);
            cut(&mut pair, SECOND, 220, BOTH_WAYS);
            let back = pair.world.now().after(Duration::from_millis(10_000));
            cut(&mut pair, first, 10_000, MENDED);
            cut(&mut pair, other, 25_000, MENDED);
            let Transfer { until, silence, .. } = watch(&mut pair, up, 3 * MIB);
            let resumed = until.since(back).as_millis();
            println!("{first:?} up {up}: silent for {silence:?}, {resumed} ms after it was back");
            assert!(silence > Duration::from_secs(9) && resumed < 2_500, "{silence:?} {resumed}");
            pair.until("all work", |pair| was_told(node(pair, up), other, PathEvent::Restored));
            for path in [FIRST, SECOND] {
                assert!(!was_told(node(&pair, up), path, PathEvent::Abandoned), "nobody was better");
            }
            carry(&mut pair, up, 2 * MIB);
            assert_well(&pair);
        }
    }
}

#[test]
fn a_total_outage_longer_than_the_idle_time_is_the_end() {
    let mut pair = shallow(|_, _| {});
    cut(&mut pair, FIRST, 0, BOTH_WAYS);
    cut(&mut pair, SECOND, 0, BOTH_WAYS);
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, &[1; 50_000]).unwrap());
    let begin = pair.world.now();
    pair.until("it is over", |pair| pair.client_cause().is_some() && pair.server_cause().is_some());
    assert_eq!((pair.client_cause(), pair.server_cause()), (Some(Cause::Idle), Some(Cause::Idle)));
    let took = pair.world.now().since(begin).as_millis();
    assert!((29_000..45_000).contains(&took), "{took}");
}

/// Nothing can be sent from one address any more, which the system says: what was under way from there goes over the other
/// path at once, and no stream has a hole.
#[test]
fn an_address_that_is_gone_leaves_no_hole() {
    for (path, address) in [(FIRST, WIFI), (SECOND, CELLULAR)] {
        for up in [true, false] {
            let mut pair = shallow(|_, _| {});
            let (client, number) = (pair.client, path.0 as usize);
            let at = pair.world.now().as_micros() / 1000;
            let ip = address.parse().unwrap();
            pair.world.at_ms(at + 300, move |world| {
                world.interface(client, number).unplug();
                world.with(client, |node, now| {
                    let handle = node.latest().unwrap();
                    node.connection(handle).network_changed(now, NetworkChange::AddressGone(ip));
                });
            });
            pair.world.at_ms(at + 1_500, move |world| {
                world.interface(client, number).plug();
                world.with(client, |node, now| {
                    let handle = node.latest().unwrap();
                    node.connection(handle).network_changed(now, NetworkChange::AddressBack(ip));
                });
            });
            let most = most_silence(&mut pair, up, path, 300);
            let Transfer { silence, .. } = watch(&mut pair, up, 3 * MIB);
            println!("{path:?} up {up}: {silence:?}");
            // The server is not told.
            let most = if up { Duration::from_millis(100) } else { most.get() };
            assert!(silence <= most, "{path:?} up {up}: {silence:?} for {most:?}");
            pair.run_ms(3_000);
            let before = view(&mut pair, up, path).route.unwrap().stats.sent_bytes;
            carry(&mut pair, up, 3 * MIB);
            let after = view(&mut pair, up, path).route.unwrap().stats.sent_bytes;
            assert!(after - before > MIB / 2, "{path:?} up {up}: used again: {before} {after}");
            assert_well(&pair);
        }
    }
}

/// A socket that refuses to send, of which nobody is told: the datagrams are as lost as on a dead link.
#[test]
fn a_socket_that_drops_what_it_is_given_leaves_no_hole() {
    for path in [FIRST, SECOND] {
        let mut pair = shallow(|_, _| {});
        let (client, number) = (pair.client, path.0 as usize);
        let at = pair.world.now().as_micros() / 1000;
        for nth in 0..4 {
            pair.world.at_ms(at + 200 + 300 * nth, move |world| {
                let interface = world.interface(client, number);
                if nth % 2 == 0 { interface.unplug() } else { interface.plug() }
            });
        }
        let silence = watch(&mut pair, true, 4 * MIB).silence;
        assert!(silence < Duration::from_millis(250), "{path:?}: {silence:?}");
        assert_well(&pair);
    }
}
