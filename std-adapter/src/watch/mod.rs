//! Following the networks of this host, so that connections learn at once of those that are gone and those that come.
//!
//! | File | |
//! |---|---|
//! | `networks` | a picture of the networks; the difference between two of them |
//! | `table` | what the system says, one thing after the other, becomes a picture |
//! | `netlink` | what Linux says |
//! | `watcher` | a thread that tells an endpoint |
//! | `nowhere` | the same for systems that nothing is heard of |
//!
//! Addresses are what counts, since sockets are bound to them. A link that goes down takes its addresses with it; one address of
//! each link that a connection has no route from is worth a try.

#[cfg(all(feature = "watch", target_os = "linux"))]
mod netlink;
mod networks;
#[cfg(not(all(feature = "watch", target_os = "linux")))]
mod nowhere;
#[cfg(all(feature = "watch", target_os = "linux"))]
mod table;
#[cfg(all(feature = "watch", target_os = "linux"))]
mod watcher;

#[cfg(all(feature = "watch", target_os = "linux"))]
pub use netlink::NetworkEvents;
pub use networks::{Networks, Place, Rank};
#[cfg(not(all(feature = "watch", target_os = "linux")))]
pub use nowhere::{NetworkEvents, Watcher};
#[cfg(all(feature = "watch", target_os = "linux"))]
pub use watcher::Watcher;
