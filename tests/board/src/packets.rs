//! Packets of IPv4 with UDP in them, read and written.

use std::net::SocketAddrV4;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr};

/// What the heads take of the longest packet.
const HEADS: usize = 20 + 8;

/// A datagram on its way.
pub(crate) struct Datagram<B> {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) payload: B,
}

/// Reads a packet.
pub(crate) fn read(packet: &[u8]) -> Option<Datagram<&[u8]>> {
    let packet = Ipv4Packet::new_checked(packet).ok()?;
    let ip = Ipv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()?;
    let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
    let (src, dst) = (ip.src_addr.into(), ip.dst_addr.into());
    let udp = UdpRepr::parse(&datagram, &src, &dst, &ChecksumCapabilities::default()).ok()?;
    let (from, to) =
        (SocketAddrV4::new(ip.src_addr, udp.src_port), SocketAddrV4::new(ip.dst_addr, udp.dst_port));
    Some(Datagram { from, to, payload: datagram.payload() })
}

impl<B: AsRef<[u8]>> Datagram<B> {
    /// How long its packet is.
    pub(crate) fn packet_len(&self) -> usize {
        HEADS + self.payload.as_ref().len()
    }

    /// Writes its packet.
    pub(crate) fn write(&self, out: &mut [u8]) {
        let (checksums, payload) = (ChecksumCapabilities::default(), self.payload.as_ref());
        let udp = UdpRepr { src_port: self.from.port(), dst_port: self.to.port() };
        let ip = Ipv4Repr {
            src_addr: *self.from.ip(),
            dst_addr: *self.to.ip(),
            next_header: IpProtocol::Udp,
            payload_len: udp.header_len() + payload.len(),
            hop_limit: 64,
        };
        let mut packet = Ipv4Packet::new_unchecked(out);
        ip.emit(&mut packet, &checksums);
        let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
        let (src, dst) = (ip.src_addr.into(), ip.dst_addr.into());
        let copy = |out: &mut [u8]| out.copy_from_slice(payload);
        udp.emit(&mut datagram, &src, &dst, payload.len(), copy, &checksums);
    }
}
