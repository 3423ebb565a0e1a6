//! A provider whose AES-GCM and SHA-256 are done by a peripheral: one, shared by all keys and hashes of all connections, which
//! keeps keys in slots of its own. Nothing else of either algorithm is there.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::task::Poll;

use peregrine_core::error::TransportError;
use peregrine_core::ids::PathId;
use peregrine_core::limits::SAMPLE_LEN;
use peregrine_core::session::{Key, KeyError, Level, Session};
use peregrine_crypto::provider::{
    AeadError, AeadKey, Digest, Group, Hash, HashAlgorithm, HeaderKey, NONCE_LEN, Provider, Suite,
};
use peregrine_crypto::rustcrypto::{KeyShare, RustCrypto};
use peregrine_crypto::tls::{ClientConfig, ClientSession, Psk, ServerConfig, ServerSession};
use rand_core::{TryCryptoRng, TryRng};

/// Keys that two connections have at once, at most: both directions of Initial, Handshake and 1-RTT for packets and for headers,
/// and two more of 1-RTT for generations before and after.
const SLOTS: usize = 2 * (3 * 4 + 2);

/// The peripheral. What it does inside is done in software here.
#[derive(Default)]
struct Peripheral {
    slots: [Option<[u8; 16]>; SLOTS],
    sealed: u32,
    opened: u32,
    masked: u32,
    hashed: u32,
}

impl Peripheral {
    fn load(&mut self, key: &[u8]) -> Option<usize> {
        let slot = self.slots.iter().position(Option::is_none)?;
        self.slots[slot] = Some(key.try_into().ok()?);
        Some(slot)
    }

    fn key(&self, slot: usize) -> [u8; 16] {
        self.slots[slot].unwrap()
    }
}

type Shared = RefCell<Peripheral>;

/// A key: the number of a slot. There is no other copy of it.
struct SlotKey<'p> {
    peripheral: &'p Shared,
    slot: usize,
}

impl Drop for SlotKey<'_> {
    fn drop(&mut self) {
        self.peripheral.borrow_mut().slots[self.slot] = None;
    }
}

/// Software that plays the part of the silicon.
fn silicon() -> RustCrypto<TestRng> {
    RustCrypto::new(TestRng(0))
}

impl AeadKey for SlotKey<'_> {
    fn seal(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let mut peripheral = self.peripheral.borrow_mut();
        peripheral.sealed += 1;
        let mut aes = silicon().aead(Suite::Aes128GcmSha256, &peripheral.key(self.slot)).ok_or(AeadError)?;
        aes.seal(nonce, aad, data)
    }

    fn open(&mut self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8]) -> Result<usize, AeadError> {
        let mut peripheral = self.peripheral.borrow_mut();
        peripheral.opened += 1;
        let mut aes = silicon().aead(Suite::Aes128GcmSha256, &peripheral.key(self.slot)).ok_or(AeadError)?;
        aes.open(nonce, aad, data)
    }
}

impl HeaderKey for SlotKey<'_> {
    fn mask(&mut self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
        let mut peripheral = self.peripheral.borrow_mut();
        peripheral.masked += 1;
        silicon().header(Suite::Aes128GcmSha256, &peripheral.key(self.slot)).unwrap().mask(sample)
    }
}

/// A hash: its context is in the peripheral while it takes bytes, and outside in between.
#[derive(Clone)]
struct SwappedHash<'p> {
    peripheral: &'p Shared,
    context: peregrine_crypto::rustcrypto::RunningHash,
}

impl Hash for SwappedHash<'_> {
    fn update(&mut self, bytes: &[u8]) {
        self.peripheral.borrow_mut().hashed += 1;
        self.context.update(bytes);
    }

    fn finish(self) -> Digest {
        self.context.finish()
    }
}

struct Chip<'p> {
    peripheral: &'p Shared,
    random: RustCrypto<TestRng>,
}

impl<'p> Chip<'p> {
    fn slot(&self, suite: Suite, key: &[u8]) -> Option<SlotKey<'p>> {
        if suite != Suite::Aes128GcmSha256 {
            return None;
        }
        let slot = self.peripheral.borrow_mut().load(key)?;
        Some(SlotKey { peripheral: self.peripheral, slot })
    }
}

impl<'p> Provider for Chip<'p> {
    type Aead = SlotKey<'p>;
    type Header = SlotKey<'p>;
    type Hash = SwappedHash<'p>;
    type KeyShare = KeyShare;

    fn suites(&self) -> &[Suite] {
        &[Suite::Aes128GcmSha256]
    }

    fn groups(&self) -> &[Group] {
        self.random.groups()
    }

    fn aead(&self, suite: Suite, key: &[u8]) -> Option<SlotKey<'p>> {
        self.slot(suite, key)
    }

    fn header(&self, suite: Suite, key: &[u8]) -> Option<SlotKey<'p>> {
        self.slot(suite, key)
    }

    fn hash(&self, algorithm: HashAlgorithm) -> SwappedHash<'p> {
        assert_eq!(algorithm, HashAlgorithm::Sha256);
        SwappedHash { peripheral: self.peripheral, context: silicon().hash(algorithm) }
    }

    fn key_share(&mut self, group: Group) -> Poll<Option<KeyShare>> {
        self.random.key_share(group)
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.random.fill_random(out);
    }
}

struct TestRng(u64);

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Ok((self.0 >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.try_next_u32()?) << 32 | u64::from(self.try_next_u32()?))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = self.try_next_u32()? as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

const PSKS: [Psk<'_>; 1] = [Psk { identity: b"sensor", key: &[7; 32], hash: HashAlgorithm::Sha256 }];

fn in_use(peripheral: &Shared) -> usize {
    peripheral.borrow().slots.iter().flatten().count()
}

fn carry(
    from: &dyn Session,
    to: &mut dyn Session,
    level: Level,
    sent: &Cell<u64>,
) -> Result<(), TransportError> {
    let mut bytes = vec![0; (from.crypto_len(level) - sent.get()) as usize];
    from.copy_crypto(level, sent.get(), &mut bytes);
    sent.set(from.crypto_len(level));
    to.read_crypto(level, &bytes)
}

fn packet(from: &mut dyn Session, to: &mut dyn Session, key: Key) -> Result<usize, KeyError> {
    let mut payload = [9; 100];
    from.seal(key, PathId::ZERO, 1, b"header", &mut payload)?;
    let (mut first, mut pn) = (0x43, [1, 2, 3, 4]);
    from.protect(key.level, &[5; SAMPLE_LEN], &mut first, &mut pn);
    assert!(to.unprotect(key.level, &[5; SAMPLE_LEN], &mut first, &mut pn));
    assert_eq!((first, pn), (0x43, [1, 2, 3, 4]));
    to.open(key, PathId::ZERO, 1, b"header", &mut payload)
}

#[test]
fn two_connections_share_a_peripheral() {
    let peripheral = Shared::default();
    let chip = |seed| Chip { peripheral: &peripheral, random: RustCrypto::new(TestRng(seed)) };
    let client_config = ClientConfig { psks: &PSKS, ..ClientConfig::default() };
    let server_config = ServerConfig { psks: Some(&PSKS), ..ServerConfig::default() };
    let mut client = ClientSession::new(&client_config, chip(1), vec![0; 1024], None);
    let mut server = ServerSession::new(&server_config, chip(2), vec![0; 1024], None);
    client.set_initial_keys(1, b"original");
    server.set_initial_keys(1, b"original");
    client.start(b"params").unwrap();
    server.start(b"params").unwrap();
    assert_eq!(packet(&mut client, &mut server, Key::first(Level::Initial)), Ok(84));
    let none = Cell::default;
    carry(&client, &mut server, Level::Initial, &none()).unwrap();
    carry(&server, &mut client, Level::Initial, &none()).unwrap();
    carry(&server, &mut client, Level::Handshake, &none()).unwrap();
    carry(&client, &mut server, Level::Handshake, &none()).unwrap();
    assert!(client.is_complete() && server.is_complete());
    for level in [Level::Handshake, Level::OneRtt] {
        assert_eq!(packet(&mut client, &mut server, Key::first(level)), Ok(84));
        assert_eq!(packet(&mut server, &mut client, Key::first(level)), Ok(84));
    }
    // Initial and Handshake: four each; 1-RTT has one more for the generation to come.
    assert_eq!(in_use(&peripheral), 2 * (4 + 4 + 5));

    for session in [&mut client as &mut dyn Session, &mut server] {
        session.discard(Level::Initial);
        session.discard(Level::Handshake);
    }
    assert_eq!(in_use(&peripheral), 2 * 5, "discarded keys are out of the peripheral");
    client.update_keys();
    assert_eq!(in_use(&peripheral), 2 * 5 + 1);
    client.retire_keys();
    assert_eq!(in_use(&peripheral), 2 * 5);
    assert_eq!(packet(&mut client, &mut server, Key { level: Level::OneRtt, generation: 1 }), Ok(84));

    drop((client, server));
    let peripheral = peripheral.into_inner();
    assert_eq!(peripheral.slots, [None; SLOTS], "no key is left behind");
    assert_eq!((peripheral.sealed, peripheral.opened, peripheral.masked), (6, 6, 12));
    assert!(peripheral.hashed > 100);
}

/// What stays in the memory of a connection is a handle.
#[test]
fn keys_in_slots_are_small() {
    let keys = size_of::<peregrine_crypto::session_keys::PacketKeys<Chip<'_>>>();
    assert!(keys < 700, "{keys}");
}
