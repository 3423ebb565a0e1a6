//! Peregrine with quinn on the other end, over loopback sockets: both directions of every test that has two.

mod app;
mod bad_input;
mod handshake;
mod lifecycle;
mod migration;
mod ours;
mod pki;
mod relay;
mod theirs;
mod transfer;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// HTTP/0.9 over QUIC.
const ALPN: &[u8] = b"hq-interop";
/// The name in the server's certificate.
const NAME: &str = "server.test";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs a test on a thread of its own, for at most two minutes: what hangs, fails.
fn bounded(test: impl FnOnce() + Send + 'static) {
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
