//! What the application does with streams, and what it is told.

use crate::ids::{Dir, StreamId};
use crate::limits::PRIORITIES;
use crate::stream::recv::{Closed, Read, RecvState};
use crate::stream::row::News;
use crate::stream::send::{SendState, WriteError};
use crate::stream::{Slot, StreamMemory, Streams, share};
use crate::table::chunk::HasChunk;
use crate::table::list::{at, at_mut};

/// Why no stream can be opened now. [`StreamEvent::Available`] tells when to try again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OpenError {
    /// The peer allows no more.
    PeerLimit,
    /// All rows for streams of ours are in use.
    NoRow,
}

/// What the application is told. A fact stays until it was told; what happened twice before is told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StreamEvent {
    /// The peer opened streams: accept them.
    Opened(Dir),
    /// Streams may be opened that could not be before.
    Available(Dir),
    /// There is something to read after there was nothing, or the end came. Also told of streams not accepted yet.
    Readable(StreamId),
    /// There is room to write after there was too little.
    Writable(StreamId),
    /// The peer has everything, the end included.
    Finished(StreamId),
    /// The peer does not want what we send, and gives this code; the sending half was reset with it.
    Stopped(StreamId, u64),
}

impl Streams {
    /// Opens a stream.
    ///
    /// # Errors
    /// If the peer or our memory does not allow another one.
    pub fn open(&mut self, memory: &mut StreamMemory<'_>, dir: Dir) -> Result<StreamId, OpenError> {
        let local = self.local.of_mut(dir);
        if !local.may_open() {
            return Err(OpenError::PeerLimit);
        }
        let Some(local_room) = self.local_room.checked_sub(1) else {
            local.on_no_row();
            return Err(OpenError::NoRow);
        };
        let id = StreamId::new(self.side.get(), dir, local.open());
        self.local_room = local_room;
        self.open_row(memory, id).ok_or(OpenError::NoRow)?;
        Ok(id)
    }

    /// The next stream that the peer opened, in the order of their numbers.
    pub fn accept(&mut self, memory: &StreamMemory<'_>, dir: Dir) -> Option<StreamId> {
        let initiator = self.side.peer();
        loop {
            let id = StreamId::new(initiator, dir, self.peer.of_mut(dir).accept()?);
            // Whoever acts on events alone may have seen a stream to its end before it is accepted.
            if self.slot_of(memory, id).is_some() {
                return Some(id);
            }
        }
    }

    /// Takes bytes to be sent; returns how many. If fewer than given, [`StreamEvent::Writable`] tells when to go on.
    ///
    /// # Errors
    /// If the stream cannot be written to, ever.
    pub fn write(
        &mut self,
        memory: &mut StreamMemory<'_>,
        id: StreamId,
        bytes: &[u8],
    ) -> Result<usize, WriteError> {
        let (slot, lent) = self.find(memory, id).ok_or(WriteError::Closed)?;
        let taken = lent.row.send.write(lent.tx, bytes)?;
        self.settle(memory, slot);
        Ok(taken)
    }

    /// Everything was written: the stream ends after it.
    ///
    /// # Errors
    /// If the stream cannot be written to, or is finished already.
    pub fn finish(&mut self, memory: &mut StreamMemory<'_>, id: StreamId) -> Result<(), WriteError> {
        let (slot, lent) = self.find(memory, id).ok_or(WriteError::Closed)?;
        lent.row.send.finish()?;
        lent.row.untold.take(News::WRITABLE);
        self.settle(memory, slot);
        Ok(())
    }

    /// Gives up sending: what was not sent or acknowledged is dropped, the peer is told `code` (RFC 9000 3.1).
    ///
    /// # Errors
    /// If there is nothing to give up.
    pub fn reset<R: HasChunk>(
        &mut self,
        memory: &mut StreamMemory<'_>,
        sent: &mut [R],
        id: StreamId,
        code: u64,
    ) -> Result<(), Closed> {
        let (slot, lent) = self.find(memory, id).ok_or(Closed)?;
        let lost = lent.row.send.reset(sent, code).ok_or(Closed)?;
        lent.row.untold.take(News::WRITABLE);
        self.unowned.append(sent, lost);
        self.settle(memory, slot);
        Ok(())
    }

    /// Gives up reading: what came is dropped, the peer is asked with `code` to stop (RFC 9000 3.5).
    ///
    /// # Errors
    /// If there is nothing to give up.
    pub fn stop(&mut self, memory: &mut StreamMemory<'_>, id: StreamId, code: u64) -> Result<(), Closed> {
        let (slot, lent) = self.find(memory, id).ok_or(Closed)?;
        lent.row.recv.stop(lent.rx, code, &mut self.inflow)?;
        lent.row.untold.take(News::READABLE);
        self.settle(memory, slot);
        Ok(())
    }

    /// Reads what is there into `out`.
    ///
    /// # Errors
    /// If there will never be anything to read (again).
    pub fn read(
        &mut self,
        memory: &mut StreamMemory<'_>,
        id: StreamId,
        out: &mut [u8],
    ) -> Result<Read, Closed> {
        let (slot, lent) = self.find(memory, id).ok_or(Closed)?;
        let read = lent.row.recv.read(lent.rx, out, &mut self.inflow)?;
        if lent.row.recv.is_over() {
            lent.row.untold.take(News::READABLE);
        }
        self.settle(memory, slot);
        Ok(read)
    }

    /// What can be read, where it lies, in two parts. If there is nothing, [`Self::read`] tells why.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn peek<'m>(
        &self,
        memory: &'m StreamMemory<'_>,
        id: StreamId,
    ) -> Result<(&'m [u8], &'m [u8]), Closed> {
        let slot = self.slot_of(memory, id).ok_or(Closed)?;
        let area = memory.rx.get(share(self.rx_share, slot)).ok_or(Closed)?;
        at(memory.rows, slot).ok_or(Closed)?.recv.peek(area)
    }

    /// The first `len` bytes of what [`Self::peek`] shows were read.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn consume(&mut self, memory: &mut StreamMemory<'_>, id: StreamId, len: usize) -> Result<(), Closed> {
        let (slot, lent) = self.find(memory, id).ok_or(Closed)?;
        lent.row.recv.consume(lent.rx, len, &mut self.inflow)?;
        self.settle(memory, slot);
        Ok(())
    }

    /// Sets how urgent a stream's bytes are, 0 most of all (RFC 9000 2.3); beyond the last level is the last.
    ///
    /// # Errors
    /// If there is no such stream (any more).
    pub fn set_priority(
        &mut self,
        memory: &mut StreamMemory<'_>,
        id: StreamId,
        urgency: u8,
    ) -> Result<(), Closed> {
        let slot = self.slot_of(memory, id).ok_or(Closed)?;
        let last = PRIORITIES.saturating_sub(1);
        let urgency = usize::from(urgency).min(last);
        self.order.set_urgency(memory.rows, slot, u8::try_from(urgency).unwrap_or(0));
        Ok(())
    }

    /// The states of both halves; `None` once the stream is closed.
    pub fn states(&self, memory: &StreamMemory<'_>, id: StreamId) -> Option<(SendState, RecvState)> {
        let row = at(memory.rows, self.slot_of(memory, id)?)?;
        Some((row.send.state(), row.recv.state()))
    }

    /// The next thing the application is to be told.
    pub fn poll_event(&mut self, memory: &mut StreamMemory<'_>) -> Option<StreamEvent> {
        for dir in [Dir::Bi, Dir::Uni] {
            if core::mem::take(&mut self.peer.of_mut(dir).untold) {
                return Some(StreamEvent::Opened(dir));
            }
            if core::mem::take(&mut self.local.of_mut(dir).untold) {
                return Some(StreamEvent::Available(dir));
            }
        }
        let slot = self.news.head()?;
        let row = at_mut(memory.rows, slot)?;
        let id = row.id;
        let event = if row.untold.take(News::READABLE) {
            StreamEvent::Readable(id)
        } else if row.untold.take(News::WRITABLE) {
            StreamEvent::Writable(id)
        } else if row.untold.take(News::STOPPED) {
            StreamEvent::Stopped(id, row.send.reset_code().unwrap_or(0))
        } else {
            row.untold.take(News::FINISHED);
            StreamEvent::Finished(id)
        };
        self.settle(memory, slot);
        Some(event)
    }

    fn find<'m>(&self, memory: &'m mut StreamMemory<'_>, id: StreamId) -> Option<(u16, Slot<'m>)> {
        let slot = self.slot_of(memory, id)?;
        Some((slot, self.lend(memory, slot)?))
    }
}
