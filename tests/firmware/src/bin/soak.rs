//! An hour of small exchanges through a NAT that forgets its binding every ten seconds, under QEMU, in the firmware's own time:
//! the most of the stack that anything takes, and the rows of tables in use, are the same after the tenth minute and at
//! the end.
#![no_std]
#![no_main]

use core::time::Duration;

use cortex_m_semihosting::hprintln;
use peregrine_core::session::Session;
use peregrine_crypto::provider::HashAlgorithm;
use peregrine_crypto::rustcrypto::LeanRustCrypto;
use peregrine_crypto::tls::{ClientConfig, Psk, PskClientSession, ServerConfig, ServerSession};
use peregrine_firmware::SCRATCH;
use peregrine_firmware::board::{self, stack};
use peregrine_firmware::pair::{Memory, Pair, Predictable, Usages, pair};
use static_cell::StaticCell;

const MINUTES: u32 = 60;
/// From here on nothing grows.
const SETTLED: u32 = 10;
const REBINDINGS_PER_MINUTE: u32 = 6;
const EXCHANGES_PER_REBINDING: u32 = 20;
const BETWEEN_EXCHANGES: Duration = Duration::from_millis(500);

/// What a minute took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Minute {
    /// The most of the stack, client, server and test together.
    stack: usize,
    usages: Usages,
}

fn minute<C: Session, V: Session>(pair: &mut Pair<'_, C, V>) -> Minute {
    let (stack, ()) = stack::of(|| {
        for _ in 0..REBINDINGS_PER_MINUTE {
            pair.rebind();
            for _ in 0..EXCHANGES_PER_REBINDING {
                let next = pair.now.after(BETWEEN_EXCHANGES);
                pair.exchange();
                pair.wait_until(next);
            }
        }
    });
    Minute { stack, usages: pair.usages() }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static MEMORY: StaticCell<[Memory; 2]> = StaticCell::new();
    let memory = MEMORY.init_with(|| [const { Memory::new() }; 2]);
    let psks = [Psk { identity: b"sensor 7", key: &[7; 32], hash: HashAlgorithm::Sha256 }];
    let client = ClientConfig { psks: &psks, alpn: &[b"sensor"], ..Default::default() };
    let server = ServerConfig { psks: Some(&psks), alpn: &[b"sensor"], ..Default::default() };
    let (mut ours, mut theirs) = ([0; SCRATCH], [0; 2048]);
    let provider = |seed| LeanRustCrypto::new(Predictable(seed));
    let client = PskClientSession::new(&client, provider(1), &mut ours[..], None);
    let server = ServerSession::new(&server, provider(2), &mut theirs[..], None);
    let mut pair = pair(memory, None, client, server);
    let begin = pair.now;
    pair.shake_hands();
    let (mut settled, mut most) = (Minute::default(), 0);
    for number in 1..=MINUTES {
        let minute = minute(&mut pair);
        most = most.max(minute.stack);
        if number == SETTLED {
            settled = Minute { stack: most, ..minute };
        }
        if number >= SETTLED {
            assert_eq!(Minute { stack: most, ..minute }, settled, "minute {number}");
        }
    }
    let seconds = pair.now.since(begin).as_millis() / 1_000;
    assert!(seconds >= u64::from(MINUTES) * 60, "an hour");
    assert_eq!(pair.moves(), MINUTES * REBINDINGS_PER_MINUTE, "each rebinding was followed");
    hprintln!(
        "soak: {} s, {} rebindings followed, stack at most {} B, in use {:?}",
        seconds,
        pair.moves(),
        most,
        settled.usages
    );
    board::exit()
}
