//! A session with no cryptography: the bytes, the order and the key names of RFC 9001, and checksums for tags.
//!
//! For tests and fuzzing of core. It is strict on purpose: a call that [`Session`]'s contract or RFC 9001 forbids to
//! core panics here (a packet number sealed that is no larger than the last of its path, a key used beyond its limit, 1-RTT packets opened by a server whose
//! handshake is not complete, CRYPTO bytes asked for that were acknowledged). What a *peer* may cause never panics.
//!
//! The messages are those of [`Flights`]; there is no 0-RTT.

mod endpoint;
mod flights;
mod protection;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use peregrine_core::error::TransportError;
use peregrine_core::ids::{PathId, Side};
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{AeadLimits, Key, KeyError, Level, Session, SessionEvent};

use crate::digest::Digest;
use crate::rng::Rng;
pub use endpoint::NullEndpointCrypto;
use flights::Exchange;
pub use flights::Flights;
pub use protection::Counters;
use protection::Keys;

/// What every null session negotiates.
pub const ALPN: &[u8] = b"null";

/// How a null session behaves.
#[derive(Clone, Debug)]
pub struct NullConfig {
    /// Where [`Session::fill_random`] and the hellos get their bytes from.
    pub seed: u64,
    /// How long the messages are that this side sends.
    pub flights: Flights,
    /// The limits of 1-RTT keys. Small ones force key updates. Those of a handshake are not counted: it ends before.
    pub limits: AeadLimits,
    /// Answers the peer's first whole flight (a server: the hello; a client: the Handshake flight) with this TLS alert.
    pub refuse: Option<u8>,
}

impl NullConfig {
    /// Flights of ordinary length, limits of AES-GCM (RFC 9001 6.6), no refusal.
    pub fn seeded(seed: u64) -> Self {
        let limits = AeadLimits { confidentiality: 1 << 23, integrity: 1 << 52 };
        Self { seed, flights: Flights::default(), limits, refuse: None }
    }
}

/// A [`Session`] that protects nothing.
#[derive(Clone, Debug)]
pub struct NullSession {
    limits: AeadLimits,
    exchange: Exchange,
    keys: Keys,
    events: VecDeque<SessionEvent>,
    rng: Rng,
}

impl NullSession {
    /// The session of one side.
    pub fn new(side: Side, config: &NullConfig) -> Self {
        let mut rng = Rng::new(config.seed ^ (side as u64).rotate_right(1));
        let exchange = Exchange::new(side, config.flights, config.refuse, rng.next_u64());
        let keys = Keys::new(side, config.limits.confidentiality);
        Self { limits: config.limits, exchange, keys, events: VecDeque::new(), rng }
    }

    /// How often keys were used so far.
    pub const fn counters(&self) -> &Counters {
        self.keys.counters()
    }

    /// The number of the 1-RTT packet that was sealed last on a path.
    pub fn last_sealed(&self, path: PathId) -> Option<u64> {
        self.keys.last_sealed(path)
    }

    fn collect_events(&mut self) {
        while let Some(event) = self.exchange.poll_event() {
            match event {
                SessionEvent::Keys(level) => self.keys.install(level, self.exchange.transcript()),
                SessionEvent::PeerParams => {}
                SessionEvent::Complete => self.keys.on_complete(),
            }
            self.events.push_back(event);
        }
    }
}

impl Session for NullSession {
    fn start(&mut self, params: &[u8]) -> Result<(), TransportError> {
        self.exchange.start(params);
        Ok(())
    }

    fn read_crypto(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError> {
        if bytes.is_empty() {
            return Err(TransportError::internal("nothing to read"));
        }
        let result = self.exchange.read(level, bytes);
        self.collect_events();
        result
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    fn crypto_len(&self, level: Level) -> u64 {
        self.exchange.outgoing(level).len()
    }

    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize {
        self.exchange.outgoing(level).copy(offset, out)
    }

    fn crypto_acked(&mut self, level: Level, upto: u64) {
        self.exchange.outgoing_mut(level).on_acked(upto);
    }

    fn peer_params(&self) -> Option<&[u8]> {
        self.exchange.peer_params()
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.exchange.peer_params().map(|_| ALPN)
    }

    fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
        if !self.keys.is_complete() {
            return Err(KeyError::Missing);
        }
        let mut digest = Digest::new();
        digest.number(self.exchange.transcript());
        digest.bytes(label);
        digest.bytes(context);
        Rng::new(digest.finish()).fill(out);
        Ok(())
    }

    fn set_initial_keys(&mut self, version: u32, dcid: &[u8]) {
        self.keys.install(Level::Initial, protection::initial_secret(version, dcid));
    }

    fn verify_retry(&self, version: u32, original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        protection::retry_tag(version, original_dcid, retry) == *tag
    }

    fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        self.keys.seal(key, path, pn, header, payload)
    }

    fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        self.keys.open(key, path, pn, header, payload)
    }

    fn protect(&mut self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        self.keys.protect(level, sample, first, pn);
    }

    fn unprotect(
        &mut self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool {
        self.keys.unprotect(level, sample, first, pn)
    }

    fn limits(&self, _: Level) -> AeadLimits {
        self.limits
    }

    fn update_keys(&mut self) {
        self.keys.update();
    }

    fn retire_keys(&mut self) {
        self.keys.retire();
    }

    fn discard(&mut self, level: Level) {
        self.keys.discard(level);
        self.exchange.discard(level);
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.rng.fill(out);
    }
}
