//! NewReno's congestion avoidance (RFC 9002 7.3.3): one datagram more per window acknowledged, half of it after a loss. Beside
//! other routes only a part of what is acknowledged counts.

use super::coupled::Part;

/// What NewReno remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewReno {
    /// Bytes acknowledged since the window last changed, of those that count.
    acked: u32,
    /// What counts of a byte beside that.
    carry: u32,
    /// Bytes acknowledged beside other routes: between the last two losses, and since.
    loss_free: (u32, u32),
}

impl NewReno {
    pub(super) const fn new() -> Self {
        Self { acked: 0, carry: 0, loss_free: (0, 0) }
    }

    /// The window after `bytes` more were acknowledged.
    pub(super) fn grow(&mut self, window: u32, bytes: u32, mtu: u32) -> u32 {
        self.acked = self.acked.saturating_add(bytes);
        match self.acked.checked_sub(window) {
            Some(rest) => {
                // More than a window at once makes it grow once: it was not in flight.
                self.acked = rest.min(window);
                window.saturating_add(mtu)
            }
            None => window,
        }
    }

    /// The same beside other routes. When less than nothing counts, a datagram is given back.
    pub(super) fn grow_beside(&mut self, window: u32, bytes: u32, mtu: u32, part: Part) -> u32 {
        let credit = part.of(bytes, &mut self.carry).saturating_add(self.acked.into());
        if credit < 0 {
            let smaller = window.saturating_sub(mtu);
            self.acked = u32::try_from(credit.saturating_add(smaller.into())).unwrap_or(0);
            return smaller;
        }
        self.acked = 0;
        self.grow(window, u32::try_from(credit).unwrap_or(u32::MAX), mtu)
    }

    /// The window after a sign of congestion.
    pub(super) fn on_congestion(&mut self, window: u32) -> u32 {
        self.acked = 0;
        self.loss_free = (self.loss_free.1, 0);
        window / 2
    }

    /// Bytes were acknowledged beside other routes, whether or not the window may grow by them.
    pub(super) fn on_acked_beside(&mut self, bytes: u32) {
        self.loss_free.1 = self.loss_free.1.saturating_add(bytes);
    }

    /// Bytes acknowledged since the last loss, or between the last two if those are more.
    pub(super) fn loss_free(&self) -> u32 {
        self.loss_free.0.max(self.loss_free.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_per_window_however_it_is_acknowledged() {
        let mut reno = NewReno::new();
        assert_eq!(reno.grow(10_000, 9_999, 1200), 10_000);
        assert_eq!(reno.grow(10_000, 1, 1200), 11_200);
        assert_eq!(reno.grow(11_200, 30_000, 1200), 12_400);
        assert_eq!(reno.grow(u32::MAX, u32::MAX, 1200), u32::MAX);
    }

    #[test]
    fn what_was_acknowledged_before_a_loss_does_not_count_after_it() {
        let mut reno = NewReno::new();
        reno.grow(10_000, 9_000, 1200);
        assert_eq!(reno.on_congestion(10_000), 5_000);
        assert_eq!(reno.grow(5_000, 4_999, 1200), 5_000);
    }

    #[test]
    fn beside_others_a_part_counts_to_the_byte() {
        let mut reno = NewReno::new();
        // A third of 30,000 bytes, and of three more for what the fraction lacks.
        let third = Part::new(1, 3);
        assert!((0..300).all(|_| reno.grow_beside(10_000, 100, 1200, third) == 10_000));
        assert_eq!(reno.grow_beside(10_000, 3, 1200, third), 11_200);
        let mut at_once = NewReno::new();
        assert_eq!(at_once.grow_beside(10_000, u32::MAX, 1200, third), 11_200);
        assert_eq!(at_once.grow_beside(11_200, u32::MAX, 1200, Part::new(1, 1)), 12_400);
    }

    #[test]
    fn what_is_given_back_is_what_was_gained() {
        let mut reno = NewReno::new();
        let (half, away) = (Part::new(1, 2), Part::new(-1, 2));
        assert_eq!(reno.grow_beside(10_000, 8_000, 1200, half), 10_000);
        assert_eq!(reno.grow_beside(10_000, 8_000, 1200, away), 10_000);
        // A byte less than nothing is a datagram less and all but a byte of the next.
        assert_eq!(reno.grow_beside(10_000, 2, 1200, away), 8_800);
        assert_eq!(reno.grow_beside(8_800, 2, 1200, half), 10_000);
        assert_eq!(reno.grow_beside(10_000, 2, 1200, away), 8_800);
        assert_eq!(reno.grow_beside(8_800, 17_598, 1200, away), 8_800);
        assert_eq!(reno.grow_beside(8_800, 2, 1200, away), 7_600);
        // Not more than one at once.
        assert_eq!(reno.grow_beside(7_600, u32::MAX, 1200, away), 6_400);
        assert_eq!(reno.grow_beside(6_400, 0, 1200, away), 6_400);
        assert_eq!(reno.grow_beside(1_000, u32::MAX, 1200, away), 0);
    }

    #[test]
    fn the_longer_of_the_last_two_times_without_a_loss_counts() {
        let mut reno = NewReno::new();
        reno.on_acked_beside(1000);
        assert_eq!(reno.loss_free(), 1000);
        reno.on_congestion(10_000);
        reno.on_acked_beside(999);
        assert_eq!(reno.loss_free(), 1000);
        reno.on_acked_beside(2);
        assert_eq!(reno.loss_free(), 1001);
        reno.on_congestion(10_000);
        reno.on_congestion(10_000);
        assert_eq!(reno.loss_free(), 0);
        reno.on_acked_beside(u32::MAX);
        reno.on_acked_beside(u32::MAX);
        assert_eq!(reno.loss_free(), u32::MAX);
    }
}
