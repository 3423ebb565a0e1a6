//! Bytes on the wire and back, with no state: parse beside emit, one file per family.
//!
//! Nothing here panics on any input. What is parsed borrows from the datagram; what is emitted is written whole or
//! not at all.

pub mod cursor;
pub mod frame;
pub mod packet_writer;

pub use cursor::{Malformed, NoSpace, Reader, Writer};
pub use packet_writer::PacketWriter;
