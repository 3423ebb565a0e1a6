//! Randomness: a source that may fail is asked once, and what it gave seeds a generator that cannot.
//!
//! Chips have true random number generators behind traits of several versions of `rand_core`, and they can fail: at power-up, at
//! low voltage, when a health test trips. Cryptography must not go on then. So the one place where randomness can be
//! missing is [`Drbg::new`]; whoever has a [`Drbg`] has as much as it asks for.

use core::convert::Infallible;
use core::fmt;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

const SEED_LEN: usize = 32;

/// A source of bytes that nobody can predict.
pub trait Entropy {
    /// Fills `out`.
    ///
    /// # Errors
    /// If the source has failed; what `out` holds is of no use then.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError>;
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        (**self).fill(out)
    }
}

/// The source of randomness has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EntropyError;

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of randomness has failed")
    }
}

impl core::error::Error for EntropyError {}

/// A random number generator over ChaCha20 that forgets the past: whoever reads its memory learns nothing of what it gave before.
///
/// Implements `CryptoRng` of rand_core 0.10, which is what [`peregrine_crypto`]'s providers take. It is no `Clone`: two
/// generators of one state would give two connections the same keys.
pub struct Drbg {
    key: Zeroizing<[u8; SEED_LEN]>,
}

impl Drbg {
    /// Asks the source for a seed.
    ///
    /// # Errors
    /// If the source fails, or gives the same byte again and again, as one does that is not running.
    pub fn new(source: &mut impl Entropy) -> Result<Self, EntropyError> {
        let mut key = Zeroizing::new([0; SEED_LEN]);
        source.fill(&mut *key)?;
        let [first, others @ ..] = &*key;
        if others.iter().all(|byte| byte == first) {
            return Err(EntropyError);
        }
        Ok(Self { key })
    }

    /// Another generator, for another connection, which tells nothing of this one.
    pub fn fork(&mut self) -> Self {
        let mut key = Zeroizing::new([0; SEED_LEN]);
        self.generate(&mut *key);
        Self { key }
    }

    fn generate(&mut self, out: &mut [u8]) {
        // The key serves once, so that the nonce need not differ.
        let mut stream = ChaCha20::new((&*self.key).into(), &[0; 12].into());
        self.key.fill(0);
        stream.apply_keystream(&mut *self.key);
        out.fill(0);
        stream.apply_keystream(out);
    }
}

impl fmt::Debug for Drbg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drbg")
    }
}

impl TryRng for Drbg {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.generate(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.generate(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.generate(out);
        Ok(())
    }
}

impl TryCryptoRng for Drbg {}

/// A generator of rand_core 0.10 as a source.
#[derive(Debug)]
pub struct RandCore10<R>(pub R);

impl<R: TryCryptoRng> Entropy for RandCore10<R> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0.try_fill_bytes(out).map_err(|_| EntropyError)
    }
}

/// A generator of rand_core 0.9 as a source.
#[cfg(feature = "rand-core-09")]
#[derive(Debug)]
pub struct RandCore09<R>(pub R);

#[cfg(feature = "rand-core-09")]
impl<R: rand_core_09::TryCryptoRng> Entropy for RandCore09<R> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0.try_fill_bytes(out).map_err(|_| EntropyError)
    }
}

/// A generator of rand_core 0.6 as a source.
#[cfg(feature = "rand-core-06")]
#[derive(Debug)]
pub struct RandCore06<R>(pub R);

#[cfg(feature = "rand-core-06")]
impl<R: rand_core_06::RngCore + rand_core_06::CryptoRng> Entropy for RandCore06<R> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0.try_fill_bytes(out).map_err(|_| EntropyError)
    }
}

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;

    struct Fixed(Result<u8, EntropyError>);

    impl Entropy for Fixed {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            let step = self.0?;
            out.iter_mut()
                .scan(0_u8, |at, byte| {
                    *at = at.wrapping_add(step);
                    *byte = *at;
                    Some(())
                })
                .for_each(drop);
            Ok(())
        }
    }

    /// A generator that gives sevens, or fails.
    struct Sevens {
        fails: bool,
    }

    impl TryRng for Sevens {
        type Error = fmt::Error;

        fn try_next_u32(&mut self) -> Result<u32, fmt::Error> {
            unreachable!("bytes are asked for")
        }

        fn try_next_u64(&mut self) -> Result<u64, fmt::Error> {
            unreachable!("bytes are asked for")
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), fmt::Error> {
            out.fill(7);
            if self.fails { Err(fmt::Error) } else { Ok(()) }
        }
    }

    impl TryCryptoRng for Sevens {}

    #[cfg(feature = "rand-core-09")]
    impl rand_core_09::TryRngCore for Sevens {
        type Error = fmt::Error;

        fn try_next_u32(&mut self) -> Result<u32, fmt::Error> {
            TryRng::try_next_u32(self)
        }

        fn try_next_u64(&mut self) -> Result<u64, fmt::Error> {
            TryRng::try_next_u64(self)
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), fmt::Error> {
            TryRng::try_fill_bytes(self, out)
        }
    }

    #[cfg(feature = "rand-core-09")]
    impl rand_core_09::TryCryptoRng for Sevens {}

    #[cfg(feature = "rand-core-06")]
    impl rand_core_06::RngCore for Sevens {
        fn next_u32(&mut self) -> u32 {
            unreachable!("bytes are asked for")
        }

        fn next_u64(&mut self) -> u64 {
            unreachable!("bytes are asked for")
        }

        fn fill_bytes(&mut self, _: &mut [u8]) {
            unreachable!("it may fail")
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core_06::Error> {
            let error = core::num::NonZeroU32::MIN.into();
            TryRng::try_fill_bytes(self, out).map_err(|_| error)
        }
    }

    #[cfg(feature = "rand-core-06")]
    impl rand_core_06::CryptoRng for Sevens {}

    fn gives_sevens_or_fails<E: Entropy>(source: fn(Sevens) -> E) {
        let mut out = [0; SEED_LEN];
        assert_eq!(source(Sevens { fails: false }).fill(&mut out), Ok(()));
        assert_eq!(out, [7; SEED_LEN]);
        assert_eq!(source(Sevens { fails: true }).fill(&mut out), Err(EntropyError));
    }

    #[test]
    fn a_generator_of_rand_core_0_10_is_a_source_that_may_fail() {
        gives_sevens_or_fails(RandCore10);
    }

    #[cfg(feature = "rand-core-09")]
    #[test]
    fn a_generator_of_rand_core_0_9_is_a_source_that_may_fail() {
        gives_sevens_or_fails(RandCore09);
    }

    #[cfg(feature = "rand-core-06")]
    #[test]
    fn a_generator_of_rand_core_0_6_is_a_source_that_may_fail() {
        gives_sevens_or_fails(RandCore06);
    }

    #[test]
    fn a_source_that_fails_or_stands_still_is_refused() {
        assert!(Drbg::new(&mut Fixed(Err(EntropyError))).is_err());
        assert!(Drbg::new(&mut Fixed(Ok(0))).is_err());
        assert!(Drbg::new(&mut Fixed(Ok(1))).is_ok());
    }

    #[test]
    fn nothing_comes_twice() {
        let mut one = Drbg::new(&mut Fixed(Ok(1))).unwrap();
        let seed = *one.key;
        let mut forked = one.fork();
        let drawn = [one.next_u64(), one.next_u64(), forked.next_u64(), forked.next_u64()];
        for (place, value) in drawn.iter().enumerate() {
            assert!(!drawn[..place].contains(value));
        }
        assert_ne!(*one.key, seed);
        assert_ne!(*one.key, *forked.key);
    }

    #[test]
    fn the_first_output_is_the_key_stream_of_chacha20_behind_the_next_key() {
        let mut drbg = Drbg { key: Zeroizing::new([0; SEED_LEN]) };
        let mut out = [0; 4];
        drbg.generate(&mut out);
        // RFC 8439 A.1, test vector 1: bytes 0.. and 32..
        assert_eq!(drbg.key[..4], [0x76, 0xb8, 0xe0, 0xad]);
        assert_eq!(out, [0xda, 0x41, 0x59, 0x7c]);
    }
}
