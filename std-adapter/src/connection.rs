//! A connection, for blocking use from several threads.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peregrine_core::connection::{DatagramError, RouteView, Stats};
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::session::Session;
use peregrine_core::stream::Tie;

use crate::engine::Engine;
use crate::error::{Closed, Error};
use crate::session::Agreed;
use crate::shared::{Facts, Shared, State, Wait};
use crate::storage::HeapConnection;
use crate::stream::{RecvStream, SendStream};

mod moving;
mod paths;

/// A connection. Cheap to clone; all clones are the same connection.
///
/// When the last of its clones and of its streams is dropped, it is closed with the application's code 0: what was sent and is not
/// [delivered](SendStream::delivered) by then is lost. What has arrived before the end may be read after it, for as long as a clone
/// or a stream is held.
#[derive(Clone)]
pub struct Connection(Arc<Link>);

/// What keeps a connection open.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) handle: Handle,
    pub(crate) facts: Arc<Facts>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("handle", &self.0.handle).finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.give_up(self.handle);
        state.flush_here();
    }
}

impl Link {
    /// Why nothing can be done any more.
    pub(crate) fn error(&self) -> Error {
        self.facts.ended.get().map_or(Error::Shutdown, |closed| Error::Closed(closed.clone()))
    }

    /// Whether the end has come, once there is nothing left to wait for.
    pub(crate) fn ended<R>(&self) -> Option<Result<R, Error>> {
        self.facts.ended.get().map(|_| Err(self.error()))
    }

    /// Blocks until `attempt` on the connection has an outcome, or the connection ends.
    pub(crate) fn block<R>(
        &self,
        wait: Wait,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&mut HeapConnection) -> Option<Result<R, Error>>,
    ) -> Result<R, Error> {
        // What has arrived before the end may still be read.
        let reads = matches!(wait, Wait::Read(_) | Wait::Datagram | Wait::Accept(_));
        self.shared.block(self.handle, wait, timeout, |state: &mut State| {
            match state.connection(self.handle) {
                Some(connection) if reads => attempt(connection).or_else(|| self.ended()),
                Some(connection) => self.ended().or_else(|| attempt(connection)),
                None => Some(Err(self.error())),
            }
        })
    }

    /// Does something with the engine at once, and sends what comes of it.
    fn steer<R>(&self, steer: impl FnOnce(&mut Engine, Handle) -> Result<R, Error>) -> Result<R, Error> {
        if self.facts.ended.get().is_some() {
            return Err(self.error());
        }
        let mut state = self.shared.lock();
        let outcome = steer(&mut state.engine, self.handle);
        state.flush_here();
        outcome
    }

    /// Does something with the connection at once, and sends what comes of it.
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut HeapConnection) -> R) -> Result<R, Error> {
        let mut state = self.shared.lock();
        let outcome = state.engine.connection(self.handle).map(|(connection, _)| act(connection));
        state.flush_here();
        outcome.ok_or_else(|| self.error())
    }

    /// Looks at the connection, be it that it is over.
    fn look<R>(&self, look: impl FnOnce(&mut HeapConnection) -> R) -> Result<R, Error> {
        self.shared.lock().connection(self.handle).map(look).ok_or_else(|| self.error())
    }
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, handle: Handle, facts: Arc<Facts>) -> Self {
        Self(Arc::new(Link { shared, handle, facts }))
    }

    pub(crate) fn wait_connected(&self) -> Result<(), Error> {
        let facts = &self.0.facts;
        self.0.block(Wait::Connected, None, |_| facts.agreed.get().map(|_| Ok(())))
    }

    /// What names the connection in what an observer is told.
    pub fn handle(&self) -> Handle {
        self.0.handle
    }

    /// What the handshake has agreed on.
    pub fn agreed(&self) -> &Agreed {
        const NOTHING: &Agreed =
            &Agreed { suite: None, group: None, alpn: None, server_name: None, peer_key: None, psk: None };
        self.0.facts.agreed.get().unwrap_or(NOTHING)
    }

    /// Opens a stream both ways; waits until the peer allows one more.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn open_bi(&self) -> Result<(SendStream, RecvStream), Error> {
        let id = self.open(Dir::Bi)?;
        Ok((SendStream::new(Arc::clone(&self.0), id), RecvStream::new(Arc::clone(&self.0), id)))
    }

    /// Opens a stream to the peer; waits until the peer allows one more.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn open_uni(&self) -> Result<SendStream, Error> {
        Ok(SendStream::new(Arc::clone(&self.0), self.open(Dir::Uni)?))
    }

    fn open(&self, dir: Dir) -> Result<StreamId, Error> {
        // Why not yet does not matter: the same event tells of either.
        self.0.block(Wait::Open(dir), None, |connection| connection.open(dir).ok().map(Ok))
    }

    /// Waits for a stream both ways that the peer opens.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn accept_bi(&self) -> Result<(SendStream, RecvStream), Error> {
        let id = self.accept(Dir::Bi)?;
        Ok((SendStream::new(Arc::clone(&self.0), id), RecvStream::new(Arc::clone(&self.0), id)))
    }

    /// Waits for a stream from the peer.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn accept_uni(&self) -> Result<RecvStream, Error> {
        Ok(RecvStream::new(Arc::clone(&self.0), self.accept(Dir::Uni)?))
    }

    fn accept(&self, dir: Dir) -> Result<StreamId, Error> {
        self.0.block(Wait::Accept(dir), None, |connection| connection.accept(dir).map(Ok))
    }

    /// Sends bytes once (RFC 9221): they may be lost, and are never repeated. Waits for room in the queue. What comes while the
    /// peer's queue is full is dropped there.
    ///
    /// # Errors
    /// [`Error::NoDatagrams`], [`Error::DatagramTooLarge`] and [`Error::Closed`].
    pub fn send_datagram(&self, bytes: &[u8]) -> Result<(), Error> {
        self.send_datagram_over(Tie::None, bytes)
    }

    /// As [`Self::send_datagram`], over one of several paths. Datagrams leave in their order: one that waits for its path holds
    /// back those behind it.
    ///
    /// # Errors
    /// As for [`Self::send_datagram`].
    pub fn send_datagram_over(&self, tie: Tie, bytes: &[u8]) -> Result<(), Error> {
        self.0.block(Wait::DatagramRoom, None, |connection| match connection.send_datagram_over(tie, bytes) {
            Ok(()) => Some(Ok(())),
            Err(DatagramError::Full) => None,
            Err(DatagramError::TooLarge) => Some(Err(Error::DatagramTooLarge)),
            Err(DatagramError::Unsupported) => Some(Err(Error::NoDatagrams)),
        })
    }

    /// The most bytes that [`Self::send_datagram`] takes now; `None` if the peer takes none.
    pub fn max_datagram_len(&self) -> Option<usize> {
        self.0.act(HeapConnection::max_datagram_len).ok().flatten()
    }

    /// Waits for bytes that the peer sent with its `send_datagram`; returns how many there were, which is more than
    /// `out` holds if they were cut off.
    ///
    /// # Errors
    /// [`Error::TimedOut`] and [`Error::Closed`].
    pub fn recv_datagram(&self, out: &mut [u8], timeout: Option<Duration>) -> Result<usize, Error> {
        self.0.block(Wait::Datagram, timeout, |connection| connection.recv_datagram(out).map(Ok))
    }

    /// Ends the connection with a code, up to 2^62 - 1, and words for the peer. Only the first close counts. What was not
    /// [delivered](SendStream::delivered) by then is lost.
    pub fn close(&self, code: u64, words: &str) {
        let mut state = self.0.shared.lock();
        state.close(self.0.handle, code, words);
        state.flush_here();
    }

    /// Waits for the end of the connection.
    pub fn closed(&self) -> Closed {
        let ended = || self.0.facts.ended.get().cloned();
        let waited = self.0.block(Wait::End, None, |_| ended().map(Ok));
        waited
            .ok()
            .or_else(ended)
            .unwrap_or(Closed { cause: peregrine_core::lifecycle::Cause::Idle, send_error: None })
    }

    /// Why the connection ended, if it did.
    pub fn close_reason(&self) -> Option<Closed> {
        self.0.facts.ended.get().cloned()
    }

    /// The counters.
    ///
    /// # Errors
    /// [`Error::Closed`], some time after the end.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.0.look(|connection| connection.stats())
    }

    /// What is known of the route in use.
    ///
    /// # Errors
    /// [`Error::Closed`], some time after the end.
    pub fn route(&self) -> Result<RouteView, Error> {
        self.0.look(HeapConnection::route)?.ok_or_else(|| self.0.error())
    }

    /// The peer's address.
    ///
    /// # Errors
    /// [`Error::Closed`], some time after the end.
    pub fn remote(&self) -> Result<SocketAddr, Error> {
        self.0.look(HeapConnection::remote)
    }

    /// Asks the peer for an acknowledgment.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn ping(&self) -> Result<(), Error> {
        self.0.act(HeapConnection::ping)
    }

    /// Moves to new keys as soon as that is allowed (RFC 9001 6).
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn update_keys(&self) -> Result<(), Error> {
        self.0.act(HeapConnection::update_keys)
    }

    /// Gives the peer new connection IDs to send to in place of all it has. Returns whether that is possible now: a rotation has
    /// to wait until the peer has carried out the one before.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn rotate_cids(&self) -> Result<bool, Error> {
        self.0.act(|connection| connection.rotate_cids().is_ok())
    }

    /// Fills `out` with keying material that only the two ends of this connection know (RFC 9846 7.5).
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn export_keys(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let exported = self.0.look(|connection| connection.session().export(label, context, out))?;
        exported.map_err(|_| self.0.error())
    }
}
