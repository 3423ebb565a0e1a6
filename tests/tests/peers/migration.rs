//! Moves and rebindings in the middle of transfers: ours to their server, theirs to ours.

use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use peregrine_core::connection::{Config, Event, MoveCause, RouteError, WhenSuspect};
use peregrine_core::path::Role;
use peregrine_std::{Builder, Connection, Endpoint, Error};

use crate::peers::app::{Line, get_and, put, put_and, serve};
use crate::peers::pki::Authority;
use crate::peers::theirs::{self, Theirs};
use crate::peers::{ELSEWHERE, LOOPBACK, NAME, bounded, ours};
use crate::stack::{self, EndpointConfig, ServerConfig};

const LEN: u64 = 32 << 20;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

/// Which way data flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    Down,
    Up,
    Both,
}

impl Flow {
    const ALL: [Self; 3] = [Self::Down, Self::Up, Self::Both];
}

/// Transfers, and does something a third into it.
fn meanwhile(line: &impl Line, flow: Flow, act: impl FnOnce()) {
    let mut act = Some(act);
    meanwhile_until(line, flow, || {
        act.take().into_iter().for_each(|act| act());
        true
    });
}

/// Transfers, and from a third of it on tries something after each step until it is done: what the connection is busy with may
/// have to be over first.
fn meanwhile_until(line: &impl Line, flow: Flow, mut attempt: impl FnMut() -> bool) {
    let mut is_done = false;
    let also = |so_far| is_done = is_done || (so_far > LEN / 3 && attempt());
    match flow {
        Flow::Down => get_and(line, LEN, also),
        Flow::Up => put_and(line, LEN, also),
        Flow::Both => {
            let other = line.clone();
            let uploading = thread::spawn(move || put(&other, LEN));
            get_and(line, LEN, also);
            uploading.join().unwrap();
        }
    }
    assert!(is_done, "nothing happened");
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

/// Only the test moves the client: where the processors are busy, silence means nothing.
fn stay(config: &mut Config) {
    config.when_suspect = WhenSuspect::Tell;
}

/// Our client with their server, for everything that may be on offer.
fn to_them(
    change: impl Fn(&mut ServerConfig) + Send + 'static,
    test: impl Fn(&Endpoint, &Connection, &theirs::Connection) + Send + 'static,
) {
    bounded(move || {
        for offer in stack::offers() {
            let authority = Authority::new("ours");
            let mut config = theirs::server_config(&authority);
            config.transport_config(Arc::new(offer));
            change(&mut config);
            let server = Theirs::server(config);
            let here = ours::client_with(ours::client_tls(&authority), |builder| builder.tune(stay));
            let line = here.connect(server.address(), NAME).unwrap();
            let theirs = server.accept().unwrap();
            let serving = serve(theirs.clone());
            test(&here, &line, &theirs);
            Line::close(&line, 0, "");
            serving.join().unwrap();
        }
    });
}

/// Their client with our server, likewise; tells what our connection moved for.
fn from_them(
    endpoint: impl Fn() -> EndpointConfig + Send + 'static,
    test: impl Fn(&Theirs, &theirs::Connection, &Connection) + Send + 'static,
    moves: RangeInclusive<usize>,
) {
    bounded(move || {
        for offer in stack::offers() {
            let authority = Authority::new("ours");
            let mut told = None;
            let server = ours::server_with(ours::server_tls(&authority), |builder| {
                let (builder, moves) = watch(builder);
                told = Some(moves);
                builder
            });
            let mut config = theirs::client_config(&authority);
            config.transport_config(Arc::new(offer));
            let there = Theirs::client_with(endpoint(), config);
            let line = there.connect(server.local_addrs()[0]).unwrap();
            let ours = ours::accept(&server);
            let serving = serve(ours.clone());
            test(&there, &line, &ours);
            let told: Vec<_> = told.unwrap().try_iter().collect();
            assert!(told.iter().all(|cause| *cause == MoveCause::Peer), "{told:?}");
            assert!(moves.contains(&told.len()), "{told:?}");
            Line::close(&line, 0, "");
            serving.join().unwrap();
        }
    });
}

/// Takes another socket; returns its address.
fn rebind(there: &Theirs, to: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind(to).unwrap();
    let address = socket.local_addr().unwrap();
    there.rebind(socket);
    address
}

#[test]
fn our_client_tries_a_route_then_takes_it() {
    to_them(
        |_| {},
        |_, line, theirs| {
            for flow in Flow::ALL {
                let old = line.route().unwrap();
                meanwhile(line, flow, || {
                    let route = line.add_route(ELSEWHERE).unwrap();
                    let view = line.wait_route(route, PATIENCE).unwrap();
                    assert_eq!((view.role, line.route().unwrap().id), (Role::Candidate, old.id));
                    line.switch_route(route).unwrap();
                });
                let now = line.route().unwrap();
                assert_eq!((theirs.remote(), now.local.ip()), (now.local, ELSEWHERE.ip()));
                // And back, over the route that was left.
                meanwhile(line, flow, || line.switch_route(old.id).unwrap());
                assert_eq!(theirs.remote(), old.local);
                line.close_route(now.id).unwrap();
            }
        },
    );
}

#[test]
fn our_client_moves_at_once() {
    to_them(
        |_| {},
        |_, line, theirs| {
            for flow in Flow::ALL {
                let mut route = None;
                meanwhile(line, flow, || route = Some(line.migrate(ELSEWHERE).unwrap()));
                let view = line.wait_route(route.unwrap(), PATIENCE).unwrap();
                assert_eq!((view.role, theirs.remote()), (Role::Active, view.local));
            }
        },
    );
}

#[test]
fn our_client_is_rebound() {
    to_them(
        |_| {},
        |here, line, theirs| {
            for (flow, to) in Flow::ALL.into_iter().zip([LOOPBACK, ELSEWHERE, LOOPBACK]) {
                let mut address = None;
                meanwhile(line, flow, || address = here.rebind(to).ok());
                assert_eq!(Some(theirs.remote()), address);
            }
            assert_eq!(line.routes().unwrap().len(), 1);
        },
    );
}

#[test]
fn our_client_moves_and_is_rebound_there() {
    to_them(
        |_| {},
        |_, line, theirs| {
            for flow in Flow::ALL {
                let mut address = None;
                meanwhile(line, flow, || {
                    line.migrate(ELSEWHERE).unwrap();
                    address = line.rebind_port().ok();
                });
                assert_eq!(Some(theirs.remote()), address);
            }
        },
    );
}

#[test]
fn a_server_that_wants_no_migration_is_obeyed() {
    to_them(
        |config| {
            config.migration(false);
        },
        |_, line, _| {
            let refused = line.migrate(ELSEWHERE);
            assert!(matches!(refused, Err(Error::Route(RouteError::Forbidden))), "{refused:?}");
            meanwhile(line, Flow::Both, || {});
        },
    );
}

#[test]
fn their_client_is_rebound() {
    let test = |there: &Theirs, line: &theirs::Connection, ours: &Connection| {
        for (flow, to) in Flow::ALL.into_iter().zip(stack::PLACES) {
            let mut address = None;
            meanwhile(line, flow, || address = Some(rebind(there, to)));
            assert_eq!(ours.remote().ok(), address);
            let route = ours.route().unwrap();
            assert!(route.validated && route.role == Role::Active);
        }
    };
    from_them(EndpointConfig::default, test, 3..=3);
}

#[test]
fn their_client_is_rebound_again_before_it_is_validated() {
    let test = |there: &Theirs, line: &theirs::Connection, ours: &Connection| {
        let mut address = None;
        meanwhile(line, Flow::Both, || {
            // The challenge to the first place finds nobody there.
            rebind(there, stack::PLACES[1]);
            address = Some(rebind(there, stack::PLACES[1]));
        });
        assert_eq!(ours.remote().ok(), address);
    };
    // What it said from the first place may have come.
    from_them(EndpointConfig::default, test, 1..=2);
}

/// Connection IDs that live for a moment.
struct ShortLived;

impl stack::ConnectionIdGenerator for ShortLived {
    fn generate_cid(&mut self) -> stack::ConnectionId {
        let mut bytes = [0; 8];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        stack::ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}

#[test]
fn connection_ids_change_on_both_sides() {
    let endpoint = || {
        let mut config = EndpointConfig::default();
        stack::issue(&mut config, || Box::new(ShortLived));
        config
    };
    let test = |_: &Theirs, line: &theirs::Connection, ours: &Connection| {
        for flow in Flow::ALL {
            let flows = || meanwhile_until(line, flow, || ours.rotate_cids().unwrap());
            if let Err(panic) = catch_unwind(AssertUnwindSafe(flows)) {
                // Their fault, now and then: they count an ID as given only when their endpoint has made it, and promise another meanwhile.
                let end = ours.close_reason().map(|end| end.to_string());
                let gave_too_many = end
                    .is_some_and(|end| end.contains("more connection IDs than active_connection_id_limit"));
                if gave_too_many {
                    return println!("the peer gave more connection IDs than it may");
                }
                resume_unwind(panic);
            }
        }
    };
    from_them(endpoint, test, 0..=0);
}

/// With the default lifetime of theirs: when it is short, a client of quinn or noq that is asked for more by a retirement, while
/// it makes one because of the lifetime, gives more than our limit.
#[test]
fn their_client_is_rebound_while_we_withdraw_connection_ids() {
    let test = |there: &Theirs, line: &theirs::Connection, ours: &Connection| {
        for (flow, to) in Flow::ALL.into_iter().zip(stack::PLACES) {
            let mut address = None;
            meanwhile_until(line, flow, || {
                let rotated = ours.rotate_cids().unwrap();
                if rotated {
                    address = Some(rebind(there, to));
                }
                rotated
            });
            assert_eq!(ours.remote().ok(), address);
        }
    };
    from_them(EndpointConfig::default, test, 3..=3);
}
