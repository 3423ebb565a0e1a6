//! Cryptography by AWS-LC: on hosts several times faster than portable Rust, at the price of a C compiler.

use std::task::Poll;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, quic};
use aws_lc_rs::agreement::{self, PrivateKey, PublicKey, UnparsedPublicKey};
use aws_lc_rs::digest;
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use peregrine_crypto::provider::{
    AeadError, AeadKey, AgreeError, Digest, Group, Hash, HashAlgorithm, HeaderKey, KeyShare, NONCE_LEN,
    Provider, Secret, Suite,
};
use zeroize::Zeroizing;

/// So often a private key is drawn. Of P-256 one in four billion is none.
const DRAWS: usize = 4;

/// The algorithms of AWS-LC, with the randomness of the system: before AWS-LC's own gives its first byte it measures the jitter of
/// the processor, for which the first connection of a program would wait tens of milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLc;

impl Provider for AwsLc {
    type Aead = AwsAead;
    type Header = AwsHeader;
    type Hash = AwsHash;
    type KeyShare = AwsKeyShare;

    fn suites(&self) -> &[Suite] {
        &[Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::ChaCha20Poly1305Sha256]
    }

    fn groups(&self) -> &[Group] {
        &[Group::X25519, Group::Secp256r1]
    }

    fn aead(&self, suite: Suite, key: &[u8]) -> Option<AwsAead> {
        let algorithm = match suite {
            Suite::Aes128GcmSha256 => &aead::AES_128_GCM,
            Suite::Aes256GcmSha384 => &aead::AES_256_GCM,
            Suite::ChaCha20Poly1305Sha256 => &aead::CHACHA20_POLY1305,
        };
        Some(AwsAead(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?)))
    }

    fn header(&self, suite: Suite, key: &[u8]) -> Option<AwsHeader> {
        let algorithm = match suite {
            Suite::Aes128GcmSha256 => &quic::AES_128,
            Suite::Aes256GcmSha384 => &quic::AES_256,
            Suite::ChaCha20Poly1305Sha256 => &quic::CHACHA20,
        };
        quic::HeaderProtectionKey::new(algorithm, key).ok().map(Box::new).map(AwsHeader)
    }

    fn hash(&self, algorithm: HashAlgorithm) -> AwsHash {
        AwsHash(digest::Context::new(match algorithm {
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
        }))
    }

    fn key_share(&mut self, group: Group) -> Poll<Option<AwsKeyShare>> {
        Poll::Ready(AwsKeyShare::generate(group))
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        // Going on with predictable bytes would be worse than ending the program.
        getrandom::fill(out).expect("the system gives random bytes");
    }
}

/// An AEAD key of AWS-LC.
pub struct AwsAead(LessSafeKey);

impl AeadKey for AwsAead {
    fn seal(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (text, tag) = data.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let sealed = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| AeadError)?;
        tag.copy_from_slice(sealed.as_ref());
        Ok(())
    }

    fn open(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<usize, AeadError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_in_place(nonce, Aad::from(aad), data).map(|text| text.len()).map_err(|_| AeadError)
    }
}

/// A header protection key of AWS-LC. It is large, and levels that are over are not to take its room.
pub struct AwsHeader(Box<quic::HeaderProtectionKey>);

impl HeaderKey for AwsHeader {
    fn mask(&mut self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
        self.0.new_mask(sample).expect("a sample of this length always has a mask")
    }
}

/// A running hash of AWS-LC.
#[derive(Clone)]
pub struct AwsHash(digest::Context);

impl Hash for AwsHash {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> Digest {
        let digest = self.0.finish();
        match digest.as_ref().try_into() {
            Ok(bytes) => Digest::sha384(bytes),
            Err(_) => Digest::sha256(digest.as_ref().try_into().expect("SHA-256 has 32 bytes")),
        }
    }
}

/// Our half of a key agreement of AWS-LC.
pub struct AwsKeyShare {
    group: Group,
    /// Until it is used.
    private: Option<PrivateKey>,
    public: PublicKey,
}

impl AwsKeyShare {
    fn generate(group: Group) -> Option<Self> {
        let algorithm = match group {
            Group::X25519 => &agreement::X25519,
            Group::Secp256r1 => &agreement::ECDH_P256,
        };
        let draw = || {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *bytes).ok()?;
            PrivateKey::from_private_key(algorithm, &*bytes).ok()
        };
        let private = (0..DRAWS).find_map(|_| draw())?;
        let public = private.compute_public_key().ok()?;
        Some(Self { group, private: Some(private), public })
    }

    fn agree_now(&mut self, peer: &[u8]) -> Result<Secret, AgreeError> {
        // AWS-LC reads other encodings of a key as well, TLS has but one (RFC 9846 4.2.8.2).
        let (algorithm, is_encoded) = match self.group {
            Group::X25519 => (&agreement::X25519, peer.len() == 32),
            Group::Secp256r1 => (&agreement::ECDH_P256, peer.len() == 65 && peer.starts_with(&[4])),
        };
        if !is_encoded {
            return Err(AgreeError::BadPublic);
        }
        let peer = UnparsedPublicKey::new(algorithm, peer);
        let private = self.private.take().ok_or(AgreeError::Failed)?;
        agreement::agree(&private, peer, AgreeError::BadPublic, |secret| {
            Secret::from_slice(secret).ok_or(AgreeError::Failed)
        })
    }
}

impl KeyShare for AwsKeyShare {
    fn group(&self) -> Group {
        self.group
    }

    fn public(&self) -> &[u8] {
        self.public.as_ref()
    }

    fn agree(&mut self, peer: &[u8]) -> Poll<Result<Secret, AgreeError>> {
        Poll::Ready(self.agree_now(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_crypto::rustcrypto::RustCrypto;
    use rand_core::{TryCryptoRng, TryRng};
    use std::convert::Infallible;

    /// AWS-LC's randomness for the other implementation.
    struct Random;

    impl TryRng for Random {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            let mut bytes = [0; 4];
            self.try_fill_bytes(&mut bytes)?;
            Ok(u32::from_le_bytes(bytes))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            let mut bytes = [0; 8];
            self.try_fill_bytes(&mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            AwsLc.fill_random(out);
            Ok(())
        }
    }

    impl TryCryptoRng for Random {}

    const KEY: [u8; 32] = *b"any key of AES-256 or ChaCha20-P";

    fn other() -> RustCrypto<Random> {
        RustCrypto::new(Random)
    }

    #[test]
    fn packets_and_masks_are_those_of_the_other_implementation() {
        for &suite in AwsLc.suites() {
            let key = &KEY[..suite.key_len()];
            let (mut ours, mut theirs) = (AwsLc.aead(suite, key).unwrap(), other().aead(suite, key).unwrap());
            for len in [0, 1, 100, 1200] {
                let (mut a, mut b) = (vec![7; len + TAG_LEN], vec![7; len + TAG_LEN]);
                ours.seal(b"a nonce 1234", b"aad", &mut a).unwrap();
                theirs.seal(b"a nonce 1234", b"aad", &mut b).unwrap();
                assert_eq!(a, b, "{suite:?} {len}");
                assert_eq!(ours.open(b"a nonce 1234", b"aad", &mut a), Ok(len));
                assert!(a[..len].iter().all(|&byte| byte == 7));
                assert_eq!(ours.open(b"a nonce 1234", b"add", &mut b), Err(AeadError));
            }
            let (mut ours, mut theirs) =
                (AwsLc.header(suite, key).unwrap(), other().header(suite, key).unwrap());
            // The first four bytes are ChaCha20's block counter, which may be the last there is.
            for sample in [[0; SAMPLE_LEN], [0xff; SAMPLE_LEN], *b"another sample.."] {
                assert_eq!(ours.mask(&sample), theirs.mask(&sample), "{suite:?}");
            }
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for &suite in AwsLc.suites() {
            assert!(AwsLc.aead(suite, &KEY[..suite.key_len() - 1]).is_none());
            assert!(AwsLc.header(suite, &KEY[..suite.key_len() - 1]).is_none());
            let mut key = AwsLc.aead(suite, &KEY[..suite.key_len()]).unwrap();
            assert_eq!(key.seal(&[0; NONCE_LEN], &[], &mut [0; TAG_LEN - 1]), Err(AeadError));
            assert_eq!(key.open(&[0; NONCE_LEN], &[], &mut [0; TAG_LEN - 1]), Err(AeadError));
        }
    }

    #[test]
    fn hashes_are_those_of_the_other_implementation_and_clones_go_on_alone() {
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
            let (mut ours, mut theirs) = (AwsLc.hash(algorithm), other().hash(algorithm));
            ours.update(b"abc");
            theirs.update(b"abc");
            let before = ours.clone();
            ours.update(b"d");
            assert_eq!(before.finish().as_bytes(), theirs.finish().as_bytes());
            assert_eq!(ours.finish().as_bytes().len(), algorithm.output_len());
            let (ours, theirs) =
                (AwsLc.hmac(algorithm, &KEY, &[b"a", b"b"]), other().hmac(algorithm, &KEY, &[b"ab"]));
            assert!(ours.matches(theirs.as_bytes()));
        }
    }

    #[test]
    fn key_agreement_with_the_other_implementation() {
        for &group in AwsLc.groups() {
            let mut ours = AwsKeyShare::generate(group).unwrap();
            let Poll::Ready(Some(mut theirs)) = other().key_share(group) else { panic!("{group:?}") };
            let (our_public, their_public) = (ours.public().to_vec(), theirs.public().to_vec());
            assert_eq!((ours.group(), our_public.len()), (group, their_public.len()));
            let Poll::Ready(Ok(secret)) = ours.agree(&their_public) else { panic!("{group:?}") };
            let Poll::Ready(Ok(other)) = theirs.agree(&our_public) else { panic!("{group:?}") };
            assert!(secret.matches(other.as_bytes()));
        }
    }

    #[test]
    fn public_values_that_are_none_are_refused() {
        let point = AwsKeyShare::generate(Group::Secp256r1).unwrap().public().to_vec();
        let mut off_curve = point.clone();
        off_curve[64] ^= 1;
        let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        for (group, public) in [
            (Group::X25519, &[0; 32][..]),
            (Group::X25519, &[9; 31]),
            (Group::X25519, &[]),
            (Group::Secp256r1, &off_curve),
            (Group::Secp256r1, &compressed),
            (Group::Secp256r1, &[0]),
            (Group::Secp256r1, &[0; 65]),
        ] {
            let refused = AwsKeyShare::generate(group).unwrap().agree_now(public);
            assert_eq!(refused.err(), Some(AgreeError::BadPublic), "{public:?}");
        }
    }

    #[test]
    fn randomness_differs_from_call_to_call() {
        let (mut a, mut b) = ([0; 16], [0; 16]);
        AwsLc.fill_random(&mut a);
        AwsLc.fill_random(&mut b);
        assert_ne!(a, b);
    }
}
