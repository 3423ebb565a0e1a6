use super::*;
use crate::error::{Code, TransportError};
use crate::limits::MAX_VARINT;
use crate::session::Level;
use crate::table::chunk::{Chunk, HasChunk};
use crate::table::random::Random;
use crate::wire::PacketWriter;
use crate::wire::frame::{self, Frame, Frames, Kinds};
use std::collections::BTreeMap;
use std::vec::Vec;

/// A packet on its way, and what its sender notes of it.
struct Packet {
    bytes: Vec<u8>,
    rows: Vec<u16>,
    kinds: Kinds,
}

/// One endpoint: streams, their memory, and a table of sent rows with a free list.
struct End {
    streams: Streams,
    rows: Vec<Stream>,
    index: Vec<u16>,
    rx: Vec<u8>,
    tx: Vec<u8>,
    sent: Vec<Chunk>,
    free: Vec<u16>,
}

/// Runs a call with the memory lent.
macro_rules! lent {
    ($end:expr, |$streams:ident, $memory:ident, $sent:ident| $call:expr) => {{
        let End { streams: $streams, rows, index, rx, tx, sent: $sent, .. } = &mut *$end;
        let $memory = &mut StreamMemory { rows, index, rx, tx };
        let _ = &$sent;
        $call
    }};
}

/// Slots, bytes of each way per slot, sent rows, streams of the peer: bidirectional, unidirectional.
#[derive(Clone, Copy)]
struct Size {
    slots: usize,
    share: usize,
    sent: usize,
    bidi: u16,
    uni: u16,
    window: Option<u64>,
}

const SMALL: Size = Size { slots: 8, share: 90, sent: 16, bidi: 2, uni: 2, window: None };

impl End {
    fn new(side: Side, size: Size) -> Self {
        // Memory is lent full of garbage.
        let mut rows = std::vec![Stream::VACANT; size.slots];
        let mut index = std::vec![3; 2 * size.slots];
        let (mut rx, mut tx) =
            (std::vec![0xd7; size.share * size.slots], std::vec![0xd7; size.share * size.slots]);
        let config =
            StreamsConfig { side, peer_bidi: size.bidi, peer_uni: size.uni, window: size.window, secret: 77 };
        let memory = &mut StreamMemory { rows: &mut rows, index: &mut index, rx: &mut rx, tx: &mut tx };
        let streams = Streams::new(&config, memory);
        let sent = std::vec![Chunk::NOTHING; size.sent];
        Self { streams, rows, index, rx, tx, sent, free: (0..size.sent as u16).collect() }
    }

    /// A client and a server that know each other's limits.
    fn pair(size: Size) -> [Self; 2] {
        let mut ends = [Self::new(Side::Client, size), Self::new(Side::Server, size)];
        let limits = ends.each_ref().map(|end| end.streams.first_limits());
        ends[0].streams.on_first_limits(limits[1]);
        ends[1].streams.on_first_limits(limits[0]);
        for end in &mut ends {
            assert!(end.events().iter().all(|event| matches!(event, StreamEvent::Available(_))));
        }
        ends
    }

    fn open(&mut self, dir: Dir) -> Result<StreamId, OpenError> {
        lent!(self, |streams, memory, sent| streams.open(memory, dir))
    }

    fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        lent!(self, |streams, memory, sent| streams.accept(memory, dir))
    }

    fn write(&mut self, id: StreamId, bytes: &[u8]) -> Result<usize, WriteError> {
        lent!(self, |streams, memory, sent| streams.write(memory, id, bytes))
    }

    fn finish(&mut self, id: StreamId) -> Result<(), WriteError> {
        lent!(self, |streams, memory, sent| streams.finish(memory, id))
    }

    fn reset(&mut self, id: StreamId, code: u64) -> Result<(), Closed> {
        let done = lent!(self, |streams, memory, sent| streams.reset(memory, sent, id, code));
        self.collect();
        done
    }

    fn stop(&mut self, id: StreamId, code: u64) -> Result<(), Closed> {
        lent!(self, |streams, memory, sent| streams.stop(memory, id, code))
    }

    fn read(&mut self, id: StreamId, len: usize) -> Result<(Read, Vec<u8>), Closed> {
        let mut out = std::vec![0; len];
        let read = lent!(self, |streams, memory, sent| streams.read(memory, id, &mut out))?;
        out.truncate(if let Read::Bytes(len) = read { len } else { 0 });
        Ok((read, out))
    }

    fn event(&mut self) -> Option<StreamEvent> {
        lent!(self, |streams, memory, sent| streams.poll_event(memory))
    }

    fn events(&mut self) -> Vec<StreamEvent> {
        core::iter::from_fn(|| self.event()).collect()
    }

    fn states(&mut self, id: StreamId) -> Option<(SendState, RecvState)> {
        lent!(self, |streams, memory, sent| streams.states(memory, id))
    }

    fn packet(&mut self, size: usize) -> Option<Packet> {
        let mut bytes = std::vec![0; size];
        let mut out = PacketWriter::new(&mut bytes);
        let mut rows = Vec::new();
        self.streams.write_limits(&mut out);
        for data in [false, true] {
            loop {
                let spare = self.free.last().copied();
                let row = lent!(self, |streams, memory, sent| if data {
                    streams.write_data(memory, sent, spare, &Over::Any, &mut out)
                } else {
                    streams.write_control(memory, sent, spare, &mut out)
                });
                let Some(row) = row else { break };
                if Some(row) == spare {
                    self.free.pop();
                }
                assert!(!rows.contains(&row));
                rows.push(row);
            }
        }
        let (len, kinds) = (out.len(), out.kinds());
        bytes.truncate(len);
        (len > 0).then_some(Packet { bytes, rows, kinds })
    }

    fn receive(&mut self, packet: &Packet) -> Result<(), TransportError> {
        for parsed in Frames::new(Level::OneRtt, &packet.bytes) {
            self.frame(&parsed.unwrap())?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), TransportError> {
        lent!(self, |streams, memory, sent| match frame {
            Frame::Stream(frame) => streams.on_stream(memory, frame),
            Frame::ResetStream(frame) => streams.on_reset_stream(memory, *frame),
            Frame::StopSending(frame) => streams.on_stop_sending(memory, sent, *frame),
            Frame::MaxStreamData(frame) => streams.on_max_stream_data(memory, *frame),
            Frame::StreamDataBlocked(frame) => streams.on_stream_data_blocked(memory, *frame),
            Frame::MaxData(frame) => {
                streams.on_max_data(*frame);
                Ok(())
            }
            Frame::MaxStreams(frame) => {
                streams.on_max_streams(*frame);
                Ok(())
            }
            _ => Ok(()),
        })?;
        self.collect();
        Ok(())
    }

    fn acked(&mut self, packet: Packet) {
        for row in packet.rows {
            lent!(self, |streams, memory, sent| streams.on_acked(memory, sent, row));
            self.give_back(row);
        }
        self.collect();
    }

    fn lost(&mut self, packet: Packet) {
        for row in packet.rows {
            if !lent!(self, |streams, memory, sent| streams.on_lost(memory, sent, row)) {
                self.give_back(row);
            }
        }
        self.streams.on_kinds_lost(packet.kinds);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(row) = self.streams.take_row(&mut self.sent) {
            self.give_back(row);
        }
    }

    fn give_back(&mut self, row: u16) {
        assert!(!self.free.contains(&row), "row {row} freed twice");
        assert!(!self.sent[usize::from(row)].is_lost());
        self.free.push(row);
    }
}

/// Sends everything there is from one end to the other, with all packets acknowledged.
fn flush(from: &mut End, to: &mut End) {
    while let Some(packet) = from.packet(300) {
        to.receive(&packet).unwrap();
        from.acked(packet);
    }
}

fn settle(ends: &mut [End; 2]) {
    let [client, server] = ends;
    for _ in 0..3 {
        flush(client, server);
        flush(server, client);
    }
}

fn stream(id: StreamId, offset: u64, data: &[u8], fin: bool) -> Frame<'_> {
    Frame::Stream(frame::Stream { id, offset, data, fin })
}

#[test]
fn a_request_and_its_answer() {
    let mut ends = End::pair(SMALL);
    let id = ends[0].open(Dir::Bi).unwrap();
    assert_eq!((id, ends[0].states(id)), (StreamId(0), Some((SendState::Open, RecvState::Recv))));
    assert_eq!(ends[0].write(id, b"GET /"), Ok(5));
    ends[0].finish(id).unwrap();
    assert_eq!(ends[0].write(id, b"x"), Err(WriteError::Closed));
    settle(&mut ends);
    let [client, server] = &mut ends;
    assert_eq!(client.states(id), Some((SendState::DataRecvd, RecvState::Recv)));
    assert_eq!(client.events(), [StreamEvent::Finished(id)]);
    assert_eq!(server.events(), [StreamEvent::Opened(Dir::Bi), StreamEvent::Readable(id)]);
    assert_eq!((server.accept(Dir::Bi), server.accept(Dir::Bi)), (Some(id), None));
    assert_eq!(server.read(id, 3), Ok((Read::Bytes(3), b"GET".to_vec())));
    assert_eq!(server.read(id, 9), Ok((Read::Bytes(2), b" /".to_vec())));
    assert_eq!(server.states(id).unwrap().1, RecvState::DataRecvd);
    assert_eq!(server.read(id, 9), Ok((Read::Finished, Vec::new())));
    assert_eq!(server.read(id, 9), Err(Closed));
    server.write(id, b"ok").unwrap();
    server.finish(id).unwrap();
    settle(&mut ends);
    let [client, server] = &mut ends;
    // The server's stream is over once the application was told that all was received.
    assert_eq!(server.states(id), Some((SendState::DataRecvd, RecvState::DataRead)));
    assert_eq!((server.events(), server.states(id)), (std::vec![StreamEvent::Finished(id)], None));
    assert_eq!(client.events(), [StreamEvent::Readable(id)]);
    assert_eq!(client.read(id, 9), Ok((Read::Bytes(2), b"ok".to_vec())));
    assert_eq!(client.read(id, 9), Ok((Read::Finished, Vec::new())));
    assert_eq!(client.states(id), None);
    assert_eq!((client.free.len(), server.free.len()), (SMALL.sent, SMALL.sent));
}

#[test]
fn reset_and_stop_end_both_halves() {
    let mut ends = End::pair(SMALL);
    let id = ends[0].open(Dir::Bi).unwrap();
    ends[0].write(id, b"some").unwrap();
    settle(&mut ends);
    let [client, server] = &mut ends;
    server.events();
    server.write(id, b"answer").unwrap();
    client.reset(id, 7).unwrap();
    assert_eq!((client.reset(id, 8), client.write(id, b"")), (Err(Closed), Err(WriteError::Reset(7))));
    client.stop(id, 9).unwrap();
    assert_eq!((client.stop(id, 9), client.read(id, 1)), (Err(Closed), Err(Closed)));
    settle(&mut ends);
    let [client, server] = &mut ends;
    assert_eq!(server.events(), [StreamEvent::Readable(id), StreamEvent::Stopped(id, 9)]);
    assert_eq!(server.write(id, b""), Err(WriteError::Reset(9)));
    // What was not read is dropped at the reset, yet counted (RFC 9000 4.5).
    assert_eq!(server.read(id, 9), Ok((Read::Reset(7), Vec::new())));
    assert_eq!((server.states(id), client.states(id)), (None, None));
    assert_eq!(client.events(), []);
    assert_eq!((client.free.len(), server.free.len()), (SMALL.sent, SMALL.sent));
}

#[test]
fn a_higher_stream_opens_the_lower_ones_and_closed_ones_are_known() {
    let [_, mut server] = End::pair(SMALL);
    let of = |index| StreamId::new(Side::Client, Dir::Uni, index);
    server.frame(&stream(of(1), 0, b"a", true)).unwrap();
    assert_eq!(server.events(), [StreamEvent::Opened(Dir::Uni), StreamEvent::Readable(of(1))]);
    assert_eq!((server.accept(Dir::Uni), server.accept(Dir::Uni)), (Some(of(0)), Some(of(1))));
    let error = server.frame(&stream(of(2), 0, b"", false)).unwrap_err();
    assert_eq!(error.code(), Code::STREAM_LIMIT_ERROR);
    assert_eq!(server.read(of(1), 5).unwrap().0, Read::Bytes(1));
    assert_eq!(server.read(of(1), 5).unwrap().0, Read::Finished);
    // One row is free: the limit is raised by it, and what comes late for the closed stream is ignored.
    let packet = server.packet(100).unwrap();
    let told = Frames::new(Level::OneRtt, &packet.bytes).next().unwrap().unwrap();
    assert_eq!(told, Frame::MaxStreams(frame::MaxStreams { dir: Dir::Uni, max: 3 }));
    server.frame(&stream(of(1), 0, b"a", true)).unwrap();
    server.frame(&stream(of(2), 0, b"b", false)).unwrap();
    assert_eq!(server.states(of(1)), None);
    assert!(server.frame(&stream(of(3), 0, b"", false)).is_err());
}

#[test]
fn frames_for_the_wrong_half_or_an_unopened_stream() {
    let [mut client, _] = End::pair(SMALL);
    let (ours_bi, ours_uni) = (StreamId::new(Side::Client, Dir::Bi, 0), client.open(Dir::Uni).unwrap());
    let theirs_uni = StreamId::new(Side::Server, Dir::Uni, 0);
    for wrong in [
        stream(ours_bi, 0, b"x", false),
        stream(ours_uni, 0, b"x", false),
        Frame::ResetStream(frame::ResetStream { id: ours_uni, code: 0, final_size: 0 }),
        Frame::StreamDataBlocked(frame::StreamDataBlocked { id: ours_uni, limit: 0 }),
        Frame::StopSending(frame::StopSending { id: theirs_uni, code: 0 }),
        Frame::MaxStreamData(frame::MaxStreamData { id: theirs_uni, max: 9 }),
        Frame::MaxStreamData(frame::MaxStreamData { id: ours_bi, max: 9 }),
        Frame::StopSending(frame::StopSending { id: StreamId(ours_uni.0 + 4), code: 0 }),
    ] {
        assert_eq!(client.frame(&wrong).unwrap_err().code(), Code::STREAM_STATE_ERROR, "{wrong:?}");
    }
    // On the peer's bidirectional streams both kinds of frames are right, and open them (RFC 9000 3.2).
    let theirs_bi = StreamId::new(Side::Server, Dir::Bi, 1);
    client.frame(&Frame::StopSending(frame::StopSending { id: theirs_bi, code: 5 })).unwrap();
    assert_eq!(client.states(theirs_bi), Some((SendState::ResetSent, RecvState::Recv)));
    assert_eq!(client.accept(Dir::Bi), Some(StreamId::new(Side::Server, Dir::Bi, 0)));
}

#[test]
fn flow_control_of_one_stream_and_of_all() {
    let [_, mut server] = End::pair(Size { window: Some(100), ..SMALL });
    let of = |index| StreamId::new(Side::Client, Dir::Uni, index);
    let id = of(0);
    let window = server.streams.first_limits().stream_data_uni;
    assert_eq!(window, 80);
    let data = [0; 81];
    let error = server.frame(&stream(id, 0, &data, false)).unwrap_err();
    let says = |error: &TransportError, words| error.reason().contains(words) == cfg!(feature = "reasons");
    assert!(error.code() == Code::FLOW_CONTROL_ERROR && says(&error, "a stream"));
    server.frame(&stream(id, 70, &data[..10], false)).unwrap();
    server.frame(&stream(of(1), 0, &data[..20], false)).unwrap();
    let error = server.frame(&stream(of(1), 20, &data[..1], false)).unwrap_err();
    assert!(error.code() == Code::FLOW_CONTROL_ERROR && says(&error, "all streams"));
    let reset = frame::ResetStream { id, code: 1, final_size: MAX_VARINT };
    assert_eq!(server.frame(&Frame::ResetStream(reset)).unwrap_err().code(), Code::FLOW_CONTROL_ERROR);
    // A reset gives back what was never read.
    server.frame(&Frame::ResetStream(frame::ResetStream { final_size: 80, ..reset })).unwrap();
    assert!(server.streams.inflow.credit.wants_frame());
}

#[test]
fn limits_of_the_peer_are_kept_and_told() {
    let mut ends = End::pair(Size { window: Some(100), ..SMALL });
    let [client, server] = &mut ends;
    let (one, two) = (client.open(Dir::Uni).unwrap(), client.open(Dir::Uni).unwrap());
    assert_eq!(client.open(Dir::Uni), Err(OpenError::PeerLimit));
    let data = [1; 90];
    assert_eq!((client.write(one, &data), client.write(two, &data)), (Ok(90), Ok(90)));
    flush(client, server);
    // 80 bytes fill the window of the first, 20 more the window of all.
    assert_eq!(server.streams.inflow.credit.limit(), 100);
    assert!(
        server.streams.inflow.on_received(1).is_err()
            && !lent!(client, |s, m, _sent| s.wants_data(m, &Over::Any))
    );
    assert_eq!(
        (server.read(one, 90).unwrap().0, server.read(two, 90).unwrap().0),
        (Read::Bytes(80), Read::Bytes(20))
    );
    let packet = server.packet(300).unwrap();
    client.receive(&packet).unwrap();
    server.acked(packet);
    flush(client, server);
    assert_eq!(
        (server.read(one, 90).unwrap().0, server.read(two, 90).unwrap().0),
        (Read::Bytes(10), Read::Bytes(60))
    );
    settle(&mut ends);
    // 170 bytes were read when the last MAX_DATA was sent, 180 were sent.
    assert_eq!(ends[0].streams.outflow.room(), 90);
}

#[test]
fn blocked_frames_name_the_limit() {
    let [mut client, _] = End::pair(Size { window: Some(100), ..SMALL });
    let (one, two) = (client.open(Dir::Uni).unwrap(), client.open(Dir::Uni).unwrap());
    assert!(client.open(Dir::Uni).is_err());
    client.write(one, &[1; 90]).unwrap();
    client.write(two, &[1; 90]).unwrap();
    let mut told = Vec::new();
    while let Some(packet) = client.packet(300) {
        let frames = Frames::new(Level::OneRtt, &packet.bytes).map(Result::unwrap);
        told.extend(frames.filter(|frame| !matches!(frame, Frame::Stream(_))).map(|frame| match frame {
            Frame::DataBlocked(frame) => (0, frame.limit),
            Frame::StreamDataBlocked(frame) => (1 + frame.id.0, frame.limit),
            Frame::StreamsBlocked(frame) => (100, frame.limit),
            other => panic!("{other:?}"),
        }));
        client.acked(packet);
    }
    told.sort_unstable();
    assert_eq!(told, [(0, 100), (1 + one.0, 80), (100, 2)]);
}

#[test]
fn the_urgent_first_and_equals_in_turn_and_the_lost_before_all() {
    let size = Size { bidi: 4, uni: 0, slots: 8, share: 200, sent: 40, window: None };
    let [mut client, _] = End::pair(size);
    let ids: Vec<StreamId> = (0..4).map(|_| client.open(Dir::Bi).unwrap()).collect();
    for id in &ids {
        client.write(*id, &[9; 150]).unwrap();
    }
    lent!(&mut client, |s, m, _sent| s.set_priority(m, ids[2], 0)).unwrap();
    lent!(&mut client, |s, m, _sent| s.set_priority(m, ids[1], 255)).unwrap();
    let order = |packet: &Packet| {
        let Frame::Stream(frame) = Frames::new(Level::OneRtt, &packet.bytes).next().unwrap().unwrap() else {
            panic!("no stream frame")
        };
        (ids.iter().position(|id| *id == frame.id).unwrap(), frame.offset)
    };
    let packets: Vec<Packet> = (0..6).map(|_| client.packet(60).unwrap()).collect();
    let sent: Vec<(usize, u64)> = packets.iter().map(order).collect();
    assert_eq!(sent.iter().map(|(stream, _)| *stream).collect::<Vec<_>>(), [2, 2, 2, 0, 3, 0]);
    let mut packets = packets.into_iter();
    client.lost(packets.nth(4).unwrap());
    // The third stream lost its first bytes: they go before the turn of the first.
    assert_eq!(order(&client.packet(60).unwrap()), (3, 0));
    assert_eq!(order(&client.packet(60).unwrap()).0, 0);
    assert_eq!(order(&client.packet(60).unwrap()).0, 3);
}

#[test]
fn a_late_fate_of_an_earlier_stream_in_the_slot_is_ignored() {
    let size = Size { bidi: 1, uni: 0, slots: 1, share: 90, sent: 8, window: None };
    let [_, mut server] = End::pair(size);
    let of = |index| StreamId::new(Side::Client, Dir::Bi, index);
    server.frame(&stream(of(0), 0, b"x", false)).unwrap();
    server.reset(of(0), 1).unwrap();
    let first = server.packet(100).unwrap();
    // Two copies of the reset fly; one is acknowledged and ends the stream.
    let copy = Packet { bytes: Vec::new(), rows: std::vec![server.free.pop().unwrap()], kinds: first.kinds };
    *server.sent[usize::from(copy.rows[0])].chunk_mut() = server.sent[usize::from(first.rows[0])];
    server.acked(first);
    server.frame(&Frame::ResetStream(frame::ResetStream { id: of(0), code: 0, final_size: 1 })).unwrap();
    assert_eq!(server.read(of(0), 1).unwrap().0, Read::Reset(0));
    server.streams.write_limits(&mut PacketWriter::new(&mut [0; 99]));
    server.frame(&stream(of(1), 0, b"y", false)).unwrap();
    server.reset(of(1), 2).unwrap();
    server.acked(copy);
    assert_eq!(server.states(of(1)).unwrap().0, SendState::ResetSent);
    assert_eq!(server.read(of(1), 5).unwrap().1, b"y");
}

#[test]
fn rows_for_our_streams_run_out_and_come_back() {
    let size = Size { bidi: 3, uni: 0, slots: 4, share: 90, sent: 8, window: None };
    let mut ends = End::pair(size);
    let id = ends[0].open(Dir::Bi).unwrap();
    assert_eq!(ends[0].open(Dir::Bi), Err(OpenError::NoRow));
    ends[0].finish(id).unwrap();
    settle(&mut ends);
    ends[1].finish(id).unwrap();
    settle(&mut ends);
    assert_eq!(ends[0].read(id, 1).unwrap().0, Read::Finished);
    assert_eq!(
        ends[0].events(),
        [StreamEvent::Readable(id), StreamEvent::Finished(id), StreamEvent::Available(Dir::Bi)]
            .into_iter()
            .filter(|event| !matches!(event, StreamEvent::Readable(_)))
            .collect::<Vec<_>>()
    );
    assert_eq!(ends[0].open(Dir::Bi), Ok(StreamId(4)));
}

/// What an application wants of a stream it opened, and what its peer saw of it.
#[derive(Default)]
struct Story {
    len: u64,
    written: u64,
    read: u64,
    finished: bool,
    dropped: bool,
}

fn byte(id: StreamId, offset: u64) -> u8 {
    (id.0.wrapping_mul(37) ^ offset.wrapping_mul(11) ^ (offset >> 8)) as u8
}

/// Writes on with every half that may.
fn act(end: &mut End, stories: &mut BTreeMap<StreamId, Story>, random: &mut Random) {
    for (id, story) in stories.iter_mut().filter(|(_, story)| !story.finished && !story.dropped) {
        let most = random.below(120) as u64;
        let bytes: Vec<u8> =
            (story.written..story.len.min(story.written + most)).map(|at| byte(*id, at)).collect();
        match end.write(*id, &bytes) {
            Ok(taken) => story.written += taken as u64,
            Err(_) => story.dropped = true,
        }
        if story.written == story.len {
            story.finished = end.finish(*id).is_ok();
        } else if random.below(400) == 0 {
            end.reset(*id, 3).unwrap();
            story.dropped = true;
        }
    }
}

/// Reads and checks; `stories` are the peer's.
fn look(
    end: &mut End,
    ids: &mut Vec<StreamId>,
    stories: &mut BTreeMap<StreamId, Story>,
    random: &mut Random,
) {
    ids.retain(|id| {
        let Some(story) = stories.get_mut(id) else { return true };
        if random.below(300) == 0 && end.stop(*id, 4).is_ok() {
            story.dropped = true;
            return false;
        }
        match end.read(*id, random.below(100)) {
            Ok((Read::Bytes(_), bytes)) => {
                for read in bytes {
                    assert_eq!(read, byte(*id, story.read), "{id:?} at {}", story.read);
                    story.read += 1;
                }
                true
            }
            Ok((Read::Blocked, _)) => true,
            Ok((Read::Finished, _)) => {
                assert_eq!(story.read, story.len);
                false
            }
            Ok((Read::Reset(code), _)) => {
                assert!(story.dropped && code >= 3);
                false
            }
            Err(Closed) => panic!("{id:?} closed before its end was seen"),
        }
    });
}

/// Both ends open, write, finish, reset, read and stop at random while packets are lost, reordered and acknowledged late.
#[test]
fn random_lives_end_with_everything_given_back() {
    for seed in 0..40 {
        let mut random = Random::new(1_000 + seed);
        let size = Size {
            slots: 5 + random.below(6),
            share: 20 + random.below(200),
            sent: 3 + random.below(20),
            bidi: 1 + random.below(2) as u16,
            uni: 1 + random.below(2) as u16,
            window: (random.below(2) == 0).then_some(150),
        };
        let mut ends = End::pair(size);
        let mut flying: [Vec<Packet>; 2] = [Vec::new(), Vec::new()];
        // Bytes by the end that sends them; streams by the end that reads them.
        let mut stories: [BTreeMap<StreamId, Story>; 2] = Default::default();
        let mut reading: [Vec<StreamId>; 2] = Default::default();
        let mut opened = 0;
        for step in 0..6_000 {
            let calm = step > 3_000;
            let (me, peer) = if random.below(2) == 0 { (0, 1) } else { (1, 0) };
            let dir = if random.below(2) == 0 { Dir::Bi } else { Dir::Uni };
            let mut begin = |end: usize, id, random: &mut Random| {
                let len = random.below(600) as u64;
                stories[end].insert(id, Story { len, ..Story::default() });
            };
            match random.below(7) {
                0 if !calm => {
                    if let Ok(id) = ends[me].open(dir) {
                        opened += 1;
                        begin(me, id, &mut random);
                        if dir == Dir::Bi {
                            reading[me].push(id);
                        }
                    }
                }
                1 => {
                    while let Some(id) = ends[me].accept(dir) {
                        reading[me].push(id);
                        if dir == Dir::Bi {
                            begin(me, id, &mut random);
                        }
                    }
                }
                2 => act(&mut ends[me], &mut stories[me], &mut random),
                3 => look(&mut ends[me], &mut reading[me], &mut stories[peer], &mut random),
                4 => flying[me].extend(ends[me].packet(30 + random.below(150))),
                5 if !flying[me].is_empty() => {
                    let at = random.below(flying[me].len());
                    let packet = flying[me].remove(at);
                    match random.below(if calm { 2 } else { 4 }) {
                        0 | 1 => {
                            ends[peer].receive(&packet).unwrap();
                            ends[me].acked(packet);
                        }
                        // Declared lost though it arrived.
                        2 => {
                            ends[peer].receive(&packet).unwrap();
                            ends[me].lost(packet);
                        }
                        _ => ends[me].lost(packet),
                    }
                }
                _ => {
                    ends[me].events();
                }
            }
        }
        for _ in 0..400 {
            for (me, peer) in [(0, 1), (1, 0)] {
                for packet in core::mem::take(&mut flying[me]) {
                    ends[peer].receive(&packet).unwrap();
                    ends[me].acked(packet);
                }
                flying[me].extend(ends[me].packet(200));
                ends[me].events();
                for dir in [Dir::Bi, Dir::Uni] {
                    while let Some(id) = ends[me].accept(dir) {
                        reading[me].push(id);
                        if dir == Dir::Bi {
                            stories[me].insert(id, Story::default());
                        }
                    }
                }
                act(&mut ends[me], &mut stories[me], &mut random);
                look(&mut ends[me], &mut reading[me], &mut stories[peer], &mut random);
            }
        }
        assert!(opened > 5, "seed {seed}: only {opened} streams");
        for (me, peer) in [(0, 1), (1, 0)] {
            assert!(reading[me].is_empty(), "seed {seed}: {:?} still read", reading[me]);
            for id in stories[me].keys() {
                let states = ends[me].states(*id);
                assert_eq!(states, None, "seed {seed}: {id:?} never ends");
            }
            assert_eq!(
                ends[me].free.len() + flying[me].iter().map(|p| p.rows.len()).sum::<usize>(),
                size.sent
            );
            let inflow = ends[me].streams.inflow;
            assert_eq!(inflow.received(), inflow.consumed());
            assert_eq!(inflow.received(), ends[peer].streams.outflow.sent(), "seed {seed}");
        }
    }
}
