//! Key agreement: X25519 (RFC 7748) and ECDH over P-256 (RFC 9846 7.4.2).

use core::task::Poll;

use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

use crate::provider::{self, AgreeError, Group, MAX_PUBLIC_LEN, Secret};

/// A private key and its public value.
pub struct KeyShare {
    private: Private,
    public: heapless::Vec<u8, MAX_PUBLIC_LEN>,
}

enum Private {
    X25519(X25519),
    P256(p256::SecretKey),
}

impl KeyShare {
    pub(super) fn generate(group: Group, rng: &mut impl CryptoRng) -> Self {
        let mut public = heapless::Vec::new();
        let private = match group {
            Group::X25519 => {
                let private = X25519::generate(rng);
                public.extend(private.public());
                Private::X25519(private)
            }
            Group::Secp256r1 => {
                let private = p256::SecretKey::from(p256::NonZeroScalar::generate_from_rng(rng));
                let point: [u8; MAX_PUBLIC_LEN] = private.public_key().to_uncompressed_point().into();
                public.extend(point);
                Private::P256(private)
            }
        };
        Self { private, public }
    }
}

impl provider::KeyShare for KeyShare {
    fn group(&self) -> Group {
        match self.private {
            Private::X25519(_) => Group::X25519,
            Private::P256(_) => Group::Secp256r1,
        }
    }

    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(&mut self, peer: &[u8]) -> Poll<Result<Secret, AgreeError>> {
        Poll::Ready(match &self.private {
            Private::X25519(private) => private.agree(peer),
            Private::P256(private) => agree_p256(private, peer),
        })
    }
}

fn agree_p256(private: &p256::SecretKey, peer: &[u8]) -> Result<Secret, AgreeError> {
    // TLS knows uncompressed points only (RFC 9846 4.2.8.2).
    if peer.len() != MAX_PUBLIC_LEN {
        return Err(AgreeError::BadPublic);
    }
    let peer = p256::PublicKey::from_sec1_bytes(peer).map_err(|_| AgreeError::BadPublic)?;
    Secret::from_slice(private.diffie_hellman(&peer).raw_secret_bytes()).ok_or(AgreeError::Failed)
}

/// A private key of X25519. Its public value is computed as the shared secret is, with the ladder of RFC 7748: no slower
/// without precomputed tables than the multiplication of Edwards curves, whose code and stack it saves.
pub(super) struct X25519(Zeroizing<[u8; 32]>);

impl X25519 {
    pub(super) fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut private = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *private);
        Self(private)
    }

    #[inline(never)]
    fn times(&self, point: [u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(x25519(*self.0, point))
    }

    pub(super) fn public(&self) -> [u8; 32] {
        *self.times(X25519_BASEPOINT_BYTES)
    }

    /// The secret shared with the peer whose public value is `peer`.
    pub(super) fn agree(&self, peer: &[u8]) -> Result<Secret, AgreeError> {
        let shared = self.times(peer.try_into().map_err(|_| AgreeError::BadPublic)?);
        // A point of small order makes the result zero whatever our key is.
        if shared.ct_eq(&[0; 32]).into() {
            return Err(AgreeError::BadPublic);
        }
        Secret::from_slice(&*shared).ok_or(AgreeError::Failed)
    }
}
