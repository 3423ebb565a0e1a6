//! Moves in the middle of a download: to another local address, or to another port without telling the connection.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use peregrine_core::connection::RouteError;
use peregrine_core::path::RouteId;
use peregrine_std::{Connection, Error};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::meter::Meter;
use crate::moment::Moment;
use crate::timeline::Timeline;

/// How often a wait looks whether the download is over.
const STEP: Duration = Duration::from_millis(50);

/// Something to be done at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) when: Moment,
    pub(crate) what: Act,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
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
            Self::Migrate(_) => "--migrate-to",
            Self::Keep(_) => "--backup",
            Self::Rebind => "--rebind-after",
        }
    }
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
    match order.what {
        Act::Migrate(local) => {
            connections().into_iter().try_for_each(|connection| migrate(connection, local, meter))
        }
        Act::Keep(local) => connections().into_iter().try_for_each(|connection| {
            open(connection, local, &format!("--backup {local}"), meter).map(|_| ())
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
    while let Err(error) = connection.wait_route(route, Some(STEP)) {
        until_timeout(error).map_err(|error| failed(&error))?;
        if meter.is_over() {
            let why =
                "the download was over before the server answered on that route; choose an earlier moment";
            return Err(Failure::new(Exit::Usage, format_args!("{option}: {why}")));
        }
    }
    Ok(route)
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
        Error::Route(RouteError::Forbidden) => "; --rebind-after shows what a NAT would do all the same",
        _ => "",
    };
    let told = Failure::of_connection(error);
    Failure::new(told.exit, format_args!("{option}: {}{advice}", told.text))
}
