//! A connection ID of QUIC v1 (RFC 9000 17.2), by value.

use core::fmt;

use crate::limits::MAX_CID_LEN;
use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// A connection ID of 0 to 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cid {
    len: u8,
    /// Zero beyond `len`, so that equal IDs are equal values.
    bytes: [u8; MAX_CID_LEN],
}

impl Cid {
    /// The connection ID of no bytes.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_CID_LEN] };

    /// The connection ID of these bytes, or `None` if there are more than 20.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn new(cid: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_CID_LEN];
        bytes.get_mut(..cid.len())?.copy_from_slice(cid);
        Some(Self { len: u8::try_from(cid.len()).ok()?, bytes })
    }

    /// Its bytes.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// How many bytes it has.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes a length byte and that many bytes.
    pub(in crate::wire) fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let len = from.u8()?;
        Self::new(from.bytes(usize::from(len))?).ok_or(Malformed)
    }

    /// Writes its length in one byte, then its bytes.
    pub(in crate::wire) fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(self.len)?;
        out.bytes(self.as_slice())
    }
}

impl Default for Cid {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl AsRef<[u8]> for Cid {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn holds_up_to_twenty_bytes() {
        let bytes = [7; 21];
        for len in 0..=20 {
            let cid = Cid::new(&bytes[..len]).unwrap();
            assert_eq!((cid.as_slice(), cid.len(), cid.is_empty()), (&bytes[..len], len, len == 0));
        }
        assert_eq!(Cid::new(&bytes), None);
        assert_eq!(Cid::new(&[]), Some(Cid::EMPTY));
    }

    #[test]
    fn zero_bytes_count() {
        assert_ne!(Cid::new(&[0]), Cid::new(&[0, 0]));
        assert_eq!(format!("{:?}", Cid::new(&[0, 0x1a, 0xff]).unwrap()), "001aff");
    }
}
