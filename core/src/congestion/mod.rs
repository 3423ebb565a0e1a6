//! Congestion control of one route (RFC 9002 7): how many bytes may be in flight ([`Controller`]), and how they are
//! spread over a round trip ([`Pacer`]).
//!
//! ```text
//!                  ┌──────────────┐  HyStart++ leaves, or ssthresh reached   ┌──────────────────────┐
//!   new route ────▶│  slow start  │─────────────────────────────────────────▶│ congestion avoidance │
//!                  └──────────────┘                                          └──────────────────────┘
//!                     ▲        │ loss, CE      ┌────────────┐    loss, CE        │          ▲
//!   persistent        │        └──────────────▶│  recovery  │◀───────────────────┘          │
//!   congestion ───────┘                        └────────────┘───────────────────────────────┘
//!                                                   a packet sent since is acknowledged
//! ```
//!
//! The controller holds what every algorithm shares; NewReno and CUBIC say how the window grows in congestion avoidance
//! and where it falls to. NewReno's growth may depend on the connection's other routes ([`Coupled`]). All sums are `u32`:
//! 65,535 packets of 65,535 bytes, more than a connection can have in flight, stay below 2^32.
//!
//! Not here: which packets are lost or acknowledged, RTT, ECN validation, the anti-amplification limit. Packets
//! lost before the peer had keys count like others (RFC 9002 7.4 permits, but does not ask, to ignore them).

mod coupled;
mod cubic;
mod hystart;
mod newreno;
pub mod pacer;

use crate::limits::BASE_MTU;
use crate::time::{Instant, Span};

use coupled::Flow;
pub use coupled::{Coupled, Coupling, Part};
use cubic::Cubic;
use hystart::HyStart;
use newreno::NewReno;
pub use pacer::{Budget, Pace, Pacer};

/// Datagrams of the initial window (RFC 9002 7.2).
const INITIAL_DATAGRAMS: u32 = 10;
/// What the initial window is limited to, if two datagrams are not more (RFC 9002 7.2).
const INITIAL_BYTES: u32 = 14_720;
/// Datagrams of the smallest window (RFC 9002 7.2).
const MIN_DATAGRAMS: u32 = 2;

/// How the window grows in congestion avoidance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Algorithm {
    /// One datagram per round trip (RFC 9002 7.3.3).
    NewReno,
    /// By a cubic function of the time since the last loss (RFC 9438).
    #[default]
    Cubic,
}

/// What an ACK frame newly acknowledged, of the packets of this route that count as in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Their bytes.
    pub bytes: u32,
    /// When the newest of them was sent.
    pub newest: Instant,
    /// The RTT sample, if they yielded one.
    pub sample: Option<Span>,
    /// The smoothed RTT.
    pub smoothed: Span,
    /// How the window grows beside those of other routes ([`Controller::coupling`]).
    pub coupling: Coupling,
}

/// How the window grows, with what that takes to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// The first slow start. HyStart++ guards it; the later ones know where to end (RFC 9406 4.3).
    FirstSlowStart {
        hystart: HyStart,
        then: Algorithm,
    },
    NewReno(NewReno),
    Cubic(Cubic),
}

impl Growth {
    const fn by(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::NewReno => Self::NewReno(NewReno::new()),
            Algorithm::Cubic => Self::Cubic(Cubic::new()),
        }
    }

    /// The window after a sign of congestion, which ends the first slow start.
    fn on_congestion(&mut self, window: u32) -> u32 {
        match self {
            Self::FirstSlowStart { then, .. } => {
                *self = Self::by(*then);
                self.on_congestion(window)
            }
            Self::NewReno(reno) => reno.on_congestion(window),
            Self::Cubic(cubic) => cubic.on_congestion(window),
        }
    }
}

/// The window of one route and what is in flight of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    window: u32,
    in_flight: u32,
    /// Below this the window grows by slow start; [`u32::MAX`] until the first sign of congestion.
    slow_start_until: u32,
    /// What was sent earlier belongs to a recovery period or the time before it: it makes the window neither grow nor
    /// fall.
    fresh_from: Instant,
    growth: Growth,
    mtu: u16,
    app_limited: bool,
    /// One datagram may go beyond the window, having entered recovery (RFC 9002 7.3.2).
    one_more: bool,
}

impl Controller {
    /// A new route, in slow start. `mtu`: bytes of the largest datagram.
    pub const fn new(algorithm: Algorithm, mtu: u16) -> Self {
        Self {
            window: initial_window(mtu),
            in_flight: 0,
            slow_start_until: u32::MAX,
            fresh_from: Instant::ZERO,
            growth: Growth::FirstSlowStart { hystart: HyStart::new(), then: algorithm },
            mtu: at_least_base(mtu),
            app_limited: false,
            one_more: false,
        }
    }

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self {
        window: 0,
        slow_start_until: 0,
        growth: Growth::FirstSlowStart { hystart: HyStart::BLANK, then: Algorithm::NewReno },
        mtu: 0,
        ..Self::new(Algorithm::NewReno, BASE_MTU)
    };

    /// Bytes that may be in flight.
    pub const fn window(&self) -> u32 {
        self.window
    }

    /// Bytes in flight.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Bytes that may be sent now, probes excepted: those are never held back (RFC 9002 7.5).
    pub fn available(&self) -> u32 {
        let free = self.window.saturating_sub(self.in_flight);
        if self.one_more { free.max(self.mtu.into()) } else { free }
    }

    /// Whether the window grows by slow start.
    pub const fn is_slow_start(&self) -> bool {
        self.window < self.slow_start_until
    }

    /// Bytes to be sent per smoothed RTT: somewhat more than the window, so that pacing never is what limits
    /// (RFC 9002 7.7); twice the window while it doubles every round trip, once it has begun to.
    pub fn per_rtt(&self) -> u64 {
        let window = u64::from(self.window);
        if self.is_slow_start() && self.window > initial_window(self.mtu) {
            window.saturating_mul(2)
        } else {
            window.saturating_add(window / 4)
        }
    }

    /// A packet of `bytes` that counts as in flight was sent.
    pub fn on_sent(&mut self, now: Instant, bytes: u16) {
        if self.in_flight == 0 {
            self.pause(now);
        }
        self.in_flight = self.in_flight.saturating_add(bytes.into());
        self.one_more = false;
    }

    /// Whether sending last stopped for want of something to send, flow control credit included, rather than for this
    /// window or the pacer (RFC 9002 7.8).
    pub fn set_app_limited(&mut self, app_limited: bool) {
        self.app_limited = app_limited;
    }

    /// How this window grows beside those of the connection's other routes, each with its smoothed RTT: what
    /// [`Controller::on_acked`] is to be told. Of others, those count whose windows are made use of; at most seven.
    pub fn coupling<'a>(
        &self,
        coupled: Coupled,
        smoothed: Span,
        others: impl Iterator<Item = (&'a Self, Span)>,
    ) -> Coupling {
        if !matches!(self.growth, Growth::NewReno(_)) {
            return Coupling::Beside(Part::ALL);
        }
        let in_use = others.filter(|(other, _)| other.in_flight > 0 && other.is_used());
        let flows = in_use.map(|(other, smoothed)| other.flow(smoothed));
        Coupling::Beside(coupled.part(self.flow(smoothed), flows))
    }

    fn flow(&self, smoothed: Span) -> Flow {
        let loss_free = if let Growth::NewReno(reno) = &self.growth { reno.loss_free() } else { 0 };
        Flow::new(self.window, smoothed, loss_free)
    }

    /// Packets were acknowledged.
    pub fn on_acked(&mut self, now: Instant, acked: &Acked) {
        let is_used = self.is_used();
        self.in_flight = self.in_flight.saturating_sub(acked.bytes);
        if let (Coupling::Beside(_), Growth::NewReno(reno)) = (acked.coupling, &mut self.growth) {
            reno.on_acked_beside(acked.bytes);
        }
        if acked.newest < self.fresh_from {
            return;
        }
        if !is_used {
            self.pause(now);
        } else {
            self.grow(now, acked);
        }
    }

    /// Packets of `bytes` were lost. `newest`: when the newest was sent whose loss is a sign of congestion.
    pub fn on_lost(
        &mut self,
        now: Instant,
        bytes: u32,
        newest: Option<Instant>,
        persistent_congestion: bool,
    ) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        if let Some(newest) = newest {
            self.on_congestion(now, newest);
        }
        if persistent_congestion {
            self.window = self.min_window();
            self.fresh_from = Instant::ZERO;
            if let Growth::Cubic(cubic) = &mut self.growth {
                cubic.on_persistent_congestion();
            }
        }
    }

    /// The peer reports packets marked CE (RFC 9002 7.1). `newest`: when the largest packet acknowledged was sent.
    pub fn on_ce(&mut self, now: Instant, newest: Instant) {
        self.on_congestion(now, newest);
    }

    /// So much is in flight already, which another controller let out.
    pub const fn on_moved(&mut self, in_flight: u32) {
        self.in_flight = in_flight;
    }

    /// Packets of `bytes` left the flight, neither acknowledged nor lost (RFC 9002 6.4).
    pub fn on_discarded(&mut self, bytes: u32) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }

    /// The largest datagram now has `mtu` bytes. A window still at its initial value is computed anew
    /// (RFC 9002 7.2).
    pub fn set_mtu(&mut self, mtu: u16) {
        if self.window == initial_window(self.mtu) && self.slow_start_until == u32::MAX {
            self.window = initial_window(mtu);
        }
        self.mtu = mtu.max(BASE_MTU);
        self.window = self.window.max(self.min_window());
    }

    fn min_window(&self) -> u32 {
        MIN_DATAGRAMS.saturating_mul(self.mtu.into())
    }

    /// Whether the window was made use of, so that it may grow (RFC 9002 7.8): sending stopped at it, or had all but
    /// filled it. In slow start half is enough, for there it doubles in a round trip.
    fn is_used(&self) -> bool {
        let enough = if self.is_slow_start() {
            self.window / 2
        } else {
            self.window.saturating_sub(u32::from(self.mtu).saturating_mul(3))
        };
        !self.app_limited || self.in_flight >= enough
    }

    fn grow(&mut self, now: Instant, acked: &Acked) {
        let (window, bytes, mtu) = (self.window, acked.bytes, self.mtu.into());
        let (doubled, least) = (window.saturating_add(bytes), self.min_window());
        self.window = match &mut self.growth {
            Growth::FirstSlowStart { hystart, then } => {
                match hystart.on_acked(now, acked.newest, acked.sample) {
                    hystart::Advice::Double => doubled,
                    hystart::Advice::Slower => window.saturating_add(bytes / hystart::GROWTH_DIVISOR),
                    hystart::Advice::Leave => {
                        self.growth = Growth::by(*then);
                        self.slow_start_until = window;
                        window
                    }
                }
            }
            _ if window < self.slow_start_until => doubled.min(self.slow_start_until),
            Growth::NewReno(reno) => match acked.coupling {
                Coupling::Alone => reno.grow(window, bytes, mtu),
                Coupling::Beside(part) => {
                    let window = reno.grow_beside(window, bytes, mtu, part).max(least);
                    // That it shrinks is no reason to start slowly again.
                    self.slow_start_until = self.slow_start_until.min(window);
                    window
                }
            },
            Growth::Cubic(cubic) => cubic.grow(now, window, bytes, mtu, acked.smoothed),
        };
    }

    fn on_congestion(&mut self, now: Instant, newest: Instant) {
        if newest < self.fresh_from {
            return;
        }
        self.fresh_from = now.after(Span::from_micros(1));
        self.window = self.growth.on_congestion(self.window).max(self.min_window());
        self.slow_start_until = self.window;
        self.one_more = true;
    }

    /// The window was not used up to `now`; CUBIC does not let it grow by that time.
    fn pause(&mut self, now: Instant) {
        if let Growth::Cubic(cubic) = &mut self.growth {
            cubic.pause(now);
        }
    }
}

/// The initial window (RFC 9002 7.2).
const fn initial_window(mtu: u16) -> u32 {
    let mtu = at_least_base(mtu) as u32;
    let two = mtu.saturating_mul(MIN_DATAGRAMS);
    let most = if two > INITIAL_BYTES { two } else { INITIAL_BYTES };
    let ten = mtu.saturating_mul(INITIAL_DATAGRAMS);
    if ten < most { ten } else { most }
}

const fn at_least_base(mtu: u16) -> u16 {
    if mtu > BASE_MTU { mtu } else { BASE_MTU }
}

#[cfg(test)]
mod fairness;
#[cfg(test)]
mod tests;
