extern crate std;

mod model;

use std::vec::Vec;

use super::*;
use model::{Link, alone, ideal, transfer};

const MB: u64 = 1 << 20;

fn facts(rtt_millis: u64) -> Facts {
    Facts {
        path: PathId::ZERO,
        usable: true,
        suspect: false,
        local: Availability::Unknown,
        peer: Availability::Unknown,
        smoothed_rtt: Span::from_millis(rtt_millis),
        min_rtt: Span::from_millis(rtt_millis),
        rtt_variation: Span::ZERO,
        window: 100_000,
        slow_start: false,
        in_flight: 50_000,
        room: 50_000,
        wait: Span::ZERO,
        mtu: 1200,
        lost_permille: 0,
        weight: NonZeroU8::MIN,
        backlog: 10 * MB,
    }
}

fn full(rtt_millis: u64) -> Facts {
    Facts { in_flight: 100_000, room: 0, ..facts(rtt_millis) }
}

fn choose(scheduler: Scheduler, facts: &[Facts]) -> Choice {
    let mut facts = facts.to_vec();
    leave_suspects(&mut facts);
    scheduler.choose(&State::new(), &facts)
}

const ALL: [Scheduler; 4] =
    [Scheduler::LowestRtt, Scheduler::EarliestCompletion, Scheduler::Primary, Scheduler::Weighted];

#[test]
fn whatever_the_policy_a_worse_class_waits_until_no_better_one_is_usable() {
    let backup = |it: Facts| Facts { peer: Availability::Backup, ..it };
    let own_backup = |it: Facts| Facts { local: Availability::Backup, ..it };
    let suspect = |it: Facts| Facts { suspect: true, ..it };
    let gone = |it: Facts| Facts { usable: false, ..it };
    let (best, busy) = (facts(300), full(300));
    for scheduler in ALL {
        for (case, expected) in [
            ([best, backup(facts(10))], Choice::Path(0)),
            ([best, own_backup(facts(10))], Choice::Path(0)),
            ([busy, backup(facts(10))], Choice::Wait),
            ([gone(best), backup(facts(10))], Choice::Path(1)),
            ([suspect(best), backup(facts(10))], Choice::Path(1)),
            ([suspect(best), suspect(backup(facts(10)))], Choice::Path(0)),
            ([suspect(busy), facts(10)], Choice::Path(1)),
            ([backup(best), own_backup(full(10))], Choice::Path(0)),
            ([suspect(facts(10)), full(10)], Choice::Wait),
            ([gone(best), gone(best)], Choice::None),
        ] {
            assert_eq!(choose(scheduler, &case), expected, "{scheduler:?} {case:?}");
        }
        assert_eq!(choose(scheduler, &[]), Choice::None);
    }
}

#[test]
fn what_the_peer_calls_available_is_no_better_than_what_it_does_not_speak_of() {
    let available = Facts { peer: Availability::Available, ..facts(20) };
    assert_eq!(choose(Scheduler::LowestRtt, &[available, facts(10)]), Choice::Path(1));
}

#[test]
fn lowest_rtt_goes_wherever_there_is_room() {
    let paced = Facts { wait: Span::from_millis(1), ..facts(5) };
    assert_eq!(choose(Scheduler::LowestRtt, &[facts(20), facts(10), paced]), Choice::Path(1));
    assert_eq!(choose(Scheduler::LowestRtt, &[facts(300), full(10)]), Choice::Path(0));
    assert_eq!(choose(Scheduler::LowestRtt, &[full(300), full(10)]), Choice::Wait);
    assert_eq!(next_wait(&[full(300), paced]), Some(Span::from_millis(1)));
    assert_eq!(next_wait(&[full(300), facts(3)]), None);
}

#[test]
fn primary_is_one_alone() {
    let heavy = Facts { weight: NonZeroU8::MAX, ..facts(90) };
    assert_eq!(choose(Scheduler::Primary, &[facts(20), facts(10)]), Choice::Path(0));
    assert_eq!(choose(Scheduler::Primary, &[facts(20), heavy, heavy]), Choice::Path(1));
    assert_eq!(choose(Scheduler::Primary, &[full(20), facts(10)]), Choice::Wait);
}

#[test]
fn a_slow_path_is_used_for_what_faster_ones_could_not_deliver_before_it_does() {
    // The slow datagram arrives after 150 ms. By then the fast path, behind its own queue of 2.5, delivers for 142.5 ms.
    let pair = |backlog| [full(10), Facts { in_flight: 0, ..facts(300) }].map(|it| Facts { backlog, ..it });
    let earliest = Scheduler::EarliestCompletion;
    assert_eq!(choose(earliest, &pair(1_425_001)), Choice::Path(1));
    assert_eq!(choose(earliest, &pair(1_425_000)), Choice::Wait);
    // What was sent over it just before is in its way: a quarter of a window takes 75 of 300 ms.
    for (in_flight, limit) in [(10_000, 1_725_000), (50_000, 2_175_000), (90_000, 2_175_000)] {
        let slow = |backlog| Facts { in_flight, backlog, ..facts(300) };
        assert_eq!(choose(earliest, &[full(10), slow(limit)]), Choice::Wait, "{in_flight}");
        assert_eq!(choose(earliest, &[full(10), slow(limit + 1)]), Choice::Path(1), "{in_flight}");
    }
    // A second fast path takes its part of it.
    let [fast, slow] = pair(2_850_000);
    assert_eq!(choose(earliest, &[fast, slow, fast]), Choice::Wait);
    assert_eq!(choose(earliest, &[fast, slow]), Choice::Path(1));
    // The one with room is the fastest, or as fast.
    assert_eq!(choose(earliest, &[full(10), Facts { backlog: 1, ..facts(10) }]), Choice::Path(1));
    // Doubt counts against it.
    let doubtful = Facts { rtt_variation: Span::from_millis(30), ..pair(1_425_001)[1] };
    assert_eq!(choose(earliest, &[pair(1_425_001)[0], doubtful]), Choice::Wait);
}

#[test]
fn a_queue_delays_what_is_sent_not_what_is_acknowledged() {
    // Of 60 ms, 50 are queue: a datagram takes 55 ms, longer than over the other path, which has no queue.
    let queued = Facts { min_rtt: Span::from_millis(10), ..facts(60) };
    assert_eq!(
        choose(Scheduler::EarliestCompletion, &[queued, Facts { in_flight: 0, ..facts(100) }]),
        Choice::Path(1)
    );
    // Once all of that has arrived, nothing stands in the way of what is sent next.
    let drained = Facts { in_flight: 0, ..queued };
    assert_eq!(
        choose(Scheduler::EarliestCompletion, &[drained, Facts { in_flight: 0, ..facts(100) }]),
        Choice::Path(0)
    );
}

#[test]
fn nobody_waits_for_a_path_that_nothing_will_set_free() {
    let stuck = Facts { in_flight: 0, room: 0, ..facts(10) };
    let slow = Facts { backlog: 1, ..facts(300) };
    assert_eq!(choose(Scheduler::EarliestCompletion, &[stuck, slow]), Choice::Path(1));
    let paced = Facts { in_flight: 0, wait: Span::from_millis(2), ..facts(10) };
    assert_eq!(choose(Scheduler::EarliestCompletion, &[paced, slow]), Choice::Wait);
    assert_eq!(next_wait(&[paced, slow]), Some(Span::from_millis(2)));
}

#[test]
fn a_window_that_doubles_is_trusted_to() {
    // In the 145 ms that a datagram takes longer over the slow path the fast one sends a window 14 times; or 2^14 windows.
    let slow = Facts { in_flight: 0, ..facts(300) };
    let fast = full(10);
    assert_eq!(choose(Scheduler::EarliestCompletion, &[fast, slow]), Choice::Path(1));
    assert_eq!(
        choose(Scheduler::EarliestCompletion, &[Facts { slow_start: true, ..fast }, slow]),
        Choice::Wait
    );
}

#[test]
fn control_frames_go_though_nothing_is_counted_as_waiting() {
    let idle = |it: Facts| Facts { backlog: 0, ..it };
    for scheduler in ALL {
        assert_eq!(choose(scheduler, &[idle(facts(10)), idle(facts(300))]), Choice::Path(0), "{scheduler:?}");
    }
    let earliest = Scheduler::EarliestCompletion;
    assert_eq!(
        choose(earliest, &[idle(full(10)), Facts { in_flight: 0, ..idle(facts(12)) }]),
        Choice::Path(1)
    );
    assert_eq!(choose(earliest, &[idle(full(10)), idle(facts(300))]), Choice::Wait, "sooner over the other");
}

#[test]
fn absurd_facts_do_no_harm() {
    let absurd = Facts {
        smoothed_rtt: Span::MAX,
        min_rtt: Span::MAX,
        rtt_variation: Span::MAX,
        window: u32::MAX,
        backlog: u64::MAX,
        wait: Span::MAX,
        ..full(1)
    };
    let zero = Facts { smoothed_rtt: Span::ZERO, min_rtt: Span::ZERO, window: 0, ..full(1) };
    for scheduler in ALL.into_iter().filter(|it| !matches!(it, Scheduler::Primary)) {
        assert_eq!(choose(scheduler, &[absurd, zero, facts(5)]), Choice::Path(2), "{scheduler:?}");
        assert!(matches!(choose(scheduler, &[absurd; 40]), Choice::Wait));
    }
}

#[test]
fn the_applications_choice_is_taken_where_it_can_be() {
    fn last(facts: &[Facts]) -> Choice {
        Choice::Path(facts.len().saturating_sub(1))
    }
    let custom = Scheduler::Custom(last);
    assert_eq!(choose(custom, &[facts(1), facts(9)]), Choice::Path(1));
    assert_eq!(choose(custom, &[facts(1), full(9)]), Choice::Wait);
    assert_eq!(choose(custom, &[facts(1), Facts { usable: false, ..facts(1) }]), Choice::Wait);
    assert_eq!(choose(custom, &[facts(1), Facts { suspect: true, ..facts(1) }]), Choice::Wait);
    assert_eq!(choose(Scheduler::Custom(|_| Choice::Path(9)), &[facts(1)]), Choice::Wait);
    assert_eq!(choose(Scheduler::Custom(|_| Choice::None), &[facts(1)]), Choice::None);
}

#[test]
fn shares_are_by_weight() {
    let mut state = State::new();
    let weighing = |weight| Facts { weight: NonZeroU8::new(weight).unwrap(), ..facts(20) };
    let paths = [weighing(3), weighing(1), weighing(6)];
    let mut sent = [0_u64; 3];
    for size in (0..10_000).map(|at| 200 + at % 7 * 150) {
        let Choice::Path(row) = Scheduler::Weighted.choose(&state, &paths) else { panic!("all have room") };
        sent[row] += u64::from(size);
        Scheduler::Weighted.on_sent(&mut state, &paths, row, size);
    }
    let total: u64 = sent.iter().sum();
    for (bytes, share) in sent.iter().zip([300, 100, 600]) {
        assert!((bytes * 1000 / total).abs_diff(share) <= 1, "{sent:?}");
    }
}

#[test]
fn who_is_behind_is_waited_for_and_who_is_away_earns_nothing() {
    let mut state = State::new();
    let (open, busy) = ([facts(20), facts(20)], [facts(20), full(20)]);
    let mut ahead = 0;
    while let Choice::Path(row) = Scheduler::Weighted.choose(&state, &busy) {
        assert_eq!(row, 0);
        Scheduler::Weighted.on_sent(&mut state, &busy, row, 1200);
        ahead += 1200 * PARTS;
    }
    assert!((AHEAD..AHEAD + 2400 * PARTS).contains(&ahead));
    assert_eq!(Scheduler::Weighted.choose(&state, &open), Choice::Path(1));
    let mut renewed = state;
    renewed.forget(0);
    assert_eq!(
        Scheduler::Weighted.choose(&renewed, &open),
        Choice::Path(0),
        "another path, which owes nothing"
    );
    // The second path is away for long: the first goes on without it.
    let away = [facts(20), Facts { usable: false, ..facts(20) }];
    for _ in 0..1000 {
        assert_eq!(Scheduler::Weighted.choose(&state, &away), Choice::Path(0));
        Scheduler::Weighted.on_sent(&mut state, &away, 0, 1200);
    }
    Scheduler::Weighted.on_sent(&mut state, &open, 1, 1200);
    assert_eq!(Scheduler::Weighted.choose(&state, &open), Choice::Path(0), "back, and even");
}

#[test]
fn two_links_are_added() {
    let links = [Link::new(20, 20), Link::new(10, 40)];
    for bytes in [MB, 3 * MB, 10 * MB] {
        let (took, best) = (transfer(Scheduler::EarliestCompletion, &links, bytes), ideal(&links, bytes));
        assert!(took * 100 <= best * 101, "{bytes} bytes: {took} us, {best} at best");
    }
}

#[test]
fn a_slow_link_never_makes_a_fast_one_slower() {
    let links = [Link::new(100, 10), Link::new(1, 300)];
    for bytes in [10_000, 100_000, 300_000, MB, 10 * MB] {
        let took = transfer(Scheduler::EarliestCompletion, &links, bytes);
        let fast = alone(&links[0], bytes);
        assert!(took <= fast, "{bytes} bytes: {took} us, {fast} over the fast link alone");
        assert!(took * 100 <= ideal(&links, bytes) * 101, "{bytes} bytes: {took} us");
    }
    // What it is for: the plain policy leaves the last bytes to the slow link.
    let plain = transfer(Scheduler::LowestRtt, &links, MB);
    assert!(plain * 2 > alone(&links[0], MB) * 3, "{plain} us");
}

#[test]
fn links_of_all_kinds_are_no_worse_than_the_best_of_them() {
    for kinds in [
        &[(20, 20), (20, 20)][..],
        &[(50, 15), (5, 60)],
        &[(8, 80), (8, 25)],
        &[(100, 100), (3, 10)],
        &[(100, 10), (10, 100)],
        &[(30, 30), (20, 90)],
        &[(20, 20), (10, 40), (5, 80)],
    ] {
        let links: Vec<Link> = kinds.iter().map(|(rate, rtt)| Link::new(*rate, *rtt)).collect();
        for bytes in [30_000, 60_000, 100_000, 200_000, MB, 5 * MB] {
            let took = transfer(Scheduler::EarliestCompletion, &links, bytes);
            let best = links.iter().map(|link| alone(link, bytes)).min().unwrap();
            assert!(took * 100 <= best * 103, "{links:?} {bytes} bytes: {took} us, {best} alone");
            let ideal = ideal(&links, bytes);
            assert!(took * 100 <= ideal * 111, "{links:?} {bytes} bytes: {took} us, {ideal} at best");
        }
    }
}
