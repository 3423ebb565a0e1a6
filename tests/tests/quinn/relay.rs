//! A relay between a client and a server, which reads what anyone on the path may read of the client: its Initial packets
//! (RFC 9001 5.2).

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

use peregrine_core::ids::{PathId, Side};
use peregrine_core::session::Level;
use peregrine_core::wire::frame::{Frame, Frames};
use peregrine_core::wire::header::{Coalesced, FirstByte, FixedBit, Header, PacketType};
use peregrine_core::wire::packet_number::Truncated;
use peregrine_crypto::initial::{INITIAL_SUITE, V1, initial_secret};
use peregrine_crypto::keys::{PacketKey, header_key};
use peregrine_crypto::protect::unprotect;
use peregrine_crypto::provider::HeaderKey as _;
use peregrine_std::provider::host_provider;

use crate::LOOPBACK;

/// A relay for one client. Ends when it is dropped.
pub(crate) struct Relay {
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// A relay to the server at `server`.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let [front, back] = [(); 2].map(|()| Arc::new(UdpSocket::bind(LOOPBACK).unwrap()));
        let client = Arc::new(OnceLock::new());
        let (seen, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let up = {
            let (front, back, client) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(&client));
            let (seen, over) = (Arc::clone(&seen), Arc::clone(&over));
            thread::spawn(move || {
                carry(&front, &over, |datagram, from| {
                    client.get_or_init(|| from);
                    seen.lock().unwrap().push(datagram.to_vec());
                    let _ = back.send_to(datagram, server);
                });
            })
        };
        let down = {
            let (front, back, over) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(&over));
            thread::spawn(move || {
                carry(&back, &over, |datagram, _| {
                    // The server speaks when it is spoken to.
                    let _ = client.get().map(|client| front.send_to(datagram, client));
                });
            })
        };
        Self { front, back, seen, over, threads: vec![up, down] }
    }

    /// Where the client is to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.front.local_addr().unwrap()
    }

    /// The bytes of the client's first TLS message, and the number of datagrams it came in: repetitions are not counted.
    pub(crate) fn client_hello(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap();
        let mut message: Vec<Option<u8>> = Vec::new();
        let mut brought = Vec::new();
        let first = Header::parse(&seen[0], 0, 0, FixedBit::Ignored).unwrap();
        for datagram in seen.iter() {
            let mut fresh = Vec::new();
            for (offset, data) in crypto(datagram.clone(), first.dcid.as_slice()) {
                message.resize(message.len().max(offset + data.len()), None);
                for (at, byte) in (offset..).zip(data) {
                    if message[at].replace(byte).is_none() {
                        fresh.push(at);
                    }
                }
            }
            brought.push(fresh);
        }
        let length = [0, message[1].unwrap(), message[2].unwrap(), message[3].unwrap()];
        let len = 4 + u32::from_be_bytes(length) as usize;
        assert!(message[0] == Some(1) && message[..len].iter().all(Option::is_some), "a whole ClientHello");
        (len, brought.iter().filter(|fresh| fresh.iter().any(|at| *at < len)).count())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for socket in [&self.front, &self.back] {
            // Wakes who waits for it.
            let _ = socket.send_to(&[], socket.local_addr().unwrap());
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn carry(from: &UdpSocket, over: &AtomicBool, mut pass: impl FnMut(&[u8], SocketAddr)) {
    let mut buffer = vec![0; 65_536];
    while !over.load(Ordering::Relaxed) {
        // A port that was closed meanwhile is an error here on some systems.
        if let Ok((len, source)) = from.recv_from(&mut buffer) {
            pass(&buffer[..len], source);
        }
    }
}

/// The CRYPTO bytes in the Initial packets of a datagram, with their offsets.
fn crypto(mut datagram: Vec<u8>, original_dcid: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let provider = host_provider();
    let secret = initial_secret(&provider, &V1, original_dcid, Side::Client).unwrap();
    let mut key = PacketKey::derive(&provider, &V1, INITIAL_SUITE, &secret).unwrap();
    let mut mask = header_key(&provider, &V1, INITIAL_SUITE, &secret).unwrap();
    let mut found = Vec::new();
    let mut packets = Coalesced::new(0, FixedBit::Ignored);
    while let Some(Ok(header)) = packets.next(&datagram) {
        if !matches!(header.packet, PacketType::Initial { .. }) {
            break;
        }
        let packet = &mut datagram[header.start..header.end];
        let pn_at = header.pn_offset - header.start;
        let mask = mask.mask(packet[pn_at + 4..].first_chunk().unwrap());
        let (head, rest) = packet.split_at_mut(pn_at);
        let mut pn = *rest.first_chunk().unwrap();
        unprotect(mask, &mut head[0], &mut pn);
        let width = FirstByte(head[0]).pn_len();
        rest[..width].copy_from_slice(&pn[..width]);
        let (head, payload) = packet.split_at_mut(pn_at + width);
        let pn = Truncated::read(pn, width).expand(0);
        let len = key.open(PathId::ZERO, pn, head, payload).unwrap();
        for frame in Frames::new(Level::Initial, &payload[..len]) {
            if let Frame::Crypto(crypto) = frame.unwrap() {
                found.push((crypto.offset as usize, crypto.data.to_vec()));
            }
        }
    }
    found
}
