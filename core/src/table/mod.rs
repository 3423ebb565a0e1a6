//! Fixed-capacity containers with no QUIC word inside.

pub mod heap;
pub mod map;
pub mod queue;
