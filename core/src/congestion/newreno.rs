//! NewReno's congestion avoidance (RFC 9002 7.3.3): one datagram more per window acknowledged, half of it after a loss.

/// What NewReno remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewReno {
    /// Bytes acknowledged since the window last grew.
    acked: u32,
}

impl NewReno {
    pub(super) const fn new() -> Self {
        Self { acked: 0 }
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

    /// The window after a sign of congestion.
    pub(super) fn on_congestion(&mut self, window: u32) -> u32 {
        self.acked = 0;
        window / 2
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
}
