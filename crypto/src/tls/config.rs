//! What the application decides: plain data that it owns and a session borrows.

use core::fmt;

use crate::provider::{Group, HashAlgorithm, Provider, Scheme, Signer, Suite};
use crate::tls::codec::U16s;
use crate::verify::{CertificateType, MAX_CERTIFICATES, Verifier};

/// How a client handshakes.
#[derive(Clone, Copy, Default)]
pub struct ClientConfig<'a> {
    /// The name or IP address of the server: what [`Self::server`] is asked to find in the certificate, and, if it is
    /// a name, what the server is told (RFC 6066 3).
    pub server_name: Option<&'a str>,
    /// Application protocols, best first. Empty: the application agrees on one by other means (RFC 9001 8.1).
    pub alpn: &'a [&'a [u8]],
    /// How the server proves who it is, if not with one of [`Self::psks`].
    pub server: Option<&'a (dyn Verifier + Sync)>,
    /// Who we are, should the server ask.
    pub identity: Option<Identity<'a>>,
    /// Pre-shared keys, best first; the first [`MAX_PSKS`] are offered. Whoever has one needs no certificate.
    pub psks: &'a [Psk<'a>],
    /// Suites, best first; those the provider has not are left out. Empty: all of the provider.
    pub suites: &'a [Suite],
    /// Groups, best first, likewise. The first one's share is offered.
    pub groups: &'a [Group],
}

/// How a server handshakes.
#[derive(Clone, Copy, Default)]
pub struct ServerConfig<'a> {
    /// Application protocols, best first. Empty: as for a client.
    pub alpn: &'a [&'a [u8]],
    /// Who we are: the first one that the client can verify is used.
    pub identities: &'a [Identity<'a>],
    /// Pre-shared keys we know.
    pub psks: Option<&'a (dyn PskStore + Sync)>,
    /// Whether clients have to say who they are. Never asked of one with a pre-shared key (RFC 9846 4.3.2).
    pub clients: ClientAuth<'a>,
    /// Suites, best first; those the provider has not are left out. Empty: all of the provider.
    pub suites: &'a [Suite],
    /// Groups, best first, likewise.
    pub groups: &'a [Group],
}

/// Pre-shared keys that a client offers at most.
pub const MAX_PSKS: usize = 2;

/// Whether clients authenticate.
#[derive(Clone, Copy, Default)]
pub enum ClientAuth<'a> {
    /// They are not asked.
    #[default]
    None,
    /// They may; what they present must then be right.
    Optional(&'a (dyn Verifier + Sync)),
    /// They must.
    Required(&'a (dyn Verifier + Sync)),
}

impl<'a> ClientAuth<'a> {
    pub(crate) const fn verifier(self) -> Option<&'a (dyn Verifier + Sync)> {
        match self {
            Self::None => None,
            Self::Optional(verifier) | Self::Required(verifier) => Some(verifier),
        }
    }
}

/// Who we are, and the key that proves it.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// What we present.
    pub credential: Credential<'a>,
    /// The private key that belongs to it.
    pub key: &'a (dyn Signer + Sync),
}

/// What we present. It is sent from where it lies, and must stay until the session is dropped.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// X.509 certificates in DER, our own first, at most [`MAX_CERTIFICATES`].
    X509(&'a [&'a [u8]]),
    /// A SubjectPublicKeyInfo in DER (RFC 7250).
    RawPublicKey(&'a [u8]),
}

impl<'a> Credential<'a> {
    pub(crate) const fn kind(&self) -> CertificateType {
        match self {
            Self::X509(_) => CertificateType::X509,
            Self::RawPublicKey(_) => CertificateType::RawPublicKey,
        }
    }

    /// The entries of our Certificate message; nothing beyond [`MAX_CERTIFICATES`] is sent.
    pub(crate) fn entries(&self) -> &[&'a [u8]] {
        match self {
            Self::X509(chain) => chain.get(..MAX_CERTIFICATES).unwrap_or(chain),
            Self::RawPublicKey(spki) => core::slice::from_ref(spki),
        }
    }
}

impl Identity<'_> {
    /// The best scheme of ours that the peer can verify.
    pub(crate) fn scheme(&self, peer: &U16s<'_>) -> Option<Scheme> {
        self.key.schemes().iter().copied().find(|scheme| peer.contains(scheme.0))
    }
}

/// An external pre-shared key (RFC 9846 4.2.11). It must have at least 128 bits of entropy: no password.
#[derive(Clone, Copy)]
pub struct Psk<'a> {
    /// Its name, sent in clear, not empty.
    pub identity: &'a [u8],
    /// The key.
    pub key: &'a [u8],
    /// The hash it is used with; SHA-256 unless the two sides agreed on another.
    pub hash: HashAlgorithm,
}

impl fmt::Debug for Psk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Psk")
            .field("identity", &self.identity)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// Where a server finds pre-shared keys.
pub trait PskStore {
    /// The key of that identity.
    fn find(&self, identity: &[u8]) -> Option<Psk<'_>>;
}

impl<const N: usize> PskStore for [Psk<'_>; N] {
    fn find(&self, identity: &[u8]) -> Option<Psk<'_>> {
        self.iter().copied().find(|psk| psk.identity == identity)
    }
}

/// Who the peer turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PeerIdentity<'a> {
    /// The holder of a certificate.
    Certificate {
        /// SHA-256 of the certificate in DER.
        sha256: [u8; 32],
        /// SHA-256 of its SubjectPublicKeyInfo in DER.
        key_sha256: [u8; 32],
    },
    /// The holder of a raw public key.
    RawPublicKey {
        /// SHA-256 of its SubjectPublicKeyInfo in DER.
        key_sha256: [u8; 32],
    },
    /// The holder of the pre-shared key of this identity.
    Psk(&'a [u8]),
}

/// The suites in use: those of the application, or else of the provider, that the provider has.
pub(crate) fn suites<'c, P: Provider>(wanted: &'c [Suite], provider: &'c P) -> impl Iterator<Item = Suite> {
    let all = provider.suites();
    let wanted = if wanted.is_empty() { all } else { wanted };
    wanted.iter().copied().filter(|suite| all.contains(suite))
}

/// The groups in use, likewise.
pub(crate) fn groups<'c, P: Provider>(wanted: &'c [Group], provider: &'c P) -> impl Iterator<Item = Group> {
    let all = provider.groups();
    let wanted = if wanted.is_empty() { all } else { wanted };
    wanted.iter().copied().filter(|group| all.contains(group))
}

/// Whether a suite of the provider uses this hash.
pub(crate) fn has_hash<P: Provider>(provider: &P, hash: HashAlgorithm) -> bool {
    provider.suites().iter().any(|suite| suite.hash() == hash)
}
