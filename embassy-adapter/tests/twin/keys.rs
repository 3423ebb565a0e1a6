//! Keys in hardware that takes its time, on both sides.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use embassy_time::{Duration, Instant, Timer};
use peregrine_core::connection::Config;
use peregrine_core::lifecycle::Cause;
use peregrine_crypto::provider::{Scheme, SignError, Signature, Signer};
use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::tls::{ClientConfig, Credential, Identity, ServerConfig};
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::{CertificateType, Presented, Verifier, VerifyError};
use peregrine_embassy::{Endpoint, tls};

use crate::world::{Server, WIFI, World, config, handshakes, server_address};

/// How long the hardware takes.
const JOB: Duration = Duration::from_millis(300);

/// The hardware: nothing is ready before somebody says so.
#[derive(Default)]
struct Hardware {
    asked: AtomicU32,
    ready: AtomicU32,
}

impl Hardware {
    fn ask<T>(&self, job: impl FnOnce() -> T) -> Poll<T> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let taken =
            self.ready.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ready| ready.checked_sub(1));
        if taken.is_ok() { Poll::Ready(job()) } else { Poll::Pending }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

struct Key {
    soft: SoftKey,
    hardware: &'static Hardware,
}

impl Signer for Key {
    fn schemes(&self) -> &[Scheme] {
        self.soft.schemes()
    }

    fn sign(&self, scheme: Scheme, message: &[u8]) -> Poll<Result<Signature, SignError>> {
        self.hardware.ask(|| match self.soft.sign(scheme, message) {
            Poll::Ready(signed) => signed,
            Poll::Pending => Err(SignError),
        })
    }
}

/// The server's key, looked at by hardware.
struct Check {
    known: RawKey<'static>,
    hardware: &'static Hardware,
}

impl Verifier for Check {
    fn types(&self) -> &[CertificateType] {
        self.known.types()
    }

    fn verify_identity<'c>(&self, presented: &Presented<'_, 'c>) -> Poll<Result<&'c [u8], VerifyError>> {
        match self.hardware.ask(|| ()) {
            Poll::Ready(()) => self.known.verify_identity(presented),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// A server with a key in hardware and a client that knows it, with their hardware.
struct Sides {
    server: Server,
    client: Endpoint<tls::Client>,
    session: tls::Client,
    hardware: [&'static Hardware; 2],
}

fn sides(world: &mut World, config: Config) -> Sides {
    let hardware: [&'static Hardware; 2] = [leak(Hardware::default()), leak(Hardware::default())];
    let key = leak(Key { soft: SoftKey::ed25519(&[7; 32]), hardware: hardware[1] });
    let spki: &'static [u8] = leak(key.soft.spki());
    let identity = Identity { credential: Credential::RawPublicKey(spki), key };
    let (server, _) = world.server_with(
        config.clone(),
        ServerConfig { identities: leak([identity]), ..ServerConfig::default() },
    );
    let (stack, _) = world.stack(WIFI, true);
    let (client, _) = world.client(&[stack], config);
    let known = RawKey { keys: leak([spki]) };
    let check = leak(Check { known, hardware: hardware[0] });
    let client_config =
        leak(ClientConfig { alpn: &[b"twin"], server: Some(check), ..ClientConfig::default() });
    let session = tls::client(client_config, handshakes(), &mut world.entropy(), None).unwrap();
    Sides { server, client, session, hardware }
}

/// Ends each job of the hardware after its time, and wakes who waits for it.
async fn interrupts<S: tls::EndpointSession>(endpoint: Endpoint<S>, hardware: &'static Hardware) {
    while hardware.asked() == 0 {
        Timer::after(Duration::from_millis(1)).await;
    }
    Timer::after(JOB).await;
    hardware.ready.fetch_add(1, Ordering::Relaxed);
    endpoint.resume();
}

#[test]
fn a_handshake_goes_on_when_the_hardware_is_done() {
    let mut world = World::new();
    let Sides { server, client, session, hardware } = sides(&mut world, config());
    world.spawn(interrupts(client, hardware[0]));
    world.spawn(interrupts(server, hardware[1]));
    let accepted = Rc::new(Cell::new(false));
    let seen = Rc::clone(&accepted);
    world.spawn(async move {
        let connection = server.accept().await;
        seen.set(true);
        connection.closed().await;
    });
    world.run(20, async {
        client.wait_up(None).await;
        let begun = Instant::now();
        let connection = client.connect(None, server_address(), session).unwrap();
        connection.wait_connected().await.unwrap();
        let took = Instant::now() - begun;
        // The client checks the server's certificate while the server still signs, and nothing waits for a timer of QUIC.
        assert!(took > JOB && took < JOB + Duration::from_millis(100), "{took}");
        connection.wait_confirmed().await.unwrap();
    });
    assert!(accepted.get());
    assert!(hardware.iter().all(|hardware| hardware.asked() >= 2), "asked when needed, and when done");
}

#[test]
fn hardware_that_is_never_done_ends_the_handshake() {
    let mut world = World::new();
    let config = Config { handshake_timeout: core::time::Duration::from_secs(5), ..config() };
    let Sides { client, session, hardware, .. } = sides(&mut world, config);
    world.run(20, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), session).unwrap();
        assert_eq!(connection.closed().await, Cause::HandshakeTimeout);
    });
    assert!(hardware.iter().all(|hardware| (1..100).contains(&hardware.asked())), "nobody asks without end");
}

/// Work with keys that is put off until the runner does it, on top of nothing else.
#[test]
fn deferred_work_is_done_by_the_runner() {
    let mut world = World::new();
    let (stack, _) = world.stack(WIFI, true);
    let (server, _) = world.server(config());
    let (client, _) = world.client(&[stack], config());
    let session = world.session().deferred();
    world.spawn(async move {
        server.accept().await.closed().await;
    });
    world.run(20, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), session).unwrap();
        assert_eq!(connection.session(|session| session.is_parked()), Ok(true), "and nothing is done yet");
        connection.wait_confirmed().await.unwrap();
    });
}
