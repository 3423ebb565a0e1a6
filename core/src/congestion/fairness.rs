//! A model of connections that send all they may over links with a queue each, packet by packet, to see what they take
//! from each other. A packet that finds a full queue is lost, which is noticed when its acknowledgment would have come.

use super::{Acked, Algorithm, Controller, Coupled, Coupling};
use crate::table::random::Random;
use crate::time::{Instant, Span};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::vec::Vec;

const MTU: u16 = 1200;

/// A link that holds packets up while it sends others.
struct Link {
    micros_per_packet: u64,
    queue: u64,
    free_at: u64,
}

impl Link {
    /// A link of so many packets per second whose queue holds so many.
    fn new(rate: u64, queue: u64) -> Self {
        Self { micros_per_packet: 1_000_000 / rate, queue, free_at: 0 }
    }

    /// When a packet leaves, and whether it does.
    fn enter(&mut self, now: u64) -> (u64, bool) {
        let start = self.free_at.max(now);
        let leaves = start + self.micros_per_packet;
        let fits = start - now < self.queue * self.micros_per_packet;
        if fits {
            self.free_at = leaves;
        }
        (leaves, fits)
    }
}

struct Route {
    connection: usize,
    link: usize,
    base_rtt: u64,
    controller: Controller,
    smoothed: u64,
    delivered: u64,
}

/// What a packet's sender hears of it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    at: u64,
    route: usize,
    sent: u64,
    arrived: bool,
}

struct Model {
    links: Vec<Link>,
    /// How each connection couples its routes.
    connections: Vec<Coupled>,
    routes: Vec<Route>,
    answers: BinaryHeap<Reverse<Answer>>,
    random: Random,
}

impl Model {
    fn new(seed: u64, links: impl IntoIterator<Item = Link>) -> Self {
        Self {
            links: links.into_iter().collect(),
            connections: Vec::new(),
            routes: Vec::new(),
            answers: BinaryHeap::new(),
            random: Random::new(seed),
        }
    }

    /// A connection with a route for each link and RTT in milliseconds.
    fn connect(mut self, coupled: Coupled, routes: &[(usize, u64)]) -> Self {
        let connection = self.connections.len();
        self.connections.push(coupled);
        self.routes.extend(routes.iter().map(|&(link, rtt)| Route {
            connection,
            link,
            base_rtt: rtt * 1000,
            controller: Controller::new(Algorithm::NewReno, MTU),
            smoothed: rtt * 1000,
            delivered: 0,
        }));
        self
    }

    /// Packets that each route gets through per second, after a time to settle.
    fn run(mut self, seconds: u64) -> Vec<u64> {
        let settled = 60;
        (0..self.routes.len()).for_each(|route| self.send(0, route));
        self.run_until(settled * 1_000_000);
        self.routes.iter_mut().for_each(|route| route.delivered = 0);
        self.run_until((settled + seconds) * 1_000_000);
        self.routes.iter().map(|route| route.delivered / seconds).collect()
    }

    fn run_until(&mut self, end: u64) {
        while self.answers.peek().is_some_and(|Reverse(next)| next.at < end) {
            let Reverse(answer) = self.answers.pop().unwrap();
            self.hear(&answer);
            self.send(answer.at, answer.route);
        }
    }

    fn hear(&mut self, answer: &Answer) {
        let (now, newest) = (Instant::from_micros(answer.at), Instant::from_micros(answer.sent));
        let coupling = self.coupling(answer.route);
        let route = &mut self.routes[answer.route];
        let bytes = MTU.into();
        if !answer.arrived {
            route.controller.on_lost(now, bytes, Some(newest), false);
            return;
        }
        route.delivered += 1;
        let sample = answer.at - answer.sent;
        route.smoothed = (route.smoothed * 7 + sample) / 8;
        let (sample, smoothed) = (Some(Span::from_micros(sample)), Span::from_micros(route.smoothed));
        route.controller.on_acked(now, &Acked { bytes, newest, sample, smoothed, coupling });
    }

    fn coupling(&self, row: usize) -> Coupling {
        let own = &self.routes[row];
        let is_other = |(nth, route): &(usize, &Route)| *nth != row && route.connection == own.connection;
        let others = self.routes.iter().enumerate().filter(is_other);
        own.controller.coupling(
            self.connections[own.connection],
            Span::from_micros(own.smoothed),
            others.map(|(_, other)| (&other.controller, Span::from_micros(other.smoothed))),
        )
    }

    fn send(&mut self, now: u64, row: usize) {
        let route = &mut self.routes[row];
        while route.controller.available() >= MTU.into() {
            route.controller.on_sent(Instant::from_micros(now), MTU);
            let (leaves, arrived) = self.links[route.link].enter(now);
            // Without some noise, who finds the queue full would be the same every time.
            let noise = self.random.below(route.base_rtt as usize / 8) as u64;
            let at = leaves + route.base_rtt + noise;
            self.answers.push(Reverse(Answer { at, route: row, sent: now, arrived }));
        }
    }
}

const ALL: [Coupled; 3] = [Coupled::None, Coupled::Lia, Coupled::Olia];
const SEEDS: u64 = 3;
const SECONDS: u64 = 120;

/// The mean over some seeds of what routes get through.
fn mean(model: impl Fn(u64) -> Model) -> Vec<u64> {
    let runs: Vec<Vec<u64>> = (0..SEEDS).map(|seed| model(seed).run(SECONDS)).collect();
    let routes = 0..runs[0].len();
    routes.map(|route| runs.iter().map(|run| run[route]).sum::<u64>() / SEEDS).collect()
}

/// Two routes of a connection beside one of another, on a link for 1000 packets per second; what the first connection
/// takes, and the second.
fn sharing(coupled: Coupled, queue: u64, rtts: [u64; 3]) -> (u64, u64) {
    let taken = mean(|seed| {
        Model::new(seed, [Link::new(1000, queue)])
            .connect(coupled, &[(0, rtts[0]), (0, rtts[1])])
            .connect(Coupled::None, &[(0, rtts[2])])
    });
    (taken[0] + taken[1], taken[2])
}

#[test]
fn coupled_routes_take_of_a_shared_bottleneck_what_one_flow_takes() {
    for coupled in ALL {
        for queue in [20, 50, 100] {
            let (ours, theirs) = sharing(coupled, queue, [50, 50, 50]);
            let percent = ours * 100 / (ours + theirs);
            // By half, within a twelfth; uncoupled by two thirds.
            let expected = if coupled == Coupled::None { 62..71 } else { 44..55 };
            assert!(expected.contains(&percent), "{coupled:?}, queue of {queue}: {percent} %");
            assert!(ours + theirs > 920, "{coupled:?}, queue of {queue}: {ours} + {theirs}");
        }
    }
}

#[test]
fn coupled_routes_of_unlike_rtts_take_what_the_shorter_one_would_alone() {
    for rtts in [[20, 100, 50], [40, 60, 50]] {
        let taken = mean(|seed| {
            Model::new(seed, [Link::new(1000, 50)])
                .connect(Coupled::None, &[(0, rtts[0])])
                .connect(Coupled::None, &[(0, rtts[2])])
        });
        let percent = |coupled| sharing(coupled, 50, rtts).0 * 100 / taken[0];
        assert!(percent(Coupled::None) > 110, "{rtts:?}: {} %", percent(Coupled::None));
        for coupled in [Coupled::Lia, Coupled::Olia] {
            assert!((88..105).contains(&percent(coupled)), "{coupled:?}, {rtts:?}: {} %", percent(coupled));
        }
    }
}

#[test]
fn links_of_their_own_are_used_in_full() {
    for coupled in ALL {
        for (queue, rtts) in [(50, [50, 50]), (25, [50, 50]), (50, [20, 100])] {
            let taken = mean(|seed| {
                Model::new(seed, [Link::new(1000, queue), Link::new(500, queue)])
                    .connect(coupled, &[(0, rtts[0]), (1, rtts[1])])
            });
            // All of it where the queue holds what a halved window leaves unused, as a flow alone does.
            let least = if queue == 50 { [980, 490] } else { [900, 490] };
            assert!(taken[0] >= least[0] && taken[1] >= least[1], "{coupled:?}, queue of {queue}: {taken:?}");
        }
    }
}

#[test]
fn a_free_link_makes_room_on_a_shared_one() {
    let shared = |coupled| {
        let taken = mean(|seed| {
            Model::new(seed, [Link::new(1000, 50), Link::new(1000, 50)])
                .connect(coupled, &[(0, 50), (1, 50)])
                .connect(Coupled::None, &[(0, 50)])
        });
        assert!(taken[1] > 980, "{coupled:?}: {taken:?}");
        taken[0] * 100 / (taken[0] + taken[2])
    };
    let percents = ALL.map(shared);
    assert!((45..55).contains(&percents[0]), "{percents:?}");
    assert!((20..33).contains(&percents[1]), "{percents:?}");
    assert!(percents[2] < 15, "{percents:?}");
}
