//! Bytes that arrive in any order and leave in theirs.
//!
//! The lent area is a ring of data and, before it, one mark for every byte of the ring: which bytes beyond the first gap
//! are there. So any number of gaps is exact, nothing can overflow, and work is O(bytes / 8) at worst. As long as bytes
//! arrive in order, the marks are neither read nor written; they are cleared at the first gap an area ever sees, so
//! that an area may hold anything when it is lent first.

use crate::table::marks;
use crate::table::ring::Ring;

/// What of a stream has arrived. The area is lent to each call and must always be the same.
///
/// ```text
/// consumed | in order, to be read | gap  arrived  gap  arrived |
///        base                   ready                        highest
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Reassembly {
    /// Holds the bytes in order.
    ring: Ring,
    /// How far beyond the base the stream is known to reach.
    reach: u32,
    /// Whether marks beyond `ready` tell the truth, and all others are clear.
    marked: bool,
}

/// How many bytes of an area hold data; this is the window a sender may be given.
#[cfg_attr(target_os = "none", inline(never))]
pub const fn capacity(area: usize) -> usize {
    let capacity = area.saturating_sub(area.div_ceil(9));
    // Distances are kept as u32.
    if capacity > u32::MAX as usize { u32::MAX as usize } else { capacity }
}

impl Reassembly {
    /// Nothing arrived, in an area that may hold anything.
    pub const EMPTY: Self = Self { ring: Ring::EMPTY, reach: 0, marked: false };

    /// The offset of the first byte not consumed.
    pub const fn base(&self) -> u64 {
        self.ring.base()
    }

    /// How many bytes can be read.
    pub const fn ready(&self) -> usize {
        self.ring.len()
    }

    /// The highest offset seen.
    pub const fn highest(&self) -> u64 {
        self.base().saturating_add(self.reach as u64)
    }

    /// Whether there is no gap below the highest offset.
    pub const fn is_whole(&self) -> bool {
        self.ring.len() == self.reach as usize
    }

    /// Takes in bytes. What is there already, and what lies beyond the capacity, is left out.
    pub fn insert(&mut self, area: &mut [u8], offset: u64, bytes: &[u8]) {
        let (marks, data) = split(area);
        let ready_end = self.ring.end();
        let known = usize::try_from(ready_end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = bytes.get(known..).unwrap_or_default();
        let Ok(from) = usize::try_from(offset.max(ready_end).saturating_sub(self.base())) else { return };
        let len = self.ring.fill(data, from, bytes);
        if len == 0 {
            return;
        }
        let to = from.saturating_add(len);
        if from > self.ready() {
            if !self.marked {
                marks.fill(0);
                self.marked = true;
            }
            for place in self.ring.places(data.len(), from, len) {
                marks::set(marks, place);
            }
        } else {
            self.ring.extend(data, len);
            self.close_gap(marks, data, from);
        }
        self.reach = self.reach.max(u32::try_from(to).unwrap_or(u32::MAX));
    }

    /// Notes that the stream reaches to `offset`, whether its bytes are there or not; at most a capacity beyond the base.
    pub fn reach_to(&mut self, offset: u64) {
        let reach = u32::try_from(offset.saturating_sub(self.base())).unwrap_or(u32::MAX);
        self.reach = self.reach.max(reach);
    }

    /// The bytes that can be read, in two parts.
    pub fn peek<'a>(&self, area: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        self.ring.slices(split_ref(area), 0, usize::MAX)
    }

    /// Copies bytes that can be read into `out`, without consuming them; returns how many.
    pub fn copy_to(&self, area: &[u8], out: &mut [u8]) -> usize {
        self.ring.copy_to(split_ref(area), 0, out)
    }

    /// Consumes the first `len` of the bytes that can be read; returns how many there were.
    pub fn consume(&mut self, area: &[u8], len: usize) -> usize {
        let len = len.min(self.ready());
        self.ring.release(split_ref(area), len);
        self.reach = self.reach.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
        len
    }

    /// Forgets everything up to the highest offset seen, or up to `offset` if that is higher. Returns how many bytes of
    /// the stream are consumed by that.
    pub fn discard(&mut self, area: &mut [u8], offset: u64) -> u64 {
        let (marks, data) = split(area);
        self.clear_marks(marks, data, self.ready());
        let end = self.highest().max(offset);
        let gone = end.saturating_sub(self.base());
        self.ring = Ring::at(end);
        self.reach = 0;
        gone
    }

    /// Begins another stream in the same area, of which nothing must be left: after [`Self::discard`], or once all is
    /// consumed.
    #[must_use]
    pub fn restart(self) -> Self {
        debug_assert!(self.reach == 0, "an area is used again with bytes in it");
        Self { ring: Ring::EMPTY, ..self }
    }

    /// Consumes in-order bytes without storing them: returns what of `bytes` comes next in the stream, which may be
    /// longer than the capacity. What that joins can be read afterwards. Only with nothing to be read.
    pub fn pass<'b>(&mut self, area: &mut [u8], offset: u64, bytes: &'b [u8]) -> &'b [u8] {
        debug_assert!(self.ready() == 0, "bytes would pass those that came before them");
        let (marks, data) = split(area);
        let known = self.base().checked_sub(offset).and_then(|known| usize::try_from(known).ok());
        let next = known.and_then(|known| bytes.get(known..)).unwrap_or_default();
        match u32::try_from(next.len()) {
            Ok(len) if len < self.reach => {
                self.ring.extend(data, next.len());
                self.close_gap(marks, data, 0);
                self.ring.release(data, next.len());
                self.reach = self.reach.saturating_sub(len);
            }
            _ => {
                self.clear_marks(marks, data, 0);
                self.ring = Ring::at(self.base().saturating_add(next.len() as u64));
                self.reach = 0;
            }
        }
        next
    }

    /// The bytes from `from` on have become part of those in order: takes in the marked ones that follow, and clears
    /// the marks of all.
    fn close_gap(&mut self, marks: &mut [u8], data: &[u8], from: usize) {
        let (ready, reach) = (self.ready(), self.reach as usize);
        if !self.marked || reach <= from {
            return;
        }
        let [first, second] = self.ring.places(data.len(), ready, reach.saturating_sub(ready));
        let whole = first.len();
        let mut joined = marks::run(marks, first);
        if joined == whole {
            joined = joined.saturating_add(marks::run(marks, second));
        }
        let to = ready.saturating_add(joined).min(reach);
        for place in self.ring.places(data.len(), from, to.saturating_sub(from)) {
            marks::clear(marks, place);
        }
        self.ring.extend(data, joined);
    }

    fn clear_marks(&self, marks: &mut [u8], data: &[u8], from: usize) {
        if self.marked {
            for place in self.ring.places(data.len(), from, (self.reach as usize).saturating_sub(from)) {
                marks::clear(marks, place);
            }
        }
    }
}

/// Marks and data of an area.
fn split(area: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    let at = area.len().saturating_sub(capacity(area.len()));
    area.split_at_mut_checked(at).unwrap_or_default()
}

/// The data of an area.
fn split_ref(area: &[u8]) -> &[u8] {
    area.get(area.len().saturating_sub(capacity(area.len()))..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::random::Random;
    use std::vec::Vec;

    fn byte(offset: u64) -> u8 {
        ((offset * 31) >> 3) as u8
    }

    fn bytes(offset: u64, len: usize) -> Vec<u8> {
        (offset..offset + len as u64).map(byte).collect()
    }

    #[test]
    fn every_byte_has_a_mark() {
        assert_eq!((capacity(0), capacity(1), capacity(9), capacity(10)), (0, 0, 8, 8));
        assert!((0..2_000).all(|area| (area - capacity(area)) * 8 >= capacity(area)));
    }

    #[test]
    fn random_pieces_match_a_set_of_offsets() {
        let mut random = Random::new(5);
        for area_len in [9_usize, 10, 40, 200, 1_000] {
            let window = capacity(area_len);
            // What an area holds when it is lent does not matter.
            let mut area = std::vec![0xa5_u8; area_len];
            let mut assembly = Reassembly::EMPTY;
            let (mut base, mut arrived) = (0_u64, std::vec![false; 400_000]);
            let mut highest = 0;
            while base + 2 * (window as u64) < 200_000.min(600 * area_len as u64) {
                let from = base.saturating_sub(5) + random.below(window + 6) as u64;
                let most = if random.below(3) == 0 { window } else { 8 };
                let len = random.below(most + 1);
                let len = len.min((base + window as u64).saturating_sub(from) as usize);
                assembly.insert(&mut area, from, &bytes(from, len));
                arrived[from as usize..from as usize + len].fill(true);
                if len > 0 {
                    highest = highest.max(from + len as u64);
                }
                let ready = arrived[base as usize..].iter().take_while(|there| **there).count();
                assert_eq!((assembly.ready(), assembly.highest()), (ready, highest.max(base)));
                assert_eq!(assembly.is_whole(), base + ready as u64 >= highest);
                let (one, two) = assembly.peek(&area);
                assert_eq!([one, two].concat(), bytes(base, ready));
                match random.below(12) {
                    0 => {
                        assembly.discard(&mut area, 0);
                        base = base.max(highest);
                    }
                    1..5 => {
                        let len = assembly.consume(&area, random.below(ready + 1));
                        base += len as u64;
                    }
                    _ => {}
                }
                assert_eq!(assembly.base(), base);
            }
        }
    }

    #[test]
    fn passed_bytes_join_what_waits() {
        let mut random = Random::new(6);
        let mut area = std::vec![0x5a_u8; 90];
        let mut assembly = Reassembly::EMPTY;
        let mut out = Vec::new();
        for _ in 0..30_000 {
            let base = assembly.base();
            let offset = base.saturating_sub(3) + random.below(80) as u64;
            let most = if random.below(9) == 0 { 300 } else { 30 };
            let piece = bytes(offset, random.below(most));
            if offset <= base {
                out.extend(assembly.pass(&mut area, offset, &piece));
                let (one, two) = assembly.peek(&area);
                out.extend([one, two].concat());
                assembly.consume(&area, usize::MAX);
            } else {
                assembly.insert(&mut area, offset, &piece);
            }
            assert_eq!(assembly.base(), out.len() as u64);
        }
        assert!(out.len() > 20_000);
        assert_eq!(out, bytes(0, out.len()));
    }

    #[test]
    fn in_order_bytes_leave_the_marks_alone() {
        let mut area = [0xff_u8; 90];
        let mut assembly = Reassembly::EMPTY;
        for offset in (0..800).step_by(40) {
            assembly.insert(&mut area, offset, &bytes(offset, 40));
            assert_eq!(assembly.consume(&area, 40), 40);
        }
        assert!(area[..10].iter().all(|mark| *mark == 0xff) && assembly.is_whole());
    }

    #[test]
    fn an_end_known_before_its_bytes_is_a_gap() {
        let mut area = [0xff_u8; 90];
        let mut assembly = Reassembly::EMPTY;
        assembly.reach_to(10);
        assembly.insert(&mut area, 0, &bytes(0, 4));
        assert!(!assembly.is_whole() && assembly.ready() == 4);
        assembly.insert(&mut area, 4, &bytes(4, 6));
        assert!(assembly.is_whole() && assembly.ready() == 10);
    }
}
