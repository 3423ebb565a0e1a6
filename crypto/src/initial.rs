//! What a version of QUIC fixes about cryptography: salts, labels, Retry keys (RFC 9001 5.1, 5.2 and 5.8).

use peregrine_core::ids::Side;

use crate::hkdf::{DeriveError, derive_secret, extract};
use crate::provider::{NONCE_LEN, Provider, Secret, Suite};

/// The suite of Initial and Retry packets, whatever TLS negotiates (RFC 9001 5.2).
pub const INITIAL_SUITE: Suite = Suite::Aes128GcmSha256;

/// The constants of a version.
#[derive(PartialEq, Eq, Debug)]
pub struct Version {
    /// Its number on the wire.
    pub number: u32,
    /// Salt of the Initial secret.
    pub initial_salt: [u8; 20],
    /// Key of the Retry integrity tag.
    pub retry_key: [u8; 16],
    /// Nonce of the Retry integrity tag.
    pub retry_nonce: [u8; NONCE_LEN],
    /// Label of AEAD keys.
    pub key_label: &'static [u8],
    /// Label of IVs.
    pub iv_label: &'static [u8],
    /// Label of header protection keys.
    pub hp_label: &'static [u8],
    /// Label of the next generation's secret.
    pub ku_label: &'static [u8],
}

/// QUIC version 1.
pub static V1: Version = Version {
    number: 1,
    initial_salt: [
        0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
        0xbb, 0x7f, 0x0a,
    ],
    retry_key: [
        0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e,
    ],
    retry_nonce: [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb],
    key_label: b"quic key",
    iv_label: b"quic iv",
    hp_label: b"quic hp",
    ku_label: b"quic ku",
};

/// All versions we have the constants of.
static VERSIONS: [&Version; 1] = [&V1];

impl Version {
    /// The version with this number on the wire, if we know it.
    pub fn find(number: u32) -> Option<&'static Self> {
        VERSIONS.into_iter().find(|version| version.number == number)
    }
}

/// The secret that `side` protects its Initial packets with, from the client's first DCID or that of a Retry (RFC
/// 9001 5.2).
///
/// # Errors
/// Never for a provider that hashes.
pub fn initial_secret<P: Provider>(
    provider: &P,
    version: &Version,
    dcid: &[u8],
    side: Side,
) -> Result<Secret, DeriveError> {
    let hash = INITIAL_SUITE.hash();
    let common = extract(provider, hash, &version.initial_salt, dcid);
    let label: &[u8] = if side.is_client() { b"client in" } else { b"server in" };
    derive_secret(provider, hash, common.as_bytes(), label, &[])
}
