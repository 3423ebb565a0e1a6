//! A set of growing numbers, kept as ranges in a fixed array.
//!
//! Most numbers extend the newest range: one comparison. A number that opens a gap, or falls into one, costs a walk
//! over at most `N` rows from the newest on. When a row is missing the oldest range is dropped, and every number up to
//! its end counts as contained from then on: the set may forget the shape of the past, never let a number in twice.
//!
//! A row holds the low halves of its ends, 8 bytes in all; the largest number tells the rest. So nothing is
//! remembered that lies more than 2^31 below the largest; it counts as contained too.
//!
//! A set is generic over its rows: `&mut RangeSet<[Row; N]>` coerces to `&mut RangeSet<[Row]>`, so that sets of different
//! sizes are used by the same code.

use core::mem::swap;
use core::ops::RangeInclusive;

/// How far below the largest number a range is remembered.
const SPAN: u64 = 1 << 31;

/// The number at or below `newest` whose low half is `low`.
#[cfg_attr(target_os = "none", inline(never))]
pub const fn widen(newest: u64, low: u32) -> u64 {
    newest.saturating_sub((newest as u32).wrapping_sub(low) as u64)
}

/// A range, both ends contained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    low: u32,
    high: u32,
}

impl Row {
    const EMPTY: Self = Self { low: 0, high: 0 };

    const fn one(value: u64) -> Self {
        Self { low: value as u32, high: value as u32 }
    }
}

/// The rows of a set: an array, or a slice.
pub trait Rows: AsRef<[Row]> + AsMut<[Row]> {}

impl<R: AsRef<[Row]> + AsMut<[Row]> + ?Sized> Rows for R {}

/// What came of [`RangeSet::insert`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inserted {
    /// The number was contained already.
    Known,
    /// The number is new.
    New,
    /// The number is new, and the oldest range was dropped to make room, which may be the number itself.
    Dropped,
}

/// A set of `u64` as at most as many ranges as there are rows.
#[derive(Clone, Debug)]
pub struct RangeSet<R: ?Sized> {
    len: usize,
    largest: u64,
    floor: u64,
    /// Oldest first, disjoint, not adjacent.
    rows: R,
}

impl<const N: usize> RangeSet<[Row; N]> {
    /// The empty set.
    pub const fn new() -> Self {
        Self { rows: [Row::EMPTY; N], len: 0, largest: 0, floor: 0 }
    }
}

impl<R: Rows + ?Sized> RangeSet<R> {
    /// How many ranges are remembered.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no range is remembered.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The largest number remembered.
    pub const fn largest(&self) -> Option<u64> {
        if self.len == 0 { None } else { Some(self.largest) }
    }

    /// The newest range.
    pub fn newest(&self) -> Option<RangeInclusive<u64>> {
        self.iter().next()
    }

    /// The ranges, newest first.
    pub fn iter(&self) -> Ranges<'_> {
        Ranges { rows: self.rows.as_ref().get(..self.len).unwrap_or_default().iter(), largest: self.largest }
    }

    /// Whether `value` was inserted, or lies so far in the past that this can no longer be told.
    pub fn contains(&self, value: u64) -> bool {
        value < self.floor
            || self.iter().find(|range| *range.start() <= value).is_some_and(|range| value <= *range.end())
    }

    /// Adds `value`.
    pub fn insert(&mut self, value: u64) -> Inserted {
        if value < self.floor {
            return Inserted::Known;
        }
        if self.len == 0 {
            self.largest = value;
            return self.insert_row(0, value);
        }
        if value > self.largest {
            return self.insert_newest(value);
        }
        self.insert_older(value)
    }

    /// Forgets all numbers below `floor`, which count as contained from then on.
    pub fn remove_below(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        let largest = self.largest;
        while let Some(oldest) = self.rows.as_mut().get_mut(..self.len).and_then(<[Row]>::first_mut) {
            if widen(largest, oldest.high) >= floor {
                if widen(largest, oldest.low) < floor {
                    oldest.low = floor as u32;
                }
                break;
            }
            self.remove_row(0);
        }
    }

    fn insert_newest(&mut self, value: u64) -> Inserted {
        self.remove_below(value.saturating_sub(SPAN));
        let adjacent = self.largest.checked_add(1) == Some(value);
        self.largest = value;
        match self.rows.as_mut().get_mut(..self.len).and_then(<[Row]>::last_mut) {
            Some(newest) if adjacent => {
                newest.high = value as u32;
                Inserted::New
            }
            _ => self.insert_row(self.len, value),
        }
    }

    fn insert_older(&mut self, value: u64) -> Inserted {
        // The ranges from `at` on lie above the value; the one before, if any, begins at or below it.
        let above = self.iter().take_while(|range| *range.start() > value).count();
        let at = self.len.saturating_sub(above);
        let largest = self.largest;
        let low = value as u32;
        let (older, newer) = self.rows.as_mut().split_at_mut_checked(at).unwrap_or_default();
        let older = older.last_mut();
        let newer = newer.first_mut().filter(|_| above > 0);
        if older.as_ref().is_some_and(|row| value <= widen(largest, row.high)) {
            return Inserted::Known;
        }
        let older = older.filter(|row| row.high.wrapping_add(1) == low);
        let newer = newer.filter(|row| row.low.wrapping_sub(1) == low);
        match (older, newer) {
            (Some(older), Some(newer)) => {
                older.high = newer.high;
                self.remove_row(at);
            }
            (Some(older), None) => older.high = low,
            (None, Some(newer)) => newer.low = low,
            (None, None) => return self.insert_row(at, value),
        }
        Inserted::New
    }

    /// Inserts a range of one number before row `at`; if there is no room the oldest range makes some.
    fn insert_row(&mut self, at: usize, value: u64) -> Inserted {
        if self.len < self.rows.as_ref().len() {
            let mut carried = Row::one(value);
            self.len = self.len.saturating_add(1);
            for row in self.rows.as_mut().iter_mut().take(self.len).skip(at) {
                swap(row, &mut carried);
            }
            return Inserted::New;
        }
        if at == 0 {
            self.floor = value.saturating_add(1);
        } else if let Some(oldest) = self.rows.as_ref().first() {
            self.floor = widen(self.largest, oldest.high).saturating_add(1);
            // The rows up to `at` move down by one, over the oldest.
            let mut carried = Row::one(value);
            for row in self.rows.as_mut().iter_mut().take(at).rev() {
                swap(row, &mut carried);
            }
        }
        Inserted::Dropped
    }

    fn remove_row(&mut self, at: usize) {
        let mut carried = Row::EMPTY;
        for row in self.rows.as_mut().iter_mut().take(self.len).skip(at).rev() {
            swap(row, &mut carried);
        }
        self.len = self.len.saturating_sub(1);
    }
}

impl<const N: usize> Default for RangeSet<[Row; N]> {
    fn default() -> Self {
        Self::new()
    }
}

/// See [`RangeSet::iter`].
#[derive(Clone, Debug)]
pub struct Ranges<'a> {
    rows: core::slice::Iter<'a, Row>,
    largest: u64,
}

impl Iterator for Ranges<'_> {
    type Item = RangeInclusive<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next_back().map(|row| widen(self.largest, row.low)..=widen(self.largest, row.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn ranges(set: &RangeSet<[Row]>) -> Vec<(u64, u64)> {
        set.iter().map(RangeInclusive::into_inner).collect()
    }

    fn of<const N: usize>(values: &[u64]) -> RangeSet<[Row; N]> {
        let mut set = RangeSet::new();
        for value in values {
            set.insert(*value);
        }
        set
    }

    #[test]
    fn ranges_join_from_both_sides() {
        assert_eq!(ranges(&of::<4>(&[1, 2, 3])), [(1, 3)]);
        assert_eq!(ranges(&of::<4>(&[5, 1, 3])), [(5, 5), (3, 3), (1, 1)]);
        assert_eq!(ranges(&of::<4>(&[5, 1, 3, 4])), [(3, 5), (1, 1)]);
        assert_eq!(ranges(&of::<4>(&[5, 1, 3, 4, 2])), [(1, 5)]);
        assert_eq!(ranges(&of::<4>(&[5, 3, 0, 1])), [(5, 5), (3, 3), (0, 1)]);
    }

    #[test]
    fn the_oldest_makes_room_and_stays_known() {
        let mut set = of::<2>(&[1, 2, 10]);
        assert_eq!(set.insert(20), Inserted::Dropped);
        assert_eq!(ranges(&set), [(20, 20), (10, 10)]);
        assert!(set.contains(0) && set.contains(2) && !set.contains(3));
        assert_eq!(set.insert(2), Inserted::Known);
        // A value older than all ranges is the oldest itself.
        assert_eq!(set.insert(5), Inserted::Dropped);
        assert!(set.contains(5) && set.contains(4) && !set.contains(6));
        // One in a gap pushes the oldest out.
        assert_eq!(set.insert(15), Inserted::Dropped);
        assert_eq!(ranges(&set), [(20, 20), (15, 15)]);
    }

    #[test]
    fn rows_are_eight_bytes_and_reach_back_half_of_the_low_part() {
        assert!(size_of::<RangeSet<[Row; 32]>>() <= 32 * 8 + 3 * 8);
        let far = 5 << 32;
        let mut set = of::<4>(&[3, far, far + 7]);
        assert_eq!(ranges(&set), [(far + 7, far + 7), (far, far)]);
        assert!(set.contains(3) && set.contains(4));
        // A range that straddles the limit is cut.
        let mut long = of::<4>(&(0..10).collect::<Vec<_>>());
        long.insert(SPAN + 5);
        assert_eq!(ranges(&long), [(SPAN + 5, SPAN + 5), (5, 9)]);
        set.remove_below(far + 8);
        assert!(set.is_empty() && set.largest().is_none() && set.contains(far + 7));
        assert_eq!(set.insert(far + 8), Inserted::New);
        assert_eq!(ranges(&set), [(far + 8, far + 8)]);
    }

    #[test]
    fn agrees_with_a_set_of_numbers() {
        let mut random = crate::table::random::Random::new(7);
        for round in 0..200_u64 {
            let base = if round % 2 == 0 { 0 } else { (1 << 32) - 40 };
            let (mut set, mut model) = (RangeSet::<[Row; 5]>::new(), BTreeSet::new());
            let mut floor = 0;
            for step in 0..120_u64 {
                let value = base + (step / 2 + random.below(20) as u64);
                if random.below(40) == 0 {
                    floor = floor.max(value.saturating_sub(15));
                    set.remove_below(floor);
                }
                let known = value < floor || model.contains(&value);
                assert_eq!(set.contains(value), known);
                let inserted = set.insert(value);
                assert_eq!(inserted == Inserted::Known, known);
                model.insert(value);
                if inserted == Inserted::Dropped {
                    // What was dropped is the oldest run of consecutive numbers.
                    let mut last = model.range(floor..).next().copied().unwrap();
                    while model.contains(&(last + 1)) {
                        last += 1;
                    }
                    floor = last + 1;
                }
                let seen: Vec<u64> = set.iter().flat_map(RangeInclusive::rev).collect();
                assert_eq!(seen, model.range(floor..).rev().copied().collect::<Vec<_>>());
                assert!(set.iter().zip(set.iter().skip(1)).all(|(new, old)| old.end() + 1 < *new.start()));
            }
        }
    }
}
