//! The memory of handshakes, used again and again.

use std::sync::{Arc, Mutex, PoisonError};

/// Bytes for one handshake: our flight and the peer's longest message, a chain of large certificates included.
const SCRATCH_BYTES: usize = 16 << 10;
/// Pieces that are kept while no handshake needs them.
const MAX_IDLE: usize = 64;

/// Where memory for handshakes comes from and goes back to.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    idle: Arc<Mutex<Vec<Box<[u8]>>>>,
}

impl Pool {
    /// Memory for one handshake.
    pub(super) fn take(&self) -> Scratch {
        let bytes = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = bytes.unwrap_or_else(|| vec![0; SCRATCH_BYTES].into_boxed_slice());
        Scratch { bytes, pool: self.clone() }
    }
}

/// Memory lent to one handshake. Goes back when dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    bytes: Box<[u8]>,
    pool: Pool,
}

impl AsRef<[u8]> for Scratch {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Scratch {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_and_no_more_than_so_much_is_kept() {
        let pool = Pool::default();
        let lent: Vec<_> = (0..MAX_IDLE + 3).map(|_| pool.take()).collect();
        let last = lent[MAX_IDLE - 1].as_ref().as_ptr();
        drop(lent);
        assert_eq!(pool.idle.lock().unwrap().len(), MAX_IDLE);
        let again = pool.take();
        assert_eq!((again.as_ref().as_ptr(), again.as_ref().len()), (last, SCRATCH_BYTES));
    }
}
