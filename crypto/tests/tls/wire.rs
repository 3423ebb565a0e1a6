//! What the TLS tests share: a predictable provider, and a wire between two sessions.

use std::convert::Infallible;

use peregrine_core::error::TransportError;
use peregrine_core::session::{Level, Session, SessionEvent};
use peregrine_crypto::rustcrypto::RustCrypto;
use peregrine_crypto::tls::{ClientConfig, ClientSession, Role, ServerConfig, ServerSession, TlsSession};
use rand_core::{TryCryptoRng, TryRng};

/// A generator that anybody can predict.
pub(crate) struct TestRng(pub(crate) u64);

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = self.try_next_u64()? as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

pub(crate) type Provider = RustCrypto<TestRng>;
pub(crate) type Client<'a> = ClientSession<'a, Provider, Vec<u8>>;
pub(crate) type Server<'a> = ServerSession<'a, Provider, Vec<u8>>;

/// 2026-11-21.
pub(crate) const NOW: u64 = 1_795_219_200;
pub(crate) const CLIENT_PARAMS: &[u8] = b"parameters of the client";
pub(crate) const SERVER_PARAMS: &[u8] = b"parameters of the server";
/// Levels that carry TLS messages.
pub(crate) const LEVELS: [Level; 3] = [Level::Initial, Level::Handshake, Level::OneRtt];
/// Memory lent for a handshake.
pub(crate) const SCRATCH: usize = 4096;

pub(crate) fn provider(seed: u64) -> Provider {
    RustCrypto::new(TestRng(seed))
}

/// A client that has begun.
pub(crate) fn client<'a>(config: &'a ClientConfig<'a>) -> Client<'a> {
    let mut client = ClientSession::new(config, provider(1), vec![0; SCRATCH], Some(NOW));
    client.start(CLIENT_PARAMS).unwrap();
    client
}

/// A server that has begun.
pub(crate) fn server<'a>(config: &'a ServerConfig<'a>) -> Server<'a> {
    let mut server = ServerSession::new(config, provider(2), vec![0; SCRATCH], Some(NOW));
    server.start(SERVER_PARAMS).unwrap();
    server
}

/// All CRYPTO bytes of a level from `offset` on.
pub(crate) fn said(session: &dyn Session, level: Level, offset: u64) -> Vec<u8> {
    let mut bytes = vec![0; (session.crypto_len(level) - offset) as usize];
    assert_eq!(session.copy_crypto(level, offset, &mut bytes), bytes.len());
    bytes
}

/// Which side an error came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failed {
    Client(TransportError),
    Server(TransportError),
}

impl Failed {
    pub(crate) fn alert(self) -> u8 {
        let (Self::Client(error) | Self::Server(error)) = self;
        error.code().alert().unwrap_or_else(|| panic!("not an alert: {error:?}"))
    }
}

/// Carries what `from` says to `to`, in pieces of `step` bytes; `sent` counts what was carried before. Returns
/// whether there was anything.
pub(crate) fn carry(
    from: &dyn Session,
    to: &mut dyn Session,
    sent: &mut [u64; 3],
    step: usize,
) -> Result<bool, TransportError> {
    let mut any = false;
    for (level, sent) in LEVELS.into_iter().zip(sent) {
        let bytes = said(from, level, *sent);
        *sent += bytes.len() as u64;
        for piece in bytes.chunks(step) {
            any = true;
            to.read_crypto(level, piece)?;
        }
    }
    Ok(any)
}

/// Lets both speak until neither has anything to say.
pub(crate) fn talk_in_pieces(
    client: &mut dyn Session,
    server: &mut dyn Session,
    step: usize,
) -> Result<(), Failed> {
    let (mut to_server, mut to_client) = ([0; 3], [0; 3]);
    loop {
        let up = carry(client, server, &mut to_server, step).map_err(Failed::Server)?;
        let down = carry(server, client, &mut to_client, step).map_err(Failed::Client)?;
        if !up && !down {
            return Ok(());
        }
    }
}

pub(crate) fn talk(client: &mut dyn Session, server: &mut dyn Session) -> Result<(), Failed> {
    talk_in_pieces(client, server, usize::MAX)
}

pub(crate) fn events(session: &mut dyn Session) -> Vec<SessionEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// Both sides have the same keys in both directions, at `level`.
pub(crate) fn assert_same_keys(client: &mut dyn Session, server: &mut dyn Session, level: Level) {
    use peregrine_core::ids::PathId;
    use peregrine_core::session::Key;
    fn one_way(from: &mut dyn Session, to: &mut dyn Session, level: Level) {
        let mut packet = *b"plaintext and sixteen more bytes for the tag";
        let key = Key::first(level);
        from.seal(key, PathId::ZERO, 7, b"header", &mut packet).unwrap();
        let len = to.open(key, PathId::ZERO, 7, b"header", &mut packet).unwrap();
        assert_eq!(&packet[..len], b"plaintext and sixteen more b");
        let (mut first, mut pn) = (0x43, [1, 2, 3, 4]);
        from.protect(level, &[9; 16], &mut first, &mut pn);
        assert!(to.unprotect(level, &[9; 16], &mut first, &mut pn));
        assert_eq!((first, pn), (0x43, [1, 2, 3, 4]));
    }
    one_way(client, server, level);
    one_way(server, client, level);
}

/// Both sides are done and agree on everything.
pub(crate) fn assert_complete<'a, 'b, P: peregrine_crypto::provider::Provider, C: Role<'a>, S: Role<'b>>(
    client: &mut TlsSession<'a, P, Vec<u8>, C>,
    server: &mut TlsSession<'b, P, Vec<u8>, S>,
) {
    use SessionEvent::{Complete, Keys, PeerParams};
    let keys = [Keys(Level::Handshake), Keys(Level::OneRtt)];
    assert_eq!(events(client), [PeerParams, keys[0], keys[1], Complete]);
    assert_eq!(events(server), [PeerParams, keys[0], keys[1], Complete]);
    assert_eq!(client.peer_params(), Some(SERVER_PARAMS));
    assert_eq!(server.peer_params(), Some(CLIENT_PARAMS));
    assert_eq!((client.suite(), client.group()), (server.suite(), server.group()));
    assert_eq!(client.alpn(), server.alpn());
    let (mut ours, mut theirs) = ([0; 50], [0; 50]);
    client.export(b"label", b"context", &mut ours).unwrap();
    server.export(b"label", b"context", &mut theirs).unwrap();
    assert_eq!(ours, theirs);
    assert_same_keys(client, server, Level::Handshake);
    assert_same_keys(client, server, Level::OneRtt);
    for session in [client as &mut dyn Session, server] {
        session.discard(Level::Initial);
        session.discard(Level::Handshake);
    }
    assert!(client.take_scratch().is_some() && server.take_scratch().is_some());
}
