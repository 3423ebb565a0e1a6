//! What tests with another stack on the other end have in common. The crate that uses it names that stack as its module
//! `stack`: one of the files here that are called like stacks.

pub(crate) mod app;
pub(crate) mod ours;
pub(crate) mod pki;
pub(crate) mod theirs;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// HTTP/0.9 over QUIC.
pub(crate) const ALPN: &[u8] = b"hq-interop";
/// The name in the server's certificate.
pub(crate) const NAME: &str = "server.test";
pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Another address of this host.
pub(crate) const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);

/// Runs a test on a thread of its own, for at most two minutes: what hangs, fails.
pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let running = thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    if finished.recv_timeout(Duration::from_secs(120)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the test hangs");
    }
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}
