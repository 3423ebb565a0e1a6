//! What Linux says of its links and addresses (rtnetlink).

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_ALIGNTO, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NlasIterator, Parseable,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily as Family, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{bind, recvfrom, sendto, socket_with};

use super::networks::{Networks, Rank};
use super::table::{Said, Table};

/// More than the system puts into one message.
const MESSAGE_BYTES: usize = 64 << 10;
/// How long the system may take for the first picture.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many pictures in a row may be out of date when they are complete. Who asks without end would do nothing else.
const SPOILED: u32 = 20;

/// What stands before the attributes of a link, and before the value of an attribute.
const LINK_HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// Kinds of hardware: wireless networks and two of mobile ones.
const RADIOS: [&[u8]; 3] = [b"wlan", b"wwan", b"rmnet"];

/// The system's own side.
const KERNEL: SocketAddrNetlink = SocketAddrNetlink::new(0, 0);

/// Hears of changes of this host's networks, for a loop of one's own: watch it for reading, then call [`Self::read`] and give
/// [`Self::networks`] to [`EventLoop::follow_networks`](crate::EventLoop::follow_networks). A
/// [`Watcher`](super::Watcher) does that for an [`Endpoint`](crate::Endpoint).
#[derive(Debug)]
pub struct NetworkEvents {
    socket: OwnedFd,
    bytes: Vec<u8>,
    table: Table,
    asked: Asked,
    /// The picture that was asked for is out of date already.
    outdated: bool,
    /// How many pictures in a row were of no use.
    spoiled: u32,
}

/// Which part of the picture was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Nothing,
    Links,
    Addresses,
}

impl NetworkEvents {
    /// Hears of changes from now on, and knows how things stand.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] on systems other than Linux, and without this package's feature `watch`. Otherwise
    /// those of the system.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol is number 0, which is rtnetlink.
        let socket = socket_with(Family::NETLINK, SocketType::RAW, flags, None)?;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        bind(&socket, &SocketAddrNetlink::new(0, groups as u32))?;
        let mut events = Self {
            socket,
            bytes: vec![0; MESSAGE_BYTES],
            table: Table::default(),
            asked: Asked::Nothing,
            outdated: false,
            spoiled: 0,
        };
        events.ask_for_picture()?;
        let patience = Timespec::try_from(PATIENCE).ok();
        while events.asked != Asked::Nothing {
            let mut readable = [PollFd::new(&events.socket, PollFlags::IN)];
            if retry_on_intr(|| poll(&mut readable, patience.as_ref()))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            events.read()?;
        }
        Ok(events)
    }

    /// The networks, as far as was heard.
    pub fn networks(&self) -> Networks {
        self.table.networks()
    }

    /// Hears all that there is to hear, without waiting.
    ///
    /// # Errors
    /// Those of the system.
    pub fn read(&mut self) -> io::Result<()> {
        let mut bytes = mem::take(&mut self.bytes);
        let outcome = self.read_into(&mut bytes);
        self.bytes = bytes;
        outcome
    }

    fn read_into(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        loop {
            let (_, len, from) = match recvfrom(&self.socket, &mut *bytes, RecvFlags::empty()) {
                Ok(received) => received,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                // It has said more than there was room for.
                Err(Errno::NOBUFS) => {
                    self.ask_for_picture()?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            // Other programs can send here, too.
            let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
            if from.is_some_and(|from| from.pid() == 0) {
                self.hear_all(bytes.get(..len).unwrap_or_default())?;
            }
        }
    }

    fn hear_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Ok(message) = NetlinkBuffer::new_checked(bytes) {
            self.outdated |= message.flags() & NLM_F_DUMP_INTR != 0;
            if message.message_type() == NLMSG_DONE {
                self.outdated |= broke_off(message.payload());
            }
            match (message.message_type(), self.asked) {
                (NLMSG_DONE, Asked::Links) => self.ask(Asked::Addresses)?,
                (NLMSG_DONE, Asked::Addresses) => {
                    self.asked = Asked::Nothing;
                    if self.outdated {
                        self.spoiled += 1;
                        if self.spoiled > SPOILED {
                            return Err(refused());
                        }
                        self.ask_for_picture()?;
                    } else {
                        self.spoiled = 0;
                        self.table.on_picture_complete();
                    }
                }
                (NLMSG_ERROR, Asked::Links | Asked::Addresses) => {
                    return Err(refused());
                }
                (kind, _) => {
                    if let Some(said) = understand(kind, message.payload()) {
                        self.table.hear(said);
                    }
                }
            }
            let len = (message.length() as usize).next_multiple_of(usize::from(NLMSG_ALIGNTO));
            bytes = bytes.get(len..).unwrap_or_default();
        }
        Ok(())
    }

    /// Lets the system say everything again; only one picture is drawn at a time.
    fn ask_for_picture(&mut self) -> io::Result<()> {
        self.outdated = self.asked != Asked::Nothing;
        if self.outdated {
            return Ok(());
        }
        self.table.on_picture();
        self.ask(Asked::Links)
    }

    fn ask(&mut self, part: Asked) -> io::Result<()> {
        let question = match part {
            Asked::Nothing => return Ok(()),
            Asked::Links => RouteNetlinkMessage::GetLink(LinkMessage::default()),
            Asked::Addresses => RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        };
        self.asked = part;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut message = NetlinkMessage::new(header, question.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        sendto(&self.socket, &bytes, SendFlags::empty(), &KERNEL)?;
        Ok(())
    }
}

impl AsFd for NetworkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn refused() -> io::Error {
    io::Error::other("the system does not tell of its networks")
}

/// Whether what ends a part of the picture says that something is missing: it bears an error number, negative.
fn broke_off(done: &[u8]) -> bool {
    done.first_chunk().is_some_and(|code| i32::from_ne_bytes(*code) < 0)
}

/// What a message says of links and addresses. Of links little more than the fixed part is read: what follows there grows with
/// each version of Linux.
fn understand(kind: u16, payload: &[u8]) -> Option<Said> {
    match kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => {
            let link = LinkHeader::parse(payload).ok()?;
            // Bridges tell of their ports in messages of the same kind.
            if link.interface_family != AddressFamily::Unspec {
                return None;
            }
            Some(if kind == libc::RTM_DELLINK {
                Said::LinkGone(link.index)
            } else {
                Said::Link {
                    link: link.index,
                    up: link.flags.contains(LinkFlags::Up | LinkFlags::Running),
                    loopback: link.flags.contains(LinkFlags::Loopback),
                    software: is_software(payload.get(LINK_HEADER_BYTES..).unwrap_or_default()),
                }
            })
        }
        libc::RTM_NEWADDR | libc::RTM_DELADDR => {
            let address = AddressMessage::parse(payload).ok()?;
            let link = address.header.index;
            let mut flags = AddressFlags::from_bits_retain(address.header.flags.bits().into());
            let (mut ours, mut either) = (None, None);
            for attribute in &address.attributes {
                match attribute {
                    // Where there is a peer, this is ours and the other is the peer's.
                    AddressAttribute::Local(ip) => ours = Some(*ip),
                    AddressAttribute::Address(ip) => either = Some(*ip),
                    AddressAttribute::Flags(all) => flags = *all,
                    _ => {}
                }
            }
            let ip = ours.or(either)?;
            if kind == libc::RTM_DELADDR {
                return Some(Said::AddressGone { link, ip });
            }
            // The same bit says of IPv4 that there is an older address, of IPv6 that it is a temporary one, which tells
            // others less of us.
            let secondary = flags.contains(AddressFlags::Secondary);
            let rank = match flags.contains(AddressFlags::Deprecated) {
                true => Rank::Deprecated,
                false if secondary == ip.is_ipv6() => Rank::First,
                false => Rank::Second,
            };
            let unready = AddressFlags::Tentative | AddressFlags::Dadfailed;
            let ready = !flags.intersects(unready) || flags.contains(AddressFlags::Optimistic);
            Some(Said::Address { link, ip, ready, rank })
        }
        _ => None,
    }
}

/// Whether a link with these attributes is of software's making: those that programs make have a kind. Of hardware only radios
/// do.
fn is_software(attributes: &[u8]) -> bool {
    let kind = find(attributes, libc::IFLA_LINKINFO).and_then(|about| find(about, libc::IFLA_INFO_KIND));
    kind.is_some_and(|kind| !RADIOS.contains(&kind.strip_suffix(b"\0").unwrap_or(kind)))
}

fn find(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut whole = NlasIterator::new(attributes).map_while(Result::ok);
    let found = whole.find(|attribute| attribute.kind() == wanted)?;
    let len = usize::from(found.length());
    found.into_inner().get(ATTRIBUTE_HEADER_BYTES..len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::Emitable;
    use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo};
    use std::net::IpAddr;

    fn understood(kind: u16, message: &impl Emitable) -> Option<Said> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        understand(kind, &bytes)
    }

    #[test]
    fn a_link_is_up_when_packets_pass() {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.attributes.push(LinkAttribute::IfName("wlan0".into()));
        for (flags, up) in [
            (LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp, true),
            (LinkFlags::Up, false),
            (LinkFlags::Running, false),
        ] {
            message.header.flags = flags;
            let said = Said::Link { link: 7, up, loopback: false, software: false };
            assert_eq!(understood(libc::RTM_NEWLINK, &message), Some(said));
        }
        assert_eq!(understood(libc::RTM_DELLINK, &message), Some(Said::LinkGone(7)));
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(understood(libc::RTM_DELLINK, &message), None, "only its place in a bridge is gone");
    }

    #[test]
    fn a_link_with_a_kind_is_of_software_unless_it_is_a_radio() {
        for (kind, software) in [
            (None, false),
            (Some(InfoKind::Other("wlan".into())), false),
            (Some(InfoKind::Bridge), true),
            (Some(InfoKind::Tun), true),
        ] {
            let mut message = LinkMessage::default();
            message.attributes.push(LinkAttribute::IfName("net0".into()));
            let about = |kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]);
            message.attributes.extend(kind.map(about));
            let said = Said::Link { link: 0, up: false, loopback: false, software };
            assert_eq!(understood(libc::RTM_NEWLINK, &message), Some(said));
        }
        assert!(!is_software(&[7]) && !is_software(&[3, 0, 18, 0]) && !is_software(&[200, 0, 18, 0, 1]));
    }

    #[test]
    fn of_two_ends_of_an_address_ours_counts_and_flags_tell_whether_it_can_be_used() {
        let [ours, peer]: [IpAddr; 2] = ["10.8.0.2", "10.8.0.1"].map(|text| text.parse().unwrap());
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let (tentative, temporary) = (AddressFlags::Tentative, AddressFlags::Secondary);
        for (attributes, ip, ready, rank) in [
            (vec![AddressAttribute::Address(peer), AddressAttribute::Local(ours)], ours, true, Rank::First),
            (vec![AddressAttribute::Address(v6)], v6, true, Rank::Second),
            (vec![AddressAttribute::Address(v6), AddressAttribute::Flags(temporary)], v6, true, Rank::First),
            (
                vec![AddressAttribute::Address(ours), AddressAttribute::Flags(temporary)],
                ours,
                true,
                Rank::Second,
            ),
            (
                vec![AddressAttribute::Address(v6), AddressAttribute::Flags(tentative)],
                v6,
                false,
                Rank::Second,
            ),
            (
                vec![
                    AddressAttribute::Address(v6),
                    AddressAttribute::Flags(tentative | AddressFlags::Optimistic),
                ],
                v6,
                true,
                Rank::Second,
            ),
        ] {
            let mut message = AddressMessage::default();
            message.header.index = 3;
            message.attributes = attributes;
            let said = Said::Address { link: 3, ip, ready, rank };
            assert_eq!(understood(libc::RTM_NEWADDR, &message), Some(said));
            let gone = Said::AddressGone { link: 3, ip };
            assert_eq!(understood(libc::RTM_DELADDR, &message), Some(gone));
        }
    }

    #[test]
    fn a_picture_that_breaks_off_is_out_of_date() {
        assert!(broke_off(&(-libc::ENOMEM).to_ne_bytes()));
        assert!(!broke_off(&0_i32.to_ne_bytes()) && !broke_off(&[]));
        // The end of the second part, as the system would write it.
        let mut done = Vec::new();
        for word in [20_u32, u32::from(NLMSG_DONE), 0, 0, -libc::ENOMEM as u32] {
            done.extend(word.to_ne_bytes());
        }
        let mut events = NetworkEvents::new().unwrap();
        for _ in 0..SPOILED {
            events.asked = Asked::Addresses;
            events.hear_all(&done).unwrap();
            assert_eq!(events.asked, Asked::Links, "asked again");
        }
        events.asked = Asked::Addresses;
        assert!(events.hear_all(&done).is_err());
    }

    #[test]
    fn what_is_cut_off_or_of_another_kind_is_passed_over() {
        for kind in [libc::RTM_NEWLINK, libc::RTM_DELLINK, libc::RTM_NEWADDR, libc::RTM_DELADDR, 99] {
            assert_eq!(understand(kind, &[0; 5]), None);
        }
        assert_eq!(understood(libc::RTM_NEWADDR, &AddressMessage::default()), None);
    }

    #[test]
    fn the_loopback_link_of_this_host_is_found() {
        let networks = NetworkEvents::new().unwrap().networks();
        let home: IpAddr = [127, 0, 0, 1].into();
        // Where it is up, as it is nearly everywhere.
        if let Some(link) = networks.link_of(home) {
            assert_eq!(networks.others_toward(home, |_| false).len(), 1);
            assert_eq!(networks.others_toward(home, |other| other == link).len(), 0);
        }
    }
}
