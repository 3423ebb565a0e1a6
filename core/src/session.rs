//! Everything secret of one connection, behind an object-safe trait: TLS bytes, packet protection, randomness.
//!
//! Core names keys by level and generation and holds no key byte, no algorithm and no type parameter. RFC 9001
//! sections 4 (carrying TLS), 5 (packet protection) and 6 (key update) are what an implementation obeys.

use crate::error::TransportError;
use crate::ids::{FourTuple, PathId};
use crate::limits::{RESET_TOKEN_LEN, SAMPLE_LEN, TAG_LEN};

/// An encryption level (RFC 9001 2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Level {
    /// Keys that anyone can derive.
    Initial,
    /// Early data.
    ZeroRtt,
    /// The rest of the TLS handshake.
    Handshake,
    /// Application data.
    OneRtt,
}

impl Level {
    /// All levels, in the order in which keys come.
    pub const ALL: [Self; 4] = [Self::Initial, Self::ZeroRtt, Self::Handshake, Self::OneRtt];
}

/// Some of the levels, a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LevelSet(u8);

impl LevelSet {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(level: Level) -> Self {
        Self(1_u8.wrapping_shl(level as u32))
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of both.
    pub(crate) const fn among(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that come after a level.
    pub(crate) const fn after(self, level: Level) -> Self {
        Self(self.0 & u8::MAX.wrapping_shl(1).wrapping_shl(level as u32))
    }

    pub(crate) const fn has(self, level: Level) -> bool {
        !self.among(Self::of(level)).is_none()
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// They, in the order in which keys come.
    pub(crate) fn iter(mut self) -> impl Iterator<Item = Level> {
        core::iter::from_fn(move || {
            let level = *Level::ALL.get(self.0.trailing_zeros() as usize)?;
            self = self.without(Self::of(level));
            Some(level)
        })
    }

    /// Those of them of which this holds.
    pub(crate) fn that(self, mut holds: impl FnMut(Level) -> bool) -> Self {
        self.iter().filter(|level| holds(*level)).fold(Self::NONE, |set, level| set.with(Self::of(level)))
    }
}

/// The name of a packet key: its level and, for 1-RTT, how many key updates came before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The level.
    pub level: Level,
    /// Key updates so far; zero for every level but 1-RTT.
    pub generation: u32,
}

impl Key {
    /// The first key of a level.
    pub const fn first(level: Level) -> Self {
        Self { level, generation: 0 }
    }
}

/// What TLS has to tell core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionEvent {
    /// Keys of this level exist, in both directions. (A server opens 1-RTT packets only after [`Self::Complete`].)
    Keys(Level),
    /// The peer's transport parameters can be read; on a client they are authenticated only by [`Self::Complete`].
    PeerParams,
    /// The TLS handshake is complete (RFC 9001 4.1.1).
    Complete,
}

/// How often a key may be used (RFC 9001 6.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AeadLimits {
    /// Packets sealed with one key.
    pub confidentiality: u64,
    /// Packets that failed to open, over all keys of a connection.
    pub integrity: u64,
}

/// A packet could not be sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum KeyError {
    /// There is no such key (not yet, or no more).
    Missing,
    /// The AEAD refused the packet.
    Forged,
}

/// TLS and packet protection of one connection.
///
/// Calls never block. `S: Session` may be moved freely; all of core sees it as `&mut dyn Session`.
pub trait Session {
    /// Starts TLS with our encoded transport parameters. A client has its ClientHello ready afterwards. Called once,
    /// before anything else but [`Self::set_initial_keys`] and [`Self::fill_random`].
    ///
    /// # Errors
    /// If the session cannot start, for example for want of memory lent to it.
    fn start(&mut self, params: &[u8]) -> Result<(), TransportError>;

    /// Takes CRYPTO bytes of `level`, in order and each exactly once. All are consumed; a message cut off at the end
    /// is kept until its rest comes.
    ///
    /// # Errors
    /// A TLS alert as 0x100 + alert (RFC 9001 4.8), or PROTOCOL_VIOLATION where RFC 9001 says so.
    fn read_crypto(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError>;

    /// Asks again for what TLS waits for, if it waits for anything: a step that takes long, or is done by hardware. Until
    /// then CRYPTO bytes are taken as ever and kept.
    ///
    /// # Errors
    /// Like [`Self::read_crypto`].
    fn resume(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    /// The next thing TLS has to tell; asked until `None` after every [`Self::start`], [`Self::read_crypto`] and [`Self::resume`].
    fn poll_event(&mut self) -> Option<SessionEvent>;

    /// How many CRYPTO bytes TLS has produced on `level` so far, counted from the first.
    fn crypto_len(&self, level: Level) -> u64;

    /// Copies CRYPTO bytes of `level` from `offset` on into `out`; returns how many. Any offset not yet reported by
    /// [`Self::crypto_acked`] may be asked again.
    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize;

    /// The peer has every CRYPTO byte of `level` below `upto`: their memory may be used anew.
    fn crypto_acked(&mut self, level: Level, upto: u64);

    /// The peer's encoded transport parameters, once TLS has them.
    fn peer_params(&self) -> Option<&[u8]>;

    /// The application protocol, once negotiated.
    fn alpn(&self) -> Option<&[u8]>;

    /// Fills `out` with keying material bound to this connection (RFC 8446 7.5).
    ///
    /// # Errors
    /// [`KeyError::Missing`] before the handshake is complete.
    fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), KeyError>;

    /// Derives the Initial keys from the client's first DCID, or from the one of a Retry (RFC 9001 5.2).
    fn set_initial_keys(&mut self, version: u32, dcid: &[u8]);

    /// Whether the tag of a Retry packet is genuine (RFC 9001 5.8). `retry` is the packet without its tag.
    fn verify_retry(&self, version: u32, original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool;

    /// Encrypts in place: the last [`TAG_LEN`] bytes of `payload` receive the tag. `header` is authenticated.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if there is no such key.
    fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError>;

    /// Decrypts in place; returns how many bytes of plaintext stand at the start of `payload`. For 1-RTT the current
    /// generation, the one before it (until [`Self::retire_keys`]) and the next one are available.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if there is no such key, [`KeyError::Forged`] if the packet is not genuine.
    fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError>;

    /// Applies header protection (RFC 9001 5.4) to the first byte and to the packet number bytes, whose count the
    /// low two bits of `first` tell.
    fn protect(&mut self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]);

    /// Removes header protection. `pn` holds the four bytes where a packet number may stand; those beyond its true
    /// length are left as they were. Returns `false` without keys.
    fn unprotect(
        &mut self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool;

    /// The limits of the AEAD of `level`.
    fn limits(&self, level: Level) -> AeadLimits;

    /// Moves to the next generation of 1-RTT keys in both directions (RFC 9001 6.1); the one before is still opened
    /// with until [`Self::retire_keys`].
    fn update_keys(&mut self);

    /// Forgets the generation of receive keys before the current one (RFC 9001 6.5).
    fn retire_keys(&mut self);

    /// Forgets everything of a level: keys and CRYPTO bytes (RFC 9001 4.9).
    fn discard(&mut self, level: Level);

    /// Fills `out` with bytes nobody can predict.
    fn fill_random(&mut self, out: &mut [u8]);
}

/// What an endpoint needs of cryptography with no connection at hand.
pub trait EndpointCrypto {
    /// The integrity tag of a Retry packet (RFC 9001 5.8). `retry` is the packet without its tag.
    fn retry_tag(&mut self, version: u32, original_dcid: &[u8], retry: &[u8]) -> [u8; TAG_LEN];

    /// Encrypts an address validation token in place: the plaintext is the first `len` bytes of `token`. Returns the
    /// length of the sealed token, or `None` if `token` has not [`TOKEN_OVERHEAD`] bytes to spare.
    fn seal_token(&mut self, token: &mut [u8], len: usize) -> Option<usize>;

    /// Opens a token in place; returns how many bytes of plaintext stand at its start, or `None` if it is not ours.
    fn open_token(&mut self, token: &mut [u8]) -> Option<usize>;

    /// The stateless reset token of a connection ID, always the same for the same ID (RFC 9000 10.3.2).
    fn reset_token(&mut self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN];

    /// Fills `cid` with a new connection ID, which nobody can link with another one. Random, unless the balancers of a fleet
    /// have to read it.
    fn fill_cid(&mut self, cid: &mut [u8]) {
        self.fill_random(cid);
    }

    /// Whether [`Self::fill_cid`] of this endpoint, before a restart too, may have made this connection ID. A stateless reset
    /// is sent for no other (RFC 9000 10.3).
    fn may_have_made(&mut self, _cid: &[u8]) -> bool {
        true
    }

    /// The IPv6 flow label, in the low 20 bits, of packets to `dcid` between these addresses: always the same for the same,
    /// and of no use to link it with another (RFC 9000 9.7).
    fn flow_label(&mut self, on: &FourTuple, dcid: &[u8]) -> u32;

    /// Seals a server's Initial packet with the keys that `client_dcid` yields, header protection included: `packet`
    /// is the header of `header_len` bytes that ends in a packet number of `pn_len` bytes, the payload, and room for
    /// the tag. For CONNECTION_REFUSED without a connection.
    fn seal_initial(
        &mut self,
        version: u32,
        client_dcid: &[u8],
        pn: u64,
        packet: &mut [u8],
        header_len: usize,
        pn_len: usize,
    );

    /// Fills `out` with bytes nobody can predict.
    fn fill_random(&mut self, out: &mut [u8]);
}

/// Bytes that [`EndpointCrypto::seal_token`] adds at most: a nonce and a tag.
pub const TOKEN_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{Handshake, Initial, OneRtt, ZeroRtt};
    use std::vec::Vec;

    fn set(levels: &[Level]) -> LevelSet {
        levels.iter().fold(LevelSet::NONE, |set, level| set.with(LevelSet::of(*level)))
    }

    #[test]
    fn a_set_of_levels_is_told_in_the_order_in_which_keys_come() {
        let some = set(&[OneRtt, Initial, Handshake]);
        assert_eq!(some.iter().collect::<Vec<_>>(), [Initial, Handshake, OneRtt]);
        assert_eq!(LevelSet::NONE.iter().next(), None);
        for (level, after) in [
            (Initial, &[Handshake, OneRtt][..]),
            (ZeroRtt, &[Handshake, OneRtt]),
            (Handshake, &[OneRtt]),
            (OneRtt, &[]),
        ] {
            assert_eq!(some.after(level), set(after), "{level:?}");
        }
        assert!(some.has(OneRtt) && !some.has(ZeroRtt) && !some.is_none());
        assert_eq!(some.without(set(&[OneRtt, ZeroRtt])), set(&[Initial, Handshake]));
        assert_eq!(some.among(set(&[OneRtt, ZeroRtt])), set(&[OneRtt]));
        assert_eq!(some.that(|level| level != Handshake), set(&[Initial, OneRtt]));
    }
}
