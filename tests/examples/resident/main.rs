//! The resident memory of a server's idle connections, over sockets of the loopback interface: that of a process with
//! many, less that of a process with few, for each. Linux only. Clients live in processes of their own.
//!
//! `cargo run --release -p peregrine-tests --example resident`

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use peregrine_core::connection::{Event, Memory};
use peregrine_core::endpoint::Slot;
use peregrine_std::identity::Identity;
use peregrine_std::session::AnySession;
use peregrine_std::storage::HeapStorage;
use peregrine_std::tls::{ClientTls, ServerTls, Shown, Trust, ours};
use peregrine_std::{Builder, Error, EventLoop, Sizes};

const ALPN: &[u8] = b"resident";
const NAME: &str = "resident.test";
/// Handshakes that a client has under way.
const AT_ONCE: usize = 16;
/// After so long without a datagram, everything is said.
const QUIET: Duration = Duration::from_millis(500);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => {
            compare("bare", 1_000, 11_000);
            parts(&sizes_of("bare"));
            compare("small", 1_000, 11_000);
            // Address space for its windows: 300 MB each.
            compare("default", 4, 20);
        }
        ["server", sizes, count] => serve(sizes_of(sizes), count.parse().expect("a number")),
        ["client", count, server] => {
            connect(count.parse().expect("a number"), server.parse().expect("an address"));
        }
        _ => panic!("no arguments are needed"),
    }
}

fn sizes_of(word: &str) -> Sizes {
    match word {
        "bare" => Sizes { receive: 1, send: 1, ..Sizes::SMALL },
        "small" => Sizes::SMALL,
        _ => Sizes::default(),
    }
}

fn compare(word: &str, few: usize, many: usize) {
    let Sizes { streams, sent, receive, send, datagrams, .. } = sizes_of(word);
    let [low, high] = [few, many].map(|count| resident_with(word, count));
    let each = (high - low) / (many - few);
    println!(
        "{word:<8}{each:>8} bytes for each of {many} connections: {streams} streams of {receive} + {send} bytes, \
         {sent} packets in flight, 2 * {datagrams} bytes of datagrams"
    );
}

/// What of it has a size that the compiler knows.
fn parts(sizes: &Sizes) {
    let mut memory = HeapStorage::new(&Sizes { paths: 1, ..*sizes });
    let buffers = memory.buffers();
    let path = size_of_val(buffers.paths)
        + size_of_val(buffers.routes)
        + size_of_val(buffers.local_cids)
        + size_of_val(buffers.peer_cids)
        + size_of_val(buffers.retirements);
    let streams = size_of_val(buffers.streams.rows) + size_of_val(buffers.streams.index);
    for (bytes, what) in [
        (buffers.crypto.len() + buffers.token.len(), "CRYPTO bytes out of order, a token"),
        (path, "one path, its routes and connection IDs"),
        (size_of::<Slot<HeapStorage, AnySession>>(), "the slot, with the connection and its session in it"),
        (streams + size_of_val(buffers.sent), "rows of streams and of packets in flight"),
        (buffers.streams.rx.len() + buffers.streams.tx.len(), "stream buffers"),
    ] {
        println!("        {bytes:>8} {what}");
    }
}

/// What a server process tells that has so many connections.
fn resident_with(sizes: &str, count: usize) -> usize {
    let this = std::env::current_exe().expect("a path");
    let count = count.to_string();
    let server = Command::new(this).args(["server", sizes, &count]).output().expect("a server");
    assert!(server.status.success(), "{}", String::from_utf8_lossy(&server.stderr));
    String::from_utf8_lossy(&server.stdout).trim().parse().expect("a number of bytes")
}

fn builder(sizes: Sizes, count: usize) -> Builder {
    EventLoop::builder()
        .listen((Ipv4Addr::LOCALHOST, 0).into())
        .sizes(sizes)
        .connections(count)
        .half_open(count)
        .tune(|config| config.max_idle_timeout = Duration::ZERO)
}

/// Lets clients in, and tells what memory is resident once all are idle.
fn serve(sizes: Sizes, count: usize) {
    let identity = Identity::self_signed(&[NAME.into()]).expect("an identity");
    let tls =
        ours::Server::new(ServerTls::new(Shown::Certificate(identity), &[ALPN])).expect("a server's TLS");
    let mut events = builder(sizes, count).server(move |_| Ok(tls.session())).event_loop().expect("a socket");
    let address = events.local_addrs().next().expect("an address").to_string();
    let this = std::env::current_exe().expect("a path");
    let mut client = Command::new(this)
        .args(["client", &count.to_string(), &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a client");
    let mut confirmed = 0;
    loop {
        events.turn(Some(QUIET)).expect("a socket that works");
        let mut is_quiet = true;
        while let Some((handle, event)) = events.poll_event() {
            is_quiet = false;
            match event {
                Event::Confirmed => {
                    events.after_handshake(handle);
                    confirmed += 1;
                }
                Event::Closed(cause) => panic!("{}", peregrine_std::Closed::from(cause)),
                _ => {}
            }
        }
        if confirmed == count && is_quiet && events.next_timeout().is_none_or(|next| next > QUIET) {
            break;
        }
    }
    println!("{}", resident());
    client.kill().expect("a client to end");
    client.wait().expect("a client that ended");
}

/// Opens so many connections and keeps them until it is ended.
fn connect(count: usize, server: SocketAddr) {
    let tls = ours::Client::new(ClientTls::new(Trust::Anyone, &[ALPN])).expect("a client's TLS");
    let session = move |name: &str| tls.session(name).map_err(|error| Error::Session(error.to_string()));
    let mut events = builder(Sizes { streams: 1, receive: 1, send: 1, ..Sizes::SMALL }, count)
        .client(session)
        .event_loop()
        .expect("a socket");
    let mut begun = 0;
    let mut complete = 0;
    loop {
        while begun < count.min(complete + AT_ONCE) {
            events.connect(server, NAME).expect("a connection");
            begun += 1;
        }
        events.turn(None).expect("a socket that works");
        while let Some((handle, event)) = events.poll_event() {
            match event {
                Event::Confirmed => {
                    events.after_handshake(handle);
                    complete += 1;
                }
                Event::Closed(cause) => panic!("{}", peregrine_std::Closed::from(cause)),
                _ => {}
            }
        }
    }
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).expect("the resident pages");
    pages.parse::<usize>().expect("a number") * 4096
}
