//! Frames of Ethernet, read and written: UDP over IPv4, ARP, DHCP.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpPacket,
    DhcpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
};

use crate::packets::{self, Datagram};

/// The link address of everybody but the board.
pub(crate) const ROUTER: EthernetAddress = EthernetAddress([0x02, 0, 0, 0, 0, 0x01]);

/// What a frame of the board says.
pub(crate) enum Said<'a> {
    /// Who has this address?
    WhoHas {
        asker: Ipv4Addr,
        address: Ipv4Addr,
    },
    /// It wants an address: any, or this one, and gave that number to its question.
    Dhcp {
        kind: DhcpMessageType,
        number: u32,
        wanted: Option<Ipv4Addr>,
    },
    Udp(Datagram<&'a [u8]>),
}

/// Reads a frame of the board, and who sent it.
pub(crate) fn read(frame: &[u8]) -> Option<(EthernetAddress, Said<'_>)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let said = match frame.ethertype() {
        EthernetProtocol::Arp => read_arp(frame.payload()),
        EthernetProtocol::Ipv4 => read_ipv4(frame.payload()),
        _ => None,
    };
    Some((frame.src_addr(), said?))
}

fn read_arp(packet: &[u8]) -> Option<Said<'_>> {
    match ArpRepr::parse(&ArpPacket::new_checked(packet).ok()?).ok()? {
        ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_protocol_addr: asker,
            target_protocol_addr: address,
            ..
        } => Some(Said::WhoHas { asker, address }),
        _ => None,
    }
}

fn read_ipv4(packet: &[u8]) -> Option<Said<'_>> {
    let datagram = packets::read(packet)?;
    if datagram.to.port() == DHCP_SERVER_PORT {
        let dhcp = DhcpPacket::new_checked(datagram.payload).ok()?;
        let dhcp = DhcpRepr::parse(&dhcp).ok()?;
        let wanted = dhcp.requested_ip.or(Some(dhcp.client_ip).filter(|ip| !ip.is_unspecified()));
        return Some(Said::Dhcp { kind: dhcp.message_type, number: dhcp.transaction_id, wanted });
    }
    Some(Said::Udp(datagram))
}

/// Tells the board that we have that address.
pub(crate) fn arp_reply(board: EthernetAddress, asker: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: ROUTER,
        source_protocol_addr: address,
        target_hardware_addr: board,
        target_protocol_addr: asker,
    };
    frame(board, EthernetProtocol::Arp, arp.buffer_len(), |out| arp.emit(&mut ArpPacket::new_unchecked(out)))
}

/// A datagram for the board.
pub(crate) fn udp(board: EthernetAddress, datagram: &Datagram<Vec<u8>>) -> Vec<u8> {
    frame(board, EthernetProtocol::Ipv4, datagram.packet_len(), |out| datagram.write(out))
}

/// An answer of the DHCP server at `server`: an offer, a lease for an hour, or a refusal.
pub(crate) fn dhcp_reply(
    board: EthernetAddress,
    kind: DhcpMessageType,
    number: u32,
    server: Ipv4Addr,
    address: Ipv4Addr,
) -> Vec<u8> {
    let dhcp = DhcpRepr {
        message_type: kind,
        transaction_id: number,
        secs: 0,
        client_hardware_address: board,
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: address,
        server_ip: server,
        router: Some(server),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: true,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(server),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: Some(3600),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let mut payload = vec![0; dhcp.buffer_len()];
    dhcp.emit(&mut DhcpPacket::new_unchecked(&mut payload)).expect("there is room for it");
    let from = SocketAddrV4::new(server, DHCP_SERVER_PORT);
    udp(board, &Datagram { from, to: SocketAddrV4::new(Ipv4Addr::BROADCAST, DHCP_CLIENT_PORT), payload })
}

fn frame(
    board: EthernetAddress,
    ethertype: EthernetProtocol,
    len: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let head = EthernetRepr { src_addr: ROUTER, dst_addr: board, ethertype };
    let mut bytes = vec![0; EthernetFrame::<&[u8]>::buffer_len(len)];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    head.emit(&mut frame);
    fill(frame.payload_mut());
    bytes
}
