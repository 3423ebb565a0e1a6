//! A bulk transfer: a client writes on some of its open streams whenever there is room, a server reads what comes. Both
//! applications work in pieces of a datagram's size, so that they make as many calls per packet on one stream as on many.

use std::time::Duration;

use peregrine_core::connection::{Accepted, Connection, Event};
use peregrine_core::ids::{Dir, Ecn, Side, StreamId};
use peregrine_core::limits::RESET_TOKEN_LEN;
use peregrine_core::stream::{Read, StreamEvent};
use peregrine_core::time::Instant;
use peregrine_core::wire::{Cid, version::V1};
use peregrine_tests::memory::{HeapMemory, Sizes};

use crate::aside::Aside;
use crate::{DATAGRAM, Peer, at_client, at_server, client, client_cid, config, count_if, first_cid};

const PIECE: [u8; DATAGRAM as usize] = [0x5a; DATAGRAM as usize];
/// Bytes that each stream holds for sending.
const SEND: usize = 8_192;
/// Receive memory of each stream; a ninth of it marks what is out of order.
const RECEIVE: usize = 73_728;
/// Packets between two looks of the applications: what one stream holds.
const ROUND: u64 = SEND as u64 / DATAGRAM as u64;
/// Packets in which each of the streams has had its turn, several times.
const WARM_UP: u64 = 10_000;
const PACKETS: u64 = 8_000;

/// Counts `part` of a transfer on `active` of so many open streams; returns the packets sent meanwhile.
pub(crate) fn run(streams: usize, active: usize, part: &str) -> u64 {
    let mut transfer = Transfer::begin(streams);
    let ids: Vec<_> = (0..streams).map(|_| transfer.sender.open(Dir::Uni).expect("a stream")).collect();
    for id in &ids {
        transfer.sender.write_stream(*id, &PIECE[..1]).expect("an open stream");
    }
    for id in &ids[..active] {
        transfer.write(*id, "");
    }
    transfer.go_on(WARM_UP, &ids[..active], "");
    transfer.go_on(PACKETS, &ids[..active], part)
}

struct Transfer {
    sender: Peer,
    receiver: Peer,
    now: Instant,
}

impl Transfer {
    /// A client and a server that have shaken hands.
    fn begin(streams: usize) -> Self {
        let now = Instant::from_micros(1_000_000);
        let sizes = Sizes { paths: 1, streams, sent: 1024, rx: 1, tx: 1, datagram: 0, cids: 4, routes: 3 };
        let accepted = Accepted {
            on: at_server(1),
            version: V1,
            original_dcid: first_cid(1),
            initial_dcid: first_cid(1),
            retry_scid: None,
            peer_cid: client_cid(1),
            scid: Cid::new(b"receiver").expect("a connection ID"),
            reset_token: [7; RESET_TOKEN_LEN],
            preferred: None,
            address_validated: true,
        };
        let config = config_for(streams);
        let memory = HeapMemory::new(Sizes { rx: RECEIVE, ..sizes });
        let session = Aside::new(Side::Server, 2);
        let receiver = Connection::server(now, &config, &accepted, memory, session).expect("a server");
        let mut pair = Self { sender: client(1, now, Sizes { tx: SEND, ..sizes }), receiver, now };
        for _ in 0..20 {
            pair.exchange("");
            pair.wait();
        }
        assert!(pair.sender.is_established() && pair.receiver.is_established());
        pair
    }

    fn go_on(&mut self, packets: u64, writing: &[StreamId], part: &str) -> u64 {
        let mut sent = 0;
        while sent < packets {
            sent += self.exchange(part);
            self.read(part);
            self.acknowledge(part);
            self.wait();
            while let Some(event) = self.sender.poll_event() {
                if let Event::Stream(StreamEvent::Writable(id)) = event
                    && writing.contains(&id)
                {
                    self.write(id, part);
                }
            }
        }
        sent
    }

    fn write(&mut self, id: StreamId, part: &str) {
        while count_if("write", part, || self.sender.write_stream(id, &PIECE)) == Ok(PIECE.len()) {}
    }

    /// Lets each side send what it has to say, up to a bound; returns the packets from sender to receiver.
    fn exchange(&mut self, part: &str) -> u64 {
        let mut buffer = PIECE;
        let (now, mut sent) = (self.now, 0);
        while sent < ROUND {
            let transmit = count_if("send", part, || self.sender.poll_transmit(now, &mut buffer));
            let Some(transmit) = transmit else { break };
            let datagram = &mut buffer[..transmit.len];
            count_if("receive", part, || {
                self.receiver.handle_datagram(now, at_server(1), Ecn::NotEct, datagram);
            });
            sent += 1;
            self.acknowledge(part);
        }
        self.acknowledge(part);
        sent
    }

    fn acknowledge(&mut self, part: &str) {
        let mut buffer = PIECE;
        let now = self.now;
        while let Some(transmit) =
            count_if("acknowledge", part, || self.receiver.poll_transmit(now, &mut buffer))
        {
            let datagram = &mut buffer[..transmit.len];
            count_if("acknowledged", part, || {
                self.sender.handle_datagram(now, at_client(1), Ecn::NotEct, datagram);
            });
        }
    }

    fn read(&mut self, part: &str) {
        while let Some(event) = self.receiver.poll_event() {
            match event {
                Event::Stream(StreamEvent::Opened(dir)) => while self.receiver.accept(dir).is_some() {},
                Event::Stream(StreamEvent::Readable(id)) => {
                    let mut bytes = PIECE;
                    let full = Ok(Read::Bytes(bytes.len()));
                    while count_if("read", part, || self.receiver.read_stream(id, &mut bytes)) == full {}
                }
                _ => {}
            }
        }
    }

    fn wait(&mut self) {
        self.now = self.now.after(Duration::from_millis(1));
        self.sender.handle_timeout(self.now);
        self.receiver.handle_timeout(self.now);
    }
}

fn config_for(streams: usize) -> peregrine_core::connection::Config {
    let peer_uni_streams = u16::try_from(streams).expect("so many streams can be named");
    peregrine_core::connection::Config { peer_uni_streams, ..config() }
}
