//! Which of the addresses that a server prefers a client goes to (RFC 9000 9.6, 9.6.3, 21.5.3). A pure decision.

use core::net::{IpAddr, SocketAddr};

use crate::wire::params::PreferredAddress;

/// The address to validate and then to move to: of the family in use if there is one, else of the other. None that lies
/// inside the client's host or for many, which a server outside has no reason to name but to have something attacked.
pub fn choose(preferred: &PreferredAddress, current: &SocketAddr) -> Option<SocketAddr> {
    let v4 = preferred.v4.map(SocketAddr::V4);
    let v6 = preferred.v6.map(SocketAddr::V6);
    let in_order = if current.is_ipv4() { [v4, v6] } else { [v6, v4] };
    let usable = |address: &SocketAddr| is_usable(address.ip(), current.ip());
    in_order.into_iter().flatten().find(usable).filter(|address| address != current)
}

fn is_usable(ip: IpAddr, current: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_multicast() && !ip.is_unspecified() && !link_local && (!ip.is_loopback() || current.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Cid;

    fn chosen(v4: &str, v6: &str, current: &str) -> Option<SocketAddr> {
        let preferred = PreferredAddress {
            v4: v4.parse().ok(),
            v6: v6.parse().ok(),
            cid: Cid::EMPTY,
            reset_token: [0; 16],
        };
        choose(&preferred, &current.parse().unwrap())
    }

    #[test]
    fn the_family_in_use_then_the_other() {
        let (v4, v6) = ("192.0.2.9:5", "[2001:db8::9]:6");
        assert_eq!(chosen(v4, v6, "192.0.2.1:443"), v4.parse().ok());
        assert_eq!(chosen(v4, v6, "[2001:db8::1]:443"), v6.parse().ok());
        assert_eq!(chosen(v4, "", "[2001:db8::1]:443"), v4.parse().ok());
        assert_eq!(chosen("", v6, "192.0.2.1:443"), v6.parse().ok());
        assert_eq!(chosen("", "", "192.0.2.1:443"), None);
    }

    #[test]
    fn where_the_client_is_already_or_nobody_should_go_is_not_chosen() {
        let current = "192.0.2.1:443";
        assert_eq!(chosen(current, "", current), None);
        for odd in ["127.0.0.1:80", "224.0.0.1:80", "255.255.255.255:80", "169.254.1.1:80"] {
            assert_eq!(chosen(odd, "", current), None, "{odd}");
        }
        for odd in ["[::1]:80", "[ff02::1]:80", "[fe80::1]:80"] {
            assert_eq!(chosen("", odd, current), None, "{odd}");
            assert_eq!(chosen("192.0.2.7:1", odd, "[2001:db8::1]:443"), "192.0.2.7:1".parse().ok(), "{odd}");
        }
        assert_eq!(chosen("127.0.0.1:80", "", "127.0.0.1:443"), "127.0.0.1:80".parse().ok());
    }
}
