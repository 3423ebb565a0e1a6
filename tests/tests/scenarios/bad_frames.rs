//! Frames that a peer must not send. Each ends the connection with the right code, the frame to blame and a reason in words,
//! which the peer and the application are told alike ([`Bout::error`]).

use peregrine_core::error::Code;
use peregrine_core::ids::{Dir, Side, StreamId};
use peregrine_core::session::Level;
use peregrine_core::wire::Cid;
use peregrine_core::wire::frame::{
    ConnectionClose, Crypto, DataBlocked, Datagram, Frame, HandshakeDone, Kind, MaxData, MaxStreamData,
    MaxStreams, NewConnectionId, NewToken, Padding, PathChallenge, PathResponse, Ping, ResetStream,
    RetireConnectionId, StopSending, Stream, StreamDataBlocked, StreamsBlocked,
};
use peregrine_tests::puppet::{Bout, Puppet, ack, bytes};
use peregrine_tests::quic::Setup;

const VIOLATION: Code = Code::PROTOCOL_VIOLATION;
const MALFORMED: Code = Code::FRAME_ENCODING_ERROR;

/// A stream that a client opens.
fn client_stream(dir: Dir, index: u64) -> StreamId {
    StreamId::new(Side::Client, dir, index)
}

fn server_stream(dir: Dir, index: u64) -> StreamId {
    StreamId::new(Side::Server, dir, index)
}

fn cid_frame(seq: u64, retire_prior_to: u64) -> Frame<'static> {
    let cid = Cid::new(&(seq + 0x1000).to_be_bytes()).unwrap();
    Frame::NewConnectionId(NewConnectionId { seq, retire_prior_to, cid, reset_token: [seq as u8; 16] })
}

/// A frame of each row of the table, as bytes that parse.
fn sample(kind: Kind) -> Vec<u8> {
    let id = client_stream(Dir::Bi, 0);
    let frame = match kind {
        Kind::Ack => return ack(&[0..=0]),
        Kind::Padding => Frame::Padding(Padding { len: 1 }),
        Kind::Ping => Frame::Ping(Ping),
        Kind::ResetStream => Frame::ResetStream(ResetStream { id, code: 1, final_size: 0 }),
        Kind::StopSending => Frame::StopSending(StopSending { id, code: 1 }),
        Kind::Crypto => Frame::Crypto(Crypto { offset: 0, data: b"x" }),
        Kind::NewToken => Frame::NewToken(NewToken { token: b"token" }),
        Kind::Stream => Frame::Stream(Stream { id, offset: 0, data: b"x", fin: false }),
        Kind::MaxData => Frame::MaxData(MaxData { max: 1 }),
        Kind::MaxStreamData => Frame::MaxStreamData(MaxStreamData { id, max: 1 }),
        Kind::MaxStreams => Frame::MaxStreams(MaxStreams { dir: Dir::Bi, max: 1 }),
        Kind::DataBlocked => Frame::DataBlocked(DataBlocked { limit: 1 }),
        Kind::StreamDataBlocked => Frame::StreamDataBlocked(StreamDataBlocked { id, limit: 1 }),
        Kind::StreamsBlocked => Frame::StreamsBlocked(StreamsBlocked { dir: Dir::Bi, limit: 1 }),
        Kind::NewConnectionId => cid_frame(1, 0),
        Kind::RetireConnectionId => Frame::RetireConnectionId(RetireConnectionId { seq: 0 }),
        Kind::PathChallenge => Frame::PathChallenge(PathChallenge { data: [1; 8] }),
        Kind::PathResponse => Frame::PathResponse(PathResponse { data: [1; 8] }),
        Kind::ConnectionClose => {
            Frame::ConnectionClose(ConnectionClose { code: 1, frame: None, reason: b"" })
        }
        Kind::HandshakeDone => Frame::HandshakeDone(HandshakeDone),
        Kind::Datagram => Frame::Datagram(Datagram { data: b"x" }),
        kind => panic!("{kind:?} is a frame of multipath QUIC"),
    };
    bytes(&[frame])
}

/// A bout in which packets of this level are what the node waits for.
fn bout_at(level: Level, against_server: bool) -> Bout {
    if level == Level::OneRtt {
        return if against_server {
            Bout::against_server(Setup::server(1))
        } else {
            Bout::against_client(Setup::client(1))
        };
    }
    let mut bout = if against_server {
        Bout::new(Setup::server(1), Puppet::client(2))
    } else {
        let mut bout = Bout::new(Setup::client(1), Puppet::server(2));
        bout.connect();
        bout
    };
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    bout.hear();
    if against_server || level == Level::Handshake {
        let crypto = bout.puppet.crypto(Level::Initial).unwrap();
        bout.send(Level::Initial, &crypto);
    }
    bout
}

/// RFC 9000 12.4, table 3: each frame in each packet type that must not hold it. One for the application in a packet of
/// the handshake is among them (12.5).
#[test]
fn frames_in_the_wrong_packet_type() {
    let mut tried = 0;
    for against_server in [true, false] {
        for level in [Level::Initial, Level::Handshake, Level::OneRtt] {
            for kind in Kind::ALL.iter().filter(|kind| !kind.is_multipath()) {
                let close_of_application = *kind == Kind::ConnectionClose && level != Level::OneRtt;
                if kind.rules().allowed_in(level) && !close_of_application {
                    continue;
                }
                let mut bout = bout_at(level, against_server);
                let sample = sample(*kind);
                bout.send(level, &sample);
                let error = bout.error();
                assert_eq!(error.code, VIOLATION, "{kind:?} {level:?}");
                assert_eq!(error.frame, Some(u64::from(sample[0])), "{kind:?} {level:?}");
                assert_eq!(error.reason, "frame is not allowed in this packet type");
                tried += 1;
            }
        }
    }
    // 16 rows stand in no packet of the handshake, and the application's close: two levels, two roles.
    assert_eq!(tried, 2 * 2 * 17);
}

/// What only a server may send (RFC 9000 19.7, 19.20).
#[test]
fn frames_of_servers_from_a_client() {
    for kind in [Kind::NewToken, Kind::HandshakeDone] {
        let mut bout = bout_at(Level::OneRtt, true);
        let sample = sample(kind);
        bout.send(Level::OneRtt, &sample);
        let error = bout.error();
        assert_eq!((error.code, error.frame), (VIOLATION, Some(u64::from(sample[0]))));
        assert_eq!(error.reason, "frame that only a server may send");
    }
}

#[test]
fn frames_that_do_not_parse() {
    let max = 0x3fff_ffff_ffff_ffff_u64 | 0xc000_0000_0000_0000;
    let varint = |value: u64| value.to_be_bytes().to_vec();
    let too_many_streams = ((1_u64 << 60) + 1) | 0xc000_0000_0000_0000;
    let stream_to_the_end = [&[0x0e, 0x00][..], &varint(max), &[2, 1, 1]].concat();
    let crypto_to_the_end = [&[0x06][..], &varint(max), &[2, 1, 1]].concat();
    for (what, payload, code, frame) in [
        ("no frame at all", vec![], VIOLATION, 0),
        ("an unknown type", vec![0x21], MALFORMED, 0x21),
        ("a type of a later extension", vec![0x40, 0xaf, 0], MALFORMED, 0xaf),
        ("half a type", vec![0x01, 0x40], MALFORMED, 0),
        ("a type in a longer form", vec![0x40, 0x01], VIOLATION, 0x01),
        ("ACK cut off", vec![0x02, 0x05], MALFORMED, 0x02),
        ("ACK below zero", vec![0x02, 0x01, 0x00, 0x00, 0x02], MALFORMED, 0x02),
        ("ACK gap below zero", vec![0x02, 0x04, 0x00, 0x01, 0x02, 0x05, 0x00], MALFORMED, 0x02),
        ("RESET_STREAM cut off", vec![0x04, 0x00, 0x01], MALFORMED, 0x04),
        ("STOP_SENDING cut off", vec![0x05, 0x00], MALFORMED, 0x05),
        ("CRYPTO cut off", vec![0x06, 0x00, 0x05, 1, 2], MALFORMED, 0x06),
        ("CRYPTO beyond the largest offset", crypto_to_the_end, MALFORMED, 0x06),
        ("STREAM cut off", vec![0x0a, 0x00, 0x05, 1, 2], MALFORMED, 0x0a),
        ("STREAM beyond the largest offset", stream_to_the_end, MALFORMED, 0x0e),
        ("MAX_STREAMS beyond 2^60", [&[0x12][..], &varint(too_many_streams)].concat(), MALFORMED, 0x12),
        ("STREAMS_BLOCKED beyond 2^60", [&[0x17][..], &varint(too_many_streams)].concat(), MALFORMED, 0x17),
        ("NEW_CONNECTION_ID of no bytes", [&[0x18, 1, 0, 0][..], &[9; 16]].concat(), MALFORMED, 0x18),
        ("NEW_CONNECTION_ID of 21", [&[0x18, 1, 0, 21][..], &[9; 37]].concat(), MALFORMED, 0x18),
        ("NEW_CONNECTION_ID that retires itself", [&[0x18, 1, 2, 8][..], &[9; 24]].concat(), MALFORMED, 0x18),
        ("PATH_CHALLENGE cut off", vec![0x1a, 1, 2, 3], MALFORMED, 0x1a),
        ("CONNECTION_CLOSE cut off", vec![0x1c, 1, 0, 9], MALFORMED, 0x1c),
        ("DATAGRAM cut off", vec![0x31, 9, 1], MALFORMED, 0x31),
    ] {
        let mut bout = bout_at(Level::OneRtt, true);
        bout.send(Level::OneRtt, &payload);
        let error = bout.error();
        assert_eq!((error.code, error.frame), (code, Some(frame)), "{what}");
        assert!(!error.reason.is_empty(), "{what}");
    }
    let mut bout = bout_at(Level::OneRtt, false);
    bout.send(Level::OneRtt, &[0x07, 0x00]);
    assert_eq!((bout.error().code, bout.error().frame), (MALFORMED, Some(0x07)), "an empty token");
}

/// The reserved bits are looked at only once the packet is known to be genuine (RFC 9000 17.2, 17.3.1).
#[test]
fn reserved_bits() {
    for (level, bits) in
        [(Level::OneRtt, 0x08), (Level::OneRtt, 0x10), (Level::Handshake, 0x04), (Level::Handshake, 0x08)]
    {
        let mut bout = bout_at(level, true);
        let pn = bout.puppet.next_pn[level as usize];
        let packet = bout.puppet.seal_as(level, pn, &[1; 8], |first| *first |= bits);
        bout.deliver(&packet);
        bout.hear();
        let error = bout.error();
        assert_eq!((error.code, error.reason.as_str()), (VIOLATION, "reserved header bits are set"));
    }
}

struct Case {
    what: &'static str,
    against_server: bool,
    frames: Vec<Frame<'static>>,
    code: Code,
    frame: u64,
    reason: &'static str,
}

fn against_server(
    what: &'static str,
    frames: &[Frame<'static>],
    code: Code,
    frame: u64,
    reason: &'static str,
) -> Case {
    Case { what, against_server: true, frames: frames.to_vec(), code, frame, reason }
}

fn against_client(
    what: &'static str,
    frames: &[Frame<'static>],
    code: Code,
    frame: u64,
    reason: &'static str,
) -> Case {
    Case { what, against_server: false, frames: frames.to_vec(), code, frame, reason }
}

fn stream(id: StreamId, offset: u64, data: &'static [u8], fin: bool) -> Frame<'static> {
    Frame::Stream(Stream { id, offset, data, fin })
}

fn reset(id: StreamId, final_size: u64) -> Frame<'static> {
    Frame::ResetStream(ResetStream { id, code: 7, final_size })
}

/// Flow control, stream limits, final sizes, stream states, connection IDs (RFC 9000 4, 3, 5.1). The server of these bouts
/// takes 8 bidirectional streams and 2 unidirectional ones, 800 bytes on each, 2,000 on all.
#[test]
fn frames_that_break_a_promise() {
    use {against_client as ac, against_server as as_};
    const FLOW: Code = Code::FLOW_CONTROL_ERROR;
    const LIMIT: Code = Code::STREAM_LIMIT_ERROR;
    const STATE: Code = Code::STREAM_STATE_ERROR;
    const SIZE: Code = Code::FINAL_SIZE_ERROR;
    static DATA: [u8; 900] = [7; 900];
    let bi = |index| client_stream(Dir::Bi, index);
    let uni = |index| client_stream(Dir::Uni, index);
    let server_uni = server_stream(Dir::Uni, 0);
    let server_bi = server_stream(Dir::Bi, 0);
    let max_stream_data = |id| Frame::MaxStreamData(MaxStreamData { id, max: 9 });
    let stop = |id| Frame::StopSending(StopSending { id, code: 9 });
    let retire = |seq| Frame::RetireConnectionId(RetireConnectionId { seq });
    let same_cid = |seq| {
        let cid = Cid::new(b"one cid!").unwrap();
        Frame::NewConnectionId(NewConnectionId { seq, retire_prior_to: 0, cid, reset_token: [5; 16] })
    };
    let other_token = Frame::NewConnectionId(NewConnectionId {
        seq: 1,
        retire_prior_to: 0,
        cid: Cid::new(b"one cid!").unwrap(),
        reset_token: [6; 16],
    });
    let cases = [
        as_("a stream's window", &[stream(bi(0), 1, &DATA[..800], false)], FLOW, 0x08, "stream"),
        as_("a stream's window, at a distance", &[stream(bi(0), 1 << 40, b"x", false)], FLOW, 0x08, "stream"),
        as_("a stream's window by a reset", &[reset(bi(0), 801)], FLOW, 0x04, "stream"),
        as_(
            "the connection's window",
            &[
                stream(bi(0), 0, &DATA[..800], false),
                stream(bi(1), 0, &DATA[..800], false),
                stream(bi(2), 0, &DATA[..401], false),
            ],
            FLOW,
            0x08,
            "all streams",
        ),
        as_(
            "the connection's window by a reset",
            &[stream(bi(0), 0, &DATA[..800], false), reset(bi(1), 800), reset(bi(2), 401)],
            FLOW,
            0x04,
            "all streams",
        ),
        as_("the ninth bidirectional stream", &[stream(bi(8), 0, b"", false)], LIMIT, 0x08, "MAX_STREAMS"),
        as_("the third unidirectional stream", &[stream(uni(2), 0, b"x", false)], LIMIT, 0x08, "MAX_STREAMS"),
        as_("a distant stream by a reset", &[reset(bi(1 << 50), 0)], LIMIT, 0x04, "MAX_STREAMS"),
        as_("a distant stream by a limit", &[max_stream_data(bi(9))], LIMIT, 0x11, "MAX_STREAMS"),
        as_(
            "data behind the end",
            &[stream(bi(0), 0, b"end", true), stream(bi(0), 3, b"x", false)],
            SIZE,
            0x08,
            "",
        ),
        as_(
            "an end before data",
            &[stream(bi(0), 5, b"x", false), stream(bi(0), 0, b"end", true)],
            SIZE,
            0x08,
            "",
        ),
        as_(
            "an end that moves",
            &[stream(bi(0), 0, b"end", true), stream(bi(0), 0, b"ends", true)],
            SIZE,
            0x08,
            "",
        ),
        as_("a reset that moves the end", &[stream(bi(0), 0, b"end", true), reset(bi(0), 4)], SIZE, 0x04, ""),
        as_("a reset below the data", &[stream(bi(0), 0, b"data", false), reset(bi(0), 3)], SIZE, 0x04, ""),
        as_("two resets", &[reset(bi(0), 5), reset(bi(0), 6)], SIZE, 0x04, ""),
        as_("our stream, not opened", &[stream(server_bi, 0, b"x", false)], STATE, 0x08, "not opened"),
        as_(
            "data on a stream that only we send on",
            &[stream(server_uni, 0, b"x", false)],
            STATE,
            0x08,
            "only we",
        ),
        as_("a reset of such a stream", &[reset(server_uni, 0)], STATE, 0x04, "only we"),
        as_(
            "blocked on such a stream",
            &[Frame::StreamDataBlocked(StreamDataBlocked { id: server_uni, limit: 0 })],
            STATE,
            0x15,
            "only we",
        ),
        as_(
            "a limit for a stream that only the peer sends on",
            &[max_stream_data(uni(0))],
            STATE,
            0x11,
            "only the peer",
        ),
        as_("a stop of such a stream", &[stop(uni(0))], STATE, 0x05, "only the peer"),
        as_("a stop of our stream, not opened", &[stop(server_bi)], STATE, 0x05, "not opened"),
        as_("a limit for our stream, not opened", &[max_stream_data(server_bi)], STATE, 0x11, "not opened"),
        as_(
            "too many connection IDs",
            &[1, 2, 3, 4].map(|seq| cid_frame(seq, 0)),
            Code::CONNECTION_ID_LIMIT_ERROR,
            0x18,
            "",
        ),
        as_("one number, two IDs", &[cid_frame(1, 0), same_cid(1)], VIOLATION, 0x18, "match"),
        as_("one ID, two numbers", &[same_cid(1), same_cid(2)], VIOLATION, 0x18, "match"),
        as_("one ID, two tokens", &[same_cid(1), other_token], VIOLATION, 0x18, "token"),
        as_("an ID retired that was not issued", &[retire(4)], VIOLATION, 0x19, "not issued"),
        as_("the ID retired that is written to", &[retire(0)], VIOLATION, 0x19, "addressed"),
        as_(
            "a DATAGRAM too large",
            &[Frame::Datagram(Datagram { data: &DATA })],
            VIOLATION,
            0x30,
            "max_datagram_frame_size",
        ),
        ac(
            "streams where none are allowed",
            &[stream(server_bi, 0, b"x", false)],
            LIMIT,
            0x08,
            "MAX_STREAMS",
        ),
        ac("a stream of the client, not opened", &[stream(bi(0), 0, b"x", false)], STATE, 0x08, "not opened"),
    ];
    for case in cases {
        let mut bout = if case.against_server {
            let mut setup = Setup::server(1);
            setup.endpoint.connection.peer_uni_streams = 2;
            setup.endpoint.connection.connection_window = Some(2_000);
            (setup.sizes.streams, setup.sizes.rx, setup.sizes.datagram) = (10, 900, 500);
            Bout::against_server(setup)
        } else {
            Bout::against_client(Setup::client(1))
        };
        let (last, before) = case.frames.split_last().unwrap();
        for frame in before {
            bout.say(std::slice::from_ref(frame));
            assert_eq!(bout.puppet.close(), None, "{}: too early", case.what);
        }
        bout.say(std::slice::from_ref(last));
        let error = bout.error();
        assert_eq!(
            (error.code, error.frame),
            (case.code, Some(case.frame)),
            "{}: {}",
            case.what,
            error.reason
        );
        assert!(
            !error.reason.is_empty() && error.reason.contains(case.reason),
            "{}: {}",
            case.what,
            error.reason
        );
    }
}

/// An ACK of what was never sent betrays an attacker who did not wait (RFC 9000 13.1).
#[test]
fn acknowledgments_of_what_was_not_sent() {
    for level in [Level::Initial, Level::Handshake, Level::OneRtt] {
        let mut bout = bout_at(level, true);
        bout.send(level, &ack(&[900..=1_000]));
        let error = bout.error();
        assert_eq!((error.code, error.frame), (VIOLATION, Some(0x02)), "{level:?}");
        assert!(error.reason.contains("not sent") || error.reason.contains("never sent"), "{}", error.reason);
    }
}

/// More CRYPTO data out of order than anybody needs (RFC 9000 7.5); and bytes that TLS does not expect.
#[test]
fn crypto_data_that_cannot_be() {
    let mut bout = bout_at(Level::Handshake, true);
    bout.send(Level::Handshake, &bytes(&[Frame::Crypto(Crypto { offset: 1 << 20, data: b"x" })]));
    let error = bout.error();
    assert_eq!((error.code, error.frame), (Code::CRYPTO_BUFFER_EXCEEDED, Some(0x06)));
    let mut bout = bout_at(Level::Handshake, true);
    bout.send(Level::Handshake, &bytes(&[Frame::Crypto(Crypto { offset: 0, data: &[9, 9, 9, 9, 9] })]));
    let error = bout.error();
    assert_eq!((error.code.alert(), error.frame), (Some(10), Some(0x06)));
    assert_eq!(error.reason, "null session: unexpected message");
}
