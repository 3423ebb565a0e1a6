//! Sessions over Peregrine's own TLS 1.3.

use std::sync::Arc;

use peregrine_core::session::Session;
use peregrine_crypto::provider::{HashAlgorithm, Provider, Signer};
use peregrine_crypto::tls::Role;
use peregrine_crypto::tls::{
    self, ClientAuth, ClientConfig, ClientSession, Credential, KeyLog, PeerIdentity, PskStore, ServerConfig,
    ServerSession, TlsSession,
};
use peregrine_crypto::verify::Verifier;
use rustls_pki_types::{PrivateKeyDer, ServerName};

use super::arena::Arena;
use super::policy::Policy;
use super::scratch::{Pool, Scratch};
use super::{ClientTls, KeyLogFile, ServerTls, Shown, TlsError, Trust};
use crate::clock::Clock;
use crate::identity::Psk;
use crate::provider::{HostProvider, host_provider};
use crate::session::{Agreed, AnySession, HostSession, group_name, suite_name};

/// Makes sessions of clients.
pub struct Client {
    config: ClientConfig<'static>,
    key_log: Option<&'static KeyLogFile>,
    scratch: Pool,
    kept: Arc<Arena>,
}

/// Makes sessions of servers.
pub struct Server {
    config: &'static ServerConfig<'static>,
    key_log: Option<&'static KeyLogFile>,
    scratch: Pool,
    kept: Arc<Arena>,
}

#[expect(unsafe_code, reason = "see the arena: every reference made here lies in a struct before its arena")]
impl Client {
    /// A factory of sessions as described.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(tls: ClientTls) -> Result<Self, TlsError> {
        let mut arena = Arena::default();
        let provider = host_provider();
        let suites = wanted(&tls.suites, provider.suites())?;
        let groups = wanted(&tls.groups, provider.groups())?;
        let (policy, psk) = match tls.trust {
            Trust::Psk(psk) => (None, Some(psk)),
            trust => (Some(Policy::new(trust)?), None),
        };
        // SAFETY: `Self` and the sessions hold the arena behind all that borrows from it.
        let config = unsafe {
            ClientConfig {
                server_name: None,
                alpn: keep_alpn(&mut arena, tls.alpn),
                server: policy.map(|policy| arena.keep(policy) as &(dyn Verifier + Sync)),
                identity: tls.shown.map(|shown| keep_identity(&mut arena, shown)).transpose()?,
                psks: match psk {
                    Some(psk) => {
                        let psk: &'static Psk = arena.keep(psk);
                        arena.keep([of_tls(psk)])
                    }
                    None => &[],
                },
                suites: arena.keep(suites),
                groups: arena.keep(groups),
            }
        };
        // SAFETY: as above.
        let key_log = tls.key_log.map(|log| unsafe { arena.keep(log) });
        Ok(Self { config, key_log, scratch: Pool::default(), kept: Arc::new(arena) })
    }

    /// A session with the server of this name, which is a DNS name or an IP address.
    ///
    /// # Errors
    /// [`TlsError::Name`].
    pub fn session(&self, server_name: &str) -> Result<AnySession, TlsError> {
        ServerName::try_from(server_name).map_err(|_| TlsError::Name)?;
        let mut own = Arena::default();
        // SAFETY: the session is declared before both arenas.
        let config = unsafe {
            let name: &'static String = own.keep(server_name.to_owned());
            own.keep(ClientConfig { server_name: Some(name), ..self.config })
        };
        let scratch = self.scratch.take();
        let mut tls = ClientSession::new(config, host_provider(), scratch, Clock::unix_seconds());
        if let Some(log) = self.key_log {
            tls.set_key_log(log as &(dyn KeyLog + Sync));
        }
        Ok(Box::new(Ours { tls, server_name: |_| None, _own: own, _kept: Arc::clone(&self.kept) }))
    }
}

#[expect(unsafe_code, reason = "see the arena: every reference made here lies in a struct before its arena")]
impl Server {
    /// A factory of sessions as described.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(tls: ServerTls) -> Result<Self, TlsError> {
        if tls.shown.is_empty() && tls.psks.is_empty() {
            return Err(TlsError::NothingShown);
        }
        let mut arena = Arena::default();
        let provider = host_provider();
        let suites = wanted(&tls.suites, provider.suites())?;
        let groups = wanted(&tls.groups, provider.groups())?;
        let policy = tls.clients.map(Policy::new).transpose()?;
        // SAFETY: `Self` and the sessions hold the arena behind all that borrows from it.
        let config = unsafe {
            let shown = tls.shown.into_iter().map(|shown| keep_identity(&mut arena, shown));
            let identities = shown.collect::<Result<Vec<_>, _>>()?;
            let config = ServerConfig {
                alpn: keep_alpn(&mut arena, tls.alpn),
                identities: arena.keep(identities),
                psks: Some(arena.keep(Psks(tls.psks)) as &(dyn PskStore + Sync)),
                clients: policy.map_or(ClientAuth::None, |policy| ClientAuth::Required(arena.keep(policy))),
                suites: arena.keep(suites),
                groups: arena.keep(groups),
            };
            arena.keep(config)
        };
        // SAFETY: as above.
        let key_log = tls.key_log.map(|log| unsafe { arena.keep(log) });
        Ok(Self { config, key_log, scratch: Pool::default(), kept: Arc::new(arena) })
    }

    /// A session with a client.
    pub fn session(&self) -> AnySession {
        let scratch = self.scratch.take();
        let mut tls = ServerSession::new(self.config, host_provider(), scratch, Clock::unix_seconds());
        if let Some(log) = self.key_log {
            tls.set_key_log(log as &(dyn KeyLog + Sync));
        }
        let server_name = |tls: &ServerSession<'static, HostProvider, Scratch>| {
            tls.server_name().map(|name| String::from_utf8_lossy(name).into_owned())
        };
        Box::new(Ours { tls, server_name, _own: Arena::default(), _kept: Arc::clone(&self.kept) })
    }
}

/// A session and what it borrows from. The fields are dropped in this order.
struct Ours<R: 'static> {
    tls: TlsSession<'static, HostProvider, Scratch, R>,
    server_name: fn(&TlsSession<'static, HostProvider, Scratch, R>) -> Option<String>,
    _own: Arena,
    _kept: Arc<Arena>,
}

impl<R: Role<'static> + Send> HostSession for Ours<R> {
    fn session(&self) -> &dyn Session {
        &self.tls
    }

    fn session_mut(&mut self) -> &mut dyn Session {
        &mut self.tls
    }

    fn agreed(&self) -> Agreed {
        let (peer_key, psk) = match self.tls.peer_identity() {
            Some(
                PeerIdentity::Certificate { key_sha256, .. } | PeerIdentity::RawPublicKey { key_sha256 },
            ) => (Some(key_sha256), None),
            Some(PeerIdentity::Psk(identity)) => (None, Some(identity.to_vec())),
            None => (None, None),
        };
        Agreed {
            suite: self.tls.suite().map(suite_name),
            group: self.tls.group().map(group_name),
            alpn: self.tls.alpn().map(<[u8]>::to_vec),
            server_name: (self.server_name)(&self.tls),
            peer_key,
            psk,
        }
    }

    fn after_handshake(&mut self) {
        drop(self.tls.take_scratch());
    }
}

/// The preferences, as far as the provider has them.
fn wanted<T: Copy + PartialEq>(preferred: &[T], all: &[T]) -> Result<Vec<T>, TlsError> {
    let preferred = if preferred.is_empty() { all } else { preferred };
    let wanted: Vec<T> = preferred.iter().copied().filter(|choice| all.contains(choice)).collect();
    if wanted.is_empty() { Err(TlsError::NoAlgorithm) } else { Ok(wanted) }
}

/// # Safety
/// As for [`Arena::keep`].
#[expect(unsafe_code, reason = "passes the arena's condition on")]
unsafe fn keep_alpn(arena: &mut Arena, names: Vec<Vec<u8>>) -> &'static [&'static [u8]] {
    // SAFETY: the caller's.
    unsafe {
        let names: &'static Vec<Vec<u8>> = arena.keep(names);
        arena.keep(names.iter().map(Vec::as_slice).collect::<Vec<&'static [u8]>>())
    }
}

/// # Safety
/// As for [`Arena::keep`].
#[expect(unsafe_code, reason = "passes the arena's condition on")]
unsafe fn keep_identity(arena: &mut Arena, shown: Shown) -> Result<tls::Identity<'static>, TlsError> {
    // SAFETY: the caller's.
    unsafe {
        let (credential, key) = match shown {
            Shown::Certificate(identity) => {
                let chain: &'static Vec<_> = arena.keep(identity.chain);
                let entries: Vec<&'static [u8]> = chain.iter().map(AsRef::as_ref).collect();
                (Credential::X509(arena.keep(entries)), identity.key)
            }
            Shown::RawKey(raw) => (Credential::RawPublicKey(arena.keep(raw.public)), raw.key),
        };
        let key = signer(&key).ok_or(TlsError::KindOfKey)?;
        Ok(tls::Identity { credential, key: arena.keep(key) })
    }
}

#[cfg(feature = "aws-lc-rs")]
fn signer(key: &PrivateKeyDer<'_>) -> Option<impl Signer + Send + Sync + use<>> {
    super::signer_aws::AwsKey::from_der(key.secret_der())
}

#[cfg(not(feature = "aws-lc-rs"))]
fn signer(key: &PrivateKeyDer<'_>) -> Option<impl Signer + Send + Sync + use<>> {
    peregrine_crypto::sign::SoftKey::from_pkcs8(key.secret_der()).ok()
}

fn of_tls(psk: &Psk) -> tls::Psk<'_> {
    tls::Psk { identity: &psk.identity, key: &psk.key, hash: HashAlgorithm::Sha256 }
}

struct Psks(Vec<Psk>);

impl PskStore for Psks {
    fn find(&self, identity: &[u8]) -> Option<tls::Psk<'_>> {
        self.0.iter().find(|psk| psk.identity == identity).map(of_tls)
    }
}
