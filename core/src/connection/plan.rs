//! Where the next datagrams go, how much may be sent there, and which levels have something to say (RFC 9000 8.1; RFC 9002 7).

use super::Lent;
use super::packet::Allowed;
use super::path::{Path, active, path_of};
use super::start::{Probes, State};
use crate::congestion::Budget;
use crate::ids::{Ecn, FourTuple, PathRow};
use crate::limits::MIN_INITIAL_DATAGRAM;
use crate::path::{Addresses, Route};
use crate::session::{Level, LevelSet};
use crate::time::{Deadline, Instant};

/// Where the next datagrams go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    addresses: Addresses,
    /// The codepoint for the IP header.
    pub ecn: Ecn,
    /// The flow label for the header of IPv6, or zero for none (RFC 9000 9.7).
    pub flow_label: u32,
    /// The Differentiated Services codepoint for the IP header.
    pub dscp: u8,
    /// The largest datagram that is to be written, in bytes.
    pub max: usize,
    pub(super) path: PathRow,
    pub(super) route: usize,
    pub(super) allowed: Allowed,
    /// The levels that have something to say in the first of them.
    pub(super) levels: LevelSet,
    /// Whether what is not tied to a path goes along.
    pub(super) shared: bool,
    /// What may be put in flight, in bytes.
    pub(super) budget: u64,
    is_sure: bool,
}

impl Plan {
    /// From where to where. An unspecified local address is the system's choice.
    pub fn on(&self) -> FourTuple {
        self.addresses.get()
    }

    /// Whether something will be written, for who cannot take back a datagram that was begun. What is to be repeated may find no row,
    /// a DATAGRAM frame may turn out too long, a copy of a redundant stream too late, and what an address may be sent that is to be
    /// proved too little.
    pub const fn is_sure(&self) -> bool {
        self.is_sure
    }
}

/// A datagram below this has no room for anything useful: an unvalidated address that may be sent no more is left alone.
const MIN_DATAGRAM: u64 = 64;
const ONE_RTT: LevelSet = LevelSet::of(Level::OneRtt);
/// Rows of sent packets that are kept for probes.
pub(super) const ROWS_FOR_PROBES: usize = 2;

/// What may be sent over a route.
#[derive(Clone, Copy)]
struct Grant {
    allowed: Allowed,
    levels: LevelSet,
    /// The largest datagram, in bytes.
    max: usize,
    /// What may be put in flight in all, in bytes, where the window counts.
    budget: u64,
}

impl State {
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn next_transmit(&mut self, now: Instant, lent: &mut Lent<'_>) -> Option<Plan> {
        self.paced_until = Deadline::NEVER;
        if self.lifecycle.is_open()
            && let Some(row) = self.next_to_probe(lent)
        {
            let grant = Grant { allowed: Allowed::Path, levels: ONE_RTT, max: max_len(lent, row), budget: 0 };
            return plan_for(lent, path_of(lent, row), row, true, grant);
        }
        if self.lifecycle.is_drained() {
            return None;
        }
        if !self.lifecycle.is_open() {
            let path = self.speaking_path(lent);
            if !self.lifecycle.wants_close() || self.is_blocked(lent, path) {
                return None;
            }
            let row = active(lent, path);
            let levels = self.levels.sealable();
            let grant = Grant { allowed: Allowed::Close, levels, max: max_len(lent, row), budget: 0 };
            return plan_for(lent, path, row, true, grant);
        }
        let shared = self.shared_path(now, lent);
        self.path_rows().find_map(|path| self.plan(now, lent, path, shared == Some(path)))
    }

    /// What may be sent over a path now, if there is anything of it. `shared` says whether what is not tied to a path goes
    /// along.
    fn plan(&mut self, now: Instant, lent: &mut Lent<'_>, path: PathRow, shared: bool) -> Option<Plan> {
        if self.is_blocked(lent, path) {
            return None;
        }
        let row = active(lent, path);
        let grant = self.allow(now, lent, path, row, shared)?;
        let mut plan = plan_for(lent, path, row, shared, grant)?;
        let has_row = self.sent.room(lent.buffers.sent) > 0;
        let is_plain = !self.streams.has_ties() && self.datagrams_out.is_empty();
        let route = lent.buffers.routes.get_mut(row)?;
        plan.is_sure = !grant.allowed.in_flight() || has_row && is_plain && !is_cramped(route);
        // A network that drops marked packets is not to be taken for one that drops all (RFC 9000 13.4.2): on a new route marks
        // wait until it is known to carry packets without, and no acknowledgment is lost to the test of it.
        let confirmed = self.levels.is_confirmed();
        if (route.validation.is_validated() || !confirmed)
            && (plan.allowed != Allowed::AckOnly || route.ecn.is_capable())
        {
            plan.ecn = route.ecn.codepoint(now);
        }
        Some(plan)
    }

    /// A route that is not in use and has something to ask or to answer. Such packets are few and small: neither the
    /// window nor the pacer holds them back.
    fn next_to_probe(&self, lent: &Lent<'_>) -> Option<usize> {
        if !self.has_others(lent) {
            return None;
        }
        lent.buffers.routes.iter().enumerate().position(|(row, route)| {
            row != active(lent, route.path)
                && route.is_open()
                && !route.is_down()
                && route.amplification.allowance() >= MIN_DATAGRAM
                && self.wants_on_route(lent, row)
                && holds_cid(lent, route.path, row)
        })
    }

    /// What may be sent now, if there is anything of it.
    fn allow(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        path: PathRow,
        row: usize,
        shared: bool,
    ) -> Option<Grant> {
        let max = max_len(lent, row);
        let probes = lent.buffers.paths.get(path.index())?.probes;
        if !probes.owed().among(self.levels.sealable()).is_none() {
            let levels = self.speaking(now, lent, path, shared);
            return Some(Grant { allowed: Allowed::Probe, levels, max, budget: max as u64 });
        }
        let wanting = self.wanting(lent, path, shared);
        if let Some(route) = lent.buffers.routes.get_mut(row) {
            route.congestion.set_app_limited(wanting.is_none());
        }
        let owing = self.owing(now, lent, path);
        let wanted = !wanting.is_none() || owing.has(Level::OneRtt) && wants_confirmation(lent, path);
        // What is not to be in flight asks neither the window nor the pacer: most often there is only an acknowledgment to send.
        if wanted || self.mtu_probe(lent, row).is_some() {
            let (window, paced) = self.window(now, lent, row)?;
            let budget = window.min(paced);
            let fits = || !self.stuck.has(path) || !lent.buffers.routes.get(row).is_some_and(is_cramped);
            if wanted && budget >= max as u64 && fits() && self.has_rows(lent, path, row, shared) {
                return Some(Grant { allowed: Allowed::All, levels: wanting.with(owing), max, budget });
            }
            let handshake = wanting.without(ONE_RTT);
            let is_stranded = self.is_stranded(handshake) && window < max as u64;
            if is_stranded && fits() && self.has_rows(lent, path, row, shared) {
                let (levels, budget) = (handshake.with(owing), max as u64);
                return Some(Grant { allowed: Allowed::All, levels, max, budget });
            }
            let probe = self.mtu_probe(lent, row).filter(|size| paced > 0 && u64::from(*size) <= window);
            if let Some(size) = probe {
                return Some(Grant { allowed: Allowed::MtuProbe, levels: ONE_RTT, max: size.into(), budget });
            }
        }
        if self.may_overdraw(lent, path, row) {
            return Some(Grant { allowed: Allowed::Path, levels: ONE_RTT, max, budget: 0 });
        }
        (!owing.is_none()).then_some(Grant { allowed: Allowed::AckOnly, levels: owing, max, budget: 0 })
    }

    /// The levels that have something to say, be it that they are probed.
    pub(super) fn speaking(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        path: PathRow,
        shared: bool,
    ) -> LevelSet {
        let probes = lent.buffers.paths.get(path.index()).map_or(Probes::NONE, |path| path.probes);
        let probed = probes.owed().among(self.levels.sealable());
        self.wanting(lent, path, shared).with(probed).with(self.owing(now, lent, path))
    }

    /// The levels whose packets have something to say that counts as in flight.
    fn wanting(&self, lent: &Lent<'_>, path: PathRow, shared: bool) -> LevelSet {
        let wants_crypto = |level| path == PathRow::FIRST && self.crypto.wants_to_send(level, lent.session);
        let sealable = self.levels.sealable();
        let handshake = sealable.without(ONE_RTT).that(wants_crypto);
        let wanted = sealable.has(Level::OneRtt) && self.wants(lent, path, shared);
        if wanted { handshake.with(ONE_RTT) } else { handshake }
    }

    /// The levels that owe an acknowledgment over a path.
    fn owing(&mut self, now: Instant, lent: &mut Lent<'_>, path: PathRow) -> LevelSet {
        let levels = self.levels.sealable();
        let is_due = |level| self.space_mut(lent, level, path).received.due().is_due(now);
        let first = if path == PathRow::FIRST { levels } else { LevelSet::NONE };
        let handshake = first.without(ONE_RTT).that(is_due);
        let owed = levels.has(Level::OneRtt) && self.owes_ack(now, lent, path);
        if owed { handshake.with(ONE_RTT) } else { handshake }
    }

    /// What asks or answers whether the route in use works may exceed the window by one datagram. A peer that heard nothing
    /// because a whole window was lost on a new route would give the route up before a probe is due. Nor does a window that was
    /// full when the peer fell silent keep a PING back on a route that is suspect.
    fn may_overdraw(&self, lent: &Lent<'_>, path: PathRow, row: usize) -> bool {
        let Some(route) = lent.buffers.routes.get(row) else { return false };
        let has_row =
            || self.sent.room(lent.buffers.sent) > 0 || route.flight.ends_in_question(lent.buffers.sent);
        let asks_again = || {
            let path = lent.buffers.paths.get(path.index());
            route.is_suspect() && path.is_some_and(|path| path.ping.is_wanted()) && has_row()
        };
        let in_window = || route.congestion.in_flight() <= route.congestion.window();
        let asks = || self.wants_on_route(lent, row) && in_window();
        self.levels.is_confirmed() && (asks() || asks_again())
    }

    /// Whether nothing of the handshake is under way, though these levels of it have something to say. Early 1-RTT packets may fill the
    /// window then: nobody acknowledges them, nor are they probed for, before the handshake is confirmed (RFC 9002 6.2.1). So a
    /// datagram of it goes as a probe would, which no window holds back (RFC 9002 7.5).
    const fn is_stranded(&self, handshake: LevelSet) -> bool {
        !handshake.is_none() && !self.initial.flight.is_watched() && !self.handshake.flight.is_watched()
    }

    /// What the congestion window and the pacer let out.
    fn window(&mut self, now: Instant, lent: &mut Lent<'_>, row: usize) -> Option<(u64, u64)> {
        let route = lent.buffers.routes.get_mut(row)?;
        let pace = route.pace();
        let paced = match route.pacer.budget(now, &pace) {
            Budget::Bytes(bytes) => bytes,
            Budget::Until(until) => {
                self.paced_until = self.paced_until.min(Deadline::at(until));
                0
            }
        };
        Some((u64::from(route.congestion.available()), paced))
    }

    /// The size of an MTU probe, if one is wanted.
    fn mtu_probe(&self, lent: &Lent<'_>, row: usize) -> Option<u16> {
        let route = lent.buffers.routes.get(row)?;
        let size = route.mtu.next_probe()?;
        // A search that began on another port goes on where nothing was proved yet (RFC 9000 8).
        let allowed = u64::from(size) <= route.amplification.allowance();
        let has_row = || self.sent.room(lent.buffers.sent) > ROWS_FOR_PROBES;
        (allowed && self.levels.is_confirmed() && has_row()).then_some(size)
    }

    /// Whether an acknowledgment of 1-RTT packets cannot wait that goes over this path.
    fn owes_ack(&self, now: Instant, lent: &Lent<'_>, over: PathRow) -> bool {
        let is_due = |path: &Path| path.space.received.due().is_due(now);
        self.path_rows().any(|row| {
            lent.buffers.paths.get(row.index()).is_some_and(is_due)
                && self.ack_path(lent, Level::OneRtt, row) == over
        })
    }

    /// Whether nothing can be sent whatever there is to say: the address may be sent no more until something comes from it, or
    /// the peer has withdrawn all its connection IDs.
    pub(super) fn is_blocked(&self, lent: &Lent<'_>, path: PathRow) -> bool {
        let Some(path) = lent.buffers.paths.get(path.index()) else { return true };
        let Some(route) = lent.buffers.routes.get(usize::from(path.active)) else { return true };
        route.is_down()
            || route.amplification.allowance() < self.smallest_datagram()
            || !(self.levels.in_handshake()
                || path.peer_cids.of(lent.buffers.peer_cids, path.active).is_some())
    }

    /// The smallest datagram worth sending. A server's Initial packets want 1,200 bytes (RFC 9000 14.1): what credit there
    /// is for less waits for more.
    fn smallest_datagram(&self) -> u64 {
        let initial = !self.side.is_client() && self.levels.can_seal(Level::Initial);
        if initial { MIN_INITIAL_DATAGRAM as u64 } else { MIN_DATAGRAM }
    }

    /// Whether 1-RTT packets have something to say over a path that counts as in flight.
    fn wants(&self, lent: &Lent<'_>, path: PathRow, shared: bool) -> bool {
        let Some(own) = lent.buffers.paths.get(path.index()) else { return false };
        own.ping.is_wanted()
            || own.peer_cids.has_wanted()
            || shared && self.wants_somewhere(lent, Some(path))
            || self.has_ties() && (self.has_copies(path) || self.wants_tied(lent, path, shared))
            || self.wants_on_route(lent, usize::from(own.active))
    }

    /// Whether there is something to say that is tied to no path, over this one, or over whichever it may be.
    pub(super) fn wants_somewhere(&self, lent: &Lent<'_>, path: Option<PathRow>) -> bool {
        let has_others = self.spoken().is_some();
        let cids = |row: PathRow| {
            lent.buffers.paths.get(row.index()).is_some_and(|path| {
                let elsewhere = || path.peer_cids.has_wanted() && !self.carries(lent, row);
                path.local_cids.has_wanted() || has_others && elsewhere()
            })
        };
        let over = self.over(lent, path, true);
        self.streams.wants_to_send(&lent.buffers.streams, &over)
            || self.wants_datagram(lent, &over)
            || self.crypto.wants_to_send(Level::OneRtt, lent.session)
            || self.handshake_done.is_wanted()
            || self.token.delivery.is_wanted()
            || self.wants_paths(lent)
            || self.path_rows().any(cids)
    }

    /// Whether there is something to say over a path that may be tied to it.
    fn wants_tied(&self, lent: &Lent<'_>, path: PathRow, shared: bool) -> bool {
        let over = self.over(lent, Some(path), shared);
        self.streams.wants_data(&lent.buffers.streams, &over) || self.wants_datagram(lent, &over)
    }

    /// Whether streams have bytes to send over a path.
    pub(super) fn wants_data(&self, lent: &Lent<'_>, path: PathRow, shared: bool) -> bool {
        self.streams.wants_data(&lent.buffers.streams, &self.over(lent, Some(path), shared))
    }

    /// Whether the route itself has something to ask or to answer.
    pub(super) fn wants_on_route(&self, lent: &Lent<'_>, row: usize) -> bool {
        let asks = lent.buffers.routes.get(row).is_some_and(|route| route.validation.wants_challenge());
        asks || u8::try_from(row).is_ok_and(|row| self.responses.has_wanted(row))
    }

    /// Whether a packet may take a free row of the sent table. A few are kept for probes, unless nothing is under way that
    /// could be probed for.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn may_take_rows(&self, lent: &Lent<'_>, route: usize, allowed: Allowed) -> bool {
        let kept = if allowed == Allowed::Probe || is_idle(lent, route) { 0 } else { ROWS_FOR_PROBES };
        self.sent.room(lent.buffers.sent) > kept
    }

    /// Whether a packet of anything finds a row: a free one, or, when nothing is under way, one of what was lost, as far as is known.
    /// What asks or answers whether a route works needs none; a PING does. The handshake takes any row: until it is over nobody
    /// acknowledges the 1-RTT packets that hold the others, nor are they probed for (RFC 9002 6.2.1).
    fn has_rows(&self, lent: &Lent<'_>, path: PathRow, row: usize, shared: bool) -> bool {
        let may_go_without = || {
            self.wants_data(lent, path, shared)
                || self.streams.wants_control()
                || self.levels.sealable().iter().any(|level| self.crypto.wants_to_send(level, lent.session))
        };
        let shakes_hands = || {
            let mut handshake = self.levels.sealable().without(ONE_RTT).iter();
            path == PathRow::FIRST && handshake.any(|level| self.crypto.wants_to_send(level, lent.session))
        };
        self.may_take_rows(lent, row, Allowed::All)
            || is_idle(lent, row) && self.wants_on_route(lent, row)
            || !self.stuck.has(path) && (shakes_hands() || is_idle(lent, row) && may_go_without())
    }
}

/// A plan for a path's route.
#[cfg_attr(target_os = "none", inline(never))]
fn plan_for(lent: &Lent<'_>, path: PathRow, row: usize, shared: bool, grant: Grant) -> Option<Plan> {
    let route = lent.buffers.routes.get(row)?;
    let dscp = lent.buffers.paths.get(path.index())?.dscp.get();
    Some(Plan {
        addresses: route.addresses,
        ecn: Ecn::NotEct,
        flow_label: route.flow_label.get(),
        dscp: dscp.copied().unwrap_or(0),
        max: grant.max,
        path,
        route: row,
        allowed: grant.allowed,
        levels: grant.levels,
        shared,
        budget: grant.budget,
        is_sure: true,
    })
}

/// The largest datagram that may be sent over a route.
fn max_len(lent: &Lent<'_>, row: usize) -> usize {
    let max = |route: &Route| u64::from(route.mtu.current()).min(route.amplification.allowance());
    lent.buffers.routes.get(row).map_or(0, |route| usize::try_from(max(route)).unwrap_or(0))
}

/// Whether a route may be sent less than a whole datagram until something comes over it (RFC 9000 8.1): a frame that cannot be cut may
/// not fit.
fn is_cramped(route: &Route) -> bool {
    route.amplification.allowance() < u64::from(route.mtu.current())
}

/// Whether what is sent over a route of a path has a connection ID to go to.
fn holds_cid(lent: &Lent<'_>, path: PathRow, row: usize) -> bool {
    let path = lent.buffers.paths.get(path.index());
    path.is_some_and(|path| {
        u8::try_from(row).is_ok_and(|row| path.peer_cids.of(lent.buffers.peer_cids, row).is_some())
    })
}

/// Whether an acknowledgment that cannot wait should ask to be acknowledged itself (RFC 9000 13.2.4).
fn wants_confirmation(lent: &Lent<'_>, path: PathRow) -> bool {
    lent.buffers.paths.get(path.index()).is_some_and(|path| path.space.received.wants_confirmation())
}

/// Whether nothing is under way on a route.
fn is_idle(lent: &Lent<'_>, route: usize) -> bool {
    lent.buffers.routes.get(route).is_some_and(|route| route.congestion.in_flight() == 0)
}
