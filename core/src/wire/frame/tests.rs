#[cfg(feature = "multipath")]
mod multipath;

use std::collections::BTreeSet;
use std::string::String;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::ids::{Dir, StreamId};
use crate::limits::{MAX_STREAMS, MAX_VARINT};
use crate::wire::Cid;

fn parse(level: Level, payload: &[u8]) -> Result<Vec<Frame<'_>>, TransportError> {
    Frames::new(level, payload).collect()
}

fn parse_one(payload: &[u8]) -> Result<Frame<'_>, TransportError> {
    parse_one_in(None, payload)
}

fn parse_one_in(dialect: Option<Dialect>, payload: &[u8]) -> Result<Frame<'_>, TransportError> {
    let frames: Result<Vec<_>, _> = Frames::new(Level::OneRtt, payload).in_dialect(dialect).collect();
    let mut frames = frames?;
    assert_eq!(frames.len(), 1);
    Ok(frames.remove(0))
}

fn emit(frame: &Frame<'_>) -> Vec<u8> {
    let mut buffer = [0; 300];
    let mut out = Writer::new(&mut buffer);
    frame.emit(&mut out).unwrap();
    out.written().to_vec()
}

fn code(payload: &[u8]) -> Option<Code> {
    parse(Level::OneRtt, payload).err().map(|error| error.code())
}

/// An ACK is made from its bytes: 100, 98 to 90, 50, and with the second type ECN counts.
fn ack(frame_type: u8) -> Frame<'static> {
    const BODY: [u8; 12] = [0x40, 100, 25, 2, 0, 0, 8, 38, 0, 0x47, 0xff, 5];
    let body: &[u8] = if frame_type == 2 { &BODY[..9] } else { &[&BODY[..], &[0x40, 9]].concat().leak()[..] };
    let bytes = [&[frame_type], body].concat().leak();
    parse_one(bytes).unwrap()
}

/// At least one frame of every type that is emitted, with values of every length.
fn samples() -> Vec<Frame<'static>> {
    let id = StreamId(0x4000);
    let stream = |offset, data, fin| Frame::Stream(Stream { id: StreamId(5), offset, data, fin });
    vec![
        Frame::Padding(Padding { len: 1 }),
        Frame::Padding(Padding { len: 77 }),
        Frame::Ping(Ping),
        ack(2),
        ack(3),
        Frame::ResetStream(ResetStream { id, code: MAX_VARINT, final_size: 63 }),
        Frame::StopSending(StopSending { id, code: 64 }),
        Frame::Crypto(Crypto { offset: 0, data: b"client hello" }),
        Frame::Crypto(Crypto { offset: MAX_VARINT - 70, data: &[7; 70] }),
        Frame::NewToken(NewToken { token: b"token" }),
        stream(0, b"", false),
        stream(0, b"", true),
        stream(0, b"data", true),
        stream(0x3fff_ffff, b"data", false),
        stream(MAX_VARINT - 4, b"data", true),
        Frame::MaxData(MaxData { max: MAX_VARINT }),
        Frame::MaxStreamData(MaxStreamData { id, max: 0 }),
        Frame::MaxStreams(MaxStreams { dir: Dir::Bi, max: MAX_STREAMS }),
        Frame::MaxStreams(MaxStreams { dir: Dir::Uni, max: 100 }),
        Frame::DataBlocked(DataBlocked { limit: 0x4000_0000 }),
        Frame::StreamDataBlocked(StreamDataBlocked { id, limit: 1 }),
        Frame::StreamsBlocked(StreamsBlocked { dir: Dir::Bi, limit: 9 }),
        Frame::StreamsBlocked(StreamsBlocked { dir: Dir::Uni, limit: MAX_STREAMS }),
        Frame::NewConnectionId(NewConnectionId {
            seq: 300,
            retire_prior_to: 300,
            cid: Cid::new(&[8; 20]).unwrap(),
            reset_token: [9; 16],
        }),
        Frame::RetireConnectionId(RetireConnectionId { seq: 3 }),
        Frame::PathChallenge(PathChallenge { data: [1, 2, 3, 4, 5, 6, 7, 8] }),
        Frame::PathResponse(PathResponse { data: [8, 7, 6, 5, 4, 3, 2, 1] }),
        Frame::ConnectionClose(ConnectionClose { code: 7, frame: Some(0x1c), reason: b"" }),
        Frame::ConnectionClose(ConnectionClose { code: 0x4000, frame: None, reason: b"had enough" }),
        Frame::HandshakeDone(HandshakeDone),
        Frame::Datagram(Datagram { data: b"once" }),
    ]
}

#[test]
fn every_row_goes_there_and_back() {
    let mut rows = Vec::new();
    for frame in samples() {
        let bytes = emit(&frame);
        let (first, last) = frame.types();
        assert!((first..=last).contains(&u64::from(bytes[0])), "{frame:?}");
        assert_eq!(parse_one(&bytes), Ok(frame));
        rows.push(frame.kind());
    }
    let missed = |kind: &&Kind| !kind.is_multipath() && !rows.contains(kind);
    assert_eq!(Kind::ALL.iter().find(missed), None, "a row without a sample");
}

#[test]
fn all_rows_in_one_packet() {
    // Two runs of padding would be one.
    let frames = &samples()[1..];
    let payload: Vec<u8> = frames.iter().flat_map(emit).collect();
    assert_eq!(parse(Level::OneRtt, &payload).unwrap(), frames);
}

#[test]
fn a_frame_cut_off_anywhere_does_not_parse() {
    for frame in samples().iter().filter(|frame| frame.kind() != Kind::Padding) {
        let bytes = emit(frame);
        for end in 1..bytes.len() {
            let error = parse_one(&bytes[..end]).unwrap_err();
            assert_eq!(
                (error.code(), error.frame()),
                (Code::FRAME_ENCODING_ERROR, u64::from(bytes[0])),
                "{frame:?}"
            );
        }
    }
}

#[test]
fn a_frame_without_room_leaves_no_trace() {
    for frame in samples() {
        let len = emit(&frame).len();
        for room in 0..len {
            let mut buffer = vec![0; room];
            let mut out = Writer::new(&mut buffer);
            assert_eq!(frame.emit(&mut out), Err(NoSpace));
            assert!(out.is_empty(), "{frame:?}");
        }
    }
}

/// RFC 9000 table 3 and RFC 9221 4, once more by hand.
const TABLE_3: [(u64, u64, &str, &str); 21] = [
    (0x00, 0x00, "IH01", "NP"),
    (0x01, 0x01, "IH01", ""),
    (0x02, 0x03, "IH_1", "NC"),
    (0x04, 0x04, "__01", ""),
    (0x05, 0x05, "__01", ""),
    (0x06, 0x06, "IH_1", ""),
    (0x07, 0x07, "___1", ""),
    (0x08, 0x0f, "__01", "F"),
    (0x10, 0x10, "__01", ""),
    (0x11, 0x11, "__01", ""),
    (0x12, 0x13, "__01", ""),
    (0x14, 0x14, "__01", ""),
    (0x15, 0x15, "__01", ""),
    (0x16, 0x17, "__01", ""),
    (0x18, 0x18, "__01", "P"),
    (0x19, 0x19, "__01", ""),
    (0x1a, 0x1a, "__01", "P"),
    (0x1b, 0x1b, "___1", "P"),
    (0x1c, 0x1d, "ih01", "N"),
    (0x1e, 0x1e, "___1", ""),
    (0x30, 0x31, "__01", ""),
];

/// Frames of every type, whatever type we would emit them as.
fn bytes_of_every_type() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = samples().iter().map(emit).collect();
    all.extend((0x08..=0x0f).map(|frame_type| stream_bytes(frame_type).0));
    all.push(vec![0x30, 1, 2, 3]);
    all
}

#[test]
fn table_3_by_hand_and_by_machine_agree() {
    let rows = |frame_type| TABLE_3.iter().find(|(first, last, ..)| (*first..=*last).contains(&frame_type));
    for frame_type in (0..=0x100).chain([MAX_VARINT]) {
        assert_eq!(Kind::of(frame_type, None).is_some(), rows(frame_type).is_some(), "{frame_type:#x}");
    }
    let mut types = BTreeSet::new();
    for bytes in bytes_of_every_type() {
        let frame_type = u64::from(bytes[0]);
        types.insert(frame_type);
        let (first, last, packets, notes) = *rows(frame_type).unwrap();
        let kind = Kind::of(frame_type, None).unwrap();
        let rules = kind.rules();
        assert_eq!(parse_one(&bytes).unwrap().types(), (first, last));
        assert_eq!(rules.ack_eliciting, !notes.contains('N'), "{kind:?}");
        assert_eq!(rules.in_flight, !notes.contains('C'), "{kind:?}");
        assert_eq!(rules.probing, notes.contains('P'), "{kind:?}");
        // Small letters: only the first type of the row.
        let packets: String = if frame_type == first { packets.to_uppercase() } else { packets.into() };
        for (level, letter) in
            [(Level::Initial, 'I'), (Level::Handshake, 'H'), (Level::ZeroRtt, '0'), (Level::OneRtt, '1')]
        {
            match Frames::new(level, &bytes).next().unwrap() {
                Ok(parsed) => {
                    assert!(packets.contains(letter) && parsed.kind() == kind, "{kind:?} {level:?}");
                }
                Err(error) => {
                    assert!(!packets.contains(letter), "{kind:?} {level:?}");
                    assert_eq!((error.code(), error.frame()), (Code::PROTOCOL_VIOLATION, frame_type));
                }
            }
        }
    }
    let known: BTreeSet<u64> = TABLE_3.iter().flat_map(|(first, last, ..)| *first..=*last).collect();
    assert_eq!(types, known, "a type without a sample");
}

/// A STREAM frame of that type, and what it says.
fn stream_bytes(frame_type: u8) -> (Vec<u8>, Stream<'static>) {
    let (offset, len) = (frame_type & 4 != 0, frame_type & 2 != 0);
    let mut bytes = vec![frame_type, 9];
    bytes.extend(if offset { &[0x41, 0][..] } else { &[] });
    bytes.extend(if len { &[3][..] } else { &[] });
    bytes.extend(b"abc");
    let offset = if offset { 0x100 } else { 0 };
    (bytes, Stream { id: StreamId(9), offset, data: b"abc", fin: frame_type & 1 != 0 })
}

#[test]
fn stream_type_bits() {
    for frame_type in 0x08..=0x0f {
        let (bytes, stream) = stream_bytes(frame_type);
        assert_eq!(parse_one(&bytes), Ok(Frame::Stream(stream)));
        let with_more = [&bytes[..], &[1]].concat();
        let frames = parse(Level::OneRtt, &with_more).unwrap();
        assert_eq!(
            frames.len(),
            if frame_type & 2 != 0 { 2 } else { 1 },
            "no length: to the end of the packet"
        );
    }
}

#[test]
fn datagram_type_bit() {
    assert_eq!(parse_one(&[0x30, 1, 0]), Ok(Frame::Datagram(Datagram { data: &[1, 0] })));
    assert_eq!(parse_one(&[0x30]), Ok(Frame::Datagram(Datagram { data: &[] })));
    let frames = parse(Level::OneRtt, &[0x31, 1, 0, 0]).unwrap();
    assert_eq!(frames, [Frame::Datagram(Datagram { data: &[0] }), Frame::Padding(Padding { len: 1 })]);
}

#[test]
fn ack_tells_its_ranges_and_counts() {
    let Frame::Ack(plain) = ack(2) else { panic!() };
    assert!(plain.ranges().eq([100..=100, 90..=98, 50..=50]));
    assert_eq!((plain.largest, plain.delay, plain.ecn), (100, 25, None));
    let Frame::Ack(counted) = ack(3) else { panic!() };
    assert_eq!(counted.ecn, Some(EcnCounts { ect0: 0x7ff, ect1: 5, ce: 9 }));
}

#[test]
fn ack_ranges_below_zero_do_not_parse() {
    for body in [&[5, 0, 0, 6][..], &[5, 0, 1, 0, 4, 0], &[5, 0, 1, 0, 3, 1], &[5, 0, 1, 5, 0, 0]] {
        assert_eq!(code(&[&[2], body].concat()), Some(Code::FRAME_ENCODING_ERROR), "{body:?}");
    }
    let Ok(Frame::Ack(ack)) = parse_one(&[2, 5, 0, 1, 0, 3, 0]) else { panic!() };
    assert!(ack.ranges().eq([5..=5, 0..=0]));
}

#[test]
fn ack_of_as_many_ranges_as_fit() {
    let ranges = || (0..100_u64).rev().map(|n| n * 1000..=n * 1000 + n);
    let ecn = Some(EcnCounts { ect0: 0x4000, ect1: 0, ce: 70 });
    let mut most = 0;
    for room in 0..400 {
        let mut buffer = vec![0; room];
        let mut out = Writer::new(&mut buffer);
        if ack::emit(None, 3, ecn, ranges(), &mut out).is_err() {
            assert!(out.is_empty() && room < 1 + 4 + 1 + 1 + 2 + 7);
            continue;
        }
        let bytes = out.written().to_vec();
        let Ok(Frame::Ack(ack)) = parse_one(&bytes) else { panic!() };
        let count = ack.ranges().count();
        assert!(ack.ranges().eq(ranges().take(count)) && ack.ecn == ecn && ack.delay == 3);
        assert!(count >= most && (count == 64 || room - bytes.len() < 4));
        most = count;
    }
    assert_eq!(most, 64);
}

#[test]
fn ack_of_one_range_uses_the_room_it_has() {
    let mut buffer = [0; 5];
    let mut out = Writer::new(&mut buffer);
    ack::emit(None, 0, None, [3..=7].into_iter(), &mut out).unwrap();
    assert_eq!(out.written(), [2, 7, 0, 0, 4]);
}

#[test]
fn values_out_of_bounds_do_not_parse() {
    let max = [0xff; 8];
    for bytes in [
        &[&[0x0e, 0][..], &max, &[1, 0]].concat()[..],
        &[&[0x0c, 0][..], &max, &[0]].concat(),
        &[&[0x06][..], &max, &[1, 0]].concat(),
        &[&[0x12][..], &((MAX_STREAMS + 1) | (3 << 62)).to_be_bytes()].concat(),
        &[&[0x13][..], &max].concat(),
        &[&[0x16][..], &max].concat(),
        &[&[0x17][..], &max].concat(),
        &[0x07, 0],
        &[&[0x18, 1, 0, 0][..], &[0; 16]].concat(),
        &[&[0x18, 1, 0, 21][..], &[0; 37]].concat(),
        &[&[0x18, 1, 2, 1][..], &[0; 17]].concat(),
    ] {
        assert_eq!(code(bytes), Some(Code::FRAME_ENCODING_ERROR), "{bytes:?}");
    }
}

#[test]
fn types_that_are_unknown_or_too_long() {
    for bytes in [&[0x1f][..], &[0x2f], &[0x32], &[0x40, 0x40], &[0xff; 8]] {
        assert_eq!(code(bytes), Some(Code::FRAME_ENCODING_ERROR));
    }
    for bytes in [&[0x40, 0x01][..], &[0x80, 0, 0, 1], &[0xc0, 0, 0, 0, 0, 0, 0, 1]] {
        assert_eq!(code(bytes), Some(Code::PROTOCOL_VIOLATION));
    }
    assert_eq!(code(&[0x40]), Some(Code::FRAME_ENCODING_ERROR), "a type that is cut off");
}

#[test]
fn frames_of_a_dialect_that_is_not_spoken_are_unknown() {
    for bytes in [&[0x3e, 0, 0, 0, 0, 0][..], &[0x7e, 0x75, 0, 0], &[0x95, 0x22, 0x8c, 0x05, 0, 0]] {
        assert_eq!(code(bytes), Some(Code::FRAME_ENCODING_ERROR));
    }
}

#[test]
fn a_packet_has_a_frame() {
    let mut frames = Frames::new(Level::OneRtt, &[]);
    assert_eq!(frames.next().unwrap().unwrap_err().code(), Code::PROTOCOL_VIOLATION);
    assert_eq!(frames.next(), None);
}

#[test]
fn nothing_comes_after_an_error() {
    let mut frames = Frames::new(Level::Initial, &[0x01, 0x1e, 0x01]);
    assert!(frames.next().unwrap().is_ok() && frames.next().unwrap().is_err());
    assert_eq!(frames.next(), None);
}

#[test]
fn random_bytes_parse_to_what_emits_and_parses_to_the_same() {
    let mut seed = 0x5eed_u64;
    let mut parsed = 0;
    for _ in 0..200_000 {
        let mut bytes = [0; 24];
        for byte in &mut bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (seed >> 56) as u8;
        }
        bytes[0] &= 0x3f;
        // Small values are the more interesting ones.
        bytes[1..].iter_mut().step_by(2).for_each(|byte| *byte &= 0x0f);
        for frame in Frames::new(Level::OneRtt, &bytes).map_while(Result::ok) {
            parsed += 1;
            assert_eq!(parse_one(&emit(&frame)), Ok(frame));
        }
    }
    assert!(parsed > 50_000, "{parsed}");
}
