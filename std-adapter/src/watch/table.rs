//! What the system has said of links and addresses so far.
//!
//! A picture of everything is asked for at the beginning, and again when the system has said more than could be heard; what
//! is missing in the new picture is gone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::networks::{Networks, Place, Rank};

/// One thing that the system says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// There is a link; `up` if packets pass.
    Link {
        link: u32,
        up: bool,
        loopback: bool,
        software: bool,
    },
    LinkGone(u32),
    /// A link has an address; `ready` if it may be used already.
    Address {
        link: u32,
        ip: IpAddr,
        ready: bool,
        rank: Rank,
    },
    AddressGone {
        link: u32,
        ip: IpAddr,
    },
}

/// Links and addresses.
#[derive(Debug, Default)]
pub(super) struct Table {
    links: BTreeMap<u32, Link>,
    addresses: BTreeMap<(u32, IpAddr), Address>,
    /// Counts what comes up.
    era: u64,
    /// Counts pictures.
    picture: u64,
}

#[derive(Debug)]
struct Link {
    up: bool,
    loopback: bool,
    software: bool,
    /// When it came up last.
    era: u64,
    picture: u64,
}

#[derive(Debug)]
struct Address {
    ready: bool,
    rank: Rank,
    /// When it became ready last.
    era: u64,
    picture: u64,
}

impl Table {
    pub(super) fn hear(&mut self, said: Said) {
        self.era += 1;
        let (era, picture) = (self.era, self.picture);
        match said {
            Said::Link { link, up, loopback, software } => {
                let new = Link { up: false, loopback, software, era, picture };
                let row = self.links.entry(link).or_insert(new);
                if up && !row.up {
                    row.era = era;
                }
                (row.up, row.picture) = (up, picture);
            }
            Said::LinkGone(link) => {
                self.links.remove(&link);
                self.addresses.retain(|(on, _), _| *on != link);
            }
            Said::Address { link, ip, ready, rank } => {
                let new = Address { ready: false, rank, era, picture };
                let row = self.addresses.entry((link, ip)).or_insert(new);
                if ready && !row.ready {
                    row.era = era;
                }
                (row.ready, row.rank, row.picture) = (ready, rank, picture);
            }
            Said::AddressGone { link, ip } => {
                self.addresses.remove(&(link, ip));
            }
        }
    }

    /// A picture of everything begins.
    pub(super) const fn on_picture(&mut self) {
        self.picture += 1;
    }

    /// The picture is complete.
    pub(super) fn on_picture_complete(&mut self) {
        self.links.retain(|_, link| link.picture == self.picture);
        self.addresses.retain(|_, address| address.picture == self.picture);
    }

    /// What can be sent from now.
    pub(super) fn networks(&self) -> Networks {
        let mut networks = Networks::default();
        for ((on, ip), address) in self.addresses.iter().filter(|(_, address)| address.ready) {
            if let Some(link) = self.links.get(on).filter(|link| link.up) {
                let Link { loopback, software, era, .. } = *link;
                let (era, rank) = (era.max(address.era), address.rank);
                networks.add(*ip, Place { link: *on, loopback, software, era, rank });
            }
        }
        networks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_core::connection::NetworkChange;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn link(link: u32, up: bool) -> Said {
        Said::Link { link, up, loopback: false, software: false }
    }

    fn address(link: u32, text: &str) -> Said {
        Said::Address { link, ip: ip(text), ready: true, rank: Rank::First }
    }

    fn table(said: &[Said]) -> Table {
        let mut table = Table::default();
        said.iter().for_each(|said| table.hear(*said));
        table
    }

    /// What routes are told when the system says so.
    fn told(table: &mut Table, said: &[Said]) -> Vec<NetworkChange> {
        let before = table.networks();
        said.iter().for_each(|said| table.hear(*said));
        table.networks().since(&before)
    }

    fn gone(text: &str) -> [NetworkChange; 2] {
        let any = if text.contains(':') { "::" } else { "0.0.0.0" };
        [NetworkChange::AddressGone(ip(text)), NetworkChange::NewNetwork(ip(any))]
    }

    #[test]
    fn an_address_can_be_used_when_it_is_ready_and_its_link_is_up() {
        let new = [NetworkChange::NewNetwork(ip("2001:db8::1"))];
        let tentative = Said::Address { link: 2, ip: ip("2001:db8::1"), ready: false, rank: Rank::First };
        let mut table = table(&[link(2, true), tentative]);
        assert_eq!(told(&mut table, &[address(2, "2001:db8::1")]), new);
        assert_eq!(told(&mut table, &[link(2, false)]), gone("2001:db8::1"));
        assert_eq!(told(&mut table, &[link(2, true)]), new);
        assert_eq!(told(&mut table, &[tentative]), gone("2001:db8::1"));
        assert_eq!(told(&mut table, &[address(2, "2001:db8::1")]), new);
        assert_eq!(told(&mut table, &[Said::LinkGone(2)]), gone("2001:db8::1"));
        assert_eq!(told(&mut table, &[link(2, true)]), []);
    }

    #[test]
    fn what_is_said_again_changes_nothing() {
        let said = [link(2, true), address(2, "10.0.1.2")];
        assert_eq!(told(&mut table(&said), &said), []);
    }

    #[test]
    fn what_was_away_for_a_moment_is_another_network() {
        let said = [link(2, true), address(2, "10.0.1.2"), link(3, true), address(3, "10.0.2.2")];
        let new = [NetworkChange::NewNetwork(ip("10.0.1.2"))];
        let flap = [link(2, false), link(2, true)];
        assert_eq!(told(&mut table(&said), &flap), new);
        let renewed = [Said::AddressGone { link: 2, ip: ip("10.0.1.2") }, address(2, "10.0.1.2")];
        assert_eq!(told(&mut table(&said), &renewed), new);
    }

    #[test]
    fn what_is_missing_in_a_new_picture_is_gone() {
        let said = [link(2, true), address(2, "10.0.1.2"), link(3, true), address(3, "10.0.2.2")];
        let mut table = table(&said);
        let before = table.networks();
        table.on_picture();
        said[2..].iter().for_each(|said| table.hear(*said));
        assert_eq!(table.networks().since(&before), [], "it may be told yet");
        table.on_picture_complete();
        assert_eq!(table.networks().since(&before), gone("10.0.1.2"));
    }
}
