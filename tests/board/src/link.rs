//! The network between the emulated board and this host: a cable, a router with a DHCP server, and the NAT behind it. Needs no
//! privileges: to the emulator a frame is a UDP datagram, and the NAT's sockets are ordinary ones.
//!
//! | the board sees | this host sees |
//! | --- | --- |
//! | itself as 10.0.N.2, where the cable was plugged in at the Nth place | 127.0.1.N, another port for each of the board's |
//! | hosts outside as 10.9.0.X | 127.0.0.X, at the same port |

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use smoltcp::wire::{DhcpMessageType, EthernetAddress};

use crate::cable;
use crate::frames::{self, Said};
use crate::weather::{Forecast, Weather};

/// The most bytes in a frame.
const LONGEST: usize = 2048;

/// What happens on the link.
pub(crate) struct Plan {
    pub(crate) forecast: Forecast,
    pub(crate) seed: u64,
    /// When the cable is pulled out, to be plugged in elsewhere, one after the other.
    pub(crate) pulls: Vec<After>,
    /// The port on which the board, at its first place, is a server.
    pub(crate) port: Option<u16>,
    /// Where the emulator is told about the cable.
    pub(crate) monitor: PathBuf,
}

/// After so many bytes of UDP payload since the beginning, to the board or from it.
#[derive(Clone, Copy)]
pub(crate) enum After {
    ToBoard(u64),
    FromBoard(u64),
}

/// What was seen on the link.
pub(crate) struct Seen {
    /// The board's addresses from which it has sent something, and where it has got something, one after the other. To its
    /// peers each is another address.
    pub(crate) reached: Vec<SocketAddrV4>,
    /// Where on this host something came from it.
    pub(crate) peers: HashSet<SocketAddr>,
    pub(crate) datagrams: u64,
    pub(crate) lost: u64,
    pub(crate) overtaken: u64,
}

impl Seen {
    /// At how many places it was.
    pub(crate) fn places(&self) -> usize {
        self.reached.iter().map(SocketAddrV4::ip).collect::<HashSet<_>>().len()
    }

    /// How many ports it had, at all places together.
    pub(crate) fn ports(&self) -> usize {
        self.reached.iter().map(SocketAddrV4::port).collect::<HashSet<_>>().len()
    }
}

/// An address and port of the board, and what stands for it on this host.
struct Home {
    inside: SocketAddrV4,
    socket: Arc<UdpSocket>,
    /// Whether the board has sent something from here, and got something.
    has_sent: bool,
    has_got: bool,
}

/// What the thread of the link hears.
pub(crate) enum Heard {
    /// A frame of the board, by way of the emulator at that address.
    Board(SocketAddr, Vec<u8>),
    /// A datagram for a home.
    Host {
        home: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    /// The firmware says that its link is down.
    LinkIsDown,
    End,
}

/// A link that runs.
pub(crate) struct Link {
    pub(crate) to_link: Sender<Heard>,
    /// The port that the emulator is to send frames to.
    pub(crate) port: u16,
    /// Where the board is reached as a server.
    pub(crate) server: Option<SocketAddr>,
    running: Option<JoinHandle<Seen>>,
}

impl Link {
    pub(crate) fn start(plan: Plan) -> Self {
        let board = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
        let port = board.local_addr().expect("it is bound").port();
        let (to_link, heard) = mpsc::channel();
        listen(&board, to_link.clone(), Heard::Board);
        let mut router = Router {
            weather: Weather::new(plan.forecast, plan.seed),
            board,
            emulator: None,
            mac: EthernetAddress::BROADCAST,
            place: 1,
            cable: Cable::In,
            pulls: plan.pulls,
            pulled: 0,
            to_board: 0,
            from_board: 0,
            homes: Vec::new(),
            peers: HashSet::new(),
            monitor: plan.monitor,
            to_link: to_link.clone(),
        };
        let server = plan.port.map(|port| {
            let home = router.home(SocketAddrV4::new(router.address(), port));
            router.homes[home].socket.local_addr().expect("it is bound")
        });
        let running = thread::spawn(move || router.run(&heard));
        Self { to_link, port, server, running: Some(running) }
    }

    pub(crate) fn end(mut self) -> Seen {
        let running = self.running.take().expect("it ends once");
        drop(self);
        running.join().expect("the link works")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A thread that is gone has panicked, which `end` tells.
        let _ = self.to_link.send(Heard::End);
    }
}

/// Passes on what comes to a socket, until an empty datagram does.
fn listen(
    socket: &Arc<UdpSocket>,
    to_link: Sender<Heard>,
    heard: impl Fn(SocketAddr, Vec<u8>) -> Heard + Send + 'static,
) {
    let socket = Arc::clone(socket);
    thread::spawn(move || {
        let mut bytes = [0; LONGEST];
        loop {
            match socket.recv_from(&mut bytes) {
                Ok((0, _)) => return,
                Ok((len, from)) if to_link.send(heard(from, bytes[..len].to_vec())).is_err() => return,
                // A peer that is gone is an error here on some systems.
                _ => {}
            }
        }
    });
}

/// Ends [`listen`].
fn deafen(socket: &UdpSocket) {
    if let Ok(address) = socket.local_addr() {
        let _ = socket.send_to(&[], address);
    }
}

/// Where the cable is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cable {
    In,
    /// Out, and the firmware has not noticed.
    Out,
}

/// Something on its way.
enum Flight {
    ToBoard { home: usize, from: SocketAddr, bytes: Vec<u8> },
    FromBoard { home: usize, to: SocketAddr, bytes: Vec<u8> },
}

struct Router {
    weather: Weather<Flight>,
    board: Arc<UdpSocket>,
    emulator: Option<SocketAddr>,
    mac: EthernetAddress,
    /// The number of the place where the cable is plugged in.
    place: u8,
    cable: Cable,
    pulls: Vec<After>,
    pulled: usize,
    to_board: u64,
    from_board: u64,
    homes: Vec<Home>,
    peers: HashSet<SocketAddr>,
    monitor: PathBuf,
    to_link: Sender<Heard>,
}

impl Router {
    fn run(mut self, heard: &Receiver<Heard>) -> Seen {
        loop {
            let wait = self.weather.next().map(|due| due.saturating_duration_since(Instant::now()));
            let heard = heard.recv_timeout(wait.unwrap_or(Duration::MAX));
            let now = Instant::now();
            match heard {
                Ok(Heard::Board(emulator, frame)) => {
                    self.emulator = Some(emulator);
                    self.on_frame(now, &frame);
                }
                Ok(Heard::Host { home, from, bytes }) => {
                    self.weather.launch(now, Flight::ToBoard { home, from, bytes });
                }
                Ok(Heard::LinkIsDown) => self.plug_in(),
                Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            while let Some(flight) = self.weather.land(now) {
                self.on_landed(flight);
            }
        }
        deafen(&self.board);
        self.homes.iter().for_each(|home| deafen(&home.socket));
        let reached = self.homes.iter().filter(|home| home.has_sent && home.has_got);
        Seen {
            reached: reached.map(|home| home.inside).collect(),
            peers: self.peers,
            datagrams: self.weather.launched,
            lost: self.weather.lost,
            overtaken: self.weather.overtaken,
        }
    }

    /// The router's address, which is the DHCP server's too.
    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.place, 1)
    }

    /// The address that the board gets.
    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.place, 2)
    }

    fn on_frame(&mut self, now: Instant, frame: &[u8]) {
        // What we do not speak, IPv6 for one, goes unanswered as on other networks.
        let Some((mac, said)) = frames::read(frame) else { return };
        self.mac = mac;
        match said {
            _ if self.cable == Cable::Out => {}
            Said::WhoHas { asker, address } => {
                if address == self.gateway() {
                    self.send(&frames::arp_reply(mac, asker, address));
                }
            }
            Said::Dhcp { kind, number, wanted } => self.on_dhcp(kind, number, wanted),
            Said::Udp { from, to, payload } => {
                let [10, 9, 0, host] = to.ip().octets() else { return };
                let to = SocketAddr::new(Ipv4Addr::new(127, 0, 0, host).into(), to.port());
                let (home, bytes) = (self.home(from), payload.to_vec());
                self.weather.launch(now, Flight::FromBoard { home, to, bytes });
            }
        }
    }

    fn on_dhcp(&mut self, kind: DhcpMessageType, number: u32, wanted: Option<Ipv4Addr>) {
        let answer = match kind {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            DhcpMessageType::Request if wanted == Some(self.address()) => DhcpMessageType::Ack,
            DhcpMessageType::Request => DhcpMessageType::Nak,
            _ => return,
        };
        self.send(&frames::dhcp_reply(self.mac, answer, number, self.gateway(), self.address()));
    }

    /// The home of an address and port of the board.
    fn home(&mut self, inside: SocketAddrV4) -> usize {
        if let Some(home) = self.homes.iter().position(|home| home.inside == inside) {
            return home;
        }
        let outside = Ipv4Addr::new(127, 0, 1, self.place);
        let socket = Arc::new(UdpSocket::bind((outside, 0)).expect("a free port"));
        let home = self.homes.len();
        listen(&socket, self.to_link.clone(), move |from, bytes| Heard::Host { home, from, bytes });
        self.homes.push(Home { inside, socket, has_sent: false, has_got: false });
        home
    }

    fn on_landed(&mut self, flight: Flight) {
        match flight {
            Flight::FromBoard { home, to, bytes } => {
                let home = &mut self.homes[home];
                home.has_sent = true;
                self.peers.insert(to);
                self.from_board += bytes.len() as u64;
                // A peer that is gone loses what is sent to it.
                let _ = home.socket.send_to(&bytes, to);
            }
            Flight::ToBoard { home, from, bytes } => {
                let (here, home) = (self.address(), &mut self.homes[home]);
                // At the place before nobody is there any more.
                let (true, IpAddr::V4(ip)) = (*home.inside.ip() == here, from.ip()) else { return };
                home.has_got = true;
                self.to_board += bytes.len() as u64;
                let [.., host] = ip.octets();
                let from = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, host), from.port());
                let frame = frames::udp(self.mac, from, home.inside, &bytes);
                self.send(&frame);
            }
        }
        let is_time = self.pulls.get(self.pulled).is_some_and(|after| match *after {
            After::ToBoard(bytes) => self.to_board >= bytes,
            After::FromBoard(bytes) => self.from_board >= bytes,
        });
        if is_time && self.cable == Cable::In {
            self.pull_out();
        }
    }

    fn send(&self, frame: &[u8]) {
        if let Some(emulator) = self.emulator {
            // An emulator that has ended hears nothing.
            let _ = self.board.send_to(frame, emulator);
        }
    }

    fn pull_out(&mut self) {
        self.cable = Cable::Out;
        self.pulled += 1;
        self.weather.crash();
        cable::set(&self.monitor, false);
    }

    /// At another place: with another router, and another address.
    fn plug_in(&mut self) {
        if self.cable == Cable::Out {
            self.cable = Cable::In;
            self.place += 1;
            cable::set(&self.monitor, true);
        }
    }
}
