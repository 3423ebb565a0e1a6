//! Memory that goes back to its place by itself, whoever drops it.

use core::cell::Cell;

use peregrine_core::connection::{Buffers, Memory};
use peregrine_core::stream::StreamMemory;

/// Where a piece of memory lies while nobody has it.
pub(crate) type Home<T> = Cell<Option<&'static mut T>>;

/// A piece of memory, away from home.
pub(crate) struct Lent<T: ?Sized + 'static> {
    memory: Option<&'static mut T>,
    home: &'static Home<T>,
}

impl<T: ?Sized> Lent<T> {
    /// The memory of the first home that has it.
    pub(crate) fn take(homes: &'static [Home<T>]) -> Option<Self> {
        homes.iter().find_map(|home| Some(Self { memory: Some(home.take()?), home }))
    }
}

impl<T: ?Sized> Drop for Lent<T> {
    fn drop(&mut self) {
        self.home.set(self.memory.take());
    }
}

impl Lent<[u8]> {
    /// The bytes; none only while it is dropped.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.as_deref().unwrap_or_default()
    }

    /// The bytes, to be changed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().unwrap_or_default()
    }
}

impl Memory for Lent<dyn Memory> {
    fn buffers(&mut self) -> Buffers<'_> {
        match &mut self.memory {
            Some(memory) => memory.buffers(),
            // Only while it is dropped.
            None => Buffers {
                paths: &mut [],
                routes: &mut [],
                local_cids: &mut [],
                peer_cids: &mut [],
                retirements: &mut [],
                sent: &mut [],
                streams: StreamMemory { rows: &mut [], index: &mut [], rx: &mut [], tx: &mut [] },
                crypto: &mut [],
                token: &mut [],
                datagrams_in: &mut [],
                datagrams_out: &mut [],
            },
        }
    }
}
