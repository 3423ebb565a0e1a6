//! What this board has from the program that emulates it, by semihosting.
//!
//! **Randomness.** The board that QEMU emulates has no source of it, so this example reads the host's `/dev/urandom`. That
//! works on no real hardware, and there nothing may take its place but the chip's true random number generator: all
//! keys come from what [`Entropy`] gives. Timers, the noise of an unconnected pin, a serial number or a constant make
//! connections that anybody can read. Drivers of Embassy implement `rand_core`, for which `peregrine_embassy::entropy`
//! has adapters.

use cortex_m_semihosting::{debug, nr, syscall, syscall1};
use peregrine_embassy::entropy::{Entropy, EntropyError};

/// SYS_GET_CMDLINE.
const COMMAND_LINE: usize = 0x15;

/// The text that QEMU was given with `-semihosting-config arg=...`, if it fits.
pub fn command_line(out: &mut [u8]) -> Option<&str> {
    let mut block = [out.as_mut_ptr().expose_provenance(), out.len()];
    // SAFETY: the block holds a place and its length, and the host writes both: text into the place, its length here.
    let failed = unsafe { syscall1(COMMAND_LINE, (&raw mut block).expose_provenance()) };
    let text = out.get(..block[1]).filter(|_| failed == 0)?;
    core::str::from_utf8(text).ok()
}

/// The host's randomness: see above.
pub struct Urandom;

impl Entropy for Urandom {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        const NAME: &core::ffi::CStr = c"/dev/urandom";
        const FAILED: usize = usize::MAX;
        // SAFETY: the host reads the name, as long as we say, and writes nothing.
        let file = unsafe {
            syscall(nr::OPEN, &[NAME.as_ptr().expose_provenance(), nr::open::R_BINARY, NAME.count_bytes()])
        };
        if file == FAILED {
            return Err(EntropyError);
        }
        // SAFETY: the host writes into `out`, no more than its length, and tells how many bytes it did not write.
        let missing = unsafe { syscall(nr::READ, &[file, out.as_mut_ptr().expose_provenance(), out.len()]) };
        // SAFETY: nothing is written.
        unsafe { syscall(nr::CLOSE, &[file]) };
        if missing == 0 { Ok(()) } else { Err(EntropyError) }
    }
}

/// Ends the emulation; QEMU's exit code says whether all was well.
pub fn exit(is_well: bool) -> ! {
    loop {
        debug::exit(if is_well { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    }
}
