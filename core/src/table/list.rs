//! Doubly linked lists through the rows of a table: O(1) to add, to insert and to remove, no memory of their own.
//!
//! A row may stand on several lists at once, one [`Link`] for each. The number `K` tells them apart at compile time, so
//! that a list cannot be walked through the links of another.

/// No row. A table whose rows are listed has at most 65,534 of them.
pub const NONE: u16 = u16::MAX;
/// In `prev` of a link that is on no list.
const OFF: u16 = u16::MAX - 1;

/// What a row knows of a list it may stand on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    prev: u16,
    next: u16,
}

impl Link {
    /// On no list.
    pub const OFF: Self = Self { prev: OFF, next: NONE };

    /// Zeros, of memory that nobody has used yet.
    pub const BLANK: Self = Self { prev: 0, next: 0 };

    /// Whether the row stands on the list.
    pub const fn is_on(self) -> bool {
        self.prev != OFF
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::OFF
    }
}

/// A row that can stand on lists of number `K`.
pub trait Linked<const K: usize> {
    /// Its link.
    fn link(&self) -> Link;
    /// Its link, to be changed by [`List`] alone.
    fn link_mut(&mut self) -> &mut Link;
}

/// The two ends of a list. The rows are lent to each call and must always be the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List<const K: usize> {
    head: u16,
    tail: u16,
}

impl<const K: usize> List<K> {
    /// No rows.
    pub const EMPTY: Self = Self { head: NONE, tail: NONE };

    /// Zeros, of memory that nobody has used yet.
    pub const BLANK: Self = Self { head: 0, tail: 0 };

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// The first row.
    pub const fn head(&self) -> Option<u16> {
        if self.head == NONE { None } else { Some(self.head) }
    }

    /// The row before `row`.
    pub fn prev<T: Linked<K>>(&self, rows: &[T], row: u16) -> Option<u16> {
        at(rows, row).map(|row| row.link().prev).filter(|prev| *prev < OFF)
    }

    /// The row after `row`.
    pub fn next<T: Linked<K>>(&self, rows: &[T], row: u16) -> Option<u16> {
        at(rows, row).map(|row| row.link().next).filter(|next| *next != NONE)
    }

    /// Puts `row` last. It stands on no list of this number yet.
    pub fn push_back<T: Linked<K>>(&mut self, rows: &mut [T], row: u16) {
        self.insert(rows, self.tail, row, NONE);
    }

    /// Puts `row` first. It stands on no list of this number yet.
    pub fn push_front<T: Linked<K>>(&mut self, rows: &mut [T], row: u16) {
        self.insert(rows, NONE, row, self.head);
    }

    /// Puts `row` before `next`, which stands on this list.
    pub fn insert_before<T: Linked<K>>(&mut self, rows: &mut [T], next: u16, row: u16) {
        let prev = self.prev(rows, next).unwrap_or(NONE);
        self.insert(rows, prev, row, next);
    }

    /// Takes `row`, which stands on this list or on none, off it.
    pub fn remove<T: Linked<K>>(&mut self, rows: &mut [T], row: u16) {
        let Some(link) = at_mut(rows, row).map(Linked::link_mut) else { return };
        if link.is_on() {
            let Link { prev, next } = core::mem::take(link);
            self.join(rows, prev, next);
        }
    }

    /// Makes sure that `row` stands on this list, last if it did not, or does not.
    pub fn set<T: Linked<K>>(&mut self, rows: &mut [T], row: u16, on: bool) {
        match (at(rows, row).is_some_and(|row| row.link().is_on()), on) {
            (false, true) => self.push_back(rows, row),
            (true, false) => self.remove(rows, row),
            _ => {}
        }
    }

    /// Takes the first row off.
    pub fn pop_front<T: Linked<K>>(&mut self, rows: &mut [T]) -> Option<u16> {
        let head = self.head()?;
        self.remove(rows, head);
        Some(head)
    }

    fn insert<T: Linked<K>>(&mut self, rows: &mut [T], prev: u16, row: u16, next: u16) {
        let Some(link) = at_mut(rows, row).map(Linked::link_mut) else { return };
        debug_assert!(!link.is_on(), "a row is put on a list twice");
        *link = Link { prev, next };
        self.join(rows, prev, row);
        self.join(rows, row, next);
    }

    /// Makes two rows neighbours; `NONE` stands for what is beyond an end.
    fn join<T: Linked<K>>(&mut self, rows: &mut [T], left: u16, right: u16) {
        match at_mut(rows, left) {
            Some(row) => row.link_mut().next = right,
            None => self.head = right,
        }
        match at_mut(rows, right) {
            Some(row) => row.link_mut().prev = left,
            None => self.tail = left,
        }
    }
}

/// The row of that number, if there is one.
pub fn at<T>(rows: &[T], row: u16) -> Option<&T> {
    rows.get(usize::from(row)).filter(|_| row < OFF)
}

/// The row of that number, if there is one.
pub fn at_mut<T>(rows: &mut [T], row: u16) -> Option<&mut T> {
    rows.get_mut(usize::from(row)).filter(|_| row < OFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::random::Random;
    use std::vec::Vec;

    impl Linked<0> for Link {
        fn link(&self) -> Link {
            *self
        }
        fn link_mut(&mut self) -> &mut Link {
            self
        }
    }

    #[test]
    fn random_operations_match_a_vec() {
        let mut random = Random::new(1);
        let mut rows = [Link::OFF; 9];
        let (mut list, mut model) = (List::<0>::EMPTY, Vec::<u16>::new());
        for _ in 0..5_000 {
            let row = random.below(9) as u16;
            let place = model.iter().position(|listed| *listed == row);
            match (random.below(4), place) {
                (0, None) => {
                    list.push_back(&mut rows, row);
                    model.push(row);
                }
                (1, None) => {
                    list.push_front(&mut rows, row);
                    model.insert(0, row);
                }
                (2, None) if !model.is_empty() => {
                    let before = random.below(model.len());
                    list.insert_before(&mut rows, model[before], row);
                    model.insert(before, row);
                }
                (3, place) => {
                    list.remove(&mut rows, row);
                    place.map(|place| model.remove(place));
                }
                _ => {}
            }
            let mut forward = Vec::new();
            let mut next = list.head();
            while let Some(row) = next {
                assert_eq!(list.prev(&rows, row), forward.last().copied());
                forward.push(row);
                next = list.next(&rows, row);
            }
            assert_eq!(forward, model);
            assert!(rows.iter().enumerate().all(|(n, link)| link.is_on() == model.contains(&(n as u16))));
        }
    }
}
