//! When the keys of [`LeanRustCrypto`](super::LeanRustCrypto) are expanded: for each packet, or once. ChaCha20-Poly1305 has no
//! key schedule, so it is about Initial packets, and about servers that insist on AES.
//!
//! Measured on a Cortex-M4F at opt-level "s" with the compact back ends:
//!
//! | | all keys of a connection | an AES packet of 1,200 bytes out, all of it | in |
//! | --- | --- | --- | --- |
//! | [`PerPacket`] | 752 B | 386,472 instructions | 355,355 |
//! | [`Cached`] | 3,632 B | 350,007 | 329,682 |

use aead::KeyInit;
use aes::Aes128;
use aes_gcm::Aes128Gcm;
use chacha20poly1305::ChaCha20Poly1305;
use peregrine_core::limits::SAMPLE_LEN;
use zeroize::{Zeroize, Zeroizing};

use super::aead::{aes_mask, chacha_mask, open, seal};
use crate::provider::{AeadError, AeadKey, HeaderKey, NONCE_LEN, Suite};

/// When keys are expanded.
pub trait Schedules {
    /// A key for packets.
    type Aead: AeadKey;
    /// A key for headers.
    type Header: HeaderKey;

    /// The key for packets of a suite; `None` if the suite is not there or the length is wrong.
    fn aead(suite: Suite, key: &[u8]) -> Option<Self::Aead>;

    /// The key for headers, likewise.
    fn header(suite: Suite, key: &[u8]) -> Option<Self::Header>;
}

/// For each packet, and forgotten after it: keys are as small as they come.
#[derive(Clone, Copy, Debug)]
pub enum PerPacket {}

/// Once, when the key is made: it is as large as its schedule.
#[derive(Clone, Copy, Debug)]
pub enum Cached {}

impl Schedules for PerPacket {
    type Aead = LeanKey;
    type Header = LeanKey;

    fn aead(suite: Suite, key: &[u8]) -> Option<LeanKey> {
        LeanKey::new(suite, key)
    }

    fn header(suite: Suite, key: &[u8]) -> Option<LeanKey> {
        LeanKey::new(suite, key)
    }
}

impl Schedules for Cached {
    type Aead = CachedAead;
    type Header = CachedHeader;

    fn aead(suite: Suite, key: &[u8]) -> Option<CachedAead> {
        let key = LeanKey::new(suite, key)?;
        Some(match key.aes() {
            Some(key) => CachedAead::Aes128(Aes128Gcm::new(key.into())),
            None => CachedAead::ChaCha20(ChaCha20Poly1305::new((&key.bytes).into())),
        })
    }

    fn header(suite: Suite, key: &[u8]) -> Option<CachedHeader> {
        let key = LeanKey::new(suite, key)?;
        Some(match key.aes() {
            Some(key) => CachedHeader::Aes128(Aes128::new(key.into())),
            None => CachedHeader::ChaCha20(Zeroizing::new(key.bytes)),
        })
    }
}

/// A key, not expanded, wiped when dropped.
pub struct LeanKey {
    suite: Suite,
    /// As many as the suite asks for.
    bytes: [u8; 32],
}

impl LeanKey {
    fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        if suite == Suite::Aes256GcmSha384 || key.len() != suite.key_len() {
            return None;
        }
        let mut this = Self { suite, bytes: [0; 32] };
        this.bytes.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        Some(this)
    }

    /// The key of AES-128, if it is one.
    fn aes(&self) -> Option<&[u8; 16]> {
        self.bytes.first_chunk().filter(|_| self.suite == Suite::Aes128GcmSha256)
    }
}

impl Drop for LeanKey {
    // Keys go in many places: a call is less than the loop.
    #[inline(never)]
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl AeadKey for LeanKey {
    fn seal(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        match self.aes() {
            Some(key) => seal(&Aes128Gcm::new(key.into()), nonce, aad, data),
            None => seal(&ChaCha20Poly1305::new((&self.bytes).into()), nonce, aad, data),
        }
    }

    fn open(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<usize, AeadError> {
        match self.aes() {
            Some(key) => open(&Aes128Gcm::new(key.into()), nonce, aad, data),
            None => open(&ChaCha20Poly1305::new((&self.bytes).into()), nonce, aad, data),
        }
    }
}

impl HeaderKey for LeanKey {
    fn mask(&mut self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
        match self.aes() {
            Some(key) => aes_mask(&Aes128::new(key.into()), sample),
            None => chacha_mask(&self.bytes, sample),
        }
    }
}

/// A key for packets, expanded.
#[expect(clippy::large_enum_variant, reason = "that is what caching costs, and there is no heap")]
pub enum CachedAead {
    /// Of AES-128-GCM.
    Aes128(Aes128Gcm),
    /// Of ChaCha20-Poly1305.
    ChaCha20(ChaCha20Poly1305),
}

impl AeadKey for CachedAead {
    fn seal(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        match self {
            Self::Aes128(key) => seal(key, nonce, aad, data),
            Self::ChaCha20(key) => seal(key, nonce, aad, data),
        }
    }

    fn open(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<usize, AeadError> {
        match self {
            Self::Aes128(key) => open(key, nonce, aad, data),
            Self::ChaCha20(key) => open(key, nonce, aad, data),
        }
    }
}

/// A key for headers, expanded.
#[expect(clippy::large_enum_variant, reason = "as above")]
pub enum CachedHeader {
    /// AES-128.
    Aes128(Aes128),
    /// ChaCha20.
    ChaCha20(Zeroizing<[u8; 32]>),
}

impl HeaderKey for CachedHeader {
    fn mask(&mut self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
        match self {
            Self::Aes128(key) => aes_mask(key, sample),
            Self::ChaCha20(key) => chacha_mask(key, sample),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Provider;
    use crate::rustcrypto::LeanRustCrypto;
    use crate::session_keys::PacketKeys;
    use crate::testing::{TestRng, provider};

    /// Whatever is expanded when, the keys are those of the other provider.
    fn are_the_same_keys<S: Schedules>() {
        for suite in [Suite::Aes128GcmSha256, Suite::ChaCha20Poly1305Sha256] {
            let key = [7; 32];
            let key = &key[..suite.key_len()];
            let mut data = [1; 32];
            S::aead(suite, key).unwrap().seal(&[2; 12], b"aad", &mut data).unwrap();
            assert_eq!(provider().aead(suite, key).unwrap().open(&[2; 12], b"aad", &mut data), Ok(16));
            provider().aead(suite, key).unwrap().seal(&[2; 12], b"aad", &mut data).unwrap();
            assert_eq!(S::aead(suite, key).unwrap().open(&[2; 12], b"aad", &mut data), Ok(16));
            assert_eq!(S::aead(suite, key).unwrap().open(&[2; 12], b"aad", &mut data), Err(AeadError));
            let mask = provider().header(suite, key).unwrap().mask(&[3; 16]);
            assert_eq!(S::header(suite, key).unwrap().mask(&[3; 16]), mask);
            assert!(S::aead(suite, &key[1..]).is_none() && S::header(suite, &key[1..]).is_none());
        }
        assert!(S::aead(Suite::Aes256GcmSha384, &[7; 32]).is_none());
    }

    #[test]
    fn keys_are_the_same_whenever_they_are_expanded() {
        are_the_same_keys::<PerPacket>();
        are_the_same_keys::<Cached>();
    }

    #[test]
    fn keys_are_small_unless_they_are_cached() {
        let per_packet = size_of::<PacketKeys<LeanRustCrypto<TestRng>>>();
        assert!(per_packet <= 780, "{per_packet}");
        assert!(size_of::<PacketKeys<LeanRustCrypto<TestRng, Cached>>>() > 4 * per_packet);
    }
}
