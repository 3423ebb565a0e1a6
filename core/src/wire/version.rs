//! Versions and Version Negotiation packets (RFC 8999 6, RFC 9000 6, 15, 17.2.1).

use crate::wire::header::{FIXED, Header, PacketType, emit_invariants};
use crate::wire::{Malformed, NoSpace, Reader, Writer};

/// QUIC v1.
pub const V1: u32 = 0x0000_0001;
/// Not a version: it marks Version Negotiation packets.
pub const NEGOTIATION: u32 = 0;

/// The version 0x?a?a?a?a with the other bits of `random`: nobody will ever speak it, and everybody must cope with it
/// (RFC 9000 6.3).
pub const fn reserved(random: u32) -> u32 {
    (random & 0xf0f0_f0f0) | 0x0a0a_0a0a
}

/// The versions that a Version Negotiation packet lists; never none.
#[derive(Clone, Debug)]
pub struct Versions<'a> {
    rest: Reader<'a>,
}

impl<'a> Versions<'a> {
    /// Reads the packet in `datagram` that `header` belongs to. Whether it answers a packet of ours, its connection
    /// IDs tell.
    ///
    /// # Errors
    /// [`Malformed`] if it is another packet, or its list is empty or does not end with a version.
    pub fn parse(datagram: &'a [u8], header: &Header) -> Result<Self, Malformed> {
        let list = datagram.get(header.pn_offset..header.end).ok_or(Malformed)?;
        if header.packet != PacketType::VersionNegotiation || list.is_empty() || list.len() % 4 != 0 {
            return Err(Malformed);
        }
        Ok(Self { rest: Reader::new(list) })
    }
}

impl Iterator for Versions<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.rest.u32().ok()
    }
}

/// Versions that [`Offered`] keeps.
const OFFERED: usize = 6;

/// The versions that a server offers instead of ours: the first few of them. Reserved ones, which nobody speaks, are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Offered {
    versions: [u32; OFFERED],
    len: u8,
}

impl Offered {
    /// The first few of `versions`.
    pub fn new(versions: impl IntoIterator<Item = u32>) -> Self {
        let mut offered = Self::default();
        let spoken = versions.into_iter().filter(|version| reserved(*version) != *version);
        for (place, version) in offered.versions.iter_mut().zip(spoken) {
            *place = version;
            offered.len = offered.len.saturating_add(1);
        }
        offered
    }

    /// The versions.
    pub fn as_slice(&self) -> &[u32] {
        self.versions.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Writes the answer to a packet of a version we do not speak: it lists [`V1`] and a [`reserved`] version made from
/// `random`, which also yields the unused bits of the first byte. `dcid` and `scid` are the other way round in the
/// packet that is answered, and may have up to 255 bytes.
///
/// # Errors
/// [`NoSpace`] if it does not fit; nothing is written then.
pub fn emit(dcid: &[u8], scid: &[u8], random: u32, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    // The bits of `random` that the reserved version does not show. The fixed bit is set because a recipient may share
    // its port with other protocols (RFC 9000 17.2.1).
    let unused = ((random & 0x0f) | ((random >> 4) & 0x30)) as u8;
    out.whole(|out| {
        emit_invariants(FIXED | unused, NEGOTIATION, dcid, scid, out)?;
        out.u32(reserved(random))?;
        out.u32(V1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header::FixedBit;

    fn parse(datagram: &[u8]) -> Result<Versions<'_>, Malformed> {
        let header = Header::parse(datagram, 0, 8, FixedBit::Required).map_err(|_| Malformed)?;
        Versions::parse(datagram, &header)
    }

    #[test]
    fn lists_v1_and_a_version_of_nobody() {
        let mut buffer = [0; 64];
        let mut out = Writer::new(&mut buffer);
        emit(&[1, 2], &[3; 20], 0x1234_5678, &mut out).unwrap();
        let packet = out.written();
        let header = Header::parse(packet, 0, 8, FixedBit::Required).unwrap();
        assert_eq!(packet[0], 0xe8, "form and fixed bit, and bits of 0x5678 that the version hides");
        assert_eq!((header.dcid.as_slice(), header.scid.as_slice()), (&[1, 2][..], &[3; 20][..]));
        assert_eq!((header.start, header.end, header.level()), (0, packet.len(), None));
        assert!(parse(packet).unwrap().eq([0x1a3a_5a7a, V1]));
        for cut in 0..packet.len() {
            assert_eq!(parse(&packet[..cut]).is_ok(), cut + 4 == packet.len(), "{cut}");
        }
    }

    #[test]
    fn mirrors_connection_ids_of_other_versions() {
        let mut buffer = [0; 600];
        let mut out = Writer::new(&mut buffer);
        assert_eq!(emit(&[0; 256], &[], 0, &mut out), Err(NoSpace));
        assert!(out.is_empty());
        emit(&[4; 255], &[5; 255], u32::MAX, &mut out).unwrap();
        assert_eq!(out.len(), 1 + 4 + 256 + 256 + 8);
    }

    #[test]
    fn the_first_byte_has_the_fixed_bit_whatever_the_server_sent() {
        let packet = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert!(parse(&packet).unwrap().eq([V1]));
    }
}
