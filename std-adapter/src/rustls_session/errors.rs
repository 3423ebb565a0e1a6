//! The errors of rustls as QUIC's: an alert in the code, a cause that a person understands.

use peregrine_core::error::{Code, TransportError};
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// TLS bytes at a level that does not carry any now (RFC 9001 4.1.3).
pub(super) const WRONG_LEVEL: TransportError =
    TransportError::new(Code::PROTOCOL_VIOLATION, "TLS data in packets of the wrong encryption level");

/// The error with the alert that rustls would send. It has none where the fault is not the peer's.
pub(super) fn from_rustls(error: &Error, alert: Option<AlertDescription>) -> TransportError {
    let alert = alert.unwrap_or(AlertDescription::InternalError);
    TransportError::alert(alert.into(), reason(error))
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => certificate_reason(error),
        Error::NoCertificatesPresented => "the peer sent no certificate",
        Error::NoApplicationProtocol => "no application protocol in common",
        Error::DecryptError => "a signature or a Finished message does not verify",
        Error::PeerIncompatible(error) => match error {
            PeerIncompatible::NoCipherSuitesInCommon => "no cipher suite in common",
            PeerIncompatible::NoKxGroupsInCommon => "no key exchange group in common",
            PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
                "no signature scheme in common"
            }
            _ => "the peer's TLS lacks what we need",
        },
        Error::InvalidMessage(_) => "a TLS message does not parse",
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "a TLS message that is not allowed now"
        }
        Error::PeerMisbehaved(_) => "the peer violates TLS",
        Error::InconsistentKeys(_) => "the private key does not belong to the certificate",
        Error::FailedToGetCurrentTime => "the system has no clock to check certificates by",
        Error::FailedToGetRandomBytes => "the system gives no random bytes",
        _ => "TLS failed",
    }
}

fn certificate_reason(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::BadEncoding => "the certificate does not parse",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet"
        }
        CertificateError::Revoked => "the certificate was revoked",
        CertificateError::UnknownIssuer => "the certificate's issuer is not trusted",
        CertificateError::BadSignature => "a signature of the certificate does not verify",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another name"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is for another purpose"
        }
        CertificateError::UnhandledCriticalExtension => {
            "a critical extension of the certificate is not known"
        }
        CertificateError::ApplicationVerificationFailure => "the certificate was refused by the application",
        _ => "the certificate is not accepted",
    }
}
