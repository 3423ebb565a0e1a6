//! How far a download has come, for those who wait for a moment of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peregrine_core::time::Instant;
use peregrine_std::clock::Clock;

use crate::moment::Moment;

/// Counts the bytes of all downloads together.
#[derive(Debug)]
pub(crate) struct Meter {
    clock: Clock,
    reading: Mutex<Reading>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    bytes: u64,
    /// When the first connection was made.
    connected: Option<Instant>,
    /// When bytes came last, and the longest wait for more.
    last: Option<Instant>,
    silence: Duration,
    is_over: bool,
}

impl Meter {
    /// Nothing has come yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, reading: Mutex::default(), changed: Condvar::new() }
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a connection.
    pub(crate) fn on_connected(&self) {
        let now = self.clock.now();
        self.reading().connected.get_or_insert(now);
        self.changed.notify_all();
    }

    /// Counts more bytes.
    pub(crate) fn add(&self, bytes: u64) {
        let now = self.clock.now();
        let mut reading = self.reading();
        reading.bytes += bytes;
        if let Some(last) = reading.last.replace(now) {
            reading.silence = reading.silence.max(now.since(last).into());
        }
        drop(reading);
        self.changed.notify_all();
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.reading().is_over = true;
        self.changed.notify_all();
    }

    /// Bytes that have come.
    pub(crate) fn bytes(&self) -> u64 {
        self.reading().bytes
    }

    /// The longest time between two bytes.
    pub(crate) fn longest_silence(&self) -> Duration {
        self.reading().silence
    }

    /// Whether all downloads are over.
    pub(crate) fn is_over(&self) -> bool {
        self.reading().is_over
    }

    /// Waits for the end; returns whether it came in time.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        let going_on = |reading: &mut Reading| !reading.is_over;
        let waited = self.changed.wait_timeout_while(self.reading(), time, going_on);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    /// Waits for the moment; returns whether it came before the end.
    pub(crate) fn wait(&self, moment: Moment) -> bool {
        let mut reading = self.reading();
        loop {
            let left = match (reading.connected, moment) {
                (Some(_), Moment::Bytes(bytes)) if reading.bytes >= bytes => Some(Duration::ZERO),
                (Some(since), Moment::Elapsed(time)) => {
                    Some(since.after(time).since(self.clock.now()).into())
                }
                _ => None,
            };
            reading = match left {
                Some(Duration::ZERO) => return true,
                _ if reading.is_over => return false,
                Some(left) => {
                    self.changed.wait_timeout(reading, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(reading).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_longest_silence_is_between_two_bytes() {
        let meter = Meter::new(Clock::start());
        thread::sleep(Duration::from_millis(50));
        meter.add(1);
        assert_eq!(meter.longest_silence(), Duration::ZERO, "what came before is no silence");
        thread::sleep(Duration::from_millis(20));
        meter.add(1);
        meter.add(1);
        assert!(meter.longest_silence() >= Duration::from_millis(20));
    }

    #[test]
    fn a_moment_comes_by_bytes_or_by_time_or_not_at_all() {
        let meter = Meter::new(Clock::start());
        thread::scope(|scope| {
            let bytes = scope.spawn(|| meter.wait(Moment::Bytes(30)));
            let time = scope.spawn(|| meter.wait(Moment::Elapsed(Duration::from_millis(5))));
            let never = scope.spawn(|| meter.wait(Moment::Bytes(31)));
            let too_late = scope.spawn(|| meter.wait(Moment::Elapsed(Duration::from_secs(99))));
            meter.on_connected();
            (0..3).for_each(|_| meter.add(10));
            assert!(bytes.join().unwrap() && time.join().unwrap());
            let end = scope.spawn(|| meter.ends_within(Duration::from_secs(99)));
            assert!(!meter.ends_within(Duration::from_millis(1)));
            meter.end();
            assert!(end.join().unwrap());
            assert!(!never.join().unwrap() && !too_late.join().unwrap());
        });
        assert!(meter.is_over() && meter.bytes() == 30);
    }
}
