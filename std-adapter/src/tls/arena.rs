//! Values that stay in place: Peregrine's TLS borrows its configuration, and here sessions are owned by connections
//! that come and go. An arena holds what they borrow; each session holds the arena.

use std::any::Any;
use std::sync::Arc;

/// Keeps values in place until it is dropped itself.
#[derive(Default)]
pub(super) struct Arena {
    kept: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Arena {
    /// Keeps `value`.
    ///
    /// # Safety
    /// The reference is not to be used any more once the arena is dropped. Whoever holds it beside the arena in a
    /// struct declares it before the arena, and shows it to nobody.
    #[expect(unsafe_code, reason = "a session cannot borrow from its own connection in safe code")]
    pub(super) unsafe fn keep<T: Any + Send + Sync>(&mut self, value: T) -> &'static T {
        let kept = Arc::new(value);
        // SAFETY: an `Arc` does not move its value, nobody takes this one back mutably, and it lives as long as the
        // arena, beyond which the caller promises not to use the reference.
        let place = unsafe { &*Arc::as_ptr(&kept) };
        self.kept.push(kept);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    struct Counted(Vec<u8>);

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "it is what is tested")]
    fn values_stay_where_they_are_while_the_arena_moves_and_grows() {
        let mut arena = Arena::default();
        // SAFETY: the arena is dropped after the last use.
        let first = unsafe { arena.keep(Counted(vec![1, 2, 3])) };
        for i in 0..100 {
            // SAFETY: not used.
            unsafe { arena.keep(Counted(vec![i])) };
        }
        let moved = Box::new(arena);
        assert_eq!(first.0, [1, 2, 3]);
        assert_eq!(DROPPED.load(Ordering::Relaxed), 0);
        drop(moved);
        assert_eq!(DROPPED.load(Ordering::Relaxed), 101);
    }
}
