//! The board: its clocks, its generator of random numbers, its Ethernet.

use embassy_futures::block_on;
use embassy_stm32::eth::{self, Ethernet, GenericPhy, PacketQueue, Sma};
use embassy_stm32::peripherals::{ETH, ETH_SMA, RNG};
use embassy_stm32::rcc::{
    self, AHBPrescaler, APBPrescaler, Hse, HseMode, Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk,
    VoltageScale,
};
use embassy_stm32::rng::{self, Rng};
use embassy_stm32::time::Hertz;
use embassy_stm32::{Config, bind_interrupts, uid};
use peregrine_embassy::entropy::{Entropy, EntropyError};
use static_cell::StaticCell;

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    RNG => rng::InterruptHandler<RNG>;
});

/// Frames that wait on either side of the Ethernet.
const FRAMES: usize = 4;

/// The Ethernet, with a transceiver that works by the standard.
pub(crate) type Nic = Ethernet<'static, ETH, GenericPhy<Sma<'static, ETH_SMA>>>;

/// Starts the chip.
pub(crate) fn start() -> (Nic, Trng) {
    static QUEUE: StaticCell<PacketQueue<FRAMES, FRAMES>> = StaticCell::new();
    let mut config = Config::default();
    config.rcc = clocks();
    let chip = embassy_stm32::init(config);
    let nic = Ethernet::new(
        QUEUE.init_with(PacketQueue::new),
        chip.ETH,
        Interrupts,
        chip.PA1,  // REF_CLK
        chip.PA7,  // CRS_DV
        chip.PC4,  // RXD0
        chip.PC5,  // RXD1
        chip.PG13, // TXD0
        chip.PB15, // TXD1
        chip.PG11, // TX_EN
        address(),
        chip.ETH_SMA,
        chip.PA2, // MDIO
        chip.PC1, // MDC
    );
    (nic, Trng(Rng::new(chip.RNG, Interrupts)))
}

/// 250 MHz, from the 8 MHz that the debugger on the board gives; 48 MHz for random numbers.
fn clocks() -> rcc::Config {
    let mut clocks = rcc::Config::default();
    clocks.hsi = None;
    clocks.hsi48 = Some(Default::default());
    clocks.hse = Some(Hse { freq: Hertz(8_000_000), mode: HseMode::BypassDigital });
    clocks.pll1 = Some(Pll {
        source: PllSource::HSE,
        prediv: PllPreDiv::DIV2,
        mul: PllMul::MUL125,
        divp: Some(PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    clocks.sys = Sysclk::PLL1_P;
    clocks.voltage_scale = VoltageScale::Scale0;
    clocks.ahb_pre = AHBPrescaler::DIV1;
    clocks.apb1_pre = APBPrescaler::DIV1;
    clocks.apb2_pre = APBPrescaler::DIV1;
    clocks.apb3_pre = APBPrescaler::DIV1;
    clocks
}

/// A link address that no other board has nearby: from the number of the chip, marked as locally administered.
fn address() -> [u8; 6] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = uid::uid();
    [0x02, a ^ b ^ c, d ^ e, f ^ g ^ h, i ^ j, k ^ l]
}

/// The chip's true random number generator.
pub(crate) struct Trng(Rng<'static, RNG>);

impl Entropy for Trng {
    /// Spins for some microseconds a word. Those calls of the driver that look simpler try again for ever after a fault, as its start does.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        block_on(self.0.async_fill_bytes(out)).map_err(|_| EntropyError)
    }
}
