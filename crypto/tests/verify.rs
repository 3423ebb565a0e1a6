//! Who the peer is: X.509 chains, pins, raw keys; and keys of our own that sign.

use std::task::Poll;

use peregrine_core::ids::Side;
use peregrine_crypto::provider::{Scheme, Signer};
use peregrine_crypto::sign::{BadKey, SoftKey};
use peregrine_crypto::signature;
use peregrine_crypto::verify::pin::{Pin, spki_hash};
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::{CertificateType, Insecure, Presented, Verifier, VerifyError};
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SignatureAlgorithm};

/// A time in 2025.
const NOW: u64 = 1_750_000_000;

fn presented<'a, 'c>(entries: &'a [&'c [u8]]) -> Presented<'a, 'c> {
    Presented {
        kind: CertificateType::X509,
        entries,
        peer: Side::Server,
        name: Some("localhost"),
        unix_time: Some(NOW),
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// What came at once.
fn now<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("pending"),
    }
}

fn sign(key: &SoftKey, message: &[u8]) -> (Scheme, Vec<u8>) {
    let scheme = key.schemes()[0];
    match key.sign(scheme, message) {
        Poll::Ready(Ok(signature)) => (scheme, signature.to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_sign_what_the_table_verifies() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let pair = key(algorithm);
        let ours = SoftKey::from_pkcs8(pair.serialized_der()).unwrap();
        assert_eq!(ours.spki()[..], pair.subject_public_key_info());
        let (scheme, mut signature) = sign(&ours, b"message");
        let verify = |scheme, signature: &[u8], message| {
            signature::verify(scheme, &pair.subject_public_key_info(), message, signature)
        };
        assert_eq!(verify(scheme, &signature, b"message"), Ok(()));
        assert_eq!(verify(scheme, &signature, b"massage"), Err(VerifyError::NotHolder));
        for other in signature::SCHEMES.iter().filter(|&&other| other != scheme) {
            assert_eq!(verify(*other, &signature, b"message"), Err(VerifyError::UnsupportedAlgorithm));
            assert!(now(ours.sign(*other, b"message")).is_err());
        }
        *signature.last_mut().unwrap() ^= 1;
        assert_eq!(verify(scheme, &signature, b"message"), Err(VerifyError::NotHolder));
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    let pair = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let der = pair.serialized_der();
    for len in 0..der.len() {
        assert_eq!(SoftKey::from_pkcs8(&der[..len]).err(), Some(BadKey));
    }
    assert_eq!(SoftKey::p256(&[0; 32]).err(), Some(BadKey));
    assert_eq!(SoftKey::p384(&[0xff; 48]).err(), Some(BadKey));
    let rsa = include_bytes!("data/rsa-2048.pk8");
    assert_eq!(SoftKey::from_pkcs8(rsa).err(), Some(BadKey));
}

#[test]
fn pins_accept_the_key_whatever_the_certificate_says() {
    let pair = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let spki = pair.subject_public_key_info();
    let certificate = params("elsewhere").self_signed(&pair).unwrap();
    let keys = [[0; 32], spki_hash(&spki)];
    let entries: [&[u8]; 1] = [certificate.der()];
    let presented = Presented { unix_time: None, name: None, ..presented(&entries) };
    assert_eq!(now(Pin { keys: &keys }.verify_identity(&presented)), Ok(&spki[..]));
    assert_eq!(now(Pin { keys: &keys[..1] }.verify_identity(&presented)), Err(VerifyError::WrongPin));
    assert_eq!(now(Insecure.verify_identity(&presented)), Ok(&spki[..]));

    let raw: [&[u8]; 1] = [&spki];
    let raw = Presented { kind: CertificateType::RawPublicKey, entries: &raw, ..presented };
    assert_eq!(now(Pin { keys: &keys }.verify_identity(&raw)), Ok(&spki[..]));
}

#[test]
fn raw_keys_are_compared_whole() {
    let [ours, other] = [[1; 32], [2; 32]].map(|seed| SoftKey::ed25519(&seed).spki());
    let verifier = RawKey { keys: &[&ours] };
    let verify = |kind, entry: &[u8]| {
        now(verifier.verify_identity(&Presented { kind, ..presented(&[entry]) })).map(<[u8]>::to_vec)
    };
    assert_eq!(verify(CertificateType::RawPublicKey, &ours), Ok(ours.to_vec()));
    assert_eq!(verify(CertificateType::RawPublicKey, &other), Err(VerifyError::WrongPin));
    assert_eq!(verify(CertificateType::RawPublicKey, &ours[1..]), Err(VerifyError::Malformed));
    assert_eq!(verify(CertificateType::X509, &ours), Err(VerifyError::WrongType));
}

#[test]
fn lists_of_certificates_have_bounds() {
    let pair = key(&rcgen::PKCS_ED25519);
    let certificate = params("localhost").self_signed(&pair).unwrap();
    let entries: [&[u8]; 5] = [certificate.der(); 5];
    assert!(now(Insecure.verify_identity(&presented(&entries[..4]))).is_ok());
    assert_eq!(now(Insecure.verify_identity(&presented(&entries))), Err(VerifyError::TooMany));
    assert_eq!(now(Insecure.verify_identity(&presented(&[]))), Err(VerifyError::Empty));
}

#[test]
fn every_alert_is_one_of_tls() {
    for (error, alert) in [
        (VerifyError::Expired, 45),
        (VerifyError::NotYetValid, 45),
        (VerifyError::UnknownCa, 48),
        (VerifyError::NameMismatch, 42),
        (VerifyError::NotHolder, 51),
        (VerifyError::WrongPin, 46),
    ] {
        let transport = peregrine_core::error::TransportError::from(error);
        assert_eq!(transport.code().alert(), Some(alert));
        assert_eq!(transport.reason(), error.to_string());
    }
}

#[cfg(feature = "x509")]
mod x509 {
    use super::*;
    use peregrine_crypto::verify::x509::{X509, anchor};
    use rcgen::{
        BasicConstraints, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, NameConstraints,
        date_time_ymd,
    };
    use rustls_pki_types::CertificateDer;

    /// A root, an intermediate and a leaf, each of which can be changed before it is signed.
    struct Chain {
        root: CertificateDer<'static>,
        intermediate: CertificateDer<'static>,
        leaf: CertificateDer<'static>,
        leaf_spki: Vec<u8>,
    }

    fn ca(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    impl Chain {
        fn with(
            keys: [KeyPair; 3],
            change: impl FnOnce(&mut CertificateParams, &mut CertificateParams),
        ) -> Self {
            let [root_key, intermediate_key, leaf_key] = keys;
            let root = ca("root");
            let (mut intermediate, mut leaf) = (ca("intermediate"), params("localhost"));
            change(&mut intermediate, &mut leaf);
            let root_certificate = root.self_signed(&root_key).unwrap();
            let root = Issuer::new(root, &root_key);
            let intermediate_certificate = intermediate.signed_by(&intermediate_key, &root).unwrap();
            let intermediate = Issuer::new(intermediate, &intermediate_key);
            let leaf_certificate = leaf.signed_by(&leaf_key, &intermediate).unwrap();
            Self {
                root: root_certificate.into(),
                intermediate: intermediate_certificate.into(),
                leaf: leaf_certificate.into(),
                leaf_spki: leaf_key.subject_public_key_info(),
            }
        }

        fn new(change: impl FnOnce(&mut CertificateParams, &mut CertificateParams)) -> Self {
            Self::with([(); 3].map(|()| key(&rcgen::PKCS_ECDSA_P256_SHA256)), change)
        }

        /// Verifies the chain as the change of `presented` leaves it.
        fn verify(&self, change: impl FnOnce(&mut Presented<'_, '_>)) -> Result<Vec<u8>, VerifyError> {
            let entries: [&[u8]; 2] = [&self.leaf, &self.intermediate];
            let mut presented = presented(&entries);
            change(&mut presented);
            let anchors = [anchor(&self.root).unwrap()];
            now(X509 { anchors: &anchors }.verify_identity(&presented)).map(<[u8]>::to_vec)
        }
    }

    #[test]
    fn chains_of_every_algorithm() {
        let rsa = || {
            let der = include_bytes!("data/rsa-2048.pk8");
            KeyPair::try_from(&der[..]).unwrap()
        };
        let [p256, p384, ed25519] =
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
        for keys in [
            [p256, p256, p256].map(key),
            [p384, p384, p384].map(key),
            [ed25519, ed25519, ed25519].map(key),
            [p256, ed25519, p384].map(key),
        ] {
            let chain = Chain::with(keys, |_, _| {});
            assert_eq!(chain.verify(|_| {}), Ok(chain.leaf_spki.clone()));
        }
        let chain = Chain::with([rsa(), key(p256), rsa()], |_, _| {});
        let expected = if cfg!(feature = "rsa") {
            Ok(chain.leaf_spki.clone())
        } else {
            Err(VerifyError::UnsupportedAlgorithm)
        };
        assert_eq!(chain.verify(|_| {}), expected);
    }

    #[test]
    fn names() {
        let chain = Chain::new(|_, leaf| {
            *leaf = CertificateParams::new(["*.example.com".into(), "192.0.2.7".into()]).unwrap();
        });
        let verify = |name| chain.verify(|presented| presented.name = name).map(|_| ());
        for good in ["a.example.com", "A.EXAMPLE.com", "192.0.2.7"] {
            assert_eq!(verify(Some(good)), Ok(()), "{good}");
        }
        for bad in ["example.com", "a.b.example.com", "example.org", "192.0.2.8", "", "not a name"] {
            assert_eq!(verify(Some(bad)), Err(VerifyError::NameMismatch), "{bad}");
        }
        assert_eq!(verify(None), Err(VerifyError::NameMismatch));
    }

    #[test]
    fn validity() {
        let chain = Chain::new(|_, leaf| {
            leaf.not_before = date_time_ymd(2025, 1, 1);
            leaf.not_after = date_time_ymd(2026, 1, 1);
        });
        let verify = |time| chain.verify(|presented| presented.unix_time = time).map(|_| ());
        assert_eq!(verify(Some(NOW)), Ok(()));
        assert_eq!(verify(Some(1_700_000_000)), Err(VerifyError::NotYetValid));
        assert_eq!(verify(Some(1_800_000_000)), Err(VerifyError::Expired));
        assert_eq!(verify(None), Err(VerifyError::NoClock));
        let chain = Chain::new(|intermediate, _| intermediate.not_after = date_time_ymd(2024, 1, 1));
        assert_eq!(chain.verify(|_| {}), Err(VerifyError::Expired));
    }

    #[test]
    fn issuers() {
        let (chain, other) = (Chain::new(|_, _| {}), Chain::new(|_, _| {}));
        let alone = |entries: &[&[u8]]| {
            let anchors = [anchor(&chain.root).unwrap()];
            now(X509 { anchors: &anchors }.verify_identity(&presented(entries))).map(|_| ())
        };
        assert_eq!(alone(&[&chain.leaf, &chain.intermediate, &chain.root]), Ok(()));
        assert_eq!(alone(&[&chain.leaf, &other.root, &chain.intermediate]), Ok(()));
        assert_eq!(alone(&[&chain.leaf]), Err(VerifyError::UnknownCa));
        // Same names, other keys.
        assert!(alone(&[&chain.leaf, &other.intermediate]).is_err());
        assert!(alone(&[&other.leaf, &other.intermediate]).is_err());
        let self_signed = params("localhost").self_signed(&key(&rcgen::PKCS_ED25519)).unwrap();
        assert_eq!(alone(&[self_signed.der()]), Err(VerifyError::UnknownCa));
    }

    #[test]
    fn constraints() {
        let chain = Chain::new(|intermediate, _| intermediate.is_ca = IsCa::NoCa);
        assert_eq!(chain.verify(|_| {}), Err(VerifyError::WrongPurpose));
        let chain = Chain::new(|intermediate, _| {
            intermediate.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".into())],
                excluded_subtrees: vec![],
            });
        });
        assert_eq!(chain.verify(|_| {}), Err(VerifyError::Constraint));
    }

    #[test]
    fn purposes() {
        for (purpose, server, client) in [
            (ExtendedKeyUsagePurpose::ServerAuth, Ok(()), Err(VerifyError::WrongPurpose)),
            (ExtendedKeyUsagePurpose::ClientAuth, Err(VerifyError::WrongPurpose), Ok(())),
        ] {
            let chain = Chain::new(|_, leaf| leaf.extended_key_usages = vec![purpose]);
            let verify = |peer| chain.verify(|presented| presented.peer = peer).map(|_| ());
            assert_eq!(verify(Side::Server), server);
            assert_eq!(verify(Side::Client), client);
        }
        // A client needs no name.
        let chain = Chain::new(|_, _| {});
        let client = chain.verify(|presented| (presented.peer, presented.name) = (Side::Client, None));
        assert_eq!(client, Ok(chain.leaf_spki.clone()));
    }

    #[test]
    fn no_bit_of_a_chain_can_change() {
        let mut chain = Chain::with([(); 3].map(|()| key(&rcgen::PKCS_ED25519)), |_, _| {});
        let leaf = chain.leaf.to_vec();
        for bit in 0..leaf.len() * 8 {
            let mut forged = leaf.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            chain.leaf = forged.into();
            assert!(chain.verify(|_| {}).is_err(), "bit {bit}");
        }
        for len in 0..leaf.len() {
            chain.leaf = leaf[..len].to_vec().into();
            assert!(chain.verify(|_| {}).is_err());
        }
    }
}
