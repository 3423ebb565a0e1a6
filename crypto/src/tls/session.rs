//! A TLS session as core sees it: CRYPTO bytes per level in and out (RFC 9001 4.1.3), packet keys, events.
//!
//! Cuts the peer's bytes into messages, hands them to the states of its role, and after the handshake reads past what
//! the peer still sends (RFC 9001 4.4, 6): session tickets. Messages come on one level after another; none may lie
//! across two of them.

use core::task::Poll;

use peregrine_core::error::TransportError;
use peregrine_core::ids::{PathId, Side};
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{self, AeadLimits, Key, KeyError, Level, SessionEvent};

use crate::initial::Version;
use crate::provider::{Group, Provider, Suite};
use crate::retry;
use crate::tls::client::Client;
use crate::tls::config::{ClientConfig, PeerIdentity, ServerConfig};
use crate::tls::fault::{Cause, Fault, Trap};
use crate::tls::handshake::Handshake;
#[cfg(feature = "keylog")]
use crate::tls::keylog::KeyLog;
use crate::tls::msg::{Kind, Message, unexpected};
use crate::tls::reader::{Parked, Skipper, Unread};
use crate::tls::schedule;
use crate::tls::server::Server;

/// A client's session.
pub type ClientSession<'a, P, B> = TlsSession<'a, P, B, Client<'a, true>>;
/// A client's session with pre-shared keys and nothing else: neither side has certificates, and no code for them is linked.
/// [`ClientConfig::server`] and [`ClientConfig::identity`] are not looked at.
pub type PskClientSession<'a, P, B> = TlsSession<'a, P, B, Client<'a, false>>;
/// A server's session.
pub type ServerSession<'a, P, B> = TlsSession<'a, P, B, Server<'a>>;

/// TLS and packet protection of one connection.
///
/// `B` is the memory lent for the handshake. Our own flight without the certificates, the transport parameters of both
/// sides and the peer's public key lie in it: about 500 bytes, 250 more for an RSA key. Beside them there must be room
/// for the longest message of the peer: certificates of 1 to 5 kB, and on a server a ClientHello of 300 to 1,800 bytes;
/// and for what follows it in the same flight, should a step be pending.
pub struct TlsSession<'a, P: Provider, B, R> {
    handshake: Handshake<'a, P>,
    role: R,
    scratch: Option<B>,
    unread: Unread,
    deferred: bool,
    after: Skipper,
}

/// The states of a client or of a server; there are no other implementations.
pub trait Role<'a> {
    /// Goes on with a message, or begins the handshake without one. While a step is pending it is called again, with the same
    /// message.
    ///
    /// # Errors
    /// An alert, too little memory, or nothing to offer.
    fn advance<P: Provider>(
        &mut self,
        shared: &mut Handshake<'a, P>,
        memory: &mut [u8],
        message: Option<&Message<'_>>,
    ) -> Poll<Result<(), Fault>>;
}

impl<'a, P, B, const CERTIFICATES: bool> TlsSession<'a, P, B, Client<'a, CERTIFICATES>>
where
    P: Provider,
    B: AsRef<[u8]> + AsMut<[u8]>,
{
    /// A client. `unix_time` is the time in seconds since 1970, if there is a clock, for the validity of certificates.
    pub fn new(config: &'a ClientConfig<'a>, provider: P, scratch: B, unix_time: Option<u64>) -> Self {
        Self::with_role(Handshake::new(Side::Client, provider), Client::new(config, unix_time), scratch)
    }
}

impl<'a, P: Provider, B: AsRef<[u8]> + AsMut<[u8]>> ServerSession<'a, P, B> {
    /// A server. `unix_time` as for a client.
    pub fn new(config: &'a ServerConfig<'a>, provider: P, scratch: B, unix_time: Option<u64>) -> Self {
        Self::with_role(Handshake::new(Side::Server, provider), Server::new(config, unix_time), scratch)
    }

    /// The name of the server that the client asked for, until [`Self::take_scratch`].
    pub fn server_name(&self) -> Option<&[u8]> {
        Some(self.handshake.agreed.server_name?.of(self.scratch.as_ref()?.as_ref()))
    }
}

impl<'a, P: Provider, B: AsRef<[u8]> + AsMut<[u8]>, R: Role<'a>> TlsSession<'a, P, B, R> {
    fn with_role(handshake: Handshake<'a, P>, role: R, scratch: B) -> Self {
        let (unread, after) = (Unread::new(), Skipper::new());
        Self { handshake, role, scratch: Some(scratch), unread, deferred: false, after }
    }

    /// Lets TLS only take messages when they come, and do its work in `Connection::resume`, which is to be called whenever
    /// [`Self::is_parked`]. Called from where the stack is shallow, all that key exchange and signatures take of it comes
    /// on top of nothing; and a program with other things to do puts the work off to when it has time.
    ///
    /// It costs a client a few round trips: packets that come with the ServerHello, in one datagram mostly, cannot be opened
    /// before the work is done, and the server sends them again. All that the peer says at once must fit into the memory
    /// lent, not only its longest message.
    #[must_use]
    pub fn deferred(self) -> Self {
        Self { deferred: true, ..self }
    }

    /// Tells secrets to `log` from now on.
    #[cfg(feature = "keylog")]
    pub fn set_key_log(&mut self, log: &'a (dyn KeyLog + Sync)) {
        self.handshake.log.log = Some(log);
    }

    /// Whether TLS waits to be resumed by `Connection::resume`: because a step of its provider, private key or verifier is
    /// pending and may be done now, or because its work is [deferred](Self::deferred).
    pub const fn is_parked(&self) -> bool {
        !matches!(self.unread.parked, Parked::No)
    }

    /// Whether there is [deferred](Self::deferred) work: `Connection::resume` gets on with it, whatever hardware does.
    pub const fn has_deferred_work(&self) -> bool {
        matches!(self.unread.parked, Parked::Deferred)
    }

    /// Whether a step of the provider, the private key or the verifier is pending: `Connection::resume` gets on only once there
    /// is an answer.
    pub const fn is_pending(&self) -> bool {
        matches!(self.unread.parked, Parked::Pending)
    }

    /// The memory of the handshake, while it is there. Its bytes are TLS's.
    pub const fn scratch_mut(&mut self) -> Option<&mut B> {
        self.scratch.as_mut()
    }

    /// The memory of the handshake, finished or not: for when the connection is closed, and TLS neither reads nor says any more.
    /// Secrets of a handshake that was not finished are wiped.
    pub fn abandon(&mut self) -> Option<B> {
        if !self.is_complete() {
            self.handshake.forget();
        }
        self.scratch.take()
    }

    /// Gives the memory of the handshake back, once it is complete and [`session::Session::discard`] has told that
    /// nothing of it is to be sent again.
    pub fn take_scratch(&mut self) -> Option<B> {
        let flight = &self.handshake.flight;
        let said = flight.len(Level::Initial) == 0 && flight.len(Level::Handshake) == 0;
        if self.is_complete() && said { self.scratch.take() } else { None }
    }

    /// Whether the handshake is complete.
    pub fn is_complete(&self) -> bool {
        self.handshake.reading == Level::OneRtt
    }

    /// The suite, once agreed on.
    pub const fn suite(&self) -> Option<Suite> {
        self.handshake.agreed.suite
    }

    /// The group of the key agreement, once agreed on.
    pub const fn group(&self) -> Option<Group> {
        self.handshake.agreed.group
    }

    /// Who the peer is; on a server nobody, unless the client was asked. Holds once the handshake is complete.
    pub fn peer_identity(&self) -> Option<PeerIdentity<'a>> {
        self.handshake.agreed.identity.filter(|_| self.is_complete())
    }

    /// Takes messages up to the end of the handshake or of `bytes`.
    fn read_handshake(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        let level = self.handshake.reading;
        while !bytes.is_empty() {
            if self.handshake.reading != level {
                return Err(WRONG_LEVEL);
            }
            if self.deferred && self.unread.parked == Parked::No {
                self.unread.parked = Parked::Deferred;
            }
            let memory = self.scratch.as_mut().trap(NO_MEMORY)?.as_mut();
            self.unread.keep(&mut bytes, self.handshake.flight.free(memory))?;
            if self.unread.parked == Parked::No {
                self.go_on(false)?;
            }
        }
        Ok(())
    }

    /// Hands the messages that are whole to the states one by one, or no message to begin with.
    fn go_on(&mut self, mut begins: bool) -> Result<(), Fault> {
        let level = self.handshake.reading;
        loop {
            let Handshake { flight, .. } = &mut self.handshake;
            let memory = self.scratch.as_mut().trap(NO_MEMORY)?.as_mut();
            let len = match self.unread.first(flight.free(memory)) {
                None if !begins => return Ok(()),
                len => len.unwrap_or(0),
            };
            let start = self.unread.make_way(memory, flight.used());
            let (front, unread) = memory.split_at_mut_checked(start).unwrap_or_default();
            let message = match unread.get(..len) {
                Some(whole) if !begins => Some(Message::parse(whole)?),
                _ => None,
            };
            let outcome = self.role.advance(&mut self.handshake, front, message.as_ref());
            let (parked, done) = if outcome.is_pending() { (Parked::Pending, 0) } else { (Parked::No, len) };
            self.unread.parked = parked;
            self.unread.come_back(memory, start, done, self.handshake.flight.used());
            match outcome {
                // The step that waits may have changed the level: what came behind its message is of the level before.
                Poll::Pending if self.handshake.reading != level && self.unread.len() > len => {
                    return Err(WRONG_LEVEL);
                }
                Poll::Pending => return Ok(()),
                Poll::Ready(outcome) => outcome?,
            }
            if self.handshake.reading != level {
                return if self.unread.is_empty() { Ok(()) } else { Err(WRONG_LEVEL) };
            }
            begins = false;
        }
    }

    /// Reads past what comes after the handshake.
    fn read_after(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while let Some(kind) = self.after.next(&mut bytes) {
            match (self.handshake.side, Kind::from_u8(kind)) {
                (Side::Client, Some(Kind::NewSessionTicket)) => {}
                (Side::Client, Some(Kind::CertificateRequest)) => {
                    // RFC 9001 4.4: not an alert.
                    return Err(Fault(&(Cause::Violation, "CertificateRequest after the handshake")));
                }
                // RFC 9001 6: keys are updated by packets, never by KeyUpdate.
                _ => return Err(unexpected()),
            }
        }
        Ok(())
    }
}

/// RFC 9001 4.1.3, and 8.3 for early data.
const WRONG_LEVEL: Fault = Fault(&(Cause::Violation, "CRYPTO data on a level that is not due"));
const NO_MEMORY: Fault = Fault(&(Cause::Impossible, "handshake without its memory"));

impl<'a, P, B, R> session::Session for TlsSession<'a, P, B, R>
where
    P: Provider,
    B: AsRef<[u8]> + AsMut<[u8]>,
    R: Role<'a>,
{
    fn start(&mut self, params: &[u8]) -> Result<(), TransportError> {
        let memory = self.scratch.as_mut().trap(NO_MEMORY)?.as_mut();
        self.handshake.local_params = self.handshake.flight.store(memory, |_, out| out.bytes(params))?;
        if self.deferred {
            self.unread.parked = Parked::Deferred;
            Ok(())
        } else {
            Ok(self.go_on(true)?)
        }
    }

    fn read_crypto(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if level != self.handshake.reading {
            return Err(WRONG_LEVEL.into());
        }
        let read = if self.is_complete() { self.read_after(bytes) } else { self.read_handshake(bytes) };
        Ok(read?)
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.handshake.events.next()
    }

    fn resume(&mut self) -> Result<(), TransportError> {
        if core::mem::replace(&mut self.unread.parked, Parked::No) != Parked::No {
            self.go_on(self.unread.is_empty())?;
        }
        Ok(())
    }

    fn crypto_len(&self, level: Level) -> u64 {
        self.handshake.flight.len(level)
    }

    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize {
        let Some(scratch) = &self.scratch else { return 0 };
        self.handshake.flight.copy(scratch.as_ref(), level, offset, out)
    }

    /// Nothing to do: the memory goes back as a whole, see [`TlsSession::take_scratch`].
    fn crypto_acked(&mut self, _: Level, _: u64) {}

    /// Until [`TlsSession::take_scratch`].
    fn peer_params(&self) -> Option<&[u8]> {
        Some(self.handshake.agreed.peer_params?.of(self.scratch.as_ref()?.as_ref()))
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.handshake.agreed.alpn
    }

    fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
        let Handshake { provider, agreed, .. } = &self.handshake;
        let (Some(suite), Some(exporter), true) = (agreed.suite, &agreed.exporter, self.is_complete()) else {
            return Err(KeyError::Missing);
        };
        schedule::export(provider, suite.hash(), exporter, label, context, out).map_err(|_| KeyError::Missing)
    }

    fn set_initial_keys(&mut self, version: u32, dcid: &[u8]) {
        self.handshake.keys.set_initial_keys(&self.handshake.provider, version, dcid);
    }

    fn verify_retry(&self, version: u32, original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        Version::find(version).is_some_and(|version| {
            retry::verify(&self.handshake.provider, version, original_dcid, retry, tag)
        })
    }

    fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        self.handshake.keys.seal(key, path, pn, header, payload)
    }

    fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        self.handshake.keys.open(key, path, pn, header, payload)
    }

    fn protect(&mut self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        self.handshake.keys.protect(level, sample, first, pn);
    }

    fn unprotect(
        &mut self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool {
        self.handshake.keys.unprotect(level, sample, first, pn)
    }

    fn limits(&self, level: Level) -> AeadLimits {
        self.handshake.keys.limits(level)
    }

    fn update_keys(&mut self) {
        self.handshake.keys.update_keys(&self.handshake.provider);
    }

    fn retire_keys(&mut self) {
        self.handshake.keys.retire_keys();
    }

    fn discard(&mut self, level: Level) {
        self.handshake.keys.discard(level);
        self.handshake.flight.discard(level);
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.handshake.provider.fill_random(out);
    }
}
