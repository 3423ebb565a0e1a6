//! Peregrine QUIC on std sockets: the clock, the UDP sockets, the waiting, and what a host has beyond a
//! microcontroller (a faster AEAD, rustls, PEM files, the system's certificate store).

pub mod builder;
mod cids;
pub mod clock;
pub mod connection;
mod driver;
pub mod endpoint;
mod engine;
pub mod error;
pub mod event_loop;
#[cfg(feature = "identity")]
pub mod identity;
pub mod pattern;
pub mod provider;
#[cfg(feature = "aws-lc-rs")]
pub mod provider_aws;
#[cfg(feature = "qlog")]
pub mod qlog;
#[cfg(not(feature = "qlog"))]
#[path = "qlog/off.rs"]
mod qlog;
#[cfg(feature = "rustls")]
pub mod rustls_session;
pub mod seen;
pub mod session;
mod shared;
pub mod socket;
mod sockets;
pub mod storage;
pub mod stream;
#[cfg(feature = "identity")]
pub mod tls;
pub mod wait;
pub mod watch;

pub use builder::Builder;
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use engine::{OtherNetworks, SystemStats};
pub use error::{Closed, Error};
pub use event_loop::EventLoop;
#[cfg(feature = "qlog")]
pub use qlog::Qlog;
pub use seen::Seen;
pub use session::{Agreed, AnySession, HostSession};
pub use storage::Sizes;
pub use stream::{RecvStream, SendStream};
pub use watch::{NetworkEvents, Networks, Watcher};

/// The examples of the README compile.
#[cfg(all(doctest, feature = "identity"))]
#[doc = include_str!("../../README.md")]
struct Readme;
