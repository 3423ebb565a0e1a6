//! What stands in the IP headers of each path: ECN (RFC 9000 13.4) and Differentiated Services codepoints (draft-21 5.2).

use std::collections::BTreeSet;

use peregrine_core::ids::Ecn;
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_tests::sim::EcnFault;

use super::*;

/// How many datagrams a transfer sends over each path, and how many of them are marked.
fn marked(pair: &mut Pair, up: bool) -> [(usize, usize); 2] {
    pair.world.watch();
    let before = pair.world.watched().len();
    carry(pair, up, 2 * MIB);
    let sender = if up { pair.client } else { pair.server };
    let sent = || pair.world.watched()[before..].iter().filter(|seen| seen.sent && seen.host == sender);
    [WIFI, CELLULAR].map(|ip| {
        let of_path = || {
            sent().filter(|seen| {
                let datagram = &seen.datagram;
                let ours = if up { datagram.source } else { datagram.destination };
                ours.ip().to_string() == ip
            })
        };
        (of_path().filter(|seen| seen.datagram.ecn == Ecn::Ect0).count(), of_path().count())
    })
}

#[test]
fn marks_are_given_up_on_the_path_that_mistreats_them_and_on_no_other() {
    for fault in [EcnFault::Bleach, EcnFault::BlackHole] {
        for (path, other) in [(FIRST, SECOND), (SECOND, FIRST)] {
            for up in [true, false] {
                let mut pair = bonded(|_, _| {});
                let bad = if path == FIRST { wifi_link() } else { cellular_link() }.ecn(fault);
                let interface = pair.world.interface(pair.client, path.0 as usize);
                if up {
                    interface.set_up(bad);
                } else {
                    interface.set_down(bad);
                }
                for _ in 0..4 {
                    carry(&mut pair, up, MIB);
                }
                let has_ecn = [path, other].map(|path| view(&mut pair, up, path).route.unwrap().ecn);
                assert_eq!(has_ecn, [false, true], "{fault:?} {path:?} up {up}");
                let sent = marked(&mut pair, up);
                let [(none, some), (well, all)] = [path, other].map(|path| sent[path.0 as usize]);
                assert!(none == 0 && some > 100, "{fault:?} {path:?} up {up}: {sent:?}");
                // Acknowledgments of acknowledgments, and what is sent before it is known that they are carried, go without.
                assert!(all > 100 && well + all / 10 > all, "{fault:?} {path:?} up {up}: {sent:?}");
                assert_well(&pair);
            }
        }
    }
}

#[test]
fn congestion_marks_of_a_path_lower_its_window_only() {
    for marking in [FIRST, SECOND] {
        let mut pair = bonded(|_, _| {});
        let link = if marking == FIRST { wifi_link() } else { cellular_link() };
        pair.world.interface(pair.client, marking.0 as usize).set_up(link.mark_above(20_000));
        let id = stream(&mut pair);
        let windows =
            |pair: &mut Pair| [FIRST, SECOND].map(|path| view(pair, true, path).route.unwrap().window);
        let (mut before, mut fell, mut buffer) = (windows(&mut pair), [false; 2], [0; 65_536]);
        for _ in 0..1_000 {
            pair.client(|connection, _| connection.write_stream(id, &[7; 100_000]).unwrap());
            pair.run_ms(1);
            pair.server(
                |connection, _| while let Ok(Read::Bytes(_)) = connection.read_stream(id, &mut buffer) {},
            );
            let now = windows(&mut pair);
            fell = [fell[0] || now[0] < before[0], fell[1] || now[1] < before[1]];
            before = now;
        }
        let marks =
            [FIRST, SECOND].map(|path| view(&mut pair, true, path).route.unwrap().stats.ce_packets > 0);
        let expected = [marking == FIRST, marking == SECOND];
        assert_eq!((marks, fell), (expected, expected), "{marking:?}");
        assert_well(&pair);
    }
}

fn set_dscp(pair: &mut Pair, client: bool, path: PathId, dscp: u8) {
    on(pair, client, |connection| connection.set_path_dscp(path, dscp).unwrap());
}

/// The codepoints of what a side sends between the server and this address of the client, from when they were [`forgotten`](forget) last.
fn codepoints(pair: &Pair, client: bool, address: SocketAddr) -> Vec<u8> {
    let node = if client { pair.client_node() } else { pair.server_node() };
    let ours = |(local, remote, _): &&(SocketAddr, SocketAddr, u8)| {
        if client { *local == address } else { *remote == address }
    };
    let found: BTreeSet<u8> = node.codepoints.iter().filter(ours).map(|(_, _, dscp)| *dscp).collect();
    found.into_iter().collect()
}

fn forget(pair: &mut Pair) {
    for host in [pair.client, pair.server] {
        pair.world.with(host, |node, _| node.codepoints.clear());
    }
}

fn carry_both_ways(pair: &mut Pair) {
    carry(pair, true, MIB);
    carry(pair, false, MIB);
}

/// Of each side its own; neither another path nor a move changes it. A path that begins has none.
#[test]
fn each_path_bears_its_codepoint_wherever_it_is() {
    let mut pair = bonded(|_, _| {});
    let wifi = view(&mut pair, true, FIRST).route.unwrap().local;
    let [cellular, elsewhere] = [5000, 6000].map(|port| SocketAddr::new(CELLULAR.parse().unwrap(), port));
    pair.run_ms(200);
    forget(&mut pair);
    carry_both_ways(&mut pair);
    for client in [true, false] {
        assert_eq!([wifi, cellular].map(|at| codepoints(&pair, client, at)), [[0], [0]]);
    }
    set_dscp(&mut pair, true, FIRST, 46);
    set_dscp(&mut pair, true, SECOND, 0xc0 | 10);
    set_dscp(&mut pair, false, SECOND, 34);
    forget(&mut pair);
    carry_both_ways(&mut pair);
    assert_eq!([wifi, cellular].map(|at| codepoints(&pair, true, at)), [[46], [10]], "the low six bits");
    assert_eq!([wifi, cellular].map(|at| codepoints(&pair, false, at)), [[0], [34]]);
    let route = pair.client(|connection, now| connection.add_route_to(now, SECOND, elsewhere, 2).unwrap());
    pair.run_ms(200);
    pair.client(|connection, now| connection.switch_route(now, route).unwrap());
    forget(&mut pair);
    carry_both_ways(&mut pair);
    assert_eq!([wifi, elsewhere].map(|at| codepoints(&pair, true, at)), [[46], [10]]);
    assert_eq!([wifi, elsewhere].map(|at| codepoints(&pair, false, at)), [[0], [34]]);
    pair.client(|connection, now| connection.abandon_path(now, SECOND, AbandonCode::Application).unwrap());
    pair.run_ms(2_000);
    forget(&mut pair);
    let next = open_path(&mut pair).unwrap();
    until_validated(&mut pair, next);
    carry_both_ways(&mut pair);
    assert_eq!([wifi, cellular].map(|at| codepoints(&pair, true, at)), [[46], [0]], "another path");
    assert_well(&pair);
}
