//! What a server of files says to one request.

use std::io::{self, Read, Write};
use std::time::Duration;

use peregrine_std::{Error, RecvStream, SendStream};

use crate::hq::{Request, RequestReader, Reset};
use crate::root::{NotServed, Root};
use crate::save::Received;
use crate::uploads::{NotTaken, Uploads};

/// How long a client may take for its request line, for some of an upload, and to take some of the answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes handed over at a time.
const CHUNK: usize = 256 << 10;

/// What there is to be had, and what is taken.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) root: Root,
    pub(crate) uploads: Option<Uploads>,
}

impl Site {
    /// Answers one request; returns what to say of it.
    pub(crate) fn answer(&self, mut send: SendStream, mut recv: RecvStream) -> String {
        recv.set_read_timeout(Some(PATIENCE));
        send.set_write_timeout(Some(PATIENCE));
        match read_request(&mut recv) {
            Ok((Request::Get(path), _)) => format!("{path}: {}", self.give(&path, send)),
            Ok((Request::Put(path), beginning)) => match self.take(&path, &beginning, &mut recv) {
                Ok(taken) => format!("{path}: {}", confirm(&taken, send)),
                Err(why) => {
                    let code = why.code() as u64;
                    recv.stop(code);
                    send.reset(code);
                    format!("{path}: {why}")
                }
            },
            Err(why) => {
                send.reset(Reset::BadRequest as u64);
                why
            }
        }
    }

    fn give(&self, path: &str, mut send: SendStream) -> String {
        let mut content = match self.root.find(path) {
            Ok(content) => content,
            Err(error) => {
                let reset =
                    if matches!(error, NotServed::Failed(_)) { Reset::Unreadable } else { Reset::NotFound };
                send.reset(reset as u64);
                return error.to_string();
            }
        };
        let mut bytes = vec![0; CHUNK];
        let mut total = 0;
        loop {
            match content.read(&mut bytes) {
                Ok(0) => break,
                Ok(len) => match send.write_all(bytes.get(..len).unwrap_or_default()) {
                    Ok(()) => total += len as u64,
                    Err(error) => return format!("{total} bytes, then {error}"),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    send.reset(Reset::Unreadable as u64);
                    return format!("{total} bytes, then the file cannot be read: {error}");
                }
            }
        }
        match send.finish() {
            Ok(()) => format!("{total} bytes"),
            Err(error) => format!("{total} bytes, then {error}"),
        }
    }

    fn take(&self, path: &str, beginning: &[u8], recv: &mut RecvStream) -> Result<Received, NotTaken> {
        let mut upload = self.uploads.as_ref().ok_or(NotTaken::Never)?.begin(path)?;
        upload.push(beginning)?;
        let mut bytes = vec![0; CHUNK];
        loop {
            match recv.recv(&mut bytes) {
                // Only the end that the client has set makes it whole.
                Ok(0) => return upload.finish(),
                Ok(len) => upload.push(bytes.get(..len).unwrap_or_default())?,
                Err(error) => return Err(NotTaken::BrokenOff(error)),
            }
        }
    }
}

/// Tells the client what was saved.
fn confirm(taken: &Received, mut send: SendStream) -> String {
    let hash = taken.sha256_hex();
    let said = send.write_all(hash.as_bytes()).and_then(|()| Ok(send.finish()?));
    let but = said.err().map(|error| format!(", then {error}")).unwrap_or_default();
    format!("{} bytes taken, sha256 {hash}{but}", taken.bytes)
}

/// The request, and what came with it.
fn read_request(recv: &mut RecvStream) -> Result<(Request, Vec<u8>), String> {
    let mut reader = RequestReader::default();
    let mut bytes = [0; 1024];
    loop {
        let len = recv.recv(&mut bytes).map_err(|error: Error| format!("no request: {error}"))?;
        let read = reader.push(bytes.get(..len).unwrap_or_default(), len == 0);
        if let Some((request, rest)) = read.map_err(|error| error.to_string())? {
            return Ok((request, rest.to_vec()));
        }
        if len == 0 {
            return Err("no request".into());
        }
    }
}
