use super::*;
use crate::ids::PathId;
use crate::limits::SAMPLE_LEN;
use crate::session::{AeadLimits, Key, KeyError, Level, SessionEvent};

/// Knows a genuine Retry tag; the rest of a session plays no part here.
struct OnlyRetry;

const GENUINE: [u8; TAG_LEN] = [7; TAG_LEN];

impl Session for OnlyRetry {
    fn verify_retry(&self, version: u32, original_dcid: &[u8], retry: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        (version, original_dcid, retry, tag) == (1, id(1).as_slice(), b"packet", &GENUINE)
    }
    fn start(&mut self, _: &[u8]) -> Result<(), TransportError> {
        unreachable!()
    }
    fn read_crypto(&mut self, _: Level, _: &[u8]) -> Result<(), TransportError> {
        unreachable!()
    }
    fn poll_event(&mut self) -> Option<SessionEvent> {
        unreachable!()
    }
    fn crypto_len(&self, _: Level) -> u64 {
        unreachable!()
    }
    fn copy_crypto(&self, _: Level, _: u64, _: &mut [u8]) -> usize {
        unreachable!()
    }
    fn crypto_acked(&mut self, _: Level, _: u64) {
        unreachable!()
    }
    fn peer_params(&self) -> Option<&[u8]> {
        unreachable!()
    }
    fn alpn(&self) -> Option<&[u8]> {
        unreachable!()
    }
    fn export(&self, _: &[u8], _: &[u8], _: &mut [u8]) -> Result<(), KeyError> {
        unreachable!()
    }
    fn set_initial_keys(&mut self, _: u32, _: &[u8]) {
        unreachable!()
    }
    fn seal(&mut self, _: Key, _: PathId, _: u64, _: &[u8], _: &mut [u8]) -> Result<(), KeyError> {
        unreachable!()
    }
    fn open(&mut self, _: Key, _: PathId, _: u64, _: &[u8], _: &mut [u8]) -> Result<usize, KeyError> {
        unreachable!()
    }
    fn protect(&mut self, _: Level, _: &[u8; SAMPLE_LEN], _: &mut u8, _: &mut [u8]) {
        unreachable!()
    }
    fn unprotect(&mut self, _: Level, _: &[u8; SAMPLE_LEN], _: &mut u8, _: &mut [u8; 4]) -> bool {
        unreachable!()
    }
    fn limits(&self, _: Level) -> AeadLimits {
        unreachable!()
    }
    fn update_keys(&mut self) {
        unreachable!()
    }
    fn retire_keys(&mut self) {
        unreachable!()
    }
    fn discard(&mut self, _: Level) {
        unreachable!()
    }
    fn fill_random(&mut self, _: &mut [u8]) {
        unreachable!()
    }
}

fn id(number: u8) -> Cid {
    Cid::new(&[number; 8]).unwrap()
}

/// S1 is 1, C1 is 9, as in RFC 9000 figures 7 and 8.
fn client() -> FirstFlight {
    FirstFlight::client(id(1), id(9))
}

fn genuine() -> Retry<'static> {
    Retry { version: 1, scid: id(2), token: b"token", packet: b"packet", tag: &GENUINE }
}

fn retried() -> FirstFlight {
    let mut flight = client();
    flight.on_retry(&OnlyRetry, &genuine()).unwrap();
    flight
}

#[test]
fn a_retry_changes_the_dcid_once() {
    let mut flight = retried();
    assert_eq!((flight.dcid(), flight.scid()), (id(2), id(9)));
    assert_eq!(flight.on_retry(&OnlyRetry, &genuine()), Err(Why::Unexpected));
    flight.on_opened(id(3)).unwrap();
    assert_eq!(flight.dcid(), id(3));
}

#[test]
fn a_retry_that_is_late_or_not_right_is_ignored() {
    let wrong = [
        Retry { token: b"", ..genuine() },
        Retry { scid: id(1), ..genuine() },
        Retry { tag: &[8; TAG_LEN], ..genuine() },
        Retry { packet: b"packets", ..genuine() },
        Retry { version: 2, ..genuine() },
    ];
    for retry in wrong {
        let mut flight = client();
        assert_eq!(flight.on_retry(&OnlyRetry, &retry), Err(Why::Unexpected), "{retry:?}");
        assert_eq!(flight.dcid(), id(1));
        assert_eq!(flight.on_retry(&OnlyRetry, &genuine()), Ok(()), "a forgery does no harm");
    }
    let mut flight = client();
    flight.on_opened(id(3)).unwrap();
    assert_eq!(flight.on_retry(&OnlyRetry, &genuine()), Err(Why::Unexpected));
}

#[test]
fn the_first_packet_names_the_peer() {
    let mut flight = client();
    flight.on_opened(id(3)).unwrap();
    assert_eq!(flight.on_opened(id(4)), Err(Why::Unexpected));
    assert_eq!((flight.on_opened(id(3)), flight.dcid()), (Ok(()), id(3)));
    let mut server = FirstFlight::server(id(1), None, id(9), id(3));
    assert_eq!((server.on_opened(id(9)), server.on_opened(id(8))), (Ok(()), Err(Why::Unexpected)));
}

#[test]
fn version_negotiation_ends_an_attempt_that_nothing_else_answered() {
    let negotiate = |flight: FirstFlight, dcid, scid, versions: &[u32]| {
        flight.on_version_negotiation(1, id(dcid).as_slice(), id(scid).as_slice(), versions.iter().copied())
    };
    let offered = negotiate(client(), 9, 1, &[0x0a0a_0a0a, 2]).unwrap();
    assert_eq!(offered.as_slice(), [2]);
    assert_eq!(negotiate(client(), 9, 1, &[3; 100]).unwrap().as_slice(), [3; 6]);
    for (why, refused) in [
        ("lists ours", negotiate(client(), 9, 1, &[2, 1])),
        ("echoes another dcid", negotiate(client(), 9, 2, &[2])),
        ("echoes another scid", negotiate(client(), 8, 1, &[2])),
        ("after a Retry", negotiate(retried(), 9, 1, &[2])),
        ("to a server", negotiate(FirstFlight::server(id(1), None, id(9), id(9)), 9, 1, &[2])),
    ] {
        assert_eq!(refused, Err(Why::Unexpected), "{why}");
    }
}

#[test]
fn both_sides_agree_on_the_ids_of_the_handshake() {
    for retry in [None, Some(id(2))] {
        let server = FirstFlight::server(id(1), retry, id(9), id(3));
        let mut client = if retry.is_some() { retried() } else { client() };
        client.on_opened(id(3)).unwrap();
        assert_eq!(client.authenticate(&server.params()), Ok(()));
        assert_eq!(server.authenticate(&client.params()), Ok(()));
    }
}

#[test]
fn ids_that_are_absent_unexpected_or_different_are_refused() {
    let mut flight = retried();
    flight.on_opened(id(3)).unwrap();
    let right = FirstFlight::server(id(1), Some(id(2)), id(9), id(3)).params();
    for wrong in [None, Some(id(5)), Some(Cid::EMPTY)] {
        for claimed in [
            CidParams { original_dcid: wrong, ..right },
            CidParams { initial_scid: wrong, ..right },
            CidParams { retry_scid: wrong, ..right },
        ] {
            let refused = flight.authenticate(&claimed).unwrap_err();
            assert_eq!(refused.code(), Code::TRANSPORT_PARAMETER_ERROR, "{claimed:?}");
        }
    }
    let mut flight = client();
    flight.on_opened(id(3)).unwrap();
    assert!(flight.authenticate(&right).is_err(), "there was no Retry");
    let server = FirstFlight::server(id(1), None, id(9), id(3));
    let claimed = CidParams { original_dcid: Some(id(1)), ..client().params() };
    assert!(server.authenticate(&claimed).is_err(), "only servers say it");
}

#[test]
fn a_zero_length_id_is_named_all_the_same() {
    let server = FirstFlight::server(id(1), None, Cid::EMPTY, id(3));
    assert_eq!(
        server.authenticate(&CidParams::default()).unwrap_err().code(),
        Code::TRANSPORT_PARAMETER_ERROR
    );
    assert_eq!(server.authenticate(&FirstFlight::client(id(1), Cid::EMPTY).params()), Ok(()));
}
