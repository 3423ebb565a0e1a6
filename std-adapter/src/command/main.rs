//! The `peregrine` command: files over QUIC.
#![expect(dead_code, reason = "serve, get and demo follow with the endpoint over sockets")]

use std::process::ExitCode;

mod args;
mod exit;
mod hq;
mod percent;
mod report;
mod root;
mod save;
mod url;

fn main() -> ExitCode {
    args::Args::read();
    report::complain("this build has no connections yet");
    exit::Exit::Defect.into()
}
