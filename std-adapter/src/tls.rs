//! Who a program is and whom it trusts, as TLS wants it: one description, and a factory of sessions from it, over
//! Peregrine's own TLS ([`ours`]) or over rustls ([`rustls`]).

use peregrine_crypto::provider::{Group, Suite};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};

use crate::identity::{Identity, Pin, Psk, RawKey};

mod arena;
mod keylog;
pub mod ours;
mod policy;
#[cfg(feature = "rustls")]
pub mod rustls;
mod scratch;
#[cfg(feature = "aws-lc-rs")]
mod signer_aws;

pub use keylog::KeyLogFile;

/// What we show of ourselves.
#[derive(Debug)]
pub enum Shown {
    /// A certificate chain.
    Certificate(Identity),
    /// A public key without a certificate (RFC 7250).
    RawKey(RawKey),
}

/// Whom we trust.
#[derive(Debug)]
pub enum Trust {
    /// Holders of a certificate that one of these issued; a server's must bear the name that was asked for.
    Roots(Vec<CertificateDer<'static>>),
    /// Holders of a key with one of these hashes, with any certificate or none.
    Pins(Vec<Pin>),
    /// Holders of one of these keys, shown without a certificate (RFC 7250).
    RawKeys(Vec<SubjectPublicKeyInfoDer<'static>>),
    /// Who has this key (RFC 9846 4.2.11).
    Psk(Psk),
    /// Anyone: anybody on the way can read and change everything.
    Anyone,
}

/// A client's side of TLS.
#[derive(Debug)]
pub struct ClientTls {
    /// Which servers it trusts.
    pub trust: Trust,
    /// What it shows to a server that asks.
    pub shown: Option<Shown>,
    /// Application protocols, best first.
    pub alpn: Vec<Vec<u8>>,
    /// Cipher suites, best first; empty for all there are.
    pub suites: Vec<Suite>,
    /// Groups of the key agreement, best first; empty for all there are.
    pub groups: Vec<Group>,
    /// Where secrets are told.
    pub key_log: Option<KeyLogFile>,
}

impl ClientTls {
    /// A client that shows nothing of itself and has no preferences.
    pub fn new(trust: Trust, alpn: &[&[u8]]) -> Self {
        let alpn = alpn.iter().map(|name| name.to_vec()).collect();
        Self { trust, shown: None, alpn, suites: Vec::new(), groups: Vec::new(), key_log: None }
    }
}

/// A server's side of TLS.
#[derive(Debug)]
pub struct ServerTls {
    /// What it shows: the first that a client can verify.
    pub shown: Vec<Shown>,
    /// Keys that it shares with clients.
    pub psks: Vec<Psk>,
    /// Which clients it lets in: all without being asked, or only those it trusts. Who has one of the keys above is trusted for
    /// that, and asked for nothing more.
    pub clients: Option<Trust>,
    /// Application protocols, best first.
    pub alpn: Vec<Vec<u8>>,
    /// Cipher suites, best first; empty for all there are.
    pub suites: Vec<Suite>,
    /// Groups of the key agreement, best first; empty for all there are.
    pub groups: Vec<Group>,
    /// Where secrets are told.
    pub key_log: Option<KeyLogFile>,
}

impl ServerTls {
    /// A server that shows this, lets all clients in and has no preferences.
    pub fn new(shown: Shown, alpn: &[&[u8]]) -> Self {
        let alpn = alpn.iter().map(|name| name.to_vec()).collect();
        Self {
            shown: vec![shown],
            psks: Vec::new(),
            clients: None,
            alpn,
            suites: Vec::new(),
            groups: Vec::new(),
            key_log: None,
        }
    }

    /// A server that shows nothing but that it has this key.
    pub fn with_psk(psk: Psk, alpn: &[&[u8]]) -> Self {
        let alpn = alpn.iter().map(|name| name.to_vec()).collect();
        Self {
            shown: Vec::new(),
            psks: vec![psk],
            clients: None,
            alpn,
            suites: Vec::new(),
            groups: Vec::new(),
            key_log: None,
        }
    }
}

/// A description that no session can be made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The private key is of a kind that this TLS does not sign with.
    KindOfKey,
    /// A root certificate does not parse.
    Root,
    /// rustls has no external pre-shared keys.
    NoPsk,
    /// The server shows nothing.
    NothingShown,
    /// No cipher suite or no group is left.
    NoAlgorithm,
    /// The name of the server is neither a DNS name nor an IP address.
    Name,
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::KindOfKey => {
                "this TLS signs with ECDSA P-256, P-384 and Ed25519 keys only; take such a key, or rustls for RSA"
            }
            Self::Root => "none of the root certificates can be used",
            Self::NoPsk => "rustls has no external shared keys; take Peregrine's own TLS for them",
            Self::NothingShown => "a server needs a certificate, a raw key or a shared key to show",
            Self::NoAlgorithm => "no cipher suite or no key exchange group is left to offer",
            Self::Name => "the name of the server is neither a DNS name nor an IP address",
        })
    }
}

impl std::error::Error for TlsError {}

impl From<TlsError> for crate::Error {
    fn from(error: TlsError) -> Self {
        Self::Session(error.to_string())
    }
}
