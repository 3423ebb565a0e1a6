//! Pending steps under a whole connection: QUIC keeps running while TLS rests.

use std::time::Duration;

use peregrine_core::connection::{Accepted, Config, Connection, Event, Opened, Storage};
use peregrine_core::ids::{Ecn, FourTuple};
use peregrine_core::lifecycle::{Cause, Reason};
use peregrine_core::session::Session;
use peregrine_core::time::Instant;
use peregrine_core::wire::Cid;
use peregrine_crypto::tls::{ClientConfig, ClientSession, Credential, Identity, ServerConfig, ServerSession};

use crate::late::{Late, LateVerifier, Manner, Step};
use crate::own::{CLIENT, SERVER};
use crate::pending::Sides;
use crate::wire::SCRATCH;

type Memory = Storage<1, 2, 16, 2048, 2048>;
type Client<'a> = Connection<Memory, ClientSession<'a, Late, Vec<u8>>>;
type Server<'a> = Connection<Memory, ServerSession<'a, Late, Vec<u8>>>;

/// How long a datagram takes.
const DELAY: Duration = Duration::from_millis(5);
/// How long the hardware takes for a step: long enough for probes.
const STEP: Duration = Duration::from_millis(1500);

/// More than all steps of a handshake take.
const HANDSHAKE: Duration = Duration::from_secs(15);

struct World<'a> {
    now: Instant,
    on: FourTuple,
    client: Client<'a>,
    server: Server<'a>,
    /// How long the hardware takes for a step.
    step: Duration,
    /// When each side last asked its hardware.
    asked: [Instant; 2],
}

impl World<'_> {
    /// Lets a few milliseconds go by, and both sides do what is due. The hardware is asked every [`STEP`].
    fn tick(&mut self) {
        let mut buffer = [0; 1500];
        let back = FourTuple { local: self.on.remote, remote: self.on.local, interface: 0 };
        while let Some(sent) = self.client.poll_transmit(self.now, &mut buffer) {
            self.server.handle_datagram(self.now, back, Ecn::NotEct, &mut buffer[..sent.len]);
        }
        while let Some(sent) = self.server.poll_transmit(self.now, &mut buffer) {
            self.client.handle_datagram(self.now, self.on, Ecn::NotEct, &mut buffer[..sent.len]);
        }
        self.now = self.now.after(DELAY);
        let (now, step) = (self.now, self.step);
        resume(&mut self.client, now, step, &mut self.asked[0], |session| session.is_parked());
        resume(&mut self.server, now, step, &mut self.asked[1], |session| session.is_parked());
        if self.client.next_timeout().is_due(self.now) {
            self.client.handle_timeout(self.now);
        }
        if self.server.next_timeout().is_due(self.now) {
            self.server.handle_timeout(self.now);
        }
    }

    fn run(&mut self, seconds: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now.after(Duration::from_secs(seconds));
        while self.now < until {
            self.tick();
            if done(self) {
                return true;
            }
        }
        false
    }
}

fn resume<S: Session>(
    connection: &mut Connection<Memory, S>,
    now: Instant,
    step: Duration,
    asked: &mut Instant,
    is_parked: impl Fn(&S) -> bool,
) {
    if !is_parked(connection.session()) {
        *asked = now;
    } else if now.since(*asked) >= step.into() {
        *asked = now;
        connection.resume(now);
    }
}

/// Two sides whose steps behave so, the server with a raw key that the client knows, in a world of their own.
fn with_world<R>(client: Manner, server: Manner, run: impl FnOnce(World<'_>) -> R) -> R {
    with_deferred_world(false, client, server, run)
}

/// The same; the work of both may be deferred.
fn with_deferred_world<R>(
    is_deferred: bool,
    client: Manner,
    server: Manner,
    run: impl FnOnce(World<'_>) -> R,
) -> R {
    let sides = Sides::new(client, server);
    let known = [&sides.spkis[1][..]];
    let verifier = LateVerifier { keys: &known, hardware: std::sync::Arc::clone(&sides.hardware[0]) };
    let client_config = ClientConfig { server: Some(&verifier), ..CLIENT };
    let identities =
        [Identity { credential: Credential::RawPublicKey(&sides.spkis[1]), key: &sides.keys[1] }];
    let server_config = ServerConfig { identities: &identities, ..SERVER };
    let session =
        ClientSession::new(&client_config, Late::new(1, &sides.hardware[0]), vec![0; SCRATCH], None);
    let session = if is_deferred { session.deferred() } else { session };
    let now = Instant::from_micros(1_000_000);
    let on = FourTuple {
        local: ([192, 0, 2, 1], 4000).into(),
        remote: ([192, 0, 2, 2], 443).into(),
        interface: 0,
    };
    let cid = |byte| Cid::new(&[byte; 8]).unwrap();
    let config = Config { handshake_timeout: HANDSHAKE, ..Config::default() };
    let opened = Opened { on, version: 1, scid: cid(1), dcid: cid(2), token: &[] };
    let client = Connection::client(now, &config, &opened, Storage::new(), session).unwrap();
    let accepted = Accepted {
        on: FourTuple { local: on.remote, remote: on.local, interface: 0 },
        version: 1,
        original_dcid: cid(2),
        initial_dcid: cid(2),
        retry_scid: None,
        peer_cid: cid(1),
        scid: cid(3),
        reset_token: [3; 16],
        preferred: None,
        address_validated: true,
    };
    let session =
        ServerSession::new(&server_config, Late::new(2, &sides.hardware[1]), vec![0; SCRATCH], None);
    let session = if is_deferred { session.deferred() } else { session };
    let server = Connection::server(now, &config, &accepted, Storage::new(), session).unwrap();
    run(World { now, on, client, server, step: STEP, asked: [now; 2] })
}

/// Every step takes a second and a half on both sides; in between packets are acknowledged, probed for and come again, and no
/// byte of the handshake is lost.
#[test]
fn a_handshake_with_slow_hardware() {
    for steps in [&Step::ALL[..], &[Step::Generate], &[Step::Agree], &[Step::Sign], &[Step::Verify]] {
        let late = Manner::late(steps, 1);
        with_world(late, late, |mut world| {
            let begun = world.now;
            assert!(world.run(15, |world| world.client.session().is_complete()), "{steps:?}");
            assert!(world.run(5, |world| world.server.is_established()), "{steps:?}");
            let events: Vec<Event> = std::iter::from_fn(|| world.client.poll_event()).collect();
            assert!(events.contains(&Event::Connected), "{events:?}");
            assert!(world.now.since(begun) >= world.step.into(), "{steps:?}: the hardware was waited for");
        });
    }
}

/// While the server agrees on keys, what the client sends is acknowledged: it has no ClientHello to send again.
#[test]
fn packets_are_acknowledged_meanwhile() {
    let late = Manner::late(&[Step::Agree], u32::MAX);
    with_world(Manner::default(), late, |mut world| {
        assert!(world.run(3, |world| world.client.has_received()));
        assert!(world.server.session().is_parked());
        assert!(!world.client.session().is_complete());
        assert_eq!(world.client.usage().sent, 0, "nothing is under way");
    });
}

/// Hardware that never answers: the time that a handshake may take ends the connection, on both sides.
#[test]
fn a_step_that_is_never_done() {
    for step in Step::ALL {
        let never = Manner::late(&[step], u32::MAX);
        if step != Step::Sign {
            with_world(never, Manner::default(), |mut world| {
                assert!(world.run(60, |world| world.client.is_drained()), "{step:?}");
                assert_eq!(world.client.cause(), Some(Cause::HandshakeTimeout), "{step:?}");
                assert!(world.run(60, |world| world.server.is_drained()), "{step:?}");
            });
        }
        if [Step::Generate, Step::Agree, Step::Sign].contains(&step) {
            with_world(Manner::default(), never, |mut world| {
                assert!(world.run(60, |world| world.server.is_drained()), "{step:?}");
                assert_eq!(world.server.cause(), Some(Cause::HandshakeTimeout), "{step:?}");
                assert!(world.run(60, |world| world.client.is_drained()), "{step:?}");
            });
        }
    }
}

/// Hardware that fails after a while: the connection ends at once with an alert, and the peer learns it.
#[test]
fn a_step_that_fails() {
    for (broken, alert) in [(Step::Agree, 80), (Step::Identity, 46), (Step::Verify, 51)] {
        let manner = Manner { broken: Some(broken), ..Manner::late(&[broken], 1) };
        with_world(manner, Manner::default(), |mut world| {
            assert!(world.run(5, |world| world.client.cause().is_some()), "{broken:?}");
            let Some(Cause::Local(close)) = world.client.cause() else {
                panic!("{:?}", world.client.cause())
            };
            let Reason::Transport { code, .. } = close.reason else { panic!("{close:?}") };
            assert_eq!(code.alert(), Some(alert));
            assert!(world.run(5, |world| world.server.cause().is_some()), "{broken:?}");
        });
    }
    let manner = Manner { broken: Some(Step::Sign), ..Manner::late(&[Step::Sign], 1) };
    with_world(Manner::default(), manner, |mut world| {
        assert!(world.run(5, |world| world.client.cause().is_some()));
    });
}

/// Work that is deferred and done soon: what came too early to be opened comes again after a few round trips.
#[test]
fn deferred_work_costs_few_round_trips() {
    let manner = Manner::default();
    with_deferred_world(true, manner, manner, |mut world| {
        world.step = Duration::ZERO;
        let begun = world.now;
        assert!(world.run(5, |world| world.client.is_established() && world.server.is_established()));
        assert!(world.now.since(begun) < (DELAY * 20).into(), "{:?}", world.now.since(begun));
    });
}
