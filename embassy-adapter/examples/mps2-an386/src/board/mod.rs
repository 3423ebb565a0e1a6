//! The board: QEMU's `mps2-an386`, a Cortex-M4F at 25 MHz. All that is unsafe, or knows an address, is in this folder.
//!
//! | file | what | on another board |
//! | --- | --- | --- |
//! | `clock` | time for embassy-time, from two timers | a feature of the HAL |
//! | `executor` | runs tasks, and sleeps when there is nothing to do | embassy-executor's own |
//! | `lan9118` | Ethernet for embassy-net | a driver of Embassy's, for Ethernet or a radio |
//! | `uart` | a second serial line, with a buffer each way | a buffered UART of the HAL |
//! | `log` | defmt over a serial line | defmt-rtt |
//! | `host` | command line, randomness and exit code from QEMU | **a true random number generator**: see there |

pub mod clock;
pub mod executor;
pub mod host;
pub mod lan9118;
mod log;
#[cfg(feature = "bond")]
pub mod uart;

use core::panic::PanicInfo;
use core::ptr;

/// Starts what must run before anything else does.
pub fn start() {
    log::start();
    clock::start();
}

fn read(address: usize) -> u32 {
    // SAFETY: every caller's address is an aligned register of a device of this board, where no Rust object lies.
    unsafe { ptr::read_volatile(ptr::without_provenance(address)) }
}

fn write(address: usize, value: u32) {
    // SAFETY: as in `read`; the devices in use here have no access to memory.
    unsafe { ptr::write_volatile(ptr::without_provenance_mut(address), value) }
}

/// The interrupts in use, by their numbers.
#[derive(Clone, Copy)]
enum Interrupt {
    Uart1Came = 2,
    Uart1Sent = 3,
    Timer0 = 8,
    Timer1 = 9,
    Ethernet = 13,
}

impl Interrupt {
    /// Lets the processor take it.
    fn enable(self) {
        /// NVIC_ISER0: a one enables, a zero does nothing.
        const SET_ENABLE: usize = 0xe000_e100;
        write(SET_ENABLE, 1 << self as u32);
    }
}

unsafe extern "C" {
    safe fn UART1_CAME();
    safe fn UART1_SENT();
    safe fn TIMER0();
    safe fn TIMER1();
    safe fn ETHERNET();
}

/// A row of the vector table.
#[repr(C)]
union Vector {
    handler: extern "C" fn(),
    reserved: usize,
}

/// What cortex-m-rt puts behind the vectors of the processor: those of this board's devices.
// SAFETY: the section and the name are those that cortex-m-rt's linker script expects (feature `device`), and each row is
// either a handler or zero.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [Vector; 32] = {
    let mut vectors = [const { Vector { reserved: 0 } }; 32];
    vectors[Interrupt::Uart1Came as usize] = Vector { handler: UART1_CAME };
    vectors[Interrupt::Uart1Sent as usize] = Vector { handler: UART1_SENT };
    vectors[Interrupt::Timer0 as usize] = Vector { handler: TIMER0 };
    vectors[Interrupt::Timer1 as usize] = Vector { handler: TIMER1 };
    vectors[Interrupt::Ethernet as usize] = Vector { handler: ETHERNET };
    vectors
};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    host::exit(false)
}
