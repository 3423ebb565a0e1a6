//! The transcript hash (RFC 9846 4.1): running, no message is kept.

use crate::provider::{Digest, Hash, HashAlgorithm, Provider};

/// Type of the message that stands for the first ClientHello after a HelloRetryRequest.
const MESSAGE_HASH: u8 = 254;

/// The running hash of all handshake messages so far. It runs once the suite is known; who said something before that adds it
/// then.
#[derive(Clone, Debug)]
pub(crate) struct Transcript<H> {
    running: Option<H>,
}

impl<H: Hash> Transcript<H> {
    /// Of nothing yet.
    pub(crate) const fn new() -> Self {
        Self { running: None }
    }

    /// The hash is known. After a HelloRetryRequest it was before.
    pub(crate) fn choose<P: Provider<Hash = H>>(&mut self, provider: &P, algorithm: HashAlgorithm) {
        self.running.get_or_insert_with(|| provider.hash(algorithm));
    }

    /// Takes a whole message, or parts of it in their order.
    pub(crate) fn add(&mut self, message: &[u8]) {
        if let Some(hash) = &mut self.running {
            hash.update(message);
        }
    }

    /// Begins with the hash of `hello`, the first ClientHello, in its place: a HelloRetryRequest follows.
    pub(crate) fn retry<P: Provider<Hash = H>>(
        &mut self,
        provider: &P,
        algorithm: HashAlgorithm,
        hello: &[u8],
    ) {
        let hello = Self::new().digest_with(provider, algorithm, hello);
        self.choose(provider, algorithm);
        self.add(&[MESSAGE_HASH, 0, 0, algorithm.output_len() as u8]);
        self.add(hello.as_bytes());
    }

    /// What the hash would be with `more` behind it: binders cover a part of a message. `algorithm` is the one chosen, if one is.
    pub(crate) fn digest_with<P: Provider<Hash = H>>(
        &self,
        provider: &P,
        algorithm: HashAlgorithm,
        more: &[u8],
    ) -> Digest {
        let mut hash = self.running.clone().unwrap_or_else(|| provider.hash(algorithm));
        hash.update(more);
        hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::provider;

    #[test]
    fn what_is_added_and_what_would_be() {
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
            let provider = provider();
            let mut transcript = Transcript::new();
            let early = transcript.digest_with(&provider, algorithm, b"hello");
            transcript.choose(&provider, algorithm);
            transcript.add(b"hello");
            assert_eq!(transcript.digest_with(&provider, algorithm, &[]).as_bytes(), early.as_bytes());
            let partial = transcript.digest_with(&provider, algorithm, b", wor");
            transcript.add(b", wor");
            let whole = transcript.digest_with(&provider, algorithm, &[]);
            let mut hash = provider.hash(algorithm);
            hash.update(b"hello, wor");
            assert_eq!(whole.as_bytes(), partial.as_bytes());
            assert_eq!(whole.as_bytes(), hash.finish().as_bytes());
        }
    }

    #[test]
    fn a_retry_leaves_the_hash_of_the_first_hello() {
        let provider = provider();
        let mut transcript = Transcript::new();
        let hello = transcript.digest_with(&provider, HashAlgorithm::Sha384, b"hello");
        transcript.retry(&provider, HashAlgorithm::Sha384, b"hello");
        let mut hash = provider.hash(HashAlgorithm::Sha384);
        hash.update(&[254, 0, 0, 48]);
        hash.update(hello.as_bytes());
        let after = transcript.digest_with(&provider, HashAlgorithm::Sha384, &[]);
        assert_eq!(after.as_bytes(), hash.finish().as_bytes());
    }
}
