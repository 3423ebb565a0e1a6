//! The only place that reads a clock.

use std::time::{Duration, Instant as StdInstant, SystemTime};

use peregrine_core::time::{Deadline, Instant};

/// A monotonic clock that counts from its own start. Its copies agree, so one clock serves a whole program.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: StdInstant,
}

impl Clock {
    /// A clock at [`Instant::ZERO`].
    #[expect(clippy::disallowed_methods, reason = "this is the adapter's clock")]
    pub fn start() -> Self {
        Self { origin: StdInstant::now() }
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the adapter's clock")]
    pub fn now(&self) -> Instant {
        Instant::ZERO.after(StdInstant::now().saturating_duration_since(self.origin))
    }

    /// How long to sleep until `deadline`: zero if it has passed, `None` if it never comes.
    pub fn until(&self, deadline: Deadline) -> Option<Duration> {
        deadline.instant().map(|moment| moment.since(self.now()).into())
    }

    /// Seconds since 1970, for the validity of certificates; `None` if the system's clock stands before that.
    #[expect(clippy::disallowed_methods, reason = "this is the adapter's clock")]
    pub fn unix_seconds() -> Option<u64> {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_forward_from_zero() {
        let clock = Clock::start();
        let before = clock.now();
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now().since(before) >= Duration::from_millis(2).into());
        assert!(before.as_micros() < 1_000_000);
    }

    #[test]
    fn sleeps_until_a_deadline_but_not_after_it() {
        let clock = Clock::start();
        let soon = Deadline::at(clock.now().after(Duration::from_secs(9)));
        assert!(clock.until(soon).is_some_and(|wait| wait > Duration::from_secs(8)));
        assert_eq!(clock.until(Deadline::at(Instant::ZERO)), Some(Duration::ZERO));
        assert_eq!(clock.until(Deadline::NEVER), None);
    }
}
