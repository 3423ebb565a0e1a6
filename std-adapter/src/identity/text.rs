//! Fingerprints and shared keys, as people write them.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The SHA-256 hash of a public key (its SubjectPublicKeyInfo in DER): names a peer without any certificate authority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// The pin of a public key in DER.
    pub fn of(public_key: &[u8]) -> Self {
        Self(Sha256::digest(public_key).into())
    }
}

/// Lower-case hex.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Hex, with or without colons, or base64; `sha256:`, `sha256/` or `sha256//` may stand before it.
impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let body = ["sha256//", "sha256/", "sha256:"].iter().find_map(|prefix| text.strip_prefix(prefix));
        let body = body.unwrap_or(text);
        let bytes = hex(&body.replace(':', "")).filter(|bytes| bytes.len() == 32).or_else(|| base64(body));
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(PinError)
    }
}

/// The text is not a SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PinError;

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a pin is the SHA-256 of the server's public key: 64 hex digits, or 44 characters of base64",
        )
    }
}

impl std::error::Error for PinError {}

/// A key that both sides know beforehand, and its name.
#[derive(Clone, PartialEq, Eq)]
pub struct Psk {
    /// The name under which the peer knows the key. Goes over the wire in the clear.
    pub identity: Vec<u8>,
    /// The key.
    pub key: Zeroizing<Vec<u8>>,
}

impl Psk {
    /// Shorter keys can be guessed by anyone who records a handshake.
    pub const MIN_KEY_BYTES: usize = 16;
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Psk({})", String::from_utf8_lossy(&self.identity))
    }
}

/// `ID:HEX`; the identity may contain colons.
impl FromStr for Psk {
    type Err = PskError;

    fn from_str(text: &str) -> Result<Self, PskError> {
        let (identity, key) = text.rsplit_once(':').ok_or(PskError::NoColon)?;
        if identity.is_empty() {
            return Err(PskError::NoIdentity);
        }
        let key = Zeroizing::new(hex(key).ok_or(PskError::NotHex)?);
        if key.len() < Self::MIN_KEY_BYTES {
            return Err(PskError::Short);
        }
        Ok(Self { identity: identity.into(), key })
    }
}

/// The text is not `ID:HEX`. Never repeats the text, which may hold the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PskError {
    /// Nothing separates identity and key.
    NoColon,
    /// There is no identity.
    NoIdentity,
    /// The key is not hex.
    NotHex,
    /// The key is too short.
    Short,
}

impl fmt::Display for PskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoColon => {
                "a shared key is written ID:HEX, for example sensor-7:00112233445566778899aabbccddeeff"
            }
            Self::NoIdentity => "the identity before the colon is missing",
            Self::NotHex => "the key after the last colon is not hex, or has an odd number of digits",
            Self::Short => {
                "the key must have at least 16 bytes (32 hex digits); make one with: openssl rand -hex 32"
            }
        })
    }
}

impl std::error::Error for PskError {}

/// The bytes that pairs of hex digits stand for; `None` if something else is among them.
pub fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Standard base64, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0u32;
    let mut bytes = Vec::new();
    for (count, byte) in (1..).zip(text.trim_end_matches('=').bytes()) {
        bits = bits << 6 | ALPHABET.iter().position(|&letter| letter == byte)? as u32;
        if count % 4 != 1 {
            bytes.push((bits >> (6 - 2 * ((count + 3) % 4))) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_reads_back_in_every_notation() {
        let pin = Pin::of(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(pin.to_string(), hex);
        let colons: Vec<_> = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect();
        for text in [
            hex,
            &hex.to_uppercase(),
            &colons.join(":"),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            "sha256//ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            "sha256/ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
        ] {
            assert_eq!(text.parse(), Ok(pin), "{text}");
        }
        for text in ["", "ba78", &hex[1..], &format!("{hex}00"), "ungWv48Bz", "not a pin"] {
            assert_eq!(text.parse::<Pin>(), Err(PinError), "{text}");
        }
    }

    #[test]
    fn base64_of_every_length() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64("Zm9*"), None);
    }

    #[test]
    fn a_shared_key_is_split_at_the_last_colon_and_never_shown() {
        let psk: Psk = "urn:dev:00112233445566778899AABBCCDDEEFF".parse().unwrap();
        assert_eq!(psk.identity, b"urn:dev");
        assert_eq!((psk.key.len(), psk.key[15]), (16, 0xff));
        assert_eq!(format!("{psk:?}"), "Psk(urn:dev)");
        for (text, error) in [
            ("00112233445566778899aabbccddeeff", PskError::NoColon),
            (":00112233445566778899aabbccddeeff", PskError::NoIdentity),
            ("id:0011223344556677889", PskError::NotHex),
            ("id:0011223344556677889g", PskError::NotHex),
            ("id:0011", PskError::Short),
            ("id:", PskError::Short),
        ] {
            assert_eq!(text.parse::<Psk>(), Err(error), "{text}");
        }
    }
}
