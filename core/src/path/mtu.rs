//! The largest datagram that a route carries (RFC 9000 14.2 to 14.4, RFC 8899).
//!
//! ```text
//! Base --start--> Searching <--> Probing(size)       a probe was lost three times: smaller; acked: larger
//!   ^               |    ^
//!   |               v    | 600 s, or a black hole
//!   |             Done --'
//! ```
//!
//! A probe is a packet of PING and PADDING that may be larger than everything else the route carries. Its loss says
//! nothing about congestion: the sent row must note that it is one, and only [`Mtu::on_probe_lost`] hears of it. ICMP
//! messages are not looked at, so that nobody off the path can shrink a datagram.

use crate::limits::BASE_MTU;
use crate::time::{Deadline, Instant, Span};

/// Losses of a probe after which its size counts as too large (RFC 8899 5.1.2, MAX_PROBES).
const MAX_PROBES: u8 = 3;
/// After so long a larger size is tried again (RFC 8899 5.1.1, PMTU_RAISE_TIMER).
const RAISE_AFTER: Span = Span::from_secs(600);
/// Rounds of loss with no large datagram getting through that reveal a black hole (RFC 8899 4.3).
const BLACK_HOLE_ROUNDS: u8 = 3;
/// The search ends where so few bytes are left to win.
const WORTH_A_PROBE: u16 = 16;
/// What links commonly carry, as UDP payloads below IPv6 or IPv4 headers: a WireGuard tunnel, PPPoE, Ethernet, jumbo
/// frames.
const COMMON: [u16; 7] = [1372, 1444, 1452, 1464, 1472, 8952, 8972];

/// The search for the largest datagram of one route. All sizes are UDP payloads in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Mtu {
    state: State,
    /// When the last round of suspicious losses was noticed.
    suspected: Instant,
    current: u16,
    /// Nothing larger is worth a try until the search begins anew.
    ceiling: u16,
    max: u16,
    suspicions: u8,
    lost_probes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No search yet: the peer's limit is not known, or the route not validated.
    Base,
    Searching,
    Probing(u16),
    /// Found; when to look again.
    Done(Deadline),
}

impl Default for Mtu {
    fn default() -> Self {
        Self::new()
    }
}

impl Mtu {
    /// A route that carries the base size of 1,200 bytes and is not searched.
    pub const fn new() -> Self {
        Self {
            state: State::Base,
            suspected: Instant::ZERO,
            current: BASE_MTU,
            ceiling: BASE_MTU,
            max: BASE_MTU,
            suspicions: 0,
            lost_probes: 0,
        }
    }

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self { current: 0, ceiling: 0, max: 0, ..Self::new() };

    /// Begins the search: the handshake is confirmed and the route validated (RFC 9000 14.3.1). `max` is the smaller of
    /// the peer's max_udp_payload_size and what the local link is said to carry.
    pub fn start(&mut self, now: Instant, max: u16) {
        self.max = max.max(BASE_MTU);
        self.current = self.current.min(self.max);
        self.search(now);
    }

    /// Ends the search for now: the route is not in use.
    pub const fn stop(&mut self) {
        self.state = State::Base;
    }

    /// The largest datagram that may be sent, probes excepted.
    pub const fn current(&self) -> u16 {
        self.current
    }

    /// The size of the probe that should be sent now.
    pub fn next_probe(&self) -> Option<u16> {
        if self.state == State::Searching { self.candidate() } else { None }
    }

    /// A probe of `size` bytes was sent.
    pub const fn on_probe_sent(&mut self, size: u16) {
        self.state = State::Probing(size);
    }

    /// A probe of `size` bytes was acknowledged. Returns the size that holds now; probes of an earlier search change
    /// nothing.
    pub fn on_probe_acked(&mut self, now: Instant, size: u16) -> u16 {
        if self.state == State::Probing(size) {
            self.current = size;
            self.suspicions = 0;
            self.continue_search(now);
        }
        self.current
    }

    /// A probe of `size` bytes was lost. Congestion control must not hear of it (RFC 9000 14.4).
    pub fn on_probe_lost(&mut self, now: Instant, size: u16) {
        if self.state != State::Probing(size) {
            return;
        }
        self.lost_probes = self.lost_probes.saturating_add(1);
        self.state = State::Searching;
        if self.lost_probes >= MAX_PROBES {
            self.ceiling = size.saturating_sub(1);
            self.continue_search(now);
        }
    }

    /// A datagram of `size` bytes that was no probe was acknowledged.
    pub const fn on_acked(&mut self, size: u16) {
        if size > BASE_MTU {
            self.suspicions = 0;
        }
    }

    /// A datagram of `size` bytes that was no probe, sent at `sent`, was lost. Returns whether large datagrams have
    /// stopped getting through: then the size is 1,200 again, a new search begins, and congestion control should know.
    ///
    /// Losses count by rounds: those sent before the last round was noticed belong to it. One burst is no black hole.
    pub fn on_lost(&mut self, now: Instant, size: u16, sent: Instant) -> bool {
        if size <= BASE_MTU || self.current <= BASE_MTU || (self.suspicions > 0 && sent <= self.suspected) {
            return false;
        }
        self.suspected = now;
        self.suspicions = self.suspicions.saturating_add(1);
        if self.suspicions < BLACK_HOLE_ROUNDS {
            return false;
        }
        self.current = BASE_MTU;
        self.search(now);
        true
    }

    /// The probe timeout expired `count` times with no acknowledgment between. In a black hole nothing may be acknowledged,
    /// and then nothing is found lost either. Returns what [`Self::on_lost`] does.
    pub fn on_pto(&mut self, now: Instant, count: u8) -> bool {
        let fell = count >= BLACK_HOLE_ROUNDS && self.current > BASE_MTU;
        if fell {
            self.current = BASE_MTU;
            self.search(now);
        }
        fell
    }

    /// When to call [`Self::on_timeout`].
    pub const fn next_timeout(&self) -> Deadline {
        match self.state {
            State::Done(again) => again,
            State::Base | State::Searching | State::Probing(_) => Deadline::NEVER,
        }
    }

    /// Looks again for a larger size if it is time.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_due(now) {
            self.search(now);
        }
    }

    fn search(&mut self, now: Instant) {
        self.ceiling = self.max;
        self.suspicions = 0;
        self.continue_search(now);
    }

    fn continue_search(&mut self, now: Instant) {
        self.lost_probes = 0;
        self.state = match self.candidate() {
            Some(_) => State::Searching,
            // At the maximum there is nothing to look for again.
            None if self.current >= self.max => State::Done(Deadline::NEVER),
            None => State::Done(Deadline::at(now.after(RAISE_AFTER))),
        };
    }

    /// The size to try next: the largest common one that may work, or else the middle of what is left. A maximum just
    /// above the base size is tried itself, once.
    fn candidate(&self) -> Option<u16> {
        let left = self.ceiling.saturating_sub(self.current);
        let open = |size: &u16| *size > self.current && *size <= self.ceiling;
        if left == 0 {
            return None;
        }
        if left < WORTH_A_PROBE {
            return (self.ceiling == self.max && self.current == BASE_MTU).then_some(self.max);
        }
        COMMON.into_iter().rev().find(open).or(Some(self.current.saturating_add(left.div_ceil(2))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const T0: Instant = Instant::ZERO;

    fn started(max: u16) -> Mtu {
        let mut mtu = Mtu::new();
        assert_eq!(mtu.next_probe(), None);
        mtu.start(T0, max);
        mtu
    }

    /// Searches on a link that carries `link` bytes; the sizes tried.
    fn search(mtu: &mut Mtu, link: u16) -> Vec<u16> {
        let mut tried = Vec::new();
        while let Some(size) = mtu.next_probe() {
            tried.push(size);
            mtu.on_probe_sent(size);
            assert_eq!(mtu.next_probe(), None, "one probe at a time");
            if size <= link {
                assert_eq!(mtu.on_probe_acked(T0, size), size);
            } else {
                mtu.on_probe_lost(T0, size);
            }
        }
        tried
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Mtu>() <= 32);
    }

    #[test]
    fn ethernet_takes_one_probe() {
        for max in [1452, 1472] {
            let mut mtu = started(max);
            assert_eq!(search(&mut mtu, max), [max]);
            assert_eq!((mtu.current(), mtu.next_timeout()), (max, Deadline::NEVER));
        }
    }

    #[test]
    fn a_size_is_given_up_after_three_losses() {
        let mut mtu = started(1472);
        assert_eq!(search(&mut mtu, 1464), [1472, 1472, 1472, 1464]);
        assert_eq!(mtu.current(), 1464);
    }

    #[test]
    fn a_single_lost_probe_does_not_matter() {
        let mut mtu = started(1472);
        mtu.on_probe_sent(1472);
        mtu.on_probe_lost(T0, 1472);
        assert_eq!(search(&mut mtu, 1472), [1472]);
    }

    #[test]
    fn a_probe_of_an_earlier_search_changes_nothing() {
        let mut mtu = started(1472);
        mtu.on_probe_sent(1472);
        mtu.start(T0, 1452);
        assert_eq!(mtu.on_probe_acked(T0, 1472), 1200);
        mtu.on_probe_sent(1452);
        (0..3).for_each(|_| mtu.on_probe_lost(T0, 1472));
        assert_eq!(mtu.on_probe_acked(T0, 1452), 1452);
        mtu.start(T0, 1300);
        assert_eq!(mtu.current(), 1300);
    }

    #[test]
    fn comes_near_every_link_in_few_probes() {
        for max in [1200, 1201, 1208, 1215, 1216, 1300, 1472, 1500, 9000, 65_527] {
            for link in (1200..=max).step_by(if max > 10_000 { 997 } else { 7 }).chain([max]) {
                let mut mtu = started(max);
                let tried = search(&mut mtu, link);
                assert!(tried.len() <= 45, "{max} {link} {tried:?}");
                assert!(mtu.current() <= link && link - mtu.current() < WORTH_A_PROBE, "{max} {link}");
            }
        }
    }

    #[test]
    fn looks_again_after_ten_minutes() {
        let mut mtu = started(1472);
        search(&mut mtu, 1400);
        let again = T0.after(RAISE_AFTER);
        assert_eq!(mtu.next_timeout(), Deadline::at(again));
        mtu.on_timeout(Instant::ZERO);
        assert_eq!(mtu.next_probe(), None);
        mtu.on_timeout(again);
        assert_eq!(search(&mut mtu, 1472), [1472]);
    }

    #[test]
    fn three_rounds_without_a_large_datagram_are_a_black_hole() {
        let mut mtu = started(1472);
        search(&mut mtu, 1472);
        let at = Instant::from_micros;
        for (sent, noticed) in [(10, 20), (21, 30)] {
            assert!(!mtu.on_lost(at(noticed), 1472, at(sent)));
            assert!(!mtu.on_lost(at(noticed), 1472, at(sent)), "the same round");
        }
        assert!(!mtu.on_lost(at(39), 1200, at(38)), "small ones prove nothing");
        mtu.on_acked(1200);
        assert!(mtu.on_lost(at(40), 1472, at(31)));
        assert_eq!((mtu.current(), mtu.next_probe()), (1200, Some(1472)));
    }

    #[test]
    fn a_large_datagram_that_gets_through_dispels_the_suspicion() {
        let mut mtu = started(1472);
        search(&mut mtu, 1472);
        for round in 1..20 {
            let at = |micros: u64| Instant::from_micros(round * 10 + micros);
            assert!(!mtu.on_lost(at(5), 1472, at(0)));
            assert!(!mtu.on_lost(at(9), 1472, at(6)));
            mtu.on_acked(1472);
        }
    }

    #[test]
    fn probe_timeouts_in_a_row_reveal_a_black_hole() {
        let mut mtu = started(1472);
        assert!(!mtu.on_pto(T0, 3), "nothing to fall back from");
        search(&mut mtu, 1500);
        assert!(!mtu.on_pto(T0, 2));
        assert!(mtu.on_pto(T0, 3) && !mtu.on_pto(T0, 4));
        assert_eq!((mtu.current(), mtu.next_probe()), (1200, Some(1472)));
    }
}
