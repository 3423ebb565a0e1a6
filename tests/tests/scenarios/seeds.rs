//! A thousand bad networks, and the promise that a run is a function of its seed.

use std::thread;
use std::time::Duration;

use peregrine_tests::pair::Pair;
use peregrine_tests::quic::App;
use peregrine_tests::sim::Link;

const SEEDS: u64 = 1_000;

fn bad_link() -> Link {
    Link::mbit(20)
        .delay_ms(10)
        .loss(0.1)
        .reorder(0.05, Duration::from_millis(8))
        .duplicate(0.02)
        .corrupt(0.02)
}

/// Downloads 256 KiB over a bad network; how long that took in its time, and the hash of its trace.
fn run(seed: u64) -> (Duration, u64) {
    let mut pair = Pair::seeded(seed, [bad_link(), bad_link()], |client, server| {
        (client.app, server.app) = (App::Files, App::Files);
        server.session.flights.server_flight = 1_100 + (seed % 5) as usize * 1_000;
    });
    pair.download(256 << 10, 1 + (seed % 3) as usize);
    pair.until(&format!("seed {seed} finishes"), |pair| pair.client_node().is_done());
    (pair.world.now().since(peregrine_core::time::Instant::ZERO).into(), pair.world.trace().hash())
}

#[test]
fn a_thousand_seeds_finish() {
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let slowest = thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    (worker..SEEDS).step_by(workers as usize).map(|seed| (run(seed).0, seed)).max()
                })
            })
            .collect();
        handles.into_iter().filter_map(|handle| handle.join().expect("every seed finishes")).max()
    });
    let (duration, seed) = slowest.expect("a seed");
    println!("slowest of {SEEDS}: seed {seed} with {duration:?} of simulated time");
    assert!(duration < Duration::from_secs(60), "seed {seed}: {duration:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let first = run(seed);
        assert_eq!(first, run(seed), "seed {seed}");
        hashes.insert(first.1);
    }
    assert_eq!(hashes.len(), 20, "other seeds are other runs");
}
