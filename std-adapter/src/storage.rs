//! The memory of connections and of endpoints on a host: tables and buffers on the heap, of sizes chosen at run time.

use peregrine_core::cid::local::LocalCid;
use peregrine_core::cid::peer::{PeerCid, Retirement};
use peregrine_core::connection::{
    Buffers, CIDS_PER_PATH, CRYPTO_LEN, Connection, MAX_LOCAL_CIDS, Memory, Path, RETIREMENTS_PER_PATH,
    ROUTES_PER_PATH, TOKEN_LEN,
};
use peregrine_core::endpoint::{EndpointMemory, Slot, Tables};
use peregrine_core::path::Route;
use peregrine_core::recovery::SentPacket;
use peregrine_core::stream::{Stream, StreamMemory};
use peregrine_core::table::heap::Node;
use peregrine_core::table::map::Entry;

use crate::session::AnySession;

/// How much memory a connection has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Paths at once, 1 to 8, where they are asked for with [`Builder::multipath`](crate::Builder::multipath); else a connection
    /// has one. About 2.3 kB each.
    pub paths: usize,
    /// Streams that may exist at once, those of both sides together. Up to three quarters are the peer's, as many as
    /// [`Config`](peregrine_core::connection::Config) allows it: whoever opens many itself allows the peer fewer, or takes more.
    pub streams: usize,
    /// Packets in flight at once: what limits the speed over a long way. 40 bytes each.
    pub sent: usize,
    /// The window of each stream: bytes that may lie unread.
    pub receive: usize,
    /// Bytes of each stream that may lie unacknowledged.
    pub send: usize,
    /// Bytes of DATAGRAM frames that may wait, each way.
    pub datagrams: usize,
}

/// For a host with memory to spare: over 100 ms a stream carries 10 MB/s. Of the buffers, only pages that are used
/// take memory.
impl Default for Sizes {
    fn default() -> Self {
        Self { paths: 4, streams: 128, sent: 2048, receive: 1 << 20, send: 1 << 20, datagrams: 64 << 10 }
    }
}

impl Sizes {
    /// For many connections that say little: 4 streams, 16 KiB each way.
    pub const SMALL: Self =
        Self { paths: 2, streams: 4, sent: 32, receive: 16 << 10, send: 16 << 10, datagrams: 0 };

    fn paths(&self) -> usize {
        self.paths.clamp(1, 8)
    }

    /// Index entries that an endpoint needs for each connection, so that the index is at most half full: for its connection
    /// IDs, the client's first DCID and its remote address.
    fn index_entries(&self) -> usize {
        2 * (MAX_LOCAL_CIDS.max(self.paths() * CIDS_PER_PATH) + 2)
    }
}

/// The memory of one connection.
#[derive(Debug)]
pub struct HeapStorage {
    paths: Box<[Path]>,
    routes: Box<[Route]>,
    local_cids: Box<[LocalCid]>,
    peer_cids: Box<[PeerCid]>,
    retirements: Box<[Retirement]>,
    sent: Box<[SentPacket]>,
    streams: Box<[Stream]>,
    index: Box<[u16]>,
    rx: Box<[u8]>,
    tx: Box<[u8]>,
    crypto: Box<[u8]>,
    token: Box<[u8]>,
    datagrams_in: Box<[u8]>,
    datagrams_out: Box<[u8]>,
}

impl HeapStorage {
    /// Memory of these sizes. Rows and streams that 16 bits cannot name are left out.
    pub fn new(sizes: &Sizes) -> Self {
        let paths = sizes.paths();
        let streams = sizes.streams.min(0xfeff);
        // Of an area, a ninth marks what came out of order.
        let rx_share = sizes.receive.saturating_add(sizes.receive.div_ceil(8)).next_multiple_of(8);
        Self {
            paths: table(paths, || Path::EMPTY),
            routes: table(paths * ROUTES_PER_PATH, || Route::EMPTY),
            local_cids: table(paths * CIDS_PER_PATH, || LocalCid::FREE),
            peer_cids: table(paths * CIDS_PER_PATH, || PeerCid::FREE),
            retirements: table(paths * RETIREMENTS_PER_PATH, || Retirement::FREE),
            sent: table(sizes.sent.clamp(8, 0xfffe), || SentPacket::EMPTY),
            streams: table(streams, || Stream::VACANT),
            index: vec![0; 2 * streams].into(),
            rx: zeros(rx_share.saturating_mul(streams)),
            tx: zeros(sizes.send.saturating_mul(streams)),
            crypto: zeros(CRYPTO_LEN),
            token: zeros(TOKEN_LEN),
            datagrams_in: zeros(sizes.datagrams),
            datagrams_out: zeros(sizes.datagrams),
        }
    }
}

impl Memory for HeapStorage {
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

/// A connection as core knows it, over this memory and a session of any kind.
pub type HeapConnection = Connection<HeapStorage, AnySession>;

/// The tables of an endpoint, for sessions of any kind.
pub struct HeapSlots {
    slots: Box<[Slot<HeapStorage, AnySession>]>,
    index: Box<[Entry]>,
    timers: Box<[Node]>,
}

impl HeapSlots {
    /// Room for so many connections of these sizes.
    pub fn new(connections: usize, sizes: &Sizes) -> Self {
        Self {
            slots: table(connections, || Slot::EMPTY),
            index: table(connections * sizes.index_entries(), || Entry::EMPTY),
            timers: table(connections, || Node::EMPTY),
        }
    }
}

impl EndpointMemory for HeapSlots {
    type Memory = HeapStorage;
    type Session = AnySession;

    fn tables(&mut self) -> Tables<'_, HeapStorage, AnySession> {
        Tables { slots: &mut self.slots, index: &mut self.index, timers: &mut self.timers }
    }
}

fn table<T>(rows: usize, empty: impl FnMut() -> T) -> Box<[T]> {
    let mut table = Vec::new();
    table.resize_with(rows, empty);
    table.into_boxed_slice()
}

/// Zeros that the system makes as they are touched: the allocator is asked for zeroed memory, nothing is written.
fn zeros(len: usize) -> Box<[u8]> {
    vec![0; len].into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_core::table::reassembly;

    #[test]
    fn each_stream_has_the_window_asked_for() {
        for receive in [1, 9, 1000, 16 << 10, 1 << 20] {
            let mut storage = HeapStorage::new(&Sizes { streams: 3, receive, send: 100, ..Sizes::SMALL });
            let buffers = storage.buffers();
            assert!(reassembly::capacity(buffers.streams.rx.len() / 3) >= receive, "{receive}");
            assert_eq!((buffers.streams.rows.len(), buffers.streams.index.len()), (3, 6));
            assert_eq!(buffers.streams.tx.len(), 300);
        }
    }

    #[test]
    fn sizes_beyond_what_can_be_named_are_cut() {
        let sizes = Sizes { paths: 99, streams: 70_000, sent: 1 << 20, receive: 1, send: 0, datagrams: 0 };
        let mut storage = HeapStorage::new(&sizes);
        let buffers = storage.buffers();
        assert_eq!((buffers.paths.len(), buffers.sent.len()), (8, 0xfffe));
        assert_eq!((buffers.peer_cids.len(), buffers.streams.rows.len()), (32, 0xfeff));
    }
}
