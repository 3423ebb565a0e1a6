//! A peer whose every packet a test writes: it seals and opens with a null session, says only what it is told to, and
//! remembers what it hears.
//!
//! A [`Bout`] is a puppet against a node, with no network between them.

mod bout;
mod hearing;

use std::collections::BTreeMap;

pub use bout::{Bout, NODE, PUPPET};
pub use hearing::{Heard, HeardClose};
use peregrine_core::ids::{PathId, Side};
use peregrine_core::limits::{MIN_INITIAL_DATAGRAM, SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{Key, Level, Session};
use peregrine_core::wire::frame::{Crypto, Frame, NewConnectionId, PathNewConnectionId};
use peregrine_core::wire::header::{Layout, LongHeader, LongType, ShortHeader};
use peregrine_core::wire::packet_number::Truncated;
use peregrine_core::wire::params::TransportParams;
use peregrine_core::wire::version::V1;
use peregrine_core::wire::{Cid, Dialect, Writer, frame};

use crate::null_session::{NullConfig, NullSession};

/// A path as the puppet knows it.
#[derive(Clone, Copy, Debug)]
pub struct PuppetPath {
    /// Where it sends to.
    pub dcid: Cid,
    /// The number of the next packet.
    pub next_pn: u64,
}

/// A peer on strings.
#[derive(Debug)]
pub struct Puppet {
    /// Its keys and its messages.
    pub session: NullSession,
    /// What it was sent and could open, in order.
    pub heard: Vec<Heard>,
    /// Its own connection ID.
    pub scid: Cid,
    /// Where it sends to.
    pub dcid: Cid,
    /// The DCID of the client's first Initial, which a server's transport parameters repeat.
    pub original_dcid: Option<Cid>,
    /// The dialect of multipath that it speaks.
    pub dialect: Option<Dialect>,
    /// What it knows of paths beside that of the handshake.
    pub paths: BTreeMap<PathId, PuppetPath>,
    /// A token for its Initial packets.
    pub token: Vec<u8>,
    /// The number of the next packet, by level.
    pub next_pn: [u64; 4],
    /// The generation of 1-RTT keys.
    generation: u32,
    side: Side,
    has_peer: bool,
    /// Whether its handshake is complete; before that a server reads no 1-RTT packets (RFC 9001 5.7).
    is_complete: bool,
    crypto_read: [u64; 4],
    crypto_sent: [u64; 4],
}

impl Puppet {
    /// A client that has chosen its first DCID.
    pub fn client(seed: u64) -> Self {
        let mut puppet = Self::new(Side::Client, seed, b"puppet-c");
        puppet.dcid = Cid::new(&seed.to_be_bytes()).expect("eight bytes");
        puppet.session.set_initial_keys(V1, puppet.dcid.as_slice());
        puppet
    }

    /// A server.
    pub fn server(seed: u64) -> Self {
        Self::new(Side::Server, seed, b"puppet-s")
    }

    fn new(side: Side, seed: u64, scid: &[u8]) -> Self {
        Self {
            session: NullSession::new(side, &NullConfig::seeded(seed)),
            heard: Vec::new(),
            scid: Cid::new(scid).expect("a short name"),
            dcid: Cid::EMPTY,
            original_dcid: None,
            dialect: None,
            paths: BTreeMap::new(),
            token: Vec::new(),
            next_pn: [0; 4],
            generation: 0,
            side,
            has_peer: false,
            is_complete: false,
            crypto_read: [0; 4],
            crypto_sent: [0; 4],
        }
    }

    /// Transport parameters that a peer of its kind may have, with generous limits.
    pub fn params(&self) -> TransportParams {
        TransportParams {
            initial_max_data: 1 << 20,
            initial_max_stream_data_bidi_local: 1 << 16,
            initial_max_stream_data_bidi_remote: 1 << 16,
            initial_max_stream_data_uni: 1 << 16,
            initial_max_streams_bidi: 16,
            initial_max_streams_uni: 16,
            max_datagram_frame_size: 1200,
            active_cid_limit: 4,
            initial_scid: Some(self.scid),
            original_dcid: self.original_dcid,
            ..TransportParams::default()
        }
    }

    /// Starts TLS with these parameters. If they offer multipath, that is spoken.
    pub fn start(&mut self, params: &TransportParams) {
        let offered = |dialect: &&Dialect| params.initial_max_path_id.get(**dialect).is_some();
        self.dialect = Dialect::ALL.iter().find(offered).copied();
        let mut encoded = [0; 512];
        let mut out = Writer::new(&mut encoded);
        params.emit(self.side, None, &mut out).expect("parameters that fit");
        let params = out.written().to_vec();
        self.start_raw(&params);
    }

    /// Starts TLS with these bytes for parameters.
    pub fn start_raw(&mut self, params: &[u8]) {
        self.session.start(params).expect("a null session that starts");
    }

    /// Moves to the next 1-RTT keys, whether that is allowed or not.
    pub fn update_keys(&mut self) {
        self.session.update_keys();
        self.generation += 1;
    }

    /// Seals a packet with this payload and the next number.
    pub fn seal(&mut self, level: Level, payload: &[u8]) -> Vec<u8> {
        let pn = self.next_pn[level as usize];
        self.next_pn[level as usize] += 1;
        self.seal_as(level, pn, payload, |_| {})
    }

    /// Seals a packet with this number, having changed its first byte.
    pub fn seal_as(
        &mut self,
        level: Level,
        pn: u64,
        payload: &[u8],
        change_first: impl FnOnce(&mut u8),
    ) -> Vec<u8> {
        self.seal_to(level, PathId::ZERO, self.dcid, pn, payload, change_first)
    }

    /// Seals a 1-RTT packet of a path, with the number that is the next there.
    ///
    /// # Panics
    /// If the node has given no connection ID for it.
    pub fn seal_on(&mut self, path: PathId, payload: &[u8]) -> Vec<u8> {
        if path == PathId::ZERO {
            return self.seal(Level::OneRtt, payload);
        }
        let place = self.paths.get_mut(&path).expect("a path that the node has given connection IDs for");
        let PuppetPath { dcid, next_pn } = *place;
        place.next_pn += 1;
        self.seal_to(Level::OneRtt, path, dcid, next_pn, payload, |_| {})
    }

    fn seal_to(
        &mut self,
        level: Level,
        path: PathId,
        dcid: Cid,
        pn: u64,
        payload: &[u8],
        change_first: impl FnOnce(&mut u8),
    ) -> Vec<u8> {
        // Header protection needs a sample (RFC 9001 5.4.2); a packet number takes all its four bytes here.
        let mut packet = vec![0; 256 + self.token.len() + payload.len()];
        let mut out = Writer::new(&mut packet);
        let number = Truncated::new(pn, 4);
        let long = |packet| LongHeader { packet, version: V1, dcid, scid: self.scid };
        let layout: Layout = match level {
            Level::Initial => long(LongType::Initial { token: &self.token }).emit(true, number, &mut out),
            Level::ZeroRtt => long(LongType::ZeroRtt).emit(true, number, &mut out),
            Level::Handshake => long(LongType::Handshake).emit(true, number, &mut out),
            Level::OneRtt => ShortHeader { dcid, spin: false, key_phase: self.generation & 1 == 1 }
                .emit(true, number, &mut out),
        }
        .expect("a header that fits");
        let end = layout.end + payload.len() + TAG_LEN;
        packet.resize(end, 0);
        packet[layout.end..][..payload.len()].copy_from_slice(payload);
        layout.set_length(&mut packet, end).expect("a short packet");
        change_first(&mut packet[0]);
        let generation = if level == Level::OneRtt { self.generation } else { 0 };
        let (header, body) = packet.split_at_mut(layout.end);
        self.session.seal(Key { level, generation }, path, pn, header, body).expect("keys");
        let sample: [u8; SAMPLE_LEN] =
            *packet[layout.pn_offset + 4..].first_chunk().expect("a payload and a tag");
        let (before, rest) = packet.split_at_mut(layout.pn_offset);
        self.session.protect(level, &sample, &mut before[0], &mut rest[..4]);
        packet
    }

    /// A datagram of one packet; one with an Initial is as large as it must be.
    pub fn datagram(&mut self, level: Level, payload: &[u8]) -> Vec<u8> {
        let mut payload = payload.to_vec();
        if level == Level::Initial {
            let overhead = 1 + 4 + 1 + self.dcid.len() + 1 + self.scid.len() + 2 + 2 + 4 + TAG_LEN;
            let target = MIN_INITIAL_DATAGRAM.saturating_sub(overhead + self.token.len());
            payload.resize(payload.len().max(target), 0);
        }
        let mut datagram = self.seal(level, &payload);
        if level == Level::Initial {
            datagram.resize(datagram.len().max(MIN_INITIAL_DATAGRAM), 0);
        }
        datagram
    }

    /// The CRYPTO frame with all that TLS wants to say on a level and has not said.
    pub fn crypto(&mut self, level: Level) -> Option<Vec<u8>> {
        let from = self.crypto_sent[level as usize];
        let mut data = vec![0; (self.session.crypto_len(level) - from) as usize];
        let len = self.session.copy_crypto(level, from, &mut data);
        assert_eq!(len, data.len());
        self.crypto_sent[level as usize] += len as u64;
        (len > 0).then(|| bytes(&[Frame::Crypto(Crypto { offset: from, data: &data })]))
    }

    /// The connection ID with this number that it gives a path.
    pub fn cid_of(path: PathId, seq: u64) -> Cid {
        let name = [b'P', b'C', (path.0 >> 8) as u8, path.0 as u8, 0, 0, (seq >> 8) as u8, seq as u8];
        Cid::new(&name).expect("eight bytes")
    }

    /// The frame that tells of it.
    ///
    /// # Panics
    /// If it speaks no dialect of multipath.
    pub fn new_cid(&self, path: PathId, seq: u64) -> Frame<'static> {
        let cid = Self::cid_of(path, seq);
        let cid = NewConnectionId { seq, retire_prior_to: 0, cid, reset_token: [cid.as_slice()[7]; 16] };
        let dialect = self.dialect.expect("a dialect");
        Frame::PathNewConnectionId(PathNewConnectionId { dialect, path: path.0.into(), cid })
    }
}

/// Frames as bytes.
pub fn bytes(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let mut out = Writer::new(&mut buffer);
    for frame in frames {
        match frame {
            Frame::Ack(_) => panic!("write ACK frames with `ack`"),
            frame => frame.emit(&mut out).expect("frames that fit"),
        }
    }
    out.written().to_vec()
}

/// An ACK frame of these numbers.
pub fn ack(ranges: &[std::ops::RangeInclusive<u64>]) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let mut out = Writer::new(&mut buffer);
    frame::ack::emit(None, 0, None, ranges.iter().cloned(), &mut out).expect("ranges that fit");
    out.written().to_vec()
}

/// A PATH_ACK frame of these numbers of a path.
pub fn path_ack(dialect: Dialect, path: PathId, ranges: &[std::ops::RangeInclusive<u64>]) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let mut out = Writer::new(&mut buffer);
    frame::ack::emit(Some((dialect, path)), 0, None, ranges.iter().cloned(), &mut out)
        .expect("ranges that fit");
    out.written().to_vec()
}
