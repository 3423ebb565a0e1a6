//! Stateless resets and connection IDs (RFC 9000 5.1, 10.3).

use std::collections::BTreeSet;

use peregrine_core::endpoint::{Connect, ConnectError, Endpoint, EndpointConfig, Handled};
use peregrine_core::ids::{Ecn, FourTuple, Side};
use peregrine_core::lifecycle::Cause;
use peregrine_core::limits::{RESET_TOKEN_LEN, TAG_LEN};
use peregrine_core::session::EndpointCrypto;
use peregrine_core::time::Instant;
use peregrine_core::wire::frame::{Frame, RetireConnectionId};
use peregrine_core::wire::header::{FixedBit, Header};
use peregrine_tests::memory::{HeapMemory, HeapSlots, Sizes};
use peregrine_tests::null_session::{NullConfig, NullEndpointCrypto, NullSession};
use peregrine_tests::puppet::{Bout, NODE, PUPPET, Puppet};
use peregrine_tests::quic::Setup;

use super::from;

fn cause(bout: &Bout) -> Option<Cause> {
    bout.node.find(|event| match event {
        peregrine_core::connection::Event::Closed(cause) => Some(*cause),
        _ => None,
    })
}

/// A reset is smaller than what it answers and looks like a 1-RTT packet; what is too small gets none.
#[test]
fn resets_are_smaller_than_what_they_answer() {
    let mut bout = Bout::new(Setup::server(1), Puppet::client(1));
    let mut tokens = BTreeSet::new();
    for size in [1, 9, 20, 21, 22, 30, 42, 43, 44, 1_200] {
        let lost: Vec<u8> = (0..size).map(|at| if at == 0 { 0x43 } else { 5 }).collect();
        let sent = from(&mut bout, PUPPET, &lost);
        if size < 22 {
            assert!(sent.is_empty(), "{size}");
            continue;
        }
        let [(to, reset)] = &sent[..] else { panic!("one answer to {size}") };
        assert_eq!(to, PUPPET);
        assert!(reset.len() < size && reset.len() >= 21 && reset.len() <= 43, "{} for {size}", reset.len());
        assert_eq!(reset[0] & 0xc0, 0x40);
        tokens.insert(reset.last_chunk::<16>().unwrap().to_vec());
    }
    assert_eq!(tokens.len(), 1, "one connection ID, one token");
}

/// Whatever ends in a token that the peer gave is a reset, if it does not open: with a short header or what looks like a
/// long one, addressed to us or to nobody, alone or after a packet that opens not either.
#[test]
fn whatever_ends_in_a_token_is_a_reset() {
    let token = [0xab; 16];
    let shapes: [fn(&Bout) -> Vec<u8>; 5] = [
        |_| [&[0x41][..], &[3; 20]].concat(),
        |bout| [&[0x41][..], bout.puppet.dcid.as_slice(), &[3; 30]].concat(),
        |_| [&[0xc1, 0, 0, 0, 1, 8][..], &[9; 8], &[0], &[3; 30]].concat(),
        |bout| [&[0xe1, 0, 0, 0, 1, 8][..], bout.puppet.dcid.as_slice(), &[0, 20], &[3; 4]].concat(),
        |_| [&[0xff, 0x77, 1, 2, 3, 8][..], &[9; 8], &[0], &[3; 30]].concat(),
    ];
    for (nth, shape) in shapes.into_iter().enumerate() {
        for (genuine, tail) in [(true, token), (false, [0xac; 16])] {
            let mut bout = Bout::against_unconfirmed_client(Setup::client(1), |params| {
                params.stateless_reset_token = Some(token);
            });
            let mut datagram = shape(&bout);
            datagram.extend(tail);
            bout.deliver(&datagram);
            assert_eq!(cause(&bout) == Some(Cause::StatelessReset), genuine, "shape {nth}");
        }
    }
    // Too short for one (RFC 9000 10.3).
    let mut bout = Bout::against_unconfirmed_client(Setup::client(1), |params| {
        params.stateless_reset_token = Some(token);
    });
    bout.deliver(&[&[0x41, 1, 1, 1][..], &token].concat());
    assert_eq!(cause(&bout), None);
}

/// Randomness that repeats itself once.
struct Stutter {
    draws: u8,
    crypto: NullEndpointCrypto,
}

impl EndpointCrypto for Stutter {
    fn retry_tag(&mut self, version: u32, original_dcid: &[u8], retry: &[u8]) -> [u8; TAG_LEN] {
        self.crypto.retry_tag(version, original_dcid, retry)
    }

    fn seal_token(&mut self, token: &mut [u8], len: usize) -> Option<usize> {
        self.crypto.seal_token(token, len)
    }

    fn open_token(&mut self, token: &mut [u8]) -> Option<usize> {
        self.crypto.open_token(token)
    }

    fn reset_token(&mut self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        self.crypto.reset_token(cid)
    }

    fn seal_initial(&mut self, version: u32, dcid: &[u8], pn: u64, packet: &mut [u8], at: usize, len: usize) {
        self.crypto.seal_initial(version, dcid, pn, packet, at, len);
    }

    fn flow_label(&mut self, on: &FourTuple, dcid: &[u8]) -> u32 {
        self.crypto.flow_label(on, dcid)
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        out.fill(self.draws / 8);
        self.draws += 1;
    }
}

fn connect<C: EndpointCrypto>(
    endpoint: &mut Endpoint<HeapSlots<NullSession>, C>,
    remote: &str,
) -> Result<Header, ConnectError> {
    let on =
        FourTuple { local: "10.0.0.2:1".parse().unwrap(), remote: remote.parse().unwrap(), interface: 1 };
    let session = NullSession::new(Side::Client, &NullConfig::seeded(1));
    let how = Connect { on, token: &[] };
    let handle = endpoint.connect(Instant::ZERO, how, HeapMemory::new(Sizes::default()), session)?;
    let mut out = vec![0; 1_500];
    let (who, _) = endpoint.poll_transmit(Instant::ZERO, &mut out).expect("a first flight");
    assert_eq!(who, handle);
    let header = Header::parse(&out, 0, 8, FixedBit::Ignored).unwrap();
    while endpoint.poll_transmit(Instant::ZERO, &mut out).is_some() {}
    Ok(header)
}

/// No two connections of an endpoint have the same connection ID, even if the random source is poor.
#[test]
fn connection_ids_in_use_are_not_drawn_again() {
    let crypto = Stutter { draws: 0, crypto: NullEndpointCrypto::new(1) };
    let mut endpoint = Endpoint::new(EndpointConfig::default(), HeapSlots::new(8), crypto);
    let mut ids = BTreeSet::new();
    for host in 1..=6 {
        let header = connect(&mut endpoint, &format!("192.0.2.{host}:443")).unwrap();
        assert_eq!(header.scid.len(), 8);
        assert!(ids.insert(header.scid.as_slice().to_vec()), "host {host}");
    }
}

/// Without connection IDs, the address is all that tells connections apart (RFC 9000 5.1).
#[test]
fn one_connection_to_an_address_without_ids() {
    let config = EndpointConfig { cid_len: 0, ..EndpointConfig::default() };
    let mut endpoint = Endpoint::new(config, HeapSlots::new(4), NullEndpointCrypto::new(1));
    assert!(connect(&mut endpoint, "192.0.2.1:443").unwrap().scid.is_empty());
    assert_eq!(connect(&mut endpoint, "192.0.2.1:443").err(), Some(ConnectError::SameRemote));
    assert!(connect(&mut endpoint, "192.0.2.1:444").is_ok());
    assert!(connect(&mut endpoint, "192.0.2.2:443").is_ok());
    assert_eq!(endpoint.len(), 3);
}

/// However many a peer asks for: each is new, as long as the others, and has nothing in common with them.
#[test]
fn connection_ids_of_a_connection_differ_in_every_way() {
    let mut bout = Bout::against_server(Setup::server(1));
    let (mut cids, mut seen, mut tokens) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    cids.insert(bout.puppet.dcid.as_slice().to_vec());
    for seq in 1..40 {
        bout.ack();
        for heard in &bout.puppet.heard {
            for frame in heard.frames() {
                let Frame::NewConnectionId(new) = frame else { continue };
                if seen.insert(new.seq) {
                    assert!(cids.insert(new.cid.as_slice().to_vec()), "{} is issued twice", new.seq);
                    assert!(tokens.insert(new.reset_token));
                }
            }
        }
        bout.puppet.heard.retain(|heard| heard.pn + 8 > seq);
        bout.say(&[Frame::RetireConnectionId(RetireConnectionId { seq })]);
        bout.wait_ms(30);
    }
    assert!(cids.len() > 30, "{}", cids.len());
    assert!(cids.iter().all(|cid| cid.len() == 8));
    for at in 0..8 {
        assert!(cids.iter().map(|cid| cid[at]).collect::<BTreeSet<u8>>().len() > 20, "byte {at}");
    }
}

/// Every bit of a reset before its token is random, but for the two that make it a short header (RFC 9000 10.3).
#[test]
fn resets_look_random() {
    let mut bout = Bout::new(Setup::server(1), Puppet::client(1));
    let (mut ones, mut len) = ([0_u32; 8 * 26], 0);
    for _ in 0..200 {
        let mut lost = [5; 60];
        lost[0] = 0x43;
        let sent = from(&mut bout, PUPPET, &lost);
        let (random, _) = sent[0].1.split_last_chunk::<16>().unwrap();
        len = random.len();
        for (bit, ones) in ones.iter_mut().enumerate() {
            *ones += u32::from(random[bit / 8] >> (bit % 8) & 1);
        }
    }
    assert_eq!(len, 26);
    for (bit, ones) in ones.into_iter().enumerate() {
        let expected = match bit {
            6 => 200..=200,
            7 => 0..=0,
            _ => 60..=140,
        };
        assert!(expected.contains(&ones), "bit {bit}: {ones} of 200");
    }
}

/// An endpoint that has lost its state resets connection IDs, and gives none of them to anybody again (RFC 9000 10.3.2).
#[test]
fn an_id_that_was_reset_does_not_come_again() {
    let ids = |endpoint: &mut Endpoint<HeapSlots<NullSession>, NullEndpointCrypto>| {
        let hosts = (1..=100).map(|host| format!("192.0.2.{host}:443"));
        let ids = hosts.map(|host| connect(endpoint, &host).unwrap().scid.as_slice().to_vec());
        ids.collect::<BTreeSet<Vec<u8>>>()
    };
    let config = EndpointConfig { server: true, ..EndpointConfig::default() };
    let crypto = NullEndpointCrypto::new(1);
    let before = ids(&mut Endpoint::new(config.clone(), HeapSlots::new(100), crypto));
    // The same key; what else it draws is new.
    let mut crypto = NullEndpointCrypto::new(1);
    crypto.fill_random(&mut [0; 1]);
    let mut restarted = Endpoint::new(config, HeapSlots::new(100), crypto);
    for id in &before {
        let mut lost = [&[0x43][..], id, &[5; 40]].concat();
        let on = FourTuple { local: NODE.parse().unwrap(), remote: PUPPET.parse().unwrap(), interface: 1 };
        let handled = restarted.handle_datagram(Instant::ZERO, on, Ecn::NotEct, &mut lost);
        assert!(matches!(handled, Handled::Reply(_)), "{handled:?}");
    }
    let after = ids(&mut restarted);
    assert_eq!((before.len(), after.len()), (100, 100));
    assert!(before.is_disjoint(&after));
}
