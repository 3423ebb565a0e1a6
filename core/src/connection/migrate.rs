//! What the application may do about routes: open one beside the one in use, move to it, close it, and tell what it
//! knows of networks (RFC 9000 9.1, 9.2).
//!
//! Only a client moves: servers stay where they are (RFC 9000 9). What a server can do about its peer's moves is
//! [`Config::migration_policy`](super::Config::migration_policy).

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::app::RouteView;
use super::path::{PathSet, active, path_of};
use super::routes::{MoveCause, id};
use super::start::State;
use super::{Connection, Lent, Memory};
use crate::ids::{FourTuple, PathId, PathRow};
use crate::path::choice::{Standing, compare, is_worth_it};
use crate::path::{Health, Opener, Preference, Role, Route, RouteId, Told};
use crate::session::{Level, Session};
use crate::time::Instant;

/// Why a route was not opened or taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RouteError {
    /// Only a client moves.
    Server,
    /// The handshake is not confirmed yet; an event tells when it is.
    Unconfirmed,
    /// The peer has asked us not to migrate (disable_active_migration). A path to another address than that of its handshake may.
    Forbidden,
    /// The peer has no connection IDs (their length is zero): our moves could be followed by everybody (RFC 9000 9.5).
    ZeroLengthCid,
    /// The peer has not supplied another connection ID yet: try again after a round trip.
    NoSpareCid,
    /// There is no row for another route in the memory lent: close one.
    Full,
    /// There is a route between these addresses.
    Exists,
    /// There is no such route (any more).
    Unknown,
    /// It is the route in use: move to another one first.
    InUse,
    /// The server prefers that address; it must be validated before anything else is sent there (RFC 9000 9.6.2).
    Unvalidated,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "only a client can move a connection",
            Self::Unconfirmed => "the handshake is not confirmed yet; wait for the event that says so",
            Self::Forbidden => "the peer does not allow migration",
            Self::ZeroLengthCid => {
                "the peer uses no connection IDs, so that a move could be followed by everybody"
            }
            Self::NoSpareCid => {
                "the peer has not supplied another connection ID yet; try again after a round trip"
            }
            Self::Full => "there is no room for another route; close one",
            Self::Exists => "there is a route between these addresses",
            Self::Unknown => "there is no such route",
            Self::Unvalidated => {
                "the address that the server prefers is not validated yet; wait for the event"
            }
            Self::InUse => "the route is in use; move to another one first",
        })
    }
}

impl core::error::Error for RouteError {}

/// What the system says of the networks we are on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NetworkChange {
    /// Nothing can be sent from this local address any more.
    AddressGone(IpAddr),
    /// This local address, which was gone, is there again, in the same network.
    AddressBack(IpAddr),
    /// Nothing can be sent through this interface any more.
    InterfaceGone(u32),
    /// Nothing can be sent over this route any more, whatever becomes of others from its address or through its interface: for who
    /// is on two networks with one address, say.
    RouteGone(RouteId),
    /// This route, which was gone, is there again, in the same network.
    RouteBack(RouteId),
    /// The local address is the same, the network behind it is not: what was known of the routes from there is void, and what is under
    /// way on them is sent again.
    NewNetwork(IpAddr),
}

impl NetworkChange {
    fn concerns(&self, row: usize, route: &Route) -> bool {
        match *self {
            Self::AddressGone(ip) | Self::AddressBack(ip) | Self::NewNetwork(ip) => {
                route.on().local.ip() == ip
            }
            Self::InterfaceGone(interface) => route.on().interface == interface,
            Self::RouteGone(named) | Self::RouteBack(named) => id(row, route) == named,
        }
    }
}

impl<M: Memory, S: Session> Connection<M, S> {
    /// Opens a route from another local address to where the peer is, and asks whether it works: events tell. Nothing else
    /// is sent over it before [`Self::switch_route`]. The adapter must be able to send from `local` and to receive there.
    ///
    /// # Errors
    /// See [`RouteError`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn add_route(
        &mut self,
        now: Instant,
        local: SocketAddr,
        interface: u32,
    ) -> Result<RouteId, RouteError> {
        let (state, mut lent) = self.lend();
        state.add_route(now, &mut lent, state.main, local, interface)
    }

    /// As [`Self::add_route`], for a path of several, which [`Self::switch_route`] then moves: its path ID stays the same. Most often
    /// another path is better: [`Self::open_path`].
    ///
    /// # Errors
    /// See [`RouteError`]; [`RouteError::Unknown`] if there is no such path.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn add_route_to(
        &mut self,
        now: Instant,
        path: PathId,
        local: SocketAddr,
        interface: u32,
    ) -> Result<RouteId, RouteError> {
        let (state, mut lent) = self.lend();
        let row = state.row_of(&lent, path).ok_or(RouteError::Unknown)?;
        state.add_route(now, &mut lent, row, local, interface)
    }

    /// Whether [`Self::add_route`] may be called now: to be asked before a socket is made for it. The addresses, and whether
    /// there is a row for the route, are looked at only then.
    ///
    /// # Errors
    /// [`RouteError::Server`], [`RouteError::Unconfirmed`], [`RouteError::Forbidden`], [`RouteError::ZeroLengthCid`] and
    /// [`RouteError::NoSpareCid`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn may_add_route(&mut self) -> Result<(), RouteError> {
        let (state, lent) = self.lend();
        state.check_may_move(&lent, state.main)
    }

    /// Sends over this route from now on. One that is not validated yet is validated meanwhile; if that fails, the
    /// connection returns to the route before.
    ///
    /// # Errors
    /// [`RouteError::Unknown`], [`RouteError::Server`], [`RouteError::Unvalidated`]; [`RouteError::NoSpareCid`] if the peer has
    /// withdrawn the route's connection ID and not supplied another one yet.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn switch_route(&mut self, now: Instant, route: RouteId) -> Result<(), RouteError> {
        let (state, mut lent) = self.lend();
        if !state.side.is_client() {
            return Err(RouteError::Server);
        }
        let row = find(&lent, route).ok_or(RouteError::Unknown)?;
        if lent.buffers.routes.get(row).is_some_and(|route| route.role == Role::Awaited) {
            return Err(RouteError::Unvalidated);
        }
        if !state.has_cid(&lent, row) {
            return Err(RouteError::NoSpareCid);
        }
        state.activate(now, &mut lent, row, MoveCause::Chosen);
        Ok(())
    }

    /// Moves to another local address at once: [`Self::add_route`] and [`Self::switch_route`] in one, for when the route in use
    /// is gone.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn migrate(
        &mut self,
        now: Instant,
        local: SocketAddr,
        interface: u32,
    ) -> Result<RouteId, RouteError> {
        let route = self.add_route(now, local, interface)?;
        self.switch_route(now, route)?;
        Ok(route)
    }

    /// Says how gladly a route is used: see [`Config::choose_automatically`](super::Config::choose_automatically).
    ///
    /// # Errors
    /// [`RouteError::Unknown`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn set_preference(
        &mut self,
        now: Instant,
        route: RouteId,
        preference: Preference,
    ) -> Result<(), RouteError> {
        let (state, mut lent) = self.lend();
        let row = find(&lent, route).ok_or(RouteError::Unknown)?;
        if let Some(place) = lent.buffers.routes.get_mut(row) {
            place.preference = preference;
        }
        let path = path_of(&lent, row);
        state.choose_route(now, &mut lent, path);
        Ok(())
    }

    /// Gives up a route that is not in use.
    ///
    /// # Errors
    /// [`RouteError::Unknown`], [`RouteError::InUse`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn close_route(&mut self, route: RouteId) -> Result<(), RouteError> {
        let (state, mut lent) = self.lend();
        let row = find(&lent, route).ok_or(RouteError::Unknown)?;
        if row == active(&lent, path_of(&lent, row)) {
            return Err(RouteError::InUse);
        }
        state.release(&mut lent, row, Told::CLOSED);
        Ok(())
    }

    /// All routes there are, the one in use among them.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn routes(&mut self) -> impl Iterator<Item = RouteView> {
        let routes = self.memory.buffers().routes;
        routes
            .iter()
            .enumerate()
            .filter(|(_, route)| route.is_open())
            .map(|(row, route)| RouteView::of(row, route))
    }

    /// What the system says of our networks. Routes that are gone are not sent over; if the one in use is among them, the
    /// best other one is taken, and if there is none the connection waits for one until its idle timeout.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn network_changed(&mut self, now: Instant, change: NetworkChange) {
        let (state, mut lent) = self.lend();
        state.network_changed(now, &mut lent, change);
    }
}

impl State {
    fn add_route(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        path: PathRow,
        local: SocketAddr,
        interface: u32,
    ) -> Result<RouteId, RouteError> {
        self.check_may_move(lent, path)?;
        let in_use = lent.buffers.routes.get(active(lent, path)).ok_or(RouteError::Unknown)?;
        let on = FourTuple { local, remote: in_use.on().remote, interface };
        let is_it = |route: &Route| route.is_open() && route.path == path && route.on() == on;
        if lent.buffers.routes.iter().any(is_it) {
            return Err(RouteError::Exists);
        }
        let pto = self.base_pto(lent, path);
        let row = self.open_route(now, lent, path, on, Opener::Local).ok_or(RouteError::Full)?;
        let route = lent.buffers.routes.get_mut(row).ok_or(RouteError::Full)?;
        route.validation.start(now, pto);
        Ok(id(row, route))
    }

    fn check_may_move(&self, lent: &Lent<'_>, path: PathRow) -> Result<(), RouteError> {
        let in_use = lent.buffers.routes.get(active(lent, path));
        let path = lent.buffers.paths.get(path.index()).ok_or(RouteError::Unknown)?;
        if !self.side.is_client() {
            Err(RouteError::Server)
        } else if !self.levels.is_confirmed() || !self.lifecycle.is_open() {
            Err(RouteError::Unconfirmed)
        } else if in_use.is_some_and(|in_use| self.is_forbidden(&in_use.on().remote)) {
            Err(RouteError::Forbidden)
        } else if path.peer_cids.is_zero_length() {
            Err(RouteError::ZeroLengthCid)
        } else if !path.peer_cids.has_cid_for_another(lent.buffers.peer_cids) {
            Err(RouteError::NoSpareCid)
        } else {
            Ok(())
        }
    }

    fn network_changed(&mut self, now: Instant, lent: &mut Lent<'_>, change: NetworkChange) {
        let pto = self.longest_base_pto(lent);
        let mut fallen = PathSet::NONE;
        for row in 0..lent.buffers.routes.len() {
            let concerned = |route: &&mut Route| route.is_open() && change.concerns(row, route);
            let Some(route) = lent.buffers.routes.get_mut(row).filter(concerned) else { continue };
            let health = match change {
                NetworkChange::AddressGone(_)
                | NetworkChange::InterfaceGone(_)
                | NetworkChange::RouteGone(_) => Health::Down,
                NetworkChange::AddressBack(_) | NetworkChange::RouteBack(_) if !route.is_down() => continue,
                NetworkChange::AddressBack(_) | NetworkChange::RouteBack(_) => Health::Works,
                NetworkChange::NewNetwork(_) => {
                    route.forget_way(&self.new_routes);
                    Health::Works
                }
            };
            let turns = route.turn(now, health);
            let path = lent.buffers.paths.get_mut(route.path.index());
            let path = path.filter(|path| usize::from(path.active) == row);
            if health == Health::Down {
                if let Some(path) = path.filter(|_| turns) {
                    path.on_suspect();
                    fallen.note(route.path);
                }
                continue;
            }
            route.validation.start(now, pto);
            route.pto.on_keys_discarded(now);
            if let Some(path) = path {
                // A server moves only when it sees a packet that is no probe.
                path.ping.want();
                if turns {
                    path.on_restored();
                }
            }
            // Of what is under way nothing need have arrived, and while it fills the window nobody would ask.
            self.lose_flight(lent, Level::OneRtt, row);
        }
        for path in self.path_rows() {
            if lent.buffers.routes.get(active(lent, path)).is_some_and(Route::is_down) {
                self.move_off(now, lent, path);
            }
            // Where it can move to no other route, other paths do what it cannot.
            let row = active(lent, path);
            let is_down = lent.buffers.routes.get(row).is_some_and(Route::is_down);
            if fallen.has(path) && is_down && self.has_choice(lent) {
                self.repeat_all(lent, row);
            }
        }
    }

    /// Moves to a validated route that is worth it, if the application leaves the choice to us.
    pub(super) fn choose_route(&mut self, now: Instant, lent: &mut Lent<'_>, path: PathRow) {
        let Some(current) = lent.buffers.routes.get(active(lent, path)).map(standing) else { return };
        if !self.choose_automatically || !self.side.is_client() {
            return;
        }
        if let Some(row) = self.best_other(lent, path, &|other| is_worth_it(&current, other)) {
            self.activate(now, lent, row, MoveCause::Preference);
        }
    }

    /// Takes the best other route of ours, if there is one: a validated one first. One that was not validated is no better
    /// than one that is only suspect.
    pub(super) fn move_off(&mut self, now: Instant, lent: &mut Lent<'_>, path: PathRow) {
        let down = lent.buffers.routes.get(active(lent, path)).is_some_and(Route::is_down);
        if let Some(row) = self.best_other(lent, path, &|other| down || other.validated)
            && self.side.is_client()
        {
            self.activate(now, lent, row, MoveCause::Liveness);
        }
    }

    /// The best route of ours of a path beside the active one, among those that can be used and will do.
    fn best_other(
        &self,
        lent: &Lent<'_>,
        path: PathRow,
        will_do: &dyn Fn(&Standing) -> bool,
    ) -> Option<usize> {
        let active = active(lent, path);
        let others = lent.buffers.routes.iter().enumerate();
        others
            .filter(|(_, route)| route.path == path)
            .filter(|(row, route)| *row != active && route.may_be_chosen() && self.has_cid(lent, *row))
            .map(|(row, route)| (row, standing(route)))
            .filter(|(_, route)| will_do(route))
            .max_by(|(_, one), (_, other)| compare(one, other))
            .map(|(row, _)| row)
    }
}

fn standing(route: &Route) -> Standing {
    Standing {
        validated: route.validation.is_validated(),
        preference: route.preference,
        rtt: route.rtt.first_sample().map_or(route.rtt.smoothed(), |_| route.rtt.min()),
    }
}

fn find(lent: &Lent<'_>, route: RouteId) -> Option<usize> {
    let row = usize::from(route.row);
    lent.buffers.routes.get(row).filter(|place| place.is_open() && place.serial == route.serial).map(|_| row)
}
