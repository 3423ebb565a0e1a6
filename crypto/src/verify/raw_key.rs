//! Raw public keys (RFC 7250): no certificate, just the key.

use core::task::Poll;

use super::{CertificateType, Presented, Verifier, VerifyError};

/// Accepts the holder of any of these keys.
#[derive(Clone, Copy, Debug)]
pub struct RawKey<'a> {
    /// The SubjectPublicKeyInfo of each in DER, as [`crate::sign::SoftKey::spki`] gives it.
    pub keys: &'a [&'a [u8]],
}

impl Verifier for RawKey<'_> {
    fn types(&self) -> &[CertificateType] {
        &[CertificateType::RawPublicKey]
    }

    fn verify_identity<'c>(&self, presented: &Presented<'_, 'c>) -> Poll<Result<&'c [u8], VerifyError>> {
        if presented.kind != CertificateType::RawPublicKey {
            return Poll::Ready(Err(VerifyError::WrongType));
        }
        let spki = presented.spki()?;
        Poll::Ready(if self.keys.contains(&spki) { Ok(spki) } else { Err(VerifyError::WrongPin) })
    }
}
