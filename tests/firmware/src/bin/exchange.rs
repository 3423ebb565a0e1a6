//! A client and a server in one memory, under QEMU: what a client's calls take of the stack and of the processor.
//!
//! Every call of the client is measured alone; the server, the network between them and the clock cost nothing. Without
//! cryptography first, so that what is counted is core, then with all of it.
#![no_std]
#![no_main]

use cortex_m_semihosting::hprintln;
use peregrine_core::ids::Side;
#[cfg(feature = "multipath")]
use peregrine_core::session::Session;
use peregrine_crypto::provider::{HashAlgorithm, Provider, Suite};
use peregrine_crypto::rustcrypto::LeanRustCrypto;
use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::tls::{
    ClientConfig, ClientSession, Credential, Identity, Psk, PskClientSession, ServerConfig, ServerSession,
};
use peregrine_crypto::verify::only::Only;
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_firmware::SCRATCH;
use peregrine_firmware::board::{self, instructions};
use peregrine_firmware::null::NullSession;
#[cfg(feature = "multipath")]
use peregrine_firmware::pair::Pair;
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
    #[cfg(feature = "multipath")]
    let moved = over_two_paths(&mut pair, gauge).max(moved.stack);
    #[cfg(not(feature = "multipath"))]
    let moved = moved.stack;
    match gauge {
        Gauge::Instructions => {
            hprintln!("I1 out {}", upload.instructions / out);
            hprintln!("I1 in {}", download.instructions / into);
            hprintln!("I3 {}", u8::from(at_once));
        }
        Gauge::Stack => {
            let most = [handshake, upload, download].map(|taken| taken.stack);
            hprintln!("S1 {}", most.into_iter().fold(moved, usize::max));
        }
    }
}

/// The same bytes over two paths; returns the most of the stack.
#[cfg(feature = "multipath")]
fn over_two_paths<C: Session, V: Session>(pair: &mut Pair<'_, C, V>, gauge: Gauge) -> usize {
    pair.open_path();
    let opened = pair.take().0;
    pair.upload();
    let (upload, [out, _]) = pair.take();
    pair.download();
    let (download, [_, into]) = pair.take();
    if let Gauge::Instructions = gauge {
        hprintln!("two paths out {}", upload.instructions / out);
        hprintln!("two paths in {}", download.instructions / into);
    }
    [opened, upload, download].map(|taken| taken.stack).into_iter().max().unwrap_or(0)
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

/// A handshake whose work with keys is done from a shallow stack.
fn deferred(memory: &mut [Memory; 2]) {
    let psks = [Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 }];
    let client = ClientConfig { psks: &psks, alpn: &[b"sensor"], ..Default::default() };
    let server = ServerConfig { psks: Some(&psks), alpn: &[b"sensor"], ..Default::default() };
    let (mut ours, mut theirs) = ([0; SCRATCH], [0; 2048]);
    let provider = |seed| LeanRustCrypto::new(Predictable(seed));
    let client = PskClientSession::new(&client, provider(1), &mut ours[..], None).deferred();
    let server = ServerSession::new(&server, provider(2), &mut theirs[..], None);
    let mut pair = pair(memory, Some(Gauge::Stack), client, server);
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
    let mut pair = pair(memory, Some(gauge), client, server);
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
    let mut pair = pair(memory, Some(Gauge::Instructions), client, server);
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
