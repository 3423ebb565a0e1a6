//! The flow labels of IPv6 as they arrive (RFC 9000 9.7).
#![cfg(target_os = "linux")]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::thread;

use nix::libc;
use peregrine_core::ids::{Ecn, FourTuple};
use peregrine_std::socket::{Families, Marks, Sent, Socket};

mod common;
use common::eye::{self, see, watchman};
use common::{NAME, PATIENCE, Pair, fetch, serve};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

#[test]
fn a_datagram_bears_the_label_it_is_given() {
    let Some(eye) = eye::open(Ipv6Addr::LOCALHOST) else { return };
    let socket = Socket::bind(LOOPBACK, Families::Both).unwrap();
    assert!(socket.sets_flow_labels());
    let route = FourTuple { local: socket.local_addr(), remote: eye.local_addr().unwrap(), interface: 0 };
    for flow_label in [1, 0x8_0000, 0xf_ffff, 0xa_bcde] {
        assert!(matches!(
            socket.send(&route, Marks { ecn: Ecn::Ect0, flow_label, dscp: 0 }, 1, b"xy"),
            Sent::All
        ));
        for _ in 0..2 {
            assert_eq!(see(&eye, &mut [0; 8]).header.flow_label, flow_label);
        }
    }
}

#[test]
fn a_move_changes_the_label() {
    if eye::open(Ipv6Addr::LOCALHOST).is_none() {
        return;
    }
    let pair = Pair::with(|builder| builder.listen(LOOPBACK));
    let Some((address, headers)) = watchman(pair.server.local_addrs()[1]) else { return };
    let client = pair.client.connect(address, NAME).unwrap();
    let server = pair.server.accept_within(PATIENCE).unwrap();
    thread::spawn(move || serve(&server));
    fetch(&client, 100_000);
    let first = client.route().unwrap().local;
    client.migrate(LOOPBACK).unwrap();
    fetch(&client, 100_000);
    let second = client.route().unwrap().local;
    let headers = headers.lock().unwrap();
    let [first, second] = [first, second].map(|of| {
        let mut labels: Vec<_> = headers[&of].iter().map(|header| header.flow_label).collect();
        labels.dedup();
        labels
    });
    // The server's first answer changes the connection ID, and with it the label.
    assert!(first.len() <= 2 && second.len() == 1, "{first:?}, then {second:?}");
    assert!(!first.contains(&0) && !second.contains(&0) && !first.contains(&second[0]));
    assert_eq!(pair.client.system_stats().flow_labels_not_supported, 0);
}

/// Where somebody has leased a label for himself alone, the system takes from others only what they have leased themselves.
#[test]
fn without_labels_of_ones_own_everything_arrives() {
    /// What a label is leased with.
    #[repr(C)]
    struct Lease {
        to: [u8; 16],
        label: u32,
        action: u8,
        share: u8,
        flags: u16,
        seconds_kept: u16,
        seconds_lingering: u16,
        padding: u32,
    }
    const GET: u8 = 0;
    const EXCLUSIVE: u8 = 1;
    const CREATE: u16 = 1;

    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: making network namespaces needs root");
    }
    let apart = thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        let eye = eye::open(Ipv6Addr::LOCALHOST).filter(|_| up.is_ok_and(|up| up.success()));
        let Some(eye) = eye else { return };
        let lease = Lease {
            to: Ipv6Addr::LOCALHOST.octets(),
            label: 0x1_2345_u32.to_be(),
            action: GET,
            share: EXCLUSIVE,
            flags: CREATE,
            seconds_kept: 6,
            seconds_lingering: 6,
            padding: 0,
        };
        // SAFETY: the socket is open, and the system reads as many bytes as the struct has.
        let leased = unsafe {
            let len = size_of::<Lease>() as libc::socklen_t;
            let (level, option) = (libc::IPPROTO_IPV6, libc::IPV6_FLOWLABEL_MGR);
            libc::setsockopt(eye.as_raw_fd(), level, option, (&raw const lease).cast(), len)
        };
        assert_eq!(leased, 0, "{}", std::io::Error::last_os_error());

        let socket = Socket::bind(LOOPBACK, Families::Both).unwrap();
        let segments = socket.max_segments();
        let route = FourTuple { local: socket.local_addr(), remote: eye.local_addr().unwrap(), interface: 0 };
        for _ in 0..2 {
            let marks = Marks { ecn: Ecn::Ect0, flow_label: 7, dscp: 0 };
            assert!(matches!(socket.send(&route, marks, 2, b"okay"), Sent::All));
            for _ in 0..2 {
                let seen = see(&eye, &mut [0; 8]);
                assert!(seen.len == 2 && seen.header.flow_label != 7);
            }
            assert!(!socket.sets_flow_labels() && socket.max_segments() == segments);
        }
    });
    apart.join().unwrap();
}
