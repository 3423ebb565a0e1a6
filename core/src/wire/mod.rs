//! Bytes on the wire and back, with no state: parse beside emit, one file per family.
//!
//! Nothing here panics on any input. What is parsed borrows from the datagram, or, where the datagram is decrypted in
//! place afterwards, names ranges of it; what is emitted is written whole or not at all.

pub mod cid;
pub mod cursor;
pub mod dialect;
pub mod frame;
pub mod header;
pub mod packet_number;
pub mod packet_writer;
pub mod params;
pub mod reset;
pub mod retry;
pub mod version;

pub use cid::Cid;
pub use cursor::{Malformed, NoSpace, Reader, Writer};
pub use dialect::Dialect;
pub use packet_writer::PacketWriter;
