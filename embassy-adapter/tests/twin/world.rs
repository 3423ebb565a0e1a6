//! A world of networks in memory and of tasks, in virtual time: nothing sleeps, and a run is the same every time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use embassy_net::{
    Config, ConfigV4, ConfigV6, Ipv4Cidr, Ipv6Cidr, Stack, StackResources, StaticConfigV4, StaticConfigV6,
};
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_time::{Duration, Instant, MockDriver};
use peregrine_core::connection::Config as ConnectionConfig;
use peregrine_core::endpoint::EndpointConfig;
use peregrine_crypto::provider::HashAlgorithm;
use peregrine_crypto::tls::{ClientConfig, Psk, PskStore, ServerConfig};
use peregrine_embassy::entropy::{Entropy, EntropyError};
use peregrine_embassy::{ConstMemory, Endpoint, NetworkId, Resources, Storage, tls};

use crate::nat::Nat;

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 1);
pub const WIFI: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
pub const ETHERNET: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const PORT: u16 = 4433;

pub type ClientTls = tls::Client;
pub type ServerTls = tls::Server;
pub type Memory = Storage<1, 6, 64, 4608, 4096, 2048>;
/// The same for two paths.
type MemoryOfPaths = Storage<2, 6, 64, 4608, 4096, 2048>;
pub type Client = Endpoint<ClientTls>;
pub type Server = Endpoint<ServerTls>;

/// One at a time: the clock is one for the whole process.
static CLOCK: Mutex<()> = Mutex::new(());

/// Where packets and frames are between two stacks.
#[derive(Default)]
struct Wires {
    ports: Vec<WirePort>,
    flying: VecDeque<Flying>,
    /// Of a thousand packets.
    lost_per_mille: u64,
    random: u64,
    /// Between the clients and the server.
    nat: Option<Nat>,
}

struct Flying {
    until: Instant,
    from: usize,
    packet: Vec<u8>,
}

struct WirePort {
    address: IpAddr,
    /// The link address of an Ethernet interface; between others fly packets without frames.
    mac: Option<[u8; 6]>,
    is_up: bool,
    arrived: VecDeque<Vec<u8>>,
    waker: Option<Waker>,
}

impl WirePort {
    fn wants(&self, packet: &[u8]) -> bool {
        self.is_up
            && match self.mac {
                // To many, or to this one.
                Some(mac) => packet[0] & 1 == 1 || packet[..6] == mac,
                None => destination(packet) == self.address,
            }
    }
}

/// Where an IP packet goes to.
fn destination(packet: &[u8]) -> IpAddr {
    match packet[0] >> 4 {
        4 => <[u8; 4]>::try_from(&packet[16..20]).unwrap().into(),
        _ => <[u8; 16]>::try_from(&packet[24..40]).unwrap().into(),
    }
}

/// How long a packet flies.
const FLIGHT: Duration = Duration::from_millis(5);

/// Whether it is a datagram of UDP with nothing in it.
fn is_empty_datagram(packet: &[u8], is_frame: bool) -> bool {
    const UDP: u8 = 17;
    let (kind, packet) = if is_frame { (&packet[12..14], &packet[14..]) } else { (&[][..], packet) };
    let (protocol, head) = match packet[0] >> 4 {
        _ if kind == [8, 6] => return false,
        4 => (packet[9], usize::from(packet[0] & 0xf) * 4),
        _ => (packet[6], 40),
    };
    protocol == UDP && packet[head + 4..head + 6] == [0, 8]
}

impl Wires {
    fn launch(&mut self, from: usize, mut packet: Vec<u8>) {
        assert!(!is_empty_datagram(&packet, self.ports[from].mac.is_some()), "there was nothing to say");
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let port = &self.ports[from];
        if !port.is_up || (self.random >> 33) % 1000 < self.lost_per_mille {
            return;
        }
        if let Some(nat) = self.nat.as_mut().filter(|_| port.address != SERVER) {
            nat.outward(&mut packet);
        }
        self.flying.push_back(Flying { until: Instant::now() + FLIGHT, from, packet });
    }

    fn land(&mut self) {
        while self.flying.front().is_some_and(|flying| flying.until <= Instant::now()) {
            let Flying { from, mut packet, .. } = self.flying.pop_front().unwrap();
            if let Some(nat) = self.nat.as_ref().filter(|_| self.ports[from].address == SERVER) {
                nat.inward(&mut packet);
            }
            let is_ethernet = self.ports[from].mac.is_some();
            for (number, port) in self.ports.iter_mut().enumerate() {
                if number != from && port.mac.is_some() == is_ethernet && port.wants(&packet) {
                    port.arrived.push_back(packet.clone());
                    port.waker.take().into_iter().for_each(Waker::wake);
                }
            }
        }
    }
}

/// A network interface.
#[derive(Clone)]
pub struct Nic {
    wires: Rc<RefCell<Wires>>,
    port: usize,
}

impl Nic {
    /// Plugs it in or out.
    pub fn set_up(&self, is_up: bool) {
        let mut wires = self.wires.borrow_mut();
        let port = &mut wires.ports[self.port];
        port.is_up = is_up;
        port.arrived.clear();
        port.waker.take().into_iter().for_each(Waker::wake);
    }

    fn mac(&self) -> Option<[u8; 6]> {
        self.wires.borrow().ports[self.port].mac
    }

    /// Packets to this address come here from now on.
    pub fn set_address(&self, address: impl Into<IpAddr>) {
        self.wires.borrow_mut().ports[self.port].address = address.into();
    }
}

pub struct Arrived(Vec<u8>);
pub struct Room(Nic);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.0)
    }
}

impl TxToken for Room {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let outcome = f(&mut packet);
        self.0.wires.borrow_mut().launch(self.0.port, packet);
        outcome
    }
}

impl Driver for Nic {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Room;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Arrived, Room)> {
        let mut wires = self.wires.borrow_mut();
        let port = &mut wires.ports[self.port];
        port.waker = Some(cx.waker().clone());
        port.arrived.pop_front().map(|packet| (Arrived(packet), Room(self.clone())))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Room> {
        Some(Room(self.clone()))
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        let mut wires = self.wires.borrow_mut();
        let port = &mut wires.ports[self.port];
        port.waker = Some(cx.waker().clone());
        if port.is_up { LinkState::Up } else { LinkState::Down }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        // Of Ethernet, with the head of the frame.
        capabilities.max_transmission_unit = if self.mac().is_some() { 1514 } else { 1500 };
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        self.mac().map_or(HardwareAddress::Ip, HardwareAddress::Ethernet)
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<Flag>,
}

/// All of it.
pub struct World {
    wires: Rc<RefCell<Wires>>,
    tasks: Vec<Task>,
    seed: u64,
    /// Whether tasks may wake each other again and again while no time passes.
    pub may_spin: bool,
    _clock: MutexGuard<'static, ()>,
}

impl World {
    pub fn new() -> Self {
        let clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        Self { wires: Rc::default(), tasks: Vec::new(), seed: 1, may_spin: false, _clock: clock }
    }

    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.push(Task { future: Box::pin(future), flag });
    }

    pub fn lose(&mut self, per_mille: u64) {
        self.wires.borrow_mut().lost_per_mille = per_mille;
    }

    /// Puts a NAT between the clients and the server.
    pub fn hide_clients(&mut self) {
        self.wires.borrow_mut().nat = Some(Nat::default());
    }

    /// What makes the NAT forget its clients, which then come from other ports.
    pub fn rebinding(&self) -> impl Fn() + 'static {
        let wires = Rc::clone(&self.wires);
        move || wires.borrow_mut().nat.as_mut().unwrap().forget()
    }

    /// A stack with this address, or none yet.
    pub fn stack(&mut self, address: impl Into<IpAddr>, is_configured: bool) -> (Stack<'static>, Nic) {
        let address = address.into();
        let mut config = Config::default();
        match address {
            IpAddr::V4(address) if is_configured => config.ipv4 = ConfigV4::Static(of(address)),
            IpAddr::V6(address) if is_configured => {
                config.ipv6 = ConfigV6::Static(StaticConfigV6 {
                    address: Ipv6Cidr::new(address, 64),
                    gateway: None,
                    dns_servers: Default::default(),
                });
            }
            _ => {}
        }
        self.plug(address, None, config)
    }

    /// A stack on Ethernet; `number` makes its link address. All of them are on one segment.
    pub fn ethernet(&mut self, number: u8, config: Config) -> (Stack<'static>, Nic) {
        self.plug(Ipv4Addr::UNSPECIFIED.into(), Some([2, 0, 0, 0, 0, number]), config)
    }

    fn plug(&mut self, address: IpAddr, mac: Option<[u8; 6]>, config: Config) -> (Stack<'static>, Nic) {
        let mut wires = self.wires.borrow_mut();
        wires.ports.push(WirePort { address, mac, is_up: true, arrived: VecDeque::new(), waker: None });
        let nic = Nic { wires: Rc::clone(&self.wires), port: wires.ports.len() - 1 };
        drop(wires);
        self.seed += 1;
        let resources = Box::leak(Box::new(StackResources::<4>::new()));
        let (stack, runner) = embassy_net::new(nic.clone(), config, resources, self.seed);
        let runner = Box::leak(Box::new(runner));
        self.spawn(async { runner.run().await });
        (stack, nic)
    }

    pub fn entropy(&mut self) -> Seeded {
        self.seed += 1;
        Seeded(self.seed)
    }

    /// An endpoint in this memory, whose runner is not spawned yet.
    pub fn endpoint<
        S: tls::EndpointSession,
        M: ConstMemory,
        const CONNECTIONS: usize,
        const SOCKETS: usize,
        const RING_IN: usize,
        const RING_OUT: usize,
        const DATAGRAM: usize,
        const WAITERS: usize,
    >(
        &mut self,
        resources: Resources<S, M, CONNECTIONS, SOCKETS, RING_IN, RING_OUT, DATAGRAM, WAITERS>,
        config: EndpointConfig,
    ) -> Endpoint<S> {
        let keys = Box::leak(Box::new(tls::keys::<tls::Compact>(&mut self.entropy()).unwrap()));
        Endpoint::new(Box::leak(Box::new(resources)), config, keys)
    }

    /// A client that runs, with room for one connection and two sockets on each of these stacks.
    pub fn client(
        &mut self,
        stacks: &[Stack<'static>],
        config: ConnectionConfig,
    ) -> (Client, Vec<NetworkId>) {
        let (client, networks) = self.resting_client(stacks, config);
        self.spawn(async move { client.run().await });
        (client, networks)
    }

    /// The same, whose runner is not spawned yet.
    pub fn resting_client<S: tls::EndpointSession>(
        &mut self,
        stacks: &[Stack<'static>],
        config: ConnectionConfig,
    ) -> (Endpoint<S>, Vec<NetworkId>) {
        let config = EndpointConfig { connection: config, ..EndpointConfig::default() };
        let client = match config.connection.multipath {
            None => self.endpoint(Resources::<S, Memory, 1, 4>::new(), config),
            Some(_) => self.endpoint(Resources::<S, MemoryOfPaths, 1, 4>::new(), config),
        };
        let networks = stacks.iter().map(|stack| client.attach(*stack, 0, 2).unwrap()).collect();
        (client, networks)
    }

    /// A server on its own stack, for clients with [`PSKS`].
    pub fn server(&mut self, config: ConnectionConfig) -> (Server, Nic) {
        self.server_with(config, psk_server())
    }

    /// The same, for others.
    pub fn server_with(&mut self, config: ConnectionConfig, tls: ServerConfig<'static>) -> (Server, Nic) {
        let (stack, nic) = self.stack(SERVER, true);
        (self.server_on(stack, config, tls), nic)
    }

    /// A server on this stack.
    pub fn server_on(
        &mut self,
        stack: Stack<'static>,
        config: ConnectionConfig,
        tls: ServerConfig<'static>,
    ) -> Server {
        let listener = tls::Listener::new(server_config(tls), handshakes(), &mut self.entropy()).unwrap();
        self.server_of(stack, config, listener)
    }

    /// A server with sessions of its own, that runs.
    pub fn server_of<S: tls::EndpointSession>(
        &mut self,
        stack: Stack<'static>,
        config: ConnectionConfig,
        new: impl tls::NewSession<S> + 'static,
    ) -> Endpoint<S> {
        let config = EndpointConfig { connection: config, server: true, ..EndpointConfig::default() };
        let server = match config.connection.multipath {
            None => self.endpoint(Resources::<S, Memory, 2, 1>::new(), config),
            Some(_) => self.endpoint(Resources::<S, MemoryOfPaths, 2, 1>::new(), config),
        };
        server.attach(stack, PORT, 1).unwrap();
        server.serve(Box::leak(Box::new(new)));
        self.spawn(async move { server.run().await });
        server
    }

    /// A client's session with a key that the server has.
    pub fn session(&mut self) -> ClientTls {
        self.session_with(handshakes())
    }

    /// The same, with this memory for its handshake.
    pub fn session_with(&mut self, handshakes: tls::Handshakes) -> ClientTls {
        tls::client(client_config(&PSKS), handshakes, &mut self.entropy(), None).unwrap()
    }

    /// Runs all tasks until this one is over, but no longer than so many virtual seconds.
    pub fn run<R>(&mut self, seconds: u64, future: impl Future<Output = R>) -> R {
        let mut future = pin!(future);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            let mut turns = 0..1_000;
            while self.poll_tasks() || flag.0.load(Ordering::Relaxed) {
                if turns.next().is_none() {
                    assert!(self.may_spin, "tasks wake each other for ever");
                    break;
                }
                if !flag.0.swap(false, Ordering::Relaxed) {
                    continue;
                }
                let waker = Arc::clone(&flag).into();
                if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return outcome;
                }
            }
            MockDriver::get().advance(Duration::from_millis(1));
            self.wires.borrow_mut().land();
        }
        panic!("not over after {seconds} s");
    }

    /// Polls each task that was woken once. Returns whether there was one.
    fn poll_tasks(&mut self) -> bool {
        let mut any = false;
        self.tasks.retain_mut(|task| {
            if !task.flag.0.swap(false, Ordering::Relaxed) {
                return true;
            }
            any = true;
            let waker = Arc::clone(&task.flag).into();
            task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        any
    }
}

/// The configuration of a host with this address.
pub fn of(address: Ipv4Addr) -> StaticConfigV4 {
    let [a, b, c, _] = address.octets();
    StaticConfigV4 {
        address: Ipv4Cidr::new(address, 24),
        gateway: Some(Ipv4Addr::new(a, b, c, 254)),
        dns_servers: Default::default(),
    }
}

pub static PSKS: [Psk<'static>; 1] =
    [Psk { identity: b"twin", key: b"a key of 16 byte", hash: HashAlgorithm::Sha256 }];

pub fn client_config(psks: &'static [Psk<'static>]) -> &'static ClientConfig<'static> {
    Box::leak(Box::new(ClientConfig { alpn: &[b"twin"], psks, ..ClientConfig::default() }))
}

pub fn server_config(config: ServerConfig<'static>) -> &'static ServerConfig<'static> {
    Box::leak(Box::new(ServerConfig { alpn: &[b"twin"], ..config }))
}

/// What a server knows its clients by.
pub fn psk_server() -> ServerConfig<'static> {
    ServerConfig { psks: Some(&PSKS as &(dyn PskStore + Sync)), ..ServerConfig::default() }
}

/// Memory for handshakes.
pub fn handshakes() -> tls::Handshakes {
    Box::leak(Box::new(tls::HandshakeMemory::<2048, 2>::new())).share()
}

pub fn server_address() -> SocketAddr {
    (SERVER, PORT).into()
}

/// Streams for the peer, nothing else out of the ordinary.
pub fn config() -> ConnectionConfig {
    ConnectionConfig { peer_bidi_streams: 3, peer_uni_streams: 1, ..ConnectionConfig::default() }
}

/// A source that gives the same in every run.
pub struct Seeded(u64);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for byte in out {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *byte = (self.0 >> 56) as u8;
        }
        Ok(())
    }
}
