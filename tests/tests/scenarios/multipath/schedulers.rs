//! Which path carries what (draft-21 5.4 to 5.6, 5.8): policies, acknowledgments, sizes of datagrams.

use std::num::NonZeroU8;

use peregrine_core::connection::{AckReturn, Event};
use peregrine_core::path::schedule::{Choice, Facts, Scheduler};

use peregrine_tests::sim::Fate;

use super::*;

fn with_scheduler(scheduler: Scheduler) -> Pair {
    bonded(|client, server| (chosen(client).scheduler, chosen(server).scheduler) = (scheduler, scheduler))
}

/// What share of a transfer each path carried, in percent.
fn shares(pair: &mut Pair, up: bool, bytes: u64) -> [u64; 2] {
    let of = |pair: &mut Pair| {
        let sent = sent_by(pair, up);
        [FIRST, SECOND].map(|path| sent.iter().find(|(id, _)| *id == path).map_or(0, |(_, bytes)| *bytes))
    };
    let before = of(pair);
    carry(pair, up, bytes);
    let after = of(pair);
    let sent = [after[0] - before[0], after[1] - before[1]];
    sent.map(|bytes| bytes * 100 / (sent[0] + sent[1]))
}

#[test]
fn the_lowest_round_trip_time_is_served_first() {
    for up in [true, false] {
        let mut pair = with_scheduler(Scheduler::LowestRtt);
        // What one window of Wi-Fi holds goes over that alone.
        let [first, _] = shares(&mut pair, up, 10_000);
        assert!(first > 95, "{first} %");
        let [first, second] = shares(&mut pair, up, 4 * MIB);
        assert!(first > second && second > 15, "{first} % {second} %");
        assert_well(&pair);
    }
}

#[test]
fn a_primary_path_carries_all_while_it_works() {
    for up in [true, false] {
        let mut pair = with_scheduler(Scheduler::Primary);
        let [first, _] = shares(&mut pair, up, 2 * MIB);
        assert!(first > 97, "{first} %");
        let interface = pair.world.interface(pair.client, 0);
        interface.set_up(wifi_link().loss(1.0));
        interface.set_down(wifi_link().loss(1.0));
        carry(&mut pair, up, MIB / 4);
        let [_, second] = shares(&mut pair, up, MIB);
        assert!(second > 97, "{second} %");
        assert_well(&pair);
    }
}

/// Of equal weight though one could carry twice as much.
#[test]
fn weights_are_kept() {
    for up in [true, false] {
        let mut pair = with_scheduler(Scheduler::Weighted);
        let [first, second] = shares(&mut pair, up, 4 * MIB);
        assert!(first.abs_diff(second) < 10, "{first} % {second} %");
        assert_well(&pair);
    }
}

/// The application's: all over the path whose ID is largest.
#[test]
fn an_application_may_choose() {
    fn last(facts: &[Facts]) -> Choice {
        let usable = facts.iter().enumerate().filter(|(_, it)| it.usable);
        match usable.max_by_key(|(_, it)| it.path) {
            Some((row, it)) if it.is_ready() => Choice::Path(row),
            Some(_) => Choice::Wait,
            None => Choice::None,
        }
    }
    for up in [true, false] {
        let mut pair = with_scheduler(Scheduler::Custom(last));
        let [_, second] = shares(&mut pair, up, 2 * MIB);
        assert!(second > 97, "{second} %");
        assert_well(&pair);
    }
}

/// Whatever it chooses, data arrives: it is not trusted to choose what can be sent over.
#[test]
fn an_application_that_chooses_nonsense_breaks_nothing() {
    fn nonsense(facts: &[Facts]) -> Choice {
        match facts[0].in_flight % 4 {
            0 => Choice::Path(facts.len() + 7),
            1 => Choice::Path(facts.len() - 1),
            _ => facts.iter().position(Facts::is_ready).map_or(Choice::Wait, Choice::Path),
        }
    }
    let mut pair = with_scheduler(Scheduler::Custom(nonsense));
    let id = stream(&mut pair);
    pair.client(|connection, _| connection.write_stream(id, &[1; 100_000]).unwrap());
    pair.run_ms(5_000);
    assert_well(&pair);
}

/// Wi-Fi of 100 Mbit/s and 10 ms, cellular of 1 Mbit/s and 300 ms.
fn uneven(scheduler: Scheduler, both: bool) -> Pair {
    let wifi = Interface::at(WIFI).link(Link::mbit(100).delay_ms(5).queue(250_000));
    let cellular = Interface::at(CELLULAR).link(Link::mbit(1).delay_ms(150).queue(60_000));
    let mut pair = phone_on(wifi, cellular, |client, server| {
        (chosen(client).scheduler, chosen(server).scheduler) = (scheduler, scheduler);
    });
    if both {
        open_second(&mut pair);
        pair.run_ms(2_000);
    }
    pair
}

#[test]
fn a_slow_path_beside_a_fast_one_makes_nothing_slower() {
    for up in [true, false] {
        for bytes in [100_000, MIB, 8 * MIB] {
            let alone = carry(&mut uneven(Scheduler::default(), false), up, bytes);
            let mut pair = uneven(Scheduler::default(), true);
            let together = carry(&mut pair, up, bytes);
            println!("up {up} {bytes}: {alone} ms alone, {together} ms together");
            // Three hundredths and a millisecond for chance.
            assert!(together <= alone + alone * 3 / 100 + 1, "up {up} {bytes}: {alone} {together}");
            assert_well(&pair);
        }
    }
}

/// Which paths the acknowledgments of a download take: bytes that the client sends over each.
fn acks_by_path(acks: AckReturn) -> (Vec<u64>, Pair) {
    let mut pair = shallow(|client, server| (chosen(client).acks, chosen(server).acks) = (acks, acks));
    pair.run_ms(3_000);
    let before = sent_by(&mut pair, true);
    carry(&mut pair, false, 4 * MIB);
    let after = sent_by(&mut pair, true);
    (after.iter().zip(&before).map(|(after, before)| after.1 - before.1).collect(), pair)
}

#[test]
fn acknowledgments_return_on_the_same_path_or_the_fastest_and_round_trip_times_stay_right() {
    let (sent, mut pair) = acks_by_path(AckReturn::SamePath);
    assert!(sent[1] > 10_000, "{sent:?}");
    let rtts = |pair: &mut Pair| {
        [FIRST, SECOND].map(|path| view(pair, false, path).route.unwrap().min_rtt.as_millis())
    };
    assert!(
        (20..23).contains(&rtts(&mut pair)[0]) && (40..45).contains(&rtts(&mut pair)[1]),
        "{:?}",
        rtts(&mut pair)
    );
    let (sent, mut pair) = acks_by_path(AckReturn::Fastest);
    // Over cellular there and over Wi-Fi back: 30 ms. Only what asks whether the path works goes over it.
    assert!(sent[1] < 5_000, "{sent:?}");
    assert!(
        (20..23).contains(&rtts(&mut pair)[0]) && (30..45).contains(&rtts(&mut pair)[1]),
        "{:?}",
        rtts(&mut pair)
    );
    assert_well(&pair);
}

/// What is lost on a path of 1,452 bytes goes over one of 1,200.
#[test]
fn a_retransmission_fits_a_path_with_smaller_datagrams() {
    for up in [true, false] {
        let wifi = Interface::at(WIFI).link(wifi_link().mtu(1_452));
        let cellular = Interface::at(CELLULAR).link(cellular_link().mtu(1_200));
        let mut pair = phone_on(wifi, cellular, |_, _| {});
        open_second(&mut pair);
        pair.run_ms(3_000);
        let mtus = [FIRST, SECOND].map(|path| view(&mut pair, up, path).route.unwrap().mtu);
        assert_eq!(mtus, [1_452, 1_200]);
        let before = pair.world.trace().count(Fate::TooBig);
        let (client, now) = (pair.client, pair.world.now().as_micros() / 1000);
        pair.world.at_ms(now + 300, move |world| {
            world.interface(client, 0).set_up(wifi_link().loss(1.0));
            world.interface(client, 0).set_down(wifi_link().loss(1.0));
        });
        carry(&mut pair, up, 2 * MIB);
        let after = pair.world.trace().count(Fate::TooBig);
        assert!(after <= before + 3, "all but probes for more fits: {before} {after}");
        assert_well(&pair);
    }
}

#[test]
fn datagrams_go_over_what_works() {
    let mut pair = bonded(|client, server| (client.sizes.datagram, server.sizes.datagram) = (16_384, 16_384));
    let arrived = |pair: &mut Pair| {
        pair.server(|connection, _| std::iter::from_fn(|| connection.recv_datagram(&mut [0; 2048])).count())
    };
    let sends = |pair: &mut Pair, count: usize| {
        for _ in 0..count {
            pair.client(|connection, _| connection.send_datagram(&[7; 1_000]).unwrap());
            pair.run_ms(20);
        }
        pair.run_ms(100);
    };
    sends(&mut pair, 10);
    assert_eq!(arrived(&mut pair), 10);
    let interface = pair.world.interface(pair.client, 0);
    interface.set_up(wifi_link().loss(1.0));
    interface.set_down(wifi_link().loss(1.0));
    sends(&mut pair, 10);
    let after = arrived(&mut pair);
    assert!((3..10).contains(&after), "some were lost, for nobody sends them again: {after}");
    sends(&mut pair, 10);
    assert_eq!(arrived(&mut pair), 10, "but the rest goes over cellular");
    assert!(!pair.told_client(Event::Drained));
    assert_well(&pair);
}

/// Of weights that are not equal, over links that are.
#[test]
fn a_heavier_path_carries_more() {
    let links = [WIFI, CELLULAR].map(|address| Interface::at(address).link(shallow_wifi()));
    let [wifi, cellular] = links;
    let mut pair = phone_on(wifi, cellular, |client, server| {
        (chosen(client).scheduler, chosen(server).scheduler) = (Scheduler::Weighted, Scheduler::Weighted);
    });
    open_second(&mut pair);
    let three = NonZeroU8::new(3).unwrap();
    pair.client(|connection, _| connection.set_path_weight(SECOND, three).unwrap());
    let [first, second] = shares(&mut pair, true, 4 * MIB);
    assert!((20..30).contains(&first) && (70..80).contains(&second), "{first} % {second} %");
    let [first, second] = shares(&mut pair, false, 4 * MIB);
    assert!(first.abs_diff(second) < 10, "the server has weights of its own: {first} % {second} %");
}

/// 10 MiB over 20 and 10 Mbit/s: 2.80 s are the ideal, of which headers make 2.91.
#[test]
fn bandwidths_are_added() {
    for (delays, most) in [([0, 0], 2_970), ([10, 20], 3_100)] {
        for up in [true, false] {
            let [wifi, cellular] =
                [(WIFI, 20, delays[0]), (CELLULAR, 10, delays[1])].map(|(address, mbit, delay)| {
                    Interface::at(address).link(Link::mbit(mbit).delay_ms(delay).queue(100_000))
                });
            let mut pair = phone_on(wifi, cellular, |_, _| {});
            open_second(&mut pair);
            let took = carry(&mut pair, up, 10 * MIB);
            println!("up {up} {delays:?} ms: {took} ms");
            assert!(took <= most, "up {up} {delays:?}: {took} ms");
            assert_well(&pair);
        }
    }
}

#[test]
fn three_paths_are_added() {
    const ETHERNET: &str = "10.0.2.2";
    for up in [true, false] {
        let interfaces =
            [(WIFI, 20, 10), (CELLULAR, 10, 20), (ETHERNET, 30, 5)].map(|(address, mbit, delay)| {
                Interface::at(address).link(Link::mbit(mbit).delay_ms(delay).queue(100_000))
            });
        let mut pair = Pair::roaming(1, interfaces, both).connected();
        pair.run_ms(200);
        open_second(&mut pair);
        let local: SocketAddr = format!("{ETHERNET}:5000").parse().unwrap();
        let on_ethernet = FourTuple { local, remote: server_address(), interface: 3 };
        let third =
            pair.client(|connection, now| connection.open_path(now, on_ethernet, Availability::Available));
        assert_eq!(third, Ok(THIRD));
        until_validated(&mut pair, THIRD);
        let took = carry(&mut pair, up, 20 * MIB);
        println!("up {up}: {took} ms {:?}", sent_by(&mut pair, up));
        // 60 Mbit/s carry it in 2.80 s, 50 in 3.36; and headers.
        assert!(took < 3_360, "up {up}: {took} ms");
        assert!(sent_by(&mut pair, up).iter().all(|(_, bytes)| *bytes > MIB));
        assert_well(&pair);
    }
}
