//! The firmware as a server: what it answers to `peregrine get`, and to a client that takes datagrams and moves meanwhile.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use peregrine_std::Endpoint;
use peregrine_std::identity::Psk;
use peregrine_std::tls::{ClientTls, Trust, ours};

use crate::emulator::Emulator;
use crate::link::{Link, Plan, Seen};
use crate::peers::{ALPN, PSK};
use crate::trials::Bench;
use crate::weather::Forecast;

/// The port of the firmware.
const PORT: u16 = 4433;
/// How often it is asked: more often than it has room for connections.
const QUESTIONS: usize = 6;
/// Datagrams that are taken at each of two places.
const SAMPLES: usize = 5;
/// How long a datagram may be awaited.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(bench: &Bench, folder: &Path) -> Result<(String, Seen), String> {
    let monitor = folder.join("monitor");
    let plan = Plan {
        forecast: Forecast::BAD,
        seed: bench.seed,
        pulls: Vec::new(),
        port: Some(PORT),
        monitor: monitor.clone(),
    };
    let link = Link::start(plan);
    let address = link.server.expect("the plan has a port");
    let image = bench.firmware.join("server");
    let mut firmware = Emulator::start(&image, &format!("psk={PSK}"), &link, &monitor, bench.is_told);
    loop {
        match firmware.next()? {
            Some(line) if line.contains("ready") => break,
            Some(_) => {}
            None => return Err("the firmware has ended".into()),
        }
    }
    let mut answers = Vec::new();
    for _ in 0..QUESTIONS {
        answers.push(ask(&bench.command, address, folder)?);
    }
    let samples = listen(address)?;
    firmware.finish();
    let what = format!(
        "asked {QUESTIONS} times, at last {}; {} datagrams, at last {}",
        answers.last().map_or("nothing", |answer| answer.trim_end()),
        samples.len(),
        samples.last().map_or("nothing", String::as_str)
    );
    Ok((what, link.end()))
}

/// Asks for the temperature with the `peregrine` command.
fn ask(command: &Path, address: SocketAddr, folder: &Path) -> Result<String, String> {
    let got = Command::new(command)
        .args(["get", &format!("hq://{address}/temperature"), "--psk", PSK, "--out"])
        .arg(folder)
        .output()
        .map_err(|error| error.to_string())?;
    if !got.status.success() {
        return Err(format!("peregrine get: {}", String::from_utf8_lossy(&got.stderr)));
    }
    let answer = std::fs::read_to_string(folder.join("temperature")).map_err(|error| error.to_string())?;
    match answer.strip_suffix(" C\n").map(check) {
        Some(true) => Ok(answer),
        _ => Err(format!("that is no temperature: {answer:?}")),
    }
}

/// Takes datagrams at one address, and then at another.
fn listen(address: SocketAddr) -> Result<Vec<String>, String> {
    let psk: Psk = PSK.parse().expect("a shared key");
    let tls =
        ours::Client::new(ClientTls::new(Trust::Psk(psk), &[ALPN])).expect("a description that makes sense");
    let endpoint = Endpoint::builder()
        .client(move |name| Ok(tls.session(name)?))
        .listen(([127, 0, 0, 1], 0).into())
        .bind()
        .map_err(|error| error.to_string())?;
    let connection = endpoint.connect(address, "sensor.test").map_err(|error| error.to_string())?;
    let mut samples: Vec<String> = Vec::new();
    let mut last = None;
    for place in [None, Some(([127, 0, 0, 2], 0).into())] {
        if let Some(place) = place {
            let route = connection.migrate(place).map_err(|error| error.to_string())?;
            connection.wait_route(route, Some(PATIENCE)).map_err(|error| error.to_string())?;
        }
        for _ in 0..SAMPLES {
            let mut bytes = [0; 64];
            let len =
                connection.recv_datagram(&mut bytes, Some(PATIENCE)).map_err(|error| error.to_string())?;
            let sample = String::from_utf8_lossy(&bytes[..len]).into_owned();
            let (temperature, number) = sample.split_once(" C, ").unwrap_or_default();
            let number: Option<u32> = number.parse().ok();
            // Some are lost, and one that was overtaken comes late: none comes twice.
            if !check(temperature) || number.is_none() || number == last {
                return Err(format!("that is no sample: {sample:?}"));
            }
            last = number;
            samples.push(sample);
        }
    }
    connection.close(0, "");
    Ok(samples)
}

/// Whether that is a temperature as the firmware makes them up.
fn check(text: &str) -> bool {
    text.parse().is_ok_and(|degrees: f32| (20.0..=26.0).contains(&degrees))
}
