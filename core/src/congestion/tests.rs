use super::*;
use crate::table::random::Random;
use std::vec::Vec;

const MTU: u16 = 1200;
const BOTH: [Algorithm; 2] = [Algorithm::NewReno, Algorithm::Cubic];

const fn ms(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn send(controller: &mut Controller, now: Instant, packets: u32) {
    for _ in 0..packets {
        controller.on_sent(now, MTU);
    }
}

/// Acknowledges packets one by one that were sent 100 ms ago.
fn ack(controller: &mut Controller, now: u64, packets: u32) {
    let rtt = Span::from_millis(100);
    let acked = Acked {
        bytes: MTU.into(),
        newest: ms(now - 100),
        sample: Some(rtt),
        smoothed: rtt,
        coupling: Coupling::Alone,
    };
    for _ in 0..packets {
        controller.on_acked(ms(now), &acked);
    }
}

fn packets(controller: &Controller) -> u32 {
    controller.window() / u32::from(MTU)
}

/// A controller that lost one of twenty packets at 200 ms and has nothing in flight.
fn reduced(algorithm: Algorithm) -> Controller {
    let mut controller = Controller::new(algorithm, MTU);
    send(&mut controller, ms(0), 10);
    ack(&mut controller, 100, 10);
    send(&mut controller, ms(100), 20);
    controller.on_lost(ms(200), MTU.into(), Some(ms(100)), false);
    ack(&mut controller, 200, 19);
    assert_eq!(controller.in_flight(), 0);
    controller
}

#[test]
fn sizes() {
    let size = size_of::<Controller>() + size_of::<Pacer>();
    assert!(size <= 88, "{size}");
}

#[test]
fn initial_window_of_rfc_9002_7_2() {
    for (mtu, window) in
        [(1000, 12_000), (1200, 12_000), (1472, 14_720), (1500, 14_720), (8000, 16_000), (65_535, 131_070)]
    {
        assert_eq!(Controller::new(Algorithm::NewReno, mtu).window(), window);
    }
}

#[test]
fn a_new_mtu_renews_the_initial_window_only() {
    let mut controller = Controller::new(Algorithm::Cubic, 1200);
    controller.set_mtu(1452);
    assert_eq!(controller.window(), 14_520);
    controller.set_mtu(1200);
    assert_eq!(controller.window(), 12_000);
    send(&mut controller, ms(0), 10);
    ack(&mut controller, 100, 1);
    controller.set_mtu(1452);
    assert_eq!(controller.window(), 13_200);
    controller.set_mtu(9000);
    assert_eq!(controller.window(), 18_000, "two datagrams are the least");
}

#[test]
fn slow_start_doubles_and_a_loss_ends_it_once_per_round_trip() {
    for (algorithm, after) in [(Algorithm::NewReno, 10), (Algorithm::Cubic, 14)] {
        let mut controller = Controller::new(algorithm, MTU);
        send(&mut controller, ms(0), 10);
        ack(&mut controller, 100, 10);
        assert_eq!((packets(&controller), controller.is_slow_start()), (20, true));
        send(&mut controller, ms(100), 20);
        controller.on_lost(ms(200), MTU.into(), Some(ms(100)), false);
        assert_eq!((packets(&controller), controller.is_slow_start()), (after, false));
        // More of the same round trip changes nothing, nor do acknowledgments of what was sent before.
        controller.on_lost(ms(201), MTU.into(), Some(ms(199)), false);
        controller.on_ce(ms(202), ms(200));
        ack(&mut controller, 250, 18);
        assert_eq!((packets(&controller), controller.in_flight()), (after, 0));
        // What was sent since ends the recovery period, and its loss begins another.
        controller.on_ce(ms(310), Instant::from_micros(200_001));
        assert!(packets(&controller) < after);
    }
}

#[test]
fn new_reno_gains_a_datagram_per_window() {
    let mut controller = reduced(Algorithm::NewReno);
    for (round, window) in [(3, 10), (4, 11), (5, 12), (6, 13)] {
        assert_eq!(packets(&controller), window);
        send(&mut controller, ms(round * 100), window);
        ack(&mut controller, round * 100 + 100, window);
    }
    assert_eq!(controller.window() % u32::from(MTU), 0);
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    for algorithm in BOTH {
        let mut slow_start = Controller::new(algorithm, MTU);
        slow_start.set_app_limited(true);
        send(&mut slow_start, ms(0), 4);
        ack(&mut slow_start, 100, 4);
        assert_eq!(packets(&slow_start), 10);
        // Nearly full is used, whatever the reason for stopping.
        send(&mut slow_start, ms(100), 9);
        ack(&mut slow_start, 200, 1);
        assert_eq!(packets(&slow_start), 11);

        let mut avoidance = reduced(algorithm);
        avoidance.set_app_limited(true);
        let before = avoidance.window();
        for at in (300..9000).step_by(100) {
            send(&mut avoidance, ms(at), 6);
            ack(&mut avoidance, at + 100, 6);
        }
        assert_eq!(avoidance.window(), before);
    }
}

#[test]
fn time_in_which_the_window_was_not_used_is_no_credit() {
    let round = |controller: &mut Controller, at, size| {
        send(controller, ms(at), size);
        ack(controller, at + 100, size);
    };
    // Either nothing is in flight for long, or always something but little.
    for has_trickle in [false, true] {
        let mut controller = reduced(Algorithm::Cubic);
        let full = packets(&controller);
        round(&mut controller, 300, full);
        if has_trickle {
            controller.set_app_limited(true);
            send(&mut controller, ms(400), 1);
            (4..900).for_each(|nth| round(&mut controller, nth * 100, 2));
            controller.set_app_limited(false);
        }
        let before = controller.window();
        round(&mut controller, 90_000, full);
        assert!(controller.window() <= before + u32::from(MTU), "{}", packets(&controller));
    }
}

#[test]
fn persistent_congestion_leaves_two_datagrams_and_slow_start() {
    for algorithm in BOTH {
        let mut controller = Controller::new(algorithm, MTU);
        send(&mut controller, ms(0), 10);
        controller.on_lost(ms(5000), 12_000, Some(ms(4000)), true);
        assert_eq!((packets(&controller), controller.in_flight()), (2, 0));
        assert!(controller.is_slow_start());
        // Not in recovery: the next acknowledgment counts, up to the window that congestion had left.
        let threshold = if algorithm == Algorithm::NewReno { 5 } else { 7 };
        send(&mut controller, ms(5000), 2);
        ack(&mut controller, 5100, 2);
        assert_eq!(packets(&controller), 4);
        send(&mut controller, ms(5100), 4);
        let rtt = Span::from_millis(100);
        let all = Acked {
            bytes: 4 * u32::from(MTU),
            newest: ms(5100),
            sample: Some(rtt),
            smoothed: rtt,
            coupling: Coupling::Alone,
        };
        controller.on_acked(ms(5200), &all);
        assert_eq!(packets(&controller), threshold);
        assert!(!controller.is_slow_start());
    }
}

#[test]
fn cubic_does_not_hurry_back_to_where_persistent_congestion_struck() {
    let mtu = u32::from(MTU);
    let mut controller = Controller { window: 1000 * mtu, ..Controller::new(Algorithm::Cubic, MTU) };
    controller.on_lost(ms(50), 0, Some(ms(0)), true);
    for at in (100..4000).step_by(100) {
        let window = packets(&controller);
        send(&mut controller, ms(at), window);
        ack(&mut controller, at + 100, window);
    }
    // Nine round trips of slow start to 700 packets, then W(3 s) = 700 + 0.4 * 3^3; with a memory it were 910.
    assert!((700..750).contains(&packets(&controller)), "{}", packets(&controller));
}

#[test]
fn one_datagram_may_go_on_entering_recovery() {
    let mut controller = Controller::new(Algorithm::NewReno, MTU);
    send(&mut controller, ms(0), 10);
    assert_eq!(controller.available(), 0);
    controller.on_lost(ms(100), MTU.into(), Some(ms(0)), false);
    assert_eq!((controller.window(), controller.in_flight()), (6000, 10_800));
    assert_eq!(controller.available(), 1200);
    send(&mut controller, ms(100), 1);
    assert_eq!(controller.available(), 0);
}

#[test]
fn lost_mtu_probes_and_discarded_packets_only_leave() {
    for algorithm in BOTH {
        let mut controller = Controller::new(algorithm, MTU);
        send(&mut controller, ms(0), 10);
        controller.on_lost(ms(100), 1200, None, false);
        controller.on_discarded(2400);
        assert_eq!((controller.window(), controller.in_flight()), (12_000, 8400));
    }
}

#[test]
fn a_growing_queue_ends_slow_start_without_a_loss() {
    let mut controller = Controller::new(Algorithm::Cubic, MTU);
    let (mut now, mut windows) = (ms(1), Vec::new());
    // The link carries 100 packets per 100 ms; what is more waits.
    for _ in 0..14 {
        let (window, sent) = (packets(&controller), now);
        windows.push(window);
        send(&mut controller, sent, window);
        now = sent.after(Span::from_millis(u64::from(window.max(100))));
        let rtt = now.since(sent);
        let acked = Acked {
            bytes: MTU.into(),
            newest: sent,
            sample: Some(rtt),
            smoothed: rtt,
            coupling: Coupling::Alone,
        };
        for _ in 0..window {
            controller.on_acked(now, &acked);
        }
    }
    assert_eq!(&windows[..5], [10, 20, 40, 80, 160]);
    assert!(windows[5] < 210, "{windows:?}");
    assert!(!controller.is_slow_start(), "{windows:?}");
}

#[test]
fn what_goes_out_comes_back() {
    let mut random = Random::new(5);
    for algorithm in BOTH {
        let (mut controller, mut flight) = (Controller::new(algorithm, MTU), Vec::new());
        let mut now = ms(1);
        for _ in 0..20_000 {
            now = now.after(Span::from_micros(random.below(20_000) as u64));
            while controller.available() >= u32::from(MTU) && flight.len() < 3000 {
                controller.on_sent(now, MTU);
                flight.push(now);
            }
            controller.set_app_limited(random.below(9) == 0);
            let gone: Vec<Instant> = flight.drain(..random.below(40).min(flight.len())).collect();
            let Some(newest) = gone.last().copied() else { continue };
            let bytes = gone.len() as u32 * u32::from(MTU);
            let rtt = now.since(newest);
            match random.below(30) {
                0 => controller.on_lost(now, bytes, Some(newest), random.below(5) == 0),
                1 => controller.on_discarded(bytes),
                _ => {
                    let acked =
                        Acked { bytes, newest, sample: Some(rtt), smoothed: rtt, coupling: Coupling::Alone };
                    controller.on_acked(now, &acked);
                }
            }
            assert_eq!(controller.in_flight(), flight.len() as u32 * u32::from(MTU));
            assert!(controller.window() >= 2 * u32::from(MTU));
            assert!(controller.per_rtt() > u64::from(controller.window()));
        }
    }
}

#[test]
fn routes_are_coupled_once_out_of_slow_start_and_with_those_in_use() {
    let rtt = Span::from_millis(100);
    let busy = |mut controller: Controller| {
        let window = packets(&controller);
        send(&mut controller, ms(300), window);
        controller
    };
    let (own, idle) = (busy(reduced(Algorithm::NewReno)), reduced(Algorithm::NewReno));
    let mut scarce = busy(idle);
    scarce.set_app_limited(true);
    scarce.on_discarded(5 * u32::from(MTU));
    let with = |own: &Controller, coupled, others: &[&Controller]| {
        own.coupling(coupled, rtt, others.iter().map(|other| (*other, rtt)))
    };
    let alone = Coupling::Beside(Part::ALL);
    for coupled in [Coupled::Lia, Coupled::Olia] {
        let quarter = with(&own, coupled, &[&own]);
        assert_eq!(quarter, Coupling::Beside(Part::new(1, 4)));
        assert_eq!(with(&own, coupled, &[&idle, &own, &scarce]), quarter, "others that are not in use");
        assert_eq!(with(&own, coupled, &[&idle, &scarce]), alone);
        let starting = busy(Controller::new(Algorithm::NewReno, MTU));
        assert_eq!(with(&starting, coupled, &[&own]), alone);
        assert_ne!(with(&own, coupled, &[&starting]), alone);
    }
    assert_eq!(with(&own, Coupled::None, &[&own]), alone);
}

#[test]
fn a_window_that_shrinks_neither_starts_again_nor_vanishes() {
    let mut controller = reduced(Algorithm::NewReno);
    let rtt = Span::from_millis(100);
    let coupling = Coupling::Beside(Part::new(-1, 2));
    for round in 3..90 {
        let window = packets(&controller);
        send(&mut controller, ms(round * 100), window);
        let (bytes, newest) = (controller.in_flight(), ms(round * 100));
        let acked = Acked { bytes, newest, sample: Some(rtt), smoothed: rtt, coupling };
        controller.on_acked(ms(round * 100 + 100), &acked);
        assert!(packets(&controller) <= window && !controller.is_slow_start());
    }
    assert_eq!(packets(&controller), 2);
}

#[test]
fn bytes_without_a_loss_are_counted_beside_others() {
    let rtt = Span::from_millis(100);
    let others = Coupling::Beside(Part::ALL);
    let ack = |controller: &mut Controller, sent: u64, packets: u32, coupling| {
        let bytes = packets * u32::from(MTU);
        let acked = Acked { bytes, newest: ms(sent), sample: Some(rtt), smoothed: rtt, coupling };
        controller.on_acked(ms(sent + 100), &acked);
        controller.flow(rtt)
    };
    let lossless =
        |controller: &Controller, packets: u32| Flow::new(controller.window(), rtt, packets * u32::from(MTU));
    let mut controller = reduced(Algorithm::NewReno);
    assert_eq!(ack(&mut controller, 300, 10, others), lossless(&controller, 10));
    assert_eq!(ack(&mut controller, 400, 10, Coupling::Alone), lossless(&controller, 10));
    // Those count, too, that were sent before the loss, and those that did not fill the window.
    controller.on_lost(ms(600), MTU.into(), Some(ms(500)), false);
    assert_eq!(ack(&mut controller, 500, 6, others), lossless(&controller, 10));
    controller.set_app_limited(true);
    assert_eq!(ack(&mut controller, 700, 6, others), lossless(&controller, 12));
}

#[test]
fn cubic_is_not_coupled() {
    let grown = |coupling| {
        let mut controller = reduced(Algorithm::Cubic);
        let rtt = Span::from_millis(100);
        send(&mut controller, ms(300), 14);
        let acked =
            Acked { bytes: 14 * u32::from(MTU), newest: ms(300), sample: None, smoothed: rtt, coupling };
        controller.on_acked(ms(400), &acked);
        controller
    };
    let grown_alone = grown(Coupling::Alone);
    assert_eq!(grown_alone, grown(Coupling::Beside(Part::new(1, 9))));
    let rtt = Span::from_millis(100);
    let mut cubic = grown_alone;
    send(&mut cubic, ms(500), 14);
    let coupling = cubic.coupling(Coupled::Lia, rtt, [(&cubic, rtt)].into_iter());
    assert_eq!(coupling, Coupling::Beside(Part::ALL));
}
