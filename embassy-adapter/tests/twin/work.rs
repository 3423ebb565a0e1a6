//! What an application does when all is well: streams both ways in tasks of their own, datagrams, moves.

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use embassy_futures::join::join;
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use peregrine_core::connection::{NetworkChange, RouteError};
use peregrine_core::endpoint::EndpointConfig;
use peregrine_embassy::{Connection, End, Error, RecvStream, Resources, SendStream, Storage};
use sha2::{Digest, Sha256};

use crate::scene::Scene;
use crate::world::{
    ClientTls, ETHERNET, Memory, Server, ServerTls, WIFI, World, config, handshakes, of, server_address,
};

/// A file that differs everywhere.
pub fn file(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place * 31 + place / 251 + place / 65_537) as u8).collect()
}

pub async fn read_all(stream: &mut RecvStream<ClientTls>, progress: &Cell<usize>) -> Result<[u8; 32], Error> {
    let (mut hash, mut room) = (Sha256::new(), [0; 700]);
    loop {
        match stream.read(&mut room).await? {
            0 => return Ok(hash.finalize().into()),
            len => hash.update(&room[..len]),
        }
        progress.set(progress.get() + 1);
    }
}

/// Serves files to one client after the other.
pub async fn serve_files(server: Server) {
    loop {
        serve_connection(&server.accept().await).await;
    }
}

/// Serves files until the connection ends: a stream asks with four bytes for so many.
pub async fn serve_connection(connection: &Connection<ServerTls>) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let mut wanted = [0; 4];
        if recv.read_exact(&mut wanted).await.is_err() {
            break;
        }
        let sent = async {
            send.write_all(&file(u32::from_be_bytes(wanted) as usize)).await?;
            send.finish()?;
            send.delivered().await
        };
        if sent.await.is_err() {
            break;
        }
    }
}

pub async fn ask(connection: &Connection<ClientTls>, len: u32) -> Result<RecvStream<ClientTls>, Error> {
    let (mut send, recv) = connection.open_bi().await?;
    send.write_all(&len.to_be_bytes()).await?;
    send.finish()?;
    Ok(recv)
}

#[test]
fn a_file_is_fetched_with_a_pre_shared_key() {
    let mut scene = Scene::with_files([WIFI]);
    let client = scene.client;
    scene.world.lose(20);
    scene.run(60, async |connection| {
        connection.wait_connected().await.unwrap();
        assert_eq!(
            connection.session(|session| {
                use peregrine_core::session::Session;
                session.alpn() == Some(b"twin")
            }),
            Ok(true)
        );
        let mut recv = ask(&connection, 100_000).await.unwrap();
        let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
        assert_eq!(hash[..], Sha256::digest(file(100_000))[..]);
        assert!(connection.stats().lost_packets > 0, "loss was asked for");
        connection.close(7, "enough");
        assert_eq!(End::from(&connection.closed().await), End::Local(7));
        drop((recv, connection));
        client.wait_idle().await;
    });
    // What was lent is back: another connection finds it.
    scene.run(60, async |again| again.wait_connected().await.unwrap());
}

#[test]
fn halves_of_streams_live_in_tasks_of_their_own() {
    let mut scene = Scene::new([WIFI]);
    let server = scene.server;
    // The server sends back what comes, on the stream it came on, and opens one of its own meanwhile.
    scene.world.spawn(async move {
        let connection = server.accept().await;
        let mut own = connection.open_uni().await.unwrap();
        own.write_all(b"hello").await.unwrap();
        own.finish().unwrap();
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        let mut room = [0; 333];
        loop {
            match recv.read(&mut room).await.unwrap() {
                0 => break,
                len => send.write_all(&room[..len]).await.unwrap(),
            }
        }
        send.finish().unwrap();
        connection.closed().await;
    });
    let connection = scene.run(10, async |connection| {
        connection.wait_connected().await.unwrap();
        connection
    });
    let (send, mut recv) = scene.world.run(10, connection.open_bi()).unwrap();
    let delivered = Rc::new(Cell::new(false));
    scene.world.spawn(pour(send, Rc::clone(&delivered)));
    scene.world.run(60, async {
        let mut greeting = connection.accept_uni().await.unwrap();
        let mut room = [0; 16];
        assert_eq!(greeting.read(&mut room).await, Ok(5));
        assert_eq!(greeting.read(&mut room).await, Ok(0));
        let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
        assert_eq!(hash[..], Sha256::digest(file(60_000))[..]);
        while !delivered.get() {
            Timer::after_millis(1).await;
        }
    });
}

async fn pour(mut send: SendStream<ClientTls>, delivered: Rc<Cell<bool>>) {
    send.write_all(&file(60_000)).await.unwrap();
    send.finish().unwrap();
    send.delivered().await.unwrap();
    delivered.set(true);
}

#[test]
fn futures_hold_no_buffers_and_handshakes_give_theirs_back() {
    let mut scene = Scene::with_files([WIFI]);
    let handshakes = handshakes();
    let client = scene.client;
    let (one, other) = (scene.world.session_with(handshakes), scene.world.session_with(handshakes));
    assert!(handshakes.take().is_none());
    drop(other);
    assert!(handshakes.take().is_some());
    scene.world.run(10, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), one).unwrap();
        let one_is_busy = handshakes.take();
        assert!(one_is_busy.is_some() && handshakes.take().is_none());
        connection.wait_confirmed().await.unwrap();
        assert!(handshakes.take().is_some(), "it came back");

        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let mut room = [0; 1000];
        assert!(size_of_val(&connection.open_bi()) <= 256, "{}", size_of_val(&connection.open_bi()));
        assert!(size_of_val(&send.send(&room)) <= 256, "{}", size_of_val(&send.send(&room)));
        let receiving = size_of_val(&recv.recv(&mut room));
        assert!(receiving <= 256, "{receiving}");
        assert!(size_of_val(&client.run()) <= 64);
    });
}

#[test]
fn datagrams_go_there_and_back() {
    let mut scene = Scene::new([WIFI]);
    let server = scene.server;
    scene.world.spawn(async move {
        let connection: Connection<ServerTls> = server.accept().await;
        let mut room = [0; 1200];
        while let Ok(len) = connection.recv_datagram(&mut room).await {
            connection.send_datagram(&room[..len]).await.unwrap();
        }
    });
    scene.run(20, async |connection| {
        connection.wait_connected().await.unwrap();
        for number in 0..50_u8 {
            connection.send_datagram(&[number; 1000]).await.unwrap();
            let mut room = [0; 1200];
            assert_eq!(connection.recv_datagram(&mut room).await, Ok(1000));
            assert_eq!(room[..1000], [number; 1000]);
        }
        assert_eq!(connection.send_datagram(&[0; 1600]).await, Err(Error::DatagramTooLarge));
        assert!(connection.max_datagram_len().is_some_and(|len| len >= 1000));
    });
}

#[test]
fn a_link_that_goes_down_in_mid_transfer_costs_no_byte() {
    let mut scene = Scene::with_files([WIFI, ETHERNET]);
    let ([wifi_nic, ethernet_nic], networks) = (scene.nics.clone(), scene.networks);
    let progress = Rc::new(Cell::new(0));
    let cut = Rc::clone(&progress);
    scene.world.spawn(async move {
        while cut.get() < 100 {
            Timer::after_millis(1).await;
        }
        wifi_nic.set_up(false);
        while cut.get() < 300 {
            Timer::after_millis(1).await;
        }
        // And back again: the other way round.
        wifi_nic.set_up(true);
        Timer::after_millis(50).await;
        ethernet_nic.set_up(false);
    });
    scene.run(60, async |connection| {
        let mut recv = ask(&connection, 400_000).await.unwrap();
        assert_eq!(connection.network_of(&connection.route().unwrap()), Some(networks[0]));
        let hash = read_all(&mut recv, &progress).await.unwrap();
        assert_eq!(hash[..], Sha256::digest(file(400_000))[..]);
        let route = connection.route().unwrap();
        assert_eq!((connection.network_of(&route), route.local.ip()), (Some(networks[0]), WIFI.into()));
    });
}

#[test]
fn the_challenge_is_sent_in_the_poll_that_sees_the_link_go_down() {
    let mut world = World::new();
    let (wifi, wifi_nic) = world.stack(WIFI, true);
    let (ethernet, _) = world.stack(ETHERNET, true);
    let (server, _) = world.server(config());
    let (client, networks) = world.resting_client(&[wifi, ethernet], config());
    world.spawn(serve_files(server));
    // How many packets were sent before and after the first poll of the runner that finds the link down.
    let connection: Rc<RefCell<Option<Connection<ClientTls>>>> = Rc::default();
    let (watched, seen) = (Rc::clone(&connection), Rc::new(Cell::new(None)));
    let told = Rc::clone(&seen);
    world.spawn(async move {
        let mut running = pin!(client.run());
        poll_fn(|cx| {
            let sent = || watched.borrow().as_ref().map(|connection| connection.stats().sent_packets);
            let (before, is_up) = (sent(), wifi.is_link_up());
            let polled: Poll<()> = running.as_mut().poll(cx).map(|never| never);
            if !is_up && told.get().is_none() {
                told.set(before.zip(sent()));
            }
            polled
        })
        .await;
    });
    let session = world.session();
    world.run(60, async {
        client.wait_up(Some(networks[1])).await;
        let new = client.connect(Some(networks[0]), server_address(), session).unwrap();
        new.wait_confirmed().await.unwrap();
        new.wait_spare_cid().await.unwrap();
        Timer::after_millis(100).await;
        *connection.borrow_mut() = Some(new.clone());
        wifi_nic.set_up(false);
        while seen.get().is_none() {
            Timer::after_millis(1).await;
        }
        let (before, after) = seen.get().unwrap();
        assert!(after > before, "{before} {after}");
        let route = new.route().unwrap();
        assert_eq!((new.network_of(&route), route.validated), (Some(networks[1]), false));
        with_timeout(Duration::from_millis(30), new.wait_route(route.id)).await.unwrap().unwrap();
    });
}

#[test]
fn another_address_on_the_same_network_is_moved_to() {
    let mut scene = Scene::with_files([WIFI]);
    let ([wifi], [nic]) = (scene.stacks, scene.nics.clone());
    let progress = Rc::new(Cell::new(0));
    let moved = Rc::clone(&progress);
    let new = std::net::Ipv4Addr::new(10, 0, 1, 77);
    scene.world.spawn(async move {
        while moved.get() < 100 {
            Timer::after_millis(1).await;
        }
        nic.set_address(new);
        wifi.set_config_v4(embassy_net::ConfigV4::Static(of(new)));
    });
    scene.run(60, async |connection| {
        let mut recv = ask(&connection, 200_000).await.unwrap();
        let hash = read_all(&mut recv, &progress).await.unwrap();
        assert_eq!(hash[..], Sha256::digest(file(200_000))[..]);
        let route = connection.route().unwrap();
        assert_eq!(route.local.ip(), std::net::IpAddr::from(new));
    });
}

#[test]
fn a_cable_plugged_in_again_here_or_elsewhere_needs_one_socket() {
    let mut world = World::new();
    let (stack, nic) = world.stack(WIFI, true);
    let (server, _) = world.server(config());
    let client = world.endpoint(Resources::<ClientTls, Memory, 1, 1>::new(), EndpointConfig::default());
    client.attach(stack, 0, 1).unwrap();
    world.spawn(async move { client.run().await });
    world.spawn(serve_files(server));
    let session = world.session();
    world.run(100, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), session).unwrap();
        for address in [WIFI, ETHERNET, ETHERNET, WIFI] {
            let out = async {
                nic.set_up(false);
                Timer::after_secs(20).await;
                nic.set_address(address);
                stack.set_config_v4(embassy_net::ConfigV4::Static(of(address)));
                nic.set_up(true);
                Instant::now()
            };
            let ask = async {
                // While the cable is out.
                let mut recv = ask(&connection, 20_000).await.unwrap();
                read_all(&mut recv, &Cell::new(0)).await.unwrap();
                Instant::now()
            };
            connection.wait_confirmed().await.unwrap();
            let (back, answered) = join(out, ask).await;
            assert!(answered - back < Duration::from_secs(1), "{}", answered - back);
            assert_eq!(connection.route().unwrap().local.ip(), std::net::IpAddr::from(address));
        }
        assert_eq!(connection.stats().migrations, 2);
    });
}

#[test]
fn an_application_moves_when_it_likes_to_another_network_and_another_port() {
    let mut scene = Scene::with_files([WIFI, ETHERNET]);
    let networks = scene.networks;
    scene.run(60, async |connection| {
        let mut recv = ask(&connection, 150_000).await.unwrap();
        let first = connection.route().unwrap();
        let mut room = [0; 5000];
        recv.read_exact(&mut room).await.unwrap();

        let route = connection.add_route(networks[1]).await.unwrap();
        let view = connection.wait_route(route).await.unwrap();
        assert_eq!(view.local.ip(), std::net::IpAddr::from(ETHERNET));
        connection.switch_route(route).unwrap();
        assert!(connection.close_route(route).is_err());
        connection.close_route(first.id).unwrap();
        recv.read_exact(&mut room).await.unwrap();

        // The same network again: another port.
        with_timeout(Duration::from_secs(2), connection.wait_spare_cid()).await.unwrap().unwrap();
        let route = connection.migrate(networks[1]).await.unwrap();
        let other = connection.wait_route(route).await.unwrap();
        assert_eq!(other.local.ip(), view.local.ip());
        assert_ne!(other.local.port(), view.local.port());
        recv.read_exact(&mut room).await.unwrap();
        assert_eq!(connection.route().unwrap().id, route);
        assert!(connection.routes().len() >= 2);
        connection.network_changed(NetworkChange::NewNetwork(ETHERNET.into())).unwrap();
        recv.read_exact(&mut room).await.unwrap();
    });
}

#[test]
fn no_port_is_used_at_two_addresses() {
    let mut scene = Scene::with_files([WIFI]);
    let ([wifi], [nic], networks) = (scene.stacks, scene.nics.clone(), scene.networks);
    let addresses = [77, 78, 79].map(|host| std::net::Ipv4Addr::new(10, 0, 1, host));
    scene.run(60, async |connection| {
        connection.wait_confirmed().await.unwrap();
        let mut ports = vec![connection.route().unwrap().local.port()];
        for address in addresses {
            // To another port, and then to another address.
            connection.wait_spare_cid().await.unwrap();
            let route = connection.migrate(networks[0]).await.unwrap();
            ports.push(connection.wait_route(route).await.unwrap().local.port());
            connection.wait_spare_cid().await.unwrap();
            nic.set_address(address);
            wifi.set_config_v4(embassy_net::ConfigV4::Static(of(address)));
            let is_there = || {
                let route = connection.route()?;
                (route.local.ip() == address && route.validated).then(|| route.local.port())
            };
            while is_there().is_none() {
                Timer::after_millis(1).await;
            }
            ports.extend(is_there());
        }
        let mut different = ports.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), ports.len(), "{ports:?}");
    });
}

#[test]
fn a_move_that_is_refused_for_want_of_memory_leaves_the_port_as_it_was() {
    /// Of one route.
    type Fixed = Storage<1, 6, 64, 1152, 1024, 0, 1>;
    let mut world = World::new();
    let (wifi, _) = world.stack(WIFI, true);
    let (ethernet, _) = world.stack(ETHERNET, true);
    let (server, _) = world.server(config());
    let client = world.endpoint(Resources::<ClientTls, Fixed, 1, 2>::new(), EndpointConfig::default());
    let [wifi, ethernet] = [wifi, ethernet].map(|stack| client.attach(stack, 0, 1).unwrap());
    world.spawn(async move { client.run().await });
    world.spawn(serve_files(server));
    let mut ports = Vec::new();
    for network in [ethernet, wifi, ethernet] {
        let session = world.session();
        let port = world.run(60, async {
            client.wait_up(Some(network)).await;
            let connection = client.connect(Some(network), server_address(), session).unwrap();
            connection.wait_spare_cid().await.unwrap();
            if network == wifi {
                assert_eq!(connection.add_route(ethernet).await, Err(Error::Route(RouteError::Full)));
            }
            let port = connection.route().unwrap().local.port();
            drop(connection);
            client.wait_idle().await;
            port
        });
        ports.push(port);
    }
    assert_eq!(ports[0], ports[2]);
}

#[test]
fn an_address_that_comes_back_finds_the_socket_at_another_port() {
    let mut scene = Scene::with_files([WIFI]);
    let ([wifi], [nic]) = (scene.stacks, scene.nics.clone());
    let addresses = [77, 78].map(|host| std::net::Ipv4Addr::new(10, 0, 1, host));
    scene.run(60, async |connection| {
        connection.wait_confirmed().await.unwrap();
        for address in addresses.into_iter().cycle().take(6) {
            connection.wait_spare_cid().await.unwrap();
            nic.set_address(address);
            wifi.set_config_v4(embassy_net::ConfigV4::Static(of(address)));
            while !connection.route().is_some_and(|route| route.local.ip() == address && route.validated) {
                Timer::after_millis(1).await;
            }
            let mut recv = ask(&connection, 5_000).await.unwrap();
            let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
            assert_eq!(hash[..], Sha256::digest(file(5_000))[..]);
        }
    });
}
