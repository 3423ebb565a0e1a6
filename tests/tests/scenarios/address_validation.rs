//! Retry and tokens: a server that wants proof of the client's address (RFC 9000 8.1).

use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::endpoint::RetryPolicy;
use peregrine_core::error::{Code, Why};
use peregrine_core::ids::{Dir, Ecn, FourTuple};
use peregrine_core::lifecycle::{Cause, Reason};
use peregrine_core::time::Instant;
use peregrine_core::wire::header::{FixedBit, Header, PacketType};
use peregrine_tests::pair::{CLIENT, Pair, SERVER, open};
use peregrine_tests::puppet::{Bout, PUPPET, Puppet};
use peregrine_tests::quic::{App, QuicNode, Setup};
use peregrine_tests::sim::{Link, Node as _};

fn link() -> Link {
    Link::mbit(20).delay_ms(20)
}

fn always(setup: &mut Setup) {
    setup.endpoint.retry = RetryPolicy::Always;
}

fn refused_with(cause: Option<Cause>) -> Option<Code> {
    match cause {
        Some(Cause::Peer(close)) => match close.reason {
            Reason::Transport { code, .. } => Some(code),
            Reason::Application { .. } => None,
        },
        _ => None,
    }
}

#[test]
fn a_retry_costs_one_round_trip_and_proves_the_address() {
    for hello in [280, 2_000] {
        let mut pair = Pair::new(link(), |client, server| {
            client.session.flights.client_hello = hello;
            // The address is proved: the whole flight goes out at once, whatever three times the Initial is.
            server.session.flights.server_flight = 8_192;
            always(server);
        });
        pair.connect(&[]);
        pair.until("connected", |pair| pair.told_client(Event::Connected));
        let millis = pair.world.now().as_micros() / 1000;
        assert!((80..100).contains(&millis), "two round trips of 40 ms: {millis} ms");
        assert_eq!(pair.server_node().endpoint.stats().retries, hello.div_ceil(1_100) as u64);
        assert_eq!(pair.server_node().endpoint.stats().accepted, 1);
        let id = pair.client(|connection, _| open(connection, Dir::Bi));
        pair.carry(true, id, 5_000);
    }
}

#[test]
fn retries_survive_a_bad_link() {
    for seed in 0..60 {
        let link = || link().loss(0.25).duplicate(0.2).reorder(0.2, Duration::from_millis(30));
        let mut pair = Pair::seeded(seed, [link(), link()], |_, server| {
            always(server);
            server.endpoint.retry_lifetime = Duration::from_secs(60);
        });
        pair.connect(&[]);
        pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
    }
}

/// The token and the connection IDs of a Retry, taken from the wire.
struct Taken {
    token: Vec<u8>,
    scid: Vec<u8>,
}

/// What a server sends to a client whose first datagram comes from `from`.
fn first_reply(server: &mut QuicNode, now: Instant, from: &str, datagram: &[u8]) -> Option<Vec<u8>> {
    let on = FourTuple { local: SERVER.parse().unwrap(), remote: from.parse().unwrap(), interface: 1 };
    server.handle_datagram(now, on, Ecn::NotEct, &mut datagram.to_vec());
    let mut out = vec![0; 2_000];
    let transmit = server.poll_transmit(now, &mut out)?;
    assert_eq!(transmit.four_tuple.remote, on.remote);
    Some(out[..transmit.len].to_vec())
}

fn taken(datagram: &[u8]) -> Taken {
    let header = Header::parse(datagram, 0, 8, FixedBit::Ignored).unwrap();
    assert_eq!(header.packet, PacketType::Retry);
    Taken {
        token: datagram[header.pn_offset..datagram.len() - 16].to_vec(),
        scid: header.scid.as_slice().to_vec(),
    }
}

/// A puppet that has a Retry of this server, received at its address, and has not answered it.
fn retried(tune: impl FnOnce(&mut Setup)) -> (Bout, Taken) {
    let mut setup = Setup::server(5);
    always(&mut setup);
    tune(&mut setup);
    let mut bout = Bout::new(setup, Puppet::client(1));
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    let hello = bout.puppet.crypto(peregrine_core::session::Level::Initial).unwrap();
    let datagram = bout.puppet.datagram(peregrine_core::session::Level::Initial, &hello);
    bout.deliver(&datagram);
    let taken = taken(&bout.unheard.remove(0));
    (bout, taken)
}

/// Answers a Retry: the puppet's hello again, with this token to that connection ID.
fn answer(bout: &mut Bout, token: &[u8], dcid: &[u8]) {
    use peregrine_core::session::{Level, Session as _};
    use peregrine_core::wire::{Cid, version::V1};
    let mut again = Puppet::client(1);
    let params = bout.puppet.params();
    again.start(&params);
    again.token = token.to_vec();
    again.dcid = Cid::new(dcid).unwrap();
    again.session.set_initial_keys(V1, dcid);
    again.next_pn = [1; 4];
    let hello = again.crypto(Level::Initial).unwrap();
    let datagram = again.datagram(Level::Initial, &hello);
    bout.puppet = again;
    bout.deliver(&datagram);
    bout.hear();
}

#[test]
fn a_token_lets_in_whom_it_was_given_to() {
    let (mut bout, retry) = retried(|_| {});
    answer(&mut bout, &retry.token, &retry.scid);
    assert_eq!(bout.node.accepted.len(), 1);
    bout.shake_hands();
    assert!(bout.connection().is_established());
}

/// What a token of a Retry does not fit is answered with INVALID_TOKEN; what is no token of ours, with another Retry (RFC
/// 9000 8.1.2, 8.1.3).
#[test]
fn tokens_that_prove_nothing() {
    let (mut bout, retry) = retried(|_| {});
    let mut wrong = retry.token.clone();
    wrong[3] ^= 1;
    answer(&mut bout, &wrong, &retry.scid);
    assert_eq!((bout.node.accepted.len(), bout.node.endpoint.stats().retries), (0, 2));

    let (mut bout, retry) = retried(|_| {});
    answer(&mut bout, &retry.token, b"other-cid");
    assert_eq!(bout.puppet.close().unwrap().code, Code::INVALID_TOKEN);

    let (mut bout, retry) = retried(|setup| setup.endpoint.retry_lifetime = Duration::from_secs(5));
    bout.now = bout.now.after(Duration::from_secs(5));
    answer(&mut bout, &retry.token, &retry.scid);
    assert_eq!(bout.node.accepted.len(), 1, "just in time");

    let (mut bout, retry) = retried(|setup| setup.endpoint.retry_lifetime = Duration::from_secs(5));
    bout.now = bout.now.after(Duration::from_millis(5_001));
    answer(&mut bout, &retry.token, &retry.scid);
    assert_eq!(bout.puppet.close().unwrap().code, Code::INVALID_TOKEN);
    assert!(bout.node.accepted.is_empty() && bout.node.endpoint.is_empty());
}

#[test]
fn a_token_for_another_address_or_port_is_invalid() {
    for moved in ["198.51.100.8:5555", "198.51.100.7:5556"] {
        assert_ne!(moved, PUPPET);
        let (mut bout, retry) = retried(|_| {});
        let mut again = Puppet::client(1);
        let params = again.params();
        again.start(&params);
        again.token = retry.token.clone();
        again.dcid = peregrine_core::wire::Cid::new(&retry.scid).unwrap();
        use peregrine_core::session::{Level, Session as _};
        again.session.set_initial_keys(1, &retry.scid);
        let hello = again.crypto(Level::Initial).unwrap();
        let datagram = again.datagram(Level::Initial, &hello);
        let now = bout.now;
        let reply = first_reply(&mut bout.node, now, moved, &datagram).unwrap();
        assert!(reply.len() < datagram.len());
        again.hear(&reply);
        assert_eq!(again.close().unwrap().code, Code::INVALID_TOKEN, "{moved}");
    }
}

/// Only the first Retry counts, and none after a packet of the server (RFC 9000 17.2.5.2); one whose tag is wrong, or that
/// has no token, is as if it had not come.
#[test]
fn a_client_follows_one_genuine_retry() {
    let mut pair = Pair::new(link(), |_, server| always(server));
    pair.world.attack(|_, datagram| {
        let is_retry = Header::parse(&datagram.payload, 0, 8, FixedBit::Ignored)
            .is_ok_and(|header| header.packet == PacketType::Retry);
        if !is_retry {
            return vec![(Duration::ZERO, datagram)];
        }
        let mut forged = datagram.clone();
        *forged.payload.last_mut().unwrap() ^= 1;
        // A forged one first, then the genuine one, twice; and one more much later.
        [(0, forged), (1, datagram.clone()), (2, datagram.clone()), (200, datagram)]
            .map(|(later, datagram)| (Duration::from_millis(later), datagram))
            .into()
    });
    pair.connect(&[]);
    pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
    pair.run_ms(300);
    let discarded = pair.client(|connection, _| connection.stats().discarded);
    assert_eq!(discarded.count(Why::Unexpected), 3);
    assert!(pair.client(|connection, _| connection.is_established()));
}

#[test]
fn a_token_of_a_connection_opens_the_next_one() {
    let mut pair = Pair::new(link(), |_, server| {
        server.session.flights.server_flight = 8_192;
        always(server);
    })
    .connected();
    pair.until("a token", |pair| pair.told_client(Event::Token));
    let token = pair.client(|connection, _| connection.token().unwrap().to_vec());
    assert_eq!(pair.server_node().endpoint.stats().retries, 1);
    pair.client(|connection, now| connection.close(now, 0, "done"));
    pair.run_ms(5_000);
    let begun = pair.world.now();
    pair.connect(&token);
    pair.until("connected again", |pair| {
        pair.client_node().events.iter().filter(|(_, _, event)| *event == Event::Connected).count() == 2
    });
    assert_eq!(pair.server_node().endpoint.stats().retries, 1, "the token is proof enough");
    let millis = pair.world.now().since(begun).as_millis();
    assert!((40..50).contains(&millis), "one round trip, not limited to three times: {millis} ms");
}

/// A token that is of no use any more is as if there were none (RFC 9000 8.1.3).
#[test]
fn a_token_too_old_or_from_elsewhere_is_as_if_absent() {
    let mut pair = Pair::new(link(), |_, server| {
        always(server);
        server.endpoint.token_lifetime = Duration::from_secs(3600);
    })
    .connected();
    pair.until("a token", |pair| pair.told_client(Event::Token));
    let token = pair.client(|connection, _| connection.token().unwrap().to_vec());
    pair.client(|connection, now| connection.close(now, 0, "done"));
    for (wait_s, address, retries) in [(10, CLIENT, 1), (10, "10.0.0.77", 2), (3600, CLIENT, 3)] {
        pair.run_ms(wait_s * 1000);
        pair.world.interface(pair.client, 0).set_address(address);
        pair.connect(&token);
        let before = pair.world.now();
        pair.until("connected", |pair| {
            pair.client_node().events.iter().any(|(at, _, event)| *at > before && *event == Event::Connected)
        });
        assert_eq!(pair.server_node().endpoint.stats().retries, retries, "{wait_s} {address}");
        pair.client(|connection, now| connection.close(now, 0, "done"));
    }
}

/// A server that cannot be reached with a Retry's token, since it wants a new one every time, is given up in the end.
#[test]
fn a_server_that_only_ever_retries() {
    let mut pair = Pair::new(link(), |_, server| {
        always(server);
        server.endpoint.retry_lifetime = Duration::ZERO;
        server.app = App::None;
    });
    pair.connect(&[]);
    pair.until("told", |pair| pair.client_cause().is_some());
    assert_eq!(refused_with(pair.client_cause()), Some(Code::INVALID_TOKEN));
}
