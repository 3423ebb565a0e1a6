//! NewReno's congestion avoidance (RFC 9002 7.3.3): one datagram more per window acknowledged, half of it after a loss. Beside
//! other routes it may be less than one, or one fewer ([`Coupling`]).

use super::coupled::Coupling;

/// What NewReno remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewReno {
    /// What was acknowledged since the window last changed, as the coupling counts it.
    credit: i64,
    loss_free: LossFree,
}

impl NewReno {
    /// `acked`: bytes acknowledged before, none having been lost.
    pub(super) const fn new(acked: u32) -> Self {
        Self { credit: 0, loss_free: LossFree { last: 0, current: acked } }
    }

    /// The window after `bytes` more were acknowledged.
    pub(super) fn grow(&mut self, window: u32, bytes: u32, mtu: u32, coupling: Coupling) -> u32 {
        let whole = Coupling::ALONE.of(window);
        let credit = self.credit.saturating_add(coupling.of(bytes));
        let (spent, window) = if credit >= whole {
            (whole, window.saturating_add(mtu))
        } else if credit <= whole.saturating_neg() {
            (whole.saturating_neg(), window.saturating_sub(mtu))
        } else {
            (0, window)
        };
        // More than a window at once makes it change once: it was not in flight.
        self.credit = credit.saturating_sub(spent).clamp(whole.saturating_neg(), whole);
        window
    }

    /// The window after a sign of congestion.
    pub(super) fn on_congestion(&mut self, window: u32) -> u32 {
        *self = Self { credit: 0, loss_free: LossFree { last: self.loss_free.current, current: 0 } };
        window / 2
    }

    /// Bytes were acknowledged, whether the window may grow by them or not.
    pub(super) fn on_acked(&mut self, bytes: u32) {
        self.loss_free.current = self.loss_free.current.saturating_add(bytes);
    }

    /// Bytes acknowledged since the last loss, or between the last two if those are more.
    pub(super) fn loss_free(&self) -> u32 {
        self.loss_free.last.max(self.loss_free.current)
    }
}

/// Bytes acknowledged without a loss: what OLIA judges a route by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LossFree {
    /// Between the last two losses.
    last: u32,
    /// Since the last one.
    current: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_per_window_however_it_is_acknowledged() {
        let mut reno = NewReno::new(0);
        assert_eq!(reno.grow(10_000, 9_999, 1200, Coupling::ALONE), 10_000);
        assert_eq!(reno.grow(10_000, 1, 1200, Coupling::ALONE), 11_200);
        assert_eq!(reno.grow(11_200, 30_000, 1200, Coupling::ALONE), 12_400);
        assert_eq!(reno.grow(u32::MAX, u32::MAX, 1200, Coupling::ALONE), u32::MAX);
    }

    #[test]
    fn what_was_acknowledged_before_a_loss_does_not_count_after_it() {
        let mut reno = NewReno::new(0);
        reno.grow(10_000, 9_000, 1200, Coupling::ALONE);
        assert_eq!(reno.on_congestion(10_000), 5_000);
        assert_eq!(reno.grow(5_000, 4_999, 1200, Coupling::ALONE), 5_000);
    }

    #[test]
    fn a_coupled_window_grows_by_a_part_to_the_byte() {
        let mut reno = NewReno::new(0);
        // A third of what is acknowledged counts: 30,000 bytes, and one more for what the fraction lacks.
        let third = Coupling::part(1, 3);
        assert!((0..300).all(|_| reno.grow(10_000, 100, 1200, third) == 10_000));
        assert_eq!(reno.grow(10_000, 1, 1200, third), 11_200);
    }

    #[test]
    fn a_window_that_traffic_moves_away_from_shrinks() {
        let mut reno = NewReno::new(0);
        let away = Coupling::part(-1, 2);
        assert_eq!(reno.grow(10_000, 19_999, 1200, away), 10_000);
        assert_eq!(reno.grow(10_000, 1, 1200, away), 8_800);
        assert_eq!(reno.grow(1_000, u32::MAX, 1200, away), 0);
        // What was given up has to be earned again.
        assert_eq!(reno.grow(10_000, 5_000, 1200, away), 10_000);
        assert_eq!(reno.grow(10_000, 10_999, 1200, Coupling::ALONE), 10_000);
        assert_eq!(reno.grow(10_000, 3_000, 1200, Coupling::ALONE), 11_200);
    }

    #[test]
    fn the_longer_of_the_last_two_times_without_a_loss_counts() {
        let mut reno = NewReno::new(700);
        reno.on_acked(300);
        assert_eq!(reno.loss_free(), 1000);
        reno.on_congestion(10_000);
        reno.on_acked(999);
        assert_eq!(reno.loss_free(), 1000);
        reno.on_acked(2);
        assert_eq!(reno.loss_free(), 1001);
        reno.on_congestion(10_000);
        reno.on_congestion(10_000);
        assert_eq!(reno.loss_free(), 0);
        reno.on_acked(u32::MAX);
        reno.on_acked(u32::MAX);
        assert_eq!(reno.loss_free(), u32::MAX);
    }
}
