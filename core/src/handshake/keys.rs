//! Key update and the limits of keys (RFC 9001 6), in generations: core holds no key, only their names.
//!
//! ```text
//!          .--------------------- initiate, or a packet of the peer opens with generation n + 1 --.
//!          v                                                                                      |
//! send: Unacked --a packet of ours in this generation is acked--> (3 PTO) --> may initiate -------'
//! peer: Awaited --opens in this generation--> Unanswered --we acknowledge in it--> Answered
//! old:  kept -----opens in this generation--> kept for 3 PTO --on_timeout--> retired
//! ```
//!
//! [`KeyUpdate`] is one per connection, since all paths share the keys; packet numbers are per path, and what is known of
//! them is a [`PathPhase`]. Whoever calls [`KeyUpdate::initiate`], or is told [`Opened::Updated`], calls
//! `Session::update_keys`; the generation before stays usable until `Session::retire_keys`.
//!
//! Only 1-RTT keys are counted and updated. Those of other levels protect too few packets to come near a limit.

use core::num::NonZeroU32;

use crate::error::{Code, TransportError};
use crate::session::{AeadLimits, Key, Level};
use crate::time::{Deadline, Instant, Span};

/// Old keys are kept, and a next update waits, for so many PTOs (RFC 9001 6.5).
const PTOS: u32 = 3;
/// Packets held back from the confidentiality limit, so that the connection can still say why it ends.
const RESERVE: u64 = 64;

/// A packet number as others near it know it: one beyond it, without its high half. Of those compared here none lies 2^31 from
/// another while both matter. One in 2^32 has no such form, and is taken for the next.
#[derive(Clone, Copy, Debug)]
struct Near(NonZeroU32);

impl Near {
    fn new(pn: u64) -> Self {
        Self(NonZeroU32::new(pn.wrapping_add(1) as u32).unwrap_or(NonZeroU32::MIN))
    }

    /// Whether `pn` lies below it.
    fn is_above(self, pn: u64) -> bool {
        self.0.get().wrapping_sub(Self::new(pn).0.get()).cast_signed() > 0
    }

    /// Whether `pn` lies above it.
    fn is_below(self, pn: u64) -> bool {
        self.0.get().wrapping_sub(Self::new(pn).0.get()).cast_signed() < 0
    }
}

/// The packet numbers of one path's 1-RTT space, as far as they tell generations apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct PathPhase {
    first_sent: Option<Near>,
    /// The lowest number opened, and the highest.
    lowest: Option<Near>,
    highest: Option<Near>,
    /// The highest number opened with an older generation.
    highest_old: Option<Near>,
    /// The low bits of the generation that the first three speak of: nobody is 256 updates behind.
    generation: u8,
}

impl PathPhase {
    /// A path that nothing was sent or received on.
    pub const NEW: Self =
        Self { generation: 0, first_sent: None, lowest: None, highest: None, highest_old: None };

    #[cfg_attr(target_os = "none", inline(never))]
    fn catch_up(&mut self, generation: u32) {
        if !self.is_of(generation) {
            let highest_old = self.highest_before(generation);
            *self = Self { generation: generation as u8, highest_old, ..Self::NEW };
        }
    }

    const fn is_of(&self, generation: u32) -> bool {
        self.generation == generation as u8
    }

    /// The highest number opened with a generation older than this one, which is not older than the path's.
    fn highest_before(&self, generation: u32) -> Option<Near> {
        self.highest.filter(|_| !self.is_of(generation)).or(self.highest_old)
    }

    /// The lowest number opened in `generation`.
    fn lowest_in(&self, generation: u32) -> Option<Near> {
        self.lowest.filter(|_| self.is_of(generation))
    }
}

/// Whether we may initiate an update (RFC 9001 6.1, 6.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Permit {
    /// Not before the handshake is confirmed.
    Unconfirmed,
    /// Not before a packet of this generation is acknowledged.
    Unacked,
    From(Instant),
}

/// How far the peer has followed into this generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Peer {
    Awaited,
    Unanswered,
    Answered,
}

/// The receive keys of the generation before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Old {
    None,
    /// Until the peer has followed.
    Kept,
    KeptUntil(Instant),
}

/// Whether the application has asked for an update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    None,
    Update,
}

/// What opening a packet brought about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opened {
    /// Nothing.
    Same,
    /// The peer has moved to the next generation, and we with it: call `Session::update_keys`.
    Updated,
}

/// The 1-RTT keys of a connection.
#[derive(Clone, Copy, Debug)]
pub struct KeyUpdate {
    generation: u32,
    permit: Permit,
    peer: Peer,
    old: Old,
    wish: Wish,
    /// Packets sealed with this generation.
    sealed: u64,
    /// Packets of the connection that did not open, over all keys.
    forged: u64,
    limits: AeadLimits,
}

impl KeyUpdate {
    /// The first generation.
    pub const fn new(limits: AeadLimits) -> Self {
        Self {
            generation: 0,
            permit: Permit::Unconfirmed,
            peer: Peer::Answered,
            old: Old::None,
            wish: Wish::None,
            sealed: 0,
            forged: 0,
            limits,
        }
    }

    /// 1-RTT keys exist; these are the limits of their AEAD. What was forged before counts on.
    pub const fn on_keys(&mut self, limits: AeadLimits) {
        self.limits = limits;
    }

    /// The key to seal with.
    pub const fn key(&self) -> Key {
        Key { level: Level::OneRtt, generation: self.generation }
    }

    /// The Key Phase bit of packets sealed now.
    pub const fn phase(&self) -> bool {
        phase_of(self.generation)
    }

    /// The handshake is confirmed (RFC 9001 4.1.2).
    pub fn on_confirmed(&mut self) {
        if self.permit == Permit::Unconfirmed {
            self.permit = Permit::Unacked;
        }
    }

    /// The application wants an update; it happens as soon as it is permitted.
    pub const fn request(&mut self) {
        self.wish = Wish::Update;
    }

    /// Whether to call [`Self::initiate`] before the next packet: an update is permitted, and it was asked for or the
    /// keys are half used up.
    pub fn wants_update(&self, now: Instant) -> bool {
        let permitted =
            matches!(self.permit, Permit::From(from) if from <= now) && self.peer == Peer::Answered;
        permitted && (self.wish == Wish::Update || self.sealed >= self.limits.confidentiality / 2)
    }

    /// Moves to the next generation; call `Session::update_keys`.
    pub const fn initiate(&mut self) {
        self.advance(Peer::Awaited, Old::Kept);
    }

    /// A packet was sealed with [`Self::key`].
    ///
    /// # Errors
    /// AEAD_LIMIT_REACHED if the keys are used up and no update was possible in time (RFC 9001 6.6).
    pub fn on_sealed(&mut self, path: &mut PathPhase, pn: u64) -> Result<(), TransportError> {
        path.catch_up(self.generation);
        path.first_sent.get_or_insert(Near::new(pn));
        self.sealed = self.sealed.saturating_add(1);
        if self.sealed >= self.limits.confidentiality.saturating_sub(RESERVE) {
            return Err(TransportError::new(
                Code::AEAD_LIMIT_REACHED,
                "keys sealed as many packets as they may",
            ));
        }
        Ok(())
    }

    /// A packet sealed with [`Self::key`] carried an acknowledgment of 1-RTT packets.
    pub fn on_ack_sent(&mut self) {
        if self.peer == Peer::Unanswered {
            self.peer = Peer::Answered;
        }
    }

    /// The key to open a packet with, from its Key Phase bit and number (RFC 9001 6.5).
    pub fn generation_for(&self, path: &PathPhase, phase: bool, pn: u64) -> Key {
        let generation = if phase == self.phase() {
            self.generation
        } else if self.old != Old::None
            && path.lowest_in(self.generation).is_none_or(|lowest| lowest.is_above(pn))
        {
            // A path with nothing opened in this generation is still to follow into it, not already beyond.
            self.generation.saturating_sub(1)
        } else {
            self.generation.saturating_add(1)
        };
        Key { level: Level::OneRtt, generation }
    }

    /// Packet `pn` opened with `key`.
    ///
    /// # Errors
    /// KEY_UPDATE_ERROR if the peer used older keys for a higher number than newer ones (RFC 9001 6.4), or updated
    /// again before we had acknowledged its update (RFC 9001 6.2).
    pub fn on_opened(
        &mut self,
        path: &mut PathPhase,
        now: Instant,
        pto: Span,
        key: Key,
        pn: u64,
    ) -> Result<Opened, TransportError> {
        path.catch_up(self.generation);
        if key.generation < self.generation {
            if path.lowest_in(self.generation).is_some_and(|lowest| lowest.is_below(pn)) {
                return Err(OLD_KEYS);
            }
            if path.highest_old.is_none_or(|highest| highest.is_below(pn)) {
                path.highest_old = Some(Near::new(pn));
            }
            return Ok(Opened::Same);
        }
        // Before anything changes: the error is told under keys that the session has.
        if path.highest_before(key.generation).is_some_and(|highest| highest.is_above(pn)) {
            return Err(OLD_KEYS);
        }
        let until = || Old::KeptUntil(now.after(pto.saturating_mul(PTOS)));
        let opened = if key.generation == self.generation {
            if self.peer == Peer::Awaited {
                self.peer = Peer::Unanswered;
                self.old = until();
            }
            Opened::Same
        } else {
            if self.peer != Peer::Answered {
                return Err(error("peer updated its keys again before the last update was acked"));
            }
            self.advance(Peer::Unanswered, until());
            path.catch_up(self.generation);
            Opened::Updated
        };
        if path.lowest.is_none_or(|lowest| lowest.is_above(pn)) {
            path.lowest = Some(Near::new(pn));
        }
        if path.highest.is_none_or(|highest| highest.is_below(pn)) {
            path.highest = Some(Near::new(pn));
        }
        Ok(opened)
    }

    /// A packet opened with `key` acknowledges numbers up to `largest` of the path. Returns whether that is the first
    /// acknowledgment of the keys in use: [`Self::permit_update`] is to follow.
    ///
    /// # Errors
    /// KEY_UPDATE_ERROR if it acknowledges a packet of newer keys than it was sealed with (RFC 9001 6.2).
    pub fn on_acked(&mut self, path: &PathPhase, key: Key, largest: u64) -> Result<bool, TransportError> {
        let first_sent = path.first_sent.filter(|_| path.is_of(self.generation));
        if first_sent.is_none_or(|first| first.is_above(largest)) {
            return Ok(false);
        }
        if key.generation < self.generation {
            return Err(error("peer acknowledges new keys with a packet of old ones"));
        }
        Ok(self.permit == Permit::Unacked)
    }

    /// The keys in use may be updated in some time (RFC 9001 6.5): the first ones at once, for no earlier ones can be held by the peer.
    pub fn permit_update(&mut self, now: Instant, pto: Span) {
        let wait = if self.generation == 0 { Span::ZERO } else { pto.saturating_mul(PTOS) };
        self.permit = Permit::From(now.after(wait));
    }

    /// A packet of the connection did not open, whatever its level.
    ///
    /// # Errors
    /// AEAD_LIMIT_REACHED if that happened too often (RFC 9001 6.6).
    pub fn on_forged(&mut self) -> Result<(), TransportError> {
        self.forged = self.forged.saturating_add(1);
        if self.forged > self.limits.integrity {
            return Err(TransportError::new(Code::AEAD_LIMIT_REACHED, "too many packets that do not open"));
        }
        Ok(())
    }

    /// When to call [`Self::on_timeout`].
    pub const fn next_timeout(&self) -> Deadline {
        match self.old {
            Old::KeptUntil(until) => Deadline::at(until),
            Old::None | Old::Kept => Deadline::NEVER,
        }
    }

    /// Whether the old receive keys are to be retired now: call `Session::retire_keys`.
    pub fn on_timeout(&mut self, now: Instant) -> bool {
        let retire = self.next_timeout().is_due(now);
        if retire {
            self.old = Old::None;
        }
        retire
    }

    const fn advance(&mut self, peer: Peer, old: Old) {
        self.generation = self.generation.saturating_add(1);
        self.permit = Permit::Unacked;
        self.peer = peer;
        self.old = old;
        self.wish = Wish::None;
        self.sealed = 0;
    }
}

const fn phase_of(generation: u32) -> bool {
    generation & 1 == 1
}

const OLD_KEYS: TransportError = error("peer used old keys after new ones");

const fn error(reason: &'static str) -> TransportError {
    TransportError::new(Code::KEY_UPDATE_ERROR, reason)
}

#[cfg(test)]
mod tests;
