//! Fixed-capacity containers with no QUIC word inside but in [`chunk`].

pub mod chunk;
pub mod index;
pub mod list;
mod marks;
pub mod reassembly;
pub mod ring;

#[cfg(test)]
pub(crate) mod random;
