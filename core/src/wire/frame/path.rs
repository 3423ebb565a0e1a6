//! Frames about the path and the packet itself (RFC 9000 19.1, 19.2, 19.17, 19.18, 19.20).

use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// PADDING: a run of zero bytes, of which the type is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Bytes of the run; at least one.
    pub len: usize,
}

impl Padding {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let more = from.rest().iter().take_while(|byte| **byte == 0).count();
        from.bytes(more)?;
        Ok(Self { len: more.saturating_add(1) })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.reserve(self.len)?.fill(0);
        Ok(())
    }
}

/// PING: nothing but a reason to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping;

impl Ping {
    pub(super) fn parse(_: u64, _: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self)
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x01)
    }
}

/// PATH_CHALLENGE: bytes to be sent back on the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathChallenge {
    /// Unpredictable bytes.
    pub data: [u8; 8],
}

impl PathChallenge {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { data: from.array()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x1a)?;
        out.bytes(&self.data)
    }
}

/// PATH_RESPONSE: the bytes of a PATH_CHALLENGE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathResponse {
    /// The bytes of the challenge.
    pub data: [u8; 8],
}

impl PathResponse {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { data: from.array()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x1b)?;
        out.bytes(&self.data)
    }
}

/// HANDSHAKE_DONE: the server confirms the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeDone;

impl HandshakeDone {
    pub(super) fn parse(_: u64, _: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self)
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x1e)
    }
}
