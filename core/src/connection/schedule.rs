//! Which path carries what is tied to none, and what becomes of it when a path falls silent (draft-21 5.5, 5.7).

use core::iter::once;
use core::num::NonZeroU8;

use super::Lent;
use super::multipath::{AckReturn, Spoken};
use super::path::{Path, active, is_open, is_suspect, is_unproved};
use super::start::State;
use crate::congestion::{Budget, Coupling};
use crate::ids::{PathId, PathRow};
use crate::limits::MAX_PATHS;
use crate::path::failover::{Waiting, given_up_at, last_silent_at, silent_at};
use crate::path::schedule::{Choice, Facts, Scheduler, leave_suspects, next_wait};
use crate::path::{Availability, Health, Route, Told};
use crate::session::Level;
use crate::stream::tie::{Over, Paths};
use crate::time::{Deadline, Instant, Span};
use crate::wire::PacketWriter;
use crate::wire::dialect::AbandonCode;

/// A path over which nothing came for so long is asked before it is used: there are NATs that forget UDP after half a minute.
const SLEEP: Span = Span::from_secs(30);
/// No path has this ID.
const NO_PATH: PathId = PathId(u32::MAX);

const NOTHING: Facts = Facts {
    path: PathId::ZERO,
    usable: false,
    suspect: false,
    local: Availability::Unknown,
    peer: Availability::Unknown,
    smoothed_rtt: Span::ZERO,
    min_rtt: Span::ZERO,
    rtt_variation: Span::ZERO,
    window: 0,
    slow_start: false,
    in_flight: 0,
    room: 0,
    wait: Span::ZERO,
    mtu: 0,
    lost_permille: 0,
    weight: NonZeroU8::MIN,
    backlog: 0,
};

impl State {
    /// The path that carries what is tied to none, if there is anything of it and one that has room.
    pub(super) fn shared_path(&mut self, now: Instant, lent: &mut Lent<'_>) -> Option<PathRow> {
        if !self.has_choice(lent) || !self.levels.is_confirmed() {
            return Some(self.main);
        }
        if !self.wants_somewhere(lent, None) {
            return None;
        }
        let mut facts = self.facts_of_paths(now, lent);
        let mut choice = self.choose(&facts);
        if let Choice::Path(row) = choice
            && is_asleep(now, lent, PathRow::new(row))
        {
            self.wake(now, lent, PathRow::new(row));
            for (row, facts) in self.path_rows().zip(&mut facts) {
                facts.usable &= !is_asleep(now, lent, row);
            }
            // Where no other can be used the question goes with the data: that loses no time.
            choice = Some(self.choose(&facts)).filter(|awake| *awake != Choice::None).unwrap_or(choice);
        }
        match choice {
            Choice::Path(row) => Some(PathRow::new(row)),
            Choice::Wait => {
                let wait = next_wait(&facts).map(|wait| now.after(wait));
                self.paced_until = self.paced_until.min(wait.into());
                None
            }
            // None was validated yet, or none can be sent from: whatever the first one can do is better than nothing.
            Choice::None => Some(self.main),
        }
    }

    fn choose(&self, facts: &[Facts]) -> Choice {
        self.spoken().map_or(Choice::None, |spoken| spoken.terms.scheduler.choose(&spoken.scheduling, facts))
    }

    /// Whether a path still works is asked anew.
    fn wake(&self, now: Instant, lent: &mut Lent<'_>, path: PathRow) {
        let pto = self.base_pto(lent, path);
        let route = lent.buffers.routes.get_mut(active(lent, path));
        if let Some(route) = route.filter(|route| !route.validation.is_running()) {
            route.validation.start(now, pto);
        }
    }

    /// A datagram with what is tied to no path went over this one.
    pub(super) fn on_shared_sent(&mut self, now: Instant, lent: &mut Lent<'_>, path: PathRow, bytes: usize) {
        if !self.spoken().is_some_and(|spoken| matches!(spoken.terms.scheduler, Scheduler::Weighted)) {
            return;
        }
        let facts = self.facts_of_paths(now, lent);
        let Some(spoken) = self.spoken_mut() else { return };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        spoken.terms.scheduler.on_sent(&mut spoken.scheduling, &facts, path.index(), bytes);
    }

    fn facts_of_paths(&self, now: Instant, lent: &mut Lent<'_>) -> [Facts; MAX_PATHS] {
        let mut all = [NOTHING; MAX_PATHS];
        let backlog = self.streams.backlog(&lent.buffers.streams);
        for (row, facts) in self.path_rows().zip(&mut all) {
            if is_open(lent, row) {
                let usable = self.is_usable(lent, row);
                *facts = Facts { usable, backlog, ..facts_of(now, lent, row).unwrap_or(NOTHING) };
            }
        }
        leave_suspects(&mut all);
        all
    }

    /// Whether a path may carry data: a server's only once its client was reached over it (draft-21 3.1), and a client waits for
    /// that too.
    fn is_usable(&self, lent: &Lent<'_>, path: PathRow) -> bool {
        let route = lent.buffers.routes.get(active(lent, path));
        !self.is_blocked(lent, path) && route.is_some_and(|route| route.validation.is_validated())
    }

    /// The path over which the peer is most likely to hear: one that carries, or one that can be sent over at all.
    pub(super) fn speaking_path(&self, lent: &Lent<'_>) -> PathRow {
        let carrying = self.open_paths(lent).find(|path| self.carries(lent, *path));
        let speaking = || self.open_paths(lent).find(|path| !self.is_blocked(lent, *path));
        carrying.or_else(speaking).or_else(|| self.open_paths(lent).next()).unwrap_or(self.main)
    }

    /// Whether something may be tied to a path, or was.
    pub(super) const fn has_ties(&self) -> bool {
        self.streams.has_ties() || self.spoken().is_some() && !self.datagrams_out.is_empty()
    }

    /// What streams are to know of a packet of this path, or of any; `chosen` is whether it takes what is tied to none.
    pub(super) fn over(&self, lent: &Lent<'_>, path: Option<PathRow>, chosen: bool) -> Over {
        let plain = if chosen { Over::Any } else { Over::Nothing };
        let Some(spoken) = self.spoken() else { return plain };
        // Nobody is sent data before the peer was reached there, be it the only path left (draft-21 3.1).
        if path.is_some_and(|row| is_unproved(lent, row)) {
            return Over::Nothing;
        }
        if !self.has_ties() {
            return plain;
        }
        let dialect = spoken.dialect;
        let id = |row: PathRow| lent.buffers.paths.get(row.index()).map_or(NO_PATH, Path::id);
        let (mut open, mut working) = (Paths::NONE, Paths::NONE);
        for row in self.open_paths(lent) {
            open.add(id(row));
            if self.carries(lent, row) {
                working.add(id(row));
            }
        }
        Over::Path { dialect, path: path.map_or(NO_PATH, id), chosen, open, working }
    }

    /// What was written for a path, if anything was, goes over the others that work too, if it is of a redundant stream.
    pub(super) fn copy(&mut self, lent: &Lent<'_>, path: PathRow, written: Option<u16>) {
        let Some(row) = written.filter(|_| self.has_ties()) else { return };
        let Some(mut copies) = self.spoken().map(|spoken| spoken.copies) else { return };
        let others = self.open_paths(lent).filter(|other| *other != path && self.carries(lent, *other));
        self.streams.copy(&lent.buffers.streams, lent.buffers.sent, row, &mut copies, others);
        if let Some(spoken) = self.spoken_mut() {
            spoken.copies = copies;
        }
    }

    /// Whether copies of redundant streams wait for a path.
    pub(super) fn has_copies(&self, path: PathRow) -> bool {
        self.spoken().is_some_and(|spoken| spoken.copies.has(path))
    }

    /// Writes copies of redundant streams.
    pub(super) fn contribute_copies(
        &mut self,
        lent: &mut Lent<'_>,
        path: PathRow,
        out: &mut PacketWriter<'_>,
    ) {
        if !self.has_copies(path) {
            return;
        }
        let Some(mut copies) = self.spoken().map(|spoken| spoken.copies) else { return };
        self.streams.write_copies(&mut lent.buffers.streams, &mut copies, path, out);
        if let Some(spoken) = self.spoken_mut() {
            spoken.copies = copies;
        }
    }

    /// Whether a path carries what is its own: it may carry data, and answers.
    pub(super) fn carries(&self, lent: &Lent<'_>, path: PathRow) -> bool {
        self.is_usable(lent, path) && !is_suspect(lent, path)
    }

    /// The path over which acknowledgments of a path's packets return. Those of the handshake have one way only, and what is owed
    /// on a path that does not answer, or was abandoned, goes over another.
    pub(super) fn ack_path(&self, lent: &Lent<'_>, level: Level, path: PathRow) -> PathRow {
        match self.spoken() {
            Some(spoken) if level == Level::OneRtt => self.way_back(lent, spoken, path),
            _ => PathRow::FIRST,
        }
    }

    // Apart, so that who knows of no paths does not call it.
    #[inline(never)]
    fn way_back(&self, lent: &Lent<'_>, spoken: &Spoken, path: PathRow) -> PathRow {
        let serves = |path: &PathRow| !self.is_blocked(lent, *path) && !is_suspect(lent, *path);
        if spoken.terms.acks == AckReturn::SamePath && serves(&path) {
            return path;
        }
        let rtt =
            |path: &PathRow| lent.buffers.routes.get(active(lent, *path)).map(|route| route.rtt.smoothed());
        let serving = self.open_paths(lent).filter(serves);
        let fastest = serving.filter(|path| self.is_usable(lent, *path)).min_by_key(rtt);
        // Where none is known to work, any that can be sent over is better than silence.
        let speaking = || once(path).chain(self.open_paths(lent)).find(|path| !self.is_blocked(lent, *path));
        fastest.or_else(speaking).unwrap_or(self.main)
    }

    /// When a path is to be taken for silent, or to be given up.
    pub(super) fn next_failover(&self, lent: &Lent<'_>, path: PathRow) -> Deadline {
        let Some(route) = lent.buffers.routes.get(active(lent, path)) else { return Deadline::NEVER };
        let Some(spoken) = self.spoken() else { return Deadline::NEVER };
        if route.is_suspect() || route.is_down() {
            return given_up_at(route.since, self.works_elsewhere(lent, path), spoken.terms.patience());
        }
        // Of a path that is being opened more is known by its validation.
        if !self.has_choice(lent) || is_unproved(lent, path) {
            return Deadline::NEVER;
        }
        let max_ack_delay = self.peer.max_ack_delay();
        let waiting = Waiting {
            oldest: route.flight.oldest(lent.buffers.sent),
            progress: route.pto.progress().max(route.since),
            answer: route.rtt.loss_delay().saturating_add(max_ack_delay),
            pto: self.base_pto(lent, path),
        };
        match self.works_elsewhere(lent, path) {
            Some(_) => silent_at(&waiting, spoken.terms.failover()),
            None => last_silent_at(&waiting),
        }
    }

    /// Since when another path works, if one does.
    pub(super) fn works_elsewhere(&self, lent: &Lent<'_>, path: PathRow) -> Option<Instant> {
        let others = self.open_paths(lent).filter(|other| *other != path && self.is_usable(lent, *other));
        let routes = others.filter_map(|other| lent.buffers.routes.get(active(lent, other)));
        routes.filter(|route| route.health == Health::Works).map(|route| route.since).min()
    }

    pub(super) fn on_failover(&mut self, now: Instant, lent: &mut Lent<'_>, path: PathRow) {
        if !self.next_failover(lent, path).is_due(now) {
            return;
        }
        match lent.buffers.routes.get(active(lent, path)).map(|route| route.health) {
            Some(Health::Works) => {
                mark_suspect(now, lent, path);
                if self.works_elsewhere(lent, path).is_some() {
                    self.repeat_all(lent, active(lent, path));
                }
                self.leave_ill_route(now, lent, path);
            }
            Some(Health::Suspect | Health::Down) => self.abandon_path(now, lent, path, AbandonCode::Unstable),
            None => {}
        }
    }

    /// How the window of a route grows beside those of the other paths.
    pub(super) fn coupling(&self, lent: &Lent<'_>, row: usize) -> Coupling {
        let (Some(spoken), Some(own)) = (self.spoken(), lent.buffers.routes.get(row)) else {
            return Coupling::Alone;
        };
        let others = self.open_paths(lent).map(|path| active(lent, path)).filter(|other| *other != row);
        let others = others.filter_map(|other| lent.buffers.routes.get(other));
        // What is not answered takes nothing from anybody.
        let others = others
            .filter(|other| other.health == Health::Works)
            .map(|other| (&other.congestion, other.rtt.smoothed()));
        own.congestion.coupling(spoken.terms.coupled, own.rtt.smoothed(), others)
    }

    /// A packet that was sent over a route was acknowledged, or its challenge answered: it works, if large datagrams get through too.
    pub(super) fn restore(&mut self, now: Instant, lent: &mut Lent<'_>, row: usize) {
        let ill = |route: &&mut Route| route.is_suspect() && route.validation.is_validated();
        let Some(route) = lent.buffers.routes.get_mut(row).filter(ill) else { return };
        route.turn(now, Health::Works);
        let id = route.path;
        let Some(path) =
            lent.buffers.paths.get_mut(id.index()).filter(|path| usize::from(path.active) == row)
        else {
            return;
        };
        path.on_restored();
        self.rescue(lent);
    }

    /// A path begins to work: what went over those that do not goes over it too.
    pub(super) fn rescue(&mut self, lent: &mut Lent<'_>) {
        if !self.has_choice(lent) {
            return;
        }
        for path in self.path_rows() {
            let row = active(lent, path);
            if lent.buffers.routes.get(row).is_some_and(|route| route.health != Health::Works) {
                self.repeat_all(lent, row);
            }
        }
    }
}

/// Whether so long ago was anything heard over a path, or acknowledged of it, that it need not work any more.
fn is_asleep(now: Instant, lent: &Lent<'_>, path: PathRow) -> bool {
    let route = lent.buffers.routes.get(active(lent, path));
    route.is_some_and(|route| now.since(route.last_packet.max(route.pto.progress())) >= SLEEP)
}

/// What is sent over the route in use of a path is not answered. Told when that begins.
pub(super) fn mark_suspect(now: Instant, lent: &mut Lent<'_>, path: PathRow) {
    let route = lent.buffers.routes.get_mut(active(lent, path)).filter(|route| !route.is_down());
    if let Some(route) = route
        && route.turn(now, Health::Suspect)
    {
        route.told.note(Told::SUSPECT);
        if let Some(path) = lent.buffers.paths.get_mut(path.index()) {
            path.on_suspect();
        }
    }
}

fn facts_of(now: Instant, lent: &mut Lent<'_>, row: PathRow) -> Option<Facts> {
    let path = lent.buffers.paths.get(row.index())?;
    let beside = path.beside.get()?;
    let route = lent.buffers.routes.get_mut(usize::from(path.active))?;
    let pace = route.pace();
    let wait = match route.pacer.budget(now, &pace) {
        Budget::Bytes(_) => Span::ZERO,
        Budget::Until(until) => until.since(now),
    };
    Some(Facts {
        path: beside.id,
        usable: false,
        suspect: route.is_suspect(),
        local: beside.status.ours(),
        peer: beside.status.peers(),
        smoothed_rtt: route.rtt.smoothed(),
        min_rtt: route.rtt.min(),
        rtt_variation: route.rtt.variation(),
        window: route.congestion.window(),
        slow_start: route.congestion.is_slow_start(),
        in_flight: route.congestion.in_flight(),
        // Less than a datagram is no room.
        room: Some(route.congestion.available())
            .filter(|room| *room >= route.mtu.current().into())
            .unwrap_or(0),
        wait,
        mtu: route.mtu.current(),
        lost_permille: route.stats.lost_permille(),
        weight: NonZeroU8::MIN.saturating_add(beside.weight_beyond_one),
        backlog: 0,
    })
}
