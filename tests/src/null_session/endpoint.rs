//! What an endpoint needs with no connection at hand, without cryptography.

use peregrine_core::ids::{FourTuple, PathId, Side};
use peregrine_core::limits::{RESET_TOKEN_LEN, SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{EndpointCrypto, Key, Level, TOKEN_OVERHEAD};

use super::protection::{HeaderKey, PacketKey, initial_secret, retry_tag};
use crate::digest::Digest;
use crate::rng::Rng;

/// Bytes of the number that stands between a token's text and its tag.
const NONCE_LEN: usize = TOKEN_OVERHEAD - TAG_LEN;

/// An [`EndpointCrypto`] that goes with [`NullSession`](super::NullSession). Endpoints of equal seeds know each other's
/// tokens, as after a restart with the same static key.
#[derive(Clone, Debug)]
pub struct NullEndpointCrypto {
    secret: u64,
    rng: Rng,
}

impl NullEndpointCrypto {
    /// The cryptography of an endpoint.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self { secret: rng.next_u64(), rng }
    }

    /// The number only makes equal texts look different: any key will do.
    fn token_key(&self) -> PacketKey {
        PacketKey::new(self.secret, Key::first(Level::Initial), Side::Server)
    }
}

impl EndpointCrypto for NullEndpointCrypto {
    fn retry_tag(&mut self, version: u32, original_dcid: &[u8], retry: &[u8]) -> [u8; TAG_LEN] {
        retry_tag(version, original_dcid, retry)
    }

    fn seal_token(&mut self, token: &mut [u8], len: usize) -> Option<usize> {
        let sealed = token.get_mut(..len.checked_add(TOKEN_OVERHEAD)?)?;
        let nonce = self.rng.next_u64();
        let (text_and_tag, nonce_bytes) = sealed.split_last_chunk_mut::<NONCE_LEN>()?;
        *nonce_bytes = u128::from(nonce).to_be_bytes();
        self.token_key().seal(PathId::ZERO, nonce, nonce_bytes, text_and_tag);
        Some(sealed.len())
    }

    fn open_token(&mut self, token: &mut [u8]) -> Option<usize> {
        let (text_and_tag, nonce_bytes) = token.split_last_chunk_mut::<NONCE_LEN>()?;
        let nonce = u128::from_be_bytes(*nonce_bytes) as u64;
        self.token_key().open(PathId::ZERO, nonce, nonce_bytes, text_and_tag)
    }

    fn reset_token(&mut self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        let mut digest = Digest::new();
        digest.number(self.secret);
        digest.bytes(cid);
        digest.finish_tag()
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
        let secret = initial_secret(version, client_dcid);
        let (header, payload) = packet.split_at_mut(header_len);
        PacketKey::new(secret, Key::first(Level::Initial), Side::Server).seal(
            PathId::ZERO,
            pn,
            header,
            payload,
        );
        // The sample begins four bytes after the packet number does, however long that is (RFC 9001 5.4.2).
        let sample: [u8; SAMPLE_LEN] = *payload[4 - pn_len..].first_chunk().expect("a payload to sample");
        let pn_at = header_len - pn_len;
        let (first, rest) = header.split_first_mut().expect("a header");
        HeaderKey::new(secret, Level::Initial, Side::Server).protect(&sample, first, &mut rest[pn_at - 1..]);
    }

    fn flow_label(&mut self, on: &FourTuple, dcid: &[u8]) -> u32 {
        let text = format!("{on:?} {dcid:?}");
        let mut digest = Digest::new();
        digest.number(self.secret);
        digest.bytes(text.as_bytes());
        u32::from_be_bytes(*digest.finish_tag().first_chunk().expect("four bytes")) >> 12
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.rng.fill(out);
    }
}
