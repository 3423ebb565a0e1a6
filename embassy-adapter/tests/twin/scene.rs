//! What most tests begin with: a client on some networks, and a server.

use std::net::Ipv4Addr;

use embassy_net::Stack;
use peregrine_core::connection::Config;
use peregrine_embassy::{Connection, NetworkId};

use crate::work::serve_files;
use crate::world::{Client, ClientTls, Nic, Server, World, config, server_address};

pub struct Scene<const NETWORKS: usize> {
    pub world: World,
    pub client: Client,
    pub networks: [NetworkId; NETWORKS],
    pub stacks: [Stack<'static>; NETWORKS],
    pub nics: [Nic; NETWORKS],
    pub server: Server,
    pub server_nic: Nic,
}

impl<const NETWORKS: usize> Scene<NETWORKS> {
    /// A client with these addresses, each on a network of its own, and a server that does nothing yet.
    pub fn new(addresses: [Ipv4Addr; NETWORKS]) -> Self {
        Self::configured(addresses, config())
    }

    /// The same, where both sides have this configuration.
    pub fn configured(addresses: [Ipv4Addr; NETWORKS], config: Config) -> Self {
        let mut world = World::new();
        let plugged = addresses.map(|address| world.stack(address, true));
        let (server, server_nic) = world.server(config.clone());
        let (stacks, nics) = (plugged.each_ref().map(|end| end.0), plugged.map(|end| end.1));
        let (client, networks) = world.client(&stacks, config);
        let networks = networks.try_into().unwrap();
        Self { world, client, networks, stacks, nics, server, server_nic }
    }

    /// The same, whose server serves files.
    pub fn with_files(addresses: [Ipv4Addr; NETWORKS]) -> Self {
        let mut scene = Self::new(addresses);
        scene.world.spawn(serve_files(scene.server));
        scene
    }

    /// Does something with a connection from the first network, when all are up.
    pub fn run<R>(&mut self, seconds: u64, act: impl AsyncFnOnce(Connection<ClientTls>) -> R) -> R {
        let (client, networks, session) = (self.client, self.networks, self.world.session());
        self.world.run(seconds, async {
            for network in networks {
                client.wait_up(Some(network)).await;
            }
            act(client.connect(Some(networks[0]), server_address(), session).unwrap()).await
        })
    }
}
