//! The default [`Provider`]: the pure Rust implementations of the RustCrypto and dalek projects. They use the AES,
//! carry-less multiplication and vector instructions of the processor where there are such.

mod aead;
mod compact;
mod key_share;
mod lean;
mod schedules;

use core::task::Poll;

use rand_core::CryptoRng;
use sha2::Digest as _;

pub use self::aead::{Aead, Header};
pub use self::compact::{CompactKey, CompactRustCrypto};
pub use self::key_share::KeyShare;
pub use self::lean::{LeanHash, LeanKeyShare, LeanRustCrypto};
pub use self::schedules::{Cached, CachedAead, CachedHeader, LeanKey, PerPacket, Schedules};
use crate::provider::{Digest, Group, Hash, HashAlgorithm, Provider, Suite};

/// Suites of a processor that has instructions for AES, and of one that has not: there ChaCha20 is about three times
/// faster, and AES in constant time is slow.
const SUITES: &[Suite] = if cfg!(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")) {
    &[Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::ChaCha20Poly1305Sha256]
} else {
    &[Suite::ChaCha20Poly1305Sha256, Suite::Aes128GcmSha256, Suite::Aes256GcmSha384]
};

const GROUPS: &[Group] = &[Group::X25519, Group::Secp256r1];

/// The algorithms of RustCrypto and dalek, with randomness from `R`.
#[derive(Clone, Debug)]
pub struct RustCrypto<R> {
    rng: R,
}

impl<R: CryptoRng> RustCrypto<R> {
    /// With this source of randomness.
    pub const fn new(rng: R) -> Self {
        Self { rng }
    }
}

impl<R: CryptoRng> Provider for RustCrypto<R> {
    type Aead = Aead;
    type Header = Header;
    type Hash = RunningHash;
    type KeyShare = KeyShare;

    fn suites(&self) -> &[Suite] {
        SUITES
    }

    fn groups(&self) -> &[Group] {
        GROUPS
    }

    fn aead(&self, suite: Suite, key: &[u8]) -> Option<Aead> {
        Aead::new(suite, key)
    }

    fn header(&self, suite: Suite, key: &[u8]) -> Option<Header> {
        Header::new(suite, key)
    }

    fn hash(&self, algorithm: HashAlgorithm) -> RunningHash {
        match algorithm {
            HashAlgorithm::Sha256 => RunningHash::Sha256(sha2::Sha256::new()),
            HashAlgorithm::Sha384 => RunningHash::Sha384(sha2::Sha384::new()),
        }
    }

    fn key_share(&mut self, group: Group) -> Poll<Option<KeyShare>> {
        Poll::Ready(Some(KeyShare::generate(group, &mut self.rng)))
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.rng.fill_bytes(out);
    }
}

/// A running SHA-256 or SHA-384.
#[derive(Clone, Debug)]
pub enum RunningHash {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-384.
    Sha384(sha2::Sha384),
}

impl Hash for RunningHash {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::sha256(&hash.finalize().into()),
            Self::Sha384(hash) => Digest::sha384(hash.finalize().into()),
        }
    }
}
