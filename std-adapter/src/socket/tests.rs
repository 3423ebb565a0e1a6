use super::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
const ANY_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

fn bind(address: SocketAddr) -> Socket {
    Socket::bind(address, Families::Both).unwrap()
}

/// Machines without IPv6 exist; there its tests have nothing to say.
fn bind_v6(address: SocketAddr) -> Option<Socket> {
    Socket::bind(address, Families::Both).inspect_err(|error| println!("skipped, no IPv6: {error}")).ok()
}

fn route(local: SocketAddr, remote: SocketAddr) -> FourTuple {
    FourTuple { local, remote, interface: 0 }
}

/// Receives until `bytes` bytes have come; what does not come within a second is missing for good.
fn collect(socket: &Socket, bytes: usize) -> Vec<(FourTuple, Ecn, Vec<u8>)> {
    let mut inbox = Inbox::new();
    let mut all: Vec<(FourTuple, Ecn, Vec<u8>)> = Vec::new();
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    while all.iter().map(|(_, _, datagram)| datagram.len()).sum::<usize>() < bytes
        && poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&second)).unwrap() > 0
    {
        socket.receive(&mut inbox).unwrap();
        all.extend(inbox.datagrams().map(|datagram| (datagram.route, datagram.ecn, datagram.bytes.to_vec())));
    }
    all
}

fn pairs() -> impl Iterator<Item = (Socket, Socket)> {
    [Some((bind(V4), bind(V4))), bind_v6(V6).zip(bind_v6(V6))].into_iter().flatten()
}

#[test]
fn a_batch_arrives_as_the_datagrams_it_was_made_of() {
    for (a, b) in pairs() {
        let batch: Vec<u8> = (0..5 * 1200 + 77).map(|i| (i / 1200) as u8).collect();
        assert!(matches!(a.send(&route(a.local_addr(), b.local_addr()), Ecn::Ect0, 1200, &batch), Sent::All));
        let all = collect(&b, batch.len());
        let lengths: Vec<_> = all.iter().map(|(_, _, bytes)| bytes.len()).collect();
        assert_eq!(lengths, [1200, 1200, 1200, 1200, 1200, 77]);
        for (index, (from, ecn, bytes)) in all.iter().enumerate() {
            assert_eq!((*from, *ecn), (route(b.local_addr(), a.local_addr()), Ecn::Ect0));
            assert!(bytes.iter().all(|&byte| usize::from(byte) == index));
        }
    }
}

#[test]
fn more_datagrams_than_the_system_takes_at_once_all_arrive() {
    let (a, b) = (bind(V4), bind(V4));
    for (count, size) in [(200, 100), (64, 1200)] {
        let batch = vec![7; count * size];
        let sent = a.send(&route(a.local_addr(), b.local_addr()), Ecn::NotEct, size, &batch);
        assert!(matches!(sent, Sent::All), "{sent:?}");
        assert_eq!(collect(&b, batch.len()).len(), count);
    }
}

#[test]
fn every_ecn_codepoint_crosses_in_both_families() {
    for (a, b) in pairs() {
        for ecn in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
            assert!(matches!(a.send(&route(a.local_addr(), b.local_addr()), ecn, 1, b"x"), Sent::All));
            assert_eq!(collect(&b, 1)[0].1, ecn);
        }
    }
}

#[test]
fn an_unspecified_socket_answers_from_the_address_it_was_asked_at() {
    let server = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    let client = bind(V4);
    let asked = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), server.local_addr().port()));
    assert!(matches!(client.send(&route(client.local_addr(), asked), Ecn::NotEct, 1, b"?"), Sent::All));
    let (seen, ..) = collect(&server, 1)[0];
    assert_eq!(seen, route(asked, client.local_addr()));
    assert!(matches!(server.send(&seen, Ecn::NotEct, 1, b"!"), Sent::All));
    assert_eq!(collect(&client, 1)[0].0, route(client.local_addr(), asked));
}

#[test]
fn a_dual_socket_sees_ipv4_peers_under_their_ipv4_addresses() {
    let Some(server) = bind_v6(ANY_V6) else { return };
    let client = bind(V4);
    let asked = SocketAddr::new(V4.ip(), server.local_addr().port());
    assert!(matches!(client.send(&route(client.local_addr(), asked), Ecn::Ect0, 1, b"?"), Sent::All));
    let (seen, ecn, _) = collect(&server, 1)[0];
    assert_eq!((seen, ecn), (route(asked, client.local_addr()), Ecn::Ect0));
    assert!(matches!(server.send(&seen, Ecn::Ce, 2, b"!!"), Sent::All));
    let (back, ecn, _) = collect(&client, 2)[0];
    assert_eq!((back, ecn), (route(client.local_addr(), asked), Ecn::Ce));
}

#[test]
fn a_socket_of_one_family_leaves_the_port_to_the_other() {
    let Some(both) = bind_v6(ANY_V6) else { return };
    let port = both.local_addr().port();
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    assert_eq!(Socket::bind(v4, Families::Both).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(both);
    let six = SocketAddr::new(ANY_V6.ip(), port);
    let _six = Socket::bind(six, Families::One).unwrap();
    let _four = Socket::bind(v4, Families::One).unwrap();
}

#[test]
fn what_cannot_be_sent_is_lost_and_the_socket_lives_on() {
    let (a, b) = (bind(V4), bind(V4));
    let segments = a.max_segments();
    let too_large = vec![0; 70_000];
    let there = route(a.local_addr(), b.local_addr());
    assert!(matches!(a.send(&there, Ecn::NotEct, 70_000, &too_large), Sent::Lost(_)));
    let nowhere = route(a.local_addr(), SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9)));
    // From a loopback address there is no route to another network.
    assert!(matches!(a.send(&nowhere, Ecn::NotEct, 1, b"x"), Sent::Lost(_)));
    let other_family = route(a.local_addr(), SocketAddr::new(V6.ip(), 9));
    assert!(matches!(a.send(&other_family, Ecn::NotEct, 1, b"x"), Sent::Lost(_)));
    let gone = route(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 0)), b.local_addr());
    assert!(matches!(a.send(&gone, Ecn::NotEct, 1, b"xxxx"), Sent::Lost(_)));
    // A dead route says nothing about segmentation offload and ECN on the others.
    assert_eq!(a.max_segments(), segments);
    assert!(matches!(a.send(&there, Ecn::Ect0, 2, b"okay"), Sent::All));
    let all = collect(&b, 4);
    assert_eq!((all[0].1, &all[0].2[..], &all[1].2[..]), (Ecn::Ect0, &b"ok"[..], &b"ay"[..]));
}

#[test]
fn nothing_to_receive_is_no_error() {
    let socket = Socket::bind_toward(V4).unwrap();
    assert_eq!(socket.receive(&mut Inbox::new()).unwrap(), 0);
    assert_ne!(socket.local_addr().port(), 0);
    let (send, receive) = socket.buffer_sizes().unwrap();
    assert!(send > 0 && receive > 0);
}

/// The system sets the DF bit and splits nothing (RFC 9000 14), whatever it has learned of the path: what is too large for the
/// link is refused.
#[cfg(target_os = "linux")]
#[test]
fn datagrams_are_not_fragmented() {
    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};

    let v4 = bind(V4);
    assert_eq!(sockopt::ip_mtu_discover(&v4).unwrap(), Ipv4PathMtuDiscovery::PROBE);
    assert!(!v4.may_fragment());
    let both = bind_v6(ANY_V6);
    for v6 in [bind_v6(V6), both].into_iter().flatten() {
        assert_eq!(sockopt::ipv6_mtu_discover(&v6).unwrap(), Ipv6PathMtuDiscovery::PROBE);
        // For IPv4 peers of a dual socket.
        assert_eq!(sockopt::ip_mtu_discover(&v6).unwrap(), Ipv4PathMtuDiscovery::PROBE);
        assert!(!v6.may_fragment());
    }
}
