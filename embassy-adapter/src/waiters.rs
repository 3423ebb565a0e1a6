//! Who waits for what, and what has become of streams that were finished.
//!
//! Both are tables of a size that the application chose. A waiter that finds no row takes that of another, who is woken and
//! asks again: that costs time, and nothing is lost. What has become of a stream cannot be asked again, so there a full table
//! is an error.

use core::task::Waker;

use peregrine_core::endpoint::Handle;
use peregrine_core::ids::{Dir, StreamId};
use peregrine_core::stream::StreamEvent;

/// What may be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// A client's connection, or any change of the endpoint.
    Endpoint,
    Connected,
    Confirmed,
    Accept(Dir),
    Open(Dir),
    Read(StreamId),
    Write(StreamId),
    Datagram,
    DatagramRoom,
    Route,
    SpareCid,
    End,
}

/// Somebody who waits.
pub(crate) struct Waiter {
    handle: Option<Handle>,
    wait: Wait,
    waker: Waker,
}

/// What has become of what was sent on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    UnderWay,
    /// The peer has it all.
    Delivered,
    /// The peer asked with this code to stop.
    Stopped(u64),
}

/// A stream that was finished.
pub(crate) struct Finished {
    handle: Handle,
    id: StreamId,
    fate: Fate,
}

/// The two tables.
pub(crate) struct Waiters {
    rows: &'static mut [Option<Waiter>],
    finished: &'static mut [Option<Finished>],
    /// The row that is taken next if none is free.
    next: usize,
}

impl Waiters {
    pub(crate) const fn new(
        rows: &'static mut [Option<Waiter>],
        finished: &'static mut [Option<Finished>],
    ) -> Self {
        Self { rows, finished, next: 0 }
    }

    /// Wakes whose waker it is when that happens to the connection, or to the endpoint.
    pub(crate) fn enlist(&mut self, handle: Option<Handle>, wait: Wait, waker: &Waker) {
        let is_known = |row: &Waiter| row.handle == handle && row.wait == wait && row.waker.will_wake(waker);
        if self.rows.iter().flatten().any(is_known) {
            return;
        }
        let vacant = self.rows.iter().position(Option::is_none);
        let place = vacant.unwrap_or(self.next);
        if vacant.is_none() {
            self.next = self.next.wrapping_add(1).checked_rem(self.rows.len()).unwrap_or(0);
        }
        if let Some(row) = self.rows.get_mut(place)
            && let Some(displaced) = row.replace(Waiter { handle, wait, waker: waker.clone() })
        {
            note!(debug, "more than {} tasks wait, they take turns", self.rows.len());
            displaced.waker.wake();
        }
    }

    /// It has happened.
    pub(crate) fn wake(&mut self, handle: Option<Handle>, wait: Wait) {
        self.wake_if(|row| row.handle == handle && row.wait == wait);
    }

    /// Wakes all who wait for something of the connection.
    pub(crate) fn wake_all(&mut self, handle: Handle) {
        self.wake_if(|row| row.handle == Some(handle));
    }

    fn wake_if(&mut self, is_woken: impl Fn(&Waiter) -> bool) {
        for row in self.rows.iter_mut() {
            if row.as_ref().is_some_and(&is_woken)
                && let Some(waiter) = row.take()
            {
                waiter.waker.wake();
            }
        }
    }

    /// The stream is finished: what becomes of it is noted from now on. Returns whether there is a row for it.
    pub(crate) fn follow(&mut self, handle: Handle, id: StreamId) -> bool {
        let vacant = self.finished.iter_mut().find(|row| row.is_none());
        let taken = vacant.map(|row| *row = Some(Finished { handle, id, fate: Fate::UnderWay }));
        taken.is_some()
    }

    /// Nobody will ask for it any more.
    pub(crate) fn unfollow(&mut self, handle: Handle, id: StreamId) {
        self.drop_if(|row| row.handle == handle && row.id == id);
    }

    /// The connection is forgotten.
    pub(crate) fn forget(&mut self, handle: Handle) {
        self.wake_all(handle);
        self.drop_if(|row| row.handle == handle);
    }

    fn drop_if(&mut self, is_dropped: impl Fn(&Finished) -> bool) {
        for row in self.finished.iter_mut() {
            row.take_if(|row| is_dropped(row));
        }
    }

    /// Rows in use of both tables.
    pub(crate) fn in_use(&self) -> (usize, usize) {
        (self.rows.iter().flatten().count(), self.finished.iter().flatten().count())
    }

    /// What has become of the stream, if that is followed.
    pub(crate) fn fate(&self, handle: Handle, id: StreamId) -> Option<Fate> {
        let mut rows = self.finished.iter().flatten();
        rows.find(|row| row.handle == handle && row.id == id).map(|row| row.fate)
    }

    /// Something has happened to a stream.
    pub(crate) fn on_stream(&mut self, handle: Handle, event: StreamEvent) {
        let (wait, end) = match event {
            StreamEvent::Opened(dir) => (Wait::Accept(dir), None),
            StreamEvent::Available(dir) => (Wait::Open(dir), None),
            StreamEvent::Readable(id) => (Wait::Read(id), None),
            StreamEvent::Writable(id) => (Wait::Write(id), None),
            StreamEvent::Stopped(id, code) => (Wait::Write(id), Some((id, Fate::Stopped(code)))),
            StreamEvent::Finished(id) => (Wait::Write(id), Some((id, Fate::Delivered))),
        };
        if let Some((id, fate)) = end
            && let Some(row) =
                self.finished.iter_mut().flatten().find(|row| row.handle == handle && row.id == id)
        {
            row.fate = fate;
        }
        self.wake(Some(handle), wait);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::boxed::Box;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (Arc::clone(&count), count.into())
    }

    fn waiters() -> Waiters {
        Waiters::new(Box::leak(Box::new([None, None])), Box::leak(Box::new([None])))
    }

    #[test]
    fn the_same_task_may_ask_often_and_takes_one_row() {
        let mut waiters = waiters();
        let (count, waker) = counted();
        for _ in 0..5 {
            waiters.enlist(None, Wait::End, &waker);
        }
        assert_eq!(waiters.rows.iter().flatten().count(), 1);
        waiters.wake(None, Wait::Endpoint);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        waiters.wake(None, Wait::End);
        waiters.wake(None, Wait::End);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn whoever_is_displaced_from_a_full_table_is_woken_and_all_have_their_turn() {
        let mut waiters = waiters();
        let tasks = [counted(), counted(), counted(), counted()];
        for (_, waker) in &tasks {
            waiters.enlist(None, Wait::End, waker);
        }
        let woken = |task: usize| tasks[task].0.0.load(Ordering::Relaxed);
        assert_eq!([woken(0), woken(1), woken(2), woken(3)], [1, 1, 0, 0]);
        waiters.wake(None, Wait::End);
        assert_eq!([woken(0), woken(1), woken(2), woken(3)], [1, 1, 1, 1]);
    }
}
