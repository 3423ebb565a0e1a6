//! One side in a process of its own. The server tells its address and certificate on standard output; each side tells
//! there in the end what it took.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

use crate::{BULK_BYTES, HANDSHAKES, Stack, ours, theirs};

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    Bulk,
    Handshakes,
}

impl Task {
    /// How many connections the client makes.
    pub(crate) const fn connections(self) -> u64 {
        match self {
            Self::Bulk => 1,
            Self::Handshakes => HANDSHAKES,
        }
    }
}

/// Which side a process is.
pub(crate) enum Role {
    Server,
    Client { server: SocketAddr, certificate: Vec<u8> },
}

/// What a side took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_megabytes: f64,
}

/// A run of both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) server: Taken,
    pub(crate) client: Taken,
}

/// What a process is told by its arguments, if it is a child.
pub(crate) fn told(words: &[String]) -> Option<(Role, Stack, Task)> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (role, stack, task) = match words[..] {
        ["--server", stack, task] => (Role::Server, stack, task),
        ["--client", stack, task, server, certificate] => {
            let certificate = certificate
                .as_bytes()
                .chunks(2)
                .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
            let certificate = certificate.collect();
            (Role::Client { server: server.parse().unwrap(), certificate }, stack, task)
        }
        _ => return None,
    };
    let stack = if stack == Stack::Quinn.name() { Stack::Quinn } else { Stack::Peregrine };
    Some((role, stack, if task == "bulk" { Task::Bulk } else { Task::Handshakes }))
}

/// Does a child's part.
pub(crate) fn run(role: Role, stack: Stack, task: Task) {
    let core = usize::from(matches!(role, Role::Client { .. }));
    let mut set = CpuSet::new();
    set.set(core).unwrap();
    if sched_setaffinity(Pid::from_raw(0), &set).is_err() {
        eprintln!("there is no core {core}: both sides share");
    }
    // AWS-LC gathers its first entropy for some 50 ms, whoever uses it.
    aws_lc_rs::rand::fill(&mut [0]).unwrap();
    let before = cpu();
    let seconds = match (role, stack) {
        (Role::Server, Stack::Peregrine) => ours::serve(task),
        (Role::Server, Stack::Quinn) => theirs::serve(task),
        (Role::Client { server, certificate }, Stack::Peregrine) => ours::fetch(task, server, certificate),
        (Role::Client { server, certificate }, Stack::Quinn) => theirs::fetch(task, server, certificate),
    };
    let peak = getrusage(UsageWho::RUSAGE_SELF).unwrap().max_rss();
    println!("{} {} {peak}", seconds.as_secs_f64(), cpu() - before);
}

/// Microseconds that this process has computed.
fn cpu() -> i64 {
    let used = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (used.user_time() + used.system_time()).num_microseconds()
}

/// To be called by a server that is ready.
pub(crate) fn tell(address: SocketAddr, certificate: &[u8]) {
    let hex: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{address} {hex}");
}

/// To be called by a client that has its bytes.
pub(crate) fn check(received: u64) {
    assert_eq!(received, BULK_BYTES);
}

/// Runs both sides to their end.
pub(crate) fn measure(stack: Stack, task: Task) -> Measured {
    let task = if task == Task::Bulk { "bulk" } else { "handshakes" };
    let mut server = spawn(&["--server", stack.name(), task]);
    let mut told = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    let (address, certificate) = line.trim().split_once(' ').expect("the server tells its address");
    let client = spawn(&["--client", stack.name(), task, address, certificate]);
    let client = client.wait_with_output().unwrap();
    assert!(client.status.success(), "the client of {} fails", stack.name());
    let (seconds, client) = taken(&String::from_utf8(client.stdout).unwrap());
    line.clear();
    told.read_line(&mut line).unwrap();
    server.wait().unwrap();
    let (_, server) = taken(&line);
    Measured { seconds: seconds.as_secs_f64(), server, client }
}

fn spawn(arguments: &[&str]) -> Child {
    let this = std::env::current_exe().unwrap();
    Command::new(this).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

fn taken(line: &str) -> (Duration, Taken) {
    let numbers: Vec<f64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let taken = Taken { cpu_seconds: numbers[1] / 1e6, peak_megabytes: numbers[2] * 1024.0 / 1e6 };
    (Duration::from_secs_f64(numbers[0]), taken)
}
