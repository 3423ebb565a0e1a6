//! An endpoint driven by hand: server and client in one thread, each in its own loop.

use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::Dir;
use peregrine_core::stream::{Read, StreamEvent};
use peregrine_std::tls::ClientTls;
use peregrine_std::{EventLoop, pattern};

mod common;
use common::{ALPN, NAME, Tls, client_sessions, loopback, server_sessions, server_tls};

const LEN: u64 = 3 << 20;

/// Sends the pattern on the first stream that a client opens.
#[derive(Default)]
struct Sender {
    stream: Option<(Handle, peregrine_core::ids::StreamId)>,
    sent: u64,
    finished: bool,
    over: bool,
}

impl Sender {
    fn turn(&mut self, events: &mut EventLoop) {
        while let Some((handle, event)) = events.poll_event() {
            match event {
                Event::Confirmed => events.after_handshake(handle),
                Event::Stream(StreamEvent::Opened(Dir::Bi)) => {
                    let (connection, _) = events.connection(handle).unwrap();
                    self.stream = connection.accept(Dir::Bi).map(|id| (handle, id));
                }
                Event::Closed(_) => self.over = true,
                Event::Drained => events.release(handle),
                _ => {}
            }
        }
        let Some((handle, id)) = self.stream.filter(|_| !self.finished) else { return };
        let Some((connection, _)) = events.connection(handle) else { return };
        let mut chunk = [0; 10_000];
        while self.sent < LEN {
            let chunk = &mut chunk[..10_000.min((LEN - self.sent) as usize)];
            pattern::fill(self.sent, chunk);
            let taken = connection.write_stream(id, chunk).unwrap();
            self.sent += taken as u64;
            if taken < chunk.len() {
                return;
            }
        }
        connection.finish(id).unwrap();
        self.finished = true;
    }
}

#[test]
fn a_transfer_between_two_loops_on_one_thread() {
    let (tls, trust) = server_tls();
    let sessions = server_sessions(tls, Tls::Ours);
    let mut server =
        EventLoop::builder().listen(loopback()).server(move |_| Ok(sessions())).event_loop().unwrap();
    let sessions = client_sessions(ClientTls::new(trust, ALPN), Tls::Ours);
    let mut client = EventLoop::builder().client(sessions).event_loop().unwrap();
    let address = server.local_addrs().next().unwrap();
    assert_eq!(client.sockets().count(), 1);
    assert_eq!(client.next_timeout(), None);
    let handle = client.connect(address, NAME).unwrap();

    let mut sender = Sender::default();
    let (mut id, mut received, mut closed) = (None, 0, false);
    let (mut got, mut expected) = (vec![0; 50_000], vec![0; 50_000]);
    let clock = peregrine_std::clock::Clock::start();
    while !(closed && sender.over) {
        assert!(clock.now().as_micros() < 30_000_000, "{received} of {LEN} bytes");
        server.turn(Some(Duration::from_millis(1))).unwrap();
        sender.turn(&mut server);
        server.transmit();
        client.turn(Some(Duration::from_millis(1))).unwrap();
        while let Some((_, event)) = client.poll_event() {
            let (connection, _) = client.connection(handle).unwrap();
            match event {
                Event::Connected => {
                    id = connection.open(Dir::Bi).ok();
                    connection.finish(id.unwrap()).unwrap();
                }
                Event::Closed(_) => closed = true,
                _ => {}
            }
        }
        let (Some(id), false) = (id, closed) else { continue };
        let (connection, now) = client.connection(handle).unwrap();
        loop {
            match connection.read_stream(id, &mut got) {
                Ok(Read::Bytes(len)) => {
                    pattern::fill(received, &mut expected[..len]);
                    assert!(got[..len] == expected[..len], "at {received}");
                    received += len as u64;
                }
                Ok(Read::Finished) => {
                    assert_eq!(received, LEN);
                    connection.close(now, 0, "");
                }
                Ok(Read::Blocked) | Err(_) => break,
                Ok(Read::Reset(code)) => panic!("reset with {code}"),
            }
        }
        client.transmit();
    }
    assert_eq!((server.stats().accepted, client.stats().connected), (1, 1));
}
