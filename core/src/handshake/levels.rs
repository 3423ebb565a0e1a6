//! Which encryption levels have keys, and when they lose them (RFC 9001 4.1, 4.9, 5.7).
//!
//! ```text
//! each level:  Absent --on_keys--> Ready --discard--> Discarded
//! handshake:   Running --on_complete--> Complete --on_confirmed--> Confirmed      (a server: at once)
//!
//! discarded    Initial: client, when it first sends Handshake; server, when it first opens Handshake
//!              Handshake: when the handshake is confirmed
//!              0-RTT: client, with 1-RTT keys; server, 3 PTO after it first opened 1-RTT
//! ```
//!
//! A method that returns a level has discarded it here: call `Session::discard`, and drop its packet number space.

use crate::error::Why;
use crate::ids::{OurSide, Side};
use crate::session::{Level, LevelSet};
use crate::time::{Deadline, Instant, Span};

/// Late 0-RTT packets are opened for so many PTOs (RFC 9001 4.9.3).
const PTOS: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Handshake {
    Running,
    Complete,
    Confirmed,
}

/// The levels of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Levels {
    side: OurSide,
    handshake: Handshake,
    /// Those that have keys.
    ready: LevelSet,
    /// Those that had some.
    discarded: LevelSet,
    discard_zero_rtt: Deadline,
}

impl Levels {
    /// No level has keys.
    pub const fn new(side: Side) -> Self {
        Self {
            side: OurSide::new(side),
            handshake: Handshake::Running,
            ready: LevelSet::NONE,
            discarded: LevelSet::NONE,
            discard_zero_rtt: Deadline::NEVER,
        }
    }

    /// Keys of `level` exist. A client's 1-RTT keys end 0-RTT.
    pub fn on_keys(&mut self, level: Level) -> Option<Level> {
        self.ready = self.ready.with(LevelSet::of(level)).without(self.discarded);
        if level == Level::OneRtt && self.side.is_client() { self.discard(Level::ZeroRtt) } else { None }
    }

    /// Whether packets of `level` can be sealed.
    pub fn can_seal(&self, level: Level) -> bool {
        // A server has 0-RTT keys only to open with.
        self.ready.has(level) && (level != Level::ZeroRtt || self.side.is_client())
    }

    /// The levels whose packets may share a datagram: those that can be sealed, without 0-RTT.
    pub(crate) const fn sealable(&self) -> LevelSet {
        self.ready.without(LevelSet::of(Level::ZeroRtt))
    }

    /// Whether packets of the handshake can still be sealed: without, none are under way.
    pub(crate) const fn in_handshake(&self) -> bool {
        !self.sealable().without(LevelSet::of(Level::OneRtt)).is_none()
    }

    /// Whether packets of `level` can be opened.
    ///
    /// # Errors
    /// Why they cannot: [`Why::NoKeys`] also for 1-RTT packets that overtook the end of the handshake (RFC 9001 5.7).
    pub fn check_open(&self, level: Level) -> Result<(), Why> {
        let too_early = level == Level::OneRtt && self.handshake == Handshake::Running;
        let not_ours = level == Level::ZeroRtt && self.side.is_client();
        if self.discarded.has(level) {
            Err(Why::KeysDiscarded)
        } else if self.ready.has(level) && !too_early && !not_ours {
            Ok(())
        } else {
            Err(Why::NoKeys)
        }
    }

    /// The highest level that packets can be sealed in.
    pub fn highest(&self) -> Option<Level> {
        Level::ALL.into_iter().rev().find(|level| self.can_seal(*level))
    }

    /// The levels that CONNECTION_CLOSE is sent in: every one that the peer may still be at (RFC 9000 10.2.3).
    pub fn for_close(&self) -> impl Iterator<Item = Level> {
        self.sealable().iter()
    }

    /// A packet of `level` was sent.
    pub fn on_sent(&mut self, level: Level) -> Option<Level> {
        if level == Level::Handshake && self.side.is_client() { self.discard(Level::Initial) } else { None }
    }

    /// A packet of `level` was opened.
    pub fn on_opened(&mut self, level: Level, now: Instant, pto: Span) -> Option<Level> {
        match level {
            Level::Handshake if !self.side.is_client() => self.discard(Level::Initial),
            Level::OneRtt if self.ready.has(Level::ZeroRtt) && !self.discard_zero_rtt.is_set() => {
                self.discard_zero_rtt = Deadline::at(now.after(pto.saturating_mul(PTOS)));
                None
            }
            _ => None,
        }
    }

    /// TLS says that the handshake is complete, which confirms it on a server.
    pub fn on_complete(&mut self) -> Option<Level> {
        self.handshake = self.handshake.max(Handshake::Complete);
        if self.side.is_client() { None } else { self.on_confirmed() }
    }

    /// HANDSHAKE_DONE came, or a 1-RTT packet of a client was acknowledged (RFC 9001 4.1.2). Counts only once the
    /// handshake is complete.
    pub fn on_confirmed(&mut self) -> Option<Level> {
        if self.handshake != Handshake::Complete {
            return None;
        }
        self.handshake = Handshake::Confirmed;
        self.discard(Level::Handshake)
    }

    /// Whether the TLS handshake is complete (RFC 9001 4.1.1).
    pub fn is_complete(&self) -> bool {
        self.handshake >= Handshake::Complete
    }

    /// Whether it is confirmed (RFC 9001 4.1.2).
    pub fn is_confirmed(&self) -> bool {
        self.handshake == Handshake::Confirmed
    }

    /// When to call [`Self::on_timeout`].
    pub const fn next_timeout(&self) -> Deadline {
        self.discard_zero_rtt
    }

    /// Discards what has had its time.
    pub fn on_timeout(&mut self, now: Instant) -> Option<Level> {
        if !self.discard_zero_rtt.is_due(now) {
            return None;
        }
        self.discard_zero_rtt = Deadline::NEVER;
        self.discard(Level::ZeroRtt)
    }

    fn discard(&mut self, level: Level) -> Option<Level> {
        let had = self.ready.has(level);
        self.ready = self.ready.without(LevelSet::of(level));
        self.discarded = self.discarded.with(LevelSet::of(level));
        had.then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{Handshake as Hs, Initial, OneRtt, ZeroRtt};
    use std::vec::Vec;

    const T0: Instant = Instant::ZERO;
    const PTO: Span = Span::from_millis(100);

    fn with_keys(side: Side, keys: &[Level]) -> Levels {
        let mut levels = Levels::new(side);
        keys.iter().for_each(|level| assert_eq!(levels.on_keys(*level), None));
        levels
    }

    #[test]
    fn a_client_from_first_to_last() {
        let mut levels = with_keys(Side::Client, &[Initial, ZeroRtt, Hs]);
        assert_eq!(levels.highest(), Some(Hs));
        assert_eq!(levels.check_open(ZeroRtt), Err(Why::NoKeys));
        assert_eq!(levels.on_opened(Hs, T0, PTO), None);
        assert_eq!(levels.on_sent(Initial), None);
        assert_eq!((levels.on_sent(Hs), levels.on_sent(Hs)), (Some(Initial), None));
        assert_eq!(levels.check_open(Initial), Err(Why::KeysDiscarded));
        assert_eq!(levels.on_keys(OneRtt), Some(ZeroRtt));
        assert_eq!((levels.on_confirmed(), levels.on_complete()), (None, None));
        assert!(levels.is_complete() && !levels.is_confirmed());
        assert_eq!(levels.for_close().collect::<Vec<_>>(), [Hs, OneRtt]);
        assert_eq!((levels.on_confirmed(), levels.on_confirmed()), (Some(Hs), None));
        assert!(levels.is_confirmed() && levels.check_open(OneRtt).is_ok());
        assert_eq!(levels.for_close().collect::<Vec<_>>(), [OneRtt]);
        assert_eq!(levels.on_keys(Hs), None);
        assert!(!levels.can_seal(Hs), "discarded is for good");
    }

    #[test]
    fn a_server_from_first_to_last() {
        let mut levels = with_keys(Side::Server, &[Initial, ZeroRtt, Hs, OneRtt]);
        assert!(!levels.can_seal(ZeroRtt) && levels.check_open(ZeroRtt).is_ok());
        assert_eq!(levels.check_open(OneRtt), Err(Why::NoKeys), "the client is not authenticated yet");
        assert_eq!(levels.for_close().collect::<Vec<_>>(), [Initial, Hs, OneRtt]);
        assert_eq!(levels.on_sent(Hs), None);
        assert_eq!(levels.on_opened(Hs, T0, PTO), Some(Initial));
        assert_eq!(levels.on_complete(), Some(Hs));
        assert!(levels.is_confirmed() && levels.check_open(OneRtt).is_ok());
        assert_eq!(levels.on_opened(OneRtt, T0, PTO), None);
        assert_eq!(levels.on_opened(OneRtt, T0.after(PTO), PTO), None);
        assert_eq!(levels.next_timeout(), Deadline::at(T0.after(PTO.saturating_mul(3))));
        assert_eq!(levels.on_timeout(T0.after(PTO.saturating_mul(3))), Some(ZeroRtt));
        assert_eq!(levels.next_timeout(), Deadline::NEVER);
    }

    #[test]
    fn without_keys_nothing_can_be_done() {
        let levels = Levels::new(Side::Server);
        assert!(Level::ALL.into_iter().all(|level| levels.check_open(level) == Err(Why::NoKeys)));
        assert_eq!(levels.highest(), None);
    }
}
