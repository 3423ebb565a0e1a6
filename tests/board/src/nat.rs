//! What stands for the board on this host: a NAT with ordinary sockets, behind a network with its weather. Needs no privileges.
//!
//! | the board sees | this host sees |
//! | --- | --- |
//! | itself at an address of a link | an address of its own for that, another port for each of the board's |
//! | hosts outside as 10.9.0.X | 127.0.0.X, at the same port |

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::packets::Datagram;
use crate::weather::{Conditions, Gate, Weather};

/// The most bytes in a datagram.
const LONGEST: usize = 2048;

/// After so many bytes of UDP payload since the beginning, to the board or from it.
#[derive(Clone, Copy)]
pub(crate) enum After {
    ToBoard(u64),
    FromBoard(u64),
}

/// Where the board is: its address, and the one on this host that stands for it.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) board: Ipv4Addr,
    pub(crate) outside: Ipv4Addr,
}

/// What was seen on a link.
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

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { datagrams, lost, overtaken, .. } = self;
        write!(f, "{lost} of {datagrams} datagrams lost, {overtaken} overtaken")
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

/// A datagram that has come for a home.
pub(crate) struct Arrived {
    home: usize,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// Something on its way.
enum Flight {
    ToBoard(Arrived),
    FromBoard { home: usize, to: SocketAddr, bytes: Vec<u8> },
}

/// Something that has arrived.
pub(crate) enum Landed {
    Outside,
    /// To be handed to the board.
    Board(Datagram<Vec<u8>>),
    /// Where the board was before nobody is there any more.
    Nowhere,
}

/// Takes what has come for a home; whether there may be more.
type Hear = dyn Fn(Arrived) -> bool + Send + Sync;

pub(crate) struct Nat {
    pub(crate) place: Place,
    weather: Weather<Flight>,
    inward: Gate,
    outward: Gate,
    homes: Vec<Home>,
    peers: HashSet<SocketAddr>,
    to_board: u64,
    from_board: u64,
    hear: Arc<Hear>,
}

impl Nat {
    pub(crate) fn new(
        place: Place,
        conditions: Conditions,
        hear: impl Fn(Arrived) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            place,
            weather: Weather::new(conditions.forecast, conditions.seed),
            inward: Gate::new(conditions.rate),
            outward: Gate::new(conditions.rate),
            homes: Vec::new(),
            peers: HashSet::new(),
            to_board: 0,
            from_board: 0,
            hear: Arc::new(hear),
        }
    }

    /// Where a port of the board is reached from this host.
    pub(crate) fn open(&mut self, port: u16) -> SocketAddr {
        let home = self.home(SocketAddrV4::new(self.place.board, port));
        self.homes[home].socket.local_addr().expect("it is bound")
    }

    /// The home of an address and port of the board.
    fn home(&mut self, inside: SocketAddrV4) -> usize {
        if let Some(home) = self.homes.iter().position(|home| home.inside == inside) {
            return home;
        }
        let socket = Arc::new(UdpSocket::bind((self.place.outside, 0)).expect("a free port"));
        let (home, hear) = (self.homes.len(), Arc::clone(&self.hear));
        listen(&socket, move |from, bytes| hear(Arrived { home, from, bytes }));
        self.homes.push(Home { inside, socket, has_sent: false, has_got: false });
        home
    }

    /// The board sends.
    pub(crate) fn send(&mut self, now: Instant, datagram: &Datagram<&[u8]>) {
        let [10, 9, 0, host] = datagram.to.ip().octets() else { return };
        let to = SocketAddr::new(Ipv4Addr::new(127, 0, 0, host).into(), datagram.to.port());
        let (home, bytes) = (self.home(datagram.from), datagram.payload.to_vec());
        let departure = self.outward.pass(now, bytes.len());
        self.weather.launch(departure, Flight::FromBoard { home, to, bytes });
    }

    /// Something has come for the board.
    pub(crate) fn receive(&mut self, now: Instant, arrived: Arrived) {
        let departure = self.inward.pass(now, arrived.bytes.len());
        self.weather.launch(departure, Flight::ToBoard(arrived));
    }

    /// When the next one arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.weather.next()
    }

    /// One that has arrived.
    pub(crate) fn land(&mut self, now: Instant) -> Option<Landed> {
        Some(match self.weather.land(now)? {
            Flight::FromBoard { home, to, bytes } => {
                let home = &mut self.homes[home];
                home.has_sent = true;
                self.peers.insert(to);
                self.from_board += bytes.len() as u64;
                // A peer that is gone loses what is sent to it.
                let _ = home.socket.send_to(&bytes, to);
                Landed::Outside
            }
            Flight::ToBoard(Arrived { home, from, bytes }) => {
                let home = &mut self.homes[home];
                let (true, IpAddr::V4(ip)) = (*home.inside.ip() == self.place.board, from.ip()) else {
                    return Some(Landed::Nowhere);
                };
                home.has_got = true;
                self.to_board += bytes.len() as u64;
                let [.., host] = ip.octets();
                let from = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, host), from.port());
                Landed::Board(Datagram { from, to: home.inside, payload: bytes })
            }
        })
    }

    /// Whether so many bytes have arrived.
    pub(crate) fn is_after(&self, after: After) -> bool {
        match after {
            After::ToBoard(bytes) => self.to_board >= bytes,
            After::FromBoard(bytes) => self.from_board >= bytes,
        }
    }

    /// All that is under way is lost.
    pub(crate) fn crash(&mut self) {
        self.weather.crash();
    }

    pub(crate) fn end(self) -> Seen {
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
}

/// Passes on what comes to a socket, until an empty datagram does or nobody listens.
pub(crate) fn listen(socket: &Arc<UdpSocket>, hear: impl Fn(SocketAddr, Vec<u8>) -> bool + Send + 'static) {
    let socket = Arc::clone(socket);
    thread::spawn(move || {
        let mut bytes = [0; LONGEST];
        loop {
            match socket.recv_from(&mut bytes) {
                Ok((0, _)) => return,
                Ok((len, from)) if !hear(from, bytes[..len].to_vec()) => return,
                // A peer that is gone is an error here on some systems.
                _ => {}
            }
        }
    });
}

/// Ends [`listen`].
pub(crate) fn deafen(socket: &UdpSocket) {
    if let Ok(address) = socket.local_addr() {
        let _ = socket.send_to(&[], address);
    }
}
