//! The integrity tag of Retry packets (RFC 9001 5.8): anybody who saw the client's Initial can make one.

use peregrine_core::limits::{MAX_CID_LEN, TAG_LEN};
use subtle::ConstantTimeEq;

use crate::initial::{INITIAL_SUITE, Version};
use crate::provider::{AeadKey, Provider};

/// The longest Retry packet without its tag. Its token must fit into an Initial packet beside a ClientHello, so one
/// that is longer than the smallest datagram would be of no use.
pub const MAX_RETRY_LEN: usize = 1200;

/// The tag of `retry`, a Retry packet without its tag, in answer to an Initial to `original_dcid`; `None` if either is
/// too long.
pub fn tag<P: Provider>(
    provider: &P,
    version: &Version,
    original_dcid: &[u8],
    retry: &[u8],
) -> Option<[u8; TAG_LEN]> {
    if original_dcid.len() > MAX_CID_LEN {
        return None;
    }
    let mut pseudo = heapless::Vec::<u8, { 1 + MAX_CID_LEN + MAX_RETRY_LEN }>::new();
    pseudo.push(original_dcid.len() as u8).ok()?;
    pseudo.extend_from_slice(original_dcid).ok()?;
    pseudo.extend_from_slice(retry).ok()?;
    let mut tag = [0; TAG_LEN];
    let mut key = provider.aead(INITIAL_SUITE, &version.retry_key)?;
    key.seal(&version.retry_nonce, &pseudo, &mut tag).ok()?;
    Some(tag)
}

/// Whether `tag` is the tag of `retry`.
pub fn verify<P: Provider>(
    provider: &P,
    version: &Version,
    original_dcid: &[u8],
    retry: &[u8],
    received: &[u8; TAG_LEN],
) -> bool {
    tag(provider, version, original_dcid, retry).is_some_and(|tag| tag.ct_eq(received).into())
}
