//! Flow control (RFC 9000 4): one kind of credit each way, whether it counts the bytes of a stream, the bytes of all
//! streams, or streams (4.6).
//!
//! A credit knows its limit and how far the news of it has come. What was used of it the owner knows already and says.

use crate::delivery::Delivery;
use crate::error::{Code, TransportError};
use crate::table::halves::Halves;

/// What the peer lets us use, and whether it knows that we are blocked (RFC 9000 4.1, 4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SendCredit {
    limit: Halves,
    blocked: Delivery,
}

impl SendCredit {
    /// The first limit.
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit: Halves::new(limit), blocked: Delivery::Idle }
    }

    /// The limit.
    pub(super) const fn limit(&self) -> u64 {
        self.limit.get()
    }

    /// How much may still be used.
    pub(super) const fn room(&self, used: u64) -> u64 {
        self.limit.get().saturating_sub(used)
    }

    /// The peer names a limit; returns whether that is more than before. A lower one means nothing (RFC 9000 4.1).
    pub(super) const fn raise(&mut self, limit: u64) -> bool {
        let more = limit > self.limit.get();
        if more {
            self.limit = Halves::new(limit);
            self.blocked.forget();
        }
        more
    }

    /// More would be used than there is: the peer is told, once for each limit.
    pub(super) const fn block(&mut self) {
        if self.blocked.is_idle() {
            self.blocked.want();
        }
    }

    /// There is nothing left to be blocked.
    pub(super) const fn close(&mut self) {
        self.blocked.forget();
    }

    /// Whether a frame that says so is to be sent.
    pub(super) const fn wants_frame(&self) -> bool {
        self.blocked.is_wanted()
    }

    /// That frame was sent.
    pub(super) const fn on_sent(&mut self) {
        self.blocked.on_sent();
    }

    /// It was lost: repeated only while the limit still blocks (RFC 9000 13.3).
    pub(super) const fn on_lost(&mut self) {
        if !self.blocked.is_idle() {
            self.blocked.on_lost();
        }
    }
}

/// What we let the peer use, and whether it knows the latest limit (RFC 9000 4.1, 4.2, 4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RecvCredit {
    limit: Halves,
    update: Delivery,
}

impl RecvCredit {
    /// The first limit, which a transport parameter tells.
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit: Halves::new(limit), update: Delivery::Idle }
    }

    /// The limit the peer was told.
    pub(super) const fn limit(&self) -> u64 {
        self.limit.get()
    }

    /// So much was given back, out of a window of so much. A new limit is wanted once half of the window could be added:
    /// later would stall the peer, earlier would cost frames.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) const fn on_consumed(&mut self, consumed: u64, window: u64) {
        let gain = consumed.saturating_add(window).saturating_sub(self.limit.get());
        if gain > 0 && gain >= window / 2 {
            self.update.want();
        }
    }

    /// The peer will use no more.
    pub(super) const fn close(&mut self) {
        self.update.forget();
    }

    /// Whether a frame with the limit is to be sent.
    pub(super) const fn wants_frame(&self) -> bool {
        self.update.is_wanted()
    }

    /// The limit that the frame would tell now.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) const fn next_limit(&self, consumed: u64, window: u64) -> u64 {
        let limit = consumed.saturating_add(window);
        if limit > self.limit.get() { limit } else { self.limit.get() }
    }

    /// A frame told the peer `limit`.
    pub(super) const fn on_sent(&mut self, limit: u64) {
        self.limit = Halves::new(limit);
        self.update.on_sent();
    }

    /// The frame was acknowledged.
    pub(super) const fn on_acked(&mut self) {
        self.update.on_acked();
    }

    /// The frame was lost. A newer one may be on its way; a repeat does no harm.
    pub(super) const fn on_lost(&mut self) {
        if !self.update.is_idle() {
            self.update.on_lost();
        }
    }
}

/// Bytes of all streams from the peer (RFC 9000 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inflow {
    /// What MAX_DATA tells.
    pub(super) credit: RecvCredit,
    window: u64,
    received: u64,
    consumed: u64,
}

#[cfg(test)]
impl Inflow {
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    pub(super) const fn consumed(&self) -> u64 {
        self.consumed
    }
}

#[cfg(test)]
impl Outflow {
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }
}

impl Inflow {
    /// At most `window` bytes may be received and not consumed.
    pub(super) const fn new(window: u64) -> Self {
        Self { credit: RecvCredit::new(window), window, received: 0, consumed: 0 }
    }

    /// A stream has grown by so many bytes, received or skipped.
    ///
    /// # Errors
    /// FLOW_CONTROL_ERROR if the limit does not allow that.
    pub(super) const fn on_received(&mut self, fresh: u64) -> Result<(), TransportError> {
        let received = self.received.saturating_add(fresh);
        if received > self.credit.limit() {
            let reason = "more bytes on all streams than MAX_DATA allows";
            return Err(TransportError::new(Code::FLOW_CONTROL_ERROR, reason));
        }
        self.received = received;
        Ok(())
    }

    /// So many bytes take no memory any more.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) const fn on_consumed(&mut self, len: u64) {
        self.consumed = self.consumed.saturating_add(len);
        self.credit.on_consumed(self.consumed, self.window);
    }

    /// The limit that MAX_DATA would tell now.
    pub(super) const fn next_limit(&self) -> u64 {
        self.credit.next_limit(self.consumed, self.window)
    }
}

/// Bytes of all streams to the peer (RFC 9000 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outflow {
    /// What MAX_DATA told.
    pub(super) credit: SendCredit,
    sent: u64,
}

impl Outflow {
    /// How many bytes may be sent that were never sent before.
    pub(super) const fn room(&self) -> u64 {
        self.credit.room(self.sent)
    }

    /// So many were.
    pub(super) const fn on_sent(&mut self, fresh: u64) {
        self.sent = self.sent.saturating_add(fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_again_at_half_a_window() {
        let mut credit = RecvCredit::new(100);
        credit.on_consumed(49, 100);
        assert!(!credit.wants_frame());
        credit.on_consumed(50, 100);
        assert!(credit.wants_frame());
        credit.on_sent(credit.next_limit(60, 100));
        assert_eq!((credit.limit(), credit.wants_frame()), (160, false));
        credit.on_lost();
        assert!(credit.wants_frame());
        // A window of one is given back at once, an empty one never.
        let mut one = RecvCredit::new(1);
        one.on_consumed(0, 1);
        assert!(!one.wants_frame());
        one.on_consumed(1, 1);
        assert!(one.wants_frame());
        let mut none = RecvCredit::new(0);
        none.on_consumed(0, 0);
        assert!(!none.wants_frame());
    }

    #[test]
    fn blocked_is_said_once_for_each_limit() {
        let mut credit = SendCredit::new(10);
        credit.block();
        assert!(credit.wants_frame());
        credit.on_sent();
        credit.block();
        assert!(!credit.wants_frame());
        credit.on_lost();
        assert!(credit.wants_frame());
        assert!(!credit.raise(10) && credit.wants_frame());
        assert!(credit.raise(11) && !credit.wants_frame());
        credit.on_lost();
        assert!(!credit.wants_frame());
        assert_eq!((credit.room(4), credit.room(12)), (7, 0));
    }

    #[test]
    fn all_streams_share_one_limit() {
        let mut inflow = Inflow::new(10);
        assert_eq!(inflow.on_received(10), Ok(()));
        assert_eq!(inflow.on_received(1).unwrap_err().code(), Code::FLOW_CONTROL_ERROR);
        inflow.on_consumed(5);
        assert!(inflow.credit.wants_frame());
        inflow.credit.on_sent(inflow.next_limit());
        assert_eq!(inflow.on_received(5), Ok(()));
        assert!(inflow.on_received(1).is_err());
    }
}
