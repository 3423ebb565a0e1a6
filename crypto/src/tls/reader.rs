//! Cuts the CRYPTO bytes of a level into handshake messages (RFC 9846 4, RFC 9001 4.1.3).
//!
//! What came and is not handled yet lies at the front of what is free of the memory lent for the handshake: a message that is
//! not whole, or, while TLS is parked, the message that it cannot handle yet and whatever came after it. To be handled it all
//! goes to the end of the memory, so that the handling can fill that from the front.

use core::cell::Cell;

use crate::tls::fault::{Cause, Fault};
use crate::tls::msg::HEADER_LEN;

/// A message too long for the memory lent.
pub(crate) const TOO_LONG: Fault = Fault(&(Cause::NoMemory, "handshake memory too small for a message"));

/// What came and is not handled yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unread {
    len: usize,
    pub(crate) parked: Parked,
}

/// Whether TLS rests, and why: nothing is handled then until it has been asked to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Parked {
    No,
    /// The work that there is was put off.
    Deferred,
    /// A step with a key has no answer yet.
    Pending,
}

impl Unread {
    pub(crate) const fn new() -> Self {
        Self { len: 0, parked: Parked::No }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps bytes off the front of `input`: no more than the first message is known to have, but all while TLS is parked.
    /// `free` is the part of the memory that nobody else uses.
    pub(crate) fn keep(&mut self, input: &mut &[u8], free: &mut [u8]) -> Result<(), Fault> {
        let end = match self.parked {
            Parked::No => self.due(free),
            Parked::Deferred | Parked::Pending => self.len.saturating_add(input.len()),
        };
        let place = free.get_mut(self.len..end).ok_or(TOO_LONG)?;
        self.len = self.len.saturating_add(fill(place, input));
        // Once there is a header it is known how much room the message takes.
        if self.due(free) <= free.len() { Ok(()) } else { Err(TOO_LONG) }
    }

    /// Length of the first message, if it is whole.
    pub(crate) fn first(&self, free: &[u8]) -> Option<usize> {
        let due = self.due(free);
        (self.len >= HEADER_LEN && self.len >= due).then_some(due)
    }

    /// Length of the first message as far as it is known: there is a header at least.
    fn due(&self, free: &[u8]) -> usize {
        free.first_chunk().filter(|_| self.len >= HEADER_LEN).map_or(HEADER_LEN, message_len)
    }

    /// Moves all of it from `used` to the end of the memory; returns where it begins there.
    pub(crate) fn make_way(&self, memory: &mut [u8], used: usize) -> usize {
        let start = memory.len().saturating_sub(self.len);
        shift(memory, used, start, self.len);
        start
    }

    /// Moves it back from `start`, after the first `done` bytes were handled.
    pub(crate) fn come_back(&mut self, memory: &mut [u8], start: usize, done: usize, used: usize) {
        self.len = self.len.saturating_sub(done);
        shift(memory, start.saturating_add(done), used, self.len);
    }
}

/// Moves `len` bytes within the memory, where both places may have bytes in common. (`copy_within` can panic.)
fn shift(memory: &mut [u8], from: usize, to: usize, len: usize) {
    let cells = Cell::from_mut(memory).as_slice_of_cells();
    let part = |start: usize| cells.get(start..).and_then(|part| part.get(..len)).unwrap_or_default();
    let pairs = part(to).iter().zip(part(from));
    if to > from {
        pairs.rev().for_each(|(to, from)| to.set(from.get()));
    } else {
        pairs.for_each(|(to, from)| to.set(from.get()));
    }
}

/// Length of the message with this header, header included.
fn message_len(&[_, a, b, c]: &[u8; HEADER_LEN]) -> usize {
    (u32::from_be_bytes([0, a, b, c]) as usize).saturating_add(HEADER_LEN)
}

/// Moves bytes from the front of `input` into `place`, as many as both have; returns how many.
fn fill(place: &mut [u8], input: &mut &[u8]) -> usize {
    let len = place.len().min(input.len());
    if let (Some(place), Some((taken, rest))) = (place.get_mut(..len), input.split_at_checked(len)) {
        place.copy_from_slice(taken);
        *input = rest;
    }
    len
}

/// Skips messages that are acknowledged and forgotten, whatever their length; reports the type of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Skipper {
    header: [u8; HEADER_LEN],
    have: usize,
    /// Bytes of the current message still to come once its header is complete.
    rest: usize,
}

impl Skipper {
    pub(crate) const fn new() -> Self {
        Self { header: [0; HEADER_LEN], have: 0, rest: 0 }
    }

    /// Takes bytes off the front of `input` up to the end of a header; returns the type that begins there.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Option<u8> {
        let skipped = self.rest.min(input.len());
        *input = input.get(skipped..).unwrap_or_default();
        self.rest = self.rest.saturating_sub(skipped);
        if self.rest > 0 {
            return None;
        }
        let missing = self.header.get_mut(self.have..).unwrap_or_default();
        self.have = self.have.saturating_add(fill(missing, input));
        if self.have < HEADER_LEN {
            return None;
        }
        self.have = 0;
        self.rest = message_len(&self.header).saturating_sub(HEADER_LEN);
        self.header.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// All messages of `stream`, given in pieces of `step` bytes, with `room` bytes of memory.
    fn cut(stream: &[u8], step: usize, room: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let mut memory = std::vec![0; room];
        let mut unread = Unread::new();
        let mut messages = Vec::new();
        for mut piece in stream.chunks(step) {
            while !piece.is_empty() {
                unread.keep(&mut piece, &mut memory)?;
                take_whole(&mut unread, &mut memory, &mut messages);
            }
        }
        assert!(unread.is_empty());
        Ok(messages)
    }

    fn take_whole(unread: &mut Unread, memory: &mut [u8], messages: &mut Vec<Vec<u8>>) {
        while let Some(len) = unread.first(memory) {
            let start = unread.make_way(memory, 0);
            messages.push(memory[start..][..len].to_vec());
            unread.come_back(memory, start, len, 0);
        }
    }

    const STREAM: &[u8] = &[1, 0, 0, 3, 7, 8, 9, 20, 0, 0, 0, 11, 0, 0, 1, 5];

    #[test]
    fn however_it_is_cut() {
        for step in 1..=STREAM.len() {
            let messages = cut(STREAM, step, 7).unwrap();
            assert_eq!(messages, [&STREAM[..7], &STREAM[7..11], &STREAM[11..]]);
        }
    }

    #[test]
    fn what_is_too_long_is_refused_at_its_header() {
        assert_eq!(cut(STREAM, 1, 6), Err(TOO_LONG));
        assert_eq!(cut(&[11, 0xff, 0xff, 0xff], 4, 16_000), Err(TOO_LONG));
        assert_eq!(cut(&[11], 1, 3), Err(TOO_LONG));
    }

    /// Everything is kept while TLS is parked, and found afterwards, wherever free memory begins by then.
    #[test]
    fn what_comes_meanwhile_is_kept() {
        for step in 1..=STREAM.len() {
            let mut memory = [0xee; 40];
            let mut unread = Unread { parked: Parked::Pending, ..Unread::new() };
            for mut piece in STREAM.chunks(step) {
                unread.keep(&mut piece, &mut memory[3..]).unwrap();
                assert!(piece.is_empty());
            }
            let start = unread.make_way(&mut memory, 3);
            memory[3..start].fill(0xdd);
            unread.come_back(&mut memory, start, 0, 9);
            unread.parked = Parked::No;
            let mut messages = Vec::new();
            take_whole(&mut unread, &mut memory[9..], &mut messages);
            assert_eq!(messages, [&STREAM[..7], &STREAM[7..11], &STREAM[11..]]);
        }
        let mut unread = Unread { parked: Parked::Pending, ..Unread::new() };
        assert_eq!(unread.keep(&mut &STREAM[..], &mut [0; 15]), Err(TOO_LONG));
    }

    #[test]
    fn skipping_needs_no_memory() {
        for step in 1..=STREAM.len() {
            let mut skipper = Skipper::new();
            let mut kinds = Vec::new();
            for mut piece in STREAM.chunks(step) {
                while let Some(kind) = skipper.next(&mut piece) {
                    kinds.push(kind);
                }
                assert!(piece.is_empty());
            }
            assert_eq!(kinds, [1, 20, 11], "in steps of {step}");
        }
    }
}
