//! defmt over a serial line: CMSDK UART0.

use core::cell::UnsafeCell;

use critical_section::RestoreState;
use defmt::Encoder;

use super::{read, write};

const DATA: usize = 0x4000_4000;
const STATE: usize = 0x4000_4004;
const CONTROL: usize = 0x4000_4008;
const BAUD_DIVISOR: usize = 0x4000_4010;

pub(super) fn start() {
    // The least that the device allows: nobody waits for real bits here.
    write(BAUD_DIVISOR, 16);
    write(CONTROL, 1); // transmit
}

fn put(bytes: &[u8]) {
    for byte in bytes {
        while read(STATE) & 1 != 0 {} // the buffer is full
        write(DATA, u32::from(*byte));
    }
}

defmt::timestamp!("{=u64:us}", embassy_time::Instant::now().as_micros());

#[defmt::global_logger]
struct Logger;

/// The encoder, and what the interrupts were before it was taken.
struct Line(UnsafeCell<(RestoreState, Encoder)>);

// SAFETY: it is touched between `acquire` and `release` only, and there in a critical section of a processor with one core.
unsafe impl Sync for Line {}

static LINE: Line = Line(UnsafeCell::new((RestoreState::invalid(), Encoder::new())));

// SAFETY: from `acquire` to `release` interrupts are off, so that nobody else gets between.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: `release` gives it back, and defmt calls them in pairs.
        let before = unsafe { critical_section::acquire() };
        // SAFETY: nobody else has it: see `Line`.
        let (restore, encoder) = unsafe { &mut *LINE.0.get() };
        *restore = before;
        encoder.start_frame(put);
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: nobody else has it: see `Line`.
        let (restore, encoder) = unsafe { &mut *LINE.0.get() };
        encoder.end_frame(put);
        // SAFETY: it is what `acquire` was given.
        unsafe { critical_section::release(*restore) };
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: nobody else has it: see `Line`.
        let (_, encoder) = unsafe { &mut *LINE.0.get() };
        encoder.write(bytes, put);
    }
}
