//! The connection IDs that we send to (RFC 9000 5.1.2, 10.3.1, 19.15, 19.16).
//!
//! ```text
//! on_new_cid --> Spare --take--> Held by routes --retire--> Retirement Wanted --write--> InFlight --acked--> gone
//!                  '------- retire_prior_to -------------------^        ^-----lost---------'
//! ```
//!
//! Who follows a peer has one ID for each that the peer sends to: as long as that stays the same, so does the answer, from
//! whatever address the peer comes (RFC 9000 9.5). So rebindings, copies and spoofed packets use up no ID, and a peer that
//! may be given as many as it gives can always be answered. Such an ID is held by no route between two; it is retired when
//! the peer retires its own.
//!
//! A retired ID needs no more than its number remembered until the peer has our RETIRE_CONNECTION_ID: such rows are
//! small and lie in a table of their own. Their number bounds what a peer can make us remember: one that withdraws IDs
//! faster than it acknowledges their retirement is closed with CONNECTION_ID_LIMIT_ERROR, as RFC 9000 5.1.2 permits
//! once twice the active_connection_id_limit are outstanding; the table should hold that many for each path.
//!
//! One [`PeerCids`] per path ID; the rows of all paths lie in the same two tables. It does not decide which route
//! deserves an ID when they are scarce: routes that lose theirs are named, and take a new one in their user's order.

use crate::cid::{Carrier, Routes};
use crate::delivery::Delivery;
use crate::error::{Code, Full, TransportError, Trap};
use crate::ids::{CidTag, PathId, PathRow};
use crate::limits::RESET_TOKEN_LEN;
use crate::wire::frame::{Frame, NewConnectionId, PathRetireConnectionId, RetireConnectionId};
use crate::wire::{Cid, Dialect, PacketWriter};

/// A connection ID that the peer issued, or a free row.
#[derive(Clone, Copy, Debug)]
pub struct PeerCid {
    seq: u32,
    path: PathRow,
    state: State,
    /// Our ID that it answers, if it stays with one.
    answers: Option<CidTag>,
    cid: Cid,
    reset_token: Option<[u8; RESET_TOKEN_LEN]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    /// Never sent to.
    Spare,
    /// What these routes send to, or did.
    Held(Routes),
}

impl PeerCid {
    /// A free row.
    pub const FREE: Self = Self {
        seq: 0,
        path: PathRow::FIRST,
        state: State::Free,
        answers: None,
        cid: Cid::EMPTY,
        reset_token: None,
    };

    /// Its sequence number on its path.
    pub const fn seq(&self) -> u64 {
        self.seq as u64
    }

    /// The connection ID.
    pub const fn cid(&self) -> &Cid {
        &self.cid
    }

    /// Whether the row is free.
    pub const fn is_free(&self) -> bool {
        matches!(self.state, State::Free)
    }

    const fn is_held_by(&self, route: u8) -> bool {
        matches!(self.state, State::Held(routes) if routes.has(route))
    }
}

/// A connection ID of the peer that we retire, or a free row.
#[derive(Clone, Copy, Debug)]
pub struct Retirement {
    seq: u32,
    path: PathRow,
    carrier: Carrier,
    /// [`Delivery::Idle`] in a free row.
    delivery: Delivery,
}

impl Retirement {
    /// A free row.
    pub const FREE: Self = Self {
        seq: 0,
        path: PathRow::FIRST,
        carrier: Carrier { space: PathRow::FIRST, pn: [0; 4] },
        delivery: Delivery::Idle,
    };

    /// Whether it holds nothing.
    pub const fn is_free(&self) -> bool {
        self.delivery.is_idle()
    }
}

/// The tables of all paths.
#[derive(Debug)]
pub struct PeerCidRows<'a> {
    /// IDs in use or spare: for each path as many as the active_connection_id_limit we advertise.
    pub cids: &'a mut [PeerCid],
    /// Retirements the peer has not acknowledged: for each path at least twice as many.
    pub retiring: &'a mut [Retirement],
}

/// Whether `token` is the stateless reset token of an ID that we send to (RFC 9000 10.3.1). Spare and retired IDs do
/// not count. Takes the same time whatever matches.
pub fn is_reset_token(cids: &[PeerCid], token: &[u8; RESET_TOKEN_LEN]) -> bool {
    let matches = cids.iter().fold(0_u8, |matches, row| {
        let known = matches!(row.state, State::Held(_)) && row.reset_token.is_some();
        let theirs = row.reset_token.unwrap_or_default();
        let differ = theirs.iter().zip(token).fold(0_u8, |differ, (a, b)| differ | (a ^ b));
        // All ones if nothing differs, without a branch on it.
        let equal = core::hint::black_box(u16::from(differ).wrapping_sub(1) >> 8) as u8;
        matches | (equal & u8::from(known))
    });
    matches != 0
}

/// Which sequence numbers were seen: all that matters of the newest 32. Peers number their IDs one by one, so that an
/// older one that is new to us can only be a straggler; it counts as not seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// One beyond the largest.
    next: u32,
    /// Bit `i` stands for `next - 1 - i`.
    bits: u32,
}

impl Seen {
    /// Notes `seq`; returns how it stands to those before.
    fn insert(&mut self, seq: u32) -> Sighting {
        if seq >= self.next {
            let steps = seq.saturating_sub(self.next).saturating_add(1);
            self.bits = self.bits.checked_shl(steps).unwrap_or(0) | 1;
            self.next = seq.saturating_add(1);
            return Sighting::New;
        }
        let age = self.next.saturating_sub(1).saturating_sub(seq);
        match 1_u32.checked_shl(age) {
            None => Sighting::TooOld,
            Some(bit) if self.bits & bit != 0 => Sighting::Known,
            Some(bit) => {
                self.bits |= bit;
                Sighting::New
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sighting {
    New,
    Known,
    /// New or known: it is too far back to tell.
    TooOld,
}

/// Whether the peer numbers its IDs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Numbered,
    /// It has the one ID of no bytes, which all routes use (RFC 9000 5.1.1).
    ZeroLength,
}

/// The use of the peer's connection IDs on one path.
#[derive(Clone, Copy, Debug)]
pub struct PeerCids {
    path: PathRow,
    kind: Kind,
    /// Retirements that wait to be sent, so that a packet with nothing to tell costs no scan.
    unsent: u8,
    limit: u8,
    retire_prior_to: u32,
    seen: Seen,
}

impl PeerCids {
    /// A path that has no connection ID yet. `limit` is the active_connection_id_limit that we advertise.
    pub const fn new(path: PathRow, limit: u8) -> Self {
        let seen = Seen { next: 0, bits: 0 };
        Self { path, kind: Kind::Numbered, unsent: 0, limit, retire_prior_to: 0, seen }
    }

    /// The path of the handshake: `cid` is the SCID of the peer's first Initial, and `route` sends to it.
    ///
    /// # Errors
    /// INTERNAL_ERROR if the table has no row at all.
    pub fn with_handshake_cid(
        rows: &mut PeerCidRows<'_>,
        limit: u8,
        cid: Cid,
        route: u8,
    ) -> Result<Self, TransportError> {
        let mut peer = Self::new(PathRow::FIRST, limit);
        if cid.is_empty() {
            peer.kind = Kind::ZeroLength;
        }
        peer.seen.insert(0);
        peer.insert(rows.cids, 0, cid, None, State::Held(Routes::only(route)))?;
        Ok(peer)
    }

    /// The stateless_reset_token transport parameter of a server, which belongs to the handshake's ID.
    pub fn on_reset_token(&self, cids: &mut [PeerCid], token: [u8; RESET_TOKEN_LEN]) {
        if let Some(row) = self.find_mut(cids, |row| row.seq == 0) {
            row.reset_token = Some(token);
        }
    }

    /// The ID of the server's preferred_address transport parameter, which has sequence number 1.
    ///
    /// # Errors
    /// As [`Self::on_new_cid`], but for CIDs of no bytes, which the parser of transport parameters refuses.
    pub fn on_preferred(
        &mut self,
        rows: &mut PeerCidRows<'_>,
        cid: Cid,
        token: [u8; RESET_TOKEN_LEN],
    ) -> Result<(), TransportError> {
        self.accept(rows, 1, cid, token)
    }

    /// A NEW_CONNECTION_ID frame. Returns the routes whose ID the peer withdrew: each must [`Self::take`] another
    /// before it sends again.
    ///
    /// # Errors
    /// - PROTOCOL_VIOLATION if the peer has a zero-length ID, or contradicts an earlier frame;
    /// - CONNECTION_ID_LIMIT_ERROR if there are more IDs than our limit, or more retirements than the table holds.
    pub fn on_new_cid(
        &mut self,
        rows: &mut PeerCidRows<'_>,
        frame: &NewConnectionId,
    ) -> Result<Routes, TransportError> {
        if self.kind == Kind::ZeroLength {
            return Err(violation("new connection ID beside a zero-length one"));
        }
        // A frame told again may carry a newer order, hence this comes first; and it makes room (RFC 9000 5.1.2).
        // Numbers go up by one with each ID (RFC 9000 5.1.1): nobody gets that far.
        let number = |seq| u32::try_from(seq).map_err(|_| violation("connection ID numbers run ahead"));
        let (seq, retire_prior_to) = (number(frame.seq)?, number(frame.retire_prior_to)?);
        self.check_consistent(rows.cids, seq, &frame.cid, &frame.reset_token)?;
        let withdrawn = self.withdraw(rows, retire_prior_to)?;
        self.accept(rows, seq, frame.cid, frame.reset_token)?;
        Ok(withdrawn)
    }

    /// The ID that `route` sends to.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn of<'a>(&self, cids: &'a [PeerCid], route: u8) -> Option<&'a PeerCid> {
        let shared = self.kind == Kind::ZeroLength;
        cids.iter().find(|row| !row.is_free() && row.path == self.path && (shared || row.is_held_by(route)))
    }

    /// How many IDs were never used.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn spares(&self, cids: &[PeerCid]) -> usize {
        cids.iter().filter(|row| row.state == State::Spare && row.path == self.path).count()
    }

    /// Whether one more route could be given an ID that no other sends to, or needs none.
    pub fn has_cid_for_another(&self, cids: &[PeerCid]) -> bool {
        self.kind == Kind::ZeroLength || self.spares(cids) > 0
    }

    /// Whether the peer has an ID of no bytes.
    pub const fn is_zero_length(&self) -> bool {
        matches!(self.kind, Kind::ZeroLength)
    }

    /// Gives an unused ID to `route`, which has none; the oldest first. Returns whether there was one; with a zero-length ID
    /// there always is.
    pub fn take(&self, cids: &mut [PeerCid], route: u8) -> bool {
        if self.kind == Kind::ZeroLength {
            return self.of(cids, route).is_some();
        }
        let path = self.path;
        let spares = cids.iter_mut().filter(|row| row.state == State::Spare && row.path == path);
        let oldest = spares.min_by_key(|row| row.seq);
        oldest.map(|row| row.state = State::Held(Routes::only(route))).is_some()
    }

    /// Whether there is an ID that answers ours of this tag.
    pub fn has_answer(&self, cids: &[PeerCid], tag: CidTag) -> bool {
        cids.iter().any(|row| !row.is_free() && row.path == self.path && row.answers == Some(tag))
    }

    /// Gives `route`, which has none, the ID that answers ours of this `tag`, or else an unused one. Returns whether there was
    /// one.
    pub fn answer(&self, cids: &mut [PeerCid], route: u8, tag: Option<CidTag>) -> bool {
        let known = self.find_mut(cids, |row| tag.is_some() && row.answers == tag);
        if let Some(PeerCid { state: State::Held(routes), .. }) = known {
            *routes = routes.and(Routes::only(route));
            return true;
        }
        let taken = self.take(cids, route);
        if taken {
            self.tie(cids, route, tag);
        }
        taken
    }

    /// Retires the IDs that no route holds, for which the peer will give others.
    pub fn exchange(&mut self, rows: &mut PeerCidRows<'_>) {
        self.retire_unheld(rows, |_| true);
    }

    /// The peer has reached us for the first time on `route`, by our ID of this tag, which what is sent there answers.
    pub fn on_reached(&self, cids: &mut [PeerCid], route: u8, tag: CidTag) {
        self.tie(cids, route, Some(tag));
    }

    /// The peer has gone over to our ID of this tag on `route`, which goes over to another one as well if it can. Returns
    /// whether it does.
    pub fn follow(&mut self, rows: &mut PeerCidRows<'_>, route: u8, tag: CidTag) -> bool {
        let can = self.has_answer(rows.cids, tag) || self.spares(rows.cids) > 0;
        can && self.leave(rows, route).is_ok() && self.answer(rows.cids, route, Some(tag))
    }

    fn tie(&self, cids: &mut [PeerCid], route: u8, tag: Option<CidTag>) {
        let row = self.find_mut(cids, |row| row.is_held_by(route));
        if let Some(row) = row.filter(|_| self.kind == Kind::Numbered) {
            row.answers = tag;
        }
    }

    /// `route` will not send to its ID any more. Unlike with [`Self::retire`] the ID stays as long as it answers one of ours.
    ///
    /// # Errors
    /// As there.
    pub fn leave(&mut self, rows: &mut PeerCidRows<'_>, route: u8) -> Result<(), Full> {
        match self.find_mut(rows.cids, |row| row.is_held_by(route) && row.answers.is_some()) {
            Some(PeerCid { state: State::Held(routes), .. }) => {
                *routes = routes.without(route);
                Ok(())
            }
            _ => self.retire(rows, route),
        }
    }

    /// The peer has retired our ID of this tag: what answered it may be retired as well.
    pub fn on_peer_retired(&mut self, rows: &mut PeerCidRows<'_>, tag: CidTag) {
        if let Some(row) = self.find_mut(rows.cids, |row| row.answers == Some(tag)) {
            row.answers = None;
        }
        self.retire_unheld(rows, |row| row.answers.is_none());
    }

    /// With no room for another retirement an ID stays as it is.
    fn retire_unheld(&mut self, rows: &mut PeerCidRows<'_>, which: impl Fn(&PeerCid) -> bool) {
        for row in rows.cids.iter_mut() {
            if row.path == self.path
                && row.state == State::Held(Routes::NONE)
                && which(row)
                && self.want_retirement(rows.retiring, row.seq).is_ok()
            {
                *row = PeerCid::FREE;
            }
        }
    }

    /// `route` will not send to its ID any more; an ID that no route is left with is retired.
    ///
    /// # Errors
    /// [`Full`] if too many retirements are on their way already; the route keeps its ID.
    pub fn retire(&mut self, rows: &mut PeerCidRows<'_>, route: u8) -> Result<(), Full> {
        if self.kind == Kind::ZeroLength {
            return Ok(());
        }
        let Some(row) = self.find_mut(rows.cids, |row| row.is_held_by(route)) else { return Ok(()) };
        let State::Held(routes) = row.state else { return Ok(()) };
        let left = routes.without(route);
        if left.is_empty() {
            self.want_retirement(rows.retiring, row.seq)?;
            *row = PeerCid::FREE;
        } else {
            row.state = State::Held(left);
        }
        Ok(())
    }

    /// Whether there is something to write.
    pub const fn has_wanted(&self) -> bool {
        self.unsent > 0
    }

    /// The number of the next ID that the peer is expected to give.
    pub const fn next_seq(&self) -> u64 {
        self.seen.next as u64
    }

    /// Writes RETIRE_CONNECTION_ID frames into packet `pn` of the 1-RTT space of `space`, as many as fit; of multipath where the
    /// path is named in a dialect of it.
    pub fn write(
        &mut self,
        retiring: &mut [Retirement],
        names: Option<(Dialect, PathId)>,
        space: PathRow,
        pn: u64,
        out: &mut PacketWriter<'_>,
    ) {
        if !self.has_wanted() {
            return;
        }
        for row in retiring.iter_mut().filter(|row| row.path == self.path && row.delivery.is_wanted()) {
            let seq = row.seq.into();
            let frame =
                names.map_or(Frame::RetireConnectionId(RetireConnectionId { seq }), |(dialect, path)| {
                    Frame::PathRetireConnectionId(PathRetireConnectionId {
                        dialect,
                        path: path.0.into(),
                        seq,
                    })
                });
            if out.push(&frame).is_err() {
                return;
            }
            row.delivery.on_sent();
            row.carrier = Carrier::new(space, pn);
            self.unsent = self.unsent.saturating_sub(1);
        }
    }

    /// Packet `pn` of `space`, which carried RETIRE_CONNECTION_ID frames, was acknowledged.
    pub fn on_acked(&self, retiring: &mut [Retirement], space: PathRow, pn: u64) {
        for row in self.carried(retiring, Carrier::new(space, pn)) {
            *row = Retirement::FREE;
        }
    }

    /// That packet was lost: what it carried is wanted again.
    pub fn on_lost(&mut self, retiring: &mut [Retirement], space: PathRow, pn: u64) {
        let mut lost = 0_u8;
        for row in self.carried(retiring, Carrier::new(space, pn)) {
            row.delivery.on_lost();
            lost = lost.saturating_add(1);
        }
        self.unsent = self.unsent.saturating_add(lost);
    }

    /// Forgets all IDs and retirements of the path: the path has ended.
    pub fn clear(&mut self, rows: &mut PeerCidRows<'_>) {
        rows.cids.iter_mut().filter(|row| row.path == self.path).for_each(|row| *row = PeerCid::FREE);
        rows.retiring.iter_mut().filter(|row| row.path == self.path).for_each(|row| *row = Retirement::FREE);
        self.unsent = 0;
    }

    /// One number, one ID, one token (RFC 9000 19.15).
    fn check_consistent(
        &self,
        cids: &[PeerCid],
        seq: u32,
        cid: &Cid,
        token: &[u8; RESET_TOKEN_LEN],
    ) -> Result<(), TransportError> {
        for row in cids.iter().filter(|row| !row.is_free()) {
            let same_seq = row.seq == seq && row.path == self.path;
            if same_seq != (row.cid == *cid) {
                return Err(violation("sequence number and connection ID do not match an earlier frame"));
            }
            if same_seq && row.reset_token.is_some_and(|known| known != *token) {
                return Err(violation("connection ID comes with another reset token than before"));
            }
        }
        Ok(())
    }

    /// Retires every ID below `retire_prior_to`; returns the routes that lose theirs.
    fn withdraw(
        &mut self,
        rows: &mut PeerCidRows<'_>,
        retire_prior_to: u32,
    ) -> Result<Routes, TransportError> {
        let mut withdrawn = Routes::NONE;
        if retire_prior_to <= self.retire_prior_to {
            return Ok(withdrawn);
        }
        self.retire_prior_to = retire_prior_to;
        for row in rows.cids.iter_mut() {
            if row.is_free() || row.path != self.path || row.seq >= retire_prior_to {
                continue;
            }
            self.want_retirement(rows.retiring, row.seq).map_err(|Full| TOO_MANY_RETIREMENTS)?;
            if let State::Held(routes) = row.state {
                withdrawn = withdrawn.and(routes);
            }
            *row = PeerCid::FREE;
        }
        Ok(withdrawn)
    }

    /// Keeps an ID as a spare, unless it was seen before or is to be retired.
    fn accept(
        &mut self,
        rows: &mut PeerCidRows<'_>,
        seq: u32,
        cid: Cid,
        token: [u8; RESET_TOKEN_LEN],
    ) -> Result<(), TransportError> {
        let sighting = self.seen.insert(seq);
        match sighting {
            Sighting::Known => Ok(()),
            Sighting::New if seq >= self.retire_prior_to => {
                let active = rows.cids.iter().filter(|row| !row.is_free() && row.path == self.path).count();
                if active >= usize::from(self.limit) {
                    return Err(TransportError::new(
                        Code::CONNECTION_ID_LIMIT_ERROR,
                        "more connection IDs than active_connection_id_limit",
                    )
                    .in_frame(0x18));
                }
                self.insert(rows.cids, seq, cid, Some(token), State::Spare)
            }
            // A straggler that may be in use, which the tables know.
            Sighting::TooOld if self.find_mut(rows.cids, |row| row.seq == seq).is_some() => Ok(()),
            Sighting::New | Sighting::TooOld => {
                self.want_retirement(rows.retiring, seq).map_err(|Full| TOO_MANY_RETIREMENTS)
            }
        }
    }

    fn insert(
        &self,
        cids: &mut [PeerCid],
        seq: u32,
        cid: Cid,
        reset_token: Option<[u8; RESET_TOKEN_LEN]>,
        state: State,
    ) -> Result<(), TransportError> {
        let row = cids.iter_mut().find(|row| row.is_free());
        let row = row.trap("fewer rows of peer connection IDs than advertised")?;
        *row = PeerCid { seq, path: self.path, state, answers: None, cid, reset_token };
        Ok(())
    }

    fn want_retirement(&mut self, retiring: &mut [Retirement], seq: u32) -> Result<(), Full> {
        if retiring.iter().any(|row| !row.is_free() && row.path == self.path && row.seq == seq) {
            return Ok(());
        }
        let row = retiring.iter_mut().find(|row| row.is_free()).ok_or(Full)?;
        *row = Retirement { seq, path: self.path, carrier: Carrier::default(), delivery: Delivery::Wanted };
        self.unsent = self.unsent.saturating_add(1);
        Ok(())
    }

    fn find_mut<'a>(
        &self,
        cids: &'a mut [PeerCid],
        mut is_it: impl FnMut(&PeerCid) -> bool,
    ) -> Option<&'a mut PeerCid> {
        cids.iter_mut().find(|row| !row.is_free() && row.path == self.path && is_it(row))
    }

    fn carried<'a>(
        &self,
        retiring: &'a mut [Retirement],
        carrier: Carrier,
    ) -> impl Iterator<Item = &'a mut Retirement> {
        let path = self.path;
        retiring.iter_mut().filter(move |row| {
            row.path == path && row.carrier == carrier && row.delivery == Delivery::InFlight
        })
    }
}

const TOO_MANY_RETIREMENTS: TransportError = TransportError::new(
    Code::CONNECTION_ID_LIMIT_ERROR,
    "connection IDs withdrawn faster than their retirement is acked",
)
.in_frame(0x18);

const fn violation(reason: &'static str) -> TransportError {
    TransportError::new(Code::PROTOCOL_VIOLATION, reason).in_frame(0x18)
}

#[cfg(test)]
mod tests;
