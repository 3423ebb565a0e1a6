//! Generators of connection IDs on the wire: a balancer reads those of its fleet, a server that restarts knows its own.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use peregrine_core::lifecycle::Cause;
use peregrine_crypto::cid::{KeyedCids, QuicLb, QuicLbConfig, QuicLbReader};
use peregrine_std::provider::host_provider;
use peregrine_std::tls::ClientTls;
use peregrine_std::{Endpoint, EventLoop};

mod common;
use common::relay::relay;
use common::{ALPN, NAME, PATIENCE, Pair, Tls, client_sessions, fetch, loopback, serve, server_sessions};

#[test]
fn a_balancer_finds_the_server_of_a_client_that_moves() {
    let fleet = QuicLbConfig::encrypted(3, 2, 8, &[0x5a; 16]).unwrap();
    let pair = Pair::with(|builder| builder.cids(QuicLb::new(&fleet, b"s7").unwrap()));
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let notes = Arc::clone(&seen);
    let cid_len = usize::from(fleet.cid_len());
    let address = relay(UdpSocket::bind(loopback()).unwrap(), pair.address, move |front, datagram| {
        let (len, from) = front.recv_from(datagram).unwrap();
        if datagram[0] & 0x80 == 0 {
            notes.lock().unwrap().insert((from, datagram[1..=cid_len].to_vec()));
        }
        (len, from)
    });
    let client = pair.client.connect(address, NAME).unwrap();
    let server = pair.server.accept_within(PATIENCE).unwrap();
    thread::spawn(move || serve(&server));
    fetch(&client, 100_000);
    client.migrate(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0))).unwrap();
    fetch(&client, 100_000);

    let seen = seen.lock().unwrap();
    let sources: BTreeSet<_> = seen.iter().map(|(from, _)| from.ip()).collect();
    let cids: BTreeSet<_> = seen.iter().map(|(_, cid)| cid).collect();
    assert!(sources.len() == 2 && cids.len() == seen.len(), "one ID toward each address: {seen:?}");
    let balancer = QuicLbReader::new(&fleet);
    assert!(cids.iter().all(|cid| balancer.server_id(cid).as_deref() == Some(&b"s7"[..])), "{cids:?}");
}

/// A server that is killed, and one on the same address that follows it; returns what the client learns, and how many resets
/// were sent to it and, before that, to a stranger.
fn restarted(same_secret: bool) -> (Cause, [u64; 2]) {
    let (tls, trust) = common::server_tls();
    let sessions = Arc::new(server_sessions(tls, Tls::Ours));
    let server = |listen, secret: [u8; 32]| {
        let sessions = Arc::clone(&sessions);
        let cids = KeyedCids::new(&host_provider(), &secret, 16).unwrap();
        let builder = EventLoop::builder().listen(listen).server(move |_| Ok(sessions()));
        builder.secret(secret).cids(cids).event_loop().unwrap()
    };
    let sessions = client_sessions(ClientTls::new(trust, ALPN), Tls::Ours);
    let client = Endpoint::builder()
        .client(sessions)
        .tune(|config| config.max_idle_timeout = Duration::from_secs(2))
        .bind()
        .unwrap();

    let mut first = server(loopback(), [1; 32]);
    let address = first.local_addrs().next().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    let running = thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            first.turn(Some(Duration::from_millis(5))).unwrap();
            while first.poll_event().is_some() {}
        }
    });
    let connection = client.connect(address, NAME).unwrap();
    // The handshake is over on both sides.
    let route = connection.add_route(loopback()).unwrap();
    connection.wait_route(route, PATIENCE).unwrap();
    over.store(true, Ordering::Relaxed);
    running.join().unwrap();

    let mut second = server(address, if same_secret { [1; 32] } else { [2; 32] });
    let stranger = UdpSocket::bind(loopback()).unwrap();
    stranger.send_to(&[0x41; 100], address).unwrap();
    second.turn(Some(Duration::from_secs(5))).unwrap();
    let strange = second.stats().resets;
    let waiting = {
        let connection = connection.clone();
        thread::spawn(move || connection.closed().cause)
    };
    connection.ping().unwrap();
    while !waiting.is_finished() {
        second.turn(Some(Duration::from_millis(5))).unwrap();
    }
    (waiting.join().unwrap(), [strange, second.stats().resets])
}

#[test]
fn a_restarted_server_resets_connections_of_its_own_and_answers_nobody_else() {
    let (cause, resets) = restarted(true);
    assert!(cause == Cause::StatelessReset && resets[0] == 0 && resets[1] > 0, "{cause:?}, {resets:?}");
    assert_eq!(restarted(false), (Cause::Idle, [0, 0]));
}
