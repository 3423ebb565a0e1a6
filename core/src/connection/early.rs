//! The handshake's side of a connection: Retry and Version Negotiation, what TLS has to tell, transport parameters,
//! levels that come and go (RFC 9000 6, 7, 17.2.5; RFC 9001 4).

use super::Lent;
use super::events::Fact;
use super::path::active;
use super::start::State;
use crate::cid::peer::PeerCidRows;
use crate::error::{Refusal, TransportError, Trap, Why};
use crate::handshake::CidParams;
use crate::handshake::first_flight::Retry as RetryClaim;
use crate::ids::PathRow;
use crate::lifecycle::{Cause, Close};
use crate::session::{Level, SessionEvent};
use crate::stream::FirstLimits;
use crate::time::Instant;
use crate::wire::header::Header;
use crate::wire::params::TransportParams;
use crate::wire::retry::Retry;
use crate::wire::version::Versions;

impl State {
    /// A Retry: the first flight goes out again, to another connection ID and with the server's token.
    pub(super) fn on_retry(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        datagram: &[u8],
        header: &Header,
    ) -> Result<(), Refusal> {
        let retry = Retry::parse(datagram, header).map_err(|_| Why::Malformed)?;
        if !self.side.is_client() || !self.lifecycle.is_open() {
            return Err(Why::Unexpected.into());
        }
        let token = datagram.get(retry.token.clone()).unwrap_or_default();
        // The client must bring all of the token (RFC 9000 17.2.5.3); without room for it there is no use in going on.
        let place = lent.buffers.token.get_mut(..token.len()).ok_or(Why::Full)?;
        let claim = RetryClaim {
            version: header.version,
            scid: header.scid,
            token,
            packet: datagram.get(header.start..retry.token.end).unwrap_or_default(),
            tag: &retry.tag,
        };
        self.first_flight.on_retry(lent.session, &claim)?;
        place.copy_from_slice(token);
        self.token.len = u16::try_from(token.len()).unwrap_or(0);
        lent.session.set_initial_keys(self.version, self.first_flight.dcid().as_slice());
        self.resend_first_flight(now, lent);
        Ok(())
    }

    /// A Version Negotiation packet that is to be believed ends the attempt: we have no other version to offer.
    pub(super) fn on_version_negotiation(&mut self, datagram: &[u8], header: &Header) -> Result<(), Refusal> {
        if !self.side.is_client() {
            return Err(Why::Unexpected.into());
        }
        let versions = Versions::parse(datagram, header).map_err(|_| Why::Malformed)?;
        let (dcid, scid) = (header.dcid.as_slice(), header.scid.as_slice());
        let offered = self.first_flight.on_version_negotiation(self.version, dcid, scid, versions)?;
        self.lifecycle.abandon(Cause::Version(offered));
        Ok(())
    }

    /// Hears what TLS has to tell.
    pub(super) fn poll_session(&mut self, now: Instant, lent: &mut Lent<'_>) -> Result<(), TransportError> {
        while let Some(event) = lent.session.poll_event() {
            match event {
                SessionEvent::Keys(level) => self.on_keys(now, lent, level)?,
                SessionEvent::PeerParams => self.on_peer_params(lent)?,
                SessionEvent::Complete => self.on_complete(now, lent)?,
            }
        }
        Ok(())
    }

    /// TLS has gone on after it had waited for something.
    // Not in its caller, whose stack is that of TLS.
    #[inline(never)]
    pub(super) fn on_resumed(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        resumed: Result<(), TransportError>,
    ) {
        if let Err(error) = resumed.and_then(|()| self.poll_session(now, lent)) {
            self.close(now, lent, Close::transport(&error));
        }
    }

    fn on_keys(&mut self, now: Instant, lent: &mut Lent<'_>, level: Level) -> Result<(), TransportError> {
        if level == Level::OneRtt {
            self.keys.on_keys(lent.session.limits(Level::OneRtt));
        }
        // A server reads 1-RTT only after the handshake (RFC 9001 5.7).
        if level != Level::OneRtt || self.side.is_client() {
            self.crypto.advance(level)?;
        }
        if let Some(discarded) = self.levels.on_keys(level) {
            self.discard_level(now, lent, discarded);
        }
        Ok(())
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn on_peer_params(&mut self, lent: &mut Lent<'_>) -> Result<(), TransportError> {
        let encoded = lent.session.peer_params().trap("TLS announced parameters that it does not have")?;
        let params = TransportParams::parse(self.side.peer(), encoded)?;
        self.first_flight.authenticate(&CidParams {
            original_dcid: params.original_dcid,
            initial_scid: params.initial_scid,
            retry_scid: params.retry_scid,
        })?;
        self.lifecycle.on_peer_idle_timeout(params.max_idle_timeout().unwrap_or_default());
        self.peer.ack_delay_exponent = u8::try_from(params.ack_delay_exponent).unwrap_or(u8::MAX);
        self.peer.set_max_ack_delay(params.max_ack_delay());
        self.peer.max_udp_payload = saturate(params.max_udp_payload_size);
        self.peer.max_datagram_frame = saturate(params.max_datagram_frame_size);
        self.peer.greased_bit = params.grease_quic_bit;
        self.peer.no_migration = params.disable_active_migration;
        self.streams.on_first_limits(FirstLimits {
            max_data: params.initial_max_data,
            stream_data_bidi_local: params.initial_max_stream_data_bidi_local,
            stream_data_bidi_remote: params.initial_max_stream_data_bidi_remote,
            stream_data_uni: params.initial_max_stream_data_uni,
            streams_bidi: params.initial_max_streams_bidi,
            streams_uni: params.initial_max_streams_uni,
        });
        let share = self.local_cid_share(lent);
        let path = lent.buffers.paths.first_mut().trap("a connection has a path")?;
        path.local_cids.on_peer_limit(params.active_cid_limit, share);
        if let Some(token) = params.stateless_reset_token {
            path.peer_cids.on_reset_token(lent.buffers.peer_cids, token);
        }
        if let Some(preferred) = params.preferred_address {
            let mut rows = PeerCidRows { cids: lent.buffers.peer_cids, retiring: lent.buffers.retirements };
            path.peer_cids.on_preferred(&mut rows, preferred.cid, preferred.reset_token)?;
        }
        self.agree(lent, &params)
    }

    fn on_complete(&mut self, now: Instant, lent: &mut Lent<'_>) -> Result<(), TransportError> {
        self.crypto.advance(Level::OneRtt)?;
        self.lifecycle.on_established();
        self.facts.note(Fact::Connected);
        let discarded = self.levels.on_complete();
        if !self.side.is_client() {
            self.handshake_done.want();
            self.after_confirmed(now, lent, discarded);
        }
        Ok(())
    }

    /// HANDSHAKE_DONE came.
    pub(super) fn on_confirmed(&mut self, now: Instant, lent: &mut Lent<'_>) {
        if self.levels.is_complete() && !self.levels.is_confirmed() {
            let discarded = self.levels.on_confirmed();
            self.after_confirmed(now, lent, discarded);
        }
    }

    fn after_confirmed(&mut self, now: Instant, lent: &mut Lent<'_>, discarded: Option<Level>) {
        self.keys.on_confirmed();
        self.facts.note(Fact::Confirmed);
        if let Some(level) = discarded {
            self.discard_level(now, lent, level);
        }
        let max_mtu = self.max_mtu.min(self.peer.max_udp_payload);
        let route = active(lent, PathRow::FIRST);
        if let Some(route) = lent.buffers.routes.get_mut(route) {
            route.validation.on_handshake(now);
            route.mtu.start(now, max_mtu);
        }
        if self.side.is_client() && self.follow_preferred {
            self.follow_preferred_address(now, lent);
        }
    }

    /// The keys changed, by either side.
    pub(super) fn on_keys_updated(&mut self) {
        self.stats.key_updates = self.stats.key_updates.saturating_add(1);
        self.facts.note(Fact::KeysUpdated);
    }
}

fn saturate(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
