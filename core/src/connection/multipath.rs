//! Several paths at once (draft-ietf-quic-multipath-21): what is offered, what was agreed on, and how many paths there may be.
//!
//! From when multipath is agreed on each row of the table of paths stands for a path ID: the first rows for 0, 1, 2 and so on,
//! and the row of a path that has ended for the next ID, which MAX_PATH_ID tells the peer of. So an ID within our limit that
//! has no row has ended, and never comes back (draft-21 3.4); nothing else need be remembered of it.
//!
//! Without the feature `multipath` there is no [`Dialect`], so that only [`Multipath::Off`] can exist, and what this and the
//! rooms `paths`, `path_frames` and `schedule` do for others is left out by the compiler.

use core::net::SocketAddr;
use core::time::Duration;

use super::Lent;
use super::path::{Beside, Path, beside_mut};
use super::path_app::PathTold;
use super::start::State;
use crate::cid::peer::PeerCidRows;
use crate::cid::{LocalCids, PeerCids};
use crate::congestion::Coupled;
use crate::error::{Code, TransportError};
use crate::feature::WithMultipath;
use crate::ids::{PathId, PathRow};
use crate::limits::MAX_PATHS;
use crate::path::failover::{PATIENCE, Validations};
use crate::path::parcel::Parcel;
use crate::path::schedule::{self, Scheduler};
use crate::path::{Addresses, Route};
use crate::stream::copies::Copies;
use crate::time::Span;
use crate::wire::Dialect;
use crate::wire::params::TransportParams;

/// Connection IDs that are given ahead for a path that is not open yet: one to open it with, and one to move it with.
const CIDS_AHEAD: usize = 2;

/// Over which path acknowledgments return.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AckReturn {
    /// That of the packets. Round-trip times are those of the path.
    #[default]
    SamePath,
    /// The fastest: losses are found sooner, and a path that carries nothing else is not kept busy.
    Fastest,
}

/// What an application wants of multipath.
#[derive(Clone, Copy, Debug)]
pub struct MultipathConfig {
    /// The dialects that may be spoken.
    dialect: Dialect,
    other: Option<Dialect>,
    /// Paths at once, those included that have been abandoned lately: two at least are of use. As many as the memory lent has rows
    /// for if those are fewer.
    pub max_paths: u8,
    /// Which path carries what is tied to none.
    pub scheduler: Scheduler,
    /// Over which path acknowledgments return.
    pub acks: AckReturn,
    /// How the windows of paths grow that may share a bottleneck; only those of NewReno are coupled.
    pub coupled: Coupled,
    /// How long a path may leave what is sent over it without an answer, until it is sent over another, for who cannot wait for a probe
    /// timeout: that is the longest it takes. Not sooner than an answer can be there.
    pub failover: Option<Duration>,
    /// For how long a path may stay silent until it is abandoned, if another one works; `None`: for ever.
    pub patience: Option<Duration>,
}

impl MultipathConfig {
    /// Several paths in one of these dialects: of those that the peer knows, the first in [`Dialect::ALL`], in whatever order they
    /// are given, for the peer must come to the same. Nothing if there are none: without the feature `multipath` that is so.
    ///
    /// ```
    /// use peregrine_core::connection::{Config, MultipathConfig};
    /// use peregrine_core::wire::Dialect;
    /// let config = Config { multipath: MultipathConfig::speaking(Dialect::ALL), ..Config::default() };
    /// ```
    pub fn speaking(dialects: &[Dialect]) -> Option<Self> {
        Some(Self {
            dialect: *dialects.first()?,
            other: dialects.get(1).copied(),
            max_paths: MAX_PATHS as u8,
            scheduler: Scheduler::default(),
            acks: AckReturn::default(),
            coupled: Coupled::default(),
            failover: None,
            patience: Some(PATIENCE.into()),
        })
    }
}

/// What remains of a [`MultipathConfig`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    dialect: Dialect,
    other: Option<Dialect>,
    max_paths: u8,
    pub(super) acks: AckReturn,
    pub(super) coupled: Coupled,
    pub(super) scheduler: Scheduler,
    /// In microseconds; the longest is none.
    failover: u32,
    /// In milliseconds; the longest is none.
    patience: u32,
}

impl Terms {
    // Where it is inlined the compiler sees that without a dialect nobody comes here.
    #[inline(always)]
    fn of(config: &MultipathConfig) -> Self {
        let &MultipathConfig { dialect, other, max_paths, acks, coupled, scheduler, .. } = config;
        let short = |limit: u128| u32::try_from(limit).unwrap_or(u32::MAX).min(u32::MAX.saturating_sub(1));
        let failover = config.failover.map_or(u32::MAX, |limit| short(limit.as_micros()));
        let patience = config.patience.map_or(u32::MAX, |limit| short(limit.as_millis()));
        Self { dialect, other, max_paths, acks, coupled, scheduler, failover, patience }
    }

    /// The dialects that are offered, the preferred one first.
    fn dialects(&self) -> impl Iterator<Item = Dialect> + use<> {
        let offered = [Some(self.dialect), self.other];
        Dialect::ALL.iter().copied().filter(move |dialect| offered.contains(&Some(*dialect)))
    }

    /// Rows of a table of so many that are used.
    fn rows(&self, paths: usize) -> u8 {
        u8::try_from(paths.min(MAX_PATHS)).unwrap_or(1).min(self.max_paths).max(1)
    }

    /// See [`MultipathConfig::failover`].
    pub(super) fn failover(&self) -> Option<Span> {
        (self.failover != u32::MAX).then(|| Span::from_micros(self.failover.into()))
    }

    /// See [`MultipathConfig::patience`].
    pub(super) fn patience(&self) -> Option<Span> {
        (self.patience != u32::MAX).then(|| Span::from_millis(self.patience.into()))
    }
}

/// How far multipath has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Multipath {
    /// Nobody wants it, or the peer does not.
    Off,
    /// The peer's transport parameters are not known yet.
    Offered(Terms),
    Spoken(Spoken),
}

/// What was agreed on, and what concerns no single path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken {
    pub(super) dialect: Dialect,
    pub(super) terms: Terms,
    pub(super) rows: u8,
    /// The largest path ID that the peer may use, on its way to the peer.
    pub(super) max: u32,
    pub(super) max_told: Parcel,
    /// The largest path ID that we may use: by the transport parameter, and now.
    pub(super) peer_first_max: u32,
    pub(super) peer_max: u32,
    /// The peer's active_connection_id_limit, which holds for each path.
    peer_cid_limit: u8,
    /// The peer's address during the handshake: its [`Addresses::tag`].
    handshake_at: u32,
    pub(super) scheduling: schedule::State,
    /// Word that path IDs are missed.
    pub(super) ids_missed: Parcel,
    /// Word that connection IDs are missed, and of which path.
    pub(super) cids_missed: Parcel,
    pub(super) cids_missed_on: PathRow,
    pub(super) validations: Validations,
    /// What of redundant streams goes over further paths.
    pub(super) copies: Copies,
}

impl Spoken {
    /// Whether both sides allow a path of this ID.
    pub(super) const fn allows(&self, id: PathId) -> bool {
        id.0 <= self.max && id.0 <= self.peer_max
    }

    /// Another path stands in this row: what is known by the row is of the one before.
    fn forget(&mut self, row: PathRow) {
        self.scheduling.forget(row.index());
        self.copies.forget(row);
        if self.cids_missed_on == row {
            self.cids_missed.forget();
        }
    }
}

impl Multipath {
    /// Several paths in this dialect, so many of them as there are `rows`.
    // What is built where the terms stood is moved there by way of memmove.
    #[cfg_attr(target_os = "none", inline(never))]
    fn spoken(
        dialect: Dialect,
        terms: Terms,
        rows: u8,
        peer_max: u32,
        peer_cid_limit: u8,
        handshake_at: u32,
    ) -> Self {
        Self::Spoken(Spoken {
            dialect,
            terms,
            rows,
            max: u32::from(rows).saturating_sub(1),
            max_told: Parcel::NONE,
            peer_first_max: peer_max,
            peer_max,
            peer_cid_limit,
            handshake_at,
            scheduling: schedule::State::new(),
            ids_missed: Parcel::NONE,
            cids_missed: Parcel::NONE,
            cids_missed_on: PathRow::FIRST,
            validations: Validations::new(),
            copies: Copies::NONE,
        })
    }

    /// What the application wants.
    pub(super) fn wanted(config: Option<&MultipathConfig>) -> Self {
        config.map_or(Self::Off, |config| Self::Offered(Terms::of(config)))
    }
}

impl State {
    /// What was agreed on, if anything was.
    pub(super) const fn spoken(&self) -> Option<&Spoken> {
        match self.multipath.get() {
            Some(Multipath::Spoken(spoken)) => Some(spoken),
            _ => None,
        }
    }

    /// As [`Self::spoken`], to be changed.
    pub(super) const fn spoken_mut(&mut self) -> Option<&mut Spoken> {
        match self.multipath.get_mut() {
            Some(Multipath::Spoken(spoken)) => Some(spoken),
            _ => None,
        }
    }

    /// The dialect of frames.
    pub(super) fn dialect(&self) -> Option<Dialect> {
        self.spoken().map(|spoken| spoken.dialect)
    }

    /// Writes into our transport parameters what is offered. With connection IDs of no bytes on either side paths could not be told
    /// apart, and who has one himself would have to take the offer for an error (draft-21 2.1).
    pub(super) fn offer(&self, lent: &Lent<'_>, params: &mut TransportParams) {
        let Some(Multipath::Offered(terms)) = self.multipath.get() else { return };
        if self.first_flight.scid().is_empty() || peer_has_no_cids(lent) {
            return;
        }
        let max = u64::from(terms.rows(lent.buffers.paths.len())).saturating_sub(1);
        for dialect in terms.dialects() {
            params.initial_max_path_id = params.initial_max_path_id.with(dialect, max);
        }
    }

    /// The peer's transport parameters are known: the first dialect of ours that it knows is spoken (draft-21 2).
    pub(super) fn agree(
        &mut self,
        lent: &mut Lent<'_>,
        params: &TransportParams,
    ) -> Result<(), TransportError> {
        let Some(&Multipath::Offered(terms)) = self.multipath.get() else { return Ok(()) };
        self.multipath = WithMultipath::new(Multipath::Off);
        let known = |dialect: Dialect| Some((dialect, params.initial_max_path_id.get(dialect)?));
        let Some((dialect, peer_max)) = terms.dialects().find_map(known) else { return Ok(()) };
        // A server's offer comes in packets to our connection ID; a client's in such to one that it has made up.
        let has_no_cids = self.first_flight.scid().is_empty();
        if peer_has_no_cids(lent) || has_no_cids && self.side.is_client() {
            return Err(TransportError::new(
                Code::PROTOCOL_VIOLATION,
                "multipath offered with a zero-length connection ID",
            ));
        }
        if has_no_cids {
            return Ok(());
        }
        let rows = terms.rows(lent.buffers.paths.len());
        let peer_max = u32::try_from(peer_max).unwrap_or(u32::MAX);
        let peer_cid_limit = u8::try_from(params.active_cid_limit).unwrap_or(u8::MAX);
        let on = lent.buffers.routes.get(self.route(lent)).map(Route::on);
        let at = on.map_or(0, |on| Addresses::tag(&on.remote));
        self.multipath =
            WithMultipath::new(Multipath::spoken(dialect, terms, rows, peer_max, peer_cid_limit, at));
        for id in 1..u32::from(rows) {
            self.begin_path(lent, PathRow::new(id as usize), PathId(id));
        }
        // The handshake goes over the first path: whoever it is with was reached over that.
        if let Some(beside) = beside_mut(lent, PathRow::FIRST) {
            beside.told.note(PathTold::PROVED);
        }
        Ok(())
    }

    /// Whether the peer forbids us to send to this address from another one than we did: that is its address of the handshake
    /// (RFC 9000 18.2; draft-21 2.2). Who speaks of one path knows no other.
    pub(super) fn is_forbidden(&self, remote: &SocketAddr) -> bool {
        let is_it = |spoken: &Spoken| spoken.handshake_at == Addresses::tag(remote);
        self.peer.no_migration && self.spoken().is_none_or(is_it)
    }

    /// A row stands for this path ID from now on.
    pub(super) fn begin_path(&mut self, lent: &mut Lent<'_>, row: PathRow, id: PathId) {
        if let Some(spoken) = self.spoken_mut() {
            spoken.forget(row);
        }
        let limit = self.cid_limit(lent);
        let mut random = [0; 2];
        lent.session.fill_random(&mut random);
        let Some(path) = lent.buffers.paths.get_mut(row.index()) else { return };
        *path = Path::EMPTY;
        path.beside = WithMultipath::new(Beside::new(id));
        (path.local_cids, path.peer_cids) = (LocalCids::new(row), PeerCids::new(row, limit));
        // Of the path before, nothing is known by this row any more.
        let mut rows = PeerCidRows { cids: lent.buffers.peer_cids, retiring: lent.buffers.retirements };
        path.peer_cids.clear(&mut rows);
        path.skips.schedule(0, u16::from_ne_bytes(random));
        self.give_cids_ahead(lent, row);
    }

    /// Connection IDs are given ahead for a path that both sides allow (draft-21 3.2.1).
    pub(super) fn give_cids_ahead(&self, lent: &mut Lent<'_>, row: PathRow) {
        let Some(spoken) = self.spoken() else { return };
        let share = self.local_cid_share(lent);
        let Some(path) = lent.buffers.paths.get_mut(row.index()) else { return };
        if path.is_wanted() && spoken.allows(path.id()) {
            let most = if path.is_open() { share } else { share.min(CIDS_AHEAD) };
            path.local_cids.on_peer_limit(spoken.peer_cid_limit.into(), most);
        }
    }

    /// The row of the path that a frame speaks of; nothing if that has ended, and the frame is to be ignored (draft-21 4).
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if the ID is larger than we have allowed.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn path_named(&self, lent: &Lent<'_>, id: u64) -> Result<Option<PathRow>, TransportError> {
        let max = self.spoken().map_or(0, |spoken| spoken.max);
        match u32::try_from(id) {
            Ok(id) if id <= max => Ok(self.row_of(lent, PathId(id))),
            _ => Err(TransportError::new(Code::PROTOCOL_VIOLATION, "path ID is larger than MAX_PATH_ID")),
        }
    }

    /// Whether a path was neither opened nor abandoned yet.
    pub(super) fn is_unused(&self, lent: &Lent<'_>, path: PathRow) -> bool {
        let is_unused = |path: &Path| !path.is_open() && path.is_wanted();
        self.spoken().is_some() && lent.buffers.paths.get(path.index()).is_some_and(is_unused)
    }

    /// Whether a path was abandoned that is not forgotten yet.
    pub(super) fn has_abandoned(&self, lent: &Lent<'_>) -> bool {
        let is_abandoned = |path: &Path| !path.is_wanted();
        let mut rows = self.path_rows();
        self.spoken().is_some()
            && rows.any(|row| lent.buffers.paths.get(row.index()).is_some_and(is_abandoned))
    }

    /// Whether there is a choice between paths to send over.
    pub(super) fn has_choice(&self, lent: &Lent<'_>) -> bool {
        self.spoken().is_some() && self.open_paths(lent).nth(1).is_some()
    }
}

/// Whether the peer's connection ID has no bytes. A client does not know that yet when it offers.
fn peer_has_no_cids(lent: &Lent<'_>) -> bool {
    lent.buffers.paths.first().is_some_and(|path| path.peer_cids.is_zero_length())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn both_sides_prefer_the_same_dialect() {
        let turned: Vec<_> = Dialect::ALL.iter().rev().copied().collect();
        let dialects =
            MultipathConfig::speaking(&turned).into_iter().flat_map(|config| Terms::of(&config).dialects());
        assert_eq!(dialects.collect::<Vec<_>>(), Dialect::ALL);
    }
}
