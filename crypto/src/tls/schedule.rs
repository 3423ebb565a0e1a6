//! The key schedule (RFC 9846 7.1), the MACs made from it (4.2.11.2, 4.4.4) and exporters (7.5).
//!
//! ```text
//! early (from the PSK, or zeros) → handshake (from the key agreement) → main
//! ```
//!
//! Traffic secrets come off each stage; the stage before is wiped when the next one begins.

use crate::hkdf::{self, DeriveError};
use crate::provider::{Digest, Hash, HashAlgorithm, MAX_HASH_LEN, Provider, Secret};

/// The secret of the current stage.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    algorithm: HashAlgorithm,
    secret: Secret,
}

impl Schedule {
    /// The early stage, of a handshake with this pre-shared key or with none.
    pub(crate) fn early<P: Provider>(provider: &P, algorithm: HashAlgorithm, psk: Option<&[u8]>) -> Self {
        let zeros = zeros(algorithm);
        Self { algorithm, secret: hkdf::extract(provider, algorithm, zeros, psk.unwrap_or(zeros)) }
    }

    /// The hash of this schedule.
    pub(crate) const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The MAC of an external PSK over a ClientHello up to its binders; only in the early stage.
    pub(crate) fn external_binder<P: Provider>(
        &self,
        provider: &P,
        hello: &Digest,
    ) -> Result<Secret, DeriveError> {
        let key = self.derive(provider, b"ext binder", &empty(provider, self.algorithm))?;
        finished(provider, self.algorithm, &key, hello)
    }

    /// Enters the handshake stage with the secret of the key agreement.
    pub(crate) fn enter_handshake<P: Provider>(
        &mut self,
        provider: &P,
        shared: &Secret,
    ) -> Result<(), DeriveError> {
        self.enter(provider, shared.as_bytes())
    }

    /// Enters the main stage.
    pub(crate) fn enter_main<P: Provider>(&mut self, provider: &P) -> Result<(), DeriveError> {
        self.enter(provider, zeros(self.algorithm))
    }

    fn enter<P: Provider>(&mut self, provider: &P, input: &[u8]) -> Result<(), DeriveError> {
        let salt = self.derive(provider, b"derived", &empty(provider, self.algorithm))?;
        self.secret = hkdf::extract(provider, self.algorithm, salt.as_bytes(), input);
        Ok(())
    }

    /// The secret `label` of this stage, bound to a transcript.
    pub(crate) fn derive<P: Provider>(
        &self,
        provider: &P,
        label: &[u8],
        transcript: &Digest,
    ) -> Result<Secret, DeriveError> {
        hkdf::derive_secret(provider, self.algorithm, self.secret.as_bytes(), label, transcript.as_bytes())
    }
}

/// As many zeros as the hash is long: what stands for a secret there is not.
fn zeros(algorithm: HashAlgorithm) -> &'static [u8] {
    const ZEROS: [u8; MAX_HASH_LEN] = [0; MAX_HASH_LEN];
    ZEROS.get(..algorithm.output_len()).unwrap_or_default()
}

/// The hash of nothing.
fn empty<P: Provider>(provider: &P, algorithm: HashAlgorithm) -> Digest {
    provider.hash(algorithm).finish()
}

/// The content of a Finished message whose sender has the traffic secret `base`.
pub(crate) fn finished<P: Provider>(
    provider: &P,
    algorithm: HashAlgorithm,
    base: &Secret,
    transcript: &Digest,
) -> Result<Secret, DeriveError> {
    let key = hkdf::derive_secret(provider, algorithm, base.as_bytes(), b"finished", &[])?;
    Ok(provider.hmac(algorithm, key.as_bytes(), &[transcript.as_bytes()]))
}

/// Keying material for the application.
pub(crate) fn export<P: Provider>(
    provider: &P,
    algorithm: HashAlgorithm,
    exporter: &Secret,
    label: &[u8],
    context: &[u8],
    out: &mut [u8],
) -> Result<(), DeriveError> {
    let none = empty(provider, algorithm);
    let secret = hkdf::derive_secret(provider, algorithm, exporter.as_bytes(), label, none.as_bytes())?;
    let mut hash = provider.hash(algorithm);
    hash.update(context);
    let context = hash.finish();
    hkdf::expand_label(provider, algorithm, secret.as_bytes(), b"exporter", context.as_bytes(), out)
}
