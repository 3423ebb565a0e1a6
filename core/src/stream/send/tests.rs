use super::*;
use crate::session::Level;
use crate::table::chunk::Chunk;
use crate::wire::frame::{Frame, Frames};
use std::vec::Vec;

const ID: StreamId = StreamId(4);

/// A half with 100 bytes of memory and six sent rows, of which the first free one is offered.
struct Bench {
    half: SendHalf,
    area: [u8; 100],
    rows: [Chunk; 6],
    free: Vec<u16>,
}

impl Bench {
    fn new(limit: u64) -> Self {
        let half = SendHalf::new(SendState::Open, limit);
        Self { half, area: [0xee; 100], rows: [Chunk::NOTHING; 6], free: std::vec![5, 4, 3, 2, 1, 0] }
    }

    fn write(&mut self, from: u8, len: u8) -> Result<usize, WriteError> {
        let bytes: Vec<u8> = (from..from + len).collect();
        self.half.write(&mut self.area, &bytes)
    }

    /// Sends a frame in a packet of so many bytes; returns its row, offset, bytes and fin.
    fn send(&mut self, size: usize, room: u64) -> Option<(u16, u64, Vec<u8>, bool)> {
        self.send_with(size, room, self.free.last().copied())
    }

    fn send_with(&mut self, size: usize, room: u64, spare: Option<u16>) -> Option<(u16, u64, Vec<u8>, bool)> {
        let mut bytes = std::vec![0; size];
        let mut out = PacketWriter::new(&mut bytes);
        let packet = Packet { out: &mut out, rows: &mut self.rows, spare };
        let emitted = self.half.emit(ID, 1, &self.area, room, packet)?;
        if spare == Some(emitted.row) {
            self.free.pop();
        }
        let len = out.len();
        let Frame::Stream(frame) = Frames::new(Level::OneRtt, &bytes[..len]).next().unwrap().unwrap() else {
            panic!("not a stream frame")
        };
        assert_eq!(
            emitted.fresh > 0,
            frame.offset + frame.data.len() as u64 == self.half.sent && emitted.fresh > 0
        );
        Some((emitted.row, frame.offset, frame.data.to_vec(), frame.fin))
    }

    fn acked(&mut self, row: u16) -> Progress {
        let progress = self.half.on_acked(&self.area, &mut self.rows, row);
        self.free.push(row);
        progress
    }

    fn lost(&mut self, row: u16) {
        if !self.half.on_lost(&mut self.rows, row) {
            self.free.push(row);
        }
    }
}

#[test]
fn written_sent_acknowledged() {
    let mut bench = Bench::new(1_000);
    assert_eq!((bench.half.demand(), bench.write(0, 60)), (Demand::Nothing, Ok(60)));
    assert_eq!((bench.half.demand(), bench.write(60, 60)), (Demand::Fresh, Ok(40)));
    let (one, offset, bytes, fin) = bench.send(300, 50).unwrap();
    assert_eq!((offset, bytes, fin), (0, (0..50).collect(), false));
    let (two, offset, bytes, _) = bench.send(300, 30).unwrap();
    assert_eq!((offset, bytes.len()), (50, 30));
    // Room is told once a quarter is free, and once only.
    assert_eq!(bench.acked(two), Progress::default());
    assert_eq!(bench.acked(one), Progress { room: true, finished: false });
    assert_eq!(bench.write(100, 100), Ok(80));
    bench.half.finish().unwrap();
    assert_eq!(bench.half.state(), SendState::Finishing);
    let (three, offset, bytes, fin) = bench.send(300, 1_000).unwrap();
    assert_eq!((offset, bytes, fin), (80, (80..180).collect(), true));
    assert_eq!((bench.half.state(), bench.half.demand()), (SendState::DataSent, Demand::Nothing));
    assert_eq!(bench.acked(three), Progress { room: false, finished: true });
    assert!(bench.half.is_over() && bench.half.reset(&mut bench.rows, 1).is_none());
    assert_eq!(bench.write(0, 1), Err(WriteError::Closed));
}

#[test]
fn the_end_alone_needs_no_credit() {
    let mut bench = Bench::new(10);
    bench.write(0, 10).unwrap();
    let (data, ..) = bench.send(100, 10).unwrap();
    assert_eq!((bench.half.demand(), bench.half.blocked_limit()), (Demand::Nothing, None));
    bench.half.finish().unwrap();
    assert_eq!(bench.half.demand(), Demand::Free);
    let (end, offset, bytes, fin) = bench.send(100, 0).unwrap();
    assert_eq!((offset, bytes.len(), fin), (10, 0, true));
    bench.lost(end);
    assert!(!bench.acked(data).finished);
    let (end, offset, _, fin) = bench.send_with(100, 0, None).unwrap();
    assert_eq!((offset, fin), (10, true));
    assert!(bench.acked(end).finished);
    assert_eq!(bench.free.len(), 6);
}

#[test]
fn room_is_told_once_to_who_was_refused() {
    let mut bench = Bench::new(1_000);
    bench.write(0, 100).unwrap();
    let rows: Vec<u16> = (0..4).map(|_| bench.send(300, 25).unwrap().0).collect();
    // All was taken: nobody waits.
    assert!(!bench.acked(rows[0]).room);
    assert_eq!(bench.write(100, 30), Ok(25));
    assert!(bench.acked(rows[1]).room && !bench.acked(rows[2]).room);
    // Nor does anybody wait who has finished.
    assert_eq!(bench.write(125, 60), Ok(50));
    bench.half.finish().unwrap();
    assert!(!bench.acked(rows[3]).room);
}

#[test]
fn both_limits_hold() {
    let mut bench = Bench::new(30);
    bench.write(0, 50).unwrap();
    bench.half.finish().unwrap();
    assert_eq!(bench.send(100, 20).map(|sent| (sent.2.len(), sent.3)), Some((20, false)));
    assert_eq!(bench.send(100, 20).map(|sent| (sent.2.len(), sent.3)), Some((10, false)));
    assert_eq!((bench.half.demand(), bench.half.blocked_limit()), (Demand::Nothing, Some(30)));
    bench.half.on_blocked_sent();
    bench.half.on_limit(29);
    assert_eq!((bench.half.demand(), bench.half.blocked_limit()), (Demand::Nothing, None));
    bench.half.on_limit(40);
    assert_eq!(bench.half.demand(), Demand::Fresh);
    bench.half.on_blocked_lost();
    assert_eq!(bench.half.blocked_limit(), None);
    assert_eq!(bench.send(100, 99).map(|sent| (sent.1, sent.2.len(), sent.3)), Some((30, 10, false)));
    assert_eq!(bench.half.blocked_limit(), Some(40));
}

#[test]
fn what_was_lost_goes_again_in_its_own_row() {
    let mut bench = Bench::new(1_000);
    bench.write(0, 90).unwrap();
    let rows: Vec<u16> = (0..3).map(|_| bench.send(300, 30).unwrap().0).collect();
    bench.lost(rows[1]);
    assert_eq!(bench.half.demand(), Demand::Free);
    assert_eq!(bench.send_with(33, 0, None), None, "too small, and no row for a part");
    let (row, offset, bytes, _) = bench.send_with(34, 0, None).unwrap();
    assert_eq!((row, offset, bytes), (rows[1], 30, (30..60).collect()));
    // Lost once more, it goes in two parts.
    bench.lost(row);
    let (part, offset, bytes, _) = bench.send(17, 0).unwrap();
    assert_eq!((offset, bytes), (30, (30..43).collect()));
    let (rest, offset, bytes, _) = bench.send(90, 0).unwrap();
    assert_eq!((rest, offset, bytes), (row, 43, (43..60).collect()));
    for row in [rest, rows[0], rows[2], part] {
        bench.acked(row);
    }
    assert!(bench.half.chunks.is_empty() && bench.free.len() == 6);
    assert_eq!((bench.half.ring.base(), bench.half.sent), (90, 90));
}

#[test]
fn a_reset_keeps_its_size_and_frees_what_was_lost() {
    let mut bench = Bench::new(1_000);
    bench.write(0, 90).unwrap();
    let rows: Vec<u16> = (0..2).map(|_| bench.send(300, 30).unwrap().0).collect();
    bench.lost(rows[0]);
    let mut freed = bench.half.reset(&mut bench.rows, 3).unwrap();
    assert_eq!((freed.pop(&mut bench.rows), freed.pop(&mut bench.rows)), (Some(rows[0]), None));
    assert_eq!(bench.rows[usize::from(rows[1])].carried(), Carried::Nothing);
    assert_eq!((bench.half.state(), bench.half.demand()), (SendState::ResetSent, Demand::Nothing));
    assert_eq!((bench.half.reset_frame(), bench.write(0, 1)), (Some((3, 60)), Err(WriteError::Reset(3))));
    bench.half.on_reset_sent();
    assert_eq!(bench.half.reset_frame(), None);
    bench.half.on_reset_lost();
    assert_eq!(bench.half.reset_frame(), Some((3, 60)));
    bench.half.on_reset_sent();
    bench.half.on_reset_acked();
    bench.half.on_reset_lost();
    assert_eq!((bench.half.state(), bench.half.wants_frame()), (SendState::ResetRecvd, false));
}

#[test]
fn the_length_of_a_frame_is_known_beforehand() {
    for (offset, len) in [(0, 0), (0, 63), (1, 64), (63, 70), (64, 80), (16_384, 1)] {
        let mut bytes = [0; 200];
        let mut out = PacketWriter::new(&mut bytes);
        assert_eq!(out.stream(ID, offset, len, false).unwrap().len(), len);
        assert_eq!(out.len(), frame_len(ID, offset, len));
    }
}
