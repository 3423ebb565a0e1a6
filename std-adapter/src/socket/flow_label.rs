//! Flow labels of IPv6 on datagrams that go out (RFC 9000 9.7). Linux takes them from the address that a datagram is sent to,
//! once it is told to: the one call here that no library has. Other systems choose labels themselves.

use std::net::SocketAddr;
use std::net::UdpSocket;

/// Lets datagrams bear the labels of [`put`]. Returns whether the system does so.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn enable(socket: &UdpSocket) -> bool {
    set(socket, libc::IPV6_FLOWINFO_SEND)
}

/// Lets datagrams bear the labels of [`put`]. Returns whether the system does so.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn enable(_: &UdpSocket) -> bool {
    false
}

/// The address with this label, of which 20 bits count.
pub(super) fn put(address: SocketAddr, label: u32) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) if v6.ip().to_ipv4_mapped().is_none() => {
            // The system has it in network order.
            v6.set_flowinfo((label & 0x000f_ffff).to_be());
            v6.into()
        }
        _ => address,
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
