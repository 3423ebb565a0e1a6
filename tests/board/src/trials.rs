//! What is tried, and what must be true of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::bond::{self, Fate};
use crate::client;
use crate::peers::{self, Auth, Kind, Server};
use crate::sensor;
use crate::weather::Forecast;

/// Bytes that go each way.
pub(crate) const FILE: usize = 256 << 10;
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
    /// The firmware is the client of `peregrine serve` on two networks.
    Bond { weather: Forecast, fate: Fate },
    /// The firmware is the server.
    Sensor,
}

/// All of them.
#[rustfmt::skip]
pub(crate) const ALL: [Trial; 10] = [
    client("still", Kind::Command, Auth::Psk, GOOD, false),
    client("serve-psk", Kind::Command, Auth::Psk, BAD, true),
    client("serve-raw-key", Kind::Command, Auth::RawKey, BAD, true),
    client("quinn-pin", Kind::Quinn, Auth::Pin, BAD, true),
    client("quinn-raw-key", Kind::Quinn, Auth::RawKey, BAD, true),
    bond("two-links", GOOD, Fate::Live),
    bond("two-links-bad", BAD, Fate::Live),
    bond("cable-out", GOOD, Fate::CableOut),
    bond("line-silent", GOOD, Fate::LineSilent),
    Trial { name: "sensor", what: What::Sensor },
];

const fn client(name: &'static str, server: Kind, auth: Auth, weather: Forecast, is_moving: bool) -> Trial {
    Trial { name, what: What::Client { server, auth, weather, is_moving } }
}

const fn bond(name: &'static str, weather: Forecast, fate: Fate) -> Trial {
    Trial { name, what: What::Bond { weather, fate } }
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
}

impl Trial {
    pub(crate) fn run(&self, bench: &Bench) -> Result<Passed, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (folder, began) = (folder.path(), Instant::now());
        let start = |kind, auth| Server::start(kind, auth, &bench.command, folder);
        let (told, seen) = match self.what {
            What::Client { server: kind, auth, weather, is_moving } => {
                let server = start(kind, auth);
                let outcome = client::run(bench, folder, &server, weather, is_moving)?;
                if kind == Kind::Command {
                    saved(folder, &outcome.0)?;
                }
                outcome
            }
            What::Bond { weather, fate } => {
                let server = start(Kind::Command, Auth::Psk);
                let outcome = bond::run(bench, folder, &server, weather, fate)?;
                saved(folder, &outcome.0)?;
                outcome
            }
            What::Sensor => {
                let what = sensor::run(bench, folder)?;
                return Ok(Passed { took: began.elapsed(), what });
            }
        };
        Ok(Passed { took: began.elapsed(), what: format!("{}; {seen}", told.times) })
    }
}

/// What the firmware is to do with a server.
pub(crate) fn job(server: &Server) -> String {
    let (port, trust) = (server.address.port(), &server.trust);
    format!("server=10.9.0.1:{port} name=server.test {trust} get=/{FILE} put={FILE}")
}

/// What a firmware tells of its transfers.
pub(crate) struct Told {
    /// What they took.
    times: String,
    /// The hash of what it has sent.
    sent: String,
}

/// Fails if the firmware has not got the file as it is, or the server what the firmware sent.
pub(crate) fn transfers(log: &[String]) -> Result<Told, String> {
    let hash = peers::hex(&Sha256::digest(peers::pattern(FILE)));
    expect(log, &format!("downloaded {FILE} bytes"), &format!("sha256 {hash}"))?;
    let sent = expect(log, &format!("uploaded {FILE} bytes"), "which the server has too")?;
    let (_, sent) = sent.split_once("sha256 ").ok_or("the firmware told no hash")?;
    let times = log.iter().filter_map(|line| time(line)).collect::<Vec<_>>().join(", ");
    Ok(Told { times, sent: sent.chars().take(64).collect() })
}

/// Of what has failed, what the firmware said as well, if nobody was told yet.
pub(crate) fn explain<T>(outcome: Result<T, String>, log: &[String], bench: &Bench) -> Result<T, String> {
    outcome.map_err(|why| match bench.is_told {
        true => why,
        false => format!("{why}. The firmware has said:\n    {}", log.join("\n    ")),
    })
}

/// Fails if the command has not saved one file, which is what the firmware has sent.
fn saved(folder: &Path, told: &Told) -> Result<(), String> {
    let uploads = peers::uploads(folder);
    let files = std::fs::read_dir(&uploads).map_err(|error| error.to_string())?;
    let content = std::fs::read(uploads.join(FILE.to_string())).map_err(|error| error.to_string())?;
    let is_same = peers::hex(&Sha256::digest(&content)) == told.sent;
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
