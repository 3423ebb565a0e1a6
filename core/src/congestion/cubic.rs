//! CUBIC's congestion avoidance (RFC 9438 4), in whole numbers: bytes and milliseconds.
//!
//! An epoch begins with the first growth after a loss. In it the window follows W(t) = C (t - K)^3 + w_max, at least as
//! fast as a Reno sender's estimate. Time in which the window was not used does not count (RFC 9438 5.8).
//!
//! Not here: slow start, recovery, and undoing a reduction that proved spurious (4.9).

use crate::time::{Deadline, Instant, Span};

/// Beta is 7/10 (RFC 9438 4.6).
const BETA: (u64, u64) = (7, 10);
/// (1 + beta) / 2, where fast convergence lets w_max fall to (RFC 9438 4.7).
const CONVERGENCE: (u64, u64) = (17, 20);
/// 3 (1 - beta) / (1 + beta), what makes an estimate with CUBIC's beta as fast as Reno (RFC 9438 4.3).
const ALPHA: (u64, u64) = (9, 17);
/// C is 0.4 datagrams per cubic second: a datagram for 2.5 * 10^9 cubic milliseconds, split in two factors so that
/// products fit.
const CUBIC_MS_PER_MILLIDATAGRAM: u64 = 2_500_000;
const MILLIDATAGRAMS: u64 = 1_000;
/// Further than this from K, in milliseconds, the cube would not fit.
const MAX_DISTANCE: u64 = 1 << 21;

/// What CUBIC remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cubic {
    /// When the epoch began, moved by all pauses since.
    epoch: Deadline,
    /// When the window was last looked at.
    seen: Instant,
    /// The window before the last reduction, or what fast convergence made of it.
    w_max: u32,
    /// The window before the last reduction.
    prior: u32,
    /// Milliseconds from the beginning of the epoch until the window is back at `w_max`.
    k_ms: u32,
    /// The window that Reno would have.
    estimate: u32,
    /// Bytes acknowledged since the estimate last grew, times alpha.
    estimate_acked: u32,
    /// What division left over when the window last grew.
    carry: u32,
}

impl Cubic {
    pub(super) const fn new() -> Self {
        Self {
            epoch: Deadline::NEVER,
            seen: Instant::ZERO,
            w_max: 0,
            prior: 0,
            k_ms: 0,
            estimate: 0,
            estimate_acked: 0,
            carry: 0,
        }
    }

    /// The window after `bytes` more were acknowledged.
    pub(super) fn grow(&mut self, now: Instant, window: u32, bytes: u32, mtu: u32, rtt: Span) -> u32 {
        self.seen = now;
        let epoch = match self.epoch.instant() {
            Some(epoch) => epoch,
            None => self.begin_epoch(now, window, mtu),
        };
        let elapsed = now.since(epoch);
        self.grow_estimate(window, bytes, mtu);
        if self.cubic(elapsed, mtu) < self.estimate {
            return window.max(self.estimate);
        }
        let highest = window.saturating_add(window / 2);
        let target = self.cubic(elapsed.saturating_add(rtt), mtu).clamp(window, highest);
        let growth = u64::from(target.saturating_sub(window))
            .saturating_mul(bytes.into())
            .saturating_add(self.carry.into());
        let divisor = u64::from(window.max(1));
        self.carry = narrow(growth.checked_rem(divisor).unwrap_or(0));
        window.saturating_add(narrow(growth.checked_div(divisor).unwrap_or(0)))
    }

    /// The window after a sign of congestion (RFC 9438 4.6, 4.7).
    pub(super) fn on_congestion(&mut self, window: u32) -> u32 {
        self.w_max = if window < self.w_max { scaled(window, CONVERGENCE) } else { window };
        self.prior = window;
        self.epoch = Deadline::NEVER;
        scaled(window, BETA)
    }

    /// The next epoch begins where slow start will end (RFC 9438 4.8).
    pub(super) fn on_persistent_congestion(&mut self) {
        self.w_max = 0;
        self.epoch = Deadline::NEVER;
    }

    /// The window was not used since it was last looked at.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Some(epoch) = self.epoch.instant() {
            self.epoch = Deadline::at(epoch.after(now.since(self.seen)));
        }
        self.seen = now;
    }

    fn begin_epoch(&mut self, now: Instant, window: u32, mtu: u32) -> Instant {
        self.epoch = Deadline::at(now);
        self.estimate = window;
        self.estimate_acked = 0;
        self.carry = 0;
        self.w_max = self.w_max.max(window);
        let missing = u64::from(self.w_max.saturating_sub(window));
        let cube = missing.saturating_mul(CUBIC_MS_PER_MILLIDATAGRAM.saturating_mul(MILLIDATAGRAMS));
        self.k_ms = cube_root(cube.checked_div(mtu.into()).unwrap_or(0));
        now
    }

    /// W(t) of RFC 9438 4.2, in bytes.
    #[cfg_attr(target_os = "none", inline(never))]
    fn cubic(&self, elapsed: Span, mtu: u32) -> u32 {
        let t = elapsed.as_millis();
        let k = u64::from(self.k_ms);
        let distance = t.abs_diff(k).min(MAX_DISTANCE.saturating_sub(1));
        let cube = distance.saturating_mul(distance).saturating_mul(distance);
        let difference =
            narrow((cube / CUBIC_MS_PER_MILLIDATAGRAM).saturating_mul(mtu.into()) / MILLIDATAGRAMS);
        if t < k { self.w_max.saturating_sub(difference) } else { self.w_max.saturating_add(difference) }
    }

    /// The Reno-friendly estimate (RFC 9438 4.3), which grows by a datagram per window acknowledged times alpha.
    fn grow_estimate(&mut self, window: u32, bytes: u32, mtu: u32) {
        let credit = if self.estimate >= self.prior { bytes } else { scaled(bytes, ALPHA) };
        self.estimate_acked = self.estimate_acked.saturating_add(credit);
        if let Some(rest) = self.estimate_acked.checked_sub(window) {
            self.estimate_acked = rest.min(window);
            self.estimate = self.estimate.saturating_add(mtu);
        }
    }
}

/// `value` times a fraction.
fn scaled(value: u32, (numerator, denominator): (u64, u64)) -> u32 {
    narrow(u64::from(value).saturating_mul(numerator).checked_div(denominator).unwrap_or(0))
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The largest number whose cube is at most `cube`, bit by bit.
fn cube_root(cube: u64) -> u32 {
    let fits = |root: &u64| root.checked_pow(3).is_some_and(|power| power <= cube);
    let root = (0..22).rev().fold(0_u64, |root, bit| Some(root | 1 << bit).filter(fits).unwrap_or(root));
    narrow(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u32 = 1200;
    const RTT: Span = Span::from_millis(100);

    /// Grows for `seconds` as if a whole window were acknowledged every RTT.
    fn run(cubic: &mut Cubic, window: u32, from: u64, seconds: u64) -> u32 {
        run_by(2 * MTU, cubic, window, from, seconds)
    }

    /// The same, `bytes` being acknowledged at a time.
    fn run_by(bytes: u32, cubic: &mut Cubic, mut window: u32, from: u64, seconds: u64) -> u32 {
        for round in 0..seconds * 10 {
            let now = Instant::from_micros(from * 1_000_000 + round * 100_000);
            for _ in 0..window / bytes {
                window = cubic.grow(now, window, bytes, MTU, RTT);
            }
        }
        window
    }

    #[test]
    fn cube_roots_are_exact() {
        for root in (0..2000).chain([2_642_244, 2_642_245]) {
            let cube = u64::from(root).pow(3);
            assert_eq!(cube_root(cube), root);
            assert_eq!(cube_root(cube.saturating_sub(1)), root.saturating_sub(1));
        }
        assert_eq!(cube_root(u64::MAX), 2_642_245);
    }

    #[test]
    fn the_window_is_back_after_k_flat_there_and_steep_beyond() {
        // 1,000 datagrams lost at; K is the cube root of 1000 * 0.3 / 0.4, 9.09 s.
        let before = 1000 * MTU;
        let mut cubic = Cubic::new();
        let start = cubic.on_congestion(before);
        assert_eq!(start, 700 * MTU);
        let half = run(&mut cubic, start, 0, 5);
        assert_eq!(cubic.k_ms, 9085);
        // W(5 s) = 1000 - 0.4 * 4.085^3 = 972.7 datagrams.
        assert!(half.abs_diff(973 * MTU) < 5 * MTU, "{}", half / MTU);
        let back = run(&mut cubic, half, 5, 4);
        assert!(back.abs_diff(before) < 3 * MTU, "{}", back / MTU);
        // W(20 s) = 1000 + 0.4 * 10.915^3 = 1520 datagrams.
        let beyond = run(&mut cubic, back, 9, 11);
        assert!(beyond.abs_diff(1520 * MTU) < 40 * MTU, "{}", beyond / MTU);
    }

    #[test]
    fn growth_by_less_than_a_byte_adds_up() {
        let mut cubic = Cubic::new();
        let start = cubic.on_congestion(1000 * MTU);
        let half = run(&mut cubic, start, 0, 5);
        let (mut once, mut coarse) = (cubic, cubic);
        let fine = run_by(100, &mut once, half, 5, 2);
        assert!(fine.abs_diff(run(&mut coarse, half, 5, 2)) < MTU, "{}", fine / MTU);
    }

    #[test]
    fn after_persistent_congestion_an_epoch_begins_where_slow_start_ended() {
        let mut cubic = Cubic::new();
        cubic.on_congestion(1000 * MTU);
        cubic.on_persistent_congestion();
        cubic.grow(Instant::ZERO, 700 * MTU, 2 * MTU, MTU, RTT);
        assert_eq!((cubic.w_max, cubic.k_ms), (700 * MTU, 0));
    }

    #[test]
    fn never_slower_than_reno_where_windows_are_small() {
        let mut cubic = Cubic::new();
        let start = cubic.on_congestion(20 * MTU);
        // Reno with beta 0.7 gains 9/17 of a datagram per RTT up to the old window, then a whole one: 6 datagrams in
        // 11.3 RTT, 18 more in 18.7. CUBIC alone would be at 20.4.
        let window = run(&mut cubic, start, 0, 3);
        assert!((34 * MTU..42 * MTU).contains(&window), "{}", window / MTU);
    }

    #[test]
    fn a_sender_that_lost_before_it_was_back_makes_room() {
        let mut cubic = Cubic::new();
        let window = cubic.on_congestion(1000 * MTU);
        cubic.on_congestion(window);
        assert_eq!((cubic.w_max, cubic.prior), (595 * MTU, 700 * MTU));
        cubic.on_congestion(2000 * MTU);
        assert_eq!(cubic.w_max, 2000 * MTU);
    }

    #[test]
    fn a_pause_does_not_make_the_window_jump() {
        let mut cubic = Cubic::new();
        let start = cubic.on_congestion(1000 * MTU);
        let window = run(&mut cubic, start, 0, 5);
        cubic.pause(Instant::from_micros(1_000_000_000));
        let after = cubic.grow(Instant::from_micros(1_000_000_001), window, 2 * MTU, MTU, RTT);
        assert!(after - window < MTU / 10, "{}", after - window);
    }

    #[test]
    fn extremes_saturate() {
        let mut cubic = Cubic::new();
        assert!(cubic.on_congestion(u32::MAX) > u32::MAX / 2);
        cubic.grow(Instant::ZERO, 2400, u32::MAX, 65_535, Span::ZERO);
        let late = Instant::from_micros(u64::MAX);
        assert_eq!(cubic.grow(late, u32::MAX, u32::MAX, 65_535, Span::MAX), u32::MAX);
    }
}
