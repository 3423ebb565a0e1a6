//! The same algorithms with keys that are kept as bytes and expanded for each packet: a connection's keys take a tenth
//! of the memory, for the time of a key schedule per packet. For microcontrollers.

use core::task::Poll;

use peregrine_core::limits::SAMPLE_LEN;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Aead, Header, KeyShare, RunningHash, RustCrypto};
use crate::provider::{
    AeadError, AeadKey, Group, HashAlgorithm, HeaderKey, MAX_KEY_LEN, NONCE_LEN, Provider, Suite,
};

/// [`RustCrypto`] with small keys.
#[derive(Clone, Debug)]
pub struct CompactRustCrypto<R>(RustCrypto<R>);

impl<R: CryptoRng> CompactRustCrypto<R> {
    /// With this source of randomness.
    pub const fn new(rng: R) -> Self {
        Self(RustCrypto::new(rng))
    }
}

/// A key of a suite, not expanded, of the length that the suite asks for.
pub struct CompactKey {
    suite: Suite,
    bytes: Zeroizing<[u8; MAX_KEY_LEN]>,
}

impl CompactKey {
    fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; MAX_KEY_LEN]);
        bytes.get_mut(..suite.key_len()).filter(|room| room.len() == key.len())?.copy_from_slice(key);
        Some(Self { suite, bytes })
    }

    fn key(&self) -> &[u8] {
        self.bytes.get(..self.suite.key_len()).unwrap_or_default()
    }

    fn aead(&self) -> Result<Aead, AeadError> {
        Aead::new(self.suite, self.key()).ok_or(AeadError)
    }
}

impl AeadKey for CompactKey {
    fn seal(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        self.aead()?.seal(nonce, aad, data)
    }

    fn open(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<usize, AeadError> {
        self.aead()?.open(nonce, aad, data)
    }
}

impl HeaderKey for CompactKey {
    fn mask(&mut self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
        Header::new(self.suite, self.key()).map(|mut header| header.mask(sample)).unwrap_or_default()
    }
}

impl<R: CryptoRng> Provider for CompactRustCrypto<R> {
    type Aead = CompactKey;
    type Header = CompactKey;
    type Hash = RunningHash;
    type KeyShare = KeyShare;

    fn suites(&self) -> &[Suite] {
        self.0.suites()
    }

    fn groups(&self) -> &[Group] {
        self.0.groups()
    }

    fn aead(&self, suite: Suite, key: &[u8]) -> Option<CompactKey> {
        CompactKey::new(suite, key)
    }

    fn header(&self, suite: Suite, key: &[u8]) -> Option<CompactKey> {
        CompactKey::new(suite, key)
    }

    fn hash(&self, algorithm: HashAlgorithm) -> RunningHash {
        self.0.hash(algorithm)
    }

    fn key_share(&mut self, group: Group) -> Poll<Option<KeyShare>> {
        self.0.key_share(group)
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.0.fill_random(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session_keys::PacketKeys;
    use crate::testing::{TestRng, provider};

    #[test]
    fn compact_and_expanded_keys_are_the_same_keys() {
        let compact = CompactRustCrypto::new(TestRng(1));
        for suite in [Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::ChaCha20Poly1305Sha256] {
            let key = [7; 32];
            let key = &key[..suite.key_len()];
            let mut data = [1; 32];
            compact.aead(suite, key).unwrap().seal(&[2; 12], b"aad", &mut data).unwrap();
            assert_eq!(provider().aead(suite, key).unwrap().open(&[2; 12], b"aad", &mut data), Ok(16));
            assert_eq!(data[..16], [1; 16]);
            let mask = provider().header(suite, key).unwrap().mask(&[3; 16]);
            assert_eq!(compact.header(suite, key).unwrap().mask(&[3; 16]), mask);
            assert!(compact.aead(suite, &key[1..]).is_none());
        }
    }

    #[test]
    fn compact_keys_are_small() {
        let compact = size_of::<PacketKeys<CompactRustCrypto<TestRng>>>();
        assert!(compact <= 780, "{compact}");
        assert!(compact * 4 < size_of::<PacketKeys<RustCrypto<TestRng>>>());
    }
}
