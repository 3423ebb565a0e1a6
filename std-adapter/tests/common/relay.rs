//! A relay in front of a server, for tests that look at what crosses the wire.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

/// Passes what `receive` takes off `front`, and says where it came from, on to the server, and its answers back. The server
/// sees a port of its own for each port of clients.
pub(crate) fn relay(
    front: UdpSocket,
    server: SocketAddr,
    mut receive: impl FnMut(&UdpSocket, &mut [u8]) -> (usize, SocketAddr) + Send + 'static,
) -> SocketAddr {
    let address = front.local_addr().unwrap();
    let front = Arc::new(front);
    thread::spawn(move || {
        let mut backs: BTreeMap<SocketAddr, UdpSocket> = BTreeMap::new();
        let mut datagram = [0; 65_536];
        loop {
            let (len, from) = receive(&front, &mut datagram);
            let back = backs.entry(from).or_insert_with(|| {
                let back = UdpSocket::bind((address.ip(), 0)).unwrap();
                back.connect(server).unwrap();
                let (answers, front) = (back.try_clone().unwrap(), Arc::clone(&front));
                thread::spawn(move || {
                    let mut datagram = [0; 65_536];
                    while let Ok(len) = answers.recv(&mut datagram) {
                        front.send_to(&datagram[..len], from).unwrap();
                    }
                });
                back
            });
            // A server that is away for a while misses it.
            let _ = back.send(&datagram[..len]);
        }
    });
    address
}
