//! How far a control fact has come on its way to the peer (RFC 9000 13.3). The state sits beside the fact it delivers.
//!
//! ```text
//! Idle --want--> Wanted --on_sent--> InFlight --on_acked--> Done
//!                  ^------on_lost-------'
//! ```
//!
//! Which packet carried the fact is not kept here. Two copies of a changing fact may be in flight at once, so a loss
//! always asks for another copy: a repeat does no harm, and what is sent is the fact as it then is.

/// The way of one fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum Delivery {
    /// Nothing to tell.
    #[default]
    Idle,
    /// To be put into the next packet.
    Wanted,
    /// In a packet whose fate is unknown.
    InFlight,
    /// The peer has it.
    Done,
}

impl Delivery {
    /// The fact is new, or has changed.
    pub const fn want(&mut self) {
        *self = Self::Wanted;
    }

    /// There is nothing to tell any more.
    pub const fn forget(&mut self) {
        *self = Self::Idle;
    }

    /// Whether there is nothing to tell.
    pub const fn is_idle(self) -> bool {
        matches!(self, Self::Idle)
    }

    /// Whether it waits to be sent.
    pub const fn is_wanted(self) -> bool {
        matches!(self, Self::Wanted)
    }

    /// Whether the peer has it.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Done)
    }

    /// It went into a packet.
    pub const fn on_sent(&mut self) {
        *self = Self::InFlight;
    }

    /// The packet was acknowledged. A fact that changed since stays wanted.
    pub const fn on_acked(&mut self) {
        if matches!(self, Self::InFlight) {
            *self = Self::Done;
        }
    }

    /// The packet was lost.
    pub const fn on_lost(&mut self) {
        *self = Self::Wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_changed_in_flight_stays_wanted() {
        let mut delivery = Delivery::Idle;
        delivery.want();
        delivery.on_sent();
        delivery.want();
        delivery.on_acked();
        assert!(delivery.is_wanted());
        delivery.on_sent();
        delivery.on_acked();
        assert!(delivery.is_done());
    }

    #[test]
    fn a_loss_counts_even_after_an_older_copy_was_acknowledged() {
        let mut delivery = Delivery::InFlight;
        delivery.on_acked();
        delivery.on_lost();
        assert!(delivery.is_wanted());
    }
}
