//! Differentiated Services codepoints on datagrams that go out (RFC 2474 3). They share a byte with the ECN mark, which `quinn-udp`
//! writes for each datagram and from that mark alone: with a codepoint, datagrams go out from here. Linux; other systems get none.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn_udp::Transmit;

/// The six bits of a codepoint.
const BITS: u8 = 0x3f;

/// The codepoints that the system takes, a bit for each: a firewall may refuse one and let another pass. Zero is no mark.
#[derive(Debug)]
pub(super) struct Codepoints(AtomicU64);

impl Codepoints {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(if cfg!(any(target_os = "linux", target_os = "android")) { u64::MAX } else { 1 }))
    }

    pub(super) fn has(&self, dscp: u8) -> bool {
        self.0.load(Ordering::Relaxed) & Self::bit(dscp) != 0
    }

    pub(super) fn remove(&self, dscp: u8) {
        self.0.fetch_and(!Self::bit(dscp), Ordering::Relaxed);
    }

    const fn bit(dscp: u8) -> u64 {
        1 << (dscp & BITS)
    }
}

/// The codepoint that a batch bears until the system refuses that.
pub(super) struct Marked {
    dscp: u8,
    refused: Option<u8>,
}

impl Marked {
    /// With this codepoint, if the system takes it, of which six bits count; zero is none.
    pub(super) fn new(dscp: u8, taken: &Codepoints) -> Self {
        Self { dscp: if taken.has(dscp) { dscp & BITS } else { 0 }, refused: None }
    }

    pub(super) const fn get(&self) -> u8 {
        self.dscp
    }

    /// The system has refused a datagram. Returns whether it may have been for the codepoint, which is left out from now on: a
    /// firewall that drops it makes that EPERM, a rule of routing by codepoints EACCES or EINVAL.
    pub(super) fn goes_on_without(&mut self, error: &io::Error) -> bool {
        let to_blame =
            self.dscp != 0 && matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput);
        if to_blame {
            self.refused = Some(std::mem::take(&mut self.dscp));
        }
        to_blame
    }

    /// The codepoint that was left out: what is sent then says that it was refused.
    pub(super) const fn refused(&self) -> Option<u8> {
        self.refused
    }
}

/// Hands over what `part` says, with this codepoint.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn send(socket: &UdpSocket, part: &Transmit<'_>, dscp: u8) -> io::Result<()> {
    use std::io::IoSlice;
    use std::net::IpAddr;
    use std::os::fd::AsRawFd;

    use nix::errno::Errno;
    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};

    let class = dscp << 2 | part.ecn.map_or(0, |ecn| ecn as u8);
    let class_of_v6 = class.into();
    let mark = match part.destination.ip().to_canonical() {
        // By a mapped address too: there Linux asks for this one alone.
        IpAddr::V4(_) => ControlMessage::Ipv4Tos(&class),
        IpAddr::V6(_) => ControlMessage::Ipv6TClass(&class_of_v6),
    };
    let (from_v4, from_v6);
    let source = match part.src_ip {
        None => None,
        Some(IpAddr::V4(ip)) => {
            let [any, ip] = [[0; 4], ip.octets()].map(|ip| libc::in_addr { s_addr: u32::from_ne_bytes(ip) });
            from_v4 = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: ip, ipi_addr: any };
            Some(ControlMessage::Ipv4PacketInfo(&from_v4))
        }
        Some(IpAddr::V6(ip)) => {
            let ip = libc::in6_addr { s6_addr: ip.octets() };
            from_v6 = libc::in6_pktinfo { ipi6_addr: ip, ipi6_ifindex: 0 };
            Some(ControlMessage::Ipv6PacketInfo(&from_v6))
        }
    };
    let segment_size = part.segment_size.filter(|size| *size < part.contents.len());
    let segment_size = segment_size.and_then(|size| u16::try_from(size).ok());
    let segments = segment_size.as_ref().map(ControlMessage::UdpGsoSegments);
    let told: Vec<_> = [Some(mark), segments, source].into_iter().flatten().collect();
    let contents = [IoSlice::new(part.contents)];
    let to = SockaddrStorage::from(part.destination);
    loop {
        match sendmsg(socket.as_raw_fd(), &contents, &told, MsgFlags::empty(), Some(&to)) {
            Err(Errno::EINTR) => {}
            done => return Ok(done.map(drop)?),
        }
    }
}

/// Hands over what `part` says, with this codepoint.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn send(_: &UdpSocket, _: &Transmit<'_>, _: u8) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codepoint_is_removed_without_the_others() {
        let taken = Codepoints(AtomicU64::new(u64::MAX));
        taken.remove(63);
        taken.remove(10);
        let left: Vec<_> = (0..64).filter(|dscp| !taken.has(*dscp)).collect();
        assert_eq!(left, [10, 63]);
        assert_eq!([10, 11, 0x40 | 11].map(|dscp| Marked::new(dscp, &taken).get()), [0, 11, 11]);
    }

    #[test]
    fn only_the_error_that_takes_the_codepoint_away_is_worth_another_try() {
        for kind in [ErrorKind::PermissionDenied, ErrorKind::InvalidInput] {
            let mut marked = Marked::new(46, &Codepoints(AtomicU64::new(u64::MAX)));
            assert!(!marked.goes_on_without(&ErrorKind::NetworkUnreachable.into()));
            assert_eq!((marked.get(), marked.refused()), (46, None));
            assert!(marked.goes_on_without(&kind.into()));
            assert_eq!((marked.get(), marked.refused()), (0, Some(46)));
            // Whatever comes now is about something else.
            assert!(!marked.goes_on_without(&kind.into()));
            assert_eq!(marked.refused(), Some(46));
        }
    }

    #[test]
    fn where_there_is_no_codepoint_none_is_refused() {
        for dscp in [0, 0x40] {
            let mut marked = Marked::new(dscp, &Codepoints::new());
            assert!(!marked.goes_on_without(&ErrorKind::PermissionDenied.into()));
            assert_eq!((marked.get(), marked.refused()), (0, None));
        }
    }
}
