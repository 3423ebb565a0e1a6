//! Which packets are lost (RFC 9002 6.1, A.10), and whether that is persistent congestion (7.6).
//!
//! A packet is lost once a later one of its flight was acknowledged and either three packet numbers or 9/8 RTT have
//! passed it by. Numbers that were skipped, or went to packets that are not tracked or to another route, count as
//! numbers here: the RFC's own simplification. An acknowledgment that comes after the verdict finds no packet and is
//! ignored; there is no memory of the lost, and no adaptive threshold.
//!
//! Persistent congestion is looked for among the packets that one call finds lost, in one flight (RFC 9002 7.6.2
//! permits to leave other packet number spaces out).

use crate::ids::PacketNumber;
use crate::limits::PACKET_THRESHOLD;
use crate::recovery::flight::Flight;
use crate::recovery::rtt::Rtt;
use crate::recovery::sent::{Chain, Marks, SentPacket, row};
use crate::table::list::NONE;
use crate::time::{Deadline, Instant, Span};

/// What was found lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The packets, oldest first. The caller pops them; of their rows, those whose chunk is data go to its stream.
    pub packets: Chain,
    /// Their bytes.
    pub bytes: u32,
    /// When the newest was sent whose loss is a sign of congestion: an MTU probe's is none (RFC 9000 14.4).
    pub newest: Option<Instant>,
    /// How many of them were marked ECT(0).
    pub ect0: u16,
    /// Whether the network was down, or close to, for longer than three PTO (RFC 9002 7.6).
    pub persistent_congestion: bool,
}

impl Flight {
    /// The packets that are lost by now leave the flight, and the next time to look is set. `max_ack_delay` is the
    /// peer's.
    pub fn detect_lost(
        &mut self,
        rows: &mut [SentPacket],
        now: Instant,
        rtt: &Rtt,
        max_ack_delay: Span,
    ) -> Lost {
        let mut lost =
            Lost { packets: Chain::EMPTY, bytes: 0, newest: None, ect0: 0, persistent_congestion: false };
        self.loss_time = Deadline::NEVER;
        let Some(largest_acked) = self.largest_acked.map(PacketNumber::get) else { return lost };
        let loss_delay = rtt.loss_delay();
        let mut outage = Outage { since: None, rtt, max_ack_delay, is_persistent: false };
        while let Some(packet) = row(rows, self.packets.head).copied() {
            let pn = self.numbers().of(&packet);
            if pn > largest_acked {
                break;
            }
            // Packets stand in the order of their times too: behind the first that is not lost none is.
            let due = packet.sent(now).after(loss_delay);
            if now < due && largest_acked < pn.saturating_add(PACKET_THRESHOLD) {
                self.loss_time = Deadline::at(due);
                break;
            }
            let handle = self.packets.head;
            self.packets.unlink(rows, NONE, handle);
            self.count_out(&packet);
            lost.packets.push(rows, handle);
            lost.bytes = lost.bytes.saturating_add(packet.size.into());
            lost.ect0 = lost.ect0.saturating_add(packet.marks.has(Marks::ECT0).into());
            if !packet.is_mtu_probe() {
                lost.newest = Some(packet.sent(now));
            }
            outage.on_lost(now, &packet);
        }
        lost.persistent_congestion = outage.is_persistent;
        lost
    }
}

/// Looks, over lost packets in order, for two that make persistent congestion.
struct Outage<'a> {
    /// When the first was sent of a run of lost packets between which none was acknowledged.
    since: Option<Instant>,
    rtt: &'a Rtt,
    max_ack_delay: Span,
    is_persistent: bool,
}

impl Outage<'_> {
    fn on_lost(&mut self, now: Instant, packet: &SentPacket) {
        if packet.marks.has(Marks::AFTER_ACKED) {
            self.since = None;
        }
        let had_sample = self.rtt.first_sample().is_some_and(|first| packet.sent(now) > first);
        if packet.is_ack_eliciting() && !packet.is_mtu_probe() && had_sample {
            let since = *self.since.get_or_insert(packet.sent(now));
            let period = self.rtt.persistent_congestion_period(self.max_ack_delay);
            self.is_persistent |= packet.sent(now).since(since) > period;
        }
    }
}
