//! Key agreement: X25519 (RFC 7748) and ECDH over P-256 (RFC 9846 7.4.2).

use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use rand_core::CryptoRng;
use x25519_dalek::EphemeralSecret;

use crate::provider::{self, BadPublic, Group, MAX_PUBLIC_LEN, Secret};

/// A private key and its public value.
pub struct KeyShare {
    private: Private,
    public: heapless::Vec<u8, MAX_PUBLIC_LEN>,
}

enum Private {
    X25519(EphemeralSecret),
    P256(p256::SecretKey),
}

impl KeyShare {
    pub(super) fn generate(group: Group, rng: &mut impl CryptoRng) -> Self {
        let mut public = heapless::Vec::new();
        let private = match group {
            Group::X25519 => {
                let private = EphemeralSecret::random_from_rng(rng);
                public.extend(x25519_dalek::PublicKey::from(&private).to_bytes());
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

    fn agree(self, peer: &[u8]) -> Result<Secret, BadPublic> {
        match self.private {
            Private::X25519(private) => agree_x25519(private, peer),
            Private::P256(private) => {
                // TLS knows uncompressed points only (RFC 9846 4.2.8.2).
                if peer.len() != MAX_PUBLIC_LEN {
                    return Err(BadPublic);
                }
                let peer = p256::PublicKey::from_sec1_bytes(peer).map_err(|_| BadPublic)?;
                Secret::from_slice(private.diffie_hellman(&peer).raw_secret_bytes()).ok_or(BadPublic)
            }
        }
    }
}

/// The secret shared with the peer whose public value is `peer`.
pub(super) fn agree_x25519(private: EphemeralSecret, peer: &[u8]) -> Result<Secret, BadPublic> {
    let peer: [u8; 32] = peer.try_into().map_err(|_| BadPublic)?;
    let shared = private.diffie_hellman(&peer.into());
    // A point of small order makes the result zero whatever our key is.
    if !shared.was_contributory() {
        return Err(BadPublic);
    }
    Secret::from_slice(shared.as_bytes()).ok_or(BadPublic)
}
