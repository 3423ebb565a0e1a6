//! Peregrine with quinn on the other end, over loopback sockets: both directions of every test that has two.

mod bad_input;
mod handshake;
mod lifecycle;
#[path = "../peers/mod.rs"]
mod peers;
mod relay;
mod transfer;

use peers::{ALPN, LOOPBACK, NAME, app, bounded, ours, pki, theirs};

/// The other stack.
mod stack {
    use std::net::SocketAddr;

    pub(crate) use quinn::*;

    use super::peers::{ELSEWHERE, LOOPBACK};

    /// Where its client goes, one after the other.
    pub(crate) const PLACES: [SocketAddr; 3] = [LOOPBACK, ELSEWHERE, LOOPBACK];

    /// Where a connection's peer is.
    pub(crate) fn remote(connection: &Connection) -> SocketAddr {
        connection.remote_address()
    }

    /// What it may offer besides QUIC itself.
    pub(crate) fn offers() -> Vec<TransportConfig> {
        vec![TransportConfig::default()]
    }

    /// Lets an endpoint issue connection IDs of this kind.
    pub(crate) fn issue(
        config: &mut EndpointConfig,
        new: impl Fn() -> Box<dyn ConnectionIdGenerator> + Send + Sync + 'static,
    ) {
        config.cid_generator(new);
    }
}
