//! The only source of chance in tests: SplitMix64, seeded by whoever makes it.

use peregrine_core::time::Span;
use std::time::Duration;

/// A small deterministic generator. Equal seeds give equal sequences; [`Rng::split`] gives an independent one, so that
/// one consumer more does not change what the others draw.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator with a sequence of its own.
    pub fn split(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scatter(self.0)
    }

    /// A number below `bound`; zero if `bound` is zero. The bias of less than `bound` in 2^64 does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `probability` of all cases: never at 0.0, always at 1.0.
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what an f64 holds.
        let unit = (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        unit < probability
    }

    /// A duration from zero to `most`, both included, in whole microseconds.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(Span::from(most).as_micros().saturating_add(1)))
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A permutation of 64-bit numbers in which every bit of the result depends on every bit of `word`.
pub(crate) const fn scatter(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of the published SplitMix64 for seed 0.
    #[test]
    fn is_splitmix64() {
        let mut rng = Rng::new(0);
        assert_eq!(rng.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn chance_is_exact_at_the_ends_and_close_between() {
        let mut rng = Rng::new(3);
        assert!((0..1000).all(|_| !rng.chance(0.0) && rng.chance(1.0)));
        let hits = (0..100_000).filter(|_| rng.chance(0.1)).count();
        assert!((9_500..10_500).contains(&hits), "{hits}");
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut rng = Rng::new(4);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn a_split_leaves_the_sequence_of_the_other_alone() {
        let (mut one, mut two) = (Rng::new(5), Rng::new(5));
        let mut child = one.split();
        two.split();
        child.fill(&mut [0; 100]);
        assert_eq!(one.next_u64(), two.next_u64());
    }
}
