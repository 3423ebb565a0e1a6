//! Memory of connections and endpoints on the heap, of sizes chosen at run time.

use peregrine_core::cid::local::LocalCid;
use peregrine_core::cid::peer::{PeerCid, Retirement};
use peregrine_core::connection::{
    Buffers, CIDS_PER_PATH, CRYPTO_LEN, Memory, Path, RETIREMENTS_PER_PATH, ROUTES_PER_PATH, TOKEN_LEN,
};
use peregrine_core::endpoint::{ENTRIES_PER_SLOT, EndpointMemory, Slot, Tables};
use peregrine_core::path::Route;
use peregrine_core::recovery::SentPacket;
use peregrine_core::session::Session;
use peregrine_core::stream::{Stream, StreamMemory};
use peregrine_core::table::heap::Node;
use peregrine_core::table::map::Entry;

/// How much memory a connection has.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Paths.
    pub paths: usize,
    /// Streams at once, in both directions together.
    pub streams: usize,
    /// Packets in flight.
    pub sent: usize,
    /// Bytes of receive memory per stream.
    pub rx: usize,
    /// Bytes of send memory per stream.
    pub tx: usize,
    /// Bytes for DATAGRAM frames each way.
    pub datagram: usize,
    /// Connection IDs per path, of each side.
    pub cids: usize,
    /// Routes per path.
    pub routes: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            paths: 1,
            streams: 8,
            sent: 256,
            rx: 288 << 10,
            tx: 256 << 10,
            datagram: 4096,
            cids: CIDS_PER_PATH,
            routes: ROUTES_PER_PATH,
        }
    }
}

/// Memory of one connection.
#[derive(Debug)]
pub struct HeapMemory {
    paths: Vec<Path>,
    routes: Vec<Route>,
    local_cids: Vec<LocalCid>,
    peer_cids: Vec<PeerCid>,
    retirements: Vec<Retirement>,
    sent: Vec<SentPacket>,
    streams: Vec<Stream>,
    index: Vec<u16>,
    rx: Vec<u8>,
    tx: Vec<u8>,
    crypto: Vec<u8>,
    token: Vec<u8>,
    datagrams_in: Vec<u8>,
    datagrams_out: Vec<u8>,
}

impl HeapMemory {
    /// Memory of these sizes. It is filled with garbage: core must not rely on what lent memory holds.
    pub fn new(sizes: Sizes) -> Self {
        Self {
            paths: vec![Path::EMPTY; sizes.paths],
            routes: vec![Route::EMPTY; sizes.paths * sizes.routes],
            local_cids: vec![LocalCid::FREE; sizes.paths * sizes.cids],
            peer_cids: vec![PeerCid::FREE; sizes.paths * sizes.cids.max(2)],
            retirements: vec![Retirement::FREE; sizes.paths * RETIREMENTS_PER_PATH.max(2 * sizes.cids)],
            sent: vec![SentPacket::EMPTY; sizes.sent],
            streams: vec![Stream::VACANT; sizes.streams],
            index: vec![7; 2 * sizes.streams],
            rx: vec![0xa5; sizes.rx * sizes.streams],
            tx: vec![0x5a; sizes.tx * sizes.streams],
            crypto: vec![0xa5; CRYPTO_LEN],
            token: vec![0xa5; TOKEN_LEN],
            datagrams_in: vec![0xa5; sizes.datagram],
            datagrams_out: vec![0xa5; sizes.datagram],
        }
    }
}

impl Memory for HeapMemory {
    fn buffers(&mut self) -> Buffers<'_> {
        Buffers {
            paths: &mut self.paths,
            routes: &mut self.routes,
            local_cids: &mut self.local_cids,
            peer_cids: &mut self.peer_cids,
            retirements: &mut self.retirements,
            sent: &mut self.sent,
            streams: StreamMemory {
                rows: &mut self.streams,
                index: &mut self.index,
                rx: &mut self.rx,
                tx: &mut self.tx,
            },
            crypto: &mut self.crypto,
            token: &mut self.token,
            datagrams_in: &mut self.datagrams_in,
            datagrams_out: &mut self.datagrams_out,
        }
    }
}

/// Memory of an endpoint.
#[derive(Debug)]
pub struct HeapSlots<S> {
    slots: Vec<Slot<HeapMemory, S>>,
    index: Vec<Entry>,
    timers: Vec<Node>,
}

impl<S> HeapSlots<S> {
    /// Room for `count` connections.
    pub fn new(count: usize) -> Self {
        Self {
            slots: (0..count).map(|_| Slot::EMPTY).collect(),
            index: vec![Entry::EMPTY; count * ENTRIES_PER_SLOT],
            timers: vec![Node::EMPTY; count],
        }
    }
}

impl<S: Session> EndpointMemory for HeapSlots<S> {
    type Memory = HeapMemory;
    type Session = S;

    fn tables(&mut self) -> Tables<'_, HeapMemory, S> {
        Tables { slots: &mut self.slots, index: &mut self.index, timers: &mut self.timers }
    }
}
