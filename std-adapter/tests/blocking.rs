//! The blocking interface over loopback: several threads, sizes from nothing to 100 MiB, ends of every kind.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peregrine_std::identity::Identity;
use peregrine_std::pattern::{self, Pattern};
use peregrine_std::tls::{ClientTls, ServerTls, Shown, Trust, ours};
use peregrine_std::{Builder, Connection, Endpoint, Error};

const ALPN: &[&[u8]] = &[b"test"];
const NAME: &str = "server.test";

fn server_tls() -> (ServerTls, Trust) {
    let identity = Identity::self_signed(&[NAME.into()]).unwrap();
    let trust = Trust::Roots(identity.chain.clone());
    (ServerTls::new(Shown::Certificate(identity), ALPN), trust)
}

struct Pair {
    server: Endpoint,
    client: Endpoint,
    address: SocketAddr,
}

fn pair_with(change: impl Fn(Builder) -> Builder) -> Pair {
    let (server, trust) = server_tls();
    let server = Arc::new(ours::Server::new(server).unwrap());
    let client = Arc::new(ours::Client::new(ClientTls::new(trust, ALPN)).unwrap());
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server =
        change(Endpoint::builder().listen(loopback)).server(move |_| Ok(server.session())).bind().unwrap();
    let client = change(Endpoint::builder())
        .client(move |name| client.session(name).map_err(|error| Error::Session(error.to_string())))
        .bind()
        .unwrap();
    let address = server.local_addrs()[0];
    Pair { server, client, address }
}

fn pair() -> Pair {
    pair_with(|builder| builder)
}

impl Pair {
    fn connect(&self) -> (Connection, Connection) {
        let client = self.client.connect(self.address, NAME).unwrap();
        let server = self.server.accept_within(Some(Duration::from_secs(10))).unwrap();
        (client, server)
    }
}

/// Answers every stream both ways with the number of bytes that it asks for.
fn serve(connection: &Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi() {
        thread::spawn(move || {
            let mut wanted = [0; 8];
            recv.read_exact(&mut wanted).unwrap();
            let mut pattern = Pattern::new(u64::from_be_bytes(wanted));
            std::io::copy(&mut pattern, &mut send).unwrap();
            send.finish().unwrap();
        });
    }
}

fn fetch(connection: &Connection, len: u64) {
    let (mut send, mut recv) = connection.open_bi().unwrap();
    send.write_all(&len.to_be_bytes()).unwrap();
    send.finish().unwrap();
    let (mut got, mut expected) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut total = 0;
    loop {
        let read = recv.read(&mut got).unwrap();
        if read == 0 {
            break;
        }
        pattern::fill(total, &mut expected[..read]);
        assert!(got[..read] == expected[..read], "at {total}");
        total += read as u64;
    }
    assert_eq!(total, len);
}

#[test]
fn every_size_arrives_whole() {
    let pair = pair();
    let (client, server) = pair.connect();
    assert_eq!(client.agreed().alpn.as_deref(), Some(&b"test"[..]));
    assert_eq!(server.agreed().server_name.as_deref(), Some(NAME));
    let serving = thread::spawn(move || serve(&server));
    for len in [0, 1, 1199, 65_537, 1 << 20, 10 << 20] {
        fetch(&client, len);
    }
    client.close(7, "done");
    serving.join().unwrap();
}
