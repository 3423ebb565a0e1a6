//! Peregrine or quinn at either end of HTTP/0.9 over QUIC, for scripts that put something between them: downloads and
//! uploads of pseudo-random bytes, each checked, with a move in the middle.
//!
//! ```text
//! hq serve ours|quinn CERT KEY ADDR [PREFERRED]                        says where it listens; serves until it is ended
//! hq get|put ours|quinn CA ADDR LEN [probe|at-once|rebind TO AFTER]    moves to the address TO after so many bytes
//! ```
//!
//! `probe` tries the route before it takes it; `rebind` changes the socket without telling a connection of ours, while quinn's,
//! which knows no other way, takes another connection ID. Clients write TLS secrets to the file that SSLKEYLOGFILE names.

#[path = "../../tests/peers/mod.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod peers;
#[path = "../../tests/peers/quinn.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod stack;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use peregrine_core::connection::RouteError;
use peregrine_std::identity::{Identity, load_certificates};
use peregrine_std::tls::{ClientTls, KeyLogFile, ServerTls, Shown, Trust};
use peregrine_std::{Connection, Endpoint, Error};

use peers::app::{self, Line};
use peers::ours::Tls;
use peers::pki::Leaf;
use peers::theirs::{Choice, Theirs, Welcome};
use peers::{ALPN, LOOPBACK, NAME};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", stack, cert, key, at, ref preferred @ ..] => {
            let identity = Identity::load(Path::new(cert), Path::new(key)).unwrap();
            let preferred = preferred.first().map(|preferred| address(preferred));
            serve(stack, identity, address(at), preferred);
        }
        [way @ ("get" | "put"), stack, ca, server, len, ref how @ ..] => {
            let order = match *how {
                [] => None,
                [how, to, after] => Some(Order { how, to: address(to), after: after.parse().unwrap() }),
                _ => panic!("how, to where, and after how many bytes?"),
            };
            let transfer = Transfer { upload: way == "put", len: len.parse().unwrap(), order };
            fetch(stack, Path::new(ca), address(server), &transfer);
        }
        _ => panic!("see the head of this program's source"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

fn serve(stack: &str, identity: Identity, at: SocketAddr, preferred: Option<SocketAddr>) {
    let preferred = preferred.map(v4);
    if stack == "quinn" {
        let leaf = Leaf { chain: identity.chain, key: identity.key };
        let mut config = Choice::default().server(leaf, None);
        config.preferred_address_v4(preferred);
        let server = Theirs::server_with(quinn::EndpointConfig::default(), config, at, Welcome::Accept);
        println!("{}", server.address());
        // A client that fails is no reason to end.
        while let Ok(arrival) = server.arrivals.recv() {
            let _ = arrival.map(|connection| app::serve(server.connection(connection)));
        }
        return;
    }
    let builder = Endpoint::builder().listen(at).tune(|config| config.preferred_v4 = preferred);
    let builder = preferred.into_iter().fold(builder, |builder, at| builder.listen(at.into()));
    let tls = ServerTls::new(Shown::Certificate(identity), &[ALPN]);
    let server = Tls::Ours.serving(tls, builder).bind().unwrap();
    println!("{}", server.local_addrs()[0]);
    while let Ok(connection) = server.accept() {
        app::serve(connection);
    }
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address} is not of IPv4"),
    }
}

/// A move, and when.
struct Order<'a> {
    how: &'a str,
    to: SocketAddr,
    after: u64,
}

struct Transfer<'a> {
    upload: bool,
    len: u64,
    order: Option<Order<'a>>,
}

impl Transfer<'_> {
    fn run(&self, line: &impl Line, act: impl Fn(&Order<'_>)) {
        let mut order = self.order.as_ref();
        let also = |so_far| {
            if let Some(order) = order.take_if(|order| so_far >= order.after) {
                act(order);
            }
        };
        if self.upload {
            app::put_and(line, self.len, also);
        } else {
            app::get_and(line, self.len, also);
        }
        assert!(order.is_none(), "the transfer was over before");
        println!("{}", self.len);
        line.close(0, "");
    }
}

fn fetch(stack: &str, ca: &Path, server: SocketAddr, transfer: &Transfer<'_>) {
    let roots = load_certificates(ca).unwrap();
    if stack == "quinn" {
        let mut trusted = rustls::RootCertStore::empty();
        trusted.add_parsable_certificates(roots);
        let there = Theirs::client(Choice::default().client_trusting(trusted, None));
        let line = there.connect(server).unwrap();
        transfer.run(&line, |order| {
            assert_eq!(order.how, "rebind");
            there.rebind(UdpSocket::bind(order.to).unwrap());
        });
        there.wait(there.endpoint.wait_idle());
        return;
    }
    let mut tls = ClientTls::new(Trust::Roots(roots), &[ALPN]);
    tls.key_log =
        std::env::var_os("SSLKEYLOGFILE").map(|file| KeyLogFile::append_to(Path::new(&file)).unwrap());
    let builder = Endpoint::builder().listen(LOOPBACK);
    let here = Tls::Ours.connecting(tls, builder).bind().unwrap();
    let line = here.connect(server, NAME).unwrap();
    transfer.run(&line, |order| carry_out(order, &here, &line));
    // What tells the server of the end goes out meanwhile.
    line.closed();
}

fn carry_out(order: &Order<'_>, here: &Endpoint, line: &Connection) {
    match order.how {
        "rebind" => {
            here.rebind(order.to).unwrap();
        }
        "at-once" => {
            with_cid(line, || line.migrate(order.to));
        }
        "probe" => {
            let route = with_cid(line, || line.add_route(order.to));
            // Not here: the transfer goes on.
            let line = line.clone();
            thread::spawn(move || {
                line.wait_route(route, Some(Duration::from_secs(10))).unwrap();
                line.switch_route(route).unwrap();
            });
        }
        other => panic!("no way to move is called {other}"),
    }
}

/// The server may have to supply a connection ID first.
fn with_cid<T>(line: &Connection, mut attempt: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match attempt() {
            Err(Error::Route(RouteError::NoSpareCid)) => {
                line.wait_spare_cid(Some(Duration::from_secs(10))).expect("a connection ID is supplied");
            }
            outcome => return outcome.unwrap(),
        }
    }
}
