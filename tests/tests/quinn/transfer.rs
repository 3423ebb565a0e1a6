//! Bytes in both directions, from both roles.

use crate::app::{Line, get, parallel, put, serve};
use crate::ours::Tls;
use crate::pki::Authority;
use crate::theirs::{self, Theirs};
use crate::{NAME, bounded, ours};

/// A connection with quinn as the server, and one with quinn as the client, each in use by `client`.
fn both_ways(tls: Tls, client: impl Client + Send + 'static) {
    bounded(move || {
        let authority = Authority::new("ours");
        {
            let server = Theirs::server(theirs::server_config(&authority));
            let here = tls.client(ours::client_tls(&authority));
            let line = here.connect(server.address(), NAME).unwrap();
            let serving = serve(server.accept().unwrap());
            client.run(&line);
            line.close(0, "");
            serving.join().unwrap();
        }
        {
            let server = tls.server(ours::server_tls(&authority));
            let there = Theirs::client(theirs::client_config(&authority));
            let line = there.connect(server.local_addrs()[0]).unwrap();
            let serving = serve(ours::accept(&server));
            client.run(&line);
            Line::close(&line, 0, "");
            serving.join().unwrap();
        }
    });
}

/// What a client does with a connection of either stack.
trait Client {
    fn run(&self, line: &impl Line);
}

/// One stream after the other, down and up.
struct Sizes(&'static [u64]);

impl Client for Sizes {
    fn run(&self, line: &impl Line) {
        for &len in self.0 {
            get(line, len);
            put(line, len);
        }
    }
}

/// So many streams at once.
struct Parallel(usize, u64);

impl Client for Parallel {
    fn run(&self, line: &impl Line) {
        parallel(line, self.0, self.1);
    }
}

#[test]
fn small_sizes() {
    both_ways(Tls::Ours, Sizes(&[0, 1, 10_000, 1 << 20]));
}

#[test]
fn a_hundred_mebibytes() {
    both_ways(Tls::Ours, Sizes(&[100 << 20]));
}

#[test]
fn a_hundred_streams_at_once() {
    both_ways(Tls::Ours, Parallel(100, 100_000));
}

#[test]
fn more_streams_than_may_be_open_at_once() {
    both_ways(Tls::Ours, Parallel(300, 1));
}

#[test]
fn small_sizes_over_rustls() {
    both_ways(Tls::Rustls, Sizes(&[0, 1, 10_000, 10 << 20]));
}

#[test]
fn a_hundred_streams_at_once_over_rustls() {
    both_ways(Tls::Rustls, Parallel(100, 100_000));
}
