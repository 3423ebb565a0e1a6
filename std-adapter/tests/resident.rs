//! What a connection's memory takes of the machine's. One test alone in its process: others would be counted with it.
#![cfg(target_os = "linux")]

use peregrine_std::Sizes;
use peregrine_std::storage::HeapStorage;

#[test]
fn buffers_cost_nothing_until_they_are_used() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = resident();
    let storage: Vec<_> = (0..20).map(|_| HeapStorage::new(&Sizes::default())).collect();
    let each = resident().saturating_sub(before) / storage.len();
    // The rows alone; streams have 256 MiB of buffers.
    assert!(each < 256 << 10, "{each}");
}
