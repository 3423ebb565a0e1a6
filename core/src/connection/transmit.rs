//! The way out: which route, how much, which levels have something to say, and how packets fill datagrams
//! (RFC 9000 12.2, 14.1, 8.1; RFC 9002 7).

use core::net::SocketAddr;

use super::Lent;
use super::packet::{Allowed, Order};
use super::path::{Path, active, path_of};
use super::start::{Probes, State};
use crate::congestion::Budget;
use crate::ids::{Ecn, FourTuple, PathRow};
use crate::limits::MIN_INITIAL_DATAGRAM;
use crate::path::{Addresses, Route};
use crate::session::Level;
use crate::time::{Deadline, Instant};

/// Datagrams that were written, all over one route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Send from here; an unspecified address is the system's choice.
    pub local: SocketAddr,
    /// Send to there.
    pub remote: SocketAddr,
    /// The adapter's number for the local interface.
    pub interface: u32,
    /// The codepoint for the IP header.
    pub ecn: Ecn,
    /// The flow label for the header of IPv6, or zero for none (RFC 9000 9.7).
    pub flow_label: u32,
    /// The Differentiated Services codepoint for the IP header, six bits: zero unless [`Connection::set_path_dscp`] says otherwise.
    ///
    /// [`Connection::set_path_dscp`]: super::Connection::set_path_dscp
    pub dscp: u8,
    /// Bytes written.
    pub len: usize,
    /// If several datagrams were written: the size of each but the last, which may be smaller.
    pub segment_size: Option<usize>,
}

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
    path: PathRow,
    route: usize,
    allowed: Allowed,
    /// Whether what is not tied to a path goes along.
    shared: bool,
    /// What may be put in flight, in bytes.
    budget: u64,
}

impl Plan {
    /// From where to where. An unspecified local address is the system's choice.
    pub fn on(&self) -> FourTuple {
        self.addresses.get()
    }
}

/// A datagram below this has no room for anything useful: an unvalidated address that may be sent no more is left alone.
const MIN_DATAGRAM: u64 = 64;
/// The levels whose packets may share a datagram, in their order.
const LEVELS: [Level; 3] = [Level::Initial, Level::Handshake, Level::OneRtt];
/// Rows of sent packets that are kept for probes.
pub(super) const ROWS_FOR_PROBES: usize = 2;

impl State {
    pub(super) fn next_transmit(&mut self, now: Instant, lent: &mut Lent<'_>) -> Option<Plan> {
        self.paced_until = Deadline::NEVER;
        if self.lifecycle.is_open()
            && let Some(row) = self.next_to_probe(lent)
        {
            return plan_for(lent, row).map(|plan| Plan { allowed: Allowed::Path, ..plan });
        }
        if self.lifecycle.is_drained() {
            return None;
        }
        if !self.lifecycle.is_open() {
            let path = self.speaking_path(lent);
            let says = self.lifecycle.wants_close() && !self.is_blocked(lent, path);
            return plan_for(lent, active(lent, path)).filter(|_| says);
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
        let mut plan = Plan { shared, ..plan_for(lent, row)? };
        plan.allowed = self.allow(now, lent, &mut plan)?;
        // A network that drops marked packets is not to be taken for one that drops all (RFC 9000 13.4.2): on a new route marks
        // wait until it is known to carry packets without, and no acknowledgment is lost to the test of it.
        let confirmed = self.levels.is_confirmed();
        if let Some(route) = lent.buffers.routes.get_mut(row)
            && (route.validation.is_validated() || !confirmed)
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
                && holds_cid(lent, row)
        })
    }

    /// What may be sent now, if there is anything of it.
    fn allow(&mut self, now: Instant, lent: &mut Lent<'_>, plan: &mut Plan) -> Option<Allowed> {
        let (path, shared) = (plan.path, plan.shared);
        let probes = lent.buffers.paths.get(path.index())?.probes;
        if LEVELS.iter().any(|level| probes.owed(*level) && self.levels.can_seal(*level)) {
            plan.budget = plan.max as u64;
            return Some(Allowed::Probe);
        }
        let (window, paced) = self.window(now, lent, plan.route)?;
        plan.budget = window.min(paced);
        let open = window >= plan.max as u64;
        let wanted = LEVELS.iter().any(|level| self.wants(lent, *level, path, shared));
        if let Some(route) = lent.buffers.routes.get_mut(plan.route) {
            route.congestion.set_app_limited(!wanted);
        }
        let wanted = wanted || LEVELS.iter().any(|level| self.owes_confirmation(now, lent, *level, path));
        if open && wanted && paced >= plan.max as u64 && self.has_rows(lent, plan) {
            return Some(Allowed::All);
        }
        if paced > 0 && self.take_mtu_probe(lent, plan, window) {
            return Some(Allowed::MtuProbe);
        }
        if self.may_overdraw(lent, plan.route) {
            return Some(Allowed::Path);
        }
        LEVELS.iter().any(|level| self.owes_ack(now, lent, *level, path)).then_some(Allowed::AckOnly)
    }

    /// What asks or answers whether the route in use works may exceed the window by one datagram. A peer that heard nothing
    /// because a whole window was lost on a new route would give the route up before a probe is due.
    fn may_overdraw(&self, lent: &Lent<'_>, row: usize) -> bool {
        let congestion = lent.buffers.routes.get(row).map(|route| &route.congestion);
        self.levels.is_confirmed()
            && self.wants_on_route(lent, row)
            && congestion.is_some_and(|congestion| congestion.in_flight() <= congestion.window())
            && self.may_take_rows(lent, row, Allowed::Path)
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

    /// Makes the plan one of an MTU probe if one is wanted.
    fn take_mtu_probe(&mut self, lent: &mut Lent<'_>, plan: &mut Plan, window: u64) -> bool {
        if !self.levels.is_confirmed() || self.sent.room(lent.buffers.sent) <= ROWS_FOR_PROBES {
            return false;
        }
        let route = lent.buffers.routes.get_mut(plan.route);
        let Some(route) = route else { return false };
        // A search that began on another port goes on where nothing was proved yet (RFC 9000 8).
        let allowance = route.amplification.allowance();
        let probe = route.mtu.next_probe();
        let Some(size) = probe.filter(|size| u64::from(*size) <= window.min(allowance)) else { return false };
        plan.max = usize::from(size);
        true
    }

    /// Whether an acknowledgment cannot wait that goes over this path.
    fn owes_ack(&mut self, now: Instant, lent: &mut Lent<'_>, level: Level, over: PathRow) -> bool {
        self.levels.can_seal(level)
            && self.path_rows().any(|path| {
                self.space_mut(lent, level, path).received.due().is_due(now)
                    && self.ack_path(lent, level, path) == over
            })
    }

    /// Whether an acknowledgment that cannot wait should ask to be acknowledged itself (RFC 9000 13.2.4).
    fn owes_confirmation(&mut self, now: Instant, lent: &mut Lent<'_>, level: Level, path: PathRow) -> bool {
        self.owes_ack(now, lent, level, path)
            && self.space_mut(lent, level, path).received.wants_confirmation()
    }

    /// Whether nothing can be sent whatever there is to say: the address may be sent no more until something comes from it, or
    /// the peer has withdrawn all its connection IDs.
    pub(super) fn is_blocked(&self, lent: &Lent<'_>, path: PathRow) -> bool {
        let row = active(lent, path);
        let allowance = lent.buffers.routes.get(row).map_or(0, |route| route.amplification.allowance());
        let long = self.levels.can_seal(Level::Initial) || self.levels.can_seal(Level::Handshake);
        let short = holds_cid(lent, row);
        let down = lent.buffers.routes.get(row).is_some_and(Route::is_down);
        allowance < self.smallest_datagram() || !(long || short) || down
    }

    /// The smallest datagram worth sending. A server's Initial packets want 1,200 bytes (RFC 9000 14.1): what credit there
    /// is for less waits for more.
    fn smallest_datagram(&self) -> u64 {
        let initial = !self.side.is_client() && self.levels.can_seal(Level::Initial);
        if initial { MIN_INITIAL_DATAGRAM as u64 } else { MIN_DATAGRAM }
    }

    /// Whether packets of a level have something to say over a path that counts as in flight.
    fn wants(&self, lent: &Lent<'_>, level: Level, path: PathRow, shared: bool) -> bool {
        if !self.levels.can_seal(level) {
            return false;
        }
        if level != Level::OneRtt {
            return path == PathRow::FIRST && self.crypto.wants_to_send(level, lent.session);
        }
        let own = |path: &Path| path.ping.is_wanted() || path.peer_cids.has_wanted();
        let own = lent.buffers.paths.get(path.index()).is_some_and(own);
        let tied = self.has_ties() && (self.has_copies(path) || self.wants_tied(lent, path, shared));
        own || tied
            || self.wants_on_route(lent, active(lent, path))
            || shared && self.wants_somewhere(lent, Some(path))
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
    fn wants_on_route(&self, lent: &Lent<'_>, row: usize) -> bool {
        let asks = lent.buffers.routes.get(row).is_some_and(|route| route.validation.wants_challenge());
        asks || u8::try_from(row).is_ok_and(|row| self.responses.has_wanted(row))
    }

    /// Whether a packet may take a free row of the sent table. A few are kept for probes, unless nothing is under way that
    /// could be probed for.
    pub(super) fn may_take_rows(&self, lent: &Lent<'_>, route: usize, allowed: Allowed) -> bool {
        let kept = if allowed == Allowed::Probe || is_idle(lent, route) { 0 } else { ROWS_FOR_PROBES };
        self.sent.room(lent.buffers.sent) > kept
    }

    /// Whether a packet of anything finds a row: a free one, or, when nothing is under way, one of what was lost, as far as is known.
    /// What asks or answers whether a route works needs none; a PING does.
    fn has_rows(&self, lent: &Lent<'_>, plan: &Plan) -> bool {
        let may_go_without = || {
            self.wants_data(lent, plan.path, plan.shared)
                || self.streams.wants_control()
                || LEVELS.iter().any(|level| self.crypto.wants_to_send(*level, lent.session))
        };
        self.may_take_rows(lent, plan.route, Allowed::All)
            || is_idle(lent, plan.route)
                && (self.wants_on_route(lent, plan.route) || !self.stuck.has(plan.path) && may_go_without())
    }

    pub(super) fn write(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        plan: &Plan,
        out: &mut [u8],
    ) -> Transmit {
        let size = plan.max.min(out.len());
        let (mut len, mut segment_size, mut budget) = (0_usize, None, plan.budget);
        while let Some(datagram) = out.get_mut(len..len.saturating_add(size)) {
            let written = self.write_datagram(now, lent, plan, datagram);
            if written == 0 {
                break;
            }
            if len > 0 {
                segment_size = Some(size);
            }
            len = len.saturating_add(written);
            budget = budget.saturating_sub(written as u64);
            if let Some(route) = lent.buffers.routes.get_mut(plan.route) {
                route.on_sent(written);
            }
            if written < size || !self.may_go_on(lent, plan, budget) {
                break;
            }
        }
        match plan.allowed {
            Allowed::Close => self.lifecycle.on_close_sent(),
            Allowed::Probe => {
                // With no row left for a PING there is nothing to probe with, and other paths have theirs to say: the next
                // timeout asks again.
                let forgone = len == 0 && !self.may_take_rows(lent, plan.route, plan.allowed);
                if let Some(path) = lent.buffers.paths.get_mut(plan.path.index()) {
                    match len {
                        0 if forgone => path.probes = Probes::NONE,
                        0 => {}
                        _ => path.probes.on_sent(),
                    }
                }
            }
            // What was lost may be too long for a path of a smaller MTU, and with no row it cannot be cut: there may be an
            // acknowledgment to send meanwhile.
            Allowed::All if len == 0 => self.stuck.note(plan.path),
            _ => {}
        }
        self.spend(lent, plan, len);
        if plan.shared && plan.allowed == Allowed::All {
            self.on_shared_sent(now, lent, plan.path, len);
        }
        let FourTuple { local, remote, interface } = plan.on();
        Transmit {
            local,
            remote,
            interface,
            ecn: plan.ecn,
            flow_label: plan.flow_label,
            dscp: plan.dscp,
            len,
            segment_size,
        }
    }

    /// Whether another datagram of the same size may follow in the batch, if there is something to say.
    fn may_go_on(&self, lent: &Lent<'_>, plan: &Plan, budget: u64) -> bool {
        plan.allowed == Allowed::All
            && self.lifecycle.is_open()
            && budget >= plan.max as u64
            && self.levels.is_confirmed()
            && lent.buffers.routes.get(plan.route).is_some_and(|route| route.amplification.is_validated())
            && self.may_take_rows(lent, plan.route, plan.allowed)
            && !self.wants_on_route(lent, plan.route)
    }

    fn spend(&mut self, lent: &mut Lent<'_>, plan: &Plan, len: usize) {
        if matches!(plan.allowed, Allowed::AckOnly | Allowed::Close | Allowed::Path) {
            return;
        }
        if let Some(route) = lent.buffers.routes.get_mut(plan.route) {
            let pace = route.pace();
            route.pacer.on_sent(len as u64, &pace);
        }
    }

    /// Fills one datagram with a packet of each level that has something to say.
    fn write_datagram(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        plan: &Plan,
        datagram: &mut [u8],
    ) -> usize {
        let mut len = 0_usize;
        let mut expand = false;
        for (nth, level) in LEVELS.into_iter().enumerate() {
            if !self.may_speak(now, lent, plan, level) {
                continue;
            }
            if len > 0 && !self.shares_dcid(lent, plan, level) {
                break;
            }
            let later = LEVELS.get(nth.saturating_add(1)..).unwrap_or_default();
            // Who leaves the padding to a later packet must be sure that there will be one.
            let sure = self.sent.room(lent.buffers.sent) > ROWS_FOR_PROBES;
            let more = sure
                && later.iter().any(|level| {
                    self.shares_dcid(lent, plan, *level) && self.may_speak(now, lent, plan, *level)
                });
            expand |= self.must_expand(lent, plan, level);
            let full = datagram.len() >= MIN_INITIAL_DATAGRAM;
            let Some(room) = datagram.get_mut(len..) else { break };
            let target = if expand { MIN_INITIAL_DATAGRAM } else { 0 };
            let pad_to =
                if plan.allowed == Allowed::MtuProbe { room.len() } else { target.saturating_sub(len) };
            let order = Order {
                level,
                path: plan.path,
                route: plan.route,
                allowed: plan.allowed,
                shared: plan.shared,
                ecn: plan.ecn,
                pad_to,
                full,
                more,
            };
            len = len.saturating_add(self.write_packet(now, lent, &order, room));
            // Packet numbers were used up: whatever came before in the datagram stays unsaid as well (RFC 9000 12.3).
            if self.lifecycle.is_drained() {
                return 0;
            }
        }
        len
    }

    /// Packets of one datagram have one destination (RFC 9000 12.2). That of long headers and that of the route differ once
    /// the peer has withdrawn the connection ID of the handshake.
    fn shares_dcid(&self, lent: &Lent<'_>, plan: &Plan, level: Level) -> bool {
        let path = lent.buffers.paths.get(plan.path.index());
        let row = u8::try_from(plan.route).unwrap_or(u8::MAX);
        let dcid = path.and_then(|path| path.peer_cids.of(lent.buffers.peer_cids, row));
        level != Level::OneRtt || dcid.is_some_and(|dcid| *dcid.cid() == self.first_flight.dcid())
    }

    fn may_speak(&mut self, now: Instant, lent: &mut Lent<'_>, plan: &Plan, level: Level) -> bool {
        if !self.levels.can_seal(level) {
            return false;
        }
        match plan.allowed {
            Allowed::Close => true,
            Allowed::MtuProbe | Allowed::Path => level == Level::OneRtt,
            Allowed::AckOnly => self.owes_ack(now, lent, level, plan.path),
            Allowed::All | Allowed::Probe => {
                let probes = lent.buffers.paths.get(plan.path.index()).map(|path| path.probes);
                probes.is_some_and(|probes| probes.owed(level))
                    || self.wants(lent, level, plan.path, plan.shared)
                    || self.owes_ack(now, lent, level, plan.path)
            }
        }
    }

    /// Datagrams that hold an Initial packet, or ask or answer whether the path works, have at least 1,200 bytes
    /// (RFC 9000 14.1, 8.2.1, 8.2.2). A server's that needs no acknowledgment may be smaller.
    fn must_expand(&self, lent: &Lent<'_>, plan: &Plan, level: Level) -> bool {
        match level {
            Level::Initial => self.side.is_client() || matches!(plan.allowed, Allowed::All | Allowed::Probe),
            Level::OneRtt => {
                matches!(plan.allowed, Allowed::All | Allowed::Probe | Allowed::Path)
                    && self.wants_on_route(lent, plan.route)
            }
            Level::ZeroRtt | Level::Handshake => false,
        }
    }
}

/// A plan for a route, of what is yet to be said.
#[cfg_attr(target_os = "none", inline(never))]
fn plan_for(lent: &Lent<'_>, row: usize) -> Option<Plan> {
    let route = lent.buffers.routes.get(row)?;
    let max = u64::from(route.mtu.current()).min(route.amplification.allowance());
    Some(Plan {
        addresses: route.addresses,
        ecn: Ecn::NotEct,
        flow_label: route.flow_label.get(),
        dscp: lent
            .buffers
            .paths
            .get(route.path.index())
            .and_then(|path| path.dscp.get())
            .copied()
            .unwrap_or(0),
        max: usize::try_from(max).ok()?,
        path: path_of(lent, row),
        route: row,
        allowed: Allowed::Close,
        shared: true,
        budget: 0,
    })
}

/// Whether what is sent over a route has a connection ID to go to.
fn holds_cid(lent: &Lent<'_>, row: usize) -> bool {
    let path = lent.buffers.paths.get(path_of(lent, row).index());
    path.is_some_and(|path| {
        u8::try_from(row).is_ok_and(|row| path.peer_cids.of(lent.buffers.peer_cids, row).is_some())
    })
}

/// Whether nothing is under way on a route.
fn is_idle(lent: &Lent<'_>, route: usize) -> bool {
    lent.buffers.routes.get(route).is_some_and(|route| route.congestion.in_flight() == 0)
}
