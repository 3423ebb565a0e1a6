//! Fixed-capacity containers with no QUIC word inside but in [`chunk`].

pub mod chunk;
pub mod halves;
pub mod heap;
pub mod index;
pub mod list;
pub mod map;
mod marks;
pub mod queue;
pub mod ranges;
pub mod reassembly;
pub mod ring;

#[cfg(test)]
pub(crate) mod random;
