//! One signature algorithm: who knows the server's key knows its kind too, and need not carry the code of the others.

use core::task::Poll;

use super::{CertificateType, Presented, Verifier, VerifyError};
use crate::provider::Scheme;
use crate::signature::{Algorithm, ED25519, P256_SHA256};

/// The policy `V`, for peers that sign with one algorithm.
///
/// ```
/// use peregrine_crypto::verify::{only::Only, pin::Pin};
/// // The SHA-256 of the server's SubjectPublicKeyInfo, which holds an Ed25519 key.
/// static SERVER: Only<Pin<'_>> = Only::ed25519(Pin { keys: &[[0x5a; 32]] });
/// ```
#[derive(Debug)]
pub struct Only<V> {
    policy: V,
    scheme: Scheme,
    algorithm: &'static Algorithm,
}

impl<V: Verifier> Only<V> {
    /// Ed25519.
    pub const fn ed25519(policy: V) -> Self {
        Self { policy, scheme: Scheme::ED25519, algorithm: &ED25519 }
    }

    /// ECDSA over P-256 with SHA-256.
    pub const fn p256(policy: V) -> Self {
        Self { policy, scheme: Scheme::ECDSA_P256_SHA256, algorithm: &P256_SHA256 }
    }
}

impl<V: Verifier> Verifier for Only<V> {
    fn types(&self) -> &[CertificateType] {
        self.policy.types()
    }

    fn verify_identity<'c>(&self, presented: &Presented<'_, 'c>) -> Poll<Result<&'c [u8], VerifyError>> {
        self.policy.verify_identity(presented)
    }

    fn schemes(&self) -> &[Scheme] {
        core::slice::from_ref(&self.scheme)
    }

    fn verify_signature(
        &self,
        scheme: Scheme,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Poll<Result<(), VerifyError>> {
        Poll::Ready(if scheme == self.scheme {
            self.algorithm.verify_holder(spki, message, signature)
        } else {
            Err(VerifyError::UnsupportedAlgorithm)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Signer;
    use crate::sign::SoftKey;
    use crate::verify::Insecure;

    #[test]
    fn one_algorithm_is_offered_and_checked() {
        let keys = [SoftKey::ed25519(&[1; 32]), SoftKey::p256(&[2; 32]).unwrap()];
        let only = [Only::ed25519(Insecure), Only::p256(Insecure)];
        for (signer, key) in keys.iter().enumerate() {
            for (verifier, policy) in only.iter().enumerate() {
                let scheme = policy.schemes()[0];
                assert_eq!(policy.schemes().len(), 1);
                let Poll::Ready(Ok(signature)) = key.sign(key.schemes()[0], b"message") else { panic!() };
                let verdict =
                    |scheme, message| policy.verify_signature(scheme, &key.spki(), message, &signature);
                if signer == verifier {
                    assert_eq!(verdict(scheme, b"message"), Poll::Ready(Ok(())));
                    assert_eq!(verdict(scheme, b"massage"), Poll::Ready(Err(VerifyError::NotHolder)));
                } else {
                    let unsupported = Poll::Ready(Err(VerifyError::UnsupportedAlgorithm));
                    assert_eq!(verdict(scheme, b"message"), unsupported);
                    assert_eq!(verdict(key.schemes()[0], b"message"), unsupported);
                }
            }
        }
    }
}
