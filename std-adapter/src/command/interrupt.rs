//! Ctrl-C, and what else asks a program to end: connections are closed, so that downloads and uploads fail as they would if the
//! peer had gone, and leave nothing behind. Who asks twice does not wait for that.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use peregrine_std::Endpoint;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::hq::Reset;

static CAME: AtomicBool = AtomicBool::new(false);

/// Whether we were asked to end.
pub(crate) fn came() -> bool {
    CAME.load(Ordering::Relaxed)
}

/// Closes the endpoint when we are asked to end; peers are told these words.
pub(crate) fn closes(endpoint: Endpoint, words: &'static str) -> Result<(), Failure> {
    let handler = move || {
        if CAME.swap(true, Ordering::Relaxed) {
            process::exit(Exit::Interrupted as i32);
        }
        endpoint.close(Reset::Stopped as u64, words);
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::local("cannot listen for Ctrl-C", error))
}
