//! A client and a server in one memory, under QEMU: what a client's calls take of the stack and of the processor.
//!
//! Every call of the client is measured alone; the server, the network between them and the clock cost nothing. Without
//! cryptography first, so that what is counted is core, then with all of it.
#![no_std]
#![no_main]

use cortex_m_semihosting::hprintln;
use peregrine_core::ids::Side;
use peregrine_crypto::provider::HashAlgorithm;
use peregrine_crypto::rustcrypto::LeanRustCrypto;
use peregrine_crypto::tls::{ClientConfig, ClientSession, Psk, ServerConfig, ServerSession};
use peregrine_firmware::SCRATCH;
use peregrine_firmware::board::{self, instructions};
use peregrine_firmware::null::NullSession;
use peregrine_firmware::pair::{Gauge, Memory, Predictable, pair};
use static_cell::StaticCell;

/// Core alone.
fn without_crypto(memory: &mut [Memory; 2], gauge: Gauge) {
    let sessions = [NullSession::new(Side::Client, 1), NullSession::new(Side::Server, 2)];
    let [client, server] = sessions;
    let mut pair = pair(memory, Some(gauge), client, server);
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
    let client = ClientSession::new(&client, provider(1), &mut ours[..], None);
    let server = ServerSession::new(&server, provider(2), &mut theirs[..], None);
    let mut pair = pair(memory, Some(gauge), client, server);
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

#[cortex_m_rt::entry]
fn main() -> ! {
    static MEMORY: StaticCell<[Memory; 2]> = StaticCell::new();
    let memory = MEMORY.init_with(|| [const { Memory::new() }; 2]);
    instructions::start();
    for gauge in [Gauge::Instructions, Gauge::Stack] {
        without_crypto(memory, gauge);
        with_crypto(memory, gauge);
    }
    board::exit()
}
