//! Memory that goes back to its place by itself, whoever drops it.

use core::cell::Cell;

use peregrine_core::connection::{Buffers, Memory};
use peregrine_core::stream::StreamMemory;

/// Where a piece of memory lies while nobody has it.
pub(crate) type Home = Cell<Option<&'static mut dyn Memory>>;

/// The memory of a connection, away from home.
pub(crate) struct Lent {
    memory: Option<&'static mut dyn Memory>,
    home: &'static Home,
}

impl Lent {
    /// The memory of the first home that has it.
    pub(crate) fn take(homes: &'static [Home]) -> Option<Self> {
        homes.iter().find_map(|home| Some(Self { memory: Some(home.take()?), home }))
    }
}

impl Memory for Lent {
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

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.set(self.memory.take());
    }
}
