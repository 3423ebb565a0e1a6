//! A server that tells the temperature: once to whoever asks on a stream, `GET /temperature`, and again and again to whoever takes
//! datagrams.
//!
//! It is told its key by words on QEMU's command line: `psk=console:00112233445566778899aabbccddeeff`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::fmt::Write as _;

use defmt::{error, info};
use embassy_executor::Spawner;
use embassy_futures::select::select;
use embassy_time::{Duration, Instant, Ticker};
use embedded_io_async::{Read, Write};
use heapless::String;
use peregrine_core::connection::Config;
use peregrine_core::endpoint::EndpointConfig;
use peregrine_crypto::tls::{Psk, ServerConfig};
use peregrine_embassy::tls::{self, HandshakeMemory};
use peregrine_embassy::{Endpoint, Error, Resources, Storage};
use peregrine_mps2_an386::board::host::{self, Urandom};
use peregrine_mps2_an386::board::{self, executor};
use peregrine_mps2_an386::job::Job;
use peregrine_mps2_an386::network;
use static_cell::StaticCell;

/// TLS with the least cryptography that will do.
type Tls = tls::Server<tls::Lean>;
type Connection = peregrine_embassy::Connection<Tls>;
type SendStream = peregrine_embassy::SendStream<Tls>;
type RecvStream = peregrine_embassy::RecvStream<Tls>;

/// One path, two streams of half a KiB each way, 16 packets in flight, 256 bytes of datagrams.
type Memory = Storage<1, 2, 16, 576, 512, 256>;
/// Clients at once.
const CLIENTS: usize = 4;
const PORT: u16 = 4433;
/// How often those are told who take datagrams.
const EVERY: Duration = Duration::from_millis(100);

static RESOURCES: StaticCell<Resources<Tls, Memory, CLIENTS, 1>> = StaticCell::new();
static KEYS: StaticCell<tls::Keys<tls::Lean>> = StaticCell::new();
/// Two handshakes at a time. Who comes meanwhile is turned away, and may try again.
static HANDSHAKES: StaticCell<HandshakeMemory<2048, 2>> = StaticCell::new();
static TLS: StaticCell<ServerConfig<'static>> = StaticCell::new();
static PSKS: StaticCell<[Psk<'static>; 1]> = StaticCell::new();
static LISTENER: StaticCell<tls::Listener> = StaticCell::new();

#[cortex_m_rt::entry]
fn main() -> ! {
    board::start();
    executor::run(|spawner| {
        if let Err(error) = start(spawner, Job::read()) {
            error!("{}", error);
            host::exit(false)
        }
    })
}

fn start(spawner: Spawner, job: Job) -> Result<(), Error> {
    let mut entropy = Urandom;
    let stack = network::start(spawner, &mut entropy)?;
    let connection = Config { peer_bidi_streams: 2, ..Config::default() };
    let config = EndpointConfig { server: true, connection, ..EndpointConfig::default() };
    let keys = KEYS.init(tls::keys(&mut entropy)?);
    let endpoint = Endpoint::new(RESOURCES.init_with(Resources::new), config, keys);
    endpoint.attach(stack, PORT, 1)?;
    let psks = PSKS.init([job.psk().expect("psk=NAME:HEX")]);
    let config =
        TLS.init(ServerConfig { alpn: &[b"hq-interop"], psks: Some(psks), ..ServerConfig::default() });
    let handshakes = HANDSHAKES.init_with(HandshakeMemory::new).share();
    endpoint.serve(LISTENER.init(tls::Listener::new(config, handshakes, &mut entropy)?));
    spawner.spawn(quic(endpoint).unwrap());
    for _ in 0..CLIENTS {
        spawner.spawn(serve(endpoint).unwrap());
    }
    Ok(())
}

#[embassy_executor::task]
async fn quic(endpoint: Endpoint<Tls>) -> ! {
    endpoint.run().await
}

/// Serves one client after the other.
#[embassy_executor::task(pool_size = CLIENTS)]
async fn serve(endpoint: Endpoint<Tls>) -> ! {
    loop {
        let connection = endpoint.accept().await;
        info!("a client has come");
        select(answer(&connection), report(&connection)).await;
        info!("a client has gone");
    }
}

/// Answers requests, until the connection ends.
async fn answer(connection: &Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        if let Err(error) = respond(&mut send, &mut recv).await {
            // Of a request that failed the client learns as the stream is dropped; others are not touched.
            info!("a request has failed: {}", error);
        }
    }
}

async fn respond(send: &mut SendStream, recv: &mut RecvStream) -> Result<(), Error> {
    /// What `peregrine get` says that a server has no such file by.
    const NOT_FOUND: u64 = 2;
    let (mut request, mut len) = ([0; 64], 0);
    // To the end of the stream: a client says nothing more. What is too long is none of ours.
    while len < request.len() {
        match recv.read(&mut request[len..]).await? {
            0 => break,
            read => len += read,
        }
    }
    if request[..len].trim_ascii_end() != b"GET /temperature" {
        send.reset(NOT_FOUND);
        return Ok(());
    }
    let mut line: String<32> = temperature();
    // There is room for it: a number and two more characters.
    let _ = line.push_str(" C\n");
    send.write_all(line.as_bytes()).await?;
    send.finish()
}

/// Sends the temperature in datagrams, until the connection ends or if it takes none. What is lost is not repeated: the next will
/// tell.
async fn report(connection: &Connection) {
    let mut ticker = Ticker::every(EVERY);
    let mut number = 0_u32;
    loop {
        let mut sample: String<32> = temperature();
        let _ = write!(sample, " C, {number}");
        if connection.send_datagram(sample.as_bytes()).await.is_err() {
            break;
        }
        number = number.wrapping_add(1);
        ticker.next().await;
    }
    connection.closed().await;
}

/// The board has no sensor. This one warms up and cools down again, from 20 to 26 degrees Celsius within a minute.
fn temperature<const N: usize>() -> String<N> {
    let hundredths = Instant::now().as_millis() / 100 % 600;
    let above = hundredths.min(600 - hundredths) * 2;
    let mut text = String::new();
    let _ = write!(text, "{}.{:02}", 20 + above / 100, above % 100);
    text
}
