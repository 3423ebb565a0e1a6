//! The log of one connection.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use peregrine_core::connection::{RouteView, Transmit};
use peregrine_core::ids::{Ecn, FourTuple, Side};
use peregrine_core::limits::DEFAULT_ACK_DELAY_EXPONENT;
use peregrine_core::path::RouteId;
use peregrine_core::session::Level;
use peregrine_core::time::Instant;
use peregrine_core::wire::dialect::PerDialect;
use peregrine_core::wire::{Cid, Dialect};
use serde_json::{Value, json};

use super::Folder;
use super::packets::Packet;
use super::words::{date, ecn, end, file_name, side, version};
use crate::storage::HeapConnection;

const FILE_SCHEMA: &str = "urn:ietf:params:qlog:file:sequential";
const EVENT_SCHEMA: &str = "urn:ietf:params:qlog:events:quic-13";
/// How long a line may lie in memory while others follow.
const PATIENCE: Duration = Duration::from_millis(100);
/// What may wait for its route to be known.
const PENDING: usize = 1024;
/// How much that is not authentic is written, at first and at most; each authentic packet pays for one more.
pub(super) const CREDIT: u32 = 64;
const ACK_DELAY_EXPONENT: u64 = DEFAULT_ACK_DELAY_EXPONENT as u64;

/// What is known of a connection, and where it is written.
pub(super) struct Log {
    folder: Arc<Folder>,
    pub(super) side: Side,
    /// The DCID of the client's first packet.
    pub(super) odcid: Option<Cid>,
    /// The ack_delay_exponent of either side.
    pub(super) local_exponent: u64,
    pub(super) peer_exponent: u64,
    /// What either side offers of multipath.
    pub(super) local_dialects: PerDialect,
    pub(super) peer_dialects: PerDialect,
    output: Output,
    /// What is not written yet because it is not known on which route it happened.
    pending: Vec<Record>,
    pub(super) tuples: Vec<Tuple>,
    next_tuple: u32,
    pub(super) state: Option<&'static str>,
    metrics: Option<Metrics>,
    is_over: bool,
    /// What may still be written of what is not authentic.
    credit: u32,
    /// Whether a packet of this datagram was authentic.
    authentic: bool,
}

enum Output {
    /// There is no name for a file yet.
    None,
    File {
        to: BufWriter<File>,
        flushed: Instant,
    },
    /// It has failed.
    Ended,
}

/// An event without its route.
struct Record {
    at: Instant,
    name: &'static str,
    data: Value,
}

/// A route, as logs call it.
pub(super) struct Tuple {
    pub(super) route: RouteId,
    pub(super) number: u32,
    shown: (std::net::SocketAddr, std::net::SocketAddr),
    pub(super) migration: Option<&'static str>,
    pub(super) mtu: Option<u16>,
    ecn: bool,
}

#[derive(Clone, Copy, PartialEq)]
struct Metrics {
    min_rtt: Duration,
    rtt: Duration,
    window: u32,
    in_flight: u32,
}

impl Tuple {
    /// The tuple of the handshake is the one without a name.
    pub(super) fn id(number: u32) -> String {
        if number == 0 { String::new() } else { number.to_string() }
    }
}

impl Log {
    pub(super) fn new(folder: Arc<Folder>, side: Side) -> Self {
        Self {
            folder,
            side,
            odcid: None,
            local_exponent: ACK_DELAY_EXPONENT,
            peer_exponent: ACK_DELAY_EXPONENT,
            local_dialects: PerDialect::default(),
            peer_dialects: PerDialect::default(),
            output: Output::None,
            pending: Vec::new(),
            tuples: Vec::new(),
            next_tuple: 0,
            state: None,
            metrics: None,
            is_over: false,
            credit: CREDIT,
            authentic: false,
        }
    }

    /// The dialect of multipath that is spoken, once both sides have said what they offer.
    pub(super) fn dialect(&self) -> Option<Dialect> {
        let both = [&self.local_dialects, &self.peer_dialects];
        Dialect::ALL.iter().copied().find(|dialect| both.iter().all(|side| side.get(*dialect).is_some()))
    }

    /// Something happened in a session.
    pub(super) fn note(&mut self, name: &'static str, data: Value) {
        if matches!(self.output, Output::Ended) {
            return;
        }
        self.pending.push(Record { at: self.folder.now(), name, data });
        // More than any datagrams hold that belong together: of forged packets nobody says where they came from.
        if self.pending.len() > PENDING {
            self.write_pending(None);
        }
    }

    /// A packet was opened, or is sealed.
    pub(super) fn packet(&mut self, name: &'static str, packet: &Packet<'_>) {
        if matches!(self.output, Output::Ended) {
            return;
        }
        if packet.key.level == Level::Handshake && self.state == Some("attempted") {
            let data = self.state_data("handshake_started");
            self.note("connection_state_updated", data);
        }
        self.note(name, packet.value());
    }

    /// A packet came that only the peer can have sent.
    pub(super) const fn on_authentic(&mut self) {
        self.authentic = true;
        if self.credit < CREDIT {
            self.credit += 1;
        }
    }

    /// A packet came that anybody can have sent.
    pub(super) fn dropped(&mut self, data: Value) {
        if self.pay() {
            self.note("packet_dropped", data);
        }
    }

    /// Whether one more thing that is not authentic may be written.
    fn pay(&mut self) -> bool {
        let left = self.credit.checked_sub(1);
        self.credit = left.unwrap_or(0);
        left.is_some()
    }

    /// We speak one version.
    pub(super) fn versions(&mut self, chosen: u32) {
        let ours = if self.side.is_client() { "client_versions" } else { "server_versions" };
        self.note(
            "version_information",
            json!({ ours: [version(chosen)], "chosen_version": version(chosen) }),
        );
    }

    /// The connection is in another state.
    pub(super) fn enter(&mut self, new: &'static str) {
        let data = self.state_data(new);
        self.tell(None, "connection_state_updated", data);
    }

    fn state_data(&mut self, new: &'static str) -> Value {
        let old = self.state.replace(new);
        old.map_or_else(|| json!({ "new": new }), |old| json!({ "old": old, "new": new }))
    }

    /// The connection has begun.
    pub(super) fn began(&mut self, connection: &mut HeapConnection, on: &FourTuple) {
        let data = json!({ "local": end(on.local), "remote": end(on.remote) });
        self.tell(None, "connection_started", data);
        self.enter("attempted");
        self.authentic = false;
        let tuple = self.tuple(connection, on);
        self.write_pending(tuple);
    }

    /// A datagram came.
    pub(super) fn received(
        &mut self,
        connection: &mut HeapConnection,
        on: &FourTuple,
        mark: Ecn,
        len: usize,
    ) {
        let tuple = self.tuple(connection, on);
        if std::mem::take(&mut self.authentic) || self.pay() {
            let data = json!({ "count": 1, "raw": [{ "length": len }], "ecn": [ecn(mark)] });
            self.tell(tuple, "udp_datagrams_received", data);
        }
        self.write_pending(tuple);
        self.metrics(connection);
    }

    /// Datagrams go out.
    pub(super) fn sent(&mut self, connection: &mut HeapConnection, transmit: &Transmit) {
        let Transmit { local, remote, interface, .. } = *transmit;
        let tuple = self.tuple(connection, &FourTuple { local, remote, interface });
        self.write_pending(tuple);
        let segment = transmit.segment_size.unwrap_or(transmit.len).max(1);
        let lengths = (0..transmit.len).step_by(segment).map(|from| segment.min(transmit.len - from));
        let raw: Vec<Value> = lengths.map(|length| json!({ "length": length })).collect();
        let marks = vec![ecn(transmit.ecn); raw.len()];
        let data = json!({ "count": raw.len(), "raw": raw, "ecn": marks });
        self.tell(tuple, "udp_datagrams_sent", data);
    }

    /// What a route is called; says so when it is new or has changed.
    fn tuple(&mut self, connection: &mut HeapConnection, on: &FourTuple) -> Option<u32> {
        let is_it = |route: &RouteView| {
            (route.local, route.remote, route.interface) == (on.local, on.remote, on.interface)
        };
        let view = connection.routes().find(is_it)?;
        Some(self.show(&view))
    }

    /// Says what a route is called, unless that was said.
    pub(super) fn show(&mut self, view: &RouteView) -> u32 {
        let index = self.tuples.iter().position(|tuple| tuple.route == view.id).unwrap_or_else(|| {
            let number = self.next_tuple;
            self.next_tuple += 1;
            let shown = (view.remote, view.local);
            self.tuples.push(Tuple { route: view.id, number, shown, migration: None, mtu: None, ecn: false });
            self.assign(number, view);
            self.tuples.len() - 1
        });
        let tuple = &mut self.tuples[index];
        let number = tuple.number;
        let shown = (view.remote, view.local);
        if std::mem::replace(&mut tuple.shown, shown) != shown {
            self.assign(number, view);
        }
        number
    }

    fn assign(&mut self, number: u32, view: &RouteView) {
        let (local, remote) = (end(view.local), end(view.remote));
        let data = json!({ "tuple_id": Tuple::id(number), "tuple_local": local, "tuple_remote": remote });
        self.tell(None, "tuple_assigned", data);
    }

    /// What has changed of the route in use.
    fn metrics(&mut self, connection: &mut HeapConnection) {
        let Some(route) = connection.route() else { return };
        let number = self.show(&route);
        let tuple = self.tuples.iter_mut().find(|tuple| tuple.number == number);
        if tuple.is_some_and(|tuple| std::mem::replace(&mut tuple.ecn, route.ecn) != route.ecn) {
            let (old, new) = if route.ecn { ("testing", "capable") } else { ("capable", "failed") };
            self.tell(Some(number), "ecn_state_updated", json!({ "old": old, "new": new }));
        }
        let metrics = Metrics {
            min_rtt: route.min_rtt,
            rtt: route.rtt,
            window: route.window,
            in_flight: route.in_flight,
        };
        if self.metrics.replace(metrics) == Some(metrics) {
            return;
        }
        let mut data = json!({ "congestion_window": metrics.window, "bytes_in_flight": metrics.in_flight });
        // Without a sample there is only a guess.
        if !metrics.min_rtt.is_zero() {
            data["min_rtt"] = milliseconds(metrics.min_rtt).into();
            data["smoothed_rtt"] = milliseconds(metrics.rtt).into();
        }
        self.tell(Some(number), "recovery_metrics_updated", data);
    }

    /// Writes an event: one of now, unless older ones wait until their route is known. The order in a file is that of time.
    pub(super) fn tell(&mut self, tuple: Option<u32>, name: &'static str, data: Value) {
        let at = self.pending.first().map_or_else(|| self.folder.now(), |first| first.at);
        self.write(&Record { at, name, data }, tuple);
    }

    /// Writes what happened on this route meanwhile.
    pub(super) fn write_pending(&mut self, tuple: Option<u32>) {
        for record in std::mem::take(&mut self.pending) {
            self.write(&record, tuple);
        }
    }

    fn write(&mut self, record: &Record, tuple: Option<u32>) {
        if let Err(error) = self.try_write(record, tuple) {
            self.output = Output::Ended;
            self.folder.warn(&error);
        }
    }

    fn try_write(&mut self, record: &Record, tuple: Option<u32>) -> io::Result<()> {
        if matches!(self.output, Output::None) {
            self.output = self.open()?;
        }
        let Output::File { to, flushed } = &mut self.output else { return Ok(()) };
        let (name, data) = (record.name, &record.data);
        write!(
            to,
            "\u{1e}{{\"time\":{},\"name\":\"quic:{name}\"",
            milliseconds(record.at.since(Instant::ZERO).into())
        )?;
        if let Some(number @ 1..) = tuple {
            write!(to, ",\"tuple\":\"{}\"", Tuple::id(number))?;
        }
        writeln!(to, ",\"data\":{data}}}")?;
        if self.is_over || record.at.since(*flushed) > PATIENCE.into() {
            *flushed = record.at;
            to.flush()?;
        }
        Ok(())
    }

    /// The connection is over: nobody waits any more for what is still said.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    fn open(&self) -> io::Result<Output> {
        let odcid = self.odcid.unwrap_or_default();
        let mut to = BufWriter::new(self.folder.create(&file_name(&odcid, self.side))?);
        let mut reference = json!({ "clock_type": "monotonic", "epoch": "unknown" });
        if let Some(began) = self.folder.began {
            reference["wall_clock_time"] = date(began).into();
        }
        let header = json!({
            "file_schema": FILE_SCHEMA,
            "serialization_format": "application/qlog+json-seq",
            "title": format!("Peregrine, {}", side(self.side)),
            "trace": {
                "common_fields": {
                    "group_id": super::words::hex(odcid.as_slice()),
                    "time_format": "relative_to_epoch",
                    "reference_time": reference,
                },
                "vantage_point": { "type": side(self.side) },
                "event_schemas": [EVENT_SCHEMA],
            },
        });
        writeln!(to, "\u{1e}{header}")?;
        Ok(Output::File { to, flushed: self.folder.now() })
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}
