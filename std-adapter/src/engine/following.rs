//! Connections follow the networks of their host: they are told what is gone, and clients open routes or paths from what is there.

use std::net::SocketAddr;

use peregrine_core::connection::{NetworkChange, PathError, PathView, RouteError};
use peregrine_core::endpoint::Handle;
use peregrine_core::path::Availability;
use peregrine_core::wire::dialect::AbandonCode;

use super::Engine;
use super::agenda::Agenda;
use crate::error::Error;
use crate::watch::Networks;

/// What a client makes of the networks of its host beside the one that it is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OtherNetworks {
    /// It keeps a route from each in reserve.
    #[default]
    Routes,
    /// It opens a path from each, to be used by both sides as this says; where the peer does not know several paths it keeps routes.
    Paths(Availability),
}

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

    /// What a connection may have waited for is there, so that it goes on.
    pub(super) fn spread_on(&mut self, handle: Handle) {
        if self.following.agenda.take_waiting(handle) {
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

    /// Opens a route or a path from each network that a client has none from.
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
            match self.take_up(handle, local) {
                Ok(()) => {}
                // It goes on when the server supplies one, or when an attempt is over,
                Err(Error::Route(RouteError::NoSpareCid) | Error::Path(PathError::Busy)) => {
                    return self.following.agenda.wait(handle);
                }
                Err(Error::Path(PathError::NoCid | PathError::NoPathId)) => {
                    self.give_up_path(handle);
                    return self.following.agenda.wait(handle);
                }
                // or when a route ends.
                Err(Error::Route(RouteError::Full) | Error::Path(PathError::Full)) => {
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
                Err(Error::Route(_) | Error::Path(_)) => return,
                Err(_) => {
                    self.system.routes_refused += 1;
                    self.spread_later(handle);
                }
            }
            self.following.agenda.on_tried(handle, ip);
        }
    }

    /// Gives up a path from an address that is gone: another one needs its place.
    fn give_up_path(&mut self, handle: Handle) {
        let Some((connection, now)) = self.connection(handle) else { return };
        let is_gone =
            |path: &PathView| path.abandoned.is_none() && path.route.is_some_and(|route| route.down);
        let gone = connection.paths().find(is_gone);
        if let Some(path) = gone {
            // Refused for the last one, which stays until the idle timeout.
            let _ = connection.abandon_path(now, path.id, AbandonCode::Unstable);
        }
    }

    /// Opens a route or a path from a network that a client is not on yet.
    fn take_up(&mut self, handle: Handle, local: SocketAddr) -> Result<(), Error> {
        let connection = self.core.connection_mut(handle).ok_or(Error::Shutdown)?;
        if let OtherNetworks::Paths(status) = self.other_networks
            && connection.is_multipath()
        {
            return self.open_path(handle, local, None, status).map(drop);
        }
        let route = self.add_route(handle, local)?;
        if let Some((connection, now)) = self.connection(handle)
            && connection.route().is_some_and(|route| route.down)
        {
            // There was no other one. Waiting for an answer first would only be longer silence.
            let _ = connection.switch_route(now, route);
        }
        Ok(())
    }
}
