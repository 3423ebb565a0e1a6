//! Peregrine with quinn on the other end, over loopback sockets: both directions of every test that has two.

mod bad_input;
mod handshake;
mod lifecycle;
#[path = "../peers/migration.rs"]
mod migration;
#[path = "../peers/mod.rs"]
mod peers;
mod relay;
#[path = "../peers/quinn.rs"]
mod stack;
mod transfer;

use peers::{ALPN, LOOPBACK, NAME, app, bounded, ours, pki, theirs};
