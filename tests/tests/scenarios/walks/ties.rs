//! What is tied to paths: streams, whenever their writers like, and datagrams, which may be lost but neither changed nor repeated.

use std::collections::BTreeSet;

use peregrine_core::connection::PathView;
use peregrine_core::ids::PathId;
use peregrine_core::stream::Tie;
use peregrine_tests::quic::{NullConnection, pattern};
use peregrine_tests::rng::Rng;

use super::{Flow, Scene};

/// The shortest datagram: its number.
const SHORTEST: usize = 4;
/// The longest; more than a packet holds where the MTU is small.
const LONGEST: u64 = 1_250;

/// What is tied to what, and the datagrams of both sides.
pub(super) struct Ties {
    /// How the streams of the scene are tied, in their order.
    streams: Vec<Tie>,
    client: Post,
    server: Post,
    /// Streams that were tied to a path.
    pub(super) tied: u64,
}

/// The datagrams to one side.
#[derive(Default)]
struct Post {
    sent: u32,
    arrived: BTreeSet<u32>,
}

impl Post {
    /// Takes what has arrived.
    fn take(&mut self, connection: &mut NullConnection) {
        let mut bytes = [0; LONGEST as usize + 1];
        while let Some(len) = connection.recv_datagram(&mut bytes) {
            let (number, rest) = bytes[..len].split_first_chunk::<SHORTEST>().expect("a number");
            let number = u32::from_be_bytes(*number);
            assert!(number < self.sent, "datagram {number} was never sent");
            assert!(self.arrived.insert(number), "datagram {number} has arrived twice");
            assert!(rest.iter().zip(u64::from(number)..).all(|(byte, at)| *byte == pattern(at)), "{number}");
        }
    }

    fn send(&mut self, connection: &mut NullConnection, tie: Tie, len: usize) -> bool {
        let number = self.sent.to_be_bytes();
        let rest = (u64::from(self.sent)..).map(pattern);
        let bytes: Vec<_> = number.into_iter().chain(rest).take(len).collect();
        let is_sent = connection.send_datagram_over(tie, &bytes).is_ok();
        self.sent += u32::from(is_sent);
        is_sent
    }
}

/// A tie to one of these paths, to one that there may not be, to all, or to none.
fn choose(rng: &mut Rng, paths: &[PathView]) -> Tie {
    let known = paths.get(rng.below(paths.len().max(1) as u64) as usize).map(|path| path.id);
    let path = known.filter(|_| rng.chance(0.9)).unwrap_or(PathId(rng.below(12) as u32));
    match rng.below(6) {
        0 => Tie::None,
        1 => Tie::Every,
        2 | 3 => Tie::Prefers(path),
        _ => Tie::Needs(path),
    }
}

/// Does something to one side's connection.
fn on<R>(scene: &mut Scene, client: bool, act: impl FnOnce(&mut NullConnection) -> R) -> R {
    if client {
        scene.pair.client(|connection, _| act(connection))
    } else {
        scene.pair.server(|connection, _| act(connection))
    }
}

impl Ties {
    pub(super) fn of(scene: &Scene) -> Self {
        let streams = vec![Tie::None; scene.flows.len()];
        Self { streams, client: Post::default(), server: Post::default(), tied: 0 }
    }

    /// Datagrams that have arrived.
    pub(super) fn arrived(&self) -> u64 {
        (self.client.arrived.len() + self.server.arrived.len()) as u64
    }

    /// Ties a stream another way.
    pub(super) fn tie(&mut self, scene: &mut Scene) -> String {
        let nth = scene.rng.below(scene.flows.len() as u64) as usize;
        let Flow { from_client, id, .. } = scene.flows[nth];
        let paths = on(scene, from_client, |connection| connection.paths().collect::<Vec<_>>());
        let tie = choose(&mut scene.rng, &paths);
        let done = on(scene, from_client, |connection| connection.tie_stream(id, tie));
        if done.is_ok() {
            self.streams[nth] = tie;
            self.tied += u64::from(matches!(tie, Tie::Prefers(_) | Tie::Needs(_)));
        }
        format!("{id:?} goes by {tie:?}: {done:?}")
    }

    /// Sends a few datagrams from one side.
    pub(super) fn send(&mut self, scene: &mut Scene) -> String {
        let (by_client, count) = (scene.rng.chance(0.5), 1 + scene.rng.below(8));
        let paths = on(scene, by_client, |connection| connection.paths().collect::<Vec<_>>());
        let tie = choose(&mut scene.rng, &paths);
        let post = if by_client { &mut self.server } else { &mut self.client };
        let mut sent = 0;
        for _ in 0..count {
            let len = SHORTEST + scene.rng.below(LONGEST - SHORTEST as u64) as usize;
            sent += u32::from(on(scene, by_client, |connection| post.send(connection, tie, len)));
        }
        format!("{sent} datagrams of {count} by client {by_client}, by {tie:?}")
    }

    /// Takes the datagrams that have arrived.
    pub(super) fn take(&mut self, scene: &mut Scene) {
        on(scene, true, |connection| self.client.take(connection));
        on(scene, false, |connection| self.server.take(connection));
    }

    /// The writers of streams that wait for a path which does not work wait no longer. Returns whether there were any.
    pub(super) fn untie_waiting(&mut self, scene: &mut Scene) -> bool {
        let mut any = false;
        for (nth, tie) in self.streams.iter_mut().enumerate() {
            let (Tie::Needs(path), Flow { from_client, id, over: false, .. }) = (*tie, &scene.flows[nth])
            else {
                continue;
            };
            let (from_client, id) = (*from_client, *id);
            any |= on(scene, from_client, |connection| {
                let works = |path: PathView| {
                    !path.suspect && path.route.is_none_or(|route| route.validated && !route.down)
                };
                let waits = connection.path(path).is_some_and(|path| !works(path));
                if waits {
                    connection.tie_stream(id, Tie::None).expect("a stream that is not over");
                    *tie = Tie::None;
                }
                waits
            });
        }
        any
    }
}
