//! The network between the emulated board and this host: a cable, a router with a DHCP server, and the NAT behind it. To the emulator
//! a frame is a UDP datagram.
//!
//! Where the cable was plugged in at the Nth place, the board is 10.0.N.2, and 127.0.1.N to this host.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use smoltcp::wire::{DhcpMessageType, EthernetAddress};

use crate::cable;
use crate::frames::{self, Said};
use crate::nat::{self, After, Arrived, Landed, Nat, Place, Seen};
use crate::weather::Conditions;

/// What happens on the link.
pub(crate) struct Plan {
    pub(crate) conditions: Conditions,
    /// When the cable is pulled out, one after the other.
    pub(crate) pulls: Vec<After>,
    /// Whether it is plugged in again after that, elsewhere.
    pub(crate) is_moving: bool,
    /// The port on which the board, at its first place, is a server.
    pub(crate) port: Option<u16>,
    /// Where the emulator is told about the cable.
    pub(crate) monitor: PathBuf,
}

/// What the thread of the link hears.
pub(crate) enum Heard {
    /// A frame of the board, by way of the emulator at that address.
    Board(SocketAddr, Vec<u8>),
    /// A datagram for it.
    Host(Arrived),
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
        let hear = to_link.clone();
        nat::listen(&board, move |emulator, frame| hear.send(Heard::Board(emulator, frame)).is_ok());
        let hear = to_link.clone();
        let mut nat =
            Nat::new(place(1), plan.conditions, move |arrived| hear.send(Heard::Host(arrived)).is_ok());
        let server = plan.port.map(|port| nat.open(port));
        let router = Router {
            nat,
            board,
            emulator: None,
            mac: EthernetAddress::BROADCAST,
            place: 1,
            cable: Cable::In,
            pulls: plan.pulls,
            is_moving: plan.is_moving,
            pulled: 0,
            monitor: plan.monitor,
        };
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

/// The Nth place.
const fn place(number: u8) -> Place {
    Place { board: Ipv4Addr::new(10, 0, number, 2), outside: Ipv4Addr::new(127, 0, 1, number) }
}

/// Where the cable is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cable {
    In,
    /// Out, and the firmware has not noticed.
    Out,
}

struct Router {
    nat: Nat,
    board: Arc<UdpSocket>,
    emulator: Option<SocketAddr>,
    mac: EthernetAddress,
    /// The number of the place where the cable is plugged in.
    place: u8,
    cable: Cable,
    pulls: Vec<After>,
    is_moving: bool,
    pulled: usize,
    monitor: PathBuf,
}

impl Router {
    fn run(mut self, heard: &Receiver<Heard>) -> Seen {
        loop {
            let wait = self.nat.next().map(|due| due.saturating_duration_since(Instant::now()));
            let heard = heard.recv_timeout(wait.unwrap_or(Duration::MAX));
            let now = Instant::now();
            match heard {
                Ok(Heard::Board(emulator, frame)) => {
                    self.emulator = Some(emulator);
                    self.on_frame(now, &frame);
                }
                Ok(Heard::Host(arrived)) => self.nat.receive(now, arrived),
                Ok(Heard::LinkIsDown) => self.plug_in(),
                Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            while let Some(landed) = self.nat.land(now) {
                if let Landed::Board(datagram) = landed {
                    self.send(&frames::udp(self.mac, &datagram));
                }
                self.pull_if_due();
            }
        }
        nat::deafen(&self.board);
        self.nat.end()
    }

    /// The router's address, which is the DHCP server's too.
    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.place, 1)
    }

    /// The address that the board gets.
    const fn address(&self) -> Ipv4Addr {
        self.nat.place.board
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
            Said::Udp(datagram) => self.nat.send(now, &datagram),
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

    fn send(&self, frame: &[u8]) {
        if let Some(emulator) = self.emulator {
            // An emulator that has ended hears nothing.
            let _ = self.board.send_to(frame, emulator);
        }
    }

    fn pull_if_due(&mut self) {
        let is_due = self.pulls.get(self.pulled).is_some_and(|after| self.nat.is_after(*after));
        if is_due && self.cable == Cable::In {
            self.cable = Cable::Out;
            self.pulled += 1;
            self.nat.crash();
            cable::set(&self.monitor, false);
        }
    }

    /// At another place: with another router, and another address.
    fn plug_in(&mut self) {
        if self.cable == Cable::Out && self.is_moving {
            self.cable = Cable::In;
            self.place += 1;
            self.nat.place = place(self.place);
            cable::set(&self.monitor, true);
        }
    }
}
