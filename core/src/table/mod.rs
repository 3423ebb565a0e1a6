//! Fixed-capacity containers with no QUIC word inside but in [`chunk`].

pub mod chunk;
pub mod list;
pub mod ranges;

#[cfg(test)]
pub(crate) mod random;
