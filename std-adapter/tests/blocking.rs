//! The blocking interface over loopback: sizes from nothing to 100 MiB, several threads, ends of every kind.

use std::io::{ErrorKind, Read, Write};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::endpoint::RetryPolicy;
use peregrine_core::lifecycle::Cause;
use peregrine_std::pattern::Pattern;
use peregrine_std::{Endpoint, Error, Sizes};

mod common;
use common::{ALPN, NAME, PATIENCE, Pair, drain, fetch, loopback, serve};

#[test]
fn every_size_arrives_whole() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    assert_eq!(client.agreed().alpn.as_deref(), Some(ALPN[0]));
    assert_eq!(client.agreed().suite, Some("TLS_AES_128_GCM_SHA256"));
    assert_eq!(server.agreed().server_name.as_deref(), Some(NAME));
    let serving = thread::spawn(move || serve(&server));
    for len in [0, 1, 1199, 65_537, 1 << 20, 100 << 20] {
        fetch(&client, len);
    }
    client.close(7, "done");
    serving.join().unwrap();
}

#[test]
fn a_hundred_streams_from_a_hundred_threads() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let serving = thread::spawn(move || serve(&server));
    thread::scope(|scope| {
        for len in 0..100 {
            let client = client.clone();
            scope.spawn(move || fetch(&client, len * 1000));
        }
    });
    client.close(0, "");
    serving.join().unwrap();
}

#[test]
fn both_sides_send_at_once_one_way() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    const LEN: u64 = 5 << 20;
    thread::scope(|scope| {
        for (one, other) in [(&client, &server), (&server, &client)] {
            scope.spawn(move || {
                let mut send = one.open_uni().unwrap();
                std::io::copy(&mut Pattern::new(LEN), &mut send).unwrap();
                send.finish().unwrap();
                send.delivered().unwrap();
            });
            scope.spawn(move || assert_eq!(drain(&mut other.accept_uni().unwrap()), LEN));
        }
    });
}

#[test]
fn little_memory_is_enough() {
    let pair = Pair::with(|builder| builder.sizes(Sizes { receive: 1000, send: 1000, ..Sizes::SMALL }));
    let (client, server) = pair.connect();
    let serving = thread::spawn(move || serve(&server));
    fetch(&client, 200_000);
    client.close(0, "");
    serving.join().unwrap();
}

#[test]
fn resets_and_stops_carry_their_codes() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let (mut send, mut recv) = client.open_bi().unwrap();
    send.write_all(b"x").unwrap();
    let (mut answer, mut request) = server.accept_bi().unwrap();
    answer.write_all(b"some").unwrap();
    request.stop(41);
    answer.reset(42);
    let mut out = [0; 100];
    let reset = loop {
        match recv.recv(&mut out) {
            Ok(0) => panic!("a reset is no end"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(reset, Error::Reset(42)), "{reset}");
    let stopped = loop {
        match send.write_all(&[0; 1000]) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(stopped.kind(), ErrorKind::BrokenPipe);
    assert!(stopped.to_string().contains("0x29"), "{stopped}");
}

#[test]
fn a_stream_dropped_half_way_is_no_whole() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let (mut send, recv) = client.open_bi().unwrap();
    send.write_all(b"half").unwrap();
    drop(send);
    drop(recv);
    let (mut answer, mut request) = server.accept_bi().unwrap();
    request.set_read_timeout(PATIENCE);
    answer.set_write_timeout(PATIENCE);
    let mut all = Vec::new();
    assert_eq!(request.read_to_end(&mut all).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let stopped = loop {
        match answer.send(&[0; 1000]) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(stopped, Error::Stopped(0)), "{stopped}");
}

#[test]
fn waits_end_in_time() {
    let pair = Pair::with(|builder| builder.sizes(Sizes { receive: 1000, send: 1000, ..Sizes::SMALL }));
    let (client, _server) = pair.connect();
    let (mut send, mut recv) = client.open_bi().unwrap();
    recv.set_read_timeout(Some(Duration::from_millis(20)));
    assert!(matches!(recv.recv(&mut [0; 9]), Err(Error::TimedOut)));
    send.set_write_timeout(Some(Duration::from_millis(20)));
    let error = send.write_all(&[0; 10_000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let nobody = pair.server.accept_within(Some(Duration::from_millis(20)));
    assert!(matches!(nobody, Err(Error::TimedOut)));
}

#[test]
fn a_close_is_heard_with_its_code_and_words_and_ends_every_wait() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let about_to_wait = Barrier::new(3);
    thread::scope(|scope| {
        scope.spawn(|| {
            about_to_wait.wait();
            assert!(matches!(server.accept_bi(), Err(Error::Closed(_))));
        });
        scope.spawn(|| {
            about_to_wait.wait();
            assert!(server.recv_datagram(&mut [0; 9], None).is_err());
        });
        about_to_wait.wait();
        client.close(99, "enough");
    });
    let closed = server.closed();
    assert_eq!((closed.application_code(), closed.by_peer()), (Some(99), true));
    assert_eq!(closed.to_string(), "the peer closed the connection (application error 0x63): enough");
    assert_eq!(client.closed().application_code(), Some(99));
    assert!(matches!(client.open_bi(), Err(Error::Closed(_))));
    assert!(server.close_reason().is_some());
}

#[test]
fn dropping_the_last_handle_closes() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let another = client.clone();
    drop(client);
    another.ping().unwrap();
    assert!(server.close_reason().is_none());
    drop(another);
    assert_eq!(server.closed().application_code(), Some(0));
}

#[test]
fn datagrams_go_both_ways() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let longest = vec![7; client.max_datagram_len().unwrap()];
    let mut out = [0; 2000];
    for (one, other) in [(&client, &server), (&server, &client)] {
        one.send_datagram(&longest[..1000]).unwrap();
        assert_eq!(other.recv_datagram(&mut out, PATIENCE).unwrap(), 1000);
        assert!(out[..1000].iter().all(|byte| *byte == 7));
    }
    assert!(matches!(client.send_datagram(&[0; 3000]), Err(Error::DatagramTooLarge)));
    let nothing = client.recv_datagram(&mut out, Some(Duration::from_millis(10)));
    assert!(matches!(nothing, Err(Error::TimedOut)));
}

#[test]
fn keys_are_updated_and_exported_alike() {
    let (told, events) = std::sync::mpsc::channel();
    let pair = Pair::with(|builder| {
        let told = told.clone();
        builder.observe(move |seen| told.send(seen.event).unwrap_or_default())
    });
    let (client, server) = pair.connect();
    let (mut one, mut other) = ([0; 32], [0; 32]);
    client.export_keys(b"label", b"context", &mut one).unwrap();
    server.export_keys(b"label", b"context", &mut other).unwrap();
    assert_eq!(one, other);
    assert_ne!(one, [0; 32]);
    let serving = thread::spawn(move || serve(&server));
    for nth in 1..=3 {
        client.update_keys().unwrap();
        // Three probe timeouts must lie between two updates (RFC 9001 6.5); what is sent meanwhile makes the time pass.
        while client.stats().unwrap().key_updates < nth {
            fetch(&client, 100_000);
        }
    }
    fetch(&client, 1);
    client.close(0, "");
    serving.join().unwrap();
    let updates = events.try_iter().filter(|event| matches!(event, Event::KeysUpdated(_))).count();
    assert_eq!(updates, 6, "three on each side");
}

#[test]
fn every_client_proves_its_address_where_that_is_asked() {
    let pair = Pair::with(|builder| builder.retry(RetryPolicy::Always));
    let (_client, _server) = pair.connect();
    assert_eq!(pair.server.stats().retries, 1);
    assert_eq!(pair.server.stats().accepted, 1);
}

#[test]
fn a_full_endpoint_turns_clients_away_and_serves_on() {
    let pair = Pair::with(|builder| builder.connections(2));
    let (client, server) = pair.connect();
    let (_second, _served) = pair.connect();
    let third = Endpoint::builder();
    let (_, trust) = common::server_tls();
    let tls = peregrine_std::tls::ClientTls::new(trust, ALPN);
    let third = third.client(common::client_sessions(tls, common::Tls::Ours)).bind().unwrap();
    let Err(Error::Closed(closed)) = third.connect(pair.address, NAME) else { panic!("let in") };
    assert!(closed.to_string().contains("takes no connection now"), "{closed}");
    let serving = thread::spawn(move || serve(&server));
    fetch(&client, 100_000);
    client.close(0, "");
    serving.join().unwrap();
}

#[test]
fn a_silent_address_is_given_up_in_time() {
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let pair =
        Pair::with(|builder| builder.tune(|config| config.handshake_timeout = Duration::from_millis(300)));
    let Err(Error::Closed(closed)) = pair.client.connect(silent.local_addr().unwrap(), NAME) else {
        panic!("connected to nobody")
    };
    assert_eq!(closed.cause, Cause::HandshakeTimeout);
    assert!(closed.to_string().starts_with("no answer"), "{closed}");
}

#[test]
fn an_idle_connection_ends_unless_it_is_kept_alive() {
    let idle = Duration::from_millis(300);
    let pair = Pair::with(|builder| builder.tune(|config| config.max_idle_timeout = idle));
    let (client, server) = pair.connect();
    assert_eq!(client.closed().cause, Cause::Idle);
    assert_eq!(server.closed().cause, Cause::Idle);
    let pair = Pair::with(|builder| {
        builder.tune(|config| {
            config.max_idle_timeout = idle;
            config.keep_alive = Some(idle / 4);
        })
    });
    let (client, _server) = pair.connect();
    let nothing = client.recv_datagram(&mut [0; 9], Some(idle * 3));
    assert!(matches!(nothing, Err(Error::TimedOut)), "{nothing:?}");
}

#[test]
fn one_endpoint_on_several_addresses_of_both_families() {
    let (tls, trust) = common::server_tls();
    let sessions = common::server_sessions(tls, common::Tls::Ours);
    let server = Endpoint::builder()
        .listen(loopback())
        .listen(loopback())
        .listen("[::1]:0".parse().unwrap())
        .server(move |_| Ok(sessions()))
        .bind()
        .unwrap();
    let tls = peregrine_std::tls::ClientTls::new(trust, ALPN);
    let client = Endpoint::builder().client(common::client_sessions(tls, common::Tls::Ours)).bind().unwrap();
    for address in server.local_addrs() {
        let connection = client.connect(*address, NAME).unwrap();
        let served = server.accept_within(PATIENCE).unwrap();
        let serving = thread::spawn(move || serve(&served));
        fetch(&connection, 10_000);
        assert_eq!(connection.remote().unwrap(), *address);
        connection.close(0, "");
        serving.join().unwrap();
    }
}

#[test]
fn a_shut_endpoint_ends_waits_and_takes_nobody() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let about_to_wait = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            about_to_wait.wait();
            assert!(matches!(pair.server.accept(), Err(Error::Shutdown)));
        });
        about_to_wait.wait();
        pair.server.shut();
    });
    // Connections that are there go on.
    let serving = thread::spawn(move || serve(&server));
    fetch(&client, 10_000);
    pair.server.close(5, "going");
    assert_eq!(client.closed().application_code(), Some(5));
    serving.join().unwrap();
}
