//! What the tests of both directions need: numbered IDs, packets of frames, dice.

use std::vec::Vec;

use crate::session::Level;
use crate::wire::frame::{Frame, Frames};
use crate::wire::{Cid, PacketWriter};

pub(super) fn cid(number: u64) -> Cid {
    Cid::new(&number.to_be_bytes()).unwrap()
}

pub(super) fn token(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

/// The payload that `write` makes in a packet of `room` bytes.
pub(super) fn packet(room: usize, write: impl FnOnce(&mut PacketWriter<'_>)) -> Vec<u8> {
    let mut buffer = [0; 512];
    let mut out = PacketWriter::new(&mut buffer[..room]);
    write(&mut out);
    let len = out.len();
    buffer[..len].to_vec()
}

/// The frames of a payload that may be empty, though no packet's is.
pub(super) fn frames(payload: &[u8]) -> Vec<Frame<'_>> {
    if payload.is_empty() {
        return Vec::new();
    }
    Frames::new(Level::OneRtt, payload).map(Result::unwrap).collect()
}

/// A linear congruential generator: the same dice for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}
