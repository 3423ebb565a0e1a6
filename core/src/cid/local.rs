//! The connection IDs that the peer sends to (RFC 9000 5.1.1, 19.15, 19.16).
//!
//! ```text
//! supply --> Wanted --write--> InFlight --acked--> Done      each of them: on_retire --> retired --take_retired--> free
//!              ^-----lost---------'
//! ```
//!
//! IDs are pulled: [`LocalCids::wanted`] says how many more the peer should have, and whoever owns the routing of
//! datagrams makes them and their reset tokens (RFC 9000 10.3.2) and calls [`LocalCids::supply`]. Nothing here makes
//! an ID, routes a datagram, or knows who else holds an ID: [`take_retired`] says which ones may be forgotten.
//!
//! One [`LocalCids`] per path ID numbers its IDs; the rows of all paths lie in one table.

use crate::cid::Carrier;
use crate::delivery::Delivery;
use crate::error::{Code, Full, TransportError};
use crate::ids::{PathId, PathRow};
use crate::limits::RESET_TOKEN_LEN;
use crate::wire::frame::{Frame, NewConnectionId, PathNewConnectionId};
use crate::wire::{Cid, Dialect, PacketWriter};

/// A connection ID we issued, or a free row.
#[derive(Clone, Copy, Debug)]
pub struct LocalCid {
    seq: u32,
    path: PathRow,
    carrier: Carrier,
    cid: Cid,
    reset_token: [u8; RESET_TOKEN_LEN],
    /// [`Delivery::Idle`] in a free row, which has no ID, and in a retired one, which still has.
    delivery: Delivery,
}

impl LocalCid {
    /// A free row.
    pub const FREE: Self = Self {
        seq: 0,
        path: PathRow::FIRST,
        carrier: Carrier { space: PathRow::FIRST, pn: [0; 4] },
        cid: Cid::EMPTY,
        reset_token: [0; RESET_TOKEN_LEN],
        delivery: Delivery::Idle,
    };

    /// The path it belongs to.
    pub const fn path(&self) -> PathRow {
        self.path
    }

    /// Its sequence number on that path.
    pub const fn seq(&self) -> u64 {
        self.seq as u64
    }

    /// The connection ID.
    pub const fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The connection ID, if the peer may use it.
    pub fn issued(&self) -> Option<&Cid> {
        Some(&self.cid).filter(|_| self.is_issued())
    }

    const fn is_issued(&self) -> bool {
        !self.delivery.is_idle()
    }

    /// Whether it holds nothing.
    pub const fn is_free(&self) -> bool {
        self.cid.is_empty()
    }
}

/// The row of the connection ID that a packet is addressed to.
pub fn find<'a>(rows: &'a [LocalCid], dcid: &[u8]) -> Option<&'a LocalCid> {
    rows.iter().find(|row| row.is_issued() && row.cid.as_slice() == dcid)
}

/// Frees the row of a retired ID, by which datagrams need no longer be recognised. Until then the row holds no other.
pub fn take_retired(rows: &mut [LocalCid]) -> Option<Cid> {
    let row = rows.iter_mut().find(|row| !row.is_issued() && !row.is_free())?;
    Some(core::mem::replace(row, LocalCid::FREE).cid)
}

/// A rotation that has to wait: rows of the one before are not retired yet, there is no row for a new ID, or the peer may not
/// hear of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotYet;

impl core::fmt::Display for NotYet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("connection IDs cannot be replaced now; try again when the peer has retired those replaced before, and answers")
    }
}

impl core::error::Error for NotYet {}

/// How many IDs the peer may be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Supply {
    /// None yet: the peer's limit is not known.
    Unknown,
    /// None, ever: ours has no bytes (RFC 9000 5.1.1).
    ZeroLength,
    /// So many at a time.
    UpTo(u8),
}

/// Issuing of connection IDs on one path.
#[derive(Clone, Copy, Debug)]
pub struct LocalCids {
    path: PathRow,
    /// Rows that wait to be sent, so that a packet with nothing to tell costs no scan.
    unsent: u8,
    supply: Supply,
    next_seq: u32,
    /// The peer was shown every sequence number below.
    shown: u32,
    retire_prior_to: u32,
}

impl LocalCids {
    /// A path that has no connection ID yet.
    pub const fn new(path: PathRow) -> Self {
        Self { path, unsent: 0, supply: Supply::Unknown, next_seq: 0, shown: 0, retire_prior_to: 0 }
    }

    /// The path.
    pub const fn path(&self) -> PathRow {
        self.path
    }

    /// The path of the handshake, whose packets carry `cid` as their SCID: sequence number 0.
    ///
    /// # Errors
    /// [`Full`] if there is no free row.
    pub fn with_handshake_cid(rows: &mut [LocalCid], cid: Cid) -> Result<Self, Full> {
        let mut local = Self::new(PathRow::FIRST);
        if cid.is_empty() {
            local.supply = Supply::ZeroLength;
        } else {
            local.insert(rows, cid, [0; RESET_TOKEN_LEN], Delivery::Done)?;
            local.shown = 1;
        }
        Ok(local)
    }

    /// Adds the ID of our preferred_address transport parameter, which has sequence number 1: called right after
    /// [`Self::with_handshake_cid`].
    ///
    /// # Errors
    /// [`Full`] if there is no free row.
    pub fn supply_preferred(
        &mut self,
        rows: &mut [LocalCid],
        cid: Cid,
        reset_token: [u8; RESET_TOKEN_LEN],
    ) -> Result<(), Full> {
        self.insert(rows, cid, reset_token, Delivery::Done)?;
        self.shown = self.next_seq;
        Ok(())
    }

    /// The peer's active_connection_id_limit is known; `share` is the most rows that this path may fill.
    pub fn on_peer_limit(&mut self, active_connection_id_limit: u64, share: usize) {
        if self.supply != Supply::ZeroLength {
            let limit = active_connection_id_limit.min(share as u64);
            self.supply = Supply::UpTo(u8::try_from(limit).unwrap_or(u8::MAX));
        }
    }

    /// How many more IDs the peer should be given now: up to its limit, and to the free rows.
    pub fn wanted(&self, rows: &[LocalCid]) -> usize {
        let Supply::UpTo(limit) = self.supply else { return 0 };
        // Those that the peer was told to retire do not count: each frame repeats the order (RFC 9000 5.1.1).
        let active = self.issued(rows).filter(|row| row.seq >= self.retire_prior_to).count();
        let free = rows.iter().filter(|row| row.is_free()).count();
        usize::from(limit).saturating_sub(active).min(free)
    }

    /// The number of the next ID.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq as u64
    }

    /// Whether the peer was given an ID, or is about to learn of it.
    pub const fn has_shown(&self) -> bool {
        self.shown > 0
    }

    /// The path is abandoned: the peer is told of no more IDs. Those that it has not heard of are of no use; what it was told once
    /// it may have, whatever seems lost, and may still send to.
    pub fn stop(&mut self, rows: &mut [LocalCid]) {
        let (path, shown) = (self.path, self.shown);
        self.supply = Supply::UpTo(0);
        for row in rows.iter_mut().filter(|row| row.path == path && row.is_issued()) {
            if row.seq < shown {
                row.delivery = Delivery::Done;
            } else {
                self.retire(row);
            }
        }
        self.unsent = 0;
    }

    /// The path has ended, and with it all its IDs. [`take_retired`] is to follow.
    pub fn retire_all(&mut self, rows: &mut [LocalCid]) {
        let path = self.path;
        for row in rows.iter_mut().filter(|row| row.path == path && row.is_issued()) {
            self.retire(row);
        }
    }

    /// Adds an ID, to be told in a NEW_CONNECTION_ID frame; returns its sequence number.
    ///
    /// # Errors
    /// [`Full`] if none is wanted, or `cid` has no bytes (RFC 9000 19.15).
    pub fn supply(
        &mut self,
        rows: &mut [LocalCid],
        cid: Cid,
        reset_token: [u8; RESET_TOKEN_LEN],
    ) -> Result<u64, Full> {
        if cid.is_empty() || self.wanted(rows) == 0 {
            return Err(Full);
        }
        let seq = self.insert(rows, cid, reset_token, Delivery::Wanted)?;
        self.unsent = self.unsent.saturating_add(1);
        Ok(seq.into())
    }

    /// Whether the peer was told to retire IDs and has not.
    pub fn is_rotating(&self, rows: &[LocalCid]) -> bool {
        self.issued(rows).any(|row| row.seq < self.retire_prior_to)
    }

    /// Tells the peer to stop using every ID below `before_seq`. They stay valid until it does so. With `before_seq`
    /// one beyond the newest, all are replaced, and new ones are wanted.
    ///
    /// # Errors
    /// [`NotYet`] if an earlier order is not carried out (RFC 9000 5.1.2), or there is no row for the frame that would
    /// carry this one.
    pub fn rotate(&mut self, rows: &mut [LocalCid], before_seq: u64) -> Result<(), NotYet> {
        let before_seq = u32::try_from(before_seq).unwrap_or(u32::MAX).min(self.next_seq);
        if before_seq <= self.retire_prior_to {
            return Ok(());
        }
        if self.is_rotating(rows) {
            return Err(NotYet);
        }
        // The order travels with an ID that outlives it: with the newest, told again, or with one yet to come.
        let one_may_come = matches!(self.supply, Supply::UpTo(1..)) && rows.iter().any(LocalCid::is_free);
        let path = self.path;
        let newest = rows
            .iter_mut()
            .filter(|row| row.is_issued() && row.path == path && row.seq >= before_seq)
            .max_by_key(|row| row.seq);
        match newest {
            Some(row) if row.delivery.is_wanted() => {}
            Some(row) => {
                row.delivery.want();
                self.unsent = self.unsent.saturating_add(1);
            }
            None if one_may_come => {}
            None => return Err(NotYet),
        }
        self.retire_prior_to = before_seq;
        Ok(())
    }

    /// The peer retires the ID `seq`, perhaps not for the first time; its packet is addressed to the one numbered `by`, if to
    /// one of this path.
    /// [`take_retired`] is to follow.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if the peer was never given such an ID, or `by` is the one (RFC 9000 19.16).
    pub fn on_retire(
        &mut self,
        rows: &mut [LocalCid],
        seq: u64,
        by: Option<u64>,
    ) -> Result<(), TransportError> {
        let addressed = by == Some(seq);
        let seq = u32::try_from(seq).ok().filter(|seq| *seq < self.shown);
        let seq = seq.ok_or(violation("retires a connection ID that was not issued"))?;
        let path = self.path;
        let Some(row) = rows.iter_mut().find(|row| row.is_issued() && row.path == path && row.seq == seq)
        else {
            return Ok(());
        };
        if addressed {
            return Err(violation("retires the connection ID that it is addressed to"));
        }
        self.retire(row);
        Ok(())
    }

    /// Gives up one ID of the path without being asked, and those that were retired, until there is none: the path or
    /// the connection has ended.
    pub fn pop(&mut self, rows: &mut [LocalCid]) -> Option<Cid> {
        let path = self.path;
        if let Some(row) = rows.iter_mut().find(|row| row.is_issued() && row.path == path) {
            self.retire(row);
        }
        take_retired(rows)
    }

    /// Whether there is something to write.
    pub const fn has_wanted(&self) -> bool {
        self.unsent > 0
    }

    /// Writes NEW_CONNECTION_ID frames into packet `pn` of the 1-RTT space of `space`, the oldest first, as many as fit; of
    /// multipath where the path is named in a dialect of it.
    pub fn write(
        &mut self,
        rows: &mut [LocalCid],
        names: Option<(Dialect, PathId)>,
        space: PathRow,
        pn: u64,
        out: &mut PacketWriter<'_>,
    ) {
        while self.has_wanted() {
            let path = self.path;
            let oldest = rows.iter_mut().filter(|row| row.path == path && row.delivery.is_wanted());
            let Some(row) = oldest.min_by_key(|row| row.seq) else { return };
            let frame = NewConnectionId {
                seq: row.seq(),
                // An ID the peer may not have seen is told even if it is to be retired at once: only then is its row
                // sure to be freed.
                retire_prior_to: self.retire_prior_to.min(row.seq).into(),
                cid: row.cid,
                reset_token: row.reset_token,
            };
            let frame = names.map_or(Frame::NewConnectionId(frame), |(dialect, path)| {
                Frame::PathNewConnectionId(PathNewConnectionId { dialect, path: path.0.into(), cid: frame })
            });
            if out.push(&frame).is_err() {
                return;
            }
            row.delivery.on_sent();
            row.carrier = Carrier::new(space, pn);
            self.shown = self.shown.max(row.seq.saturating_add(1));
            self.unsent = self.unsent.saturating_sub(1);
        }
    }

    /// Packet `pn` of `space`, which carried NEW_CONNECTION_ID frames, was acknowledged.
    pub fn on_acked(&mut self, rows: &mut [LocalCid], space: PathRow, pn: u64) {
        for row in self.carried(rows, Carrier::new(space, pn)) {
            row.delivery.on_acked();
        }
    }

    /// That packet was lost: what it carried is wanted again.
    pub fn on_lost(&mut self, rows: &mut [LocalCid], space: PathRow, pn: u64) {
        let mut lost = 0_u8;
        for row in self.carried(rows, Carrier::new(space, pn)) {
            row.delivery.on_lost();
            lost = lost.saturating_add(1);
        }
        self.unsent = self.unsent.saturating_add(lost);
    }

    fn insert(
        &mut self,
        rows: &mut [LocalCid],
        cid: Cid,
        reset_token: [u8; RESET_TOKEN_LEN],
        delivery: Delivery,
    ) -> Result<u32, Full> {
        let row = rows.iter_mut().find(|row| row.is_free()).ok_or(Full)?;
        let seq = self.next_seq;
        *row = LocalCid { seq, path: self.path, carrier: Carrier::default(), cid, reset_token, delivery };
        self.next_seq = seq.saturating_add(1);
        Ok(seq)
    }

    fn retire(&mut self, row: &mut LocalCid) {
        if row.delivery.is_wanted() {
            self.unsent = self.unsent.saturating_sub(1);
        }
        *row = LocalCid { cid: row.cid, ..LocalCid::FREE };
    }

    fn issued<'a>(&self, rows: &'a [LocalCid]) -> impl Iterator<Item = &'a LocalCid> {
        let path = self.path;
        rows.iter().filter(move |row| row.is_issued() && row.path == path)
    }

    fn carried<'a>(
        &self,
        rows: &'a mut [LocalCid],
        carrier: Carrier,
    ) -> impl Iterator<Item = &'a mut LocalCid> {
        let path = self.path;
        rows.iter_mut().filter(move |row| {
            row.path == path && row.carrier == carrier && row.delivery == Delivery::InFlight
        })
    }
}

const fn violation(reason: &'static str) -> TransportError {
    TransportError::new(Code::PROTOCOL_VIOLATION, reason).in_frame(0x19)
}

#[cfg(test)]
mod tests;
