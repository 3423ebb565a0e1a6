//! TLS messages to a client and a server in every state of a handshake with a pre-shared key: either any bytes, or what
//! the other side really said with a few of its bytes replaced. Nobody completes a handshake that was changed.
//!
//! Input: the state, how long the pieces are, where to begin replacing (two bytes, all ones: replace everything), bytes.
#![no_main]

use core::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use peregrine_core::session::{Level, Session};
use peregrine_crypto::provider::HashAlgorithm;
use peregrine_crypto::rustcrypto::RustCrypto;
use peregrine_crypto::tls::{ClientAuth, ClientConfig, ClientSession, Psk, ServerConfig, ServerSession};
use peregrine_crypto::verify::Insecure;
use rand_core::{TryCryptoRng, TryRng};

/// Always the same, so that a crash can be run again.
struct Counter(u8);

impl TryRng for Counter {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0 = self.0.wrapping_add(1);
        Ok(u32::from(self.0))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.try_next_u32().map(u64::from)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

impl TryCryptoRng for Counter {}

const PSKS: [Psk<'_>; 1] = [Psk { identity: b"fuzz", key: &[7; 32], hash: HashAlgorithm::Sha256 }];
const CLIENT: ClientConfig<'_> = ClientConfig {
    server_name: Some("server.test"),
    alpn: &[b"fuzz"],
    server: Some(&Insecure),
    identity: None,
    psks: &PSKS,
    suites: &[],
    groups: &[],
};
const SERVER: ServerConfig<'_> = ServerConfig {
    alpn: &[b"fuzz"],
    identities: &[],
    psks: Some(&PSKS),
    clients: ClientAuth::None,
    suites: &[],
    groups: &[],
};

fn said(session: &dyn Session, level: Level) -> Vec<u8> {
    let mut bytes = vec![0; session.crypto_len(level) as usize];
    session.copy_crypto(level, 0, &mut bytes);
    bytes
}

/// Reads `genuine` with bytes replaced; whether anything was.
fn hear(
    session: &mut dyn Session,
    level: Level,
    genuine: &[u8],
    [step, high, low]: [u8; 3],
    bytes: &[u8],
) -> bool {
    let at = usize::from(u16::from_be_bytes([high, low]));
    let heard = if at == usize::from(u16::MAX) {
        bytes.to_vec()
    } else {
        let mut heard = genuine.to_vec();
        heard.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        heard
    };
    for piece in heard.chunks(usize::from(step).max(1)) {
        if session.read_crypto(level, piece).is_err() {
            break;
        }
    }
    heard != genuine
}

fuzz_target!(|input: &[u8]| {
    let Some((&[state, step, high, low], bytes)) = input.split_first_chunk() else { return };
    let how = [step, high, low];
    let mut client = ClientSession::new(&CLIENT, RustCrypto::new(Counter(0)), [0; 2048], Some(0));
    client.start(b"client").unwrap();
    let mut server = ServerSession::new(&SERVER, RustCrypto::new(Counter(99)), [0; 2048], Some(0));
    server.start(b"server").unwrap();

    let hello = said(&client, Level::Initial);
    if state % 5 == 0 {
        hear(&mut server, Level::Initial, &hello, how, bytes);
        return;
    }
    server.read_crypto(Level::Initial, &hello).unwrap();
    let (hello, flight) = (said(&server, Level::Initial), said(&server, Level::Handshake));
    if state % 5 == 1 {
        hear(&mut client, Level::Initial, &hello, how, bytes);
        return;
    }
    client.read_crypto(Level::Initial, &hello).unwrap();
    if state % 5 == 2 {
        let changed = hear(&mut client, Level::Handshake, &flight, how, bytes);
        assert_eq!(client.is_complete(), !changed);
        return;
    }
    client.read_crypto(Level::Handshake, &flight).unwrap();
    let finished = said(&client, Level::Handshake);
    if state % 5 == 3 {
        let changed = hear(&mut server, Level::Handshake, &finished, how, bytes);
        assert_eq!(server.is_complete(), !changed);
        return;
    }
    server.read_crypto(Level::Handshake, &finished).unwrap();
    assert!(client.is_complete() && server.is_complete());
    hear(&mut client, Level::OneRtt, &[], how, bytes);
});
