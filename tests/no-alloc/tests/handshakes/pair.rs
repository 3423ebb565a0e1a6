//! A client endpoint and a server endpoint over our TLS, all memory of which is there before they begin, and what they
//! say to each other: a handshake, streams of all kinds, datagrams, a key update, a close, on a network that loses.

use std::convert::Infallible;
use std::net::SocketAddr;

use peregrine_core::connection::{Config, Event, Storage};
use peregrine_core::endpoint::{Connect, Endpoint, EndpointConfig, Handle, Handled, RetryPolicy, Slots};
use peregrine_core::ids::{Dir, Ecn, FourTuple, StreamId};
use peregrine_core::stream::{Read, StreamEvent};
use peregrine_core::time::Instant;
use peregrine_crypto::endpoint::EndpointKeys;
use peregrine_crypto::rustcrypto::RustCrypto;
use peregrine_crypto::tls::{ClientConfig, ClientSession, ServerConfig, ServerSession};
use peregrine_tests::rng::Rng;
use rand_core::{TryCryptoRng, TryRng};

/// Memory of one connection.
pub(crate) type Memory = Storage<1, 4, 64, 4608, 4096, 2048>;
type Client<'a> = ClientSession<'a, Provider, &'a mut [u8]>;
type Server<'a> = ServerSession<'a, Provider, &'a mut [u8]>;
type Side<'a, S> = Endpoint<Slots<&'a mut Memory, S, 2>, EndpointKeys<Provider>>;
type Provider = RustCrypto<Predictable>;

/// A generator that anybody can predict.
pub(crate) struct Predictable(Rng);

impl TryRng for Predictable {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u64() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Predictable {}

fn provider(seed: u64) -> Provider {
    RustCrypto::new(Predictable(Rng::new(seed)))
}

/// 2026-11-21, for the validity of certificates.
const UNIX_TIME: u64 = 1_795_219_200;
/// Bytes lent to each side for its handshake.
const SCRATCH: usize = 8192;
/// Bytes sent on each stream.
const BYTES: u64 = 40_000;
/// Room for a batch of two datagrams.
const BUFFER: usize = 3000;
/// Every so many datagrams one is lost.
const LOSE_EVERY: u64 = 13;

/// What both endpoints are lent.
pub(crate) struct Room {
    memory: [Memory; 2],
    scratch: [[u8; SCRATCH]; 2],
}

impl Room {
    /// On the heap: it is larger than a test's stack should hold.
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self { memory: [const { Memory::new() }; 2], scratch: [[0xa5; SCRATCH]; 2] })
    }
}

/// Streams that a client opens: two that the server answers with what it reads, one that it reads to its end.
#[derive(Clone, Copy, Default)]
struct Transfer {
    id: Option<StreamId>,
    sent: u64,
    received: u64,
    finished: bool,
}

const DIRS: [Dir; 3] = [Dir::Bi, Dir::Bi, Dir::Uni];

/// Two endpoints and the time.
pub(crate) struct Pair<'a> {
    now: Instant,
    client: Side<'a, Client<'a>>,
    server: Side<'a, Server<'a>>,
    /// What the server's next connection is lent.
    lent: Option<(&'a mut Memory, &'a mut [u8])>,
    server_config: &'a ServerConfig<'a>,
    pub(crate) on_client: Handle,
    pub(crate) on_server: Option<Handle>,
    transfers: [Transfer; 3],
    datagrams: u64,
    pub(crate) is_confirmed: bool,
    pub(crate) is_drained: bool,
}

impl<'a> Pair<'a> {
    /// A client that has begun to connect.
    pub(crate) fn new(
        room: &'a mut Room,
        client_config: &'a ClientConfig<'a>,
        server_config: &'a ServerConfig<'a>,
        retry: RetryPolicy,
    ) -> Self {
        let [client_memory, server_memory] = &mut room.memory;
        let [client_scratch, server_scratch] = &mut room.scratch;
        let connection = Config { peer_bidi_streams: 2, peer_uni_streams: 1, ..Config::default() };
        let config = EndpointConfig { connection, ..EndpointConfig::default() };
        let crypto = |seed| EndpointKeys::new(provider(seed), &[seed as u8; 32]).unwrap();
        let mut client = Endpoint::new(EndpointConfig::default(), Slots::new(), crypto(1));
        let server = Endpoint::new(EndpointConfig { server: true, retry, ..config }, Slots::new(), crypto(2));
        let session =
            ClientSession::new(client_config, provider(3), &mut client_scratch[..], Some(UNIX_TIME));
        let now = Instant::from_micros(1_000_000);
        let connect = Connect { on: from_client(), token: &[] };
        let on_client = client.connect(now, connect, client_memory, session).unwrap();
        Self {
            now,
            client,
            server,
            lent: Some((server_memory, &mut server_scratch[..])),
            server_config,
            on_client,
            on_server: None,
            transfers: Default::default(),
            datagrams: 0,
            is_confirmed: false,
            is_drained: false,
        }
    }

    /// Lets time pass until `done`.
    pub(crate) fn run(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            while self.carry() {}
            if done(self) {
                return;
            }
            let next = self.client.next_timeout().min(self.server.next_timeout());
            self.now = next.instant().expect("nothing is ever to happen again").max(self.now);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        panic!("it takes too long");
    }

    /// Whether every stream came to its end.
    pub(crate) fn is_transferred(&self) -> bool {
        self.transfers.iter().all(|transfer| transfer.finished)
    }

    pub(crate) fn client(&mut self) -> &mut Side<'a, Client<'a>> {
        &mut self.client
    }

    pub(crate) fn server(&mut self) -> &mut Side<'a, Server<'a>> {
        &mut self.server
    }

    /// Hands `datagram` of the client to the server; returns the length of a reply that needs no connection.
    pub(crate) fn intrude(&mut self, datagram: &mut [u8]) -> Option<usize> {
        match self.server.handle_datagram(self.now, to_server(), Ecn::NotEct, datagram) {
            Handled::Reply(len) => Some(len),
            _ => None,
        }
    }

    pub(crate) fn close(&mut self) {
        let now = self.now;
        self.client.connection_mut(self.on_client).unwrap().close(now, 7, "done");
    }

    /// Carries what either side has to send, if anything.
    fn carry(&mut self) -> bool {
        let mut buffer = [0; BUFFER];
        let any = self.carry_up(&mut buffer) | self.carry_down(&mut buffer);
        self.on_client_events();
        self.on_server_events();
        any
    }

    fn carry_up(&mut self, buffer: &mut [u8]) -> bool {
        let Some((_, transmit)) = self.client.poll_transmit(self.now, buffer) else { return false };
        for datagram in buffer[..transmit.len].chunks_mut(transmit.segment_size.unwrap_or(transmit.len)) {
            if self.is_lost() {
                continue;
            }
            match self.server.handle_datagram(self.now, to_server(), transmit.ecn, datagram) {
                Handled::Reply(len) => {
                    self.client.handle_datagram(self.now, from_client(), Ecn::NotEct, &mut datagram[..len]);
                }
                Handled::Incoming(incoming) => {
                    let (memory, scratch) = self.lent.take().expect("one client only");
                    let session =
                        ServerSession::new(self.server_config, provider(4), scratch, Some(UNIX_TIME));
                    self.on_server =
                        Some(self.server.accept(self.now, incoming, datagram, memory, session).unwrap());
                }
                Handled::Connection(_) | Handled::Ignored(_) => {}
            }
        }
        true
    }

    fn carry_down(&mut self, buffer: &mut [u8]) -> bool {
        let Some((_, transmit)) = self.server.poll_transmit(self.now, buffer) else { return false };
        for datagram in buffer[..transmit.len].chunks_mut(transmit.segment_size.unwrap_or(transmit.len)) {
            if !self.is_lost() {
                self.client.handle_datagram(self.now, from_client(), transmit.ecn, datagram);
            }
        }
        true
    }

    fn is_lost(&mut self) -> bool {
        self.datagrams += 1;
        self.datagrams.is_multiple_of(LOSE_EVERY)
    }

    fn on_client_events(&mut self) {
        while let Some((handle, event)) = self.client.poll_event() {
            let connection = self.client.connection_mut(handle).unwrap();
            match event {
                Event::Connected => {
                    for (transfer, dir) in self.transfers.iter_mut().zip(DIRS) {
                        transfer.id = Some(connection.open(dir).unwrap());
                    }
                }
                Event::Confirmed => {
                    self.is_confirmed = true;
                    connection.update_keys();
                    connection.send_datagram(b"once").unwrap();
                }
                Event::Drained => self.is_drained = true,
                _ => {}
            }
            for transfer in &mut self.transfers {
                let Some(id) = transfer.id else { continue };
                write_pattern(transfer, |bytes| connection.write_stream(id, bytes).unwrap_or(0));
                if transfer.sent == BYTES {
                    connection.finish(id).ok();
                }
                if event == Event::Stream(StreamEvent::Finished(id)) && id.dir() == Dir::Uni {
                    transfer.finished = true;
                }
                let mut bytes = [0; 1000];
                while let Ok(Read::Bytes(len)) = connection.read_stream(id, &mut bytes) {
                    for byte in &bytes[..len] {
                        assert_eq!(*byte, pattern(transfer.received));
                        transfer.received += 1;
                    }
                    transfer.finished |= transfer.received == BYTES;
                }
            }
        }
    }

    /// The server answers with what it reads.
    fn on_server_events(&mut self) {
        while let Some((handle, event)) = self.server.poll_event() {
            let connection = self.server.connection_mut(handle).unwrap();
            match event {
                Event::Stream(StreamEvent::Opened(dir)) => while connection.accept(dir).is_some() {},
                Event::Stream(StreamEvent::Readable(id) | StreamEvent::Writable(id)) => {
                    echo(connection, id);
                }
                Event::Datagram => {
                    let mut bytes = [0; 16];
                    assert_eq!(connection.recv_datagram(&mut bytes), Some(4));
                }
                _ => {}
            }
        }
    }
}

type ServerConnection<'c, 'a> = &'c mut peregrine_core::connection::Connection<&'a mut Memory, Server<'a>>;

fn echo(connection: ServerConnection<'_, '_>, id: StreamId) {
    let mut bytes = [0; 1000];
    loop {
        let copy = |first: &[u8], _: &[u8]| {
            let len = first.len().min(bytes.len());
            bytes[..len].copy_from_slice(&first[..len]);
            len
        };
        match connection.peek_stream(id, copy) {
            Ok(0) => match connection.read_stream(id, &mut []) {
                Ok(Read::Finished) => return connection.finish(id).unwrap_or(()),
                _ => return,
            },
            Ok(len) => {
                let len = match id.dir() {
                    Dir::Bi => connection.write_stream(id, &bytes[..len]).unwrap_or(0),
                    Dir::Uni => len,
                };
                connection.consume_stream(id, len).unwrap();
                if len == 0 {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

fn write_pattern(transfer: &mut Transfer, mut write: impl FnMut(&[u8]) -> usize) {
    let mut bytes = [0; 1000];
    while transfer.sent < BYTES {
        let len = (BYTES - transfer.sent).min(1000) as usize;
        for (byte, offset) in bytes[..len].iter_mut().zip(transfer.sent..) {
            *byte = pattern(offset);
        }
        let taken = write(&bytes[..len]);
        transfer.sent += taken as u64;
        if taken < len {
            return;
        }
    }
}

const fn pattern(offset: u64) -> u8 {
    (offset ^ offset >> 8) as u8
}

fn from_client() -> FourTuple {
    FourTuple { local: address(1, 40_000), remote: address(2, 4433), interface: 1 }
}

fn to_server() -> FourTuple {
    FourTuple { local: address(2, 4433), remote: address(1, 40_000), interface: 1 }
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}
