//! The board and its network, without a protocol.
#![no_std]
#![no_main]

use peregrine_firmware::board::Registers;
use rand_core::TryRng as _;

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut board = Registers;
    let mut buffer = [0; 64];
    loop {
        board.show(board.now().as_micros() as u32);
        let _ = board.try_fill_bytes(&mut buffer);
        if let Some(len) = board.receive(&mut buffer) {
            board.send(board.addresses().remote, buffer.get(..len).unwrap_or_default());
        }
    }
}
