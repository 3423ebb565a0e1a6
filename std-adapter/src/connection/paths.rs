//! Paths of a connection, where several are used at once: see [`Builder::multipath`](crate::Builder::multipath).

use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use peregrine_core::connection::{PathError, PathView};
use peregrine_core::ids::PathId;
use peregrine_core::path::Availability;
use peregrine_core::wire::dialect::AbandonCode;

use super::Connection;
use crate::error::Error;
use crate::shared::Wait;

impl Connection {
    /// Opens a path from another local address to where the peer is, to be used by both sides as `status` says. It carries data as
    /// soon as the peer was reached over it, which [`Self::wait_path`] waits for. The IP address is one of this host, or unspecified
    /// for the one that the system would choose; port 0 is any free one. Waits until the handshake is confirmed.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use peregrine_core::path::Availability;
    /// # use peregrine_std::{Connection, Error};
    /// /// Uses the network that has the address 10.0.1.2 here beside the one in use.
    /// fn bond(connection: &Connection) -> Result<(), Error> {
    ///     connection.wait_path_possible(Some(Duration::from_secs(3)))?;
    ///     let path = connection.open_path(([10, 0, 1, 2], 0).into(), Availability::Available)?;
    ///     connection.wait_path(path, Some(Duration::from_secs(3)))?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Path`] tells why there can be none, [`Error::Bind`] and [`Error::OtherFamily`] what is wrong with the local
    /// address; [`Error::Closed`].
    pub fn open_path(&self, local: SocketAddr, status: Availability) -> Result<PathId, Error> {
        self.wait_confirmed()?;
        self.0.steer(|engine, handle| engine.open_path(handle, local, None, status))
    }

    /// As [`Self::open_path`], to another address at which the peer is known to be.
    ///
    /// # Errors
    /// As for [`Self::open_path`].
    pub fn open_path_to(
        &self,
        remote: SocketAddr,
        local: SocketAddr,
        status: Availability,
    ) -> Result<PathId, Error> {
        self.wait_confirmed()?;
        self.0.steer(|engine, handle| engine.open_path(handle, local, Some(remote), status))
    }

    /// Waits until there is what another path takes: the handshake is confirmed, and the peer has supplied a path ID and a
    /// connection ID.
    ///
    /// # Errors
    /// [`Error::Path`] if none will ever be opened; [`Error::TimedOut`]; [`Error::Closed`].
    pub fn wait_path_possible(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.wait_confirmed()?;
        self.0.block(Wait::PathPossible, timeout, |connection| {
            let remote = connection.remote();
            match connection.may_open_path(remote) {
                Ok(()) => Some(Ok(())),
                Err(PathError::NoCid | PathError::NoPathId) => None,
                Err(error) => Some(Err(error.into())),
            }
        })
    }

    /// Waits until the peer was reached over the path, so that it carries data.
    ///
    /// # Errors
    /// [`Error::PathGone`] if it was abandoned, by whichever side; [`Error::TimedOut`]; [`Error::Closed`].
    pub fn wait_path(&self, path: PathId, timeout: Option<Duration>) -> Result<PathView, Error> {
        self.0.block(Wait::Path, timeout, |connection| {
            let view = connection.path(path).filter(|view| view.abandoned.is_none());
            match view {
                Some(view) if view.route.is_some_and(|route| route.validated) => Some(Ok(view)),
                Some(_) => None,
                None => Some(Err(Error::PathGone)),
            }
        })
    }

    /// Gives a path up: what is under way on it is sent over the others. Its socket is closed with the last route from there.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Closed`].
    pub fn abandon_path(&self, path: PathId) -> Result<(), Error> {
        self.0.steer(|engine, handle| {
            let (connection, now) = engine.connection(handle).ok_or(Error::Shutdown)?;
            Ok(connection.abandon_path(now, path, AbandonCode::Application)?)
        })
    }

    /// Says how a path should be used, to the peer and to our own scheduler: a backup path carries nothing while another one works.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Closed`].
    pub fn set_path_status(&self, path: PathId, backup: bool) -> Result<(), Error> {
        self.0.act(|connection| connection.set_path_status(path, backup))??;
        Ok(())
    }

    /// Its share of what is sent, for [`Scheduler::Weighted`], and its rank for [`Scheduler::Primary`]; 1 to begin with.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Closed`].
    ///
    /// [`Scheduler::Weighted`]: peregrine_core::path::schedule::Scheduler::Weighted
    /// [`Scheduler::Primary`]: peregrine_core::path::schedule::Scheduler::Primary
    pub fn set_path_weight(&self, path: PathId, weight: NonZeroU8) -> Result<(), Error> {
        self.0.act(|connection| connection.set_path_weight(path, weight))??;
        Ok(())
    }

    /// Keeps a path awake that carries nothing, by a PING whenever nothing came over it for so long; `None`, as it begins, lets it
    /// sleep.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Closed`].
    pub fn set_path_keep_alive(&self, path: PathId, after: Option<Duration>) -> Result<(), Error> {
        self.0.act(|connection| connection.set_path_keep_alive(path, after))??;
        Ok(())
    }

    /// Marks what we send over a path with a Differentiated Services codepoint, of which the low six bits count; zero, as it begins, is
    /// none. Linux; a system that takes none sends without, which is counted in
    /// [`SystemStats::dscp_not_supported`](crate::SystemStats::dscp_not_supported).
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Closed`].
    pub fn set_path_dscp(&self, path: PathId, dscp: u8) -> Result<(), Error> {
        self.0.act(|connection| connection.set_path_dscp(path, dscp))??;
        Ok(())
    }

    /// As [`Self::rebind_port`], for the socket of a path.
    ///
    /// # Errors
    /// [`Error::PathGone`] if it has none; [`Error::Bind`]; [`Error::Closed`].
    pub fn rebind_path_port(&self, path: PathId) -> Result<SocketAddr, Error> {
        let route = self.0.act(|connection| connection.path(path).and_then(|view| view.route))?;
        let route = route.ok_or(Error::PathGone)?;
        self.0.steer(|engine, _| engine.rebind_port(route.interface))
    }

    /// The paths that are open, or were abandoned lately; one, if there is no multipath.
    ///
    /// # Errors
    /// [`Error::Closed`], some time after the end.
    pub fn paths(&self) -> Result<Vec<PathView>, Error> {
        self.0.act(|connection| connection.paths().collect())
    }

    /// Whether several paths may be used at once: both sides have offered it.
    ///
    /// # Errors
    /// [`Error::Closed`], some time after the end.
    pub fn is_multipath(&self) -> Result<bool, Error> {
        self.0.act(|connection| connection.is_multipath())
    }
}
