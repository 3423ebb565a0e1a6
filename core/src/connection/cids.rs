//! Which connection IDs routes use: those of the peer that packets are sent to, and those of ours that the peer is given
//! (RFC 9000 5.1, 9.5).

use super::events::Fact;
use super::path::{active, path_of};
use super::receive::Seat;
use super::routes::NoSpareCid;
use super::start::State;
use super::{Connection, Lent, Memory, NotYet};
use crate::cid::local::LocalCid;
use crate::cid::peer::PeerCidRows;
use crate::ids::{CidTag, PathRow};
use crate::limits::RESET_TOKEN_LEN;
use crate::session::Session;
use crate::wire::Cid;

impl<M: Memory, S: Session> Connection<M, S> {
    /// Makes the peer send to another connection ID, and gives it new ones (RFC 9000 5.1.2): it is to retire all that it has but
    /// the newest two, so that it can still follow a move before the new ones arrive; of two, all but the newest; its only one,
    /// where memory has a row for another. They stay valid until it does so, and what is to replace them is asked for by
    /// [`Self::cids_wanted`]. Where our ID has no bytes there is nothing to do.
    ///
    /// # Errors
    /// [`NotYet`] before the handshake is complete, as long as the peer has not retired all IDs of the rotation before, or if it
    /// has only one; and while a route is being tried or nothing comes back: a peer that is left with few IDs then has none to
    /// answer from where we may turn up next.
    pub fn rotate_cids(&mut self) -> Result<(), NotYet> {
        let (state, lent) = self.lend();
        let calm = state.is_calm(&lent);
        let path = lent.buffers.paths.get_mut(state.main.index()).filter(|_| calm).ok_or(NotYet)?;
        let rows = lent.buffers.local_cids;
        if path.local_cids.is_rotating(rows) {
            return Err(NotYet);
        }
        let of = path.local_cids.path();
        let newest_below = |rows: &[LocalCid], below: u64| {
            let issued = rows.iter().filter(|row| row.issued().is_some() && row.path() == of);
            issued.map(LocalCid::seq).filter(|seq| *seq < below).max()
        };
        let newest = newest_below(rows, u64::MAX);
        let second = newest.and_then(|newest| newest_below(rows, newest));
        let third = second.and_then(|second| newest_below(rows, second));
        let before = third.and(second).or(second.and(newest)).unwrap_or(u64::MAX);
        path.local_cids.rotate(rows, before)
    }

    /// Whether the peer has supplied a connection ID for another route, or needs none: see
    /// [`Event::SpareCid`](super::Event::SpareCid).
    pub fn has_spare_cid(&mut self) -> bool {
        let (state, lent) = self.lend();
        let path = lent.buffers.paths.get(state.main.index());
        path.is_some_and(|path| path.peer_cids.has_cid_for_another(lent.buffers.peer_cids))
    }
}

impl State {
    /// Gives a route a connection ID if it has none. A client takes one never used; a server answers the same ID of its own by
    /// the same one of the client (RFC 9000 9.5).
    pub(super) fn give_cid(&self, lent: &mut Lent<'_>, row: usize) {
        let path = path_of(lent, row);
        let (Some(path), Some(route)) =
            (lent.buffers.paths.get_mut(path.index()), lent.buffers.routes.get_mut(row))
        else {
            return;
        };
        let Some(row) = u8::try_from(row).ok().filter(|_| route.is_open()) else { return };
        let tag = route.reached_at.filter(|_| self.no_spare_cid == NoSpareCid::Reuse);
        if path.peer_cids.of(lent.buffers.peer_cids, row).is_none()
            && path.peer_cids.answer(lent.buffers.peer_cids, row, tag)
        {
            route.on_cid_changed();
        }
    }

    /// Exchanges connection IDs that no route holds for others if this one has none. Who has none on the active route cannot tell
    /// the peer, and would only lose what may answer it where it turns up next.
    pub(super) fn make_room(&self, lent: &mut Lent<'_>, row: usize) {
        let Some(path) = lent.buffers.paths.get_mut(path_of(lent, row).index()) else { return };
        let mut rows = PeerCidRows { cids: lent.buffers.peer_cids, retiring: lent.buffers.retirements };
        let has_cid = |row: u8| path.peer_cids.of(rows.cids, row).is_some();
        if u8::try_from(row).is_ok_and(|row| !has_cid(row)) && has_cid(path.active) {
            path.peer_cids.exchange(&mut rows);
        }
    }

    /// When the peer goes over to another connection ID of ours on a route, so do we to one of the peer's (RFC 9000 9.5).
    pub(super) fn follow_cid(&self, lent: &mut Lent<'_>, seat: &Seat) {
        let (Some(path), Some(route)) =
            (lent.buffers.paths.get_mut(seat.path.index()), lent.buffers.routes.get_mut(seat.route))
        else {
            return;
        };
        let (Some(seq), Ok(row)) = (seat.addressed_to, u8::try_from(seat.route)) else { return };
        let tag = CidTag::of(seq);
        let before = route.reached_at.replace(tag);
        let mut rows = PeerCidRows { cids: lent.buffers.peer_cids, retiring: lent.buffers.retirements };
        if before.is_none() {
            path.peer_cids.on_reached(rows.cids, row, tag);
        } else if before != Some(tag) && path.peer_cids.follow(&mut rows, row, tag) {
            route.on_cid_changed();
        }
    }

    /// Connection IDs came. A route whose ID the peer has withdrawn takes another one, or will when one comes (RFC 9000
    /// 5.1.2): the one in use before the others, and that is known only once the packet has moved the connection or not.
    pub(super) fn renew_cids(&self, lent: &mut Lent<'_>) {
        for path in self.path_rows() {
            self.give_cid(lent, active(lent, path));
        }
        for row in 0..lent.buffers.routes.len() {
            self.give_cid(lent, row);
        }
    }

    /// Who wants another route may have waited for an ID.
    pub(super) fn tell_of_spare_cid(&mut self, lent: &Lent<'_>) {
        let path = lent.buffers.paths.get(self.main.index());
        let spares = path.map_or(0, |path| path.peer_cids.spares(lent.buffers.peer_cids));
        if spares > 0 {
            self.facts.note(Fact::SpareCid);
        }
    }

    /// Whether there is a connection ID for what is sent over a route.
    pub(super) fn has_cid(&self, lent: &Lent<'_>, row: usize) -> bool {
        let Some(path) = lent.buffers.paths.get(path_of(lent, row).index()) else { return false };
        let held = u8::try_from(row).ok().and_then(|row| path.peer_cids.of(lent.buffers.peer_cids, row));
        held.is_some() || path.peer_cids.has_cid_for_another(lent.buffers.peer_cids)
    }

    pub(super) fn cids_wanted(&self, lent: &Lent<'_>) -> usize {
        if !self.lifecycle.is_established() {
            return 0;
        }
        let path = |path: PathRow| lent.buffers.paths.get(path.index());
        let paths = self.path_rows().filter_map(path);
        paths.map(|path| path.local_cids.wanted(lent.buffers.local_cids)).sum()
    }

    pub(super) fn supply_cid(&self, lent: &mut Lent<'_>, cid: Cid, token: [u8; RESET_TOKEN_LEN]) -> bool {
        let rows = &mut *lent.buffers.local_cids;
        for path in self.path_rows() {
            let path = lent.buffers.paths.get_mut(path.index());
            if path.is_some_and(|path| path.local_cids.supply(rows, cid, token).is_ok()) {
                return true;
            }
        }
        false
    }
}
