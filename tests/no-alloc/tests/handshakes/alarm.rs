//! An allocator that ends the process when the thread that armed it allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write as _;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, until [`armed`].
pub(crate) struct Alarm;

impl Alarm {
    /// Ends the process if this thread is armed; a failed assertion may say so. Standard error is not buffered: nothing on
    /// the way allocates.
    fn check(what: &str, size: usize) {
        if ARMED.replace(false) && !std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "armed thread: {what} of {size} bytes on the heap");
            std::process::abort();
        }
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Alarm {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check("allocation", layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::check("release", layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::check("reallocation", size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `act`, in which this thread may not use the heap.
pub(crate) fn armed<R>(act: impl FnOnce() -> R) -> R {
    ARMED.set(true);
    let result = act();
    ARMED.set(false);
    result
}
