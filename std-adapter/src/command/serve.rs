//! `peregrine serve`: a thread for each connection, and some for the requests on it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use peregrine_core::endpoint::RetryPolicy;
use peregrine_std::{Connection, Endpoint, Error, RecvStream, SendStream, Sizes};
use serde_json::json;

use crate::args::Serve;
use crate::credentials;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hq::{RequestReader, Reset};
use crate::logs;
use crate::report::printable;
use crate::root::{NotServed, Root};

/// Requests of one connection that are answered at the same time; further ones wait.
const AT_ONCE: usize = 32;
/// How long a client may take for its request line, and to take some of the answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes handed over at a time.
const CHUNK: usize = 256 << 10;

/// What a server of files needs of memory: short requests, long answers.
const SIZES: Sizes =
    Sizes { paths: 8, streams: 128, sent: 4096, receive: 16 << 10, send: 2 << 20, datagrams: 0 };

/// Serves until the program is ended.
pub(crate) fn run(serve: &Serve) -> Result<(), Failure> {
    let root = Root::open(serve.root.as_deref()).map_err(|error| {
        let root = serve.root.clone().unwrap_or_default();
        Failure::local(format_args!("cannot serve the folder {}", root.display()), error)
    })?;
    let (new_session, pin) = credentials::of_server(serve)?;
    let builder = serve.listen.iter().fold(Endpoint::builder(), |builder, address| builder.listen(*address));
    let builder = match &serve.fleet {
        Some(fleet) => builder.cids(fleet.cids().map_err(|error| Failure::new(Exit::Usage, error))?),
        None => builder,
    };
    let builder = match &serve.qlog {
        Some(folder) => builder.qlog(logs::open(folder)?),
        None => builder,
    };
    let builder = match serve.max_paths {
        1 => builder,
        paths => builder.multipath(|config| config.max_paths = paths),
    };
    let endpoint = builder
        .server(move |_| Ok(new_session()))
        .retry(if serve.retry { RetryPolicy::Always } else { RetryPolicy::UnderLoad })
        .sizes(Sizes { paths: serve.max_paths.into(), ..SIZES })
        .tune(|config| {
            config.disable_active_migration = serve.no_active_migration;
            for preferred in &serve.preferred {
                match preferred {
                    SocketAddr::V4(preferred) => config.preferred_v4 = Some(*preferred),
                    SocketAddr::V6(preferred) => config.preferred_v6 = Some(*preferred),
                }
            }
        })
        .bind()
        .map_err(|error| Failure::of_connection(&error))?;
    announce(serve, endpoint.local_addrs(), pin.map(|pin| pin.to_string()));
    accept(&endpoint, &Arc::new(root), !serve.json);
    Ok(())
}

fn announce(serve: &Serve, addresses: &[SocketAddr], pin: Option<String>) {
    let mut out = io::stdout().lock();
    // Whoever reads this may be gone; the server serves on.
    let _ = if serve.json {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        writeln!(out, "{}", json!({ "command": "serve", "listening": addresses, "pin": pin }))
    } else {
        addresses
            .iter()
            .try_for_each(|address| writeln!(out, "listening on {address}"))
            .and_then(|()| pin.map_or(Ok(()), |pin| writeln!(out, "pin {pin}")))
    };
    let _ = out.flush();
}

/// Answers clients until the endpoint is shut down.
pub(crate) fn accept(endpoint: &Endpoint, root: &Arc<Root>, log: bool) {
    while let Ok(connection) = endpoint.accept() {
        let root = Arc::clone(root);
        // Without a thread to spare the connection is dropped, and thereby closed.
        let _ = thread::Builder::new().spawn(move || answer_all(&connection, &root, log));
    }
}

fn answer_all(connection: &Connection, root: &Arc<Root>, log: bool) {
    let remote = connection.remote().ok();
    let busy = Arc::new(AtomicUsize::new(0));
    while let Ok((send, recv)) = connection.accept_bi() {
        let (root, counted) = (Arc::clone(root), Arc::clone(&busy));
        let answer = move || {
            let said = answer(send, recv, &root);
            counted.fetch_sub(1, Ordering::AcqRel);
            if let (true, Some(remote)) = (log, remote) {
                eprintln!("{remote} {}", printable(&said));
            }
        };
        if busy.fetch_add(1, Ordering::AcqRel) < AT_ONCE {
            // A thread that cannot be had drops the streams, and thereby resets them.
            let _ = thread::Builder::new().spawn(answer);
        } else {
            answer();
        }
    }
}

/// Answers one request; returns what to say of it.
fn answer(mut send: SendStream, mut recv: RecvStream, root: &Root) -> String {
    recv.set_read_timeout(Some(PATIENCE));
    send.set_write_timeout(Some(PATIENCE));
    let path = match read_request(&mut recv) {
        Ok(path) => path,
        Err(why) => {
            send.reset(Reset::BadRequest as u64);
            return why;
        }
    };
    let mut content = match root.find(&path) {
        Ok(content) => content,
        Err(error) => {
            let reset =
                if matches!(error, NotServed::Failed(_)) { Reset::Unreadable } else { Reset::NotFound };
            send.reset(reset as u64);
            return format!("{path}: {error}");
        }
    };
    let mut bytes = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match content.read(&mut bytes) {
            Ok(0) => break,
            Ok(len) => match send.write_all(bytes.get(..len).unwrap_or_default()) {
                Ok(()) => total += len as u64,
                Err(error) => return format!("{path}: {total} bytes, then {error}"),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                send.reset(Reset::Unreadable as u64);
                return format!("{path}: {total} bytes, then the file cannot be read: {error}");
            }
        }
    }
    match send.finish() {
        Ok(()) => format!("{path}: {total} bytes"),
        Err(error) => format!("{path}: {total} bytes, then {error}"),
    }
}

fn read_request(recv: &mut RecvStream) -> Result<String, String> {
    let mut reader = RequestReader::default();
    let mut bytes = [0; 1024];
    loop {
        let len = recv.recv(&mut bytes).map_err(|error: Error| format!("no request: {error}"))?;
        let read = reader.push(bytes.get(..len).unwrap_or_default(), len == 0);
        if let Some(path) = read.map_err(|error| error.to_string())? {
            return Ok(path);
        }
        if len == 0 {
            return Err("no request".into());
        }
    }
}
