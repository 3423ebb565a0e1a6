//! A client and a server with one link between them: the stage of most scenarios.

use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::lifecycle::Cause;
use peregrine_core::stream::Read;
use peregrine_core::time::Instant;

use crate::quic::{App, NullConnection, QuicNode, Setup, pattern};
use crate::sim::{Ending, HostId, Interface, Link, World};

/// Where the client is.
pub const CLIENT: &str = "10.0.0.2";
/// Where the server is, with its port.
pub const SERVER: &str = "192.0.2.9:4433";

/// Two nodes without an application, and at most one connection between them that the scenario speaks of.
pub struct Pair {
    /// The world they live in.
    pub world: World<QuicNode>,
    /// The client's host.
    pub client: HostId,
    /// The server's host.
    pub server: HostId,
}

impl Pair {
    /// A pair over this link, the same both ways. `tune` changes what the client and the server are made of.
    pub fn new(link: Link, tune: impl FnOnce(&mut Setup, &mut Setup)) -> Self {
        Self::seeded(1, [link.clone(), link], tune)
    }

    /// A pair over these links, up and down from the client.
    pub fn seeded(seed: u64, [up, down]: [Link; 2], tune: impl FnOnce(&mut Setup, &mut Setup)) -> Self {
        Self::on(seed, Interface::at(CLIENT).up(up).down(down), tune)
    }

    /// A pair whose client has this interface.
    pub fn on(seed: u64, interface: Interface, tune: impl FnOnce(&mut Setup, &mut Setup)) -> Self {
        Self::roaming(seed, [interface], tune)
    }

    /// A pair whose client has these interfaces; the connection begins on the first.
    pub fn roaming(
        seed: u64,
        interfaces: impl IntoIterator<Item = Interface>,
        tune: impl FnOnce(&mut Setup, &mut Setup),
    ) -> Self {
        let (mut client, mut server) = (Setup::client(seed), Setup::server(seed + 1_000_000));
        (client.app, server.app) = (App::None, App::None);
        tune(&mut client, &mut server);
        let mut world = World::new(seed);
        let client = world.host(QuicNode::new(client), interfaces);
        let address = server_address().ip().to_string();
        let server = world.host(QuicNode::new(server), [Interface::at(&address)]);
        Self { world, client, server }
    }

    /// Connects and waits until both sides have confirmed the handshake.
    pub fn connected(mut self) -> Self {
        self.connect(&[]);
        self.until("the handshake is confirmed", |pair| {
            pair.told_client(Event::Confirmed) && pair.told_server(Event::Confirmed)
        });
        self
    }

    /// Begins to connect.
    pub fn connect(&mut self, token: &[u8]) -> Handle {
        self.world.with(self.client, |node, now| node.connect(now, server_address(), token))
    }

    /// Lets the client download; for nodes that run [`App::Files`].
    pub fn download(&mut self, bytes: u64, streams: usize) -> Handle {
        self.world.with(self.client, |node, now| node.download(now, server_address(), bytes, streams))
    }

    /// Does something to the client's connection: the one it spoke of last.
    pub fn client<R>(&mut self, act: impl FnOnce(&mut NullConnection, Instant) -> R) -> R {
        act_on(&mut self.world, self.client, act)
    }

    /// Does something to the server's connection: the one it spoke of last.
    pub fn server<R>(&mut self, act: impl FnOnce(&mut NullConnection, Instant) -> R) -> R {
        act_on(&mut self.world, self.server, act)
    }

    /// The client's node.
    pub fn client_node(&self) -> &QuicNode {
        self.world.node(self.client)
    }

    /// The server's node.
    pub fn server_node(&self) -> &QuicNode {
        self.world.node(self.server)
    }

    /// Whether the client's application was told this.
    pub fn told_client(&self, event: Event) -> bool {
        self.client_node().events.iter().any(|(_, _, told)| *told == event)
    }

    /// Whether the server's application was told this.
    pub fn told_server(&self, event: Event) -> bool {
        self.server_node().events.iter().any(|(_, _, told)| *told == event)
    }

    /// Why the client's connection ended, if it did.
    pub fn client_cause(&self) -> Option<Cause> {
        cause(self.client_node())
    }

    /// Why the server's connection ended, if it did.
    pub fn server_cause(&self) -> Option<Cause> {
        cause(self.server_node())
    }

    /// Lets so many milliseconds pass.
    pub fn run_ms(&mut self, millis: u64) {
        self.world.run_for(Duration::from_millis(millis));
    }

    /// Lets the world go on until `done`, which must come within five minutes of its time.
    ///
    /// # Panics
    /// If it does not come: with `what` and what both sides were told.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let limit = self.world.now().after(Duration::from_secs(300));
        while !done(self) {
            // One moment at a time, so that `done` may look at all of the pair.
            let before = self.world.now();
            let ending = self.world.run_until(limit, {
                let mut first = true;
                move |_| !std::mem::take(&mut first)
            });
            assert_eq!(
                ending,
                Ending::Done,
                "never at {} us: {what}\nclient: {:?}\nserver: {:?}",
                before.as_micros(),
                last_of(&self.client_node().events),
                last_of(&self.server_node().events),
            );
        }
    }

    /// Sends bytes of the pattern and the end of the stream, as room comes, and reads them on the other side, until all
    /// arrived. `from_client`: who sends. The stream exists on the sender's side.
    ///
    /// # Panics
    /// If the stream does not carry the pattern to its end.
    pub fn carry(&mut self, from_client: bool, id: StreamId, len: u64) {
        let (mut sent, mut received, mut finished, mut over) = (0, 0, false, false);
        let limit = self.world.now().after(Duration::from_secs(300));
        let (from, to) = if from_client { (self.client, self.server) } else { (self.server, self.client) };
        while !over {
            act_on(&mut self.world, from, |connection, _| {
                write_pattern(connection, id, &mut sent, len);
                if sent == len && !finished {
                    connection.finish(id).expect("a stream that can be finished");
                    finished = true;
                }
            });
            // The stream may not have been seen on the other side yet.
            act_if_there(&mut self.world, to, |connection, _| {
                over |= read_pattern(connection, id, &mut received);
            });
            let mut steps = 0;
            let ending = self.world.run_until(limit, |_| {
                steps += 1;
                steps > 1
            });
            assert!(over || ending == Ending::Done, "{id:?}: {sent} of {len} sent, {received} received");
        }
        assert_eq!(received, len, "{id:?}");
    }
}

/// The last few: what came before is seldom of interest.
fn last_of<T>(told: &[T]) -> &[T] {
    &told[told.len().saturating_sub(12)..]
}

/// Writes what there is room for of the pattern's first `len` bytes.
pub fn write_pattern(connection: &mut NullConnection, id: StreamId, sent: &mut u64, len: u64) {
    while *sent < len {
        let bytes: Vec<u8> = (*sent..len.min(*sent + 4096)).map(pattern).collect();
        let taken = connection.write_stream(id, &bytes).expect("a stream that can be written to");
        *sent += taken as u64;
        if taken < bytes.len() {
            return;
        }
    }
}

/// Reads what is there, compares it with the pattern, and tells whether the end came.
pub fn read_pattern(connection: &mut NullConnection, id: StreamId, received: &mut u64) -> bool {
    let mut buffer = [0; 2048];
    loop {
        match connection.read_stream(id, &mut buffer) {
            Ok(Read::Bytes(len)) => {
                for byte in &buffer[..len] {
                    assert_eq!(*byte, pattern(*received), "{id:?} at {received}");
                    *received += 1;
                }
            }
            Ok(Read::Finished) => return true,
            Ok(Read::Blocked) | Err(_) => return false,
            Ok(Read::Reset(code)) => panic!("{id:?} was reset with {code}"),
        }
    }
}

/// Opens a stream that the peer must allow.
pub fn open(connection: &mut NullConnection, dir: Dir) -> StreamId {
    connection.open(dir).expect("a stream that the peer allows")
}

/// The server's address.
pub fn server_address() -> SocketAddr {
    SERVER.parse().expect("an address")
}

fn cause(node: &QuicNode) -> Option<Cause> {
    node.find(|event| if let Event::Closed(cause) = event { Some(*cause) } else { None })
}

fn act_on<R>(
    world: &mut World<QuicNode>,
    host: HostId,
    act: impl FnOnce(&mut NullConnection, Instant) -> R,
) -> R {
    act_if_there(world, host, act).expect("a connection")
}

fn act_if_there<R>(
    world: &mut World<QuicNode>,
    host: HostId,
    act: impl FnOnce(&mut NullConnection, Instant) -> R,
) -> Option<R> {
    world.with(host, |node, now| {
        let handle = node.latest()?;
        node.endpoint.connection_mut(handle).map(|connection| act(connection, now))
    })
}
