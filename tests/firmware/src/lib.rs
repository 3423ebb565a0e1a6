//! What the measured firmwares share. `run.sh` builds and measures them.
//!
//! | program | what it is |
//! | --- | --- |
//! | `empty` | the board, the network and nothing else: what is subtracted from the others |
//! | `null` | core as a client with migration, over a session without cryptography |
//! | `psk` | a whole client: a pre-shared key with X25519, ChaCha20-Poly1305, no certificates |
//! | `ed25519`, `p256` | a whole client that pins the server's key |
//! | `sizes` | not run: its symbols are as long as the types they are named after |
//! | `exchange` | client and server in one memory: stack and instructions, under QEMU |
//! | `soak` | an hour of small exchanges through a NAT that rebinds: nothing may grow, under QEMU |
//!
//! `exchange` and `soak` take the feature `server`; the clients are measured without.
//!
//! With the feature `multipath` `null` is core as a client that uses two networks at once, and `exchange` sends over two paths.
#![no_std]

pub mod board;
pub mod client;
pub mod null;
#[cfg(feature = "server")]
pub mod pair;

/// Paths that connections have memory for.
pub const PATHS: usize = if cfg!(feature = "multipath") { 2 } else { 1 };
/// Bytes lent to TLS for a handshake without certificates.
pub const SCRATCH: usize = 1024;
