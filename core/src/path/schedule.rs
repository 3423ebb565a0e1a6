//! Which path carries the next packet of what is tied to none (draft-ietf-quic-multipath-21, Packet Scheduling).
//!
//! ```text
//! facts of each path ──▶ without the suspect, if one is not ──▶ without the backups, if one is none ──▶ the policy ──▶ Path, or Wait
//! ```
//!
//! A path is a backup if either side says so. By the draft the peer's word alone is about what we send; but whoever declares a
//! path of his own a backup, for it costs by the byte or drains a battery, does not mean to flood it himself. Where all are
//! backups, that guides nothing, and they are alike.
//!
//! Not here: challenges, responses and probes, which are their path's own; acknowledgments; when a path is suspect
//! ([`failover`](super::failover)).

use core::num::NonZeroU8;

use crate::ids::PathId;
use crate::limits::MAX_PATHS;
use crate::path::status::Availability;
use crate::time::Span;

/// Datagrams that a pacer lets go at once (RFC 9002 7.7).
const BURST: u64 = 10;
/// Parts of a byte, so that heavy weights lose little to rounding.
const PARTS: u32 = 256;
/// How far a path may be ahead of its share, in parts of bytes for each unit of weight: 64 KiB, so that none stops for every round
/// trip of another.
const AHEAD: u32 = 64 * 1024 * PARTS;

/// What is known of a path, for whoever decides where to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Facts {
    /// Its ID.
    pub path: PathId,
    /// Whether it is validated, not abandoned, and can be sent from; if it is suspect, whether they all are.
    pub usable: bool,
    /// Whether what was sent over it is not answered.
    pub suspect: bool,
    /// What we have asked the peer to do.
    pub local: Availability,
    /// What the peer has asked us to do.
    pub peer: Availability,
    /// The smoothed round-trip time, or the assumed one.
    pub smoothed_rtt: Span,
    /// The least round-trip time; zero before the first sample.
    pub min_rtt: Span,
    /// The mean deviation of round-trip times.
    pub rtt_variation: Span,
    /// Bytes that may be under way.
    pub window: u32,
    /// Whether that doubles with each round trip.
    pub slow_start: bool,
    /// Bytes under way.
    pub in_flight: u32,
    /// Bytes that the window lets go now.
    pub room: u32,
    /// How long its pacer holds the next datagram back; zero: not at all.
    pub wait: Span,
    /// Bytes of the largest datagram.
    pub mtu: u16,
    /// Packets lost of each thousand sent.
    pub lost_permille: u16,
    /// Its share, by [`Scheduler::Weighted`], and its rank by [`Scheduler::Primary`].
    pub weight: NonZeroU8,
    /// Bytes that wait to be sent over any path, as far as flow control lets them go. The same for all.
    pub backlog: u64,
}

impl Facts {
    /// Whether a datagram can go now.
    pub const fn is_ready(&self) -> bool {
        self.usable && self.room > 0 && self.wait.is_zero()
    }

    /// Whether it is not ready, but by itself will be: an acknowledgment or the pacer's time is to come.
    const fn will_be_ready(&self) -> bool {
        !self.is_ready() && (self.in_flight > 0 || self.room > 0)
    }

    /// Whether either side wants it spared.
    pub const fn is_backup(&self) -> bool {
        matches!(self.local, Availability::Backup) || matches!(self.peer, Availability::Backup)
    }

    /// The less the better. No path is used while there is a usable one of a lesser class, be it as busy as it may.
    #[cfg_attr(target_os = "none", inline(never))]
    fn class(&self) -> u8 {
        self.is_backup().into()
    }

    /// How long a datagram sent now takes to the peer: what waits in queues waits on the way there, for there is our data. With none of it
    /// under way they are empty, whatever the RTT was when they were not.
    fn one_way(&self) -> Span {
        let grown = self.smoothed_rtt.saturating_sub(self.min_rtt);
        let queue = if self.in_flight == 0 { Span::ZERO } else { grown };
        self.min_rtt.half().saturating_add(queue.max(self.unseen_queue()))
    }

    /// How long it may stand behind what no acknowledgment has told of yet: a pacer's burst, or the quarter of a window by which
    /// a pacer outruns the path.
    fn unseen_queue(&self) -> Span {
        let unseen = u64::from(self.mtu).saturating_mul(BURST).max(u64::from(self.window) / 4);
        let bytes = u64::from(self.in_flight).min(unseen);
        let micros = bytes.saturating_mul(self.smoothed_rtt.as_micros()).checked_div(self.window.into());
        Span::from_micros(micros.unwrap_or(0))
    }

    /// The same with the doubt there is: for what takes longer than it seemed, all wait.
    fn arrival(&self) -> Span {
        self.one_way().saturating_add(self.rtt_variation)
    }

    /// The bytes that reach the peer over it within `span`, if they are sent as fast as the window lets them.
    fn delivers_within(&self, span: Span) -> u64 {
        let sending = span.saturating_sub(self.one_way()).saturating_sub(self.wait).as_micros();
        let rtt = self.smoothed_rtt.as_micros().max(1);
        let window = u64::from(self.window);
        let steady = window.saturating_mul(sending).checked_div(rtt).unwrap_or(0);
        if !self.slow_start {
            return steady;
        }
        // One window, then two, then four: who went by the first would send over a slow path what is there long before.
        let round_trips = sending.checked_div(rtt).and_then(|rounds| u32::try_from(rounds).ok());
        let windows = round_trips.and_then(|rounds| 1_u64.checked_shl(rounds)).unwrap_or(u64::MAX);
        window.saturating_mul(windows.saturating_sub(1)).max(steady)
    }
}

/// Where the next packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Choice {
    /// Over the path of this place in the facts.
    Path(usize),
    /// Over none now: there is no room, or it is better to wait for another path's. To be asked again when something is
    /// acknowledged, and after [`next_wait`].
    Wait,
    /// No path can be used.
    None,
}

/// How paths are chosen.
#[derive(Clone, Copy, Debug, Default)]
pub enum Scheduler {
    /// The one with the lowest round-trip time of those that have room. Simple; a slow path gets whatever a fast one has no room
    /// for, and at the end of a transfer all wait for it.
    LowestRtt,
    /// Whichever has it all there the soonest: a slow path is used only for what the faster ones could not deliver before it
    /// does. With much to send all paths are used, and towards the end only the fast.
    #[default]
    EarliestCompletion,
    /// One alone, the heaviest, then the first; another only if that cannot be used.
    Primary,
    /// Shares of bytes by weight, as far as the paths used permit: one that is behind is waited for.
    Weighted,
    /// The application's own. It is asked only while some path is usable, and for every packet: it should be quick. What it chooses
    /// must be ready; else nothing is sent now.
    Custom(fn(&[Facts]) -> Choice),
}

/// What a scheduler remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// What each path carried beyond its share, measured from the one furthest behind, in parts of bytes for each unit of weight.
    ahead: [u32; MAX_PATHS],
}

impl State {
    /// Nothing was sent.
    pub const fn new() -> Self {
        Self { ahead: [0; MAX_PATHS] }
    }

    /// Another path stands in this place.
    pub fn forget(&mut self, row: usize) {
        if let Some(ahead) = self.ahead.get_mut(row) {
            *ahead = 0;
        }
    }

    /// How far the path in this place is ahead.
    fn ahead(&self, row: usize) -> u32 {
        self.ahead.get(row).copied().unwrap_or(0)
    }

    /// The same of the furthest behind of a class.
    fn least(&self, facts: &[Facts], class: u8) -> u32 {
        of_class(facts, class).map(|(row, _)| self.ahead(row)).min().unwrap_or(0)
    }
}

impl Scheduler {
    /// Where the next packet goes, of what is tied to no path.
    pub fn choose(&self, state: &State, facts: &[Facts]) -> Choice {
        let Some(class) = best_class(facts) else { return Choice::None };
        match self {
            Self::LowestRtt => path(ready(facts, class).min_by_key(|(_, it)| it.smoothed_rtt)),
            Self::EarliestCompletion => earliest_completion(facts, class),
            Self::Primary => {
                let heaviest = of_class(facts, class).min_by_key(|(_, it)| core::cmp::Reverse(it.weight));
                path(heaviest.filter(|(_, it)| it.is_ready()))
            }
            Self::Weighted => {
                let most = state.least(facts, class).saturating_add(AHEAD);
                let may = ready(facts, class).filter(|(row, _)| state.ahead(*row) <= most);
                path(may.min_by_key(|(row, _)| state.ahead(*row)))
            }
            Self::Custom(choose) => match choose(facts) {
                Choice::Path(row) => path(facts.get(row).filter(|it| it.is_ready()).map(|it| (row, it))),
                other => other,
            },
        }
    }

    /// The path of this place in the facts carried `bytes` of what is tied to no path.
    pub fn on_sent(&self, state: &mut State, facts: &[Facts], row: usize, bytes: u32) {
        let (Self::Weighted, Some(place), Some(it)) = (self, state.ahead.get_mut(row), facts.get(row)) else {
            return;
        };
        *place = place.saturating_add(bytes.saturating_mul(PARTS).div_ceil(u8::from(it.weight).into()));
        // Who could not be used meanwhile has earned nothing by it.
        let Some(class) = best_class(facts) else { return };
        let least = state.least(facts, class);
        for ahead in &mut state.ahead {
            *ahead = ahead.saturating_sub(least);
        }
    }
}

/// While a path answers, none that does not is usable, whatever the policy: probes find out when it does again, and more than those would
/// only be lost, and take rows of sent packets from the others.
pub fn leave_suspects(facts: &mut [Facts]) {
    if facts.iter().any(|it| it.usable && !it.suspect) {
        facts.iter_mut().filter(|it| it.suspect).for_each(|it| it.usable = false);
    }
}

/// How long until a pacer lets go what waits for nothing else, if one does.
pub fn next_wait(facts: &[Facts]) -> Option<Span> {
    let paced = facts.iter().filter(|it| it.usable && it.room > 0 && !it.wait.is_zero());
    paced.map(|it| it.wait).min()
}

/// Of those that have room, the one over which a datagram arrives first; but none, if those over which it would have arrived
/// sooner, had they room, deliver all that waits before it does.
///
/// In the manner of ECF (Lim et al., "ECF: An MPTCP Path Scheduler to Manage Heterogeneous Paths", CoNEXT 2017), which weighs
/// the wait for the fast path's window against the slow path's delay, and of BLEST (Ferlin et al., "BLEST: Blocking
/// Estimation-based MPTCP Scheduler for Heterogeneous Networks", IFIP Networking 2016), which keeps the slow path from holding
/// credit that the fast one could use: here the backlog ends where flow control does. Other than theirs it is for any number
/// of paths and remembers nothing.
fn earliest_completion(facts: &[Facts], class: u8) -> Choice {
    let first = ready(facts, class).min_by_key(|(_, it)| it.arrival());
    let Some((row, best)) = first else { return Choice::Wait };
    let arrival = best.arrival();
    let without = of_class(facts, class)
        .filter(|(_, it)| it.arrival() < arrival && it.will_be_ready())
        .fold(0_u64, |bytes, (_, it)| bytes.saturating_add(it.delivers_within(arrival)));
    // Control frames are not counted as waiting.
    if without == 0 || without < best.backlog { Choice::Path(row) } else { Choice::Wait }
}

fn best_class(facts: &[Facts]) -> Option<u8> {
    facts.iter().take(MAX_PATHS).filter(|it| it.usable).map(Facts::class).min()
}

/// The usable paths of a class with their places.
fn of_class(facts: &[Facts], class: u8) -> impl Iterator<Item = (usize, &Facts)> {
    facts.iter().enumerate().take(MAX_PATHS).filter(move |(_, it)| it.usable && it.class() == class)
}

/// Those of them that can carry a datagram now.
fn ready(facts: &[Facts], class: u8) -> impl Iterator<Item = (usize, &Facts)> {
    of_class(facts, class).filter(|(_, it)| it.is_ready())
}

fn path(chosen: Option<(usize, &Facts)>) -> Choice {
    chosen.map_or(Choice::Wait, |(row, _)| Choice::Path(row))
}

#[cfg(test)]
mod tests;
