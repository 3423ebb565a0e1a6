//! The firmware on two networks at once, a cable and a serial line: both carry its transfers, and when one dies the other goes on.

use std::path::Path;

use crate::emulator::{Emulator, Wires};
use crate::line::Line;
use crate::link::{Link, Plan};
use crate::nat::{After, Seen};
use crate::peers::Server;
use crate::trials::{self, Bench, FILE, Told};
use crate::weather::{Conditions, Forecast};

/// What they carry, in bytes a second. The line's is that of a real one at 300,000 baud, and half of what the emulator manages on a busy
/// machine, where each byte is an interrupt.
const CABLE: u32 = 45_000;
const LINE: u32 = 30_000;
/// What each has to carry at least if both live, in percent.
const LEAST: u32 = 20;

/// What becomes of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Live,
    /// The cable is pulled out in the middle of the download. The firmware is told: its link is down.
    CableOut,
    /// The line falls silent in the middle of the download. Nobody tells.
    LineSilent,
}

pub(crate) fn run(
    bench: &Bench,
    folder: &Path,
    server: &Server,
    forecast: Forecast,
    fate: Fate,
) -> Result<(Told, String), String> {
    let (monitor, socket) = (folder.join("monitor"), folder.join("line"));
    let conditions = |rate| Conditions { forecast, seed: bench.seed, rate: Some(rate) };
    // When it has carried so much of the download: of its share about a half.
    let after = |percent| Some(After::ToBoard(FILE as u64 * percent / 100));
    let (pull, cut) = match fate {
        Fate::Live => (None, None),
        Fate::CableOut => (after(30), None),
        Fate::LineSilent => (None, after(12)),
    };
    let line = Line::start(&socket, conditions(LINE), cut);
    let link = Link::start(Plan {
        conditions: conditions(CABLE),
        pulls: pull.into_iter().collect(),
        is_moving: false,
        port: None,
        monitor: monitor.clone(),
    });
    let mut job = trials::job(server);
    if fate == Fate::Live {
        job += &format!(" least={LEAST}");
    }
    let image = bench.firmware.join("bond");
    let wires = Wires { link: &link, monitor: &monitor, line: Some(&socket) };
    let (log, ended) = Emulator::start(&image, &job, &wires, bench.is_told).end();
    let (cable, line) = (link.end(), line.end());
    let judged = ended.and_then(|()| judge(&log, [&cable, &line], fate));
    let told = trials::explain(judged, &log, bench)?;
    Ok((told, format!("{}; cable: {cable}; line: {line}", tell(&log))))
}

/// What must be true of a firmware that has ended well.
fn judge(log: &[String], networks: [&Seen; 2], fate: Fate) -> Result<Told, String> {
    if networks.iter().any(|seen| seen.reached.len() != 1) {
        return Err("it was not on both networks with one port each".into());
    }
    let told = trials::transfers(log)?;
    let dead = match fate {
        // The firmware itself insists on the shares.
        Fate::Live => return Ok(told),
        Fate::CableOut => 0,
        Fate::LineSilent => 1,
    };
    let [down, up] = shares(log)[..] else { return Err("it never told what its networks carry".into()) };
    // Both were at work before, and what is left then are probes whether it is there again.
    let is_so = percent(down, dead) >= 5 && percent(up, dead) <= 5;
    if is_so { Ok(told) } else { Err(format!("the networks carried {down:?} and {up:?} bytes")) }
}

/// Bytes over the cable and over the line, of each transfer.
fn shares(log: &[String]) -> Vec<[u64; 2]> {
    let number = |line: &str, before: &str| {
        let (_, rest) = line.split_once(before)?;
        rest.split(' ').next()?.parse().ok()
    };
    let both = |line: &String| Some([number(line, "bytes: ")?, number(line, "over the cable, ")?]);
    log.iter().filter_map(both).collect()
}

fn percent(shares: [u64; 2], of: usize) -> u64 {
    shares[of] * 100 / shares.iter().sum::<u64>().max(1)
}

/// The same in words.
fn tell(log: &[String]) -> String {
    let silences = log.iter().filter_map(|line| Some(line.split_once("silent for ")?.1));
    let told = shares(log).into_iter().zip(silences).map(|(shares, silence)| {
        format!("{} + {} %, silent for {silence}", percent(shares, 0), percent(shares, 1))
    });
    told.collect::<Vec<_>>().join("; ")
}
