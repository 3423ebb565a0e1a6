//! The packet numbers that one ACK frame acknowledges, turned from newest first to oldest first.

use core::ops::RangeInclusive;

use crate::limits::ACK_RANGES_READ;

/// The newest ranges of an ACK frame, at most [`ACK_RANGES_READ`] of them; a peer repeats what it still needs said.
#[derive(Clone, Debug)]
pub struct AckedRanges {
    largest: u64,
    /// Newest first: how far below `largest` the smallest and the largest number are. Half the size of the numbers, and what
    /// lies further below is not under way.
    rows: [(u32, u32); ACK_RANGES_READ],
    len: usize,
}

impl AckedRanges {
    /// None.
    pub const NONE: Self = Self { largest: 0, rows: [(0, 0); ACK_RANGES_READ], len: 0 };

    /// Reads ranges that come newest first, disjoint, into a place that had none: what is returned would be copied there.
    pub fn read(&mut self, ranges: impl Iterator<Item = RangeInclusive<u64>>) {
        for (row, range) in self.rows.iter_mut().zip(ranges) {
            let (low, high) = range.into_inner();
            if self.len == 0 {
                self.largest = high;
            }
            let below = |pn| u32::try_from(self.largest.saturating_sub(pn));
            let Ok(to_high) = below(high) else { break };
            *row = (below(low).unwrap_or(u32::MAX), to_high);
            self.len = self.len.saturating_add(1);
        }
    }

    /// These ranges, for tests.
    #[cfg(test)]
    pub fn of(ranges: impl Iterator<Item = RangeInclusive<u64>>) -> Self {
        let mut acked = Self::NONE;
        acked.read(ranges);
        acked
    }

    fn rows(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        let at = |below: u32| self.largest.saturating_sub(below.into());
        self.rows.get(..self.len).unwrap_or_default().iter().map(move |(low, high)| (at(*low), at(*high)))
    }

    /// The ranges, oldest first.
    pub fn ascending(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.rows().rev().map(|(low, high)| low..=high)
    }

    /// The largest number acknowledged.
    pub fn largest(&self) -> Option<u64> {
        (self.len > 0).then_some(self.largest)
    }

    /// Whether `pn` is acknowledged.
    pub fn contains(&self, pn: u64) -> bool {
        self.rows().find(|(low, _)| *low <= pn).is_some_and(|(_, high)| pn <= high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn turns_the_order_and_keeps_the_newest() {
        let many = (0..100_u64).rev().map(|nth| nth * 10..=nth * 10 + 4);
        let acked = AckedRanges::of(many);
        let seen: Vec<_> = acked.ascending().collect();
        assert_eq!(seen.len(), ACK_RANGES_READ);
        assert_eq!((seen[0].clone(), seen[ACK_RANGES_READ - 1].clone()), (360..=364, 990..=994));
        assert_eq!(acked.largest(), Some(994));
        assert!(acked.contains(990) && acked.contains(362) && !acked.contains(989) && !acked.contains(354));
        assert_eq!(AckedRanges::of(core::iter::empty()).largest(), None);
    }

    #[test]
    fn what_is_four_thousand_million_packets_ago_is_left_out() {
        let newest = u64::from(u32::MAX) + 10;
        let read = |ranges: [RangeInclusive<u64>; 3]| AckedRanges::of(ranges.into_iter());
        let seen: Vec<_> = read([newest..=newest, 11..=12, 7..=8]).ascending().collect();
        assert_eq!(seen, [11..=12, newest..=newest]);
        let long = AckedRanges::of(core::iter::once(0..=newest));
        assert!(long.contains(10) && !long.contains(9) && long.contains(newest));
    }
}
