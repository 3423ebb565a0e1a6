//! What we have to say, kept until the peer has it (RFC 9001 4.1.3): a list of segments, each either bytes in the
//! memory lent for the handshake or a certificate that stays where the application keeps it.

use core::ops::Range;

use heapless::Vec;
use peregrine_core::session::Level;

use super::codec::Encoder;
use crate::tls::fault::{Cause, Fault};
use crate::verify::MAX_CERTIFICATES;

/// Hellos and what lies between them, and in the other flight what stands around each certificate.
const MAX_SEGMENTS: usize = 2 * MAX_CERTIFICATES + 4;

#[derive(Clone, Debug)]
struct Segment<'a> {
    level: Level,
    bytes: Bytes<'a>,
}

#[derive(Clone, Debug)]
enum Bytes<'a> {
    Own(Stored),
    Lent(&'a [u8]),
}

impl Bytes<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Own(stored) => stored.len,
            Self::Lent(bytes) => bytes.len(),
        }
    }

    fn of<'m>(&'m self, memory: &'m [u8]) -> &'m [u8] {
        match self {
            Self::Own(stored) => stored.of(memory),
            Self::Lent(bytes) => bytes,
        }
    }
}

/// A place in the memory lent for the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stored {
    start: usize,
    len: usize,
}

impl Stored {
    /// The bytes there.
    pub(crate) fn of<'m>(&self, memory: &'m [u8]) -> &'m [u8] {
        memory.get(self.range()).unwrap_or_default()
    }

    /// The bytes there, to be changed.
    pub(crate) fn of_mut<'m>(&self, memory: &'m mut [u8]) -> &'m mut [u8] {
        memory.get_mut(self.range()).unwrap_or_default()
    }

    fn range(&self) -> Range<usize> {
        self.start..self.start.saturating_add(self.len)
    }
}

/// Our handshake bytes, and whatever else has to be kept for the handshake: the memory is filled from the front.
#[derive(Clone, Debug)]
pub(crate) struct Flight<'a> {
    segments: Vec<Segment<'a>, MAX_SEGMENTS>,
    used: usize,
}

impl<'a> Flight<'a> {
    pub(crate) const fn new() -> Self {
        Self { segments: Vec::new(), used: 0 }
    }

    /// How much of the memory is in use.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// The part of the memory that is not in use.
    pub(crate) fn free<'m>(&self, memory: &'m mut [u8]) -> &'m mut [u8] {
        memory.get_mut(self.used..).unwrap_or_default()
    }

    /// Keeps what `content` writes; it may read what was kept before.
    pub(crate) fn store(
        &mut self,
        memory: &mut [u8],
        content: impl FnOnce(&[u8], &mut Encoder<'_>),
    ) -> Result<Stored, Fault> {
        let (before, free) = memory.split_at_mut_checked(self.used).unwrap_or_default();
        let mut encoder = Encoder::new(free);
        content(before, &mut encoder);
        self.keep(encoder)
    }

    fn keep(&mut self, written: Encoder<'_>) -> Result<Stored, Fault> {
        let stored = Stored { start: self.used, len: written.finish()? };
        self.used = stored.range().end;
        Ok(stored)
    }

    /// Sends what was kept there.
    pub(crate) fn send(&mut self, level: Level, stored: Stored) -> Result<(), Fault> {
        if let Some(Segment { level: last, bytes: Bytes::Own(own) }) = self.segments.last_mut()
            && *last == level
            && own.range().end == stored.start
        {
            own.len = own.len.saturating_add(stored.len);
            return Ok(());
        }
        self.push(level, Bytes::Own(stored))
    }

    /// Sends bytes that stay where they are.
    pub(crate) fn send_lent(&mut self, level: Level, bytes: &'a [u8]) -> Result<(), Fault> {
        self.push(level, Bytes::Lent(bytes))
    }

    fn push(&mut self, level: Level, bytes: Bytes<'a>) -> Result<(), Fault> {
        let full = Fault(&(Cause::Impossible, "more segments than a flight has"));
        self.segments.push(Segment { level, bytes }).map_err(|_| full)
    }

    /// How many bytes there are on `level`.
    pub(crate) fn len(&self, level: Level) -> u64 {
        self.on(level).map(|bytes| bytes.len() as u64).sum()
    }

    /// Copies bytes of `level` from `offset` on; returns how many.
    pub(crate) fn copy(&self, memory: &[u8], level: Level, offset: u64, out: &mut [u8]) -> usize {
        let mut skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut copied = 0_usize;
        for bytes in self.on(level) {
            let wanted = bytes.of(memory).get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(bytes.len());
            let room = out.get_mut(copied..).unwrap_or_default();
            for (to, from) in room.iter_mut().zip(wanted) {
                *to = *from;
            }
            copied = copied.saturating_add(room.len().min(wanted.len()));
        }
        copied
    }

    fn on(&self, level: Level) -> impl Iterator<Item = &Bytes<'a>> {
        self.segments.iter().filter(move |segment| segment.level == level).map(|segment| &segment.bytes)
    }

    /// Forgets what was sent on `level`.
    pub(crate) fn discard(&mut self, level: Level) {
        self.segments.retain(|segment| segment.level != level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(flight: &mut Flight<'_>, memory: &mut [u8], level: Level, text: &[u8]) {
        let stored = flight.store(memory, |_, out| out.bytes(text)).unwrap();
        flight.send(level, stored).unwrap();
    }

    #[test]
    fn any_part_can_be_said_again() {
        let mut memory = [0; 32];
        let mut flight = Flight::new();
        say(&mut flight, &mut memory, Level::Initial, b"hello");
        let kept = flight.store(&mut memory, |_, out| out.bytes(b"kept")).unwrap();
        say(&mut flight, &mut memory, Level::Handshake, b"one");
        say(&mut flight, &mut memory, Level::Handshake, b"two");
        flight.send_lent(Level::Handshake, b"certificate").unwrap();
        say(&mut flight, &mut memory, Level::Handshake, b"end");
        assert_eq!(flight.segments.len(), 4, "what lies together is one segment");

        let all = b"onetwocertificateend";
        assert_eq!(flight.len(Level::Handshake), all.len() as u64);
        for from in 0..=all.len() + 1 {
            for len in 0..=all.len() {
                let mut out = std::vec![0; len];
                let copied = flight.copy(&memory, Level::Handshake, from as u64, &mut out);
                let wanted = all.get(from..).unwrap_or_default();
                assert_eq!(out[..copied], wanted[..len.min(wanted.len())]);
            }
        }
        assert_eq!(kept.of(&memory), b"kept");
        flight.discard(Level::Handshake);
        assert_eq!((flight.len(Level::Handshake), flight.len(Level::Initial)), (0, 5));
    }

    #[test]
    fn full_memory_is_an_error() {
        let mut flight = Flight::new();
        assert_eq!(flight.store(&mut [0; 3], |_, out| out.bytes(b"four")), Err(super::super::codec::NO_ROOM));
    }
}
