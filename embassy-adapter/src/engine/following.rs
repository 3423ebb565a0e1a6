//! Routes of the networks that come and go: a client's connections leave what is lost, and find their way over what is there.

use core::net::{IpAddr, SocketAddr};
use core::task::Context;

use peregrine_core::connection::{Connection, NetworkChange, RouteError, RouteView};
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::FourTuple;
use peregrine_core::path::{Role, RouteId};

use super::{Engine, Row, bound, now};
use crate::error::Error;
use crate::network::{Addresses, NetworkId};
use crate::resources::Lendable;
use crate::socket::Place;
use crate::tls::EndpointSession;
use crate::waiters::Wait;

impl<S: EndpointSession> Engine<S> {
    /// Opens a route from a network: from a socket there that the connection has none from.
    pub(crate) fn add_route(&mut self, handle: Handle, network: NetworkId) -> Result<RouteId, Error> {
        let connection = self.core.connection_mut(handle).ok_or(Error::RouteGone)?;
        connection.may_add_route()?;
        let remote = connection.remote();
        let on = self.way(handle, network, remote)?.ok_or(RouteError::Exists)?;
        self.open_from(handle, on, |connection, on| {
            Ok(connection.add_route(now(), on.local, on.interface)?)
        })
    }

    /// Our address on a network that talks to the peer, if that is up.
    pub(super) fn address_on(&self, network: NetworkId, remote: IpAddr) -> Result<IpAddr, Error> {
        let network = self.networks.get(usize::from(network.0)).and_then(Option::as_ref);
        network.and_then(|network| network.addresses.toward(remote)).ok_or(Error::NoNetwork)
    }

    /// A way from a network, from a socket there that the connection has no route from; none if it has one from each.
    pub(super) fn way(
        &mut self,
        handle: Handle,
        network: NetworkId,
        remote: SocketAddr,
    ) -> Result<Option<FourTuple>, Error> {
        let ip = self.address_on(network, remote.ip())?;
        let connection = self.core.connection_mut(handle).ok_or(Error::RouteGone)?;
        // The address may be used from a socket again once its routes are gone.
        let mut taken = 0_u64;
        for route in connection.routes().filter(|route| route.local.ip() == ip) {
            taken |= 1_u64.checked_shl(route.interface).unwrap_or(0);
        }
        let is_free = |interface: u32| 1_u64.checked_shl(interface).is_some_and(|bit| taken & bit == 0);
        let socket = self.socket_of(usize::from(network.0), is_free);
        let on = |(interface, port)| FourTuple { local: SocketAddr::new(ip, port), remote, interface };
        Ok(socket.map(on))
    }

    /// Opens a route or a path, from another port of the socket unless a connection uses it from an address that we still have:
    /// what was seen at an address that is gone should not be seen at the next. Routes from there that are down, of any
    /// connection, cannot come back then and are closed.
    pub(super) fn open_from<R>(
        &mut self,
        handle: Handle,
        on: FourTuple,
        open: impl FnOnce(&mut Connection<Lendable, S>, FourTuple) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let is_used = self.is_used(on.interface);
        let connection = self.core.connection_mut(handle).ok_or(Error::RouteGone)?;
        let bound = match self.sockets.get_mut(on.interface as usize) {
            Some(Place::Bound(bound)) if !is_used => bound,
            _ => return open(connection, on).inspect(|_| self.nudge()),
        };
        bound.change_port(0);
        let local = SocketAddr::new(on.local.ip(), bound.port);
        // What this connection has lost there may hold the row that this takes.
        close_lost(connection, |route| route.interface == on.interface);
        let opened = open(connection, FourTuple { local, ..on });
        if opened.is_ok() {
            for handle in self.rows.iter().filter_map(|row| row.handle) {
                if let Some(connection) = self.core.connection_mut(handle) {
                    close_lost(connection, |route| route.interface == on.interface);
                }
            }
            self.nudge();
        } else {
            bound.change_port(on.local.port());
        }
        opened
    }

    /// Whether a connection uses a socket from an address that we still have.
    fn is_used(&mut self, interface: u32) -> bool {
        let network =
            bound(self.sockets, interface).and_then(|bound| self.networks.get(bound.network)?.as_ref());
        let ours = network.map(|network| network.addresses).unwrap_or_default();
        let is_used = |route: RouteView| {
            let is_lost = route.down && route.role != Role::Active;
            route.interface == interface && ours.contains(route.local.ip()) && !is_lost
        };
        let mut handles = self.rows.iter().filter_map(|row| row.handle);
        handles.any(|handle| {
            self.core.connection_mut(handle).is_some_and(|connection| connection.routes().any(is_used))
        })
    }

    /// Looks at the networks, and tells connections of what has changed.
    pub(super) fn follow(&mut self, cx: &mut Context<'_>) {
        for number in 0..self.networks.len() {
            let Some(network) = self.networks.get_mut(number).and_then(Option::as_mut) else { return };
            let Some(before) = network.poll_change(cx) else { continue };
            let addresses = network.addresses;
            note!(info, "network {} changed: is up: {}", number, addresses.is_any());
            self.on_change(number, before, addresses);
            self.waiters.wake(None, Wait::Endpoint);
        }
    }

    fn on_change(&mut self, number: usize, before: Addresses, after: Addresses) {
        for slot in 0..self.rows.len() {
            let Some(handle) = self.rows.get(slot).and_then(|row| row.handle) else { continue };
            let Some(connection) = self.core.connection_mut(handle) else { continue };
            let sockets = &*self.sockets;
            let is_here =
                |route: &RouteView| bound(sockets, route.interface).is_some_and(|at| at.network == number);
            // Addresses are not told as such: other networks may have the same.
            lose(connection, |route| {
                let is_lost = before.contains(route.local.ip()) && !after.contains(route.local.ip());
                is_lost && is_here(route)
            });
            close_lost(connection, |route| is_stale(sockets, route));
            restore(connection, |route| {
                let is_new = after.contains(route.local.ip()) && !before.contains(route.local.ip());
                is_new && is_here(route) && !is_stale(sockets, route)
            });
            self.rescue(handle);
        }
    }

    /// Moves a client that has no route left that works, on whatever path, to the first network that is up, or notes why it stays.
    fn rescue(&mut self, handle: Handle) {
        let Some(row) = self.row_mut(handle).filter(|row| row.is_client) else { return };
        let before = row.stranded.take();
        let Some(connection) = self.core.connection_mut(handle) else { return };
        if !is_cut_off(connection) {
            return;
        }
        // Their rows are needed.
        close_lost(connection, |_| true);
        let mut why = Error::NoNetwork;
        for number in 0..self.networks.len() {
            match self.add_route(handle, NetworkId(u8::try_from(number).unwrap_or(u8::MAX))) {
                Ok(route) => {
                    note!(info, "the connection moves to network {}", number);
                    self.with(handle, |connection| connection.switch_route(now(), route));
                    return;
                }
                Err(Error::NoNetwork) => {}
                Err(error) => why = error,
            }
        }
        // That no network is up was told before.
        if why != Error::NoNetwork && before != Some(why) {
            note!(warn, "a connection does not leave its network, which is gone: {}", why);
        }
        if let Some(row) = self.row_mut(handle) {
            row.stranded = Some(why);
        }
    }

    /// Why a client's connection has not left a network that is gone.
    pub(crate) fn stranded(&mut self, handle: Handle) -> Option<Error> {
        let why = self.row(handle)?.stranded?;
        is_cut_off(self.core.connection_mut(handle)?).then_some(why)
    }

    /// Whoever could not move may be able to now.
    pub(super) fn go_on(&mut self, handle: Handle) {
        let waits = |row: &Row| {
            matches!(row.stranded, Some(Error::Route(RouteError::NoSpareCid | RouteError::Unconfirmed)))
        };
        if self.row(handle).is_some_and(waits) {
            self.rescue(handle);
        }
    }
}

/// Whether nothing can be sent over any path.
fn is_cut_off<S: EndpointSession>(connection: &mut Connection<Lendable, S>) -> bool {
    let mut routes = connection.paths().filter_map(|path| path.route);
    routes.next().is_some_and(|first| first.down && routes.all(|route| route.down))
}

/// Whether a route's socket has another port by now: its address alone does not bring it back.
fn is_stale(sockets: &[Place], route: &RouteView) -> bool {
    bound(sockets, route.interface).is_none_or(|bound| bound.port != route.local.port())
}

/// Leaves such routes, those in use last: none is to be taken that is gone as well.
fn lose<S: EndpointSession>(connection: &mut Connection<Lendable, S>, such: impl Fn(&RouteView) -> bool) {
    loop {
        let lost = connection.routes().filter(|route| !route.down && such(route));
        let Some(lost) = lost.max_by_key(|route| route.role != Role::Active) else { return };
        connection.network_changed(now(), NetworkChange::RouteGone(lost.id));
    }
}

/// Brings back such routes that are down, those in use first: then none has to be left.
fn restore<S: EndpointSession>(connection: &mut Connection<Lendable, S>, such: impl Fn(&RouteView) -> bool) {
    loop {
        let back = connection.routes().filter(|route| route.down && such(route));
        let Some(back) = back.min_by_key(|route| route.role != Role::Active) else { return };
        connection.network_changed(now(), NetworkChange::RouteBack(back.id));
    }
}

/// Closes those of such routes that are down, but the one in use.
fn close_lost<S: EndpointSession>(
    connection: &mut Connection<Lendable, S>,
    such: impl Fn(&RouteView) -> bool,
) {
    let is_lost = |route: &RouteView| route.down && route.role != Role::Active && such(route);
    loop {
        let lost = connection.routes().find(is_lost);
        if lost.is_none_or(|lost| connection.close_route(lost.id).is_err()) {
            return;
        }
    }
}
