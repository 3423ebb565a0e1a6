//! X.509 chains (RFC 5280), by way of `rustls-webpki`: signatures up to a trust anchor, validity, CA and path length
//! constraints, name constraints, extended key usage, and for servers the subject alternative names (RFC 9525).
//!
//! The chain may hold [`MAX_CERTIFICATES`] certificates, in any order after the first. There
//! is no revocation and no way around the clock: a device that does not know the time is better served by
//! [`Pin`](super::pin::Pin) or [`RawKey`](super::raw_key::RawKey).

use core::task::Poll;
use core::time::Duration;

use peregrine_core::ids::Side;
pub use rustls_pki_types::TrustAnchor;
use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::{CertificateType, MAX_CERTIFICATES, Presented, Verifier, VerifyError};
use crate::signature::ALGORITHMS;

/// Accepts a chain to one of these anchors.
#[derive(Clone, Copy, Debug)]
pub struct X509<'a> {
    /// Whom we trust. See [`anchor`].
    pub anchors: &'a [TrustAnchor<'a>],
}

/// The trust anchor in a certificate of a CA.
///
/// # Errors
/// [`VerifyError::Malformed`].
pub fn anchor<'a>(certificate: &'a CertificateDer<'a>) -> Result<TrustAnchor<'a>, VerifyError> {
    webpki::anchor_from_trusted_cert(certificate).map_err(|_| VerifyError::Malformed)
}

impl X509<'_> {
    /// Like [`Verifier::verify_identity`], with other implementations of the signature algorithms: those of a host or of
    /// an accelerator.
    ///
    /// # Errors
    /// Why not.
    pub fn verify_with<'c>(
        &self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        presented: &Presented<'_, 'c>,
    ) -> Result<&'c [u8], VerifyError> {
        if presented.kind != CertificateType::X509 {
            return Err(VerifyError::WrongType);
        }
        let leaf = CertificateDer::from(presented.leaf()?);
        let certificate = EndEntityCert::try_from(&leaf).map_err(translate)?;
        let others: heapless::Vec<CertificateDer<'_>, MAX_CERTIFICATES> =
            presented.entries.iter().skip(1).map(|&der| CertificateDer::from(der)).collect();
        let seconds = presented.unix_time.ok_or(VerifyError::NoClock)?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let usage = match presented.peer {
            Side::Client => KeyUsage::client_auth(),
            Side::Server => KeyUsage::server_auth(),
        };
        certificate
            .verify_for_usage(algorithms, self.anchors, &others, time, usage, None, None)
            .map_err(translate)?;
        if presented.peer == Side::Server {
            let name = presented.name.and_then(|name| ServerName::try_from(name).ok());
            let name = name.ok_or(VerifyError::NameMismatch)?;
            certificate.verify_is_valid_for_subject_name(&name).map_err(translate)?;
        }
        presented.spki()
    }
}

impl Verifier for X509<'_> {
    fn types(&self) -> &[CertificateType] {
        &[CertificateType::X509]
    }

    fn verify_identity<'c>(&self, presented: &Presented<'_, 'c>) -> Poll<Result<&'c [u8], VerifyError>> {
        Poll::Ready(self.verify_with(ALGORITHMS, presented))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is a function for map_err")]
fn translate(error: Error) -> VerifyError {
    match error {
        Error::CertExpired { .. } => VerifyError::Expired,
        Error::CertNotValidYet { .. } => VerifyError::NotYetValid,
        Error::UnknownIssuer => VerifyError::UnknownCa,
        Error::CertNotValidForName(_) => VerifyError::NameMismatch,
        Error::RequiredEkuNotFoundContext(_) | Error::CaUsedAsEndEntity | Error::EndEntityUsedAsCa => {
            VerifyError::WrongPurpose
        }
        Error::NameConstraintViolation
        | Error::PathLenConstraintViolated
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => VerifyError::Constraint,
        Error::InvalidSignatureForPublicKey | Error::SignatureAlgorithmMismatch => VerifyError::BadSignature,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::UnsupportedCriticalExtension
        | Error::UnsupportedCertVersion => VerifyError::UnsupportedAlgorithm,
        _ => VerifyError::Malformed,
    }
}
