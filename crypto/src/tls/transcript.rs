//! The transcript hash (RFC 9846 4.1): running, no message is kept.
//!
//! Until the suite is known the hashes of all suites run side by side, which takes less memory than keeping the hellos.

use crate::tls::fault::{Cause, Fault, Trap};

use crate::provider::{Digest, Hash, HashAlgorithm, Provider};
use crate::tls::config::has_hash;

/// Type of the message that stands for the first ClientHello after a HelloRetryRequest.
const MESSAGE_HASH: u8 = 254;

/// The running hash of all handshake messages so far.
#[derive(Clone, Debug)]
pub(crate) struct Transcript<H> {
    sha256: Option<H>,
    sha384: Option<H>,
}

impl<H: Hash> Transcript<H> {
    /// Of nothing yet, with the hashes of all suites of the provider.
    pub(crate) fn new<P: Provider<Hash = H>>(provider: &P) -> Self {
        let start = |hash| has_hash(provider, hash).then(|| provider.hash(hash));
        Self { sha256: start(HashAlgorithm::Sha256), sha384: start(HashAlgorithm::Sha384) }
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
    ) -> Result<(), Fault> {
        let hello = self.digest(algorithm)?;
        *self = Self::new(provider);
        self.choose(algorithm);
        self.add(&[MESSAGE_HASH, 0, 0, algorithm.output_len() as u8]);
        self.add(hello.as_bytes());
        Ok(())
    }

    /// The hash so far.
    pub(crate) fn digest(&self, algorithm: HashAlgorithm) -> Result<Digest, Fault> {
        self.digest_with(algorithm, &[])
    }

    /// What the hash would be with `more` behind it: binders cover a part of a message.
    pub(crate) fn digest_with(&self, algorithm: HashAlgorithm, more: &[u8]) -> Result<Digest, Fault> {
        let running = match algorithm {
            HashAlgorithm::Sha256 => &self.sha256,
            HashAlgorithm::Sha384 => &self.sha384,
        };
        let mut hash = running
            .clone()
            .trap(Fault(&(Cause::Impossible, "transcript read with a hash that was not chosen")))?;
        hash.update(more);
        Ok(hash.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::provider;

    #[test]
    fn both_hashes_run_until_one_is_chosen() {
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
            let provider = provider();
            let mut transcript = Transcript::new(&provider);
            transcript.add(b"hello");
            transcript.choose(algorithm);
            let partial = transcript.digest_with(algorithm, b", wor").unwrap();
            transcript.add(b", wor");
            assert_eq!(transcript.digest(algorithm).unwrap().as_bytes(), partial.as_bytes());
            let mut hash = provider.hash(algorithm);
            hash.update(b"hello, wor");
            assert_eq!(hash.finish().as_bytes(), partial.as_bytes());
        }
    }

    #[test]
    fn a_retry_leaves_the_hash_of_the_first_hello() {
        let provider = provider();
        let mut transcript = Transcript::new(&provider);
        transcript.add(b"hello");
        let hello = transcript.digest(HashAlgorithm::Sha384).unwrap();
        transcript.retry(&provider, HashAlgorithm::Sha384).unwrap();
        let mut hash = provider.hash(HashAlgorithm::Sha384);
        hash.update(&[254, 0, 0, 48]);
        hash.update(hello.as_bytes());
        assert_eq!(transcript.digest(HashAlgorithm::Sha384).unwrap().as_bytes(), hash.finish().as_bytes());
    }
}
