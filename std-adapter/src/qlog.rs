//! qlog: what connections do, for tools that draw and compare it. Each connection has a file of JSON text sequences, named
//! after the DCID of the client's first packet and our role, with a number if a client has chosen the same DCID before.
//!
//! Written to draft-ietf-quic-qlog-main-schema-14 and draft-ietf-quic-qlog-quic-events-13. The `qlog` crate (0.18) has the
//! names of draft 12, and some of its own (`handshake_completed`, `owner`, versions of one digit), so values are made
//! here.
//!
//! Packets and their frames are seen by a session around the connection's own; their route, where a datagram came in or went
//! out; all else in what the connection tells. Left out: the loss of single packets, which core counts but does not
//! name; everything secret: keys, tokens, stateless reset tokens (and with them preferred addresses), application data; and of
//! datagrams in which nothing was authentic all but some, since anybody can send them without end.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peregrine_core::connection::{Event, Transmit};
use peregrine_core::endpoint::{Endpoint, Handle};
use peregrine_core::ids::{Ecn, FourTuple, Side};
use peregrine_core::session::EndpointCrypto;
use peregrine_core::time::Instant;

use crate::clock::Clock;
use crate::session::AnySession;
use crate::storage::HeapSlots;

mod frames;
mod log;
mod news;
mod packets;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
mod watched;
mod words;

use log::Log;
use watched::Watched;

/// A folder that connections write into what they do. Its clones are the same folder.
#[derive(Clone)]
pub struct Qlog(Arc<Folder>);

struct Folder {
    path: PathBuf,
    clock: Clock,
    /// When the clock began, in seconds since 1970.
    began: Option<u64>,
    warn: Box<dyn Fn(&str) + Send + Sync>,
    has_warned: AtomicBool,
    /// Counts files whose names were taken.
    doubles: AtomicU32,
}

impl Qlog {
    /// Makes the folder if it is not there. Should a file there fail later, its log ends, no connection is troubled, and
    /// `warn` is told the first time.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(folder: impl Into<PathBuf>, warn: impl Fn(&str) + Send + Sync + 'static) -> io::Result<Self> {
        let path = folder.into();
        fs::create_dir_all(&path)?;
        let (clock, began) = (Clock::start(), Clock::unix_seconds());
        let (has_warned, doubles) = (AtomicBool::new(false), AtomicU32::new(1));
        Ok(Self(Arc::new(Folder { path, clock, began, warn: Box::new(warn), has_warned, doubles })))
    }
}

impl fmt::Debug for Qlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Qlog").field(&self.0.path).finish()
    }
}

impl Folder {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A new file of that name; with a number if there is one already.
    fn create(&self, name: &str) -> io::Result<File> {
        let new = |name: String| File::create_new(self.path.join(name + ".sqlog"));
        let mut file = new(name.to_owned());
        while file.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
            // Numbers go on from one connection to the next, so that nobody tries all of those before.
            let number = self.doubles.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            file = new(format!("{name}_{number}"));
        }
        file
    }

    fn warn(&self, why: &io::Error) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            (self.warn)(&format!("a log in {} ends early: {why}", self.path.display()));
        }
    }
}

/// A log, of which its session and its endpoint have each a part to tell.
#[derive(Clone)]
struct SharedLog(Arc<Mutex<Log>>);

impl SharedLog {
    fn lock(&self) -> MutexGuard<'_, Log> {
        // What a thread that panicked has left is at worst half a line.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The logs of the connections of an endpoint.
#[derive(Default)]
pub(crate) struct Logs {
    folder: Option<Qlog>,
    by_slot: Vec<Option<(Handle, SharedLog)>>,
    /// Of the session that was watched last.
    newest: Option<SharedLog>,
}

impl Logs {
    /// Every connection has a log from now on.
    pub(crate) fn write_into(&mut self, folder: Qlog) {
        self.folder = Some(folder);
    }

    /// A session of a new connection, with someone who watches over its shoulder if there are logs.
    pub(crate) fn watch(&mut self, session: AnySession, side: Side) -> AnySession {
        let Some(Qlog(folder)) = &self.folder else { return session };
        let log = SharedLog(Arc::new(Mutex::new(Log::new(Arc::clone(folder), side))));
        self.newest = Some(log.clone());
        Box::new(Watched::new(session, log))
    }

    fn find(&self, handle: Handle) -> Option<MutexGuard<'_, Log>> {
        let (known, log) = self.by_slot.get(handle.slot())?.as_ref()?;
        (*known == handle).then(|| log.lock())
    }

    /// The session that was watched last is that of this connection.
    pub(crate) fn began<C: EndpointCrypto>(
        &mut self,
        core: &mut Endpoint<HeapSlots, C>,
        handle: Handle,
        on: FourTuple,
    ) {
        let (Some(log), Some(connection)) = (self.newest.take(), core.connection_mut(handle)) else { return };
        log.lock().began(connection, &on);
        if self.by_slot.len() <= handle.slot() {
            self.by_slot.resize(handle.slot() + 1, None);
        }
        self.by_slot[handle.slot()] = Some((handle, log));
    }

    /// A datagram came.
    pub(crate) fn received<C: EndpointCrypto>(
        &mut self,
        core: &mut Endpoint<HeapSlots, C>,
        handle: Handle,
        on: &FourTuple,
        ecn: Ecn,
        len: usize,
    ) {
        if let Some(mut log) = self.find(handle)
            && let Some(connection) = core.connection_mut(handle)
        {
            log.received(connection, on, ecn, len);
        }
    }

    /// Datagrams go out.
    pub(crate) fn sent<C: EndpointCrypto>(
        &mut self,
        core: &mut Endpoint<HeapSlots, C>,
        handle: Handle,
        transmit: &Transmit,
    ) {
        if let Some(mut log) = self.find(handle)
            && let Some(connection) = core.connection_mut(handle)
        {
            log.sent(connection, transmit);
        }
    }

    /// A connection tells of something.
    pub(crate) fn told<C: EndpointCrypto>(
        &mut self,
        core: &mut Endpoint<HeapSlots, C>,
        handle: Handle,
        event: &Event,
    ) {
        if let Some(mut log) = self.find(handle)
            && let Some(connection) = core.connection_mut(handle)
        {
            log.told(connection, event);
        }
        if *event == Event::Drained
            && let Some(row) = self.by_slot.get_mut(handle.slot())
        {
            row.take_if(|(known, _)| *known == handle);
        }
    }
}
