//! The least that a client of QUIC can do with: ChaCha20-Poly1305 for its packets, AES-128-GCM for Initial packets,
//! SHA-256, X25519. Nothing else is linked. Keys are kept as bytes and expanded for each packet.

use core::task::Poll;

use aead::KeyInit;
use aes::Aes128;
use aes_gcm::Aes128Gcm;
use chacha20poly1305::ChaCha20Poly1305;
use peregrine_core::limits::SAMPLE_LEN;
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::aead::{aes_mask, chacha_mask, open, seal};
use super::key_share::X25519;
use crate::provider::{
    self, AeadError, AeadKey, AgreeError, Digest, Group, Hash, HashAlgorithm, HeaderKey, NONCE_LEN, Provider,
    Secret, Suite,
};

/// A provider for microcontrollers without hardware for cryptography.
#[derive(Clone, Debug)]
pub struct LeanRustCrypto<R> {
    rng: R,
}

impl<R: CryptoRng> LeanRustCrypto<R> {
    /// With this source of randomness.
    pub const fn new(rng: R) -> Self {
        Self { rng }
    }
}

/// A key, not expanded.
pub enum LeanKey {
    /// Of AES-128-GCM.
    Aes128(Zeroizing<[u8; 16]>),
    /// Of ChaCha20-Poly1305.
    ChaCha20(Zeroizing<[u8; 32]>),
}

impl LeanKey {
    fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        Some(match suite {
            Suite::Aes128GcmSha256 => Self::Aes128(Zeroizing::new(key.try_into().ok()?)),
            Suite::ChaCha20Poly1305Sha256 => Self::ChaCha20(Zeroizing::new(key.try_into().ok()?)),
            Suite::Aes256GcmSha384 => return None,
        })
    }
}

impl AeadKey for LeanKey {
    fn seal(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        match self {
            Self::Aes128(key) => seal(&Aes128Gcm::new((&**key).into()), nonce, aad, data),
            Self::ChaCha20(key) => seal(&ChaCha20Poly1305::new((&**key).into()), nonce, aad, data),
        }
    }

    fn open(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<usize, AeadError> {
        match self {
            Self::Aes128(key) => open(&Aes128Gcm::new((&**key).into()), nonce, aad, data),
            Self::ChaCha20(key) => open(&ChaCha20Poly1305::new((&**key).into()), nonce, aad, data),
        }
    }
}

impl HeaderKey for LeanKey {
    fn mask(&mut self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
        match self {
            Self::Aes128(key) => aes_mask(&Aes128::new((&**key).into()), sample),
            Self::ChaCha20(key) => chacha_mask(key, sample),
        }
    }
}

/// A running SHA-256, the hash of both suites.
#[derive(Clone, Debug)]
pub struct LeanHash(Sha256);

impl Hash for LeanHash {
    #[inline(never)]
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    #[inline(never)]
    fn finish(self) -> Digest {
        Digest::sha256(&self.0.finalize().into())
    }
}

/// Our half of a key agreement with X25519.
pub struct LeanKeyShare {
    private: X25519,
    public: [u8; 32],
}

impl provider::KeyShare for LeanKeyShare {
    fn group(&self) -> Group {
        Group::X25519
    }

    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(&mut self, peer: &[u8]) -> Poll<Result<Secret, AgreeError>> {
        Poll::Ready(self.private.agree(peer))
    }
}

impl<R: CryptoRng> Provider for LeanRustCrypto<R> {
    type Aead = LeanKey;
    type Header = LeanKey;
    type Hash = LeanHash;
    type KeyShare = LeanKeyShare;

    fn suites(&self) -> &[Suite] {
        &[Suite::ChaCha20Poly1305Sha256, Suite::Aes128GcmSha256]
    }

    fn groups(&self) -> &[Group] {
        &[Group::X25519]
    }

    fn aead(&self, suite: Suite, key: &[u8]) -> Option<LeanKey> {
        LeanKey::new(suite, key)
    }

    fn header(&self, suite: Suite, key: &[u8]) -> Option<LeanKey> {
        LeanKey::new(suite, key)
    }

    #[inline(never)]
    fn hash(&self, _: HashAlgorithm) -> LeanHash {
        LeanHash(Sha256::new())
    }

    fn key_share(&mut self, group: Group) -> Poll<Option<LeanKeyShare>> {
        Poll::Ready((group == Group::X25519).then(|| {
            let private = X25519::generate(&mut self.rng);
            let public = private.public();
            LeanKeyShare { private, public }
        }))
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.rng.fill_bytes(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session_keys::PacketKeys;
    use crate::testing::{TestRng, provider};

    #[test]
    fn lean_keys_are_the_same_keys() {
        let lean = LeanRustCrypto::new(TestRng(1));
        for &suite in lean.suites() {
            let key = [7; 32];
            let key = &key[..suite.key_len()];
            let mut data = [1; 32];
            lean.aead(suite, key).unwrap().seal(&[2; 12], b"aad", &mut data).unwrap();
            assert_eq!(provider().aead(suite, key).unwrap().open(&[2; 12], b"aad", &mut data), Ok(16));
            provider().aead(suite, key).unwrap().seal(&[2; 12], b"aad", &mut data).unwrap();
            assert_eq!(lean.aead(suite, key).unwrap().open(&[2; 12], b"aad", &mut data), Ok(16));
            let mask = provider().header(suite, key).unwrap().mask(&[3; 16]);
            assert_eq!(lean.header(suite, key).unwrap().mask(&[3; 16]), mask);
            assert!(lean.aead(suite, &key[1..]).is_none());
        }
        assert!(lean.aead(Suite::Aes256GcmSha384, &[7; 32]).is_none());
    }

    #[test]
    fn lean_shares_agree_with_others() {
        use provider::KeyShare;
        let mut lean = LeanRustCrypto::new(TestRng(1));
        let Poll::Ready(Some(mut ours)) = lean.key_share(Group::X25519) else { panic!() };
        let Poll::Ready(Some(mut theirs)) = provider().key_share(Group::X25519) else { panic!() };
        let (our_public, their_public) = (ours.public, theirs.public().to_vec());
        let Poll::Ready(Ok(shared)) = theirs.agree(&our_public) else { panic!() };
        let Poll::Ready(Ok(same)) = ours.agree(&their_public) else { panic!() };
        assert!(same.matches(shared.as_bytes()));
        assert!(matches!(lean.key_share(Group::Secp256r1), Poll::Ready(None)));
        assert!(matches!(ours.agree(&[0; 32]), Poll::Ready(Err(AgreeError::BadPublic))));
        assert!(matches!(ours.agree(&[9; 31]), Poll::Ready(Err(AgreeError::BadPublic))));
    }

    #[test]
    fn lean_keys_are_small() {
        let lean = size_of::<PacketKeys<LeanRustCrypto<TestRng>>>();
        assert!(lean <= 780, "{lean}");
    }
}
