//! Round-trip time of a route (RFC 9002 5).
//!
//! Starts from an assumed RTT; the first sample replaces it. Does not decide which ACK yields a sample: that is
//! [`Flight::on_ack`](super::Flight::on_ack).

use crate::limits::{GRANULARITY, INITIAL_RTT, PERSISTENT_CONGESTION_THRESHOLD};
use crate::time::{Deadline, Instant, Span};

/// The estimate for one route. Holds microseconds; an RTT above 71 minutes counts as 71 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    latest: u32,
    smoothed: u32,
    variation: u32,
    min: u32,
    first_sample: Deadline,
}

impl Rtt {
    /// No sample yet; `initial` is assumed (RFC 9002 6.2.2).
    pub const fn new(initial: Span) -> Self {
        let smoothed = initial.short_micros();
        Self { latest: 0, smoothed, variation: smoothed / 2, min: 0, first_sample: Deadline::NEVER }
    }

    /// The newest sample; zero before the first.
    pub const fn latest(&self) -> Span {
        long(self.latest)
    }

    /// The smoothed RTT, or the assumed one.
    pub const fn smoothed(&self) -> Span {
        long(self.smoothed)
    }

    /// The mean deviation of the samples.
    pub const fn variation(&self) -> Span {
        long(self.variation)
    }

    /// The least sample; zero before the first.
    pub const fn min(&self) -> Span {
        long(self.min)
    }

    /// When the first sample came, if one did.
    pub const fn first_sample(&self) -> Option<Instant> {
        self.first_sample.instant()
    }

    /// The next sample is the least: acknowledgments come another way from now on (draft-ietf-quic-multipath-21 5.4).
    pub const fn forget_min(&mut self) {
        self.min = u32::MAX;
    }

    /// Takes a sample (RFC 9002 5.3): the peer held the acknowledgment back for `ack_delay`, of which no more than
    /// `max_ack_delay` is believed once the handshake is confirmed; `None` before that.
    pub fn on_sample(&mut self, now: Instant, sample: Span, ack_delay: Span, max_ack_delay: Option<Span>) {
        let sample = sample.short_micros();
        self.latest = sample;
        if !self.first_sample.is_set() {
            self.first_sample = Deadline::at(now);
            self.min = sample;
            self.smoothed = sample;
            self.variation = sample / 2;
            return;
        }
        self.min = self.min.min(sample);
        let ack_delay = max_ack_delay.map_or(ack_delay, |max| ack_delay.min(max)).short_micros();
        // A delay that would take the sample below what was ever seen is not believed at all.
        let adjusted = sample.checked_sub(ack_delay).filter(|rest| *rest >= self.min).unwrap_or(sample);
        self.variation = weighted(self.variation, self.smoothed.abs_diff(adjusted), 4);
        self.smoothed = weighted(self.smoothed, adjusted, 8);
    }

    /// Lets the past go after persistent congestion (RFC 9002 5.2): the least RTT begins anew at the newest.
    pub fn on_persistent_congestion(&mut self) {
        self.min = self.latest;
    }

    /// The probe timeout before backoff and without the peer's ACK delay (RFC 9002 6.2.1).
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn pto_base(&self) -> Span {
        let spread = u64::from(self.variation).saturating_mul(4).max(GRANULARITY.as_micros());
        Span::from_micros(u64::from(self.smoothed).saturating_add(spread))
    }

    /// How long after a packet was sent it is lost, if a later one was acknowledged (RFC 9002 6.1.2).
    pub fn loss_delay(&self) -> Span {
        let rtt = u64::from(self.smoothed.max(self.latest));
        Span::from_micros(rtt.saturating_add(rtt / 8)).max(GRANULARITY)
    }

    /// The time over which everything must be lost for persistent congestion (RFC 9002 7.6.1).
    pub fn persistent_congestion_period(&self, max_ack_delay: Span) -> Span {
        self.pto_base().saturating_add(max_ack_delay).saturating_mul(PERSISTENT_CONGESTION_THRESHOLD)
    }
}

impl Default for Rtt {
    fn default() -> Self {
        Self::new(INITIAL_RTT)
    }
}

const fn long(micros: u32) -> Span {
    Span::from_micros(micros as u64)
}

/// The mean of `old` and `new`, in which `new` has the weight `1 / parts`.
fn weighted(old: u32, new: u32, parts: u32) -> u32 {
    let sum = u64::from(old)
        .saturating_mul(u64::from(parts.saturating_sub(1)))
        .saturating_add(u64::from(new))
        .checked_div(u64::from(parts));
    sum.and_then(|mean| u32::try_from(mean).ok()).unwrap_or(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Span {
        Span::from_millis(millis)
    }

    fn sampled(samples: &[(u64, u64)]) -> Rtt {
        let mut rtt = Rtt::default();
        for (sample, delay) in samples {
            rtt.on_sample(Instant::from_micros(5), ms(*sample), ms(*delay), Some(ms(25)));
        }
        rtt
    }

    #[test]
    fn starts_with_a_probe_timeout_of_a_second() {
        assert_eq!(Rtt::default().pto_base(), Span::from_micros(333_000 + 4 * 166_500));
        assert_eq!(Rtt::default().first_sample(), None);
    }

    #[test]
    fn first_sample_replaces_everything_and_ignores_the_delay() {
        let rtt = sampled(&[(100, 20)]);
        assert_eq!((rtt.smoothed(), rtt.variation(), rtt.min()), (ms(100), ms(50), ms(100)));
        assert_eq!(rtt.first_sample(), Some(Instant::from_micros(5)));
    }

    #[test]
    fn delay_is_subtracted_only_down_to_the_minimum() {
        // 140 - 20 = 120: smoothed 7/8 * 100 + 1/8 * 120, variation 3/4 * 50 + 1/4 * 20.
        let rtt = sampled(&[(100, 0), (140, 20)]);
        assert_eq!(
            (rtt.smoothed(), rtt.variation()),
            (Span::from_micros(102_500), Span::from_micros(42_500))
        );
        // 110 - 20 would lie below the minimum.
        assert_eq!(sampled(&[(100, 0), (110, 20)]).smoothed(), Span::from_micros(101_250));
        // Exactly the minimum is fine.
        assert_eq!(sampled(&[(100, 0), (120, 20)]).smoothed(), ms(100));
    }

    #[test]
    fn a_confirmed_handshake_caps_the_delay() {
        let capped = sampled(&[(100, 0), (180, 70)]);
        assert_eq!(capped.smoothed(), Span::from_micros((7 * 100_000 + 155_000) / 8));
        let mut free = sampled(&[(100, 0)]);
        free.on_sample(Instant::ZERO, ms(180), ms(70), None);
        assert_eq!(free.smoothed(), Span::from_micros((7 * 100_000 + 110_000) / 8));
    }

    #[test]
    fn minimum_follows_at_once_downwards_and_after_persistent_congestion_upwards() {
        let mut rtt = sampled(&[(100, 0), (80, 0), (300, 0)]);
        assert_eq!(rtt.min(), ms(80));
        rtt.on_persistent_congestion();
        assert_eq!(rtt.min(), ms(300));
    }

    #[test]
    fn thresholds_have_a_floor_and_use_the_larger_rtt() {
        let mut quick = Rtt::default();
        quick.on_sample(Instant::ZERO, Span::from_micros(40), Span::ZERO, None);
        assert_eq!(quick.loss_delay(), GRANULARITY);
        assert_eq!(quick.pto_base(), Span::from_micros(1_040));
        assert_eq!(sampled(&[(80, 0), (160, 0)]).loss_delay(), ms(180));
        assert_eq!(sampled(&[(80, 0), (40, 0)]).loss_delay(), Span::from_micros(75_000 * 9 / 8));
    }

    #[test]
    fn absurd_values_saturate() {
        let mut rtt = Rtt::new(Span::MAX);
        for _ in 0..3 {
            rtt.on_sample(Instant::ZERO, Span::MAX, Span::MAX, None);
        }
        assert_eq!(rtt.smoothed(), Span::from_micros(u32::MAX.into()));
        assert!(rtt.persistent_congestion_period(Span::MAX) > rtt.pto_base());
    }
}
