//! How connections come to be: ours, and those of clients that pass the door.

use core::fmt;

use super::admit::{Load, Proof, Verdict, verdict};
use super::lookup::Index;
use super::stateless::{self, Refusal, Retry};
use super::token::Token;
use super::{Endpoint, EndpointMemory, Handle, Handled};
use crate::connection::{Accepted, Connection, Opened};
use crate::error::{Code, TransportError, Why};
use crate::ids::{Ecn, FourTuple};
use crate::limits::{MAX_CID_LEN, MIN_INITIAL_DATAGRAM, MIN_INITIAL_DCID_LEN, RESET_TOKEN_LEN};
use crate::session::EndpointCrypto;
use crate::time::{Deadline, Instant};
use crate::wire::Cid;
use crate::wire::header::{FixedBit, Header, Invariants, PacketType};
use crate::wire::version::V1;

/// A client that may come in.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// The addresses its first datagram came on.
    pub on: FourTuple,
    /// Whether it has proved its address.
    pub address_validated: bool,
    ecn: Ecn,
    version: u32,
    original_dcid: Cid,
    dcid: Cid,
    scid: Cid,
    retry_scid: Option<Cid>,
}

/// How to open a connection.
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    /// Our address, which may be unspecified, and the server's.
    pub on: FourTuple,
    /// A token of an earlier connection's NEW_TOKEN frame, or nothing.
    pub token: &'a [u8],
}

/// Why a connection could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ConnectError {
    /// All slots are in use: take drained connections out, or lend the endpoint more.
    Full,
    /// There is a connection to this address, and without connection IDs their packets cannot be told apart.
    SameRemote,
    /// The session, or the memory lent to the connection, cannot start one.
    Start(TransportError),
}

/// Why a client could not be let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AcceptError {
    /// All slots are in use.
    Full,
    /// The session, or the memory lent to the connection, cannot start one.
    Start(TransportError),
    /// Its first datagram was not genuine; nothing was kept.
    Forged,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("all connection slots are in use"),
            Self::SameRemote => {
                f.write_str("without connection IDs there can be one connection to an address")
            }
            Self::Start(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("all connection slots are in use"),
            Self::Start(error) => error.fmt(f),
            Self::Forged => f.write_str("the first datagram is not genuine"),
        }
    }
}

impl core::error::Error for ConnectError {}
impl core::error::Error for AcceptError {}

impl<T: EndpointMemory, C: EndpointCrypto> Endpoint<T, C> {
    /// Opens a connection. Its first datagram comes out of [`Self::poll_transmit`].
    ///
    /// # Errors
    /// See [`ConnectError`]; memory and session are dropped then.
    pub fn connect(
        &mut self,
        now: Instant,
        how: Connect<'_>,
        memory: T::Memory,
        session: T::Session,
    ) -> Result<Handle, ConnectError> {
        let tables = self.memory.tables();
        let index = Index::new(self.hash_key, tables.index);
        if self.config.cid_len == 0 && index.by_remote(how.on.remote).next().is_some() {
            return Err(ConnectError::SameRemote);
        }
        let slot = self.free.take(tables.slots).ok_or(ConnectError::Full)?;
        let mut random = [0; MIN_INITIAL_DCID_LEN];
        self.crypto.fill_random(&mut random);
        let opened = Opened {
            on: how.on,
            version: V1,
            scid: self.fresh_cid(slot),
            dcid: Cid::new(&random).unwrap_or_default(),
            token: how.token,
        };
        match Connection::client(now, &self.config.connection, &opened, memory, session) {
            Ok(connection) => {
                self.stats.connected = self.stats.connected.saturating_add(1);
                Ok(self.install(slot, connection))
            }
            Err(error) => {
                self.unroute_cid(slot, opened.scid);
                self.free.give(self.memory.tables().slots, slot);
                Err(ConnectError::Start(error))
            }
        }
    }

    /// Lets a client in. `datagram` is the one that [`Self::handle_datagram`] answered with [`Handled::Incoming`].
    ///
    /// # Errors
    /// See [`AcceptError`]; memory and session are dropped then.
    pub fn accept(
        &mut self,
        now: Instant,
        incoming: Incoming,
        datagram: &mut [u8],
        memory: T::Memory,
        session: T::Session,
    ) -> Result<Handle, AcceptError> {
        let slot = self.free.take(self.memory.tables().slots).ok_or(AcceptError::Full)?;
        let scid = self.fresh_cid(slot);
        let preferred = self.preferred_cid(slot);
        let accepted = Accepted {
            on: incoming.on,
            version: incoming.version,
            original_dcid: incoming.original_dcid,
            initial_dcid: incoming.dcid,
            retry_scid: incoming.retry_scid,
            peer_cid: incoming.scid,
            scid,
            reset_token: self.crypto.reset_token(scid.as_slice()),
            preferred,
            address_validated: incoming.address_validated,
        };
        let unroute = [Some(scid), preferred.map(|(cid, _)| cid)];
        let mut connection =
            match Connection::server(now, &self.config.connection, &accepted, memory, session) {
                Ok(connection) => connection,
                Err(error) => {
                    unroute.into_iter().flatten().for_each(|cid| self.unroute_cid(slot, cid));
                    self.free.give(self.memory.tables().slots, slot);
                    return Err(AcceptError::Start(error));
                }
            };
        connection.handle_datagram(now, incoming.on, incoming.ecn, datagram);
        if !connection.has_received() {
            unroute.into_iter().flatten().for_each(|cid| self.unroute_cid(slot, cid));
            self.free.give(self.memory.tables().slots, slot);
            return Err(AcceptError::Forged);
        }
        let tables = self.memory.tables();
        Index::new(self.hash_key, tables.index).insert_cid(incoming.dcid.as_slice(), slot);
        if let Some(row) = tables.slots.get_mut(slot as usize) {
            row.half_open = true;
            row.original_dcid = incoming.dcid;
        }
        self.half_open = self.half_open.saturating_add(1);
        self.stats.accepted = self.stats.accepted.saturating_add(1);
        Ok(self.install(slot, connection))
    }

    /// Turns a client away with CONNECTION_REFUSED: writes the answer into the datagram's buffer and returns its
    /// length.
    pub fn refuse(&mut self, incoming: Incoming, datagram: &mut [u8]) -> usize {
        self.close_without_state(
            incoming.version,
            incoming.dcid,
            incoming.scid,
            Code::CONNECTION_REFUSED,
            datagram,
        )
    }

    /// A datagram of no connection we know.
    pub(super) fn handle_stranger(
        &mut self,
        now: Instant,
        seen: &Invariants,
        on: FourTuple,
        ecn: Ecn,
        datagram: &mut [u8],
    ) -> Handled {
        if let Some(handle) = self.handle_reset(now, on, datagram) {
            return Handled::Connection(handle);
        }
        match seen {
            Invariants::Short => self.handle_lost(now, datagram),
            Invariants::Long { version: 0, .. } => Handled::Ignored(Why::UnknownCid),
            _ if !self.config.server => Handled::Ignored(Why::UnknownCid),
            // A smaller datagram is no client's first, and answering it would amplify (RFC 9000 5.2.2, 14.1).
            Invariants::Long { .. } if datagram.len() < MIN_INITIAL_DATAGRAM => {
                Handled::Ignored(Why::ShortInitial)
            }
            Invariants::Long { version, dcid, scid } if *version != V1 => {
                let mut random = [0; 4];
                self.crypto.fill_random(&mut random);
                let random = u32::from_ne_bytes(random);
                match stateless::version_negotiation(dcid.clone(), scid.clone(), random, datagram) {
                    Some(len) => {
                        self.stats.negotiations = self.stats.negotiations.saturating_add(1);
                        Handled::Reply(len)
                    }
                    None => Handled::Ignored(Why::Version),
                }
            }
            Invariants::Long { .. } => self.handle_newcomer(now, on, ecn, datagram),
        }
    }

    fn handle_newcomer(&mut self, now: Instant, on: FourTuple, ecn: Ecn, datagram: &mut [u8]) -> Handled {
        // No token of ours has said yet that the fixed bit may be cleared (RFC 9287 3.1).
        let Ok(header) = Header::parse(datagram, 0, usize::from(self.config.cid_len), FixedBit::Required)
        else {
            return Handled::Ignored(Why::Malformed);
        };
        let (dcid, scid) = (header.dcid, header.scid);
        let PacketType::Initial { token } = header.packet else { return Handled::Ignored(Why::UnknownCid) };
        if dcid.len() < MIN_INITIAL_DCID_LEN {
            return Handled::Ignored(Why::Malformed);
        }
        let sealed = datagram.get(token).unwrap_or_default();
        let (proof, original_dcid, retry_scid) = self.judge_token(now, on, dcid, sealed);
        let incoming = Incoming {
            on,
            address_validated: proof == Proof::Valid,
            ecn,
            version: V1,
            original_dcid,
            dcid,
            scid,
            retry_scid,
        };
        match verdict(self.config.retry, self.load(), proof) {
            Verdict::Accept => Handled::Incoming(incoming),
            Verdict::Retry => self.retry(now, on, dcid, scid, datagram),
            Verdict::Refuse => Handled::Reply(self.refuse(incoming, datagram)),
            Verdict::InvalidToken => {
                Handled::Reply(self.close_without_state(V1, dcid, scid, Code::INVALID_TOKEN, datagram))
            }
        }
    }

    /// What a token proves, the client's very first DCID, and the SCID of our Retry if there was one.
    fn judge_token(
        &mut self,
        now: Instant,
        on: FourTuple,
        dcid: Cid,
        sealed: &[u8],
    ) -> (Proof, Cid, Option<Cid>) {
        let nothing = (Proof::None, dcid, None);
        match Token::open(self.epoch, &mut self.crypto, sealed) {
            Some(token @ Token::Retry { remote, original_dcid, retry_scid, .. }) => {
                let fits = remote == on.remote && retry_scid == dcid;
                if fits && token.is_fresh(now, self.config.retry_lifetime.into()) {
                    (Proof::Valid, original_dcid, Some(retry_scid))
                } else {
                    (Proof::Invalid, dcid, None)
                }
            }
            Some(token @ Token::Earlier { ip, .. }) => {
                let fits = ip == on.remote.ip() && token.is_fresh(now, self.config.token_lifetime.into());
                if fits { (Proof::Valid, dcid, None) } else { nothing }
            }
            None => nothing,
        }
    }

    fn retry(&mut self, now: Instant, on: FourTuple, dcid: Cid, scid: Cid, datagram: &mut [u8]) -> Handled {
        let mut bytes = [0; MAX_CID_LEN];
        let len = usize::from(self.config.cid_len).max(MIN_INITIAL_DCID_LEN);
        let room = bytes.get_mut(..len).unwrap_or_default();
        // The client's next Initial goes to it: a balancer must know whose it is.
        self.crypto.fill_cid(room);
        let retry_scid = Cid::new(room).unwrap_or_default();
        let token = Token::Retry { remote: on.remote, original_dcid: dcid, retry_scid, issued: now };
        let retry = Retry {
            version: V1,
            client_scid: scid,
            original_dcid: dcid,
            retry_scid,
            token: &token,
            epoch: self.epoch,
        };
        match stateless::retry(&mut self.crypto, retry, datagram) {
            Some(len) => {
                self.stats.retries = self.stats.retries.saturating_add(1);
                Handled::Reply(len)
            }
            None => Handled::Ignored(Why::Full),
        }
    }

    fn close_without_state(
        &mut self,
        version: u32,
        dcid: Cid,
        scid: Cid,
        code: Code,
        datagram: &mut [u8],
    ) -> usize {
        self.stats.refused = self.stats.refused.saturating_add(1);
        let refusal = Refusal { version, client_dcid: dcid, client_scid: scid, code };
        stateless::refuse(&mut self.crypto, refusal, datagram).unwrap_or(0)
    }

    /// A datagram that names no connection may be the peer's stateless reset of one (RFC 9000 10.3.1).
    fn handle_reset(&mut self, now: Instant, on: FourTuple, datagram: &[u8]) -> Option<Handle> {
        let slot = self.find_reset(on, datagram)?;
        let row = self.memory.tables().slots.get_mut(slot as usize)?;
        let handle = Handle { slot, generation: row.generation };
        row.connection.as_mut()?.handle_reset(now);
        self.touch(slot);
        Some(handle)
    }

    /// A packet of a connection that is not here: perhaps one that we have lost, and should reset.
    fn handle_lost(&mut self, now: Instant, datagram: &mut [u8]) -> Handled {
        let cid_len = usize::from(self.config.cid_len);
        let dcid = datagram.get(1..cid_len.saturating_add(1)).unwrap_or_default();
        if dcid.is_empty() || !self.crypto.may_have_made(dcid) || !self.resets.take(now) {
            return Handled::Ignored(Why::UnknownCid);
        }
        match stateless::reset(&mut self.crypto, cid_len, datagram) {
            Some(len) => {
                self.stats.resets = self.stats.resets.saturating_add(1);
                Handled::Reply(len)
            }
            None => Handled::Ignored(Why::UnknownCid),
        }
    }

    fn find_reset(&mut self, on: FourTuple, datagram: &[u8]) -> Option<u32> {
        let token = crate::wire::reset::token_of(datagram)?;
        let tables = self.memory.tables();
        let (slots, index) = (tables.slots, Index::new(self.hash_key, tables.index));
        index.by_remote(on.remote).find(|slot| {
            let connection = slots.get_mut(*slot as usize).and_then(|row| row.connection.as_mut());
            connection.is_some_and(|connection| connection.is_reset_token(&token))
        })
    }

    fn load(&mut self) -> Load {
        Load {
            slots: self.memory.tables().slots.len(),
            used: self.used,
            max_half_open: self.config.max_half_open,
            half_open: self.half_open,
        }
    }

    fn install(&mut self, slot: u32, mut connection: Connection<T::Memory, T::Session>) -> Handle {
        let tables = self.memory.tables();
        let mut generation = 0;
        let remote = connection.remote();
        if let Some(row) = tables.slots.get_mut(slot as usize) {
            generation = row.generation;
            row.remote = Some(remote);
            row.connection = Some(connection);
        }
        Index::new(self.hash_key, tables.index).insert_remote(remote, slot);
        self.timers.set(tables.timers, slot, Deadline::NEVER);
        self.used = self.used.saturating_add(1);
        self.touch(slot);
        self.make_way();
        Handle { slot, generation }
    }

    /// The connection ID for the address that clients are asked to move to, if there is one (RFC 9000 9.6).
    fn preferred_cid(&mut self, slot: u32) -> Option<(Cid, [u8; RESET_TOKEN_LEN])> {
        let connection = &self.config.connection;
        if self.config.cid_len == 0 || connection.preferred_v4.is_none() && connection.preferred_v6.is_none()
        {
            return None;
        }
        let cid = self.fresh_cid(slot);
        Some((cid, self.crypto.reset_token(cid.as_slice())))
    }

    fn unroute_cid(&mut self, slot: u32, cid: Cid) {
        Index::new(self.hash_key, self.memory.tables().index).remove_cid(cid.as_slice(), slot);
    }
}
