//! Which of our routes is the best. A pure decision.

use core::cmp::Ordering;

use crate::time::Span;

/// How gladly a route is used. The larger the better: any that is not metered before any that is, then by priority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Preference(u8);

impl Preference {
    /// Only if the application says so.
    pub const NEVER: Self = Self(0);
    /// What a route begins with: not metered, of middle priority.
    pub const NORMAL: Self = Self::new(63, false);
    /// What a route that costs by the byte should have.
    pub const METERED: Self = Self::new(63, true);

    /// A route of this `priority`, at most 126, which costs by the byte if it is `metered`.
    pub const fn new(priority: u8, metered: bool) -> Self {
        let priority = if priority > 126 { 126 } else { priority };
        Self(priority.saturating_add(if metered { 1 } else { 128 }))
    }
}

/// What matters of a route that may work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Whether the peer was reached over it.
    pub validated: bool,
    /// How gladly it is used.
    pub preference: Preference,
    /// Its shortest round-trip time: what waits in queues now is the doing of what is sent over it.
    pub rtt: Span,
}

/// Less than that is noise: a handshake takes its time.
const NOISE: Span = Span::from_millis(5);

/// Whether to leave a route that works for another one: that works too, and is preferred, or of the same preference and faster
/// by a quarter and 5 ms at least, so that two routes alike do not take turns.
pub fn is_worth_it(current: &Standing, other: &Standing) -> bool {
    let faster = other.rtt.saturating_mul(4) < current.rtt.saturating_mul(3)
        && other.rtt.saturating_add(NOISE) <= current.rtt;
    other.validated
        && (other.preference > current.preference || other.preference == current.preference && faster)
}

/// Which of two routes is the better place to go to: one that works, then the preferred, then the fastest.
pub fn compare(one: &Standing, other: &Standing) -> Ordering {
    let proved = one.validated.cmp(&other.validated);
    proved.then(one.preference.cmp(&other.preference)).then(other.rtt.cmp(&one.rtt))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(preference: Preference, millis: u64) -> Standing {
        Standing { validated: true, preference, rtt: Span::from_millis(millis) }
    }

    #[test]
    fn metered_comes_after_everything_that_is_not() {
        let order = [
            Preference::NEVER,
            Preference::new(0, true),
            Preference::METERED,
            Preference::new(255, true),
            Preference::new(0, false),
            Preference::NORMAL,
            Preference::new(126, false),
        ];
        assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_working_route_is_left_for_a_preferred_or_a_much_faster_one() {
        let wifi = standing(Preference::NORMAL, 40);
        assert!(is_worth_it(&standing(Preference::METERED, 10), &wifi));
        assert!(!is_worth_it(&wifi, &standing(Preference::METERED, 1)));
        assert!(is_worth_it(&wifi, &standing(Preference::NORMAL, 29)));
        assert!(!is_worth_it(&wifi, &standing(Preference::NORMAL, 30)) && !is_worth_it(&wifi, &wifi));
        let near = standing(Preference::NORMAL, 6);
        assert!(!is_worth_it(&near, &standing(Preference::NORMAL, 2)));
        let unproved = Standing { validated: false, ..wifi };
        assert!(!is_worth_it(&standing(Preference::METERED, 10), &unproved));
    }

    #[test]
    fn who_must_leave_takes_what_works_then_the_preferred_then_the_fastest() {
        let order = [
            Standing { validated: false, ..standing(Preference::NORMAL, 1) },
            standing(Preference::METERED, 1),
            standing(Preference::NORMAL, 80),
            standing(Preference::NORMAL, 20),
        ];
        assert!(order.is_sorted_by(|one, other| compare(one, other) == Ordering::Less));
        assert_eq!(compare(&order[3], &order[1]), Ordering::Greater);
    }
}
