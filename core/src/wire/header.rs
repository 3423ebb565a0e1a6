//! Packet headers: what every version promises (RFC 8999 5) and those of QUIC v1 (RFC 9000 17.2, 17.3, 12.2).
//!
//! A parsed header holds offsets into the datagram instead of borrowing from it, because the packet is decrypted in
//! place afterwards. Nothing here is authentic: only the AEAD makes it so. What stands behind the connection IDs of
//! Retry and Version Negotiation packets is read in [`retry`](super::retry) and [`version`](super::version).

use core::ops::Range;

use crate::error::{Code, TransportError, Why};
use crate::limits::SAMPLE_LEN;
use crate::session::Level;
use crate::wire::packet_number::Truncated;
use crate::wire::version::{NEGOTIATION, V1};
use crate::wire::{Cid, Malformed, NoSpace, Reader, Writer};

/// The bit that tells a long header (RFC 8999 5.1).
pub(super) const LONG: u8 = 0x80;
/// The fixed bit (RFC 9000 17.2), which RFC 9287 calls the QUIC bit.
pub(super) const FIXED: u8 = 0x40;
/// From the packet number on, a protected packet has a sample that begins four bytes later (RFC 9001 5.4.2).
const MIN_PROTECTED: usize = 4 + SAMPLE_LEN;

/// What is wrong with a header. All of them mean that the packet is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// Too short, or garbled. The rest of the datagram cannot be read either.
    Malformed,
    /// A long header of this version, which we do not speak; [`Invariants`] says more.
    UnsupportedVersion(u32),
    /// A packet behind another one of the same datagram that names another destination (RFC 9000 12.2).
    OtherDcid,
}

impl From<Malformed> for HeaderError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<HeaderError> for Why {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Malformed => Self::Malformed,
            HeaderError::UnsupportedVersion(_) => Self::Version,
            HeaderError::OtherDcid => Self::UnknownCid,
        }
    }
}

/// What every version of QUIC promises of a packet (RFC 8999 5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Invariants {
    /// A long header. The ranges are of the datagram; connection IDs have up to 255 bytes.
    Long {
        /// The version; zero is Version Negotiation.
        version: u32,
        /// The destination.
        dcid: Range<usize>,
        /// The source.
        scid: Range<usize>,
    },
    /// A short header: a connection ID of a length known to the receiver follows the first byte.
    Short,
}

impl Invariants {
    /// Reads the packet at the start of `datagram`.
    ///
    /// # Errors
    /// [`Malformed`] if it is cut off.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        Self::parse_from(datagram, &mut Reader::new(datagram))
    }

    /// Reads from where `from`, which reads the end of `datagram`, stands; leaves it behind what was read.
    fn parse_from(datagram: &[u8], from: &mut Reader<'_>) -> Result<Self, Malformed> {
        if from.u8()? & LONG == 0 {
            return Ok(Self::Short);
        }
        let version = from.u32()?;
        let len = usize::from(from.u8()?);
        let dcid = take(datagram, from, len)?;
        let len = usize::from(from.u8()?);
        let scid = take(datagram, from, len)?;
        Ok(Self::Long { version, dcid, scid })
    }
}

/// Takes `len` bytes and tells where in `datagram`, whose end `from` reads, they are.
fn take(datagram: &[u8], from: &mut Reader<'_>, len: usize) -> Result<Range<usize>, Malformed> {
    let start = offset(datagram, from);
    from.bytes(len)?;
    Ok(start..offset(datagram, from))
}

fn offset(datagram: &[u8], from: &Reader<'_>) -> usize {
    datagram.len().saturating_sub(from.remaining())
}

/// What a receiver makes of the fixed bit (RFC 9000 17.2, RFC 9287 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FixedBit {
    /// A packet without it is not QUIC v1.
    Required,
    /// It means nothing: we have told peers that they may clear it.
    Ignored,
}

/// The packets of QUIC v1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PacketType {
    /// Initial (RFC 9000 17.2.2), with the place of its token in the datagram.
    Initial {
        /// Empty if there is none.
        token: Range<usize>,
    },
    /// 0-RTT (RFC 9000 17.2.3).
    ZeroRtt,
    /// Handshake (RFC 9000 17.2.4).
    Handshake,
    /// Retry (RFC 9000 17.2.5).
    Retry,
    /// Version Negotiation (RFC 9000 17.2.1).
    VersionNegotiation,
    /// 1-RTT (RFC 9000 17.3.1).
    Short,
}

/// The header of a QUIC v1 packet, as far as it can be read under header protection. Offsets are of the datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Which packet it is.
    pub packet: PacketType,
    /// The version; zero where the header has none: Version Negotiation and 1-RTT.
    pub version: u32,
    /// The destination.
    pub dcid: Cid,
    /// The source; empty in a 1-RTT packet, which has none.
    pub scid: Cid,
    /// Where the packet begins.
    pub start: usize,
    /// Where the packet number begins. Retry and Version Negotiation have none: what they have instead begins there.
    pub pn_offset: usize,
    /// Where the packet ends and the next one may begin (RFC 9000 12.2).
    pub end: usize,
}

impl Header {
    /// Reads the packet that begins at `start`. The connection ID of a short header has `local_cid_len` bytes.
    ///
    /// Of a packet with a packet number, enough is there to remove header protection.
    ///
    /// # Errors
    /// See [`HeaderError`]; all but `OtherDcid` come from here.
    pub fn parse(
        datagram: &[u8],
        start: usize,
        local_cid_len: usize,
        fixed_bit: FixedBit,
    ) -> Result<Self, HeaderError> {
        let mut from = Reader::new(datagram.get(start..).ok_or(Malformed)?);
        let first = *from.rest().first().ok_or(Malformed)?;
        let (packet, version, dcid, scid, body) = match Invariants::parse_from(datagram, &mut from)? {
            Invariants::Short => {
                let dcid = Cid::new(from.bytes(local_cid_len)?).ok_or(Malformed)?;
                (PacketType::Short, 0, dcid, Cid::EMPTY, offset(datagram, &from)..datagram.len())
            }
            Invariants::Long { version, .. } if version != V1 && version != NEGOTIATION => {
                return Err(HeaderError::UnsupportedVersion(version));
            }
            Invariants::Long { version, dcid, scid } => {
                let cid = |range| datagram.get(range).and_then(Cid::new).ok_or(Malformed);
                let (packet, body) = parse_long(datagram, &mut from, first, version)?;
                (packet, version, cid(dcid)?, cid(scid)?, body)
            }
        };
        let header = Self { packet, version, dcid, scid, start, pn_offset: body.start, end: body.end };
        let is_fixed = first & FIXED != 0 || header.packet == PacketType::VersionNegotiation;
        if fixed_bit == FixedBit::Required && !is_fixed {
            return Err(HeaderError::Malformed);
        }
        if header.level().is_some() && header.end.saturating_sub(header.pn_offset) < MIN_PROTECTED {
            return Err(HeaderError::Malformed);
        }
        Ok(header)
    }

    /// The level of the keys that protect the packet; `None` for Retry and Version Negotiation, which have no keys.
    pub const fn level(&self) -> Option<Level> {
        match self.packet {
            PacketType::Initial { .. } => Some(Level::Initial),
            PacketType::ZeroRtt => Some(Level::ZeroRtt),
            PacketType::Handshake => Some(Level::Handshake),
            PacketType::Short => Some(Level::OneRtt),
            PacketType::Retry | PacketType::VersionNegotiation => None,
        }
    }
}

/// The part of a long header behind the connection IDs: the type, and the place of what it is the header of.
fn parse_long(
    datagram: &[u8],
    from: &mut Reader<'_>,
    first: u8,
    version: u32,
) -> Result<(PacketType, Range<usize>), Malformed> {
    let packet = match (version, (first >> 4) & 3) {
        (NEGOTIATION, _) => PacketType::VersionNegotiation,
        (_, 0) => {
            let len = usize::try_from(from.varint()?).map_err(|_| Malformed)?;
            PacketType::Initial { token: take(datagram, from, len)? }
        }
        (_, 1) => PacketType::ZeroRtt,
        (_, 2) => PacketType::Handshake,
        _ => PacketType::Retry,
    };
    // Retry and Version Negotiation have no length: they are the whole rest of the datagram.
    let has_length = !matches!(packet, PacketType::VersionNegotiation | PacketType::Retry);
    let len = if has_length { from.varint()? } else { from.remaining() as u64 };
    let body = take(datagram, from, usize::try_from(len).map_err(|_| Malformed)?)?;
    Ok((packet, body))
}

/// The packets of a datagram, one after the other (RFC 9000 12.2). It does not hold the datagram, so that each packet
/// can be decrypted in place before the next is asked for.
#[derive(Clone, Debug)]
pub struct Coalesced {
    next: usize,
    /// Of the first packet, if another one follows.
    dcid: Option<Cid>,
    local_cid_len: usize,
    fixed_bit: FixedBit,
}

impl Coalesced {
    /// The packets of a datagram not yet begun; the arguments are those of [`Header::parse`].
    pub const fn new(local_cid_len: usize, fixed_bit: FixedBit) -> Self {
        Self { next: 0, dcid: None, local_cid_len, fixed_bit }
    }

    /// The next packet of `datagram`, which is the same one with every call.
    ///
    /// # Errors
    /// See [`HeaderError`]. After `OtherDcid` more packets may follow, after the others none.
    pub fn next(&mut self, datagram: &[u8]) -> Option<Result<Header, HeaderError>> {
        if self.next >= datagram.len() {
            return None;
        }
        let mut parsed = Header::parse(datagram, self.next, self.local_cid_len, self.fixed_bit);
        self.next = parsed.as_ref().map_or(datagram.len(), |header| header.end);
        if let Ok(header) = &parsed
            && (header.start > 0 || header.end < datagram.len())
        {
            let first = *self.dcid.get_or_insert(header.dcid);
            if header.dcid != first {
                parsed = Err(HeaderError::OtherDcid);
            }
        }
        Some(parsed)
    }
}

/// The first byte of a packet, without header protection. What it says is true only once the packet is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirstByte(pub u8);

impl FirstByte {
    const SPIN: u8 = 0x20;
    const KEY_PHASE: u8 = 0x04;

    /// How many bytes the packet number has.
    pub const fn pn_len(self) -> usize {
        ((self.0 & 3) as usize).saturating_add(1)
    }

    /// The key phase of a short header (RFC 9001 6).
    pub const fn key_phase(self) -> bool {
        self.0 & Self::KEY_PHASE != 0
    }

    /// The spin bit of a short header (RFC 9000 17.4).
    pub const fn spin(self) -> bool {
        self.0 & Self::SPIN != 0
    }

    /// Checks the reserved bits. Only for a packet that was opened: before that, an error would tell an attacker
    /// about header protection (RFC 9001 9.5).
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if one is set (RFC 9000 17.2, 17.3.1).
    pub const fn check_reserved(self) -> Result<(), TransportError> {
        let reserved = if self.0 & LONG == 0 { 0x18 } else { 0x0c };
        if self.0 & reserved == 0 {
            Ok(())
        } else {
            Err(TransportError::new(Code::PROTOCOL_VIOLATION, "reserved header bits are set"))
        }
    }
}

/// Where the parts of an emitted header are, counted from the start of the writer's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Where the packet begins.
    pub start: usize,
    /// Where the packet number begins.
    pub pn_offset: usize,
    /// Where the header ends and the payload begins.
    pub end: usize,
    length_at: Option<usize>,
}

impl Layout {
    /// Fills in the length field, if the header has one: the packet ends at `end` of `datagram`, the buffer that the
    /// header was written to, tag included.
    ///
    /// # Errors
    /// [`NoSpace`] if the length is above 16,383 or the buffer is not that one.
    pub fn set_length(&self, datagram: &mut [u8], end: usize) -> Result<(), NoSpace> {
        let Some(at) = self.length_at else { return Ok(()) };
        let len = end.checked_sub(self.pn_offset).ok_or(NoSpace)?;
        Writer::new(datagram.get_mut(at..self.pn_offset).ok_or(NoSpace)?).varint2(len as u64)
    }
}

/// The packets with a long header and a packet number, for [`LongHeader`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LongType<'a> {
    /// Initial.
    Initial {
        /// From a Retry or NEW_TOKEN; empty if there is none, and always in a server's packet.
        token: &'a [u8],
    },
    /// 0-RTT.
    ZeroRtt,
    /// Handshake.
    Handshake,
}

/// A long header to be written (RFC 9000 17.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LongHeader<'a> {
    /// Which packet it is.
    pub packet: LongType<'a>,
    /// The version.
    pub version: u32,
    /// The destination.
    pub dcid: Cid,
    /// The source.
    pub scid: Cid,
}

impl LongHeader<'_> {
    /// Writes the header, its packet number included. The length has two bytes and is zero until
    /// [`Layout::set_length`]. `fixed_bit` is true unless the peer sent grease_quic_bit (RFC 9287 3.1).
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit; nothing is written then.
    pub fn emit(&self, fixed_bit: bool, pn: Truncated, out: &mut Writer<'_>) -> Result<Layout, NoSpace> {
        let (bits, token) = match self.packet {
            LongType::Initial { token } => (0x00, Some(token)),
            LongType::ZeroRtt => (0x10, None),
            LongType::Handshake => (0x20, None),
        };
        out.whole(|out| {
            let start = out.len();
            let first = fixed(fixed_bit) | bits | pn_bits(pn);
            emit_invariants(first, self.version, self.dcid.as_slice(), self.scid.as_slice(), out)?;
            token.map_or(Ok(()), |token| out.varint_bytes(token))?;
            let length_at = out.len();
            out.varint2(0)?;
            let pn_offset = out.len();
            pn.emit(out)?;
            Ok(Layout { start, pn_offset, end: out.len(), length_at: Some(length_at) })
        })
    }
}

/// A short header to be written (RFC 9000 17.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShortHeader {
    /// The destination.
    pub dcid: Cid,
    /// The spin bit.
    pub spin: bool,
    /// The key phase.
    pub key_phase: bool,
}

impl ShortHeader {
    /// Writes the header, its packet number included. `fixed_bit` as for [`LongHeader::emit`].
    ///
    /// # Errors
    /// [`NoSpace`] if it does not fit; nothing is written then.
    pub fn emit(&self, fixed_bit: bool, pn: Truncated, out: &mut Writer<'_>) -> Result<Layout, NoSpace> {
        let spin = if self.spin { FirstByte::SPIN } else { 0 };
        let key_phase = if self.key_phase { FirstByte::KEY_PHASE } else { 0 };
        out.whole(|out| {
            let start = out.len();
            out.u8(fixed(fixed_bit) | spin | key_phase | pn_bits(pn))?;
            out.bytes(self.dcid.as_slice())?;
            let pn_offset = out.len();
            pn.emit(out)?;
            Ok(Layout { start, pn_offset, end: out.len(), length_at: None })
        })
    }
}

const fn fixed(bit: bool) -> u8 {
    if bit { FIXED } else { 0 }
}

/// The low two bits of the first byte (RFC 9000 17.2).
const fn pn_bits(pn: Truncated) -> u8 {
    (pn.width() as u8).saturating_sub(1)
}

/// A long header as far as every version has it. Connection IDs of other versions may have up to 255 bytes.
pub(super) fn emit_invariants(
    first: u8,
    version: u32,
    dcid: &[u8],
    scid: &[u8],
    out: &mut Writer<'_>,
) -> Result<(), NoSpace> {
    out.u8(LONG | first)?;
    out.u32(version)?;
    for cid in [dcid, scid] {
        out.u8(u8::try_from(cid.len()).map_err(|_| NoSpace)?)?;
        out.bytes(cid)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
