//! A whole client: the server's p256 key is pinned, X25519, ChaCha20-Poly1305.
#![no_std]
#![no_main]

use peregrine_crypto::rustcrypto::LeanRustCrypto;
use peregrine_crypto::tls::{ClientConfig, ClientSession};
use peregrine_crypto::verify::only::Only;
use peregrine_crypto::verify::pin::Pin;
use peregrine_firmware::board::Registers;
use peregrine_firmware::client;

static SERVER: Only<Pin<'_>> = Only::p256(Pin { keys: &[[7; 32]] });

#[cortex_m_rt::entry]
fn main() -> ! {
    let config = ClientConfig {
        server_name: Some("server.test"),
        alpn: &[b"sensor"],
        server: Some(&SERVER),
        ..Default::default()
    };
    loop {
        let mut scratch = [0; 2048];
        let session = ClientSession::new(&config, LeanRustCrypto::new(Registers), &mut scratch[..], None);
        let _ = client::run(session);
    }
}
