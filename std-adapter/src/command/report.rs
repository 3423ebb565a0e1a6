//! What the command says: progress on a terminal, a summary for people, or one JSON object for programs.

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use peregrine_core::connection::{PathView, RouteView};
use peregrine_core::path::abandon::By;
use peregrine_core::path::{Availability, Role};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::narrator::{Move, cause_name, reason};
use crate::save::Received;
use crate::timeline::Happened;

/// Says on standard error what went wrong.
pub(crate) fn complain(what: &str) {
    note(format_args!("peregrine: {}", printable(what)));
}

/// Says something on standard error. Who reads that may be gone; what it tells of goes on.
pub(crate) fn note(line: impl fmt::Display) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{line}\n"));
}

/// Says something on standard output, where the same holds.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = io::Write::write_fmt(&mut io::stdout(), format_args!("{line}\n"));
}

/// Text that may come from a peer, made safe for a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c.is_control() {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    safe
}

/// How one download ended.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) url: String,
    pub(crate) result: Result<Received, String>,
}

/// How all downloads of one command ended.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) downloads: Vec<Download>,
    pub(crate) unmoved: Vec<Unmoved>,
    pub(crate) ways: Ways,
    pub(crate) took: Duration,
    /// The longest time between two bytes.
    pub(crate) silence: Duration,
}

/// A move that was asked for and did not come about.
#[derive(Debug)]
pub(crate) struct Unmoved {
    pub(crate) why: Failure,
    /// People were told when it happened.
    pub(crate) is_told: bool,
}

/// Over which routes it went.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// Those at the end.
    pub(crate) routes: Vec<RouteView>,
    /// Those at the end, if there could be several at once.
    pub(crate) paths: Vec<PathView>,
    pub(crate) moves: Vec<Happened<Move>>,
    pub(crate) rebindings: Vec<Happened<SocketAddr>>,
}

impl Ways {
    fn route(route: &RouteView) -> Value {
        json!({
            "local": route.local.to_string(),
            "remote": route.remote.to_string(),
            "role": match route.role {
                Role::Active => "active",
                Role::Fallback => "fallback",
                Role::Candidate | Role::Awaited => "candidate",
                Role::Free => "closed",
            },
            "validated": route.validated,
            "down": route.down,
            "rtt_ms": route.rtt.as_secs_f64() * 1e3,
            "mtu": route.mtu,
            "sent_bytes": route.stats.sent_bytes,
            "received_bytes": route.stats.received_bytes,
            "lost_packets": route.stats.lost_packets,
        })
    }

    fn path(path: &PathView) -> Value {
        let abandoned = path.abandoned.map(|(by, why)| {
            json!({ "by": if by == By::Local { "client" } else { "server" }, "why": reason(why) })
        });
        json!({
            "id": path.id.0,
            "local": path.route.map(|route| route.local.to_string()),
            "remote": path.route.map(|route| route.remote.to_string()),
            "status": status(path.local_status),
            "server_status": status(path.peer_status),
            "suspect": path.suspect,
            "down": path.route.map(|route| route.down),
            "abandoned": abandoned,
            "sent_bytes": path.route.map(|route| route.stats.sent_bytes),
            "received_bytes": path.route.map(|route| route.stats.received_bytes),
        })
    }

    fn step(Happened { seconds, bytes, what }: &Happened<Move>) -> Value {
        let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        json!({
            "seconds": seconds,
            "bytes": bytes,
            "from": text(what.from),
            "to": text(what.to),
            "cause": cause_name(what.cause),
        })
    }

    fn rebinding(Happened { seconds, bytes, what }: &Happened<SocketAddr>) -> Value {
        json!({ "seconds": seconds, "bytes": bytes, "local": what.to_string() })
    }
}

const fn status(status: Availability) -> Option<&'static str> {
    match status {
        Availability::Unknown => None,
        Availability::Available => Some("available"),
        Availability::Backup => Some("backup"),
    }
}

impl Report {
    fn bytes(&self) -> u64 {
        self.downloads.iter().filter_map(|download| download.result.as_ref().ok()).map(|got| got.bytes).sum()
    }

    fn is_ok(&self) -> bool {
        self.unmoved.is_empty() && self.downloads.iter().all(|download| download.result.is_ok())
    }

    fn megabytes_per_second(&self) -> f64 {
        self.bytes() as f64 / 1e6 / self.took.as_secs_f64().max(1e-6)
    }

    /// For people: a line for each download that failed, and each move, of which nothing was told yet.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = String> {
        let failed = self.downloads.iter().filter_map(|Download { url, result }| {
            result.as_ref().err().map(|error| format!("{url}: {error}"))
        });
        let untold = self.unmoved.iter().filter(|unmoved| !unmoved.is_told);
        failed.chain(untold.map(|unmoved| unmoved.why.text.clone()))
    }

    /// For people: a line for each download that is done, and a sum.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for Download { url, result } in &self.downloads {
            if let Ok(got @ Received { bytes, path, .. }) = result {
                let place = path.as_ref().map_or("not saved".into(), |path| path.display().to_string());
                let _ = writeln!(
                    text,
                    "{}: {bytes} bytes, sha256 {}, {}",
                    printable(url),
                    got.sha256_hex(),
                    printable(&place)
                );
            }
        }
        for path in &self.ways.paths {
            if let Some(route) = path.route {
                let bytes = HumanBytes(route.stats.received_bytes);
                let _ = writeln!(text, "path {} from {}: {bytes} in datagrams", path.id.0, route.local);
            }
        }
        let good = self.downloads.iter().filter(|download| download.result.is_ok()).count();
        let _ = writeln!(
            text,
            "{good} of {} done, {} in {:.3} s, {:.1} MB/s",
            self.downloads.len(),
            HumanBytes(self.bytes()),
            self.took.as_secs_f64(),
            self.megabytes_per_second()
        );
        text
    }

    /// For programs: one object.
    pub(crate) fn json(&self) -> Value {
        let file = |Download { url, result }: &Download| match result {
            Ok(got @ Received { bytes, path, .. }) => {
                json!({ "url": url, "ok": true, "bytes": bytes, "sha256": got.sha256_hex(), "path": path })
            }
            Err(error) => json!({ "url": url, "ok": false, "error": error }),
        };
        json!({
            "command": "get",
            "ok": self.is_ok(),
            "files": self.downloads.iter().map(file).collect::<Vec<_>>(),
            "bytes": self.bytes(),
            "seconds": self.took.as_secs_f64(),
            "longest_silence_seconds": self.silence.as_secs_f64(),
            "mb_per_second": self.megabytes_per_second(),
            "routes": self.ways.routes.iter().map(Ways::route).collect::<Vec<_>>(),
            "paths": self.ways.paths.iter().map(Ways::path).collect::<Vec<_>>(),
            "moves": self.ways.moves.iter().map(Ways::step).collect::<Vec<_>>(),
            "rebindings": self.ways.rebindings.iter().map(Ways::rebinding).collect::<Vec<_>>(),
            "errors": self.unmoved.iter().map(|unmoved| &unmoved.why.text).collect::<Vec<_>>(),
        })
    }
}

/// A running count of bytes, drawn only where someone may watch.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Draws on standard error if that is a terminal, unless something else is written. HTTP/0.9 tells no lengths, so there
    /// is a count and a rate but no end in sight.
    pub(crate) fn new(hidden: bool) -> Self {
        let bar = ProgressBar::no_length();
        if hidden || !io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{spinner} {bytes} {binary_bytes_per_sec} {elapsed}")
        {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Counts more bytes.
    pub(crate) fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Says what went wrong meanwhile.
    pub(crate) fn complain(&self, what: &str) {
        self.0.suspend(|| complain(what));
    }

    /// Clears the line.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn report() -> Report {
        let got = Received { bytes: 2_000_000, sha256: [0xab; 32], path: Some("out/x".into()) };
        Report {
            downloads: vec![
                Download { url: "hq://a:443/x".into(), result: Ok(got) },
                Download { url: "hq://a:443/y".into(), result: Err("closed: \x1b[2J".into()) },
            ],
            unmoved: [("--migrate-to: no", false), ("--backup: no", true)]
                .map(|(why, is_told)| Unmoved { why: Failure::new(Exit::Usage, why), is_told })
                .into(),
            ways: Ways::default(),
            took: Duration::from_millis(500),
            silence: Duration::from_millis(250),
        }
    }

    #[test]
    fn people_read_one_line_per_download_and_no_control_characters() {
        let text = report().text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], format!("hq://a:443/x: 2000000 bytes, sha256 {}, out/x", "ab".repeat(32)));
        assert_eq!(lines[1], "1 of 2 done, 1.91 MiB in 0.500 s, 4.0 MB/s");
        let complaints: Vec<_> = report().complaints().map(|line| printable(&line)).collect();
        assert_eq!(complaints, ["hq://a:443/y: closed: \\u{1b}[2J", "--migrate-to: no"]);
    }

    #[test]
    fn programs_read_one_object() {
        let json = report().json();
        assert_eq!((&json["ok"], &json["bytes"]), (&json!(false), &json!(2_000_000)));
        assert_eq!(json["longest_silence_seconds"], 0.25);
        assert_eq!(json["files"][0]["path"], "out/x");
        assert_eq!(json["errors"], json!(["--migrate-to: no", "--backup: no"]));
        assert_eq!(json["files"][1]["error"], "closed: \x1b[2J");
        assert_eq!(json.to_string().lines().count(), 1);
    }

    #[test]
    fn progress_is_hidden_from_programs() {
        let progress = Progress::new(true);
        progress.add(5);
        assert!(progress.0.is_hidden());
        assert_eq!(progress.0.position(), 5);
        progress.end();
    }
}
