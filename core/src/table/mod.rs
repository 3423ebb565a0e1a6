//! Fixed-capacity containers with no QUIC word inside.

pub mod chunk;
pub mod ranges;

#[cfg(test)]
pub(crate) mod dice;
