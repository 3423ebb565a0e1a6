//! Transport parameters of either side: what parses is emitted, and parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peregrine_core::ids::Side;
use peregrine_core::wire::Writer;
use peregrine_core::wire::params::TransportParams;

fuzz_target!(|bytes: &[u8]| {
    for sender in [Side::Client, Side::Server] {
        let Ok(params) = TransportParams::parse(sender, bytes) else { continue };
        let mut buffer = [0; 512];
        let mut out = Writer::new(&mut buffer);
        params.emit(sender, Some((bytes.len() as u64, b"grease")), &mut out).expect("room enough");
        assert_eq!(TransportParams::parse(sender, out.written()), Ok(params));
    }
});
