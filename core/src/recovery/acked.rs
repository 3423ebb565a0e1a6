//! The packet numbers that one ACK frame acknowledges, turned from newest first to oldest first.

use core::ops::RangeInclusive;

use crate::limits::ACK_RANGES_READ;

/// The newest ranges of an ACK frame, at most [`ACK_RANGES_READ`] of them; a peer repeats what it still needs said.
#[derive(Clone, Debug)]
pub struct AckedRanges {
    /// Newest first: smallest and largest number.
    rows: [(u64, u64); ACK_RANGES_READ],
    len: usize,
}

impl AckedRanges {
    /// Reads ranges that come newest first, disjoint.
    pub fn read(ranges: impl Iterator<Item = RangeInclusive<u64>>) -> Self {
        let mut rows = [(0, 0); ACK_RANGES_READ];
        let mut len = 0_usize;
        for (row, range) in rows.iter_mut().zip(ranges) {
            *row = range.into_inner();
            len = len.saturating_add(1);
        }
        Self { rows, len }
    }

    /// The ranges, oldest first.
    pub fn ascending(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.rows.get(..self.len).unwrap_or_default().iter().rev().map(|(low, high)| *low..=*high)
    }

    /// The largest number acknowledged.
    pub fn largest(&self) -> Option<u64> {
        self.rows.get(..self.len).and_then(<[_]>::first).map(|(_, high)| *high)
    }

    /// Whether `pn` is acknowledged.
    pub fn contains(&self, pn: u64) -> bool {
        self.rows
            .get(..self.len)
            .unwrap_or_default()
            .iter()
            .find(|(low, _)| *low <= pn)
            .is_some_and(|(_, high)| pn <= *high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn turns_the_order_and_keeps_the_newest() {
        let many = (0..100_u64).rev().map(|nth| nth * 10..=nth * 10 + 4);
        let acked = AckedRanges::read(many);
        let seen: Vec<_> = acked.ascending().collect();
        assert_eq!(seen.len(), ACK_RANGES_READ);
        assert_eq!((seen[0].clone(), seen[ACK_RANGES_READ - 1].clone()), (360..=364, 990..=994));
        assert_eq!(acked.largest(), Some(994));
        assert!(acked.contains(990) && acked.contains(362) && !acked.contains(989) && !acked.contains(354));
        assert_eq!(AckedRanges::read(core::iter::empty()).largest(), None);
    }
}
