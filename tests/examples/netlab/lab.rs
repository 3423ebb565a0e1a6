//! The namespaces and what joins them. A link is a namespace of its own, in which a relay stands at the server's address:
//!
//! ```text
//! pg-client 10.0.1.2 ── pg-wifi: relay at 192.0.2.9 ── 10.1.1.2 ┐
//!           10.0.2.2 ── pg-cell: relay at 192.0.2.9 ── 10.1.2.2 ┼ pg-server: 198.51.100.9
//!           10.0.3.2 ── pg-wire: relay at 192.0.2.9 ── 10.1.3.2 ┘
//! ```

use std::fs::File;
use std::process::Command;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns};

/// Where the client finds the server, on either link.
pub(crate) const SERVER: &str = "192.0.2.9";
/// Where the server is.
pub(crate) const BEHIND: &str = "198.51.100.9";
/// The client on Wi-Fi.
pub(crate) const WIFI: &str = "10.0.1.2";
/// The client on cellular.
pub(crate) const CELLULAR: &str = "10.0.2.2";
/// The client on a wire.
pub(crate) const WIRE: &str = "10.0.3.2";

/// The namespace of each link.
pub(crate) const LINKS: [&str; 3] = ["pg-wifi", "pg-cell", "pg-wire"];
const ENDS: [&str; 2] = ["pg-client", "pg-server"];

/// The namespaces, taken down at the end.
pub(crate) struct Lab;

impl Lab {
    /// Sets everything up, after what an earlier run may have left behind is gone.
    pub(crate) fn up() -> Self {
        down();
        for name in ENDS.iter().chain(&LINKS) {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        ip(&format!("-n pg-server addr add {BEHIND}/32 dev lo"));
        for (number, link) in (1..).zip(LINKS) {
            join(
                "pg-client",
                &format!("net{number}"),
                &format!("10.0.{number}.2/24"),
                link,
                "near",
                &format!("10.0.{number}.1/24"),
            );
            join(
                link,
                "far",
                &format!("10.1.{number}.2/24"),
                "pg-server",
                &format!("net{number}"),
                &format!("10.1.{number}.1/24"),
            );
            ip(&format!("-n {link} addr add {SERVER}/32 dev lo"));
            ip(&format!("-n {link} route add {BEHIND} via 10.1.{number}.1"));
            // The client's address decides which link is taken, as on a phone.
            let table = 100 + number;
            ip(&format!("-n pg-client route add default via 10.0.{number}.1 table {table}"));
            ip(&format!("-n pg-client rule add from 10.0.{number}.2 table {table}"));
        }
        ip("-n pg-client route add default via 10.0.1.1");
        Self
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        down();
    }
}

fn down() {
    for name in ENDS.iter().chain(&LINKS) {
        Command::new("ip").args(["netns", "del", name]).stderr(std::process::Stdio::null()).status().ok();
    }
}

/// The client's interface goes down, as when somebody switches Wi-Fi off.
pub(crate) fn switch_wifi_off() {
    ip("-n pg-client link set net1 down");
}

fn join(
    left: &str,
    left_device: &str,
    left_address: &str,
    right: &str,
    right_device: &str,
    right_address: &str,
) {
    ip(&format!("link add {left_device} netns {left} type veth peer name {right_device} netns {right}"));
    for (namespace, device, address) in
        [(left, left_device, left_address), (right, right_device, right_address)]
    {
        ip(&format!("-n {namespace} addr add {address} dev {device}"));
        ip(&format!("-n {namespace} link set {device} up"));
    }
}

fn ip(arguments: &str) {
    let status =
        Command::new("ip").args(arguments.split(' ')).status().expect("the command `ip` of iproute2");
    assert!(status.success(), "ip {arguments}: it needs root");
}

/// A command inside a namespace.
pub(crate) fn command_in(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

/// Does something in a namespace: sockets made there stay there.
pub(crate) fn inside<R: Send + 'static>(namespace: &str, act: impl FnOnce() -> R + Send + 'static) -> R {
    let place = File::open(format!("/run/netns/{namespace}")).expect("a namespace");
    let thread: JoinHandle<R> = thread::spawn(move || {
        setns(place, CloneFlags::CLONE_NEWNET).expect("entering a namespace, which needs root");
        act()
    });
    thread.join().expect("a thread that does not panic")
}
