//! A hash table from 64-bit hashes to small numbers, over lent memory: open addressing, no tombstones.
//!
//! Keys are not stored: a look-up yields candidates, and the caller, who has the keys, says which one it meant. With
//! the table at most half full a look-up visits about two entries whatever the capacity.

/// An entry: part of the hash and the number stored, or empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    hash: u32,
    value: u32,
}

impl Entry {
    /// An empty place.
    pub const EMPTY: Self = Self { hash: 0, value: u32::MAX };

    const fn is_empty(self) -> bool {
        self.value == u32::MAX
    }
}

/// Stores `value` (below `u32::MAX`) under `hash`; `false` if the table is full.
pub fn insert(table: &mut [Entry], hash: u64, value: u32) -> bool {
    let hash = fold(hash);
    let start = home(table, hash);
    for at in probe(table.len(), start) {
        match table.get_mut(at) {
            Some(entry) if entry.is_empty() => {
                *entry = Entry { hash, value };
                return true;
            }
            Some(_) => {}
            None => return false,
        }
    }
    false
}

/// The numbers stored under `hash`, and perhaps some stored under others, for the caller to check.
pub fn candidates(table: &[Entry], hash: u64) -> impl Iterator<Item = u32> + '_ {
    let hash = fold(hash);
    probe(table.len(), home(table, hash))
        .map_while(|at| table.get(at).filter(|entry| !entry.is_empty()))
        .filter(move |entry| entry.hash == hash)
        .map(|entry| entry.value)
}

/// Removes `value` under `hash`; `false` if it was not there.
pub fn remove(table: &mut [Entry], hash: u64, value: u32) -> bool {
    let wanted = Entry { hash: fold(hash), value };
    let found = probe(table.len(), home(table, wanted.hash))
        .map_while(|at| table.get(at).filter(|entry| !entry.is_empty()).map(|entry| (at, *entry)))
        .find(|(_, entry)| *entry == wanted);
    let Some((mut hole, _)) = found else { return false };
    let mut at = hole;
    for _ in 0..table.len() {
        at = next(table.len(), at);
        let Some(entry) = table.get(at).copied().filter(|entry| !entry.is_empty()) else { break };
        // An entry may move into the hole unless its home lies between the hole and where it is now.
        let home = home(table, entry.hash);
        if distance(table.len(), home, at) >= distance(table.len(), hole, at) {
            if let Some(place) = table.get_mut(hole) {
                *place = entry;
            }
            hole = at;
        }
    }
    if let Some(place) = table.get_mut(hole) {
        *place = Entry::EMPTY;
    }
    true
}

const fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// Scales a hash to a place in the table.
fn home(table: &[Entry], hash: u32) -> usize {
    ((u64::from(hash).wrapping_mul(table.len() as u64)) >> 32) as usize
}

const fn next(len: usize, at: usize) -> usize {
    let after = at.wrapping_add(1);
    if after >= len { 0 } else { after }
}

/// Steps from `from` forward to `to`.
const fn distance(len: usize, from: usize, to: usize) -> usize {
    if to >= from { to.wrapping_sub(from) } else { to.wrapping_add(len).wrapping_sub(from) }
}

fn probe(len: usize, start: usize) -> impl Iterator<Item = usize> {
    core::iter::successors(Some(start), move |at| Some(next(len, *at))).take(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::vec::Vec;

    fn spread(key: u64) -> u64 {
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    }

    #[test]
    fn behaves_like_a_map_under_churn() {
        for (size, keys) in [(1, 1), (2, 1), (7, 3), (64, 32), (512, 256)] {
            let mut table = std::vec![Entry::EMPTY; size];
            let mut model = HashMap::new();
            let mut seed = 1_u64;
            for _ in 0..20_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let key = (seed >> 40) % keys;
                if model.remove(&key).is_some() {
                    assert!(remove(&mut table, spread(key), key as u32));
                } else {
                    assert!(!remove(&mut table, spread(key), key as u32));
                    assert!(insert(&mut table, spread(key), key as u32));
                    model.insert(key, ());
                }
                for key in 0..keys {
                    let found = candidates(&table, spread(key)).any(|value| u64::from(value) == key);
                    assert_eq!(found, model.contains_key(&key));
                }
            }
        }
    }

    #[test]
    fn a_full_table_refuses_and_an_empty_slice_holds_nothing() {
        let mut table = [Entry::EMPTY; 2];
        assert!(insert(&mut table, 1, 1) && insert(&mut table, 2, 2) && !insert(&mut table, 3, 3));
        assert_eq!(candidates(&table, 3).count(), 0);
        assert!(!insert(&mut [], 1, 1) && candidates(&[], 1).next().is_none());
    }

    #[test]
    fn a_look_up_visits_few_entries_at_any_size() {
        for size in [64_usize, 4096, 65_536] {
            let mut table = std::vec![Entry::EMPTY; size];
            for key in 0..size as u64 / 2 {
                assert!(insert(&mut table, spread(key), key as u32));
            }
            let runs: Vec<usize> = (0..size as u64 / 2)
                .map(|key| {
                    let start = home(&table, fold(spread(key)));
                    probe(size, start).take_while(|at| !table[*at].is_empty()).count()
                })
                .collect();
            assert!(runs.iter().sum::<usize>() < runs.len() * 4, "{}", runs.iter().sum::<usize>());
        }
    }
}
