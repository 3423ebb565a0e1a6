//! The ways to lose a network, and what they cost.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{BEHIND, CELLULAR, Lab, SERVER, WIFI, command_in, switch_wifi_off};
use crate::link::{Arrivals, Link, Quality};

/// Bytes of a download: some four seconds of Wi-Fi.
const BYTES: u64 = 8_000_000;
/// How long data has flowed when the network changes.
const BEFORE: Duration = Duration::from_millis(1_500);

const WIFI_LINK: Quality = Quality { rate: 20_000_000, delay: Duration::from_millis(15) };
const CELLULAR_LINK: Quality = Quality { rate: 10_000_000, delay: Duration::from_millis(40) };

/// What happens to the client's network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Nothing,
    WarnedMove,
    UnwarnedLoss,
    LinkDown,
    Rebinding,
    NewConnection,
}

/// What a run has shown.
struct Outcome {
    silence: Duration,
    total: Duration,
    hash: String,
}

/// Runs all cases so many times, prints the medians, and draws the last unwarned loss.
pub(crate) fn all(peregrine: &str, runs: usize, picture: &str) {
    let expected = run(peregrine, Case::Nothing, picture).hash;
    println!("| what happens to the client | silence, ms | download, s |");
    println!("|---|---|---|");
    for (case, name) in [
        (Case::Nothing, "nothing: Wi-Fi throughout"),
        (Case::WarnedMove, "a warned move: cellular is tried first, then taken"),
        (Case::UnwarnedLoss, "Wi-Fi falls silent without a word; cellular was opened before"),
        (Case::LinkDown, "Wi-Fi is switched off; the client watches its interfaces"),
        (Case::Rebinding, "the NAT takes another port"),
        (
            Case::NewConnection,
            "Wi-Fi falls silent, and the application, told at once, downloads anew over cellular",
        ),
    ] {
        let outcomes: Vec<_> = (0..runs).map(|_| run(peregrine, case, picture)).collect();
        assert!(outcomes.iter().all(|outcome| outcome.hash == expected), "{name}: another hash");
        let silence = median(outcomes.iter().map(|outcome| outcome.silence));
        let total = median(outcomes.iter().map(|outcome| outcome.total));
        println!("| {name} | {} | {:.2} |", silence.as_millis(), total.as_secs_f64());
    }
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<_> = values.collect();
    values.sort();
    values[values.len() / 2]
}

fn run(peregrine: &str, case: Case, picture: &str) -> Outcome {
    let _lab = Lab::up();
    let arrivals = Arrivals::default();
    let wifi = Link::new("pg-wifi", WIFI_LINK, &arrivals);
    let _cellular = Link::new("pg-cell", CELLULAR_LINK, &arrivals);
    let listen = format!("{BEHIND}:4433");
    let mut server = command_in("pg-server", peregrine)
        .args(["serve", "--listen", &listen, "--self-signed", "--json"])
        .stdout(Stdio::null())
        .spawn()
        .expect("a server");
    let begun = Instant::now();
    let (cellular, bytes) = (format!("{CELLULAR}:0"), (BYTES / 3).to_string());
    let mut client = match case {
        Case::WarnedMove => get(peregrine, WIFI, &["--migrate-to", &cellular, "--after", &bytes]),
        Case::UnwarnedLoss => get(peregrine, WIFI, &["--backup", &cellular, "--timeline-svg", picture]),
        Case::LinkDown => get(peregrine, WIFI, &["--watch-interfaces"]),
        Case::Nothing | Case::Rebinding | Case::NewConnection => get(peregrine, WIFI, &[]),
    };
    let first = loop {
        if let Some(first) = arrivals.lock().unwrap().first() {
            break *first;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "no data came");
        thread::yield_now();
    };
    thread::sleep(BEFORE.saturating_sub(first.elapsed()));
    match case {
        Case::Nothing | Case::WarnedMove => {}
        Case::UnwarnedLoss => wifi.cut(),
        Case::LinkDown => {
            switch_wifi_off();
            // What the relay still hands over reaches nobody.
            wifi.cut();
        }
        Case::Rebinding => wifi.rebind(),
        Case::NewConnection => {
            wifi.cut();
            client.kill().ok();
            client.wait().ok();
            client = get(peregrine, CELLULAR, &[]);
        }
    }
    let output = client.wait_with_output().expect("the client's report");
    let total = begun.elapsed();
    server.kill().ok();
    server.wait().ok();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "the download failed: {report}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let arrivals = arrivals.lock().unwrap();
    let settled = first + Duration::from_millis(300);
    let gaps = arrivals.windows(2).filter(|pair| pair[0] >= settled).map(|pair| pair[1] - pair[0]);
    Outcome { silence: gaps.max().unwrap_or_default(), total, hash: field(&report, "sha256") }
}

fn get(peregrine: &str, from: &str, more: &[&str]) -> Child {
    let (url, bind) = (format!("hq://{SERVER}:4433/{BYTES}"), format!("{from}:0"));
    let mut command: Command = command_in("pg-client", peregrine);
    command.args(["get", &url, "--insecure", "--bind", &bind, "--out", "-", "--json"]).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a client")
}

/// A number, likewise.
pub(crate) fn number(json: &str, name: &str) -> f64 {
    let start = json.split(&format!("\"{name}\":")).nth(1).unwrap_or_else(|| panic!("no {name} in {json}"));
    let text = start.split([',', '}']).next().unwrap_or_default();
    text.parse().unwrap_or_else(|_| panic!("{name} is no number in {json}"))
}

/// A text field of a JSON object that has only one of that name.
pub(crate) fn field(json: &str, name: &str) -> String {
    let start = json.split(&format!("\"{name}\":")).nth(1).unwrap_or_else(|| panic!("no {name} in {json}"));
    start.split('"').nth(1).unwrap_or_default().to_owned()
}
