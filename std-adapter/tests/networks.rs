//! Networks that go and come under a connection, in namespaces with real interfaces (Linux, root; skipped elsewhere).
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use peregrine_core::connection::{Event, MoveCause, RouteView};
use peregrine_std::tls::ClientTls;
use peregrine_std::{Connection, Endpoint, NetworkEvents, Watcher};

mod common;
use common::lab::{Lab, SERVER, inside, ip, join};
use common::{ALPN, NAME, Tls, client_sessions, fetch, fetch_and, serve, server_sessions};

const MIB: u64 = 1 << 20;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn answers(route: &RouteView) -> bool {
    route.validated && !route.down
}

/// A client in the lab, connected to a server.
struct Client {
    endpoint: Endpoint,
    connection: Connection,
    moves: Arc<Mutex<Vec<MoveCause>>>,
    _watcher: Option<Watcher>,
}

/// What a client does about networks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Watches,
    FindsOut,
}

impl Client {
    /// Does something as a client that began on `local`, or where the system chose.
    fn run(lab: &Lab, local: Option<&str>, way: Way, act: impl FnOnce(&Self) + Send + 'static) {
        let (tls, trust) = common::server_tls();
        let server = inside(&lab.server, move || {
            let sessions = server_sessions(tls, Tls::Ours);
            let builder = Endpoint::builder().listen((address(SERVER), 0).into());
            builder.server(move |_| Ok(sessions())).bind().unwrap()
        });
        let remote = server.local_addrs()[0];
        thread::spawn(move || {
            while let Ok(connection) = server.accept() {
                serve(&connection);
            }
        });
        let local = local.map(|local| SocketAddr::new(address(local), 0));
        inside(&lab.client, move || {
            let sessions = client_sessions(ClientTls::new(trust, ALPN), Tls::Ours);
            let moves = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&moves);
            let builder = Endpoint::builder().client(sessions).observe(move |seen| {
                if let Event::Moved { cause, .. } = seen.event {
                    noted.lock().unwrap().push(cause);
                }
            });
            let endpoint =
                local.into_iter().fold(builder, |builder, local| builder.listen(local)).bind().unwrap();
            let watcher = (way == Way::Watches).then(|| endpoint.watch_networks().unwrap());
            let connection = endpoint.connect(remote, NAME).unwrap();
            fetch(&connection, 100_000);
            act(&Self { endpoint, connection, moves, _watcher: watcher });
        });
    }

    fn in_use(&self) -> IpAddr {
        self.connection.route().unwrap().local.ip()
    }

    /// Waits until a route from this address is as it should be.
    fn wait_for(&self, local: &str, is_so: impl Fn(&RouteView) -> bool) {
        let clock = peregrine_std::clock::Clock::start();
        let routes = || self.connection.routes().unwrap();
        while !routes().iter().any(|route| route.local.ip() == address(local) && is_so(route)) {
            assert!(clock.now().as_micros() < 20_000_000, "{:?}", routes());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Does something in the middle of a download.
    fn meanwhile(&self, act: impl FnOnce()) {
        fetch_and(&self.connection, 40 * MIB, 4 * MIB, act);
    }

    fn moves(&self) -> Vec<MoveCause> {
        self.moves.lock().unwrap().clone()
    }
}

#[test]
fn a_link_that_loses_its_carrier_is_left_in_the_middle_of_a_download() {
    let Some(lab) = Lab::up() else { return };
    let server = lab.server.clone();
    Client::run(&lab, Some("10.0.1.2"), Way::Watches, move |client| {
        client.wait_for("10.0.2.2", answers);
        client.meanwhile(|| ip(&server, "link set net1 down"));
        // Linux tells of carriers up to a second late: silence may have been noticed before.
        client.wait_for("10.0.1.2", |route| route.down);
        assert_eq!((client.in_use(), client.moves()), (address("10.0.2.2"), vec![MoveCause::Liveness]));
    });
}

#[test]
fn where_the_system_chose_the_address_it_is_left_too() {
    let Some(lab) = Lab::up() else { return };
    let ours = lab.client.clone();
    Client::run(&lab, None, Way::Watches, move |client| {
        assert_eq!(client.in_use(), address("10.0.1.2"));
        client.wait_for("10.0.2.2", answers);
        client.meanwhile(|| ip(&ours, "link set net1 down"));
        client.wait_for("10.0.1.2", |route| route.down);
        assert_eq!((client.in_use(), client.moves()), (address("10.0.2.2"), vec![MoveCause::Liveness]));
    });
}

#[test]
fn a_network_that_comes_is_tried_and_taken_when_there_is_no_other() {
    let Some(lab) = Lab::up() else { return };
    let ours = lab.client.clone();
    ip(&ours, "link set net2 down");
    Client::run(&lab, Some("10.0.1.2"), Way::Watches, move |client| {
        assert_eq!(client.connection.routes().unwrap().len(), 1);
        client.meanwhile(|| {
            ip(&ours, "link set net1 down");
            thread::sleep(Duration::from_millis(300));
            join(&ours, 2, 2);
        });
        assert_eq!(client.in_use(), address("10.0.2.2"));
    });
}

#[test]
fn another_address_of_the_same_link_is_moved_to() {
    let Some(lab) = Lab::up() else { return };
    let ours = lab.client.clone();
    ip(&ours, "link set net2 down");
    Client::run(&lab, Some("10.0.1.2"), Way::Watches, move |client| {
        client.meanwhile(|| {
            ip(&ours, "addr del 10.0.1.2/24 dev net1");
            join(&ours, 1, 7);
        });
        assert_eq!(client.in_use(), address("10.0.1.7"));
    });
}

#[test]
fn a_network_that_was_away_for_a_while_is_taken_up_again() {
    let Some(lab) = Lab::up() else { return };
    let (ours, server) = (lab.client.clone(), lab.server.clone());
    ip(&ours, "link set net2 down");
    Client::run(&lab, Some("10.0.1.2"), Way::Watches, move |client| {
        client.meanwhile(|| {
            ip(&server, "link set net1 down");
            client.wait_for("10.0.1.2", |route| route.down);
            ip(&server, "link set net1 up");
        });
        assert_eq!((client.in_use(), client.moves()), (address("10.0.1.2"), vec![]));
    });
}

/// Nobody tells of networks: what sockets say is enough.
#[test]
fn a_socket_whose_address_is_taken_away_is_left_and_the_other_route_goes_on() {
    let Some(lab) = Lab::up() else { return };
    let ours = lab.client.clone();
    Client::run(&lab, Some("10.0.1.2"), Way::FindsOut, move |client| {
        client.connection.add_route((address("10.0.2.2"), 0).into()).unwrap();
        client.wait_for("10.0.2.2", answers);
        client.meanwhile(|| ip(&ours, "addr del 10.0.1.2/24 dev net1"));
        assert_eq!((client.in_use(), client.moves()), (address("10.0.2.2"), vec![MoveCause::Liveness]));
        let routes = client.connection.routes().unwrap();
        assert!(
            routes.iter().any(|route| route.down && route.local.ip() == address("10.0.1.2")),
            "{routes:?}"
        );
        assert!(client.endpoint.system_stats().sends_failed > 0);
    });
}

/// No way leads from there any more, and the system says so to whoever sends.
#[test]
fn a_socket_that_finds_no_way_is_left_and_the_other_route_goes_on() {
    let Some(lab) = Lab::up() else { return };
    let ours = lab.client.clone();
    Client::run(&lab, Some("10.0.1.2"), Way::FindsOut, move |client| {
        client.connection.add_route((address("10.0.2.2"), 0).into()).unwrap();
        client.wait_for("10.0.2.2", answers);
        client.meanwhile(|| ip(&ours, "route replace unreachable default table 1"));
        client.wait_for("10.0.1.2", |route| route.down);
        assert_eq!((client.in_use(), client.moves()), (address("10.0.2.2"), vec![MoveCause::Liveness]));
    });
}

/// Downloads with the command, and does something as soon as its timeline has these words; its report and the rest of its timeline.
fn get(lab: &Lab, args: &[&str], words: &str, act: impl FnOnce()) -> (serde_json::Value, Vec<String>) {
    let spawn = |namespace: &str, args: &[&str]| {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        inside(namespace, move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_peregrine"));
            command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
    };
    let mut server = spawn(&lab.server, &["serve", "--listen", "198.51.100.9:4433"]);
    let mut listening = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut listening).unwrap();
    assert_eq!(listening, "listening on 198.51.100.9:4433\n");
    let always =
        ["get", "hq://198.51.100.9:4433/300000000", "--insecure", "--out", "-", "--json", "--timeline"];
    let mut client = spawn(&lab.client, &[&always, args].concat());
    let mut timeline = BufReader::new(client.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(timeline.by_ref().any(|line| line.contains(words)), "{words}");
    act();
    let rest: Vec<String> = timeline.collect();
    let got = client.wait_with_output().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(got.status.success(), "{rest:?}");
    (serde_json::from_slice(&got.stdout).unwrap(), rest)
}

#[test]
fn the_command_goes_on_over_the_other_interface() {
    let Some(lab) = Lab::up() else { return };
    let (report, _) = get(&lab, &["--watch-interfaces"], "answers on the route from 10.0.2.2", || {
        ip(&lab.client, "link set net1 down");
    });
    let moves = report["moves"].as_array().unwrap();
    assert!(moves.len() == 1 && moves[0]["cause"] == "liveness", "{report}");
    assert!(moves[0]["to"].as_str().unwrap().starts_with("10.0.2.2:"), "{report}");
}

/// Nobody names an address: data comes over both networks, over the second alone when the first goes, and over the first again at
/// its new address.
#[test]
fn the_command_uses_all_networks_as_they_come_and_go() {
    let Some(lab) = Lab::up() else { return };
    let (report, timeline) = get(&lab, &["--path", "others"], "path 1 carries data, from 10.0.2.2", || {
        ip(&lab.client, "addr del 10.0.1.2/24 dev net1");
        join(&lab.client, 1, 7);
    });
    let carries = timeline.iter().any(|line| line.contains("carries data, from 10.0.1.7"));
    assert!(carries, "{timeline:?}");
    assert_eq!(report["moves"].as_array().unwrap().len(), 0, "{report}");
    let bytes = |local: &str| {
        let paths = report["paths"].as_array().unwrap().iter();
        let here = paths.filter(|path| path["local"].as_str().is_some_and(|from| from.starts_with(local)));
        here.map(|path| path["received_bytes"].as_u64().unwrap()).sum::<u64>()
    };
    // How much of it over which is for the server's scheduler to say; what a path takes that carries nothing is a few packets.
    for local in ["10.0.2.2:", "10.0.1.7:"] {
        assert!(bytes(local) > 20_000, "{report}");
    }
}

/// The system has more to say than there is room for while nobody listens.
#[test]
fn what_was_not_heard_is_asked_for() {
    let Some(lab) = Lab::up() else { return };
    let mut events = inside(&lab.client, NetworkEvents::new).unwrap();
    let addresses = |events: &NetworkEvents| {
        events.networks().addresses().filter(|ip| ip.to_string().starts_with("10.9.")).count()
    };
    for (command, expected) in [("add", 1_500), ("del", 0)] {
        let mut batch = Command::new("ip")
            .args(["-n", &lab.client, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = batch.stdin.take().unwrap();
        for number in 0..1_500 {
            writeln!(lines, "addr {command} 10.9.{}.{}/32 dev net2", number / 250, number % 250).unwrap();
        }
        drop(lines);
        assert!(batch.wait().unwrap().success());
        events.read().unwrap();
        assert_eq!(addresses(&events), expected);
    }
}
