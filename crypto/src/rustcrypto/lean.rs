//! The least that a client of QUIC can do with: ChaCha20-Poly1305 for its packets, AES-128-GCM for Initial packets,
//! SHA-256, X25519. Nothing else is linked.

use core::marker::PhantomData;
use core::task::Poll;

use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};

use super::key_share::X25519;
use super::schedules::{Cached, PerPacket, Schedules};
use crate::provider::{self, AgreeError, Digest, Group, Hash, HashAlgorithm, Provider, Secret, Suite};

/// A provider for microcontrollers without hardware for cryptography. ChaCha20-Poly1305 comes first: in software it takes a
/// fifth of the instructions of AES-GCM.
///
/// `S` says when keys are expanded, which only AES has to: [`PerPacket`] or [`Cached`].
#[derive(Clone, Debug)]
pub struct LeanRustCrypto<R, S = PerPacket> {
    rng: R,
    schedules: PhantomData<S>,
}

impl<R: CryptoRng> LeanRustCrypto<R> {
    /// With this source of randomness, and with keys that are expanded for each packet.
    pub const fn new(rng: R) -> Self {
        Self { rng, schedules: PhantomData }
    }
}

impl<R: CryptoRng> LeanRustCrypto<R, Cached> {
    /// The same with keys that are kept expanded.
    pub const fn cached(rng: R) -> Self {
        Self { rng, schedules: PhantomData }
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

impl<R: CryptoRng, S: Schedules> Provider for LeanRustCrypto<R, S> {
    type Aead = S::Aead;
    type Header = S::Header;
    type Hash = LeanHash;
    type KeyShare = LeanKeyShare;

    fn suites(&self) -> &[Suite] {
        &[Suite::ChaCha20Poly1305Sha256, Suite::Aes128GcmSha256]
    }

    fn groups(&self) -> &[Group] {
        &[Group::X25519]
    }

    fn aead(&self, suite: Suite, key: &[u8]) -> Option<S::Aead> {
        S::aead(suite, key)
    }

    fn header(&self, suite: Suite, key: &[u8]) -> Option<S::Header> {
        S::header(suite, key)
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
    use crate::testing::{TestRng, provider};

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
    fn chacha_is_preferred() {
        let lean = LeanRustCrypto::new(TestRng(1));
        assert_eq!(lean.suites(), [Suite::ChaCha20Poly1305Sha256, Suite::Aes128GcmSha256]);
        assert_eq!(LeanRustCrypto::cached(TestRng(1)).suites(), lean.suites());
    }
}
