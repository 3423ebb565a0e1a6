//! Packet protection and TLS 1.3 for QUIC, without a heap.
//!
//! # On a microcontroller
//!
//! **What is linked** follows from the types: [`rustcrypto::LeanRustCrypto`] has ChaCha20-Poly1305, X25519, SHA-256, and AES-128-GCM
//! for Initial packets; [`tls::PskClientSession`] has no certificates, [`verify::only::Only`] one signature algorithm. ChaCha20 is
//! preferred wherever AES has no hardware that we know of, and our server follows a client that prefers it.
//!
//! **Keys** are expanded for each packet or once, see [`rustcrypto::Schedules`]. A peripheral for AES, for hashes or for public keys
//! takes the place of any part: see [`provider`], also for steps that take long.
//!
//! **Compact back ends** are a setting of the program, which no library can make for it. In its `.cargo/config.toml`:
//!
//! ```toml
//! [target.thumbv7em-none-eabihf]
//! rustflags = ['--cfg=aes_backend_soft="compact"', '--cfg=sha2_backend_soft="compact"']
//! ```
//!
//! On a Cortex-M4F at opt-level "s" the first saves 1.8 KB of flash for 3 % more instructions per AES packet, the second 6.5 KB for
//! 8 % more per handshake.
//!
//! **Precomputed tables** stay off: this crate turns on no feature that has them. Another crate of the program may do so for all,
//! with the default features of `x25519-dalek` or `ed25519-dalek` for example: `cargo tree -e features -i curve25519-dalek` tells
//! whether `precomputed-tables` is among them.
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
