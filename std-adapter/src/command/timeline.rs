//! The timeline of `peregrine get`: a line for each event, when it happens, a record of moves for programs, and a picture of
//! it all.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::BinaryBytes;
use peregrine_core::ids::Side;
use peregrine_std::clock::Clock;
use peregrine_std::{Connection, Seen};

use crate::meter::Meter;
use crate::narrator::{Move, Narrator};
use crate::report::note;

mod callouts;
mod canvas;
mod picture;
mod record;
mod scale;

pub(crate) use canvas::Canvas;
use record::Recorder;

/// What happens to the connections of a command.
#[derive(Debug)]
pub(crate) struct Timeline {
    clock: Clock,
    meter: Arc<Meter>,
    is_shown: bool,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    narrator: Narrator,
    moves: Vec<Happened<Move>>,
    rebindings: Vec<Happened<SocketAddr>>,
    recorder: Option<Recorder>,
}

/// Something that happened, when, and how many bytes had come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened<T> {
    pub(crate) seconds: f64,
    pub(crate) bytes: u64,
    pub(crate) what: T,
}

impl Timeline {
    /// Nothing has happened yet. Lines are written only if it `is_shown`, and what a picture takes is kept only if it
    /// `is_drawn`.
    pub(crate) fn new(clock: Clock, meter: Arc<Meter>, is_shown: bool, is_drawn: bool) -> Self {
        let book = Book {
            narrator: Narrator::new(Side::Client),
            moves: Vec::new(),
            rebindings: Vec::new(),
            recorder: is_drawn.then(Recorder::new),
        };
        Self { clock, meter, is_shown, book: Mutex::new(book) }
    }

    fn happened<T>(&self, what: T) -> Happened<T> {
        Happened { seconds: self.seconds(), bytes: self.meter.bytes(), what }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seconds(&self) -> f64 {
        self.clock.now().as_micros() as f64 / 1e6
    }

    /// Takes an event of a connection.
    pub(crate) fn see(&self, seen: &mut Seen<'_>) {
        let mut book = self.book();
        if let Some(recorder) = &mut book.recorder {
            recorder.see(self.seconds(), seen);
        }
        if let Some(moved) = book.narrator.moved(seen) {
            book.moves.push(self.happened(moved));
        }
        if self.is_shown
            && let Some(words) = book.narrator.tell(seen)
        {
            let on = book.narrator.in_use(seen);
            self.write(on, &words);
        }
    }

    /// Looks at the `connections` again and again until the end, for the picture: between events too there is data.
    pub(crate) fn watch<'c>(&self, connections: impl Fn() -> Vec<&'c Connection>) {
        let interval = || self.book().recorder.as_ref().map(Recorder::interval);
        let mut is_over = false;
        while let Some(interval) = interval().filter(|_| !is_over) {
            // What came last is looked at, too.
            is_over = self.meter.ends_within(interval);
            for connection in connections() {
                let routes = connection.routes().unwrap_or_default();
                if let Some(recorder) = &mut self.book().recorder {
                    recorder.sample(self.seconds(), connection.handle(), routes.into_iter());
                }
            }
        }
    }

    /// The socket of the connection was replaced by one on this address.
    pub(crate) fn on_rebound(&self, to: SocketAddr) {
        let mut book = self.book();
        book.rebindings.push(self.happened(to));
        if let Some(recorder) = &mut book.recorder {
            recorder.on_rebound(self.seconds(), to);
        }
        if self.is_shown {
            self.write(None, &format!("the socket is now on {to}; the connection is not told"));
        }
    }

    fn write(&self, on: Option<SocketAddr>, words: &str) {
        let Happened { seconds, bytes, what } = self.happened(words);
        let bytes = BinaryBytes(bytes).to_string();
        let on = on.map_or_else(String::new, |on| on.to_string());
        note(format_args!("{seconds:>8.3} s {bytes:>11}  {on:<21}  {what}"));
    }

    /// The moves so far.
    pub(crate) fn moves(&self) -> Vec<Happened<Move>> {
        self.book().moves.clone()
    }

    /// The rebindings so far.
    pub(crate) fn rebindings(&self) -> Vec<Happened<SocketAddr>> {
        self.book().rebindings.clone()
    }

    /// The picture of what has happened, as SVG; nothing if it is not drawn.
    pub(crate) fn picture(&self, title: &str) -> Option<String> {
        let book = self.book();
        let record = book.recorder.as_ref()?.record(self.seconds());
        Some(picture::draw(&record, title))
    }
}
