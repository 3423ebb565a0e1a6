//! Flow control frames (RFC 9000 19.9 to 19.14).

use crate::ids::{Dir, StreamId};
use crate::limits::MAX_STREAMS;
use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// MAX_DATA: bytes that may be sent on all streams together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxData {
    /// The limit, in bytes.
    pub max: u64,
}

impl MaxData {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { max: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x10)?;
        out.varint(self.max)
    }
}

/// MAX_STREAM_DATA: bytes that may be sent on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxStreamData {
    /// The stream.
    pub id: StreamId,
    /// The limit, in bytes.
    pub max: u64,
}

impl MaxStreamData {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { id: StreamId(from.varint()?), max: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x11)?;
        out.varint(self.id.0)?;
        out.varint(self.max)
    }
}

/// MAX_STREAMS: streams of one direction that may be opened in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxStreams {
    /// Their direction.
    pub dir: Dir,
    /// How many; at most 2^60.
    pub max: u64,
}

impl MaxStreams {
    pub(super) fn parse(frame_type: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dir: dir(frame_type), max: streams(from)? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x12 | dir_bit(self.dir))?;
        out.varint(self.max)
    }
}

/// DATA_BLOCKED: the sender has more to say than MAX_DATA lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataBlocked {
    /// The limit that blocks, in bytes.
    pub limit: u64,
}

impl DataBlocked {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { limit: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x14)?;
        out.varint(self.limit)
    }
}

/// STREAM_DATA_BLOCKED: the sender has more to say than MAX_STREAM_DATA lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamDataBlocked {
    /// The stream.
    pub id: StreamId,
    /// The limit that blocks, in bytes.
    pub limit: u64,
}

impl StreamDataBlocked {
    pub(super) fn parse(_: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { id: StreamId(from.varint()?), limit: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x15)?;
        out.varint(self.id.0)?;
        out.varint(self.limit)
    }
}

/// STREAMS_BLOCKED: the sender would open more streams than MAX_STREAMS lets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamsBlocked {
    /// Their direction.
    pub dir: Dir,
    /// The limit that blocks, in streams; at most 2^60.
    pub limit: u64,
}

impl StreamsBlocked {
    pub(super) fn parse(frame_type: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dir: dir(frame_type), limit: streams(from)? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(0x16 | dir_bit(self.dir))?;
        out.varint(self.limit)
    }
}

const fn dir(frame_type: u64) -> Dir {
    if frame_type & 1 == 0 { Dir::Bi } else { Dir::Uni }
}

const fn dir_bit(dir: Dir) -> u8 {
    match dir {
        Dir::Bi => 0,
        Dir::Uni => 1,
    }
}

/// More streams than there are stream IDs cannot be meant (RFC 9000 19.11: FRAME_ENCODING_ERROR).
fn streams(from: &mut Reader<'_>) -> Result<u64, Malformed> {
    let streams = from.varint()?;
    if streams <= MAX_STREAMS { Ok(streams) } else { Err(Malformed) }
}
