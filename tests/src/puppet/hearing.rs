//! What a puppet hears: packets are opened, TLS reads its part, and the rest is kept for the test to look at.

use peregrine_core::error::Code;
use peregrine_core::ids::{PathId, Side};
use peregrine_core::limits::SAMPLE_LEN;
use peregrine_core::session::{Key, Level, Session, SessionEvent};
use peregrine_core::wire::frame::{Frame, Frames, PathNewConnectionId};
use peregrine_core::wire::header::{Coalesced, FirstByte, FixedBit, Header, PacketType};
use peregrine_core::wire::packet_number::Truncated;
use peregrine_core::wire::version::V1;
use peregrine_core::wire::{Cid, Dialect};

use super::{Puppet, PuppetPath};

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

impl Puppet {
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
