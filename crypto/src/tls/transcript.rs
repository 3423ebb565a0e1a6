//! The transcript hash (RFC 9846 4.1): running, no message is kept.
//!
//! Until the suite is known both hashes run side by side, which takes less memory than keeping the hellos.

use peregrine_core::error::{TransportError, Trap};

use crate::provider::{Digest, Hash, HashAlgorithm, Provider};

/// Type of the message that stands for the first ClientHello after a HelloRetryRequest.
const MESSAGE_HASH: u8 = 254;

/// The running hash of all handshake messages so far.
#[derive(Clone, Debug)]
pub(crate) struct Transcript<H> {
    sha256: Option<H>,
    sha384: Option<H>,
}

impl<H: Hash> Transcript<H> {
    /// Of nothing yet, with both hashes.
    pub(crate) fn new<P: Provider<Hash = H>>(provider: &P) -> Self {
        Self {
            sha256: Some(provider.hash(HashAlgorithm::Sha256)),
            sha384: Some(provider.hash(HashAlgorithm::Sha384)),
        }
    }

    /// Goes on with one hash only.
    pub(crate) fn choose(&mut self, algorithm: HashAlgorithm) {
        match algorithm {
            HashAlgorithm::Sha256 => self.sha384 = None,
            HashAlgorithm::Sha384 => self.sha256 = None,
        }
    }

    /// Takes a whole message, or parts of it in their order.
    pub(crate) fn add(&mut self, message: &[u8]) {
        for hash in [&mut self.sha256, &mut self.sha384].into_iter().flatten() {
            hash.update(message);
        }
    }

    /// Replaces the first ClientHello, all there is yet, by its hash: a HelloRetryRequest follows.
    pub(crate) fn retry<P: Provider<Hash = H>>(
        &mut self,
        provider: &P,
        algorithm: HashAlgorithm,
    ) -> Result<(), TransportError> {
        let hello = self.digest(algorithm)?;
        *self = Self::new(provider);
        self.choose(algorithm);
        self.add(&[MESSAGE_HASH, 0, 0, algorithm.output_len() as u8]);
        self.add(hello.as_bytes());
        Ok(())
    }

    /// The hash so far.
    pub(crate) fn digest(&self, algorithm: HashAlgorithm) -> Result<Digest, TransportError> {
        self.digest_with(algorithm, &[])
    }

    /// What the hash would be with `more` behind it: binders cover a part of a message.
    pub(crate) fn digest_with(
        &self,
        algorithm: HashAlgorithm,
        more: &[u8],
    ) -> Result<Digest, TransportError> {
        let running = match algorithm {
            HashAlgorithm::Sha256 => &self.sha256,
            HashAlgorithm::Sha384 => &self.sha384,
        };
        let mut hash = running.clone().trap("transcript read with a hash that was not chosen")?;
        hash.update(more);
        Ok(hash.finish())
    }
}
