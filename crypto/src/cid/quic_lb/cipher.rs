//! How server ID and nonce are hidden (QUIC-LB, "Server Actions"): AES-128 itself where they fill a block, else a Feistel
//! network of four passes around it.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use crate::cid::copy;

/// The longest half of what is not a block.
const MAX_HALF: usize = 10;

/// What stands between server ID and nonce and the connection ID.
pub(super) enum Cipher {
    /// Nothing: everyone reads them.
    Plaintext,
    /// They are 16 bytes.
    SinglePass(Aes128),
    /// They are not.
    FourPass(Aes128),
}

impl Cipher {
    /// For `len` bytes.
    pub(super) fn new(key: &[u8; 16], len: usize) -> Self {
        let key = Aes128::new(key.into());
        if len == 16 { Self::SinglePass(key) } else { Self::FourPass(key) }
    }

    pub(super) fn encrypt(&self, text: &mut [u8]) {
        match self {
            Self::Plaintext => {}
            Self::SinglePass(key) => in_block(text, |block| key.encrypt_block(block)),
            Self::FourPass(key) => feistel(key, text, 1..=4),
        }
    }

    /// Decrypts the first `wanted` bytes at least. Those in the left half need one pass less.
    pub(super) fn decrypt(&self, text: &mut [u8], wanted: usize) {
        match self {
            Self::Plaintext => {}
            Self::SinglePass(key) => in_block(text, |block| key.decrypt_block(block)),
            Self::FourPass(key) => {
                let last = if wanted <= text.len() / 2 { 2 } else { 1 };
                feistel(key, text, (last..=4).rev());
            }
        }
    }
}

fn in_block(text: &mut [u8], cipher: impl FnOnce(&mut aes::Block)) {
    let mut block = [0; 16];
    copy(&*text, &mut block);
    let mut block = block.into();
    cipher(&mut block);
    copy(&block, text);
}

/// An odd number of bytes parts in the middle of one: each half is rounded up, its foreign four bits zero.
fn feistel(key: &Aes128, text: &mut [u8], passes: impl Iterator<Item = u8>) {
    let len = text.len();
    let (left_mask, right_mask) = masks(len);
    let (mut left, mut right) = (left_mask, right_mask);
    let right_start = len / 2;
    left.iter_mut().zip(&*text).for_each(|(half, text)| *half &= text);
    right.iter_mut().zip(text.iter().skip(right_start)).for_each(|(half, text)| *half &= text);

    for pass in passes {
        let odd = pass % 2 == 1;
        let (from, to, mask) =
            if odd { (&left, &mut right, &right_mask) } else { (&right, &mut left, &left_mask) };
        let mut block = [0; 16];
        copy(from, &mut block);
        let [.., len_at, pass_at] = &mut block;
        (*len_at, *pass_at) = (len as u8, pass);
        let mut block = block.into();
        key.encrypt_block(&mut block);
        for ((to, with), mask) in to.iter_mut().zip(&block).zip(mask) {
            *to ^= with & mask;
        }
    }

    text.fill(0);
    text.iter_mut().zip(&left).for_each(|(text, half)| *text ^= half);
    text.iter_mut().skip(right_start).zip(&right).for_each(|(text, half)| *text ^= half);
}

/// The bits that belong to the left half and to the right one of `len` bytes.
fn masks(len: usize) -> ([u8; MAX_HALF], [u8; MAX_HALF]) {
    let half = len.div_ceil(2);
    let mut left = [0; MAX_HALF];
    left.iter_mut().take(half).for_each(|byte| *byte = 0xff);
    let mut right = left;
    if len % 2 == 1 {
        if let Some(last) = left.iter_mut().take(half).last() {
            *last = 0xf0;
        }
        let [first, ..] = &mut right;
        *first = 0x0f;
    }
    (left, right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    fn key(digits: &str) -> [u8; 16] {
        hex(digits).try_into().unwrap()
    }

    /// The example that the draft goes through step by step: the halves after each pass.
    #[test]
    fn the_four_passes_of_the_example() {
        let Cipher::FourPass(key) = Cipher::new(&key("fdf726a9893ec05c0632d3956680baf0"), 7) else {
            panic!()
        };
        let plaintext = hex("31441a9c69c275");
        // Left and right half overlap in one byte, half of it zero in each.
        for (passes, left, right) in [
            (1, "31441a90", "0e3c1ff9"),
            (2, "d4a04850", "0e3c1ff9"),
            (3, "d4a04850", "09be054a"),
            (4, "67947d20", "09be054a"),
        ] {
            let mut text = plaintext.clone();
            feistel(&key, &mut text, 1..=passes);
            let (left, right) = (hex(left), hex(right));
            assert_eq!(text[..3], left[..3], "{passes}");
            assert_eq!(text[3], left[3] | right[0], "{passes}");
            assert_eq!(text[4..], right[1..], "{passes}");
        }
    }

    #[test]
    fn decrypts_what_it_encrypts_as_far_as_wanted() {
        for len in 5..=19 {
            let cipher = Cipher::new(&[3; 16], len);
            let plaintext: std::vec::Vec<u8> = (1..=len as u8).collect();
            let mut text = plaintext.clone();
            cipher.encrypt(&mut text);
            assert_ne!(text, plaintext);
            for wanted in 1..=len {
                let mut text = text.clone();
                cipher.decrypt(&mut text, wanted);
                assert_eq!(text[..wanted], plaintext[..wanted], "{wanted} of {len}");
            }
        }
    }
}
