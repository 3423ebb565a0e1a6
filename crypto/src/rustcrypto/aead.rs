//! AEADs and header protection.

use aead::consts::{U12, U16};
use aead::{AeadInOut, KeyInit};
use aes::cipher::BlockCipherEncrypt;
use aes::{Aes128, Aes256};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20::cipher::{KeyIvInit, StreamCipherCore};
use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20};
use chacha20poly1305::ChaCha20Poly1305;
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use zeroize::Zeroizing;

use crate::provider::{AeadError, AeadKey, HeaderKey, NONCE_LEN, Suite};

/// An AEAD key of any suite, expanded.
pub enum Aead {
    /// AES-128-GCM.
    Aes128(Aes128Gcm),
    /// AES-256-GCM.
    Aes256(Aes256Gcm),
    /// ChaCha20-Poly1305.
    ChaCha20(ChaCha20Poly1305),
}

impl Aead {
    pub(super) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        Some(match suite {
            Suite::Aes128GcmSha256 => Self::Aes128(Aes128Gcm::new_from_slice(key).ok()?),
            Suite::Aes256GcmSha384 => Self::Aes256(Aes256Gcm::new_from_slice(key).ok()?),
            Suite::ChaCha20Poly1305Sha256 => Self::ChaCha20(ChaCha20Poly1305::new_from_slice(key).ok()?),
        })
    }
}

impl AeadKey for Aead {
    fn seal(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        match self {
            Self::Aes128(key) => seal(key, nonce, aad, data),
            Self::Aes256(key) => seal(key, nonce, aad, data),
            Self::ChaCha20(key) => seal(key, nonce, aad, data),
        }
    }

    fn open(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<usize, AeadError> {
        match self {
            Self::Aes128(key) => open(key, nonce, aad, data),
            Self::Aes256(key) => open(key, nonce, aad, data),
            Self::ChaCha20(key) => open(key, nonce, aad, data),
        }
    }
}

pub(super) fn seal<A>(key: &A, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError>
where
    A: AeadInOut<NonceSize = U12, TagSize = U16>,
{
    let (text, tag) = data.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
    *tag = key.encrypt_inout_detached(nonce.into(), aad, text.into()).map_err(|_| AeadError)?.into();
    Ok(())
}

pub(super) fn open<A>(
    key: &A,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    data: &mut [u8],
) -> Result<usize, AeadError>
where
    A: AeadInOut<NonceSize = U12, TagSize = U16>,
{
    let (text, tag) = data.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
    let len = text.len();
    let tag: &[u8; TAG_LEN] = tag;
    key.decrypt_inout_detached(nonce.into(), aad, text.into(), tag.into()).map_err(|_| AeadError)?;
    Ok(len)
}

/// A header protection key of any suite.
pub enum Header {
    /// AES-128.
    Aes128(Aes128),
    /// AES-256.
    Aes256(Aes256),
    /// ChaCha20.
    ChaCha20(Zeroizing<[u8; 32]>),
}

impl Header {
    pub(super) fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        Some(match suite {
            Suite::Aes128GcmSha256 => Self::Aes128(Aes128::new_from_slice(key).ok()?),
            Suite::Aes256GcmSha384 => Self::Aes256(Aes256::new_from_slice(key).ok()?),
            Suite::ChaCha20Poly1305Sha256 => Self::ChaCha20(Zeroizing::new(key.try_into().ok()?)),
        })
    }
}

impl HeaderKey for Header {
    fn mask(&mut self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
        match self {
            Self::Aes128(key) => aes_mask(key, sample),
            Self::Aes256(key) => aes_mask(key, sample),
            Self::ChaCha20(key) => chacha_mask(key, sample),
        }
    }
}

/// RFC 9001 5.4.3.
pub(super) fn aes_mask(key: &impl BlockCipherEncrypt<BlockSize = U16>, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
    let mut block = (*sample).into();
    key.encrypt_block(&mut block);
    let [a, b, c, d, e, ..]: [u8; SAMPLE_LEN] = block.into();
    [a, b, c, d, e]
}

/// RFC 9001 5.4.4. The block counter comes from the peer and may be the last there is, 2^32 - 1: the stream cipher's
/// own seek refuses that one, the core below it does not.
pub(super) fn chacha_mask(key: &[u8; 32], sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
    let [c0, c1, c2, c3, nonce @ ..] = sample;
    let mut core = ChaChaCore::<R20, Ietf>::new(key.into(), nonce.into());
    core.set_block_pos(u32::from_le_bytes([*c0, *c1, *c2, *c3]));
    let mut block = [0; 64].into();
    core.write_keystream_block(&mut block);
    let [a, b, c, d, e, ..]: [u8; 64] = block.into();
    [a, b, c, d, e]
}
