//! Two null sessions against each other, their bytes carried by hand.

use super::*;
use peregrine_core::session::{EndpointCrypto, TOKEN_OVERHEAD};

const DCID: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8];
const HEADER: &[u8] = &[0x40, 9, 9, 9, 0];
const ONE_RTT: Key = Key::first(Level::OneRtt);

fn session(side: Side, config: &NullConfig, params: &[u8]) -> NullSession {
    let mut session = NullSession::new(side, config);
    session.set_initial_keys(1, DCID);
    session.start(params).unwrap();
    session
}

fn start_pair(config: &NullConfig) -> (NullSession, NullSession) {
    (session(Side::Client, config, b"client params"), session(Side::Server, config, b"server params"))
}

/// Carries all CRYPTO bytes of a level from one session to the other in pieces; returns how many.
fn carry(
    from: &NullSession,
    to: &mut NullSession,
    level: Level,
    piece: usize,
) -> Result<u64, TransportError> {
    let mut offset = 0;
    while offset < from.crypto_len(level) {
        let mut bytes = vec![0; piece];
        let len = from.copy_crypto(level, offset, &mut bytes);
        to.read_crypto(level, &bytes[..len])?;
        offset += len as u64;
    }
    Ok(offset)
}

fn events(session: &mut NullSession) -> Vec<SessionEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

fn complete_pair(config: &NullConfig) -> (NullSession, NullSession) {
    let (mut client, mut server) = start_pair(config);
    carry(&client, &mut server, Level::Initial, 1000).unwrap();
    carry(&server, &mut client, Level::Initial, 1000).unwrap();
    carry(&server, &mut client, Level::Handshake, 1000).unwrap();
    carry(&client, &mut server, Level::Handshake, 1000).unwrap();
    (client, server)
}

/// A packet of `from`: text "hello", sealed under these names.
fn sealed(from: &mut NullSession, key: Key, path: u32, pn: u64) -> Vec<u8> {
    let mut payload = *b"hello----------------";
    from.seal(key, PathId(path), pn, HEADER, &mut payload).unwrap();
    payload.to_vec()
}

fn opens(
    to: &mut NullSession,
    key: Key,
    path: u32,
    pn: u64,
    header: &[u8],
    packet: &[u8],
) -> Result<(), KeyError> {
    let mut packet = packet.to_vec();
    let len = to.open(key, PathId(path), pn, header, &mut packet)?;
    assert_eq!(&packet[..len], b"hello");
    Ok(())
}

#[test]
fn handshake_in_pieces_of_any_size() {
    use SessionEvent::{Complete, Keys, PeerParams};
    let flights = Flights { client_hello: 1700, server_flight: 5000, ticket: 200, ..Flights::default() };
    for piece in [1, 3, 4, 5, 100, 10_000] {
        let (mut client, mut server) = start_pair(&NullConfig { flights, ..NullConfig::seeded(5) });
        assert_eq!((events(&mut client), events(&mut server)), (vec![], vec![]));

        assert_eq!(carry(&client, &mut server, Level::Initial, piece), Ok(1700));
        let after_hello = [PeerParams, Keys(Level::Handshake), Keys(Level::OneRtt)];
        assert_eq!(events(&mut server), after_hello);
        assert_eq!(server.peer_params(), Some(&b"client params"[..]));

        assert_eq!(carry(&server, &mut client, Level::Initial, piece), Ok(flights.server_hello as u64));
        assert_eq!(events(&mut client), [Keys(Level::Handshake)]);
        assert_eq!((client.peer_params(), client.alpn()), (None, None));

        assert_eq!(carry(&server, &mut client, Level::Handshake, piece), Ok(5000));
        assert_eq!(events(&mut client), [PeerParams, Keys(Level::OneRtt), Complete]);
        assert_eq!((client.peer_params(), client.alpn()), (Some(&b"server params"[..]), Some(ALPN)));

        assert_eq!(server.crypto_len(Level::OneRtt), 0);
        assert_eq!(carry(&client, &mut server, Level::Handshake, piece), Ok(flights.client_finished as u64));
        assert_eq!(events(&mut server), [Complete]);

        assert_eq!(carry(&server, &mut client, Level::OneRtt, piece), Ok(200));
        assert_eq!(events(&mut client), []);
    }
}

#[test]
fn messages_grow_to_hold_what_they_must() {
    let flights =
        Flights { client_hello: 0, server_hello: 0, server_flight: 0, client_finished: 0, ticket: 0 };
    let (client, server) = complete_pair(&NullConfig { flights, ..NullConfig::seeded(5) });
    assert_eq!(client.crypto_len(Level::Initial), 4 + 8 + 2 + 13);
    assert!(client.keys.is_complete() && server.keys.is_complete());
}

#[test]
fn keys_come_with_their_events_and_go_with_discard() {
    let (mut client, mut server) = start_pair(&NullConfig::seeded(5));
    let seals = |session: &mut NullSession, level, pn| {
        session.seal(Key::first(level), PathId::ZERO, pn, HEADER, &mut [0; 20])
    };
    assert_eq!(seals(&mut client, Level::Initial, 0), Ok(()));
    assert_eq!(seals(&mut client, Level::ZeroRtt, 0), Err(KeyError::Missing));
    assert_eq!(seals(&mut client, Level::Handshake, 0), Err(KeyError::Missing));
    carry(&client, &mut server, Level::Initial, 1000).unwrap();
    assert_eq!(seals(&mut server, Level::Handshake, 0), Ok(()));
    assert_eq!(seals(&mut server, Level::OneRtt, 0), Ok(()));
    carry(&server, &mut client, Level::Initial, 1000).unwrap();
    assert_eq!(seals(&mut client, Level::Handshake, 0), Ok(()));
    assert_eq!(seals(&mut client, Level::OneRtt, 0), Err(KeyError::Missing));

    let packet = sealed(&mut server, Key::first(Level::Initial), 0, 3);
    client.discard(Level::Initial);
    assert_eq!(seals(&mut client, Level::Initial, 1), Err(KeyError::Missing));
    assert_eq!(opens(&mut client, Key::first(Level::Initial), 0, 3, HEADER, &packet), Err(KeyError::Missing));
    assert!(!client.unprotect(Level::Initial, &[0; 16], &mut 0xc0, &mut [0; 4]));
    assert_eq!(
        (client.crypto_len(Level::Initial), client.copy_crypto(Level::Initial, 0, &mut [0; 9])),
        (0, 0)
    );
    assert_eq!(client.counters().missing, 5);
}

#[test]
fn a_packet_opens_only_under_the_names_it_was_sealed_with() {
    let (mut client, mut server) = complete_pair(&NullConfig::seeded(5));
    let packet = sealed(&mut client, ONE_RTT, 1, 7);
    let forged = Err(KeyError::Forged);
    assert_eq!(opens(&mut server, ONE_RTT, 0, 7, HEADER, &packet), forged);
    assert_eq!(opens(&mut server, ONE_RTT, 1, 8, HEADER, &packet), forged);
    assert_eq!(opens(&mut server, ONE_RTT, 1, 7, &HEADER[1..], &packet), forged);
    assert_eq!(opens(&mut server, Key { generation: 1, ..ONE_RTT }, 1, 7, HEADER, &packet), forged);
    assert_eq!(opens(&mut server, Key::first(Level::Handshake), 1, 7, HEADER, &packet), forged);
    assert_eq!(opens(&mut client, ONE_RTT, 1, 7, HEADER, &packet), forged, "keys have a direction");
    assert_eq!(opens(&mut server, ONE_RTT, 1, 7, HEADER, &packet[..15]), forged);
    for byte in 0..packet.len() {
        let mut flipped = packet.clone();
        flipped[byte] ^= 0x10;
        let mut opened = flipped.clone();
        assert_eq!(server.open(ONE_RTT, PathId(1), 7, HEADER, &mut opened), Err(KeyError::Forged));
        assert_eq!(opened, flipped, "what did not open is left alone");
    }
    assert_eq!(server.counters().forged, 6 + packet.len() as u64);
    assert_eq!(opens(&mut server, ONE_RTT, 1, 7, HEADER, &packet), Ok(()));
    assert_eq!((server.counters().opened, client.counters().sealed), ([0, 0, 0, 1], [0, 0, 0, 1]));
    assert_ne!(&packet[..5], b"hello");

    let (_, mut stranger) = complete_pair(&NullConfig::seeded(6));
    assert_eq!(
        opens(&mut stranger, ONE_RTT, 1, 7, HEADER, &packet),
        forged,
        "connections have their own keys"
    );
}

#[test]
fn key_updates_keep_the_generation_before_until_it_is_retired() {
    let (mut client, mut server) = complete_pair(&NullConfig::seeded(5));
    let second = Key { generation: 1, ..ONE_RTT };
    let late = sealed(&mut client, ONE_RTT, 0, 0);
    client.update_keys();
    assert_eq!(client.seal(ONE_RTT, PathId::ZERO, 9, HEADER, &mut [0; 20]), Err(KeyError::Missing));
    let first_of_second = sealed(&mut client, second, 0, 1);
    assert_eq!(
        opens(&mut server, second, 0, 1, HEADER, &first_of_second),
        Ok(()),
        "the next one opens unasked"
    );
    server.update_keys();
    assert_eq!(opens(&mut server, ONE_RTT, 0, 0, HEADER, &late), Ok(()));
    server.retire_keys();
    assert_eq!(opens(&mut server, ONE_RTT, 0, 0, HEADER, &late), Err(KeyError::Missing));
    assert_eq!(opens(&mut server, second, 0, 1, HEADER, &first_of_second), Ok(()));
    let third = Key { generation: 3, ..ONE_RTT };
    assert_eq!(opens(&mut server, third, 0, 1, HEADER, &late), Err(KeyError::Missing));
    assert_eq!(server.counters().updates, 1);
}

#[test]
#[should_panic(expected = "packet number 4 of path 2 was sealed after Some(4)")]
fn a_packet_number_sealed_twice_is_found() {
    let (mut client, _) = complete_pair(&NullConfig::seeded(5));
    sealed(&mut client, ONE_RTT, 1, 4);
    sealed(&mut client, Key::first(Level::Handshake), 2, 4);
    sealed(&mut client, ONE_RTT, 2, 4);
    sealed(&mut client, ONE_RTT, 2, 4);
}

#[test]
#[should_panic(expected = "packet number 4 of path 2 was sealed after Some(5)")]
fn packet_numbers_that_fall_are_found() {
    let (mut client, _) = complete_pair(&NullConfig::seeded(5));
    sealed(&mut client, ONE_RTT, 3, 9);
    sealed(&mut client, ONE_RTT, 2, 5);
    assert_eq!((client.last_sealed(PathId(1)), client.last_sealed(PathId(2))), (None, Some(5)));
    sealed(&mut client, ONE_RTT, 2, 4);
}

#[test]
#[should_panic(expected = "was sealed after Some(0)")]
fn packet_numbers_that_start_again_after_a_retry_are_found() {
    let (mut client, _) = start_pair(&NullConfig::seeded(5));
    sealed(&mut client, Key::first(Level::Initial), 0, 0);
    client.set_initial_keys(1, b"from the retry");
    sealed(&mut client, Key::first(Level::Initial), 0, 0);
}

fn with_limit(confidentiality: u64) -> NullSession {
    let limits = AeadLimits { confidentiality, integrity: 10 };
    let (client, _) = complete_pair(&NullConfig { limits, ..NullConfig::seeded(5) });
    assert_eq!(client.limits(Level::OneRtt), limits);
    client
}

#[test]
fn a_key_update_makes_the_limit_count_anew() {
    let mut client = with_limit(3);
    for pn in 0..9 {
        let generation = u32::try_from(pn / 3).unwrap();
        sealed(&mut client, Key { generation, ..ONE_RTT }, 0, pn);
        if pn % 3 == 2 {
            client.update_keys();
        }
    }
}

#[test]
#[should_panic(expected = "beyond its confidentiality limit")]
fn a_key_used_beyond_its_limit_is_found() {
    let mut client = with_limit(3);
    (0..4).for_each(|pn| drop(sealed(&mut client, ONE_RTT, 0, pn)));
}

#[test]
#[should_panic(expected = "before its handshake was complete")]
fn a_server_that_opens_one_rtt_too_early_is_found() {
    let (mut client, mut server) = start_pair(&NullConfig::seeded(5));
    carry(&client, &mut server, Level::Initial, 1000).unwrap();
    carry(&server, &mut client, Level::Initial, 1000).unwrap();
    carry(&server, &mut client, Level::Handshake, 1000).unwrap();
    let packet = sealed(&mut client, ONE_RTT, 0, 0);
    let _ = opens(&mut server, ONE_RTT, 0, 0, HEADER, &packet);
}

#[test]
fn header_protection_comes_off_and_leaves_the_rest_alone() {
    let (mut client, mut server) = complete_pair(&NullConfig::seeded(5));
    let sample = *b"sixteen of these";
    for first in [0x40, 0x41, 0x42, 0x43, 0x5f, 0xe0, 0xe1, 0xe2, 0xe3] {
        let len = usize::from(first & 3) + 1;
        let (mut on_wire, mut pn) = (first, [10, 20, 30, 40]);
        client.protect(Level::OneRtt, &sample, &mut on_wire, &mut pn[..len]);
        assert_ne!(pn[..len], [10, 20, 30, 40][..len]);
        assert_eq!(on_wire & 0xe0, first & 0xe0);
        assert!(server.unprotect(Level::OneRtt, &sample, &mut on_wire, &mut pn));
        assert_eq!((on_wire, pn), (first, [10, 20, 30, 40]));
    }
    let (mut long, mut other) = (0xe3, 0xe3);
    client.protect(Level::Handshake, &sample, &mut long, &mut [0; 4]);
    client.protect(Level::Handshake, b"another sample !", &mut other, &mut [0; 4]);
    assert_eq!((long & 0xf0, other & 0xf0), (0xe0, 0xe0), "only four bits of a long header are protected");
}

#[test]
fn crypto_bytes_can_be_asked_for_again_until_acknowledged() {
    let (mut client, _) = start_pair(&NullConfig::seeded(5));
    let len = client.crypto_len(Level::Initial);
    let mut whole = vec![0; 1000];
    assert_eq!(client.copy_crypto(Level::Initial, 0, &mut whole) as u64, len);
    client.crypto_acked(Level::Initial, 7);
    client.crypto_acked(Level::Initial, 3);
    let mut tail = [0; 20];
    assert_eq!(client.copy_crypto(Level::Initial, 7, &mut tail), 20);
    assert_eq!(tail, whole[7..27]);
    assert_eq!(client.copy_crypto(Level::Initial, len - 1, &mut tail), 1);
    assert_eq!(client.copy_crypto(Level::Initial, len, &mut tail), 0);
    assert_eq!(client.crypto_len(Level::Initial), len);
}

#[test]
#[should_panic(expected = "offset 6 was reported acknowledged")]
fn acknowledged_crypto_bytes_are_gone() {
    let (mut client, _) = start_pair(&NullConfig::seeded(5));
    client.crypto_acked(Level::Initial, 7);
    client.copy_crypto(Level::Initial, 6, &mut [0; 1]);
}

#[test]
fn bad_messages_are_alerts() {
    let alert = |result: Result<(), TransportError>| result.unwrap_err().code().alert();
    let fresh = || start_pair(&NullConfig::seeded(5)).1;
    assert_eq!(alert(fresh().read_crypto(Level::Handshake, &[1])), Some(10));
    assert_eq!(alert(fresh().read_crypto(Level::Initial, &[2])), Some(10));
    assert_eq!(alert(fresh().read_crypto(Level::Initial, &[1, 255, 0, 0])), Some(50));
    assert_eq!(alert(fresh().read_crypto(Level::Initial, &[1, 0, 0, 3, 0, 0, 0])), Some(50));
    assert_eq!(
        alert(fresh().read_crypto(Level::Initial, &[1, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
        Some(50)
    );

    let (client, mut server) = start_pair(&NullConfig::seeded(5));
    let mut hello = vec![0; 1000];
    let len = client.copy_crypto(Level::Initial, 0, &mut hello);
    assert_eq!(alert(server.read_crypto(Level::Initial, &hello[..=len])), Some(10), "a byte too many");
}

#[test]
fn a_tampered_hello_is_noticed() {
    let (mut client, mut server) = start_pair(&NullConfig::seeded(5));
    let mut hello = vec![0; 1000];
    let len = client.copy_crypto(Level::Initial, 0, &mut hello);
    hello[len - 1] ^= 1;
    server.read_crypto(Level::Initial, &hello[..len]).unwrap();
    carry(&server, &mut client, Level::Initial, 1000).unwrap();
    let error = carry(&server, &mut client, Level::Handshake, 1000).unwrap_err();
    assert_eq!(error.code().alert(), Some(51));
}

#[test]
fn refuses_when_told_to() {
    let refusing = NullConfig { refuse: Some(42), ..NullConfig::seeded(5) };
    let willing = NullConfig::seeded(5);
    let mut server = session(Side::Server, &refusing, b"");
    let client = session(Side::Client, &willing, b"");
    assert_eq!(carry(&client, &mut server, Level::Initial, 1000).unwrap_err().code().alert(), Some(42));

    let mut server = session(Side::Server, &willing, b"");
    let mut client = session(Side::Client, &refusing, b"");
    carry(&client, &mut server, Level::Initial, 1000).unwrap();
    carry(&server, &mut client, Level::Initial, 1000).unwrap();
    assert_eq!(carry(&server, &mut client, Level::Handshake, 1000).unwrap_err().code().alert(), Some(42));
}

#[test]
fn exports_agree_once_complete() {
    let export = |session: &NullSession, label: &[u8]| {
        let mut out = [0; 20];
        session.export(label, b"context", &mut out).map(|()| out)
    };
    assert_eq!(export(&start_pair(&NullConfig::seeded(5)).0, b"a"), Err(KeyError::Missing));
    let (client, server) = complete_pair(&NullConfig::seeded(5));
    assert_eq!(export(&client, b"a"), export(&server, b"a"));
    assert_ne!(export(&client, b"a"), export(&client, b"b"));
    assert_ne!(export(&client, b"a"), export(&complete_pair(&NullConfig::seeded(6)).0, b"a"));
}

#[test]
fn random_bytes_are_those_of_the_seed() {
    let draw = |side, seed| {
        let mut out = [0; 20];
        NullSession::new(side, &NullConfig::seeded(seed)).fill_random(&mut out);
        out
    };
    assert_eq!(draw(Side::Client, 5), draw(Side::Client, 5));
    assert_ne!(draw(Side::Client, 5), draw(Side::Client, 6));
    assert_ne!(
        draw(Side::Client, 5),
        draw(Side::Server, 5),
        "or both sides would choose equal connection IDs"
    );
}

#[test]
fn retry_tags_are_verified() {
    let (client, _) = start_pair(&NullConfig::seeded(5));
    let tag = NullEndpointCrypto::new(9).retry_tag(1, DCID, b"retry");
    assert!(client.verify_retry(1, DCID, b"retry", &tag));
    assert!(!client.verify_retry(2, DCID, b"retry", &tag));
    assert!(!client.verify_retry(1, &DCID[1..], b"retry", &tag));
    assert!(!client.verify_retry(1, DCID, b"Retry", &tag));
}

#[test]
fn tokens_open_where_they_were_made_and_after_a_restart() {
    let mut endpoint = NullEndpointCrypto::new(9);
    let mut token = [b't'; 40];
    assert_eq!(endpoint.seal_token(&mut token, 40 - TOKEN_OVERHEAD + 1), None);
    assert_eq!(endpoint.seal_token(&mut token, 40 - TOKEN_OVERHEAD), Some(40));
    let opens = |endpoint: &mut NullEndpointCrypto, mut token: Vec<u8>| {
        endpoint.open_token(&mut token).map(|len| token[..len].to_vec())
    };
    assert_eq!(opens(&mut NullEndpointCrypto::new(9), token.to_vec()), Some(vec![b't'; 8]));
    assert_eq!(opens(&mut NullEndpointCrypto::new(8), token.to_vec()), None);
    for byte in 0..token.len() {
        let mut flipped = token.to_vec();
        flipped[byte] ^= 1;
        assert_eq!(opens(&mut endpoint, flipped), None, "byte {byte}");
    }
    assert_eq!(opens(&mut endpoint, vec![0; 31]), None);
    let mut again = [b't'; 40];
    endpoint.seal_token(&mut again, 8);
    assert_ne!(again, token);
}

#[test]
fn reset_tokens_belong_to_an_endpoint_and_a_cid() {
    let mut endpoint = NullEndpointCrypto::new(9);
    assert_eq!(endpoint.reset_token(DCID), NullEndpointCrypto::new(9).reset_token(DCID));
    assert_ne!(endpoint.reset_token(DCID), endpoint.reset_token(&DCID[1..]));
    assert_ne!(endpoint.reset_token(DCID), NullEndpointCrypto::new(8).reset_token(DCID));
}

#[test]
fn a_client_opens_an_initial_of_the_endpoint() {
    for pn_len in 1..=4 {
        let (mut client, _) = start_pair(&NullConfig::seeded(5));
        let first = 0xc0 | u8::try_from(pn_len - 1).unwrap();
        let mut packet = [&[first, 0, 0, 0, 1, 0, 0], &vec![0; pn_len][..], b"hello", &[0; TAG_LEN]].concat();
        let header_len = 7 + pn_len;
        packet[header_len - 1] = 3;
        NullEndpointCrypto::new(9).seal_initial(1, DCID, 3, &mut packet, header_len, pn_len);

        let sample = packet[11..27].try_into().unwrap();
        let mut pn = packet[7..11].try_into().unwrap();
        assert!(client.unprotect(Level::Initial, &sample, &mut packet[0], &mut pn));
        packet[7..11].copy_from_slice(&pn);
        let (header, payload) = packet.split_at_mut(header_len);
        assert_eq!((header[0], header[header_len - 1]), (first, 3));
        let len = client.open(Key::first(Level::Initial), PathId::ZERO, 3, header, payload).unwrap();
        assert_eq!(&payload[..len], b"hello");
    }
}
