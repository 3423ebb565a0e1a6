//! A client that loses its network in the middle of a download, over real sockets and the system's own routing: two links
//! between network namespaces, Wi-Fi (20 Mbit/s, 15 ms each way) and cellular (10 Mbit/s, 40 ms each way).
//!
//! `tests/netlab.sh` builds and runs it (Linux, root). For each way to lose a network: medians of the longest silence at the
//! client and of the time of the whole download, and a picture of an unwarned loss. `tests/netlab.sh multipath` uses several
//! links at once, `tests/netlab.sh outage` lets all of them fall silent for a while.

#![cfg_attr(target_os = "linux", expect(clippy::disallowed_methods, reason = "a lab measures wall time"))]

#[cfg(target_os = "linux")]
mod bond;
#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod noq;
#[cfg(target_os = "linux")]
mod trial;

#[cfg(target_os = "linux")]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let runs = |text: &str| text.parse().expect("a number of runs");
    match words[..] {
        ["migration", peregrine, count, picture] => trial::all(peregrine, runs(count), picture),
        ["multipath", peregrine, count] => bond::all(peregrine, runs(count)),
        ["outage", peregrine, count] => bond::outages(peregrine, runs(count)),
        ["noq-serve", folder, at] => noq::serve(folder, at),
        ["noq-get", folder, server, len, ref others @ ..] => noq::get(folder, server, len, others),
        _ => {
            eprintln!("netlab migration PEREGRINE RUNS PICTURE\nnetlab multipath|outage PEREGRINE RUNS");
            std::process::exit(2);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("netlab: SKIPPED, there are no network namespaces here");
}
