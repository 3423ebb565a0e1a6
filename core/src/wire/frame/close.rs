//! CONNECTION_CLOSE (RFC 9000 19.19).

use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// CONNECTION_CLOSE: the connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionClose<'a> {
    /// The error code, of the application if `frame` is `None`.
    pub code: u64,
    /// For a transport error: the type of the frame that caused it, or zero.
    pub frame: Option<u64>,
    /// Words for people; UTF-8 is expected, not promised.
    pub reason: &'a [u8],
}

impl<'a> ConnectionClose<'a> {
    pub(super) fn parse(frame_type: u64, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let code = from.varint()?;
        let frame = if frame_type == 0x1c { Some(from.varint()?) } else { None };
        Ok(Self { code, frame, reason: from.varint_bytes()? })
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(if self.frame.is_some() { 0x1c } else { 0x1d })?;
        out.varint(self.code)?;
        if let Some(frame) = self.frame {
            out.varint(frame)?;
        }
        out.varint_bytes(self.reason)
    }
}
