//! As much DER (X.690) as public and private keys need: elements one after the other, and the way through a
//! certificate (RFC 5280 4.1) to its key.

pub(crate) const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0]`, explicit: the version of a certificate.
const VERSION: u8 = 0xa0;

/// What is left to read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The contents of the next element, which has this tag.
    pub(crate) fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        Some(self.element(tag)?.1)
    }

    /// The next element, which has this tag: all of it, and its contents.
    fn element(&mut self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (&found, after_tag) = self.0.split_first()?;
        if found != tag {
            return None;
        }
        let (len, after_len) = length(after_tag)?;
        let (contents, rest) = after_len.split_at_checked(len)?;
        let (whole, _) = self.0.split_at_checked(self.0.len().checked_sub(rest.len())?)?;
        self.0 = rest;
        Some((whole, contents))
    }

    /// The next element, a version or another small number.
    pub(crate) fn read_small(&mut self) -> Option<u8> {
        match self.read(INTEGER)? {
            [value @ 0..=0x7f] => Some(*value),
            _ => None,
        }
    }

    /// `Some` at the end.
    pub(crate) const fn end(self) -> Option<()> {
        if self.0.is_empty() { Some(()) } else { None }
    }
}

/// A length in its shortest form, of at most 64 KiB, and what follows it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [len @ 0..=0x7f, rest @ ..] => Some((usize::from(*len), rest)),
        [0x81, len @ 0x80..=0xff, rest @ ..] => Some((usize::from(*len), rest)),
        [0x82, hi @ 1..=0xff, lo, rest @ ..] => Some((usize::from(u16::from_be_bytes([*hi, *lo])), rest)),
        _ => None,
    }
}

/// A SubjectPublicKeyInfo (RFC 5280 4.1.2.7).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spki<'a> {
    /// The contents of its AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    /// The key.
    pub(crate) key: &'a [u8],
}

impl<'a> Spki<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::new(der);
        let mut fields = Reader::new(outer.read(SEQUENCE)?);
        outer.end()?;
        let algorithm = fields.read(SEQUENCE)?;
        let (&0, key) = fields.read(BIT_STRING)?.split_first()? else { return None };
        fields.end()?;
        Some(Self { algorithm, key })
    }
}

/// The SubjectPublicKeyInfo of a certificate, whose other fields are not looked at.
pub(crate) fn spki_of_certificate(der: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader::new(der);
    let mut certificate = Reader::new(outer.read(SEQUENCE)?);
    outer.end()?;
    let mut fields = Reader::new(certificate.read(SEQUENCE)?);
    let _version_1_has_none = fields.read(VERSION);
    let _serial_number = fields.read(INTEGER)?;
    let _signature_algorithm = fields.read(SEQUENCE)?;
    let _issuer = fields.read(SEQUENCE)?;
    let _validity = fields.read(SEQUENCE)?;
    let _subject = fields.read(SEQUENCE)?;
    let (spki, _) = fields.element(SEQUENCE)?;
    Some(spki)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;
    use std::vec;

    #[test]
    fn lengths_are_shortest() {
        for (der, ok) in [
            (vec![4, 0], true),
            (vec![4, 0x80], false),
            (vec![4, 0x81, 0x7f], false),
            (vec![4, 0x82, 0, 0x80], false),
            (vec![4, 1], false),
            (vec![4], false),
            ([&[4, 0x81, 0x80][..], &[0; 0x80]].concat(), true),
            ([&[4, 0x82, 1, 0][..], &[0; 0x100]].concat(), true),
            ([&[4, 0x83, 0, 1, 0][..], &[0; 0x100]].concat(), false),
        ] {
            assert_eq!(Reader::new(&der).read(OCTET_STRING).is_some(), ok, "{der:02x?}");
        }
        assert!(Reader::new(&[3, 0]).read(OCTET_STRING).is_none());
    }

    #[test]
    fn a_public_key_is_whole() {
        let ed25519 = hex("3007 300306012a 0300");
        assert!(Spki::parse(&ed25519).is_none(), "no byte of unused bits");
        let good = hex("300a 3003 06012a 0303 000102");
        let spki = Spki::parse(&good).unwrap();
        assert_eq!((spki.algorithm, spki.key), (&[6, 1, 0x2a][..], &[1, 2][..]));
        for bad in [
            "300a 3003 06012a 0303 010102",
            "300a 3003 06012a 0303 00010200",
            "300c 3003 06012a 0303 000102 0500",
        ] {
            assert!(Spki::parse(&hex(bad)).is_none(), "{bad}");
        }
    }
}
