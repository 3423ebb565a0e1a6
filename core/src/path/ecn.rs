//! Whether a route carries ECN marks (RFC 9000 13.4.2, A.4).
//!
//! ```text
//! Testing --10 packets or 3 PTO--> Unknown --marks acknowledged and counted--> Capable
//!    '----------- marks acknowledged and counted ------------------------------^  | 3 PTO in a row
//!                                     ^-------------------------------------------'
//! any: counts that cannot be true, or every mark lost --> Failed
//! ```
//!
//! Packets are marked ECT(0) while Testing and Capable. Counts in ACK frames belong to a packet number space, marks to a
//! route: the space gives what its counts grew by, the rest is here. It does not decide what a CE mark does to the
//! congestion window, and tests a route once.

use crate::ids::Ecn;
use crate::time::{Deadline, Instant, Span};
use crate::wire::frame::EcnCounts;

/// Marked packets that a test takes (RFC 9000 13.4.2).
const TEST_PACKETS: u32 = 10;
/// PTOs that a test takes at most (RFC 9000 13.4.2), and in a row with no answer that a mark may be the cause of.
const PTOS: u32 = 3;

/// What is known of one route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A few packets are marked.
    Testing,
    /// Not marked any more; the marks sent may still prove the route capable.
    Unknown,
    Capable,
    Failed,
}

/// The ECN state of one route.
#[derive(Clone, Copy, Debug)]
pub struct EcnValidation {
    /// When the test ends, if one runs.
    until: Deadline,
    state: State,
    /// Packets sent with ECT(0).
    sent: u32,
    /// By how much the peer's ECT(0) count can still grow.
    uncounted: u32,
    acked: u32,
    lost: u32,
    ce: u32,
}

/// What an ACK frame says of the marks of one route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acked {
    /// Packets of the route sent with ECT(0) that the frame is the first to acknowledge.
    pub marked: u32,
    /// By how much the counts of the packet number space grew since the last frame used; `None` if it has no counts.
    pub growth: Option<EcnCounts>,
}

impl EcnValidation {
    /// A new route. `elsewhere` is how many packets with ECT(0) are on their way over other routes: they will be
    /// counted together with those of this one.
    pub const fn new(elsewhere: u32) -> Self {
        Self { state: State::Testing, uncounted: elsewhere, ..Self::disabled() }
    }

    /// A route that is not marked, because the socket cannot.
    pub const fn disabled() -> Self {
        Self { until: Deadline::NEVER, state: State::Failed, sent: 0, uncounted: 0, acked: 0, lost: 0, ce: 0 }
    }

    /// The codepoint for a packet sent now. Ends the test when its time is over.
    pub fn codepoint(&mut self, now: Instant) -> Ecn {
        if self.state == State::Testing && self.until.is_due(now) {
            self.end_test();
        }
        match self.state {
            State::Testing | State::Capable => Ecn::Ect0,
            State::Unknown | State::Failed => Ecn::NotEct,
        }
    }

    /// A packet was sent with ECT(0).
    pub fn on_sent(&mut self, now: Instant, pto: Span) {
        self.sent = self.sent.saturating_add(1);
        self.uncounted = self.uncounted.saturating_add(1);
        if self.state == State::Testing {
            if !self.until.is_set() {
                self.until = Deadline::at(now.after(pto.saturating_mul(PTOS)));
            }
            if self.sent >= TEST_PACKETS {
                self.end_test();
            }
        }
    }

    /// An ACK frame that raised the largest acknowledged packet number of its space (others prove nothing: RFC 9000
    /// 13.4.2.1), and that acknowledges for the first time packets of this route and of no other. Returns how many
    /// CE marks it reports that congestion control has not heard of.
    pub fn on_acked(&mut self, acked: Acked) -> u64 {
        if self.state == State::Failed {
            return 0;
        }
        self.acked = self.acked.saturating_add(acked.marked);
        let Some(growth) = acked.growth else {
            // Marked packets came through, but the peer or the network hides the marks.
            if acked.marked > 0 {
                self.state = State::Failed;
            }
            return 0;
        };
        let uncounted = self.uncounted.checked_sub(saturate(growth.ect0));
        self.uncounted = uncounted.unwrap_or(0);
        self.ce = self.ce.saturating_add(saturate(growth.ce));
        let too_few = growth.ect0.saturating_add(growth.ce) < u64::from(acked.marked);
        // More than we sent: of ECT(1), nothing.
        let too_many = growth.ect1 > 0 || uncounted.is_none();
        // A device that marks everything as congested would keep us at the smallest window.
        let all_ce = self.acked >= TEST_PACKETS && self.ce >= self.acked && self.state != State::Capable;
        if too_few || too_many || all_ce {
            self.state = State::Failed;
            return 0;
        }
        if acked.marked > 0 && self.ce < self.acked {
            self.state = State::Capable;
        }
        growth.ce
    }

    /// A packet of the route sent with ECT(0) was lost.
    pub fn on_lost(&mut self) {
        self.lost = self.lost.saturating_add(1);
        self.check_all_lost();
    }

    /// The probe timeout expired `count` times with no acknowledgment between. The network may have begun to drop what
    /// is marked: a route that was capable is no longer marked until a mark is acknowledged.
    pub fn on_pto(&mut self, count: u32) {
        if self.state == State::Capable && count >= PTOS {
            self.state = State::Unknown;
        }
    }

    /// Nothing comes from the peer. A route that has not carried a mark yet is asked without, lest a network that drops marked
    /// packets be taken for one that is gone.
    pub fn on_silence(&mut self) {
        if self.state == State::Testing && self.acked == 0 && self.sent > 0 {
            self.end_test();
        }
    }

    /// By how much the peer's count can still grow for packets of this route.
    pub const fn uncounted(&self) -> u32 {
        self.uncounted
    }

    /// Whether the route is known to carry marks.
    pub const fn is_capable(&self) -> bool {
        matches!(self.state, State::Capable)
    }

    fn end_test(&mut self) {
        self.state = State::Unknown;
        self.check_all_lost();
    }

    fn check_all_lost(&mut self) {
        if self.state == State::Unknown && self.acked == 0 && self.lost >= self.sent {
            self.state = State::Failed;
        }
    }
}

fn saturate(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::ZERO;
    const PTO: Span = Span::from_millis(100);

    fn sent(packets: u32) -> EcnValidation {
        let mut ecn = EcnValidation::new(0);
        for _ in 0..packets {
            assert_eq!(ecn.codepoint(T0), Ecn::Ect0);
            ecn.on_sent(T0, PTO);
        }
        ecn
    }

    fn acked(marked: u32, ect0: u64, ect1: u64, ce: u64) -> Acked {
        Acked { marked, growth: Some(EcnCounts { ect0, ect1, ce }) }
    }

    #[test]
    fn silence_ends_a_test_that_has_shown_nothing() {
        let mut ecn = sent(3);
        ecn.on_silence();
        assert_eq!(ecn.codepoint(T0), Ecn::NotEct);
        ecn.on_acked(acked(1, 1, 0, 0));
        ecn.on_silence();
        assert_eq!(ecn.codepoint(T0), Ecn::Ect0, "marks get through");
        let mut ecn = sent(0);
        ecn.on_silence();
        assert_eq!(ecn.codepoint(T0), Ecn::Ect0, "nothing was sent");
    }

    #[test]
    fn is_small() {
        assert!(size_of::<EcnValidation>() <= 40);
    }

    #[test]
    fn ten_marked_packets_and_then_none_until_one_is_counted() {
        let mut ecn = sent(10);
        assert_eq!(ecn.codepoint(T0), Ecn::NotEct);
        assert_eq!(ecn.on_acked(acked(2, 2, 0, 0)), 0);
        assert_eq!((ecn.codepoint(T0), ecn.is_capable()), (Ecn::Ect0, true));
    }

    #[test]
    fn the_test_lasts_three_ptos() {
        let mut ecn = sent(1);
        assert_eq!(ecn.codepoint(T0.after(PTO.saturating_mul(2))), Ecn::Ect0);
        assert_eq!(ecn.codepoint(T0.after(PTO.saturating_mul(3))), Ecn::NotEct);
    }

    #[test]
    fn counts_that_cannot_be_true_fail() {
        for (why, ack) in [
            ("none", Acked { marked: 1, growth: None }),
            ("bleached", acked(2, 1, 0, 0)),
            ("remarked", acked(2, 2, 1, 0)),
            ("more than sent", acked(2, 6, 0, 0)),
        ] {
            let mut ecn = sent(5);
            assert_eq!(ecn.on_acked(ack), 0);
            assert_eq!(ecn.codepoint(T0), Ecn::NotEct, "{why}");
            ecn.on_acked(acked(1, 1, 0, 0));
            assert_eq!(ecn.codepoint(T0), Ecn::NotEct, "{why}: for good");
        }
    }

    #[test]
    fn an_ack_of_unmarked_packets_needs_no_counts() {
        let mut ecn = sent(5);
        assert_eq!(ecn.on_acked(Acked { marked: 0, growth: None }), 0);
        assert_eq!((ecn.codepoint(T0), ecn.is_capable()), (Ecn::Ect0, false));
    }

    #[test]
    fn lost_acks_may_let_counts_grow_by_more() {
        let mut ecn = sent(6);
        assert_eq!(ecn.on_acked(acked(1, 4, 0, 1)), 1);
        assert!(!ecn.is_capable(), "all that is acknowledged may be CE");
        assert_eq!(ecn.on_acked(acked(1, 1, 0, 0)), 0);
        assert!(ecn.is_capable());
    }

    #[test]
    fn marks_on_their_way_elsewhere_may_be_counted_here() {
        let mut ecn = EcnValidation::new(3);
        ecn.on_sent(T0, PTO);
        ecn.on_acked(acked(1, 4, 0, 0));
        assert!(ecn.is_capable());
    }

    #[test]
    fn congestion_is_reported_and_only_congestion_fails() {
        let mut ecn = sent(10);
        assert_eq!(ecn.on_acked(acked(3, 1, 0, 2)), 2);
        assert!(ecn.is_capable());
        let mut ecn = sent(10);
        assert_eq!(ecn.on_acked(acked(5, 0, 0, 5)), 5);
        assert!(!ecn.is_capable());
        assert_eq!(ecn.on_acked(acked(5, 0, 0, 5)), 0);
        ecn.on_acked(acked(1, 1, 0, 0));
        assert!(!ecn.is_capable());
    }

    #[test]
    fn all_marks_lost_fail() {
        let mut ecn = sent(10);
        for _ in 0..9 {
            ecn.on_lost();
        }
        assert_eq!(ecn.state, State::Unknown);
        ecn.on_lost();
        assert_eq!(ecn.state, State::Failed);
    }

    #[test]
    fn a_route_that_was_capable_and_falls_silent_is_no_longer_marked() {
        let mut ecn = sent(10);
        ecn.on_acked(acked(1, 1, 0, 0));
        ecn.on_pto(2);
        assert_eq!(ecn.codepoint(T0), Ecn::Ect0);
        ecn.on_pto(3);
        assert_eq!(ecn.codepoint(T0), Ecn::NotEct);
        ecn.on_acked(acked(1, 1, 0, 0));
        assert_eq!(ecn.codepoint(T0), Ecn::Ect0);
    }
}
