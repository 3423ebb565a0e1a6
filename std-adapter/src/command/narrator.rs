//! Events of connections in words: a sentence for each that people may want to know of.

use std::collections::HashMap;
use std::net::SocketAddr;

use peregrine_core::connection::{Event, MoveCause, PathEvent, RouteEvent, RouteView};
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::{Dir, PathId, Side};
use peregrine_core::path::abandon::By;
use peregrine_core::path::{Availability, RouteId};
use peregrine_core::stream::StreamEvent;
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_std::{Closed, Seen};

/// Remembers what routes are called, because some are told of when they are gone.
#[derive(Debug)]
pub(crate) struct Narrator {
    side: Side,
    names: HashMap<(Handle, RouteId), SocketAddr>,
    paths: HashMap<(Handle, PathId), SocketAddr>,
}

/// A connection went over to another route. Addresses are those of the end that moves: the client's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    pub(crate) from: Option<SocketAddr>,
    pub(crate) to: Option<SocketAddr>,
    pub(crate) cause: MoveCause,
}

impl Narrator {
    /// Tells of connections in which we are this side.
    pub(crate) fn new(side: Side) -> Self {
        Self { side, names: HashMap::new(), paths: HashMap::new() }
    }

    /// The end of a route that tells it from others: servers stay where they are.
    fn end(&self, route: &RouteView) -> SocketAddr {
        if self.side.is_client() { route.local } else { route.remote }
    }

    fn name(&mut self, seen: &mut Seen<'_>, id: RouteId) -> Option<SocketAddr> {
        if let Some(route) = seen.route(id) {
            let end = self.end(&route);
            self.names.insert((seen.handle, id), end);
        }
        self.names.get(&(seen.handle, id)).copied()
    }

    /// What the route of a path is called, or was.
    fn path_name(&mut self, seen: &mut Seen<'_>, id: PathId) -> Option<SocketAddr> {
        let key = (seen.handle, id);
        if let Some(route) = seen.path(id).and_then(|path| path.route) {
            self.paths.insert(key, self.end(&route));
        }
        self.paths.get(&key).copied()
    }

    /// What the connection's route in use is called.
    pub(crate) fn in_use(&mut self, seen: &mut Seen<'_>) -> Option<SocketAddr> {
        let id = seen.route_in_use()?.id;
        self.name(seen, id)
    }

    /// The move that an event tells of.
    pub(crate) fn moved(&mut self, seen: &mut Seen<'_>) -> Option<Move> {
        let Event::Moved { from, to, cause } = seen.event else { return None };
        Some(Move { from: self.name(seen, from), to: self.name(seen, to), cause })
    }

    /// A sentence about an event; none of what happens too often.
    pub(crate) fn tell(&mut self, seen: &mut Seen<'_>) -> Option<String> {
        Some(match seen.event {
            Event::Connected => {
                // Of the first ones no other event tells as long as they are there.
                self.in_use(seen);
                self.path_name(seen, PathId::ZERO);
                "handshake complete".into()
            }
            Event::Confirmed => "handshake confirmed".into(),
            Event::Token => "got a token for a later connection".into(),
            Event::KeysUpdated(count) => format!("packet keys updated ({count})"),
            Event::Mtu(bytes) => format!("the path carries datagrams of {bytes} bytes"),
            Event::Stream(StreamEvent::Opened(Dir::Bi)) => "the peer opened a stream".into(),
            Event::Stream(StreamEvent::Finished(id)) if !self.side.is_client() => {
                format!("stream {}: all that was sent has arrived", id.0)
            }
            Event::Route(id, what) => {
                let name = self.name(seen, id);
                self.route_words(seen, id, what, name)
            }
            Event::Moved { .. } => self.moved(seen).map(|moved| self.move_words(&moved))?,
            Event::Path(id, what) => {
                let name = self.path_name(seen, id);
                // The peer may say how it wants to use a path that nobody has opened yet.
                if name.is_none() && matches!(what, PathEvent::Status(_)) {
                    return None;
                }
                self.path_words(seen, id, what, name)
            }
            Event::NoSpareCid => {
                "the peer came from a new address, and no unused connection ID is left to answer it".into()
            }
            Event::PolicyRefused => "the peer came from a new address that is not allowed".into(),
            Event::Closed(cause) => Closed::from(cause).to_string(),
            Event::Drained => {
                self.names.retain(|(handle, _), _| *handle != seen.handle);
                self.paths.retain(|(handle, _), _| *handle != seen.handle);
                return None;
            }
            Event::Stream(_)
            | Event::Datagram
            | Event::DatagramRoom
            | Event::SpareCid
            | Event::PathPossible => return None,
        })
    }

    fn route_words(
        &self,
        seen: &mut Seen<'_>,
        id: RouteId,
        what: RouteEvent,
        name: Option<SocketAddr>,
    ) -> String {
        let name = words(name);
        match (what, self.side.is_client()) {
            (RouteEvent::Added, true) => format!("asks the server for an answer on a route from {name}"),
            (RouteEvent::Added, false) => format!("a packet came from {name}: asks for an answer there"),
            (RouteEvent::Validated, true) => {
                let rtt = seen.route(id).map(|route| route.min_rtt).filter(|rtt| !rtt.is_zero());
                let rtt = rtt.map(|rtt| format!(", RTT {:.3} ms", rtt.as_secs_f64() * 1e3));
                format!("the server answers on the route from {name}{}", rtt.unwrap_or_default())
            }
            (RouteEvent::Validated, false) => format!("the client answers at {name}"),
            (RouteEvent::Suspect, _) => format!("nothing comes over the route from {name} any more"),
            (RouteEvent::Failed, true) => format!("the server does not answer on the route from {name}"),
            (RouteEvent::Failed, false) => format!("the client does not answer at {name}"),
            (RouteEvent::Closed, _) => format!("the route from {name} is closed"),
        }
    }

    fn path_words(
        &self,
        seen: &mut Seen<'_>,
        id: PathId,
        what: PathEvent,
        name: Option<SocketAddr>,
    ) -> String {
        let (name, peer) = (words(name), if self.side.is_client() { "server" } else { "client" });
        let what = match what {
            PathEvent::Opened => format!("is opened, from {name}"),
            PathEvent::Validated => format!("carries data, from {name}"),
            PathEvent::Suspect => {
                format!("from {name} is silent: what is under way on it is sent over others")
            }
            PathEvent::Restored => format!("from {name} answers again"),
            PathEvent::Status(Availability::Backup) => format!("from {name} is a backup for the {peer}"),
            PathEvent::Status(_) => format!("from {name} is to be used, says the {peer}"),
            PathEvent::Abandoned => match seen.path(id).and_then(|path| path.abandoned) {
                Some((By::Peer, why)) => format!("from {name} is abandoned by the {peer}: {}", reason(why)),
                Some((By::Local, why)) => format!("from {name} is abandoned: {}", reason(why)),
                None => format!("from {name} is abandoned"),
            },
        };
        format!("path {} {what}", id.0)
    }

    fn move_words(&self, moved: &Move) -> String {
        let (from, to) = (words(moved.from), words(moved.to));
        let why = match moved.cause {
            MoveCause::Chosen => "as it was told",
            MoveCause::Peer => return format!("the client has moved from {from} to {to}"),
            MoveCause::Fallback => "the other route does not work",
            MoveCause::Liveness => "nothing goes over the other route any more",
            MoveCause::Preference => "that is preferred, or much faster",
            MoveCause::PreferredAddress => "the server prefers that",
        };
        format!("moves from {from} to {to}: {why}")
    }
}

/// Why a path was abandoned.
pub(crate) const fn reason(why: AbandonCode) -> &'static str {
    match why {
        AbandonCode::NoError => "it is not needed any more",
        AbandonCode::Application => "the application wants that",
        AbandonCode::ResourceLimit => "there is no room to keep it",
        AbandonCode::Unstable => "it does not work",
        AbandonCode::NoCid => "there is no connection ID for it",
        AbandonCode::Other(_) => "for a reason that is not known here",
    }
}

/// What programs read of a cause.
pub(crate) const fn cause_name(cause: MoveCause) -> &'static str {
    match cause {
        MoveCause::Chosen => "chosen",
        MoveCause::Peer => "peer",
        MoveCause::Fallback => "fallback",
        MoveCause::Liveness => "liveness",
        MoveCause::Preference => "preference",
        MoveCause::PreferredAddress => "preferred-address",
    }
}

fn words(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "an address that is forgotten".into(), |address| address.to_string())
}
