//! A reader and a writer over borrowed bytes, and variable-length integers (RFC 9000 16).

use crate::limits::MAX_VARINT;

/// Bytes that do not say what they should. What they should have said, the caller knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// The buffer ends before the value does; nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSpace;

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, not consumed.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left; nothing is consumed then. The same holds for every method below.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes everything that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Takes `N` bytes.
    ///
    /// # Errors
    /// [`Malformed`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Malformed`] if none is left.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.array::<1>()?;
        Ok(byte)
    }

    /// Takes a big-endian `u16`.
    ///
    /// # Errors
    /// [`Malformed`] if fewer than two bytes are left.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Takes a big-endian `u32`.
    ///
    /// # Errors
    /// [`Malformed`] if fewer than four bytes are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Takes a variable-length integer (RFC 9000 16).
    ///
    /// # Errors
    /// [`Malformed`] if it is cut off.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let first = *self.rest.first().ok_or(Malformed)?;
        match first >> 6 {
            0 => {
                self.rest = self.rest.get(1..).ok_or(Malformed)?;
                Ok(u64::from(first))
            }
            1 => Ok(u64::from(self.u16()? & 0x3fff)),
            2 => Ok(u64::from(self.u32()? & 0x3fff_ffff)),
            _ => Ok(u64::from_be_bytes(self.array()?) & MAX_VARINT),
        }
    }

    /// Takes a variable-length integer and that many bytes.
    ///
    /// # Errors
    /// [`Malformed`] if either is cut off.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn varint_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let before = self.rest;
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed);
        match len.and_then(|len| self.bytes(len)) {
            Ok(bytes) => Ok(bytes),
            Err(Malformed) => {
                self.rest = before;
                Err(Malformed)
            }
        }
    }
}

/// Writes to the front of a slice; a value that does not fit leaves no trace.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// A writer over all of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Bytes written so far.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    pub const fn room(&self) -> usize {
        self.out.len().saturating_sub(self.len)
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        self.out.get(..self.len).unwrap_or_default()
    }

    /// Forgets everything written after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Writes all that `parts` writes, or nothing.
    ///
    /// # Errors
    /// [`NoSpace`] if `parts` says so.
    pub fn whole<T>(&mut self, parts: impl FnOnce(&mut Self) -> Result<T, NoSpace>) -> Result<T, NoSpace> {
        let before = self.len;
        let written = parts(self);
        if written.is_err() {
            self.len = before;
        }
        written
    }

    /// Leaves `len` bytes for the caller to fill.
    ///
    /// # Errors
    /// [`NoSpace`] if they do not fit; nothing is written then. The same holds for every method below.
    pub fn reserve(&mut self, len: usize) -> Result<&mut [u8], NoSpace> {
        let end = self.len.checked_add(len).ok_or(NoSpace)?;
        let slot = self.out.get_mut(self.len..end).ok_or(NoSpace)?;
        self.len = end;
        Ok(slot)
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// [`NoSpace`] if they do not fit.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        self.reserve(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes one byte.
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn u8(&mut self, value: u8) -> Result<(), NoSpace> {
        self.bytes(&[value])
    }

    /// Writes a big-endian `u16`.
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit.
    pub fn u16(&mut self, value: u16) -> Result<(), NoSpace> {
        self.bytes(&value.to_be_bytes())
    }

    /// Writes a big-endian `u32`.
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit.
    pub fn u32(&mut self, value: u32) -> Result<(), NoSpace> {
        self.bytes(&value.to_be_bytes())
    }

    /// Writes a variable-length integer in its shortest form. A value above 2^62 - 1 has no form and is `NoSpace`.
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn varint(&mut self, value: u64) -> Result<(), NoSpace> {
        match varint_len(value) {
            1 => self.u8((value & 0x3f) as u8),
            2 => self.u16((value & 0x3fff) as u16 | 0x4000),
            4 => self.u32((value & 0x3fff_ffff) as u32 | 0x8000_0000),
            _ if value <= MAX_VARINT => self.bytes(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
            _ => Err(NoSpace),
        }
    }

    /// Writes a variable-length integer in two bytes, whatever its value, for lengths that are filled in later.
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit or is above 16,383.
    pub fn varint2(&mut self, value: u64) -> Result<(), NoSpace> {
        let value = u16::try_from(value).ok().filter(|value| *value < 0x4000).ok_or(NoSpace)?;
        self.u16(value | 0x4000)
    }

    /// Writes a variable-length integer and that many bytes.
    ///
    /// # Errors
    /// [`NoSpace`] if both do not fit.
    pub fn varint_bytes(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        self.whole(|out| {
            out.varint(bytes.len() as u64)?;
            out.bytes(bytes)
        })
    }
}

/// How many bytes the shortest form of a variable-length integer has.
#[cfg_attr(target_os = "none", inline(never))]
pub const fn varint_len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9000 A.1.
    #[test]
    fn varint_vectors() {
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ] {
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
            let mut out = [0; 8];
            let mut writer = Writer::new(&mut out);
            writer.varint(value).unwrap();
            assert_eq!(writer.written(), bytes);
        }
        assert_eq!(Reader::new(&[0x40, 0x25]).varint(), Ok(37));
    }

    #[test]
    fn cut_off_values_consume_nothing() {
        for bytes in [&[][..], &[0x40], &[0x80, 0, 0], &[0xc0, 0, 0, 0, 0, 0, 0]] {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.varint(), Err(Malformed));
            assert_eq!(reader.rest(), bytes);
        }
        let mut reader = Reader::new(&[3, 1, 2]);
        assert_eq!(reader.varint_bytes(), Err(Malformed));
        assert_eq!(reader.remaining(), 3);
    }

    #[test]
    fn what_does_not_fit_leaves_no_trace() {
        let mut out = [0; 3];
        let mut writer = Writer::new(&mut out);
        assert_eq!(writer.varint_bytes(&[1, 2, 3]), Err(NoSpace));
        assert_eq!(writer.varint(1 << 62), Err(NoSpace));
        assert!(writer.is_empty());
        writer.varint_bytes(&[1, 2]).unwrap();
        assert_eq!(writer.written(), [2, 1, 2]);
    }
}
