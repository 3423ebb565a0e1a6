//! ACK (RFC 9000 19.3).

use core::ops::RangeInclusive;

use crate::ids::PathId;
use crate::limits::ACK_RANGES;
use crate::wire::cursor::varint_len;
use crate::wire::{Dialect, Malformed, NoSpace, Reader, Writer};

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
    /// As they were sent, their count before them.
    ranges: &'a [u8],
}

impl<'a> Ack<'a> {
    pub(super) fn parse(frame_type: u64, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Self::parse_body(frame_type == 0x03, from)
    }

    /// Parses what follows the type, and the path ID of a PATH_ACK.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    pub(super) fn parse_body(with_ecn: bool, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let largest = from.varint()?;
        let delay = from.varint()?;
        let start = from.rest();
        let more = from.varint()?;
        let mut smallest = largest.checked_sub(from.varint()?).ok_or(Malformed)?;
        for _ in 0..more {
            let gap = from.varint()?;
            let len = from.varint()?;
            let next = smallest.checked_sub(gap).and_then(|next| next.checked_sub(2)).ok_or(Malformed)?;
            smallest = next.checked_sub(len).ok_or(Malformed)?;
        }
        let read = start.len().saturating_sub(from.remaining());
        let ranges = start.get(..read).ok_or(Malformed)?;
        let ecn = if with_ecn {
            Some(EcnCounts { ect0: from.varint()?, ect1: from.varint()?, ce: from.varint()? })
        } else {
            None
        };
        Ok(Self { largest, delay, ecn, ranges })
    }

    /// The acknowledged packet numbers, from the largest range down.
    pub fn ranges(&self) -> AckRanges<'a> {
        let mut rest = Reader::new(self.ranges);
        // The count was held against what follows it when the frame was parsed.
        rest.varint().ok();
        AckRanges { first: Some(self.largest), smallest: self.largest, rest }
    }

    /// A frame as it was parsed; [`emit`] makes one from ranges.
    pub(super) fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        self.emit_for(None, out)
    }

    pub(super) fn emit_for(&self, path: Option<(Dialect, u64)>, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        emit_head(path, self.ecn.is_some(), out)?;
        out.varint(self.largest)?;
        out.varint(self.delay)?;
        out.bytes(self.ranges)?;
        emit_ecn(self.ecn, out)
    }
}

/// See [`Ack::ranges`].
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    /// The largest number of the first range, until that is told.
    first: Option<u64>,
    smallest: u64,
    rest: Reader<'a>,
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let largest = match self.first.take() {
            Some(largest) => largest,
            None => self.smallest.checked_sub(self.rest.varint().ok()?)?.checked_sub(2)?,
        };
        let len = self.rest.varint().ok()?;
        self.smallest = largest.checked_sub(len)?;
        Some(self.smallest..=largest)
    }
}

/// Ranges after the first that a frame is given at most, so that their count takes one byte. Nobody remembers more.
const MAX_MORE_RANGES: u64 = 63;
const _: () = assert!(ACK_RANGES as u64 <= MAX_MORE_RANGES + 1);

/// Writes an ACK frame, or a PATH_ACK where a path ID is named, of `ranges`, which come from the largest down, disjoint
/// and not adjacent; as many of them as fit (RFC 9000 13.2.3: older ranges are left out first).
///
/// # Errors
/// [`NoSpace`] if not even the first range fits, or there is none; nothing is written then.
pub fn emit(
    path: Option<(Dialect, PathId)>,
    delay: u64,
    ecn: Option<EcnCounts>,
    ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
    out: &mut Writer<'_>,
) -> Result<(), NoSpace> {
    out.whole(|out| emit_parts(path, delay, ecn, ranges, out))
}

fn emit_parts(
    path: Option<(Dialect, PathId)>,
    delay: u64,
    ecn: Option<EcnCounts>,
    mut ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
    out: &mut Writer<'_>,
) -> Result<(), NoSpace> {
    let (smallest, largest) = ranges.next().ok_or(NoSpace)?.into_inner();
    let first = largest.checked_sub(smallest).ok_or(NoSpace)?;
    let more = Pairs { smallest, ranges };
    emit_head(path.map(|(dialect, PathId(path))| (dialect, path.into())), ecn.is_some(), out)?;
    out.varint(largest)?;
    out.varint(delay)?;
    // The count stands before the ranges, so they are measured first and written second.
    let fixed = 1_usize.saturating_add(varint_len(first)).saturating_add(ecn_len(ecn));
    let mut room = out.room().checked_sub(fixed).ok_or(NoSpace)?;
    let mut count = 0_u64;
    for (gap, len) in more.clone() {
        let Some(left) = room.checked_sub(varint_len(gap).saturating_add(varint_len(len))) else { break };
        if count == MAX_MORE_RANGES {
            break;
        }
        room = left;
        count = count.saturating_add(1);
    }
    out.varint(count)?;
    out.varint(first)?;
    for ((gap, len), _) in more.zip(0..count) {
        out.varint(gap)?;
        out.varint(len)?;
    }
    emit_ecn(ecn, out)
}

fn emit_head(path: Option<(Dialect, u64)>, with_ecn: bool, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    let Some((dialect, path)) = path else {
        return out.u8(if with_ecn { 0x03 } else { 0x02 });
    };
    let types = &dialect.numbers().path_ack;
    out.varint(if with_ecn { *types.end() } else { *types.start() })?;
    out.varint(path)
}

/// Ranges as the frame tells them: the gap below the range before, and the length (RFC 9000 19.3.1).
#[derive(Clone)]
struct Pairs<R> {
    smallest: u64,
    ranges: R,
}

impl<R: Iterator<Item = RangeInclusive<u64>>> Iterator for Pairs<R> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let (smallest, largest) = self.ranges.next()?.into_inner();
        let gap = self.smallest.checked_sub(largest)?.checked_sub(2)?;
        self.smallest = smallest;
        Some((gap, largest.checked_sub(smallest)?))
    }
}

fn ecn_len(ecn: Option<EcnCounts>) -> usize {
    ecn.map_or(0, |EcnCounts { ect0, ect1, ce }| [ect0, ect1, ce].into_iter().map(varint_len).sum())
}

fn emit_ecn(ecn: Option<EcnCounts>, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    if let Some(EcnCounts { ect0, ect1, ce }) = ecn {
        out.varint(ect0)?;
        out.varint(ect1)?;
        out.varint(ce)?;
    }
    Ok(())
}
