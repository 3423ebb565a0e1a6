//! Connections that go from one local socket to another in the middle of what they do, over loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use peregrine_core::connection::{Event, MoveCause, NetworkChange, RouteError, RouteEvent, RouteView};
use peregrine_core::path::{Preference, Role};
use peregrine_std::socket::Socket;
use peregrine_std::{Builder, Connection, Endpoint, Error, SystemStats};

mod common;
use common::{ALPN, NAME, PATIENCE, Pair, Tls, fetch, loopback, meanwhile, serve};

const MIB: u64 = 1 << 20;
/// Enough to be in the middle of.
const LEN: u64 = 24 * MIB;

/// Another address of this host.
fn elsewhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0))
}

fn in_use(connection: &Connection) -> RouteView {
    connection.route().unwrap()
}

/// What connections moved for.
#[derive(Clone, Default)]
struct Moves(Arc<Mutex<Vec<MoveCause>>>);

impl Moves {
    fn watch(&self, builder: Builder) -> Builder {
        let moves = Arc::clone(&self.0);
        builder.observe(move |seen| {
            if let Event::Moved { cause, .. } = seen.event {
                moves.lock().unwrap().push(cause);
            }
        })
    }

    fn told(&self) -> Vec<MoveCause> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn a_route_is_probed_and_taken_in_the_middle_of_transfers() {
    let moves = Moves::default();
    let pair = Pair::with(|builder| moves.watch(builder));
    let (client, server) = pair.connect();
    let served = server.clone();
    thread::spawn(move || serve(&served));
    let old = in_use(&client);
    meanwhile(&client, &server, LEN, || {
        let route = client.add_route(elsewhere()).unwrap();
        let view = client.wait_route(route, PATIENCE).unwrap();
        assert!(view.role == Role::Candidate && view.local.ip() == elsewhere().ip() && view.validated);
        assert_eq!(in_use(&client).id, old.id, "a probe moves nothing");
        client.switch_route(route).unwrap();
        assert_eq!(in_use(&client).id, route);
    });
    let routes = client.routes().unwrap();
    assert_eq!(routes.len(), 2);
    assert!(routes.iter().any(|route| route.id == old.id && route.role == Role::Fallback));
    assert_eq!(server.remote().unwrap(), in_use(&client).local);
    assert!(in_use(&server).stats.received_bytes > MIB && in_use(&client).stats.received_bytes > MIB);
    assert_eq!(moves.told().len(), 2, "each side once");
}

#[test]
fn a_connection_moves_at_once_and_back() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let served = server.clone();
    thread::spawn(move || serve(&served));
    let old = in_use(&client);
    meanwhile(&client, &server, LEN, || {
        let route = client.migrate(elsewhere()).unwrap();
        assert_eq!(in_use(&client).id, route);
        client.wait_route(route, PATIENCE).unwrap();
    });
    client.switch_route(old.id).unwrap();
    fetch(&client, MIB);
    assert_eq!(server.remote().unwrap().ip(), loopback().ip());
}

#[test]
fn another_socket_in_the_middle_of_transfers_is_what_a_nat_does() {
    let moves = Moves::default();
    let pair = Pair::with(|builder| moves.watch(builder));
    let (client, server) = pair.connect();
    let served = server.clone();
    thread::spawn(move || serve(&served));
    for nth in 1..=3 {
        let mut address = None;
        meanwhile(&client, &server, LEN, || {
            let to = if nth == 2 { elsewhere() } else { loopback() };
            address = Some(pair.client.rebind(to).unwrap());
        });
        assert_eq!(server.remote().ok(), address);
        assert_eq!(client.routes().unwrap().len(), 1, "the client does not know");
        assert_eq!(moves.told().len(), nth, "the server does");
    }
    // New connections begin on the new socket.
    let (again, served) = pair.connect();
    thread::spawn(move || serve(&served));
    fetch(&again, 1000);
}

#[test]
fn the_socket_of_a_route_taken_is_rebound_too() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let served = server.clone();
    thread::spawn(move || serve(&served));
    client.migrate(elsewhere()).unwrap();
    fetch(&client, MIB);
    let address = client.rebind_port().unwrap();
    fetch(&client, MIB);
    assert_eq!(server.remote().unwrap(), address);
}

#[test]
fn sockets_that_no_route_uses_are_closed() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    thread::spawn(move || serve(&server));
    let route = client.add_route(elsewhere()).unwrap();
    let address = client.wait_route(route, PATIENCE).unwrap().local;
    assert!(UdpSocket::bind(address).is_err());
    // Another connection shares the socket, because it asks for the address.
    let (another, served) = pair.connect();
    let shared = another.add_route(address).unwrap();
    another.wait_route(shared, PATIENCE).unwrap();
    client.close_route(route).unwrap();
    assert!(UdpSocket::bind(address).is_err());
    another.close_route(shared).unwrap();
    let until = peregrine_std::clock::Clock::start();
    while UdpSocket::bind(address).is_err() {
        // The thread that receives may just hold it.
        assert!(until.now().as_micros() < 20_000_000, "closed at last");
        thread::yield_now();
    }
    fetch(&client, 1000);
    drop(served);
}

#[test]
fn what_cannot_be_is_said() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let refused = |outcome: Result<_, Error>| match outcome {
        Err(Error::Route(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(server.add_route(elsewhere())), RouteError::Server);
    let used = in_use(&client);
    assert_eq!(refused(client.close_route(used.id).map(|()| used.id)), RouteError::InUse);
    let bad = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 77), 0));
    assert!(matches!(client.add_route(bad), Err(Error::Bind { .. })));
    let other_family = client.add_route((Ipv6Addr::LOCALHOST, 0).into()).unwrap_err();
    assert!(other_family.to_string().ends_with("that takes a local address of IPv4"), "{other_family}");
    let route = client.add_route(elsewhere()).unwrap();
    client.close_route(route).unwrap();
    assert!(matches!(client.wait_route(route, PATIENCE), Err(Error::RouteGone)));
    assert_eq!(refused(client.switch_route(route).map(|()| route)), RouteError::Unknown);
    client.close(0, "");
    assert!(matches!(client.add_route(elsewhere()), Err(Error::Closed(_))));
}

#[test]
fn a_server_that_wants_none_is_obeyed() {
    let pair = Pair::with(|builder| builder.tune(|config| config.disable_active_migration = true));
    let (client, _server) = pair.connect();
    assert!(matches!(client.migrate(elsewhere()), Err(Error::Route(RouteError::Forbidden))));
}

/// Between a client and a server; what comes from any other address than the client's first is dropped.
fn firewall(server: SocketAddr) -> SocketAddr {
    let [front, back] = [(); 2].map(|()| Arc::new(UdpSocket::bind(loopback()).unwrap()));
    back.connect(server).unwrap();
    let address = front.local_addr().unwrap();
    let client = Arc::new(OnceLock::new());
    let (from, to, known) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(&client));
    thread::spawn(move || {
        let mut datagram = [0; 65_536];
        while let Ok((len, source)) = from.recv_from(&mut datagram) {
            if *known.get_or_init(|| source) == source {
                to.send(&datagram[..len]).unwrap();
            }
        }
    });
    thread::spawn(move || {
        let mut datagram = [0; 65_536];
        while let Ok(len) = back.recv(&mut datagram) {
            front.send_to(&datagram[..len], client.get().unwrap()).unwrap();
        }
    });
    address
}

#[test]
fn a_route_that_leads_nowhere_is_given_up_and_nothing_is_lost() {
    let moves = Moves::default();
    let pair = Pair::with(|builder| moves.watch(builder));
    let client = pair.client.connect(firewall(pair.address), NAME).unwrap();
    let server = pair.server.accept_within(PATIENCE).unwrap();
    thread::spawn(move || serve(&server));
    fetch(&client, MIB);
    let route = client.add_route(elsewhere()).unwrap();
    assert!(matches!(client.wait_route(route, Some(Duration::from_millis(1))), Err(Error::TimedOut)));
    assert!(matches!(client.wait_route(route, PATIENCE), Err(Error::RouteGone)));
    // Who moves there all the same comes back.
    let old = in_use(&client).id;
    client.migrate(elsewhere()).unwrap();
    fetch(&client, MIB);
    assert_eq!(in_use(&client).id, old);
    assert_eq!(moves.told(), [MoveCause::Chosen, MoveCause::Fallback]);
}

#[test]
fn a_route_that_the_application_never_wants_is_taken_only_when_it_says_so() {
    let pair = Pair::with(|builder| builder.tune(|config| config.choose_automatically = true));
    let (client, server) = pair.connect();
    thread::spawn(move || serve(&server));
    let old = in_use(&client);
    let route = client.add_route(elsewhere()).unwrap();
    client.set_preference(route, Preference::NEVER).unwrap();
    client.wait_route(route, PATIENCE).unwrap();
    client.network_changed(NetworkChange::InterfaceGone(old.interface)).unwrap();
    assert_eq!(in_use(&client).id, old.id);
    client.switch_route(route).unwrap();
    fetch(&client, MIB);
    assert!(in_use(&client).id == route && in_use(&client).preference == Preference::NEVER);
}

#[test]
fn an_address_that_is_gone_is_left() {
    let moves = Moves::default();
    let pair = Pair::with(|builder| moves.watch(builder));
    let (client, server) = pair.connect();
    thread::spawn(move || serve(&server));
    fetch(&client, 1000);
    let route = client.add_route(elsewhere()).unwrap();
    client.wait_route(route, PATIENCE).unwrap();
    client.network_changed(NetworkChange::AddressGone(IpAddr::V4(Ipv4Addr::LOCALHOST))).unwrap();
    assert_eq!(in_use(&client).id, route);
    fetch(&client, MIB);
    // And back, when that one is gone as well.
    pair.client.network_changed(NetworkChange::NewNetwork(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    pair.client.network_changed(NetworkChange::InterfaceGone(in_use(&client).interface));
    assert_ne!(in_use(&client).id, route);
    fetch(&client, MIB);
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_whose_sends_fail_is_left() {
    use rustix::net::{Shutdown, shutdown};

    // The system says that nothing is connected, and takes it seriously all the same.
    let stats = left_when(|socket| {
        let _ = shutdown(socket, Shutdown::Write);
    });
    assert!(stats.sends_failed > 0 && stats.sockets_failed == 0, "{stats:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_receives_no_more_is_left() {
    use nix::libc;
    use std::os::fd::AsRawFd;

    let stats = left_when(|socket| {
        let nothing = std::fs::File::open("/dev/null").unwrap();
        // What was the socket is now something that datagrams never come from.
        // SAFETY: both are open, and the socket is spoken of by its number only.
        assert!(unsafe { libc::dup2(nothing.as_raw_fd(), socket.as_raw_fd()) } >= 0);
    });
    assert_eq!(stats.sockets_failed, 1, "{stats:?}");
}

/// A client driven by hand whose socket breaks: what it sends goes another way at once, and sockets come and go with routes.
#[cfg(target_os = "linux")]
fn left_when(break_it: impl FnOnce(&Socket)) -> SystemStats {
    use peregrine_core::ids::Dir;
    use peregrine_core::stream;
    use peregrine_std::EventLoop;
    use peregrine_std::tls::ClientTls;

    let (tls, trust) = common::server_tls();
    let sessions = common::server_sessions(tls, Tls::Ours);
    let server = Endpoint::builder().listen(loopback()).server(move |_| Ok(sessions())).bind().unwrap();
    let sessions = common::client_sessions(ClientTls::new(trust, ALPN), Tls::Ours);
    let mut client = EventLoop::builder().listen(loopback()).client(sessions).event_loop().unwrap();
    let handle = client.connect(server.local_addrs()[0], NAME).unwrap();
    thread::spawn(move || serve(&server.accept_within(PATIENCE).unwrap()));

    let clock = peregrine_std::clock::Clock::start();
    let mut break_it = Some(break_it);
    let (mut asked, mut received, mut moves) = (None, 0, Vec::new());
    let mut out = vec![0; 64 << 10];
    let (len, mut is_over) = (8 * MIB, false);
    while !is_over {
        assert!(clock.now().as_micros() < 20_000_000, "{received} of {len}: {moves:?}");
        client.turn(Some(Duration::from_millis(5))).unwrap();
        while let Some((_, event)) = client.poll_event() {
            match event {
                Event::Confirmed => drop(client.add_route(handle, elsewhere()).unwrap()),
                Event::Route(_, RouteEvent::Validated) if asked.is_none() => {
                    assert_eq!(client.sockets().count(), 2);
                    let (connection, _) = client.connection(handle).unwrap();
                    let id = connection.open(Dir::Bi).unwrap();
                    connection.write_stream(id, &len.to_be_bytes()).unwrap();
                    connection.finish(id).unwrap();
                    asked = Some(id);
                }
                Event::Moved { cause, .. } => moves.push(cause),
                _ => {}
            }
        }
        let Some(id) = asked else { continue };
        let (connection, _) = client.connection(handle).unwrap();
        loop {
            match connection.read_stream(id, &mut out).unwrap() {
                stream::Read::Bytes(got) => received += got as u64,
                stream::Read::Finished => is_over = true,
                stream::Read::Blocked => break,
                stream::Read::Reset(code) => panic!("reset with {code}"),
            }
            if is_over {
                break;
            }
        }
        if let Some(break_it) = break_it.take_if(|_| received > len / 3) {
            break_it(client.sockets().next().unwrap());
        }
    }
    assert_eq!((received, moves), (len, vec![MoveCause::Liveness]));
    let (connection, _) = client.connection(handle).unwrap();
    assert_eq!(connection.route().unwrap().local.ip(), elsewhere().ip());
    client.system_stats()
}
