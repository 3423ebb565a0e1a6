//! Packet protection that protects nothing: a checksum for a tag, a keystream anyone can compute, and honest books.

use std::collections::BTreeMap;

use peregrine_core::ids::{PathId, Side};
use peregrine_core::limits::{SAMPLE_LEN, TAG_LEN};
use peregrine_core::session::{Key, KeyError, Level};

use crate::digest::Digest;
use crate::rng::Rng;

/// How often the keys of a session were used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets sealed, by level in the order of [`Level::ALL`].
    pub sealed: [u64; 4],
    /// Packets sealed that have no frame but PADDING.
    pub hollow: u64,
    /// Packets opened, by level.
    pub opened: [u64; 4],
    /// Packets that did not open though there was a key.
    pub forged: u64,
    /// Calls of seal and open for which there was no key.
    pub missing: u64,
    /// Key updates.
    pub updates: u32,
}

/// The key of one direction with one name.
pub(super) struct PacketKey(u64);

impl PacketKey {
    pub(super) fn new(secret: u64, key: Key, sender: Side) -> Self {
        Self(digest(&[secret, key.level as u64, u64::from(key.generation), sender as u64]))
    }

    pub(super) fn seal(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) {
        let (text, tag) = payload.split_last_chunk_mut::<TAG_LEN>().expect("room for the tag");
        self.scramble(path, pn, text);
        *tag = self.tag(path, pn, header, text);
    }

    /// Returns the length of the text, or `None` and leaves `payload` as it was.
    pub(super) fn open(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) -> Option<usize> {
        let (text, tag) = payload.split_last_chunk_mut::<TAG_LEN>()?;
        if self.tag(path, pn, header, text) != *tag {
            return None;
        }
        self.scramble(path, pn, text);
        Some(text.len())
    }

    fn tag(&self, path: PathId, pn: u64, header: &[u8], text: &[u8]) -> [u8; TAG_LEN] {
        let mut digest = Digest::new();
        for number in [self.0, u64::from(path.0), pn] {
            digest.number(number);
        }
        digest.bytes(header);
        digest.bytes(text);
        digest.finish_tag()
    }

    fn scramble(&self, path: PathId, pn: u64, text: &mut [u8]) {
        let mut keystream = Rng::new(digest(&[self.0, u64::from(path.0), pn]));
        for chunk in text.chunks_mut(8) {
            for (byte, key) in chunk.iter_mut().zip(keystream.next_u64().to_le_bytes()) {
                *byte ^= key;
            }
        }
    }
}

/// The header protection key of one direction of a level; key updates leave it alone (RFC 9001 6).
pub(super) struct HeaderKey(u64);

impl HeaderKey {
    pub(super) fn new(secret: u64, level: Level, sender: Side) -> Self {
        Self(digest(&[!secret, level as u64, sender as u64]))
    }

    pub(super) fn protect(&self, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        assert_eq!(pn.len(), pn_len(*first), "the first byte tells another packet number length");
        let mask = self.mask(sample);
        *first ^= mask[0] & protected_bits(*first);
        mask_pn(&mask, pn);
    }

    pub(super) fn unprotect(&self, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8; 4]) {
        let mask = self.mask(sample);
        *first ^= mask[0] & protected_bits(*first);
        mask_pn(&mask, &mut pn[..pn_len(*first)]);
    }

    fn mask(&self, sample: &[u8; SAMPLE_LEN]) -> [u8; TAG_LEN] {
        let mut digest = Digest::new();
        digest.number(self.0);
        digest.bytes(sample);
        digest.finish_tag()
    }
}

/// The packet number length that an unprotected first byte tells (RFC 9000 17.2, 17.3.1).
const fn pn_len(first: u8) -> usize {
    (first & 3) as usize + 1
}

/// The bits of the first byte under header protection: more in short headers, which the highest bit tells apart (RFC 9001
/// 5.4.1).
const fn protected_bits(first: u8) -> u8 {
    if first & 0x80 == 0 { 0x1f } else { 0x0f }
}

fn mask_pn(mask: &[u8; TAG_LEN], pn: &mut [u8]) {
    for (byte, mask) in pn.iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
    }
}

/// All keys of one side, and the books about their use.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    side: Side,
    confidentiality: u64,
    secrets: [Option<u64>; 4],
    /// The current generation of 1-RTT keys.
    generation: u32,
    /// Whether the generation before it still opens.
    has_previous: bool,
    complete: bool,
    /// The last packet number sealed, of each path with each key.
    sealed: BTreeMap<(PathId, Level, u32), u64>,
    /// Packets sealed with the current key of each level.
    uses: [u64; 4],
    counters: Counters,
}

impl Keys {
    pub(super) fn new(side: Side, confidentiality: u64) -> Self {
        Self {
            side,
            confidentiality,
            secrets: [None; 4],
            generation: 0,
            has_previous: false,
            complete: false,
            sealed: BTreeMap::new(),
            uses: [0; 4],
            counters: Counters::default(),
        }
    }

    pub(super) const fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The last number of a 1-RTT packet sealed on a path.
    pub(super) fn last_sealed(&self, path: PathId) -> Option<u64> {
        let of_path = (path, Level::OneRtt, 0)..=(path, Level::OneRtt, u32::MAX);
        self.sealed.range(of_path).map(|(_, pn)| *pn).max()
    }

    /// Gives a level its keys, or others after a Retry. Packet numbers go on all the same (RFC 9000 17.2.5.3), so the
    /// last ones are kept.
    pub(super) const fn install(&mut self, level: Level, secret: u64) {
        self.secrets[level as usize] = Some(secret);
    }

    pub(super) const fn on_complete(&mut self) {
        self.complete = true;
    }

    pub(super) fn seal(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<(), KeyError> {
        let secret = self.secret(key, key.generation == self.current(key.level))?;
        // Whose numbers rise uses none twice.
        let last = self.sealed.insert((path, key.level, key.generation), pn);
        assert!(
            last.is_none_or(|last| last < pn),
            "packet number {pn} of path {} was sealed after {last:?} with {key:?}",
            path.0
        );
        let uses = &mut self.uses[key.level as usize];
        *uses += 1;
        let limited = key.level == Level::OneRtt && *uses > self.confidentiality;
        assert!(!limited, "{key:?} was used beyond its confidentiality limit");
        let text = payload.len().saturating_sub(TAG_LEN);
        self.counters.hollow += u64::from(payload.iter().take(text).all(|byte| *byte == 0));
        PacketKey::new(secret, key, self.side).seal(path, pn, header, payload);
        self.counters.sealed[key.level as usize] += 1;
        Ok(())
    }

    pub(super) fn open(
        &mut self,
        key: Key,
        path: PathId,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<usize, KeyError> {
        let current = self.current(key.level);
        let next = key.level == Level::OneRtt && key.generation == current + 1;
        let previous = self.has_previous && key.level == Level::OneRtt && key.generation + 1 == current;
        let secret = self.secret(key, key.generation == current || next || previous)?;
        assert!(
            self.complete || key.level != Level::OneRtt || self.side.is_client(),
            "a server opened a 1-RTT packet before its handshake was complete (RFC 9001 5.7)"
        );
        match PacketKey::new(secret, key, self.side.peer()).open(path, pn, header, payload) {
            Some(len) => {
                self.counters.opened[key.level as usize] += 1;
                Ok(len)
            }
            None => {
                self.counters.forged += 1;
                Err(KeyError::Forged)
            }
        }
    }

    pub(super) fn protect(&self, level: Level, sample: &[u8; SAMPLE_LEN], first: &mut u8, pn: &mut [u8]) {
        let secret = self.secrets[level as usize].expect("a packet is protected after it was sealed");
        HeaderKey::new(secret, level, self.side).protect(sample, first, pn);
    }

    pub(super) fn unprotect(
        &self,
        level: Level,
        sample: &[u8; SAMPLE_LEN],
        first: &mut u8,
        pn: &mut [u8; 4],
    ) -> bool {
        let Some(secret) = self.secrets[level as usize] else { return false };
        HeaderKey::new(secret, level, self.side.peer()).unprotect(sample, first, pn);
        true
    }

    pub(super) fn update(&mut self) {
        assert!(self.secrets[Level::OneRtt as usize].is_some(), "a key update without 1-RTT keys");
        self.generation += 1;
        self.has_previous = true;
        self.uses[Level::OneRtt as usize] = 0;
        self.counters.updates += 1;
    }

    pub(super) const fn retire(&mut self) {
        self.has_previous = false;
    }

    pub(super) const fn discard(&mut self, level: Level) {
        self.secrets[level as usize] = None;
    }

    const fn current(&self, level: Level) -> u32 {
        match level {
            Level::OneRtt => self.generation,
            Level::Initial | Level::ZeroRtt | Level::Handshake => 0,
        }
    }

    fn secret(&mut self, key: Key, has_generation: bool) -> Result<u64, KeyError> {
        let secret = self.secrets[key.level as usize].filter(|_| has_generation);
        if secret.is_none() {
            self.counters.missing += 1;
        }
        secret.ok_or(KeyError::Missing)
    }
}

/// The secret behind Initial keys, which anyone on the path knows.
pub(super) fn initial_secret(version: u32, dcid: &[u8]) -> u64 {
    let mut digest = Digest::new();
    digest.number(u64::from(version));
    digest.bytes(dcid);
    digest.finish()
}

/// The tag of a Retry packet.
pub(super) fn retry_tag(version: u32, original_dcid: &[u8], retry: &[u8]) -> [u8; TAG_LEN] {
    let mut digest = Digest::new();
    digest.number(u64::from(version));
    digest.bytes(original_dcid);
    digest.bytes(retry);
    digest.finish_tag()
}

fn digest(numbers: &[u64]) -> u64 {
    let mut digest = Digest::new();
    for number in numbers {
        digest.number(*number);
    }
    digest.finish()
}
