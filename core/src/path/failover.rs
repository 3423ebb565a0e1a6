//! When a route is silent, when who does not answer is asked again, when a path that is suspect is given up, and how many paths
//! are validated at once (draft-ietf-quic-multipath-21, PTO Expiration, Denial of Service with Multiple Paths). Pure decisions.
//!
//! ```text
//!           no answer within a PTO or the limit set, and another path works      silent for long, and another path works
//! Works ───────────────────────────────────────────────────────────────▶ Suspect ───────────────────────────────────▶ abandoned
//!   ▲                                                                       │
//!   '──────────────────── a packet of it is acknowledged ───────────────────'
//! ```
//!
//! The last path that works is suspect after a longer silence: then all are, and the first that is acknowledged is the one to use.
//!
//! With one path there is nothing better to do than to wait for an answer, and a probe timeout declares nothing lost (RFC 9002
//! 6.2). With two, waiting costs what the other could do meanwhile: what is under way on a silent path is sent over another,
//! once, and who was wrong has lost one flight's worth of bytes. Nothing else changes: the packets stay under way, the
//! window is not touched, and who is silent is asked again ever more rarely.

use crate::path::Opener;
use crate::path::newcomers::Newcomers;
use crate::time::{Deadline, Instant, Span};

/// A path that is suspect for so long is given up if the application says nothing else: about what a tunnel takes.
pub const PATIENCE: Span = Span::from_secs(30);

/// What a route waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// When the oldest ack-eliciting packet under way was sent, if there is one.
    pub oldest: Option<Instant>,
    /// When a packet of it was last newly acknowledged, or it began to work.
    pub progress: Instant,
    /// How long an answer takes at the least: 9/8 of the round-trip time (RFC 9002 6.1.2) and the peer's ACK delay.
    pub answer: Span,
    /// Its probe timeout without backoff, with the peer's ACK delay.
    pub pto: Span,
}

/// When a route that hears nothing is silent. `limit` is the application's, if it cannot wait for a PTO; what no peer
/// could answer in time it does not ask for.
pub fn silent_at(waiting: &Waiting, limit: Option<Span>) -> Deadline {
    let patience = limit.map_or(waiting.pto, |limit| limit.max(waiting.answer).min(waiting.pto));
    waiting.oldest.map(|oldest| oldest.max(waiting.progress).after(patience)).into()
}

/// Probe timeouts without an answer after which the last path that works does not either.
const LAST: u32 = 3;

/// When a route is silent and no other path works: that is found out without haste, for there is nothing better to do, but it must
/// be. Else whichever is back first would have its acknowledgments sent over one that is not, and be given up for it.
pub fn last_silent_at(waiting: &Waiting) -> Deadline {
    let patience = waiting.pto.saturating_mul(LAST);
    waiting.oldest.map(|oldest| oldest.max(waiting.progress).after(patience)).into()
}

/// When a path that is suspect since `suspect` is given up: after `patience`, if there is an end to it. `other_works` says
/// since when another path works without interruption: if none does, none is given up, and after an outage of all
/// the first that is back does not cost the others their time.
pub fn given_up_at(suspect: Instant, other_works: Option<Instant>, patience: Option<Span>) -> Deadline {
    let due = |works: Instant| Some(suspect.max(works).after(patience?));
    other_works.and_then(due).into()
}

/// Who does not answer is asked so often at most.
const SELDOM: Span = Span::from_millis(250);

/// When a peer that does not answer on a route since `suspect` is asked again, over which something that it should have acknowledged
/// was `asked` last: when the silence is longer by a sixteenth. An hour of it takes 130 PINGs, and a tunnel costs a
/// sixteenth of its length more. With nothing but probes, whose timeout doubles (RFC 9002 6.2.1), it might cost as much again, or the
/// connection, if the idle timeout comes before the next of them.
pub fn asked_again_at(suspect: Instant, asked: Option<Instant>, pto: Span) -> Deadline {
    let asked = asked.map_or(suspect, |asked| asked.max(suspect));
    let part = Span::from_micros(asked.since(suspect).as_micros() / 16);
    // Of several questions only the last can be answered.
    Deadline::at(asked.after(part.max(SELDOM).max(pto.saturating_mul(2))))
}

/// How many probe timeouts, each twice as long as the one before, pass in so long a silence: the questions keep the timer from counting
/// them.
pub fn timeouts_in(silence: Span, pto: Span) -> u8 {
    let times = silence.as_micros().checked_div(pto.as_micros()).unwrap_or(0);
    times.saturating_add(1).checked_ilog2().and_then(|timeouts| u8::try_from(timeouts).ok()).unwrap_or(0)
}

/// Validations that run at once.
const AT_ONCE: usize = 4;
/// After a few in a row, one more each time that so much has passed.
const EVERY: Span = Span::from_millis(250);

/// How many validations of a connection's paths may begin: a peer that shows many addresses has each challenged, and they
/// need not be its own (RFC 9000 21.5.4). How often the application opens paths of its own is its business.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validations {
    credit: Newcomers,
}

impl Validations {
    /// None were begun.
    pub const fn new() -> Self {
        Self { credit: Newcomers::new() }
    }

    /// Whether one more may begin now, which is counted if it is the peer that opens the path, where so many are `running`.
    pub fn admit(&mut self, now: Instant, opener: Opener, running: usize) -> bool {
        running < AT_ONCE && (opener == Opener::Local || self.credit.admit(now, EVERY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    const fn span(millis: u64) -> Span {
        Span::from_millis(millis)
    }

    const WAITING: Waiting =
        Waiting { oldest: Some(ms(1000)), progress: ms(500), answer: span(60), pto: span(150) };

    #[test]
    fn silence_begins_with_the_oldest_packet_or_the_last_answer() {
        assert_eq!(silent_at(&WAITING, None), Deadline::at(ms(1150)));
        assert_eq!(silent_at(&Waiting { progress: ms(1100), ..WAITING }, None), Deadline::at(ms(1250)));
        assert_eq!(silent_at(&Waiting { oldest: None, ..WAITING }, Some(span(1))), Deadline::NEVER);
        assert_eq!(last_silent_at(&WAITING), Deadline::at(ms(1450)), "of the last one");
        assert_eq!(last_silent_at(&Waiting { oldest: None, ..WAITING }), Deadline::NEVER);
    }

    #[test]
    fn the_limit_counts_where_it_is_shorter_than_a_pto_and_can_be_met() {
        for (limit, after) in [(500, 150), (150, 150), (100, 100), (60, 60), (10, 60), (0, 60)] {
            assert_eq!(silent_at(&WAITING, Some(span(limit))), Deadline::at(ms(1000 + after)), "{limit}");
        }
        let slow = Waiting { answer: span(200), ..WAITING };
        assert_eq!(silent_at(&slow, Some(span(10))), Deadline::at(ms(1150)), "a PTO is always enough");
    }

    #[test]
    fn the_last_path_is_never_given_up() {
        let patience = Some(span(30_000));
        assert_eq!(given_up_at(ms(1000), Some(ms(0)), patience), Deadline::at(ms(31_000)));
        assert_eq!(given_up_at(ms(1000), None, patience), Deadline::NEVER);
        assert_eq!(given_up_at(ms(1000), Some(ms(0)), None), Deadline::NEVER);
        // All were silent for two minutes; another one is back.
        assert_eq!(given_up_at(ms(1000), Some(ms(120_000)), patience), Deadline::at(ms(150_000)));
    }

    #[test]
    fn who_does_not_answer_is_asked_whenever_the_silence_is_a_sixteenth_longer() {
        let (suspect, mut asked) = (ms(1000), None);
        let mut seconds = std::vec::Vec::new();
        while asked < Some(ms(3_600_000)) {
            asked = asked_again_at(suspect, asked, span(100)).instant();
            seconds.extend(asked.map(|asked| asked.since(suspect).as_millis() as f64 / 1e3));
        }
        assert_eq!(seconds[..9], [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25]);
        assert!(seconds[15..].windows(2).all(|two| two[1] <= two[0] * 1.0626), "{seconds:?}");
        assert!((125..135).contains(&seconds.len()), "{}", seconds.len());
        // What was sent before counts for nothing, and on a slow network there is time for an answer.
        assert_eq!(asked_again_at(ms(5000), Some(ms(4900)), span(100)), Deadline::at(ms(5250)));
        assert_eq!(asked_again_at(ms(5000), None, span(3000)), Deadline::at(ms(11_000)));
    }

    #[test]
    fn a_silence_is_as_many_timeouts_as_would_have_doubled() {
        for (silence, timeouts) in [(0, 0), (99, 0), (100, 1), (299, 1), (300, 2), (700, 3), (1500, 4)] {
            assert_eq!(timeouts_in(span(silence), span(100)), timeouts, "{silence}");
        }
        assert_eq!((timeouts_in(span(5), Span::ZERO), timeouts_in(Span::MAX, Span::from_micros(1))), (0, 63));
    }

    #[test]
    fn validations_are_few_at_once_and_few_per_second() {
        let mut validations = Validations::new();
        let mut begun = |from: u64, to: u64, running: usize| {
            (from..to).filter(|at| validations.admit(ms(*at), Opener::Peer, running)).count()
        };
        assert_eq!(begun(1000, 1200, AT_ONCE), 0);
        assert_eq!(begun(1200, 1400, AT_ONCE - 1), 4);
        assert!(begun(1400, 11_400, 0) <= 41);
        assert_eq!(begun(100_000, 100_200, 0), 4);
    }

    #[test]
    fn of_our_own_validations_only_those_that_run_at_once_are_counted() {
        let mut validations = Validations::new();
        assert!((0..100).all(|at| validations.admit(ms(at), Opener::Local, AT_ONCE - 1)));
        assert!(!validations.admit(ms(100), Opener::Local, AT_ONCE));
    }
}
