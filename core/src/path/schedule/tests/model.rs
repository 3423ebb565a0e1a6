//! Links with a rate and a delay, and a sender that keeps a window open on each.

extern crate std;

use std::collections::VecDeque;
use std::vec::Vec;

use super::super::*;
use crate::congestion::{Budget, Pace, Pacer};
use crate::recovery::Rtt;
use crate::time::Instant;

const DATAGRAM: u64 = 1200;
const HEADERS: u64 = 40;

/// One link, whose window is one and a quarter of what it holds: all that is more waits in its queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    mbit: u64,
    rtt: u64,
}

impl Link {
    pub(super) const fn new(mbit: u64, rtt_millis: u64) -> Self {
        Self { mbit, rtt: rtt_millis * 1000 }
    }

    /// Microseconds that `bytes` take.
    fn occupied(&self, bytes: u64) -> u64 {
        (bytes * 8).div_ceil(self.mbit)
    }

    fn window(&self) -> u64 {
        (self.mbit * self.rtt / 8 * 5 / 4).max(4 * DATAGRAM)
    }
}

struct Sender {
    link: Link,
    rtt: Rtt,
    pacer: Pacer,
    /// When the link is free.
    free: u64,
    in_flight: u64,
    /// When which bytes are acknowledged, and when they were sent.
    acks: VecDeque<(u64, u64, u64)>,
}

impl Sender {
    fn new(link: &Link) -> Self {
        let mut rtt = Rtt::default();
        for _ in 0..20 {
            let sample = Span::from_micros(link.rtt + link.occupied(DATAGRAM));
            rtt.on_sample(Instant::ZERO, sample, Span::ZERO, None);
        }
        Self { link: *link, rtt, pacer: Pacer::new(), free: 0, in_flight: 0, acks: VecDeque::new() }
    }

    fn pace(&self) -> Pace {
        Pace { per_rtt: self.link.window() * 5 / 4, rtt: self.rtt.smoothed(), datagram: DATAGRAM as u16 }
    }

    fn facts(&mut self, now: u64, backlog: u64) -> Facts {
        let now = Instant::from_micros(now);
        let wait = match self.pacer.budget(now, &self.pace()) {
            Budget::Bytes(_) => Span::ZERO,
            Budget::Until(then) => then.since(now),
        };
        let window = self.link.window();
        let room = window.saturating_sub(self.in_flight);
        Facts {
            smoothed_rtt: self.rtt.smoothed(),
            min_rtt: self.rtt.min(),
            rtt_variation: self.rtt.variation(),
            window: u32::try_from(window).unwrap(),
            in_flight: u32::try_from(self.in_flight).unwrap(),
            room: if room < DATAGRAM { 0 } else { u32::try_from(room).unwrap() },
            wait,
            backlog,
            ..super::facts(1)
        }
    }

    /// Sends a datagram; when it arrives.
    fn send(&mut self, now: u64, bytes: u64) -> u64 {
        self.free = self.free.max(now) + self.link.occupied(bytes);
        self.in_flight += bytes;
        self.pacer.on_sent(bytes, &self.pace());
        self.acks.push_back((self.free + self.link.rtt, bytes, now));
        self.free + self.link.rtt / 2
    }

    fn on_acks(&mut self, now: u64) {
        while let Some((_, bytes, sent)) = self.acks.front().copied().filter(|(at, _, _)| *at <= now) {
            self.acks.pop_front();
            self.in_flight -= bytes;
            self.rtt.on_sample(Instant::from_micros(now), Span::from_micros(now - sent), Span::ZERO, None);
        }
    }
}

/// Microseconds until `bytes` have arrived.
pub(super) fn transfer(scheduler: Scheduler, links: &[Link], bytes: u64) -> u64 {
    let mut senders: Vec<Sender> = links.iter().map(Sender::new).collect();
    let (mut state, mut now, mut left, mut done) = (State::new(), 0, bytes, 0);
    while left > 0 {
        let facts: Vec<Facts> = senders.iter_mut().map(|sender| sender.facts(now, left)).collect();
        if let Choice::Path(row) = scheduler.choose(&state, &facts) {
            let len = left.min(DATAGRAM - HEADERS);
            left -= len;
            done = done.max(senders[row].send(now, len + HEADERS));
            scheduler.on_sent(&mut state, &facts, row, u32::try_from(len).unwrap());
            continue;
        }
        let acks = senders.iter().filter_map(|sender| Some(sender.acks.front()?.0));
        let pacers = next_wait(&facts).map(|wait| now + wait.as_micros());
        now = acks.chain(pacers).min().expect("nothing to wait for");
        for sender in &mut senders {
            sender.on_acks(now);
        }
    }
    done
}

/// The same over one link.
pub(super) fn alone(link: &Link, bytes: u64) -> u64 {
    transfer(Scheduler::LowestRtt, &[*link], bytes)
}

/// When the last of a fluid has arrived that fills all links from the first moment to the last.
pub(super) fn ideal(links: &[Link], bytes: u64) -> u64 {
    let bits = bytes * 8 * DATAGRAM / (DATAGRAM - HEADERS);
    let arrived = |at: u64| links.iter().map(|link| link.mbit * at.saturating_sub(link.rtt / 2)).sum::<u64>();
    let (mut early, mut late) = (0, 1_000_000_000);
    while late - early > 1 {
        let middle = u64::midpoint(early, late);
        *if arrived(middle) < bits { &mut early } else { &mut late } = middle;
    }
    late
}
