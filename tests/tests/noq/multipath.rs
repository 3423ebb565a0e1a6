//! Several paths at once, ours with theirs: draft-ietf-quic-multipath-21, which noq speaks.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peregrine_core::connection::PathView;
use peregrine_core::ids::PathId;
use peregrine_core::path::Availability;
use peregrine_core::path::schedule::Scheduler;
use peregrine_core::time::Instant;
use peregrine_std::clock::Clock;
use peregrine_std::{Builder, Connection};

use crate::link::Link;
use crate::peers::app::{Line, get, get_and, put, serve};
use crate::peers::pki::Authority;
use crate::peers::theirs::{self, Theirs};
use crate::peers::{ELSEWHERE, NAME, bounded, ours};
use crate::stack::{self, EndpointConfig, FourTuple, PathError, PathStatus};

const LEN: u64 = 16 << 20;
const MIB: u64 = 1 << 20;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));
const FIRST: PathId = PathId::ZERO;
const SECOND: PathId = PathId(1);

/// On all paths in turn, so that each has its part however fast the others are. One that does not work any more is soon given up.
fn in_turn(builder: Builder) -> Builder {
    builder.multipath(|paths| {
        paths.scheduler = Scheduler::Weighted;
        paths.patience = Some(Duration::from_secs(1));
    })
}

fn their_offer() -> Arc<stack::TransportConfig> {
    let mut offer = stack::TransportConfig::default();
    offer.max_concurrent_multipath_paths(4);
    // By itself noq keeps for good what does not work any more.
    offer.default_path_max_idle_timeout(Some(Duration::from_secs(2)));
    offer.default_path_keep_alive_interval(Some(Duration::from_millis(500)));
    Arc::new(offer)
}

/// Our client with their server.
struct ToThem {
    line: Connection,
    theirs: theirs::Connection,
    server: Theirs,
}

/// Their client with our server.
struct FromThem {
    line: theirs::Connection,
    ours: Connection,
    address: SocketAddr,
}

fn to_them(test: impl Fn(&ToThem) + Send + 'static) {
    bounded(move || {
        let authority = Authority::new("ours");
        let mut config = theirs::server_config(&authority);
        config.transport_config(their_offer());
        let server = Theirs::server(config);
        let here = ours::client_with(ours::client_tls(&authority), in_turn);
        let line = here.connect(server.address(), NAME).unwrap();
        let theirs = server.accept().unwrap();
        let serving = serve(theirs.clone());
        let pair = ToThem { line, theirs, server };
        assert!(pair.line.is_multipath().unwrap() && pair.theirs.inner.is_multipath_enabled());
        test(&pair);
        assert_eq!(pair.line.close_reason(), None);
        Line::close(&pair.line, 0, "");
        serving.join().unwrap();
    });
}

fn from_them(test: impl Fn(&FromThem) + Send + 'static) {
    bounded(move || {
        let authority = Authority::new("ours");
        let server = ours::server_with(ours::server_tls(&authority), in_turn);
        let mut config = theirs::client_config(&authority);
        config.transport_config(their_offer());
        let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let there = Theirs::client_at(EndpointConfig::default(), config, anywhere);
        let address = server.local_addrs()[0];
        let line = there.connect(address).unwrap();
        let ours = ours::accept(&server);
        let serving = serve(ours.clone());
        let pair = FromThem { line, ours, address };
        assert!(pair.ours.is_multipath().unwrap() && pair.line.inner.is_multipath_enabled());
        test(&pair);
        assert_eq!(pair.ours.close_reason(), None);
        Line::close(&pair.line, 0, "");
        serving.join().unwrap();
    });
}

impl ToThem {
    fn second(&self, remote: SocketAddr, status: Availability) -> PathView {
        self.line.wait_path_possible(PATIENCE).unwrap();
        let path = self.line.open_path_to(remote, ELSEWHERE, status).unwrap();
        self.line.wait_path(path, PATIENCE).unwrap()
    }
}

impl FromThem {
    fn second(&self, remote: SocketAddr, local: SocketAddr, status: PathStatus) -> stack::Path {
        let clock = Clock::start();
        let on = FourTuple::new(remote, Some(local.ip()));
        loop {
            match self.line.wait(async { self.line.inner.open_path(on, status).await }) {
                Ok(path) => return path,
                // It waits for nothing by itself.
                Err(PathError::RemoteCidsExhausted) if passed(clock) < PATIENCE => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Transfers both ways, and does something in the middle.
fn meanwhile(line: &impl Line, act: impl FnOnce()) {
    let other = line.clone();
    let uploading = thread::spawn(move || put(&other, LEN));
    let mut act = Some(act);
    get_and(line, LEN, |so_far| {
        if so_far > LEN / 3 {
            act.take().into_iter().for_each(|act| act());
        }
    });
    uploading.join().unwrap();
    assert!(act.is_none(), "nothing happened");
}

/// Since the clock was started.
fn passed(clock: Clock) -> Option<Duration> {
    Some(clock.now().since(Instant::ZERO).into())
}

/// Waits for what comes soon.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !is_so() {
        assert!(passed(clock) < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes of ours that a path has sent and received.
fn carried(ours: &Connection, path: PathId) -> (u64, u64) {
    let paths = ours.paths().unwrap();
    let route = paths.iter().find(|view| view.id == path).and_then(|view| view.route);
    route.map_or((0, 0), |route| (route.stats.sent_bytes, route.stats.received_bytes))
}

fn is_gone(ours: &Connection, path: PathId) -> bool {
    ours.paths().unwrap().iter().all(|view| view.id != path || view.route.is_none())
}

fn their_path(theirs: &theirs::Connection, path: PathId) -> Option<stack::Path> {
    theirs.inner.path(stack::PathId::from(path.0))
}

#[test]
fn our_client_uses_two_paths() {
    to_them(|pair| {
        pair.second(pair.server.address(), Availability::Available);
        meanwhile(&pair.line, || {});
        for path in [FIRST, SECOND] {
            let (sent, received) = carried(&pair.line, path);
            assert!(sent > LEN / 4 && received > 0, "{path:?}: {sent} {received}");
        }
    });
}

#[test]
fn their_client_uses_two_paths() {
    from_them(|pair| {
        pair.second(pair.address, ELSEWHERE, PathStatus::Available);
        meanwhile(&pair.line, || {});
        for path in [FIRST, SECOND] {
            let (sent, received) = carried(&pair.ours, path);
            assert!(sent > LEN / 4 && received > 0, "{path:?}: {sent} {received}");
        }
    });
}

#[test]
fn a_backup_of_our_client_is_spared_until_it_is_needed() {
    to_them(|pair| {
        pair.second(pair.server.address(), Availability::Backup);
        soon("the server knows", || their_path(&pair.theirs, SECOND).is_some());
        put(&pair.line, LEN);
        let spared = carried(&pair.line, SECOND).0;
        assert!(spared < MIB / 2, "{spared}");
        meanwhile(&pair.line, || pair.line.abandon_path(FIRST).unwrap());
        assert!(carried(&pair.line, SECOND).0 > MIB);
    });
}

#[test]
fn a_backup_of_their_client_is_spared_until_it_is_needed() {
    from_them(|pair| {
        // What a path is opened as noq 1.4 does not tell, only what it is changed to.
        let path = pair.second(pair.address, ELSEWHERE, PathStatus::Available);
        path.set_status(PathStatus::Backup).unwrap();
        let is_told = |view: &PathView| view.id == SECOND && view.peer_status == Availability::Backup;
        soon("we are told", || pair.ours.paths().unwrap().iter().any(is_told));
        get(&pair.line, LEN);
        let spared = carried(&pair.ours, SECOND).0;
        assert!(spared < MIB / 2, "{spared}");
        let first = their_path(&pair.line, FIRST).unwrap();
        meanwhile(&pair.line, || first.close().unwrap());
        assert!(carried(&pair.ours, SECOND).0 > MIB);
    });
}

#[test]
fn we_abandon_either_path_to_their_server() {
    for path in [FIRST, SECOND] {
        to_them(move |pair| {
            pair.second(pair.server.address(), Availability::Available);
            meanwhile(&pair.line, || pair.line.abandon_path(path).unwrap());
            soon("they know", || their_path(&pair.theirs, path).is_none());
            // There is room for another one, and it works.
            pair.second(pair.server.address(), Availability::Available);
            meanwhile(&pair.line, || {});
        });
    }
}

#[test]
fn their_server_abandons_either_path() {
    for path in [FIRST, SECOND] {
        to_them(move |pair| {
            pair.second(pair.server.address(), Availability::Available);
            soon("they know", || their_path(&pair.theirs, path).is_some());
            let theirs = their_path(&pair.theirs, path).unwrap();
            meanwhile(&pair.line, || theirs.close().unwrap());
            soon("we know", || is_gone(&pair.line, path));
            pair.second(pair.server.address(), Availability::Available);
            meanwhile(&pair.line, || {});
        });
    }
}

#[test]
fn their_client_abandons_either_path() {
    for path in [FIRST, SECOND] {
        from_them(move |pair| {
            pair.second(pair.address, ELSEWHERE, PathStatus::Available);
            let theirs = their_path(&pair.line, path).unwrap();
            meanwhile(&pair.line, || theirs.close().unwrap());
            soon("we know", || is_gone(&pair.ours, path));
            pair.second(pair.address, ELSEWHERE, PathStatus::Available);
            meanwhile(&pair.line, || {});
        });
    }
}

#[test]
fn we_abandon_either_path_of_their_client() {
    for path in [FIRST, SECOND] {
        from_them(move |pair| {
            pair.second(pair.address, ELSEWHERE, PathStatus::Available);
            pair.ours.wait_path(SECOND, PATIENCE).unwrap();
            meanwhile(&pair.line, || pair.ours.abandon_path(path).unwrap());
            soon("they know", || their_path(&pair.line, path).is_none());
            pair.second(pair.address, ELSEWHERE, PathStatus::Available);
            meanwhile(&pair.line, || {});
        });
    }
}

#[test]
fn a_nat_moves_one_path_of_our_client() {
    to_them(|pair| {
        let link = Link::to(pair.server.address());
        pair.second(link.address(), Availability::Available);
        let mut seen = None;
        meanwhile(&pair.line, || seen = Some(link.rebind()));
        let path = their_path(&pair.theirs, SECOND).expect("it is still there");
        assert_eq!(path.remote_address().ok(), seen);
        assert!(carried(&pair.line, SECOND).0 > LEN / 4);
    });
}

#[test]
fn a_nat_moves_one_path_of_their_client() {
    from_them(|pair| {
        let link = Link::to(pair.address);
        pair.second(link.address(), LOCAL, PathStatus::Available);
        pair.ours.wait_path(SECOND, PATIENCE).unwrap();
        let mut seen = None;
        meanwhile(&pair.line, || seen = Some(link.rebind()));
        // With its next packet on that path, be it one that keeps the path alive.
        soon("we follow", || {
            let paths = pair.ours.paths().unwrap();
            let route = paths.iter().find(|view| view.id == SECOND).and_then(|view| view.route);
            paths.len() == 2 && route.is_some_and(|route| route.validated && Some(route.remote) == seen)
        });
        let before = carried(&pair.ours, SECOND).0;
        meanwhile(&pair.line, || {});
        assert!(carried(&pair.ours, SECOND).0 > before + LEN / 4);
    });
}

#[test]
fn a_path_of_our_client_dies() {
    to_them(|pair| {
        let link = Link::to(pair.server.address());
        pair.second(link.address(), Availability::Available);
        meanwhile(&pair.line, || link.cut());
        soon("we give it up", || is_gone(&pair.line, SECOND));
        meanwhile(&pair.line, || {});
    });
}

#[test]
fn a_path_of_their_client_dies() {
    from_them(|pair| {
        let link = Link::to(pair.address);
        pair.second(link.address(), LOCAL, PathStatus::Available);
        pair.ours.wait_path(SECOND, PATIENCE).unwrap();
        meanwhile(&pair.line, || link.cut());
        soon("we give it up", || is_gone(&pair.ours, SECOND));
        meanwhile(&pair.line, || {});
    });
}

#[test]
fn who_does_not_know_the_extension_is_not_disturbed() {
    bounded(|| {
        let authority = Authority::new("ours");
        let server = Theirs::server(theirs::server_config(&authority));
        let here = ours::client_with(ours::client_tls(&authority), in_turn);
        let line = here.connect(server.address(), NAME).unwrap();
        let serving = serve(server.accept().unwrap());
        meanwhile(&line, || {
            line.migrate(ELSEWHERE).unwrap();
        });
        assert!(!line.is_multipath().unwrap());
        Line::close(&line, 0, "");
        serving.join().unwrap();
    });
    bounded(|| {
        let authority = Authority::new("ours");
        let server = ours::server_with(ours::server_tls(&authority), in_turn);
        let there = Theirs::client(theirs::client_config(&authority));
        let line = there.connect(server.local_addrs()[0]).unwrap();
        let ours = ours::accept(&server);
        let serving = serve(ours.clone());
        meanwhile(&line, || {});
        assert!(!ours.is_multipath().unwrap());
        Line::close(&line, 0, "");
        serving.join().unwrap();
    });
}

/// The address that leads to relays.
const LOCAL: SocketAddr = crate::LOOPBACK;
