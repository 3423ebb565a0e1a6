use super::*;
use crate::error::Code;
use crate::ids::{PathId, PathRow};
use crate::lifecycle::{Cause, Reason};
use crate::limits::{MAX_PACKET_NUMBER, SAMPLE_LEN, TAG_LEN};
use crate::path::{Opener, RouteId};
use crate::recovery::Space;
use crate::session::{AeadLimits, Key, KeyError, Level, SessionEvent};
use std::vec::Vec;

/// Has a hello to send on each level that it has keys for, and protects nothing.
#[derive(Default)]
struct Mute {
    events: Vec<SessionEvent>,
    /// Levels and numbers of the packets sealed.
    sealed: Vec<(Level, u64)>,
}

impl Session for Mute {
    fn start(&mut self, _: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }
    fn read_crypto(&mut self, _: Level, _: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }
    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop()
    }
    fn crypto_len(&self, _: Level) -> u64 {
        100
    }
    fn copy_crypto(&self, _: Level, offset: u64, out: &mut [u8]) -> usize {
        out.len().min(100_usize.saturating_sub(offset as usize))
    }
    fn crypto_acked(&mut self, _: Level, _: u64) {}
    fn peer_params(&self) -> Option<&[u8]> {
        None
    }
    fn alpn(&self) -> Option<&[u8]> {
        None
    }
    fn export(&self, _: &[u8], _: &[u8], _: &mut [u8]) -> Result<(), KeyError> {
        Err(KeyError::Missing)
    }
    fn set_initial_keys(&mut self, _: u32, _: &[u8]) {}
    fn verify_retry(&self, _: u32, _: &[u8], _: &[u8], _: &[u8; TAG_LEN]) -> bool {
        false
    }
    fn seal(&mut self, key: Key, _: PathId, pn: u64, _: &[u8], _: &mut [u8]) -> Result<(), KeyError> {
        self.sealed.push((key.level, pn));
        Ok(())
    }
    fn open(&mut self, _: Key, _: PathId, _: u64, _: &[u8], _: &mut [u8]) -> Result<usize, KeyError> {
        Err(KeyError::Missing)
    }
    fn protect(&mut self, _: Level, _: &[u8; SAMPLE_LEN], _: &mut u8, _: &mut [u8]) {}
    fn unprotect(&mut self, _: Level, _: &[u8; SAMPLE_LEN], _: &mut u8, _: &mut [u8; 4]) -> bool {
        false
    }
    fn limits(&self, _: Level) -> AeadLimits {
        AeadLimits { confidentiality: u64::MAX, integrity: u64::MAX }
    }
    fn update_keys(&mut self) {}
    fn retire_keys(&mut self) {}
    fn discard(&mut self, _: Level) {}
    fn fill_random(&mut self, out: &mut [u8]) {
        out.fill(1);
    }
}

type Client = Connection<Storage<1, 1, 8, 64, 64>, Mute>;

fn client(events: &[SessionEvent]) -> Client {
    let remote = SocketAddr::from(([192, 0, 2, 1], 443));
    let on = FourTuple { local: SocketAddr::from(([0, 0, 0, 0], 0)), remote, interface: 0 };
    let [scid, dcid] = [b"local-id", b"first-id"].map(|id| Cid::new(id).unwrap());
    let opened = Opened { on, version: 1, scid, dcid, token: &[] };
    let session = Mute { events: events.to_vec(), ..Mute::default() };
    Connection::client(Instant::ZERO, &Config::default(), &opened, Storage::new(), session).unwrap()
}

/// How many datagrams a connection has to send now.
fn datagrams(connection: &mut Client, now: Instant) -> usize {
    let mut out = [0; 1500];
    core::iter::from_fn(|| connection.poll_transmit(now, &mut out)).count()
}

fn is_over(connection: &Client) -> bool {
    let Some(Cause::Local(close)) = connection.cause() else { return false };
    connection.is_drained() && matches!(close.reason, Reason::Transport { code: Code::NO_ERROR, .. })
}

#[test]
fn rows_in_use_are_counted() {
    let mut connection = client(&[]);
    let first = Usage { routes: 1, local_cids: 1, ..Usage::default() };
    assert_eq!(connection.usage(), first);
    assert_eq!(datagrams(&mut connection, Instant::ZERO), 1);
    assert_eq!(connection.usage(), Usage { sent: 1, ..first });
}

#[test]
fn a_route_by_name_goes_and_comes_without_others_from_its_address() {
    let mut connection = client(&[]);
    let on = connection.routes().next().map(|route| (route.local, route.remote)).unwrap();
    let (state, mut lent) = connection.lend();
    let on = FourTuple { local: on.0, remote: on.1, interface: 7 };
    state.open_route(Instant::ZERO, &mut lent, PathRow::FIRST, on, Opener::Local).unwrap();
    let names: Vec<_> = connection.routes().map(|route| route.id).collect();
    let mut told = |change| {
        connection.network_changed(Instant::ZERO, change);
        connection.routes().map(|route| route.down).collect::<Vec<_>>()
    };
    assert_eq!(told(NetworkChange::RouteGone(names[1])), [false, true]);
    assert_eq!(told(NetworkChange::RouteBack(names[0])), [false, true]);
    assert_eq!(told(NetworkChange::RouteBack(names[1])), [false, false]);
    assert_eq!(told(NetworkChange::AddressGone(on.local.ip())), [true, true]);
    assert_eq!(told(NetworkChange::RouteBack(names[0])), [false, true]);
    let another = RouteId { serial: names[0].serial + 1, ..names[0] };
    assert_eq!(told(NetworkChange::RouteGone(another)), [false, true], "one that is gone names no other");
}

#[test]
fn the_last_packet_number_is_used_and_nothing_follows_it() {
    let mut connection = client(&[]);
    connection.state.initial.space = Space::starting_at(MAX_PACKET_NUMBER);
    assert_eq!(datagrams(&mut connection, Instant::ZERO), 1);
    assert_eq!(connection.session().sealed, [(Level::Initial, MAX_PACKET_NUMBER)]);
    let timeout = connection.next_timeout().instant().unwrap();
    connection.handle_timeout(timeout);
    assert_eq!(datagrams(&mut connection, timeout), 0, "no probe, and no word of why");
    assert!(is_over(&connection));
    assert_eq!(connection.session().sealed.len(), 1);
}

/// Nor does another space go on, in the same datagram or a later one.
#[test]
fn one_space_without_numbers_silences_all() {
    let used_up = MAX_PACKET_NUMBER + 1;
    for initial in [true, false] {
        let mut connection = client(&[SessionEvent::Keys(Level::Handshake)]);
        if initial {
            connection.state.initial.space = Space::starting_at(used_up);
        } else {
            connection.state.handshake.space = Space::starting_at(used_up);
        }
        assert_eq!(datagrams(&mut connection, Instant::ZERO), 0, "{initial}");
        assert!(is_over(&connection), "{initial}");
    }
}
