//! What a connection tells the application.
//!
//! An event is a level, not a message: each fact is a bit or a row that stays until it was told, so there is no queue
//! that could overflow and no fact that could be lost; what happened twice before anybody asked is told once.

use super::Lent;
use super::start::State;
use crate::lifecycle::Cause;
use crate::stream::StreamEvent;

/// Something the application may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The TLS handshake is complete: the peer is who it should be, and streams may be used.
    Connected,
    /// The handshake is confirmed (RFC 9001 4.1.2).
    Confirmed,
    /// Something about streams.
    Stream(StreamEvent),
    /// A DATAGRAM frame arrived.
    Datagram,
    /// There is room to send a DATAGRAM frame again.
    DatagramRoom,
    /// A token for a later connection arrived.
    Token,
    /// The keys changed; this many updates have been made.
    KeysUpdated(u32),
    /// The path carries UDP payloads of this many bytes.
    Mtu(u16),
    /// The connection is over, for this reason. Only [`Event::Drained`] follows.
    Closed(Cause),
    /// Nothing more will be sent or received: memory can be taken back.
    Drained,
}

/// Facts that are a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Fact {
    Connected = 1,
    Confirmed = 2,
    Datagram = 4,
    DatagramRoom = 8,
    Token = 16,
    KeysUpdated = 32,
    Mtu = 64,
    /// Not told yet: it is told when there is a cause.
    Closed = 128,
    /// As `Closed`.
    Drained = 256,
}

/// The facts that were not told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts(u16);

impl Facts {
    /// Nothing happened yet; the end is still to be told.
    pub(super) const NEW: Self = Self(Fact::Closed as u16 | Fact::Drained as u16);

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
}

impl State {
    pub(super) fn poll_event(&mut self, lent: &mut Lent<'_>) -> Option<Event> {
        if let Some(cause) = self.lifecycle.cause().copied() {
            return if self.facts.take(Fact::Closed) {
                Some(Event::Closed(cause))
            } else {
                (self.lifecycle.is_drained() && self.facts.take(Fact::Drained)).then_some(Event::Drained)
            };
        }
        for (fact, event) in [
            (Fact::Connected, Event::Connected),
            (Fact::Confirmed, Event::Confirmed),
            (Fact::Datagram, Event::Datagram),
            (Fact::DatagramRoom, Event::DatagramRoom),
            (Fact::Token, Event::Token),
            (Fact::KeysUpdated, Event::KeysUpdated(self.stats.key_updates)),
            (Fact::Mtu, Event::Mtu(self.mtu(lent))),
        ] {
            if self.facts.take(fact) {
                return Some(event);
            }
        }
        self.streams.poll_event(&mut lent.buffers.streams).map(Event::Stream)
    }

    fn mtu(&self, lent: &Lent<'_>) -> u16 {
        lent.buffers.routes.get(self.route(lent)).map_or(0, |route| route.mtu.current())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_told_once_and_the_end_is_still_to_come() {
        let mut facts = Facts::NEW;
        facts.note(Fact::Mtu);
        facts.note(Fact::Mtu);
        assert!(facts.take(Fact::Mtu) && !facts.take(Fact::Mtu) && !facts.take(Fact::Token));
        assert!(facts.take(Fact::Closed) && !facts.take(Fact::Closed) && facts.take(Fact::Drained));
    }
}
