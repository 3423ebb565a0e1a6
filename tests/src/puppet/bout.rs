//! A puppet against a node: what one sends the other has at once, and time passes only by [`Bout::wait_ms`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::ids::{Ecn, FourTuple, PathId};
use peregrine_core::lifecycle::{Cause, Reason};
use peregrine_core::session::Level;
use peregrine_core::time::Instant;
use peregrine_core::wire::frame::{Frame, HandshakeDone};
use peregrine_core::wire::header::{FixedBit, Header};
use peregrine_core::wire::params::TransportParams;

use super::{HeardClose, Puppet, ack, bytes, path_ack};
use crate::quic::{App, NullConnection, QuicNode, Setup};
use crate::sim::Node;

/// A puppet against a node.
pub struct Bout {
    /// The node under test.
    pub node: QuicNode,
    /// Its peer.
    pub puppet: Puppet,
    /// The present.
    pub now: Instant,
    /// Sizes of the datagrams that the node was sent.
    pub to_node: Vec<usize>,
    /// Sizes of the datagrams that the node has sent.
    pub from_node: Vec<usize>,
    /// Where each of these went, and in a batch of how many.
    pub batches: Vec<(SocketAddr, usize)>,
    /// What the node has sent and the puppet has not looked at.
    pub unheard: Vec<Vec<u8>>,
}

impl Bout {
    /// A bout that has not begun.
    pub fn new(setup: Setup, puppet: Puppet) -> Self {
        Self {
            node: QuicNode::new(Setup { app: App::None, ..setup }),
            puppet,
            now: Instant::from_micros(1_000),
            to_node: Vec::new(),
            from_node: Vec::new(),
            batches: Vec::new(),
            unheard: Vec::new(),
        }
    }

    /// A puppet client that has shaken hands with a server of this setup.
    pub fn against_server(setup: Setup) -> Self {
        Self::against_server_with(setup, |_| {})
    }

    /// The same with other transport parameters.
    pub fn against_server_with(setup: Setup, change: impl FnOnce(&mut TransportParams)) -> Self {
        let mut bout = Self::new(setup, Puppet::client(77));
        let mut params = bout.puppet.params();
        change(&mut params);
        bout.puppet.start(&params);
        bout.shake_hands();
        assert!(bout.connection().is_established());
        bout
    }

    /// A puppet server that has shaken hands with a client of this setup, and has confirmed it.
    pub fn against_client(setup: Setup) -> Self {
        Self::against_client_with(setup, |_| {})
    }

    /// The same with other transport parameters.
    pub fn against_client_with(setup: Setup, change: impl FnOnce(&mut TransportParams)) -> Self {
        let mut bout = Self::against_unconfirmed_client(setup, change);
        bout.send(Level::OneRtt, &bytes(&[Frame::HandshakeDone(HandshakeDone)]));
        bout
    }

    /// The same, where TLS is over and the handshake is not confirmed.
    pub fn against_unconfirmed_client(setup: Setup, change: impl FnOnce(&mut TransportParams)) -> Self {
        let mut bout = Self::new(setup, Puppet::server(78));
        bout.connect();
        let mut params = bout.puppet.params();
        change(&mut params);
        bout.puppet.start(&params);
        bout.shake_hands();
        assert!(bout.connection().is_established());
        bout
    }

    /// Lets the client under test begin. What it says first waits until the puppet has started TLS.
    pub fn connect(&mut self) {
        self.node.connect(self.now, address(PUPPET), &[]);
        self.drain();
        let header = Header::parse(&self.unheard[0], 0, 8, FixedBit::Ignored).expect("an Initial");
        self.puppet.original_dcid = Some(header.dcid);
        self.puppet.dcid = header.scid;
    }

    /// Lets TLS on both sides say what it has to say.
    pub fn shake_hands(&mut self) {
        loop {
            self.hear();
            let mut said = false;
            for level in [Level::Initial, Level::Handshake] {
                if let Some(crypto) = self.puppet.crypto(level) {
                    self.send(level, &crypto);
                    said = true;
                }
            }
            if !said {
                return;
            }
        }
    }

    /// Sends the node a packet with this payload in a datagram of its own, and hears what it answers.
    pub fn send(&mut self, level: Level, payload: &[u8]) {
        let datagram = self.puppet.datagram(level, payload);
        self.deliver(&datagram);
        self.hear();
    }

    /// Sends the node a 1-RTT packet of these frames, and hears what it answers.
    pub fn say(&mut self, frames: &[Frame<'_>]) {
        self.send(Level::OneRtt, &bytes(frames));
    }

    /// Sends the node a packet of a path with these frames from this address, and hears what it answers.
    pub fn say_on(&mut self, path: PathId, from: &str, frames: &[Frame<'_>]) {
        let datagram = self.puppet.seal_on(path, &bytes(frames));
        self.deliver_from(from, &datagram);
        self.hear();
    }

    /// Acknowledges all 1-RTT packets heard of a path beside that of the handshake, over that of the handshake.
    ///
    /// # Panics
    /// If the puppet speaks no dialect of multipath.
    pub fn ack_path(&mut self, path: PathId) {
        let heard = self.puppet.heard.iter().filter(|heard| heard.path == path);
        let numbers: BTreeSet<u64> = heard.map(|heard| heard.pn).collect();
        let Some(largest) = numbers.last() else { return };
        let lowest = (0..=*largest).rev().take_while(|pn| numbers.contains(pn)).last().unwrap_or(*largest);
        let dialect = self.puppet.dialect.expect("a dialect");
        self.send(Level::OneRtt, &path_ack(dialect, path, &[lowest..=*largest]));
    }

    /// Acknowledges all 1-RTT packets heard.
    pub fn ack(&mut self) {
        if let Some(largest) = self.puppet.largest(Level::OneRtt) {
            let heard: BTreeSet<u64> = self.puppet.numbers(Level::OneRtt).collect();
            // Ranges from the newest on; a few suffice, since the node forgets what was acknowledged.
            let lowest = (0..=largest).rev().take_while(|pn| heard.contains(pn)).last().unwrap_or(largest);
            self.send(Level::OneRtt, &ack(&[lowest..=largest]));
        }
    }

    /// Hands the node a datagram from where the puppet is, and collects what it answers.
    pub fn deliver(&mut self, datagram: &[u8]) {
        self.deliver_from(PUPPET, datagram);
    }

    /// Hands it to the node as if it came from elsewhere.
    pub fn deliver_from(&mut self, remote: &str, datagram: &[u8]) {
        self.to_node.push(datagram.len());
        let on = FourTuple { local: address(NODE), remote: address(remote), interface: 1 };
        self.node.handle_datagram(self.now, on, Ecn::NotEct, &mut datagram.to_vec());
        self.drain();
    }

    /// Lets time pass, and hears what the node then says.
    pub fn wait_ms(&mut self, millis: u64) {
        let end = self.now.after(Duration::from_millis(millis));
        loop {
            let next = self.node.next_timeout();
            if !next.is_due(end) {
                break;
            }
            self.now = self.now.max(next.instant().unwrap_or(end));
            self.node.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self.hear();
    }

    /// Collects what the node has to say.
    pub fn drain(&mut self) {
        let mut out = vec![0; 65_536];
        while let Some(transmit) = self.node.poll_transmit(self.now, &mut out) {
            let segment = transmit.segment_size.unwrap_or(transmit.len);
            for datagram in out[..transmit.len].chunks(segment) {
                self.from_node.push(datagram.len());
                self.batches.push((transmit.four_tuple.remote, transmit.len.div_ceil(segment)));
                self.unheard.push(datagram.to_vec());
            }
        }
    }

    /// Lets the puppet hear what was collected.
    pub fn hear(&mut self) {
        for datagram in std::mem::take(&mut self.unheard) {
            self.puppet.hear(&datagram);
        }
    }

    /// The node's connection.
    pub fn connection(&mut self) -> &mut NullConnection {
        let handle = self.node.latest().expect("a connection");
        self.node.connection(handle)
    }

    /// Does something to the node's connection, and hears what it then says.
    pub fn act<R>(&mut self, act: impl FnOnce(&mut NullConnection, Instant) -> R) -> R {
        let now = self.now;
        let result = act(self.connection(), now);
        self.drain();
        self.hear();
        result
    }

    /// The transport error with which the node has closed; it must have told the puppet what it told its application.
    ///
    /// # Panics
    /// If it has not closed, or says different things.
    pub fn error(&mut self) -> HeardClose {
        let heard = self.puppet.close().expect("a CONNECTION_CLOSE");
        let told = self.node.find(|event| match event {
            Event::Closed(Cause::Local(close)) => Some(*close),
            _ => None,
        });
        let told = told.expect("an event that tells why");
        assert_eq!(told.phrase.as_str(), heard.reason);
        let Reason::Transport { code, frame } = told.reason else { panic!("the application closed") };
        assert_eq!((code, Some(frame)), (heard.code, heard.frame));
        heard
    }
}

/// Where the node of a bout is.
pub const NODE: &str = "192.0.2.9:4433";
/// Where its puppet is.
pub const PUPPET: &str = "198.51.100.7:5555";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
