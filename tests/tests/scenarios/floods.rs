//! Peers that keep within the letter but want us to work: memory is fixed by design, so what is looked at is that answers
//! stay few, that the reason is named where it is too much, and that other connections do not notice.

use std::collections::BTreeSet;

use peregrine_core::error::Code;
use peregrine_core::ids::{Dir, Side, StreamId};
use peregrine_core::session::Level;
use peregrine_core::stream::Read;
use peregrine_core::wire::Cid;
use peregrine_core::wire::frame::{
    DataBlocked, Frame, MaxData, NewConnectionId, PathChallenge, Ping, ResetStream, Stream,
};
use peregrine_tests::puppet::{Bout, Puppet, bytes};
use peregrine_tests::quic::{NullConnection, Setup};

fn bi(index: u64) -> StreamId {
    StreamId::new(Side::Client, Dir::Bi, index)
}

fn new_cid(seq: u64, retire_prior_to: u64) -> Frame<'static> {
    let cid = Cid::new(&(seq + 0x1000).to_be_bytes()).unwrap();
    Frame::NewConnectionId(NewConnectionId { seq, retire_prior_to, cid, reset_token: [seq as u8; 16] })
}

/// A server with an honest client and a puppet.
struct Crowd {
    bout: Bout,
    honest: Puppet,
}

const HONEST: &str = "198.51.100.200:7777";

impl Crowd {
    fn new() -> Self {
        let mut bout = Bout::against_server(Setup { slots: 8, ..Setup::server(1) });
        let mut honest = Puppet::client(99);
        let params = honest.params();
        honest.start(&params);
        bout.unheard.clear();
        while let Some((level, crypto)) = [Level::Initial, Level::Handshake]
            .into_iter()
            .find_map(|level| Some((level, honest.crypto(level)?)))
        {
            let datagram = honest.datagram(level, &crypto);
            bout.deliver_from(HONEST, &datagram);
            std::mem::take(&mut bout.unheard).iter().for_each(|datagram| honest.hear(datagram));
        }
        let mut crowd = Self { bout, honest };
        crowd.check_honest();
        crowd
    }

    fn connection_of_honest(&mut self) -> &mut NullConnection {
        let handle = self.bout.node.accepted[1];
        self.bout.node.connection(handle)
    }

    /// The honest client's connection still serves it.
    fn check_honest(&mut self) {
        let id = bi(self.honest.heard.len() as u64 % 4);
        assert!(self.connection_of_honest().is_established());
        let offset = 0;
        let frame = Frame::Stream(Stream { id, offset, data: b"hello", fin: false });
        let datagram = self.honest.datagram(Level::OneRtt, &bytes(&[frame, Frame::Ping(Ping)]));
        let before = self.connection_of_honest().stats().received_packets;
        self.bout.deliver_from(HONEST, &datagram);
        assert_eq!(self.connection_of_honest().stats().received_packets, before + 1);
        self.bout.now = self.bout.now.after(std::time::Duration::from_millis(30));
        self.bout.wait_ms(30);
        for datagram in std::mem::take(&mut self.bout.unheard) {
            self.honest.hear(&datagram);
        }
        assert_eq!(self.honest.close(), None);
    }

    fn sent(&self) -> (usize, usize) {
        (self.bout.from_node.len(), self.bout.from_node.iter().sum())
    }
}

/// What the node answers to so many 1-RTT packets: datagrams and bytes.
fn answers(crowd: &mut Crowd, packets: u64, mut payload: impl FnMut(u64) -> Vec<u8>) -> (usize, usize) {
    let (datagrams, bytes) = crowd.sent();
    for nth in 0..packets {
        let payload = payload(nth);
        crowd.bout.send(Level::OneRtt, &payload);
    }
    let (after, bytes_after) = crowd.sent();
    (after - datagrams, bytes_after - bytes)
}

#[test]
fn connection_ids_with_orders_to_retire_the_rest() {
    let mut crowd = Crowd::new();
    let (datagrams, _) = answers(&mut crowd, 1_000, |nth| bytes(&[new_cid(nth + 1, nth + 1)]));
    let error = crowd.bout.error();
    assert_eq!((error.code, error.frame), (Code::CONNECTION_ID_LIMIT_ERROR, Some(0x18)));
    assert_eq!(error.reason, "connection IDs withdrawn faster than their retirement is acked");
    assert!(datagrams < 40, "{datagrams}");
    crowd.check_honest();
}

/// All at once in one packet: the last of them leaves many retirements.
#[test]
fn connection_ids_by_the_packet() {
    let mut crowd = Crowd::new();
    answers(&mut crowd, 1, |_| bytes(&(1..30).map(|seq| new_cid(seq, seq)).collect::<Vec<_>>()));
    assert_eq!(crowd.bout.error().code, Code::CONNECTION_ID_LIMIT_ERROR);
    crowd.check_honest();
}

/// A peer that acknowledges may rotate its IDs for as long as it likes.
#[test]
fn connection_ids_rotated_by_an_honest_peer() {
    let mut crowd = Crowd::new();
    for seq in 1..500 {
        crowd.bout.say(&[new_cid(seq, seq)]);
        crowd.bout.wait_ms(30);
        crowd.bout.ack();
        assert_eq!(crowd.bout.puppet.close(), None, "{seq}");
    }
    crowd.check_honest();
}

#[test]
fn streams_opened_and_reset() {
    let mut crowd = Crowd::new();
    let (datagrams, sent) = answers(&mut crowd, 2_000, |nth| {
        bytes(&[Frame::ResetStream(ResetStream { id: bi(nth % 8), code: 1, final_size: 0 })])
    });
    assert!(datagrams <= 1_010 && sent < 60_000, "an ACK for two packets: {datagrams} {sent}");
    assert_eq!(crowd.bout.puppet.close(), None);
    crowd.bout.say(&[Frame::ResetStream(ResetStream { id: bi(8), code: 1, final_size: 0 })]);
    assert_eq!(
        crowd.bout.error().code,
        Code::STREAM_LIMIT_ERROR,
        "the application has not closed its halves"
    );
    crowd.check_honest();
}

/// Every other byte of a stream, then the rest: all arrives, in order, once.
#[test]
fn a_stream_byte_by_byte_with_gaps() {
    let mut crowd = Crowd::new();
    let byte = |offset: u64| {
        let data: &'static [u8] = if offset.is_multiple_of(2) { b"e" } else { b"o" };
        bytes(&[Frame::Stream(Stream { id: bi(0), offset, data, fin: offset == 3_999 })])
    };
    answers(&mut crowd, 2_000, |nth| byte(2 * nth + 1));
    let handle = crowd.bout.node.accepted[0];
    let mut buffer = [0; 5_000];
    let connection = crowd.bout.node.connection(handle);
    assert_eq!(connection.read_stream(bi(0), &mut buffer), Ok(Read::Blocked));
    answers(&mut crowd, 2_000, |nth| byte(2 * nth));
    let connection = crowd.bout.node.connection(handle);
    let mut all = Vec::new();
    while let Ok(Read::Bytes(len)) = connection.read_stream(bi(0), &mut buffer) {
        all.extend_from_slice(&buffer[..len]);
    }
    assert_eq!(all, b"eo".repeat(2_000));
    crowd.check_honest();
}

/// Many frames of one byte in each packet, over and over the same byte.
#[test]
fn tiny_frames_repeated() {
    let mut crowd = Crowd::new();
    let tiny: Vec<Frame<'static>> =
        (0..300).map(|_| Frame::Stream(Stream { id: bi(0), offset: 7, data: b"x", fin: false })).collect();
    let payload = bytes(&tiny);
    let (datagrams, sent) = answers(&mut crowd, 500, |_| payload.clone());
    assert!(datagrams <= 260 && sent < 20_000, "{datagrams} {sent}");
    assert_eq!(crowd.bout.puppet.close(), None);
    crowd.check_honest();
}

/// Every other packet number is missing: an ACK frame has as many ranges as there is memory for, and each fits a packet.
#[test]
fn gaps_in_packet_numbers() {
    let mut crowd = Crowd::new();
    for _ in 0..5_000 {
        crowd.bout.puppet.next_pn[Level::OneRtt as usize] += 1;
        crowd.bout.say(&[Frame::Ping(Ping)]);
    }
    let ranges = crowd.bout.puppet.heard.iter().flat_map(|heard| {
        heard
            .frames()
            .filter_map(|frame| match frame {
                Frame::Ack(ack) => Some(ack.ranges().count()),
                _ => None,
            })
            .collect::<Vec<_>>()
    });
    let most = ranges.max().unwrap();
    assert!(most <= peregrine_core::limits::ACK_RANGES && most > 8, "{most}");
    let (datagrams, sent) = crowd.sent();
    assert!(sent < datagrams * 200, "{datagrams} {sent}");
    assert_eq!(crowd.bout.puppet.close(), None);
    crowd.check_honest();
}

/// A hundred challenges in a packet draw a few answers, in one datagram.
#[test]
fn challenges_by_the_hundred() {
    let mut crowd = Crowd::new();
    let before = crowd.bout.puppet.heard.len();
    let challenges = (0..100_u8).map(|nth| Frame::PathChallenge(PathChallenge { data: [nth; 8] }));
    let payload = bytes(&challenges.collect::<Vec<_>>());
    let (datagrams, sent) = answers(&mut crowd, 1, |_| payload.clone());
    assert!(datagrams == 1 && sent <= 1_200, "{datagrams} {sent}");
    let answered: Vec<u8> = crowd.bout.puppet.heard[before..]
        .iter()
        .flat_map(|heard| {
            heard
                .frames()
                .filter_map(|frame| match frame {
                    Frame::PathResponse(response) => Some(response.data[0]),
                    _ => None,
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let distinct: BTreeSet<u8> = answered.iter().copied().collect();
    assert!((1..=4).contains(&answered.len()) && distinct.len() == answered.len(), "{answered:?}");
    assert!(distinct.contains(&99), "the newest is answered: {answered:?}");
    // Packet after packet, nothing is sent without limit: the window holds.
    let (_, sent) = answers(&mut crowd, 1_000, |_| payload.clone());
    assert!(sent < 100_000, "{sent}");
    crowd.check_honest();
}

/// Frames that ask for nothing draw an ACK for every second packet and no more.
#[test]
fn frames_that_only_cost_an_ack() {
    for frame in
        [Frame::Ping(Ping), Frame::DataBlocked(DataBlocked { limit: 5 }), Frame::MaxData(MaxData { max: 7 })]
    {
        let mut crowd = Crowd::new();
        let many = bytes(&vec![frame; 100]);
        let (datagrams, sent) = answers(&mut crowd, 2_000, |_| many.clone());
        assert!(datagrams <= 1_010 && sent < 60_000, "{frame:?}: {datagrams} {sent}");
        crowd.check_honest();
    }
}

/// The same packet a thousand times is one packet.
#[test]
fn replays() {
    let mut crowd = Crowd::new();
    let packet = crowd.bout.puppet.datagram(Level::OneRtt, &bytes(&[Frame::Ping(Ping)]));
    let before = crowd.sent().0;
    for _ in 0..1_000 {
        crowd.bout.deliver(&packet);
    }
    assert!(crowd.sent().0 - before <= 1);
    let handle = crowd.bout.node.accepted[0];
    let discarded = crowd.bout.node.connection(handle).stats().discarded;
    assert_eq!(discarded.count(peregrine_core::error::Why::Duplicate), 999);
}
