//! `peregrine demo`: a server and a client on loopback in one program, verified transfers in the middle of which the client
//! gets another port and moves to another address, and a timeline. A line of the timeline is printed only when the event it
//! tells of has come out of the connection.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use indicatif::HumanBytes;
use peregrine_core::ids::{PathId, Side};
use peregrine_core::path::Availability;
use peregrine_core::path::schedule::Scheduler;
use peregrine_std::clock::Clock;
use peregrine_std::identity::Identity;
use peregrine_std::pattern::Pattern;
use peregrine_std::tls::{ClientTls, ServerTls, Shown, Trust};
use peregrine_std::{Agreed, Builder, Connection, Endpoint, Error};

use crate::answer::Site;
use crate::args::Tls;
use crate::credentials::{client_factory, server_factory};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hq;
use crate::narrator::Narrator;
use crate::report::say;
use crate::root::Root;
use crate::save::{Received, Sink};
use crate::serve;

/// Bytes of each of the transfers.
const BYTES: u64 = 32 << 20;
/// Another address of this host. Not every system has more than one for loopback.
const ANOTHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);
/// How long a route may take to work.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints what happens, with the time since the start.
#[derive(Clone)]
struct Timeline {
    clock: Clock,
    last: Arc<Mutex<String>>,
}

impl Timeline {
    fn tell(&self, who: &str, what: impl fmt::Display) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.clock.now().as_micros() as f64 / 1e6;
        *last = format!("{seconds:>8.3} s  {who:<7} {what}");
        say(&last);
    }

    /// Tells of events of an endpoint's connections from now on.
    fn watch(&self, builder: Builder, side: Side) -> Builder {
        let (timeline, mut narrator) = (self.clone(), Narrator::new(side));
        let who = if side.is_client() { "client" } else { "server" };
        builder.observe(move |seen| {
            if let Some(what) = narrator.tell(seen) {
                timeline.tell(who, what);
            }
        })
    }
}

/// Runs the demonstration.
pub(crate) fn run(multipath: bool) -> Result<(), Failure> {
    let timeline = Timeline { clock: Clock::start(), last: Arc::default() };
    let failed = |error: Error| Failure::of_connection(&error);
    let identity = Identity::self_signed(&["localhost".into()])?;
    let pin = identity.pin().ok_or_else(|| Failure::new(Exit::Defect, "a certificate without a key"))?;
    let server_tls = ServerTls::new(Shown::Certificate(identity), &[hq::ALPN]);
    let new_server = server_factory(server_tls, Tls::Ours)?;
    let new_client = client_factory(ClientTls::new(Trust::Pins(vec![pin]), &[hq::ALPN]), Tls::Ours)?;

    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // In turn, whichever is faster: on loopback that says little.
    let several = |builder: Builder| match multipath {
        true => builder.multipath(|paths| paths.scheduler = Scheduler::Weighted),
        false => builder,
    };
    let server = timeline.watch(several(Endpoint::builder().listen(loopback)), Side::Server);
    let server = server.server(move |_| Ok(new_server())).bind().map_err(failed)?;
    let client = timeline
        .watch(several(Endpoint::builder().listen(loopback)), Side::Client)
        .client(new_client)
        .bind()
        .map_err(failed)?;
    let address = server.local_addrs().first().copied().unwrap_or(loopback);
    timeline.tell("server", format_args!("listens on {address}, its key has the pin {pin}"));
    let root = Root::open(None).map_err(|error| Failure::local("no root", error))?;
    let site = Site { root, uploads: None };
    let accepting = server.clone();
    let serving = thread::spawn(move || serve::accept(&accepting, &site, false));

    timeline.tell("client", format_args!("connects to {address}"));
    let connection = client.connect(address, "localhost").map_err(failed)?;
    timeline.tell("client", Secured(connection.agreed()));
    let expected = expected()?;
    let began = timeline.clock.now();
    let scenes = if multipath { PATHS } else { SCENES };
    for scene in scenes {
        let before = received(&connection)?;
        let act = || scene.play(&connection, &timeline);
        let got = fetch(&connection, act).map_err(|error| Failure::new(Exit::Defect, error))?;
        if got.sha256 != expected.sha256 || got.bytes != BYTES {
            return Err(Failure::new(Exit::Defect, "the bytes that arrived are not those that were sent"));
        }
        let hash = got.sha256_hex();
        timeline.tell("client", format_args!("got {} with the SHA-256 {hash}", HumanBytes(got.bytes)));
        if multipath {
            tell_of_paths(&connection, &before, &timeline)?;
        }
    }
    let took = Duration::from(timeline.clock.now().since(began));
    let route = connection.route().map_err(failed)?;
    let stats = connection.stats().map_err(failed)?;
    connection.close(0, "the demonstration is over");
    settle(&client, &server);
    let _ = serving.join();
    say(format_args!(
        "\nverified: {} times {}, each with the hash computed beforehand; {:.0} MB/s, {} packets received, {} lost, RTT {:.3} ms",
        scenes.len(),
        HumanBytes(BYTES),
        scenes.len() as f64 * BYTES as f64 / 1e6 / took.as_secs_f64().max(1e-6),
        stats.received_packets,
        stats.lost_packets,
        route.rtt.as_secs_f64() * 1e3
    ));
    Ok(())
}

/// What happens in the middle of a transfer.
#[derive(Clone, Copy, Debug)]
enum Scene {
    KeyUpdate,
    Rebinding,
    Move,
    SecondPath,
    RebindingOfPath,
    EndOfPath,
}

const SCENES: [Scene; 3] = [Scene::KeyUpdate, Scene::Rebinding, Scene::Move];
const PATHS: [Scene; 3] = [Scene::SecondPath, Scene::RebindingOfPath, Scene::EndOfPath];
/// The path that is opened.
const SECOND: PathId = PathId(1);

impl Scene {
    fn play(self, connection: &Connection, timeline: &Timeline) -> Result<(), Error> {
        match self {
            Self::KeyUpdate => connection.update_keys(),
            Self::Rebinding => {
                let address = connection.rebind_port()?;
                timeline
                    .tell("client", format_args!("has another port, as after a NAT's restart: {address}"));
                Ok(())
            }
            Self::SecondPath => {
                connection.wait_path_possible(Some(PATIENCE))?;
                let open = |local| connection.open_path(local, Availability::Available);
                let path = open(ANOTHER).or_else(|_| open((Ipv4Addr::LOCALHOST, 0).into()))?;
                connection.wait_path(path, Some(PATIENCE)).map(|_| ())
            }
            Self::RebindingOfPath => {
                let address = connection.rebind_path_port(SECOND)?;
                timeline.tell("client", format_args!("has another port on path 1 alone: {address}"));
                Ok(())
            }
            Self::EndOfPath => connection.abandon_path(PathId::ZERO),
            Self::Move => {
                let route = connection
                    .add_route(ANOTHER)
                    .or_else(|_| connection.add_route((Ipv4Addr::LOCALHOST, 0).into()))?;
                connection.wait_route(route, Some(PATIENCE))?;
                connection.switch_route(route)
            }
        }
    }
}

/// Bytes that have come over each path.
fn received(connection: &Connection) -> Result<Vec<(PathId, SocketAddr, u64)>, Failure> {
    let paths = connection.paths().map_err(|error| Failure::of_connection(&error))?;
    let carried = paths.iter().filter_map(|path| {
        let route = path.route?;
        Some((path.id, route.local, route.stats.received_bytes))
    });
    Ok(carried.collect())
}

/// What came over which path since `before`.
fn tell_of_paths(
    connection: &Connection,
    before: &[(PathId, SocketAddr, u64)],
    timeline: &Timeline,
) -> Result<(), Failure> {
    for (path, local, bytes) in received(connection)? {
        let earlier = before.iter().find(|(other, ..)| *other == path).map_or(0, |(.., bytes)| *bytes);
        let bytes = HumanBytes(bytes.saturating_sub(earlier));
        timeline.tell("client", format_args!("of that came over path {}, from {local}: {bytes}", path.0));
    }
    Ok(())
}

/// Gives the server time to hear of the close.
fn settle(client: &Endpoint, server: &Endpoint) {
    thread::sleep(Duration::from_millis(50));
    client.shut();
    server.close(0, "");
}

struct Secured<'a>(&'a Agreed);

impl fmt::Display for Secured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreed { suite, group, alpn, .. } = self.0;
        let alpn = alpn.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let (suite, group) = (suite.unwrap_or("no suite"), group.unwrap_or("no group"));
        write!(f, "is connected: TLS 1.3, {suite}, {group}, ALPN {alpn}; the server's key is the pinned one")
    }
}

/// The hash of what the server is to send, without any network.
fn expected() -> Result<Received, Failure> {
    let mut sink = Sink::discard();
    let hashed = io::copy(&mut Pattern::new(BYTES), &mut sink).and_then(|_| sink.finish());
    hashed.map_err(|error| Failure::local("cannot hash", error))
}

/// Downloads, and does something half-way.
fn fetch(connection: &Connection, act: impl FnOnce() -> Result<(), Error>) -> io::Result<Received> {
    let (mut send, mut recv) = connection.open_bi()?;
    io::Write::write_all(&mut send, &hq::request(&format!("/{BYTES}")))?;
    send.finish()?;
    let mut sink = Sink::discard();
    let mut buffer = vec![0; 256 << 10];
    let (mut act, mut got) = (Some(act), 0);
    loop {
        let len = recv.recv(&mut buffer)?;
        let Some(bytes @ [_, ..]) = buffer.get(..len) else { return sink.finish() };
        io::Write::write_all(&mut sink, bytes)?;
        got += len as u64;
        if let Some(act) = act.take_if(|_| got >= BYTES / 2) {
            act()?;
        }
    }
}
