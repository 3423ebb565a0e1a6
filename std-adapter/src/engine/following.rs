//! Connections follow the networks of their host: they are told what is gone, and clients open routes from what is there.

use std::net::SocketAddr;

use peregrine_core::connection::{NetworkChange, RouteError};
use peregrine_core::endpoint::Handle;

use super::Engine;
use super::agenda::Agenda;
use crate::error::Error;
use crate::watch::Networks;

/// What an endpoint knows of its host's networks.
#[derive(Default)]
pub(super) struct Following {
    /// Nothing, if nobody tells.
    networks: Option<Networks>,
    /// How many tell as long as they live.
    #[cfg(all(feature = "watch", target_os = "linux"))]
    watchers: usize,
    pub(super) agenda: Agenda,
}

#[cfg(all(feature = "watch", target_os = "linux"))]
impl Engine {
    /// Somebody tells of networks from now on.
    pub(crate) const fn on_watcher(&mut self) {
        self.following.watchers += 1;
    }

    /// One tells no more. What the last of them has told goes out of date.
    pub(crate) fn on_watcher_gone(&mut self) {
        self.following.watchers = self.following.watchers.saturating_sub(1);
        if self.following.watchers == 0 {
            self.following = Following::default();
        }
    }

    #[cfg(test)]
    pub(crate) const fn is_following(&self) -> bool {
        self.following.networks.is_some()
    }
}

impl Engine {
    /// This host is on these networks now.
    pub(crate) fn follow(&mut self, networks: Networks) {
        // Much that the system tells of links is no news, and no reason to try again what is tried in time.
        if self.following.networks.as_ref() == Some(&networks) {
            return;
        }
        let changes = self.following.networks.as_ref().map(|before| networks.since(before));
        self.following.networks = Some(networks);
        self.following.agenda = Agenda::default();
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
        if self.following.agenda.on_spare_cid(handle) {
            self.spread(handle);
        }
    }

    /// A route of a connection has ended, or cannot be sent over. A client is to have another from that network, when it has
    /// waited a little.
    pub(super) fn spread_later(&mut self, handle: Handle) {
        if self.following.networks.is_some()
            && matches!(self.known.get(handle.slot()), Some(Some((known, true))) if *known == handle)
        {
            self.following.agenda.later(self.clock.now(), handle);
        }
    }

    /// Whoever has waited long enough goes on.
    pub(super) fn spread_due(&mut self) {
        for handle in self.following.agenda.take_due(self.clock.now()) {
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
        let remote = connection.remote();
        let mut others = networks.others_toward(remote.ip(), |link| links.contains(&link));
        self.following.agenda.order(handle, &mut others);
        for ip in others {
            let local = self.sockets.on(ip, remote).unwrap_or_else(|| SocketAddr::new(ip, 0));
            match self.add_route(handle, local) {
                Ok(route) => {
                    if let Some((connection, now)) = self.connection(handle)
                        && connection.route().is_some_and(|route| route.down)
                    {
                        // There was no other one. Waiting for an answer first would only be longer silence.
                        let _ = connection.switch_route(now, route);
                    }
                }
                // It goes on when the server supplies one,
                Err(Error::Route(RouteError::NoSpareCid)) => {
                    return self.following.agenda.wait_for_cid(handle);
                }
                // or when a route ends.
                Err(Error::Route(RouteError::Full)) => {
                    self.system.routes_refused += 1;
                    return;
                }
                // It could not be sent over, and perhaps can be again.
                Err(Error::Route(RouteError::Exists)) => {
                    if let Some((connection, now)) = self.connection(handle) {
                        connection.network_changed(now, NetworkChange::AddressBack(ip));
                    }
                }
                // This one moves nowhere.
                Err(Error::Route(_)) => return,
                Err(_) => {
                    self.system.routes_refused += 1;
                    self.spread_later(handle);
                }
            }
            self.following.agenda.on_tried(handle, ip);
        }
    }
}
