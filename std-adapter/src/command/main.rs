//! The `peregrine` command: files over QUIC.

use std::process::ExitCode;

mod answer;
mod args;
mod credentials;
mod demo;
mod exit;
mod failure;
mod fleet;
mod get;
mod hq;
mod interrupt;
mod logs;
mod meter;
mod moment;
mod narrator;
mod percent;
mod report;
mod root;
mod save;
mod serve;
mod several;
mod steer;
mod strangers;
mod timeline;
mod uploads;
mod url;

use args::{Args, Command};
use exit::Exit;

fn main() -> ExitCode {
    let done = match Args::read().command {
        Command::Demo(demo) => demo::run(demo.multipath).map(|()| Exit::Done),
        Command::Serve(serve) => serve::run(&serve),
        Command::Get(get) => get::run(&get),
    };
    done.unwrap_or_else(|failure| {
        report::complain(&failure.text);
        failure.exit
    })
    .into()
}
