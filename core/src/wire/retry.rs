//! Retry packets (RFC 9000 17.2.5). Their integrity tag (RFC 9001 5.8) is made and checked by the session.

use core::ops::Range;

use crate::limits::TAG_LEN;
use crate::wire::header::{FIXED, Header, PacketType, emit_invariants};
use crate::wire::{Cid, Malformed, NoSpace, Writer};

/// What a Retry packet has behind its connection IDs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Where in the datagram the token is; never empty. The packet without its tag ends where the token does.
    pub token: Range<usize>,
    /// The integrity tag.
    pub tag: [u8; TAG_LEN],
}

impl Retry {
    /// Reads the packet in `datagram` that `header` belongs to.
    ///
    /// # Errors
    /// [`Malformed`] if it is another packet, is too short, or has no token (RFC 9000 17.2.5.2: then it is ignored).
    pub fn parse(datagram: &[u8], header: &Header) -> Result<Self, Malformed> {
        let body = datagram.get(header.pn_offset..header.end).ok_or(Malformed)?;
        let (token, tag) = body.split_last_chunk::<TAG_LEN>().ok_or(Malformed)?;
        if header.packet != PacketType::Retry || token.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { token: header.pn_offset..header.pn_offset.saturating_add(token.len()), tag: *tag })
    }
}

/// Writes a Retry packet up to its tag, which the caller appends. `unused` gives the four bits that mean nothing. The
/// fixed bit is set: a server that sends Retry has seen no grease_quic_bit (RFC 9287 3.1).
///
/// # Errors
/// [`NoSpace`] if it does not fit; nothing is written then.
pub fn emit(
    version: u32,
    dcid: Cid,
    scid: Cid,
    token: &[u8],
    unused: u8,
    out: &mut Writer<'_>,
) -> Result<(), NoSpace> {
    out.whole(|out| {
        let first = FIXED | 0x30 | (unused & 0x0f);
        emit_invariants(first, version, dcid.as_slice(), scid.as_slice(), out)?;
        out.bytes(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header::FixedBit;
    use crate::wire::version::V1;

    /// RFC 9001 A.4.
    const VECTOR: [u8; 36] = [
        0xff, 0x00, 0x00, 0x00, 0x01, 0x00, 0x08, 0xf0, 0x67, 0xa5, 0x50, 0x2a, 0x42, 0x62, 0xb5, 0x74, 0x6f,
        0x6b, 0x65, 0x6e, 0x04, 0xa2, 0x65, 0xba, 0x2e, 0xff, 0x4d, 0x82, 0x90, 0x58, 0xfb, 0x3f, 0x0f, 0x24,
        0x96, 0xba,
    ];

    #[test]
    fn vector_both_ways() {
        let header = Header::parse(&VECTOR, 0, 8, FixedBit::Required).unwrap();
        let retry = Retry::parse(&VECTOR, &header).unwrap();
        assert_eq!((header.packet, header.version, header.dcid), (PacketType::Retry, V1, Cid::EMPTY));
        assert_eq!(&VECTOR[retry.token.clone()], b"token");
        assert_eq!(retry.tag, VECTOR[20..]);
        let mut buffer = [0; 36];
        let mut out = Writer::new(&mut buffer);
        emit(V1, Cid::EMPTY, header.scid, b"token", 0x0f, &mut out).unwrap();
        assert_eq!(out.written(), &VECTOR[..retry.token.end]);
    }

    #[test]
    fn a_retry_without_token_is_none() {
        for end in 0..VECTOR.len() {
            let parsed = Header::parse(&VECTOR[..end], 0, 8, FixedBit::Required)
                .map_err(|_| Malformed)
                .and_then(|header| Retry::parse(&VECTOR[..end], &header));
            assert_eq!(parsed.is_ok(), end > 15 + TAG_LEN, "{end}");
        }
    }
}
