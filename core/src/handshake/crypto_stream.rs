//! CRYPTO bytes of all encryption levels, both ways (RFC 9000 7.5, 13.3, 19.6; RFC 9001 4.1.3).
//!
//! **In.** TLS reads one level at a time, so one area of memory serves all, one after the other. Bytes that come next go from
//! the frame to TLS without being stored; only what is out of order waits in the area. A level is left when the read keys
//! of the next one come into use ([`CryptoStreams::advance`]); from then on nothing new may come on it. The area may go once the
//! handshake is confirmed: what then comes out of order is lost with all behind it, as RFC 9000 7.5 permits.
//!
//! **Out.** TLS keeps its flight until it is acknowledged and gives any part of it again; here is known what of it was
//! sent, lost and acknowledged, by [`Chunks`] in the sent rows. Who owns such a row, [`chunk`](crate::table::chunk) says.
//!
//! Not here: which level is sent when, and when a level is over.

use crate::error::{Code, TransportError};
use crate::session::{Level, Session};
use crate::table::chunk::{Carried, Chunks, HasChunk, Rows, Sent};
use crate::table::list::at;
use crate::table::reassembly::{Reassembly, capacity};
use crate::wire::PacketWriter;
use crate::wire::cursor::varint_len;
use crate::wire::frame;

/// Levels that have CRYPTO frames, in the order of their numbers here.
const LEVELS: [Level; 3] = [Level::Initial, Level::Handshake, Level::OneRtt];

/// What was sent on one level.
#[derive(Clone, Copy, Debug)]
struct Flight {
    sent: u64,
    chunks: Chunks,
}

/// CRYPTO bytes of one connection. The area for what comes out of order and the sent rows are lent to each call.
#[derive(Clone, Copy, Debug)]
pub struct CryptoStreams {
    /// What comes on the level being read.
    assembly: Reassembly,
    /// The number of that level.
    reading: u8,
    /// There was no area for bytes out of order: what TLS reads has an end.
    cut_off: bool,
    /// How many bytes came on the levels before it.
    ends: [u64; LEVELS.len()],
    flights: [Flight; LEVELS.len()],
}

impl CryptoStreams {
    /// Nothing sent, nothing received, TLS reads the Initial level.
    pub const fn new() -> Self {
        Self {
            assembly: Reassembly::EMPTY,
            reading: 0,
            cut_off: false,
            ends: [0; LEVELS.len()],
            flights: [Flight { sent: 0, chunks: Chunks::EMPTY }; LEVELS.len()],
        }
    }

    /// A CRYPTO frame. Returns what TLS is to read of it, which may be nothing. After that, and before the next frame,
    /// TLS is to read what [`Self::buffered`] shows until there is nothing.
    ///
    /// # Errors
    /// CRYPTO_BUFFER_EXCEEDED if bytes too far ahead came (RFC 9000 7.5), PROTOCOL_VIOLATION if new bytes came on a level that
    /// TLS has left (RFC 9001 4.1.3).
    pub fn on_crypto<'f>(
        &mut self,
        area: &mut [u8],
        level: Level,
        frame: &frame::Crypto<'f>,
    ) -> Result<&'f [u8], TransportError> {
        let end = frame.offset.saturating_add(frame.data.len() as u64);
        let number = number(level).ok_or(violation("CRYPTO frame on a level that has none"))?;
        if number < usize::from(self.reading) {
            let known = self.ends.get(number).is_some_and(|known| end <= *known);
            return if known {
                Ok(&[])
            } else {
                Err(violation("new CRYPTO bytes on a level that TLS has left"))
            };
        }
        if number > usize::from(self.reading) {
            return Err(TransportError::internal("CRYPTO bytes of a level that TLS does not read yet"));
        }
        let base = self.assembly.base();
        // A ticket of the server is all that can be lost so: TLS is over, its messages are acknowledged and forgotten.
        let is_next = frame.offset <= base && self.assembly.highest() == base;
        if level == Level::OneRtt && area.is_empty() && !is_next {
            self.cut_off = true;
        }
        if self.cut_off {
            return Ok(&[]);
        }
        if frame.offset <= base && self.assembly.ready() == 0 {
            return Ok(self.assembly.pass(area, frame.offset, frame.data));
        }
        if end.saturating_sub(base) > capacity(area.len()) as u64 {
            let reason = "CRYPTO bytes too far ahead to be kept";
            return Err(TransportError::new(Code::CRYPTO_BUFFER_EXCEEDED, reason));
        }
        self.assembly.insert(area, frame.offset, frame.data);
        Ok(&[])
    }

    /// Bytes of the level being read that waited and are in order now; not all at once if they wrap round the area.
    pub fn buffered<'a>(&self, area: &'a [u8]) -> &'a [u8] {
        self.assembly.peek(area).0
    }

    /// TLS has read the first `len` bytes that [`Self::buffered`] shows.
    pub fn consume(&mut self, area: &[u8], len: usize) {
        self.assembly.consume(area, len);
    }

    /// The read keys of `level` are in use: TLS has read all of the levels before. On a server, 1-RTT read keys come with
    /// the completion of the handshake, later than those to write.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if bytes of the level before came that TLS had no use for (RFC 9001 4.1.3).
    pub fn advance(&mut self, level: Level) -> Result<(), TransportError> {
        let reading = usize::from(self.reading);
        let Some(number) = number(level).filter(|number| *number > reading) else { return Ok(()) };
        if self.assembly.highest() > self.assembly.base() {
            return Err(violation("CRYPTO bytes left over when TLS moved to the next level"));
        }
        if let Some(end) = self.ends.get_mut(reading) {
            *end = self.assembly.base();
        }
        self.assembly = self.assembly.restart();
        self.reading = u8::try_from(number).unwrap_or(u8::MAX);
        Ok(())
    }

    /// Whether [`Self::write`] has something to write on `level`.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn wants_to_send(&self, level: Level, session: &dyn Session) -> bool {
        let flight = number(level).and_then(|number| self.flights.get(number));
        flight.is_some_and(|flight| flight.chunks.has_lost() || session.crypto_len(level) > flight.sent)
    }

    /// Writes one CRYPTO frame: what was lost first, then what was never sent. Returns the row that describes it, which then
    /// belongs to the packet: `spare`, or, for bytes that are sent again in one piece, the row they had. `None` if there
    /// is nothing to write, no room, or if a spare row is needed and not there.
    pub fn write<R: HasChunk>(
        &mut self,
        level: Level,
        session: &dyn Session,
        sent: &mut [R],
        spare: Option<u16>,
        out: &mut PacketWriter<'_>,
    ) -> Option<u16> {
        let number = number(level)?;
        let flight = self.flights.get_mut(number)?;
        if let Some(lost) = flight.chunks.first_lost(sent).copied() {
            if spare.is_none() && out.room() < frame_len(lost.offset(), lost.len()) {
                return None;
            }
            let body = out.crypto(lost.offset(), lost.len()).ok()?;
            session.copy_crypto(level, lost.offset(), body);
            let len = body.len();
            return flight.chunks.resend(sent, spare, len);
        }
        let (row, offset) = (spare?, flight.sent);
        let unsent = session.crypto_len(level).saturating_sub(offset).min(u64::from(u16::MAX));
        let body = out.crypto(offset, usize::try_from(unsent).ok()?).ok()?;
        session.copy_crypto(level, offset, body);
        let len = u16::try_from(body.len()).ok()?;
        let owner = u16::try_from(number).ok()?;
        flight.chunks.push(sent, row, Sent { carried: Carried::Crypto, owner, offset, len, fin: false });
        flight.sent = offset.saturating_add(u64::from(len));
        Some(row)
    }

    /// The packet of a row with [`Carried::Crypto`] was acknowledged; TLS is told what it need not keep any more. The row is
    /// then to be freed by whoever keeps the sent rows.
    pub fn on_acked<R: HasChunk>(&mut self, session: &mut dyn Session, sent: &mut [R], row: u16) {
        let Some((level, flight)) = self.flight_of(sent, row) else { return };
        flight.chunks.on_acked(sent, row);
        session.crypto_acked(level, flight.chunks.acked_to(sent, flight.sent));
    }

    /// The packet of a row with [`Carried::Crypto`] was lost. Returns whether the row belongs to the flight now, which keeps
    /// it until its bytes are sent again; if not, it is to be freed by whoever keeps the sent rows.
    #[must_use = "a row that is not kept must be freed"]
    pub fn on_lost<R: HasChunk>(&mut self, sent: &mut [R], row: u16) -> bool {
        self.flight_of(sent, row).is_some_and(|(_, flight)| flight.chunks.on_lost(sent, row))
    }

    /// The keys of `level` are gone, and with them all that was to be sent (RFC 9000 13.3). Returns the rows of what waited to
    /// be sent again.
    #[must_use = "the rows must be freed"]
    pub fn discard<R: HasChunk>(&mut self, level: Level, sent: &mut [R]) -> Rows {
        let flight = number(level).and_then(|number| self.flights.get_mut(number));
        flight.map_or(Rows::NONE, |flight| flight.chunks.abandon(sent))
    }

    fn flight_of<R: HasChunk>(&mut self, sent: &[R], row: u16) -> Option<(Level, &mut Flight)> {
        let chunk = at(sent, row)?.chunk();
        let number = usize::from(chunk.owner());
        let level = *LEVELS.get(number).filter(|_| chunk.carried() == Carried::Crypto)?;
        Some((level, self.flights.get_mut(number)?))
    }
}

impl Default for CryptoStreams {
    fn default() -> Self {
        Self::new()
    }
}

fn number(level: Level) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

const fn violation(reason: &'static str) -> TransportError {
    TransportError::new(Code::PROTOCOL_VIOLATION, reason)
}

/// How long a CRYPTO frame is (RFC 9000 19.6).
fn frame_len(offset: u64, len: usize) -> usize {
    1_usize.saturating_add(varint_len(offset)).saturating_add(varint_len(len as u64)).saturating_add(len)
}

#[cfg(test)]
mod tests;
