//! Who one is and whom one trusts, as people give it: PEM files, fingerprints, shared keys, the system's roots.
//!
//! Every error names the file and the cause, and what to do where that is known.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use webpki::EndEntityCert;
use zeroize::Zeroizing;

mod error;
mod text;

pub use error::IdentityError;
pub use text::{Pin, PinError, Psk, PskError, hex};

/// A certificate chain, leaf first, and the private key of the leaf.
#[derive(Debug)]
pub struct Identity {
    /// Leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the leaf.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Loads a chain and its key from PEM files, which may be the same one.
    ///
    /// # Errors
    /// If a file cannot be read or does not hold what it should, or the key is not that of the first certificate.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, IdentityError> {
        let identity = Self { chain: load_certificates(chain)?, key: load_key(key)? };
        let of_leaf =
            identity.leaf_public_key().ok_or_else(|| IdentityError::Certificate { path: chain.into() })?;
        if of_leaf != public_key_of(&identity.key, key)? {
            return Err(IdentityError::Mismatch { chain: chain.into(), key: key.into() });
        }
        Ok(identity)
    }

    /// A fresh P-256 key and a certificate for `names` (DNS names or IP addresses) that it signed itself.
    ///
    /// # Errors
    /// If a name cannot stand in a certificate.
    pub fn self_signed(names: &[String]) -> Result<Self, IdentityError> {
        let made = |error: rcgen::Error| IdentityError::SelfSigned {
            names: names.join(", "),
            cause: error.to_string(),
        };
        let key = KeyPair::generate().map_err(made)?;
        let certificate =
            CertificateParams::new(names).and_then(|params| params.self_signed(&key)).map_err(made)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|_| made(rcgen::Error::CouldNotParseKeyPair))?;
        Ok(Self { chain: vec![certificate.into()], key })
    }

    /// The fingerprint of the leaf's public key; `None` if the leaf does not parse.
    pub fn pin(&self) -> Option<Pin> {
        self.leaf_public_key().map(|key| Pin::of(&key))
    }

    fn leaf_public_key(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let leaf = EndEntityCert::try_from(self.chain.first()?).ok()?;
        Some(leaf.subject_public_key_info())
    }
}

/// A key pair without a certificate (RFC 7250).
#[derive(Debug)]
pub struct RawKey {
    /// What the peer must know.
    pub public: SubjectPublicKeyInfoDer<'static>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
}

impl RawKey {
    /// Loads a private key from a PEM file.
    ///
    /// # Errors
    /// If the file cannot be read, or holds no private key of a kind we know.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let key = load_key(path)?;
        Ok(Self { public: public_key_of(&key, path)?, key })
    }

    /// The fingerprint of the public key.
    pub fn pin(&self) -> Pin {
        Pin::of(&self.public)
    }
}

/// Loads certificates from a PEM file, in the file's order: a chain, or roots to trust.
///
/// # Errors
/// If the file cannot be read or holds no certificate.
pub fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let pem = Pem::load(path)?;
    let certificates: Vec<_> = pem.objects().collect::<Result<_, _>>()?;
    if certificates.is_empty() { Err(pem.lacks("certificate", "CERTIFICATE")) } else { Ok(certificates) }
}

/// Loads a public key from a PEM file: what a client expects of a server with a raw key, and the other way round.
///
/// # Errors
/// If the file cannot be read or holds no public key.
pub fn load_public_key(path: &Path) -> Result<SubjectPublicKeyInfoDer<'static>, IdentityError> {
    let pem = Pem::load(path)?;
    let key = pem.objects().next();
    key.unwrap_or_else(|| Err(pem.lacks("public key", "PUBLIC KEY")))
}

/// The roots that the operating system trusts.
///
/// # Errors
/// If there are none.
pub fn system_roots() -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let cause = found.errors.first().map(ToString::to_string);
        return Err(IdentityError::NoSystemRoots { cause });
    }
    Ok(found.certs)
}

fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let pem = Pem::load(path)?;
    let key = pem.objects().next();
    key.unwrap_or_else(|| Err(pem.lacks("private key", "PRIVATE KEY")))
}

fn public_key_of(
    key: &PrivateKeyDer<'_>,
    path: &Path,
) -> Result<SubjectPublicKeyInfoDer<'static>, IdentityError> {
    let pair = KeyPair::try_from(key).map_err(|_| IdentityError::KindOfKey { path: path.into() })?;
    Ok(pair.subject_public_key_info().into())
}

/// A file that should hold PEM sections.
struct Pem {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
}

impl Pem {
    fn load(path: &Path) -> Result<Self, IdentityError> {
        let read = |error: io::Error| IdentityError::Read { path: path.into(), error };
        Ok(Self { path: path.into(), bytes: Zeroizing::new(fs::read(path).map_err(read)?) })
    }

    fn objects<T: PemObject>(&self) -> impl Iterator<Item = Result<T, IdentityError>> {
        T::pem_slice_iter(&self.bytes).map(|object| {
            object
                .map_err(|error| IdentityError::Pem { path: self.path.clone(), cause: error::of_pem(&error) })
        })
    }

    /// The error that says what the file holds instead.
    fn lacks(&self, wanted: &'static str, label: &'static str) -> IdentityError {
        let found = self.objects::<(SectionKind, Vec<u8>)>().next().and_then(Result::ok);
        let found = found.and_then(|(kind, _)| match kind {
            SectionKind::Certificate => Some("a certificate"),
            SectionKind::PublicKey => Some("a public key"),
            SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => {
                Some("a private key")
            }
            SectionKind::Csr => Some("a certificate request"),
            _ => None,
        });
        let encrypted = b"ENCRYPTED";
        if label == "PRIVATE KEY" && self.bytes.windows(encrypted.len()).any(|part| part == encrypted) {
            return IdentityError::Encrypted { path: self.path.clone() };
        }
        IdentityError::Lacks { path: self.path.clone(), wanted, label, found }
    }
}

#[cfg(test)]
mod tests;
