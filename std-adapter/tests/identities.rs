//! Who is let in and who is not, with both TLS implementations in both roles, and what is said of it.

use std::sync::atomic::{AtomicU32, Ordering};

use peregrine_crypto::provider::{Group, Suite};
use peregrine_std::identity::{Identity, Pin, Psk, RawKey};
use peregrine_std::tls::{ClientTls, ServerTls, Shown, TlsError, Trust, ours};
use peregrine_std::{Builder, Closed, Error, Sizes};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

mod common;
use common::{ALPN, NAME, PATIENCE, Pair, Tls, fetch, serve};

const WHICH: [[Tls; 2]; 4] =
    [[Tls::Ours, Tls::Ours], [Tls::Ours, Tls::Rustls], [Tls::Rustls, Tls::Ours], [Tls::Rustls, Tls::Rustls]];

/// A certificate authority.
struct Ca(CertifiedIssuer<'static, KeyPair>);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // An issuer is found by its name.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("CA {number}"));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.as_ref().der().clone()
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        self.issue_for(&KeyPair::generate().unwrap(), change)
    }

    fn issue_for(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([NAME.into()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity { chain: vec![certificate.der().clone()], key }
    }

    fn trust(&self) -> Trust {
        Trust::Roots(vec![self.root()])
    }
}

fn raw_key() -> RawKey {
    let pair = KeyPair::generate().unwrap();
    let key = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    RawKey { public: pair.subject_public_key_info().into(), key }
}

/// Memory for one small transfer: each test here has many connections, some of which drain while the next are made.
fn little(builder: Builder) -> Builder {
    builder.sizes(Sizes { streams: 8, receive: 16 << 10, send: 16 << 10, ..Sizes::default() })
}

fn works(server: ServerTls, client: ClientTls, which: [Tls; 2]) {
    let pair = Pair::of(server, client, which, little);
    let (client, server) = pair.connect();
    let serving = std::thread::spawn(move || serve(&server));
    fetch(&client, 10_000);
    client.close(0, "");
    serving.join().unwrap();
}

fn fails(server: ServerTls, client: ClientTls, which: [Tls; 2]) -> Closed {
    let pair = Pair::of(server, client, which, little);
    match pair.client.connect(pair.address, NAME) {
        Err(Error::Closed(closed)) => closed,
        Err(other) => panic!("{other}"),
        // A client that is not let in learns so only after its own handshake.
        Ok(connection) => connection.closed(),
    }
}

fn server(identity: Identity) -> ServerTls {
    ServerTls::new(Shown::Certificate(identity), ALPN)
}

#[test]
fn a_certificate_of_a_trusted_ca_is_enough() {
    let ca = Ca::new();
    for which in WHICH {
        works(server(ca.issue(|_| {})), ClientTls::new(ca.trust(), ALPN), which);
    }
}

#[test]
fn every_kind_of_key_signs_where_it_can() {
    let ca = Ca::new();
    for (algorithm, we_sign) in [
        (&PKCS_ECDSA_P256_SHA256, true),
        (&PKCS_ECDSA_P384_SHA384, true),
        (&PKCS_ED25519, true),
        (&PKCS_RSA_SHA256, false),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        for which in WHICH {
            let identity = ca.issue_for(&key, |_| {});
            if we_sign || which[0] == Tls::Rustls {
                works(server(identity), ClientTls::new(ca.trust(), ALPN), which);
            } else {
                let refused = ours::Server::new(server(identity)).err();
                assert_eq!(refused, Some(TlsError::KindOfKey));
            }
        }
    }
}

#[test]
fn a_pinned_key_needs_no_ca() {
    for which in WHICH {
        let identity = Ca::new().issue(|_| {});
        let pin = identity.pin().unwrap();
        works(server(identity), ClientTls::new(Trust::Pins(vec![pin]), ALPN), which);
    }
}

#[test]
fn raw_keys_need_no_certificate() {
    for which in WHICH {
        let key = raw_key();
        let trust = Trust::RawKeys(vec![key.public.clone()]);
        works(ServerTls::new(Shown::RawKey(key), ALPN), ClientTls::new(trust, ALPN), which);
    }
}

#[test]
fn anyone_is_trusted_where_that_is_asked_for() {
    for which in WHICH {
        works(server(Ca::new().issue(|_| {})), ClientTls::new(Trust::Anyone, ALPN), which);
    }
}

#[test]
fn a_shared_key_is_enough_and_another_one_is_not() {
    let psk: Psk = "sensor-7:00112233445566778899aabbccddeeff".parse().unwrap();
    let with = |psk: &Psk| ClientTls::new(Trust::Psk(psk.clone()), ALPN);
    works(ServerTls::with_psk(psk.clone(), ALPN), with(&psk), [Tls::Ours; 2]);
    for other in ["sensor-7:00112233445566778899aabbccddee00", "sensor-8:00112233445566778899aabbccddeeff"] {
        let closed =
            fails(ServerTls::with_psk(psk.clone(), ALPN), with(&other.parse().unwrap()), [Tls::Ours; 2]);
        assert!(closed.code().is_some_and(|code| code.alert().is_some()), "{closed}");
    }
}

#[test]
fn a_server_knows_whose_shared_key_it_was() {
    let psks: [Psk; 2] =
        ["sensor-7:00112233445566778899aabbccddeeff", "sensor-8:ff112233445566778899aabbccddeeff"]
            .map(|psk| psk.parse().unwrap());
    let mut tls = ServerTls::with_psk(psks[0].clone(), ALPN);
    tls.psks.push(psks[1].clone());
    let pair =
        Pair::of(tls, ClientTls::new(Trust::Psk(psks[1].clone()), ALPN), [Tls::Ours; 2], |builder| builder);
    let (client, server) = pair.connect();
    for end in [&client, &server] {
        assert_eq!(end.agreed().psk.as_deref(), Some(&b"sensor-8"[..]));
    }
}

#[test]
fn clients_show_certificates_where_they_must() {
    let (ca, clients) = (Ca::new(), Ca::new());
    for which in WHICH {
        let demanding = || {
            let mut tls = server(ca.issue(|_| {}));
            tls.clients = Some(clients.trust());
            tls
        };
        let mut client = ClientTls::new(ca.trust(), ALPN);
        client.shown = Some(Shown::Certificate(clients.issue(|_| {})));
        works(demanding(), client, which);
        let closed = fails(demanding(), ClientTls::new(ca.trust(), ALPN), which);
        assert!(closed.to_string().contains("it demands a certificate of ours"), "{which:?} {closed}");
        let mut stranger = ClientTls::new(ca.trust(), ALPN);
        stranger.shown = Some(Shown::Certificate(Ca::new().issue(|_| {})));
        let closed = fails(demanding(), stranger, which);
        assert!(closed.to_string().contains("does not know the issuer"), "{which:?} {closed}");
    }
}

#[test]
fn every_suite_and_group() {
    let ca = Ca::new();
    for which in WHICH {
        for suite in [Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::ChaCha20Poly1305Sha256] {
            for group in [Group::X25519, Group::Secp256r1] {
                let mut client = ClientTls::new(ca.trust(), ALPN);
                (client.suites, client.groups) = (vec![suite], vec![group]);
                works(server(ca.issue(|_| {})), client, which);
            }
        }
    }
}

#[test]
fn a_server_that_wants_another_group_asks_again() {
    let ca = Ca::new();
    for which in WHICH {
        let mut server = server(ca.issue(|_| {}));
        server.groups = vec![Group::Secp256r1];
        works(server, ClientTls::new(ca.trust(), ALPN), which);
    }
}

#[test]
fn what_is_wrong_with_a_server_is_named() {
    let ca = Ca::new();
    let another = Pin::of(b"another key");
    for which in WHICH {
        let trusted = || ClientTls::new(ca.trust(), ALPN);
        let expired = ca.issue(|params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        });
        let early = ca.issue(|params| params.not_before = date_time_ymd(2500, 1, 1));
        let misnamed = ca.issue(|params| params.subject_alt_names.clear());
        let no_alpn = ServerTls::new(Shown::Certificate(ca.issue(|_| {})), &[b"other"]);
        for (server, client, alerts, words) in [
            (server(expired), trusted(), &[45][..], "expired"),
            (server(early), trusted(), &[45, 42], "not"),
            (server(misnamed), trusted(), &[42], "another name"),
            (server(Ca::new().issue(|_| {})), trusted(), &[48], "TLS unknown_ca"),
            (server(Identity::self_signed(&[NAME.into()]).unwrap()), trusted(), &[48], "TLS unknown_ca"),
            (
                server(ca.issue(|_| {})),
                ClientTls::new(Trust::Pins(vec![another]), ALPN),
                &[46, 49],
                "TLS failed",
            ),
            (no_alpn, trusted(), &[120], "no application protocol in common"),
        ] {
            let closed = fails(server, client, which);
            let alert = closed.code().and_then(|code| code.alert());
            assert!(alert.is_some_and(|alert| alerts.contains(&alert)), "{which:?} {alerts:?} {closed}");
            assert!(closed.to_string().contains(words), "{which:?} {closed}");
        }
    }
}

#[test]
fn the_peer_is_known_by_its_key_on_both_sides() {
    let ca = Ca::new();
    for which in WHICH {
        let (shown, client_shown) = (ca.issue(|_| {}), ca.issue(|_| {}));
        let pins = [shown.pin().unwrap().0, client_shown.pin().unwrap().0];
        let mut server = server(shown);
        server.clients = Some(ca.trust());
        let mut client = ClientTls::new(ca.trust(), ALPN);
        client.shown = Some(Shown::Certificate(client_shown));
        let pair = Pair::of(server, client, which, little);
        let client = pair.client.connect(pair.address, NAME).unwrap();
        let server = pair.server.accept_within(PATIENCE).unwrap();
        assert_eq!([client.agreed().peer_key, server.agreed().peer_key], pins.map(Some), "{which:?}");
        assert_eq!(server.agreed().server_name.as_deref(), Some(NAME));
    }
}
