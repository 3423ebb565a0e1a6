use super::*;
use peregrine_core::error::Code;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

const DCID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const ONE_RTT: Key = Key::first(Level::OneRtt);

struct Setup {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    alpn: [&'static [u8]; 2],
    name: &'static str,
    trusted: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let made = rcgen::generate_simple_self_signed(["server.test".into()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            key: made.signing_key.serialize_der().into(),
            alpn: [b"hq-interop"; 2],
            name: "server.test",
            trusted: true,
        }
    }
}

impl Setup {
    /// Both ends, with Initial keys and started.
    fn start(self) -> (RustlsSession, RustlsSession) {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        if self.trusted {
            roots.add(self.certificate.clone()).unwrap();
        }
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![self.alpn[0].to_vec()];
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key.into())
            .unwrap();
        server.alpn_protocols = vec![self.alpn[1].to_vec()];
        let mut client = RustlsSession::client(Arc::new(client), ServerName::try_from(self.name).unwrap());
        let mut server = RustlsSession::server(Arc::new(server));
        for (session, params) in [(&mut client, b"client's"), (&mut server, b"server's")] {
            session.set_initial_keys(1, &DCID);
            session.start(params).unwrap();
        }
        (client, server)
    }
}

/// Carries the CRYPTO bytes that `to` has not seen, in pieces of `piece` bytes; `seen` counts per level.
fn carry(
    from: &RustlsSession,
    to: &mut RustlsSession,
    seen: &mut [u64; 4],
    piece: usize,
) -> Result<bool, TransportError> {
    let mut moved = false;
    for (level, seen) in Level::ALL.into_iter().zip(seen) {
        let mut buffer = vec![0; piece];
        while *seen < from.crypto_len(level) {
            let len = from.copy_crypto(level, *seen, &mut buffer);
            to.read_crypto(level, &buffer[..len])?;
            *seen += len as u64;
            moved = true;
        }
    }
    Ok(moved)
}

fn handshake(
    client: &mut RustlsSession,
    server: &mut RustlsSession,
    piece: usize,
) -> Result<(), TransportError> {
    let (mut at_client, mut at_server) = ([0; 4], [0; 4]);
    while carry(client, server, &mut at_server, piece)? | carry(server, client, &mut at_client, piece)? {}
    Ok(())
}

fn events(session: &mut RustlsSession) -> Vec<SessionEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// One packet from `from` to `to`, header protection included.
fn cross(
    from: &mut RustlsSession,
    to: &mut RustlsSession,
    send: Key,
    receive: Key,
    path: PathId,
) -> Result<(), KeyError> {
    let mut header = [0x43, 9, 9, 0, 0, 1, 7];
    let mut payload = *b"a payload of some size................";
    let plain = payload;
    let plain = &plain[..payload.len() - TAG_LEN];
    from.seal(send, path, 263, &header, &mut payload)?;
    let sample = payload[..SAMPLE_LEN].try_into().unwrap();
    let (first, pn) = header.split_at_mut(3);
    from.protect(send.level, &sample, &mut first[0], pn);
    let pn: &mut [u8; 4] = pn.try_into().unwrap();
    assert!(to.unprotect(receive.level, &sample, &mut first[0], pn));
    assert_eq!(header, [0x43, 9, 9, 0, 0, 1, 7]);
    let len = to.open(receive, path, 263, &header, &mut payload)?;
    assert_eq!(&payload[..len], plain);
    Ok(())
}

#[test]
fn a_handshake_carried_by_hand_in_pieces_of_any_size() {
    for piece in [1, 100, 100_000] {
        let (mut client, mut server) = Setup::default().start();
        assert!(client.peer_params().is_none());
        handshake(&mut client, &mut server, piece).unwrap();
        use SessionEvent::{Complete, Keys, PeerParams};
        let expected = [PeerParams, Keys(Level::Handshake), Keys(Level::OneRtt), Complete];
        assert_eq!(events(&mut server), expected);
        let mut of_client = events(&mut client);
        of_client.sort_by_key(|event| expected.iter().position(|other| other == event));
        assert_eq!(of_client, expected);
        assert_eq!(
            (client.peer_params(), server.peer_params()),
            (Some(&b"server's"[..]), Some(&b"client's"[..]))
        );
        assert_eq!((client.alpn(), server.alpn()), (Some(&b"hq-interop"[..]), Some(&b"hq-interop"[..])));
        // The client's Finished belongs to the Handshake level, whatever came together.
        assert!(client.crypto_len(Level::Handshake) > 0);
        let (mut a, mut b) = ([0; 40], [0; 40]);
        client.export(b"label", b"context", &mut a).unwrap();
        server.export(b"label", b"context", &mut b).unwrap();
        assert_eq!(a, b);
    }
}

#[test]
fn packets_cross_at_every_level_both_ways() {
    let (mut client, mut server) = Setup::default().start();
    assert_eq!(client.seal(ONE_RTT, PathId::ZERO, 0, &[], &mut [0; 20]), Err(KeyError::Missing));
    handshake(&mut client, &mut server, 5000).unwrap();
    for level in [Level::Initial, Level::Handshake, Level::OneRtt] {
        let key = Key::first(level);
        cross(&mut client, &mut server, key, key, PathId::ZERO).unwrap();
        cross(&mut server, &mut client, key, key, PathId::ZERO).unwrap();
        assert!(client.limits(level).confidentiality < u64::MAX);
        client.discard(level);
        assert_eq!(cross(&mut client, &mut server, key, key, PathId::ZERO), Err(KeyError::Missing));
    }
}

#[test]
fn the_path_is_part_of_the_nonce() {
    let (mut client, mut server) = Setup::default().start();
    handshake(&mut client, &mut server, 5000).unwrap();
    cross(&mut client, &mut server, ONE_RTT, ONE_RTT, PathId(3)).unwrap();
    let mut payload = [0; 40];
    client.seal(ONE_RTT, PathId(3), 1, &[], &mut payload).unwrap();
    assert_eq!(server.open(ONE_RTT, PathId(4), 1, &[], &mut payload), Err(KeyError::Forged));
}

#[test]
fn key_updates_by_either_side() {
    let (mut client, mut server) = Setup::default().start();
    handshake(&mut client, &mut server, 5000).unwrap();
    let generation = |generation| Key { level: Level::OneRtt, generation };
    client.update_keys();
    assert_eq!(
        cross(&mut client, &mut server, generation(0), generation(0), PathId::ZERO),
        Err(KeyError::Missing)
    );
    // The server has the next keys at hand before it updates, the client the previous ones until it retires them.
    cross(&mut client, &mut server, generation(1), generation(1), PathId::ZERO).unwrap();
    cross(&mut server, &mut client, generation(0), generation(0), PathId::ZERO).unwrap();
    client.retire_keys();
    assert_eq!(
        cross(&mut server, &mut client, generation(0), generation(0), PathId::ZERO),
        Err(KeyError::Missing)
    );
    server.update_keys();
    server.update_keys();
    cross(&mut server, &mut client, generation(2), generation(2), PathId::ZERO).unwrap();
    assert_eq!(
        cross(&mut server, &mut client, generation(2), generation(1), PathId::ZERO),
        Err(KeyError::Forged)
    );
}

#[test]
fn acknowledged_bytes_are_forgotten_and_others_are_not() {
    let (mut client, mut server) = Setup::default().start();
    let len = client.crypto_len(Level::Initial);
    client.crypto_acked(Level::Initial, 5);
    let mut byte = [0];
    assert_eq!(client.copy_crypto(Level::Initial, 4, &mut byte), 0);
    assert_eq!(client.copy_crypto(Level::Initial, 5, &mut byte), 1);
    assert_eq!(client.copy_crypto(Level::Initial, len, &mut byte), 0);
    assert_eq!(client.crypto_len(Level::Initial), len);
    client.discard(Level::Initial);
    assert_eq!(
        (client.copy_crypto(Level::Initial, 5, &mut byte), client.crypto_len(Level::Initial)),
        (0, len)
    );
    server.crypto_acked(Level::ZeroRtt, 5);
}

#[test]
fn failures_have_an_alert_and_a_cause() {
    let fails = |setup: Setup| {
        let (mut client, mut server) = setup.start();
        handshake(&mut client, &mut server, 5000).unwrap_err()
    };
    let error = fails(Setup { name: "other.test", ..Setup::default() });
    assert_eq!(error, TransportError::alert(42, "the certificate is for another name"));
    let error = fails(Setup { trusted: false, ..Setup::default() });
    assert_eq!(error, TransportError::alert(48, "the certificate's issuer is not trusted"));
    let error = fails(Setup { alpn: [b"a", b"b"], ..Setup::default() });
    assert_eq!(error, TransportError::alert(120, "no application protocol in common"));
}

#[test]
fn tls_bytes_at_the_wrong_level_are_a_violation() {
    let (mut client, mut server) = Setup::default().start();
    assert_eq!(server.read_crypto(Level::Handshake, b"x").unwrap_err().code(), Code::PROTOCOL_VIOLATION);
    handshake(&mut client, &mut server, 5000).unwrap();
    assert_eq!(client.read_crypto(Level::Initial, b"x").unwrap_err().code(), Code::PROTOCOL_VIOLATION);
}

#[test]
fn randomness_differs_from_call_to_call() {
    let (mut client, _) = Setup::default().start();
    let (mut a, mut b) = ([0; 16], [0; 16]);
    client.fill_random(&mut a);
    client.fill_random(&mut b);
    assert_ne!(a, b);
}

#[test]
fn a_retry_packet_is_verified() {
    let (client, _) = Setup::default().start();
    // RFC 9001 A.4.
    let original_dcid = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
    let retry = b"\xff\x00\x00\x00\x01\x00\x08\xf0\x67\xa5\x50\x2a\x42\x62\xb5token";
    let tag = 0x04a2_65ba_2eff_4d82_9058_fb3f_0f24_96ba_u128.to_be_bytes();
    assert!(client.verify_retry(1, &original_dcid, retry, &tag));
    assert!(!client.verify_retry(2, &original_dcid, retry, &tag));
    assert!(!client.verify_retry(1, &original_dcid[1..], retry, &tag));
}
