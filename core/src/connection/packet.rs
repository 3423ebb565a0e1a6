//! One packet: header, contributors in their order, seal, and the row that remembers it (RFC 9000 12, 13; RFC 9001 5).

use super::Lent;
use super::outcome::InFlight;
use super::path::{Path, PathSet, active};
use super::start::State;
use crate::error::{Code, TransportError, Trap};
use crate::ids::{Ecn, PathId, PathRow};
use crate::lifecycle::{Cause, Close};
use crate::limits::{SAMPLE_LEN, TAG_LEN};
use crate::path::Route;
use crate::recovery::{Draft, Packet};
use crate::session::{Key, Level};
use crate::time::{Instant, Span};
use crate::wire::frame::{Frame, HandshakeDone, Kind, Kinds, NewToken, Ping};
use crate::wire::header::{Layout, LongHeader, LongType, ShortHeader};
use crate::wire::packet_number::{Truncated, encoded_len};
use crate::wire::{PacketWriter, Writer};

/// Our ack_delay_exponent is the default.
const ACK_DELAY_EXPONENT: u8 = crate::limits::DEFAULT_ACK_DELAY_EXPONENT;
/// From the packet number on, a packet has four bytes before the sample (RFC 9001 5.4.2).
const BEFORE_SAMPLE: usize = 4;

/// What a packet may carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allowed {
    /// Only ACK frames: the window is full, or it is not yet time.
    AckOnly,
    /// Everything.
    All,
    /// What a probe carries: not held back by the window (RFC 9002 7.5).
    Probe,
    /// CONNECTION_CLOSE.
    Close,
    /// What asks and answers whether a route works, and nothing that moves the connection (RFC 9000 9.1): a PING only on the one in use.
    Path,
    /// PING and padding up to the size of the datagram (RFC 9000 14.4).
    MtuProbe,
}

impl Allowed {
    pub(super) const fn in_flight(self) -> bool {
        matches!(self, Self::All | Self::Probe)
    }
}

/// A packet to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) level: Level,
    pub(super) path: PathRow,
    pub(super) route: usize,
    pub(super) allowed: Allowed,
    /// Whether what is not tied to a path goes along.
    pub(super) shared: bool,
    pub(super) ecn: Ecn,
    /// The datagram must have so many bytes; how many this packet needs for that is counted from its start.
    pub(super) pad_to: usize,
    /// Whether the datagram may have 1,200 bytes.
    pub(super) full: bool,
    /// Whether another packet is to follow in the datagram, if it has room for one.
    pub(super) more: bool,
}

const NUMBERS_USED_UP: TransportError = TransportError::new(Code::NO_ERROR, "packet numbers are used up");
/// Short packets have so many bytes more than a connection ID of ours: then the stateless reset that they may draw, which is
/// smaller, can still be taken for a packet to us (RFC 9000 10.3).
const ABOVE_CID: usize = 22;
/// Packets with nothing else are left as they are. PADDING would put them in flight, and nothing would take them out again
/// (RFC 9000 13.2.7).
const ACKS: Kinds = Kinds::NONE.with(Kind::Ack).with(Kind::PathAck);
/// Less room than this behind a packet holds no further one.
const MIN_PACKET: usize = 128;

impl State {
    /// Writes a packet to the front of `out`, which is what is left of the datagram. Returns its length; zero if there
    /// was nothing to say.
    pub(super) fn write_packet(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        order: &Order,
        out: &mut [u8],
    ) -> usize {
        let level = order.level;
        if level == Level::OneRtt && self.keys.wants_update(now) && order.allowed.in_flight() {
            self.keys.initiate();
            lent.session.update_keys();
            self.on_keys_updated();
        }
        if level == Level::OneRtt {
            skip_packet_number(lent, order.path);
        }
        let least = least_width(lent, order);
        let space = self.space_mut(lent, level, order.path);
        let Some(pn) = space.next_pn() else {
            // Nothing may be said any more, not even that (RFC 9000 12.3).
            self.lifecycle.abandon(Cause::Local(Close::transport(&NUMBERS_USED_UP)));
            return 0;
        };
        let truncated = Truncated::new(pn, encoded_len(pn, space.largest_acked()).max(least));
        let Some(layout) = self.write_header(lent, order, truncated, out) else { return 0 };
        let Some(end) = out.len().checked_sub(TAG_LEN) else { return 0 };
        let Some(room) = out.get_mut(layout.end..end) else { return 0 };
        let mut packet = PacketWriter::new(room);
        let mut contents = Contents { draft: Draft::new(), acks: PathSet::NONE };
        self.contribute(now, lent, order, pn, &mut packet, &mut contents);
        let Contents { draft, acks } = contents;
        if packet.is_empty() {
            return 0;
        }
        // Header protection needs a sample (RFC 9001 5.4.2).
        packet.pad_to(BEFORE_SAMPLE.saturating_sub(truncated.width()));
        if level == Level::OneRtt && !packet.kinds().are_among(ACKS) {
            let size = ABOVE_CID.saturating_add(self.first_flight.scid().len());
            packet.pad_to(size.saturating_sub(layout.end).saturating_sub(TAG_LEN));
        }
        let last = !order.more || packet.room() < MIN_PACKET;
        if last {
            packet.pad_to(order.pad_to.saturating_sub(layout.end).saturating_sub(TAG_LEN));
        }
        // A few bytes that no frame could use are filled, so that the datagrams of a batch have one size.
        let fill = last && packet.room() < MIN_PACKET && order.allowed == Allowed::All;
        if fill && self.wants_data(lent, order.path, order.shared) {
            packet.pad_to(usize::MAX);
        }
        let len = layout.end.saturating_add(packet.len()).saturating_add(TAG_LEN);
        let sent = Sent {
            packet: Packet {
                pn,
                size: u16::try_from(len).unwrap_or(u16::MAX),
                kinds: packet.kinds(),
                ack_eliciting: packet.is_ack_eliciting(),
                mtu_probe: order.allowed == Allowed::MtuProbe,
                ect0: order.ecn == Ecn::Ect0,
            },
            acks,
            in_flight: packet.is_in_flight(),
            pings: packet.is_ack_eliciting() && !packet.is_probing(),
        };
        let key = if level == Level::OneRtt { self.keys.key() } else { Key::first(level) };
        let path = lent.buffers.paths.get(order.path.index()).map_or(PathId::ZERO, Path::id);
        if seal(lent, key, path, pn, &layout, len, out).is_none() {
            return 0;
        }
        if let Err(error) = self.after_packet(now, lent, order, draft, &sent) {
            self.close(now, lent, Close::transport(&error));
        }
        len
    }

    fn write_header(
        &mut self,
        lent: &mut Lent<'_>,
        order: &Order,
        pn: Truncated,
        out: &mut [u8],
    ) -> Option<Layout> {
        let mut out = Writer::new(out);
        let packet = match order.level {
            Level::OneRtt => {
                let path = lent.buffers.paths.get(order.path.index())?;
                let dcid = *path.peer_cids.of(lent.buffers.peer_cids, u8::try_from(order.route).ok()?)?.cid();
                // A spin bit that is not in use is random (RFC 9000 17.4).
                let header = ShortHeader { dcid, spin: self.coin(lent), key_phase: self.keys.phase() };
                let fixed_bit = !self.peer.greased_bit || self.coin(lent);
                return header.emit(fixed_bit, pn, &mut out).ok();
            }
            Level::Initial if self.side.is_client() => {
                LongType::Initial { token: lent.buffers.token.get(..usize::from(self.token.len))? }
            }
            Level::Initial => LongType::Initial { token: &[] },
            Level::ZeroRtt => LongType::ZeroRtt,
            Level::Handshake => LongType::Handshake,
        };
        let header = LongHeader {
            packet,
            version: self.version,
            dcid: self.first_flight.dcid(),
            scid: self.first_flight.scid(),
        };
        header.emit(true, pn, &mut out).ok()
    }

    /// A random bit. They are drawn 63 at a time; above them stands a mark of the end.
    fn coin(&mut self, lent: &mut Lent<'_>) -> bool {
        if self.chance <= 1 {
            let mut random = [0; 8];
            lent.session.fill_random(&mut random);
            self.chance = u64::from_ne_bytes(random) | 1 << 63;
        }
        let bit = self.chance & 1 == 1;
        self.chance >>= 1;
        bit
    }

    /// The contributors, in the one order there is.
    fn contribute(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        order: &Order,
        pn: u64,
        out: &mut PacketWriter<'_>,
        Contents { draft, acks }: &mut Contents,
    ) {
        let level = order.level;
        let acknowledges = match order.allowed {
            Allowed::AckOnly | Allowed::All | Allowed::Probe => true,
            // Who closes may have read all that there was: the peer is to know what has arrived.
            Allowed::Close => level == Level::OneRtt && order.full,
            Allowed::MtuProbe | Allowed::Path => false,
        };
        let confirm = acknowledges && self.contribute_acks(now, lent, order, out, acks);
        match order.allowed {
            Allowed::Close => {
                self.lifecycle.write(level, out).ok();
                return;
            }
            Allowed::MtuProbe => {
                out.push(&Frame::Ping(Ping)).ok();
                return;
            }
            Allowed::Path => {
                self.contribute_path(now, lent, order, out);
                let path = lent.buffers.paths.get(order.path.index());
                if path.is_some_and(|path| path.ping.is_wanted() && usize::from(path.active) == order.route) {
                    out.push(&Frame::Ping(Ping)).ok();
                }
                return;
            }
            Allowed::AckOnly | Allowed::All | Allowed::Probe => {}
        }
        if !order.allowed.in_flight() {
            return;
        }
        if level == Level::OneRtt {
            self.contribute_path(now, lent, order, out);
        }
        let has_rows = self.may_take_rows(lent, order.route, order.allowed)
            || level != Level::OneRtt && self.sent.room(lent.buffers.sent) > 0;
        if order.shared || level != Level::OneRtt {
            self.contribute_crypto(lent, level, has_rows, out, draft);
        }
        if level == Level::OneRtt && has_rows {
            if order.shared
                && self.handshake_done.is_wanted()
                && out.push(&Frame::HandshakeDone(HandshakeDone)).is_ok()
            {
                self.handshake_done.on_sent();
            }
            if self
                .path_rows()
                .any(|row| lent.buffers.paths.get(row.index()).is_some_and(Path::has_cids_to_tell))
            {
                self.contribute_cids(lent, order, pn, out);
            }
        }
        if level == Level::OneRtt && has_rows && order.shared {
            self.contribute_facts(lent, order.path, pn, out);
            self.streams.write_limits(out);
            self.contribute_control(lent, out, draft);
        }
        if level == Level::OneRtt {
            self.contribute_data(lent, order, has_rows, out, draft);
        }
        let Some(path) = lent.buffers.paths.get(order.path.index()) else { return };
        let wanted = level == Level::OneRtt && path.ping.is_wanted();
        let ping = path.probes.owed().has(level) || wanted || confirm;
        // Probing frames are acknowledged, but move no server (RFC 9000 9.1).
        if has_rows && (ping && !out.is_ack_eliciting() || wanted && out.is_probing()) {
            out.push(&Frame::Ping(Ping)).ok();
        }
    }

    /// Acknowledgments of this path, and of those that send theirs over it. Returns whether one is to be acknowledged itself.
    fn contribute_acks(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        order: &Order,
        out: &mut PacketWriter<'_>,
        acks: &mut PathSet,
    ) -> bool {
        let dialect = self.dialect().filter(|_| order.level == Level::OneRtt);
        let mut confirm = false;
        for path in self.path_rows() {
            let due = self.space_mut(lent, order.level, path).received.due();
            if !due.is_set() || self.ack_path(lent, order.level, path) != order.path {
                continue;
            }
            let id = lent.buffers.paths.get(path.index()).map_or(PathId::ZERO, Path::id);
            let received = &self.space_mut(lent, order.level, path).received;
            let names = dialect.map(|dialect| (dialect, id));
            if received.write(now, ACK_DELAY_EXPONENT, names, out).is_ok() {
                confirm |= path == order.path && received.wants_confirmation();
                acks.note(path);
            }
        }
        confirm
    }

    /// Answers to the peer's challenges, and our own (RFC 9000 8.2).
    fn contribute_path(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        order: &Order,
        out: &mut PacketWriter<'_>,
    ) {
        let Ok(row) = u8::try_from(order.route) else { return };
        let answers = self.responses.has_wanted(row);
        while self.responses.has_wanted(row) && self.responses.write(row, out).is_ok() {}
        // An answer on the active route also shows that it is in use: a copy that an attacker sent from elsewhere loses its
        // effect (RFC 9000 9.3.3).
        if answers && order.route == active(lent, order.path) && out.is_probing() {
            out.push(&Frame::Ping(Ping)).ok();
        }
        let Some(route) = lent.buffers.routes.get_mut(order.route) else { return };
        if route.validation.wants_challenge() {
            let mut random = [0; 8];
            lent.session.fill_random(&mut random);
            route.validation.write(now, random, order.full, out).ok();
        }
    }

    fn contribute_crypto(
        &mut self,
        lent: &mut Lent<'_>,
        level: Level,
        has_rows: bool,
        out: &mut PacketWriter<'_>,
        draft: &mut Draft,
    ) {
        while self.crypto.wants_to_send(level, lent.session) {
            let spare = if has_rows { self.sent.take(lent.buffers.sent) } else { None };
            let used = self.crypto.write(level, lent.session, lent.buffers.sent, spare, out);
            if !self.keep_row(lent, spare, used, draft) {
                return;
            }
        }
    }

    /// Connection IDs, and those that are retired: these over their own path where that carries anything. Over a faster one the word
    /// would overtake what was sent to them before, which the peer would answer with a stateless reset.
    fn contribute_cids(&mut self, lent: &mut Lent<'_>, order: &Order, pn: u64, out: &mut PacketWriter<'_>) {
        let dialect = self.dialect();
        let mut first = false;
        for row in self.path_rows() {
            let Some(path) = lent.buffers.paths.get_mut(row.index()) else { return };
            let names = dialect.map(|dialect| (dialect, path.id()));
            if order.shared && path.local_cids.has_wanted() {
                let before = path.local_cids.has_shown();
                path.local_cids.write(lent.buffers.local_cids, names, order.path, pn, out);
                first |= before != path.local_cids.has_shown();
            }
            if path.peer_cids.has_wanted()
                && (row == order.path || order.shared && !self.carries(lent, row))
                && let Some(path) = lent.buffers.paths.get_mut(row.index())
            {
                path.peer_cids.write(lent.buffers.retirements, names, order.path, pn, out);
            }
        }
        if first {
            // The peer's may have come before: a path takes those of both sides.
            self.note_possible_path(lent);
        }
    }

    /// What there is to say of paths, a token.
    fn contribute_facts(&mut self, lent: &mut Lent<'_>, over: PathRow, pn: u64, out: &mut PacketWriter<'_>) {
        self.contribute_paths(lent, over, pn, out);
        if self.token.delivery.is_wanted() {
            let token = lent.buffers.token.get(..usize::from(self.token.len)).unwrap_or_default();
            if out.push(&Frame::NewToken(NewToken { token })).is_ok() {
                self.token.delivery.on_sent();
            }
        }
    }

    fn contribute_control(&mut self, lent: &mut Lent<'_>, out: &mut PacketWriter<'_>, draft: &mut Draft) {
        while self.streams.wants_control() {
            let spare = self.sent.take(lent.buffers.sent);
            let used = self.streams.write_control(&mut lent.buffers.streams, lent.buffers.sent, spare, out);
            if !self.keep_row(lent, spare, used, draft) {
                return;
            }
        }
    }

    fn contribute_data(
        &mut self,
        lent: &mut Lent<'_>,
        order: &Order,
        has_rows: bool,
        out: &mut PacketWriter<'_>,
        draft: &mut Draft,
    ) {
        self.contribute_copies(lent, order.path, out);
        let over = self.over(lent, Some(order.path), order.shared);
        if has_rows {
            self.contribute_datagrams(lent, order.path, &over, out);
        }
        while self.streams.may_write_data(&lent.buffers.streams, &over, out) {
            let spare = if has_rows { self.sent.take(lent.buffers.sent) } else { None };
            let used =
                self.streams.write_data(&mut lent.buffers.streams, lent.buffers.sent, spare, &over, out);
            self.copy(lent, order.path, used);
            if !self.keep_row(lent, spare, used, draft) {
                return;
            }
        }
    }

    /// Puts the row that a writer used into the draft and frees the spare one that it did not use. Returns whether
    /// anything was written.
    fn keep_row(
        &mut self,
        lent: &mut Lent<'_>,
        spare: Option<u16>,
        used: Option<u16>,
        draft: &mut Draft,
    ) -> bool {
        if let Some(unused) = spare.filter(|spare| used != Some(*spare)) {
            self.sent.free(lent.buffers.sent, unused);
        }
        if let Some(used) = used {
            draft.add(lent.buffers.sent, used);
        }
        used.is_some()
    }

    /// The packet is sealed: everybody who counts hears of it.
    fn after_packet(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        order: &Order,
        draft: Draft,
        sent: &Sent,
    ) -> Result<(), TransportError> {
        let (level, packet) = (order.level, &sent.packet);
        self.stats.sent_packets = self.stats.sent_packets.saturating_add(1);
        self.space_mut(lent, level, order.path).on_sent();
        for path in sent.acks.rows() {
            let received = &mut self.space_mut(lent, level, path).received;
            if path == order.path {
                received.on_ack_sent(packet.pn, packet.ack_eliciting);
            } else {
                received.on_ack_sent_elsewhere();
            }
        }
        if sent.in_flight {
            let is_suspect = lent.buffers.routes.get(order.route).is_some_and(Route::is_suspect);
            let Some(InFlight { flight, rows, table, .. }) = self.in_flight(lent, level, order.route) else {
                return Ok(());
            };
            let before = if is_suspect { flight.on_asked_again(rows, now, packet) } else { None };
            let kept = before.is_some() || flight.on_sent(rows, table, now, draft, packet).is_ok();
            if let Some(route) = lent.buffers.routes.get_mut(order.route) {
                if let Some(before) = before {
                    route.congestion.on_discarded(before.size.into());
                    if before.is_ect0() {
                        route.ecn.on_lost();
                    }
                }
                if kept {
                    route.congestion.on_sent(now, packet.size);
                }
            }
        } else if let Some(flight) = self.flight_mut(lent, level, order.route) {
            flight.on_ack_only_sent(packet.pn);
        }
        let pto = if packet.ect0 { self.pto(lent, order.path) } else { Span::ZERO };
        if let Some(route) = lent.buffers.routes.get_mut(order.route) {
            if packet.ect0 {
                route.ecn.on_sent(now, pto);
            }
            if packet.mtu_probe {
                route.mtu.on_probe_sent(packet.size);
            }
            // From who is heard and leaves probes without an answer nothing is expected: it would be asked after each sign of life.
            if packet.kinds.has(Kind::Stream) && self.side.is_client() && route.pto.count() == 0 {
                self.liveness.on_expecting(now);
            }
        }
        if packet.ack_eliciting && self.lifecycle.is_answered() {
            self.lifecycle.on_ack_eliciting_sent(now, self.longest_base_pto(lent));
        }
        if level == Level::OneRtt
            && sent.pings
            && order.route == active(lent, order.path)
            && let Some(path) = lent.buffers.paths.get_mut(order.path.index())
        {
            path.ping.forget();
        }
        if let Some(discarded) = self.levels.on_sent(level) {
            self.discard_level(now, lent, discarded);
        }
        if level == Level::OneRtt {
            if !sent.acks.is_none() {
                self.keys.on_ack_sent();
            }
            let path = lent.buffers.paths.get_mut(order.path.index());
            self.keys.on_sealed(&mut path.trap("a packet has a path")?.phase, packet.pn)?;
        }
        Ok(())
    }
}

/// What is to be remembered of a packet's contents.
struct Contents {
    draft: Draft,
    acks: PathSet,
}

/// A packet that was sealed.
struct Sent {
    packet: Packet,
    acks: PathSet,
    in_flight: bool,
    /// Whether it draws an acknowledgment as a PING would, and shows where we are.
    pings: bool,
}

/// Bytes of a packet number at least. Packets that left later over another route may come first, and many of them: what a
/// slow route carries must be understood all the same (RFC 9000 17.1).
fn least_width(lent: &Lent<'_>, order: &Order) -> usize {
    let others = lent.buffers.paths.get(order.path.index()).is_some_and(|path| path.others > 0);
    if order.level == Level::OneRtt && others { 3 } else { 1 }
}

/// Now and then a number is used for nothing (RFC 9000 21.4).
fn skip_packet_number(lent: &mut Lent<'_>, path: PathRow) {
    let Some(path) = lent.buffers.paths.get_mut(path.index()) else { return };
    let Some(pn) = path.space.next_pn().filter(|pn| path.skips.skip(*pn)) else { return };
    path.space.on_sent();
    let mut random = [0; 2];
    lent.session.fill_random(&mut random);
    path.skips.schedule(pn, u16::from_ne_bytes(random));
}

/// Protects the packet of `len` bytes at the start of `out`.
fn seal(
    lent: &mut Lent<'_>,
    key: Key,
    path: PathId,
    pn: u64,
    layout: &Layout,
    len: usize,
    out: &mut [u8],
) -> Option<()> {
    layout.set_length(out, len).ok()?;
    let packet = out.get_mut(..len)?;
    let (header, payload) = packet.split_at_mut_checked(layout.end)?;
    lent.session.seal(key, path, pn, header, payload).ok()?;
    let sample_at = layout.pn_offset.checked_add(BEFORE_SAMPLE)?;
    let sample: [u8; SAMPLE_LEN] = *packet.get(sample_at..)?.first_chunk()?;
    let (before, rest) = packet.split_at_mut_checked(layout.pn_offset)?;
    let pn_len = layout.end.checked_sub(layout.pn_offset)?;
    lent.session.protect(key.level, &sample, before.first_mut()?, rest.get_mut(..pn_len)?);
    Some(())
}
