//! A client that fetches a file and uploads another, and changes its network while it does.
//!
//! It is told what to do by words on QEMU's command line, for example
//!
//! ```text
//! server=10.9.0.1:4433 psk=sensor-7:00112233445566778899aabbccddeeff get=/262144 put=262144 port-after=87000
//! ```
//!
//! Instead of `psk` there may be `raw-key` or `pin`: see the module `job`. How files are transferred is in the module `transfer`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::net::SocketAddr;
use defmt::{error, info};
use embassy_executor::Spawner;
use embassy_time::{Duration, Instant, with_timeout};
use peregrine_core::connection::RouteError;
use peregrine_core::endpoint::EndpointConfig;
use peregrine_crypto::tls::{ClientConfig, Psk};
use peregrine_crypto::verify::Verifier;
use peregrine_crypto::verify::only::Only;
use peregrine_crypto::verify::pin::{Pin, SpkiHash};
use peregrine_crypto::verify::raw_key::RawKey;
use peregrine_embassy::tls::{self, HandshakeMemory};
use peregrine_embassy::{Endpoint, Error, NetworkId, Resources, Storage};
use peregrine_mps2_an386::board::host::{self, Urandom};
use peregrine_mps2_an386::board::{self, executor};
use peregrine_mps2_an386::job::Job;
use peregrine_mps2_an386::{network, transfer};
use static_cell::StaticCell;

/// TLS with the least cryptography that will do.
type Tls = tls::Client<tls::Lean>;
type Connection = peregrine_embassy::Connection<Tls>;

/// One path, two streams of 4 KiB each way, 32 packets in flight.
type Memory = Storage<1, 2, 32, 4608, 4096>;
/// Bytes of datagrams that wait to be read: four of the longest, for what a server may send of a stream before it has to wait comes at
/// once.
const RING_IN: usize = 4 * 1472;

/// One connection; two sockets, so that it can go to another port of the one network that there is.
static RESOURCES: StaticCell<Resources<Tls, Memory, 1, 2, RING_IN>> = StaticCell::new();
static KEYS: StaticCell<tls::Keys<tls::Lean>> = StaticCell::new();
static HANDSHAKES: StaticCell<HandshakeMemory<2048, 1>> = StaticCell::new();
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

/// Does the job; whether what arrived is what was sent.
async fn run(spawner: Spawner, job: Job) -> Result<bool, Error> {
    let mut entropy = Urandom;
    let stack = network::start(spawner, &mut entropy)?;
    let keys = KEYS.init(tls::keys(&mut entropy)?);
    let endpoint = Endpoint::new(RESOURCES.init_with(Resources::new), EndpointConfig::default(), keys);
    let network = endpoint.attach(stack, 0, 2)?;
    spawner.spawn(quic(endpoint).unwrap());

    let up = with_timeout(Duration::from_secs(30), endpoint.wait_up(None)).await;
    up.map_err(|_| Error::NoNetwork)?;
    let began = Instant::now();
    let handshakes = HANDSHAKES.init_with(HandshakeMemory::new).share();
    let session = tls::client(TLS.init(trust(&job)), handshakes, &mut entropy, None)?;
    let server: SocketAddr = job.parse("server").expect("server=ADDRESS:PORT");
    let connection = endpoint.connect(None, server, session)?;
    connection.wait_connected().await?;
    info!("connected to {} in {} ms", server, began.elapsed().as_millis());

    if let Some(path) = job.find("get") {
        let mut moves = Moves::new(&connection, network, &job);
        transfer::download(&connection, path, async |bytes| moves.after(bytes).await).await?;
    }
    let is_same = match job.parse("put") {
        Some(len) => {
            let mut moves = Moves::new(&connection, network, &job);
            transfer::upload(&connection, len, async |bytes| moves.after(bytes).await).await?
        }
        None => true,
    };
    connection.close(0, "");
    drop(connection);
    endpoint.wait_idle().await;
    Ok(is_same)
}

/// Whom to trust. Of these a product needs one, and links the code of no other.
fn trust(job: &Job) -> ClientConfig<'static> {
    static PSKS: StaticCell<[Psk<'static>; 1]> = StaticCell::new();
    static RAW_KEYS: StaticCell<[&'static [u8]; 1]> = StaticCell::new();
    static RAW_KEY: StaticCell<Only<RawKey<'static>>> = StaticCell::new();
    static PINS: StaticCell<[SpkiHash; 1]> = StaticCell::new();
    static PIN: StaticCell<Only<Pin<'static>>> = StaticCell::new();
    let psks: &[Psk<'_>] = job.psk().map_or(&[], |psk| PSKS.init([psk]));
    let raw_key = job.raw_key().map(|key| {
        let verifier = RAW_KEY.init(Only::ed25519(RawKey { keys: RAW_KEYS.init([key]) }));
        verifier as &'static (dyn Verifier + Sync)
    });
    let pin = job.pin().map(|pin| {
        let verifier = PIN.init(Only::ed25519(Pin { keys: PINS.init([*pin]) }));
        verifier as &'static (dyn Verifier + Sync)
    });
    ClientConfig {
        server_name: job.find("name"),
        alpn: &[b"hq-interop"],
        server: raw_key.or(pin),
        psks,
        ..ClientConfig::default()
    }
}

/// Where a connection goes meanwhile.
struct Moves<'a> {
    connection: &'a Connection,
    network: NetworkId,
    /// When to go to another port, in bytes: the move that this program makes itself. When the cable is pulled and another address
    /// comes with the next, the adapter moves, and there is nothing to do.
    port_after: Option<usize>,
    here: Option<SocketAddr>,
}

impl<'a> Moves<'a> {
    fn new(connection: &'a Connection, network: NetworkId, job: &Job) -> Self {
        let here = connection.route().map(|route| route.local);
        Self { connection, network, port_after: job.parse("port-after"), here }
    }

    /// Moves if it is time, and tells of every move.
    async fn after(&mut self, bytes: usize) -> Result<(), Error> {
        if self.port_after.is_some_and(|when| bytes >= when) {
            match self.connection.migrate(self.network).await {
                Ok(_) => self.port_after = None,
                // Not now: after the next bytes.
                Err(Error::NoNetwork | Error::Route(RouteError::NoSpareCid)) => {}
                Err(error) => return Err(error),
            }
        }
        let here = self.connection.route().map(|route| route.local);
        if let Some(here) = here.filter(|_| here != self.here) {
            self.here = Some(here);
            info!("after {} bytes: from {}", bytes, here);
        }
        Ok(())
    }
}
