//! Time as the core sees it: microseconds since an origin the caller chose. Nobody below an adapter reads a clock.

use core::time::Duration;

/// A moment, in microseconds since the caller's origin. It never runs backwards between two calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The moment `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `wait` later; saturates at the end of time.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(micros(wait)))
    }

    /// The time passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// `duration` in whole microseconds, saturating.
// Where 64 bits are two registers, its multiplication at every place that waits was a kilobyte; elsewhere a call for each packet
// would be the dearer.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
}

/// A moment that may never come. Ordered: never is the latest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(u64);

impl Deadline {
    /// No deadline.
    pub const NEVER: Self = Self(u64::MAX);

    /// Due at `moment`.
    pub const fn at(moment: Instant) -> Self {
        Self(moment.0)
    }

    /// The earlier of two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Ord::min(self, other)
    }

    /// Whether the deadline has come.
    pub const fn is_due(self, now: Instant) -> bool {
        self.0 != u64::MAX && self.0 <= now.0
    }

    /// Whether a moment is set.
    pub const fn is_set(self) -> bool {
        self.0 != u64::MAX
    }

    /// The moment, if there is one.
    pub const fn instant(self) -> Option<Instant> {
        if self.is_set() { Some(Instant(self.0)) } else { None }
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self::NEVER
    }
}

impl From<Option<Instant>> for Deadline {
    fn from(moment: Option<Instant>) -> Self {
        moment.map_or(Self::NEVER, Self::at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturates_instead_of_wrapping() {
        assert_eq!(Instant::from_micros(u64::MAX).after(Duration::MAX).as_micros(), u64::MAX);
        assert_eq!(Instant::ZERO.since(Instant::from_micros(5)), Duration::ZERO);
    }

    #[test]
    fn never_is_the_latest_and_never_due() {
        let soon = Deadline::at(Instant::from_micros(7));
        assert_eq!(soon.min(Deadline::NEVER), soon);
        assert!(soon.is_due(Instant::from_micros(7)) && !soon.is_due(Instant::from_micros(6)));
        assert!(!Deadline::NEVER.is_due(Instant::from_micros(u64::MAX)));
        assert_eq!(Deadline::NEVER.instant(), None);
    }
}
