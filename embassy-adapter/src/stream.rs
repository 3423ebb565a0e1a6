//! Streams that implement `Read` and `Write` of embedded-io-async. Each half may live in a task of its own.

use embedded_io_async::{ErrorType, Read as AsyncRead, Write as AsyncWrite};
use peregrine_core::ids::StreamId;
use peregrine_core::stream::{Read, WriteError};

use crate::connection::Link;
use crate::error::Error;
use crate::tls::EndpointSession;
use crate::waiters::{Fate, Wait};

/// Sends bytes in order. Dropped before [`Self::finish`], it is reset with code 0: the peer never takes a part for the
/// whole.
pub struct SendStream<S: EndpointSession + 'static> {
    link: Link<S>,
    id: StreamId,
    is_over: bool,
}

/// Receives bytes in order. Dropped before the end, it asks the peer with code 0 to stop.
pub struct RecvStream<S: EndpointSession + 'static> {
    link: Link<S>,
    id: StreamId,
    is_over: bool,
}

impl<S: EndpointSession + 'static> SendStream<S> {
    pub(crate) const fn new(link: Link<S>, id: StreamId) -> Self {
        Self { link, id, is_over: false }
    }

    #[cfg(feature = "multipath")]
    pub(crate) const fn link(&self) -> &Link<S> {
        &self.link
    }

    /// The number of the stream.
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Takes bytes to be sent; waits until there is room for some, and returns how many. A future that is dropped before its
    /// end has taken none.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::StreamClosed`] and [`Error::Closed`].
    pub async fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let id = self.id;
        self.link
            .wait(Wait::Write(id), |engine, handle| {
                match engine.with(handle, |connection| connection.write_stream(id, bytes))? {
                    Ok(0) => None,
                    Ok(len) => Some(Ok(len)),
                    Err(error) => Some(Err(why(error))),
                }
            })
            .await
    }

    /// Everything was written: the stream ends after it. Does not wait for the peer.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::StreamClosed`] and [`Error::Closed`].
    pub fn finish(&mut self) -> Result<(), Error> {
        self.is_over = true;
        let id = self.id;
        self.link.steer(|engine, handle| {
            // Whether there is a row matters to those who ask what became of it.
            engine.waiters.follow(handle, id);
            let finished = engine.with(handle, |connection| connection.finish(id));
            finished.unwrap_or(Err(WriteError::Closed)).map_err(why)
        })
    }

    /// Waits until the peer has everything, the end included: to be called after [`Self::finish`].
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::TooManyStreams`] and [`Error::Closed`].
    pub async fn delivered(&mut self) -> Result<(), Error> {
        let id = self.id;
        self.link
            .wait(Wait::Write(id), |engine, handle| match engine.waiters.fate(handle, id) {
                Some(Fate::UnderWay) => None,
                Some(Fate::Delivered) => Some(Ok(())),
                Some(Fate::Stopped(code)) => Some(Err(Error::Stopped(code))),
                None => Some(Err(Error::TooManyStreams)),
            })
            .await
    }

    /// Gives up sending; the peer is told `code`.
    pub fn reset(&mut self, code: u64) {
        self.is_over = true;
        let id = self.id;
        // What cannot be given up is over already.
        let _ = self.link.act(|connection| connection.reset(id, code));
    }

    /// Sets how urgent the stream is: 0 most, 7 least; 4 is what it begins with.
    pub fn set_priority(&mut self, urgency: u8) {
        let id = self.id;
        // What is over has nothing to send.
        let _ = self.link.act(|connection| connection.set_priority(id, urgency));
    }
}

const fn why(error: WriteError) -> Error {
    match error {
        WriteError::Reset(code) => Error::Stopped(code),
        WriteError::Closed => Error::StreamClosed,
    }
}

impl<S: EndpointSession + 'static> Drop for SendStream<S> {
    fn drop(&mut self) {
        if !self.is_over {
            self.reset(0);
        }
        let id = self.id;
        self.link.engine(|engine, handle| engine.waiters.unfollow(handle, id));
    }
}

impl<S: EndpointSession + 'static> ErrorType for SendStream<S> {
    type Error = Error;
}

impl<S: EndpointSession + 'static> AsyncWrite for SendStream<S> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.send(bytes).await
    }

    /// Nothing to do: what was written is sent as soon as the peer and the path take it.
    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl<S: EndpointSession + 'static> RecvStream<S> {
    pub(crate) const fn new(link: Link<S>, id: StreamId) -> Self {
        Self { link, id, is_over: false }
    }

    /// The number of the stream.
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Waits for bytes and returns how many were read; zero is the end of the stream. A future that is dropped before its end
    /// has read none.
    ///
    /// # Errors
    /// [`Error::Reset`], [`Error::StreamClosed`] and [`Error::Closed`].
    pub async fn recv(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if self.is_over || out.is_empty() {
            return Ok(0);
        }
        let id = self.id;
        let outcome = self
            .link
            .wait(Wait::Read(id), |engine, handle| {
                Some(match engine.with(handle, |connection| connection.read_stream(id, out))? {
                    Ok(Read::Bytes(len)) => Ok(len),
                    Ok(Read::Blocked) => return None,
                    Ok(Read::Finished) => Ok(0),
                    Ok(Read::Reset(code)) => Err(Error::Reset(code)),
                    Err(_) => Err(Error::StreamClosed),
                })
            })
            .await;
        self.is_over = matches!(outcome, Ok(0) | Err(Error::Reset(_) | Error::StreamClosed));
        outcome
    }

    /// Gives up reading; the peer is asked with `code` to stop.
    pub fn stop(&mut self, code: u64) {
        self.is_over = true;
        let id = self.id;
        // What cannot be given up is over already.
        let _ = self.link.act(|connection| connection.stop(id, code));
    }
}

impl<S: EndpointSession + 'static> Drop for RecvStream<S> {
    fn drop(&mut self) {
        if !self.is_over {
            self.stop(0);
        }
    }
}

impl<S: EndpointSession + 'static> ErrorType for RecvStream<S> {
    type Error = Error;
}

impl<S: EndpointSession + 'static> AsyncRead for RecvStream<S> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        self.recv(out).await
    }
}
