//! Why connection IDs cannot be made as asked.

use core::fmt;

use crate::hkdf::DeriveError;

/// A generator of connection IDs cannot be made; the text says what would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CidError {
    /// The IDs are too short for the generator, or longer than QUIC v1 allows.
    Length {
        /// Bytes that were asked for.
        len: u8,
        /// The fewest that do.
        min: u8,
    },
    /// The number of a QUIC-LB configuration does not fit.
    ConfigId(u8),
    /// The server ID of a QUIC-LB configuration has no byte, or leaves none for the nonce.
    ServerIdLength(u8),
    /// The nonce of a QUIC-LB configuration is too short, or leaves no byte for the server ID.
    NonceLength(u8),
    /// Server ID and nonce of a QUIC-LB configuration are longer than a connection ID, together.
    TooLong {
        /// Bytes of the server ID.
        server_id: u8,
        /// Bytes of the nonce.
        nonce: u8,
    },
    /// A server ID has not as many bytes as the QUIC-LB configuration says.
    ServerId {
        /// Its bytes.
        len: usize,
        /// Those of the configuration.
        configured: u8,
    },
    /// The provider cannot derive a key.
    Underivable,
}

impl fmt::Display for CidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { len, min } => {
                write!(f, "connection IDs of {len} bytes: choose {min} to 20")
            }
            Self::ConfigId(id) => {
                write!(f, "QUIC-LB configuration {id}: choose 0 to 6 (7 stands for none)")
            }
            Self::ServerIdLength(len) => write!(f, "QUIC-LB server IDs of {len} bytes: choose 1 to 15"),
            Self::NonceLength(len) => write!(f, "a QUIC-LB nonce of {len} bytes: choose 4 to 18"),
            Self::TooLong { server_id, nonce } => write!(
                f,
                "QUIC-LB server IDs of {server_id} bytes and a nonce of {nonce}: shorten either, 19 is the most for both"
            ),
            Self::ServerId { len, configured } => write!(
                f,
                "a server ID of {len} bytes: the QUIC-LB configuration wants {configured}, leading zeros included"
            ),
            Self::Underivable => f.write_str("no key for connection IDs: the provider must have SHA-256"),
        }
    }
}

impl core::error::Error for CidError {}

impl From<DeriveError> for CidError {
    fn from(_: DeriveError) -> Self {
        Self::Underivable
    }
}
