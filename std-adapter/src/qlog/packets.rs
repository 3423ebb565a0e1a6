//! Packets: their headers and frames.

use peregrine_core::session::{Key, Level};
use peregrine_core::wire::frame::Frames;
use peregrine_core::wire::header::Invariants;
use peregrine_core::wire::{Dialect, Reader};
use serde_json::{Map, Value, json};

use super::frames::frames;
use super::words::{hex, packet_type, version};

/// A packet in the clear.
pub(super) struct Packet<'a> {
    pub(super) key: Key,
    pub(super) number: u64,
    /// Up to and with the packet number, without header protection.
    pub(super) header: &'a [u8],
    /// The frames.
    pub(super) payload: &'a [u8],
    /// Of the whole packet, its tag included.
    pub(super) len: usize,
    /// Its sender's.
    pub(super) ack_delay_exponent: u64,
    /// In which frames of multipath are written.
    pub(super) dialect: Option<Dialect>,
}

impl Packet<'_> {
    pub(super) fn value(&self) -> Value {
        let frames = frames(
            Frames::new(self.key.level, self.payload).in_dialect(self.dialect),
            self.ack_delay_exponent,
        );
        json!({
            "header": self.header(),
            "frames": frames,
            "raw": { "length": self.len, "payload_length": self.payload.len() },
        })
    }

    fn header(&self) -> Value {
        let first = self.header.first().copied().unwrap_or_default();
        // RFC 9000 17.2, 17.3.1: the low two bits tell how long the packet number is.
        let number_len = usize::from(first & 3) + 1;
        let mut header = Map::new();
        header.insert("packet_type".into(), packet_type(self.key.level).into());
        header.insert("packet_number".into(), self.number.into());
        header.insert("packet_number_length".into(), number_len.into());
        if self.key.level == Level::OneRtt {
            let end = self.header.len().saturating_sub(number_len);
            header.insert("key_phase".into(), self.key.generation.into());
            header.insert("spin_bit".into(), (first & 0x20 != 0).into());
            insert_cid(&mut header, "dcid", self.header.get(1..end).unwrap_or_default());
        } else {
            insert_long(&mut header, self.header);
            if self.key.level == Level::Initial
                && let Some(token @ 1..) = token_len(self.header)
            {
                header.insert("token".into(), json!({ "raw": { "length": token } }));
            }
        }
        header.into()
    }
}

/// A Retry packet without its tag.
pub(super) fn retry(packet: &[u8], tag_len: usize) -> Value {
    let mut header = Map::new();
    header.insert("packet_type".into(), "retry".into());
    insert_long(&mut header, packet);
    // All behind the connection IDs (RFC 9000 17.2.5).
    if let Some(token) = behind_cids(packet) {
        header.insert("token".into(), json!({ "type": "retry", "raw": { "length": token.len() } }));
    }
    json!({ "header": header, "raw": { "length": packet.len() + tag_len } })
}

fn insert_cid(header: &mut Map<String, Value>, name: &str, cid: &[u8]) {
    header.insert(name.into(), hex(cid).into());
    let len = if name == "dcid" { "dcil" } else { "scil" };
    header.insert(len.into(), cid.len().into());
}

fn insert_long(header: &mut Map<String, Value>, bytes: &[u8]) {
    if let Ok(Invariants::Long { version: number, dcid, scid }) = Invariants::parse(bytes) {
        header.insert("version".into(), version(number).into());
        insert_cid(header, "dcid", bytes.get(dcid).unwrap_or_default());
        insert_cid(header, "scid", bytes.get(scid).unwrap_or_default());
    }
}

fn behind_cids(bytes: &[u8]) -> Option<&[u8]> {
    match Invariants::parse(bytes) {
        Ok(Invariants::Long { scid, .. }) => bytes.get(scid.end..),
        _ => None,
    }
}

/// The length of the token of an Initial packet (RFC 9000 17.2.2).
fn token_len(header: &[u8]) -> Option<usize> {
    Reader::new(behind_cids(header)?).varint_bytes().ok().map(<[u8]>::len)
}
