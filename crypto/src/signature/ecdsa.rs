//! ECDSA over P-256 and P-384 (FIPS 186-5). TLS 1.3 ties each curve to its hash, certificates do not.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rustls_pki_types::alg_id;
use sha2::{Digest, Sha256, Sha384};

use super::Algorithm;

pub(crate) static P256_SHA256: Algorithm = Algorithm {
    name: "ECDSA P-256 SHA-256",
    key: alg_id::ECDSA_P256,
    signature: alg_id::ECDSA_SHA256,
    verify: |key, message, signature| p256(key, &Sha256::digest(message), signature),
};

pub(super) static P256_SHA384: Algorithm = Algorithm {
    name: "ECDSA P-256 SHA-384",
    key: alg_id::ECDSA_P256,
    signature: alg_id::ECDSA_SHA384,
    verify: |key, message, signature| p256(key, &Sha384::digest(message), signature),
};

pub(super) static P384_SHA256: Algorithm = Algorithm {
    name: "ECDSA P-384 SHA-256",
    key: alg_id::ECDSA_P384,
    signature: alg_id::ECDSA_SHA256,
    verify: |key, message, signature| p384(key, &Sha256::digest(message), signature),
};

pub(super) static P384_SHA384: Algorithm = Algorithm {
    name: "ECDSA P-384 SHA-384",
    key: alg_id::ECDSA_P384,
    signature: alg_id::ECDSA_SHA384,
    verify: |key, message, signature| p384(key, &Sha384::digest(message), signature),
};

/// `key` is an uncompressed point, `signature` is DER.
fn p256(key: &[u8], hash: &[u8], signature: &[u8]) -> bool {
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok().filter(|_| key.len() == 65);
    let signature = p256::ecdsa::DerSignature::from_bytes(signature).ok();
    key.zip(signature).is_some_and(|(key, signature)| key.verify_prehash(hash, &signature).is_ok())
}

/// Likewise.
fn p384(key: &[u8], hash: &[u8], signature: &[u8]) -> bool {
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key).ok().filter(|_| key.len() == 97);
    let signature = p384::ecdsa::DerSignature::from_bytes(signature).ok();
    key.zip(signature).is_some_and(|(key, signature)| key.verify_prehash(hash, &signature).is_ok())
}
