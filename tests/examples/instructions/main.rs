//! Work for `tests/instructions.sh` to count the instructions of: what core does per packet of a bulk transfer, and per
//! datagram and timer of an endpoint, all outside the calls of the session. What is counted is told by its name; the
//! program prints how many packets or rounds that was for.
//!
//! ```text
//! instructions transfer STREAMS ACTIVE PART     a client sends on so many of so many open streams
//! instructions endpoint CONNECTIONS PART        one client after another sends a PING to a server
//! ```

mod aside;
mod endpoint;
mod transfer;

use std::net::SocketAddr;
use std::time::Duration;

use aside::Aside;
use peregrine_core::connection::{Config, Connection, Opened};
use peregrine_core::ids::{FourTuple, Side};
use peregrine_core::time::Instant;
use peregrine_core::wire::{Cid, version::V1};
use peregrine_tests::memory::{HeapMemory, Sizes};

type Peer = Connection<HeapMemory, Aside>;

/// The datagrams of a transfer.
const DATAGRAM: u16 = 1200;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u32>().expect("a number");
    let count = match words[..] {
        ["transfer", streams, active, part] => {
            transfer::run(number(streams) as usize, number(active) as usize, part)
        }
        ["endpoint", connections, part] => endpoint::run(number(connections), part),
        _ => panic!("transfer STREAMS ACTIVE PART, or endpoint CONNECTIONS PART"),
    };
    println!("{count}");
}

/// Does the work, and has it counted if `part` is the one asked for.
fn count_if<R>(asked: &str, part: &str, work: impl FnOnce() -> R) -> R {
    if asked == part { aside::count(work) } else { work() }
}

/// Datagrams do not grow, and nothing happens by itself for as long as a run takes.
fn config() -> Config {
    Config { max_mtu: DATAGRAM, max_idle_timeout: Duration::ZERO, grease: false, ..Config::default() }
}

fn client(number: u32, now: Instant, sizes: Sizes) -> Peer {
    let opened = Opened {
        on: at_client(number),
        version: V1,
        scid: client_cid(number),
        dcid: first_cid(number),
        token: &[],
    };
    let session = Aside::new(Side::Client, number.into());
    Connection::client(now, &config(), &opened, HeapMemory::new(sizes), session).expect("a client")
}

fn client_cid(number: u32) -> Cid {
    Cid::new(&(0xc000_0000_0000 + u64::from(number)).to_be_bytes()).expect("a connection ID")
}

/// What a client calls the server before that has spoken.
fn first_cid(number: u32) -> Cid {
    Cid::new(&(0xd000_0000_0000 + u64::from(number)).to_be_bytes()).expect("a connection ID")
}

fn at_client(number: u32) -> FourTuple {
    FourTuple { local: client_address(number), remote: server_address(), interface: 1 }
}

fn at_server(number: u32) -> FourTuple {
    FourTuple { local: server_address(), remote: client_address(number), interface: 1 }
}

fn client_address(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 5000))
}

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4433))
}
