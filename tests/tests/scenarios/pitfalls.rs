//! Mistakes that stacks have made about migration, one test each: a puppet client does what clients seldom do, or a network.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::connection::{Event, MoveCause, NetworkChange, RouteError};
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::lifecycle::Cause;
use peregrine_core::session::Level;
use peregrine_core::wire::Cid;
use peregrine_core::wire::frame::{Frame, NewConnectionId, PathChallenge, PathResponse, Ping, Stream};
use peregrine_tests::pair::{Pair, SERVER, open, write_pattern};
use peregrine_tests::puppet::{Bout, PUPPET, bytes};
use peregrine_tests::quic::Setup;
use peregrine_tests::sim::{EcnFault, Interface, Link, Nat};

const ELSEWHERE: &str = "203.0.113.66:6666";
const WIFI: &str = "10.0.0.2";
const CELLULAR: &str = "10.0.1.2";

fn cid(seq: u64) -> Cid {
    Cid::new(&(seq + 0x1000).to_be_bytes()).unwrap()
}

fn new_cid(seq: u64, retire_prior_to: u64) -> Frame<'static> {
    let frame = NewConnectionId { seq, retire_prior_to, cid: cid(seq), reset_token: [seq as u8; 16] };
    Frame::NewConnectionId(frame)
}

/// A puppet client at rest, which has given the server connection IDs 1 to 3.
fn at_rest() -> Bout {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.wait_ms(100);
    bout.say(&[new_cid(1, 0), new_cid(2, 0), new_cid(3, 0)]);
    bout.ack();
    bout.wait_ms(1_000);
    bout.ack();
    bout.puppet.heard.clear();
    (bout.from_node, bout.batches) = (vec![], vec![]);
    bout
}

/// The next connection ID of the server for the puppet.
fn use_next_cid(bout: &mut Bout, heard: &[(u64, Cid)], seq: u64) {
    bout.puppet.dcid = heard.iter().find(|(number, _)| *number == seq).unwrap().1;
}

/// The connection IDs that the server has issued.
fn issued(bout: &Bout) -> Vec<(u64, Cid)> {
    let frames = bout.puppet.heard.iter().flat_map(|heard| heard.frames());
    frames
        .filter_map(|frame| match frame {
            Frame::NewConnectionId(frame) => Some((frame.seq, frame.cid)),
            _ => None,
        })
        .collect()
}

/// Says something from another address, without hearing the answer.
fn say_from(bout: &mut Bout, from: &str, frames: &[Frame<'_>]) {
    let datagram = bout.puppet.datagram(Level::OneRtt, &bytes(frames));
    bout.deliver_from(from, &datagram);
}

/// A datagram of at least 1,200 bytes.
fn say_at_length(bout: &mut Bout, from: &str, frames: &[Frame<'_>]) {
    let mut payload = bytes(frames);
    payload.resize(1_200, 0);
    let datagram = bout.puppet.datagram(Level::OneRtt, &payload);
    bout.deliver_from(from, &datagram);
}

/// The data of the challenges that were heard.
fn challenges(bout: &Bout) -> Vec<[u8; 8]> {
    let frames = bout.puppet.heard.iter().flat_map(|heard| heard.frames());
    frames
        .filter_map(|frame| match frame {
            Frame::PathChallenge(challenge) => Some(challenge.data),
            _ => None,
        })
        .collect()
}

fn responses(bout: &Bout) -> usize {
    let frames = bout.puppet.heard.iter().flat_map(|heard| heard.frames());
    frames.filter(|frame| matches!(frame, Frame::PathResponse(_))).count()
}

fn answer(bout: &mut Bout, from: &str, data: [u8; 8]) {
    say_from(bout, from, &[Frame::PathResponse(PathResponse { data })]);
    bout.hear();
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn active(bout: &mut Bout) -> (SocketAddr, bool) {
    let route = bout.connection().route().unwrap();
    (route.remote, route.validated)
}

fn moves(bout: &Bout) -> Vec<MoveCause> {
    let cause = |event: &Event| match event {
        Event::Moved { cause, .. } => Some(*cause),
        _ => None,
    };
    bout.node.events.iter().filter_map(|(_, _, event)| cause(event)).collect()
}

#[test]
fn a_hundred_challenges_in_one_packet_draw_a_few_answers_in_one_datagram() {
    let mut bout = at_rest();
    let frames: Vec<_> = (0..100).map(|nth| Frame::PathChallenge(PathChallenge { data: [nth; 8] })).collect();
    bout.say(&frames);
    assert_eq!((responses(&bout), bout.from_node.len()), (4, 1));
    assert!(bout.from_node[0] >= 1_200);
    assert_eq!(bout.connection().stats().challenges_dropped, 96);
}

#[test]
fn an_answer_goes_where_its_challenge_came_from_and_moves_nobody() {
    let mut bout = at_rest();
    say_at_length(&mut bout, ELSEWHERE, &[Frame::PathChallenge(PathChallenge { data: [7; 8] })]);
    bout.hear();
    assert_eq!(responses(&bout), 1);
    assert!(bout.batches.iter().all(|(to, _)| *to == address(ELSEWHERE)), "{:?}", bout.batches);
    assert!(bout.from_node[0] >= 1_200);
    assert!(moves(&bout).is_empty());
    assert_eq!(active(&mut bout).0, address(PUPPET));
}

#[test]
fn an_answer_to_a_small_datagram_keeps_to_three_times_its_size() {
    let mut bout = at_rest();
    say_from(&mut bout, ELSEWHERE, &[Frame::PathChallenge(PathChallenge { data: [7; 8] })]);
    bout.wait_ms(5_000);
    assert_eq!(responses(&bout), 1);
    assert!(sizes_to(&bout, ELSEWHERE).iter().sum::<usize>() <= 3 * bout.to_node.last().unwrap());
}

#[test]
fn a_response_counts_on_whatever_route_it_comes() {
    let mut bout = at_rest();
    say_at_length(&mut bout, ELSEWHERE, &[Frame::Ping(Ping)]);
    let (mut there, batches) = (vec![], bout.batches.clone());
    for ((to, _), datagram) in batches.iter().zip(std::mem::take(&mut bout.unheard)) {
        let before = challenges(&bout).len();
        bout.puppet.hear(&datagram);
        there.extend(challenges(&bout)[before..].iter().filter(|_| *to == address(ELSEWHERE)));
    }
    // From a third address, in a packet that is only probing.
    for data in there {
        answer(&mut bout, "198.51.100.99:9", data);
    }
    assert_eq!(active(&mut bout), (address(ELSEWHERE), true));
}

#[test]
fn a_challenge_on_the_route_in_use_draws_more_than_probing_frames() {
    let mut bout = at_rest();
    bout.say(&[Frame::PathChallenge(PathChallenge { data: [7; 8] })]);
    let answer = bout
        .puppet
        .heard
        .iter()
        .find(|heard| heard.frames().any(|frame| matches!(frame, Frame::PathResponse(_))));
    assert!(answer.unwrap().frames().any(|frame| !frame.kind().rules().probing));
}

#[test]
fn a_client_ignores_a_server_that_moves() {
    let mut bout = Bout::against_client(Setup::client(1));
    bout.wait_ms(100);
    bout.from_node.clear();
    for frame in [Frame::Ping(Ping), Frame::PathChallenge(PathChallenge { data: [7; 8] })] {
        say_at_length(&mut bout, ELSEWHERE, &[frame]);
    }
    assert!(bout.from_node.is_empty());
    assert_eq!(bout.connection().routes().count(), 1);
}

#[test]
fn a_peer_without_connection_ids_is_not_migrated_from() {
    let interfaces = [Interface::at(WIFI).link(link()), Interface::at(CELLULAR).link(link())];
    let mut pair = Pair::roaming(1, interfaces, |_, server| server.endpoint.cid_len = 0).connected();
    let cellular = format!("{CELLULAR}:5000").parse().unwrap();
    let refused = pair.client(|connection, now| connection.migrate(now, cellular, 2));
    assert_eq!(refused, Err(RouteError::ZeroLengthCid));
}

#[test]
fn a_new_address_gets_a_token() {
    let mut pair = behind_nat(|_, _| {});
    pair.run_ms(500);
    let tokens =
        |pair: &Pair| pair.client_node().events.iter().filter(|(_, _, event)| *event == Event::Token).count();
    let before = tokens(&pair);
    pair.world.interface(pair.client, 0).nat_mut().rebind_address("198.51.100.77");
    pair.client(|connection, _| connection.ping());
    pair.run_ms(500);
    assert_eq!(tokens(&pair), before + 1);
}

#[test]
fn an_answer_is_never_sent_twice() {
    let mut bout = at_rest();
    bout.say(&[Frame::PathChallenge(PathChallenge { data: [7; 8] })]);
    bout.wait_ms(10_000);
    assert!(bout.from_node.len() > 1, "it asks whether it arrived");
    assert_eq!(responses(&bout), 1);
}

#[test]
fn a_challenge_that_is_lost_is_asked_again_with_other_data() {
    for lost in 0..4 {
        let mut bout = at_rest();
        say_at_length(&mut bout, ELSEWHERE, &[Frame::Ping(Ping)]);
        bout.hear();
        while challenges(&bout).len() < lost + 1 {
            bout.wait_ms(10);
        }
        let distinct: BTreeSet<_> = challenges(&bout).into_iter().collect();
        assert_eq!(distinct.len(), challenges(&bout).len());
        for data in distinct {
            answer(&mut bout, ELSEWHERE, data);
        }
        assert_eq!(active(&mut bout), (address(ELSEWHERE), true), "{lost} lost");
    }
}

#[test]
fn a_short_challenge_proves_the_address_and_a_full_one_the_route() {
    let mut bout = at_rest();
    say_from(&mut bout, ELSEWHERE, &[Frame::Ping(Ping)]);
    let sizes: Vec<usize> = sizes_to(&bout, ELSEWHERE);
    assert!(!sizes.is_empty() && sizes.iter().sum::<usize>() <= 3 * bout.to_node.last().unwrap());
    bout.hear();
    let before = bout.from_node.len();
    for data in challenges(&bout) {
        answer(&mut bout, ELSEWHERE, data);
    }
    assert!(!active(&mut bout).1, "1,200 bytes were not tried");
    assert!(bout.from_node[before..].iter().any(|size| *size >= 1_200), "{:?}", bout.from_node);
    for data in challenges(&bout) {
        answer(&mut bout, ELSEWHERE, data);
    }
    assert_eq!(active(&mut bout), (address(ELSEWHERE), true));
}

fn sizes_to(bout: &Bout, to: &str) -> Vec<usize> {
    let sent = bout.batches.iter().zip(&bout.from_node);
    sent.filter(|((remote, _), _)| *remote == address(to)).map(|(_, size)| *size).collect()
}

#[test]
fn rebinding_and_new_connection_ids_in_one_packet() {
    for also in [None, Some(new_cid(5, 4))] {
        let mut bout = at_rest();
        let frames: Vec<_> = [new_cid(4, 4)].into_iter().chain(also).chain([Frame::Ping(Ping)]).collect();
        say_at_length(&mut bout, ELSEWHERE, &frames);
        assert!(sizes_to(&bout, ELSEWHERE).iter().any(|size| *size >= 1_200));
        let expected: Vec<&[u8]> = vec![cid(4).as_slice().to_vec().leak(), cid(5).as_slice().to_vec().leak()];
        for datagram in &bout.unheard {
            assert!(expected.contains(&&datagram[1..9]), "withdrawn: {datagram:?}");
        }
        bout.hear();
        for data in challenges(&bout) {
            answer(&mut bout, ELSEWHERE, data);
        }
        assert_eq!(active(&mut bout), (address(ELSEWHERE), true));
    }
}

#[test]
fn the_only_new_connection_id_is_not_spent_on_the_route_that_is_left() {
    // The peer is at an address that was not validated, has moved on, and withdraws every ID but a new one.
    let mut bout = at_rest();
    say_at_length(&mut bout, ELSEWHERE, &[Frame::Ping(Ping)]);
    bout.unheard.clear();
    bout.batches.clear();
    bout.from_node.clear();
    let third = "198.51.100.99:9";
    say_at_length(&mut bout, third, &[new_cid(4, 4), Frame::Ping(Ping)]);
    assert!(!sizes_to(&bout, third).is_empty());
    bout.hear();
    for data in challenges(&bout) {
        answer(&mut bout, third, data);
    }
    assert_eq!(active(&mut bout), (address(third), true));
}

#[test]
fn a_retirement_does_not_travel_under_the_id_that_it_retires() {
    let mut bout = at_rest();
    say_at_length(&mut bout, ELSEWHERE, &[new_cid(4, 3), Frame::Ping(Ping)]);
    let mut retired = BTreeSet::new();
    for datagram in std::mem::take(&mut bout.unheard) {
        let before = bout.puppet.heard.len();
        bout.puppet.hear(&datagram);
        for heard in &bout.puppet.heard[before..] {
            for frame in heard.frames() {
                if let Frame::RetireConnectionId(frame) = frame {
                    assert_ne!(datagram[1..9], *cid(frame.seq).as_slice());
                    assert_ne!(datagram[1..9], *b"puppet-c");
                    retired.insert(frame.seq);
                }
            }
        }
    }
    assert_eq!(retired, BTreeSet::from([0, 1, 2]));
}

#[test]
fn the_old_route_is_asked_under_its_own_connection_id() {
    let mut bout = Bout::against_server(Setup::server(1));
    bout.wait_ms(100);
    let ids = issued(&bout);
    bout.say(&[new_cid(1, 0), new_cid(2, 0), new_cid(3, 0)]);
    bout.ack();
    use_next_cid(&mut bout, &ids, 1);
    (bout.unheard, bout.batches) = (vec![], vec![]);
    say_at_length(&mut bout, ELSEWHERE, &[Frame::Ping(Ping)]);
    let mut seen = BTreeSet::new();
    for ((to, _), datagram) in bout.batches.iter().zip(&bout.unheard) {
        seen.insert((*to, datagram[1..9].to_vec()));
    }
    let expected =
        [(address(PUPPET), b"puppet-c".to_vec()), (address(ELSEWHERE), cid(1).as_slice().to_vec())];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn rebindings_copies_and_spoofs_use_up_no_connection_id() {
    let mut bout = at_rest();
    for nth in 0..200_u16 {
        say_at_length(&mut bout, &format!("203.0.113.7:{}", 1_000 + nth), &[Frame::Ping(Ping)]);
        bout.hear();
        bout.wait_ms(1_000);
        bout.ack();
    }
    let retirements = bout.puppet.heard.iter().flat_map(|heard| heard.frames());
    assert_eq!(retirements.filter(|frame| matches!(frame, Frame::RetireConnectionId(_))).count(), 0);
    assert_eq!(bout.puppet.close(), None);
    assert!(!bout.node.events.iter().any(|(_, _, event)| *event == Event::NoSpareCid));
}

#[test]
fn ten_thousand_addresses_cost_a_few_routes_and_the_connection_goes_on() {
    let mut bout = at_rest();
    for nth in 0..10_000_u32 {
        let from = format!("12.0.{}.{}:9", nth >> 8, nth & 0xff);
        say_from(&mut bout, &from, &[Frame::Ping(Ping)]);
        assert!(bout.connection().routes().count() <= 3);
        bout.unheard.clear();
    }
    let addresses: BTreeSet<_> = bout.batches.iter().map(|(to, _)| to).collect();
    assert!(addresses.len() <= 6, "{addresses:?}");
    bout.wait_ms(4_000);
    bout.say(&[Frame::Ping(Ping)]);
    bout.wait_ms(10);
    assert_eq!((active(&mut bout).0, bout.puppet.close()), (address(PUPPET), None));
}

#[test]
fn who_falls_silent_after_a_spoofed_packet_is_waited_for_until_the_idle_timeout() {
    let mut bout = at_rest();
    say_from(&mut bout, ELSEWHERE, &[Frame::Ping(Ping)]);
    bout.unheard.clear();
    bout.wait_ms(40_000);
    let told = |event: &Event| matches!(event, Event::Closed(_)).then_some(*event);
    assert_eq!(bout.node.find(told), Some(Event::Closed(Cause::Idle)));
    assert_eq!(bout.puppet.close(), None, "in silence");
}

#[test]
fn garbage_from_strangers_makes_no_route() {
    let mut bout = at_rest();
    for nth in 0..1_000_u32 {
        let mut datagram = bout.puppet.datagram(Level::OneRtt, &bytes(&[Frame::Ping(Ping)]));
        let last = datagram.len() - 1;
        datagram[last] ^= 1;
        bout.deliver_from(&format!("12.0.{}.{}:9", nth >> 8, nth & 0xff), &datagram);
    }
    assert_eq!((bout.connection().routes().count(), bout.batches.len()), (1, 0));
}

#[test]
fn moving_back_while_the_old_route_is_asked_again() {
    let mut bout = at_rest();
    for round in 0..10 {
        say_at_length(&mut bout, ELSEWHERE, &[Frame::Ping(Ping)]);
        say_at_length(&mut bout, PUPPET, &[Frame::Ping(Ping)]);
        bout.hear();
        bout.ack();
        assert_eq!(active(&mut bout).0, address(PUPPET), "round {round}");
        bout.wait_ms(200);
    }
    let asked = challenges(&bout);
    let last = asked.len().saturating_sub(6);
    for data in &asked[last..] {
        answer(&mut bout, PUPPET, *data);
    }
    bout.wait_ms(6_000);
    assert_eq!((active(&mut bout), bout.puppet.close()), ((address(PUPPET), true), None));
}

#[test]
fn an_older_packet_that_comes_late_from_elsewhere_moves_nobody() {
    let mut bout = at_rest();
    let late = bout.puppet.datagram(Level::OneRtt, &bytes(&[Frame::Ping(Ping)]));
    bout.say(&[Frame::Ping(Ping)]);
    bout.deliver_from(ELSEWHERE, &late);
    assert!(moves(&bout).is_empty());
}

#[test]
fn packet_numbers_of_the_handshake_do_not_hold_up_a_move() {
    let mut bout = Bout::new(Setup::server(1), peregrine_tests::puppet::Puppet::client(77));
    bout.puppet.next_pn[Level::Initial as usize] = 90;
    bout.puppet.next_pn[Level::Handshake as usize] = 90;
    let params = bout.puppet.params();
    bout.puppet.start(&params);
    bout.shake_hands();
    bout.wait_ms(100);
    say_at_length(&mut bout, ELSEWHERE, &[Frame::Ping(Ping)]);
    assert_eq!(moves(&bout), [MoveCause::Peer]);
}

#[test]
fn an_address_that_is_not_proved_gets_no_batches() {
    let mut bout = at_rest();
    let id = bi_stream(&mut bout);
    let data = [7; 64];
    let frame = Frame::Stream(Stream { id, offset: 0, data: &data, fin: false });
    say_at_length(&mut bout, ELSEWHERE, &[frame]);
    bout.act(|connection, _| connection.write_stream(id, &[1; 60_000]).unwrap());
    let there = bout.batches.iter().filter(|(to, _)| *to == address(ELSEWHERE));
    let largest = there.map(|(_, datagrams)| *datagrams).max();
    assert_eq!(largest, Some(1));
    for data in challenges(&bout) {
        answer(&mut bout, ELSEWHERE, data);
    }
    bout.wait_ms(100);
    assert!(bout.batches.iter().any(|(_, datagrams)| *datagrams > 1), "afterwards it does");
}

/// A stream that the puppet has opened.
fn bi_stream(bout: &mut Bout) -> StreamId {
    let id = StreamId::new(peregrine_core::ids::Side::Client, Dir::Bi, 0);
    bout.say(&[Frame::Stream(Stream { id, offset: 0, data: b"x", fin: false })]);
    id
}

fn link() -> Link {
    Link::mbit(20).delay_ms(15)
}

fn behind_nat(tune: impl FnOnce(&mut Setup, &mut Setup)) -> Pair {
    let interface = Interface::at(WIFI).link(link()).nat(Nat::at("198.51.100.1"));
    Pair::on(1, interface, tune).connected()
}

fn phone(wifi: Link, cellular: Link) -> Pair {
    let interfaces = [Interface::at(WIFI).link(wifi), Interface::at(CELLULAR).link(cellular)];
    let mut pair = Pair::roaming(1, interfaces, |_, _| {}).connected();
    pair.run_ms(1_000);
    pair
}

#[test]
fn a_client_without_connection_ids_is_followed_by_its_address() {
    let mut pair = behind_nat(|client, _| client.endpoint.cid_len = 0);
    pair.world.interface(pair.client, 0).nat_mut().rebind_port();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 300_000);
    assert!(pair.server(|connection, _| connection.route().unwrap().validated));
}

#[test]
fn a_hundred_rebindings_leak_nothing() {
    let mut pair = behind_nat(|_, _| {});
    for _ in 0..100 {
        pair.world.interface(pair.client, 0).nat_mut().rebind_port();
        let id = pair.client(|connection, _| open(connection, Dir::Bi));
        pair.carry(true, id, 3_000);
        pair.server(|connection, _| connection.finish(id).unwrap());
        pair.run_ms(500);
        pair.client(|connection, _| {
            while connection.read_stream(id, &mut [0; 8]).is_ok_and(|read| {
                read != peregrine_core::stream::Read::Finished
                    && read != peregrine_core::stream::Read::Blocked
            }) {}
        });
    }
    assert!(pair.server(|connection, _| connection.routes().count()) <= 3);
}

#[test]
fn an_outage_right_after_a_rebinding_is_waited_out_until_the_idle_timeout() {
    let mut pair = behind_nat(|_, _| {});
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 100_000);
    pair.world.interface(pair.client, 0).nat_mut().rebind_port();
    pair.client(|connection, _| connection.ping());
    pair.run_ms(16);
    pair.world.interface(pair.client, 0).unplug();
    pair.run_ms(15_000);
    assert_eq!((pair.server_cause(), pair.client_cause()), (None, None));
    pair.world.interface(pair.client, 0).plug();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 100_000);
}

#[test]
fn a_forged_datagram_to_another_address_of_ours_teaches_nothing() {
    let mut pair = Pair::on(1, Interface::at(WIFI).also("10.0.0.77").link(link()), |_, _| {});
    pair.world.attack(|_, datagram| {
        if datagram.source != address(SERVER) {
            return vec![(Duration::ZERO, datagram)];
        }
        let mut forged = datagram.clone();
        forged.destination.set_ip("10.0.0.77".parse().unwrap());
        forged.payload.iter_mut().skip(40).for_each(|byte| *byte ^= 1);
        vec![(Duration::ZERO, forged), (Duration::ZERO, datagram)]
    });
    let mut pair = pair.connected();
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 100_000);
    let route = pair.client(|connection, _| connection.route().unwrap());
    assert_eq!(route.local.ip().to_string(), WIFI);
}

/// A server does not move (RFC 9000 9): where it turns up elsewhere, the client waits for it at the old place.
#[test]
fn both_ends_addresses_change_at_once_and_the_servers_comes_back() {
    let mut pair = behind_nat(|_, _| {});
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 100_000);
    let home = address(SERVER).ip().to_string();
    pair.world.interface(pair.server, 0).set_address("192.0.2.200");
    pair.world.interface(pair.client, 0).nat_mut().rebind_address("198.51.100.77");
    pair.client(|connection, _| connection.ping());
    pair.run_ms(8_000);
    assert_eq!((pair.server_cause(), pair.client_cause()), (None, None));
    pair.world.interface(pair.server, 0).set_address(&home);
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 100_000);
    pair.carry(false, id, 100_000);
    let remote = pair.server(|connection, _| connection.remote());
    assert_eq!(remote.ip().to_string(), "198.51.100.77");
}

#[test]
fn an_address_that_comes_back_is_used_again_without_a_spare_connection_id() {
    let mut pair = Pair::on(1, Interface::at(WIFI).link(link()), |client, server| {
        server.sizes.cids = 1;
        client.endpoint.connection.max_idle_timeout = Duration::from_secs(60);
    })
    .connected();
    pair.world.interface(pair.client, 0).unplug();
    let here = WIFI.parse().unwrap();
    pair.client(|connection, now| connection.network_changed(now, NetworkChange::AddressGone(here)));
    pair.run_ms(2_000);
    pair.world.interface(pair.client, 0).plug();
    pair.client(|connection, now| connection.network_changed(now, NetworkChange::AddressBack(here)));
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 100_000);
}

#[test]
fn a_new_route_that_eats_marked_packets_is_used_without_marks() {
    let mut pair = phone(link(), link().ecn(EcnFault::BlackHole));
    let cellular = format!("{CELLULAR}:5000").parse().unwrap();
    pair.client(|connection, now| connection.migrate(now, cellular, 2).unwrap());
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 300_000);
    let route = pair.client(|connection, _| connection.route().unwrap());
    assert!(route.local == cellular && !route.ecn && route.validated, "{route:?}");
    let seconds = pair.world.now().as_micros() / 1_000_000;
    assert!(seconds < 10, "{seconds} s");
}

#[test]
fn what_was_sent_over_the_old_route_teaches_the_new_one_nothing() {
    let mut pair = phone(Link::mbit(20).delay_ms(200), Link::mbit(20).delay_ms(5));
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    let mut sent = 0;
    pair.client(|connection, _| write_pattern(connection, id, &mut sent, 100_000));
    pair.run_ms(50);
    let cellular = format!("{CELLULAR}:5000").parse().unwrap();
    pair.client(|connection, now| connection.migrate(now, cellular, 2).unwrap());
    for _ in 0..40 {
        pair.run_ms(20);
        let route = pair.client(|connection, _| connection.route().unwrap());
        assert!(route.min_rtt < Duration::from_millis(100), "{route:?}");
    }
    let route = pair.client(|connection, _| connection.route().unwrap());
    assert!(route.rtt < Duration::from_millis(60) && !route.min_rtt.is_zero(), "{route:?}");
}

#[test]
fn a_search_for_the_mtu_does_not_go_on_at_a_port_that_is_not_proved() {
    for at in 0..40 {
        let interface = Interface::at(WIFI).link(link().mtu(1_300)).nat(Nat::at("198.51.100.1"));
        let mut pair = Pair::on(1, interface, |_, _| {}).connected();
        pair.world.watch();
        pair.run_ms(10 * at);
        pair.world.interface(pair.client, 0).nat_mut().rebind_port();
        pair.client(|connection, _| connection.ping());
        pair.run_ms(16);
        // What the server says does not arrive, and little comes from the client.
        pair.world.interface(pair.client, 0).set_down(Link::ideal().loss(1.0));
        for _ in 0..8 {
            pair.run_ms(30);
            pair.client(|connection, _| connection.ping());
        }
        let old = SocketAddr::from(([198, 51, 100, 1], 40_000));
        let seen = pair.world.watched().iter().filter(|seen| seen.host == pair.server);
        let (mut came, mut went) = (0, 0);
        for seen in seen {
            let len = seen.datagram.payload.len();
            if seen.sent && seen.datagram.destination != old {
                went += len;
            } else if !seen.sent && seen.datagram.source != old {
                came += len;
            }
            assert!(went <= 3 * came, "{went} for {came}, {at}");
        }
        assert!(went > 0);
    }
}

#[test]
fn a_smaller_mtu_on_the_new_route_costs_no_window() {
    let mut pair = phone(link(), link().mtu(1_200));
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 1 << 20);
    assert!(pair.client(|connection, _| connection.route().unwrap().mtu) > 1_200);
    let cellular = format!("{CELLULAR}:5000").parse().unwrap();
    pair.client(|connection, now| connection.migrate(now, cellular, 2).unwrap());
    let id = pair.client(|connection, _| open(connection, Dir::Bi));
    pair.carry(true, id, 1 << 20);
    let route = pair.client(|connection, _| connection.route().unwrap());
    assert!(route.mtu == 1_200 && route.window > 30_000, "{route:?}");
}

/// A whole window was lost on a new route, and the peer gave the route up before our next probe.
#[test]
fn an_answer_waits_for_no_window() {
    let mut bout = at_rest();
    let id = bi_stream(&mut bout);
    bout.say(&[Frame::Stream(Stream { id, offset: 0, data: b"x", fin: false })]);
    bout.act(|connection, _| connection.write_stream(id, &[1; 60_000]).unwrap());
    let window = bout.connection().route().unwrap();
    assert!(window.window - window.in_flight < u32::from(window.mtu), "{window:?}");
    let before = bout.from_node.len();
    // One, that is: the window holds against a flood of challenges.
    for nth in 0..10 {
        bout.say(&[Frame::PathChallenge(PathChallenge { data: [nth; 8] })]);
    }
    let sizes = bout.from_node[before..].iter();
    assert_eq!((responses(&bout), sizes.filter(|size| **size >= 1_200).count()), (1, 1));
    // On the route in use it also shows that this is so (RFC 9000 9.3.3).
    let answers = |heard: &&peregrine_tests::puppet::Heard| {
        heard.frames().any(|frame| matches!(frame, Frame::PathResponse(_)))
    };
    let heard = bout.puppet.heard.iter().find(answers).unwrap();
    assert!(heard.frames().any(|frame| matches!(frame, Frame::Ping(_))));
}
