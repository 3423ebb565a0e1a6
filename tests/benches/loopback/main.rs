//! Peregrine and quinn over loopback, in turn: bulk download and handshakes, each side a process pinned to a core of
//! its own. Prints medians of five rounds.
//!
//! `cargo bench -p peregrine-tests --bench loopback [-- WORD...]` runs what the words name: `peregrine`, `quinn`,
//! `bulk`, `handshakes`; `once` is one round instead of five. Linux only.
//!
//! The same for both: AES-128-GCM and SHA-256 and X25519 by AWS-LC, a P-256 certificate that the client checks, a window
//! of 1.25 MB for the stream and of 1.875 MB for the connection, sockets of 2 MiB, UDP payloads of up to 1,452 bytes.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures wall time")]

mod child;
mod ours;
mod theirs;

use std::process::ExitCode;

use child::{Measured, Task};

/// Bytes of a download.
const BULK_BYTES: u64 = 2 << 30;
/// Handshakes of a round.
const HANDSHAKES: u64 = 4_000;
/// Handshakes that a client has under way.
const AT_ONCE: u64 = 8;
const STREAM_WINDOW: u32 = 1_250_000;
const CONNECTION_WINDOW: u32 = 1_875_000;
const SOCKET_BYTES: usize = 2 << 20;
const ALPN: &[u8] = b"bench";
const NAME: &str = "bench.test";

/// Whose QUIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stack {
    Peregrine,
    Quinn,
}

const STACKS: [Stack; 2] = [Stack::Peregrine, Stack::Quinn];

impl Stack {
    const fn name(self) -> &'static str {
        match self {
            Self::Peregrine => "peregrine",
            Self::Quinn => "quinn",
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let Some((role, stack, task)) = child::told(&words) {
        child::run(role, stack, task);
        return ExitCode::SUCCESS;
    }
    let known = ["peregrine", "quinn", "bulk", "handshakes", "once"];
    if let Some(unknown) = words.iter().find(|word| !known.contains(&word.as_str())) {
        eprintln!("unknown word {unknown}: say {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let is_wanted = |word: &str, among: &[&str]| {
        !words.iter().any(|said| among.contains(&said.as_str())) || words.iter().any(|said| said == word)
    };
    let rounds = if words.iter().any(|word| word == "once") { 1 } else { 5 };
    let stacks: Vec<_> =
        STACKS.into_iter().filter(|stack| is_wanted(stack.name(), &["peregrine", "quinn"])).collect();
    if is_wanted("bulk", &["bulk", "handshakes"]) {
        bulk(&stacks, rounds);
    }
    if is_wanted("handshakes", &["bulk", "handshakes"]) {
        handshakes(&stacks, rounds);
    }
    ExitCode::SUCCESS
}

fn bulk(stacks: &[Stack], rounds: usize) {
    println!("download of {} MiB, medians of {rounds}", BULK_BYTES >> 20);
    println!(
        "{:<10} {:>8} {:>8} {:>16} {:>16} {:>10} {:>10}",
        "", "MB/s", "best", "server s/GiB", "client s/GiB", "server MB", "client MB"
    );
    let gib = BULK_BYTES as f64 / f64::from(1 << 30);
    let rate = |run: &Measured| BULK_BYTES as f64 / 1e6 / run.seconds;
    table(stacks, rounds, Task::Bulk, |runs| {
        let best = runs.iter().map(rate).fold(0.0, f64::max);
        println!(
            " {:>8.0} {best:>8.0} {:>16.3} {:>16.3} {:>10.1} {:>10.1}",
            median(runs, rate),
            median(runs, |run| run.server.cpu_seconds / gib),
            median(runs, |run| run.client.cpu_seconds / gib),
            median(runs, |run| run.server.peak_megabytes),
            median(runs, |run| run.client.peak_megabytes),
        );
        [rate, |run: &Measured| run.server.cpu_seconds, |run: &Measured| run.client.cpu_seconds]
            .map(|what| median(runs, what))
    });
}

fn handshakes(stacks: &[Stack], rounds: usize) {
    println!("{HANDSHAKES} handshakes, {AT_ONCE} at once, medians of {rounds}");
    println!("{:<10} {:>8} {:>16} {:>16}", "", "per s", "server CPU µs", "client CPU µs");
    let each = |seconds: f64| seconds * 1e6 / HANDSHAKES as f64;
    let rate = |run: &Measured| HANDSHAKES as f64 / run.seconds;
    table(stacks, rounds, Task::Handshakes, |runs| {
        println!(
            " {:>8.0} {:>16.0} {:>16.0}",
            median(runs, rate),
            median(runs, |run| each(run.server.cpu_seconds)),
            median(runs, |run| each(run.client.cpu_seconds)),
        );
        [rate, |run: &Measured| run.server.cpu_seconds, |run: &Measured| run.client.cpu_seconds]
            .map(|what| median(runs, what))
    });
}

/// Runs the stacks in turn, prints a line for each, and what the first has in relation to the second.
fn table(stacks: &[Stack], rounds: usize, task: Task, line: impl Fn(&[Measured]) -> [f64; 3]) {
    let mut runs = vec![Vec::new(); stacks.len()];
    for _ in 0..rounds {
        for (stack, runs) in stacks.iter().zip(&mut runs) {
            runs.push(child::measure(*stack, task));
        }
    }
    let mut medians = Vec::new();
    for (stack, runs) in stacks.iter().zip(&runs) {
        print!("{:<10}", stack.name());
        medians.push(line(runs));
    }
    if let [first, second] = medians[..] {
        let [speed, server, client] = [0, 1, 2].map(|column| first[column] / second[column]);
        println!("ratio      speed {speed:.2}, server CPU {server:.2}, client CPU {client:.2}");
    }
    println!();
}

fn median(runs: &[Measured], what: impl Fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<_> = runs.iter().map(what).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
