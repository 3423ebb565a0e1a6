//! The executor. embassy-executor's own for this processor sleeps with WFE, which QEMU takes for a NOP: an idle firmware would
//! keep a core of the host busy. This one sleeps with WFI.

use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

/// Whether a task was woken since the last look.
static IS_WOKEN: AtomicBool = AtomicBool::new(false);

// SAFETY: this is the signature that embassy-executor asks for, and no other feature of it defines the symbol.
#[unsafe(export_name = "__pender")]
fn pend(_: *mut ()) {
    IS_WOKEN.store(true, Ordering::Relaxed);
}

/// Runs tasks for ever, beginning with those that `start` spawns.
pub fn run(start: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor: &'static raw::Executor = EXECUTOR.init(raw::Executor::new(core::ptr::null_mut()));
    start(executor.spawner());
    loop {
        // SAFETY: there is one executor, and this is the only place that polls it.
        unsafe { executor.poll() };
        // An interrupt that comes in between waits for the end of this, and ends the sleep nevertheless.
        critical_section::with(|_| {
            if !IS_WOKEN.swap(false, Ordering::Relaxed) {
                cortex_m::asm::wfi();
            }
        });
    }
}
