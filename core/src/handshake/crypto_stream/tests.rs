use super::*;
use crate::ids::PathId;
use crate::limits::{MIN_CRYPTO_BUFFER, SAMPLE_LEN, TAG_LEN};
use crate::session::{AeadLimits, Key, KeyError, SessionEvent};
use crate::table::chunk::Chunk;
use crate::table::random::Random;
use crate::wire::frame::{Crypto, Frame, Frames};
use std::vec::Vec;

fn unasked() -> ! {
    panic!("CRYPTO streams ask a session for its flight only")
}

/// Only the flight of one level; everything else is out of the question here.
#[derive(Default)]
struct Flights {
    handshake: Vec<u8>,
    acked: u64,
}

impl Session for Flights {
    fn crypto_len(&self, level: Level) -> u64 {
        if level == Level::Handshake { self.handshake.len() as u64 } else { 0 }
    }
    fn copy_crypto(&self, _: Level, offset: u64, out: &mut [u8]) -> usize {
        assert!(offset >= self.acked, "asked for what is gone");
        out.copy_from_slice(&self.handshake[offset as usize..][..out.len()]);
        out.len()
    }
    fn crypto_acked(&mut self, level: Level, upto: u64) {
        assert!(level == Level::Handshake && upto >= self.acked);
        self.acked = upto;
    }
    fn start(&mut self, _: &[u8]) -> Result<(), TransportError> {
        unasked()
    }
    fn read_crypto(&mut self, _: Level, _: &[u8]) -> Result<(), TransportError> {
        unasked()
    }
    fn poll_event(&mut self) -> Option<SessionEvent> {
        unasked()
    }
    fn peer_params(&self) -> Option<&[u8]> {
        unasked()
    }
    fn alpn(&self) -> Option<&[u8]> {
        unasked()
    }
    fn export(&self, _: &[u8], _: &[u8], _: &mut [u8]) -> Result<(), KeyError> {
        unasked()
    }
    fn set_initial_keys(&mut self, _: u32, _: &[u8]) {
        unasked()
    }
    fn verify_retry(&self, _: u32, _: &[u8], _: &[u8], _: &[u8; TAG_LEN]) -> bool {
        unasked()
    }
    fn seal(&mut self, _: Key, _: PathId, _: u64, _: &[u8], _: &mut [u8]) -> Result<(), KeyError> {
        unasked()
    }
    fn open(&mut self, _: Key, _: PathId, _: u64, _: &[u8], _: &mut [u8]) -> Result<usize, KeyError> {
        unasked()
    }
    fn protect(&mut self, _: Level, _: &[u8; SAMPLE_LEN], _: &mut u8, _: &mut [u8]) {
        unasked()
    }
    fn unprotect(&mut self, _: Level, _: &[u8; SAMPLE_LEN], _: &mut u8, _: &mut [u8; 4]) -> bool {
        unasked()
    }
    fn limits(&self, _: Level) -> AeadLimits {
        unasked()
    }
    fn update_keys(&mut self) {
        unasked()
    }
    fn retire_keys(&mut self) {
        unasked()
    }
    fn discard(&mut self, _: Level) {
        unasked()
    }
    fn fill_random(&mut self, _: &mut [u8]) {
        unasked()
    }
}

/// What TLS is given of a frame, buffered bytes included.
fn read(
    crypto: &mut CryptoStreams,
    area: &mut [u8],
    level: Level,
    offset: u64,
    data: &[u8],
) -> Result<Vec<u8>, Code> {
    let mut out =
        crypto.on_crypto(area, level, &Crypto { offset, data }).map_err(|error| error.code())?.to_vec();
    loop {
        let more = crypto.buffered(area).to_vec();
        if more.is_empty() {
            return Ok(out);
        }
        crypto.consume(area, more.len());
        out.extend(more);
    }
}

#[test]
fn bytes_come_in_order_and_once_on_each_level() {
    let mut area = [0xcc; 90];
    let mut crypto = CryptoStreams::new();
    assert_eq!(read(&mut crypto, &mut area, Level::Initial, 3, b"lo, w"), Ok(b"".to_vec()));
    assert_eq!(read(&mut crypto, &mut area, Level::Initial, 0, b"hello"), Ok(b"hello, w".to_vec()));
    assert_eq!(read(&mut crypto, &mut area, Level::Initial, 2, b"llo"), Ok(b"".to_vec()));
    crypto.advance(Level::Handshake).unwrap();
    assert_eq!(read(&mut crypto, &mut area, Level::Handshake, 4, b"data"), Ok(b"".to_vec()));
    assert_eq!(read(&mut crypto, &mut area, Level::Handshake, 0, b"more"), Ok(b"moredata".to_vec()));
    // A repeat on a level that was left is harmless, a new byte is not.
    assert_eq!(read(&mut crypto, &mut area, Level::Initial, 0, b"hello, w"), Ok(b"".to_vec()));
    let late = read(&mut crypto, &mut area, Level::Initial, 8, b"!");
    assert_eq!(late, Err(Code::PROTOCOL_VIOLATION));
    crypto.advance(Level::OneRtt).unwrap();
    crypto.advance(Level::Handshake).unwrap();
    assert_eq!(read(&mut crypto, &mut area, Level::OneRtt, 0, b"ticket"), Ok(b"ticket".to_vec()));
    assert_eq!(read(&mut crypto, &mut area, Level::ZeroRtt, 0, b"x"), Err(Code::PROTOCOL_VIOLATION));
}

#[test]
fn bytes_left_over_at_a_change_of_level() {
    let mut area = [0; 90];
    let mut crypto = CryptoStreams::new();
    read(&mut crypto, &mut area, Level::Initial, 1, b"x").unwrap();
    assert_eq!(crypto.advance(Level::Handshake).unwrap_err().code(), Code::PROTOCOL_VIOLATION);
}

#[test]
fn only_what_is_out_of_order_needs_room() {
    // The least area that keeps what RFC 9000 7.5 asks for.
    let mut area = std::vec![0; MIN_CRYPTO_BUFFER * 9 / 8];
    let mut crypto = CryptoStreams::new();
    let long = std::vec![1; 20_000];
    assert_eq!(read(&mut crypto, &mut area, Level::Initial, 0, &long).unwrap().len(), 20_000);
    assert!(read(&mut crypto, &mut area, Level::Initial, 20_001, &long[..MIN_CRYPTO_BUFFER - 1]).is_ok());
    let beyond = read(&mut crypto, &mut area, Level::Initial, 20_001, &long[..MIN_CRYPTO_BUFFER]);
    assert_eq!(beyond, Err(Code::CRYPTO_BUFFER_EXCEEDED));
    assert_eq!(
        read(&mut crypto, &mut area, Level::Initial, 20_000, &long[..1]).unwrap().len(),
        MIN_CRYPTO_BUFFER
    );
}

#[test]
fn with_the_area_gone_bytes_pass_until_one_is_missing() {
    let mut crypto = CryptoStreams::new();
    crypto.advance(Level::OneRtt).unwrap();
    let mut read = |offset, data: &[u8]| read(&mut crypto, &mut [], Level::OneRtt, offset, data).unwrap();
    assert_eq!(read(0, b"one"), b"one");
    assert_eq!(read(1, b"ne"), b"", "again");
    assert_eq!(read(2, b"e two"), b" two");
    assert_eq!(read(9, b"four"), b"", "out of order");
    assert_eq!(read(7, b"3 four"), b"", "TLS must not hear of what lies behind a gap that was acknowledged");
}

#[test]
fn without_an_area_a_handshake_does_not_lose_bytes_in_silence() {
    let mut crypto = CryptoStreams::new();
    assert_eq!(read(&mut crypto, &mut [], Level::Initial, 0, b"hello"), Ok(b"hello".to_vec()));
    assert_eq!(read(&mut crypto, &mut [], Level::Initial, 9, b"x"), Err(Code::CRYPTO_BUFFER_EXCEEDED));
}

#[test]
fn what_waited_in_an_area_that_went_is_missed() {
    let mut area = [0; 90];
    let mut crypto = CryptoStreams::new();
    crypto.advance(Level::OneRtt).unwrap();
    assert_eq!(read(&mut crypto, &mut area, Level::OneRtt, 3, b"second").unwrap(), b"");
    assert_eq!(
        read(&mut crypto, &mut [], Level::OneRtt, 0, b"the").unwrap(),
        b"",
        "and no part of the message behind"
    );
    assert_eq!(read(&mut crypto, &mut [], Level::OneRtt, 0, b"thesecond").unwrap(), b"");
}

#[test]
fn a_flight_survives_loss_and_frees_its_rows() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut session = Flights { handshake: (0..5_000).map(|at| (at / 7) as u8).collect(), acked: 0 };
        let (mut crypto, mut sent) = (CryptoStreams::new(), [Chunk::NOTHING; 6]);
        let mut free: Vec<u16> = (0..6).collect();
        let (mut flying, mut arrived) = (Vec::new(), std::vec![None; 5_000]);
        assert!(!crypto.wants_to_send(Level::Initial, &session));
        while session.acked < 5_000 {
            let mut bytes = std::vec![0; 20 + random.below(300)];
            let mut out = PacketWriter::new(&mut bytes);
            let spare = if random.below(2) == 0 { free.last().copied() } else { None };
            if let Some(row) = crypto.write(Level::Handshake, &session, &mut sent, spare, &mut out) {
                if spare == Some(row) {
                    free.pop();
                }
                let len = out.len();
                bytes.truncate(len);
                flying.push((row, bytes));
            }
            if !flying.is_empty() && random.below(2) == 0 {
                let (row, bytes) = flying.swap_remove(random.below(flying.len()));
                if random.below(3) == 0 {
                    if !crypto.on_lost(&mut sent, row) {
                        free.push(row);
                    }
                    continue;
                }
                let Frame::Crypto(frame) = Frames::new(Level::Handshake, &bytes).next().unwrap().unwrap()
                else {
                    panic!("not a CRYPTO frame")
                };
                for (at, byte) in (frame.offset as usize..).zip(frame.data) {
                    arrived[at] = Some(*byte);
                }
                crypto.on_acked(&mut session, &mut sent, row);
                free.push(row);
            }
        }
        assert!(arrived.iter().zip(&session.handshake).all(|(came, sent)| *came == Some(*sent)));
        assert!(!crypto.wants_to_send(Level::Handshake, &session) && flying.is_empty() && free.len() == 6);
    }
}

#[test]
fn a_discarded_level_gives_its_rows_back() {
    let session = Flights { handshake: std::vec![1; 100], acked: 0 };
    let (mut crypto, mut sent) = (CryptoStreams::new(), [Chunk::NOTHING; 2]);
    for row in 0..2 {
        let mut bytes = [0; 50];
        let mut out = PacketWriter::new(&mut bytes);
        assert_eq!(crypto.write(Level::Handshake, &session, &mut sent, Some(row), &mut out), Some(row));
    }
    assert!(crypto.on_lost(&mut sent, 0));
    let mut rows = crypto.discard(Level::Handshake, &mut sent);
    assert_eq!((rows.pop(&mut sent), rows.pop(&mut sent)), (Some(0), None));
    assert!(!crypto.on_lost(&mut sent, 1), "a packet of a discarded level has nothing to lose");
}
