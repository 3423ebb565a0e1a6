//! The memory of a connection: plain tables, lent with every call.
//!
//! [`Buffers`] is the contract: slices of any length in any memory. [`Storage`] is the convenience: one block whose
//! sizes are five numbers, made in a constant, so that it can be a static.

use super::path::Path;
use crate::cid::local::LocalCid;
use crate::cid::peer::{PeerCid, Retirement};
use crate::path::Route;
use crate::recovery::SentPacket;
use crate::stream::{Stream, StreamMemory};

/// Connection IDs that a path issues at most.
pub const MAX_LOCAL_CIDS: usize = 8;
/// Routes of a path in [`Storage`]: the one in use, the one before, and one to move to.
pub const ROUTES_PER_PATH: usize = 3;
/// Connection IDs of each side per path in [`Storage`].
pub const CIDS_PER_PATH: usize = 4;
/// Retirements under way per path in [`Storage`]: twice the connection IDs (RFC 9000 5.1.2).
pub const RETIREMENTS_PER_PATH: usize = 2 * CIDS_PER_PATH;
/// Bytes for a token from a Retry or NEW_TOKEN in [`Storage`]; a longer one is of no use.
pub const TOKEN_LEN: usize = 256;
/// Bytes for CRYPTO data out of order in [`Storage`]: the 4,096 of RFC 9000 7.5, and their marks.
pub const CRYPTO_LEN: usize = 4608;

/// The tables and buffers of one connection, borrowed for one call.
#[derive(Debug)]
pub struct Buffers<'a> {
    /// Paths; the first row is the path of the handshake.
    pub paths: &'a mut [Path],
    /// Routes of all paths; at most 32.
    pub routes: &'a mut [Route],
    /// Connection IDs we issued; at most [`MAX_LOCAL_CIDS`] are used per path.
    pub local_cids: &'a mut [LocalCid],
    /// Connection IDs the peer issued; at most 32.
    pub peer_cids: &'a mut [PeerCid],
    /// Retirements of the peer's connection IDs under way; at most 32.
    pub retirements: &'a mut [Retirement],
    /// Packets in flight, and what of lost ones waits to be sent again.
    pub sent: &'a mut [SentPacket],
    /// Streams, their index, and their bytes.
    pub streams: StreamMemory<'a>,
    /// CRYPTO bytes that came out of order.
    pub crypto: &'a mut [u8],
    /// A token for a later connection, or the one of a Retry.
    pub token: &'a mut [u8],
    /// DATAGRAM frames that came; none are taken if it is empty.
    pub datagrams_in: &'a mut [u8],
    /// DATAGRAM frames to be sent.
    pub datagrams_out: &'a mut [u8],
}

/// Lends a connection its memory: the same with every call.
pub trait Memory {
    /// The tables and buffers.
    fn buffers(&mut self) -> Buffers<'_>;
}

impl<M: Memory + ?Sized> Memory for &mut M {
    fn buffers(&mut self) -> Buffers<'_> {
        (**self).buffers()
    }
}

/// Memory whose room for CRYPTO bytes out of order is lent, and goes back when the handshake is confirmed.
///
/// What comes later are tickets of the server, of which a client then misses those that come out of order (RFC 9000 7.5).
///
/// ```
/// use peregrine_core::connection::{CRYPTO_LEN, Lending, Storage};
/// let mut for_handshakes = [0; CRYPTO_LEN];
/// let mut memory = Lending::new(Storage::<1, 4, 16, 1152, 1024, 0, 0>::new(), &mut for_handshakes[..]);
/// // At `Event::Confirmed`, `Connection::take_crypto` gives them back.
/// # let _: &mut dyn peregrine_core::connection::Memory = &mut memory;
/// ```
#[derive(Debug)]
pub struct Lending<M, A> {
    memory: M,
    crypto: Room<A>,
}

/// Where CRYPTO bytes wait for those before them.
#[derive(Debug)]
enum Room<A> {
    /// In the memory's own part.
    Own,
    Lent(A),
    /// Nowhere: it was given back.
    Back,
}

impl<M, A> Lending<M, A> {
    /// Both; `crypto` has [`CRYPTO_LEN`] bytes, with less than RFC 9000 7.5 asks for no connection begins.
    pub const fn new(memory: M, crypto: A) -> Self {
        Self { memory, crypto: Room::Lent(crypto) }
    }

    /// Memory with nothing lent, which has such room of its own.
    pub const fn without(memory: M) -> Self {
        Self { memory, crypto: Room::Own }
    }

    /// Gives back what was lent. Not before the handshake is confirmed: what came out of order and was acknowledged is in there.
    pub(super) fn take_crypto(&mut self) -> Option<A> {
        match core::mem::replace(&mut self.crypto, Room::Back) {
            Room::Lent(crypto) => Some(crypto),
            Room::Back => None,
            Room::Own => {
                self.crypto = Room::Own;
                None
            }
        }
    }
}

impl<M: Memory, A: AsMut<[u8]>> Memory for Lending<M, A> {
    fn buffers(&mut self) -> Buffers<'_> {
        let own = self.memory.buffers();
        let crypto = match &mut self.crypto {
            Room::Own => own.crypto,
            Room::Lent(crypto) => crypto.as_mut(),
            Room::Back => &mut [],
        };
        Buffers { crypto, ..own }
    }
}

/// Memory of one connection, in arrays.
///
/// `RX` and `TX` are bytes per stream; a ninth of `RX` marks what came out of order, the rest is the window. `DATAGRAM`
/// is bytes for DATAGRAM frames each way; zero, the default, is none. `CRYPTO` is bytes for CRYPTO frames out of order; zero
/// where [`Lending`] brings them for the handshake. `ROUTES` are rows for routes of each path: with less than the default there is
/// one to move to, but none to go back to, or none at all.
///
/// ```
/// use peregrine_core::connection::Storage;
/// // A sensor: 2 paths, 4 streams, 32 packets in flight, 1 KiB each way and stream.
/// static SENSOR: Storage<2, 4, 32, 1152, 1024> = Storage::new();
/// ```
#[derive(Debug)]
pub struct Storage<
    const PATHS: usize,
    const STREAMS: usize,
    const SENT: usize,
    const RX: usize,
    const TX: usize,
    const DATAGRAM: usize = 0,
    const CRYPTO: usize = CRYPTO_LEN,
    const ROUTES: usize = ROUTES_PER_PATH,
> {
    paths: [Path; PATHS],
    routes: [[Route; ROUTES]; PATHS],
    local_cids: [[LocalCid; CIDS_PER_PATH]; PATHS],
    peer_cids: [[PeerCid; CIDS_PER_PATH]; PATHS],
    retirements: [[Retirement; RETIREMENTS_PER_PATH]; PATHS],
    sent: [SentPacket; SENT],
    streams: [Stream; STREAMS],
    index: [[u16; 2]; STREAMS],
    rx: [[u8; RX]; STREAMS],
    tx: [[u8; TX]; STREAMS],
    crypto: [u8; CRYPTO],
    token: [u8; TOKEN_LEN],
    datagrams_in: [u8; DATAGRAM],
    datagrams_out: [u8; DATAGRAM],
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
> Storage<PATHS, STREAMS, SENT, RX, TX, DATAGRAM, CRYPTO, ROUTES>
{
    /// Memory that no connection has used yet. All of it is zero, so that a static takes no flash: a connection makes its rows
    /// what they have to be when it begins.
    pub const fn new() -> Self {
        const {
            assert!(PATHS >= 1 && PATHS <= 8, "a connection has one to eight paths");
            assert!(ROUTES >= 1 && PATHS * ROUTES <= 32, "a path has a route, and all have 32 at most");
            assert!(SENT >= 8, "fewer than eight packets in flight cannot even carry a handshake");
            assert!(SENT < u16::MAX as usize && STREAMS < 0xff00, "rows are named by 16 bits");
        }
        Self {
            paths: [const { Path::BLANK }; PATHS],
            routes: [const { [const { Route::BLANK }; ROUTES] }; PATHS],
            local_cids: [[LocalCid::FREE; CIDS_PER_PATH]; PATHS],
            peer_cids: [[PeerCid::FREE; CIDS_PER_PATH]; PATHS],
            retirements: [[Retirement::FREE; RETIREMENTS_PER_PATH]; PATHS],
            sent: [SentPacket::BLANK; SENT],
            streams: [Stream::BLANK; STREAMS],
            index: [[0; 2]; STREAMS],
            rx: [[0; RX]; STREAMS],
            tx: [[0; TX]; STREAMS],
            crypto: [0; CRYPTO],
            token: [0; TOKEN_LEN],
            datagrams_in: [0; DATAGRAM],
            datagrams_out: [0; DATAGRAM],
        }
    }
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
> Default for Storage<PATHS, STREAMS, SENT, RX, TX, DATAGRAM, CRYPTO, ROUTES>
{
    fn default() -> Self {
        Self::new()
    }
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
> Memory for Storage<PATHS, STREAMS, SENT, RX, TX, DATAGRAM, CRYPTO, ROUTES>
{
    fn buffers(&mut self) -> Buffers<'_> {
        Buffers {
            paths: &mut self.paths,
            routes: self.routes.as_flattened_mut(),
            local_cids: self.local_cids.as_flattened_mut(),
            peer_cids: self.peer_cids.as_flattened_mut(),
            retirements: self.retirements.as_flattened_mut(),
            sent: &mut self.sent,
            streams: StreamMemory {
                rows: &mut self.streams,
                index: self.index.as_flattened_mut(),
                rx: self.rx.as_flattened_mut(),
                tx: self.tx.as_flattened_mut(),
            },
            crypto: &mut self.crypto,
            token: &mut self.token,
            datagrams_in: &mut self.datagrams_in,
            datagrams_out: &mut self.datagrams_out,
        }
    }
}
