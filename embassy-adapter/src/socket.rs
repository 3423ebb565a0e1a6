//! One UDP socket of a network: datagrams are built in its ring, and copied out of it once.

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
pub(crate) const PACKETS_OUT: usize = 3;
/// Rows of the ring of datagrams to be sent. Where a datagram does not fit the end of the ring, smoltcp pads that with a row of
/// its own; if it then finds no row for the datagram that was just written, the ring is spoilt. So there is a row of padding
/// for each, and no more datagrams than that are put in before the ring was seen empty.
const ROWS_OUT: usize = 2 * PACKETS_OUT;

/// The rows of the two rings of a socket.
pub(crate) struct RingRows {
    incoming: [PacketMetadata; PACKETS_IN],
    outgoing: [PacketMetadata; ROWS_OUT],
}

impl RingRows {
    pub(crate) const EMPTY: Self =
        Self { incoming: [PacketMetadata::EMPTY; PACKETS_IN], outgoing: [PacketMetadata::EMPTY; ROWS_OUT] };
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
    /// Datagrams that were put into the ring since it was seen empty.
    queued: usize,
}

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sent {
    /// It is in the ring.
    Yes,
    /// There is no room; whose context it was is woken when there is.
    Blocked,
    /// It cannot be sent from here.
    Never,
}

impl Bound {
    /// A socket on a port, or on any if that is zero.
    pub(crate) fn new(stack: Stack<'static>, network: usize, port: u16, rings: Rings) -> Self {
        let Rings { rows, incoming, outgoing } = rings;
        let socket = UdpSocket::new(stack, &mut rows.incoming, incoming, &mut rows.outgoing, outgoing);
        let mut bound = Self { socket, network, port, is_fixed: port != 0, full_since: None, queued: 0 };
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

    /// Lets `write` write a datagram of at most `max` bytes into the ring; it returns how many it wrote.
    pub(crate) fn send_with(
        &mut self,
        cx: &mut Context<'_>,
        on: &FourTuple,
        max: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> Sent {
        let Some(to) = metadata(on) else { return Sent::Never };
        if pin!(self.socket.flush()).poll(cx).is_ready() {
            self.queued = 0;
        } else if self.queued == PACKETS_OUT {
            return Sent::Blocked;
        }
        let sending = pin!(self.socket.send_to_with(max, to, |ring| (write(ring), ())));
        match sending.poll(cx) {
            Poll::Ready(Ok(())) => {
                self.queued = self.queued.saturating_add(1);
                Sent::Yes
            }
            Poll::Ready(Err(_)) => Sent::Never,
            Poll::Pending => Sent::Blocked,
        }
    }

    /// As [`Self::send_with`], for what may come to nothing: embassy-net sends whatever was begun in a ring, be it empty. It is
    /// written `aside` as soon as the ring is empty, which has room for it then.
    pub(crate) fn send_aside(
        &mut self,
        cx: &mut Context<'_>,
        on: &FourTuple,
        aside: &mut [u8],
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> Sent {
        if metadata(on).is_none() {
            return Sent::Never;
        }
        if pin!(self.socket.flush()).poll(cx).is_pending() {
            return Sent::Blocked;
        }
        let len = write(aside);
        match aside.get(..len) {
            // Be it that nobody takes it: it was written, and is gone.
            Some(datagram) if len > 0 => drop(self.send_copy(cx, on, datagram)),
            _ => {}
        }
        Sent::Yes
    }

    fn send_copy(&mut self, cx: &mut Context<'_>, on: &FourTuple, datagram: &[u8]) -> Sent {
        self.send_with(cx, on, datagram.len(), |ring| {
            ring.iter_mut().zip(datagram).for_each(|(to, from)| *to = *from);
            datagram.len()
        })
    }

    /// Sends an answer back where its question came from, if there is room.
    pub(crate) fn reply(&mut self, cx: &mut Context<'_>, on: &FourTuple, bytes: &[u8]) {
        // A lost answer is as good as a lost question.
        self.send_copy(cx, on, bytes);
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

    #[test]
    fn a_ring_that_nobody_empties_takes_so_many_datagrams_and_blocks() {
        let (mut bound, on) = (bound(0), on());
        let mut cx = Context::from_waker(Waker::noop());
        let mut sent = [Sent::Never; PACKETS_OUT + 1];
        for (number, sent) in sent.iter_mut().enumerate() {
            *sent = bound.send_with(&mut cx, &on, 20, |ring| {
                ring.fill(1);
                assert!(number < PACKETS_OUT, "nothing is written that may find no row");
                20
            });
        }
        assert_eq!(sent, [Sent::Yes, Sent::Yes, Sent::Yes, Sent::Blocked]);
    }

    #[test]
    fn nothing_written_aside_is_no_datagram() {
        let (mut bound, on) = (bound(0), on());
        let (mut cx, mut aside) = (Context::from_waker(Waker::noop()), [1; 500]);
        for _ in 0..=PACKETS_OUT {
            assert_eq!(bound.send_aside(&mut cx, &on, &mut aside, |_| 0), Sent::Yes);
        }
        assert_eq!(bound.send_aside(&mut cx, &on, &mut aside, |room| room.len()), Sent::Yes);
        assert_eq!(
            bound.send_aside(&mut cx, &on, &mut aside, |_| panic!("there is one already")),
            Sent::Blocked
        );
    }

    #[test]
    fn what_the_ring_can_never_hold_is_never_sent() {
        let mut bound = bound(4433);
        assert_eq!((bound.port, bound.is_fixed), (4433, true));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(bound.send_with(&mut cx, &on(), 1001, |_| panic!("there is no room")), Sent::Never);
    }
}
