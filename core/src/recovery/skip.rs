//! Packet numbers that are never used (RFC 9000 21.4): a peer that acknowledges one acknowledges what it did not receive,
//! so as to make us send faster.
//!
//! Now and then the 1-RTT numbers of a path skip one, which nobody can foresee. Only the newest is remembered.

use core::num::NonZeroU32;

use crate::table::ranges::widen;

/// Packets between two skipped numbers: at least this many, and up to [`SPREAD`] more.
const MIN: u64 = 64;
/// See [`MIN`]. A power of two.
const SPREAD: u16 = 1024;

/// The number skipped last, and the one to be skipped next. Of each the low half of one beyond it: one number in 2^32 has no
/// such form, and its neighbour is skipped.
#[derive(Clone, Copy, Debug)]
pub struct Skips {
    next: Option<NonZeroU32>,
    last: Option<NonZeroU32>,
}

impl Skips {
    /// None is skipped, until [`Self::schedule`].
    pub const NEVER: Self = Self { next: None, last: None };

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self::NEVER;

    /// Lets a number some way beyond `pn` be skipped, which one is told by `random`.
    pub fn schedule(&mut self, pn: u64, random: u16) {
        let distance = MIN.saturating_add(u64::from(random & SPREAD.saturating_sub(1)));
        self.next =
            NonZeroU32::new(pn.saturating_add(distance).wrapping_add(1) as u32).or(Some(NonZeroU32::MIN));
    }

    /// Whether `pn`, the next number, is to be skipped: then another is to be scheduled.
    pub fn skip(&mut self, pn: u64) -> bool {
        let Some(beyond) = NonZeroU32::new(pn.wrapping_add(1) as u32) else { return false };
        let passed = |next: NonZeroU32| beyond.get().wrapping_sub(next.get()).cast_signed() >= 0;
        let due = self.next.is_some_and(passed);
        if due {
            self.last = Some(beyond);
            self.next = None;
        }
        due
    }

    /// The number that was skipped last, where `next` is the one that is used next: not 2^32 lie between them.
    pub fn last(&self, next: u64) -> Option<u64> {
        self.last.map(|beyond| widen(next, beyond.get()).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_skipped_for_each_schedule() {
        for random in [0, 1023, 1024, u16::MAX] {
            let mut skips = Skips::NEVER;
            assert!((0..2000).all(|pn| !skips.skip(pn)));
            skips.schedule(2000, random);
            let skipped: std::vec::Vec<_> = (2000..4000).filter(|pn| skips.skip(*pn)).collect();
            assert_eq!(skipped, [2064 + u64::from(random % 1024)]);
            for next in [skipped[0] + 1, 4000, 4000 + u64::from(u32::MAX / 2)] {
                assert_eq!(skips.last(next), Some(skipped[0]));
            }
        }
    }

    #[test]
    fn the_number_that_has_no_form_is_not_skipped_but_its_neighbour() {
        let edge = 1 << 32;
        for (scheduled, skipped) in [(edge - 2, edge - 2), (edge - 1, edge), (edge, edge)] {
            let mut skips = Skips::NEVER;
            skips.schedule(scheduled - MIN, 0);
            let first = (scheduled - 10..scheduled + 10).find(|pn| skips.skip(*pn));
            assert_eq!((first, skips.last(edge + 500)), (Some(skipped), Some(skipped)));
        }
    }
}
