//! Packets on a serial line, as SLIP frames them (RFC 1055): each ends with a byte that stands nowhere else, and begins with one too,
//! so that noise on an idle line becomes a packet of its own. What was damaged, the checksums of IP and UDP tell.

/// Between packets.
const END: u8 = 0xc0;
/// The next byte stands for another one.
const ESC: u8 = 0xdb;
/// After `ESC`: `END` and `ESC`.
const ESC_END: u8 = 0xdc;
const ESC_ESC: u8 = 0xdd;

/// The bytes of a packet on the line.
pub fn encode(packet: &[u8]) -> impl Iterator<Item = u8> {
    let bytes = packet.iter().flat_map(|byte| {
        let (first, second) = match *byte {
            END => (ESC, Some(ESC_END)),
            ESC => (ESC, Some(ESC_ESC)),
            byte => (byte, None),
        };
        core::iter::once(first).chain(second)
    });
    core::iter::once(END).chain(bytes).chain(core::iter::once(END))
}

/// Finds packets on a line.
#[derive(Default)]
pub struct Decoder {
    /// Bytes of the packet so far.
    len: usize,
    is_escaped: bool,
    /// It is no packet: too long, or with an escape that there is none of.
    is_bad: bool,
}

impl Decoder {
    /// Takes a byte from the line. Those of a packet gather in `packet`, which is the same each time; returns how many there are when
    /// it is whole.
    pub fn take(&mut self, byte: u8, packet: &mut [u8]) -> Option<usize> {
        let byte = match (core::mem::take(&mut self.is_escaped), byte) {
            (is_escaped, END) => {
                let ended = core::mem::take(self);
                // Nothing stands between the end of a packet and the beginning of the next.
                return (!is_escaped && !ended.is_bad && ended.len > 0).then_some(ended.len);
            }
            (false, ESC) => {
                self.is_escaped = true;
                return None;
            }
            (false, byte) => Some(byte),
            (true, ESC_END) => Some(END),
            (true, ESC_ESC) => Some(ESC),
            (true, _) => None,
        };
        match (packet.get_mut(self.len), byte) {
            (Some(place), Some(byte)) => {
                *place = byte;
                self.len += 1;
            }
            _ => self.is_bad = true,
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The packets of at most 8 bytes in these bytes of a line.
    fn packets(line: &[u8]) -> Vec<Vec<u8>> {
        let (mut decoder, mut packet) = (Decoder::default(), [0; 8]);
        let mut take = |byte: &u8| decoder.take(*byte, &mut packet).map(|len| packet[..len].to_vec());
        line.iter().filter_map(&mut take).collect()
    }

    #[test]
    fn what_is_encoded_is_as_the_rfc_says_and_is_found_again() {
        let packet = [1, 0xc0, 2, 0xdb, 0xdc, 0xdd];
        let line: Vec<u8> = encode(&packet).collect();
        assert_eq!(line, [0xc0, 1, 0xdb, 0xdc, 2, 0xdb, 0xdd, 0xdc, 0xdd, 0xc0]);
        assert_eq!(packets(&line), [packet]);
        assert_eq!(packets(&line.repeat(2)), [packet, packet]);
    }

    #[test]
    fn a_packet_needs_no_end_before_it() {
        assert_eq!(packets(&[1, 2, 0xc0, 3, 0xc0]), [vec![1, 2], vec![3]]);
    }

    #[test]
    fn bad_packets_are_lost_and_the_next_is_found() {
        for bad in [&[1, 0xdb, 2][..], &[1, 0xdb], &[0xdb, 0xdb, 0xdc], &[0; 9]] {
            let line = [bad, &[0xc0, 0xc0, 7, 0xc0]].concat();
            assert_eq!(packets(&line), [[7]], "after {bad:?}");
        }
        assert_eq!(packets(&[[1; 8].as_slice(), &[0xc0]].concat()), [[1; 8]]);
    }
}
