//! What an endpoint needs of cryptography with no connection at hand: connection IDs, tokens, reset tokens, the Retry tag,
//! one Initial packet to refuse a connection (RFC 9000 5.1, 8.1, 10.3.2; RFC 9001 5.8).
//!
//! All keys come from one master secret: servers that share it accept each other's tokens and compute the same reset
//! tokens, also after a restart.
//!
//! A token is `ciphertext || tag || salt`. Each has a key and nonce of its own, derived from the 16 random bytes of
//! salt, so that the number of tokens under one master secret need not be counted.

use core::net::{IpAddr, SocketAddr};

use peregrine_core::ids::{FourTuple, PathId, Side};
use peregrine_core::limits::{MAX_CID_LEN, RESET_TOKEN_LEN, SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{EndpointCrypto, TOKEN_OVERHEAD};

use crate::cid::{CidGenerator, RandomCids};
use crate::hkdf::{DeriveError, derive_secret, expand_label};
use crate::initial::{INITIAL_SUITE, Version, initial_secret};
use crate::keys::{PacketKey, header_key};
use crate::provider::{AeadKey, HashAlgorithm, HeaderKey, NONCE_LEN, Provider, Secret};
use crate::{protect, retry};

/// Random bytes of a token.
const SALT_LEN: usize = TOKEN_OVERHEAD - TAG_LEN;
const HASH: HashAlgorithm = HashAlgorithm::Sha256;

/// Keys of an endpoint, and what makes its connection IDs.
pub struct EndpointKeys<P, G = RandomCids> {
    provider: P,
    cids: G,
    token_secret: Secret,
    reset_secret: Secret,
    flow_secret: Secret,
}

impl<P: Provider> EndpointKeys<P> {
    /// Derives all keys from `master`, which is random, secret, and best kept over restarts: otherwise peers of the
    /// connections that are lost learn so by a timeout only. Connection IDs are random, of any length that is asked for.
    ///
    /// # Errors
    /// Never for a provider that hashes.
    pub fn new(provider: P, master: &[u8; 32]) -> Result<Self, DeriveError> {
        Self::with_cids(provider, master, RandomCids::default())
    }
}

impl<P: Provider, G: CidGenerator> EndpointKeys<P, G> {
    /// Like [`EndpointKeys::new`], with connection IDs from `cids`. The endpoint's configuration must ask for IDs of
    /// [`Self::cid_len`] bytes.
    ///
    /// # Errors
    /// Never for a provider that hashes.
    pub fn with_cids(provider: P, master: &[u8; 32], cids: G) -> Result<Self, DeriveError> {
        let token_secret = derive_secret(&provider, HASH, master, b"peregrine token", &[])?;
        let reset_secret = derive_secret(&provider, HASH, master, b"peregrine reset", &[])?;
        let flow_secret = derive_secret(&provider, HASH, master, b"peregrine flow", &[])?;
        Ok(Self { provider, cids, token_secret, reset_secret, flow_secret })
    }

    /// Bytes of the connection IDs that the generator makes.
    pub fn cid_len(&self) -> u8 {
        self.cids.cid_len()
    }

    /// The generator: to ask it, or to put another one of the same length in its place. IDs made before stay good until
    /// they are retired.
    pub const fn cids(&mut self) -> &mut G {
        &mut self.cids
    }

    /// The key and nonce of the one token with this salt.
    fn token_key(&self, salt: &[u8]) -> Result<(P::Aead, [u8; NONCE_LEN]), DeriveError> {
        let secret = self.token_secret.as_bytes();
        let mut key = Secret::zeros(INITIAL_SUITE.key_len());
        let mut nonce = [0; NONCE_LEN];
        expand_label(&self.provider, HASH, secret, b"peregrine key", salt, key.as_mut_bytes())?;
        expand_label(&self.provider, HASH, secret, b"peregrine iv", salt, &mut nonce)?;
        let aead = self.provider.aead(INITIAL_SUITE, key.as_bytes()).ok_or(DeriveError)?;
        Ok((aead, nonce))
    }

    fn seal_initial_packet(
        &self,
        version: u32,
        client_dcid: &[u8],
        pn: u64,
        packet: &mut [u8],
        header_len: usize,
        pn_len: usize,
    ) -> Option<()> {
        let version = Version::find(version)?;
        let secret = initial_secret(&self.provider, version, client_dcid, Side::Server).ok()?;
        let mut key = PacketKey::derive(&self.provider, version, INITIAL_SUITE, &secret).ok()?;
        let mut header_key = header_key(&self.provider, version, INITIAL_SUITE, &secret).ok()?;

        let (header, payload) = packet.split_at_mut_checked(header_len)?;
        key.seal(PathId::ZERO, pn, header, payload).ok()?;
        let (before_pn, pn_bytes) = header.split_at_mut_checked(header_len.checked_sub(pn_len)?)?;
        let sample = payload.get(4_usize.checked_sub(pn_len)?..)?.first_chunk::<SAMPLE_LEN>()?;
        protect::protect(header_key.mask(sample), before_pn.first_mut()?, pn_bytes);
        Some(())
    }
}

impl<P: Provider, G: CidGenerator> EndpointCrypto for EndpointKeys<P, G> {
    fn retry_tag(&mut self, version: u32, original_dcid: &[u8], retry: &[u8]) -> [u8; TAG_LEN] {
        Version::find(version)
            .and_then(|version| retry::tag(&self.provider, version, original_dcid, retry))
            .unwrap_or_default()
    }

    fn seal_token(&mut self, token: &mut [u8], len: usize) -> Option<usize> {
        let sealed_len = len.checked_add(TOKEN_OVERHEAD)?;
        let (data, salt) = token.get_mut(..sealed_len)?.split_last_chunk_mut::<SALT_LEN>()?;
        self.provider.fill_random(salt);
        let (mut key, nonce) = self.token_key(salt).ok()?;
        key.seal(&nonce, &[], data).ok()?;
        Some(sealed_len)
    }

    fn open_token(&mut self, token: &mut [u8]) -> Option<usize> {
        let (data, salt) = token.split_last_chunk_mut::<SALT_LEN>()?;
        let (mut key, nonce) = self.token_key(salt).ok()?;
        key.open(&nonce, &[], data).ok()
    }

    fn reset_token(&mut self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        let mac = self.provider.hmac(HASH, self.reset_secret.as_bytes(), &[cid]);
        mac.as_bytes().first_chunk().copied().unwrap_or_default()
    }

    fn fill_cid(&mut self, cid: &mut [u8]) {
        let mut random = [0; MAX_CID_LEN];
        self.provider.fill_random(&mut random);
        self.cids.fill(&random, cid);
    }

    fn may_have_made(&mut self, cid: &[u8]) -> bool {
        self.cids.may_have_made(cid)
    }

    fn flow_label(&mut self, on: &FourTuple, dcid: &[u8]) -> u32 {
        let ip = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let ports = [on.local.port().to_be_bytes(), on.remote.port().to_be_bytes()];
        let parts = [&ip(&on.local)[..], &ip(&on.remote)[..], ports.as_flattened(), dcid];
        let mac = self.provider.hmac(HASH, self.flow_secret.as_bytes(), &parts);
        mac.as_bytes().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) >> 12)
    }

    fn seal_initial(
        &mut self,
        version: u32,
        client_dcid: &[u8],
        pn: u64,
        packet: &mut [u8],
        header_len: usize,
        pn_len: usize,
    ) {
        let sealed = self.seal_initial_packet(version, client_dcid, pn, packet, header_len, pn_len);
        debug_assert!(sealed.is_some(), "an Initial packet that cannot be sealed");
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.provider.fill_random(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::{QuicLb, QuicLbConfig, QuicLbReader};
    use crate::testing::provider;

    fn keys(master: u8) -> EndpointKeys<impl Provider> {
        EndpointKeys::new(provider(), &[master; 32]).unwrap()
    }

    #[test]
    fn tokens_round_trip_and_differ_each_time() {
        let mut keys = keys(1);
        let mut tokens = [[0; 64]; 2];
        for token in &mut tokens {
            token[..5].copy_from_slice(b"hello");
            assert_eq!(keys.seal_token(token, 5), Some(5 + TOKEN_OVERHEAD));
        }
        assert_ne!(tokens[0], tokens[1]);
        for mut token in tokens {
            assert_eq!(keys.open_token(&mut token[..5 + TOKEN_OVERHEAD]), Some(5));
            assert_eq!(&token[..5], b"hello");
        }
    }

    #[test]
    fn a_token_survives_a_restart_but_no_change() {
        let mut token = [7; 3 + TOKEN_OVERHEAD];
        keys(1).seal_token(&mut token, 3).unwrap();
        assert_eq!(keys(1).open_token(&mut { token }), Some(3));
        assert_eq!(keys(2).open_token(&mut { token }), None);
        for bit in 0..token.len() * 8 {
            let mut forged = token;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys(1).open_token(&mut forged), None);
        }
        for len in 0..token.len() {
            let mut cut = token;
            assert_eq!(keys(1).open_token(&mut cut[..len]), None);
        }
    }

    #[test]
    fn a_token_needs_its_overhead() {
        let mut token = [0; TOKEN_OVERHEAD + 4];
        assert_eq!(keys(1).seal_token(&mut token, 5), None);
        assert_eq!(keys(1).seal_token(&mut token, 4), Some(TOKEN_OVERHEAD + 4));
        assert_eq!(keys(1).seal_token(&mut token, usize::MAX), None);
    }

    #[test]
    fn reset_tokens_belong_to_cid_and_master() {
        let token = keys(1).reset_token(b"cid");
        assert_eq!(token, keys(1).reset_token(b"cid"));
        assert_ne!(token, keys(1).reset_token(b"cie"));
        assert_ne!(token, keys(2).reset_token(b"cid"));
    }

    #[test]
    fn connection_ids_come_from_the_generator() {
        let fleet = QuicLbConfig::encrypted(2, 1, 8, &[3; 16]).unwrap();
        let mut server = QuicLb::new(&fleet, &[9]).unwrap();
        let generator: &mut dyn CidGenerator = &mut server;
        let mut keys = EndpointKeys::with_cids(provider(), &[1; 32], generator).unwrap();
        let mut cids = [[0; 10]; 2];
        assert_eq!(usize::from(keys.cid_len()), cids[0].len());
        for cid in &mut cids {
            keys.fill_cid(cid);
            assert_eq!(QuicLbReader::new(&fleet).server_id(cid).unwrap(), [9]);
            assert!(keys.may_have_made(cid));
        }
        assert_ne!(cids[0], cids[1]);
        assert!(!keys.may_have_made(&cids[0][1..]));
    }

    #[test]
    fn a_generator_gives_way_to_the_next_configuration() {
        let fleet = |id| QuicLbConfig::encrypted(id, 1, 4, &[id; 16]).unwrap();
        let server = QuicLb::new(&fleet(0), &[9]).unwrap();
        let mut keys = EndpointKeys::with_cids(provider(), &[1; 32], server).unwrap();
        let mut cid = [0; 6];
        keys.fill_cid(&mut cid);
        assert_eq!(keys.cids().left(), (1 << 32) - 1);
        *keys.cids() = QuicLb::new(&fleet(1), &[8]).unwrap();
        assert!(!keys.may_have_made(&cid));
        keys.fill_cid(&mut cid);
        assert_eq!(QuicLbReader::new(&fleet(1)).server_id(&cid).unwrap(), [8]);
    }

    #[test]
    fn without_a_generator_they_are_random_of_any_length() {
        for len in 1..=20 {
            let (mut cid, mut other) = ([0; 20], [0; 20]);
            let mut keys = keys(1);
            keys.fill_cid(&mut cid[..len]);
            keys.fill_cid(&mut other[..len]);
            assert_ne!(cid, other);
            assert!(cid[len..].iter().all(|byte| *byte == 0));
            assert!(keys.may_have_made(&cid[..len]));
        }
    }
}
