//! What the null session says in CRYPTO frames instead of TLS.
//!
//! ```text
//! client                                    server
//! Initial    hello: random, params  ──────▶             PeerParams
//!            Keys(Handshake)        ◀────── hello: random           Keys(Handshake)
//! Handshake  PeerParams             ◀────── flight: check, params   Keys(OneRtt)
//!            Keys(OneRtt), Complete
//! Handshake  finished: check        ──────▶             Complete
//! 1-RTT                             ◀────── ticket, if it has a length
//! ```
//!
//! A message is a type, a length of three bytes, and a body: what stands above, then zeros up to the length asked for.
//! `check` is a digest of both hellos, which also keys the packets: a tampered hello ends in an alert.

use std::collections::VecDeque;

use peregrine_core::error::TransportError;
use peregrine_core::ids::Side;
use peregrine_core::session::{Level, SessionEvent};

use crate::digest::Digest;

/// Lengths of the messages in bytes, their headers included. Too short a one is as long as its contents need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flights {
    /// The client's first message.
    pub client_hello: usize,
    /// The server's answer in Initial packets.
    pub server_hello: usize,
    /// The server's Handshake flight: where a certificate chain would be.
    pub server_flight: usize,
    /// The client's last message.
    pub client_finished: usize,
    /// What the server sends in 1-RTT packets once complete; zero: nothing.
    pub ticket: usize,
}

impl Default for Flights {
    fn default() -> Self {
        Self { client_hello: 280, server_hello: 90, server_flight: 1100, client_finished: 52, ticket: 0 }
    }
}

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const SERVER_FLIGHT: u8 = 3;
const CLIENT_FINISHED: u8 = 4;
const TICKET: u8 = 5;

/// Bytes of type and length.
const HEADER: usize = 4;
/// No message is longer; what claims to be is not buffered.
const LONGEST: usize = 1 << 17;

const UNEXPECTED_MESSAGE: u8 = 10;
const DECODE_ERROR: u8 = 50;
const DECRYPT_ERROR: u8 = 51;

/// The message that comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    /// [`Exchange::start`] was not called yet.
    Start,
    ClientHello,
    ServerHello,
    ServerFlight,
    ClientFinished,
    /// Any number of tickets.
    Ticket,
    Nothing,
}

impl Expect {
    const fn message(self) -> Option<(Level, u8)> {
        Some(match self {
            Self::Start | Self::Nothing => return None,
            Self::ClientHello => (Level::Initial, CLIENT_HELLO),
            Self::ServerHello => (Level::Initial, SERVER_HELLO),
            Self::ServerFlight => (Level::Handshake, SERVER_FLIGHT),
            Self::ClientFinished => (Level::Handshake, CLIENT_FINISHED),
            Self::Ticket => (Level::OneRtt, TICKET),
        })
    }
}

/// CRYPTO bytes of one level on their way out.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    acked: u64,
}

impl Outgoing {
    pub(super) const fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn copy(&self, offset: u64, out: &mut [u8]) -> usize {
        assert!(offset >= self.acked, "CRYPTO offset {offset} was reported acknowledged");
        let rest =
            usize::try_from(offset).ok().and_then(|offset| self.bytes.get(offset..)).unwrap_or_default();
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        len
    }

    pub(super) fn on_acked(&mut self, upto: u64) {
        assert!(upto <= self.len(), "CRYPTO bytes were acknowledged that never were");
        self.acked = self.acked.max(upto);
    }
}

/// The exchange of one side.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    side: Side,
    flights: Flights,
    refuse: Option<u8>,
    random: u64,
    expect: Expect,
    params: Vec<u8>,
    peer_params: Option<Vec<u8>>,
    hellos: Digest,
    outgoing: [Outgoing; 4],
    /// The beginning of a message whose rest has not come.
    partial: Vec<u8>,
    events: VecDeque<SessionEvent>,
}

impl Exchange {
    pub(super) fn new(side: Side, flights: Flights, refuse: Option<u8>, random: u64) -> Self {
        Self {
            side,
            flights,
            refuse,
            random,
            expect: Expect::Start,
            params: Vec::new(),
            peer_params: None,
            hellos: Digest::new(),
            outgoing: Default::default(),
            partial: Vec::new(),
            events: VecDeque::new(),
        }
    }

    pub(super) fn start(&mut self, params: &[u8]) {
        assert_eq!(self.expect, Expect::Start, "the session was started twice");
        self.params = params.to_vec();
        self.expect = match self.side {
            Side::Client => {
                let body = self.with_params(self.random);
                let hello = self.say(Level::Initial, CLIENT_HELLO, &body, self.flights.client_hello);
                self.hellos.bytes(&hello);
                Expect::ServerHello
            }
            Side::Server => Expect::ClientHello,
        };
    }

    /// Takes bytes of `level`; whole messages are acted on, the rest waits.
    pub(super) fn read(&mut self, level: Level, bytes: &[u8]) -> Result<(), TransportError> {
        assert_ne!(self.expect, Expect::Start, "the session was not started");
        let mut pending = std::mem::take(&mut self.partial);
        pending.extend_from_slice(bytes);
        let mut rest = &pending[..];
        while !rest.is_empty() {
            let expected = self.expect.message().filter(|expected| *expected == (level, rest[0]));
            let (_, kind) = expected.ok_or(unexpected())?;
            let Some(length) = rest.get(1..HEADER) else { break };
            let len = HEADER + length.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
            if len > LONGEST {
                return Err(TransportError::alert(DECODE_ERROR, "null session: message too long"));
            }
            let Some((message, after)) = rest.split_at_checked(len) else { break };
            self.on_message(kind, message)?;
            rest = after;
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn on_message(&mut self, kind: u8, message: &[u8]) -> Result<(), TransportError> {
        let body = &message[HEADER..];
        match kind {
            CLIENT_HELLO => {
                self.take_params(body)?;
                self.hellos.bytes(message);
                self.refuse()?;
                self.events.push_back(SessionEvent::PeerParams);
                let random = self.random.to_be_bytes();
                let hello = self.say(Level::Initial, SERVER_HELLO, &random, self.flights.server_hello);
                self.hellos.bytes(&hello);
                self.events.push_back(SessionEvent::Keys(Level::Handshake));
                let body = self.with_params(self.transcript());
                self.say(Level::Handshake, SERVER_FLIGHT, &body, self.flights.server_flight);
                self.events.push_back(SessionEvent::Keys(Level::OneRtt));
                self.expect = Expect::ClientFinished;
            }
            SERVER_HELLO => {
                self.hellos.bytes(message);
                self.events.push_back(SessionEvent::Keys(Level::Handshake));
                self.expect = Expect::ServerFlight;
            }
            SERVER_FLIGHT => {
                self.verify(body)?;
                self.take_params(body)?;
                self.events.push_back(SessionEvent::PeerParams);
                self.refuse()?;
                let check = self.transcript().to_be_bytes();
                self.say(Level::Handshake, CLIENT_FINISHED, &check, self.flights.client_finished);
                self.events.extend([SessionEvent::Keys(Level::OneRtt), SessionEvent::Complete]);
                self.expect = Expect::Ticket;
            }
            CLIENT_FINISHED => {
                self.verify(body)?;
                self.events.push_back(SessionEvent::Complete);
                if self.flights.ticket > 0 {
                    self.say(Level::OneRtt, TICKET, &[], self.flights.ticket);
                }
                self.expect = Expect::Nothing;
            }
            _ => {}
        }
        Ok(())
    }

    fn say(&mut self, level: Level, kind: u8, body: &[u8], len: usize) -> Vec<u8> {
        let body_len = len.saturating_sub(HEADER).max(body.len());
        assert!(HEADER + body_len <= LONGEST, "a message of the null session is too long");
        let mut message = vec![kind];
        message.extend_from_slice(&(body_len as u64).to_be_bytes()[5..]);
        message.extend_from_slice(body);
        message.resize(HEADER + body_len, 0);
        self.outgoing_mut(level).bytes.extend_from_slice(&message);
        message
    }

    /// A body of eight bytes and our transport parameters.
    fn with_params(&self, first: u64) -> Vec<u8> {
        let len = u16::try_from(self.params.len()).expect("transport parameters below 64 KiB");
        [&first.to_be_bytes()[..], &len.to_be_bytes(), &self.params].concat()
    }

    fn take_params(&mut self, body: &[u8]) -> Result<(), TransportError> {
        let params = body.get(8..10).and_then(|len| {
            let len = u16::from_be_bytes([len[0], len[1]]);
            body.get(10..10 + usize::from(len))
        });
        let Some(params) = params else {
            return Err(TransportError::alert(DECODE_ERROR, "null session: malformed message"));
        };
        self.peer_params = Some(params.to_vec());
        Ok(())
    }

    fn verify(&self, body: &[u8]) -> Result<(), TransportError> {
        if body.get(..8) == Some(&self.transcript().to_be_bytes()) {
            Ok(())
        } else {
            Err(TransportError::alert(DECRYPT_ERROR, "null session: the hellos differ"))
        }
    }

    const fn refuse(&self) -> Result<(), TransportError> {
        match self.refuse {
            Some(alert) => Err(TransportError::alert(alert, "null session: told to refuse")),
            None => Ok(()),
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// A digest of both hellos, once they are known.
    pub(super) const fn transcript(&self) -> u64 {
        self.hellos.finish()
    }

    pub(super) fn peer_params(&self) -> Option<&[u8]> {
        self.peer_params.as_deref()
    }

    pub(super) const fn outgoing(&self, level: Level) -> &Outgoing {
        &self.outgoing[level as usize]
    }

    pub(super) const fn outgoing_mut(&mut self, level: Level) -> &mut Outgoing {
        &mut self.outgoing[level as usize]
    }

    pub(super) fn discard(&mut self, level: Level) {
        *self.outgoing_mut(level) = Outgoing::default();
    }
}

const fn unexpected() -> TransportError {
    TransportError::alert(UNEXPECTED_MESSAGE, "null session: unexpected message")
}
