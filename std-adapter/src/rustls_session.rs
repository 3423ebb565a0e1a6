//! A [`Session`] over rustls: its TLS and its packet protection in the place of Peregrine's own.
//!
//! rustls counts in "bytes since I was last asked", QUIC in levels and offsets; the translation is all there is here.
//! Keys and CRYPTO bytes come mixed out of rustls: it is emptied after every message read, or bytes of the next level
//! would be taken for the present one's.
//!
//! Implements RFC 9001 sections 4 to 6 as far as they are the session's; does not: 0-RTT, versions other than 1.

use std::collections::VecDeque;
use std::sync::Arc;

use peregrine_core::error::TransportError;
use peregrine_core::ids::PathId;
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{AeadLimits, Key, KeyError, Level, Session, SessionEvent};
use peregrine_crypto::provider::Suite;
use peregrine_crypto::verify::pin::spki_hash;
use peregrine_crypto::verify::{CertificateType, Presented};
use peregrine_crypto::{initial, retry};
use rustls::client::ClientConfig;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::{CryptoProvider, SecureRandom};
use rustls::pki_types::ServerName;
use rustls::quic::{
    ClientConnection, Connection, DirectionalKeys, HeaderProtectionKey, KeyChange, Keys, PacketKey,
    PacketKeySet, Secrets, ServerConnection, Version,
};
use rustls::server::ServerConfig;
use rustls::{Side, SupportedCipherSuite};

use crate::provider_aws::AwsLc;
use crate::session::{Agreed, HostSession, suite_name};

mod errors;

/// TLS and packet protection of one connection, by rustls.
pub struct RustlsSession {
    role: Role,
    random: &'static dyn SecureRandom,
    tls: Option<Connection>,
    flights: [Flight; 3],
    /// The level that TLS reads at.
    reading: Level,
    /// The level that TLS writes at.
    writing: Level,
    initial: Option<Keys>,
    handshake: Option<Keys>,
    one_rtt: Option<OneRtt>,
    events: VecDeque<SessionEvent>,
    params_told: bool,
}

enum Role {
    Client(Arc<ClientConfig>, ServerName<'static>),
    Server(Arc<ServerConfig>),
}

/// CRYPTO bytes of one level, from the first that the peer may not have.
#[derive(Default)]
struct Flight {
    start: u64,
    bytes: Vec<u8>,
}

struct OneRtt {
    generation: u32,
    send: Box<dyn PacketKey>,
    send_header: Box<dyn HeaderProtectionKey>,
    receive_header: Box<dyn HeaderProtectionKey>,
    previous: Option<Box<dyn PacketKey>>,
    current: Box<dyn PacketKey>,
    next: PacketKeySet,
    secrets: Secrets,
}

impl RustlsSession {
    /// A client that expects a server of this name. ALPN, roots and so on are the configuration's.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        let random = random_of(config.crypto_provider());
        Self::new(Role::Client(config, name), random)
    }

    /// A server.
    pub fn server(config: Arc<ServerConfig>) -> Self {
        let random = random_of(config.crypto_provider());
        Self::new(Role::Server(config), random)
    }

    fn new(role: Role, random: &'static dyn SecureRandom) -> Self {
        Self {
            role,
            random,
            tls: None,
            flights: Default::default(),
            reading: Level::Initial,
            writing: Level::Initial,
            initial: None,
            handshake: None,
            one_rtt: None,
            events: VecDeque::new(),
            params_told: false,
        }
    }

    /// Takes everything out of rustls.
    fn pump(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        if !self.params_told && tls.quic_transport_parameters().is_some() {
            self.params_told = true;
            self.events.push_back(SessionEvent::PeerParams);
        }
        loop {
            let flight = match self.writing {
                Level::Initial => &mut self.flights[0],
                Level::Handshake => &mut self.flights[1],
                Level::ZeroRtt | Level::OneRtt => &mut self.flights[2],
            };
            match tls.write_hs(&mut flight.bytes) {
                Some(KeyChange::Handshake { keys }) => {
                    self.handshake = Some(keys);
                    (self.reading, self.writing) = (Level::Handshake, Level::Handshake);
                    self.events.push_back(SessionEvent::Keys(Level::Handshake));
                }
                Some(KeyChange::OneRtt { keys, next }) => {
                    self.one_rtt = Some(OneRtt::new(keys, next));
                    self.writing = Level::OneRtt;
                    self.events.push_back(SessionEvent::Keys(Level::OneRtt));
                }
                None => break,
            }
        }
        if self.reading == Level::Handshake && !tls.is_handshaking() {
            self.reading = Level::OneRtt;
            self.events.push_back(SessionEvent::Complete);
        }
    }

    fn flight(&self, level: Level) -> Option<&Flight> {
        index(level).map(|index| &self.flights[index])
    }

    fn directional(
        &self,
        level: Level,
        pick: impl Fn(&Keys) -> &DirectionalKeys,
    ) -> Option<&DirectionalKeys> {
        match level {
            Level::Initial => self.initial.as_ref().map(pick),
            Level::Handshake => self.handshake.as_ref().map(pick),
            Level::ZeroRtt | Level::OneRtt => None,
        }
    }

    fn send_key(&self, key: Key) -> Option<&dyn PacketKey> {
        match (key.level, &self.one_rtt) {
            (Level::OneRtt, Some(one_rtt)) => {
                (key.generation == one_rtt.generation).then_some(&*one_rtt.send)
            }
            (level, _) => self.directional(level, |keys| &keys.local).map(|keys| &*keys.packet),
        }
    }

    fn receive_key(&self, key: Key) -> Option<&dyn PacketKey> {
        match (key.level, &self.one_rtt) {
            (Level::OneRtt, Some(one_rtt)) => one_rtt.receive_key(key.generation),
            (level, _) => self.directional(level, |keys| &keys.remote).map(|keys| &*keys.packet),
        }
    }

    fn send_header_key(&self, level: Level) -> Option<&dyn HeaderProtectionKey> {
        match (level, &self.one_rtt) {
            (Level::OneRtt, Some(one_rtt)) => Some(&*one_rtt.send_header),
            _ => self.directional(level, |keys| &keys.local).map(|keys| &*keys.header),
        }
    }

    fn receive_header_key(&self, level: Level) -> Option<&dyn HeaderProtectionKey> {
        match (level, &self.one_rtt) {
            (Level::OneRtt, Some(one_rtt)) => Some(&*one_rtt.receive_header),
            _ => self.directional(level, |keys| &keys.remote).map(|keys| &*keys.header),
        }
    }
}

impl OneRtt {
    fn new(keys: Keys, mut secrets: Secrets) -> Self {
        Self {
            generation: 0,
            send: keys.local.packet,
            send_header: keys.local.header,
            receive_header: keys.remote.header,
            previous: None,
            current: keys.remote.packet,
            next: secrets.next_packet_keys(),
            secrets,
        }
    }

    fn receive_key(&self, generation: u32) -> Option<&dyn PacketKey> {
        match generation.wrapping_sub(self.generation) {
            0 => Some(&*self.current),
            1 => Some(&*self.next.remote),
            u32::MAX => self.previous.as_deref(),
            _ => None,
        }
    }

    fn update(&mut self) {
        let after = self.secrets.next_packet_keys();
        let next = std::mem::replace(&mut self.next, after);
        self.generation = self.generation.wrapping_add(1);
        self.send = next.local;
        self.previous = Some(std::mem::replace(&mut self.current, next.remote));
    }
}

impl Session for RustlsSession {
    fn start(&mut self, params: &[u8]) -> Result<(), TransportError> {
        let params = params.to_vec();
        let started = match &self.role {
            Role::Client(config, name) => {
                ClientConnection::new(Arc::clone(config), Version::V1, name.clone(), params)
                    .map(Connection::from)
            }
            Role::Server(config) => {
                ServerConnection::new(Arc::clone(config), Version::V1, params).map(|mut tls| {
                    // Whatever the configuration says: no 0-RTT keys are offered here.
                    tls.reject_early_data();
                    Connection::from(tls)
                })
            }
        };
        self.tls = Some(started.map_err(|error| errors::from_rustls(&error, None))?);
        self.pump();
        Ok(())
    }

    fn read_crypto(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError> {
        let tls = self.tls.as_mut().ok_or(TransportError::internal("the TLS session was not started"))?;
        if level != self.reading {
            return Err(errors::WRONG_LEVEL);
        }
        tls.read_hs(bytes).map_err(|error| errors::from_rustls(&error, tls.alert()))?;
        self.pump();
        Ok(())
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    fn crypto_len(&self, level: Level) -> u64 {
        self.flight(level).map_or(0, |flight| flight.start + flight.bytes.len() as u64)
    }

    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize {
        let from = self.flight(level).and_then(|flight| {
            let skip = usize::try_from(offset.checked_sub(flight.start)?).ok()?;
            flight.bytes.get(skip..)
        });
        let from = from.unwrap_or_default();
        let len = from.len().min(out.len());
        out[..len].copy_from_slice(&from[..len]);
        len
    }

    fn crypto_acked(&mut self, level: Level, upto: u64) {
        if let Some(flight) = index(level).map(|index| &mut self.flights[index]) {
            let acked = usize::try_from(upto.saturating_sub(flight.start)).unwrap_or(usize::MAX);
            let acked = acked.min(flight.bytes.len());
            flight.bytes.drain(..acked);
            flight.start += acked as u64;
        }
    }

    fn peer_params(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.quic_transport_parameters()
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.alpn_protocol()
    }

    fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
        let tls = self.tls.as_ref().ok_or(KeyError::Missing)?;
        tls.export_keying_material(out, label, Some(context)).map(|_| ()).map_err(|_| KeyError::Missing)
    }

    fn set_initial_keys(&mut self, version: u32, dcid: &[u8]) {
        let side = match self.role {
            Role::Client(..) => Side::Client,
            Role::Server(..) => Side::Server,
        };
        self.initial = match &TLS13_AES_128_GCM_SHA256 {
            SupportedCipherSuite::Tls13(suite) if version == initial::V1.number => {
                suite.quic_suite().map(|suite| suite.keys(dcid, side, Version::V1))
            }
            _ => None,
        };
    }

    fn verify_retry(&self, version: u32, original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        version == initial::V1.number && retry::verify(&AwsLc, &initial::V1, original_dcid, retry, tag)
    }

    fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        let key = self.send_key(key).ok_or(KeyError::Missing)?;
        let (plain, tag) = payload
            .len()
            .checked_sub(TAG_LEN)
            .and_then(|len| payload.split_at_mut_checked(len))
            .ok_or(KeyError::Forged)?;
        let sealed = match path {
            PathId::ZERO => key.encrypt_in_place(pn, header, plain),
            PathId(path) => key.encrypt_in_place_for_path(path, pn, header, plain),
        };
        tag.copy_from_slice(sealed.map_err(|_| KeyError::Forged)?.as_ref());
        Ok(())
    }

    fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        let key = self.receive_key(key).ok_or(KeyError::Missing)?;
        let opened = match path {
            PathId::ZERO => key.decrypt_in_place(pn, header, payload),
            PathId(path) => key.decrypt_in_place_for_path(path, pn, header, payload),
        };
        opened.map(<[u8]>::len).map_err(|_| KeyError::Forged)
    }

    fn protect(&mut self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        let done = self.send_header_key(level).map(|key| key.encrypt_in_place(sample, first, pn));
        debug_assert!(matches!(done, Some(Ok(()))), "header protection needs a key and at most four bytes");
    }

    fn unprotect(
        &mut self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool {
        self.receive_header_key(level).is_some_and(|key| key.decrypt_in_place(sample, first, pn).is_ok())
    }

    fn limits(&self, level: Level) -> AeadLimits {
        // Without a key nothing is sealed or opened, so nothing counts against these limits.
        self.send_key(Key { level, generation: self.one_rtt.as_ref().map_or(0, |keys| keys.generation) })
            .map_or(AeadLimits { confidentiality: u64::MAX, integrity: u64::MAX }, |key| AeadLimits {
                confidentiality: key.confidentiality_limit(),
                integrity: key.integrity_limit(),
            })
    }

    fn update_keys(&mut self) {
        if let Some(one_rtt) = &mut self.one_rtt {
            one_rtt.update();
        }
    }

    fn retire_keys(&mut self) {
        if let Some(one_rtt) = &mut self.one_rtt {
            one_rtt.previous = None;
        }
    }

    fn discard(&mut self, level: Level) {
        match level {
            Level::Initial => self.initial = None,
            Level::Handshake => self.handshake = None,
            Level::OneRtt => self.one_rtt = None,
            Level::ZeroRtt => {}
        }
        self.crypto_acked(level, u64::MAX);
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        // Going on with predictable bytes would be worse than ending the program.
        self.random.fill(out).expect("the system gives random bytes");
    }
}

impl HostSession for RustlsSession {
    fn session(&self) -> &dyn Session {
        self
    }

    fn session_mut(&mut self) -> &mut dyn Session {
        self
    }

    fn agreed(&self) -> Agreed {
        let Some(tls) = &self.tls else { return Agreed::default() };
        let shown = tls.peer_certificates().and_then(<[_]>::first);
        let server_name = match tls {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        Agreed {
            suite: tls
                .negotiated_cipher_suite()
                .and_then(|suite| Suite::from_u16(suite.suite().into()))
                .map(suite_name),
            group: tls.negotiated_key_exchange_group().and_then(|group| group.name().as_str()),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            server_name,
            peer_key: shown.and_then(|shown| key_hash(shown)),
            psk: None,
        }
    }
}

/// The hash of the public key in a certificate, or of a raw public key.
fn key_hash(shown: &[u8]) -> Option<[u8; 32]> {
    [CertificateType::X509, CertificateType::RawPublicKey].into_iter().find_map(|kind| {
        let entries = &[shown];
        let shown =
            Presented { kind, entries, peer: peregrine_core::ids::Side::Server, name: None, unix_time: None };
        shown.spki().ok().map(spki_hash)
    })
}

fn random_of(provider: &CryptoProvider) -> &'static dyn SecureRandom {
    provider.secure_random
}

const fn index(level: Level) -> Option<usize> {
    match level {
        Level::Initial => Some(0),
        Level::Handshake => Some(1),
        Level::OneRtt => Some(2),
        Level::ZeroRtt => None,
    }
}

#[cfg(test)]
mod tests;
