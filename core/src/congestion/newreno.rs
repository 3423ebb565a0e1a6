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
