//! noq, and what differs from others like it.

use std::net::SocketAddr;

pub(crate) use noq::*;

use super::peers::LOOPBACK;

/// Where its client goes, one after the other: always another port. A packet that comes late to the socket before makes
/// noq 1.4 send from that socket's address with the port of the new one.
pub(crate) const PLACES: [SocketAddr; 3] = [LOOPBACK; 3];

/// Where a connection's peer is.
pub(crate) fn remote(connection: &Connection) -> SocketAddr {
    connection.path(PathId::ZERO).unwrap().remote_address().unwrap()
}

/// What it may offer besides QUIC itself.
pub(crate) fn offers() -> Vec<TransportConfig> {
    let mut multipath = TransportConfig::default();
    multipath.max_concurrent_multipath_paths(4);
    vec![TransportConfig::default(), multipath]
}

/// Lets an endpoint issue connection IDs of this kind.
pub(crate) fn issue(
    config: &mut EndpointConfig,
    new: impl Fn() -> Box<dyn ConnectionIdGenerator> + Send + Sync + 'static,
) {
    config.cid_generator(std::sync::Arc::new(new));
}
