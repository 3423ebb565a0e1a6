//! A path: what a path ID owns, whatever route it takes (RFC 9000 12.3, 5.1).

use super::Lent;
use super::path_app::PathTold;
use super::start::{Probes, State};
use crate::cid::local::LocalCids;
use crate::cid::peer::{PeerCid, PeerCids};
use crate::delivery::Delivery;
use crate::feature::WithMultipath;
use crate::handshake::PathPhase;
use crate::ids::{PathId, PathRow};
use crate::path::{Abandon, Route, Status};
use crate::recovery::{Skips, Space};
use crate::table::ranges::widen;
use crate::time::Span;

/// No row.
const NOWHERE: u8 = u8::MAX;

/// What matters of a path only where there are others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    pub(super) id: PathId,
    /// What the application was not told yet.
    pub(super) told: PathTold,
    /// Its share less one, for schedulers that give shares: a row that is not in use is zeros, and takes no flash in a static.
    pub(super) weight_beyond_one: u8,
    /// It is kept awake by a PING after a silence of so long, in hundredths of a second; zero: it is not.
    pub(super) keep_alive: u16,
    /// How it should be used.
    pub(super) status: Status,
    /// Its end.
    pub(super) abandon: Abandon,
}

impl Beside {
    /// A path that is not in use.
    pub(super) const fn new(id: PathId) -> Self {
        Self {
            id,
            told: PathTold::ALL,
            weight_beyond_one: 0,
            keep_alive: 0,
            status: Status::UNKNOWN,
            abandon: Abandon::OPEN,
        }
    }
}

/// A row of the table of paths.
#[derive(Clone, Debug)]
pub struct Path {
    /// The row of the route that is in use, or [`NOWHERE`].
    pub(super) active: u8,
    /// The low half of one beyond the highest number of a packet of the peer that was not only probing.
    non_probing: u32,
    /// The row of the route that it came over, or [`NOWHERE`].
    newest_on: u8,
    /// Routes beside the one in use. Most connections have none, and need not look for what they might want.
    pub(super) others: u8,
    /// A PING that is to be sent over it.
    pub(super) ping: Delivery,
    /// What an expired probe timeout owes.
    pub(super) probes: Probes,
    /// Which of our numbers are not used.
    pub skips: Skips,
    /// Which of its packets the current keys protect.
    pub(super) phase: PathPhase,
    /// Its packet number space.
    pub space: Space,
    /// The Differentiated Services codepoint of its packets: not with what follows, where there is no room for a byte.
    pub(super) dscp: WithMultipath<u8>,
    /// Once it is abandoned: of which power of two, in microseconds, its probe timeout was less.
    pto_below: WithMultipath<u8>,
    /// What matters only where there are others.
    pub(super) beside: WithMultipath<Beside>,
    /// The connection IDs that the peer sends to.
    pub local_cids: LocalCids,
    /// The connection IDs that we send to.
    pub peer_cids: PeerCids,
}

impl Path {
    /// A free row.
    pub const EMPTY: Self = Self {
        active: NOWHERE,
        non_probing: 0,
        newest_on: NOWHERE,
        others: 0,
        ping: Delivery::Idle,
        probes: Probes::NONE,
        skips: Skips::NEVER,
        phase: PathPhase::NEW,
        space: Space::new(),
        dscp: WithMultipath::new(0),
        pto_below: WithMultipath::new(0),
        beside: WithMultipath::new(Beside::new(PathId::ZERO)),
        local_cids: LocalCids::new(PathRow::FIRST),
        peer_cids: PeerCids::new(PathRow::FIRST, 0),
    };

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self { active: 0, newest_on: 0, skips: Skips::BLANK, ..Self::EMPTY };

    /// Whether packets are sent over it.
    pub const fn is_open(&self) -> bool {
        self.active != NOWHERE
    }

    /// Its number.
    pub const fn id(&self) -> PathId {
        match self.beside.get() {
            Some(beside) => beside.id,
            None => PathId::ZERO,
        }
    }

    /// Whether nobody has abandoned it.
    pub(super) fn is_wanted(&self) -> bool {
        self.beside.get().is_none_or(|beside| beside.abandon.is_open())
    }

    /// Whether the peer is to be told of connection IDs, of ours or of those of its own that are retired.
    pub(super) const fn has_cids_to_tell(&self) -> bool {
        self.local_cids.has_wanted() || self.peer_cids.has_wanted()
    }

    /// Whether both sides have connection IDs for it, so that it can be opened (draft-21 3.2.1).
    pub(super) fn has_cids(&self, peer_cids: &[PeerCid]) -> bool {
        self.local_cids.has_shown() && self.peer_cids.has_cid_for_another(peer_cids)
    }

    /// Whether the peer was ever reached over it: by a challenge, or by the handshake.
    pub(super) fn is_proved(&self) -> bool {
        self.beside.get().is_none_or(|beside| beside.told.has(PathTold::PROVED))
    }

    /// The peer was reached over it.
    pub(super) const fn on_proved(&mut self) {
        if let Some(beside) = self.beside.get_mut() {
            if !beside.told.has(PathTold::PROVED) {
                beside.told.note(PathTold::VALIDATED);
            }
            beside.told.note(PathTold::PROVED);
        }
    }

    /// There is something to be told of it.
    pub(super) const fn tell(&mut self, what: PathTold) {
        if let Some(beside) = self.beside.get_mut() {
            beside.told.note(what);
        }
    }

    /// What is sent over it is not answered, or cannot be sent. If it was not told yet that it works again, there is nothing to tell.
    pub(super) const fn on_suspect(&mut self) {
        if let Some(beside) = self.beside.get_mut()
            && !beside.told.take(PathTold::RESTORED)
        {
            beside.told.note(PathTold::SUSPECT);
        }
    }

    /// It works again.
    pub(super) const fn on_restored(&mut self) {
        self.tell(PathTold::RESTORED);
    }

    /// Its probe timeout when it was abandoned, or somewhat more; nothing while it is open.
    pub(super) fn last_pto(&self) -> Span {
        let below = self.pto_below.get().copied().unwrap_or(0);
        Span::from_micros(1_u64.checked_shl(below.into()).unwrap_or(0) & !1)
    }

    /// It is abandoned, with this probe timeout: nothing is sent over it any more.
    pub(super) const fn close(&mut self, pto: Span) {
        if let Some(below) = self.pto_below.get_mut() {
            *below = u64::BITS.saturating_sub(pto.as_micros().leading_zeros()) as u8;
        }
        self.active = NOWHERE;
        self.newest_on = NOWHERE;
        self.others = 0;
        self.ping.forget();
        self.probes = Probes::NONE;
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

/// Some of the paths of a connection, a bit for each row.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathSet(u8);

impl PathSet {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn note(&mut self, path: PathRow) {
        self.0 |= 1_u8.wrapping_shl(path.index() as u32);
    }

    pub(super) const fn has(self, path: PathRow) -> bool {
        self.0 & 1_u8.wrapping_shl(path.index() as u32) != 0
    }

    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The rows of those in it.
    pub(super) fn rows(mut self) -> impl Iterator<Item = PathRow> {
        core::iter::from_fn(move || {
            let row = (!self.is_none()).then_some(self.0.trailing_zeros() as usize)?;
            self.0 &= self.0.wrapping_sub(1);
            Some(PathRow::new(row))
        })
    }
}

impl State {
    /// The rows of the table of paths that are in use: the first one, and all of them where multipath is spoken.
    pub(super) fn path_rows(&self) -> impl Iterator<Item = PathRow> + use<> {
        (0..self.spoken().map_or(1, |spoken| usize::from(spoken.rows))).map(PathRow::new)
    }

    /// The row of a path. One that has ended has none.
    pub(super) fn row_of(&self, lent: &Lent<'_>, id: PathId) -> Option<PathRow> {
        self.path_rows().find(|row| lent.buffers.paths.get(row.index()).is_some_and(|path| path.id() == id))
    }

    /// The paths that packets are sent over.
    pub(super) fn open_paths<'a>(&self, lent: &'a Lent<'_>) -> impl Iterator<Item = PathRow> + use<'a> {
        let paths = &*lent.buffers.paths;
        self.path_rows().filter(|row| paths.get(row.index()).is_some_and(Path::is_open))
    }
}

/// What of a path matters only beside others.
pub(super) fn beside_mut<'a>(lent: &'a mut Lent<'_>, path: PathRow) -> Option<&'a mut Beside> {
    lent.buffers.paths.get_mut(path.index())?.beside.get_mut()
}

/// Whether it is the path of the handshake.
pub(super) fn is_first(lent: &Lent<'_>, path: PathRow) -> bool {
    lent.buffers.paths.get(path.index()).is_some_and(|path| path.id() == PathId::ZERO)
}

/// Whether the peer was never reached over a path.
pub(super) fn is_unproved(lent: &Lent<'_>, path: PathRow) -> bool {
    lent.buffers.paths.get(path.index()).is_some_and(|path| !path.is_proved())
}

/// Whether what was sent over the route in use of a path is not answered.
pub(super) fn is_suspect(lent: &Lent<'_>, path: PathRow) -> bool {
    lent.buffers.routes.get(active(lent, path)).is_some_and(Route::is_suspect)
}

/// Whether packets are sent over a path.
pub(super) fn is_open(lent: &Lent<'_>, path: PathRow) -> bool {
    lent.buffers.paths.get(path.index()).is_some_and(Path::is_open)
}

/// The row of the route that packets of a path are sent over. No table has such a row if there is none.
pub(super) fn active(lent: &Lent<'_>, path: PathRow) -> usize {
    lent.buffers.paths.get(path.index()).map_or(usize::from(NOWHERE), |path| usize::from(path.active))
}

/// Asks the peer for an acknowledgment of a packet of a path.
pub(super) fn want_ping(lent: &mut Lent<'_>, path: PathRow) {
    if let Some(path) = lent.buffers.paths.get_mut(path.index()) {
        path.ping.want();
    }
}

/// The path of a route.
pub(super) fn path_of(lent: &Lent<'_>, route: usize) -> PathRow {
    lent.buffers.routes.get(route).map_or(PathRow::FIRST, |route| route.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ecn;
    use crate::time::Instant;
    #[test]
    #[cfg(feature = "multipath")]
    fn the_last_word_on_a_path_is_how_it_is() {
        let told = |events: &[bool]| {
            let mut path = Path::EMPTY;
            for works in events {
                if *works { path.on_restored() } else { path.on_suspect() }
            }
            path.beside
                .get()
                .map(|beside| [PathTold::SUSPECT, PathTold::RESTORED].map(|what| beside.told.has(what)))
        };
        assert_eq!(told(&[false]), Some([true, false]));
        assert_eq!(told(&[false, true]), Some([true, true]));
        assert_eq!(told(&[false, true, false]), Some([true, false]));
        assert_eq!(told(&[true, false]), Some([false, false]), "suspect as was told before");
    }

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
