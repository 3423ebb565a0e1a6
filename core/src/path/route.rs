//! A route: one pair of addresses of one path, and everything that is known of it alone (RFC 9000 9.4, 8.1, 14, 13.4).

use core::time::Duration;

use crate::congestion::{Algorithm, Controller, Pacer};
use crate::ids::{FourTuple, PathId};
use crate::path::{Addresses, Amplification, EcnValidation, Mtu, Responses, Validation};
use crate::recovery::{Flight, Pto, Rtt};
use crate::time::Instant;

/// What a route is to its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// A free row.
    #[default]
    Free,
    /// Packets are sent over it.
    Active,
}

/// What was counted of a route. Counts of packets stop at the largest number they hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
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

/// A row of the table of routes.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its path.
    pub path: PathId,
    /// What it is to it.
    pub role: Role,
    /// The addresses.
    pub addresses: Addresses,
    /// What may be sent to an address that was not proved.
    pub amplification: Amplification,
    /// Challenges to the peer.
    pub validation: Validation,
    /// Answers to the peer's challenges.
    pub responses: Responses,
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
}

/// What a new route begins with.
#[derive(Clone, Copy, Debug)]
pub struct RouteConfig {
    /// The congestion controller.
    pub congestion: Algorithm,
    /// The RTT assumed at first.
    pub initial_rtt: Duration,
    /// Whether packets are marked ECT(0).
    pub ecn: bool,
}

impl Route {
    /// A free row.
    pub const EMPTY: Self = Self {
        path: PathId::ZERO,
        role: Role::Free,
        addresses: Addresses::NONE,
        amplification: Amplification::UNVALIDATED,
        validation: Validation::new(),
        responses: Responses::NONE,
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
    };

    /// A route of `path` between these addresses, about which nothing is known.
    pub fn new(now: Instant, path: PathId, on: FourTuple, config: &RouteConfig) -> Self {
        Self {
            path,
            role: Role::Active,
            addresses: on.into(),
            rtt: Rtt::new(config.initial_rtt),
            pto: Pto::new(now),
            congestion: Controller::new(config.congestion, crate::limits::BASE_MTU),
            ecn: if config.ecn { EcnValidation::new(0) } else { EcnValidation::disabled() },
            ..Self::EMPTY
        }
    }

    /// The addresses.
    pub fn on(&self) -> FourTuple {
        self.addresses.get()
    }

    /// Whether a datagram that came on these addresses belongs to the route. A local address that we left to the
    /// system is learned from the first datagram.
    pub fn is_on(&self, on: &FourTuple) -> bool {
        let ours = self.on();
        let same_ip = ours.local.ip().is_unspecified()
            || on.local.ip().is_unspecified()
            || ours.local.ip() == on.local.ip();
        self.role != Role::Free
            && ours.remote == on.remote
            && ours.interface == on.interface
            && same_ip
            && (ours.local.port() == on.local.port() || ours.local.port() == 0)
    }

    /// A datagram of `len` bytes came over it.
    pub fn on_received(&mut self, on: &FourTuple, len: usize) {
        let ours = self.on();
        if ours.local.ip().is_unspecified() {
            self.addresses = FourTuple { local: on.local, ..ours }.into();
        }
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
