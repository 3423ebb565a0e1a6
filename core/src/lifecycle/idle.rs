//! The idle timeout and the PING that defers it (RFC 9000 10.1).

use crate::time::{Deadline, Instant, Span};

/// The idle timeout is never shorter than so many PTOs (RFC 9000 10.1).
const PTOS: u32 = 3;

/// How long a connection waits for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From the first packet until the TLS handshake is complete; `None`: as long as the idle timeout admits.
    pub handshake: Option<Span>,
    /// Our max_idle_timeout transport parameter; zero stands for none.
    pub idle: Span,
    /// After so long without other traffic a PING is sent, and in any case at half the idle timeout; `None`: never.
    pub keep_alive: Option<Span>,
}

/// What happened last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Last {
    Received,
    /// An ack-eliciting packet, with nothing received since.
    Sent,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    /// The smaller of both sides' timeouts; zero stands for none.
    timeout: Span,
    interval: Option<Span>,
    deadline: Deadline,
    keep_alive: Deadline,
    last: Last,
}

impl Idle {
    pub(super) fn new(now: Instant, timeouts: &Timeouts, pto: Span) -> Self {
        let mut idle = Self {
            timeout: timeouts.idle,
            interval: timeouts.keep_alive,
            deadline: Deadline::NEVER,
            keep_alive: Deadline::NEVER,
            last: Last::Received,
        };
        idle.restart(now, pto);
        idle
    }

    /// Holds from the next restart on, which the packet that tells it brings.
    pub(super) fn on_peer_timeout(&mut self, timeout: Span) {
        self.timeout = match (self.timeout, timeout) {
            (none, only) | (only, none) if none.is_zero() => only,
            (ours, theirs) => ours.min(theirs),
        };
    }

    pub(super) fn on_received(&mut self, now: Instant, pto: Span) {
        self.last = Last::Received;
        self.restart(now, pto);
    }

    /// Whether nothing that asks for an answer was sent since something was received.
    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.last, Last::Received)
    }

    /// Only the first one since something was received: a peer that is gone must not be kept alive by probes to it.
    pub(super) fn on_ack_eliciting_sent(&mut self, now: Instant, pto: Span) {
        if self.is_answered() {
            self.last = Last::Sent;
            self.restart(now, pto);
        }
    }

    pub(super) const fn deadline(&self) -> Deadline {
        self.deadline
    }

    pub(super) const fn keep_alive(&self) -> Deadline {
        self.keep_alive
    }

    /// The PING is on its way, or its loss is found by the probe timeout.
    pub(super) const fn on_keep_alive(&mut self) {
        self.keep_alive = Deadline::NEVER;
    }

    fn restart(&mut self, now: Instant, pto: Span) {
        let period = self.timeout.max(pto.saturating_mul(PTOS));
        let (deadline, latest) = if self.timeout.is_zero() {
            (Deadline::NEVER, Span::MAX)
        } else {
            (Deadline::at(now.after(period)), period.half())
        };
        self.deadline = deadline;
        self.keep_alive = self.interval.map(|interval| now.after(interval.min(latest))).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::ZERO;
    const PTO: Span = Span::from_secs(1);

    fn idle(ours: u64, theirs: u64, keep_alive: Option<u64>) -> Idle {
        let timeouts = Timeouts {
            handshake: None,
            idle: Span::from_secs(ours),
            keep_alive: keep_alive.map(Span::from_secs),
        };
        let mut idle = Idle::new(T0, &timeouts, PTO);
        idle.on_peer_timeout(Span::from_secs(theirs));
        idle.on_received(T0, PTO);
        idle
    }

    fn secs(deadline: Deadline) -> Option<u64> {
        deadline.instant().map(|at| at.as_micros() / 1_000_000)
    }

    #[test]
    fn the_smaller_timeout_holds_but_three_ptos_at_least() {
        for (ours, theirs, expected) in [
            (30, 20, Some(20)),
            (10, 20, Some(10)),
            (0, 20, Some(20)),
            (10, 0, Some(10)),
            (0, 0, None),
            (1, 9, Some(3)),
        ] {
            assert_eq!(secs(idle(ours, theirs, None).deadline()), expected, "{ours} {theirs}");
        }
    }

    #[test]
    fn sending_restarts_once_and_receiving_always() {
        let mut idle = idle(30, 30, None);
        let at = |secs: u64| Instant::from_micros(secs * 1_000_000);
        idle.on_ack_eliciting_sent(at(5), PTO);
        idle.on_ack_eliciting_sent(at(9), PTO);
        assert_eq!(secs(idle.deadline()), Some(35));
        idle.on_received(at(10), PTO);
        idle.on_received(at(12), PTO);
        assert_eq!(secs(idle.deadline()), Some(42));
        idle.on_ack_eliciting_sent(at(13), PTO);
        assert_eq!(secs(idle.deadline()), Some(43));
    }

    #[test]
    fn keep_alive_comes_well_before_the_timeout() {
        assert_eq!(secs(idle(30, 30, Some(5)).keep_alive()), Some(5));
        assert_eq!(secs(idle(30, 30, Some(60)).keep_alive()), Some(15));
        assert_eq!(secs(idle(0, 0, Some(60)).keep_alive()), Some(60));
        assert_eq!(idle(30, 30, None).keep_alive(), Deadline::NEVER);
    }
}
