//! Flow labels of IPv6 on datagrams that go out (RFC 9000 9.7). Linux takes them from the address that a datagram is sent to,
//! once it is told to: the one call here that no library has. Other systems choose labels themselves.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};

/// Lets datagrams bear the labels of [`Labelled`]. Returns whether the system does so.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn enable(socket: &UdpSocket) -> bool {
    set(socket, libc::IPV6_FLOWINFO_SEND)
}

/// Lets datagrams bear the labels of [`Labelled`]. Returns whether the system does so.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn enable(_: &UdpSocket) -> bool {
    false
}

/// Whether datagrams to this address have room for a label: those of IPv6, but not those of IPv4 by a mapped address.
pub(super) fn suits(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none())
}

/// The address that a batch is sent to, with a label until the system refuses that.
pub(super) struct Labelled {
    plain: SocketAddr,
    labelled: Option<SocketAddr>,
    refused: bool,
}

impl Labelled {
    /// With this label, of which 20 bits count; zero is none.
    pub(super) fn new(plain: SocketAddr, label: u32) -> Self {
        // The system has it in network order.
        let label = (label & 0x000f_ffff).to_be();
        let labelled = match plain {
            SocketAddr::V6(mut v6) if label != 0 && suits(plain) => {
                v6.set_flowinfo(label);
                Some(v6.into())
            }
            _ => None,
        };
        Self { plain, labelled, refused: false }
    }

    pub(super) fn get(&self) -> SocketAddr {
        self.labelled.unwrap_or(self.plain)
    }

    /// The system has refused to send there. Returns whether it may have been for the label, which is left out from now on:
    /// where somebody on this host has leased one for himself alone, Linux takes leased ones only, and answers EINVAL.
    pub(super) fn goes_on_without(&mut self, error: &io::Error) -> bool {
        let to_blame = error.kind() == ErrorKind::InvalidInput && self.labelled.take().is_some();
        self.refused |= to_blame;
        to_blame
    }

    /// Whether a label was left out: what is sent then says that it was refused.
    pub(super) const fn was_refused(&self) -> bool {
        self.refused
    }
}

/// Switches an option of IPv6 on.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(unsafe_code, reason = "no library knows these options")]
fn set(socket: &UdpSocket, option: libc::c_int) -> bool {
    use std::os::fd::AsRawFd;

    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open as long as the socket is borrowed; the option is an integer, of which the system reads
    // as many bytes as it is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const EINVAL: ErrorKind = ErrorKind::InvalidInput;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_error_that_takes_the_label_away_is_worth_another_try() {
        let plain = address("[2001:db8::1]:443");
        let mut there = Labelled::new(plain, 0xabcde);
        assert_ne!(there.get(), plain);
        assert!(!there.goes_on_without(&ErrorKind::NetworkUnreachable.into()));
        assert!(there.get() != plain && !there.was_refused());
        assert!(there.goes_on_without(&EINVAL.into()));
        assert!(there.get() == plain && there.was_refused());
        // Whatever comes now is about something else.
        for kind in [ErrorKind::PermissionDenied, EINVAL] {
            assert!(!there.goes_on_without(&kind.into()));
        }
    }

    #[test]
    fn where_there_is_no_label_none_is_refused() {
        for (text, label) in [("[2001:db8::1]:1", 0), ("192.0.2.1:1", 7), ("[::ffff:192.0.2.1]:1", 7)] {
            let mut there = Labelled::new(address(text), label);
            assert_eq!(there.get(), address(text));
            assert!(!there.goes_on_without(&EINVAL.into()) && !there.was_refused());
        }
    }
}
