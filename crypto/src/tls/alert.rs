//! TLS alerts as causes of a connection error (RFC 9846 6.2, RFC 9001 4.8).

use peregrine_core::error::TransportError;

/// The alerts this implementation sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alert {
    /// A message that is not due.
    UnexpectedMessage = 10,
    /// Nothing both sides can do.
    HandshakeFailure = 40,
    /// A certificate that is corrupt or whose signature is wrong.
    BadCertificate = 42,
    /// A certificate of a type that was not agreed on.
    UnsupportedCertificate = 43,
    /// A certificate outside its time.
    CertificateExpired = 45,
    /// A certificate that is not acceptable for another reason.
    CertificateUnknown = 46,
    /// A field that contradicts another, or the protocol.
    IllegalParameter = 47,
    /// No trust anchor.
    UnknownCa = 48,
    /// A message that does not parse.
    DecodeError = 50,
    /// A signature, Finished or binder that does not verify.
    DecryptError = 51,
    /// Not TLS 1.3.
    ProtocolVersion = 70,
    /// We cannot go on, and it is not the peer's fault.
    InternalError = 80,
    /// A mandatory extension is absent.
    MissingExtension = 109,
    /// An extension that answers nothing we asked.
    UnsupportedExtension = 110,
    /// No key known for any identity offered.
    UnknownPskIdentity = 115,
    /// The client has to authenticate and did not.
    CertificateRequired = 116,
    /// No application protocol in common.
    NoApplicationProtocol = 120,
}

impl Alert {
    /// The connection error that carries this alert; `reason` is for people.
    pub const fn because(self, reason: &'static str) -> TransportError {
        TransportError::alert(self as u8, reason)
    }
}
