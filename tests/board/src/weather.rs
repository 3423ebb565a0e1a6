//! What happens to datagrams on their way: each takes some time, some are lost, some are overtaken. Which, follows
//! from the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// How long a datagram is under way.
const FLIGHT: Duration = Duration::from_millis(8);
/// How much longer one that is overtaken.
const DETOUR: Duration = Duration::from_millis(12);

/// Bytes that may wait at a [`Gate`]: a connection's first window. What comes when there are more is lost.
const QUEUE: u32 = 12_000;

/// What a network is like.
#[derive(Clone, Copy)]
pub(crate) struct Conditions {
    pub(crate) forecast: Forecast,
    pub(crate) seed: u64,
    /// Bytes in a second, each way; as many as come if there is none.
    pub(crate) rate: Option<u32>,
}

/// How many of a thousand.
#[derive(Clone, Copy)]
pub(crate) struct Forecast {
    pub(crate) lost: u64,
    pub(crate) overtaken: u64,
}

impl Forecast {
    /// None.
    pub(crate) const GOOD: Self = Self { lost: 0, overtaken: 0 };
    /// 5 % are lost, and as many are overtaken.
    pub(crate) const BAD: Self = Self { lost: 50, overtaken: 50 };
}

/// What is under way, and what happened.
pub(crate) struct Weather<T> {
    forecast: Forecast,
    random: u64,
    flying: BinaryHeap<Reverse<Flight<T>>>,
    pub(crate) launched: u64,
    pub(crate) lost: u64,
    pub(crate) overtaken: u64,
}

/// Something under way; of two that are due at once, the first comes first.
struct Flight<T> {
    due: Instant,
    number: u64,
    what: T,
}

impl<T> Weather<T> {
    pub(crate) fn new(forecast: Forecast, seed: u64) -> Self {
        Self { forecast, random: seed, flying: BinaryHeap::new(), launched: 0, lost: 0, overtaken: 0 }
    }

    /// Sends something on its way, if it has passed the gate.
    pub(crate) fn launch(&mut self, departure: Option<Instant>, what: T) {
        self.launched += 1;
        let chance = self.draw() % 1000;
        let Some(departure) = departure.filter(|_| chance >= self.forecast.lost) else {
            self.lost += 1;
            return;
        };
        let mut due = departure + FLIGHT;
        if chance < self.forecast.lost + self.forecast.overtaken {
            self.overtaken += 1;
            due += DETOUR;
        }
        self.flying.push(Reverse(Flight { due, number: self.launched, what }));
    }

    /// When the next one arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.flying.peek().map(|Reverse(flight)| flight.due)
    }

    /// One that has arrived.
    pub(crate) fn land(&mut self, now: Instant) -> Option<T> {
        let is_due = self.next().is_some_and(|due| due <= now);
        is_due.then(|| self.flying.pop()).flatten().map(|Reverse(flight)| flight.what)
    }

    /// All that is under way is lost.
    pub(crate) fn crash(&mut self) {
        self.flying.clear();
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Lets so many bytes through in a second, one datagram after the other.
pub(crate) struct Gate {
    rate: Option<u32>,
    /// When what has come so far is through.
    free: Option<Instant>,
}

impl Gate {
    pub(crate) const fn new(rate: Option<u32>) -> Self {
        Self { rate, free: None }
    }

    /// When a datagram that comes now is through; never if the queue is too long for it.
    pub(crate) fn pass(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(rate) = self.rate else { return Some(now) };
        let begins = self.free.map_or(now, |free| free.max(now));
        let takes = |bytes: f64| Duration::from_secs_f64(bytes / f64::from(rate));
        if begins - now > takes(QUEUE.into()) {
            return None;
        }
        self.free = Some(begins + takes(len as f64));
        self.free
    }
}

impl<T> Ord for Flight<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl<T> PartialOrd for Flight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Eq for Flight<T> {}

impl<T> PartialEq for Flight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
