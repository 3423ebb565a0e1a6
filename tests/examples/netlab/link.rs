//! A link: a relay with delay, rate and a queue, which is also a NAT: it can take another port, or fall silent.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{BEHIND, SERVER, inside};

/// Bytes that wait in front of a link at most, as a time at its rate.
const QUEUE: Duration = Duration::from_millis(60);
/// What is larger is data, not an acknowledgment or a challenge: to an address that is not validated yet data come in small
/// packets.
const DATA: usize = 64;
const PORT: u16 = 4433;

/// What a link is like, the same both ways.
#[derive(Clone, Copy)]
pub(crate) struct Quality {
    /// Bits per second.
    pub(crate) rate: u64,
    /// One way.
    pub(crate) delay: Duration,
}

/// When datagrams with data reached the client, over any link.
pub(crate) type Arrivals = Arc<Mutex<Vec<Instant>>>;

/// A relay between the client and the server.
pub(crate) struct Link {
    namespace: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    near: UdpSocket,
    far: RwLock<Arc<UdpSocket>>,
    client: Mutex<Option<SocketAddr>>,
    cut: AtomicBool,
    up: Pipe,
    down: Pipe,
}

struct Pipe {
    quality: Quality,
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Instant, Vec<u8>)>,
    /// When the link has sent what it was given.
    free: Option<Instant>,
}

impl Pipe {
    fn new(quality: Quality) -> Self {
        Self { quality, queue: Mutex::default(), filled: Condvar::new() }
    }

    fn push(&self, bytes: &[u8]) {
        let now = Instant::now();
        let mut queue = self.queue.lock().unwrap();
        let free = queue.free.unwrap_or(now).max(now);
        if free - now > QUEUE {
            return;
        }
        let sent = free + Duration::from_nanos(bytes.len() as u64 * 8 * 1_000_000_000 / self.quality.rate);
        queue.free = Some(sent);
        queue.waiting.push_back((sent + self.quality.delay, bytes.to_vec()));
        self.filled.notify_one();
    }

    fn pop(&self) -> Vec<u8> {
        let mut queue = self.queue.lock().unwrap();
        loop {
            let now = Instant::now();
            let wait = queue.waiting.front().map(|(due, _)| due.saturating_duration_since(now));
            match wait {
                Some(Duration::ZERO) => return queue.waiting.pop_front().expect("the one looked at").1,
                Some(wait) => queue = self.filled.wait_timeout(queue, wait).unwrap().0,
                None => queue = self.filled.wait(queue).unwrap(),
            }
        }
    }
}

impl Link {
    /// A link in this namespace.
    pub(crate) fn new(namespace: &'static str, quality: Quality, arrivals: &Arrivals) -> Self {
        let near = inside(namespace, || UdpSocket::bind((SERVER, PORT))).expect("a socket for the client");
        let shared = Arc::new(Shared {
            near,
            far: RwLock::new(far_socket(namespace)),
            client: Mutex::new(None),
            cut: AtomicBool::new(false),
            up: Pipe::new(quality),
            down: Pipe::new(quality),
        });
        let link = Self { namespace, shared };
        link.read_far();
        let shared = link.shared.clone();
        thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok((len, from)) = shared.near.recv_from(&mut buffer) {
                *shared.client.lock().unwrap() = Some(from);
                shared.up.push(&buffer[..len]);
            }
        });
        let shared = link.shared.clone();
        thread::spawn(move || {
            loop {
                let datagram = shared.up.pop();
                let far = shared.far.read().unwrap().clone();
                if !shared.cut.load(Ordering::Relaxed) {
                    far.send(&datagram).ok();
                }
            }
        });
        let (shared, arrivals) = (link.shared.clone(), arrivals.clone());
        thread::spawn(move || {
            loop {
                let datagram = shared.down.pop();
                let client = *shared.client.lock().unwrap();
                let Some(client) = client.filter(|_| !shared.cut.load(Ordering::Relaxed)) else { continue };
                if shared.near.send_to(&datagram, client).is_ok() && datagram.len() > DATA {
                    arrivals.lock().unwrap().push(Instant::now());
                }
            }
        });
        link
    }

    /// From now on nothing passes.
    pub(crate) fn cut(&self) {
        self.shared.cut.store(true, Ordering::Relaxed);
    }

    /// What was cut passes again.
    pub(crate) fn mend(&self) {
        self.shared.cut.store(false, Ordering::Relaxed);
    }

    /// The NAT takes another port; what comes to the old one is lost.
    pub(crate) fn rebind(&self) {
        *self.shared.far.write().unwrap() = far_socket(self.namespace);
        self.read_far();
    }

    /// Reads from the present socket to the server until it is replaced.
    fn read_far(&self) {
        let shared = self.shared.clone();
        let socket = shared.far.read().unwrap().clone();
        thread::spawn(move || {
            let mut buffer = [0; 65_536];
            loop {
                let received = socket.recv(&mut buffer);
                if !Arc::ptr_eq(&socket, &*shared.far.read().unwrap()) {
                    return;
                }
                match received {
                    Ok(len) => shared.down.push(&buffer[..len]),
                    // Nothing for a while, or nobody there yet.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => thread::yield_now(),
                }
            }
        });
    }
}

fn far_socket(namespace: &'static str) -> Arc<UdpSocket> {
    let socket = inside(namespace, || UdpSocket::bind("0.0.0.0:0")).expect("a socket for the server");
    socket.connect((BEHIND, PORT)).expect("a route to the server");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    Arc::new(socket)
}
