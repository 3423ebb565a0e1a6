//! Certificates for tests.

use std::sync::Arc;

use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::verify::x509::{TrustAnchor, anchor};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

pub(crate) const NAME: &str = "server.test";

/// A key that both stacks can use.
pub(crate) struct Key {
    pub(crate) pair: KeyPair,
}

impl Key {
    pub(crate) fn new(kind: Kind) -> Self {
        let pair = match kind {
            Kind::Rsa => {
                let der = PrivatePkcs8KeyDer::from(&include_bytes!("rsa2048.pkcs8.der")[..]);
                KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256).unwrap()
            }
            kind => KeyPair::generate_for(kind.algorithm()).unwrap(),
        };
        Self { pair }
    }

    /// For our stack, which does not sign with RSA.
    pub(crate) fn ours(&self) -> SoftKey {
        SoftKey::from_pkcs8(self.pair.serialized_der()).unwrap()
    }

    /// For rustls.
    pub(crate) fn theirs(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        use rcgen::PublicKeyData;
        self.pair.subject_public_key_info()
    }

    /// A raw public key for rustls.
    pub(crate) fn raw(&self) -> Arc<CertifiedKey> {
        let key = rustls::crypto::ring::sign::any_supported_type(&self.theirs()).unwrap();
        Arc::new(CertifiedKey::new(vec![CertificateDer::from(self.spki())], key))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

impl Kind {
    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &PKCS_ED25519,
            Self::Rsa => &PKCS_RSA_SHA256,
        }
    }
}

/// A root, an intermediate and a leaf for [`NAME`].
pub(crate) struct Chain {
    pub(crate) root: CertificateDer<'static>,
    /// Leaf and intermediate.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Key,
}

impl Chain {
    /// With a leaf key of one kind and CA keys of another.
    pub(crate) fn new(leaf: Kind, ca: Kind) -> Self {
        Self::with(leaf, ca, |_| {})
    }

    pub(crate) fn with(leaf: Kind, ca: Kind, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (root_key, ca_key, key) = (Key::new(ca), Key::new(ca), Key::new(leaf));
        let root = authority("root", &root_key);
        let intermediate = authority("intermediate", &ca_key);
        let root_certificate = root.self_signed(&root_key.pair).unwrap();
        let root_issuer = Issuer::from_params(&root, &root_key.pair);
        let ca_certificate = intermediate.signed_by(&ca_key.pair, &root_issuer).unwrap();
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        change(&mut params);
        let issuer = Issuer::from_params(&intermediate, &ca_key.pair);
        let certificate = params.signed_by(&key.pair, &issuer).unwrap();
        let chain = vec![certificate.der().to_vec(), ca_certificate.der().to_vec()];
        Self { root: root_certificate.der().clone(), chain, key }
    }

    pub(crate) fn entries(&self) -> Vec<&[u8]> {
        self.chain.iter().map(Vec::as_slice).collect()
    }

    pub(crate) fn anchors(&self) -> [TrustAnchor<'_>; 1] {
        [anchor(&self.root).unwrap()]
    }

    /// For rustls.
    pub(crate) fn theirs(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().cloned().map(CertificateDer::from).collect()
    }

    /// The root for rustls.
    pub(crate) fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        Arc::new(roots)
    }
}

/// The name of a CA is its own, or another one's signature would be looked at instead of its name.
fn authority(name: &str, key: &Key) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let number: String = key.spki().iter().rev().take(8).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name.push(DnType::CommonName, format!("{name} {number}"));
    params
}
