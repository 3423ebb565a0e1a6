//! Paths over several networks at once: from which socket each goes.

use core::net::SocketAddr;

use peregrine_core::endpoint::Handle;
use peregrine_core::ids::{FourTuple, PathId};
use peregrine_core::path::Availability;

use super::{Engine, now};
use crate::error::Error;
use crate::network::NetworkId;
use crate::tls::EndpointSession;

impl<S: EndpointSession> Engine<S> {
    /// Opens a path from a network, from a socket there that the connection does not use if there is one.
    pub(crate) fn open_path(
        &mut self,
        handle: Handle,
        network: NetworkId,
        status: Availability,
    ) -> Result<PathId, Error> {
        let connection = self.core.connection_mut(handle).ok_or(Error::PathGone)?;
        let remote = connection.remote();
        connection.may_open_path(remote)?;
        let on = match self.way(handle, network, remote)? {
            Some(on) => on,
            None => self.shared_way(network, remote)?,
        };
        self.open_from(handle, on, |connection, on| Ok(connection.open_path(now(), on, status)?))
    }

    /// A way from a socket that the connection uses already: paths are told apart by their connection IDs.
    fn shared_way(&self, network: NetworkId, remote: SocketAddr) -> Result<FourTuple, Error> {
        let ip = self.address_on(network, remote.ip())?;
        let socket = self.socket_of(usize::from(network.0), |_| true);
        let (interface, port) = socket.ok_or(Error::NoNetwork)?;
        Ok(FourTuple { local: SocketAddr::new(ip, port), remote, interface })
    }
}
