//! Who the peer is: a policy looks at what the Certificate message presents, then the CertificateVerify signature is
//! checked with the key that the policy accepted (RFC 9846 4.4.2 and 4.4.3).
//!
//! - `x509::X509` (feature `x509`): a chain up to a given trust anchor, the server's name, the validity, the purpose.
//! - [`pin::Pin`]: the leaf's key is one of those whose SHA-256 we know. No clock, no chain.
//! - [`raw_key::RawKey`]: a raw public key (RFC 7250) that we know. No certificate at all.
//! - [`only::Only`]: any of these with one signature algorithm, so that the others need not be linked.
//! - [`Insecure`][]: anybody.
//!
//! Revocation is not checked.

pub mod only;
pub mod pin;
pub mod raw_key;
#[cfg(feature = "x509")]
pub mod x509;

use core::fmt;
use core::task::Poll;

use peregrine_core::error::TransportError;
use peregrine_core::ids::Side;

use crate::der::{Spki, spki_of_certificate};
use crate::provider::Scheme;
use crate::signature;
use crate::tls::fault::{Cause, Fault};

/// Certificates that are looked at; a longer list is refused.
pub const MAX_CERTIFICATES: usize = 4;

/// What the entries of a Certificate message are (RFC 7250, IANA "TLS Certificate Types").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum CertificateType {
    /// X.509 certificates, the peer's own first.
    X509 = 0,
    /// One SubjectPublicKeyInfo.
    RawPublicKey = 2,
}

/// What the peer presents, and what we know of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a, 'c> {
    /// What the entries are.
    pub kind: CertificateType,
    /// The entries of the Certificate message in DER, in its order.
    pub entries: &'a [&'c [u8]],
    /// The role of the peer: a server must be good for server authentication and carry `name`.
    pub peer: Side,
    /// On a client, the name or IP address of the server that the application asked for.
    pub name: Option<&'a str>,
    /// Seconds since 1970, if there is a clock.
    pub unix_time: Option<u64>,
}

impl<'c> Presented<'_, 'c> {
    /// The peer's own entry.
    ///
    /// # Errors
    /// If there is none, or more than [`MAX_CERTIFICATES`] entries.
    pub fn leaf(&self) -> Result<&'c [u8], VerifyError> {
        match self.entries {
            [] => Err(VerifyError::Empty),
            [leaf, others @ ..] if others.len() < MAX_CERTIFICATES => Ok(leaf),
            _ => Err(VerifyError::TooMany),
        }
    }

    /// The SubjectPublicKeyInfo of the peer's own entry, whatever its type. Of a certificate, nothing else is checked.
    ///
    /// # Errors
    /// Like [`Self::leaf`], and if the entry does not parse.
    pub fn spki(&self) -> Result<&'c [u8], VerifyError> {
        let leaf = self.leaf()?;
        let spki = match self.kind {
            CertificateType::X509 => spki_of_certificate(leaf),
            CertificateType::RawPublicKey => Some(leaf),
        };
        spki.filter(|spki| Spki::parse(spki).is_some()).ok_or(VerifyError::Malformed)
    }
}

/// Why a peer's identity was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VerifyError {
    /// No certificate at all.
    Empty,
    /// More than [`MAX_CERTIFICATES`].
    TooMany,
    /// Not the type of certificate we asked for.
    WrongType,
    /// A certificate or public key that does not parse.
    Malformed,
    /// After the end of its validity.
    Expired,
    /// Before the start of its validity.
    NotYetValid,
    /// The policy needs the time and nobody told it.
    NoClock,
    /// No chain to a trust anchor.
    UnknownCa,
    /// Not a certificate for the name we asked for.
    NameMismatch,
    /// Not meant for this role.
    WrongPurpose,
    /// A constraint in the chain forbids it.
    Constraint,
    /// A certificate whose signature is wrong.
    BadSignature,
    /// A CertificateVerify whose signature is wrong: the peer does not hold the key.
    NotHolder,
    /// A key, curve or signature algorithm that we do not know or do not allow here.
    UnsupportedAlgorithm,
    /// Not a key that we know.
    WrongPin,
}

impl VerifyError {
    /// The TLS alert that tells the peer (RFC 9846 6.2).
    pub const fn alert(self) -> u8 {
        (self.fault().0.0 as u16 & 0xff) as u8
    }

    /// The cause in words, for people.
    pub const fn reason(self) -> &'static str {
        self.fault().0.1
    }

    pub(crate) const fn fault(self) -> Fault {
        Fault(match self {
            Self::Empty => &(Cause::DecodeError, "no certificate"),
            Self::TooMany => &(Cause::BadCertificate, "too many certificates"),
            Self::WrongType => &(Cause::UnsupportedCertificate, "not the type of certificate asked for"),
            Self::Malformed => &(Cause::BadCertificate, "malformed certificate"),
            Self::Expired => &(Cause::CertificateExpired, "certificate expired"),
            Self::NotYetValid => &(Cause::CertificateExpired, "certificate not yet valid"),
            Self::NoClock => &(Cause::InternalError, "no clock to check a certificate with"),
            Self::UnknownCa => &(Cause::UnknownCa, "certificate of an unknown CA"),
            Self::NameMismatch => &(Cause::BadCertificate, "certificate for another name"),
            Self::WrongPurpose => &(Cause::UnsupportedCertificate, "certificate for another purpose"),
            Self::Constraint => &(Cause::BadCertificate, "certificate outside the constraints of its chain"),
            Self::BadSignature => &(Cause::BadCertificate, "bad signature in a certificate"),
            Self::NotHolder => &(Cause::DecryptError, "bad signature in CertificateVerify"),
            Self::UnsupportedAlgorithm => {
                &(Cause::UnsupportedCertificate, "unsupported key or signature algorithm")
            }
            Self::WrongPin => &(Cause::CertificateUnknown, "not the expected public key"),
        })
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl core::error::Error for VerifyError {}

impl From<VerifyError> for TransportError {
    fn from(error: VerifyError) -> Self {
        error.fault().into()
    }
}

/// A policy on the peer's identity. It may have hardware to ask, see [`provider`](crate::provider) for what that means.
pub trait Verifier {
    /// The types of certificate it can judge, best first.
    fn types(&self) -> &[CertificateType];

    /// Decides on what the peer presents; returns the DER of the SubjectPublicKeyInfo that the peer must now prove to
    /// hold, which lies within the first entry.
    ///
    /// # Errors
    /// Why not.
    fn verify_identity<'c>(&self, presented: &Presented<'_, 'c>) -> Poll<Result<&'c [u8], VerifyError>>;

    /// The schemes it can check, best first, for the signature_algorithms extension. Those for certificates only may be
    /// among them.
    fn schemes(&self) -> &[Scheme] {
        signature::SCHEMES
    }

    /// Checks the signature of a CertificateVerify: `message` is what RFC 9846 4.4.3 has signed, `spki` what
    /// [`Self::verify_identity`] returned.
    ///
    /// # Errors
    /// If the scheme is not one for CertificateVerify, does not suit the key, or the signature is wrong.
    fn verify_signature(
        &self,
        scheme: Scheme,
        spki: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Poll<Result<(), VerifyError>> {
        Poll::Ready(signature::verify(scheme, spki, message, signature))
    }
}

/// Accepts anybody who proves to hold the key they present: protects from eavesdroppers who only listen, and from
/// nobody else. For tests.
#[derive(Clone, Copy, Debug)]
pub struct Insecure;

impl Verifier for Insecure {
    fn types(&self) -> &[CertificateType] {
        &[CertificateType::X509, CertificateType::RawPublicKey]
    }

    fn verify_identity<'c>(&self, presented: &Presented<'_, 'c>) -> Poll<Result<&'c [u8], VerifyError>> {
        Poll::Ready(presented.spki())
    }
}
