//! DATAGRAM (RFC 9221 4).

use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// DATAGRAM: bytes of the application that are sent once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> Datagram<'a> {
    pub(super) fn parse(frame_type: u64, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let data = if frame_type & 1 == 0 { from.take_rest() } else { from.varint_bytes()? };
        Ok(Self { data })
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        emit_header(self.data.len(), out)?;
        out.bytes(self.data)
    }
}

/// Everything of a DATAGRAM frame before its bytes, with a length.
pub(in crate::wire) fn emit_header(len: usize, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    out.u8(0x31)?;
    out.varint(len as u64)
}
