//! CRYPTO (RFC 9000 19.6).

use crate::limits::MAX_VARINT;
use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// CRYPTO: bytes of the TLS handshake of one encryption level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crypto<'a> {
    /// Where in the level's stream `data` begins.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> Crypto<'a> {
    pub(super) fn parse(_: u64, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let offset = from.varint()?;
        let data = from.varint_bytes()?;
        match offset.checked_add(data.len() as u64) {
            Some(end) if end <= MAX_VARINT => Ok(Self { offset, data }),
            _ => Err(Malformed),
        }
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        emit_header(self.offset, self.data.len(), out)?;
        out.bytes(self.data)
    }
}

/// Everything of a CRYPTO frame before its bytes.
pub(in crate::wire) fn emit_header(offset: u64, len: usize, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    out.u8(0x06)?;
    out.varint(offset)?;
    out.varint(len as u64)
}
