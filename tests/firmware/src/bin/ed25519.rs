//! A whole client: the server's Ed25519 key is pinned, X25519, ChaCha20-Poly1305.
#![no_std]
#![no_main]

use peregrine_crypto::verify::only::Only;
use peregrine_crypto::verify::pin::Pin;
use peregrine_firmware::client;

static SERVER: Only<Pin<'_>> = Only::ed25519(Pin { keys: &[[7; 32]] });

#[cortex_m_rt::entry]
fn main() -> ! {
    client::run_pinned(&SERVER)
}
