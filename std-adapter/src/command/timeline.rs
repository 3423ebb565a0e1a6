//! The timeline of `peregrine get`: a line for each event, when it happens, and a record of moves for programs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::BinaryBytes;
use peregrine_core::ids::Side;
use peregrine_std::Seen;
use peregrine_std::clock::Clock;

use crate::meter::Meter;
use crate::narrator::{Move, Narrator};

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
}

/// Something that happened, when, and how many bytes had come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened<T> {
    pub(crate) seconds: f64,
    pub(crate) bytes: u64,
    pub(crate) what: T,
}

impl Timeline {
    /// Nothing has happened yet. Lines are written only if it `is_shown`.
    pub(crate) fn new(clock: Clock, meter: Arc<Meter>, is_shown: bool) -> Self {
        let book = Book { narrator: Narrator::new(Side::Client), moves: Vec::new(), rebindings: Vec::new() };
        Self { clock, meter, is_shown, book: Mutex::new(book) }
    }

    fn happened<T>(&self, what: T) -> Happened<T> {
        let seconds = self.clock.now().as_micros() as f64 / 1e6;
        Happened { seconds, bytes: self.meter.bytes(), what }
    }

    /// Takes an event of a connection.
    pub(crate) fn see(&self, seen: &mut Seen<'_>) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// The socket of the connection was replaced by one on this address.
    pub(crate) fn on_rebound(&self, to: SocketAddr) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.rebindings.push(self.happened(to));
        if self.is_shown {
            self.write(None, &format!("the socket is now on {to}; the connection is not told"));
        }
    }

    fn write(&self, on: Option<SocketAddr>, words: &str) {
        let Happened { seconds, bytes, what } = self.happened(words);
        let bytes = BinaryBytes(bytes).to_string();
        let on = on.map_or_else(String::new, |on| on.to_string());
        eprintln!("{seconds:>8.3} s {bytes:>11}  {on:<21}  {what}");
    }

    /// The moves so far.
    pub(crate) fn moves(&self) -> Vec<Happened<Move>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).moves.clone()
    }

    /// The rebindings so far.
    pub(crate) fn rebindings(&self) -> Vec<Happened<SocketAddr>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).rebindings.clone()
    }
}
