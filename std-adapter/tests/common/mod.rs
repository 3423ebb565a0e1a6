//! Ends of connections for the tests of this folder.
#![allow(dead_code, reason = "each test uses its part")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use peregrine_std::identity::Identity;
use peregrine_std::pattern::{self, Pattern};
use peregrine_std::tls::{self, ClientTls, ServerTls, Shown, Trust};
use peregrine_std::{AnySession, Builder, Connection, Endpoint, Error, RecvStream};

#[cfg(target_os = "linux")]
pub(crate) mod eye;
#[cfg(target_os = "linux")]
pub(crate) mod lab;
pub(crate) mod relay;

pub(crate) const ALPN: &[&[u8]] = &[b"test"];
pub(crate) const NAME: &str = "server.test";
pub(crate) const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// Which TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tls {
    Ours,
    Rustls,
}

pub(crate) fn server_tls() -> (ServerTls, Trust) {
    let identity = Identity::self_signed(&[NAME.into()]).unwrap();
    let trust = Trust::Roots(identity.chain.clone());
    (ServerTls::new(Shown::Certificate(identity), ALPN), trust)
}

pub(crate) fn server_sessions(tls: ServerTls, which: Tls) -> Box<dyn Fn() -> AnySession + Send + Sync> {
    match which {
        Tls::Ours => {
            let factory = tls::ours::Server::new(tls).unwrap();
            Box::new(move || factory.session())
        }
        Tls::Rustls => {
            let factory = tls::rustls::Server::new(tls).unwrap();
            Box::new(move || factory.session())
        }
    }
}

pub(crate) type ClientSessions = Box<dyn Fn(&str) -> Result<AnySession, Error> + Send + Sync>;

pub(crate) fn client_sessions(tls: ClientTls, which: Tls) -> ClientSessions {
    match which {
        Tls::Ours => {
            let factory = tls::ours::Client::new(tls).unwrap();
            Box::new(move |name| Ok(factory.session(name)?))
        }
        Tls::Rustls => {
            let factory = tls::rustls::Client::new(tls).unwrap();
            Box::new(move |name| Ok(factory.session(name)?))
        }
    }
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// A server and a client.
pub(crate) struct Pair {
    pub(crate) server: Endpoint,
    pub(crate) client: Endpoint,
    pub(crate) address: SocketAddr,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(change: impl Fn(Builder) -> Builder) -> Self {
        let (server, trust) = server_tls();
        Self::of(server, ClientTls::new(trust, ALPN), [Tls::Ours; 2], change)
    }

    /// `which` is the TLS of the server and that of the client.
    pub(crate) fn of(
        server: ServerTls,
        client: ClientTls,
        which: [Tls; 2],
        change: impl Fn(Builder) -> Builder,
    ) -> Self {
        let (server, client) = (server_sessions(server, which[0]), client_sessions(client, which[1]));
        let server = change(Endpoint::builder().listen(loopback())).server(move |_| Ok(server()));
        let server = server.bind().unwrap();
        let client = change(Endpoint::builder()).client(client).bind().unwrap();
        let address = server.local_addrs()[0];
        Self { server, client, address }
    }

    pub(crate) fn connect(&self) -> (Connection, Connection) {
        let client = self.client.connect(self.address, NAME).unwrap();
        let server = self.server.accept_within(PATIENCE).unwrap();
        (client, server)
    }
}

/// Answers every stream both ways with as many bytes as it asks for.
pub(crate) fn serve(connection: &Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi() {
        thread::spawn(move || {
            let mut wanted = Vec::new();
            recv.read_to_end(&mut wanted).unwrap();
            let wanted = wanted.try_into().unwrap();
            std::io::copy(&mut Pattern::new(u64::from_be_bytes(wanted)), &mut send).unwrap();
            send.finish().unwrap();
        });
    }
}

/// Asks for `len` bytes and checks them.
pub(crate) fn fetch(connection: &Connection, len: u64) {
    let (mut send, mut recv) = connection.open_bi().unwrap();
    send.write_all(&len.to_be_bytes()).unwrap();
    send.finish().unwrap();
    assert_eq!(drain(&mut recv), len);
}

/// Calls `then` with how many bytes were read, after each read.
struct Counting<'a, F> {
    recv: &'a mut RecvStream,
    taken: u64,
    then: F,
}

impl<F: FnMut(u64)> Read for Counting<'_, F> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = self.recv.read(out)?;
        self.taken += len as u64;
        (self.then)(self.taken);
        Ok(len)
    }
}

/// As [`fetch`], and does something when so much has come.
pub(crate) fn fetch_and(connection: &Connection, len: u64, at: u64, act: impl FnOnce()) {
    let (mut send, mut recv) = connection.open_bi().unwrap();
    send.write_all(&len.to_be_bytes()).unwrap();
    send.finish().unwrap();
    let mut act = Some(act);
    let then = |taken| {
        if let Some(act) = act.take_if(|_| taken >= at) {
            act();
        }
    };
    assert_eq!(drain(&mut Counting { recv: &mut recv, taken: 0, then }), len);
}

/// Uploads and downloads so much, and does something in the middle of both.
pub(crate) fn meanwhile(client: &Connection, server: &Connection, len: u64, act: impl FnOnce()) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut send = client.open_uni().unwrap();
            std::io::copy(&mut Pattern::new(len), &mut send).unwrap();
            send.finish().unwrap();
            send.delivered().unwrap();
        });
        scope.spawn(|| assert_eq!(drain(&mut server.accept_uni().unwrap()), len));
        fetch_and(client, len, len / 4, act);
    });
}

/// Reads the pattern to its end; returns its length.
pub(crate) fn drain(recv: &mut impl Read) -> u64 {
    let (mut got, mut expected) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut total = 0;
    loop {
        let read = recv.read(&mut got).unwrap();
        if read == 0 {
            return total;
        }
        pattern::fill(total, &mut expected[..read]);
        assert!(got[..read] == expected[..read], "at {total}");
        total += read as u64;
    }
}
