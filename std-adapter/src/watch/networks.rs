//! The networks that a host is on, and what the change from one picture of them to the next means to routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use peregrine_core::connection::NetworkChange;

/// The local addresses that can be sent from at one moment, and the links they are on. Where
/// [`NetworkEvents`](super::NetworkEvents) hears nothing, a program may draw the picture itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Networks {
    addresses: BTreeMap<IpAddr, Place>,
}

/// Where an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The system's number for the link.
    pub link: u32,
    /// Whether the link leads nowhere but to this host.
    pub loopback: bool,
    /// Whether the link is a bridge, a tunnel or something else that a program has made. Others are tried before it.
    pub software: bool,
    /// Another number than in the picture before says that the address, or its link, was away in between.
    pub era: u64,
    /// Which of the addresses of the link it is.
    pub rank: Rank,
}

/// Which of several addresses of a link is taken: the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rank {
    /// The one that the system would take, or that tells least of us.
    First,
    /// Another one.
    Second,
    /// Still good, but not for anything new.
    Deprecated,
}

impl Networks {
    /// There is this address, too.
    pub fn add(&mut self, ip: IpAddr, place: Place) {
        self.addresses.entry(ip).or_insert(place);
    }

    /// The addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.keys().copied()
    }

    /// The system's number for the link that has this address.
    pub fn link_of(&self, ip: IpAddr) -> Option<u32> {
        self.addresses.get(&ip).map(|place| place.link)
    }

    /// What routes have to be told that knew of the networks `before`. Whether a network is the one that was there before
    /// the system does not say: what was known of the ways through it is void when its address or its link were away.
    pub fn since(&self, before: &Self) -> Vec<NetworkChange> {
        let gone = before.addresses.keys().filter(|ip| !self.addresses.contains_key(ip)).copied();
        let new = self.addresses.iter().filter(|(ip, place)| {
            before.addresses.get(ip).is_none_or(|known| (known.link, known.era) != (place.link, place.era))
        });
        // Where the system chooses the address and nothing has come yet that tells which: it may be this one.
        let any = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let unsure: BTreeSet<IpAddr> = gone.clone().map(|ip| any(&ip)).collect();
        let gone = gone.map(NetworkChange::AddressGone);
        let new = new.map(|(ip, _)| NetworkChange::NewNetwork(*ip));
        gone.chain(new).chain(unsure.into_iter().map(NetworkChange::NewNetwork)).collect()
    }

    /// An address of each link from which there may be a way to `remote`, but of none of those that `has` names; links of
    /// software come last.
    pub fn others_toward(&self, remote: IpAddr, has: impl Fn(u32) -> bool) -> Vec<IpAddr> {
        let suits = |(ip, place): &(&IpAddr, &Place)| {
            ip.is_ipv4() == remote.is_ipv4()
                && place.loopback == remote.is_loopback()
                && !is_link_local(**ip)
                && !has(place.link)
        };
        let mut best: BTreeMap<(bool, u32), (Rank, IpAddr)> = BTreeMap::new();
        for (ip, place) in self.addresses.iter().filter(suits) {
            let offer = (place.rank, *ip);
            best.entry((place.software, place.link))
                .and_modify(|best| *best = offer.min(*best))
                .or_insert(offer);
        }
        best.into_values().map(|(_, ip)| ip).collect()
    }
}

/// Such an address says nothing without a link, and nobody is reached from it who is not on that link.
const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(addresses: &[(&str, u32, u64)]) -> Networks {
        let mut networks = Networks::default();
        for &(text, link, era) in addresses {
            let place = Place { link, loopback: link == 1, software: false, era, rank: Rank::First };
            networks.add(ip(text), place);
        }
        networks
    }

    #[test]
    fn what_is_gone_and_what_is_new_is_told() {
        let before = networks(&[("10.0.1.2", 2, 0), ("10.0.2.2", 3, 0), ("fd00::2", 3, 0)]);
        let after = networks(&[("10.0.1.9", 2, 0), ("10.0.2.2", 3, 0), ("fd00::2", 3, 7)]);
        assert_eq!(
            after.since(&before),
            [
                NetworkChange::AddressGone(ip("10.0.1.2")),
                NetworkChange::NewNetwork(ip("10.0.1.9")),
                NetworkChange::NewNetwork(ip("fd00::2")),
                NetworkChange::NewNetwork(ip("0.0.0.0")),
            ]
        );
        assert_eq!(after.since(&after), []);
    }

    #[test]
    fn an_address_that_is_on_another_link_now_is_in_another_network() {
        let [before, after] = [2, 3].map(|link| networks(&[("192.168.1.5", link, 0)]));
        assert_eq!(after.since(&before), [NetworkChange::NewNetwork(ip("192.168.1.5"))]);
    }

    #[test]
    fn other_links_are_offered_by_one_address_each() {
        let mut networks = networks(&[
            ("127.0.0.1", 1, 0),
            ("10.0.1.2", 2, 0),
            ("10.0.2.2", 3, 0),
            ("10.0.2.3", 3, 0),
            ("169.254.7.7", 4, 0),
            ("fe80::1", 3, 0),
        ]);
        let place = Place { link: 3, loopback: false, software: false, era: 0, rank: Rank::Second };
        networks.add(ip("2001:db8::1"), place);
        networks.add(ip("2001:db8::2"), Place { rank: Rank::First, ..place });
        networks.add(ip("2001:db8::3"), Place { rank: Rank::Deprecated, link: 5, ..place });
        assert_eq!(networks.others_toward(ip("192.0.2.1"), |link| link == 2), [ip("10.0.2.2")]);
        assert_eq!(
            networks.others_toward(ip("2001:db8::9"), |_| false),
            [ip("2001:db8::2"), ip("2001:db8::3")]
        );
        assert_eq!(networks.others_toward(ip("127.0.0.9"), |_| false), [ip("127.0.0.1")]);
        assert_eq!(networks.others_toward(ip("127.0.0.9"), |link| link == 1), [] as [IpAddr; 0]);
    }
    #[test]
    fn links_of_software_come_last() {
        let mut networks = Networks::default();
        for (text, link, software) in
            [("172.17.0.1", 2, true), ("10.0.3.2", 3, false), ("10.8.0.2", 4, true), ("10.0.5.2", 5, false)]
        {
            let place = Place { link, loopback: false, software, era: 0, rank: Rank::First };
            networks.add(ip(text), place);
        }
        let order = ["10.0.3.2", "10.0.5.2", "172.17.0.1", "10.8.0.2"].map(ip);
        assert_eq!(networks.others_toward(ip("192.0.2.1"), |_| false), order);
    }
}
