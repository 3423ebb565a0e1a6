//! A session without cryptography, as small as it can be: what is linked or counted beside it is core.
//!
//! ```text
//! client                              server
//! Initial    params        ──────▶              Keys(Handshake), Keys(OneRtt)
//!                          ◀──────    "hello"   Initial
//!                          ◀──────    params    Handshake
//! Handshake  "done"        ──────▶              Complete
//! ```
//!
//! A message is its length and its bytes.

use peregrine_core::error::TransportError;
use peregrine_core::ids::{PathId, Side};
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{AeadLimits, Key, KeyError, Level, Session, SessionEvent};

/// Bytes of a message at most, its length included.
const LONGEST: usize = 256;

/// A [`Session`] that protects nothing.
pub struct NullSession {
    side: Side,
    params: Message,
    peer_params: Message,
    /// Bytes that came of the message that is due.
    reading: Level,
    /// A bit for each level that has keys.
    keys: u8,
    /// Events not yet told, a bit each.
    events: u8,
    random: u32,
}

struct Message {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Message {
    const EMPTY: Self = Self { bytes: [0; LONGEST], len: 0 };

    /// Takes bytes, up to the end of the message.
    fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let mut rest = bytes;
        while let (false, Some((byte, after))) = (self.is_whole(), rest.split_first()) {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = *byte;
            }
            self.len = self.len.saturating_add(1);
            rest = after;
        }
        rest
    }

    fn is_whole(&self) -> bool {
        self.len > usize::from(self.bytes[0])
    }

    fn body(&self) -> &[u8] {
        self.bytes.get(1..self.len).unwrap_or_default()
    }

    fn whole(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A message with nothing in it.
const NOTHING: &[u8] = &[1, 0];

const EVENTS: [SessionEvent; 4] = [
    SessionEvent::Keys(Level::Handshake),
    SessionEvent::PeerParams,
    SessionEvent::Keys(Level::OneRtt),
    SessionEvent::Complete,
];

impl NullSession {
    /// The session of one side.
    pub const fn new(side: Side, random: u32) -> Self {
        let (params, peer_params) = (Message::EMPTY, Message::EMPTY);
        Self { side, params, peer_params, reading: Level::Initial, keys: 0, events: 0, random: random | 1 }
    }

    fn has(&self, level: Level) -> bool {
        self.keys & 1 << level as u8 != 0
    }

    /// What we say on a level.
    fn said(&self, level: Level) -> &[u8] {
        match (level, self.side) {
            (Level::Initial, Side::Client) => self.params.whole(),
            (Level::Initial, Side::Server) if self.has(Level::Handshake) => NOTHING,
            (Level::Handshake, Side::Client) if self.has(Level::OneRtt) => NOTHING,
            (Level::Handshake, Side::Server) if self.has(Level::OneRtt) => self.params.whole(),
            _ => &[],
        }
    }

    /// The message of a level came.
    fn on_message(&mut self, level: Level) {
        let (keys, events) = match (level, self.side) {
            (Level::Initial, Side::Client) => (Level::Handshake, 0b0001),
            (Level::Initial, Side::Server) => (Level::OneRtt, 0b0111),
            (_, Side::Client) => (Level::OneRtt, 0b1110),
            (_, Side::Server) => (Level::OneRtt, 0b1000),
        };
        self.keys |= 1 << Level::Handshake as u8 | 1 << keys as u8;
        self.events |= events;
        self.reading = if level == Level::Initial { Level::Handshake } else { Level::OneRtt };
    }
}

impl Session for NullSession {
    fn start(&mut self, params: &[u8]) -> Result<(), TransportError> {
        let len = u8::try_from(params.len()).map_err(|_| TransportError::internal("long parameters"))?;
        self.params.take(&[len]);
        self.params.take(params);
        Ok(())
    }

    fn read_crypto(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError> {
        if level != self.reading || level == Level::OneRtt {
            return Err(TransportError::internal("a message that is not due"));
        }
        // Where no parameters come, the message is forgotten as soon as it is whole.
        let carries_params = (level == Level::Initial) != self.side.is_client();
        self.peer_params.take(bytes);
        if self.peer_params.is_whole() {
            if !carries_params && self.side.is_client() {
                self.peer_params = Message::EMPTY;
            }
            self.on_message(level);
        }
        Ok(())
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        let next = self.events.trailing_zeros() as usize;
        let event = EVENTS.get(next).copied()?;
        self.events &= self.events.wrapping_sub(1);
        Some(event)
    }

    fn crypto_len(&self, level: Level) -> u64 {
        self.said(level).len() as u64
    }

    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize {
        let rest = self.said(level).iter().skip(offset as usize);
        out.iter_mut().zip(rest).map(|(to, from)| *to = *from).count()
    }

    fn crypto_acked(&mut self, _: Level, _: u64) {}

    fn peer_params(&self) -> Option<&[u8]> {
        Some(self.peer_params.body())
    }

    fn alpn(&self) -> Option<&[u8]> {
        None
    }

    fn export(&self, _: &[u8], _: &[u8], _: &mut [u8]) -> Result<(), KeyError> {
        Err(KeyError::Missing)
    }

    fn set_initial_keys(&mut self, _: u32, _: &[u8]) {
        self.keys |= 1;
    }

    fn verify_retry(&self, _: u32, _: &[u8], _: &[u8], _: &[u8; TAG_LEN]) -> bool {
        true
    }

    fn seal(&mut self, key: Key, _: PathId, _: u64, _: &[u8], _: &mut [u8]) -> Result<(), KeyError> {
        if self.has(key.level) { Ok(()) } else { Err(KeyError::Missing) }
    }

    fn open(&mut self, key: Key, _: PathId, _: u64, _: &[u8], payload: &mut [u8]) -> Result<usize, KeyError> {
        if self.has(key.level) {
            payload.len().checked_sub(TAG_LEN).ok_or(KeyError::Forged)
        } else {
            Err(KeyError::Missing)
        }
    }

    fn protect(&mut self, _: Level, _: &[u8; SAMPLE_LEN], _: &mut u8, _: &mut [u8]) {}

    fn unprotect(&mut self, level: Level, _: &[u8; SAMPLE_LEN], _: &mut u8, _: &mut [u8; 4]) -> bool {
        self.has(level)
    }

    fn limits(&self, _: Level) -> AeadLimits {
        AeadLimits { confidentiality: u64::MAX, integrity: u64::MAX }
    }

    fn update_keys(&mut self) {}

    fn retire_keys(&mut self) {}

    fn discard(&mut self, level: Level) {
        self.keys &= !(1 << level as u8);
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        for byte in out {
            // Marsaglia's xorshift.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            *byte = self.random as u8;
        }
    }
}
