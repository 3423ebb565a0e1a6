//! The handshake messages of TLS 1.3 (RFC 9846 4), one file each, parse beside emit. What is parsed borrows from the
//! message; nothing here panics on any input.

pub(crate) mod certificate;
pub(crate) mod certificate_request;
pub(crate) mod certificate_verify;
pub(crate) mod client_hello;
pub(crate) mod encrypted_extensions;
pub(crate) mod server_hello;

use super::codec::{Content, Encoder};
use crate::tls::fault::{Cause, Fault};

/// The one version there is, TLS 1.3, as it stands in supported_versions.
pub(crate) const TLS13: u16 = 0x0304;
/// What legacy_version says in every TLS 1.3 hello.
pub(crate) const LEGACY_VERSION: u16 = 0x0303;
/// Bytes of type and length before every message.
pub(crate) const HEADER_LEN: usize = 4;
/// Length of a hello's random.
pub(crate) const RANDOM_LEN: usize = 32;

/// The type of a handshake message (RFC 9846 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    ClientHello = 1,
    ServerHello = 2,
    NewSessionTicket = 4,
    EncryptedExtensions = 8,
    Certificate = 11,
    CertificateRequest = 13,
    CertificateVerify = 15,
    Finished = 20,
    KeyUpdate = 24,
}

impl Kind {
    /// The type with this number. EndOfEarlyData has none here: QUIC does not use it (RFC 9001 8.3).
    pub(crate) const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::ClientHello,
            2 => Self::ServerHello,
            4 => Self::NewSessionTicket,
            8 => Self::EncryptedExtensions,
            11 => Self::Certificate,
            13 => Self::CertificateRequest,
            15 => Self::CertificateVerify,
            20 => Self::Finished,
            24 => Self::KeyUpdate,
            _ => return None,
        })
    }
}

/// One whole handshake message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub(crate) kind: Kind,
    pub(crate) body: &'a [u8],
    /// Header and body: what the transcript takes.
    pub(crate) whole: &'a [u8],
}

impl<'a> Message<'a> {
    /// Takes `whole` apart, whose length the header has already told.
    pub(crate) fn parse(whole: &'a [u8]) -> Result<Self, Fault> {
        let ([kind, ..], body) = whole
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(Fault(&(Cause::DecodeError, "handshake message without a header")))?;
        let kind = Kind::from_u8(*kind).ok_or(unexpected())?;
        Ok(Self { kind, body, whole })
    }
}

/// A message that is not due now.
pub(crate) const fn unexpected() -> Fault {
    Fault(&(Cause::UnexpectedMessage, "a handshake message that is not due"))
}

/// Writes a whole message.
pub(crate) fn emit(out: &mut Encoder<'_>, kind: Kind, body: impl Content) {
    out.u8(kind as u8);
    out.vec24(body);
}
