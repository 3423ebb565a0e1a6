//! The presentation language of TLS (RFC 9846 3): vectors whose length stands before them.

use crate::tls::fault::{Cause, Fault};
use peregrine_core::wire::{Malformed, Reader};

/// Reads a TLS structure; anything cut off is a [`Fault`] that says what was being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'a> {
    reader: Reader<'a>,
    malformed: Fault,
}

impl<'a> Decoder<'a> {
    pub(crate) const fn new(bytes: &'a [u8], malformed: Fault) -> Self {
        Self { reader: Reader::new(bytes), malformed }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.reader.remaining()
    }

    /// The decode_error of the structure being read.
    pub(crate) const fn error(&self) -> Fault {
        self.malformed
    }

    fn checked<T>(&self, value: Result<T, Malformed>) -> Result<T, Fault> {
        value.map_err(|Malformed| self.error())
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        let value = self.reader.u8();
        self.checked(value)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        let value = self.reader.u16();
        self.checked(value)
    }

    pub(crate) fn u24(&mut self) -> Result<usize, Fault> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]) as usize)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let value = self.reader.array();
        self.checked(value)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let value = self.reader.bytes(len);
        self.checked(value)
    }

    /// `opaque<0..2^8-1>`.
    pub(crate) fn vec8(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.u8()?;
        self.bytes(usize::from(len))
    }

    /// `opaque<0..2^16-1>`.
    pub(crate) fn vec16(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// `opaque<0..2^24-1>`.
    pub(crate) fn vec24(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.u24()?;
        self.bytes(len)
    }

    /// The rest of the same structure as a reader of its own.
    pub(crate) const fn within(&self, bytes: &'a [u8]) -> Self {
        Self::new(bytes, self.malformed)
    }

    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        self.reader.take_rest()
    }

    /// A vector must not be empty where the RFC says `<1..`.
    pub(crate) fn not_empty(&self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        if bytes.is_empty() { Err(self.error()) } else { Ok(bytes) }
    }

    /// A vector of two-byte values, not empty.
    pub(crate) fn u16s(&self, bytes: &'a [u8]) -> Result<U16s<'a>, Fault> {
        let (pairs, odd) = bytes.as_chunks::<2>();
        if pairs.is_empty() || !odd.is_empty() { Err(self.error()) } else { Ok(U16s(pairs)) }
    }

    /// Nothing may be left over.
    pub(crate) const fn end(&self) -> Result<(), Fault> {
        if self.is_empty() { Ok(()) } else { Err(self.error()) }
    }
}

/// A list of two-byte values as it stands in a message: suites, groups, schemes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct U16s<'a>(&'a [[u8; 2]]);

impl U16s<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied().map(u16::from_be_bytes)
    }

    pub(crate) fn contains(&self, value: u16) -> bool {
        self.0.contains(&value.to_be_bytes())
    }
}

/// Writes TLS structures to the front of a slice. What has no room is noted, and told by [`Self::finish`]: who writes need
/// not ask each time.
#[derive(Debug)]
pub(crate) struct Encoder<'a> {
    out: &'a mut [u8],
    /// Bytes written; more than there is room for if something had none.
    len: usize,
}

/// Our own messages do not fit into the memory lent for the handshake.
pub(crate) const NO_ROOM: Fault = Fault(&(Cause::InternalError, "handshake memory too small to answer"));

impl<'a> Encoder<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// How much was written.
    pub(crate) const fn finish(self) -> Result<usize, Fault> {
        if self.len <= self.out.len() { Ok(self.len) } else { Err(NO_ROOM) }
    }

    // A call of its own here and below: messages are made of little else.
    #[inline(never)]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if let Some(place) = self.out.get_mut(self.len..).and_then(|free| free.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
        }
        self.len = self.len.saturating_add(bytes.len());
    }

    /// The last `size` bytes of a number.
    #[inline(never)]
    fn number(&mut self, value: usize, size: usize) {
        let bytes = (value as u32).to_be_bytes();
        self.bytes(bytes.get(bytes.len().saturating_sub(size)..).unwrap_or_default());
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.number(value.into(), 1);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.number(value.into(), 2);
    }

    pub(crate) fn u16s(&mut self, values: impl IntoIterator<Item = u16>) {
        values.into_iter().for_each(|value| self.u16(value));
    }

    /// A length of three bytes whose content follows elsewhere.
    pub(crate) fn u24(&mut self, value: usize) {
        self.number(value, 3);
        self.limit(value, 3);
    }

    pub(crate) fn vec8(&mut self, content: impl Content) {
        self.prefixed(1, content);
    }

    pub(crate) fn vec16(&mut self, content: impl Content) {
        self.prefixed(2, content);
    }

    pub(crate) fn vec24(&mut self, content: impl Content) {
        self.prefixed(3, content);
    }

    /// Writes `content` behind its length in `size` bytes.
    fn prefixed(&mut self, size: usize, content: impl Content) {
        let start = self.len;
        self.number(0, size);
        content.write(self);
        self.fill_in(start, size);
    }

    /// Writes how much follows the `size` bytes at `start`.
    #[inline(never)]
    fn fill_in(&mut self, start: usize, size: usize) {
        let end = self.len;
        let len = end.saturating_sub(start).saturating_sub(size);
        self.len = start;
        self.number(len, size);
        self.len = end;
        self.limit(len, size);
    }

    /// A length that `size` bytes cannot hold is as bad as no room.
    fn limit(&mut self, len: usize, size: usize) {
        if len.checked_shr(8_u32.saturating_mul(size as u32)).is_some_and(|high| high > 0) {
            self.len = usize::MAX;
        }
    }
}

/// What a vector holds: bytes, or whatever a closure writes.
pub(crate) trait Content {
    fn write(self, out: &mut Encoder<'_>);
}

impl Content for &[u8] {
    fn write(self, out: &mut Encoder<'_>) {
        out.bytes(self);
    }
}

impl<F: FnOnce(&mut Encoder<'_>)> Content for F {
    fn write(self, out: &mut Encoder<'_>) {
        self(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT_OFF: Fault = Fault(&(Cause::DecodeError, "test"));

    #[test]
    fn lengths_are_filled_in_afterwards() {
        let mut out = [0; 16];
        let mut encoder = Encoder::new(&mut out);
        encoder.vec24(|e: &mut Encoder<'_>| e.vec16(|e: &mut Encoder<'_>| e.vec8(&b"ab"[..])));
        assert_eq!(encoder.finish(), Ok(8));
        assert_eq!(out[..8], [0, 0, 5, 0, 3, 2, b'a', b'b']);
        let mut decoder = Decoder::new(&out[..8], CUT_OFF);
        let inner = decoder.vec24().unwrap();
        decoder.end().unwrap();
        let mut decoder = decoder.within(inner);
        let inner = decoder.vec16().unwrap();
        assert_eq!(decoder.within(inner).vec8(), Ok(&b"ab"[..]));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let written = |room, write: &dyn Fn(&mut Encoder<'_>)| {
            let mut out = std::vec![0; room];
            let mut encoder = Encoder::new(&mut out);
            write(&mut encoder);
            encoder.u8(7);
            encoder.finish()
        };
        assert_eq!(written(4, &|out| out.vec16(&b"ab"[..])), Err(NO_ROOM));
        assert_eq!(written(5, &|out| out.vec16(&b"ab"[..])), Ok(5));
        assert_eq!(written(300, &|out| out.vec8(&[0; 256][..])), Err(NO_ROOM));
        assert_eq!(written(300, &|out| out.vec8(&[0; 255][..])), Ok(257));
        assert_eq!(written(300, &|out| out.u24(1 << 24)), Err(NO_ROOM));
        assert_eq!(written(300, &|out| out.u24(usize::MAX)), Err(NO_ROOM));
    }

    #[test]
    fn what_is_cut_off_names_the_structure() {
        let decoder = |bytes| Decoder::new(bytes, CUT_OFF);
        assert_eq!(decoder(&[2, 0][..]).vec8(), Err(CUT_OFF));
        assert_eq!(decoder(&[0, 0, 1]).vec24(), Err(CUT_OFF));
        assert_eq!(decoder(&[]).u16s(&[]).err(), Some(CUT_OFF));
        assert_eq!(decoder(&[]).u16s(&[1, 2, 3]).err(), Some(CUT_OFF));
        assert_eq!(decoder(&[0]).end(), Err(CUT_OFF));
    }
}
