//! The sockets of an endpoint: those it began with, which stay, and those that routes were opened from, which go with
//! the last route. Core knows each by a number, which it calls an interface and which never comes twice.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use peregrine_core::endpoint::Handle;
use peregrine_core::ids::FourTuple;
use peregrine_core::time::Instant;

use crate::error::Error;
use crate::socket::{Families, Socket};

/// A socket of an endpoint.
#[derive(Debug)]
pub(crate) struct Bound<User = Handle> {
    pub(crate) socket: Arc<Socket>,
    /// Since when it had no room for what was to be sent.
    pub(crate) full_since: Option<Instant>,
    both_families: bool,
    /// What connections take for its address if it came in place of another.
    known_as: Option<SocketAddr>,
    stay: Stay<User>,
    /// Nothing can be received any more.
    is_dead: bool,
}

/// How long a socket is kept.
#[derive(PartialEq, Eq, Debug)]
enum Stay<User> {
    /// As long as the endpoint.
    Always,
    /// As long as one of these connections has a route from it.
    While(Vec<User>),
}

impl<User> Bound<User> {
    fn bind(address: SocketAddr, families: Families, stay: Stay<User>) -> Result<Self, Error> {
        let both_families = families == Families::Both && address.is_ipv6() && address.ip().is_unspecified();
        let socket = Socket::bind(address, families).map_err(|error| Error::Bind { address, error })?;
        let socket = Arc::new(socket);
        Ok(Self { socket, full_since: None, both_families, known_as: None, stay, is_dead: false })
    }

    /// Whether routes can be opened from it, under the address that it has.
    const fn is_open(&self) -> bool {
        !self.is_dead && self.known_as.is_none()
    }

    /// Whether an address is of a family that it speaks.
    pub(crate) fn reaches(&self, remote: SocketAddr) -> bool {
        self.both_families || self.socket.local_addr().is_ipv4() == remote.is_ipv4()
    }

    /// The local end, as connections know it, of routes to `remote`.
    pub(crate) fn address_toward(&self, remote: SocketAddr) -> SocketAddr {
        let mut local = self.known_as.unwrap_or(self.socket.local_addr());
        if remote.is_ipv4() && local.is_ipv6() {
            local.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        local
    }

    /// What connections are told of where a datagram came on.
    pub(crate) fn seen(&self, on: FourTuple) -> FourTuple {
        FourTuple { local: self.known_as.unwrap_or(on.local), ..on }
    }

    /// Where a datagram really goes out that connections send `on` these addresses.
    pub(crate) fn real(&self, on: FourTuple) -> FourTuple {
        match self.known_as {
            Some(unspecified) => FourTuple { local: unspecified, ..on },
            None => on,
        }
    }
}

/// All sockets of an endpoint.
#[derive(Debug)]
pub(crate) struct Sockets<User = Handle> {
    bound: BTreeMap<u32, Bound<User>>,
    next_key: u32,
    changes: u64,
}

impl<User: Copy + Eq> Sockets<User> {
    /// Binds to these addresses; to any free port of both families if there are none.
    pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Self, Error> {
        let mut sockets = Self { bound: BTreeMap::new(), next_key: 0, changes: 0 };
        if addresses.is_empty() {
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
            // There are hosts without IPv6.
            let bound = Bound::bind(any, Families::Both, Stay::Always)
                .or_else(|_| Bound::bind((Ipv4Addr::UNSPECIFIED, 0).into(), Families::One, Stay::Always))?;
            sockets.add(bound);
        }
        let takes_ipv4 = |port| {
            let ipv4 = |other: &&SocketAddr| other.is_ipv4() && other.port() == port && port != 0;
            addresses.iter().find(ipv4).is_some()
        };
        for &address in addresses {
            let families = if takes_ipv4(address.port()) { Families::One } else { Families::Both };
            sockets.add(Bound::bind(address, families, Stay::Always)?);
        }
        Ok(sockets)
    }

    fn add(&mut self, bound: Bound<User>) -> u32 {
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        self.bound.insert(key, bound);
        self.changes += 1;
        key
    }

    /// Counts the changes of what there is to receive from.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Those to receive from, in the order in which they were bound.
    pub(crate) fn alive(&self) -> impl Iterator<Item = (u32, &Arc<Socket>)> {
        self.bound.iter().filter(|(_, bound)| !bound.is_dead).map(|(key, bound)| (*key, &bound.socket))
    }

    /// Whether there are others beside this one to send from.
    pub(crate) fn others(&self, key: u32) -> bool {
        self.alive().any(|(other, _)| other != key)
    }

    pub(crate) fn get(&self, key: u32) -> Option<&Bound<User>> {
        self.bound.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut Bound<User>> {
        self.bound.get_mut(&key)
    }

    /// The socket that connections to this address begin on.
    pub(crate) fn toward(&self, remote: SocketAddr) -> Option<(u32, &Bound<User>)> {
        let mut stays = self.bound.iter().filter(|(_, bound)| bound.stay == Stay::Always);
        stays.find(|(_, bound)| bound.reaches(remote)).map(|(key, bound)| (*key, bound))
    }

    /// The address of a socket that is bound to this IP address alone, whatever the port, to speak to `remote` from.
    pub(crate) fn on(&self, ip: IpAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let suits = |bound: &&Bound<User>| {
            bound.is_open() && bound.reaches(remote) && bound.socket.local_addr().ip() == ip
        };
        self.bound.values().find(suits).map(|bound| bound.socket.local_addr())
    }

    /// A socket on this address, to speak to `remote` from: one that is there already, or else a new one. It goes when
    /// [`Self::give_up`] finds that nobody needs it.
    pub(crate) fn open(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<u32, Error> {
        let is_there =
            |(_, bound): &(&u32, &Bound<User>)| bound.is_open() && bound.socket.local_addr() == local;
        if let Some((key, _)) = self.bound.iter().find(is_there) {
            return Ok(*key);
        }
        let bound = Bound::bind(local, Families::Both, Stay::While(Vec::new()))?;
        if !bound.reaches(remote) {
            return Err(Error::OtherFamily { local, remote });
        }
        Ok(self.add(bound))
    }

    /// The connection has a route from this socket.
    pub(crate) fn keep(&mut self, key: u32, user: User) {
        if let Some(Stay::While(users)) = self.bound.get_mut(&key).map(|bound| &mut bound.stay)
            && !users.contains(&user)
        {
            users.push(user);
        }
    }

    /// Closes the sockets that nobody has a route from any more; `uses` knows of this connection, which has fewer than
    /// before.
    pub(crate) fn give_up(&mut self, user: User, mut uses: impl FnMut(u32) -> bool) {
        let before = self.bound.len();
        self.bound.retain(|key, bound| match &mut bound.stay {
            Stay::Always => true,
            Stay::While(users) => {
                users.retain(|kept| *kept != user || uses(*key));
                !users.is_empty()
            }
        });
        self.changes += (before - self.bound.len()) as u64;
    }

    /// Puts a new socket in the place of one, which connections do not learn of; returns its address.
    pub(crate) fn replace(&mut self, key: u32, local: SocketAddr) -> Result<SocketAddr, Error> {
        let Some(bound) = self.bound.get_mut(&key) else { return Err(Error::Shutdown) };
        let known_as = bound.known_as.unwrap_or_else(|| {
            let known = bound.socket.local_addr();
            let any: IpAddr =
                if known.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            SocketAddr::new(any, known.port())
        });
        let Bound { socket, both_families, .. } = Bound::<User>::bind(local, Families::Both, Stay::Always)?;
        let address = socket.local_addr();
        (bound.socket, bound.both_families, bound.known_as) = (socket, both_families, Some(known_as));
        (bound.is_dead, bound.full_since) = (false, None);
        self.changes += 1;
        Ok(address)
    }

    /// Nothing can be received from this socket any more.
    pub(crate) fn bury(&mut self, key: u32) {
        if let Some(bound) = self.bound.get_mut(&key) {
            bound.is_dead = true;
            self.changes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn bind(addresses: &[SocketAddr]) -> Result<Sockets<char>, Error> {
        Sockets::bind(addresses)
    }

    fn address(sockets: &Sockets<char>, key: u32) -> SocketAddr {
        sockets.get(key).unwrap().socket.local_addr()
    }

    #[test]
    fn without_an_address_both_families_are_reached() {
        let sockets = bind(&[]).unwrap();
        let (_, bound) = sockets.toward(LOOPBACK).unwrap();
        assert!(bound.address_toward(LOOPBACK).is_ipv4());
    }

    #[test]
    fn the_same_port_of_both_families_is_two_sockets() {
        let free = bind(&[SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))]).unwrap();
        let port = address(&free, 0).port();
        drop(free);
        let addresses = [(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()];
        let sockets = bind(&addresses).unwrap();
        assert_eq!(sockets.alive().count(), 2);
        assert_eq!(sockets.toward(LOOPBACK).unwrap().0, 1);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let first = bind(&[LOOPBACK]).unwrap();
        let text = bind(&[address(&first, 0)]).unwrap_err().to_string();
        assert!(text.contains(&address(&first, 0).to_string()), "{text}");
    }

    #[test]
    fn a_socket_of_routes_is_shared_and_goes_with_the_last_of_them() {
        let mut sockets = bind(&[LOOPBACK]).unwrap();
        let key = sockets.open(LOOPBACK, LOOPBACK).unwrap();
        let there = address(&sockets, key);
        sockets.keep(key, 'a');
        assert_eq!(sockets.open(there, LOOPBACK).unwrap(), key);
        sockets.keep(key, 'b');
        sockets.give_up('a', |_| false);
        sockets.give_up('b', |_| true);
        let changes = sockets.changes();
        assert!(sockets.get(key).is_some());
        sockets.give_up('b', |_| false);
        assert!(sockets.get(key).is_none() && sockets.changes() > changes);
        // Its number is not used again, and its address is free.
        let next = sockets.open(there, LOOPBACK).unwrap();
        assert!(next != key && address(&sockets, next) == there);
    }

    #[test]
    fn a_socket_is_found_by_its_ip_address_alone() {
        let [first, second] = [1, 2].map(|last| SocketAddr::from(([127, 0, 0, last], 0)));
        let mut sockets = bind(&[first]).unwrap();
        assert_eq!(sockets.on(second.ip(), LOOPBACK), None);
        let key = sockets.open(second, LOOPBACK).unwrap();
        assert_eq!(sockets.on(second.ip(), LOOPBACK), Some(address(&sockets, key)));
        assert_eq!(sockets.on(first.ip(), LOOPBACK), Some(address(&sockets, 0)));
        sockets.bury(key);
        sockets.replace(0, first).unwrap();
        assert_eq!([first, second].map(|ip| sockets.on(ip.ip(), LOOPBACK)), [None, None]);
    }

    #[test]
    fn the_first_sockets_stay_and_serve_routes_too() {
        let mut sockets = bind(&[LOOPBACK]).unwrap();
        assert_eq!(sockets.open(address(&sockets, 0), LOOPBACK).unwrap(), 0);
        sockets.keep(0, 'a');
        sockets.give_up('a', |_| false);
        assert!(sockets.get(0).is_some());
    }

    #[test]
    fn a_local_address_of_the_other_family_is_refused() {
        let mut sockets = bind(&[]).unwrap();
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        assert!(matches!(sockets.open(v6, LOOPBACK), Err(Error::OtherFamily { .. })));
        let both = sockets.open((Ipv6Addr::UNSPECIFIED, 0).into(), LOOPBACK).unwrap();
        assert!(sockets.get(both).unwrap().address_toward(LOOPBACK).is_ipv4());
    }

    #[test]
    fn connections_do_not_learn_of_a_replaced_socket() {
        let mut sockets = bind(&[LOOPBACK]).unwrap();
        let old = address(&sockets, 0);
        let known = FourTuple { local: old, remote: LOOPBACK, interface: 0 };
        for _ in 0..2 {
            let new = sockets.replace(0, LOOPBACK).unwrap();
            assert!(new == address(&sockets, 0) && new != old);
            let bound = sockets.get(0).unwrap();
            let seen = bound.seen(FourTuple { local: new, ..known });
            assert!(seen.local.ip().is_unspecified() && seen.local.port() == old.port());
            assert!(bound.real(known).local.ip().is_unspecified());
        }
    }

    #[test]
    fn nothing_is_received_from_the_dead_until_they_are_replaced() {
        let mut sockets = bind(&[LOOPBACK]).unwrap();
        sockets.bury(0);
        assert_eq!(sockets.alive().count(), 0);
        sockets.replace(0, LOOPBACK).unwrap();
        assert_eq!(sockets.alive().count(), 1);
    }
}
