//! Transport parameters (RFC 9000 7.4, 18; RFC 9221 3; RFC 9287 3; draft-ietf-quic-multipath-21 2.1), from one table.
//!
//! A row is the only place where a parameter's number, default and bounds are written, but for numbers that differ by
//! [`Dialect`]. It yields the field of [`TransportParams`], its parser and its emitter. Whether the connection IDs are
//! those of the handshake (RFC 9000 7.3), and present at all, is checked where these are known.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use core::ops::RangeInclusive;

use heapless::Vec;

use crate::error::{Code, TransportError};
use crate::ids::Side;
use crate::limits::{
    DEFAULT_ACK_DELAY_EXPONENT, MAX_STREAMS, MAX_VARINT, MIN_ACTIVE_CID_LIMIT, MIN_INITIAL_DATAGRAM,
    RESET_TOKEN_LEN,
};
use crate::time::Span;
use crate::wire::dialect::PerDialect;
use crate::wire::{Cid, Dialect, Malformed, NoSpace, Reader, Writer};

/// Any variable-length integer.
const ANY: RangeInclusive<u64> = 0..=MAX_VARINT;
/// Senders of a parameter.
const BOTH: &[Side] = &[Side::Client, Side::Server];
/// Sender of a parameter.
const SERVER: &[Side] = &[Side::Server];

macro_rules! transport_params {
    (
        integers { $($(#[$integer_doc:meta])* $integer:ident = $integer_id:literal, $default:expr, $bounds:expr;)* }
        others { $($(#[$other_doc:meta])* $other:ident: $kind:ty = $other_id:literal, $senders:expr;)* }
        by_dialect { $($(#[$path_doc:meta])* $path:ident, $path_bounds:expr;)* }
    ) => {
        /// What an endpoint declares of itself in the handshake. The default is what holds for one that declares
        /// nothing (RFC 9000 18.2).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct TransportParams {
            $($(#[$integer_doc])* pub $integer: u64,)*
            $($(#[$other_doc])* pub $other: $kind,)*
            $($(#[$path_doc])* pub $path: PerDialect,)*
        }

        impl Default for TransportParams {
            fn default() -> Self {
                Self {
                    $($integer: $default,)*
                    $($other: Default::default(),)*
                    $($path: PerDialect::default(),)*
                }
            }
        }

        /// The numbers of the table, but for those that differ by dialect.
        const IDS: &[u64] = &[$($integer_id,)* $($other_id,)*];

        fn is_known(id: u64) -> bool {
            IDS.contains(&id) $(|| Dialect::ALL.iter().any(|dialect| dialect.numbers().$path == id))*
        }

        impl TransportParams {
            /// Takes the value of a parameter of the table.
            fn read(&mut self, sender: Side, id: u64, value: &[u8]) -> Result<(), TransportError> {
                $(if let Some(dialect) = Dialect::ALL.iter().find(|dialect| dialect.numbers().$path == id) {
                    self.$path = self.$path.with(*dialect, parse_integer(value, $path_bounds)?);
                    return Ok(());
                })*
                match id {
                    $($integer_id => self.$integer = parse_integer(value, $bounds)?,)*
                    $($other_id if $senders.contains(&sender) => self.$other = parse_value(value)?,)*
                    _ => return Err(error("client sent a parameter of servers")),
                }
                Ok(())
            }

            /// Writes the parameters of `sender` that are not at their defaults.
            fn write(&self, sender: Side, out: &mut Writer<'_>) -> Result<(), NoSpace> {
                let default = Self::default();
                $(if self.$integer != default.$integer {
                    emit_value($integer_id, &self.$integer, out)?;
                })*
                $(if self.$other != default.$other && $senders.contains(&sender) {
                    emit_value($other_id, &self.$other, out)?;
                })*
                $(for dialect in Dialect::ALL {
                    if let Some(value) = self.$path.get(*dialect) {
                        emit_value(dialect.numbers().$path, &value, out)?;
                    }
                })*
                Ok(())
            }
        }
    };
}

transport_params! {
    integers {
        // name = id, default, bounds
        /// Silence that ends the connection, in milliseconds; zero if none does.
        max_idle_timeout_ms = 0x01, 0, ANY;
        /// The largest UDP payload it takes, in bytes.
        max_udp_payload_size = 0x03, 65_527, MIN_INITIAL_DATAGRAM as u64..=MAX_VARINT;
        /// MAX_DATA to begin with, in bytes.
        initial_max_data = 0x04, 0, ANY;
        /// MAX_STREAM_DATA to begin with of bidirectional streams that the declaring endpoint opens, in bytes.
        initial_max_stream_data_bidi_local = 0x05, 0, ANY;
        /// MAX_STREAM_DATA to begin with of bidirectional streams that its peer opens, in bytes.
        initial_max_stream_data_bidi_remote = 0x06, 0, ANY;
        /// MAX_STREAM_DATA to begin with of unidirectional streams that its peer opens, in bytes.
        initial_max_stream_data_uni = 0x07, 0, ANY;
        /// MAX_STREAMS to begin with of bidirectional streams.
        initial_max_streams_bidi = 0x08, 0, 0..=MAX_STREAMS;
        /// MAX_STREAMS to begin with of unidirectional streams.
        initial_max_streams_uni = 0x09, 0, 0..=MAX_STREAMS;
        /// The delays in its ACK frames are microseconds divided by two to this power.
        ack_delay_exponent = 0x0a, u64::from(DEFAULT_ACK_DELAY_EXPONENT), 0..=20;
        /// The longest it delays an ACK, in milliseconds.
        max_ack_delay_ms = 0x0b, 25, 0..=0x3fff;
        /// How many connection IDs of its peer it stores.
        active_cid_limit = 0x0e, MIN_ACTIVE_CID_LIMIT, MIN_ACTIVE_CID_LIMIT..=MAX_VARINT;
        /// The largest DATAGRAM frame it takes, in bytes; zero if none (RFC 9221 3).
        max_datagram_frame_size = 0x20, 0, ANY;
    }
    others {
        // name: type = id, senders
        /// The DCID of the client's first Initial.
        original_dcid: Option<Cid> = 0x00, SERVER;
        /// The reset token of the server's connection ID of the handshake.
        stateless_reset_token: Option<[u8; RESET_TOKEN_LEN]> = 0x02, SERVER;
        /// Its peer is not to send from a new address to the address of the handshake.
        disable_active_migration: bool = 0x0c, BOTH;
        /// Where the server would rather be reached.
        preferred_address: Option<PreferredAddress> = 0x0d, SERVER;
        /// The SCID of its first Initial.
        initial_scid: Option<Cid> = 0x0f, BOTH;
        /// The SCID of the server's Retry packet, if there was one.
        retry_scid: Option<Cid> = 0x10, SERVER;
        /// It takes packets whose fixed bit is cleared (RFC 9287 3).
        grease_quic_bit: bool = 0x2ab2, BOTH;
    }
    by_dialect {
        // name, bounds
        /// MAX_PATH_ID to begin with, by dialect; none in one that it does not speak.
        initial_max_path_id, 0..=u64::from(u32::MAX);
    }
}

/// Unknown parameters that are remembered in order to find duplicates. Those beyond are ignored unseen.
const UNKNOWN_SEEN: usize = 16;

impl TransportParams {
    /// Parses the parameters that `sender` declared.
    ///
    /// Unknown ones are ignored. So is a duplicate among unknown ones that follows the sixteenth of them; every other
    /// duplicate is refused, as RFC 9000 7.4 recommends.
    ///
    /// # Errors
    /// TRANSPORT_PARAMETER_ERROR for what is cut off, twice there, out of bounds, or not the sender's to declare.
    pub fn parse(sender: Side, bytes: &[u8]) -> Result<Self, TransportError> {
        let mut params = Self::default();
        let mut known = Vec::<u64, { IDS.len() + Dialect::ALL.len() }>::new();
        let mut unknown = Vec::<u64, UNKNOWN_SEEN>::new();
        let mut from = Reader::new(bytes);
        while !from.is_empty() {
            let (id, value) = parse_one(&mut from).map_err(|Malformed| error("parameter is cut off"))?;
            let is_known = is_known(id);
            let seen = if is_known { known.as_mut_view() } else { unknown.as_mut_view() };
            if seen.contains(&id) {
                return Err(error("parameter is there twice"));
            }
            // Only the list of unknown ones can be full.
            seen.push(id).ok();
            if is_known {
                params.read(sender, id, value)?;
            }
        }
        if params.preferred_address.is_some() && params.initial_scid == Some(Cid::EMPTY) {
            return Err(error("preferred address of a server without connection ID"));
        }
        Ok(params)
    }

    /// Writes the parameters that we, being `sender`, declare: those not at their defaults, and of a client none that
    /// only servers have. `grease` adds one that nobody knows (RFC 9000 18.1): any number, which picks its ID, and its
    /// value.
    ///
    /// # Errors
    /// [`NoSpace`] if they do not fit; nothing is written then.
    pub fn emit(
        &self,
        sender: Side,
        grease: Option<(u64, &[u8])>,
        out: &mut Writer<'_>,
    ) -> Result<(), NoSpace> {
        out.whole(|out| {
            self.write(sender, out)?;
            if let Some((number, value)) = grease {
                out.varint(reserved_id(number))?;
                out.varint_bytes(value)?;
            }
            Ok(())
        })
    }

    /// Silence that ends the connection, if any does.
    pub fn max_idle_timeout(&self) -> Option<Span> {
        (self.max_idle_timeout_ms > 0).then(|| Span::from_millis(self.max_idle_timeout_ms))
    }

    /// The longest it delays an ACK.
    pub const fn max_ack_delay(&self) -> Span {
        Span::from_millis(self.max_ack_delay_ms)
    }
}

/// A server's other address, with a connection ID for it (RFC 9000 9.6, 18.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PreferredAddress {
    /// Where it is over IPv4, if it is.
    pub v4: Option<SocketAddrV4>,
    /// Where it is over IPv6, if it is.
    pub v6: Option<SocketAddrV6>,
    /// The connection ID of sequence number 1; never empty.
    pub cid: Cid,
    /// The stateless reset token that goes with it.
    pub reset_token: [u8; RESET_TOKEN_LEN],
}

/// A parameter's value, which is all of what is parsed.
trait Value: Sized {
    fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed>;
    fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace>;
}

impl Value for u64 {
    fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.varint()
    }

    fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.varint(*self)
    }
}

/// A flag says yes by being there.
impl Value for bool {
    fn parse(_: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(true)
    }

    fn emit(&self, _: &mut Writer<'_>) -> Result<(), NoSpace> {
        Ok(())
    }
}

impl<T: Value> Value for Option<T> {
    fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        T::parse(from).map(Some)
    }

    fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        self.as_ref().map_or(Ok(()), |value| value.emit(out))
    }
}

impl Value for [u8; RESET_TOKEN_LEN] {
    fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.array()
    }

    fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.bytes(self)
    }
}

impl Value for Cid {
    fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::new(from.take_rest()).ok_or(Malformed)
    }

    fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.bytes(self.as_slice())
    }
}

impl Value for PreferredAddress {
    fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let v4 = SocketAddrV4::new(Ipv4Addr::from(from.array::<4>()?), from.u16()?);
        let v6 = SocketAddrV6::new(Ipv6Addr::from(from.array::<16>()?), from.u16()?, 0, 0);
        let cid = Cid::parse(from)?;
        if cid.is_empty() {
            return Err(Malformed);
        }
        // All zero stands for no address. With only one of the two zero, nothing can be sent there either.
        Ok(Self {
            v4: Some(v4).filter(|v4| !v4.ip().is_unspecified() && v4.port() != 0),
            v6: Some(v6).filter(|v6| !v6.ip().is_unspecified() && v6.port() != 0),
            cid,
            reset_token: from.array()?,
        })
    }

    fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        let v4 = self.v4.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let v6 = self.v6.unwrap_or(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
        out.bytes(&v4.ip().octets())?;
        out.u16(v4.port())?;
        out.bytes(&v6.ip().octets())?;
        out.u16(v6.port())?;
        self.cid.emit(out)?;
        out.bytes(&self.reset_token)
    }
}

fn parse_one<'a>(from: &mut Reader<'a>) -> Result<(u64, &'a [u8]), Malformed> {
    Ok((from.varint()?, from.varint_bytes()?))
}

fn parse_value<T: Value>(value: &[u8]) -> Result<T, TransportError> {
    let mut from = Reader::new(value);
    match T::parse(&mut from) {
        Ok(value) if from.is_empty() => Ok(value),
        _ => Err(error("parameter has a malformed value")),
    }
}

fn parse_integer(value: &[u8], bounds: RangeInclusive<u64>) -> Result<u64, TransportError> {
    let value = parse_value(value)?;
    if bounds.contains(&value) { Ok(value) } else { Err(error("parameter is out of bounds")) }
}

fn emit_value(id: u64, value: &impl Value, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    // The length stands before the value. The longest value is a preferred address of 61 bytes.
    let mut scratch = [0; 64];
    let mut body = Writer::new(&mut scratch);
    value.emit(&mut body)?;
    out.varint(id)?;
    out.varint_bytes(body.written())
}

/// The `number`-th ID, modulo how many there are, that no parameter will ever have (RFC 9000 18.1).
const fn reserved_id(number: u64) -> u64 {
    const LAST: u64 = (MAX_VARINT - 27) / 31;
    (number % (LAST + 1)).saturating_mul(31).saturating_add(27)
}

const fn error(reason: &'static str) -> TransportError {
    TransportError::new(Code::TRANSPORT_PARAMETER_ERROR, reason)
}

#[cfg(test)]
mod tests;
