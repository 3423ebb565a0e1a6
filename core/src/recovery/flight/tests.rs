use super::*;
use crate::recovery::loss::Lost;
use crate::recovery::rtt::Rtt;
use crate::recovery::sent::take_rest;
use crate::table::chunk::{Carried, Chunks, Sent};
use crate::table::random::Random;
use core::ops::RangeInclusive;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

const STREAM: Kinds = Kinds::NONE.with(Kind::Stream);
const MAX_ACK_DELAY: Span = Span::from_millis(25);

const fn ms(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

/// Smoothed 100 ms, variation 50 ms, first sample at zero: lost after 112.5 ms, persistent after 975 ms.
fn rtt() -> Rtt {
    let mut rtt = Rtt::default();
    rtt.on_sample(ms(0), Span::from_millis(100), Span::ZERO, None);
    rtt
}

struct Bench {
    rows: Vec<SentPacket>,
    table: SentTable,
    flight: Flight,
    next_pn: u64,
}

impl Bench {
    fn new(rows: usize) -> Self {
        Self {
            rows: vec![SentPacket::EMPTY; rows],
            table: SentTable::new(),
            flight: Flight::new(),
            next_pn: 0,
        }
    }

    fn send(&mut self, now: Instant) -> u64 {
        self.send_with(now, |_| ())
    }

    fn send_many(&mut self, packets: usize, now: Instant) {
        for _ in 0..packets {
            self.send(now);
        }
    }

    fn send_with(&mut self, now: Instant, change: impl FnOnce(&mut Packet)) -> u64 {
        let pn = self.next_pn;
        let mut packet =
            Packet { pn, size: 1000, kinds: STREAM, ack_eliciting: true, mtu_probe: false, ect0: false };
        change(&mut packet);
        self.flight.on_sent(&mut self.rows, &mut self.table, now, Draft::new(), &packet).unwrap();
        self.next_pn += 1;
        pn
    }

    fn ack(&mut self, now: Instant, ranges: &[RangeInclusive<u64>]) -> Acked {
        self.flight.on_ack(&mut self.rows, now, &AckedRanges::of(ranges.iter().cloned()))
    }

    fn lose(&mut self, now: Instant) -> Lost {
        self.flight.detect_lost(&mut self.rows, now, &rtt(), MAX_ACK_DELAY)
    }

    fn drain(&mut self, mut chain: Chain) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(handle) = chain.pop(&mut self.rows) {
            numbers.push(self.flight.numbers().of(&self.rows[usize::from(handle)]));
            let mut part = Some(handle);
            while let Some(handle) = part {
                part = take_rest(&mut self.rows, handle);
                self.table.free(&mut self.rows, handle);
            }
        }
        numbers
    }

    fn ack_and_lose(&mut self, now: Instant, ranges: &[RangeInclusive<u64>]) -> (Vec<u64>, Vec<u64>) {
        let acked = self.ack(now, ranges).packets;
        let lost = self.lose(now).packets;
        (self.drain(acked), self.drain(lost))
    }
}

#[test]
fn three_packets_later_is_lost_two_is_not() {
    let mut bench = Bench::new(8);
    for _ in 0..5 {
        bench.send(ms(0));
    }
    assert_eq!(bench.ack_and_lose(ms(50), &[2..=2]), (vec![2], vec![]));
    assert_eq!(bench.ack_and_lose(ms(50), &[3..=3]), (vec![3], vec![0]));
    assert_eq!(bench.flight.loss_time(), Deadline::at(Instant::from_micros(112_500)));
}

#[test]
fn nine_eighths_of_the_rtt_later_is_lost_a_microsecond_sooner_is_not() {
    let mut bench = Bench::new(8);
    bench.send(ms(0));
    bench.send(ms(10));
    bench.send(ms(10));
    assert_eq!(bench.ack_and_lose(Instant::from_micros(112_499), &[1..=1]), (vec![1], vec![]));
    assert_eq!(bench.flight.loss_time(), Deadline::at(Instant::from_micros(112_500)));
    let lost = bench.lose(Instant::from_micros(112_500));
    assert_eq!((lost.bytes, lost.newest), (1000, Some(ms(0))));
    assert_eq!(bench.drain(lost.packets), [0]);
    // What nothing overtook is never lost, however old.
    assert!(!bench.flight.loss_time().is_set());
    assert!(bench.lose(ms(1_000_000)).packets.is_empty());
    assert_eq!(bench.flight.last_ack_eliciting(), Some(ms(10)));
}

#[test]
fn samples_need_the_largest_newly_acked_and_something_ack_eliciting() {
    let padding = |packet: &mut Packet| {
        packet.kinds = Kinds::NONE.with(Kind::Padding);
        packet.ack_eliciting = false;
    };
    let mut bench = Bench::new(8);
    bench.send(ms(0));
    bench.send(ms(1));
    bench.send_with(ms(2), padding);
    bench.send_with(ms(3), padding);
    let lone = bench.ack(ms(60), &[3..=3]);
    assert_eq!((lone.sample, lone.ack_eliciting, lone.newest), (None, false, Some(ms(3))));
    // The largest is not newly acknowledged.
    assert_eq!(bench.ack(ms(61), &[3..=3, 1..=1]).sample, None);
    // The largest asks for nothing, but another newly acknowledged packet does.
    assert_eq!(bench.ack(ms(62), &[2..=2, 0..=0]).sample, Some(Span::from_millis(60)));
    assert_eq!(bench.ack(ms(63), &[0..=3]), Acked::NOTHING);
}

#[test]
fn an_ack_after_the_verdict_is_ignored() {
    let mut bench = Bench::new(8);
    for _ in 0..4 {
        bench.send(ms(0));
    }
    assert_eq!(bench.ack_and_lose(ms(50), &[3..=3]).1, [0]);
    assert_eq!(bench.ack(ms(51), &[3..=3, 0..=0]), Acked::NOTHING);
}

#[test]
fn marks_are_counted() {
    let mut bench = Bench::new(8);
    for nth in 0..4 {
        bench.send_with(ms(0), |packet| packet.ect0 = nth != 1);
    }
    assert_eq!(bench.ack(ms(1), &[3..=3]).ect0, 1);
    assert_eq!(bench.lose(ms(1)).ect0, 1);
    assert_eq!(bench.ack(ms(1), &[1..=2]).ect0, 1);
}

#[test]
fn persistent_congestion_as_in_the_example_of_rfc_9002_7_6_3() {
    // The example's PTO is 2 s: smoothed 0.66 s, variation 0.33 s with a first sample of 660 ms.
    let mut estimate = Rtt::default();
    let mut bench = Bench::new(16);
    for at in [0, 1000] {
        bench.send(ms(at));
    }
    let sample = bench.ack(ms(1200), &[0..=0]).sample.unwrap();
    assert_eq!(sample, Span::from_millis(1200));
    estimate.on_sample(ms(0), Span::from_millis(660), Span::ZERO, None);
    assert_eq!(estimate.persistent_congestion_period(Span::from_millis(20)), Span::from_secs(6));
    for at in [2000, 3000, 4000, 5000, 6000, 8000, 12_000] {
        bench.send(ms(at));
    }
    bench.ack(ms(12_200), &[8..=8]);
    let lost = bench.flight.detect_lost(&mut bench.rows, ms(12_200), &estimate, Span::from_millis(20));
    assert!(lost.persistent_congestion);
    assert_eq!(lost.newest, Some(ms(8000)));
    assert_eq!(bench.drain(lost.packets), (1..8).collect::<Vec<_>>());
}

#[test]
fn persistent_congestion_needs_a_run_without_acks_ack_eliciting_ends_and_a_sample_before() {
    let outcome = |change: &dyn Fn(&mut Packet), early: &[RangeInclusive<u64>], start: u64| {
        let mut bench = Bench::new(16);
        for nth in 0..6 {
            bench.send_with(ms(start + nth * 200), change);
        }
        bench.send(ms(1300));
        let acked = bench.ack(ms(1300), early).packets;
        bench.drain(acked);
        bench.ack(ms(1400), &[6..=6]);
        bench.lose(ms(1400)).persistent_congestion
    };
    let as_is = |_: &mut Packet| ();
    assert!(outcome(&as_is, &[], 1), "five intervals of 200 ms exceed 975 ms");
    assert!(!outcome(&as_is, &[2..=2], 1), "one in between arrived");
    assert!(outcome(&as_is, &[6..=6], 1), "one behind arrived");
    assert!(!outcome(&as_is, &[5..=5], 1), "the last arrived");
    assert!(!outcome(&as_is, &[], 0), "the first was sent when there was no RTT sample");
    assert!(!outcome(&|packet| packet.ack_eliciting = packet.pn != 5, &[], 1), "the end asks for nothing");
    assert!(
        outcome(&|packet| packet.ack_eliciting = packet.pn != 3, &[], 1),
        "the middle may ask for nothing"
    );
    assert!(!outcome(&|packet| packet.mtu_probe = packet.pn == 0, &[], 1), "an MTU probe says nothing");
}

#[test]
fn a_packet_that_leaves_for_a_probe_passes_on_what_was_acked_before_it() {
    let mut bench = Bench::new(4);
    bench.send_with(ms(1), |packet| packet.kinds = Kinds::NONE.with(Kind::Ping));
    for at in [100, 500, 1001] {
        bench.send(ms(at));
    }
    let acked = bench.ack(ms(1001), &[1..=1]).packets;
    let moved = bench.flight.repeat_oldest(&mut bench.rows, &mut bench.table).unwrap();
    assert_eq!(bench.drain(acked), [1]);
    bench.table.free(&mut bench.rows, moved);
    bench.send(ms(1002));
    bench.ack(ms(1200), &[4..=4]);
    let lost = bench.lose(ms(1200));
    assert!(!lost.persistent_congestion);
    assert_eq!(bench.drain(lost.packets), [0, 3]);
}

#[test]
fn a_packet_without_a_row_tells_of_what_went_before() {
    let mut bench = Bench::new(4);
    bench.send(ms(1));
    bench.send(ms(2));
    bench.flight.on_ack_only_sent(2);
    bench.next_pn = 3;
    assert_eq!(bench.ack_and_lose(ms(20), &[2..=2]), (vec![], vec![]));
    assert!(bench.flight.loss_time().is_set());
    bench.send(ms(21));
    bench.flight.on_ack_only_sent(4);
    bench.next_pn = 5;
    assert_eq!(bench.ack_and_lose(ms(22), &[4..=4]), (vec![], vec![0, 1]));
}

#[test]
fn the_oldest_packet_that_must_be_answered_is_no_mtu_probe() {
    let mut bench = Bench::new(4);
    assert_eq!(bench.flight.oldest(&bench.rows), None);
    bench.send_with(ms(1), |packet| packet.mtu_probe = true);
    assert_eq!(bench.flight.oldest(&bench.rows), None);
    bench.send(ms(2));
    bench.send(ms(3));
    assert_eq!(bench.flight.oldest(&bench.rows), Some(ms(2)));
    bench.ack(ms(9), &[0..=1]);
    assert_eq!(bench.flight.oldest(&bench.rows), Some(ms(3)));
}

#[test]
fn a_lost_mtu_probe_is_no_sign_of_congestion() {
    let mut bench = Bench::new(8);
    bench.send_with(ms(0), |packet| packet.mtu_probe = true);
    bench.send_many(3, ms(1));
    bench.ack(ms(50), &[1..=3]);
    let lost = bench.lose(ms(50));
    assert_eq!((lost.bytes, lost.newest), (1000, None));
}

#[test]
fn a_packet_on_another_route_overtakes_nothing() {
    let mut slow = Bench::new(8);
    slow.send_many(3, ms(0));
    let mut fast = Flight::new();
    let probe =
        Packet { pn: 3, size: 1200, kinds: STREAM, ack_eliciting: true, mtu_probe: false, ect0: false };
    fast.on_sent(&mut slow.rows, &mut slow.table, ms(0), Draft::new(), &probe).unwrap();
    slow.next_pn = 4;
    let ranges = AckedRanges::of(core::iter::once(3..=3));
    assert_eq!(slow.flight.on_ack(&mut slow.rows, ms(10), &ranges), Acked::NOTHING);
    assert_eq!(fast.on_ack(&mut slow.rows, ms(10), &ranges).sample, Some(Span::from_millis(10)));
    assert!(slow.lose(ms(500)).packets.is_empty());
    // Nor does an ACK for the fast route walk along the slow one: from its third row it would never return.
    slow.rows[2] = SentPacket { next: 2, ..SentPacket::EMPTY };
    let acked = slow.ack(ms(510), &[3..=3, 0..=0]).packets;
    assert_eq!(slow.drain(acked), [0]);
}

#[test]
fn chunks_come_back_with_their_packet_and_a_lost_row_travels_again() {
    let mut bench = Bench::new(4);
    let mut draft = Draft::new();
    let mut chunks = Chunks::EMPTY;
    for offset in [0, 500] {
        let handle = bench.table.take(&mut bench.rows).unwrap();
        let sent = Sent { carried: Carried::Data, owner: 9, offset, len: 500, fin: false };
        chunks.push(&mut bench.rows, handle, sent);
        draft.add(&mut bench.rows, handle);
    }
    let packet =
        Packet { pn: 0, size: 1100, kinds: STREAM, ack_eliciting: true, mtu_probe: false, ect0: false };
    bench.flight.on_sent(&mut bench.rows, &mut bench.table, ms(0), draft, &packet).unwrap();
    bench.next_pn = 3;
    bench.send(ms(1));
    let acked = bench.ack(ms(9), &[3..=3]).packets;
    bench.drain(acked);
    let mut lost = bench.lose(ms(9)).packets;
    let first = lost.pop(&mut bench.rows).unwrap();
    let second = take_rest(&mut bench.rows, first).unwrap();
    assert_eq!((lost, take_rest(&mut bench.rows, second)), (Chain::EMPTY, None));
    assert!(chunks.on_lost(&mut bench.rows, first), "the row is the stream's now");
    if !chunks.on_lost(&mut bench.rows, second) {
        bench.table.free(&mut bench.rows, second);
    }
    assert_eq!(bench.table.room(&bench.rows), 3, "one row remembers what two had carried");

    // Part of it is sent again, then the rest: the row itself becomes a packet's.
    for (pn, spare, len) in [(4, bench.table.take(&mut bench.rows), 700), (5, None, 300)] {
        let mut draft = Draft::new();
        let handle = chunks.resend(&mut bench.rows, spare, len).unwrap();
        draft.add(&mut bench.rows, handle);
        let packet = Packet { pn, ..packet };
        bench.flight.on_sent(&mut bench.rows, &mut bench.table, ms(9), draft, &packet).unwrap();
    }
    let mut acked = bench.ack(ms(20), &[4..=5]).packets;
    for (offset, len) in [(0, 700), (700, 300)] {
        let handle = acked.pop(&mut bench.rows).unwrap();
        let chunk = bench.rows[usize::from(handle)].chunk;
        assert_eq!((chunk.owner(), chunk.offset(), chunk.len()), (9, offset, len));
        chunks.on_acked(&mut bench.rows, handle);
        bench.table.free(&mut bench.rows, handle);
    }
    assert!(bench.flight.is_empty() && chunks.is_empty());
    assert_eq!(bench.table.room(&bench.rows), 4);
}

#[test]
fn a_probe_repeats_the_oldest_content_and_the_packet_stays_in_flight() {
    let mut bench = Bench::new(4);
    bench.send_with(ms(0), |packet| packet.kinds = Kinds::NONE.with(Kind::Ping).with(Kind::Padding));
    bench.send(ms(0));
    bench.send_with(ms(1), |packet| packet.kinds = Kinds::NONE.with(Kind::Crypto));
    let before = bench.flight.clone();
    let repeated = bench.flight.repeat_oldest(&mut bench.rows, &mut bench.table).unwrap();
    let row = bench.rows[usize::from(repeated)];
    assert_eq!((row.kinds, row.size), (STREAM, 0));
    assert_eq!((bench.flight.ack_eliciting, bench.table.room(&bench.rows)), (before.ack_eliciting, 0));

    // The table is full now: the next one leaves for good, with its bytes.
    let moved = bench.flight.repeat_oldest(&mut bench.rows, &mut bench.table).unwrap();
    assert_eq!(bench.rows[usize::from(moved)].size, 1000);
    assert_eq!(bench.flight.repeat_oldest(&mut bench.rows, &mut bench.table), None);
    let acked = bench.ack(ms(9), &[0..=2]);
    assert_eq!((acked.bytes, acked.sample), (2000, None));
    assert_eq!(bench.drain(acked.packets), [0, 1]);
    assert!(bench.flight.is_empty() && bench.flight.last_ack_eliciting().is_none());
}

#[test]
fn many_questions_take_one_row_and_the_last_of_them_counts() {
    const QUESTION: Kinds = Kinds::NONE.with(Kind::Ping).with(Kind::Padding);
    let mut bench = Bench::new(4);
    let question =
        |pn| Packet { pn, size: 40, kinds: QUESTION, ack_eliciting: true, mtu_probe: false, ect0: pn < 4 };
    bench.send(ms(0));
    assert!(!bench.flight.ends_in_question(&bench.rows));
    assert!(bench.flight.on_asked_again(&mut bench.rows, ms(1), &question(1)).is_none(), "that was data");
    bench.send_with(ms(1), |packet| *packet = question(1));
    for pn in 2..=9 {
        assert!(bench.flight.ends_in_question(&bench.rows));
        let before = bench.flight.on_asked_again(&mut bench.rows, ms(pn * 100), &question(pn)).unwrap();
        assert_eq!((u64::from(before.pn), before.size, before.is_ect0()), (pn - 1, 40, pn <= 4));
    }
    let data = Packet { kinds: STREAM, ..question(10) };
    assert!(bench.flight.on_asked_again(&mut bench.rows, ms(1000), &data).is_none());
    assert_eq!((bench.table.room(&bench.rows), bench.flight.last_ack_eliciting()), (2, Some(ms(900))));
    assert_eq!(bench.ack(ms(950), &[5..=5]).bytes, 0);
    let acked = bench.ack(ms(950), &[9..=9]);
    assert_eq!((acked.bytes, acked.ect0, acked.sample), (40, 0, Some(Span::from_millis(50))));
    assert_eq!(bench.drain(acked.packets), [9]);
    // A probe for a larger MTU is no question, though it looks like one, and stays until it is acknowledged or lost.
    bench.next_pn = 10;
    bench.send_with(ms(1000), |packet| (packet.kinds, packet.mtu_probe) = (QUESTION, true));
    assert!(!bench.flight.ends_in_question(&bench.rows));
    let rest = bench.ack(ms(1001), &[0..=0]);
    bench.drain(rest.packets);
    assert_eq!(bench.flight.drop_oldest(&mut bench.rows), None);
}

#[test]
fn what_was_repeated_gives_its_row_and_what_was_not_keeps_it() {
    let mut bench = Bench::new(3);
    bench.send_many(2, ms(0));
    assert_eq!(bench.flight.drop_oldest(&mut bench.rows), None);
    bench.flight.repeat_oldest(&mut bench.rows, &mut bench.table).unwrap();
    let dropped = bench.flight.drop_oldest(&mut bench.rows).unwrap();
    assert_eq!(bench.rows[usize::from(dropped)].size, 1000);
    assert_eq!(bench.flight.drop_oldest(&mut bench.rows), None);
    assert_eq!(bench.drain(bench.flight.packets), [1]);
}

#[test]
fn a_padded_acknowledgment_gives_its_row() {
    let mut bench = Bench::new(2);
    let padded = Kinds::NONE.with(Kind::Ack).with(Kind::Padding);
    bench.send_with(ms(0), |packet| (packet.kinds, packet.ack_eliciting) = (padded, false));
    assert!(bench.flight.drop_oldest(&mut bench.rows).is_some() && bench.flight.is_empty());
}

#[test]
fn a_question_behind_a_probe_for_a_larger_mtu_gives_its_row() {
    let mut bench = Bench::new(3);
    let ping = Kinds::NONE.with(Kind::Ping);
    bench.send_with(ms(0), |packet| (packet.kinds, packet.mtu_probe) = (ping, true));
    bench.send_with(ms(1), |packet| packet.kinds = ping);
    bench.send_with(ms(2), |packet| packet.kinds = ping);
    let dropped = bench.flight.drop_oldest(&mut bench.rows).unwrap();
    assert_eq!(bench.rows[usize::from(dropped)].pn, 1);
    assert_eq!(bench.drain(bench.flight.packets), [0, 2]);
}

#[test]
fn discarded_keys_take_everything() {
    let mut bench = Bench::new(8);
    bench.send_many(5, ms(0));
    bench.ack(ms(1), &[4..=4]);
    bench.lose(ms(1));
    let taken = bench.flight.take_all();
    assert_eq!(bench.drain(taken), [2, 3]);
    assert!(bench.flight.is_empty() && !bench.flight.loss_time().is_set());
    assert_eq!(bench.flight.last_ack_eliciting(), None);
}

#[test]
fn an_ack_looks_at_few_rows_of_a_long_flight() {
    let mut bench = Bench::new(1000);
    bench.send_many(1000, ms(0));
    // Packets 0 and 1 are missing for good; every ACK acknowledges two more. Rows that must not be looked at claim to
    // be what the ACK acknowledges, in a circle: looking at them would show, or never end.
    let mut missing = vec![0, 1];
    for newest in (3..999).step_by(2) {
        let decoy = SentPacket { pn: newest as u32, next: newest as u16 + 3, ..SentPacket::EMPTY };
        let kept: Vec<_> = bench.rows.clone();
        for row in bench.rows.iter_mut().skip(newest as usize + 2) {
            *row = SentPacket { next: decoy.next.min(999), ..decoy };
        }
        let (acked, lost) = bench.ack_and_lose(ms(50), &[2..=newest]);
        assert_eq!(acked, [newest - 1, newest]);
        missing.retain(|pn| !lost.contains(pn));
        for (row, kept) in bench.rows.iter_mut().zip(&kept).skip(newest as usize + 2) {
            *row = *kept;
        }
    }
    assert!(missing.is_empty());
    assert_eq!(bench.ack_and_lose(ms(51), &[2..=999]).0, [998, 999]);
}

/// The rules of RFC 9002 said once more, with collections and no care for work.
#[derive(Default)]
struct Model {
    sent: BTreeMap<u64, (Instant, u16)>,
    largest_acked: Option<u64>,
}

impl Model {
    fn ack(&mut self, ranges: &[RangeInclusive<u64>]) -> Vec<u64> {
        let acked: Vec<u64> =
            self.sent.keys().copied().filter(|pn| ranges.iter().any(|range| range.contains(pn))).collect();
        for pn in &acked {
            self.sent.remove(pn);
        }
        self.largest_acked = self.largest_acked.max(acked.last().copied());
        acked
    }

    fn lose(&mut self, now: Instant) -> Vec<u64> {
        let Some(largest) = self.largest_acked else { return Vec::new() };
        let delay = rtt().loss_delay();
        let lost: Vec<u64> = self
            .sent
            .iter()
            .filter(|(pn, (sent, _))| **pn < largest && (largest >= **pn + 3 || now.since(*sent) >= delay))
            .map(|(pn, _)| *pn)
            .collect();
        for pn in &lost {
            self.sent.remove(pn);
        }
        lost
    }
}

#[test]
fn agrees_with_the_model_whatever_is_sent_acked_and_lost() {
    let mut random = Random::new(11);
    for len in (1..60).chain([400]) {
        let (mut bench, mut model) = (Bench::new(len), Model::default());
        // Numbers cross the end of their low half.
        bench.next_pn = (1 << 32) - 30;
        let mut now = ms(0);
        for _ in 0..300 {
            now = now.after(Span::from_micros(random.below(30_000) as u64));
            for _ in 0..random.below(5) {
                if bench.table.room(&bench.rows) == 0 {
                    break;
                }
                let size = 40 + random.below(1400) as u16;
                let pn = bench.send_with(now, |packet| packet.size = size);
                model.sent.insert(pn, (now, size));
                bench.next_pn += random.below(20) as u64 / 19;
            }
            let mut top = bench.next_pn - 1;
            let mut ranges = Vec::new();
            for _ in 0..random.below(4) {
                let high = top.saturating_sub(random.below(6) as u64);
                let low = high.saturating_sub(random.below(8) as u64);
                ranges.push(low..=high);
                top = low - 2;
            }
            let before: u32 = model.sent.values().map(|(_, size)| u32::from(*size)).sum();
            let acked = bench.ack(now, &ranges);
            let lost = bench.lose(now);
            let sizes = (acked.bytes, lost.bytes);
            assert_eq!(bench.drain(acked.packets), model.ack(&ranges));
            assert_eq!(bench.drain(lost.packets), model.lose(now));
            let after: u32 = model.sent.values().map(|(_, size)| u32::from(*size)).sum();
            assert_eq!(before, after + sizes.0 + sizes.1);
            assert_eq!(bench.table.room(&bench.rows), len - model.sent.len());
            let oldest = model.sent.iter().next().filter(|(pn, _)| Some(**pn) < model.largest_acked);
            let due = oldest.map(|(_, (sent, _))| sent.after(rtt().loss_delay()));
            assert_eq!(bench.flight.loss_time().instant(), due);
        }
    }
}
