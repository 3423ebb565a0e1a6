use std::net::SocketAddr;
use std::sync::Arc;

use peregrine_core::error::{Code, TransportError};
use peregrine_core::ids::{Dir, Side, StreamId};
use peregrine_core::lifecycle::{Cause, Close};
use peregrine_core::session::{Key, Level};
use peregrine_core::wire::frame::{self, Frame, Frames, Kind};
use peregrine_core::wire::params::{PreferredAddress, TransportParams};
use peregrine_core::wire::version::Offered;
use peregrine_core::wire::{Cid, Writer};
use serde_json::{Value, json};

use super::Qlog;
use super::frames::frames;
use super::log::{CREDIT, Log};
use super::news::closed;
use super::packets::{self, Packet};
use super::schema::Schema;
use super::words::{end, parameters};

const SECRET: [u8; 16] = [0xa5; 16];

fn emitted(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = [0; 512];
    let mut out = Writer::new(&mut bytes);
    frames.iter().for_each(|frame| frame.emit(&mut out).unwrap());
    out.written().to_vec()
}

/// One of each kind.
fn all() -> Vec<Frame<'static>> {
    let cid = Cid::new(&[1, 2, 3, 4]).unwrap();
    let id = StreamId(4);
    vec![
        Frame::Padding(frame::Padding { len: 3 }),
        Frame::Ping(frame::Ping),
        Frame::ResetStream(frame::ResetStream { id, code: 7, final_size: 9 }),
        Frame::StopSending(frame::StopSending { id, code: 7 }),
        Frame::Crypto(frame::Crypto { offset: 5, data: &SECRET }),
        Frame::NewToken(frame::NewToken { token: &SECRET }),
        Frame::Stream(frame::Stream { id, offset: 5, data: &SECRET, fin: true }),
        Frame::MaxData(frame::MaxData { max: (1 << 62) - 1 }),
        Frame::MaxStreamData(frame::MaxStreamData { id, max: 5 }),
        Frame::MaxStreams(frame::MaxStreams { dir: Dir::Bi, max: 5 }),
        Frame::DataBlocked(frame::DataBlocked { limit: 5 }),
        Frame::StreamDataBlocked(frame::StreamDataBlocked { id, limit: 5 }),
        Frame::StreamsBlocked(frame::StreamsBlocked { dir: Dir::Uni, limit: 5 }),
        Frame::NewConnectionId(frame::NewConnectionId {
            seq: 2,
            retire_prior_to: 1,
            cid,
            reset_token: SECRET,
        }),
        Frame::RetireConnectionId(frame::RetireConnectionId { seq: 1 }),
        Frame::PathChallenge(frame::PathChallenge { data: [8; 8] }),
        Frame::PathResponse(frame::PathResponse { data: [8; 8] }),
        Frame::ConnectionClose(frame::ConnectionClose { code: 0x10a, frame: Some(6), reason: b"why" }),
        Frame::ConnectionClose(frame::ConnectionClose { code: 0x99, frame: Some(0), reason: b"\xff" }),
        Frame::ConnectionClose(frame::ConnectionClose { code: 3, frame: None, reason: b"" }),
        Frame::HandshakeDone(frame::HandshakeDone),
        Frame::Datagram(frame::Datagram { data: &SECRET }),
    ]
}

fn has_secret(value: &Value) -> bool {
    value.to_string().contains("a5a5")
}

#[test]
fn every_frame_is_as_the_schema_has_it_and_tells_no_secret() {
    let schema = Schema::new();
    let mut payload = emitted(&all());
    // ACK with two ranges and counts, written out: there is no other way to make one.
    payload.extend([0x03, 10, 60, 1, 0, 3, 2, 1, 2, 3]);
    // A type that nobody knows ends the list.
    payload.push(0x3f);
    let values = frames(Frames::new(Level::OneRtt, &payload), 3);
    let kinds: Vec<&str> = values.iter().map(|value| value["frame_type"].as_str().unwrap()).collect();
    for value in &values {
        schema.check("frame", value).unwrap();
        assert!(!has_secret(value), "{value}");
    }
    assert_eq!(values.len(), all().len() + 2);
    for kind in Kind::ALL.iter().filter(|kind| !kind.is_multipath()) {
        let name = format!("{kind:?}").to_lowercase();
        assert!(kinds.iter().any(|told| told.replace('_', "") == name), "{name} {kinds:?}");
    }
    let expected = json!({
        "frame_type": "ack", "ack_delay": 0.48, "acked_ranges": [[10], [3, 5]], "ect0": 1, "ect1": 2, "ce": 3,
    });
    assert!(values.contains(&expected), "{values:?}");
    assert!(values.contains(&json!({ "frame_type": "unknown", "frame_type_bytes": 0x3f })));
}

#[test]
fn headers_are_told_but_for_tokens() {
    let schema = Schema::new();
    let long = |level, number, bytes: &[u8]| {
        let key = Key::first(level);
        let packet = Packet {
            key,
            number,
            header: bytes,
            payload: &[1],
            len: bytes.len() + 17,
            ack_delay_exponent: 3,
            dialect: None,
        };
        let value = packet.value();
        schema.check("packet_sent", &value).unwrap();
        value["header"].clone()
    };
    let mut initial = vec![0xc1, 0, 0, 0, 1, 2, 0xd1, 0xd2, 1, 0x51, 4];
    initial.extend([0xa5; 4]);
    initial.extend([0x40, 19, 0x12, 0x34]);
    let header = json!({
        "packet_type": "initial", "packet_number": 0x1234, "packet_number_length": 2, "version": "00000001",
        "dcid": "d1d2", "dcil": 2, "scid": "51", "scil": 1, "token": { "raw": { "length": 4 } },
    });
    assert_eq!(long(Level::Initial, 0x1234, &initial), header);
    let key = Key { level: Level::OneRtt, generation: 2 };
    let packet = Packet {
        key,
        number: 9,
        header: &[0x64, 0xd1, 0xd2, 9],
        payload: &[1],
        len: 21,
        ack_delay_exponent: 3,
        dialect: None,
    };
    let header = json!({
        "packet_type": "1RTT", "packet_number": 9, "packet_number_length": 1, "dcid": "d1d2", "dcil": 2,
        "key_phase": 2, "spin_bit": true,
    });
    assert_eq!(packet.value()["header"], header);
    let retry = packets::retry(&[0xf0, 0, 0, 0, 1, 1, 0xd1, 1, 0x51, 0xa5, 0xa5, 0xa5], 16);
    schema.check("packet_received", &retry).unwrap();
    assert_eq!(retry["header"]["token"], json!({ "type": "retry", "raw": { "length": 3 } }));
    assert!(!has_secret(&retry));
}

#[test]
fn every_end_is_as_the_schema_has_it() {
    let schema = Schema::new();
    let transport = |code| Close::transport(&TransportError::new(code, "words"));
    for (cause, expected) in [
        (Cause::Idle, json!({ "initiator": "local", "trigger": "idle_timeout" })),
        (Cause::StatelessReset, json!({ "initiator": "remote", "trigger": "stateless_reset" })),
        (Cause::Version(Offered::default()), json!({ "initiator": "local", "trigger": "version_mismatch" })),
        (
            Cause::Peer(Close::application(9, "")),
            json!({
                "initiator": "remote", "application_error": "unknown", "error_code": 9, "trigger": "application",
            }),
        ),
        (
            Cause::Local(transport(Code::crypto(42))),
            json!({
                "initiator": "local", "connection_error": "crypto_error_0x12a", "trigger": "error", "reason": "words",
            }),
        ),
        (
            Cause::Local(transport(Code(0x4242))),
            json!({
                "initiator": "local", "connection_error": "unknown", "error_code": 0x4242, "trigger": "error",
                "reason": "words",
            }),
        ),
    ] {
        schema.check("connection_closed", &closed(&cause)).unwrap();
        assert_eq!(closed(&cause), expected);
    }
    for cause in [Cause::HandshakeTimeout, Cause::NoRoute] {
        schema.check("connection_closed", &closed(&cause)).unwrap();
    }
}

#[test]
fn parameters_are_told_but_for_reset_tokens() {
    let preferred = PreferredAddress {
        v4: Some("192.0.2.1:443".parse().unwrap()),
        v6: None,
        cid: Cid::new(&[1]).unwrap(),
        reset_token: SECRET,
    };
    let params = TransportParams {
        original_dcid: Cid::new(&[0xd1, 0xd2]),
        stateless_reset_token: Some(SECRET),
        preferred_address: Some(preferred),
        disable_active_migration: true,
        ..TransportParams::default()
    };
    let value = parameters("remote", &params);
    Schema::new().check("parameters_set", &value).unwrap();
    assert_eq!(value["original_destination_connection_id"], "d1d2");
    assert!(value["disable_active_migration"] == true && value["max_ack_delay"] == 25);
    assert!(!has_secret(&value), "{value}");
}

#[test]
fn the_schema_refuses_what_it_does_not_have() {
    let schema = Schema::new();
    let address: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
    let good = json!({ "tuple_id": "1", "tuple_local": end(address), "tuple_remote": { "port_v4": 1 } });
    schema.check("tuple_assigned", &good).unwrap();
    for (path, value, why) in [
        ("/tuple_id", json!(1), "is no text"),
        ("/tuple_local", json!(["::"]), "is no map"),
        ("/tuple_remote/port_v4", json!(65_536), "is no uint16"),
        ("/tuple_local/connection_ids", json!([]), "has another length"),
        ("/tuple_local/connection_ids", json!(["ABC"]), "is no hexstring"),
        ("/tuple_local/address", json!("::"), "is unknown"),
        ("/tuple", json!("1"), "is unknown"),
    ] {
        let mut bad = good.clone();
        let (parent, name) = path.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[name] = value;
        let error = schema.check("tuple_assigned", &bad).unwrap_err();
        assert!(error.contains(why), "{path}: {error}");
    }
    assert_eq!(schema.required("tuple_assigned"), ["tuple_id"]);
    assert!(schema.check("tuple_assigned", &json!({})).unwrap_err().contains("tuple_id is missing"));
    assert!(schema.check("ack", &json!({ "frame_type": "ack", "acked_ranges": [[1, 2, 3]] })).is_err());
    assert!(
        schema.check_record(&json!({ "time": 0, "name": "quic:path_assigned", "data": {} }), false).is_err()
    );
    assert!(schema.check_record(&json!({ "time": 0, "name": "h3:frame", "data": {} }), false).is_err());
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_dcid_that_comes_again_is_another_file_and_no_reason_to_warn() {
    let folder = tempfile::tempdir().unwrap();
    let qlog = Qlog::new(folder.path(), |why: &str| panic!("{why}")).unwrap();
    for _ in 0..3 {
        let mut log = Log::new(Arc::clone(&qlog.0), Side::Server);
        log.odcid = Cid::new(&[0xd1]);
        log.enter("attempted");
    }
    assert_eq!(names(folder.path()), ["d1_server.sqlog", "d1_server_2.sqlog", "d1_server_3.sqlog"]);
    // Those of another run are there already.
    let again = Qlog::new(folder.path(), |why: &str| panic!("{why}")).unwrap();
    again.0.create("d1_server").unwrap();
    assert!(names(folder.path()).contains(&"d1_server_4.sqlog".into()));
}

#[test]
fn what_is_not_authentic_is_written_only_so_often() {
    let folder = tempfile::tempdir().unwrap();
    let qlog = Qlog::new(folder.path(), |why: &str| panic!("{why}")).unwrap();
    let mut log = Log::new(Arc::clone(&qlog.0), Side::Server);
    let mut drop_many = |authentic: u32| {
        (0..authentic).for_each(|_| log.on_authentic());
        (0..1000).for_each(|_| log.dropped(json!({ "trigger": "decryption_failure" })));
        log.end();
        log.write_pending(None);
        let name = names(folder.path()).pop().unwrap();
        std::fs::read_to_string(folder.path().join(name)).unwrap().matches("packet_dropped").count() as u32
    };
    assert_eq!(drop_many(0), CREDIT);
    assert_eq!(drop_many(3), CREDIT + 3, "what is authentic pays for more");
    assert_eq!(drop_many(1000), 2 * CREDIT + 3, "but only for so much at a time");
}
