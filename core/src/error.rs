//! What can be wrong: a packet that is ignored, or a connection that ends. Every cause has a name.

use core::fmt;

/// A transport error code (RFC 9000 20.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u64);

impl Code {
    /// Closed without an error.
    pub const NO_ERROR: Self = Self(0x00);
    /// The implementation cannot go on.
    pub const INTERNAL_ERROR: Self = Self(0x01);
    /// The server does not take the connection.
    pub const CONNECTION_REFUSED: Self = Self(0x02);
    /// More data than allowed.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x03);
    /// More streams than allowed.
    pub const STREAM_LIMIT_ERROR: Self = Self(0x04);
    /// A frame that the stream's state forbids.
    pub const STREAM_STATE_ERROR: Self = Self(0x05);
    /// The end of a stream moved, or data lies beyond it.
    pub const FINAL_SIZE_ERROR: Self = Self(0x06);
    /// A frame that does not parse.
    pub const FRAME_ENCODING_ERROR: Self = Self(0x07);
    /// Transport parameters that do not parse or contradict.
    pub const TRANSPORT_PARAMETER_ERROR: Self = Self(0x08);
    /// More connection IDs than allowed.
    pub const CONNECTION_ID_LIMIT_ERROR: Self = Self(0x09);
    /// Another violation of the protocol.
    pub const PROTOCOL_VIOLATION: Self = Self(0x0a);
    /// An invalid token in a client's Initial.
    pub const INVALID_TOKEN: Self = Self(0x0b);
    /// The application closed.
    pub const APPLICATION_ERROR: Self = Self(0x0c);
    /// More CRYPTO data than can be buffered.
    pub const CRYPTO_BUFFER_EXCEEDED: Self = Self(0x0d);
    /// A key update that was not allowed.
    pub const KEY_UPDATE_ERROR: Self = Self(0x0e);
    /// The integrity limit of the keys was reached.
    pub const AEAD_LIMIT_REACHED: Self = Self(0x0f);
    /// No network path works.
    pub const NO_VIABLE_PATH: Self = Self(0x10);

    /// The code of a TLS alert (RFC 9001 4.8).
    pub const fn crypto(alert: u8) -> Self {
        Self(0x100 | alert as u64)
    }

    /// The TLS alert behind the code, if it is one.
    pub const fn alert(self) -> Option<u8> {
        if self.0 >> 8 == 1 { Some((self.0 & 0xff) as u8) } else { None }
    }

    /// The name of the code in the RFCs, if it has one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "NO_ERROR",
            0x01 => "INTERNAL_ERROR",
            0x02 => "CONNECTION_REFUSED",
            0x03 => "FLOW_CONTROL_ERROR",
            0x04 => "STREAM_LIMIT_ERROR",
            0x05 => "STREAM_STATE_ERROR",
            0x06 => "FINAL_SIZE_ERROR",
            0x07 => "FRAME_ENCODING_ERROR",
            0x08 => "TRANSPORT_PARAMETER_ERROR",
            0x09 => "CONNECTION_ID_LIMIT_ERROR",
            0x0a => "PROTOCOL_VIOLATION",
            0x0b => "INVALID_TOKEN",
            0x0c => "APPLICATION_ERROR",
            0x0d => "CRYPTO_BUFFER_EXCEEDED",
            0x0e => "KEY_UPDATE_ERROR",
            0x0f => "AEAD_LIMIT_REACHED",
            0x10 => "NO_VIABLE_PATH",
            0x10a => "TLS unexpected_message",
            0x114 => "TLS bad_record_mac",
            0x128 => "TLS handshake_failure",
            0x12a => "TLS bad_certificate",
            0x12b => "TLS unsupported_certificate",
            0x12c => "TLS certificate_revoked",
            0x12d => "TLS certificate_expired",
            0x12e => "TLS certificate_unknown",
            0x12f => "TLS illegal_parameter",
            0x130 => "TLS unknown_ca",
            0x131 => "TLS access_denied",
            0x132 => "TLS decode_error",
            0x133 => "TLS decrypt_error",
            0x146 => "TLS protocol_version",
            0x147 => "TLS insufficient_security",
            0x150 => "TLS internal_error",
            0x16d => "TLS missing_extension",
            0x16e => "TLS unsupported_extension",
            0x170 => "TLS unrecognized_name",
            0x173 => "TLS unknown_psk_identity",
            0x174 => "TLS certificate_required",
            0x175 => "TLS general_error",
            0x178 => "TLS no_application_protocol",
            _ => return None,
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({:#x})", self.0),
            None => write!(f, "error {:#x}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Code {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self.name() {
            Some(name) => defmt::write!(f, "{} ({:#x})", name, self.0),
            None => defmt::write!(f, "error {:#x}", self.0),
        }
    }
}

/// Why a connection ends with a transport error.
// As small as can be: it passes through most functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransportError {
    code: u16,
    frame: u16,
    #[cfg(feature = "reasons")]
    reason: &'static str,
}

impl TransportError {
    /// An error with no frame behind it. Without the feature `reasons` the words are left out; a code of more than 16 bits, which
    /// none of ours has, becomes INTERNAL_ERROR.
    #[cfg_attr(not(feature = "reasons"), expect(unused_variables, reason = "they cost flash"))]
    pub const fn new(code: Code, reason: &'static str) -> Self {
        Self {
            code: short(code.0, Code::INTERNAL_ERROR.0 as u16),
            frame: 0,
            #[cfg(feature = "reasons")]
            reason,
        }
    }

    /// What the peer is told.
    pub const fn code(&self) -> Code {
        Code(self.code as u64)
    }

    /// The type of the frame that caused it; zero where none did, and for one beyond 16 bits (RFC 9000 19.19: unknown).
    pub const fn frame(&self) -> u64 {
        self.frame as u64
    }

    /// The cause in words, for people; empty without the feature `reasons`.
    pub const fn reason(&self) -> &'static str {
        #[cfg(feature = "reasons")]
        return self.reason;
        #[cfg(not(feature = "reasons"))]
        return "";
    }

    /// A TLS alert (RFC 9001 4.8).
    pub const fn alert(alert: u8, reason: &'static str) -> Self {
        Self::new(Code::crypto(alert), reason)
    }

    /// The same error, blamed on a frame type if none is blamed yet.
    #[must_use]
    pub const fn in_frame(self, frame: u64) -> Self {
        if self.frame == 0 { Self { frame: short(frame, 0), ..self } } else { self }
    }

    /// A state that our own code should have made impossible.
    pub const fn internal(reason: &'static str) -> Self {
        Self::new(Code::INTERNAL_ERROR, reason)
    }
}

/// `value` in 16 bits, which is enough for every code and every frame type that we name.
const fn short(value: u64, otherwise: u16) -> u16 {
    if value > u16::MAX as u64 { otherwise } else { value as u16 }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code())?;
        if self.reason().is_empty() { Ok(()) } else { write!(f, ": {}", self.reason()) }
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for TransportError {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self.reason() {
            "" => defmt::Format::format(&self.code(), f),
            reason => defmt::write!(f, "{}: {}", self.code(), reason),
        }
    }
}

impl core::error::Error for TransportError {}

/// Why a packet or datagram was ignored. The names reach events and counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Why {
    /// Too short or garbled to be a packet.
    Malformed,
    /// A connection ID that is not ours.
    UnknownCid,
    /// A version we do not speak.
    Version,
    /// Keys for this packet do not exist yet.
    NoKeys,
    /// Keys for this packet were discarded.
    KeysDiscarded,
    /// The AEAD did not accept it.
    Forged,
    /// Seen before.
    Duplicate,
    /// An Initial in a datagram shorter than 1,200 bytes.
    ShortInitial,
    /// From an address that may not speak for this connection now.
    Address,
    /// A table or buffer that would hold it is full; the peer sends it again.
    Full,
    /// The connection is closing or draining.
    Closing,
    /// A Retry or Version Negotiation packet that came too late, twice, or does not verify.
    Unexpected,
    /// Refused by the application's policy.
    Policy,
}

impl Why {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::UnknownCid,
        Self::Version,
        Self::NoKeys,
        Self::KeysDiscarded,
        Self::Forged,
        Self::Duplicate,
        Self::ShortInitial,
        Self::Address,
        Self::Full,
        Self::Closing,
        Self::Unexpected,
        Self::Policy,
    ];
}

/// What comes of input that is not right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// Ignore the packet.
    Discard(Why),
    /// End the connection.
    Close(TransportError),
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        Self::Discard(why)
    }
}

impl From<TransportError> for Refusal {
    fn from(error: TransportError) -> Self {
        Self::Close(error)
    }
}

/// Turns a state that cannot be into a trap in debug builds and INTERNAL_ERROR in release builds.
pub trait Trap<T> {
    /// The value, or INTERNAL_ERROR with `reason`.
    ///
    /// # Errors
    /// If there is no value, which is a defect of ours.
    fn trap(self, reason: &'static str) -> Result<T, TransportError>;
}

impl<T> Trap<T> for Option<T> {
    fn trap(self, reason: &'static str) -> Result<T, TransportError> {
        debug_assert!(self.is_some(), "{reason}");
        self.ok_or(TransportError::internal(reason))
    }
}

/// A fixed table or buffer has no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room left in a fixed table")
    }
}

impl core::error::Error for Full {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn alerts_map_to_0x100_and_back() {
        assert_eq!(Code::crypto(120).0, 0x178);
        assert_eq!(Code(0x178).alert(), Some(120));
        assert_eq!(Code::NO_VIABLE_PATH.alert(), None);
        assert_eq!(format!("{}", Code::crypto(120)), "TLS no_application_protocol (0x178)");
    }

    #[test]
    fn what_16_bits_do_not_hold_has_a_stand_in() {
        assert_eq!(TransportError::new(Code(0x1_0000), "x").code(), Code::INTERNAL_ERROR);
        let error = TransportError::new(Code::FRAME_ENCODING_ERROR, "x");
        assert_eq!((error.in_frame(0x1522_8c00).frame(), error.in_frame(0x3e75).frame()), (0, 0x3e75));
    }

    #[test]
    fn first_blamed_frame_stays() {
        let error = TransportError::new(Code::PROTOCOL_VIOLATION, "x").in_frame(6).in_frame(7);
        assert_eq!(error.frame(), 6);
    }
}
