//! The way in: a datagram becomes packets, a packet is opened, its frames reach their owners (RFC 9000 5.2, 12.2, 12.3).
//!
//! Nothing that can be forged makes state: before the AEAD has spoken, only the counters of a known route change. The
//! duplicate test comes after it too, so that its time tells nothing (RFC 9001 9.5).

use super::Lent;
use super::path::{PathSet, active, is_open, path_of};
use super::start::State;
use crate::cid::{local, peer};
use crate::error::{Refusal, Why};
use crate::handshake::keys::Opened;
use crate::ids::{Ecn, FourTuple, PathRow, Side};
use crate::lifecycle::Close;
use crate::limits::{MIN_INITIAL_DATAGRAM, SAMPLE_LEN};
use crate::path::{Addresses, Route};
use crate::session::{Key, KeyError, Level};
use crate::time::{Instant, Span};
use crate::wire::frame::{Frame, Frames, Kind};
use crate::wire::header::{Coalesced, FirstByte, Header, PacketType};
use crate::wire::packet_number::Truncated;
use crate::wire::reset;

/// Where a packet came from and what protected it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) level: Level,
    pub(super) key: Key,
    /// The row of the path.
    pub(super) path: PathRow,
    /// The row of the route. There is no such row if the path has been abandoned.
    pub(super) route: usize,
    /// The number of the connection ID of ours that it was addressed to, if that has one.
    pub(super) addressed_to: Option<u64>,
}

impl State {
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        on: FourTuple,
        ecn: Ecn,
        datagram: &mut [u8],
    ) {
        if self.lifecycle.is_drained() {
            return;
        }
        self.stuck = PathSet::NONE;
        // Built where it stays: it is copied byte by byte.
        let mut origin = Origin { seen: Addresses::new(&on), found: None, route: None, is_credited: false };
        origin.found = lent.buffers.routes.iter().position(|route| route.takes(&origin.seen));
        // A client ignores packets from where it sent nothing (RFC 9000 9), unless it did so over a path that it has abandoned
        // since; and nobody may move before the handshake is confirmed.
        let ignores = self.side.is_client() && !self.has_abandoned(lent);
        if origin.found.is_none() && (ignores || !self.levels.is_confirmed()) {
            return self.stats.discarded.add(Why::Address);
        }
        let mut last_refused = false;
        let mut packets = Coalesced::new(self.first_flight.scid().len(), self.fixed_bit);
        while let Some(header) = &packets.next(datagram) {
            let outcome = match header {
                Ok(header) => self.handle_packet(now, lent, &mut origin, ecn, datagram, header),
                Err(error) => Err(Refusal::Discard((*error).into())),
            };
            last_refused = outcome.is_err();
            match outcome {
                Ok(()) => {}
                Err(Refusal::Discard(why)) => self.stats.discarded.add(why),
                Err(Refusal::Close(error)) => self.close(now, lent, Close::transport(&error)),
            }
        }
        let token = reset::token_of(datagram).filter(|_| last_refused);
        if token.is_some_and(|token| peer::is_reset_token(lent.buffers.peer_cids, &token)) {
            self.on_reset(now, lent);
        }
    }

    /// The peer has lost its state of the connection (RFC 9000 10.3.1).
    pub(super) fn on_reset(&mut self, now: Instant, lent: &mut Lent<'_>) {
        let pto = self.longest_base_pto(lent);
        self.lifecycle.on_reset(now, pto);
    }

    /// Ends the connection; only the first time counts. The peer may have withdrawn the connection ID that it is told at.
    pub(super) fn close(&mut self, now: Instant, lent: &mut Lent<'_>, close: Close) {
        self.renew_cids(lent);
        let pto = self.longest_base_pto(lent);
        self.lifecycle.close(now, pto, close);
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn handle_packet(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        origin: &mut Origin,
        ecn: Ecn,
        datagram: &mut [u8],
        header: &Header,
    ) -> Result<(), Refusal> {
        let Some(level) = header.level() else {
            return match header.packet {
                PacketType::Retry => self.on_retry(now, lent, datagram, header),
                _ => self.on_version_negotiation(datagram, header),
            };
        };
        let to = self.addressee(lent, header)?;
        origin.credit(lent, to.path, datagram.len());
        self.check_initial(datagram.len(), header)?;
        self.levels.check_open(level)?;
        let opened = self.open(lent, level, to.path, datagram, header)?;
        if self.space_mut(lent, level, to.path).received.is_duplicate(opened.pn) {
            return Err(Why::Duplicate.into());
        }
        let route = self.place(now, lent, origin, level, to, datagram.len())?;
        let seat = Seat { level, key: opened.key, path: to.path, route, addressed_to: to.seq };
        if level != Level::OneRtt {
            self.first_flight.on_opened(header.scid)?;
        }
        let pto = self.longest_base_pto(lent);
        let returns = self.returns(now, lent, &seat);
        self.on_opened(now, pto, lent, &seat, opened.pn)?;
        let payload = datagram.get(opened.payload).unwrap_or_default();
        if !self.lifecycle.is_open() {
            return self.listen_for_close(now, lent, level, payload);
        }
        let (mut ack_eliciting, mut non_probing, mut renewed) = (false, false, false);
        // Frames are looked at where they are returned: to move what was just stored is to wait for the stores.
        let mut frames = Frames::new(level, payload).in_dialect(self.dialect());
        while let Some(parsed) = &frames.next() {
            let frame = parsed.as_ref().map_err(|error| *error)?;
            let kind = frame.kind();
            ack_eliciting |= kind.rules().ack_eliciting;
            non_probing |= !kind.rules().probing;
            renewed |= matches!(kind, Kind::NewConnectionId | Kind::PathNewConnectionId);
            self.on_frame(now, lent, &seat, frame).map_err(|error| error.in_frame(frame.types().0))?;
        }
        let ack_delay = if level == Level::OneRtt { self.ack_delay() } else { Span::ZERO };
        let space = self.space_mut(lent, level, seat.path);
        space.received.on_received(now, opened.pn, ack_eliciting, ecn, ack_delay);
        self.lifecycle.on_received(now, pto);
        self.liveness.on_received(now);
        self.settle_route(now, lent, &seat, opened.pn, non_probing);
        if returns {
            self.on_return(now, lent, seat.route);
        }
        if renewed {
            self.renew_cids(lent);
            self.tell_of_spare_cid(lent);
            for path in self.path_rows() {
                self.leave_ill_route(now, lent, path);
            }
        }
        Ok(())
    }

    /// The route of an authentic packet, which learns our address if that was left to the system. A stranger's becomes one: only
    /// now is it sure that the peer sent it.
    fn place(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        origin: &mut Origin,
        level: Level,
        to: Addressee,
        len: usize,
    ) -> Result<usize, Why> {
        let row = match origin.route {
            Some(row) => row,
            None if level != Level::OneRtt || !self.lifecycle.is_open() => return Err(Why::Address),
            None if self.is_unused(lent, to.path) => self.welcome(now, lent, &origin.seen, to, len)?,
            // Where nothing is sent to any more nobody moves to.
            None if !is_open(lent, to.path) => return Ok(active(lent, to.path)),
            // A server does not migrate (RFC 9000 9).
            None if self.side.is_client() => {
                return if origin.found.is_some() { Ok(active(lent, to.path)) } else { Err(Why::Address) };
            }
            None => self.admit(now, lent, &origin.seen, to, len)?,
        };
        origin.route = Some(row);
        if let Some(route) = lent.buffers.routes.get_mut(row) {
            route.addresses.learn(&origin.seen);
        }
        Ok(row)
    }

    /// Whose connection ID a packet is addressed to.
    fn addressee(&self, lent: &Lent<'_>, header: &Header) -> Result<Addressee, Why> {
        if let Some(ours) = local::find(lent.buffers.local_cids, header.dcid.as_slice()) {
            return Ok(Addressee { path: ours.path(), seq: Some(ours.seq()) });
        }
        let empty = header.dcid.is_empty() && self.first_flight.scid().is_empty();
        let first = !self.side.is_client()
            && matches!(header.packet, PacketType::Initial { .. } | PacketType::ZeroRtt);
        let nobody = Addressee { path: PathRow::FIRST, seq: None };
        if empty || first { Ok(nobody) } else { Err(Why::UnknownCid) }
    }

    /// A server ignores Initial packets in datagrams below 1,200 bytes (RFC 9000 14.1), a client those with a token (RFC
    /// 9000 17.2.2).
    fn check_initial(&self, datagram_len: usize, header: &Header) -> Result<(), Why> {
        let PacketType::Initial { token } = &header.packet else { return Ok(()) };
        match self.side.get() {
            Side::Server if datagram_len < MIN_INITIAL_DATAGRAM => Err(Why::ShortInitial),
            Side::Client if !token.is_empty() => Err(Why::Malformed),
            _ => Ok(()),
        }
    }

    /// Removes header protection and opens the packet in place.
    fn open(
        &mut self,
        lent: &mut Lent<'_>,
        level: Level,
        path: PathRow,
        datagram: &mut [u8],
        header: &Header,
    ) -> Result<OpenedPacket, Refusal> {
        let packet = datagram.get_mut(header.start..header.end).ok_or(Why::Malformed)?;
        let pn_at = header.pn_offset.saturating_sub(header.start);
        let (head, sampled) = packet.split_at_mut_checked(pn_at).ok_or(Why::Malformed)?;
        let (pn_bytes, rest) = sampled.split_first_chunk_mut::<4>().ok_or(Why::Malformed)?;
        let sample: [u8; SAMPLE_LEN] = *rest.first_chunk().ok_or(Why::Malformed)?;
        let first = head.first_mut().ok_or(Why::Malformed)?;
        let mut clear = *pn_bytes;
        if !lent.session.unprotect(level, &sample, first, &mut clear) {
            return Err(Why::NoKeys.into());
        }
        let first = FirstByte(*first);
        for (place, byte) in pn_bytes.iter_mut().zip(clear).take(first.pn_len()) {
            *place = byte;
        }
        let largest = self.space_mut(lent, level, path).received.largest();
        let expected = largest.map_or(0, |largest| largest.saturating_add(1));
        let pn = Truncated::read(clear, first.pn_len()).expand(expected);
        let path = lent.buffers.paths.get(path.index()).ok_or(Why::UnknownCid)?;
        let key = match level {
            Level::OneRtt => self.keys.generation_for(&path.phase, first.key_phase(), pn),
            _ => Key::first(level),
        };
        let payload_at = pn_at.saturating_add(first.pn_len());
        let (head, payload) = packet.split_at_mut_checked(payload_at).ok_or(Why::Malformed)?;
        let len = match lent.session.open(key, path.id(), pn, head, payload) {
            Ok(len) => len,
            Err(KeyError::Missing) => return Err(Why::NoKeys.into()),
            Err(KeyError::Forged) => {
                self.keys.on_forged()?;
                return Err(Why::Forged.into());
            }
        };
        first.check_reserved()?;
        let start = header.start.saturating_add(payload_at);
        Ok(OpenedPacket { pn, key, payload: start..start.saturating_add(len) })
    }

    /// A packet is genuine: what that alone changes.
    fn on_opened(
        &mut self,
        now: Instant,
        pto: Span,
        lent: &mut Lent<'_>,
        seat: &Seat,
        pn: u64,
    ) -> Result<(), Refusal> {
        self.stats.received_packets = self.stats.received_packets.saturating_add(1);
        match seat.level {
            Level::OneRtt => {
                let path = lent.buffers.paths.get_mut(seat.path.index()).ok_or(Why::UnknownCid)?;
                let opened = self.keys.on_opened(&mut path.phase, now, pto, seat.key, pn)?;
                if opened == Opened::Updated {
                    lent.session.update_keys();
                    self.on_keys_updated();
                }
            }
            // Only who received our Initial packets has Handshake keys (RFC 9000 8.1).
            Level::Handshake => {
                if let Some(route) = lent.buffers.routes.get_mut(seat.route) {
                    route.amplification.on_validated();
                }
            }
            Level::Initial
                if self.side.is_client() && lent.buffers.peer_cids.iter().all(peer::PeerCid::is_free) =>
            {
                self.adopt_peer_cid(lent, self.first_flight.dcid())?;
            }
            Level::Initial | Level::ZeroRtt => {}
        }
        if let Some(level) = self.levels.on_opened(seat.level, now, pto) {
            self.discard_level(now, lent, level);
        }
        Ok(())
    }

    /// While closing, only the peer's own CONNECTION_CLOSE matters (RFC 9000 10.2.1).
    fn listen_for_close(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        level: Level,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        let pto = self.longest_base_pto(lent);
        for frame in Frames::new(level, payload).in_dialect(self.dialect()) {
            if let Ok(Frame::ConnectionClose(close)) = frame {
                self.lifecycle.on_peer_close(now, pto, &close);
            }
        }
        self.lifecycle.on_received(now, pto);
        Err(Why::Closing.into())
    }
}

/// Where a datagram came from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    seen: Addresses,
    /// The first row of a route with these addresses, whatever its path is.
    found: Option<usize>,
    /// The row of its path's route with these addresses; nothing if there is none.
    route: Option<usize>,
    /// Whether the route was told of the datagram.
    is_credited: bool,
}

impl Origin {
    /// Finds the route by the path of the first packet, and credits it with the datagram (RFC 9000 8.1).
    fn credit(&mut self, lent: &mut Lent<'_>, path: PathRow, len: usize) {
        if core::mem::replace(&mut self.is_credited, true) {
            return;
        }
        let is_it = |route: &Route| route.path == path && route.takes(&self.seen);
        self.route = match self.found {
            Some(row) if path_of(lent, row) != path => lent.buffers.routes.iter().position(is_it),
            found => found,
        };
        if let Some(route) = self.route.and_then(|row| lent.buffers.routes.get_mut(row)) {
            route.on_received(len);
        }
    }
}

/// Whose connection ID a packet is addressed to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addressee {
    pub(super) path: PathRow,
    /// The number of the ID. Without one are our empty ID, and those that a client makes up for its first Initials.
    pub(super) seq: Option<u64>,
}

/// A packet that was opened.
struct OpenedPacket {
    pn: u64,
    key: Key,
    /// Where in the datagram its frames are.
    payload: core::ops::Range<usize>,
}
