//! A server with many connections, of which one after another is sent a PING and acknowledges it when its timer says so.

use std::time::Duration;

use peregrine_core::connection::Transmit;
use peregrine_core::endpoint::{Endpoint, EndpointConfig, Handled, RetryPolicy};
use peregrine_core::ids::{Ecn, Side};
use peregrine_core::time::Instant;
use peregrine_tests::memory::{HeapMemory, HeapSlots, Sizes};
use peregrine_tests::null_session::NullEndpointCrypto;

use crate::aside::Aside;
use crate::{Peer, at_client, at_server, client, client_address, config, count_if};

const SIZES: Sizes =
    Sizes { paths: 1, streams: 1, sent: 16, rx: 64, tx: 64, datagram: 0, cids: 4, routes: 3 };
const ROUNDS: u32 = 2_000;
/// From one connection to the next, in an order far from that in which they came.
const STRIDE: u32 = 7_919;

/// Counts `part` of the rounds at so many connections; returns the rounds.
pub(crate) fn run(connections: u32, part: &str) -> u64 {
    let mut server = Server::new(connections);
    let mut clients: Vec<_> = (0..connections).map(|number| server.connect(number)).collect();
    let mut number = 0;
    for _ in 0..ROUNDS {
        number = (number + STRIDE) % connections;
        server.ping(number, &mut clients[number as usize], part);
    }
    ROUNDS.into()
}

struct Server {
    endpoint: Endpoint<HeapSlots<Aside>, NullEndpointCrypto>,
    now: Instant,
    buffer: [u8; 1500],
}

impl Server {
    fn new(connections: u32) -> Self {
        let config = EndpointConfig {
            server: true,
            connection: config(),
            retry: RetryPolicy::UnderLoad,
            ..EndpointConfig::default()
        };
        // Twice the slots, so that no client is asked to prove its address.
        let slots = HeapSlots::new(2 * connections as usize + 2);
        let endpoint = Endpoint::new(config, slots, NullEndpointCrypto::new(1));
        Self { endpoint, now: Instant::from_micros(1_000_000), buffer: [0; 1500] }
    }

    fn connect(&mut self, number: u32) -> Peer {
        let mut client = client(number, self.now, SIZES);
        for _ in 0..20 {
            while let Some(transmit) = client.poll_transmit(self.now, &mut self.buffer) {
                self.take(number, transmit.len);
            }
            while let Some((_, transmit)) = self.endpoint.poll_transmit(self.now, &mut self.buffer) {
                if transmit.remote == client_address(number) {
                    self.give(number, &mut client, &transmit);
                }
            }
            self.now = self.now.after(Duration::from_millis(2));
            client.handle_timeout(self.now);
            self.endpoint.handle_timeout(self.now);
        }
        while self.endpoint.poll_event().is_some() {}
        assert!(client.is_established() && self.endpoint.len() == number as usize + 1);
        client
    }

    fn take(&mut self, number: u32, len: usize) {
        let datagram = &mut self.buffer[..len];
        let handled = self.endpoint.handle_datagram(self.now, at_server(number), Ecn::NotEct, datagram);
        if let Handled::Incoming(incoming) = handled {
            let session = Aside::new(Side::Server, u64::from(number) + 1);
            let accepted =
                self.endpoint.accept(self.now, incoming, datagram, HeapMemory::new(SIZES), session);
            accepted.expect("a client");
        }
    }

    fn give(&mut self, number: u32, client: &mut Peer, transmit: &Transmit) {
        let datagram = &mut self.buffer[..transmit.len];
        client.handle_datagram(self.now, at_client(number), Ecn::NotEct, datagram);
    }

    fn ping(&mut self, number: u32, client: &mut Peer, part: &str) {
        client.ping();
        let transmit = client.poll_transmit(self.now, &mut self.buffer).expect("a PING");
        let at_once = count_if("datagram", part, || {
            self.take(number, transmit.len);
            while self.endpoint.poll_event().is_some() {}
            self.endpoint.poll_transmit(self.now, &mut self.buffer)
        });
        // Behind a packet number that was skipped an acknowledgment does not wait; that is seldom.
        if let Some((_, transmit)) = at_once {
            self.give(number, client, &transmit);
            while self.endpoint.poll_transmit(self.now, &mut []).is_some() {}
            return;
        }
        // The acknowledgment waits for this timer.
        let deadline = count_if("timer", part, || self.endpoint.next_timeout());
        self.now = deadline.instant().expect("a timer").max(self.now);
        let sent = count_if("timer", part, || {
            self.endpoint.handle_timeout(self.now);
            let sent = self.endpoint.poll_transmit(self.now, &mut self.buffer);
            assert_eq!(self.endpoint.poll_transmit(self.now, &mut []), None);
            sent
        });
        let (_, transmit) = sent.expect("an acknowledgment");
        assert_eq!(transmit.remote, client_address(number));
        self.give(number, client, &transmit);
        while client.poll_event().is_some() {}
    }
}
