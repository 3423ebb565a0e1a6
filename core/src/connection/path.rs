//! A path: what a path ID owns, whatever route it takes (RFC 9000 12.3, 5.1).

use crate::cid::local::LocalCids;
use crate::cid::peer::PeerCids;
use crate::ids::PathId;
use crate::recovery::{Skips, Space};
use crate::table::ranges::widen;

/// No row.
const NOWHERE: u8 = u8::MAX;

/// A row of the table of paths.
#[derive(Clone, Debug)]
pub struct Path {
    /// The row of the route that is in use.
    pub active: u8,
    /// The low half of one beyond the highest number of a packet of the peer that was not only probing.
    non_probing: u32,
    /// The row of the route that it came over, or [`NOWHERE`].
    newest_on: u8,
    /// Routes beside the one in use. Most connections have none, and need not look for what they might want.
    pub(super) others: u8,
    /// Which of our numbers are not used.
    pub skips: Skips,
    /// Its packet number space.
    pub space: Space,
    /// The connection IDs that the peer sends to.
    pub local_cids: LocalCids,
    /// The connection IDs that we send to.
    pub peer_cids: PeerCids,
}

impl Path {
    /// A free row.
    pub const EMPTY: Self = Self {
        active: 0,
        non_probing: 0,
        newest_on: NOWHERE,
        others: 0,
        skips: Skips::NEVER,
        space: Space::new(),
        local_cids: LocalCids::new(PathId::ZERO),
        peer_cids: PeerCids::new(PathId::ZERO, 0),
    };

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self { newest_on: 0, skips: Skips::BLANK, ..Self::EMPTY };

    /// Its number.
    pub const fn id(&self) -> PathId {
        self.local_cids.path()
    }

    /// The peer's packet `pn`, which is not only probing, came over this route. Returns whether none with a larger number
    /// came before.
    pub(super) fn on_non_probing(&mut self, pn: u64, route: usize) -> bool {
        let beyond = pn.saturating_add(1);
        let latest = self.space.received.largest().map_or(0, |largest| largest.saturating_add(1)).max(beyond);
        let newest = beyond > widen(latest, self.non_probing);
        if newest {
            self.non_probing = beyond as u32;
            self.newest_on = u8::try_from(route).unwrap_or(NOWHERE);
        }
        newest
    }

    /// The row of the route over which the newest packet came that was not only probing, if there is still one.
    pub(super) fn newest_on(&self) -> Option<usize> {
        Some(self.newest_on).filter(|row| *row != NOWHERE).map(usize::from)
    }

    /// There is no such route any more.
    pub(super) fn forget_newest_on(&mut self, route: u8) {
        if self.newest_on == route {
            self.newest_on = NOWHERE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ecn;
    use crate::time::{Instant, Span};
    #[test]
    fn where_the_newest_came_is_known_until_that_route_is_gone() {
        let mut path = Path::EMPTY;
        let mut hear = |pn, route| {
            path.space.received.on_received(Instant::ZERO, pn, true, Ecn::NotEct, Span::ZERO);
            path.on_non_probing(pn, route);
            path.newest_on()
        };
        assert_eq!(hear(7, 1), Some(1));
        assert_eq!(hear(5, 2), Some(1), "an older one");
        assert_eq!(hear(8, 2), Some(2));
        path.forget_newest_on(1);
        assert_eq!(path.newest_on(), Some(2));
        path.forget_newest_on(2);
        assert_eq!(path.newest_on(), None);
    }

    #[test]
    fn the_newest_non_probing_packet_is_known_across_the_halves() {
        let mut path = Path::EMPTY;
        let edge = 1 << 32;
        for (pn, newest) in [
            (0, true),
            (0, false),
            (5, true),
            (3, false),
            (edge - 2, true),
            (edge + 3, true),
            (edge - 1, false),
            (edge + 4, true),
        ] {
            path.space.received.on_received(Instant::ZERO, pn, true, Ecn::NotEct, Span::ZERO);
            assert_eq!(path.on_non_probing(pn, 1), newest, "{pn}");
        }
    }
}
