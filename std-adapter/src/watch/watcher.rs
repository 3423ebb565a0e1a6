//! The thread that tells an endpoint of changes.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::NetworkEvents;
use crate::error::Error;
use crate::shared::Shared;
use crate::wait::line;

/// One change is told in many messages. So long after the last of them the change is over,
const QUIET: Duration = Duration::from_millis(5);
/// but after so many of them connections are told all the same.
const PATIENCE: u32 = 20;

/// Keeps an endpoint told of this host's networks, until it is dropped.
#[derive(Debug)]
#[must_use = "who drops it watches no more"]
pub struct Watcher {
    /// What it hears of when the other end is closed.
    _held: line::End,
}

impl Watcher {
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self, Error> {
        let events = NetworkEvents::new().map_err(Error::System)?;
        let (held, end) = line::pair().map_err(Error::System)?;
        shared.follow(events.networks());
        let told = Arc::downgrade(shared);
        thread::Builder::new()
            .name("peregrine-watch".into())
            .spawn(move || run(events, &end, &told))
            .map_err(Error::System)?;
        Ok(Self { _held: held })
    }
}

/// Watches until nobody wants to know any more, or the system tells no more: then connections live on what they find out
/// themselves.
fn run(mut events: NetworkEvents, end: &line::End, told: &Weak<Shared>) -> Option<()> {
    let mut rounds = 0;
    loop {
        let quiet = if rounds > 0 { Timespec::try_from(QUIET).ok() } else { None };
        let mut handles = [PollFd::new(end, PollFlags::IN), PollFd::new(&events, PollFlags::IN)];
        let ready = match poll(&mut handles, quiet.as_ref()) {
            Err(Errno::INTR) => continue,
            outcome => outcome.ok()?,
        };
        if !handles[0].revents().is_empty() {
            return None;
        }
        if ready > 0 {
            events.read().ok()?;
            rounds += 1;
        }
        if ready == 0 || rounds > PATIENCE {
            rounds = 0;
            told.upgrade()?.follow(events.networks());
        }
    }
}
