//! The receiving half of a stream (RFC 9000 3.2, 3.5, 4.1, 4.5).
//!
//! ```text
//! Recv --FIN--> SizeKnown --all data--> DataRecvd --read to the end--> DataRead
//!   |               |
//!   '-RESET_STREAM--'----> ResetRecvd --read--> ResetRead
//! ```
//!
//! A RESET_STREAM after all data came is ignored: the data is delivered. Once the application has asked the peer to
//! stop, what comes is counted and thrown away, and the half ends without the application: at a RESET_STREAM, or when
//! the final size is known and the peer has our STOP_SENDING.
//!
//! The final size is not kept apart: it is the highest offset seen once the state says so.

use crate::delivery::Delivery;
use crate::error::{Code, TransportError};
use crate::stream::flow::{Inflow, RecvCredit};
use crate::table::reassembly::{Reassembly, capacity};
use crate::wire::frame;

/// States of RFC 9000 figure 3, and the state of a half that the stream does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum RecvState {
    /// The stream only sends.
    #[default]
    Absent,
    /// Bytes come.
    Recv,
    /// The end is known, bytes are missing.
    SizeKnown,
    /// All bytes are there.
    DataRecvd,
    /// The peer gave up; the application does not know yet.
    ResetRecvd,
    /// The application has seen the end.
    DataRead,
    /// The application has seen that the peer gave up.
    ResetRead,
}

/// What reading a stream yields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Read {
    /// So many bytes; zero only for want of room to put them.
    Bytes(usize),
    /// Nothing yet.
    Blocked,
    /// There is nothing more: the peer finished. Told once.
    Finished,
    /// The peer gave up, with this code of the application. Told once.
    Reset(u64),
}

/// No such stream (any more), or not this half of it, or this half is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Closed;

/// The receiving half of one stream. Its area of memory is lent to each call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecvHalf {
    assembly: Reassembly,
    /// What MAX_STREAM_DATA tells; closed once no bytes beyond the limit can matter (RFC 9000 13.3).
    credit: RecvCredit,
    /// Of the peer's RESET_STREAM or of our STOP_SENDING; never both are needed.
    code: u64,
    state: RecvState,
    /// STOP_SENDING; idle unless the application asked for it.
    stop: Delivery,
}

impl RecvHalf {
    /// No half, in an area that may hold anything.
    pub(super) const ABSENT: Self = Self {
        assembly: Reassembly::EMPTY,
        credit: RecvCredit::new(0),
        code: 0,
        state: RecvState::Absent,
        stop: Delivery::Idle,
    };

    /// Makes this the half of a new stream.
    pub(super) fn open(&mut self, state: RecvState, area: usize) {
        let credit = RecvCredit::new(capacity(area) as u64);
        *self = Self { assembly: self.assembly.restart(), credit, code: 0, state, stop: Delivery::Idle };
    }

    /// The state.
    pub(super) const fn state(&self) -> RecvState {
        self.state
    }

    /// Whether nothing can happen any more.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, RecvState::Absent | RecvState::DataRead | RecvState::ResetRead)
    }

    /// Whether MAX_STREAM_DATA or STOP_SENDING is to be sent.
    pub(super) const fn wants_frame(&self) -> bool {
        self.credit.wants_frame() || self.stop.is_wanted()
    }

    /// A STREAM frame. Returns whether the application has something new to see.
    pub(super) fn on_stream(
        &mut self,
        area: &mut [u8],
        frame: &frame::Stream<'_>,
        inflow: &mut Inflow,
    ) -> Result<bool, TransportError> {
        let end = frame.offset.saturating_add(frame.data.len() as u64);
        let fresh = self.grow(end, frame.fin, inflow)?;
        if !self.is_receiving() {
            return Ok(false);
        }
        let had = self.assembly.ready();
        if self.is_stopped() {
            self.assembly.discard(area, end);
            inflow.on_consumed(fresh);
        } else {
            self.assembly.insert(area, frame.offset, frame.data);
            self.assembly.reach_to(end);
        }
        if frame.fin {
            self.state = RecvState::SizeKnown;
            self.credit.close();
        }
        if self.is_stopped() {
            self.end_if_stopped();
            return Ok(false);
        }
        let whole = self.state == RecvState::SizeKnown && self.assembly.is_whole();
        if whole {
            self.state = RecvState::DataRecvd;
        }
        Ok(whole || (had == 0 && self.assembly.ready() > 0))
    }

    /// A RESET_STREAM frame. Returns whether the application has something new to see.
    pub(super) fn on_reset(
        &mut self,
        area: &mut [u8],
        frame: frame::ResetStream,
        inflow: &mut Inflow,
    ) -> Result<bool, TransportError> {
        self.grow(frame.final_size, true, inflow)?;
        if !self.is_receiving() {
            return Ok(false);
        }
        // What was never read, or never came, is consumed now (RFC 9000 4.5).
        inflow.on_consumed(self.assembly.discard(area, frame.final_size));
        self.credit.close();
        if self.is_stopped() {
            self.stop.forget();
            self.state = RecvState::ResetRead;
            return Ok(false);
        }
        self.code = frame.code;
        self.state = RecvState::ResetRecvd;
        Ok(true)
    }

    /// The application reads.
    pub(super) fn read(
        &mut self,
        area: &mut [u8],
        out: &mut [u8],
        inflow: &mut Inflow,
    ) -> Result<Read, Closed> {
        self.check_readable()?;
        if self.assembly.ready() > 0 {
            let len = self.assembly.copy_to(area, out);
            self.consume(area, len, inflow)?;
            return Ok(Read::Bytes(len));
        }
        match self.state {
            RecvState::DataRecvd => {
                self.state = RecvState::DataRead;
                Ok(Read::Finished)
            }
            RecvState::ResetRecvd => {
                self.state = RecvState::ResetRead;
                Ok(Read::Reset(self.code))
            }
            _ => Ok(Read::Blocked),
        }
    }

    /// What can be read, where it lies.
    pub(super) fn peek<'a>(&self, area: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Closed> {
        self.check_readable()?;
        Ok(self.assembly.peek(area))
    }

    /// The application is done with the first `len` bytes of what can be read.
    pub(super) fn consume(&mut self, area: &[u8], len: usize, inflow: &mut Inflow) -> Result<(), Closed> {
        self.check_readable()?;
        inflow.on_consumed(self.assembly.consume(area, len) as u64);
        if self.state == RecvState::Recv {
            self.credit.on_consumed(self.assembly.base(), capacity(area.len()) as u64);
        }
        Ok(())
    }

    /// The application will read no more (RFC 9000 3.5).
    pub(super) fn stop(&mut self, area: &mut [u8], code: u64, inflow: &mut Inflow) -> Result<(), Closed> {
        self.check_readable()?;
        inflow.on_consumed(self.assembly.discard(area, 0));
        self.credit.close();
        match self.state {
            RecvState::DataRecvd => self.state = RecvState::DataRead,
            RecvState::ResetRecvd => self.state = RecvState::ResetRead,
            _ => {
                self.code = code;
                self.stop.want();
            }
        }
        Ok(())
    }

    /// The limit a MAX_STREAM_DATA frame would tell now, if one is wanted.
    pub(super) fn next_limit(&self, area: usize) -> Option<u64> {
        let limit = self.credit.next_limit(self.assembly.base(), capacity(area) as u64);
        self.credit.wants_frame().then_some(limit)
    }

    /// A MAX_STREAM_DATA frame was sent.
    pub(super) fn on_limit_sent(&mut self, limit: u64) {
        self.credit.on_sent(limit);
    }

    /// A MAX_STREAM_DATA frame was acknowledged.
    pub(super) fn on_limit_acked(&mut self) {
        self.credit.on_acked();
    }

    /// A MAX_STREAM_DATA frame was lost.
    pub(super) fn on_limit_lost(&mut self) {
        self.credit.on_lost();
    }

    /// The code of the STOP_SENDING frame, if one is wanted.
    pub(super) fn stop_code(&self) -> Option<u64> {
        self.stop.is_wanted().then_some(self.code)
    }

    /// The STOP_SENDING frame was sent.
    pub(super) fn on_stop_sent(&mut self) {
        self.stop.on_sent();
    }

    /// A STOP_SENDING frame was acknowledged.
    pub(super) fn on_stop_acked(&mut self) {
        self.stop.on_acked();
        self.end_if_stopped();
    }

    /// A STOP_SENDING frame was lost.
    pub(super) fn on_stop_lost(&mut self) {
        if self.is_receiving() && self.is_stopped() {
            self.stop.on_lost();
        }
    }

    const fn is_receiving(&self) -> bool {
        matches!(self.state, RecvState::Recv | RecvState::SizeKnown)
    }

    const fn is_stopped(&self) -> bool {
        !self.stop.is_idle()
    }

    fn check_readable(&self) -> Result<(), Closed> {
        if self.is_over() || self.is_stopped() { Err(Closed) } else { Ok(()) }
    }

    fn end_if_stopped(&mut self) {
        if self.state == RecvState::SizeKnown && self.stop.is_done() {
            self.state = RecvState::DataRead;
        }
    }

    /// Checks that the stream may reach to `end` and, if `fin`, end there; counts by how much it grows.
    fn grow(&mut self, end: u64, fin: bool, inflow: &mut Inflow) -> Result<u64, TransportError> {
        let highest = self.assembly.highest();
        let wrong = match self.state {
            RecvState::Recv if fin && end < highest => Some("stream ends before bytes that came already"),
            RecvState::Recv => None,
            _ if end > highest => Some("stream goes on beyond its end"),
            _ if fin && end != highest => Some("stream ends at another place than before"),
            _ => None,
        };
        if let Some(reason) = wrong {
            return Err(TransportError::new(Code::FINAL_SIZE_ERROR, reason));
        }
        if end > self.credit.limit() {
            let reason = "more bytes on a stream than MAX_STREAM_DATA allows";
            return Err(TransportError::new(Code::FLOW_CONTROL_ERROR, reason));
        }
        let fresh = end.saturating_sub(highest);
        inflow.on_received(fresh)?;
        Ok(fresh)
    }
}

#[cfg(test)]
mod tests;
