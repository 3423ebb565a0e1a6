//! Not run: each symbol has as many bytes as what it is named after. `budgets.py` and `ram.py` read them.
#![no_std]
#![no_main]

use peregrine_core::cid::local::LocalCid;
use peregrine_core::cid::peer::{PeerCid, Retirement};
use peregrine_core::connection::{CRYPTO_LEN, Connection, Lending, Path, Storage, TOKEN_LEN};
use peregrine_core::limits::{ACK_RANGES, MAX_PATHS};
use peregrine_core::path::Route;
use peregrine_core::recovery::SentPacket;
use peregrine_core::stream::Stream;
use peregrine_core::table::ranges::Row;
use peregrine_crypto::rustcrypto::{Cached, LeanRustCrypto};
use peregrine_crypto::session_keys::PacketKeys;
use peregrine_crypto::tls::PskClientSession;
use peregrine_firmware::SCRATCH;
use peregrine_firmware::board::{self, Registers};
use static_cell::ConstStaticCell;

type Provider = LeanRustCrypto<Registers>;
type Session = PskClientSession<'static, Provider, &'static mut [u8]>;

macro_rules! sizes {
    ($($name:ident: $size:expr),* $(,)?) => {
        $(
            #[used]
            #[unsafe(no_mangle)]
            static $name: [u8; $size] = [0; $size];
        )*
    };
}

sizes! {
    size_state: size_of::<Connection<(), ()>>(),
    size_session: size_of::<Session>(),
    size_keys: size_of::<PacketKeys<Provider>>(),
    size_cached_keys: size_of::<PacketKeys<LeanRustCrypto<Registers, Cached>>>(),
    size_scratch: SCRATCH,
    size_path: size_of::<Path>(),
    size_ack_ranges: ACK_RANGES * size_of::<Row>(),
    size_route: size_of::<Route>(),
    size_local_cid: size_of::<LocalCid>(),
    size_peer_cid: size_of::<PeerCid>(),
    size_retirement: size_of::<Retirement>(),
    size_sent: size_of::<SentPacket>(),
    size_stream: size_of::<Stream>() + 2 * size_of::<u16>(),
    size_crypto: CRYPTO_LEN,
    size_token: TOKEN_LEN,
    // How many paths a connection may have in this image.
    size_most_paths: if cfg!(feature = "multipath") { MAX_PATHS } else { 1 },
    // What is lent of it is gone: the connection is in use.
    size_in_use: size_of::<Lending<Storage<1, 1, 16, 1152, 1024, 0, 0>, &'static mut [u8]>>(),
    // What ram.py is checked with: the sizes it computes are to be these.
    storage__1_1_8_0_0_0: size_of::<Storage<1, 1, 8, 0, 0>>(),
    storage__1_1_16_1152_1024_0: size_of::<Storage<1, 1, 16, 1152, 1024>>(),
    storage__1_4_16_1152_1024_0: size_of::<Storage<1, 4, 16, 1152, 1024>>(),
    storage__2_4_32_1152_1024_0: size_of::<Storage<2, 4, 32, 1152, 1024>>(),
    storage__2_3_33_577_511_301: size_of::<Storage<2, 3, 33, 577, 511, 301>>(),
    storage__4_16_256_4608_4096_2048: size_of::<Storage<4, 16, 256, 4608, 4096, 2048>>(),
    storage__1_2_8_576_512_0_0_1: size_of::<Storage<1, 2, 8, 576, 512, 0, 0, 1>>(),
    storage__2_4_32_1152_1024_0_4608_5: size_of::<Storage<2, 4, 32, 1152, 1024, 0, 4608, 5>>(),
}

/// Lies where memory is cleared, not where it is copied from flash.
#[used]
#[unsafe(no_mangle)]
static blank: ConstStaticCell<Storage<1, 4, 16, 1152, 1024>> = ConstStaticCell::new(Storage::new());

#[cortex_m_rt::entry]
fn main() -> ! {
    board::exit()
}
