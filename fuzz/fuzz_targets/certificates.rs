//! Certificates and public keys of a peer, before every policy: what is accepted is the key that lies in the first
//! entry.
//!
//! Input: where the first entry ends (two bytes), a name, entries.
#![no_main]

use std::task::Poll;

use libfuzzer_sys::fuzz_target;
use peregrine_core::ids::Side;
use peregrine_crypto::provider::Scheme;
use peregrine_crypto::verify::pin::{Pin, spki_hash};
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::x509::{X509, anchor};
use peregrine_crypto::verify::{CertificateType, Insecure, Presented, Verifier};

fuzz_target!(|input: &[u8]| {
    let Some((&[high, low], bytes)) = input.split_first_chunk() else { return };
    let (leaf, other) = bytes.split_at(usize::from(u16::from_be_bytes([high, low])).min(bytes.len()));
    let der = other.into();
    let anchors: Vec<_> = anchor(&der).into_iter().collect();
    let entries = [leaf, other];
    let x509 = X509 { anchors: &anchors };
    let pins = [spki_hash(other)];
    let pin = Pin { keys: &pins };
    let keys = [other];
    let raw_key = RawKey { keys: &keys };
    let verifiers: [&dyn Verifier; 4] = [&x509, &pin, &raw_key, &Insecure];
    for kind in [CertificateType::X509, CertificateType::RawPublicKey] {
        for peer in [Side::Client, Side::Server] {
            let name = Some("server.test");
            let presented = Presented { kind, entries: &entries, peer, name, unix_time: Some(1_795_219_200) };
            for verifier in verifiers {
                let Poll::Ready(Ok(spki)) = verifier.verify_identity(&presented) else { continue };
                assert!(leaf.windows(spki.len()).any(|part| part == spki));
                for scheme in verifier.schemes() {
                    let _ = verifier.verify_signature(*scheme, spki, b"message", other);
                }
                let unknown = verifier.verify_signature(Scheme(0), spki, b"message", other);
                assert!(matches!(unknown, Poll::Ready(Err(_))));
            }
        }
    }
});
