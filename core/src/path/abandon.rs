//! The end of a path (draft-ietf-quic-multipath-21, Path Close; draft-ietf-quic-multipath-11, 3.3).
//!
//! ```text
//!         abandon: Retire              a frame                  3 PTO have passed, and
//! Open ─────────────────────▶ Closing ───────────▶ Draining ────────────────────────────────▶ Ended
//!   │                                                 ▲          the peer has our frame: End
//!   '─── a frame: Retire, and our own frame is owed ──'
//! ```
//!
//! Both sides say PATH_ABANDON, each once and again where it was lost, whoever began: a frame that crosses ours answers it.
//! From the moment on that either has said it, nothing is sent over the path any more, but what still comes over it is
//! acknowledged on others until it has ended. A path that was never used ends the same way: that its connection IDs are
//! not used by anybody is not known before both have spoken. A peer that never answers holds the row for as long as the
//! connection lasts: that is all it can hold (draft-21 3.4 leaves to us what is done about it).
//!
//! Of an abandoned path no frame speaks but PATH_ABANDON and PATH_ACK: its connection IDs need no retirement, a status would
//! be pointless, and draft 11 forbids it (7.2; that acknowledgments are meant to go on, says 3.3.2).
//!
//! Not here: the connection IDs, the row and the path ID that are to be freed, what is done about the last path, and the
//! codes of a dialect, which differ (draft 11 has none that fits its field but 0).

use crate::path::parcel::Parcel;
use crate::table::halves::Halves;
use crate::time::{Deadline, Instant, Span};

/// What came on its way before both had spoken has arrived, or never will, after so many PTOs.
const DRAIN: u32 = 3;

/// How far the end of a path has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    #[default]
    Open,
    /// We have said so, or are about to.
    Closing,
    /// So has the peer.
    Draining,
    /// Nothing of it need be remembered.
    Ended,
}

/// Who abandoned a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum By {
    /// We did.
    #[default]
    Local,
    /// The peer did.
    Peer,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The path is abandoned. Everything that the peer's connection IDs of it stand for is over at once, reset tokens too; what
    /// is under way on it is wanted on others; its timers and its validation end; and a PATH_ABANDON is owed, on another path.
    /// Connection IDs of ours stay known, and packets are acknowledged, until [`Effect::End`].
    Retire,
    /// Nothing need be known of the path any longer: packets under way on it are lost, its row takes another path ID.
    End,
}

/// The end of one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Abandon {
    /// The end of the drain; zero is never.
    until: Halves,
    /// Of whoever began. Those of the dialects have 16 bits; for any that has more than 32 the largest stands.
    code: u32,
    parcel: Parcel,
    stage: Stage,
    by: By,
}

impl Abandon {
    /// A path that is open, or could be.
    pub const OPEN: Self =
        Self { until: NEVER, code: 0, parcel: Parcel::NONE, stage: Stage::Open, by: By::Local };

    /// Whether nobody has abandoned it: packets may be sent over it, and frames other than PATH_ACK may speak of it.
    pub const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Whether it has ended.
    pub const fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Who abandoned it and with which code, as its dialect has it, if it is abandoned. If both did, we were the first: that is
    /// how it looked from here.
    pub const fn cause(&self) -> Option<(By, u64)> {
        if self.is_open() { None } else { Some((self.by, self.code as u64)) }
    }

    /// We abandon the path; `code` says why.
    pub const fn abandon(&mut self, code: u64) -> Option<Effect> {
        self.begin(By::Local, code, Stage::Closing)
    }

    /// The peer's PATH_ABANDON came. `pto` is the path's own, or that of another one if nothing was ever sent over it.
    pub fn on_frame(&mut self, now: Instant, code: u64, pto: Span) -> Option<Effect> {
        let effect = match self.stage {
            Stage::Open => self.begin(By::Peer, code, Stage::Draining),
            Stage::Closing => {
                self.stage = Stage::Draining;
                None
            }
            // A repeated frame does not prolong the drain.
            Stage::Draining | Stage::Ended => return None,
        };
        self.until = Halves::new(now.after(pto.saturating_mul(DRAIN)).as_micros());
        effect
    }

    const fn begin(&mut self, by: By, code: u64, stage: Stage) -> Option<Effect> {
        if !self.is_open() {
            return None;
        }
        self.code = if code > u32::MAX as u64 { u32::MAX } else { code as u32 };
        self.by = by;
        self.stage = stage;
        self.parcel.want();
        Some(Effect::Retire)
    }

    /// The code of the PATH_ABANDON to send, if one is owed: NO_ERROR in answer to the peer's.
    pub const fn next_frame(&self) -> Option<u64> {
        match self.by {
            _ if !self.parcel.is_wanted() => None,
            By::Local => Some(self.code as u64),
            By::Peer => Some(0),
        }
    }

    /// The frame went into the packet `pn` of the path in row `space`.
    pub const fn on_sent(&mut self, space: u8, pn: u64) {
        self.parcel.on_sent(space, pn);
    }

    /// A packet was acknowledged.
    pub fn on_acked(&mut self, space: u8, pn: u64) -> Option<Effect> {
        let is_over = self.parcel.on_acked(space, pn) && self.is_drained();
        is_over.then(|| self.end())
    }

    /// A packet was lost, or its path has ended without an acknowledgment for it.
    pub fn on_lost(&mut self, space: u8, pn: u64) {
        self.parcel.on_lost(space, pn);
    }

    /// When to call [`Self::on_timeout`].
    pub const fn next_timeout(&self) -> Deadline {
        deadline(self.until)
    }

    /// What is due now. A path ends no sooner than the peer has our frame: who forgot it could not repeat it.
    pub fn on_timeout(&mut self, now: Instant) -> Option<Effect> {
        if !self.next_timeout().is_due(now) {
            return None;
        }
        self.until = NEVER;
        self.parcel.is_done().then(|| self.end())
    }

    /// Whether both have spoken, and what was on its way has had its time.
    fn is_drained(&self) -> bool {
        self.stage == Stage::Draining && !self.next_timeout().is_set()
    }

    const fn end(&mut self) -> Effect {
        self.stage = Stage::Ended;
        Effect::End
    }
}

const NEVER: Halves = Halves::new(0);

const fn deadline(until: Halves) -> Deadline {
    match until.get() {
        0 => Deadline::NEVER,
        micros => Deadline::at(Instant::from_micros(micros)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTO: Span = Span::from_millis(50);
    const POOR: u64 = 0x3e76;

    const fn ms(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn due(path: &Abandon) -> Option<u64> {
        path.next_timeout().instant().map(|at| at.as_micros() / 1000)
    }

    #[test]
    fn ours_is_said_answered_drained_and_over() {
        let mut path = Abandon::OPEN;
        assert_eq!((path.is_open(), path.cause(), path.next_frame()), (true, None, None));
        assert_eq!(path.abandon(POOR), Some(Effect::Retire));
        assert_eq!(path.abandon(7), None, "once");
        assert_eq!(
            (path.cause(), path.next_frame(), due(&path)),
            (Some((By::Local, POOR)), Some(POOR), None)
        );
        path.on_sent(1, 20);
        assert_eq!(path.next_frame(), None);
        assert_eq!(path.on_acked(1, 20), None);
        assert_eq!(path.on_frame(ms(40), 9, PTO), None);
        assert_eq!((path.on_timeout(ms(189)), due(&path)), (None, Some(190)));
        assert_eq!(path.on_timeout(ms(190)), Some(Effect::End));
        assert!(path.is_ended() && !path.is_open());
        assert_eq!((path.on_frame(ms(200), 0, PTO), due(&path), path.next_frame()), (None, None, None));
        assert_eq!(path.cause(), Some((By::Local, POOR)));
    }

    #[test]
    fn the_peers_is_answered_even_of_a_path_that_was_never_used() {
        let mut path = Abandon::OPEN;
        assert_eq!(path.on_frame(ms(0), POOR, PTO), Some(Effect::Retire));
        assert_eq!((path.cause(), path.next_frame()), (Some((By::Peer, POOR)), Some(0)));
        assert_eq!(path.abandon(1), None, "it is abandoned already");
        path.on_sent(0, 4);
        assert_eq!(path.on_frame(ms(100), POOR, PTO), None);
        assert_eq!(due(&path), Some(150), "a repeated frame prolongs nothing");
        assert_eq!(path.on_acked(0, 4), None);
        assert_eq!(path.on_timeout(ms(150)), Some(Effect::End));
    }

    #[test]
    fn frames_that_cross_are_answers() {
        let mut path = Abandon::OPEN;
        path.abandon(POOR);
        assert_eq!(path.on_frame(ms(5), 1, PTO), None);
        assert_eq!(path.next_frame(), Some(POOR), "ours has not gone yet, and is owed all the same");
        path.on_sent(0, 1);
        path.on_acked(0, 1);
        assert_eq!((due(&path), path.on_timeout(ms(155))), (Some(155), Some(Effect::End)));
    }

    #[test]
    fn a_lost_frame_is_repeated_and_the_end_waits_for_it() {
        let mut path = Abandon::OPEN;
        path.on_frame(ms(0), POOR, PTO);
        path.on_sent(0, 1);
        assert_eq!((path.on_timeout(ms(150)), due(&path)), (None, None), "the answer may have been lost");
        path.on_lost(0, 1);
        assert_eq!(path.next_frame(), Some(0));
        path.on_sent(2, 1);
        assert_eq!(path.on_acked(0, 1), None, "of another path");
        assert_eq!(path.on_acked(2, 1), Some(Effect::End));
        assert_eq!(path.on_acked(2, 1), None);
    }

    #[test]
    fn a_peer_that_never_answers_is_waited_for() {
        let mut path = Abandon::OPEN;
        path.abandon(0);
        path.on_sent(0, 1);
        assert_eq!((path.on_acked(0, 1), due(&path), path.is_ended()), (None, None, false));
        assert_eq!((path.on_frame(ms(10_000), 0, PTO), due(&path)), (None, Some(10_150)), "at last");
        assert_eq!(path.on_timeout(ms(10_150)), Some(Effect::End));
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Abandon>() <= 20);
    }
}
