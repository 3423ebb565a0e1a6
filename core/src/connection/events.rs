//! What a connection tells the application.
//!
//! An event is a level, not a message: each fact is a bit or a row that stays until it was told, so there is no queue
//! that could overflow and no fact that could be lost; what happened twice before anybody asked is told once.

use super::Lent;
use super::path_app::PathEvent;
use super::routes::{MoveCause, Moved, id};
use super::start::State;
use crate::ids::PathId;
use crate::lifecycle::Cause;
use crate::path::{RouteId, Told};
use crate::stream::StreamEvent;

/// Something the application may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
    /// Something about a route.
    Route(RouteId, RouteEvent),
    /// Packets go over another route from now on.
    Moved {
        /// The route before. It may be gone already.
        from: RouteId,
        /// The route in use.
        to: RouteId,
        /// Why.
        cause: MoveCause,
    },
    /// The peer came from a new address, and there was no unused connection ID to answer it with: see
    /// [`NoSpareCid`](super::NoSpareCid).
    NoSpareCid,
    /// The peer has supplied a connection ID that no route uses: a client may open another one.
    SpareCid,
    /// The peer came from a new address that the application's policy forbids.
    PolicyRefused,
    /// Something about a path of several.
    Path(PathId, PathEvent),
    /// A client that missed path IDs or connection IDs for another path may open one now.
    PathPossible,
    /// The connection is over, for this reason. Only [`Event::Drained`] follows.
    Closed(Cause),
    /// Nothing more will be sent or received: memory can be taken back.
    Drained,
}

/// What may happen to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RouteEvent {
    /// It is new: opened by us, or shown by the peer.
    Added,
    /// The peer was reached over it.
    Validated,
    /// Nothing comes over it any more.
    Suspect,
    /// The peer could not be reached over it. It is gone, unless it is the last one.
    Failed,
    /// It is not kept any longer.
    Closed,
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
    NoSpareCid = 512,
    PolicyRefused = 1024,
    /// The address of the peer may be another one. It is for the endpoint.
    Remote = 2048,
    SpareCid = 4096,
    PathPossible = 8192,
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

    /// Whether a fact is noted.
    pub(super) const fn has(self, fact: Fact) -> bool {
        self.0 & fact as u16 != 0
    }

    /// Takes a fact if it is noted.
    pub(super) fn take(&mut self, fact: Fact) -> bool {
        let noted = self.has(fact);
        self.0 &= !(fact as u16);
        noted
    }
}

impl State {
    pub(super) fn poll_event(&mut self, lent: &mut Lent<'_>) -> Option<Event> {
        if !self.facts.has(Fact::Closed) {
            let is_over = self.lifecycle.is_drained() && self.facts.take(Fact::Drained);
            return is_over.then_some(Event::Drained);
        }
        // What happened before the end is told before it.
        if let Some(event) = self.poll_news(lent) {
            return Some(event);
        }
        let cause = self.lifecycle.cause().copied()?;
        self.facts.take(Fact::Closed);
        Some(Event::Closed(cause))
    }

    fn poll_news(&mut self, lent: &mut Lent<'_>) -> Option<Event> {
        if let Some(event) = self.poll_fact(lent) {
            return Some(event);
        }
        if let Some(event) = self.poll_route_event(lent) {
            return Some(event);
        }
        if let Some((path, event)) = self.poll_path_event(lent) {
            return Some(Event::Path(path, event));
        }
        self.streams.poll_event(&mut lent.buffers.streams).map(Event::Stream)
    }

    /// What is to be told of the connection.
    fn poll_fact(&mut self, lent: &Lent<'_>) -> Option<Event> {
        if self.facts == Facts::NEW {
            return None;
        }
        for (fact, event) in [
            (Fact::Connected, Event::Connected),
            (Fact::Confirmed, Event::Confirmed),
            (Fact::Datagram, Event::Datagram),
            (Fact::DatagramRoom, Event::DatagramRoom),
            (Fact::Token, Event::Token),
            (Fact::KeysUpdated, Event::KeysUpdated(self.stats.key_updates)),
            (Fact::Mtu, Event::Mtu(self.mtu(lent))),
            (Fact::NoSpareCid, Event::NoSpareCid),
            (Fact::SpareCid, Event::SpareCid),
            (Fact::PolicyRefused, Event::PolicyRefused),
            (Fact::PathPossible, Event::PathPossible),
        ] {
            if self.facts.take(fact) {
                return Some(event);
            }
        }
        None
    }

    /// What is to be told of routes: their beginnings, the move, then their ends.
    fn poll_route_event(&mut self, lent: &mut Lent<'_>) -> Option<Event> {
        const BEGINNINGS: [(Told, RouteEvent); 3] = [
            (Told::ADDED, RouteEvent::Added),
            (Told::VALIDATED, RouteEvent::Validated),
            (Told::SUSPECT, RouteEvent::Suspect),
        ];
        const ENDS: [(Told, RouteEvent); 2] =
            [(Told::FAILED, RouteEvent::Failed), (Told::CLOSED, RouteEvent::Closed)];
        take_told(lent, &BEGINNINGS)
            .or_else(|| {
                let Moved { from, to, cause } = self.moved.take()?;
                Some(Event::Moved { from, to, cause })
            })
            .or_else(|| take_told(lent, &ENDS))
    }

    fn mtu(&self, lent: &Lent<'_>) -> u16 {
        lent.buffers.routes.get(self.route(lent)).map_or(0, |route| route.mtu.current())
    }
}

fn take_told(lent: &mut Lent<'_>, kinds: &[(Told, RouteEvent)]) -> Option<Event> {
    let routes = lent.buffers.routes.iter_mut().enumerate().filter(|(_, route)| !route.told.is_all());
    for (row, route) in routes {
        if let Some((_, event)) = kinds.iter().find(|(told, _)| route.told.take(*told)) {
            return Some(Event::Route(id(row, route), *event));
        }
    }
    None
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
