//! Collects the frames of one packet and notes, from the frame table, what they make of it.

use core::ops::RangeInclusive;

use crate::ids::{PathId, StreamId};
use crate::wire::cursor::varint_len;
use crate::wire::frame::{self, EcnCounts, Frame, Kind, Kinds};
use crate::wire::{Dialect, NoSpace, Writer};

/// The payload of a packet being built. What the frames mean for acknowledgment, congestion control and probing is
/// read from the table, so that no contributor can forget it.
#[derive(Debug)]
pub struct PacketWriter<'a> {
    out: Writer<'a>,
    kinds: Kinds,
    ack_eliciting: bool,
    in_flight: bool,
    probing: bool,
}

impl<'a> PacketWriter<'a> {
    /// A writer of a payload that may fill all of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self {
            out: Writer::new(out),
            kinds: Kinds::NONE,
            ack_eliciting: false,
            in_flight: false,
            probing: true,
        }
    }

    /// Bytes that still fit.
    pub const fn room(&self) -> usize {
        self.out.room()
    }

    /// Bytes of frames so far.
    pub const fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there is no frame yet.
    pub const fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The kinds of frames so far.
    pub const fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Whether the peer must acknowledge the packet (RFC 9002 2).
    pub const fn is_ack_eliciting(&self) -> bool {
        self.ack_eliciting
    }

    /// Whether the packet counts toward bytes in flight (RFC 9002 2).
    pub const fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Whether it holds only probing frames (RFC 9000 9.1).
    pub const fn is_probing(&self) -> bool {
        self.probing
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit; the packet stays as it was. The same holds for every method below.
    pub fn push(&mut self, frame: &Frame<'_>) -> Result<(), NoSpace> {
        frame.emit(&mut self.out)?;
        self.note(frame.kind());
        Ok(())
    }

    /// Writes an ACK frame, or a PATH_ACK where a path ID is named, of as many ranges as fit; see [`frame::ack::emit`].
    ///
    /// # Errors
    /// [`NoSpace`] if not even the first range fits.
    pub fn ack(
        &mut self,
        path: Option<(Dialect, PathId)>,
        delay: u64,
        ecn: Option<EcnCounts>,
        ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
    ) -> Result<(), NoSpace> {
        frame::ack::emit(path, delay, ecn, ranges, &mut self.out)?;
        self.note(if path.is_some() { Kind::PathAck } else { Kind::Ack });
        Ok(())
    }

    /// Writes a STREAM frame of as many of `len` bytes as fit and lends the place where they go. `fin` holds for the
    /// last of the `len` bytes and is set only if that one fits.
    ///
    /// # Errors
    /// [`NoSpace`] if not one byte fits, or, with no bytes, the frame does not.
    pub fn stream(&mut self, id: StreamId, offset: u64, len: usize, fin: bool) -> Result<&mut [u8], NoSpace> {
        let offset_len = if offset == 0 { 0 } else { varint_len(offset) };
        let head = 1_usize.saturating_add(varint_len(id.0)).saturating_add(offset_len);
        let fits = self.body_room(head, len).filter(|fits| *fits > 0 || len == 0).ok_or(NoSpace)?;
        let fin = fin && fits == len;
        self.out.whole(|out| frame::stream::emit_header(id, offset, fits, fin, out))?;
        self.note(Kind::Stream);
        self.out.reserve(fits)
    }

    /// Writes a CRYPTO frame of as many of `len` bytes as fit and lends the place where they go.
    ///
    /// # Errors
    /// [`NoSpace`] if not one byte fits.
    pub fn crypto(&mut self, offset: u64, len: usize) -> Result<&mut [u8], NoSpace> {
        let head = 1_usize.saturating_add(varint_len(offset));
        let fits = self.body_room(head, len).filter(|fits| *fits > 0).ok_or(NoSpace)?;
        self.out.whole(|out| frame::crypto::emit_header(offset, fits, out))?;
        self.note(Kind::Crypto);
        self.out.reserve(fits)
    }

    /// Writes a DATAGRAM frame of `len` bytes, all of them, and lends the place where they go.
    ///
    /// # Errors
    /// [`NoSpace`] if they do not fit.
    pub fn datagram(&mut self, len: usize) -> Result<&mut [u8], NoSpace> {
        let needed = 1_usize.saturating_add(varint_len(len as u64)).saturating_add(len);
        if self.out.room() < needed {
            return Err(NoSpace);
        }
        frame::datagram::emit_header(len, &mut self.out)?;
        self.note(Kind::Datagram);
        self.out.reserve(len)
    }

    /// Pads with PADDING frames until the payload has `len` bytes, or as many as there is room for.
    pub fn pad_to(&mut self, len: usize) {
        let missing = len.saturating_sub(self.out.len()).min(self.out.room());
        if missing > 0 && self.out.reserve(missing).map(|pad| pad.fill(0)).is_ok() {
            self.note(Kind::Padding);
        }
    }

    /// How many of `len` bytes fit behind `head` bytes and a length field.
    fn body_room(&self, head: usize, len: usize) -> Option<usize> {
        let room = self.out.room().checked_sub(head)?;
        // What fits may need a shorter length field than `len`; the byte or two that this spares stay unused.
        Some(len.min(room.checked_sub(varint_len(len as u64))?))
    }

    fn note(&mut self, kind: Kind) {
        let rules = kind.rules();
        self.kinds = self.kinds.with(kind);
        self.ack_eliciting |= rules.ack_eliciting;
        self.in_flight |= rules.in_flight;
        self.probing &= rules.probing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Level;
    use crate::wire::frame::{Frames, Ping};

    #[test]
    fn notes_come_from_the_table() {
        let mut buffer = [0; 64];
        let mut packet = PacketWriter::new(&mut buffer);
        packet.ack(None, 0, None, [3..=7].into_iter()).unwrap();
        assert!(!packet.is_ack_eliciting() && !packet.is_in_flight() && !packet.is_probing());
        packet.pad_to(20);
        assert!(!packet.is_ack_eliciting() && packet.is_in_flight());
        packet.push(&Frame::Ping(Ping)).unwrap();
        assert!(packet.is_ack_eliciting() && packet.kinds().has(Kind::Ping) && packet.len() == 21);
    }

    #[test]
    fn stream_frame_takes_what_fits_and_keeps_fin_for_the_end() {
        for size in 0..90_usize {
            let mut buffer = [0; 90];
            let mut packet = PacketWriter::new(&mut buffer[..size]);
            let fits = packet.stream(StreamId(4), 70, 80, true).map(|body| body.len());
            let Ok(fits) = fits else {
                assert!(size < 7 && packet.is_empty());
                continue;
            };
            let len = packet.len();
            let frame = Frames::new(Level::OneRtt, &buffer[..len]).next().unwrap().unwrap();
            let Frame::Stream(stream) = frame else { panic!("not a stream frame") };
            assert_eq!((stream.data.len(), stream.fin), (fits, fits == 80));
            assert!(len == size || fits == 80 || len + 1 == size);
        }
    }
}
