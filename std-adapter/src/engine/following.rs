//! Connections follow the networks of their host: they are told what is gone, and clients open routes from what is there.

use peregrine_core::connection::RouteError;
use peregrine_core::endpoint::Handle;

use super::Engine;
use crate::error::Error;
use crate::watch::Networks;

/// What an endpoint knows of its host's networks.
#[derive(Default)]
pub(super) struct Following {
    /// Nothing, if nobody tells.
    networks: Option<Networks>,
    /// Who has to wait until the server supplies a connection ID.
    waiting: Vec<Handle>,
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

    /// The server has supplied a connection ID: whoever has waited for one goes on.
    pub(super) fn spread_on(&mut self, handle: Handle) {
        let waiting = self.following.waiting.iter().position(|waiting| *waiting == handle);
        if let Some(place) = waiting {
            self.following.waiting.swap_remove(place);
            self.spread(handle);
        }
    }

    /// Opens routes from the networks that a client has none from.
    pub(super) fn spread(&mut self, handle: Handle) {
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
                Err(Error::Route(RouteError::NoSpareCid)) => return self.following.waiting.push(handle),
                // Then there is no route from there, until the networks change again.
                Err(_) => {}
            }
        }
    }
}
