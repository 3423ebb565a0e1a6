//! QEMU with a firmware in it, and what the firmware says.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use defmt_decoder::{DecodeError, Table};

use crate::cable;
use crate::link::{Heard, Link};
use crate::trials::LIMIT;

/// What the adapter logs when its only network is up, or the link of that is down.
pub(crate) const LINK_IS_UP: &str = "network 0 changed: is up: true";
const LINK_IS_DOWN: &str = "network 0 changed: is up: false";

/// What the board is connected to.
pub(crate) struct Wires<'a> {
    pub(crate) link: &'a Link,
    /// Where the emulator is told about the cable.
    pub(crate) monitor: &'a Path,
    /// The socket that is the other end of its serial line.
    pub(crate) line: Option<&'a Path>,
}

/// A firmware that runs.
pub(crate) struct Emulator {
    process: Child,
    said: Receiver<String>,
    to_link: Sender<Heard>,
    began: Instant,
    is_told: bool,
    /// All that it said so far.
    log: Vec<String>,
}

impl Emulator {
    /// Starts it, with this job.
    pub(crate) fn start(firmware: &Path, job: &str, wires: &Wires<'_>, is_told: bool) -> Self {
        let elf = std::fs::read(firmware).expect("the firmware was built");
        let table = Table::parse(&elf).expect("a firmware with defmt").expect("a firmware with defmt");
        let nic =
            format!("socket,id={},udp=127.0.0.1:{},localaddr=127.0.0.1:0", cable::INTERFACE, wires.link.port);
        let line = wires.line.map_or("null".into(), |line| format!("socket,path={}", line.display()));
        let mut process = Command::new("qemu-system-arm")
            .args(["-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "stdio"])
            // In the emulator's options a comma ends a value, and two are one.
            .args(["-semihosting-config", &format!("enable=on,target=native,arg={}", job.replace(',', ",,"))])
            // A multiplexer of one has the next byte at hand when the device has taken one, and no byte is an escape to it. Without it
            // each byte waits for a round of the emulator's main loop.
            .args(["-chardev", &format!("{line},id=line,mux=on"), "-echr", "256", "-serial", "chardev:line"])
            .args(["-nic", &nic])
            .args(["-qmp", &format!("unix:{},server=on,wait=off", wires.monitor.display())])
            .arg("-kernel")
            .arg(firmware)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-system-arm starts");
        let serial = process.stdout.take().expect("it is piped");
        let (say, said) = mpsc::channel();
        thread::spawn(move || decode(&table, serial, |line| say.send(line).is_ok()));
        let began = Instant::now();
        let to_link = wires.link.to_link.clone();
        Self { process, said, to_link, began, is_told, log: Vec::new() }
    }

    /// The next line of the firmware; none at its end.
    pub(crate) fn next(&mut self) -> Result<Option<&str>, String> {
        match self.said.recv_timeout(LIMIT.saturating_sub(self.began.elapsed())) {
            Ok(line) => {
                if self.is_told {
                    println!("    {line}");
                }
                if line.contains(LINK_IS_DOWN) {
                    // A link that has panicked is noticed at its end.
                    let _ = self.to_link.send(Heard::LinkIsDown);
                }
                self.log.push(line);
                Ok(self.log.last().map(String::as_str))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err("it takes too long".into()),
        }
    }

    /// Switches it off, and tells what it said meanwhile.
    pub(crate) fn finish(mut self) {
        self.kill();
        while let Ok(Some(_)) = self.next() {}
    }

    /// Waits for the end, which the firmware has chosen; what it said, and whether it found all well.
    pub(crate) fn end(mut self) -> (Vec<String>, Result<(), String>) {
        let ended = self.wait();
        (std::mem::take(&mut self.log), ended)
    }

    fn wait(&mut self) -> Result<(), String> {
        while self.next()?.is_some() {}
        let status = self.process.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err("the firmware has failed".into()) }
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Tells the lines that come over the serial line, until that ends or nobody listens.
fn decode(table: &Table, mut serial: impl Read, mut tell: impl FnMut(String) -> bool) {
    let mut decoder = table.new_stream_decoder();
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = serial.read(&mut bytes) {
        decoder.received(&bytes[..len]);
        loop {
            let line = match decoder.decode() {
                Ok(frame) => frame.display(false).to_string(),
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => "(a line that cannot be read)".into(),
            };
            if !tell(line) {
                return;
            }
        }
    }
}
