//! Levels, generations, suites and paths.

use peregrine_core::ids::{PathId, Side};
use peregrine_core::session::{Key, KeyError, Level};
use std::vec::Vec;

use super::PacketKeys;
use crate::provider::{HashAlgorithm, HeaderKey, Provider, Secret, Suite};
use crate::rustcrypto::RustCrypto;
use crate::testing::{TestRng, hex, provider};

type Keys = PacketKeys<RustCrypto<TestRng>>;

const SUITES: [Suite; 3] = [Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::ChaCha20Poly1305Sha256];
const P0: PathId = PathId::ZERO;

fn secret(suite: Suite, byte: u8) -> Secret {
    Secret::from_slice(&std::vec![byte; suite.hash().output_len()]).unwrap()
}

/// A client and a server with keys of every level.
fn both(suite: Suite) -> (Keys, Keys) {
    let mut keys = [Side::Client, Side::Server].map(PacketKeys::new);
    for (keys, (local, peer)) in keys.iter_mut().zip([(1, 2), (2, 1)]) {
        keys.set_initial_keys(&provider(), 1, b"any dcid");
        keys.set_early_secret(&provider(), suite, &secret(suite, 9)).unwrap();
        let secrets = |level: u8| (secret(suite, level + local), secret(suite, level + peer));
        let (local, peer) = secrets(10);
        keys.set_handshake_secrets(&provider(), suite, &local, &peer).unwrap();
        let (local, peer) = secrets(20);
        keys.set_application_secrets(&provider(), suite, &local, &peer).unwrap();
    }
    keys.into()
}

const fn one_rtt(generation: u32) -> Key {
    Key { level: Level::OneRtt, generation }
}

fn sealed(keys: &mut Keys, key: Key) -> Vec<u8> {
    let mut payload = [&b"payload"[..], &[0; 16]].concat();
    keys.seal(key, P0, 5, b"header", &mut payload).unwrap();
    payload
}

fn open(keys: &mut Keys, key: Key, packet: &[u8]) -> Result<usize, KeyError> {
    let mut packet = packet.to_vec();
    let len = keys.open(key, P0, 5, b"header", &mut packet)?;
    assert_eq!(&packet[..len], b"payload");
    Ok(len)
}

#[test]
fn every_level_and_suite_round_trips_and_rejects_any_change() {
    for suite in SUITES {
        let (mut client, mut server) = both(suite);
        for level in Level::ALL {
            let key = Key::first(level);
            let packet = sealed(&mut client, key);
            assert_eq!(open(&mut server, key, &packet), Ok(7));
            assert!(open(&mut client, key, &packet).is_err(), "keys of the wrong direction");
            for bit in 0..packet.len() * 8 {
                let mut forged = packet.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(&mut server, key, &forged), Err(KeyError::Forged));
            }
            for len in 0..packet.len() {
                assert_eq!(open(&mut server, key, &packet[..len]), Err(KeyError::Forged));
            }
            for (path, pn, header) in [(P0, 6, &b"header"[..]), (PathId(1), 5, b"header"), (P0, 5, b"hexder")]
            {
                let opened = server.open(key, path, pn, header, &mut packet.clone());
                assert_eq!(opened, Err(KeyError::Forged));
            }
        }
    }
}

#[test]
fn a_path_has_nonces_of_its_own() {
    let (mut client, mut server) = both(Suite::Aes128GcmSha256);
    let mut packets = [[0; 24]; 2];
    for (path, packet) in (0..).map(PathId).zip(&mut packets) {
        client.seal(one_rtt(0), path, 5, b"", packet).unwrap();
    }
    assert_ne!(packets[0], packets[1]);
    for (path, packet) in (0..).map(PathId).zip(&mut packets) {
        assert_eq!(server.open(one_rtt(0), path, 5, b"", packet), Ok(8));
    }
}

#[test]
fn headers_are_unprotected_by_the_other_side_only() {
    for suite in SUITES {
        let (mut client, mut server) = both(suite);
        for level in Level::ALL {
            let (mut first, mut pn) = (0xc1, [1, 2, 3, 4]);
            client.protect(level, &[7; 16], &mut first, &mut pn[..2]);
            assert_ne!(pn, [1, 2, 3, 4]);
            assert!(server.unprotect(level, &[7; 16], &mut first, &mut pn));
            assert_eq!((first, pn), (0xc1, [1, 2, 3, 4]));
        }
    }
}

#[test]
fn early_data_goes_from_client_to_server_only() {
    let (mut client, mut server) = both(Suite::Aes128GcmSha256);
    let key = Key::first(Level::ZeroRtt);
    assert_eq!(server.seal(key, P0, 0, b"", &mut [0; 20]), Err(KeyError::Missing));
    assert_eq!(client.open(key, P0, 0, b"", &mut [0; 20]), Err(KeyError::Missing));
}

#[test]
fn generations_previous_current_and_next() {
    for suite in SUITES {
        let (mut client, mut server) = both(suite);
        let old = sealed(&mut client, one_rtt(0));
        client.update_keys(&provider());
        assert_eq!(client.seal(one_rtt(0), P0, 0, b"", &mut [0; 20]), Err(KeyError::Missing));
        let new = sealed(&mut client, one_rtt(1));

        // The server learns of the update by a packet that its next key opens.
        assert_eq!(open(&mut server, one_rtt(0), &new), Err(KeyError::Forged));
        assert_eq!(open(&mut server, one_rtt(1), &new), Ok(7));
        assert_eq!(open(&mut server, one_rtt(2), &new), Err(KeyError::Missing));
        server.update_keys(&provider());
        assert_eq!(open(&mut server, one_rtt(1), &new), Ok(7));
        assert_eq!(open(&mut server, one_rtt(0), &old), Ok(7));
        server.retire_keys();
        assert_eq!(open(&mut server, one_rtt(0), &old), Err(KeyError::Missing));

        // Header protection stays, and both sides stay in step.
        for generation in 2..5 {
            client.update_keys(&provider());
            server.update_keys(&provider());
            let packet = sealed(&mut server, one_rtt(generation));
            assert_eq!(open(&mut client, one_rtt(generation), &packet), Ok(7));
        }
        let (mut first, mut pn) = (0x40, [1, 2, 3, 4]);
        client.protect(Level::OneRtt, &[7; 16], &mut first, &mut pn[..1]);
        assert!(both(suite).1.unprotect(Level::OneRtt, &[7; 16], &mut first, &mut pn));
        assert_eq!((first, pn), (0x40, [1, 2, 3, 4]));
    }
}

#[test]
fn discarded_and_absent_keys_are_missing() {
    let (mut client, _) = both(Suite::Aes128GcmSha256);
    for level in Level::ALL {
        client.discard(level);
        assert_eq!(client.seal(Key::first(level), P0, 0, b"", &mut [0; 20]), Err(KeyError::Missing));
        assert_eq!(client.open(Key::first(level), P0, 0, b"", &mut [0; 20]), Err(KeyError::Missing));
        assert!(!client.unprotect(level, &[0; 16], &mut 0, &mut [0; 4]));
    }
    client.set_initial_keys(&provider(), 0x1a2a_3a4a, b"any dcid");
    assert!(!client.unprotect(Level::Initial, &[0; 16], &mut 0, &mut [0; 4]));
}

#[test]
fn limits_of_rfc_9001_6_6() {
    let (gcm, _) = both(Suite::Aes256GcmSha384);
    let (chacha, _) = both(Suite::ChaCha20Poly1305Sha256);
    assert_eq!(gcm.limits(Level::OneRtt).confidentiality, 1 << 23);
    assert_eq!(gcm.limits(Level::OneRtt).integrity, 1 << 52);
    assert_eq!(chacha.limits(Level::OneRtt).integrity, 1 << 36);
    assert_eq!(chacha.limits(Level::Initial).integrity, 1 << 52);
}

/// RFC 9001 A.5, and the same with the last block counter there is, which a peer is free to bring about. (That mask was
/// computed by another implementation of RFC 8439.)
#[test]
fn chacha_masks() {
    let key = hex("25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4");
    let mut header = provider().header(Suite::ChaCha20Poly1305Sha256, &key).unwrap();
    let mut mask = |sample| header.mask(&hex(sample).try_into().unwrap()).to_vec();
    assert_eq!(mask("5e5cd55c41f69080575d7999c25a5bfb"), hex("aefefe7d03"));
    assert_eq!(mask("ffffffff41f69080575d7999c25a5bfb"), hex("4db433a80a"));
}

#[test]
fn hkdf_refuses_what_it_cannot_express() {
    let expand = |label: usize, context: usize, out: usize| {
        let (label, context) = (std::vec![0; label], std::vec![0; context]);
        let hash = HashAlgorithm::Sha256;
        crate::hkdf::expand_label(&provider(), hash, &[], &label, &context, &mut std::vec![0; out]).is_ok()
    };
    assert!(expand(249, 255, 255 * 32));
    assert!(!expand(250, 0, 1) && !expand(0, 256, 1) && !expand(0, 0, 255 * 32 + 1));
}
