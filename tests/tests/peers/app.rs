//! A small application, written once for both stacks: `GET /N` downloads the first N bytes of the pattern, `PUT /N`
//! uploads them and is answered with what arrived.

use std::io::{self, Read, Write};
use std::thread;

use peregrine_std::pattern::{self, Pattern};
use peregrine_std::{Connection, RecvStream, SendStream};

/// A connection of either stack.
pub(crate) trait Line: Clone + Send + 'static {
    type Send: Sender;
    type Recv: Read + Send + 'static;

    fn open(&self) -> io::Result<(Self::Send, Self::Recv)>;
    fn accept(&self) -> Option<(Self::Send, Self::Recv)>;
    fn close(&self, code: u32, words: &str);
}

/// The sending end of a stream.
pub(crate) trait Sender: Write + Send + 'static {
    fn finish(&mut self) -> io::Result<()>;
}

impl Line for Connection {
    type Send = SendStream;
    type Recv = RecvStream;

    fn open(&self) -> io::Result<(SendStream, RecvStream)> {
        Ok(self.open_bi()?)
    }

    fn accept(&self) -> Option<(SendStream, RecvStream)> {
        self.accept_bi().ok()
    }

    fn close(&self, code: u32, words: &str) {
        Self::close(self, code.into(), words);
    }
}

impl Sender for SendStream {
    fn finish(&mut self) -> io::Result<()> {
        Ok(Self::finish(self)?)
    }
}

/// Answers requests on another thread until the connection ends.
pub(crate) fn serve<L: Line>(line: L) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while let Some((send, recv)) = line.accept() {
            thread::spawn(move || answer(send, recv));
        }
    })
}

/// A client that goes away in the middle is no error of the server.
fn answer(mut send: impl Sender, mut recv: impl Read) -> io::Result<()> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        recv.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    let (method, len) = line.trim_end().split_once(" /").unwrap();
    match method {
        "GET" => {
            // Unread, its end would be refused.
            io::copy(&mut recv, &mut io::sink())?;
            copy(Pattern::new(len.parse().unwrap()), &mut send, |_| {})?;
        }
        "PUT" => write!(send, "{}", check(&mut recv, |_| {})?)?,
        other => panic!("no such method: {other}"),
    }
    send.finish()
}

/// Downloads so many bytes and checks each.
pub(crate) fn get(line: &impl Line, len: u64) {
    get_and(line, len, |_| {});
}

/// As [`get`], calling `also` with the bytes received so far after each read.
pub(crate) fn get_and(line: &impl Line, len: u64, also: impl FnMut(u64)) {
    let (mut send, mut recv) = line.open().unwrap();
    write!(send, "GET /{len}\r\n").unwrap();
    send.finish().unwrap();
    assert_eq!(check(&mut recv, also).unwrap(), len);
}

/// Uploads so many bytes and learns that all arrived.
pub(crate) fn put(line: &impl Line, len: u64) {
    put_and(line, len, |_| {});
}

/// As [`put`], calling `also` with the bytes handed over so far after each write.
pub(crate) fn put_and(line: &impl Line, len: u64, also: impl FnMut(u64)) {
    let (mut send, mut recv) = line.open().unwrap();
    write!(send, "PUT /{len}\r\n").unwrap();
    copy(Pattern::new(len), &mut send, also).unwrap();
    send.finish().unwrap();
    let mut answer = String::new();
    recv.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, len.to_string());
}

/// Downloads and uploads on so many streams at once.
pub(crate) fn parallel(line: &impl Line, streams: usize, len: u64) {
    let running: Vec<_> = (0..streams)
        .map(|stream| {
            let line = line.clone();
            thread::spawn(move || if stream % 2 == 0 { get(&line, len) } else { put(&line, len) })
        })
        .collect();
    running.into_iter().for_each(|one| one.join().unwrap());
}

fn copy(mut from: Pattern, to: &mut impl Write, mut also: impl FnMut(u64)) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..len])?;
        total += len as u64;
        also(total);
    }
}

/// Reads to the end and returns how many bytes of the pattern there were.
fn check(from: &mut impl Read, mut also: impl FnMut(u64)) -> io::Result<u64> {
    let (mut got, mut expected) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut total = 0;
    loop {
        let len = from.read(&mut got)?;
        if len == 0 {
            return Ok(total);
        }
        pattern::fill(total, &mut expected[..len]);
        assert!(got[..len] == expected[..len], "wrong bytes after {total}");
        total += len as u64;
        also(total);
    }
}
