//! Packets received in one packet number space, and the acknowledgment owed for them (RFC 9000 13.2).
//!
//! Two things are kept apart. For the duplicate test (12.3) ranges are remembered as long as there are rows, so that a
//! packet from a much slower route is still told from a duplicate. Reported are only those that the peer does not know
//! we received: once an ACK frame was itself acknowledged, nothing older than the largest number in it (13.2.4). One
//! such frame is followed at a time, which prunes once per round trip.
//!
//! An ACK is owed at once for every second ack-eliciting packet, for one that is out of order, follows a gap, or is
//! marked CE, and for all in spaces whose `max_ack_delay` is zero (Initial, Handshake); otherwise after
//! `max_ack_delay`. A packet that is not ack-eliciting never makes an ACK owed.

use crate::ids::{Ecn, PacketNumber, PathId};
use crate::recovery::acked::AckedRanges;
use crate::table::ranges::{Inserted, RangeSet, Row, Rows};
use crate::time::{Deadline, Instant, Span};
use crate::wire::frame::EcnCounts;
use crate::wire::{Dialect, NoSpace, PacketWriter};

/// Ack-eliciting packets that make an ACK owed at once (RFC 9000 13.2.2).
const ACK_EVERY: u8 = 2;
/// ACK frames sent in packets that need no acknowledgment before one should be sent in a packet that does.
const UNCONFIRMED_ACKS: u8 = 32;

/// An acknowledged delay as an ACK frame tells it (RFC 9000 19.3).
pub fn encode_delay(delay: Span, exponent: u8) -> u64 {
    delay.as_micros().checked_shr(exponent.into()).unwrap_or(0)
}

/// The delay that an ACK frame tells, saturating.
pub fn decode_delay(encoded: u64, exponent: u8) -> Span {
    let scale = 1_u64.checked_shl(exponent.into()).unwrap_or(u64::MAX);
    Span::from_micros(encoded.saturating_mul(scale))
}

/// An ACK frame under way whose acknowledgment will be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Followed {
    /// The packet it went in.
    pn: PacketNumber,
    /// The largest number in it.
    largest: u64,
}

/// Counts of ECN marks as a space holds them. Those of CE, and of ECT(1), which QUIC does not send, stop at the largest
/// number there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    ect0: u64,
    ect1: u32,
    ce: u32,
}

impl Totals {
    pub(super) const ZERO: Self = Self { ect0: 0, ect1: 0, ce: 0 };

    pub(super) fn new(counts: &EcnCounts) -> Self {
        let narrow = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Self { ect0: counts.ect0, ect1: narrow(counts.ect1), ce: narrow(counts.ce) }
    }

    pub(super) fn get(self) -> EcnCounts {
        EcnCounts { ect0: self.ect0, ect1: self.ect1.into(), ce: self.ce.into() }
    }

    /// By how much these are larger than `old`, if none is smaller.
    pub(super) fn checked_sub(self, old: Self) -> Option<EcnCounts> {
        let grown = Self {
            ect0: self.ect0.checked_sub(old.ect0)?,
            ect1: self.ect1.checked_sub(old.ect1)?,
            ce: self.ce.checked_sub(old.ce)?,
        };
        Some(grown.get())
    }
}

/// What was received in one packet number space.
#[derive(Clone, Debug)]
pub struct Received<R: ?Sized> {
    /// When the packet with the largest number came.
    largest_at: Instant,
    largest_ack_eliciting: Option<PacketNumber>,
    ecn: Totals,
    due: Deadline,
    /// Ranges that end below this are not reported.
    report_from: u64,
    followed: Option<Followed>,
    /// Ack-eliciting packets since the last ACK.
    pending: u8,
    unconfirmed: u8,
    ranges: RangeSet<R>,
}

impl<const N: usize> Received<[Row; N]> {
    /// Nothing was received.
    pub const fn new() -> Self {
        Self {
            ranges: RangeSet::new(),
            largest_at: Instant::ZERO,
            largest_ack_eliciting: None,
            ecn: Totals::ZERO,
            due: Deadline::NEVER,
            report_from: 0,
            followed: None,
            pending: 0,
            unconfirmed: 0,
        }
    }
}

impl<R: Rows + ?Sized> Received<R> {
    /// The largest packet number received.
    pub const fn largest(&self) -> Option<u64> {
        self.ranges.largest()
    }

    /// Whether packet `pn` was received before, or is so old that this can no longer be told. Asked only of packets
    /// that proved authentic (RFC 9000 12.3).
    pub fn is_duplicate(&self, pn: u64) -> bool {
        self.ranges.contains(pn)
    }

    /// Packet `pn`, no duplicate, was processed whole. `max_ack_delay` is ours for application data, else zero.
    pub fn on_received(&mut self, now: Instant, pn: u64, ack_eliciting: bool, ecn: Ecn, max_ack_delay: Span) {
        if self.largest() < Some(pn) {
            self.largest_at = now;
        }
        if self.ranges.insert(pn) == Inserted::Known {
            return;
        }
        self.count_ecn(ecn);
        if pn < self.report_from {
            // Too late for the frame being followed, yet to be reported at least once (RFC 9000 13.2.1).
            self.report_from = pn;
            self.followed = None;
        }
        if !ack_eliciting {
            return;
        }
        self.pending = self.pending.saturating_add(1);
        let at_once = self.pending >= ACK_EVERY || ecn == Ecn::Ce || self.is_out_of_order(pn);
        let wait = if at_once { Span::ZERO } else { max_ack_delay };
        self.due = self.due.min(Deadline::at(now.after(wait)));
        self.largest_ack_eliciting = self.largest_ack_eliciting.max(Some(PacketNumber::new(pn)));
    }

    /// When an ACK must be sent. Set from the first ack-eliciting packet that has none: whatever is sent in the space
    /// before should bring it along.
    pub const fn due(&self) -> Deadline {
        self.due
    }

    /// Whether the next packet with an ACK should be ack-eliciting though it need not (RFC 9000 13.2.4): else a peer
    /// that only ever gets ACK frames never lets us forget what it knows.
    pub fn wants_confirmation(&self) -> bool {
        self.unconfirmed >= UNCONFIRMED_ACKS && self.reported().nth(1).is_some()
    }

    /// Writes an ACK frame, or a PATH_ACK where the path ID of the space is named with it. `exponent` is our
    /// ack_delay_exponent. The caller tells [`Received::on_ack_sent`] once the packet is sent.
    ///
    /// # Errors
    /// [`NoSpace`] if the newest range does not fit, or nothing was received.
    pub fn write(
        &self,
        now: Instant,
        exponent: u8,
        path: Option<(Dialect, PathId)>,
        out: &mut PacketWriter<'_>,
    ) -> Result<(), NoSpace> {
        let delay = encode_delay(now.since(self.largest_at), exponent);
        let ecn = (self.ecn != Totals::ZERO).then(|| self.ecn.get());
        out.ack(path, delay, ecn, self.reported())
    }

    /// Our packet `pn` with an ACK frame was sent.
    pub fn on_ack_sent(&mut self, pn: u64, ack_eliciting: bool) {
        self.pending = 0;
        self.due = Deadline::NEVER;
        if !ack_eliciting {
            self.unconfirmed = self.unconfirmed.saturating_add(1);
            return;
        }
        self.unconfirmed = 0;
        if let (None, Some(largest)) = (self.followed, self.largest()) {
            self.followed = Some(Followed { pn: PacketNumber::new(pn), largest });
        }
    }

    /// Our packet with an ACK frame was sent in another space, whose acknowledgments are not followed here.
    pub const fn on_ack_sent_elsewhere(&mut self) {
        self.pending = 0;
        self.due = Deadline::NEVER;
    }

    /// The peer acknowledged `ranges` of our packets.
    pub(super) fn on_ack(&mut self, ranges: &AckedRanges) {
        let Some(Followed { pn, largest }) = self.followed else { return };
        let pn = pn.get();
        if ranges.contains(pn) {
            self.report_from = largest;
        }
        // A packet passed over by the peer's ACK may be lost: the next one is followed instead.
        if ranges.largest() >= Some(pn) {
            self.followed = None;
        }
    }

    fn reported(&self) -> impl Iterator<Item = core::ops::RangeInclusive<u64>> + Clone + '_ {
        self.ranges.iter().take_while(|range| *range.end() >= self.report_from)
    }

    /// Whether an ack-eliciting packet came behind another with a larger number, or before one that is missing.
    fn is_out_of_order(&self, pn: u64) -> bool {
        let Some(largest) = self.largest_ack_eliciting.map(PacketNumber::get) else { return false };
        let run = self.ranges.iter().find(|range| *range.start() <= pn);
        pn < largest || run.is_none_or(|run| largest < *run.start())
    }

    fn count_ecn(&mut self, ecn: Ecn) {
        let Totals { ect0, ect1, ce } = &mut self.ecn;
        match ecn {
            Ecn::NotEct => {}
            Ecn::Ect0 => *ect0 = ect0.saturating_add(1),
            Ecn::Ect1 => *ect1 = ect1.saturating_add(1),
            Ecn::Ce => *ce = ce.saturating_add(1),
        }
    }
}

impl<const N: usize> Default for Received<[Row; N]> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Level;
    use crate::wire::frame::{Frame, Frames};
    use std::vec::Vec;

    const DELAY: Span = Span::from_millis(25);

    const fn ms(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    type Received = super::Received<[Row; crate::limits::ACK_RANGES]>;

    fn with(packets: &[u64]) -> Received {
        let mut received = Received::new();
        for pn in packets {
            received.on_received(ms(*pn), *pn, true, Ecn::NotEct, DELAY);
        }
        received
    }

    fn frame(received: &Received, now: Instant) -> (u64, Option<EcnCounts>, Vec<(u64, u64)>) {
        let mut buffer = [0; 200];
        let mut out = PacketWriter::new(&mut buffer);
        received.write(now, 3, None, &mut out).unwrap();
        let len = out.len();
        match Frames::new(Level::OneRtt, &buffer[..len]).next().unwrap().unwrap() {
            Frame::Ack(ack) => (ack.delay, ack.ecn, ack.ranges().map(|range| range.into_inner()).collect()),
            _ => panic!("not an ACK frame"),
        }
    }

    fn acked(received: &mut Received, low: u64, high: u64) {
        received.on_ack(&AckedRanges::of(core::iter::once(low..=high)));
    }

    #[test]
    #[cfg(feature = "multipath")]
    fn the_same_is_said_of_a_path_by_its_id() {
        let received = with(&[3, 4, 9]);
        let (mut plain, mut named) = ([0; 40], [0; 40]);
        let (mut out, mut path_out) = (PacketWriter::new(&mut plain), PacketWriter::new(&mut named));
        received.write(ms(9), 3, None, &mut out).unwrap();
        received.write(ms(9), 3, Some((Dialect::Draft21, PathId(7))), &mut path_out).unwrap();
        assert_eq!(named[..2], [0x3e, 7]);
        assert_eq!((plain[0], &plain[1..39]), (0x02, &named[2..]));
    }

    #[test]
    fn every_second_packet_is_acknowledged_at_once() {
        assert_eq!(with(&[0]).due(), Deadline::at(ms(25)));
        assert_eq!(with(&[0, 1]).due(), Deadline::at(ms(1)));
        let mut received = with(&[0, 1]);
        received.on_ack_sent(0, false);
        assert!(!received.due().is_set());
        received.on_received(ms(2), 2, true, Ecn::Ect0, DELAY);
        assert_eq!(received.due(), Deadline::at(ms(27)));
    }

    #[test]
    fn spaces_without_delay_acknowledge_at_once() {
        let mut received = Received::new();
        received.on_received(ms(4), 0, true, Ecn::NotEct, Span::ZERO);
        assert_eq!(received.due(), Deadline::at(ms(4)));
    }

    #[test]
    fn disorder_and_gaps_and_marks_are_acknowledged_at_once() {
        let after_first = |pn, ecn| {
            let mut received = with(&[4]);
            received.on_ack_sent(0, false);
            received.on_received(ms(40), pn, true, ecn, DELAY);
            received.due() == Deadline::at(ms(40))
        };
        assert!(after_first(6, Ecn::NotEct) && after_first(3, Ecn::NotEct) && after_first(5, Ecn::Ce));
        assert!(!after_first(5, Ecn::Ect1));
        // A gap is reported when it opens, not with every packet that follows it.
        let mut received = with(&[4, 6]);
        received.on_ack_sent(0, false);
        received.on_received(ms(40), 7, true, Ecn::NotEct, DELAY);
        assert_eq!(received.due(), Deadline::at(ms(65)));
    }

    #[test]
    fn a_packet_that_asks_for_nothing_fills_gaps_but_never_makes_an_ack_owed() {
        let mut received = with(&[4]);
        received.on_ack_sent(0, false);
        for pn in [9, 7, 5] {
            received.on_received(ms(40), pn, false, Ecn::Ce, DELAY);
            assert!(!received.due().is_set());
        }
        received.on_received(ms(41), 6, true, Ecn::NotEct, DELAY);
        assert_eq!(received.due(), Deadline::at(ms(66)), "4 to 7 are complete");
        assert_eq!(frame(&received, ms(42)).2, [(9, 9), (4, 7)]);
    }

    #[test]
    fn delay_is_that_of_the_largest() {
        let mut received = with(&[10]);
        received.on_received(ms(30), 9, true, Ecn::NotEct, DELAY);
        assert_eq!(frame(&received, ms(34)).0, 24_000 >> 3);
        assert_eq!(decode_delay(24_000 >> 3, 3), Span::from_millis(24));
        assert_eq!(decode_delay(u64::MAX, 20), Span::from_micros(u64::MAX));
        assert_eq!((encode_delay(DELAY, 70), decode_delay(1, 70)), (0, Span::from_micros(u64::MAX)));
    }

    #[test]
    fn a_delay_longer_than_promised_is_told_as_it_was() {
        let received = with(&[0]);
        assert_eq!(received.due(), Deadline::at(ms(25)));
        assert_eq!(frame(&received, ms(400)).0, 400_000 >> 3);
    }

    #[test]
    fn duplicates_change_nothing() {
        let mut received = with(&[0]);
        assert!(received.is_duplicate(0) && !received.is_duplicate(1));
        received.on_received(ms(9), 0, true, Ecn::Ce, DELAY);
        assert_eq!((received.due(), frame(&received, ms(9)).1), (Deadline::at(ms(25)), None));
    }

    #[test]
    fn marks_are_counted_and_reported() {
        let mut received = Received::new();
        for (pn, ecn) in (0..).zip([Ecn::Ect0, Ecn::Ect0, Ecn::Ect1, Ecn::Ce, Ecn::NotEct]) {
            received.on_received(ms(0), pn, true, ecn, DELAY);
        }
        assert_eq!(frame(&received, ms(0)).1, Some(EcnCounts { ect0: 2, ect1: 1, ce: 1 }));
    }

    #[test]
    fn what_the_peer_knows_is_reported_no_more_but_stays_known() {
        let mut received = with(&[0, 2, 4]);
        received.on_ack_sent(7, true);
        received.on_received(ms(6), 6, true, Ecn::NotEct, DELAY);
        received.on_ack_sent(8, true);
        acked(&mut received, 8, 8);
        assert_eq!(frame(&received, ms(6)).2.len(), 4, "7 was passed over, 8 was not followed");
        received.on_ack_sent(9, true);
        acked(&mut received, 9, 9);
        assert_eq!(frame(&received, ms(6)).2, [(6, 6)]);
        assert!(received.is_duplicate(0) && !received.is_duplicate(1));
        // A late packet below is accepted and reported.
        received.on_received(ms(7), 3, true, Ecn::NotEct, DELAY);
        assert_eq!(frame(&received, ms(7)).2, [(6, 6), (2, 4)]);
    }

    #[test]
    fn a_late_packet_is_reported_though_an_older_frame_is_confirmed() {
        let mut received = with(&[0, 2, 4]);
        received.on_ack_sent(7, true);
        acked(&mut received, 7, 7);
        received.on_ack_sent(8, true);
        received.on_received(ms(5), 1, true, Ecn::NotEct, DELAY);
        acked(&mut received, 8, 8);
        assert_eq!(frame(&received, ms(5)).2, [(4, 4), (0, 2)]);
    }

    #[test]
    fn confirmation_is_wanted_after_many_lonely_acks_with_gaps() {
        let mut received = with(&[0, 2]);
        for pn in 0..32 {
            assert!(!received.wants_confirmation());
            received.on_ack_sent(pn, false);
        }
        assert!(received.wants_confirmation());
        received.on_ack_sent(32, true);
        assert!(!received.wants_confirmation());
    }
}
