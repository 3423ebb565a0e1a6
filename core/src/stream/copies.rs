//! Bytes of redundant streams that are to go over further paths.
//!
//! A copy is not remembered once it is sent: what is acknowledged, lost and sent again is the original. So copies cost no rows of
//! sent packets, and one that does not fit, or finds that its bytes have arrived meanwhile, is simply left out.

use crate::ids::PathRow;
use crate::table::halves::Halves;

/// Copies that can wait at once; of more, the newest.
const WAITING: usize = 4;

/// What was sent, and where it is to be sent too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copy {
    pub(super) offset: Halves,
    pub(super) slot: u16,
    pub(super) len: u16,
    /// Paths that it goes over yet, a bit for each row.
    left: u8,
}

impl Copy {
    const NONE: Self = Self { offset: Halves::new(0), slot: 0, len: 0, left: 0 };
}

/// The copies that wait.
#[derive(Clone, Copy, Debug)]
pub struct Copies {
    /// The newest first.
    waiting: [Copy; WAITING],
}

const fn bit(path: PathRow) -> u8 {
    1_u8.wrapping_shl(path.index() as u32)
}

impl Copies {
    /// None.
    pub const NONE: Self = Self { waiting: [Copy::NONE; WAITING] };

    /// So many bytes of the stream in a slot were sent, and are to be sent over these paths too.
    pub(super) fn add(&mut self, slot: u16, offset: u64, len: u16, over: impl Iterator<Item = PathRow>) {
        let left = over.fold(0, |left, path| left | bit(path));
        if left != 0 {
            // Each moves on by a place, and the oldest out of them.
            let mut moving = Copy { offset: Halves::new(offset), slot, len, left };
            for place in &mut self.waiting {
                core::mem::swap(place, &mut moving);
            }
        }
    }

    /// None is for this path any more.
    pub fn forget(&mut self, path: PathRow) {
        self.waiting.iter_mut().for_each(|copy| copy.left &= !bit(path));
    }

    /// Whether there is one for a path.
    pub fn has(&self, path: PathRow) -> bool {
        self.waiting.iter().any(|copy| copy.left & bit(path) != 0)
    }

    /// The oldest one for a path; it is for others yet.
    pub(super) fn take(&mut self, path: PathRow) -> Option<Copy> {
        let copy = self.waiting.iter_mut().rev().find(|copy| copy.left & bit(path) != 0)?;
        copy.left &= !bit(path);
        Some(*copy)
    }
}

#[cfg(all(test, feature = "multipath"))]
mod tests {
    use super::*;

    #[test]
    fn each_path_takes_its_copies_in_order_and_the_newest_displace_the_oldest() {
        let mut copies = Copies::NONE;
        let (one, two) = (PathRow::new(1), PathRow::new(2));
        let add = |copies: &mut Copies, offset| copies.add(3, offset, 10, [one, two].into_iter());
        add(&mut copies, 100);
        add(&mut copies, 110);
        let take = |copies: &mut Copies, path| copies.take(path).map(|copy| copy.offset.get());
        assert_eq!(take(&mut copies, one), Some(100));
        (1..5).for_each(|nth| add(&mut copies, 110 + 10 * nth));
        for offset in [120, 130, 140, 150] {
            assert_eq!(take(&mut copies, two), Some(offset));
        }
        assert!(!copies.has(two) && copies.has(one) && !copies.has(PathRow::FIRST));
        copies.add(3, 1, 1, core::iter::empty());
        assert_eq!(take(&mut copies, one), Some(120), "what goes nowhere displaces nothing");
        add(&mut copies, 160);
        copies.forget(one);
        assert!(!copies.has(one) && take(&mut copies, two) == Some(160), "the other's stay");
    }
}
