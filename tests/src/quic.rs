//! An endpoint as a node of the simulator, over null sessions, with a small application on top: a client asks for so many
//! bytes on each of so many streams, a server sends them, the client compares every byte. Or with none: then a scenario
//! uses the connections itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use peregrine_core::connection::{Config, Connection, Event, Stats, Transmit};
use peregrine_core::endpoint::{Connect, Endpoint, EndpointConfig, Handle, Handled};
use peregrine_core::ids::{Dir, Ecn, FourTuple, Side, StreamId};
use peregrine_core::stream::{Read, StreamEvent, WriteError};
use peregrine_core::time::{Deadline, Instant};

use crate::memory::{HeapMemory, HeapSlots, Sizes};
use crate::null_session::{NullConfig, NullEndpointCrypto, NullSession};
use crate::sim::{Node, SimTransmit};

/// The endpoint of a [`QuicNode`].
pub type NullEndpoint = Endpoint<HeapSlots<NullSession>, NullEndpointCrypto>;

/// A connection of a [`QuicNode`].
pub type NullConnection = Connection<HeapMemory, NullSession>;

/// What runs on top of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum App {
    /// Downloads and uploads; every stream that the peer opens is accepted.
    Files,
    /// Nothing: the scenario reads events and acts on connections.
    None,
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where randomness comes from.
    pub seed: u64,
    /// The endpoint's choices.
    pub endpoint: EndpointConfig,
    /// Connections.
    pub slots: usize,
    /// Memory per connection.
    pub sizes: Sizes,
    /// How sessions behave; each gets a seed of its own.
    pub session: NullConfig,
    /// What runs on top.
    pub app: App,
}

impl Setup {
    /// A client.
    pub fn client(seed: u64) -> Self {
        Self {
            seed,
            endpoint: EndpointConfig::default(),
            slots: 2,
            sizes: Sizes::default(),
            session: NullConfig::seeded(seed),
            app: App::Files,
        }
    }

    /// A server that lets its clients open as many bidirectional streams as it has rows.
    pub fn server(seed: u64) -> Self {
        let connection = Config { peer_bidi_streams: 8, ..Config::default() };
        let endpoint = EndpointConfig { server: true, connection, ..EndpointConfig::default() };
        Self { endpoint, ..Self::client(seed) }
    }
}

/// A download: so many bytes on each of the streams.
#[derive(Debug, Default)]
struct Download {
    bytes: u64,
    to_open: usize,
    received: BTreeMap<StreamId, u64>,
    finished: usize,
}

/// An endpoint in the simulated network.
pub struct QuicNode {
    /// The endpoint.
    pub endpoint: NullEndpoint,
    /// Everything the connections told, in order.
    pub events: Vec<(Instant, Handle, Event)>,
    /// Flow labels of what was sent, with the local address.
    pub labels: BTreeSet<(SocketAddr, u32)>,
    /// Differentiated Services codepoints of what was sent, with the local and the remote address.
    pub codepoints: BTreeSet<(SocketAddr, SocketAddr, u8)>,
    /// Answers to datagrams of no connection: stateless resets, Retry packets, Version Negotiation.
    pub replied: u64,
    /// Clients let in, in order.
    pub accepted: Vec<Handle>,
    /// Connections opened, in order.
    pub opened: Vec<Handle>,
    /// Connections that drained and were taken out, with their last counters and their sessions.
    pub ended: Vec<(Handle, Stats, NullSession)>,
    /// Whether nobody may have anything to say once the endpoint has nothing to send, which is asked each time.
    pub strict: bool,
    /// Whether somebody has planned datagrams since then.
    planned: bool,
    setup: Setup,
    sessions: u64,
    downloads: BTreeMap<usize, Download>,
    uploads: BTreeMap<(usize, StreamId), Upload>,
    replies: Vec<(FourTuple, Vec<u8>)>,
    timeout: Deadline,
}

/// What a server still has to send on a stream.
#[derive(Debug, Default)]
struct Upload {
    request: Vec<u8>,
    sent: u64,
    total: Option<u64>,
}

/// The byte at an offset of every stream.
pub fn pattern(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

impl QuicNode {
    /// A node of this setup.
    pub fn new(setup: Setup) -> Self {
        let crypto = NullEndpointCrypto::new(setup.seed ^ 0xe0d0);
        Self {
            endpoint: Endpoint::new(setup.endpoint.clone(), HeapSlots::new(setup.slots), crypto),
            events: Vec::new(),
            labels: BTreeSet::new(),
            codepoints: BTreeSet::new(),
            replied: 0,
            accepted: Vec::new(),
            opened: Vec::new(),
            ended: Vec::new(),
            strict: false,
            planned: false,
            sessions: 0,
            downloads: BTreeMap::new(),
            uploads: BTreeMap::new(),
            replies: Vec::new(),
            timeout: Deadline::NEVER,
            setup,
        }
    }

    /// As [`Endpoint::poll_transmit`]: in two steps, as adapters take them that have no buffer before they know what for.
    fn next_datagrams(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        while let Some((handle, plan)) = self.endpoint.next_transmit(now) {
            self.planned = true;
            let transmit = self.endpoint.write(now, handle, &plan, out).filter(|transmit| transmit.len > 0);
            assert!(transmit.is_some() || !plan.is_sure(), "{plan:?}");
            if transmit.is_some() {
                return transmit;
            }
        }
        None
    }

    /// Connects and downloads `bytes` on each of `streams` streams.
    pub fn download(&mut self, now: Instant, remote: SocketAddr, bytes: u64, streams: usize) -> Handle {
        let handle = self.connect(now, remote, &[]);
        let download = Download { bytes, to_open: streams, ..Download::default() };
        self.downloads.insert(handle.slot(), download);
        handle
    }

    /// Connects, with a token of an earlier connection or nothing.
    pub fn connect(&mut self, now: Instant, remote: SocketAddr, token: &[u8]) -> Handle {
        let session = self.session(Side::Client);
        let unspecified = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let on = FourTuple { local: unspecified.parse().unwrap(), remote, interface: 1 };
        let memory = HeapMemory::new(self.setup.sizes);
        let handle = self.endpoint.connect(now, Connect { on, token }, memory, session).expect("a free slot");
        self.opened.push(handle);
        handle
    }

    /// The connection that was opened or let in last.
    pub fn latest(&self) -> Option<Handle> {
        self.opened.last().or(self.accepted.last()).copied()
    }

    /// Connections that there is room for.
    pub const fn slots(&self) -> usize {
        self.setup.slots
    }

    /// A connection that was not taken out.
    pub fn connection(&mut self, handle: Handle) -> &mut NullConnection {
        self.endpoint.connection_mut(handle).expect("a connection that was not taken out")
    }

    /// Whether every stream of every download came to its end.
    pub fn is_done(&self) -> bool {
        self.downloads
            .values()
            .all(|download| download.to_open == 0 && download.finished == download.received.len())
    }

    /// The last event of a kind that `pick` picks.
    pub fn find<R>(&self, pick: impl Fn(&Event) -> Option<R>) -> Option<R> {
        self.events.iter().rev().find_map(|(_, _, event)| pick(event))
    }

    fn session(&mut self, side: Side) -> NullSession {
        self.sessions += 1;
        let seed = self.setup.seed.wrapping_mul(1_000_003).wrapping_add(self.sessions);
        NullSession::new(side, &NullConfig { seed, ..self.setup.session.clone() })
    }

    fn work(&mut self, now: Instant) {
        while let Some((handle, event)) = self.endpoint.poll_event() {
            self.events.push((now, handle, event));
            if event == Event::Drained {
                let stats = self.connection(handle).stats();
                let (_, session) = self.endpoint.take(handle).expect("a drained connection").into_parts();
                self.ended.push((handle, stats, session));
                self.downloads.remove(&handle.slot());
                self.uploads.retain(|(slot, _), _| *slot != handle.slot());
            }
            if self.setup.app == App::None {
                continue;
            }
            match event {
                Event::Connected | Event::Stream(StreamEvent::Available(Dir::Bi)) => {
                    self.open_streams(handle);
                }
                Event::Stream(StreamEvent::Opened(dir)) => {
                    let connection = self.endpoint.connection_mut(handle).unwrap();
                    while connection.accept(dir).is_some() {}
                }
                Event::Stream(StreamEvent::Readable(id)) => self.read(handle, id),
                Event::Stream(StreamEvent::Writable(id)) => self.write(handle, id),
                _ => {}
            }
        }
    }

    fn open_streams(&mut self, handle: Handle) {
        let Some(download) = self.downloads.get_mut(&handle.slot()) else { return };
        let connection = self.endpoint.connection_mut(handle).unwrap();
        while download.to_open > 0 {
            let Ok(id) = connection.open(Dir::Bi) else { return };
            assert_eq!(connection.write_stream(id, &download.bytes.to_be_bytes()), Ok(8));
            connection.finish(id).unwrap();
            download.received.insert(id, 0);
            download.to_open -= 1;
        }
    }

    fn read(&mut self, handle: Handle, id: StreamId) {
        let mut buffer = [0; 4096];
        loop {
            let connection = self.endpoint.connection_mut(handle).unwrap();
            match connection.read_stream(id, &mut buffer) {
                Ok(Read::Bytes(len)) => self.take(handle, id, &buffer[..len]),
                Ok(Read::Finished) => return self.finish(handle, id),
                Ok(Read::Blocked | Read::Reset(_)) | Err(_) => return,
            }
        }
    }

    fn take(&mut self, handle: Handle, id: StreamId, bytes: &[u8]) {
        if let Some(download) = self.downloads.get_mut(&handle.slot()) {
            let received = download.received.get_mut(&id).expect("a stream that was asked for");
            for byte in bytes {
                assert_eq!(*byte, pattern(*received), "{id:?} at {received}");
                *received += 1;
            }
        } else {
            self.uploads.entry((handle.slot(), id)).or_default().request.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self, handle: Handle, id: StreamId) {
        if let Some(download) = self.downloads.get_mut(&handle.slot()) {
            assert_eq!(download.received[&id], download.bytes, "{id:?} ended early");
            download.finished += 1;
            return;
        }
        let upload = self.uploads.get_mut(&(handle.slot(), id)).expect("a request");
        upload.total = Some(u64::from_be_bytes(upload.request[..8].try_into().unwrap()));
        self.write(handle, id);
    }

    fn write(&mut self, handle: Handle, id: StreamId) {
        let Some(upload) = self.uploads.get_mut(&(handle.slot(), id)) else { return };
        let connection = self.endpoint.connection_mut(handle).unwrap();
        let total = upload.total.unwrap_or(0);
        loop {
            let len = (total - upload.sent).min(4096);
            if len == 0 {
                break;
            }
            let bytes: Vec<u8> = (upload.sent..upload.sent + len).map(pattern).collect();
            match connection.write_stream(id, &bytes) {
                Ok(taken) if taken < bytes.len() => {
                    upload.sent += taken as u64;
                    return;
                }
                Ok(taken) => upload.sent += taken as u64,
                Err(WriteError::Closed | WriteError::Reset(_)) => return,
            }
        }
        connection.finish(id).ok();
        self.uploads.remove(&(handle.slot(), id));
    }
}

impl Node for QuicNode {
    fn handle_datagram(&mut self, now: Instant, on: FourTuple, ecn: Ecn, datagram: &mut [u8]) {
        match self.endpoint.handle_datagram(now, on, ecn, datagram) {
            Handled::Reply(len) => {
                self.replied += 1;
                self.replies.push((on, datagram[..len].to_vec()));
            }
            Handled::Incoming(incoming) => {
                let session = self.session(Side::Server);
                let memory = HeapMemory::new(self.setup.sizes);
                self.accepted.extend(self.endpoint.accept(now, incoming, datagram, memory, session));
            }
            Handled::Connection(_) | Handled::Ignored(_) => {}
        }
        self.work(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<SimTransmit> {
        if let Some((four_tuple, bytes)) = self.replies.pop() {
            out[..bytes.len()].copy_from_slice(&bytes);
            return Some(SimTransmit { four_tuple, ecn: Ecn::NotEct, len: bytes.len(), segment_size: None });
        }
        loop {
            if let Some(transmit) = self.next_datagrams(now, out) {
                let four_tuple = FourTuple {
                    local: transmit.local,
                    remote: transmit.remote,
                    interface: transmit.interface,
                };
                if transmit.remote.is_ipv6() {
                    self.labels.insert((transmit.local, transmit.flow_label));
                }
                self.codepoints.insert((transmit.local, transmit.remote, transmit.dscp));
                return Some(SimTransmit {
                    four_tuple,
                    ecn: transmit.ecn,
                    len: transmit.len,
                    segment_size: transmit.segment_size,
                });
            }
            // Whoever had nothing planned may be let go on by the pacer a little before its timer.
            if std::mem::take(&mut self.planned)
                && self.strict
                && let Some(handle) = self.latest()
                && self.endpoint.connection_mut(handle).is_some()
            {
                let left = self.endpoint.poll_transmit(now, out);
                assert!(left.is_none(), "all was said, but not {left:?}");
            }
            let told = self.events.len();
            self.work(now);
            if self.events.len() == told {
                break;
            }
        }
        self.timeout = self.endpoint.next_timeout();
        None
    }

    fn next_timeout(&self) -> Deadline {
        self.timeout
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.work(now);
    }
}
