//! A network in virtual time. It knows datagrams, not QUIC.
//!
//! ```text
//! node ─ interface ─ up link ─ NAT ─┐                    ┌─ NAT ─ down link ─ interface ─ node
//!                                   └─ middle: attacker ─┘
//! ```
//!
//! A [`World`] holds hosts. A host is a [`Node`] (the code under test) with one or more [`Interface`]s, each with its
//! addresses, a [`Link`] either way and perhaps a [`Nat`]; all meet in a middle without delay or loss, where an attacker
//! may sit. So a path between two hosts has the properties of one interface's link up and the other's link down, and a
//! scenario is a list:
//!
//! ```
//! use peregrine_tests::sim::{Interface, Link, Nat, Silent, World};
//!
//! let mut world = World::new(7);
//! let server = world.host(Silent, [Interface::at("198.51.100.1")]);
//! let client = world.host(Silent, [
//!     Interface::at("10.0.0.2").link(Link::mbit(20).delay_ms(15).loss(0.1)).nat(Nat::at("203.0.113.7")),
//!     Interface::at("192.0.2.9").link(Link::mbit(2).delay_ms(60).queue(30_000)),
//! ]);
//! world.at_ms(500, move |world| world.interface(client, 0).nat_mut().rebind_port());
//! world.at_ms(900, move |world| world.interface(client, 0).unplug());
//! world.run_for(std::time::Duration::from_secs(2));
//! ```
//!
//! Same seed, same hosts, same calls: the same [`Trace`] hash.

mod host;
mod link;
mod nat;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use std::net::SocketAddr;

use peregrine_core::ids::Ecn;

pub use host::{Interface, Node, Silent, SimTransmit};
pub use link::{EcnFault, HEADERS, Link};
pub use nat::{Filter, Nat};
pub use trace::{Fate, Trace};
pub use world::{Ending, HostId, Sighting, World};

/// A UDP datagram on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Where it says it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The ECN codepoint of its IP header.
    pub ecn: Ecn,
    /// The UDP payload.
    pub payload: Vec<u8>,
}
