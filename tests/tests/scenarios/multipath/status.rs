//! Whether a path is available or a backup (draft-21 3.3), and what is made of it.

use peregrine_core::connection::PathEvent;
use peregrine_core::path::Availability::{self, Available, Backup, Unknown};
use peregrine_core::wire::Dialect;
use peregrine_core::wire::frame::{Frame, PathStatus};
use peregrine_tests::puppet::Bout;

use super::*;

fn set(pair: &mut Pair, client: bool, path: PathId, backup: bool) {
    on(pair, client, |connection| connection.set_path_status(path, backup).unwrap());
}

/// How one side, and then its peer, would have a path used.
fn statuses(pair: &mut Pair, client: bool, path: PathId) -> [Availability; 2] {
    let view = view(pair, client, path);
    [view.local_status, view.peer_status]
}

/// Bytes sent over the second path since it was opened.
fn over_second(pair: &mut Pair, client: bool) -> u64 {
    view(pair, client, SECOND).route.map_or(0, |route| route.stats.sent_bytes)
}

/// As [`bonded`], but the second path begins as a backup.
fn with_backup() -> Pair {
    let mut pair = phone(|_, _| {});
    let id = pair.client(|connection, now| connection.open_path(now, cellular(), Backup));
    assert_eq!(id, Ok(SECOND));
    until_validated(&mut pair, SECOND);
    pair.run_ms(100);
    pair
}

#[test]
fn each_side_is_told_what_the_other_wants_and_keeps_its_own_mind() {
    let mut pair = bonded(|_, _| {});
    pair.run_ms(100);
    assert_eq!(statuses(&mut pair, true, SECOND), [Available, Unknown]);
    assert_eq!(statuses(&mut pair, false, SECOND), [Unknown, Available]);
    set(&mut pair, false, SECOND, true);
    set(&mut pair, true, FIRST, true);
    pair.run_ms(100);
    assert_eq!(statuses(&mut pair, true, SECOND), [Available, Backup]);
    assert_eq!(statuses(&mut pair, false, SECOND), [Backup, Available]);
    assert_eq!(statuses(&mut pair, true, FIRST), [Backup, Unknown]);
    assert_eq!(statuses(&mut pair, false, FIRST), [Unknown, Backup]);
    assert!(was_told(pair.client_node(), SECOND, PathEvent::Status(Backup)));
    assert!(was_told(pair.server_node(), FIRST, PathEvent::Status(Backup)));
    set(&mut pair, false, SECOND, false);
    pair.run_ms(100);
    assert!(was_told(pair.client_node(), SECOND, PathEvent::Status(Available)));
    assert_well(&pair);
}

/// Whoever says so: neither side sends data over it.
#[test]
fn a_backup_carries_nothing_while_the_other_works() {
    for by_client in [true, false] {
        let mut pair = bonded(|_, _| {});
        set(&mut pair, by_client, SECOND, true);
        pair.run_ms(200);
        let before = [true, false].map(|client| over_second(&mut pair, client));
        let took = carry(&mut pair, true, MIB) + carry(&mut pair, false, MIB);
        let after = [true, false].map(|client| over_second(&mut pair, client));
        // A search for the largest datagram may go on.
        assert!(after[0] - before[0] < 20_000 && after[1] - before[1] < 20_000, "{before:?} {after:?}");
        // 20 Mbit/s carry it in 0.42 s each way.
        assert!(took < 1_000, "{took}");
        set(&mut pair, by_client, SECOND, false);
        pair.run_ms(200);
        carry(&mut pair, true, 2 * MIB);
        assert!(over_second(&mut pair, true) > after[0] + MIB / 4, "and is used when it is available again");
        assert_well(&pair);
    }
}

/// A path that begins as a backup is one from its first packet on.
#[test]
fn a_path_is_opened_as_a_backup() {
    let mut pair = with_backup();
    assert_eq!(statuses(&mut pair, false, SECOND), [Unknown, Backup]);
    carry(&mut pair, true, MIB);
    carry(&mut pair, false, MIB);
    let sent = [true, false].map(|client| over_second(&mut pair, client));
    assert!(sent.iter().all(|bytes| *bytes < 40_000), "{sent:?}");
    assert_well(&pair);
}

#[test]
fn where_all_are_backups_all_are_used() {
    let mut pair = with_backup();
    set(&mut pair, true, FIRST, true);
    pair.run_ms(100);
    carry(&mut pair, true, 3 * MIB);
    let sent = sent_by(&mut pair, true);
    assert!(sent.iter().all(|(_, bytes)| *bytes > MIB / 2), "{sent:?}");
}

/// Wi-Fi falls silent and comes back: the backup carries in between, and no longer.
#[test]
fn a_backup_takes_over_and_is_left_when_the_other_returns() {
    for up in [true, false] {
        let mut pair = with_backup();
        let now = pair.world.now().as_micros() / 1000;
        let client = pair.client;
        for (after, loss) in [(200, 1.0), (2_500, 0.0)] {
            pair.world.at_ms(now + after, move |world| {
                let interface = world.interface(client, 0);
                interface.set_up(wifi_link().loss(loss));
                interface.set_down(wifi_link().loss(loss));
            });
        }
        // 10 Mbit/s carry it in 1.7 s.
        let took = carry(&mut pair, up, 2 * MIB);
        assert!(took < 2_400, "{took}");
        assert!(was_told(
            if up { pair.client_node() } else { pair.server_node() },
            FIRST,
            PathEvent::Suspect
        ));
        pair.until("Wi-Fi is back", |pair| {
            was_told(if up { pair.client_node() } else { pair.server_node() }, FIRST, PathEvent::Restored)
        });
        pair.run_ms(1_000);
        let before = over_second(&mut pair, up);
        carry(&mut pair, up, MIB);
        let there = over_second(&mut pair, up) - before;
        assert!(there < 20_000, "{there} over the backup");
        assert_well(&pair);
    }
}

/// A client of a puppet server, in this dialect.
fn against_puppet(dialect: Dialect) -> Bout {
    let mut client = Setup::client(1);
    both(&mut client, &mut Setup::server(1));
    Bout::against_client_with(client, |params| {
        params.initial_max_path_id = params.initial_max_path_id.with(dialect, 3);
    })
}

#[test]
fn a_status_that_is_not_newer_is_ignored() {
    for dialect in Dialect::ALL.iter().copied() {
        let mut bout = against_puppet(dialect);
        let mut says = |seq, backup| {
            bout.say(&[Frame::PathStatus(PathStatus { dialect, path: 0, seq, backup })]);
            bout.connection().path(FIRST).unwrap().peer_status
        };
        assert_eq!(says(3, true), Backup);
        assert_eq!(says(2, false), Backup, "older");
        assert_eq!(says(3, false), Backup, "of the same number");
        assert_eq!(says(4, false), Available);
        assert_eq!(says(1 << 40, true), Backup);
        assert_eq!(says(5, false), Backup);
    }
}

/// Of a path that is not open yet; it counts from when it is.
#[test]
fn the_status_of_an_unused_path_is_kept() {
    let dialect = Dialect::Draft21;
    let mut bout = against_puppet(dialect);
    let frames = [
        bout.puppet.new_cid(SECOND, 0),
        Frame::PathStatus(PathStatus { dialect, path: 1, seq: 0, backup: true }),
    ];
    bout.say(&frames);
    let remote = peregrine_tests::puppet::PUPPET.parse().unwrap();
    let on = FourTuple { local: "192.0.2.77:4433".parse().unwrap(), remote, interface: 2 };
    assert_eq!(bout.act(|connection, now| connection.open_path(now, on, Unknown)), Ok(SECOND));
    assert_eq!(bout.connection().path(SECOND).unwrap().peer_status, Backup);
}
