//! The life of paths: how one is opened, by us or by the peer, and how it ends (draft-21 3.1, 3.4).
//!
//! ```text
//! unused ── open_path, or a packet of the client ──▶ open ── abandoned by either side ──▶ abandoned ── both have said so, 3 PTO ──▶ ended:
//!    '─────────────────────── abandoned by either side ─────────────────────────────────▶'                 its row takes the next ID
//! ```

use core::net::SocketAddr;

use super::Lent;
use super::events::Fact;
use super::path::{Path, active, beside_mut, is_open, is_unproved, want_ping};
use super::path_app::{PathError, PathEvent, PathTold};
use super::receive::Addressee;
use super::start::State;
use crate::cid::peer::PeerCidRows;
use crate::error::{Code, TransportError, Why};
use crate::ids::{CidTag, FourTuple, PathId, PathRow};
use crate::lifecycle::Close;
use crate::path::abandon::Effect;
use crate::path::{Addresses, Availability, Health, Opener, Role, Route, Told};
use crate::time::{Deadline, Instant, Span};
use crate::wire::dialect::AbandonCode;

impl State {
    pub(super) fn open_path(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        on: FourTuple,
        status: Availability,
    ) -> Result<PathId, PathError> {
        let row = self.unused_path(lent, on.remote)?;
        self.begin_route(now, lent, row, on, Opener::Local)?;
        let path = lent.buffers.paths.get_mut(row.index()).ok_or(PathError::Unknown)?;
        if let Some(beside) = path.beside.get_mut().filter(|_| status != Availability::Unknown) {
            beside.status.set(status == Availability::Backup);
        }
        Ok(path.id())
    }

    /// The path that is opened next, if one may be opened to this address of the peer.
    pub(super) fn unused_path(&mut self, lent: &Lent<'_>, remote: SocketAddr) -> Result<PathRow, PathError> {
        if self.spoken().is_none() {
            return Err(PathError::Unsupported);
        }
        if !self.side.is_client() {
            return Err(PathError::Server);
        }
        if !self.levels.is_confirmed() || !self.lifecycle.is_open() {
            return Err(PathError::Unconfirmed);
        }
        if self.is_forbidden(&remote) {
            return Err(PathError::Forbidden);
        }
        self.next_path(lent)
    }

    /// The unused path with the smallest ID for which both sides have connection IDs (draft-21 3.2.1). What is missing the peer is
    /// told.
    fn next_path(&mut self, lent: &Lent<'_>) -> Result<PathRow, PathError> {
        let unused = self.path_rows().filter(|row| self.is_unused(lent, *row));
        let paths = unused.filter_map(|row| Some((row, lent.buffers.paths.get(row.index())?)));
        let Some(spoken) = self.spoken() else { return Err(PathError::Unsupported) };
        let mut allowed = paths.filter(|(_, path)| spoken.allows(path.id())).peekable();
        let Some((first, _)) = allowed.peek().copied() else {
            if let Some(spoken) = self.spoken_mut()
                && spoken.peer_max <= spoken.max
            {
                spoken.ids_missed.want();
            }
            return Err(PathError::NoPathId);
        };
        let ready = allowed
            .filter(|(_, path)| path.has_cids(lent.buffers.peer_cids))
            .min_by_key(|(_, path)| path.id());
        if let Some((row, _)) = ready {
            return Ok(row);
        }
        if let Some(spoken) = self.spoken_mut().filter(|spoken| spoken.dialect.has_path_cids_blocked()) {
            spoken.cids_missed.want();
            spoken.cids_missed_on = first;
        }
        Err(PathError::NoCid)
    }

    /// A path gets its first route. Over a route that was validated for another path nothing has to be proved (draft-21 3.1).
    fn begin_route(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        row: PathRow,
        on: FourTuple,
        opener: Opener,
    ) -> Result<usize, PathError> {
        let works = |route: &Route| route.validation.is_validated() && route.health == Health::Works;
        let proved = |route: &Route| route.is_open() && works(route) && route.on() == on;
        let known = lent.buffers.routes.iter().any(proved);
        let running = lent.buffers.routes.iter().filter(|route| route.validation.is_running()).count();
        if let Some(spoken) = self.spoken_mut()
            && !known
            && !spoken.validations.admit(now, opener, running)
        {
            return Err(PathError::Busy);
        }
        let pto = self.longest_base_pto(lent);
        let max_mtu = self.max_mtu.min(self.peer.max_udp_payload);
        let route_row = self.open_route(now, lent, row, on, opener).ok_or(PathError::Full)?;
        let route = lent.buffers.routes.get_mut(route_row).ok_or(PathError::Full)?;
        route.role = Role::Active;
        route.since = now;
        if known {
            route.amplification.on_validated();
            route.validation.on_handshake(now);
            route.mtu.start(now, max_mtu);
        } else {
            route.validation.start(now, pto);
        }
        let path = lent.buffers.paths.get_mut(row.index()).ok_or(PathError::Full)?;
        path.others = 0;
        path.active = u8::try_from(route_row).unwrap_or(u8::MAX);
        path.tell(PathTold::OPENED);
        if known {
            path.on_proved();
        }
        // Its first packet is what opens it for the peer (draft-21 3.1), though there is nothing to ask.
        if known && opener == Opener::Local {
            path.ping.want();
        }
        self.give_cids_ahead(lent, row);
        if known {
            self.rescue(lent);
        }
        Ok(route_row)
    }

    /// A packet of the client came on a path that was not used yet: that opens it, whatever its frames are (draft-21 3.1).
    pub(super) fn welcome(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        seen: &Addresses,
        to: Addressee,
        len: usize,
    ) -> Result<usize, Why> {
        let on = seen.get();
        // Only a client opens paths.
        if self.side.is_client() {
            return Err(Why::Address);
        }
        let from = lent.buffers.routes.get(self.route(lent)).map_or(on, Route::on);
        if !(self.policy)(&from, &on) {
            self.facts.note(Fact::PolicyRefused);
            self.abandon_path(now, lent, to.path, AbandonCode::Application);
            return Err(Why::Policy);
        }
        let row = match self.begin_route(now, lent, to.path, on, Opener::Peer) {
            Ok(row) => row,
            Err(PathError::Full) => {
                self.abandon_path(now, lent, to.path, AbandonCode::ResourceLimit);
                return Err(Why::Full);
            }
            Err(_) => return Err(Why::Full),
        };
        if let Some(route) = lent.buffers.routes.get_mut(row) {
            route.on_received(len);
            route.reached_at = to.seq.map(CidTag::of);
        }
        self.give_cid(lent, row);
        Ok(row)
    }

    /// Whether a path is given up whose route in use could not be validated, and which has no other: one over which nobody was
    /// ever reached, if another one works (draft-21 3.1); and one to an address that was never the peer's, which without other
    /// paths is the end of the connection.
    pub(super) fn is_given_up(&self, lent: &Lent<'_>, path: PathRow) -> bool {
        let route = lent.buffers.routes.get(active(lent, path));
        if route.is_some_and(|route| !route.amplification.is_validated()) {
            return self.has_choice(lent);
        }
        is_unproved(lent, path) && self.works_elsewhere(lent, path).is_some()
    }

    /// A path has moved to where another one is: the one that was there goes on (draft-21 5.2). Only clients see to that, for else
    /// each side might close another one. Paths that were opened on the same addresses are meant to share them.
    pub(super) fn leave_to_twin(&mut self, now: Instant, lent: &mut Lent<'_>, row: PathRow) {
        let addresses = |path| lent.buffers.routes.get(active(lent, path)).map(|route| route.addresses);
        let is_twin = |other: &PathRow| *other != row && addresses(*other) == addresses(row);
        let has_twin = self.open_paths(lent).filter(is_twin).any(|twin| self.carries(lent, twin));
        if self.side.is_client() && has_twin {
            self.abandon_path(now, lent, row, AbandonCode::NoError);
        }
    }

    /// We abandon a path, which is not the last one.
    pub(super) fn abandon_path(&mut self, now: Instant, lent: &mut Lent<'_>, row: PathRow, why: AbandonCode) {
        let Some(dialect) = self.dialect() else { return };
        let Some(beside) = beside_mut(lent, row) else { return };
        if let Some(effect) = beside.abandon.abandon(why.number(dialect)) {
            self.on_abandon_effect(now, lent, row, effect);
        }
    }

    /// The peer abandons a path.
    pub(super) fn on_path_abandon(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        row: PathRow,
        code: u64,
    ) -> Result<(), TransportError> {
        let is_last = is_open(lent, row) && self.open_paths(lent).all(|open| open == row);
        if is_last {
            // There is no other path to say so, and none that could be opened (draft-21 3.4).
            self.close(now, lent, Close::transport(&LAST_ABANDONED));
            return Ok(());
        }
        let pto = self.drain_pto(lent, row);
        let Some(beside) = beside_mut(lent, row) else { return Ok(()) };
        if let Some(effect) = beside.abandon.on_frame(now, code, pto) {
            self.on_abandon_effect(now, lent, row, effect);
        }
        Ok(())
    }

    /// The probe timeout by which the drain of a path is measured: its own, which is remembered, or, if nothing was ever sent over
    /// it, the longest of the others.
    pub(super) fn drain_pto(&self, lent: &Lent<'_>, row: PathRow) -> Span {
        let own = lent.buffers.paths.get(row.index()).map_or(Span::ZERO, Path::last_pto);
        self.longest_base_pto(lent).max(own)
    }

    pub(super) fn on_abandon_effect(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        row: PathRow,
        effect: Effect,
    ) {
        match effect {
            Effect::Retire => self.retire_path(now, lent, row),
            Effect::End => self.end_path(lent, row),
        }
    }

    /// Nothing is sent over a path any more: what is under way on it is wanted on others, and the peer's connection IDs are retired
    /// without a word (draft-21 3.4).
    fn retire_path(&mut self, now: Instant, lent: &mut Lent<'_>, row: PathRow) {
        let pto = self.base_pto(lent, row);
        if let Some(path) = lent.buffers.paths.get_mut(row.index()) {
            let mut rows = PeerCidRows { cids: lent.buffers.peer_cids, retiring: lent.buffers.retirements };
            path.peer_cids.clear(&mut rows);
            path.local_cids.stop(lent.buffers.local_cids);
            if let Some(beside) = path.beside.get_mut() {
                beside.status.on_abandoned();
            }
            path.tell(PathTold::ABANDONED);
        }
        for route in 0..lent.buffers.routes.len() {
            if lent.buffers.routes.get(route).is_some_and(|it| it.is_open() && it.path == row) {
                self.release(lent, route, Told::CLOSED);
            }
        }
        if let Some(path) = lent.buffers.paths.get_mut(row.index()) {
            path.close(pto);
        }
        if self.main == row {
            self.main = self.speaking_path(lent);
            self.facts.note(Fact::Remote);
        }
        // Who waits for what the path was to bring waits for the others now.
        self.liveness.on_received(now);
    }

    /// Nothing need be known of a path any more: its row takes the next path ID, which the peer may use from now on.
    fn end_path(&mut self, lent: &mut Lent<'_>, row: PathRow) {
        if let Some(path) = lent.buffers.paths.get_mut(row.index()) {
            path.local_cids.retire_all(lent.buffers.local_cids);
        }
        let Some(spoken) = self.spoken_mut() else { return };
        // 2^32 paths take more than the three PTOs of each.
        let Some(next) = spoken.max.checked_add(1) else { return };
        spoken.max = next;
        spoken.max_told.want();
        self.begin_path(lent, row, PathId(next));
        self.note_possible_path(lent);
    }

    /// Who wants another path may have waited for what it takes.
    pub(super) fn note_possible_path(&mut self, lent: &Lent<'_>) {
        let Some(spoken) = self.spoken() else { return };
        let possible = |row: &PathRow| {
            let path = lent.buffers.paths.get(row.index());
            path.is_some_and(|path| spoken.allows(path.id()) && path.has_cids(lent.buffers.peer_cids))
        };
        if self.side.is_client()
            && self.path_rows().filter(|row| self.is_unused(lent, *row)).any(|row| possible(&row))
        {
            self.facts.note(Fact::PathPossible);
        }
    }

    /// When a path that was abandoned has had its time.
    pub(super) fn next_path_timeout(&self, lent: &Lent<'_>) -> Deadline {
        if self.spoken().is_none() {
            return Deadline::NEVER;
        }
        let beside = |row: PathRow| lent.buffers.paths.get(row.index())?.beside.get();
        let ends = self.path_rows().filter_map(beside).map(|beside| beside.abandon.next_timeout());
        let open = || self.open_paths(lent);
        let failovers = open().map(|row| self.next_failover(lent, row));
        let pings = open().map(|row| self.next_keep_alive(lent, row));
        ends.chain(failovers).chain(pings).min().unwrap_or_default()
    }

    /// When a path is to be kept awake. One that a PING waits for, or that nothing can be sent over, is not.
    fn next_keep_alive(&self, lent: &Lent<'_>, row: PathRow) -> Deadline {
        let path = lent.buffers.paths.get(row.index()).filter(|path| !path.ping.is_wanted());
        let hundredths = path.and_then(|path| path.beside.get()).map_or(0, |beside| beside.keep_alive);
        if hundredths == 0 || self.is_blocked(lent, row) {
            return Deadline::NEVER;
        }
        let Some(route) = lent.buffers.routes.get(active(lent, row)) else { return Deadline::NEVER };
        let last = route.last_packet.max(route.flight.last_sent());
        Deadline::at(last.after(Span::from_millis(u64::from(hundredths).saturating_mul(10))))
    }

    pub(super) fn on_path_timeout(&mut self, now: Instant, lent: &mut Lent<'_>) {
        if self.spoken().is_none() {
            return;
        }
        for row in self.path_rows() {
            let beside = beside_mut(lent, row);
            if let Some(effect) = beside.and_then(|beside| beside.abandon.on_timeout(now)) {
                self.on_abandon_effect(now, lent, row, effect);
            }
            self.on_failover(now, lent, row);
            if self.next_keep_alive(lent, row).is_due(now) {
                want_ping(lent, row);
            }
        }
    }

    /// What is to be told of paths.
    pub(super) fn poll_path_event(&mut self, lent: &mut Lent<'_>) -> Option<(PathId, PathEvent)> {
        self.spoken()?;
        for row in self.path_rows() {
            let beside = beside_mut(lent, row)?;
            if beside.told.is_all() {
                continue;
            }
            for (told, event) in [
                (PathTold::OPENED, PathEvent::Opened),
                (PathTold::VALIDATED, PathEvent::Validated),
                (PathTold::SUSPECT, PathEvent::Suspect),
                (PathTold::RESTORED, PathEvent::Restored),
                (PathTold::STATUS, PathEvent::Status(beside.status.peers())),
                (PathTold::ABANDONED, PathEvent::Abandoned),
            ] {
                if beside.told.take(told) {
                    return Some((beside.id, event));
                }
            }
        }
        None
    }
}

const LAST_ABANDONED: TransportError = TransportError::new(Code::NO_ERROR, "the last path was abandoned");
