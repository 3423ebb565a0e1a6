//! A second network: IP over a serial line, by SLIP. It works over any UART that has `Read` and `Write` of embedded-io, as the buffered
//! ones of Embassy's HALs have. What is at the other end may be a computer (`slattach`), or a modem in a mode of its own.

use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_net_driver_channel::driver::{HardwareAddress, LinkState};
use embassy_net_driver_channel::{Device, Runner, RxRunner, State, TxRunner};
use embedded_io_async::{Read, Write};
use heapless::Vec;
use peregrine_embassy::Error;
use peregrine_embassy::entropy::Entropy;
use static_cell::StaticCell;

use crate::board::uart::{self, Incoming, Outgoing};
use crate::slip::{self, Decoder};

/// Bytes of the longest packet: less than on Ethernet, and enough for QUIC, which needs 1,228.
const MTU: usize = 1280;
/// Packets that wait for the stack, and for the line.
const PACKETS_IN: usize = 4;
const PACKETS_OUT: usize = 2;
/// Bytes that are read or written at a time.
const PIECE: usize = 64;
/// One for QUIC.
const SOCKETS: usize = 1;

/// Nobody gives addresses on a serial line: the two ends have agreed on them.
const HERE: Ipv4Cidr = Ipv4Cidr::new(Ipv4Address::new(10, 1, 0, 2), 30);
const THERE: Ipv4Address = Ipv4Address::new(10, 1, 0, 1);

/// Starts the stack.
pub fn start(spawner: Spawner, entropy: &mut impl Entropy) -> Result<Stack<'static>, Error> {
    static STATE: StaticCell<State<MTU, PACKETS_IN, PACKETS_OUT>> = StaticCell::new();
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    let mut seed = [0; 8];
    entropy.fill(&mut seed)?;
    let config = StaticConfigV4 { address: HERE, gateway: Some(THERE), dns_servers: Default::default() };
    let (packets, device) = embassy_net_driver_channel::new(STATE.init_with(State::new), HardwareAddress::Ip);
    let resources = RESOURCES.init_with(StackResources::new);
    let (stack, runner) =
        embassy_net::new(device, Config::ipv4_static(config), resources, u64::from_le_bytes(seed));
    let (incoming, outgoing) = uart::start();
    spawner.spawn(run(runner).unwrap());
    spawner.spawn(carry(packets, incoming, outgoing).unwrap());
    Ok(stack)
}

#[embassy_executor::task]
async fn run(mut runner: embassy_net::Runner<'static, Device<'static, MTU>>) -> ! {
    runner.run().await
}

/// Carries packets between the stack and the line.
#[embassy_executor::task]
async fn carry(packets: Runner<'static, MTU>, incoming: Incoming, outgoing: Outgoing) {
    let (state, to_stack, from_stack) = packets.split();
    // Whether somebody is at the other end nobody tells: a connection notices by silence.
    state.set_link_state(LinkState::Up);
    join(receive(incoming, to_stack), send(from_stack, outgoing)).await;
}

async fn receive(mut line: impl Read, mut stack: RxRunner<'static, MTU>) {
    let (mut decoder, mut bytes) = (Decoder::default(), [0; PIECE]);
    while let Ok(len) = line.read(&mut bytes).await {
        for byte in &bytes[..len] {
            if let Some(len) = decoder.take(*byte, stack.rx_buf().await) {
                stack.rx_done(len);
            }
        }
    }
}

async fn send(mut stack: TxRunner<'static, MTU>, mut line: impl Write) {
    while put(&mut line, stack.tx_buf().await).await.is_ok() {
        stack.tx_done();
    }
}

/// Sends a packet, in pieces.
async fn put<W: Write>(line: &mut W, packet: &[u8]) -> Result<(), W::Error> {
    let mut bytes = slip::encode(packet);
    loop {
        let piece: Vec<u8, PIECE> = bytes.by_ref().take(PIECE).collect();
        if piece.is_empty() {
            return Ok(());
        }
        line.write_all(&piece).await?;
    }
}
