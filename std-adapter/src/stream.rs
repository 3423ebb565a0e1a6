//! Streams that implement `Read` and `Write`.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use peregrine_core::ids::StreamId;
use peregrine_core::stream::{Read, Tie, WriteError};

use crate::connection::Link;
use crate::error::Error;
use crate::shared::{Fate, Wait};

/// Sends bytes in order. Dropped before [`Self::finish`], it is reset with code 0: the peer never takes a part for the
/// whole.
pub struct SendStream {
    link: Arc<Link>,
    id: StreamId,
    timeout: Option<Duration>,
    is_over: bool,
}

/// Receives bytes in order. Dropped before the end, it asks the peer with code 0 to stop.
pub struct RecvStream {
    link: Arc<Link>,
    id: StreamId,
    timeout: Option<Duration>,
    is_over: bool,
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SendStream {
    pub(crate) fn new(link: Arc<Link>, id: StreamId) -> Self {
        link.shared.lock().follow(link.handle, id);
        Self { link, id, timeout: None, is_over: false }
    }

    /// The number of the stream.
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// How long a write may wait for room; `None`, which it begins with, is for ever.
    pub const fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Takes bytes to be sent; waits until there is room for some, and returns how many.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::StreamClosed`], [`Error::TimedOut`] and [`Error::Closed`].
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let id = self.id;
        let sent = self.link.block(Wait::Write(id), self.timeout, |connection| {
            match connection.write_stream(id, bytes) {
                Ok(0) => None,
                sent => Some(Ok(sent)),
            }
        });
        sent?.map_err(|error| self.why(error))
    }

    /// Everything was written: the stream ends after it. Does not wait for the peer: what is under way when the connection is closed
    /// is lost, see [`Self::delivered`].
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::StreamClosed`] and [`Error::Closed`].
    pub fn finish(&mut self) -> Result<(), Error> {
        self.is_over = true;
        let id = self.id;
        self.link.act(|connection| connection.finish(id))?.map_err(|error| self.why(error))
    }

    /// Waits until the peer has everything, the end included; [finishes](Self::finish) the stream if that was not done.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::TimedOut`] and [`Error::Closed`].
    pub fn delivered(&mut self) -> Result<(), Error> {
        if !self.is_over {
            self.finish()?;
        }
        let (link, id) = (&self.link, self.id);
        link.shared.block(link.handle, Wait::Write(id), self.timeout, |state| {
            match state.fate(link.handle, id) {
                Some(Fate::Delivered) => Some(Ok(())),
                Some(Fate::Stopped(code)) => Some(Err(Error::Stopped(code))),
                Some(Fate::UnderWay) => link.ended(),
                None => Some(Err(link.error())),
            }
        })
    }

    /// Core tells the code of the peer only as long as it remembers the stream.
    fn why(&self, error: WriteError) -> Error {
        match (error, self.link.shared.lock().fate(self.link.handle, self.id)) {
            (WriteError::Reset(code), _) | (WriteError::Closed, Some(Fate::Stopped(code))) => {
                Error::Stopped(code)
            }
            (WriteError::Closed, _) => Error::StreamClosed,
        }
    }

    /// Gives up sending; the peer is told `code`, up to 2^62 - 1.
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

    /// Says which of several paths carry the stream.
    pub fn tie(&mut self, tie: Tie) {
        let id = self.id;
        // What is over has nothing to send.
        let _ = self.link.act(|connection| connection.tie_stream(id, tie));
    }
}

impl io::Write for SendStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.send(bytes)?)
    }

    /// Nothing to do: what was written is sent as soon as the peer and the path take it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.is_over {
            self.reset(0);
        }
        self.link.shared.lock().unfollow(self.link.handle, self.id);
    }
}

impl RecvStream {
    pub(crate) const fn new(link: Arc<Link>, id: StreamId) -> Self {
        Self { link, id, timeout: None, is_over: false }
    }

    /// The number of the stream.
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// How long a read may wait for bytes; `None`, which it begins with, is for ever.
    pub const fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Waits for bytes and returns how many were read; zero is the end of the stream.
    ///
    /// # Errors
    /// [`Error::Reset`], [`Error::StreamClosed`], [`Error::TimedOut`] and [`Error::Closed`].
    pub fn recv(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if self.is_over || out.is_empty() {
            return Ok(0);
        }
        let id = self.id;
        let outcome = self.link.block(Wait::Read(id), self.timeout, |connection| {
            Some(match connection.read_stream(id, out) {
                Ok(Read::Bytes(len)) => Ok(Some(len)),
                Ok(Read::Blocked) => return None,
                Ok(Read::Finished) => Ok(None),
                Ok(Read::Reset(code)) => Err(Error::Reset(code)),
                Err(_) => Err(Error::StreamClosed),
            })
        });
        self.is_over = matches!(outcome, Ok(None) | Err(Error::Reset(_) | Error::StreamClosed));
        outcome.map(Option::unwrap_or_default)
    }

    /// Gives up reading; the peer is asked with `code`, up to 2^62 - 1, to stop.
    pub fn stop(&mut self, code: u64) {
        self.is_over = true;
        let id = self.id;
        // What cannot be given up is over already.
        let _ = self.link.act(|connection| connection.stop(id, code));
    }
}

impl io::Read for RecvStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv(out)?)
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        if !self.is_over {
            self.stop(0);
        }
    }
}
