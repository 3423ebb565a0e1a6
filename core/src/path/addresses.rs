//! A [`FourTuple`] as the table of routes holds it: half as large.

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
            SocketAddr::V6(remote) => remote.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        Self { local: End::new(&on.local), remote: End::new(&on.remote), scope, interface: on.interface }
    }

    /// Both ends, in full.
    pub fn get(&self) -> FourTuple {
        FourTuple {
            local: self.local.get(self.scope),
            remote: self.remote.get(self.scope),
            interface: self.interface,
        }
    }
}

impl From<FourTuple> for Addresses {
    fn from(on: FourTuple) -> Self {
        Self::new(&on)
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

    fn get(&self, scope: u32) -> SocketAddr {
        let ip = Ipv6Addr::from(self.ip);
        match self.family {
            Family::V4 => SocketAddr::from((ip.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED), self.port)),
            Family::V6 => {
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
