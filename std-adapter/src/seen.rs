//! What an observer is shown.

use peregrine_core::connection::{Event, PathView, RouteView, Stats};
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::PathId;
use peregrine_core::path::RouteId;
use peregrine_core::time::Instant;

use crate::storage::HeapConnection;

/// An event, and the connection as it is right after it.
pub struct Seen<'a> {
    /// Which connection.
    pub handle: Handle,
    /// When.
    pub now: Instant,
    /// What happened.
    pub event: Event,
    connection: &'a mut HeapConnection,
}

impl<'a> Seen<'a> {
    pub(crate) const fn new(
        handle: Handle,
        now: Instant,
        event: Event,
        connection: &'a mut HeapConnection,
    ) -> Self {
        Self { handle, now, event, connection }
    }

    /// A route of the connection; `None` if it is gone.
    pub fn route(&mut self, id: RouteId) -> Option<RouteView> {
        self.connection.routes().find(|route| route.id == id)
    }

    /// All routes of the connection.
    pub fn routes(&mut self) -> impl Iterator<Item = RouteView> {
        self.connection.routes()
    }

    /// The route in use.
    pub fn route_in_use(&mut self) -> Option<RouteView> {
        self.connection.route()
    }

    /// A path of the connection; `None` if it is gone.
    pub fn path(&mut self, id: PathId) -> Option<PathView> {
        self.connection.path(id)
    }

    /// The paths that are open, or were abandoned lately.
    pub fn paths(&mut self) -> impl Iterator<Item = PathView> {
        self.connection.paths()
    }

    /// The counters of the connection.
    pub fn stats(&mut self) -> Stats {
        self.connection.stats()
    }
}
