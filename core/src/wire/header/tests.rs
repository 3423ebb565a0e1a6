use super::*;
use std::vec::Vec;

const DCID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

fn cid(bytes: &[u8]) -> Cid {
    Cid::new(bytes).unwrap()
}

fn parse(datagram: &[u8]) -> Result<Header, HeaderError> {
    Header::parse(datagram, 0, 8, FixedBit::Required)
}

/// A packet with a payload of `payload` bytes of 0xee.
fn long(header: LongHeader<'_>, pn: Truncated, payload: usize) -> Vec<u8> {
    let mut buffer = [0xee; 2000];
    let layout = header.emit(true, pn, &mut Writer::new(&mut buffer)).unwrap();
    let end = layout.end + payload;
    layout.set_length(&mut buffer, end).unwrap();
    buffer[..end].to_vec()
}

fn short(dcid: Cid, payload: usize) -> Vec<u8> {
    let mut buffer = [0xee; 2000];
    let header = ShortHeader { dcid, spin: false, key_phase: false };
    let layout = header.emit(true, Truncated::new(7, 2), &mut Writer::new(&mut buffer)).unwrap();
    layout.set_length(&mut buffer, layout.end + payload).unwrap();
    buffer[..layout.end + payload].to_vec()
}

/// RFC 9001 A.2 and A.3: unprotected headers, and the lengths of their packets.
#[test]
fn initial_vectors_both_ways() {
    let client = [
        0xc3, 0x00, 0x00, 0x00, 0x01, 0x08, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0x00, 0x00, 0x44,
        0x9e, 0x00, 0x00, 0x00, 0x02,
    ];
    let server = [
        0xc1, 0x00, 0x00, 0x00, 0x01, 0x00, 0x08, 0xf0, 0x67, 0xa5, 0x50, 0x2a, 0x42, 0x62, 0xb5, 0x00, 0x40,
        0x75, 0x00, 0x01,
    ];
    let server_scid = [0xf0, 0x67, 0xa5, 0x50, 0x2a, 0x42, 0x62, 0xb5];
    for (bytes, dcid, scid, pn, len) in [
        (&client[..], &DCID[..], &[][..], Truncated::new(2, 4), 1200),
        (&server[..], &[][..], &server_scid[..], Truncated::new(1, 2), 135),
    ] {
        let header = LongHeader {
            packet: LongType::Initial { token: &[] },
            version: V1,
            dcid: cid(dcid),
            scid: cid(scid),
        };
        let packet = long(header, pn, len - bytes.len());
        assert_eq!(&packet[..bytes.len()], bytes);
        let parsed = parse(&packet).unwrap();
        assert_eq!((parsed.version, parsed.dcid.as_slice(), parsed.scid.as_slice()), (V1, dcid, scid));
        assert_eq!((parsed.start, parsed.pn_offset, parsed.end), (0, bytes.len() - pn.width(), len));
        assert!(matches!(parsed.packet, PacketType::Initial { token } if token.is_empty()));
        assert_eq!(FirstByte(packet[0]).pn_len(), pn.width());
        assert_eq!(Truncated::read(*packet[parsed.pn_offset..].first_chunk().unwrap(), pn.width()), pn);
    }
}

/// RFC 9001 A.5: the smallest packet there is.
#[test]
fn short_vector_both_ways() {
    let mut buffer = [0; 21];
    let header = ShortHeader { dcid: Cid::EMPTY, spin: false, key_phase: false };
    let layout = header.emit(true, Truncated::new(654_360_564, 3), &mut Writer::new(&mut buffer)).unwrap();
    assert_eq!((&buffer[..4], layout.pn_offset, layout.end), (&[0x42, 0x00, 0xbf, 0xf4][..], 1, 4));
    let parsed = Header::parse(&buffer, 0, 0, FixedBit::Required).unwrap();
    assert_eq!((parsed.packet, parsed.pn_offset, parsed.end), (PacketType::Short, 1, 21));
    assert_eq!(Header::parse(&buffer[..20], 0, 0, FixedBit::Required), Err(HeaderError::Malformed));
}

#[test]
fn every_long_type_goes_there_and_back_and_is_refused_when_cut_off() {
    for (kind, level) in [
        (
            LongType::Initial {
                token: b"a token of more than sixty-three bytes, so that its length takes two of them",
            },
            Level::Initial,
        ),
        (LongType::ZeroRtt, Level::ZeroRtt),
        (LongType::Handshake, Level::Handshake),
    ] {
        let header = LongHeader { packet: kind, version: V1, dcid: cid(&[1; 20]), scid: cid(&[2; 3]) };
        let packet = long(header, Truncated::new(5, 1), 19);
        let parsed = parse(&packet).unwrap();
        assert_eq!((parsed.dcid, parsed.scid, parsed.level()), (header.dcid, header.scid, Some(level)));
        assert_eq!((parsed.end, packet[parsed.pn_offset]), (packet.len(), 5));
        if let (LongType::Initial { token }, PacketType::Initial { token: at }) = (kind, parsed.packet) {
            assert_eq!(&packet[at], token);
        }
        for end in 0..packet.len() {
            assert_eq!(parse(&packet[..end]), Err(HeaderError::Malformed));
        }
        assert_eq!(parse(&long(header, Truncated::new(5, 1), 18)), Err(HeaderError::Malformed), "no sample");
    }
}

#[test]
fn what_does_not_fit_leaves_no_trace() {
    let header = LongHeader {
        packet: LongType::Initial { token: b"token" },
        version: V1,
        dcid: cid(&DCID),
        scid: cid(&DCID),
    };
    for room in 0..33 {
        let mut buffer = [0; 33];
        let mut out = Writer::new(&mut buffer[..room]);
        assert_eq!(header.emit(true, Truncated::new(0, 2), &mut out), Err(NoSpace));
        assert!(out.is_empty());
    }
    let mut buffer = [0; 40];
    let layout = header.emit(true, Truncated::new(0, 2), &mut Writer::new(&mut buffer)).unwrap();
    assert_eq!((layout.pn_offset, layout.end), (31, 33));
    assert_eq!(layout.set_length(&mut buffer, layout.pn_offset + 0x4000), Err(NoSpace));
    assert_eq!(layout.set_length(&mut buffer[..10], 40), Err(NoSpace));
}

#[test]
fn invariants_hold_for_every_version() {
    let mut buffer = [0; 600];
    let mut out = Writer::new(&mut buffer);
    emit_invariants(0x0f, 0xdead_beef, &[1; 255], &[2; 254], &mut out).unwrap();
    let packet = out.written();
    let expected = Invariants::Long { version: 0xdead_beef, dcid: 6..261, scid: 262..516 };
    assert_eq!(Invariants::parse(packet), Ok(expected));
    assert_eq!(parse(packet), Err(HeaderError::UnsupportedVersion(0xdead_beef)));
    for end in 0..packet.len() {
        assert_eq!(Invariants::parse(&packet[..end]), Err(Malformed));
    }
    assert_eq!(Invariants::parse(&[0x7f]), Ok(Invariants::Short));
}

#[test]
fn connection_ids_of_v1_have_at_most_twenty_bytes() {
    for (version, error) in [(V1, HeaderError::Malformed), (2, HeaderError::UnsupportedVersion(2))] {
        for (dcid, scid) in [(&[0; 21][..], &[][..]), (&[], &[0; 21])] {
            let mut buffer = [0; 100];
            emit_invariants(FIXED | 0x20, version, dcid, scid, &mut Writer::new(&mut buffer)).unwrap();
            assert_eq!(parse(&buffer), Err(error));
        }
    }
}

#[test]
fn fixed_bit_counts_unless_greased() {
    let long_header =
        LongHeader { packet: LongType::Handshake, version: V1, dcid: cid(&DCID), scid: Cid::EMPTY };
    let short_header = ShortHeader { dcid: cid(&DCID), spin: true, key_phase: true };
    for bit in [true, false] {
        let (mut one, mut other) = ([0; 60], [0; 60]);
        let layout = long_header.emit(bit, Truncated::new(0, 1), &mut Writer::new(&mut one)).unwrap();
        layout.set_length(&mut one, 60).unwrap();
        short_header.emit(bit, Truncated::new(0, 1), &mut Writer::new(&mut other)).unwrap();
        for packet in [one, other] {
            assert_eq!(packet[0] & FIXED != 0, bit);
            assert_eq!(parse(&packet).is_ok(), bit);
            assert!(Header::parse(&packet, 0, 8, FixedBit::Ignored).is_ok());
        }
    }
}

#[test]
fn first_byte_tells_its_bits() {
    for spin in [true, false] {
        for key_phase in [true, false] {
            for pn_len in 1..=4 {
                let mut byte = [0; 5];
                let header = ShortHeader { dcid: Cid::EMPTY, spin, key_phase };
                header.emit(true, Truncated::new(0, pn_len), &mut Writer::new(&mut byte)).unwrap();
                let first = FirstByte(byte[0]);
                assert_eq!((first.spin(), first.key_phase(), first.pn_len()), (spin, key_phase, pn_len));
                assert_eq!(first.check_reserved(), Ok(()));
            }
        }
    }
    let bad = |first| {
        FirstByte(first).check_reserved().map_err(|error| error.code()) == Err(Code::PROTOCOL_VIOLATION)
    };
    assert!([0x48, 0x50, 0xc4, 0xc8].into_iter().all(bad));
    assert!(![0x47, 0x67, 0xc3, 0xf3].into_iter().any(bad));
}

#[test]
fn a_datagram_is_split_into_its_packets() {
    let dcid = cid(&DCID);
    let initial =
        LongHeader { packet: LongType::Initial { token: b"t" }, version: V1, dcid, scid: Cid::EMPTY };
    let handshake = LongHeader { packet: LongType::Handshake, ..initial };
    let pn = Truncated::new(0, 1);
    let stranger = LongHeader { dcid: cid(&[0; 8]), ..handshake };
    let datagram =
        [long(initial, pn, 100), long(stranger, pn, 30), long(handshake, pn, 70), short(dcid, 50)].concat();
    let mut packets = Coalesced::new(8, FixedBit::Required);
    let mut at = 0;
    for expected in [Ok(Level::Initial), Err(HeaderError::OtherDcid), Ok(Level::Handshake), Ok(Level::OneRtt)]
    {
        let packet = packets.next(&datagram).unwrap();
        assert_eq!(packet.as_ref().map(|header| header.level().unwrap()), expected.as_ref().copied());
        match packet {
            Ok(header) => {
                assert!(header.start >= at && header.end > header.start);
                at = header.end;
            }
            Err(error) => assert_eq!(Why::from(error), Why::UnknownCid),
        }
    }
    assert_eq!((at, packets.next(&datagram)), (datagram.len(), None));
}

#[test]
fn nothing_is_read_behind_a_packet_that_is_garbled() {
    let dcid = cid(&DCID);
    let header = LongHeader { packet: LongType::Handshake, version: V1, dcid, scid: Cid::EMPTY };
    let mut datagram = long(header, Truncated::new(0, 1), 30);
    datagram.extend([0; 200]);
    let mut packets = Coalesced::new(8, FixedBit::Required);
    assert!(packets.next(&datagram).unwrap().is_ok());
    assert_eq!(packets.next(&datagram), Some(Err(HeaderError::Malformed)));
    assert_eq!(packets.next(&datagram), None);
}
