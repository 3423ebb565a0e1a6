//! Moves and rebindings in the middle of transfers both ways: ours to quinn's server, quinn's to ours.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use peregrine_core::connection::{Event, MoveCause, RouteError};
use peregrine_core::path::Role;
use peregrine_std::{Builder, Connection, Endpoint, Error};

use crate::app::{Line, get_and, put, serve};
use crate::pki::Authority;
use crate::theirs::{self, Theirs};
use crate::{LOOPBACK, NAME, bounded, ours};

const LEN: u64 = 48 << 20;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// Another address of this host.
fn elsewhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0))
}

/// Uploads and downloads, and does something a third into the download.
fn meanwhile(line: &impl Line, act: impl FnOnce()) {
    let other = line.clone();
    let uploading = thread::spawn(move || put(&other, LEN));
    let mut act = Some(act);
    get_and(line, LEN, |got| {
        if let Some(act) = act.take_if(|_| got > LEN / 3) {
            act();
        }
    });
    assert!(act.is_none(), "nothing happened");
    uploading.join().unwrap();
}

/// What connections moved for.
fn watch(builder: Builder) -> (Builder, Receiver<MoveCause>) {
    let (tell, told) = mpsc::channel();
    let builder = builder.observe(move |seen| {
        if let Event::Moved { cause, .. } = seen.event {
            let _ = tell.send(cause);
        }
    });
    (builder, told)
}

/// Our client with quinn's server.
fn to_quinn(
    change: impl FnOnce(&mut quinn::ServerConfig),
    test: impl FnOnce(&Endpoint, &Connection, &theirs::Connection),
) {
    let authority = Authority::new("ours");
    let mut config = theirs::server_config(&authority);
    change(&mut config);
    let server = Theirs::server(config);
    let here = ours::client(ours::client_tls(&authority));
    let line = here.connect(server.address(), NAME).unwrap();
    let theirs = server.accept().unwrap();
    let serving = serve(theirs.clone());
    test(&here, &line, &theirs);
    Line::close(&line, 0, "");
    serving.join().unwrap();
}

#[test]
fn our_client_tries_a_route_then_takes_it() {
    bounded(|| {
        to_quinn(
            |_| {},
            |_, line, theirs| {
                let old = line.route().unwrap();
                meanwhile(line, || {
                    let route = line.add_route(elsewhere()).unwrap();
                    let view = line.wait_route(route, PATIENCE).unwrap();
                    assert_eq!((view.role, line.route().unwrap().id), (Role::Candidate, old.id));
                    line.switch_route(route).unwrap();
                });
                let now = line.route().unwrap();
                assert_eq!((theirs.inner.remote_address(), now.local.ip()), (now.local, elsewhere().ip()));
                // And back, over the route that was left.
                meanwhile(line, || line.switch_route(old.id).unwrap());
                assert_eq!(theirs.inner.remote_address(), old.local);
            },
        );
    });
}

#[test]
fn our_client_moves_at_once() {
    bounded(|| {
        to_quinn(
            |_| {},
            |_, line, theirs| {
                for _ in 0..3 {
                    let mut route = None;
                    meanwhile(line, || route = Some(line.migrate(elsewhere()).unwrap()));
                    let view = line.wait_route(route.unwrap(), PATIENCE).unwrap();
                    assert_eq!((view.role, theirs.inner.remote_address()), (Role::Active, view.local));
                }
            },
        );
    });
}

#[test]
fn our_client_is_rebound() {
    bounded(|| {
        to_quinn(
            |_| {},
            |here, line, theirs| {
                for to in [LOOPBACK, elsewhere(), LOOPBACK] {
                    let mut address = None;
                    meanwhile(line, || address = here.rebind(to).ok());
                    assert_eq!(Some(theirs.inner.remote_address()), address);
                }
                assert_eq!(line.routes().unwrap().len(), 1);
            },
        );
    });
}

#[test]
fn a_server_that_wants_no_migration_is_obeyed() {
    bounded(|| {
        to_quinn(
            |config| {
                config.migration(false);
            },
            |_, line, _| {
                let refused = line.migrate(elsewhere());
                assert!(matches!(refused, Err(Error::Route(RouteError::Forbidden))), "{refused:?}");
                meanwhile(line, || {});
            },
        );
    });
}

#[test]
fn their_client_is_rebound() {
    bounded(|| {
        let authority = Authority::new("ours");
        let mut told = None;
        let server = ours::server_with(ours::server_tls(&authority), |builder| {
            let (builder, moves) = watch(builder);
            told = Some(moves);
            builder
        });
        let there = Theirs::client(theirs::client_config(&authority));
        let line = there.connect(server.local_addrs()[0]).unwrap();
        let ours = ours::accept(&server);
        let serving = serve(ours.clone());
        for to in [LOOPBACK, elsewhere(), LOOPBACK] {
            let mut address = None;
            meanwhile(&line, || {
                let socket = UdpSocket::bind(to).unwrap();
                address = socket.local_addr().ok();
                there.rebind(socket);
            });
            assert_eq!(ours.remote().ok(), address);
            let route = ours.route().unwrap();
            assert!(route.validated && route.role == Role::Active);
        }
        let moves: Vec<_> = told.unwrap().try_iter().collect();
        assert_eq!(moves, [MoveCause::Peer; 3]);
        Line::close(&line, 0, "");
        serving.join().unwrap();
    });
}
