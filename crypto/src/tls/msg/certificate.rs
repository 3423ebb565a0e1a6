//! Certificate (RFC 9846 4.4.2). Its entries are large and stay where they lie: parsing borrows them, and what is
//! written are only the parts around them.

use heapless::Vec;

use crate::tls::codec::{Decoder, Encoder};
use crate::tls::extension::{self, Extensions};
use crate::tls::fault::{Cause, Fault};
use crate::tls::msg::Kind;
use crate::verify::MAX_CERTIFICATES;

/// Bytes around each entry: its length, and its extensions, of which there are none.
const AROUND_ENTRY: usize = 5;

/// The entries of a Certificate message in their order. A client may send none; it is for the caller to mind.
pub(crate) type Entries<'a> = Vec<&'a [u8], MAX_CERTIFICATES>;

pub(crate) fn parse(body: &[u8]) -> Result<Entries<'_>, Fault> {
    let mut decoder = Decoder::new(body, Fault(&(Cause::DecodeError, "malformed Certificate")));
    let context = decoder.vec8()?;
    let list = decoder.vec24()?;
    decoder.end()?;
    if !context.is_empty() {
        return Err(Fault(&(Cause::IllegalParameter, "Certificate with a context")));
    }
    let mut list = decoder.within(list);
    let mut entries = Entries::new();
    while !list.is_empty() {
        let entry = list.vec24()?;
        let entry = list.not_empty(entry)?;
        let block = list.vec16()?;
        if let Some((kind, _)) = Extensions::new(list.within(block)).next()? {
            // We ask for none, neither a server nor a client.
            return Err(extension::misplaced(kind));
        }
        entries.push(entry).map_err(|_| Fault(&(Cause::BadCertificate, "too many certificates")))?;
    }
    Ok(entries)
}

/// Writes what stands before the first of `entries`; each entry follows behind [`emit_entry_len`], and behind it
/// [`emit_entry_end`].
pub(crate) fn emit_start(out: &mut Encoder<'_>, entries: &[&[u8]]) {
    let add = |sum: usize, entry: &&[u8]| sum.saturating_add(entry.len()).saturating_add(AROUND_ENTRY);
    let list = entries.iter().fold(0, add);
    out.u8(Kind::Certificate as u8);
    // The context, which is empty, and the length of the list.
    out.u24(list.saturating_add(4));
    out.u8(0);
    out.u24(list);
}

pub(crate) fn emit_entry_len(out: &mut Encoder<'_>, entry: &[u8]) {
    out.u24(entry.len());
}

pub(crate) fn emit_entry_end(out: &mut Encoder<'_>) {
    out.u16(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(entries: &[&[u8]]) -> std::vec::Vec<u8> {
        let mut out = [0; 100];
        let mut encoder = Encoder::new(&mut out);
        emit_start(&mut encoder, entries);
        for entry in entries {
            emit_entry_len(&mut encoder, entry);
            encoder.bytes(entry);
            emit_entry_end(&mut encoder);
        }
        let len = encoder.finish().unwrap();
        out[..len].to_vec()
    }

    #[test]
    fn round_trip() {
        for entries in [&[][..], &[&b"leaf"[..]], &[b"leaf", b"intermediate"]] {
            let bytes = message(entries);
            assert_eq!(usize::from(bytes[3]), bytes.len() - 4);
            assert_eq!(parse(&bytes[4..]).unwrap(), entries);
            for cut in 4..bytes.len() {
                assert!(parse(&bytes[4..cut]).is_err());
            }
        }
    }

    #[test]
    fn refusals() {
        let alert = |body: &[u8]| parse(body).unwrap_err().cause();
        assert_eq!(alert(&message(&[&b"x"[..]; 5])[4..]), Cause::BadCertificate);
        assert_eq!(alert(&[0, 0, 0, 5, 0, 0, 0, 0, 0]), Cause::DecodeError, "an empty entry");
        assert_eq!(alert(&[1, 1, 0, 0, 0]), Cause::IllegalParameter, "a context");
        let with_ocsp = [0, 0, 0, 10, 0, 0, 1, 9, 0, 4, 0, 5, 0, 0];
        assert_eq!(alert(&with_ocsp), Cause::UnsupportedExtension);
    }
}
