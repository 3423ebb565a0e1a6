//! HyStart++ (RFC 9406): leaves slow start when the RTT grows, before packets are lost.
//!
//! A round ends with the acknowledgment of a packet sent in it. When the least RTT of a round lies clearly above that of the
//! round before, slow start goes on at a quarter of its pace for up to five rounds; if the RTT falls again, the
//! suspicion was wrong. As the sender paces, growth per ACK has no limit of its own (RFC 9406 4.3).

use crate::time::{Instant, Span};

/// The window grows by this part of the bytes acknowledged in a conservative round.
pub(super) const GROWTH_DIVISOR: u32 = 4;
/// Samples of a round before it is judged.
const SAMPLES: u8 = 8;
/// Conservative rounds before slow start ends.
const ROUNDS: u8 = 5;
/// Bounds of the rise in RTT that is suspicious, in microseconds; between them an eighth of the RTT is.
const RISE: (u32, u32) = (4_000, 16_000);

/// How the window should grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// By the bytes acknowledged.
    Double,
    /// By a part of them.
    Slower,
    /// No longer by slow start.
    Leave,
}

/// What HyStart++ remembers. RTTs in microseconds, [`u32::MAX`] without a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HyStart {
    /// The current round is that of packets sent from here on.
    round_from: Instant,
    last_round: u32,
    this_round: u32,
    /// The RTT that made it suspicious; [`u32::MAX`] while it is not.
    suspicious_at: u32,
    samples: u8,
    conservative_rounds: u8,
}

impl HyStart {
    /// Zeros, of memory that no connection has used yet.
    pub(super) const BLANK: Self = Self { last_round: 0, this_round: 0, suspicious_at: 0, ..Self::new() };

    pub(super) const fn new() -> Self {
        Self {
            round_from: Instant::ZERO,
            last_round: u32::MAX,
            this_round: u32::MAX,
            suspicious_at: u32::MAX,
            samples: 0,
            conservative_rounds: 0,
        }
    }

    /// Packets up to one sent at `newest` were acknowledged.
    pub(super) fn on_acked(&mut self, now: Instant, newest: Instant, sample: Option<Span>) -> Advice {
        if newest >= self.round_from {
            self.begin_round(now);
        }
        if let Some(sample) = sample {
            self.samples = self.samples.saturating_add(1);
            self.this_round = self.this_round.min(sample.short_micros());
            if self.samples >= SAMPLES {
                self.judge();
            }
        }
        if self.suspicious_at == u32::MAX {
            Advice::Double
        } else if self.conservative_rounds < ROUNDS {
            Advice::Slower
        } else {
            Advice::Leave
        }
    }

    fn begin_round(&mut self, now: Instant) {
        self.round_from = now;
        self.last_round = self.this_round;
        self.this_round = u32::MAX;
        self.samples = 0;
        if self.suspicious_at != u32::MAX {
            self.conservative_rounds = self.conservative_rounds.saturating_add(1);
        }
    }

    fn judge(&mut self) {
        if self.this_round < self.suspicious_at && self.suspicious_at != u32::MAX {
            self.suspicious_at = u32::MAX;
            self.conservative_rounds = 0;
        } else if self.suspicious_at == u32::MAX && self.last_round != u32::MAX {
            let rise = (self.last_round / 8).clamp(RISE.0, RISE.1);
            if self.this_round >= self.last_round.saturating_add(rise) {
                self.suspicious_at = self.this_round;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds rounds of ten samples each of these milliseconds; the advice at the end of each.
    fn rounds(rtts: &[u64]) -> std::vec::Vec<Advice> {
        let (mut start, mut now) = (HyStart::new(), Instant::from_micros(1));
        let advise = |rtt: &u64| {
            let sent = now;
            let sample = Span::from_millis(*rtt);
            now = now.after(sample);
            (0..10).map(|_| start.on_acked(now, sent, Some(sample))).last().unwrap()
        };
        rtts.iter().map(advise).collect()
    }

    #[test]
    fn steady_and_falling_rtts_double() {
        assert!(rounds(&[100, 100, 105, 111, 90, 50, 3]).iter().all(|advice| *advice == Advice::Double));
    }

    #[test]
    fn a_rise_by_an_eighth_slows_and_five_rounds_end_it() {
        let advice = rounds(&[100, 113, 120, 130, 140, 150, 160]);
        assert_eq!(advice[0], Advice::Double);
        assert!(advice[1..6].iter().all(|advice| *advice == Advice::Slower));
        assert_eq!(advice[6], Advice::Leave);
    }

    #[test]
    fn the_rise_has_bounds() {
        assert_eq!(rounds(&[8, 11])[1], Advice::Double);
        assert_eq!(rounds(&[8, 12])[1], Advice::Slower);
        assert_eq!(rounds(&[800, 815])[1], Advice::Double);
        assert_eq!(rounds(&[800, 816])[1], Advice::Slower);
    }

    #[test]
    fn a_false_alarm_is_taken_back() {
        let advice = rounds(&[100, 120, 119, 119, 119, 119]);
        assert_eq!(
            &advice[1..],
            [Advice::Slower, Advice::Double, Advice::Double, Advice::Double, Advice::Double]
        );
    }

    #[test]
    fn few_samples_are_not_judged() {
        let mut start = HyStart::new();
        for (nth, rtt) in (1..).zip([100, 200, 300, 400]) {
            let now = Instant::from_micros(nth * 1_000_000);
            for _ in 0..7 {
                assert_eq!(start.on_acked(now, now, Some(Span::from_millis(rtt))), Advice::Double);
            }
        }
    }
}
