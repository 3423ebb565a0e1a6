//! The client's way to the address that its server prefers (RFC 9000 9.6).

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Lent;
use super::path::active;
use super::start::State;
use crate::ids::{FourTuple, PathRow, Side};
use crate::path::preferred::choose;
use crate::path::{Opener, Role, Route, Told};
use crate::time::Instant;
use crate::wire::params::TransportParams;

impl State {
    /// A client whose server prefers another address asks whether it is there (RFC 9000 9.6.1).
    pub(super) fn follow_preferred_address(&mut self, now: Instant, lent: &mut Lent<'_>) {
        let params = lent.session.peer_params().map(|encoded| TransportParams::parse(Side::Server, encoded));
        let Some(preferred) = params.and_then(|params| params.ok()?.preferred_address) else { return };
        let Some(on) = lent.buffers.routes.get(active(lent, PathRow::FIRST)).map(Route::on) else { return };
        let Some(remote) = choose(&preferred, &on.remote) else { return };
        self.try_preferred(now, lent, FourTuple { remote, ..on });
    }

    /// Opens a route to the server's preferred address, which is taken as soon as it is validated. From an address of the
    /// other family the system chooses where to send from.
    pub(super) fn try_preferred(&mut self, now: Instant, lent: &mut Lent<'_>, on: FourTuple) {
        let anywhere = match on.remote {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let same_family = on.local.is_ipv4() == on.remote.is_ipv4();
        let on = if same_family { on } else { FourTuple { local: anywhere, interface: 0, ..on } };
        let pto = self.base_pto(lent, PathRow::FIRST);
        let Some(row) = self.open_route(now, lent, PathRow::FIRST, on, Opener::Local) else { return };
        if let Some(route) = lent.buffers.routes.get_mut(row) {
            route.role = Role::Awaited;
            route.validation.start(now, pto);
        }
    }

    /// Who moves before it has moved to the server's preferred address tries that from its new address as well (RFC 9000 9.6.3).
    pub(super) fn retry_preferred(&mut self, now: Instant, lent: &mut Lent<'_>, active: usize) {
        let Some(row) = lent.buffers.routes.iter().position(|route| route.role == Role::Awaited) else {
            return;
        };
        let (Some(active), Some(awaited)) = (lent.buffers.routes.get(active), lent.buffers.routes.get(row))
        else {
            return;
        };
        if !awaited.addresses.has_local_of(&active.addresses) {
            let on = FourTuple { remote: awaited.on().remote, ..active.on() };
            self.release(lent, row, Told::CLOSED);
            self.try_preferred(now, lent, on);
        }
    }

    /// The client is where its server prefers it. It may migrate from now on even if it was asked not to (RFC 9000 9), and
    /// asks no more whether the original address can be reached (9.6.3).
    pub(super) fn settle_at_preferred(&mut self, lent: &mut Lent<'_>, active: usize) {
        self.peer.no_migration = false;
        let asked = |(row, route): (usize, &Route)| {
            route.path == PathRow::FIRST && row != active && route.is_candidate()
        };
        while let Some(row) = lent.buffers.routes.iter().enumerate().position(asked) {
            self.release(lent, row, Told::CLOSED);
        }
    }
}
