//! A peer whose every packet a test writes: it seals and opens with a null session, says only what it is told to, and
//! remembers what it hears.
//!
//! A [`Bout`] is a puppet against a node, with no network between them: what one sends the other has at once, and time passes
//! only by [`Bout::wait_ms`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::error::Code;
use peregrine_core::ids::{Ecn, FourTuple, PathId, Side};
use peregrine_core::lifecycle::{Cause, Reason};
use peregrine_core::limits::{MIN_INITIAL_DATAGRAM, SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{Key, Level, Session, SessionEvent};
use peregrine_core::time::Instant;
use peregrine_core::wire::frame::{
    Crypto, Frame, Frames, HandshakeDone, NewConnectionId, PathNewConnectionId,
};
use peregrine_core::wire::header::{
    Coalesced, FirstByte, FixedBit, Header, Layout, LongHeader, LongType, PacketType, ShortHeader,
};
use peregrine_core::wire::packet_number::Truncated;
use peregrine_core::wire::params::TransportParams;
use peregrine_core::wire::version::V1;
use peregrine_core::wire::{Cid, Dialect, Writer, frame};

use crate::null_session::{NullConfig, NullSession};
use crate::quic::{App, NullConnection, QuicNode, Setup};
use crate::sim::Node;

/// A packet that the puppet opened.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its level.
    pub level: Level,
    /// Its path.
    pub path: PathId,
    /// Its number.
    pub pn: u64,
    /// Its frames.
    pub payload: Vec<u8>,
    /// In which dialect of multipath they are.
    pub dialect: Option<Dialect>,
    /// The size of its datagram.
    pub datagram: usize,
}

impl Heard {
    /// The frames.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let frames = Frames::new(self.level, &self.payload).in_dialect(self.dialect);
        frames.map(|frame| frame.expect("a frame that parses"))
    }
}

/// A CONNECTION_CLOSE that was heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeardClose {
    /// The error code.
    pub code: Code,
    /// The frame type that is blamed; `None` if the application closed.
    pub frame: Option<u64>,
    /// The words.
    pub reason: String,
}

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

    /// Opens the packets of a datagram, and lets TLS read.
    pub fn hear(&mut self, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        let mut packets = Coalesced::new(self.scid.len(), FixedBit::Ignored);
        while let Some(header) = packets.next(&datagram) {
            let Ok(header) = header else { continue };
            if !self.has_peer
                && self.side == Side::Server
                && matches!(header.packet, PacketType::Initial { .. })
            {
                self.session.set_initial_keys(V1, header.dcid.as_slice());
            }
            if let Some(heard) = self.open(&mut datagram, &header) {
                if heard.level != Level::OneRtt {
                    self.has_peer = true;
                    self.dcid = header.scid;
                }
                self.read_crypto(&heard);
                self.read_cids(&heard);
                self.heard.push(heard);
            }
        }
    }

    /// The first connection ID that it is given for a path is the one that it sends to there.
    fn read_cids(&mut self, heard: &Heard) {
        for frame in heard.frames() {
            let Frame::PathNewConnectionId(PathNewConnectionId { path, cid, .. }) = frame else { continue };
            let path = PathId(path.try_into().expect("a path ID"));
            self.paths.entry(path).or_insert(PuppetPath { dcid: cid.cid, next_pn: 0 });
        }
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

    /// The path whose connection ID a packet is addressed to.
    fn path_of(&self, level: Level, dcid: &Cid) -> PathId {
        match *dcid.as_slice() {
            [b'P', b'C', high, low, ..] if level == Level::OneRtt => {
                PathId(u32::from_be_bytes([0, 0, high, low]))
            }
            _ => PathId::ZERO,
        }
    }

    fn open(&mut self, datagram: &mut [u8], header: &Header) -> Option<Heard> {
        let level = header.level()?;
        if level == Level::OneRtt && !self.is_complete {
            return None;
        }
        let size = datagram.len();
        let packet = &mut datagram[header.start..header.end];
        let pn_at = header.pn_offset - header.start;
        let sample: [u8; SAMPLE_LEN] = *packet[pn_at + 4..].first_chunk()?;
        let mut pn: [u8; 4] = *packet[pn_at..].first_chunk()?;
        let mut first = packet[0];
        if !self.session.unprotect(level, &sample, &mut first, &mut pn) {
            return None;
        }
        packet[0] = first;
        let pn_len = FirstByte(first).pn_len();
        packet[pn_at..pn_at + pn_len].copy_from_slice(&pn[..pn_len]);
        let path = self.path_of(level, &header.dcid);
        let before = self.heard.iter().filter(|heard| heard.level == level && heard.path == path);
        let last = before.map(|heard| heard.pn + 1).max();
        let pn = Truncated::read(pn, pn_len).expand(last.unwrap_or(0));
        let generation = match level {
            Level::OneRtt => self.generation_of(FirstByte(first).key_phase()),
            _ => 0,
        };
        let (head, body) = packet.split_at_mut(pn_at + pn_len);
        let key = Key { level, generation };
        let len = self.session.open(key, path, pn, head, body).ok()?;
        let payload = body[..len].to_vec();
        Some(Heard { level, path, pn, payload, dialect: self.dialect, datagram: size })
    }

    /// The generation of a packet with this key phase: the node follows updates, it does not make them.
    const fn generation_of(&self, phase: bool) -> u32 {
        if phase == (self.generation & 1 == 1) { self.generation } else { self.generation.saturating_sub(1) }
    }

    fn read_crypto(&mut self, heard: &Heard) {
        for frame in heard.frames() {
            let Frame::Crypto(crypto) = frame else { continue };
            let read = &mut self.crypto_read[heard.level as usize];
            let end = crypto.offset + crypto.data.len() as u64;
            if crypto.offset <= *read && end > *read {
                let new = &crypto.data[(*read - crypto.offset) as usize..];
                *read = end;
                self.session.read_crypto(heard.level, new).ok();
            }
        }
        while let Some(event) = self.session.poll_event() {
            self.is_complete |= event == SessionEvent::Complete;
        }
    }

    /// The packet numbers heard on a level, of the path of the handshake.
    pub fn numbers(&self, level: Level) -> impl Iterator<Item = u64> {
        let of_level = self.heard.iter().filter(move |heard| heard.level == level);
        of_level.filter(|heard| heard.path == PathId::ZERO).map(|heard| heard.pn)
    }

    /// The largest of them.
    pub fn largest(&self, level: Level) -> Option<u64> {
        self.numbers(level).max()
    }

    /// The first CONNECTION_CLOSE that was heard.
    pub fn close(&self) -> Option<HeardClose> {
        self.heard.iter().find_map(|heard| {
            heard.frames().find_map(|frame| match frame {
                Frame::ConnectionClose(close) => Some(HeardClose {
                    code: Code(close.code),
                    frame: close.frame,
                    reason: String::from_utf8_lossy(close.reason).into_owned(),
                }),
                _ => None,
            })
        })
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

/// A puppet against a node.
pub struct Bout {
    /// The node under test.
    pub node: QuicNode,
    /// Its peer.
    pub puppet: Puppet,
    /// The present.
    pub now: Instant,
    /// Sizes of the datagrams that the node was sent.
    pub to_node: Vec<usize>,
    /// Sizes of the datagrams that the node has sent.
    pub from_node: Vec<usize>,
    /// Where each of these went, and in a batch of how many.
    pub batches: Vec<(SocketAddr, usize)>,
    /// What the node has sent and the puppet has not looked at.
    pub unheard: Vec<Vec<u8>>,
}

impl Bout {
    /// A bout that has not begun.
    pub fn new(setup: Setup, puppet: Puppet) -> Self {
        Self {
            node: QuicNode::new(Setup { app: App::None, ..setup }),
            puppet,
            now: Instant::from_micros(1_000),
            to_node: Vec::new(),
            from_node: Vec::new(),
            batches: Vec::new(),
            unheard: Vec::new(),
        }
    }

    /// A puppet client that has shaken hands with a server of this setup.
    pub fn against_server(setup: Setup) -> Self {
        Self::against_server_with(setup, |_| {})
    }

    /// The same with other transport parameters.
    pub fn against_server_with(setup: Setup, change: impl FnOnce(&mut TransportParams)) -> Self {
        let mut bout = Self::new(setup, Puppet::client(77));
        let mut params = bout.puppet.params();
        change(&mut params);
        bout.puppet.start(&params);
        bout.shake_hands();
        assert!(bout.connection().is_established());
        bout
    }

    /// A puppet server that has shaken hands with a client of this setup, and has confirmed it.
    pub fn against_client(setup: Setup) -> Self {
        Self::against_client_with(setup, |_| {})
    }

    /// The same with other transport parameters.
    pub fn against_client_with(setup: Setup, change: impl FnOnce(&mut TransportParams)) -> Self {
        let mut bout = Self::new(setup, Puppet::server(78));
        bout.connect();
        let mut params = bout.puppet.params();
        change(&mut params);
        bout.puppet.start(&params);
        bout.shake_hands();
        bout.send(Level::OneRtt, &bytes(&[Frame::HandshakeDone(HandshakeDone)]));
        assert!(bout.connection().is_established());
        bout
    }

    /// Lets the client under test begin. What it says first waits until the puppet has started TLS.
    pub fn connect(&mut self) {
        self.node.connect(self.now, address(PUPPET), &[]);
        self.drain();
        let header = Header::parse(&self.unheard[0], 0, 8, FixedBit::Ignored).expect("an Initial");
        self.puppet.original_dcid = Some(header.dcid);
        self.puppet.dcid = header.scid;
    }

    /// Lets TLS on both sides say what it has to say.
    pub fn shake_hands(&mut self) {
        loop {
            self.hear();
            let mut said = false;
            for level in [Level::Initial, Level::Handshake] {
                if let Some(crypto) = self.puppet.crypto(level) {
                    self.send(level, &crypto);
                    said = true;
                }
            }
            if !said {
                return;
            }
        }
    }

    /// Sends the node a packet with this payload in a datagram of its own, and hears what it answers.
    pub fn send(&mut self, level: Level, payload: &[u8]) {
        let datagram = self.puppet.datagram(level, payload);
        self.deliver(&datagram);
        self.hear();
    }

    /// Sends the node a 1-RTT packet of these frames, and hears what it answers.
    pub fn say(&mut self, frames: &[Frame<'_>]) {
        self.send(Level::OneRtt, &bytes(frames));
    }

    /// Sends the node a packet of a path with these frames from this address, and hears what it answers.
    pub fn say_on(&mut self, path: PathId, from: &str, frames: &[Frame<'_>]) {
        let datagram = self.puppet.seal_on(path, &bytes(frames));
        self.deliver_from(from, &datagram);
        self.hear();
    }

    /// Acknowledges all 1-RTT packets heard of a path beside that of the handshake, over that of the handshake.
    ///
    /// # Panics
    /// If the puppet speaks no dialect of multipath.
    pub fn ack_path(&mut self, path: PathId) {
        let heard = self.puppet.heard.iter().filter(|heard| heard.path == path);
        let numbers: BTreeSet<u64> = heard.map(|heard| heard.pn).collect();
        let Some(largest) = numbers.last() else { return };
        let lowest = (0..=*largest).rev().take_while(|pn| numbers.contains(pn)).last().unwrap_or(*largest);
        let dialect = self.puppet.dialect.expect("a dialect");
        self.send(Level::OneRtt, &path_ack(dialect, path, &[lowest..=*largest]));
    }

    /// Acknowledges all 1-RTT packets heard.
    pub fn ack(&mut self) {
        if let Some(largest) = self.puppet.largest(Level::OneRtt) {
            let heard: BTreeSet<u64> = self.puppet.numbers(Level::OneRtt).collect();
            // Ranges from the newest on; a few suffice, since the node forgets what was acknowledged.
            let lowest = (0..=largest).rev().take_while(|pn| heard.contains(pn)).last().unwrap_or(largest);
            self.send(Level::OneRtt, &ack(&[lowest..=largest]));
        }
    }

    /// Hands the node a datagram from where the puppet is, and collects what it answers.
    pub fn deliver(&mut self, datagram: &[u8]) {
        self.deliver_from(PUPPET, datagram);
    }

    /// Hands it to the node as if it came from elsewhere.
    pub fn deliver_from(&mut self, remote: &str, datagram: &[u8]) {
        self.to_node.push(datagram.len());
        let on = FourTuple { local: address(NODE), remote: address(remote), interface: 1 };
        self.node.handle_datagram(self.now, on, Ecn::NotEct, &mut datagram.to_vec());
        self.drain();
    }

    /// Lets time pass, and hears what the node then says.
    pub fn wait_ms(&mut self, millis: u64) {
        let end = self.now.after(Duration::from_millis(millis));
        loop {
            let next = self.node.next_timeout();
            if !next.is_due(end) {
                break;
            }
            self.now = self.now.max(next.instant().unwrap_or(end));
            self.node.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self.hear();
    }

    /// Collects what the node has to say.
    pub fn drain(&mut self) {
        let mut out = vec![0; 65_536];
        while let Some(transmit) = self.node.poll_transmit(self.now, &mut out) {
            let segment = transmit.segment_size.unwrap_or(transmit.len);
            for datagram in out[..transmit.len].chunks(segment) {
                self.from_node.push(datagram.len());
                self.batches.push((transmit.four_tuple.remote, transmit.len.div_ceil(segment)));
                self.unheard.push(datagram.to_vec());
            }
        }
    }

    /// Lets the puppet hear what was collected.
    pub fn hear(&mut self) {
        for datagram in std::mem::take(&mut self.unheard) {
            self.puppet.hear(&datagram);
        }
    }

    /// The node's connection.
    pub fn connection(&mut self) -> &mut NullConnection {
        let handle = self.node.latest().expect("a connection");
        self.node.connection(handle)
    }

    /// Does something to the node's connection, and hears what it then says.
    pub fn act<R>(&mut self, act: impl FnOnce(&mut NullConnection, Instant) -> R) -> R {
        let now = self.now;
        let result = act(self.connection(), now);
        self.drain();
        self.hear();
        result
    }

    /// The transport error with which the node has closed; it must have told the puppet what it told its application.
    ///
    /// # Panics
    /// If it has not closed, or says different things.
    pub fn error(&mut self) -> HeardClose {
        let heard = self.puppet.close().expect("a CONNECTION_CLOSE");
        let told = self.node.find(|event| match event {
            Event::Closed(Cause::Local(close)) => Some(*close),
            _ => None,
        });
        let told = told.expect("an event that tells why");
        assert_eq!(told.phrase.as_str(), heard.reason);
        let Reason::Transport { code, frame } = told.reason else { panic!("the application closed") };
        assert_eq!((code, Some(frame)), (heard.code, heard.frame));
        heard
    }
}

/// Where the node of a bout is.
pub const NODE: &str = "192.0.2.9:4433";
/// Where its puppet is.
pub const PUPPET: &str = "198.51.100.7:5555";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
