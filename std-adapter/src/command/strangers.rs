//! Clients that did not get in: a line about them, once a second at most, however many they are.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use peregrine_core::connection::Event;
use peregrine_core::endpoint::Handle;
use peregrine_std::{Closed, Endpoint, Seen};

use crate::interrupt;
use crate::report::{note, printable};

/// How long they are counted before they are told of.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts them.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// Whose handshake is complete.
    inside: HashSet<Handle>,
    failed: u64,
    last: Option<(SocketAddr, Closed)>,
    /// Of those that the endpoint has refused, so many were told of.
    refused: u64,
}

impl Strangers {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event of a connection.
    pub(crate) fn see(&self, seen: &mut Seen<'_>) {
        match seen.event {
            Event::Connected => {
                self.book().inside.insert(seen.handle);
            }
            Event::Closed(cause) => {
                let mut book = self.book();
                if !book.inside.contains(&seen.handle) {
                    book.failed += 1;
                    book.last = seen.route_in_use().map(|route| (route.remote, cause.into()));
                }
            }
            Event::Drained => {
                self.book().inside.remove(&seen.handle);
            }
            _ => {}
        }
    }

    /// Tells of them again and again, until the program is asked to end.
    pub(crate) fn watch(&self, endpoint: &Endpoint) {
        while !interrupt::came() {
            thread::sleep(INTERVAL);
            self.tell(endpoint);
        }
    }

    /// Tells on standard error of those that have come since it last did.
    pub(crate) fn tell(&self, endpoint: &Endpoint) {
        let refused = endpoint.stats().refused;
        let mut book = self.book();
        let refused = refused.saturating_sub(std::mem::replace(&mut book.refused, refused));
        let (failed, last) = (std::mem::take(&mut book.failed), book.last.take());
        drop(book);
        if let Some(line) = line(failed, last, refused) {
            note(printable(&line));
        }
    }
}

fn line(failed: u64, last: Option<(SocketAddr, Closed)>, refused: u64) -> Option<String> {
    let last = last.map(|(remote, why)| format!("{remote} handshake failed: {why}"));
    let others = match failed {
        0 | 1 => None,
        _ => Some(format!("{} other handshakes failed", failed - 1)),
    };
    let refused = match refused {
        0 => None,
        1 => Some("1 client refused".into()),
        _ => Some(format!("{refused} clients refused")),
    };
    let parts: Vec<String> = last.into_iter().chain(others).chain(refused).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_core::lifecycle::Cause;

    #[test]
    fn many_are_one_line() {
        let last = || Some((([192, 0, 2, 1], 5).into(), Closed::from(Cause::HandshakeTimeout)));
        let timeout = "192.0.2.1:5 handshake failed: no answer: the handshake was not finished in time";
        for (line, words) in [
            (line(0, None, 0), None),
            (line(1, last(), 0), Some(timeout.into())),
            (line(3, last(), 2), Some(format!("{timeout}; 2 other handshakes failed; 2 clients refused"))),
            (line(0, None, 1), Some("1 client refused".into())),
        ] {
            assert_eq!(line, words);
        }
    }
}
