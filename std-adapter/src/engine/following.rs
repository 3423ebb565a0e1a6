//! Connections follow the networks of their host: they are told what is gone, and clients open routes from what is there.

use std::time::Duration;

use peregrine_core::connection::RouteError;
use peregrine_core::endpoint::Handle;
use peregrine_core::time::{Deadline, Instant};

use super::Engine;
use crate::error::Error;
use crate::watch::Networks;

/// Between two attempts to open a route for which the server has to supply a connection ID first.
const STEP: Duration = Duration::from_millis(10);
/// Attempts.
const STEPS: u32 = 200;

/// What an endpoint knows of its host's networks.
#[derive(Default)]
pub(super) struct Following {
    /// Nothing, if nobody tells.
    networks: Option<Networks>,
    /// Who has to wait for a connection ID, and how many attempts are left.
    waiting: Vec<(Handle, u32)>,
    next: Deadline,
}

impl Following {
    pub(super) fn next_timeout(&self) -> Deadline {
        if self.waiting.is_empty() { Deadline::NEVER } else { self.next }
    }
}

impl Engine {
    /// This host is on these networks now.
    pub(crate) fn follow(&mut self, networks: Networks) {
        let changes = self.following.networks.as_ref().map(|before| networks.since(before));
        self.following.networks = Some(networks);
        self.following.waiting.clear();
        for change in changes.unwrap_or_default() {
            self.network_changed(change);
        }
        let known: Vec<_> = self.known.iter().flatten().map(|(handle, _)| *handle).collect();
        for handle in known {
            self.spread(handle);
        }
    }

    /// Opens routes from the networks that a client has none from.
    pub(super) fn spread(&mut self, handle: Handle) {
        self.spread_with(handle, STEPS);
    }

    /// Does so again for those who had to wait.
    pub(super) fn spread_again(&mut self, now: Instant) {
        if self.following.next_timeout().is_due(now) {
            for (handle, left) in std::mem::take(&mut self.following.waiting) {
                self.spread_with(handle, left);
            }
        }
    }

    fn spread_with(&mut self, handle: Handle, attempts: u32) {
        let (Some(networks), Some(Some((known, true)))) =
            (&self.following.networks, self.known.get(handle.slot()))
        else {
            return;
        };
        let Some(connection) = self.core.connection_mut(handle).filter(|_| *known == handle) else { return };
        let works = connection.routes().filter(|route| !route.down);
        let links: Vec<_> = works.filter_map(|route| networks.link_of(route.local.ip())).collect();
        let remote = connection.remote().ip();
        for ip in networks.others_toward(remote, |link| links.contains(&link)) {
            match self.add_route(handle, (ip, 0).into()) {
                Ok(route) => {
                    if let Some((connection, now)) = self.connection(handle)
                        && connection.route().is_some_and(|route| route.down)
                    {
                        // There was no other one. Waiting for an answer first would only be longer silence.
                        let _ = connection.switch_route(now, route);
                    }
                }
                Err(Error::Route(RouteError::NoSpareCid)) => {
                    if let Some(left) = attempts.checked_sub(1) {
                        self.following.waiting.push((handle, left));
                        self.following.next = Deadline::at(self.clock.now().after(STEP));
                    }
                    return;
                }
                // Then there is no route from there, until the networks change again.
                Err(_) => {}
            }
        }
    }
}
