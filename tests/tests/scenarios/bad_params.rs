//! Transport parameters that a peer must not declare (RFC 9000 7.3, 7.4, 18.2).

use peregrine_core::error::Code;
use peregrine_core::ids::Side;
use peregrine_core::wire::params::TransportParams;
use peregrine_core::wire::{Cid, Writer};
use peregrine_tests::puppet::{Bout, HeardClose, Puppet};
use peregrine_tests::quic::Setup;

/// Makes parameters wrong.
type Change = fn(&mut TransportParams);

/// How the node ends a handshake with a puppet of these parameters, made from the right ones; `None` if it does not.
fn outcome(against_server: bool, change: impl FnOnce(TransportParams) -> Vec<u8>) -> Option<HeardClose> {
    let mut bout = if against_server {
        Bout::new(Setup::server(1), Puppet::client(2))
    } else {
        let mut bout = Bout::new(Setup::client(1), Puppet::server(2));
        bout.connect();
        bout
    };
    let params = change(bout.puppet.params());
    bout.puppet.start_raw(&params);
    bout.shake_hands();
    bout.puppet.close()?;
    let error = bout.error();
    bout.wait_ms(10_000);
    assert!(bout.node.endpoint.is_empty(), "nothing is left");
    Some(error)
}

fn encoded(sender: Side, params: &TransportParams) -> Vec<u8> {
    let mut buffer = [0; 512];
    let mut out = Writer::new(&mut buffer);
    params.emit(sender, None, &mut out).unwrap();
    out.written().to_vec()
}

/// A parameter as bytes.
fn param(id: u64, value: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 512];
    let mut out = Writer::new(&mut buffer);
    out.varint(id).unwrap();
    out.varint_bytes(value).unwrap();
    out.written().to_vec()
}

fn varint(value: u64) -> Vec<u8> {
    let mut buffer = [0; 8];
    let mut out = Writer::new(&mut buffer);
    out.varint(value).unwrap();
    out.written().to_vec()
}

#[test]
fn parameters_as_they_should_be_are_taken() {
    for (against_server, sender) in [(true, Side::Client), (false, Side::Server)] {
        assert_eq!(outcome(against_server, |params| encoded(sender, &params)), None);
        // Unknown ones are ignored (RFC 9000 7.4.2).
        let with_unknown =
            |params: TransportParams| [encoded(sender, &params), param(0x1234_5678, b"anything")].concat();
        assert_eq!(outcome(against_server, with_unknown), None);
        // Those at the edge of their bounds are within them.
        let at_the_edge = |params: TransportParams| {
            let edge = [(0x03, 1_200), (0x0a, 20), (0x0b, (1 << 14) - 1)];
            let edge = edge.map(|(id, value)| param(id, &varint(value))).concat();
            [encoded(sender, &params), edge].concat()
        };
        assert_eq!(outcome(against_server, at_the_edge), None);
    }
}

#[test]
fn values_out_of_bounds_twice_or_garbled() {
    let bad: [(&str, Vec<u8>, &str); 14] = [
        ("max_udp_payload_size", param(0x03, &varint(1_199)), "out of bounds"),
        ("ack_delay_exponent", param(0x0a, &varint(21)), "out of bounds"),
        ("max_ack_delay", param(0x0b, &varint(1 << 14)), "out of bounds"),
        ("twice", [param(0x0a, &varint(3)), param(0x0a, &varint(3))].concat(), "twice"),
        ("twice, unknown", [param(0x99, b"a"), param(0x99, b"b")].concat(), "twice"),
        ("there already", param(0x04, &varint(7)), "twice"),
        ("no value", param(0x01, &[]), "malformed"),
        ("two values", param(0x01, &[1, 2]), "malformed"),
        ("half a value", param(0x01, &[0x40]), "malformed"),
        ("a flag that says more", param(0x0c, &[1]), "malformed"),
        ("cut off in its value", vec![0x01, 9, 1], "cut off"),
        ("cut off before its length", vec![0x01], "cut off"),
        ("cut off in its number", vec![0x40], "cut off"),
        ("a long connection ID", param(0x10, &[1; 21]), ""),
    ];
    for (against_server, sender) in [(true, Side::Client), (false, Side::Server)] {
        for (what, addition, reason) in &bad {
            let error =
                outcome(against_server, |params| [encoded(sender, &params), addition.clone()].concat());
            let error = error.unwrap_or_else(|| panic!("{what} was taken"));
            assert_eq!((error.code, error.frame), (Code::TRANSPORT_PARAMETER_ERROR, Some(6)), "{what}");
            assert!(error.reason.contains(reason), "{what}: {}", error.reason);
        }
        let out_of_bounds: [(&str, Change); 3] = [
            ("active_connection_id_limit", |params| params.active_cid_limit = 1),
            ("bidirectional streams", |params| params.initial_max_streams_bidi = (1 << 60) + 1),
            ("unidirectional streams", |params| params.initial_max_streams_uni = (1 << 60) + 1),
        ];
        for (what, change) in out_of_bounds {
            let error = outcome(against_server, |mut params| {
                change(&mut params);
                encoded(sender, &params)
            });
            let error = error.unwrap_or_else(|| panic!("{what} was taken"));
            assert_eq!(error.code, Code::TRANSPORT_PARAMETER_ERROR, "{what}");
            assert_eq!(error.reason, "parameter is out of bounds", "{what}");
        }
    }
}

#[test]
fn parameters_of_servers_from_a_client() {
    for addition in
        [param(0x00, b"original"), param(0x02, &[1; 16]), param(0x0d, &[1; 45]), param(0x10, b"retry-id")]
    {
        let error =
            outcome(true, |params| [encoded(Side::Client, &params), addition.clone()].concat()).unwrap();
        assert_eq!(error.code, Code::TRANSPORT_PARAMETER_ERROR);
        assert_eq!(error.reason, "client sent a parameter of servers");
    }
}

/// The connection IDs of the handshake are what the packets said (RFC 9000 7.3).
#[test]
fn connection_ids_that_are_not_those_of_the_handshake() {
    let cases: [(bool, &str, Change); 7] = [
        (true, "initial_source_connection_id", |params| params.initial_scid = None),
        (true, "initial_source_connection_id", |params| params.initial_scid = Cid::new(b"another!")),
        (false, "initial_source_connection_id", |params| params.initial_scid = None),
        (false, "initial_source_connection_id", |params| params.initial_scid = Cid::new(b"another!")),
        (false, "original_destination_connection_id", |params| params.original_dcid = None),
        (false, "original_destination_connection_id", |params| params.original_dcid = Cid::new(b"another!")),
        (false, "retry_source_connection_id", |params| params.retry_scid = Cid::new(b"another!")),
    ];
    for (against_server, reason, change) in cases {
        let sender = if against_server { Side::Client } else { Side::Server };
        let error = outcome(against_server, |mut params| {
            change(&mut params);
            encoded(sender, &params)
        });
        let error = error.unwrap_or_else(|| panic!("{reason} was taken"));
        assert_eq!((error.code, error.frame), (Code::TRANSPORT_PARAMETER_ERROR, Some(6)));
        assert!(error.reason.starts_with(reason), "{}", error.reason);
    }
}

/// RFC 9000 5.1.1, 18.2: no preferred address without connection IDs, none with one of no bytes.
#[test]
fn preferred_addresses_that_cannot_be_used() {
    let addresses = [&[192, 0, 2, 1, 0, 80][..], &[0; 18]].concat();
    let with_cid = |cid: &[u8]| param(0x0d, &[&addresses[..], &[cid.len() as u8], cid, &[3; 16]].concat());
    for (what, addition) in
        [("no ID", with_cid(&[])), ("a long ID", with_cid(&[1; 21])), ("cut off", param(0x0d, &addresses))]
    {
        let error = outcome(false, |params| [encoded(Side::Server, &params), addition.clone()].concat());
        assert_eq!(error.unwrap_or_else(|| panic!("{what}")).code, Code::TRANSPORT_PARAMETER_ERROR);
    }
    assert_eq!(
        outcome(false, |params| [encoded(Side::Server, &params), with_cid(b"preferred")].concat()),
        None
    );
}
