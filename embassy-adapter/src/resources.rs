//! All memory of an endpoint, given by the application.

use core::cell::Cell;

use peregrine_core::connection::{self, Lending, Memory, ROUTES_PER_PATH};
use peregrine_core::endpoint::{ENTRIES_PER_SLOT, EndpointMemory, Slot, Tables};
use peregrine_core::ids::FourTuple;
use peregrine_core::limits::{MIN_INITIAL_DATAGRAM, RESET_TOKEN_LEN, TAG_LEN};
use peregrine_core::session::EndpointCrypto;
use peregrine_core::table::heap::Node;
use peregrine_core::table::map::Entry;

use crate::endpoint::Shared;
use crate::engine::Row;
use crate::lent::{Home, Lent};
use crate::network::Network;
use crate::socket::{Place, RingRows, Rings};
use crate::tls::{EndpointSession, Room};
use crate::waiters::{Finished, Waiter};

/// Memory of a connection: core's [`Storage`](connection::Storage) without room for CRYPTO bytes, which the
/// [`HandshakeMemory`](crate::tls::HandshakeMemory) lends.
pub type Storage<
    const PATHS: usize,
    const STREAMS: usize,
    const SENT: usize,
    const RX: usize,
    const TX: usize,
    const DATAGRAM: usize = 0,
    const ROUTES: usize = ROUTES_PER_PATH,
> = connection::Storage<PATHS, STREAMS, SENT, RX, TX, DATAGRAM, 0, ROUTES>;

/// What core works with: a connection's memory, and what is lent for its handshake.
pub(crate) type Lendable = Lending<Lent<dyn Memory>, Room>;

/// Memory of a connection that can be made in a constant: [`Storage`] of any size, or an own one.
pub trait ConstMemory: Memory {
    /// Empty memory.
    const EMPTY: Self;
}

impl<
    const PATHS: usize,
    const STREAMS: usize,
    const SENT: usize,
    const RX: usize,
    const TX: usize,
    const DATAGRAM: usize,
    const CRYPTO: usize,
    const ROUTES: usize,
> ConstMemory for connection::Storage<PATHS, STREAMS, SENT, RX, TX, DATAGRAM, CRYPTO, ROUTES>
{
    const EMPTY: Self = Self::new();
}

/// All memory of an endpoint: made in a constant, so that it can be a static.
///
/// | parameter | what | costs |
/// | --- | --- | --- |
/// | `S` | the session of a connection: see [`tls`](crate::tls) | once for each connection |
/// | `M` | the memory of a connection, usually [`Storage`] | once for each connection |
/// | `CONNECTIONS` | connections at once, those that are closing included | |
/// | `SOCKETS` | UDP sockets: one for each network, and more to change ports on one | `RING_IN + RING_OUT` and 800 bytes each |
/// | `RING_IN` | bytes of datagrams that wait to be read, for each socket | |
/// | `RING_OUT` | bytes of datagrams that wait to be sent, for each socket, 2,400 at least | |
/// | `DATAGRAM` | bytes of the longest datagram that is received, 1,200 at least | once |
/// | `WAITERS` | tasks that wait for something at once; more than that take turns, which costs time | 70 bytes each |
///
/// A datagram lies in a ring in one piece, wherever the one before it ended. So no datagram is sent that has more than half
/// the bytes of `RING_OUT`, and `RING_IN` of twice `DATAGRAM` holds one or two of the longest. What does not fit is lost or
/// waits, as in any network. A peer sends what the window of a stream allows without a pause: a download is fastest with a
/// `RING_IN` that holds as much and the rest of the datagrams.
///
/// ```
/// use peregrine_embassy::{Resources, Storage, tls};
/// use static_cell::StaticCell;
///
/// // A sensor: one connection with 4 streams of 1 KiB each way; Wi-Fi and Ethernet.
/// type Memory = Storage<1, 4, 16, 1152, 1024>;
/// static RESOURCES: StaticCell<Resources<tls::Client, Memory, 1, 2>> = StaticCell::new();
/// let resources = RESOURCES.init_with(Resources::new);
/// # let _: &Resources<_, _, 1, 2> = resources;
/// ```
pub struct Resources<
    S: EndpointSession + 'static,
    M: ConstMemory + 'static,
    const CONNECTIONS: usize,
    const SOCKETS: usize,
    const RING_IN: usize = 2944,
    const RING_OUT: usize = 2904,
    const DATAGRAM: usize = 1472,
    const WAITERS: usize = 12,
> {
    memory: [M; CONNECTIONS],
    homes: [Home<dyn Memory>; CONNECTIONS],
    slots: [Slot<Lendable, S>; CONNECTIONS],
    index: [[Entry; ENTRIES_PER_SLOT]; CONNECTIONS],
    timers: [Node; CONNECTIONS],
    rows: [Row; CONNECTIONS],
    waiters: [Option<Waiter>; WAITERS],
    finished: [Option<Finished>; WAITERS],
    ring_rows: [RingRows; SOCKETS],
    incoming: [[u8; RING_IN]; SOCKETS],
    outgoing: [[u8; RING_OUT]; SOCKETS],
    sockets: [Place; SOCKETS],
    networks: [Option<Network>; SOCKETS],
    inbox: [u8; DATAGRAM],
    shared: Option<Shared<S>>,
}

impl<
    S: EndpointSession + 'static,
    M: ConstMemory + 'static,
    const CONNECTIONS: usize,
    const SOCKETS: usize,
    const RING_IN: usize,
    const RING_OUT: usize,
    const DATAGRAM: usize,
    const WAITERS: usize,
> Resources<S, M, CONNECTIONS, SOCKETS, RING_IN, RING_OUT, DATAGRAM, WAITERS>
{
    /// Memory of which nothing is in use. Sizes with which nothing would work do not compile.
    pub const fn new() -> Self {
        const {
            assert!(CONNECTIONS >= 1, "an endpoint has room for one connection at least");
            assert!(SOCKETS >= 1 && SOCKETS < 256, "an endpoint has one socket at least, and fewer than 256");
            assert!(DATAGRAM >= MIN_INITIAL_DATAGRAM, "QUIC needs datagrams of 1,200 bytes (RFC 9000 14)");
            assert!(RING_IN >= DATAGRAM, "the longest datagram must fit the ring of those that came");
            assert!(
                RING_OUT >= 2 * MIN_INITIAL_DATAGRAM,
                "the ring of those to be sent takes 1,200 bytes twice"
            );
            assert!(WAITERS >= 2, "somebody who sends and somebody who receives will wait");
        }
        // Whole arrays are constants, so that none of their elements is put together on the stack.
        Self {
            memory: const { [const { M::EMPTY }; CONNECTIONS] },
            homes: [const { Cell::new(None) }; CONNECTIONS],
            slots: const { [const { Slot::EMPTY }; CONNECTIONS] },
            index: [[Entry::EMPTY; ENTRIES_PER_SLOT]; CONNECTIONS],
            timers: [Node::EMPTY; CONNECTIONS],
            rows: [const { Row::EMPTY }; CONNECTIONS],
            waiters: [const { None }; WAITERS],
            finished: [const { None }; WAITERS],
            ring_rows: const { [const { RingRows::EMPTY }; SOCKETS] },
            incoming: const { [[0; RING_IN]; SOCKETS] },
            outgoing: const { [[0; RING_OUT]; SOCKETS] },
            sockets: [const { Place::Nothing }; SOCKETS],
            networks: [const { None }; SOCKETS],
            inbox: const { [0; DATAGRAM] },
            shared: None,
        }
    }

    /// All of it as slices, whatever its sizes.
    pub(crate) fn parts(&'static mut self) -> Parts<S> {
        for (home, memory) in self.homes.iter().zip(&mut self.memory) {
            home.set(Some(memory));
        }
        let bytes = self.incoming.iter_mut().zip(&mut self.outgoing);
        for (place, (rows, (incoming, outgoing))) in
            self.sockets.iter_mut().zip(self.ring_rows.iter_mut().zip(bytes))
        {
            *place = Place::Vacant(Rings { rows, incoming, outgoing });
        }
        Parts {
            homes: &self.homes,
            tables: SlotTables {
                slots: &mut self.slots,
                index: self.index.as_flattened_mut(),
                timers: &mut self.timers,
            },
            rows: &mut self.rows,
            waiters: &mut self.waiters,
            finished: &mut self.finished,
            sockets: &mut self.sockets,
            networks: &mut self.networks,
            inbox: &mut self.inbox,
            shared: &mut self.shared,
            ring_out: RING_OUT,
        }
    }
}

impl<
    S: EndpointSession + 'static,
    M: ConstMemory + 'static,
    const CONNECTIONS: usize,
    const SOCKETS: usize,
    const RING_IN: usize,
    const RING_OUT: usize,
    const DATAGRAM: usize,
    const WAITERS: usize,
> Default for Resources<S, M, CONNECTIONS, SOCKETS, RING_IN, RING_OUT, DATAGRAM, WAITERS>
{
    fn default() -> Self {
        Self::new()
    }
}

/// [`Resources`], taken apart.
pub(crate) struct Parts<S: EndpointSession + 'static> {
    pub(crate) homes: &'static [Home<dyn Memory>],
    pub(crate) tables: SlotTables<S>,
    pub(crate) rows: &'static mut [Row],
    pub(crate) waiters: &'static mut [Option<Waiter>],
    pub(crate) finished: &'static mut [Option<Finished>],
    pub(crate) sockets: &'static mut [Place],
    pub(crate) networks: &'static mut [Option<Network>],
    pub(crate) inbox: &'static mut [u8],
    pub(crate) shared: &'static mut Option<Shared<S>>,
    pub(crate) ring_out: usize,
}

/// The tables of core's endpoint.
pub(crate) struct SlotTables<S: 'static> {
    slots: &'static mut [Slot<Lendable, S>],
    index: &'static mut [Entry],
    timers: &'static mut [Node],
}

impl<S: EndpointSession> EndpointMemory for SlotTables<S> {
    type Memory = Lendable;
    type Session = S;

    fn tables(&mut self) -> Tables<'_, Lendable, S> {
        Tables { slots: self.slots, index: self.index, timers: self.timers }
    }
}

/// The cryptography of an endpoint, without its type.
pub(crate) struct Crypto(pub(crate) &'static mut dyn EndpointCrypto);

impl EndpointCrypto for Crypto {
    fn retry_tag(&mut self, version: u32, original_dcid: &[u8], retry: &[u8]) -> [u8; TAG_LEN] {
        self.0.retry_tag(version, original_dcid, retry)
    }

    fn seal_token(&mut self, token: &mut [u8], len: usize) -> Option<usize> {
        self.0.seal_token(token, len)
    }

    fn open_token(&mut self, token: &mut [u8]) -> Option<usize> {
        self.0.open_token(token)
    }

    fn reset_token(&mut self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        self.0.reset_token(cid)
    }

    fn fill_cid(&mut self, cid: &mut [u8]) {
        self.0.fill_cid(cid);
    }

    fn may_have_made(&mut self, cid: &[u8]) -> bool {
        self.0.may_have_made(cid)
    }

    fn flow_label(&mut self, on: &FourTuple, dcid: &[u8]) -> u32 {
        self.0.flow_label(on, dcid)
    }

    fn seal_initial(
        &mut self,
        version: u32,
        client_dcid: &[u8],
        pn: u64,
        packet: &mut [u8],
        header_len: usize,
        pn_len: usize,
    ) {
        self.0.seal_initial(version, client_dcid, pn, packet, header_len, pn_len);
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.0.fill_random(out);
    }
}
