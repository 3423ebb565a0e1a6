//! A fast checksum for telling things apart. It resists chance, not people: nothing here is cryptography.

use crate::rng::scatter;

/// Absorbs byte strings and numbers; the order and the boundaries between them count.
#[derive(Clone, Debug)]
pub struct Digest {
    high: u64,
    low: u64,
}

impl Digest {
    /// The digest of nothing.
    pub const fn new() -> Self {
        Self { high: 0x243f_6a88_85a3_08d3, low: 0x1319_8a2e_0370_7344 }
    }

    /// Absorbs a number.
    pub const fn number(&mut self, number: u64) {
        self.high = scatter(self.high ^ number);
        self.low = scatter(self.low.wrapping_add(number).rotate_left(23)) ^ self.high;
    }

    /// Absorbs a byte string, its length first.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
    }

    /// 64 bits of everything absorbed so far.
    pub const fn finish(&self) -> u64 {
        scatter(self.high ^ self.low.rotate_left(32))
    }

    /// 128 bits of everything absorbed so far.
    pub fn finish_tag(&self) -> [u8; 16] {
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&self.finish().to_le_bytes());
        tag[8..].copy_from_slice(&scatter(self.low).to_le_bytes());
        tag
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[u8]]) -> u64 {
        let mut digest = Digest::new();
        for part in parts {
            digest.bytes(part);
        }
        digest.finish()
    }

    #[test]
    fn order_boundaries_and_every_bit_count() {
        assert_eq!(of(&[b"ab", b"c"]), of(&[b"ab", b"c"]));
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"c", b"ab"]));
        assert_ne!(of(&[b"a"]), of(&[b"a\0"]));
        let text = [7_u8; 40];
        for bit in 0..text.len() * 8 {
            let mut flipped = text;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&[&flipped]), of(&[&text]), "bit {bit}");
        }
    }
}
