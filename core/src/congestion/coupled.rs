//! Coupled growth of the routes of a connection (RFC 6356, and OLIA: Khalili et al., "MPTCP is not Pareto-optimal", 2012).
//!
//! Routes that share a bottleneck would take a share of it each. Coupled, they take about one together, and send more where
//! there is less congestion. All that changes is how fast a window grows in congestion avoidance, which is told as a part of
//! NewReno's growth, a [`Part`]. With w a window, x = w / RTT its rate and X the sum of all rates it is, for the route r:
//!
//! ```text
//! LIA    min(1, w_r * (w_m / RTT_m^2) / X^2)    m: the route where w / RTT^2 is largest
//! OLIA   min(1, (x_r / X)^2 + alpha_r)          alpha: from the largest windows to the best routes with smaller ones
//! ```
//!
//! LIA's is alpha * w_r / w_total in the words of RFC 6356 3, where w_total cancels out. OLIA knows no minimum; here it is
//! bounded like LIA, so that no route is faster than a flow of its own would be. The best route of OLIA is where the bytes
//! between losses over RTT^2 are most; alpha is one over the number of routes, shared by those that get it, or give it.
//!
//! Not here: slow start and what a loss does, which stay as they are; which routes are in use. CUBIC is not coupled.

use core::cmp::Ordering;

use crate::time::Span;

/// Fractional bits of a [`Part`].
const BITS: u32 = 30;
/// Routes that are coupled at most: as many as there are paths.
const FLOWS: usize = 8;
/// All of it.
const WHOLE: u64 = 1 << BITS;
/// Fractional bits of a rate in bytes per microsecond: those of the fastest, 2^32 bytes in one, sum up below 2^64.
const RATE_BITS: u32 = 28;
/// Bits that a factor of a product with a [`Part`] may have.
const FACTOR_BITS: u32 = u64::BITS - BITS - 1;

/// How the windows of a connection's routes grow together, if NewReno makes them grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Coupled {
    /// Each takes what a connection of its own would.
    None,
    /// Linked increases (RFC 6356).
    #[default]
    Lia,
    /// Opportunistic linked increases: leaves congested routes more than LIA does, and takes up free ones faster.
    Olia,
}

/// What the growth of a window depends on beside the route itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coupling {
    /// The connection has one path: it was never told otherwise.
    Alone,
    /// The connection may have others, of whose growth this route takes a part.
    Beside(Part),
}

/// A part of what a window would grow alone. Less than nothing where OLIA moves traffic away from a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part(i64);

impl Part {
    /// As if alone.
    pub(super) const ALL: Self = Self(WHOLE.cast_signed());

    #[cfg(test)]
    pub(super) const fn new(numerator: i64, denominator: i64) -> Self {
        Self(Self::ALL.0 * numerator / denominator)
    }

    /// What so many bytes count, in whole bytes; `carry` is what is over, from one time to the next.
    pub(super) fn of(self, bytes: u32, carry: &mut u32) -> i64 {
        // 2^30 times 2^32 at most.
        let counted = self.0.wrapping_mul(bytes.into()).saturating_add((*carry).into());
        let whole = counted >> BITS;
        *carry = u32::try_from(counted.saturating_sub(whole << BITS)).unwrap_or(0);
        whole
    }
}

/// A route as the others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    window: u32,
    rtt_micros: u32,
    /// Bytes acknowledged since the last loss, or between the last two if those are more; the first slow start does not
    /// count.
    loss_free: u32,
}

impl Flow {
    pub(super) fn new(window: u32, rtt: Span, loss_free: u32) -> Self {
        Self { window, rtt_micros: rtt.short_micros().max(1), loss_free }
    }

    fn rate(&self) -> u64 {
        rate(self.window, self.rtt_micros)
    }

    /// By w / RTT^2, which is largest where a flow alone would have the highest rate at the losses that keep windows as they
    /// are (RFC 6356 3).
    fn by_growth(&self, other: &Self) -> Ordering {
        by_rtt_squared((self.window, self.rtt_micros), (other.window, other.rtt_micros))
    }

    /// By the square of the rate that a flow alone would have at the losses seen here: it goes with the root of the bytes
    /// between losses, per RTT.
    fn by_promise(&self, other: &Self) -> Ordering {
        by_rtt_squared((self.loss_free, self.rtt_micros), (other.loss_free, other.rtt_micros))
    }
}

impl Coupled {
    /// How fast `own` grows beside the others that are in use. Others than the first seven do not count.
    pub(super) fn part(self, own: Flow, others: impl Iterator<Item = Flow>) -> Part {
        let couple = match self {
            Self::None => return Part::ALL,
            Self::Lia => lia,
            Self::Olia => olia,
        };
        let mut flows = [own; FLOWS];
        let mut len = 1_usize;
        for (place, flow) in flows.iter_mut().skip(1).zip(others) {
            *place = flow;
            len = len.saturating_add(1);
        }
        Part(couple(own, flows.get(..len).unwrap_or(&[])).min(Part::ALL.0))
    }
}

fn lia(own: Flow, all: &[Flow]) -> i64 {
    let total = total(all);
    let leader = all.iter().copied().max_by(Flow::by_growth).unwrap_or(own);
    let led = scaled(WHOLE, leader.rate(), total);
    scaled(led, rate(own.window, leader.rtt_micros), total).cast_signed()
}

fn olia(own: Flow, all: &[Flow]) -> i64 {
    let total = total(all);
    let part = scaled(scaled(WHOLE, own.rate(), total), own.rate(), total).cast_signed();
    let widest = all.iter().map(|flow| flow.window).max().unwrap_or(own.window);
    let best = all.iter().copied().max_by(Flow::by_promise).unwrap_or(own);
    let is_widest = |flow: &Flow| flow.window == widest;
    let is_promising = |flow: &Flow| flow.by_promise(&best).is_eq() && !is_widest(flow);
    let promising = all.iter().filter(|flow| is_promising(flow)).count();
    if promising == 0 {
        part
    } else if is_promising(&own) {
        part.saturating_add(alpha(all, promising))
    } else if is_widest(&own) {
        part.saturating_sub(alpha(all, all.iter().filter(|flow| is_widest(flow)).count()))
    } else {
        part
    }
}

/// What OLIA gives to, or takes from, each of so many routes.
fn alpha(all: &[Flow], shared_by: usize) -> i64 {
    let parts = u64::try_from(all.len().saturating_mul(shared_by)).unwrap_or(u64::MAX);
    WHOLE.checked_div(parts).unwrap_or(0).cast_signed()
}

/// The sum of all rates.
fn total(all: &[Flow]) -> u64 {
    all.iter().fold(0, |sum, flow| sum.saturating_add(flow.rate()))
}

/// Bytes per microsecond, with [`RATE_BITS`].
fn rate(window: u32, rtt_micros: u32) -> u64 {
    (u64::from(window) << RATE_BITS).checked_div(rtt_micros.into()).unwrap_or(0)
}

/// Orders by a value over the square of the RTT.
fn by_rtt_squared((left, left_rtt): (u32, u32), (right, right_rtt): (u32, u32)) -> Ordering {
    // Three factors of 32 bits.
    let product = |value: u32, rtt: u32| {
        u128::from(u64::from(rtt).saturating_mul(rtt.into())).wrapping_mul(value.into())
    };
    product(left, right_rtt).cmp(&product(right, left_rtt))
}

/// `part`, at most [`WHOLE`], times a fraction. Low bits of that are dropped above and below until the product fits: the error is
/// within 2^-31 of `part`, and for a fraction above one, its square times as much. One too large to tell makes all of it.
#[cfg_attr(target_os = "none", inline(never))]
fn scaled(part: u64, numerator: u64, denominator: u64) -> u64 {
    let bits = u64::BITS.saturating_sub(numerator.max(denominator).leading_zeros());
    let dropped = bits.saturating_sub(FACTOR_BITS);
    let product = part.saturating_mul(numerator >> dropped);
    product.checked_div(denominator >> dropped).unwrap_or(WHOLE)
}

#[cfg(test)]
mod tests;
