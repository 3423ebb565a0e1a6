//! The thread that drives an endpoint: it sleeps, receives, and does what is due. What the application does with
//! connections it does itself, under the same lock, and sends at once what comes of it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peregrine_core::time::{Deadline, Instant};

use crate::engine::Flow;
use crate::shared::Shared;
use crate::socket::{Inbox, MESSAGES, Socket};
use crate::sockets::Sockets;
use crate::wait::{Interest, Waiter, Waker};

/// Batches taken from one socket before others, and what is to be sent, have their turn.
const BATCHES: usize = 4;

/// The receiving side of an endpoint's sockets.
pub(crate) struct Port {
    waiter: Waiter,
    /// In the order in which they are waited for.
    sockets: Vec<(u32, Arc<Socket>)>,
    /// How many changes of the endpoint's sockets are known here.
    changes: Option<u64>,
    inbox: Inbox,
    ready: Vec<usize>,
    blocked: Option<usize>,
}

impl Port {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            waiter: Waiter::new()?,
            sockets: Vec::new(),
            changes: None,
            inbox: Inbox::new(),
            ready: Vec::new(),
            blocked: None,
        })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waiter.waker()
    }

    /// Waits for these sockets from now on.
    pub(crate) fn follow(&mut self, sockets: &Sockets) {
        if self.changes.replace(sockets.changes()) == Some(sockets.changes()) {
            return;
        }
        self.waiter.clear();
        self.blocked = None;
        self.sockets = sockets.alive().map(|(key, socket)| (key, Arc::clone(socket))).collect();
        for (_, socket) in &self.sockets {
            self.waiter.add(Arc::clone(socket));
        }
    }

    /// Sleeps until there is something to receive, room to send for who is blocked, or `timeout` has passed.
    pub(crate) fn wait(&mut self, flow: Flow, timeout: Option<Duration>) -> io::Result<()> {
        let place = |key| self.sockets.iter().position(|(other, _)| *other == key);
        let blocked = if let Flow::Blocked(key) = flow { place(key) } else { None };
        if blocked != self.blocked {
            if let Some(place) = self.blocked {
                self.waiter.watch(place, Interest::Receive);
            }
            if let Some(place) = blocked {
                self.waiter.watch(place, Interest::ReceiveOrSend);
            }
            self.blocked = blocked;
        }
        let ready = self.waiter.wait(timeout)?;
        self.ready.clear();
        self.ready.extend_from_slice(ready);
        Ok(())
    }

    /// Takes what has arrived, batch after batch, or what is wrong with a socket.
    pub(crate) fn receive(&mut self, mut handle: impl FnMut(u32, io::Result<&mut Inbox>)) {
        for &place in &self.ready {
            let Some((key, socket)) = self.sockets.get(place) else { continue };
            for _ in 0..BATCHES {
                let messages = match socket.receive(&mut self.inbox) {
                    Ok(messages) => messages,
                    Err(error) => {
                        handle(*key, Err(error));
                        break;
                    }
                };
                if messages > 0 {
                    handle(*key, Ok(&mut self.inbox));
                }
                if messages < MESSAGES {
                    break;
                }
            }
        }
    }
}

/// Nobody is left waiting where something panics that the application gave the endpoint to call.
struct Guard<'a>(&'a Shared);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().fail(&io::Error::other("a function that the endpoint was given has panicked"));
        }
    }
}

/// Drives the endpoint until it is dropped and its last connection is over.
pub(crate) fn run(shared: &Shared, mut port: Port) {
    let _guard = Guard(shared);
    let failed = loop {
        let (flow, deadline) = {
            let mut state = shared.lock();
            state.engine.handle_timeout();
            let flow = state.flush();
            if state.is_over() {
                return;
            }
            let deadline = match flow {
                Flow::More => Deadline::at(Instant::ZERO),
                Flow::Done | Flow::Blocked(_) => state.engine.next_timeout(),
            };
            state.asleep_until = deadline;
            port.follow(state.engine.sockets());
            state.followed = state.engine.sockets().changes();
            (flow, deadline)
        };
        if let Err(error) = port.wait(flow, shared.clock().until(deadline)) {
            break error;
        }
        port.receive(|key, received| {
            let mut state = shared.lock();
            // Nobody needs to wake who is awake.
            state.asleep_until = Deadline::at(Instant::ZERO);
            match received {
                Ok(inbox) => state.engine.handle(key, inbox),
                Err(_) => state.on_socket_failed(key),
            }
        });
    };
    shared.lock().fail(&failed);
}
