//! Keys in hardware that takes its time, on both sides.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;

use embassy_time::{Duration, Instant, Timer};
use peregrine_core::connection::Config;
use peregrine_core::lifecycle::Cause;
use peregrine_crypto::provider::{Scheme, SignError, Signature, Signer};
use peregrine_crypto::sign::SoftKey;
use peregrine_crypto::tls::{ClientConfig, Credential, Identity, ServerConfig};
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_crypto::verify::{CertificateType, Presented, Verifier, VerifyError};
use peregrine_embassy::{Connection, Endpoint, tls};

use crate::world::{Server, WIFI, World, config, handshakes, server_address};

/// How long the hardware takes.
const JOB: Duration = Duration::from_millis(300);

/// Hardware that does one job at a time, and keeps the result until it is fetched or somebody has another job.
#[derive(Default)]
struct Hardware {
    job: Mutex<Option<Job>>,
    /// Whether a result waits for whoever asked for it, however many others ask.
    is_patient: AtomicBool,
    asked: AtomicU32,
}

struct Job {
    what: Vec<u8>,
    is_done: bool,
}

impl Hardware {
    fn ask<T>(&self, what: &[u8], result: impl FnOnce() -> T) -> Poll<T> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut job = self.job.lock().unwrap();
        match &*job {
            Some(job) if !job.is_done => {}
            Some(current) if current.what == what => {
                *job = None;
                return Poll::Ready(result());
            }
            Some(_) if self.is_patient.load(Ordering::Relaxed) => {}
            // Nobody's, or that of someone who may be gone.
            _ => *job = Some(Job { what: what.to_vec(), is_done: false }),
        }
        Poll::Pending
    }

    fn is_busy(&self) -> bool {
        self.job.lock().unwrap().as_ref().is_some_and(|job| !job.is_done)
    }

    fn end_job(&self) {
        self.job.lock().unwrap().as_mut().unwrap().is_done = true;
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
        self.hardware.ask(message, || match self.soft.sign(scheme, message) {
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
        match self.hardware.ask(b"the key of the server", || ()) {
            Poll::Ready(()) => self.known.verify_identity(presented),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// A server with a key in hardware, which clients know.
struct Sides {
    server: Server,
    hardware: &'static Hardware,
    spki: &'static [u8],
}

impl Sides {
    fn new(world: &mut World, config: Config) -> Self {
        let hardware = leak(Hardware::default());
        let key = leak(Key { soft: SoftKey::ed25519(&[7; 32]), hardware });
        let spki: &'static [u8] = leak(key.soft.spki());
        let identity = Identity { credential: Credential::RawPublicKey(spki), key };
        let tls = ServerConfig { identities: leak([identity]), ..ServerConfig::default() };
        Self { server: world.server_with(config, tls).0, hardware, spki }
    }

    /// A session of a client that looks at the server's key like this.
    fn session(&self, world: &mut World, look: impl FnOnce(RawKey<'static>) -> &'static Look) -> tls::Client {
        let server = Some(look(RawKey { keys: leak([self.spki]) }));
        let config = leak(ClientConfig { alpn: &[b"twin"], server, ..ClientConfig::default() });
        tls::client(config, handshakes(), &mut world.entropy(), None).unwrap()
    }

    /// A client at this host, and its connection.
    fn connect(&self, world: &mut World, host: u8) -> Connection<tls::Client> {
        let (stack, _) = world.stack(Ipv4Addr::new(10, 0, 3, host), true);
        let (client, _) = world.client(&[stack], config());
        let session = self.session(world, |known| leak(known));
        world.run(1, async {
            client.wait_up(None).await;
            client.connect(None, server_address(), session).unwrap()
        })
    }
}

type Look = dyn Verifier + Sync;

/// Ends each job of the hardware after its time, and wakes who waits for it.
async fn interrupts<S: tls::EndpointSession>(endpoint: Endpoint<S>, hardware: &'static Hardware) {
    loop {
        while !hardware.is_busy() {
            Timer::after(Duration::from_millis(1)).await;
        }
        Timer::after(JOB).await;
        hardware.end_job();
        endpoint.resume();
    }
}

#[test]
fn a_handshake_goes_on_when_the_hardware_is_done() {
    let mut world = World::new();
    let sides = Sides::new(&mut world, config());
    let (stack, _) = world.stack(WIFI, true);
    let (client, _) = world.client(&[stack], config());
    let hardware = leak(Hardware::default());
    let session = sides.session(&mut world, |known| leak(Check { known, hardware }));
    world.spawn(interrupts(client, hardware));
    world.spawn(interrupts(sides.server, sides.hardware));
    let accepted = Rc::new(Cell::new(false));
    let seen = Rc::clone(&accepted);
    world.spawn(async move {
        let connection = sides.server.accept().await;
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
    // Packets came and timers ran out meanwhile.
    assert_eq!([hardware, sides.hardware].map(Hardware::asked), [2; 2], "when needed, and when done");
}

#[test]
fn hardware_that_is_never_done_ends_the_handshake() {
    let mut world = World::new();
    let config = Config { handshake_timeout: core::time::Duration::from_secs(5), ..config() };
    let sides = Sides::new(&mut world, config.clone());
    let (stack, _) = world.stack(WIFI, true);
    let (client, _) = world.client(&[stack], config);
    let hardware = leak(Hardware::default());
    let session = sides.session(&mut world, |known| leak(Check { known, hardware }));
    world.run(20, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), session).unwrap();
        assert_eq!(connection.closed().await, Cause::HandshakeTimeout);
    });
    assert_eq!([hardware, sides.hardware].map(Hardware::asked), [1; 2], "nobody asks in vain");
}

/// What the hardware has done for a client that is gone must not be in the way of the next.
#[test]
fn a_client_that_goes_away_leaves_the_hardware_to_others() {
    for goes_late in [false, true] {
        let mut world = World::new();
        let sides = Sides::new(&mut world, config());
        world.spawn(interrupts(sides.server, sides.hardware));
        let first = sides.connect(&mut world, 2);
        world.run(1, async {
            while !sides.hardware.is_busy() {
                Timer::after_millis(1).await;
            }
            if goes_late {
                // The job is done by the time that the server hears of it, or at once after.
                Timer::after(JOB - Duration::from_millis(6)).await;
            }
            first.close(0, "");
        });
        let next = sides.connect(&mut world, 3);
        world.run(2, next.wait_confirmed()).unwrap();
    }
}

/// Rows of connections are asked in their order: here the one that waits comes before the one whose result it waits for.
#[test]
fn who_waits_for_the_hardware_of_another_is_asked_again() {
    for is_patient in [false, true] {
        let mut world = World::new();
        let sides = Sides::new(&mut world, config());
        sides.hardware.is_patient.store(is_patient, Ordering::Relaxed);
        world.spawn(interrupts(sides.server, sides.hardware));
        let gone = sides.connect(&mut world, 2);
        world.run(1, gone.wait_confirmed()).unwrap();
        gone.close(0, "");
        let server = sides.server;
        let other = sides.connect(&mut world, 3);
        world.run(1, async {
            while server.usage().connections > 1 || !sides.hardware.is_busy() {
                Timer::after_millis(1).await;
            }
        });
        let one = sides.connect(&mut world, 4);
        world.run(3, async {
            one.wait_confirmed().await.unwrap();
            other.wait_confirmed().await.unwrap();
        });
    }
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
