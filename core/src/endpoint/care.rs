//! What the endpoint does for its connections between calls: connection IDs, tokens, timers, and the end.

use super::lookup::Index;
use super::token::{MAX_TOKEN_LEN, Token};
use super::{Endpoint, EndpointMemory};
use crate::connection::Connection;
use crate::limits::MAX_CID_LEN;
use crate::session::EndpointCrypto;
use crate::time::{Deadline, Instant};
use crate::wire::Cid;

/// How often a connection ID is drawn anew because another connection has it. Short IDs may meet; if they still do after
/// that, the random source is broken, and both connections are looked at for each packet.
const DRAWS: core::ops::Range<u8> = 0..16;

impl<T: EndpointMemory, C: EndpointCrypto> Endpoint<T, C> {
    /// A connection ID nobody has, routed to `slot`.
    pub(super) fn fresh_cid(&mut self, slot: u32) -> Cid {
        let len = usize::from(self.config.cid_len);
        let mut tries = DRAWS;
        loop {
            let mut bytes = [0; MAX_CID_LEN];
            let room = bytes.get_mut(..len).unwrap_or_default();
            self.crypto.fill_cid(room);
            let cid = Cid::new(room).unwrap_or_default();
            let mut index = Index::new(self.hash_key, self.memory.tables().index);
            if cid.is_empty() {
                return cid;
            }
            if index.by_cid(cid.as_slice()).next().is_none() || tries.next().is_none() {
                index.insert_cid(cid.as_slice(), slot);
                return cid;
            }
        }
    }

    /// Gives a connection what it has asked for, and forgets what it has retired.
    pub(super) fn supply(&mut self, now: Instant, slot: u32) {
        while let Some(retired) = self.with(slot, |connection| connection.poll_retired_cid()).flatten() {
            Index::new(self.hash_key, self.memory.tables().index).remove_cid(retired.as_slice(), slot);
        }
        while let Some((on, dcid)) = self.with(slot, |connection| connection.flow_label_wanted()).flatten() {
            let label = self.crypto.flow_label(&on, dcid.as_slice());
            self.with(slot, |connection| connection.supply_flow_label(&on, label));
        }
        let Some(mut wants) = self.wants(slot) else { return };
        while wants > 0 && self.config.cid_len > 0 {
            let cid = self.fresh_cid(slot);
            // What the index has no room for would be told to the peer in vain.
            let index = Index::new(self.hash_key, self.memory.tables().index);
            if !index.by_cid(cid.as_slice()).any(|owner| owner == slot) {
                break;
            }
            let token = self.crypto.reset_token(cid.as_slice());
            let taken = self.with(slot, |connection| connection.supply_cid(cid, token)).unwrap_or(false);
            if !taken {
                Index::new(self.hash_key, self.memory.tables().index).remove_cid(cid.as_slice(), slot);
                break;
            }
            wants = wants.saturating_sub(1);
        }
        if let Some(remote) = self.with(slot, |connection| connection.wants_token()).flatten() {
            let mut sealed = [0; MAX_TOKEN_LEN];
            let token = Token::Earlier { ip: remote.ip(), issued: now };
            if let Some(len) = token.seal(self.epoch, &mut self.crypto, &mut sealed) {
                let token = sealed.get(..len).unwrap_or_default();
                self.with(slot, |connection| connection.supply_token(token));
            }
        }
    }

    /// After a connection has said all it has to say: sets its timer and notes how far it has come.
    pub(super) fn settle(&mut self, slot: u32) {
        let tables = self.memory.tables();
        let Some(connection) = tables.slots.get_mut(slot as usize).and_then(|row| row.connection.as_mut())
        else {
            return;
        };
        let (deadline, draining) = (connection.next_timeout(), connection.is_draining());
        if connection.is_drained() {
            self.forget(slot);
            return;
        }
        if !connection.is_handshaking() {
            self.close_door(slot);
        }
        self.follow(slot);
        let tables = self.memory.tables();
        self.timers.set(tables.timers, slot, deadline);
        if draining {
            self.draining.push(tables.slots, slot);
            self.make_way();
        }
    }

    /// Where all slots are taken, a connection that its peer has ended does not wait for the peer's last packets: that a client is
    /// turned away is worse than that one of those packets draws a stateless reset, which a peer that closes ignores. RFC 9000 10.2
    /// has it that a server SHOULD NOT; so none ends early while there is a free slot.
    pub(super) fn make_way(&mut self) {
        let is_full = self.used.saturating_sub(self.over) >= self.memory.tables().slots.len();
        if !self.config.server || !is_full {
            return;
        }
        while let Some(slot) = self.draining.pop(self.memory.tables().slots) {
            if self.with(slot, Connection::stop_draining) == Some(true) {
                self.forget(slot);
                self.news.push(self.memory.tables().slots, slot);
                return;
            }
        }
    }

    /// The peer may have moved: a stateless reset is looked for by where it comes from (RFC 9000 10.3.1).
    fn follow(&mut self, slot: u32) {
        let tables = self.memory.tables();
        let Some(row) = tables.slots.get_mut(slot as usize) else { return };
        let Some(new) = row.connection.as_mut().and_then(Connection::poll_remote) else { return };
        if let Some(old) = row.remote.replace(new).filter(|old| *old != new) {
            let mut index = Index::new(self.hash_key, tables.index);
            index.remove_remote(old, slot);
            index.insert_remote(new, slot);
        }
    }

    /// Takes a connection out of the index and the timers. Its slot stays taken until the application takes it out.
    pub(super) fn forget(&mut self, slot: u32) {
        self.close_door(slot);
        let tables = self.memory.tables();
        self.timers.set(tables.timers, slot, Deadline::NEVER);
        let Some(row) = tables.slots.get_mut(slot as usize) else { return };
        let mut index = Index::new(self.hash_key, tables.index);
        if let Some(remote) = row.remote.take() {
            index.remove_remote(remote, slot);
            self.over = self.over.saturating_add(1);
        }
        while let Some(cid) = row.connection.as_mut().and_then(|connection| connection.give_up_cid()) {
            index.remove_cid(cid.as_slice(), slot);
        }
    }

    /// The handshake is over: the client's first DCID is not routed any more (RFC 9000 7.2: it uses ours).
    fn close_door(&mut self, slot: u32) {
        let tables = self.memory.tables();
        let Some(row) = tables.slots.get_mut(slot as usize) else { return };
        if core::mem::take(&mut row.half_open) {
            self.half_open = self.half_open.saturating_sub(1);
            let dcid = core::mem::take(&mut row.original_dcid);
            Index::new(self.hash_key, tables.index).remove_cid(dcid.as_slice(), slot);
        }
    }

    fn wants(&mut self, slot: u32) -> Option<usize> {
        self.with(slot, |connection| connection.cids_wanted())
    }

    fn with<R>(
        &mut self,
        slot: u32,
        act: impl FnOnce(&mut Connection<T::Memory, T::Session>) -> R,
    ) -> Option<R> {
        self.memory.tables().slots.get_mut(slot as usize)?.connection.as_mut().map(act)
    }
}
