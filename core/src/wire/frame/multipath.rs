//! Frames of multipath QUIC (draft 21 4, draft 11 7).
//!
//! A frame says in which [`Dialect`] it is written. Path IDs are as they were sent: whether there may be such a path,
//! and whether there still is, is known where paths are.

use super::{Ack, NewConnectionId};
use crate::wire::{Dialect, Malformed, NoSpace, Reader, Writer};

/// PATH_ACK: packet numbers received on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathAck<'a> {
    /// How it is written.
    pub dialect: Dialect,
    /// The path ID of the packet number space.
    pub path: u64,
    /// What an ACK frame says.
    pub ack: Ack<'a>,
}

impl<'a> PathAck<'a> {
    pub(super) fn parse(dialect: Dialect, frame_type: u64, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let with_ecn = frame_type == *dialect.numbers().path_ack.end();
        Ok(Self { dialect, path: from.varint()?, ack: Ack::parse_body(with_ecn, from)? })
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        self.ack.emit_for(Some((self.dialect, self.path)), out)
    }
}

/// PATH_ABANDON: a path is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathAbandon {
    /// How it is written.
    pub dialect: Dialect,
    /// Its path ID.
    pub path: u64,
    /// Why: a number of [`AbandonCode`](crate::wire::dialect::AbandonCode).
    pub code: u64,
}

impl PathAbandon {
    pub(super) fn parse(dialect: Dialect, _: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dialect, path: from.varint()?, code: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.varint(*self.dialect.numbers().path_abandon.start())?;
        out.varint(self.path)?;
        out.varint(self.code)
    }
}

/// PATH_STATUS_AVAILABLE and PATH_STATUS_BACKUP: whether the peer would rather have a path used or kept in reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStatus {
    /// How it is written.
    pub dialect: Dialect,
    /// Its path ID.
    pub path: u64,
    /// The number of the wish among those of the path, of either type: the largest holds.
    pub seq: u64,
    /// Kept in reserve.
    pub backup: bool,
}

impl PathStatus {
    pub(super) fn parse(dialect: Dialect, frame_type: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let backup = frame_type == *dialect.numbers().path_status.start();
        Ok(Self { dialect, path: from.varint()?, seq: from.varint()?, backup })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        let types = &self.dialect.numbers().path_status;
        out.varint(if self.backup { *types.start() } else { *types.end() })?;
        out.varint(self.path)?;
        out.varint(self.seq)
    }
}

/// PATH_NEW_CONNECTION_ID: a connection ID that the receiver may send to on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathNewConnectionId {
    /// How it is written.
    pub dialect: Dialect,
    /// The path ID.
    pub path: u64,
    /// What a NEW_CONNECTION_ID frame says, in numbers of the path.
    pub cid: NewConnectionId,
}

impl PathNewConnectionId {
    pub(super) fn parse(dialect: Dialect, _: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dialect, path: from.varint()?, cid: NewConnectionId::parse_body(from)? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.varint(*self.dialect.numbers().path_new_connection_id.start())?;
        out.varint(self.path)?;
        self.cid.emit_body(out)
    }
}

/// PATH_RETIRE_CONNECTION_ID: a connection ID that will not be sent to on a path any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRetireConnectionId {
    /// How it is written.
    pub dialect: Dialect,
    /// The path ID.
    pub path: u64,
    /// Its sequence number on the path.
    pub seq: u64,
}

impl PathRetireConnectionId {
    pub(super) fn parse(dialect: Dialect, _: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dialect, path: from.varint()?, seq: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.varint(*self.dialect.numbers().path_retire_connection_id.start())?;
        out.varint(self.path)?;
        out.varint(self.seq)
    }
}

/// MAX_PATH_ID: the largest path ID that the receiver may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPathId {
    /// How it is written.
    pub dialect: Dialect,
    /// That path ID.
    pub max: u64,
}

impl MaxPathId {
    pub(super) fn parse(dialect: Dialect, _: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dialect, max: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.varint(*self.dialect.numbers().max_path_id.start())?;
        out.varint(self.max)
    }
}

/// PATHS_BLOCKED: a path is missed for want of a path ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathsBlocked {
    /// How it is written.
    pub dialect: Dialect,
    /// The largest path ID that was allowed.
    pub max: u64,
}

impl PathsBlocked {
    pub(super) fn parse(dialect: Dialect, _: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dialect, max: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.varint(*self.dialect.numbers().paths_blocked.start())?;
        out.varint(self.max)
    }
}

/// PATH_CIDS_BLOCKED: connection IDs are missed on a path. Draft 11 has no such frame: it does not fit anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathCidsBlocked {
    /// How it is written.
    pub dialect: Dialect,
    /// The path ID.
    pub path: u64,
    /// The sequence number of the next connection ID on the path.
    pub next_seq: u64,
}

impl PathCidsBlocked {
    pub(super) fn parse(dialect: Dialect, _: u64, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { dialect, path: from.varint()?, next_seq: from.varint()? })
    }

    pub(super) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.varint(*self.dialect.numbers().path_cids_blocked.start())?;
        out.varint(self.path)?;
        out.varint(self.next_seq)
    }
}
