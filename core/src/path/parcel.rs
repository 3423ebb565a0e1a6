//! One fact on its way to the peer, and the packet that carries it (RFC 9000 13.3).
//!
//! A [`Delivery`] that knows its packet: with several paths, each with packet numbers of its own, the fate of an older copy must
//! not be taken for that of the newest. Only the newest counts: what became of a fact that has changed since is of no interest
//! (draft-ietf-quic-multipath-21, PATH_STATUS_AVAILABLE and PATH_STATUS_BACKUP).

use crate::delivery::Delivery;

/// The way of one fact of a path. Small enough to stand in every path's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parcel {
    /// As far as needed to know the packet again, in bytes so that small fields can stand beside it: packets in flight at the
    /// same time never lie 2^32 numbers apart.
    pn: [u8; 4],
    /// In whose numbers: the row of a path. It becomes another path's only when no packet of the first is under way.
    space: u8,
    delivery: Delivery,
}

impl Parcel {
    /// Nothing to tell.
    pub const NONE: Self = Self { pn: [0; 4], space: 0, delivery: Delivery::Idle };

    /// The fact is new, or has changed.
    pub const fn want(&mut self) {
        self.delivery.want();
    }

    /// There is nothing to tell any more.
    pub const fn forget(&mut self) {
        self.delivery.forget();
    }

    /// Whether it waits to be sent.
    pub const fn is_wanted(&self) -> bool {
        self.delivery.is_wanted()
    }

    /// Whether the peer has it.
    pub const fn is_done(&self) -> bool {
        self.delivery.is_done()
    }

    /// It went into the packet `pn` of the path in row `space`.
    pub const fn on_sent(&mut self, space: u8, pn: u64) {
        *self = Self { pn: low(pn), space, delivery: Delivery::InFlight };
    }

    /// A packet was acknowledged; whether it is the one.
    pub fn on_acked(&mut self, space: u8, pn: u64) -> bool {
        let carried = self.is_in(space, pn);
        if carried {
            self.delivery.on_acked();
        }
        carried
    }

    /// A packet was lost: if it is the one, the fact is wanted again.
    pub fn on_lost(&mut self, space: u8, pn: u64) {
        if self.is_in(space, pn) {
            self.delivery.on_lost();
        }
    }

    fn is_in(&self, space: u8, pn: u64) -> bool {
        self.delivery == Delivery::InFlight && self.space == space && self.pn == low(pn)
    }
}

const fn low(pn: u64) -> [u8; 4] {
    ((pn & 0xffff_ffff) as u32).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_copy_counts() {
        let mut parcel = Parcel::NONE;
        parcel.want();
        parcel.on_sent(1, 7);
        parcel.want();
        assert!(!parcel.on_acked(1, 7) && parcel.is_wanted(), "the fact has changed");
        parcel.on_sent(2, 3);
        parcel.on_lost(1, 7);
        assert!(!parcel.is_wanted() && !parcel.is_done());
        assert!(!parcel.on_acked(1, 3) && !parcel.on_acked(2, 7), "another path's numbers");
        parcel.on_lost(2, 3);
        assert!(parcel.is_wanted());
        parcel.on_sent(0, (5 << 32) + 9);
        assert!(parcel.on_acked(0, (5 << 32) + 9) && parcel.is_done());
        parcel.on_lost(0, (5 << 32) + 9);
        assert!(parcel.is_done(), "a late verdict on what has arrived");
    }

    #[test]
    fn it_takes_six_bytes_anywhere() {
        assert_eq!((size_of::<Parcel>(), align_of::<Parcel>()), (6, 1));
    }
}
