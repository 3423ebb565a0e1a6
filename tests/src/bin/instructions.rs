//! Work to be counted by `tests/instructions.sh`: what core does per packet of a bulk transfer, and per datagram and timer
//! of an endpoint. Counted are the functions named `measured_…`, less what they spend in the session.
//!
//! instructions transfer STREAMS ACTIVE    on so many of so many open streams; prints the packets sent
//! instructions endpoint CONNECTIONS       a PING to one connection after another; prints how many

use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::connection::{Accepted, Config, Connection, Event, Opened, Transmit};
use peregrine_core::endpoint::{Endpoint, EndpointConfig, Handle, Handled, RetryPolicy};
use peregrine_core::error::TransportError;
use peregrine_core::ids::{Dir, Ecn, FourTuple, PathId, Side, StreamId};
use peregrine_core::limits::{RESET_TOKEN_LEN, SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{AeadLimits, Key, KeyError, Level, Session, SessionEvent};
use peregrine_core::stream::{Read, StreamEvent};
use peregrine_core::time::Instant;
use peregrine_core::wire::{Cid, version::V1};
use peregrine_tests::memory::{HeapMemory, HeapSlots, Sizes};
use peregrine_tests::null_session::{NullConfig, NullEndpointCrypto, NullSession};

/// A session whose functions can be told from core's in a profile, as none is ever part of another function.
struct Outside(NullSession);

impl Outside {
    fn new(side: Side, seed: u64) -> Self {
        Self(NullSession::new(side, &NullConfig::seeded(seed)))
    }
}

impl Session for Outside {
    #[inline(never)]
    fn start(&mut self, params: &[u8]) -> Result<(), TransportError> {
        self.0.start(params)
    }

    #[inline(never)]
    fn read_crypto(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError> {
        self.0.read_crypto(level, bytes)
    }

    #[inline(never)]
    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.0.poll_event()
    }

    #[inline(never)]
    fn crypto_len(&self, level: Level) -> u64 {
        self.0.crypto_len(level)
    }

    #[inline(never)]
    fn copy_crypto(&self, level: Level, offset: u64, out: &mut [u8]) -> usize {
        self.0.copy_crypto(level, offset, out)
    }

    #[inline(never)]
    fn crypto_acked(&mut self, level: Level, upto: u64) {
        self.0.crypto_acked(level, upto);
    }

    #[inline(never)]
    fn peer_params(&self) -> Option<&[u8]> {
        self.0.peer_params()
    }

    #[inline(never)]
    fn alpn(&self) -> Option<&[u8]> {
        self.0.alpn()
    }

    #[inline(never)]
    fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
        self.0.export(label, context, out)
    }

    #[inline(never)]
    fn set_initial_keys(&mut self, version: u32, dcid: &[u8]) {
        self.0.set_initial_keys(version, dcid);
    }

    #[inline(never)]
    fn verify_retry(&self, version: u32, original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        self.0.verify_retry(version, original_dcid, retry, tag)
    }

    #[inline(never)]
    fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        self.0.seal(key, path, pn, header, payload)
    }

    #[inline(never)]
    fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        self.0.open(key, path, pn, header, payload)
    }

    #[inline(never)]
    fn protect(&mut self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        self.0.protect(level, sample, first, pn);
    }

    #[inline(never)]
    fn unprotect(
        &mut self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool {
        self.0.unprotect(level, sample, first, pn)
    }

    #[inline(never)]
    fn limits(&self, level: Level) -> AeadLimits {
        self.0.limits(level)
    }

    #[inline(never)]
    fn update_keys(&mut self) {
        self.0.update_keys();
    }

    #[inline(never)]
    fn retire_keys(&mut self) {
        self.0.retire_keys();
    }

    #[inline(never)]
    fn discard(&mut self, level: Level) {
        self.0.discard(level);
    }

    #[inline(never)]
    fn fill_random(&mut self, out: &mut [u8]) {
        self.0.fill_random(out);
    }
}

type Peer = Connection<HeapMemory, Outside>;
type Server = Endpoint<HeapSlots<Outside>, NullEndpointCrypto>;

/// Datagrams do not grow, and nothing happens by itself for as long as a run takes.
fn config() -> Config {
    Config { max_mtu: 1200, max_idle_timeout: Duration::ZERO, grease: false, ..Config::default() }
}

fn on(local: SocketAddr, remote: SocketAddr) -> FourTuple {
    FourTuple { local, remote, interface: 1 }
}

fn client_address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 5000))
}

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4433))
}

fn client(number: u32, now: Instant, sizes: Sizes) -> Peer {
    let opened = Opened {
        on: on(client_address(number), server_address()),
        version: V1,
        scid: Cid::new(&(0xc000_0000_0000 + u64::from(number)).to_be_bytes()).unwrap(),
        dcid: Cid::new(&(0xd000_0000_0000 + u64::from(number)).to_be_bytes()).unwrap(),
        token: &[],
    };
    let session = Outside::new(Side::Client, number.into());
    Connection::client(now, &config(), &opened, HeapMemory::new(sizes), session).unwrap()
}

#[inline(never)]
fn measured_send(from: &mut Peer, now: Instant, out: &mut [u8]) -> Option<Transmit> {
    from.poll_transmit(now, out)
}

#[inline(never)]
fn measured_receive(to: &mut Peer, now: Instant, on: FourTuple, datagram: &mut [u8]) {
    to.handle_datagram(now, on, Ecn::NotEct, datagram);
}

#[inline(never)]
fn measured_acknowledge(from: &mut Peer, now: Instant, out: &mut [u8]) -> Option<Transmit> {
    from.poll_transmit(now, out)
}

#[inline(never)]
fn measured_acknowledged(to: &mut Peer, now: Instant, on: FourTuple, datagram: &mut [u8]) {
    to.handle_datagram(now, on, Ecn::NotEct, datagram);
}

#[inline(never)]
fn measured_write(from: &mut Peer, id: StreamId, bytes: &[u8]) -> usize {
    from.write_stream(id, bytes).unwrap()
}

#[inline(never)]
fn measured_read(to: &mut Peer, id: StreamId, out: &mut [u8]) -> Read {
    to.read_stream(id, out).unwrap()
}

/// A client and a server that have shaken hands.
fn pair(streams: usize) -> (Peer, Peer, Instant) {
    let mut now = Instant::from_micros(1_000_000);
    let sizes = Sizes { paths: 1, streams, sent: 1024, rx: 1, tx: 1, datagram: 0 };
    let mut sender = client(1, now, Sizes { tx: 65_536, ..sizes });
    let accepted = Accepted {
        on: on(server_address(), client_address(1)),
        version: V1,
        original_dcid: Cid::new(&0xd000_0000_0001_u64.to_be_bytes()).unwrap(),
        initial_dcid: Cid::new(&0xd000_0000_0001_u64.to_be_bytes()).unwrap(),
        retry_scid: None,
        peer_cid: Cid::new(&0xc000_0000_0001_u64.to_be_bytes()).unwrap(),
        scid: Cid::new(b"receiver").unwrap(),
        reset_token: [7; RESET_TOKEN_LEN],
        address_validated: true,
    };
    let config = Config { peer_uni_streams: u16::try_from(streams).unwrap(), ..config() };
    let memory = HeapMemory::new(Sizes { rx: 73_728, ..sizes });
    let mut receiver =
        Connection::server(now, &config, &accepted, memory, Outside::new(Side::Server, 2)).unwrap();
    let mut buffer = [0; 1200];
    for _ in 0..20 {
        while let Some(transmit) = sender.poll_transmit(now, &mut buffer) {
            receiver.handle_datagram(now, accepted.on, Ecn::NotEct, &mut buffer[..transmit.len]);
        }
        while let Some(transmit) = receiver.poll_transmit(now, &mut buffer) {
            let on = on(client_address(1), server_address());
            sender.handle_datagram(now, on, Ecn::NotEct, &mut buffer[..transmit.len]);
        }
        now = now.after(Duration::from_millis(10));
        sender.handle_timeout(now);
        receiver.handle_timeout(now);
    }
    assert!(sender.is_established() && receiver.is_established());
    (sender, receiver, now)
}

/// Both ends of a transfer, and whether what they do is counted.
struct Transfer {
    sender: Peer,
    receiver: Peer,
    now: Instant,
    counted: bool,
    sent: u64,
}

impl Transfer {
    fn write(&mut self, id: StreamId, bytes: &[u8]) {
        if self.counted {
            measured_write(&mut self.sender, id, bytes);
        } else {
            self.sender.write_stream(id, bytes).unwrap();
        }
    }

    fn send(&mut self) {
        let mut buffer = [0; 1200];
        loop {
            let transmit = if self.counted {
                measured_send(&mut self.sender, self.now, &mut buffer)
            } else {
                self.sender.poll_transmit(self.now, &mut buffer)
            };
            let Some(Transmit { len, .. }) = transmit else { return };
            self.sent += 1;
            let on = on(server_address(), client_address(1));
            if self.counted {
                measured_receive(&mut self.receiver, self.now, on, &mut buffer[..len]);
            } else {
                self.receiver.handle_datagram(self.now, on, Ecn::NotEct, &mut buffer[..len]);
            }
            self.acknowledge();
        }
    }

    fn acknowledge(&mut self) {
        let mut buffer = [0; 1200];
        loop {
            let transmit = if self.counted {
                measured_acknowledge(&mut self.receiver, self.now, &mut buffer)
            } else {
                self.receiver.poll_transmit(self.now, &mut buffer)
            };
            let Some(Transmit { len, .. }) = transmit else { return };
            let on = on(client_address(1), server_address());
            if self.counted {
                measured_acknowledged(&mut self.sender, self.now, on, &mut buffer[..len]);
            } else {
                self.sender.handle_datagram(self.now, on, Ecn::NotEct, &mut buffer[..len]);
            }
        }
    }

    fn read(&mut self, out: &mut [u8]) {
        while let Some(event) = self.receiver.poll_event() {
            match event {
                Event::Stream(StreamEvent::Opened(dir)) => while self.receiver.accept(dir).is_some() {},
                Event::Stream(StreamEvent::Readable(id)) if self.counted => {
                    measured_read(&mut self.receiver, id, out);
                }
                Event::Stream(StreamEvent::Readable(id)) => {
                    self.receiver.read_stream(id, out).unwrap();
                }
                _ => {}
            }
        }
        while self.sender.poll_event().is_some() {}
    }

    fn wait(&mut self) {
        self.now = self.now.after(Duration::from_millis(1));
        self.sender.handle_timeout(self.now);
        self.receiver.handle_timeout(self.now);
    }
}

/// The client sends on `active` of so many open streams.
fn transfer(streams: usize, active: usize) -> u64 {
    const WARM_UP: u64 = 2_000;
    const PACKETS: u64 = 4_000;
    let (sender, receiver, now) = pair(streams);
    let mut transfer = Transfer { sender, receiver, now, counted: false, sent: 0 };
    let ids: Vec<StreamId> = (0..streams).map(|_| transfer.sender.open(Dir::Uni).unwrap()).collect();
    let mut bytes = [0x5a; 65_536];
    for id in &ids {
        transfer.write(*id, &bytes[..1]);
    }
    let mut warm = 0;
    while transfer.sent < warm + PACKETS {
        for id in &ids[..active] {
            transfer.write(*id, &bytes);
        }
        transfer.send();
        transfer.read(&mut bytes);
        transfer.acknowledge();
        transfer.wait();
        if !transfer.counted && transfer.sent >= WARM_UP {
            (transfer.counted, warm) = (true, transfer.sent);
        }
    }
    transfer.sent - warm
}

#[inline(never)]
fn measured_datagram(server: &mut Server, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
    server.handle_datagram(now, on(server_address(), from), Ecn::NotEct, datagram);
    while server.poll_event().is_some() {}
    while server.poll_transmit(now, datagram).is_some() {}
}

#[inline(never)]
fn measured_timer(server: &mut Server, now: Instant, out: &mut [u8]) -> Option<(Handle, Transmit)> {
    server.handle_timeout(now);
    let transmit = server.poll_transmit(now, out);
    while server.poll_transmit(now, &mut []).is_some() {}
    transmit
}

/// An endpoint of so many connections.
fn endpoint(connections: u32) -> u64 {
    const ROUNDS: u32 = 2_000;
    let sizes = Sizes { paths: 1, streams: 1, sent: 16, rx: 64, tx: 64, datagram: 0 };
    let endpoint = EndpointConfig {
        server: true,
        connection: config(),
        retry: RetryPolicy::UnderLoad,
        ..EndpointConfig::default()
    };
    // Twice the slots, so that no client is asked to prove its address.
    let slots = HeapSlots::new(2 * connections as usize + 2);
    let mut server = Endpoint::new(endpoint, slots, NullEndpointCrypto::new(1));
    let mut now = Instant::from_micros(1_000_000);
    let mut buffer = [0; 1500];
    let mut clients: Vec<Peer> = (0..connections).map(|number| client(number, now, sizes)).collect();
    for (number, client) in (0..).zip(&mut clients) {
        for _ in 0..20 {
            while let Some(transmit) = client.poll_transmit(now, &mut buffer) {
                let datagram = &mut buffer[..transmit.len];
                let on = on(server_address(), client_address(number));
                if let Handled::Incoming(incoming) = server.handle_datagram(now, on, Ecn::NotEct, datagram) {
                    let session = Outside::new(Side::Server, u64::from(number) + 1);
                    server.accept(now, incoming, datagram, HeapMemory::new(sizes), session).unwrap();
                }
            }
            while let Some((_, transmit)) = server.poll_transmit(now, &mut buffer) {
                if transmit.remote == client_address(number) {
                    let on = on(client_address(number), server_address());
                    client.handle_datagram(now, on, Ecn::NotEct, &mut buffer[..transmit.len]);
                }
            }
            now = now.after(Duration::from_millis(2));
            client.handle_timeout(now);
            server.handle_timeout(now);
        }
        assert!(client.is_established());
        while server.poll_event().is_some() {}
    }
    assert_eq!(server.len(), connections as usize);
    let mut number = 0;
    for _ in 0..ROUNDS {
        // A stride that meets all of them in an order far from theirs.
        number = (number + 7_919) % connections;
        let client = &mut clients[number as usize];
        client.ping();
        let transmit = client.poll_transmit(now, &mut buffer).expect("a PING");
        measured_datagram(&mut server, now, client_address(number), &mut buffer[..transmit.len]);
        // Its acknowledgment waits for this timer.
        now = server.next_timeout().instant().expect("an acknowledgment").max(now);
        let (_, transmit) = measured_timer(&mut server, now, &mut buffer).expect("an acknowledgment");
        assert_eq!(transmit.remote, client_address(number));
        let on = on(client_address(number), server_address());
        client.handle_datagram(now, on, Ecn::NotEct, &mut buffer[..transmit.len]);
        while client.poll_event().is_some() {}
    }
    ROUNDS.into()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse::<usize>().unwrap();
    let count = match arguments[0].as_str() {
        "transfer" => transfer(number(1), number(2)),
        "endpoint" => endpoint(u32::try_from(number(1)).unwrap()),
        other => panic!("no such work: {other}"),
    };
    println!("{count}");
}
