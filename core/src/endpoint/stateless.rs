//! Answers to datagrams of no connection, written over the datagram they answer: nothing is queued, nothing is kept,
//! and one datagram never draws more than one answer, which is never larger (RFC 9000 5.2.2, 8.1.2, 10.3, 21.5).

use super::token::{MAX_TOKEN_LEN, Token};
use crate::error::Code;
use crate::limits::TAG_LEN;
use crate::session::EndpointCrypto;
use crate::time::{Instant, Span};
use crate::wire::frame::{ConnectionClose, Frame};
use crate::wire::header::{LongHeader, LongType};
use crate::wire::packet_number::Truncated;
use crate::wire::{Cid, PacketWriter, Writer, reset, retry, version};
use core::ops::Range;

/// How many answers of a kind may go out in a second.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    per_second: u32,
    left: u32,
    since: Instant,
}

impl Allowance {
    /// `per_second` answers in each second.
    pub const fn new(per_second: u32) -> Self {
        Self { per_second, left: per_second, since: Instant::ZERO }
    }

    /// Whether one more may go out now.
    pub fn take(&mut self, now: Instant) -> bool {
        if now.since(self.since) >= Span::from_secs(1) {
            self.since = now;
            self.left = self.per_second;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// Answers a packet of a version we do not speak, whose connection IDs lie at these places; returns the length.
pub fn version_negotiation(
    dcid: Range<usize>,
    scid: Range<usize>,
    random: u32,
    datagram: &mut [u8],
) -> Option<usize> {
    let mut ids = [[0; 255]; 2];
    let [to_dcid, to_scid] = &mut ids;
    let dcid = copy(datagram.get(dcid)?, to_dcid)?;
    let scid = copy(datagram.get(scid)?, to_scid)?;
    let mut out = Writer::new(datagram);
    version::emit(scid, dcid, random, &mut out).ok()?;
    Some(out.len())
}

/// What a Retry packet says.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'a> {
    /// The version of the client's packet.
    pub version: u32,
    /// The client's SCID.
    pub client_scid: Cid,
    /// The DCID of the client's packet.
    pub original_dcid: Cid,
    /// What the client shall send to from now on.
    pub retry_scid: Cid,
    /// What it shall bring.
    pub token: &'a Token,
    /// The endpoint's epoch.
    pub epoch: u64,
}

/// Asks a client to prove its address; returns the length.
pub fn retry(crypto: &mut dyn EndpointCrypto, retry: Retry<'_>, datagram: &mut [u8]) -> Option<usize> {
    let mut sealed = [0; MAX_TOKEN_LEN];
    let len = retry.token.seal(retry.epoch, crypto, &mut sealed)?;
    let mut unused = [0];
    crypto.fill_random(&mut unused);
    let [unused] = unused;
    let mut out = Writer::new(datagram);
    retry::emit(retry.version, retry.client_scid, retry.retry_scid, sealed.get(..len)?, unused, &mut out)
        .ok()?;
    let tag = crypto.retry_tag(retry.version, retry.original_dcid.as_slice(), out.written());
    out.bytes(&tag).ok()?;
    Some(out.len())
}

/// Resets whoever sent a 1-RTT packet to a connection ID of ours that we do not know any more; returns the length.
pub fn reset(crypto: &mut dyn EndpointCrypto, cid_len: usize, datagram: &mut [u8]) -> Option<usize> {
    let len = reset::len_for(datagram.len())?;
    let token = crypto.reset_token(datagram.get(1..)?.get(..cid_len)?);
    let answer = datagram.get_mut(..len)?;
    crypto.fill_random(answer);
    reset::emit(&token, answer).ok()?;
    Some(len)
}

/// What a client is turned away with.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The version of the client's packet.
    pub version: u32,
    /// The DCID of the client's packet, which yields the keys.
    pub client_dcid: Cid,
    /// The client's SCID.
    pub client_scid: Cid,
    /// Why.
    pub code: Code,
}

/// Closes a connection that never was, in an Initial packet (RFC 9000 10.2.3, 5.2.2); returns the length.
pub fn refuse(crypto: &mut dyn EndpointCrypto, refusal: Refusal, datagram: &mut [u8]) -> Option<usize> {
    let header = LongHeader {
        packet: LongType::Initial { token: &[] },
        version: refusal.version,
        dcid: refusal.client_scid,
        scid: refusal.client_dcid,
    };
    let pn = Truncated::new(0, 1);
    let layout = header.emit(true, pn, &mut Writer::new(datagram)).ok()?;
    let mut payload = PacketWriter::new(datagram.get_mut(layout.end..)?);
    let close = ConnectionClose { code: refusal.code.0, frame: Some(0), reason: &[] };
    payload.push(&Frame::ConnectionClose(close)).ok()?;
    let end = layout.end.checked_add(payload.len())?.checked_add(TAG_LEN)?;
    let packet = datagram.get_mut(..end)?;
    layout.set_length(packet, end).ok()?;
    crypto.seal_initial(refusal.version, refusal.client_dcid.as_slice(), 0, packet, layout.end, pn.width());
    Some(end)
}

fn copy<'a>(from: &[u8], to: &'a mut [u8]) -> Option<&'a [u8]> {
    let to = to.get_mut(..from.len())?;
    to.copy_from_slice(from);
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_for_each_second() {
        let mut allowance = Allowance::new(2);
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        assert!(allowance.take(at(1)) && allowance.take(at(2)) && !allowance.take(at(3)));
        assert!(!allowance.take(at(999)));
        assert!(allowance.take(at(1_000)) && allowance.take(at(1_500)) && !allowance.take(at(1_999)));
    }
}
