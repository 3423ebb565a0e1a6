//! What a connection tells the application.
//!
//! An event is a level, not a message: each fact is a bit or a row that stays until it was told, so there is no queue
//! that could overflow and no fact that could be lost; what happened twice before anybody asked is told once.

use crate::ids::{Dir, StreamId};
use crate::lifecycle::Closed;

/// Something the application may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The TLS handshake is complete: the peer is who it should be, and streams may be used.
    Connected,
    /// The handshake is confirmed (RFC 9001 4.1.2).
    Confirmed,
    /// The peer opened streams: accept them.
    Opened(Dir),
    /// The peer lets us open more streams than before.
    Available(Dir),
    /// There is something to read, or a stream's end to see.
    Readable(StreamId),
    /// There is room to write again.
    Writable(StreamId),
    /// The peer has everything, the end included.
    Finished(StreamId),
    /// The peer does not want what we send and gives this reason.
    Stopped(StreamId, u64),
    /// A DATAGRAM frame arrived.
    Datagram,
    /// There is room to send a DATAGRAM frame again.
    DatagramRoom,
    /// A token for a later connection arrived: read it with `token`.
    Token,
    /// The keys changed; this many updates have been made.
    KeysUpdated(u32),
    /// The path carries UDP payloads of this many bytes.
    Mtu(u16),
    /// Whether the path carries ECN marks is known now.
    Ecn(bool),
    /// The connection is over, for this reason. Nothing but [`Event::Drained`] follows.
    Closed(Closed),
    /// Nothing more will be sent or received: memory can be taken back.
    Drained,
}

/// Facts that are a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Fact {
    Connected = 1,
    Confirmed = 2,
    OpenedBi = 4,
    OpenedUni = 8,
    AvailableBi = 16,
    AvailableUni = 32,
    Datagram = 64,
    DatagramRoom = 128,
    Token = 256,
    KeysUpdated = 512,
    Mtu = 1024,
    Ecn = 2048,
    Closed = 4096,
    Drained = 8192,
}

/// The facts that were not told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts(u16);

impl Facts {
    /// Notes a fact.
    pub(super) fn note(&mut self, fact: Fact) {
        self.0 |= fact as u16;
    }

    /// Takes a fact if it is noted.
    pub(super) fn take(&mut self, fact: Fact) -> bool {
        let noted = self.0 & fact as u16 != 0;
        self.0 &= !(fact as u16);
        noted
    }

    /// Whether nothing is noted.
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
