//! Identities: who, which path, which stream, which address pair.

use core::net::SocketAddr;
use core::num::NonZero;
use core::num::NonZeroU8;

/// The role of an endpoint in a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Side {
    /// Opened the connection.
    Client,
    /// Accepted it.
    Server,
}

impl Side {
    /// The other role.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// Whether this is the client.
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Client)
    }
}

/// Our own role. Without the feature `server` that is the client's: it takes no room, and the compiler leaves out what only
/// servers do. Unit tests have both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OurSide(#[cfg(any(feature = "server", test))] Side);

#[cfg(any(feature = "server", test))]
impl OurSide {
    pub(crate) const fn new(side: Side) -> Self {
        Self(side)
    }

    pub(crate) const fn get(self) -> Side {
        self.0
    }
}

#[cfg(not(any(feature = "server", test)))]
impl OurSide {
    pub(crate) const fn new(_: Side) -> Self {
        Self()
    }

    pub(crate) const fn get(self) -> Side {
        Side::Client
    }
}

impl OurSide {
    pub(crate) const fn is_client(self) -> bool {
        self.get().is_client()
    }

    pub(crate) const fn peer(self) -> Side {
        self.get().peer()
    }
}

/// A path in the sense of multipath QUIC: it owns a packet number space and connection IDs. Plain QUIC has only
/// [`PathId::ZERO`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PathId(pub u32);

impl PathId {
    /// The path of the handshake.
    pub const ZERO: Self = Self(0);
}

/// The row of a path in the table of paths. Without the feature `multipath` there is one row, and this takes no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PathRow(#[cfg(feature = "multipath")] u8);

#[cfg(feature = "multipath")]
impl PathRow {
    /// The row of the path of the handshake.
    pub const FIRST: Self = Self(0);

    /// The row `index`, which is small.
    pub const fn new(index: usize) -> Self {
        Self((index & 0xff) as u8)
    }

    /// Its place in the table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(not(feature = "multipath"))]
impl PathRow {
    /// The row of the path of the handshake.
    pub const FIRST: Self = Self();

    /// The only row there is.
    pub const fn new(_: usize) -> Self {
        Self()
    }

    /// Its place in the table.
    pub const fn index(self) -> usize {
        0
    }
}

/// A packet number (RFC 9000 12.3) as rows hold it: `Option<PacketNumber>` takes no more room than the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PacketNumber(NonZero<u64>);

impl PacketNumber {
    /// The number `pn`, which is below 2^62.
    pub const fn new(pn: u64) -> Self {
        Self(NonZero::<u64>::MIN.saturating_add(pn))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get().saturating_sub(1)
    }
}

/// A packet number space (RFC 9000 12.3): one each for Initial and Handshake, and one per path for 0-RTT and 1-RTT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SpaceId {
    /// Initial packets.
    Initial,
    /// Handshake packets.
    Handshake,
    /// 0-RTT and 1-RTT packets of a path.
    App(PathId),
}

/// Which way data flows on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Dir {
    /// Both ways.
    Bi,
    /// From the initiator only.
    Uni,
}

/// A stream ID (RFC 9000 2.1): the low bit names the initiator, the next one the direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StreamId(pub u64);

impl StreamId {
    /// The `index`-th stream of that initiator and direction, counted from zero.
    pub const fn new(initiator: Side, dir: Dir, index: u64) -> Self {
        let low = match initiator {
            Side::Client => 0,
            Side::Server => 1,
        } | match dir {
            Dir::Bi => 0,
            Dir::Uni => 2,
        };
        Self((index << 2) | low)
    }

    /// Who opened it.
    pub const fn initiator(self) -> Side {
        if self.0 & 1 == 0 { Side::Client } else { Side::Server }
    }

    /// Which way data flows.
    pub const fn dir(self) -> Dir {
        if self.0 & 2 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// Its number among the streams of the same initiator and direction, counted from zero.
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }
}

/// Both ends of a route. `interface` is the adapter's number for the local interface (zero: not told apart): Wi-Fi
/// and Ethernet may both be 192.168.1.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FourTuple {
    /// Our address. An unspecified IP address means the system chooses.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The adapter's number for the local interface.
    pub interface: u32,
}

/// An ECN codepoint of the IP header (RFC 3168).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Ecn {
    /// Not ECN-capable.
    #[default]
    NotEct,
    /// ECT(0), what a QUIC sender marks with.
    Ect0,
    /// ECT(1).
    Ect1,
    /// Congestion experienced.
    Ce,
}

impl Ecn {
    /// The codepoint of the low two bits of a traffic class.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The two bits.
    pub const fn bits(self) -> u8 {
        match self {
            Self::NotEct => 0,
            Self::Ect1 => 1,
            Self::Ect0 => 2,
            Self::Ce => 3,
        }
    }
}

/// A connection ID of ours by number, as far as needed to tell those that the peer may use apart: a few, made one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CidTag(NonZeroU8);

impl CidTag {
    /// The tag of the ID with this sequence number.
    pub const fn of(seq: u64) -> Self {
        Self(NonZeroU8::MIN.saturating_add((seq % 255) as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_ids_of_rfc_9000_table_1() {
        for (id, initiator, dir) in [
            (0, Side::Client, Dir::Bi),
            (1, Side::Server, Dir::Bi),
            (2, Side::Client, Dir::Uni),
            (3, Side::Server, Dir::Uni),
        ] {
            let stream = StreamId(id + 4 * 9);
            assert_eq!((stream.initiator(), stream.dir(), stream.index()), (initiator, dir, 9));
            assert_eq!(StreamId::new(initiator, dir, 9), stream);
        }
    }

    #[test]
    fn packet_numbers_round_trip_and_keep_their_order() {
        for pn in [0, 1, (1 << 62) - 1] {
            assert_eq!(PacketNumber::new(pn).get(), pn);
            assert!(None < Some(PacketNumber::new(pn)) && PacketNumber::new(pn) < PacketNumber::new(pn + 1));
        }
        assert_eq!(size_of::<Option<PacketNumber>>(), 8);
    }

    #[test]
    fn ecn_bits_round_trip() {
        for bits in 0..4 {
            assert_eq!(Ecn::from_bits(bits).bits(), bits);
        }
    }
}
