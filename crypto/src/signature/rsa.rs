//! RSA verification: RSASSA-PKCS1-v1_5 and RSASSA-PSS (RFC 8017 8.2.2 and 8.1.2), for moduli of 2,048 to 4,096 bits.
//!
//! The public operation runs on integers of 2,048, 3,072 or 4,096 bits on the stack. Nothing is secret.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U2048, U3072, U4096, Uint};
use rustls_pki_types::{AlgorithmIdentifier, alg_id};
use sha2::digest::Output;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::Algorithm;
use crate::der::{INTEGER, Reader, SEQUENCE};

/// Bytes of the longest modulus.
const MAX_LEN: usize = 512;
/// Bits of the shortest modulus.
const MIN_BITS: usize = 2048;
/// The longest public exponent in use is 2^32 + 1; longer ones only cost time.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

const fn row(
    name: &'static str,
    signature: AlgorithmIdentifier,
    verify: fn(&[u8], &[u8], &[u8]) -> bool,
) -> Algorithm {
    Algorithm { name, key: alg_id::RSA_ENCRYPTION, signature, verify }
}

pub(super) static PKCS1_SHA256: Algorithm =
    row("RSA PKCS#1 SHA-256", alg_id::RSA_PKCS1_SHA256, verify_pkcs1::<Sha256>);
pub(super) static PKCS1_SHA384: Algorithm =
    row("RSA PKCS#1 SHA-384", alg_id::RSA_PKCS1_SHA384, verify_pkcs1::<Sha384>);
pub(super) static PKCS1_SHA512: Algorithm =
    row("RSA PKCS#1 SHA-512", alg_id::RSA_PKCS1_SHA512, verify_pkcs1::<Sha512>);
pub(super) static PSS_SHA256: Algorithm =
    row("RSA PSS SHA-256", alg_id::RSA_PSS_SHA256, verify_pss::<Sha256>);
pub(super) static PSS_SHA384: Algorithm =
    row("RSA PSS SHA-384", alg_id::RSA_PSS_SHA384, verify_pss::<Sha384>);
pub(super) static PSS_SHA512: Algorithm =
    row("RSA PSS SHA-512", alg_id::RSA_PSS_SHA512, verify_pss::<Sha512>);

/// An RSAPublicKey (RFC 8017 A.1.1).
struct PublicKey<'a> {
    modulus: &'a [u8],
    exponent: u64,
}

impl<'a> PublicKey<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::new(der);
        let mut fields = Reader::new(outer.read(SEQUENCE)?);
        outer.end()?;
        let modulus = positive(&mut fields)?;
        let exponent = positive(&mut fields)?;
        fields.end()?;

        let mut wide = [0; 8];
        wide.get_mut(8_usize.checked_sub(exponent.len())?..)?.copy_from_slice(exponent);
        let exponent = u64::from_be_bytes(wide);
        let key = Self { modulus, exponent };
        let usable = (MIN_BITS..=MAX_LEN * 8).contains(&key.bits()?)
            && (3..=MAX_EXPONENT).contains(&exponent)
            && exponent % 2 == 1;
        usable.then_some(key)
    }

    /// Bits of the modulus.
    fn bits(&self) -> Option<usize> {
        let unused = self.modulus.first()?.leading_zeros() as usize;
        self.modulus.len().checked_mul(8)?.checked_sub(unused)
    }

    /// RSAVP1 and I2OSP (RFC 8017 5.2.2, 4.1): the encoded message that `signature` holds, as long as the modulus.
    fn recover<'b>(&self, signature: &[u8], buffer: &'b mut [u8; MAX_LEN]) -> Option<&'b mut [u8]> {
        let len = self.modulus.len();
        if signature.len() != len {
            return None;
        }
        let out = buffer.get_mut(..len)?;
        match len {
            ..=256 => power::<{ U2048::LIMBS }>(self, signature, out)?,
            257..=384 => power::<{ U3072::LIMBS }>(self, signature, out)?,
            _ => power::<{ U4096::LIMBS }>(self, signature, out)?,
        }
        Some(out)
    }
}

/// The bytes of the next element, a positive integer, without leading zeros.
fn positive<'a>(fields: &mut Reader<'a>) -> Option<&'a [u8]> {
    match fields.read(INTEGER)? {
        [0, rest @ ..] if rest.first()? & 0x80 != 0 => Some(rest),
        bytes @ [0x01..=0x7f, ..] => Some(bytes),
        _ => None,
    }
}

/// `signature ^ exponent mod modulus`, big endian.
#[inline(never)]
fn power<const LIMBS: usize>(key: &PublicKey<'_>, signature: &[u8], out: &mut [u8]) -> Option<()> {
    let number = |bytes| Uint::<LIMBS>::from_be_slice_truncated(bytes, Uint::<LIMBS>::BITS);
    let modulus = Option::<Odd<_>>::from(Odd::new(number(key.modulus)))?;
    let base = number(signature);
    if &base >= modulus.as_ref() {
        return None;
    }
    let params = FixedMontyParams::new_vartime(modulus);
    let base = FixedMontyForm::new(&base, &params);
    // Square and multiply, from the bit below the highest one.
    let mut result = base;
    for bit in (0..key.exponent.ilog2()).rev() {
        result = result.square();
        if key.exponent >> bit & 1 == 1 {
            result = result.mul(&base);
        }
    }
    let bytes = result.retrieve().to_be_bytes();
    let bytes = bytes.as_slice();
    out.copy_from_slice(bytes.get(bytes.len().checked_sub(out.len())?..)?);
    Some(())
}

/// A hash with the DER that precedes it in a DigestInfo (RFC 8017 9.2, note 1).
trait DigestInfo: Digest {
    const PREFIX: [u8; 19];
}

/// SEQUENCE { SEQUENCE { OID 2.16.840.1.101.3.4.2.n, NULL }, OCTET STRING of `len` bytes }.
const fn prefix(n: u8, len: u8) -> [u8; 19] {
    let whole = 17_u8.saturating_add(len);
    [
        0x30, whole, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, n, 0x05, 0x00,
        0x04, len,
    ]
}

impl DigestInfo for Sha256 {
    const PREFIX: [u8; 19] = prefix(1, 32);
}

impl DigestInfo for Sha384 {
    const PREFIX: [u8; 19] = prefix(2, 48);
}

impl DigestInfo for Sha512 {
    const PREFIX: [u8; 19] = prefix(3, 64);
}

fn verify_pkcs1<H: DigestInfo>(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let mut buffer = [0; MAX_LEN];
    PublicKey::parse(key)
        .and_then(|key| key.recover(signature, &mut buffer))
        .is_some_and(|encoded| is_pkcs1::<H>(encoded, message))
}

/// Whether `encoded` is what EMSA-PKCS1-v1_5 makes of `message` (RFC 8017 9.2): it is made again and compared, so
/// that there is nothing to parse.
fn is_pkcs1<H: DigestInfo>(encoded: &[u8], message: &[u8]) -> bool {
    let hash = H::digest(message);
    let fixed = H::PREFIX.len().saturating_add(hash.len()).saturating_add(3);
    let padding = core::iter::repeat_n(&0xff, encoded.len().saturating_sub(fixed));
    let expected = [0x00, 0x01].iter().chain(padding).chain(&[0x00]).chain(&H::PREFIX).chain(&hash);
    encoded.iter().eq(expected)
}

fn verify_pss<H: Digest>(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let mut buffer = [0; MAX_LEN];
    PublicKey::parse(key).is_some_and(|key| {
        let bits = key.bits();
        let encoded = key.recover(signature, &mut buffer);
        bits.zip(encoded).is_some_and(|(bits, encoded)| is_pss::<H>(encoded, bits, message).is_some())
    })
}

/// `Some` if `encoded` is an EMSA-PSS of `message` with a salt as long as the hash (RFC 8017 9.1.2).
fn is_pss<H: Digest>(encoded: &mut [u8], modulus_bits: usize, message: &[u8]) -> Option<()> {
    // The encoding has one bit less than the modulus, which may be one byte less.
    let bits = modulus_bits.checked_sub(1)?;
    let (above, encoded) = encoded.split_at_mut_checked(encoded.len().checked_sub(bits.div_ceil(8))?)?;
    check(above.iter().all(|&byte| byte == 0))?;

    let hash_len = <H as Digest>::output_size();
    let (trailer, rest) = encoded.split_last_mut()?;
    check(*trailer == 0xbc)?;
    let (block, hash) = rest.split_at_mut_checked(rest.len().checked_sub(hash_len)?)?;

    let unused = bits.next_multiple_of(8).checked_sub(bits)?;
    let used_bits = 0xff_u8.checked_shr(u32::try_from(unused).ok()?)?;
    check(block.first()? & !used_bits == 0)?;
    mask_with::<H>(block, hash);
    *block.first_mut()? &= used_bits;

    let (zeros_and_one, salt) = block.split_at_checked(block.len().checked_sub(hash_len)?)?;
    let (one, zeros) = zeros_and_one.split_last()?;
    check(*one == 0x01 && zeros.iter().all(|&byte| byte == 0))?;

    let expected: Output<H> =
        H::new().chain_update([0; 8]).chain_update(H::digest(message)).chain_update(salt).finalize();
    check(*expected == *hash)
}

fn check(holds: bool) -> Option<()> {
    holds.then_some(())
}

/// XORs MGF1 of `seed` (RFC 8017 B.2.1) into `block`.
fn mask_with<H: Digest>(block: &mut [u8], seed: &[u8]) {
    for (counter, chunk) in (0_u32..).zip(block.chunks_mut(<H as Digest>::output_size())) {
        let mask = H::new().chain_update(seed).chain_update(counter.to_be_bytes()).finalize();
        chunk.iter_mut().zip(&mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;
    use std::vec;

    #[test]
    fn integers_are_positive_and_shortest() {
        let positive = |der| positive(&mut Reader::new(&hex(der))).map(<[u8]>::to_vec);
        assert_eq!(positive("020101"), Some(vec![1]));
        assert_eq!(positive("02020080"), Some(vec![0x80]));
        for der in ["0200", "020100", "020180", "02020001", "0202", "0203000080"] {
            assert_eq!(positive(der), None, "{der}");
        }
    }

    /// An RSAPublicKey with a modulus of `bits` bits, all of them set.
    fn key(bits: usize, exponent: &[u8]) -> vec::Vec<u8> {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= modulus.len() * 8 - bits;
        modulus.splice(..0, bits.is_multiple_of(8).then_some(0));
        let element = |tag, contents: &[u8]| {
            let len = (contents.len() as u16).to_be_bytes();
            match contents.len() {
                ..=0x7f => [&[tag, len[1]], contents].concat(),
                0x80..=0xff => [&[tag, 0x81, len[1]], contents].concat(),
                _ => [&[tag, 0x82, len[0], len[1]], contents].concat(),
            }
        };
        element(SEQUENCE, &[element(INTEGER, &modulus), element(INTEGER, exponent)].concat())
    }

    #[test]
    fn keys_of_other_sizes_and_exponents_are_refused() {
        let ok = |bits, exponent: &[u8]| PublicKey::parse(&key(bits, exponent)).is_some();
        assert!(ok(2048, &[3]) && ok(3001, &[1, 0, 1]) && ok(4096, &[1, 0, 0, 0, 1]));
        assert!(!ok(2047, &[3]) && !ok(4097, &[3]) && !ok(1024, &[3]));
        for exponent in [&[1][..], &[2], &[4], &[1, 0, 0], &[4, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 1]] {
            assert!(!ok(2048, exponent), "{exponent:?}");
        }
    }
}
