//! Pinned keys: the peer's certificate carries one of the public keys whose SHA-256 we know. Names, validity, issuer
//! and signatures of the certificate say nothing then, so no clock is needed and self-signed certificates will do.

use core::task::Poll;

use sha2::{Digest, Sha256};

use super::{CertificateType, Presented, Verifier, VerifyError};

/// SHA-256 of the DER of a SubjectPublicKeyInfo.
pub type SpkiHash = [u8; 32];

/// The hash that pins the key of this SubjectPublicKeyInfo.
pub fn spki_hash(spki: &[u8]) -> SpkiHash {
    Sha256::digest(spki).into()
}

/// Accepts the holder of any of these keys, with an X.509 certificate or (RFC 7250) without.
#[derive(Clone, Copy, Debug)]
pub struct Pin<'a> {
    /// The keys that are accepted.
    pub keys: &'a [SpkiHash],
}

impl Verifier for Pin<'_> {
    fn types(&self) -> &[CertificateType] {
        &[CertificateType::X509, CertificateType::RawPublicKey]
    }

    fn verify_identity<'c>(&self, presented: &Presented<'_, 'c>) -> Poll<Result<&'c [u8], VerifyError>> {
        let spki = presented.spki()?;
        let is_known = self.keys.contains(&spki_hash(spki));
        Poll::Ready(if is_known { Ok(spki) } else { Err(VerifyError::WrongPin) })
    }
}
