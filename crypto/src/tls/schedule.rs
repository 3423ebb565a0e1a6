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
    /// No secret.
    pub(crate) const fn none() -> Self {
        Self { algorithm: HashAlgorithm::Sha256, secret: Secret::zeros(0) }
    }

    /// The early stage, of a handshake with this pre-shared key or with none.
    pub(crate) fn early<P: Provider>(provider: &P, algorithm: HashAlgorithm, psk: Option<&[u8]>) -> Self {
        let zeros = zeros(algorithm);
        Self { algorithm, secret: hkdf::extract(provider, algorithm, zeros, psk.unwrap_or(zeros)) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, provider};

    fn sha256(text: &str) -> Digest {
        Digest::sha256(hex(text).as_slice().try_into().unwrap())
    }

    /// RFC 8448 3, the simple 1-RTT handshake.
    #[test]
    fn secrets_of_rfc_8448() {
        let provider = provider();
        let mut schedule = Schedule::early(&provider, HashAlgorithm::Sha256, None);
        let is = |secret: &Secret, text: &str| assert_eq!(secret.as_bytes(), hex(text));
        is(&schedule.secret, "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");

        let shared = hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d");
        schedule.enter_handshake(&provider, &Secret::from_slice(&shared).unwrap()).unwrap();
        is(&schedule.secret, "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac");
        let hellos = sha256("860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8");
        let client = schedule.derive(&provider, b"c hs traffic", &hellos).unwrap();
        is(&client, "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21");
        let server = schedule.derive(&provider, b"s hs traffic", &hellos).unwrap();
        is(&server, "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");

        let signed = sha256("edb7725fa7a3473b031ec8ef65a2485493900138a2b91291407d7951a06110ed");
        let mac = finished(&provider, HashAlgorithm::Sha256, &server, &signed).unwrap();
        is(&mac, "9b9b141d906337fbd2cbdce71df4deda4ab42c309572cb7fffee5454b78f0718");

        schedule.enter_main(&provider).unwrap();
        is(&schedule.secret, "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919");
        let flight = sha256("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13");
        for (label, secret) in [
            (&b"c ap traffic"[..], "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"),
            (b"s ap traffic", "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"),
            (b"exp master", "fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50"),
        ] {
            is(&schedule.derive(&provider, label, &flight).unwrap(), secret);
        }
    }
}
