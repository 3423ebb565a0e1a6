//! A `u64` in two halves.

/// A `u64` whose place in a row need not be a multiple of eight bytes, so that small fields can stand beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Halves([u32; 2]);

impl Halves {
    /// This number.
    pub const fn new(number: u64) -> Self {
        Self([(number >> 32) as u32, number as u32])
    }

    /// The number.
    pub const fn get(self) -> u64 {
        let [high, low] = self.0;
        (high as u64) << 32 | low as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_come_back() {
        for number in [0, 1, u64::from(u32::MAX), 1 << 32, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(Halves::new(number).get(), number);
        }
        assert_eq!((size_of::<Halves>(), align_of::<Halves>()), (8, 4));
    }
}
