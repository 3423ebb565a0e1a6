use super::*;
use crate::ids::StreamId;

/// A half with a window of 80 bytes on a connection with one of 100.
struct Bench {
    half: RecvHalf,
    area: [u8; 90],
    inflow: Inflow,
}

impl Bench {
    fn new() -> Self {
        let mut half = RecvHalf::ABSENT;
        half.open(RecvState::Recv, 90);
        Self { half, area: [0xee; 90], inflow: Inflow::new(100) }
    }

    fn data(&mut self, offset: u64, len: usize, fin: bool) -> Result<bool, TransportError> {
        let data = &[7; 200][..len];
        let frame = frame::Stream { id: StreamId(0), offset, data, fin };
        self.half.on_stream(&mut self.area, &frame, &mut self.inflow)
    }

    fn reset(&mut self, final_size: u64) -> Result<bool, TransportError> {
        let frame = frame::ResetStream { id: StreamId(0), code: 5, final_size };
        self.half.on_reset(&mut self.area, frame, &mut self.inflow)
    }

    fn read(&mut self) -> Result<Read, Closed> {
        self.half.read(&mut self.area, &mut [0; 200], &mut self.inflow)
    }

    fn stop(&mut self) -> Result<(), Closed> {
        self.half.stop(&mut self.area, 9, &mut self.inflow)
    }

    fn stop_sent_and_acked(&mut self) {
        assert_eq!(self.half.stop_code(), Some(9));
        self.half.on_stop_sent();
        self.half.on_stop_acked();
    }

    fn is_balanced(&self) -> bool {
        self.inflow.received() == self.inflow.consumed()
    }
}

fn code(result: Result<bool, TransportError>) -> Code {
    result.unwrap_err().code()
}

#[test]
fn all_data_then_the_end() {
    let mut bench = Bench::new();
    assert_eq!((bench.data(10, 10, true), bench.half.state()), (Ok(false), RecvState::SizeKnown));
    assert_eq!(bench.read(), Ok(Read::Blocked));
    assert_eq!((bench.data(0, 5, false), bench.data(2, 4, false)), (Ok(true), Ok(false)));
    assert_eq!((bench.data(0, 12, false), bench.half.state()), (Ok(true), RecvState::DataRecvd));
    // A reset comes too late to take the data away.
    assert_eq!(
        (bench.reset(20), bench.read(), bench.read()),
        (Ok(false), Ok(Read::Bytes(20)), Ok(Read::Finished))
    );
    assert_eq!((bench.half.state(), bench.read()), (RecvState::DataRead, Err(Closed)));
    assert!(bench.is_balanced() && bench.half.is_over());
    assert_eq!(bench.data(0, 20, true), Ok(false));
    assert_eq!(code(bench.data(0, 21, false)), Code::FINAL_SIZE_ERROR);
}

#[test]
fn an_end_with_nothing_to_read_is_news() {
    let mut bench = Bench::new();
    assert_eq!((bench.data(0, 3, false), bench.read()), (Ok(true), Ok(Read::Bytes(3))));
    assert_eq!((bench.data(3, 0, true), bench.read()), (Ok(true), Ok(Read::Finished)));
}

#[test]
fn the_end_never_moves() {
    for known in [|bench: &mut Bench| bench.data(15, 5, true), |bench: &mut Bench| bench.reset(20)] {
        let mut bench = Bench::new();
        known(&mut bench).unwrap();
        for wrong in [bench.data(0, 21, false), bench.data(0, 19, true), bench.reset(19), bench.reset(21)] {
            assert_eq!(code(wrong), Code::FINAL_SIZE_ERROR);
        }
        assert!(bench.data(5, 15, true).is_ok() && bench.reset(20).is_ok());
    }
    let mut bench = Bench::new();
    bench.data(15, 5, false).unwrap();
    for wrong in [bench.data(0, 19, true), bench.reset(19)] {
        assert_eq!(code(wrong), Code::FINAL_SIZE_ERROR);
    }
}

#[test]
fn a_reset_drops_data_and_accounts_for_the_rest() {
    let mut bench = Bench::new();
    bench.data(0, 5, false).unwrap();
    bench.data(30, 5, false).unwrap();
    assert_eq!((bench.reset(70), bench.half.state()), (Ok(true), RecvState::ResetRecvd));
    assert!(bench.is_balanced() && bench.inflow.received() == 70);
    assert_eq!((bench.data(0, 70, true), bench.reset(70)), (Ok(false), Ok(false)));
    assert_eq!(
        (bench.read(), bench.half.state(), bench.read()),
        (Ok(Read::Reset(5)), RecvState::ResetRead, Err(Closed))
    );
}

#[test]
fn credit_comes_back_with_reading() {
    let mut bench = Bench::new();
    assert_eq!(code(bench.data(0, 81, false)), Code::FLOW_CONTROL_ERROR);
    bench.data(0, 80, false).unwrap();
    assert_eq!(bench.half.next_limit(90), None);
    assert_eq!(bench.half.peek(&bench.area).unwrap().0.len(), 80);
    bench.half.consume(&bench.area, 39, &mut bench.inflow).unwrap();
    assert_eq!(bench.half.next_limit(90), None);
    bench.half.consume(&bench.area, 1, &mut bench.inflow).unwrap();
    assert_eq!(bench.half.next_limit(90), Some(120));
    bench.half.on_limit_sent(120);
    assert_eq!(bench.half.next_limit(90), None);
    bench.half.on_limit_lost();
    assert_eq!(bench.half.next_limit(90), Some(120));
    // Once the end is known nobody needs a limit (RFC 9000 13.3).
    bench.data(80, 1, true).unwrap();
    assert_eq!(bench.half.next_limit(90), None);
    bench.half.on_limit_lost();
    assert_eq!(bench.half.next_limit(90), None);
}

#[test]
fn a_stopped_half_counts_what_comes_and_ends_by_itself() {
    let mut bench = Bench::new();
    bench.data(0, 5, false).unwrap();
    bench.data(20, 5, false).unwrap();
    assert_eq!((bench.stop(), bench.stop(), bench.read()), (Ok(()), Err(Closed), Err(Closed)));
    assert!(bench.is_balanced() && bench.inflow.received() == 25);
    assert_eq!(bench.data(5, 40, false), Ok(false));
    assert!(bench.is_balanced() && bench.inflow.received() == 45);
    bench.half.on_stop_sent();
    bench.half.on_stop_lost();
    bench.stop_sent_and_acked();
    assert_eq!((bench.reset(50), bench.half.state()), (Ok(false), RecvState::ResetRead));
    assert!(bench.is_balanced() && bench.inflow.received() == 50);
}

#[test]
fn a_reset_makes_stop_sending_superfluous() {
    let mut bench = Bench::new();
    bench.stop().unwrap();
    assert!(bench.half.wants_frame());
    bench.reset(0).unwrap();
    assert!(!bench.half.wants_frame() && bench.half.is_over());
    bench.half.on_stop_lost();
    assert!(!bench.half.wants_frame());
}

#[test]
fn a_stopped_half_that_is_finished_ends_when_the_peer_knows() {
    for end_first in [true, false] {
        let mut bench = Bench::new();
        if end_first {
            bench.data(10, 10, true).unwrap();
            bench.stop().unwrap();
            assert_eq!(bench.half.state(), RecvState::SizeKnown);
            bench.stop_sent_and_acked();
        } else {
            bench.stop().unwrap();
            bench.stop_sent_and_acked();
            assert_eq!(bench.half.state(), RecvState::Recv);
            bench.data(10, 10, true).unwrap();
        }
        assert_eq!(bench.half.state(), RecvState::DataRead);
        assert!(bench.is_balanced() && !bench.half.wants_frame());
    }
}

#[test]
fn stopping_what_is_complete_tells_the_peer_nothing() {
    let mut bench = Bench::new();
    bench.data(0, 10, true).unwrap();
    bench.stop().unwrap();
    assert!(bench.half.state() == RecvState::DataRead && !bench.half.wants_frame() && bench.is_balanced());
    let mut bench = Bench::new();
    bench.reset(10).unwrap();
    bench.stop().unwrap();
    assert!(bench.half.state() == RecvState::ResetRead && !bench.half.wants_frame() && bench.is_balanced());
}

#[test]
fn a_slot_is_used_again_after_any_end() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.data(40, 9, false).unwrap();
        bench.reset(60).unwrap();
        assert_eq!(bench.read(), Ok(Read::Reset(5)));
        bench.half.open(RecvState::Recv, 90);
        bench.inflow = Inflow::new(100);
        // No mark of the stream before is left.
        bench.data(60, 1, false).unwrap();
        bench.data(0, 40, false).unwrap();
        assert_eq!(bench.read(), Ok(Read::Bytes(40)));
        bench.reset(61).unwrap();
        bench.read().unwrap();
        bench.half.open(RecvState::Recv, 90);
        bench.inflow = Inflow::new(100);
    }
}
