//! What is sent when: window, pacing, probes, what follows a reset (RFC 9002 6.2, 7; RFC 9000 3, 13.2.4).

use std::time::Duration;

use peregrine_core::ids::{Dir, Side};
use peregrine_core::session::{Level, Session as _};
use peregrine_core::wire::frame::{Frame, HandshakeDone, Kind, Ping, StopSending};
use peregrine_core::wire::params::TransportParams;
use peregrine_tests::pair::{open, write_pattern};
use peregrine_tests::puppet::{Bout, bytes};
use peregrine_tests::quic::Setup;
use peregrine_tests::sim::Node as _;

use super::{headers, heard};

/// A server with rows for streams of its own.
fn sender() -> Setup {
    let mut setup = Setup::server(1);
    setup.sizes.streams = 16;
    setup
}

/// Lets the node do what is due until `end`, and returns how many datagrams went at once at most.
fn bursts(bout: &mut Bout, end: Duration) -> usize {
    let end = bout.now.after(end);
    let mut most = 0;
    loop {
        let before = bout.from_node.len();
        bout.drain();
        most = most.max(bout.from_node.len() - before);
        let route = bout.connection().route().unwrap();
        assert!(route.in_flight <= route.window, "{} of {} in flight", route.in_flight, route.window);
        bout.drain();
        let next = bout.node.next_timeout();
        if !next.is_due(end) {
            bout.hear();
            return most;
        }
        bout.now = bout.now.max(next.instant().unwrap());
        bout.node.handle_timeout(bout.now);
    }
}

/// Acknowledges everything a round trip later.
fn acknowledge(bout: &mut Bout) {
    bout.hear();
    bout.now = bout.now.after(Duration::from_millis(50));
    let largest = bout.puppet.largest(Level::OneRtt).unwrap();
    acknowledge_to(bout, largest);
}

/// Acknowledges all packets up to this number, before the node says anything.
fn acknowledge_to(bout: &mut Bout, largest: u64) {
    let datagram = bout.puppet.datagram(Level::OneRtt, &peregrine_tests::puppet::ack(&[0..=largest]));
    let on = peregrine_core::ids::FourTuple {
        local: peregrine_tests::puppet::NODE.parse().unwrap(),
        remote: peregrine_tests::puppet::PUPPET.parse().unwrap(),
        interface: 1,
    };
    bout.node.handle_datagram(bout.now, on, peregrine_core::ids::Ecn::NotEct, &mut datagram.clone());
}

/// The window is filled and never exceeded, what the pacer lets out at once is little, and probes count as in flight.
#[test]
fn the_window_and_the_pacer_are_asked() {
    let mut bout = Bout::against_server(sender());
    bout.wait_ms(200);
    bout.ack();
    for _ in 0..8 {
        let id = bout.connection().open(Dir::Uni).unwrap();
        write_pattern(bout.connection(), id, &mut 0, 60_000);
    }
    for round in 0..4 {
        // Less than a probe timeout, more than the pacer needs for a window.
        let most = bursts(&mut bout, Duration::from_millis(70));
        assert!(most <= 11, "{most} datagrams at once");
        let route = bout.connection().route().unwrap();
        let left = route.window - route.in_flight;
        assert!(left < 2 * u32::from(route.mtu), "round {round}: {left} of {} left", route.window);
        acknowledge(&mut bout);
    }
    bursts(&mut bout, Duration::from_millis(70));
    // Then nothing comes back.
    let full = bout.connection().route().unwrap();
    bout.now = bout.now.after(Duration::from_millis(1));
    let (mut probes, before) = (0, bout.connection().stats().probe_timeouts);
    while bout.connection().stats().probe_timeouts == before {
        let sent = bout.from_node.len();
        let next = bout.node.next_timeout().instant().unwrap();
        bout.now = bout.now.max(next);
        bout.node.handle_timeout(bout.now);
        bout.drain();
        probes = bout.from_node.len() - sent;
    }
    assert!((1..=2).contains(&probes), "{probes} probes");
    let probed = bout.connection().route().unwrap();
    assert!(probed.in_flight + 2 * u32::from(probed.mtu) > full.in_flight && probed.in_flight > 0);
}

/// A probe that counted for nothing would leave no trace: with nothing but a PING to repeat, all of it is new.
#[test]
fn probes_are_pings_when_there_is_nothing_else() {
    let mut bout = Bout::against_server(sender());
    bout.wait_ms(200);
    bout.ack();
    bout.wait_ms(10);
    assert_eq!(bout.connection().route().unwrap().in_flight, 0);
    bout.act(|connection, _| connection.ping());
    let (before, timeouts) = (bout.puppet.heard.len(), bout.connection().stats().probe_timeouts);
    let in_flight = bout.connection().route().unwrap().in_flight;
    assert!(in_flight > 0);
    bout.wait_ms(2_000);
    let timeouts = bout.connection().stats().probe_timeouts - timeouts;
    assert!(timeouts >= 1);
    let probes = &bout.puppet.heard[before..];
    assert!(probes.len() >= timeouts as usize && probes.len() <= 2 * timeouts as usize);
    assert!(probes.iter().all(|probe| probe.frames().any(|frame| frame.kind() == Kind::Ping)));
    assert!(bout.connection().route().unwrap().in_flight > 0, "probes count");
}

/// A search for a larger MTU waits for room in the window.
#[test]
fn mtu_probes_stay_within_the_window() {
    let mut bout = Bout::against_unconfirmed_client(Setup::client(1), |_| {});
    let finished = bout.puppet.largest(Level::Handshake).unwrap();
    bout.send(Level::Handshake, &peregrine_tests::puppet::ack(&[0..=finished]));
    for _ in 0..4 {
        let id = bout.connection().open(Dir::Uni).unwrap();
        write_pattern(bout.connection(), id, &mut 0, 10_000);
    }
    bursts(&mut bout, Duration::from_millis(300));
    let datagram = bout.puppet.datagram(Level::OneRtt, &bytes(&[Frame::HandshakeDone(HandshakeDone)]));
    bout.deliver(&datagram);
    let route = bout.connection().route().unwrap();
    assert!(route.window - route.in_flight < 1_452, "the window is as good as full");
    assert!(bout.from_node.iter().all(|size| *size <= 1_200), "{:?}", bout.from_node);
    acknowledge(&mut bout);
    bursts(&mut bout, Duration::from_millis(40));
    acknowledge(&mut bout);
    bursts(&mut bout, Duration::from_millis(40));
    assert!(bout.from_node.iter().any(|size| *size > 1_200), "then it is searched for");
}

/// After RESET_STREAM nothing of the stream is sent any more, not even that it was blocked (RFC 9000 3.3).
#[test]
fn nothing_follows_a_reset() {
    let mut bout = Bout::against_server_with(sender(), |params| params.initial_max_stream_data_uni = 1_000);
    bout.wait_ms(200);
    bout.ack();
    let id = bout.act(|connection, _| {
        let id = open(connection, Dir::Uni);
        assert!(connection.write_stream(id, &[7; 3_000]).unwrap() > 1_000);
        id
    });
    assert_eq!((heard(&bout, Kind::StreamDataBlocked), heard(&bout, Kind::Stream)), (1, 1));
    let before = bout.puppet.heard.len();
    bout.act(|connection, _| connection.reset(id, 9)).unwrap();
    // All of it is lost, again and again.
    bout.wait_ms(5_000);
    let after: Vec<Kind> = bout.puppet.heard[before..]
        .iter()
        .flat_map(|heard| heard.frames().map(|frame| frame.kind()).collect::<Vec<Kind>>())
        .collect();
    assert!(after.iter().filter(|kind| **kind == Kind::ResetStream).count() > 1, "{after:?}");
    assert!(!after.contains(&Kind::Stream) && !after.contains(&Kind::StreamDataBlocked), "{after:?}");
}

/// Whoever has sent all and hears STOP_SENDING resets instead of repeating (RFC 9000 3.5).
#[test]
fn stop_sending_after_the_end_is_answered_with_a_reset() {
    let mut bout = Bout::against_server(sender());
    bout.wait_ms(200);
    bout.ack();
    let id = bout.act(|connection, _| {
        let id = open(connection, Dir::Uni);
        assert_eq!(connection.write_stream(id, &[7; 300]), Ok(300));
        connection.finish(id).unwrap();
        id
    });
    assert_eq!(heard(&bout, Kind::Stream), 1);
    let before = bout.puppet.heard.len();
    bout.say(&[Frame::StopSending(StopSending { id, code: 31 })]);
    bout.wait_ms(2_000);
    let frames: Vec<_> = bout.puppet.heard[before..].iter().flat_map(|heard| heard.frames()).collect();
    assert!(frames.iter().any(|frame| matches!(
        frame,
        Frame::ResetStream(reset) if (reset.id, reset.code, reset.final_size) == (id, 31, 300)
    )));
    assert!(!frames.iter().any(|frame| frame.kind() == Kind::Stream));
}

/// Who only receives asks now and then whether its acknowledgments arrive, if they have gaps to tell of (RFC 9000 13.2.4).
#[test]
fn who_only_acknowledges_asks_to_be_confirmed() {
    for gap in [true, false] {
        let mut bout = Bout::against_server(sender());
        bout.wait_ms(200);
        bout.ack();
        bout.wait_ms(10);
        let before = heard(&bout, Kind::Ping);
        if gap {
            bout.puppet.next_pn[Level::OneRtt as usize] += 1;
        }
        for _ in 0..100 {
            bout.say(&[Frame::Ping(Ping)]);
            bout.wait_ms(30);
            if heard(&bout, Kind::Ping) > before {
                break;
            }
        }
        assert_eq!(heard(&bout, Kind::Ping) > before, gap);
    }
}

/// The spin bit is not in use: it tells nothing (RFC 9000 17.4).
#[test]
fn the_spin_bit_is_random() {
    let mut bout = Bout::against_server(sender());
    let mut spins = Vec::new();
    for _ in 0..40 {
        let now = bout.now;
        bout.connection().ping();
        bout.drain();
        let short =
            bout.unheard.iter().filter(|datagram| headers(datagram)[0].level() == Some(Level::OneRtt));
        spins.extend(short.map(|datagram| datagram[0] & 0x20 > 0));
        bout.hear();
        bout.now = now.after(Duration::from_millis(1));
    }
    let ones = spins.iter().filter(|spin| **spin).count();
    assert!((8..=32).contains(&ones), "{ones} of {}", spins.len());
}

/// A server that has so much to send that the pacer holds it back, with room in the window.
fn paced() -> Bout {
    let mut bout = Bout::against_server(sender());
    bout.wait_ms(200);
    bout.ack();
    for _ in 0..8 {
        let id = bout.connection().open(Dir::Uni).unwrap();
        write_pattern(bout.connection(), id, &mut 0, 60_000);
    }
    bursts(&mut bout, Duration::from_millis(70));
    acknowledge(&mut bout);
    bout.drain();
    let route = bout.connection().route().unwrap();
    assert!(route.window - route.in_flight > 2 * u32::from(route.mtu), "{route:?}");
    bout.hear();
    bout
}

/// Packets with nothing but an ACK do not wait for the pacer, nor does the pacer count them (RFC 9002 7.7).
#[test]
fn acknowledgments_are_not_paced() {
    let (mut quiet, mut busy) = (paced(), paced());
    for bout in [&mut quiet, &mut busy] {
        // Half of what the next packet needs has flowed into the bucket.
        let wait = bout.node.next_timeout().instant().unwrap().since(bout.now);
        bout.now = bout.now.after(wait.half());
    }
    let before = busy.puppet.heard.len();
    for _ in 0..400 {
        busy.say(&[Frame::Ping(Ping)]);
    }
    let answers = &busy.puppet.heard[before..];
    assert_eq!(answers.len(), 200, "every second packet is acknowledged, at once");
    assert!(answers.iter().all(|answer| answer.frames().all(|frame| frame.kind() == Kind::Ack)));
    let next = [&mut quiet, &mut busy].map(|bout| {
        let before = bout.from_node.len();
        while bout.from_node.len() == before {
            bout.now = bout.now.max(bout.node.next_timeout().instant().unwrap());
            bout.node.handle_timeout(bout.now);
            bout.drain();
        }
        bout.now
    });
    assert_eq!(next[0], next[1], "data is not held back for them");
}

/// The pacer holds packets back; that the window is not full then does not keep it from growing (RFC 9002 7.8).
#[test]
fn waiting_for_the_pacer_is_not_want_of_data() {
    let mut bout = paced();
    let before = bout.connection().route().unwrap();
    // By halves: before the second, less is in flight than what counts as use of a window whoever holds back.
    let largest = bout.puppet.largest(Level::OneRtt).unwrap();
    acknowledge_to(&mut bout, largest - 5);
    let route = bout.connection().route().unwrap();
    assert!(0 < route.in_flight && 2 * route.in_flight < route.window, "{route:?}");
    acknowledge_to(&mut bout, largest);
    let after = bout.connection().route().unwrap();
    assert_eq!((after.in_flight, after.window), (0, before.window + before.in_flight), "slow start");
}

/// All there is to say on a level goes into one packet, and an acknowledgment with it, due or not (RFC 9000 12.2, 13.2.1).
#[test]
fn one_packet_takes_all_there_is() {
    let mut bout = Bout::against_server(sender());
    bout.wait_ms(200);
    bout.ack();
    bout.wait_ms(200);
    let before = bout.puppet.heard.len();
    bout.say(&[Frame::Ping(Ping)]);
    assert_eq!(bout.puppet.heard.len(), before, "an acknowledgment may wait");
    bout.act(|connection, _| {
        for _ in 0..3 {
            let id = open(connection, Dir::Uni);
            connection.write_stream(id, b"a few bytes").unwrap();
        }
        connection.send_datagram(b"and more").unwrap();
        connection.ping();
    });
    let [packet] = &bout.puppet.heard[before..] else { panic!("one packet") };
    let kinds: Vec<Kind> = packet.frames().map(|frame| frame.kind()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Stream).count(), 3, "{kinds:?}");
    assert!(kinds.contains(&Kind::Datagram) && kinds[0] == Kind::Ack, "{kinds:?}");
}

/// A timer that fires late is within what the peer was promised (RFC 9000 18.2).
#[test]
fn acknowledgments_leave_before_the_promised_delay() {
    let mut bout = Bout::against_server(sender());
    bout.wait_ms(200);
    bout.ack();
    bout.wait_ms(200);
    let declared = bout.puppet.session.peer_params().unwrap();
    let declared = TransportParams::parse(Side::Server, declared).unwrap().max_ack_delay();
    let before = bout.puppet.heard.len();
    bout.say(&[Frame::Ping(Ping)]);
    let due = bout.node.next_timeout().instant().unwrap();
    assert!(due.after(Duration::from_millis(1)) <= bout.now.after(declared));
    bout.now = due;
    bout.wait_ms(0);
    assert!(bout.puppet.heard[before..].iter().any(|heard| heard.frames().any(|f| f.kind() == Kind::Ack)));
}

/// Whatever the lengths of connection IDs: what may draw a stateless reset has 22 bytes more than one of ours (RFC 9000 10.3).
#[test]
fn no_short_packet_is_too_small_to_be_reset() {
    for cid_len in [0, 8, 9, 20] {
        let mut setup = Setup::client(1);
        setup.endpoint.cid_len = cid_len;
        let mut bout = Bout::against_client(setup);
        bout.ack();
        bout.wait_ms(200);
        bout.ack();
        let before = bout.from_node.len();
        bout.act(|connection, _| connection.ping());
        bout.act(|connection, now| connection.close(now, 0, ""));
        let sizes = &bout.from_node[before..];
        assert!(sizes.len() == 2 && sizes.iter().all(|size| *size >= 22 + usize::from(cid_len)), "{sizes:?}");
    }
}
