//! How much memory a connection takes: every row, what an established connection holds, and two whole storages.
//!
//! `cargo test -p peregrine-tests --test sizes -- --nocapture` prints the table, for a 64-bit host. A bound is the size as
//! it was last decided: one that grows fails, so that it grows by decision, not by accident.

use peregrine_core::cid::local::LocalCid;
use peregrine_core::cid::peer::{PeerCid, Retirement};
use peregrine_core::connection::{Connection, Path, Storage};
use peregrine_core::limits::ACK_RANGES;
use peregrine_core::path::Route;
use peregrine_core::recovery::SentPacket;
use peregrine_core::stream::Stream;
use peregrine_core::table::ranges::Row;
use peregrine_crypto::rustcrypto::CompactRustCrypto;
use peregrine_crypto::session_keys::PacketKeys;

type Sensor = Storage<2, 4, 32, 1152, 1024>;
type Gateway = Storage<4, 16, 256, 4608, 4096>;
type Keys = PacketKeys<CompactRustCrypto<rand_core::UnwrapErr<NoRng>>>;

/// A type to name, never a value.
struct NoRng;

impl rand_core::TryRng for NoRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for NoRng {}

const CIDS: usize = 2;

#[test]
fn sizes_stay_within_their_bounds() {
    let state = size_of::<Connection<(), ()>>();
    let cids = CIDS * (size_of::<LocalCid>() + size_of::<PeerCid>() + 2 * size_of::<Retirement>());
    let path = size_of::<Path>() + size_of::<Route>() + cids;
    let streams = 4 * (size_of::<Stream>() + 2 * size_of::<u16>());
    let established = state + size_of::<Keys>() + path + streams + 16 * size_of::<SentPacket>();
    let table = [
        ("a sent packet", size_of::<SentPacket>(), 40),
        ("a stream", size_of::<Stream>(), 136),
        ("a local connection ID", size_of::<LocalCid>(), 56),
        ("a connection ID of the peer", size_of::<PeerCid>(), 56),
        ("a retirement under way", size_of::<Retirement>(), 20),
        ("a route", size_of::<Route>(), 400),
        ("a path without its route", size_of::<Path>(), 504),
        (
            "a further path: row, route, 2+2 connection IDs, no ACK ranges",
            path - ACK_RANGES * size_of::<Row>(),
            896,
        ),
        ("the fixed state of a connection", state, 1560),
        ("packet keys, not expanded", size_of::<Keys>(), 760),
        ("established: 1 path, 4 streams, 16 sent packets, keys", established, 4672),
        ("Storage of a sensor: 2 paths, 4 streams, 32 sent, 1 KiB each way", size_of::<Sensor>(), 19808),
        (
            "Storage of a gateway: 4 paths, 16 streams, 256 sent, 4 KiB each way",
            size_of::<Gateway>(),
            165_408,
        ),
    ];
    for (what, size, bound) in table {
        println!("| {what} | {size} |");
        assert!(size <= bound, "{what}: {size} bytes, at most {bound}");
    }
}
