//! Frames of a payload at every level, in every dialect of multipath QUIC and in none: what parses is emitted, and parses
//! to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peregrine_core::session::Level;
use peregrine_core::wire::frame::{Frame, Frames};
use peregrine_core::wire::{Dialect, Writer};

fuzz_target!(|payload: &[u8]| {
    // Emitting names a length and the shortest form of no number is longer than what was read.
    let mut buffer = vec![0; payload.len() + 16];
    for dialect in Dialect::ALL.iter().copied().map(Some).chain([None]) {
        for level in Level::ALL {
            for frame in Frames::new(level, payload).in_dialect(dialect).map_while(Result::ok) {
                let ack = match &frame {
                    Frame::Ack(ack) => Some(ack),
                    Frame::PathAck(path_ack) => Some(&path_ack.ack),
                    _ => None,
                };
                if let Some(ack) = ack {
                    assert_eq!(ack.ranges().next().map(|range| *range.end()), Some(ack.largest));
                }
                let mut out = Writer::new(&mut buffer);
                frame.emit(&mut out).expect("room enough");
                let again: Vec<_> = Frames::new(level, out.written()).in_dialect(dialect).collect();
                assert_eq!(again, [Ok(frame)]);
            }
        }
    }
});
