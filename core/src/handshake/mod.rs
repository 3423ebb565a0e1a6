//! What goes with the TLS handshake, outside TLS: its bytes, the client's first exchange, the levels and their keys.

pub mod crypto_stream;
pub mod first_flight;
pub mod keys;
pub mod levels;

pub use crypto_stream::CryptoStreams;
pub use first_flight::{CidParams, FirstFlight};
pub use keys::{KeyUpdate, PathPhase};
pub use levels::Levels;
