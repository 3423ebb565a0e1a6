//! Packet numbers on the wire (RFC 9000 17.1, A.2, A.3): their low 1 to 4 bytes, as many as the receiver needs.

use crate::limits::MAX_PACKET_NUMBER;
use crate::wire::{NoSpace, Writer};

/// How many bytes of `pn` to send, 1 to 4, if `largest_acked` is the largest the peer has acknowledged in this space.
///
/// What the bytes can tell apart is more than twice as many numbers as are unacknowledged. Four bytes are the most
/// there is; nobody has 2^31 packets in flight.
pub const fn encoded_len(pn: u64, largest_acked: Option<u64>) -> usize {
    let unacked = match largest_acked {
        Some(largest) => pn.saturating_sub(largest),
        None => pn.saturating_add(1),
    };
    match unacked {
        0..0x80 => 1,
        0x80..0x8000 => 2,
        0x8000..0x80_0000 => 3,
        _ => 4,
    }
}

/// The low bytes of a packet number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated {
    value: u32,
    len: u8,
}

impl Truncated {
    /// The low `len` bytes of `pn`; a `len` outside 1 to 4 is taken as the nearest of these.
    pub fn new(pn: u64, len: usize) -> Self {
        let len = len.clamp(1, 4) as u8;
        Self { value: (pn & mask(len)) as u32, len }
    }

    /// The packet number that stands in the first `len` of the four bytes at its place, `len` as
    /// [`FirstByte::pn_len`](crate::wire::header::FirstByte::pn_len) tells it.
    pub fn read(bytes: [u8; 4], len: usize) -> Self {
        let len = len.clamp(1, 4) as u8;
        let unused = 32_u32.saturating_sub(bits(len));
        Self { value: u32::from_be_bytes(bytes) >> unused, len }
    }

    /// How many bytes there are.
    pub const fn width(self) -> usize {
        self.len as usize
    }

    /// Writes the bytes.
    pub(in crate::wire) fn emit(self, out: &mut Writer<'_>) -> Result<(), NoSpace> {
        let unused = 4_usize.saturating_sub(self.width());
        out.bytes(self.value.to_be_bytes().get(unused..).unwrap_or_default())
    }

    /// The packet number that ends in these bytes and is nearest to `expected`, which is one above the largest that
    /// was opened in this space.
    pub fn expand(self, expected: u64) -> u64 {
        let expected = expected.min(MAX_PACKET_NUMBER);
        let (mask, value) = (mask(self.len), u64::from(self.value));
        let window = mask.saturating_add(1);
        let half = window / 2;
        let candidate = (expected & !mask) | value;
        if candidate.saturating_add(half) <= expected {
            let next = candidate.saturating_add(window);
            if next <= MAX_PACKET_NUMBER { next } else { candidate }
        } else if candidate > expected.saturating_add(half) {
            candidate.checked_sub(window).unwrap_or(candidate)
        } else {
            candidate
        }
    }
}

const fn bits(len: u8) -> u32 {
    (len as u32).saturating_mul(8)
}

const fn mask(len: u8) -> u64 {
    (1_u64 << bits(len)).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9000 A.2.
    #[test]
    fn length_vectors() {
        assert_eq!(encoded_len(0xac_5c02, Some(0xab_e8b3)), 2);
        assert_eq!(encoded_len(0xac_e8fe, Some(0xab_e8b3)), 3);
        assert_eq!([encoded_len(0, None), encoded_len(126, None), encoded_len(127, None)], [1, 1, 2]);
        assert_eq!(encoded_len(MAX_PACKET_NUMBER, None), 4);
    }

    /// RFC 9000 A.3.
    #[test]
    fn expansion_vector() {
        assert_eq!(Truncated::new(0x9b32, 2).expand(0xa82f_30eb), 0xa82f_9b32);
        assert_eq!(Truncated::read([0x9b, 0x32, 0xff, 0xff], 2), Truncated::new(0xa82f_9b32, 2));
    }

    #[test]
    fn what_is_sent_is_understood_wherever_the_receiver_stands() {
        for largest_acked in [0, 1, 0xff, 0xffff, 0xff_ffff, 0xabcd_ef01, MAX_PACKET_NUMBER >> 1] {
            for unacked in [1, 2, 0x7f, 0x80, 0x81, 0x7fff, 0x8000, 0x7f_ffff, 0x80_0000, 0x7fff_ffff] {
                let pn = largest_acked + unacked;
                let sent = Truncated::new(pn, encoded_len(pn, Some(largest_acked)));
                // The receiver has all that was acknowledged, and at most all that overtook this packet.
                for expected in [largest_acked + 1, pn, pn + 1, pn + unacked] {
                    assert_eq!(sent.expand(expected), pn, "{pn} after {largest_acked}, expecting {expected}");
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_number_line_hold() {
        assert_eq!(Truncated::new(0xff, 1).expand(0), 0xff);
        assert_eq!(Truncated::new(0, 1).expand(MAX_PACKET_NUMBER), MAX_PACKET_NUMBER - 0xff);
        assert_eq!(Truncated::new(MAX_PACKET_NUMBER, 4).expand(u64::MAX), MAX_PACKET_NUMBER);
        assert_eq!(Truncated::new(0x80, 1).expand(0x100), 0x180);
        assert_eq!(Truncated::new(0x81, 1).expand(0x100), 0x81);
        assert_eq!(Truncated::new(0x00, 1).expand(0x180), 0x200);
    }
}
