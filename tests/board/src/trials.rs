//! What is tried, and what must be true of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::emulator::Emulator;
use crate::link::{After, Link, Plan, Seen};
use crate::peers::{self, Auth, Kind, Server};
use crate::sensor;
use crate::weather::Forecast;

/// Bytes that go each way.
const FILE: usize = 256 << 10;
/// What a trial may take. It takes a small part of that where nobody else uses the machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

const GOOD: Forecast = Forecast::GOOD;
const BAD: Forecast = Forecast::BAD;

/// A name, and what is done.
pub(crate) struct Trial {
    pub(crate) name: &'static str,
    what: What,
}

enum What {
    /// The firmware is the client of this server.
    Client { server: Kind, auth: Auth, weather: Forecast, is_moving: bool },
    /// The firmware is the server.
    Sensor,
}

/// All of them.
#[rustfmt::skip]
pub(crate) const ALL: [Trial; 6] = [
    client("still", Kind::Command, Auth::Psk, GOOD, false),
    client("serve-psk", Kind::Command, Auth::Psk, BAD, true),
    client("serve-raw-key", Kind::Command, Auth::RawKey, BAD, true),
    client("quinn-pin", Kind::Quinn, Auth::Pin, BAD, true),
    client("quinn-raw-key", Kind::Quinn, Auth::RawKey, BAD, true),
    Trial { name: "sensor", what: What::Sensor },
];

const fn client(name: &'static str, server: Kind, auth: Auth, weather: Forecast, is_moving: bool) -> Trial {
    Trial { name, what: What::Client { server, auth, weather, is_moving } }
}

/// What trials share.
pub(crate) struct Bench {
    /// Where the images of the firmwares are.
    pub(crate) firmware: PathBuf,
    /// The `peregrine` command.
    pub(crate) command: PathBuf,
    pub(crate) seed: u64,
    /// Whether to tell what firmwares say.
    pub(crate) is_told: bool,
}

/// How a trial went that went well.
pub(crate) struct Passed {
    pub(crate) took: Duration,
    pub(crate) what: String,
    pub(crate) seen: Seen,
}

impl Trial {
    pub(crate) fn run(&self, bench: &Bench) -> Result<Passed, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let began = Instant::now();
        let (what, seen) = match self.what {
            What::Client { server, auth, weather, is_moving } => {
                let running = Server::start(server, auth, &bench.command, folder.path());
                let (what, seen, sent) = run_client(bench, folder.path(), &running, weather, is_moving)?;
                if server == Kind::Command {
                    saved(folder.path(), &sent)?;
                }
                (what, seen)
            }
            What::Sensor => sensor::run(bench, folder.path())?,
        };
        Ok(Passed { took: began.elapsed(), what, seen })
    }
}

/// What the transfers took, what was seen on the link, and the hash of what was sent.
fn run_client(
    bench: &Bench,
    folder: &Path,
    server: &Server,
    weather: Forecast,
    is_moving: bool,
) -> Result<(String, Seen, String), String> {
    let mut job = format!(
        "server=10.9.0.1:{} name=server.test {} get=/{FILE} put={FILE}",
        server.address.port(),
        server.trust
    );
    let mut pulls = Vec::new();
    if is_moving {
        // One third of the way to another port, two thirds of the way to another place.
        job += &format!(" port-after={}", FILE / 3);
        pulls.extend([After::ToBoard(FILE as u64 * 2 / 3), After::FromBoard(FILE as u64 * 2 / 3)]);
    }
    let places = pulls.len() + 1;
    let monitor = folder.join("monitor");
    let plan = Plan { forecast: weather, seed: bench.seed, pulls, port: None, monitor: monitor.clone() };
    let link = Link::start(plan);
    let image = bench.firmware.join("client");
    let (log, ended) = Emulator::start(&image, &job, &link, &monitor, bench.is_told).end();
    let seen = link.end();
    match ended.and_then(|()| judge(&log, &seen, weather, places)) {
        Ok(sent) => Ok((log.iter().filter_map(|line| time(line)).collect::<Vec<_>>().join(", "), seen, sent)),
        Err(why) if bench.is_told => Err(why),
        Err(why) => Err(format!("{why}. The firmware has said:\n    {}", log.join("\n    "))),
    }
}

/// What must be true of a firmware that has ended well; the hash of what it has sent.
fn judge(log: &[String], seen: &Seen, weather: Forecast, places: usize) -> Result<String, String> {
    let hash = peers::hex(&Sha256::digest(peers::pattern(FILE)));
    expect(log, &format!("downloaded {FILE} bytes"), &format!("sha256 {hash}"))?;
    let sent = expect(log, &format!("uploaded {FILE} bytes"), "which the server has too")?;
    let (_, sent) = sent.split_once("sha256 ").ok_or("the firmware told no hash")?;
    // At each place but the last it has moved to another port by itself, and none is used again elsewhere.
    let ports = 2 * places - 1;
    if (seen.places(), seen.ports()) != (places, ports) {
        return Err(format!("it was not at {places} places with {ports} ports, but at {:?}", seen.reached));
    }
    if weather.lost > 0 && (seen.lost == 0 || seen.overtaken == 0) {
        return Err("the weather was good".into());
    }
    Ok(sent.chars().take(64).collect())
}

/// Fails if the command has not saved one file with that hash.
fn saved(folder: &Path, hash: &str) -> Result<(), String> {
    let uploads = peers::uploads(folder);
    let files = std::fs::read_dir(&uploads).map_err(|error| error.to_string())?;
    let content = std::fs::read(uploads.join(FILE.to_string())).map_err(|error| error.to_string())?;
    let is_same = peers::hex(&Sha256::digest(&content)) == hash;
    if is_same && files.count() == 1 { Ok(()) } else { Err("the server has saved something else".into()) }
}

/// The line that says both.
fn expect<'l>(log: &'l [String], one: &str, other: &str) -> Result<&'l str, String> {
    let said = log.iter().find(|line| line.contains(one) && line.contains(other));
    said.map(String::as_str).ok_or_else(|| format!("the firmware never said: {one} ... {other}"))
}

/// How long a transfer took, of a line that tells.
fn time(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("downloaded ").or_else(|| line.split_once("uploaded "))?;
    let (_, rest) = rest.split_once(" in ")?;
    let (ms, _) = rest.split_once(" ms")?;
    Some(format!("{} in {ms} ms", if line.contains("downloaded") { "down" } else { "up" }))
}
