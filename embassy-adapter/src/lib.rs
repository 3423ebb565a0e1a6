#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[macro_use]
mod fmt;

mod connection;
mod endpoint;
mod engine;
pub mod entropy;
mod error;
mod lent;
mod moving;
mod network;
#[cfg(feature = "multipath")]
mod paths;
mod resources;
mod socket;
mod stream;
pub mod tls;
mod waiters;

pub use {peregrine_core, peregrine_crypto};

#[cfg(feature = "multipath")]
pub use peregrine_core::limits::MAX_PATHS;

pub use connection::Connection;
pub use endpoint::{Endpoint, EndpointUsage, Refusals};
pub use error::{End, Error};
pub use moving::MAX_ROUTES;
pub use network::NetworkId;
pub use resources::{ConstMemory, Resources, Storage};
pub use stream::{RecvStream, SendStream};
