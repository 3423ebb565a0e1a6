//! Spreads the packets of a window over the round trip (RFC 9002 7.7): a token bucket.
//!
//! The credit is kept in bytes times microseconds of smoothed RTT, so that filling it takes a multiplication and
//! loses nothing to rounding; when the RTT estimate changes, the credit shrinks or grows with it, which is harmless. The bucket holds
//! ten datagrams, or what two milliseconds let through if that is more: then a sender that wakes every millisecond
//! still uses the whole rate, and a fast one hands over a large batch each time instead of setting a timer per packet.
//!
//! Not here: the rate ([`Controller::per_rtt`](super::Controller::per_rtt)). Packets with nothing but ACK frames, and
//! probes, are not to be asked for; probes are to be told of.

use crate::limits::GRANULARITY;
use crate::time::{Instant, Span};

/// Datagrams that may always follow each other at once: the initial window (RFC 9002 7.7).
const BURST_DATAGRAMS: u64 = 10;
/// Microseconds for which the bucket collects credit: twice the granularity of timers, for they are late.
const BURST_MICROS: u64 = 2_000;

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes per smoothed RTT.
    pub per_rtt: u64,
    /// The smoothed RTT.
    pub rtt: Span,
    /// Bytes of a full datagram.
    pub datagram: u16,
}

impl Pace {
    fn rtt_micros(&self) -> u64 {
        self.rtt.as_micros().max(1)
    }
}

/// What the pacer lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// So many bytes may go now, a full datagram at least.
    Bytes(u64),
    /// Nothing before then.
    Until(Instant),
}

/// The token bucket of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacer {
    /// Bytes times microseconds of smoothed RTT.
    credit: u64,
    filled: Instant,
}

impl Pacer {
    /// A full bucket.
    pub const fn new() -> Self {
        Self { credit: u64::MAX, filled: Instant::ZERO }
    }

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self { credit: 0, filled: Instant::ZERO };

    /// A bucket of one datagram: on a route that follows another one, the first window is spread over the round trip, so that
    /// whoever waits for the data is not left without for most of it.
    pub fn beginning(now: Instant, pace: &Pace) -> Self {
        Self { credit: pace.rtt_micros().saturating_mul(pace.datagram.into()), filled: now }
    }

    /// How many bytes may go now, or when to ask again.
    pub fn budget(&mut self, now: Instant, pace: &Pace) -> Budget {
        let rtt = pace.rtt_micros();
        self.fill(now, pace, rtt);
        let datagram = rtt.saturating_mul(pace.datagram.into());
        let Some(missing) = datagram.checked_sub(self.credit).filter(|missing| *missing > 0) else {
            return Budget::Bytes(self.credit.checked_div(rtt).unwrap_or(0));
        };
        let wait = Span::from_micros(missing.div_ceil(pace.per_rtt.max(1)));
        Budget::Until(now.after(wait.max(GRANULARITY)))
    }

    /// A packet, or a batch, of `bytes` was sent.
    pub fn on_sent(&mut self, bytes: u64, pace: &Pace) {
        self.credit = self.credit.saturating_sub(bytes.saturating_mul(pace.rtt_micros()));
    }

    fn fill(&mut self, now: Instant, pace: &Pace, rtt: u64) {
        let elapsed = now.since(self.filled).as_micros();
        self.filled = now;
        let burst = BURST_DATAGRAMS.saturating_mul(pace.datagram.into()).saturating_mul(rtt);
        let largest = burst.max(pace.per_rtt.saturating_mul(rtt.min(BURST_MICROS)));
        self.credit = self.credit.saturating_add(elapsed.saturating_mul(pace.per_rtt)).min(largest);
    }
}

impl Default for Pacer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(per_rtt: u64, rtt_micros: u64) -> Pace {
        Pace { per_rtt, rtt: Span::from_micros(rtt_micros), datagram: 1200 }
    }

    /// Sends all that is let through for `millis`; the bytes sent and how often it waited.
    fn run(pace: &Pace, millis: u64, late_micros: u64) -> (u64, u64) {
        let (mut pacer, mut now, mut sent, mut waits) = (Pacer::new(), Instant::from_micros(77), 0, 0);
        pacer.budget(now, pace);
        pacer.credit = 0;
        let end = now.after(Span::from_millis(millis));
        while now < end {
            match pacer.budget(now, pace) {
                Budget::Bytes(bytes) => {
                    let batch = bytes.min(65_536) / 1200 * 1200;
                    assert!(batch > 0);
                    pacer.on_sent(batch, pace);
                    sent += batch;
                }
                Budget::Until(then) => {
                    assert!(then > now);
                    now = then.after(Span::from_micros(late_micros));
                    waits += 1;
                }
            }
        }
        (sent, waits)
    }

    #[test]
    fn the_rate_is_held_even_by_a_late_sender() {
        // From 12 kB/s to 5 GB/s, none of them a whole number of bytes per microsecond.
        for (per_rtt, rtt) in [(12_000, 999_999), (15_000, 33_333), (700_001, 50_021), (50_000_000, 10_007)] {
            for late in [0, 900] {
                let (sent, _) = run(&pace(per_rtt, rtt), 5_000, late);
                let ideal = u128::from(per_rtt) * 5_000_000 / u128::from(rtt);
                let error = u128::from(sent).abs_diff(ideal) * 1000 / ideal;
                assert!(error <= 30, "{per_rtt} per {rtt}: {sent} for {ideal}");
            }
        }
    }

    #[test]
    fn fast_senders_wait_once_a_millisecond_not_per_packet() {
        let (sent, waits) = run(&pace(12_500_000, 10_000), 1000, 0);
        assert!(waits <= 1001 && sent > 1_240_000_000, "{waits} waits, {sent} bytes");
    }

    #[test]
    fn ten_datagrams_go_at_once_after_any_pause_and_no_more() {
        let slow = pace(12_000, 333_000);
        let mut pacer = Pacer::new();
        for now in [0, 5_000_000, 900_000_000] {
            assert_eq!(pacer.budget(Instant::from_micros(now), &slow), Budget::Bytes(12_000));
            pacer.on_sent(12_000, &slow);
            // A datagram takes a tenth of the RTT.
            let next = Instant::from_micros(now + 33_300);
            assert_eq!(pacer.budget(Instant::from_micros(now), &slow), Budget::Until(next));
            assert_eq!(pacer.budget(next, &slow), Budget::Bytes(1200));
        }
    }

    #[test]
    fn a_first_rtt_sample_does_not_open_the_flood_gate() {
        let mut pacer = Pacer::new();
        pacer.budget(Instant::ZERO, &pace(24_000, 333_000));
        assert_eq!(pacer.budget(Instant::ZERO, &pace(24_000, 20_000)), Budget::Bytes(12_000));
    }

    #[test]
    fn extremes_saturate() {
        let mut pacer = Pacer::new();
        let absurd = Pace { per_rtt: u64::MAX, rtt: Span::MAX, datagram: u16::MAX };
        assert!(matches!(pacer.budget(Instant::from_micros(u64::MAX), &absurd), Budget::Bytes(_)));
        pacer.on_sent(u64::MAX, &absurd);
        let nothing = Pace { per_rtt: 0, rtt: Span::ZERO, datagram: 1200 };
        pacer.on_sent(u64::MAX, &nothing);
        assert!(matches!(pacer.budget(Instant::from_micros(u64::MAX), &nothing), Budget::Until(_)));
    }
}
