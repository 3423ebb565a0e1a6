//! Headers of the packets of a datagram: what parses is emitted, and parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peregrine_core::wire::header::{
    Coalesced, FirstByte, FixedBit, Header, HeaderError, Invariants, LongHeader, LongType, PacketType,
    ShortHeader,
};
use peregrine_core::wire::packet_number::Truncated;
use peregrine_core::wire::retry::{self, Retry};
use peregrine_core::wire::version::Versions;
use peregrine_core::wire::{NoSpace, Writer, reset};

fuzz_target!(|input: &[u8]| {
    // The first byte chooses how long our connection IDs are.
    let Some((&cid_len, datagram)) = input.split_first() else { return };
    let cid_len = usize::from(cid_len % 21);
    let _ = reset::token_of(datagram);
    let invariants = Invariants::parse(datagram);
    let mut packets = Coalesced::new(cid_len, FixedBit::Ignored);
    let mut from = 0;
    while let Some(parsed) = packets.next(datagram) {
        match parsed {
            Ok(header) => {
                assert!(invariants.is_ok() && header.start >= from && header.start < header.pn_offset);
                assert!(header.pn_offset <= header.end && header.end <= datagram.len());
                round_trip(datagram, &header, cid_len);
                from = header.end;
            }
            Err(HeaderError::OtherDcid) => assert!(from > 0),
            Err(HeaderError::Malformed | HeaderError::UnsupportedVersion(_)) => {
                assert_eq!(packets.next(datagram), None);
            }
        }
    }
});

fn round_trip(datagram: &[u8], header: &Header, cid_len: usize) {
    let mut buffer = vec![0; datagram.len() + 16];
    let Some(end) = emit(datagram, header, &mut buffer) else { return };
    let again = Header::parse(&buffer[..end], 0, cid_len, FixedBit::Ignored).expect("what we emit parses");
    assert_eq!((again.version, again.dcid, again.scid), (header.version, header.dcid, header.scid));
    assert_eq!((again.start, again.end), (0, end));
    assert_eq!(buffer[again.pn_offset..again.end], datagram[header.pn_offset..header.end]);
    match (&header.packet, &again.packet) {
        (PacketType::Initial { token }, PacketType::Initial { token: again }) => {
            assert_eq!(datagram[token.clone()], buffer[again.clone()]);
        }
        (packet, again) => assert_eq!(packet, again),
    }
}

/// Writes the packet to the start of `buffer` and returns its end; `None` if it is one that we would not write.
fn emit(datagram: &[u8], header: &Header, buffer: &mut [u8]) -> Option<usize> {
    let &Header { version, dcid, scid, pn_offset, end, .. } = header;
    let first = FirstByte(datagram[header.start]);
    let fixed_bit = first.0 & 0x40 != 0;
    let packet = match &header.packet {
        PacketType::Initial { token } => LongType::Initial { token: &datagram[token.clone()] },
        PacketType::ZeroRtt => LongType::ZeroRtt,
        PacketType::Handshake => LongType::Handshake,
        PacketType::Short => {
            let short = ShortHeader { dcid, spin: first.spin(), key_phase: first.key_phase() };
            let layout =
                short.emit(fixed_bit, pn(datagram, header), &mut Writer::new(buffer)).expect("room enough");
            return Some(copy_payload(&datagram[pn_offset..end], buffer, layout.pn_offset));
        }
        PacketType::Retry => {
            let parsed = Retry::parse(datagram, header).ok()?;
            let mut out = Writer::new(buffer);
            retry::emit(version, dcid, scid, &datagram[parsed.token.clone()], first.0, &mut out)
                .expect("room enough");
            out.bytes(&parsed.tag).expect("room enough");
            return Some(out.len());
        }
        PacketType::VersionNegotiation => {
            if let Ok(versions) = Versions::parse(datagram, header) {
                assert_eq!(versions.count() * 4, end - pn_offset);
            }
            return None;
        }
    };
    let long = LongHeader { packet, version, dcid, scid };
    let layout = long.emit(fixed_bit, pn(datagram, header), &mut Writer::new(buffer)).expect("room enough");
    let new_end = copy_payload(&datagram[pn_offset..end], buffer, layout.pn_offset);
    match layout.set_length(buffer, new_end) {
        Ok(()) => Some(new_end),
        Err(NoSpace) => {
            assert!(end - pn_offset > 0x3fff);
            None
        }
    }
}

fn pn(datagram: &[u8], header: &Header) -> Truncated {
    let bytes = *datagram[header.pn_offset..].first_chunk().expect("a sample lies behind it");
    Truncated::read(bytes, FirstByte(datagram[header.start]).pn_len())
}

/// The packet number bytes must come out as they went in; the rest is put behind them.
fn copy_payload(body: &[u8], buffer: &mut [u8], at: usize) -> usize {
    let pn_len = FirstByte(buffer[0]).pn_len();
    assert_eq!(buffer[at..at + pn_len], body[..pn_len]);
    buffer[at..at + body.len()].copy_from_slice(body);
    at + body.len()
}
