//! A [`FourTuple`] as the table of routes holds it: half as large, and compared without being unpacked.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::ids::FourTuple;

/// Both ends of a route. Flow information is not kept: it belongs to packets. Nor is a scope of the local address apart
/// from the remote one's: both are on one link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    local: End,
    remote: End,
    /// The link of link-local addresses.
    scope: u32,
    interface: u32,
}

/// An address and a port. IPv4 is told from an IPv6 address that holds one: a socket takes either the one or the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct End {
    ip: [u8; 16],
    port: u16,
    family: Family,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    V4,
    V6,
}

impl Addresses {
    /// No route.
    pub const NONE: Self = Self { local: End::NONE, remote: End::NONE, scope: 0, interface: 0 };

    /// These.
    pub fn new(on: &FourTuple) -> Self {
        let scope = match on.remote {
            SocketAddr::V6(remote) if remote.ip().is_unicast_link_local() => remote.scope_id(),
            _ => 0,
        };
        Self { local: End::new(&on.local), remote: End::new(&on.remote), scope, interface: on.interface }
    }

    /// Whether a datagram that was `seen` on these addresses came over a route on ours. What is left to the system, be it the
    /// local address, its port or the interface, is any.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn takes(&self, seen: &Self) -> bool {
        self.remote == seen.remote
            && self.scope == seen.scope
            && (self.interface == seen.interface || self.interface == 0)
            && (self.local.ip_bytes() == seen.local.ip_bytes()
                || self.local.is_unspecified()
                || seen.local.is_unspecified())
            && (self.local.port == seen.local.port || self.local.port == 0)
    }

    /// A datagram was `seen` on these addresses: what was left to the system is known now.
    pub fn learn(&mut self, seen: &Self) {
        if self.local.is_unspecified() {
            (self.local, self.interface) = (seen.local, seen.interface);
        }
    }

    /// Whether the local ends are the same.
    pub fn has_local_of(&self, other: &Self) -> bool {
        self.local == other.local
    }

    /// Whether only the remote ports differ, if anything does.
    pub fn differ_in_port_only(&self, other: &Self) -> bool {
        self.has_local_of(other)
            && (self.scope, self.interface) == (other.scope, other.interface)
            && self.remote.ip_bytes() == other.remote.ip_bytes()
    }

    /// Whether packets bear the header of IPv6.
    pub const fn is_ipv6(&self) -> bool {
        matches!(self.remote.family, Family::V6)
    }

    /// What the address of a peer is known again by where there is no room for it. Who picks one that is taken for another gains nothing.
    pub fn tag(remote: &SocketAddr) -> u32 {
        let End { ip, port, .. } = End::new(remote);
        // FNV-1a.
        let bytes = ip.into_iter().chain(port.to_be_bytes());
        bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    /// Both ends, in full.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn get(&self) -> FourTuple {
        FourTuple {
            local: self.local.get(self.scope),
            remote: self.remote.get(self.scope),
            interface: self.interface,
        }
    }
}

impl End {
    const NONE: Self = Self { ip: [0; 16], port: 0, family: Family::V4 };

    fn new(address: &SocketAddr) -> Self {
        let (ip, family) = match address.ip() {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped(), Family::V4),
            IpAddr::V6(ip) => (ip, Family::V6),
        };
        Self { ip: ip.octets(), port: address.port(), family }
    }

    const fn ip_bytes(&self) -> ([u8; 16], Family) {
        (self.ip, self.family)
    }

    fn is_unspecified(&self) -> bool {
        match self.family {
            Family::V4 => self.ip == Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets(),
            Family::V6 => self.ip == Ipv6Addr::UNSPECIFIED.octets(),
        }
    }

    fn get(&self, scope: u32) -> SocketAddr {
        match self.family {
            Family::V4 => {
                let [.., a, b, c, d] = self.ip;
                SocketAddr::from(([a, b, c, d], self.port))
            }
            Family::V6 => {
                let ip = Ipv6Addr::from(self.ip);
                let scope = if ip.is_unicast_link_local() { scope } else { 0 };
                SocketAddr::V6(SocketAddrV6::new(ip, self.port, 0, scope))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        for (local, remote) in [
            ("0.0.0.0:0", "192.0.2.1:443"),
            ("192.0.2.7:5000", "255.255.255.255:65535"),
            ("[::]:0", "[2001:db8::1]:443"),
            ("[::ffff:192.0.2.7]:1", "[::ffff:192.0.2.1]:2"),
            ("[fe80::7%3]:1", "[fe80::1%3]:2"),
            ("[2001:db8::7]:1", "[fe80::1%3]:2"),
        ] {
            let on = FourTuple {
                local: local.parse().unwrap(),
                remote: remote.parse().unwrap(),
                interface: u32::MAX,
            };
            assert_eq!(Addresses::new(&on).get(), on);
        }
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Addresses>() <= 48 && size_of::<FourTuple>() > 64);
    }
}
