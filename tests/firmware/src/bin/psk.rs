//! A whole client without certificates: a pre-shared key with X25519, ChaCha20-Poly1305, and AES-128-GCM for Initial packets.
#![no_std]
#![no_main]

use peregrine_crypto::provider::HashAlgorithm;
use peregrine_crypto::rustcrypto::LeanRustCrypto;
use peregrine_crypto::tls::{ClientConfig, Psk, PskClientSession};
use peregrine_firmware::board::Registers;
use peregrine_firmware::{SCRATCH, client};

static PSKS: [Psk<'_>; 1] = [Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 }];

#[cortex_m_rt::entry]
fn main() -> ! {
    let config = ClientConfig { alpn: &[b"sensor"], psks: &PSKS, ..Default::default() };
    loop {
        let mut scratch = [0; SCRATCH];
        let session = PskClientSession::new(&config, LeanRustCrypto::new(Registers), &mut scratch[..], None);
        let _ = client::run(session);
    }
}
