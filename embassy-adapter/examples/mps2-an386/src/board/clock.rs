//! The time for embassy-time: one CMSDK timer counts for ever, the other one rings.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;

use super::{Interrupt, read, write};

/// Counts 25 MHz down, and goes on from the top.
const COUNTER: Timer = Timer(0x4000_0000);
/// Rings.
const ALARM: Timer = Timer(0x4000_1000);
/// Counts in a tick of embassy-time.
const COUNTS_PER_TICK: u32 = 25;
/// The longest wait for the alarm in ticks: the counter has 32 bits. What is further off is looked at again then.
const LONGEST: u64 = (u32::MAX / COUNTS_PER_TICK) as u64;

/// A timer of the board, by its address.
struct Timer(usize);

impl Timer {
    /// Begins to count from there.
    fn start(&self, counts: u32) {
        write(self.0, 0);
        write(self.0 + 8, counts); // what to go on from
        write(self.0 + 4, counts); // the count
        write(self.0, 0b1001); // interrupt, run
    }

    fn stop(&self) {
        write(self.0, 0);
    }

    fn count(&self) -> u32 {
        read(self.0 + 4)
    }

    /// Whether it went below zero and nobody has cleared that.
    fn has_rung(&self) -> bool {
        read(self.0 + 12) & 1 != 0
    }

    fn clear(&self) {
        write(self.0 + 12, 1);
    }
}

struct Clock {
    /// How often the counter began again.
    rounds: Mutex<Cell<u32>>,
    queue: Mutex<RefCell<Queue>>,
}

time_driver_impl!(static CLOCK: Clock = Clock {
    rounds: Mutex::new(Cell::new(0)),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

pub(super) fn start() {
    COUNTER.start(u32::MAX);
    Interrupt::Timer0.enable();
    Interrupt::Timer1.enable();
}

impl Clock {
    fn counts(&self, cs: CriticalSection<'_>) -> u64 {
        let (mut rounds, mut count) = (self.rounds.borrow(cs).get(), COUNTER.count());
        if COUNTER.has_rung() {
            // The interrupt waits for us; the count may be from before or after.
            (rounds, count) = (rounds.wrapping_add(1), COUNTER.count());
        }
        u64::from(rounds) << 32 | u64::from(u32::MAX - count)
    }

    /// Wakes who waited long enough, and sets the alarm for the next.
    fn ring(&self, cs: CriticalSection<'_>) {
        let now = self.counts(cs) / u64::from(COUNTS_PER_TICK);
        let next = self.queue.borrow(cs).borrow_mut().next_expiration(now);
        ALARM.stop();
        if next != u64::MAX {
            let ticks = next.saturating_sub(now).clamp(1, LONGEST) as u32;
            ALARM.start(ticks * COUNTS_PER_TICK);
        }
    }
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.counts(cs)) / u64::from(COUNTS_PER_TICK)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let is_first = self.queue.borrow(cs).borrow_mut().schedule_wake(at, waker);
            if is_first {
                self.ring(cs);
            }
        });
    }
}

// SAFETY: the name is that of the vector, and its signature too.
#[unsafe(no_mangle)]
extern "C" fn TIMER0() {
    critical_section::with(|cs| {
        COUNTER.clear();
        let rounds = CLOCK.rounds.borrow(cs);
        rounds.set(rounds.get().wrapping_add(1));
    });
}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn TIMER1() {
    critical_section::with(|cs| {
        ALARM.clear();
        CLOCK.ring(cs);
    });
}
