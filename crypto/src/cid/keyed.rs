//! Connection IDs that their endpoint knows again with a key and no table.
//!
//! After a restart an endpoint is sent packets of connections it has lost, and everything else that arrives at its
//! address: scans, forgeries, packets that a balancer sent astray. A stateless reset helps the former only (RFC 9000
//! 10.3). With random IDs it must answer all of them; with these it tells which IDs it has issued itself.
//!
//! An ID is `nonce || tag`: eight random bytes, and as much of AES-128(key, nonce, length) as fits behind them. A block
//! cipher on a single block of fixed form is a pseudorandom function, so that the tag looks random and links nothing, and
//! a forger guesses one of four bytes with a chance of 2^-32.

use core::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use peregrine_core::limits::MAX_CID_LEN;
use subtle::ConstantTimeEq;

use super::{CidError, CidGenerator, copy};
use crate::hkdf::expand_label;
use crate::provider::{HashAlgorithm, Provider, Secret};

const NONCE_LEN: usize = 8;
const MIN_TAG_LEN: usize = 4;
const MIN_LEN: u8 = (NONCE_LEN + MIN_TAG_LEN) as u8;

/// Random connection IDs that the endpoint knows again, also after a restart.
#[derive(Clone)]
pub struct KeyedCids {
    key: Aes128,
    len: u8,
}

impl KeyedCids {
    /// IDs of `len` bytes, 12 to 20, under a key that comes from `master`: the secret of
    /// [`EndpointKeys`](crate::endpoint::EndpointKeys) may serve here too. Endpoints that share it know each other's IDs.
    ///
    /// # Errors
    /// [`CidError::Length`]; [`CidError::Underivable`] never for a provider that hashes.
    pub fn new<P: Provider>(provider: &P, master: &[u8; 32], len: u8) -> Result<Self, CidError> {
        if !(MIN_LEN..=MAX_CID_LEN as u8).contains(&len) {
            return Err(CidError::Length { len, min: MIN_LEN });
        }
        let mut key = Secret::zeros(16);
        expand_label(provider, HashAlgorithm::Sha256, master, b"peregrine cid", &[], key.as_mut_bytes())?;
        let key = Aes128::new_from_slice(key.as_bytes()).map_err(|_| CidError::Underivable)?;
        Ok(Self { key, len })
    }

    /// What stands behind `nonce` in an ID of `len` bytes.
    fn tag(&self, nonce: &[u8; NONCE_LEN], len: usize) -> [u8; 16] {
        let mut block = [0; 16];
        copy(nonce, &mut block);
        // IDs of two lengths have nothing in common but the nonce.
        let [.., last] = &mut block;
        *last = len as u8;
        let mut block = block.into();
        self.key.encrypt_block(&mut block);
        block.into()
    }
}

impl CidGenerator for KeyedCids {
    fn cid_len(&self) -> u8 {
        self.len
    }

    fn fill(&mut self, random: &[u8; MAX_CID_LEN], cid: &mut [u8]) {
        copy(random, cid);
        let len = cid.len();
        if let Some((nonce, tag)) = cid.split_first_chunk_mut() {
            copy(&self.tag(nonce, len), tag);
        }
    }

    fn may_have_made(&self, cid: &[u8]) -> bool {
        cid.len() == usize::from(self.len)
            && cid.split_first_chunk().is_some_and(|(nonce, tag)| {
                let genuine = self.tag(nonce, cid.len());
                genuine.get(..tag.len()).is_some_and(|genuine| genuine.ct_eq(tag).into())
            })
    }
}

impl fmt::Debug for KeyedCids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCids").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::provider;

    fn keyed(master: u8, len: u8) -> KeyedCids {
        KeyedCids::new(&provider(), &[master; 32], len).unwrap()
    }

    #[test]
    fn are_known_again_after_a_restart_by_their_own_endpoint_only() {
        for len in 12..=20 {
            let mut cid = [0; 20];
            let cid = &mut cid[..usize::from(len)];
            keyed(1, len).fill(&[7; 20], cid);
            assert!(keyed(1, len).may_have_made(cid));
            assert!(!keyed(2, len).may_have_made(cid));
        }
    }

    #[test]
    fn every_bit_and_the_length_count() {
        let mut cid = [0; 16];
        let mut cids = keyed(1, 16);
        cids.fill(&[7; 20], &mut cid);
        for bit in 0..cid.len() * 8 {
            let mut forged = cid;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!cids.may_have_made(&forged), "{bit}");
        }
        for len in 0..16 {
            assert!(!cids.may_have_made(&cid[..len]));
        }
        assert!(!keyed(1, 12).may_have_made(&cid[..12]));
    }
}
