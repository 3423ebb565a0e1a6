//! Frames of multipath QUIC, in every dialect.

use super::*;
use crate::ids::PathId;
use crate::wire::PacketWriter;
use crate::wire::dialect::AbandonCode;
use std::format;

const DIALECTS: [Dialect; 2] = [Dialect::Draft11, Dialect::Draft21];

/// The types of the frames as the drafts list them, once more by hand: in draft 11 and in draft 21.
const TYPES: [(Kind, &[u64], &[u64]); 8] = [
    (Kind::PathAck, &[0x1522_8c00, 0x1522_8c01], &[0x3e, 0x3f]),
    (Kind::PathAbandon, &[0x1522_8c05], &[0x3e75]),
    (Kind::PathStatus, &[0x1522_8c07, 0x1522_8c08], &[0x3e76, 0x3e77]),
    (Kind::PathNewConnectionId, &[0x1522_8c09], &[0x3e78]),
    (Kind::PathRetireConnectionId, &[0x1522_8c0a], &[0x3e79]),
    (Kind::MaxPathId, &[0x1522_8c0c], &[0x3e7a]),
    (Kind::PathsBlocked, &[0x1522_8c0d], &[0x3e7b]),
    (Kind::PathCidsBlocked, &[], &[0x3e7c]),
];

/// At least one frame of every type, with values of every length.
fn samples(dialect: Dialect) -> Vec<Frame<'static>> {
    let path_ack = |path, frame_type| match ack(frame_type) {
        Frame::Ack(ack) => Frame::PathAck(PathAck { dialect, path, ack }),
        _ => panic!(),
    };
    let cid = NewConnectionId {
        seq: 300,
        retire_prior_to: 299,
        cid: Cid::new(&[8; 20]).unwrap(),
        reset_token: [9; 16],
    };
    let mut all = vec![
        path_ack(0, 2),
        path_ack(u32::MAX.into(), 3),
        Frame::PathAbandon(PathAbandon { dialect, path: 64, code: MAX_VARINT }),
        Frame::PathStatus(PathStatus { dialect, path: 1, seq: 0x4000, backup: true }),
        Frame::PathStatus(PathStatus { dialect, path: MAX_VARINT, seq: 0, backup: false }),
        Frame::PathNewConnectionId(PathNewConnectionId { dialect, path: 3, cid }),
        Frame::PathRetireConnectionId(PathRetireConnectionId { dialect, path: 0x4000_0000, seq: 3 }),
        Frame::MaxPathId(MaxPathId { dialect, max: u32::MAX.into() }),
        Frame::PathsBlocked(PathsBlocked { dialect, max: 63 }),
    ];
    if dialect.has_path_cids_blocked() {
        all.push(Frame::PathCidsBlocked(PathCidsBlocked { dialect, path: 2, next_seq: 0x3fff }));
    }
    all
}

fn type_of(bytes: &[u8]) -> u64 {
    Reader::new(bytes).varint().unwrap()
}

/// The type that an error names: one of draft 11 is larger than what it keeps.
fn blamed(bytes: &[u8]) -> u64 {
    u16::try_from(type_of(bytes)).unwrap_or(0).into()
}

#[test]
fn every_row_goes_there_and_back_in_the_types_of_its_dialect() {
    for dialect in DIALECTS {
        let mut told = BTreeSet::new();
        for frame in samples(dialect) {
            let bytes = emit(&frame);
            assert_eq!(parse_one_in(Some(dialect), &bytes), Ok(frame));
            told.insert((format!("{:?}", frame.kind()), type_of(&bytes)));
        }
        let listed = TYPES.iter().flat_map(|(kind, in_11, in_21)| {
            let types = if dialect == Dialect::Draft11 { in_11 } else { in_21 };
            types.iter().map(move |frame_type| (format!("{kind:?}"), *frame_type))
        });
        assert_eq!(told, listed.collect());
    }
    let rows = TYPES.iter().map(|(kind, ..)| *kind);
    assert!(rows.eq(Kind::ALL.iter().copied().filter(|kind| kind.is_multipath())));
}

/// The bytes of draft 21 4.1 to 4.7 in their order, by hand.
#[test]
fn fields_stand_in_the_order_of_the_drafts() {
    let dialect = Dialect::Draft21;
    let cid =
        NewConnectionId { seq: 5, retire_prior_to: 4, cid: Cid::new(&[8]).unwrap(), reset_token: [9; 16] };
    let Frame::Ack(ack) = parse_one(&[3, 7, 1, 0, 2, 10, 11, 12]).unwrap() else { panic!() };
    for (frame, bytes) in [
        (Frame::PathAck(PathAck { dialect, path: 6, ack }), &[0x3f, 6, 7, 1, 0, 2, 10, 11, 12][..]),
        (Frame::PathAbandon(PathAbandon { dialect, path: 6, code: 7 }), &[0x7e, 0x75, 6, 7]),
        (Frame::PathStatus(PathStatus { dialect, path: 6, seq: 7, backup: true }), &[0x7e, 0x76, 6, 7]),
        (Frame::PathStatus(PathStatus { dialect, path: 6, seq: 7, backup: false }), &[0x7e, 0x77, 6, 7]),
        (
            Frame::PathNewConnectionId(PathNewConnectionId { dialect, path: 6, cid }),
            &[&[0x7e, 0x78, 6, 5, 4, 1, 8][..], &[9; 16]].concat(),
        ),
        (
            Frame::PathRetireConnectionId(PathRetireConnectionId { dialect, path: 6, seq: 7 }),
            &[0x7e, 0x79, 6, 7],
        ),
        (Frame::MaxPathId(MaxPathId { dialect, max: 6 }), &[0x7e, 0x7a, 6]),
        (Frame::PathsBlocked(PathsBlocked { dialect, max: 6 }), &[0x7e, 0x7b, 6]),
        (Frame::PathCidsBlocked(PathCidsBlocked { dialect, path: 6, next_seq: 7 }), &[0x7e, 0x7c, 6, 7]),
    ] {
        assert_eq!(emit(&frame), bytes);
    }
}

#[test]
fn a_frame_cut_off_anywhere_does_not_parse_and_one_without_room_leaves_no_trace() {
    let all = DIALECTS.map(|dialect| samples(dialect).into_iter().map(move |frame| (dialect, frame)));
    for (dialect, frame) in all.into_iter().flatten() {
        let bytes = emit(&frame);
        for end in 1..bytes.len() {
            let error = parse_one_in(Some(dialect), &bytes[..end]).unwrap_err();
            let blamed = if end < varint_len(type_of(&bytes)) { 0 } else { blamed(&bytes) };
            assert_eq!((error.code(), error.frame()), (Code::FRAME_ENCODING_ERROR, blamed), "{frame:?}");
        }
        for room in 0..bytes.len() {
            let mut buffer = vec![0; room];
            let mut out = Writer::new(&mut buffer);
            assert_eq!(frame.emit(&mut out), Err(NoSpace));
            assert!(out.is_empty(), "{frame:?}");
        }
    }
}

#[test]
fn the_other_dialect_is_unknown_and_so_are_both_where_none_is_spoken() {
    for dialect in DIALECTS {
        let other = DIALECTS.into_iter().find(|other| *other != dialect);
        for bytes in samples(dialect).iter().map(emit) {
            for spoken in [None, other] {
                let error = parse_one_in(spoken, &bytes).unwrap_err();
                assert_eq!((error.code(), error.frame()), (Code::FRAME_ENCODING_ERROR, blamed(&bytes)));
            }
        }
    }
    // Numbers between those of a dialect, and the frame that draft 11 lacks.
    for frame_type in [0x3d, 0x40, 0x3e74, 0x3e7d, 0x1522_8c02, 0x1522_8c06, 0x1522_8c0b, 0x1522_8c0e] {
        for dialect in DIALECTS {
            assert_eq!(Kind::of(frame_type, Some(dialect)), None, "{frame_type:#x}");
        }
    }
}

/// Draft 21 4 and draft 11 7, which differ in the error.
#[test]
fn they_stand_in_1_rtt_packets_only() {
    for (dialect, misplaced) in
        [(Dialect::Draft11, Code::FRAME_ENCODING_ERROR), (Dialect::Draft21, Code::PROTOCOL_VIOLATION)]
    {
        for bytes in samples(dialect).iter().map(emit) {
            for level in [Level::Initial, Level::Handshake, Level::ZeroRtt] {
                let error = Frames::new(level, &bytes).in_dialect(Some(dialect)).next().unwrap().unwrap_err();
                assert_eq!(error.code(), misplaced, "{level:?}");
            }
        }
        // Frames that every QUIC has are misplaced as ever.
        let error = Frames::new(Level::Initial, &[0x1e]).in_dialect(Some(dialect)).next().unwrap();
        assert_eq!(error.unwrap_err().code(), Code::PROTOCOL_VIOLATION);
    }
}

#[test]
fn only_path_ack_need_not_be_acknowledged_and_none_is_probing() {
    for kind in Kind::ALL.iter().filter(|kind| kind.is_multipath()) {
        let (rules, is_ack) = (kind.rules(), *kind == Kind::PathAck);
        assert_eq!((rules.ack_eliciting, rules.in_flight), (!is_ack, !is_ack), "{kind:?}");
        assert!(!rules.probing && rules.allowed_in(Level::OneRtt) && !rules.allowed_in(Level::ZeroRtt));
    }
}

#[test]
fn a_type_longer_than_needed_is_refused() {
    for (dialect, bytes) in [
        (Dialect::Draft21, &[0x40, 0x3e, 0, 0, 0, 0, 0][..]),
        (Dialect::Draft21, &[0x80, 0, 0x3e, 0x7a, 1]),
        (Dialect::Draft11, &[0xc0, 0, 0, 0, 0x15, 0x22, 0x8c, 0x0c, 1]),
    ] {
        assert_eq!(parse_one_in(Some(dialect), bytes).unwrap_err().code(), Code::PROTOCOL_VIOLATION);
    }
}

#[test]
fn connection_ids_are_checked_as_in_new_connection_id() {
    for body in [
        &[&[1, 0, 0][..], &[0; 16]].concat()[..],
        &[&[1, 0, 21][..], &[0; 37]].concat(),
        &[&[1, 2, 1][..], &[0; 17]].concat(),
    ] {
        let bytes = [&[0x7e, 0x78, 0][..], body].concat();
        let error = parse_one_in(Some(Dialect::Draft21), &bytes).unwrap_err();
        assert_eq!((error.code(), error.frame()), (Code::FRAME_ENCODING_ERROR, 0x3e78), "{body:?}");
    }
}

#[test]
fn path_ack_of_as_many_ranges_as_fit() {
    let ranges = || (0..100_u64).rev().map(|n| n * 1000..=n * 1000 + n);
    let ecn = Some(EcnCounts { ect0: 0x4000, ect1: 0, ce: 70 });
    for dialect in DIALECTS {
        let path = Some((dialect, PathId(64)));
        // What a PATH_ACK has more than an ACK: a longer type and the path ID.
        let more = varint_len(*dialect.numbers().path_ack.end()) - 1 + 2;
        for room in 0..400 {
            let (mut buffer, mut plain) = (vec![0; room + more], vec![0; room]);
            let (mut out, mut plain) = (Writer::new(&mut buffer), Writer::new(&mut plain));
            let written = ack::emit(path, 3, ecn, ranges(), &mut out);
            assert_eq!(written, ack::emit(None, 3, ecn, ranges(), &mut plain));
            if written.is_err() {
                assert!(out.is_empty());
                continue;
            }
            let Ok(Frame::PathAck(frame)) = parse_one_in(Some(dialect), out.written()) else { panic!() };
            let Ok(Frame::Ack(plain)) = parse_one(plain.written()) else { panic!() };
            assert_eq!((frame.dialect, frame.path, frame.ack), (dialect, 64, plain));
        }
    }
}

#[test]
fn a_packet_with_path_ack_only_is_not_in_flight() {
    let mut buffer = [0; 64];
    let mut packet = PacketWriter::new(&mut buffer);
    packet.ack(Some((Dialect::Draft21, PathId(5))), 0, None, [3..=7].into_iter()).unwrap();
    assert!(!packet.is_ack_eliciting() && !packet.is_in_flight() && !packet.is_probing());
    assert_eq!(packet.kinds(), Kinds::NONE.with(Kind::PathAck));
    let len = packet.len();
    assert_eq!(buffer[..len], [0x3e, 5, 7, 0, 0, 4]);
}

#[test]
fn reasons_to_abandon_by_dialect() {
    use AbandonCode::{Application, NoCid, NoError, Other, ResourceLimit, Unstable};
    for (code, in_21) in
        [(NoError, 0), (Application, 0x3e), (ResourceLimit, 0x3e75), (Unstable, 0x3e76), (NoCid, 0x3e77)]
    {
        assert_eq!(code.number(Dialect::Draft21), in_21);
        assert_eq!(AbandonCode::from_number(Dialect::Draft21, in_21), code);
        assert_eq!(code.number(Dialect::Draft11), 0);
    }
    for (dialect, number) in [(Dialect::Draft21, 1), (Dialect::Draft11, 0x3e), (Dialect::Draft11, MAX_VARINT)]
    {
        assert_eq!(AbandonCode::from_number(dialect, number), Other(number));
        assert_eq!(Other(number).number(dialect), number);
    }
    assert_eq!(AbandonCode::from_number(Dialect::Draft11, 0), NoError);
}

#[test]
fn what_draft_11_lacks_cannot_be_written() {
    let frame = PathCidsBlocked { dialect: Dialect::Draft11, path: 1, next_seq: 1 };
    let mut buffer = [0; 64];
    let mut out = Writer::new(&mut buffer);
    assert_eq!(Frame::PathCidsBlocked(frame).emit(&mut out), Err(NoSpace));
    assert!(out.is_empty());
}

#[test]
fn random_bytes_parse_to_what_emits_and_parses_to_the_same() {
    let mut seed = 0x5eed_u64;
    let mut parsed = 0;
    for round in 0..200_000_usize {
        let dialect = DIALECTS[round % 2];
        let mut bytes = [0; 32];
        for byte in &mut bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (seed >> 56) as u8;
        }
        let kind = TYPES[round % TYPES.len()];
        let types = if dialect == Dialect::Draft11 { kind.1 } else { kind.2 };
        let Some(frame_type) = types.get(round % types.len().max(1)) else { continue };
        let mut out = Writer::new(&mut bytes);
        out.varint(*frame_type).unwrap();
        let head = out.len();
        // Small values are the more interesting ones.
        bytes[head..].iter_mut().step_by(2).for_each(|byte| *byte &= 0x0f);
        let mut frames = Frames::new(Level::OneRtt, &bytes).in_dialect(Some(dialect));
        if let Some(Ok(frame)) = frames.next() {
            parsed += 1;
            assert_eq!(parse_one_in(Some(dialect), &emit(&frame)), Ok(frame));
        }
    }
    assert!(parsed > 50_000, "{parsed}");
}
