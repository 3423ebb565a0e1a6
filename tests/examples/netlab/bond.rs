//! Two links at once, and three: how much of both a download gets, and what the loss of one costs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use peregrine_std::pattern::fill;

use crate::lab::{BEHIND, CELLULAR, LINKS, Lab, SERVER, WIFI, WIRE, command_in};
use crate::link::{Arrivals, Link, Quality};
use crate::noq;
use crate::trial::{field, number};

const BYTES: usize = 10 << 20;
/// The client on each link.
const ADDRESSES: [&str; 3] = [WIFI, CELLULAR, WIRE];
/// How long data has flowed when a link is cut.
const BEFORE: Duration = Duration::from_millis(1_500);

/// Which client and server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    OursOnFirst,
    Ours,
    Noq,
}

/// Links to be used at once.
struct Race {
    name: &'static str,
    links: &'static [Quality],
}

const fn link(mbit: u64, millis: u64) -> Quality {
    Quality { rate: mbit * 1_000_000, delay: Duration::from_millis(millis) }
}

const RACES: [Race; 4] = [
    Race { name: "20 + 10 Mbit/s, no delay", links: &[link(20, 0), link(10, 0)] },
    Race { name: "20 + 10 Mbit/s, 20 and 40 ms each way", links: &[link(20, 20), link(10, 40)] },
    Race {
        name: "20 + 10 + 5 Mbit/s, 20, 40 and 10 ms each way",
        links: &[link(20, 20), link(10, 40), link(5, 10)],
    },
    Race { name: "100 + 1 Mbit/s, 10 and 300 ms each way", links: &[link(100, 10), link(1, 300)] },
];

/// Runs all so many times, and prints the medians.
pub(crate) fn all(peregrine: &str, runs: usize) {
    let folder = issue();
    println!("10 MiB, seconds, medians of {runs}:\n");
    println!("| links | all would take | first alone | all | noq, all |");
    println!("|---|---|---|---|---|");
    for race in &RACES {
        let rate: u64 = race.links.iter().map(|link| link.rate).sum();
        let took = [Who::OursOnFirst, Who::Ours, Who::Noq]
            .map(|who| format!("{:.2}", median((0..runs).map(|_| race.run(peregrine, who, &folder)))));
        println!("| {} | {:.2} | {} |", race.name, BYTES as f64 * 8.0 / rate as f64, took.join(" | "));
    }
    println!(
        "\nLoss of a link after {} s, on 20 + 10 Mbit/s, 20 and 40 ms each way:\n",
        BEFORE.as_secs_f64()
    );
    println!("| what happens | longest silence for the application, ms | download, s |");
    println!("|---|---|---|");
    for (name, second, cut) in [
        ("nothing", "", None),
        ("the faster link falls silent", "", Some(0)),
        ("the slower link falls silent", "", Some(1)),
        ("the link in use falls silent, the other is a backup", ",backup", Some(0)),
    ] {
        let outcomes: Vec<_> = (0..runs).map(|_| lose(peregrine, second, cut)).collect();
        let silence = median(outcomes.iter().map(|(silence, _)| *silence));
        let total = median(outcomes.iter().map(|(_, total)| *total));
        println!("| {name} | {:.0} | {total:.2} |", silence * 1e3);
    }
    std::fs::remove_dir_all(&folder).ok();
}

/// Lets all links fall silent for a while, so many times, and prints the medians.
pub(crate) fn outages(peregrine: &str, runs: usize) {
    let folder = issue();
    println!("An outage that nobody is told of; ms from its end until data come, medians of {runs}:\n");
    println!("| nothing passes for | over the first | over both | noq, over both |");
    println!("|---|---|---|---|");
    for seconds in [5, 20] {
        let outage = Duration::from_secs(seconds);
        let back = [Who::OursOnFirst, Who::Ours, Who::Noq].map(|who| {
            let back = median((0..runs).map(|_| outlive(peregrine, who, &folder, outage)));
            format!("{:.0}", back * 1e3)
        });
        println!("| {seconds} s | {} |", back.join(" | "));
    }
    std::fs::remove_dir_all(&folder).ok();
}

/// A folder with what noq's server shows of itself.
fn issue() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("pg-netlab-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    noq::issue(&folder);
    folder
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn links(qualities: &[Quality], arrivals: &Arrivals) -> Vec<Link> {
    LINKS.iter().zip(qualities).map(|(link, quality)| Link::new(link, *quality, arrivals)).collect()
}

impl Race {
    /// How long a download takes.
    fn run(&self, peregrine: &str, who: Who, folder: &Path) -> f64 {
        let _lab = Lab::up();
        let _links = links(self.links, &Arrivals::default());
        let [server, client] = start(peregrine, who, &ADDRESSES[..self.links.len()], folder);
        let told = report(server, client);
        if who == Who::Noq {
            return told.trim().parse().unwrap_or_else(|_| panic!("no time in {told}"));
        }
        check(&told);
        number(&told, "seconds")
    }
}

/// A server, and a client that downloads from these addresses.
fn start(peregrine: &str, who: Who, addresses: &[&str], folder: &Path) -> [Child; 2] {
    let folder = folder.to_str().expect("a path in UTF-8");
    let this = std::env::current_exe().expect("a path");
    let this = this.to_str().expect("a path in UTF-8");
    match who {
        Who::OursOnFirst => [server(peregrine), get(peregrine, &["--bind", WIFI])],
        Who::Ours => {
            let paths: Vec<_> = addresses.iter().flat_map(|address| ["--path", address]).collect();
            [server(peregrine), get(peregrine, &paths)]
        }
        Who::Noq => {
            let listen = format!("{BEHIND}:4433");
            let mut server = command_in("pg-server", this);
            let server = ready(server.args(["noq-serve", folder, &listen]));
            let (to, len) = (format!("{SERVER}:4433"), BYTES.to_string());
            let mut client = command_in("pg-client", this);
            client.args(["noq-get", folder, &to, &len]).args(&addresses[1..]);
            [server, spawn(&mut client)]
        }
    }
}

/// How much longer than an outage the silence is: nothing passes over any of the links of the second race for so long.
fn outlive(peregrine: &str, who: Who, folder: &Path, outage: Duration) -> f64 {
    let _lab = Lab::up();
    let arrivals = Arrivals::default();
    let links = links(RACES[1].links, &arrivals);
    let [server, client] = start(peregrine, who, &ADDRESSES[..2], folder);
    flow(&arrivals);
    links.iter().for_each(Link::cut);
    thread::sleep(outage);
    let mended = Instant::now();
    links.iter().for_each(Link::mend);
    let told = report(server, client);
    if who != Who::Noq {
        check(&told);
    }
    let arrivals = arrivals.lock().unwrap();
    let back = arrivals.iter().find(|came| **came > mended).expect("it went on");
    (*back - mended).as_secs_f64()
}

/// Downloads, and cuts a link meanwhile; returns the longest silence and how long it took.
fn lose(peregrine: &str, second: &str, cut: Option<usize>) -> (f64, f64) {
    let _lab = Lab::up();
    let arrivals = Arrivals::default();
    let links = links(RACES[1].links, &arrivals);
    let server = server(peregrine);
    let second = format!("{CELLULAR}{second}");
    let client = get(peregrine, &["--path", WIFI, "--path", &second]);
    flow(&arrivals);
    if let Some(cut) = cut {
        links[cut].cut();
    }
    let told = report(server, client);
    check(&told);
    (number(&told, "longest_silence_seconds"), number(&told, "seconds"))
}

/// Waits until data have flowed for a while.
fn flow(arrivals: &Arrivals) {
    let begun = Instant::now();
    let first = loop {
        if let Some(first) = arrivals.lock().unwrap().first() {
            break *first;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "no data came");
        thread::yield_now();
    };
    thread::sleep(BEFORE.saturating_sub(first.elapsed()));
}

fn server(peregrine: &str) -> Child {
    let listen = format!("{BEHIND}:4433");
    let mut server = command_in("pg-server", peregrine);
    ready(server.args(["serve", "--listen", &listen, "--self-signed", "--json"]))
}

/// A server that has said that it listens: who comes before waits a second for its next attempt.
fn ready(command: &mut Command) -> Child {
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a server");
    let mut line = String::new();
    let said = server.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    assert!(said.is_some_and(|said| said.is_ok_and(|len| len > 0)), "the server does not listen");
    server
}

fn get(peregrine: &str, more: &[&str]) -> Child {
    let url = format!("hq://{SERVER}:4433/{BYTES}");
    let mut command = command_in("pg-client", peregrine);
    spawn(command.args(["get", &url, "--insecure", "--out", "-", "--json"]).args(more))
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a client")
}

/// That it was the right bytes.
fn check(told: &str) {
    let mut bytes = vec![0; BYTES];
    fill(0, &mut bytes);
    let hash: String = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(field(told, "sha256"), hash, "wrong bytes");
}

/// What the client has to say at its end.
fn report(mut server: Child, client: Child) -> String {
    let output = client.wait_with_output().expect("the client's report");
    server.kill().ok();
    server.wait().ok();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the download failed: {told}{complaint}");
    told
}
