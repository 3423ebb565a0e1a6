//! Routes of a connection: from which network it speaks to its peer (RFC 9000 9).
//!
//! A client whose networks are all attached moves by itself when the one in use goes down or gets another address. What is here
//! is for those who know better, or want to try a network before they use it.

use peregrine_core::connection::{Connection as CoreConnection, NetworkChange, RouteView};
use peregrine_core::path::{Preference, RouteId};

use crate::connection::Connection;
use crate::engine::now;
use crate::error::Error;
use crate::network::NetworkId;
use crate::resources::Lendable;
use crate::tls::EndpointSession;
use crate::waiters::Wait;

/// Routes that [`Connection::routes`] tells of at most.
pub const MAX_ROUTES: usize = 8;

impl<S: EndpointSession + 'static> Connection<S> {
    /// Opens a route from a network to where the peer is, and asks whether it works, which [`Self::wait_route`] waits for.
    /// Nothing else is sent over it before [`Self::switch_route`]. On a network that the connection has a route from already, it
    /// begins at another port, if a socket is left there. Waits until the handshake is confirmed.
    ///
    /// # Errors
    /// [`Error::Route`] tells why there can be none, [`Error::NoNetwork`] that the network is not up; [`Error::Closed`].
    pub async fn add_route(&self, network: NetworkId) -> Result<RouteId, Error> {
        self.wait_confirmed().await?;
        self.0.steer(|engine, handle| engine.add_route(handle, network))
    }

    /// Waits until the peer has supplied a connection ID for another route: after `RouteError::NoSpareCid`.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn wait_spare_cid(&self) -> Result<(), Error> {
        self.0
            .wait(Wait::SpareCid, |engine, handle| {
                engine.with(handle, CoreConnection::has_spare_cid)?.then_some(Ok(()))
            })
            .await
    }

    /// Waits until the peer was reached over the route.
    ///
    /// # Errors
    /// [`Error::RouteGone`] if it was not; [`Error::Closed`].
    pub async fn wait_route(&self, route: RouteId) -> Result<RouteView, Error> {
        self.0
            .wait(Wait::Route, |engine, handle| {
                let view =
                    engine.with(handle, |connection| connection.routes().find(|view| view.id == route))?;
                match view {
                    Some(view) if view.validated => Some(Ok(view)),
                    Some(_) => None,
                    None => Some(Err(Error::RouteGone)),
                }
            })
            .await
    }

    /// Sends over this route from now on. One that is not validated yet is validated meanwhile; if that fails, the
    /// connection returns to the route before.
    ///
    /// # Errors
    /// [`Error::Route`]; [`Error::Closed`].
    pub fn switch_route(&self, route: RouteId) -> Result<(), Error> {
        self.on_routes(|connection| Ok(connection.switch_route(now(), route)?))
    }

    /// Moves to a network at once and validates meanwhile: [`Self::add_route`] and [`Self::switch_route`] in one.
    ///
    /// # Errors
    /// As for [`Self::add_route`].
    pub async fn migrate(&self, network: NetworkId) -> Result<RouteId, Error> {
        let route = self.add_route(network).await?;
        self.switch_route(route)?;
        Ok(route)
    }

    /// Says how gladly a route is used: see `Config::choose_automatically`.
    ///
    /// # Errors
    /// [`Error::Route`]; [`Error::Closed`].
    pub fn set_preference(&self, route: RouteId, preference: Preference) -> Result<(), Error> {
        self.on_routes(|connection| Ok(connection.set_preference(now(), route, preference)?))
    }

    /// Gives up a route that is not in use.
    ///
    /// # Errors
    /// [`Error::Route`]; [`Error::Closed`].
    pub fn close_route(&self, route: RouteId) -> Result<(), Error> {
        self.on_routes(|connection| Ok(connection.close_route(route)?))
    }

    /// All routes there are, the one in use among them.
    pub fn routes(&self) -> heapless::Vec<RouteView, MAX_ROUTES> {
        self.0.act(|connection| connection.routes().take(MAX_ROUTES).collect()).unwrap_or_default()
    }

    /// The route in use.
    pub fn route(&self) -> Option<RouteView> {
        self.0.act(CoreConnection::route).flatten()
    }

    /// Why a client's connection has not left its network, which is gone; none while that is there, and of a server's connection.
    /// Nobody else tells: it waits until the network comes back, and ends when nothing has come for the idle timeout.
    ///
    /// With [`Error::NoNetwork`] no other network is up, with `RouteError::Full` the `Storage` has no memory for a second route.
    /// All but the first is logged.
    pub fn stranded(&self) -> Option<Error> {
        self.0.engine(|engine, handle| engine.stranded(handle))
    }

    /// The network that a route is on.
    pub fn network_of(&self, route: &RouteView) -> Option<NetworkId> {
        self.0.engine(|engine, _| engine.network_of(route.interface))
    }

    /// Tells this connection what is known of networks beside what their stacks tell, for example
    /// [`NetworkChange::NewNetwork`] after a modem has changed its operator. An interface's number is that of
    /// [`RouteView::interface`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn network_changed(&self, change: NetworkChange) -> Result<(), Error> {
        self.on_routes(|connection| {
            connection.network_changed(now(), change);
            Ok(())
        })
    }

    fn on_routes<R>(
        &self,
        act: impl FnOnce(&mut CoreConnection<Lendable, S>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.0.steer(|engine, handle| engine.with(handle, act).unwrap_or(Err(Error::RouteGone)))
    }
}
