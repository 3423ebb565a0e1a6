//! How many new addresses of the peer are taken up: each costs a route, a connection ID and challenges.
//!
//! A few at once, for a peer that tries several networks, then one per probe timeout. A packet that is refused for it is
//! not acknowledged and comes again; if it was the copy of a bystander (RFC 9000 9.3.3), the genuine one is still welcome.

use crate::time::{Instant, Span};

/// New addresses that may be taken up at once.
const BURST: u8 = 4;

/// The credit of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Newcomers {
    credit: u8,
    filled: Instant,
}

impl Newcomers {
    /// Full credit.
    pub const fn new() -> Self {
        Self { credit: BURST, filled: Instant::ZERO }
    }

    /// Whether one more may be taken up now, which is counted.
    pub fn admit(&mut self, now: Instant, pto: Span) -> bool {
        let periods = now.since(self.filled).as_micros().checked_div(pto.as_micros()).unwrap_or(0);
        if periods > 0 {
            self.credit = u8::try_from(periods).unwrap_or(u8::MAX).saturating_add(self.credit).min(BURST);
            self.filled = now;
        }
        match self.credit.checked_sub(1) {
            Some(left) => {
                self.credit = left;
                true
            }
            None => false,
        }
    }
}

impl Default for Newcomers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_at_once_then_one_per_pto() {
        let mut newcomers = Newcomers::new();
        let pto = Span::from_millis(100);
        let admitted = |newcomers: &mut Newcomers, from: u64, to: u64| {
            (from..to).filter(|ms| newcomers.admit(Instant::from_micros(ms * 1000), pto)).count()
        };
        assert_eq!(admitted(&mut newcomers, 1000, 1099), 4);
        assert_eq!(admitted(&mut newcomers, 1100, 2100), 10);
        assert_eq!(admitted(&mut newcomers, 100_000, 100_050), 4);
    }

    #[test]
    fn a_pto_of_zero_refills_nothing() {
        let mut newcomers = Newcomers::new();
        assert_eq!((0..9).filter(|at| newcomers.admit(Instant::from_micros(*at), Span::ZERO)).count(), 4);
    }
}
