//! Ethernet for embassy-net: the LAN9118, with interrupts for frames that came and for the cable.

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;

use super::{Interrupt, read, write};

const BASE: usize = 0x4020_0000;
const RX_DATA: usize = BASE;
const TX_DATA: usize = BASE + 0x20;
const RX_STATUS: usize = BASE + 0x40;
const TX_STATUS: usize = BASE + 0x48;
const IRQ_CONFIG: usize = BASE + 0x54;
const INTERRUPTS: usize = BASE + 0x58;
const INTERRUPTS_ENABLED: usize = BASE + 0x5c;
const FIFO_LEVELS: usize = BASE + 0x68;
const TX_CONFIG: usize = BASE + 0x70;
const HARDWARE_CONFIG: usize = BASE + 0x74;
const RX_FIFO: usize = BASE + 0x7c;
const TX_FIFO: usize = BASE + 0x80;
const MAC_COMMAND: usize = BASE + 0xa4;
const MAC_DATA: usize = BASE + 0xa8;

/// Bits of `INTERRUPTS`: a frame has come, the PHY has news.
const FRAME_CAME: u32 = 1 << 3;
const PHY_NEWS: u32 = 1 << 18;

/// A frame of Ethernet without its checksum.
const FRAME_LEN: usize = 1514;
const CHECKSUM_LEN: usize = 4;

/// Who waits for frames and for the cable: embassy-net's runner.
static RUNNER: AtomicWaker = AtomicWaker::new();

/// Registers of the MAC, behind `MAC_COMMAND`.
mod mac {
    use super::{MAC_COMMAND, MAC_DATA, read, write};

    pub(super) const CONTROL: u32 = 1;
    pub(super) const ADDRESS_HIGH: u32 = 2;
    pub(super) const ADDRESS_LOW: u32 = 3;
    pub(super) const MII_ACCESS: u32 = 6;
    pub(super) const MII_DATA: u32 = 7;
    const BUSY: u32 = 1 << 31;

    pub(super) fn get(register: u32) -> u32 {
        write(MAC_COMMAND, BUSY | 1 << 30 | register);
        while read(MAC_COMMAND) & BUSY != 0 {}
        read(MAC_DATA)
    }

    pub(super) fn set(register: u32, value: u32) {
        write(MAC_DATA, value);
        write(MAC_COMMAND, BUSY | register);
        while read(MAC_COMMAND) & BUSY != 0 {}
    }
}

/// Registers of the PHY, behind the MAC's.
mod phy {
    use super::mac;

    pub(super) const STATUS: u32 = 1;
    pub(super) const NEWS: u32 = 29;
    pub(super) const NEWS_WANTED: u32 = 30;
    /// In `STATUS`.
    pub(super) const LINK_IS_UP: u32 = 1 << 2;
    /// In `NEWS` and `NEWS_WANTED`: the link is down; negotiation is over, so it is up.
    pub(super) const DOWN_OR_UP: u32 = 1 << 4 | 1 << 6;
    const ADDRESS: u32 = 1 << 11;
    const WRITE: u32 = 1 << 1;
    const BUSY: u32 = 1;

    pub(super) fn get(register: u32) -> u32 {
        mac::set(mac::MII_ACCESS, ADDRESS | register << 6 | BUSY);
        while mac::get(mac::MII_ACCESS) & BUSY != 0 {}
        mac::get(mac::MII_DATA)
    }

    pub(super) fn set(register: u32, value: u32) {
        mac::set(mac::MII_DATA, value);
        mac::set(mac::MII_ACCESS, ADDRESS | register << 6 | WRITE | BUSY);
        while mac::get(mac::MII_ACCESS) & BUSY != 0 {}
    }
}

/// The device.
pub struct Lan9118 {
    frame: Frame,
}

impl Lan9118 {
    /// Starts it. There is one.
    pub fn start() -> Self {
        write(HARDWARE_CONFIG, 1); // reset
        while read(HARDWARE_CONFIG) & 1 != 0 {}
        write(HARDWARE_CONFIG, 1 << 20 | 5 << 16); // whole frames are sent; 5 KiB for those to be sent
        write(FIFO_LEVELS, 0x4800_0000); // any frame that comes is news
        write(TX_CONFIG, 1 << 1); // transmit
        mac::set(mac::CONTROL, 1 << 20 | 1 << 3 | 1 << 2); // full duplex, transmit, receive
        phy::set(phy::NEWS_WANTED, phy::DOWN_OR_UP);
        write(IRQ_CONFIG, 1 << 8 | 1 << 4 | 1); // on, active high, push-pull
        Interrupt::Ethernet.enable();
        listen();
        Self { frame: Frame::EMPTY }
    }
}

/// Lets the device interrupt when there is news.
fn listen() {
    write(INTERRUPTS_ENABLED, FRAME_CAME | PHY_NEWS);
}

// SAFETY: the name is that of the vector, and its signature too.
#[unsafe(no_mangle)]
extern "C" fn ETHERNET() {
    write(INTERRUPTS_ENABLED, 0); // until the runner has looked
    RUNNER.wake();
}

/// The words of a frame.
struct Frame([u32; FRAME_LEN.div_ceil(4)]);

impl Frame {
    const EMPTY: Self = Self([0; FRAME_LEN.div_ceil(4)]);

    fn bytes(&mut self, len: usize) -> &mut [u8] {
        // SAFETY: these are the bytes of the words, any of which are valid, and they are lent as the words are.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast::<u8>(), size_of::<Self>()) };
        &mut bytes[..len]
    }
}

/// A frame that came.
pub struct Received<'a> {
    frame: &'a mut Frame,
    len: usize,
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, read: F) -> R {
        read(self.frame.bytes(self.len))
    }
}

/// Room for a frame to be sent.
pub struct Room;

impl TxToken for Room {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = Frame::EMPTY;
        let result = fill(frame.bytes(len));
        write(TX_DATA, 1 << 13 | 1 << 12 | len as u32); // the first and the last piece of it
        write(TX_DATA, len as u32);
        for word in &frame.0[..len.div_ceil(4)] {
            write(TX_DATA, *word);
        }
        // What became of frames does not matter, but it must be taken.
        while read(TX_FIFO) >> 16 & 0xff != 0 {
            read(TX_STATUS);
        }
        result
    }
}

impl Driver for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Room;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received<'_>, Room)> {
        RUNNER.register(cx.waker());
        loop {
            if read(RX_FIFO) >> 16 & 0xff == 0 {
                write(INTERRUPTS, FRAME_CAME);
                listen();
                // One may have come just before.
                if read(RX_FIFO) >> 16 & 0xff == 0 {
                    return None;
                }
            }
            let status = read(RX_STATUS);
            let len = (status >> 16 & 0x3fff) as usize;
            for place in 0..len.div_ceil(4) {
                let word = read(RX_DATA);
                if let Some(to) = self.frame.0.get_mut(place) {
                    *to = word;
                }
            }
            let is_bad = status & 1 << 15 != 0;
            match len.checked_sub(CHECKSUM_LEN) {
                Some(len @ 14..=FRAME_LEN) if !is_bad => {
                    return Some((Received { frame: &mut self.frame, len }, Room));
                }
                _ => {}
            }
        }
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Room> {
        // The device sends at once.
        Some(Room)
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        RUNNER.register(cx.waker());
        phy::get(phy::NEWS); // which takes them
        listen();
        if phy::get(phy::STATUS) & phy::LINK_IS_UP == 0 { LinkState::Down } else { LinkState::Up }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_LEN;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        let [a, b, c, d] = mac::get(mac::ADDRESS_LOW).to_le_bytes();
        let [e, f, ..] = mac::get(mac::ADDRESS_HIGH).to_le_bytes();
        HardwareAddress::Ethernet([a, b, c, d, e, f])
    }
}
