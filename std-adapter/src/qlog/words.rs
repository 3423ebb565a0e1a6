//! Values that several events have in common, in the words of the schema.

use std::fmt::Write;
use std::net::SocketAddr;

use peregrine_core::error::Code;
use peregrine_core::ids::{Ecn, Side};
use peregrine_core::session::Level;
use peregrine_core::wire::Cid;
use peregrine_core::wire::params::TransportParams;
use serde_json::{Map, Value, json};

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn version(version: u32) -> String {
    hex(&version.to_be_bytes())
}

/// One end of a route. What the system has not chosen yet is not told.
pub(super) fn end(address: SocketAddr) -> Value {
    let (ip, port) = if address.is_ipv4() { ("ip_v4", "port_v4") } else { ("ip_v6", "port_v6") };
    let mut end = Map::new();
    if !address.ip().is_unspecified() {
        end.insert(ip.into(), address.ip().to_string().into());
    }
    if address.port() != 0 {
        end.insert(port.into(), address.port().into());
    }
    end.into()
}

pub(super) const fn ecn(ecn: Ecn) -> &'static str {
    match ecn {
        Ecn::NotEct => "Not-ECT",
        Ecn::Ect0 => "ECT(0)",
        Ecn::Ect1 => "ECT(1)",
        Ecn::Ce => "CE",
    }
}

pub(super) const fn side(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

pub(super) const fn packet_type(level: Level) -> &'static str {
    match level {
        Level::Initial => "initial",
        Level::ZeroRtt => "0RTT",
        Level::Handshake => "handshake",
        Level::OneRtt => "1RTT",
    }
}

/// The kinds of keys of a level, those of either side. A server never sends 0-RTT.
pub(super) const fn key_types(level: Level) -> &'static [&'static str] {
    match level {
        Level::Initial => &["client_initial_secret", "server_initial_secret"],
        Level::ZeroRtt => &["client_0rtt_secret"],
        Level::Handshake => &["client_handshake_secret", "server_handshake_secret"],
        Level::OneRtt => &["client_1rtt_secret", "server_1rtt_secret"],
    }
}

/// An error of the transport.
pub(super) fn error_name(code: Code) -> String {
    match (code.alert(), code.name()) {
        (Some(alert), _) => format!("crypto_error_0x1{alert:02x}"),
        (None, Some(name)) => name.to_lowercase(),
        (None, None) => "unknown".into(),
    }
}

/// Transport parameters. Preferred addresses come with a stateless reset token, which is secret.
pub(super) fn parameters(initiator: &str, params: &TransportParams) -> Value {
    let mut value = json!({
        "initiator": initiator,
        "disable_active_migration": params.disable_active_migration,
        "max_idle_timeout": params.max_idle_timeout_ms,
        "max_udp_payload_size": params.max_udp_payload_size,
        "ack_delay_exponent": params.ack_delay_exponent,
        "max_ack_delay": params.max_ack_delay_ms,
        "active_connection_id_limit": params.active_cid_limit,
        "initial_max_data": params.initial_max_data,
        "initial_max_stream_data_bidi_local": params.initial_max_stream_data_bidi_local,
        "initial_max_stream_data_bidi_remote": params.initial_max_stream_data_bidi_remote,
        "initial_max_stream_data_uni": params.initial_max_stream_data_uni,
        "initial_max_streams_bidi": params.initial_max_streams_bidi,
        "initial_max_streams_uni": params.initial_max_streams_uni,
        "max_datagram_frame_size": params.max_datagram_frame_size,
        "grease_quic_bit": params.grease_quic_bit,
    });
    for (name, cid) in [
        ("original_destination_connection_id", params.original_dcid),
        ("initial_source_connection_id", params.initial_scid),
        ("retry_source_connection_id", params.retry_scid),
    ] {
        if let Some(cid) = cid {
            value[name] = hex(cid.as_slice()).into();
        }
    }
    value
}

/// The name of a file: the DCID of the client's first packet, and whose log it is.
pub(super) fn file_name(odcid: &Cid, whose: Side) -> String {
    format!("{}_{}", hex(odcid.as_slice()), side(whose))
}

/// Seconds since 1970 as RFC 3339 writes them.
pub(super) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March end in the leap day; 719,468 days before 1970 such a year began a cycle of 400.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = cycle * 400 + year + turn;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn errors_have_the_names_of_the_schema() {
        assert_eq!(error_name(Code::CONNECTION_ID_LIMIT_ERROR), "connection_id_limit_error");
        assert_eq!(error_name(Code::crypto(42)), "crypto_error_0x12a");
        assert_eq!(error_name(Code(0x77)), "unknown");
    }

    #[test]
    fn ends_tell_what_is_known() {
        assert_eq!(end("10.0.0.1:4".parse().unwrap()), json!({ "ip_v4": "10.0.0.1", "port_v4": 4 }));
        assert_eq!(end("[::]:4".parse().unwrap()), json!({ "port_v6": 4 }));
        assert_eq!(version(1), "00000001");
    }
}
