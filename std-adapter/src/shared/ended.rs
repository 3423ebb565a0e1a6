//! Connections that core knows no more, as long as somebody has them: what had arrived may still be read, and what has become of
//! what was sent be asked.

use std::collections::HashMap;
use std::sync::Arc;

use peregrine_core::endpoint::Handle;

use super::Row;
use crate::storage::HeapConnection;

/// What is kept of connections that are over.
pub(super) struct Ended {
    kept: HashMap<Handle, (Row, HeapConnection)>,
    most: usize,
}

impl Ended {
    /// Keeps so many at most.
    pub(super) fn new(most: usize) -> Self {
        Self { kept: HashMap::new(), most }
    }

    /// Keeps one that somebody has, unless too many are kept: then what had arrived of it is lost.
    pub(super) fn keep(&mut self, row: Row, connection: HeapConnection) {
        let is_held = Arc::strong_count(&row.facts) > 1;
        // Who waited on one that has no end would wait for ever.
        if is_held && row.facts.ended.get().is_some() && self.kept.len() < self.most {
            self.kept.insert(row.handle, (row, connection));
        }
    }

    /// Nobody has it any more.
    pub(super) fn forget(&mut self, handle: Handle) {
        self.kept.remove(&handle);
    }

    pub(super) fn connection(&mut self, handle: Handle) -> Option<&mut HeapConnection> {
        self.kept.get_mut(&handle).map(|(_, connection)| connection)
    }

    pub(super) fn row(&mut self, handle: Handle) -> Option<&mut Row> {
        self.kept.get_mut(&handle).map(|(row, _)| row)
    }
}
