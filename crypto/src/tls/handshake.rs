//! What the states of a handshake share, client and server: transcript, secrets, what we say, what was agreed on.
//!
//! RFC 9846 4.4 (authentication messages) and 7.1 (which secret comes when). It knows no order of messages: that is
//! the states' to know. Steps with keys may be pending, and are then asked again: they change nothing before they are done.

use core::task::{Poll, ready};

use peregrine_core::ids::Side;
use peregrine_core::session::{Level, SessionEvent};

use crate::initial::INITIAL_SUITE;
use crate::provider::{
    AgreeError, Digest, Group, Hash, HashAlgorithm, KeyShare, Provider, Scheme, Secret, Suite,
};
use crate::session_keys::PacketKeys;
use crate::tls::codec::Encoder;
use crate::tls::config::{Credential, Identity, PeerIdentity};
use crate::tls::fault::{Cause, Fault, Trap};
use crate::tls::flight::{Flight, Stored};
use crate::tls::keylog::{self, Logger};
use crate::tls::msg::{self, Kind, Message, RANDOM_LEN, certificate, certificate_verify};
use crate::tls::schedule::{self, Schedule};
use crate::tls::transcript::Transcript;
use crate::verify::{CertificateType, Presented, Verifier};

/// All that outlives a state of the handshake. Secrets stay in place here, so that no copy of them is left behind
/// when states move.
pub struct Handshake<'a, P: Provider> {
    pub(crate) side: Side,
    pub(crate) provider: P,
    pub(crate) keys: PacketKeys<P>,
    pub(crate) log: Logger<'a>,
    pub(crate) client_random: [u8; RANDOM_LEN],
    pub(crate) transcript: Transcript<P::Hash>,
    pub(crate) share: Option<P::KeyShare>,
    pub(crate) schedule: Schedule,
    local: Secret,
    peer: Secret,
    pub(crate) flight: Flight<'a>,
    pub(crate) events: Events,
    /// The level the peer's messages come on now.
    pub(crate) reading: Level,
    pub(crate) local_params: Stored,
    pub(crate) agreed: Agreed<'a>,
}

/// What TLS has to tell and has not told yet: a bit each.
#[derive(Clone, Copy, Default)]
pub(crate) struct Events(u8);

impl Events {
    /// In the order in which they are told, of those that come together.
    const ORDER: [SessionEvent; 4] = [
        SessionEvent::PeerParams,
        SessionEvent::Keys(Level::Handshake),
        SessionEvent::Keys(Level::OneRtt),
        SessionEvent::Complete,
    ];

    pub(crate) const fn note(&mut self, event: SessionEvent) {
        self.0 |= match event {
            SessionEvent::PeerParams => 1,
            SessionEvent::Keys(Level::OneRtt) => 4,
            SessionEvent::Keys(_) => 2,
            SessionEvent::Complete => 8,
        };
    }

    /// Takes the next.
    pub(crate) fn next(&mut self) -> Option<SessionEvent> {
        let next = Self::ORDER.get(self.0.trailing_zeros() as usize)?;
        self.0 &= self.0.wrapping_sub(1);
        Some(*next)
    }
}

/// What a handshake ends with.
#[derive(Debug, Default)]
pub(crate) struct Agreed<'a> {
    pub(crate) suite: Option<Suite>,
    pub(crate) group: Option<Group>,
    pub(crate) alpn: Option<&'a [u8]>,
    pub(crate) identity: Option<PeerIdentity<'a>>,
    pub(crate) peer_params: Option<Stored>,
    pub(crate) server_name: Option<Stored>,
    pub(crate) exporter: Option<Secret>,
}

/// What the peer presented and the policy accepted; the peer has yet to prove that it holds the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unproven<'a> {
    /// The SubjectPublicKeyInfo.
    spki: Stored,
    identity: PeerIdentity<'a>,
}

impl<'a, P: Provider> Handshake<'a, P> {
    pub(crate) fn new(side: Side, provider: P) -> Self {
        Self {
            side,
            keys: PacketKeys::new(side),
            log: Logger::default(),
            client_random: [0; RANDOM_LEN],
            transcript: Transcript::new(),
            share: None,
            schedule: Schedule::none(),
            local: Secret::zeros(0),
            peer: Secret::zeros(0),
            flight: Flight::new(),
            events: Events::default(),
            reading: Level::Initial,
            local_params: Stored::default(),
            agreed: Agreed::default(),
            provider,
        }
    }

    /// Keeps the peer's transport parameters.
    pub(crate) fn take_params(&mut self, memory: &mut [u8], params: &[u8]) -> Result<(), Fault> {
        self.agreed.peer_params = Some(self.flight.store(memory, |_, out| out.bytes(params))?);
        self.events.note(SessionEvent::PeerParams);
        Ok(())
    }

    /// Sends a message. What writes it may read what was kept in memory before.
    pub(crate) fn send(
        &mut self,
        memory: &mut [u8],
        level: Level,
        message: impl FnOnce(&[u8], &mut Encoder<'_>),
    ) -> Result<(), Fault> {
        let stored = self.flight.store(memory, message)?;
        self.say(memory, level, stored)
    }

    pub(crate) fn say(&mut self, memory: &[u8], level: Level, stored: Stored) -> Result<(), Fault> {
        self.transcript.add(stored.of(memory));
        self.flight.send(level, stored)
    }

    /// The suite; as long as there is none, that of Initial packets.
    fn suite(&self) -> Suite {
        self.agreed.suite.unwrap_or(INITIAL_SUITE)
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.suite().hash()
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest_with(&[])
    }

    /// The hash of what was said and `more`.
    pub(crate) fn digest_with(&self, more: &[u8]) -> Digest {
        self.transcript.digest_with(&self.provider, self.algorithm(), more)
    }

    /// Nothing will come of it.
    pub(crate) fn forget(&mut self) {
        self.share = None;
        self.schedule = Schedule::none();
        self.local = Secret::zeros(0);
        self.peer = Secret::zeros(0);
    }

    /// Settles on a suite and a pre-shared key, if any.
    pub(crate) fn choose(&mut self, suite: Suite, psk: Option<&[u8]>) {
        self.transcript.choose(&self.provider, suite.hash());
        self.agreed.suite = Some(suite);
        self.schedule = Schedule::early(&self.provider, suite.hash(), psk);
    }

    /// Sees to it that there is a key pair of `group`.
    pub(crate) fn prepare(&mut self, group: Group) -> Poll<Result<(), Fault>> {
        if self.share.as_ref().is_none_or(|share| share.group() != group) {
            let share = ready!(self.provider.key_share(group));
            self.share = Some(share.ok_or(Fault(&(Cause::InternalError, "no key pair")))?);
        }
        Poll::Ready(Ok(()))
    }

    /// The secret that the peer's public value and our key pair make.
    pub(crate) fn agree(&mut self, public: &[u8]) -> Poll<Result<Secret, Fault>> {
        let share =
            self.share.as_mut().trap(Fault(&(Cause::Impossible, "no share of the group agreed on")))?;
        self.agreed.group = Some(share.group());
        share.agree(public).map_err(|error| match error {
            AgreeError::BadPublic => Fault(&(Cause::IllegalParameter, "bad key share")),
            AgreeError::Failed => Fault(&(Cause::InternalError, "our key agreement failed")),
        })
    }

    /// Derives the handshake keys; the transcript ends with the ServerHello.
    pub(crate) fn enter_handshake(&mut self, shared: &Secret) -> Result<(), Fault> {
        self.share = None;
        self.schedule.enter_handshake(&self.provider, shared)?;
        let [client, server] = self.traffic([b"c hs traffic", b"s hs traffic"])?;
        self.log.log(keylog::CLIENT_HANDSHAKE, &self.client_random, &client);
        self.log.log(keylog::SERVER_HANDSHAKE, &self.client_random, &server);
        (self.local, self.peer) = if self.side.is_client() { (client, server) } else { (server, client) };
        let suite = self.suite();
        self.keys.set_handshake_secrets(&self.provider, suite, &self.local, &self.peer)?;
        self.reading = Level::Handshake;
        self.events.note(SessionEvent::Keys(Level::Handshake));
        Ok(())
    }

    /// Derives the 1-RTT keys and the exporter; the transcript ends with the server's Finished.
    pub(crate) fn enter_main(&mut self) -> Result<(), Fault> {
        self.schedule.enter_main(&self.provider)?;
        let [client, server] = self.traffic([b"c ap traffic", b"s ap traffic"])?;
        let exporter = self.schedule.derive(&self.provider, b"exp master", &self.digest())?;
        self.log.log(keylog::CLIENT_TRAFFIC, &self.client_random, &client);
        self.log.log(keylog::SERVER_TRAFFIC, &self.client_random, &server);
        self.log.log(keylog::EXPORTER, &self.client_random, &exporter);
        let (local, peer) = if self.side.is_client() { (&client, &server) } else { (&server, &client) };
        let suite = self.suite();
        self.keys.set_application_secrets(&self.provider, suite, local, peer)?;
        self.agreed.exporter = Some(exporter);
        Ok(())
    }

    /// The secrets of these names at this point of the transcript.
    fn traffic(&self, names: [&[u8]; 2]) -> Result<[Secret; 2], Fault> {
        let transcript = self.digest();
        let [client, server] = names;
        Ok([
            self.schedule.derive(&self.provider, client, &transcript)?,
            self.schedule.derive(&self.provider, server, &transcript)?,
        ])
    }

    /// Ends the handshake and wipes what only it needs.
    pub(crate) fn complete(&mut self) {
        self.schedule = Schedule::none();
        self.local = Secret::zeros(0);
        self.peer = Secret::zeros(0);
        self.reading = Level::OneRtt;
        self.events.note(SessionEvent::Complete);
    }

    /// Sends our certificates, or none; they stay where they lie.
    pub(crate) fn send_certificate(
        &mut self,
        memory: &mut [u8],
        credential: Option<&Credential<'a>>,
    ) -> Result<(), Fault> {
        let entries = credential.map(Credential::entries).unwrap_or_default();
        self.send(memory, Level::Handshake, |_, out| certificate::emit_start(out, entries))?;
        for entry in entries {
            self.send(memory, Level::Handshake, |_, out| certificate::emit_entry_len(out, entry))?;
            self.transcript.add(entry);
            self.flight.send_lent(Level::Handshake, entry)?;
            self.send(memory, Level::Handshake, |_, out| certificate::emit_entry_end(out))?;
        }
        Ok(())
    }

    /// Signs the transcript, which ends with our Certificate, and sends the signature.
    pub(crate) fn send_certificate_verify(
        &mut self,
        memory: &mut [u8],
        identity: &Identity<'_>,
        scheme: Scheme,
    ) -> Poll<Result<(), Fault>> {
        let message = certificate_verify::signed(self.side, &self.digest())?;
        let failed = Fault(&(Cause::InternalError, "our private key did not sign"));
        let signature = ready!(identity.key.sign(scheme, &message)).map_err(|_| failed)?;
        let sent = self.send(memory, Level::Handshake, |_, out| {
            certificate_verify::emit(out, scheme, &signature);
        });
        Poll::Ready(sent)
    }

    pub(crate) fn send_finished(&mut self, memory: &mut [u8]) -> Result<(), Fault> {
        let mac = schedule::finished(&self.provider, self.algorithm(), &self.local, &self.digest())?;
        self.send(memory, Level::Handshake, |_, out| msg::emit(out, Kind::Finished, mac.as_bytes()))
    }

    /// Takes the peer's Finished.
    pub(crate) fn on_finished(&mut self, message: &Message<'_>) -> Result<(), Fault> {
        let mac = schedule::finished(&self.provider, self.algorithm(), &self.peer, &self.digest())?;
        if message.body.len() != mac.as_bytes().len() {
            return Err(Fault(&(Cause::DecodeError, "malformed Finished")));
        }
        if !mac.matches(message.body) {
            return Err(Fault(&(Cause::DecryptError, "Finished does not verify")));
        }
        self.transcript.add(message.whole);
        Ok(())
    }

    /// Takes the peer's certificates, at least one, and has the policy decide on them.
    pub(crate) fn on_certificate(
        &mut self,
        memory: &mut [u8],
        verifier: &dyn Verifier,
        message: &Message<'_>,
        presented: &Presented<'_, '_>,
    ) -> Poll<Result<Unproven<'a>, Fault>> {
        let spki = ready!(verifier.verify_identity(presented))?;
        let key_sha256 = self.sha256(spki);
        let identity = match presented.kind {
            CertificateType::X509 => {
                PeerIdentity::Certificate { sha256: self.sha256(presented.leaf()?), key_sha256 }
            }
            CertificateType::RawPublicKey => PeerIdentity::RawPublicKey { key_sha256 },
        };
        self.transcript.add(message.whole);
        let spki = self.flight.store(memory, |_, out| out.bytes(spki))?;
        Poll::Ready(Ok(Unproven { spki, identity }))
    }

    fn sha256(&self, bytes: &[u8]) -> [u8; 32] {
        let mut hash = self.provider.hash(HashAlgorithm::Sha256);
        hash.update(bytes);
        hash.finish().as_bytes().first_chunk().copied().unwrap_or_default()
    }

    /// Takes the peer's proof that it holds the key of its certificate.
    pub(crate) fn on_certificate_verify(
        &mut self,
        memory: &[u8],
        verifier: &dyn Verifier,
        message: &Message<'_>,
        unproven: &Unproven<'a>,
    ) -> Poll<Result<(), Fault>> {
        let (scheme, signature) = certificate_verify::parse(message.body)?;
        if !verifier.schemes().contains(&scheme) {
            return Poll::Ready(Err(Fault(&(
                Cause::IllegalParameter,
                "a signature scheme that was not offered",
            ))));
        }
        let signed = certificate_verify::signed(self.side.peer(), &self.digest())?;
        ready!(verifier.verify_signature(scheme, unproven.spki.of(memory), &signed, signature))?;
        self.agreed.identity = Some(unproven.identity);
        self.transcript.add(message.whole);
        Poll::Ready(Ok(()))
    }
}
