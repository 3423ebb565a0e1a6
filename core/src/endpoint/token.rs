//! Address validation tokens (RFC 9000 8.1.1 to 8.1.4): what they say, sealed by [`EndpointCrypto`].
//!
//! A token of a Retry is bound to the client's address and port and to the connection IDs of the exchange, and lives
//! for seconds. A token of a NEW_TOKEN frame is bound to the IP address, since the port of a later connection is
//! another one. The first byte tells the kinds apart (RFC 9000 8.1.1). Times are the endpoint's own: a token of an
//! endpoint whose clock began anew is too old or from the future, hence of no use, hence as if absent.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::limits::MAX_CID_LEN;
use crate::session::{EndpointCrypto, TOKEN_OVERHEAD};
use crate::time::Instant;
use crate::wire::{Cid, Malformed, NoSpace, Reader, Writer};

/// What a token proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    /// That the client received our Retry.
    Retry {
        /// Where it was sent.
        remote: SocketAddr,
        /// The DCID of the client's first Initial.
        original_dcid: Cid,
        /// The SCID of our Retry, which the client now sends to.
        retry_scid: Cid,
        /// When.
        issued: Instant,
    },
    /// That the client was reached at this address in an earlier connection.
    Earlier {
        /// The address.
        ip: IpAddr,
        /// When the token was made.
        issued: Instant,
    },
}

/// Bytes of the largest sealed token: kind, time, address, port, two connection IDs.
pub const MAX_TOKEN_LEN: usize = 1 + 8 + 17 + 2 + 2 * (1 + MAX_CID_LEN) + TOKEN_OVERHEAD;

const RETRY: u8 = 1;
const EARLIER: u8 = 2;

impl Token {
    /// Seals the token into `out`; returns its length, or `None` if `out` is too small.
    pub fn seal(&self, crypto: &mut dyn EndpointCrypto, out: &mut [u8]) -> Option<usize> {
        let mut plain = Writer::new(out);
        self.emit(&mut plain).ok()?;
        let len = plain.len();
        crypto.seal_token(out, len)
    }

    /// Opens a token; `None` if it is not ours.
    pub fn open(crypto: &mut dyn EndpointCrypto, sealed: &[u8]) -> Option<Self> {
        let mut buffer = [0; MAX_TOKEN_LEN];
        let token = buffer.get_mut(..sealed.len())?;
        token.copy_from_slice(sealed);
        let len = crypto.open_token(token)?;
        Self::parse(&mut Reader::new(token.get(..len)?)).ok()
    }

    /// When it was made.
    pub const fn issued(&self) -> Instant {
        match self {
            Self::Retry { issued, .. } | Self::Earlier { issued, .. } => *issued,
        }
    }

    /// Whether it was made within `lifetime` before `now`.
    pub fn is_fresh(&self, now: Instant, lifetime: Duration) -> bool {
        self.issued() <= now && now.since(self.issued()) <= lifetime
    }

    fn emit(&self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        out.u8(match self {
            Self::Retry { .. } => RETRY,
            Self::Earlier { .. } => EARLIER,
        })?;
        out.bytes(&self.issued().as_micros().to_be_bytes())?;
        match self {
            Self::Retry { remote, original_dcid, retry_scid, .. } => {
                emit_ip(remote.ip(), out)?;
                out.u16(remote.port())?;
                out.varint_bytes(original_dcid.as_slice())?;
                out.varint_bytes(retry_scid.as_slice())
            }
            Self::Earlier { ip, .. } => emit_ip(*ip, out),
        }
    }

    fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = from.u8()?;
        let issued = Instant::from_micros(u64::from_be_bytes(from.array()?));
        let ip = parse_ip(from)?;
        match kind {
            RETRY => {
                let remote = SocketAddr::new(ip, from.u16()?);
                let original_dcid = Cid::new(from.varint_bytes()?).ok_or(Malformed)?;
                let retry_scid = Cid::new(from.varint_bytes()?).ok_or(Malformed)?;
                Ok(Self::Retry { remote, original_dcid, retry_scid, issued })
            }
            EARLIER => Ok(Self::Earlier { ip, issued }),
            _ => Err(Malformed),
        }
    }
}

fn emit_ip(ip: IpAddr, out: &mut Writer<'_>) -> Result<(), NoSpace> {
    match ip {
        IpAddr::V4(ip) => out.varint_bytes(&ip.octets()),
        IpAddr::V6(ip) => out.varint_bytes(&ip.octets()),
    }
}

fn parse_ip(from: &mut Reader<'_>) -> Result<IpAddr, Malformed> {
    let octets = from.varint_bytes()?;
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Ok(IpAddr::from(octets));
    }
    <[u8; 16]>::try_from(octets).map(IpAddr::from).map_err(|_| Malformed)
}
