//! Peregrine QUIC on std sockets: the clock, the UDP sockets, the waiting, and what a host has beyond a
//! microcontroller (a faster AEAD, rustls, PEM files, the system's certificate store).

pub mod clock;
#[cfg(feature = "identity")]
pub mod identity;
pub mod pattern;
pub mod provider;
#[cfg(feature = "aws-lc-rs")]
pub mod provider_aws;
#[cfg(feature = "rustls")]
pub mod rustls_session;
pub mod session;
pub mod socket;
#[cfg(feature = "identity")]
pub mod tls;
pub mod wait;
