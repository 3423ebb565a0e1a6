//! What happens to a connection between its handshake and its end, and the ends there are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::lifecycle::Cause;
use peregrine_std::EventLoop;
use peregrine_std::tls::ServerTls;
use quinn::{ConnectionError, EndpointConfig, TransportConfig};
use quinn_proto::HashedConnectionIdGenerator;

use crate::app::{Line, get, get_and, serve};
use crate::pki::Authority;
use crate::theirs::{self, Theirs, Welcome};
use crate::{LOOPBACK, NAME, bounded, ours};

/// A connection between the stacks, with what keeps it alive.
struct Pair {
    ours: peregrine_std::Connection,
    theirs: theirs::Connection,
    _endpoints: (peregrine_std::Endpoint, Theirs),
}

fn their_server(idle: Duration) -> Pair {
    let authority = Authority::new("ours");
    let mut config = theirs::server_config(&authority);
    config.transport_config(transport(idle));
    let there = Theirs::server(config);
    let here = ours::client(ours::client_tls(&authority));
    let ours = here.connect(there.address(), NAME).unwrap();
    Pair { ours, theirs: there.accept().unwrap(), _endpoints: (here, there) }
}

fn their_client(idle: Duration) -> Pair {
    let authority = Authority::new("ours");
    let here = ours::server(ours::server_tls(&authority));
    let mut config = theirs::client_config(&authority);
    config.transport_config(transport(idle));
    let there = Theirs::client(config);
    let theirs = there.connect(here.local_addrs()[0]).unwrap();
    Pair { ours: ours::accept(&here), theirs, _endpoints: (here, there) }
}

fn transport(idle: Duration) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(idle.try_into().unwrap()));
    Arc::new(transport)
}

const LONG: Duration = Duration::from_secs(30);

/// With quinn as the server, then as the client.
fn both_ways(test: impl Fn(Pair) + Send + 'static) {
    bounded(move || {
        test(their_server(LONG));
        test(their_client(LONG));
    });
}

/// Downloads with a change of keys asked for half way, until there was one. quinn makes one by itself within its first
/// thousand packets, and none for some round-trip times after another, so it takes two, and may take several downloads.
fn update_midway(line: &impl Line, ours: &peregrine_std::Connection, update: impl Fn()) {
    const LEN: u64 = 4 << 20;
    while ours.stats().unwrap().key_updates < 2 {
        let mut done = false;
        get_and(line, LEN, |so_far| {
            if so_far > LEN / 2 && !std::mem::replace(&mut done, true) {
                update();
            }
        });
    }
    get(line, LEN);
}

#[test]
fn key_updates_of_ours() {
    bounded(|| {
        let pair = their_server(LONG);
        serve(pair.theirs.clone());
        update_midway(&pair.ours, &pair.ours, || pair.ours.update_keys().unwrap());
        let pair = their_client(LONG);
        serve(pair.ours.clone());
        update_midway(&pair.theirs, &pair.ours, || pair.ours.update_keys().unwrap());
    });
}

#[test]
fn key_updates_of_theirs() {
    bounded(|| {
        let pair = their_server(LONG);
        serve(pair.theirs.clone());
        update_midway(&pair.ours, &pair.ours, || pair.theirs.inner.force_key_update());
        let pair = their_client(LONG);
        serve(pair.ours.clone());
        update_midway(&pair.theirs, &pair.ours, || pair.theirs.inner.force_key_update());
    });
}

#[test]
fn exported_keys_are_the_same() {
    both_ways(|pair| {
        let (mut ours, mut theirs) = ([0; 32], [1; 32]);
        pair.ours.export_keys(b"EXPORTER-test", b"context", &mut ours).unwrap();
        pair.theirs.inner.export_keying_material(&mut theirs, b"EXPORTER-test", b"context").unwrap();
        assert_eq!(ours, theirs);
    });
}

#[test]
fn datagrams() {
    both_ways(|pair| {
        let max = pair.theirs.inner.max_datagram_size().unwrap().min(pair.ours.max_datagram_len().unwrap());
        assert!(max > 1000, "{max}");
        for len in [0, 1, 1000, max] {
            let sent: Vec<u8> = (0..len).map(|place| place as u8).collect();
            pair.ours.send_datagram(&sent).unwrap();
            let echo = pair.theirs.wait(pair.theirs.inner.read_datagram()).unwrap();
            assert!(echo == sent, "{len} bytes to quinn");
            pair.theirs.inner.send_datagram(echo).unwrap();
            let mut received = [0; 2000];
            let got = pair.ours.recv_datagram(&mut received, Some(LONG)).unwrap();
            assert!(received[..got] == sent, "{len} bytes from quinn");
        }
    });
}

#[test]
fn our_close_with_a_code() {
    both_ways(|pair| {
        pair.ours.close(0x1234, "enough");
        let ConnectionError::ApplicationClosed(close) = pair.theirs.closed() else { panic!() };
        assert_eq!((close.error_code.into_inner(), &close.reason[..]), (0x1234, &b"enough"[..]));
    });
}

#[test]
fn their_close_with_a_code() {
    both_ways(|pair| {
        Line::close(&pair.theirs, 0x1234, "enough");
        let closed = pair.ours.closed();
        assert_eq!(closed.application_code(), Some(0x1234));
        assert_eq!(closed.to_string(), "the peer closed the connection (application error 0x1234): enough");
    });
}

#[test]
fn silence() {
    bounded(|| {
        for pair in [their_server, their_client].map(|pair| pair(Duration::from_millis(300))) {
            let closed = pair.ours.closed();
            assert_eq!(closed.cause, Cause::Idle);
            assert_eq!(pair.theirs.closed(), ConnectionError::TimedOut);
        }
    });
}

#[test]
fn quinn_has_lost_its_state() {
    bounded(|| {
        let authority = Authority::new("ours");
        let start = |at| {
            let mut endpoint = EndpointConfig::new(Arc::new(aws_lc_rs::hmac::Key::new(
                aws_lc_rs::hmac::HMAC_SHA256,
                &[7; 64],
            )));
            // It answers only to connection IDs that it could have issued.
            endpoint.cid_generator(|| Box::new(HashedConnectionIdGenerator::from_key(7)));
            Theirs::server_with(endpoint, theirs::server_config(&authority), at, Welcome::Accept)
        };
        let server = start(LOOPBACK);
        let address = server.address();
        let line = ours::client(ours::client_tls(&authority)).connect(address, NAME).unwrap();
        let lost = server.accept().unwrap();
        server.kill();
        drop(lost);
        let _again = start(address);
        // What it still had to say may have told it already.
        let _ = line.ping();
        let closed = line.closed();
        assert_eq!(closed.cause, Cause::StatelessReset);
        assert_eq!(closed.to_string(), "the peer has lost the connection (stateless reset)");
    });
}

/// A server of ours that can be stopped without a word to anybody.
struct Mortal {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    running: JoinHandle<()>,
}

impl Mortal {
    fn start(tls: ServerTls, at: SocketAddr) -> Self {
        let builder = EventLoop::builder().listen(at).secret([7; 32]);
        let mut events = ours::Tls::Ours.serving(tls, builder).event_loop().unwrap();
        let address = events.local_addrs().next().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let running = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                events.turn(Some(Duration::from_millis(5))).unwrap();
                while let Some((handle, event)) = events.poll_event() {
                    if event == Event::Drained {
                        events.release(handle);
                    }
                }
            }
        });
        Self { address, stop, running }
    }

    fn kill(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join().unwrap();
    }
}

#[test]
fn we_have_lost_our_state() {
    bounded(|| {
        let authority = Authority::new("ours");
        let server = Mortal::start(ours::server_tls(&authority), LOOPBACK);
        let address = server.address;
        let there = Theirs::client(theirs::client_config(&authority));
        let line = there.connect(address).unwrap();
        server.kill();
        let again = Mortal::start(ours::server_tls(&authority), address);
        // What it still had to say may have told it already.
        let _ = line.inner.send_datagram(vec![0; 100].into());
        assert_eq!(line.closed(), ConnectionError::Reset);
        again.kill();
    });
}
