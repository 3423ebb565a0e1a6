//! What becomes of sent packets: an acknowledgment, a loss or a discarded key reaches the owners of what they carried
//! (RFC 9000 13.3, RFC 9002 6, 6.4).

use core::ops::Range;

use super::Lent;
use super::events::Fact;
use super::path::{active, path_of};
use super::receive::Seat;
use super::start::State;
use crate::congestion;
use crate::error::{TransportError, Trap};
use crate::ids::PathRow;
use crate::path::{Role, Route, ecn};
use crate::recovery::ack::decode_delay;
use crate::recovery::sent::take_rest;
use crate::recovery::{
    AckedRanges, AnySpace, Chain, EcnReport, Flight, Lost, Numbers, Rtt, SentPacket, SentTable,
};
use crate::session::Level;
use crate::table::chunk::{Carried, HasChunk};
use crate::table::list::at;
use crate::time::{Instant, Span};
use crate::wire::frame::{Ack, Kind, Kinds};

/// What only streams and flights need to hear of: most packets carry nothing else.
const PLAIN: Kinds = Kinds::NONE
    .with(Kind::Padding)
    .with(Kind::Ping)
    .with(Kind::Ack)
    .with(Kind::PathAck)
    .with(Kind::Crypto)
    .with(Kind::Stream)
    .with(Kind::Datagram);

/// What an ACK frame says, for all flights of its space.
#[derive(Clone, Copy)]
struct Said<'a> {
    ranges: &'a AckedRanges,
    ecn: EcnReport,
    /// The path over which it came.
    over: PathRow,
}

/// The packets of a level that are under way on a route.
pub(super) struct InFlight<'a> {
    pub(super) flight: &'a mut Flight,
    rtt: &'a Rtt,
    pub(super) rows: &'a mut [SentPacket],
    pub(super) table: &'a mut SentTable,
}

impl State {
    /// A call of its own, so that its ranges are on the stack of no other frame.
    #[inline(never)]
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        seat: &Seat,
        of: PathRow,
        ack: &Ack<'_>,
    ) -> Result<(), TransportError> {
        let skipped = match seat.level {
            Level::OneRtt => {
                let path = lent.buffers.paths.get(of.index());
                path.and_then(|path| path.skips.last(path.space.next_pn()?))
            }
            _ => None,
        };
        let mut ranges = AckedRanges::NONE;
        ranges.read(ack.ranges());
        let ecn = self.space_mut(lent, seat.level, of).on_ack(ack, &ranges, skipped)?;
        if seat.level == Level::OneRtt {
            let path = lent.buffers.paths.get(of.index()).trap("an ACK is of a path")?;
            if self.keys.on_acked(&path.phase, seat.key, ack.largest)? {
                self.keys.permit_update(now, self.longest_base_pto(lent));
            }
        }
        // Acknowledgments of the handshake are never delayed (RFC 9000 13.2.1), whatever they claim.
        let delay = match seat.level {
            Level::OneRtt => decode_delay(ack.delay, self.peer.ack_delay_exponent),
            _ => Span::ZERO,
        };
        for route in rows_with_flight(lent, of) {
            if self.has_flight(lent, seat.level, route) && path_of(lent, route) == of {
                // An acknowledgment that came another way than its packet went tells the RTT of neither. Between paths it does: that is
                // how long an answer takes (draft-21 5.4).
                let delay = (seat.route == route || seat.path != of).then_some(delay);
                let said = Said { ranges: &ranges, ecn, over: seat.path };
                self.on_ack_of_flight(now, lent, seat.level, route, &said, delay);
            }
        }
        self.free_unowned(lent);
        Ok(())
    }

    fn on_ack_of_flight(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        level: Level,
        route_row: usize,
        said: &Said<'_>,
        delay: Option<Span>,
    ) {
        let Some(InFlight { flight, rows, .. }) = self.in_flight(lent, level, route_row) else { return };
        let mut acked = flight.on_ack(rows, now, said.ranges);
        let numbers = flight.numbers();
        let confirmed = self.levels.is_confirmed();
        let validated_by_peer = self.is_validated_by_peer();
        let Some(route) = lent.buffers.routes.get_mut(route_row) else { return };
        if let (Some(sample), Some(delay)) = (acked.sample, delay) {
            if core::mem::replace(&mut route.answered_over, said.over) != said.over {
                route.rtt.forget_min();
            }
            route.rtt.on_sample(now, sample, delay, confirmed.then_some(self.peer.max_ack_delay()));
        }
        if let Some(newest) = acked.newest {
            let (bytes, sample, smoothed) = (acked.bytes, acked.sample, route.rtt.smoothed());
            let coupling = self.coupling(lent, route_row);
            self.restore(now, lent, route_row);
            let Some(route) = lent.buffers.routes.get_mut(route_row) else { return };
            route.congestion.on_acked(now, &congestion::Acked { bytes, newest, sample, smoothed, coupling });
            let ce = match said.ecn {
                EcnReport::Stale => 0,
                EcnReport::Increase(growth) => {
                    route.ecn.on_acked(ecn::Acked { marked: acked.ect0.into(), growth: Some(growth) })
                }
                EcnReport::Absent | EcnReport::Backwards => {
                    route.ecn.on_acked(ecn::Acked { marked: acked.ect0.into(), growth: None })
                }
            };
            if ce > 0 {
                route.congestion.on_ce(now, newest);
                route.stats.ce_packets =
                    route.stats.ce_packets.saturating_add(u32::try_from(ce).unwrap_or(u32::MAX));
            }
            route.pto.on_acked(now, validated_by_peer);
        }
        while let Some(handle) = acked.packets.pop(lent.buffers.sent) {
            self.on_packet_acked(now, lent, route_row, numbers, handle);
        }
        self.detect_lost(now, lent, level, route_row);
    }

    /// Looks for lost packets of a level on a route.
    pub(super) fn look_for_lost(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        level: Level,
        route_row: usize,
    ) {
        self.detect_lost(now, lent, level, route_row);
        self.free_unowned(lent);
    }

    fn detect_lost(&mut self, now: Instant, lent: &mut Lent<'_>, level: Level, route_row: usize) {
        let max_ack_delay = self.peer.max_ack_delay();
        let Some(InFlight { flight, rtt, rows, .. }) = self.in_flight(lent, level, route_row) else { return };
        let Lost { mut packets, bytes, ect0, newest, persistent_congestion } =
            flight.detect_lost(rows, now, rtt, max_ack_delay);
        if packets.is_empty() {
            return;
        }
        let numbers = flight.numbers();
        let Some(route) = lent.buffers.routes.get_mut(route_row) else { return };
        route.congestion.on_lost(now, bytes, newest, persistent_congestion);
        for _ in 0..ect0 {
            route.ecn.on_lost();
        }
        if persistent_congestion {
            route.rtt.on_persistent_congestion();
        }
        while let Some(handle) = packets.pop(lent.buffers.sent) {
            self.stats.lost_packets = self.stats.lost_packets.saturating_add(1);
            self.on_route_loss(now, lent, route_row, handle);
            self.on_packet_lost(lent, path_of(lent, route_row), numbers, handle);
        }
    }

    /// What a loss tells of the route.
    fn on_route_loss(&mut self, now: Instant, lent: &mut Lent<'_>, route_row: usize, handle: u16) {
        let (Some(row), Some(route)) =
            (lent.buffers.sent.get(usize::from(handle)), lent.buffers.routes.get_mut(route_row))
        else {
            return;
        };
        route.stats.lost_packets = route.stats.lost_packets.saturating_add(1);
        if row.is_mtu_probe() {
            route.mtu.on_probe_lost(now, row.size);
        } else if route.mtu.on_lost(now, row.size, row.sent(now)) {
            route.congestion.set_mtu(route.mtu.current());
            self.facts.note(Fact::Mtu);
        }
    }

    fn on_packet_acked(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        route_row: usize,
        numbers: Numbers,
        handle: u16,
    ) {
        let Some(row) = lent.buffers.sent.get(usize::from(handle)).copied() else { return };
        let pn = numbers.of(&row);
        if let Some(route) = lent.buffers.routes.get_mut(route_row) {
            if row.is_mtu_probe() {
                let mtu = route.mtu.on_probe_acked(now, row.size);
                route.congestion.set_mtu(mtu);
                self.facts.note(Fact::Mtu);
            } else {
                route.mtu.on_acked(row.size);
            }
        }
        self.on_kinds_acked(now, lent, path_of(lent, route_row), row.kinds, pn);
        let mut next = Some(handle);
        while let Some(handle) = next {
            next = take_rest(lent.buffers.sent, handle);
            match carried(lent, handle) {
                Carried::Nothing => {}
                Carried::Crypto => self.crypto.on_acked(lent.session, lent.buffers.sent, handle),
                _ => self.streams.on_acked(&mut lent.buffers.streams, lent.buffers.sent, handle),
            }
            self.sent.free(lent.buffers.sent, handle);
        }
    }

    fn on_kinds_acked(&mut self, now: Instant, lent: &mut Lent<'_>, over: PathRow, kinds: Kinds, pn: u64) {
        if kinds.are_among(PLAIN) {
            return;
        }
        if kinds.has(Kind::HandshakeDone) {
            self.handshake_done.on_acked();
        }
        if kinds.has(Kind::NewToken) {
            self.token.delivery.on_acked();
        }
        self.on_path_kinds_acked(now, lent, over, kinds, pn);
        for path in self.path_rows() {
            let Some(path) = lent.buffers.paths.get_mut(path.index()) else { return };
            if kinds.has(Kind::NewConnectionId) || kinds.has(Kind::PathNewConnectionId) {
                path.local_cids.on_acked(lent.buffers.local_cids, over, pn);
            }
            if kinds.has(Kind::RetireConnectionId) || kinds.has(Kind::PathRetireConnectionId) {
                path.peer_cids.on_acked(lent.buffers.retirements, over, pn);
            }
        }
    }

    /// What a packet carried is wanted again. Its rows go to the owners of their bytes, or are freed.
    pub(super) fn on_packet_lost(
        &mut self,
        lent: &mut Lent<'_>,
        over: PathRow,
        numbers: Numbers,
        handle: u16,
    ) {
        let Some(row) = lent.buffers.sent.get(usize::from(handle)).copied() else { return };
        let pn = numbers.of(&row);
        self.on_kinds_lost(lent, over, row.kinds, pn);
        let mut next = Some(handle);
        while let Some(handle) = next {
            next = take_rest(lent.buffers.sent, handle);
            let kept = match carried(lent, handle) {
                Carried::Nothing => false,
                Carried::Crypto => self.crypto.on_lost(lent.buffers.sent, handle),
                _ => self.streams.on_lost(&mut lent.buffers.streams, lent.buffers.sent, handle),
            };
            if !kept {
                self.sent.free(lent.buffers.sent, handle);
            }
        }
    }

    fn on_kinds_lost(&mut self, lent: &mut Lent<'_>, over: PathRow, kinds: Kinds, pn: u64) {
        if kinds.are_among(PLAIN) {
            return;
        }
        self.streams.on_kinds_lost(kinds);
        if kinds.has(Kind::HandshakeDone) && !self.handshake_done.is_done() {
            self.handshake_done.on_lost();
        }
        if kinds.has(Kind::NewToken) && !self.token.delivery.is_done() {
            self.token.delivery.on_lost();
        }
        self.on_path_kinds_lost(lent, over, kinds, pn);
        for path in self.path_rows() {
            let Some(path) = lent.buffers.paths.get_mut(path.index()) else { return };
            if kinds.has(Kind::NewConnectionId) || kinds.has(Kind::PathNewConnectionId) {
                path.local_cids.on_lost(lent.buffers.local_cids, over, pn);
            }
            if kinds.has(Kind::RetireConnectionId) || kinds.has(Kind::PathRetireConnectionId) {
                path.peer_cids.on_lost(lent.buffers.retirements, over, pn);
            }
        }
    }

    /// Keys are gone, and with them all that was under way at their level (RFC 9001 4.9, RFC 9002 6.4).
    pub(super) fn discard_level(&mut self, now: Instant, lent: &mut Lent<'_>, level: Level) {
        lent.session.discard(level);
        if level == Level::Initial {
            // The token of a Retry, or one used already, is not for another connection (RFC 9000 8.1.3).
            self.token.len = 0;
        }
        let mut rows = self.crypto.discard(level, lent.buffers.sent);
        while let Some(row) = rows.pop(lent.buffers.sent) {
            self.sent.free(lent.buffers.sent, row);
        }
        if let Some(path) = lent.buffers.paths.first_mut() {
            path.probes.discard(level);
        }
        let route = active(lent, PathRow::FIRST);
        let Some(flight) = self.flight_mut(lent, level, route) else { return };
        let packets = flight.take_all();
        self.drop_packets(lent, route, packets);
        if let Some(route) = lent.buffers.routes.get_mut(route) {
            route.pto.on_keys_discarded(now);
        }
    }

    fn drop_packets(&mut self, lent: &mut Lent<'_>, route_row: usize, mut packets: Chain) {
        let mut bytes = 0_u32;
        while let Some(handle) = packets.pop(lent.buffers.sent) {
            bytes = bytes.saturating_add(at(lent.buffers.sent, handle).map_or(0, |row| row.size.into()));
            let mut next = Some(handle);
            while let Some(handle) = next {
                next = take_rest(lent.buffers.sent, handle);
                self.sent.free(lent.buffers.sent, handle);
            }
        }
        if let Some(route) = lent.buffers.routes.get_mut(route_row) {
            route.congestion.on_discarded(bytes);
        }
    }

    /// After a Retry everything sent so far is sent anew (RFC 9002 6.3).
    pub(super) fn resend_first_flight(&mut self, now: Instant, lent: &mut Lent<'_>) {
        let route = active(lent, PathRow::FIRST);
        self.lose_flight(lent, Level::Initial, route);
        if let Some(route) = lent.buffers.routes.get_mut(route) {
            route.pto.on_keys_discarded(now);
        }
    }

    /// Rows that streams owned and need no more go back to the table.
    pub(super) fn free_unowned(&mut self, lent: &mut Lent<'_>) {
        while let Some(row) = self.streams.take_row(lent.buffers.sent) {
            self.sent.free(lent.buffers.sent, row);
        }
    }

    /// A client knows that the server has validated its address once a Handshake packet was acknowledged (RFC 9002
    /// 6.2.2.1).
    pub(super) fn is_validated_by_peer(&self) -> bool {
        !self.side.is_client() || self.levels.is_confirmed() || self.handshake.space.largest_acked().is_some()
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn space_mut<'a>(
        &'a mut self,
        lent: &'a mut Lent<'_>,
        level: Level,
        path: PathRow,
    ) -> &'a mut AnySpace {
        match (level, lent.buffers.paths.get_mut(path.index())) {
            (Level::Handshake, _) => &mut self.handshake.space,
            (Level::ZeroRtt | Level::OneRtt, Some(path)) => &mut path.space,
            // A connection has a path: it does not begin without one.
            (Level::Initial | Level::ZeroRtt | Level::OneRtt, _) => &mut self.initial.space,
        }
    }

    pub(super) fn flight_mut<'a>(
        &'a mut self,
        lent: &'a mut Lent<'_>,
        level: Level,
        route: usize,
    ) -> Option<&'a mut Flight> {
        self.in_flight(lent, level, route).map(|in_flight| in_flight.flight)
    }

    /// A flight of a route with what is at hand to work on it.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn in_flight<'a>(
        &'a mut self,
        lent: &'a mut Lent<'_>,
        level: Level,
        route: usize,
    ) -> Option<InFlight<'a>> {
        let Route { flight, rtt, .. } = lent.buffers.routes.get_mut(route)?;
        let flight = match level {
            Level::Initial => &mut self.initial.flight,
            Level::Handshake => &mut self.handshake.flight,
            Level::ZeroRtt | Level::OneRtt => flight,
        };
        Some(InFlight { flight, rtt, rows: lent.buffers.sent, table: &mut self.sent })
    }

    /// Whether packets of a level may be under way on a route: those of the handshake only on the active one.
    fn has_flight(&self, lent: &Lent<'_>, level: Level, row: usize) -> bool {
        let in_use = lent.buffers.routes.get(row).is_some_and(|route| route.role != Role::Free);
        in_use && (level == Level::OneRtt || row == active(lent, PathRow::FIRST))
    }
}

/// Rows of routes that packets of a path may be under way on: that of the one in use, or any where it has others.
fn rows_with_flight(lent: &Lent<'_>, path: PathRow) -> Range<usize> {
    let Some(path) = lent.buffers.paths.get(path.index()) else { return 0..0 };
    let active = usize::from(path.active);
    if path.others == 0 { active..active.saturating_add(1) } else { 0..lent.buffers.routes.len() }
}

fn carried(lent: &Lent<'_>, handle: u16) -> Carried {
    at(lent.buffers.sent, handle).map_or(Carried::Nothing, |row| row.chunk().carried())
}
