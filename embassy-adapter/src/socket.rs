//! One UDP socket of a network: each datagram is copied once, into a ring or out of it. None can be begun in a ring, since
//! embassy-net sends whatever becomes of it, and a packet may turn out to have nothing to say.

use core::future::Future as _;
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;
use core::task::{Context, Poll};

use embassy_net::udp::{PacketMetadata, UdpMetadata, UdpSocket};
use embassy_net::{IpAddress, IpEndpoint, Stack};
use peregrine_core::ids::FourTuple;
use peregrine_core::time::Instant;

/// Datagrams that wait to be read, at most.
const PACKETS_IN: usize = 8;
/// Datagrams that wait to be sent, at most.
const PACKETS_OUT: usize = 3;

/// The rows of the two rings of a socket.
pub(crate) struct RingRows {
    incoming: [PacketMetadata; PACKETS_IN],
    outgoing: [PacketMetadata; PACKETS_OUT],
}

impl RingRows {
    pub(crate) const EMPTY: Self = Self {
        incoming: [PacketMetadata::EMPTY; PACKETS_IN],
        outgoing: [PacketMetadata::EMPTY; PACKETS_OUT],
    };
}

/// The two rings of a socket.
pub(crate) struct Rings {
    pub(crate) rows: &'static mut RingRows,
    pub(crate) incoming: &'static mut [u8],
    pub(crate) outgoing: &'static mut [u8],
}

/// A socket, before and after a network has got it. There is no way back: embassy-net keeps the rings.
pub(crate) enum Place {
    Nothing,
    Vacant(Rings),
    Bound(Bound),
}

/// A socket on a port of a network.
pub(crate) struct Bound {
    socket: UdpSocket<'static>,
    /// The place of its network.
    pub(crate) network: usize,
    /// By which connections know it.
    pub(crate) port: u16,
    /// Whether the application has chosen the port.
    pub(crate) is_fixed: bool,
    /// Since when there has been no room.
    pub(crate) full_since: Option<Instant>,
    /// Bytes that were put into the ring since it was seen empty: smoltcp begins at its start then.
    filled: usize,
}

impl Bound {
    /// A socket on a port, or on any if that is zero.
    pub(crate) fn new(stack: Stack<'static>, network: usize, port: u16, rings: Rings) -> Self {
        let Rings { rows, incoming, outgoing } = rings;
        let socket = UdpSocket::new(stack, &mut rows.incoming, incoming, &mut rows.outgoing, outgoing);
        let mut bound = Self { socket, network, port, is_fixed: port != 0, full_since: None, filled: 0 };
        bound.bind();
        bound
    }

    /// Goes to another port, or to any if that is zero, if the application has left that to us: nobody should link two routes by it.
    pub(crate) fn change_port(&mut self, port: u16) {
        if !self.is_fixed {
            self.socket.close();
            self.port = port;
            self.bind();
        }
    }

    /// Goes to another port, which is returned, and no connection is told.
    #[cfg(feature = "multipath")]
    pub(crate) fn rebind(&mut self) -> u16 {
        let known = self.port;
        self.socket.close();
        self.port = 0;
        self.bind();
        core::mem::replace(&mut self.port, known)
    }

    fn bind(&mut self) {
        // Fails for an open socket only, and this one is not.
        let _ = self.socket.bind(self.port);
        self.port = self.socket.endpoint().port;
    }

    /// The next datagram that came, and on which addresses. What is longer than `out` is lost.
    pub(crate) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        interface: u32,
        out: &mut [u8],
    ) -> Poll<Option<(usize, FourTuple)>> {
        self.socket.poll_recv_from(out, cx).map(|received| {
            let (len, meta) = received.ok()?;
            let local: IpAddr = meta.local_address?.into();
            let remote = SocketAddr::new(meta.endpoint.addr.into(), meta.endpoint.port);
            Some((len, FourTuple { local: SocketAddr::new(local, self.port), remote, interface }))
        })
    }

    /// Whether there is room for a datagram of so many bytes; if not, whose context it is is woken when there may be.
    pub(crate) fn has_room(&mut self, cx: &mut Context<'_>, len: usize) -> bool {
        if pin!(self.socket.flush()).poll(cx).is_ready() {
            self.filled = 0;
        }
        self.socket.may_send() && self.socket.payload_send_capacity().saturating_sub(self.filled) >= len
    }

    /// Sends a datagram for which there is room, unless it is empty. Returns whether it can be sent from here.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, on: &FourTuple, datagram: &[u8]) -> bool {
        if datagram.is_empty() {
            return true;
        }
        let Some(to) = metadata(on) else { return false };
        let sent = matches!(self.socket.poll_send_to(datagram, to, cx), Poll::Ready(Ok(())));
        if sent {
            self.filled = self.filled.saturating_add(datagram.len());
        }
        sent
    }

    /// Sends an answer back where its question came from, if there is room.
    pub(crate) fn reply(&mut self, cx: &mut Context<'_>, on: &FourTuple, bytes: &[u8]) {
        // A lost answer is as good as a lost question.
        let _ = self.has_room(cx, bytes.len()) && self.send(cx, on, bytes);
    }
}

fn metadata(on: &FourTuple) -> Option<UdpMetadata> {
    let mut to = UdpMetadata::from(IpEndpoint { addr: address(on.remote.ip())?, port: on.remote.port() });
    to.local_address = match on.local.ip() {
        ip if ip.is_unspecified() => None,
        ip => Some(address(ip)?),
    };
    Some(to)
}

/// The address, if the stack speaks its version of IP.
fn address(ip: IpAddr) -> Option<IpAddress> {
    match ip {
        #[cfg(feature = "ipv4")]
        IpAddr::V4(ip) => Some(ip.into()),
        #[cfg(feature = "ipv6")]
        IpAddr::V6(ip) => Some(ip.into()),
        #[allow(unreachable_patterns)]
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::boxed::Box;
    use std::task::Waker;

    use embassy_net::{Config, StackResources};
    use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};

    use super::*;

    /// An interface that never takes anything.
    struct Stuck;
    struct Never;

    impl RxToken for Never {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
            f(&mut [])
        }
    }

    impl TxToken for Never {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, f: F) -> R {
            f(&mut [])
        }
    }

    impl Driver for Stuck {
        type RxToken<'a> = Never;
        type TxToken<'a> = Never;

        fn receive(&mut self, _: &mut Context<'_>) -> Option<(Never, Never)> {
            None
        }

        fn transmit(&mut self, _: &mut Context<'_>) -> Option<Never> {
            None
        }

        fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
            LinkState::Up
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        fn hardware_address(&self) -> HardwareAddress {
            HardwareAddress::Ip
        }
    }

    fn bound(port: u16) -> Bound {
        let resources = Box::leak(Box::new(StackResources::<1>::new()));
        let (stack, _runner) = embassy_net::new(Stuck, Config::default(), resources, 1);
        let rings = Rings {
            rows: Box::leak(Box::new(RingRows::EMPTY)),
            incoming: Box::leak(Box::new([0; 100])),
            outgoing: Box::leak(Box::new([0; 1000])),
        };
        Bound::new(stack, 0, port, rings)
    }

    fn on() -> FourTuple {
        let (local, remote) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
        FourTuple { local, remote, interface: 0 }
    }

    /// Fills a ring of 1,000 bytes with datagrams of this length. Returns how many found room.
    fn fill(len: usize) -> usize {
        let (mut bound, on) = (bound(0), on());
        let mut cx = Context::from_waker(Waker::noop());
        for count in 0.. {
            if !bound.has_room(&mut cx, len) {
                return count;
            }
            assert!(bound.send(&mut cx, &on, &[1; 1000][..len]), "what has room is sent");
        }
        unreachable!()
    }

    #[test]
    fn a_ring_that_nobody_empties_has_room_until_its_rows_or_its_bytes_are_used() {
        assert_eq!([20, 333, 334, 500, 501, 1000, 1001].map(fill), [3, 3, 2, 2, 1, 1, 0]);
    }

    #[test]
    fn nothing_is_no_datagram() {
        let (mut bound, on) = (bound(4433), on());
        assert_eq!((bound.port, bound.is_fixed), (4433, true));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..=PACKETS_OUT {
            assert!(bound.has_room(&mut cx, 1000) && bound.send(&mut cx, &on, &[]));
        }
        assert!(bound.send(&mut cx, &on, &[1; 1000]));
        assert!(!bound.has_room(&mut cx, 1));
    }

    #[test]
    fn what_cannot_go_there_is_not_sent() {
        let on = FourTuple { remote: "0.0.0.0:2".parse().unwrap(), ..on() };
        assert!(!bound(0).send(&mut Context::from_waker(Waker::noop()), &on, &[1]));
    }
}
