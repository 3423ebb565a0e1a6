//! From a 64-bit key to the row that holds it: open addressing with linear probing over a lent slice of row numbers.
//!
//! A look-up is O(1) as long as there are clearly more entries than rows; two entries per row are meant. The hash is
//! multiplicative under a secret odd factor, so that a peer who chooses the keys cannot make them collide. Removal
//! moves later entries back instead of leaving tombstones: churn never makes the index slower.

use crate::error::Full;
use crate::table::list::{NONE, at};

/// A row found by a key. Keys of indexed rows are distinct and do not change.
pub trait Keyed {
    /// The key.
    fn key(&self) -> u64;
}

/// The hash function. Entries and rows are lent to each call and must always be the same.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    factor: u64,
}

impl Index {
    /// An index whose hash nobody can predict who does not know `secret`.
    pub const fn new(secret: u64) -> Self {
        Self { factor: secret | 1 }
    }

    /// Makes `entries`, whatever they hold, an empty index.
    pub fn clear(entries: &mut [u16]) {
        entries.fill(NONE);
    }

    /// The row with `key`.
    pub fn find<T: Keyed>(self, entries: &[u16], rows: &[T], key: u64) -> Option<u16> {
        let mut place = self.home(entries.len(), key);
        for _ in 0..entries.len() {
            let row = *entries.get(place)?;
            // An empty entry names no row and ends the search.
            if at(rows, row)?.key() == key {
                return Some(row);
            }
            place = after(place, entries.len());
        }
        None
    }

    /// Adds a row, whose key no other indexed row has.
    ///
    /// # Errors
    /// [`Full`] if every entry is taken.
    pub fn insert<T: Keyed>(self, entries: &mut [u16], rows: &[T], row: u16) -> Result<(), Full> {
        let len = entries.len();
        let mut place = self.home(len, at(rows, row).ok_or(Full)?.key());
        for _ in 0..len {
            let entry = entries.get_mut(place).ok_or(Full)?;
            if *entry == NONE {
                *entry = row;
                return Ok(());
            }
            place = after(place, len);
        }
        Err(Full)
    }

    /// Removes a row; nothing happens if it is not indexed.
    pub fn remove<T: Keyed>(self, entries: &mut [u16], rows: &[T], row: u16) {
        let len = entries.len();
        let Some(key) = at(rows, row).map(Keyed::key) else { return };
        let mut hole = self.home(len, key);
        for _ in 0..len {
            match entries.get(hole) {
                Some(entry) if *entry == row => break,
                Some(entry) if *entry != NONE => hole = after(hole, len),
                _ => return,
            }
        }
        // Each entry up to the next empty one moves into the hole, unless that is before the place its search begins.
        let mut place = hole;
        for _ in 1..len {
            place = after(place, len);
            let Some(entry) = entries.get(place).copied().filter(|entry| *entry != NONE) else { break };
            let Some(key) = at(rows, entry).map(Keyed::key) else { break };
            if steps(self.home(len, key), place, len) >= steps(hole, place, len) {
                put(entries, hole, entry);
                hole = place;
            }
        }
        put(entries, hole, NONE);
    }

    /// Where the search for `key` begins.
    fn home(self, len: usize, key: u64) -> usize {
        let hash = key.wrapping_mul(self.factor) >> 32;
        // Both factors are below 2^32, the result is below `len`.
        (hash.wrapping_mul(len as u64) >> 32) as usize
    }
}

fn after(place: usize, len: usize) -> usize {
    let next = place.wrapping_add(1);
    if next == len { 0 } else { next }
}

/// Steps from one place forward to another.
fn steps(from: usize, to: usize, len: usize) -> usize {
    if to >= from { to.wrapping_sub(from) } else { to.wrapping_add(len).wrapping_sub(from) }
}

fn put(entries: &mut [u16], place: usize, row: u16) {
    if let Some(entry) = entries.get_mut(place) {
        *entry = row;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::random::Random;

    impl Keyed for u64 {
        fn key(&self) -> u64 {
            *self
        }
    }

    #[test]
    fn churn_matches_a_scan() {
        let mut random = Random::new(2);
        for slots in [1_usize, 2, 3, 7, 20] {
            let index = Index::new(random.next());
            let mut entries = std::vec![7_u16; 2 * slots];
            Index::clear(&mut entries);
            let mut rows = std::vec![0_u64; slots];
            let mut live = std::vec![false; slots];
            for _ in 0..4_000 {
                let row = random.below(slots);
                if live[row] {
                    index.remove(&mut entries, &rows, row as u16);
                    live[row] = false;
                } else {
                    let key = random.below(3 * slots) as u64 * 4;
                    if (0..slots).all(|other| !live[other] || rows[other] != key) {
                        rows[row] = key;
                        index.insert(&mut entries, &rows, row as u16).unwrap();
                        live[row] = true;
                    }
                }
                for key in (0..3 * slots as u64).map(|key| key * 4) {
                    let scanned = (0..slots).find(|row| live[*row] && rows[*row] == key);
                    assert_eq!(index.find(&entries, &rows, key), scanned.map(|row| row as u16));
                }
            }
            assert_eq!(
                entries.iter().filter(|entry| **entry != NONE).count(),
                live.iter().filter(|l| **l).count()
            );
        }
    }

    #[test]
    fn full_and_empty_indexes_end_their_search() {
        let rows = [4_u64, 8, 12];
        let index = Index::new(99);
        assert_eq!(index.find(&[], &rows, 4), None);
        assert_eq!(index.insert(&mut [], &rows, 0), Err(Full));
        let mut entries = [NONE; 2];
        assert_eq!(index.insert(&mut entries, &rows, 0), Ok(()));
        assert_eq!(index.insert(&mut entries, &rows, 1), Ok(()));
        assert_eq!(index.insert(&mut entries, &rows, 2), Err(Full));
        assert_eq!(index.find(&entries, &rows, 12), None);
        index.remove(&mut entries, &rows, 2);
        index.remove(&mut entries, &rows, 0);
        assert_eq!((index.find(&entries, &rows, 4), index.find(&entries, &rows, 8)), (None, Some(1)));
    }
}
