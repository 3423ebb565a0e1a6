//! What can be wrong with an identity, in words for people.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls_pki_types::pem;

/// An identity or a set of roots is not to be had.
#[derive(Debug)]
pub enum IdentityError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not well-formed PEM.
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: &'static str,
    },
    /// The file holds no section of the kind wanted.
    Lacks {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// How that is marked in a PEM file.
        label: &'static str,
        /// What it holds.
        found: Option<&'static str>,
    },
    /// The private key is encrypted.
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// The first certificate does not parse.
    Certificate {
        /// The file.
        path: PathBuf,
    },
    /// The private key does not parse, or is of a kind we do not know.
    KindOfKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is not that of the certificate.
    Mismatch {
        /// The file of the certificate.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// No self-signed certificate can be made.
    SelfSigned {
        /// The names it should have.
        names: String,
        /// Why.
        cause: String,
    },
    /// The system has no trusted roots.
    NoSystemRoots {
        /// Why, if known.
        cause: Option<String>,
    },
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Pem { path, cause } => {
                write!(f, "{} is not a well-formed PEM file: {cause}", path.display())
            }
            Self::Lacks { path, wanted, label, found } => {
                write!(f, "{} holds no {wanted} (a section -----BEGIN {label}-----)", path.display())?;
                found.map_or(Ok(()), |found| write!(f, ", but {found}"))
            }
            Self::Encrypted { path } => write!(
                f,
                "the private key in {0} is encrypted; write a plain copy with: openssl pkey -in {0} -out plain.pem",
                path.display()
            ),
            Self::Certificate { path } => {
                write!(f, "the first certificate in {} is not a valid X.509 certificate", path.display())
            }
            Self::KindOfKey { path } => write!(
                f,
                "the private key in {} is damaged or of an unknown kind; use ECDSA P-256, P-384, Ed25519 or RSA",
                path.display()
            ),
            Self::Mismatch { chain, key } => write!(
                f,
                "the private key in {} does not belong to the first certificate in {}; the server's own \
                 certificate must stand before its issuers",
                key.display(),
                chain.display()
            ),
            Self::SelfSigned { names, cause } => {
                write!(f, "no certificate can be made for the names {names}: {cause}")
            }
            Self::NoSystemRoots { cause } => {
                f.write_str("this system has no trusted root certificates")?;
                if let Some(cause) = cause {
                    write!(f, " ({cause})")?;
                }
                f.write_str("; install them (often the package ca-certificates) or name the roots to trust")
            }
        }
    }
}

impl std::error::Error for IdentityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            _ => None,
        }
    }
}

pub(super) const fn of_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no -----END line",
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line is damaged",
        pem::Error::Base64Decode(_) => "a section is not base64",
        pem::Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be read",
    }
}
