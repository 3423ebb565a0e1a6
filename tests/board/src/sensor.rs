//! The firmware as a server: what it answers to `peregrine get`, and to a client that takes datagrams and moves meanwhile.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use peregrine_std::Endpoint;
use peregrine_std::identity::Psk;
use peregrine_std::tls::{ClientTls, Trust, ours};

use crate::emulator::{Emulator, LINK_IS_UP, Wires};
use crate::link::{Link, Plan};
use crate::peers::{ALPN, PSK};
use crate::trials::Bench;
use crate::weather::{Conditions, Forecast};

/// The port of the firmware.
const PORT: u16 = 4433;
/// How often it is asked, one time right after the other: more often than it has room for connections. Of those that have ended it
/// knows for three probe timeouts yet (RFC 9000 10.2), but for the first of them where nothing is free.
const QUESTIONS: usize = 12;
/// Where the client is that takes datagrams, one after the other.
const PLACES: [SocketAddr; 2] = [place(1), place(2)];
/// Datagrams that it takes at each.
const SAMPLES: usize = 5;
/// How long a datagram may be awaited.
const PATIENCE: Duration = Duration::from_secs(20);

/// An address of this host, and any port.
const fn place(host: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0)
}

pub(crate) fn run(bench: &Bench, folder: &Path) -> Result<String, String> {
    let monitor = folder.join("monitor");
    let plan = Plan {
        conditions: Conditions { forecast: Forecast::BAD, seed: bench.seed, rate: None },
        pulls: Vec::new(),
        is_moving: false,
        port: Some(PORT),
        monitor: monitor.clone(),
    };
    let link = Link::start(plan);
    let address = link.server.expect("the plan has a port");
    let image = bench.firmware.join("server");
    let wires = Wires { link: &link, monitor: &monitor, line: None };
    let mut firmware = Emulator::start(&image, &format!("psk={PSK}"), &wires, bench.is_told);
    loop {
        match firmware.next()? {
            Some(line) if line.contains(LINK_IS_UP) => break,
            Some(_) => {}
            None => return Err("the firmware has ended".into()),
        }
    }
    let answers = (0..QUESTIONS).map(|_| ask(&bench.command, address, folder));
    let answers = answers.collect::<Result<Vec<_>, _>>()?;
    let samples = listen(address)?;
    firmware.finish();
    let seen = link.end();
    if !PLACES.iter().all(|place| seen.peers.iter().any(|peer| peer.ip() == place.ip())) {
        return Err(format!("it has not sent to all places of the client, but to {:?}", seen.peers));
    }
    Ok(format!(
        "asked {QUESTIONS} times, at last {}; {} datagrams, at last {}; {seen}",
        answers.last().map_or("nothing", |answer| answer.trim_end()),
        samples.len(),
        samples.last().map_or("nothing", String::as_str)
    ))
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

/// Takes datagrams at one place, and then at another.
fn listen(address: SocketAddr) -> Result<Vec<String>, String> {
    let psk: Psk = PSK.parse().expect("a shared key");
    let tls = ours::Client::new(ClientTls::new(Trust::Psk(psk), &[ALPN])).expect("one key and one protocol");
    let endpoint = Endpoint::builder().client(move |name| Ok(tls.session(name)?)).listen(PLACES[0]).bind();
    let endpoint = endpoint.map_err(|error| error.to_string())?;
    take(&endpoint, address).map_err(|error| format!("datagrams: {error}"))
}

fn take(endpoint: &Endpoint, address: SocketAddr) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let connection = endpoint.connect(address, "sensor.test")?;
    let (mut samples, mut numbers) = (Vec::new(), HashSet::new());
    for place in PLACES {
        if place != PLACES[0] {
            let route = connection.migrate(place)?;
            connection.wait_route(route, Some(PATIENCE))?;
        }
        for _ in 0..SAMPLES {
            let mut bytes = [0; 64];
            let len = connection.recv_datagram(&mut bytes, Some(PATIENCE))?;
            let sample = str::from_utf8(&bytes[..len])?;
            let (temperature, number) = sample.split_once(" C, ").unwrap_or_default();
            // Some are lost, and some come late, but none comes twice.
            if !check(temperature) || !numbers.insert(number.parse::<u32>()?) {
                return Err(format!("that is no sample: {sample:?}").into());
            }
            samples.push(sample.to_owned());
        }
    }
    connection.close(0, "");
    Ok(samples)
}

/// Whether that is a temperature as the firmware makes them up.
fn check(text: &str) -> bool {
    text.parse().is_ok_and(|degrees: f32| (20.0..=26.0).contains(&degrees))
}
