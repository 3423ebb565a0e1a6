//! One connection: the shim an application holds, and the state all logic works on.
//!
//! | file | what |
//! | --- | --- |
//! | `start`, `accept` | how a connection begins: both roles, and a server's |
//! | `receive` | the way in: from a datagram to packets that were opened |
//! | `frames` | one match: each frame to its owner |
//! | `early` | Retry, Version Negotiation, transport parameters, levels that come and go |
//! | `outcome` | what an ACK, a loss or a discarded key means to the owners |
//! | `plan` | where the next datagrams go, how much may be sent there, which levels speak |
//! | `transmit` | the way out: how packets fill datagrams |
//! | `packet` | one packet: header, contributors in their order, seal, sent row |
//! | `timers` | every deadline, gathered and handed out |
//! | `app` | what the application may do |
//! | `datagram` | DATAGRAM frames |
//! | `routes` | how routes begin, are taken into use, and end |
//! | `cids` | which connection IDs routes use, and when they are replaced |
//! | `multipath` | several paths at once: what was agreed on |
//! | `paths`, `path_frames` | how paths begin and end; what is said of them |
//! | `path_app` | what the application may do about paths |
//! | `schedule` | which path carries what; what becomes of it when that falls silent |
//! | `preferred` | a client's way to the address that its server prefers |
//! | `migrate` | what the application may do about routes |
//! | `events` | what it is told |
//! | `storage`, `config` | the memory lent, the choices made |
//!
//! [`Connection`] is generic over memory and session; `State` and everything below is not, so it is compiled once.

#[cfg(any(feature = "server", test))]
mod accept;
mod app;
mod cids;
mod config;
mod datagram;
mod early;
mod events;
mod frames;
mod migrate;
mod multipath;
mod outcome;
mod packet;
mod path;
mod path_app;
mod path_frames;
mod paths;
mod plan;
mod preferred;
mod receive;
mod routes;
mod schedule;
mod start;
mod stats;
mod storage;
mod timers;
mod transmit;
mod usage;

pub use crate::cid::local::NotYet;
pub use crate::congestion::Algorithm;
#[cfg(any(feature = "server", test))]
pub use accept::Accepted;
pub use app::RouteView;
pub use config::Config;
pub use datagram::DatagramError;
pub use events::{Event, RouteEvent};
pub use migrate::{NetworkChange, RouteError};
pub use multipath::{AckReturn, MultipathConfig};
pub use path::Path;
pub use path_app::{PathError, PathEvent, PathView};
pub use plan::Plan;
pub use routes::{MigrationPolicy, MoveCause, NoSpareCid, WhenSuspect};
pub use start::Opened;
pub use stats::Stats;
pub use storage::{
    Buffers, CIDS_PER_PATH, CRYPTO_LEN, Lending, MAX_LOCAL_CIDS, Memory, RETIREMENTS_PER_PATH,
    ROUTES_PER_PATH, Storage, TOKEN_LEN,
};
pub use transmit::Transmit;
pub use usage::Usage;

use core::net::SocketAddr;

use crate::cid::local;
use crate::cid::peer;
use crate::error::TransportError;
use crate::handshake::FirstFlight;
use crate::ids::{Ecn, FourTuple, Side};
use crate::limits::{MAX_PATHS, RESET_TOKEN_LEN};
use crate::path::{Addresses, FlowLabel};
use crate::session::Session;
use crate::time::{Deadline, Instant};
use crate::wire::Cid;
use start::State;

/// What a call lends to the state.
pub(crate) struct Lent<'a> {
    pub(crate) buffers: Buffers<'a>,
    pub(crate) session: &'a mut dyn Session,
}

/// A QUIC connection over lent memory (`M`) and a TLS session (`S`).
///
/// After any call: drain [`Self::poll_transmit`] and [`Self::poll_event`], then sleep until [`Self::next_timeout`] or a
/// datagram. An [`Endpoint`](crate::endpoint::Endpoint) does so for many connections.
#[derive(Debug)]
pub struct Connection<M, S> {
    state: State,
    memory: M,
    session: S,
}

impl<M: Memory, S: Session> Connection<M, S> {
    /// A connection to a server. Its first datagram comes out of [`Self::poll_transmit`].
    ///
    /// # Errors
    /// If the session cannot start, or the memory has too few rows for any connection.
    // In its caller it would leave there what it takes of the stack.
    #[inline(never)]
    pub fn client(
        now: Instant,
        config: &Config,
        opened: &Opened<'_>,
        mut memory: M,
        mut session: S,
    ) -> Result<Self, TransportError> {
        let first_flight = FirstFlight::client(opened.dcid, opened.scid);
        let mut lent = Lent { buffers: memory.buffers(), session: &mut session };
        let prepared = start::prepare(now, config, opened.on, &first_flight, &mut lent)?;
        let mut state =
            State::new(now, config, Side::Client, opened.version, first_flight, &prepared, &mut lent);
        state.connect(now, config, opened, &mut lent)?;
        Ok(Self::of(state, memory, session))
    }

    /// The parts put together. Moving them takes stack that would be taken while TLS begins, were this not a call of its own.
    #[inline(never)]
    const fn of(state: State, memory: M, session: S) -> Self {
        Self { state, memory, session }
    }

    /// Takes a datagram that arrived `on` these addresses with this ECN codepoint; it is decrypted in place.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn handle_datagram(&mut self, now: Instant, on: FourTuple, ecn: Ecn, datagram: &mut [u8]) {
        let (state, mut lent) = self.lend();
        state.handle_datagram(now, &mut lent, on, ecn, datagram);
    }

    /// A stateless reset of the peer came (RFC 9000 10.3.1).
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn handle_reset(&mut self, now: Instant) {
        let (state, mut lent) = self.lend();
        state.on_reset(now, &mut lent);
    }

    /// Writes the next datagrams to send into `out`, which should hold at least the largest datagram of the path; several of
    /// one size if they fit. `None` when all is said for now.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        let (state, mut lent) = self.lend();
        // A path may turn out to have nothing to say after all: what it would have repeated has arrived.
        for _ in 0..MAX_PATHS {
            let plan = state.next_transmit(now, &mut lent)?;
            let transmit = state.write(now, &mut lent, &plan, out);
            if transmit.len > 0 {
                return Some(transmit);
            }
        }
        None
    }

    /// Where the next datagrams go and how large each may be, for who must know before there is a buffer;
    /// [`Self::write`] is to follow with nothing in between.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn next_transmit(&mut self, now: Instant) -> Option<Plan> {
        let (state, mut lent) = self.lend();
        state.next_transmit(now, &mut lent)
    }

    /// Writes what was planned into `out`, at least [`Plan::max`] bytes.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn write(&mut self, now: Instant, plan: &Plan, out: &mut [u8]) -> Transmit {
        let (state, mut lent) = self.lend();
        state.write(now, &mut lent, plan, out)
    }

    /// When to call [`Self::handle_timeout`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn next_timeout(&mut self) -> Deadline {
        let (state, mut lent) = self.lend();
        state.next_timeout(&mut lent)
    }

    /// Does what is due now.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn handle_timeout(&mut self, now: Instant) {
        let (state, mut lent) = self.lend();
        state.handle_timeout(now, &mut lent);
    }

    /// Lets TLS go on that waits for a key in hardware, or for another step that takes long: to be called when that may be done.
    /// Does nothing if TLS waits for nothing.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn resume(&mut self, now: Instant) {
        if self.state.lifecycle.is_open() {
            let resumed = self.session.resume();
            let (state, mut lent) = self.lend();
            state.on_resumed(now, &mut lent, resumed);
        }
    }

    /// The next thing the application should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        let (state, mut lent) = self.lend();
        state.poll_event(&mut lent)
    }

    /// How many more connection IDs the peer should have: make them, and call [`Self::supply_cid`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn cids_wanted(&mut self) -> usize {
        let (state, lent) = self.lend();
        state.cids_wanted(&lent)
    }

    /// Gives the peer another connection ID with its stateless reset token. Returns whether it was taken.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn supply_cid(&mut self, cid: Cid, reset_token: [u8; RESET_TOKEN_LEN]) -> bool {
        let (state, mut lent) = self.lend();
        state.supply_cid(&mut lent, cid, reset_token)
    }

    /// A connection ID of ours that the peer has retired: it need not be routed here any more. Its row holds another only
    /// after this call, so ask before [`Self::cids_wanted`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn poll_retired_cid(&mut self) -> Option<Cid> {
        local::take_retired(self.memory.buffers().local_cids)
    }

    /// The address for which the client should get a token for its next connection, if it should get one now.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn wants_token(&mut self) -> Option<SocketAddr> {
        let (state, lent) = self.lend();
        state.wants_token(&lent)
    }

    /// Sends the client a token (RFC 9000 8.1.3). One that is too long for the memory lent is not sent.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn supply_token(&mut self, token: &[u8]) {
        let (state, mut lent) = self.lend();
        state.supply_token(&mut lent, token);
    }

    /// A route of IPv6 that has no flow label yet (RFC 9000 9.7): the addresses, and the connection ID that is sent to on it.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn flow_label_wanted(&mut self) -> Option<(FourTuple, Cid)> {
        let buffers = self.memory.buffers();
        let mut wanted = buffers
            .routes
            .iter()
            .enumerate()
            .filter(|(_, route)| route.flow_label.is_wanted() && route.is_open());
        wanted.find_map(|(row, route)| {
            let path = buffers.paths.get(route.path.index())?;
            let dcid = path.peer_cids.of(buffers.peer_cids, u8::try_from(row).ok()?)?;
            Some((route.on(), *dcid.cid()))
        })
    }

    /// Gives the route between these addresses the flow label of which these are the low 20 bits.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn supply_flow_label(&mut self, on: &FourTuple, label: u32) {
        let routes = self.memory.buffers().routes.iter_mut();
        for route in routes.filter(|route| route.flow_label.is_wanted() && route.on() == *on) {
            route.flow_label = FlowLabel::new(label);
        }
    }

    /// Whether the peer sends to this connection ID.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn has_cid(&mut self, dcid: &[u8]) -> bool {
        local::find(self.memory.buffers().local_cids, dcid).is_some()
    }

    /// Gives up one of the connection IDs that the peer sends to, until there is none: for the end of a connection.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn give_up_cid(&mut self) -> Option<Cid> {
        let (state, lent) = self.lend();
        let mut paths = state.path_rows();
        paths.find_map(|path| {
            lent.buffers.paths.get_mut(path.index())?.local_cids.pop(lent.buffers.local_cids)
        })
    }

    /// Whether a datagram that came on these addresses is on a route of this connection.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn is_on(&mut self, on: &FourTuple) -> bool {
        let seen = Addresses::new(on);
        self.memory.buffers().routes.iter().any(|route| route.takes(&seen))
    }

    /// The peer's address.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn remote(&mut self) -> SocketAddr {
        let (state, lent) = self.lend();
        let row = state.route(&lent);
        lent.buffers.routes.get(row).map_or(Addresses::NONE, |route| route.addresses).get().remote
    }

    /// The peer's address, if it may be another one than when this was asked before.
    #[cfg(any(feature = "server", test))]
    pub(crate) fn poll_remote(&mut self) -> Option<SocketAddr> {
        self.state.facts.take(events::Fact::Remote).then(|| self.remote())
    }

    /// Whether this is the stateless reset token of a connection ID that we send to. Takes the same time for every
    /// token.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn is_reset_token(&mut self, token: &[u8; RESET_TOKEN_LEN]) -> bool {
        peer::is_reset_token(self.memory.buffers().peer_cids, token)
    }

    /// Whether anything of the peer was opened yet.
    pub fn has_received(&self) -> bool {
        self.state.stats.received_packets > 0
    }

    /// Whether the handshake still runs.
    pub fn is_handshaking(&self) -> bool {
        self.state.lifecycle.is_open() && !self.state.lifecycle.is_established()
    }

    /// Whether nothing more will be sent or received.
    pub fn is_drained(&self) -> bool {
        self.state.lifecycle.is_drained()
    }

    /// Whether the peer has ended it, so that nothing more will be sent.
    #[cfg(any(feature = "server", test))]
    pub(crate) fn is_draining(&self) -> bool {
        self.state.lifecycle.is_draining()
    }

    /// Drained before its time, if the peer has ended it. Returns whether it has.
    #[cfg(any(feature = "server", test))]
    pub(crate) fn stop_draining(&mut self) -> bool {
        self.state.lifecycle.stop_draining()
    }

    /// The session.
    pub fn session(&self) -> &S {
        &self.session
    }

    /// The session, to be changed. Keys and CRYPTO bytes are core's to handle; what is pending is [`Self::resume`]'s.
    pub fn session_mut(&mut self) -> &mut S {
        &mut self.session
    }

    /// Ends the shim: what was lent goes back.
    pub fn into_parts(self) -> (M, S) {
        (self.memory, self.session)
    }

    fn lend(&mut self) -> (&mut State, Lent<'_>) {
        (&mut self.state, Lent { buffers: self.memory.buffers(), session: &mut self.session })
    }
}

impl<M: Memory, A: AsMut<[u8]>, S: Session> Connection<Lending<M, A>, S> {
    /// Gives back what was lent for the handshake, once that is confirmed or the connection is closed; `None` before, and if it
    /// was given back.
    pub fn take_crypto(&mut self) -> Option<A> {
        let needed = self.state.lifecycle.is_open() && !self.state.levels.is_confirmed();
        if needed { None } else { self.memory.take_crypto() }
    }
}

#[cfg(test)]
mod tests;
