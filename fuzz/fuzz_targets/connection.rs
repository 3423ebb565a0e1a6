//! An endpoint with a connection of either role against a puppet: packets that are sealed as they should be around
//! frames of any kind, over one path or several, in either dialect of multipath or in the wrong one, bytes that are no packets,
//! what the application may do, and time, in any order. Nothing panics, nothing goes on for ever, and what the connection says can
//! be parsed.
#![no_main]

use core::num::NonZeroU8;
use core::time::Duration;

use libfuzzer_sys::fuzz_target;
use peregrine_core::congestion::Coupled;
use peregrine_core::connection::{AckReturn, Algorithm, Config, MultipathConfig, NetworkChange};
use peregrine_core::endpoint::{EndpointConfig, RetryPolicy};
use peregrine_core::ids::{Dir, Ecn, FourTuple, PathId, StreamId};
use peregrine_core::path::schedule::Scheduler;
use peregrine_core::path::{Availability, Preference};
use peregrine_core::session::{AeadLimits, EndpointCrypto, Level, Session};
use peregrine_core::stream::Tie;
use peregrine_core::time::Instant;
use peregrine_core::wire::dialect::AbandonCode;
use peregrine_core::wire::frame::{
    Frame, HandshakeDone, MaxPathId, PathAbandon, PathCidsBlocked, PathRetireConnectionId, PathStatus,
    PathsBlocked,
};
use peregrine_core::wire::params::TransportParams;
use peregrine_core::wire::{Cid, Dialect, Writer, retry, version};
use peregrine_tests::memory::Sizes;
use peregrine_tests::null_session::{NullConfig, NullEndpointCrypto};
use peregrine_tests::puppet::{self, Bout, NODE, PUPPET, Puppet};
use peregrine_tests::quic::{NullConnection, Setup};
use peregrine_tests::sim::Node;

/// What is left of the input; zeros after its end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A byte string with its length in front.
    fn string(&mut self) -> &'a [u8] {
        let len = self.byte();
        self.bytes(usize::from(len))
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }
}

fn setup(input: &mut Input<'_>, server: bool) -> Setup {
    let flags = input.byte();
    let connection = Config {
        peer_bidi_streams: input.pick(&[0, 1, 4]),
        peer_uni_streams: input.pick(&[0, 1, 2]),
        congestion: if flags & 1 == 0 { Algorithm::NewReno } else { Algorithm::Cubic },
        grease: flags & 2 != 0,
        ecn: flags & 4 != 0,
        keep_alive: (flags & 8 != 0).then_some(Duration::from_secs(3)),
        multipath: if flags & 64 == 0 { None } else { multipath(input) },
        ..Config::default()
    };
    let endpoint = EndpointConfig {
        server,
        connection,
        cid_len: if flags & 16 == 0 || server { 8 } else { 0 },
        retry: if flags & 32 == 0 { RetryPolicy::UnderLoad } else { RetryPolicy::Always },
        ..EndpointConfig::default()
    };
    let sizes = Sizes {
        paths: input.pick(&[1, 2, 4]),
        streams: input.pick(&[1, 3, 8]),
        sent: input.pick(&[8, 16, 64]),
        rx: input.pick(&[18, 300, 9000]),
        tx: input.pick(&[16, 300, 9000]),
        datagram: input.pick(&[0, 100, 3000]),
        cids: 4,
        ..Sizes::default()
    };
    let limits =
        AeadLimits { confidentiality: input.pick(&[1 << 23, 140]), integrity: input.pick(&[1 << 52, 10]) };
    let session = NullConfig { limits, ..NullConfig::seeded(1) };
    let base = if server { Setup::server(1) } else { Setup::client(1) };
    Setup { endpoint, sizes, session, slots: 2, ..base }
}

/// What the node wants of several paths.
fn multipath(input: &mut Input<'_>) -> Option<MultipathConfig> {
    let dialects = input.pick(&[Dialect::ALL, &[Dialect::Draft21], &[Dialect::Draft11]]);
    let limit = |millis: u64| Some(Duration::from_millis(millis));
    let mut config = MultipathConfig::speaking(dialects)?;
    config.max_paths = input.pick(&[0, 2, 3, 8]);
    config.scheduler = input.pick(&[
        Scheduler::EarliestCompletion,
        Scheduler::LowestRtt,
        Scheduler::Primary,
        Scheduler::Weighted,
    ]);
    config.acks = input.pick(&[AckReturn::SamePath, AckReturn::Fastest]);
    config.coupled = input.pick(&[Coupled::None, Coupled::Lia, Coupled::Olia]);
    config.failover = input.pick(&[None, limit(0), limit(100)]);
    config.patience = input.pick(&[None, limit(0), limit(1000)]);
    Some(config)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let server = input.byte() & 1 == 0;
    let setup = setup(&mut input, server);
    let mut bout = Bout::new(setup, if server { Puppet::client(2) } else { Puppet::server(2) });
    if !server {
        bout.connect();
    }
    let mut params = bout.puppet.params();
    if input.byte() & 1 == 1 {
        let (dialect, max) = (input.pick(Dialect::ALL), input.pick(&[1, 3, 0, u64::from(u32::MAX)]));
        params.initial_max_path_id = params.initial_max_path_id.with(dialect, max);
    }
    match input.byte() % 4 {
        0 => bout.puppet.start_raw(input.string()),
        1 => bout.puppet.start(&TransportParams { stateless_reset_token: Some(RESET), ..params }),
        _ => bout.puppet.start(&params),
    }
    let mut said: Vec<Vec<u8>> = Vec::new();
    while !input.0.is_empty() {
        step(&mut bout, &mut input, &mut said);
    }
    bout.wait_ms(100_000);
});

const RESET: [u8; 16] = [0x77; 16];

/// Whether the puppet has keys of a level; those of both later ones come together, or nearly.
fn has_keys(puppet: &Puppet, level: Level) -> bool {
    match level {
        // A client chose its first DCID itself; a server has it from the client's first Initial.
        Level::Initial => puppet.original_dcid.is_none() || !puppet.heard.is_empty(),
        Level::ZeroRtt => false,
        Level::Handshake | Level::OneRtt => puppet.session.crypto_len(Level::Handshake) > 0,
    }
}

fn step(bout: &mut Bout, input: &mut Input<'_>, said: &mut Vec<Vec<u8>>) {
    match input.byte() % 20 {
        0 => bout.shake_hands(),
        1 => {
            bout.shake_hands();
            if has_keys(&bout.puppet, Level::OneRtt) {
                bout.say(&[Frame::HandshakeDone(HandshakeDone)]);
            }
        }
        2..=4 => {
            let level = input.pick(&[Level::OneRtt, Level::OneRtt, Level::Handshake, Level::Initial]);
            let payload = input.string();
            if has_keys(&bout.puppet, level) {
                deliver(bout, input, said, |puppet| puppet.datagram(level, payload));
            }
        }
        5 => {
            // Any number, any first byte, two packets in a datagram.
            let (level, ahead, change) = (
                input.pick(&[Level::OneRtt, Level::Handshake, Level::Initial]),
                input.number(),
                input.byte(),
            );
            let payload = input.string();
            if has_keys(&bout.puppet, level) {
                deliver(bout, input, said, |puppet| {
                    let next = &mut puppet.next_pn[level as usize];
                    *next += ahead as u64;
                    let pn = *next;
                    *next += 1;
                    // The length of the packet number stays: it is as long as it is.
                    let mut datagram = puppet.seal_as(level, pn, payload, |first| *first ^= change & 0xfc);
                    datagram.extend(puppet.datagram(level, payload));
                    datagram
                });
            }
        }
        6 => {
            let mut datagram = input.string().to_vec();
            if input.byte() & 1 == 0 {
                datagram.resize(1200, 0);
            }
            deliver(bout, input, said, |_| datagram);
        }
        7 => {
            // Something old, perhaps not quite.
            if let Some(mut datagram) = said.get(usize::from(input.byte()) % said.len().max(1)).cloned() {
                let (at, change) = (input.number(), input.byte());
                let len = datagram.len();
                if let Some(byte) = datagram.get_mut(at % len.max(1)) {
                    *byte ^= change;
                }
                deliver(bout, input, said, |_| datagram);
            }
        }
        8 => {
            if has_keys(&bout.puppet, Level::OneRtt) {
                bout.ack();
            }
        }
        9 => {
            let (low, len) = (input.number() as u64, u64::from(input.byte()));
            if has_keys(&bout.puppet, Level::OneRtt) {
                let ack = puppet::ack(&[low..=low + len]);
                deliver(bout, input, said, |puppet| puppet.datagram(Level::OneRtt, &ack));
            }
        }
        10 => bout.wait_ms(1 << (input.byte() % 16)),
        11 => {
            if has_keys(&bout.puppet, Level::OneRtt) {
                bout.puppet.update_keys();
            }
        }
        12 => without_keys(bout, input, said),
        16..=19 if bout.puppet.dialect.is_some() && has_keys(&bout.puppet, Level::OneRtt) => {
            say_of_paths(bout, input, said);
        }
        _ => {
            let now = bout.now;
            if let Some(handle) = bout.node.latest()
                && let Some(connection) = bout.node.endpoint.connection_mut(handle)
            {
                act(connection, now, input);
                bout.drain();
                bout.hear();
            }
        }
    }
}

/// Something of several paths that only a peer can say: over any path that it may send on, from where it was or from elsewhere.
fn say_of_paths(bout: &mut Bout, input: &mut Input<'_>, said: &mut Vec<Vec<u8>>) {
    let some = PathId(u32::from(input.byte() % 6));
    let payload = match input.byte() % 4 {
        0 => {
            let numbers = bout.puppet.heard.iter().filter(|heard| heard.path == some).map(|heard| heard.pn);
            let newest = numbers.max().unwrap_or(0);
            let dialect = bout.puppet.dialect.unwrap_or(Dialect::Draft21);
            puppet::path_ack(dialect, some, &[newest.saturating_sub(u64::from(input.byte()))..=newest])
        }
        1 => input.string().to_vec(),
        _ => (0..=input.byte() % 8).flat_map(|_| puppet::bytes(&[frame_of_paths(bout, input)])).collect(),
    };
    let over = PathId(u32::from(input.byte() % 6));
    deliver(bout, input, said, |puppet| {
        let is_known = over == PathId::ZERO || puppet.paths.contains_key(&over);
        puppet.seal_on(if is_known { over } else { PathId::ZERO }, &payload)
    });
}

/// A frame of multipath, mostly in the dialect that is spoken.
fn frame_of_paths(bout: &Bout, input: &mut Input<'_>) -> Frame<'static> {
    let kind = input.byte();
    let spoken = bout.puppet.dialect.unwrap_or(Dialect::Draft21);
    let dialect = if kind & 0x80 == 0 { spoken } else { input.pick(Dialect::ALL) };
    let (id, number) = (PathId(u32::from(input.byte() % 12)), u64::from(input.byte()));
    let path = if kind & 0x40 == 0 { id.0.into() } else { u64::MAX >> 2 };
    match kind % 8 {
        0 => Frame::PathAbandon(PathAbandon { dialect, path, code: number }),
        1 => Frame::PathStatus(PathStatus { dialect, path, seq: number / 2, backup: number & 1 == 1 }),
        2 => Frame::MaxPathId(MaxPathId { dialect, max: number }),
        3 => Frame::PathsBlocked(PathsBlocked { dialect, max: number }),
        4 if dialect.has_path_cids_blocked() => {
            Frame::PathCidsBlocked(PathCidsBlocked { dialect, path, next_seq: number })
        }
        5 => Frame::PathRetireConnectionId(PathRetireConnectionId { dialect, path, seq: number % 16 }),
        _ => bout.puppet.new_cid(id, number % 16),
    }
}

/// Sends the node a datagram; what it answers may be lost, and it may come from elsewhere.
fn deliver(
    bout: &mut Bout,
    input: &mut Input<'_>,
    said: &mut Vec<Vec<u8>>,
    make: impl FnOnce(&mut Puppet) -> Vec<u8>,
) {
    let datagram = make(&mut bout.puppet);
    let fate = input.byte();
    if fate & 0x1f == 1 {
        let remote = format!("203.0.113.{}:6666", fate >> 5).parse().unwrap();
        let on = FourTuple { local: NODE.parse().unwrap(), remote, interface: 1 };
        bout.node.handle_datagram(bout.now, on, Ecn::NotEct, &mut datagram.clone());
    } else if fate & 0x1f == 2 {
        let on = FourTuple { local: NODE.parse().unwrap(), remote: PUPPET.parse().unwrap(), interface: 1 };
        bout.node.handle_datagram(bout.now, on, Ecn::from_bits(fate >> 5), &mut datagram.clone());
    } else {
        bout.deliver(&datagram);
    }
    bout.drain();
    if fate & 0x1f == 3 {
        bout.unheard.clear();
    }
    bout.hear();
    if said.len() < 64 {
        said.push(datagram);
    }
}

/// What needs no keys: Retry, Version Negotiation, a stateless reset.
fn without_keys(bout: &mut Bout, input: &mut Input<'_>, said: &mut Vec<Vec<u8>>) {
    let mut buffer = [0; 600];
    let mut out = Writer::new(&mut buffer);
    let (dcid, scid) = (bout.puppet.dcid, bout.puppet.scid);
    let original = bout.puppet.original_dcid.unwrap_or(Cid::EMPTY);
    let kind = input.byte();
    let text = input.string();
    match kind % 3 {
        0 => {
            if retry::emit(1, dcid, scid, text, kind, &mut out).is_ok() {
                let tag = NullEndpointCrypto::new(1).retry_tag(1, original.as_slice(), out.written());
                out.bytes(&tag).unwrap();
            }
        }
        1 => {
            let random = u32::from_be_bytes([kind, input.byte(), input.byte(), input.byte()]);
            version::emit(dcid.as_slice(), original.as_slice(), random, &mut out).unwrap();
        }
        _ => {
            out.bytes(&[0x40]).unwrap();
            out.bytes(text).unwrap();
            out.bytes(&RESET).unwrap();
        }
    }
    let datagram = out.written().to_vec();
    deliver(bout, input, said, |_| datagram);
}

/// Something that the application may do.
fn act(connection: &mut NullConnection, now: Instant, input: &mut Input<'_>) {
    let kind = input.byte();
    if kind >= 128 {
        return act_on_paths(connection, now, kind, input);
    }
    let mut buffer = [0x5a; 5000];
    let id = StreamId(u64::from(input.byte() % 32));
    let local = format!("10.0.0.{}:700", input.byte() % 8).parse().unwrap();
    let some = usize::from(input.byte() % 4);
    let route = connection.routes().nth(some).map(|route| route.id);
    match kind % 26 {
        0 => drop(connection.open(Dir::Bi)),
        1 => drop(connection.open(Dir::Uni)),
        2 => drop(connection.accept(Dir::Bi)),
        3 => drop(connection.accept(Dir::Uni)),
        4 => drop(connection.write_stream(id, &buffer[..input.number() % 5000])),
        5 => drop(connection.finish(id)),
        6 => drop(connection.reset(id, u64::from(input.byte()))),
        7 => drop(connection.read_stream(id, &mut buffer[..input.number() % 5000])),
        8 => {
            let len = connection.peek_stream(id, |first, second| first.len() + second.len()).unwrap_or(0);
            connection.consume_stream(id, len.min(input.number())).ok();
        }
        9 => drop(connection.stop(id, u64::from(input.byte()))),
        10 => drop(connection.set_priority(id, input.byte())),
        11 => drop(connection.send_datagram(&buffer[..input.number() % 1500])),
        12 => drop(connection.recv_datagram(&mut buffer[..input.number() % 1500])),
        13 => connection.ping(),
        14 => connection.update_keys(),
        15 => drop(connection.add_route(now, local, 1)),
        16 => drop(connection.migrate(now, local, 1)),
        17 => drop(route.map(|route| connection.switch_route(now, route))),
        18 => drop(route.map(|route| connection.close_route(route))),
        19 => drop(
            route
                .map(|route| connection.set_preference(now, route, Preference::new(input.byte(), some == 1))),
        ),
        20 => connection.network_changed(now, NetworkChange::AddressGone(local.ip())),
        21 => connection.network_changed(now, NetworkChange::NewNetwork(local.ip())),
        22 => drop(connection.rotate_cids()),
        23 => drop(route.map(|route| connection.network_changed(now, NetworkChange::RouteGone(route)))),
        24 => drop(route.map(|route| connection.network_changed(now, NetworkChange::RouteBack(route)))),
        _ => connection.close(now, u64::from(input.byte()), "fuzz"),
    }
}

/// Something that the application may do about several paths.
fn act_on_paths(connection: &mut NullConnection, now: Instant, kind: u8, input: &mut Input<'_>) {
    let number = input.byte();
    let path = PathId(u32::from(number % 8));
    let local = format!("10.0.{}.1:700", number >> 4).parse().unwrap();
    let on = FourTuple { local, remote: connection.remote(), interface: 1 };
    let tie = match number >> 4 {
        0 => Tie::None,
        1 => Tie::Every,
        2..=7 => Tie::Prefers(path),
        _ => Tie::Needs(path),
    };
    match kind % 12 {
        0..=2 => {
            let status = input.pick(&[Availability::Unknown, Availability::Available, Availability::Backup]);
            let _ = connection.open_path(now, on, status);
        }
        3 => {
            let code = input.pick(&[
                AbandonCode::NoError,
                AbandonCode::Application,
                AbandonCode::ResourceLimit,
                AbandonCode::Unstable,
                AbandonCode::NoCid,
                AbandonCode::Other(u64::MAX >> 2),
            ]);
            let _ = connection.abandon_path(now, path, code);
        }
        4 => drop(connection.set_path_status(path, number & 0x80 != 0)),
        5 => drop(connection.set_path_weight(path, NonZeroU8::MIN.saturating_add(number))),
        6 => {
            let after = (number & 0x80 == 0).then(|| Duration::from_millis(u64::from(number) * 40));
            let _ = connection.set_path_keep_alive(path, after);
        }
        7 => drop(connection.set_path_dscp(path, number)),
        8 => drop(connection.tie_stream(StreamId(u64::from(input.byte() % 32)), tie)),
        9 => drop(connection.send_datagram_over(tie, &[0x5a; 1500][..input.number() % 1500])),
        10 => drop(connection.add_route_to(now, path, local, 1)),
        _ => connection.network_changed(now, NetworkChange::AddressBack(local.ip())),
    }
    let open = connection.paths().filter(|path| path.abandoned.is_none()).count();
    assert!(open > 0 || connection.cause().is_some(), "a connection has a path");
}
