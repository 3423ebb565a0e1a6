//! What the threads of an endpoint share: the engine, who waits for what, and the news of each connection.
//!
//! A thread that waits names what for and parks; whoever takes the event out of core unparks it, after the lock is
//! released. Nothing is stored of an event that nobody waits for: core's own state is asked first, always.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::lifecycle::Cause;
use peregrine_core::stream::StreamEvent;
use peregrine_core::time::{Deadline, Instant};

use crate::builder::Observer;
use crate::clock::Clock;
use crate::engine::{Engine, Flow};
use crate::error::{Closed, Error};
use crate::seen::Seen;
use crate::session::Agreed;
use crate::storage::HeapConnection;
use crate::wait::Waker;
use crate::watch::Networks;

mod ended;

use ended::Ended;

/// What a thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    Connected,
    Confirmed,
    Route,
    SpareCid,
    Path,
    PathPossible,
    Accept(Dir),
    Open(Dir),
    Read(StreamId),
    Write(StreamId),
    Datagram,
    DatagramRoom,
    End,
}

/// What remains to be told of a connection when core knows it no more.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) agreed: OnceLock<Agreed>,
    pub(crate) confirmed: OnceLock<()>,
    pub(crate) ended: OnceLock<Closed>,
}

/// What has become of what was sent on a stream. Core forgets a stream that is over, the application may not have asked
/// yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    UnderWay,
    /// The peer has it all.
    Delivered,
    /// The peer asked with this code to stop.
    Stopped(u64),
}

/// A connection that the application has, or can accept.
struct Row {
    handle: Handle,
    remote: SocketAddr,
    facts: Arc<Facts>,
    waiters: Vec<(Wait, Thread)>,
    /// Of the streams that the application holds for sending.
    fates: HashMap<StreamId, Fate>,
}

/// A client's connection that nobody has accepted yet.
pub(crate) struct Arrival {
    pub(crate) handle: Handle,
    pub(crate) facts: Arc<Facts>,
}

/// Everything behind the lock.
pub(crate) struct State {
    pub(crate) engine: Engine,
    /// When the driver wakes by itself; a moment of the past while it is awake.
    pub(crate) asleep_until: Deadline,
    /// How many changes of the sockets the driver knows of.
    pub(crate) followed: u64,
    pub(crate) arrivals: VecDeque<Arrival>,
    rows: Vec<Option<Row>>,
    ended: Ended,
    acceptors: Vec<Thread>,
    woken: Vec<Thread>,
    observer: Option<Observer>,
    shut: bool,
    dropped: bool,
    failed: bool,
}

/// What all threads hold.
pub(crate) struct Shared {
    state: Mutex<State>,
    waker: Waker,
    clock: Clock,
}

/// The state, locked. Who is to be woken is woken when it is let go.
pub(crate) struct Locked<'a> {
    shared: &'a Shared,
    state: Option<MutexGuard<'a, State>>,
}

impl Shared {
    pub(crate) fn new(engine: Engine, waker: Waker, observer: Option<Observer>) -> Self {
        let clock = engine.clock();
        let ended = Ended::new(engine.slots());
        let state = State {
            engine,
            asleep_until: Deadline::at(Instant::ZERO),
            followed: 0,
            arrivals: VecDeque::new(),
            rows: Vec::new(),
            ended,
            acceptors: Vec::new(),
            woken: Vec::new(),
            observer,
            shut: false,
            dropped: false,
            failed: false,
        };
        Self { state: Mutex::new(state), waker, clock }
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        // A thread that panicked with the lock held has left core's state whole: core does not panic.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { shared: self, state: Some(state) }
    }

    /// Tells all connections that this host is on these networks now.
    pub(crate) fn follow(&self, networks: Networks) {
        let mut state = self.lock();
        state.engine.follow(networks);
        state.flush_here();
    }

    /// Tries `attempt` until it has an outcome, sleeping between attempts until what is waited for happens to the
    /// connection. Sends what comes of each attempt.
    pub(crate) fn block<R>(
        &self,
        handle: Handle,
        wait: Wait,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&mut State) -> Option<Result<R, Error>>,
    ) -> Result<R, Error> {
        self.block_with(
            timeout,
            |state| attempt(state),
            |state, me| state.wait(handle, wait, me),
            |state, me| state.forget(handle, me),
        )
    }

    /// As [`Self::block`], for a client's connection to come.
    pub(crate) fn block_for_arrival(&self, timeout: Option<Duration>) -> Result<Arrival, Error> {
        self.block_with(
            timeout,
            |state| match state.arrivals.pop_front() {
                Some(arrival) => Some(Ok(arrival)),
                None if state.failed || state.shut => Some(Err(Error::Shutdown)),
                None => None,
            },
            |state, me| state.acceptors.push(me),
            |state, me| state.acceptors.retain(|waiter| waiter.id() != me.id()),
        )
    }

    fn block_with<R>(
        &self,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&mut State) -> Option<Result<R, Error>>,
        enlist: impl Fn(&mut State, Thread),
        delist: impl Fn(&mut State, &Thread),
    ) -> Result<R, Error> {
        let until = timeout.map(|timeout| self.clock.now().after(timeout));
        let mut state = self.lock();
        loop {
            let outcome = attempt(&mut state);
            if let Some(outcome) = outcome {
                state.flush_here();
                return outcome;
            }
            let me = thread::current();
            enlist(&mut state, me.clone());
            state.flush_here();
            drop(state);
            match until.map(|until| Duration::from(until.since(self.clock.now()))) {
                None => thread::park(),
                Some(Duration::ZERO) => {
                    delist(&mut self.lock(), &me);
                    return Err(Error::TimedOut);
                }
                Some(left) => thread::park_timeout(left),
            }
            state = self.lock();
            delist(&mut state, &me);
        }
    }
}

#[cfg(all(feature = "watch", target_os = "linux"))]
impl Shared {
    /// Somebody tells of networks from now on.
    pub(crate) fn on_watcher(&self) {
        self.lock().engine.on_watcher();
    }

    /// One tells no more.
    pub(crate) fn on_watcher_gone(&self) {
        self.lock().engine.on_watcher_gone();
    }
}

impl Locked<'_> {
    /// Lets the driver look at what has changed.
    pub(crate) fn wake_driver(&self) {
        // If the system refuses, the driver is late; that is no reason to fail here.
        let _ = self.shared.waker.wake();
    }

    /// Sends what there is to say, and wakes the driver if it would sleep too long now.
    pub(crate) fn flush_here(&mut self) {
        let flow = self.flush();
        let deadline = self.engine.next_timeout();
        let sockets = self.engine.sockets().changes();
        if flow != Flow::Done || deadline < self.asleep_until || sockets != self.followed {
            self.asleep_until = self.asleep_until.min(deadline);
            self.wake_driver();
        }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_ref().expect("locked until dropped")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect("locked until dropped")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let woken = self.state.as_mut().map(|state| std::mem::take(&mut state.woken));
        self.state = None;
        woken.into_iter().flatten().for_each(|thread| thread.unpark());
    }
}

impl State {
    /// Begins a connection that the application holds.
    pub(crate) fn hold(&mut self, handle: Handle, remote: SocketAddr) -> Arc<Facts> {
        let facts = Arc::new(Facts::default());
        let slot = handle.slot();
        if self.rows.len() <= slot {
            self.rows.resize_with(slot + 1, || None);
        }
        let (waiters, fates) = (Vec::new(), HashMap::new());
        self.rows[slot] = Some(Row { handle, remote, facts: Arc::clone(&facts), waiters, fates });
        facts
    }

    /// Sends what there is to say and tells who waits what has happened.
    pub(crate) fn flush(&mut self) -> Flow {
        self.dispatch();
        let flow = self.engine.transmit();
        // Sending can end a connection, when nothing more may follow.
        self.dispatch();
        flow
    }

    /// Whether the driver has nothing more to do, ever. As long as somebody has the endpoint, clients are told that it
    /// takes none.
    pub(crate) fn is_over(&self) -> bool {
        self.dropped && self.engine.is_empty()
    }

    /// Nobody has the endpoint any more.
    pub(crate) fn on_dropped(&mut self) {
        self.shut();
        self.dropped = true;
    }

    /// Whether the endpoint takes no new connections.
    pub(crate) const fn is_shut(&self) -> bool {
        self.shut || self.failed
    }

    /// Takes no new connections from now on.
    pub(crate) fn shut(&mut self) {
        self.shut = true;
        self.engine.refuse_clients();
        let arrivals: Vec<_> = self.arrivals.drain(..).map(|arrival| arrival.handle).collect();
        for handle in arrivals {
            self.give_up(handle);
        }
        self.woken.append(&mut self.acceptors);
    }

    /// Closes all connections that the application holds.
    pub(crate) fn close_all(&mut self, code: u64, words: &str) {
        let handles: Vec<_> = self.rows.iter().flatten().map(|row| row.handle).collect();
        for handle in handles {
            self.close(handle, code, words);
        }
    }

    /// A connection, be it that it is over.
    pub(crate) fn connection(&mut self, handle: Handle) -> Option<&mut HeapConnection> {
        match self.engine.connection(handle) {
            Some((connection, _)) => Some(connection),
            None => self.ended.connection(handle),
        }
    }

    /// Nobody has a connection any more.
    pub(crate) fn give_up(&mut self, handle: Handle) {
        self.close(handle, 0, "");
        self.ended.forget(handle);
    }

    pub(crate) fn close(&mut self, handle: Handle, code: u64, words: &str) {
        if let Some((connection, now)) = self.engine.connection(handle) {
            connection.close(now, code, words);
        }
    }

    /// The application holds a stream for sending.
    pub(crate) fn follow(&mut self, handle: Handle, id: StreamId) {
        if let Some(row) = self.row(handle) {
            row.fates.insert(id, Fate::UnderWay);
        }
    }

    /// The application holds the stream no more.
    pub(crate) fn unfollow(&mut self, handle: Handle, id: StreamId) {
        if let Some(row) = self.row(handle) {
            row.fates.remove(&id);
        }
    }

    /// What has become of a stream that is followed.
    pub(crate) fn fate(&mut self, handle: Handle, id: StreamId) -> Option<Fate> {
        self.row(handle)?.fates.get(&id).copied()
    }

    /// Nothing can be received from this socket any more. With the last one gone nobody can come in; connections that are
    /// there may still be moved to another.
    pub(crate) fn on_socket_failed(&mut self, key: u32) {
        if !self.engine.on_socket_failed(key) {
            self.shut();
        }
    }

    /// The system has failed us: nothing will happen any more.
    pub(crate) fn fail(&mut self, error: &io::Error) {
        self.failed = true;
        for row in self.rows.iter_mut().flatten() {
            let closed = Closed { cause: Cause::Idle, send_error: Some(error.to_string()) };
            let _ = row.facts.ended.set(closed);
            self.woken.extend(row.waiters.drain(..).map(|(_, thread)| thread));
        }
        self.woken.append(&mut self.acceptors);
    }

    fn row(&mut self, handle: Handle) -> Option<&mut Row> {
        let row = self.rows.get_mut(handle.slot()).and_then(Option::as_mut);
        row.filter(|row| row.handle == handle).or_else(|| self.ended.row(handle))
    }

    fn wait(&mut self, handle: Handle, wait: Wait, thread: Thread) {
        match self.row(handle) {
            Some(row) => row.waiters.push((wait, thread)),
            // It ended meanwhile: the next attempt will tell.
            None => self.woken.push(thread),
        }
    }

    fn forget(&mut self, handle: Handle, thread: &Thread) {
        if let Some(row) = self.row(handle) {
            row.waiters.retain(|(_, waiter)| waiter.id() != thread.id());
        }
    }

    fn wake(&mut self, handle: Handle, wait: Wait) {
        let Some(row) = self.rows.get_mut(handle.slot()).and_then(Option::as_mut) else { return };
        if row.handle == handle && !row.waiters.is_empty() {
            let woken = row.waiters.extract_if(.., |(waiting, _)| *waiting == wait);
            self.woken.extend(woken.map(|(_, thread)| thread));
        }
    }

    fn dispatch(&mut self) {
        while let Some((handle, event)) = self.engine.poll_event() {
            if let Some(observe) = &mut self.observer
                && let Some((connection, now)) = self.engine.connection(handle)
            {
                observe(&mut Seen::new(handle, now, event, connection));
            }
            match event {
                Event::Connected => self.on_connected(handle),
                Event::Confirmed => {
                    if let Some((connection, _)) = self.engine.connection(handle) {
                        connection.session_mut().after_handshake();
                    }
                    if let Some(row) = self.row(handle) {
                        let _ = row.facts.confirmed.set(());
                    }
                    self.wake(handle, Wait::Confirmed);
                }
                Event::Stream(event) => self.on_stream(handle, event),
                Event::Datagram => self.wake(handle, Wait::Datagram),
                Event::DatagramRoom => self.wake(handle, Wait::DatagramRoom),
                Event::Closed(cause) => self.on_closed(handle, cause),
                Event::Drained => {
                    let over = self.engine.release(handle);
                    let row = self.rows.get_mut(handle.slot());
                    let row = row.and_then(|row| row.take_if(|row| row.handle == handle));
                    if let (Some(connection), Some(row)) = (over, row) {
                        self.ended.keep(row, connection);
                    }
                }
                Event::Route(..) | Event::Moved { .. } => self.wake(handle, Wait::Route),
                Event::SpareCid => self.wake(handle, Wait::SpareCid),
                Event::Path(..) => self.wake(handle, Wait::Path),
                Event::PathPossible => self.wake(handle, Wait::PathPossible),
                Event::Token
                | Event::KeysUpdated(_)
                | Event::Mtu(_)
                | Event::NoSpareCid
                | Event::PolicyRefused => {}
            }
        }
    }

    fn on_connected(&mut self, handle: Handle) {
        let Some((connection, _)) = self.engine.connection(handle) else { return };
        let agreed = connection.session().agreed();
        let remote = connection.remote();
        if let Some(row) = self.row(handle) {
            let _ = row.facts.agreed.set(agreed);
            return self.wake(handle, Wait::Connected);
        }
        if self.is_shut() {
            return self.close(handle, 0, "");
        }
        let facts = self.hold(handle, remote);
        let _ = facts.agreed.set(agreed);
        self.arrivals.push_back(Arrival { handle, facts });
        self.woken.extend(self.acceptors.pop());
    }

    fn on_stream(&mut self, handle: Handle, event: StreamEvent) {
        let told = match event {
            StreamEvent::Stopped(id, code) => Some((id, Fate::Stopped(code))),
            StreamEvent::Finished(id) => Some((id, Fate::Delivered)),
            _ => None,
        };
        if let (Some((id, told)), Some(row)) = (told, self.row(handle))
            && let Some(fate) = row.fates.get_mut(&id)
        {
            *fate = told;
        }
        self.wake(
            handle,
            match event {
                StreamEvent::Opened(dir) => Wait::Accept(dir),
                StreamEvent::Available(dir) => Wait::Open(dir),
                StreamEvent::Readable(id) => Wait::Read(id),
                StreamEvent::Writable(id) | StreamEvent::Stopped(id, _) | StreamEvent::Finished(id) => {
                    Wait::Write(id)
                }
            },
        );
    }

    fn on_closed(&mut self, handle: Handle, cause: Cause) {
        let Some(row) = self.rows.get_mut(handle.slot()).and_then(Option::as_mut) else { return };
        if row.handle == handle {
            let send_error = self.engine.send_error(row.remote).map(ToString::to_string);
            let silent = matches!(cause, Cause::Idle | Cause::HandshakeTimeout);
            let _ = row.facts.ended.set(Closed { cause, send_error: send_error.filter(|_| silent) });
            self.woken.extend(row.waiters.drain(..).map(|(_, thread)| thread));
        }
    }
}
