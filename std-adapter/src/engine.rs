//! Core's endpoint over sockets, without any waiting: datagrams in, datagrams out, clients let in. Who calls it, and
//! when, is the business of the driver or of an own loop.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use peregrine_core::connection::{Event, Transmit};
use peregrine_core::endpoint::{self, Connect, ConnectError, EndpointConfig, EndpointStats, Handle, Handled};
use peregrine_core::ids::{Ecn, FourTuple};
use peregrine_core::time::{Deadline, Instant};
use peregrine_crypto::endpoint::EndpointKeys;

use crate::builder::{Bound, ServerFactory};
use crate::clock::Clock;
use crate::error::Error;
use crate::provider::HostProvider;
use crate::session::AnySession;
use crate::socket::{Inbox, Sent, Socket};
use crate::storage::{HeapConnection, HeapSlots, HeapStorage, Sizes};

/// The most bytes of one batch.
const OUT_BYTES: usize = 65_507;
/// Tokens that are kept.
const TOKENS: usize = 64;
/// Batches that are sent before anything is received again.
const BATCHES: usize = 16;

/// How far [`Engine::transmit`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// Everything is said.
    Done,
    /// There is more to say.
    More,
    /// This socket has no room now.
    Blocked(usize),
}

/// Core's endpoint, its sockets and its clock.
pub(crate) struct Engine {
    clock: Clock,
    core: endpoint::Endpoint<HeapSlots, EndpointKeys<HostProvider>>,
    sockets: Vec<Bound>,
    out: Box<[u8]>,
    unsent: Option<Unsent>,
    server: Option<ServerFactory>,
    sizes: Sizes,
    /// What servers gave for a later connection, the oldest first. Each is used once: twice the same would let others
    /// link the two (RFC 9000 8.1.3).
    tokens: VecDeque<(SocketAddr, Vec<u8>)>,
    send_error: Option<(SocketAddr, io::Error)>,
}

/// What a socket had no room for. Its bytes stay in `out`.
struct Unsent {
    transmit: Transmit,
    bytes: Range<usize>,
}

impl Engine {
    pub(crate) fn new(
        config: EndpointConfig,
        slots: usize,
        sizes: Sizes,
        keys: EndpointKeys<HostProvider>,
        sockets: Vec<Bound>,
        server: Option<ServerFactory>,
    ) -> Self {
        Self {
            clock: Clock::start(),
            core: endpoint::Endpoint::new(config, HeapSlots::new(slots), keys),
            sockets,
            out: vec![0; OUT_BYTES].into_boxed_slice(),
            unsent: None,
            server,
            sizes,
            tokens: VecDeque::new(),
            send_error: None,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Arc<Socket>> {
        self.sockets.iter().map(|bound| &bound.socket)
    }

    /// Begins a connection.
    pub(crate) fn connect(&mut self, remote: SocketAddr, session: AnySession) -> Result<Handle, Error> {
        let found =
            self.sockets.iter().position(|bound| bound.reaches(remote)).ok_or(Error::Family(remote))?;
        let mut local = self.sockets[found].socket.local_addr();
        if remote.is_ipv4() && local.is_ipv6() {
            local.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        }
        let on = FourTuple { local, remote, interface: found as u32 };
        let memory = HeapStorage::new(&self.sizes);
        let now = self.clock.now();
        let kept = self.tokens.iter().rposition(|(server, _)| *server == remote);
        let (_, token) = kept.and_then(|place| self.tokens.remove(place)).unwrap_or((remote, Vec::new()));
        self.core.connect(now, Connect { on, token: &token }, memory, session).map_err(|error| match error {
            ConnectError::Full => Error::Full,
            ConnectError::SameRemote => {
                Error::Role("without connection IDs there can be one connection to an address")
            }
            ConnectError::Start(error) => error.into(),
        })
    }

    fn keep_token(&mut self, handle: Handle) {
        let Some(connection) = self.core.connection_mut(handle) else { return };
        let server = connection.remote();
        let Some(token) = connection.token().map(<[u8]>::to_vec) else { return };
        if self.tokens.len() == TOKENS {
            self.tokens.pop_front();
        }
        self.tokens.push_back((server, token));
    }

    /// Turns all clients away from now on.
    pub(crate) fn refuse_clients(&mut self) {
        self.server = None;
    }

    /// Takes what the socket `key` has received.
    pub(crate) fn handle(&mut self, key: usize, inbox: &mut Inbox) {
        let now = self.clock.now();
        for datagram in inbox.datagrams() {
            let on = FourTuple { interface: key as u32, ..datagram.route };
            let reply = match self.core.handle_datagram(now, on, datagram.ecn, datagram.bytes) {
                Handled::Connection(_) | Handled::Ignored(_) => continue,
                Handled::Reply(len) => len,
                Handled::Incoming(incoming) => match self.server.as_mut().map(|new| new(&incoming)) {
                    Some(Ok(session)) => {
                        let memory = HeapStorage::new(&self.sizes);
                        // What fails here is the client's fault, and has left nothing behind.
                        let _ = self.core.accept(now, incoming, datagram.bytes, memory, session);
                        continue;
                    }
                    _ => self.core.refuse(incoming, datagram.bytes),
                },
            };
            if let (Some(bound), Some(bytes)) = (self.sockets.get(key), datagram.bytes.get(..reply)) {
                // A lost answer is as good as a lost question.
                let _ = bound.socket.send(&on, Ecn::NotEct, bytes.len(), bytes);
            }
        }
    }

    /// Sends what there is to say, up to a bound.
    pub(crate) fn transmit(&mut self) -> Flow {
        if let Some(unsent) = self.unsent.take()
            && let Some(blocked) = self.send(&unsent.transmit, unsent.bytes)
        {
            return blocked;
        }
        for _ in 0..BATCHES {
            let now = self.clock.now();
            let Some((_, transmit)) = self.core.poll_transmit(now, &mut self.out) else { return Flow::Done };
            if let Some(blocked) = self.send(&transmit, 0..transmit.len) {
                return blocked;
            }
        }
        Flow::More
    }

    fn send(&mut self, transmit: &Transmit, bytes: Range<usize>) -> Option<Flow> {
        let Transmit { local, remote, interface, .. } = *transmit;
        let key = interface as usize;
        let socket = &self.sockets.get(key)?.socket;
        let part = self.out.get(bytes.clone()).unwrap_or_default();
        let segment = transmit.segment_size.unwrap_or(part.len());
        match socket.send(&FourTuple { local, remote, interface }, transmit.ecn, segment, part) {
            Sent::All => None,
            Sent::Blocked { done } => {
                self.unsent = Some(Unsent { transmit: *transmit, bytes: bytes.start + done..bytes.end });
                Some(Flow::Blocked(key))
            }
            Sent::Lost(error) => {
                self.send_error = Some((remote, error));
                None
            }
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self) {
        let now = self.clock.now();
        self.core.handle_timeout(now);
    }

    /// When to call [`Self::handle_timeout`]; right after [`Self::transmit`] was [`Flow::Done`].
    pub(crate) fn next_timeout(&mut self) -> Deadline {
        self.core.next_timeout()
    }

    pub(crate) fn poll_event(&mut self) -> Option<(Handle, Event)> {
        let news = self.core.poll_event();
        if let Some((handle, Event::Token)) = news {
            self.keep_token(handle);
        }
        news
    }

    /// A connection to look at or to do something with, and the time.
    pub(crate) fn connection(&mut self, handle: Handle) -> Option<(&mut HeapConnection, Instant)> {
        let now = self.clock.now();
        self.core.connection_mut(handle).map(|connection| (connection, now))
    }

    /// Gives back the memory of a connection that is over.
    pub(crate) fn release(&mut self, handle: Handle) {
        drop(self.core.take(handle));
    }

    /// The last error on sending to that address.
    pub(crate) fn send_error(&self, remote: SocketAddr) -> Option<&io::Error> {
        self.send_error.as_ref().filter(|(to, _)| *to == remote).map(|(_, error)| error)
    }

    pub(crate) fn stats(&self) -> EndpointStats {
        self.core.stats()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.core.is_empty()
    }
}
