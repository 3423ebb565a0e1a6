//! Runs the firmware example on an emulated board, with a bad network between it and real peers on this host.
//!
//! `peregrine-board-tests FIRMWARE COMMAND [TRIAL...]`: the folder with the firmwares' images, and the `peregrine` command. Without
//! names all trials are run; with names, what the firmware says is told too. The environment's `SEED` is that of the weather, 1 if
//! there is none. `embassy-adapter/examples/mps2-an386/run.sh` builds what is needed and calls this.

#![expect(
    clippy::disallowed_methods,
    reason = "the emulated board runs on real time, and so does its network"
)]

mod bond;
mod cable;
mod client;
mod emulator;
mod frames;
mod line;
mod link;
mod nat;
mod packets;
mod peers;
mod sensor;
/// As the firmware has it.
#[path = "../../../embassy-adapter/examples/mps2-an386/src/slip.rs"]
mod slip;
mod trials;
mod weather;

use std::process::ExitCode;

use trials::{ALL, Bench, Trial};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(firmware), Some(command)) = (arguments.next(), arguments.next()) else {
        eprintln!("peregrine-board-tests FIRMWARE COMMAND [TRIAL...]");
        return ExitCode::from(2);
    };
    let names: Vec<String> = arguments.collect();
    if let Some(unknown) = names.iter().find(|name| ALL.iter().all(|trial| trial.name != **name)) {
        let known = ALL.map(|trial| trial.name).join(" ");
        eprintln!("there is no trial {unknown}, but: {known}");
        return ExitCode::from(2);
    }
    let Ok(seed) = std::env::var("SEED").map_or(Ok(1), |seed| seed.parse()) else {
        eprintln!("SEED is no number");
        return ExitCode::from(2);
    };
    let bench =
        Bench { firmware: firmware.into(), command: command.into(), seed, is_told: !names.is_empty() };
    let chosen = |trial: &&Trial| names.is_empty() || names.iter().any(|name| name == trial.name);
    let failed = ALL.iter().filter(chosen).filter(|trial| !tell(trial, &bench)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a trial and tells how it went; whether well.
fn tell(trial: &Trial, bench: &Bench) -> bool {
    match trial.run(bench) {
        Ok(passed) => {
            println!("{:13} {:4.1} s  {}", trial.name, passed.took.as_secs_f32(), passed.what);
            true
        }
        Err(why) => {
            println!("{:14} FAILED: {why}", trial.name);
            false
        }
    }
}
