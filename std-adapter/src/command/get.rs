//! `peregrine get`: one connection for each host, several files at a time.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use peregrine_std::clock::Clock;
use peregrine_std::{Builder, Connection, Endpoint, Error, OtherNetworks, Sizes, Watcher};

use crate::args::Get;
use crate::credentials;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hq::{self, Reset};
use crate::interrupt;
use crate::logs;
use crate::meter::Meter;
use crate::report::{Download, Progress, Report, Unmoved, Ways, complain, say};
use crate::save::{self, Existing, Received, Sink};
use crate::steer;
use crate::timeline::{Canvas, Timeline};
use crate::url::{Host, Url, is_of_a_host};

/// Bytes taken at a time.
const CHUNK: usize = 256 << 10;

/// What a client of files needs of memory: short requests, long answers.
const SIZES: Sizes =
    Sizes { paths: 8, streams: 64, sent: 256, receive: 2 << 20, send: 16 << 10, datagrams: 0 };

/// A server, the connection to it, and why there is none.
struct Server {
    host: Host,
    port: u16,
    connection: OnceLock<Result<Connection, Failure>>,
}

/// Downloads all files; returns how it went. What is written as JSON holds everything that went wrong.
pub(crate) fn run(get: &Get) -> Result<Exit, Failure> {
    match download_all(get) {
        Err(failure) if get.json => {
            let results = get.urls.iter().map(|_| Err(failure.clone())).collect();
            Ok(tell(get, results, Vec::new(), Ways::default(), Default::default()))
        }
        done => done,
    }
}

fn download_all(get: &Get) -> Result<Exit, Failure> {
    let names = names(get)?;
    check_place(get, &names)?;
    let orders = get.orders();
    steer::check(&orders)?;
    let canvas = get.timeline_svg.as_deref().map(Canvas::open).transpose()?;
    let new_session = credentials::of_client(get)?;
    let builder = Endpoint::builder().client(new_session).sizes(SIZES).tune(|config| {
        // A server of files has no reason to open streams.
        (config.peer_bidi_streams, config.peer_uni_streams) = (0, 0);
        config.choose_automatically = get.watch_interfaces;
    });
    let clock = Clock::start();
    let meter = Arc::new(Meter::new(clock));
    let timeline = Arc::new(Timeline::new(clock, Arc::clone(&meter), get.timeline, canvas.is_some()));
    let builder = if get.timeline || get.json || canvas.is_some() {
        let timeline = Arc::clone(&timeline);
        builder.observe(move |seen| timeline.see(seen))
    } else {
        builder
    };
    let builder = match &get.qlog {
        Some(folder) => builder.qlog(logs::open(folder)?),
        None => builder,
    };
    let builder = match get.several.most() {
        None => builder,
        Some(paths) => {
            builder.multipath(|config| get.several.terms.configure(config)).sizes(Sizes { paths, ..SIZES })
        }
    };
    let others = get.several.others();
    let builder = others
        .into_iter()
        .fold(builder, |builder, status| builder.other_networks(OtherNetworks::Paths(status)));
    let first = get.several.named().next().map(|first| first.local);
    let builder = get.bind.or(first).into_iter().fold(builder, Builder::listen);
    let endpoint = builder.bind().map_err(|error| Failure::of_connection(&error))?;
    let watching = if others.is_some() { "--path others" } else { "--watch-interfaces" };
    let is_watching = get.watch_interfaces || others.is_some();
    let watcher = is_watching.then(|| endpoint.watch_networks()).transpose();
    let watcher = watcher.map_err(|error| {
        let failure = Failure::of_connection(&error);
        Failure::new(failure.exit, format_args!("{watching}: {failure}"))
    })?;
    interrupt::closes(endpoint.clone(), "interrupted")?;
    let servers = servers(&get.urls);
    let progress = Progress::new(get.json || get.timeline);
    let results: Vec<OnceLock<Result<Received, Failure>>> =
        get.urls.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; CHUNK];
        loop {
            if interrupt::came() {
                return;
            }
            let index = next.fetch_add(1, Ordering::Relaxed);
            let (Some(url), Some(name), Some(result)) =
                (get.urls.get(index), names.get(index), results.get(index))
            else {
                return;
            };
            let outcome = find(&servers, url).ok_or(()).map_or_else(
                |()| Err(Failure::new(Exit::Defect, "a URL without a server")),
                |server| {
                    server.connect(&endpoint).and_then(|connection| {
                        meter.on_connected();
                        let sink = open_sink(get, name)?;
                        let count = |bytes| {
                            meter.add(bytes);
                            progress.add(bytes);
                        };
                        download(connection, url, sink, count, &mut buffer)
                    })
                },
            );
            let _ = result
                .set(outcome.map_err(|failure| if interrupt::came() { interrupted() } else { failure }));
        }
    };
    let workers = usize::from(get.parallel).min(get.urls.len());
    let connections = || servers.iter().filter_map(Server::connected).collect::<Vec<_>>();
    let carry_out = |order| {
        steer::carry_out(order, &meter, &timeline, connections).map_err(|why| {
            let goes_on = |connection: &&Connection| connection.close_reason().is_none();
            let is_told = !get.json && !meter.is_over() && connections().iter().all(goes_on);
            if is_told {
                progress.complain(&why.text);
            }
            Unmoved { why, is_told }
        })
    };
    let mut carried_out: Vec<Result<(), Unmoved>> = thread::scope(|scope| {
        if canvas.is_some() {
            scope.spawn(|| timeline.watch(connections));
        }
        let steering: Vec<_> = orders.iter().map(|order| scope.spawn(move || carry_out(order))).collect();
        thread::scope(|scope| {
            for _ in 1..workers {
                // With fewer threads it takes longer.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        meter.end();
        steering.into_iter().map(|steering| steering.join().unwrap_or(Ok(()))).collect()
    });
    progress.end();
    if let Some(error) = watcher.as_ref().and_then(Watcher::failure) {
        complain(&format!("{watching}: {error}"));
    }
    if endpoint.system_stats().dscp_not_supported > 0 {
        complain(
            "--path: this system has sent without the codepoint of dscp=, which it refuses or never sets",
        );
    }
    let took = clock.now().since(peregrine_core::time::Instant::ZERO).into();
    let (mut routes, mut paths) = (Vec::new(), Vec::new());
    for connection in servers.iter().filter_map(Server::connected) {
        routes.extend(connection.routes().unwrap_or_default());
        if connection.is_multipath().unwrap_or(false) {
            paths.extend(connection.paths().unwrap_or_default());
        }
        connection.close(Reset::Done as u64, "");
    }
    let drawn = canvas.map(|canvas| canvas.draw(&timeline, &get.urls));
    carried_out.extend(drawn.map(|drawn| drawn.map_err(|why| Unmoved { why, is_told: false })));
    let results = results.into_iter().map(|result| result.into_inner().unwrap_or_else(|| Err(interrupted())));
    let ways = Ways { routes, paths, moves: timeline.moves(), rebindings: timeline.rebindings() };
    Ok(tell(get, results.collect(), carried_out, ways, (took, meter.longest_silence())))
}

/// What became of a download when we were asked to end.
fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted")
}

fn tell(
    get: &Get,
    results: Vec<Result<Received, Failure>>,
    carried_out: Vec<Result<(), Unmoved>>,
    ways: Ways,
    (took, silence): (Duration, Duration),
) -> Exit {
    let failed = || results.iter().filter_map(|result| result.as_ref().err()).map(|error| error.exit);
    let exit = failed().find(|exit| *exit == Exit::Interrupted).or(failed().next());
    // A download that has failed cannot be moved either.
    let unmoved: Vec<_> =
        carried_out.into_iter().filter_map(Result::err).filter(|_| exit.is_none()).collect();
    let exit = exit.or(unmoved.first().map(|unmoved| unmoved.why.exit)).unwrap_or(Exit::Done);
    let downloads = get
        .urls
        .iter()
        .zip(results)
        .map(|(url, result)| Download { url: url.to_string(), result: result.map_err(|error| error.text) });
    let report = Report { downloads: downloads.collect(), unmoved, ways, took, silence };
    if get.json {
        say(report.json());
    } else {
        report.complaints().for_each(|line| complain(&line));
        say(report.text().trim_end());
    }
    exit
}

/// The file name of each URL; none if nothing is saved.
fn names(get: &Get) -> Result<Vec<Option<String>>, Failure> {
    let mut names: Vec<Option<String>> = Vec::new();
    for url in &get.urls {
        let name = match get.folder() {
            None => None,
            Some(_) => {
                let name = save::file_name(&url.path);
                Some(name.map_err(|error| Failure::new(Exit::Usage, format_args!("{url}: {error}")))?)
            }
        };
        if name.is_some() && names.contains(&name) {
            let what = format_args!("{url}: another URL has the same file name; get one after the other");
            return Err(Failure::new(Exit::Usage, what));
        }
        names.push(name);
    }
    Ok(names)
}

/// What would keep a download from being saved is known before it begins.
fn check_place(get: &Get, names: &[Option<String>]) -> Result<(), Failure> {
    let Some(folder) = get.folder() else { return Ok(()) };
    if folder.exists() && !folder.is_dir() {
        let what = format_args!("--out {} is a file: name the folder to save into", folder.display());
        return Err(Failure::new(Exit::Local, what));
    }
    // A link to a folder makes room for the file.
    let is_taken = |path: &PathBuf| path.symlink_metadata().is_ok_and(|there| there.is_dir());
    match names.iter().flatten().map(|name| folder.join(name)).find(is_taken) {
        Some(path) => {
            let what =
                format_args!("cannot save {}: a folder has that name; choose another --out", path.display());
            Err(Failure::new(Exit::Local, what))
        }
        None => Ok(()),
    }
}

fn servers(urls: &[Url]) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    for url in urls {
        if find(&servers, url).is_none() {
            servers.push(Server { host: url.host.clone(), port: url.port, connection: OnceLock::new() });
        }
    }
    servers
}

fn find<'s>(servers: &'s [Server], url: &Url) -> Option<&'s Server> {
    servers.iter().find(|server| server.host == url.host && server.port == url.port)
}

impl Server {
    fn connected(&self) -> Option<&Connection> {
        self.connection.get()?.as_ref().ok()
    }

    fn connect(&self, endpoint: &Endpoint) -> Result<&Connection, Failure> {
        self.connection.get_or_init(|| self.try_all(endpoint)).as_ref().map_err(Clone::clone)
    }

    /// Tries one address after the other; the last error is told.
    fn try_all(&self, endpoint: &Endpoint) -> Result<Connection, Failure> {
        let mut failure = None;
        for address in self.addresses()? {
            match endpoint.connect(address, &self.host.to_string()) {
                Ok(connection) => return Ok(connection),
                Err(Error::Family(_)) if failure.is_some() => {}
                Err(error) => {
                    let mut told = Failure::of_connection(&error);
                    told.text = format!("{address}: {}", told.text);
                    // Someone answered: another address of the same host would say the same.
                    if matches!(error, Error::Closed(_)) && told.exit != Exit::Unreachable {
                        return Err(told);
                    }
                    failure = Some(told);
                }
            }
        }
        let nowhere = || {
            Failure::new(Exit::Unreachable, format_args!("{} has no address that a host can have", self.host))
        };
        Err(failure.unwrap_or_else(nowhere))
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        match &self.host {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Name(name) => {
                let found = (name.as_str(), self.port).to_socket_addrs().map_err(|_| {
                    Failure::new(Exit::Unreachable, format_args!("no host of the name {name} is known"))
                })?;
                Ok(found.filter(|address| is_of_a_host(address.ip())).collect())
            }
        }
    }
}

fn open_sink(get: &Get, name: &Option<String>) -> Result<Sink, Failure> {
    match (get.folder(), name) {
        (Some(folder), Some(name)) => fs::create_dir_all(folder)
            .and_then(|()| Sink::save(folder, name, Existing::Replace))
            .map_err(|error| Failure::local(format_args!("cannot save into {}", folder.display()), error)),
        _ => Ok(Sink::discard()),
    }
}

fn download(
    connection: &Connection,
    url: &Url,
    mut sink: Sink,
    count: impl Fn(u64),
    buffer: &mut [u8],
) -> Result<Received, Failure> {
    let failed = |error: &Error| {
        let mut failure = Failure::of_connection(error);
        if let Error::Reset(code) = error {
            failure.text = Reset::describe(*code);
        }
        failure
    };
    let path = sink.path().map(|path| path.display().to_string()).unwrap_or_default();
    let local = |error| Failure::local(format_args!("cannot save {path}"), error);
    let (mut send, mut recv) = connection.open_bi().map_err(|error| failed(&error))?;
    let mut request = &hq::request(&url.path)[..];
    loop {
        let sent = if request.is_empty() { send.finish().map(|()| 0) } else { send.send(request) };
        match sent {
            Ok(0) => break,
            Ok(sent) => request = request.get(sent..).unwrap_or_default(),
            // A server that has read the line need not wait for the end of the stream.
            Err(Error::Stopped(_)) => break,
            Err(error) => return Err(failed(&error)),
        }
    }
    loop {
        let len = recv.recv(buffer).map_err(|error| failed(&error))?;
        let Some(bytes @ [_, ..]) = buffer.get(..len) else { break };
        sink.write_all(bytes).map_err(local)?;
        count(len as u64);
    }
    sink.finish().map_err(local)
}
