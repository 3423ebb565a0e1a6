//! Cuts the CRYPTO bytes of a level into handshake messages (RFC 9846 4, RFC 9001 4.1.3).
//!
//! A message that comes whole is used where it lies. One that comes in pieces is put together at the very end of the
//! memory lent for the handshake, so that its handling can fill that memory from the front.

use crate::tls::fault::{Cause, Fault};

use super::msg::HEADER_LEN;

/// A message too long for the memory lent.
pub(crate) const TOO_LONG: Fault = Fault(&(Cause::NoMemory, "handshake memory too small for a message"));

/// How far the current message has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reader {
    /// Nothing of the next message yet, or not all of its header.
    Header { bytes: [u8; HEADER_LEN], have: usize },
    /// `have` of `len` bytes, header included, stand at the end of the memory.
    Body { have: usize, len: usize },
}

/// A whole message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whole<'b> {
    /// It lies in the bytes given.
    Given(&'b [u8]),
    /// These many bytes at the end of the memory.
    Kept(usize),
}

impl Reader {
    pub(crate) const fn new() -> Self {
        Self::Header { bytes: [0; HEADER_LEN], have: 0 }
    }

    /// Takes bytes off the front of `input` up to the end of a message; `None` if it has not ended yet. `free` is the
    /// part of the memory that nobody uses.
    pub(crate) fn next<'b>(
        &mut self,
        input: &mut &'b [u8],
        free: &mut [u8],
    ) -> Result<Option<Whole<'b>>, Fault> {
        if let Self::Header { bytes, have } = self {
            if *have == 0
                && let Some((header, _)) = input.split_first_chunk()
                && let Some((message, rest)) = input.split_at_checked(message_len(header))
            {
                *input = rest;
                return Ok(Some(Whole::Given(message)));
            }
            let missing = bytes.get_mut(*have..).unwrap_or_default();
            let taken = fill(missing, input);
            *have = have.saturating_add(taken);
            if *have < HEADER_LEN {
                return Ok(None);
            }
            let (header, len) = (*bytes, message_len(bytes));
            let place = tail(free, len)?;
            place.first_chunk_mut().map(|start| *start = header).ok_or(TOO_LONG)?;
            *self = Self::Body { have: HEADER_LEN, len };
        }
        let Self::Body { have, len } = self else { return Ok(None) };
        let missing = tail(free, *len)?.get_mut(*have..).unwrap_or_default();
        let taken = fill(missing, input);
        *have = have.saturating_add(taken);
        if have < len {
            return Ok(None);
        }
        let whole = Whole::Kept(*len);
        *self = Self::new();
        Ok(Some(whole))
    }
}

/// Length of the message with this header, header included.
fn message_len(&[_, a, b, c]: &[u8; HEADER_LEN]) -> usize {
    (u32::from_be_bytes([0, a, b, c]) as usize).saturating_add(HEADER_LEN)
}

/// The last `len` bytes of `free`.
fn tail(free: &mut [u8], len: usize) -> Result<&mut [u8], Fault> {
    let start = free.len().checked_sub(len).ok_or(TOO_LONG)?;
    free.get_mut(start..).ok_or(TOO_LONG)
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
        let mut reader = Reader::new();
        let mut messages = Vec::new();
        for mut piece in stream.chunks(step) {
            while let Some(whole) = reader.next(&mut piece, &mut memory)? {
                messages.push(match whole {
                    Whole::Given(bytes) => bytes.to_vec(),
                    Whole::Kept(len) => memory[room - len..].to_vec(),
                });
            }
            assert!(piece.is_empty());
        }
        assert_eq!(reader, Reader::new());
        Ok(messages)
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
        assert!(cut(STREAM, STREAM.len(), 0).is_ok(), "whole messages need no memory");
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
