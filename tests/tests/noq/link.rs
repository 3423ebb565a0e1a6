//! A way to a server that can be broken, or led through another port as by a NAT that was restarted.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use crate::LOOPBACK;

/// A way for one client. Its threads end with the process.
pub(crate) struct Link {
    front: Arc<UdpSocket>,
    /// The client, as soon as it has said something.
    client: Arc<OnceLock<SocketAddr>>,
    back: Arc<Mutex<Arc<UdpSocket>>>,
    cut: Arc<AtomicBool>,
}

impl Link {
    /// A way to this server.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind(LOOPBACK).unwrap());
        let back = Arc::new(Mutex::new(Arc::new(UdpSocket::bind(LOOPBACK).unwrap())));
        let link = Self { front, client: Arc::default(), back, cut: Arc::default() };
        link.carry_down();
        let (front, back, client) =
            (Arc::clone(&link.front), Arc::clone(&link.back), Arc::clone(&link.client));
        let cut = Arc::clone(&link.cut);
        carry(front, move |datagram, from| {
            client.get_or_init(|| from);
            if !cut.load(Ordering::Relaxed) {
                let back = Arc::clone(&back.lock().unwrap_or_else(PoisonError::into_inner));
                let _ = back.send_to(datagram, server);
            }
        });
        link
    }

    fn carry_down(&self) {
        let back = Arc::clone(&self.back.lock().unwrap());
        let (front, client, cut) = (Arc::clone(&self.front), Arc::clone(&self.client), Arc::clone(&self.cut));
        carry(back, move |datagram, from| {
            // The server speaks when it is spoken to.
            if let Some(client) = client.get().filter(|_| !cut.load(Ordering::Relaxed)) {
                let _ = front.send_to(datagram, client);
            }
            let _ = from;
        });
    }

    /// Where the client is to send.
    pub(crate) fn address(&self) -> SocketAddr {
        self.front.local_addr().unwrap()
    }

    /// Where the server sees the client from now on, which is told: elsewhere than before. What comes to the place before is lost.
    pub(crate) fn rebind(&self) -> SocketAddr {
        let socket = Arc::new(UdpSocket::bind(LOOPBACK).unwrap());
        let address = socket.local_addr().unwrap();
        *self.back.lock().unwrap() = socket;
        self.carry_down();
        address
    }

    /// Nothing gets through any more.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }
}

fn carry(from: Arc<UdpSocket>, pass: impl Fn(&[u8], SocketAddr) + Send + 'static) {
    thread::spawn(move || {
        let mut datagram = [0; 65_536];
        while let Ok((len, sender)) = from.recv_from(&mut datagram) {
            pass(&datagram[..len], sender);
        }
    });
}
