//! Connections on several paths at once, over loopback.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use peregrine_core::connection::{Event, MultipathConfig, PathError, PathEvent, PathView};
use peregrine_core::ids::PathId;
use peregrine_core::path::Availability;
use peregrine_core::path::schedule::Scheduler;
use peregrine_core::stream::Tie;
use peregrine_core::time::Instant;
use peregrine_core::wire::Dialect;
use peregrine_std::clock::Clock;
use peregrine_std::pattern::Pattern;
use peregrine_std::tls::ClientTls;
use peregrine_std::{Builder, Connection, Error, EventLoop};

mod common;
use common::{
    ALPN, NAME, PATIENCE, Pair, Tls, client_sessions, drain, fetch, loopback, meanwhile, serve, server_tls,
};

const MIB: u64 = 1 << 20;
const LEN: u64 = 24 * MIB;
const FIRST: PathId = PathId::ZERO;

/// Another address of this host.
fn elsewhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0))
}

/// Both ends in turn, so that each path has its part however fast the other is.
fn in_turn(builder: Builder) -> Builder {
    builder.multipath(|paths| paths.scheduler = Scheduler::Weighted)
}

/// A second path, once it carries data.
fn second(client: &Connection, status: Availability) -> PathView {
    client.wait_path_possible(PATIENCE).unwrap();
    let path = client.open_path(elsewhere(), status).unwrap();
    client.wait_path(path, PATIENCE).unwrap()
}

/// Bytes that were sent on the routes in use of all paths.
fn sent(connection: &Connection) -> Vec<u64> {
    let paths = connection.paths().unwrap();
    paths.iter().map(|path| path.route.map_or(0, |route| route.stats.sent_bytes)).collect()
}

/// What happened to paths.
#[derive(Clone, Default)]
struct News(Arc<Mutex<Vec<(PathId, PathEvent)>>>);

impl News {
    fn watch(&self, builder: Builder) -> Builder {
        let news = Arc::clone(&self.0);
        builder.observe(move |seen| {
            if let Event::Path(path, what) = seen.event {
                news.lock().unwrap().push((path, what));
            }
        })
    }

    fn has(&self, path: PathId, what: PathEvent) -> bool {
        self.0.lock().unwrap().contains(&(path, what))
    }
}

/// Waits for what comes soon.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !is_so() {
        assert!(clock.now().since(Instant::ZERO) < PATIENCE.unwrap().into(), "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn both_paths_carry_data_both_ways() {
    for which in [Tls::Ours, Tls::Rustls] {
        let (server, trust) = server_tls();
        let pair = Pair::of(server, ClientTls::new(trust, ALPN), [which; 2], in_turn);
        let (client, server) = pair.connect();
        let served = server.clone();
        thread::spawn(move || serve(&served));
        let view = second(&client, Availability::Available);
        assert!(view.id == PathId(1) && view.route.unwrap().local.ip() == elsewhere().ip());
        assert!(client.is_multipath().unwrap() && server.is_multipath().unwrap());
        meanwhile(&client, &server, LEN, || {});
        for end in [&client, &server] {
            let sent = sent(end);
            assert!(sent.len() == 2 && sent.iter().all(|bytes| *bytes > LEN / 4), "{sent:?}");
        }
    }
}

#[test]
fn either_dialect_will_do() {
    for dialect in Dialect::ALL {
        let speaks = |builder: Builder| {
            builder.tune(|config| config.multipath = MultipathConfig::speaking(&[*dialect]))
        };
        let pair = Pair::with(speaks);
        let (client, server) = pair.connect();
        let served = server.clone();
        thread::spawn(move || serve(&served));
        let path = second(&client, Availability::Available).id;
        meanwhile(&client, &server, LEN, || {
            client.rebind_path_port(path).unwrap();
        });
        meanwhile(&client, &server, LEN, || client.set_path_status(path, true).unwrap());
        meanwhile(&client, &server, LEN, || client.abandon_path(FIRST).unwrap());
        let path = second(&client, Availability::Available).id;
        meanwhile(&client, &server, LEN, || server.abandon_path(path).unwrap());
    }
}

#[test]
fn streams_and_datagrams_keep_to_their_path() {
    let pair = Pair::with(in_turn);
    let (client, server) = pair.connect();
    let path = second(&client, Availability::Available).id;
    client.set_path_keep_alive(path, Some(Duration::from_secs(5))).unwrap();
    client.set_path_weight(path, NonZeroU8::new(3).unwrap()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(drain(&mut server.accept_uni().unwrap()), LEN));
        let mut send = client.open_uni().unwrap();
        send.tie(Tie::Needs(path));
        std::io::copy(&mut Pattern::new(LEN), &mut send).unwrap();
        send.finish().unwrap();
        send.delivered().unwrap();
    });
    let sent = sent(&client);
    assert!(sent[0] < MIB && sent[1] > LEN, "{sent:?}");
    client.send_datagram_over(Tie::Prefers(path), b"there").unwrap();
    let mut got = [0; 9];
    assert_eq!(server.recv_datagram(&mut got, PATIENCE).unwrap(), 5);
    let unknown = client.set_path_weight(PathId(7), NonZeroU8::MIN);
    assert!(matches!(unknown, Err(Error::Path(PathError::Unknown))), "{unknown:?}");
}

#[test]
fn a_backup_takes_over_when_the_other_is_abandoned_whose_socket_is_closed() {
    let pair = Pair::with(in_turn);
    let (client, server) = pair.connect();
    let served = server.clone();
    thread::spawn(move || serve(&served));
    let spare = second(&client, Availability::Backup).id;
    let working = second(&client, Availability::Available);
    client.abandon_path(FIRST).unwrap();
    fetch(&client, LEN);
    let carried = |path| client.paths().unwrap().iter().find(|view| view.id == path).unwrap().route.unwrap();
    assert!(carried(spare).stats.received_bytes < MIB, "a backup is spared");
    assert!(carried(working.id).stats.received_bytes > LEN);
    let local = working.route.unwrap().local;
    assert!(UdpSocket::bind(local).is_err());
    meanwhile(&client, &server, LEN, || client.abandon_path(working.id).unwrap());
    assert!(carried(spare).stats.received_bytes > MIB);
    soon("the socket is closed", || UdpSocket::bind(local).is_ok());
    assert!(matches!(client.abandon_path(spare), Err(Error::Path(PathError::Last))));
    assert!(matches!(client.wait_path(working.id, PATIENCE), Err(Error::PathGone)));
}

#[test]
fn what_a_server_wants_of_paths_happens() {
    let news = News::default();
    let pair = Pair::with(|builder| news.watch(in_turn(builder)));
    let (client, server) = pair.connect();
    let served = server.clone();
    thread::spawn(move || serve(&served));
    let path = second(&client, Availability::Available).id;
    server.wait_path(path, PATIENCE).unwrap();
    server.set_path_status(path, true).unwrap();
    soon("the status is told", || news.has(path, PathEvent::Status(Availability::Backup)));
    meanwhile(&client, &server, LEN, || server.abandon_path(FIRST).unwrap());
    soon("the client knows", || {
        client.paths().unwrap().iter().all(|view| view.id != FIRST || view.route.is_none())
    });
    assert!(news.has(FIRST, PathEvent::Abandoned));
}

#[test]
fn paths_are_rebound_one_by_one() {
    let pair = Pair::with(in_turn);
    let (client, server) = pair.connect();
    let served = server.clone();
    thread::spawn(move || serve(&served));
    let path = second(&client, Availability::Available).id;
    for path in [path, FIRST, path] {
        let mut port = None;
        meanwhile(&client, &server, LEN, || port = Some(client.rebind_path_port(path).unwrap().port()));
        let paths = server.paths().unwrap();
        let seen = paths.iter().find(|view| view.id == path).unwrap().route.unwrap();
        assert_eq!(Some(seen.remote.port()), port);
        assert_eq!(paths.len(), 2);
    }
}

#[test]
fn why_a_path_is_not_opened_is_told() {
    let plain = Pair::new();
    let (client, _server) = plain.connect();
    let refused = client.open_path(elsewhere(), Availability::Available);
    assert!(matches!(refused, Err(Error::Path(PathError::Unsupported))), "{refused:?}");
    let waited = client.wait_path_possible(PATIENCE);
    assert!(matches!(waited, Err(Error::Path(PathError::Unsupported))), "{waited:?}");
    assert_eq!(client.paths().unwrap().len(), 1);

    let pair = Pair::with(in_turn);
    let (client, server) = pair.connect();
    let refused = server.open_path(elsewhere(), Availability::Available);
    assert!(matches!(refused, Err(Error::Path(PathError::Server))), "{refused:?}");
    client.wait_path_possible(PATIENCE).unwrap();
    let not_here = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
    let refused = client.open_path(not_here, Availability::Available);
    assert!(matches!(refused, Err(Error::Bind { .. })), "{refused:?}");
    for _ in 1..4 {
        second(&client, Availability::Available);
    }
    let refused = client.open_path(elsewhere(), Availability::Available);
    assert!(matches!(refused, Err(Error::Path(PathError::NoPathId))), "{refused:?}");
    let waited = client.wait_path_possible(Some(Duration::from_millis(20)));
    assert!(matches!(waited, Err(Error::TimedOut)), "{waited:?}");
}

#[test]
fn a_path_that_has_ended_makes_room_for_another() {
    let pair = Pair::with(in_turn);
    let (client, server) = pair.connect();
    thread::spawn(move || serve(&server));
    for _ in 0..8 {
        let path = second(&client, Availability::Available).id;
        fetch(&client, MIB);
        client.abandon_path(path).unwrap();
    }
}

#[test]
fn an_event_loop_opens_paths() {
    let (server, trust) = server_tls();
    let session = common::server_sessions(server, Tls::Ours);
    let server = in_turn(peregrine_std::Endpoint::builder().listen(loopback()));
    let server = server.server(move |_| Ok(session())).bind().unwrap();
    let client = client_sessions(ClientTls::new(trust, ALPN), Tls::Ours);
    let mut events = in_turn(EventLoop::builder()).client(client).event_loop().unwrap();
    let handle = events.connect(server.local_addrs()[0], NAME).unwrap();
    loop {
        assert!(events.now().since(Instant::ZERO) < PATIENCE.unwrap().into());
        events.turn(Some(Duration::from_millis(5))).unwrap();
        while let Some((_, event)) = events.poll_event() {
            match event {
                Event::PathPossible => {
                    // It is told again for each connection ID.
                    let _ = events.open_path(handle, elsewhere(), None, Availability::Available);
                }
                Event::Path(PathId(1), PathEvent::Validated) => return,
                _ => {}
            }
        }
    }
}
