//! The frames of multipath: each to its owner, and each owner's into packets (draft-21 4).

use super::Lent;
use super::frames::on_new_cid;
use super::multipath::Spoken;
use super::path::{Path, beside_mut};
use super::path_app::PathTold;
use super::receive::Seat;
use super::start::State;
use crate::error::{Code, TransportError};
use crate::ids::PathRow;
use crate::time::Instant;
use crate::wire::PacketWriter;
use crate::wire::frame::{
    Frame, Kind, Kinds, MaxPathId, PathAbandon, PathAck, PathCidsBlocked, PathNewConnectionId,
    PathRetireConnectionId, PathStatus, PathsBlocked,
};

impl State {
    /// Acknowledges packets of a path, perhaps of one that was abandoned and is not forgotten yet.
    pub(super) fn on_path_ack(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        seat: &Seat,
        frame: &PathAck<'_>,
    ) -> Result<(), TransportError> {
        let path = self.path_named(lent, frame.path)?;
        path.map_or(Ok(()), |path| self.on_ack(now, lent, seat, path, &frame.ack))
    }

    pub(super) fn on_path_abandon_frame(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        frame: &PathAbandon,
    ) -> Result<(), TransportError> {
        let path = self.path_named(lent, frame.path)?;
        path.map_or(Ok(()), |path| self.on_path_abandon(now, lent, path, frame.code))
    }

    pub(super) fn on_path_status(
        &self,
        lent: &mut Lent<'_>,
        frame: &PathStatus,
    ) -> Result<(), TransportError> {
        let Some(row) = self.path_named(lent, frame.path)? else { return Ok(()) };
        let beside = beside_mut(lent, row);
        if let Some(beside) = beside.filter(|beside| beside.abandon.is_open())
            && beside.status.on_frame(frame.seq, frame.backup)
        {
            beside.told.note(PathTold::STATUS);
        }
        Ok(())
    }

    pub(super) fn on_path_new_cid(
        &mut self,
        lent: &mut Lent<'_>,
        frame: &PathNewConnectionId,
    ) -> Result<(), TransportError> {
        let Some(row) = self.path_named(lent, frame.path)? else { return Ok(()) };
        if lent.buffers.paths.get(row.index()).is_some_and(Path::is_wanted) {
            on_new_cid(lent, row, &frame.cid)?;
            self.note_possible_path(lent);
        }
        Ok(())
    }

    pub(super) fn on_path_retire_cid(
        &self,
        lent: &mut Lent<'_>,
        seat: &Seat,
        frame: &PathRetireConnectionId,
    ) -> Result<(), TransportError> {
        let path = self.path_named(lent, frame.path)?;
        path.map_or(Ok(()), |path| self.on_retire_cid(lent, seat, path, frame.seq))
    }

    pub(super) fn on_max_path_id(
        &mut self,
        lent: &mut Lent<'_>,
        frame: &MaxPathId,
    ) -> Result<(), TransportError> {
        let Some(spoken) = self.spoken_mut() else { return Ok(()) };
        let max = u32::try_from(frame.max).ok().filter(|max| *max >= spoken.peer_first_max);
        let max = max.ok_or(violation("MAX_PATH_ID beyond what path IDs can be, or lowered"))?;
        if max <= spoken.peer_max {
            return Ok(());
        }
        spoken.peer_max = max;
        for row in self.path_rows() {
            self.give_cids_ahead(lent, row);
        }
        Ok(())
    }

    /// The peer misses path IDs. There are as many as there are rows, so that there is nothing to be done.
    pub(super) fn on_paths_blocked(&self, frame: &PathsBlocked) -> Result<(), TransportError> {
        let max = self.spoken().map_or(0, |spoken| spoken.max);
        if frame.max > max.into() { Err(violation("PATHS_BLOCKED above MAX_PATH_ID")) } else { Ok(()) }
    }

    /// The peer misses connection IDs of a path. It has, or is about to have, as many as it may.
    pub(super) fn on_path_cids_blocked(
        &self,
        lent: &Lent<'_>,
        frame: &PathCidsBlocked,
    ) -> Result<(), TransportError> {
        let Some(row) = self.path_named(lent, frame.path)? else { return Ok(()) };
        let path = lent.buffers.paths.get(row.index());
        if path.is_some_and(|path| frame.next_seq > path.local_cids.next_seq()) {
            return Err(violation("PATH_CIDS_BLOCKED beyond the next connection ID"));
        }
        Ok(())
    }

    /// Whether [`Self::contribute_paths`] has something to write.
    pub(super) fn wants_paths(&self, lent: &Lent<'_>) -> bool {
        let Some(spoken) = self.spoken() else { return false };
        let beside = |row: PathRow| lent.buffers.paths.get(row.index())?.beside.get();
        spoken.max_told.is_wanted()
            || spoken.ids_missed.is_wanted()
            || spoken.cids_missed.is_wanted()
            || self
                .path_rows()
                .filter_map(beside)
                .any(|beside| beside.abandon.next_frame().is_some() || beside.status.wants())
    }

    /// What is to be said of paths, in packet `pn` of the path `over`.
    pub(super) fn contribute_paths(
        &mut self,
        lent: &mut Lent<'_>,
        over: PathRow,
        pn: u64,
        out: &mut PacketWriter<'_>,
    ) {
        let rows = self.path_rows();
        let Some(spoken) = self.spoken_mut() else { return };
        let (dialect, space) = (spoken.dialect, space(over));
        for row in rows {
            let Some(beside) = beside_mut(lent, row) else { return };
            let id = u64::from(beside.id.0);
            if let Some(code) = beside.abandon.next_frame()
                && out.push(&Frame::PathAbandon(PathAbandon { dialect, path: id, code })).is_ok()
            {
                beside.abandon.on_sent(space, pn);
            }
            if let Some((seq, backup)) = beside.status.next_frame()
                && out.push(&Frame::PathStatus(PathStatus { dialect, path: id, seq, backup })).is_ok()
            {
                beside.status.on_sent(space, pn);
            }
        }
        let max = spoken.max.into();
        if spoken.max_told.is_wanted() && out.push(&Frame::MaxPathId(MaxPathId { dialect, max })).is_ok() {
            spoken.max_told.on_sent(space, pn);
        }
        let max = spoken.peer_max.into();
        if spoken.ids_missed.is_wanted()
            && out.push(&Frame::PathsBlocked(PathsBlocked { dialect, max })).is_ok()
        {
            spoken.ids_missed.on_sent(space, pn);
        }
        contribute_cids_missed(spoken, lent, over, pn, out);
    }

    /// A packet of the path `over` that carried these kinds was acknowledged.
    pub(super) fn on_path_kinds_acked(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        over: PathRow,
        kinds: Kinds,
        pn: u64,
    ) {
        if self.spoken().is_none() {
            return;
        }
        let space = space(over);
        for row in self.path_rows() {
            let Some(beside) = beside_mut(lent, row) else { return };
            if kinds.has(Kind::PathStatus) {
                beside.status.on_acked(space, pn);
            }
            if kinds.has(Kind::PathAbandon)
                && let Some(effect) = beside.abandon.on_acked(space, pn)
            {
                self.on_abandon_effect(now, lent, row, effect);
            }
        }
        let Some(spoken) = self.spoken_mut() else { return };
        for parcel in [&mut spoken.max_told, &mut spoken.ids_missed, &mut spoken.cids_missed] {
            parcel.on_acked(space, pn);
        }
    }

    /// A packet of the path `over` that carried these kinds was lost.
    pub(super) fn on_path_kinds_lost(&mut self, lent: &mut Lent<'_>, over: PathRow, kinds: Kinds, pn: u64) {
        let space = space(over);
        for row in self.path_rows() {
            let Some(beside) = beside_mut(lent, row) else { return };
            if kinds.has(Kind::PathStatus) {
                beside.status.on_lost(space, pn);
            }
            if kinds.has(Kind::PathAbandon) {
                beside.abandon.on_lost(space, pn);
            }
        }
        let Some(spoken) = self.spoken_mut() else { return };
        for parcel in [&mut spoken.max_told, &mut spoken.ids_missed, &mut spoken.cids_missed] {
            parcel.on_lost(space, pn);
        }
    }
}

fn contribute_cids_missed(
    spoken: &mut Spoken,
    lent: &Lent<'_>,
    over: PathRow,
    pn: u64,
    out: &mut PacketWriter<'_>,
) {
    let missed_on = lent.buffers.paths.get(spoken.cids_missed_on.index());
    let Some(path) = missed_on.filter(|_| spoken.cids_missed.is_wanted()) else { return };
    // Meanwhile some may have come, or the path may be gone (draft-21 4.7).
    if !path.is_wanted() || path.peer_cids.has_cid_for_another(lent.buffers.peer_cids) {
        return spoken.cids_missed.forget();
    }
    let frame = PathCidsBlocked {
        dialect: spoken.dialect,
        path: path.id().0.into(),
        next_seq: path.peer_cids.next_seq(),
    };
    if out.push(&Frame::PathCidsBlocked(frame)).is_ok() {
        spoken.cids_missed.on_sent(space(over), pn);
    }
}

/// A row as facts on their way know it.
fn space(over: PathRow) -> u8 {
    u8::try_from(over.index()).unwrap_or(u8::MAX)
}

const fn violation(reason: &'static str) -> TransportError {
    TransportError::new(Code::PROTOCOL_VIOLATION, reason)
}
