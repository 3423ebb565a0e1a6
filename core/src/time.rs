//! Time as the core sees it: microseconds since an origin the caller chose. Nobody below an adapter reads a clock.

use core::cmp::Ordering;
use core::fmt;
use core::time::Duration;

/// A moment, in microseconds since the caller's origin. It never runs backwards between two calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
    pub fn after(self, wait: impl Into<Span>) -> Self {
        Self(Span(self.0).saturating_add(wait.into()).0)
    }

    /// The time passed since `earlier`; zero if `earlier` is later.
    #[cfg_attr(target_os = "none", inline(never))]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time, in microseconds: what core reckons with, where a [`Duration`] would multiply and divide at every place
/// that waits. Sums and products saturate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Span(u64);

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// The longest.
    pub const MAX: Self = Self(u64::MAX);

    /// So many microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// So many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// So many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// In microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// In whole milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// In microseconds, [`u32::MAX`] (71 minutes) if there are more: what rows keep.
    pub const fn short_micros(self) -> u32 {
        if self.0 > u32::MAX as u64 { u32::MAX } else { self.0 as u32 }
    }

    /// Both, one after the other.
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left without `other`.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// What is left without `other`; `None` if that is longer.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// So many times as long.
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    pub const fn saturating_mul(self, times: u32) -> Self {
        Self(self.0.saturating_mul(times as u64))
    }

    /// Half of it.
    #[must_use]
    pub const fn half(self) -> Self {
        Self(self.0 / 2)
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<Duration> for Span {
    /// In whole microseconds.
    #[cfg_attr(target_os = "none", inline(never))]
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into()))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_micros(span.0)
    }
}

/// A moment that may never come. Ordered: never is the latest.
// Inverted, so that never is zero: memory in which nothing is set is blank.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Deadline(u64);

impl Deadline {
    /// No deadline.
    pub const NEVER: Self = Self(0);

    /// Due at `moment`.
    pub const fn at(moment: Instant) -> Self {
        Self(!moment.0)
    }

    /// The earlier of two.
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn min(self, other: Self) -> Self {
        Ord::min(self, other)
    }

    /// Whether the deadline has come.
    pub const fn is_due(self, now: Instant) -> bool {
        self.is_set() && !self.0 <= now.0
    }

    /// Whether a moment is set.
    pub const fn is_set(self) -> bool {
        self.0 != 0
    }

    /// The moment, if there is one.
    pub const fn instant(self) -> Option<Instant> {
        if self.is_set() { Some(Instant(!self.0)) } else { None }
    }
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instant() {
            Some(moment) => write!(f, "at {} us", moment.0),
            None => f.write_str("never"),
        }
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
        assert_eq!(Instant::ZERO.since(Instant::from_micros(5)), Span::ZERO);
        assert_eq!(Span::from(Duration::MAX), Span::MAX);
        assert_eq!(Span::from_secs(u64::MAX).saturating_mul(3), Span::MAX);
        assert_eq!(Span::MAX.short_micros(), u32::MAX);
    }

    #[test]
    fn never_is_the_latest_and_never_due() {
        let soon = Deadline::at(Instant::from_micros(7));
        assert_eq!(soon.min(Deadline::NEVER), soon);
        assert!(soon.is_due(Instant::from_micros(7)) && !soon.is_due(Instant::from_micros(6)));
        assert!(!Deadline::NEVER.is_due(Instant::from_micros(u64::MAX)));
        assert_eq!(Deadline::NEVER.instant(), None);
        let later = Deadline::at(Instant::from_micros(8));
        assert!(soon < later && later.min(soon) == soon && later < Deadline::NEVER);
        assert_eq!(Deadline::at(Instant::from_micros(u64::MAX)), Deadline::NEVER);
    }
}
