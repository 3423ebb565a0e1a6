//! Paths of a connection, where several networks are used at once (draft-ietf-quic-multipath-21): both sides set
//! [`Config::multipath`](peregrine_core::connection::Config::multipath), and their `Storage` has memory for as many paths.
//!
//! A path whose network goes down is silent at once, and the others carry what was under way on it; when the network is back with
//! the same address it is used again. With another address it is not: after a while it is abandoned, and another may be opened.

use core::net::SocketAddr;
use core::num::NonZeroU8;
use core::time::Duration;

use peregrine_core::connection::{Connection as CoreConnection, PathError, PathView};
use peregrine_core::ids::PathId;
use peregrine_core::limits::MAX_PATHS;
use peregrine_core::path::Availability;
use peregrine_core::stream::Tie;
use peregrine_core::wire::dialect::AbandonCode;

use crate::connection::Connection;
use crate::engine::now;
use crate::error::Error;
use crate::network::NetworkId;
use crate::resources::Lendable;
use crate::stream::SendStream;
use crate::tls::EndpointSession;
use crate::waiters::Wait;

impl<S: EndpointSession + 'static> Connection<S> {
    /// Opens a path from another network to where the peer is, to be used by both sides as `status` says. It carries data as soon
    /// as the peer was reached over it, which [`Self::wait_path`] waits for. On a network that the connection uses already it goes
    /// from another port, if a socket is left there. Waits until the handshake is confirmed.
    ///
    /// # Errors
    /// [`Error::Path`] tells why there can be none, [`Error::NoNetwork`] that the network is not up; [`Error::Closed`].
    pub async fn open_path(&self, network: NetworkId, status: Availability) -> Result<PathId, Error> {
        self.wait_confirmed().await?;
        self.0.steer(|engine, handle| engine.open_path(handle, network, None, status))
    }

    /// As [`Self::open_path`], to another address at which the peer is known to be.
    ///
    /// # Errors
    /// As for [`Self::open_path`]; [`Error::NoNetwork`] also if the network has no address of that family.
    pub async fn open_path_to(
        &self,
        remote: SocketAddr,
        network: NetworkId,
        status: Availability,
    ) -> Result<PathId, Error> {
        self.wait_confirmed().await?;
        self.0.steer(|engine, handle| engine.open_path(handle, network, Some(remote), status))
    }

    /// Waits until there is what another path takes: the handshake is confirmed, and the peer has supplied a path ID and a
    /// connection ID.
    ///
    /// # Errors
    /// [`Error::Path`] if none will ever be opened; [`Error::Closed`].
    pub async fn wait_path_possible(&self) -> Result<(), Error> {
        self.wait_confirmed().await?;
        self.0
            .wait(Wait::SpareCid, |engine, handle| {
                let may = |connection: &mut CoreConnection<Lendable, S>| {
                    let remote = connection.remote();
                    connection.may_open_path(remote)
                };
                match engine.with(handle, may)? {
                    Ok(()) => Some(Ok(())),
                    Err(PathError::NoCid | PathError::NoPathId) => None,
                    Err(error) => Some(Err(error.into())),
                }
            })
            .await
    }

    /// Waits until the peer was reached over the path, so that it carries data.
    ///
    /// # Errors
    /// [`Error::PathGone`] if it was abandoned, by which side ever; [`Error::Closed`].
    pub async fn wait_path(&self, path: PathId) -> Result<PathView, Error> {
        self.wait_paths(|paths| {
            let view = paths.iter().find(|view| view.id == path && view.abandoned.is_none());
            match view {
                Some(view) if view.route.is_some_and(|route| route.validated) => Some(Ok(*view)),
                Some(_) => None,
                None => Some(Err(Error::PathGone)),
            }
        })
        .await?
    }

    /// Waits until `look` finds in the paths what it looks for: it is asked now, and whenever one is opened, validated, silent, heard
    /// again or abandoned, or the peer would have it used otherwise.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn wait_paths<R>(&self, mut look: impl FnMut(&[PathView]) -> Option<R>) -> Result<R, Error> {
        self.0
            .wait(Wait::Route, |engine, handle| {
                let paths: heapless::Vec<_, MAX_PATHS> =
                    engine.with(handle, |connection| connection.paths().take(MAX_PATHS).collect())?;
                look(&paths).map(Ok)
            })
            .await
    }

    /// Gives a path up: what is under way on it is sent over the others.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Closed`].
    pub fn abandon_path(&self, path: PathId) -> Result<(), Error> {
        self.on_paths(|connection| connection.abandon_path(now(), path, AbandonCode::Application))
    }

    /// Says how a path should be used, to the peer and to our own scheduler: a backup path carries nothing while another one works.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Closed`].
    pub fn set_path_status(&self, path: PathId, backup: bool) -> Result<(), Error> {
        self.on_paths(|connection| connection.set_path_status(path, backup))
    }

    /// Its share of what is sent, for `Scheduler::Weighted`, and its rank for `Scheduler::Primary`; 1 to begin with.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Closed`].
    pub fn set_path_weight(&self, path: PathId, weight: NonZeroU8) -> Result<(), Error> {
        self.on_paths(|connection| connection.set_path_weight(path, weight))
    }

    /// Keeps a path awake that carries nothing, by a PING whenever nothing came over it for so long; `None`, as it begins, lets it
    /// sleep.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::Closed`].
    pub fn set_path_keep_alive(&self, path: PathId, after: Option<Duration>) -> Result<(), Error> {
        self.on_paths(|connection| connection.set_path_keep_alive(path, after))
    }

    /// Puts the socket of a path on another port of the same address, both of which are returned, without telling this connection or
    /// others that share the socket: what a NAT does. What waits in its rings is lost.
    ///
    /// # Errors
    /// [`Error::PathGone`] if the path has no socket; [`Error::Closed`].
    pub fn rebind_path_port(&self, path: PathId) -> Result<SocketAddr, Error> {
        self.0.steer(|engine, handle| engine.rebind_path_port(handle, path))
    }

    /// As [`Self::send_datagram`], over a path rather than where the scheduler would. Datagrams leave in their order: one that waits
    /// for its path holds back those behind it.
    ///
    /// # Errors
    /// As for [`Self::send_datagram`].
    pub async fn send_datagram_over(&self, tie: Tie, bytes: &[u8]) -> Result<(), Error> {
        self.queue_datagram(tie, bytes).await
    }

    /// The paths that are open, or were abandoned lately; one, if there is no multipath.
    pub fn paths(&self) -> heapless::Vec<PathView, MAX_PATHS> {
        self.0.act(|connection| connection.paths().take(MAX_PATHS).collect()).unwrap_or_default()
    }

    /// Whether several paths may be used at once: both sides have offered it.
    pub fn is_multipath(&self) -> bool {
        self.0.act(|connection| connection.is_multipath()).unwrap_or_default()
    }

    fn on_paths(
        &self,
        act: impl FnOnce(&mut CoreConnection<Lendable, S>) -> Result<(), PathError>,
    ) -> Result<(), Error> {
        self.0.steer(|engine, handle| Ok(engine.with(handle, act).ok_or(Error::PathGone)??))
    }
}

impl<S: EndpointSession + 'static> SendStream<S> {
    /// Sends what the stream carries over a path rather than where the scheduler would, from now on.
    ///
    /// # Errors
    /// [`Error::StreamClosed`]; [`Error::Closed`].
    pub fn tie(&mut self, tie: Tie) -> Result<(), Error> {
        let id = self.id();
        self.link().steer(|engine, handle| {
            let tied = engine.with(handle, |connection| connection.tie_stream(id, tie));
            tied.and_then(Result::ok).ok_or(Error::StreamClosed)
        })
    }
}
