//! What an application may choose about a connection, every default with its reason.

use core::net::{SocketAddrV4, SocketAddrV6};
use core::time::Duration;

use super::multipath::MultipathConfig;
use super::routes::{MigrationPolicy, NoSpareCid, WhenSuspect};
use crate::congestion::Algorithm;
use crate::limits;

/// The choices of an application. Sizes of tables and buffers are not here: they are those of the memory lent to
/// the connection.
#[derive(Clone, Debug)]
pub struct Config {
    /// Silence after which the connection is given up; zero is never. The peer may ask for less. Thirty seconds keeps
    /// a roaming device's connection over a short outage and frees a server's slot soon enough.
    pub max_idle_timeout: Duration,
    /// How long without a packet until a PING keeps the connection and the NAT bindings alive. Off by default: it
    /// costs a sleeping device energy.
    pub keep_alive: Option<Duration>,
    /// How long the handshake may take. A half-open connection holds a slot of a server.
    pub handshake_timeout: Duration,
    /// How long we may sit on an acknowledgment (RFC 9000 18.2).
    pub max_ack_delay: Duration,
    /// The largest UDP payload we can receive: the size of the adapter's buffers.
    pub max_udp_payload: u16,
    /// The largest UDP payload we try to send; the search begins at 1,200. 1,452 is what Ethernet carries over IPv6.
    pub max_mtu: u16,
    /// Bidirectional streams the peer may have open at once; as many rows are kept for them.
    pub peer_bidi_streams: u16,
    /// Unidirectional streams the peer may have open at once; as many rows are kept for them.
    pub peer_uni_streams: u16,
    /// Bytes that may lie unread on all streams together; `None` is the sum of all their windows.
    pub connection_window: Option<u64>,
    /// The congestion controller.
    pub congestion: Algorithm,
    /// Assumed round-trip time before the first sample.
    pub initial_rtt: Duration,
    /// Whether outgoing packets are marked ECT(0) while the path proves to carry the mark (RFC 9000 13.4).
    pub ecn: bool,
    /// Whether reserved values are sprinkled over versions, transport parameters and the fixed bit (RFC 9000 15, 18.1,
    /// RFC 9287), so that nobody in between comes to rely on their absence.
    pub grease: bool,
    /// Asks the peer not to migrate of its own will (RFC 9000 18.2). A NAT may still move it.
    pub disable_active_migration: bool,
    /// Which addresses the peer may move to. All, unless the application knows better.
    pub migration_policy: MigrationPolicy,
    /// Where a server wants its clients to move after the handshake, over IPv4 (RFC 9000 9.6). It must be reached there and
    /// where it is.
    pub preferred_v4: Option<SocketAddrV4>,
    /// As `preferred_v4`, over IPv6.
    pub preferred_v6: Option<SocketAddrV6>,
    /// Whether a client moves to where its server wants it.
    pub follow_preferred_address: bool,
    /// What a client does when nothing comes over the route in use.
    pub when_suspect: WhenSuspect,
    /// How long a client waits at most until it finds a silent route suspect; two probe timeouts if that is less. Of several paths
    /// each judges for itself, by [`MultipathConfig::failover`]: then half of it is how long it waits until it asks.
    pub suspect_after: Option<Duration>,
    /// Whether a client moves by itself to a validated route that has a higher
    /// [`Preference`](crate::path::Preference), or is much faster.
    pub choose_automatically: bool,
    /// Several paths at once, if the application wants them; see [`MultipathConfig::speaking`].
    pub multipath: Option<MultipathConfig>,
    /// What to do about a peer's new address when there is no unused connection ID for it.
    pub no_spare_cid: NoSpareCid,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_idle_timeout: Duration::from_secs(30),
            keep_alive: None,
            handshake_timeout: Duration::from_secs(10),
            max_ack_delay: limits::DEFAULT_MAX_ACK_DELAY.into(),
            max_udp_payload: 1472,
            max_mtu: 1452,
            peer_bidi_streams: 0,
            peer_uni_streams: 0,
            connection_window: None,
            congestion: Algorithm::default(),
            initial_rtt: limits::INITIAL_RTT.into(),
            ecn: true,
            grease: true,
            disable_active_migration: false,
            migration_policy: |_, _| true,
            preferred_v4: None,
            preferred_v6: None,
            follow_preferred_address: true,
            when_suspect: WhenSuspect::default(),
            suspect_after: None,
            choose_automatically: false,
            multipath: None,
            no_spare_cid: NoSpareCid::default(),
        }
    }
}
