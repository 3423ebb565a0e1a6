//! A window on a stream of bytes, kept in a lent slice that is used round and round.

use core::ops::Range;

/// Which bytes of the stream the slice holds: `len` of them from offset `base` on. The slice is lent to each call and
/// must always be the same; at most 2^32 - 1 bytes of it are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ring {
    base: u64,
    start: u32,
    len: u32,
}

impl Ring {
    /// Nothing yet of the stream.
    pub const EMPTY: Self = Self { base: 0, start: 0, len: 0 };

    /// Nothing of the stream, whose bytes from `base` on come next.
    pub const fn at(base: u64) -> Self {
        Self { base, start: 0, len: 0 }
    }

    /// The offset of the first byte held.
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// The offset after the last byte held.
    pub const fn end(&self) -> u64 {
        self.base.saturating_add(self.len as u64)
    }

    /// How many bytes are held.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether none is.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where in a slice of `capacity` bytes the `len` bytes stand that begin `distance` after the base. Distance and
    /// length together are at most the capacity.
    pub fn places(&self, capacity: usize, distance: usize, len: usize) -> [Range<usize>; 2] {
        let at = (self.start as usize).saturating_add(distance);
        let at = if at >= capacity { at.saturating_sub(capacity) } else { at };
        let first = len.min(capacity.saturating_sub(at));
        [at..at.saturating_add(first), 0..len.saturating_sub(first)]
    }

    /// Copies `bytes` to their place, `distance` after the base, and returns how many found room. They are not held
    /// until [`Self::extend`] says so.
    pub fn fill(&self, area: &mut [u8], distance: usize, bytes: &[u8]) -> usize {
        let len = bytes.len().min(capacity(area).saturating_sub(distance));
        let [first, second] = self.places(capacity(area), distance, len);
        let (one, two) = bytes.split_at_checked(first.len()).unwrap_or_default();
        copy(area.get_mut(first).unwrap_or_default(), one);
        copy(area.get_mut(second).unwrap_or_default(), two);
        len
    }

    /// The next `len` bytes after those held are held now, too.
    pub fn extend(&mut self, area: &[u8], len: usize) {
        let len = self.len().saturating_add(len).min(capacity(area));
        self.len = u32::try_from(len).unwrap_or(u32::MAX);
    }

    /// Appends what of `bytes` there is room for; returns how many.
    pub fn append(&mut self, area: &mut [u8], bytes: &[u8]) -> usize {
        let len = self.fill(area, self.len(), bytes);
        self.extend(area, len);
        len
    }

    /// The bytes from `distance` after the base on, at most `len`, in two parts.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn slices<'a>(&self, area: &'a [u8], distance: usize, len: usize) -> (&'a [u8], &'a [u8]) {
        let len = len.min(self.len().saturating_sub(distance));
        let [first, second] = self.places(capacity(area), distance, len);
        (area.get(first).unwrap_or_default(), area.get(second).unwrap_or_default())
    }

    /// Copies bytes from `distance` after the base on into `out`; returns how many.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn copy_to(&self, area: &[u8], distance: usize, out: &mut [u8]) -> usize {
        let (one, two) = self.slices(area, distance, out.len());
        let copied = copy(out, one);
        copied.saturating_add(copy(out.get_mut(copied..).unwrap_or_default(), two))
    }

    /// Lets go of the first `len` bytes held.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn release(&mut self, area: &[u8], len: usize) {
        let len = len.min(self.len());
        let [first, second] = self.places(capacity(area), len, 0);
        debug_assert!(second.is_empty());
        self.start = u32::try_from(first.start).unwrap_or(0);
        self.base = self.base.saturating_add(len as u64);
        self.len = u32::try_from(self.len().saturating_sub(len)).unwrap_or(0);
    }
}

/// How much of a slice a ring uses.
fn capacity(area: &[u8]) -> usize {
    area.len().min(u32::MAX as usize)
}

/// Copies what fits; returns how many.
fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::random::Random;
    use std::vec::Vec;

    #[test]
    fn random_appends_and_releases_match_a_vec() {
        let mut random = Random::new(4);
        for capacity in [1_usize, 2, 5, 64] {
            let mut area = std::vec![0_u8; capacity];
            let (mut ring, mut model, mut released) = (Ring::EMPTY, Vec::<u8>::new(), 0_u64);
            for _ in 0..3_000 {
                let bytes: Vec<u8> = (0..random.below(capacity + 2)).map(|_| random.next() as u8).collect();
                let taken = ring.append(&mut area, &bytes);
                assert_eq!(taken, bytes.len().min(capacity - model.len()));
                model.extend(&bytes[..taken]);
                let from = random.below(model.len() + 1);
                let mut out = std::vec![0; random.below(capacity + 1)];
                let copied = ring.copy_to(&area, from, &mut out);
                assert_eq!(out[..copied], model[from..][..out.len().min(model.len() - from)]);
                let gone = random.below(model.len() + 1);
                ring.release(&area, gone);
                model.drain(..gone);
                released += gone as u64;
                assert_eq!(
                    (ring.base(), ring.len(), ring.end()),
                    (released, model.len(), released + model.len() as u64)
                );
            }
        }
        let mut none = Ring::EMPTY;
        assert_eq!(none.append(&mut [], &[1]), 0);
    }
}
