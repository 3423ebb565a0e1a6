//! A router that hides those behind it: each of their ports is one of its own, until it forgets which (RFC 4787).

use std::net::{Ipv4Addr, SocketAddrV4};

const UDP: u8 = 17;
/// The source and the destination in a packet: of the address and of the port.
const SOURCE: (usize, usize) = (12, 20);
const DESTINATION: (usize, usize) = (16, 22);
const FIRST_PORT: u16 = 20_000;

/// Addresses inside and how they are seen outside.
#[derive(Default)]
pub struct Nat {
    known: Vec<(SocketAddrV4, SocketAddrV4)>,
    /// Ports taken so far. None is taken twice.
    taken: u16,
}

impl Nat {
    /// Forgets all.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// A packet goes out.
    pub fn outward(&mut self, packet: &mut [u8]) {
        let Some(inside) = end(packet, SOURCE) else { return };
        let known = self.known.iter().find(|known| known.0 == inside);
        let outside = known.map(|known| known.1).unwrap_or_else(|| {
            self.taken += 1;
            // Each network has a router with an address of its own.
            let [a, b, network, _] = inside.ip().octets();
            let outside = SocketAddrV4::new(Ipv4Addr::new(a, b, network + 100, 1), FIRST_PORT + self.taken);
            self.known.push((inside, outside));
            outside
        });
        rewrite(packet, SOURCE, outside);
    }

    /// A packet comes in. One to a port that was forgotten finds nobody.
    pub fn inward(&self, packet: &mut [u8]) {
        let Some(outside) = end(packet, DESTINATION) else { return };
        if let Some((inside, _)) = self.known.iter().find(|known| known.1 == outside) {
            rewrite(packet, DESTINATION, *inside);
        }
    }
}

/// One end of a UDP datagram, without options in its IPv4 header.
fn end(packet: &[u8], (ip, port): (usize, usize)) -> Option<SocketAddrV4> {
    if packet[0] != 0x45 || packet[9] != UDP {
        return None;
    }
    let octets = <[u8; 4]>::try_from(&packet[ip..ip + 4]).unwrap();
    Some(SocketAddrV4::new(octets.into(), u16::from_be_bytes([packet[port], packet[port + 1]])))
}

fn rewrite(packet: &mut [u8], (ip, port): (usize, usize), to: SocketAddrV4) {
    packet[ip..ip + 4].copy_from_slice(&to.ip().octets());
    packet[port..port + 2].copy_from_slice(&to.port().to_be_bytes());
    // UDP over IPv4 does without a checksum (RFC 768), the header of IPv4 does not (RFC 791).
    packet[26..28].fill(0);
    packet[10..12].fill(0);
    let sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = !((folded & 0xffff) + (folded >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}
