//! What makes the connection IDs of an endpoint, of whatever kind.

use peregrine_core::limits::MAX_CID_LEN;
use peregrine_crypto::cid::{CidGenerator, RandomCids};
use peregrine_crypto::endpoint::EndpointKeys;

use crate::provider::HostProvider;

/// The keys of an endpoint on a host.
pub(crate) type HostKeys = EndpointKeys<HostProvider, AnyCids>;

/// A generator of any kind.
pub(crate) struct AnyCids(Box<dyn CidGenerator + Send>);

impl AnyCids {
    pub(crate) fn new(cids: impl CidGenerator + Send + 'static) -> Self {
        Self(Box::new(cids))
    }
}

/// Random ones.
impl Default for AnyCids {
    fn default() -> Self {
        Self::new(RandomCids::default())
    }
}

impl CidGenerator for AnyCids {
    fn cid_len(&self) -> u8 {
        self.0.cid_len()
    }

    fn fill(&mut self, random: &[u8; MAX_CID_LEN], cid: &mut [u8]) {
        self.0.fill(random, cid);
    }

    fn may_have_made(&self, cid: &[u8]) -> bool {
        self.0.may_have_made(cid)
    }
}
