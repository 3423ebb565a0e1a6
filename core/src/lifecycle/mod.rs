//! From the first packet to the last: the states of a connection and the clocks that end them (RFC 9000 10).
//!
//! ```text
//! Handshaking --on_established--> Established
//!      |                               |
//!      +---- close --> Closing --------+---- on_peer_close, on_reset --> Draining
//!      |                  |  '------ on_peer_close, on_reset ---------------^ |
//!      |                  '------- 3 PTO ---> Drained <------- 3 PTO --------'
//!      '---- idle, handshake deadline, abandon --^
//! ```
//!
//! It does not know which levels have keys (RFC 9000 10.2.3: `handshake/levels`), nor recognise a stateless reset
//! (`cid/peer`), nor limit what an unvalidated address is sent while closing (`path/amplification`). A peer's
//! CONNECTION_CLOSE is not answered, which RFC 9000 10.2.2 leaves open.

pub mod close;
pub mod idle;
pub mod liveness;
pub mod phrase;

pub use close::{Close, Reason};
pub use idle::Timeouts;
pub use liveness::{Liveness, Silence};
pub use phrase::Phrase;

use crate::session::Level;
use crate::time::{Deadline, Instant, Span};
use crate::wire::frame::ConnectionClose;
use crate::wire::version::Offered;
use crate::wire::{NoSpace, PacketWriter};
use close::Closing;
use idle::Idle;

/// Closing and draining last so many PTOs (RFC 9000 10.2).
const PTOS: u32 = 3;

/// Why a connection ended, and who ended it. The first cause stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Cause {
    /// We closed it.
    Local(Close),
    /// The peer closed it.
    Peer(Close),
    /// The peer has lost its state (RFC 9000 10.3).
    StatelessReset,
    /// Nothing came for the idle timeout (RFC 9000 10.1).
    Idle,
    /// The handshake took too long.
    HandshakeTimeout,
    /// The peer's new address could not be validated, and there is none to return to (RFC 9000 9.3.2).
    NoRoute,
    /// The server speaks none of our versions, but these (RFC 9000 6.2).
    Version(Offered),
}

/// What a clock asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// A PING, so that neither the peer nor a middlebox forgets the connection.
    KeepAlive,
    /// Nothing more: the state of the connection can be dropped.
    Drained,
}

/// The life of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle(Phase);

#[derive(Clone, Copy, Debug)]
enum Phase {
    Handshaking { until: Deadline, idle: Idle },
    Established { idle: Idle },
    Ended { end: End, cause: Cause },
}

#[derive(Clone, Copy, Debug)]
enum End {
    Closing(Closing),
    Draining { until: Instant },
    Drained,
}

impl End {
    /// When the state of the connection can be dropped, if it is still kept.
    const fn until(&self) -> Option<Instant> {
        match self {
            Self::Closing(closing) => Some(closing.until()),
            Self::Draining { until } => Some(*until),
            Self::Drained => None,
        }
    }
}

impl Lifecycle {
    /// A connection that begins its handshake.
    pub fn new(now: Instant, timeouts: &Timeouts, pto: Span) -> Self {
        let until = timeouts.handshake.map(|within| now.after(within)).into();
        Self(Phase::Handshaking { until, idle: Idle::new(now, timeouts, pto) })
    }

    /// The TLS handshake is complete.
    pub const fn on_established(&mut self) {
        if let Phase::Handshaking { idle, .. } = self.0 {
            self.0 = Phase::Established { idle };
        }
    }

    /// The peer's max_idle_timeout is known; zero stands for none.
    pub fn on_peer_idle_timeout(&mut self, max_idle_timeout: Span) {
        if let Some(idle) = self.idle() {
            idle.on_peer_timeout(max_idle_timeout);
        }
    }

    /// Whether packets of all kinds may be sent and received.
    pub const fn is_open(&self) -> bool {
        !matches!(self.0, Phase::Ended { .. })
    }

    /// Whether the TLS handshake is complete and nobody closed.
    pub const fn is_established(&self) -> bool {
        matches!(self.0, Phase::Established { .. })
    }

    /// Whether the state of the connection can be dropped.
    pub const fn is_drained(&self) -> bool {
        matches!(self.0, Phase::Ended { end: End::Drained, .. })
    }

    /// Ends a connection that only waits for its peer's packets to cease. Returns whether it was one.
    pub const fn stop_draining(&mut self) -> bool {
        match &mut self.0 {
            Phase::Ended { end: end @ End::Draining { .. }, .. } => {
                *end = End::Drained;
                true
            }
            _ => false,
        }
    }

    /// Whether the peer has ended the connection, and nothing is left but to hear its packets cease.
    pub const fn is_draining(&self) -> bool {
        matches!(self.0, Phase::Ended { end: End::Draining { .. }, .. })
    }

    /// Why the connection ended, if it did.
    pub const fn cause(&self) -> Option<&Cause> {
        match &self.0 {
            Phase::Ended { cause, .. } => Some(cause),
            Phase::Handshaking { .. } | Phase::Established { .. } => None,
        }
    }

    /// A packet was received and processed.
    pub fn on_received(&mut self, now: Instant, pto: Span) {
        match &mut self.0 {
            Phase::Handshaking { idle, .. } | Phase::Established { idle } => idle.on_received(now, pto),
            Phase::Ended { end: End::Closing(closing), .. } => closing.on_received(),
            Phase::Ended { .. } => {}
        }
    }

    /// Whether the next ack-eliciting packet is the first one since something was received: of others there is nothing to note.
    pub const fn is_answered(&self) -> bool {
        match &self.0 {
            Phase::Handshaking { idle, .. } | Phase::Established { idle } => idle.is_answered(),
            Phase::Ended { .. } => false,
        }
    }

    /// An ack-eliciting packet was sent.
    pub fn on_ack_eliciting_sent(&mut self, now: Instant, pto: Span) {
        if let Some(idle) = self.idle() {
            idle.on_ack_eliciting_sent(now, pto);
        }
    }

    /// We end the connection; only the first such call counts.
    pub fn close(&mut self, now: Instant, pto: Span, close: Close) {
        if self.is_open() {
            let closing = Closing::new(now.after(pto.saturating_mul(PTOS)));
            self.0 = Phase::Ended { end: End::Closing(closing), cause: Cause::Local(close) };
        }
    }

    /// The peer ended it with CONNECTION_CLOSE.
    pub fn on_peer_close(&mut self, now: Instant, pto: Span, frame: &ConnectionClose<'_>) {
        self.drain(now, pto, Cause::Peer(Close::from_frame(frame)));
    }

    /// A stateless reset of the peer came.
    pub fn on_reset(&mut self, now: Instant, pto: Span) {
        self.drain(now, pto, Cause::StatelessReset);
    }

    /// Ends the connection with no further word: the peer has no state of it, or cannot be told.
    pub fn abandon(&mut self, cause: Cause) {
        self.end(End::Drained, cause);
    }

    /// Whether a packet with CONNECTION_CLOSE should be sent.
    pub const fn wants_close(&self) -> bool {
        matches!(&self.0, Phase::Ended { end: End::Closing(closing), .. } if closing.is_owed())
    }

    /// Writes our CONNECTION_CLOSE into a packet of `level`. Several levels may get one, before
    /// [`Self::on_close_sent`].
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit.
    pub fn write(&self, level: Level, out: &mut PacketWriter<'_>) -> Result<(), NoSpace> {
        match self.cause() {
            Some(Cause::Local(close)) if self.wants_close() => close.write(level, out),
            _ => Ok(()),
        }
    }

    /// A datagram with CONNECTION_CLOSE was sent.
    pub const fn on_close_sent(&mut self) {
        if let Phase::Ended { end: End::Closing(closing), .. } = &mut self.0 {
            closing.on_sent();
        }
    }

    /// When to call [`Self::on_timeout`].
    pub fn next_timeout(&self) -> Deadline {
        match &self.0 {
            Phase::Handshaking { until, idle } => (*until).min(idle.deadline()),
            Phase::Established { idle } => idle.deadline().min(idle.keep_alive()),
            Phase::Ended { end, .. } => end.until().into(),
        }
    }

    /// What is due now.
    pub fn on_timeout(&mut self, now: Instant) -> Option<Due> {
        if !self.next_timeout().is_due(now) {
            return None;
        }
        match &mut self.0 {
            Phase::Handshaking { until, .. } if until.is_due(now) => self.abandon(Cause::HandshakeTimeout),
            Phase::Established { idle } if !idle.deadline().is_due(now) => {
                idle.on_keep_alive();
                return Some(Due::KeepAlive);
            }
            Phase::Handshaking { .. } | Phase::Established { .. } => self.abandon(Cause::Idle),
            Phase::Ended { end, .. } => *end = End::Drained,
        }
        Some(Due::Drained)
    }

    fn drain(&mut self, now: Instant, pto: Span, cause: Cause) {
        let until = match &self.0 {
            Phase::Handshaking { .. } | Phase::Established { .. } => now.after(pto.saturating_mul(PTOS)),
            // Both sides close: the end does not move (RFC 9000 10.2.2).
            Phase::Ended { end: End::Closing(closing), .. } => closing.until(),
            Phase::Ended { .. } => return,
        };
        self.end(End::Draining { until }, cause);
    }

    /// The first cause stays.
    fn end(&mut self, end: End, cause: Cause) {
        match &mut self.0 {
            Phase::Ended { end: before, .. } => *before = end,
            Phase::Handshaking { .. } | Phase::Established { .. } => self.0 = Phase::Ended { end, cause },
        }
    }

    const fn idle(&mut self) -> Option<&mut Idle> {
        match &mut self.0 {
            Phase::Handshaking { idle, .. } | Phase::Established { idle } => Some(idle),
            Phase::Ended { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, TransportError};

    const T0: Instant = Instant::ZERO;
    const PTO: Span = Span::from_millis(100);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn begun() -> Lifecycle {
        let timeouts = Timeouts {
            handshake: Some(Span::from_secs(5)),
            idle: Span::from_secs(30),
            keep_alive: Some(Span::from_secs(10)),
        };
        Lifecycle::new(T0, &timeouts, PTO)
    }

    fn established() -> Lifecycle {
        let mut life = begun();
        life.on_established();
        life
    }

    fn by_application() -> Close {
        Close::application(7, "done")
    }

    const PEER_CLOSES: ConnectionClose<'_> = ConnectionClose { code: 9, frame: None, reason: b"bye" };

    #[test]
    fn a_handshake_has_a_deadline_and_an_established_connection_an_idle_timeout() {
        let mut life = begun();
        assert_eq!(life.on_timeout(at(4_999)), None);
        assert_eq!(life.on_timeout(at(5_000)), Some(Due::Drained));
        assert_eq!((life.cause(), life.is_drained()), (Some(&Cause::HandshakeTimeout), true));
        let mut life = established();
        assert_eq!(life.on_timeout(at(10_000)), Some(Due::KeepAlive));
        assert_eq!(life.on_timeout(at(10_000)), None, "one PING is enough");
        assert_eq!(life.next_timeout(), Deadline::at(at(30_000)));
        assert_eq!(life.on_timeout(at(30_000)), Some(Due::Drained));
        assert_eq!(life.cause(), Some(&Cause::Idle));
    }

    #[test]
    fn closing_repeats_itself_ever_more_rarely_and_ends_after_three_ptos() {
        let mut life = established();
        life.close(at(50), PTO, by_application());
        life.close(at(51), PTO, Close::transport(&TransportError::internal("later")));
        assert!(life.wants_close() && !life.is_open());
        life.on_close_sent();
        let mut answered = std::vec::Vec::new();
        for packet in 1..=100 {
            life.on_received(at(60), PTO);
            if life.wants_close() {
                life.on_close_sent();
                answered.push(packet);
            }
        }
        assert_eq!(answered, [1, 3, 7, 15, 31, 63]);
        assert_eq!(life.next_timeout(), Deadline::at(at(350)));
        assert_eq!(life.on_timeout(at(350)), Some(Due::Drained));
        assert_eq!(life.cause(), Some(&Cause::Local(by_application())));
    }

    #[test]
    fn draining_says_nothing() {
        let mut life = established();
        life.on_peer_close(at(50), PTO, &PEER_CLOSES);
        life.on_received(at(60), PTO);
        life.close(at(60), PTO, by_application());
        assert!(!life.wants_close() && !life.is_open());
        assert_eq!(life.cause(), Some(&Cause::Peer(Close::application(9, "bye"))));
        assert_eq!(life.on_timeout(at(349)), None);
        assert_eq!(life.on_timeout(at(350)), Some(Due::Drained));
        assert_eq!(life.on_timeout(at(999)), None);
    }

    #[test]
    fn who_drains_may_stop_and_who_closes_may_not() {
        let mut life = established();
        assert!(!life.is_draining() && !life.stop_draining());
        life.close(at(0), PTO, by_application());
        assert!(!life.is_draining() && !life.stop_draining() && life.wants_close());
        life.on_peer_close(at(10), PTO, &PEER_CLOSES);
        assert!(life.is_draining() && life.stop_draining() && life.is_drained() && !life.stop_draining());
        assert_eq!(life.cause(), Some(&Cause::Local(by_application())));
    }

    #[test]
    fn when_both_close_the_end_and_the_cause_stay() {
        let mut life = established();
        life.close(at(0), PTO, by_application());
        life.on_peer_close(at(200), PTO, &PEER_CLOSES);
        assert!(!life.wants_close());
        assert_eq!(life.next_timeout(), Deadline::at(at(300)));
        life.on_reset(at(250), PTO);
        assert_eq!(life.next_timeout(), Deadline::at(at(300)));
        assert_eq!(life.cause(), Some(&Cause::Local(by_application())));
    }

    #[test]
    fn a_reset_drains() {
        let mut life = established();
        life.on_reset(at(1), PTO);
        assert_eq!((life.cause(), life.is_open()), (Some(&Cause::StatelessReset), false));
        assert_eq!(life.next_timeout(), Deadline::at(at(301)));
    }

    #[test]
    fn a_version_nobody_speaks_ends_it_at_once() {
        let mut life = begun();
        life.abandon(Cause::Version(Offered::default()));
        assert!(life.is_drained() && life.next_timeout() == Deadline::NEVER);
        life.on_established();
        assert!(!life.is_established());
    }

    #[test]
    fn writes_only_when_owed() {
        let mut buffer = [0; 200];
        let mut life = established();
        life.close(T0, PTO, Close::transport(&TransportError::new(Code::NO_ERROR, "")));
        let mut out = PacketWriter::new(&mut buffer);
        life.write(Level::Handshake, &mut out).unwrap();
        life.write(Level::OneRtt, &mut out).unwrap();
        assert_eq!(out.len(), 8);
        life.on_close_sent();
        life.write(Level::OneRtt, &mut out).unwrap();
        assert_eq!(out.len(), 8);
    }
}
