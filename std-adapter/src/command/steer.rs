//! Moves in the middle of a download: to another local address, or to another port without telling the connection.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use peregrine_core::connection::{PathError, RouteError};
use peregrine_core::ids::PathId;
use peregrine_core::path::{Availability, RouteId};
use peregrine_std::{Connection, Error};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::meter::Meter;
use crate::moment::Moment;
use crate::several::From;
use crate::timeline::Timeline;

/// How often a wait looks whether the download is over.
const STEP: Duration = Duration::from_millis(50);

/// Something to be done at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) when: Moment,
    pub(crate) what: Act,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// Use these paths at once, the first of which there is.
    Paths(Vec<From>),
    /// Try a route from this address, then take it.
    Migrate(SocketAddr),
    /// Try a route from this address, and keep it.
    Keep(SocketAddr),
    /// Take another local port.
    Rebind,
}

impl Act {
    const fn option(&self) -> &'static str {
        match self {
            Self::Paths(_) => "--path",
            Self::Migrate(_) => "--migrate-to",
            Self::Keep(_) => "--backup",
            Self::Rebind => "--rebind-after",
        }
    }

    /// What is to be bound to.
    fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Paths(paths) => paths.iter().map(|from| from.local).collect(),
            Self::Migrate(local) | Self::Keep(local) => vec![*local],
            Self::Rebind => Vec::new(),
        }
    }
}

/// Whether this host has the addresses that are to be used at once; later ones may come with a network.
pub(crate) fn check(orders: &[Order]) -> Result<(), Failure> {
    for order in orders.iter().filter(|order| order.when == Moment::NOW) {
        for address in order.what.addresses() {
            let option = format!("{} {address}", order.what.option());
            UdpSocket::bind(address).map_err(|error| failure(&option, &Error::Bind { address, error }))?;
        }
    }
    Ok(())
}

/// Waits for the moment and does to the `connections` of then what is to be done.
pub(crate) fn carry_out<'c>(
    order: &Order,
    meter: &Meter,
    timeline: &Timeline,
    connections: impl FnOnce() -> Vec<&'c Connection>,
) -> Result<(), Failure> {
    if !meter.wait(order.when) {
        let what = format_args!(
            "{}: the download was over before {}; choose an earlier moment",
            order.what.option(),
            order.when
        );
        return Err(Failure::new(Exit::Usage, what));
    }
    match &order.what {
        Act::Paths(paths) => {
            connections().into_iter().try_for_each(|connection| spread(connection, paths, meter))
        }
        Act::Migrate(local) => {
            connections().into_iter().try_for_each(|connection| migrate(connection, *local, meter))
        }
        Act::Keep(local) => connections().into_iter().try_for_each(|connection| {
            open(connection, *local, &format!("--backup {local}"), meter).map(|_| ())
        }),
        Act::Rebind => rebind(&connections(), timeline),
    }
}

/// Connections that share a socket are rebound together.
fn rebind(connections: &[&Connection], timeline: &Timeline) -> Result<(), Failure> {
    let mut done = BTreeSet::new();
    for connection in connections {
        let rebound = connection.route().and_then(|route| {
            let is_new = done.insert(route.interface);
            is_new.then(|| connection.rebind_port()).transpose()
        });
        if let Some(address) = rebound.map_err(|error| failure("--rebind-after", &error))? {
            timeline.on_rebound(address);
        }
    }
    Ok(())
}

fn migrate(connection: &Connection, local: SocketAddr, meter: &Meter) -> Result<(), Failure> {
    let option = format!("--migrate-to {local}");
    let route = open(connection, local, &option, meter)?;
    connection.switch_route(route).map_err(|error| failure(&option, &error))
}

/// Opens a route and waits until the server has answered on it.
fn open(connection: &Connection, local: SocketAddr, option: &str, meter: &Meter) -> Result<RouteId, Failure> {
    let failed = |error: &Error| failure(option, error);
    let route = loop {
        match connection.add_route(local) {
            Err(Error::Route(RouteError::NoSpareCid)) if !meter.is_over() => {
                let waited = connection.wait_spare_cid(Some(STEP));
                waited.or_else(until_timeout).map_err(|error| failed(&error))?;
            }
            outcome => break outcome.map_err(|error| failed(&error))?,
        }
    };
    until(
        || connection.wait_route(route, Some(STEP)).map(|_| ()),
        meter,
        option,
        "choose an earlier moment",
    )?;
    Ok(route)
}

/// Waits step by step, as long as there is something to download.
fn until(
    step: impl Fn() -> Result<(), Error>,
    meter: &Meter,
    option: &str,
    advice: &str,
) -> Result<(), Failure> {
    while let Err(error) = step() {
        until_timeout(error).map_err(|error| failure(option, &error))?;
        if meter.is_over() {
            let why = "the download was over before the server answered on that route";
            return Err(Failure::new(Exit::Usage, format_args!("{option}: {why}; {advice}")));
        }
    }
    Ok(())
}

/// Opens all paths beside the first, and waits until the server has answered on each.
fn spread(connection: &Connection, paths: &[From], meter: &Meter) -> Result<(), Failure> {
    let Some((first, others)) = paths.split_first() else { return Ok(()) };
    let option = |from: &From| format!("--path {}", from.local);
    if first.status == Availability::Backup {
        connection.set_path_status(PathId::ZERO, true).map_err(|error| failure(&option(first), &error))?;
    }
    mark(connection, PathId::ZERO, first).map_err(|error| failure(&option(first), &error))?;
    let begin = |from| {
        let begun = begin(connection, from, meter);
        begun.map(|path| (option(from), path)).map_err(|error| failure(&option(from), &error))
    };
    // One that cannot be opened does not keep the others from it.
    let begun: Vec<Result<_, Failure>> = others.iter().map(begin).collect();
    let begun: Vec<_> = begun.into_iter().collect::<Result<_, _>>()?;
    begun.into_iter().try_for_each(|(option, path)| {
        let wait = || connection.wait_path(path, Some(STEP)).map(|_| ());
        until(wait, meter, &option, "paths are for larger ones")
    })
}

fn begin(connection: &Connection, from: &From, meter: &Meter) -> Result<PathId, Error> {
    let path = loop {
        match connection.open_path(from.local, from.status) {
            Err(Error::Path(PathError::NoCid)) if !meter.is_over() => {
                connection.wait_path_possible(Some(STEP)).or_else(until_timeout)?;
            }
            outcome => break outcome?,
        }
    };
    mark(connection, path, from)?;
    Ok(path)
}

fn mark(connection: &Connection, path: PathId, from: &From) -> Result<(), Error> {
    from.dscp.map_or(Ok(()), |dscp| connection.set_path_dscp(path, dscp))
}

/// A wait that found nothing is no failure.
fn until_timeout(error: Error) -> Result<(), Error> {
    if matches!(error, Error::TimedOut) { Ok(()) } else { Err(error) }
}

fn failure(option: &str, error: &Error) -> Failure {
    let advice = match error {
        Error::Bind { .. } => "; choose an address of this machine, and port 0 for any free port",
        Error::OtherFamily { .. } => "",
        Error::RouteGone => {
            "; the download went on over the route before; is there a way to the server from that address?"
        }
        Error::PathGone => {
            "; the download went on over the other paths; is there a way to the server from that address?"
        }
        Error::Path(PathError::Unsupported) => "; peregrine serve does, unless it has --max-paths 1",
        Error::Path(PathError::NoPathId) => "; use fewer, or let the server allow more (--max-paths)",
        Error::Route(RouteError::Forbidden) => "; --rebind-after shows what a NAT would do all the same",
        _ => "",
    };
    let told = Failure::of_connection(error);
    Failure::new(told.exit, format_args!("{option}: {}{advice}", told.text))
}
