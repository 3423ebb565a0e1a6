//! The way out: how packets of the levels fill datagrams (RFC 9000 12.2, 14.1).

use core::net::SocketAddr;

use super::Lent;
use super::packet::{Allowed, Order};
use super::plan::{Plan, ROWS_FOR_PROBES};
use super::start::{Probes, State};
use crate::ids::{Ecn, FourTuple};
use crate::limits::MIN_INITIAL_DATAGRAM;
use crate::session::{Level, LevelSet};
use crate::time::Instant;

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

impl State {
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
            let levels =
                if len == 0 { plan.levels } else { self.speaking(now, lent, plan.path, plan.shared) };
            let written = self.write_datagram(now, lent, plan, levels, datagram);
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
            // What was lost may be too long for a path of a smaller MTU, and with no row it cannot be cut; and an address that is
            // to be proved may be sent too little for what is wanted. There may be an acknowledgment to send meanwhile.
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
        levels: LevelSet,
        datagram: &mut [u8],
    ) -> usize {
        let mut len = 0_usize;
        let mut expand = false;
        for level in levels.iter() {
            // With the first Handshake packet a client's Initial keys are gone (RFC 9001 4.9.1).
            if !self.levels.can_seal(level) {
                continue;
            }
            if len > 0 && !self.shares_dcid(lent, plan, level) {
                break;
            }
            // Who leaves the padding to a later packet must be sure that there will be one.
            let sure = self.sent.room(lent.buffers.sent) > ROWS_FOR_PROBES;
            let more = sure && levels.after(level).iter().any(|level| self.shares_dcid(lent, plan, level));
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
