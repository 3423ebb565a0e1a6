//! Why a handshake fails, as a connection error (RFC 9846 6.2, RFC 9001 4.8).

use peregrine_core::error::{Code, TransportError};

use crate::hkdf::DeriveError;
use crate::verify::VerifyError;

/// The codes of the connection errors of TLS: 0x100 and the alert, and some without an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Cause {
    /// A state that our own code should have made impossible.
    Impossible = 0x01,
    /// What QUIC forbids and TLS would not.
    Violation = 0x0a,
    /// More than the memory lent can take.
    NoMemory = 0x0d,
    /// A message that is not due.
    UnexpectedMessage = 0x10a,
    /// Nothing both sides can do.
    HandshakeFailure = 0x128,
    /// A certificate that is corrupt or whose signature is wrong.
    BadCertificate = 0x12a,
    /// A certificate of a type that was not agreed on.
    UnsupportedCertificate = 0x12b,
    /// A certificate outside its time.
    CertificateExpired = 0x12d,
    /// A certificate that is not acceptable for another reason.
    CertificateUnknown = 0x12e,
    /// A field that contradicts another, or the protocol.
    IllegalParameter = 0x12f,
    /// No trust anchor.
    UnknownCa = 0x130,
    /// A message that does not parse.
    DecodeError = 0x132,
    /// A signature, Finished or binder that does not verify.
    DecryptError = 0x133,
    /// Not TLS 1.3.
    ProtocolVersion = 0x146,
    /// We cannot go on, and it is not the peer's fault.
    InternalError = 0x150,
    /// A mandatory extension is absent.
    MissingExtension = 0x16d,
    /// An extension that answers nothing we asked.
    UnsupportedExtension = 0x16e,
    /// No key known for any identity offered.
    UnknownPskIdentity = 0x173,
    /// The client has to authenticate and did not.
    CertificateRequired = 0x174,
    /// No application protocol in common.
    NoApplicationProtocol = 0x178,
}

/// What is wrong, and words for people. It is a reference to a constant, so that the results of all that reads and writes
/// messages are as small as they can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault(pub(crate) &'static (Cause, &'static str));

impl Fault {
    #[cfg(test)]
    pub(crate) const fn cause(self) -> Cause {
        self.0.0
    }
}

impl From<Fault> for TransportError {
    fn from(Fault((cause, words)): Fault) -> Self {
        Self::new(Code(u64::from(*cause as u16)), words)
    }
}

impl From<DeriveError> for Fault {
    fn from(_: DeriveError) -> Self {
        Self(&(Cause::Impossible, "keys cannot be derived"))
    }
}

impl From<VerifyError> for Fault {
    fn from(error: VerifyError) -> Self {
        error.fault()
    }
}

/// Core's trap, for a [`Fault`].
pub(crate) trait Trap<T> {
    /// The value there has to be: without it a debug build stops, and a release build ends the connection.
    fn trap(self, impossible: Fault) -> Result<T, Fault>;
}

impl<T> Trap<T> for Option<T> {
    fn trap(self, impossible: Fault) -> Result<T, Fault> {
        debug_assert!(self.is_some(), "{}", impossible.0.1);
        self.ok_or(impossible)
    }
}
