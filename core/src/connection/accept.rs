//! How a server's connection begins. With the feature `server`.

use super::start::{State, prepare};
use super::{Config, Connection, Lent, Memory};
use crate::error::TransportError;
use crate::handshake::FirstFlight;
use crate::ids::{FourTuple, Side};
use crate::limits::RESET_TOKEN_LEN;
use crate::path::Opener;
use crate::session::Session;
use crate::time::Instant;
use crate::wire::Cid;

/// What a server begins with.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// The addresses of the client's first datagram.
    pub on: FourTuple,
    /// The version it speaks.
    pub version: u32,
    /// The DCID of its very first Initial.
    pub original_dcid: Cid,
    /// The DCID of this Initial, which yields the keys.
    pub initial_dcid: Cid,
    /// The SCID of our Retry, if there was one.
    pub retry_scid: Option<Cid>,
    /// The client's connection ID.
    pub peer_cid: Cid,
    /// The connection ID that the client sends to from now on.
    pub scid: Cid,
    /// The stateless reset token that goes with it.
    pub reset_token: [u8; RESET_TOKEN_LEN],
    /// The connection ID of the preferred address and its stateless reset token, if the configuration has such an address.
    pub preferred: Option<(Cid, [u8; RESET_TOKEN_LEN])>,
    /// Whether a token proved the client's address.
    pub address_validated: bool,
}

impl<M: Memory, S: Session> Connection<M, S> {
    /// A connection of a client whose first datagram is to be handled next.
    ///
    /// # Errors
    /// If the session cannot start, or the memory has too few rows for any connection.
    pub fn server(
        now: Instant,
        config: &Config,
        accepted: &Accepted,
        mut memory: M,
        mut session: S,
    ) -> Result<Self, TransportError> {
        let &Accepted { on, version, original_dcid, retry_scid, peer_cid, scid, .. } = accepted;
        let first_flight = FirstFlight::server(original_dcid, retry_scid, peer_cid, scid);
        let mut lent = Lent { buffers: memory.buffers(), session: &mut session };
        let prepared = prepare(now, config, on, &first_flight, &mut lent)?;
        let mut state = State::new(now, config, Side::Server, version, first_flight, &prepared, &mut lent);
        state.accept(now, config, accepted, &mut lent)?;
        Ok(Self::of(state, memory, session))
    }
}

impl State {
    /// Begins as a server; called once, right after [`State::new`].
    fn accept(
        &mut self,
        now: Instant,
        config: &Config,
        accepted: &Accepted,
        lent: &mut Lent<'_>,
    ) -> Result<(), TransportError> {
        self.adopt_peer_cid(lent, accepted.peer_cid)?;
        if let Some(route) = lent.buffers.routes.first_mut() {
            route.opener = Opener::Peer;
            if accepted.address_validated {
                route.amplification.on_validated();
            }
        }
        if let (Some((cid, token)), Some(path)) = (accepted.preferred, lent.buffers.paths.first_mut()) {
            let supplied = path.local_cids.supply_preferred(lent.buffers.local_cids, cid, token);
            supplied.map_err(|_| {
                TransportError::internal("a preferred address needs a row for its connection ID")
            })?;
        }
        let token = (!accepted.scid.is_empty()).then_some(accepted.reset_token);
        self.begin(now, config, accepted.initial_dcid, token, accepted.preferred, lent)
    }
}
