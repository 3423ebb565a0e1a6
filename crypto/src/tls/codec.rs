//! The presentation language of TLS (RFC 9846 3): vectors whose length stands before them.

use peregrine_core::error::TransportError;
use peregrine_core::wire::{Malformed, Reader};

use super::alert::Alert;

/// Reads a TLS structure; anything cut off is a decode_error that says what was being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'a> {
    reader: Reader<'a>,
    reason: &'static str,
}

impl<'a> Decoder<'a> {
    pub(crate) const fn new(bytes: &'a [u8], reason: &'static str) -> Self {
        Self { reader: Reader::new(bytes), reason }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.reader.remaining()
    }

    /// The decode_error of the structure being read.
    pub(crate) const fn error(&self) -> TransportError {
        Alert::DecodeError.because(self.reason)
    }

    fn checked<T>(&self, value: Result<T, Malformed>) -> Result<T, TransportError> {
        value.map_err(|Malformed| self.error())
    }

    pub(crate) fn u8(&mut self) -> Result<u8, TransportError> {
        let value = self.reader.u8();
        self.checked(value)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, TransportError> {
        let value = self.reader.u16();
        self.checked(value)
    }

    pub(crate) fn u24(&mut self) -> Result<usize, TransportError> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]) as usize)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], TransportError> {
        let value = self.reader.array();
        self.checked(value)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], TransportError> {
        let value = self.reader.bytes(len);
        self.checked(value)
    }

    /// `opaque<0..2^8-1>`.
    pub(crate) fn vec8(&mut self) -> Result<&'a [u8], TransportError> {
        let len = self.u8()?;
        self.bytes(usize::from(len))
    }

    /// `opaque<0..2^16-1>`.
    pub(crate) fn vec16(&mut self) -> Result<&'a [u8], TransportError> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// `opaque<0..2^24-1>`.
    pub(crate) fn vec24(&mut self) -> Result<&'a [u8], TransportError> {
        let len = self.u24()?;
        self.bytes(len)
    }

    /// The rest of the same structure as a reader of its own.
    pub(crate) const fn within(&self, bytes: &'a [u8]) -> Self {
        Self::new(bytes, self.reason)
    }

    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        self.reader.take_rest()
    }

    /// A vector must not be empty where the RFC says `<1..`.
    pub(crate) fn not_empty(&self, bytes: &'a [u8]) -> Result<&'a [u8], TransportError> {
        if bytes.is_empty() { Err(self.error()) } else { Ok(bytes) }
    }

    /// A vector of two-byte values, not empty.
    pub(crate) fn u16s(&self, bytes: &'a [u8]) -> Result<U16s<'a>, TransportError> {
        let (pairs, odd) = bytes.as_chunks::<2>();
        if pairs.is_empty() || !odd.is_empty() { Err(self.error()) } else { Ok(U16s(pairs)) }
    }

    /// Nothing may be left over.
    pub(crate) const fn end(&self) -> Result<(), TransportError> {
        if self.is_empty() { Ok(()) } else { Err(self.error()) }
    }
}

/// A list of two-byte values as it stands in a message: suites, groups, schemes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct U16s<'a>(&'a [[u8; 2]]);

impl U16s<'_> {
    pub(crate) fn contains(&self, value: u16) -> bool {
        self.0.contains(&value.to_be_bytes())
    }
}

/// Writes TLS structures to the front of a slice.
#[derive(Debug)]
pub(crate) struct Encoder<'a> {
    out: &'a mut [u8],
    len: usize,
}

/// Our own messages do not fit into the memory lent for the handshake.
pub(crate) const NO_ROOM: TransportError =
    Alert::InternalError.because("handshake memory too small to answer");

impl<'a> Encoder<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let end = self.len.checked_add(bytes.len()).ok_or(NO_ROOM)?;
        self.out.get_mut(self.len..end).ok_or(NO_ROOM)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    pub(crate) fn u8(&mut self, value: u8) -> Result<(), TransportError> {
        self.bytes(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> Result<(), TransportError> {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u16s(&mut self, values: impl IntoIterator<Item = u16>) -> Result<(), TransportError> {
        values.into_iter().try_for_each(|value| self.u16(value))
    }

    /// A length of three bytes whose content follows elsewhere.
    pub(crate) fn u24(&mut self, value: usize) -> Result<(), TransportError> {
        match u32::try_from(value).map(u32::to_be_bytes) {
            Ok([0, rest @ ..]) => self.bytes(&rest),
            _ => Err(NO_ROOM),
        }
    }

    pub(crate) fn vec8(&mut self, content: impl Content) -> Result<(), TransportError> {
        self.prefixed::<1>(content)
    }

    pub(crate) fn vec16(&mut self, content: impl Content) -> Result<(), TransportError> {
        self.prefixed::<2>(content)
    }

    pub(crate) fn vec24(&mut self, content: impl Content) -> Result<(), TransportError> {
        self.prefixed::<3>(content)
    }

    /// Writes `content` behind its length in `N` bytes.
    fn prefixed<const N: usize>(&mut self, content: impl Content) -> Result<(), TransportError> {
        let start = self.len;
        self.bytes(&[0; N])?;
        let body = self.len;
        content.write(self)?;
        let len = u32::try_from(self.len.saturating_sub(body)).map_err(|_| NO_ROOM)?.to_be_bytes();
        let (high, low) = len.split_last_chunk::<N>().ok_or(NO_ROOM)?;
        if high.iter().any(|byte| *byte != 0) {
            return Err(NO_ROOM);
        }
        self.out.get_mut(start..body).ok_or(NO_ROOM)?.copy_from_slice(low);
        Ok(())
    }
}

/// What a vector holds: bytes, or whatever a closure writes.
pub(crate) trait Content {
    fn write(self, out: &mut Encoder<'_>) -> Result<(), TransportError>;
}

impl Content for &[u8] {
    fn write(self, out: &mut Encoder<'_>) -> Result<(), TransportError> {
        out.bytes(self)
    }
}

impl<F: FnOnce(&mut Encoder<'_>) -> Result<(), TransportError>> Content for F {
    fn write(self, out: &mut Encoder<'_>) -> Result<(), TransportError> {
        self(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_filled_in_afterwards() {
        let mut out = [0; 16];
        let mut encoder = Encoder::new(&mut out);
        encoder.vec24(|e: &mut Encoder<'_>| e.vec16(|e: &mut Encoder<'_>| e.vec8(&b"ab"[..]))).unwrap();
        assert_eq!(out[..8], [0, 0, 5, 0, 3, 2, b'a', b'b']);
        let mut decoder = Decoder::new(&out[..8], "test");
        let inner = decoder.vec24().unwrap();
        decoder.end().unwrap();
        let mut decoder = decoder.within(inner);
        let inner = decoder.vec16().unwrap();
        assert_eq!(decoder.within(inner).vec8(), Ok(&b"ab"[..]));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert_eq!(Encoder::new(&mut [0; 3]).vec16(&b"ab"[..]), Err(NO_ROOM));
        assert_eq!(Encoder::new(&mut [0; 300]).vec8(&[0; 256][..]), Err(NO_ROOM));
        assert_eq!(Encoder::new(&mut [0; 3]).u24(1 << 24), Err(NO_ROOM));
    }

    #[test]
    fn what_is_cut_off_names_the_structure() {
        let error = Alert::DecodeError.because("test");
        let decoder = |bytes| Decoder::new(bytes, "test");
        assert_eq!(decoder(&[2, 0][..]).vec8(), Err(error));
        assert_eq!(decoder(&[0, 0, 1]).vec24(), Err(error));
        assert_eq!(decoder(&[]).u16s(&[]).err(), Some(error));
        assert_eq!(decoder(&[]).u16s(&[1, 2, 3]).err(), Some(error));
        assert_eq!(decoder(&[0]).end(), Err(error));
    }
}
