//! Connection IDs and tokens (RFC 9000 19.7, 19.15, 19.16).

use crate::limits::RESET_TOKEN_LEN;
use crate::wire::{Cid, Malformed, NoSpace, Reader, Writer};

/// NEW_CONNECTION_ID: a connection ID that the receiver may send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewConnectionId {
    /// Its sequence number.
    pub seq: u64,
    /// All below this sequence number are to be retired.
    pub retire_prior_to: u64,
    /// The connection ID; never empty.
    pub cid: Cid,
    /// The stateless reset token that goes with it.
    pub reset_token: [u8; RESET_TOKEN_LEN],
}

impl NewConnectionId {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::parse_body(from)
    }

    pub(super) fn parse_body(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let seq = from.varint()?;
        let retire_prior_to = from.varint()?;
        let cid = Cid::parse(from)?;
        // Both are FRAME_ENCODING_ERROR (RFC 9000 19.15), as is a connection ID of more than 20 bytes.
        if cid.is_empty() || retire_prior_to > seq {
            return Err(Malformed);
        }
        Ok(Self { seq, retire_prior_to, cid, reset_token: from.array()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x18)?;
        self.emit_body(out)
    }

    pub(super) fn emit_body(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.varint(self.seq)?;
        out.varint(self.retire_prior_to)?;
        self.cid.emit(out)?;
        out.bytes(&self.reset_token)
    }
}

/// RETIRE_CONNECTION_ID: a connection ID that will not be sent to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetireConnectionId {
    /// Its sequence number.
    pub seq: u64,
}

impl RetireConnectionId {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { seq: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x19)?;
        out.varint(self.seq)
    }
}

/// NEW_TOKEN: an address validation token for a later connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewToken<'a> {
    /// The token; never empty.
    pub token: &'a [u8],
}

impl<'a> NewToken<'a> {
    pub(super) fn parse(_: u64, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let token = from.varint_bytes()?;
        if token.is_empty() { Err(Malformed) } else { Ok(Self { token }) }
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x07)?;
        out.varint_bytes(self.token)
    }
}
