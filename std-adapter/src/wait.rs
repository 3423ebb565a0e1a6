//! Sleeping until a datagram arrives, a deadline comes, or another thread calls.
//!
//! One system call for each sleep, and nothing is registered: an endpoint has a handful of sockets. Readiness is
//! level-triggered: a socket that still holds datagrams ends the next wait at once, so a driver may stop after any
//! number of batches and nothing is ever missed.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::socket::Socket;

/// Watches sockets. Owned by the thread that sleeps.
#[derive(Debug)]
pub struct Waiter {
    sockets: Vec<Watched>,
    called: line::End,
    waker: Waker,
    ready: Vec<usize>,
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
    const fn flags(self) -> PollFlags {
        match self {
            Self::Receive => PollFlags::IN,
            Self::ReceiveOrSend => PollFlags::IN.union(PollFlags::OUT),
        }
    }
}

/// Ends a wait from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Caller>);

#[derive(Debug)]
struct Caller {
    line: line::End,
    /// Whether a call is under way that the sleeper has not heard yet.
    called: AtomicBool,
}

impl Waker {
    /// Ends the wait going on, or else the next one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn wake(&self) -> io::Result<()> {
        if self.0.called.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        (&self.0.line).write(&[0]).map(|_| ())
    }
}

impl Waiter {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// If the system has no handle to spare.
    pub fn new() -> io::Result<Self> {
        let (called, line) = line::pair()?;
        let waker = Waker(Arc::new(Caller { line, called: AtomicBool::new(false) }));
        Ok(Self { sockets: Vec::new(), called, waker, ready: Vec::new() })
    }

    /// What other threads wake this one with.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Watches `socket` for datagrams; returns its key: 0 for the first one, then 1, and so on; again from 0 after
    /// [`Self::clear`].
    pub fn add(&mut self, socket: Arc<Socket>) -> usize {
        self.sockets.push(Watched { socket, interest: Interest::Receive });
        self.sockets.len() - 1
    }

    /// Watches nothing any more.
    pub fn clear(&mut self) {
        self.sockets.clear();
    }

    /// Changes what the socket `key` is watched for; without such a socket nothing happens.
    pub fn watch(&mut self, key: usize, interest: Interest) {
        if let Some(watched) = self.sockets.get_mut(key) {
            watched.interest = interest;
        }
    }

    /// Sleeps until a socket is ready, `timeout` has passed (`None`: never), or a [`Waker`] calls. Returns the keys of
    /// the sockets that are ready.
    ///
    /// # Errors
    /// Those of the system; an interrupted sleep is none.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<&[usize]> {
        self.ready.clear();
        let mut handles = Vec::with_capacity(1 + self.sockets.len());
        handles.push(PollFd::new(&self.called, PollFlags::IN));
        handles.extend(
            self.sockets.iter().map(|watched| PollFd::new(&*watched.socket, watched.interest.flags())),
        );
        // A time that does not fit is as good as never.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut handles, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(&self.ready),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let (call, sockets) = handles.split_first().expect("the line is always watched");
        let is_ready = |handle: &PollFd<'_>| !handle.revents().is_empty();
        self.ready
            .extend(sockets.iter().enumerate().filter(|(_, handle)| is_ready(handle)).map(|(key, _)| key));
        if is_ready(call) {
            // In this order no call is lost: one that comes in between may go unheard only by who is awake anyway.
            self.waker.0.called.store(false, Ordering::Release);
            while matches!((&self.called).read(&mut [0; 16]), Ok(16)) {}
        }
        Ok(&self.ready)
    }
}

/// Two ends, of which one becomes readable when the other is written to.
#[cfg(unix)]
pub(crate) mod line {
    pub(crate) use std::os::unix::net::UnixStream as End;

    pub(crate) fn pair() -> std::io::Result<(End, End)> {
        let (one, other) = End::pair()?;
        one.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        Ok((one, other))
    }
}

/// Two ends, of which one becomes readable when the other is written to.
#[cfg(not(unix))]
pub(crate) mod line {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    pub(crate) use std::net::TcpStream as End;

    pub(crate) fn pair() -> std::io::Result<(End, End)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let one = TcpStream::connect(listener.local_addr()?)?;
        let (other, from) = listener.accept()?;
        if from != one.local_addr()? {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        one.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        other.set_nodelay(true)?;
        Ok((one, other))
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
        assert_eq!(waiter.add(socket()), 0);
        assert_eq!(waiter.add(Arc::clone(&b)), 1);
        let route = FourTuple { local: a.local_addr(), remote: b.local_addr(), interface: 0 };
        assert!(matches!(a.send(&route, Ecn::NotEct, 1, b"x"), Sent::All));
        for _ in 0..2 {
            assert_eq!(waiter.wait(LONG).unwrap(), [1]);
        }
        assert_eq!(b.receive(&mut Inbox::new()).unwrap(), 1);
        assert_eq!(waiter.wait(Some(Duration::ZERO)).unwrap().len(), 0);
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let mut waiter = Waiter::new().unwrap();
        waiter.add(socket());
        let clock = Clock::start();
        assert_eq!(waiter.wait(Some(Duration::from_millis(20))).unwrap().len(), 0);
        assert!(clock.now().as_micros() >= 20_000);
    }

    #[test]
    fn another_thread_ends_the_wait_or_the_next_one() {
        let mut waiter = Waiter::new().unwrap();
        let waker = waiter.waker();
        let clock = Clock::start();
        waker.wake().unwrap();
        assert_eq!(waiter.wait(LONG).unwrap().len(), 0);
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            waker.wake().unwrap();
        });
        assert_eq!(waiter.wait(LONG).unwrap().len(), 0);
        thread.join().unwrap();
        assert!(clock.now().as_micros() < 10_000_000);
    }

    #[test]
    fn room_to_send_is_told_only_when_asked_for() {
        let mut waiter = Waiter::new().unwrap();
        let key = waiter.add(socket());
        waiter.watch(key, Interest::ReceiveOrSend);
        assert_eq!(waiter.wait(LONG).unwrap(), [key]);
        waiter.watch(key, Interest::Receive);
        assert_eq!(waiter.wait(Some(Duration::ZERO)).unwrap().len(), 0);
        waiter.watch(9, Interest::Receive);
    }
}
