//! Which stream sends next: the most urgent first, round robin among equals (RFC 9000 2.3).
//!
//! One list for each urgency. On it, streams whose [`Demand`] is free of the limit of all streams come before those that
//! need it; so lost bytes go before new ones (RFC 9000 13.3), and when the limit is used up the head of a list tells
//! whether anything on it can be sent.

use crate::feature::WithMultipath;
use crate::limits::PRIORITIES;
use crate::stream::row::{ORDER, Stream};
use crate::stream::send::Demand;
use crate::stream::tie::Over;
use crate::table::list::{Linked, List, at, at_mut};

/// Streams of each urgency that are looked at to tell how much waits, or who may send over a path.
const FIRST: usize = 8;

/// The lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    lists: [List<ORDER>; PRIORITIES],
    /// Those with a stream on them, a bit for each: the least for the most urgent.
    waiting: u8,
    /// Whether a stream was ever tied to a path.
    pub(super) tied: WithMultipath<bool>,
}

const _: () = assert!(PRIORITIES == u8::BITS as usize);

impl Order {
    /// Nothing to send.
    pub(super) const EMPTY: Self =
        Self { lists: [List::EMPTY; PRIORITIES], waiting: 0, tied: WithMultipath::new(false) };

    /// Whether no stream waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The slot that sends next over a path; with `fresh`, bytes that were never sent may be among it. Where streams are tied to
    /// paths, the first few of each urgency are looked at: so many that wait for a path hold back those behind them.
    pub(super) fn next(&self, rows: &[Stream], fresh: bool, over: &Over) -> Option<u16> {
        match over {
            Over::Any if fresh => self.waiting().next()?.head(),
            Over::Any => self.waiting().filter_map(List::head).find(|slot| is_free(rows, *slot)),
            Over::Nothing => None,
            Over::Path { .. } => self.next_tied(rows, fresh, over),
        }
    }

    /// Apart, so that who knows of no paths asks for little more than the head of a list.
    #[inline(never)]
    fn next_tied(&self, rows: &[Stream], fresh: bool, over: &Over) -> Option<u16> {
        let goes = |slot: u16| at(rows, slot).is_some_and(|row| over.may(row.tie()));
        self.first(rows).find(|slot| (fresh || is_free(rows, *slot)) && goes(*slot))
    }

    /// The first slots of each urgency, the most urgent before the others.
    pub(super) fn first<'a>(&'a self, rows: &'a [Stream]) -> impl Iterator<Item = u16> + use<'a> {
        let first = move |list| {
            let list: &List<ORDER> = list;
            core::iter::successors(list.head(), move |slot| list.next(rows, *slot)).take(FIRST)
        };
        self.waiting().flat_map(first)
    }

    /// The lists with a stream on them, the most urgent before the others.
    fn waiting<'a>(&'a self) -> impl Iterator<Item = &'a List<ORDER>> + use<'a> {
        let mut waiting = self.waiting;
        core::iter::from_fn(move || {
            let list = self.lists.get(waiting.trailing_zeros() as usize)?;
            waiting &= waiting.wrapping_sub(1);
            Some(list)
        })
    }

    /// Puts a stream where its demand belongs. One whose demand is as before keeps its place.
    pub(super) fn place(&mut self, rows: &mut [Stream], slot: u16) {
        let Some(row) = at(rows, slot) else { return };
        let demand = row.send.demand();
        if demand != row.queued {
            self.put(rows, slot, demand);
        }
    }

    /// A stream has sent: its equals are next, unless it has something lost.
    pub(super) fn rotate(&mut self, rows: &mut [Stream], slot: u16) {
        let Some(row) = at(rows, slot) else { return };
        self.put(rows, slot, row.send.demand());
    }

    /// Changes the urgency of a stream.
    pub(super) fn set_urgency(&mut self, rows: &mut [Stream], slot: u16, urgency: u8) {
        self.put(rows, slot, Demand::Nothing);
        if let Some(row) = at_mut(rows, slot) {
            row.urgency = urgency;
        }
        self.place(rows, slot);
    }

    fn put(&mut self, rows: &mut [Stream], slot: u16, demand: Demand) {
        let Some(row) = at_mut(rows, slot) else { return };
        row.queued = demand;
        let urgency = row.urgency;
        let Some(list) = self.lists.get_mut(usize::from(urgency)) else { return };
        if Linked::<ORDER>::link(row).is_on() {
            list.remove(rows, slot);
        }
        match demand {
            Demand::Nothing => {}
            Demand::Fresh => list.push_back(rows, slot),
            Demand::Free => list.push_front(rows, slot),
        }
        let bit = 1_u8.wrapping_shl(urgency.into());
        self.waiting = self.waiting & !bit | if list.is_empty() { 0 } else { bit };
    }
}

/// Whether a stream can send whatever the limit of all streams is.
fn is_free(rows: &[Stream], slot: u16) -> bool {
    at(rows, slot).is_some_and(|row| row.queued == Demand::Free)
}
