//! A network address translator: maps a host's addresses to ports of its own, forgets, rebinds.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use peregrine_core::time::{Deadline, Instant};

/// From whom a mapping lets datagrams in (RFC 4787 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filter {
    /// From anyone.
    Anyone,
    /// Only from addresses and ports that datagrams went out to.
    Contacted,
}

/// A NAT in front of an interface. One mapping per local address and port, whatever the remote (RFC 4787 4.1).
#[derive(Clone, Debug)]
pub struct Nat {
    external: IpAddr,
    filter: Filter,
    idle: Duration,
    next_port: u16,
    mappings: Vec<Mapping>,
}

#[derive(Clone, Debug)]
struct Mapping {
    local: SocketAddr,
    port: u16,
    contacted: Vec<SocketAddr>,
    expires: Deadline,
}

impl Nat {
    /// A NAT with this public address. It lets in what comes from contacted remotes and never forgets.
    ///
    /// # Panics
    /// If `external` is not an IP address.
    pub fn at(external: &str) -> Self {
        Self {
            external: external.parse().expect("an IP address"),
            filter: Filter::Contacted,
            idle: Duration::MAX,
            next_port: 40_000,
            mappings: Vec::new(),
        }
    }

    /// Forgets mappings over which nothing went out for this long. What comes in does not keep them alive.
    #[must_use]
    pub const fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Whom it lets in.
    #[must_use]
    pub const fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Forgets all mappings: what goes out next comes from a new port.
    pub fn rebind_port(&mut self) {
        self.mappings.clear();
    }

    /// Gets another public address and forgets all mappings.
    ///
    /// # Panics
    /// If `external` is not an IP address.
    pub fn rebind_address(&mut self, external: &str) {
        self.external = external.parse().expect("an IP address");
        self.mappings.clear();
    }

    /// The public address.
    pub const fn external(&self) -> IpAddr {
        self.external
    }

    /// A datagram goes out: the source that the world sees.
    pub(super) fn outbound(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr) -> SocketAddr {
        self.expire(now);
        let known = self.mappings.iter().position(|mapping| mapping.local == local);
        let index = known.unwrap_or_else(|| {
            let port = self.next_port;
            self.next_port = self.next_port.checked_add(1).unwrap_or(1024);
            self.mappings.push(Mapping { local, port, contacted: Vec::new(), expires: Deadline::NEVER });
            self.mappings.len() - 1
        });
        let mapping = &mut self.mappings[index];
        mapping.expires = Deadline::at(now.after(self.idle));
        if !mapping.contacted.contains(&remote) {
            mapping.contacted.push(remote);
        }
        SocketAddr::new(self.external, mapping.port)
    }

    /// A datagram comes in on `port`: whom it is for, if it is let in.
    pub(super) fn inbound(&mut self, now: Instant, remote: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.expire(now);
        let mapping = self.mappings.iter().find(|mapping| mapping.port == port)?;
        let welcome = match self.filter {
            Filter::Anyone => true,
            Filter::Contacted => mapping.contacted.contains(&remote),
        };
        welcome.then_some(mapping.local)
    }

    fn expire(&mut self, now: Instant) {
        self.mappings.retain(|mapping| !mapping.expires.is_due(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "10.0.0.2:5000";
    const SERVER: &str = "198.51.100.1:443";
    const STRANGER: &str = "198.51.100.66:443";

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn out(nat: &mut Nat, millis: u64) -> SocketAddr {
        nat.outbound(Instant::from_micros(millis * 1000), address(HOST), address(SERVER))
    }

    fn comes_in(nat: &mut Nat, millis: u64, from: &str, to: SocketAddr) -> bool {
        let local = nat.inbound(Instant::from_micros(millis * 1000), address(from), to.port());
        assert!(local.is_none_or(|local| local == address(HOST)));
        local.is_some()
    }

    #[test]
    fn one_mapping_per_local_address_and_only_for_contacted_remotes() {
        let mut nat = Nat::at("203.0.113.7");
        let seen = out(&mut nat, 0);
        assert_eq!(seen.ip(), nat.external());
        assert_eq!(nat.outbound(Instant::ZERO, address(HOST), address(STRANGER)), seen);
        let mut nat = Nat::at("203.0.113.7");
        let seen = out(&mut nat, 0);
        assert_ne!(nat.outbound(Instant::ZERO, address("10.0.0.2:5001"), address(SERVER)), seen);
        assert!(comes_in(&mut nat, 1, SERVER, seen) && !comes_in(&mut nat, 1, STRANGER, seen));
        let mut nat = Nat::at("203.0.113.7").filter(Filter::Anyone);
        let seen = out(&mut nat, 0);
        assert!(comes_in(&mut nat, 1, STRANGER, seen));
    }

    #[test]
    fn forgets_what_nothing_went_out_over() {
        let mut nat = Nat::at("203.0.113.7").idle(Duration::from_millis(100));
        let seen = out(&mut nat, 0);
        assert_eq!(out(&mut nat, 60), seen);
        assert!(comes_in(&mut nat, 159, SERVER, seen));
        assert!(!comes_in(&mut nat, 160, SERVER, seen), "coming in does not keep a mapping alive");
        assert_ne!(out(&mut nat, 161), seen);
    }

    #[test]
    fn rebinds() {
        let mut nat = Nat::at("203.0.113.7");
        let first = out(&mut nat, 0);
        nat.rebind_port();
        assert!(!comes_in(&mut nat, 1, SERVER, first));
        let second = out(&mut nat, 1);
        assert!(second.ip() == first.ip() && second.port() != first.port());
        nat.rebind_address("203.0.113.8");
        assert_eq!(out(&mut nat, 2).ip().to_string(), "203.0.113.8");
    }
}
