//! ACK (RFC 9000 19.3).

use core::ops::RangeInclusive;

use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// Packets received with each ECN codepoint (RFC 9000 19.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EcnCounts {
    /// With ECT(0).
    pub ect0: u64,
    /// With ECT(1).
    pub ect1: u64,
    /// With CE.
    pub ce: u64,
}

/// ACK: packet numbers received, as ranges from the largest down.
///
/// A parsed frame has been checked: every range lies at or above zero and below the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The largest packet number acknowledged.
    pub largest: u64,
    /// Time since `largest` came, not yet shifted by the ack delay exponent.
    pub delay: u64,
    /// The ECN counts, if reported.
    pub ecn: Option<EcnCounts>,
    first_range: u64,
    more_ranges: u64,
    ranges: &'a [u8],
}

impl<'a> Ack<'a> {
    pub(super) fn parse(frame_type: u64, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let largest = from.varint()?;
        let delay = from.varint()?;
        let more_ranges = from.varint()?;
        let first_range = from.varint()?;
        let start = from.rest();
        let mut smallest = largest.checked_sub(first_range).ok_or(Malformed)?;
        for _ in 0..more_ranges {
            let gap = from.varint()?;
            let len = from.varint()?;
            let next = smallest.checked_sub(gap).and_then(|next| next.checked_sub(2)).ok_or(Malformed)?;
            smallest = next.checked_sub(len).ok_or(Malformed)?;
        }
        let read = start.len().saturating_sub(from.remaining());
        let ranges = start.get(..read).ok_or(Malformed)?;
        let ecn = if frame_type == 0x03 {
            Some(EcnCounts { ect0: from.varint()?, ect1: from.varint()?, ce: from.varint()? })
        } else {
            None
        };
        Ok(Self { largest, delay, ecn, first_range, more_ranges, ranges })
    }

    /// The acknowledged packet numbers, from the largest range down.
    pub const fn ranges(&self) -> AckRanges<'a> {
        AckRanges {
            first: Some((self.largest, self.first_range)),
            smallest: self.largest,
            rest: Reader::new(self.ranges),
        }
    }

    /// A frame as it was parsed; [`emit`] makes one from ranges.
    pub(super) fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(if self.ecn.is_some() { 0x03 } else { 0x02 })?;
        out.varint(self.largest)?;
        out.varint(self.delay)?;
        out.varint(self.more_ranges)?;
        out.varint(self.first_range)?;
        out.bytes(self.ranges)?;
        emit_ecn(self.ecn, out)
    }
}

/// See [`Ack::ranges`].
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    first: Option<(u64, u64)>,
    smallest: u64,
    rest: Reader<'a>,
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let (largest, len) = match self.first.take() {
            Some(first) => first,
            None => {
                let gap = self.rest.varint().ok()?;
                let len = self.rest.varint().ok()?;
                (self.smallest.checked_sub(gap)?.checked_sub(2)?, len)
            }
        };
        self.smallest = largest.checked_sub(len)?;
        Some(self.smallest..=largest)
    }
}

/// Writes an ACK frame of `ranges`, which come from the largest down, disjoint and not adjacent; as many of them as
/// fit (RFC 9000 13.2.3: older ranges are left out first).
///
/// # Errors
/// [`NoSpace`] if not even the first range fits, or there is none; nothing is written then.
pub fn emit(
    delay: u64,
    ecn: Option<EcnCounts>,
    ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
    out: &mut Writer<'_>,
) -> Result<(), NoSpace> {
    let before = out.len();
    let written = emit_parts(delay, ecn, ranges, out);
    if written.is_err() {
        out.truncate(before);
    }
    written
}

fn emit_parts(
    delay: u64,
    ecn: Option<EcnCounts>,
    mut ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
    out: &mut Writer<'_>,
) -> Result<(), NoSpace> {
    let (mut smallest, largest) = ranges.next().ok_or(NoSpace)?.into_inner();
    out.u8(if ecn.is_some() { 0x03 } else { 0x02 })?;
    out.varint(largest)?;
    out.varint(delay)?;
    let reserved = ecn.map_or(0, |_| 24);
    let per_range = |smallest: u64, range: &RangeInclusive<u64>| {
        let gap = smallest.saturating_sub(*range.end()).saturating_sub(2);
        (gap, range.end().saturating_sub(*range.start()))
    };
    // How many more ranges fit is known only after measuring them: the count stands before them.
    let first = largest.saturating_sub(smallest);
    let mut room = out.room().checked_sub(reserved).ok_or(NoSpace)?;
    room = room.checked_sub(crate::wire::cursor::varint_len(first).saturating_add(2)).ok_or(NoSpace)?;
    let (mut count, mut low) = (0_u64, smallest);
    for range in ranges.clone() {
        let (gap, len) = per_range(low, &range);
        let size = crate::wire::cursor::varint_len(gap).saturating_add(crate::wire::cursor::varint_len(len));
        match room.checked_sub(size) {
            Some(left) => room = left,
            None => break,
        }
        low = *range.start();
        count = count.saturating_add(1);
    }
    out.varint(count)?;
    out.varint(first)?;
    for _ in 0..count {
        let range = ranges.next().ok_or(NoSpace)?;
        let (gap, len) = per_range(smallest, &range);
        out.varint(gap)?;
        out.varint(len)?;
        smallest = *range.start();
    }
    emit_ecn(ecn, out)
}

fn emit_ecn(ecn: Option<EcnCounts>, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    if let Some(EcnCounts { ect0, ect1, ce }) = ecn {
        out.varint(ect0)?;
        out.varint(ect1)?;
        out.varint(ce)?;
    }
    Ok(())
}
