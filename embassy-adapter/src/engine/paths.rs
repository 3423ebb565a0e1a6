//! Paths over several networks at once: from which socket each goes.

use core::net::SocketAddr;

use peregrine_core::endpoint::Handle;
use peregrine_core::ids::{FourTuple, PathId};
use peregrine_core::path::Availability;

use super::{Engine, now};
use crate::error::Error;
use crate::network::NetworkId;
use crate::socket::Place;
use crate::tls::EndpointSession;

impl<S: EndpointSession> Engine<S> {
    /// Opens a path from a network, from a socket there that the connection does not use if there is one, to where the peer is
    /// unless to another of its addresses.
    pub(crate) fn open_path(
        &mut self,
        handle: Handle,
        network: NetworkId,
        remote: Option<SocketAddr>,
        status: Availability,
    ) -> Result<PathId, Error> {
        let connection = self.core.connection_mut(handle).ok_or(Error::PathGone)?;
        let remote = remote.unwrap_or(connection.remote());
        connection.may_open_path(remote)?;
        let on = match self.way(handle, network, remote)? {
            Some(on) => on,
            None => self.shared_way(network, remote)?,
        };
        self.open_from(handle, on, |connection, on| Ok(connection.open_path(now(), on, status)?))
    }

    /// Changes the port of a path's socket, which nobody is told of.
    pub(crate) fn rebind_path_port(&mut self, handle: Handle, path: PathId) -> Result<SocketAddr, Error> {
        let connection = self.core.connection_mut(handle).ok_or(Error::PathGone)?;
        let route = connection.path(path).and_then(|view| view.route).ok_or(Error::PathGone)?;
        match self.sockets.get_mut(route.interface as usize) {
            Some(Place::Bound(bound)) => Ok(SocketAddr::new(route.local.ip(), bound.rebind())),
            _ => Err(Error::PathGone),
        }
    }

    /// A way from a socket that the connection uses already: paths are told apart by their connection IDs.
    fn shared_way(&self, network: NetworkId, remote: SocketAddr) -> Result<FourTuple, Error> {
        let ip = self.address_on(network, remote.ip())?;
        let socket = self.socket_of(usize::from(network.0), |_| true);
        let (interface, port) = socket.ok_or(Error::NoNetwork)?;
        Ok(FourTuple { local: SocketAddr::new(ip, port), remote, interface })
    }
}
