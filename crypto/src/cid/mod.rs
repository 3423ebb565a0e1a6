//! What the connection IDs of an endpoint are made of (RFC 9000 5.1): nothing but chance, something that the endpoint
//! knows again, or something that the load balancers before it can read.
//!
//! | Generator | Bytes | For |
//! |---|---|---|
//! | [`RandomCids`] | 4 to 20, or none | an endpoint that has its address for itself |
//! | [`KeyedCids`] | 12 to 20 | one that restarts: it answers with a stateless reset only to IDs of its own |
//! | [`QuicLb`] | 6 to 20 | a server of a fleet behind load balancers: clients that migrate still reach it |
//! | [`UnroutableCids`] | 8 to 20 | a server of such a fleet that has no configuration yet |
//!
//! [`EndpointKeys::with_cids`](crate::endpoint::EndpointKeys::with_cids) takes a generator, these or your own. All IDs of
//! an endpoint have one length, since packets with a short header do not tell it: give
//! [`EndpointConfig::cid_len`](peregrine_core::endpoint::EndpointConfig::cid_len) the generator's.
//!
//! ```
//! use peregrine_core::endpoint::EndpointConfig;
//! use peregrine_crypto::cid::{QuicLb, QuicLbConfig, QuicLbReader};
//! use peregrine_crypto::endpoint::EndpointKeys;
//! use peregrine_crypto::provider::Provider;
//!
//! fn server<P: Provider>(
//!     provider: P,
//!     master: &[u8; 32],
//!     fleet: &QuicLbConfig,
//!     server_id: &[u8],
//! ) -> Result<(EndpointKeys<P, QuicLb>, EndpointConfig), Box<dyn std::error::Error>> {
//!     let keys = EndpointKeys::with_cids(provider, master, QuicLb::new(fleet, server_id)?)?;
//!     let config = EndpointConfig { server: true, cid_len: keys.cid_len(), ..EndpointConfig::default() };
//!     Ok((keys, config))
//! }
//!
//! fn balancer(fleet: &QuicLbConfig, dcid: &[u8]) -> Option<u8> {
//!     QuicLbReader::new(fleet).server_id(dcid)?.first().copied()
//! }
//!
//! // Configuration 0, one byte of server ID, eight of nonce, and the key that servers and balancers share.
//! let fleet = QuicLbConfig::encrypted(0, 1, 8, &[0x5a; 16])?;
//! assert_eq!(fleet.cid_len(), 10);
//! # use peregrine_crypto::cid::CidGenerator;
//! # let mut cid = [0; 10];
//! # QuicLb::new(&fleet, &[3])?.fill(&[9; 20], &mut cid);
//! # assert_eq!(balancer(&fleet, &cid), Some(3));
//! # fn check<P: Provider>(provider: P, fleet: &QuicLbConfig) { let _ = server(provider, &[0; 32], fleet, &[3]); }
//! # Ok::<(), peregrine_crypto::cid::CidError>(())
//! ```

mod error;
mod keyed;
mod quic_lb;

use peregrine_core::limits::MAX_CID_LEN;

pub use self::error::CidError;
pub use self::keyed::KeyedCids;
pub use self::quic_lb::{QuicLb, QuicLbConfig, QuicLbReader, ServerId, UnroutableCids};

/// Makes the connection IDs of an endpoint.
///
/// Nobody who sees two of them may learn that they belong to the same connection (RFC 9000 5.1).
pub trait CidGenerator {
    /// How many bytes each ID has: at most 20, always the same.
    fn cid_len(&self) -> u8;

    /// Fills `cid`, which has [`Self::cid_len`] bytes, with a new ID. `random` is unpredictable, and fresh for each call.
    ///
    /// Where `cid` has another length, it receives an ID that no balancer takes for one it can read.
    fn fill(&mut self, random: &[u8; MAX_CID_LEN], cid: &mut [u8]);

    /// Whether `cid` may be an ID that this generator made, now or before a restart. Who answers with a stateless reset
    /// only where it may, is silent to most of what is forged or has gone astray, and resets no connection of another
    /// server with the same secret (RFC 9000 21.11).
    fn may_have_made(&self, cid: &[u8]) -> bool;
}

impl<G: CidGenerator + ?Sized> CidGenerator for &mut G {
    fn cid_len(&self) -> u8 {
        (**self).cid_len()
    }

    fn fill(&mut self, random: &[u8; MAX_CID_LEN], cid: &mut [u8]) {
        (**self).fill(random, cid);
    }

    fn may_have_made(&self, cid: &[u8]) -> bool {
        (**self).may_have_made(cid)
    }
}

/// Nothing but random bytes. It knows none of its IDs again: any of the right length may be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RandomCids {
    len: u8,
}

impl RandomCids {
    /// IDs of `len` bytes: 4 to 20, or none for a client with one connection per remote address.
    ///
    /// # Errors
    /// [`CidError::Length`].
    pub const fn new(len: u8) -> Result<Self, CidError> {
        match len {
            0 | 4..=20 => Ok(Self { len }),
            _ => Err(CidError::Length { len, min: 4 }),
        }
    }
}

impl Default for RandomCids {
    /// Eight bytes.
    fn default() -> Self {
        Self { len: 8 }
    }
}

impl CidGenerator for RandomCids {
    fn cid_len(&self) -> u8 {
        self.len
    }

    fn fill(&mut self, random: &[u8; MAX_CID_LEN], cid: &mut [u8]) {
        copy(random, cid);
    }

    fn may_have_made(&self, _: &[u8]) -> bool {
        true
    }
}

/// As many bytes as both have.
fn copy<'a>(from: impl IntoIterator<Item = &'a u8>, to: &mut [u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests;
