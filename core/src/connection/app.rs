//! What the application may do with a connection.

use core::net::SocketAddr;

use super::path::want_ping;
use super::routes::id;
use super::start::State;
use super::{Connection, Lent, Memory, Stats};
use crate::ids::{Dir, StreamId};
use crate::lifecycle::{Cause, Close};
use crate::limits::MAX_VARINT;
use crate::path::{Preference, Role, Route, RouteId, RouteStats};
use crate::session::{Level, Session};
use crate::stream::{Closed, OpenError, Read, WriteError};
use crate::time::Instant;

/// What is known of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RouteView {
    /// Its name.
    pub id: RouteId,
    /// What it is to its path.
    pub role: Role,
    /// How gladly the application uses it.
    pub preference: Preference,
    /// Our number for the local interface.
    pub interface: u32,
    /// Whether the peer was reached over it (RFC 9000 8.2), or by the handshake.
    pub validated: bool,
    /// When that was shown last, to the second.
    pub validated_at: Option<Instant>,
    /// Whether nothing can be sent over it, as far as we were told.
    pub down: bool,
    /// When something authentic last came over it, or when it was opened.
    pub last_packet: Instant,
    /// Our address; unspecified as long as the system chose it and nothing came.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The smoothed round-trip time.
    pub rtt: core::time::Duration,
    /// The mean deviation of round-trip times.
    pub rtt_variation: core::time::Duration,
    /// The least round-trip time seen; zero before the first sample.
    pub min_rtt: core::time::Duration,
    /// The congestion window, in bytes.
    pub window: u32,
    /// Bytes in flight.
    pub in_flight: u32,
    /// The largest datagram, in bytes.
    pub mtu: u16,
    /// Whether the route is known to carry ECN marks.
    pub ecn: bool,
    /// The counters.
    pub stats: RouteStats,
}

impl<M: Memory, S: Session> Connection<M, S> {
    /// Opens a stream.
    ///
    /// # Errors
    /// If the peer or our memory does not allow another one now; an event tells when to try again.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn open(&mut self, dir: Dir) -> Result<StreamId, OpenError> {
        let (state, mut lent) = self.lend();
        state.streams.open(&mut lent.buffers.streams, dir)
    }

    /// The next stream that the peer opened.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        let (state, lent) = self.lend();
        state.streams.accept(&lent.buffers.streams, dir)
    }

    /// Takes bytes to be sent on a stream; returns how many. If fewer than given, an event tells when to go on.
    ///
    /// # Errors
    /// If the stream cannot be written to, ever.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn write_stream(&mut self, id: StreamId, bytes: &[u8]) -> Result<usize, WriteError> {
        let (state, mut lent) = self.lend();
        state.streams.write(&mut lent.buffers.streams, id, bytes)
    }

    /// Everything was written: the stream ends after it.
    ///
    /// # Errors
    /// If the stream cannot be written to, or is finished already.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn finish(&mut self, id: StreamId) -> Result<(), WriteError> {
        let (state, mut lent) = self.lend();
        state.streams.finish(&mut lent.buffers.streams, id)
    }

    /// Gives up sending on a stream; the peer is told `code`, or the largest there is, 2^62 - 1, if it is above.
    ///
    /// # Errors
    /// If there is nothing to give up.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn reset(&mut self, id: StreamId, code: u64) -> Result<(), Closed> {
        let (state, mut lent) = self.lend();
        let outcome =
            state.streams.reset(&mut lent.buffers.streams, lent.buffers.sent, id, code.min(MAX_VARINT));
        state.free_unowned(&mut lent);
        outcome
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// If there will never be anything to read (again).
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn read_stream(&mut self, id: StreamId, out: &mut [u8]) -> Result<Read, Closed> {
        let (state, mut lent) = self.lend();
        state.streams.read(&mut lent.buffers.streams, id, out)
    }

    /// Looks at what can be read where it lies, in two parts; [`Self::consume_stream`] takes it. If there is nothing,
    /// [`Self::read_stream`] tells why.
    ///
    /// # Errors
    /// If there will never be anything to read (again).
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn peek_stream<R>(
        &mut self,
        id: StreamId,
        look: impl FnOnce(&[u8], &[u8]) -> R,
    ) -> Result<R, Closed> {
        let (state, lent) = self.lend();
        state.streams.peek(&lent.buffers.streams, id).map(|(first, second)| look(first, second))
    }

    /// The first `len` bytes of what can be read were read.
    ///
    /// # Errors
    /// If there will never be anything to read (again).
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn consume_stream(&mut self, id: StreamId, len: usize) -> Result<(), Closed> {
        let (state, mut lent) = self.lend();
        state.streams.consume(&mut lent.buffers.streams, id, len)
    }

    /// Gives up reading a stream; the peer is asked with `code` to stop, or with 2^62 - 1 if it is above.
    ///
    /// # Errors
    /// If there is nothing to give up.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn stop(&mut self, id: StreamId, code: u64) -> Result<(), Closed> {
        let (state, mut lent) = self.lend();
        state.streams.stop(&mut lent.buffers.streams, id, code.min(MAX_VARINT))
    }

    /// Sets how urgent a stream is: 0 most, 7 least; 4 is what it begins with.
    ///
    /// # Errors
    /// If there is no such stream (any more).
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn set_priority(&mut self, id: StreamId, urgency: u8) -> Result<(), Closed> {
        let (state, mut lent) = self.lend();
        state.streams.set_priority(&mut lent.buffers.streams, id, urgency)
    }

    /// Ends the connection with a code of the application, 2^62 - 1 if it is above, and with words, which without the feature `reasons`
    /// are not sent. Only the first close counts.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn close(&mut self, now: Instant, code: u64, words: &str) {
        let (state, mut lent) = self.lend();
        state.close(now, &mut lent, Close::application(code.min(MAX_VARINT), words));
    }

    /// Asks the peer for an acknowledgment.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn ping(&mut self) {
        let (state, mut lent) = self.lend();
        let path = state.speaking_path(&lent);
        want_ping(&mut lent, path);
    }

    /// Moves to new keys as soon as that is allowed (RFC 9001 6).
    pub fn update_keys(&mut self) {
        self.state.keys.request();
    }

    /// Why the connection ended, if it did.
    pub fn cause(&self) -> Option<Cause> {
        self.state.lifecycle.cause().copied()
    }

    /// Whether the TLS handshake is complete and nobody closed.
    pub fn is_established(&self) -> bool {
        self.state.lifecycle.is_established()
    }

    /// The token that the server gave for a later connection.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn token(&mut self) -> Option<&[u8]> {
        let len = usize::from(self.state.token.len);
        // Until the Initial keys are gone it may be the token of a Retry.
        let given = self.state.side.is_client() && !self.state.levels.can_seal(Level::Initial) && len > 0;
        self.memory.buffers().token.get(..len).filter(|_| given)
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.state.stats
    }

    /// The route in use.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn route(&mut self) -> Option<RouteView> {
        let (state, lent) = self.lend();
        let row = state.route(&lent);
        lent.buffers.routes.get(row).map(|route| RouteView::of(row, route))
    }
}

impl RouteView {
    pub(super) fn of(row: usize, route: &Route) -> Self {
        let on = route.on();
        Self {
            id: id(row, route),
            role: route.role,
            preference: route.preference,
            local: on.local,
            remote: on.remote,
            interface: on.interface,
            validated: route.validation.is_validated(),
            validated_at: route.validation.validated_at(),
            down: route.is_down(),
            last_packet: route.last_packet,
            rtt: route.rtt.smoothed().into(),
            rtt_variation: route.rtt.variation().into(),
            min_rtt: route.rtt.min().into(),
            window: route.congestion.window(),
            in_flight: route.congestion.in_flight(),
            mtu: route.mtu.current(),
            ecn: route.ecn.is_capable(),
            stats: route.stats,
        }
    }
}

impl State {
    pub(super) fn wants_token(&self, lent: &Lent<'_>) -> Option<SocketAddr> {
        let wanted = !self.side.is_client() && self.levels.is_confirmed() && self.token.delivery.is_idle();
        lent.buffers.routes.get(self.route(lent)).filter(|_| wanted).map(|route| route.on().remote)
    }

    /// Without memory for a token there is nothing to send, and it is not asked for again.
    pub(super) fn supply_token(&mut self, lent: &mut Lent<'_>, token: &[u8]) {
        if self.side.is_client() {
            return;
        }
        self.token.delivery.want();
        match lent.buffers.token.get_mut(..token.len()) {
            Some(place) if !token.is_empty() => {
                place.copy_from_slice(token);
                self.token.len = u16::try_from(token.len()).unwrap_or(0);
            }
            _ => {
                self.token.delivery.on_sent();
                self.token.delivery.on_acked();
            }
        }
    }
}
