//! A bitmap over lent bytes, worked on in runs.

use core::ops::Range;

/// Sets the bits of `range`.
pub(super) fn set(bits: &mut [u8], range: Range<usize>) {
    apply(bits, range, |byte, mask| *byte |= mask, 0xff);
}

/// Clears the bits of `range`.
pub(super) fn clear(bits: &mut [u8], range: Range<usize>) {
    apply(bits, range, |byte, mask| *byte &= !mask, 0);
}

/// How many bits from the start of `range` on are set without a gap.
pub(super) fn run(bits: &[u8], range: Range<usize>) -> usize {
    let skip = range.start & 7;
    let len = range.len();
    let Some((first, rest)) = bits.get(range.start >> 3..).and_then(<[u8]>::split_first) else { return 0 };
    let whole = 8_usize.wrapping_sub(skip);
    let ones = first.wrapping_shr(skip as u32).trailing_ones() as usize;
    if ones < whole || len <= whole {
        return ones.min(len);
    }
    let full = rest.iter().take_while(|byte| **byte == 0xff).count();
    let last = rest.get(full).map_or(0, |byte| byte.trailing_ones() as usize);
    whole.saturating_add(full.saturating_mul(8)).saturating_add(last).min(len)
}

/// Applies `change` to the bytes at the ends of `range` with a mask of their bits, and fills those between.
fn apply(bits: &mut [u8], range: Range<usize>, change: impl Fn(&mut u8, u8), fill: u8) {
    if range.is_empty() {
        return;
    }
    let last = range.end.wrapping_sub(1);
    let head = 0xff_u8.wrapping_shl((range.start & 7) as u32);
    let tail = 0xff_u8.wrapping_shr(7_u32.wrapping_sub((last & 7) as u32));
    match bits.get_mut(range.start >> 3..=last >> 3) {
        Some([byte]) => change(byte, head & tail),
        Some([first, between @ .., end]) => {
            change(first, head);
            between.fill(fill);
            change(end, tail);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::random::Random;

    #[test]
    fn random_ranges_match_bools() {
        let mut random = Random::new(3);
        let (mut bits, mut model) = ([0_u8; 9], [false; 72]);
        for _ in 0..20_000 {
            let a = random.below(73);
            let range = a..a + random.below(73 - a);
            match random.below(3) {
                0 => {
                    set(&mut bits, range.clone());
                    model[range].fill(true);
                }
                1 => {
                    clear(&mut bits, range.clone());
                    model[range].fill(false);
                }
                _ => {
                    let ones = model[range.clone()].iter().take_while(|bit| **bit).count();
                    assert_eq!(run(&bits, range), ones);
                }
            }
        }
        assert!((0..72).all(|bit| model[bit] == (bits[bit / 8] >> (bit % 8) & 1 == 1)));
    }
}
