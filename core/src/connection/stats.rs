//! What is counted of a connection. Routes count for themselves: see [`RouteStats`](crate::path::RouteStats).

use crate::error::Why;

/// Counters of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stats {
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets received and opened.
    pub received_packets: u64,
    /// Packets found lost.
    pub lost_packets: u64,
    /// Probe timeouts.
    pub probe_timeouts: u32,
    /// Changes of the active route.
    pub migrations: u32,
    /// Challenges that were not answered for want of room.
    pub challenges_dropped: u32,
    /// Key updates, by either side.
    pub key_updates: u32,
    /// DATAGRAM frames that came with no room for them.
    pub datagrams_dropped: u32,
    /// Packets ignored, by reason.
    pub discarded: Discarded,
}

/// Packets ignored, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Discarded([u32; Why::ALL.len()]);

impl Discarded {
    /// How many for this reason.
    pub fn count(&self, why: Why) -> u32 {
        Why::ALL.iter().zip(self.0).find(|(reason, _)| **reason == why).map_or(0, |(_, count)| count)
    }

    /// How many in all.
    pub fn total(&self) -> u32 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub(super) fn add(&mut self, why: Why) {
        if let Some(count) = self.0.get_mut(why as usize) {
            *count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_counter() {
        let mut discarded = Discarded::default();
        for (times, why) in Why::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| discarded.add(why));
        }
        for (times, why) in Why::ALL.into_iter().enumerate() {
            assert_eq!(discarded.count(why), times as u32);
        }
        assert_eq!(discarded.total(), 78);
    }
}
