//! A client that uses two networks at once: Ethernet, and a serial line. It fetches a file and uploads another over both, tells what
//! each has carried and, if it is asked to, insists on a share of either. When one is cut, the other goes on alone.
//!
//! It is told what to do by words on QEMU's command line, for example
//!
//! ```text
//! server=10.9.0.1:4433 psk=sensor-7:00112233445566778899aabbccddeeff get=/262144 put=262144 least=20
//! ```
//!
//! where `least` is the least share of either network in percent. How files are transferred is in the module `transfer`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::net::SocketAddr;
use defmt::{error, info};
use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, with_timeout};
use peregrine_core::connection::{Config, MultipathConfig};
use peregrine_core::endpoint::EndpointConfig;
use peregrine_core::ids::PathId;
use peregrine_core::path::{Availability, RouteStats};
use peregrine_core::wire::Dialect;
use peregrine_crypto::tls::{ClientConfig, Psk};
use peregrine_embassy::tls::{self, HandshakeMemory};
use peregrine_embassy::{Endpoint, Error, NetworkId, Resources, Storage};
use peregrine_mps2_an386::board::host::{self, Urandom};
use peregrine_mps2_an386::board::{self, executor};
use peregrine_mps2_an386::job::Job;
use peregrine_mps2_an386::{line, network, transfer};
use static_cell::StaticCell;

/// TLS with the least cryptography that will do.
type Tls = tls::Client<tls::Lean>;
type Connection = peregrine_embassy::Connection<Tls>;

/// Two paths, two streams of 32 KiB each way, 64 packets in flight: less than both networks hold together, and the slower would get little
/// to do.
type Memory = Storage<2, 2, 64, 36864, 32768>;
/// Bytes of datagrams that wait to be read, on each network: eight of the longest.
const RING_IN: usize = 8 * 1472;
/// How long either network may take until it is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection; a socket on each network.
static RESOURCES: StaticCell<Resources<Tls, Memory, 1, 2, RING_IN>> = StaticCell::new();
static KEYS: StaticCell<tls::Keys<tls::Lean>> = StaticCell::new();
static HANDSHAKES: StaticCell<HandshakeMemory<2048, 1>> = StaticCell::new();
static PSKS: StaticCell<[Psk<'static>; 1]> = StaticCell::new();
static TLS: StaticCell<ClientConfig<'static>> = StaticCell::new();

#[cortex_m_rt::entry]
fn main() -> ! {
    board::start();
    executor::run(|spawner| spawner.spawn(work(spawner).unwrap()))
}

#[embassy_executor::task]
async fn work(spawner: Spawner) {
    let is_well = run(spawner, Job::read()).await.unwrap_or_else(|error| {
        error!("{}", error);
        false
    });
    host::exit(is_well)
}

#[embassy_executor::task]
async fn quic(endpoint: Endpoint<Tls>) -> ! {
    endpoint.run().await
}

/// Does the job; whether what arrived is what was sent, and both networks had their share in it.
async fn run(spawner: Spawner, job: Job) -> Result<bool, Error> {
    let mut entropy = Urandom;
    let (cable, line) = (network::start(spawner, &mut entropy)?, line::start(spawner, &mut entropy)?);
    let keys = KEYS.init(tls::keys(&mut entropy)?);
    let connection = Config { multipath: MultipathConfig::speaking(Dialect::ALL), ..Config::default() };
    let config = EndpointConfig { connection, ..EndpointConfig::default() };
    let endpoint = Endpoint::new(RESOURCES.init_with(Resources::new), config, keys);
    let networks = [endpoint.attach(cable, 0, 1)?, endpoint.attach(line, 0, 1)?];
    spawner.spawn(quic(endpoint).unwrap());

    for network in networks {
        let up = with_timeout(PATIENCE, endpoint.wait_up(Some(network))).await;
        up.map_err(|_| Error::NoNetwork)?;
    }
    let began = Instant::now();
    let handshakes = HANDSHAKES.init_with(HandshakeMemory::new).share();
    let session = tls::client(TLS.init(trust(&job)), handshakes, &mut entropy, None)?;
    let server: SocketAddr = job.parse("server").expect("server=ADDRESS:PORT");
    let connection = endpoint.connect(Some(networks[0]), server, session)?;
    connection.wait_path_possible().await?;
    let second = connection.open_path(networks[1], Availability::Available).await?;
    connection.wait_path(second).await?;
    info!("connected to {} over two networks in {} ms", server, began.elapsed().as_millis());

    let is_well =
        match select(transfers(&connection, networks, &job), tell(&connection, [PathId::ZERO, second])).await
        {
            Either::First(is_well) => is_well?,
            Either::Second(over) => return Err(over),
        };
    connection.close(0, "");
    drop(connection);
    endpoint.wait_idle().await;
    Ok(is_well)
}

/// Transfers files; whether they are as they were, and both networks had their share in it.
async fn transfers(connection: &Connection, networks: [NetworkId; 2], job: &Job) -> Result<bool, Error> {
    let mut is_well = true;
    if let Some(path) = job.find("get") {
        let mut watch = Watch::new(connection, networks, |stats| stats.received_bytes);
        transfer::download(connection, path, async |_| watch.tick()).await?;
        is_well &= watch.tell(job);
    }
    if let Some(len) = job.parse("put") {
        let mut watch = Watch::new(connection, networks, |stats| stats.sent_bytes);
        is_well &= transfer::upload(connection, len, async |_| watch.tick()).await?;
        is_well &= watch.tell(job);
    }
    Ok(is_well)
}

/// Tells when a path stops to answer and when it does again, until the connection is over.
async fn tell(connection: &Connection, [cable, line]: [PathId; 2]) -> Error {
    let mut before = [true; 2];
    loop {
        let change = connection.wait_paths(|paths| {
            let answers = |id: PathId| {
                let path = paths.iter().find(|path| path.id == id && !path.suspect);
                path.and_then(|path| path.route).is_some_and(|route| !route.down)
            };
            let now = [answers(cable), answers(line)];
            (now != before).then_some(now)
        });
        match change.await {
            Ok(now) => before = now,
            Err(over) => return over,
        }
        info!("the cable answers: {}, the line: {}", before[0], before[1]);
    }
}

/// Whom to trust: who has the same key.
fn trust(job: &Job) -> ClientConfig<'static> {
    let psks = PSKS.init([job.psk().expect("psk=NAME:HEX")]);
    ClientConfig { alpn: &[b"hq-interop"], psks, ..ClientConfig::default() }
}

/// Watches a transfer: what each network carries of it, and the longest time in which nothing goes on.
struct Watch<'a> {
    connection: &'a Connection,
    networks: [NetworkId; 2],
    /// What counts: bytes of datagrams that came, or that went.
    count: fn(&RouteStats) -> u64,
    before: [u64; 2],
    last: Instant,
    longest: Duration,
}

impl<'a> Watch<'a> {
    fn new(connection: &'a Connection, networks: [NetworkId; 2], count: fn(&RouteStats) -> u64) -> Self {
        let (last, longest) = (Instant::now(), Duration::MIN);
        let mut watch = Self { connection, networks, count, before: [0; 2], last, longest };
        watch.before = watch.counts();
        watch
    }

    /// What each network has carried since the connection began.
    fn counts(&self) -> [u64; 2] {
        let routes = self.connection.routes();
        self.networks.map(|network| {
            let here = routes.iter().filter(|route| self.connection.network_of(route) == Some(network));
            here.map(|route| (self.count)(&route.stats)).sum()
        })
    }

    /// Something goes on.
    fn tick(&mut self) -> Result<(), Error> {
        self.longest = self.longest.max(self.last.elapsed());
        self.last = Instant::now();
        Ok(())
    }

    /// Tells what it has seen; whether each network had its share.
    fn tell(&self, job: &Job) -> bool {
        let now = self.counts();
        let [cable, line] = [0, 1].map(|place| now[place].saturating_sub(self.before[place]));
        let sum = cable + line;
        let silence = self.longest.as_millis();
        info!("bytes: {} over the cable, {} over the line; silent for {} ms", cable, line, silence);
        let least = job.parse::<u64>("least").unwrap_or(0);
        let is_well = cable.min(line) * 100 >= sum * least;
        if !is_well {
            error!("one of the networks carried less than {} % of it", least);
        }
        is_well
    }
}
