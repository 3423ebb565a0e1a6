//! The thread that tells an endpoint of changes.

use std::io;
use std::sync::{Arc, OnceLock, Weak};
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
    failure: Arc<OnceLock<io::Error>>,
}

impl Watcher {
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self, Error> {
        let events = NetworkEvents::new().map_err(Error::System)?;
        let (held, end) = line::pair().map_err(Error::System)?;
        let told = Told::new(shared);
        shared.follow(events.networks());
        let failure = Arc::new(OnceLock::new());
        let fails = Arc::clone(&failure);
        thread::Builder::new()
            .name("peregrine-watch".into())
            .spawn(move || {
                if let Err(error) = run(events, &end, &told) {
                    let _ = fails.set(error);
                }
            })
            .map_err(Error::System)?;
        Ok(Self { _held: held, failure })
    }

    /// Why nothing is told any more, if the system has failed. Connections then live on what they find out themselves.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.get()
    }
}

/// An endpoint that relies on being told of networks as long as this lives.
struct Told(Weak<Shared>);

impl Told {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.on_watcher();
        Self(Arc::downgrade(shared))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.on_watcher_gone();
        }
    }
}

/// Watches until nobody wants to know any more.
fn run(mut events: NetworkEvents, end: &line::End, told: &Told) -> io::Result<()> {
    let mut rounds = 0;
    loop {
        let quiet = if rounds > 0 { Timespec::try_from(QUIET).ok() } else { None };
        let mut handles = [PollFd::new(end, PollFlags::IN), PollFd::new(&events, PollFlags::IN)];
        let ready = match poll(&mut handles, quiet.as_ref()) {
            Err(Errno::INTR) => continue,
            outcome => outcome?,
        };
        if !handles[0].revents().is_empty() {
            return Ok(());
        }
        if ready > 0 {
            events.read()?;
            rounds += 1;
        }
        if ready == 0 || rounds > PATIENCE {
            rounds = 0;
            let Some(shared) = told.0.upgrade() else { return Ok(()) };
            shared.follow(events.networks());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endpoint;
    use crate::clock::Clock;

    fn wait_until(is_so: impl Fn() -> bool) {
        let clock = Clock::start();
        while !is_so() {
            assert!(clock.now().as_micros() < 20_000_000);
            thread::yield_now();
        }
    }

    #[test]
    fn the_picture_goes_with_the_last_watcher() {
        let endpoint = Endpoint::builder().bind().unwrap();
        let is_following = || endpoint.shared().lock().engine.is_following();
        let [first, second] = [(); 2].map(|()| endpoint.watch_networks().unwrap());
        assert!(is_following());
        let failure = Arc::downgrade(&first.failure);
        drop(first);
        // Its thread, too, has let it go.
        wait_until(|| failure.strong_count() == 0);
        assert!(is_following() && second.failure().is_none());
        drop(second);
        wait_until(|| !is_following());
    }
}
