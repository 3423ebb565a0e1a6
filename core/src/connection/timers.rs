//! Every deadline of a connection: gathered into one, and handed to its owner when it is due.

use super::Lent;
use super::events::Fact;
use super::outcome::InFlight;
use super::path::{active, path_of, want_ping};
use super::plan::ROWS_FOR_PROBES;
use super::receive::Seat;
use super::start::{PROBES, State};
use crate::ids::{PathId, PathRow, SpaceId};
use crate::lifecycle::{Due, Silence};
use crate::path::Route;
use crate::path::failover::{asked_again_at, timeouts_in};
use crate::recovery::pto::Situation;
use crate::recovery::{Alarm, Flight, Numbers};
use crate::session::Level;
use crate::time::{Deadline, Instant, Span};

/// Shorter silences are no sign of anything: a peer with much to do may be as slow, however near it is.
const LEAST_SILENCE: Span = Span::from_millis(50);
/// A peer is out of reach that leaves so many probes in a row without an answer.
const OUT_OF_REACH: u8 = 2;
/// The levels that have a packet number space of their own.
const SPACES: [Level; 3] = [Level::Initial, Level::Handshake, Level::OneRtt];

impl State {
    pub(super) fn next_timeout(&mut self, lent: &mut Lent<'_>) -> Deadline {
        let life = self.lifecycle.next_timeout();
        if !self.lifecycle.is_open() {
            return life;
        }
        let alarms = self.path_rows().filter_map(|path| self.alarm(lent, path));
        let alarm = alarms.map(|(at, _)| Deadline::at(at)).min().unwrap_or_default();
        let alive = self.liveness.next_timeout(self.liveness_pto(lent));
        let asks = self.path_rows().map(|path| self.next_question(lent, path)).min().unwrap_or_default();
        let route = self.next_route_timeout(lent).min(self.next_alarm_elsewhere(lent));
        let acks = self.next_ack(lent);
        let paths = self.next_path_timeout(lent);
        [
            self.keys.next_timeout(),
            self.levels.next_timeout(),
            alarm,
            alive,
            asks,
            route,
            acks,
            paths,
            self.paced_until,
        ]
        .into_iter()
        .fold(life, Deadline::min)
    }

    fn next_ack(&mut self, lent: &mut Lent<'_>) -> Deadline {
        let mut next = Deadline::NEVER;
        for level in self.levels.sealable().iter() {
            let all = level == Level::OneRtt;
            for path in self.path_rows().take(if all { usize::MAX } else { 1 }) {
                let due = self.space_mut(lent, level, path).received.due();
                // What cannot be sent has no deadline: whatever lets it go is an event of its own.
                if due.is_set() && !self.is_blocked(lent, self.ack_path(lent, level, path)) {
                    next = next.min(due);
                }
            }
        }
        next
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, lent: &mut Lent<'_>) {
        match self.lifecycle.on_timeout(now) {
            Some(Due::KeepAlive) => want_ping(lent, self.speaking_path(lent)),
            Some(Due::Drained) => return,
            None => {}
        }
        if !self.lifecycle.is_open() {
            return;
        }
        let pto = self.liveness_pto(lent);
        match self.liveness.on_timeout(now, pto) {
            Some(Silence::Ask) => self.ask(lent),
            Some(Silence::Suspect) => self.on_silence(now, lent),
            None => {}
        }
        if self.keys.on_timeout(now) {
            lent.session.retire_keys();
        }
        if let Some(level) = self.levels.on_timeout(now) {
            self.discard_level(now, lent, level);
        }
        self.on_route_timeout(now, lent);
        self.on_path_timeout(now, lent);
        self.on_alarm_elsewhere(now, lent);
        for path in self.path_rows() {
            if self.next_question(lent, path).is_due(now) {
                self.ask_again(now, lent, path);
            }
            let row = active(lent, path);
            match self.alarm(lent, path) {
                Some((at, Alarm::Loss(space))) if at <= now => {
                    self.look_for_lost(now, lent, level_of(space), row);
                }
                Some((at, Alarm::Probe(space))) if at <= now => self.probe(now, lent, level_of(space), row),
                _ => {}
            }
        }
    }

    /// Asks the peer for a sign of life, over all paths over which one could come.
    fn ask(&mut self, lent: &mut Lent<'_>) {
        let speaking = self.speaking_path(lent);
        for path in self.path_rows() {
            if path == speaking || self.carries(lent, path) {
                want_ping(lent, path);
                if let Some(route) = lent.buffers.routes.get_mut(active(lent, path)) {
                    route.ecn.on_silence();
                }
            }
        }
    }

    /// When a peer that does not answer over a path is asked again. The timeout that probes wait for has doubled all the while.
    fn next_question(&self, lent: &Lent<'_>, row: PathRow) -> Deadline {
        let path =
            lent.buffers.paths.get(row.index()).filter(|path| path.is_open() && !path.ping.is_wanted());
        let route = path.and_then(|path| lent.buffers.routes.get(usize::from(path.active)));
        let Some(route) = route.filter(|route| route.is_suspect()) else { return Deadline::NEVER };
        if self.is_blocked(lent, row) {
            return Deadline::NEVER;
        }
        let asked = route.flight.last_ack_eliciting();
        asked_again_at(route.since, asked, self.base_pto(lent, row))
    }

    /// Asks whether the peer is back on a path. With no row for that, the oldest packet gives its own if it was sent again already.
    fn ask_again(&mut self, now: Instant, lent: &mut Lent<'_>, path: PathRow) {
        want_ping(lent, path);
        let (row, pto) = (active(lent, path), self.base_pto(lent, path));
        let Some(suspect) = lent.buffers.routes.get(row).map(|route| route.since) else { return };
        self.doubt_way(now, lent, row, timeouts_in(now.since(suspect), pto));
        let asks = |route: &Route| route.flight.ends_in_question(lent.buffers.sent);
        if !lent.buffers.routes.get(row).is_some_and(asks) {
            self.spare_row(lent, Level::OneRtt, row);
        }
    }

    /// With no row for a PING, the oldest packet under way gives its own if it has nothing to be sent again.
    fn spare_row(&mut self, lent: &mut Lent<'_>, level: Level, row: usize) {
        if self.sent.room(lent.buffers.sent) > 0 {
            return;
        }
        let Some(InFlight { flight, rows, .. }) = self.in_flight(lent, level, row) else { return };
        let Some(dropped) = flight.drop_oldest(rows) else { return };
        let size = rows.get(usize::from(dropped)).map_or(0, |row| row.size);
        self.sent.free(lent.buffers.sent, dropped);
        if let Some(route) = lent.buffers.routes.get_mut(row) {
            route.congestion.on_discarded(size.into());
        }
    }

    /// Whether a packet ends a silence on the route in use in which the peer was out of reach. To be asked before an ACK in the
    /// packet ends the backoff, and makes the RTT as long as the silence.
    pub(super) fn returns(&self, now: Instant, lent: &Lent<'_>, seat: &Seat) -> bool {
        let route = lent.buffers.routes.get(seat.route).filter(|_| seat.level == Level::OneRtt);
        seat.route == active(lent, seat.path)
            && route.is_some_and(|route| {
                let silence = route.pto.period(&route.rtt, Span::ZERO).half();
                route.pto.count() >= OUT_OF_REACH && now.since(route.last_packet) >= silence
            })
    }

    /// Who was out of reach is probed at once if it owes an acknowledgment, not when a timeout ends that has doubled all the
    /// while. That is a timeout like others, and the silence must have lasted for half of it: for who is heard and acknowledges
    /// nothing, probes become ever rarer (RFC 9002 6.2.1).
    pub(super) fn on_return(&mut self, now: Instant, lent: &mut Lent<'_>, row: usize) {
        let owing =
            lent.buffers.routes.get_mut(row).filter(|route| route.flight.last_ack_eliciting().is_some());
        if let Some(route) = owing {
            route.pto.on_timeout(now);
            self.owe(lent, Level::OneRtt, row);
            self.repeat(lent, Level::OneRtt, row, PROBES);
            self.free_unowned(lent);
        }
    }

    /// The probe timeout expired: what was sent first goes out again, or a PING if there is nothing (RFC 9002 6.2.4).
    fn probe(&mut self, now: Instant, lent: &mut Lent<'_>, level: Level, row: usize) {
        self.stats.probe_timeouts = self.stats.probe_timeouts.saturating_add(1);
        if let Some(route) = lent.buffers.routes.get_mut(row) {
            route.pto.on_timeout(now);
            let timeouts = route.pto.count();
            self.doubt_way(now, lent, row, timeouts);
        }
        self.owe(lent, level, row);
        // Who probes one space probes all that wait for an acknowledgment, in the same datagrams.
        let mut others = 0_u8;
        for other in SPACES.into_iter().filter(|other| *other != level) {
            let flight = self.flight_mut(lent, other, row);
            if flight.is_some_and(|flight| flight.last_ack_eliciting().is_some()) {
                self.owe(lent, other, row);
                self.repeat(lent, other, row, 1);
                others = others.saturating_add(1);
            }
        }
        let any = self.repeat(lent, level, row, PROBES.saturating_sub(others).max(1));
        self.free_unowned(lent);
        if !any {
            self.spare_row(lent, level, row);
        }
    }

    /// After so many probe timeouts without an answer: what is marked may be dropped, or what is large.
    fn doubt_way(&mut self, now: Instant, lent: &mut Lent<'_>, row: usize, timeouts: u8) {
        let Some(route) = lent.buffers.routes.get_mut(row) else { return };
        route.ecn.on_pto(timeouts.into());
        if route.mtu.on_pto(now, timeouts) {
            route.congestion.set_mtu(route.mtu.current());
            self.facts.note(Fact::Mtu);
        }
    }

    /// A probe timeout expired: of the path of this route something ack-eliciting is to be sent.
    fn owe(&self, lent: &mut Lent<'_>, level: Level, route: usize) {
        if let Some(path) = lent.buffers.paths.get_mut(path_of(lent, route).index()) {
            path.probes.owe(level);
        }
    }

    /// What up to so many packets of a level carried, the oldest first, is wanted again. Returns whether there was anything.
    fn repeat(&mut self, lent: &mut Lent<'_>, level: Level, row: usize, packets: u8) -> bool {
        for nth in 0..packets {
            let Some(InFlight { flight, rows, table, .. }) = self.in_flight(lent, level, row) else {
                return nth > 0;
            };
            let Some(handle) = flight.repeat_oldest(rows, table) else { return nth > 0 };
            let numbers = flight.numbers();
            self.on_repeated(lent, row, numbers, handle);
        }
        true
    }

    /// What all packets carried that are under way on a route is wanted again, elsewhere.
    pub(super) fn repeat_all(&mut self, lent: &mut Lent<'_>, row: usize) {
        let Some(route) = lent.buffers.routes.get_mut(row) else { return };
        let mut repeated = route.flight.repeat_all(lent.buffers.sent, &mut self.sent, ROWS_FOR_PROBES);
        let (numbers, is_silent) = (route.flight.numbers(), route.flight.last_ack_eliciting().is_none());
        while let Some(handle) = repeated.pop(lent.buffers.sent) {
            self.on_repeated(lent, row, numbers, handle);
        }
        self.free_unowned(lent);
        // With no rows to stand in for what left, nothing would be left that a probe is due for, and the path silent for ever.
        let path = path_of(lent, row);
        if is_silent && row == active(lent, path) {
            want_ping(lent, path);
        }
    }

    /// What a packet carried is wanted again, and what of its size has left the flight is not under way any more.
    fn on_repeated(&mut self, lent: &mut Lent<'_>, row: usize, numbers: Numbers, handle: u16) {
        let left = lent.buffers.sent.get(usize::from(handle)).map_or(0, |row| row.size);
        if let Some(route) = lent.buffers.routes.get_mut(row) {
            route.congestion.on_discarded(left.into());
        }
        self.on_packet_lost(lent, path_of(lent, row), numbers, handle);
    }

    /// When something is due of what is under way on routes that are not in use any more.
    fn next_alarm_elsewhere(&self, lent: &Lent<'_>) -> Deadline {
        if !self.has_others(lent) {
            return Deadline::NEVER;
        }
        let rows = 0..lent.buffers.routes.len();
        let alarms = rows.filter_map(|row| self.alarm_elsewhere(lent, row));
        alarms.map(|(at, _)| Deadline::at(at)).min().unwrap_or_default()
    }

    /// What was sent over a route before it was left is found lost as ever, but not probed for: when the probe timeout
    /// comes, it is sent again over the active route.
    fn on_alarm_elsewhere(&mut self, now: Instant, lent: &mut Lent<'_>) {
        let rows = if self.has_others(lent) { lent.buffers.routes.len() } else { 0 };
        for row in 0..rows {
            match self.alarm_elsewhere(lent, row).filter(|(at, _)| *at <= now) {
                Some((_, Alarm::Loss(_))) => self.look_for_lost(now, lent, Level::OneRtt, row),
                Some((_, Alarm::Probe(_))) => self.lose_flight(lent, Level::OneRtt, row),
                None => {}
            }
        }
    }

    fn alarm_elsewhere(&self, lent: &Lent<'_>, row: usize) -> Option<(Instant, Alarm)> {
        let route = lent.buffers.routes.get(row).filter(|route| !route.flight.is_empty())?;
        if row == active(lent, route.path) {
            return None;
        }
        let situation = Situation {
            confirmed: true,
            blocked: false,
            validated_by_peer: true,
            has_handshake_keys: false,
            max_ack_delay: self.peer.max_ack_delay(),
        };
        route.pto.alarm(&route.rtt, &[(SpaceId::App(PathId::ZERO), &route.flight)], &situation)
    }

    fn alarm(&self, lent: &Lent<'_>, path: PathRow) -> Option<(Instant, Alarm)> {
        let route = lent.buffers.routes.get(active(lent, path))?;
        if self.levels.is_confirmed() && !route.flight.is_watched() {
            return None;
        }
        let flights: [(SpaceId, &Flight); 3] = [
            (SpaceId::App(PathId::ZERO), &route.flight),
            (SpaceId::Initial, &self.initial.flight),
            (SpaceId::Handshake, &self.handshake.flight),
        ];
        // The handshake runs on the first path.
        let in_handshake = path == PathRow::FIRST && self.levels.in_handshake();
        let flights = if in_handshake { &flights[..] } else { flights.split_at(1).0 };
        // A client's first packets have its ClientHello (RFC 9000 17.2.2): while TLS waits for its keys there is nothing to probe with.
        let is_mute = self.levels.can_seal(Level::Initial)
            && self.side.is_client()
            && lent.session.crypto_len(Level::Initial) == 0;
        let situation = Situation {
            confirmed: self.levels.is_confirmed(),
            blocked: is_mute || self.is_blocked(lent, path),
            validated_by_peer: self.is_validated_by_peer(),
            has_handshake_keys: self.levels.can_seal(Level::Handshake),
            max_ack_delay: self.peer.max_ack_delay(),
        };
        route.pto.alarm(&route.rtt, flights, &situation)
    }

    /// A silence of so long is asked about.
    fn liveness_pto(&self, lent: &Lent<'_>) -> Span {
        // One half of the time that the application grants is for the question, the other for the answer.
        let most = Span::from_millis(u64::from(self.suspect_after_ms) / 2);
        self.longest_base_pto(lent).max(LEAST_SILENCE).min(most)
    }

    /// The PTO as RFC 9002 6.2.1 defines it, without the backoff of its timer. Routes and the end of a connection are measured by
    /// it: silence on one route says nothing of another, and nobody waits longer for stragglers because of it.
    pub(super) fn base_pto(&self, lent: &Lent<'_>, path: PathRow) -> Span {
        let route = lent.buffers.routes.get(active(lent, path));
        let base = route.map_or(crate::limits::INITIAL_RTT, |route| route.rtt.pto_base());
        base.saturating_add(self.peer.max_ack_delay())
    }

    /// The shortest probe timeout of the routes that are known: of what the peer may show us anew, the one in use may be the
    /// work of an attacker.
    pub(super) fn quickest_pto(&self, lent: &Lent<'_>) -> Span {
        let routes = lent.buffers.routes.iter().filter(|route| route.is_open());
        let base = routes.map(|route| route.rtt.pto_base()).min().unwrap_or(crate::limits::INITIAL_RTT);
        base.saturating_add(self.peer.max_ack_delay())
    }

    /// The longest of [`Self::base_pto`] of all paths, by which what concerns them all is measured.
    pub(super) fn longest_base_pto(&self, lent: &Lent<'_>) -> Span {
        match self.spoken() {
            Some(_) => self.longest_base_pto_of_paths(lent),
            None => self.base_pto(lent, PathRow::FIRST),
        }
    }

    // Apart, so that who knows of no paths does not call it.
    #[inline(never)]
    fn longest_base_pto_of_paths(&self, lent: &Lent<'_>) -> Span {
        self.open_paths(lent).map(|path| self.base_pto(lent, path)).max().unwrap_or_default()
    }

    /// The current probe timeout of a path.
    pub(super) fn pto(&self, lent: &Lent<'_>, path: PathRow) -> Span {
        let max_ack_delay = if self.levels.is_confirmed() { self.peer.max_ack_delay() } else { Span::ZERO };
        let route = lent.buffers.routes.get(active(lent, path));
        route.map_or(crate::limits::INITIAL_RTT, |route| route.pto.period(&route.rtt, max_ack_delay))
    }
}

const fn level_of(space: SpaceId) -> Level {
    match space {
        SpaceId::Initial => Level::Initial,
        SpaceId::Handshake => Level::Handshake,
        SpaceId::App(_) => Level::OneRtt,
    }
}
