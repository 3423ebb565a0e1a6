//! Frames from the peer.

use crate::error::{Code, TransportError, Trap};
use crate::ids::{Dir, StreamId};
use crate::stream::row::News;
use crate::stream::{StreamMemory, Streams};
use crate::table::chunk::HasChunk;
use crate::table::list::at_mut;
use crate::wire::frame;

/// Which of our halves a frame speaks to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Recv,
    Send,
}

impl Streams {
    /// STREAM (RFC 9000 19.8).
    ///
    /// # Errors
    /// STREAM_STATE_ERROR, STREAM_LIMIT_ERROR, FINAL_SIZE_ERROR or FLOW_CONTROL_ERROR.
    pub fn on_stream(
        &mut self,
        memory: &mut StreamMemory<'_>,
        frame: &frame::Stream<'_>,
    ) -> Result<(), TransportError> {
        let Some(slot) = self.resolve(memory, frame.id, Half::Recv)? else { return Ok(()) };
        let lent = self.lend(memory, slot).trap("a stream has no memory")?;
        let readable = lent.row.recv.on_stream(lent.rx, frame, &mut self.inflow)?;
        lent.row.untold.note(News::READABLE, readable);
        self.settle(memory, slot);
        Ok(())
    }

    /// RESET_STREAM (RFC 9000 19.4).
    ///
    /// # Errors
    /// As for [`Self::on_stream`].
    pub fn on_reset_stream(
        &mut self,
        memory: &mut StreamMemory<'_>,
        frame: frame::ResetStream,
    ) -> Result<(), TransportError> {
        let Some(slot) = self.resolve(memory, frame.id, Half::Recv)? else { return Ok(()) };
        let lent = self.lend(memory, slot).trap("a stream has no memory")?;
        let readable = lent.row.recv.on_reset(lent.rx, frame, &mut self.inflow)?;
        lent.row.untold.note(News::READABLE, readable);
        self.settle(memory, slot);
        Ok(())
    }

    /// STOP_SENDING (RFC 9000 3.5, 19.5): the sending half is reset with the same code.
    ///
    /// # Errors
    /// STREAM_STATE_ERROR or STREAM_LIMIT_ERROR.
    pub fn on_stop_sending<R: HasChunk>(
        &mut self,
        memory: &mut StreamMemory<'_>,
        sent: &mut [R],
        frame: frame::StopSending,
    ) -> Result<(), TransportError> {
        let Some(slot) = self.resolve(memory, frame.id, Half::Send)? else { return Ok(()) };
        let row = at_mut(memory.rows, slot).trap("a stream has no row")?;
        if let Some(lost) = row.send.reset(sent, frame.code) {
            row.untold.take(News::WRITABLE);
            row.untold.note(News::STOPPED, true);
            self.unowned.append(sent, lost);
        }
        self.settle(memory, slot);
        Ok(())
    }

    /// MAX_DATA (RFC 9000 19.9).
    pub fn on_max_data(&mut self, frame: frame::MaxData) {
        self.outflow.credit.raise(frame.max);
    }

    /// MAX_STREAM_DATA (RFC 9000 19.10).
    ///
    /// # Errors
    /// STREAM_STATE_ERROR or STREAM_LIMIT_ERROR.
    pub fn on_max_stream_data(
        &mut self,
        memory: &mut StreamMemory<'_>,
        frame: frame::MaxStreamData,
    ) -> Result<(), TransportError> {
        let Some(slot) = self.resolve(memory, frame.id, Half::Send)? else { return Ok(()) };
        at_mut(memory.rows, slot).trap("a stream has no row")?.send.on_limit(frame.max);
        self.settle(memory, slot);
        Ok(())
    }

    /// MAX_STREAMS (RFC 9000 19.11).
    pub fn on_max_streams(&mut self, frame: frame::MaxStreams) {
        let has_row = self.local_room > 0;
        self.local.of_mut(frame.dir).on_limit(frame.max, has_row);
    }

    /// STREAM_DATA_BLOCKED (RFC 9000 19.13). It opens the stream; the limit is raised when the application reads, not when
    /// the peer asks.
    ///
    /// # Errors
    /// STREAM_STATE_ERROR or STREAM_LIMIT_ERROR.
    pub fn on_stream_data_blocked(
        &mut self,
        memory: &mut StreamMemory<'_>,
        frame: frame::StreamDataBlocked,
    ) -> Result<(), TransportError> {
        self.resolve(memory, frame.id, Half::Recv).map(drop)
    }

    /// The slot of a stream that a frame names, opened if need be; `None` if the stream is closed already.
    fn resolve(
        &mut self,
        memory: &mut StreamMemory<'_>,
        id: StreamId,
        half: Half,
    ) -> Result<Option<u16>, TransportError> {
        let found = self.slot_of(memory, id);
        let state_error = |reason| Err(TransportError::new(Code::STREAM_STATE_ERROR, reason));
        if id.initiator() == self.side.get() {
            if id.dir() == Dir::Uni && half == Half::Recv {
                return state_error("frame of a sender on a stream that only we send on");
            }
            if found.is_none() && !self.local.of(id.dir()).has_opened(id.index()) {
                return state_error("frame for a stream that we have not opened");
            }
            return Ok(found);
        }
        if id.dir() == Dir::Uni && half == Half::Send {
            return state_error("frame of a receiver on a stream that only the peer sends on");
        }
        if found.is_some() {
            return Ok(found);
        }
        let mut opened = None;
        for index in self.peer.of(id.dir()).unopened(id.index())? {
            let id = StreamId::new(self.side.peer(), id.dir(), index);
            let slot = self.open_row(memory, id).trap("more streams allowed than there are rows")?;
            self.peer.of_mut(id.dir()).on_opened();
            opened = Some(slot);
        }
        Ok(opened)
    }
}
