//! Handshakes over bad links.

use peregrine_tests::pair::Pair;
use peregrine_tests::sim::Link;

#[test]
fn a_pair_shakes_hands() {
    let mut pair = Pair::new(Link::mbit(10).delay_ms(10), |_, _| {}).connected();
    assert!(pair.client(|connection, _| connection.is_established()));
}
