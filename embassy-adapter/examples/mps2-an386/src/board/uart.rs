//! A serial line: CMSDK UART1. Interrupts carry the bytes between the device and two pipes.

use core::convert::Infallible;

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::pipe::Pipe;
use embedded_io_async::{ErrorType, Read, Write};

use super::{Interrupt, read, write};

const DATA: usize = 0x4000_5000;
const STATE: usize = 0x4000_5004;
const CONTROL: usize = 0x4000_5008;
const INTERRUPTS: usize = 0x4000_500c;
const BAUD_DIVISOR: usize = 0x4000_5010;

/// Bits of `STATE`: the device has no room for a byte to be sent, and has one that came.
const IS_FULL: u32 = 1;
const HAS_COME: u32 = 1 << 1;
/// Bits of `INTERRUPTS`: a byte is sent, one has come.
const SENT: u32 = 1;
const CAME: u32 = 1 << 1;

/// The bytes that came. If nobody reads them in time, those that come then are lost, as on any line without flow control.
static INCOMING: Pipe<CriticalSectionRawMutex, 4096> = Pipe::new();
/// The bytes to be sent.
static OUTGOING: Pipe<CriticalSectionRawMutex, 2048> = Pipe::new();

/// What comes over the line.
pub struct Incoming(());

/// What is sent over the line.
pub struct Outgoing(());

/// Starts the line. There is one.
pub fn start() -> (Incoming, Outgoing) {
    // The least that the device allows. QEMU takes a byte at once, at whatever rate.
    write(BAUD_DIVISOR, 16);
    write(CONTROL, 0b1111); // send, receive, an interrupt for either
    Interrupt::Uart1Came.enable();
    Interrupt::Uart1Sent.enable();
    (Incoming(()), Outgoing(()))
}

/// Sends what the device has room for.
fn send() {
    while read(STATE) & IS_FULL == 0 {
        let mut byte = [0];
        if OUTGOING.try_read(&mut byte).is_err() {
            return;
        }
        write(DATA, byte[0].into());
    }
}

impl ErrorType for Incoming {
    type Error = Infallible;
}

impl Read for Incoming {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        Ok(INCOMING.read(out).await)
    }
}

impl ErrorType for Outgoing {
    type Error = Infallible;
}

impl Write for Outgoing {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let len = OUTGOING.write(bytes).await;
        // An idle device does not interrupt.
        critical_section::with(|_| send());
        Ok(len)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

// SAFETY: the name is that of the vector, and its signature too.
#[unsafe(no_mangle)]
extern "C" fn UART1_CAME() {
    write(INTERRUPTS, CAME);
    while read(STATE) & HAS_COME != 0 {
        let byte = read(DATA).to_le_bytes()[0];
        // Full: see `INCOMING`.
        let _ = INCOMING.try_write(&[byte]);
    }
}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn UART1_SENT() {
    write(INTERRUPTS, SENT);
    send();
}
