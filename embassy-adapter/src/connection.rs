//! A connection as applications see it.

use core::future::poll_fn;
use core::task::{Context, Poll};

use peregrine_core::connection::{Connection as CoreConnection, DatagramError, Stats, Usage};
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::lifecycle::Cause;
use peregrine_core::stream::Tie;

use crate::endpoint::Endpoint;
use crate::engine::{Engine, now};
use crate::error::Error;
use crate::resources::Lendable;
use crate::stream::{RecvStream, SendStream};
use crate::tls::EndpointSession;
use crate::waiters::Wait;

/// A connection. With the last clone of it, and the last of its streams, it is closed.
pub struct Connection<S: EndpointSession + 'static>(pub(crate) Link<S>);

/// What keeps a connection: values of the application that use it.
pub(crate) struct Link<S: EndpointSession + 'static> {
    endpoint: Endpoint<S>,
    pub(crate) handle: Handle,
}

impl<S: EndpointSession + 'static> Clone for Link<S> {
    fn clone(&self) -> Self {
        self.engine(|engine, handle| engine.hold(handle));
        Self { endpoint: self.endpoint, handle: self.handle }
    }
}

impl<S: EndpointSession + 'static> Drop for Link<S> {
    fn drop(&mut self) {
        self.engine(Engine::let_go);
    }
}

impl<S: EndpointSession + 'static> Link<S> {
    /// Does something with the engine.
    pub(crate) fn engine<R>(&self, act: impl FnOnce(&mut Engine<S>, Handle) -> R) -> R {
        act(&mut self.endpoint.shared.borrow_mut(), self.handle)
    }

    /// Does something with the connection at once.
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut CoreConnection<Lendable, S>) -> R) -> Option<R> {
        self.engine(|engine, handle| engine.with(handle, act))
    }

    /// Does something with the connection at once, if it is not over.
    pub(crate) fn steer<R>(
        &self,
        steer: impl FnOnce(&mut Engine<S>, Handle) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.engine(|engine, handle| match engine.end(handle) {
            Some(end) => Err(Error::Closed(end)),
            None => steer(engine, handle),
        })
    }

    /// Tries `attempt` until it has an outcome or the connection ends: again whenever what is waited for happens.
    pub(crate) async fn wait<R>(
        &self,
        wait: Wait,
        mut attempt: impl FnMut(&mut Engine<S>, Handle) -> Option<Result<R, Error>>,
    ) -> Result<R, Error> {
        poll_fn(|cx| self.poll(cx, wait, &mut attempt)).await
    }

    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        wait: Wait,
        attempt: &mut impl FnMut(&mut Engine<S>, Handle) -> Option<Result<R, Error>>,
    ) -> Poll<Result<R, Error>> {
        self.engine(|engine, handle| {
            // What has arrived before the end may still be read.
            let reads = matches!(wait, Wait::Read(_) | Wait::Datagram | Wait::End);
            let end = engine.end(handle).map(|end| Err(Error::Closed(end)));
            let outcome = match end {
                Some(end) if !reads => Some(end),
                end => attempt(engine, handle).or(end),
            };
            if outcome.is_none() {
                engine.waiters.enlist(Some(handle), wait, cx.waker());
            }
            outcome.map_or(Poll::Pending, Poll::Ready)
        })
    }
}

impl<S: EndpointSession + 'static> Clone for Connection<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: EndpointSession + 'static> Connection<S> {
    /// The row of a connection counts one value when it is made.
    pub(crate) const fn new(endpoint: Endpoint<S>, handle: Handle) -> Self {
        Self(Link { endpoint, handle })
    }

    /// Waits until the handshake is complete and the peer is known to be who it should be.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn wait_connected(&self) -> Result<(), Error> {
        self.0
            .wait(Wait::Connected, |engine, handle| {
                engine.look(handle, CoreConnection::is_established)?.then_some(Ok(()))
            })
            .await
    }

    /// Waits until the handshake is confirmed, after which a client may move.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn wait_confirmed(&self) -> Result<(), Error> {
        self.0
            .wait(Wait::Confirmed, |engine, handle| engine.row(handle)?.is_confirmed.then_some(Ok(())))
            .await
    }

    /// Opens a stream both ways; waits until the peer and our memory allow one more.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn open_bi(&self) -> Result<(SendStream<S>, RecvStream<S>), Error> {
        Ok(self.both(self.open(Dir::Bi).await?))
    }

    /// Opens a stream to the peer; waits until the peer and our memory allow one more.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn open_uni(&self) -> Result<SendStream<S>, Error> {
        Ok(SendStream::new(self.0.clone(), self.open(Dir::Uni).await?))
    }

    async fn open(&self, dir: Dir) -> Result<StreamId, Error> {
        // Why not yet does not matter: the same event tells of either.
        self.0
            .wait(Wait::Open(dir), |engine, handle| {
                engine.with(handle, |connection| connection.open(dir))?.ok().map(Ok)
            })
            .await
    }

    /// Waits for a stream both ways that the peer opens.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn accept_bi(&self) -> Result<(SendStream<S>, RecvStream<S>), Error> {
        Ok(self.both(self.accept(Dir::Bi).await?))
    }

    /// Waits for a stream from the peer.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn accept_uni(&self) -> Result<RecvStream<S>, Error> {
        Ok(RecvStream::new(self.0.clone(), self.accept(Dir::Uni).await?))
    }

    async fn accept(&self, dir: Dir) -> Result<StreamId, Error> {
        self.0
            .wait(Wait::Accept(dir), |engine, handle| {
                engine.with(handle, |connection| connection.accept(dir))?.map(Ok)
            })
            .await
    }

    fn both(&self, id: StreamId) -> (SendStream<S>, RecvStream<S>) {
        (SendStream::new(self.0.clone(), id), RecvStream::new(self.0.clone(), id))
    }

    /// Sends bytes once (RFC 9221): they may be lost, and are never repeated. Waits for room in the queue.
    ///
    /// # Errors
    /// [`Error::NoDatagrams`], [`Error::DatagramTooLarge`] and [`Error::Closed`].
    pub async fn send_datagram(&self, bytes: &[u8]) -> Result<(), Error> {
        self.queue_datagram(Tie::None, bytes).await
    }

    pub(crate) async fn queue_datagram(&self, tie: Tie, bytes: &[u8]) -> Result<(), Error> {
        self.0
            .wait(Wait::DatagramRoom, |engine, handle| {
                match engine.with(handle, |connection| connection.send_datagram_over(tie, bytes))? {
                    Ok(()) => Some(Ok(())),
                    Err(DatagramError::Full) => None,
                    Err(DatagramError::TooLarge) => Some(Err(Error::DatagramTooLarge)),
                    Err(DatagramError::Unsupported) => Some(Err(Error::NoDatagrams)),
                }
            })
            .await
    }

    /// Waits for bytes that the peer sent with its `send_datagram`; returns how many there were, which is more than
    /// `out` holds if they were cut off.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn recv_datagram(&self, out: &mut [u8]) -> Result<usize, Error> {
        self.0
            .wait(Wait::Datagram, |engine, handle| {
                engine.with(handle, |connection| connection.recv_datagram(out))?.map(Ok)
            })
            .await
    }

    /// The most bytes that [`Self::send_datagram`] takes now; `None` if the peer takes none.
    pub fn max_datagram_len(&self) -> Option<usize> {
        self.0.act(CoreConnection::max_datagram_len).flatten()
    }

    /// Ends the connection with a code and words for the peer. Only the first close counts.
    pub fn close(&self, code: u64, words: &str) {
        self.0.act(|connection| connection.close(now(), code, words));
    }

    /// Waits for the end of the connection, and tells how it came.
    pub async fn closed(&self) -> Cause {
        let cause = self.0.wait(Wait::End, |engine, handle| {
            // One that is not there any more was given up without a word.
            engine.look(handle, CoreConnection::cause).unwrap_or(Some(Cause::Idle)).map(Ok)
        });
        cause.await.unwrap_or(Cause::Idle)
    }

    /// Why the connection ended, if it did: with the words that [`End`](crate::End) has not.
    pub fn cause(&self) -> Option<Cause> {
        self.0.engine(|engine, handle| engine.look(handle, CoreConnection::cause).flatten())
    }

    /// Looks at the session: which protocol was agreed on, who the peer is, keying material.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn session<R>(&self, look: impl FnOnce(&S) -> R) -> Result<R, Error> {
        self.0.steer(|engine, handle| {
            let looked = engine.look(handle, |connection| look(connection.session()));
            looked.ok_or(Error::StreamClosed)
        })
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.0.engine(|engine, handle| engine.look(handle, CoreConnection::stats).unwrap_or_default())
    }

    /// How many rows of its [`Storage`](crate::Storage) the connection uses now: to choose the sizes by. Looks at most of them.
    pub fn usage(&self) -> Usage {
        self.0.act(CoreConnection::usage).unwrap_or_default()
    }

    /// Asks the peer for an acknowledgment.
    pub fn ping(&self) {
        self.0.act(CoreConnection::ping);
    }

    /// Moves to new keys as soon as that is allowed (RFC 9001 6).
    pub fn update_keys(&self) {
        self.0.act(CoreConnection::update_keys);
    }
}
