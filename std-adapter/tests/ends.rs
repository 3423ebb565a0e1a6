//! What is left when a connection is over, or an endpoint.

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use peregrine_core::connection::Event;
use peregrine_core::stream::StreamEvent;
use peregrine_std::pattern::Pattern;
use peregrine_std::{Connection, Endpoint, Error, SendStream};

mod common;
use common::{ALPN, NAME, PATIENCE, Pair, Tls, drain, loopback};

const LEN: u64 = 100_000;

/// A pair for so many connections, and what happens to each of them.
fn watched(connections: usize) -> (Pair, Receiver<Event>) {
    let (told, events) = channel();
    let pair = Pair::with(|builder| {
        let told = told.clone();
        builder.connections(connections).observe(move |seen| told.send(seen.event).unwrap_or_default())
    });
    (pair, events)
}

fn send(connection: &Connection) -> SendStream {
    let mut stream = connection.open_uni().unwrap();
    std::io::copy(&mut Pattern::new(LEN), &mut stream).unwrap();
    stream.finish().unwrap();
    stream
}

fn wait(events: &Receiver<Event>, is_it: impl Fn(&Event) -> bool) {
    while !is_it(&events.recv_timeout(PATIENCE.unwrap()).unwrap()) {}
}

/// Waits until core knows neither end of a connection any more.
fn wait_until_gone(events: &Receiver<Event>) {
    for _ in 0..2 {
        wait(events, |event| *event == Event::Drained);
    }
}

#[test]
fn what_has_arrived_is_read_long_after_the_end() {
    let (pair, events) = watched(8);
    let (client, server) = pair.connect();
    let mut stream = send(&server);
    stream.delivered().unwrap();
    let mut read = client.accept_uni().unwrap();
    server.close(3, "");
    wait_until_gone(&events);
    assert_eq!(drain(&mut read), LEN);
    assert_eq!(client.closed().application_code(), Some(3));
    assert!(client.stats().is_ok() && client.accept_uni().is_err());
}

#[test]
fn what_was_delivered_is_known_long_after_the_end() {
    let (pair, events) = watched(8);
    let (client, server) = pair.connect();
    let mut stream = send(&server);
    assert_eq!(drain(&mut client.accept_uni().unwrap()), LEN);
    wait(&events, |event| matches!(event, Event::Stream(StreamEvent::Finished(_))));
    client.close(0, "");
    wait_until_gone(&events);
    stream.delivered().unwrap();
    assert!(matches!(stream.send(b"more"), Err(Error::Closed(_))));
}

#[test]
fn a_client_that_is_gone_before_it_is_accepted_leaves_what_it_sent() {
    let (pair, events) = watched(8);
    let client = pair.client.connect(pair.address, NAME).unwrap();
    send(&client).delivered().unwrap();
    client.close(0, "");
    wait_until_gone(&events);
    let server = pair.server.accept_within(PATIENCE).unwrap();
    assert_eq!(drain(&mut server.accept_uni().unwrap()), LEN);
}

/// Nothing is kept for nobody: the slots of an endpoint are all that it may hold beside those in use.
#[test]
fn of_many_that_nobody_accepts_some_are_kept() {
    let (pair, events) = watched(2);
    for _ in 0..5 {
        let client = pair.client.connect(pair.address, NAME).unwrap();
        send(&client).delivered().unwrap();
        client.close(0, "");
        wait_until_gone(&events);
    }
    let accepted: Vec<_> = (0..5).map(|_| pair.server.accept_within(PATIENCE).unwrap()).collect();
    let whole = accepted
        .iter()
        .filter(|server| server.accept_uni().is_ok_and(|mut stream| drain(&mut stream) == LEN));
    assert_eq!(whole.count(), 2);
}

#[test]
fn a_factory_that_panics_ends_the_endpoint_and_says_so() {
    let (tls, trust) = common::server_tls();
    let sessions = common::server_sessions(tls, Tls::Ours);
    let mut served = 0;
    let server = Endpoint::builder()
        .listen(loopback())
        .server(move |_| {
            served += 1;
            assert!(served < 2, "a second client");
            Ok(sessions())
        })
        .bind()
        .unwrap();
    let address = server.local_addrs()[0];
    let tls = peregrine_std::tls::ClientTls::new(trust, ALPN);
    let client = Endpoint::builder().client(common::client_sessions(tls, Tls::Ours)).bind().unwrap();
    let first = client.connect(address, NAME).unwrap();
    let held = server.accept_within(PATIENCE).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| client.connect(address, NAME).unwrap_err());
        assert!(matches!(server.accept_within(PATIENCE), Err(Error::Shutdown)));
        assert!(held.closed().to_string().contains("panicked"), "{}", held.closed());
        assert!(matches!(held.open_uni(), Err(Error::Closed(_))));
        first.close(0, "");
        client.close(0, "");
    });
}

/// The largest code that a variable-length integer holds stands for those above (RFC 9000 16).
#[test]
fn codes_too_large_for_the_wire_are_told_as_the_largest() {
    const LARGEST: u64 = (1 << 62) - 1;
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let (mut send, mut recv) = client.open_bi().unwrap();
    send.send(b"hello").unwrap();
    send.reset(LARGEST + 1);
    recv.stop(u64::MAX);
    let (mut answer, mut request) = server.accept_bi().unwrap();
    let reset = loop {
        if let Err(error) = request.recv(&mut [0; 9]) {
            break error;
        }
    };
    assert!(matches!(reset, Error::Reset(LARGEST)), "{reset}");
    assert!(matches!(answer.delivered(), Err(Error::Stopped(LARGEST))));
    client.close(u64::MAX, "");
    assert_eq!(server.closed().application_code(), Some(LARGEST));
}

#[test]
fn who_asks_for_delivery_has_finished() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let mut send = client.open_uni().unwrap();
    std::io::copy(&mut Pattern::new(LEN), &mut send).unwrap();
    let reading = thread::spawn(move || drain(&mut server.accept_uni().unwrap()));
    send.delivered().unwrap();
    assert_eq!(reading.join().unwrap(), LEN);
}
