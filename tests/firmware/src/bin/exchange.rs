//! A client and a server in one memory, under QEMU: what a client's calls take of the stack and of the processor.
//!
//! Every call of the client is measured alone; the server, the network between them and the clock cost nothing. Without
//! cryptography first, so that what is counted is core, then with all of it.
#![no_std]
#![no_main]

use core::time::Duration;

use cortex_m_semihosting::hprintln;
use peregrine_core::connection::{Accepted, Config, Connection, Opened, Storage};
use peregrine_core::ids::{Dir, Ecn, FourTuple, Side, StreamId};
use peregrine_core::session::Session;
use peregrine_core::stream::Read;
use peregrine_core::time::Instant;
use peregrine_core::wire::Cid;
use peregrine_crypto::provider::{HashAlgorithm, Provider, Suite};
use peregrine_crypto::rustcrypto::LeanRustCrypto;
use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::tls::{
    ClientConfig, ClientSession, Credential, Identity, Psk, PskClientSession, ServerConfig, ServerSession,
};
use peregrine_crypto::verify::only::Only;
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_firmware::SCRATCH;
use peregrine_firmware::board::{self, instructions, stack};
use peregrine_firmware::null::NullSession;
use rand_core::{TryCryptoRng, TryRng};
use static_cell::StaticCell;

/// One path, four streams, 16 packets in flight; bytes of four full packets each way and stream.
type Memory = Storage<1, 4, 16, 5400, 4688>;
/// Every datagram that is full has this many bytes.
const FULL: usize = 1200;
/// Bytes that are sent each way.
const BYTES: usize = 256 * 1024;
/// How long a datagram is under way.
const DELAY: Duration = Duration::from_millis(5);

/// What is measured.
#[derive(Clone, Copy)]
enum Gauge {
    Instructions,
    Stack,
}

/// What the client's calls took: instructions in all, or the most of the stack.
#[derive(Clone, Copy, Default)]
struct Taken {
    instructions: u64,
    stack: usize,
}

/// Two connections.
struct Pair<'m, C, V> {
    now: Instant,
    client: Connection<&'m mut Memory, C>,
    server: Connection<&'m mut Memory, V>,
    on: FourTuple,
    gauge: Gauge,
    taken: Taken,
    /// Full datagrams of the client and of the server.
    full: [u64; 2],
}

impl<C: Session, V: Session> Pair<'_, C, V> {
    /// Measures a call of the client.
    fn client<R>(&mut self, act: impl FnOnce(Instant, &mut Connection<&mut Memory, C>) -> R) -> R {
        let act = || act(self.now, &mut self.client);
        match self.gauge {
            Gauge::Instructions => {
                let (instructions, result) = instructions::of(act);
                self.taken.instructions += instructions;
                result
            }
            Gauge::Stack => {
                let (stack, result) = stack::of(act);
                self.taken.stack = self.taken.stack.max(stack);
                result
            }
        }
    }

    /// Lets everything happen that is due, until `done`.
    fn run(&mut self, mut step: impl FnMut(&mut Self) -> bool) {
        let mut buffer = [0; FULL];
        for _ in 0..20_000 {
            let mut said = false;
            while let Some(transmit) = self.client(|now, client| client.poll_transmit(now, &mut buffer)) {
                said = true;
                self.full[0] += u64::from(transmit.len == FULL);
                let on = FourTuple { local: transmit.remote, remote: transmit.local, interface: 0 };
                self.server.handle_datagram(self.now, on, transmit.ecn, &mut buffer[..transmit.len]);
            }
            while let Some(transmit) = self.server.poll_transmit(self.now, &mut buffer) {
                said = true;
                self.full[1] += u64::from(transmit.len == FULL);
                let on = self.on;
                self.client(|now, client| {
                    client.handle_datagram(now, on, Ecn::NotEct, &mut buffer[..transmit.len])
                });
            }
            while self.client(|_, client| client.poll_event()).is_some() {}
            while self.server.poll_event().is_some() {}
            if step(self) {
                return;
            }
            let client_due = self.client(|_, client| client.next_timeout());
            let due = client_due.min(self.server.next_timeout());
            if !said && let Some(due) = due.instant() {
                self.now = self.now.max(due);
            }
            if client_due.is_due(self.now) {
                self.client(|now, client| client.handle_timeout(now));
            }
            if self.server.next_timeout().is_due(self.now) {
                self.server.handle_timeout(self.now);
            }
            supply(&mut self.server);
            self.client(|_, client| supply(client));
            self.now = self.now.after(DELAY);
        }
        panic!("it takes too long");
    }

    fn take(&mut self) -> (Taken, [u64; 2]) {
        (core::mem::take(&mut self.taken), core::mem::take(&mut self.full))
    }

    /// The handshake, to its confirmation.
    fn shake_hands(&mut self) {
        self.run(|pair| pair.client.is_established() && pair.server.is_established());
        // What follows it: acknowledgments, connection IDs.
        self.run(|pair| pair.client.has_spare_cid());
    }

    /// The client sends.
    fn upload(&mut self) {
        let id = self.client.open(Dir::Uni).unwrap();
        let (mut sent, mut read) = (0, 0);
        self.run(|pair| {
            sent += pair.client(|_, client| write(client, id, BYTES - sent));
            read += drain(&mut pair.server, id);
            read == BYTES
        });
    }

    /// The server sends.
    fn download(&mut self) {
        let id = self.server.open(Dir::Uni).unwrap();
        let (mut sent, mut read) = (0, 0);
        self.run(|pair| {
            sent += write(&mut pair.server, id, BYTES - sent);
            read += pair.client(|_, client| drain(client, id));
            read == BYTES
        });
    }

    /// The client moves; returns whether the very next datagram goes out from the new address.
    fn move_away(&mut self) -> bool {
        let mut on = self.on;
        on.local.set_port(on.local.port() + 1);
        self.client(|now, client| client.migrate(now, on.local, 0)).unwrap();
        let mut buffer = [0; FULL];
        let first = self.client(|now, client| client.poll_transmit(now, &mut buffer)).unwrap();
        self.on = on;
        let came = FourTuple { local: on.remote, remote: on.local, interface: 0 };
        self.server.handle_datagram(self.now, came, first.ecn, &mut buffer[..first.len]);
        self.run(|pair| pair.client.route().is_some_and(|route| route.validated && route.local == on.local));
        first.local == on.local
    }
}

/// Bytes to send: what they are does not matter.
static CHUNK: [u8; 1024] = [0x5a; 1024];

fn write<S: Session>(connection: &mut Connection<&mut Memory, S>, id: StreamId, rest: usize) -> usize {
    let mut written = 0;
    while written < rest {
        let chunk = &CHUNK[..CHUNK.len().min(rest - written)];
        match connection.write_stream(id, chunk).unwrap() {
            0 => break,
            taken => written += taken,
        }
    }
    written
}

fn drain<S: Session>(connection: &mut Connection<&mut Memory, S>, id: StreamId) -> usize {
    let mut bytes = [0; 256];
    let mut read = 0;
    while let Ok(Read::Bytes(len)) = connection.read_stream(id, &mut bytes) {
        read += len;
    }
    read
}

/// Gives the peer the connection IDs it should have.
fn supply<S: Session>(connection: &mut Connection<&mut Memory, S>) {
    for _ in 0..connection.cids_wanted() {
        let mut cid = [0; 8];
        connection.session_mut().fill_random(&mut cid);
        connection.supply_cid(Cid::new(&cid).unwrap(), [cid[0]; 16]);
    }
}

/// A connection between sessions.
fn pair<'m, C: Session, V: Session>(
    memory: &'m mut [Memory; 2],
    gauge: Gauge,
    client: C,
    server: V,
) -> Pair<'m, C, V> {
    let now = Instant::from_micros(1_000_000);
    let on = FourTuple {
        local: ([192, 0, 2, 1], 4000).into(),
        remote: ([192, 0, 2, 2], 443).into(),
        interface: 0,
    };
    let cid = |byte| Cid::new(&[byte; 8]).unwrap();
    let config =
        Config { peer_uni_streams: 1, peer_bidi_streams: 1, max_mtu: FULL as u16, ..Config::default() };
    let opened = Opened { on, version: 1, scid: cid(1), dcid: cid(2), token: &[] };
    let accepted = Accepted {
        on: FourTuple { local: on.remote, remote: on.local, interface: 0 },
        version: 1,
        original_dcid: cid(2),
        initial_dcid: cid(2),
        retry_scid: None,
        peer_cid: cid(1),
        scid: cid(3),
        reset_token: [3; 16],
        preferred: None,
        address_validated: false,
    };
    let [ours, theirs] = memory;
    let connect = || Connection::client(now, &config, &opened, ours, client);
    let mut taken = Taken::default();
    let client = match gauge {
        Gauge::Instructions => {
            let (instructions, client) = instructions::of(connect);
            taken.instructions = instructions;
            client
        }
        Gauge::Stack => {
            let (stack, client) = stack::of(connect);
            taken.stack = stack;
            client
        }
    };
    let client = client.unwrap();
    let server = Connection::server(now, &config, &accepted, theirs, server).unwrap();
    Pair { now, client, server, on, gauge, taken, full: [0; 2] }
}

/// A generator that anybody can predict.
struct Predictable(u32);

impl TryRng for Predictable {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Ok(self.0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from(self.try_next_u32()?) << 32 | u64::from(self.try_next_u32()?))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for byte in out {
            *byte = (self.try_next_u32()? >> 24) as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for Predictable {}

/// Core alone.
fn without_crypto(memory: &mut [Memory; 2], gauge: Gauge) {
    let sessions = [NullSession::new(Side::Client, 1), NullSession::new(Side::Server, 2)];
    let [client, server] = sessions;
    let mut pair = pair(memory, gauge, client, server);
    pair.shake_hands();
    let handshake = pair.take().0;
    pair.upload();
    let (upload, [out, _]) = pair.take();
    pair.download();
    let (download, [_, into]) = pair.take();
    let at_once = pair.move_away();
    let moved = pair.take().0;
    match gauge {
        Gauge::Instructions => {
            hprintln!("I1 out {}", upload.instructions / out);
            hprintln!("I1 in {}", download.instructions / into);
            hprintln!("I3 {}", u8::from(at_once));
        }
        Gauge::Stack => {
            let most = [handshake, upload, download, moved].map(|taken| taken.stack);
            hprintln!("S1 {}", most.into_iter().max().unwrap());
        }
    }
}

/// A whole handshake, and bytes each way.
fn with_crypto(memory: &mut [Memory; 2], gauge: Gauge) {
    let psks = [Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 }];
    let client = ClientConfig { psks: &psks, alpn: &[b"sensor"], ..Default::default() };
    let server = ServerConfig { psks: Some(&psks), alpn: &[b"sensor"], ..Default::default() };
    let (mut ours, mut theirs) = ([0; SCRATCH], [0; 2048]);
    let provider = |seed| LeanRustCrypto::new(Predictable(seed));
    let client = PskClientSession::new(&client, provider(1), &mut ours[..], None);
    let server = ServerSession::new(&server, provider(2), &mut theirs[..], None);
    let mut pair = pair(memory, gauge, client, server);
    pair.shake_hands();
    let handshake = pair.take().0;
    pair.upload();
    let (upload, [out, _]) = pair.take();
    pair.download();
    let (download, [_, into]) = pair.take();
    match gauge {
        Gauge::Instructions => {
            hprintln!("I2 {}", handshake.instructions);
            hprintln!("with crypto out {}", upload.instructions / out);
            hprintln!("with crypto in {}", download.instructions / into);
        }
        Gauge::Stack => {
            hprintln!("S2 {}", handshake.stack);
            hprintln!("S2 after {}", upload.stack.max(download.stack));
        }
    }
}

/// A handshake whose work with keys is done from a shallow stack.
fn deferred(memory: &mut [Memory; 2]) {
    let psks = [Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 }];
    let client = ClientConfig { psks: &psks, alpn: &[b"sensor"], ..Default::default() };
    let server = ServerConfig { psks: Some(&psks), alpn: &[b"sensor"], ..Default::default() };
    let (mut ours, mut theirs) = ([0; SCRATCH], [0; 2048]);
    let provider = |seed| LeanRustCrypto::new(Predictable(seed));
    let client = PskClientSession::new(&client, provider(1), &mut ours[..], None).deferred();
    let server = ServerSession::new(&server, provider(2), &mut theirs[..], None);
    let mut pair = pair(memory, Gauge::Stack, client, server);
    pair.run(|pair| {
        if pair.client.session().is_parked() {
            pair.client(|now, client| client.resume(now));
        }
        pair.client.is_established() && pair.server.is_established()
    });
    pair.run(|pair| pair.client.has_spare_cid());
    hprintln!("S2 deferred {}", pair.take().0.stack);
}

/// A handshake with a server that proves to hold a raw key.
fn with_key(
    memory: &mut [Memory; 2],
    gauge: Gauge,
    is_deferred: bool,
    name: &str,
    key: &SoftKey,
    only: impl Fn(RawKey<'_>) -> Only<RawKey<'_>>,
) {
    let spki = key.spki();
    let known = [&spki[..]];
    let verifier = only(RawKey { keys: &known });
    let identities = [Identity { credential: Credential::RawPublicKey(&spki), key }];
    let client = ClientConfig { server: Some(&verifier), alpn: &[b"sensor"], ..Default::default() };
    let server = ServerConfig { identities: &identities, alpn: &[b"sensor"], ..Default::default() };
    let (mut ours, mut theirs) = ([0; 2048], [0; 2048]);
    let provider = |seed| LeanRustCrypto::new(Predictable(seed));
    let client = ClientSession::new(&client, provider(1), &mut ours[..], None);
    let server = ServerSession::new(&server, provider(2), &mut theirs[..], None);
    let client = if is_deferred { client.deferred() } else { client };
    let mut pair = pair(memory, gauge, client, server);
    pair.run(|pair| {
        pair.client(|now, client| client.resume(now));
        pair.client.is_established() && pair.server.is_established()
    });
    let handshake = pair.take().0;
    let how = if is_deferred { ", deferred" } else { "" };
    match gauge {
        Gauge::Instructions => hprintln!("I2 with {}{} {}", name, how, handshake.instructions),
        Gauge::Stack => hprintln!("S2 with {}{} {}", name, how, handshake.stack),
    }
}

/// Packets under AES-128-GCM, with keys that `provider` expands.
fn with_aes<P: Provider>(memory: &mut [Memory; 2], name: &str, provider: impl Fn(u32) -> P) {
    let psks = [Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 }];
    let suites = &[Suite::Aes128GcmSha256];
    let client = ClientConfig { psks: &psks, suites, ..Default::default() };
    let server = ServerConfig { psks: Some(&psks), suites, ..Default::default() };
    let (mut ours, mut theirs) = ([0; SCRATCH], [0; 2048]);
    let client = PskClientSession::new(&client, provider(1), &mut ours[..], None);
    let server = ServerSession::new(&server, provider(2), &mut theirs[..], None);
    let mut pair = pair(memory, Gauge::Instructions, client, server);
    pair.shake_hands();
    pair.take();
    pair.upload();
    let (upload, [out, _]) = pair.take();
    pair.download();
    let (download, [_, into]) = pair.take();
    hprintln!("with AES {} out {}", name, upload.instructions / out);
    hprintln!("with AES {} in {}", name, download.instructions / into);
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static MEMORY: StaticCell<[Memory; 2]> = StaticCell::new();
    let memory = MEMORY.init_with(|| [const { Memory::new() }; 2]);
    instructions::start();
    let (ed25519, p256) = (SoftKey::ed25519(&[7; 32]), SoftKey::p256(&[7; 32]).unwrap());
    for gauge in [Gauge::Instructions, Gauge::Stack] {
        without_crypto(memory, gauge);
        with_crypto(memory, gauge);
    }
    deferred(memory);
    for (gauge, is_deferred) in [(Gauge::Instructions, false), (Gauge::Stack, false), (Gauge::Stack, true)] {
        with_key(memory, gauge, is_deferred, "an Ed25519 key", &ed25519, |known| Only::ed25519(known));
        with_key(memory, gauge, is_deferred, "a P-256 key", &p256, |known| Only::p256(known));
    }
    with_aes(memory, "expanded per packet", |seed| LeanRustCrypto::new(Predictable(seed)));
    with_aes(memory, "cached", |seed| LeanRustCrypto::cached(Predictable(seed)));
    board::exit()
}
