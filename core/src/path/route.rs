//! A route: one pair of addresses of one path, and everything that is known of it alone (RFC 9000 9.4, 8.1, 14, 13.4).

use crate::congestion::{Algorithm, Controller, Pace, Pacer};
use crate::ids::{CidTag, FourTuple, PathRow};
use crate::path::{Addresses, Amplification, EcnValidation, Mtu, Preference, Validation};
use crate::recovery::{Flight, Pto, Rtt};
use crate::time::{Instant, Span};

/// What a route is to its path.
///
/// ```text
/// Free ──opened by us, or shown by an authentic packet──▶ Candidate ──chosen, or the peer has moved──▶ Active
///   ▲                                                        │                                        │    ▲
///   │◀──────────── validation failed, closed ────────────────'        another one is chosen, this one │    │ taken up
///   │                                                                 being validated                 ▼    │ again
///   '◀──────────── validation failed, closed, too old, its row is needed ───────────────────────── Fallback
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Role {
    /// A free row.
    #[default]
    Free,
    /// Packets are sent over it.
    Active,
    /// It was the active one and works as far as is known.
    Fallback,
    /// Only probing frames are sent over it (RFC 9000 9.1).
    Candidate,
    /// A candidate that becomes the active one as soon as it is validated (RFC 9000 9.6.1, 9.6.2).
    Awaited,
}

/// Who showed a route first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opener {
    /// We sent from a new address, or to one.
    Local,
    /// A packet of the peer came.
    Peer,
}

/// The IPv6 flow label of a route, which goes with its addresses and its connection ID (RFC 9000 9.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowLabel(u32);

impl FlowLabel {
    /// No label: the route is one of IPv4.
    pub const NONE: Self = Self(0);
    /// A label that has yet to be computed.
    pub const WANTED: Self = Self(u32::MAX);

    /// The label of which these are the low 20 bits.
    pub const fn new(label: u32) -> Self {
        Self(label & 0xf_ffff)
    }

    /// The label; zero if there is none.
    pub const fn get(self) -> u32 {
        if self.is_wanted() { 0 } else { self.0 }
    }

    /// Whether it has yet to be computed.
    pub const fn is_wanted(self) -> bool {
        self.0 == u32::MAX
    }
}

/// Whether anything gets through, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// Nothing speaks against it.
    Works,
    /// What was sent over it is not answered.
    Suspect,
    /// Nothing can be sent over it now, as we were told.
    Down,
}

/// A route of a connection by name. The name of one that is gone names no other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RouteId {
    pub(crate) row: u8,
    pub(crate) serial: u16,
}

/// What an application was not told yet of a route, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Told(u8);

impl Told {
    /// All was told.
    pub const ALL: Self = Self(0);
    /// The route is new.
    pub const ADDED: Self = Self(1);
    /// The peer was reached over it.
    pub const VALIDATED: Self = Self(2);
    /// Nothing comes over it any more.
    pub const SUSPECT: Self = Self(4);
    /// The peer was not reached.
    pub const FAILED: Self = Self(8);
    /// It is not kept any longer.
    pub const CLOSED: Self = Self(16);

    /// Notes that something is to be told.
    pub const fn note(&mut self, what: Self) {
        self.0 |= what.0;
    }

    /// Takes something that is to be told.
    pub const fn take(&mut self, what: Self) -> bool {
        let noted = self.0 & what.0 != 0;
        self.0 &= !what.0;
        noted
    }

    /// Whether nothing is to be told.
    pub const fn is_all(self) -> bool {
        self.0 == 0
    }
}

/// What was counted of a route. Counts of packets stop at the largest number they hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RouteStats {
    /// Datagrams sent.
    pub sent_datagrams: u32,
    /// Bytes of datagrams sent.
    pub sent_bytes: u64,
    /// Datagrams received.
    pub received_datagrams: u32,
    /// Bytes of datagrams received.
    pub received_bytes: u64,
    /// Packets that were lost.
    pub lost_packets: u32,
    /// Packets that congestion was reported of by ECN.
    pub ce_packets: u32,
}

impl RouteStats {
    /// Of a thousand datagrams so many were lost. A datagram is about a packet.
    pub fn lost_permille(&self) -> u16 {
        let lost = u64::from(self.lost_packets).saturating_mul(1000);
        let permille = lost.checked_div(self.sent_datagrams.into()).unwrap_or(0);
        u16::try_from(permille).unwrap_or(u16::MAX).min(1000)
    }
}

/// A row of the table of routes.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its path.
    pub path: PathRow,
    /// Which of the routes that had this row it is.
    pub serial: u16,
    /// What it is to its path.
    pub role: Role,
    /// Who showed it first.
    pub opener: Opener,
    /// The IPv6 flow label of its packets.
    pub flow_label: FlowLabel,
    /// What the application was not told yet.
    pub told: Told,
    /// Whether it can be sent over.
    pub health: Health,
    /// How gladly it is used.
    pub preference: Preference,
    /// The path over which packets of it were acknowledged last.
    pub answered_over: PathRow,
    /// Our connection ID that the peer sends to on it; not known to a client.
    pub reached_at: Option<CidTag>,
    /// The addresses.
    pub addresses: Addresses,
    /// What may be sent to an address that was not proved.
    pub amplification: Amplification,
    /// Challenges to the peer.
    pub validation: Validation,
    /// The round-trip time.
    pub rtt: Rtt,
    /// The probe timeout's backoff.
    pub pto: Pto,
    /// The congestion window.
    pub congestion: Controller,
    /// When how much may go.
    pub pacer: Pacer,
    /// The largest datagram.
    pub mtu: Mtu,
    /// Whether marks get through.
    pub ecn: EcnValidation,
    /// 1-RTT packets under way.
    pub flight: Flight,
    /// The counters.
    pub stats: RouteStats,
    /// When something authentic last came over it.
    pub last_packet: Instant,
    /// When it ceased to be the active one, or, while it is that, since when it is, or works, or does not.
    pub since: Instant,
}

/// What a new route begins with.
#[derive(Clone, Copy, Debug)]
pub struct RouteConfig {
    /// The congestion controller.
    pub congestion: Algorithm,
    /// Whether packets are marked ECT(0).
    pub ecn: bool,
    /// The RTT assumed at first, in microseconds.
    initial_rtt: u32,
}

impl RouteConfig {
    /// Routes with this controller, whose RTT is assumed to be `initial_rtt`; marked ECT(0) if `ecn`.
    pub fn new(congestion: Algorithm, initial_rtt: Span, ecn: bool) -> Self {
        Self { congestion, ecn, initial_rtt: initial_rtt.short_micros() }
    }
}

impl Route {
    /// A free row.
    pub const EMPTY: Self = Self {
        path: PathRow::FIRST,
        serial: 0,
        role: Role::Free,
        opener: Opener::Local,
        flow_label: FlowLabel::NONE,
        told: Told::ALL,
        health: Health::Works,
        preference: Preference::NORMAL,
        answered_over: PathRow::FIRST,
        reached_at: None,
        addresses: Addresses::NONE,
        amplification: Amplification::UNVALIDATED,
        validation: Validation::new(),
        rtt: Rtt::new(crate::limits::INITIAL_RTT),
        pto: Pto::new(Instant::ZERO),
        congestion: Controller::new(Algorithm::NewReno, crate::limits::BASE_MTU),
        pacer: Pacer::new(),
        mtu: Mtu::new(),
        ecn: EcnValidation::disabled(),
        flight: Flight::new(),
        stats: RouteStats {
            sent_datagrams: 0,
            sent_bytes: 0,
            received_datagrams: 0,
            received_bytes: 0,
            lost_packets: 0,
            ce_packets: 0,
        },
        last_packet: Instant::ZERO,
        since: Instant::ZERO,
    };

    /// Zeros, of memory that no connection has used yet.
    pub const BLANK: Self = Self {
        preference: Preference::NEVER,
        amplification: Amplification::Validated,
        validation: Validation::BLANK,
        rtt: Rtt::new(Span::ZERO),
        congestion: Controller::BLANK,
        pacer: Pacer::BLANK,
        ecn: EcnValidation::new(0),
        mtu: Mtu::BLANK,
        flight: Flight::BLANK,
        ..Self::EMPTY
    };

    /// The row becomes a route of `path` between these addresses, about which nothing is known.
    pub fn begin(&mut self, now: Instant, path: PathRow, on: &FourTuple, config: &RouteConfig) {
        // Set in the row: a route that is made elsewhere is copied field by field.
        *self = Self::EMPTY;
        self.path = path;
        self.answered_over = path;
        self.role = Role::Candidate;
        self.addresses = Addresses::new(on);
        self.last_packet = now;
        self.pto = Pto::new(now);
        self.on_cid_changed();
        self.set_way(config);
        if config.ecn {
            self.ecn = EcnValidation::new(0);
        }
    }

    /// The addresses.
    pub fn on(&self) -> FourTuple {
        self.addresses.get()
    }

    /// Whether a datagram that was `seen` on these addresses came over the route.
    pub fn takes(&self, seen: &Addresses) -> bool {
        self.is_open() && self.addresses.takes(seen)
    }

    /// Something was learned of its health. Returns whether it begins to work, or ceases to.
    pub fn turn(&mut self, now: Instant, health: Health) -> bool {
        let turns = (self.health == Health::Works) != (health == Health::Works);
        self.health = health;
        if turns && self.role == Role::Active {
            self.since = now;
        }
        turns
    }

    /// Whether the row is in use.
    pub const fn is_open(&self) -> bool {
        !matches!(self.role, Role::Free)
    }

    /// Whether it has not been in use yet.
    pub const fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Candidate | Role::Awaited)
    }

    /// Goes on with what was known of `other`: the same way through the network.
    pub fn inherit(&mut self, other: &Self) {
        self.rtt = other.rtt;
        self.congestion = other.congestion;
        self.congestion.on_discarded(u32::MAX);
        self.pacer = other.pacer;
        self.mtu = other.mtu;
    }

    /// What was known of the way through the network holds no more.
    pub fn forget_way(&mut self, config: &RouteConfig) {
        let in_flight = self.congestion.in_flight();
        self.set_way(config);
        self.congestion.on_moved(in_flight);
    }

    /// Of the way through the network nothing is known yet.
    fn set_way(&mut self, config: &RouteConfig) {
        self.rtt = Rtt::new(Span::from_micros(config.initial_rtt.into()));
        self.congestion = Controller::new(config.congestion, crate::limits::BASE_MTU);
        self.pacer = Pacer::new();
        self.mtu = Mtu::new();
    }

    /// Whether a client may take it by itself.
    pub fn may_be_chosen(&self) -> bool {
        self.is_open()
            && !self.is_down()
            && self.opener == Opener::Local
            && self.preference != Preference::NEVER
    }

    /// How fast to send over it.
    pub fn pace(&self) -> Pace {
        Pace { per_rtt: self.congestion.per_rtt(), rtt: self.rtt.smoothed(), datagram: self.mtu.current() }
    }

    /// Whether nothing can be sent over it now.
    pub const fn is_down(&self) -> bool {
        matches!(self.health, Health::Down)
    }

    /// Whether what was sent over it is not answered.
    pub const fn is_suspect(&self) -> bool {
        matches!(self.health, Health::Suspect)
    }

    /// It has another connection ID to send to, and its packets another flow label to bear (RFC 9000 9.7).
    pub fn on_cid_changed(&mut self) {
        if self.addresses.is_ipv6() {
            self.flow_label = FlowLabel::WANTED;
        }
    }

    /// A datagram of `len` bytes came over it, or seems to.
    pub fn on_received(&mut self, len: usize) {
        self.amplification.on_received(len);
        self.stats.received_datagrams = self.stats.received_datagrams.saturating_add(1);
        self.stats.received_bytes = self.stats.received_bytes.saturating_add(len as u64);
    }

    /// A datagram of `len` bytes was sent over it.
    pub fn on_sent(&mut self, len: usize) {
        self.amplification.on_sent(len);
        self.stats.sent_datagrams = self.stats.sent_datagrams.saturating_add(1);
        self.stats.sent_bytes = self.stats.sent_bytes.saturating_add(len as u64);
    }
}
