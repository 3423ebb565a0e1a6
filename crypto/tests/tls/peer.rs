//! rustls as a session of ours, so that the two can talk.

use std::sync::Arc;

use peregrine_core::error::TransportError;
use peregrine_core::ids::PathId;
use peregrine_core::session::{AeadLimits, Key, KeyError, Level, Session, SessionEvent};
use rustls::crypto::{ActiveKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup, ring};
use rustls::quic::{ClientConnection, Connection, KeyChange, Keys, ServerConnection, Version};
use rustls::{ClientConfig, Error, NamedGroup, ServerConfig};

use crate::pki::NAME;
use crate::wire::{CLIENT_PARAMS, LEVELS, SERVER_PARAMS};

pub(crate) struct Peer {
    conn: Connection,
    out: [Vec<u8>; 3],
    keys: [Option<Keys>; 3],
    level: usize,
    pub(crate) error: Option<Error>,
}

impl Peer {
    pub(crate) fn client(config: ClientConfig) -> Self {
        let name = NAME.try_into().unwrap();
        let conn =
            ClientConnection::new(Arc::new(config), Version::V1, name, CLIENT_PARAMS.to_vec()).unwrap();
        Self::new(conn.into())
    }

    pub(crate) fn server(config: ServerConfig) -> Self {
        let conn = ServerConnection::new(Arc::new(config), Version::V1, SERVER_PARAMS.to_vec()).unwrap();
        Self::new(conn.into())
    }

    fn new(conn: Connection) -> Self {
        let mut peer =
            Self { conn, out: Default::default(), keys: [const { None }; 3], level: 0, error: None };
        peer.flush();
        peer
    }

    /// The keys change between two messages, so this follows every read.
    fn flush(&mut self) {
        loop {
            let before = self.out[self.level].len();
            match self.conn.write_hs(&mut self.out[self.level]) {
                Some(KeyChange::Handshake { keys }) => {
                    self.level = 1;
                    self.keys[1] = Some(keys);
                }
                Some(KeyChange::OneRtt { keys, .. }) => {
                    self.level = 2;
                    self.keys[2] = Some(keys);
                }
                None if self.out[self.level].len() == before => return,
                None => {}
            }
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        match &self.conn {
            Connection::Client(conn) => !conn.is_handshaking(),
            Connection::Server(conn) => !conn.is_handshaking(),
        }
    }

    fn keys(&self, level: Level) -> Option<&Keys> {
        self.keys[place(level)].as_ref()
    }
}

fn place(level: Level) -> usize {
    LEVELS.iter().position(|each| *each == level).unwrap()
}

impl Session for Peer {
    fn start(&mut self, _: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }

    fn read_crypto(&mut self, _: Level, bytes: &[u8]) -> Result<(), TransportError> {
        let read = self.conn.read_hs(bytes);
        self.flush();
        read.map_err(|error| {
            let alert = self.conn.alert().map_or(0, u8::from);
            self.error = Some(error);
            TransportError::alert(alert, "rustls")
        })
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        None
    }

    fn crypto_len(&self, level: Level) -> u64 {
        self.out[place(level)].len() as u64
    }

    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize {
        let bytes = &self.out[place(level)][offset as usize..];
        let len = bytes.len().min(out.len());
        out[..len].copy_from_slice(&bytes[..len]);
        len
    }

    fn crypto_acked(&mut self, _: Level, _: u64) {}

    fn peer_params(&self) -> Option<&[u8]> {
        self.conn.quic_transport_parameters()
    }

    fn alpn(&self) -> Option<&[u8]> {
        match &self.conn {
            Connection::Client(conn) => conn.alpn_protocol(),
            Connection::Server(conn) => conn.alpn_protocol(),
        }
    }

    fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
        let exported = self.conn.export_keying_material(vec![0; out.len()], label, Some(context));
        out.copy_from_slice(&exported.map_err(|_| KeyError::Missing)?);
        Ok(())
    }

    fn set_initial_keys(&mut self, _: u32, _: &[u8]) {}

    fn verify_retry(&self, _: u32, _: &[u8], _: &[u8], _: &[u8; 16]) -> bool {
        false
    }

    fn seal(
        &mut self,
        key: Key,
        _: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        let keys = self.keys(key.level).ok_or(KeyError::Missing)?;
        let (plain, place) = payload.split_at_mut(payload.len() - 16);
        let tag = keys.local.packet.encrypt_in_place(pn, header, plain).map_err(|_| KeyError::Forged)?;
        place.copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(
        &mut self,
        key: Key,
        _: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        let keys = self.keys(key.level).ok_or(KeyError::Missing)?;
        let plain = keys.remote.packet.decrypt_in_place(pn, header, payload);
        plain.map(<[u8]>::len).map_err(|_| KeyError::Forged)
    }

    fn protect(&mut self, level: Level, sample: &[u8; 16], first: &mut u8, pn: &mut [u8]) {
        self.keys(level).unwrap().local.header.encrypt_in_place(sample, first, pn).unwrap();
    }

    fn unprotect(&mut self, level: Level, sample: &[u8; 16], first: &mut u8, pn: &mut [u8; 4]) -> bool {
        let Some(keys) = self.keys(level) else { return false };
        keys.remote.header.decrypt_in_place(sample, first, pn).is_ok()
    }

    fn limits(&self, _: Level) -> AeadLimits {
        AeadLimits { confidentiality: 0, integrity: 0 }
    }

    fn update_keys(&mut self) {}

    fn retire_keys(&mut self) {}

    fn discard(&mut self, _: Level) {}

    fn fill_random(&mut self, _: &mut [u8]) {}
}

/// A group that looks like X25519MLKEM768: it only fills a ClientHello, nobody here can agree on it.
#[derive(Debug)]
pub(crate) struct Hybrid {
    /// Whether a share of X25519 goes with it.
    pub(crate) with_x25519: bool,
}

struct HybridShare {
    public: [u8; 1216],
    x25519: Option<Box<dyn ActiveKeyExchange>>,
}

impl SupportedKxGroup for Hybrid {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let x25519 = self.with_x25519.then(|| ring::kx_group::X25519.start()).transpose()?;
        Ok(Box::new(HybridShare { public: [0x5a; 1216], x25519 }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

impl ActiveKeyExchange for HybridShare {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Err(Error::General("nobody can agree on this".into()))
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((NamedGroup::X25519, self.x25519.as_ref()?.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        self.x25519.unwrap().complete(peer)
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

pub(crate) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// A provider with one suite and these groups.
pub(crate) fn provider_with(suite: u16, groups: Vec<&'static dyn SupportedKxGroup>) -> Arc<CryptoProvider> {
    let mut provider = provider();
    provider.cipher_suites.retain(|each| u16::from(each.suite()) == suite);
    provider.kx_groups = groups;
    Arc::new(provider)
}

/// Both have the same keys and agree on the rest.
pub(crate) fn assert_agreed(client: &mut dyn Session, server: &mut dyn Session) {
    assert_eq!(client.peer_params(), Some(SERVER_PARAMS));
    assert_eq!(server.peer_params(), Some(CLIENT_PARAMS));
    assert_eq!(client.alpn(), server.alpn());
    let (mut ours, mut theirs) = ([0; 50], [0; 50]);
    client.export(b"label", b"context", &mut ours).unwrap();
    server.export(b"label", b"context", &mut theirs).unwrap();
    assert_eq!(ours, theirs);
    for level in [Level::Handshake, Level::OneRtt] {
        crate::wire::assert_same_keys(client, server, level);
    }
}
