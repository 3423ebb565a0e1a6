//! One match: each frame to its owner (RFC 9000 19, RFC 9221 4). That it may stand in its packet was checked already.

use super::Lent;
use super::events::Fact;
use super::path::Path;
use super::receive::Seat;
use super::start::State;
use crate::cid::peer::PeerCidRows;
use crate::error::{Code, TransportError, Trap};
use crate::ids::{CidTag, PathId, PathRow};
use crate::path::Route;
use crate::session::Level;
use crate::table::queue::Queue;
use crate::time::Instant;
use crate::wire::frame::{Ack, Crypto, Frame, NewConnectionId};

impl State {
    pub(super) fn on_frame(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        seat: &Seat,
        frame: &Frame<'_>,
    ) -> Result<(), TransportError> {
        let streams = &mut lent.buffers.streams;
        match frame {
            Frame::Padding(_) | Frame::Ping(_) | Frame::DataBlocked(_) | Frame::StreamsBlocked(_) => Ok(()),
            Frame::Ack(ack) => self.on_first_ack(now, lent, seat, ack),
            Frame::Crypto(crypto) => self.on_crypto(now, lent, seat.level, crypto),
            Frame::Stream(frame) => {
                self.expect(now, !frame.fin);
                self.streams.on_stream(streams, frame)
            }
            Frame::ResetStream(frame) => self.streams.on_reset_stream(streams, *frame),
            Frame::StopSending(frame) => {
                let outcome = self.streams.on_stop_sending(streams, lent.buffers.sent, *frame);
                self.free_unowned(lent);
                outcome
            }
            Frame::MaxData(frame) => {
                self.streams.on_max_data(*frame);
                Ok(())
            }
            Frame::MaxStreamData(frame) => self.streams.on_max_stream_data(streams, *frame),
            Frame::MaxStreams(frame) => {
                self.streams.on_max_streams(*frame);
                Ok(())
            }
            Frame::StreamDataBlocked(frame) => self.streams.on_stream_data_blocked(streams, *frame),
            Frame::Datagram(frame) => self.on_datagram_frame(lent, frame.data),
            Frame::NewConnectionId(frame) => {
                let path = self.row_of(lent, PathId::ZERO);
                let path =
                    path.filter(|row| lent.buffers.paths.get(row.index()).is_some_and(Path::is_wanted));
                path.map_or(Ok(()), |path| on_new_cid(lent, path, frame))
            }
            Frame::RetireConnectionId(frame) => {
                let path = self.row_of(lent, PathId::ZERO);
                path.map_or(Ok(()), |path| self.on_retire_cid(lent, seat, path, frame.seq))
            }
            Frame::PathChallenge(frame) => {
                // What is asked over a path that was left cannot be answered there (draft-21 3.4).
                let in_use = lent.buffers.routes.get(seat.route).is_some_and(Route::is_open);
                let route = u8::try_from(seat.route).unwrap_or(u8::MAX);
                if in_use && self.responses.on_challenge(route, frame.data) {
                    self.stats.challenges_dropped = self.stats.challenges_dropped.saturating_add(1);
                }
                Ok(())
            }
            Frame::PathResponse(frame) => {
                self.on_path_response(now, lent, seat, frame.data);
                Ok(())
            }
            Frame::ConnectionClose(frame) => {
                let pto = self.longest_base_pto(lent);
                self.lifecycle.on_peer_close(now, pto, frame);
                Ok(())
            }
            Frame::HandshakeDone(_) if self.side.is_client() => {
                self.on_confirmed(now, lent);
                Ok(())
            }
            Frame::NewToken(frame) if self.side.is_client() => {
                self.on_new_token(lent, frame.token);
                Ok(())
            }
            Frame::HandshakeDone(_) | Frame::NewToken(_) => {
                Err(TransportError::new(Code::PROTOCOL_VIOLATION, "frame that only a server may send"))
            }
            Frame::PathAck(frame) => self.on_path_ack(now, lent, seat, frame),
            Frame::PathAbandon(frame) => self.on_path_abandon_frame(now, lent, frame),
            Frame::PathStatus(frame) => self.on_path_status(lent, frame),
            Frame::PathNewConnectionId(frame) => self.on_path_new_cid(lent, frame),
            Frame::PathRetireConnectionId(frame) => self.on_path_retire_cid(lent, seat, frame),
            Frame::MaxPathId(frame) => self.on_max_path_id(lent, frame),
            Frame::PathsBlocked(frame) => self.on_paths_blocked(frame),
            Frame::PathCidsBlocked(frame) => self.on_path_cids_blocked(lent, frame),
        }
    }

    /// A client that waits for the rest of a stream wants to know whether its route lives.
    fn expect(&mut self, now: Instant, more: bool) {
        if self.side.is_client() && more {
            self.liveness.on_expecting(now);
        } else {
            self.liveness.on_end();
        }
    }

    /// An ACK of the handshake, or of path 0, which may have ended (draft-21 2.3).
    fn on_first_ack(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        seat: &Seat,
        ack: &Ack<'_>,
    ) -> Result<(), TransportError> {
        let path =
            if seat.level == Level::OneRtt { self.row_of(lent, PathId::ZERO) } else { Some(seat.path) };
        path.map_or(Ok(()), |path| self.on_ack(now, lent, seat, path, ack))
    }

    /// The peer retires a connection ID of ours of a path.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn on_retire_cid(
        &self,
        lent: &mut Lent<'_>,
        seat: &Seat,
        path_row: PathRow,
        seq: u64,
    ) -> Result<(), TransportError> {
        let path = lent.buffers.paths.get_mut(path_row.index()).trap("a connection ID has a path")?;
        let by = seat.addressed_to.filter(|_| seat.path == path_row);
        path.local_cids.on_retire(lent.buffers.local_cids, seq, by)?;
        let mut rows = PeerCidRows { cids: lent.buffers.peer_cids, retiring: lent.buffers.retirements };
        path.peer_cids.on_peer_retired(&mut rows, CidTag::of(seq));
        Ok(())
    }

    fn on_datagram_frame(&mut self, lent: &mut Lent<'_>, data: &[u8]) -> Result<(), TransportError> {
        // What we said we take counts the whole frame; it has at least a type (RFC 9221 3).
        if data.len() >= Queue::longest(lent.buffers.datagrams_in) {
            let reason = "DATAGRAM frame larger than max_datagram_frame_size";
            return Err(TransportError::new(Code::PROTOCOL_VIOLATION, reason));
        }
        if self.datagrams_in.push(lent.buffers.datagrams_in, &[], data) {
            self.facts.note(Fact::Datagram);
        } else {
            self.stats.datagrams_dropped = self.stats.datagrams_dropped.saturating_add(1);
        }
        Ok(())
    }

    /// A token too long to keep is of no use.
    fn on_new_token(&mut self, lent: &mut Lent<'_>, token: &[u8]) {
        let Some(place) = lent.buffers.token.get_mut(..token.len()) else { return };
        place.copy_from_slice(token);
        self.token.len = u16::try_from(token.len()).unwrap_or(0);
        self.facts.note(Fact::Token);
    }

    /// CRYPTO bytes go to TLS in their order; what TLS then has to tell is heard.
    fn on_crypto(
        &mut self,
        now: Instant,
        lent: &mut Lent<'_>,
        level: Level,
        frame: &Crypto<'_>,
    ) -> Result<(), TransportError> {
        let next = self.crypto.on_crypto(lent.buffers.crypto, level, frame)?;
        // Nothing new may be of a level that TLS has left, and would not hear of.
        if !next.is_empty() {
            lent.session.read_crypto(level, next)?;
        }
        loop {
            let waited = self.crypto.buffered(lent.buffers.crypto);
            if waited.is_empty() {
                break;
            }
            lent.session.read_crypto(level, waited)?;
            self.crypto.consume(lent.buffers.crypto, waited.len());
        }
        self.poll_session(now, lent)
    }
}

/// The peer gives another connection ID for a path.
pub(super) fn on_new_cid(
    lent: &mut Lent<'_>,
    path: PathRow,
    frame: &NewConnectionId,
) -> Result<(), TransportError> {
    let path = lent.buffers.paths.get_mut(path.index()).trap("a connection ID has a path")?;
    let mut rows = PeerCidRows { cids: lent.buffers.peer_cids, retiring: lent.buffers.retirements };
    path.peer_cids.on_new_cid(&mut rows, frame).map(drop)
}
