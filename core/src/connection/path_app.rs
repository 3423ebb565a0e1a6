//! What the application may do about paths, and what it sees of them.

use core::fmt;
use core::net::SocketAddr;
use core::num::NonZeroU8;
use core::time::Duration;

use super::path::{Beside, Path, beside_mut};
use super::start::State;
use super::{Connection, Lent, Memory, RouteView};
use crate::ids::{FourTuple, PathId, PathRow, StreamId};
use crate::path::abandon::By;
use crate::path::{Availability, Route};
use crate::session::Session;
use crate::stream::{Closed, Tie};
use crate::time::Instant;
use crate::wire::dialect::AbandonCode;

/// Why a path was not opened, or not abandoned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PathError {
    /// Multipath was not agreed on with the peer.
    Unsupported,
    /// Only a client opens paths.
    Server,
    /// The handshake is not confirmed yet; an event tells when it is.
    Unconfirmed,
    /// The peer has asked us not to open paths to the address of its handshake (disable_active_migration).
    Forbidden,
    /// All path IDs that the peer allows are used up. It was told; an event tells when there is another one.
    NoPathId,
    /// There are no connection IDs for another path yet. The peer was told; an event tells when there are.
    NoCid,
    /// There is no row for another route in the memory lent.
    Full,
    /// Too many paths are being tried: wait until one is validated, or has failed.
    Busy,
    /// There is no such path (any more).
    Unknown,
    /// It is the only path: close the connection instead.
    Last,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "multipath was not agreed on; both sides have to offer it",
            Self::Server => "only a client opens paths",
            Self::Unconfirmed => "the handshake is not confirmed yet; wait for the event that says so",
            Self::Forbidden => "the peer allows no paths to the address of its handshake",
            Self::NoPathId => {
                "all path IDs that the peer allows are used up; wait for the event of another one"
            }
            Self::NoCid => {
                "there are no connection IDs for another path yet; wait for the event that says so"
            }
            Self::Full => "there is no room for another route; give the connection more memory",
            Self::Busy => "too many paths are being tried; wait until one is validated or has failed",
            Self::Unknown => "there is no such path",
            Self::Last => "it is the only path; close the connection instead",
        })
    }
}

impl core::error::Error for PathError {}

/// What may happen to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PathEvent {
    /// It is open: by us, or by the peer.
    Opened,
    /// The peer was reached over it: it carries data from now on.
    Validated,
    /// What was sent over it is not answered, or nothing can be sent over it: others carry that too, as soon as one works.
    Suspect,
    /// It works again, as far as is known: it answers, its network is back, or it has moved.
    Restored,
    /// The peer would now have it used as this.
    Status(Availability),
    /// It was abandoned: nothing is sent over it any more.
    Abandoned,
}

/// What of a path was not told yet, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PathTold(u8);

impl PathTold {
    pub(super) const ALL: Self = Self(0);
    pub(super) const OPENED: Self = Self(1);
    pub(super) const VALIDATED: Self = Self(2);
    pub(super) const SUSPECT: Self = Self(4);
    pub(super) const RESTORED: Self = Self(8);
    pub(super) const STATUS: Self = Self(16);
    pub(super) const ABANDONED: Self = Self(32);
    /// Not to be told: the peer was reached over it once.
    pub(super) const PROVED: Self = Self(64);

    pub(super) const fn note(&mut self, what: Self) {
        self.0 |= what.0;
    }

    /// Whether nothing is to be told.
    pub(super) const fn is_all(self) -> bool {
        self.0 & !Self::PROVED.0 == 0
    }

    pub(super) const fn has(self, what: Self) -> bool {
        self.0 & what.0 != 0
    }

    pub(super) const fn take(&mut self, what: Self) -> bool {
        let noted = self.0 & what.0 != 0;
        self.0 &= !what.0;
        noted
    }
}

/// What is known of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PathView {
    /// Its ID.
    pub id: PathId,
    /// The route that its packets take; none once it is abandoned.
    pub route: Option<RouteView>,
    /// Whether what was sent over it is not answered.
    pub suspect: bool,
    /// How we would have the peer use it.
    pub local_status: Availability,
    /// How the peer would have us use it.
    pub peer_status: Availability,
    /// Who has abandoned it and why, if anybody has.
    pub abandoned: Option<(By, AbandonCode)>,
}

impl<M: Memory, S: Session> Connection<M, S> {
    /// Opens another path between these addresses (draft-21 3.1), to be used as `status` says: by the peer too, which is told. An
    /// event tells when the peer was reached over it; until then nothing but that is tried. Returns its ID.
    ///
    /// The remote address is the peer's as [`Self::remote`] tells it, or another one where it is known to be. Paths may have the
    /// same addresses.
    ///
    /// # Errors
    /// See [`PathError`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn open_path(
        &mut self,
        now: Instant,
        on: FourTuple,
        status: Availability,
    ) -> Result<PathId, PathError> {
        let (state, mut lent) = self.lend();
        state.open_path(now, &mut lent, on, status)
    }

    /// Whether [`Self::open_path`] to this address of the peer may be called now: to be asked before a socket is made for it.
    /// Whether there is a row for the route, and whether it is tried at once, is looked at only then.
    ///
    /// # Errors
    /// [`PathError::Unsupported`], [`PathError::Server`], [`PathError::Unconfirmed`], [`PathError::Forbidden`];
    /// [`PathError::NoPathId`] and [`PathError::NoCid`], of which the peer is told.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn may_open_path(&mut self, remote: SocketAddr) -> Result<(), PathError> {
        let (state, lent) = self.lend();
        state.unused_path(&lent, remote).map(|_| ())
    }

    /// Gives up a path: what is under way on it is sent over the others, and the peer is told why.
    ///
    /// # Errors
    /// [`PathError::Unknown`], [`PathError::Last`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn abandon_path(&mut self, now: Instant, path: PathId, why: AbandonCode) -> Result<(), PathError> {
        let (state, mut lent) = self.lend();
        let row = state.row_of(&lent, path).ok_or(PathError::Unknown)?;
        if !lent.buffers.paths.get(row.index()).is_some_and(Path::is_wanted) {
            return Err(PathError::Unknown);
        }
        if state.open_paths(&lent).all(|open| open == row) {
            return Err(PathError::Last);
        }
        state.abandon_path(now, &mut lent, row, why);
        Ok(())
    }

    /// Says how a path should be used, to the peer and to our own scheduler.
    ///
    /// # Errors
    /// [`PathError::Unknown`], [`PathError::Unsupported`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn set_path_status(&mut self, path: PathId, backup: bool) -> Result<(), PathError> {
        let (state, lent) = self.lend();
        if state.spoken().is_none() {
            return Err(PathError::Unsupported);
        }
        let row = state.row_of(&lent, path).ok_or(PathError::Unknown)?;
        let path = lent.buffers.paths.get_mut(row.index()).filter(|path| path.is_wanted());
        let beside = path.and_then(|path| path.beside.get_mut()).ok_or(PathError::Unknown)?;
        beside.status.set(backup);
        Ok(())
    }

    /// Sends what a stream carries over a path rather than where the scheduler would: see [`Tie`]. Of the streams of each
    /// urgency that have something to send the first eight are looked at: so many tied to a path that has no room hold back the
    /// others.
    ///
    /// # Errors
    /// If there is no such stream (any more).
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn tie_stream(&mut self, id: StreamId, tie: Tie) -> Result<(), Closed> {
        let (state, mut lent) = self.lend();
        state.streams.set_tie(&mut lent.buffers.streams, id, tie)
    }

    /// Sets the share of a path for [`Scheduler::Weighted`](crate::path::schedule::Scheduler::Weighted), or its rank for `Primary`.
    /// One is what a path begins with.
    ///
    /// # Errors
    /// [`PathError::Unknown`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn set_path_weight(&mut self, path: PathId, weight: NonZeroU8) -> Result<(), PathError> {
        let (state, mut lent) = self.lend();
        let row = state.row_of(&lent, path).ok_or(PathError::Unknown)?;
        beside_mut(&mut lent, row).ok_or(PathError::Unknown)?.weight_beyond_one =
            weight.get().saturating_sub(1);
        Ok(())
    }

    /// Keeps a path awake that carries nothing: by a PING whenever nothing came over it for so long, up to ten minutes; `None`, as it
    /// begins: it may sleep, and loses its place at NATs. [`Config::keep_alive`](super::Config::keep_alive) keeps the connection
    /// awake, over whatever path.
    ///
    /// # Errors
    /// [`PathError::Unknown`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn set_path_keep_alive(&mut self, path: PathId, after: Option<Duration>) -> Result<(), PathError> {
        let (state, mut lent) = self.lend();
        let row = state.row_of(&lent, path).ok_or(PathError::Unknown)?;
        let hundredths = |after: Duration| u16::try_from(after.as_millis() / 10).unwrap_or(u16::MAX).max(1);
        beside_mut(&mut lent, row).ok_or(PathError::Unknown)?.keep_alive = after.map_or(0, hundredths);
        Ok(())
    }

    /// Marks the packets of a path with a Differentiated Services codepoint, of which the low six bits count (draft-21 5.2). Each
    /// side marks its own; what the adapter cannot mark goes unmarked.
    ///
    /// # Errors
    /// [`PathError::Unknown`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn set_path_dscp(&mut self, path: PathId, dscp: u8) -> Result<(), PathError> {
        let (state, lent) = self.lend();
        let row = state.row_of(&lent, path).ok_or(PathError::Unknown)?;
        let path = lent.buffers.paths.get_mut(row.index());
        *path.and_then(|path| path.dscp.get_mut()).ok_or(PathError::Unknown)? = dscp & 0x3f;
        Ok(())
    }

    /// The paths that are open, or were abandoned lately. A connection that speaks no multipath has one.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn paths(&mut self) -> impl Iterator<Item = PathView> {
        let (state, lent) = self.lend();
        let rows = state.path_rows();
        rows.filter_map(move |row| view(state, &lent, row))
    }

    /// A path.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn path(&mut self, id: PathId) -> Option<PathView> {
        let (state, lent) = self.lend();
        view(state, &lent, state.row_of(&lent, id)?)
    }

    /// Whether multipath was agreed on.
    pub fn is_multipath(&self) -> bool {
        self.state.spoken().is_some()
    }
}

fn view(state: &State, lent: &Lent<'_>, row: PathRow) -> Option<PathView> {
    let path = lent.buffers.paths.get(row.index())?;
    if !path.is_open() && path.is_wanted() {
        return None;
    }
    let beside = path.beside.get().copied().unwrap_or(Beside::new(PathId::ZERO));
    let route = usize::from(path.active);
    let active = lent.buffers.routes.get(route);
    Some(PathView {
        id: path.id(),
        route: active.map(|active| RouteView::of(route, active)),
        suspect: active.is_some_and(Route::is_suspect),
        local_status: beside.status.ours(),
        peer_status: beside.status.peers(),
        abandoned: beside
            .abandon
            .cause()
            .and_then(|(by, code)| Some((by, AbandonCode::from_number(state.dialect()?, code)))),
    })
}
