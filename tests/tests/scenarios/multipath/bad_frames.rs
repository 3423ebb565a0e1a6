//! What a peer must not say of paths (draft-21 4), and what is to be ignored. Each error has the right code, the frame to blame
//! and a reason in words, which the peer and the application are told alike ([`Bout::error`]).

use peregrine_core::error::Code;
use peregrine_core::session::Level;
use peregrine_core::wire::frame::{
    Frame, MaxPathId, NewConnectionId, PathAbandon, PathCidsBlocked, PathNewConnectionId,
    PathRetireConnectionId, PathStatus, PathsBlocked, RetireConnectionId,
};
use peregrine_core::wire::params::TransportParams;
use peregrine_core::wire::{Cid, Writer};
use peregrine_tests::puppet::{Bout, PUPPET, Puppet, bytes, path_ack};

use super::*;

const VIOLATION: Code = Code::PROTOCOL_VIOLATION;
const MALFORMED: Code = Code::FRAME_ENCODING_ERROR;
/// The largest path ID that a node of [`both`] allows at first.
const MAX: u64 = 3;

fn server() -> Setup {
    let mut server = Setup::server(1);
    both(&mut Setup::client(1), &mut server);
    server
}

fn offers(dialect: Dialect, params: &mut TransportParams) {
    params.initial_max_path_id = params.initial_max_path_id.with(dialect, MAX);
}

/// A puppet client that speaks this dialect with a server.
fn bout(dialect: Dialect) -> Bout {
    let mut bout = Bout::against_server_with(server(), |params| offers(dialect, params));
    bout.wait_ms(50);
    bout.ack();
    bout
}

/// Frames that name a path, of each kind, as they may be said of a path that exists.
fn of_path(dialect: Dialect, path: u64) -> Vec<Vec<u8>> {
    let cid = Puppet::cid_of(PathId(path as u32), 0);
    let cid = NewConnectionId { seq: 0, retire_prior_to: 0, cid, reset_token: [9; 16] };
    let frames = [
        Frame::PathAbandon(PathAbandon { dialect, path, code: 0 }),
        Frame::PathStatus(PathStatus { dialect, path, seq: 5, backup: true }),
        Frame::PathStatus(PathStatus { dialect, path, seq: 5, backup: false }),
        Frame::PathNewConnectionId(PathNewConnectionId { dialect, path, cid }),
        Frame::PathRetireConnectionId(PathRetireConnectionId { dialect, path, seq: 0 }),
        Frame::PathCidsBlocked(PathCidsBlocked { dialect, path, next_seq: 0 }),
    ];
    let lacks =
        |frame: &Frame<'_>| matches!(frame, Frame::PathCidsBlocked(_)) && !dialect.has_path_cids_blocked();
    let mut all: Vec<Vec<u8>> =
        frames.iter().filter(|frame| !lacks(frame)).map(|frame| bytes(std::slice::from_ref(frame))).collect();
    all.push(path_ack(dialect, PathId(path as u32), &[0..=0]));
    all
}

/// What the node says of one packet with this payload.
fn verdict(dialect: Dialect, payload: &[u8]) -> (Code, String) {
    let mut bout = bout(dialect);
    bout.send(Level::OneRtt, payload);
    let error = bout.error();
    (error.code, error.reason)
}

#[test]
fn a_path_id_above_what_was_allowed() {
    for dialect in Dialect::ALL.iter().copied() {
        for path in [MAX + 1, 1 << 31] {
            for payload in of_path(dialect, path) {
                let (code, reason) = verdict(dialect, &payload);
                assert_eq!(
                    (code, &*reason),
                    (VIOLATION, "path ID is larger than MAX_PATH_ID"),
                    "{payload:?}"
                );
            }
        }
        let blocked = bytes(&[Frame::PathsBlocked(PathsBlocked { dialect, max: MAX + 1 })]);
        assert_eq!(verdict(dialect, &blocked).0, VIOLATION);
    }
}

/// One larger than any path ID can be, which a varint holds.
#[test]
fn a_path_id_that_no_nonce_has_room_for() {
    let dialect = Dialect::Draft21;
    let path = (1 << 32) + 1;
    let frames = [
        Frame::PathAbandon(PathAbandon { dialect, path, code: 0 }),
        Frame::PathStatus(PathStatus { dialect, path, seq: 5, backup: true }),
        Frame::PathRetireConnectionId(PathRetireConnectionId { dialect, path, seq: 0 }),
        Frame::PathCidsBlocked(PathCidsBlocked { dialect, path, next_seq: 0 }),
    ];
    for frame in frames {
        assert_eq!(verdict(dialect, &bytes(&[frame])).0, VIOLATION, "{frame:?}");
    }
}

#[test]
fn a_max_path_id_that_cannot_be() {
    for dialect in Dialect::ALL.iter().copied() {
        for max in [MAX - 1, 0, 1 << 32, 1 << 60] {
            let payload = bytes(&[Frame::MaxPathId(MaxPathId { dialect, max })]);
            assert_eq!(verdict(dialect, &payload).0, VIOLATION, "{max}");
        }
        let mut bout = bout(dialect);
        for max in [MAX, 10, 7, 10, u64::from(u32::MAX)] {
            bout.say(&[Frame::MaxPathId(MaxPathId { dialect, max })]);
        }
        assert_eq!(bout.puppet.close(), None, "one that does not raise it is ignored");
    }
}

#[test]
fn a_path_cids_blocked_beyond_what_was_issued() {
    let dialect = Dialect::Draft21;
    for (path, next_seq) in [(0, 100), (1, 3), (3, 1 << 40)] {
        let payload = bytes(&[Frame::PathCidsBlocked(PathCidsBlocked { dialect, path, next_seq })]);
        assert_eq!(verdict(dialect, &payload).0, VIOLATION, "{path} {next_seq}");
    }
    let mut bout = bout(dialect);
    for next_seq in 0..=2 {
        bout.say(&[Frame::PathCidsBlocked(PathCidsBlocked { dialect, path: 1, next_seq })]);
    }
    bout.say(&[Frame::PathsBlocked(PathsBlocked { dialect, max: 0 })]);
    bout.say(&[Frame::PathsBlocked(PathsBlocked { dialect, max: MAX })]);
    assert_eq!(bout.puppet.close(), None);
}

#[test]
fn an_acknowledgment_of_what_was_never_sent() {
    for dialect in Dialect::ALL.iter().copied() {
        for path in [FIRST, SECOND] {
            let (code, _) = verdict(dialect, &path_ack(dialect, path, &[0..=10_000]));
            assert_eq!(code, VIOLATION, "{path:?}");
        }
    }
}

fn new_cid(dialect: Dialect, path: u64, seq: u64, retire_prior_to: u64, cid: Cid) -> Frame<'static> {
    let cid = NewConnectionId { seq, retire_prior_to, cid, reset_token: [seq as u8; 16] };
    Frame::PathNewConnectionId(PathNewConnectionId { dialect, path, cid })
}

/// The rules of NEW_CONNECTION_ID hold for each path (RFC 9000 5.1.1, 19.15).
#[test]
fn connection_ids_of_a_path_that_break_the_rules() {
    for dialect in Dialect::ALL.iter().copied() {
        let of = |seq| Puppet::cid_of(SECOND, seq);
        let many: Vec<_> = (0..20).map(|seq| new_cid(dialect, 1, seq, 0, of(seq))).collect();
        for (what, frames, expected) in [
            ("retires more than there is", vec![new_cid(dialect, 1, 0, 1, of(0))], MALFORMED),
            ("more than we allow", many, Code::CONNECTION_ID_LIMIT_ERROR),
            (
                "one number for two",
                vec![new_cid(dialect, 1, 0, 0, of(0)), new_cid(dialect, 1, 0, 0, of(7))],
                VIOLATION,
            ),
            (
                "two numbers for one",
                vec![new_cid(dialect, 1, 0, 0, of(0)), new_cid(dialect, 1, 1, 0, of(0))],
                VIOLATION,
            ),
            (
                "two paths for one",
                vec![new_cid(dialect, 1, 0, 0, of(0)), new_cid(dialect, 2, 0, 0, of(0))],
                VIOLATION,
            ),
        ] {
            assert_eq!(verdict(dialect, &bytes(&frames)).0, expected, "{what}");
        }
        let same = new_cid(dialect, 1, 0, 0, of(0));
        let other_path = new_cid(dialect, 2, 0, 0, Puppet::cid_of(THIRD, 0));
        let mut bout = bout(dialect);
        bout.say(&[same, same, other_path]);
        assert_eq!(bout.puppet.close(), None, "the same once more, and the same number of another path");
    }
}

#[test]
fn a_retirement_that_cannot_be() {
    for dialect in Dialect::ALL.iter().copied() {
        let retire = |path, seq| Frame::PathRetireConnectionId(PathRetireConnectionId { dialect, path, seq });
        assert_eq!(verdict(dialect, &bytes(&[retire(1, 2)])).0, VIOLATION, "never issued");
        assert_eq!(verdict(dialect, &bytes(&[retire(0, 0)])).0, VIOLATION, "that of the packet itself");
        let mut bout = bout(dialect);
        bout.say_on(SECOND, PUPPET, &[retire(1, 0)]);
        assert_eq!(bout.error().code, VIOLATION, "that of the packet itself, on another path");
    }
}

/// Without PATH_ the frames speak of path 0.
#[test]
fn a_retirement_without_a_path_is_of_the_first() {
    let mut bout = bout(Dialect::Draft21);
    let issued = |bout: &mut Bout| bout.connection().usage().local_cids;
    let before = issued(&mut bout);
    bout.say(&[Frame::RetireConnectionId(RetireConnectionId { seq: 1 })]);
    bout.say(&[Frame::RetireConnectionId(RetireConnectionId { seq: 1 })]);
    assert_eq!(bout.puppet.close(), None);
    assert_eq!(issued(&mut bout), before, "and another one in its place");
    bout.say(&[Frame::RetireConnectionId(RetireConnectionId { seq: 100 })]);
    assert_eq!(bout.error().code, VIOLATION);
}

/// draft-21 4 and draft-11 7 differ in the code.
#[test]
fn frames_of_multipath_in_packets_of_the_handshake() {
    for (dialect, expected) in [(Dialect::Draft21, VIOLATION), (Dialect::Draft11, MALFORMED)] {
        for payload in of_path(dialect, 0) {
            let mut bout = Bout::new(server(), Puppet::client(2));
            let mut params = bout.puppet.params();
            offers(dialect, &mut params);
            bout.puppet.start(&params);
            bout.hear();
            let crypto = bout.puppet.crypto(Level::Initial).unwrap();
            bout.send(Level::Initial, &crypto);
            bout.send(Level::Handshake, &payload);
            assert_eq!(bout.error().code, expected, "{payload:?}");
        }
    }
}

/// Of a dialect that is not spoken, or with nobody who wanted any.
#[test]
fn frames_that_were_not_agreed_on() {
    for (spoken, other) in [
        (Some(Dialect::Draft21), Dialect::Draft11),
        (Some(Dialect::Draft11), Dialect::Draft21),
        (None, Dialect::Draft21),
        (None, Dialect::Draft11),
    ] {
        let mut payloads = of_path(other, 0);
        payloads.push(bytes(&[Frame::MaxPathId(MaxPathId { dialect: other, max: 9 })]));
        payloads.push(bytes(&[Frame::PathsBlocked(PathsBlocked { dialect: other, max: 0 })]));
        for payload in payloads {
            let mut bout = match spoken {
                Some(dialect) => bout(dialect),
                None => Bout::against_server(server()),
            };
            bout.send(Level::OneRtt, &payload);
            assert_eq!(bout.error().code, MALFORMED, "{payload:?}");
        }
    }
}

#[test]
fn an_initial_max_path_id_that_is_too_large() {
    for dialect in Dialect::ALL.iter().copied() {
        for (max, refused) in [(u64::from(u32::MAX), false), (1 << 32, true), ((1 << 62) - 1, true)] {
            let mut bout = Bout::new(server(), Puppet::client(2));
            let params = bout.puppet.params();
            let mut encoded = [0; 512];
            let mut out = Writer::new(&mut encoded);
            params.emit(peregrine_core::ids::Side::Client, None, &mut out).unwrap();
            out.varint(dialect.numbers().initial_max_path_id).unwrap();
            out.varint(8).unwrap();
            out.bytes(&(max | 3 << 62).to_be_bytes()).unwrap();
            let encoded = out.written().to_vec();
            bout.puppet.start_raw(&encoded);
            bout.puppet.dialect = Some(dialect);
            bout.shake_hands();
            let told = bout.puppet.close().map(|close| close.code);
            assert_eq!(told, refused.then_some(Code::TRANSPORT_PARAMETER_ERROR), "{max:#x}");
        }
    }
}

/// draft-21 2.1: whoever offers multipath must have connection IDs.
#[test]
fn multipath_offered_with_a_connection_id_of_no_bytes() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut bout = Bout::new(server(), Puppet::client(2));
        bout.puppet.scid = Cid::EMPTY;
        let mut params = bout.puppet.params();
        offers(dialect, &mut params);
        bout.puppet.start(&params);
        bout.shake_hands();
        assert_eq!(bout.error().code, VIOLATION);
    }
}
