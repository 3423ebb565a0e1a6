//! What became of all datagrams: a hash of the deliveries and a count per fate.

use peregrine_core::time::Instant;

use super::Datagram;
use crate::digest::Digest;

/// What can happen to a datagram. One datagram may meet several of the fates that do not end it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// A node handed it to an interface.
    Sent,
    /// A node received it.
    Delivered,
    /// Lost by chance.
    Lost,
    /// Dropped by a mask or by its number.
    Masked,
    /// Found the queue of a link full.
    QueueFull,
    /// Larger than a link's MTU.
    TooBig,
    /// Dropped for its ECN mark.
    EcnDropped,
    /// Nobody has the address, or the interface is unplugged.
    Unroutable,
    /// A NAT had no mapping for it.
    Unmapped,
    /// Marked CE by a link.
    Marked,
    /// A middlebox erased its ECN mark or put another in its place.
    Remarked,
    /// Some of its bits were flipped.
    Corrupted,
    /// A link made a copy.
    Duplicated,
    /// Held back so that others could overtake it.
    Delayed,
    /// Put into the middle by an attacker.
    Injected,
}

const FATES: usize = Fate::Injected as usize + 1;

/// The record of a run. Two runs that delivered the same bytes between the same addresses with the same marks at the same
/// times have the same [`Trace::hash`].
#[derive(Clone, Debug, Default)]
pub struct Trace {
    digest: Digest,
    counts: [u64; FATES],
}

impl Trace {
    /// The hash of all deliveries so far.
    pub const fn hash(&self) -> u64 {
        self.digest.finish()
    }

    /// How many datagrams met this fate.
    pub const fn count(&self, fate: Fate) -> u64 {
        self.counts[fate as usize]
    }

    pub(super) const fn note(&mut self, fate: Fate) {
        self.counts[fate as usize] += 1;
    }

    pub(super) fn deliver(&mut self, at: Instant, datagram: &Datagram) {
        self.note(Fate::Delivered);
        self.digest.number(at.as_micros());
        self.digest.bytes(datagram.source.to_string().as_bytes());
        self.digest.bytes(datagram.destination.to_string().as_bytes());
        self.digest.number(u64::from(datagram.ecn.bits()));
        self.digest.bytes(&datagram.payload);
    }
}
