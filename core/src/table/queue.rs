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

    /// Appends `label` and `bytes` as one string; `false` if there is no room for them now.
    pub fn push(&mut self, memory: &mut [u8], label: &[u8], bytes: &[u8]) -> bool {
        let len = label.len().saturating_add(bytes.len());
        let needed = len.saturating_add(LEN_FIELD);
        let Ok(len) = u16::try_from(len) else { return false };
        let used = self.used as usize;
        if needed > memory.len().saturating_sub(used) {
            return false;
        }
        let start = (self.head as usize).wrapping_add(used);
        copy_in(memory, start, &len.to_be_bytes());
        let start = start.wrapping_add(LEN_FIELD);
        copy_in(memory, start, label);
        copy_in(memory, start.wrapping_add(label.len()), bytes);
        self.used = self.used.saturating_add(needed as u32);
        true
    }

    /// The length of the oldest string, of which the beginning is copied into `label`.
    pub fn front(&self, memory: &[u8], label: &mut [u8]) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let mut len = [0; LEN_FIELD];
        copy_out(memory, self.head as usize, &mut len);
        let len = usize::from(u16::from_be_bytes(len));
        if let Some(label) = label.get_mut(..len.min(label.len())) {
            copy_out(memory, (self.head as usize).wrapping_add(LEN_FIELD), label);
        }
        Some(len)
    }

    /// Takes the oldest string, and what of it comes after `skipped` bytes into `out`; returns its length, which is larger than what
    /// was skipped and `out` if it was cut off.
    pub fn pop(&mut self, memory: &[u8], skipped: usize, out: &mut [u8]) -> Option<usize> {
        let len = self.front(memory, &mut [])?;
        let copied = len.saturating_sub(skipped).min(out.len());
        if let Some(out) = out.get_mut(..copied) {
            let start = (self.head as usize).wrapping_add(LEN_FIELD).wrapping_add(skipped);
            copy_out(memory, start, out);
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

#[cfg_attr(target_os = "none", inline(never))]
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
                    let (label, rest) = bytes.split_at(bytes.len().min(2));
                    assert_eq!(queue.push(&mut memory, label, rest), fits);
                    if fits {
                        model.push_back(bytes);
                    }
                } else {
                    let mut out = [0; 40];
                    let mut label = [0; 2];
                    assert_eq!(queue.front(&memory, &mut label), model.front().map(Vec::len));
                    if let Some(front) = model.front() {
                        assert!(label.starts_with(&front[..front.len().min(2)]));
                    }
                    let skipped = step as usize % 3;
                    let expected = model.pop_front();
                    assert_eq!(queue.pop(&memory, skipped, &mut out), expected.as_ref().map(Vec::len));
                    if let Some(expected) = expected {
                        let rest = &expected[skipped.min(expected.len())..];
                        assert_eq!(&out[..rest.len()], rest);
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
        assert!(queue.push(&mut memory, b"data", b"gram"));
        let mut out = [0; 4];
        assert_eq!(queue.pop(&memory, 0, &mut out), Some(8));
        assert_eq!(&out, b"data");
        assert!(queue.is_empty());
    }
}
