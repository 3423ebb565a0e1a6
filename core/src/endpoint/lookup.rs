//! From a datagram to the slot of its connection: an index of connection IDs and remote addresses.
//!
//! A client chooses the first connection ID that a server looks up, so the hash is keyed with random bytes; all other
//! IDs are our own. Remote addresses are indexed too, for connections whose local CID is empty and for stateless
//! resets, which carry no ID of ours (RFC 9000 10.3.1); how many of one address are looked at is bounded.

use core::net::{IpAddr, SocketAddr};

use crate::table::map::{self, Entry};

/// Connections of one remote address that are asked about a possible stateless reset or an empty connection ID.
pub const SAME_REMOTE: usize = 16;

/// The secret of the hash.
#[derive(Clone, Copy, Debug)]
pub struct HashKey([u64; 2]);

impl HashKey {
    /// A key from random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        let wide = u128::from_ne_bytes(random);
        Self([wide as u64, (wide >> 64) as u64])
    }

    /// The hash of a connection ID.
    pub fn of_cid(self, cid: &[u8]) -> u64 {
        self.of_bytes(cid, cid.len() as u64)
    }

    /// The hash of a remote address.
    pub fn of_remote(self, remote: SocketAddr) -> u64 {
        let port = u64::from(remote.port()) | 1 << 32;
        match remote.ip() {
            IpAddr::V4(ip) => self.of_bytes(&ip.octets(), port),
            IpAddr::V6(ip) => self.of_bytes(&ip.octets(), port),
        }
    }

    fn of_bytes(self, bytes: &[u8], tag: u64) -> u64 {
        let [first, second] = self.0;
        let mut hash = mix(first ^ tag, second);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            hash = mix(hash ^ u64::from_le_bytes(word), second | 1);
        }
        mix(hash, first | 1)
    }
}

/// Folds the product of two numbers: every bit of both reaches every bit of the result.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(u128::from(b));
    product as u64 ^ (product >> 64) as u64
}

/// The index: slots by connection ID and by remote address.
pub struct Index<'a> {
    key: HashKey,
    entries: &'a mut [Entry],
}

impl<'a> Index<'a> {
    /// The index over lent entries.
    pub fn new(key: HashKey, entries: &'a mut [Entry]) -> Self {
        Self { key, entries }
    }

    /// Routes a connection ID to a slot; `false` if the index is full.
    pub fn insert_cid(&mut self, cid: &[u8], slot: u32) -> bool {
        map::insert(self.entries, self.key.of_cid(cid), slot)
    }

    /// Forgets a connection ID of a slot.
    pub fn remove_cid(&mut self, cid: &[u8], slot: u32) -> bool {
        map::remove(self.entries, self.key.of_cid(cid), slot)
    }

    /// Routes a remote address to a slot; `false` if the index is full, or [`SAME_REMOTE`] others have the address. More
    /// would never be looked at, and equal hashes lie in a row that every look-up nearby walks along.
    pub fn insert_remote(&mut self, remote: SocketAddr, slot: u32) -> bool {
        self.by_remote(remote).count() < SAME_REMOTE
            && map::insert(self.entries, self.key.of_remote(remote), slot)
    }

    /// Forgets a remote address of a slot.
    pub fn remove_remote(&mut self, remote: SocketAddr, slot: u32) -> bool {
        map::remove(self.entries, self.key.of_remote(remote), slot)
    }

    /// Slots that may have this connection ID.
    pub fn by_cid(&self, cid: &[u8]) -> impl Iterator<Item = u32> + '_ {
        map::candidates(self.entries, self.key.of_cid(cid))
    }

    /// Slots that may talk to this remote address.
    pub fn by_remote(&self, remote: SocketAddr) -> impl Iterator<Item = u32> + '_ {
        map::candidates(self.entries, self.key.of_remote(remote)).take(SAME_REMOTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_cid_and_by_remote_and_forgets() {
        let mut entries = [Entry::EMPTY; 16];
        let mut index = Index::new(HashKey::new([7; 16]), &mut entries);
        let remote = SocketAddr::from(([10, 0, 0, 1], 4433));
        assert!(index.insert_cid(b"abcdefgh", 3) && index.insert_remote(remote, 3));
        assert!(index.by_cid(b"abcdefgh").eq([3]) && index.by_remote(remote).eq([3]));
        assert!(index.by_cid(b"abcdefg").next().is_none());
        assert!(index.remove_cid(b"abcdefgh", 3) && !index.remove_cid(b"abcdefgh", 3));
        assert!(index.by_cid(b"abcdefgh").next().is_none());
        assert!(index.remove_remote(remote, 3));
    }

    #[test]
    fn another_key_is_another_hash() {
        let (a, b) = (HashKey::new([1; 16]), HashKey::new([2; 16]));
        assert_ne!(a.of_cid(b"12345678"), b.of_cid(b"12345678"));
        assert_ne!(a.of_cid(b""), a.of_cid(b"\0"));
    }

    #[test]
    fn one_address_shared_by_many_takes_a_few_entries_only() {
        let mut entries = [Entry::EMPTY; 256];
        let mut index = Index::new(HashKey::new([9; 16]), &mut entries);
        let remote = SocketAddr::from(([10, 0, 0, 1], 1));
        let inserted = (0..100).filter(|slot| index.insert_remote(remote, *slot)).count();
        assert_eq!((inserted, index.by_remote(remote).count()), (SAME_REMOTE, SAME_REMOTE));
        assert!(!index.remove_remote(remote, 99) && index.remove_remote(remote, 3));
        assert!(index.insert_remote(remote, 99));
        assert_eq!(entries.iter().filter(|entry| **entry != Entry::EMPTY).count(), SAME_REMOTE);
    }
}
