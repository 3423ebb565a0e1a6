//! Stream frames (RFC 9000 19.4, 19.5, 19.8).

use crate::ids::StreamId;
use crate::limits::MAX_VARINT;
use crate::wire::{Malformed, NoSpace, Reader, Writer};

const FIN: u64 = 1;
const LEN: u64 = 2;
const OFF: u64 = 4;

/// STREAM: bytes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream<'a> {
    /// The stream.
    pub id: StreamId,
    /// Where in the stream `data` begins.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
    /// Whether the stream ends with them.
    pub fin: bool,
}

impl<'a> Stream<'a> {
    pub(super) fn parse(frame_type: u64, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let id = StreamId(from.varint()?);
        let offset = if frame_type & OFF == 0 { 0 } else { from.varint()? };
        let data = if frame_type & LEN == 0 { from.take_rest() } else { from.varint_bytes()? };
        // No byte of a stream lies beyond 2^62 - 1 (RFC 9000 19.8: FRAME_ENCODING_ERROR is one of the two answers).
        match offset.checked_add(data.len() as u64) {
            Some(end) if end <= MAX_VARINT => Ok(Self { id, offset, data, fin: frame_type & FIN != 0 }),
            _ => Err(Malformed),
        }
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        emit_header(self.id, self.offset, self.data.len(), self.fin, out)?;
        out.bytes(self.data)
    }
}

/// Everything of a STREAM frame before its bytes, with a length.
pub(in crate::wire) fn emit_header(
    id: StreamId,
    offset: u64,
    len: usize,
    fin: bool,
    out: &mut Writer<'_>,
) -> Result<(), NoSpace> {
    let bits = LEN | if offset == 0 { 0 } else { OFF } | if fin { FIN } else { 0 };
    out.varint(0x08 | bits)?;
    out.varint(id.0)?;
    if offset != 0 {
        out.varint(offset)?;
    }
    out.varint(len as u64)
}

/// RESET_STREAM: the sender gives up on its half of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetStream {
    /// The stream.
    pub id: StreamId,
    /// The application's reason.
    pub code: u64,
    /// The length of the stream, for flow control.
    pub final_size: u64,
}

impl ResetStream {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { id: StreamId(from.varint()?), code: from.varint()?, final_size: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x04)?;
        out.varint(self.id.0)?;
        out.varint(self.code)?;
        out.varint(self.final_size)
    }
}

/// STOP_SENDING: the receiver will not read what comes on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSending {
    /// The stream.
    pub id: StreamId,
    /// The application's reason.
    pub code: u64,
}

impl StopSending {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { id: StreamId(from.varint()?), code: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x05)?;
        out.varint(self.id.0)?;
        out.varint(self.code)
    }
}
