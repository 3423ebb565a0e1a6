//! A client that asks a server for something again and again, on one connection, whatever happens to its cable: see README.md.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod board;

use core::convert::Infallible;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use defmt::{error, info, warn};
use defmt_rtt as _;
use embassy_executor::Spawner;
use embassy_net::{Runner, Stack, StackResources};
use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::{Read, Write};
use panic_probe as _;
use peregrine_core::connection::Config;
use peregrine_core::endpoint::EndpointConfig;
use peregrine_crypto::provider::HashAlgorithm;
use peregrine_crypto::tls::{ClientConfig, Psk};
use peregrine_embassy::entropy::Entropy;
use peregrine_embassy::tls::{self, HandshakeMemory};
use peregrine_embassy::{Endpoint, Error, Resources, Storage};
use static_cell::StaticCell;

use crate::board::{Nic, Trng};

/// Where the server is.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 168, 1, 10)), 4433);
/// What only the two know. A product has a key of its own in each device.
const PSK: Psk<'static> = Psk {
    identity: b"sensor-7",
    key: b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
    hash: HashAlgorithm::Sha256,
};
/// What is asked for.
const REQUEST: &[u8] = b"GET /1024\r\n";
/// How often.
const EVERY: Duration = Duration::from_secs(2);
/// How long the cable may be out, if the server waits as long.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(600);

/// TLS with the least cryptography that will do.
type Tls = tls::Client<tls::Lean>;
type Connection = peregrine_embassy::Connection<Tls>;
/// One path, two streams of 1 KiB each way, 16 packets in flight.
type Memory = Storage<1, 2, 16, 1152, 1024>;

/// One connection, one socket.
static RESOURCES: StaticCell<Resources<Tls, Memory, 1, 1>> = StaticCell::new();
static KEYS: StaticCell<tls::Keys<tls::Lean>> = StaticCell::new();
static HANDSHAKES: StaticCell<HandshakeMemory<2048, 1>> = StaticCell::new();
static PSKS: [Psk<'static>; 1] = [PSK];
static TLS: ClientConfig<'static> = ClientConfig {
    server_name: None,
    alpn: &[b"hq-interop"],
    server: None,
    identity: None,
    psks: &PSKS,
    suites: &[],
    groups: &[],
};

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let (nic, mut trng) = board::start();
    let Err(error) = run(spawner, nic, &mut trng).await;
    error!("{}", error);
}

/// Goes on for ever, if there is randomness at the start.
async fn run(spawner: Spawner, nic: Nic, trng: &mut Trng) -> Result<Infallible, Error> {
    let stack = network(spawner, nic, trng)?;
    let connection = Config { max_idle_timeout: PATIENCE, ..Config::default() };
    let config = EndpointConfig { connection, ..EndpointConfig::default() };
    let endpoint = Endpoint::new(RESOURCES.init_with(Resources::new), config, KEYS.init(tls::keys(trng)?));
    endpoint.attach(stack, 0, 1)?;
    spawner.spawn(quic(endpoint).unwrap());
    let handshakes = HANDSHAKES.init_with(HandshakeMemory::new).share();
    loop {
        endpoint.wait_up(None).await;
        let session = tls::client(&TLS, handshakes, trng, None);
        let connection = session.and_then(|session| endpoint.connect(None, SERVER, session));
        let Err(error) = converse(connection).await;
        warn!("{}", error);
        endpoint.wait_idle().await;
        Timer::after(EVERY).await;
    }
}

/// Starts the stack. The endpoint watches its link and its address, so that nobody else has to.
fn network(spawner: Spawner, nic: Nic, trng: &mut Trng) -> Result<Stack<'static>, Error> {
    /// One for DHCP, one for QUIC.
    static RESOURCES: StaticCell<StackResources<2>> = StaticCell::new();
    // Ports are chosen by it: with a constant, the same ones after every start.
    let mut seed = [0; 8];
    trng.fill(&mut seed)?;
    let config = embassy_net::Config::dhcpv4(Default::default());
    let resources = RESOURCES.init_with(StackResources::new);
    let (stack, runner) = embassy_net::new(nic, config, resources, u64::from_le_bytes(seed));
    spawner.spawn(ethernet(runner).unwrap());
    Ok(stack)
}

#[embassy_executor::task]
async fn ethernet(mut runner: Runner<'static, Nic>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn quic(endpoint: Endpoint<Tls>) -> ! {
    endpoint.run().await
}

/// Asks again and again, until the connection ends. While the cable is out this waits.
async fn converse(connection: Result<Connection, Error>) -> Result<Infallible, Error> {
    let connection = connection?;
    connection.wait_connected().await?;
    info!("connected to {}", SERVER);
    let mut here = None;
    loop {
        let began = Instant::now();
        let len = ask(&connection).await?;
        info!("{} bytes after {} ms", len, began.elapsed().as_millis());
        let route = connection.route().map(|route| route.local);
        if let Some(local) = route.filter(|_| route != here) {
            here = route;
            info!("now from {}", local);
        }
        Timer::after(EVERY).await;
    }
}

/// One request; returns the length of the answer.
async fn ask(connection: &Connection) -> Result<usize, Error> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(REQUEST).await?;
    send.finish()?;
    let (mut len, mut bytes) = (0, [0; 256]);
    loop {
        match recv.read(&mut bytes).await? {
            0 => return Ok(len),
            read => len += read,
        }
    }
}
