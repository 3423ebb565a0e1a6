//! Several paths at once (draft-ietf-quic-multipath): how they begin, what they carry, and how they end.
//!
//! Here is the stage: a phone on Wi-Fi and cellular, and a server. Draft 21 is spoken where nothing else is said.

mod bad_frames;
mod coupling;
mod ends;
mod failover;
mod life;
mod marks;
mod pauses;
mod pitfalls;
mod schedulers;
mod status;
mod ties;

use std::net::SocketAddr;

use peregrine_core::connection::{Event, MultipathConfig, PathError, PathEvent, PathView};
use peregrine_core::ids::{Dir, FourTuple, PathId, StreamId};
use peregrine_core::path::Availability;
use peregrine_core::stream::{Closed, Read};
use peregrine_core::wire::Dialect;
use peregrine_tests::pair::{Pair, open, server_address};
use peregrine_tests::quic::{NullConnection, QuicNode, Setup};
use peregrine_tests::sim::{Interface, Link};

pub(super) const WIFI: &str = "10.0.0.2";
pub(super) const CELLULAR: &str = "10.0.1.2";
const MIB: u64 = 1 << 20;
const FIRST: PathId = PathId::ZERO;
pub(super) const SECOND: PathId = PathId(1);
const THIRD: PathId = PathId(2);

/// Both sides want multipath, and have memory for what both links hold.
fn both(client: &mut Setup, server: &mut Setup) {
    for setup in [client, server] {
        let sizes = &mut setup.sizes;
        (sizes.paths, sizes.tx, sizes.rx, sizes.sent) = (4, 1 << 20, 9 << 17, 2048);
        setup.endpoint.connection.multipath = MultipathConfig::speaking(Dialect::ALL);
    }
}

/// What a side has chosen of multipath, to be changed.
fn chosen(setup: &mut Setup) -> &mut MultipathConfig {
    setup.endpoint.connection.multipath.as_mut().expect("multipath")
}

fn wifi_link() -> Link {
    Link::mbit(20).delay_ms(10)
}

fn cellular_link() -> Link {
    Link::mbit(10).delay_ms(20)
}

/// The same with queues of about a bandwidth-delay product: round-trip times do not grow much with what is sent.
fn shallow_wifi() -> Link {
    wifi_link().queue(50_000)
}

fn shallow_cellular() -> Link {
    cellular_link().queue(50_000)
}

/// A phone on these two links.
pub(super) fn phone_on(
    wifi: Interface,
    cellular: Interface,
    tune: impl FnOnce(&mut Setup, &mut Setup),
) -> Pair {
    let tune = |client: &mut Setup, server: &mut Setup| {
        both(client, server);
        tune(client, server);
    };
    let mut pair = Pair::roaming(1, [wifi, cellular], tune).connected();
    pair.run_ms(200);
    pair
}

/// A phone that speaks multipath: Wi-Fi and cellular, one path so far.
pub(super) fn phone(tune: impl FnOnce(&mut Setup, &mut Setup)) -> Pair {
    let (wifi, cellular) = (Interface::at(WIFI), Interface::at(CELLULAR));
    phone_on(wifi.link(wifi_link()), cellular.link(cellular_link()), tune)
}

fn cellular() -> FourTuple {
    let local: SocketAddr = format!("{CELLULAR}:5000").parse().unwrap();
    FourTuple { local, remote: server_address(), interface: 2 }
}

/// Opens another path over cellular.
fn open_path(pair: &mut Pair) -> Result<PathId, PathError> {
    pair.client(|connection, now| connection.open_path(now, cellular(), Availability::Available))
}

/// Waits until both sides know that a path works.
fn until_validated(pair: &mut Pair, path: PathId) {
    pair.until("the path is validated", |pair| {
        told(pair.client_node(), path).contains(&PathEvent::Validated)
            && told(pair.server_node(), path).contains(&PathEvent::Validated)
    });
}

/// The second path is opened and validated.
fn open_second(pair: &mut Pair) {
    assert_eq!(open_path(pair), Ok(SECOND));
    until_validated(pair, SECOND);
}

/// As [`phone`], on both paths.
fn bonded(tune: impl FnOnce(&mut Setup, &mut Setup)) -> Pair {
    let mut pair = phone(tune);
    open_second(&mut pair);
    pair
}

/// As [`bonded`], over links with shallow queues.
fn shallow(tune: impl FnOnce(&mut Setup, &mut Setup)) -> Pair {
    let wifi = Interface::at(WIFI).link(shallow_wifi());
    let mut pair = phone_on(wifi, Interface::at(CELLULAR).link(shallow_cellular()), tune);
    open_second(&mut pair);
    pair
}

/// What a side was told of a path.
pub(super) fn told(node: &QuicNode, path: PathId) -> Vec<PathEvent> {
    let of = |event: &Event| match event {
        Event::Path(id, what) if *id == path => Some(*what),
        _ => None,
    };
    node.events.iter().filter_map(|(_, _, event)| of(event)).collect()
}

/// Whether a side was told this of a path.
fn was_told(node: &QuicNode, path: PathId, what: PathEvent) -> bool {
    told(node, path).contains(&what)
}

pub(super) fn stream(pair: &mut Pair) -> StreamId {
    pair.client(|connection, _| open(connection, Dir::Bi))
}

/// A stream that the server may write to.
fn stream_down(pair: &mut Pair) -> StreamId {
    let id = stream(pair);
    pair.client(|connection, _| connection.write_stream(id, b"x").unwrap());
    let known = |pair: &mut Pair| pair.server(|connection, _| connection.write_stream(id, &[]).is_ok());
    while !known(pair) {
        pair.run_ms(1);
    }
    id
}

/// Carries so much, up or down, over a stream of its own; how many milliseconds that takes.
fn carry(pair: &mut Pair, up: bool, bytes: u64) -> u64 {
    let id = if up { stream(pair) } else { stream_down(pair) };
    let before = pair.world.now();
    pair.carry(up, id, bytes);
    let took = pair.world.now().since(before).as_millis();
    // The other half of the stream ends too, so that its row is free again.
    on(pair, !up, |connection| connection.finish(id).unwrap());
    while !on(pair, up, |connection| is_over(connection.read_stream(id, &mut [0; 8]))) {
        pair.run_ms(1);
    }
    took
}

fn is_over(read: Result<Read, Closed>) -> bool {
    matches!(read, Ok(Read::Finished) | Err(_))
}

/// Does something to the connection of one side.
fn on<R>(pair: &mut Pair, client: bool, act: impl FnOnce(&mut NullConnection) -> R) -> R {
    if client {
        pair.client(|connection, _| act(connection))
    } else {
        pair.server(|connection, _| act(connection))
    }
}

/// A path as one side knows it.
fn view(pair: &mut Pair, client: bool, path: PathId) -> PathView {
    on(pair, client, |connection| connection.path(path)).expect("a path")
}

/// Bytes that each side sent on the routes of its paths.
fn sent_by(pair: &mut Pair, client: bool) -> Vec<(PathId, u64)> {
    let sent = |view: PathView| Some((view.id, view.route?.stats.sent_bytes));
    on(pair, client, |connection| connection.paths().filter_map(sent).collect())
}

/// Neither side has ended, and nobody was sent a stateless reset.
fn assert_well(pair: &Pair) {
    assert_eq!((pair.client_cause(), pair.server_cause()), (None, None));
    assert_eq!((pair.client_node().replied, pair.server_node().replied), (0, 0));
}

#[test]
fn both_paths_carry_an_upload_and_its_bytes_are_right() {
    let mut pair = bonded(|_, _| {});
    let took = carry(&mut pair, true, 4 * MIB);
    let sent = sent_by(&mut pair, true);
    assert!(sent.iter().all(|(_, bytes)| *bytes > MIB), "{sent:?}");
    // 20 and 10 Mbit/s carry 4 MiB in 1.12 s; 20 alone in 1.68.
    assert!(took < 1500, "{took}");
}

#[test]
fn both_paths_carry_a_download_and_its_bytes_are_right() {
    let mut pair = bonded(|_, _| {});
    let took = carry(&mut pair, false, 4 * MIB);
    let sent = sent_by(&mut pair, false);
    assert!(sent.iter().all(|(_, bytes)| *bytes > MIB), "{sent:?}");
    assert!(took < 1500, "{took}");
}
