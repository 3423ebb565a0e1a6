//! What hangs in the network: nodes, and the interfaces they send and receive on.

use std::net::{IpAddr, SocketAddr};

use peregrine_core::ids::{Ecn, FourTuple};
use peregrine_core::time::{Deadline, Instant};

use super::link::Pipe;
use super::{Link, Nat};
use crate::rng::Rng;

/// The port that the system chooses for a node which leaves it to it.
const EPHEMERAL: u16 = 5000;

/// What a node wants sent: one datagram, or several of equal size one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SimTransmit {
    /// From where to where. The interface tag is the number of the interface plus one, or zero: then the local address
    /// tells the interface, and an unspecified one means the first that is plugged in.
    pub four_tuple: FourTuple,
    /// The ECN codepoint.
    pub ecn: Ecn,
    /// Bytes written to `out`.
    pub len: usize,
    /// The size of every datagram but the last, which may be shorter; `None` if there is only one.
    pub segment_size: Option<usize>,
}

/// The code under test, seen from the network. After every call the world drains [`Node::poll_transmit`].
pub trait Node {
    /// A datagram arrived. `on.local` is the address it arrived at, behind a NAT if there is one.
    fn handle_datagram(&mut self, now: Instant, on: FourTuple, ecn: Ecn, datagram: &mut [u8]);

    /// The next thing to send, written to the start of `out`; asked until `None`.
    fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<SimTransmit>;

    /// When to call [`Node::handle_timeout`].
    fn next_timeout(&self) -> Deadline;

    /// The deadline has come. A node whose deadline does not move on makes the world panic.
    fn handle_timeout(&mut self, now: Instant);
}

impl<N: Node + ?Sized> Node for Box<N> {
    fn handle_datagram(&mut self, now: Instant, on: FourTuple, ecn: Ecn, datagram: &mut [u8]) {
        (**self).handle_datagram(now, on, ecn, datagram);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<SimTransmit> {
        (**self).poll_transmit(now, out)
    }

    fn next_timeout(&self) -> Deadline {
        (**self).next_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        (**self).handle_timeout(now);
    }
}

/// A node that ignores everything and says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Node for Silent {
    fn handle_datagram(&mut self, _: Instant, _: FourTuple, _: Ecn, _: &mut [u8]) {}

    fn poll_transmit(&mut self, _: Instant, _: &mut [u8]) -> Option<SimTransmit> {
        None
    }

    fn next_timeout(&self) -> Deadline {
        Deadline::NEVER
    }

    fn handle_timeout(&mut self, _: Instant) {}
}

/// An interface of a host: its addresses, its link either way, perhaps a NAT in front of it. All ports of its addresses
/// are open.
#[derive(Debug)]
pub struct Interface {
    addresses: Vec<IpAddr>,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) nat: Option<Nat>,
    plugged: bool,
}

impl Interface {
    /// An interface with this address and ideal links.
    ///
    /// # Panics
    /// If `address` is not an IP address.
    pub fn at(address: &str) -> Self {
        Self {
            addresses: vec![parse(address)],
            up: Pipe::new(Link::ideal()),
            down: Pipe::new(Link::ideal()),
            nat: None,
            plugged: true,
        }
    }

    /// A further address.
    ///
    /// # Panics
    /// If `address` is not an IP address.
    #[must_use]
    pub fn also(mut self, address: &str) -> Self {
        self.addresses.push(parse(address));
        self
    }

    /// The same link in both directions; each draws its own chances.
    #[must_use]
    pub fn link(self, link: Link) -> Self {
        self.up(link.clone()).down(link)
    }

    /// The link from the host to the net.
    #[must_use]
    pub fn up(mut self, link: Link) -> Self {
        self.up.relink(link);
        self
    }

    /// The link from the net to the host.
    #[must_use]
    pub fn down(mut self, link: Link) -> Self {
        self.down.relink(link);
        self
    }

    /// Puts a NAT in front.
    #[must_use]
    pub fn nat(mut self, nat: Nat) -> Self {
        self.nat = Some(nat);
        self
    }

    /// From now on another link to the net. What is on its way arrives as it would have.
    pub fn set_up(&mut self, link: Link) {
        self.up.relink(link);
    }

    /// From now on another link from the net.
    pub fn set_down(&mut self, link: Link) {
        self.down.relink(link);
    }

    /// From now on another address, instead of all others.
    ///
    /// # Panics
    /// If `address` is not an IP address.
    pub fn set_address(&mut self, address: &str) {
        self.addresses = vec![parse(address)];
    }

    /// From now on a further address.
    ///
    /// # Panics
    /// If `address` is not an IP address.
    pub fn add_address(&mut self, address: &str) {
        self.addresses.push(parse(address));
    }

    /// Cuts the host off here; what is on its way to it is lost.
    pub const fn unplug(&mut self) {
        self.plugged = false;
    }

    /// Connects it again.
    pub const fn plug(&mut self) {
        self.plugged = true;
    }

    /// Whether it is connected.
    pub const fn is_plugged(&self) -> bool {
        self.plugged
    }

    /// The NAT in front.
    ///
    /// # Panics
    /// If there is none.
    pub const fn nat_mut(&mut self) -> &mut Nat {
        self.nat.as_mut().expect("an interface with a NAT")
    }

    /// Whether a datagram for `address` may be handed to the host here and now.
    pub(super) fn answers_to(&self, address: IpAddr) -> bool {
        self.plugged && self.addresses.contains(&address)
    }

    /// Whom on this interface a datagram from the net for `destination` is for.
    pub(super) fn admit(&mut self, now: Instant, source: SocketAddr, destination: SocketAddr) -> Admission {
        if let Some(nat) = &mut self.nat {
            if nat.external() != destination.ip() {
                return Admission::Elsewhere;
            }
            return nat.inbound(now, source, destination.port()).map_or(Admission::Unmapped, Admission::For);
        }
        if self.answers_to(destination.ip()) { Admission::For(destination) } else { Admission::Elsewhere }
    }

    /// The address that a datagram to `remote` leaves from if the node asked for `local`.
    fn source(&self, local: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let chosen = if local.ip().is_unspecified() {
            *self.addresses.iter().find(|address| address.is_ipv4() == remote.is_ipv4())?
        } else {
            local.ip()
        };
        let port = if local.port() == 0 { EPHEMERAL } else { local.port() };
        self.answers_to(chosen).then(|| SocketAddr::new(chosen, port))
    }
}

/// What an interface says of a datagram from the net.
pub(super) enum Admission {
    /// Let in, for this local address.
    For(SocketAddr),
    /// Its NAT has the address but no mapping.
    Unmapped,
    /// Not its address.
    Elsewhere,
}

/// A node and its interfaces.
#[derive(Debug)]
pub(super) struct Host<N> {
    pub(super) node: N,
    pub(super) interfaces: Vec<Interface>,
}

impl<N> Host<N> {
    pub(super) fn new(node: N, interfaces: impl IntoIterator<Item = Interface>, rng: &mut Rng) -> Self {
        let mut interfaces: Vec<Interface> = interfaces.into_iter().collect();
        for interface in &mut interfaces {
            interface.up.seed(rng.split());
            interface.down.seed(rng.split());
        }
        Self { node, interfaces }
    }

    /// The interface that a datagram leaves by and the source address it bears.
    pub(super) fn way_out(&self, on: FourTuple) -> Option<(usize, SocketAddr)> {
        let tagged = (on.interface as usize).checked_sub(1);
        self.interfaces
            .iter()
            .enumerate()
            .filter(|(index, _)| tagged.is_none_or(|tagged| tagged == *index))
            .find_map(|(index, interface)| Some((index, interface.source(on.local, on.remote)?)))
    }
}

fn parse(address: &str) -> IpAddr {
    address.parse().expect("an IP address")
}
