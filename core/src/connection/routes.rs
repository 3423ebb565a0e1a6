//! The life of routes: how one begins, becomes the active one, is left, and ends (RFC 9000 9).
//!
//! [`State::activate`] is the only place that changes which route packets are sent over.

use super::Lent;
use super::events::Fact;
use super::path::{active, is_first, path_of, want_ping};
use super::receive::{Addressee, Seat};
use super::schedule::mark_suspect;
use super::start::State;
use crate::cid::peer::PeerCidRows;
use crate::congestion::Pacer;
use crate::error::Why;
use crate::ids::{CidTag, FourTuple, PathRow, Side};
use crate::lifecycle::Cause;
use crate::path::migration::{Facts, Verdict, decide};
use crate::path::validation::Proved;
use crate::path::{Addresses, EcnValidation, Health, Opener, Role, Route, RouteId, Told};
use crate::session::Level;
use crate::table::list::at;
use crate::time::{Deadline, Instant, Span};
use crate::wire::dialect::AbandonCode;

/// A route that was left is kept for so long: it may be taken up again with what was known of it.
const KEPT: Span = Span::from_secs(60);
/// A route that was left still receives what was on its way for so many PTOs, though another could use its connection ID.
const LINGER: u32 = 3;

/// Why another route is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MoveCause {
    /// The application chose it.
    Chosen,
    /// The peer moved, or a NAT on the way gave it another address.
    Peer,
    /// The one before could not be validated.
    Fallback,
    /// Nothing came over the one before, or nothing can be sent over it.
    Liveness,
    /// The application prefers it, or it is much faster.
    Preference,
    /// The server prefers the address.
    PreferredAddress,
}

/// A change of the active route that the application was not told yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moved {
    pub(super) from: RouteId,
    pub(super) to: RouteId,
    pub(super) cause: MoveCause,
}

/// What to do when the peer comes from a new address and there is no unused connection ID to answer it with
/// (RFC 9000 9.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NoSpareCid {
    /// Go on with the connection ID in use, if the peer has kept to its own too: a NAT rebinding is survived, at the price of
    /// two addresses that can be told to belong together.
    #[default]
    Reuse,
    /// Ignore packets from there until the peer supplies one.
    Drop,
}

/// What a client does when what it sends over the route in use is not answered, though an answer is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum WhenSuspect {
    /// Moves to the best other route, if the application has opened one, and tells.
    #[default]
    Move,
    /// Only tells.
    Tell,
}

/// Whether a peer may move from one address to another. Pure: it is asked once for each new address.
pub type MigrationPolicy = fn(from: &FourTuple, to: &FourTuple) -> bool;

impl State {
    /// An authentic packet came on addresses that are no route's: they become a candidate, if there is what it takes.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        seen: &Addresses,
        to: Addressee,
        len: usize,
    ) -> Result<usize, Why> {
        let path_row = to.path;
        let from = lent.buffers.routes.get(active(lent, path_row)).ok_or(Why::Address)?.on();
        let on = seen.get();
        if !(self.policy)(&from, &on) {
            self.facts.note(Fact::PolicyRefused);
            return Err(Why::Policy);
        }
        let pto = self.base_pto(lent, path_row);
        if !self.newcomers.admit(now, self.quickest_pto(lent)) {
            return Err(Why::Full);
        }
        let tag = to.seq.map(CidTag::of);
        let path = lent.buffers.paths.get(path_row.index()).ok_or(Why::Address)?;
        let spare = path.peer_cids.has_cid_for_another(lent.buffers.peer_cids);
        let kept = tag.is_some_and(|tag| path.peer_cids.has_answer(lent.buffers.peer_cids, tag));
        if !spare {
            self.facts.note(Fact::NoSpareCid);
        }
        if !spare && kept && self.no_spare_cid == NoSpareCid::Drop {
            return Err(Why::Full);
        }
        // A peer has one candidate: one that it showed before is abandoned (RFC 9000 9.3).
        let is_earlier = |route: &Route| {
            route.path == path_row && route.role == Role::Candidate && route.opener == Opener::Peer
        };
        while let Some(row) = lent.buffers.routes.iter().position(is_earlier) {
            self.release(lent, row, Told::CLOSED);
        }
        let row = self.open_route(now, lent, path_row, on, Opener::Peer).ok_or(Why::Full)?;
        if let Some(route) = lent.buffers.routes.get_mut(row) {
            route.on_received(len);
            route.reached_at = tag;
            route.validation.start(now, pto);
        }
        self.give_cid(lent, row);
        Ok(row)
    }

    /// Takes a row for a route, and a connection ID for one of ours if there is one left.
    pub(super) fn open_route(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        path: PathRow,
        on: FourTuple,
        opener: Opener,
    ) -> Option<usize> {
        let row = self.free_row(lent, path)?;
        let place = lent.buffers.routes.get_mut(row)?;
        let serial = place.serial.wrapping_add(1);
        place.begin(now, path, &on, &self.new_routes);
        (place.serial, place.opener, place.told) = (serial, opener, Told::ADDED);
        // A challenge that is acknowledged does not open the window.
        place.congestion.set_app_limited(true);
        let path = lent.buffers.paths.get_mut(path.index())?;
        path.others = path.others.saturating_add(1);
        if opener == Opener::Local {
            // Who opens a route owes nobody a proof of its address.
            place.amplification.on_validated();
            path.peer_cids.take(lent.buffers.peer_cids, u8::try_from(row).ok()?);
        }
        Some(row)
    }

    /// A row that nothing was forgotten in; else one whose end was not told yet; else the one that was left first.
    fn free_row(&mut self, lent: &mut Lent<'_>, path: PathRow) -> Option<usize> {
        let routes = &*lent.buffers.routes;
        // Each path has its share, whatever the others do, and one that stays alone has no more: it has no more connection IDs either,
        // and routes that were left would hold those that the next one needs.
        let share = routes.len().checked_div(lent.buffers.paths.len()).unwrap_or(0);
        let used = routes.iter().filter(|route| route.is_open() && route.path == path).count();
        let free =
            |told: bool| routes.iter().position(|route| !route.is_open() && (!told || route.told.is_all()));
        if let Some(row) = free(true).or_else(|| free(false)).filter(|_| used < share) {
            return Some(row);
        }
        // The last validated one is what a spoofed address is reverted to (RFC 9000 9.3.2): it stays until the active one is
        // validated.
        let settled = routes.get(active(lent, path))?.validation.is_validated();
        let left = || {
            let of_path = routes.iter().enumerate().filter(|(_, route)| route.path == path);
            of_path.filter(|(_, route)| route.role == Role::Fallback)
        };
        let last = left().max_by_key(|(_, route)| route.since).filter(|_| !settled).map(|(row, _)| row);
        let (row, _) = left().filter(|(row, _)| Some(*row) != last).min_by_key(|(_, route)| route.since)?;
        self.release(lent, row, Told::CLOSED);
        Some(row)
    }

    /// After the last frame of a packet: whether it moves the connection.
    pub(super) fn settle_route(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        seat: &Seat,
        pn: u64,
        non_probing: bool,
    ) {
        let has_choice = self.has_choice(lent);
        let route = lent.buffers.routes.get_mut(seat.route).filter(|route| route.is_open());
        let (Some(path), Some(route)) = (lent.buffers.paths.get_mut(seat.path.index()), route) else {
            return;
        };
        route.last_packet = now;
        // With several paths a route that brings something need not carry anything: that an acknowledgment tells.
        if route.is_suspect() && !has_choice {
            route.turn(now, Health::Works);
            if usize::from(path.active) == seat.route {
                path.on_restored();
            }
        }
        let newest = seat.level == Level::OneRtt && non_probing && path.on_non_probing(pn, seat.route);
        if newest && !self.side.is_client() {
            self.follow_cid(lent, seat);
        }
        self.follow_peer(now, lent, seat.route, newest);
        if seat.route != active(lent, seat.path) {
            self.make_room(lent, seat.route);
        }
    }

    /// Goes where the peer is, if a packet on this route shows that it has moved: the `newest` that is not only probing.
    fn follow_peer(&mut self, now: Instant, lent: &mut Lent<'_>, row: usize, newest: bool) {
        let active = active(lent, path_of(lent, row));
        let (Some(current), Some(route)) = (lent.buffers.routes.get(active), lent.buffers.routes.get(row))
        else {
            return;
        };
        let facts = Facts {
            side: self.side.get(),
            on_active: row == active,
            newest,
            // A server has no other address but the one it prefers.
            to_preferred: !route.addresses.has_local_of(&current.addresses),
            validated: route.validation.is_validated(),
        };
        if decide(&facts) == Verdict::Move {
            self.activate(now, lent, row, MoveCause::Peer);
        }
    }

    /// Sends over another route from now on.
    pub(super) fn activate(&mut self, now: Instant, lent: &mut Lent<'_>, row: usize, cause: MoveCause) {
        let path = path_of(lent, row);
        let old = active(lent, path);
        let pto = self.base_pto(lent, path);
        let Ok(active) = u8::try_from(row) else { return };
        let Ok([from, to]) = lent.buffers.routes.get_disjoint_mut([old, row]) else { return };
        if !to.is_open() {
            return;
        }
        let moved = Moved { from: id(old, from), to: id(row, to), cause };
        // Where the peer is, it was heard just now.
        if cause == MoveCause::Peer && to.is_suspect() {
            to.health = Health::Works;
        }
        let (was_ill, is_ill) = (from.health != Health::Works, to.health != Health::Works);
        let since = if was_ill && is_ill { from.since } else { now };
        let known = to.role == Role::Fallback && now.since(to.since) <= KEPT;
        if !known && to.addresses.differ_in_port_only(&from.addresses) {
            to.inherit(from);
        }
        // Who has tried the new route before, and was heard on the old one just now, leaves it while it works: what is under
        // way there may arrive.
        let heard = now.since(from.last_packet) <= pto;
        let forced = matches!(cause, MoveCause::Fallback | MoveCause::Liveness);
        if !to.validation.is_validated() || !heard || forced {
            self.lose_flight(lent, Level::OneRtt, old);
        }
        self.leave(now, lent, old, cause, pto);
        let elsewhere = {
            let routes = lent.buffers.routes.iter().filter(|route| route.path == path);
            routes.fold(0_u32, |sum, route| sum.saturating_add(route.ecn.uncounted()))
        };
        let ecn = if self.new_routes.ecn { EcnValidation::new(elsewhere) } else { EcnValidation::disabled() };
        let max_mtu = self.max_mtu.min(self.peer.max_udp_payload);
        let Some(route) = lent.buffers.routes.get_mut(row) else { return };
        if !known {
            route.ecn = ecn;
            if route.rtt.first_sample().is_some() {
                route.pacer = Pacer::beginning(now, &route.pace());
            }
        }
        route.role = Role::Active;
        route.since = since;
        route.pto.on_keys_discarded(now);
        if !route.validation.is_validated() && !route.validation.is_running() {
            route.validation.start(now, pto);
        }
        if route.validation.is_validated() {
            route.mtu.start(now, max_mtu);
        }
        let validated = route.validation.is_validated();
        if let Some(path) = lent.buffers.paths.get_mut(path.index()) {
            path.active = active;
            if validated {
                path.on_proved();
            }
            match (was_ill, is_ill) {
                (true, false) => path.on_restored(),
                (false, true) => path.on_suspect(),
                _ => {}
            }
        }
        self.facts.note(Fact::Remote);
        if validated && !known {
            self.renew_token();
        }
        self.give_cid(lent, row);
        if cause == MoveCause::PreferredAddress {
            self.settle_at_preferred(lent, row);
        } else if self.side.is_client() && is_first(lent, path) {
            self.retry_preferred(now, lent, row);
        }
        self.moved = Some(moved);
        self.stats.migrations = self.stats.migrations.saturating_add(1);
        // The server moves only when it sees a packet that is no probe; a client may have nothing else to say.
        if self.side.is_client() {
            want_ping(lent, path);
        }
        if !known {
            self.leave_to_twin(now, lent, path);
        }
    }

    /// The client has proved to be at a new address, and should have a token for it (RFC 9000 9.3).
    const fn renew_token(&mut self) {
        if !self.side.is_client() {
            self.token.delivery.forget();
        }
    }

    /// The active route is not that any more. One that was the peer's is remembered: what it was left for may turn out a
    /// forgery (RFC 9000 9.3.2).
    fn leave(&mut self, now: Instant, lent: &mut Lent<'_>, row: usize, cause: MoveCause, pto: Span) {
        let Some(route) = lent.buffers.routes.get_mut(row) else { return };
        if !route.amplification.is_validated() {
            return self.release(lent, row, Told::CLOSED);
        }
        route.role = Role::Fallback;
        route.since = now;
        route.mtu.stop();
        if cause == MoveCause::Peer {
            // Packets that this draws from the peer tell a move from a forgery (RFC 9000 9.3.3).
            route.validation.start(now, pto);
        }
    }

    /// A question as to whether the peer is there was not answered. Of several paths each judges for itself what was asked over it.
    pub(super) fn on_silence(&mut self, now: Instant, lent: &mut Lent<'_>) {
        if !self.has_choice(lent) {
            mark_suspect(now, lent, self.main);
            self.leave_ill_route(now, lent, self.main);
        }
    }

    /// Moves off a route over which nothing can be sent, or, if we may then, off one over which nothing comes or whose connection
    /// ID the peer has withdrawn, if there is a better one.
    pub(super) fn leave_ill_route(&mut self, now: Instant, lent: &mut Lent<'_>, path: PathRow) {
        let row = active(lent, path);
        let may = self.when_suspect == WhenSuspect::Move;
        let leave = lent.buffers.routes.get(row).is_some_and(|active| match active.health {
            Health::Works => may && !self.has_cid(lent, row),
            Health::Suspect => may,
            Health::Down => true,
        });
        if leave {
            self.move_off(now, lent, path);
        }
    }

    /// A PATH_RESPONSE came.
    pub(super) fn on_path_response(&mut self, now: Instant, lent: &mut Lent<'_>, seat: &Seat, data: [u8; 8]) {
        let max_mtu = self.max_mtu.min(self.peer.max_udp_payload);
        let confirmed = self.levels.is_confirmed();
        let (mut renew, mut proved) = (false, None);
        for (row, route) in lent.buffers.routes.iter_mut().enumerate() {
            let path = lent.buffers.paths.get_mut(route.path.index());
            let path = path.filter(|path| usize::from(path.active) == row);
            if let Some(sample) = route.validation.sample(now, data).filter(|_| row == seat.route) {
                route.rtt.on_sample(now, sample, Span::ZERO, None);
            }
            let is_new = !route.validation.is_validated();
            match route.validation.on_response(now, data) {
                Proved::Nothing => {}
                Proved::Address => route.amplification.on_validated(),
                Proved::Route => {
                    route.amplification.on_validated();
                    route.told.note(Told::VALIDATED);
                    if let Some(path) = path.filter(|_| confirmed) {
                        path.on_proved();
                        route.mtu.start(now, max_mtu);
                        renew |= is_new;
                        proved = Some(row);
                    }
                }
            }
        }
        if let Some(row) = proved.filter(|_| self.has_choice(lent)) {
            self.restore(now, lent, row);
        }
        if renew {
            self.renew_token();
            self.rescue(lent);
        }
        let awaited = |route: &Route| route.role == Role::Awaited && route.validation.is_validated();
        if let Some(row) = lent.buffers.routes.iter().position(awaited) {
            self.activate(now, lent, row, MoveCause::PreferredAddress);
        }
        for path in self.path_rows() {
            if let Some(row) = lent.buffers.paths.get(path.index()).and_then(|path| path.newest_on()) {
                self.follow_peer(now, lent, row, true);
            }
            self.leave_ill_route(now, lent, path);
            self.choose_route(now, lent, path);
        }
    }

    /// What routes have to do now, apart from loss recovery.
    pub(super) fn on_route_timeout(&mut self, now: Instant, lent: &mut Lent<'_>) {
        for row in 0..lent.buffers.routes.len() {
            let Some(route) = lent.buffers.routes.get_mut(row).filter(|route| route.is_open()) else {
                continue;
            };
            route.mtu.on_timeout(now);
            if route.validation.on_timeout(now) {
                self.on_route_failed(now, lent, row);
            } else if self.route_ends(lent, row).is_due(now) {
                self.release(lent, row, Told::CLOSED);
            }
        }
    }

    /// When routes want to be looked at.
    pub(super) fn next_route_timeout(&self, lent: &Lent<'_>) -> Deadline {
        let mut next = Deadline::NEVER;
        if !self.has_others(lent) && !self.has_choice(lent) {
            let active = lent.buffers.routes.get(self.route(lent));
            return active
                .map_or(next, |active| active.mtu.next_timeout().min(active.validation.next_timeout()));
        }
        for (row, route) in lent.buffers.routes.iter().enumerate().filter(|(_, route)| route.is_open()) {
            next = next
                .min(route.mtu.next_timeout())
                .min(route.validation.next_timeout())
                .min(self.route_ends(lent, row));
        }
        next
    }

    /// When a route that was left has had its time.
    fn route_ends(&self, lent: &Lent<'_>, row: usize) -> Deadline {
        let Some(route) = lent.buffers.routes.get(row).filter(|route| route.role == Role::Fallback) else {
            return Deadline::NEVER;
        };
        let active = lent.buffers.routes.get(active(lent, route.path));
        if !active.is_some_and(|active| active.validation.is_validated()) {
            return Deadline::NEVER;
        }
        if !route.validation.is_validated() && !route.validation.is_running() {
            return Deadline::at(route.since);
        }
        let scarce = lent
            .buffers
            .paths
            .get(route.path.index())
            .is_some_and(|path| !path.peer_cids.has_cid_for_another(lent.buffers.peer_cids));
        let kept =
            if scarce { self.base_pto(lent, route.path).saturating_mul(LINGER).min(KEPT) } else { KEPT };
        Deadline::at(route.since.after(kept))
    }

    /// The peer was not reached over a route.
    fn on_route_failed(&mut self, now: Instant, lent: &mut Lent<'_>, row: usize) {
        let path = path_of(lent, row);
        let active = active(lent, path);
        if row != active {
            let routes = &lent.buffers.routes;
            let last = routes.get(row).is_some_and(|route| route.role == Role::Fallback);
            let settled = routes.get(active).is_some_and(|route| route.validation.is_validated());
            // Silence on the route before is no reason to forget it while the new one is not proved either.
            if settled || !last {
                self.release(lent, row, Told::FAILED);
            }
            return;
        }
        match self.last_to_work(lent, row) {
            Some(fallback) => {
                self.activate(now, lent, fallback, MoveCause::Fallback);
                self.release(lent, row, Told::FAILED);
            }
            None if self.is_given_up(lent, path) => {
                let could_ask = self.has_cid(lent, row);
                let why = if could_ask { AbandonCode::Unstable } else { AbandonCode::NoCid };
                self.abandon_path(now, lent, path, why);
            }
            None => {
                let pto = self.base_pto(lent, path);
                let several = self.spoken().is_some();
                let Some(route) = lent.buffers.routes.get_mut(row) else { return };
                if several || route.amplification.is_validated() {
                    // The peer was there once, and may be again: that is waited for until the idle timeout. Or it was reached over
                    // paths that have ended since, and somebody else sent the first packet of this one on from elsewhere.
                    route.validation.start(now, pto);
                    mark_suspect(now, lent, path);
                } else {
                    // Who answers an address that never was the peer's has nobody to tell (RFC 9000 9.3.2).
                    self.lifecycle.abandon(Cause::NoRoute);
                }
            }
        }
    }

    /// The route to return to from one that could not be validated (RFC 9000 9.3.2): over which the peer was reached, then over
    /// which it was heard last. That is one that was in use, or one that was only tried; a client goes by what it may use by
    /// itself for the latter, and stays where it can speak; a server keeps to the address it speaks from (9.6.2).
    fn last_to_work(&self, lent: &Lent<'_>, failed: usize) -> Option<usize> {
        let Route { addresses: from, path, .. } = *lent.buffers.routes.get(failed)?;
        let may_leave = self.when_suspect == WhenSuspect::Move;
        let works = |(row, route): &(usize, &Route)| {
            let tried = route.role == Role::Candidate && route.validation.is_validated();
            let usable = match self.side.get() {
                Side::Client => self.has_cid(lent, *row) && (!tried || may_leave && route.may_be_chosen()),
                Side::Server => !tried || route.addresses.has_local_of(&from),
            };
            route.path == path && !route.is_down() && usable && (tried || route.role == Role::Fallback)
        };
        let routes = lent.buffers.routes.iter().enumerate().filter(works);
        routes
            .max_by_key(|(_, route)| (route.validation.is_validated(), route.last_packet))
            .map(|(row, _)| row)
    }

    /// Whether the peer answers over the route in use, and no other is being tried.
    pub(super) fn is_calm(&self, lent: &Lent<'_>) -> bool {
        let trying = |route: &Route| route.is_candidate() && route.validation.is_running();
        let calm = |route: &Route| {
            route.health == Health::Works && route.pto.count() == 0 && !route.validation.is_running()
        };
        lent.buffers.routes.get(self.route(lent)).is_some_and(calm) && !lent.buffers.routes.iter().any(trying)
    }

    /// Gives up a route that is not the active one: its row, its connection ID, and what was under way on it.
    pub(super) fn release(&mut self, lent: &mut Lent<'_>, row: usize, told: Told) {
        self.lose_flight(lent, Level::OneRtt, row);
        let path = path_of(lent, row);
        let (Some(path), Some(route)) =
            (lent.buffers.paths.get_mut(path.index()), lent.buffers.routes.get_mut(row))
        else {
            return;
        };
        path.others = path.others.saturating_sub(route.is_open().into());
        route.role = Role::Free;
        route.validation.stop();
        route.told.note(told);
        let Ok(row) = u8::try_from(row) else { return };
        self.responses.forget(row);
        path.forget_newest_on(row);
        let mut rows = PeerCidRows { cids: lent.buffers.peer_cids, retiring: lent.buffers.retirements };
        let retired = match self.side.get() {
            Side::Client => path.peer_cids.retire(&mut rows, row),
            Side::Server => path.peer_cids.leave(&mut rows, row),
        };
        // With no room for another retirement the peer keeps an ID that nobody sends to.
        retired.ok();
    }

    /// Whether there is another route than the one in use.
    pub(super) fn has_others(&self, lent: &Lent<'_>) -> bool {
        let path = |path: PathRow| lent.buffers.paths.get(path.index());
        self.path_rows().filter_map(path).any(|path| path.others > 0)
    }

    /// What is under way of a level on a route will not arrive, which says nothing of congestion (RFC 9000 9.4): it is
    /// wanted again.
    pub(super) fn lose_flight(&mut self, lent: &mut Lent<'_>, level: Level, row: usize) {
        let Some(flight) = self.flight_mut(lent, level, row) else { return };
        let mut packets = flight.take_all();
        let numbers = flight.numbers();
        let mut bytes = 0_u32;
        while let Some(handle) = packets.pop(lent.buffers.sent) {
            bytes = bytes.saturating_add(at(lent.buffers.sent, handle).map_or(0, |row| row.size.into()));
            self.on_packet_lost(lent, path_of(lent, row), numbers, handle);
        }
        if let Some(route) = lent.buffers.routes.get_mut(row) {
            route.congestion.on_discarded(bytes);
        }
        self.free_unowned(lent);
    }
}

/// The name of the route in a row.
pub(super) fn id(row: usize, route: &Route) -> RouteId {
    RouteId { row: u8::try_from(row).unwrap_or(u8::MAX), serial: route.serial }
}
