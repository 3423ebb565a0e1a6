//! What a firmware is to do: words like `get=/262144` from the emulator's command line. A product has its keys and its server in
//! flash instead.

use core::str::FromStr;

use peregrine_crypto::provider::HashAlgorithm;
use peregrine_crypto::tls::Psk;
use static_cell::StaticCell;

use crate::board::host;

/// Bytes of the longest command line.
const LONGEST: usize = 512;
/// Bytes of the longest key.
const LONGEST_KEY: usize = 64;

/// The command line.
#[derive(Clone, Copy)]
pub struct Job(&'static str);

impl Job {
    /// Reads it, once.
    ///
    /// # Panics
    /// If it is too long.
    pub fn read() -> Self {
        static TEXT: StaticCell<[u8; LONGEST]> = StaticCell::new();
        let text = host::command_line(TEXT.init([0; LONGEST]));
        Self(text.expect("the command line is too long"))
    }

    /// What stands behind `name=`.
    pub fn find(&self, name: &str) -> Option<&'static str> {
        self.0.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The same, read as something.
    ///
    /// # Panics
    /// If it cannot be read so.
    pub fn parse<T: FromStr>(&self, name: &str) -> Option<T> {
        self.find(name).map(|text| text.parse().ok().expect(name))
    }

    /// `psk=NAME:HEX`, the pre-shared key.
    ///
    /// # Panics
    /// If there is something else.
    pub fn psk(&self) -> Option<Psk<'static>> {
        static KEY: StaticCell<[u8; LONGEST_KEY]> = StaticCell::new();
        let (name, hex) = self.find("psk")?.rsplit_once(':').expect("psk=NAME:HEX");
        let key = bytes(hex, KEY.init([0; LONGEST_KEY]));
        Some(Psk { identity: name.as_bytes(), key, hash: HashAlgorithm::Sha256 })
    }

    /// `raw-key=HEX`, the server's public key: its SubjectPublicKeyInfo in DER.
    ///
    /// # Panics
    /// If there is something else.
    pub fn raw_key(&self) -> Option<&'static [u8]> {
        static KEY: StaticCell<[u8; LONGEST_KEY]> = StaticCell::new();
        self.find("raw-key").map(|hex| bytes(hex, KEY.init([0; LONGEST_KEY])))
    }

    /// `pin=HEX`, the SHA-256 hash of the same.
    ///
    /// # Panics
    /// If there is something else.
    pub fn pin(&self) -> Option<&'static [u8; 32]> {
        static PIN: StaticCell<[u8; 32]> = StaticCell::new();
        self.find("pin").map(|hex| bytes(hex, PIN.init([0; 32])).try_into().expect("a pin has 32 bytes"))
    }
}

/// Reads hex digits.
fn bytes(hex: &str, out: &'static mut [u8]) -> &'static [u8] {
    let (pairs, odd) = hex.as_bytes().as_chunks::<2>();
    assert!(
        odd.is_empty() && pairs.len() <= out.len(),
        "a key in hex has an even number of digits, and not too many"
    );
    let out = &mut out[..pairs.len()];
    for (byte, pair) in out.iter_mut().zip(pairs) {
        let pair = core::str::from_utf8(pair).ok();
        *byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).expect("a key is written in hex");
    }
    out
}

/// Hex digits of a hash.
pub struct Hex([u8; 64]);

impl Hex {
    /// Those of these bytes.
    pub fn of(bytes: &[u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(bytes) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        Self(hex)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}
