//! A client and a server in network namespaces of their own, joined by two links.
//!
//! ```text
//! client  10.0.1.2 net1 ── net1 10.0.1.1 ┐ server
//!         10.0.2.2 net2 ── net2 10.0.2.1 ┴ 198.51.100.9
//! ```

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::geteuid;

/// Where the server is.
pub(crate) const SERVER: &str = "198.51.100.9";

/// The namespaces, which go when it is dropped.
pub(crate) struct Lab {
    pub(crate) client: String,
    pub(crate) server: String,
}

impl Lab {
    /// Nothing where there can be no namespaces, with the reason printed.
    pub(crate) fn up() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |role| format!("pgt-{}-{number}-{role}", std::process::id());
        if !geteuid().is_root() {
            println!("skipped: making network namespaces needs root");
            return None;
        }
        let lab = Self { client: name("client"), server: name("server") };
        for name in [&lab.client, &lab.server] {
            let made = Command::new("ip").args(["netns", "add", name]).stderr(Stdio::null()).status();
            if !made.is_ok_and(|status| status.success()) {
                println!("skipped: there is no iproute2, or namespaces are not allowed here");
                return None;
            }
            ip(name, "link set lo up");
        }
        let Self { client, server } = &lab;
        ip(server, &format!("addr add {SERVER}/32 dev lo"));
        for number in [1, 2] {
            let net = format!("net{number}");
            ip(client, &format!("link add {net} type veth peer name {net} netns {server}"));
            ip(server, &format!("addr add 10.0.{number}.1/24 dev {net}"));
            ip(server, &format!("link set {net} up"));
            join(client, number, 2);
            // The client's address decides which link is taken, as on a phone.
            ip(client, &format!("rule add from 10.0.{number}.0/24 table {number}"));
        }
        Some(lab)
    }
}

/// A client is on this network from now on, at the address that ends so.
pub(crate) fn join(client: &str, number: u8, host: u8) {
    let (net, gateway) = (format!("net{number}"), format!("10.0.{number}.1"));
    ip(client, &format!("addr replace 10.0.{number}.{host}/24 dev {net}"));
    ip(client, &format!("link set {net} up"));
    for place in [format!("table {number}"), format!("metric {number}")] {
        ip(client, &format!("route replace default via {gateway} dev {net} {place}"));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

/// Sets something up in a namespace.
pub(crate) fn ip(namespace: &str, arguments: &str) {
    let all = ["-n", namespace].into_iter().chain(arguments.split(' '));
    assert!(Command::new("ip").args(all).status().unwrap().success(), "ip -n {namespace} {arguments}");
}

/// Does something in a namespace: sockets made there stay there, and threads begun there.
pub(crate) fn inside<R: Send + 'static>(namespace: &str, act: impl FnOnce() -> R + Send + 'static) -> R {
    let place = File::open(format!("/run/netns/{namespace}")).unwrap();
    let thread = thread::spawn(move || {
        setns(place, CloneFlags::CLONE_NEWNET).unwrap();
        act()
    });
    thread.join().unwrap()
}

/// Does something in a namespace with rules that refuse datagrams for their codepoints, `prohibit` with EACCES and `blackhole` with
/// EINVAL. Nothing where there can be none, with the reason printed.
pub(crate) fn where_codepoints_are_refused(
    rules: &'static [(u8, &str)],
    act: impl FnOnce() + Send + 'static,
) {
    if !geteuid().is_root() {
        return println!("skipped: making network namespaces needs root");
    }
    let ip = |args: &str| Command::new("ip").args(args.split(' ')).status().is_ok_and(|done| done.success());
    let apart = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut ready = ip("link set lo up");
        for family in ["-4", "-6"] {
            // After the table of local addresses no rule would be asked.
            ready &= ip(&format!("{family} rule add pref 1 lookup local"));
            ready &= ip(&format!("{family} rule del pref 0"));
            for (dscp, refuses) in rules {
                ready &= ip(&format!("{family} rule add pref 0 tos {:#x} {refuses}", dscp << 2));
            }
        }
        match ready {
            true => act(),
            false => println!("skipped: there is no iproute2, no IPv6, or no routing by codepoints"),
        }
    });
    apart.join().unwrap();
}
