//! Logs of connections: every record of them is as the drafts have it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peregrine_core::endpoint::RetryPolicy;
#[cfg(feature = "multipath")]
use peregrine_core::{
    connection::{Config, MultipathConfig},
    path::Availability,
    wire::Dialect,
};
use peregrine_std::clock::Clock;
use peregrine_std::tls::{ClientTls, KeyLogFile};
use peregrine_std::{Builder, Connection, EventLoop, Qlog};
use serde_json::{Value, json};

mod common;
use common::relay::relay;
use common::{ALPN, NAME, PATIENCE, Pair, Tls, fetch, serve, server_tls};

#[path = "../src/qlog/schema.rs"]
mod schema;
use schema::Schema;

/// A folder for logs, and the warnings there were.
struct Folder {
    folder: tempfile::TempDir,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), warnings: Arc::default() }
    }

    fn qlog(&self) -> Qlog {
        let warnings = Arc::clone(&self.warnings);
        Qlog::new(self.folder.path().join("logs"), move |why: &str| {
            warnings.lock().unwrap().push(why.into());
        })
        .unwrap()
    }

    fn logs(&self) -> BTreeMap<String, Vec<Value>> {
        let logs = fs::read_dir(self.folder.path().join("logs")).unwrap();
        logs.map(|log| {
            let path = log.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), records(&path))
        })
        .collect()
    }

    /// The logs of one connection: that of the client and that of the server.
    fn both(&self) -> [Vec<Value>; 2] {
        assert!(self.warnings.lock().unwrap().is_empty());
        let mut logs = self.logs();
        assert_eq!(logs.len(), 2, "{:?}", logs.keys());
        let (client, server) = (logs.pop_first().unwrap(), logs.pop_first().unwrap());
        let odcid = client.0.strip_suffix("_client.sqlog").unwrap();
        assert_eq!(server.0, format!("{odcid}_server.sqlog"));
        for (log, role) in [(&client.1, "client"), (&server.1, "server")] {
            assert_eq!(log[0]["trace"]["common_fields"]["group_id"], odcid);
            assert_eq!(log[0]["trace"]["vantage_point"]["type"], role);
        }
        [client.1, server.1]
    }
}

/// RFC 7464: each record stands between a separator and the end of a line.
fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let mut parts = text.split('\u{1e}');
    assert_eq!(parts.next(), Some(""));
    parts
        .map(|record| {
            assert!(record.ends_with('\n'), "{record}");
            serde_json::from_str(record).unwrap()
        })
        .collect()
}

fn all<'l>(log: &'l [Value], name: &str) -> Vec<&'l Value> {
    log.iter().filter(|record| record["name"] == format!("quic:{name}")).collect()
}

fn frames<'l>(log: &'l [Value], event: &str, frame_type: &str) -> Vec<(&'l Value, &'l Value)> {
    let of = |record: &'l Value| {
        let frames = record["data"]["frames"].as_array().unwrap().iter();
        frames.map(move |frame| (record, frame))
    };
    all(log, event).into_iter().flat_map(of).filter(|(_, frame)| frame["frame_type"] == frame_type).collect()
}

/// Every record is as the schema has it, in the order of time, and on a tuple that was assigned.
fn check(log: &[Value]) {
    let schema = Schema::new();
    let (mut time, mut tuples) = (0.0, BTreeSet::new());
    for (index, record) in log.iter().enumerate() {
        schema.check_record(record, index == 0).unwrap_or_else(|why| panic!("{why}: {record}"));
        if index == 0 {
            continue;
        }
        let now = record["time"].as_f64().unwrap();
        assert!(now >= time, "{record} after {time}");
        time = now;
        if record["name"] == "quic:tuple_assigned" {
            tuples.insert(record["data"]["tuple_id"].as_str().unwrap().to_owned());
        }
        if let Some(tuple) = record["tuple"].as_str() {
            assert!(tuples.contains(tuple), "{record}");
        }
    }
}

/// Closes, and waits until both logs have told of the end.
fn finish(folder: &Folder, client: &Connection) {
    client.close(7, "done");
    let (clock, logs) = (Clock::start(), folder.folder.path().join("logs"));
    let is_over = || {
        fs::read_dir(&logs).unwrap().all(|log| {
            let text = fs::read_to_string(log.unwrap().path()).unwrap();
            text.lines().last().is_some_and(|line| line.contains("\"new\":\"closed\""))
        })
    };
    while !is_over() {
        assert!(clock.now().as_micros() < 20_000_000);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_download_with_a_move_is_logged_as_the_schema_has_it() {
    let folder = Folder::new();
    let secrets = folder.folder.path().join("secrets");
    let (server_tls, trust) = server_tls();
    let mut client_tls = ClientTls::new(trust, ALPN);
    client_tls.key_log = Some(KeyLogFile::append_to(&secrets).unwrap());
    let pair = Pair::of(server_tls, client_tls, [Tls::Ours; 2], |builder| builder.qlog(folder.qlog()));
    let (client, server) = pair.connect();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&server));
        fetch(&client, 1 << 20);
        client.update_keys().unwrap();
        fetch(&client, 1 << 20);
        let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
        let route = client.add_route(elsewhere).unwrap();
        client.wait_route(route, PATIENCE).unwrap();
        client.switch_route(route).unwrap();
        fetch(&client, 1 << 20);
        finish(&folder, &client);
    });
    let logs = folder.both();
    for log in &logs {
        check(log);
        for name in [
            "connection_started",
            "connection_closed",
            "connection_state_updated",
            "tuple_assigned",
            "mtu_updated",
            "version_information",
            "alpn_information",
            "parameters_set",
            "packet_sent",
            "packet_received",
            "udp_datagrams_sent",
            "udp_datagrams_received",
            "migration_state_updated",
            "key_updated",
            "key_discarded",
            "recovery_metrics_updated",
            "ecn_state_updated",
        ] {
            assert!(!all(log, name).is_empty(), "{name} is missing");
        }
        let states: Vec<_> = all(log, "connection_state_updated")
            .iter()
            .map(|record| record["data"]["new"].as_str().unwrap())
            .collect();
        let begin = ["attempted", "handshake_started", "handshake_complete", "handshake_confirmed"];
        assert_eq!(states[..4], begin);
        assert_eq!(states.last(), Some(&"closed"));
        let moves: Vec<_> = all(log, "migration_state_updated")
            .iter()
            .filter(|record| record["data"]["tuple_id"] == "1")
            .map(|record| record["data"]["new"].as_str().unwrap())
            .collect();
        assert_eq!(moves, ["probing_started", "probing_successful", "migration_complete"]);
        // What was sent over the new route is logged on it.
        let on_new = |event| all(log, event).iter().filter(|record| record["tuple"] == "1").count();
        assert!(on_new("packet_sent") > 10 && on_new("packet_received") > 10);
        assert!(
            frames(log, "packet_sent", "path_challenge").iter().any(|(record, _)| record["tuple"] == "1")
        );
    }
    agree(&logs);
    refuses_changes(&logs[0]);
    no_secrets(&folder, &secrets);
}

/// The schema has no frames of multipath: that they are read as what they are is all that can be asked of them.
#[cfg(feature = "multipath")]
#[test]
fn frames_of_either_dialect_of_multipath_are_logged() {
    for dialect in Dialect::ALL {
        let folder = Folder::new();
        let pair = Pair::with(|builder| {
            let speaks = |config: &mut Config| config.multipath = MultipathConfig::speaking(&[*dialect]);
            builder.tune(speaks).qlog(folder.qlog())
        });
        let (client, server) = pair.connect();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&server));
            client.wait_path_possible(PATIENCE).unwrap();
            let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
            let path = client.open_path(elsewhere, Availability::Backup).unwrap();
            client.wait_path(path, PATIENCE).unwrap();
            fetch(&client, 1 << 20);
            client.abandon_path(path).unwrap();
            fetch(&client, 1 << 20);
            finish(&folder, &client);
        });
        for (log, event) in folder.both().iter().zip(["packet_sent", "packet_received"]) {
            let kinds = ["path_ack", "path_new_connection_id", "path_status_backup", "path_abandon"];
            let found = kinds.map(|kind| !frames(log, event, kind).is_empty());
            assert_eq!(found, [true; 4]);
            assert!(frames(log, event, "unknown").is_empty());
        }
    }
}

/// The two ends tell of the same connection.
fn agree([client, server]: &[Vec<Value>; 2]) {
    let updates =
        |log, trigger| all(log, "key_updated").iter().filter(|key| key["data"]["trigger"] == trigger).count();
    assert_eq!((updates(client, "local_update"), updates(server, "remote_update")), (2, 2));
    let closed = all(client, "connection_closed")[0];
    let data = json!({
        "initiator": "local", "application_error": "unknown", "error_code": 7, "reason": "done", "trigger": "application",
    });
    assert_eq!(closed["data"], data);
    assert_eq!(all(server, "connection_closed")[0]["data"]["initiator"], "remote");
    let fin =
        |log, event| frames(log, event, "stream").iter().filter(|(_, frame)| frame["fin"] == true).count();
    assert!(fin(client, "packet_received") >= 3 && fin(server, "packet_sent") >= 3);
    // Every packet that one end has received the other has sent, with the same frames.
    for (from, to) in [(client, server), (server, client)] {
        let id = |record: &Value| {
            let header = &record["data"]["header"];
            (header["packet_type"].to_string(), header["packet_number"].as_u64().unwrap())
        };
        let sent: BTreeMap<_, _> =
            all(from, "packet_sent").into_iter().map(|record| (id(record), record)).collect();
        for received in all(to, "packet_received") {
            let sent = sent[&id(received)];
            assert_eq!(sent["data"], received["data"]);
        }
    }
    let params = |log, initiator| {
        let sets = all(log, "parameters_set").into_iter();
        let mut data =
            sets.map(|set| set["data"].clone()).find(|data| data["initiator"] == initiator).unwrap();
        data["initiator"] = Value::Null;
        data
    };
    assert_eq!(params(client, "local"), params(server, "remote"));
    assert_eq!(params(client, "remote"), params(server, "local"));
}

/// The check is worth something: of each kind of event, it refuses a record without a field that must be there, with one of
/// another name, and with one of another kind.
fn refuses_changes(log: &[Value]) {
    let schema = Schema::new();
    let mut seen = BTreeSet::new();
    for record in &log[1..] {
        let name = record["name"].as_str().unwrap();
        if !seen.insert(name) {
            continue;
        }
        let rule = name.strip_prefix("quic:").unwrap();
        for field in record["data"].as_object().unwrap().keys() {
            let mut renamed = record.clone();
            let value = renamed["data"].as_object_mut().unwrap().remove(field).unwrap();
            let is_required = schema.required(rule).contains(&&**field);
            assert_eq!(schema.check_record(&renamed, false).is_err(), is_required, "{field} {record}");
            renamed["data"][format!("{field}s")] = value;
            assert!(schema.check_record(&renamed, false).is_err(), "{field} {record}");
            let mut changed = record.clone();
            changed["data"][field] = json!([[{}]]);
            assert!(schema.check_record(&changed, false).is_err(), "{field} {record}");
        }
        let mut without_time = record.clone();
        without_time.as_object_mut().unwrap().remove("time");
        assert!(schema.check_record(&without_time, false).is_err());
    }
    assert!(seen.len() >= 17, "{seen:?}");
    assert!(schema.check_record(&log[1], true).is_err());
}

fn no_secrets(folder: &Folder, secrets: &Path) {
    let secrets = fs::read_to_string(secrets).unwrap();
    let secrets: Vec<&str> = secrets.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert!(secrets.len() >= 4);
    for log in fs::read_dir(folder.folder.path().join("logs")).unwrap() {
        let text = fs::read_to_string(log.unwrap().path()).unwrap();
        assert!(!secrets.iter().any(|secret| text.contains(secret)));
        assert!(!text.contains("reset_token"));
    }
}

#[test]
fn a_retry_and_another_tls_are_logged_too() {
    let folder = Folder::new();
    let (server_tls, trust) = server_tls();
    let retry = |builder: Builder| builder.qlog(folder.qlog()).retry(RetryPolicy::Always);
    let pair = Pair::of(server_tls, ClientTls::new(trust, ALPN), [Tls::Rustls; 2], retry);
    let (client, server) = pair.connect();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&server));
        fetch(&client, 1000);
        finish(&folder, &client);
    });
    let [client, server] = folder.both();
    check(&client);
    check(&server);
    let received = all(&client, "packet_received");
    let retry = received.iter().find(|record| record["data"]["header"]["packet_type"] == "retry").unwrap();
    assert!(retry["data"]["header"]["token"]["raw"]["length"].as_u64().unwrap() > 16, "{retry}");
    let with_token = |record: &&&Value| !record["data"]["header"]["token"].is_null();
    assert!(all(&client, "packet_sent").iter().any(|record| with_token(&record)));
}

/// Who has seen one packet go by knows an ID of the connection, and can send to it without end.
#[test]
fn forgeries_do_not_fill_the_log() {
    const FORGERIES: usize = 1000;
    let folder = Folder::new();
    let pair = Pair::with(|builder| builder.qlog(folder.qlog()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let address = relay(UdpSocket::bind("127.0.0.1:0").unwrap(), pair.address, move |front, out| {
        let (len, from) = front.recv_from(out).unwrap();
        if out[0] & 0x80 == 0 {
            *noted.lock().unwrap() = out[..len].to_vec();
        }
        (len, from)
    });
    let client = pair.client.connect(address, NAME).unwrap();
    let server = pair.server.accept_within(PATIENCE).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&server));
        fetch(&client, 1000);
        let mut forged = seen.lock().unwrap().clone();
        forged.resize(60, 0);
        let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..FORGERIES {
            forged[20] = number as u8;
            forger.send_to(&forged, pair.address).unwrap();
            if number % 50 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        fetch(&client, 1000);
        finish(&folder, &client);
    });
    let [_, server] = folder.both();
    check(&server);
    let dropped = all(&server, "packet_dropped").len();
    let received = all(&server, "udp_datagrams_received").len();
    let authentic = all(&server, "packet_received").len();
    assert!(dropped > 10, "they came: {dropped}");
    assert!(dropped + received < FORGERIES / 4 + 2 * authentic, "{dropped} {received} {authentic}");
}

#[test]
fn a_log_that_cannot_be_written_stops_no_connection_and_is_told_of_once() {
    let folder = Folder::new();
    let pair = Pair::with(|builder| builder.qlog(folder.qlog()));
    fs::remove_dir_all(folder.folder.path().join("logs")).unwrap();
    for _ in 0..2 {
        let (client, server) = pair.connect();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&server));
            fetch(&client, 1 << 20);
            client.close(0, "");
        });
    }
    // One for each endpoint.
    let warnings = folder.warnings.lock().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().all(|why| why.contains("ends early")), "{warnings:?}");
}

#[test]
fn nobody_who_answers_is_logged_as_a_silence() {
    let folder = Folder::new();
    let (_, trust) = server_tls();
    let sessions = common::client_sessions(ClientTls::new(trust, ALPN), Tls::Ours);
    let mut events = EventLoop::builder()
        .client(sessions)
        .tune(|config| config.handshake_timeout = Duration::from_millis(300))
        .qlog(folder.qlog())
        .event_loop()
        .unwrap();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let handle = events.connect(nobody.local_addr().unwrap(), NAME).unwrap();
    let clock = Clock::start();
    while events.connection(handle).is_some() && clock.now().as_micros() < 20_000_000 {
        events.turn(Some(Duration::from_millis(20))).unwrap();
        while let Some((handle, event)) = events.poll_event() {
            if event == peregrine_core::connection::Event::Drained {
                events.release(handle);
            }
        }
    }
    let logs = folder.logs();
    let log = logs.values().next().unwrap();
    check(log);
    assert_eq!(all(log, "connection_closed")[0]["data"]["trigger"], "aborted");
    assert!(!all(log, "packet_sent").is_empty() && all(log, "packet_received").is_empty());
}
