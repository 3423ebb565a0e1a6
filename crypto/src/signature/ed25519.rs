//! Ed25519 (RFC 8032), in the strict form that refuses keys of small order and points with a second encoding.

use ed25519_dalek::{Signature, VerifyingKey};
use rustls_pki_types::alg_id;

use super::Algorithm;

pub(crate) static ED25519: Algorithm =
    Algorithm { name: "Ed25519", key: alg_id::ED25519, signature: alg_id::ED25519, verify };

fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = VerifyingKey::try_from(key).ok();
    let signature = Signature::from_slice(signature).ok();
    key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(message, &signature).is_ok())
}
