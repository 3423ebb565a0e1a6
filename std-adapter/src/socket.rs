//! A UDP socket as QUIC wants it: many datagrams per system call (GSO, GRO), ECN both ways, the local address of what
//! comes in, no fragments. `quinn-udp` knows each system's way to that; here is the shape core works with, and what Linux
//! can write into the IP header besides: flow labels, codepoints of Differentiated Services.
//!
//! Does not: wait (see [`crate::wait`]), tell interfaces apart.

mod dscp;
mod flow_label;

use std::array;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use peregrine_core::ids::{Ecn, FourTuple};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};

use dscp::{Codepoints, Marked};
use flow_label::Labelled;

/// What the system is asked for, each way. A burst of one congestion window must fit; Linux grants less where
/// `net.core.rmem_max` says so.
const BUFFER_BYTES: usize = 2 << 20;
/// Messages taken with one system call.
pub(crate) const MESSAGES: usize = 8;
/// The largest UDP payload, and the largest run of datagrams that the kernel joins into one message.
const MESSAGE_BYTES: usize = 65_535;
/// The most bytes that one system call sends: what an IPv4 packet could carry, even if it leaves in segments.
const SEND_BYTES: usize = 65_507;

/// Which address families a socket on `[::]` takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Families {
    /// IPv6 and IPv4. Also the choice for every other address, which has one family anyway.
    Both,
    /// Only the family of the address, so that another socket can have IPv4 on the same port.
    One,
}

/// A non-blocking UDP socket.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    /// What was learned about the system. Written only by [`Socket::forget_refusals`].
    state: RwLock<UdpSocketState>,
    /// How many datagrams the system takes at once.
    segments: AtomicUsize,
    /// Whether the system takes flow labels from us.
    labels: AtomicBool,
    /// Which codepoints of Differentiated Services it takes.
    codepoints: Codepoints,
    local: SocketAddr,
}

/// What the IP header of a datagram is to say beside the addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    /// The ECN codepoint.
    pub ecn: Ecn,
    /// The flow label of IPv6 (RFC 9000 9.7), 20 bits; zero leaves it to the system, as does a system that takes none.
    pub flow_label: u32,
    /// The Differentiated Services codepoint (RFC 2474), six bits; zero is no mark, and what a system makes of it that takes none.
    pub dscp: u8,
}

impl From<Ecn> for Marks {
    fn from(ecn: Ecn) -> Self {
        Self { ecn, flow_label: 0, dscp: 0 }
    }
}

/// What became of datagrams to be sent.
#[derive(Debug)]
pub enum Sent {
    /// The system has them all.
    All,
    /// The system has the first `done` bytes and no room now. Send the rest when the socket is writable.
    Blocked {
        /// How many bytes, always whole datagrams.
        done: usize,
    },
    /// The system would not send some: no route, too large for the link, a firewall. To QUIC this is loss; the
    /// error is for people.
    Lost(io::Error),
}

impl Socket {
    /// Binds to `address`; port 0 is any free one.
    ///
    /// # Errors
    /// Those of the system: the address is in use, or not one of this machine, or needs privileges.
    pub fn bind(address: SocketAddr, families: Families) -> io::Result<Self> {
        let raw = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // Systems differ in what they do unasked.
            raw.set_only_v6(families == Families::One || !address.ip().is_unspecified())?;
        }
        raw.bind(&address.into())?;
        let socket = UdpSocket::from(raw);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Smaller buffers cost speed, not function.
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), BUFFER_BYTES);
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), BUFFER_BYTES);
        let local = socket.local_addr()?;
        let segments = AtomicUsize::new(state.max_gso_segments());
        let labels = AtomicBool::new(local.is_ipv6() && flow_label::enable(&socket));
        let codepoints = Codepoints::new();
        Ok(Self { socket, state: RwLock::new(state), segments, labels, codepoints, local })
    }

    /// Binds to any free port of the family of `remote`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind_toward(remote: SocketAddr) -> io::Result<Self> {
        let any: IpAddr =
            if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self::bind(SocketAddr::new(any, 0), Families::One)
    }

    /// The address it is bound to. The IP address may be unspecified, the port is not.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The most datagrams that [`Self::send`] hands over in one system call, if they are at most 65,507 bytes together;
    /// 1 without segmentation offload. Falls to 1 if the system turns out to refuse it.
    pub fn max_segments(&self) -> usize {
        self.segments.load(Ordering::Relaxed).min(self.state().max_gso_segments())
    }

    /// Whether the system may split datagrams of ours on their way. Then MTU discovery must not be tried.
    pub fn may_fragment(&self) -> bool {
        self.state().may_fragment()
    }

    /// Whether datagrams of IPv6 bear the flow labels that [`Self::send`] is given. Falls to `false` if the system turns
    /// out to refuse them.
    pub fn sets_flow_labels(&self) -> bool {
        self.labels.load(Ordering::Relaxed)
    }

    /// Whether datagrams bear this Differentiated Services codepoint if [`Self::send`] is given it; without one they are always
    /// as they should be. Falls to `false` if the system turns out to refuse it.
    pub fn sets_dscp(&self, dscp: u8) -> bool {
        self.codepoints.has(dscp)
    }

    /// Whether datagrams to `remote` go out without this flow label, which they should bear.
    pub(crate) fn leaves_out_label(&self, flow_label: u32, remote: SocketAddr) -> bool {
        flow_label != 0 && flow_label::suits(remote) && !self.sets_flow_labels()
    }

    /// The bytes that the system buffers for sending and for receiving.
    ///
    /// # Errors
    /// Those of the system.
    pub fn buffer_sizes(&self) -> io::Result<(usize, usize)> {
        let state = self.state();
        Ok((state.send_buffer_size(self.io())?, state.recv_buffer_size(self.io())?))
    }

    /// Sends `bytes` along `route`: datagrams of `segment_size` bytes each, of which the last may be shorter. The
    /// local address is used unless it is unspecified.
    pub fn send(
        &self,
        route: &FourTuple,
        marks: impl Into<Marks>,
        segment_size: usize,
        bytes: &[u8],
    ) -> Sent {
        let Marks { ecn, flow_label, dscp } = marks.into();
        let destination = self.to_system(route.remote);
        let src_ip = Some(route.local.ip()).filter(|ip| !ip.is_unspecified());
        let src_ip = src_ip.map(|ip| self.to_system(SocketAddr::new(ip, 0)).ip());
        let ecn = EcnCodepoint::from_bits(ecn.bits());
        let mut address = Labelled::new(destination, if self.sets_flow_labels() { flow_label } else { 0 });
        let mut marked = Marked::new(dscp, &self.codepoints);
        let segment_size = segment_size.max(1);
        let mut done = 0;
        while done < bytes.len() {
            let segments = self.max_segments();
            let at_once = (SEND_BYTES / segment_size).clamp(1, segments);
            let len = segment_size.saturating_mul(at_once).clamp(1, bytes.len() - done);
            let contents = &bytes[done..done + len];
            let part = quinn_udp::Transmit {
                destination: address.get(),
                ecn,
                contents,
                segment_size: Some(segment_size),
                src_ip,
            };
            let result = match marked.get() {
                0 => self.state().try_send(self.io(), &part),
                dscp => dscp::send(&self.socket, &part, dscp),
            };
            match result {
                Ok(()) => {
                    done += len;
                    if address.was_refused() {
                        self.labels.store(false, Ordering::Relaxed);
                    }
                    if let Some(dscp) = marked.refused() {
                        self.codepoints.remove(dscp);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Sent::Blocked { done },
                // Perhaps the driver refuses segmentation offload, which only trying can tell: now one by one.
                Err(error) if len > segment_size && may_be_about_segments(&error) => {
                    self.segments.store(1, Ordering::Relaxed);
                }
                // Or `quinn-udp` has found that out.
                Err(_) if len > segment_size && self.max_segments() < segments => {}
                Err(error) => {
                    if error.kind() == ErrorKind::InvalidInput {
                        self.forget_refusals();
                    }
                    if !marked.goes_on_without(&error) && !address.goes_on_without(&error) {
                        return Sent::Lost(error);
                    }
                }
            }
        }
        Sent::All
    }

    /// Takes what has arrived into `inbox`, in place of what was there; returns the number of messages, zero if
    /// nothing has arrived.
    ///
    /// # Errors
    /// Those of the system, but not those that an ICMP message of some peer caused.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<usize> {
        inbox.filled = 0;
        let mut slots = inbox.bytes.chunks_exact_mut(MESSAGE_BYTES);
        let mut slices: [_; MESSAGES] = array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
        inbox.filled = match self.state().recv(self.io(), &mut slices, &mut inbox.messages) {
            Ok(count) => count,
            Err(error) if is_about_a_peer(error.kind()) => 0,
            Err(error) => return Err(error),
        };
        inbox.local = self.local;
        Ok(inbox.filled)
    }

    /// Linux answers EINVAL where segmentation offload, ECN, a flow label or a codepoint are not to be had, and where our address is
    /// gone. [`Self::send`] takes it for the first of these, `quinn-udp` for the second, and from then on they do without; a single
    /// datagram refused means the others.
    fn forget_refusals(&self) {
        if let Ok(fresh) = UdpSocketState::new(self.io()) {
            self.segments.store(fresh.max_gso_segments(), Ordering::Relaxed);
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, UdpSocketState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn io(&self) -> UdpSockRef<'_> {
        UdpSockRef::from(&self.socket)
    }

    /// An IPv6 socket speaks to IPv4 by mapped addresses.
    fn to_system(&self, address: SocketAddr) -> SocketAddr {
        match (self.local, address) {
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            _ => address,
        }
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Socket {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.socket.as_socket()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsRawSocket for Socket {
    fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
        self.socket.as_raw_socket()
    }
}

/// Whether the error says that nothing has arrived, or that something sent earlier was not delivered (Windows tells
/// so when one receives).
const fn is_about_a_peer(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}

/// Whether many datagrams at once were perhaps refused for that.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn may_be_about_segments(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

/// Whether many datagrams at once were perhaps refused for that.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn may_be_about_segments(_: &io::Error) -> bool {
    false
}

/// Whether an error on sending says that nothing at all can be sent from here to there: our address, our network or the
/// way from it is gone.
pub(crate) fn is_about_us(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrNotAvailable
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::BrokenPipe
            // What Linux says where our address is gone.
            | ErrorKind::InvalidInput
    )
}

/// Memory for what one call of [`Socket::receive`] takes. The system backs it with pages only as far as it is used.
#[derive(Debug)]
pub struct Inbox {
    bytes: Box<[u8]>,
    messages: [RecvMeta; MESSAGES],
    filled: usize,
    local: SocketAddr,
}

impl Inbox {
    /// Memory for one batch: half a MiB of address space.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; MESSAGES * MESSAGE_BYTES].into_boxed_slice(),
            messages: [RecvMeta::default(); MESSAGES],
            filled: 0,
            local: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }

    /// The datagrams received, in the order in which they came. They may be decrypted in place.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Incoming<'_>> {
        let local = self.local;
        let messages = self.messages.iter().take(self.filled);
        messages.zip(self.bytes.chunks_exact_mut(MESSAGE_BYTES)).flat_map(move |(message, slot)| {
            let route = FourTuple {
                local: SocketAddr::new(
                    message.dst_ip.map_or(local.ip(), |ip| ip.to_canonical()),
                    local.port(),
                ),
                remote: from_system(message.addr),
                interface: 0,
            };
            let ecn = message.ecn.map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8));
            let bytes = slot.get_mut(..message.len).unwrap_or_default();
            bytes.chunks_mut(message.stride.max(1)).map(move |bytes| Incoming { route, ecn, bytes })
        })
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

/// A received datagram.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Where it came from, and to which of our addresses. The local IP address is unspecified where the system does
    /// not tell.
    pub route: FourTuple,
    /// Its ECN codepoint.
    pub ecn: Ecn,
    /// The UDP payload.
    pub bytes: &'a mut [u8],
}

/// The same peer must have the same address in every datagram: IPv4 as such, and no flow label.
fn from_system(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::new(ip.into(), v6.port()),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
        },
        SocketAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests;
