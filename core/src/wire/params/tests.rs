use super::*;
use std::vec;
use std::vec::Vec as Bytes;

fn cid(bytes: &[u8]) -> Cid {
    Cid::new(bytes).unwrap()
}

/// Nothing at its default.
fn full(sender: Side) -> TransportParams {
    let server = sender == Side::Server;
    TransportParams {
        max_idle_timeout_ms: 30_000,
        max_udp_payload_size: 1472,
        initial_max_data: 1,
        initial_max_stream_data_bidi_local: 2,
        initial_max_stream_data_bidi_remote: 3,
        initial_max_stream_data_uni: 4,
        initial_max_streams_bidi: MAX_STREAMS,
        initial_max_streams_uni: 0x4000_0000,
        ack_delay_exponent: 20,
        max_ack_delay_ms: 0x3fff,
        active_cid_limit: 8,
        max_datagram_frame_size: MAX_VARINT,
        original_dcid: server.then(|| cid(&[1; 8])),
        stateless_reset_token: server.then_some([2; 16]),
        disable_active_migration: true,
        preferred_address: server.then(|| PreferredAddress {
            v4: Some("192.0.2.1:4433".parse().unwrap()),
            v6: Some("[2001:db8::1]:4433".parse().unwrap()),
            cid: cid(&[3; 20]),
            reset_token: [4; 16],
        }),
        initial_scid: Some(cid(&[5])),
        retry_scid: server.then_some(Cid::EMPTY),
        grease_quic_bit: true,
        initial_max_path_id: (0..).zip(Dialect::ALL).fold(PerDialect::default(), |all, (lower, dialect)| {
            all.with(*dialect, u64::from(u32::MAX) - lower)
        }),
    }
}

fn emit(params: &TransportParams, sender: Side, grease: Option<(u64, &[u8])>) -> Bytes<u8> {
    let mut buffer = [0; 512];
    let mut out = Writer::new(&mut buffer);
    params.emit(sender, grease, &mut out).unwrap();
    out.written().to_vec()
}

/// One parameter with a length of one byte.
fn one(id: u8, value: &[u8]) -> Bytes<u8> {
    let mut bytes = vec![id, value.len() as u8];
    bytes.extend(value);
    bytes
}

fn refused(sender: Side, bytes: &[u8]) -> bool {
    match TransportParams::parse(sender, bytes) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.code(), Code::TRANSPORT_PARAMETER_ERROR);
            true
        }
    }
}

#[test]
fn every_row_goes_there_and_back() {
    for sender in [Side::Client, Side::Server] {
        let params = full(sender);
        let bytes = emit(&params, sender, Some((u64::MAX, b"anything")));
        assert_eq!(TransportParams::parse(sender, &bytes), Ok(params));
        for room in 0..bytes.len() {
            let mut short = vec![0; room];
            let mut out = Writer::new(&mut short);
            assert_eq!(params.emit(sender, Some((u64::MAX, b"anything")), &mut out), Err(NoSpace));
            assert!(out.is_empty());
        }
    }
}

#[test]
fn cut_off_anywhere_is_refused_or_lacks_the_last_parameters() {
    let params = full(Side::Server);
    let bytes = emit(&params, Side::Server, None);
    let whole = (0..bytes.len()).filter(|end| !refused(Side::Server, &bytes[..*end])).count();
    assert_eq!(
        whole,
        IDS.len() + Dialect::ALL.len(),
        "one for each parameter that ends before the last, and the empty block"
    );
}

#[test]
fn defaults_are_those_of_rfc_9000_and_not_sent() {
    let params = TransportParams::default();
    assert!(emit(&params, Side::Server, None).is_empty());
    assert_eq!(TransportParams::parse(Side::Client, &[]), Ok(params));
    assert_eq!(
        (params.max_udp_payload_size, params.ack_delay_exponent, params.active_cid_limit),
        (65_527, 3, 2)
    );
    assert_eq!(
        (params.max_ack_delay(), params.max_idle_timeout()),
        (crate::limits::DEFAULT_MAX_ACK_DELAY, None)
    );
}

/// The parameters in the ClientHello of RFC 9001 A.2.
#[test]
fn vector() {
    let bytes = [
        0x04, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x05, 0x04, 0x80, 0x00, 0xff, 0xff, 0x07,
        0x04, 0x80, 0x00, 0xff, 0xff, 0x08, 0x01, 0x10, 0x01, 0x04, 0x80, 0x00, 0x75, 0x30, 0x09, 0x01, 0x10,
        0x0f, 0x08, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08, 0x06, 0x04, 0x80, 0x00, 0xff, 0xff,
    ];
    let params = TransportParams::parse(Side::Client, &bytes).unwrap();
    let expected = TransportParams {
        max_idle_timeout_ms: 30_000,
        initial_max_data: MAX_VARINT,
        initial_max_stream_data_bidi_local: 0xffff,
        initial_max_stream_data_bidi_remote: 0xffff,
        initial_max_stream_data_uni: 0xffff,
        initial_max_streams_bidi: 16,
        initial_max_streams_uni: 16,
        initial_scid: Cid::new(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]),
        ..TransportParams::default()
    };
    assert_eq!(params, expected);
    assert_eq!(params.max_idle_timeout(), Some(Span::from_secs(30)));
}

#[test]
fn bounds() {
    let varint = |value: u64| {
        let mut buffer = [0; 8];
        let mut out = Writer::new(&mut buffer);
        out.varint(value).unwrap();
        out.written().to_vec()
    };
    for (id, good, bad) in [
        (0x03, 1200, 1199),
        (0x08, 1 << 60, (1 << 60) + 1),
        (0x09, 1 << 60, (1 << 60) + 1),
        (0x0a, 20, 21),
        (0x0b, (1 << 14) - 1, 1 << 14),
        (0x0e, 2, 1),
    ] {
        assert!(!refused(Side::Client, &one(id, &varint(good))), "{id:#x}");
        assert!(refused(Side::Client, &one(id, &varint(bad))), "{id:#x}");
    }
}

#[test]
fn lengths() {
    for id in [0x01, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0e, 0x20] {
        assert!(refused(Side::Server, &one(id, &[])), "{id:#x}");
        assert!(refused(Side::Server, &one(id, &[0x40])), "{id:#x}");
        assert!(refused(Side::Server, &one(id, &[2, 0])), "{id:#x}");
    }
    for id in [0x00, 0x0f, 0x10] {
        assert!(!refused(Side::Server, &one(id, &[0; 20])) && !refused(Side::Server, &one(id, &[])));
        assert!(refused(Side::Server, &one(id, &[0; 21])));
    }
    for len in [0, 15, 17] {
        assert!(refused(Side::Server, &one(0x02, &vec![0; len])));
    }
    assert!(refused(Side::Server, &one(0x0c, &[0])));
    assert!(refused(Side::Server, &[0x6a, 0xb2, 1, 0]));
}

#[test]
fn only_servers_declare_what_is_theirs() {
    let server_only = |params: &TransportParams| emit(params, Side::Server, None);
    let full = full(Side::Server);
    let none = TransportParams::default();
    for params in [
        TransportParams { original_dcid: full.original_dcid, ..none },
        TransportParams { stateless_reset_token: full.stateless_reset_token, ..none },
        TransportParams { preferred_address: full.preferred_address, ..none },
        TransportParams { retry_scid: full.retry_scid, ..none },
    ] {
        assert!(!refused(Side::Server, &server_only(&params)));
        assert!(refused(Side::Client, &server_only(&params)));
        assert!(emit(&params, Side::Client, None).is_empty());
    }
}

#[test]
fn preferred_address_needs_connection_ids() {
    let mut params = full(Side::Server);
    params.initial_scid = Some(Cid::EMPTY);
    assert!(refused(Side::Server, &emit(&params, Side::Server, None)));
    params.initial_scid = Some(cid(&[1]));
    let preferred = PreferredAddress { v4: None, ..params.preferred_address.unwrap() };
    params.preferred_address = Some(preferred);
    assert_eq!(TransportParams::parse(Side::Server, &emit(&params, Side::Server, None)), Ok(params));
    params.preferred_address = Some(PreferredAddress { cid: Cid::EMPTY, ..preferred });
    assert!(refused(Side::Server, &emit(&params, Side::Server, None)));
}

#[test]
fn duplicates_are_refused_and_unknown_ones_ignored() {
    assert!(refused(Side::Client, &[0x01, 1, 5, 0x01, 1, 5]));
    assert!(refused(Side::Client, &[0x3b, 0, 0x01, 1, 5, 0x3b, 1, 9]));
    let many: Bytes<u8> = (0x21..0x3e).flat_map(|id| [id, 1, 0xff]).collect();
    let with_known = [&many[..], &[0x01, 1, 5]].concat();
    assert_eq!(TransportParams::parse(Side::Client, &with_known).unwrap().max_idle_timeout_ms, 5);
    assert!(refused(Side::Client, &[&with_known[..], &[0x01, 1, 5]].concat()));
}

#[test]
fn reserved_ids_are_27_modulo_31() {
    for number in [0, 1, 77, MAX_VARINT, u64::MAX, (MAX_VARINT - 27) / 31] {
        let id = reserved_id(number);
        assert!(id <= MAX_VARINT && id % 31 == 27 && !is_known(id));
    }
    assert_eq!([reserved_id(0), reserved_id(2)], [27, 89]);
}

#[test]
#[cfg(feature = "multipath")]
fn initial_max_path_id_in_either_dialect_and_in_both() {
    let eleven = [&[0xcf, 0x73, 0x9b, 0xbc, 0x1b, 0x66, 0x6d, 0x11][..], &[1, 7]].concat();
    let twenty_one = [0x3e, 1, 0];
    let none = TransportParams::default().initial_max_path_id;
    let (in_11, in_21) = (none.with(Dialect::Draft11, 7), none.with(Dialect::Draft21, 0));
    for (bytes, declared) in [
        (&eleven[..], in_11),
        (&twenty_one, in_21),
        (&[&twenty_one, &eleven[..]].concat(), in_11.with(Dialect::Draft21, 0)),
    ] {
        let params = TransportParams { initial_max_path_id: declared, ..TransportParams::default() };
        for sender in [Side::Client, Side::Server] {
            assert_eq!(TransportParams::parse(sender, bytes), Ok(params));
            assert_eq!(emit(&params, sender, None), bytes);
        }
    }
    assert_eq!((in_11.get(Dialect::Draft11), in_11.get(Dialect::Draft21)), (Some(7), None));
    for twice in [[&eleven[..], &eleven].concat(), [twenty_one, twenty_one].concat()] {
        assert!(refused(Side::Server, &twice));
    }
}

/// Draft 21 2.1, draft 11 2: path IDs are 32 bits of the nonce.
#[test]
#[cfg(feature = "multipath")]
fn initial_max_path_id_has_32_bits() {
    for id in [&[0xcf, 0x73, 0x9b, 0xbc, 0x1b, 0x66, 0x6d, 0x11][..], &[0x3e]] {
        let with = |value: &[u8]| [id, &[value.len() as u8], value].concat();
        assert!(!refused(Side::Client, &with(&[0xc0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])));
        assert!(refused(Side::Client, &with(&[0xc0, 0, 0, 1, 0, 0, 0, 0])));
        assert!(refused(Side::Client, &with(&[])) && refused(Side::Client, &with(&[1, 0])));
    }
}

#[test]
#[cfg(not(feature = "multipath"))]
fn without_multipath_its_parameter_is_one_of_the_unknown() {
    assert_eq!(TransportParams::parse(Side::Client, &[0x3e, 1, 7]), Ok(TransportParams::default()));
    assert_eq!(size_of::<PerDialect>(), 0);
}
