//! Pseudo-random bytes that both ends can compute: what `peregrine serve` sends for `/N`, and what a test checks.
//!
//! The bytes are the same in every run and on every machine, and any part of them can be had without the rest: eight
//! bytes at a time, little endian, they are the SplitMix64 sequence of seed zero.

use std::io::Read;

/// The first `len` bytes of the pattern, as a reader.
#[derive(Clone, Debug)]
pub struct Pattern {
    offset: u64,
    len: u64,
}

impl Pattern {
    /// `len` bytes from the start.
    pub const fn new(len: u64) -> Self {
        Self { offset: 0, len }
    }

    /// Bytes not yet read.
    pub const fn remaining(&self) -> u64 {
        self.len - self.offset
    }
}

impl Read for Pattern {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let take = usize::try_from(self.remaining()).map_or(out.len(), |left| left.min(out.len()));
        fill(self.offset, &mut out[..take]);
        self.offset += take as u64;
        Ok(take)
    }
}

/// Writes the bytes of the pattern from `offset` on into `out`.
pub fn fill(offset: u64, out: &mut [u8]) {
    let skip = (offset % 8) as usize;
    let (head, rest) = out.split_at_mut(out.len().min((8 - skip) % 8));
    head.copy_from_slice(&word(offset / 8)[skip..][..head.len()]);
    for (index, chunk) in (offset.div_ceil(8)..).zip(rest.chunks_mut(8)) {
        chunk.copy_from_slice(&word(index)[..chunk.len()]);
    }
}

fn word(index: u64) -> [u8; 8] {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_splitmix64_of_seed_zero() {
        let mut first = [0; 16];
        fill(0, &mut first);
        assert_eq!(first[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
        assert_eq!(first[8..], 0x6e78_9e6a_a1b9_65f4_u64.to_le_bytes());
    }

    #[test]
    fn any_part_equals_the_same_part_of_the_whole() {
        let mut whole = [0; 64];
        fill(0, &mut whole);
        for start in 0..24 {
            for len in 0..24 {
                let mut part = vec![0; len];
                fill(start as u64, &mut part);
                assert_eq!(part, whole[start..start + len], "{start}+{len}");
            }
        }
    }

    #[test]
    fn the_reader_ends_after_its_length_however_it_is_read() {
        let mut whole = Vec::new();
        Pattern::new(1001).read_to_end(&mut whole).unwrap();
        assert_eq!(whole.len(), 1001);
        let mut pattern = Pattern::new(1001);
        let mut pieces = Vec::new();
        let mut buffer = [0; 13];
        loop {
            match pattern.read(&mut buffer).unwrap() {
                0 => break,
                n => pieces.extend_from_slice(&buffer[..n]),
            }
        }
        assert_eq!(pieces, whole);
    }
}
