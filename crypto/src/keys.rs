//! The keys of one direction: packet protection and header protection (RFC 9001 5.1, 5.3, 5.4), and the secret from
//! which the next generation comes (RFC 9001 6.1).

use peregrine_core::ids::PathId;
use peregrine_core::session::KeyError;
use zeroize::Zeroizing;

use crate::hkdf::{DeriveError, derive_secret, expand_label};
use crate::initial::Version;
use crate::provider::{AeadKey, MAX_KEY_LEN, NONCE_LEN, Provider, Secret, Suite};

/// An AEAD key with its IV.
pub struct PacketKey<P: Provider> {
    aead: P::Aead,
    iv: Zeroizing<[u8; NONCE_LEN]>,
}

impl<P: Provider> PacketKey<P> {
    /// From a traffic secret (RFC 9001 5.1).
    ///
    /// # Errors
    /// If the provider has not the suite.
    pub fn derive(
        provider: &P,
        version: &Version,
        suite: Suite,
        secret: &Secret,
    ) -> Result<Self, DeriveError> {
        let key = suite_key(provider, suite, secret, version.key_label)?;
        let aead = provider.aead(suite, key.as_bytes()).ok_or(DeriveError)?;
        let mut iv = Zeroizing::new([0; NONCE_LEN]);
        expand_label(provider, suite.hash(), secret.as_bytes(), version.iv_label, &[], iv.as_mut())?;
        Ok(Self { aead, iv })
    }

    /// Encrypts in place; the last bytes of `payload` receive the tag.
    ///
    /// # Errors
    /// [`KeyError::Forged`] if `payload` has no room for the tag, which is the caller's mistake.
    pub fn seal(&mut self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) -> Result<(), KeyError> {
        self.aead.seal(&nonce(&self.iv, path, pn), header, payload).map_err(|_| KeyError::Forged)
    }

    /// Decrypts in place; returns the length of the plaintext.
    ///
    /// # Errors
    /// [`KeyError::Forged`] if the packet is not genuine.
    pub fn open(
        &mut self,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        self.aead.open(&nonce(&self.iv, path, pn), header, payload).map_err(|_| KeyError::Forged)
    }
}

/// The header protection key of a traffic secret (RFC 9001 5.4.1).
///
/// # Errors
/// If the provider has not the suite.
pub fn header_key<P: Provider>(
    provider: &P,
    version: &Version,
    suite: Suite,
    secret: &Secret,
) -> Result<P::Header, DeriveError> {
    let key = suite_key(provider, suite, secret, version.hp_label)?;
    provider.header(suite, key.as_bytes()).ok_or(DeriveError)
}

/// The traffic secret of the next generation (RFC 9001 6.1).
///
/// # Errors
/// Never for a provider that hashes.
pub fn next_secret<P: Provider>(
    provider: &P,
    version: &Version,
    suite: Suite,
    secret: &Secret,
) -> Result<Secret, DeriveError> {
    derive_secret(provider, suite.hash(), secret.as_bytes(), version.ku_label, &[])
}

fn suite_key<P: Provider>(
    provider: &P,
    suite: Suite,
    secret: &Secret,
    label: &[u8],
) -> Result<Secret, DeriveError> {
    const { assert!(MAX_KEY_LEN <= crate::provider::MAX_HASH_LEN) };
    let mut key = Secret::zeros(suite.key_len());
    expand_label(provider, suite.hash(), secret.as_bytes(), label, &[], key.as_mut_bytes())?;
    Ok(key)
}

/// The IV mixed with the path ID (32 bits) and the packet number (64 bits, of which 62 are used), as multipath QUIC
/// has it. For path 0 this is the nonce of RFC 9001 5.3.
fn nonce(iv: &[u8; NONCE_LEN], PathId(path): PathId, pn: u64) -> [u8; NONCE_LEN] {
    let mut nonce = *iv;
    let number = path.to_be_bytes().into_iter().chain(pn.to_be_bytes());
    nonce.iter_mut().zip(number).for_each(|(byte, bits)| *byte ^= bits);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    /// The examples of the multipath drafts 21 and 11 (section "Nonce Calculation").
    #[test]
    fn nonce_holds_path_and_packet_number() {
        let iv = hex("6b26114b9cba2b63a9e8dd4f").try_into().unwrap();
        assert_eq!(nonce(&iv, PathId(3), 54321)[..], hex("6b2611489cba2b63a9e8097e"));
        assert_eq!(nonce(&iv, PathId(3), 0xaead)[..], hex("6b2611489cba2b63a9e873e2"));
    }

    /// RFC 9001 A.5.
    #[test]
    fn nonce_of_path_zero_is_that_of_rfc_9001() {
        let iv = hex("e0459b3474bdd0e44a41c144").try_into().unwrap();
        assert_eq!(nonce(&iv, PathId::ZERO, 654_360_564)[..], hex("e0459b3474bdd0e46d417eb0"));
    }
}
