//! quinn, and what differs from others like it.

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
