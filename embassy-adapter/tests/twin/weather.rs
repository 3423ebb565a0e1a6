//! Bad weather: each ends in a clear error, and nothing hangs.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use embassy_futures::join::join;
use embassy_net::{Config, ConfigV4};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use peregrine_core::connection::RouteError;
use peregrine_core::endpoint::{EndpointConfig, Incoming};
use peregrine_core::error::Code;
use peregrine_core::lifecycle::Cause;
use peregrine_crypto::provider::HashAlgorithm;
use peregrine_crypto::tls::{Psk, ServerConfig};
use peregrine_embassy::entropy::{Drbg, Entropy, EntropyError};
use peregrine_embassy::tls::EndpointSession as _;
use peregrine_embassy::{End, Error, Resources, Storage, tls};
use sha2::{Digest, Sha256};

use crate::scene::Scene;
use crate::work::{ask, file, read_all, serve_files};
use crate::world::{
    ClientTls, ETHERNET, Memory, PSKS, SERVER, WIFI, World, client_config, config, handshakes, of,
    psk_server, server_address, server_config,
};

#[test]
fn a_server_that_vanishes_is_an_error_after_the_idle_timeout() {
    let mut scene = Scene::with_files([WIFI]);
    let (server_nic, networks) = (scene.server_nic.clone(), scene.networks);
    scene.run(60, async |connection| {
        let mut recv = ask(&connection, 1_000_000).await.unwrap();
        let mut room = [0; 10_000];
        recv.read_exact(&mut room).await.unwrap();
        server_nic.set_up(false);
        let error = loop {
            if let Err(error) = recv.read(&mut room).await {
                break error;
            }
        };
        assert_eq!(error, Error::Closed(End::Idle));
        assert_eq!(connection.open_uni().await.err(), Some(Error::Closed(End::Idle)));
        assert!(connection.add_route(networks[0]).await.is_err());
    });
}

#[test]
fn who_has_no_room_for_a_probe_in_an_outage_sends_nothing_rather_than_an_empty_datagram() {
    type Few = Storage<1, 2, 8, 1152, 8192>;
    let mut world = World::new();
    let (stack, _) = world.stack(WIFI, true);
    let (server, server_nic) = world.server(config());
    let client = world.endpoint(Resources::<ClientTls, Few, 1, 1>::new(), EndpointConfig::default());
    client.attach(stack, 0, 1).unwrap();
    world.spawn(async move { client.run().await });
    world.spawn(async move {
        let connection = server.accept().await;
        let (mut recv, mut room) = (connection.accept_uni().await.unwrap(), [0; 1000]);
        while recv.read_exact(&mut room).await.is_ok() {}
        connection.closed().await;
    });
    world.spawn(async move {
        loop {
            Timer::after_millis(300).await;
            server_nic.set_up(false);
            Timer::after_secs(3).await;
            server_nic.set_up(true);
        }
    });
    let session = world.session();
    world.run(60, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), session).unwrap();
        let mut send = connection.open_uni().await.unwrap();
        send.write_all(&file(500_000)).await.unwrap();
        send.finish().unwrap();
        // That no datagram is empty the wires see to.
        send.delivered().await.unwrap();
    });
}

#[test]
fn a_server_that_is_not_there_is_an_error_after_the_handshake_timeout() {
    let mut world = World::new();
    let (stack, _) = world.stack(WIFI, true);
    let (client, _) = world.client(&[stack], config());
    let session = world.session();
    world.run(20, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), session).unwrap();
        let connected = connection.wait_connected().await;
        assert_eq!(connected, Err(Error::Closed(End::HandshakeTimeout)));
        drop(connection);
        client.wait_idle().await;
    });
}

#[test]
fn a_link_that_goes_down_in_the_handshake_is_waited_for_but_not_for_ever() {
    for comes_back in [true, false] {
        let mut scene = Scene::with_files([WIFI]);
        let [nic] = scene.nics.clone();
        scene.world.spawn(async move {
            // The first flight is under way.
            Timer::after_millis(7).await;
            nic.set_up(false);
            Timer::after_secs(3).await;
            nic.set_up(comes_back);
        });
        scene.run(20, async |connection| {
            let connected = connection.wait_connected().await;
            let timeout = Err(Error::Closed(End::HandshakeTimeout));
            assert_eq!(connected, if comes_back { Ok(()) } else { timeout });
        });
    }
}

#[test]
fn a_network_without_an_address_is_none_until_it_has_one() {
    let mut world = World::new();
    let (stack, _) = world.stack(WIFI, false);
    let (server, _) = world.server(config());
    let (client, networks) = world.client(&[stack], config());
    world.spawn(serve_files(server));
    let (early, late) = (world.session(), world.session());
    world.run(60, async {
        assert!(with_timeout(Duration::from_secs(20), client.wait_up(None)).await.is_err());
        let refused = client.connect(None, server_address(), early);
        assert_eq!(refused.err(), Some(Error::NoNetwork));
        stack.set_config_v4(ConfigV4::Static(of(WIFI)));
        assert_eq!(client.wait_up(None).await, networks[0]);
        let v6 = "[2001:db8::1]:4433".parse().unwrap();
        let connection = client.connect(None, server_address(), late).unwrap();
        connection.wait_connected().await.unwrap();
        // All that there is memory for is in use; and no network has this family.
        drop(connection);
        client.wait_idle().await;
        let session = tls::client(client_config(&PSKS), handshakes(), &mut Counting(1), None).unwrap();
        assert_eq!(client.connect(None, v6, session).err(), Some(Error::NoNetwork));
    });
}

#[test]
fn dhcp_that_never_answers_holds_up_nobody_else() {
    let mut world = World::new();
    let (ethernet, _) = world.ethernet(1, Config::dhcpv4(Default::default()));
    let (wifi, _) = world.stack(WIFI, true);
    let (server, _) = world.server(config());
    // The one without an address is preferred.
    let (client, networks) = world.client(&[ethernet, wifi], config());
    world.spawn(serve_files(server));
    let (one, other) = (world.session(), world.session());
    world.run(200, async {
        assert_eq!(client.wait_up(None).await, networks[1]);
        let never = with_timeout(Duration::from_secs(120), client.wait_up(Some(networks[0])));
        let work = async {
            let refused = client.connect(Some(networks[0]), server_address(), one);
            assert_eq!(refused.err(), Some(Error::NoNetwork));
            let connection = client.connect(None, server_address(), other).unwrap();
            let refused = connection.add_route(networks[0]).await;
            assert_eq!(refused, Err(Error::NoNetwork));
            for _ in 0..100 {
                let mut recv = ask(&connection, 1_000).await.unwrap();
                read_all(&mut recv, &Cell::new(0)).await.unwrap();
                Timer::after_secs(1).await;
            }
            assert_eq!(connection.network_of(&connection.route().unwrap()), Some(networks[1]));
        };
        assert!(join(never, work).await.0.is_err());
    });
}

#[test]
fn a_router_that_does_not_answer_holds_up_no_other_network() {
    let mut world = World::new();
    let mut dead_end = Config::default();
    dead_end.ipv4 = ConfigV4::Static(of(ETHERNET));
    // Its router is asked for its link address again and again; meanwhile nothing is sent there, and the ring is full.
    let (ethernet, _) = world.ethernet(1, dead_end);
    let (wifi, _) = world.stack(WIFI, true);
    let (server, _) = world.server(config());
    let (client, networks) = world.client(&[wifi, ethernet], config());
    world.spawn(serve_files(server));
    let (one, other) = (world.session(), world.session());
    world.run(60, async {
        client.wait_up(Some(networks[1])).await;
        let nowhere = client.connect(Some(networks[1]), server_address(), one).unwrap();
        assert_eq!(nowhere.wait_connected().await, Err(Error::Closed(End::HandshakeTimeout)));
        drop(nowhere);
        client.wait_idle().await;

        let connection = client.connect(None, server_address(), other).unwrap();
        connection.wait_confirmed().await.unwrap();
        connection.wait_spare_cid().await.unwrap();
        let route = connection.add_route(networks[1]).await.unwrap();
        let work = async {
            for _ in 0..20 {
                let began = Instant::now();
                let mut recv = ask(&connection, 1_000).await.unwrap();
                read_all(&mut recv, &Cell::new(0)).await.unwrap();
                // A round trip, and the patience with the other network.
                assert!(began.elapsed() <= Duration::from_millis(60), "{}", began.elapsed());
                Timer::after_millis(100).await;
            }
        };
        assert_eq!(join(connection.wait_route(route), work).await.0.err(), Some(Error::RouteGone));
    });
}

#[test]
fn a_source_of_randomness_that_fails_is_an_error_before_anything_is_sent() {
    struct Broken;
    impl Entropy for Broken {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }
    let handshakes = handshakes();
    for _ in 0..3 {
        let refused = tls::client::<tls::Compact>(client_config(&PSKS), handshakes, &mut Broken, None);
        assert_eq!(refused.err(), Some(Error::Entropy));
    }
    assert!(handshakes.take().is_some_and(|_one| handshakes.take().is_some()), "memory for two is there");
    assert!(tls::keys::<tls::Compact>(&mut Broken).is_err());
    let server = Box::leak(Box::new(ServerConfig::default()));
    assert!(tls::Listener::new(server, handshakes, &mut Broken).is_err());
    let error = Drbg::new(&mut Broken).map_err(Error::from);
    assert_eq!(error.err(), Some(Error::Entropy));
}

#[test]
fn a_full_ring_holds_the_writer_back_and_loses_nothing() {
    let mut scene = Scene::new([WIFI]);
    let server = scene.server;
    let is_read = Rc::new(Cell::new(false));
    let hash = Rc::new(Cell::new(None));
    let (gate, told) = (Rc::clone(&is_read), Rc::clone(&hash));
    scene.world.spawn(async move {
        let connection = server.accept().await;
        let mut recv = connection.accept_uni().await.unwrap();
        while !gate.get() {
            Timer::after_millis(10).await;
        }
        let (mut sum, mut room) = (Sha256::new(), [0; 999]);
        loop {
            match recv.read(&mut room).await.unwrap() {
                0 => break,
                len => sum.update(&room[..len]),
            }
        }
        told.set(Some(<[u8; 32]>::from(sum.finalize())));
        connection.closed().await;
    });
    scene.run(60, async |connection| {
        let mut send = connection.open_uni().await.unwrap();
        let file = file(50_000);
        let mut written = 0;
        while let Ok(sent) = with_timeout(Duration::from_secs(2), send.write(&file[written..])).await {
            written += sent.unwrap();
        }
        // Our ring of 4,096 and the window of the server.
        assert!((4096..=4096 + 4608).contains(&written), "{written}");
        is_read.set(true);
        send.write_all(&file[written..]).await.unwrap();
        send.finish().unwrap();
        send.delivered().await.unwrap();
        while hash.get().is_none() {
            Timer::after_millis(1).await;
        }
        assert_eq!(hash.get().unwrap()[..], Sha256::digest(&file)[..]);
    });
}

#[test]
fn memory_that_is_too_small_is_named() {
    let mut world = World::new();
    let (stack, _) = world.stack(WIFI, true);
    let client = world.endpoint(Resources::<tls::Client, Memory, 1, 1>::new(), EndpointConfig::default());
    assert_eq!(client.attach(stack, 0, 2).err(), Some(Error::TooManySockets));
    client.attach(stack, 0, 1).unwrap();
    assert_eq!(client.attach(stack, 0, 1).err(), Some(Error::TooManySockets));
    world.spawn(async move { client.run().await });
    let handshakes = Box::leak(Box::new(tls::HandshakeMemory::<64, 1>::new())).share();
    for _ in 0..3 {
        let config = client_config(&PSKS);
        let session = tls::client(config, handshakes, &mut world.entropy(), None).unwrap();
        let second = tls::client::<tls::Compact>(config, handshakes, &mut world.entropy(), None);
        assert_eq!(second.err(), Some(Error::TooManyHandshakes));
        world.run(10, async {
            client.wait_up(None).await;
            let error = client.connect(None, server_address(), session).err();
            let Some(Error::Start(why)) = error else { panic!("{error:?}") };
            // RFC 9846 6.2: internal_error.
            assert_eq!(why.code(), Code::crypto(80));
            // The memory of the connection came back each time, or this would say that there are too many.
        });
    }
}

#[test]
fn with_the_least_memory_all_is_slow_and_nothing_breaks() {
    // One stream of 64 bytes each way, 8 packets in flight, one route; two sockets, with rings for two datagrams.
    type Least = Storage<1, 1, 8, 64, 64, 0, 1>;
    let mut world = World::new();
    let (stack, _) = world.stack(WIFI, true);
    let (server, _) = world.server(config());
    let client = world
        .endpoint(Resources::<tls::Client, Least, 1, 2, 1200, 2400, 1200>::new(), EndpointConfig::default());
    let network = client.attach(stack, 0, 2).unwrap();
    world.spawn(async move { client.run().await });
    world.spawn(serve_files(server));
    let session = world.session();
    world.run(60, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), session).unwrap();
        for _ in 0..2 {
            let mut recv = ask(&connection, 5_000).await.unwrap();
            let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
            assert_eq!(hash[..], Sha256::digest(file(5_000))[..]);
        }
        let (_send, _recv) = connection.open_bi().await.unwrap();
        let second = with_timeout(Duration::from_secs(1), connection.open_bi()).await;
        assert!(second.is_err(), "there is a row for one stream");
        assert_eq!(connection.add_route(network).await, Err(Error::Route(RouteError::Full)));
    });
}

#[test]
fn connections_beyond_the_memory_are_refused_on_both_sides() {
    let mut world = World::new();
    let (wifi, _) = world.stack(WIFI, true);
    let (server, _) = world.server(config());
    let (client, _) = world.client(&[wifi], config());
    let (one, other) = (world.session(), world.session());
    let first = world.run(10, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), one).unwrap();
        connection.wait_connected().await.unwrap();
        assert_eq!(client.connect(None, server_address(), other).err(), Some(Error::TooManyConnections));
        connection
    });
    // The server has room for two, and this is the third.
    let mut others = Vec::new();
    for last in [2, 3] {
        let (stack, _) = world.stack(Ipv4Addr::new(10, 0, 3, last), true);
        let (client, _) = world.client(&[stack], config());
        let session = world.session();
        world.run(10, async {
            client.wait_up(None).await;
            let connection = client.connect(None, server_address(), session).unwrap();
            let refused = Err(Error::Closed(End::PeerError(Code::CONNECTION_REFUSED.0)));
            assert_eq!(connection.wait_connected().await, if last == 2 { Ok(()) } else { refused });
            others.push(connection);
        });
    }
    // The one that closes makes room, though nobody has accepted any.
    drop(first);
    let session = world.session();
    world.run(10, async {
        client.wait_idle().await;
        Timer::after_secs(2).await;
        let again = client.connect(None, server_address(), session).unwrap();
        again.wait_connected().await.unwrap();
        server.accept().await;
    });
}

#[test]
fn a_server_that_lets_nobody_in_says_why() {
    type New = Box<dyn FnMut(&Incoming) -> Option<tls::Server>>;
    type Check = fn(Option<Error>) -> bool;
    fn session(memory: tls::Handshakes) -> tls::Server {
        let random = Drbg::new(&mut Counting(1)).unwrap();
        let config = server_config(psk_server());
        tls::Server::new(config, tls::Compact::new(random), memory.take().unwrap(), None)
    }
    let without_room = || {
        let mut session = session(handshakes());
        drop(session.crypto_room());
        Some(session)
    };
    let too_small = || Some(session(Box::leak(Box::new(tls::HandshakeMemory::<8, 1>::new())).share()));
    let cases: [(New, Check); 3] = [
        (Box::new(|_| None), |why| why == Some(Error::NoSession)),
        (Box::new(move |_| without_room()), |why| why == Some(Error::NoCryptoRoom)),
        (Box::new(move |_| too_small()), |why| matches!(why, Some(Error::Start(_)))),
    ];
    for (new, is_why) in cases {
        let mut world = World::new();
        let (stack, _) = world.stack(SERVER, true);
        let server = world.server_of(stack, config(), new);
        let (stack, _) = world.stack(WIFI, true);
        let (client, _) = world.client(&[stack], config());
        let session = world.session();
        world.run(20, async {
            client.wait_up(None).await;
            let connection = client.connect(None, server_address(), session).unwrap();
            assert!(connection.wait_connected().await.is_err());
        });
        let refusals = server.refusals();
        assert!(refusals.count > 0 && is_why(refusals.last), "{refusals:?}");
    }
}

#[test]
fn a_client_with_memory_for_one_route_says_why_it_stays() {
    let mut world = World::new();
    let (wifi, wifi_nic) = world.stack(WIFI, true);
    let (ethernet, ethernet_nic) = world.stack(ETHERNET, true);
    let (server, _) = world.server(config());
    let resources = Resources::<tls::Client, Storage<1, 6, 64, 4608, 4096, 0, 1>, 1, 2>::new();
    let client = world.endpoint(resources, EndpointConfig::default());
    let [wifi, ethernet] = [wifi, ethernet].map(|stack| client.attach(stack, 0, 1).unwrap());
    world.spawn(async move { client.run().await });
    world.spawn(serve_files(server));
    let session = world.session();
    world.run(60, async {
        client.wait_up(Some(ethernet)).await;
        let connection = client.connect(Some(wifi), server_address(), session).unwrap();
        connection.wait_confirmed().await.unwrap();
        assert_eq!(connection.stranded(), None);
        wifi_nic.set_up(false);
        Timer::after_secs(1).await;
        assert_eq!(connection.stranded(), Some(Error::Route(RouteError::Full)));
        wifi_nic.set_up(true);
        let mut recv = ask(&connection, 1_000).await.unwrap();
        read_all(&mut recv, &Cell::new(0)).await.unwrap();
        assert_eq!(connection.stranded(), None);
        // Whether it could move is another question where there is nowhere to go.
        ethernet_nic.set_up(false);
        wifi_nic.set_up(false);
        assert_eq!(connection.closed().await, Cause::Idle);
    });
}

#[test]
fn a_wrong_key_is_an_alert() {
    static WRONG: [Psk<'static>; 1] =
        [Psk { identity: b"twin", key: b"another 16 bytes", hash: HashAlgorithm::Sha256 }];
    let mut world = World::new();
    let (stack, _) = world.stack(WIFI, true);
    let _server = world.server(config());
    let (client, _) = world.client(&[stack], config());
    let handshakes = Box::leak(Box::new(tls::HandshakeMemory::<2048, 1>::new())).share();
    let session = tls::client(client_config(&WRONG), handshakes, &mut world.entropy(), None).unwrap();
    world.run(20, async {
        client.wait_up(None).await;
        let connection = client.connect(None, server_address(), session).unwrap();
        let error = connection.wait_connected().await;
        // RFC 9846 6.2: decrypt_error.
        assert_eq!(error, Err(Error::Closed(End::PeerError(Code::crypto(51).0))));
        assert!(handshakes.take().is_some(), "the next try need not wait for the end of this connection");
    });
}

#[test]
fn the_end_and_its_codes_reach_those_who_wait() {
    let mut scene = Scene::new([WIFI]);
    let server = scene.server;
    scene.world.spawn(async move {
        let connection = server.accept().await;
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        send.write_all(b"x").await.unwrap();
        recv.stop(11);
        send.reset(12);
        let (_send, _recv) = connection.accept_bi().await.unwrap();
        connection.close(13, "good night");
        connection.closed().await;
    });
    scene.run(20, async |connection| {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(b"a").await.unwrap();
        let mut room = [0; 10];
        let error = loop {
            if let Err(error) = recv.read(&mut room).await {
                break error;
            }
        };
        assert_eq!(error, Error::Reset(12));
        let stopped = loop {
            if let Err(error) = send.write(&[0; 100]).await {
                break error;
            }
            Timer::after_millis(10).await;
        };
        assert_eq!(stopped, Error::Stopped(11));
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(b"b").await.unwrap();
        assert_eq!(recv.read(&mut room).await, Err(Error::Closed(End::Peer(13))));
        assert_eq!(End::from(&connection.closed().await), End::Peer(13));
        let Cause::Peer(close) = connection.cause().unwrap() else { panic!() };
        assert_eq!(close.phrase.as_str(), "good night");
    });
}

#[test]
fn more_tasks_than_rows_for_them_take_turns() {
    let mut world = World::new();
    world.may_spin = true;
    let (stack, _) = world.stack(WIFI, true);
    let (server, _) = world.server(config());
    let resources = Resources::<tls::Client, Memory, 1, 1, 2944, 2904, 1472, 2>::new();
    let client = world.endpoint(resources, EndpointConfig::default());
    client.attach(stack, 0, 1).unwrap();
    world.spawn(async move { client.run().await });
    world.spawn(serve_files(server));
    let session = world.session();
    let connection = world.run(10, async {
        client.wait_up(None).await;
        client.connect(None, server_address(), session).unwrap()
    });
    let done = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let (connection, done) = (connection.clone(), Rc::clone(&done));
        world.spawn(async move {
            let mut recv = ask(&connection, 10_000).await.unwrap();
            let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
            assert_eq!(hash[..], Sha256::digest(file(10_000))[..]);
            done.set(done.get() + 1);
        });
    }
    world.run(60, async {
        while done.get() < 3 {
            Timer::after_millis(1).await;
        }
    });
}

#[test]
fn networks_that_come_and_go_for_an_hour_leave_nothing_behind() {
    let mut scene = Scene::with_files([WIFI, ETHERNET]);
    let [wifi_nic, ethernet_nic] = scene.nics.clone();
    scene.run(3700, async |connection| {
        connection.wait_confirmed().await.unwrap();
        for turn in 0..360 {
            let (gone, other) =
                if turn % 2 == 0 { (&wifi_nic, &ethernet_nic) } else { (&ethernet_nic, &wifi_nic) };
            other.set_up(true);
            Timer::after_millis(100).await;
            gone.set_up(false);
            let mut recv = ask(&connection, 3_000).await.unwrap();
            let hash = read_all(&mut recv, &Cell::new(0)).await.unwrap();
            assert_eq!(hash[..], Sha256::digest(file(3_000))[..], "turn {turn}");
            Timer::after_millis(9_900).await;
        }
        assert!(connection.routes().len() <= 3);
    });
}

/// Counts up: good enough where nobody looks.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for byte in out {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}
