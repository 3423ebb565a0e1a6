//! Cryptography that refers to a peripheral of the chip, on both sides.

use std::cell::Cell;
use std::task::Poll;

use peregrine_crypto::provider::{Group, HashAlgorithm, Provider, Suite};
use peregrine_embassy::entropy::Drbg;
use peregrine_embassy::tls::{self, Algorithms as _, Compact, NewAlgorithms};

use crate::world::{
    PSKS, WIFI, World, client_config, config, handshakes, psk_server, server_address, server_config,
};

/// The peripheral counts what it does.
#[derive(Clone, Copy)]
struct Unit(&'static Cell<u32>);

/// Hashes are begun by the peripheral, all else is software.
struct Chip {
    unit: Unit,
    software: Compact,
}

impl NewAlgorithms<Chip> for Unit {
    fn algorithms(&self, random: Drbg) -> Chip {
        Chip { unit: *self, software: Compact::with_random(random) }
    }
}

impl Provider for Chip {
    type Aead = <Compact as Provider>::Aead;
    type Header = <Compact as Provider>::Header;
    type Hash = <Compact as Provider>::Hash;
    type KeyShare = <Compact as Provider>::KeyShare;

    fn suites(&self) -> &[Suite] {
        self.software.suites()
    }

    fn groups(&self) -> &[Group] {
        self.software.groups()
    }

    fn aead(&self, suite: Suite, key: &[u8]) -> Option<Self::Aead> {
        self.software.aead(suite, key)
    }

    fn header(&self, suite: Suite, key: &[u8]) -> Option<Self::Header> {
        self.software.header(suite, key)
    }

    fn hash(&self, algorithm: HashAlgorithm) -> Self::Hash {
        self.unit.0.update(|hashes| hashes + 1);
        self.software.hash(algorithm)
    }

    fn key_share(&mut self, group: Group) -> Poll<Option<Self::KeyShare>> {
        self.software.key_share(group)
    }

    fn fill_random(&mut self, out: &mut [u8]) {
        self.software.fill_random(out);
    }
}

#[test]
fn sessions_share_a_peripheral_and_a_client_with_a_key_needs_no_more() {
    let mut world = World::new();
    let units = [(); 3].map(|()| Unit(Box::leak(Box::new(Cell::new(0)))));
    let [ours, theirs, keys] = units;
    // Nothing but a reference to it is needed for a listener that lies in a static.
    let listener: tls::Listener<Unit> =
        tls::Listener::with(theirs, server_config(psk_server()), handshakes(), &mut world.entropy()).unwrap();
    let (stack, _) = world.stack(crate::world::SERVER, true);
    let server = world.server_of::<tls::Server<Chip>>(stack, config(), listener);
    world.spawn(async move {
        server.accept().await.closed().await;
    });
    let (stack, _) = world.stack(WIFI, true);
    let (client, _) = world.resting_client::<tls::PskClient<Chip>>(&[stack], config());
    world.spawn(async move { client.run().await });
    let session =
        tls::psk_client_with(&ours, client_config(&PSKS), handshakes(), &mut world.entropy()).unwrap();
    world.run(5, async {
        client.wait_up(None).await;
        client.connect(None, server_address(), session).unwrap().wait_confirmed().await.unwrap();
    });
    tls::keys_with(&move |random| keys.algorithms(random), &mut world.entropy()).unwrap();
    assert!(units.iter().all(|unit| unit.0.get() > 0));
    let session = tls::psk_client::<Compact>(client_config(&PSKS), handshakes(), &mut world.entropy());
    assert!(session.is_ok());
}
