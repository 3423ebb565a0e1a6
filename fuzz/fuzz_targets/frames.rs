//! Frames of a payload at every level: what parses is emitted, and parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peregrine_core::session::Level;
use peregrine_core::wire::Writer;
use peregrine_core::wire::frame::{Frame, Frames};

fuzz_target!(|payload: &[u8]| {
    // Emitting names a length and the shortest form of no number is longer than what was read.
    let mut buffer = vec![0; payload.len() + 16];
    for level in Level::ALL {
        for frame in Frames::new(level, payload).map_while(Result::ok) {
            if let Frame::Ack(ack) = &frame {
                assert_eq!(ack.ranges().next().map(|range| *range.end()), Some(ack.largest));
            }
            let mut out = Writer::new(&mut buffer);
            frame.emit(&mut out).expect("room enough");
            let again: Vec<_> = Frames::new(level, out.written()).collect();
            assert_eq!(again, [Ok(frame)]);
        }
    }
});
