//! Frames as the schema writes them. What they carry for TLS and the application is told by its length alone.

use std::ops::RangeInclusive;

use peregrine_core::error::Code;
use peregrine_core::error::TransportError;
use peregrine_core::ids::Dir;
use peregrine_core::wire::frame::{Ack, ConnectionClose, Frame, Frames, NewConnectionId};
use serde_json::{Value, json};

use super::words::{error_name, hex};

/// The frames of a packet whose sender measures delays of ACKs in microseconds times two to `ack_delay_exponent`.
pub(super) fn frames(frames: Frames<'_>, ack_delay_exponent: u64) -> Vec<Value> {
    let value = |parsed: Result<Frame<'_>, TransportError>| match parsed {
        Ok(parsed) => frame(&parsed, ack_delay_exponent),
        Err(error) => match error.frame() {
            // Zero is that of no frame, and of one with a longer type than is kept.
            0 => json!({ "frame_type": "unknown" }),
            frame_type => json!({ "frame_type": "unknown", "frame_type_bytes": frame_type }),
        },
    };
    frames.map(value).collect()
}

fn frame(frame: &Frame<'_>, ack_delay_exponent: u64) -> Value {
    match frame {
        Frame::Padding(padding) => {
            json!({ "frame_type": "padding", "raw": { "payload_length": padding.len } })
        }
        Frame::Ping(_) => json!({ "frame_type": "ping" }),
        Frame::Ack(frame) => ack(frame, ack_delay_exponent),
        Frame::ResetStream(reset) => json!({
            "frame_type": "reset_stream",
            "stream_id": reset.id.0,
            "error": "unknown",
            "error_code": reset.code,
            "final_size": reset.final_size,
        }),
        Frame::StopSending(stop) => json!({
            "frame_type": "stop_sending",
            "stream_id": stop.id.0,
            "error": "unknown",
            "error_code": stop.code,
        }),
        Frame::Crypto(crypto) => json!({
            "frame_type": "crypto",
            "offset": crypto.offset,
            "raw": { "length": crypto.data.len() },
        }),
        Frame::NewToken(token) => {
            json!({ "frame_type": "new_token", "token": { "raw": { "length": token.token.len() } } })
        }
        Frame::Stream(stream) => json!({
            "frame_type": "stream",
            "stream_id": stream.id.0,
            "offset": stream.offset,
            "fin": stream.fin,
            "raw": { "length": stream.data.len() },
        }),
        Frame::MaxData(limit) => json!({ "frame_type": "max_data", "maximum": limit.max }),
        Frame::MaxStreamData(limit) => {
            json!({ "frame_type": "max_stream_data", "stream_id": limit.id.0, "maximum": limit.max })
        }
        Frame::MaxStreams(limit) => {
            json!({ "frame_type": "max_streams", "stream_type": direction(limit.dir), "maximum": limit.max })
        }
        Frame::DataBlocked(blocked) => json!({ "frame_type": "data_blocked", "limit": blocked.limit }),
        Frame::StreamDataBlocked(blocked) => {
            json!({ "frame_type": "stream_data_blocked", "stream_id": blocked.id.0, "limit": blocked.limit })
        }
        Frame::StreamsBlocked(blocked) => {
            let stream_type = direction(blocked.dir);
            json!({ "frame_type": "streams_blocked", "stream_type": stream_type, "limit": blocked.limit })
        }
        Frame::NewConnectionId(new) => new_connection_id(new),
        Frame::RetireConnectionId(retire) => {
            json!({ "frame_type": "retire_connection_id", "sequence_number": retire.seq })
        }
        Frame::PathChallenge(challenge) => {
            json!({ "frame_type": "path_challenge", "data": hex(&challenge.data) })
        }
        Frame::PathResponse(response) => {
            json!({ "frame_type": "path_response", "data": hex(&response.data) })
        }
        Frame::ConnectionClose(frame) => close(frame),
        Frame::HandshakeDone(_) => json!({ "frame_type": "handshake_done" }),
        Frame::Datagram(datagram) => {
            json!({ "frame_type": "datagram", "raw": { "length": datagram.data.len() } })
        }
        // The schema has no multipath: the names are those of the drafts, in its manner.
        Frame::PathAck(frame) => {
            let mut value = ack(&frame.ack, ack_delay_exponent);
            (value["frame_type"], value["path_id"]) = ("path_ack".into(), frame.path.into());
            value
        }
        Frame::PathAbandon(abandon) => {
            json!({ "frame_type": "path_abandon", "path_id": abandon.path, "error_code": abandon.code })
        }
        Frame::PathStatus(status) => {
            let frame_type = if status.backup { "path_status_backup" } else { "path_status_available" };
            json!({ "frame_type": frame_type, "path_id": status.path, "sequence_number": status.seq })
        }
        Frame::PathNewConnectionId(frame) => {
            let mut value = new_connection_id(&frame.cid);
            (value["frame_type"], value["path_id"]) = ("path_new_connection_id".into(), frame.path.into());
            value
        }
        Frame::PathRetireConnectionId(retire) => json!({
            "frame_type": "path_retire_connection_id",
            "path_id": retire.path,
            "sequence_number": retire.seq,
        }),
        Frame::MaxPathId(limit) => json!({ "frame_type": "max_path_id", "maximum": limit.max }),
        Frame::PathsBlocked(blocked) => json!({ "frame_type": "paths_blocked", "limit": blocked.max }),
        Frame::PathCidsBlocked(blocked) => json!({
            "frame_type": "path_cids_blocked",
            "path_id": blocked.path,
            "next_sequence_number": blocked.next_seq,
        }),
    }
}

fn new_connection_id(new: &NewConnectionId) -> Value {
    json!({
        "frame_type": "new_connection_id",
        "sequence_number": new.seq,
        "retire_prior_to": new.retire_prior_to,
        "connection_id_length": new.cid.len(),
        "connection_id": hex(new.cid.as_slice()),
    })
}

fn ack(ack: &Ack<'_>, ack_delay_exponent: u64) -> Value {
    let delay_ms = ack.delay as f64 * (ack_delay_exponent as f64).exp2() / 1e3;
    let range = |range: RangeInclusive<u64>| match range.into_inner() {
        (only, last) if only == last => json!([only]),
        (first, last) => json!([first, last]),
    };
    let ranges: Vec<Value> = ack.ranges().map(range).collect();
    let mut value = json!({ "frame_type": "ack", "ack_delay": delay_ms, "acked_ranges": ranges });
    if let Some(counts) = ack.ecn {
        (value["ect0"], value["ect1"], value["ce"]) =
            (counts.ect0.into(), counts.ect1.into(), counts.ce.into());
    }
    value
}

fn close(close: &ConnectionClose<'_>) -> Value {
    let mut value = json!({ "frame_type": "connection_close" });
    let (space, error) = match close.frame {
        Some(_) => ("transport", error_name(Code(close.code))),
        None => ("application", "unknown".into()),
    };
    if error == "unknown" {
        value["error_code"] = close.code.into();
    }
    (value["error_space"], value["error"]) = (space.into(), error.into());
    match str::from_utf8(close.reason) {
        Ok(reason) => value["reason"] = reason.into(),
        Err(_) => value["reason_bytes"] = hex(close.reason).into(),
    }
    if let Some(blamed) = close.frame.filter(|blamed| *blamed != 0) {
        value["trigger_frame_type"] = blamed.into();
    }
    value
}

const fn direction(dir: Dir) -> &'static str {
    match dir {
        Dir::Bi => "bidirectional",
        Dir::Uni => "unidirectional",
    }
}
