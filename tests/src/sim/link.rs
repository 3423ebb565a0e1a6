//! One direction of a link: what it does to datagrams, and the queue in front of it.
//!
//! The order is: drop by number, MTU, chance; then the ECN fault; then the queue (tail drop, CE mark); then the wire,
//! where copies, bit flips and hold-ups happen.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use peregrine_core::ids::Ecn;
use peregrine_core::time::Instant;

use super::Datagram;
use super::trace::{Fate, Trace};
use crate::rng::Rng;

/// Bytes of IPv4 and UDP headers that a datagram takes up besides its payload, in rates and queues.
pub const HEADERS: usize = 28;

/// What a middlebox does to ECN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EcnFault {
    /// Nothing wrong.
    #[default]
    None,
    /// Erases all marks.
    Bleach,
    /// Drops every datagram that is marked.
    BlackHole,
    /// Turns every mark into CE.
    AllCe,
    /// Turns ECT(0) into ECT(1).
    Remark,
}

/// The properties of one direction of a link. [`Link::ideal`] does nothing to datagrams; each method adds something.
#[derive(Clone, Debug)]
pub struct Link {
    nanos_per_byte: f64,
    delay: Duration,
    loss: f64,
    drop_mask: u64,
    drop_nth: BTreeSet<u64>,
    reorder: f64,
    held_at_most: Duration,
    duplicate: f64,
    corrupt: f64,
    mtu: usize,
    queue: usize,
    queue_datagrams: usize,
    mark_above: usize,
    ecn: EcnFault,
}

impl Link {
    /// No delay, no limit, no fault.
    pub const fn ideal() -> Self {
        Self {
            nanos_per_byte: 0.0,
            delay: Duration::ZERO,
            loss: 0.0,
            drop_mask: 0,
            drop_nth: BTreeSet::new(),
            reorder: 0.0,
            held_at_most: Duration::ZERO,
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: usize::MAX,
            queue: usize::MAX,
            queue_datagrams: usize::MAX,
            mark_above: usize::MAX,
            ecn: EcnFault::None,
        }
    }

    /// A link of that many megabits per second, headers included, and with a queue that never fills.
    pub fn mbit(megabits: impl Into<f64>) -> Self {
        Self { nanos_per_byte: 8_000.0 / megabits.into(), ..Self::ideal() }
    }

    /// Propagation delay in milliseconds.
    #[must_use]
    pub const fn delay_ms(mut self, millis: u64) -> Self {
        self.delay = Duration::from_millis(millis);
        self
    }

    /// Loses datagrams with this probability, each by itself.
    #[must_use]
    pub const fn loss(mut self, probability: f64) -> Self {
        self.loss = probability;
        self
    }

    /// Drops the datagrams whose bit is set, the lowest bit first; the mask starts again after 64.
    #[must_use]
    pub const fn drop_mask(mut self, mask: u64) -> Self {
        self.drop_mask = mask;
        self
    }

    /// Drops the datagrams of these numbers, counted from zero since the link was laid.
    #[must_use]
    pub fn drop_nth(mut self, numbers: impl IntoIterator<Item = u64>) -> Self {
        self.drop_nth.extend(numbers);
        self
    }

    /// Holds datagrams back with this probability, for a random time of `most` at most: others overtake them.
    #[must_use]
    pub const fn reorder(mut self, probability: f64, most: Duration) -> Self {
        self.reorder = probability;
        self.held_at_most = most;
        self
    }

    /// Delivers datagrams twice with this probability.
    #[must_use]
    pub const fn duplicate(mut self, probability: f64) -> Self {
        self.duplicate = probability;
        self
    }

    /// Flips one to eight bits with this probability.
    #[must_use]
    pub const fn corrupt(mut self, probability: f64) -> Self {
        self.corrupt = probability;
        self
    }

    /// Drops datagrams with more bytes of UDP payload than this.
    #[must_use]
    pub const fn mtu(mut self, payload: usize) -> Self {
        self.mtu = payload;
        self
    }

    /// Drops what would make the queue longer than this many bytes, headers included. Means something only with a rate.
    #[must_use]
    pub const fn queue(mut self, bytes: usize) -> Self {
        self.queue = bytes;
        self
    }

    /// Drops what would make the queue longer than this many datagrams.
    #[must_use]
    pub const fn queue_datagrams(mut self, datagrams: usize) -> Self {
        self.queue_datagrams = datagrams;
        self
    }

    /// Marks ECN-capable datagrams CE that find more than this many bytes in the queue.
    #[must_use]
    pub const fn mark_above(mut self, bytes: usize) -> Self {
        self.mark_above = bytes;
        self
    }

    /// Mistreats ECN.
    #[must_use]
    pub const fn ecn(mut self, fault: EcnFault) -> Self {
        self.ecn = fault;
        self
    }
}

/// A datagram and when it comes out at the far end.
pub(super) type Arrival = (Instant, Datagram);

/// A link at work.
#[derive(Debug)]
pub(super) struct Pipe {
    link: Link,
    rng: Rng,
    /// Datagrams offered so far.
    offered: u64,
    /// When those that wait or are being sent will have left, and their sizes.
    queue: VecDeque<(u64, usize)>,
    queued: usize,
    /// When the last of them will have left. Nanoseconds: at a gigabit a datagram takes ten microseconds.
    idle_from_nanos: u64,
}

impl Pipe {
    pub(super) const fn new(link: Link) -> Self {
        Self { link, rng: Rng::new(0), offered: 0, queue: VecDeque::new(), queued: 0, idle_from_nanos: 0 }
    }

    pub(super) const fn seed(&mut self, rng: Rng) {
        self.rng = rng;
    }

    /// From now on another link. What is on its way stays on its way; the count for drops starts again.
    pub(super) fn relink(&mut self, link: Link) {
        self.link = link;
        self.offered = 0;
    }

    /// Takes a datagram; returns what will come out: nothing, it, or it and a copy.
    pub(super) fn carry(
        &mut self,
        now: Instant,
        mut datagram: Datagram,
        trace: &mut Trace,
    ) -> [Option<Arrival>; 2] {
        if let Err(fate) = self.admit(&datagram) {
            trace.note(fate);
            return [None, None];
        }
        self.mistreat_ecn(&mut datagram, trace);
        let Some(left) = self.transmit(now, &mut datagram, trace) else {
            trace.note(Fate::QueueFull);
            return [None, None];
        };
        let copy = self.rng.chance(self.link.duplicate).then(|| datagram.clone());
        if copy.is_some() {
            trace.note(Fate::Duplicated);
        }
        [Some(self.propagate(left, datagram, trace)), copy.map(|copy| self.propagate(left, copy, trace))]
    }

    fn admit(&mut self, datagram: &Datagram) -> Result<(), Fate> {
        let number = self.offered;
        self.offered += 1;
        let marked = matches!(datagram.ecn, Ecn::Ect0 | Ecn::Ect1 | Ecn::Ce);
        if self.link.drop_mask >> (number % 64) & 1 == 1 || self.link.drop_nth.contains(&number) {
            Err(Fate::Masked)
        } else if datagram.payload.len() > self.link.mtu {
            Err(Fate::TooBig)
        } else if self.rng.chance(self.link.loss) {
            Err(Fate::Lost)
        } else if marked && self.link.ecn == EcnFault::BlackHole {
            Err(Fate::EcnDropped)
        } else {
            Ok(())
        }
    }

    fn mistreat_ecn(&self, datagram: &mut Datagram, trace: &mut Trace) {
        let (after, fate) = match (self.link.ecn, datagram.ecn) {
            (_, Ecn::NotEct) => return,
            (EcnFault::Bleach, _) => (Ecn::NotEct, Fate::Remarked),
            (EcnFault::AllCe, _) => (Ecn::Ce, Fate::Marked),
            (EcnFault::Remark, Ecn::Ect0) => (Ecn::Ect1, Fate::Remarked),
            (EcnFault::None | EcnFault::BlackHole | EcnFault::Remark, _) => return,
        };
        datagram.ecn = after;
        trace.note(fate);
    }

    /// Queues a datagram; returns when its last bit has left, or `None` if the queue is full.
    fn transmit(&mut self, now: Instant, datagram: &mut Datagram, trace: &mut Trace) -> Option<Instant> {
        let now_nanos = now.as_micros().saturating_mul(1000);
        while let Some(&(left, size)) = self.queue.front()
            && left <= now_nanos
        {
            self.queue.pop_front();
            self.queued -= size;
        }
        let size = datagram.payload.len() + HEADERS;
        if self.queued + size > self.link.queue || self.queue.len() >= self.link.queue_datagrams {
            return None;
        }
        if self.queued > self.link.mark_above && matches!(datagram.ecn, Ecn::Ect0 | Ecn::Ect1) {
            datagram.ecn = Ecn::Ce;
            trace.note(Fate::Marked);
        }
        let takes = (size as f64 * self.link.nanos_per_byte) as u64;
        let left = self.idle_from_nanos.max(now_nanos).saturating_add(takes);
        self.idle_from_nanos = left;
        self.queue.push_back((left, size));
        self.queued += size;
        Some(Instant::from_micros(left.div_ceil(1000)))
    }

    fn propagate(&mut self, left: Instant, mut datagram: Datagram, trace: &mut Trace) -> Arrival {
        if self.rng.chance(self.link.corrupt) && !datagram.payload.is_empty() {
            trace.note(Fate::Corrupted);
            // Distinct bits, so that no flip undoes another.
            let bits = datagram.payload.len() as u64 * 8;
            let flips: BTreeSet<u64> = (0..=self.rng.below(8)).map(|_| self.rng.below(bits)).collect();
            for bit in flips {
                datagram.payload[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
        }
        let mut arrives = left.after(self.link.delay);
        if self.rng.chance(self.link.reorder) {
            trace.note(Fate::Delayed);
            arrives = arrives.after(self.rng.up_to(self.link.held_at_most));
        }
        (arrives, datagram)
    }
}
