//! Core as a client with migration, over a session without cryptography.
#![no_std]
#![no_main]

use peregrine_core::ids::Side;
use peregrine_firmware::board::Registers;
use peregrine_firmware::client;
use peregrine_firmware::null::NullSession;

#[cortex_m_rt::entry]
fn main() -> ! {
    loop {
        let _ = client::run(NullSession::new(Side::Client, Registers.addresses().interface));
    }
}
