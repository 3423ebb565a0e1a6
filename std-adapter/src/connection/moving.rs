//! Routes of a connection: from which local address it speaks to its peer (RFC 9000 9).

use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::connection::{NetworkChange, RouteView};
use peregrine_core::path::{Preference, RouteId};

use super::Connection;
use crate::error::Error;
use crate::shared::Wait;

impl Connection {
    /// Opens a route from another local address to where the peer is, and asks whether it works, which
    /// [`Self::wait_route`] waits for. Nothing else is sent over it before [`Self::switch_route`]. The IP address is one of
    /// this host, or unspecified for the one that the system would choose; port 0 is any free one. Waits until the
    /// handshake is confirmed.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use peregrine_std::{Connection, Error};
    /// /// Goes over to the network that has the address 10.0.1.2 here, if the peer can be reached from there.
    /// fn change_over(connection: &Connection) -> Result<(), Error> {
    ///     let route = connection.add_route(([10, 0, 1, 2], 0).into())?;
    ///     let found = connection.wait_route(route, Some(Duration::from_secs(3)))?;
    ///     println!("the peer answers there after {:?}", found.rtt);
    ///     connection.switch_route(route)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Route`] tells why there can be none, [`Error::Bind`] and [`Error::OtherFamily`] what is wrong with the
    /// local address; [`Error::Closed`].
    pub fn add_route(&self, local: SocketAddr) -> Result<RouteId, Error> {
        self.wait_confirmed()?;
        self.0.steer(|engine, handle| engine.add_route(handle, local))
    }

    /// Waits until the peer has supplied a connection ID for another route: after [`RouteError::NoSpareCid`].
    ///
    /// # Errors
    /// [`Error::TimedOut`]; [`Error::Closed`].
    ///
    /// [`RouteError::NoSpareCid`]: peregrine_core::connection::RouteError::NoSpareCid
    pub fn wait_spare_cid(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.0.block(Wait::SpareCid, timeout, |connection| connection.has_spare_cid().then_some(Ok(())))
    }

    /// Waits until the peer was reached over the route.
    ///
    /// # Errors
    /// [`Error::RouteGone`] if it was not, [`Error::TimedOut`] if that is not known in time; [`Error::Closed`].
    pub fn wait_route(&self, route: RouteId, timeout: Option<Duration>) -> Result<RouteView, Error> {
        self.0.block(Wait::Route, timeout, |connection| {
            match connection.routes().find(|view| view.id == route) {
                Some(view) if view.validated => Some(Ok(view)),
                Some(_) => None,
                None => Some(Err(Error::RouteGone)),
            }
        })
    }

    /// Sends over this route from now on. One that is not validated yet is validated meanwhile; if that fails, the
    /// connection returns to the route before.
    ///
    /// # Errors
    /// [`Error::Route`]; [`Error::Closed`].
    pub fn switch_route(&self, route: RouteId) -> Result<(), Error> {
        self.0.steer(|engine, handle| {
            let (connection, now) = engine.connection(handle).ok_or(Error::Shutdown)?;
            Ok(connection.switch_route(now, route)?)
        })
    }

    /// Moves to another local address at once and validates meanwhile: [`Self::add_route`] and [`Self::switch_route`] in
    /// one, for when the route in use is gone.
    ///
    /// # Errors
    /// As for [`Self::add_route`].
    pub fn migrate(&self, local: SocketAddr) -> Result<RouteId, Error> {
        self.wait_confirmed()?;
        self.0.steer(|engine, handle| engine.migrate(handle, local))
    }

    /// Says how gladly a route is used. A client that moves by itself goes by that first; a route of
    /// [`Preference::NEVER`] is taken only when the application says so.
    ///
    /// # Errors
    /// [`Error::Route`]; [`Error::Closed`].
    pub fn set_preference(&self, route: RouteId, preference: Preference) -> Result<(), Error> {
        self.0.steer(|engine, handle| {
            let (connection, now) = engine.connection(handle).ok_or(Error::Shutdown)?;
            Ok(connection.set_preference(now, route, preference)?)
        })
    }

    /// Gives up a route that is not in use. Its socket is closed with the last route from there.
    ///
    /// # Errors
    /// [`Error::Route`]; [`Error::Closed`].
    pub fn close_route(&self, route: RouteId) -> Result<(), Error> {
        self.0.steer(|engine, handle| {
            let (connection, _) = engine.connection(handle).ok_or(Error::Shutdown)?;
            Ok(connection.close_route(route)?)
        })
    }

    /// All routes there are, the one in use among them.
    ///
    /// # Errors
    /// [`Error::Closed`], some time after the end.
    pub fn routes(&self) -> Result<Vec<RouteView>, Error> {
        self.0.act(|connection| connection.routes().collect())
    }

    /// Puts a new socket on another port of the same address, which is returned, in the place of that of the route in use,
    /// without telling the connection or others that share it: what a NAT does. See
    /// [`Endpoint::rebind`](crate::Endpoint::rebind).
    ///
    /// # Errors
    /// [`Error::Bind`]; [`Error::Closed`].
    pub fn rebind_port(&self) -> Result<SocketAddr, Error> {
        let route = self.route()?;
        self.0.steer(|engine, _| engine.rebind_port(route.interface))
    }

    /// Tells this connection what the system says of our networks. Routes that are gone are not sent over; if the one in
    /// use is among them, the best other one is taken, and if there is none the connection waits for one until its idle
    /// timeout. An interface's number is that of [`RouteView::interface`]: each socket has one.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn network_changed(&self, change: NetworkChange) -> Result<(), Error> {
        self.0.steer(|engine, handle| {
            let (connection, now) = engine.connection(handle).ok_or(Error::Shutdown)?;
            connection.network_changed(now, change);
            Ok(())
        })
    }

    pub(super) fn wait_confirmed(&self) -> Result<(), Error> {
        let facts = &self.0.facts;
        self.0.block(Wait::Confirmed, None, |_| facts.confirmed.get().map(|()| Ok(())))
    }
}
