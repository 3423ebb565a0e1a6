//! The board, QEMU's mps2-an386: all that is unsafe or knows an address.
//!
//! The network of the firmwares that are only linked, `Registers`, is made up: the compiler cannot know what comes out of
//! it, so nothing is optimised away.

use core::net::{Ipv4Addr, SocketAddr};
use core::panic::{Location, PanicInfo};
use core::ptr;

use peregrine_core::ids::FourTuple;
use peregrine_core::time::Instant;
use rand_core::{TryCryptoRng, TryRng};

/// CMSDK timer 0: counts down at 25 MHz.
const TIMER: usize = 0x4000_0000;
/// A device that there is not.
const DEVICE: usize = 0x4800_0000;

fn read(address: usize) -> u32 {
    // SAFETY: an aligned address in the peripheral region of the memory map, where no Rust object lies.
    unsafe { ptr::read_volatile(ptr::without_provenance(address)) }
}

fn write(address: usize, value: u32) {
    // SAFETY: as in `read`.
    unsafe { ptr::write_volatile(ptr::without_provenance_mut(address), value) }
}

/// Ends the emulation: all is well.
pub fn exit() -> ! {
    cortex_m_semihosting::debug::exit(cortex_m_semihosting::debug::EXIT_SUCCESS);
    halt()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if cfg!(feature = "places")
        && let Some(place) = info.location()
    {
        tell(place);
    }
    halt()
}

fn halt() -> ! {
    loop {
        cortex_m::asm::nop();
    }
}

/// Says where it went wrong, without `core::fmt`, and ends the emulation.
fn tell(place: &Location<'_>) {
    let mut line = [b' '; 8];
    let mut rest = place.line();
    for digit in line.iter_mut().rev().skip(1) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if let Some(last) = line.last_mut() {
        *last = b'\n';
    }
    if let Ok(mut host) = cortex_m_semihosting::hio::hstderr() {
        let _ = host.write_all(place.file().as_bytes()).and_then(|()| host.write_all(&line));
    }
    cortex_m_semihosting::debug::exit(cortex_m_semihosting::debug::EXIT_FAILURE);
}

/// Instructions so far, under `-icount shift=0`, to 40: there they take a nanosecond each. Only differences mean anything.
pub mod instructions {
    use super::{TIMER, read, write};

    /// Starts to count.
    pub fn start() {
        write(TIMER + 8, u32::MAX);
        write(TIMER + 4, u32::MAX);
        write(TIMER, 1);
    }

    /// How many instructions `act` takes, and what it returns.
    pub fn of<R>(act: impl FnOnce() -> R) -> (u64, R) {
        let before = read(TIMER + 4);
        let result = act();
        (u64::from(before.wrapping_sub(read(TIMER + 4))) * 40, result)
    }
}

/// The stack, painted.
pub mod stack {
    use core::ptr;

    const PAINT: u32 = 0xa5a5_5a5a;
    /// Bytes painted.
    const DEPTH: usize = 64 * 1024;
    /// Bytes next to the stack pointer that belong to whoever paints.
    const OWN: usize = 128;

    /// How many bytes of stack `act` takes below its caller, and what it returns. To less than [`OWN`] bytes it says zero.
    #[inline(never)]
    pub fn of<R>(act: impl FnOnce() -> R) -> (usize, R) {
        let top = cortex_m::register::msp::read() as usize & !3;
        let words = || (top - DEPTH..top - OWN).step_by(4);
        for word in words() {
            // SAFETY: the RAM below the stack pointer is free, and far larger than this: nothing else lies there.
            unsafe { ptr::write_volatile(ptr::with_exposed_provenance_mut(word), PAINT) }
        }
        let result = act();
        // SAFETY: as above.
        let is_used =
            |word: &usize| unsafe { ptr::read_volatile(ptr::with_exposed_provenance::<u32>(*word)) } != PAINT;
        (words().find(is_used).map_or(0, |lowest| top - lowest), result)
    }
}

/// A network, a clock, an application and a source of randomness behind registers.
pub struct Registers;

impl Registers {
    /// The time.
    pub fn now(&self) -> Instant {
        Instant::from_micros(u64::from(read(DEVICE)) << 32 | u64::from(read(DEVICE + 4)))
    }

    /// The next byte for the application to send, if there is one.
    pub fn sensed(&self) -> Option<u8> {
        u8::try_from(read(DEVICE + 8)).ok()
    }

    /// The application takes a word.
    pub fn show(&self, word: u32) {
        write(DEVICE + 12, word);
    }

    /// Takes a datagram that arrived; returns its length.
    pub fn receive(&self, datagram: &mut [u8]) -> Option<usize> {
        let len = usize::try_from(read(DEVICE + 16)).ok().filter(|len| *len > 0)?;
        for byte in datagram.get_mut(..len)? {
            *byte = read(DEVICE + 20) as u8;
        }
        Some(len)
    }

    /// Sends a datagram.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) {
        if let SocketAddr::V4(to) = to {
            write(DEVICE + 24, u32::from(*to.ip()));
            write(DEVICE + 28, u32::from(to.port()));
        }
        for byte in datagram {
            write(DEVICE + 32, u32::from(*byte));
        }
    }

    /// The addresses that datagrams go from and to.
    pub fn addresses(&self) -> FourTuple {
        let address =
            |at: usize| SocketAddr::from((Ipv4Addr::from(read(DEVICE + at)), read(DEVICE + at + 4) as u16));
        FourTuple { local: address(36), remote: address(44), interface: read(DEVICE + 52) }
    }

    /// Those of another network, which leads to the same place.
    pub fn addresses_beside(&self) -> FourTuple {
        let local = SocketAddr::from((Ipv4Addr::from(read(DEVICE + 60)), read(DEVICE + 64) as u16));
        FourTuple { local, interface: read(DEVICE + 68), ..self.addresses() }
    }

    /// Whether the datagram that arrived last came over the other network.
    pub fn came_beside(&self) -> bool {
        read(DEVICE + 72) != 0
    }
}

impl TryRng for Registers {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(read(DEVICE + 56))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from(read(DEVICE + 56)) << 32 | u64::from(read(DEVICE + 56)))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for byte in out {
            *byte = read(DEVICE + 56) as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for Registers {}
