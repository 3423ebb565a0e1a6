//! Sleeping until a datagram arrives, a deadline comes, or another thread calls.
//!
//! Readiness is level-triggered: a socket that still holds datagrams ends the next wait at once, so a driver may stop
//! after any number of batches and nothing is ever missed.
//!
//! The one `unsafe` of this crate stands here: the system's poller keeps raw handles, and no safe interface lets it
//! watch a socket that others send on at the same time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};

use crate::socket::Socket;

/// Watches sockets. Owned by the thread that sleeps.
#[derive(Debug)]
pub struct Waiter {
    poller: Arc<Poller>,
    events: Events,
    sockets: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    socket: Arc<Socket>,
    interest: Interest,
}

/// What a socket is watched for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Datagrams to receive.
    Receive,
    /// Datagrams to receive, or room to send after [`crate::socket::Sent::Blocked`].
    ReceiveOrSend,
}

impl Interest {
    fn event(self, key: usize) -> Event {
        Event::new(key, true, self == Self::ReceiveOrSend)
    }
}

/// Ends a wait from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Poller>);

impl Waker {
    /// Ends the wait going on, or else the next one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn wake(&self) -> io::Result<()> {
        self.0.notify()
    }
}

impl Waiter {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// If the system has no handle to spare.
    pub fn new() -> io::Result<Self> {
        Ok(Self { poller: Arc::new(Poller::new()?), events: Events::new(), sockets: Vec::new() })
    }

    /// What other threads wake this one with.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.poller))
    }

    /// Watches `socket` for datagrams; returns its key: 0 for the first one, then 1, and so on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn add(&mut self, socket: Arc<Socket>) -> io::Result<usize> {
        let key = self.sockets.len();
        let interest = Interest::Receive;
        // SAFETY: the socket must be deleted from the poller before it is closed. `self` keeps it open from here on
        // and gives it up only in `drop`, after deleting it.
        #[expect(unsafe_code, reason = "see the head of this file")]
        unsafe {
            self.poller.add_with_mode(&*socket, interest.event(key), PollMode::Level)?;
        }
        self.sockets.push(Watched { socket, interest });
        Ok(key)
    }

    /// Changes what the socket `key` is watched for.
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::NotFound`] if there is no such socket.
    pub fn watch(&mut self, key: usize, interest: Interest) -> io::Result<()> {
        let watched = self.sockets.get_mut(key).ok_or(io::ErrorKind::NotFound)?;
        if watched.interest != interest {
            self.poller.modify_with_mode(&*watched.socket, interest.event(key), PollMode::Level)?;
            watched.interest = interest;
        }
        Ok(())
    }

    /// Sleeps until a socket is ready, `timeout` has passed (`None`: never), or a [`Waker`] calls. Returns the keys of
    /// the sockets that are ready.
    ///
    /// # Errors
    /// Those of the system; an interrupted sleep is none.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<impl Iterator<Item = usize>> {
        self.events.clear();
        match self.poller.wait(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        Ok(self.events.iter().map(|event| event.key))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        for watched in &self.sockets {
            // Fails only for a socket that is not watched, which is what is wanted.
            let _ = self.poller.delete(&*watched.socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::thread;

    use peregrine_core::ids::{Ecn, FourTuple};

    use crate::clock::Clock;
    use crate::socket::{Families, Inbox, Sent};

    const LONG: Option<Duration> = Some(Duration::from_secs(20));

    fn socket() -> Arc<Socket> {
        Arc::new(Socket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Families::Both).unwrap())
    }

    #[test]
    fn a_datagram_ends_the_wait_until_it_is_received() {
        let (a, b) = (socket(), socket());
        let mut waiter = Waiter::new().unwrap();
        assert_eq!(waiter.add(socket()).unwrap(), 0);
        assert_eq!(waiter.add(Arc::clone(&b)).unwrap(), 1);
        let route = FourTuple { local: a.local_addr(), remote: b.local_addr(), interface: 0 };
        assert!(matches!(a.send(&route, Ecn::NotEct, 1, b"x"), Sent::All));
        for _ in 0..2 {
            assert_eq!(waiter.wait(LONG).unwrap().collect::<Vec<_>>(), [1]);
        }
        assert_eq!(b.receive(&mut Inbox::new()).unwrap(), 1);
        assert_eq!(waiter.wait(Some(Duration::ZERO)).unwrap().count(), 0);
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let mut waiter = Waiter::new().unwrap();
        waiter.add(socket()).unwrap();
        let clock = Clock::start();
        assert_eq!(waiter.wait(Some(Duration::from_millis(20))).unwrap().count(), 0);
        assert!(clock.now().as_micros() >= 20_000);
    }

    #[test]
    fn another_thread_ends_the_wait_or_the_next_one() {
        let mut waiter = Waiter::new().unwrap();
        let waker = waiter.waker();
        let clock = Clock::start();
        waker.wake().unwrap();
        assert_eq!(waiter.wait(LONG).unwrap().count(), 0);
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            waker.wake().unwrap();
        });
        assert_eq!(waiter.wait(LONG).unwrap().count(), 0);
        thread.join().unwrap();
        assert!(clock.now().as_micros() < 10_000_000);
    }

    #[test]
    fn room_to_send_is_told_only_when_asked_for() {
        let mut waiter = Waiter::new().unwrap();
        let key = waiter.add(socket()).unwrap();
        waiter.watch(key, Interest::ReceiveOrSend).unwrap();
        assert_eq!(waiter.wait(LONG).unwrap().collect::<Vec<_>>(), [key]);
        waiter.watch(key, Interest::Receive).unwrap();
        assert_eq!(waiter.wait(Some(Duration::ZERO)).unwrap().count(), 0);
        assert_eq!(waiter.watch(9, Interest::Receive).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
