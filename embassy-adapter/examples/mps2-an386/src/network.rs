//! The network: one stack, on the one Ethernet interface that the board has. Its addresses come by DHCP.

use embassy_executor::Spawner;
use embassy_net::{Config, Runner, Stack, StackResources};
use peregrine_embassy::Error;
use peregrine_embassy::entropy::Entropy;
use static_cell::StaticCell;

use crate::board::lan9118::Lan9118;

/// One for DHCP, two for QUIC.
const SOCKETS: usize = 3;

/// Starts the stack.
pub fn start(spawner: Spawner, entropy: &mut impl Entropy) -> Result<Stack<'static>, Error> {
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    // Ports are chosen by it: with a constant, the same ones after every start.
    let mut seed = [0; 8];
    entropy.fill(&mut seed)?;
    let resources = RESOURCES.init_with(StackResources::new);
    let config = Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(Lan9118::start(), config, resources, u64::from_le_bytes(seed));
    spawner.spawn(run(runner).unwrap());
    Ok(stack)
}

#[embassy_executor::task]
async fn run(mut runner: Runner<'static, Lan9118>) -> ! {
    runner.run().await
}
