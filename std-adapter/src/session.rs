//! What an endpoint on a host asks of a session beyond core's: that it can be told of the end of the handshake, and
//! say what was agreed on. Endpoints keep sessions boxed, so that one endpoint may use several implementations.

use peregrine_core::error::TransportError;
use peregrine_core::ids::PathId;
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{AeadLimits, Key, KeyError, Level, Session, SessionEvent};
use peregrine_crypto::provider::{Group, Suite};

/// A session of a connection on a host.
pub trait HostSession: Send {
    /// The session.
    fn session(&self) -> &dyn Session;

    /// The session, to be changed.
    fn session_mut(&mut self) -> &mut dyn Session;

    /// What the handshake has agreed on. Asked once, when it is complete.
    fn agreed(&self) -> Agreed;

    /// The handshake is confirmed: nothing of it is sent again, its memory may go.
    fn after_handshake(&mut self) {}
}

/// What a handshake has agreed on, in names for people.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Agreed {
    /// The cipher suite, for example `TLS_AES_128_GCM_SHA256`.
    pub suite: Option<&'static str>,
    /// The group of the key agreement, for example `X25519`.
    pub group: Option<&'static str>,
    /// The application protocol.
    pub alpn: Option<Vec<u8>>,
    /// On a server: the name that the client asked for.
    pub server_name: Option<String>,
    /// SHA-256 of the peer's public key (its SubjectPublicKeyInfo in DER), if it has shown one.
    pub peer_key: Option<[u8; 32]>,
    /// The identity of the pre-shared key, if that is what the two have shown each other.
    pub psk: Option<Vec<u8>>,
}

/// A session of any kind.
pub type AnySession = Box<dyn HostSession>;

impl Session for AnySession {
    fn start(&mut self, params: &[u8]) -> Result<(), TransportError> {
        self.as_mut().session_mut().start(params)
    }

    fn read_crypto(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError> {
        self.as_mut().session_mut().read_crypto(level, bytes)
    }

    fn resume(&mut self) -> Result<(), TransportError> {
        self.as_mut().session_mut().resume()
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.as_mut().session_mut().poll_event()
    }

    fn crypto_len(&self, level: Level) -> u64 {
        self.as_ref().session().crypto_len(level)
    }

    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize {
        self.as_ref().session().copy_crypto(level, offset, out)
    }

    fn crypto_acked(&mut self, level: Level, upto: u64) {
        self.as_mut().session_mut().crypto_acked(level, upto);
    }

    fn peer_params(&self) -> Option<&[u8]> {
        self.as_ref().session().peer_params()
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.as_ref().session().alpn()
    }

    fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
        self.as_ref().session().export(label, context, out)
    }

    fn set_initial_keys(&mut self, version: u32, dcid: &[u8]) {
        self.as_mut().session_mut().set_initial_keys(version, dcid);
    }

    fn verify_retry(&self, version: u32, original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        self.as_ref().session().verify_retry(version, original_dcid, retry, tag)
    }

    fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        self.as_mut().session_mut().seal(key, path, pn, header, payload)
    }

    fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        self.as_mut().session_mut().open(key, path, pn, header, payload)
    }

    fn protect(&mut self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        self.as_mut().session_mut().protect(level, sample, first, pn);
    }

    fn unprotect(
        &mut self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool {
        self.as_mut().session_mut().unprotect(level, sample, first, pn)
    }

    fn limits(&self, level: Level) -> AeadLimits {
        self.as_ref().session().limits(level)
    }

    fn update_keys(&mut self) {
        self.as_mut().session_mut().update_keys();
    }

    fn retire_keys(&mut self) {
        self.as_mut().session_mut().retire_keys();
    }

    fn discard(&mut self, level: Level) {
        self.as_mut().session_mut().discard(level);
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.as_mut().session_mut().fill_random(out);
    }
}

/// The name of a suite in the IANA registry.
pub const fn suite_name(suite: Suite) -> &'static str {
    match suite {
        Suite::Aes128GcmSha256 => "TLS_AES_128_GCM_SHA256",
        Suite::Aes256GcmSha384 => "TLS_AES_256_GCM_SHA384",
        Suite::ChaCha20Poly1305Sha256 => "TLS_CHACHA20_POLY1305_SHA256",
    }
}

/// The name of a group in the IANA registry.
pub const fn group_name(group: Group) -> &'static str {
    match group {
        Group::X25519 => "X25519",
        Group::Secp256r1 => "secp256r1",
    }
}
