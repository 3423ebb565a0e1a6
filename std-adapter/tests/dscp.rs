//! Differentiated Services codepoints as they arrive (RFC 2474).
#![cfg(target_os = "linux")]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;

use nix::sys::socket::SetSockOpt;
use nix::{libc, setsockopt_impl, sockopt_impl};
use peregrine_core::ids::{Ecn, FourTuple, PathId};
use peregrine_core::path::Availability;
use peregrine_core::stream::Tie;
use peregrine_std::socket::{Families, Marks, Sent, Socket};

mod common;
use common::eye::{self, Header, see, watchman};
use common::lab::where_codepoints_are_refused;
use common::{NAME, PATIENCE, Pair, fetch, serve};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// Another address of this host.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

sockopt_impl!(
    /// Leaves out checksums, without which Linux refuses segmentation offload.
    NoChecksum,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_NO_CHECK,
    bool
);

/// A socket on one address, sending from another perhaps, and who sees what comes of it.
fn scene(on: IpAddr, from: IpAddr, to: IpAddr) -> Option<(Socket, FourTuple, UdpSocket)> {
    let eye = eye::open(to)?;
    eye.set_read_timeout(PATIENCE).unwrap();
    let socket = Socket::bind((on, 0).into(), Families::Both).unwrap();
    let local = SocketAddr::new(from, socket.local_addr().port());
    Some((socket, FourTuple { local, remote: eye.local_addr().unwrap(), interface: 0 }, eye))
}

/// Sends a batch and tells what arrives of it.
fn sends(socket: &Socket, route: &FourTuple, marks: Marks, batch: &[u8], eye: &UdpSocket) -> Vec<Header> {
    let sent = socket.send(route, marks, 2, batch);
    assert!(matches!(sent, Sent::All), "{sent:?}");
    let take = |expected: &[u8]| {
        let mut out = [0; 8];
        let seen = see(eye, &mut out);
        assert_eq!(&out[..seen.len], expected);
        assert!(seen.from == route.local || route.local.ip().is_unspecified(), "{}", seen.from);
        seen.header
    };
    batch.chunks(2).map(take).collect()
}

#[test]
fn datagrams_bear_the_codepoint_they_are_given_beside_ecn_and_flow_label() {
    for (on, from, to) in [
        (V4, V4, V4),
        (ANY_V4, ELSEWHERE, V4),
        (V6, V6, V6),
        (ANY_V6, V6, V6),
        (ANY_V6, ANY_V6, V6),
        (ANY_V6, ELSEWHERE, V4),
        (ANY_V6, ANY_V6, V4),
    ] {
        let Some((socket, route, eye)) = scene(on, from, to) else { continue };
        for (dscp, ecn, flow_label) in [
            (46, Ecn::Ect0, 0xa_bcde),
            (0, Ecn::Ect1, 0xa_bcde),
            (63, Ecn::Ce, 0xf_ffff),
            (1, Ecn::NotEct, 1),
            (10, Ecn::Ect1, 7),
        ] {
            assert!(socket.sets_dscp(dscp));
            let marks = Marks { ecn, flow_label, dscp };
            let flow_label = if to.is_ipv6() { flow_label } else { 0 };
            let expected = Header { dscp, ecn: ecn.bits(), flow_label };
            for batch in [&b"x"[..], b"aabbc"] {
                let seen = sends(&socket, &route, marks, batch, &eye);
                assert!(
                    seen.iter().all(|header| *header == expected),
                    "{on} {from} {to} {marks:?}: {seen:?}"
                );
            }
        }
    }
}

#[test]
fn without_segmentation_offload_they_do_so_one_by_one() {
    let (socket, route, eye) = scene(V4, V4, V4).unwrap();
    assert!(socket.max_segments() > 1);
    NoChecksum.set(&socket, &true).unwrap();
    for _ in 0..2 {
        let marks = Marks { ecn: Ecn::Ect0, flow_label: 0, dscp: 46 };
        let seen = sends(&socket, &route, marks, b"aabbcc", &eye);
        assert!(seen.iter().all(|header| (header.dscp, header.ecn) == (46, Ecn::Ect0.bits())), "{seen:?}");
        assert!(socket.max_segments() == 1 && socket.sets_dscp(46));
    }
}

#[test]
fn what_cannot_be_sent_is_lost_and_the_codepoint_is_not_to_blame() {
    let (socket, route, eye) = scene(V4, V4, V4).unwrap();
    let segments = socket.max_segments();
    let marks = Marks { ecn: Ecn::Ect0, flow_label: 0, dscp: 46 };
    let nowhere = FourTuple { remote: SocketAddr::from(([192, 0, 2, 1], 9)), ..route };
    let gone = FourTuple { local: SocketAddr::from(([192, 0, 2, 7], 0)), ..route };
    for (route, size, len) in [(route, 70_000, 70_000), (nowhere, 1, 1), (gone, 1, 4)] {
        assert!(matches!(socket.send(&route, marks, size, &vec![0; len]), Sent::Lost(_)));
    }
    assert!(socket.sets_dscp(46) && socket.max_segments() == segments);
    assert_eq!(sends(&socket, &route, marks, b"okay", &eye)[1].dscp, 46);
}

#[test]
fn each_path_bears_its_own() {
    let pair = Pair::with(|builder| builder.multipath(|_| {}));
    let (address, headers) = watchman(pair.address).unwrap();
    let client = pair.client.connect(address, NAME).unwrap();
    client.wait_path_possible(PATIENCE).unwrap();
    let second = client.open_path((ELSEWHERE, 0).into(), Availability::Available).unwrap();
    client.wait_path(second, PATIENCE).unwrap();
    for (path, dscp) in [(second, 46), (PathId::ZERO, 10), (PathId::ZERO, 0)] {
        client.set_path_dscp(path, dscp).unwrap();
        let mut send = client.open_uni().unwrap();
        send.tie(Tie::Needs(path));
        send.write_all(&[7; 5000]).unwrap();
        send.finish().unwrap();
        send.delivered().unwrap();
    }
    let headers = headers.lock().unwrap();
    let codepoints = |of: &dyn Fn(&SocketAddr) -> bool| {
        let (_, headers) = headers.iter().find(|(from, _)| of(from)).unwrap();
        let mut codepoints: Vec<_> = headers.iter().map(|header| header.dscp).collect();
        codepoints.dedup();
        codepoints
    };
    // The first packets of a path go out before it can be given one.
    assert_eq!(codepoints(&|from| from.ip() == ELSEWHERE), [0, 46]);
    assert_eq!(codepoints(&|from| from.ip() != ELSEWHERE), [0, 10, 0]);
    assert_eq!(pair.client.system_stats().dscp_not_supported, 0);
}

/// Where a rule of routing refuses datagrams for their codepoint, they go without.
#[test]
fn without_a_codepoint_that_is_refused_everything_arrives() {
    /// By EACCES and by EINVAL.
    const RULES: [(u8, &str); 2] = [(4, "prohibit"), (5, "blackhole")];
    const FREE: u8 = 46;

    where_codepoints_are_refused(&RULES, || {
        for (on, to) in [(V4, V4), (V6, V6), (ANY_V6, V4)] {
            let Some((socket, route, eye)) = scene(on, to, to) else { continue };
            let segments = socket.max_segments();
            for dscp in [FREE, RULES[0].0, RULES[1].0, RULES[0].0, FREE] {
                let marks = Marks { ecn: Ecn::Ect0, flow_label: 7, dscp };
                let seen = sends(&socket, &route, marks, b"okay", &eye);
                let expected = Header {
                    dscp: if dscp == FREE { FREE } else { 0 },
                    ecn: Ecn::Ect0.bits(),
                    flow_label: if to.is_ipv6() { 7 } else { 0 },
                };
                assert!(seen.iter().all(|header| *header == expected), "{on} {to} {marks:?}: {seen:?}");
                assert_eq!(socket.sets_dscp(dscp), dscp == FREE);
                assert_eq!(socket.max_segments(), segments);
            }
        }

        let pair = Pair::new();
        let (client, server) = pair.connect();
        thread::spawn(move || serve(&server));
        let unmarked = |dscp| {
            client.set_path_dscp(PathId::ZERO, dscp).unwrap();
            fetch(&client, 100_000);
            pair.client.system_stats().dscp_not_supported
        };
        assert_eq!(unmarked(FREE), 0);
        assert!(unmarked(RULES[0].0) > 0);
        assert_eq!(pair.client.system_stats().sends_failed, 0);
    });
}
