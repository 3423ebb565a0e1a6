//! A socket that sees of the IP header what others do not ask for.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use nix::sys::socket::sockopt::IpRecvTos;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SetSockOpt, SockaddrStorage, recvmsg};
use nix::{libc, setsockopt_impl, sockopt_impl};

use super::relay::relay;

sockopt_impl!(
    /// Tells traffic class and flow label of what arrives.
    ReceiveFlowInfo,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_FLOWINFO,
    bool
);

/// A datagram.
pub(crate) struct Seen {
    pub(crate) len: usize,
    pub(crate) from: SocketAddr,
    pub(crate) header: Header,
}

/// What stands in its IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) dscp: u8,
    pub(crate) ecn: u8,
    pub(crate) flow_label: u32,
}

/// A socket that sees headers. Machines without IPv6 exist; there its tests have nothing to say.
pub(crate) fn open(ip: impl Into<IpAddr>) -> Option<UdpSocket> {
    let ip = ip.into();
    let socket = UdpSocket::bind((ip, 0));
    let socket = socket.inspect_err(|error| println!("skipped, no socket on {ip}: {error}")).ok()?;
    match ip {
        IpAddr::V4(_) => IpRecvTos.set(&socket, &true).unwrap(),
        IpAddr::V6(_) => ReceiveFlowInfo.set(&socket, &true).unwrap(),
    }
    Some(socket)
}

/// Takes a datagram.
pub(crate) fn see(socket: &UdpSocket, out: &mut [u8]) -> Seen {
    let mut room = nix::cmsg_space!(u32);
    let mut out = [IoSliceMut::new(out)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut out, Some(&mut room), MsgFlags::empty()).unwrap();
    let told = message.cmsgs().unwrap().find_map(|told| match told {
        ControlMessageOwned::Ipv4Tos(class) => Some((class, 0)),
        ControlMessageOwned::Unknown(told) => {
            let word = u32::from_be_bytes(told.data_bytes[..4].try_into().unwrap());
            Some(((word >> 20) as u8, word & 0x000f_ffff))
        }
        _ => None,
    });
    // Linux says nothing where all is zero.
    let (class, flow_label) = told.unwrap_or((0, 0));
    let from = message.address.unwrap();
    let v4 = from.as_sockaddr_in().map(|from| SocketAddr::V4((*from).into()));
    let from = v4.or(from.as_sockaddr_in6().map(|from| SocketAddr::V6((*from).into()))).unwrap();
    let header = Header { dscp: class >> 2, ecn: class & 3, flow_label };
    Seen { len: message.bytes, from, header }
}

/// By where datagrams came from: their headers, one after the other.
pub(crate) type Headers = Arc<Mutex<BTreeMap<SocketAddr, Vec<Header>>>>;

/// Stands before a server and notes the headers of what comes.
pub(crate) fn watchman(server: SocketAddr) -> Option<(SocketAddr, Headers)> {
    let headers = Headers::default();
    let notes = Arc::clone(&headers);
    let address = relay(open(server.ip())?, server, move |front, datagram| {
        let Seen { len, from, header } = see(front, datagram);
        notes.lock().unwrap().entry(from).or_default().push(header);
        (len, from)
    });
    Some((address, headers))
}
