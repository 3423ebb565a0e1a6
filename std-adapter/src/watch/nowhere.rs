//! Systems that nothing is heard of.

use std::io;
use std::sync::Arc;

use super::Networks;
use crate::error::Error;
use crate::shared::Shared;

/// Would hear of changes of this host's networks, but does not know how on this system.
#[derive(Debug)]
pub enum NetworkEvents {}

impl NetworkEvents {
    /// # Errors
    /// [`io::ErrorKind::Unsupported`], always.
    pub fn new() -> io::Result<Self> {
        Err(unsupported())
    }

    /// The networks, as far as was heard.
    pub const fn networks(&self) -> Networks {
        match *self {}
    }

    /// Hears all that there is to hear, without waiting.
    ///
    /// # Errors
    /// Those of the system.
    pub const fn read(&mut self) -> io::Result<()> {
        match *self {}
    }
}

/// Would keep an endpoint told of this host's networks.
#[derive(Debug)]
pub enum Watcher {}

impl Watcher {
    pub(crate) fn start(_: &Arc<Shared>) -> Result<Self, Error> {
        Err(Error::System(unsupported()))
    }

    /// Why nothing is told any more, if the system has failed.
    pub const fn failure(&self) -> Option<&io::Error> {
        match *self {}
    }
}

fn unsupported() -> io::Error {
    let why =
        "networks are watched on Linux only, by a program built with the feature `watch` of peregrine-std";
    io::Error::new(io::ErrorKind::Unsupported, why)
}
