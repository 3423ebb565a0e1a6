//! A client and a server in one memory, with a network, a NAT and a clock between them that cost nothing.

use core::net::SocketAddr;
use core::time::Duration;

use peregrine_core::connection::{Accepted, Config, Connection, MultipathConfig, Opened, Storage, Usage};
use peregrine_core::ids::{Dir, Ecn, FourTuple, StreamId};
use peregrine_core::limits::TAG_LEN;
use peregrine_core::session::{Level, Session};
use peregrine_core::stream::Read;
use peregrine_core::time::Instant;
use peregrine_core::wire::frame::{Frame, Frames};
use peregrine_core::wire::{Cid, Dialect};
use rand_core::{TryCryptoRng, TryRng};

use crate::PATHS;
use crate::board::{instructions, stack};

/// Four streams, six for two paths; 16 packets in flight; bytes of four full packets each way and stream.
pub type Memory = Storage<PATHS, { 2 + 2 * PATHS }, 16, 5400, 4688>;
/// Every datagram that is full has this many bytes.
const FULL: usize = 1200;
/// Bytes of every connection ID.
const CID_LEN: usize = 8;
/// Bytes that are sent each way.
const BYTES: usize = 256 * 1024;
/// How long a datagram is under way.
const DELAY: Duration = Duration::from_millis(5);

/// What of each call of the client is measured.
#[derive(Clone, Copy)]
pub enum Gauge {
    /// How many instructions it takes.
    Instructions,
    /// How much of the stack it takes.
    Stack,
}

/// What the client's calls took.
#[derive(Clone, Copy, Default)]
pub struct Taken {
    /// Instructions in all.
    pub instructions: u64,
    /// Bytes of stack, of the call that took most.
    pub stack: usize,
}

/// Two connections.
pub struct Pair<'m, C, V> {
    /// The time.
    pub now: Instant,
    /// When [`Self::run`] is to look again even if nothing is due.
    wake: Option<Instant>,
    /// The one that is measured.
    pub client: Connection<&'m mut Memory, C>,
    /// The other one.
    pub server: Connection<&'m mut Memory, V>,
    /// The client's addresses.
    on: FourTuple,
    /// The port that the NAT shows instead of the client's.
    shown: u16,
    /// The client's port of a second path, which no NAT changes.
    beside: Option<u16>,
    gauge: Option<Gauge>,
    taken: Taken,
    /// Full datagrams of the client and of the server.
    full: [u64; 2],
}

impl<C: Session, V: Session> Pair<'_, C, V> {
    /// Measures a call of the client.
    pub fn client<R>(&mut self, act: impl FnOnce(Instant, &mut Connection<&mut Memory, C>) -> R) -> R {
        let act = || act(self.now, &mut self.client);
        match self.gauge {
            Some(Gauge::Instructions) => {
                let (instructions, result) = instructions::of(act);
                self.taken.instructions += instructions;
                result
            }
            Some(Gauge::Stack) => {
                let (stack, result) = stack::of(act);
                self.taken.stack = self.taken.stack.max(stack);
                result
            }
            None => act(),
        }
    }

    /// Lets everything happen that is due, until `done`.
    pub fn run(&mut self, mut step: impl FnMut(&mut Self) -> bool) {
        let mut buffer = [0; FULL];
        for _ in 0..20_000 {
            let mut said = false;
            while let Some(transmit) = self.client(|now, client| client.poll_transmit(now, &mut buffer)) {
                said = true;
                self.full[0] += u64::from(transmit.len == FULL);
                let port = Some(transmit.local.port()).filter(|port| self.beside == Some(*port));
                let shown = SocketAddr::new(transmit.local.ip(), port.unwrap_or(self.shown));
                let on = FourTuple { local: transmit.remote, remote: shown, interface: 0 };
                self.server.handle_datagram(self.now, on, transmit.ecn, &mut buffer[..transmit.len]);
            }
            while let Some(transmit) = self.server.poll_transmit(self.now, &mut buffer) {
                said = true;
                let mut on = self.on;
                match transmit.remote.port() {
                    port if self.beside == Some(port) => on.local.set_port(port),
                    port if port == self.shown => {}
                    _ => continue,
                }
                self.full[1] += u64::from(transmit.len == FULL);
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
            let due = client_due.min(self.server.next_timeout()).min(self.wake.into());
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

    /// What was measured since the last time, and the full datagrams of the client and of the server.
    pub fn take(&mut self) -> (Taken, [u64; 2]) {
        (core::mem::take(&mut self.taken), core::mem::take(&mut self.full))
    }

    /// The handshake, to its confirmation.
    pub fn shake_hands(&mut self) {
        self.run(|pair| pair.client.is_established() && pair.server.is_established());
        // What follows it: acknowledgments, connection IDs.
        self.run(|pair| pair.client.has_spare_cid());
    }

    /// The client sends.
    pub fn upload(&mut self) {
        let id = self.client.open(Dir::Uni).unwrap();
        let (mut sent, mut read) = (0, 0);
        self.run(|pair| {
            sent += pair.client(|_, client| write(client, id, BYTES - sent));
            read += drain(&mut pair.server, id);
            read == BYTES
        });
    }

    /// The server sends.
    pub fn download(&mut self) {
        let id = self.server.open(Dir::Uni).unwrap();
        let (mut sent, mut read) = (0, 0);
        self.run(|pair| {
            sent += write(&mut pair.server, id, BYTES - sent);
            read += pair.client(|_, client| drain(client, id));
            read == BYTES
        });
    }

    /// The client opens a second path.
    #[cfg(feature = "multipath")]
    pub fn open_path(&mut self) {
        let mut on = self.on;
        on.local.set_port(on.local.port() + 100);
        self.beside = Some(on.local.port());
        let status = peregrine_core::path::Availability::Available;
        let mut opened = None;
        self.run(|pair| {
            let (now, client) = (pair.now, &mut pair.client);
            let path = *opened.get_or_insert_with(|| client.open_path(now, on, status).unwrap());
            client.path(path).unwrap().route.unwrap().validated
        });
    }

    /// The client moves; returns whether the very next datagram goes out from the new address and holds a PATH_CHALLENGE, which can be
    /// read where packets are not encrypted.
    pub fn move_away(&mut self) -> bool {
        let mut on = self.on;
        on.local.set_port(on.local.port() + 1);
        self.client(|now, client| client.migrate(now, on.local, 0)).unwrap();
        let mut buffer = [0; FULL];
        let first = self.client(|now, client| client.poll_transmit(now, &mut buffer)).unwrap();
        (self.on, self.shown) = (on, on.local.port());
        let asks = holds_challenge(&buffer[..first.len]);
        let came = FourTuple { local: on.remote, remote: on.local, interface: 0 };
        self.server.handle_datagram(self.now, came, first.ecn, &mut buffer[..first.len]);
        self.run(|pair| pair.client.route().is_some_and(|route| route.validated && route.local == on.local));
        first.local == on.local && asks
    }
}

/// Whether a packet with a short header that is not encrypted holds a PATH_CHALLENGE.
fn holds_challenge(packet: &[u8]) -> bool {
    let number = usize::from(packet[0] & 3) + 1;
    let payload = &packet[1 + CID_LEN + number..packet.len() - TAG_LEN];
    Frames::new(Level::OneRtt, payload).any(|frame| matches!(frame, Ok(Frame::PathChallenge(_))))
}

/// How many rows of its tables the client uses, and the server.
pub type Usages = [Usage; 2];

impl<C: Session, V: Session> Pair<'_, C, V> {
    /// The client asks, the server answers: a few bytes on a stream of their own.
    pub fn exchange(&mut self) {
        let id = self.client.open(Dir::Bi).unwrap();
        write(&mut self.client, id, QUESTION);
        self.client.finish(id).unwrap();
        let (mut asked, mut answered) = (0, 0);
        self.run(|pair| {
            if let Some(id) = pair.server.accept(Dir::Bi) {
                asked = drain(&mut pair.server, id);
                write(&mut pair.server, id, ANSWER);
                pair.server.finish(id).unwrap();
            }
            answered += drain(&mut pair.client, id);
            (asked, answered) == (QUESTION, ANSWER)
        });
    }

    /// Lets everything happen that is due before `moment`.
    pub fn wait_until(&mut self, moment: Instant) {
        self.wake = Some(moment);
        self.run(|pair| pair.now >= moment);
        self.wake = None;
    }

    /// The NAT shows another port from now on, and knows the one before no more.
    pub fn rebind(&mut self) {
        self.shown = self.shown.checked_add(1).unwrap_or(1024);
    }

    /// How often the server has found the client somewhere else.
    pub fn moves(&self) -> u32 {
        self.server.stats().migrations
    }

    /// How much of the tables is in use.
    pub fn usages(&mut self) -> Usages {
        [self.client.usage(), self.server.usage()]
    }
}

/// Bytes of a question, and of its answer.
const QUESTION: usize = 32;
const ANSWER: usize = 64;

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

/// A connection between these sessions, of which nothing was said yet.
pub fn pair<'m, C: Session, V: Session>(
    memory: &'m mut [Memory; 2],
    gauge: Option<Gauge>,
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
    let config = Config {
        // One for each number of paths that is measured.
        peer_uni_streams: PATHS as u16,
        peer_bidi_streams: 1,
        max_mtu: FULL as u16,
        multipath: MultipathConfig::speaking(Dialect::ALL),
        ..Config::default()
    };
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
        Some(Gauge::Instructions) => {
            let (instructions, client) = instructions::of(connect);
            taken.instructions = instructions;
            client
        }
        Some(Gauge::Stack) => {
            let (stack, client) = stack::of(connect);
            taken.stack = stack;
            client
        }
        None => connect(),
    };
    let client = client.unwrap();
    let server = Connection::server(now, &config, &accepted, theirs, server).unwrap();
    Pair {
        now,
        wake: None,
        client,
        server,
        on,
        shown: on.local.port(),
        beside: None,
        gauge,
        taken,
        full: [0; 2],
    }
}

/// A generator that anybody can predict.
pub struct Predictable(pub u32);

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
