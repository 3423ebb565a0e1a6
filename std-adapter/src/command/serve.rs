//! `peregrine serve`: a thread for each connection, and some for the requests on it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::Duration;

use peregrine_core::endpoint::RetryPolicy;
use peregrine_std::{Connection, Endpoint, Sizes};
use serde_json::json;

use crate::answer::Site;
use crate::args::Serve;
use crate::credentials;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt;
use crate::logs;
use crate::report::{note, printable};
use crate::root::Root;
use crate::save::Existing;
use crate::strangers::Strangers;
use crate::uploads::Uploads;

/// Requests of one connection that are answered at the same time; further ones wait.
const AT_ONCE: usize = 32;

/// What a server of files needs of memory: short requests, long answers.
const SIZES: Sizes =
    Sizes { paths: 1, streams: 128, sent: 4096, receive: 16 << 10, send: 2 << 20, datagrams: 0 };
/// The window of a stream that may bring an upload.
const UPLOAD_WINDOW: usize = 1 << 20;
/// How long whoever has not heard that we end, and sends on, is told again.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Serves until the program is asked to end.
pub(crate) fn run(serve: &Serve) -> Result<Exit, Failure> {
    let site = site(serve)?;
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
        paths => builder.multipath(|config| {
            config.max_paths = paths;
            serve.terms.configure(config);
        }),
    };
    let strangers = (!serve.json).then(Arc::<Strangers>::default);
    let builder = match strangers.clone() {
        Some(strangers) => builder.observe(move |seen| strangers.see(seen)),
        None => builder,
    };
    let endpoint = builder
        .server(move |_| Ok(new_session()))
        .retry(if serve.retry { RetryPolicy::Always } else { RetryPolicy::UnderLoad })
        .sizes(Sizes {
            paths: serve.max_paths.into(),
            receive: site.uploads.as_ref().map_or(SIZES.receive, |_| UPLOAD_WINDOW),
            ..SIZES
        })
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
    interrupt::closes(endpoint.clone(), "the server was stopped")?;
    announce(serve, endpoint.local_addrs(), pin.map(|pin| pin.to_string()));
    if let Some(strangers) = strangers.clone() {
        let endpoint = endpoint.clone();
        // Without a thread to spare they are told of at the end.
        let _ = thread::Builder::new().spawn(move || strangers.watch(&endpoint));
    }
    accept(&endpoint, &site, !serve.json);
    if !interrupt::came() {
        return Err(Failure::new(Exit::Local, "the system has taken the sockets away"));
    }
    thread::sleep(LAST_WORDS);
    if let Some(strangers) = strangers {
        strangers.tell(&endpoint);
    }
    Ok(Exit::Interrupted)
}

/// What is served, and where uploads go.
fn site(serve: &Serve) -> Result<Site, Failure> {
    let root = Root::open(serve.root.as_deref()).map_err(|error| {
        let root = serve.root.clone().unwrap_or_default();
        Failure::local(format_args!("cannot serve the folder {}", root.display()), error)
    })?;
    let existing = if serve.overwrite { Existing::Replace } else { Existing::Keep };
    let open = |folder: &PathBuf| {
        Uploads::open(folder, serve.max_upload, existing).map_err(|error| {
            Failure::local(format_args!("cannot take uploads into the folder {}", folder.display()), error)
        })
    };
    Ok(Site { root, uploads: serve.uploads.as_ref().map(open).transpose()? })
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

/// Answers clients until the endpoint is shut down, and all answers have ended.
pub(crate) fn accept(endpoint: &Endpoint, site: &Site, log: bool) {
    thread::scope(|scope| {
        while let Ok(connection) = endpoint.accept() {
            // Without a thread to spare the connection is dropped, and thereby closed.
            let answer = move || answer_all(scope, &connection, site, log);
            let _ = thread::Builder::new().spawn_scoped(scope, answer);
        }
    });
}

fn answer_all<'scope>(
    scope: &'scope Scope<'scope, '_>,
    connection: &Connection,
    site: &'scope Site,
    log: bool,
) {
    let remote = connection.remote().ok();
    let busy = Arc::new(AtomicUsize::new(0));
    while let Ok((send, recv)) = connection.accept_bi() {
        let counted = Arc::clone(&busy);
        let answer = move || {
            let said = site.answer(send, recv);
            counted.fetch_sub(1, Ordering::AcqRel);
            if let (true, Some(remote)) = (log, remote) {
                note(format_args!("{remote} {}", printable(&said)));
            }
        };
        if busy.fetch_add(1, Ordering::AcqRel) < AT_ONCE {
            // A thread that cannot be had drops the streams, and thereby resets them.
            let _ = thread::Builder::new().spawn_scoped(scope, answer);
        } else {
            answer();
        }
    }
}
