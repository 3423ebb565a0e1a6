//! Packet protection and TLS 1.3 for QUIC, without a heap.
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

#[cfg(test)]
extern crate std;

pub mod cid;
mod der;
pub mod endpoint;
pub mod hkdf;
pub mod initial;
pub mod keys;
pub mod protect;
pub mod provider;
pub mod retry;
pub mod rustcrypto;
pub mod session_keys;
pub mod sign;
pub mod signature;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod verify;
