//! Which clients want another route or path later: when there is what it takes, or after a while.
//!
//! One that ends is opened anew, but a network that leads nowhere is not asked all the time: each attempt of a connection
//! waits twice as long as the one before, until one of it works or the networks change. Where there is less room than
//! there are networks, they take turns.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use peregrine_core::endpoint::Handle;
use peregrine_core::time::{Deadline, Instant};

/// How long a connection waits before its first attempt, and at most.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// What clients have still to do.
pub(super) struct Agenda<User = Handle> {
    rows: HashMap<User, Row>,
    /// No attempt is due before.
    next: Deadline,
}

struct Row {
    /// When the next attempt is due.
    due: Deadline,
    /// How long the one after that will have to wait.
    wait: Duration,
    /// Something of the connection's own is missing.
    waits: bool,
    /// The addresses that were tried, the longest ago first.
    tried: Vec<IpAddr>,
}

impl Row {
    const NEW: Self = Self { due: Deadline::NEVER, wait: SHORTEST, waits: false, tried: Vec::new() };
}

impl<User> Default for Agenda<User> {
    fn default() -> Self {
        Self { rows: HashMap::new(), next: Deadline::NEVER }
    }
}

impl<User: Copy + Eq + Hash> Agenda<User> {
    fn row(&mut self, user: User) -> &mut Row {
        self.rows.entry(user).or_insert(Row::NEW)
    }

    /// One is missing: an attempt is due after a while.
    pub(super) fn later(&mut self, now: Instant, user: User) {
        let row = self.row(user);
        if !row.due.is_set() {
            row.due = Deadline::at(now.after(row.wait));
            row.wait = row.wait.saturating_mul(2).min(LONGEST);
            let due = row.due;
            self.next = self.next.min(due);
        }
    }

    /// One works: should it end, that is another matter.
    pub(super) fn on_validated(&mut self, user: User) {
        if let Some(row) = self.rows.get_mut(&user) {
            row.wait = SHORTEST;
        }
    }

    /// What another route or path takes is missing: a connection ID, a path ID, the end of an attempt.
    pub(super) fn wait(&mut self, user: User) {
        self.row(user).waits = true;
    }

    /// Whether an attempt is due at some time.
    pub(super) fn is_planned(&self, user: User) -> bool {
        self.rows.get(&user).is_some_and(|row| row.due.is_set())
    }

    /// It may be there now. Returns whether it was waited for.
    pub(super) fn take_waiting(&mut self, user: User) -> bool {
        self.rows.get_mut(&user).is_some_and(|row| std::mem::take(&mut row.waits))
    }

    /// When [`Self::take_due`] has something to tell, or a little earlier.
    pub(super) const fn next(&self) -> Deadline {
        self.next
    }

    /// Whose attempt is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<User> {
        if !self.next.is_due(now) {
            return Vec::new();
        }
        let due = self.rows.iter_mut().filter(|(_, row)| row.due.is_due(now));
        let due = due.map(|(user, row)| {
            row.due = Deadline::NEVER;
            *user
        });
        let due = due.collect();
        self.next = self.rows.values().map(|row| row.due).fold(Deadline::NEVER, Deadline::min);
        due
    }

    /// A route or path is opened from this address, or cannot be.
    pub(super) fn on_tried(&mut self, user: User, ip: IpAddr) {
        let tried = &mut self.row(user).tried;
        tried.retain(|other| *other != ip);
        tried.push(ip);
    }

    /// Puts those first that were not tried yet, then those that were tried the longest ago.
    pub(super) fn order(&self, user: User, addresses: &mut [IpAddr]) {
        if let Some(row) = self.rows.get(&user) {
            addresses.sort_by_key(|ip| row.tried.iter().position(|tried| tried == ip));
        }
    }

    /// The connection is over.
    pub(super) fn forget(&mut self, user: User) {
        self.rows.remove(&user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    /// When it is due if it is asked for now.
    fn due(agenda: &mut Agenda<char>, user: char, now: u64) -> u64 {
        agenda.later(at(now), user);
        (now..).find(|now| agenda.take_due(at(*now)) == [user]).unwrap()
    }

    #[test]
    fn each_attempt_waits_longer_until_a_route_works() {
        let mut agenda = Agenda::default();
        let mut now = 0;
        let waits = [5, 10, 20, 40, 80, 160, 300, 300].map(|wait| {
            let then = due(&mut agenda, 'a', now);
            assert_eq!(then - now, wait);
            now = then;
            wait
        });
        agenda.on_validated('a');
        assert_eq!(due(&mut agenda, 'a', now) - now, waits[0]);
    }

    #[test]
    fn what_is_due_is_told_once_and_in_time() {
        let mut agenda = Agenda::default();
        assert!(!agenda.next().is_set());
        agenda.later(at(1), 'a');
        agenda.later(at(2), 'b');
        // Another route of it that is missing changes nothing.
        agenda.later(at(3), 'a');
        assert_eq!(agenda.next(), Deadline::at(at(6)));
        assert!(agenda.take_due(at(5)).is_empty());
        assert_eq!(agenda.take_due(at(6)), ['a']);
        assert_eq!(agenda.next(), Deadline::at(at(7)));
        agenda.forget('b');
        assert!(agenda.take_due(at(99)).is_empty());
        assert!(!agenda.next().is_set());
    }

    #[test]
    fn who_waits_is_known_until_it_goes_on_or_the_connection_ends() {
        let mut agenda = Agenda::default();
        assert!(!agenda.take_waiting('a'));
        agenda.wait('a');
        assert!(!agenda.take_waiting('b'));
        assert!(agenda.take_waiting('a') && !agenda.take_waiting('a'));
        agenda.wait('b');
        agenda.forget('b');
        assert!(!agenda.take_waiting('b') && agenda.rows.len() == 1);
    }

    #[test]
    fn networks_take_turns() {
        let [one, two, three] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        let mut agenda = Agenda::default();
        let mut order = |tried: &[IpAddr]| {
            tried.iter().for_each(|ip| agenda.on_tried('a', *ip));
            let mut addresses = [one, two, three];
            agenda.order('a', &mut addresses);
            addresses
        };
        assert_eq!(order(&[]), [one, two, three]);
        assert_eq!(order(&[one]), [two, three, one]);
        assert_eq!(order(&[three]), [two, one, three]);
        assert_eq!(order(&[two, one]), [three, two, one]);
    }
}
