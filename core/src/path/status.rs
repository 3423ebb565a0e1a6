//! Whether a path is available or a backup, both ways (draft-ietf-quic-multipath-21, Path Status Management;
//! draft-ietf-quic-multipath-11, 3.2: the same under other names).
//!
//! ```text
//! ours:   unsaid --set--> wanted --on_sent--> under way --on_acked--> told     a loss, or another value: wanted again
//! peer's: unknown --a frame--> available <--newer frames--> backup
//! ```
//!
//! The two are independent. What the peer says is about what *we* should send; what we say is about what the peer should.
//! Only the last status is repeated, and only a newer one from the peer is heeded, whatever way frames took.
//!
//! Not here: frame numbers, and what is made of a status ([`schedule`](super::schedule)).

use crate::path::parcel::Parcel;
use crate::table::halves::Halves;

/// How a path should be used, by one side's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Availability {
    /// Nothing was said: as the sender likes.
    #[default]
    Unknown,
    /// Share the traffic among all paths that are available.
    Available,
    /// Send nothing while another path is available and works.
    Backup,
}

/// The status of a path by our word and by the peer's.
///
/// Each keeps the sequence number of the newest frame and what it said in one number, which grows with the sequence number:
/// the comparison of two frames is one of two numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The peer's newest: twice its sequence number plus two, plus one if it said backup. Zero: unknown.
    peers: Halves,
    /// Ours: odd is backup, and zero is unsaid. A change takes the next number of the other kind.
    ours: u32,
    parcel: Parcel,
}

impl Status {
    /// Nothing was said.
    pub const UNKNOWN: Self = Self { peers: Halves::new(0), ours: 0, parcel: Parcel::NONE };

    /// What we have asked the peer to do.
    pub const fn ours(&self) -> Availability {
        availability(self.ours as u64)
    }

    /// What the peer has asked us to do.
    pub const fn peers(&self) -> Availability {
        availability(self.peers.get())
    }

    /// Our word from now on. A frame is wanted if that is new.
    pub const fn set(&mut self, backup: bool) {
        let step = match self.ours {
            0 if !backup => 2,
            ours if is_backup(ours as u64) == backup => return,
            _ => 1,
        };
        // Four thousand million changes of mind later it stays as it is: a number is never used twice.
        if let Some(next) = self.ours.checked_add(step) {
            self.ours = next;
            self.parcel.want();
        }
    }

    /// Whether there is a frame to send.
    pub const fn wants(&self) -> bool {
        self.parcel.is_wanted()
    }

    /// The frame to send: its sequence number, and whether it says backup.
    pub const fn next_frame(&self) -> Option<(u64, bool)> {
        if self.wants() { Some((self.ours as u64, is_backup(self.ours as u64))) } else { None }
    }

    /// The frame went into the packet `pn` of the path in row `space`.
    pub const fn on_sent(&mut self, space: u8, pn: u64) {
        self.parcel.on_sent(space, pn);
    }

    /// A packet was acknowledged.
    pub fn on_acked(&mut self, space: u8, pn: u64) {
        self.parcel.on_acked(space, pn);
    }

    /// A packet was lost.
    pub fn on_lost(&mut self, space: u8, pn: u64) {
        self.parcel.on_lost(space, pn);
    }

    /// The path is abandoned: nothing more is said of it.
    pub const fn on_abandoned(&mut self) {
        self.parcel.forget();
    }

    /// A frame came; returns whether the peer now wants something else. One that is not newer than every other is ignored.
    pub fn on_frame(&mut self, seq: u64, backup: bool) -> bool {
        let before = self.peers();
        let newest = seq.saturating_add(1).saturating_mul(2);
        if newest <= self.peers.get() | 1 {
            return false;
        }
        self.peers = Halves::new(newest.saturating_add(backup.into()));
        self.peers() != before
    }
}

const fn availability(number: u64) -> Availability {
    match number {
        0 => Availability::Unknown,
        _ if is_backup(number) => Availability::Backup,
        _ => Availability::Available,
    }
}

const fn is_backup(number: u64) -> bool {
    number & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_VARINT;

    #[test]
    fn each_change_takes_a_larger_number() {
        let mut status = Status::UNKNOWN;
        assert_eq!((status.ours(), status.next_frame()), (Availability::Unknown, None));
        let mut last = 0;
        for backup in [true, false, true, true, false, false] {
            let before = status.ours();
            status.set(backup);
            assert_eq!(status.ours(), if backup { Availability::Backup } else { Availability::Available });
            if status.ours() == before {
                assert!(!status.wants(), "nothing new");
                continue;
            }
            let (seq, says) = status.next_frame().unwrap();
            assert!(seq > last && says == backup);
            last = seq;
            status.on_sent(0, last);
            assert!(!status.wants());
        }
        let mut first = Status::UNKNOWN;
        first.set(false);
        assert!(matches!(first.next_frame(), Some((_, false))), "said though it is the default");
    }

    #[test]
    fn numbers_are_not_used_twice_at_the_end() {
        let mut status = Status { ours: u32::MAX - 1, ..Status::UNKNOWN };
        status.set(true);
        assert_eq!(status.next_frame(), Some((u64::from(u32::MAX), true)));
        status.set(false);
        assert_eq!(
            (status.next_frame(), status.ours()),
            (Some((u64::from(u32::MAX), true)), Availability::Backup)
        );
    }

    #[test]
    fn only_the_last_status_is_repeated() {
        let mut status = Status::UNKNOWN;
        status.set(true);
        status.on_sent(1, 10);
        status.set(false);
        status.on_sent(0, 11);
        status.on_lost(1, 10);
        assert!(!status.wants());
        status.on_lost(0, 11);
        assert!(matches!(status.next_frame(), Some((_, false))));
        status.on_sent(0, 12);
        status.on_acked(0, 12);
        assert!(!status.wants() && status.parcel.is_done());
        status.set(true);
        status.on_abandoned();
        assert_eq!(status.next_frame(), None);
    }

    #[test]
    fn frames_out_of_order_are_ignored() {
        let mut status = Status::UNKNOWN;
        for (seq, backup, changed, then) in [
            (0, true, true, Availability::Backup),
            (0, false, false, Availability::Backup),
            (5, false, true, Availability::Available),
            (5, true, false, Availability::Available),
            (4, true, false, Availability::Available),
            (6, false, false, Availability::Available),
            (7, true, true, Availability::Backup),
            (7, false, false, Availability::Backup),
            (6, false, false, Availability::Backup),
            (1 << 33, false, true, Availability::Available),
            (MAX_VARINT, true, true, Availability::Backup),
            (MAX_VARINT, false, false, Availability::Backup),
        ] {
            assert_eq!(status.on_frame(seq, backup), changed, "{seq} {backup}");
            assert_eq!(status.peers(), then, "{seq} {backup}");
        }
        assert_eq!(
            (status.ours(), status.wants()),
            (Availability::Unknown, false),
            "the two are independent"
        );
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Status>() <= 20);
    }
}
