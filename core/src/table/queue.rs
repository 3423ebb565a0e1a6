//! A first-in, first-out queue of byte strings over lent memory.

/// The fixed part of a queue; its bytes are lent with each call and hold each string behind a two-byte length.
///
/// A string that does not fit is refused; nothing is ever overwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    head: u32,
    used: u32,
}

const LEN_FIELD: usize = 2;

impl Queue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { head: 0, used: 0 }
    }

    /// Whether nothing is queued.
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The longest string that ever fits `memory`.
    pub const fn longest(memory: &[u8]) -> usize {
        let room = memory.len().saturating_sub(LEN_FIELD);
        if room < u16::MAX as usize { room } else { u16::MAX as usize }
    }

    /// Appends `bytes`; `false` if there is no room for them now.
    pub fn push(&mut self, memory: &mut [u8], bytes: &[u8]) -> bool {
        let Ok(len) = u16::try_from(bytes.len()) else { return false };
        let needed = bytes.len().saturating_add(LEN_FIELD);
        let used = self.used as usize;
        if needed > memory.len().saturating_sub(used) {
            return false;
        }
        let start = (self.head as usize).wrapping_add(used);
        copy_in(memory, start, &len.to_be_bytes());
        copy_in(memory, start.wrapping_add(LEN_FIELD), bytes);
        self.used = self.used.saturating_add(needed as u32);
        true
    }

    /// The length of the oldest string.
    pub fn front_len(&self, memory: &[u8]) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let mut len = [0; LEN_FIELD];
        copy_out(memory, self.head as usize, &mut len);
        Some(usize::from(u16::from_be_bytes(len)))
    }

    /// Takes the oldest string into `out`; returns its length, which is larger than `out` if it was cut off.
    pub fn pop(&mut self, memory: &[u8], out: &mut [u8]) -> Option<usize> {
        let len = self.front_len(memory)?;
        let copied = len.min(out.len());
        if let Some(out) = out.get_mut(..copied) {
            copy_out(memory, (self.head as usize).wrapping_add(LEN_FIELD), out);
        }
        let taken = len.saturating_add(LEN_FIELD) as u32;
        self.used = self.used.saturating_sub(taken);
        let size = memory.len().max(1) as u32;
        self.head = self.head.wrapping_add(taken).checked_rem(size).unwrap_or(0);
        Some(len)
    }
}

/// Copies into a ring of which `start` may lie one turn ahead.
fn copy_in(ring: &mut [u8], start: usize, bytes: &[u8]) {
    let start = if start >= ring.len() { start.wrapping_sub(ring.len()) } else { start };
    let first = bytes.len().min(ring.len().saturating_sub(start));
    let (head, tail) = bytes.split_at_checked(first).unwrap_or((bytes, &[]));
    if let Some(slot) = ring.get_mut(start..).and_then(|ring| ring.get_mut(..head.len())) {
        slot.copy_from_slice(head);
    }
    if let Some(slot) = ring.get_mut(..tail.len()) {
        slot.copy_from_slice(tail);
    }
}

fn copy_out(ring: &[u8], start: usize, out: &mut [u8]) {
    let start = if start >= ring.len() { start.wrapping_sub(ring.len()) } else { start };
    let first = out.len().min(ring.len().saturating_sub(start));
    let Some((head, tail)) = out.split_at_mut_checked(first) else { return };
    if let Some(bytes) = ring.get(start..).and_then(|ring| ring.get(..head.len())) {
        head.copy_from_slice(bytes);
    }
    if let Some(bytes) = ring.get(..tail.len()) {
        tail.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    #[test]
    fn behaves_like_a_deque_of_byte_strings() {
        for size in [0, 1, 2, 3, 7, 64, 300] {
            let mut memory = std::vec![0; size];
            let mut queue = Queue::new();
            let mut model: VecDeque<Vec<u8>> = VecDeque::new();
            let mut seed = size as u32;
            for step in 0..2_000_u32 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if seed >> 31 == 0 {
                    let bytes = std::vec![step as u8; (seed >> 8) as usize % 40];
                    let used: usize = model.iter().map(|m| m.len() + 2).sum();
                    let fits = used + bytes.len() + 2 <= size;
                    assert_eq!(queue.push(&mut memory, &bytes), fits);
                    if fits {
                        model.push_back(bytes);
                    }
                } else {
                    let mut out = [0; 40];
                    assert_eq!(queue.front_len(&memory), model.front().map(Vec::len));
                    let expected = model.pop_front();
                    assert_eq!(queue.pop(&memory, &mut out), expected.as_ref().map(Vec::len));
                    if let Some(expected) = expected {
                        assert_eq!(out[..expected.len()], expected);
                    }
                }
                assert_eq!(queue.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn a_short_buffer_cuts_the_string_and_says_so() {
        let mut memory = [0; 16];
        let mut queue = Queue::new();
        assert!(queue.push(&mut memory, b"datagram"));
        let mut out = [0; 4];
        assert_eq!(queue.pop(&memory, &mut out), Some(8));
        assert_eq!(&out, b"data");
        assert!(queue.is_empty());
    }
}
