//! What the RFCs say must be, where nothing else shows it: small bouts that look at each packet.

mod handshake;
mod multipath;
mod packets;
mod probes;
mod sending;
mod stateless;
mod tokens;

use peregrine_core::ids::{Ecn, FourTuple};
use peregrine_core::session::Level;
use peregrine_core::wire::frame::{Frame, Kind};
use peregrine_core::wire::header::{Coalesced, FixedBit, Header};
use peregrine_tests::puppet::{Bout, NODE};
use peregrine_tests::sim::Node as _;

/// How many packets with such a frame the puppet has heard.
fn heard(bout: &Bout, kind: Kind) -> usize {
    bout.puppet.heard.iter().filter(|heard| heard.frames().any(|frame| frame.kind() == kind)).count()
}

/// What an ACK of this level acknowledged, whole.
fn acknowledged(bout: &Bout, level: Level) -> Vec<u64> {
    let heard = bout.puppet.heard.iter().filter(|heard| heard.level == level);
    let mut numbers: Vec<u64> = heard
        .flat_map(|heard| {
            let acks = heard.frames().filter_map(|frame| match frame {
                Frame::Ack(ack) => Some(ack.ranges().flatten().collect::<Vec<u64>>()),
                _ => None,
            });
            acks.flatten().collect::<Vec<u64>>()
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The headers of a datagram's packets; the puppet's connection IDs have eight bytes.
fn headers(datagram: &[u8]) -> Vec<Header> {
    let mut packets = Coalesced::new(8, FixedBit::Ignored);
    std::iter::from_fn(|| packets.next(datagram)).map(|header| header.expect("a whole packet")).collect()
}

/// Hands the node a datagram from somewhere, and returns what it then sends, with where to.
fn from(bout: &mut Bout, address: &str, datagram: &[u8]) -> Vec<(String, Vec<u8>)> {
    let on = FourTuple { local: NODE.parse().unwrap(), remote: address.parse().unwrap(), interface: 1 };
    bout.node.handle_datagram(bout.now, on, Ecn::NotEct, &mut datagram.to_vec());
    let mut sent = Vec::new();
    let mut out = vec![0; 65_536];
    while let Some(transmit) = bout.node.poll_transmit(bout.now, &mut out) {
        let segment = transmit.segment_size.unwrap_or(transmit.len);
        let to = transmit.four_tuple.remote.to_string();
        sent.extend(out[..transmit.len].chunks(segment).map(|datagram| (to.clone(), datagram.to_vec())));
    }
    sent
}
