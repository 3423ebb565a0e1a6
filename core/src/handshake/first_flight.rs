//! The exchange before there are keys that prove anything (RFC 9000 6.2, 7.2, 7.3, 17.2.5).
//!
//! ```text
//! client:  Alone --Retry--> Retried --.
//!            |  '----- Initial -------+--> Answered      each step changes the DCID; no other packet does
//!            '--Version Negotiation--> the attempt is over
//! ```
//!
//! Anyone on the path can forge these packets, so that only the first of a kind counts, and TLS confirms in the end what
//! they claimed: [`FirstFlight::authenticate`]. The token of a Retry is kept by the caller, and a server's Retry is sent
//! by its endpoint, which has no connection then.

use crate::error::{Code, TransportError, Why};
use crate::ids::{OurSide, Side};
use crate::limits::TAG_LEN;
use crate::session::Session;
use crate::wire::Cid;
use crate::wire::version::Offered;

/// The transport parameters that name connection IDs (RFC 9000 7.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CidParams {
    /// original_destination_connection_id, of servers only.
    pub original_dcid: Option<Cid>,
    /// initial_source_connection_id.
    pub initial_scid: Option<Cid>,
    /// retry_source_connection_id, of servers that sent a Retry.
    pub retry_scid: Option<Cid>,
}

/// A Retry packet, as parsed.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'a> {
    /// The version of its header.
    pub version: u32,
    /// Its source connection ID.
    pub scid: Cid,
    /// Its token.
    pub token: &'a [u8],
    /// All of the packet but the tag.
    pub packet: &'a [u8],
    /// The integrity tag.
    pub tag: &'a [u8; TAG_LEN],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// Nothing of the peer was processed.
    Alone,
    /// A client that follows a Retry.
    Retried { retry_scid: Cid },
    /// An Initial of the peer was processed. `retry_scid` is that of a Retry received or, on a server, sent.
    Answered { retry_scid: Option<Cid>, peer: Cid },
}

/// The connection IDs of the handshake.
#[derive(Clone, Copy, Debug)]
pub struct FirstFlight {
    side: OurSide,
    /// The DCID of the client's very first Initial.
    original_dcid: Cid,
    /// The SCID of our long headers.
    local: Cid,
    progress: Progress,
}

impl FirstFlight {
    /// A client that will send its first Initial to `dcid`, at least 8 unpredictable bytes (RFC 9000 7.2), from
    /// `local`.
    pub const fn client(dcid: Cid, local: Cid) -> Self {
        Self { side: OurSide::new(Side::Client), original_dcid: dcid, local, progress: Progress::Alone }
    }

    /// A server that answers an Initial from `peer`, with `local` as its own ID. `original_dcid` is the DCID of that
    /// Initial, or, where a token proves that a Retry from `retry_scid` went before, the one in the token.
    pub const fn server(original_dcid: Cid, retry_scid: Option<Cid>, peer: Cid, local: Cid) -> Self {
        let progress = Progress::Answered { retry_scid, peer };
        Self { side: OurSide::new(Side::Server), original_dcid, local, progress }
    }

    /// The DCID of long headers that we send.
    pub const fn dcid(&self) -> Cid {
        match self.progress {
            Progress::Alone => self.original_dcid,
            Progress::Retried { retry_scid } => retry_scid,
            Progress::Answered { peer, .. } => peer,
        }
    }

    /// The SCID of long headers that we send, whose use is also ours to tell in our transport parameters.
    pub const fn scid(&self) -> Cid {
        self.local
    }

    /// A Retry came to a client. Once it is accepted, [`Self::dcid`] is new: derive Initial keys from it, and send the
    /// first flight again, with the token, and packet numbers that go on (RFC 9000 17.2.5.3).
    ///
    /// # Errors
    /// [`Why::Unexpected`] if it is not the first packet of the server, has no token, does not change the DCID or does
    /// not verify (RFC 9000 17.2.5.1, 17.2.5.2).
    pub fn on_retry(&mut self, session: &dyn Session, retry: &Retry<'_>) -> Result<(), Why> {
        let fits =
            self.progress == Progress::Alone && !retry.token.is_empty() && retry.scid != self.original_dcid;
        let dcid = self.original_dcid.as_slice();
        if !fits || !session.verify_retry(retry.version, dcid, retry.packet, retry.tag) {
            return Err(Why::Unexpected);
        }
        self.progress = Progress::Retried { retry_scid: retry.scid };
        Ok(())
    }

    /// A Version Negotiation packet came to a client that speaks `ours`. Returns what the server offers: the attempt has
    /// failed.
    ///
    /// # Errors
    /// [`Why::Unexpected`] if a packet was processed before, it does not echo our connection IDs, or lists our version
    /// (RFC 9000 6.2, 17.2.1).
    pub fn on_version_negotiation(
        &self,
        ours: u32,
        dcid: &[u8],
        scid: &[u8],
        versions: impl Iterator<Item = u32> + Clone,
    ) -> Result<Offered, Why> {
        let echoes = dcid == self.local.as_slice() && scid == self.original_dcid.as_slice();
        if self.progress != Progress::Alone || !echoes || versions.clone().any(|version| version == ours) {
            return Err(Why::Unexpected);
        }
        Ok(Offered::new(versions))
    }

    /// A packet with a long header from `scid` opened. The first one tells the peer's ID (RFC 9000 7.2).
    ///
    /// # Errors
    /// [`Why::Unexpected`] if the peer's ID is another one: the packet must be ignored.
    pub fn on_opened(&mut self, scid: Cid) -> Result<(), Why> {
        let retry_scid = match self.progress {
            Progress::Alone => None,
            Progress::Retried { retry_scid } => Some(retry_scid),
            Progress::Answered { peer, .. } if peer == scid => return Ok(()),
            Progress::Answered { .. } => return Err(Why::Unexpected),
        };
        self.progress = Progress::Answered { retry_scid, peer: scid };
        Ok(())
    }

    /// What our own transport parameters say.
    pub const fn params(&self) -> CidParams {
        self.params_of(self.side.get(), self.local)
    }

    /// Compares the peer's transport parameters with the connection IDs that its packets carried.
    ///
    /// # Errors
    /// TRANSPORT_PARAMETER_ERROR for the first that is absent, unexpected or different (RFC 9000 7.3).
    pub fn authenticate(&self, claimed: &CidParams) -> Result<(), TransportError> {
        let expected = self.params_of(self.side.peer(), self.dcid());
        for (claimed, expected, reason) in [
            (
                claimed.original_dcid,
                expected.original_dcid,
                "original_destination_connection_id is not the one used",
            ),
            (claimed.initial_scid, expected.initial_scid, "initial_source_connection_id is not the one used"),
            (claimed.retry_scid, expected.retry_scid, "retry_source_connection_id is not the one used"),
        ] {
            if claimed != expected {
                return Err(TransportError::new(Code::TRANSPORT_PARAMETER_ERROR, reason));
            }
        }
        Ok(())
    }

    const fn params_of(&self, side: Side, initial_scid: Cid) -> CidParams {
        let initial_scid = Some(initial_scid);
        match side {
            Side::Client => CidParams { original_dcid: None, initial_scid, retry_scid: None },
            Side::Server => {
                let retry_scid = match self.progress {
                    Progress::Alone => None,
                    Progress::Retried { retry_scid } => Some(retry_scid),
                    Progress::Answered { retry_scid, .. } => retry_scid,
                };
                CidParams { original_dcid: Some(self.original_dcid), initial_scid, retry_scid }
            }
        }
    }
}

#[cfg(test)]
mod tests;
