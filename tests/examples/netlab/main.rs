//! A client that loses its network in the middle of a download, over real sockets and the system's own routing: two links
//! between network namespaces, Wi-Fi (20 Mbit/s, 15 ms each way) and cellular (10 Mbit/s, 40 ms each way).
//!
//! `tests/netlab.sh` builds and runs it (Linux, root). For each way to lose a network: medians of the longest silence at the
//! client and of the time of the whole download, and a picture of an unwarned loss.

#![cfg_attr(target_os = "linux", expect(clippy::disallowed_methods, reason = "a lab measures wall time"))]

#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod trial;

#[cfg(target_os = "linux")]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, peregrine, runs, picture] = &arguments[..] else {
        eprintln!("netlab PEREGRINE RUNS PICTURE");
        std::process::exit(2);
    };
    let runs = runs.parse().expect("a number of runs");
    trial::all(peregrine, runs, picture);
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("netlab: SKIPPED, there are no network namespaces here");
}
