//! The thread that drives an endpoint: it sleeps, receives, and does what is due. What the application does with
//! connections it does itself, under the same lock, and sends at once what comes of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use peregrine_core::time::{Deadline, Instant};

use crate::engine::Flow;
use crate::shared::Shared;
use crate::socket::{Inbox, MESSAGES, Socket};
use crate::wait::{Interest, Waiter, Waker};

/// Batches taken from one socket before others, and what is to be sent, have their turn.
const BATCHES: usize = 4;

/// The receiving side of an endpoint's sockets.
pub(crate) struct Port {
    waiter: Waiter,
    sockets: Vec<Arc<Socket>>,
    inbox: Inbox,
    ready: Vec<usize>,
    blocked: Option<usize>,
}

impl Port {
    pub(crate) fn new<'a>(sockets: impl Iterator<Item = &'a Arc<Socket>>) -> io::Result<Self> {
        let sockets: Vec<_> = sockets.map(Arc::clone).collect();
        let mut waiter = Waiter::new()?;
        for socket in &sockets {
            waiter.add(Arc::clone(socket));
        }
        Ok(Self { waiter, sockets, inbox: Inbox::new(), ready: Vec::new(), blocked: None })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waiter.waker()
    }

    /// Sleeps until there is something to receive, room to send for who is blocked, or `timeout` has passed.
    pub(crate) fn wait(&mut self, flow: Flow, timeout: Option<Duration>) -> io::Result<()> {
        let blocked = if let Flow::Blocked(key) = flow { Some(key) } else { None };
        if blocked != self.blocked {
            if let Some(key) = self.blocked {
                self.waiter.watch(key, Interest::Receive);
            }
            if let Some(key) = blocked {
                self.waiter.watch(key, Interest::ReceiveOrSend);
            }
            self.blocked = blocked;
        }
        let ready = self.waiter.wait(timeout)?;
        self.ready.clear();
        self.ready.extend_from_slice(ready);
        Ok(())
    }

    /// Takes what has arrived, batch after batch.
    pub(crate) fn receive(&mut self, mut handle: impl FnMut(usize, &mut Inbox)) -> io::Result<()> {
        for &key in &self.ready {
            let Some(socket) = self.sockets.get(key) else { continue };
            for _ in 0..BATCHES {
                let messages = socket.receive(&mut self.inbox)?;
                if messages > 0 {
                    handle(key, &mut self.inbox);
                }
                if messages < MESSAGES {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Drives the endpoint until it is dropped and its last connection is over.
pub(crate) fn run(shared: &Shared, mut port: Port) {
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
            (flow, deadline)
        };
        if let Err(error) = port.wait(flow, shared.clock().until(deadline)) {
            break error;
        }
        let received = port.receive(|key, inbox| {
            let mut state = shared.lock();
            // Nobody needs to wake who is awake.
            state.asleep_until = Deadline::at(Instant::ZERO);
            state.engine.handle(key, inbox);
        });
        if let Err(error) = received {
            break error;
        }
    };
    shared.lock().fail(&failed);
}
