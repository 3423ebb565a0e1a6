//! A relay that gives each address of a client a network of its own, and keeps what passes there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use peregrine_core::wire::header::Invariants;

use crate::peers::LOOPBACK;

/// How long a thread waits until it looks whether all is over.
const STEP: Duration = Duration::from_millis(20);

/// The relay. Ends when it is dropped.
pub(crate) struct Tap {
    front: SocketAddr,
    networks: Arc<Mutex<Vec<Arc<Network>>>>,
    over: Arc<AtomicBool>,
}

/// What passed between one address of the client and the server.
#[derive(Debug)]
pub(crate) struct Network {
    passed: OnceLock<Vec<(bool, Vec<u8>)>>,
    recording: Mutex<Vec<(bool, Vec<u8>)>>,
    lengths: Arc<OnceLock<Lengths>>,
}

/// Of the connection IDs that each side has chosen for itself.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    client: usize,
    server: usize,
}

impl Tap {
    pub(crate) fn on_the_way_to(server: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind(LOOPBACK).unwrap());
        let tap = Self { front: front.local_addr().unwrap(), networks: Arc::default(), over: Arc::default() };
        let (networks, over) = (Arc::clone(&tap.networks), Arc::clone(&tap.over));
        thread::spawn(move || {
            let mut ways: BTreeMap<SocketAddr, (Arc<UdpSocket>, Arc<Network>)> = BTreeMap::new();
            let lengths = Arc::new(OnceLock::new());
            carry(&front, &Arc::clone(&over), |datagram, client| {
                let (back, network) = ways.entry(client).or_insert_with(|| {
                    // The server sees the address, if not the port.
                    let back = Arc::new(UdpSocket::bind(SocketAddr::new(client.ip(), 0)).unwrap());
                    let network = Arc::new(Network::new(&lengths));
                    networks.lock().unwrap().push(Arc::clone(&network));
                    let (from, kept) = (Arc::clone(&back), Arc::clone(&network));
                    let (front, over) = (Arc::clone(&front), Arc::clone(&over));
                    thread::spawn(move || {
                        carry(&from, &over, |datagram, _| {
                            kept.keep(false, datagram);
                            let _ = front.send_to(datagram, client);
                        });
                    });
                    (back, network)
                });
                network.keep(true, datagram);
                let _ = back.send_to(datagram, server);
            });
        });
        tap
    }

    /// Where the client is to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.front
    }

    /// What has passed on each network, in the order in which the client came to them.
    pub(crate) fn networks(&self) -> Vec<Arc<Network>> {
        let networks = self.networks.lock().unwrap().clone();
        networks.iter().for_each(|network| network.end());
        networks
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn carry(from: &UdpSocket, over: &AtomicBool, mut pass: impl FnMut(&[u8], SocketAddr)) {
    from.set_read_timeout(Some(STEP)).unwrap();
    let mut buffer = vec![0; 65_536];
    while !over.load(Ordering::Relaxed) {
        if let Ok((len, source)) = from.recv_from(&mut buffer) {
            pass(&buffer[..len], source);
        }
    }
}

impl Network {
    fn new(lengths: &Arc<OnceLock<Lengths>>) -> Self {
        Self { passed: OnceLock::new(), recording: Mutex::default(), lengths: Arc::clone(lengths) }
    }

    fn keep(&self, outward: bool, datagram: &[u8]) {
        self.recording.lock().unwrap().push((outward, datagram.to_vec()));
    }

    /// Nothing more is kept of what matters: the handshake was on the first network.
    fn end(&self) {
        let passed = self.passed.get_or_init(|| std::mem::take(&mut self.recording.lock().unwrap()));
        let scid_len = |way| {
            let (_, first) = passed.iter().find(|(outward, _)| *outward == way)?;
            match Invariants::parse(first).ok()? {
                Invariants::Long { scid, .. } => Some(scid.len()),
                Invariants::Short => None,
            }
        };
        if let Some((client, server)) = scid_len(true).zip(scid_len(false)) {
            let _ = self.lengths.set(Lengths { client, server });
        }
    }

    /// All datagrams, and whether they went to the server.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (bool, &[u8])> {
        self.passed.get().unwrap().iter().map(|(outward, datagram)| (*outward, &datagram[..]))
    }

    fn dcid_len(&self, outward: bool) -> usize {
        let lengths = self.lengths.get().expect("a handshake");
        if outward { lengths.server } else { lengths.client }
    }

    /// Of each packet with a short header: whether it goes to the server, its first byte, and the four bytes that begin with
    /// the protected packet number.
    pub(crate) fn short_headers(&self) -> impl Iterator<Item = (bool, u8, [u8; 4])> {
        self.datagrams().filter(|(_, datagram)| is_short(datagram)).map(|(outward, datagram)| {
            let number = datagram[1 + self.dcid_len(outward)..].first_chunk().unwrap();
            (outward, datagram[0], *number)
        })
    }

    /// All connection IDs, of either side, in headers at the start of datagrams.
    pub(crate) fn cids(&self) -> BTreeSet<Vec<u8>> {
        let cids =
            self.datagrams().flat_map(|(outward, datagram)| match Invariants::parse(datagram).unwrap() {
                Invariants::Long { dcid, scid, .. } => [datagram[dcid].to_vec(), datagram[scid].to_vec()],
                Invariants::Short => [datagram[1..=self.dcid_len(outward)].to_vec(), Vec::new()],
            });
        cids.filter(|cid| !cid.is_empty()).collect()
    }
}

fn is_short(datagram: &[u8]) -> bool {
    matches!(Invariants::parse(datagram), Ok(Invariants::Short))
}
