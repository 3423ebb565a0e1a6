//! Peregrine, driven from a loop of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use peregrine_core::connection::Event;
use peregrine_core::endpoint::Handle;
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::stream::{Read, StreamEvent};
use peregrine_crypto::provider::{Group, Suite};
use peregrine_std::identity::Identity;
use peregrine_std::tls::{ClientTls, ServerTls, Shown, Trust, ours};
use peregrine_std::{Builder, Error, EventLoop, Sizes};

use crate::child::{self, Task};
use crate::{ALPN, AT_ONCE, BULK_BYTES, CONNECTION_WINDOW, NAME, STREAM_WINDOW};

/// What is sent, over and over.
static BYTES: [u8; 64 << 10] = [7; 64 << 10];

fn builder(task: Task) -> Builder {
    let window = STREAM_WINDOW as usize;
    let builder = EventLoop::builder().listen((Ipv4Addr::LOCALHOST, 0).into()).tune(|config| {
        config.peer_bidi_streams = 1;
        config.peer_uni_streams = 0;
        config.connection_window = Some(CONNECTION_WINDOW.into());
    });
    match task {
        Task::Bulk => builder.sizes(Sizes { streams: 2, receive: window, send: window, ..Sizes::default() }),
        // Closed connections linger for some round-trip times.
        Task::Handshakes => builder.sizes(Sizes::SMALL).connections(1 << 14),
    }
}

pub(crate) fn serve(task: Task) -> Duration {
    let identity = Identity::self_signed(&[NAME.into()]).unwrap();
    let certificate = identity.chain[0].to_vec();
    let mut tls = ServerTls::new(Shown::Certificate(identity), &[ALPN]);
    tls.suites = vec![Suite::Aes128GcmSha256];
    tls.groups = vec![Group::X25519];
    let tls = ours::Server::new(tls).unwrap();
    let mut events = builder(task).server(move |_| Ok(tls.session())).event_loop().unwrap();
    let address = events.local_addrs().next().unwrap();
    child::tell(address, &certificate);
    let begin = Instant::now();
    let mut ended = 0;
    let mut left = BULK_BYTES;
    while ended < task.connections() {
        events.turn(None).unwrap();
        while let Some((handle, event)) = events.poll_event() {
            match event {
                Event::Confirmed => events.after_handshake(handle),
                Event::Stream(StreamEvent::Readable(id)) if is_asked(&mut events, handle, id) => {
                    write(&mut events, handle, id, &mut left);
                }
                Event::Stream(StreamEvent::Writable(id)) => write(&mut events, handle, id, &mut left),
                Event::Closed(_) => ended += 1,
                Event::Drained => events.release(handle),
                _ => {}
            }
        }
    }
    begin.elapsed()
}

/// Whether the client has finished its request, of which the end is what counts.
fn is_asked(events: &mut EventLoop, handle: Handle, id: StreamId) -> bool {
    let (connection, _) = events.connection(handle).unwrap();
    let mut rest = [0; 64];
    while let Ok(Read::Bytes(_)) = connection.read_stream(id, &mut rest) {}
    connection.accept(Dir::Bi).is_some()
}

fn write(events: &mut EventLoop, handle: Handle, id: StreamId, left: &mut u64) {
    let (connection, _) = events.connection(handle).unwrap();
    while *left > 0 {
        let next = BYTES.len().min(usize::try_from(*left).unwrap());
        let taken = connection.write_stream(id, &BYTES[..next]).unwrap();
        *left -= taken as u64;
        if taken < next {
            return;
        }
    }
    // The room that is told of after the end is of no use.
    let _ = connection.finish(id);
}

pub(crate) fn fetch(task: Task, server: SocketAddr, certificate: Vec<u8>) -> Duration {
    let mut tls = ClientTls::new(Trust::Roots(vec![certificate.into()]), &[ALPN]);
    tls.suites = vec![Suite::Aes128GcmSha256];
    tls.groups = vec![Group::X25519];
    let tls = ours::Client::new(tls).unwrap();
    let session = move |name: &str| tls.session(name).map_err(|error| Error::Session(error.to_string()));
    let mut events = builder(task).client(session).event_loop().unwrap();
    match task {
        Task::Bulk => download(&mut events, server),
        Task::Handshakes => handshakes(&mut events, server, task.connections()),
    }
}

fn download(events: &mut EventLoop, server: SocketAddr) -> Duration {
    events.connect(server, NAME).unwrap();
    let mut begin = Instant::now();
    let mut received = 0;
    loop {
        events.turn(None).unwrap();
        while let Some((handle, event)) = events.poll_event() {
            let (connection, now) = events.connection(handle).unwrap();
            match event {
                Event::Connected => {
                    begin = Instant::now();
                    let id = connection.open(Dir::Bi).unwrap();
                    connection.write_stream(id, b"all").unwrap();
                    connection.finish(id).unwrap();
                }
                Event::Confirmed => events.after_handshake(handle),
                Event::Stream(StreamEvent::Readable(id)) => {
                    let len = connection.peek_stream(id, |first, second| first.len() + second.len()).unwrap();
                    connection.consume_stream(id, len).unwrap();
                    received += len as u64;
                    if connection.read_stream(id, &mut [0]) == Ok(Read::Finished) {
                        child::check(received);
                        let took = begin.elapsed();
                        connection.close(now, 0, "");
                        events.transmit();
                        return took;
                    }
                }
                Event::Closed(cause) => panic!("{}", peregrine_std::Closed::from(cause)),
                _ => {}
            }
        }
    }
}

fn handshakes(events: &mut EventLoop, server: SocketAddr, count: u64) -> Duration {
    let begin = Instant::now();
    for _ in 0..AT_ONCE {
        events.connect(server, NAME).unwrap();
    }
    let (mut begun, mut complete) = (AT_ONCE, 0);
    while complete < count {
        events.turn(None).unwrap();
        while let Some((handle, event)) = events.poll_event() {
            match event {
                Event::Connected => {
                    complete += 1;
                    // The end of the handshake goes out before the end of the connection.
                    events.transmit();
                    let (connection, now) = events.connection(handle).unwrap();
                    connection.close(now, 0, "");
                    if begun < count {
                        events.connect(server, NAME).unwrap();
                        begun += 1;
                    }
                }
                Event::Closed(cause) => {
                    let closed = peregrine_std::Closed::from(cause);
                    assert!(closed.application_code() == Some(0), "{closed}");
                }
                Event::Drained => events.release(handle),
                _ => {}
            }
        }
    }
    let took = begin.elapsed();
    events.transmit();
    took
}
