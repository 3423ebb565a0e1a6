//! Whom Peregrine's TLS trusts: the verifiers of the crypto crate, with the signatures checked by the fastest
//! implementation there is here.

#[cfg(feature = "aws-lc-rs")]
use std::task::Poll;

use peregrine_crypto::provider::Scheme;
use peregrine_crypto::verify::pin::Pin;
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::x509::{TrustAnchor, X509, anchor};
use peregrine_crypto::verify::{CertificateType, Insecure, Presented, Verifier, VerifyError};

use super::{TlsError, Trust};

/// Whom we trust, judged by Peregrine's verifiers.
pub(super) enum Policy {
    Roots(Vec<TrustAnchor<'static>>),
    Pins(Vec<[u8; 32]>),
    RawKeys(Vec<Vec<u8>>),
    Anyone,
}

impl Policy {
    pub(super) fn new(trust: Trust) -> Result<Self, TlsError> {
        Ok(match trust {
            Trust::Roots(roots) => {
                // A system's store may hold a root that we cannot read; the others are as good as before.
                let anchors: Vec<_> = roots
                    .iter()
                    .filter_map(|root| anchor(root).ok().map(|anchor| anchor.to_owned()))
                    .collect();
                if anchors.is_empty() {
                    return Err(TlsError::Root);
                }
                Self::Roots(anchors)
            }
            Trust::Pins(pins) => Self::Pins(pins.into_iter().map(|pin| pin.0).collect()),
            Trust::RawKeys(keys) => Self::RawKeys(keys.iter().map(|key| key.to_vec()).collect()),
            // Who has no key of the list is let in by no certificate either.
            Trust::Psk(_) => Self::Pins(Vec::new()),
            Trust::Anyone => Self::Anyone,
        })
    }
}

impl Verifier for Policy {
    fn types(&self) -> &[CertificateType] {
        match self {
            Self::Roots(_) => &[CertificateType::X509],
            Self::RawKeys(_) => &[CertificateType::RawPublicKey],
            Self::Pins(_) | Self::Anyone => &[CertificateType::X509, CertificateType::RawPublicKey],
        }
    }

    fn verify_identity<'c>(&self, presented: &Presented<'_, 'c>) -> Poll<Result<&'c [u8], VerifyError>> {
        match self {
            Self::Roots(anchors) => Poll::Ready(by_chain(&X509 { anchors }, presented)),
            Self::Pins(keys) => Pin { keys }.verify_identity(presented),
            Self::RawKeys(keys) => {
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                RawKey { keys: &keys }.verify_identity(presented)
            }
            Self::Anyone => Insecure.verify_identity(presented),
        }
    }

    #[cfg(feature = "aws-lc-rs")]
    fn verify_signature(
        &self,
        scheme: Scheme,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Poll<Result<(), VerifyError>> {
        Poll::Ready(aws::verify_signature(scheme, spki, message, signature))
    }
}

#[cfg(not(feature = "aws-lc-rs"))]
fn by_chain<'c>(x509: &X509<'_>, presented: &Presented<'_, 'c>) -> Result<&'c [u8], VerifyError> {
    x509.verify_with(peregrine_crypto::signature::ALGORITHMS, presented)
}

#[cfg(feature = "aws-lc-rs")]
fn by_chain<'c>(x509: &X509<'_>, presented: &Presented<'_, 'c>) -> Result<&'c [u8], VerifyError> {
    x509.verify_with(webpki::ALL_VERIFICATION_ALGS, presented)
}

/// Signatures checked by AWS-LC: several times faster than in portable Rust.
#[cfg(feature = "aws-lc-rs")]
mod aws {
    use peregrine_crypto::provider::Scheme;
    use peregrine_crypto::verify::VerifyError;
    use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
    use webpki::{Error, RawPublicKeyEntity, aws_lc_rs as algorithms};

    pub(super) fn verify_signature(
        scheme: Scheme,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        let algorithm = algorithm(scheme).ok_or(VerifyError::UnsupportedAlgorithm)?;
        let spki = SubjectPublicKeyInfoDer::from(spki);
        let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| VerifyError::Malformed)?;
        key.verify_signature(algorithm, message, signature).map_err(|error| match error {
            Error::InvalidSignatureForPublicKey => VerifyError::NotHolder,
            _ => VerifyError::UnsupportedAlgorithm,
        })
    }

    /// What may sign a CertificateVerify (RFC 9846 4.2.3).
    fn algorithm(scheme: Scheme) -> Option<&'static dyn SignatureVerificationAlgorithm> {
        Some(match scheme {
            Scheme::ECDSA_P256_SHA256 => algorithms::ECDSA_P256_SHA256,
            Scheme::ECDSA_P384_SHA384 => algorithms::ECDSA_P384_SHA384,
            Scheme::ED25519 => algorithms::ED25519,
            Scheme::RSA_PSS_SHA256 => algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            Scheme::RSA_PSS_SHA384 => algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
            Scheme::RSA_PSS_SHA512 => algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
            _ => return None,
        })
    }
}
