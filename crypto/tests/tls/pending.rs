//! Steps with public keys that are answered late, never, or with a failure: TLS rests, takes what comes meanwhile, and goes on
//! when it is asked to.

use std::sync::Arc;

use peregrine_core::error::TransportError;
use peregrine_core::session::{Level, Session};
use peregrine_crypto::provider::{Group, Provider};
use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::tls::{
    ClientAuth, ClientConfig, ClientSession, Credential, Identity, Psk, Role, ServerConfig, ServerSession,
    TlsSession,
};

use crate::late::{Hardware, Late, LateKey, LateVerifier, Manner, Step};
use crate::own::{CLIENT, PSK, SERVER};
use crate::peer::{Peer, assert_agreed};
use crate::wire::{CLIENT_PARAMS, Failed, LEVELS, SCRATCH, SERVER_PARAMS, assert_complete, said};

pub(crate) trait Parks: Session {
    fn is_parked(&self) -> bool;
}

impl<'a, P: Provider, R: Role<'a>> Parks for TlsSession<'a, P, Vec<u8>, R> {
    fn is_parked(&self) -> bool {
        Self::is_parked(self)
    }
}

impl Parks for Peer {
    fn is_parked(&self) -> bool {
        false
    }
}

/// Carries what `from` says on the levels that `to` can open, in pieces of `step` bytes.
fn carry(
    from: &dyn Parks,
    to: &mut dyn Parks,
    sent: &mut [u64; 3],
    step: usize,
) -> Result<bool, TransportError> {
    let mut any = false;
    for (level, sent) in LEVELS.into_iter().zip(sent) {
        if level != Level::Initial && !to.unprotect(level, &[0; 16], &mut 0, &mut [0; 4]) {
            continue;
        }
        let bytes = said(from, level, *sent);
        *sent += bytes.len() as u64;
        for piece in bytes.chunks(step) {
            any = true;
            to.read_crypto(level, piece)?;
        }
    }
    Ok(any)
}

/// Lets both speak until neither has anything to say or waits; returns how often one was asked to go on. When all is quiet, that
/// is: what can be said while the other waits, is.
fn exchange(client: &mut dyn Parks, server: &mut dyn Parks, step: usize) -> Result<u32, Failed> {
    let (mut up, mut down) = ([0; 3], [0; 3]);
    let mut resumed = 0;
    for _ in 0..200 {
        while carry(client, server, &mut up, step).map_err(Failed::Server)?
            | carry(server, client, &mut down, step).map_err(Failed::Client)?
        {}
        if !client.is_parked() && !server.is_parked() {
            return Ok(resumed);
        }
        resumed += u32::from(client.is_parked()) + u32::from(server.is_parked());
        client.resume().map_err(Failed::Client)?;
        server.resume().map_err(Failed::Server)?;
    }
    panic!("it takes too long");
}

/// Both sides with keys of their own in their hardware, which know each other's.
pub(crate) struct Sides {
    pub(crate) spkis: [Vec<u8>; 2],
    pub(crate) hardware: [Arc<Hardware>; 2],
    pub(crate) keys: [LateKey; 2],
}

impl Sides {
    pub(crate) fn new(client: Manner, server: Manner) -> Self {
        let hardware = [client, server].map(Hardware::new);
        let key = |seed, hardware: &Arc<Hardware>| LateKey {
            soft: SoftKey::ed25519(&[seed; 32]),
            hardware: Arc::clone(hardware),
        };
        let keys = [key(1, &hardware[0]), key(2, &hardware[1])];
        Self { spkis: [keys[0].soft.spki().to_vec(), keys[1].soft.spki().to_vec()], hardware, keys }
    }

    /// Does something with a session of either side that has not begun: with raw keys on both sides or with [`PSK`]; with a
    /// HelloRetryRequest if groups differ.
    fn meet<R>(
        &self,
        psks: &[Psk<'_>],
        groups: [&[Group]; 2],
        act: impl FnOnce(ClientSession<'_, Late, Vec<u8>>, ServerSession<'_, Late, Vec<u8>>) -> R,
    ) -> R {
        let [ours, theirs] = &self.spkis;
        let known = [&[&theirs[..]], &[&ours[..]]];
        let verifier =
            |side: usize| LateVerifier { keys: known[side], hardware: Arc::clone(&self.hardware[side]) };
        let verifiers = [verifier(0), verifier(1)];
        let identity = |side: usize| Identity {
            credential: Credential::RawPublicKey(&self.spkis[side]),
            key: &self.keys[side],
        };
        let identities = [identity(1)];
        let with_keys = psks.is_empty();
        let store = [PSK];
        let client_config = ClientConfig {
            server: with_keys.then_some(&verifiers[0]),
            identity: Some(identity(0)),
            psks,
            groups: groups[0],
            ..CLIENT
        };
        let server_config = ServerConfig {
            identities: &identities,
            clients: ClientAuth::Required(&verifiers[1]),
            psks: if with_keys { None } else { Some(&store) },
            groups: groups[1],
            ..SERVER
        };
        let provider = |side: usize| Late::new(side as u64 + 1, &self.hardware[side]);
        let client = ClientSession::new(&client_config, provider(0), vec![0; SCRATCH], None);
        let server = ServerSession::new(&server_config, provider(1), vec![0; SCRATCH], None);
        act(client, server)
    }

    /// A handshake of two such, the bytes in pieces of `step`.
    fn shake_hands(&self, psks: &[Psk<'_>], groups: [&[Group]; 2], step: usize) -> Result<u32, Failed> {
        self.meet(psks, groups, |mut client, mut server| {
            client.start(CLIENT_PARAMS).map_err(Failed::Client)?;
            server.start(SERVER_PARAMS).map_err(Failed::Server)?;
            let resumed = exchange(&mut client, &mut server, step)?;
            assert_complete(&mut client, &mut server);
            Ok(resumed)
        })
    }

    fn waits(&self) -> u32 {
        self.hardware.iter().map(|hardware| hardware.waits()).sum()
    }
}

const X25519: [&[Group]; 2] = [&[Group::X25519]; 2];
/// The client's first share is not what the server wants.
const RETRIED: [&[Group]; 2] = [&[Group::Secp256r1, Group::X25519], &[Group::X25519]];

/// All sets of steps.
fn sets() -> impl Iterator<Item = Vec<Step>> {
    (0..32).map(|set| Step::ALL.into_iter().filter(|step| set >> *step as u32 & 1 != 0).collect())
}

/// Every step late or not, alone and together, on either side and on both.
#[test]
fn every_combination_of_late_steps() {
    for steps in sets() {
        for asks in [1, 3] {
            let late = Manner::late(&steps, asks);
            for (client, server) in [(late, Manner::default()), (Manner::default(), late), (late, late)] {
                let sides = Sides::new(client, server);
                let resumed = sides.shake_hands(&[], X25519, usize::MAX).unwrap();
                let late_sides = [client, server].map(|manner| u32::from(manner.late != [0; 5]));
                // Each step is taken once, and every time that it is asked in vain is followed by one more.
                let expected = late_sides.iter().sum::<u32>() * steps.len() as u32 * asks;
                assert_eq!((sides.waits(), resumed), (expected, expected), "{steps:?}");
            }
        }
    }
}

#[test]
fn however_the_bytes_are_cut() {
    let late = Manner::late(&Step::ALL, 2);
    for step in [1, 2, 7, 50] {
        Sides::new(late, late).shake_hands(&[], X25519, step).unwrap();
        Sides::new(late, late).shake_hands(&[], RETRIED, step).unwrap();
        Sides::new(late, late).shake_hands(&[PSK], X25519, step).unwrap();
    }
}

/// A second key pair is made for the group that the server asks for.
#[test]
fn with_a_hello_retry_request_and_with_a_pre_shared_key() {
    let late = Manner::late(&[Step::Generate, Step::Agree], 1);
    let sides = Sides::new(late, late);
    sides.shake_hands(&[], RETRIED, usize::MAX).unwrap();
    assert_eq!(sides.waits(), 5);
    let sides = Sides::new(late, late);
    sides.shake_hands(&[PSK], X25519, usize::MAX).unwrap();
    assert_eq!(sides.waits(), 4);
}

/// What fails ends the handshake on the side of the failure, late or not, with the alert that says whose fault it is.
#[test]
fn steps_that_fail() {
    for late in [0, 2] {
        for (broken, alert) in [
            (Step::Generate, 80),
            (Step::Agree, 80),
            (Step::Sign, 80),
            (Step::Identity, 46),
            (Step::Verify, 51),
        ] {
            let manner = Manner { broken: Some(broken), ..Manner::late(&Step::ALL, late) };
            let failed = Sides::new(manner, Manner::default()).shake_hands(&[], X25519, 50).unwrap_err();
            assert!(matches!(failed, Failed::Client(_)), "{broken:?}: {failed:?}");
            assert_eq!(failed.alert(), alert, "{broken:?}");
            let failed = Sides::new(Manner::default(), manner).shake_hands(&[], X25519, 50).unwrap_err();
            assert!(matches!(failed, Failed::Server(_)), "{broken:?}: {failed:?}");
            assert_eq!(failed.alert(), alert, "{broken:?}");
        }
    }
}

/// A client whose verifier never answers keeps the rest of the server's flight, as much as it has memory for.
#[test]
fn what_comes_meanwhile_has_bounds() {
    let sides = Sides::new(Manner::late(&[Step::Identity], u32::MAX), Manner::default());
    sides.meet(&[], X25519, |mut client, mut server| {
        client.start(CLIENT_PARAMS).unwrap();
        server.start(SERVER_PARAMS).unwrap();
        let (mut up, mut down) = ([0; 3], [0; 3]);
        carry(&client, &mut server, &mut up, usize::MAX).unwrap();
        while carry(&server, &mut client, &mut down, 7).unwrap() {}
        for _ in 0..5 {
            assert!(client.is_parked() && !client.is_complete());
            client.resume().unwrap();
        }
        assert_eq!(client.read_crypto(Level::Initial, &[0]).unwrap_err().code().0, 0x0a, "no other level");
        let mut kept = 0;
        let full = loop {
            match client.read_crypto(Level::Handshake, &[0; 100]) {
                Ok(()) => kept += 100,
                Err(error) => break error,
            }
        };
        assert_eq!(full.code().0, 0x0d, "CRYPTO_BUFFER_EXCEEDED");
        assert!((2_000..SCRATCH).contains(&kept), "{kept}");
    });
}

/// Messages behind a ServerHello on its level are refused as ever, when its time comes.
#[test]
fn what_is_kept_does_not_change_its_level() {
    let sides = Sides::new(Manner::late(&[Step::Agree], 1), Manner::default());
    sides.meet(&[PSK], X25519, |mut client, mut server| {
        client.start(CLIENT_PARAMS).unwrap();
        server.start(SERVER_PARAMS).unwrap();
        carry(&client, &mut server, &mut [0; 3], usize::MAX).unwrap();
        carry(&server, &mut client, &mut [0; 3], usize::MAX).unwrap();
        assert!(client.is_parked());
        client.read_crypto(Level::Initial, &[8, 0, 0]).unwrap();
        assert_eq!(client.resume().unwrap_err().code().0, 0x0a);
        assert!(!client.is_complete());
    });
}

/// A server has Handshake keys when it waits for its signature: what came behind the ClientHello is still of the level before, whose
/// keys anybody has.
#[test]
fn what_a_server_keeps_does_not_change_its_level() {
    let sides = Sides::new(Manner::default(), Manner::late(&[Step::Agree, Step::Sign], 1));
    sides.meet(&[], X25519, |mut client, mut server| {
        client.start(CLIENT_PARAMS).unwrap();
        server.start(SERVER_PARAMS).unwrap();
        carry(&client, &mut server, &mut [0; 3], usize::MAX).unwrap();
        assert!(server.is_parked());
        server.read_crypto(Level::Initial, &[20, 0, 0]).unwrap();
        let refused = (0..8).find_map(|_| server.resume().err());
        assert_eq!(refused.unwrap().code().0, 0x0a);
    });
}

/// Work that is put off is done when the session is resumed and never before, with hardware that is late too.
#[test]
fn deferred_work() {
    for asks in [0, 2] {
        for step in [7, usize::MAX] {
            let late = Manner::late(&Step::ALL, asks);
            let sides = Sides::new(late, late);
            sides.meet(&[], X25519, |client, server| {
                let (mut client, mut server) = (client.deferred(), server.deferred());
                client.start(CLIENT_PARAMS).unwrap();
                server.start(SERVER_PARAMS).unwrap();
                assert_eq!((client.is_parked(), client.crypto_len(Level::Initial)), (true, 0));
                while client.is_parked() {
                    client.resume().unwrap();
                }
                carry(&client, &mut server, &mut [0; 3], step).unwrap();
                assert_eq!((server.is_parked(), server.crypto_len(Level::Initial)), (true, 0));
                assert_eq!(server.poll_event(), None);
                let mut sent = [client.crypto_len(Level::Initial), 0, 0];
                let mut came = [0; 3];
                while !(client.is_complete() && server.is_complete()) {
                    carry(&server, &mut client, &mut came, step).unwrap();
                    client.resume().unwrap();
                    carry(&client, &mut server, &mut sent, step).unwrap();
                    server.resume().unwrap();
                }
                assert_complete(&mut client, &mut server);
            });
        }
    }
}

#[test]
fn against_rustls() {
    use peregrine_crypto::verify::pin::{Pin, spki_hash};
    let late = Manner::late(&Step::ALL, 2);
    for groups in [&[Group::X25519][..], &[Group::Secp256r1]] {
        let sides = Sides::new(late, late);
        let chain = crate::pki::Chain::new(crate::pki::Kind::P256, crate::pki::Kind::P256);
        let pins = [spki_hash(&chain.key.spki())];
        let verifier = Pin { keys: &pins };
        let config = ClientConfig { server: Some(&verifier), groups, ..CLIENT };
        let mut client =
            ClientSession::new(&config, Late::new(1, &sides.hardware[0]), vec![0; SCRATCH], None);
        let mut server = Peer::server(crate::rustls_server::server(&chain));
        client.start(CLIENT_PARAMS).unwrap();
        // A key pair and an agreement; the certificate is checked in software.
        assert_eq!(exchange(&mut client, &mut server, usize::MAX), Ok(4));
        assert_agreed(&mut client, &mut server);

        let entries = chain.entries();
        let key = LateKey { soft: chain.key.ours(), hardware: Arc::clone(&sides.hardware[1]) };
        let identities = [Identity { credential: Credential::X509(&entries), key: &key }];
        let config = ServerConfig { identities: &identities, groups, ..SERVER };
        let mut client = Peer::client(crate::rustls_client::client(&chain));
        let mut server =
            ServerSession::new(&config, Late::new(2, &sides.hardware[1]), vec![0; SCRATCH], None);
        server.start(SERVER_PARAMS).unwrap();
        assert_eq!(exchange(&mut client, &mut server, usize::MAX), Ok(6));
        assert_agreed(&mut client, &mut server);
    }
}
