//! The second network of the emulated board: a serial line with IP on it, framed by SLIP, and a NAT behind its other end. To the
//! emulator the line is a Unix socket.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::nat::{After, Arrived, Landed, Nat, Place, Seen};
use crate::packets;
use crate::slip::{self, Decoder};
use crate::weather::Conditions;

/// The longest packet that the line carries, as the firmware has it.
const MTU: usize = 1280;
/// Where the board is: the two ends have agreed on it.
const PLACE: Place = Place { board: Ipv4Addr::new(10, 1, 0, 2), outside: Ipv4Addr::new(127, 0, 2, 1) };

/// What the thread of the line hears.
enum Heard {
    /// The emulator is there; this way to it.
    Emulator(UnixStream),
    /// A packet of the board.
    Board(Vec<u8>),
    /// A datagram for it.
    Host(Arrived),
    End,
}

/// A line that runs.
pub(crate) struct Line {
    to_line: Sender<Heard>,
    running: Option<JoinHandle<Seen>>,
}

impl Line {
    /// Starts one, at whose end the emulator finds this socket; after so many bytes it falls silent for ever.
    pub(crate) fn start(socket: &Path, conditions: Conditions, cut: Option<After>) -> Self {
        let listener = UnixListener::bind(socket).expect("a folder of our own");
        let (to_line, heard) = mpsc::channel();
        let hear = to_line.clone();
        thread::spawn(move || {
            let (emulator, _) = listener.accept().expect("an emulator");
            let there = emulator.try_clone().expect("it is open");
            if hear.send(Heard::Emulator(there)).is_ok() {
                read(emulator, |packet| hear.send(Heard::Board(packet)).is_ok());
            }
        });
        let hear = to_line.clone();
        let nat = Nat::new(PLACE, conditions, move |arrived| hear.send(Heard::Host(arrived)).is_ok());
        let end = End { nat, emulator: None, cut };
        let running = thread::spawn(move || end.run(&heard));
        Self { to_line, running: Some(running) }
    }

    pub(crate) fn end(mut self) -> Seen {
        let running = self.running.take().expect("it ends once");
        drop(self);
        running.join().expect("the line works")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A thread that is gone has panicked, which `end` tells.
        let _ = self.to_line.send(Heard::End);
    }
}

/// Passes on the packets of the board, until the emulator ends or nobody listens.
fn read(mut line: impl Read, hear: impl Fn(Vec<u8>) -> bool) {
    let (mut decoder, mut packet, mut bytes) = (Decoder::default(), [0; MTU], [0; 4096]);
    while let Ok(len @ 1..) = line.read(&mut bytes) {
        for byte in &bytes[..len] {
            if let Some(len) = decoder.take(*byte, &mut packet)
                && !hear(packet[..len].to_vec())
            {
                return;
            }
        }
    }
}

/// Our end of it.
struct End {
    nat: Nat,
    emulator: Option<UnixStream>,
    cut: Option<After>,
}

impl End {
    fn run(mut self, heard: &Receiver<Heard>) -> Seen {
        let mut is_cut = false;
        loop {
            let wait = self.nat.next().map(|due| due.saturating_duration_since(Instant::now()));
            let heard = heard.recv_timeout(wait.unwrap_or(Duration::MAX));
            let now = Instant::now();
            match heard {
                Ok(Heard::Emulator(emulator)) => self.emulator = Some(emulator),
                Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => return self.nat.end(),
                Ok(_) if is_cut => {}
                Ok(Heard::Board(packet)) => {
                    if let Some(datagram) = packets::read(&packet) {
                        self.nat.send(now, &datagram);
                    }
                }
                Ok(Heard::Host(arrived)) => self.nat.receive(now, arrived),
                Err(RecvTimeoutError::Timeout) => {}
            }
            while let Some(landed) = self.nat.land(now) {
                if let Landed::Board(datagram) = landed {
                    let mut packet = vec![0; datagram.packet_len()];
                    datagram.write(&mut packet);
                    self.send(&packet);
                }
                if self.cut.is_some_and(|cut| self.nat.is_after(cut)) {
                    is_cut = true;
                    self.nat.crash();
                }
            }
        }
    }

    fn send(&mut self, packet: &[u8]) {
        let emulator = self.emulator.as_mut().filter(|_| packet.len() <= MTU);
        if let Some(emulator) = emulator {
            // An emulator that has ended hears nothing.
            let _ = emulator.write_all(&slip::encode(packet).collect::<Vec<_>>());
        }
    }
}
