//! Address validation tokens (RFC 9000 8.1.1 to 8.1.4): what they say, sealed by [`EndpointCrypto`].
//!
//! A token of a Retry is bound to the client's address and port and to the connection IDs of the exchange, and lives
//! for seconds. A token of a NEW_TOKEN frame is bound to the IP address, since the port of a later connection is
//! another one. A byte tells the kinds apart (RFC 9000 8.1.1). Times are the endpoint's own, so a token also names the epoch
//! of its endpoint: one of an earlier run, whose clock began elsewhere, is of no use, hence as if absent.

use core::net::{IpAddr, SocketAddr};

use crate::limits::MAX_CID_LEN;
use crate::session::{EndpointCrypto, TOKEN_OVERHEAD};
use crate::time::{Instant, Span};
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

/// Bytes of the largest sealed token: epoch, kind, time, address, port, two connection IDs.
pub const MAX_TOKEN_LEN: usize = 8 + 1 + 8 + 17 + 2 + 2 * (1 + MAX_CID_LEN) + TOKEN_OVERHEAD;

const RETRY: u8 = 1;
const EARLIER: u8 = 2;

impl Token {
    /// Seals the token of this epoch into `out`; returns its length, or `None` if `out` is too small.
    pub fn seal(&self, epoch: u64, crypto: &mut dyn EndpointCrypto, out: &mut [u8]) -> Option<usize> {
        let mut plain = Writer::new(out);
        plain.bytes(&epoch.to_be_bytes()).ok()?;
        self.emit(&mut plain).ok()?;
        let len = plain.len();
        crypto.seal_token(out, len)
    }

    /// Opens a token; `None` if it is not ours, or of another epoch.
    pub fn open(epoch: u64, crypto: &mut dyn EndpointCrypto, sealed: &[u8]) -> Option<Self> {
        let mut buffer = [0; MAX_TOKEN_LEN];
        let token = buffer.get_mut(..sealed.len())?;
        token.copy_from_slice(sealed);
        let len = crypto.open_token(token)?;
        let mut from = Reader::new(token.get(..len)?);
        let ours = from.array() == Ok(epoch.to_be_bytes());
        if ours { Self::parse(&mut from).ok() } else { None }
    }

    /// When it was made.
    pub const fn issued(&self) -> Instant {
        match self {
            Self::Retry { issued, .. } | Self::Earlier { issued, .. } => *issued,
        }
    }

    /// Whether it was made within `lifetime` before `now`.
    pub fn is_fresh(&self, now: Instant, lifetime: Span) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::FourTuple;

    /// Not cryptography: reverses the bytes and appends what must be there to open.
    struct Mirror;

    impl EndpointCrypto for Mirror {
        fn retry_tag(&mut self, _: u32, _: &[u8], _: &[u8]) -> [u8; 16] {
            [0; 16]
        }

        fn seal_token(&mut self, token: &mut [u8], len: usize) -> Option<usize> {
            token.get_mut(..len)?.reverse();
            token.get_mut(len..len + TOKEN_OVERHEAD)?.fill(9);
            Some(len + TOKEN_OVERHEAD)
        }

        fn open_token(&mut self, token: &mut [u8]) -> Option<usize> {
            let len = token.len().checked_sub(TOKEN_OVERHEAD)?;
            token[..len].reverse();
            token[len..].iter().all(|byte| *byte == 9).then_some(len)
        }

        fn reset_token(&mut self, _: &[u8]) -> [u8; 16] {
            [0; 16]
        }

        fn seal_initial(&mut self, _: u32, _: &[u8], _: u64, _: &mut [u8], _: usize, _: usize) {}

        fn flow_label(&mut self, _: &FourTuple, _: &[u8]) -> u32 {
            0
        }

        fn fill_random(&mut self, _: &mut [u8]) {}
    }

    fn tokens() -> [Token; 3] {
        let cid = |len| Cid::new(&[7; MAX_CID_LEN][..len]).unwrap();
        let issued = Instant::from_micros(77);
        let v6: SocketAddr = "[2001:db8::1]:4433".parse().unwrap();
        let v4: SocketAddr = "192.0.2.1:1".parse().unwrap();
        [
            Token::Retry { remote: v6, original_dcid: cid(20), retry_scid: cid(20), issued },
            Token::Retry { remote: v4, original_dcid: cid(8), retry_scid: cid(0), issued },
            Token::Earlier { ip: v4.ip(), issued },
        ]
    }

    #[test]
    fn every_kind_goes_there_and_back_in_its_epoch_only() {
        for token in tokens() {
            let mut sealed = [0; MAX_TOKEN_LEN];
            let len = token.seal(3, &mut Mirror, &mut sealed).unwrap();
            assert_eq!(Token::open(3, &mut Mirror, &sealed[..len]), Some(token));
            assert_eq!(Token::open(4, &mut Mirror, &sealed[..len]), None);
            for cut in 0..len {
                assert_eq!(Token::open(3, &mut Mirror, &sealed[..cut]), None, "cut at {cut}");
            }
        }
        let [largest, ..] = tokens();
        assert_eq!(largest.seal(3, &mut Mirror, &mut [0; MAX_TOKEN_LEN]), Some(MAX_TOKEN_LEN));
        assert_eq!(largest.seal(3, &mut Mirror, &mut [0; MAX_TOKEN_LEN - 1]), None);
    }

    #[test]
    fn fresh_is_neither_old_nor_from_the_future() {
        let [token, ..] = tokens();
        let lifetime = Span::from_micros(10);
        for (now, fresh) in [(76, false), (77, true), (87, true), (88, false)] {
            assert_eq!(token.is_fresh(Instant::from_micros(now), lifetime), fresh, "at {now}");
        }
    }
}
