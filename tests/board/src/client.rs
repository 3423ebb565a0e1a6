//! The firmware as a client that moves: to another port by itself, and to another place when its cable is pulled out.

use std::path::Path;

use crate::emulator::{Emulator, Wires};
use crate::link::{Link, Plan};
use crate::nat::{After, Seen};
use crate::peers::Server;
use crate::trials::{self, Bench, FILE, Told};
use crate::weather::{Conditions, Forecast};

pub(crate) fn run(
    bench: &Bench,
    folder: &Path,
    server: &Server,
    forecast: Forecast,
    is_moving: bool,
) -> Result<(Told, String), String> {
    let mut job = trials::job(server);
    let mut pulls = Vec::new();
    if is_moving {
        // One third of the way to another port, two thirds of the way to another place.
        job += &format!(" port-after={}", FILE / 3);
        pulls.extend([After::ToBoard(FILE as u64 * 2 / 3), After::FromBoard(FILE as u64 * 2 / 3)]);
    }
    let places = pulls.len() + 1;
    let monitor = folder.join("monitor");
    let conditions = Conditions { forecast, seed: bench.seed, rate: None };
    let link = Link::start(Plan { conditions, pulls, is_moving, port: None, monitor: monitor.clone() });
    let image = bench.firmware.join("client");
    let wires = Wires { link: &link, monitor: &monitor, line: None };
    let (log, ended) = Emulator::start(&image, &job, &wires, bench.is_told).end();
    let seen = link.end();
    let judged = ended.and_then(|()| judge(&log, &seen, forecast, places));
    let told = trials::explain(judged, &log, bench)?;
    Ok((told, format!("{} places, {} ports; {seen}", seen.places(), seen.ports())))
}

/// What must be true of a firmware that has ended well.
fn judge(log: &[String], seen: &Seen, weather: Forecast, places: usize) -> Result<Told, String> {
    let told = trials::transfers(log)?;
    // At each place but the last it has moved to another port by itself, and none is used again elsewhere.
    let ports = 2 * places - 1;
    if (seen.places(), seen.ports()) != (places, ports) {
        return Err(format!("it was not at {places} places with {ports} ports, but at {:?}", seen.reached));
    }
    if weather.lost > 0 && (seen.lost == 0 || seen.overtaken == 0) {
        return Err("the weather was good".into());
    }
    Ok(told)
}
