//! Whether the route in use still lives, where nothing under way would tell in time: a client that downloads has nothing to
//! lose but time, and the backoff of the probe timeout is for networks that are slow, not for those that are gone.
//!
//! ```text
//! Idle --bytes that are not the last came, or were sent--> Expecting --silence of a PTO: PING--> Asked --of two--> suspect, Idle
//!   ^                                                       |  ^ '--anything came: the silence begins anew          |
//!   '--the last bytes came----------------------------------'  '------------- bytes again ------ Idle <--anything came
//! ```
//!
//! One PING for each silence: a peer that has answered and says nothing more is waited for, so that an idle connection costs
//! nothing.

use crate::table::halves::Halves;
use crate::time::{Deadline, Instant, Span};

/// What is expected of the peer, and since when nothing has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Liveness {
    /// Nothing.
    Idle,
    /// Bytes.
    Expecting(Halves),
    /// An answer to a PING.
    Asked(Halves),
}

/// What is to be done about a silence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// Send a PING.
    Ask,
    /// The route is suspect.
    Suspect,
}

impl Liveness {
    /// More is to come from the peer.
    pub const fn on_expecting(&mut self, now: Instant) {
        if let Self::Idle = self {
            *self = Self::Expecting(Halves::new(now.as_micros()));
        }
    }

    /// Nothing more is expected.
    pub const fn on_end(&mut self) {
        *self = Self::Idle;
    }

    /// Something authentic came.
    pub const fn on_received(&mut self, now: Instant) {
        *self = match self {
            Self::Expecting(_) => Self::Expecting(Halves::new(now.as_micros())),
            Self::Asked(_) | Self::Idle => Self::Idle,
        };
    }

    /// When to call [`Self::on_timeout`].
    pub fn next_timeout(&self, pto: Span) -> Deadline {
        let (since, wait) = match self {
            Self::Idle => return Deadline::NEVER,
            Self::Expecting(since) => (since, pto),
            Self::Asked(since) => (since, pto.saturating_mul(2)),
        };
        Deadline::at(Instant::from_micros(since.get()).after(wait))
    }

    /// What is due now.
    pub fn on_timeout(&mut self, now: Instant, pto: Span) -> Option<Silence> {
        if !self.next_timeout(pto).is_due(now) {
            return None;
        }
        match *self {
            Self::Expecting(since) => {
                *self = Self::Asked(since);
                Some(Silence::Ask)
            }
            Self::Asked(_) | Self::Idle => {
                *self = Self::Idle;
                Some(Silence::Suspect)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTO: Span = Span::from_millis(50);

    const fn ms(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn a_silence_in_the_middle_is_asked_about_once() {
        let mut liveness = Liveness::Idle;
        assert_eq!(liveness.next_timeout(PTO), Deadline::NEVER);
        liveness.on_received(ms(1));
        assert_eq!(liveness.on_timeout(ms(1000), PTO), None, "nothing was expected");
        liveness.on_expecting(ms(10));
        liveness.on_received(ms(30));
        assert_eq!(liveness.next_timeout(PTO), Deadline::at(ms(80)));
        assert_eq!(liveness.on_timeout(ms(79), PTO), None);
        assert_eq!(liveness.on_timeout(ms(80), PTO), Some(Silence::Ask));
        liveness.on_received(ms(90));
        assert_eq!(liveness.on_timeout(ms(5000), PTO), None, "it has answered");
    }

    #[test]
    fn no_answer_within_another_pto_is_suspect_whatever_was_sent_meanwhile() {
        let mut liveness = Liveness::Idle;
        liveness.on_expecting(ms(10));
        liveness.on_expecting(ms(40));
        assert_eq!(liveness.on_timeout(ms(60), PTO), Some(Silence::Ask));
        liveness.on_expecting(ms(70));
        assert_eq!(liveness.on_timeout(ms(109), PTO), None);
        assert_eq!(liveness.on_timeout(ms(110), PTO), Some(Silence::Suspect));
        assert_eq!(liveness.next_timeout(PTO), Deadline::NEVER);
    }

    #[test]
    fn the_end_of_the_stream_ends_the_wait() {
        let mut liveness = Liveness::Idle;
        liveness.on_expecting(ms(10));
        liveness.on_end();
        assert_eq!(liveness.on_timeout(ms(5000), PTO), None);
    }
}
