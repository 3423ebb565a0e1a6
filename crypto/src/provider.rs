//! What TLS and packet protection ask of cryptography, so that a host can bring a faster AEAD and a microcontroller
//! its hardware. [`crate::rustcrypto::RustCrypto`] is the default.
//!
//! AEAD, header protection and hashes never wait. Steps with public keys may, since they take long and have hardware of their
//! own: key pairs and key agreement here, signing by a [`Signer`], verifying by a [`Verifier`](crate::verify::Verifier). They
//! say [`Poll::Pending`], then TLS rests and QUIC goes on; they are asked again, with the same arguments, after each
//! [`Session::resume`](peregrine_core::session::Session::resume), which whoever learns that the hardware is done sees to. Nobody
//! is woken otherwise. What waits may be dropped at any time: the connection can end before.
//!
//! # Hardware that does one job at a time
//!
//! A step that finds it at another's job is pending like one that has begun; whoever resumes sessions lets the others try again once
//! one of them got on. Since what waits may be dropped, a result may be there that nobody will fetch: whoever asks for another job
//! must get the hardware then, and the result is overwritten, wiped if it is a secret. Otherwise one client that goes away in its
//! handshake ends all handshakes after it. Should its owner be there after all, it asks again and the job is done again. To tell
//! whose a result is, keep what was asked with it: the message to be signed, the peer's public value; a [`KeyShare`], which one
//! connection owns, may as well give its job up when it is dropped.
//!
//! # Hardware for AES and SHA-256
//!
//! A peripheral is one for all keys and all hashes, so they refer to it; in a program of one executor a `RefCell` keeps them
//! apart, since no call here lasts beyond its return. A key that the peripheral cannot keep is loaded for each packet, from a
//! copy that wipes itself; one that stays in a slot is a number here, and its `Drop` empties the slot. A running hash is saved
//! after each piece and restored before the next, because several run at once.
//!
//! A chip with units like CRYP and HASH of an STM32, and key agreement in software:
//!
//! ```
//! use core::cell::RefCell;
//! use core::task::Poll;
//!
//! use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
//! use peregrine_crypto::provider::{
//!     AeadError, AeadKey, Digest, Group, Hash, HashAlgorithm, HeaderKey, NONCE_LEN, Provider, Suite,
//! };
//! use peregrine_crypto::rustcrypto::{LeanKeyShare, LeanRustCrypto};
//! use rand_core::CryptoRng;
//! use zeroize::Zeroizing;
//!
//! /// The driver of the units.
//! trait Units {
//!     /// The registers of the HASH unit, saved.
//!     type Context: Clone;
//!     /// Encrypts in place and returns the tag.
//!     fn gcm_seal(&mut self, key: &[u8; 16], nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN];
//!     /// Decrypts in place and tells whether this is the tag, in a time that does not depend on where it differs.
//!     fn gcm_open(&mut self, key: &[u8; 16], nonce: &[u8; NONCE_LEN], aad: &[u8], text: &mut [u8], tag: &[u8; TAG_LEN]) -> bool;
//!     fn ecb(&mut self, key: &[u8; 16], block: &[u8; 16]) -> [u8; 16];
//!     fn sha256_begin(&mut self) -> Self::Context;
//!     fn sha256_update(&mut self, context: &mut Self::Context, bytes: &[u8]);
//!     fn sha256_finish(&mut self, context: Self::Context) -> [u8; 32];
//! }
//!
//! struct UnitKey<'u, U> {
//!     units: &'u RefCell<U>,
//!     key: Zeroizing<[u8; 16]>,
//! }
//!
//! impl<U: Units> AeadKey for UnitKey<'_, U> {
//!     fn seal(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
//!         let (text, tag) = data.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
//!         *tag = self.units.borrow_mut().gcm_seal(&self.key, nonce, aad, text);
//!         Ok(())
//!     }
//!
//!     fn open(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<usize, AeadError> {
//!         let (text, tag) = data.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
//!         let genuine = self.units.borrow_mut().gcm_open(&self.key, nonce, aad, text, tag);
//!         if genuine { Ok(text.len()) } else { Err(AeadError) }
//!     }
//! }
//!
//! impl<U: Units> HeaderKey for UnitKey<'_, U> {
//!     fn mask(&mut self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
//!         let [a, b, c, d, e, ..] = self.units.borrow_mut().ecb(&self.key, sample);
//!         [a, b, c, d, e]
//!     }
//! }
//!
//! struct UnitHash<'u, U: Units> {
//!     units: &'u RefCell<U>,
//!     context: U::Context,
//! }
//!
//! impl<U: Units> Clone for UnitHash<'_, U> {
//!     fn clone(&self) -> Self {
//!         Self { units: self.units, context: self.context.clone() }
//!     }
//! }
//!
//! impl<U: Units> Hash for UnitHash<'_, U> {
//!     fn update(&mut self, bytes: &[u8]) {
//!         self.units.borrow_mut().sha256_update(&mut self.context, bytes);
//!     }
//!
//!     fn finish(self) -> Digest {
//!         Digest::sha256(&self.units.borrow_mut().sha256_finish(self.context))
//!     }
//! }
//!
//! struct Chip<'u, U, R> {
//!     units: &'u RefCell<U>,
//!     software: LeanRustCrypto<R>,
//! }
//!
//! impl<'u, U, R> Chip<'u, U, R> {
//!     fn key(&self, suite: Suite, key: &[u8]) -> Option<UnitKey<'u, U>> {
//!         let key = key.try_into().ok().filter(|_| suite == Suite::Aes128GcmSha256)?;
//!         Some(UnitKey { units: self.units, key: Zeroizing::new(key) })
//!     }
//! }
//!
//! impl<'u, U: Units, R: CryptoRng> Provider for Chip<'u, U, R> {
//!     type Aead = UnitKey<'u, U>;
//!     type Header = UnitKey<'u, U>;
//!     type Hash = UnitHash<'u, U>;
//!     type KeyShare = LeanKeyShare;
//!
//!     fn suites(&self) -> &[Suite] {
//!         &[Suite::Aes128GcmSha256]
//!     }
//!
//!     fn groups(&self) -> &[Group] {
//!         self.software.groups()
//!     }
//!
//!     fn aead(&self, suite: Suite, key: &[u8]) -> Option<Self::Aead> {
//!         self.key(suite, key)
//!     }
//!
//!     fn header(&self, suite: Suite, key: &[u8]) -> Option<Self::Header> {
//!         self.key(suite, key)
//!     }
//!
//!     fn hash(&self, _: HashAlgorithm) -> Self::Hash {
//!         UnitHash { units: self.units, context: self.units.borrow_mut().sha256_begin() }
//!     }
//!
//!     fn key_share(&mut self, group: Group) -> Poll<Option<LeanKeyShare>> {
//!         self.software.key_share(group)
//!     }
//!
//!     fn fill_random(&mut self, out: &mut [u8]) {
//!         self.software.fill_random(out);
//!     }
//! }
//! ```
//!
//! A hash that has no unit, or one unit that cannot save its registers, is better left in software:
//! [`LeanHash`](crate::rustcrypto::LeanHash).

use core::fmt;
use core::task::Poll;

use peregrine_core::limits::SAMPLE_LEN;
use peregrine_core::session::AeadLimits;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Length of the nonce of every AEAD of TLS 1.3, and so of the IV (RFC 9001 5.3).
pub const NONCE_LEN: usize = 12;
/// Length of the longest AEAD key.
pub const MAX_KEY_LEN: usize = 32;
/// Length of the longest hash, and so of the longest secret.
pub const MAX_HASH_LEN: usize = 48;
/// Length of the longest public value of a key agreement: an uncompressed P-256 point.
pub const MAX_PUBLIC_LEN: usize = 65;
/// Length of the longest signature we make: ECDSA P-384 in DER.
pub const MAX_SIGNATURE_LEN: usize = 104;

/// A cipher suite of TLS 1.3 (RFC 9846 B.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Suite {
    /// TLS_AES_128_GCM_SHA256, also the suite of Initial packets.
    Aes128GcmSha256,
    /// TLS_AES_256_GCM_SHA384.
    Aes256GcmSha384,
    /// TLS_CHACHA20_POLY1305_SHA256.
    ChaCha20Poly1305Sha256,
}

impl Suite {
    /// The suite with this number, if we know it.
    pub const fn from_u16(number: u16) -> Option<Self> {
        Some(match number {
            0x1301 => Self::Aes128GcmSha256,
            0x1302 => Self::Aes256GcmSha384,
            0x1303 => Self::ChaCha20Poly1305Sha256,
            _ => return None,
        })
    }

    /// Its number on the wire.
    pub const fn to_u16(self) -> u16 {
        match self {
            Self::Aes128GcmSha256 => 0x1301,
            Self::Aes256GcmSha384 => 0x1302,
            Self::ChaCha20Poly1305Sha256 => 0x1303,
        }
    }

    /// Its hash.
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::Aes128GcmSha256 | Self::ChaCha20Poly1305Sha256 => HashAlgorithm::Sha256,
            Self::Aes256GcmSha384 => HashAlgorithm::Sha384,
        }
    }

    /// Length of the AEAD key, and of the header protection key (RFC 9001 5.1).
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128GcmSha256 => 16,
            Self::Aes256GcmSha384 | Self::ChaCha20Poly1305Sha256 => 32,
        }
    }

    /// How often a key may be used (RFC 9001 6.6). ChaCha20-Poly1305 runs out of packet numbers first.
    pub const fn limits(self) -> AeadLimits {
        match self {
            Self::Aes128GcmSha256 | Self::Aes256GcmSha384 => {
                AeadLimits { confidentiality: 1 << 23, integrity: 1 << 52 }
            }
            Self::ChaCha20Poly1305Sha256 => AeadLimits { confidentiality: 1 << 62, integrity: 1 << 36 },
        }
    }
}

/// A hash function of TLS 1.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl HashAlgorithm {
    /// Length of its output.
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// Length of the blocks it works on.
    const fn block_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 128,
        }
    }
}

/// A group for the key agreement (RFC 9846 4.2.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
pub enum Group {
    /// NIST P-256; the share is an uncompressed point.
    Secp256r1 = 0x0017,
    /// X25519.
    X25519 = 0x001d,
}

impl Group {
    /// The group with this number, if we know it.
    pub const fn from_u16(number: u16) -> Option<Self> {
        Some(match number {
            0x0017 => Self::Secp256r1,
            0x001d => Self::X25519,
            _ => return None,
        })
    }

    /// Its number on the wire.
    pub const fn to_u16(self) -> u16 {
        self as u16
    }
}

/// A signature scheme (RFC 9846 4.2.3), known to us or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Scheme(pub u16);

impl Scheme {
    /// RSA PKCS#1 v1.5 with SHA-256, in certificates only.
    pub const RSA_PKCS1_SHA256: Self = Self(0x0401);
    /// RSA PKCS#1 v1.5 with SHA-384, in certificates only.
    pub const RSA_PKCS1_SHA384: Self = Self(0x0501);
    /// RSA PKCS#1 v1.5 with SHA-512, in certificates only.
    pub const RSA_PKCS1_SHA512: Self = Self(0x0601);
    /// ECDSA over P-256 with SHA-256.
    pub const ECDSA_P256_SHA256: Self = Self(0x0403);
    /// ECDSA over P-384 with SHA-384.
    pub const ECDSA_P384_SHA384: Self = Self(0x0503);
    /// RSA PSS with SHA-256 and a plain RSA key.
    pub const RSA_PSS_SHA256: Self = Self(0x0804);
    /// RSA PSS with SHA-384 and a plain RSA key.
    pub const RSA_PSS_SHA384: Self = Self(0x0805);
    /// RSA PSS with SHA-512 and a plain RSA key.
    pub const RSA_PSS_SHA512: Self = Self(0x0806);
    /// Ed25519.
    pub const ED25519: Self = Self(0x0807);
}

/// The output of a hash, at most [`MAX_HASH_LEN`] bytes.
#[derive(Clone, Copy, Zeroize)]
pub struct Digest {
    bytes: [u8; MAX_HASH_LEN],
    #[zeroize(skip)]
    algorithm: HashAlgorithm,
}

impl Digest {
    /// The SHA-256 output `bytes`.
    pub fn sha256(bytes: &[u8; 32]) -> Self {
        let mut digest = Self { bytes: [0; MAX_HASH_LEN], algorithm: HashAlgorithm::Sha256 };
        for (to, from) in digest.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        digest
    }

    /// The SHA-384 output `bytes`.
    pub const fn sha384(bytes: [u8; 48]) -> Self {
        Self { bytes, algorithm: HashAlgorithm::Sha384 }
    }

    /// The bytes, as many as the hash function has.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.output_len()).unwrap_or_default()
    }
}

/// A secret of at most [`MAX_HASH_LEN`] bytes: wiped when dropped, never shown by `Debug`, compared in constant time.
#[derive(Clone)]
pub struct Secret {
    bytes: [u8; MAX_HASH_LEN],
    len: u8,
}

impl Secret {
    /// `len` zero bytes, at most [`MAX_HASH_LEN`], to be written through [`Self::as_mut_bytes`].
    pub const fn zeros(len: usize) -> Self {
        let len = if len < MAX_HASH_LEN { len } else { MAX_HASH_LEN };
        Self { bytes: [0; MAX_HASH_LEN], len: len as u8 }
    }

    /// A copy of `bytes`; `None` if they are more than [`MAX_HASH_LEN`].
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self::zeros(bytes.len());
        secret.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(secret)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The bytes, to be written.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..usize::from(self.len)).unwrap_or_default()
    }

    /// Whether `other` is the same, in a time that depends on its length only.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.as_bytes().ct_eq(other).into()
    }
}

impl Zeroize for Secret {
    // Secrets go in many places: a call is less than the loop.
    #[inline(never)]
    fn zeroize(&mut self) {
        self.bytes.zeroize();
        self.len = 0;
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

impl From<&Digest> for Secret {
    fn from(digest: &Digest) -> Self {
        Self { bytes: digest.bytes, len: digest.algorithm.output_len() as u8 }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The AEAD refused: a forged ciphertext, or a slice without room for the tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AeadError;

/// An AEAD key. The tag of [`TAG_LEN`](peregrine_core::limits::TAG_LEN) bytes stands at the end of `data`.
pub trait AeadKey {
    /// Encrypts all of `data` but its last [`TAG_LEN`](peregrine_core::limits::TAG_LEN) bytes, which receive the tag. `aad` is authenticated.
    ///
    /// # Errors
    /// If `data` is shorter than the tag or longer than the AEAD allows.
    fn seal(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError>;

    /// Decrypts all of `data` but its last [`TAG_LEN`](peregrine_core::limits::TAG_LEN) bytes, which are the tag; returns the length of the plaintext.
    /// What `data` holds after an error is of no use to anybody.
    ///
    /// # Errors
    /// If the tag does not belong to the rest, or `data` is shorter than a tag.
    fn open(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<usize, AeadError>;
}

/// A header protection key (RFC 9001 5.4).
pub trait HeaderKey {
    /// The five bytes of mask that belong to `sample`.
    fn mask(&mut self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5];
}

/// A running hash. Its clones go on separately: a TLS transcript is read at several points.
pub trait Hash: Clone {
    /// Takes more bytes.
    fn update(&mut self, bytes: &[u8]);

    /// The hash of all bytes taken.
    fn finish(self) -> Digest;
}

/// Why there is no shared secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AgreeError {
    /// The peer's public value is not a valid one (TLS: illegal_parameter).
    BadPublic,
    /// The hardware failed (TLS: internal_error).
    Failed,
}

/// Our half of a key agreement, for one use.
pub trait KeyShare {
    /// The group.
    fn group(&self) -> Group;

    /// Our public value, as it goes into the key_share extension.
    fn public(&self) -> &[u8];

    /// The secret shared with the peer whose public value is `peer`. Not asked again once it has answered, nor if the connection
    /// ends before.
    ///
    /// # Errors
    /// If `peer` is not a valid public value of the group, or makes the secret depend on it alone (RFC 9846 7.4.2).
    fn agree(&mut self, peer: &[u8]) -> Poll<Result<Secret, AgreeError>>;
}

/// The algorithms one connection uses, and its source of randomness.
pub trait Provider {
    /// AEAD keys of every suite.
    type Aead: AeadKey;
    /// Header protection keys of every suite.
    type Header: HeaderKey;
    /// A running hash of either algorithm.
    type Hash: Hash;
    /// Our half of a key agreement in any group.
    type KeyShare: KeyShare;

    /// The suites there are, best first. Has [`Suite::Aes128GcmSha256`], which Initial packets need.
    fn suites(&self) -> &[Suite];

    /// The groups there are, best first.
    fn groups(&self) -> &[Group];

    /// The AEAD key of `suite` with these [`Suite::key_len`] bytes; `None` if the suite is not there or the length is
    /// wrong.
    fn aead(&self, suite: Suite, key: &[u8]) -> Option<Self::Aead>;

    /// The header protection key of `suite`, likewise.
    fn header(&self, suite: Suite, key: &[u8]) -> Option<Self::Header>;

    /// A hash of nothing yet. Only SHA-256 and the hashes of [`Self::suites`] are asked for.
    fn hash(&self, algorithm: HashAlgorithm) -> Self::Hash;

    /// HMAC over the concatenation of `parts` (RFC 2104), with a key of any length.
    fn hmac(&self, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Secret {
        let hashed;
        let key = if key.len() > algorithm.block_len() {
            hashed = digest(self.hash(algorithm), &[key]);
            hashed.as_bytes()
        } else {
            key
        };
        let inner = keyed(self.hash(algorithm), algorithm, key, 0x36, parts);
        keyed(self.hash(algorithm), algorithm, key, 0x5c, &[inner.as_bytes()])
    }

    /// A fresh key pair; `None` if the group is not there, or the hardware failed.
    fn key_share(&mut self, group: Group) -> Poll<Option<Self::KeyShare>>;

    /// Fills `out` with bytes nobody can predict. A source that fails must not return.
    fn fill_random(&mut self, out: &mut [u8]);
}

/// The hash of a block of `key` and `pad`, and of `parts` (RFC 2104 2).
// Apart from its caller, since HMAC is the end of the deepest calls there are: what it puts on the stack counts.
#[inline(never)]
fn keyed<H: Hash>(mut hash: H, algorithm: HashAlgorithm, key: &[u8], pad: u8, parts: &[&[u8]]) -> Secret {
    const PIECE: usize = 32;
    let mut piece = Zeroizing::new([0; PIECE]);
    for start in (0..algorithm.block_len()).step_by(PIECE) {
        piece.fill(pad);
        let of_key = key.get(start..).unwrap_or_default();
        piece.iter_mut().zip(of_key).for_each(|(to, from)| *to ^= from);
        hash.update(&*piece);
    }
    digest(hash, parts)
}

/// The hash of what `hash` took already and `parts`, as a secret.
fn digest(mut hash: impl Hash, parts: &[&[u8]]) -> Secret {
    for part in parts {
        hash.update(part);
    }
    let mut digest = hash.finish();
    let secret = Secret::from(&digest);
    digest.zeroize();
    secret
}

/// A signature, at most [`MAX_SIGNATURE_LEN`] bytes.
pub type Signature = heapless::Vec<u8, MAX_SIGNATURE_LEN>;

/// The key cannot sign that: the scheme is not one of its own, or the hardware failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SignError;

/// A private key that signs CertificateVerify messages, here or in a secure element.
pub trait Signer {
    /// The schemes it can sign with, best first.
    fn schemes(&self) -> &[Scheme];

    /// Signs `message` (not yet hashed). Sessions share the key: an answer that one of them did not fetch must not be in the
    /// way of the next.
    ///
    /// # Errors
    /// [`SignError`].
    fn sign(&self, scheme: Scheme, message: &[u8]) -> Poll<Result<Signature, SignError>>;
}
