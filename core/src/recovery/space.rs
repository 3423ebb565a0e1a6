//! A packet number space (RFC 9000 12.3): our numbers and what the peer acknowledged of them, its numbers and what we
//! owe it ([`Received`]). Works alike for Initial, Handshake, and the application data of each path.

use crate::error::{Code, TransportError};
use crate::ids::PacketNumber;
use crate::limits::{ACK_RANGES, MAX_PACKET_NUMBER};
use crate::recovery::ack::{Received, Totals};
use crate::recovery::acked::AckedRanges;
use crate::table::ranges::{Row, Rows};
use crate::wire::frame::{Ack, EcnCounts};

/// What an ACK frame says of ECN (RFC 9000 13.4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnReport {
    /// Nothing: the frame does not raise the largest packet number acknowledged, and may be out of order.
    Stale,
    /// It has no counts.
    Absent,
    /// Its counts are this much larger than those before.
    Increase(EcnCounts),
    /// A count is smaller than before.
    Backwards,
}

/// One packet number space, with as many rows for ranges of packets received as `R` has: `Space` is that of a path.
#[derive(Clone, Debug)]
pub struct Space<R: ?Sized = [Row; ACK_RANGES]> {
    next_pn: u64,
    largest_acked: Option<PacketNumber>,
    ecn_reported: Totals,
    /// What was received in the space.
    pub received: Received<R>,
}

/// A packet number space of any size.
pub type AnySpace = Space<[Row]>;

impl<const N: usize> Space<[Row; N]> {
    /// Nothing was sent, nothing received.
    pub const fn new() -> Self {
        Self { next_pn: 0, largest_acked: None, ecn_reported: Totals::ZERO, received: Received::new() }
    }
}

#[cfg(test)]
impl<const N: usize> Space<[Row; N]> {
    /// A space that has used all numbers below.
    pub fn starting_at(next_pn: u64) -> Self {
        Self { next_pn, ..Self::new() }
    }
}

impl<R: Rows + ?Sized> Space<R> {
    /// The number of the next packet. `None` when all are used up: nothing may be sent any more, not even a
    /// CONNECTION_CLOSE (RFC 9000 12.3).
    pub const fn next_pn(&self) -> Option<u64> {
        if self.next_pn > MAX_PACKET_NUMBER { None } else { Some(self.next_pn) }
    }

    /// The largest packet number that the peer has acknowledged.
    pub fn largest_acked(&self) -> Option<u64> {
        self.largest_acked.map(PacketNumber::get)
    }

    /// The packet with the number [`Space::next_pn`] was sent.
    pub fn on_sent(&mut self) {
        self.next_pn = self.next_pn.saturating_add(1);
    }

    /// An ACK frame came that acknowledges `ranges`, which are to be told to each flight of the space. `skipped` is the
    /// number of the space that was skipped last. Returns what it says of ECN.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if it acknowledges a packet that was never sent (RFC 9000 13.1).
    pub fn on_ack(
        &mut self,
        ack: &Ack<'_>,
        ranges: &AckedRanges,
        skipped: Option<u64>,
    ) -> Result<EcnReport, TransportError> {
        if ack.largest >= self.next_pn || skipped.is_some_and(|skipped| ranges.contains(skipped)) {
            return Err(TransportError::new(
                Code::PROTOCOL_VIOLATION,
                "acknowledgment of a packet that was not sent",
            ));
        }
        self.received.on_ack(ranges);
        let largest = Some(PacketNumber::new(ack.largest));
        if self.largest_acked >= largest {
            return Ok(EcnReport::Stale);
        }
        self.largest_acked = largest;
        Ok(self.compare_ecn(ack.ecn))
    }

    fn compare_ecn(&mut self, reported: Option<EcnCounts>) -> EcnReport {
        let Some(new) = reported.as_ref().map(Totals::new) else { return EcnReport::Absent };
        let Some(growth) = new.checked_sub(self.ecn_reported) else { return EcnReport::Backwards };
        self.ecn_reported = new;
        EcnReport::Increase(growth)
    }
}

impl<const N: usize> Default for Space<[Row; N]> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Level;
    use crate::wire::Writer;
    use crate::wire::frame::{Frame, Frames, ack};
    use core::ops::RangeInclusive;

    fn receive(
        space: &mut AnySpace,
        ecn: Option<EcnCounts>,
        ranges: &[RangeInclusive<u64>],
    ) -> Result<EcnReport, TransportError> {
        let mut buffer = [0; 128];
        let mut out = Writer::new(&mut buffer);
        ack::emit(None, 0, ecn, ranges.iter().cloned(), &mut out).unwrap();
        let len = out.len();
        match Frames::new(Level::OneRtt, &buffer[..len]).next().unwrap().unwrap() {
            Frame::Ack(ack) => space.on_ack(&ack, &AckedRanges::of(ack.ranges()), Some(7)),
            _ => panic!("not an ACK frame"),
        }
    }

    fn sent(packets: u64) -> Space {
        let mut space = <Space>::new();
        (0..packets).for_each(|_| space.on_sent());
        space
    }

    #[test]
    fn acknowledging_the_future_is_a_violation() {
        let mut space = sent(5);
        assert_eq!(receive(&mut space, None, &[0..=5]).unwrap_err().code(), Code::PROTOCOL_VIOLATION);
        assert_eq!(space.largest_acked(), None);
        assert!(receive(&mut space, None, &[0..=4]).is_ok());
        assert_eq!(space.largest_acked(), Some(4));
    }

    #[test]
    fn acknowledging_a_skipped_number_is_a_violation() {
        let mut space = sent(20);
        assert!(receive(&mut space, None, &[8..=19, 0..=6]).is_ok());
        assert!(receive(&mut space, None, &[7..=19]).is_err());
        assert!(receive(&mut space, None, &[0..=19]).is_err());
    }

    #[test]
    fn ecn_counts_are_compared_only_by_newer_acks() {
        let mut space = sent(9);
        let counts = |ect0, ce| Some(EcnCounts { ect0, ect1: 0, ce });
        let mut report = |ecn, upto| receive(&mut space, ecn, &[0..=upto]).unwrap();
        assert_eq!(report(counts(2, 1), 3), EcnReport::Increase(EcnCounts { ect0: 2, ect1: 0, ce: 1 }));
        assert_eq!(report(counts(0, 0), 3), EcnReport::Stale);
        assert_eq!(report(None, 4), EcnReport::Absent);
        assert_eq!(report(counts(1, 4), 5), EcnReport::Backwards);
        assert_eq!(report(counts(5, 1), 6), EcnReport::Increase(EcnCounts { ect0: 3, ect1: 0, ce: 0 }));
    }

    #[test]
    fn numbers_end() {
        let mut space = <Space>::starting_at(MAX_PACKET_NUMBER);
        assert_eq!(space.next_pn(), Some(MAX_PACKET_NUMBER));
        space.on_sent();
        assert_eq!(space.next_pn(), None);
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Space>() <= 480, "{}", size_of::<Space>());
    }
}
