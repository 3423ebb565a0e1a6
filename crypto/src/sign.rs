//! Private keys that sign here: Ed25519, and ECDSA over P-256 and P-384. Keys in a secure element implement
//! [`Signer`] themselves. RSA keys do not sign: there is no safe way without a heap.

use core::task::Poll;

use ed25519_dalek::ed25519::signature::Signer as _;
use rustls_pki_types::{AlgorithmIdentifier, alg_id};

use crate::der::{OCTET_STRING, Reader, SEQUENCE};
use crate::provider::{Scheme, SignError, Signature, Signer};

/// Length of the longest SubjectPublicKeyInfo of our own: that of a P-384 key.
pub const MAX_SPKI_LEN: usize = 120;

/// The bytes are not a private key of a kind that we sign with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BadKey;

/// A private key in memory, wiped when dropped.
pub struct SoftKey(Kind);

enum Kind {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

impl SoftKey {
    /// An Ed25519 key from its seed (RFC 8032 5.1.5).
    pub fn ed25519(seed: &[u8; 32]) -> Self {
        Self(Kind::Ed25519(ed25519_dalek::SigningKey::from_bytes(seed)))
    }

    /// A P-256 key from its number, big endian.
    ///
    /// # Errors
    /// If the number is zero or too large.
    pub fn p256(number: &[u8; 32]) -> Result<Self, BadKey> {
        p256::ecdsa::SigningKey::from_slice(number).map(Kind::P256).map(Self).map_err(|_| BadKey)
    }

    /// A P-384 key from its number, big endian.
    ///
    /// # Errors
    /// If the number is zero or too large.
    pub fn p384(number: &[u8; 48]) -> Result<Self, BadKey> {
        p384::ecdsa::SigningKey::from_slice(number).map(Kind::P384).map(Self).map_err(|_| BadKey)
    }

    /// A key of any of these kinds from PKCS#8 in DER (RFC 5958, RFC 5915, RFC 8410).
    ///
    /// # Errors
    /// If it does not parse or is of another kind.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, BadKey> {
        let (algorithm, key) = parse_pkcs8(der).ok_or(BadKey)?;
        if algorithm == alg_id::ED25519.as_ref() {
            let seed = Reader::new(key).read(OCTET_STRING).and_then(|seed| seed.try_into().ok());
            return seed.map(Self::ed25519).ok_or(BadKey);
        }
        let number = parse_ec_private_key(key).ok_or(BadKey)?;
        if algorithm == alg_id::ECDSA_P256.as_ref() {
            Self::p256(number.try_into().map_err(|_| BadKey)?)
        } else if algorithm == alg_id::ECDSA_P384.as_ref() {
            Self::p384(number.try_into().map_err(|_| BadKey)?)
        } else {
            Err(BadKey)
        }
    }

    /// The SubjectPublicKeyInfo of the public key in DER: a raw public key (RFC 7250), or what a pin is the hash of.
    pub fn spki(&self) -> heapless::Vec<u8, MAX_SPKI_LEN> {
        match &self.0 {
            Kind::Ed25519(key) => spki(alg_id::ED25519, key.verifying_key().as_bytes()),
            Kind::P256(key) => spki(alg_id::ECDSA_P256, key.verifying_key().to_sec1_point(false).as_bytes()),
            Kind::P384(key) => spki(alg_id::ECDSA_P384, key.verifying_key().to_sec1_point(false).as_bytes()),
        }
    }
}

/// SEQUENCE { SEQUENCE { algorithm }, BIT STRING { key } }, all shorter than 128 bytes.
fn spki(algorithm: AlgorithmIdentifier, key: &[u8]) -> heapless::Vec<u8, MAX_SPKI_LEN> {
    let header = |tag, len: usize| [tag, len as u8];
    let algorithm = algorithm.as_ref();
    let bits = key.len().saturating_add(1);
    let whole = algorithm.len().saturating_add(bits).saturating_add(4);
    let parts: [&[u8]; 6] = [
        &header(SEQUENCE, whole),
        &header(SEQUENCE, algorithm.len()),
        algorithm,
        &header(0x03, bits),
        &[0],
        key,
    ];
    parts.into_iter().flatten().copied().collect()
}

/// The algorithm and the private key octets of a PrivateKeyInfo; attributes and public key are not looked at.
fn parse_pkcs8(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Reader::new(der);
    let mut fields = Reader::new(outer.read(SEQUENCE)?);
    outer.end()?;
    if fields.read_small()? > 1 {
        return None;
    }
    Some((fields.read(SEQUENCE)?, fields.read(OCTET_STRING)?))
}

/// The number in an ECPrivateKey; its curve is known from elsewhere.
fn parse_ec_private_key(der: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader::new(der);
    let mut fields = Reader::new(outer.read(SEQUENCE)?);
    outer.end()?;
    if fields.read_small()? != 1 {
        return None;
    }
    fields.read(OCTET_STRING)
}

impl Signer for SoftKey {
    fn schemes(&self) -> &[Scheme] {
        match self.0 {
            Kind::Ed25519(_) => &[Scheme::ED25519],
            Kind::P256(_) => &[Scheme::ECDSA_P256_SHA256],
            Kind::P384(_) => &[Scheme::ECDSA_P384_SHA384],
        }
    }

    fn sign(&self, scheme: Scheme, message: &[u8]) -> Poll<Result<Signature, SignError>> {
        Poll::Ready(self.sign_now(scheme, message))
    }
}

impl SoftKey {
    fn sign_now(&self, scheme: Scheme, message: &[u8]) -> Result<Signature, SignError> {
        if !self.schemes().contains(&scheme) {
            return Err(SignError);
        }
        let signature = match &self.0 {
            Kind::Ed25519(key) => key.try_sign(message).map(|signature| copy(&signature.to_bytes())),
            Kind::P256(key) => {
                key.try_sign(message).map(|signature: p256::ecdsa::DerSignature| copy(signature.as_bytes()))
            }
            Kind::P384(key) => {
                key.try_sign(message).map(|signature: p384::ecdsa::DerSignature| copy(signature.as_bytes()))
            }
        };
        signature.map_err(|_| SignError)?
    }
}

fn copy(signature: &[u8]) -> Result<Signature, SignError> {
    Signature::from_slice(signature).map_err(|_| SignError)
}
