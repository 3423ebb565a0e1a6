//! Signature verification: one table of algorithms, for CertificateVerify messages (RFC 9846 4.4.3) and for the
//! signatures of certificates.
//!
//! Verification needs no secret, so nothing here runs in constant time on purpose. RSA (feature `rsa`) is verified
//! only, with moduli of 2,048 to 4,096 bits.

mod ecdsa;
mod ed25519;
#[cfg(feature = "rsa")]
mod rsa;

pub(crate) use self::ecdsa::P256_SHA256;
pub(crate) use self::ed25519::ED25519;

use core::fmt;

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use crate::der::Spki;
use crate::provider::Scheme;
use crate::verify::VerifyError;

/// One algorithm: a kind of key, and how it signs.
pub struct Algorithm {
    name: &'static str,
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verify: fn(key: &[u8], message: &[u8], signature: &[u8]) -> bool,
}

impl Algorithm {
    /// Checks the signature of a CertificateVerify with the key of the SubjectPublicKeyInfo `spki`.
    pub(crate) fn verify_holder(
        &self,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        let spki = Spki::parse(spki).ok_or(VerifyError::Malformed)?;
        if self.key.as_ref() != spki.algorithm {
            return Err(VerifyError::UnsupportedAlgorithm);
        }
        if (self.verify)(spki.key, message, signature) { Ok(()) } else { Err(VerifyError::NotHolder) }
    }
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl SignatureVerificationAlgorithm for Algorithm {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        if (self.verify)(key, message, signature) { Ok(()) } else { Err(InvalidSignature) }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

/// All algorithms, for the signatures of certificates.
pub static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    &P256_SHA256,
    &ecdsa::P256_SHA384,
    &ecdsa::P384_SHA384,
    &ecdsa::P384_SHA256,
    &ED25519,
    #[cfg(feature = "rsa")]
    &rsa::PSS_SHA256,
    #[cfg(feature = "rsa")]
    &rsa::PSS_SHA384,
    #[cfg(feature = "rsa")]
    &rsa::PSS_SHA512,
    #[cfg(feature = "rsa")]
    &rsa::PKCS1_SHA256,
    #[cfg(feature = "rsa")]
    &rsa::PKCS1_SHA384,
    #[cfg(feature = "rsa")]
    &rsa::PKCS1_SHA512,
];

/// All schemes for the signature_algorithms extension, best first. PKCS#1 v1.5 is for certificates only (RFC 9846
/// 4.2.3).
pub static SCHEMES: &[Scheme] = &[
    Scheme::ECDSA_P256_SHA256,
    Scheme::ED25519,
    Scheme::ECDSA_P384_SHA384,
    #[cfg(feature = "rsa")]
    Scheme::RSA_PSS_SHA256,
    #[cfg(feature = "rsa")]
    Scheme::RSA_PSS_SHA384,
    #[cfg(feature = "rsa")]
    Scheme::RSA_PSS_SHA512,
    #[cfg(feature = "rsa")]
    Scheme::RSA_PKCS1_SHA256,
    #[cfg(feature = "rsa")]
    Scheme::RSA_PKCS1_SHA384,
    #[cfg(feature = "rsa")]
    Scheme::RSA_PKCS1_SHA512,
];

/// The algorithm of a scheme that may sign a CertificateVerify.
fn for_handshake(scheme: Scheme) -> Option<&'static Algorithm> {
    Some(match scheme {
        Scheme::ECDSA_P256_SHA256 => &P256_SHA256,
        Scheme::ECDSA_P384_SHA384 => &ecdsa::P384_SHA384,
        Scheme::ED25519 => &ED25519,
        #[cfg(feature = "rsa")]
        Scheme::RSA_PSS_SHA256 => &rsa::PSS_SHA256,
        #[cfg(feature = "rsa")]
        Scheme::RSA_PSS_SHA384 => &rsa::PSS_SHA384,
        #[cfg(feature = "rsa")]
        Scheme::RSA_PSS_SHA512 => &rsa::PSS_SHA512,
        _ => return None,
    })
}

/// Checks a CertificateVerify signature with the key of the SubjectPublicKeyInfo `spki`.
///
/// # Errors
/// [`VerifyError::UnsupportedAlgorithm`] if the scheme is not for CertificateVerify or does not suit the key,
/// [`VerifyError::Malformed`] if the key does not parse, [`VerifyError::NotHolder`] if the signature is wrong.
pub fn verify(scheme: Scheme, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    for_handshake(scheme).ok_or(VerifyError::UnsupportedAlgorithm)?.verify_holder(spki, message, signature)
}
