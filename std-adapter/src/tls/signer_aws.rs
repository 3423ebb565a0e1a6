//! Private keys that AWS-LC signs with: ten times faster than portable Rust.

use std::task::Poll;

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use peregrine_crypto::provider::{Scheme, SignError, Signature, Signer};

/// A private key.
pub(super) enum AwsKey {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl AwsKey {
    /// A key from PKCS#8 or, for elliptic curves, SEC 1, in DER; `None` if it is of another kind.
    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let ecdsa = |algorithm| {
            let key = EcdsaKeyPair::from_private_key_der(algorithm, der).ok()?;
            // AWS-LC takes tens of milliseconds to its first random byte: better now than in the first handshake.
            let _ = rand::fill(&mut [0]);
            Some(key)
        };
        if let Some(key) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING) {
            Some(Self::P256(key))
        } else if let Some(key) = ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING) {
            Some(Self::P384(key))
        } else {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Self::Ed25519)
        }
    }
}

impl Signer for AwsKey {
    fn schemes(&self) -> &[Scheme] {
        match self {
            Self::P256(_) => &[Scheme::ECDSA_P256_SHA256],
            Self::P384(_) => &[Scheme::ECDSA_P384_SHA384],
            Self::Ed25519(_) => &[Scheme::ED25519],
        }
    }

    fn sign(&self, scheme: Scheme, message: &[u8]) -> Poll<Result<Signature, SignError>> {
        Poll::Ready(self.sign_now(scheme, message))
    }
}

impl AwsKey {
    fn sign_now(&self, scheme: Scheme, message: &[u8]) -> Result<Signature, SignError> {
        if !self.schemes().contains(&scheme) {
            return Err(SignError);
        }
        let signature = match self {
            Self::P256(key) | Self::P384(key) => {
                key.sign(&SystemRandom::new(), message).map_err(|_| SignError)?
            }
            Self::Ed25519(key) => key.try_sign(message).map_err(|_| SignError)?,
        };
        Signature::from_slice(signature.as_ref()).map_err(|_| SignError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};

    #[test]
    fn signatures_verify_under_the_key_they_are_of() {
        for (algorithm, scheme) in [
            (&PKCS_ECDSA_P256_SHA256, Scheme::ECDSA_P256_SHA256),
            (&PKCS_ECDSA_P384_SHA384, Scheme::ECDSA_P384_SHA384),
            (&PKCS_ED25519, Scheme::ED25519),
        ] {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let key = AwsKey::from_der(&pair.serialize_der()).unwrap();
            assert_eq!(key.schemes(), [scheme]);
            let Poll::Ready(Ok(signature)) = key.sign(scheme, b"message") else { panic!("{scheme:?}") };
            let spki = pair.subject_public_key_info();
            peregrine_crypto::signature::verify(scheme, &spki, b"message", &signature).unwrap();
            assert_eq!(key.sign(Scheme::RSA_PSS_SHA256, b"message"), Poll::Ready(Err(SignError)));
        }
        assert!(AwsKey::from_der(b"no key").is_none());
    }
}
