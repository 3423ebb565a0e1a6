//! The packets of one packet number space that are under way on one route, and what an ACK says of them
//! (RFC 9002 A.5, A.7; probes: 6.2.4).
//!
//! Packets stand in the order of their numbers. Loss detection (`loss.rs`) takes off what lies three packets or more
//! below the largest acknowledged, so an ACK looks only at the packets it newly acknowledges, those it shows to be
//! lost, and a few more: never at the whole window.
//!
//! Not here: the RTT, the congestion controller, what the packets carried. They get facts.

use crate::error::Full;
use crate::ids::PacketNumber;
use crate::recovery::acked::AckedRanges;
use crate::recovery::sent::{Chain, Draft, Marks, SentPacket, SentTable, row};
use crate::table::chunk::Chunk;
use crate::table::list::NONE;
use crate::table::ranges::widen;
use crate::time::{Deadline, Instant, Span};
use crate::wire::frame::{Kind, Kinds};

/// How many packets from the oldest on are looked at for one whose content a probe could repeat.
const REPEAT_SEARCH: usize = 32;

/// What is remembered of a packet that counts as in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number, larger than all before it in the space.
    pub pn: u64,
    /// Its bytes, from the first of the header to the last of the AEAD tag.
    pub size: u16,
    /// The kinds of frames in it.
    pub kinds: Kinds,
    /// Whether the peer must acknowledge it.
    pub ack_eliciting: bool,
    /// Whether it is sent to find out a larger MTU.
    pub mtu_probe: bool,
    /// Whether it is marked ECT(0).
    pub ect0: bool,
}

/// What an ACK frame said of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The packets newly acknowledged, oldest first. The caller pops them and frees their rows.
    pub packets: Chain,
    /// Their bytes.
    pub bytes: u32,
    /// When the newest of them was sent; `None` if there are none.
    pub newest: Option<Instant>,
    /// The RTT sample they yield, if they do (RFC 9002 5.1).
    pub sample: Option<Span>,
    /// Whether one of them had to be acknowledged.
    pub ack_eliciting: bool,
    /// How many of them were marked ECT(0).
    pub ect0: u16,
}

impl Acked {
    const NOTHING: Self =
        Self { packets: Chain::EMPTY, bytes: 0, newest: None, sample: None, ack_eliciting: false, ect0: 0 };
}

/// The packets of one space on one route that are neither acknowledged nor lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    pub(super) packets: Chain,
    pub(super) ack_eliciting: u16,
    /// The number of the newest packet, under way or not, from which those of the rows are told.
    pub(super) newest: u64,
    pub(super) largest_acked: Option<PacketNumber>,
    pub(super) loss_time: Deadline,
    last_ack_eliciting: Instant,
}

impl Flight {
    /// Nothing was sent yet.
    pub const fn new() -> Self {
        Self {
            packets: Chain::EMPTY,
            ack_eliciting: 0,
            newest: 0,
            largest_acked: None,
            loss_time: Deadline::NEVER,
            last_ack_eliciting: Instant::ZERO,
        }
    }

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self { packets: Chain::BLANK, ..Self::new() };

    /// Whether nothing is under way.
    pub const fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// When a packet becomes lost for having been overtaken too long ago (RFC 9002 6.1.2).
    pub const fn loss_time(&self) -> Deadline {
        self.loss_time
    }

    /// Whether packets are under way that will be found lost in time, or probed for.
    pub const fn is_watched(&self) -> bool {
        self.ack_eliciting > 0 || self.loss_time.is_set()
    }

    /// When the newest ack-eliciting packet was sent, under way or not.
    pub const fn last_sent(&self) -> Instant {
        self.last_ack_eliciting
    }

    /// When the newest ack-eliciting packet was sent, if one is under way.
    pub const fn last_ack_eliciting(&self) -> Option<Instant> {
        if self.ack_eliciting == 0 { None } else { Some(self.last_ack_eliciting) }
    }

    /// What tells the numbers of its packets, also of those popped from a chain of it.
    pub const fn numbers(&self) -> Numbers {
        Numbers { newest: self.newest }
    }

    /// A packet was sent, with the chunks of `draft`.
    ///
    /// # Errors
    /// [`Full`] if it has no chunk and the table no row; the caller makes sure of one before it writes a packet.
    pub fn on_sent(
        &mut self,
        rows: &mut [SentPacket],
        table: &mut SentTable,
        now: Instant,
        draft: Draft,
        packet: &Packet,
    ) -> Result<(), Full> {
        let handle = if draft.is_empty() { table.take(rows).ok_or(Full)? } else { draft.head };
        let row = row(rows, handle).ok_or(Full)?;
        row.set_sent(now);
        row.pn = packet.pn as u32;
        row.size = packet.size;
        row.kinds = packet.kinds;
        row.marks = Marks::NONE
            .with(Marks::ACK_ELICITING, packet.ack_eliciting)
            .with(Marks::MTU_PROBE, packet.mtu_probe)
            .with(Marks::ECT0, packet.ect0);
        self.packets.push(rows, handle);
        self.newest = packet.pn;
        if packet.ack_eliciting {
            self.ack_eliciting = self.ack_eliciting.saturating_add(1);
            self.last_ack_eliciting = now;
        }
        Ok(())
    }

    /// Whether the newest packet under way only asks for an acknowledgment.
    pub fn ends_in_question(&self, rows: &[SentPacket]) -> bool {
        rows.get(usize::from(self.packets.tail)).is_some_and(|row| is_question(row.kinds, row.is_mtu_probe()))
    }

    /// A packet asks once more what the one before it has asked in vain, and takes that one's row, so that many questions take no more
    /// of the table than one. The one before leaves the flight, and is returned as it was; `None`, and nothing changes, if one of the two
    /// is no such packet.
    pub fn on_asked_again(
        &mut self,
        rows: &mut [SentPacket],
        now: Instant,
        packet: &Packet,
    ) -> Option<SentPacket> {
        let before = row(rows, self.packets.tail).filter(|row| is_question(row.kinds, row.is_mtu_probe()));
        let row = before.filter(|_| is_question(packet.kinds, packet.mtu_probe))?;
        let before = *row;
        row.set_sent(now);
        row.pn = packet.pn as u32;
        row.size = packet.size;
        row.marks = Marks::NONE
            .with(Marks::ACK_ELICITING, true)
            .with(Marks::ECT0, packet.ect0)
            .with(Marks::AFTER_ACKED, before.marks.has(Marks::AFTER_ACKED));
        self.newest = packet.pn;
        self.last_ack_eliciting = now;
        Some(before)
    }

    /// A packet was sent that only acknowledges. No row remembers it, but that it arrived tells of what went before (RFC 9002 6.1).
    pub const fn on_ack_only_sent(&mut self, pn: u64) {
        self.newest = pn;
    }

    /// The packets that an ACK frame newly acknowledges leave the flight. [`Flight::detect_lost`] is to follow, once
    /// the RTT sample was taken.
    pub fn on_ack(&mut self, rows: &mut [SentPacket], now: Instant, ranges: &AckedRanges) -> Acked {
        let mut acked = Acked::NOTHING;
        let mut ranges_left = ranges.ascending();
        let mut range = ranges_left.next();
        let (mut before, mut at) = (NONE, self.packets.head);
        while let Some(packet) = row(rows, at).copied() {
            let pn = self.numbers().of(&packet);
            while range.as_ref().is_some_and(|range| *range.end() < pn) {
                range = ranges_left.next();
            }
            // Ranges above the flight's newest packet speak of other routes.
            let Some(range) = range.as_ref().filter(|range| *range.start() <= self.newest) else { break };
            if range.contains(&pn) {
                self.packets.unlink(rows, before, at);
                if let Some(next) = row(rows, packet.next) {
                    next.marks = next.marks.with(Marks::AFTER_ACKED, true);
                }
                acked.packets.push(rows, at);
                acked.bytes = acked.bytes.saturating_add(packet.size.into());
                acked.newest = Some(packet.sent(now));
                acked.ack_eliciting |= packet.is_ack_eliciting();
                acked.ect0 = acked.ect0.saturating_add(packet.marks.has(Marks::ECT0).into());
                self.count_out(&packet);
                self.largest_acked = self.largest_acked.max(Some(PacketNumber::new(pn)));
                if ranges.largest() == Some(pn) && acked.ack_eliciting {
                    acked.sample = Some(now.since(packet.sent(now)));
                }
            } else {
                before = at;
            }
            at = packet.next;
        }
        if ranges.contains(self.newest) {
            self.largest_acked = Some(PacketNumber::new(self.newest));
        }
        acked
    }

    /// For a probe (RFC 9002 6.2.4): the content of the oldest packet that has any, to be sent again as if it were
    /// lost, though nothing says so. The packet itself stays in flight with a row of its own, so that its
    /// acknowledgment still counts; only where the table has no row left it leaves. The row returned belongs to the
    /// caller as if popped; its `size` is what left the flight, so zero in the first case.
    pub fn repeat_oldest(&mut self, rows: &mut [SentPacket], table: &mut SentTable) -> Option<u16> {
        let (mut before, mut at) = (NONE, self.packets.head);
        for _ in 0..REPEAT_SEARCH {
            let packet = *row(rows, at)?;
            if packet.is_ack_eliciting() && has_content(packet.kinds) {
                let stand_in = table.take(rows);
                self.stand_in(rows, stand_in, before, at, &packet);
                return Some(at);
            }
            (before, at) = (at, packet.next);
        }
        None
    }

    /// When the oldest packet under way was sent that must be answered where the route works, if it is ack-eliciting: a probe for a
    /// larger MTU need not be (RFC 9000 14.4), and there is one of them at a time.
    pub fn oldest(&self, rows: &[SentPacket]) -> Option<Instant> {
        let at = |handle: u16| rows.get(usize::from(handle));
        let packet = match at(self.packets.head)? {
            probe if probe.is_mtu_probe() => at(probe.next)?,
            packet => packet,
        };
        packet.is_ack_eliciting().then(|| packet.sent(self.last_ack_eliciting))
    }

    /// As [`Self::repeat_oldest`] for all packets: their content is to be sent again elsewhere, as if they were lost. Returns the
    /// rows, which belong to the caller as if popped; the `size` of each is what left the flight. So many free rows are `kept`.
    pub fn repeat_all(&mut self, rows: &mut [SentPacket], table: &mut SentTable, kept: usize) -> Chain {
        let mut repeated = Chain::EMPTY;
        let (mut before, mut at) = (NONE, self.packets.head);
        while let Some(packet) = row(rows, at).copied() {
            let next = packet.next;
            let mut stays = at;
            if packet.is_ack_eliciting() && has_content(packet.kinds) {
                let row = if table.room(rows) > kept { table.take(rows) } else { None };
                stays = self.stand_in(rows, row, before, at, &packet).unwrap_or(before);
                repeated.push(rows, at);
            }
            (before, at) = (stays, next);
        }
        repeated
    }

    /// The oldest packet but an MTU probe leaves if it has no content, or what it had went again already: its row is needed, which
    /// belongs to the caller as if popped.
    pub fn drop_oldest(&mut self, rows: &mut [SentPacket]) -> Option<u16> {
        let (mut before, mut oldest) = (NONE, self.packets.head);
        let head = *row(rows, oldest)?;
        // There is one of them at a time.
        if head.is_mtu_probe() {
            (before, oldest) = (oldest, head.next);
        }
        let packet = *row(rows, oldest).filter(|row| !has_content(row.kinds) && !row.is_mtu_probe())?;
        self.stand_in(rows, None, before, oldest, &packet);
        Some(oldest)
    }

    /// Puts a packet of no content in the place of one, so that its acknowledgment still counts; the row of the first is the
    /// caller's, its `size` what left the flight. With no row for that it has no place any more.
    fn stand_in(
        &mut self,
        rows: &mut [SentPacket],
        stand_in: Option<u16>,
        before: u16,
        at: u16,
        packet: &SentPacket,
    ) -> Option<u16> {
        let Some(stand_in) = stand_in else {
            self.packets.unlink(rows, before, at);
            self.count_out(packet);
            if let Some(next) = row(rows, packet.next) {
                next.marks = next.marks.with(Marks::AFTER_ACKED, packet.marks.has(Marks::AFTER_ACKED));
            }
            return None;
        };
        if let Some(row) = row(rows, stand_in) {
            *row = SentPacket { chunk: Chunk::NOTHING, kinds: Kinds::NONE, more: NONE, ..*packet };
        }
        self.packets.replace(rows, before, at, stand_in);
        if let Some(row) = row(rows, at) {
            row.size = 0;
        }
        Some(stand_in)
    }

    /// Everything leaves the flight, neither acknowledged nor lost: its keys are discarded, its route is gone, 0-RTT
    /// was rejected, or a Retry came (RFC 9002 6.3, 6.4). The caller pops the packets and takes their sizes out of
    /// the bytes in flight.
    pub fn take_all(&mut self) -> Chain {
        self.loss_time = Deadline::NEVER;
        self.ack_eliciting = 0;
        core::mem::replace(&mut self.packets, Chain::EMPTY)
    }

    /// A packet has left.
    pub(super) fn count_out(&mut self, packet: &SentPacket) {
        if packet.is_ack_eliciting() {
            self.ack_eliciting = self.ack_eliciting.saturating_sub(1);
        }
    }
}

/// Tells the numbers of a flight's packets, whose rows keep the low half only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    newest: u64,
}

impl Numbers {
    /// The number of a packet.
    pub const fn of(self, packet: &SentPacket) -> u64 {
        widen(self.newest, packet.pn)
    }
}

impl Default for Flight {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether there is anything in a packet of `kinds` to send again: a probe with a PING has nothing, nor has an acknowledgment that was
/// padded, nor a packet whose content was repeated already.
fn has_content(kinds: Kinds) -> bool {
    let nothing = [Kind::Ack, Kind::PathAck, Kind::Ping, Kind::Padding];
    nothing.into_iter().fold(kinds, Kinds::without) != Kinds::NONE
}

/// Whether a packet of `kinds` has nothing that is to be acknowledged but a PING, which is there for its own sake.
fn is_question(kinds: Kinds, mtu_probe: bool) -> bool {
    kinds.has(Kind::Ping) && !has_content(kinds) && !mtu_probe
}

#[cfg(test)]
mod tests;
