//! DATAGRAM frames: two queues, what fits, and over which path (RFC 9221).

use core::fmt;

use super::events::Fact;
use super::path::active;
use super::start::State;
use super::{Connection, Lent, Memory};
use crate::feature::WithMultipath;
use crate::ids::{PathId, PathRow};
use crate::limits::TAG_LEN;
use crate::session::Session;
use crate::stream::Tie;
use crate::stream::tie::Over;
use crate::table::queue::Queue;
use crate::wire::PacketWriter;
use crate::wire::cursor::varint_len;

/// Why a DATAGRAM frame cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DatagramError {
    /// The peer takes none, or the handshake is not over.
    Unsupported,
    /// It has more bytes than [`Connection::max_datagram_len`].
    TooLarge,
    /// There is no room for it now; an event tells when there is.
    Full,
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "the peer takes no datagrams",
            Self::TooLarge => "the datagram is larger than the peer or the path takes",
            Self::Full => "the queue of datagrams is full; try again when some were sent",
        })
    }
}

impl core::error::Error for DatagramError {}

impl<M: Memory, S: Session> Connection<M, S> {
    /// The most bytes a DATAGRAM frame may have now, whatever path it takes; `None` if the peer takes none.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn max_datagram_len(&mut self) -> Option<usize> {
        let (state, lent) = self.lend();
        state.max_datagram_len(&lent)
    }

    /// Sends bytes once (RFC 9221): they may be lost, and are never repeated.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn send_datagram(&mut self, bytes: &[u8]) -> Result<(), DatagramError> {
        self.send_datagram_over(Tie::None, bytes)
    }

    /// As [`Self::send_datagram`], over a path rather than where the scheduler would. Datagrams leave in their order: one that waits
    /// for its path holds back those behind it. [`Tie::Every`] is like [`Tie::None`] for them.
    ///
    /// # Errors
    /// See [`DatagramError`].
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn send_datagram_over(&mut self, tie: Tie, bytes: &[u8]) -> Result<(), DatagramError> {
        let (state, lent) = self.lend();
        let max = state.max_datagram_len(&lent).ok_or(DatagramError::Unsupported)?;
        let label = Label::of(tie);
        let label = label.bytes();
        let queue = lent.buffers.datagrams_out;
        if bytes.len() > max || bytes.len().saturating_add(label.len()) > Queue::longest(queue) {
            return Err(DatagramError::TooLarge);
        }
        if state.datagrams_out.push(queue, label, bytes) {
            return Ok(());
        }
        state.datagrams_full = true;
        Err(DatagramError::Full)
    }

    /// Takes the oldest DATAGRAM frame that arrived; returns its length, which is larger than `out` if it was cut off.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn recv_datagram(&mut self, out: &mut [u8]) -> Option<usize> {
        let (state, lent) = self.lend();
        state.datagrams_in.pop(lent.buffers.datagrams_in, 0, out)
    }
}

/// The tie of a datagram as it stands before it in the queue: a kind, and the path ID if it has one.
struct Label([u8; Label::LONGEST]);

impl Label {
    const LONGEST: usize = 5;
    /// A kind, where there can be several paths.
    const SHORTEST: usize = size_of::<WithMultipath<u8>>();

    const fn of(tie: Tie) -> Self {
        let (kind, path) = match tie {
            Tie::None | Tie::Every => (0, PathId::ZERO),
            Tie::Prefers(path) => (1, path),
            Tie::Needs(path) => (2, path),
        };
        let [a, b, c, d] = path.0.to_be_bytes();
        Self([kind, a, b, c, d])
    }

    fn bytes(&self) -> &[u8] {
        let [kind, ..] = self.0;
        let len = if kind == 0 { Self::SHORTEST } else { Self::SHORTEST.saturating_mul(Self::LONGEST) };
        self.0.get(..len).unwrap_or_default()
    }

    const fn tie(&self) -> Tie {
        let [kind, a, b, c, d] = self.0;
        let path = PathId(u32::from_be_bytes([a, b, c, d]));
        match kind {
            1 => Tie::Prefers(path),
            2 => Tie::Needs(path),
            _ => Tie::None,
        }
    }
}

impl State {
    /// What fits whatever path is taken.
    fn max_datagram_len(&self, lent: &Lent<'_>) -> Option<usize> {
        let carrying = self.open_paths(lent).filter(|path| self.carries(lent, *path));
        let least = carrying.filter_map(|path| self.max_datagram_len_over(lent, path)).min();
        least.or_else(|| self.max_datagram_len_over(lent, self.main))
    }

    /// What fits a packet of its own beside the largest header, and the peer's limit, which counts the whole frame.
    fn max_datagram_len_over(&self, lent: &Lent<'_>, path: PathRow) -> Option<usize> {
        let route = lent.buffers.routes.get(active(lent, path))?;
        let path = lent.buffers.paths.get(path.index())?;
        let dcid = path.peer_cids.of(lent.buffers.peer_cids, path.active)?.cid().len();
        let packet = usize::from(route.mtu.current()).checked_sub(dcid.saturating_add(1 + 4 + TAG_LEN))?;
        let frame = packet.min(usize::from(self.peer.max_datagram_frame));
        let len = frame.checked_sub(1_usize.saturating_add(varint_len(frame as u64)))?;
        (self.peer.max_datagram_frame > 0).then_some(len)
    }

    /// The length of the datagram that is next, and of its label, if it may go over this path.
    fn next_datagram(&self, lent: &Lent<'_>, over: &Over) -> Option<(usize, usize)> {
        let mut label = Label([0; Label::LONGEST]);
        let len = self.datagrams_out.front(lent.buffers.datagrams_out, &mut label.0)?;
        let label_len = label.bytes().len();
        over.may(label.tie()).then_some((len.saturating_sub(label_len), label_len))
    }

    /// Whether a datagram waits that may go over this path.
    pub(super) fn wants_datagram(&self, lent: &Lent<'_>, over: &Over) -> bool {
        !self.datagrams_out.is_empty() && self.next_datagram(lent, over).is_some()
    }

    /// Writes DATAGRAM frames as long as they fit. One that no packet can hold any more, since the route's MTU fell, is
    /// dropped.
    pub(super) fn contribute_datagrams(
        &mut self,
        lent: &mut Lent<'_>,
        path: PathRow,
        over: &Over,
        out: &mut PacketWriter<'_>,
    ) {
        while !self.datagrams_out.is_empty()
            && let Some((len, label)) = self.next_datagram(lent, over)
        {
            let queue = &*lent.buffers.datagrams_out;
            if self.max_datagram_len_over(lent, path).is_none_or(|max| len > max) {
                self.datagrams_out.pop(queue, label, &mut []);
                self.stats.datagrams_dropped = self.stats.datagrams_dropped.saturating_add(1);
            } else {
                let Ok(place) = out.datagram(len) else { return };
                self.datagrams_out.pop(queue, label, place);
            }
            if core::mem::take(&mut self.datagrams_full) {
                self.facts.note(Fact::DatagramRoom);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_tells_its_tie_and_takes_no_room_where_there_is_one_path() {
        let (prefers, needs) = (Tie::Prefers(PathId(7)), Tie::Needs(PathId(u32::MAX)));
        for (tie, read, len) in
            [(Tie::None, Tie::None, 1), (Tie::Every, Tie::None, 1), (prefers, prefers, 5), (needs, needs, 5)]
        {
            let label = Label::of(tie);
            assert_eq!(label.bytes().len(), if cfg!(feature = "multipath") { len } else { 0 });
            assert_eq!(label.tie(), read);
        }
    }
}
