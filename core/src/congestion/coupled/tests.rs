use super::*;
use crate::table::random::Random;
use std::vec::Vec;

fn flow(window: u32, millis: u64) -> Flow {
    Flow::new(window, Span::from_millis(millis), 0)
}

fn part(coupled: Coupled, own: usize, flows: &[Flow]) -> i64 {
    let others = flows.iter().enumerate().filter(|(nth, _)| *nth != own).map(|(_, flow)| *flow);
    coupled.part(flows[own], others).0
}

/// In millionths.
fn millionths(part: i64) -> i64 {
    (part * 1_000_000 + (1 << (BITS - 1))) >> BITS
}

fn random_flows(random: &mut Random, most: usize) -> Vec<Flow> {
    let mut bits = |most| random.next() as u32 >> random.below(most);
    let mut flow = || Flow { window: bits(20).max(2400), rtt_micros: bits(31).max(1), loss_free: bits(32) };
    (0..most).map(|_| flow()).collect()
}

#[test]
fn lia_by_hand() {
    // alpha = total * max(w / RTT^2) / (sum of w / RTT)^2, and the part is alpha * w / total, at most 1.
    type Windows<'a> = &'a [(u32, u64)];
    let table: &[(Windows<'_>, &[i64])] = &[
        // alpha = 20 * 10/1 / 20^2 = 1/2.
        (&[(10_000, 100), (10_000, 100)], &[250_000, 250_000]),
        // 30 * 20 / 30^2 = 2/3.
        (&[(20_000, 100), (10_000, 100)], &[444_444, 222_222]),
        // RTTs of 1 and 2: 20 * 10 / 15^2 = 8/9.
        (&[(10_000, 100), (10_000, 200)], &[444_444, 444_444]),
        // RTTs of 1 and 10: 110 * 10 / 20^2 = 11/4, which is 1/4 for the first and more than allowed for the second.
        (&[(10_000, 10), (100_000, 100)], &[250_000, 1_000_000]),
        // RTTs of 1, 2 and 4: 70 * 10 / (10 + 10 + 10)^2 = 7/9.
        (&[(10_000, 50), (20_000, 100), (40_000, 200)], &[111_111, 222_222, 444_444]),
        // 110 * 100 / 110^2 = 10/11.
        (&[(100_000, 30), (10_000, 30)], &[826_446, 82_645]),
        (&[(12_345, 67)], &[1_000_000]),
    ];
    for (flows, parts) in table {
        let flows: Vec<Flow> = flows.iter().map(|(window, millis)| flow(*window, *millis)).collect();
        for (own, expected) in parts.iter().enumerate() {
            let found = millionths(part(Coupled::Lia, own, &flows));
            assert_eq!(found, *expected, "{own} of {flows:?}");
        }
    }
}

#[test]
fn olia_by_hand() {
    let flow = |window, millis, loss_free| Flow::new(window, Span::from_millis(millis), loss_free);
    let table: &[(&[Flow], &[i64])] = &[
        // The largest window is that of the best: nothing is moved. Shares of the rate: 2/3 and 1/3.
        (&[flow(20_000, 100, 900), flow(10_000, 100, 800)], &[444_444, 111_111]),
        // The best is the smaller: 4/9 - 1/2 and 1/9 + 1/2.
        (&[flow(20_000, 100, 800), flow(10_000, 100, 900)], &[-55_556, 611_111]),
        // Twice the RTT needs four times the bytes between losses: 399 are not enough. Shares: 4/5 and 1/5.
        (&[flow(20_000, 100, 100), flow(10_000, 200, 399)], &[640_000, 40_000]),
        (&[flow(20_000, 100, 100), flow(10_000, 200, 401)], &[140_000, 540_000]),
        // Two largest give a sixth each, the best one takes a third, and the fourth ... shares: 2/6, 2/6, 1/6, 1/6.
        (
            &[flow(20_000, 9, 1), flow(20_000, 9, 2), flow(10_000, 9, 3), flow(10_000, 9, 2)],
            &[-13_889, -13_889, 277_778, 27_778],
        ),
        // Two best, one of them the largest: the other takes what that gives.
        (&[flow(20_000, 100, 900), flow(10_000, 100, 900)], &[-55_556, 611_111]),
        // Never more than alone: 0.81 + 1/2.
        (&[flow(100_000, 900, 1), flow(90_000, 90, 1)], &[-490_000, 1_000_000]),
        (&[flow(12_345, 67, 0)], &[1_000_000]),
    ];
    for (flows, parts) in table {
        for (own, expected) in parts.iter().enumerate() {
            let found = millionths(part(Coupled::Olia, own, flows));
            assert!(found.abs_diff(*expected) <= 1, "{own} of {flows:?}: {found} for {expected}");
        }
    }
}

#[test]
fn equal_routes_grow_by_the_square_of_their_part() {
    // Each halves its own window only, so that all together grow by a part of one flow, and lose such a part.
    for count in 1..=8 {
        let flows: Vec<Flow> = (0..count).map(|_| flow(60_000, 40)).collect();
        for coupled in [Coupled::Lia, Coupled::Olia] {
            let whole = part(coupled, 0, &flows) * i64::from(count * count);
            assert!(whole.abs_diff(WHOLE as i64) <= 64 * 2, "{coupled:?} {count}: {whole}");
        }
    }
}

#[test]
fn uncoupled_or_alone_is_all() {
    let mut random = Random::new(1);
    for _ in 0..10_000 {
        let flows = random_flows(&mut random, 2);
        assert_eq!(part(Coupled::None, 0, &flows), WHOLE as i64);
        assert_eq!(part(Coupled::Lia, 0, &flows[..1]), WHOLE as i64);
        assert_eq!(part(Coupled::Olia, 0, &flows[..1]), WHOLE as i64);
    }
}

#[test]
fn no_route_is_ever_faster_than_alone() {
    let mut random = Random::new(2);
    for _ in 0..50_000 {
        let count = 2 + random.below(FLOWS - 1);
        let flows = random_flows(&mut random, count);
        for own in 0..count {
            let lia = part(Coupled::Lia, own, &flows);
            assert!((0..=WHOLE as i64).contains(&lia), "{lia}: {own} of {flows:?}");
            let olia = part(Coupled::Olia, own, &flows);
            assert!((-(WHOLE as i64) / 2..=WHOLE as i64).contains(&olia), "{olia}: {own} of {flows:?}");
        }
    }
}

#[test]
fn lia_is_exact_and_all_together_have_the_rate_of_the_best_alone() {
    let mut random = Random::new(3);
    for _ in 0..20_000 {
        let count = 2 + random.below(2);
        let small: Vec<(u128, u128)> =
            (0..count).map(|_| (2 + random.below(1000) as u128, 1 + random.below(500) as u128)).collect();
        let flows: Vec<Flow> = small.iter().map(|(w, rtt)| flow(*w as u32 * 1200, *rtt as u64)).collect();
        // Rates as whole numbers: times the product of all RTTs.
        let product: u128 = small.iter().map(|(_, rtt)| rtt).product();
        let total: u128 = small.iter().map(|(w, rtt)| w * product / rtt).sum();
        let growth = small.iter().map(|(w, rtt)| w * product * product / (rtt * rtt)).max().unwrap();
        let mut best = 0;
        for (own, (w, rtt)) in small.iter().enumerate() {
            let found = part(Coupled::Lia, own, &flows) as u128;
            let exact = (((w * growth) << BITS) / (total * total)).min(WHOLE.into());
            let error = 4 + (exact >> 16);
            assert!(found.abs_diff(exact) <= error, "{own} of {flows:?}: {found} for {exact}");
            // A flow alone has the window w' at a loss rate of 2 / w'^2. Growing by a part of that, w is where w' times the
            // root of that part is; so alone it had the rate w / root(part) / RTT, to be compared with the sum of all.
            let rate = w * product / rtt;
            best = best.max(((rate * rate) << BITS) / (total * total) * 1000 / found.max(1));
        }
        assert!((990..=1010).contains(&best), "{best} of {flows:?}");
    }
}

#[test]
fn others_than_seven_do_not_count() {
    let flows: Vec<Flow> = (0..12).map(|_| flow(60_000, 40)).collect();
    assert_eq!(part(Coupled::Lia, 0, &flows), part(Coupled::Lia, 0, &flows[..8]));
}

#[test]
fn extremes_saturate() {
    for window in [1, u32::MAX] {
        for rtt in [Span::ZERO, Span::MAX] {
            let flows = [Flow::new(window, rtt, u32::MAX); FLOWS];
            for coupled in [Coupled::Lia, Coupled::Olia] {
                // A window of a byte in an hour has no rate to speak of.
                let expected = if (window, rtt) == (1, Span::MAX) { 1_000_000 } else { 15_625 };
                assert_eq!(millionths(part(coupled, 0, &flows)), expected, "{window} {rtt:?}");
            }
            let slow = Flow::new(window, Span::MAX, 0);
            assert_eq!(millionths(part(Coupled::Lia, 1, &[slow, flow(u32::MAX, 0)])), 1_000_000);
        }
    }
    let mut carry = u32::MAX;
    assert_eq!(Part::ALL.of(u32::MAX, &mut carry), i64::from(u32::MAX) + 3);
    assert_eq!(carry, (1 << BITS) - 1);
    assert_eq!(Part::new(-1, 1).of(u32::MAX, &mut carry), -i64::from(u32::MAX));
}
