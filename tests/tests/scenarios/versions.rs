//! Version Negotiation, both roles (RFC 9000 6).

use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::error::Why;
use peregrine_core::ids::{Ecn, FourTuple};
use peregrine_core::lifecycle::Cause;
use peregrine_core::time::Instant;
use peregrine_core::wire::Writer;
use peregrine_core::wire::header::{FixedBit, Header, Invariants, PacketType};
use peregrine_core::wire::version::{self, V1, Versions};
use peregrine_tests::pair::{Pair, SERVER};
use peregrine_tests::quic::{QuicNode, Setup};
use peregrine_tests::sim::{Datagram, Link, Node as _};

fn link() -> Link {
    Link::mbit(20).delay_ms(20)
}

/// A packet of some version, as any future version looks (RFC 8999 5.1).
fn packet_of(version: u32, dcid: &[u8], scid: &[u8], len: usize) -> Vec<u8> {
    let mut packet = vec![0x80 | 0x35];
    packet.extend(version.to_be_bytes());
    for cid in [dcid, scid] {
        packet.push(cid.len() as u8);
        packet.extend(cid);
    }
    packet.resize(len, 0xa5);
    packet
}

/// A Version Negotiation packet that lists these versions.
fn negotiation(dcid: &[u8], scid: &[u8], versions: &[u32]) -> Vec<u8> {
    let mut packet = packet_of(0, dcid, scid, 7 + dcid.len() + scid.len());
    packet.extend(versions.iter().flat_map(|version| version.to_be_bytes()));
    packet
}

fn answer(node: &mut QuicNode, datagram: &[u8]) -> Option<Vec<u8>> {
    let on =
        FourTuple { local: SERVER.parse().unwrap(), remote: "10.0.0.2:9".parse().unwrap(), interface: 1 };
    node.handle_datagram(Instant::ZERO, on, Ecn::NotEct, &mut datagram.to_vec());
    let mut out = vec![0; 2_000];
    node.poll_transmit(Instant::ZERO, &mut out).map(|transmit| out[..transmit.len].to_vec())
}

#[test]
fn a_server_answers_an_unknown_version_with_those_it_speaks() {
    let mut server = QuicNode::new(Setup::server(1));
    for (dcid, scid) in [(&[1; 8][..], &[2; 5][..]), (&[3; 20], &[]), (&[4; 255], &[5; 255])] {
        let trigger = packet_of(0x6b33_43cf, dcid, scid, 1_200);
        let reply = answer(&mut server, &trigger).expect("an answer");
        assert!(reply.len() < trigger.len());
        let Ok(Invariants::Long { version: 0, dcid: to, scid: from }) = Invariants::parse(&reply) else {
            panic!("not Version Negotiation");
        };
        assert_eq!((&reply[to], &reply[from.clone()]), (scid, dcid), "the client's IDs, the other way round");
        let versions: Vec<u32> =
            reply[from.end..].chunks(4).map(|four| u32::from_be_bytes(four.try_into().unwrap())).collect();
        assert!(versions.contains(&V1));
        assert!(versions.iter().any(|version| version & 0x0f0f_0f0f == 0x0a0a_0a0a), "one is reserved");
    }
    assert_eq!(server.endpoint.stats().negotiations, 3);
    assert!(server.accepted.is_empty() && server.endpoint.is_empty());
}

/// What might make two servers answer each other, or a small datagram a large one, is not answered.
#[test]
fn a_server_is_silent_where_an_answer_would_do_harm() {
    let mut server = QuicNode::new(Setup::server(1));
    assert_eq!(answer(&mut server, &packet_of(0x6b33_43cf, &[1; 8], &[2; 8], 1_199)), None);
    assert_eq!(answer(&mut server, &negotiation(&[1; 8], &[2; 8], &[7; 400])), None);
    assert_eq!(server.endpoint.stats().ignored, 2);
}

#[test]
fn a_client_gives_up_when_the_server_speaks_other_versions() {
    let mut pair = Pair::new(link(), |_, _| {});
    reply_with(&mut pair, 1, |datagram| {
        let header = Header::parse(&datagram.payload, 0, 8, FixedBit::Ignored).unwrap();
        negotiation(header.scid.as_slice(), header.dcid.as_slice(), &[0x0a0a_0a0a, 0x6b33_43cf])
    });
    pair.connect(&[]);
    pair.until("given up", |pair| pair.told_client(Event::Drained));
    let Some(Cause::Version(offered)) = pair.client_cause() else { panic!("{:?}", pair.client_cause()) };
    assert_eq!(offered.as_slice(), [0x6b33_43cf], "what is reserved is no offer");
    assert!(pair.world.now().as_micros() < 50_000, "at once");
    assert!(pair.client_node().endpoint.is_empty());
}

/// Lets the first `times` datagrams to the server be answered in its place; what the server says is dropped meanwhile.
fn reply_with(pair: &mut Pair, times: usize, reply: impl Fn(&Datagram) -> Vec<u8> + 'static) {
    let mut left = times;
    pair.world.attack(move |_, datagram| {
        let to_server = datagram.destination == SERVER.parse().unwrap();
        if !to_server || left == 0 {
            return vec![(Duration::ZERO, datagram)];
        }
        left -= 1;
        let payload = reply(&datagram);
        let forged = Datagram {
            source: datagram.destination,
            destination: datagram.source,
            payload,
            ..datagram.clone()
        };
        vec![(Duration::ZERO, forged), (Duration::from_millis(5), datagram)]
    });
}

/// Version Negotiation that lists our version, or does not echo our connection IDs, was not meant seriously (RFC 9000 6.2).
#[test]
fn a_client_ignores_negotiation_that_cannot_be_true() {
    let forgeries: [fn(&Header) -> Vec<u8>; 5] = [
        |header| negotiation(header.scid.as_slice(), header.dcid.as_slice(), &[0x6b33_43cf, V1]),
        |header| negotiation(header.scid.as_slice(), b"not-the-dcid", &[0x6b33_43cf]),
        |header| negotiation(b"notscid!", header.dcid.as_slice(), &[0x6b33_43cf]),
        |header| negotiation(header.scid.as_slice(), header.dcid.as_slice(), &[]),
        |header| {
            let mut cut = negotiation(header.scid.as_slice(), header.dcid.as_slice(), &[0x6b33_43cf]);
            cut.pop();
            cut
        },
    ];
    for (nth, forge) in forgeries.into_iter().enumerate() {
        let mut pair = Pair::new(link(), |_, _| {});
        reply_with(&mut pair, 1, move |datagram| {
            forge(&Header::parse(&datagram.payload, 0, 8, FixedBit::Ignored).unwrap())
        });
        pair.connect(&[]);
        pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
        assert_eq!(pair.client_cause(), None, "forgery {nth}");
    }
}

/// Once a packet of the server was processed, Version Negotiation comes too late (RFC 9000 6.2).
#[test]
fn a_client_ignores_negotiation_after_a_packet_of_the_server() {
    let mut pair = Pair::new(link(), |_, _| {});
    pair.world.record();
    pair.connect(&[]);
    pair.until("connected", |pair| pair.told_client(Event::Connected));
    let first = pair.world.recorded()[0].1.clone();
    let header = Header::parse(&first.payload, 0, 8, FixedBit::Ignored).unwrap();
    assert!(matches!(header.packet, PacketType::Initial { .. }));
    let payload = negotiation(header.scid.as_slice(), header.dcid.as_slice(), &[0x6b33_43cf]);
    pair.world.inject(Datagram {
        source: first.destination,
        destination: first.source,
        ecn: Ecn::NotEct,
        payload,
    });
    pair.until("confirmed", |pair| pair.told_client(Event::Confirmed));
    pair.run_ms(100);
    assert_eq!(pair.client(|connection, _| connection.stats().discarded.count(Why::Unexpected)), 1);
}

#[test]
fn negotiation_is_written_as_it_is_read() {
    let mut buffer = [0; 100];
    let mut out = Writer::new(&mut buffer);
    version::emit(b"client", b"server", 7, &mut out).unwrap();
    let header = Header::parse(out.written(), 0, 8, FixedBit::Required).unwrap();
    let versions: Vec<u32> = Versions::parse(out.written(), &header).unwrap().collect();
    assert!(versions.contains(&V1) && versions.len() >= 2);
}
